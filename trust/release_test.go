package trust

import (
	"strings"
	"testing"
)

func TestParseRelease(t *testing.T) {
	for in, want := range map[string]string{
		"pkg:npm/%40Angular/Core@1.0.0":                           "pkg:npm/%40Angular/Core@1.0.0",
		"pkg:npm/@angular/core@1.0.0":                             "pkg:npm/%40angular/core@1.0.0",
		"pkg:pypi/Foo_Bar.baz@1.0-RC1":                            "pkg:pypi/foo-bar-baz@1.0rc1",
		"pkg:nuget/Newtonsoft.Json@13.0.01.0":                     "pkg:nuget/newtonsoft.json@13.0.1",
		"pkg:golang/github.com/Azure/azure-sdk-for-go@v1.0.0":     "pkg:golang/github.com/Azure/azure-sdk-for-go@v1.0.0",
		"pkg:golang/github.com/Azure/go@v2.0.0+incompatible":      "pkg:golang/github.com/Azure/go@v2.0.0%2Bincompatible",
		"pkg:maven/org.Example/Name@1.0?type=jar&classifier=x":    "pkg:maven/org.Example/Name@1.0?classifier=x&type=jar",
		"pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie":    "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie",
		"pkg:npm/x@1?checksum=sha256:ab&download_url=https://e.x": "pkg:npm/x@1",
		"pkg:github/Foo/Bar@v1":                                   "pkg:github/foo/bar@v1",
	} {
		r, err := ParseRelease(in)
		if err != nil || r.PURL() != want {
			t.Errorf("%s: %s, %v; want %s", in, r, err, want)
			continue
		}
		if again, err := ParseRelease(r.PURL()); err != nil || again != r {
			t.Errorf("%s does not round trip: %#v, %#v, %v", in, r, again, err)
		}
	}
}

// TestThreat097LongNames: nothing works through a name or version without a bound.
func TestThreat097LongNames(t *testing.T) {
	for n, ok := range map[int]bool{MaxPart: true, MaxPart + 1: false, 1 << 20: false} {
		for typ, version := range map[string]string{"npm": strings.Repeat("1.", n/2) + strings.Repeat("1", n%2), "pypi": strings.Repeat("1", n), "golang": "v" + strings.Repeat("1", n-1), "nuget": strings.Repeat("1", n), "deb": strings.Repeat("~", n)} {
			if _, err := NewRelease(typ, "", "x", version); (err == nil) != ok {
				t.Errorf("%s version of %d bytes: %v", typ, n, err)
			}
		}
		if _, err := NewRelease("npm", "", strings.Repeat("x", n), "1.0.0"); (err == nil) != ok {
			t.Errorf("name of %d bytes: %v", n, err)
		}
	}
}

