package signing_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func jwt(t *testing.T, aud any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"aud": aud, "sub": "x"})
	must(t, err)
	return "e30." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

// ci answers as the token services of GitHub, Buildkite and Google do.
func ci(t *testing.T, token string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /github", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Query().Get("audience") != "sigstore" || r.URL.Query().Get("keep") != "1" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": token})
	})
	mux.HandleFunc("POST /jobs/job-1/oidc/tokens", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if r.Header.Get("Authorization") != "Token secret" || !bytes.Contains(b, []byte(`"audience":"sigstore"`)) {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": token})
	})
	mux.HandleFunc("GET /computeMetadata/v1/instance/service-accounts/default/identity", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("audience") != "sigstore" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, token)
	})
	mux.HandleFunc("GET /endless", func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/github?audience=sigstore&keep=1", http.StatusFound)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestAmbientTokens(t *testing.T) {
	good := jwt(t, []string{"other", "sigstore"})
	s := ci(t, good)
	host := strings.TrimPrefix(s.URL, "http://")
	ask := func(env map[string]string) (string, string, error) {
		return signing.AmbientToken(context.Background(), signing.Environment{
			Getenv: func(k string) string { return env[k] }, Audience: "sigstore", Client: s.Client(), OnGoogle: func() bool { return false }})
	}
	for name, env := range map[string]map[string]string{
		"GitHub Actions":     {"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/github?keep=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret", "GITHUB_ACTIONS": "true"},
		"$SIGSTORE_ID_TOKEN": {"SIGSTORE_ID_TOKEN": good, "GITLAB_CI": "true"},
		"Buildkite":          {"BUILDKITE_AGENT_ACCESS_TOKEN": "secret", "BUILDKITE_JOB_ID": "job-1", "BUILDKITE_AGENT_ENDPOINT": s.URL},
		"CircleCI":           {"CIRCLE_OIDC_TOKEN_V2": good, "CIRCLE_OIDC_TOKEN": "old"},
		"Google Cloud":       {"GCE_METADATA_HOST": host},
	} {
		token, from, err := ask(env)
		if err != nil || token != good || from != name {
			t.Errorf("%s: %q %q %v", name, token, from, err)
		}
	}
	if token, from, err := ask(nil); token != "" || from != "" || err != nil {
		t.Errorf("no CI: %q %q %v", token, from, err)
	}
	for name, env := range map[string]map[string]string{
		"refused":           {"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/github?keep=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong"},
		"no permission":     {"GITHUB_ACTIONS": "true"},
		"redirected":        {"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/moved", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		"endless":           {"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/endless", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		"plain http":        {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://ci.example.com/x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		"for somebody else": {"SIGSTORE_ID_TOKEN": jwt(t, "other")},
		"no audience":       {"SIGSTORE_ID_TOKEN": jwt(t, nil)},
		"no token":          {"SIGSTORE_ID_TOKEN": "x"},
		"too long":          {"SIGSTORE_ID_TOKEN": good + strings.Repeat("x", signing.MaxToken)},
	} {
		if token, _, err := ask(env); err == nil || token != "" {
			t.Errorf("%s: %q", name, token)
		}
	}
}

func TestSigningIn(t *testing.T) {
	w := sigstoretest.New(t, time.Now())
	s := w.Serve()
	login := signing.Login{Issuer: s.URL, ClientID: "sigstore", Out: io.Discard, Now: time.Now, Open: func(url string) error {
		// The browser follows the issuer back to the port of this process.
		go func() {
			if resp, err := http.Get(url); err == nil {
				resp.Body.Close()
			}
		}()
		return nil
	}}
	for name, get := range map[string]func(context.Context) (string, error){"browser": login.Browser, "device": login.Device} {
		token, err := get(context.Background())
		must(t, err)
		sg := &signing.Signer{Keyless: &signing.Keyless{FulcioURL: s.URL, Token: token}}
		file := filepath.Join(t.TempDir(), "app")
		must(t, os.WriteFile(file, []byte(name), 0o644))
		if _, err := sg.File(context.Background(), file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// THREATS 112: an answer that another page brings is refused, and the right one still counts.
	s.ForeignState = true
	if _, err := login.Browser(context.Background()); err != nil {
		t.Errorf("the right answer after a foreign one: %v", err)
	}
	s.ForeignState = false
	s.ForeignNonce = true
	if _, err := login.Browser(context.Background()); err == nil {
		t.Error("a token with another nonce")
	}
	s.ForeignNonce = false
	login.Issuer = "http://issuer.example.com"
	if _, err := login.Browser(context.Background()); err == nil {
		t.Error("an issuer over plain http")
	}
	login.Issuer = s.URL
	s.Down = "oidc"
	if _, err := login.Device(context.Background()); err == nil {
		t.Error("an issuer that is down")
	}
}

// Every answer of an issuer is bounded.
func TestThreat112AndEndlessIssuers(t *testing.T) {
	const maxAnswer = 256 << 10
	w := sigstoretest.New(t, time.Now())
	browser := func(ctx context.Context, l signing.Login) (string, error) { return l.Browser(ctx) }
	device := func(ctx context.Context, l signing.Login) (string, error) { return l.Device(ctx) }
	for _, c := range []struct {
		path string
		get  func(context.Context, signing.Login) (string, error)
	}{{"/.well-known/openid-configuration", browser}, {"/keys", browser}, {"/token", browser}, {"/.well-known/openid-configuration", device}, {"/device", device}, {"/token", device}} {
		for padding, ok := range map[int]bool{0: false, maxAnswer: true, maxAnswer + 1: false} {
			// A server of its own: an endless answer may still be under way when the next case begins.
			s := w.Serve()
			s.Endless, s.Padding = c.path, padding
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			token, err := c.get(ctx, signing.Login{Issuer: s.URL, ClientID: "sigstore", Out: io.Discard, Now: time.Now, Open: func(url string) error {
				go func() {
					if resp, err := http.Get(url); err == nil {
						resp.Body.Close()
					}
				}()
				return nil
			}})
			cancel()
			if (err == nil) != ok || (token != "") != ok {
				t.Errorf("%s of %d bytes: %v", c.path, padding, err)
			}
			if o, _ := trust.Classify(err); err != nil && o != trust.Unreachable {
				t.Errorf("%s: %v is no unreachable issuer", c.path, err)
			}
		}
	}
}

func TestKMSWithoutClient(t *testing.T) {
	for _, scheme := range []string{"awskms", "gcpkms", "azurekms", "nokms"} {
		_, err := signing.KMSKey(context.Background(), scheme+"://x", func(string) string { return "" })
		if err == nil || !strings.Contains(err.Error(), "sigstore-kms-"+scheme) || !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// A key in a key service signs, and what the service answers is believed only
// when it verifies.
func TestVault(t *testing.T) {
	v := sigstoretest.NewVault(t)
	env := map[string]string{"VAULT_ADDR": v.URL, "VAULT_TOKEN": sigstoretest.VaultToken}
	file := filepath.Join(t.TempDir(), "app")
	must(t, os.WriteFile(file, []byte("an app"), 0o644))
	for name := range v.Public {
		k, err := signing.KMSKey(t.Context(), "hashivault://"+name, func(n string) string { return env[n] })
		must(t, err)
		sg := &signing.Signer{Key: k}
		if _, err := sg.File(t.Context(), file); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.Spoil = true
		if b, err := sg.File(t.Context(), file); err == nil || b != nil {
			t.Errorf("%s: a signature over something else was taken", name)
		}
		v.Spoil = false
	}
	for name, c := range map[string]struct{ uri, key, value, want string }{
		"no address":  {"hashivault://ec", "VAULT_ADDR", "", "VAULT_ADDR"},
		"plain http":  {"hashivault://ec", "VAULT_ADDR", "http://vault.example.com", "https"},
		"no token":    {"hashivault://ec", "VAULT_TOKEN", "", "VAULT_TOKEN"},
		"wrong token": {"hashivault://ec", "VAULT_TOKEN", "x", "refuses the token"},
		"no such key": {"hashivault://missing", "", "", "no key missing"},
		"odd name":    {"hashivault://../keys", "", "", "no name of a key"},
	} {
		_, err := signing.KMSKey(t.Context(), c.uri, func(n string) string {
			if n == c.key {
				return c.value
			}
			return env[n]
		})
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSigningConfigurations(t *testing.T) {
	now := time.Now()
	s := sigstoretest.New(t, now).Serve()
	for _, b := range [][]byte{nil, []byte("{}x"), []byte("[]"), []byte(`{"mediaType":"a","mediaType":"b"}`), bytes.Repeat([]byte(" "), 2<<20)} {
		if _, err := signing.SelectServices(b, now, nil); err == nil {
			t.Errorf("%.20q is taken", b)
		}
	}
	if _, err := signing.SelectServices(s.SigningConfig(1, true), now.AddDate(-5, 0, 0), nil); err == nil {
		t.Error("services before their time")
	}
	if _, err := signing.SelectServices(s.SigningConfig(9, true), now, nil); err == nil {
		t.Error("a log of an unknown version")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----"))
	f.Add([]byte("untrusted comment: x\nRWQ"))
	f.Add([]byte{0x30, 0x03, 1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := signing.ParseKey(b, func() ([]byte, error) { return []byte("x"), nil })
		if err == nil && k.Public() == nil {
			if _, ok := k.SSH(); !ok {
				t.Fatal("a key without a public key")
			}
		}
	})
}

// TestThreat102DotsAreNotSplit: a token of millions of dots is refused before it
// is taken apart, wherever it comes from.
func TestThreat102DotsAreNotSplit(t *testing.T) {
	dots := strings.Repeat(".", 10<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/raw" || strings.HasPrefix(r.URL.Path, "/computeMetadata/") {
			_, _ = io.WriteString(w, dots)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"value": dots, "token": dots})
	}))
	t.Cleanup(s.Close)
	for name, env := range map[string]map[string]string{
		"in the environment":   {"SIGSTORE_ID_TOKEN": dots},
		"CircleCI":             {"CIRCLE_OIDC_TOKEN_V2": dots},
		"from GitHub":          {"ACTIONS_ID_TOKEN_REQUEST_URL": s.URL + "/github", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		"from Buildkite":       {"BUILDKITE_AGENT_ACCESS_TOKEN": "secret", "BUILDKITE_JOB_ID": "job-1", "BUILDKITE_AGENT_ENDPOINT": s.URL},
		"from Google":          {"GCE_METADATA_HOST": strings.TrimPrefix(s.URL, "http://")},
		"a token, then dots":   {"SIGSTORE_ID_TOKEN": jwt(t, "sigstore") + dots},
		"dots within the text": {"SIGSTORE_ID_TOKEN": "e30." + dots + ".c2ln"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		token, _, err := signing.AmbientToken(t.Context(), signing.Environment{
			Getenv: func(k string) string { return env[k] }, Audience: "sigstore", Client: s.Client(), OnGoogle: func() bool { return false }})
		runtime.ReadMemStats(&after)
		if err == nil || token != "" {
			t.Errorf("%s: %d bytes of token", name, len(token))
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: %d bytes of error", name, len(err.Error()))
		}
		// Splitting takes sixteen bytes a dot. The server's share is counted too.
		if got := after.TotalAlloc - before.TotalAlloc; !strings.HasPrefix(name, "from ") && got > 1<<20 || got > 128<<20 {
			t.Errorf("%s: %d bytes were taken from memory", name, got)
		}
	}
}
