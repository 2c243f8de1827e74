package lockfile

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// want describes one expected component by what is asserted of it.
type want struct {
	purl     string
	kind     sbom.Kind
	scope    sbom.Scope
	relation sbom.Relation
	digests  int // of all artifacts
	problem  sbom.ProblemCode
	origin   string
	alias    string
	registry string
	line     int
}

func check(t *testing.T, res Result, wants ...want) {
	t.Helper()
	for _, w := range wants {
		c := find(t, res, w.purl)
		n := 0
		for _, a := range c.Artifacts {
			n += len(a.Digests)
		}
		if w.kind == "" {
			w.kind = sbom.KindRegistry
		}
		if c.Kind != w.kind || c.Scope != w.scope || c.Relation != w.relation || n != w.digests || c.Origin != w.origin || c.Alias != w.alias ||
			c.Registry != w.registry || w.line != 0 && c.Locations[0].Line != w.line {
			t.Errorf("%s: got %+v with %d digests, want %+v", w.purl, c, n, w)
		}
		if w.problem != "" && !has(c, w.problem) || w.problem == "" && len(c.Problems) != 0 {
			t.Errorf("%s: problems %v, want %q", w.purl, c.Problems, w.problem)
		}
	}
	if len(res.Components) != len(wants) {
		var all []string
		for _, c := range res.Components {
			all = append(all, c.Release.PURL())
		}
		t.Errorf("%d components, want %d: %q", len(res.Components), len(wants), all)
	}
}

const (
	rt  = sbom.ScopeRuntime
	dev = sbom.ScopeDevelopment
	opt = sbom.ScopeOptional
	dir = sbom.RelationDirect
	trs = sbom.RelationTransitive
	reg = "https://registry.example.com/"
)

func TestPackageLock1(t *testing.T) {
	res := parse(t, PackageLock, "package-lock.json", `{"name":"app","version":"1.0.0","lockfileVersion":1,"dependencies":{
"a":{"version":"1.0.0","resolved":"https://registry.example.com/a/-/a-1.0.0.tgz","integrity":"`+sri512+`","dependencies":{
  "b":{"version":"2.0.0","resolved":"https://registry.example.com/b/-/b-2.0.0.tgz","integrity":"`+sri1+`","dev":true}}},
"al":{"version":"npm:@s/real@3.0.0","resolved":"https://registry.example.com/@s/real/-/real-3.0.0.tgz","integrity":"`+sri512+`"},
"g":{"version":"git+ssh://git@git.example.com/o/g.git#`+commitA+`","from":"git+ssh://git@git.example.com/o/g.git"},
"u":{"version":"https://files.example.com/u.tgz","integrity":"`+sri512+`"},
"p":{"version":"file:../p"}}}`, map[string]string{"package.json": `{"dependencies":{"a":"1","al":"npm:@s/real@3"}}`})
	check(t, res,
		want{purl: "pkg:npm/app@1.0.0", kind: sbom.KindWorkspace, scope: rt, relation: dir, origin: "."},
		want{purl: "pkg:npm/a@1.0.0", scope: rt, relation: dir, digests: 1, registry: reg, line: 2},
		want{purl: "pkg:npm/b@2.0.0", scope: dev, relation: trs, digests: 1, registry: reg, problem: sbom.ProblemWeakDigest, line: 3},
		want{purl: "pkg:npm/%40s/real@3.0.0", scope: rt, relation: dir, digests: 1, registry: reg, alias: "al", problem: sbom.ProblemAlias},
		want{purl: "pkg:npm/g", kind: sbom.KindGit, scope: rt, relation: trs, origin: "ssh://git@git.example.com/o/g.git"},
		want{purl: "pkg:npm/u", kind: sbom.KindURL, scope: rt, relation: trs, digests: 1, origin: "https://files.example.com/u.tgz"},
		want{purl: "pkg:npm/p", kind: sbom.KindPath, scope: rt, relation: trs, origin: "../p"})
}

