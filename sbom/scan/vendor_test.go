package scan

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/revision"
)

var h1 = "h1:" + strings.Repeat("A", 43) + "="

// vendorTree is a vendored project: a module, one nested in it, and one that replaces another.
func vendorTree() map[string]string {
	return map[string]string{
		"go.mod": "module example.com/app\n\ngo 1.26\n\nrequire (\n\texample.com/mod v1.0.0\n\texample.com/mod/nested v0.1.0\n\texample.com/old v1.0.0\n)\n\nreplace example.com/old => example.com/fork v1.0.1\n",
		"go.sum": "example.com/mod v1.0.0 " + h1 + "\nexample.com/mod/nested v0.1.0 " + h1 + "\nexample.com/fork v1.0.1 " + h1 + "\n",
		"vendor/modules.txt": "# example.com/mod v1.0.0\n## explicit\nexample.com/mod\n# example.com/mod/nested v0.1.0\n## explicit\nexample.com/mod/nested\n" +
			"# example.com/old v1.0.0 => example.com/fork v1.0.1\n## explicit\nexample.com/old\n# example.com/old => example.com/fork v1.0.1\n",
		"vendor/example.com/mod/a.go": "package a\n", "vendor/example.com/mod/nested/n.go": "package n\n", "vendor/example.com/old/o.go": "package o\n",
	}
}

func vendoredOf(t *testing.T, inv *sbom.Inventory) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, c := range inv.Components {
		if c.Kind == sbom.KindToolchain {
			continue
		}
		if len(c.Locations) != 2 || len(c.Artifacts) != 1 || len(c.Problems) != 0 {
			t.Errorf("not one component with the digest of go.sum: %+v", c)
		}
		out[c.ImportedAs()] = c.Vendored
	}
	return out
}

// The id of what is vendored changes with any file of the module, and with no other.
func TestVendored(t *testing.T) {
	before := vendoredOf(t, mustOpen(t, write(t, t.TempDir(), vendorTree())))
	if len(before) != 3 || before["example.com/mod"] == "" || before["example.com/old"] == "" || before["example.com/mod/nested"] == "" {
		t.Fatalf("%v", before)
	}
	for file, of := range map[string]string{"example.com/mod/a.go": "example.com/mod", "example.com/mod/new/x.s": "example.com/mod", "example.com/mod/nested/n.go": "example.com/mod/nested", "example.com/old/o.go": "example.com/old"} {
		files := vendorTree()
		files["vendor/"+file] += "// changed\n"
		for name, id := range vendoredOf(t, mustOpen(t, write(t, t.TempDir(), files))) {
			if (id != before[name]) != (name == of) {
				t.Errorf("%s changed: the id of %s changed: %v", file, name, id != before[name])
			}
		}
	}
}

// A revision is told apart by its object ids, without reading a file, and agrees
// with the same files in a directory.
func TestVendoredRevision(t *testing.T) {
	dir := write(t, t.TempDir(), vendorTree())
	before := vendoredOf(t, mustOpen(t, dir))
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddGlob("."); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit("c", &git.CommitOptions{Author: &object.Signature{Name: "dev", Email: "dev@example.com"}}); err != nil {
		t.Fatal(err)
	}
	r, err := revision.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tree, err := r.Tree("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	inv, err := Tree(t.Context(), tree, sbom.Source{Name: "HEAD"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range vendoredOf(t, inv) {
		if id != before[name] {
			t.Errorf("%s: %s in the revision, %s in the directory", name, id, before[name])
		}
	}
	if d := sbom.Diff(inv, mustOpen(t, dir)); len(d.Deltas()) != 0 {
		t.Errorf("nothing changed: %+v", d.Deltas())
	}
	if err := os.WriteFile(filepath.Join(dir, "vendor/example.com/mod/a.go"), []byte("package b\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := sbom.Diff(inv, mustOpen(t, dir)).Deltas()
	if len(d) != 1 || d[0].Component.ImportedAs() != "example.com/mod" || d[0].Change() != sbom.ChangeSource {
		t.Errorf("one file changed: %+v", d)
	}
}

// What belongs to no module is a problem, and so is what cannot be read whole.
func TestVendorProblems(t *testing.T) {
	files := vendorTree()
	for i := range maxStrays + 2 {
		files[fmt.Sprintf("vendor/stray/s%02d.go", i)] = "package s\n"
	}
	_, ps := list(mustOpen(t, write(t, t.TempDir(), files)))
	if len(ps) != maxStrays+1 || ps[0] != "mismatch vendor" && ps[len(ps)-1] != "mismatch vendor" {
		t.Errorf("problems %v", ps)
	}
	for _, c := range []struct {
		change func(*bounds)
		ok     bool
	}{
		{func(b *bounds) { b.vendorFiles = 8 }, true}, {func(b *bounds) { b.vendorFiles = 7 }, false},
		{func(b *bounds) { b.vendorBytes = 30 }, true}, {func(b *bounds) { b.vendorBytes = 29 }, false},
	} {
		limit := defaultBounds
		c.change(&limit)
		inv, err := scanTree(context.Background(), os.DirFS(write(t, t.TempDir(), vendorTree())), sbom.Source{Name: "test"}, Options{}, limit)
		if err != nil {
			t.Fatal(err)
		}
		_, ps := list(inv)
		if (len(ps) == 0) != c.ok {
			t.Errorf("%+v: %v", limit, ps)
		}
	}
}

// A vendor directory that only file systems without case have is no way around it.
func TestVendorOtherCase(t *testing.T) {
	for name, content := range map[string]string{"Vendor/modules.txt": "# x\n", "VENDOR/example.com/mod/evil.go": "package a\n", "sub/vendor/Modules.TXT": "# x\n"} {
		files := vendorTree()
		files[name] = content
		inv := mustOpen(t, write(t, t.TempDir(), files))
		found := false
		for _, p := range inv.Problems {
			found = found || p.Code == sbom.ProblemSkipped && strings.HasPrefix(name, p.Location.Path)
		}
		if !found {
			t.Errorf("%s: %+v", name, inv.Problems)
		}
	}
	// Without modules.txt it is a directory like others.
	inv := mustOpen(t, write(t, t.TempDir(), map[string]string{"vendor/a.js": "", "Vendor/b.js": "", "go.mod": "module example.com/app\n"}))
	if len(inv.Problems) != 0 {
		t.Errorf("%+v", inv.Problems)
	}
}
