package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
)

// server starts an http server and returns it with its host:port.
func server(t *testing.T, h http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, strings.TrimPrefix(s.URL, "http://")
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	if cfg.Sleep == nil {
		cfg.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func sha(b []byte) trust.Digest {
	s := sha256.Sum256(b)
	return trust.DigestOf(trust.SHA256, s[:])
}

func wantKind(t *testing.T, err error, k Kind) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Kind != k {
		t.Fatalf("error is %v, want kind %s", err, k)
	}
	return e
}

func get(c *Client, url string) (*Response, error) {
	return c.Get(context.Background(), Request{URL: url, MaxBytes: 1 << 20})
}

func TestGetAnswersAndNamesItself(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/none":
			w.WriteHeader(http.StatusNotFound)
		default:
			fmt.Fprint(w, r.UserAgent(), "|", r.Header.Get("Accept"))
		}
	})
	c := client(t, Config{Version: "1.2.3", Insecure: []string{host}})
	resp, err := c.Get(context.Background(), Request{URL: s.URL + "/x?q=1", Accept: "application/json", MaxBytes: 1000})
	if err != nil || resp.Status != 200 || string(resp.Body) != "headgate/1.2.3 (+https://github.com/headgate/headgate)|application/json" || resp.URL != s.URL+"/x?q=1" {
		t.Fatalf("%+v %v", resp, err)
	}
	for path, status := range map[string]int{"/gone": 410, "/none": 404} {
		if resp, err := get(c, s.URL+path); err != nil || resp.Status != status {
			t.Errorf("%s: %v %v", path, resp, err)
		}
	}
	if st := c.Stats()[host]; st.Requests != 3 || st.Bytes != int64(len(resp.Body)) {
		t.Errorf("stats are %+v", st)
	}
}

func TestPlainHTTPOnlyWhereMarked(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { t.Error("request sent") })
	_, err := get(client(t, Config{}), s.URL)
	wantKind(t, err, KindRefused)
	_, err = get(client(t, Config{Private: []string{host}}), s.URL)
	wantKind(t, err, KindRefused)
}

func TestBoundIsOnDecodedBytes(t *testing.T) {
	const max = 1 << 16
	size := max
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			z.Write(make([]byte, size))
			return
		}
		w.Write(make([]byte, size))
	})
	c := client(t, Config{Insecure: []string{host}})
	resp, err := c.Get(context.Background(), Request{URL: s.URL, MaxBytes: max})
	if err != nil || len(resp.Body) != max {
		t.Fatal(err)
	}
	size++
	_, err = c.Get(context.Background(), Request{URL: s.URL, MaxBytes: max})
	wantKind(t, err, KindTooLarge)
	_, err = c.Open(context.Background(), Request{URL: s.URL, MaxBytes: max, Want: sha(make([]byte, size))})
	wantKind(t, err, KindTooLarge)
}

func TestThreat100EndlessBody(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	c := client(t, Config{Insecure: []string{host}})
	_, err := get(c, s.URL)
	wantKind(t, err, KindTooLarge)
}

func TestRetriesHonourRetryAfter(t *testing.T) {
	var n atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			fmt.Fprint(w, "ok")
		}
	})
	var waits []time.Duration
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := client(t, Config{Insecure: []string{host}, Clock: func() time.Time { return at }, Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }})
	resp, err := get(c, s.URL)
	if err != nil || string(resp.Body) != "ok" {
		t.Fatal(err)
	}
	if len(waits) != 2 || waits[0] > 2*baseBackoff || waits[1] != 7*time.Second {
		t.Errorf("waited %v", waits)
	}
	if st := c.Stats()[host]; st.Retries != 2 {
		t.Errorf("stats are %+v", st)
	}
}

