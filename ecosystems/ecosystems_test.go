package ecosystems

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/debian"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/rubygems"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

func getenv(vars map[string]string) func(string) string {
	return func(k string) string { return vars[k] }
}

func TestAllServesEachTypeOnce(t *testing.T) {
	s, err := SettingsOf(getenv(map[string]string{"GOENV": "off"}), nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := upstream.New(upstream.Config{Getenv: getenv(nil), Credentials: s.Credentials(), Insecure: s.Insecure()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Getter: c, Clock: time.Now, State: &adaptertest.State{}, Settings: s, NPM: func() npm.Trust { return npm.Trust{Err: errors.New("none")} },
		Sigstore: func(context.Context, trust.Package) (*sigstore.Verifier, error) { return nil, errors.New("none") }}
	l, err := All(cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range l {
		d := a.Describe()
		if d.Name == "" || len(d.Types) == 0 || len(d.Checks) == 0 || d.Integrity == "" || d.Registry == "" || d.Publisher == "" || d.Binding == "" || len(d.Sources) == 0 {
			t.Errorf("description is incomplete: %+v", d)
		}
		for _, p := range d.Types {
			if seen[p] {
				t.Errorf("two adapters serve %s", p)
			}
			seen[p] = true
			if l.For(p) != a || l.ByType()[p] != a {
				t.Errorf("%s is served by another adapter", p)
			}
			if unsupported[p] != "" {
				t.Errorf("%s has an adapter and is said to have none", p)
			}
		}
	}
	if l.For("unheard-of") != nil {
		t.Error("an unknown type has an adapter")
	}
	cfg.State = nil
	if _, err := All(cfg); err == nil {
		t.Error("an adapter without state was made")
	}
}

// TestUnsupportedSaysWhy: every purl type that Syft or headgate's own readers
// give to a package has an adapter or a sentence of its own.
func TestUnsupportedSaysWhy(t *testing.T) {
	served := map[string]bool{"cargo": true, "deb": true, "docker": true, "gem": true, "generic": true, "github": true, "githubactions": true, "golang": true, "helm": true,
		"maven": true, "npm": true, "nuget": true, "oci": true, "pypi": true}
	for _, p := range []string{
		"alpm", "apk", "bitbucket", "bitnami", "cargo", "cocoapods", "composer", "conan", "conda", "cpan", "cran", "deb", "docker", "gem", "generic", "github", "githubactions",
		"gitlab", "golang", "hackage", "helm", "hex", "huggingface", "luarocks", "maven", "nix", "npm", "nuget", "oci", "opam", "otp", "pear", "pub", "pypi", "rpm", "swift", "swiplpack", "portage", "homebrew", "terraform", "vcpkg", "wordpress", "wordpress-plugin",
	} {
		s, own := unsupported[p]
		switch {
		case own == served[p]:
			t.Errorf("%s: adapter %t, sentence %t", p, served[p], own)
		case own && (!strings.Contains(s, "pinned") || s != Unsupported(p) || strings.HasSuffix(s, ".")):
			t.Errorf("%s: %q", p, s)
		}
	}
	if s := Unsupported("unheard-of"); !strings.Contains(s, "pinned") {
		t.Errorf("%q", s)
	}
}

func TestSettingsNameWhatIsWrong(t *testing.T) {
	home := t.TempDir()
	if _, err := SettingsOf(getenv(map[string]string{"GOENV": "off", "GOPROXY": ","}), nil, home); err == nil || !strings.Contains(err.Error(), "Go") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(home, ".netrc"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SettingsOf(getenv(map[string]string{"GOENV": "off"}), nil, home); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestEveryAdapterRunsTheSuite: an adapter without the shared scenarios is one
// that nobody has attacked. The suite itself fails for a scenario that a fixture
// forgets.
func TestEveryAdapterRunsTheSuite(t *testing.T) {
	s, err := SettingsOf(getenv(map[string]string{"GOENV": "off", debian.EnvApt: "off"}), nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := upstream.New(upstream.Config{Getenv: getenv(nil)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := All(Config{Getter: c, Clock: time.Now, State: &adaptertest.State{}, Settings: s, NPM: func() npm.Trust { return npm.Trust{} },
		Sigstore: func(context.Context, trust.Package) (*sigstore.Verifier, error) { return nil, errors.New("none") }})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range l {
		dir := path.Base(reflect.TypeOf(a).Elem().PkgPath())
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: no tests in %s: %v", a.Describe().Name, dir, err)
		}
		if !slices.ContainsFunc(files, func(f string) bool {
			b, err := os.ReadFile(f)
			return err == nil && strings.Contains(string(b), "adaptertest.Run(t,")
		}) {
			t.Errorf("%s: no test in %s runs the shared suite", a.Describe().Name, dir)
		}
	}
}

func TestIntervals(t *testing.T) {
	u, err := url.Parse(rubygems.DefaultSource)
	if err != nil {
		t.Fatal(err)
	}
	if d := (Settings{}).Intervals()[u.Host]; d != 100*time.Millisecond {
		t.Errorf("%s is asked every %s", u.Host, d)
	}
}
