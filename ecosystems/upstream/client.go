package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
)

// Client implements Getter over HTTP. It is safe for concurrent use.
type Client struct {
	cfg       Config
	agent     string
	transport *http.Transport
	insecure  map[string]bool // host:port
	private   map[string]bool // host:port, insecure ones included
	proxies   map[string]bool // host:port of the user's proxies
	cache     *cache

	gets  flights[*Response]
	opens flights[*shared]

	mu    sync.Mutex
	hosts map[string]*host
}

var _ Getter = (*Client)(nil)

// host is what the client keeps per host:port.
type host struct {
	slots chan struct{}
	every time.Duration
	mu    sync.Mutex
	next  time.Time
	until time.Time // the host asked for no requests before
	said  time.Time // when a wait was announced last
	stats HostStats
}

// HostStats counts what was asked of one host.
type HostStats struct {
	Requests    int64 `json:"requests"`              // HTTP requests sent, retries and redirects included
	Bytes       int64 `json:"bytes"`                 // decoded body bytes received
	CacheHits   int64 `json:"cacheHits"`             // answers from the cache without a request
	Revalidated int64 `json:"revalidated,omitempty"` // answers from the cache that upstream confirmed (304)
	Retries     int64 `json:"retries,omitempty"`
}

// New returns a Client. It does no network I/O; configuration that cannot be
// used as it stands (an empty trust file, a proxy URL) is an error.
func New(cfg Config) (*Client, error) {
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
	if cfg.PerHost <= 0 {
		cfg.PerHost = defaultPerHost
	}
	if cfg.Attempts <= 0 || cfg.Attempts > MaxAttempts {
		cfg.Attempts = MaxAttempts
	}
	setDefault(&cfg.ConnectTimeout, defaultConnect)
	setDefault(&cfg.HeaderTimeout, defaultHeader)
	setDefault(&cfg.Timeout, defaultOverall)
	roots, err := cfg.roots()
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: cfg, agent: cfg.UserAgent, hosts: map[string]*host{},
		insecure: map[string]bool{}, private: map[string]bool{}, proxies: map[string]bool{},
	}
	if c.agent == "" {
		v := cfg.Version
		if v == "" {
			v = "devel"
		}
		c.agent = "headgate/" + v + " (+https://github.com/headgate/headgate)"
	}
	if strings.ContainsFunc(c.agent, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, errors.New("the User-Agent holds characters that no header may hold")
	}
	for _, h := range cfg.Insecure {
		c.insecure[withPort(h, "80")] = true
		c.private[withPort(h, "80")] = true
	}
	for _, h := range cfg.Private {
		c.private[withPort(h, "443")] = true
	}
	env := func(k string) string {
		if v := cfg.Getenv(k); v != "" {
			return v
		}
		return cfg.Getenv(strings.ToLower(k))
	}
	pc := &httpproxy.Config{
		HTTPProxy: env("HTTP_PROXY"), HTTPSProxy: env("HTTPS_PROXY"), NoProxy: env("NO_PROXY"),
		CGI: cfg.Getenv("REQUEST_METHOD") != "",
	}
	for _, probe := range []string{"http://proxy-probe.example.com/", "https://proxy-probe.example.com/"} {
		pu, err := url.Parse(probe)
		if err != nil {
			return nil, err
		}
		p, err := pc.ProxyFunc()(pu)
		if err != nil {
			return nil, errors.New("HTTP_PROXY or HTTPS_PROXY is no URL; correct or unset it")
		}
		if p != nil {
			c.proxies[proxyHostPort(p)] = true
		}
	}
	if cfg.CacheDir != "" {
		c.cache = &cache{dir: cfg.CacheDir, warn: cfg.Warn}
	}
	proxyFunc := pc.ProxyFunc()
	c.transport = &http.Transport{
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxyFunc(r.URL) },
		DialContext:            c.dial,
		TLSClientConfig:        tlsConfig(roots),
		TLSHandshakeTimeout:    cfg.ConnectTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		MaxResponseHeaderBytes: MaxResponseHeader,
		MaxIdleConnsPerHost:    cfg.PerHost,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true,
	}
	return c, nil
}

