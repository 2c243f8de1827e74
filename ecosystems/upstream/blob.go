package upstream

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
)

// spool takes an artifact in: hashes it, and keeps it in memory up to
// MemoryBlob, then in an unlinked temporary file. What was hashed is what is
// read later; no path leads to it.
type spool struct {
	dir    string
	max    int64 // largest body
	memory int64 // largest body kept in memory
	buf    bytes.Buffer
	file   *os.File
	n      int64
	hashes map[trust.Algorithm]hash.Hash
}

var errTooLarge = errors.New("body beyond its bound")

// newSpool returns a spool that computes SHA-256 and alg, if that is another one
// that stands for bytes.
func newSpool(dir string, max, memory int64, alg trust.Algorithm) *spool {
	s := &spool{dir: dir, max: max, memory: memory, hashes: map[trust.Algorithm]hash.Hash{trust.SHA256: sha256.New()}}
	if h := hasher(alg); h != nil && alg != trust.SHA256 {
		s.hashes[alg] = h
	}
	return s
}

// hasher returns a hash for the algorithms that stand for bytes against an
// attacker, nil for all others.
func hasher(alg trust.Algorithm) hash.Hash {
	switch alg {
	case trust.SHA256:
		return sha256.New()
	case trust.SHA384:
		return sha512.New384()
	case trust.SHA512:
		return sha512.New()
	}
	return nil
}

// digestOf returns the digest of b, or the zero one for weak algorithms.
func digestOf(alg trust.Algorithm, b []byte) trust.Digest {
	h := hasher(alg)
	if h == nil {
		return trust.Digest{}
	}
	h.Write(b)
	return trust.DigestOf(alg, h.Sum(nil))
}

// Write implements io.Writer; the byte after the bound is an error.
func (s *spool) Write(p []byte) (int, error) {
	if s.n+int64(len(p)) > s.max {
		return 0, errTooLarge
	}
	for _, h := range s.hashes {
		h.Write(p)
	}
	s.n += int64(len(p))
	if s.file == nil && s.n <= s.memory {
		return s.buf.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "headgate-*") // O_EXCL, 0600
		if err != nil {
			return 0, err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return 0, fmt.Errorf("unlinking a temporary file: %w", err)
		}
		s.file = f
		if _, err := f.Write(s.buf.Bytes()); err != nil {
			return 0, err
		}
		s.buf = bytes.Buffer{}
	}
	return s.file.Write(p)
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// digest returns the digest of what was written, or the zero one for an
// algorithm that the spool does not compute.
func (s *spool) digest(alg trust.Algorithm) trust.Digest {
	h := s.hashes[alg]
	if h == nil {
		return trust.Digest{}
	}
	return trust.DigestOf(alg, h.Sum(nil))
}

func (s *spool) readerAt() io.ReaderAt {
	if s.file != nil {
		return s.file
	}
	return bytes.NewReader(s.buf.Bytes())
}

// shared is a verified artifact that several callers hold; the last one to
// close its blob gives the space back.
type shared struct {
	s    *spool
	name string
	mu   sync.Mutex
	refs int
}

// settle says how many callers get the artifact; none gives the space back.
func (sh *shared) settle(callers int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.refs = callers; callers == 0 {
		sh.s.close()
	}
}

// blob returns the hold of one of the callers that settle counted.
func (sh *shared) blob() *blob { return &blob{ReaderAt: sh.s.readerAt(), sh: sh} }

func (sh *shared) release() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.refs--; sh.refs == 0 {
		sh.s.close()
	}
}

// blob implements adapter.Blob.
type blob struct {
	io.ReaderAt
	sh   *shared
	once sync.Once
}

var _ adapter.Blob = (*blob)(nil)

// Size is the artifact's length in bytes.
func (b *blob) Size() int64 { return b.sh.s.n }

// Name is the last segment of the URL's path.
func (b *blob) Name() string { return b.sh.name }

// Close gives up this caller's hold.
func (b *blob) Close() error {
	b.once.Do(b.sh.release)
	return nil
}
