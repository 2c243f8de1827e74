package audit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/trust"
)

func hookReport(n int) *ingest.Report {
	r := &ingest.Report{Tool: "headgate test", Source: ingest.Report{}.Source, Audit: &ingest.Audit{New: n}}
	for range n {
		r.Audit.Findings = append(r.Audit.Findings, ingest.AuditFinding{Kind: ingest.KindAdvisory, State: ingest.AuditNew, Effect: trust.EffectHold, Message: "<!channel> *bold* \x1b[31m & <http://evil.example|here>"})
	}
	r.Audit.Findings = append(r.Audit.Findings, ingest.AuditFinding{State: ingest.AuditUnchanged, Message: "old news"})
	return r
}

func TestWebhook(t *testing.T) {
	secret := []byte("0123456789abcdef-not-to-be-seen")
	var answers []int
	var bodies []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(b)
		if got := r.Header.Get(audit.SignatureHeader); got != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			t.Errorf("signature %q", got)
		}
		bodies = append(bodies, string(b))
		code := answers[0]
		answers = answers[1:]
		if code == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(code)
	}))
	defer srv.Close()
	var slept time.Duration
	send := func(format audit.HookFormat, n int, codes ...int) error {
		answers, bodies, slept = codes, nil, 0
		h := &audit.Hook{URL: srv.URL + "/token-in-the-path", Format: format, Secret: secret, Sleep: func(_ context.Context, d time.Duration) error { slept += d; return nil }}
		return h.Send(t.Context(), hookReport(n))
	}
	if err := send(audit.HookJSON, 0); err != nil || len(bodies) != 0 {
		t.Errorf("nothing new: %v, sent %q", err, bodies)
	}
	if err := send(audit.HookJSON, audit.MaxHookFindings+1, 503, 429, 204); err != nil || len(bodies) != 3 || slept != 3*time.Second {
		t.Errorf("%v after %d tries and %s", err, len(bodies), slept)
	}
	var m struct {
		New, More int
		Findings  []json.RawMessage
	}
	if err := json.Unmarshal([]byte(bodies[0]), &m); err != nil || m.New != audit.MaxHookFindings+1 || m.More != 1 || len(m.Findings) != audit.MaxHookFindings || strings.Contains(bodies[0], "old news") {
		t.Errorf("%v: %d new, %d more, %d listed", err, m.New, m.More, len(m.Findings))
	}
	if strings.Contains(bodies[0], string(secret)) || strings.Contains(bodies[0], "token-in-the-path") {
		t.Error("the message holds a secret")
	}
	for _, codes := range [][]int{{400}, {302}, {500, 500, 500, 500}} {
		err := send(audit.HookJSON, 1, codes...)
		if err == nil || len(bodies) != len(codes) || strings.Contains(err.Error(), "token-in-the-path") {
			t.Errorf("answers %v: %v after %d tries", codes, err, len(bodies))
		}
	}
	if err := send(audit.HookSlack, 1, 200); err != nil {
		t.Fatal(err)
	}
	var s map[string]string
	if err := json.Unmarshal([]byte(bodies[0]), &s); err != nil || strings.ContainsAny(s["text"], "<>*\x1b") || !strings.Contains(s["text"], "1 new") {
		t.Errorf("%v: %q", err, s["text"])
	}
}

func TestWebhookRefused(t *testing.T) {
	for _, h := range []audit.Hook{
		{URL: "http://hooks.example.com/x", Format: audit.HookJSON}, {URL: "ftp://example.com", Format: audit.HookJSON}, {URL: "https://", Format: audit.HookJSON},
		{URL: "https://user:secret@example.com/", Format: audit.HookJSON}, {URL: "https://example.com/", Format: "xml"},
		{URL: "https://example.com/", Format: audit.HookJSON, Secret: []byte("short")},
	} {
		if err := h.Check(); err == nil || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%q %q: %v", h.URL, h.Format, err)
		}
	}
}
