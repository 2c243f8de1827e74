package sigstore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/headgate/headgate/trust"
)

// DefaultMaxRootAge is how old a trusted root may be that nobody set an age
// for. Sigstore announces new keys months before it uses them.
const DefaultMaxRootAge = 90 * 24 * time.Hour

// RootOptions says how a trusted root may be used.
type RootOptions struct {
	// Pinned is the SHA-256 that the bytes must have; the zero Digest pins nothing.
	Pinned trust.Digest
	// Obtained is when the bytes were last known to be current: the last verified
	// TUF refresh, or the modification time of a file. Required.
	Obtained time.Time
	// Now is the caller's clock. Required.
	Now time.Time
	// MaxAge bounds Now − Obtained; zero means DefaultMaxRootAge.
	MaxAge time.Duration
	// Rules are those of the instance that the root is of; nil for the public-good one's.
	Rules *Rules
}

// RootInfo identifies a trusted root.
type RootInfo struct {
	Digest   trust.Digest  // SHA-256 of the bytes
	Obtained time.Time     // RootOptions.Obtained
	Age      time.Duration // at RootOptions.Now
}

// Root is a trusted root that was checked; only LoadTrustedRoot makes one.
type Root struct {
	material root.TrustedMaterial
	cas      []root.CertificateAuthority
	info     RootInfo
	rules    *Rules
	raw      []byte

	once       sync.Once
	keyless    *Verifier // of NewVerifier
	keylessErr error
}

// Info identifies the root.
func (r *Root) Info() RootInfo { return r.info }

// LoadTrustedRoot reads a trusted_root.json
// (application/vnd.dev.sigstore.trustedroot+json;version=0.1).
//
// Every log, certificate and timestamp authority in it must say from when it is
// valid. A root that is pinned to another digest is failed (wrong-digest); one
// that is too old, from the future, or of unknown age is unreachable
// (expired-root), and the error names the command that mends it.
func LoadTrustedRoot(b []byte, opt RootOptions) (*Root, error) {
	if len(b) > MaxTrustedRoot {
		return nil, unreachable(trust.ReasonTooLarge, "trusted root of %d bytes is larger than %d", len(b), MaxTrustedRoot)
	}
	sum := sha256.Sum256(b)
	info := RootInfo{Digest: trust.DigestOf(trust.SHA256, sum[:]), Obtained: opt.Obtained}
	if !opt.Pinned.IsZero() && !opt.Pinned.Equal(info.Digest) {
		return nil, failed(trust.ReasonWrongDigest, "trusted root has digest %s, pinned is %s", info.Digest, opt.Pinned)
	}
	if opt.Now.IsZero() || opt.Obtained.IsZero() {
		return nil, unreachable(trust.ReasonExpiredRoot, "trusted root of unknown age; run headgate db update")
	}
	maxAge := opt.MaxAge
	if maxAge <= 0 {
		maxAge = DefaultMaxRootAge
	}
	info.Age = opt.Now.Sub(opt.Obtained)
	if info.Age > maxAge {
		return nil, unreachable(trust.ReasonExpiredRoot, "trusted root was last known to be current on %s, more than %s ago; run headgate db update",
			opt.Obtained.UTC().Format(time.DateOnly), maxAge)
	}
	if info.Age < -24*time.Hour {
		return nil, unreachable(trust.ReasonExpiredRoot, "trusted root is from %s, in the future of this machine's clock", opt.Obtained.UTC().Format(time.DateOnly))
	}
	if _, err := CheckJSON(b); err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading trusted root: %w", err)
	}
	pb, err := root.NewTrustedRootProtobuf(b)
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading trusted root: %w", err)
	}
	for _, l := range append(slices.Clone(pb.GetTlogs()), pb.GetCtlogs()...) {
		if l.GetPublicKey().GetValidFor().GetStart() == nil {
			return nil, unreachable(trust.ReasonMalformed, "reading trusted root: log %q does not say from when it is valid", clip(l.GetBaseUrl()))
		}
	}
	for _, ca := range append(slices.Clone(pb.GetCertificateAuthorities()), pb.GetTimestampAuthorities()...) {
		if ca.GetValidFor().GetStart() == nil {
			return nil, unreachable(trust.ReasonMalformed, "reading trusted root: authority %q does not say from when it is valid", clip(ca.GetUri()))
		}
	}
	tr, err := root.NewTrustedRootFromProtobuf(pb)
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading trusted root: %w", err)
	}
	r := &Root{info: info, raw: bytes.Clone(b)}
	for _, ca := range tr.FulcioCertificateAuthorities() {
		f, ok := ca.(*root.FulcioCertificateAuthority)
		if !ok || f.Root == nil {
			return nil, unreachable(trust.ReasonMalformed, "reading trusted root: certificate authority without root certificate")
		}
		for _, c := range append([]*x509.Certificate{f.Root}, f.Intermediates...) {
			if !c.IsCA {
				return nil, unreachable(trust.ReasonMalformed, "reading trusted root: %q is no certificate authority", c.Subject)
			}
		}
		r.cas = append(r.cas, &authority{ca: f})
	}
	r.material = &material{TrustedMaterial: tr, cas: r.cas}
	if opt.Rules != nil {
		u := *opt.Rules
		if err := u.check(r.material); err != nil {
			return nil, err
		}
		r.rules = &u
	}
	return r, nil
}

