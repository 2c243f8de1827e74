package main

import (
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

// cmdSigstore starts a Sigstore, an issuer of tokens and a registry with two
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
	for name, b := range map[string][]byte{"trusted_root.json": w.TrustedRoot(), "other_root.json": sigstoretest.New(tb, now).TrustedRoot(),
		"config1.json": s.SigningConfig(1, false), "config2.json": s.SigningConfig(2, true)} {
		ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o644))
	}
	reg := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(reg.Close)
	host := strings.TrimPrefix(reg.URL, "http://")
	ts.Setenv("REGISTRY", host)
	ts.Setenv(InsecureEnv, ts.Getenv(InsecureEnv)+","+host)
	for _, n := range []string{"/acme/app:v1", "/acme/other:v1"} {
		ref, err := name.ParseReference(host+n, name.Insecure)
		ts.Check(err)
		idx, err := random.Index(64, 1, 2)
		ts.Check(err)
		ts.Check(remote.WriteIndex(ref, idx))
	}
}
