package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
)

var integrity = "sha512-" + strings.Repeat("A", 86) + "=="

// lock makes a package-lock.json with one package.
func lock(name, version, extra string) string {
	return fmt.Sprintf(`{"name":"app","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"app","version":"1.0.0","dependencies":{%q:"*"}},
"node_modules/%s":{"version":%q,"resolved":"https://registry.example.com/%s/-/%s-%s.tgz","integrity":%q%s}}}`, name, name, version, name, name, version, integrity, extra)
}

func write(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func list(inv *sbom.Inventory) (components, problems []string) {
	for _, c := range inv.Components {
		s := c.Release.PURL()
		if c.Kind != sbom.KindRegistry {
			s += " " + string(c.Kind)
		}
		for _, p := range c.Problems {
			s += " !" + string(p.Code)
		}
		components = append(components, s)
	}
	for _, p := range inv.Problems {
		problems = append(problems, string(p.Code)+" "+p.Location.Path)
	}
	return components, problems
}

func mustOpen(t testing.TB, source string) *sbom.Inventory {
	t.Helper()
	inv, err := Open(context.Background(), source, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestSourceGrammar(t *testing.T) {
	dir := write(t, t.TempDir(), map[string]string{
		"package-lock.json": lock("left", "1.0.0", ""),
		"bom.json":          `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"x","purl":"pkg:npm/x@1"}]}`,
		"other.txt":         "hello",
		"dir:x":             `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"y","purl":"pkg:npm/y@1"}]}`,
	})
	t.Chdir(dir)
	for source, want := range map[string]struct{ scheme, purl string }{
		dir:                         {"dir", "pkg:npm/left@1.0.0"},
		"dir:" + dir:                {"dir", "pkg:npm/left@1.0.0"},
		"":                          {"dir", "pkg:npm/left@1.0.0"},
		".":                         {"dir", "pkg:npm/left@1.0.0"},
		"package-lock.json":         {"file", "pkg:npm/left@1.0.0"},
		"file:package-lock.json":    {"file", "pkg:npm/left@1.0.0"},
		dir + "/package-lock.json":  {"file", "pkg:npm/left@1.0.0"},
		"bom.json":                  {"sbom", "pkg:npm/x@1"},
		"file:bom.json":             {"sbom", "pkg:npm/x@1"},
		"sbom:bom.json":             {"sbom", "pkg:npm/x@1"},
		"dir:x":                     {"sbom", "pkg:npm/y@1"}, // a file of that name is there
		"pkg:npm/%40Scope/x@1.0.0":  {"purl", "pkg:npm/%40Scope/x@1.0.0"},
		"pkg:pypi/Zope.Interface@1": {"purl", "pkg:pypi/zope-interface@1"},
	} {
		inv, err := Open(context.Background(), source, Options{})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		found := slices.ContainsFunc(inv.Components, func(c sbom.Component) bool { return c.Release.PURL() == want.purl })
		if inv.Source.Scheme != want.scheme || !found {
			t.Errorf("%s: %+v %v", source, inv.Source, inv.Components)
		}
	}
	for _, source := range []string{"nothing-here", "dir:", "file:", "sbom:", "other.txt", "pkg:npm/x", "pkg:", "pkg:npm/x@1\u2028", "registry:", "dir:nothing", "oci-archive:nothing", "file:" + dir, "sbom:" + dir, "dir:bom.json"} {
		if inv, err := Open(context.Background(), source, Options{}); err == nil {
			t.Errorf("%q: %+v", source, inv)
		}
	}
	for _, source := range []string{"nothing-here", "dir:", "pkg:npm/x"} {
		if _, err := Open(context.Background(), source, Options{}); !errors.Is(err, ErrSource) {
			t.Errorf("%q: %v", source, err)
		}
	}
}

func TestEmptyDirectory(t *testing.T) {
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"main.c": "int main;", "node_modules/x/package-lock.json": lock("x", "1.0.0", "")}))
	if len(inv.Components) != 0 || len(inv.Files) != 0 || inv.Partial() {
		t.Errorf("%+v", inv)
	}
}

