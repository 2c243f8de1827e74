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
