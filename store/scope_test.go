package store

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

func TestScopeText(t *testing.T) {
	for in, want := range map[string]string{
		"pkg:npm/left-pad":                     "pkg:npm/left-pad",
		"pkg:npm/@angular/*":                   "pkg:npm/@angular/*",
		"pkg:npm/%40angular/*":                 "pkg:npm/@angular/*",
		"pkg:npm/@angular/core":                "pkg:npm/@angular/core",
		"pkg:npm/*":                            "pkg:npm/*",
		"pkg:NPM/*":                            "pkg:npm/*",
		"pkg:pypi/Foo_Bar":                     "pkg:pypi/foo-bar",
		"pkg:golang/github.com/org/*":          "pkg:golang/github.com/org/*",
		"pkg:golang/k8s.io/*":                  "pkg:golang/k8s.io/*",
		"pkg:deb/debian/curl?distro=debian-12": "pkg:deb/debian/curl?distro=debian-12",
		"pkg:npm/x?repository_url=https://npm.example.com": "pkg:npm/x?repository_url=https://npm.example.com",
		"source:https://github.com/Org/*":                  "source:https://github.com/org/*",
		"source:https://forge.example/Org/*":               "source:https://forge.example/Org/*",
		"source:https://github.com/org/repo":               "source:https://github.com/org/repo",
	} {
		got, err := ParseScope(in)
		if err != nil || string(got) != want {
			t.Errorf("ParseScope(%q) = %q, %v; want %q", in, got, err, want)
		}
		if again, err := ParseScope(string(got)); err != nil || again != got {
			t.Errorf("ParseScope(%q) is not stable: %q, %v", got, again, err)
		}
	}
}

func TestScopeRefused(t *testing.T) {
	for _, in := range []string{
		"", "npm/left-pad", "pkg:", "pkg:npm", "pkg:npm/", "pkg:*/x", "pkg:npm/left-*", "pkg:npm/*/x", "pkg:npm/@ang*/core", "pkg:npm/**",
		"pkg:npm/left-pad@1.0.0", "pkg:npm/@angular/core@1", "pkg:npm/x#sub", "pkg:npm/x?arch=amd64", "pkg:npm/le\u200bft", "pkg:npm/a b",
		"source:", "source:https://github.com", "source:http://github.com/org/*", "source:https://github.com/org", "source:https://github.com/org/",
		"source:https://github.com/org*", "source:https://github.com/../org/*", "source:https://github.com//org/*", "source:https://user@github.com/org/*",
		"source:https://github.com/org/*?x", "source:github.com/org/*", strings.Repeat("x", MaxScope+1),
	} {
		if got, err := ParseScopeUnsafe(in); err == nil {
			t.Errorf("ParseScopeUnsafe(%q) = %q", in, got)
		}
	}
	long := "pkg:npm/" + strings.Repeat("x", MaxScope-len("pkg:npm/"))
	if _, err := ParseScope(long); err != nil {
		t.Errorf("scope of %d bytes: %v", len(long), err)
	}
	if _, err := ParseScope(long + "x"); err == nil {
		t.Errorf("scope of %d bytes was taken", len(long)+1)
	}
}

// Scopes that accept strangers need the word unsafe.
func TestScopeTooWide(t *testing.T) {
	for _, in := range []string{"*", "pkg:*", "source:https://github.com/*", "source:https://forge.example/*", "pkg:golang/github.com/*"} {
		if got, err := ParseScope(in); err == nil {
			t.Errorf("ParseScope(%q) = %q", in, got)
		}
		if _, err := ParseScopeUnsafe(in); err != nil {
			t.Errorf("ParseScopeUnsafe(%q): %v", in, err)
		}
	}
	s, _ := newStore(t)
	a := acceptance(workflow("org", "repo"), "*")
	if _, err := s.Accept(t.Context(), []Acceptance{a}); err == nil {
		t.Fatal("a scope that covers everything was accepted")
	}
	a.UnsafeScope = true
	if _, err := s.Accept(t.Context(), []Acceptance{a}); err != nil {
		t.Fatal(err)
	}
}