func TestWalkRules(t *testing.T) {
	files := map[string]string{
		"a/b/package-lock.json": lock("deep", "1.0.0", ""), ".hidden/package-lock.json": lock("hidden", "1.0.0", ""),
		"go.mod": "module example.com/m\n\ngo 1.26\n", "vendor/modules.txt": "# example.com/x v1.0.0\n## explicit\nexample.com/x\n", "vendor/example.com/x/go.mod": "module example.com/x\n",
	}
	for _, d := range skipped {
		if d != "vendor" {
			files[d+"/package-lock.json"] = lock("skipped", "1.0.0", "")
			files["a/"+d+"/sub/package-lock.json"] = lock("skipped", "1.0.0", "")
		}
	}
	inv := mustOpen(t, write(t, t.TempDir(), files))
	var paths []string
	for _, f := range inv.Files {
		paths = append(paths, f.Path)
	}
	if want := []string{".hidden/package-lock.json", "a/b/package-lock.json", "go.mod", "vendor/modules.txt"}; !slices.Equal(paths, want) {
		t.Errorf("files %q, want %q", paths, want)
	}
	cs, _ := list(inv)
	if slices.ContainsFunc(cs, func(s string) bool { return strings.Contains(s, "skipped") }) {
		t.Errorf("%q", cs)
	}
}

func TestLinks(t *testing.T) {
	outside := write(t, t.TempDir(), map[string]string{"package-lock.json": lock("secret", "1.0.0", ""), "d/package-lock.json": lock("secret", "1.0.0", "")})
	dir := write(t, t.TempDir(), map[string]string{"real/lock.json": lock("inside", "1.0.0", ""), "pipe/x": ""})
	for link, target := range map[string]string{
		"package-lock.json": "real/lock.json", "out/package-lock.json": filepath.Join(outside, "package-lock.json"),
		"dangling/package-lock.json": "nowhere", "dirlink": filepath.Join(outside, "d"), "loop/package-lock.json": "package-lock.json", "todir/package-lock.json": "../real",
	} {
		p := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, p); err != nil {
			t.Fatal(err)
		}
	}
	cs, ps := list(mustOpen(t, dir))
	if !slices.Contains(cs, "pkg:npm/inside@1.0.0") || slices.ContainsFunc(cs, func(s string) bool { return strings.Contains(s, "secret") }) {
		t.Errorf("components %q", cs)
	}
	want := []string{"unparsable dangling/package-lock.json", "unparsable loop/package-lock.json", "unparsable out/package-lock.json", "unparsable todir/package-lock.json"}
	if !slices.Equal(ps, want) {
		t.Errorf("problems %q", ps)
	}
}

