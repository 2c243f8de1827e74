package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// TestThreat105IdentityToken: an identity token is exchanged by the registry's own
// token service, is sent there alone and never shown.
func TestThreat105IdentityToken(t *testing.T) {
	const secret = "r3fresh"
	foreign := ""
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		foreign += r.Method + r.URL.String() + string(b) + r.Header.Get("Authorization")
		io.WriteString(w, `{"access_token":"t0ken"}`)
	}))
	t.Cleanup(other.Close)
	for what, c := range map[string]struct {
		realm  string // "own", or a URL
		token  func(w http.ResponseWriter, r *http.Request)
		o      trust.Outcome
		reason trust.Reason
		posts  int
	}{
		"exchanged": {"own", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"access_token":"t0ken","refresh_token":"next"}`)
		}, trust.Verified, "", 1},
		"refused":         {"own", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadRequest) }, trust.Unreachable, trust.ReasonNetwork, 1},
		"not offered":     {"own", http.NotFound, trust.Unreachable, trust.ReasonNetwork, 1},
		"unauthorised":    {"own", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, trust.Unreachable, trust.ReasonNetwork, 1},
		"malformed":       {"own", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "\x00") }, trust.Unreachable, trust.ReasonMalformed, 1},
		"no token in it":  {"own", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) }, trust.Unreachable, trust.ReasonMalformed, 1},
		"token of spaces": {"own", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"access_token":"a b"}`) }, trust.Unreachable, trust.ReasonMalformed, 1},
		"endless": {"own", func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat(" ", 1<<15)); err != nil {
					return
				}
			}
		}, trust.Unreachable, trust.ReasonTooLarge, 1},
		"redirected": {"own", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
		}, trust.Unreachable, "", 1},
		"foreign realm": {other.URL + "/token", nil, trust.Verified, "", 0},
	} {
		env := adaptertest.NewEnv(t, adaptertest.Right)
		g := newReg(t, env, true)
		image := g.image("1")
		posts := 0
		g.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					if err := r.ParseForm(); err != nil {
						t.Error(err)
					}
					f := r.PostForm
					if r.Method != http.MethodPost || r.Header.Get("Authorization") != "" || f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != secret || f.Get("client_id") == "" ||
						f.Get("service") != "registry.example.com" || f.Get("scope") != "repository:acme/widget:pull" {
						t.Errorf("%s: %s %v", what, r.Method, f)
					}
					posts++
					c.token(w, r)
					return
				}
				if r.Header.Get("Authorization") != "Bearer t0ken" {
					realm := c.realm
					if realm == "own" {
						realm = "http://" + g.host + "/token"
					}
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="registry.example.com",scope="repository:other:push"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				h.ServeHTTP(w, r)
			})
		}
		g.serve(nil)
		get, err := upstream.New(upstream.Config{
			Insecure: []string{g.host, strings.TrimPrefix(other.URL, "http://")}, Getenv: func(string) string { return "" }, CacheDir: t.TempDir(),
			Credentials: []upstream.Credentials{upstream.Scopes{{Host: g.host, Path: "token", Header: upstream.Basic("netrc", "hunter2")}}},
			Sleep:       func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		})
		if err != nil {
			t.Fatal(err)
		}
		a := New(Options{Get: get, Config: Config{identity: map[string]string{g.host: secret}}, Root: g.verifier})
		res := collect(t, a, g.component(image))
		e := find(t, res, trust.CheckBytes)
		if e.Outcome != c.o || c.reason != "" && e.Reason != c.reason {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if posts < c.posts || c.o == trust.Verified && posts != c.posts {
			t.Errorf("%s: %d exchanges", what, posts)
		}
		if s := fmt.Sprintf("%+v %v", res, a.cfg); strings.Contains(s, secret) || strings.Contains(s, "t0ken") || strings.Contains(s, "hunter2") {
			t.Errorf("%s: a secret is shown", what)
		}
	}
	if !strings.Contains(foreign, "GET/token") || strings.Contains(foreign, secret) || strings.Contains(foreign, "POST") || strings.Contains(foreign, "Basic") {
		t.Errorf("the foreign token service got %q", foreign)
	}
}
