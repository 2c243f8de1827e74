package scan

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/revision"
)

// TestBaseRevision is the way of a pre-merge check: the base from git objects,
// the head from the working tree, both by the same code.
func TestBaseRevision(t *testing.T) {
	bin, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := write(t, t.TempDir(), map[string]string{"web/package-lock.json": lock("left", "1.0.0", ""), "node_modules/x/package-lock.json": lock("skipped", "1.0.0", "")})
	if err := os.Symlink("../web/package-lock.json", filepath.Join(dir, "node_modules", "link")); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command(bin, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "base")
	write(t, dir, map[string]string{"web/package-lock.json": lock("left", "1.1.0", ""), "api/package-lock.json": lock("right", "2.0.0", "")})

	for _, sub := range []string{"", "web"} {
		at := filepath.Join(dir, sub)
		repo, err := revision.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		defer repo.Close()
		tree, err := repo.Tree("main")
		if err != nil {
			t.Fatal(err)
		}
		base, err := Tree(context.Background(), tree, sbom.Source{Scheme: "git", Name: "main", Revision: tree.Commit()}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := sbom.Diff(base, mustOpen(t, at))
		var got []string
		for _, e := range d.Deltas() {
			got = append(got, string(e.Change())+" "+e.Component.Release.PURL())
		}
		want := []string{"version pkg:npm/left@1.1.0"}
		if sub == "" {
			want = append(want, "added pkg:npm/right@2.0.0")
		}
		for _, w := range want {
			found := false
			for _, g := range got {
				found = found || g == w
			}
			if !found {
				t.Errorf("%q: %q lacks %q", sub, got, w)
			}
		}
		if same := sbom.Diff(base, base); len(same.Deltas()) != 0 || same.Unchanged != len(base.Components) {
			t.Errorf("against itself: %+v", same)
		}
	}
}