func TestPackageLock2TreesDisagree(t *testing.T) {
	lock := func(integrity string) string {
		return `{"name":"app","lockfileVersion":2,"packages":{"":{},"node_modules/a":{"version":"1.0.0","resolved":"https://registry.example.com/a/-/a-1.0.0.tgz","integrity":"` + sri512 + `"}},
"dependencies":{"a":{"version":"1.0.0","resolved":"https://registry.example.com/a/-/a-1.0.0.tgz","integrity":"` + integrity + `"}}}`
	}
	if res := parse(t, PackageLock, "p", lock(sri512), nil); len(res.Problems) != 0 {
		t.Errorf("equal trees: %v", res.Problems)
	}
	res := parse(t, PackageLock, "p", lock(sri1), nil)
	if len(res.Problems) != 1 || res.Problems[0].Code != sbom.ProblemConflict || res.Problems[0].Location.Line != 2 {
		t.Errorf("different trees: %v", res.Problems)
	}
}

func TestPnpm(t *testing.T) {
	t.Run("9", func(t *testing.T) {
		res := parse(t, PnpmLock, "pnpm-lock.yaml", `lockfileVersion: '9.0'
importers:
  .:
    dependencies:
      a: {specifier: ^1.0.0, version: 1.0.0(b@2.0.0)}
      al: {specifier: npm:real@3, version: real@3.0.0}
      w: {specifier: 'workspace:*', version: link:packages/w}
      g: {specifier: github:o/g, version: https://codeload.example.com/o/g/tar.gz/`+commitA+`}
    devDependencies:
      d: {specifier: 1.0.0, version: 1.0.0}
  packages/w: {}
packages:
  a@1.0.0:
    resolution: {integrity: `+sri512+`}
  b@2.0.0:
    resolution: {integrity: `+sri512+`}
  real@3.0.0:
    resolution: {integrity: `+sri512+`, tarball: https://registry.example.com/real/-/real-3.0.0.tgz}
  d@1.0.0:
    resolution: {integrity: `+sri1+`}
  g@https://codeload.example.com/o/g/tar.gz/`+commitA+`:
    resolution: {tarball: https://codeload.example.com/o/g/tar.gz/`+commitA+`, gitHosted: true}
    version: 4.0.0
snapshots:
  a@1.0.0(b@2.0.0):
    dependencies:
      b: 2.0.0
  b@2.0.0: {}
  real@3.0.0: {}
  d@1.0.0: {}
  g@https://codeload.example.com/o/g/tar.gz/`+commitA+`: {}
`, nil)
		check(t, res,
			want{purl: "pkg:npm/a@1.0.0", scope: rt, relation: dir, digests: 1, line: 13},
			want{purl: "pkg:npm/b@2.0.0", scope: rt, relation: trs, digests: 1},
			want{purl: "pkg:npm/real@3.0.0", scope: rt, relation: dir, digests: 1, registry: reg, alias: "al", problem: sbom.ProblemAlias},
			want{purl: "pkg:npm/d@1.0.0", scope: dev, relation: dir, digests: 1, problem: sbom.ProblemWeakDigest},
			// A self-declared gitHosted does not excuse the missing digest.
			want{purl: "pkg:npm/g@4.0.0", kind: sbom.KindURL, scope: rt, relation: dir, origin: "https://codeload.example.com/o/g/tar.gz/" + commitA, problem: sbom.ProblemNoDigest},
			want{purl: "pkg:npm/w", kind: sbom.KindWorkspace, scope: rt, relation: dir, origin: "packages/w"})
	})
	t.Run("6", func(t *testing.T) {
		res := parse(t, PnpmLock, "pnpm-lock.yaml", `lockfileVersion: '6.0'
dependencies:
  '@s/a': {specifier: 1.0.0, version: 1.0.0(b@2.0.0)}
packages:
  /@s/a@1.0.0(b@2.0.0):
    resolution: {integrity: `+sri512+`}
    dependencies: {b: 2.0.0}
    dev: false
  /b@2.0.0:
    resolution: {integrity: `+sri512+`}
    dev: false
  github.com/o/g/`+commitA+`:
    resolution: {type: git, repo: 'https://github.com/o/g', commit: `+commitA+`}
    name: g
    version: 1.2.3
    dev: true
  file:local:
    resolution: {directory: local, type: directory}
    name: l
    version: 0.1.0
`, nil)
		check(t, res,
			want{purl: "pkg:npm/%40s/a@1.0.0", scope: rt, relation: dir, digests: 1},
			want{purl: "pkg:npm/b@2.0.0", scope: rt, relation: trs, digests: 1},
			want{purl: "pkg:npm/g@1.2.3", kind: sbom.KindGit, scope: dev, relation: trs, origin: "https://github.com/o/g"},
			want{purl: "pkg:npm/l@0.1.0", kind: sbom.KindPath, relation: trs, origin: "local"})
	})
	t.Run("5", func(t *testing.T) {
		res := parse(t, PnpmLock, "pnpm-lock.yaml", `lockfileVersion: 5.4
specifiers: {a: 1.0.0, '@s/c': 1.0.0}
dependencies:
  a: 1.0.0_b@2.0.0
devDependencies:
  '@s/c': 1.0.0
packages:
  /a/1.0.0_b@2.0.0:
    resolution: {integrity: `+sri512+`}
    dependencies: {b: 2.0.0}
    dev: false
  /b/2.0.0:
    resolution: {integrity: `+sri512+`}
    dev: false
  /@s/c/1.0.0:
    resolution: {integrity: `+sri512+`}
    dev: true
    requiresBuild: true
`, nil)
		check(t, res,
			want{purl: "pkg:npm/a@1.0.0", scope: rt, relation: dir, digests: 1},
			want{purl: "pkg:npm/b@2.0.0", scope: rt, relation: trs, digests: 1},
			want{purl: "pkg:npm/%40s/c@1.0.0", scope: dev, relation: dir, digests: 1})
	})
}

