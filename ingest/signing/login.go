package signing

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/pkg/browser"
	"golang.org/x/oauth2"

	"github.com/headgate/headgate/trust"
)

// Bounds of signing in.
const (
	loginTimeout  = 10 * time.Minute // by a person
	issuerTimeout = 30 * time.Second // of one answer of the issuer
	maxCallback   = 16 << 10         // bytes of the query that the browser brings back
	maxSaid       = 200              // bytes of what an issuer has to say
)

const callbackPath = "/auth/callback"

// Login gets an identity token from a person. Every answer of the issuer is
// bounded in size and time, and only the issuer's own host is asked by redirects.
type Login struct {
	Issuer, ClientID string
	Out              io.Writer // where the person reads what to do
	// Open opens a URL in a browser; nil means the system's browser.
	Open func(url string) error
	Now  func() time.Time
}

// boundedTransport fails when an answer has more than maxAnswer bytes.
type boundedTransport struct{ next http.RoundTripper }

// RoundTrip asks and bounds the answer.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err == nil {
		res.Body = &boundedBody{res.Body, maxAnswer}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

var errAnswerTooLarge = fmt.Errorf("the answer has more than %d bytes", maxAnswer)

// Read reads, and fails behind the bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errAnswerTooLarge
	}
	return n, err
}

// client asks the issuer. Codes and tokens go to it over https, or to this machine.
func (l Login) client() *http.Client {
	return &http.Client{
		Transport: boundedTransport{http.DefaultTransport}, Timeout: issuerTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
				return errors.New("the issuer redirects elsewhere")
			}
			return nil
		},
	}
}

// session is one attempt to sign in.
type session struct {
	l        Login
	provider *oidc.Provider
	conf     oauth2.Config
	verifier string // of PKCE
}

// in finds the issuer's end points and runs the attempt.
func (l Login) in(ctx context.Context, attempt func(context.Context, *session) (string, error)) (string, error) {
	if _, err := serviceURL(l.Issuer); err != nil {
		return "", fmt.Errorf("OIDC issuer: %w", err)
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, l.client()), loginTimeout)
	defer cancel()
	token, err := func() (string, error) {
		p, err := oidc.NewProvider(ctx, l.Issuer)
		if err != nil {
			return "", err
		}
		ep := p.Endpoint()
		for _, u := range []string{ep.AuthURL, ep.TokenURL} {
			if _, err := serviceURL(u); err != nil {
				return "", fmt.Errorf("the issuer's configuration: %w", err)
			}
		}
		ep.AuthStyle = oauth2.AuthStyleInParams // a public client has no secret
		return attempt(ctx, &session{l: l, provider: p, verifier: oauth2.GenerateVerifier(),
			conf: oauth2.Config{ClientID: l.ClientID, Endpoint: ep, Scopes: []string{oidc.ScopeOpenID, "email"}}})
	}()
	if err != nil {
		if errors.Is(err, trust.ErrConfiguration) {
			return "", err
		}
		return "", trust.Undecidable(trust.ReasonNetwork, "signing in at %s: %s", l.Issuer, said(err.Error()))
	}
	return token, nil
}

// said is what an issuer says, fit for a terminal.
func said(s string) string {
	if len(s) > maxSaid {
		s = s[:maxSaid] + "…"
	}
	return printable(s)
}

// printable replaces control characters in what an issuer has to say.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s)
}

// identity takes the identity token out of the issuer's answer: signed by the
// issuer, for this client, not expired, and with the nonce of this attempt.
func (s *session) identity(ctx context.Context, t *oauth2.Token, nonce string) (string, error) {
	raw, ok := t.Extra("id_token").(string)
	if !ok || len(raw) > MaxToken {
		return "", errors.New("the issuer gave no identity token")
	}
	id, err := s.provider.Verifier(&oidc.Config{ClientID: s.l.ClientID, Now: s.l.Now}).Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	if nonce != "" && subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return "", errors.New("the identity token is the answer to another question")
	}
	return raw, nil
}

// Browser has the person sign in with a browser on this machine: authorisation
// code with PKCE, state and nonce, answered to a port of this machine.
func (l Login) Browser(ctx context.Context) (string, error) {
	return l.in(ctx, func(ctx context.Context, s *session) (string, error) {
		ln, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			return "", fmt.Errorf("waiting for the browser: %w", err)
		}
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			return "", fmt.Errorf("waiting for the browser: %w", err)
		}
		s.conf.RedirectURL = "http://localhost:" + port + callbackPath
		state, nonce := oauth2.GenerateVerifier(), oauth2.GenerateVerifier() // 256 random bits each
		answers := make(chan url.Values, 1)
		srv := &http.Server{Handler: callback(state, answers), ReadHeaderTimeout: issuerTimeout, ReadTimeout: issuerTimeout, WriteTimeout: issuerTimeout, MaxHeaderBytes: maxCallback}
		go func() { _ = srv.Serve(ln) }() // ends with Close
		defer srv.Close()
		open := l.Open
		if open == nil {
			open = browser.OpenURL
		}
		u := s.conf.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(s.verifier))
		if err := open(u); err != nil {
			fmt.Fprintf(l.Out, "open this address in a browser of this machine to sign in:\n  %s\n", printable(u))
		} else {
			fmt.Fprintf(l.Out, "your browser shows the sign-in page; if it does not, open:\n  %s\n", printable(u))
		}
		var q url.Values
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case q = <-answers:
		}
		if e := q.Get("error"); e != "" {
			return "", fmt.Errorf("the issuer refused: %s %s", e, q.Get("error_description"))
		}
		t, err := s.conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(s.verifier))
		if err != nil {
			return "", err
		}
		return s.identity(ctx, t, nonce)
	})
}

// callback takes the browser's answer, once, and only one that has the state of
// this attempt: what another page sends here is refused and changes nothing.
func callback(state string, answers chan<- url.Values) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path != callbackPath || r.Method != http.MethodGet:
			http.NotFound(w, r)
			return
		case len(q["state"]) != 1 || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 || len(q["code"])+len(q["error"]) != 1:
			http.Error(w, "this is not the answer to the sign-in that headgate waits for", http.StatusBadRequest)
			return
		}
		select {
		case answers <- q:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'")
			fmt.Fprint(w, "<!doctype html><title>headgate</title><p>Signed in. You may close this window.")
		default:
			http.Error(w, "this sign-in was answered already", http.StatusBadRequest)
		}
	})
}

// Device has the person sign in on any device, by a code (RFC 8628).
func (l Login) Device(ctx context.Context) (string, error) {
	return l.in(ctx, func(ctx context.Context, s *session) (string, error) {
		if _, err := serviceURL(s.conf.Endpoint.DeviceAuthURL); err != nil {
			return "", errors.New("the issuer has no sign-in by a code")
		}
		code, err := s.conf.DeviceAuth(ctx, oauth2.S256ChallengeOption(s.verifier))
		if err != nil {
			return "", err
		}
		where := code.VerificationURIComplete
		if where == "" {
			where = code.VerificationURI
		}
		if _, err := serviceURL(where); err != nil {
			return "", fmt.Errorf("the issuer's sign-in page: %w", err)
		}
		fmt.Fprintf(l.Out, "sign in at %s with the code %s\n", said(where), said(code.UserCode))
		t, err := s.conf.DeviceAccessToken(ctx, code, oauth2.VerifierOption(s.verifier))
		if err != nil {
			return "", err
		}
		return s.identity(ctx, t, "")
	})
}