// TestThreat070OneCaseOneName: names that an ecosystem tells apart by case stay
// apart, and those that it does not are one.
func TestThreat070OneCaseOneName(t *testing.T) {
	for typ, same := range map[string]bool{"npm": false, "golang": false, "gem": false, "cargo": false, "pypi": true, "nuget": true, "composer": true, "github": true} {
		a, err := NewRelease(typ, "acme", "Widget", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewRelease(typ, "acme", "widget", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		if (a.Package == b.Package) != same || (a.PURL() == b.PURL()) != same {
			t.Errorf("%s: %s and %s", typ, a, b)
		}
	}
}

// TestThreat069LookAlikes: a name that could be shown as another is no name.
func TestThreat069LookAlikes(t *testing.T) {
	for _, s := range []string{"a\u2028b", "a\u00a0b", "a\u200bb", "\u212aelvin", "ｆoo", "a\u202eb", "a\x00b", "a\nb", "a b", "\xff", "long\u017f", "\u0131d", "a\u3000b", "a\ufeffb"} {
		if r, err := NewRelease("npm", "", s, "1.0.0"); err == nil {
			t.Errorf("name %q became %s", s, r)
		}
		if r, err := NewRelease("npm", "", "x", s); err == nil {
			t.Errorf("version %q became %s", s, r)
		}
		if r, err := NewRelease("npm", s, "x", "1"); err == nil {
			t.Errorf("namespace %q became %s", s, r)
		}
		if r, err := ParseRelease("pkg:npm/" + escape(s, "") + "@1.0.0"); err == nil {
			t.Errorf("escaped %q became %s", s, r)
		}
	}
	if _, err := ParseRelease("pkg:npm/" + strings.Repeat("a", MaxPURL-8)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := ParseRelease("pkg:npm/" + strings.Repeat("a", MaxPURL-7)); err == nil {
		t.Error("above the bound")
	}
	for _, s := range []string{"", "pkg:", "pkg:npm", "pkg:npm/", "npm/x", "pkg:npm/x%zz", "pkg:npm/x%f", "http://x/y"} {
		if r, err := ParseRelease(s); err == nil {
			t.Errorf("%q became %s", s, r)
		}
	}
}

// TestThreat071OneProject: spellings that upstream takes for one are one, and no others.
func TestThreat071OneProject(t *testing.T) {
	same := [][2]string{
		{"pkg:pypi/Foo_Bar@1.0", "pkg:pypi/foo-bar@1.0"}, {"pkg:pypi/foo..bar@1.0", "pkg:pypi/foo-bar@1.0"}, {"pkg:pypi/x@1.0.0-alpha1", "pkg:pypi/x@1.0.0a1"},
		{"pkg:nuget/A.B@1.0.0.0", "pkg:nuget/a.b@1.0.0"}, {"pkg:nuget/A@1.0", "pkg:nuget/a@1.0.0"}, {"pkg:nuget/a@1.0.0-BETA", "pkg:nuget/A@1.0.0-beta"},
		{"pkg:composer/A/B@1", "pkg:composer/a/b@1"}, {"pkg:composer/a%2Fb@1", "pkg:composer/a/b@1"}, {"pkg:npm/%40a%2Fb@1", "pkg:npm/@a/b@1"},
		{"pkg:golang/example.com%2Fa%2Fb@v1", "pkg:golang/example.com/a/b@v1"}, {"pkg:golang/example.com/a%2Fb@v1", "pkg:golang/example.com/a/b@v1"},
	}
	for _, p := range same {
		a, errA := ParseRelease(p[0])
		b, errB := ParseRelease(p[1])
		if errA != nil || errB != nil || a != b {
			t.Errorf("%s and %s: %s, %s, %v, %v", p[0], p[1], a, b, errA, errB)
		}
	}
	different := [][2]string{
		{"pkg:npm/Foo@1", "pkg:npm/foo@1"}, {"pkg:npm/foo-bar@1", "pkg:npm/foo_bar@1"}, {"pkg:npm/@a/b@1", "pkg:npm/a/b@1"}, {"pkg:cargo/foo-bar@1", "pkg:cargo/foo_bar@1"},
		{"pkg:golang/example.com/A@v1.0.0", "pkg:golang/example.com/a@v1.0.0"}, {"pkg:gem/Foo@1", "pkg:gem/foo@1"}, {"pkg:maven/a.b/c@1", "pkg:maven/a/b.c@1"},
		{"pkg:pypi/x@1.0", "pkg:pypi/x@1.0.post1"}, {"pkg:nuget/a@1.0.0.1", "pkg:nuget/a@1.0.0"}, {"pkg:npm/a@1?repository_url=https://r.example.com", "pkg:npm/a@1"},
	}
	for _, p := range different {
		a, errA := ParseRelease(p[0])
		b, errB := ParseRelease(p[1])
		if errA != nil || errB != nil || a == b || a.PURL() == b.PURL() {
			t.Errorf("%s and %s: %s, %s, %v, %v", p[0], p[1], a, b, errA, errB)
		}
	}
}

func TestNamesThatAreNone(t *testing.T) {
	for _, s := range []string{"pkg:npm/%2F..%2Fd@1", "pkg:npm/..@1", "pkg:npm/a%5Cb@1", "pkg:npm/%40a%2F@1", "pkg:pypi/a%2Fb@1", "pkg:cargo/..%2Fa@1", "pkg:gem/a%2Fb@1", "pkg:nuget/a%2F..@1"} {
		if r, err := ParseRelease(s); err == nil {
			t.Errorf("%s: %+v", s, r)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	for _, s := range []string{
		"pkg:npm/%40angular/core@1.0.0", "pkg:golang/github.com/Azure/go@v1.0.0#sub/dir", "pkg:pypi/Foo_Bar@1.0-RC1", "pkg:nuget/A@01.0.0.0-B+c", "pkg:maven/a.b/c@1?type=jar&classifier=x",
		"pkg:oci/x@sha256%3Aab?repository_url=r.example.com/x&tag=1", "pkg:deb/debian/x@1%3A2.0~b?distro=x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRelease(s)
		if err != nil {
			return
		}
		purl := r.PURL()
		again, err := ParseRelease(purl)
		if err != nil {
			t.Fatalf("%q → %q is refused: %v", s, purl, err)
		}
		if again != r {
			t.Fatalf("%q → %q: %#v became %#v", s, purl, r, again)
		}
	})
}
