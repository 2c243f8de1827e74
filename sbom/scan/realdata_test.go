package scan

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/headgate/headgate/sbom"
)

// independent counts the releases of a lock file in a way that shares nothing
// with the readers: "name version" of everything that is locked. Nil for formats without such a count.
func independent(t *testing.T, name string, b []byte) map[string]bool {
	out := map[string]bool{}
	switch filepath.Base(name) {
	case "composer.lock":
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"packages", "packages-dev"} {
			var list []struct{ Name, Version string }
			if err := json.Unmarshal(doc[key], &list); err != nil {
				t.Fatal(err)
			}
			for _, p := range list {
				out[strings.ToLower(p.Name)+" "+strings.TrimPrefix(p.Version, "v")] = true
			}
		}
	case "package-lock.json":
		var doc struct {
			Packages map[string]struct {
				Name, Version string
				Link          bool
			}
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		for at, p := range doc.Packages {
			if i := strings.LastIndex(at, "node_modules/"); i >= 0 && !p.Link {
				if p.Name == "" {
					p.Name = at[i+len("node_modules/"):]
				}
				out[p.Name+" "+p.Version] = true
			}
		}
	case "Cargo.lock", "poetry.lock", "uv.lock":
		var doc struct {
			Package []struct{ Name, Version string }
		}
		if _, err := toml.Decode(string(b), &doc); err != nil {
			t.Fatal(err)
		}
		for _, p := range doc.Package {
			out[strings.ToLower(p.Name)+" "+p.Version] = true
		}
	case "Gemfile.lock":
		for _, m := range regexp.MustCompile(`(?m)^    ([\w.-]+) \(([^)]+)\)$`).FindAllStringSubmatch(string(b), -1) {
			// What follows a dash is the platform, of which one release has several.
			version, _, _ := strings.Cut(m[2], "-")
			out[strings.ToLower(m[1])+" "+version] = true
		}
	case "go.mod":
		for _, m := range regexp.MustCompile(`(?m)^(?:require )?\s*([\w./~-]+\.[\w./~-]+) (v\S+)( // indirect)?$`).FindAllStringSubmatch(string(b), -1) {
			out[m[1]+" "+strings.TrimPrefix(m[2], "v")] = true
		}
	case "requirements.txt":
		for _, m := range regexp.MustCompile(`(?m)^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)`).FindAllStringSubmatch(string(b), -1) {
			out[strings.ToLower(regexp.MustCompile(`[-_.]+`).ReplaceAllString(m[1], "-"))+" "+m[2]] = true
		}
	case "pnpm-lock.yaml":
		for _, m := range regexp.MustCompile(`(?m)^  '?/?((?:@[^/@']+/)?[^/@'\s]+)[@/](\d[^('\s]*)[^\n]*:\n    resolution:`).FindAllStringSubmatch(string(b), -1) {
			out[m[1]+" "+strings.TrimSuffix(m[2], ":")] = true
		}
	default:
		return nil
	}
	return out
}

// looseVersion is the spelling of a version in which both counts agree.
func looseVersion(c sbom.Component) string {
	name := c.Release.Package.FullName()
	if c.Release.Package.Type != "golang" {
		name = strings.ToLower(name)
	}
	return name + " " + strings.TrimPrefix(c.Release.Version, "v")
}

func TestRealLockfiles(t *testing.T) {
	top := os.Getenv("HEADGATE_REALDATA")
	if top == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	dirs, err := os.ReadDir(filepath.Join(top, "lockfiles"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no lock files: %v", err)
	}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		t.Run(d.Name(), func(t *testing.T) {
			dir := filepath.Join(top, "lockfiles", d.Name())
			inv, err := Open(context.Background(), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d components, %d files", len(inv.Components), len(inv.Files))
			for _, p := range inv.Problems {
				t.Logf("%s %s:%d %s", p.Code, p.Location.Path, p.Location.Line, p.Detail)
			}
			have, counts := map[string]bool{}, map[string]int{}
			for _, c := range inv.Components {
				key := looseVersion(c)
				have[key] = true
				for _, p := range c.Problems {
					counts[string(p.Code)]++
					if p.Code == sbom.ProblemOneSided {
						t.Errorf("one-sided: %s (%s %s): %s", c.Release, c.Kind, c.Origin, p.Detail)
					}
				}
				if len(c.Artifacts) == 0 {
					counts["none "+string(c.Kind)+" "+c.Release.Package.Type]++
				}
			}
			t.Logf("components with problems: %v", counts)
			for _, f := range inv.Files {
				b, err := os.ReadFile(filepath.Join(dir, f.Path))
				if err != nil {
					t.Fatal(err)
				}
				want := independent(t, f.Path, b)
				if want == nil {
					continue
				}
				missing := 0
				for key := range want {
					if !have[key] {
						if missing++; missing <= 5 {
							t.Errorf("%s: %s is missing", f.Path, key)
						}
					}
				}
				t.Logf("%s: %d releases, %d missing", f.Path, len(want), missing)
				if len(want) == 0 {
					t.Errorf("%s: the independent count found nothing", f.Path)
				}
			}
		})
	}
}