func setDefault(d *time.Duration, v time.Duration) {
	if *d <= 0 {
		*d = v
	}
}

func proxyHostPort(p *url.URL) string {
	port := p.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(p.Hostname()), port)
}

// dial connects to addr ("host:port" as the URL has it, or the user's proxy) and
// checks each address after resolution, at the moment of connecting, so that a
// name that resolves differently the second time gains nothing.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: c.cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
	if a := strings.ToLower(addr); !c.private[a] && !c.proxies[a] {
		d.Control = func(_, address string, _ syscall.RawConn) error { return checkAddress(address) }
	}
	return d.DialContext(ctx, network, addr)
}

// Stats returns the counters per host:port.
func (c *Client) Stats() map[string]HostStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]HostStats, len(c.hosts))
	for k, h := range c.hosts {
		h.mu.Lock()
		out[k] = h.stats
		h.mu.Unlock()
	}
	return out
}

func (c *Client) host(u *url.URL) *host {
	k := hostPort(u)
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[k]
	if h == nil {
		h = &host{slots: make(chan struct{}, c.cfg.PerHost)}
		for name, d := range c.cfg.Interval {
			if withPort(name, "443") == k {
				h.every = d
			}
		}
		c.hosts[k] = h
	}
	return h
}

func (h *host) count(f func(*HostStats)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.stats)
}

// acquire waits for a slot of the host and for its rate limit.
func (c *Client) acquire(ctx context.Context, h *host, u *url.URL) (release func(), err error) {
	if err := c.await(ctx, h, u); err != nil {
		return nil, err
	}
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release = func() { <-h.slots }
	if h.every > 0 {
		now := c.cfg.Clock()
		h.mu.Lock()
		at := h.next
		if at.Before(now) {
			at = now
		}
		h.next = at.Add(h.every)
		h.mu.Unlock()
		if d := at.Sub(now); d > 0 {
			c.announce(h, u, d)
			if err := c.cfg.Sleep(ctx, d); err != nil {
				release()
				return nil, err
			}
		}
	}
	return release, nil
}

// admit checks that the client may go to u at all.
func (c *Client) admit(u *url.URL) error {
	if err := checkURL(u); err != nil {
		return err
	}
	hp := hostPort(u)
	if u.Scheme != "https" && !c.insecure[hp] {
		return fmt.Errorf("plain http to %s; use https, or list the host as insecure in your own configuration", hp)
	}
	// Behind a proxy no address of the target is dialled here: what is written in
	// the URL is checked without resolution.
	if ip, _, err := net.SplitHostPort(hp); err == nil && !c.private[hp] {
		if net.ParseIP(ip) != nil {
			if err := checkAddress(hp); err != nil {
				return err
			}
		} else if ip == "localhost" || strings.HasSuffix(ip, ".localhost") {
			return fmt.Errorf("%s is this machine; list the host as private in your own configuration if it is your registry", ip)
		}
	}
	return nil
}

// authorization returns the header for u by the user's credentials.
func (c *Client) authorization(u *url.URL) string {
	for _, cr := range c.cfg.Credentials {
		if h := cr.Authorization(u); h != "" {
			return h
		}
	}
	return ""
}

// sharedKey is equal for requests that may share one answer.
func sharedKey(r Request) string {
	return fmt.Sprintf("%q %q %d %s %d %q %q %t %t %t %q", r.URL, r.Accept, r.MaxBytes, r.Want, r.MaxAge, r.Allow, r.Authorization, r.NoStore, r.AnyHost, r.Form != nil, r.Form.Encode())
}

func refuse(u *url.URL, err error) *Error {
	return &Error{Kind: KindRefused, URL: display(u, true), Err: err}
}

// start checks a request and returns its URL and authorization.
func (c *Client) start(r Request) (*url.URL, string, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return nil, "", refuse(u, err)
	}
	u.Fragment, u.RawFragment = "", ""
	if r.MaxBytes <= 0 {
		return nil, "", refuse(u, errors.New("request without MaxBytes"))
	}
	if err := c.admit(u); err != nil {
		return nil, "", refuse(u, err)
	}
	if r.Authorization != "" || r.Form != nil {
		return u, r.Authorization, nil
	}
	return u, c.authorization(u), nil
}

