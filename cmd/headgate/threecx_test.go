package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/authenticode/authenticodetest"
)

// tarballRegistry serves releases of one package as npm registries do.
type tarballRegistry struct {
	name     string
	url      string
	tarballs map[string][]byte // by version
	young    string            // the version that was published an hour ago
	heads    map[string]string // by version, the commit that the record names
	source   string            // the repository that the records name
	licenses map[string]any    // by version, instead of MIT; nil for none
}

func (n *tarballRegistry) integrity(version string) string {
	sum := sha512.Sum512(n.tarballs[version])
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (n *tarballRegistry) tarball(version string) string {
	return fmt.Sprintf("%s/%s/-/%s-%s.tgz", n.url, n.name, n.name, version)
}

func (n *tarballRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for v, b := range n.tarballs {
		if n.url+r.URL.Path == n.tarball(v) {
			w.Write(b)
			return
		}
	}
	if r.URL.Path != "/"+n.name {
		http.NotFound(w, r)
		return
	}
	versions, times := map[string]any{}, map[string]any{}
	for v := range n.tarballs {
		record := map[string]any{
			"name": n.name, "version": v, "license": "MIT",
			"dist": map[string]any{"tarball": n.tarball(v), "integrity": n.integrity(v)},
		}
		if l, ok := n.licenses[v]; ok {
			record["license"] = l
		}
		if n.source != "" {
			record["repository"] = map[string]any{"type": "git", "url": "git+" + n.source + ".git"}
			record["gitHead"] = n.heads[v]
		}
		versions[v] = record
		times[v] = time.Now().UTC().AddDate(0, -3, 0).Format(time.RFC3339)
		if v == n.young {
			times[v] = time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
		}
	}
	json.NewEncoder(w).Encode(map[string]any{"name": n.name, "versions": versions, "time": times})
}

func tarGzip(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// icon is an ICO file with one image of 64 bytes.
func icon() []byte {
	b := make([]byte, 6+16+64)
	binary.LittleEndian.PutUint16(b[2:], 1)
	binary.LittleEndian.PutUint16(b[4:], 1)
	binary.LittleEndian.PutUint32(b[6+8:], 64)
	binary.LittleEndian.PutUint32(b[6+12:], 22)
	return b
}

// project is a git repository with one npm package, and headgate's own folders.
type project struct {
	t    *testing.T
	dir  string
	home string
	env  map[string]string
	reg  *tarballRegistry
}

func newProject(t *testing.T, name, config string) *project {
	t.Helper()
	p := &project{t: t, dir: t.TempDir(), home: t.TempDir(), reg: &tarballRegistry{name: name, tarballs: map[string][]byte{}}}
	srv := httptest.NewServer(p.reg)
	t.Cleanup(srv.Close)
	p.reg.url = srv.URL
	p.env = map[string]string{
		"HOME": p.home, "NPM_CONFIG_REGISTRY": srv.URL + "/", "XDG_DATA_HOME": filepath.Join(p.home, "data"), "XDG_CACHE_HOME": filepath.Join(p.home, "cache"),
		InsecureEnv: strings.TrimPrefix(srv.URL, "http://"), "HEADGATE_USER": "carol", "GOENV": "off",
	}
	p.write(ConfigFile, config)
	return p
}

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// lock writes a package-lock.json that takes the version from the registry.
func (p *project) lock(version string) {
	p.t.Helper()
	b, err := json.MarshalIndent(map[string]any{
		"name": "project", "version": "1.0.0", "lockfileVersion": 3,
		"packages": map[string]any{
			"":                           map[string]any{"name": "project", "version": "1.0.0", "dependencies": map[string]any{p.reg.name: version}},
			"node_modules/" + p.reg.name: map[string]any{"version": version, "resolved": p.reg.tarball(version), "integrity": p.reg.integrity(version)},
		},
	}, "", "  ")
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("package-lock.json", string(b))
}

func (p *project) commit() {
	p.t.Helper()
	repo, err := git.PlainOpen(p.dir)
	if err != nil {
		if repo, err = git.PlainInit(p.dir, false); err != nil {
			p.t.Fatal(err)
		}
	}
	w, err := repo.Worktree()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := w.AddGlob("."); err != nil {
		p.t.Fatal(err)
	}
	if _, err := w.Commit("commit", &git.CommitOptions{Author: &object.Signature{Name: "dev", Email: "dev@example.com", When: time.Unix(1700000000, 0)}}); err != nil {
		p.t.Fatal(err)
	}
}

// headgate runs the command and returns its exit code and output.
func (p *project) headgate(args ...string) (int, string) {
	p.t.Helper()
	var out, errs bytes.Buffer
	var environ []string
	for k, v := range p.env {
		environ = append(environ, k+"="+v)
	}
	c := Command{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return p.env[k] },
		Environ: environ, Home: p.home, Clock: time.Now, Version: "test",
	}
	code := c.Run(p.t.Context())
	return code, out.String() + errs.String()
}

// pinRoot makes a code signing root known.
func (p *project) pinRoot(root []byte) {
	p.t.Helper()
	s, err := store.Open(p.t.Context(), filepath.Join(p.env["XDG_DATA_HOME"], "headgate", "trust.db"), store.Options{Now: time.Now})
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	m := trust.Material{Kind: trust.MaterialX509Root, Name: "code signing", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})}
	if err := s.PutMaterial(p.t.Context(), m, "carol", "our vendor's root"); err != nil {
		p.t.Fatal(err)
	}
}

