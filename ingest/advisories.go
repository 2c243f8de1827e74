package ingest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

// Bounds of asking for advisories.
const (
	// MaxAdvisoryAnswer bounds one answer of the advisory API, in bytes.
	MaxAdvisoryAnswer = 64 << 20
	// advisoryAttempts is how often one question is asked.
	advisoryAttempts = 3
	// advisoryTimeout bounds one attempt at a question; downloads are bounded by
	// their size and by how long the server may be silent.
	advisoryTimeout = time.Minute
	// advisoryPause is the wait before the second attempt; it doubles.
	advisoryPause = time.Second
)

// Web is the network as advisories are fetched from it. It sends no credentials
// and follows no redirect to another host.
type Web struct {
	// UserAgent names headgate.
	UserAgent string
	// Insecure are hosts ("host:port") to which plain http is allowed.
	Insecure []string
	// Offline allows no request.
	Offline bool
	// Sleep waits between attempts; nil for a real timer.
	Sleep func(ctx context.Context, d time.Duration) error

	client *http.Client
}

// NewWeb returns a Web that is set up; proxies come from the environment.
func NewWeb(userAgent string, insecure []string, offline bool) *Web {
	w := &Web{UserAgent: userAgent, Insecure: insecure, Offline: offline}
	w.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 256 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 5 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
				return fmt.Errorf("redirected to %s, where advisories are not fetched from", r.URL.Redacted())
			}
			return nil
		},
	}
	return w
}

func (w *Web) request(ctx context.Context, method, target string, body io.Reader) (*http.Request, error) {
	if w.Offline {
		return nil, trust.Undecidable(trust.ReasonOffline, "the network is switched off")
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "%w", err)
	}
	if u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && slices.Contains(w.Insecure, u.Host)) {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "advisories are not fetched from %s: want https", u.Redacted())
	}
	r, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", w.UserAgent)
	return r, nil
}

// errStatus is an HTTP status other than the wanted one.
type errStatus struct {
	url    string
	status int
}

func (e errStatus) Error() string { return fmt.Sprintf("%s answers with HTTP %d", e.url, e.status) }

// answer asks until there is an answer or no hope.
func (w *Web) answer(ctx context.Context, method, target string, body []byte, limit int64) ([]byte, error) {
	pause := advisoryPause
	for attempt := 1; ; attempt++ {
		b, err := w.once(ctx, method, target, body, limit)
		var st errStatus
		final := errors.As(err, &st) && st.status != http.StatusTooManyRequests && st.status < 500
		if outcome, reason := trust.Classify(err); err != nil && outcome == trust.Unreachable {
			final = final || reason == trust.ReasonOffline || reason == trust.ReasonUnsupported || reason == trust.ReasonTooLarge
		}
		if err == nil || final || attempt == advisoryAttempts || ctx.Err() != nil {
			return b, err
		}
		if err := w.sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

func (w *Web) sleep(ctx context.Context, d time.Duration) error {
	if w.Sleep != nil {
		return w.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Web) once(ctx context.Context, method, target string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, advisoryTimeout)
	defer cancel()
	r, err := w.request(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errStatus{r.URL.Redacted(), res.StatusCode}
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = trust.Undecidable(trust.ReasonTooLarge, "%s answers with more than %d bytes", r.URL.Redacted(), limit)
	}
	return b, err
}

// Get implements advisories.HTTP.
func (w *Web) Get(ctx context.Context, target string) ([]byte, error) {
	return w.answer(ctx, http.MethodGet, target, nil, MaxAdvisoryAnswer)
}

// PostJSON implements advisories.HTTP.
func (w *Web) PostJSON(ctx context.Context, target string, body []byte) ([]byte, error) {
	return w.answer(ctx, http.MethodPost, target, body, MaxAdvisoryAnswer)
}

// OpenFrom implements advisories.Opener.
func (w *Web) OpenFrom(ctx context.Context, target string, from int64, etag string) (*advisories.Body, error) {
	r, err := w.request(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	// Compressed on the way, the bytes could be neither counted nor continued.
	r.Header.Set("Accept-Encoding", "identity")
	if from > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		r.Header.Set("If-Range", etag)
	}
	res, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	b := &advisories.Body{ReadCloser: res.Body, Total: res.ContentLength, ETag: res.Header.Get("ETag")}
	if t, err := http.ParseTime(res.Header.Get("Last-Modified")); err == nil {
		b.Modified = t
	}
	for _, h := range res.Header.Values("X-Goog-Hash") {
		for p := range strings.SplitSeq(h, ",") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(p), "md5="); ok {
				if sum, err := base64.StdEncoding.DecodeString(v); err == nil && len(sum) == 16 {
					b.MD5 = sum
				}
			}
		}
	}
	switch res.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusPartialContent:
		if b.From, b.Total, err = contentRange(res.Header.Get("Content-Range")); err == nil {
			return b, nil
		}
	case http.StatusRequestedRangeNotSatisfiable:
		// What is there is as long as the document or longer: begin again.
		res.Body.Close()
		if from > 0 {
			return w.OpenFrom(ctx, target, 0, "")
		}
		return nil, errStatus{r.URL.Redacted(), res.StatusCode}
	default:
		err = errStatus{r.URL.Redacted(), res.StatusCode}
	}
	res.Body.Close()
	return nil, err
}

// contentRange reads "bytes 5-9/10".
func contentRange(s string) (from, total int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, all, ok2 := strings.Cut(rest, "/")
	first, _, ok3 := strings.Cut(span, "-")
	if ok && ok2 && ok3 {
		from, err = strconv.ParseInt(first, 10, 64)
		total = -1
		if err == nil && all != "*" {
			total, err = strconv.ParseInt(all, 10, 64)
		}
		if err == nil && from >= 0 {
			return from, total, nil
		}
	}
	return 0, 0, fmt.Errorf("the server sends a part without saying which (Content-Range %q)", s)
}

// OnlineAdvisories asks OSV's API. Packages of the project's own namespaces are
// not asked about: their names are nobody's business.
type OnlineAdvisories struct {
	API *advisories.Online
	// Ours reports whether a package is of the project's own namespaces.
	Ours func(trust.Package) bool
}

// Query implements Advisories.
func (o OnlineAdvisories) Query(ctx context.Context, items []advisories.Item, _ time.Time) advisories.Answer {
	var own []trust.Release
	items = slices.DeleteFunc(slices.Clone(items), func(it advisories.Item) bool {
		ours := o.Ours != nil && o.Ours(it.Release.Package)
		if ours {
			own = append(own, it.Release)
		}
		return ours
	})
	ans := o.API.Query(ctx, items)
	for _, r := range own {
		ans.States[r] = policies.StateOff
	}
	return ans
}

// SuppressedAdvisories sets aside what VEX documents and ignores of the base
// revision say, with the reason in every report.
type SuppressedAdvisories struct {
	Advisories
	Suppressions []advisories.Suppression
}

// Query implements Advisories.
func (s SuppressedAdvisories) Query(ctx context.Context, items []advisories.Item, now time.Time) advisories.Answer {
	ans := s.Advisories.Query(ctx, items, now)
	for r, as := range ans.Advisories {
		ans.Advisories[r] = advisories.Apply(s.Suppressions, r, as, now)
	}
	return ans
}
