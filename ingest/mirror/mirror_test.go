package mirror

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// repository makes a git repository of the files and returns the commit's id.
func repository(t *testing.T, dir string, files map[string]string, tags ...string) string {
	t.Helper()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Add(name); err != nil {
			t.Fatal(err)
		}
	}
	h, err := w.Commit("release", &git.CommitOptions{Author: &object.Signature{Name: "dev", Email: "dev@example.com", When: time.Unix(1700000000, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if err := repo.Storer.SetReference(plumbing.NewHashReference(plumbing.NewTagReferenceName(tag), h)); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing may come from the working tree.
	for name := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte("edited"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h.String()
}

func look(t *testing.T, purl, file string, files map[string]string) *inspect.Report {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if strings.HasSuffix(file, ".zip") || strings.HasSuffix(file, ".whl") {
		w := zip.NewWriter(&b)
		for name, text := range files {
			f, err := w.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(f, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for name, text := range files {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := inspect.Package(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), inspect.Options{Release: r, FileName: file, Blobs: true})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func pkg(t *testing.T, purl string) trust.Package {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r.Package
}

func under(top string, files map[string]string, more ...string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[top+name] = text
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

func mirrors(t *testing.T, specs ...string) *Mirrors {
	t.Helper()
	m, err := Parse(specs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// xzSource is the repository of a package whose tests hold odd archives, as xz's did.
var xzSource = map[string]string{
	"configure.ac": "AC_INIT([lzma], [5.6.1])\n", "src/lzma.c": "int lzma;\n", "m4/ax_pthread.m4": "dnl threads\n",
	"tests/files/bad-3-corrupt_lzma2.xz": "\xfd7zXZ\x00 odd", "README": "readme\n",
}

// TestXZ: the release archive has a build script that the source does not have,
// and an altered one; the odd test file is the source's own.
func TestXZ(t *testing.T) {
	root := t.TempDir()
	commit := repository(t, filepath.Join(root, "git.example.com", "xz-project", "xz"), xzSource)
	const purl, file = "pkg:pypi/lzma@5.6.1", "lzma-5.6.1.tar.gz"
	evil := under("lzma-5.6.1/", xzSource, "lzma-5.6.1/m4/build-to-host.m4", "gl_am_configmake=`grep -aErls '#{4}[[:alnum:]]{5}#{4}$'`",
		"lzma-5.6.1/configure.ac", "AC_INIT([lzma], [5.6.1])\ngl_BUILD_TO_HOST\n", "lzma-5.6.1/PKG-INFO", "Name: lzma\nVersion: 5.6.1\n", "lzma-5.6.1/po/de.gmo", "made")
	src := Source{Repository: "https://git.example.com/xz-project/xz", Commit: commit, By: "signed provenance says", Signed: true}
	now := look(t, purl, file, evil)
	res, err := mirrors(t, root).Compare(t.Context(), src, pkg(t, purl), now)
	if err != nil {
		t.Fatal(err)
	}
	if res.Same != 4 || res.Made != 1 || strings.Join(res.Extra, " ") != "lzma-5.6.1/m4/build-to-host.m4 lzma-5.6.1/po/de.gmo" || strings.Join(res.Changed, " ") != "lzma-5.6.1/configure.ac" {
		t.Errorf("%+v", res)
	}
	before := look(t, purl, file, under("lzma-5.6.0/", xzSource, "lzma-5.6.0/po/de.gmo", "made before"))
	obs := map[string]policies.Observation{}
	for _, o := range res.Observations(pkg(t, purl), now, before) {
		obs[o.Entry] = o
	}
	if o := obs["lzma-5.6.1/m4/build-to-host.m4"]; o.Kind != KindExtra || o.Effect != trust.EffectHold || !strings.Contains(o.Detail, "commit "+commit[:12]+" of "+src.Repository+", as signed provenance says)") {
		t.Errorf("build script: %+v", o)
	}
	if o := obs["lzma-5.6.1/configure.ac"]; o.Kind != KindChanged || o.Effect != trust.EffectHold {
		t.Errorf("altered configure.ac: %+v", o)
	}
	if o := obs["po/"]; o.Kind != KindExtra || o.New || o.Effect != "" {
		t.Errorf("what was generated before: %+v", o)
	}
	if len(obs) != 3 {
		t.Errorf("%+v", obs)
	}
	// The same script in the release before, byte for byte, does not come in now.
	before = look(t, purl, file, evil)
	for _, o := range res.Observations(pkg(t, purl), now, before) {
		if o.New || o.Effect != "" {
			t.Errorf("not new: %+v", o)
		}
	}
}

// TestGoModule: a module's files are the source's, file for file.
func TestGoModule(t *testing.T) {
	root := t.TempDir()
	tree := map[string]string{"LICENSE": "free", "sub/go.mod": "module git.example.com/a/b/sub/v2\n", "sub/x.go": "package sub\n", "other/x.go": "package other\n"}
	repository(t, filepath.Join(root, "git.example.com/a/b.git"), tree, "sub/v2.1.0")
	const purl = "pkg:golang/git.example.com/a/b/sub/v2@v2.1.0"
	top := "git.example.com/a/b/sub/v2@v2.1.0/"
	good := map[string]string{top + "go.mod": tree["sub/go.mod"], top + "x.go": tree["sub/x.go"], top + "LICENSE": "free"}
	p := pkg(t, purl)
	src, ok := Go(p, "v2.1.0")
	if !ok || src.Repository != "https://git.example.com/a/b" || src.Tags[0] != "refs/tags/sub/v2.1.0" {
		t.Fatalf("%+v", src)
	}
	m := mirrors(t, "https://git.example.com/a/b="+filepath.Join(root, "git.example.com/a/b.git"))
	rep := look(t, purl, "v2.1.0.zip", good)
	res, err := m.Compare(t.Context(), src, p, rep)
	if err != nil || res.Same != 3 || len(res.Extra)+len(res.Changed) > 0 {
		t.Errorf("%+v, %v", res, err)
	}
	rep = look(t, purl, "v2.1.0.zip", under("", good, top+"x.go", "package sub\nfunc init() {}\n", top+"y.go", "package sub\n"))
	if res, err = m.Compare(t.Context(), src, p, rep); err != nil {
		t.Fatal(err)
	}
	obs := res.Observations(p, rep, nil)
	if len(obs) != 2 || obs[0].Entry != top+"y.go" || obs[0].Kind != KindExtra || obs[1].Kind != KindChanged || obs[1].Effect != trust.EffectHold ||
		!strings.Contains(obs[1].Detail, "tag sub/v2.1.0 (commit ") {
		t.Errorf("%+v", obs)
	}
}

func TestGoSources(t *testing.T) {
	for purl, want := range map[string]string{
		"pkg:golang/git.example.com/a/b@v1.0.0":                             "https://git.example.com/a/b refs/tags/v1.0.0",
		"pkg:golang/git.example.com/a/b/v3@v3.0.0":                          "https://git.example.com/a/b refs/tags/v3.0.0",
		"pkg:golang/git.example.com/a/b/c/d@v1.0.0":                         "https://git.example.com/a/b refs/tags/c/d/v1.0.0",
		"pkg:golang/git.example.com/a/b@v2.0.0%2Bincompatible":              "https://git.example.com/a/b refs/tags/v2.0.0",
		"pkg:golang/git.example.com/a/b@v0.0.0-20240101000000-0123456789ab": "https://git.example.com/a/b 0123456789ab",
		"pkg:golang/example.com/b@v1.0.0":                                   "",
	} {
		r, err := trust.ParseRelease(purl)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if s, ok := Go(r.Package, r.Version); ok {
			got = s.Repository + " " + strings.Join(s.Tags, " ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", purl, got, want)
		}
	}
}

// TestBuiltPackage: what is generated is reported by folder; a script of the
// installation is held.
func TestBuiltPackage(t *testing.T) {
	root := t.TempDir()
	tree := map[string]string{"packages/ui/package.json": `{"name":"ui","version":"1.0.0","scripts":{"postinstall":"node dist/setup.js"}}`, "packages/ui/src/a.ts": "let a", "packages/ui/README.md": "ui", "package.json": "{}"}
	commit := repository(t, filepath.Join(root, "git.example.com/acme/mono"), tree)
	const purl = "pkg:npm/ui@1.0.0"
	rep := look(t, purl, "ui-1.0.0.tgz", map[string]string{
		"package/package.json": tree["packages/ui/package.json"], "package/README.md": "ui", "package/dist/a.js": "var a", "package/dist/b.js": "var b",
		"package/dist/setup.js": "steal()",
	})
	src := Source{Repository: "https://git.example.com/acme/mono", Commit: commit, By: "the registry's unsigned record says"}
	res, err := mirrors(t, root).Compare(t.Context(), src, pkg(t, purl), rep)
	if err != nil || res.Same != 2 || len(res.Extra) != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	obs := res.Observations(pkg(t, purl), rep, nil)
	if len(obs) != 2 || obs[0].Entry != "package/dist/setup.js" || obs[0].Effect != trust.EffectHold ||
		obs[1].Entry != "dist/" || obs[1].Effect != "" || !obs[1].New || !strings.HasPrefix(obs[1].Detail, "2 files are not in the source (commit "+commit[:12]) || !strings.HasSuffix(obs[1].Detail, "a.js, b.js") {
		t.Errorf("%+v", obs)
	}
}

// TestCrate: cargo rewrites the manifest and keeps the source's beside it.
func TestCrate(t *testing.T) {
	root := t.TempDir()
	tree := map[string]string{"Cargo.toml": "[package]\nname = \"c\"\nversion = \"1.0.0\"\n", "src/lib.rs": "fn a() {}\n"}
	commit := repository(t, filepath.Join(root, "git.example.com/acme/c"), tree)
	const purl = "pkg:cargo/c@1.0.0"
	rep := look(t, purl, "c-1.0.0.crate", map[string]string{
		"c-1.0.0/Cargo.toml": "# generated\n" + tree["Cargo.toml"], "c-1.0.0/Cargo.toml.orig": tree["Cargo.toml"], "c-1.0.0/src/lib.rs": tree["src/lib.rs"],
		"c-1.0.0/.cargo_vcs_info.json": `{"git":{"sha1":"` + commit + `"},"path_in_vcs":""}`, "c-1.0.0/build.rs": "fn main() {}\n",
	})
	if rep.Commit != commit {
		t.Errorf("the crate names commit %q", rep.Commit)
	}
	res, err := mirrors(t, root).Compare(t.Context(), Source{Repository: "https://git.example.com/acme/c", Commit: rep.Commit, By: "it names"}, pkg(t, purl), rep)
	if err != nil || res.Same != 2 || res.Made != 2 || strings.Join(res.Extra, " ") != "c-1.0.0/build.rs" {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestForged: git's name alone makes no file the source's.
func TestForged(t *testing.T) {
	root := t.TempDir()
	commit := repository(t, filepath.Join(root, "git.example.com/acme/c"), map[string]string{"index.js": "good", "package.json": "{}"})
	const purl = "pkg:npm/c@1.0.0"
	good := look(t, purl, "c.tgz", map[string]string{"package/index.js": "good", "package/package.json": "{}"})
	evil := look(t, purl, "c.tgz", map[string]string{"package/index.js": "evil", "package/package.json": "{}"})
	f := evil.Files["package/index.js"]
	f.Blob = good.Files["package/index.js"].Blob
	evil.Files["package/index.js"] = f
	res, err := mirrors(t, root).Compare(t.Context(), Source{Repository: "https://git.example.com/acme/c", Commit: commit}, pkg(t, purl), evil)
	if err != nil || len(res.Forged) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if obs := res.Observations(pkg(t, purl), evil, good); len(obs) != 1 || obs[0].Effect != trust.EffectBlock {
		t.Errorf("%+v", obs)
	}
}

// TestNoAnswer: a mirror that cannot say anything never says that all is well.
func TestNoAnswer(t *testing.T) {
	root := t.TempDir()
	commit := repository(t, filepath.Join(root, "git.example.com/acme/c"), map[string]string{"a": "a"})
	if err := os.MkdirAll(filepath.Join(root, "git.example.com/acme/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	rep := look(t, "pkg:npm/c@1.0.0", "c.tgz", map[string]string{"package/a": "a"})
	for what, tc := range map[string]struct {
		src    Source
		none   bool // there is no mirror
		reason trust.Reason
	}{
		"another commit":      {Source{Repository: "https://git.example.com/acme/c", Commit: strings.Repeat("ab", 20)}, false, trust.ReasonNotFound},
		"no such tag":         {Source{Repository: "https://git.example.com/acme/c", Tags: []string{"refs/tags/v1"}}, false, trust.ReasonNotFound},
		"an option":           {Source{Repository: "https://git.example.com/acme/c", Commit: "--upload-pack=x"}, false, trust.ReasonUnsupported},
		"a branch":            {Source{Repository: "https://git.example.com/acme/c", Commit: "master"}, false, trust.ReasonUnsupported},
		"short":               {Source{Repository: "https://git.example.com/acme/c", Commit: commit[:12]}, false, trust.ReasonUnsupported},
		"nothing named":       {Source{Repository: "https://git.example.com/acme/c"}, false, trust.ReasonNotFound},
		"no repository":       {Source{Repository: "https://git.example.com/acme/empty", Commit: commit}, false, trust.ReasonMalformed},
		"no mirror":           {Source{Repository: "https://git.example.com/acme/other", Commit: commit}, true, ""},
		"parent path":         {Source{Repository: "https://git.example.com/acme/../acme/c", Commit: commit}, false, trust.ReasonUnsupported},
		"escaped parent path": {Source{Repository: "https://git.example.com/acme/%2e%2e/c", Commit: commit}, false, trust.ReasonUnsupported},
		"host with a path":    {Source{Repository: "https://git.example.com@evil.example/acme/c", Commit: commit}, false, trust.ReasonUnsupported},
		"hidden folder":       {Source{Repository: "https://git.example.com/acme/c/.git", Commit: commit}, false, trust.ReasonUnsupported},
		"file URL":            {Source{Repository: "file://" + path.Join(filepath.ToSlash(root), "git.example.com/acme/c"), Commit: commit}, false, trust.ReasonUnsupported},
	} {
		res, err := mirrors(t, root).Compare(t.Context(), tc.src, pkg(t, "pkg:npm/c@1.0.0"), rep)
		if err == nil {
			t.Errorf("%s: %+v", what, res)
			continue
		}
		_, reason := trust.Classify(err)
		if errors.Is(err, ErrNoMirror) != tc.none || !tc.none && reason != tc.reason {
			t.Errorf("%s: %v (%s)", what, err, reason)
		}
	}
	if _, err := Parse([]string{filepath.Join(root, "nowhere")}); err == nil {
		t.Error("a folder that is not there was taken")
	}
	if _, err := Parse(make([]string, MaxMirrors+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("bound of mirrors: %v", err)
	}
}
