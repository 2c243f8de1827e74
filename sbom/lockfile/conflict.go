package lockfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// rivals are groups of formats of which one project obeys one.
var rivals = [][]Format{
	{PackageLock, PnpmLock, YarnLock, BunLock},
	{UvLock, PoetryLock, PdmLock, PipfileLock, PyLock},
}

// MaxConflicts bounds the differences that are told of one pair of files.
const MaxConflicts = 20

// Conflicts compares the lock files of each directory that lock the same
// manifest. Two package managers may resolve to different versions honestly, and
// still one of them is not what is installed; different digests of one release
// are never honest.
func Conflicts(results []Result) []sbom.Problem {
	byDir := map[string][]*Result{}
	var dirs []string
	for i := range results {
		d := path.Dir(results[i].Path)
		if byDir[d] == nil {
			dirs = append(dirs, d)
		}
		byDir[d] = append(byDir[d], &results[i])
	}
	slices.Sort(dirs)
	var out []sbom.Problem
	for _, d := range dirs {
		for _, group := range rivals {
			var found []*Result
			for _, r := range byDir[d] {
				if slices.Contains(group, r.Format) {
					found = append(found, r)
				}
			}
			for i, a := range found {
				for _, b := range found[i+1:] {
					out = append(out, compare(a, b)...)
				}
			}
		}
	}
	return out
}

func compare(a, b *Result) []sbom.Problem {
	type known struct {
		versions map[string]*sbom.Component
		direct   bool
	}
	read := func(r *Result) map[trust.Package]*known {
		m := map[trust.Package]*known{}
		for i := range r.Components {
			c := &r.Components[i]
			if c.Kind == sbom.KindWorkspace || c.Kind == sbom.KindPath {
				continue
			}
			k := m[c.Release.Package]
			if k == nil {
				k = &known{versions: map[string]*sbom.Component{}}
				m[c.Release.Package] = k
			}
			k.versions[c.Release.Version] = c
			k.direct = k.direct || c.Relation == sbom.RelationDirect
		}
		return m
	}
	left, right := read(a), read(b)
	names := make([]trust.Package, 0, len(left))
	for p := range left {
		names = append(names, p)
	}
	for p := range right {
		if left[p] == nil {
			names = append(names, p)
		}
	}
	slices.SortFunc(names, func(x, y trust.Package) int { return strings.Compare(x.PURL(), y.PURL()) })
	var out []sbom.Problem
	more := 0
	tell := func(c *sbom.Component, detail string) {
		if len(out) >= MaxConflicts {
			more++
			return
		}
		p := sbom.Problem{Code: sbom.ProblemConflict, Detail: detail, Remedy: "keep the lock file of the package manager that the project uses and remove " + path.Base(b.Path) + " or " + path.Base(a.Path)}
		if c != nil && len(c.Locations) > 0 {
			p.Location = c.Locations[0]
		}
		out = append(out, p)
	}
	any := func(k *known) *sbom.Component {
		var best *sbom.Component
		for _, c := range k.versions {
			if best == nil || c.Release.Version < best.Release.Version {
				best = c
			}
		}
		return best
	}
	for _, p := range names {
		l, r := left[p], right[p]
		if l == nil || r == nil {
			k, has, lacks := l, a, b
			if l == nil {
				k, has, lacks = r, b, a
			}
			tell(any(k), fmt.Sprintf("%s has %s, %s does not", path.Base(has.Path), p.FullName(), path.Base(lacks.Path)))
			continue
		}
		same := len(l.versions) == len(r.versions)
		for v, x := range l.versions {
			y := r.versions[v]
			if y == nil {
				same = false
				continue
			}
			if disagree(x, y) {
				tell(x, fmt.Sprintf("%s and %s state different digests of %s", path.Base(a.Path), path.Base(b.Path), x.Release.PURL()))
			}
		}
		if !same {
			tell(any(l), fmt.Sprintf("%s and %s have different versions of %s", path.Base(a.Path), path.Base(b.Path), p.FullName()))
		}
	}
	if more > 0 {
		out = append(out, sbom.Problem{Code: sbom.ProblemConflict, Location: trust.Location{Path: a.Path}, Detail: fmt.Sprintf("%s and %s differ in %d more packages", path.Base(a.Path), path.Base(b.Path), more)})
	}
	return out
}

// disagree reports whether two files contradict each other about one release's
// artifacts. Several nameless artifacts, or several files, are sets of which the
// other side may know only some.
func disagree(x, y *sbom.Component) bool {
	if len(x.Artifacts) == 1 && len(y.Artifacts) == 1 {
		a, b := x.Artifacts[0], y.Artifacts[0]
		return a.Name == b.Name && a.Digests.Compare(b.Digests) == trust.Disagree
	}
	for _, a := range x.Artifacts {
		for _, b := range y.Artifacts {
			if a.Name != "" && a.Name == b.Name && a.Digests.Compare(b.Digests) == trust.Disagree {
				return true
			}
		}
	}
	return false
}
