package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

// How long what was loaded is used, by the adapter's clock.
const (
	freshFor = 10 * time.Minute // a verified index
	againIn  = time.Minute      // an index that could not be loaded: thousands of packages ask for the same one
)

// MaxLag is how much older than the newest index seen one may be that a server
// behind a shared name still serves: it is not used, and no alarm either.
const MaxLag = 24 * time.Hour

// maxSwaps is how often keeping an index's date is tried against other processes.
const maxSwaps = 8

// once loads one value for all who ask for it. A cancelled load is nobody's
// result: the next one in line loads again.
type once[T any] struct {
	turn chan struct{} // holds a token while nobody loads
	val  T
	err  error
	at   time.Time
}

func newOnce[T any]() *once[T] {
	o := &once[T]{turn: make(chan struct{}, 1)}
	o.turn <- struct{}{}
	return o
}

func (o *once[T]) get(ctx context.Context, clock adapter.Clock, load func() (T, error)) (T, error) {
	var none T
	select {
	case <-o.turn:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	defer func() { o.turn <- struct{}{} }()
	now := clock()
	age := now.Sub(o.at)
	if !o.at.IsZero() && age >= 0 && (o.err == nil && age <= freshFor || o.err != nil && age <= againIn) {
		return o.val, o.err
	}
	val, err := load()
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	o.val, o.err, o.at = val, err, now
	return val, err
}

// signed is a suite whose InRelease was verified, with the Packages files that
// were read of it so far.
type signed struct {
	suite   suite
	release *release
	url     string
	raws    []trust.Raw // InRelease as it was served, or Release and its signature; and the certificate that signed it
	signer  trust.Signer
	key     trust.Digest // of the certificate that signed

	mu    sync.Mutex
	index map[string]*once[packages] // by name below the suite
}

// signed returns the verified suite.
func (a *Adapter) signed(ctx context.Context, s suite) (*signed, error) {
	key := s.distribution + " " + s.base + " " + s.name
	a.mu.Lock()
	o := a.suites[key]
	if o == nil {
		o = newOnce[*signed]()
		a.suites[key] = o
	}
	a.mu.Unlock()
	return o.get(ctx, a.clock, func() (*signed, error) { return a.load(ctx, s) })
}

// load fetches and verifies a suite's InRelease.
func (a *Adapter) load(ctx context.Context, s suite) (*signed, error) {
	base := s.base + "dists/" + s.name + "/"
	text, u, err := a.file(ctx, base+"InRelease", MaxRelease)
	if err != nil {
		return nil, err
	}
	// Older archives sign the index beside it. Which form there is decides nothing:
	// each is signed by the same keys.
	var detached []byte
	if text == nil {
		if text, u, err = a.file(ctx, base+"Release", MaxRelease); err != nil {
			return nil, err
		}
		if text == nil {
			return nil, trust.Undecidable(trust.ReasonNotFound, "%s: the archive has no such suite; releases that are not maintained any more move to another archive", base)
		}
		if detached, _, err = a.file(ctx, base+"Release.gpg", openpgp.MaxSignature); err != nil {
			return nil, err
		}
		if detached == nil {
			return nil, trust.Undecidable(trust.ReasonStripped, "%s: the archive serves an index without a signature (neither InRelease nor Release.gpg)", u)
		}
	}
	ring, err := a.keyring(ctx, s)
	if err != nil {
		return nil, err
	}
	out, err := verifyRelease(text, detached, s, ring, a.clock())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	out.url = u
	if s.at.IsZero() {
		if err := a.forward(ctx, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// file fetches a document of at most max bytes; nil if the archive has none.
func (a *Adapter) file(ctx context.Context, u string, max int64) ([]byte, string, error) {
	resp, err := a.get.Get(ctx, upstream.Request{URL: u, MaxBytes: max})
	if err != nil {
		return nil, u, err
	}
	switch resp.Status {
	case http.StatusOK:
		return resp.Body, resp.URL, nil
	case http.StatusNotFound, http.StatusGone:
		return nil, resp.URL, nil
	}
	return nil, u, trust.Undecidable(trust.ReasonNetwork, "%s: the archive answered HTTP %d", u, resp.Status)
}

// verifyRelease judges an InRelease file, or a Release file with its detached
// signature: signed by a key of the ring, of the suite that was asked for, and in
// force now, or at the time of the snapshot that was asked for.
func verifyRelease(b, detached []byte, s suite, ring ring, now time.Time) (*signed, error) {
	raws := []trust.Raw{trust.NewRaw("inrelease", "text/plain", bytes.Clone(b))}
	var v *openpgp.Verified
	var text []byte
	var err error
	if detached != nil {
		raws = []trust.Raw{trust.NewRaw("release", "text/plain", bytes.Clone(b)), trust.NewRaw("signature", "application/pgp-signature", bytes.Clone(detached))}
		v, err = openpgp.VerifyDetached(bytes.NewReader(b), detached, openpgp.Want{Keys: ring.Keyring, Now: now})
		text = b
	} else if v, err = openpgp.VerifyClearsigned(b, openpgp.Want{Keys: ring.Keyring, Now: now}); err == nil {
		text = v.Text()
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(text)
	if err != nil {
		return nil, err
	}
	if !s.at.IsZero() {
		now = s.at
	}
	if r.codename != s.name && r.suite != s.name {
		return nil, trust.Failure(trust.ReasonWrongName, "the archive serves the index of %.60q (codename %.60q) for %s", r.suite, r.codename, s.name)
	}
	if !r.validUntil.IsZero() && now.After(r.validUntil) {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "the index was valid until %s: the archive or mirror serves an old one", r.validUntil.Format(time.RFC3339))
	}
	if r.date.After(now.Add(openpgp.MaxClockSkew)) {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "the index is of %s, which is in the future; check this machine's clock", r.date.Format(time.RFC3339))
	}
	by := v.Signer()
	signer := by // somebody's key, whom a person accepts
	if !ring.chosen[by.Fingerprint] {
		signer = trust.Signer{Kind: trust.SignerRegistry, Name: s.distribution, Fingerprint: by.Fingerprint, SubkeyFingerprint: by.SubkeyFingerprint}
	}
	key := trust.NewRaw(trust.RawOpenPGPKeys, "application/pgp-keys", ring.Of(by.Fingerprint))
	return &signed{suite: s, release: r, raws: append(raws, key), signer: signer, key: key.Digest, index: map[string]*once[packages]{}}, nil
}

// forward refuses an index that is older than one seen before, and keeps the
// date of this one.
func (a *Adapter) forward(ctx context.Context, s *signed) error {
	key := "debian " + s.suite.base + " " + s.suite.name
	for range maxSwaps {
		old, err := a.state.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("reading the last index date of %s: %w", s.suite.name, err)
		}
		if old != nil {
			seen, err := time.Parse(time.RFC3339, string(old))
			if err != nil {
				return fmt.Errorf("the last index date of %s in the trust state cannot be read: %w", s.suite.name, err)
			}
			if s.release.date.Before(seen) && seen.Sub(s.release.date) <= MaxLag {
				return trust.Undecidable(trust.ReasonExpiredRoot, "the index of %s is of %s, and one of %s was served before: the mirror lags behind; run again later", s.suite.name, s.release.date.Format(time.RFC3339), seen.Format(time.RFC3339))
			}
			if s.release.date.Before(seen) {
				detail := fmt.Sprintf("the index of %s is of %s, and one of %s was served before", s.suite.name, s.release.date.Format(time.RFC3339), seen.Format(time.RFC3339))
				if err := a.state.Alarm(ctx, s.url, detail, s.raws[0].Bytes); err != nil {
					return fmt.Errorf("recording that %s: %w", detail, err)
				}
				return trust.Failure(trust.ReasonLogMisbehaviour, "%s: somebody holds back updates, or the mirror is broken", detail)
			}
			if s.release.date.Equal(seen) {
				return nil
			}
		}
		ok, err := a.state.Swap(ctx, key, old, []byte(s.release.date.Format(time.RFC3339)))
		if err != nil {
			return fmt.Errorf("keeping the index date of %s: %w", s.suite.name, err)
		}
		if ok {
			return nil
		}
	}
	return trust.Undecidable(trust.ReasonInternal, "other processes keep changing the index date of %s; run again", s.suite.name)
}

// packed are the forms of a Packages file, the quickest to read first.
var packed = []string{".gz", ".xz", ""}

// packages returns one Packages file of the suite, nil if the suite has none of
// that name.
func (a *Adapter) packages(ctx context.Context, s *signed, name string) (packages, error) {
	if !slices.ContainsFunc(packed, func(ext string) bool { _, ok := s.release.files[name+ext]; return ok }) {
		return nil, nil
	}
	s.mu.Lock()
	o := s.index[name]
	if o == nil {
		o = newOnce[packages]()
		s.index[name] = o
	}
	s.mu.Unlock()
	return o.get(ctx, a.clock, func() (packages, error) { return a.loadPackages(ctx, s, name) })
}

func (a *Adapter) loadPackages(ctx context.Context, s *signed, name string) (packages, error) {
	plain, known := s.release.files[name]
	if known && plain.size == 0 {
		return packages{}, nil // nothing in it, and some archives do not serve it
	}
	for _, ext := range packed {
		l, ok := s.release.files[name+ext]
		if !ok {
			continue
		}
		b, err := a.listedFile(ctx, s, name+ext, l)
		if err != nil {
			return nil, err
		}
		if b == nil {
			continue
		}
		limit := int64(MaxIndexUnpacked)
		if known {
			limit = min(limit, plain.size)
		}
		r, err := unpack(b, ext, limit)
		if err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", name+ext, err)
		}
		ps, err := parsePackages(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name+ext, err)
		}
		if known && !r.digest().Equal(plain.digest) {
			return nil, trust.Failure(trust.ReasonWrongDigest, "%s unpacks to %s, InRelease states %s", name+ext, r.digest(), plain.digest)
		}
		return ps, nil
	}
	return nil, trust.Undecidable(trust.ReasonNotFound, "the archive does not serve %s, which its InRelease lists", name)
}