func TestRetryAfterBeyondBoundIsNotWaitedFor(t *testing.T) {
	for _, tc := range []struct {
		seconds  int
		requests int32
	}{{30, MaxAttempts}, {31, 1}} {
		var n atomic.Int32
		s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Retry-After", fmt.Sprint(tc.seconds))
			w.WriteHeader(http.StatusTooManyRequests)
		})
		_, err := get(client(t, Config{Insecure: []string{host}}), s.URL)
		e := wantKind(t, err, KindRateLimited)
		if e.RetryAfter != time.Duration(tc.seconds)*time.Second || n.Load() != tc.requests {
			t.Errorf("%d s: %d requests, %v", tc.seconds, n.Load(), e.RetryAfter)
		}
	}
}

func TestStatusKinds(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscanf(r.URL.Path, "/%d", &code)
		if r.URL.RawQuery != "" {
			w.Header().Set("X-Ratelimit-Remaining", "0")
		}
		if code == 304 || code == 206 {
			w.Header().Set("Content-Range", "bytes 5-9/10")
		}
		w.WriteHeader(code)
	})
	c := client(t, Config{Insecure: []string{host}})
	for path, kind := range map[string]Kind{
		"/401": KindAuth, "/403": KindAuth, "/407": KindAuth, "/403?x": KindRateLimited, "/429": KindRateLimited,
		"/500": KindNetwork, "/503": KindNetwork, "/408": KindNetwork, "/304": KindNetwork, "/300": KindNetwork,
	} {
		_, err := get(c, s.URL+path)
		if e := wantKind(t, err, kind); e.Status == 0 {
			t.Errorf("%s: no status", path)
		}
	}
}

func TestThreat099PartialContentIsNoAnswer(t *testing.T) {
	var n atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			t.Error("asked for a range")
		}
		if n.Add(1) == 1 {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "56789")
			return
		}
		fmt.Fprint(w, "0123456789")
	})
	c := client(t, Config{Insecure: []string{host}, CacheDir: t.TempDir()})
	b, err := c.Open(context.Background(), Request{URL: s.URL, MaxBytes: 100, Want: sha([]byte("0123456789"))})
	if err != nil || b.Size() != 10 || n.Load() != 2 {
		t.Fatalf("%v %d", err, n.Load())
	}
}

func TestTruncatedBodyIsRetriedThenNetwork(t *testing.T) {
	var n atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "half")
	})
	_, err := get(client(t, Config{Insecure: []string{host}}), s.URL)
	wantKind(t, err, KindNetwork)
	if n.Load() != MaxAttempts {
		t.Errorf("%d requests", n.Load())
	}
}

func TestSlowAnswerIsCutOff(t *testing.T) {
	stop := make(chan struct{})
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	_, err := get(client(t, Config{Insecure: []string{host}, Timeout: 50 * time.Millisecond, Attempts: 1}), s.URL)
	wantKind(t, err, KindNetwork)
}

// chain is a pair of hosts that redirect as the path says and record what
// credentials they saw.
func chain(t *testing.T) (a, b string, seen func(host string) []string) {
	var mu sync.Mutex
	auth := map[string][]string{}
	handler := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			auth[name] = append(auth[name], r.Header.Get("Authorization"))
			mu.Unlock()
			if to := r.URL.Query().Get("to"); to != "" {
				http.Redirect(w, r, to, http.StatusFound)
				return
			}
			fmt.Fprint(w, "end")
		}
	}
	_, a = server(t, handler("a"))
	_, b = server(t, handler("b"))
	return a, b, func(h string) []string { mu.Lock(); defer mu.Unlock(); return auth[h] }
}

