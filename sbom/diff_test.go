package sbom

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

func component(t testing.TB, purl, place string, edit ...func(*Component)) Component {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	c := Component{Release: r, Kind: KindRegistry, Locations: []trust.Location{{Path: place, Line: 1}}}
	for _, e := range edit {
		e(&c)
	}
	return c
}

func digest(t testing.TB, alg trust.Algorithm, fill string) trust.Digest {
	t.Helper()
	n := map[trust.Algorithm]int{trust.SHA1: 40, trust.SHA256: 64, trust.SHA512: 128}[alg]
	d, err := trust.NewDigest(alg, strings.Repeat(fill, n))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func artifact(name, url string, ds ...trust.Digest) func(*Component) {
	return func(c *Component) {
		c.Artifacts = append(c.Artifacts, trust.Artifact{Name: name, URL: url, Digests: ds})
	}
}

func scope(s Scope) func(*Component) { return func(c *Component) { c.Scope = s } }

func TestDiff(t *testing.T) {
	a512, b512 := digest(t, trust.SHA512, "a"), digest(t, trust.SHA512, "b")
	a1, b1, a256 := digest(t, trust.SHA1, "a"), digest(t, trust.SHA1, "b"), digest(t, trust.SHA256, "a")
	x1 := func(e ...func(*Component)) Component {
		return component(t, "pkg:npm/x@1.0.0", "package-lock.json", e...)
	}
	git := func(c *Component) {
		c.Kind, c.Origin, c.Commit = KindGit, "https://git.example.com/x", strings.Repeat("a", 40)
	}
	for _, tt := range []struct {
		name       string
		base, head []Component
		want       []string // "change[,change] purl <- previous"
		removed    int
		unchanged  int
	}{
		{name: "nothing"},
		{name: "same", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(artifact("", "u", a512))}, unchanged: 1},
		{name: "added", head: []Component{x1()}, want: []string{"added pkg:npm/x@1.0.0 <- "}},
		{name: "removed", base: []Component{x1()}, removed: 1},
		{name: "version", base: []Component{x1()}, head: []Component{component(t, "pkg:npm/x@2.0.0", "package-lock.json")}, want: []string{"version pkg:npm/x@2.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "second version beside the first", base: []Component{x1()}, head: []Component{x1(), component(t, "pkg:npm/x@2.0.0", "package-lock.json")},
			want: []string{"version pkg:npm/x@2.0.0 <- pkg:npm/x@1.0.0 (stays)"}, unchanged: 1},
		{name: "one of two versions goes", base: []Component{x1(), component(t, "pkg:npm/x@2.0.0", "package-lock.json")}, head: []Component{x1()}, unchanged: 1, removed: 1},
		{name: "place breaks the tie", base: []Component{component(t, "pkg:npm/x@1.0.0", "a/package-lock.json"), component(t, "pkg:npm/x@2.0.0", "b/package-lock.json")},
			head: []Component{component(t, "pkg:npm/x@3.0.0", "b/package-lock.json"), component(t, "pkg:npm/x@4.0.0", "a/package-lock.json")},
			want: []string{"version pkg:npm/x@3.0.0 <- pkg:npm/x@2.0.0", "version pkg:npm/x@4.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "digest", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(artifact("", "u", b512))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "digest lost", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1()}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "digest emptied", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(artifact("", "u"))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "digest gained", base: []Component{x1()}, head: []Component{x1(artifact("", "", a512))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "digest downgraded", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(artifact("", "u", a1))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "weak digest kept, strong replaced by other algorithm", base: []Component{x1(artifact("", "u", a1, a512))}, head: []Component{x1(artifact("", "u", a1, a256))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "weak digest same", base: []Component{x1(artifact("", "u", a1))}, head: []Component{x1(artifact("", "u", a1))}, unchanged: 1},
		{name: "weak digest other", base: []Component{x1(artifact("", "u", a1))}, head: []Component{x1(artifact("", "u", b1))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "new file of the release", base: []Component{x1(artifact("x.whl", "", a256))}, head: []Component{x1(artifact("x.whl", "", a256), artifact("x.tar.gz", "", a256))}, want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "fewer files", base: []Component{x1(artifact("x.whl", "", a256), artifact("x.tar.gz", "", a256))}, head: []Component{x1(artifact("x.whl", "", a256))}, unchanged: 1},
		{name: "url", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(artifact("", "v", a512))}, want: []string{"source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "base states no url, same digest", base: []Component{x1(artifact("", "", a512))}, head: []Component{x1(artifact("", "u", a512), func(c *Component) { c.Registry = "https://r.example.com" })}, unchanged: 1},
		{name: "base states no url, weak digest lost", base: []Component{x1(artifact("", "", a1))}, head: []Component{x1(artifact("", "u"))}, want: []string{"digest,source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "base states no url, same weak digest", base: []Component{x1(artifact("", "", a1))}, head: []Component{x1(artifact("", "u", a1))}, want: []string{"source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "registry", base: []Component{x1()}, head: []Component{x1(func(c *Component) { c.Registry = "https://other.example.com" })}, want: []string{"source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "becomes git", base: []Component{x1(artifact("", "u", a512))}, head: []Component{x1(git)}, want: []string{"digest,source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "development becomes runtime", base: []Component{x1(scope(ScopeDevelopment))}, head: []Component{x1(scope(ScopeRuntime))}, want: []string{"scope pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "development becomes unknown", base: []Component{x1(scope(ScopeDevelopment))}, head: []Component{x1()}, want: []string{"scope pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "runtime becomes development", base: []Component{x1(scope(ScopeRuntime))}, head: []Component{x1(scope(ScopeDevelopment))}, unchanged: 1},
		{name: "everything at once", base: []Component{x1(scope(ScopeDevelopment), artifact("", "u", a512))}, head: []Component{x1(artifact("", "v", b512))}, want: []string{"digest,source,scope pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "copy elsewhere with other bytes", base: []Component{x1(artifact("", "u", a512))},
			head: []Component{x1(artifact("", "u", a512)), component(t, "pkg:npm/x@1.0.0", "sub/package-lock.json", artifact("", "u", b512))},
			want: []string{"digest pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}, unchanged: 1},
		{name: "copy elsewhere with the same bytes", base: []Component{x1(artifact("", "u", a512))},
			head: []Component{x1(artifact("", "u", a512)), component(t, "pkg:npm/x@1.0.0", "sub/package-lock.json", artifact("", "u", a512))}, unchanged: 2},
		{name: "new problem", base: []Component{x1()}, head: []Component{x1(func(c *Component) { c.Problems = []Problem{{Code: ProblemOneSided}} })}, want: []string{"source pkg:npm/x@1.0.0 <- pkg:npm/x@1.0.0"}},
		{name: "other name is another package", base: []Component{component(t, "pkg:npm/X@1.0.0", "package-lock.json")}, head: []Component{x1()}, want: []string{"added pkg:npm/x@1.0.0 <- "}, removed: 1},
		{name: "other variant", base: []Component{component(t, "pkg:deb/debian/x@1?arch=amd64", "status")}, head: []Component{component(t, "pkg:deb/debian/x@1?arch=arm64", "status")}, want: []string{"version pkg:deb/debian/x@1?arch=arm64 <- pkg:deb/debian/x@1?arch=amd64"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Diff(&Inventory{Components: tt.base}, &Inventory{Components: tt.head})
			var got []string
			for _, e := range d.Deltas() {
				var cs []string
				for _, c := range e.Changes {
					cs = append(cs, string(c))
				}
				prev := ""
				if e.Previous != nil {
					prev = e.Previous.Release.PURL()
					if !e.Replaced {
						prev += " (stays)"
					}
				}
				got = append(got, fmt.Sprintf("%s %s <- %s", strings.Join(cs, ","), e.Component.Release.PURL(), prev))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("deltas\n got %q\nwant %q", got, tt.want)
			}
			if d.Unchanged != tt.unchanged || len(d.Removed) != tt.removed {
				t.Errorf("unchanged %d, removed %d; want %d, %d", d.Unchanged, len(d.Removed), tt.unchanged, tt.removed)
			}
			if len(d.Added)+len(d.Changed)+d.Unchanged != len(tt.head) {
				t.Errorf("%d+%d+%d entries for %d components", len(d.Added), len(d.Changed), d.Unchanged, len(tt.head))
			}
		})
	}
	if d := Diff(nil, &Inventory{Components: []Component{x1()}}); len(d.Added) != 1 {
		t.Errorf("nil base: %+v", d)
	}
}

// TestDiffManyVersions keeps the pairing linear: 20,000 versions of one package
// would take minutes if each were compared with each.
func TestDiffManyVersions(t *testing.T) {
	const n = 20000
	var base, head Inventory
	for i := range n {
		base.Components = append(base.Components, component(t, fmt.Sprintf("pkg:npm/x@1.0.%d", i), "a"))
		head.Components = append(head.Components, component(t, fmt.Sprintf("pkg:npm/x@1.0.%d", i+1), "a"))
	}
	d := Diff(&base, &head)
	if len(d.Changed) != 1 || d.Unchanged != n-1 || len(d.Removed) != 0 {
		t.Errorf("changed %d, unchanged %d, removed %d", len(d.Changed), d.Unchanged, len(d.Removed))
	}
	if d.Changed[0].Previous.Release.Version != "1.0.0" {
		t.Errorf("previous is %s", d.Changed[0].Previous.Release)
	}
}

func BenchmarkDiff20000(b *testing.B) {
	var base, head Inventory
	for i := range 20000 {
		base.Components = append(base.Components, component(b, fmt.Sprintf("pkg:npm/p%d@1.0.0", i), "a"))
		head.Components = append(head.Components, component(b, fmt.Sprintf("pkg:npm/p%d@1.0.%d", i, i%2), "a"))
	}
	for b.Loop() {
		Diff(&base, &head)
	}
}

func TestScopeThatReachesFurther(t *testing.T) {
	at := func(s Scope) *Inventory {
		r, err := trust.NewRelease("npm", "", "a", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		return &Inventory{Components: []Component{{Release: r, Kind: KindRegistry, Scope: s}}}
	}
	order := []Scope{ScopeDevelopment, ScopeOptional, ScopeRuntime}
	for i, from := range order {
		for j, to := range order {
			if got := len(Diff(at(from), at(to)).Changed) == 1; got != (j > i) {
				t.Errorf("%s to %s: changed %v", from, to, got)
			}
		}
	}
	if d := Diff(at(ScopeDevelopment), at(ScopeUnknown)); len(d.Changed) != 1 {
		t.Error("unknown does not count as runtime")
	}
}

// What the base names and does not use is not there for what is used; what was used
// and is left over is nothing new.
func TestUnused(t *testing.T) {
	at := func(version string, s Scope) Component {
		return Component{Release: trust.Release{Package: trust.Package{Type: "golang", Namespace: "example.com", Name: "m"}, Version: version}, Kind: KindRegistry, Scope: s}
	}
	for _, c := range []struct {
		what       string
		base, head []Component
		want       string
	}{
		{"left over becomes used", []Component{at("v1.0.0", ScopeUnused)}, []Component{at("v1.0.0", ScopeRuntime)}, "added=1 changed=0 removed=1 unchanged=0"},
		{"used becomes left over", []Component{at("v1.0.0", ScopeRuntime)}, []Component{at("v1.0.0", ScopeUnused)}, "added=0 changed=0 removed=0 unchanged=1"},
		{"update that leaves the old one over", []Component{at("v1.0.0", ScopeRuntime)}, []Component{at("v1.0.0", ScopeUnused), at("v1.1.0", ScopeRuntime)}, "added=0 changed=1 removed=0 unchanged=1"},
		{"another one left over", []Component{at("v1.0.0", ScopeRuntime)}, []Component{at("v1.0.0", ScopeRuntime), at("v1.1.0", ScopeUnused)}, "added=0 changed=1 removed=0 unchanged=1"},
		{"only left over", nil, []Component{at("v1.0.0", ScopeUnused)}, "added=1 changed=0 removed=0 unchanged=0"},
		{"gone", []Component{at("v1.0.0", ScopeUnused)}, nil, "added=0 changed=0 removed=1 unchanged=0"},
	} {
		d := Diff(&Inventory{Components: c.base}, &Inventory{Components: c.head})
		if got := fmt.Sprintf("added=%d changed=%d removed=%d unchanged=%d", len(d.Added), len(d.Changed), len(d.Removed), d.Unchanged); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
		for _, x := range d.Changed {
			if x.Component.Scope == ScopeRuntime && (x.Previous == nil || x.Previous.Scope == ScopeUnused) {
				t.Errorf("%s: %s replaces %+v", c.what, x.Component.Release, x.Previous)
			}
		}
	}
}
