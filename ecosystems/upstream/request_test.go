package upstream

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestThreat104RequestAuthorization: a token of one request takes the place of
// the configured credentials, and goes to the first host alone.
func TestThreat104RequestAuthorization(t *testing.T) {
	var foreign []string
	storage, storageHost := server(t, func(w http.ResponseWriter, r *http.Request) {
		foreign = append(foreign, r.Header.Get("Authorization"))
		if r.URL.Path == "/401" {
			w.Header().Set("Www-Authenticate", `Bearer realm="https://evil.example.com/"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "blob")
	})
	var seen []string
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/401":
			w.Header().Set("Www-Authenticate", `Bearer realm="https://registry.example.com/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			http.Redirect(w, r, storage.URL+strings.TrimPrefix(r.URL.Path, "/to"), http.StatusFound)
		}
	})
	c := client(t, Config{Insecure: []string{host, storageHost}, Credentials: []Credentials{Scopes{{Host: host, Header: "Basic configured"}}}})
	ask := func(path string, edit func(*Request)) (*Response, error) {
		r := Request{URL: s.URL + path, MaxBytes: 1000, Authorization: "Bearer mine"}
		edit(&r)
		return c.Get(t.Context(), r)
	}
	_, err := ask("/401", func(*Request) {})
	if e := wantKind(t, err, KindAuth); e.Challenge != `Bearer realm="https://registry.example.com/token"` {
		t.Errorf("challenge %q", e.Challenge)
	}
	// Redirects to any host need a digest that decides.
	_, err = ask("/blob", func(r *Request) { r.AnyHost = true })
	wantKind(t, err, KindRefused)
	_, err = ask("/blob", func(r *Request) { r.Want = sha([]byte("blob")) })
	wantKind(t, err, KindRefused)
	resp, err := ask("/blob", func(r *Request) { r.AnyHost, r.Want = true, sha([]byte("blob")) })
	if err != nil || string(resp.Body) != "blob" {
		t.Fatalf("%+v %v", resp, err)
	}
	_, err = ask("/blob", func(r *Request) { r.AnyHost, r.Want = true, sha([]byte("other")) })
	wantKind(t, err, KindWrongDigest)
	// What another host answers challenges nobody.
	_, err = ask("/to/401", func(r *Request) { r.AnyHost, r.Want = true, sha([]byte("blob")) })
	if e := wantKind(t, err, KindAuth); e.Challenge != "" {
		t.Errorf("challenge %q", e.Challenge)
	}
	for _, a := range foreign {
		if a != "" {
			t.Errorf("the other host got %q", a)
		}
	}
	for _, a := range seen {
		if a != "Bearer mine" {
			t.Errorf("the host got %q", a)
		}
	}
	// Private addresses stay refused for redirects to any host.
	if _, err := client(t, Config{Insecure: []string{host}}).Get(t.Context(), Request{URL: s.URL + "/blob", MaxBytes: 9, AnyHost: true, Want: sha([]byte("blob"))}); err == nil {
		t.Error("a redirect to a private address was followed")
	}
}

// TestThreat109SecretAnswersAreNotKept: NoStore leaves nothing on disk.
func TestThreat109SecretAnswersAreNotKept(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hunter2") })
	for _, noStore := range []bool{true, false} {
		dir := t.TempDir()
		c := client(t, Config{Insecure: []string{host}, CacheDir: dir})
		if _, err := c.Get(t.Context(), Request{URL: s.URL, MaxBytes: 100, NoStore: noStore}); err != nil {
			t.Fatal(err)
		}
		found := false
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			found = found || strings.Contains(string(b), "hunter2")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if found == noStore {
			t.Errorf("NoStore %t: on disk %t", noStore, found)
		}
	}
}

// TestForm: a form is sent by POST to the first host alone, without configured
// credentials, and its answer is kept nowhere.
func TestForm(t *testing.T) {
	foreign := 0
	other, otherHost := server(t, func(w http.ResponseWriter, r *http.Request) { foreign++ })
	asked, status := 0, http.StatusOK
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.URL.Path == "/redirect":
			http.Redirect(w, r, other.URL+"/", status)
		case r.URL.Path == "/own":
			http.Redirect(w, r, "/token", status)
		case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.FormValue("refresh_token") != "s3cret&x" || r.Header.Get("Authorization") != "":
			t.Errorf("%s %v %v", r.Method, r.Header, r.Form)
		}
		fmt.Fprint(w, "token")
	})
	dir := t.TempDir()
	c := client(t, Config{Insecure: []string{host, otherHost}, CacheDir: dir, Credentials: []Credentials{Scopes{{Host: host, Header: "Basic configured"}}}})
	form := url.Values{"refresh_token": {"s3cret&x"}}
	for range 2 {
		resp, err := c.Get(t.Context(), Request{URL: s.URL + "/token", MaxBytes: 100, Form: form, MaxAge: time.Hour})
		if err != nil || string(resp.Body) != "token" || resp.FromCache {
			t.Fatalf("%+v %v", resp, err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	for _, status = range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		for _, p := range []string{"/redirect", "/own"} {
			_, err := c.Get(t.Context(), Request{URL: s.URL + p, MaxBytes: 100, Form: form, Allow: []string{otherHost}})
			if e := wantKind(t, err, KindRefused); strings.Contains(e.Error(), "s3cret") {
				t.Errorf("%v", e)
			}
		}
	}
	if foreign != 0 {
		t.Error("the foreign host was asked")
	}
	if _, err := c.Open(t.Context(), Request{URL: s.URL + "/token", MaxBytes: 100, Form: form, Want: sha([]byte("token"))}); err == nil {
		t.Error("an artifact was fetched by POST")
	}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if b, rerr := os.ReadFile(p); rerr != nil || strings.Contains(string(b), "token") {
				t.Errorf("%s is kept: %v", p, rerr)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