func TestThreat104CredentialsStayHome(t *testing.T) {
	a, b, seen := chain(t)
	c := client(t, Config{Insecure: []string{a, b}, Credentials: []Credentials{Scopes{{Host: a, Header: Bearer("s3cret")}}}})
	// a → b → a: the way back is not trusted with the token either.
	u := "http://" + a + "/1?to=" + url.QueryEscape("http://"+b+"/2?to="+url.QueryEscape("http://"+a+"/3"))
	resp, err := c.Get(context.Background(), Request{URL: u, MaxBytes: 100, Allow: []string{b}})
	if err != nil || string(resp.Body) != "end" {
		t.Fatal(err)
	}
	if got := seen("a"); len(got) != 2 || got[0] != "Bearer s3cret" || got[1] != "" {
		t.Errorf("a saw %q", got)
	}
	// a → b → b
	u = "http://" + a + "/1?to=" + url.QueryEscape("http://"+b+"/2?to="+url.QueryEscape("/3"))
	if _, err := c.Get(context.Background(), Request{URL: u, MaxBytes: 100, Allow: []string{b}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range seen("b") {
		if h != "" {
			t.Errorf("b saw %q", h)
		}
	}
	if len(seen("b")) != 3 {
		t.Errorf("b was asked %d times", len(seen("b")))
	}
	// a → a keeps it.
	u = "http://" + a + "/1?to=" + url.QueryEscape("/3")
	if _, err := c.Get(context.Background(), Request{URL: u, MaxBytes: 100}); err != nil {
		t.Fatal(err)
	}
	if got := seen("a"); got[len(got)-1] != "Bearer s3cret" {
		t.Errorf("a saw %q", got)
	}
}

func TestThreat105TokenOnlyForItsHostAndPath(t *testing.T) {
	a, b, seen := chain(t)
	c := client(t, Config{Insecure: []string{a, b}, Credentials: []Credentials{Scopes{{Host: a, Path: "/team", Header: Bearer("s3cret")}}}})
	for _, p := range []string{"/team/x", "/team-evil/x", "/", "/team%2fx"} {
		if _, err := get(c, "http://"+a+p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := get(c, "http://"+b+"/team/x"); err != nil {
		t.Fatal(err)
	}
	if got := seen("a"); got[0] != "Bearer s3cret" || strings.Join(got[1:], "") != "" {
		t.Errorf("a saw %q", got)
	}
	if got := seen("b"); strings.Join(got, "") != "" {
		t.Errorf("b saw %q", got)
	}
}

func TestThreat106NoPrivateAddresses(t *testing.T) {
	c := client(t, Config{Attempts: 1})
	for _, u := range []string{
		"https://127.0.0.1/x", "https://localhost/x", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/",
		"https://[fd00:ec2::254]/", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/", "https://100.100.100.200/", "https://x.localhost/",
		"ftp://registry.example.com/", "file:///etc/passwd", "gopher://registry.example.com/", "https:///x", "//registry.example.com/x",
	} {
		_, err := get(c, u)
		wantKind(t, err, KindRefused)
	}
	// A name that resolves to such an address is refused when connecting.
	_, err := c.dial(context.Background(), "tcp", "localhost:443")
	var ae *addressError
	if !errors.As(err, &ae) {
		t.Errorf("dialled localhost: %v", err)
	}
	for s, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "64:ff9b::808:808": true, "64:ff9b::a00:1": false, "192.168.1.1": false, "224.0.0.1": false,
		"fe80::1": false, "fc00::1": false, "2002:7f00:1::": false, "::ffff:127.0.0.1": false, "255.255.255.255": false, "100.64.0.1": false,
		"100.128.0.1": true, "::7f00:1": false,
	} {
		if got := public(netip.MustParseAddr(s)); got != want {
			t.Errorf("public(%s) = %v", s, got)
		}
	}
}

func TestThreat106RedirectsAreCheckedOnEachHop(t *testing.T) {
	a, b, seen := chain(t)
	c := client(t, Config{Insecure: []string{a}})
	for _, to := range []string{
		"http://" + b + "/", "https://169.254.169.254/", "https://127.0.0.1:1/", "ftp://" + a + "/", "file:///etc/passwd",
		"http://user:pw@" + a + "/", "https://foreign.example.com/",
	} {
		u := "http://" + a + "/1?to=" + url.QueryEscape("http://"+a+"/2?to="+url.QueryEscape(to))
		_, err := c.Get(context.Background(), Request{URL: u, MaxBytes: 100, Allow: []string{b, "169.254.169.254", "127.0.0.1:1"}})
		e := wantKind(t, err, KindRefused)
		if strings.Contains(e.Error(), "pw@") {
			t.Errorf("error shows a password: %v", e)
		}
	}
	if len(seen("b")) != 0 {
		t.Error("b was asked")
	}
}

func TestRedirectCount(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		if n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", n-1), http.StatusFound)
		}
	})
	c := client(t, Config{Insecure: []string{host}})
	if _, err := get(c, fmt.Sprintf("%s/%d", s.URL, MaxRedirects)); err != nil {
		t.Error(err)
	}
	_, err := get(c, fmt.Sprintf("%s/%d", s.URL, MaxRedirects+1))
	wantKind(t, err, KindRefused)
}