// Get implements Getter.
func (c *Client) Get(ctx context.Context, r Request) (*Response, error) {
	u, auth, err := c.start(r)
	if err != nil {
		return nil, err
	}
	if !r.Want.IsZero() && hasher(r.Want.Algorithm) == nil {
		return nil, refuse(u, fmt.Errorf("wanted digest is %s; only SHA-256, SHA-384 and SHA-512 stand for bytes", r.Want.Algorithm))
	}
	resp, err := c.gets.do(ctx, sharedKey(r), func(ctx context.Context) (*Response, error) {
		return c.get(ctx, r, u, auth)
	}, func(*Response, int) {})
	if err != nil {
		return nil, err
	}
	// Callers may change what they get without changing what others verified.
	own := *resp
	own.Header, own.Body = resp.Header.Clone(), bytes.Clone(resp.Body)
	return &own, nil
}

func (c *Client) get(ctx context.Context, r Request, u *url.URL, auth string) (*Response, error) {
	h := c.host(u)
	encoding := ""
	if !r.Want.IsZero() {
		encoding = "identity" // the digest is one over the bytes as they are
	}
	key := cacheKey(u.String(), r.Accept, encoding, auth)
	var e *cacheEntry
	var body []byte
	if r.Form == nil {
		e, body = c.cache.read(key, u.String(), r.MaxBytes)
	}
	if e != nil && (r.Want.IsZero() && c.fresh(e, r.MaxAge) || !r.Want.IsZero() && digestOf(r.Want.Algorithm, body).Equal(r.Want)) {
		h.count(func(s *HostStats) { s.CacheHits++ })
		return &Response{Status: http.StatusOK, Header: e.Header, Body: body, URL: e.Final, FromCache: true}, nil
	}
	if c.cfg.Offline {
		return nil, &Error{Kind: KindOffline, URL: display(u, true), Err: errors.New("the network is switched off and the cache may not answer; run without --offline")}
	}
	var out *Response
	err := c.retry(ctx, u, h, func(ctx context.Context) error {
		var cond *cacheEntry
		if e != nil && r.Want.IsZero() {
			cond = e
		}
		a, err := c.send(ctx, r, u, encoding, cond)
		if err != nil {
			return err
		}
		defer a.close()
		if a.resp.StatusCode == http.StatusNotModified {
			if cond == nil {
				return a.fail(KindNetwork, errors.New("not modified, though nothing was stated to compare with"))
			}
			h.count(func(s *HostStats) { s.Revalidated++ })
			e.Stored = c.cfg.Clock().UTC()
			c.cache.write(key, *e, bytes.NewReader(body))
			out = &Response{Status: http.StatusOK, Header: e.Header, Body: body, URL: e.Final, FromCache: true}
			return nil
		}
		s := newSpool("", r.MaxBytes, r.MaxBytes, r.Want.Algorithm)
		if err := a.copy(s, r.MaxBytes); err != nil {
			return err
		}
		b := s.buf.Bytes()
		out = &Response{Status: a.resp.StatusCode, Header: a.resp.Header, Body: b, URL: display(a.url, a.own)}
		if a.resp.StatusCode != http.StatusOK {
			return nil
		}
		if !r.Want.IsZero() && !s.digest(r.Want.Algorithm).Equal(r.Want) {
			return a.fail(KindWrongDigest, fmt.Errorf("body is %s, want %s", s.digest(r.Want.Algorithm), r.Want))
		}
		if !r.NoStore && r.Form == nil {
			c.store(key, u, a, s, bytes.NewReader(b))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// fresh reports whether upstream confirmed the entry at most max ago. An entry
// from the future is not fresh: the clock went wrong once.
func (c *Client) fresh(e *cacheEntry, max time.Duration) bool {
	age := c.cfg.Clock().Sub(e.Stored)
	return max > 0 && age >= 0 && age <= max
}

func (c *Client) store(key string, u *url.URL, a *answer, s *spool, body io.Reader) {
	if c.cache == nil || s.n > MaxCachedBody || strings.Contains(strings.ToLower(a.resp.Header.Get("Cache-Control")), "no-store") {
		return
	}
	c.cache.write(key, cacheEntry{
		URL: u.String(), Final: display(a.url, a.own), Header: keptHeader(a.resp.Header), Stored: c.cfg.Clock().UTC(), Size: s.n,
		SHA256: s.digest(trust.SHA256).Value,
	}, body)
}

// Open implements Getter.
func (c *Client) Open(ctx context.Context, r Request) (adapter.Blob, error) {
	u, auth, err := c.start(r)
	if err != nil {
		return nil, err
	}
	if r.Form != nil {
		return nil, refuse(u, errors.New("an artifact is not fetched by POST"))
	}
	if r.Verify != nil {
		sh, err := c.open(ctx, r, u, auth)
		if err != nil {
			return nil, err
		}
		sh.settle(1)
		return sh.blob(), nil
	}
	if hasher(r.Want.Algorithm) == nil {
		return nil, refuse(u, errors.New("artifact without a wanted digest of SHA-256, SHA-384 or SHA-512"))
	}
	sh, err := c.opens.do(ctx, sharedKey(r), func(ctx context.Context) (*shared, error) {
		return c.open(ctx, r, u, auth)
	}, (*shared).settle)
	if err != nil {
		return nil, err
	}
	return sh.blob(), nil
}

func (c *Client) open(ctx context.Context, r Request, u *url.URL, auth string) (*shared, error) {
	h := c.host(u)
	key := cacheKey(u.String(), r.Accept, "identity", auth)
	name := path.Base(u.Path)
	if r.Verify == nil && c.cache != nil {
		if s := c.fromCache(r, u, key); s != nil {
			h.count(func(s *HostStats) { s.CacheHits++ })
			return &shared{s: s, name: name}, nil
		}
	}
	if c.cfg.Offline {
		return nil, &Error{Kind: KindOffline, URL: display(u, true), Err: errors.New("the network is switched off and the cache does not have the artifact; run without --offline")}
	}
	var out *shared
	err := c.retry(ctx, u, h, func(ctx context.Context) error {
		a, err := c.send(ctx, r, u, "identity", nil)
		if err != nil {
			return err
		}
		defer a.close()
		if a.resp.StatusCode != http.StatusOK {
			return a.fail(KindNetwork, errors.New("no artifact there"))
		}
		s := newSpool(c.cfg.TempDir, r.MaxBytes, MemoryBlob, r.Want.Algorithm)
		if err := a.copy(s, r.MaxBytes); err != nil {
			s.close()
			return err
		}
		if r.Verify != nil {
			if err := r.Verify(s.readerAt(), s.n); err != nil {
				s.close()
				return a.fail(KindWrongDigest, err)
			}
		} else if got := s.digest(r.Want.Algorithm); !got.Equal(r.Want) {
			s.close()
			return a.fail(KindWrongDigest, fmt.Errorf("artifact is %s, want %s", got, r.Want))
		} else if !r.NoStore {
			c.store(key, u, a, s, io.NewSectionReader(s.readerAt(), 0, s.n))
		}
		out = &shared{s: s, name: name}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// fromCache copies a cached artifact into a spool and verifies the copy, so that
// what was verified is what is read whatever happens to the file.
func (c *Client) fromCache(r Request, u *url.URL, key string) *spool {
	e, body := c.cache.open(key, u.String())
	if e == nil {
		return nil
	}
	defer body.Close()
	if e.Size > r.MaxBytes {
		return nil
	}
	s := newSpool(c.cfg.TempDir, r.MaxBytes, MemoryBlob, r.Want.Algorithm)
	if _, err := io.Copy(s, body); err != nil || !s.digest(r.Want.Algorithm).Equal(r.Want) {
		s.close()
		c.cache.drop(key)
		return nil
	}
	return s
}

// retry runs one attempt after the other while the error may pass.
func (c *Client) retry(ctx context.Context, u *url.URL, h *host, attempt func(context.Context) error) error {
	for n := 1; ; n++ {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Kind: KindNetwork, URL: display(u, true), Err: err}
		}
		if e.Kind == KindRateLimited {
			h.pause(c.cfg.Clock(), e.RetryAfter)
		}
		if n >= c.cfg.Attempts || !e.passing() || e.RetryAfter > MaxRetryAfter {
			return e
		}
		h.count(func(s *HostStats) { s.Retries++ })
		if e.Kind == KindRateLimited && e.RetryAfter > 0 {
			continue // the next attempt waits for the host, with everybody else
		}
		wait := baseBackoff << (n - 1)
		wait = wait/2 + rand.N(wait) // jitter: half to one and a half times
		if e.RetryAfter > wait {
			wait = e.RetryAfter
		}
		if err := c.cfg.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// passing reports whether asking again may help.
func (e *Error) passing() bool {
	switch e.Kind {
	case KindRateLimited:
		return true
	case KindNetwork:
		return e.Status == 0 || e.Status == http.StatusPartialContent || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooEarly ||
			e.Status >= 500 && e.Status != http.StatusNotImplemented
	}
	return false
}

// answer is a response whose body was not read yet.
type answer struct {
	resp    *http.Response
	url     *url.URL
	own     bool // no redirect to another host was followed
	host    *host
	release func()
}

func (a *answer) close() {
	a.resp.Body.Close()
	a.release()
}

func (a *answer) fail(k Kind, err error) *Error {
	e := &Error{Kind: k, URL: display(a.url, a.own), Status: a.resp.StatusCode, RetryAfter: retryAfter(a.resp.Header), Err: err}
	if a.own && e.Status == http.StatusUnauthorized {
		e.Challenge = a.resp.Header.Get("Www-Authenticate")
	}
	return e
}

// copy reads the whole decoded body into s.
func (a *answer) copy(s *spool, max int64) error {
	if a.resp.ContentLength > max {
		return a.fail(KindTooLarge, fmt.Errorf("body of %d bytes, at most %d are read", a.resp.ContentLength, max))
	}
	n, err := io.Copy(s, io.LimitReader(a.resp.Body, max+1))
	a.host.count(func(st *HostStats) { st.Bytes += n })
	switch {
	case errors.Is(err, errTooLarge):
		return a.fail(KindTooLarge, fmt.Errorf("body larger than %d bytes", max))
	case err != nil:
		e := a.fail(KindNetwork, fmt.Errorf("reading the body: %w", scrub(err)))
		e.Status = 0 // the answer broke off: whatever its status was, it is none
		return e
	}
	return nil
}

// send sends the request and follows its redirects, each checked like a request
// of its own. Credentials are for the first host only, and once another host was
// met they are not sent any more in this chain.
func (c *Client) send(ctx context.Context, r Request, u *url.URL, encoding string, cond *cacheEntry) (*answer, error) {
	origin, left := hostPort(u), false
	for hop := 0; ; hop++ {
		if err := c.admit(u); err != nil {
			return nil, refuse(u, err)
		}
		if hostPort(u) != origin {
			left = true
		}
		h := c.host(u)
		release, err := c.acquire(ctx, h, u)
		if err != nil {
			return nil, err
		}
		// The time-out starts with the request: waiting for a slot is not upstream's fault.
		hctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		free := func() { cancel(); release() }
		method, sent := http.MethodGet, io.Reader(nil)
		if r.Form != nil {
			method, sent = http.MethodPost, strings.NewReader(r.Form.Encode())
		}
		req, err := http.NewRequestWithContext(hctx, method, u.String(), sent)
		if err != nil {
			free()
			return nil, refuse(u, errors.New("URL cannot be requested"))
		}
		req.Header.Set("User-Agent", c.agent)
		if r.Form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if r.Accept != "" {
			req.Header.Set("Accept", r.Accept)
		}
		if encoding != "" {
			req.Header.Set("Accept-Encoding", encoding)
		}
		if !left {
			auth := r.Authorization
			if auth == "" && r.Form == nil {
				auth = c.authorization(u)
			}
			if auth != "" {
				req.Header.Set("Authorization", auth)
			}
		}
		if cond != nil {
			if tag := cond.Header.Get("Etag"); tag != "" {
				req.Header.Set("If-None-Match", tag)
			}
			if lm := cond.Header.Get("Last-Modified"); lm != "" {
				req.Header.Set("If-Modified-Since", lm)
			}
		}
		h.count(func(s *HostStats) { s.Requests++ })
		resp, err := c.transport.RoundTrip(req)
		if err != nil {
			free()
			e := &Error{Kind: KindNetwork, URL: display(u, !left), Err: scrub(err)}
			var ae *addressError
			if errors.As(err, &ae) {
				e.Kind = KindRefused
			}
			return nil, e
		}
		a := &answer{resp: resp, url: u, own: !left, host: h, release: free}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			a.close()
			if r.Form != nil {
				return nil, a.fail(KindRefused, errors.New("redirect of a request that holds a secret"))
			}
			next, err := c.redirect(r, u, origin, resp.Header.Get("Location"))
			if err != nil {
				return nil, a.fail(KindRefused, err)
			}
			if hop >= MaxRedirects {
				return nil, a.fail(KindRefused, fmt.Errorf("more than %d redirects", MaxRedirects))
			}
			u = next
			continue
		}
		if e := a.judge(); e != nil {
			a.close()
			return nil, e
		}
		return a, nil
	}
}

// redirect returns where a Location leads, if the client may go there.
func (c *Client) redirect(r Request, from *url.URL, origin, location string) (*url.URL, error) {
	if location == "" || len(location) > MaxURL {
		return nil, errors.New("redirect without a usable Location")
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, errors.New("redirect to something that is no URL")
	}
	to.Fragment, to.RawFragment = "", ""
	if err := c.admit(to); err != nil {
		return nil, fmt.Errorf("redirect to %s: %w", display(to, false), err)
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("redirect from https to %s", display(to, false))
	}
	if hp := hostPort(to); hp != origin && !allowed(to, r.Allow) && !(r.AnyHost && !r.Want.IsZero()) {
		return nil, fmt.Errorf("redirect to the foreign host %s", hp)
	}
	return to, nil
}

// judge turns a status that is no answer into an error.
func (a *answer) judge() *Error {
	s := a.resp.StatusCode
	switch {
	case s == http.StatusTooManyRequests, s == http.StatusForbidden && limited(a.resp.Header):
		return a.fail(KindRateLimited, errors.New("the host asks for fewer requests; try again later"))
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusProxyAuthRequired:
		return a.fail(KindAuth, errors.New("the host asks for credentials; put them into your .netrc or the ecosystem's own file"))
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooEarly:
		return a.fail(KindNetwork, errors.New("the host cannot answer now"))
	case s == http.StatusPartialContent:
		return a.fail(KindNetwork, errors.New("part of the document, though all of it was asked for"))
	case s == http.StatusNotModified:
		return nil
	case s < 200, s >= 300 && s < 400:
		return a.fail(KindNetwork, errors.New("unexpected status"))
	}
	if enc := a.resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") && a.resp.Request.Header.Get("Accept-Encoding") != "identity" {
		return a.fail(KindNetwork, fmt.Errorf("content encoding %.40q was not asked for", enc))
	}
	return nil
}

func limited(h http.Header) bool {
	return h.Get("Retry-After") != "" || h.Get("X-Ratelimit-Remaining") == "0" || h.Get("Ratelimit-Remaining") == "0"
}

// retryAfter reads Retry-After in seconds or as a date; zero if there is none.
func retryAfter(h http.Header) time.Duration {
	base := time.Now()
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		base = d // the server's own clock, as far as it tells
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return reset(h, base)
	}
	if s, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(s)*time.Second)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(base))
}

// scrub removes URLs from transport errors: they may carry a query or user.
func scrub(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
