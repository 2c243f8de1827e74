package lockfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
)

// maxNamed is how many packages a problem names; the others are counted.
const maxNamed = 5

// manifests compares the projects of a package-lock.json with the package.json files
// that it was made of: what those ask for and it does not know, npm install fetches
// all the same, and nobody has looked at it.
func (l *npmLock) manifests(pkgs *node) {
	seen := map[string]bool{}
	_ = pkgs.each(func(loc string, e *node) error {
		dir := path.Clean("./" + loc)
		if strings.Contains("/"+loc, "/node_modules/") || seen[dir] {
			return nil
		}
		seen[dir] = true
		var missing []string
		if loc == "" {
			for _, field := range []string{"dependencies", "devDependencies"} {
				_ = e.get(field).each(func(name string, _ *node) error {
					if _, ok := resolveNodeModules(pkgs, loc, name); !ok {
						missing = append(missing, short(name))
					}
					return nil
				})
			}
		}
		l.unlocked(e.at(), "the project itself asks for %s, of which the lock file has no entry", missing)
		b, ok := l.sibling(path.Join(dir, "package.json"))
		if !ok {
			return nil
		}
		doc, err := parseJSON(b, false)
		if err != nil {
			return nil // the manifest's own reader says so
		}
		missing = nil
		for _, field := range npmDependencyFields[:3] {
			_ = doc.get(field).each(func(name string, spec *node) error {
				known, locked := "", false
				for _, f := range npmDependencyFields {
					if s := e.get(f).get(name); s != nil && !locked {
						known, locked = s.str(), true
					}
				}
				if !locked || otherSource(known, spec.str()) {
					missing = append(missing, short(name+"@"+spec.str()))
				}
				return nil
			})
		}
		l.unlocked(e.at(), path.Join(dir, "package.json")+" asks for %s, which the lock file does not know", missing)
		return nil
	})
}

// otherSource reports whether two specifiers name different sources. Ranges may be
// edited so that what is locked still fits, and npm writes directories and GitHub's
// repositories in more than one way.
func otherSource(a, b string) bool {
	plain := func(s string) string {
		s = strings.TrimPrefix(s, "github:")
		if p, ok := strings.CutPrefix(s, "file:"); ok || strings.HasPrefix(s, ".") {
			return "file:" + path.Clean(p)
		}
		return s
	}
	a, b = plain(a), plain(b)
	return a != b && strings.ContainsAny(a+b, ":/")
}

func (l *npmLock) unlocked(line int, format string, names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	more := ""
	if n := len(names) - maxNamed; n > 0 {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	l.problem(sbom.ProblemMismatch, line, fmt.Sprintf(format, strings.Join(names, ", ")+more), "run npm install, and commit the lock file that it writes")
}
