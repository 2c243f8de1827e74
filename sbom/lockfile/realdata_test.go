package lockfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
)

// counts is what a simple look at a file finds: distinct packages and digests
// (of all files), -1 where the format does not tell so simply.
type counts struct{ packages, digests int }

func matches(s, re string) []string {
	var out []string
	for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(s, -1) {
		out = append(out, strings.Join(m[1:], " "))
	}
	return out
}

func distinct(list []string) int {
	m := map[string]bool{}
	for _, s := range list {
		m[s] = true
	}
	return len(m)
}

// simply counts packages and digests without the parsers of this package.
func simply(t *testing.T, format Format, dir, s string) counts {
	switch format {
	case CargoLock:
		return counts{distinct(matches(s, `(?m)^\[\[package\]\]\nname = "(.*)"\nversion = "(.*)"\n(source = .*)?`)), distinct(matches(s, `(?m)^checksum = "(.*)"|"checksum .*" = "([0-9a-f]{64})"`))}
	case UvLock:
		return counts{distinct(matches(s, `(?m)^\[\[package\]\]\nname = "(.*)"\n((?:version = ".*"\n)?)source = (.*)`)), len(matches(s, `hash = "(sha256:[0-9a-f]{64})"`))}
	case PoetryLock, PdmLock:
		return counts{distinct(matches(s, `(?m)^\[\[package\]\]\nname = "(.*)"\nversion = "(.*)"`)), len(matches(s, `hash ?= ?"(sha256:[0-9a-f]{64})"`))}
	case PyLock:
		return counts{len(matches(s, `(?m)^\[\[packages\]\]()`)), -1}
	case Requirements:
		return counts{len(matches(s, `(?m)^([A-Za-z0-9][^\s#=]*)==`)), len(matches(s, `--hash[= ](sha256:[0-9a-f]{64})`))}
	case GemfileLock:
		specs := matches(s, `(?m)^    (\S+ \(\S+\))$`)
		return counts{distinct(specs), -1}
	case ComposerLock, PipfileLock, PackageLock, NuGetLock:
		var doc map[string]any
		if err := json.Unmarshal([]byte(s), &doc); err != nil {
			t.Fatal(err)
		}
		n := 0
		switch format {
		case ComposerLock:
			for _, k := range []string{"packages", "packages-dev"} {
				l, _ := doc[k].([]any)
				n += len(l)
			}
			return counts{n, -1}
		case PackageLock:
			pkgs, ok := doc["packages"].(map[string]any)
			if !ok {
				return counts{-1, -1}
			}
			ids, sums := map[string]bool{}, map[string]bool{}
			for k, v := range pkgs {
				e := v.(map[string]any)
				i := strings.LastIndex(k, "node_modules/")
				if i < 0 || e["link"] == true || e["inBundle"] == true {
					continue
				}
				name := k[i+len("node_modules/"):]
				if n, ok := e["name"].(string); ok {
					name = n
				}
				version, _ := e["version"].(string)
				ids[name+" "+version] = true
				if s, ok := e["integrity"].(string); ok {
					sums[s] = true
				}
			}
			return counts{len(ids), -1}
		}
		return counts{-1, -1}
	case PnpmLock:
		_, pkgs, _ := strings.Cut("\n"+s, "\npackages:\n")
		if i := regexp.MustCompile(`(?m)^\S`).FindStringIndex(pkgs); i != nil {
			pkgs = pkgs[:i[0]]
		}
		return counts{len(matches(pkgs, `(?m)^  (\S.*):$`)), len(matches(pkgs, `integrity: (sha\d+-[^\s,}]+)`))}
	case YarnLock:
		return counts{-1, len(matches(s, `(?m)^  integrity (sha\S+)|^  checksum: (\S+)`))}
	case GoMod:
		sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
		if err != nil {
			return counts{-1, -1}
		}
		return counts{-1, len(matches(string(sum), `(?m)^\S+ v[^/\s]+ (h1:\S+)$`))}
	case MavenPOM:
		s = regexp.MustCompile(`(?s)<!--.*?-->`).ReplaceAllString(s, "")
		if strings.Contains(s, "<dependencyManagement>") {
			return counts{-1, -1}
		}
		return counts{distinct(matches(s, `(?s)<dependency>.*?<artifactId>(.*?)</artifactId>`)), -1}
	}
	return counts{-1, -1}
}

// TestRealData reads every lock file that is there and compares with a simple
// count: each package with each digest must appear, with a line.
func TestRealData(t *testing.T) {
	root := os.Getenv("HEADGATE_REALDATA")
	if root == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	seen := 0
	err := filepath.WalkDir(filepath.Join(root, "lockfiles"), func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		format, ok := Match(filepath.ToSlash(rel))
		if !ok {
			t.Errorf("%s: not recognised", rel)
			return nil
		}
		seen++
		t.Run(filepath.ToSlash(rel), func(t *testing.T) {
			content, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			res, err := Parse(format, filepath.ToSlash(rel), content, func(name string) ([]byte, bool) {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(p), filepath.FromSlash(name)))
				return b, err == nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := simply(t, format, filepath.Dir(p), string(content))
			packages, digests, strong := 0, 0, 0
			for _, c := range res.Components {
				if format == GoMod || format == CargoLock || format == UvLock || c.Kind != sbom.KindWorkspace && c.Kind != sbom.KindBundled {
					packages++
				}
				if len(c.Locations) == 0 || c.Locations[0].Path == "" || c.Locations[0].Line == 0 {
					t.Errorf("%s has no place", c.Release)
				}
				for _, a := range c.Artifacts {
					for _, d := range a.Digests {
						if format == GoMod && a.Name != "" {
							continue
						}
						digests++
						if d.Strong() {
							strong++
						}
					}
				}
			}
			t.Logf("%s %s: %d components, %d digests (%d strong), problems %v", format, res.Version, len(res.Components), digests, strong, res.Problems)
			switch {
			case format == GemfileLock, format == MavenPOM:
				if packages < want.packages {
					t.Errorf("%d packages, a simple count finds %d", packages, want.packages)
				}
			case want.packages >= 0 && packages != want.packages:
				t.Errorf("%d packages, a simple count finds %d", packages, want.packages)
			}
			if want.digests >= 0 && digests != want.digests {
				t.Errorf("%d digests, a simple count finds %d", digests, want.digests)
			}
			if res.PartOf == "" && len(res.Components) == 0 && !format.IsManifest() {
				t.Error("no components")
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no lock files found")
	}
}
