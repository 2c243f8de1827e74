package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
)

func fails(t *testing.T, format Format, content string, siblings map[string]string) error {
	t.Helper()
	res, err := Parse(format, string(format), []byte(content), func(n string) ([]byte, bool) {
		s, ok := siblings[n]
		return []byte(s), ok
	})
	if err == nil {
		t.Errorf("%s: accepted %q with %d components", format, short(content), len(res.Components))
	}
	return err
}

func TestThreat054AbsenceIsNotEmpty(t *testing.T) {
	for _, c := range []struct {
		format  Format
		content string
	}{
		{PackageLock, `{"lockfileVersion":3}`}, {PackageLock, `{"lockfileVersion":3,"packages":{}}`}, {PackageLock, `{"lockfileVersion":1}`}, {PackageLock, `{"packages":{"":{}}}`}, {PackageLock, `[]`},
		{PnpmLock, "lockfileVersion: '9.0'\n"}, {PnpmLock, "lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      a: {specifier: 1, version: 1.0.0}\n"}, {PnpmLock, ""}, {PnpmLock, "packages: {}\n"},
		{YarnLock, "# yarn lockfile v1\n"}, {YarnLock, "__metadata:\n  version: 8\n"}, {BunLock, `{"lockfileVersion":1}`}, {BunLock, `{"lockfileVersion":1,"workspaces":{"":{"dependencies":{"a":"1"}}},"packages":{}}`},
		{DenoLock, `{}`}, {UvLock, "version = 1\n"}, {UvLock, "version = 1\npackage = []\n"}, {PoetryLock, "[metadata]\nlock-version = \"2.0\"\n"}, {PoetryLock, "package = []\n[metadata]\nlock-version = \"2.0\"\n"},
		{PdmLock, "[metadata]\nlock_version = \"4\"\n"}, {PyLock, "lock-version = \"1.0\"\n"}, {PyLock, "lock-version = \"1.0\"\npackages = []\n"}, {PipfileLock, `{"_meta":{"pipfile-spec":6}}`},
		{CargoLock, "version = 4\n"}, {CargoLock, ""}, {GemfileLock, ""}, {GemfileLock, "GEM\n  specs:\nDEPENDENCIES\n  a\n"}, {ComposerLock, `{}`}, {ComposerLock, `{"packages":[]}`},
		{NuGetLock, `{"version":1}`}, {NuGetLock, `{"version":1,"dependencies":{}}`}, {NuGetAssets, `{"version":3}`}, {GradleLock, ""}, {MixLock, ""}, {PubspecLock, "sdks: {}\n"}, {TerraformLock, "# nothing\n"},
		{SwiftResolved, `{"version":2}`}, {PodfileLock, "PODS: []\n"}, {CondaLock, "version: 1\npackage: []\n"}, {ChartLock, "digest: x\n"}, {Workflow, "on: push\n"}, {Action, "name: x\n"},
		{Dockerfile, "RUN x\n"}, {Kubernetes, "a: b\n"}, {Compose, ""}, {MavenPOM, "<x/>"}, {GoSum, ""}, {GoMod, ""}, {GoVendor, "x\n"},
	} {
		fails(t, c.format, c.content, nil)
	}
}

func TestThreat054EmptyLockNeedsEmptyManifest(t *testing.T) {
	lock := "package = []\n[metadata]\nlock-version = \"2.0\"\n"
	parse(t, PoetryLock, "poetry.lock", lock, map[string]string{"pyproject.toml": "[tool.poetry.dependencies]\npython = \"3\"\n"})
	fails(t, PoetryLock, lock, map[string]string{"pyproject.toml": "[project]\ndependencies = [\"a\"]\n"})
	fails(t, ComposerLock, `{"packages":[]}`, map[string]string{"composer.json": `{"require":{"v/a":"1"}}`})
	parse(t, ComposerLock, "composer.lock", `{"packages":[]}`, map[string]string{"composer.json": `{"require":{"php":"8"}}`})
}

