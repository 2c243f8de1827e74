package sigstore

import (
	"bytes"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/headgate/headgate/trust"
)

// NewPinnedKeyVerifierUnsafe verifies bundles that a key of the set signed, by
// the key alone: there is neither a log entry nor a signed time, so that a
// stolen key can back-date. A bundle with a log entry is refused as unreachable:
// what a root could judge is not passed over. Certificates are refused.
func NewPinnedKeyVerifierUnsafe(keys *KeySet, usage string) (*Verifier, error) {
	if !keys.Has(usage) {
		return nil, misuse("no key for %q", usage)
	}
	r := &Root{material: &root.BaseTrustedMaterial{}, info: RootInfo{Digest: keys.Digest()}}
	v, err := newVerifier(InstanceKeys, r, keys, usage, false, verify.WithNoObserverTimestamps())
	if err != nil {
		return nil, err
	}
	v.pinned = true
	return v, nil
}

// NewUntimedKeyVerifierUnsafe verifies bundles that a key of the set signed and
// that a log of the root holds, where nobody signed the time: a stolen key can
// back-date. It is for keys that count whatever the time.
func NewUntimedKeyVerifierUnsafe(r *Root, keys *KeySet, usage string) (*Verifier, error) {
	if !keys.Has(usage) {
		return nil, misuse("no key for %q", usage)
	}
	v, err := newVerifier(InstanceKeys, r, keys, usage, true, verify.WithTransparencyLog(threshold), verify.WithNoObserverTimestamps())
	if err != nil {
		return nil, err
	}
	v.untimed = true
	return v, nil
}

// Content is what a bundle states, before anything vouches for it: for
// choosing keys and for display.
type Content struct {
	Certificate []byte // DER of the signing certificate; nil for a key
	Hint        string // of the key
	Payload     []byte // in-toto statement; nil for a plain signature
	Entries     int    // log entries
	Promised    bool   // a log promised to hold one, and said when
	Timestamps  [][]byte
	Signature   []byte
	// Digest is what a plain signature says that it is over.
	Digest trust.Digest
}

// Peek reads a bundle and verifies nothing. folder raises the bounds as
// Expectation.Folder does.
func Peek(b []byte, folder bool) (c Content, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = Content{}, unreachable(trust.ReasonInternal, "reading bundle: a parser panicked: %v", p)
		}
	}()
	e, err := parseBundle(b, folder)
	if err != nil {
		return Content{}, err
	}
	c = Content{Hint: e.hint, Payload: bytes.Clone(e.payload), Entries: len(e.entries)}
	for _, entry := range e.entries {
		c.Promised = c.Promised || entry.HasInclusionPromise()
	}
	if e.cert != nil {
		c.Certificate = bytes.Clone(e.cert.Raw)
	}
	if c.Timestamps, err = e.Bundle.Timestamps(); err != nil {
		return Content{}, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	if e.msg != nil {
		c.Signature = bytes.Clone(e.msg.Signature())
		if alg := digestAlgorithms[e.msg.DigestAlgorithm()]; alg != "" && len(e.msg.Digest()) > 0 {
			if c.Digest, err = digestOf(alg, e.msg.Digest()); err != nil {
				return Content{}, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
			}
		}
	} else if sc, err := e.SignatureContent(); err == nil {
		c.Signature = bytes.Clone(sc.Signature())
	}
	return c, nil
}