// listedFile fetches a file that InRelease lists, by its digest where the archive
// offers that; nil if the archive does not serve this form.
func (a *Adapter) listedFile(ctx context.Context, s *signed, name string, l listed) ([]byte, error) {
	if l.size > MaxIndex {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has %d bytes, headgate reads at most %d", name, l.size, MaxIndex)
	}
	base := s.suite.base + "dists/" + s.suite.name + "/"
	urls := []string{base + name}
	if s.release.byHash {
		dir := name[:max(0, lastSlash(name)+1)]
		urls = []string{base + dir + "by-hash/SHA256/" + l.digest.Value, base + name}
	}
	for _, u := range urls {
		resp, err := a.get.Get(ctx, upstream.Request{URL: u, MaxBytes: l.size + 1, Want: l.digest})
		if err != nil {
			return nil, err
		}
		switch resp.Status {
		case http.StatusOK:
			if int64(len(resp.Body)) != l.size {
				return nil, trust.Failure(trust.ReasonWrongDigest, "%s has %d bytes, InRelease states %d", u, len(resp.Body), l.size)
			}
			return resp.Body, nil
		case http.StatusNotFound, http.StatusGone:
		default:
			return nil, trust.Undecidable(trust.ReasonNetwork, "%s: the archive answered HTTP %d", u, resp.Status)
		}
	}
	return nil, nil
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

// unpacked is the bounded, hashed output of an unpacker.
type unpacked struct {
	r    io.Reader
	left int64
	max  int64
	h    hash.Hash
}

// unpack reads b in the form of its extension. More than limit bytes of output
// are an error, whatever the input says of its size.
func unpack(b []byte, ext string, limit int64) (*unpacked, error) {
	u := &unpacked{r: bytes.NewReader(b), left: limit, max: limit, h: sha256.New()}
	var err error
	switch ext {
	case ".gz":
		u.r, err = gzip.NewReader(u.r)
	case ".xz":
		u.r, err = xz.NewReader(u.r)
	}
	if err != nil {
		return nil, malformed("%w", err)
	}
	return u, nil
}

// Read implements io.Reader.
func (u *unpacked) Read(p []byte) (int, error) {
	if u.left < 0 {
		return 0, trust.Undecidable(trust.ReasonTooLarge, "more than %d bytes when unpacked", u.max)
	}
	if int64(len(p)) > u.left+1 {
		p = p[:u.left+1]
	}
	n, err := u.r.Read(p)
	if u.left -= int64(n); u.left < 0 {
		return 0, trust.Undecidable(trust.ReasonTooLarge, "more than %d bytes when unpacked", u.max)
	}
	u.h.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = malformed("%w", err)
	}
	return n, err
}

func (u *unpacked) digest() trust.Digest { return trust.DigestOf(trust.SHA256, u.h.Sum(nil)) }