func TestTruncatedFilesAreErrors(t *testing.T) {
	for format, content := range map[Format]string{
		PackageLock: string(packageLock(20)), BunLock: `{"lockfileVersion":1,"workspaces":{"":{}},"packages":{"a":["a@1.0.0","",{},"` + sri512 + `"]}}`,
		UvLock:        "version = 1\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://registry.example.com\" }\nwheels = [\n{ url = \"u\", hash = \"x\" },\n]\n",
		PodfileLock:   "PODS:\n  - A (1.0)\nDEPENDENCIES:\n  - A\nCOCOAPODS: 1.15.0\n",
		TerraformLock: "provider \"h/n/p\" {\n  version = \"1\"\n}", MixLock: "%{\n  \"a\": {:path, \"x\"},\n}", GemfileLock: "GEM\n  remote: https://gems.example.com/\n  specs:\n    a (1)\n\nDEPENDENCIES",
	} {
		if _, err := Parse(format, "f", []byte(content), nil); err != nil {
			t.Fatalf("%s whole: %v", format, err)
		}
		fails(t, format, content[:len(content)*2/3], nil)
	}
}

func TestThreat093DuplicateKeys(t *testing.T) {
	fails(t, PackageLock, `{"lockfileVersion":3,"packages":{"":{},"node_modules/a":{"version":"1.0.0"},"node_modules/a":{"version":"2.0.0"}}}`, nil)
	fails(t, PackageLock, `{"lockfileVersion":3,"packages":{"":{}}} {}`, nil)
	fails(t, PackageLock, `{"lockfileVersion":3,"lockfileVersion":1,"packages":{"":{}}}`, nil)
	fails(t, PnpmLock, "lockfileVersion: '9.0'\npackages: {}\npackages: {}\n", nil)
	fails(t, CargoLock, "version = 4\n[[package]]\nname = \"a\"\nname = \"b\"\nversion = \"1\"\n", nil)
	fails(t, YarnLock, "a@1:\n  version \"1.0.0\"\n  version \"2.0.0\"\n", nil)
	fails(t, YarnLock, "a@1:\n  version \"1.0.0\"\na@1:\n  version \"2.0.0\"\n", nil)
	var many strings.Builder // past the number of keys from which an object has an index
	for i := range 3 * indexFrom {
		fmt.Fprintf(&many, `"k%d":1,`, i)
	}
	if _, err := parseJSON([]byte("{"+many.String()+`"k1":2}`), false); err == nil {
		t.Error("duplicate among many keys is accepted")
	}
	if n, err := parseJSON([]byte("{"+many.String()+`"z":2}`), false); err != nil || n.get("z").scalar() != "2" || n.get("k20").scalar() != "1" || n.get("none") != nil {
		t.Errorf("look-ups among many keys: %v", err)
	}
}

func npmLockOf(entry string) string {
	return `{"name":"app","lockfileVersion":3,"packages":{"":{},"node_modules/a":` + entry + `}}`
}

func TestThreat077IntegrityStripped(t *testing.T) {
	const url = `"resolved":"https://registry.example.com/a/-/a-1.0.0.tgz"`
	for _, e := range []string{`{"version":"1.0.0",` + url + `}`, `{"version":"1.0.0",` + url + `,"integrity":""}`, `{"version":"1.0.0",` + url + `,"integrity":"   "}`,
		`{"version":"1.0.0",` + url + `,"integrity":"sha999-AAAA"}`, `{"version":"1.0.0",` + url + `,"integrity":"` + sri512 + ` nonsense"}`, `{"version":"1.0.0",` + url + `,"integrity":7}`} {
		if a := find(t, parse(t, PackageLock, "p", npmLockOf(e), nil), "pkg:npm/a@1.0.0"); !has(a, sbom.ProblemNoDigest) {
			t.Errorf("%s: no problem", e)
		}
	}
}

