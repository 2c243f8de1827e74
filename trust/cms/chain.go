package cms

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // ESSCertID of RFC 2634 is defined with it
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/headgate/headgate/trust"
)

var oidEKU = asn1.ObjectIdentifier{2, 5, 29, 37}

// Chain builds and checks the chain of leaf at a time, through intermediates
// to one of roots, for the extended key usage.
//
// The result starts with leaf and ends with the root. Intermediates with an RSA
// key of more than MaxRSABits are none.
func Chain(leaf *x509.Certificate, intermediates, roots []*x509.Certificate, at time.Time, usage x509.ExtKeyUsage) ([]*x509.Certificate, error) {
	if len(roots) == 0 {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "no root certificate is pinned for %q", clip(leaf.Issuer.String()))
	}
	if at.IsZero() {
		return nil, trust.Misconfigured("checking a certificate chain needs the time")
	}
	rp, ip := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range roots {
		rp.AddCert(c)
	}
	for _, c := range intermediates {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > MaxRSABits {
			continue // computing with a key of any size would let whoever made the signature say how long it takes
		}
		ip.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: rp, Intermediates: ip, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err == nil {
		return chains[0], nil
	}
	who := clip(leaf.Subject.String())
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var weak x509.InsecureAlgorithmError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the certificate chain of %q was not valid at %s: %w", who, at.UTC().Format(time.RFC3339), err)
	case errors.As(err, &weak), errors.As(err, &unknown) && weakChain(leaf, intermediates):
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the certificate chain of %q rests on SHA-1", who)
	case errors.As(err, &unknown):
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "the certificate chain of %q does not end in a pinned root", who)
	}
	return nil, trust.Failure(trust.ReasonUntrustedSigner, "the certificate chain of %q is not valid: %w", who, err)
}

// weakChain reports whether a certificate that is not self-signed is signed
// with SHA-1 or MD5, which x509 reports as an unknown authority.
func weakChain(leaf *x509.Certificate, others []*x509.Certificate) bool {
	return slices.ContainsFunc(append([]*x509.Certificate{leaf}, others...), func(c *x509.Certificate) bool {
		switch c.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
			return string(c.RawIssuer) != string(c.RawSubject)
		}
		return false
	})
}

// Signer is the identity at the start of a checked chain.
func Signer(chain []*x509.Certificate) trust.Signer {
	if len(chain) == 0 {
		return trust.Signer{}
	}
	leaf := chain[0]
	spki := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return trust.Signer{Kind: trust.SignerX509, Subject: leaf.Subject.String(), CertIssuer: leaf.Issuer.String(),
		Root: Fingerprint(chain[len(chain)-1]), KeyDigest: hex.EncodeToString(spki[:])}
}

// Fingerprint is the SHA-256 of a certificate, hex.
func Fingerprint(c *x509.Certificate) string {
	s := sha256.Sum256(c.Raw)
	return hex.EncodeToString(s[:])
}

// Superfluous returns the certificates of the SignedData that are in none of
// the chains: they prove nothing and may carry data.
func (s *SignedData) Superfluous(chains ...[]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range s.certificates {
		if !slices.ContainsFunc(chains, func(ch []*x509.Certificate) bool { return slices.ContainsFunc(ch, c.Equal) }) {
			out = append(out, c)
		}
	}
	return out
}

// CheckSigningCertificate demands that the signed attribute
// signing-certificate-v2 (or its SHA-1 predecessor) names the certificate.
func CheckSigningCertificate(sig *Signature) error {
	v, err := sig.Info.Signed(OIDSigningCertV2)
	if err != nil {
		return err
	}
	old := v == nil
	if old {
		if v, err = sig.Info.Signed(OIDSigningCert); err != nil {
			return err
		}
	}
	if v == nil {
		return malformed("the signed attributes do not name the signing certificate")
	}
	in := cryptobyte.String(v)
	var body, ids, id, hash cryptobyte.String
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() || !body.ReadASN1(&ids, cbasn1.SEQUENCE) || !ids.ReadASN1(&id, cbasn1.SEQUENCE) {
		return malformed("signing certificate attribute")
	}
	var want []byte
	if old {
		s := sha1.Sum(sig.Certificate.Raw)
		want = s[:]
	} else {
		want = sum(crypto.SHA256, sig.Certificate.Raw)
		if id.PeekASN1Tag(cbasn1.SEQUENCE) {
			var alg cryptobyte.String
			var oid asn1.ObjectIdentifier
			if !id.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
				return malformed("signing certificate attribute")
			}
			h, err := Hash(oid)
			if err != nil {
				return err
			}
			want = sum(h, sig.Certificate.Raw)
		}
	}
	if !id.ReadASN1(&hash, cbasn1.OCTET_STRING) {
		return malformed("signing certificate attribute")
	}
	if subtle.ConstantTimeCompare(hash, want) != 1 {
		return trust.Failure(trust.ReasonBadSignature, "the signature was made for another certificate than the one that came with it")
	}
	return nil
}