func TestThreat107HostTricks(t *testing.T) {
	for _, tc := range []struct {
		url   string
		allow string
		want  bool
	}{
		{"https://cdn.example.com/", "cdn.example.com", true},
		{"https://cdn.example.com:443/", "cdn.example.com", true},
		{"https://cdn.example.com:8443/", "cdn.example.com", false},
		{"https://cdn.example.com.evil.example/", "cdn.example.com", false},
		{"https://a.cdn.example.com/", "*.cdn.example.com", true},
		{"https://cdn.example.com/", "*.cdn.example.com", false},
		{"https://evilcdn.example.com/", "*.cdn.example.com", false},
		{"https://a.com/", "*.com", false},
		{"https://CDN.example.com/", "cdn.example.com", true},
	} {
		u, err := parseURL(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := allowed(u, []string{tc.allow}); got != tc.want {
			t.Errorf("%s in %s: %v", tc.url, tc.allow, got)
		}
	}
	for _, u := range []string{
		"https://good.example.com@evil.example.com/", "https://user:pw@good.example.com/", "https://[fe80::1%25eth0]/", "https://good.example.com./",
		"https://gооd.example.com/", "https://good.example.com/a/../b", "https://good.example.com/%2e%2e/b", "https://good.example.com\\@evil.example.com/",
		"https://" + strings.Repeat("a", MaxURL),
	} {
		_, err := client(t, Config{}).Get(context.Background(), Request{URL: u, MaxBytes: 1})
		e := wantKind(t, err, KindRefused)
		if strings.Contains(e.Error(), "pw@") {
			t.Errorf("error shows a password: %v", e)
		}
	}
}

func TestThreat116WantedDigestOrNothing(t *testing.T) {
	var n atomic.Int32
	right := []byte("right bytes")
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.Write(right)
			return
		}
		fmt.Fprint(w, "other bytes")
	})
	c := client(t, Config{Insecure: []string{host}})
	req := Request{URL: s.URL, MaxBytes: 100, Want: sha(right)}
	b, err := c.Open(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = c.Open(context.Background(), req)
	wantKind(t, err, KindWrongDigest)
	_, err = c.Get(context.Background(), req)
	wantKind(t, err, KindWrongDigest)
	if got := read(t, b); !bytes.Equal(got, right) {
		t.Errorf("blob is %q", got)
	}
	for _, want := range []trust.Digest{{}, {Algorithm: trust.SHA1, Value: strings.Repeat("0", 40)}, {Algorithm: trust.DirHash1, Value: strings.Repeat("0", 64)}} {
		_, err := c.Open(context.Background(), Request{URL: s.URL, MaxBytes: 100, Want: want})
		wantKind(t, err, KindRefused)
	}
}

