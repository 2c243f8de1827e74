package sbom

import (
	"slices"

	"github.com/headgate/headgate/trust"
)

// Change is why a component of the head is new against the base. The values are
// those of the policy's vocabulary.
type Change string

// Changes, heaviest first.
const (
	ChangeAdded   Change = "added"   // no release of its package was in the base
	ChangeVersion Change = "version" // another version of a package that was in the base
	ChangeDigest  Change = "digest"  // same release; other, additional, lost or first digests
	ChangeSource  Change = "source"  // same release and digests; other URL, registry, origin, alias, vendored files or a new problem
	ChangeScope   Change = "scope"   // development became optional or runtime, or optional runtime
)

// Delta is one component of the head that the base does not have in the same form.
type Delta struct {
	Component Component
	// Previous is the component of the base that this one was compared with: of the
	// same package, at the same place where there are several. Nil for ChangeAdded.
	Previous *Component
	// Replaced is true if Previous itself is gone from the head; false if it is
	// still there and the head has the new version beside it.
	Replaced bool
	// Changes are all that apply, heaviest first; never empty.
	Changes []Change
}

// Change returns the heaviest change.
func (d Delta) Change() Change { return d.Changes[0] }

// Difference is what changes from a base inventory to a head inventory.
type Difference struct {
	Added   []Delta // ChangeAdded
	Changed []Delta // everything else
	// Removed are the base's components that the head neither has nor replaces.
	Removed []Component
	// Unchanged counts the head's components that were already there.
	Unchanged int
}

// Deltas returns added and changed components in the order of their purls.
func (d Difference) Deltas() []Delta {
	all := slices.Concat(d.Added, d.Changed)
	sortByKey(all, Delta.key)
	return all
}

// Diff compares two inventories by package, then by release, then by the file
// that declares it. Every component of the head comes out exactly once, as
// added, changed or unchanged; a component of the base stands for at most one
// of the head, so that a second copy of a release is not hidden by the first.
// What the base names and does not use (ScopeUnused) is not there for what is used
// in the head. A nil base is an empty one. Time and memory are linear in the components
// (apart from sorting the result).
func Diff(base, head *Inventory) Difference {
	var diff Difference
	groups := map[trust.Package]*group{}
	if base != nil {
		for i := range base.Components {
			c := &base.Components[i]
			g := groups[c.Release.Package]
			if g == nil {
				g = &group{}
				groups[c.Release.Package] = g
			}
			g.base = append(g.base, c)
		}
	}
	heads := map[trust.Package][]*Component{}
	var order []trust.Package
	for i := range head.Components {
		c := &head.Components[i]
		if _, ok := heads[c.Release.Package]; !ok {
			order = append(order, c.Release.Package)
		}
		heads[c.Release.Package] = append(heads[c.Release.Package], c)
	}
	unused := func(c *Component) bool { return c.Scope == ScopeUnused }
	stays := map[*Component]bool{}
	match := func(g group, heads []*Component) {
		if len(g.base) == 0 {
			for _, c := range heads {
				diff.Added = append(diff.Added, Delta{Component: *c, Changes: []Change{ChangeAdded}})
			}
			return
		}
		if len(heads) == 0 {
			return
		}
		g.match(heads, &diff)
		for i, c := range g.base {
			if g.used[i] {
				stays[c] = true
			}
		}
	}
	for _, p := range order {
		var all, used group
		if g := groups[p]; g != nil {
			all = *g
		}
		hs := heads[p]
		if !slices.ContainsFunc(all.base, unused) && !slices.ContainsFunc(hs, unused) {
			match(all, hs)
			continue
		}
		used.base = slices.DeleteFunc(slices.Clone(all.base), unused)
		match(used, slices.DeleteFunc(slices.Clone(hs), unused))
		match(all, slices.DeleteFunc(hs, func(c *Component) bool { return !unused(c) }))
	}
	for _, g := range groups {
		for _, c := range g.base {
			if !stays[c] {
				diff.Removed = append(diff.Removed, *c)
			}
		}
	}
	sortByKey(diff.Added, Delta.key)
	sortByKey(diff.Changed, Delta.key)
	sortByKey(diff.Removed, Component.sortKey)
	return diff
}

// group are the components of one package in the base.
type group struct {
	base []*Component
	used []bool
}

// pool finds unused components of the base by a string key, each once.
type pool map[string][]int

func (p pool) take(key string, used []bool) int {
	for q := p[key]; len(q) > 0; {
		i := q[0]
		q = q[1:]
		p[key] = q
		if !used[i] {
			used[i] = true
			return i
		}
	}
	return -1
}

