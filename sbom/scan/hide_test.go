package scan

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/headgate/headgate/sbom"
)

func TestLockFilesOutOfSight(t *testing.T) {
	content := lock("left", "1.0.0", "")
	skipped := func(dir string) int {
		n := 0
		for _, p := range mustOpen(t, dir).Problems {
			if p.Code == sbom.ProblemSkipped {
				n++
			}
		}
		return n
	}
	// A name that only some file systems take for a lock file.
	dir := write(t, t.TempDir(), map[string]string{"package-lock.json": content, "sub/Package-Lock.json": content})
	if n := skipped(dir); n != 1 {
		t.Errorf("case: %d", n)
	}
	// A link into a directory that is left out by rule.
	dir = write(t, t.TempDir(), map[string]string{"package-lock.json": content, "vendor/app/package-lock.json": content, "vendor/lib/package.json": "{}", "other/package-lock.json": content})
	for link, target := range map[string]string{"app": "vendor/app", "lib": "vendor/lib", "again": "other", "broken": "vendor/none", "out": "../vendor"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if n := skipped(dir); n != 1 {
		t.Errorf("link: %d, %v", n, mustOpen(t, dir).Problems)
	}
}

// A byte order mark is no disagreement of the two readers.
func TestByteOrderMark(t *testing.T) {
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"package-lock.json": "\xef\xbb\xbf" + lock("left", "1.0.0", "")}))
	if cs, ps := list(inv); len(ps) != 0 || !slices.Contains(cs, "pkg:npm/left@1.0.0") {
		t.Errorf("%q %q", cs, ps)
	}
}

// A requirements file that includes another one can be read, whatever Syft
// thinks of the line; one with a line that neither understands cannot.
func TestIncludedRequirements(t *testing.T) {
	const hash = " --hash=sha256:0000000000000000000000000000000000000000000000000000000000000001\n"
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"requirements.txt": "-r deps/extra.txt\nleft==1.0" + hash, "deps/extra.txt": "right==2.0" + hash}))
	if cs, ps := list(inv); len(ps) != 0 || !slices.Contains(cs, "pkg:pypi/right@2.0") || !slices.Contains(cs, "pkg:pypi/left@1.0") {
		t.Errorf("%q %q", cs, ps)
	}
}
