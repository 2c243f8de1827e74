package revision

import (
	"os"
	"path/filepath"
	"testing"
)

// A directory that looks like a bare repository can be committed; it is not
// where the base comes from.
func TestEmbeddedBareRepository(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(top, "sub")
	for _, d := range []string{filepath.Join(sub, "objects"), filepath.Join(sub, "refs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(sub, "HEAD"), []byte("ref: refs/heads/main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if dot, _, err := findDotGit(sub); err != nil || dot != sub {
		t.Errorf("alone: %s, %v", dot, err)
	}
	if err := os.Mkdir(filepath.Join(top, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if dot, root, err := findDotGit(sub); err != nil || dot != filepath.Join(top, ".git") || root != top {
		t.Errorf("inside a working tree: %s, %s, %v", dot, root, err)
	}
}
