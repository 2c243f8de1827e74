package upstream

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
