package revision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// repo is a repository made by git itself, so that what is read here is what
// users have.
type repo struct {
	t   testing.TB
	dir string
}

func newRepo(t testing.TB) repo {
	t.Helper()
	r := repo{t, filepath.Join(t.TempDir(), "r")}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r repo) git(args ...string) string {
	r.t.Helper()
	bin, err := exec.LookPath("git")
	if err != nil {
		r.t.Skip("git is not installed")
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r repo) write(name, content string) {
	r.t.Helper()
	p := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r repo) commit(msg string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", msg)
	return r.git("rev-parse", "HEAD")
}

func open(t testing.TB, dir string) *Repository {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestResolve(t *testing.T) {
	g := newRepo(t)
	g.write("package-lock.json", "1")
	c1 := g.commit("one")
	g.git("tag", "-a", "v1", "-m", "v1")
	g.git("tag", "-a", "v1again", "-m", "tag of a tag", "v1")
	g.git("branch", "base")
	g.write("package-lock.json", "2")
	c2 := g.commit("two")
	g.git("checkout", "-q", "-b", "feature/x", "base")
	c3 := g.commit("three")
	g.git("checkout", "-q", "main")
	g.git("merge", "-q", "--no-ff", "-m", "merge", "feature/x")
	c4 := g.git("rev-parse", "HEAD")
	g.git("update-ref", "refs/remotes/origin/main", c2)
	g.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
	g.git("pack-refs", "--all")
	g.git("gc", "-q")
	g.write(".git/FETCH_HEAD", c2+"\t\tbranch 'main' of https://git.example.com/r\n")

	r := open(t, g.dir)
	for expr, want := range map[string]string{
		"HEAD": c4, "@": c4, "main": c4, "refs/heads/main": c4, "heads/main": c4,
		"v1": c1, "v1again": c1, "v1^{}": c1, "v1^{commit}": c1, "v1^0": c1, "base": c1, "feature/x": c3,
		"origin/main": c2, "origin": c2, "FETCH_HEAD": c2,
		c2: c2, strings.ToUpper(c2): c2, c2[:7]: c2, c2[:12]: c2,
		"HEAD~1": c2, "HEAD~": c2, "HEAD^": c2, "HEAD^2": c3, "HEAD~2": c1, "HEAD^^": c1, "HEAD^2~1": c1, "HEAD~0": c4,
		"feature/x...origin/main": c1, "main...feature/x": c3, "...base": c1,
	} {
		got, err := r.Resolve(expr)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", expr, got, err, want)
		}
		if !strings.Contains(expr, "...") && expr != "HEAD~0" {
			if theirs := g.git("rev-parse", expr+"^{commit}"); theirs != want {
				t.Errorf("%s: git says %s, the test %s", expr, theirs, want)
			}
		}
	}
	for expr, want := range map[string]string{
		"nope": "git fetch origin nope", "origin/nope": "git fetch origin nope:refs/remotes/origin/nope",
		strings.Repeat("0", 40): "not in this repository", "HEAD^3": "2 parents", "HEAD~50": "0 parents",
		"HEAD~99999": "more than", "HEAD~99999999999999999999": "more than", "HEAD:package-lock.json": "no single commit",
		"main..base": "no single commit", "HEAD@{1}": "no single commit", "HEAD^{tree}": "not understood", "HEAD^{/two}": "not understood",
		"../../etc/passwd": "no single commit", "": "empty", strings.Repeat("a", MaxExpression+1): "longer",
		strings.Repeat("0", 64): "SHA-256", strings.Repeat("a", MaxExpression): "not in this repository",
	} {
		_, err := r.Resolve(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v; want %q", expr, err, want)
		}
	}
}

// A tag called like the base branch must not silently stand for it, nor a
// branch called like an abbreviated id.
func TestAmbiguousNames(t *testing.T) {
	g := newRepo(t)
	g.write("a", "1")
	c1 := g.commit("one")
	g.write("a", "2")
	g.commit("two")
	g.git("update-ref", "refs/tags/main", c1)
	g.git("update-ref", "refs/heads/"+c1[:8], "HEAD")
	r := open(t, g.dir)
	for _, expr := range []string{"main", c1[:8], "main~0"} {
		if _, err := r.Resolve(expr); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if got, err := r.Resolve("refs/tags/main"); err != nil || got != c1 {
		t.Errorf("written out: %s, %v", got, err)
	}
}

func TestThreat069UnicodeSeparatorsInRevisions(t *testing.T) {
	g := newRepo(t)
	g.commit("one")
	r := open(t, g.dir)
	for _, s := range []string{"main\u2028", "main\u2029x", "ma\u00a0in", "\uff4dain", "\u212amain", "main\n", "ma\tin", "main\x00", "main\u200b", "main\u202e", "main ", "main\x7f", "\xff", "\ufeffmain"} {
		for _, expr := range []string{s, "main..." + s, "HEAD~1" + s} {
			if _, err := r.Resolve(expr); err == nil || strings.Contains(err.Error(), "git fetch") {
				t.Errorf("%q: %v", expr, err)
			}
		}
	}
	if _, err := r.Resolve("main"); err != nil {
		t.Error(err)
	}
}

// Threat 115: a ref can neither become an option nor make headgate run the git
// that lies in the scanned tree or in PATH.
func TestThreat115NoGitIsRun(t *testing.T) {
	g := newRepo(t)
	marker := filepath.Join(t.TempDir(), "ran")
	script := "#!/bin/sh\necho ran >>" + marker + "\n"
	for _, hook := range []string{"post-checkout", "fsmonitor", "pre-commit"} {
		g.write(".git/later/"+hook, script)
	}
	g.write("git", script)
	g.write("a", "x")
	g.write(".gitattributes", "* filter=evil diff=evil\n")
	g.commit("one")
	g.git("config", "core.hooksPath", filepath.Join(g.dir, ".git/later"))
	g.git("config", "core.fsmonitor", filepath.Join(g.dir, "git"))
	g.git("config", "filter.evil.smudge", filepath.Join(g.dir, "git"))
	g.git("config", "diff.evil.textconv", filepath.Join(g.dir, "git"))
	if err := filepath.WalkDir(g.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == "git" || strings.Contains(p, "later")) {
			return os.Chmod(p, 0o755)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", g.dir)
	t.Chdir(g.dir)
	r := open(t, ".")
	for _, s := range []string{"-", "--upload-pack=touch x", "-c", "--output=x...main"} {
		if _, err := r.Resolve(s); err == nil || !strings.Contains(err.Error(), "dash") {
			t.Errorf("%q: %v", s, err)
		}
	}
	tree, err := r.Tree("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := tree.ReadFile("a"); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(marker); err == nil {
		t.Errorf("something was run: %s", b)
	}
}

func TestTree(t *testing.T) {
	g := newRepo(t)
	g.write("package-lock.json", "top")
	g.write("web/package-lock.json", "web")
	g.write("web/sub/x.txt", "x")
	g.write("deep/a/b/c", "c")
	if err := os.Symlink("../../../etc/passwd", filepath.Join(g.dir, "link")); err != nil {
		t.Fatal(err)
	}
	g.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	c := g.commit("one")
	g.write("web/package-lock.json", "changed in the working tree only")
	g.write("new/untracked", "")

	tree, err := open(t, g.dir).Tree("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if tree.Commit() != c {
		t.Errorf("commit %s", tree.Commit())
	}
	files, err := tree.Files(func(dir string) bool { return dir == "deep" })
	if want := []string{"package-lock.json", "web/package-lock.json", "web/sub/x.txt"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("files %q, %v", files, err)
	}
	if b, err := tree.ReadFile("web/package-lock.json"); err != nil || string(b) != "web" {
		t.Errorf("%q, %v", b, err)
	}
	for _, name := range []string{"link", "module", "web", "nope", "web/nope", "package-lock.json/x", "../r", "/etc/passwd", "web/../link"} {
		if b, err := tree.ReadFile(name); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
	sub, err := open(t, filepath.Join(g.dir, "web")).Tree("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "package-lock.json", "sub/x.txt"); err != nil {
		t.Error(err)
	}
	fresh := open(t, filepath.Join(g.dir, "new"))
	if fresh.Prefix() != "new" {
		t.Errorf("prefix %q", fresh.Prefix())
	}
	if tree, err = fresh.Tree("HEAD"); err != nil {
		t.Fatal(err)
	}
	if files, err := tree.Files(nil); err != nil || len(files) != 0 {
		t.Errorf("a directory that is new: %q, %v", files, err)
	}
	if tree, err = fresh.TopTree("HEAD"); err != nil {
		t.Fatal(err)
	}
	if b, err := tree.ReadFile("package-lock.json"); err != nil || string(b) != "top" {
		t.Errorf("top: %q, %v", b, err)
	}
}

func TestLayouts(t *testing.T) {
	g := newRepo(t)
	g.write("a", "1")
	c1 := g.commit("one")
	g.write("a", "2")
	c2 := g.commit("two")
	g.git("repack", "-q", "-a", "-d")
	check := func(t *testing.T, dir, expr, want, content string) {
		t.Helper()
		tree, err := open(t, dir).Tree(expr)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Commit() != want {
			t.Errorf("%s is %s", expr, tree.Commit())
		}
		if b, err := tree.ReadFile("a"); err != nil || string(b) != content {
			t.Errorf("%q, %v", b, err)
		}
	}
	t.Run("worktree", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "wt")
		g.git("worktree", "add", "-q", "--detach", dir, c1)
		check(t, dir, "HEAD", c1, "1")
		check(t, dir, "main", c2, "2")
		check(t, dir, c2[:9], c2, "2")
	})
	t.Run("bare", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "bare")
		g.git("clone", "-q", "--bare", g.dir, dir)
		check(t, dir, "main", c2, "2")
	})
	t.Run("alternates", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "shared")
		g.git("clone", "-q", "--shared", g.dir, dir)
		check(t, dir, "main~1", c1, "1")
		second := filepath.Join(t.TempDir(), "second")
		g.git("clone", "-q", "--shared", dir, second)
		check(t, second, "main~1", c1, "1")
		rel, err := filepath.Rel(filepath.Join(second, ".git/objects"), filepath.Join(dir, ".git/objects"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(second, ".git/objects/info/alternates"), []byte(rel+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		check(t, second, "origin/main", c2, "2")
	})
	t.Run("shallow", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "shallow")
		g.git("clone", "-q", "--depth=1", "file://"+g.dir, dir)
		check(t, dir, "HEAD", c2, "2")
		r := open(t, dir)
		for expr, want := range map[string]string{
			"HEAD~1":          "git fetch --unshallow",
			"release":         "git fetch --depth=1 origin release",
			"origin/release":  "git fetch --depth=1 origin release:refs/remotes/origin/release",
			c1:                "git fetch --depth=1 origin " + c1,
			"HEAD..." + c1:    "git fetch --depth=1 origin " + c1,
			"HEAD...HEAD~1":   "git fetch --unshallow",
			"refs/heads/nope": "git fetch --depth=1 origin refs/heads/nope",
		} {
			if _, err := r.Resolve(expr); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", expr, err, want)
			}
		}
	})
	t.Run("shallow merge base", func(t *testing.T) {
		h := newRepo(t)
		h.commit("root")
		h.git("checkout", "-q", "-b", "f")
		h.commit("f1")
		h.commit("f2")
		h.git("checkout", "-q", "main")
		h.commit("m1")
		h.commit("m2")
		dir := filepath.Join(t.TempDir(), "shallow")
		h.git("clone", "-q", "--depth=1", "--no-single-branch", "file://"+h.dir, dir)
		if _, err := open(t, dir).Resolve("origin/main...origin/f"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "--unshallow") {
			t.Error(err)
		}
	})
	t.Run("broken", func(t *testing.T) {
		dir := t.TempDir()
		for _, content := range []string{"gitdir: /nowhere/at/all", "nonsense", strings.Repeat("x", maxGitFile+1)} {
			if err := os.WriteFile(filepath.Join(dir, ".git"), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir); err == nil {
				t.Errorf("%.20q accepted", content)
			}
		}
	})
}

func TestAlternatesBound(t *testing.T) {
	for _, n := range []int{MaxAlternates, MaxAlternates + 1} {
		dir := t.TempDir()
		var list strings.Builder
		for i := range n {
			d := filepath.Join(dir, fmt.Sprint(i))
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&list, d)
		}
		objects := filepath.Join(dir, "objects", "info")
		if err := os.MkdirAll(objects, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(objects, "alternates"), []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := flattenAlternates(filepath.Dir(objects))
		if (err != nil) != (n > MaxAlternates) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	g := newRepo(f)
	g.commit("one")
	g.commit("two")
	r := open(f, g.dir)
	for _, s := range []string{"HEAD", "HEAD~1", "main...HEAD^", "@{-1}", "v1^{commit}", "a^2~3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := r.Resolve(s)
		if (err == nil) != fullID.MatchString(id) {
			t.Errorf("%q: %q, %v", s, id, err)
		}
	})
}