// material is a trusted root whose certificate authorities verify their own
// intermediates once.
type material struct {
	root.TrustedMaterial
	cas []root.CertificateAuthority
}

// FulcioCertificateAuthorities returns the authorities that remember their
// verified intermediates.
func (m *material) FulcioCertificateAuthorities() []root.CertificateAuthority { return m.cas }

// authority is a Fulcio certificate authority. The signature of the root on
// the intermediate is the same for every bundle: it is checked once, and each
// verification checks the validity times of all certificates at its own time.
type authority struct {
	ca    *root.FulcioCertificateAuthority
	once  sync.Once
	chain []*x509.Certificate // intermediate and root, if there is exactly one intermediate and the root signed it
}

var errNotYet = errors.New("outside the validity of the certificate authority")

// Verify returns the chain of cert at the time t.
func (a *authority) Verify(cert *x509.Certificate, t time.Time) ([][]*x509.Certificate, error) {
	a.once.Do(func() {
		if len(a.ca.Intermediates) != 1 {
			return
		}
		inter := a.ca.Intermediates[0]
		roots := x509.NewCertPool()
		roots.AddCert(a.ca.Root)
		_, err := inter.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: inter.NotBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
		// Name constraints and path lengths above the intermediate would be lost on the
		// short way; no certificate of Sigstore has any, and one that had goes the long way.
		if err == nil && !constrained(inter) && !constrained(a.ca.Root) {
			a.chain = []*x509.Certificate{inter, a.ca.Root}
		}
	})
	if a.chain == nil {
		return a.ca.Verify(cert, t)
	}
	if t.Before(a.ca.ValidityPeriodStart) || (!a.ca.ValidityPeriodEnd.IsZero() && t.After(a.ca.ValidityPeriodEnd)) {
		return nil, errNotYet
	}
	for _, c := range a.chain {
		if t.Before(c.NotBefore) || t.After(c.NotAfter) {
			return nil, fmt.Errorf("%q is not valid at %s", c.Subject, t.UTC().Format(time.RFC3339))
		}
	}
	anchor := x509.NewCertPool()
	anchor.AddCert(a.chain[0])
	chains, err := cert.Verify(x509.VerifyOptions{Roots: anchor, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}})
	if err != nil {
		return nil, err
	}
	for i := range chains {
		chains[i] = append(chains[i], a.chain[1])
	}
	return chains, nil
}

func constrained(c *x509.Certificate) bool {
	return len(c.PermittedDNSDomains)+len(c.ExcludedDNSDomains)+len(c.PermittedURIDomains)+len(c.ExcludedURIDomains)+
		len(c.PermittedEmailAddresses)+len(c.ExcludedEmailAddresses)+len(c.PermittedIPRanges)+len(c.ExcludedIPRanges) > 0
}
