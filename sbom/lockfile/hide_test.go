package lockfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
)

// Ways of showing one package manager what the gate does not see.

func problems(res Result) []sbom.ProblemCode {
	var out []sbom.ProblemCode
	for _, p := range res.Problems {
		out = append(out, p.Code)
	}
	return out
}

func TestTreesOfOtherNpmVersions(t *testing.T) {
	// Newer npm installs "packages" of a version 1 file.
	err := fails(t, PackageLock, `{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0"}},"packages":{"":{},"node_modules/evil":{"version":"1.0.0"}}}`, nil)
	if !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	// npm 6 installs "dependencies" of a version 3 file.
	res := parse(t, PackageLock, "package-lock.json", `{"lockfileVersion":3,"packages":{"":{"name":"app"}},"dependencies":{"evil":{"version":"1.0.0","resolved":"https://registry.example.com/evil/-/evil-1.0.0.tgz","integrity":"`+sri512+`"}}}`, nil)
	if !slices.Contains(problems(res), sbom.ProblemConflict) {
		t.Errorf("%+v", res)
	}
}

// "inBundle" says that no registry is asked: only a package that bundles
// something can say so of what lies in its own directory.
func TestBundledOnlyInBundlers(t *testing.T) {
	for entries, want := range map[string]sbom.Kind{
		`"node_modules/x":{"version":"1.0.0","inBundle":true}`:                                                                                                              sbom.KindRegistry,
		`"node_modules/a":{"version":"1.0.0"},"node_modules/a/node_modules/x":{"version":"1.0.0","inBundle":true}`:                                                          sbom.KindRegistry,
		`"w":{"version":"1.0.0","bundleDependencies":["x"]},"w/node_modules/x":{"version":"1.0.0","inBundle":true}`:                                                         sbom.KindRegistry,
		`"node_modules/a":{"version":"1.0.0","bundleDependencies":[]},"node_modules/a/node_modules/x":{"version":"1.0.0","inBundle":true}`:                                  sbom.KindRegistry,
		`"node_modules/a":{"version":"1.0.0","bundleDependencies":["y"]},"node_modules/a/node_modules/x":{"version":"1.0.0","inBundle":true}`:                               sbom.KindBundled,
		`"node_modules/a":{"version":"1.0.0","bundleDependencies":true},"node_modules/a/node_modules/y/node_modules/x":{"version":"1.0.0","inBundle":true}`:                 sbom.KindBundled,
		`"node_modules/a":{"version":"1.0.0","bundleDependencies":["x"]},"node_modules/a/node_modules/x":{"version":"1.0.0","inBundle":false,"integrity":"` + sri512 + `"}`: sbom.KindRegistry,
	} {
		res := parse(t, PackageLock, "package-lock.json", `{"lockfileVersion":3,"packages":{"":{"name":"app","bundleDependencies":["x"]},`+entries+`}}`, nil)
		if x := find(t, res, "pkg:npm/x@1.0.0"); x.Kind != want {
			t.Errorf("%s: %s", entries, x.Kind)
		}
	}
}

func TestDirectoriesOfTheProjectHaveNoSource(t *testing.T) {
	for _, entries := range []string{
		`"lib/x":{"version":"1.0.0","resolved":"https://registry.example.com/x/-/x-1.0.0.tgz"}`,
		`"NODE_MODULES/x":{"version":"1.0.0","integrity":"` + sri512 + `"}`,
		`"node_modules/x":{"resolved":"packages/x","link":true},"packages/x":{"version":"1.0.0","resolved":"https://evil.example.com/x.tgz"}`,
	} {
		res := parse(t, PackageLock, "package-lock.json", `{"lockfileVersion":3,"packages":{"":{"name":"app"},`+entries+`}}`, nil)
		if !slices.Contains(problems(res), sbom.ProblemMismatch) {
			t.Errorf("%s: %+v", entries, res.Problems)
		}
	}
}

func TestPathsOfTheMachine(t *testing.T) {
	for resolved, want := range map[string]bool{"file:../x.tgz": false, "file:x.tgz": false, "file:/tmp/x.tgz": true, "file:///tmp/x.tgz": true, "file:~/x.tgz": true, "file:C:/x.tgz": true, `file:\\\\host\\share\\x.tgz`: true} {
		res := parse(t, PackageLock, "package-lock.json", npmLockOf(`{"version":"1.0.0","resolved":"`+resolved+`","integrity":"`+sri512+`"}`), nil)
		for _, c := range res.Components {
			if c.Kind == sbom.KindPath && has(c, sbom.ProblemUnpinned) != want {
				t.Errorf("%s: %+v", resolved, c)
			}
		}
	}
}