// match pairs the heads with the base's components in passes from the closest
// likeness to the loosest: same key and place, same key, same release and
// place, same release, same place, whatever is left over.
func (g *group) match(heads []*Component, diff *Difference) {
	g.used = make([]bool, len(g.base))
	partner := make([]int, len(heads))
	for i := range partner {
		partner[i] = -1
	}
	release := func(c *Component) string { return c.Release.PURL() }
	passes := []func(*Component) string{
		func(c *Component) string { return c.Key() + "\x00" + c.place() + "\x00" + string(c.Scope) },
		func(c *Component) string { return c.Key() + "\x00" + c.place() },
		func(c *Component) string { return c.Key() },
		func(c *Component) string { return release(c) + "\x00" + c.place() },
		release,
		func(c *Component) string { return c.place() + "\x00" + string(c.Kind) },
		func(*Component) string { return "" },
	}
	if len(heads) == 1 && len(g.base) == 1 {
		partner[0], g.used[0] = 0, true
		passes = nil
	}
	for _, key := range passes {
		p := pool{}
		for i, c := range g.base {
			if !g.used[i] {
				p[key(c)] = append(p[key(c)], i)
			}
		}
		for h, c := range heads {
			if partner[h] < 0 {
				partner[h] = p.take(key(c), g.used)
			}
		}
	}
	for h, c := range heads {
		b, replaced := partner[h], true
		if b < 0 {
			// More components than the base had: compare with the first one at the
			// same place, or the first of all, which another head stands for.
			replaced = false
			b = max(0, slices.IndexFunc(g.base, func(o *Component) bool { return o.place() == c.place() }))
			if g.base[b].Release == c.Release {
				// A further copy of a known release: not new if it states the same.
				replaced = true
			}
		}
		prev := g.base[b]
		changes := compare(prev, c)
		if len(changes) == 0 {
			diff.Unchanged++
			continue
		}
		diff.Changed = append(diff.Changed, Delta{Component: *c, Previous: prev, Replaced: replaced, Changes: changes})
	}
}

// compare lists what changed between two components of one package.
func compare(base, head *Component) []Change {
	var out []Change
	if base.Release.Version != head.Release.Version || base.Release.Variant != head.Release.Variant || base.Release.Subpath != head.Release.Subpath {
		out = append(out, ChangeVersion)
	} else if digestsChanged(base, head) {
		out = append(out, ChangeDigest)
	}
	if sourceChanged(base, head) {
		out = append(out, ChangeSource)
	}
	if reach(head.Scope) > reach(base.Scope) {
		out = append(out, ChangeScope)
	}
	return out
}

// reach orders scopes by where their code arrives: optional packages are
// installed in production too, where they can be; unknown counts as runtime.
func reach(s Scope) int {
	switch s {
	case ScopeUnused:
		return -1
	case ScopeDevelopment:
		return 0
	case ScopeOptional:
		return 1
	}
	return 2
}

// digestsChanged reports whether the head states bytes that the base does not.
// Fewer artifacts are no change as long as one with a digest is left; a digest
// that is gone, new, or of algorithms that cannot be compared is one.
func digestsChanged(base, head *Component) bool {
	if base.Commit != head.Commit || base.Pinned != head.Pinned {
		return true
	}
	old := make(map[string]trust.Digests, len(base.Artifacts))
	stated := false
	for _, a := range base.Artifacts {
		old[a.Name] = append(old[a.Name], a.Digests...)
		stated = stated || len(a.Digests) > 0
	}
	still := false
	for _, a := range head.Artifacts {
		was, known := old[a.Name]
		if len(a.Digests) == 0 {
			if len(was) > 0 {
				return true
			}
			continue
		}
		still = true
		if !known || len(was) == 0 || !sameDigests(was, a.Digests) {
			return true
		}
	}
	return stated && !still
}

// sameDigests is stricter than Agreement: weak digests that are equal count as
// unchanged, as both sides state the same, however little that proves.
func sameDigests(a, b trust.Digests) bool {
	switch a.Compare(b) {
	case trust.Agree:
		return true
	case trust.Disagree:
		return false
	}
	shared, strong := false, false
	for _, x := range b {
		shared = shared || slices.ContainsFunc(a, x.Equal)
		strong = strong || x.Strong()
	}
	for _, x := range a {
		strong = strong || x.Strong()
	}
	return shared && !strong
}

// sourceChanged reports whether the head says something else about where the
// component comes from. What a base does not state at all (an SBOM without URLs)
// is no change as long as the digests prove the same bytes.
func sourceChanged(base, head *Component) bool {
	proven := !digestsChanged(base, head) && slices.ContainsFunc(head.Artifacts, func(a trust.Artifact) bool { return !a.Digests.Strongest().IsZero() })
	if base.Kind != head.Kind || base.Registry != head.Registry && !(proven && base.Registry == "") || base.Origin != head.Origin ||
		base.Alias != head.Alias || base.Replaces != head.Replaces || base.Vendored != head.Vendored && head.Vendored != "" {
		return true
	}
	if base.Release.Version == head.Release.Version {
		urls, stated := make(map[string]bool, len(base.Artifacts)), false
		for _, a := range base.Artifacts {
			urls[a.Name+"\x00"+a.URL] = true
			stated = stated || a.URL != ""
		}
		if !stated && proven {
			urls = nil
		}
		for _, a := range head.Artifacts {
			if urls != nil && !urls[a.Name+"\x00"+a.URL] && a.URL != "" {
				return true
			}
		}
	}
	for _, p := range head.Problems {
		if !slices.ContainsFunc(base.Problems, func(o Problem) bool { return o.Code == p.Code }) {
			return true
		}
	}
	return false
}

func (d Delta) key() string { return d.Component.sortKey() }
