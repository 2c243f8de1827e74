package sources

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/headgate/headgate/sbom"
)

var configured = Configured{
	"npm": {"https://registry.example.com/npm/"}, "pypi": {"https://index.example.com/simple/"}, "nuget": {"https://nuget.example.com/v3/index.json"},
	"cargo": {"https://index.example.com/crates/"}, "gem": {"https://gems.example.com/"}, "maven": {"https://maven.example.com/"},
}

// files are settings that name URL; each is a difference unless URL is configured.
var files = map[string]struct{ text, ecosystem string }{
	".npmrc":              {"; c\nregistry = URL\n", "npm"},
	"sub/.NPMRC":          {"\"@team:registry\"=\"URL\"\n", "npm"},
	".yarnrc":             {"registry \"URL\"\n", "npm"},
	".yarnrc.yml":         {"npmScopes:\n  team:\n    npmRegistryServer: URL\n", "npm"},
	"pnpm-workspace.yaml": {"registries:\n  default: URL\n", "npm"},
	"pip.conf":            {"[global]\nextra-index-url =\n  URL\n", "pypi"},
	"uv.toml":             {"[[index]]\nurl = \"URL\"\n", "pypi"},
	"pyproject.toml":      {"[[tool.poetry.source]]\nname = \"x\"\nurl = \"URL\"\n", "pypi"},
	"sub/NuGet.Config":    {`<configuration><packageSources><add key="x" value="URL"/></packageSources></configuration>`, "nuget"},
	".cargo/config.toml":  {"[source.crates-io]\nreplace-with = \"m\"\n[source.m]\nregistry = \"sparse+URL\"\n", "cargo"},
	".bundle/config":      {"---\nBUNDLE_MIRROR__ALL: \"URL\"\n", "gem"},
	".mvn/settings.xml":   {"<settings><mirrors><mirror><id>m</id><url>URL</url></mirror></mirrors></settings>", "maven"},
}

var inventory = &sbom.Inventory{Files: []sbom.File{{Path: "package-lock.json"}, {Path: "sub/deep/yarn.lock"}, {Path: "../outside/x"}}}

func TestDifferences(t *testing.T) {
	for name, f := range files {
		for _, own := range []bool{false, true} {
			u := "https://evil.example.com/x/"
			if own {
				u = strings.TrimSuffix(strings.Replace(configured[f.ecosystem][0], "example", "EXAMPLE", 1), "/")
			}
			tree := fstest.MapFS{name: {Data: []byte(strings.ReplaceAll(f.text, "URL", u))}}
			got := Differences(tree, inventory, configured)
			if own {
				if len(got) != 0 {
					t.Errorf("%s: the configured registry differs: %+v", name, got)
				}
				continue
			}
			if len(got) != 1 || !strings.Contains(got[0].Detail, u) || got[0].Location.Path != name || got[0].Location.Line == 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

// What loosens the way to a registry is reported as well.
func TestLoosened(t *testing.T) {
	for name, text := range map[string]string{
		".npmrc": "strict-ssl=false\n", ".yarnrc.yml": "unsafeHttpWhitelist: [\"*.example.com\"]\n", "pip.conf": "[global]\ntrusted-host = index.example.com\n",
		".cargo/config.toml": "[registry]\ndefault = \"other\"\n", "nuget.config": "<configuration><trustedSigners/></configuration>",
	} {
		if got := Differences(fstest.MapFS{name: {Data: []byte(text)}}, inventory, configured); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What cannot be read is reported, at the bound and one above.
func TestUnreadable(t *testing.T) {
	fill := func(n int) []byte { return append([]byte("#"), bytes.Repeat([]byte{'x'}, n-1)...) }
	for want, data := range map[int][]byte{0: fill(MaxFile), 1: fill(MaxFile + 1)} {
		if got := Differences(fstest.MapFS{".npmrc": {Data: data}}, inventory, configured); len(got) != want {
			t.Errorf("%d bytes: %+v", len(data), got)
		}
	}
	for _, name := range []string{".yarnrc.yml", "uv.toml", "nuget.config", ".mvn/settings.xml"} {
		if got := Differences(fstest.MapFS{name: {Data: []byte("<[:\x00")}}, inventory, configured); len(got) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	var many strings.Builder
	for i := range MaxDifferences + 1 {
		fmt.Fprintf(&many, "@s%d:registry=https://evil.example.com/%d\n", i, i)
	}
	if got := Differences(fstest.MapFS{".npmrc": {Data: []byte(many.String())}}, inventory, configured); len(got) != MaxDifferences {
		t.Errorf("%d differences", len(got))
	}
}

func FuzzDifferences(f *testing.F) {
	for name, x := range files {
		f.Add(name, []byte(x.text))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		for known := range files {
			if strings.EqualFold(known, name) {
				Differences(fstest.MapFS{name: {Data: data}}, inventory, configured)
			}
		}
	})
}
