package lockfile

import (
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

const (
	sri512  = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
	sri1    = "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="
	hex256  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	commitA = "0123456789abcdef0123456789abcdef01234567"
)

func parse(t *testing.T, format Format, name, content string, siblings map[string]string) Result {
	t.Helper()
	res, err := Parse(format, name, []byte(content), func(n string) ([]byte, bool) {
		s, ok := siblings[n]
		return []byte(s), ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// find returns the one component of the purl.
func find(t *testing.T, res Result, purl string) sbom.Component {
	t.Helper()
	var found []sbom.Component
	for _, c := range res.Components {
		if c.Release.PURL() == purl {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		var all []string
		for _, c := range res.Components {
			all = append(all, c.Release.PURL()+" "+string(c.Kind))
		}
		t.Fatalf("%d components %s in %q", len(found), purl, all)
	}
	return found[0]
}

func has(c sbom.Component, code sbom.ProblemCode) bool {
	for _, p := range c.Problems {
		if p.Code == code {
			return true
		}
	}
	return false
}

func TestPackageLock3(t *testing.T) {
	res := parse(t, PackageLock, "package-lock.json", `{
  "name": "app", "version": "1.0.0", "lockfileVersion": 3,
  "packages": {
    "": {"name": "app", "version": "1.0.0", "workspaces": ["packages/*"],
      "dependencies": {"a": "^1.0.0", "al": "npm:real@2.0.0", "g": "github:o/g", "u": "https://files.example.com/u.tgz", "gone": "1"},
      "devDependencies": {"d": "1.0.0"}},
    "node_modules/a": {"version": "1.0.0", "resolved": "https://registry.example.com/a/-/a-1.0.0.tgz", "integrity": "`+sri512+`", "hasInstallScript": true},
    "node_modules/a/node_modules/@s/b": {"version": "2.0.0", "resolved": "https://registry.example.com/npm/@s/b/-/b-2.0.0.tgz", "integrity": "`+sri512+`", "optional": true},
    "node_modules/al": {"name": "real", "version": "2.0.0", "resolved": "https://registry.example.com/real/-/real-2.0.0.tgz", "integrity": "`+sri512+`"},
    "node_modules/d": {"version": "1.0.0", "resolved": "https://registry.example.com/d/-/d-1.0.0.tgz", "integrity": "`+sri1+`", "dev": true},
    "node_modules/g": {"version": "3.0.0", "resolved": "git+ssh://git@github.com/o/g.git#`+commitA+`"},
    "node_modules/u": {"version": "4.0.0", "resolved": "https://files.example.com/u.tgz", "integrity": "`+sri512+`"},
    "node_modules/evil": {"version": "1.0.0", "resolved": "https://registry.example.com/other/-/other-1.0.0.tgz", "integrity": "`+sri512+`"},
    "node_modules/bare": {"version": "1.0.0"},
    "node_modules/box": {"version": "1.0.0", "resolved": "https://registry.example.com/box/-/box-1.0.0.tgz", "integrity": "`+sri512+`", "bundleDependencies": ["in"]},
    "node_modules/box/node_modules/in": {"version": "1.0.0", "inBundle": true},
    "node_modules/w": {"resolved": "packages/w", "link": true},
    "packages/w": {"version": "0.1.0", "dependencies": {"x": "1"}},
    "node_modules/x": {"version": "1.0.0", "resolved": "", "integrity": ""}
  }
}`, nil)
	a := find(t, res, "pkg:npm/a@1.0.0")
	if a.Kind != sbom.KindRegistry || a.Relation != sbom.RelationDirect || a.Scope != sbom.ScopeRuntime || !a.InstallCode ||
		a.Registry != "https://registry.example.com/" || a.Locations[0].Line != 7 || len(a.Problems) != 0 || a.Artifacts[0].Digests.Strongest().Algorithm != trust.SHA512 {
		t.Errorf("a: %+v", a)
	}
	b := find(t, res, "pkg:npm/%40s/b@2.0.0")
	if b.Relation != sbom.RelationTransitive || b.Scope != sbom.ScopeOptional || b.Registry != "https://registry.example.com/npm/" {
		t.Errorf("b: %+v", b)
	}
	if al := find(t, res, "pkg:npm/real@2.0.0"); al.Alias != "al" || !has(al, sbom.ProblemAlias) {
		t.Errorf("alias: %+v", al)
	}
	if d := find(t, res, "pkg:npm/d@1.0.0"); d.Scope != sbom.ScopeDevelopment || !has(d, sbom.ProblemWeakDigest) || d.Relation != sbom.RelationDirect {
		t.Errorf("d: %+v", d)
	}
	if g := find(t, res, "pkg:npm/g@3.0.0"); g.Kind != sbom.KindGit || g.Commit != commitA || !g.Pinned {
		t.Errorf("g: %+v", g)
	}
	if u := find(t, res, "pkg:npm/u@4.0.0"); u.Kind != sbom.KindURL || u.Origin != "https://files.example.com/u.tgz" {
		t.Errorf("u: %+v", u)
	}
	if e := find(t, res, "pkg:npm/evil@1.0.0"); !has(e, sbom.ProblemMismatch) {
		t.Errorf("evil: %+v", e)
	}
	if e := find(t, res, "pkg:npm/bare@1.0.0"); !has(e, sbom.ProblemNoDigest) {
		t.Errorf("bare: %+v", e)
	}
	if e := find(t, res, "pkg:npm/x@1.0.0"); !has(e, sbom.ProblemNoDigest) || e.Relation != sbom.RelationDirect {
		t.Errorf("x: %+v", e)
	}
	if e := find(t, res, "pkg:npm/in@1.0.0"); e.Kind != sbom.KindBundled {
		t.Errorf("in: %+v", e)
	}
	if w := find(t, res, "pkg:npm/w@0.1.0"); w.Kind != sbom.KindWorkspace || w.Origin != "packages/w" {
		t.Errorf("w: %+v", w)
	}
	if app := find(t, res, "pkg:npm/app@1.0.0"); app.Kind != sbom.KindWorkspace {
		t.Errorf("app: %+v", app)
	}
}

// A version 2 file has the tree of npm 6 too. What a workspace has of its own
// stands below the workspace there, and below its folder in "packages".
func TestWorkspacesOfVersion2(t *testing.T) {
	lock := func(version string) string {
		return `{"name":"app","version":"1.0.0","lockfileVersion":2,"packages":{"":{"workspaces":["w"]},
"node_modules/w":{"resolved":"w","link":true},"w":{"version":"1.0.0","dependencies":{"a":"^2.0.0"}},
"w/node_modules/a":{"version":"2.0.0","resolved":"https://registry.example.com/a/-/a-2.0.0.tgz","integrity":"` + sri512 + `"}},
"dependencies":{"w":{"version":"file:w","requires":{"a":"^2.0.0"},"dependencies":{
"a":{"version":"` + version + `","resolved":"https://registry.example.com/a/-/a-2.0.0.tgz","integrity":"` + sri512 + `"}}}}}`
	}
	if res := parse(t, PackageLock, "package-lock.json", lock("2.0.0"), nil); len(res.Problems) != 0 {
		t.Errorf("the trees agree: %v", res.Problems)
	}
	if res := parse(t, PackageLock, "package-lock.json", lock("2.0.1"), nil); len(res.Problems) != 1 || res.Problems[0].Code != sbom.ProblemConflict {
		t.Errorf("the trees disagree: %v", res.Problems)
	}
}
