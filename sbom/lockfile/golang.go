package lockfile

import (
	"bufio"
	"bytes"
	"fmt"
	"go/version"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// toolchainModule is the module that the go command downloads toolchains as.
const toolchainModule = "golang.org/toolchain"

func goID(modPath, version string) id {
	ns, name := path.Split(modPath)
	return id{"golang", strings.TrimSuffix(ns, "/"), name, version}
}

// goSum holds the lines of a go.sum file.
type goSum struct {
	zip, mod map[module.Version]trust.Digests
	line     map[module.Version]int // of the zip's line
	order    []module.Version       // with zip hashes, as in the file
}

// parseGoSumLines reads go.sum (https://go.dev/ref/mod#go-sum-files). The go
// command skips lines of other hash algorithms; a line that is not understood is
// an error here, because it could hide a module.
func parseGoSumLines(content []byte) (*goSum, error) {
	s := &goSum{zip: map[module.Version]trust.Digests{}, mod: map[module.Version]trust.Digests{}, line: map[module.Version]int{}}
	sc := bufio.NewScanner(bytes.NewReader(content))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		fields := strings.Fields(sc.Text())
		if len(fields) == 0 {
			continue
		}
		if n > 2*MaxEntries {
			return nil, fmt.Errorf("more than %d lines: %w", 2*MaxEntries, ErrTooLarge)
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: %d fields, expected module, version and hash", n, len(fields))
		}
		version, isMod := strings.CutSuffix(fields[1], "/go.mod")
		m := module.Version{Path: fields[0], Version: version}
		d, err := trust.ParseDigest(fields[2])
		if err != nil || d.Algorithm != trust.DirHash1 {
			return nil, fmt.Errorf("line %d: %q is no h1 hash", n, short(fields[2]))
		}
		to := s.zip
		if isMod {
			to = s.mod
		}
		if slices.Contains(to[m], d) {
			continue
		}
		to[m] = append(to[m], d)
		if !isMod && len(to[m]) == 1 {
			s.order = append(s.order, m)
			s.line[m] = n
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// describe sets the digests of a module: the zip's hash without name, the
// go.mod file's under "go.mod".
func (s *goSum) describe(f *file, c *sbom.Component, m module.Version, line int) {
	if s == nil || len(s.zip[m]) == 0 {
		f.flag(c, sbom.ProblemNoDigest, line, "go.sum has no hash of this module's content")
	}
	if s == nil {
		return
	}
	if ds := s.zip[m]; len(ds) > 0 {
		c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: ds})
	}
	if ds := s.mod[m]; len(ds) > 0 {
		c.Artifacts = append(c.Artifacts, trust.Artifact{Name: "go.mod", Digests: ds})
	}
	if len(s.zip[m]) > 1 || len(s.mod[m]) > 1 {
		f.flag(c, sbom.ProblemDuplicate, line, "go.sum has several different hashes of this module")
	}
}

// with returns the lines of both files.
func (s *goSum) with(o *goSum) *goSum {
	if s == nil {
		return o
	}
	for _, p := range []struct {
		to, from map[module.Version]trust.Digests
	}{{s.zip, o.zip}, {s.mod, o.mod}} {
		for m, ds := range p.from {
			for _, d := range ds {
				if !slices.Contains(p.to[m], d) {
					p.to[m] = append(p.to[m], d)
				}
			}
		}
	}
	return s
}

func parseGoSum(f *file) error {
	sum, err := parseGoSumLines(f.content)
	if err != nil {
		return err
	}
	if _, ok := f.sibling("go.mod"); ok {
		f.res.PartOf = "go.mod"
		return nil
	}
	if len(sum.order) == 0 && len(sum.mod) == 0 {
		return fmt.Errorf("the file has no hashes")
	}
	for _, m := range sum.order {
		if err := f.addGoSumOnly(sum, m); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) addGoSumOnly(sum *goSum, m module.Version) error {
	c := sbom.Component{}
	if m.Path == toolchainModule {
		c.Kind = sbom.KindToolchain
	}
	line := sum.line[m]
	sum.describe(f, &c, m, line)
	return f.add(goID(m.Path, m.Version), line, c)
}

// parseGoMod reads go.mod together with go.sum beside it. From go 1.17 on, the
// require lines are the whole build list (https://go.dev/ref/mod#graph-pruning):
// what go.sum names beyond it is left over, or was looked at when the module was
// tidied, and no build uses it. Before, and in workspaces, which load the whole
// graph, it can be used.
func parseGoMod(f *file) error {
	mf, err := modfile.Parse(f.path, f.content, nil)
	if err != nil {
		return err
	}
	if mf.Module == nil {
		return fmt.Errorf("no module line")
	}
	f.res.Members = []string{"."}
	f.res.Project = mf.Module.Mod.Path
	if mf.Go != nil {
		f.res.Version = mf.Go.Version
	}
	var sum *goSum
	if b, ok := f.sibling("go.sum"); ok {
		if sum, err = parseGoSumLines(b); err != nil {
			return fmt.Errorf("go.sum: %w", err)
		}
	} else if len(mf.Require) > 0 {
		f.problem(sbom.ProblemNoLock, 0, "there is no go.sum beside this go.mod", "run go mod tidy and commit go.sum")
	}
	if err := f.goToolchain(mf.Go, mf.Toolchain); err != nil {
		return err
	}
	used := map[module.Version]bool{}
	excluded := map[module.Version]bool{}
	for _, e := range mf.Exclude {
		excluded[e.Mod] = true
	}
	for _, r := range mf.Require {
		if excluded[r.Mod] {
			continue
		}
		line := r.Syntax.Start.Line
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect}
		if r.Indirect {
			c.Relation = sbom.RelationTransitive
		}
		m := r.Mod
		if rep := replacement(mf.Replace, r.Mod); rep != nil {
			if err := f.goReplace(&c, rep, r.Mod); err != nil {
				return err
			}
			if rep.New.Version == "" {
				c.Kind, c.Origin = sbom.KindPath, rep.New.Path
				if err := f.add(goID(m.Path, m.Version), line, c); err != nil {
					return err
				}
				continue
			}
			m = rep.New
		}
		used[m] = true
		sum.describe(f, &c, m, line)
		if err := f.add(goID(m.Path, m.Version), line, c); err != nil {
			return err
		}
	}
	if sum == nil {
		return nil
	}
	rest := sbom.ScopeUnknown
	if mf.Go != nil && version.Compare("go"+mf.Go.Version, "go1.17") >= 0 && !f.inWorkspace() {
		rest = sbom.ScopeUnused
	}
	for _, m := range sum.order {
		if used[m] {
			continue
		}
		c := sbom.Component{Relation: sbom.RelationTransitive, Scope: rest}
		if m.Path == toolchainModule {
			c.Kind, c.Scope = sbom.KindToolchain, sbom.ScopeUnknown // the go command downloads and runs it
		}
		sum.describe(f, &c, m, 0)
		at := len(f.res.Components)
		if err := f.add(goID(m.Path, m.Version), 0, c); err != nil {
			return err
		}
		if at < len(f.res.Components) { // its place is a line of go.sum, not of this file
			f.res.Components[at].Locations = []trust.Location{{Path: path.Join(path.Dir(f.path), "go.sum"), Line: sum.line[m]}}
		}
	}
	return nil
}

// inWorkspace reports whether a go.work stands beside the file or above it.
func (f *file) inWorkspace() bool {
	up := ""
	for range strings.Count(path.Clean(f.path), "/") + 1 {
		if _, ok := f.sibling(up + "go.work"); ok {
			return true
		}
		up += "../"
	}
	return false
}

// replacement returns the replace line for a required module: one with its
// version wins over one without.
func replacement(rs []*modfile.Replace, m module.Version) *modfile.Replace {
	var any *modfile.Replace
	for _, r := range rs {
		if r.Old.Path != m.Path {
			continue
		}
		if r.Old.Version == m.Version {
			return r
		}
		if r.Old.Version == "" {
			any = r
		}
	}
	return any
}

func (f *file) goReplace(c *sbom.Component, rep *modfile.Replace, old module.Version) error {
	i := goID(old.Path, old.Version)
	r, err := trust.NewRelease(i.typ, i.namespace, i.name, i.version)
	if err != nil {
		return err
	}
	c.Replaces = r
	if rep.New.Version != "" && rep.New.Path != old.Path {
		c.Alias = old.Path
	}
	return nil
}

// goToolchain adds the standard library that the go line asks for and the
// toolchain that the toolchain line asks for.
func (f *file) goToolchain(g *modfile.Go, t *modfile.Toolchain) error {
	if g != nil {
		c := sbom.Component{Kind: sbom.KindToolchain, Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect, Pinned: true}
		if err := f.add(id{"golang", "", "stdlib", g.Version}, g.Syntax.Start.Line, c); err != nil {
			return err
		}
	}
	if t != nil && t.Name != "default" {
		c := sbom.Component{Kind: sbom.KindToolchain, Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect, Pinned: true}
		return f.add(goID(toolchainModule, "v0.0.1-"+t.Name), t.Syntax.Start.Line, c)
	}
	return nil
}

// parseGoWork reads go.work: its members, its toolchain and the modules that it
// puts in place of others, with go.work.sum beside it.
func parseGoWork(f *file) error {
	w, err := modfile.ParseWork(f.path, f.content, nil)
	if err != nil {
		return err
	}
	if w.Go != nil {
		f.res.Version = w.Go.Version
	}
	for _, u := range w.Use {
		f.res.Members = append(f.res.Members, path.Clean(u.Path))
	}
	if err := f.goToolchain(w.Go, w.Toolchain); err != nil {
		return err
	}
	var sum *goSum
	if b, ok := f.sibling("go.work.sum"); ok {
		if sum, err = parseGoSumLines(b); err != nil {
			return fmt.Errorf("go.work.sum: %w", err)
		}
	}
	used := map[module.Version]bool{}
	for _, r := range w.Replace {
		used[r.New] = true
		c := sbom.Component{Scope: sbom.ScopeRuntime}
		if err := f.goReplace(&c, r, r.Old); err != nil {
			return err
		}
		m, line := r.New, r.Syntax.Start.Line
		if m.Version == "" {
			c.Kind, c.Origin = sbom.KindPath, m.Path
			m = r.Old
		} else {
			sum.describe(f, &c, m, line)
		}
		if err := f.add(goID(m.Path, m.Version), line, c); err != nil {
			return err
		}
	}
	if sum == nil {
		return nil
	}
	for _, m := range sum.order {
		if used[m] {
			continue
		}
		c := sbom.Component{Relation: sbom.RelationTransitive}
		sum.describe(f, &c, m, 0)
		at := len(f.res.Components)
		if err := f.add(goID(m.Path, m.Version), 0, c); err != nil {
			return err
		}
		if at < len(f.res.Components) {
			f.res.Components[at].Locations = []trust.Location{{Path: path.Join(path.Dir(f.path), "go.work.sum"), Line: sum.line[m]}}
		}
	}
	return nil
}

// parseGoVendor reads vendor/modules.txt, which the go command writes. It has no
// digests; they are those of go.sum (go.work.sum in a vendored workspace).
func parseGoVendor(f *file) error {
	required := map[string]string{}
	mod, ok := f.sibling("../go.mod")
	if ok {
		if mf, err := modfile.Parse("go.mod", mod, nil); err == nil {
			for _, r := range mf.Require {
				required[r.Mod.Path] = r.Mod.Version
			}
		} else {
			ok = false // said of the file itself
		}
	}
	workspace := bytes.Contains(f.content, []byte("## workspace"))
	var sum *goSum
	for _, name := range []string{"../go.sum", "../go.work.sum"} {
		b, ok := f.sibling(name)
		if !ok {
			continue
		}
		s, err := parseGoSumLines(b)
		if err != nil {
			return fmt.Errorf("%s: %w", path.Base(name), err)
		}
		sum = sum.with(s)
	}
	lines := strings.Split(string(f.content), "\n")
	for n, line := range lines {
		rest, ok := strings.CutPrefix(line, "# ")
		if !ok {
			continue
		}
		old, repl, replaced := strings.Cut(rest, " => ")
		of := strings.Fields(old)
		if len(of) == 0 || len(of) > 2 {
			return fmt.Errorf("line %d: expected a module and its version", n+1)
		}
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationTransitive}
		if n+1 < len(lines) && strings.HasPrefix(lines[n+1], "## ") && strings.Contains(lines[n+1], "explicit") {
			c.Relation = sbom.RelationDirect
		}
		m := module.Version{Path: of[0]}
		if len(of) == 2 {
			m.Version = of[1]
		} else if !replaced {
			return fmt.Errorf("line %d: module without version", n+1)
		}
		switch {
		case m.Version != "" && required[m.Path] != "" && required[m.Path] != m.Version:
			f.flag(&c, sbom.ProblemConflict, n+1, "go.mod requires "+required[m.Path]+", the vendored version is "+m.Version)
		case ok && !workspace && c.Relation == sbom.RelationDirect && m.Version != "" && required[m.Path] == "":
			f.flag(&c, sbom.ProblemConflict, n+1, "the module is said to be required, and go.mod does not require it")
		}
		if replaced {
			rf := strings.Fields(repl)
			if len(rf) == 0 || len(rf) > 2 {
				return fmt.Errorf("line %d: expected the replacing module", n+1)
			}
			rep := &modfile.Replace{Old: m, New: module.Version{Path: rf[0]}}
			if len(rf) == 2 {
				rep.New.Version = rf[1]
			}
			if err := f.goReplace(&c, rep, m); err != nil {
				return err
			}
			if len(of) == 1 && slices.Contains(lines[n+1:], line) {
				continue // the summary of replacements at the end repeats this one
			}
			if rep.New.Version == "" {
				c.Kind, c.Origin = sbom.KindPath, rf[0]
			} else {
				m = rep.New
			}
		}
		if len(of) == 1 {
			continue // a replacement without version repeats a module named above, or one that is not used
		}
		if sum != nil && c.Kind != sbom.KindPath {
			sum.describe(f, &c, m, n+1)
		}
		if err := f.add(goID(m.Path, m.Version), n+1, c); err != nil {
			return err
		}
	}
	if len(f.res.Components) == 0 && len(bytes.TrimSpace(f.content)) > 0 && !workspace {
		return fmt.Errorf("no modules")
	}
	return nil
}