// A hostile tree can neither run anything nor reach the network: the go, git and
// node in PATH and in the tree would leave a mark, and so would any request.
func TestHostileTree(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1); http.NotFound(w, r) }))
	defer server.Close()
	marker := filepath.Join(t.TempDir(), "ran")
	dir := write(t, t.TempDir(), map[string]string{
		"go.mod":                   "module example.com/m\n\ngo 1.26\n\nrequire example.com/x v1.0.0\n",
		"go.sum":                   "example.com/x v1.0.0 h1:" + strings.Repeat("A", 43) + "=\nexample.com/x v1.0.0/go.mod h1:" + strings.Repeat("A", 43) + "=\n",
		"main.go":                  "package main\nimport _ \"example.com/x\"\nfunc main() {}\n",
		"go.env":                   "GOFLAGS=-toolexec=" + marker + "\n",
		"package-lock.json":        lock("left", "1.0.0", ""),
		"web/pnpm-lock.yaml":       "lockfileVersion: '9.0'\n",
		".npmrc":                   "registry=" + server.URL + "\n",
		"pip.conf":                 "[global]\nindex-url=" + server.URL + "\n",
		"requirements.txt":         "--index-url " + server.URL + "\n-r " + server.URL + "/r.txt\nsix==1.16.0 --hash=sha256:" + strings.Repeat("ab", 32) + "\n",
		"py/pyproject.toml":        "[project]\nname='x'\ndependencies=['six']\n",
		"pom.xml":                  "<project><modelVersion>4.0.0</modelVersion><parent><groupId>g</groupId><artifactId>p</artifactId><version>1</version></parent><artifactId>a</artifactId><repositories><repository><id>r</id><url>" + server.URL + "</url></repository></repositories></project>",
		".github/workflows/ci.yml": "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v4\n",
		"Gemfile":                  "system('touch " + marker + "')\n",
		"Gemfile.lock":             "GEM\n  remote: " + server.URL + "/\n  specs:\n    rake (13.0.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  rake\n",
		"setup.py":                 "import os; os.system('touch " + marker + "')\n",
	})
	for _, tool := range []string{"go", "git", "node", "npm", "python3", "mvn", "ruby", "bundle", "cargo"} {
		if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\necho "+tool+" >>"+marker+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range map[string]string{"PATH": dir, "GOFLAGS": "-toolexec=" + filepath.Join(dir, "go"), "GOPROXY": server.URL, "GONOSUMDB": "*", "GOTOOLCHAIN": "go9.9.9",
		"HTTP_PROXY": server.URL, "HTTPS_PROXY": server.URL, "http_proxy": server.URL, "https_proxy": server.URL, "npm_config_registry": server.URL, "GIT_SSH_COMMAND": filepath.Join(dir, "git")} {
		t.Setenv(k, v)
	}
	t.Chdir(dir)
	for _, source := range []string{".", "file:go.mod", "file:requirements.txt", "file:package-lock.json"} {
		if inv := mustOpen(t, source); len(inv.Files) == 0 {
			t.Errorf("%s: nothing was read", source)
		}
	}
	if b, err := os.ReadFile(marker); err == nil {
		t.Errorf("something was run: %s", b)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestBadFiles(t *testing.T) {
	good := lock("left", "1.0.0", "")
	for name, content := range map[string]string{
		"malformed": "{]", "empty": "", "truncated": good[:len(good)-20], "trailing": good + "{}",
		"duplicate key": strings.Replace(good, `"lockfileVersion":3`, `"lockfileVersion":3,"packages":{}`, 1),
		"deep":          strings.Replace(good, `"lockfileVersion":3`, `"lockfileVersion":3,"x":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), 1),
		"huge":          good + strings.Repeat(" ", lockfile.MaxFile),
		"UTF-16":        "\xff\xfe{\x00}\x00",
	} {
		inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"package-lock.json": content, "ok/package-lock.json": lock("fine", "1.0.0", "")}))
		cs, ps := list(inv)
		if !inv.Partial() || !slices.ContainsFunc(ps, func(p string) bool { return strings.HasSuffix(p, " package-lock.json") }) || !slices.Contains(cs, "pkg:npm/fine@1.0.0") {
			t.Errorf("%s: %q %q", name, cs, ps)
		}
	}
	for _, name := range []string{"le\u2028ft", "left\x1b[31m", "\uff4ceft", "\u212aeft"} {
		inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"package-lock.json": lock("ok", "1.0.0", `},"node_modules/`+strings.ReplaceAll(name, "\x1b", `\u001b`)+`":{"version":"1.0.0","integrity":"`+integrity+`"`)}))
		if !inv.Partial() {
			cs, ps := list(inv)
			t.Errorf("%q: %q %q", name, cs, ps)
		}
	}
	// Names that differ in case only are two packages.
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"a/package-lock.json": lock("Left", "1.0.0", ""), "b/package-lock.json": lock("left", "1.0.0", "")}))
	if cs, _ := list(inv); !slices.Contains(cs, "pkg:npm/Left@1.0.0") || !slices.Contains(cs, "pkg:npm/left@1.0.0") {
		t.Errorf("case: %q", cs)
	}
}

func TestManifestWithoutLock(t *testing.T) {
	manifest := `{"name":"app","dependencies":{"left":"^1.0.0"}}`
	noLock := func(files map[string]string) []string {
		_, ps := list(mustOpen(t, write(t, t.TempDir(), files)))
		return slices.DeleteFunc(ps, func(p string) bool { return !strings.HasPrefix(p, string(sbom.ProblemNoLock)) })
	}
	if ps := noLock(map[string]string{"package.json": manifest}); !slices.Equal(ps, []string{"no-lock-file package.json"}) {
		t.Errorf("alone: %q", ps)
	}
	dir := write(t, t.TempDir(), map[string]string{"package.json": manifest, "package-lock.json": lock("left", "1.0.0", "")})
	if _, ps := list(mustOpen(t, filepath.Join(dir, "package.json"))); len(ps) != 0 {
		t.Errorf("lock file beside the one that was named: %q", ps)
	}
	if ps := noLock(map[string]string{"package.json": `{"name":"app"}`}); len(ps) != 0 {
		t.Errorf("without dependencies: %q", ps)
	}
	if ps := noLock(map[string]string{"package.json": manifest, "package-lock.json": lock("left", "1.0.0", "")}); len(ps) != 0 {
		t.Errorf("locked: %q", ps)
	}
	if ps := noLock(map[string]string{"package-lock.json": lock("left", "1.0.0", ""), "package.json": manifest, "other/package.json": strings.Replace(manifest, "app", "other", 1)}); !slices.Equal(ps, []string{"no-lock-file other/package.json"}) {
		t.Errorf("not a member: %q", ps)
	}
	member := strings.Replace(lock("left", "1.0.0", `},"packages/web":{"name":"web","version":"1.0.0","dependencies":{"left":"^1.0.0"}},"node_modules/web":{"resolved":"packages/web","link":true`), `"name":"app","version":"1.0.0","dependencies"`, `"name":"app","version":"1.0.0","workspaces":["packages/*"],"dependencies"`, 1)
	if ps := noLock(map[string]string{"package-lock.json": member, "package.json": manifest, "packages/web/package.json": strings.Replace(manifest, "app", "web", 1)}); len(ps) != 0 {
		t.Errorf("member of the workspace: %q", ps)
	}
}

func TestConflictingLocks(t *testing.T) {
	conflict := func(files map[string]string) []string {
		_, ps := list(mustOpen(t, write(t, t.TempDir(), files)))
		return slices.DeleteFunc(ps, func(p string) bool { return !strings.HasPrefix(p, string(sbom.ProblemConflict)) })
	}
	yarn := func(version, sum string) string {
		return "# yarn lockfile v1\n\n\nleft@*:\n  version \"" + version + "\"\n  resolved \"https://registry.example.com/left/-/left-" + version + ".tgz#" + strings.Repeat("0", 40) + "\"\n  integrity " + sum + "\n"
	}
	npm := lock("left", "1.0.0", "")
	if ps := conflict(map[string]string{"package-lock.json": npm, "yarn.lock": yarn("1.0.0", integrity)}); len(ps) != 0 {
		t.Errorf("agreeing: %q", ps)
	}
	if ps := conflict(map[string]string{"package-lock.json": npm, "yarn.lock": yarn("2.0.0", integrity)}); len(ps) != 1 {
		t.Errorf("versions: %q", ps)
	}
	if ps := conflict(map[string]string{"package-lock.json": npm, "yarn.lock": yarn("1.0.0", "sha512-"+strings.Repeat("B", 85)+"A==")}); len(ps) != 1 {
		t.Errorf("digests: %q", ps)
	}
	if ps := conflict(map[string]string{"package-lock.json": npm, "npm-shrinkwrap.json": lock("left", "1.0.1", "")}); len(ps) == 0 {
		t.Errorf("shrinkwrap: %q", ps)
	}
	// The same release in two places with other bytes is marked on both components.
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"a/package-lock.json": npm, "b/package-lock.json": strings.Replace(npm, integrity, "sha512-"+strings.Repeat("B", 85)+"A==", 1)}))
	cs, _ := list(inv)
	if n := len(slices.DeleteFunc(cs, func(s string) bool { return s != "pkg:npm/left@1.0.0 !conflict" })); n != 2 {
		t.Errorf("%d marked: %v", n, inv.Components)
	}
	inv = mustOpen(t, write(t, t.TempDir(), map[string]string{"a/package-lock.json": npm, "b/package-lock.json": npm}))
	for _, c := range inv.Components {
		if c.Release.Package.Name == "left" && len(c.Locations) != 2 {
			t.Errorf("the same twice: %+v", c)
		}
	}
}

// What only one reader sees is marked; what is no registry package is not.
func TestOneSided(t *testing.T) {
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"package-lock.json": lock("left", "1.0.0", `},
"node_modules/alias":{"name":"real","version":"2.0.0","resolved":"https://registry.example.com/real/-/real-2.0.0.tgz","integrity":"`+integrity+`"},
"node_modules/fromgit":{"version":"3.0.0","resolved":"git+ssh://git@git.example.com/o/fromgit.git#`+strings.Repeat("a", 40)+`"},
"node_modules/dev":{"version":"4.0.0","resolved":"https://registry.example.com/dev/-/dev-4.0.0.tgz","integrity":"`+integrity+`","dev":true},
"node_modules/opt":{"version":"4.0.0","resolved":"https://registry.example.com/opt/-/opt-4.0.0.tgz","integrity":"`+integrity+`","optional":true},
"node_modules/left/node_modules/inner":{"version":"5.0.0","inBundle":true},
"packages/web":{"name":"web","version":"1.0.0"},
"node_modules/web":{"resolved":"packages/web","link":true},
"packages/nameless":{"version":"1.0.0"},
"node_modules/nameless":{"resolved":"packages/nameless","link":true`)}))
	for _, c := range inv.Components {
		for _, p := range c.Problems {
			if p.Code == sbom.ProblemOneSided {
				t.Errorf("%s %s: %s", c.Release, c.Kind, p.Detail)
			}
		}
	}
	if len(inv.Components) < 6 {
		t.Errorf("%+v", inv.Components)
	}

	inv = mustOpen(t, write(t, t.TempDir(), map[string]string{
		"Podfile.lock": "PODS:\n  - Cache (3.0.3):\n    - Cache/Core (= 3.0.3)\n  - Cache/Core (3.0.3)\n\nDEPENDENCIES:\n  - Cache\n\nSPEC REPOS:\n  trunk:\n    - Cache\n\nSPEC CHECKSUMS:\n  Cache: " + strings.Repeat("a", 40) + "\n\nCOCOAPODS: 1.11.2\n",
		"deno.lock":    `{"version":"4","specifiers":{"jsr:@std/bytes@1":"1.0.2"},"jsr":{"@std/bytes@1.0.2":{"integrity":"` + strings.Repeat("a", 64) + `"}}}`,
	}))
	for _, c := range inv.Components {
		if slices.ContainsFunc(c.Problems, func(p sbom.Problem) bool { return p.Code == sbom.ProblemOneSided }) {
			t.Errorf("%s is one-sided", c.Release)
		}
	}
	if len(inv.Components) < 3 {
		t.Errorf("%+v", inv.Components)
	}

	own := mustOpen(t, write(t, t.TempDir(), map[string]string{"package-lock.json": lock("left", "1.0.0", "")})).Components
	own = slices.DeleteFunc(own, func(c sbom.Component) bool { return c.Kind != sbom.KindRegistry })
	tr := &tree{ctx: context.Background(), fsys: fstest.MapFS{}}
	theirs, err := tr.bySyft("package-lock.json", lockfile.PackageLock, []byte(lock("right", "1.0.0", "")))
	if err != nil {
		t.Fatal(err)
	}
	got, missed := compare("package-lock.json", lockfile.PackageLock, own, theirs)
	if missed != 1 {
		t.Errorf("%d missed", missed)
	}
	cs, _ := list(&sbom.Inventory{Components: got})
	for _, want := range []string{"pkg:npm/left@1.0.0 !one-sided", "pkg:npm/right@1.0.0 unknown !one-sided"} {
		if !slices.Contains(cs, want) {
			t.Errorf("%q lacks %q", cs, want)
		}
	}
}

func TestBounds(t *testing.T) {
	scan := func(fsys fs.FS, change func(*bounds)) (*sbom.Inventory, error) {
		b := defaultBounds
		change(&b)
		return scanTree(context.Background(), fsys, sbom.Source{Name: "test"}, Options{}, b)
	}
	content := lock("left", "1.0.0", "")
	files := fstest.MapFS{}
	for i := range 4 {
		files[fmt.Sprintf("d%d/package-lock.json", i)] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	n := len(mustComponents(t, files))
	for name, set := range map[string]struct {
		at  int
		set func(*bounds, int)
	}{
		"entries":    {8, func(b *bounds, n int) { b.entries = n }},
		"files":      {4, func(b *bounds, n int) { b.files = n }},
		"bytes":      {4 * len(content), func(b *bounds, n int) { b.bytes = int64(n) }},
		"components": {4 * n, func(b *bounds, n int) { b.components = n }},
	} {
		if _, err := scan(files, func(b *bounds) { set.set(b, set.at) }); err != nil {
			t.Errorf("%s at the bound: %v", name, err)
		}
		if _, err := scan(files, func(b *bounds) { set.set(b, set.at-1) }); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s above the bound: %v", name, err)
		}
	}
	deep := func(n int) fs.FS {
		return fstest.MapFS{strings.Repeat("d/", n) + "package-lock.json": &fstest.MapFile{Data: []byte(content), Mode: 0o644}}
	}
	inv, err := scan(deep(MaxTreeDepth), func(*bounds) {})
	if err != nil || inv.Partial() || len(inv.Files) != 1 {
		t.Errorf("depth at the bound: %+v, %v", inv, err)
	}
	inv, err = scan(deep(MaxTreeDepth+1), func(*bounds) {})
	if err != nil || !inv.Partial() || inv.Problems[0].Code != sbom.ProblemSkipped {
		t.Errorf("depth above the bound: %+v, %v", inv, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Tree(ctx, files, sbom.Source{}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func mustComponents(t *testing.T, fsys fs.FS) []sbom.Component {
	inv, err := Tree(context.Background(), fsys, sbom.Source{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return inv.Components
}

// TestThreat055DegradedReader: where one of the two readers fails on a file, the
// inventory says so, whatever the other one found.
func TestThreat055DegradedReader(t *testing.T) {
	tr := &tree{ctx: context.Background(), fsys: fstest.MapFS{}}
	if _, err := tr.bySyft("package-lock.json", lockfile.PackageLock, []byte("{")); err == nil {
		t.Error("a reading that failed has no error")
	}
	for name, files := range map[string]map[string]string{
		"both fail":              {"package-lock.json": "{"},
		"the own reader refuses": {"package-lock.json": strings.Replace(lock("left", "1.0.0", ""), `"lockfileVersion":3`, `"lockfileVersion":99`, 1)},
		"only Syft reads it":     {"rebar.lock": "{"},
		"beside a sound one":     {"a/package-lock.json": lock("left", "1.0.0", ""), "b/yarn.lock": "a@1:\n  version"},
	} {
		if inv := mustOpen(t, write(t, t.TempDir(), files)); !inv.Partial() {
			cs, ps := list(inv)
			t.Errorf("%s: %q %q", name, cs, ps)
		}
	}
}
