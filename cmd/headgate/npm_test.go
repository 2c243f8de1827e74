package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

type obj = map[string]any

// npmRegistry speaks npm's protocol and signs with keys made at run time. What it
// publishes follows from the name: every package has releases 1.0.0 (old), 1.1.0
// (old) and 1.2.0 (an hour old). "prov" packages carry provenance of their own
// repository, "moved" ones from 1.1.0 on of another, "lost" ones only at 1.0.0;
// "stripped" lacks every signature.
type npmRegistry struct {
	*sigstoretest.World
	t    testing.TB
	url  string
	mu   sync.Mutex
	docs map[string][]byte
	// bare are packages that have lost every signature since they were asked for.
	bare map[string]bool
	// delay is how long each answer takes.
	delay time.Duration
	asked int
}

var npmVersions = []string{"1.0.0", "1.1.0", "1.2.0"}

func newNPMRegistry(t testing.TB) *npmRegistry {
	g := &npmRegistry{World: sigstoretest.New(t, time.Now().UTC().Truncate(time.Second).AddDate(0, 0, -10)), t: t, docs: map[string][]byte{}, bare: map[string]bool{}}
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	g.url = srv.URL + "/"
	return g
}

// npmManifest is the release's package.json, in the package and in the registry's record.
func npmManifest(name, version string) obj {
	repo := "acme/widget"
	if strings.Contains(name, "moved") && version != npmVersions[0] {
		repo = "stranger/widget"
	}
	return obj{"name": name, "version": version, "license": "MIT", "repository": obj{"type": "git", "url": "git+https://github.com/" + repo + ".git"}}
}

func npmTarball(name, version string) []byte {
	body, err := json.Marshal(npmManifest(name, version))
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	if err := t.WriteHeader(&tar.Header{Name: "package/package.json", Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body)), Format: tar.FormatUSTAR}); err != nil {
		panic(err)
	}
	_, err = t.Write(body)
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func npmIntegrity(name, version string) string {
	sum := sha512.Sum512(npmTarball(name, version))
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (g *npmRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(g.delay)
	p := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	name := strings.Replace(strings.Replace(p, "%2f", "/", 1), "%40", "@", 1)
	if name == "-/npm/v1/keys" {
		_, _ = w.Write(g.keys())
		return
	}
	if rest, ok := strings.CutPrefix(name, "-/npm/v1/attestations/"); ok {
		i := strings.LastIndex(rest, "@")
		g.packument(rest[:i])
		if doc, ok := g.docs[rest]; ok {
			_, _ = w.Write(doc)
			return
		}
		http.NotFound(w, r)
		return
	}
	if pkg, file, ok := strings.Cut(name, "/-/"); ok {
		_, _ = w.Write(npmTarball(pkg, strings.TrimSuffix(file[strings.LastIndex(file, "-")+1:], ".tgz")))
		return
	}
	if strings.HasPrefix(name, "missing") {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(g.packument(name))
}

// keys are the registry's own list of its keys, which npm asks for.
func (g *npmRegistry) keys() []byte {
	der, err := x509.MarshalPKIXPublicKey(g.NPM.Private.Public())
	if err != nil {
		g.t.Error(err)
	}
	b, err := json.Marshal(obj{"keys": []any{obj{"expires": nil, "keyid": g.NPM.ID, "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256", "key": der}}})
	if err != nil {
		g.t.Error(err)
	}
	return b
}

// packument is made once; the caller holds the lock.
func (g *npmRegistry) packument(name string) []byte {
	if doc, ok := g.docs[name]; ok {
		return doc
	}
	must := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			g.t.Error(err)
		}
		return b
	}
	versions, times := obj{}, obj{}
	for i, v := range npmVersions {
		at := g.Now.AddDate(0, 0, i-20)
		if v == "1.2.0" {
			at = time.Now().UTC().Add(-time.Hour)
		}
		times[v] = at.Format(time.RFC3339)
		integrity := npmIntegrity(name, v)
		dist := obj{"integrity": integrity, "tarball": g.url + name + "/-/" + name[strings.LastIndex(name, "/")+1:] + "-" + v + ".tgz"}
		if !strings.Contains(name, "stripped") && !g.bare[name] {
			dist["signatures"] = []any{obj{"keyid": g.NPM.ID, "sig": base64.StdEncoding.EncodeToString(g.NPM.Sign(g.t, []byte(name+"@"+v+":"+integrity)))}}
		}
		repo := "acme/widget"
		if strings.Contains(name, "moved") && i > 0 {
			repo = "stranger/widget"
		}
		if !g.bare[name] && strings.Contains(name, "prov") || strings.Contains(name, "moved") || strings.Contains(name, "lost") && i == 0 {
			wf := sigstoretest.Workflow{Repository: repo, Ref: "refs/tags/v" + v}
			if repo != "acme/widget" {
				wf.RepoID, wf.OwnerID = "2002", "902"
			}
			subject := sigstoretest.SubjectOf("pkg:npm/"+strings.Replace(name, "@", "%40", 1)+"@"+v, npmTarball(name, v))
			delete(subject.Digest, "sha256")
			dist["attestations"] = obj{"url": g.url + "-/npm/v1/attestations/" + name + "@" + v, "provenance": obj{"predicateType": sigstore.PredicateProvenance1}}
			g.docs[name+"@"+v] = must(obj{"attestations": []any{
				obj{"predicateType": sigstore.PredicateNPMPublish, "bundle": json.RawMessage(g.Bundle(sigstoretest.Options{Key: g.NPM, At: g.Now, Version: "0.2",
					Statement: sigstoretest.Statement(sigstore.PredicateNPMPublish, obj{"name": name, "version": v, "registry": strings.TrimSuffix(npm.DefaultRegistry, "/")}, subject)}))},
				obj{"predicateType": sigstore.PredicateProvenance1, "bundle": json.RawMessage(g.Bundle(sigstoretest.Options{Identity: wf.Identity(), At: g.Now,
					Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, wf.Provenance1(), subject)}))},
			}})
		}
		rec := npmManifest(name, v)
		rec["dist"] = dist
		versions[v] = rec
	}
	g.docs[name] = must(obj{"name": name, "dist-tags": obj{"latest": "1.2.0"}, "versions": versions, "time": times})
	return g.docs[name]
}

