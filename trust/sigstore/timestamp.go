package sigstore

import (
	"bytes"
	"crypto/x509"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/headgate/headgate/trust"
)

// VerifyTimestamp checks an RFC 3161 response over a signature against the
// timestamp authorities of the root, and against one whose chain (leaf or
// intermediates first, root last) somebody pinned. Either may be missing, not both.
func VerifyTimestamp(response, signature []byte, r *Root, chain []*x509.Certificate) (at time.Time, err error) {
	defer func() {
		if p := recover(); p != nil {
			at, err = time.Time{}, unreachable(trust.ReasonInternal, "verifying timestamp: a parser panicked: %v", p)
		}
	}()
	var authorities []root.TimestampingAuthority
	if r != nil && r.material != nil {
		authorities = r.material.TimestampingAuthorities()
	}
	if len(chain) > 0 {
		a := &root.SigstoreTimestampingAuthority{}
		for i, c := range chain {
			switch {
			case bytes.Equal(c.RawIssuer, c.RawSubject) && c.IsCA:
				a.Root = c
			case i == 0 && !c.IsCA:
				a.Leaf = c
			default:
				a.Intermediates = append(a.Intermediates, c)
			}
		}
		if a.Root == nil {
			return time.Time{}, misuse("the timestamp authority's chain has no root")
		}
		a.ValidityPeriodStart = a.Root.NotBefore
		a.ValidityPeriodEnd = a.Root.NotAfter
		authorities = append(authorities, a)
	}
	if len(authorities) == 0 {
		return time.Time{}, unreachable(trust.ReasonExpiredRoot, "no timestamp authority is known; name a trusted root")
	}
	for _, a := range authorities {
		t, verr := a.Verify(response, signature)
		if verr == nil {
			return t.Time, nil
		}
		err = verr
	}
	return time.Time{}, failed(trust.ReasonBadSignature, "verifying timestamp: by no known timestamp authority over this signature: %w", err)
}

// everyTimestamp demands that no timestamp of the bundle which an authority of
// the root signed lies outside the signer's validity. The library takes the first
// of an authority and passes over its others.
func (v *Verifier) everyTimestamp(e *entity, signer trust.Signer) error {
	stamps, err := e.Bundle.Timestamps()
	if err != nil {
		return unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	if len(stamps) < 2 {
		return nil // the one that there is was judged
	}
	sc, err := e.SignatureContent()
	if err != nil {
		return unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	within := func(t time.Time) bool { return true }
	if e.cert != nil {
		within = func(t time.Time) bool { return !t.Before(e.cert.NotBefore) && !t.After(e.cert.NotAfter) }
	} else if k, ok := v.keys.Find(signer.KeyID, v.usage); ok {
		within = k.ValidAt
	}
	for _, raw := range stamps {
		for _, a := range v.material.TimestampingAuthorities() {
			if t, err := a.Verify(raw, sc.Signature()); err == nil && !within(t.Time) {
				return failed(trust.ReasonKeyOutsideWindow, "one of %d timestamps is of %s, outside the signer's validity", len(stamps), t.Time.UTC().Format(time.RFC3339))
			}
		}
	}
	return nil
}