// Timestamp is a verified RFC 3161 timestamp.
type Timestamp struct {
	time  time.Time
	chain []*x509.Certificate
}

// Time is the time that the authority signed, UTC.
func (t *Timestamp) Time() time.Time { return t.time }

// Signer is the timestamp authority.
func (t *Timestamp) Signer() trust.Signer { return Signer(t.chain) }

// Chain is the authority's chain, root last.
func (t *Timestamp) Chain() []*x509.Certificate { return slices.Clone(t.chain) }

// VerifyTimestamp checks a timestamp token over message (for signatures: the
// signature value). roots are the pinned roots of timestamp authorities; a
// chain that the token brings along has to end in one of them. more are
// certificates beside those in the token.
//
// One that rests on SHA-1 or MD5, as those of old signatures do, is unsupported:
// it proves no time, and is no sign of tampering.
func VerifyTimestamp(token, message []byte, roots, more []*x509.Certificate) (*Timestamp, error) {
	t, err := verifyTimestamp(token, message, roots, more)
	if _, why := trust.Classify(err); err != nil && why == trust.ReasonWeakDigest {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the timestamp: %w", err)
	}
	return t, err
}

func verifyTimestamp(token, message []byte, roots, more []*x509.Certificate) (*Timestamp, error) {
	sd, err := Parse(token)
	if err != nil {
		return nil, err
	}
	if !sd.contentType.Equal(OIDTSTInfo) {
		return nil, malformed("the timestamp holds %s", sd.contentType)
	}
	if len(sd.signers) != 1 {
		return nil, malformed("the timestamp has %d signers", len(sd.signers))
	}
	content, ok := sd.Content()
	if !ok {
		return nil, malformed("the timestamp is empty")
	}
	at, err := checkTSTInfo(content, message)
	if err != nil {
		return nil, err
	}
	certs := append(sd.Certificates(), more...)
	sig, err := sd.signers[0].verify(content, OIDTSTInfo, certs, false, Hash)
	if err != nil {
		return nil, err
	}
	if err := CheckSigningCertificate(sig); err != nil {
		return nil, err
	}
	if err := checkStamping(sig.Certificate); err != nil {
		return nil, err
	}
	chain, err := Chain(sig.Certificate, certs, roots, at, x509.ExtKeyUsageTimeStamping)
	if err != nil {
		return nil, err
	}
	return &Timestamp{time: at, chain: chain}, nil
}

// checkStamping demands the extended key usage timeStamping, critical and alone
// (RFC 3161, section 2.3).
func checkStamping(c *x509.Certificate) error {
	critical := slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidEKU) && e.Critical })
	if !critical || len(c.UnknownExtKeyUsage) != 0 || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping {
		return trust.Failure(trust.ReasonUntrustedSigner, "the certificate %q is not for time stamping alone", clip(c.Subject.String()))
	}
	return nil
}

func checkTSTInfo(content, message []byte) (time.Time, error) {
	in := cryptobyte.String(content)
	// The OCTET STRING holds one TSTInfo.
	var body, imprint, alg, stated, gen cryptobyte.String
	var version int
	var policy, oid asn1.ObjectIdentifier
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() || !body.ReadASN1Integer(&version) || version != 1 ||
		!body.ReadASN1ObjectIdentifier(&policy) || !body.ReadASN1(&imprint, cbasn1.SEQUENCE) ||
		!imprint.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) || !imprint.ReadASN1(&stated, cbasn1.OCTET_STRING) || !imprint.Empty() ||
		!body.SkipASN1(cbasn1.INTEGER) || !body.ReadASN1(&gen, cbasn1.GeneralizedTime) {
		return time.Time{}, malformed("timestamp")
	}
	h, err := Hash(oid)
	if err != nil {
		return time.Time{}, err
	}
	if subtle.ConstantTimeCompare(stated, sum(h, message)) != 1 {
		return time.Time{}, trust.Failure(trust.ReasonWrongSubject, "the timestamp is for another signature")
	}
	at, err := time.Parse("20060102150405Z", string(gen)) // a fraction after the seconds is read as well
	if err != nil {
		return time.Time{}, malformed("time of the timestamp")
	}
	return at.UTC(), nil
}
