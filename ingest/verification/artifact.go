package verification

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/headgate/headgate/trust"
)

// MaxArtifact bounds a file that is verified, in bytes.
const MaxArtifact = 64 << 30

// maxInMemory bounds what formats that sign the bytes themselves make us hold.
const maxInMemory = 256 << 20

// Artifact is what a signature is said to be for: bytes that can be read again,
// or only their digests.
type Artifact struct {
	// Name is for display and for finding the file in a list of checksums.
	Name string

	open    func() (io.ReadSeekCloser, error)
	size    int64
	digests trust.Digests
}

// DigestArtifact is an artifact of which only digests are known.
func DigestArtifact(name string, ds trust.Digests) *Artifact {
	return &Artifact{Name: name, digests: slices.Clone(ds)}
}

// BytesArtifact is an artifact in memory.
func BytesArtifact(name string, b []byte) *Artifact {
	return &Artifact{Name: name, size: int64(len(b)), open: func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(b)}, nil }}
}

type nopCloser struct{ *bytes.Reader }

// Close does nothing.
func (nopCloser) Close() error { return nil }

// FileArtifact is a regular file.
func FileArtifact(path string) (*Artifact, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if fi.Size() > MaxArtifact {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has %d bytes, more than %d", path, fi.Size(), int64(MaxArtifact))
	}
	return &Artifact{Name: filepath.Base(path), size: fi.Size(), open: func() (io.ReadSeekCloser, error) { return os.Open(path) }}, nil
}

// hashes are the algorithms that bytes can be hashed with here.
var hashes = map[trust.Algorithm]func() hash.Hash{trust.SHA256: sha256.New, trust.SHA384: sha512.New384, trust.SHA512: sha512.New}

// Digests returns the digests by the algorithms that can be had: computed in one
// reading where the bytes are at hand, else those that were stated.
func (a *Artifact) Digests(algs ...trust.Algorithm) (trust.Digests, error) {
	if a.open == nil {
		return slices.Clone(a.digests), nil
	}
	var missing []trust.Algorithm
	var sums []hash.Hash
	var out []io.Writer
	for _, alg := range algs {
		if a.digests.Get(alg).IsZero() && hashes[alg] != nil && !slices.Contains(missing, alg) {
			h := hashes[alg]()
			missing, sums, out = append(missing, alg), append(sums, h), append(out, h)
		}
	}
	if len(missing) > 0 {
		r, err := a.open()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		n, err := io.Copy(io.MultiWriter(out...), io.LimitReader(r, MaxArtifact+1))
		if err != nil {
			return nil, fmt.Errorf("hashing %s: %w", a.Name, err)
		}
		if n > MaxArtifact {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has more than %d bytes", a.Name, int64(MaxArtifact))
		}
		for i, alg := range missing {
			a.digests = append(a.digests, trust.DigestOf(alg, sums[i].Sum(nil)))
		}
	}
	return slices.Clone(a.digests), nil
}

// reader opens the bytes, or says that this format needs them.
func (a *Artifact) reader(format Format) (io.ReadSeekCloser, error) {
	if a.open == nil {
		return nil, trust.Misconfigured("%s signatures are over the bytes: name the file, not its digest", format)
	}
	return a.open()
}

// bytes returns all bytes, within maxInMemory.
func (a *Artifact) bytes(format Format) ([]byte, error) {
	r, err := a.reader(format)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxInMemory+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", a.Name, err)
	}
	if len(b) > maxInMemory {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has more than %d bytes, which a %s signature needs at once", a.Name, maxInMemory, format)
	}
	return b, nil
}
