package upstream

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
)

// Bounds of the client; Config can tighten the times and counts, not the sizes.
const (
	MaxRedirects      = 5                      // hops that one request may be sent on
	MaxAttempts       = 4                      // tries of one request, the first included
	MaxRetryAfter     = 30 * time.Second       // longest wait that a server's Retry-After is granted
	MaxResponseHeader = 256 << 10              // bytes of a response's header
	MaxCachedBody     = 64 << 20               // larger bodies are not written to the cache
	MaxTrustFile      = 16 << 20               // bytes of one certificate file
	MaxURL            = 8 << 10                // bytes of a URL
	MemoryBlob        = 8 << 20                // larger artifacts go to an unlinked temporary file
	baseBackoff       = 250 * time.Millisecond // wait before the second attempt, jittered, doubled for each further
	defaultPerHost    = 16
	defaultConnect    = 10 * time.Second
	defaultHeader     = 30 * time.Second
	defaultOverall    = 5 * time.Minute
)

// Config is what the user's own configuration and environment say about the
// network; nothing of it may come from the scanned tree.
type Config struct {
	// Version of headgate, for the User-Agent "headgate/<version> (+<contact>)".
	Version string
	// UserAgent replaces the whole User-Agent header if it is not empty.
	UserAgent string
	// CacheDir is where answers are kept; empty for no cache.
	CacheDir string
	// TempDir is where large artifacts are spooled to unlinked files; empty for
	// the system's.
	TempDir string
	// Offline allows no request at all: only what the cache may answer is answered.
	Offline bool
	// Insecure are hosts ("host" for port 80, or "host:port") to which plain http
	// and private addresses are allowed.
	Insecure []string
	// Private are hosts ("host" for port 443, or "host:port") that may resolve to
	// private addresses: a company's own registry.
	Private []string
	// Credentials are asked in order for every request; the first answer counts.
	Credentials []Credentials
	// PerHost is how many requests one host gets at a time; 0 for 16.
	PerHost int
	// Interval is the least time between two requests to a host ("host" or
	// "host:port"); none for hosts that are not listed.
	Interval map[string]time.Duration
	// ConnectTimeout, HeaderTimeout and Timeout bound connecting (and the TLS
	// handshake), waiting for the answer's header, and one whole attempt; 0 for 10 s,
	// 30 s and 5 min.
	ConnectTimeout, HeaderTimeout, Timeout time.Duration
	// Attempts is how often a request is tried, 0 for MaxAttempts.
	Attempts int
	// Getenv reads HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and
	// SSL_CERT_DIR; nil for the process's environment.
	Getenv func(string) string
	// Roots replace the roots of the system and of SSL_CERT_FILE, if not nil.
	Roots *x509.CertPool
	// Clock is used for the age of cached answers; nil for the real one.
	Clock adapter.Clock
	// Sleep waits between attempts; nil for a real timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Waiting is told of a host that asks for fewer requests, and how long the client
	// waits; nil to drop it. It is called concurrently.
	Waiting func(host string, d time.Duration)
	// Warn is told what went wrong without changing the answer (a full disk under
	// the cache); nil to drop it. It is called concurrently.
	Warn func(msg string)
}

// roots returns the certificate authorities to trust, nil for the system's. A
// configured file that is missing or holds no certificate is an error: falling
// back to other roots would trust whom the user meant to exclude.
func (cfg *Config) roots() (*x509.CertPool, error) {
	if cfg.Roots != nil {
		return cfg.Roots, nil
	}
	file, dir := cfg.Getenv("SSL_CERT_FILE"), cfg.Getenv("SSL_CERT_DIR")
	if file == "" && dir == "" {
		return nil, nil
	}
	pool, n := certificates{pool: x509.NewCertPool(), seen: map[string]bool{}}, 0
	if file != "" {
		b, err := readBounded(file, MaxTrustFile)
		if err != nil {
			return nil, fmt.Errorf("reading SSL_CERT_FILE: %w; correct the path or unset the variable", err)
		}
		if !pool.add(b) {
			return nil, fmt.Errorf("SSL_CERT_FILE %s holds no certificate; correct the file or unset the variable", file)
		}
		n++
	}
	for _, d := range filepath.SplitList(dir) {
		entries, err := os.ReadDir(d)
		if err != nil {
			return nil, fmt.Errorf("reading SSL_CERT_DIR: %w; correct the path or unset the variable", err)
		}
		for _, e := range entries {
			b, err := readBounded(filepath.Join(d, e.Name()), MaxTrustFile)
			if err == nil && pool.add(b) {
				n++
			}
		}
	}
	if n == 0 {
		return nil, errors.New("SSL_CERT_DIR holds no certificate; correct the path or unset the variable")
	}
	return pool.pool, nil
}

// certificates is a pool that reads each certificate once: a directory of a system
// holds the same ones several times, under other names and in a bundle, and reading
// them costs more than everything else that a short check does.
type certificates struct {
	pool *x509.CertPool
	seen map[string]bool // by DER; false for what cannot be read
}

// add adds the certificates of PEM data, as x509.CertPool.AppendCertsFromPEM does,
// and reports whether there are any.
func (c certificates) add(data []byte) (some bool) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return some
		}
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		der := string(block.Bytes)
		ok, known := c.seen[der]
		if !known {
			ok = c.pool.AppendCertsFromPEM(pem.EncodeToMemory(block))
			c.seen[der] = ok
		}
		some = some || ok
	}
}

// readBounded reads a regular file of at most max bytes.
func readBounded(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if st.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, max)
	}
	return b, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