// strip takes every signature from a package: strip NAME
func (g *npmRegistry) strip(_ *testscript.TestScript, _ bool, args []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bare[args[0]] = true
	delete(g.docs, args[0])
	for _, v := range npmVersions {
		delete(g.docs, args[0]+"@"+v)
	}
}

// roots writes the trust roots as plain files, as they are carried to machines without network.
func (g *npmRegistry) roots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "trusted_root.json"), g.TrustedRoot(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "npm-keys.json"), g.NPMKeys(), 0o644)
}

// cmdLock writes DIR/package.json and DIR/package-lock.json: lock DIR [alias=]name@version...
// A version "git" is a git dependency.
func cmdLock(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	deps, pkgs := obj{}, obj{}
	for _, a := range args[1:] {
		alias, rest, is := strings.Cut(a, "=")
		if !is {
			alias, rest = "", a
		}
		i := strings.LastIndex(rest, "@")
		name, v := rest[:i], rest[i+1:]
		e := obj{"version": v, "resolved": npm.DefaultRegistry + name + "/-/" + name[strings.LastIndex(name, "/")+1:] + "-" + v + ".tgz", "integrity": npmIntegrity(name, v)}
		as, spec := name, v
		switch {
		case v == "git":
			spec = "git+https://forge.example.com/acme/" + name + ".git"
			e = obj{"version": "1.0.0", "resolved": spec + "#" + strings.Repeat("ab", 20)}
		case alias != "":
			as, spec, e["name"] = alias, "npm:"+rest, name
		}
		deps[as], pkgs["node_modules/"+as] = spec, e
	}
	pkgs[""] = obj{"name": "project", "version": "1.0.0", "dependencies": deps}
	for f, v := range map[string]obj{"package.json": pkgs[""].(obj), "package-lock.json": {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": pkgs}} {
		b, err := json.MarshalIndent(v, "", "  ")
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, f), append(b, '\n'), 0o644))
	}
}

// mirrorConfig is a headgate.yaml that declares the registry a mirror of the public one.
func (g *npmRegistry) mirrorConfig() string {
	return fmt.Sprintf("version: 1\nregistries:\n  npm:\n    - url: %s\n      unsafeInsecure: true\n", g.url)
}
