package lockfile

import (
	"slices"
	"testing"
)

// FuzzParse runs every reader: the first byte chooses the format. Nothing may
// panic, and what is accepted must have releases and places.
func FuzzParse(f *testing.F) {
	formats := allFormats()
	seeds := map[Format]string{
		PackageLock: npmLockOf(`{"version":"1.0.0","resolved":"https://registry.example.com/a/-/a-1.0.0.tgz","integrity":"` + sri512 + `"}`),
		PnpmLock:    "lockfileVersion: '6.0'\ndependencies:\n  a: {specifier: 1, version: 1.0.0}\npackages:\n  /a@1.0.0:\n    resolution: {integrity: " + sri512 + "}\n",
		YarnLock:    "a@^1.0.0:\n  version \"1.0.0\"\n  dependencies:\n    b \"1\"\n", GoMod: "module x\nrequire a.b/c v1.0.0\n", GoSum: "a.b/c v1.0.0 " + h1A + "\n",
		UvLock: "version = 1\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"x\" }\n", Requirements: "a==1 \\\n --hash=sha256:00\n-e ./x\n",
		GemfileLock: "GEM\n  remote: x\n  specs:\n    a (1)\nDEPENDENCIES\n  a\n", Dockerfile: "ARG A=b\nFROM ${A:-c}:1 AS x\nCOPY --from=y a b\n",
		MavenPOM: "<project><properties><a>${b}</a></properties><dependencies><dependency><groupId>g</groupId><artifactId>a</artifactId><version>${a}</version></dependency></dependencies></project>",
		Workflow: "jobs: {a: {steps: [{uses: a/b@c}]}}\n", TerraformLock: "provider \"h/n/p\" {\n  version = \"1\"\n  hashes = [\n    \"zh:00\",\n  ]\n}\n",
		MixLock: "%{\n  \"a\": {:hex, :a, \"1\", \"00\", [:mix], [], \"hexpm\", \"00\"},\n}\n", BunLock: `{"lockfileVersion":1,"workspaces":{"":{}},"packages":{"a/b":["b@1","",{},""]}}`,
		DenoLock: `{"version":"4","npm":{"a@1_b@2":{"integrity":""}}}`, GoVendor: "# a v1 => b\n## explicit\n", PodfileLock: "PODS:\n- A/B (1)\nCOCOAPODS: 1\n",
	}
	for format, s := range seeds {
		f.Add(byte(slices.Index(formats, format)), []byte(s))
	}
	f.Fuzz(func(t *testing.T, which byte, content []byte) {
		format := formats[int(which)%len(formats)]
		res, err := Parse(format, "dir/file", content, func(name string) ([]byte, bool) { return content, len(name)%2 == 0 })
		if err != nil {
			return
		}
		for _, c := range res.Components {
			if c.Release.IsZero() || c.Release.PURL() == "" || c.Kind == "" || len(c.Locations) == 0 {
				t.Fatalf("%s: unfinished component %+v", format, c)
			}
		}
		Conflicts([]Result{res, res})
		Uncovered([]Result{res})
	})
}

// FuzzJSON compares with no other parser; it must end, and what it accepts must
// have one value for each key.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"\u0041"}],"c":null}`), true)
	f.Fuzz(func(t *testing.T, content []byte, relaxed bool) {
		n, err := parseJSON(content, relaxed)
		if err != nil {
			return
		}
		if n.isObject() && len(n.keys) != len(n.items) {
			t.Fatalf("%d keys, %d values", len(n.keys), len(n.items))
		}
	})
}

func allFormats() []Format {
	seen := map[Format]bool{Requirements: true, RequirementsIn: true, Workflow: true, Dockerfile: true, Compose: true, Kubernetes: true, GoVendor: true, PyLock: true, DotNetProject: true}
	for _, f := range byName {
		seen[f] = true
	}
	out := make([]Format, 0, len(seen))
	for f := range seen {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}