func TestYarn(t *testing.T) {
	t.Run("classic", func(t *testing.T) {
		res := parse(t, YarnLock, "yarn.lock", `# yarn lockfile v1


"@s/a@^1.0.0", "@s/a@^1.1.0":
  version "1.1.0"
  resolved "https://registry.example.com/@s/a/-/a-1.1.0.tgz#`+commitA+`"
  integrity `+sri512+`
  dependencies:
    b "^2.0.0"

"al@npm:real@^3":
  version "3.0.0"
  resolved "https://registry.example.com/real/-/real-3.0.0.tgz#`+commitA+`"
  integrity `+sri512+`

b@^2.0.0:
  version "2.0.0"
  resolved "https://registry.example.com/b/-/b-2.0.0.tgz#`+commitA+`"

"g@git+https://git.example.com/o/g.git":
  version "4.0.0"
  resolved "git+https://git.example.com/o/g.git#`+commitA+`"
`, map[string]string{"package.json": `{"dependencies":{"@s/a":"^1.0.0"},"devDependencies":{"al":"npm:real@^3","g":"git+https://git.example.com/o/g.git"}}`})
		check(t, res,
			want{purl: "pkg:npm/%40s/a@1.1.0", scope: rt, relation: dir, digests: 1, registry: reg, line: 4},
			want{purl: "pkg:npm/real@3.0.0", scope: dev, relation: dir, digests: 1, registry: reg, alias: "al", problem: sbom.ProblemAlias},
			want{purl: "pkg:npm/b@2.0.0", scope: rt, relation: trs, digests: 1, registry: reg, problem: sbom.ProblemWeakDigest},
			want{purl: "pkg:npm/g@4.0.0", kind: sbom.KindGit, scope: dev, relation: dir, origin: "https://git.example.com/o/g.git"})
	})
	t.Run("berry", func(t *testing.T) {
		sum := strings.Repeat("ab", 64)
		res := parse(t, YarnLock, "yarn.lock", `__metadata:
  version: 8
  cacheKey: 10c0

"a@npm:^1.0.0":
  version: 1.0.0
  resolution: "a@npm:1.0.0"
  checksum: 10c0/`+sum+`
  languageName: node
  linkType: hard

"a@patch:a@npm%3A^1.0.0#./p.patch":
  version: 1.0.0
  resolution: "a@patch:a@npm%3A1.0.0#./p.patch::version=1.0.0&hash=abc"
  checksum: 10c0/`+sum+`
  languageName: node
  linkType: hard

"al@npm:real@2.0.0":
  version: 2.0.0
  resolution: "real@npm:2.0.0::__archiveUrl=https%3A%2F%2Fregistry.example.com%2Freal%2F-%2Freal-2.0.0.tgz"
  checksum: 10c0/`+sum+`
  languageName: node
  linkType: hard

"app@workspace:.":
  version: 0.0.0-use.local
  resolution: "app@workspace:."
  dependencies:
    a: "npm:^1.0.0"
    al: "npm:real@2.0.0"
    g: "https://git.example.com/o/g.git"
  languageName: unknown
  linkType: soft

"g@https://git.example.com/o/g.git":
  version: 3.0.0
  resolution: "g@https://git.example.com/o/g.git#commit=`+commitA+`"
  languageName: node
  linkType: hard
`, map[string]string{"package.json": `{"name":"app","version":"9.0.0","dependencies":{"a":"^1.0.0"},"devDependencies":{"al":"npm:real@2.0.0","g":"x"}}`})
		a := []string{}
		for _, c := range res.Components {
			a = append(a, c.Key())
		}
		if len(a) != 5 || !strings.HasPrefix(a[1], "pkg:npm/a@1.0.0 path patch:") {
			t.Errorf("components %q", a)
		}
		for _, c := range res.Components {
			if c.Kind == sbom.KindRegistry && c.Artifacts[0].Digests[0].Algorithm != trust.YarnCache {
				t.Errorf("%s: %v", c.Release, c.Artifacts)
			}
		}
		if g := find(t, res, "pkg:npm/g@3.0.0"); g.Kind != sbom.KindGit || !g.Pinned || g.Scope != dev {
			t.Errorf("g: %+v", g)
		}
		if r := find(t, res, "pkg:npm/real@2.0.0"); r.Registry != reg || r.Alias != "al" {
			t.Errorf("real: %+v", r)
		}
	})
}

