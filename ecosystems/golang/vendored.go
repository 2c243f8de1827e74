package golang

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/build/constraint"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of one vendored module. A module zip can hold no more.
const (
	MaxVendoredFiles = 200_000
	MaxModulesTXT    = 16 << 20
	maxDepth         = 64
)

// vendorDirs returns the vendor directories that declare the component.
func vendorDirs(c sbom.Component) []string {
	var out []string
	for _, l := range c.Locations {
		if strings.HasSuffix("/"+l.Path, "/vendor/modules.txt") {
			out = append(out, path.Dir(l.Path))
		}
	}
	return out
}

// vendoredOutside is for modules that the user's environment keeps away from the
// checksum database: their vendored files are held against the module that go.sum
// names, where a module proxy may be asked for it.
func (a *Adapter) vendoredOutside(ctx context.Context, res *result, m module.Version, reason trust.Reason, why string, files fs.FS) error {
	if len(vendorDirs(res.c)) == 0 || reason != trust.ReasonPrivate && reason != trust.ReasonNotOffered {
		return nil
	}
	zip := trust.Digest{}
	for _, art := range res.c.Artifacts {
		if art.Name != goMod {
			zip = art.Digests.Get(trust.DirHash1)
		}
	}
	if zip.IsZero() || files == nil || matches(a.env.NoProxy, m.Path) {
		res.add(trust.CheckVendored, trust.Artifact{}, trust.Absent, reason, "the vendored files are not held against the module: "+why, "review the vendored files as part of the change")
		return nil
	}
	return a.vendored(ctx, res, m, zip, files)
}

// vendored holds the files of vendor directories against the module zip with the
// hash that the checksum database vouches for. The zip is read where it is;
// nothing is unpacked.
func (a *Adapter) vendored(ctx context.Context, res *result, m module.Version, zipHash trust.Digest, files fs.FS) error {
	dirs := vendorDirs(res.c)
	if len(dirs) == 0 {
		return nil
	}
	const remedy = "run go mod vendor on a clean checkout and commit what it writes"
	art := trust.Artifact{}
	switch {
	case files == nil:
		res.add(trust.CheckVendored, art, trust.Absent, trust.ReasonNotCovered, "the vendored files are not at hand: only the list of modules was read", "check the directory that holds vendor/")
		return nil
	case zipHash.IsZero():
		res.add(trust.CheckVendored, art, trust.Unreachable, trust.ReasonNotFound, "the checksum database vouches for no content of the module, so that there is nothing to hold the vendored files against", "")
		return nil
	}
	art.Digests = trust.Digests{zipHash}
	blob, err := a.fetch(ctx, m, art)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		o, r := fetchFailure(err)
		next := "run the check again where the module proxy can be reached"
		if o == trust.Failed {
			next = ""
		}
		res.add(trust.CheckVendored, art, o, r, "the module that the vendored files must come from could not be fetched: "+err.Error(), next)
		return nil
	}
	defer blob.Close()
	z, err := zip.NewReader(blob, blob.Size())
	if err != nil {
		return fmt.Errorf("reading the verified zip of %s: %w", m, err)
	}
	v := &vendorCheck{ctx: ctx, files: files, in: map[string]*zip.File{}}
	for _, zf := range z.File {
		v.in[strings.TrimPrefix(zf.Name, m.Path+"@"+m.Version+"/")] = zf
	}
	for _, dir := range dirs {
		err := v.check(dir, res.c.ImportedAs())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var d *difference
		switch {
		case errors.As(err, &d):
			res.add(trust.CheckVendored, art, trust.Failed, trust.ReasonWrongDigest, d.Error(), remedy)
			return nil
		case err != nil:
			res.add(trust.CheckVendored, art, trust.Unreachable, trust.ReasonMalformed, "comparing the vendored files: "+err.Error(), remedy)
			return nil
		}
	}
	res.add(trust.CheckVendored, art, trust.Verified, "", fmt.Sprintf("%d vendored files are those of the module with %s", v.compared, zipHash), "")
	return nil
}

// difference is a vendored tree that the module did not make.
type difference struct{ what string }

func (d *difference) Error() string { return d.what }

func differs(format string, args ...any) error { return &difference{fmt.Sprintf(format, args...)} }

// vendorCheck compares one module's files.
type vendorCheck struct {
	ctx      context.Context
	files    fs.FS
	in       map[string]*zip.File // the module's files by their paths inside it
	compared int
	entries  int
}

// check compares dir/imported with the module. Every file must be one of the
// module's; every Go file of a package that modules.txt lists must be there, but
// for those that go mod vendor leaves out.
func (v *vendorCheck) check(dir, imported string) error {
	modules, packages, err := v.modulesTXT(path.Join(dir, "modules.txt"), imported)
	if err != nil {
		return err
	}
	if err := v.tree(dir, imported, "", modules, 0); err != nil {
		return err
	}
	for name, zf := range v.in {
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || !packages[path.Join(imported, path.Dir(name))] {
			continue
		}
		if _, err := fs.Lstat(v.files, path.Join(dir, imported, name)); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		left, err := leftOut(zf)
		if err != nil {
			return err
		}
		if !left {
			return differs("%s lacks %s, which go mod vendor copies", dir, path.Join(imported, name))
		}
	}
	return nil
}

