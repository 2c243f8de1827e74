package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/headgate/headgate/trust/authenticode/authenticodetest"
)

// mirrorOf makes a git repository of the files below the user's folder of mirrors.
func mirrorOf(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	repo, err := git.PlainOpen(dir)
	if err != nil {
		if repo, err = git.PlainInit(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	w, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
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
	return h.String()
}

// TestSourceMirror: an update brings a build script that its source does not have.
func TestSourceMirror(t *testing.T) {
	p := newProject(t, "compressor", unsignedRegistry)
	mirrors := t.TempDir()
	p.reg.source, p.reg.heads = "https://git.example.com/acme/compressor", map[string]string{}
	release := func(version string, more map[string]string) {
		manifest := `{"name":"compressor","version":"` + version + `"}`
		source := map[string]string{"package.json": manifest, "index.js": "// " + version}
		p.reg.heads[version] = mirrorOf(t, filepath.Join(mirrors, "git.example.com", "acme", "compressor"), source)
		files := map[string][]byte{"dist/min.js": []byte("made from " + version)}
		for _, m := range []map[string]string{source, more} {
			for name, text := range m {
				files[name] = []byte(text)
			}
		}
		p.reg.tarballs[version] = tarGzip(t, files)
	}
	release("1.0.0", nil)
	release("1.0.1", nil)
	release("1.0.2", map[string]string{"m4/build-to-host.m4": "eval `tr x y < tests/bad.xz`"})
	release("1.0.3", map[string]string{"extra/a.js": "other()"})
	release("1.0.4", nil)
	p.reg.heads["1.0.4"] = strings.Repeat("ab", 20)

	p.lock("1.0.0")
	p.commit()
	if code, out := p.headgate("init", p.dir); code != 0 {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	check := func(version string, args ...string) (int, string) {
		p.lock(version)
		code, out := p.headgate(append([]string{"check", p.dir, "--base", "HEAD", "--bytes", "--dry-run"}, args...)...)
		return code, strings.Join(strings.Fields(out), " ")
	}
	// A healthy update: what is built was built before too.
	if code, out := check("1.0.1", "--source-mirror", mirrors); code != 0 || strings.Contains(out, "unlike-source") {
		t.Errorf("healthy update: exit %d\n%s", code, out)
	}
	// Without a mirror nothing is compared; with one, the script is held.
	if code, out := check("1.0.2"); code != 0 {
		t.Errorf("no mirror: exit %d\n%s", code, out)
	}
	p.env[SourcesEnv] = "https://git.example.com/acme/compressor=" + filepath.Join(mirrors, "git.example.com", "acme", "compressor")
	code, out := check("1.0.2")
	for _, want := range []string{"suspicious-content", "not-in-source in package/m4/build-to-host.m4", "runs when the package is built or installed, and is not in the source (commit " + p.reg.heads["1.0.2"][:12], "unsigned record"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if code != 1 || t.Failed() {
		t.Errorf("the build script: exit %d\n%s", code, out)
	}
	// Other files are reported, and held where the policy is strict.
	if code, out := check("1.0.3"); code != 0 || !strings.Contains(out, "unlike-source") || !strings.Contains(out, "extra/: 1 file is not in the source (commit") {
		t.Errorf("another file: exit %d\n%s", code, out)
	}
	p.write(ConfigFile, strings.Replace(unsignedRegistry, "policy:\n", "policy:\n  effects: {unlike-source: hold}\n", 1))
	p.lock("1.0.0")
	p.commit()
	if code, out := check("1.0.3"); code != 1 || !strings.Contains(out, "hold unlike-source") {
		t.Errorf("another file, held: exit %d\n%s", code, out)
	}
	// A commit that only an unsigned record names and nobody has proves nothing.
	if code, out := check("1.0.4", "-v"); code != 0 || !strings.Contains(out, "does not hold the commit") {
		t.Errorf("unknown commit: exit %d\n%s", code, out)
	}
	// What the user names must be there.
	if code, out := check("1.0.1", "--source-mirror", filepath.Join(mirrors, "nowhere")); code != 3 || !strings.Contains(out, "git clone --mirror") {
		t.Errorf("no such folder: exit %d\n%s", code, out)
	}
}

// TestBinarySigner: who signs the binaries inside a package is remembered like
// any other signer.
func TestBinarySigner(t *testing.T) {
	p := newProject(t, "driver", unsignedRegistry)
	ours := authenticodetest.NewSigner("Driver Vendor Ltd", time.Now().AddDate(0, -4, 0))
	other := authenticodetest.NewSigner("Somebody Else LLC", time.Now().AddDate(0, -4, 0))
	release := func(version string, signer *authenticodetest.Signer) {
		p.reg.tarballs[version] = tarGzip(t, map[string][]byte{
			"package.json": []byte(`{"name":"driver","version":"` + version + `"}`), "bin/driver.dll": signer.Sign(authenticodetest.Image("code of "+version), nil),
		})
	}
	release("1.0.0", ours)
	release("1.0.1", ours)
	release("1.1.0", other)
	release("1.1.1", other)
	p.lock("1.0.0")
	p.commit()
	if code, out := p.headgate("init", p.dir); code != 0 {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	p.pinRoot(ours.Root.Cert.Raw)
	p.pinRoot(other.Root.Cert.Raw)
	check := func(version string) (int, string) {
		p.lock(version)
		code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes")
		return code, strings.Join(strings.Fields(out), " ")
	}
	if code, out := check("1.0.1"); code != 0 {
		t.Fatalf("the same signer: exit %d\n%s", code, out)
	}
	p.commit() // the base has 1.0.1 now
	code, out := check("1.1.0")
	if code != 1 || !strings.Contains(out, "hold binary-signer-changed") || !strings.Contains(out, "Somebody Else LLC") || !strings.Contains(out, "those of earlier releases by X.509 CN=Driver Vendor Ltd") {
		t.Fatalf("another signer: exit %d\n%s", code, out)
	}
	accept := regexp.MustCompile(`headgate signers accept (\S+) --signer (\S+)`).FindStringSubmatch(out)
	if accept == nil {
		t.Fatalf("no command that settles it:\n%s", out)
	}
	// An accepted signer of binaries vouches for binaries, not for the package: nobody
	// is accepted without being named.
	if code, out := p.headgate("signers", "accept", accept[1], "--reason", "all"); code != 3 {
		t.Errorf("accept without a name: exit %d\n%s", code, out)
	}
	if code, out := p.headgate("signers", "accept", accept[1], "--signer", accept[2], "--reason", "the vendor was bought"); code != 0 {
		t.Fatalf("accept: exit %d\n%s", code, out)
	}
	if code, out := check("1.1.0"); code != 0 {
		t.Fatalf("accepted: exit %d\n%s", code, out)
	}
	if code, out := p.headgate("signers", "revoke", accept[2], "--reason", "certificate stolen"); code != 0 {
		t.Fatalf("revoke: exit %d\n%s", code, out)
	}
	if code, out := check("1.1.1"); code != 1 || !strings.Contains(out, "hold signer-revoked") || !strings.Contains(out, "certificate stolen") {
		t.Errorf("revoked: exit %d\n%s", code, out)
	}
	if code, out := p.headgate("log", "verify"); code != 0 {
		t.Errorf("log verify: exit %d\n%s", code, out)
	}
}