const unsignedRegistry = `version: 1
policy:
  ecosystems:
    npm:
      minimumAssurance: none
`

// TestThreeCX replays the attack on 3CX: an update of a clean package brings a
// correctly signed library with malware hidden behind its signature, and an icon
// with a second stage behind its end. Every signature verifies; check blocks it.
func TestThreeCX(t *testing.T) {
	p := newProject(t, "desktop-phone", unsignedRegistry)
	vendor := authenticodetest.NewSigner("Phone Vendor Ltd", time.Now().AddDate(0, -4, 0))
	payload := make([]byte, 275_000)
	if _, err := rand.Read(payload); err != nil {
		t.Fatal(err)
	}
	release := func(version string, hidden, behindIcon []byte) {
		p.reg.tarballs[version] = tarGzip(t, map[string][]byte{
			"package.json":              []byte(`{"name":"desktop-phone","version":"` + version + `"}`),
			"index.js":                  []byte("// " + version),
			"bin/d3dcompiler_47.dll":    vendor.Sign(authenticodetest.Image("code of "+version), hidden),
			"icons/phone.ico":           append(icon(), behindIcon...),
			"icons/" + version + ".ico": icon(),
		})
	}
	release("18.12.402", nil, nil)
	release("18.12.407", nil, nil)
	release("18.12.416", payload, append([]byte("$"), payload[:4096]...))

	p.lock("18.12.402")
	p.commit()
	if code, out := p.headgate("init", p.dir); code != 0 {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	p.pinRoot(vendor.Root.Cert.Raw)

	p.lock("18.12.407")
	if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "-v"); code != 0 {
		t.Fatalf("the clean update: exit %d\n%s", code, out)
	}

	p.lock("18.12.416")
	code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes")
	if code != 1 {
		t.Errorf("the trojan: exit %d", code)
	}
	flat := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"blocked", "dangerous-archive", "bin/d3dcompiler_47.dll", "data hides behind the binary's digital signature",
		"275000 bytes behind the signature", "Windows still shows the file as signed", "icons/phone.ico", "4097 bytes of data stand behind the end of the icon",
		"they look encrypted or compressed", "do not use this release",
	} {
		if !strings.Contains(flat, want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	if strings.Contains(flat, "headgate request") {
		t.Error("the report sends people to ask for what nobody may approve")
	}
	if t.Failed() {
		t.Log(out)
	}
	_, out = p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "-o", "json")
	var r struct {
		Components []struct {
			Verdict         string
			InspectionState string
			Inspection      []struct{ Kind, Entry, Effect string }
		}
	}
	if err := json.NewDecoder(strings.NewReader(out[strings.IndexByte(out, '{'):])).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if len(r.Components) != 1 || r.Components[0].Verdict != "block" || r.Components[0].InspectionState != "known" || len(r.Components[0].Inspection) < 3 {
		t.Errorf("JSON: %+v", r)
	}
	// Nobody can let it in.
	if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "--policy", "baseline"); code != 1 {
		t.Errorf("again: exit %d\n%s", code, out)
	}
}

// TestRegistryManifestDiffers: what npm resolves by and what it installs differ.
func TestRegistryManifestDiffers(t *testing.T) {
	p := newProject(t, "two-faces", unsignedRegistry)
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		deps := ""
		if v == "1.0.2" {
			deps = `,"dependencies":{"stealer":"^1.0.0"}`
		}
		p.reg.tarballs[v] = tarGzip(t, map[string][]byte{"package.json": []byte(`{"name":"two-faces","version":"` + v + `"` + deps + `}`)})
	}
	p.lock("1.0.0")
	p.commit()
	if code, out := p.headgate("init", p.dir); code != 0 {
		t.Fatalf("init: exit %d\n%s", code, out)
	}
	p.lock("1.0.1")
	if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 0 {
		t.Fatalf("honest: exit %d\n%s", code, out)
	}
	p.lock("1.0.2")
	if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 1 || !strings.Contains(out, "manifest-mismatch") || !strings.Contains(out, "stealer") {
		t.Errorf("two faces: exit %d\n%s", code, out)
	}
	// What cannot be looked into is undecided, never clean.
	p.lock("1.0.1")
	b := p.reg.tarballs["1.0.1"]
	p.reg.tarballs["1.0.3"] = append([]byte(nil), b...)
	p.lock("1.0.3")
	p.reg.tarballs["1.0.3"] = b[:len(b)-1]
	if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code == 0 {
		t.Errorf("other bytes: exit %d\n%s", code, out)
	}
}
