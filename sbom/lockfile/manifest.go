package lockfile

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseManifest counts what a manifest asks for.
func parseManifest(format Format) func(*file) error {
	return func(f *file) error {
		n, err := declared(format, f.content)
		if err != nil {
			return err
		}
		f.res.Declared = n
		f.res.Project = projectName(format, f.content)
		return nil
	}
}

var (
	gemLine    = regexp.MustCompile(`(?m)^\s*gem(?:\s+|\()["']`)
	gradleLine = regexp.MustCompile(`(?m)^\s*(?:[a-zA-Z]*[iI]mplementation|api|[a-zA-Z]*[cC]ompileOnly|[a-zA-Z]*[rR]untimeOnly|[a-zA-Z]*[cC]ompile|annotationProcessor|kapt|ksp|classpath)\b[\s(]+(?:["'\w])`)
	mixLine    = regexp.MustCompile(`(?m)^[^#\n]*\{\s*:[a-z0-9_]+\s*,\s*(?:"|[a-z]+:)`)
	swiftLine  = regexp.MustCompile(`(?m)^[^/\n]*\.package\s*\(`)
	podLine    = regexp.MustCompile(`(?m)^\s*pod\s*\(?\s*["']`)
)

// declared is the number of dependencies that a manifest asks for. Where the
// manifest is a program it is estimated from its text, rather too high than zero.
func declared(format Format, content []byte) (int, error) {
	n := 0
	count := func(o *node, skip ...string) {
		_ = o.each(func(k string, _ *node) error {
			if !slices.Contains(skip, k) {
				n++
			}
			return nil
		})
	}
	switch format {
	case PackageJSON, ComposerJSON, DenoJSON:
		doc, err := parseJSON(content, format == DenoJSON)
		if err != nil {
			return 0, err
		}
		if !doc.isObject() {
			return 0, fmt.Errorf("the document is no object")
		}
		switch format {
		case PackageJSON:
			for _, k := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
				count(doc.get(k))
			}
		case ComposerJSON:
			for _, k := range []string{"require", "require-dev"} {
				_ = doc.get(k).each(func(k string, _ *node) error {
					if strings.Contains(k, "/") { // php, ext-… and lib-… are the platform's
						n++
					}
					return nil
				})
			}
		case DenoJSON:
			_ = doc.get("imports").each(func(_ string, v *node) error {
				if s := v.str(); strings.Contains(s, ":") {
					n++
				}
				return nil
			})
		}
	case PyProject, Pipfile, CargoTOML:
		doc, err := parseTOML(content)
		if err != nil {
			return 0, err
		}
		switch format {
		case PyProject:
			n = len(pyProjectNames(doc))
		case Pipfile:
			count(doc.get("packages"))
			count(doc.get("dev-packages"))
		case CargoTOML:
			tables := func(o *node) {
				for _, k := range []string{"dependencies", "dev-dependencies", "build-dependencies"} {
					count(o.get(k))
				}
			}
			tables(doc)
			tables(doc.get("workspace"))
			_ = doc.get("target").each(func(_ string, t *node) error { tables(t); return nil })
		}
	case PubspecYAML, CondaManifest:
		doc, err := parseYAMLDocument(content)
		if err != nil {
			return 0, err
		}
		count(doc.get("dependencies"), "flutter")
		count(doc.get("dev_dependencies"), "flutter_test")
		n += len(doc.get("dependencies").list())
	case DotNetProject:
		root, err := parseXML(content)
		if err != nil {
			return 0, err
		}
		for _, g := range root.all("ItemGroup") {
			n += len(g.all("PackageReference"))
		}
	case RequirementsIn:
		for _, l := range logicalLines(content) {
			if opt, _ := pipOption(l.text); opt == "" {
				n++
			}
		}
	case Gemfile:
		n = len(gemLine.FindAll(content, MaxEntries))
	case GradleBuild:
		n = len(gradleLine.FindAll(content, MaxEntries))
	case MixExs:
		n = len(mixLine.FindAll(content, MaxEntries))
	case SwiftPackage:
		n = len(swiftLine.FindAll(content, MaxEntries))
	case Podfile:
		n = len(podLine.FindAll(content, MaxEntries))
	case ConanManifest:
		n = strings.Count(string(content), "requires")
	case BunLockBinary:
		n = 1
	}
	return n, nil
}

func projectName(format Format, content []byte) string {
	switch format {
	case PackageJSON, ComposerJSON:
		if doc, err := parseJSON(content, false); err == nil {
			return doc.get("name").str()
		}
	case CargoTOML, PyProject:
		if doc, err := parseTOML(content); err == nil {
			if n := doc.get("project").get("name").str(); n != "" {
				return n
			}
			return doc.get("package").get("name").str()
		}
	}
	return ""
}

// Uncovered returns a ProblemNoLock for every manifest among the results that
// asks for something and that no lock file covers: neither one beside it nor one
// above it that names it as a member of its workspace.
func Uncovered(results []Result) []sbom.Problem {
	type place struct{ dir, base string }
	have := map[place]*Result{}
	for i := range results {
		r := &results[i]
		have[place{path.Dir(r.Path), path.Base(r.Path)}] = r
	}
	covered := func(r *Result) bool {
		own := path.Dir(r.Path)
		for _, name := range r.Format.Locks(r.Path) {
			if have[place{path.Join(own, path.Dir(name)), path.Base(name)}] != nil {
				return true
			}
		}
		if r.Format == GradleBuild && (have[place{path.Join(own, "gradle", "dependency-locks"), "compileClasspath.lockfile"}] != nil) {
			return true
		}
		for dir := own; dir != "." && dir != "/"; {
			dir = path.Dir(dir)
			for _, name := range r.Format.Locks(r.Path) {
				lock := have[place{path.Join(dir, path.Dir(name)), path.Base(name)}]
				if lock == nil {
					continue
				}
				for _, m := range lock.Members {
					if path.Join(dir, m) == own {
						return true
					}
				}
				if r.Project != "" && slices.ContainsFunc(lock.Components, func(c sbom.Component) bool {
					return c.Kind == sbom.KindWorkspace && c.Release.Package.FullName() == r.Project
				}) {
					return true
				}
				if r.Format == GradleBuild && lock.Format == GradleVerification {
					return true
				}
			}
		}
		return false
	}
	var out []sbom.Problem
	for i := range results {
		r := &results[i]
		if _, isManifest := locks[r.Format]; !isManifest || r.Declared == 0 || covered(r) {
			continue
		}
		p := sbom.Problem{
			Code: sbom.ProblemNoLock, Location: trust.Location{Path: r.Path},
			Detail: fmt.Sprintf("%s asks for %d dependencies and no lock file pins them", path.Base(r.Path), r.Declared),
			Remedy: "commit the lock file of the project's package manager (" + strings.Join(r.Format.Locks(r.Path), ", ") + ")",
		}
		if r.Format == BunLockBinary {
			p.Code, p.Detail = sbom.ProblemUnsupported, "bun.lockb is binary and cannot be read"
			p.Remedy = "write bun.lock with bun install --save-text-lockfile"
		}
		out = append(out, p)
	}
	return out
}
