package audit

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/headgate/headgate/ingest"
)

// Bounds of webhooks.
const (
	// MaxHookFindings is how many new findings one message lists; the counts cover all.
	MaxHookFindings = 50
	// HookTries is how often a message is sent before it is given up.
	HookTries = 4
	// HookTimeout bounds one try.
	HookTimeout = 15 * time.Second
	// hookWait is the wait before the second try; it doubles.
	hookWait = time.Second
	// minSecret is the least length of the secret, in bytes.
	minSecret = 16
)

// SignatureHeader carries "sha256=" and the hex HMAC-SHA-256 of the body, by the
// secret that sender and receiver share.
const SignatureHeader = "X-Headgate-Signature"

// HookFormat is the form of a message.
type HookFormat string

// Forms of messages.
const (
	HookJSON  HookFormat = "json"
	HookSlack HookFormat = "slack" // {"text": …}, as Slack and its like take it
)

// Hook tells somebody of new findings. The message holds what the report says,
// never the secret, the URL or anything of the environment.
type Hook struct {
	URL    string
	Format HookFormat
	Secret []byte // signs the body; empty for none
	Client *http.Client
	// Sleep waits between tries; nil for the wall clock.
	Sleep func(ctx context.Context, d time.Duration) error
}

// hookMessage is the JSON form.
type hookMessage struct {
	Version  int                   `json:"version"`
	Tool     string                `json:"tool"`
	At       time.Time             `json:"at"`
	Source   string                `json:"source"`
	Verdict  string                `json:"verdict"`
	RunID    string                `json:"runId,omitempty"`
	New      int                   `json:"new"`
	Gone     int                   `json:"gone"`
	Findings []ingest.AuditFinding `json:"findings"` // new ones, worst first
	More     int                   `json:"more,omitempty"`
}

// Check refuses a hook that could not be sent safely.
func (h *Hook) Check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		// The URL is a secret of its own with most receivers: it is not repeated.
		return errors.New("the webhook's URL is no http(s) URL")
	case u.Scheme == "http" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1":
		return errors.New("the webhook's URL is not https")
	case u.User != nil:
		return errors.New("the webhook's URL holds a password: use a secret instead")
	case h.Format != HookJSON && h.Format != HookSlack:
		return fmt.Errorf("unknown form of webhook %q: use %s or %s", h.Format, HookJSON, HookSlack)
	case len(h.Secret) > 0 && len(h.Secret) < minSecret:
		return fmt.Errorf("the webhook's secret has %d bytes, fewer than %d", len(h.Secret), minSecret)
	}
	return nil
}

// Send tells of the new findings; without any it sends nothing. It tries again
// when the receiver cannot be reached, is busy or fails, and not when it refuses.
func (h *Hook) Send(ctx context.Context, r *ingest.Report) error {
	if err := h.Check(); err != nil {
		return err
	}
	if r.Audit == nil || r.Audit.New == 0 {
		return nil
	}
	body, err := h.body(r)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	wait := hookWait
	for try := 1; ; try++ {
		again, err := h.post(ctx, body)
		if err == nil {
			return nil
		}
		if !again || try == HookTries {
			return fmt.Errorf("webhook: %w (tried %d times)", err, try)
		}
		if err := h.sleep(ctx, wait); err != nil {
			return err
		}
		wait *= 2
	}
}

func (h *Hook) sleep(ctx context.Context, d time.Duration) error {
	if h.Sleep != nil {
		return h.Sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (h *Hook) body(r *ingest.Report) ([]byte, error) {
	m := hookMessage{Version: 1, Tool: r.Tool, At: r.Finished, Source: r.Source.Name, Verdict: string(r.Verdict), RunID: r.RunID, New: r.Audit.New, Gone: r.Audit.Gone, Findings: []ingest.AuditFinding{}}
	for _, f := range r.Audit.Findings {
		if f.State != ingest.AuditNew {
			continue
		}
		if len(m.Findings) == MaxHookFindings {
			m.More++
			continue
		}
		m.Findings = append(m.Findings, f)
	}
	if h.Format == HookJSON {
		return json.Marshal(m)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "headgate audit of %s: %s, %d new findings, %d gone", slack(m.Source), m.Verdict, m.New, m.Gone)
	for _, f := range m.Findings {
		fmt.Fprintf(&b, "\n• %s %s %s: %s (%d sources)", f.Effect, f.Kind, slack(f.Release.PURL()), slack(f.Message), f.InSources)
	}
	if m.More > 0 {
		fmt.Fprintf(&b, "\n… and %d more", m.More)
	}
	return json.Marshal(map[string]string{"text": b.String()})
}

// slack makes text of upstream plain: no mention, link or markup survives, and no
// control character.
func slack(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.C, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return ' '
		}
		if strings.ContainsRune("*_~`", r) {
			return '\''
		}
		return r
	}, s)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// post sends once. Errors name neither URL nor secret.
func (h *Hook) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, HookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("the request could not be made")
	}
	req.Header.Set("Content-Type", "application/json")
	if len(h.Secret) > 0 {
		mac := hmac.New(sha256.New, h.Secret)
		mac.Write(body)
		req.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	client := http.Client{}
	if h.Client != nil {
		client = *h.Client
	}
	// A redirect would carry the message to somebody else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return true, fmt.Errorf("the receiver could not be reached: %w", err)
	}
	defer res.Body.Close()
	// What the receiver says beyond its status is of no use.
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 4096))
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return false, nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return true, fmt.Errorf("the receiver answered %d", res.StatusCode)
	}
	return false, fmt.Errorf("the receiver refused with %d", res.StatusCode)
}
