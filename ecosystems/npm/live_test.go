//go:build live

package npm

import (
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// TestLive asks the registry that the user configured. Some registries in
// between strip signatures: verified and unreachable are both honest there.
func TestLive(t *testing.T) {
	home, _ := os.UserHomeDir()
	cfg, err := ConfigFromEnv(os.Getenv, home)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(cfg.Registry)
	if err != nil {
		t.Fatal(err)
	}
	// The registry may be a company's own, at a private address.
	get, err := upstream.New(upstream.Config{Version: "live-test", Credentials: []upstream.Credentials{cfg.Credentials}, Insecure: cfg.Insecure, Private: []string{u.Host}})
	if err != nil {
		t.Fatal(err)
	}
	var tr Trust
	if os.Getenv("HEADGATE_REALDATA") != "" {
		_, tr = realTrust(t)
	}
	a, err := New(Options{Get: get, Clock: time.Now, Config: cfg, Trust: func() Trust { return tr }})
	if err != nil {
		t.Fatal(err)
	}
	c := component(t, "sigstore", "2.0.0", "", "")
	res, err := a.Collect(t.Context(), adapter.Request{Component: c, Bytes: true, History: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Evidence {
		t.Logf("%s %s %s %s", e.Check, e.Outcome, e.Reason, e.Detail)
		if e.Outcome == trust.Failed {
			t.Errorf("%s: %s", e.Check, e.Detail)
		}
	}
	if e := find(res, trust.CheckBytes); e.Outcome != trust.Verified {
		t.Errorf("bytes are %s", e.Outcome)
	}
}