func read(t *testing.T, b adapter.Blob) []byte {
	t.Helper()
	got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBlobSpillsToUnlinkedFile(t *testing.T) {
	for _, size := range []int{MemoryBlob, MemoryBlob + 1} {
		body := bytes.Repeat([]byte{7}, size)
		s, host := server(t, func(w http.ResponseWriter, r *http.Request) { w.Write(body) })
		tmp := t.TempDir()
		c := client(t, Config{Insecure: []string{host}, TempDir: tmp})
		b, err := c.Open(context.Background(), Request{URL: s.URL + "/dir/pkg-1.0.tgz", MaxBytes: 1 << 30, Want: sha(body)})
		if err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(tmp)
		if err != nil || len(left) != 0 {
			t.Errorf("left in the directory: %v %v", left, err)
		}
		if !bytes.Equal(read(t, b), body) || b.Name() != "pkg-1.0.tgz" {
			t.Error("other bytes or name")
		}
		onDisk := b.(*blob).sh.s.file != nil
		if onDisk != (size > MemoryBlob) {
			t.Errorf("%d bytes on disk: %v", size, onDisk)
		}
		b.Close()
		b.Close()
	}
}

func TestVerifyTakesThePlaceOfWant(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "zip") })
	c := client(t, Config{Insecure: []string{host}, CacheDir: t.TempDir()})
	verify := func(want string) func(io.ReaderAt, int64) error {
		return func(r io.ReaderAt, n int64) error {
			b, err := io.ReadAll(io.NewSectionReader(r, 0, n))
			if err != nil || string(b) != want {
				return fmt.Errorf("not %s", want)
			}
			return nil
		}
	}
	b, err := c.Open(context.Background(), Request{URL: s.URL, MaxBytes: 100, Verify: verify("zip")})
	if err != nil || string(read(t, b)) != "zip" {
		t.Fatal(err)
	}
	_, err = c.Open(context.Background(), Request{URL: s.URL, MaxBytes: 100, Verify: verify("other")})
	wantKind(t, err, KindWrongDigest)
}

// cacheFiles returns the files of the cache.
func cacheFiles(t *testing.T, dir string) []string {
	t.Helper()
	var fs []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			fs = append(fs, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestThreat098CacheNamesAreOurs(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Disposition", `attachment; filename="../../evil"`)
		fmt.Fprint(w, "x")
	})
	dir := t.TempDir()
	c := client(t, Config{Insecure: []string{host}, CacheDir: dir})
	for _, p := range []string{"/..%252f..%252fetc", "/a%2f%2fb", "/CON", "/" + strings.Repeat("n", 300)} {
		if _, err := get(c, s.URL+p); err != nil {
			t.Fatal(err)
		}
	}
	files := cacheFiles(t, dir)
	if len(files) != 4 {
		t.Fatalf("files are %v", files)
	}
	for _, f := range files {
		name := filepath.Base(f)
		if len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" || filepath.Dir(filepath.Dir(f)) != dir {
			t.Errorf("cache file %s", f)
		}
		if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, st.Mode(), err)
		}
	}
}

func TestThreat117CacheHitIsVerified(t *testing.T) {
	var n atomic.Int32
	body := []byte("the right body of the artifact")
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { n.Add(1); w.Write(body) })
	dir := t.TempDir()
	c := client(t, Config{Insecure: []string{host}, CacheDir: dir})
	req := Request{URL: s.URL, MaxBytes: 100, Want: sha(body)}
	for i, corrupt := range []func([]byte) []byte{
		func(b []byte) []byte { return b },
		func(b []byte) []byte { return bytes.Replace(b, []byte("right"), []byte("wrong"), 1) },
		func(b []byte) []byte { return b[:len(b)-3] },
		func(b []byte) []byte { return append(b, "more"...) },
		func(b []byte) []byte { return []byte("{") },
		func(b []byte) []byte { return bytes.Replace(b, []byte(`"url":"http`), []byte(`"url":"xttp`), 1) },
		func(b []byte) []byte { return nil },
	} {
		for _, open := range []bool{true, false} {
			os.RemoveAll(dir)
			do := func() error {
				if !open {
					r, err := c.Get(context.Background(), req)
					if err == nil && !bytes.Equal(r.Body, body) {
						t.Errorf("case %d: body is %q", i, r.Body)
					}
					return err
				}
				b, err := c.Open(context.Background(), req)
				if err == nil && !bytes.Equal(read(t, b), body) {
					t.Errorf("case %d: other bytes", i)
				}
				return err
			}
			if err := do(); err != nil {
				t.Fatal(err)
			}
			f := cacheFiles(t, dir)[0]
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, corrupt(b), 0o600); err != nil {
				t.Fatal(err)
			}
			before := n.Load()
			if err := do(); err != nil {
				t.Fatal(err)
			}
			if asked := n.Load() - before; (asked == 0) != (i == 0) {
				t.Errorf("case %d: asked %d times", i, asked)
			}
		}
	}
}

