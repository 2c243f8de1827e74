package upstream

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// maxCacheHeader bounds the first line of a cache file.
const maxCacheHeader = MaxResponseHeader + 64<<10

// cache keeps answers as files whose names are hashes of what was asked, so that
// nothing upstream says becomes a file name. A file is one line of JSON and the
// body; it is written under a temporary name and renamed, so that several
// processes see whole files or none.
type cache struct {
	dir  string
	warn func(string)
}

// cacheEntry is the first line of a cache file.
type cacheEntry struct {
	Format int         `json:"format"`
	URL    string      `json:"url"`   // what was asked; compared on read
	Final  string      `json:"final"` // where the answer came from
	Header http.Header `json:"header"`
	Stored time.Time   `json:"stored"` // when upstream last confirmed the body
	Size   int64       `json:"size"`
	SHA256 string      `json:"sha256"`
}

const cacheFormat = 1

// cacheKey hashes all that an answer depends on. The authorization is part of
// it: what one user may read is not served to another.
func cacheKey(url, accept, encoding, authorization string) string {
	h := sha256.New()
	for _, s := range []string{url, accept, encoding, authorization} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *cache) path(key string) string { return filepath.Join(c.dir, key[:2], key) }

// open returns the entry and its body, positioned at the start; the body is not
// verified yet. A file that cannot be used is as good as none.
func (c *cache) open(key, url string) (*cacheEntry, io.ReadCloser) {
	if c == nil {
		return nil, nil
	}
	f, err := os.Open(c.path(key))
	if err != nil {
		return nil, nil
	}
	br := bufio.NewReader(f)
	line, err := readLine(br, maxCacheHeader)
	var e cacheEntry
	if err != nil || json.Unmarshal(line, &e) != nil || e.Format != cacheFormat || e.URL != url || e.Size < 0 {
		f.Close()
		return nil, nil
	}
	return &e, struct {
		io.Reader
		io.Closer
	}{br, f}
}

func readLine(br *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > max {
			return nil, fmt.Errorf("line longer than %d bytes", max)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		return line, err
	}
}

// read returns entry and body whose stored digest was found right.
func (c *cache) read(key, url string, max int64) (*cacheEntry, []byte) {
	e, body := c.open(key, url)
	if e == nil {
		return nil, nil
	}
	defer body.Close()
	if e.Size > max {
		return nil, nil
	}
	b, err := io.ReadAll(io.LimitReader(body, e.Size+1))
	sum := sha256.Sum256(b)
	if err != nil || int64(len(b)) != e.Size || hex.EncodeToString(sum[:]) != e.SHA256 {
		c.drop(key)
		return nil, nil
	}
	return e, b
}

func (c *cache) drop(key string) {
	if c != nil {
		_ = os.Remove(c.path(key))
	}
}

// write stores an entry. What goes wrong is a warning: the answer itself is good.
func (c *cache) write(key string, e cacheEntry, body io.Reader) {
	if c == nil {
		return
	}
	if err := c.put(key, e, body); err != nil {
		c.warn("writing the cache: " + err.Error() + "; the answer is used all the same")
	}
}

func (c *cache) put(key string, e cacheEntry, body io.Reader) (err error) {
	e.Format = cacheFormat
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(line) > maxCacheHeader {
		return fmt.Errorf("header larger than %d bytes", maxCacheHeader)
	}
	p := c.path(key)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(p), ".tmp-*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriter(f)
	w.Write(append(line, '\n'))
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), p)
}

// keptHeader is the part of a header that belongs into the cache.
func keptHeader(h http.Header) http.Header {
	k := h.Clone()
	for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Proxy-Authenticate", "Connection", "Transfer-Encoding"} {
		k.Del(name)
	}
	return k
}
