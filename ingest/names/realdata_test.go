package names

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/trust"
)

// TestFalseAlarms: the packages of well-known projects are doubted at most once
// in a thousand.
func TestFalseAlarms(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	x, err := NewIndex(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	packages := map[trust.Package]bool{}
	alarms := 0
	err = filepath.WalkDir(filepath.Join(dir, "lockfiles"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		format, ok := lockfile.Match(p)
		if !ok {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		res, err := lockfile.Parse(format, filepath.Base(p), b, func(name string) ([]byte, bool) {
			s, err := os.ReadFile(filepath.Join(filepath.Dir(p), name))
			return s, err == nil
		})
		if err != nil {
			t.Logf("%s: %v", p, err)
			return nil
		}
		for _, c := range res.Components {
			if packages[c.Release.Package] || c.Kind != sbom.KindRegistry && c.Kind != sbom.KindUnknown {
				continue
			}
			packages[c.Release.Package] = true
			for _, r := range append(x.Check(c.Release, true), x.CheckAlias(c.Release, c.Alias)...) {
				alarms++
				t.Logf("%s: %s: %s", filepath.Base(p), r.Kind, r.Detail)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d alarms in %d packages", alarms, len(packages))
	if len(packages) < 100 {
		t.Fatalf("only %d packages: too few to measure", len(packages))
	}
	if alarms > 1 && alarms*1000 > len(packages) {
		t.Errorf("%d false alarms in %d packages", alarms, len(packages))
	}
}

func TestAliasHidesAnother(t *testing.T) {
	x, err := NewIndex([]trust.Package{release(t, "pkg:npm/acme-core").Package}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		purl, alias string
		want        bool
	}{
		{"pkg:npm/evil@1.0.0", "lodash", true},
		{"pkg:npm/evil@1.0.0", "LoDash", true},
		{"pkg:npm/evil@1.0.0", "acme-core", true},
		{"pkg:npm/lodash@4.0.0", "lodash", false},
		{"pkg:npm/lodash@4.0.0", "lodash-four", false},
		{"pkg:npm/lodash@4.0.0", "", false},
		{"pkg:cargo/rand@0.8.5", "rand_08", false},
	} {
		if got := x.CheckAlias(release(t, tc.purl), tc.alias); (len(got) == 1) != tc.want {
			t.Errorf("%s as %q: %v", tc.purl, tc.alias, got)
		}
	}
}
