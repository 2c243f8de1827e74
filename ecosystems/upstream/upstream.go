package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
)

// Request asks for one document.
type Request struct {
	URL    string
	Accept string // Accept header; empty for none
	// MaxBytes bounds the decoded body; the answer beyond it is KindTooLarge. Required.
	MaxBytes int64
	// Want is the digest that the body must have; a body with another one is an
	// error, and is not cached. With Want the cache needs no revalidation.
	Want trust.Digest
	// Verify, for Open only, takes the place of Want where the digest is not one
	// over the bytes as they are (Go's h1). It judges the complete artifact before
	// anybody gets it; its error is KindWrongDigest. Such answers are not cached.
	Verify func(r io.ReaderAt, size int64) error
	// MaxAge is how old a cached answer may be before it is revalidated. Zero
	// always revalidates: nothing that trust rests on is taken from age alone.
	MaxAge time.Duration
	// Authorization takes the place of the configured credentials: a token that the
	// host itself handed out for this request. Like them it is for the host of URL
	// alone.
	Authorization string
	// NoStore keeps the answer out of the cache: it is a secret itself.
	NoStore bool
	// Form, for Get only, is sent by POST, as token services want it. It holds
	// secrets: configured credentials are not sent besides, no redirect is followed,
	// and the answer is kept nowhere.
	Form url.Values
	// AnyHost lets redirects lead to any public host. It has an effect with Want
	// alone: registries keep what is named by its digest with storage providers that
	// nobody can list, and the digest decides what is taken from there.
	AnyHost bool
	// Allow are hosts beside that of URL that redirects may lead to ("*.example.com"
	// stands for the sub-domains of one host).
	Allow []string
}

// Response is a complete answer. Status may be any but redirects: 404 and 410
// are answers, not errors.
type Response struct {
	Status    int
	Header    http.Header // of the final answer
	Body      []byte
	URL       string // final URL, without credentials
	FromCache bool
}

// Getter is what adapters need of the client; tests pass one of their own or a
// real Client with a test server.
type Getter interface {
	Get(ctx context.Context, r Request) (*Response, error)
	// Open fetches an artifact to a Blob. Want (SHA-256, SHA-384 or SHA-512) or
	// Verify is required, and holds before the first byte is handed out. A status
	// other than 200 is an *Error with that Status (KindNetwork for 404 and 410).
	Open(ctx context.Context, r Request) (adapter.Blob, error)
}

// Kind tells apart what can go wrong between asking and having an answer.
type Kind string

// Kinds of error.
const (
	KindNetwork     Kind = "network"      // no answer, broken answer, 5xx after all retries
	KindRateLimited Kind = "rate-limited" // 429, or 403 that says so; RetryAfter is set if known
	KindTooLarge    Kind = "too-large"
	KindRefused     Kind = "refused"      // scheme, host, redirect or address that headgate does not go to
	KindWrongDigest Kind = "wrong-digest" // complete answer, other bytes than wanted
	KindOffline     Kind = "offline"      // network switched off by the user
	KindAuth        Kind = "auth"         // 401, 403, 407
)

// Error is what Getter's methods return for everything but cancellation.
type Error struct {
	Kind       Kind
	URL        string // without credentials
	Status     int    // HTTP status, if there was one
	RetryAfter time.Duration
	// Challenge is the WWW-Authenticate header of a 401 by the host that was asked,
	// unverified; empty if another host answered.
	Challenge string
	Err       error
}

// Error says what was asked of whom and what came of it.
func (e *Error) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("GET %s: %s (HTTP %d): %v", e.URL, e.Kind, e.Status, e.Err)
	}
	return fmt.Sprintf("GET %s: %s: %v", e.URL, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reason maps the error to the reason of the evidence that it leads to, and to
// its outcome.
func (e *Error) Reason() (trust.Outcome, trust.Reason) {
	switch e.Kind {
	case KindRateLimited:
		return trust.Unreachable, trust.ReasonRateLimited
	case KindTooLarge:
		return trust.Unreachable, trust.ReasonTooLarge
	case KindWrongDigest:
		return trust.Failed, trust.ReasonWrongDigest
	case KindOffline:
		return trust.Unreachable, trust.ReasonOffline
	case KindRefused:
		return trust.Failed, trust.ReasonForeignSource
	}
	return trust.Unreachable, trust.ReasonNetwork
}