func TestThreat121AgeIsNotTrust(t *testing.T) {
	var body atomic.Value
	body.Store("one")
	var full atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		tag := `"` + body.Load().(string) + `"`
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full.Add(1)
		fmt.Fprint(w, body.Load())
	})
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	c := client(t, Config{Insecure: []string{host}, CacheDir: dir, Clock: func() time.Time { return now }})
	ask := func(age time.Duration) *Response {
		t.Helper()
		r, err := c.Get(context.Background(), Request{URL: s.URL, MaxBytes: 100, MaxAge: age})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ask(0)
	if r := ask(0); !r.FromCache || full.Load() != 1 {
		t.Errorf("unchanged document: from cache %v, %d transfers", r.FromCache, full.Load())
	}
	body.Store("two")
	if r := ask(time.Hour); string(r.Body) != "one" {
		t.Errorf("within its age: %q", r.Body)
	}
	if r := ask(0); string(r.Body) != "two" {
		t.Errorf("without an age: %q", r.Body)
	}
	body.Store("three")
	now = now.Add(time.Hour + time.Second)
	if r := ask(time.Hour); string(r.Body) != "three" {
		t.Errorf("beyond its age: %q", r.Body)
	}
	body.Store("four")
	now = now.Add(-2 * time.Hour)
	if r := ask(3 * time.Hour); string(r.Body) != "four" {
		t.Errorf("stored in the future: %q", r.Body)
	}
	// A new client finds the same cache.
	c = client(t, Config{Insecure: []string{host}, CacheDir: dir, Offline: true, Clock: func() time.Time { return now }})
	if r := ask(time.Hour); string(r.Body) != "four" || !r.FromCache {
		t.Errorf("other process: %q", r.Body)
	}
	_, err := c.Get(context.Background(), Request{URL: s.URL, MaxBytes: 100})
	wantKind(t, err, KindOffline)
}

func TestThreat065FullDiskIsAWarning(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "x") })
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	var warned atomic.Int32
	c := client(t, Config{Insecure: []string{host}, CacheDir: dir, Warn: func(string) { warned.Add(1) }})
	if r, err := get(c, s.URL); err != nil || string(r.Body) != "x" {
		t.Fatal(err)
	}
	if _, err := c.Open(context.Background(), Request{URL: s.URL, MaxBytes: 10, Want: sha([]byte("x"))}); err != nil {
		t.Fatal(err)
	}
	if warned.Load() != 2 {
		t.Errorf("%d warnings", warned.Load())
	}
}

func TestThreat123CacheIsPerCredential(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "private")
	})
	dir := t.TempDir()
	in := client(t, Config{Insecure: []string{host}, CacheDir: dir, Credentials: []Credentials{Scopes{{Host: host, Header: Bearer("t0ken")}}}})
	if _, err := get(in, s.URL); err != nil {
		t.Fatal(err)
	}
	out := client(t, Config{Insecure: []string{host}, CacheDir: dir})
	_, err := out.Get(context.Background(), Request{URL: s.URL, MaxBytes: 100, MaxAge: time.Hour})
	wantKind(t, err, KindAuth)
	for _, f := range cacheFiles(t, dir) {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("t0ken")) {
			t.Errorf("cache holds the token: %v", err)
		}
	}
}

func TestThreat124OneFetchForAllCallers(t *testing.T) {
	const callers = 100
	var n atomic.Int32
	body := []byte("shared")
	arrived, answer := make(chan struct{}, 1), make(chan struct{})
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		arrived <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done():
			t.Error("the shared fetch was cancelled")
		}
		w.Write(body)
	})
	c := client(t, Config{Insecure: []string{host}})
	req := Request{URL: s.URL, MaxBytes: 100, Want: sha(body)}
	first, cancel := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() { _, err := c.Open(first, req); gone <- err }()
	<-arrived
	var wg sync.WaitGroup
	for range callers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b, err := c.Open(context.Background(), req)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size())); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%q %v", got, err)
			}
			b.Close()
		}()
	}
	waiting := func() int {
		c.opens.mu.Lock()
		defer c.opens.mu.Unlock()
		for _, f := range c.opens.m {
			return f.waiting
		}
		return 0
	}
	for waiting() != callers+1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled caller got %v", err)
	}
	close(answer)
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d fetches", n.Load())
	}
}