func TestThreat079WeakDigestsOnly(t *testing.T) {
	a := find(t, parse(t, PackageLock, "p", npmLockOf(`{"version":"1.0.0","integrity":"`+sri1+`"}`), nil), "pkg:npm/a@1.0.0")
	if !has(a, sbom.ProblemWeakDigest) {
		t.Error("SHA-1 alone passes")
	}
	r := find(t, parse(t, Requirements, "requirements.txt", "a==1.0 --hash=sha256:"+hex256+" --hash=md5:d41d8cd98f00b204e9800998ecf8427e\n", nil), "pkg:pypi/a@1.0")
	if !has(r, sbom.ProblemWeakDigest) {
		t.Error("pip takes any of the hashes, MD5 among them, and that passes")
	}
}

func TestThreat076ResolvedElsewhere(t *testing.T) {
	for _, u := range []string{
		"https://registry.example.com/b/-/b-1.0.0.tgz", "https://registry.example.com/a/-/a-1.0.1.tgz", "https://registry.example.com/@a/a/-/b-1.0.0.tgz",
		"https://registry.example.com/xa/-/a-1.0.0.tgz", "https://user@registry.example.com/a/-/a-1.0.0.tgz", "ftp://registry.example.com/a/-/a-1.0.0.tgz", "https:///a/-/a-1.0.0.tgz", `\\host\a`,
	} {
		a := find(t, parse(t, PackageLock, "p", npmLockOf(`{"version":"1.0.0","resolved":"`+strings.ReplaceAll(u, `\`, `\\`)+`","integrity":"`+sri512+`"}`), nil), "pkg:npm/a@1.0.0")
		if !has(a, sbom.ProblemMismatch) {
			t.Errorf("%s passes: %+v", u, a)
		}
	}
	a := find(t, parse(t, PackageLock, "p", npmLockOf(`{"version":"1.0.0","resolved":"https://evil.example.net/a.tgz","integrity":"`+sri512+`"}`), nil), "pkg:npm/a@1.0.0")
	if a.Kind != sbom.KindURL {
		t.Errorf("a tarball outside of any registry is %s", a.Kind)
	}
	ok := find(t, parse(t, PackageLock, "p", npmLockOf(`{"version":"1.0.0+b1","resolved":"https://h.example.com/api/npm/a/-/a-1.0.0.tgz","integrity":"`+sri512+`"}`), nil), "pkg:npm/a@1.0.0%2Bb1")
	if len(ok.Problems) != 0 || ok.Registry != "https://h.example.com/api/npm/" {
		t.Errorf("build metadata: %+v", ok)
	}
}

func TestThreat072NotTheRegistryPackage(t *testing.T) {
	for resolved, kind := range map[string]sbom.Kind{
		"git+https://git.example.com/o/a.git#" + commitA: sbom.KindGit, "git+ssh://git@git.example.com/o/a.git#main": sbom.KindGit, "github:o/a#" + commitA: sbom.KindGit,
		"file:../a": sbom.KindPath, "file:a-1.0.0.tgz": sbom.KindPath, "https://files.example.com/a.tgz": sbom.KindURL,
	} {
		res := parse(t, PackageLock, "p", npmLockOf(`{"version":"1.0.0","resolved":"`+resolved+`","integrity":"`+sri512+`"}`), nil)
		if a := find(t, res, "pkg:npm/a@1.0.0"); a.Kind != kind || a.Kind == sbom.KindGit && a.Pinned == has(a, sbom.ProblemUnpinned) {
			t.Errorf("%s: %+v", resolved, a)
		}
	}
	// The specifier says URL, however much the URL looks like a registry's.
	res := parse(t, PackageLock, "p", `{"lockfileVersion":3,"packages":{"":{"dependencies":{"a":"https://h.example.com/a/-/a-1.0.0.tgz"}},"node_modules/a":{"version":"1.0.0","resolved":"https://h.example.com/a/-/a-1.0.0.tgz","integrity":"`+sri512+`"}}}`, nil)
	if a := find(t, res, "pkg:npm/a@1.0.0"); a.Kind != sbom.KindURL {
		t.Errorf("URL dependency is %s", a.Kind)
	}
}

func TestThreat082OptionsInComments(t *testing.T) {
	res := parse(t, Requirements, "requirements.txt", "# --index-url https://evil.example.com\n# -r other.txt\na==1.0 --hash=sha256:"+hex256+" # --index-url https://evil.example.com --hash=sha256:"+strings.Repeat("0", 64)+"\nb==1.0 \\\n# --hash=sha256:"+hex256+"\n",
		map[string]string{"other.txt": "evil==1\n"})
	check(t, res, want{purl: "pkg:pypi/a@1.0", digests: 1}, want{purl: "pkg:pypi/b@1.0", problem: sbom.ProblemNoDigest})
	if len(res.Problems) != 0 {
		t.Errorf("comments have an effect: %v", res.Problems)
	}
}

func TestThreat069NamesThatDeceive(t *testing.T) {
	for _, name := range []string{"a\u2028b", "a\u00a0b", "\uff41", "\u212a", "a\u202eb", "a\u001b[31m"} {
		var doc bytes.Buffer
		fmt.Fprintf(&doc, `{"lockfileVersion":3,"packages":{"":{},"node_modules/x":{"name":%q,"version":"1.0.0"}}}`, name)
		s := strings.ReplaceAll(doc.String(), `\x1b`, `\u001b`)
		res := parse(t, PackageLock, "p", s, nil)
		if len(res.Components) != 0 || len(res.Problems) != 1 || res.Problems[0].Code != sbom.ProblemBadPURL {
			t.Errorf("%q: %+v %v", name, res.Components, res.Problems)
		}
	}
	fails(t, PackageLock, "\xff\xfe{}", nil)
}

func TestThreat083NothingIsExpanded(t *testing.T) {
	t.Setenv("TOKEN", "secret")
	res := parse(t, Requirements, "requirements.txt", "a @ https://${TOKEN}.example.com/a-1.0.tar.gz\n", nil)
	if a := find(t, res, "pkg:pypi/a"); strings.Contains(a.Origin, "secret") || !strings.Contains(a.Origin, "${TOKEN}") {
		t.Errorf("origin %q", a.Origin)
	}
}

func TestThreat094SelfReference(t *testing.T) {
	p := &pom{props: map[string]string{"a": "${b}${b}", "b": "${a}${a}"}}
	if s := p.fill("${a}"); !strings.Contains(s, "${") {
		t.Errorf("a loop became %q", short(s))
	}
	res := parse(t, Requirements, "requirements.txt", "-r requirements.txt\n-r b.txt\n", map[string]string{"b.txt": "-r b.txt\n-r requirements.txt\nx==1\n"})
	if len(res.Components) != 1 {
		t.Errorf("%d components", len(res.Components))
	}
	fails(t, Compose, "services:\n  a: &a\n    b: *a\n", nil)
}

func TestAliasBombIsBounded(t *testing.T) {
	var s strings.Builder
	s.WriteString("apiVersion: v1\nkind: Pod\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&s, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	fails(t, Kubernetes, s.String(), nil)
}

func TestBounds(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := parseJSON(nested(MaxDepth+1), false); err != nil {
		t.Errorf("JSON at the bound of depth: %v", err)
	}
	if _, err := parseJSON(nested(MaxDepth+2), false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("JSON above the bound of depth: %v", err)
	}
	if _, err := parseYAML(nested(MaxDepth + 1)); err != nil {
		t.Errorf("YAML at the bound of depth: %v", err)
	}
	if _, err := parseYAML(nested(MaxDepth + 2)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("YAML above the bound of depth: %v", err)
	}
	xmlNested := func(n int) []byte { return []byte(strings.Repeat("<a>", n) + strings.Repeat("</a>", n)) }
	if _, err := parseXML(xmlNested(MaxDepth)); err != nil {
		t.Errorf("XML at the bound of depth: %v", err)
	}
	if _, err := parseXML(xmlNested(MaxDepth + 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("XML above the bound of depth: %v", err)
	}
	var n node
	if err := (&jsonParser{s: "1", nodes: MaxNodes - 1}).value(&n, 0); err != nil {
		t.Errorf("at the bound of values: %v", err)
	}
	if err := (&jsonParser{s: "1", nodes: MaxNodes}).value(&n, 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound of values: %v", err)
	}
	count := MaxNodes - 1
	if err := fromTOML(&n, "x", 0, &count); err != nil {
		t.Errorf("TOML at the bound of values: %v", err)
	}
	if err := fromTOML(&n, "x", 0, &count); !errors.Is(err, ErrTooLarge) {
		t.Errorf("TOML above the bound of values: %v", err)
	}
	f := &file{seen: map[string]int{}, entries: MaxEntries - 1}
	if err := f.add(npmID("a", "1"), 1, sbom.Component{}); err != nil {
		t.Errorf("at the bound of entries: %v", err)
	}
	if err := f.add(npmID("b", "1"), 1, sbom.Component{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound of entries: %v", err)
	}
	const smallLock = `{"lockfileVersion":3,"packages":{"":{}}}`
	big := append([]byte(smallLock), bytes.Repeat([]byte(" "), MaxFile-len(smallLock))...)
	if _, err := Parse(PackageLock, "package-lock.json", big, nil); err != nil {
		t.Errorf("at the bound of the file: %v", err)
	}
	if _, err := Parse(PackageLock, "package-lock.json", append(big, ' '), nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound of the file: %v", err)
	}
	docs := func(n int) []byte { return []byte(strings.Repeat("--- x\n", n)) }
	if _, err := parseYAML(docs(MaxDocuments)); err != nil {
		t.Errorf("at the bound of documents: %v", err)
	}
	if _, err := parseYAML(docs(MaxDocuments + 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound of documents: %v", err)
	}
	chain := func(n int) error {
		_, err := Parse(Requirements, "r0.txt", []byte("-r r1.txt\n"), func(name string) ([]byte, bool) {
			var i int
			if _, err := fmt.Sscanf(name, "r%d.txt", &i); err != nil || i >= n {
				return nil, false
			}
			if i == n-1 {
				return []byte("a==1\n"), true
			}
			return fmt.Appendf(nil, "-r r%d.txt\n", i+1), true
		})
		return err
	}
	if err := chain(MaxIncludes); err != nil {
		t.Errorf("at the bound of includes: %v", err)
	}
	if err := chain(MaxIncludes + 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound of includes: %v", err)
	}
	props := func(n int) *pom {
		p := &pom{props: map[string]string{fmt.Sprint("p", n): "end"}}
		for i := range n {
			p.props[fmt.Sprint("p", i)] = fmt.Sprintf("${p%d}", i+1)
		}
		return p
	}
	if s := props(MaxInterpolations - 1).fill("${p0}"); s != "end" {
		t.Errorf("at the bound of interpolations: %q", s)
	}
	if s := props(MaxInterpolations).fill("${p0}"); s == "end" {
		t.Error("above the bound of interpolations there is still a value")
	}
}

func TestConflicts(t *testing.T) {
	yarn := func(version, integrity string) Result {
		return parse(t, YarnLock, "d/yarn.lock", "a@^1.0.0:\n  version \""+version+"\"\n  resolved \"https://registry.example.com/a/-/a-"+version+".tgz\"\n  integrity "+integrity+"\n", nil)
	}
	npm := parse(t, PackageLock, "d/package-lock.json", npmLockOf(`{"version":"1.0.0","resolved":"https://registry.example.com/a/-/a-1.0.0.tgz","integrity":"`+sri512+`"}`), nil)
	other := "sha512-" + strings.Repeat("A", 86) + "=="
	for _, c := range []struct {
		name string
		with Result
		want string
	}{{"same", yarn("1.0.0", sri512), ""}, {"version", yarn("1.0.1", sri512), "different versions"}, {"digest", yarn("1.0.0", other), "different digests"}} {
		ps := Conflicts([]Result{npm, c.with})
		if c.want == "" && len(ps) != 0 || c.want != "" && (len(ps) != 1 || !strings.Contains(ps[0].Detail, c.want) || ps[0].Code != sbom.ProblemConflict) {
			t.Errorf("%s: %v", c.name, ps)
		}
	}
	elsewhere := yarn("1.0.1", sri512)
	elsewhere.Path = "e/yarn.lock"
	if ps := Conflicts([]Result{npm, elsewhere}); len(ps) != 0 {
		t.Errorf("other directory: %v", ps)
	}
	many := func(n int) []sbom.Problem {
		r, err := Parse(PackageLock, "d/package-lock.json", packageLock(n), nil)
		if err != nil {
			t.Fatal(err)
		}
		return Conflicts([]Result{r, {Path: "d/yarn.lock", Format: YarnLock}})
	}
	if ps := many(MaxConflicts); len(ps) != MaxConflicts {
		t.Errorf("%d at the bound", len(ps))
	}
	if ps := many(MaxConflicts + 1); len(ps) != MaxConflicts+1 || !strings.Contains(ps[MaxConflicts].Detail, "1 more") {
		t.Errorf("%d above the bound", len(ps))
	}
	shrunk := parse(t, PackageLock, "d/package-lock.json", string(packageLock(1)), map[string]string{"npm-shrinkwrap.json": "{}"})
	if len(shrunk.Problems) != 1 || shrunk.Problems[0].Code != sbom.ProblemConflict {
		t.Errorf("shrinkwrap beside: %v", shrunk.Problems)
	}
}

func TestUncovered(t *testing.T) {
	manifest := func(p, content string) Result {
		f, _ := Match(p)
		return parse(t, f, p, content, nil)
	}
	with := `{"name":"w","dependencies":{"a":"1"}}`
	lock := parse(t, PackageLock, "package-lock.json", `{"name":"app","lockfileVersion":3,"packages":{"":{},"packages/w":{"name":"w"},"node_modules/w":{"link":true,"resolved":"packages/w"}}}`, nil)
	for _, c := range []struct {
		name    string
		results []Result
		want    int
	}{
		{"no lock", []Result{manifest("package.json", with)}, 1},
		{"asks for nothing", []Result{manifest("package.json", `{}`)}, 0},
		{"lock beside", []Result{manifest("package.json", with), lock}, 0},
		{"member of the workspace", []Result{manifest("packages/w/package.json", with), lock}, 0},
		{"stranger below", []Result{manifest("other/package.json", `{"name":"o","dependencies":{"a":"1"}}`), lock}, 1},
		{"other ecosystem's lock", []Result{manifest("Cargo.toml", "[dependencies]\na = \"1\"\n"), lock}, 1},
		{"pyproject", []Result{manifest("pyproject.toml", "[dependency-groups]\ndev = [\"a\"]\n")}, 1},
		{"Gemfile", []Result{manifest("Gemfile", "gem 'a'\n")}, 1},
		{"csproj", []Result{manifest("a.csproj", `<Project><ItemGroup><PackageReference Include="A"/></ItemGroup></Project>`)}, 1},
		{"requirements.in", []Result{manifest("requirements.in", "a\n"), manifest("requirements.txt", "a==1\n")}, 0},
		{"gradle", []Result{manifest("build.gradle.kts", "dependencies {\n  implementation(\"g:a:1\")\n}\n")}, 1},
		{"bun.lockb", []Result{manifest("bun.lockb", "x")}, 1},
	} {
		ps := Uncovered(c.results)
		if len(ps) != c.want {
			t.Errorf("%s: %v", c.name, ps)
		}
	}
}
