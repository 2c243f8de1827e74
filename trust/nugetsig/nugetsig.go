package nugetsig

import (
	"bytes"
	"crypto"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
)

// MaxOwners bounds the list of owners in a repository signature.
const MaxOwners = 256

// Role says what a signature claims to be.
type Role string

// Roles.
const (
	Author     Role = "author"
	Repository Role = "repository"
)

var (
	oidCommitment = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 16}
	oidOrigin     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 6, 1}
	oidReceipt    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 6, 2}
	oidIndex      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 84, 2, 1, 1, 1}
	oidOwners     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 84, 2, 1, 1, 2}
)

// Package is a package whose zip has one reading and whose signatures, if any,
// are sound. Nobody has vouched for the signers yet.
type Package struct {
	contentHash trust.Digest
	signatures  []*Signature
	superfluous int
}

// ContentHash is the contentHash of lock files: SHA-512 over the package
// without its signature, or over the file if it has none.
func (p *Package) ContentHash() trust.Digest { return p.contentHash }

// Signatures are the primary signature and the repository's countersignature,
// those of them that exist.
func (p *Package) Signatures() []*Signature { return slices.Clone(p.signatures) }

// Signature returns the signature of a role, or nil.
func (p *Package) Signature(r Role) *Signature {
	for _, s := range p.signatures {
		if s.role == r {
			return s
		}
	}
	return nil
}

// Superfluous is how many certificates in the signature could not be read.
func (p *Package) Superfluous() int { return p.superfluous }

// Signature is a sound signature by a certificate that came along.
type Signature struct {
	role         Role
	sig          *cms.Signature
	certs        []*x509.Certificate
	serviceIndex string
	owners       []string
}

// Role says whether it is the author's or the repository's.
func (s *Signature) Role() Role { return s.role }

// Certificate is the certificate that signed; see Verify for whether it counts.
func (s *Signature) Certificate() *x509.Certificate { return s.sig.Certificate }

// Open reads a package of size bytes, strictly, and checks its signatures
// without judging their signers.
func Open(r io.ReaderAt, size int64) (*Package, error) {
	a, err := openZip(r, size)
	if err != nil {
		return nil, err
	}
	e, der, err := a.signature()
	if err != nil {
		return nil, err
	}
	h := sha512.New()
	if e == nil {
		if _, err := io.Copy(h, io.NewSectionReader(r, 0, size)); err != nil {
			return nil, malformed("%w", err)
		}
		return &Package{contentHash: trust.DigestOf(trust.NuGetContent, h.Sum(nil))}, nil
	}
	sd, err := cms.Parse(der)
	if err != nil {
		return nil, err
	}
	content, ok := sd.Content()
	if !ok || !sd.ContentType().Equal(cms.OIDData) || len(sd.Signers()) != 1 {
		return nil, malformed("the signature must have one signer and encapsulated data")
	}
	alg, stated, err := parseContent(content)
	if err != nil {
		return nil, err
	}
	signed := alg.New()
	if err := a.writeUnsigned(io.MultiWriter(h, signed), e); err != nil {
		return nil, err
	}
	primary, err := sd.Verify(sd.Signers()[0], content)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(signed.Sum(nil), stated) != 1 {
		return nil, trust.Failure(trust.ReasonWrongDigest, "the package is not the one that was signed")
	}
	p := &Package{contentHash: trust.DigestOf(trust.NuGetContent, h.Sum(nil)), superfluous: sd.Unreadable()}
	first, err := newSignature(primary, sd)
	if err != nil {
		return nil, err
	}
	p.signatures = append(p.signatures, first)
	counters, err := sd.Countersignatures(primary)
	if err != nil {
		return nil, err
	}
	if len(counters) > 1 || (len(counters) == 1 && first.role == Repository) {
		return nil, trust.Failure(trust.ReasonDuplicate, "the package has several repository signatures")
	}
	for _, c := range counters {
		s, err := newSignature(c, sd)
		if err != nil {
			return nil, err
		}
		if s.role != Repository {
			return nil, malformed("a countersignature that is not the repository's")
		}
		p.signatures = append(p.signatures, s)
	}
	return p, nil
}

// parseContent reads the signed text: "Version:1", an empty line, one
// "OID-Hash:base64".
func parseContent(b []byte) (crypto.Hash, []byte, error) {
	text := strings.ReplaceAll(string(b), "\r\n", "\n")
	rest, ok := strings.CutPrefix(text, "Version:1\n\n")
	line, ok2 := strings.CutSuffix(rest, "\n\n")
	id, value, ok3 := strings.Cut(line, "-Hash:")
	if !ok || !ok2 || !ok3 || strings.Contains(line, "\n") {
		return 0, nil, malformed("signed content %q", clip(text))
	}
	h, ok := map[string]crypto.Hash{"2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512}[id]
	if !ok {
		return 0, nil, trust.Undecidable(trust.ReasonUnsupported, "the package is signed with the hash %q", clip(id))
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != h.Size() {
		return 0, nil, malformed("signed hash")
	}
	return h, sum, nil
}

func newSignature(sig *cms.Signature, sd *cms.SignedData) (*Signature, error) {
	s := &Signature{sig: sig, certs: sd.Certificates()}
	if sig.Certificate.PublicKeyAlgorithm != x509.RSA {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "NuGet signatures are made with RSA, this one with %s", sig.Certificate.PublicKeyAlgorithm)
	}
	if err := cms.CheckSigningCertificate(sig); err != nil {
		return nil, err
	}
	v, err := sig.Info.Signed(oidCommitment)
	if err != nil {
		return nil, err
	}
	in := cryptobyte.String(v)
	var body cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&oid) {
		return nil, malformed("the signature does not say whether it is the author's or the repository's")
	}
	switch {
	case oid.Equal(oidOrigin):
		s.role = Author
	case oid.Equal(oidReceipt):
		s.role = Repository
	default:
		return nil, trust.Undecidable(trust.ReasonUnsupported, "a signature with commitment %s", oid)
	}
	if s.role == Author {
		return s, nil
	}
	if v, err = sig.Info.Signed(oidIndex); err != nil {
		return nil, err
	}
	in = cryptobyte.String(v)
	var text cryptobyte.String
	if !in.ReadASN1(&text, cbasn1.IA5String) || !in.Empty() || !strings.HasPrefix(string(text), "https://") {
		return nil, malformed("the repository signature names no service index")
	}
	s.serviceIndex = string(text)
	if v, err = sig.Info.Signed(oidOwners); err != nil || v == nil {
		return s, err
	}
	in = cryptobyte.String(v)
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, malformed("owners of the repository signature")
	}
	for !body.Empty() {
		if len(s.owners) == MaxOwners {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the repository signature names more than %d owners", MaxOwners)
		}
		if !body.ReadASN1(&text, cbasn1.UTF8String) || len(text) == 0 {
			return nil, malformed("owners of the repository signature")
		}
		s.owners = append(s.owners, string(text))
	}
	return s, nil
}