func TestLastCallerCancelsTheFetch(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	c := client(t, Config{Insecure: []string{host}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-arrived; cancel() }()
	if _, err := c.Get(ctx, Request{URL: s.URL, MaxBytes: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
}

func TestSharedAnswersAreNotAliased(t *testing.T) {
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "abc") })
	c := client(t, Config{Insecure: []string{host}})
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := get(c, s.URL)
			if err != nil || string(r.Body) != "abc" {
				t.Errorf("%v %v", r, err)
				return
			}
			r.Body[0] = 'X'
			r.Header.Set("Etag", "X")
		}()
	}
	wg.Wait()
}

func TestPerHostConcurrencyAndInterval(t *testing.T) {
	var now, most atomic.Int32
	s, host := server(t, func(w http.ResponseWriter, r *http.Request) {
		if v := now.Add(1); v > most.Load() {
			most.Store(v)
		}
		time.Sleep(2 * time.Millisecond)
		now.Add(-1)
	})
	var mu sync.Mutex
	var waits []time.Duration
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := client(t, Config{Insecure: []string{host}, PerHost: 3, Interval: map[string]time.Duration{host: time.Second}, Clock: func() time.Time { return at },
		Sleep: func(_ context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, d)
			return nil
		}})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Add(1)
		go func() { defer wg.Done(); get(c, fmt.Sprintf("%s/%d", s.URL, i)) }()
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d requests at a time", most.Load())
	}
	if len(waits) != 11 {
		t.Errorf("waited %v", waits)
	}
}

func TestThreat062TrustFileMissingOrEmpty(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	junk := filepath.Join(dir, "junk.pem")
	os.WriteFile(empty, nil, 0o600)
	os.WriteFile(junk, []byte("no certificate"), 0o600)
	for _, env := range []map[string]string{
		{"SSL_CERT_FILE": filepath.Join(dir, "missing")}, {"SSL_CERT_FILE": empty}, {"SSL_CERT_FILE": junk}, {"SSL_CERT_FILE": dir},
		{"SSL_CERT_DIR": filepath.Join(dir, "missing")}, {"SSL_CERT_DIR": dir},
	} {
		if _, err := New(Config{Getenv: func(k string) string { return env[k] }}); err == nil {
			t.Errorf("%v was accepted", env)
		}
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "tls") }))
	defer s.Close()
	good := filepath.Join(dir, "good.pem")
	os.WriteFile(good, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)
	host := strings.TrimPrefix(s.URL, "https://")
	env := func(k string) string { return map[string]string{"SSL_CERT_FILE": good}[k] }
	if r, err := get(client(t, Config{Private: []string{host}, Getenv: env}), s.URL); err != nil || string(r.Body) != "tls" {
		t.Error(err)
	}
	_, err := get(client(t, Config{Private: []string{host}, Roots: x509.NewCertPool(), Attempts: 1}), s.URL)
	wantKind(t, err, KindNetwork)
	_, err = get(client(t, Config{Getenv: env, Attempts: 1}), s.URL)
	wantKind(t, err, KindRefused)
}

func TestProxyFromEnvironment(t *testing.T) {
	var asked atomic.Value
	p, proxy := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String())
		fmt.Fprint(w, "by proxy")
	})
	env := func(k string) string { return map[string]string{"HTTP_PROXY": p.URL}[k] }
	c := client(t, Config{Insecure: []string{"registry.example.com"}, Getenv: env})
	r, err := get(c, "http://registry.example.com/x")
	if err != nil || string(r.Body) != "by proxy" || asked.Load() != "http://registry.example.com/x" {
		t.Errorf("%v %v via %s", err, asked.Load(), proxy)
	}
	_, err = get(c, "https://10.0.0.1/x")
	wantKind(t, err, KindRefused)
}