func TestBunAndDeno(t *testing.T) {
	res := parse(t, BunLock, "bun.lock", `{
  "lockfileVersion": 1, // text form
  "workspaces": {"": {"name": "app", "dependencies": {"a": "^1", "g": "github:o/g",}, "devDependencies": {"al": "npm:real@2"}}},
  "packages": {
    "a": ["a@1.0.0", "", {"optionalDependencies": {"@s/b": "1"}}, "`+sri512+`"],
    "@s/b": ["@s/b@1.0.0", "", {}, "`+sri512+`"],
    "al": ["real@2.0.0", "", {}, "`+sri512+`"],
    "g": ["g@git+https://git.example.com/o/g.git#`+commitA+`", {}, "`+commitA+`"],
  }
}`, nil)
	check(t, res,
		want{purl: "pkg:npm/a@1.0.0", scope: rt, relation: dir, digests: 1, line: 5},
		want{purl: "pkg:npm/%40s/b@1.0.0", scope: opt, relation: trs, digests: 1},
		want{purl: "pkg:npm/real@2.0.0", scope: dev, relation: dir, digests: 1, alias: "al", problem: sbom.ProblemAlias},
		want{purl: "pkg:npm/g", kind: sbom.KindGit, scope: rt, relation: dir, origin: "https://git.example.com/o/g.git"})
	res = parse(t, DenoLock, "deno.lock", `{"version":"4","specifiers":{"jsr:@std/a@1":"1.0.0","npm:b_c@2":"2.0.0_d@1.0.0"},
"jsr":{"@std/a@1.0.0":{"integrity":"`+hex256+`"}},"npm":{"b_c@2.0.0_d@1.0.0":{"integrity":"`+sri512+`"}},
"remote":{"https://files.example.com/x.ts":"`+hex256+`"}}`, nil)
	check(t, res,
		want{purl: "pkg:npm/b_c@2.0.0", relation: dir, digests: 1},
		want{purl: "pkg:jsr/%40std/a@1.0.0", relation: dir, digests: 1},
		want{purl: "pkg:generic/x.ts", kind: sbom.KindURL, digests: 1, origin: "https://files.example.com/x.ts"})
}