// The archives of a runtime come from wherever the entry says, each of them.
func TestVariationsAreURLs(t *testing.T) {
	lock := func(resolution string) Result {
		return parse(t, PnpmLock, "pnpm-lock.yaml", "lockfileVersion: '9.0'\nimporters:\n  .:\n    devDependencies:\n      node: {specifier: runtime:22, version: runtime:22.0.0}\npackages:\n  node@runtime:22.0.0:\n    version: 22.0.0\n    resolution:\n      type: variations\n"+resolution+"snapshots:\n  node@runtime:22.0.0: {}\n", nil)
	}
	one := func(u string) string {
		return "        - resolution: {type: binary, url: '" + u + "', integrity: " + sri512 + "}\n"
	}
	res := lock("      variants:\n" + one("https://registry.example.com/node/-/node-22.0.0.tgz") + one("https://evil.example.com/node.tgz"))
	var got []string
	for _, c := range res.Components {
		if c.Kind == sbom.KindURL {
			got = append(got, c.Origin)
		}
	}
	slices.Sort(got)
	if fmt.Sprint(got) != "[https://evil.example.com/node.tgz https://registry.example.com/node/-/node-22.0.0.tgz]" {
		t.Errorf("%+v", res.Components)
	}
	res = lock("")
	if c := res.Components[0]; c.Kind != sbom.KindUnknown || !has(c, sbom.ProblemUnsupported) {
		t.Errorf("%+v", c)
	}
}

func TestBerryEntriesOfTwoReadings(t *testing.T) {
	lock := func(resolution, more string) sbom.Component {
		return parse(t, YarnLock, "yarn.lock", "__metadata:\n  version: 8\n\n\"x@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \""+resolution+"\"\n"+more+"  checksum: 10c0/"+strings.Repeat("a", 128)+"\n", nil).Components[0]
	}
	if c := lock("x@npm:1.0.0", ""); len(c.Problems) != 0 || c.Kind != sbom.KindRegistry {
		t.Errorf("%+v", c)
	}
	if c := lock("x@npm:1.0.0", "  resolved: \"https://evil.example.com/x.tgz\"\n"); !has(c, sbom.ProblemMismatch) {
		t.Errorf("%+v", c)
	}
	for _, params := range []string{"x=%zz", "a;b", "__archiveUrl=https%3A%2F%2Fregistry.example.com%2Fx%2F-%2Fx-1.0.0.tgz"} {
		if c := lock("x@npm:1.0.0::__archiveUrl=https%3A%2F%2Fevil.example.com%2Fx.tgz&"+params, ""); !has(c, sbom.ProblemMismatch) || c.Kind != sbom.KindUnknown {
			t.Errorf("%s: %+v", params, c)
		}
	}
}

func TestAliasesThatTellEditionsApart(t *testing.T) {
	for alias, marked := range map[string]bool{"left-cjs": false, "left4": false, "left-4": false, "left-v4.1": false, "left-legacy": false, "left-pad": true, "right": true, "lef": true, "left-cjs-pad": true} {
		res := parse(t, PackageLock, "package-lock.json", `{"lockfileVersion":3,"packages":{"":{"name":"app"},"node_modules/`+alias+`":{"name":"left","version":"1.0.0","resolved":"https://registry.example.com/left/-/left-1.0.0.tgz","integrity":"`+sri512+`"}}}`, nil)
		if c := find(t, res, "pkg:npm/left@1.0.0"); c.Alias != alias || has(c, sbom.ProblemAlias) != marked {
			t.Errorf("%s: %+v", alias, c)
		}
	}
}

func TestOtherCase(t *testing.T) {
	for name, want := range map[string]string{
		"a/Package-Lock.json": "package-lock.json", "YARN.LOCK": "yarn.lock", "pipfile.lock": "Pipfile.lock", "package-lock.json": "", "Pipfile.lock": "",
		"Readme.md": "", "Package.json": "", "pipfile": "",
		"Vendor/modules.txt": "vendor/modules.txt", "a/vendor/Modules.txt": "vendor/modules.txt", "vendor/modules.txt": "", "Modules.txt": "", "vendored/modules.txt": "",
	} {
		if got := OtherCase(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