// modulesTXT reads which modules the directory holds, and which packages of one.
func (v *vendorCheck) modulesTXT(name, of string) (modules []string, packages map[string]bool, err error) {
	f, err := v.files.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxModulesTXT+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > MaxModulesTXT {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", name, int64(MaxModulesTXT))
	}
	packages = map[string]bool{}
	at := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "## "), line == "":
		case strings.HasPrefix(line, "# "):
			if at = strings.Fields(line)[1]; at != of {
				modules = append(modules, at)
			}
		case at == of:
			packages[line] = true
		}
	}
	return modules, packages, nil
}

// tree compares all files below dir/imported/rel, but for what belongs to modules
// whose paths lie below.
func (v *vendorCheck) tree(dir, imported, rel string, modules []string, depth int) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("%s is nested more than %d deep", path.Join(dir, imported, rel), maxDepth)
	}
	list, err := fs.ReadDir(v.files, path.Join(dir, imported, rel))
	if err != nil {
		if rel == "" && errors.Is(err, fs.ErrNotExist) {
			return nil // no package of the module is needed, or its Go files are missed below
		}
		return err
	}
	if v.entries += len(list); v.entries > MaxVendoredFiles {
		return fmt.Errorf("more than %d files", MaxVendoredFiles)
	}
	for _, d := range list {
		name := path.Join(rel, d.Name())
		full := path.Join(imported, name)
		switch {
		case d.IsDir() && slices.Contains(modules, full):
		case d.IsDir():
			if err := v.tree(dir, imported, name, modules, depth+1); err != nil {
				return err
			}
		case !d.Type().IsRegular():
			return differs("%s is no regular file", path.Join(dir, full))
		case v.in[name] == nil:
			return differs("%s is no file of the module", path.Join(dir, full))
		default:
			if err := v.same(path.Join(dir, full), v.in[name]); err != nil {
				return err
			}
			v.compared++
		}
	}
	return nil
}

// same compares a vendored file with the module's, byte by byte.
func (v *vendorCheck) same(name string, zf *zip.File) error {
	f, err := v.files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := zf.Open()
	if err != nil {
		return err
	}
	defer want.Close()
	a, b := bufio.NewReader(f), bufio.NewReader(want)
	for n := int64(0); ; {
		_, errA := a.Peek(1)
		_, errB := b.Peek(1)
		switch {
		case errA == io.EOF && errB == io.EOF:
			return nil
		case errA != nil && errA != io.EOF:
			return errA
		case errB != nil && errB != io.EOF:
			return errB
		case errA != nil || errB != nil:
			return differs("%s has another length than the file of the module", name)
		}
		k := min(a.Buffered(), b.Buffered())
		x, _ := a.Peek(k)
		y, _ := b.Peek(k)
		if !bytes.Equal(x, y) {
			return differs("%s differs from the file of the module (behind byte %d)", name, n)
		}
		_, _ = a.Discard(k)
		_, _ = b.Discard(k)
		n += int64(k)
	}
}

// maxHeader bounds what is read of a Go file to find its build constraint.
const maxHeader = 64 << 10

// leftOut reports whether go mod vendor leaves a Go file out: its constraint asks
// for the tag "ignore", whatever other tags are set.
func leftOut(zf *zip.File) (bool, error) {
	r, err := zf.Open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	head, err := io.ReadAll(io.LimitReader(r, maxHeader))
	if err != nil {
		return false, err
	}
	for line := range bytes.Lines(head) {
		s := strings.TrimSpace(string(line))
		if strings.HasPrefix(s, "package ") {
			break
		}
		if !constraint.IsGoBuild(s) && !constraint.IsPlusBuild(s) {
			continue
		}
		x, err := constraint.Parse(s)
		if err == nil && !possible(x, true) {
			return true, nil
		}
	}
	return false, nil
}

// possible reports whether some set of tags without "ignore" makes x what is wanted.
func possible(x constraint.Expr, want bool) bool {
	switch x := x.(type) {
	case *constraint.TagExpr:
		return x.Tag != "ignore" || !want
	case *constraint.NotExpr:
		return possible(x.X, !want)
	case *constraint.AndExpr:
		if want {
			return possible(x.X, true) && possible(x.Y, true)
		}
		return possible(x.X, false) || possible(x.Y, false)
	case *constraint.OrExpr:
		if want {
			return possible(x.X, true) || possible(x.Y, true)
		}
		return possible(x.X, false) && possible(x.Y, false)
	}
	return true
}