const h1A = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestGoModWithSum(t *testing.T) {
	sum := "example.com/A/b v1.0.0 " + h1A + "\nexample.com/A/b v1.0.0/go.mod " + h1A + "\nexample.com/fork v1.5.0 " + h1A + "\nexample.com/rest v0.1.0 " + h1A + "\nexample.com/graph v0.2.0/go.mod " + h1A + "\n"
	res := parse(t, GoMod, "sub/go.mod", `module example.com/app

go 1.26.8

toolchain go1.26.9

require (
	example.com/A/b v1.0.0
	example.com/orig v1.2.0 // indirect
	example.com/local v0.3.0
	example.com/nosum v1.0.0
)

replace example.com/orig => example.com/fork v1.5.0

replace example.com/local => ./local
`, map[string]string{"go.sum": sum})
	check(t, res,
		want{purl: "pkg:golang/stdlib@1.26.8", kind: sbom.KindToolchain, scope: rt, relation: dir, line: 3},
		want{purl: "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.9", kind: sbom.KindToolchain, scope: dev, relation: dir, line: 5},
		want{purl: "pkg:golang/example.com/A/b@v1.0.0", scope: rt, relation: dir, digests: 2, line: 8},
		want{purl: "pkg:golang/example.com/fork@v1.5.0", scope: rt, relation: trs, digests: 1, alias: "example.com/orig"},
		want{purl: "pkg:golang/example.com/local@v0.3.0", kind: sbom.KindPath, scope: rt, relation: dir, origin: "./local"},
		want{purl: "pkg:golang/example.com/nosum@v1.0.0", scope: rt, relation: dir, problem: sbom.ProblemNoDigest},
		want{purl: "pkg:golang/example.com/rest@v0.1.0", scope: sbom.ScopeUnused, relation: trs, digests: 1})
	if c := find(t, res, "pkg:golang/example.com/fork@v1.5.0"); c.Replaces.PURL() != "pkg:golang/example.com/orig@v1.2.0" {
		t.Errorf("replaces %s", c.Replaces)
	}
	if c := find(t, res, "pkg:golang/example.com/rest@v0.1.0"); c.Locations[0] != (trust.Location{Path: "sub/go.sum", Line: 4}) {
		t.Errorf("place %+v", c.Locations)
	}
	if res := parse(t, GoSum, "go.sum", sum, map[string]string{"go.mod": "module x"}); res.PartOf != "go.mod" || len(res.Components) != 0 {
		t.Errorf("go.sum beside go.mod: %+v", res)
	}
	if res := parse(t, GoSum, "go.sum", sum, nil); len(res.Components) != 3 {
		t.Errorf("go.sum alone: %d components", len(res.Components))
	}
	if res := parse(t, GoMod, "go.mod", "module x\nrequire example.com/a v1.0.0\n", nil); len(res.Problems) != 1 || res.Problems[0].Code != sbom.ProblemNoLock {
		t.Errorf("no go.sum: %v", res.Problems)
	}
}

// What go.sum names beyond go.mod is used by no build, but where go.mod does not
// list the whole build: before go 1.17, and in workspaces.
func TestGoSumLeftovers(t *testing.T) {
	sum := "example.com/a v1.0.0 " + h1A + "\nexample.com/rest v0.1.0 " + h1A + "\ngolang.org/toolchain v0.0.1-go1.26.9.linux-amd64 " + h1A + "\n"
	for _, c := range []struct {
		path, line, work string
		want             sbom.Scope
	}{
		{"go.mod", "go 1.17", "", sbom.ScopeUnused}, {"go.mod", "go 1.26.8", "", sbom.ScopeUnused}, {"sub/x/go.mod", "go 1.26.8", "", sbom.ScopeUnused},
		{"go.mod", "go 1.16", "", sbom.ScopeUnknown}, {"go.mod", "go 1.9", "", sbom.ScopeUnknown}, {"go.mod", "", "", sbom.ScopeUnknown},
		{"go.mod", "go 1.26.8", "go.work", sbom.ScopeUnknown}, {"sub/x/go.mod", "go 1.26.8", "../../go.work", sbom.ScopeUnknown}, {"sub/x/go.mod", "go 1.26.8", "../go.work", sbom.ScopeUnknown},
	} {
		files := map[string]string{"go.sum": sum}
		if c.work != "" {
			files[c.work] = "go 1.26.8\nuse ./sub/x\n"
		}
		res := parse(t, GoMod, c.path, "module x\n"+c.line+"\nrequire example.com/a v1.0.0\n", files)
		if a := find(t, res, "pkg:golang/example.com/a@v1.0.0"); a.Scope != sbom.ScopeRuntime {
			t.Errorf("%+v: a is %q", c, a.Scope)
		}
		if r := find(t, res, "pkg:golang/example.com/rest@v0.1.0"); r.Scope != c.want {
			t.Errorf("%+v: the rest is %q", c, r.Scope)
		}
		if tc := find(t, res, "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.9.linux-amd64"); tc.Scope != sbom.ScopeUnknown || tc.Kind != sbom.KindToolchain {
			t.Errorf("%+v: the toolchain is %q %q", c, tc.Scope, tc.Kind)
		}
	}
}

