package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// cmdSSHPub writes the public key of KEY as a line: sshpub KEY FILE
func cmdSSHPub(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	s, err := ssh.ParsePrivateKey(b)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), ssh.MarshalAuthorizedKey(s.PublicKey()), 0o644))
}

// scriptTB is what the helpers for tests want of a script.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()           {}
func (s scriptTB) Cleanup(f func())  { s.ts.Defer(f) }
func (s scriptTB) Fatal(args ...any) { s.ts.Fatalf("%s", fmt.Sprint(args...)) }

// cmdSigstore starts a Sigstore, an issuer of tokens and a registry with three
// images, and writes roots and signing configurations: sigstore
func cmdSigstore(ts *testscript.TestScript, _ bool, _ []string) {
	tb := scriptTB{ts: ts}
	now := time.Now()
	w := sigstoretest.New(tb, now)
	s := w.Serve()
	// A CI hands out its token under a URL of its own.
	back, err := url.Parse(s.URL)
	ts.Check(err)
	proxy := httputil.NewSingleHostReverseProxy(back)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ci-token" {
			proxy.ServeHTTP(rw, r)
			return
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(rw, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(rw, `{"value":%q}`, s.Token(r.URL.Query().Get("audience"), ""))
	}))
	ts.Defer(front.Close)
	ts.Setenv("SIGSTORE", s.URL)
	ts.Setenv("CI_TOKENS", front.URL)
	ts.Setenv("TOKEN", s.Token("sigstore", ""))
	v := sigstoretest.NewVault(tb)
	ts.Setenv("VAULT_ADDR", v.URL)
	ts.Check(os.WriteFile(ts.MkAbs("vault.pub"), v.Public["ec"], 0o644))
	mine := s.Identity
	s.Identity = sigstoretest.Email("ev@example.com", "")
	ts.Setenv("OTHERTOKEN", s.Token("sigstore", ""))
	s.Identity = mine
	for name, b := range map[string][]byte{"trusted_root.json": w.TrustedRoot(), "other_root.json": sigstoretest.New(tb, now).TrustedRoot(),
		"config1.json": s.SigningConfig(1, false), "config2.json": s.SigningConfig(2, true)} {
		ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o644))
	}
	writeInstances(ts, tb, w, s, now)
	img, err := random.Image(64, 1)
	ts.Check(err)
	lay, err := layout.Write(ts.MkAbs("layout"), empty.Index)
	ts.Check(err)
	ts.Check(lay.AppendImage(img))
	reg := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(reg.Close)
	host := strings.TrimPrefix(reg.URL, "http://")
	ts.Setenv("REGISTRY", host)
	ts.Setenv(InsecureEnv, ts.Getenv(InsecureEnv)+","+host)
	for _, n := range []string{"/acme/app:v1", "/acme/other:v1", "/acme/third:v1"} {
		ref, err := name.ParseReference(host+n, name.Insecure)
		ts.Check(err)
		idx, err := random.Index(64, 1, 2)
		ts.Check(err)
		ts.Check(remote.WriteIndex(ref, idx))
	}
}

// writeInstances writes instances.yaml with two names for the Sigstore: "acme" by
// pinned files, and "farm" by a TUF repository, which is served and lies in tuf.
func writeInstances(ts *testscript.TestScript, tb testing.TB, w *sigstoretest.World, s *sigstoretest.Services, now time.Time) {
	dir := ts.MkAbs("tuf")
	ts.Check(os.Mkdir(dir, 0o755))
	repo := sigstoretest.NewRepositoryIn(tb, dir, map[string][]byte{"trusted_root.json": w.TrustedRoot(), "signing_config.v0.2.json": s.SigningConfig(2, true)})
	ts.Check(os.WriteFile(ts.MkAbs("tuf_root.json"), repo.Publish(1, now.AddDate(0, 0, 7)), 0o644))
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	ts.Defer(srv.Close)
	pin := func(name string) string {
		b, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		return fmt.Sprintf(`{path: %s, digest: "sha256:%x"}`, name, sha256.Sum256(b))
	}
	text := fmt.Sprintf("version: 1\nsigstore:\n  - name: acme\n    trustedRoot: %s\n    signingConfig: %s\n    issuers: [%s]\n    logs: 1\n    certificateLogs: 1\n"+
		"  - name: farm\n    tuf: {url: %q, root: %s, unsafeInsecure: true}\n    issuers: [%s]\n    scope: [\"pkg:npm/@acme/*\"]\n    logs: 1\n    timestamps: 1\n    certificateLogs: 1\n",
		pin("trusted_root.json"), pin("config1.json"), s.URL, srv.URL, pin("tuf_root.json"), s.URL)
	ts.Check(os.WriteFile(ts.MkAbs("instances.yaml"), []byte(text), 0o644))
}