// Want says who may vouch for a signature.
type Want struct {
	// Roots are the pinned roots of code signing certificates.
	Roots []*x509.Certificate
	// TimestampRoots are the pinned roots of timestamp authorities.
	TimestampRoots []*x509.Certificate
	// Pinned are SHA-256 fingerprints (hex) of signing certificates that count
	// without a chain, as a registry publishes them.
	Pinned []string
	// ServiceIndex is the URL that a repository signature must name.
	ServiceIndex string
	Now          time.Time
}

// Verified is a signature that somebody pinned vouches for.
type Verified struct {
	signer       trust.Signer
	role         Role
	signedAt     time.Time
	pinned       bool
	serviceIndex string
	owners       []string
}

// Signer is the certificate's subject under its root. For a certificate that
// counts by its fingerprint alone, the root is the certificate itself.
func (v *Verified) Signer() trust.Signer { return v.signer }

// Role says whether it is the author's or the repository's.
func (v *Verified) Role() Role { return v.role }

// SignedAt is the time of a verified timestamp, or zero.
func (v *Verified) SignedAt() time.Time { return v.signedAt }

// Pinned reports whether the certificate counted by its fingerprint.
func (v *Verified) Pinned() bool { return v.pinned }

// ServiceIndex is the signed URL of the repository.
func (v *Verified) ServiceIndex() string { return v.serviceIndex }

// Owners are the package's owners at that time, signed by the repository.
func (v *Verified) Owners() []string { return slices.Clone(v.owners) }

// Verify says whether a signature counts. Its chain is checked at the time of
// its timestamp, or at want.Now if it has none.
func (s *Signature) Verify(want Want) (*Verified, error) {
	if want.Now.IsZero() {
		return nil, trust.Misconfigured("verifying a NuGet signature needs the time")
	}
	if s.role == Repository {
		if want.ServiceIndex == "" {
			return nil, trust.Misconfigured("verifying a repository signature needs the repository's service index")
		}
		if s.serviceIndex != want.ServiceIndex {
			return nil, trust.Failure(trust.ReasonForeignSource, "the repository signature is by %q, not %q", clip(s.serviceIndex), want.ServiceIndex)
		}
	}
	cert := s.sig.Certificate
	v := &Verified{role: s.role, serviceIndex: s.serviceIndex, owners: s.owners}
	v.pinned = slices.ContainsFunc(want.Pinned, func(f string) bool { return strings.EqualFold(f, cms.Fingerprint(cert)) })
	token, err := s.timestamp()
	if err != nil {
		return nil, err
	}
	at := want.Now
	// A pinned certificate counts without a time; with timestamp roots at hand
	// the time is checked all the same.
	if token != nil && (!v.pinned || len(want.TimestampRoots) > 0) {
		ts, err := cms.VerifyTimestamp(token, s.sig.Info.Signature(), want.TimestampRoots, s.certs)
		switch _, why := trust.Classify(err); {
		case err != nil && v.pinned && why == trust.ReasonUnsupported:
			// A time that rests on SHA-1 is none, and the certificate counts without.
			ts = &cms.Timestamp{}
		case err != nil:
			return nil, err
		}
		if ts.Time().After(want.Now.Add(24 * time.Hour)) {
			return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the timestamp is in the future: %s", ts.Time())
		}
		at, v.signedAt = ts.Time(), ts.Time()
	}
	if v.pinned {
		if !v.signedAt.IsZero() && (at.Before(cert.NotBefore) || at.After(cert.NotAfter)) {
			return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the pinned certificate was not valid at %s", at)
		}
		v.signer = cms.Signer([]*x509.Certificate{cert})
		return v, nil
	}
	if len(want.Roots) == 0 && len(want.Pinned) > 0 {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "the certificate %q is none of the %d pinned ones", clip(cert.Subject.String()), len(want.Pinned))
	}
	chain, err := cms.Chain(cert, s.certs, want.Roots, at, x509.ExtKeyUsageCodeSigning)
	if err != nil {
		return nil, err
	}
	v.signer = cms.Signer(chain)
	return v, nil
}

func (s *Signature) timestamp() ([]byte, error) {
	var out []byte
	for _, a := range s.sig.Info.Unsigned() {
		if !a.Type.Equal(cms.OIDTimestamp) {
			continue
		}
		if out != nil || len(a.Values) != 1 {
			return nil, trust.Failure(trust.ReasonDuplicate, "the signature has several timestamps")
		}
		out = bytes.Clone(a.Values[0])
	}
	return out, nil
}