func TestGoWorkAndVendor(t *testing.T) {
	res := parse(t, GoWork, "go.work", "go 1.26.8\nuse (\n\t./a\n\t./b\n)\nreplace example.com/x => example.com/y v1.0.0\n", map[string]string{"go.work.sum": "example.com/y v1.0.0 " + h1A + "\n"})
	if len(res.Members) != 2 || res.Members[1] != "b" {
		t.Errorf("members %q", res.Members)
	}
	if y := find(t, res, "pkg:golang/example.com/y@v1.0.0"); len(y.Artifacts) != 1 || y.Alias != "example.com/x" {
		t.Errorf("y: %+v", y)
	}
	res = parse(t, GoVendor, "vendor/modules.txt", "# example.com/a v1.0.0\n## explicit; go 1.20\nexample.com/a\n# example.com/b v1.1.0\n# example.com/c v1.0.0 => ./c\n# example.com/c => ./c\n",
		map[string]string{"../go.mod": "module x\nrequire example.com/a v1.0.0\nrequire example.com/b v1.0.0\n", "../go.sum": "example.com/a v1.0.0 " + h1A + "\nexample.com/b v1.1.0 " + h1A + "\n"})
	check(t, res,
		want{purl: "pkg:golang/example.com/a@v1.0.0", scope: rt, relation: dir, digests: 1},
		want{purl: "pkg:golang/example.com/b@v1.1.0", scope: rt, relation: trs, digests: 1, problem: sbom.ProblemConflict},
		want{purl: "pkg:golang/example.com/c@v1.0.0", kind: sbom.KindPath, scope: rt, relation: trs, origin: "./c"})
	for what, problem := range map[string]sbom.ProblemCode{"require example.com/a v1.0.0": "", "": sbom.ProblemConflict} {
		res = parse(t, GoVendor, "vendor/modules.txt", "# example.com/a v1.0.0\n## explicit\nexample.com/a\n", map[string]string{"../go.mod": "module x\n" + what + "\n", "../go.work.sum": "example.com/a v1.0.0 " + h1A + "\n"})
		check(t, res, want{purl: "pkg:golang/example.com/a@v1.0.0", scope: rt, relation: dir, digests: 1, problem: problem})
	}
}

func TestUvLock(t *testing.T) {
	res := parse(t, UvLock, "uv.lock", `version = 1
revision = 3

[[package]]
name = "app"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "a" }, { name = "g" }]

[package.dev-dependencies]
dev = [{ name = "d" }]

[[package]]
name = "a"
version = "1.0"
source = { registry = "https://registry.example.com/simple" }
dependencies = [{ name = "l" }]
sdist = { url = "https://files.example.com/a-1.0.tar.gz", hash = "sha256:`+hex256+`", size = 1 }
wheels = [{ url = "https://files.example.com/a-1.0-py3-none-any.whl", hash = "sha256:`+hex256+`" }]

[[package]]
name = "d"
version = "1.0"
source = { registry = "https://registry.example.com/simple" }
wheels = [{ url = "https://files.example.com/other-1.0-py3-none-any.whl", hash = "sha256:`+hex256+`" }]

[[package]]
name = "g"
version = "2.0"
source = { git = "https://git.example.com/o/g?rev=main#`+commitA+`" }

[[package]]
name = "l"
version = "3.0"
source = { url = "https://files.example.com/l-3.0.tar.gz" }
sdist = { hash = "sha256:`+hex256+`" }

[[package]]
name = "e"
source = { editable = "packages/e" }
`, nil)
	pyreg := "https://registry.example.com/simple"
	check(t, res,
		want{purl: "pkg:pypi/app@0.1.0", kind: sbom.KindWorkspace, relation: trs, origin: "."},
		want{purl: "pkg:pypi/a@1.0", scope: rt, relation: dir, digests: 2, registry: pyreg, line: 13},
		want{purl: "pkg:pypi/d@1.0", scope: dev, relation: dir, digests: 1, registry: pyreg, problem: sbom.ProblemMismatch},
		want{purl: "pkg:pypi/g@2.0", kind: sbom.KindGit, scope: rt, relation: dir, origin: "https://git.example.com/o/g"},
		want{purl: "pkg:pypi/l@3.0", kind: sbom.KindURL, scope: rt, relation: trs, digests: 1, origin: "https://files.example.com/l-3.0.tar.gz"},
		want{purl: "pkg:pypi/e", kind: sbom.KindWorkspace, relation: trs, origin: "packages/e"})
}