func TestThreat109NoSecretsInErrors(t *testing.T) {
	a, b, _ := chain(t)
	c := client(t, Config{Insecure: []string{a, b}, Attempts: 1, Credentials: []Credentials{Scopes{{Host: a, Header: Basic("joe", "hunter2")}}}})
	signed := "http://" + b + "/obj?Signature=hunter2"
	r, err := c.Get(context.Background(), Request{URL: "http://" + a + "/?to=" + url.QueryEscape(signed), MaxBytes: 100, Allow: []string{b}})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(r.URL, "hunter2") {
		t.Errorf("URL is %s", r.URL)
	}
	_, err = c.Get(context.Background(), Request{URL: "http://" + a + "/?to=" + url.QueryEscape("http://"+b+"/obj"), MaxBytes: 1, Allow: []string{b}})
	e := wantKind(t, err, KindTooLarge)
	for _, s := range []string{e.Error(), fmt.Sprintf("%v %+v %#v", c.cfg.Credentials, c.cfg.Credentials, c.cfg.Credentials)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, Basic("joe", "hunter2")) {
			t.Errorf("shows the secret: %s", s)
		}
	}
}

func TestNetrc(t *testing.T) {
	ss, err := ParseNetrc([]byte("# home\nmachine registry.example.com login joe password s3cret\nmachine other.example.com:8443\n\tlogin ann\n\tpassword pw account x\nmacdef init\necho machine evil.example.com\n\nmachine registry.example.com login second password no\ndefault login any password all\n"))
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]string{
		"https://registry.example.com/x": Basic("joe", "s3cret"), "https://REGISTRY.example.com:443/": Basic("joe", "s3cret"),
		"https://registry.example.com:8443/": "", "http://registry.example.com/": "", "https://other.example.com:8443/": Basic("ann", "pw"),
		"https://other.example.com/": "", "https://evil.example.com/": "", "https://any.example.com/": "",
		"https://registry.example.com.evil.example/": "",
	} {
		pu, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if got := ss.Authorization(pu); got != want {
			t.Errorf("%s: %q, want %q", u, got, want)
		}
	}
	for _, bad := range []string{"machine", "machine a login", "machin a", "hunter2"} {
		if _, err := ParseNetrc([]byte(bad)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	entries := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "machine m%d login a password b\n", i)
		}
		return []byte(b.String())
	}
	if _, err := ParseNetrc(entries(MaxNetrcEntries)); err != nil {
		t.Error(err)
	}
	if _, err := ParseNetrc(entries(MaxNetrcEntries + 1)); err == nil {
		t.Error("one entry too many accepted")
	}
	if _, err := ParseNetrc(bytes.Repeat([]byte("\n"), MaxNetrc+1)); err == nil {
		t.Error("one byte too many accepted")
	}
	if cr, err := LoadNetrc(filepath.Join(t.TempDir(), "none")); err != nil || cr.Authorization(&url.URL{Scheme: "https", Host: "x"}) != "" {
		t.Error(err)
	}
}

func FuzzParseNetrc(f *testing.F) {
	f.Add([]byte("machine a login b password c\nmacdef x\n\ndefault login a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ss, err := ParseNetrc(b)
		if err != nil {
			return
		}
		for _, s := range ss {
			if s.Host == "" {
				t.Error("entry without a host")
			}
		}
	})
}

func FuzzParseURL(f *testing.F) {
	f.Add("https://registry.example.com/a?b#c")
	f.Add("https://user:pw@[::1%25eth0]:443/..")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseURL(s)
		if err != nil {
			return
		}
		if u.User != nil || u.Hostname() == "" || strings.Contains(display(u, true), "@") && strings.Contains(u.Host, "@") {
			t.Errorf("%q became %v", s, u)
		}
		_, _ = allowed(u, []string{"*.example.com", "a"}), pathWithin(u, "/a")
	})
}