func TestScopeCovers(t *testing.T) {
	src := func(repo string) trust.Signer {
		return trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SourceRepository: repo}
	}
	none := trust.Signer{}
	for _, c := range []struct {
		scope, purl string
		signer      trust.Signer
		want        bool
	}{
		{"pkg:npm/left-pad", "pkg:npm/left-pad@1", none, true},
		{"pkg:npm/left-pad", "pkg:npm/left-pad2@1", none, false},
		{"pkg:npm/left-pad", "pkg:npm/%40x/left-pad@1", none, false},
		{"pkg:npm/left-pad", "pkg:npm/left-pad@1?repository_url=https://evil.example", none, false},
		{"pkg:npm/left-pad", "pkg:pypi/left-pad@1", none, false},
		{"pkg:npm/@angular/*", "pkg:npm/%40angular/core@1", none, true},
		{"pkg:npm/@angular/*", "pkg:npm/%40angular-evil/core@1", none, false},
		{"pkg:npm/@angular/*", "pkg:npm/angular/core@1", none, false},
		{"pkg:npm/@angular/*", "pkg:npm/%40Angular/core@1", none, false},
		{"pkg:npm/@angular/*", "pkg:npm/%40angular@1", none, false},
		{"pkg:npm/@angular/*", "pkg:npm/core@1", none, false},
		{"pkg:npm/*", "pkg:npm/core@1", none, true},
		{"pkg:npm/*", "pkg:npm/%40angular/core@1", none, true},
		{"pkg:npm/*", "pkg:npm/core@1?repository_url=https://npm.example.com", none, false},
		{"pkg:npm/*?repository_url=https://npm.example.com", "pkg:npm/core@1?repository_url=https://npm.example.com", none, true},
		{"pkg:npm/*", "pkg:npmx/core@1", none, false},
		{"pkg:golang/github.com/org/*", "pkg:golang/github.com/org/repo@v1", none, true},
		{"pkg:golang/github.com/org/*", "pkg:golang/github.com/org/repo/v2@v2", none, true},
		{"pkg:golang/github.com/org/*", "pkg:golang/github.com/org-evil/repo@v1", none, false},
		{"pkg:golang/github.com/org/*", "pkg:golang/github.com/org@v1", none, false},
		{"pkg:golang/github.com/org/*", "pkg:golang/evil.example/github.com/org/repo@v1", none, false},
		{"pkg:maven/org.apache/*", "pkg:maven/org.apache/x@1", none, true},
		{"pkg:maven/org.apache/*", "pkg:maven/org.apache.evil/x@1", none, false},
		{"pkg:deb/debian/*", "pkg:deb/debian/curl@1?distro=debian-12", none, true},
		{"pkg:deb/debian/*?distro=debian-11", "pkg:deb/debian/curl@1?distro=debian-12", none, false},
		{"pkg:deb/debian/curl", "pkg:deb/debian/curl@1?distro=debian-12&arch=amd64", none, true},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("https://github.com/org/repo"), true},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("https://github.com/Org/Repo"), true},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("https://github.com/org-evil/repo"), false},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("https://github.com/org"), false},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("https://github.com.evil.example/org/repo"), false},
		{"source:https://github.com/org/*", "pkg:npm/x@1", src("http://github.com/evil/org/repo"), false},
		{"source:https://github.com/org/*", "pkg:npm/x@1", none, false},
		{"source:https://github.com/org/*", "pkg:npm/x@1", trust.Signer{Kind: trust.SignerKey, SourceRepository: "https://github.com/org/repo"}, false},
		{"source:https://github.com/org/repo", "pkg:npm/x@1", src("https://github.com/org/repo"), true},
		{"source:https://github.com/org/repo", "pkg:npm/x@1", src("https://github.com/org/repo2"), false},
		{"source:https://github.com/org/repo", "pkg:npm/x@1", src("https://github.com/org/repo/sub"), false},
		{"*", "pkg:npm/x@1", none, true},
		{"nonsense", "pkg:npm/x@1", none, false},
		{"", "pkg:npm/x@1", none, false},
	} {
		p := release(t, c.purl).Package
		if got := Scope(c.scope).Covers(p, c.signer); got != c.want {
			t.Errorf("%s covers %s (%s): %v", c.scope, c.purl, c.signer.SourceRepository, got)
		}
		// The key that look-ups join on finds every package scope that covers.
		if sc, err := ParseScope(c.scope); err == nil && c.want && sc.key() != "" {
			found := false
			for _, k := range scopeKeys(p) {
				found = found || k == sc.key()
			}
			if !found {
				t.Errorf("%s covers %s but is not found for it", c.scope, c.purl)
			}
		}
	}
	if Scope("*").Covers(trust.Package{}, none) {
		t.Error("no package is covered")
	}
}

func TestScopeContains(t *testing.T) {
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{"*", "pkg:npm/*", true}, {"pkg:npm/*", "*", false}, {"pkg:npm/*", "pkg:npm/@a/*", true}, {"pkg:npm/@a/*", "pkg:npm/*", false},
		{"pkg:npm/@a/*", "pkg:npm/@a/b", true}, {"pkg:npm/@a/*", "pkg:npm/@ab/c", false}, {"pkg:npm/@a/*", "pkg:npm/@a/*", true},
		{"pkg:npm/x", "pkg:npm/x", true}, {"pkg:npm/x", "pkg:npm/y", false}, {"pkg:npm/x", "pkg:npm/x?repository_url=https://e.example", false},
		{"source:https://github.com/o/*", "source:https://github.com/o/r", true}, {"source:https://github.com/o/*", "source:https://github.com/o2/r", false},
		{"source:https://github.com/o/r", "source:https://github.com/o/*", false}, {"pkg:npm/*", "source:https://github.com/o/*", false},
		{"source:https://github.com/o/*", "pkg:npm/x", false}, {"*", "source:https://github.com/o/*", true},
	} {
		o, err := splitScope(c.outer)
		if err != nil {
			t.Fatal(err)
		}
		i, err := splitScope(c.inner)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.contains(i); got != c.want {
			t.Errorf("%s contains %s: %v", c.outer, c.inner, got)
		}
	}
}

func FuzzScope(f *testing.F) {
	for _, s := range []string{"pkg:npm/@angular/*", "pkg:npm/*", "source:https://github.com/org/*", "*", "pkg:deb/debian/curl?distro=x", "pkg:npm/%2A", "pkg:npm/%40a%2Fb/*"} {
		f.Add(s, "pkg:npm/%40angular/core@1")
	}
	f.Fuzz(func(t *testing.T, s, purl string) {
		sc, err := ParseScope(s)
		if err != nil {
			return
		}
		again, err := ParseScope(string(sc))
		if err != nil || again != sc {
			t.Fatalf("%q: canonical %q becomes %q, %v", s, sc, again, err)
		}
		r, err := trust.ParseRelease(purl)
		if err != nil {
			return
		}
		signer := trust.Signer{Kind: trust.SignerSigstore, SourceRepository: "https://github.com/org/repo"}
		if !sc.Covers(r.Package, signer) || sc.key() == "" {
			return
		}
		for _, k := range scopeKeys(r.Package) {
			if k == sc.key() {
				return
			}
		}
		t.Fatalf("%q covers %q but is not found for it", sc, purl)
	})
}