func TestPoetryPdmPipfilePylock(t *testing.T) {
	res := parse(t, PoetryLock, "poetry.lock", `[[package]]
name = "A_b"
version = "1.0"
optional = false
category = "main"

[[package]]
name = "g"
version = "2.0"
category = "dev"
[package.source]
type = "git"
url = "https://git.example.com/o/g.git"
reference = "main"
resolved_reference = "`+commitA+`"

[metadata]
lock-version = "1.1"
[metadata.files]
A_b = [{file = "A_b-1.0.tar.gz", hash = "sha256:`+hex256+`"}]
g = []
`, map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\npython = \"3\"\na-b = \"1\"\n"})
	check(t, res,
		want{purl: "pkg:pypi/a-b@1.0", scope: rt, relation: dir, digests: 1},
		want{purl: "pkg:pypi/g@2.0", kind: sbom.KindGit, scope: dev, relation: trs, origin: "https://git.example.com/o/g.git"})
	res = parse(t, PoetryLock, "poetry.lock", `[[package]]
name = "a"
version = "1.0"
optional = true
groups = ["main", "dev"]
files = [{file = "a-1.0.tar.gz", hash = "md5:d41d8cd98f00b204e9800998ecf8427e"}]
[package.markers]
main = "extra == 'x'"
[metadata]
lock-version = "2.1"
`, nil)
	check(t, res, want{purl: "pkg:pypi/a@1.0", scope: opt, digests: 1, problem: sbom.ProblemWeakDigest, line: 1})
	res = parse(t, PdmLock, "pdm.lock", `[metadata]
groups = ["default", "dev"]
lock_version = "4.5.0"
[[package]]
name = "a"
version = "1.0"
groups = ["default"]
files = [{file = "a-1.0-py3-none-any.whl", hash = "sha256:`+hex256+`"}]
[[package]]
name = "b"
version = "1.0"
groups = ["dev"]
files = []
`, nil)
	check(t, res, want{purl: "pkg:pypi/a@1.0", scope: rt, digests: 1}, want{purl: "pkg:pypi/b@1.0", scope: dev, problem: sbom.ProblemNoDigest})
	res = parse(t, PipfileLock, "Pipfile.lock", `{"_meta":{"pipfile-spec":6,"sources":[{"name":"x","url":"https://registry.example.com/simple"}]},
"default":{"a":{"hashes":["sha256:`+hex256+`"],"index":"x","version":"==1.0"},"r":{"version":"*"}},
"develop":{"g":{"git":"https://git.example.com/g.git","ref":"main"}}}`, nil)
	check(t, res,
		want{purl: "pkg:pypi/a@1.0", scope: rt, digests: 1, registry: "https://registry.example.com/simple", line: 2},
		want{purl: "pkg:pypi/r@%2A", scope: rt, problem: sbom.ProblemUnpinned},
		want{purl: "pkg:pypi/g", kind: sbom.KindGit, scope: dev, origin: "https://git.example.com/g.git", problem: sbom.ProblemUnpinned})
	res = parse(t, PyLock, "pylock.toml", `lock-version = "1.0"
[[packages]]
name = "a"
version = "1.0"
index = "https://registry.example.com/simple"
wheels = [{name = "a-1.0-py3-none-any.whl", url = "https://files.example.com/a-1.0-py3-none-any.whl", hashes = {sha256 = "`+hex256+`"}}]
[[packages.attestation-identities]]
kind = "GitHub"
repository = "o/a"
workflow = "release.yml"
`, nil)
	check(t, res, want{purl: "pkg:pypi/a@1.0", digests: 1, registry: "https://registry.example.com/simple", line: 2})
	if e := res.Components[0].Expect; len(e) != 1 || e[0]["kind"] != "GitHub" || e[0]["workflow"] != "release.yml" {
		t.Errorf("expectations %v", e)
	}
}

func TestRequirements(t *testing.T) {
	res := parse(t, Requirements, "req/requirements.txt", `a[x]==1.0 ; python_version > "3" \
    --hash=sha256:`+hex256+` \
    --hash=sha256:`+hex256+`
b>=1.0
c==2.*
d @ https://files.example.com/d-1.0.tar.gz#sha256=`+hex256+`
git+https://git.example.com/o/e.git@`+commitA+`#egg=e
-e ./local
-c constraints.txt
f
-r more.txt
-r ../../outside.txt
-r /etc/passwd
w==1.0 --hash=md5:d41d8cd98f00b204e9800998ecf8427e
--index-url https://evil.example.com/simple
`, map[string]string{"constraints.txt": "f==3.0\nunused==1.0\n", "more.txt": "m==1.0\n-r requirements.txt\n"})
	check(t, res,
		want{purl: "pkg:pypi/a@1.0", digests: 2, line: 1},
		want{purl: "pkg:pypi/b", problem: sbom.ProblemUnpinned},
		want{purl: "pkg:pypi/c", problem: sbom.ProblemUnpinned},
		want{purl: "pkg:pypi/d", kind: sbom.KindURL, origin: "https://files.example.com/d-1.0.tar.gz", digests: 1},
		want{purl: "pkg:pypi/e", kind: sbom.KindGit, origin: "https://git.example.com/o/e.git"},
		want{purl: "pkg:pypi/local", kind: sbom.KindPath, origin: "./local"},
		want{purl: "pkg:pypi/f@3.0", problem: sbom.ProblemNoDigest},
		want{purl: "pkg:pypi/m@1.0", problem: sbom.ProblemNoDigest},
		want{purl: "pkg:pypi/w@1.0", digests: 1, problem: sbom.ProblemWeakDigest})
	codes := map[sbom.ProblemCode]int{}
	for _, p := range res.Problems {
		codes[p.Code]++
	}
	if codes[sbom.ProblemSkipped] != 2 || codes[sbom.ProblemUnsupported] != 1 {
		t.Errorf("problems %v", res.Problems)
	}
	if m := find(t, res, "pkg:pypi/m@1.0"); m.Locations[0].Path != "req/more.txt" {
		t.Errorf("place %v", m.Locations)
	}
}

func TestCargoLock(t *testing.T) {
	res := parse(t, CargoLock, "Cargo.lock", `version = 4

[[package]]
name = "app"
version = "0.1.0"
dependencies = ["a", "t", "g"]

[[package]]
name = "a"
version = "1.0.0"
source = "registry+https://index.example.com/index"
checksum = "`+hex256+`"

[[package]]
name = "t"
version = "1.0.0"
source = "sparse+https://index.example.com/"

[[package]]
name = "g"
version = "1.0.0"
source = "git+https://git.example.com/g?branch=main#`+commitA+`"
`, map[string]string{"Cargo.toml": "[package]\nname = \"app\"\n[dependencies]\na = \"1\"\n[dev-dependencies]\nt = \"1\"\n"})
	check(t, res,
		want{purl: "pkg:cargo/app@0.1.0", kind: sbom.KindWorkspace, scope: rt, relation: dir},
		want{purl: "pkg:cargo/a@1.0.0", scope: rt, relation: dir, digests: 1, registry: "https://index.example.com/index", line: 8},
		want{purl: "pkg:cargo/t@1.0.0", scope: dev, relation: dir, registry: "sparse+https://index.example.com/", problem: sbom.ProblemNoDigest},
		want{purl: "pkg:cargo/g@1.0.0", kind: sbom.KindGit, scope: rt, relation: dir, origin: "https://git.example.com/g"})
	res = parse(t, CargoLock, "Cargo.lock", `[root]
name = "app"
version = "0.1.0"
dependencies = ["a 1.0.0 (registry+https://index.example.com/index)"]
[[package]]
name = "a"
version = "1.0.0"
source = "registry+https://index.example.com/index"
[metadata]
"checksum a 1.0.0 (registry+https://index.example.com/index)" = "`+hex256+`"
`, nil)
	if res.Version != "1" {
		t.Errorf("version %s", res.Version)
	}
	if a := find(t, res, "pkg:cargo/a@1.0.0"); len(a.Artifacts) != 1 || a.Relation != dir {
		t.Errorf("a: %+v", a)
	}
}
