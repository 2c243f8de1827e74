package cms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha1"   //nolint:gosec // linked for VerifyUnsafeSHA1
	_ "crypto/sha256" // linked for crypto.Hash
	_ "crypto/sha512" // linked for crypto.Hash
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxSignedData   = 16 << 20 // bytes
	MaxCertificates = 64       // in one SignedData
	MaxSigners      = 8        // in one SignedData, and countersignatures of one signer
	MaxAttributes   = 64       // signed, and as many unsigned, of one signer
	MinRSABits      = 2048
	MaxRSABits      = 16384
)

// Object identifiers that callers need.
var (
	OIDData             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDSignedData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	OIDTSTInfo          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	OIDContentType      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	OIDMessageDigest    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	OIDSigningTime      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	OIDCounterSignature = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	OIDTimestamp        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 14}
	OIDSigningCert      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	OIDSigningCertV2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

var (
	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSASHA1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}
	oidECSHA1  = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
	oidRSA256  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidRSA384  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	oidRSA512  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
	oidEC      = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidEC256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidEC384   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidEC512   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidSHA256  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	oidSHA1    = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidMD5     = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}
	tagContext = func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific() }
)

// Hash returns the hash of a digest algorithm's object identifier. MD5 and
// SHA-1 are a failure, others undecidable.
func Hash(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	switch {
	case oid.Equal(oidSHA256):
		return crypto.SHA256, nil
	case oid.Equal(oidSHA384):
		return crypto.SHA384, nil
	case oid.Equal(oidSHA512):
		return crypto.SHA512, nil
	case oid.Equal(oidSHA1), oid.Equal(oidMD5):
		return 0, trust.Failure(trust.ReasonWeakDigest, "the signature rests on MD5 or SHA-1")
	}
	return 0, trust.Undecidable(trust.ReasonUnsupported, "the digest algorithm %s is not supported", oid)
}

// Attribute is an attribute of a signer. Values are complete DER elements.
type Attribute struct {
	Type   asn1.ObjectIdentifier
	Values [][]byte
	Size   int // bytes of the whole attribute
}

// SignedData is a parsed signature. Nothing in it is verified.
type SignedData struct {
	contentType  asn1.ObjectIdentifier
	content      []byte // inside the [0], one DER element; nil if detached
	certificates []*x509.Certificate
	unreadable   int // certificates that could not be parsed
	signers      []*SignerInfo
}

// ContentType is the type of what was signed.
func (s *SignedData) ContentType() asn1.ObjectIdentifier { return s.contentType }

// Content is the encapsulated content: the octets of an OCTET STRING, else the
// contents of its element (what is digested), and whether there is any.
func (s *SignedData) Content() ([]byte, bool) {
	if s.content == nil {
		return nil, false
	}
	in := cryptobyte.String(s.content)
	var body cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1(&body, &tag) {
		return nil, false
	}
	return body, true
}

// Certificates are the certificates that came along.
func (s *SignedData) Certificates() []*x509.Certificate { return slices.Clone(s.certificates) }

// Unreadable is the number of certificates that could not be parsed.
func (s *SignedData) Unreadable() int { return s.unreadable }

// Signers are the signers as stated.
func (s *SignedData) Signers() []*SignerInfo { return slices.Clone(s.signers) }

// SignerInfo is one signer of a SignedData, or a countersigner.
type SignerInfo struct {
	issuer    []byte
	serial    *big.Int
	ski       []byte
	digest    asn1.ObjectIdentifier
	signature asn1.ObjectIdentifier
	signed    []Attribute
	signedRaw []byte // contents of the SET
	hasSigned bool
	unsigned  []Attribute
	value     []byte
}

// Signature is the signature value, which timestamps and countersignatures are over.
func (s *SignerInfo) Signature() []byte { return bytes.Clone(s.value) }

// Signed returns the value of a signed attribute. It is only as good as the
// signature over it. An attribute that is there twice or has not one value is
// malformed; one that is missing is nil.
func (s *SignerInfo) Signed(oid asn1.ObjectIdentifier) ([]byte, error) { return single(s.signed, oid) }

// Unsigned are all unsigned attributes, with their sizes.
func (s *SignerInfo) Unsigned() []Attribute { return slices.Clone(s.unsigned) }

func single(attrs []Attribute, oid asn1.ObjectIdentifier) ([]byte, error) {
	var out []byte
	for _, a := range attrs {
		if !a.Type.Equal(oid) {
			continue
		}
		if out != nil || len(a.Values) != 1 {
			return nil, malformed("attribute %s has not exactly one value", oid)
		}
		out = a.Values[0]
	}
	return out, nil
}

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, "reading CMS: "+format, args...)
}

// Parse reads one SignedData in DER that makes up all of der.
func Parse(der []byte) (*SignedData, error) {
	s, rest, err := ParsePrefix(der)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, malformed("%d bytes behind the SignedData", len(rest))
	}
	return s, nil
}

// ParsePrefix reads the SignedData that der starts with and returns the bytes
// behind it, which no signature covers.
func ParsePrefix(der []byte) (sd *SignedData, rest []byte, err error) {
	if len(der) > MaxSignedData {
		return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the CMS signature has %d bytes, more than %d", len(der), MaxSignedData)
	}
	in := cryptobyte.String(der)
	var info, outer, body cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&oid) {
		return nil, nil, malformed("no ContentInfo in DER")
	}
	if !oid.Equal(OIDSignedData) {
		return nil, nil, malformed("content of type %s is no SignedData", oid)
	}
	if !info.ReadASN1(&outer, tagContext(0).Constructed()) || !info.Empty() || !outer.ReadASN1(&body, cbasn1.SEQUENCE) || !outer.Empty() {
		return nil, nil, malformed("no SignedData")
	}
	s := &SignedData{}
	var version int
	var digests, encap, content, certs, signers cryptobyte.String
	var hasContent, hasCerts bool
	if !body.ReadASN1Integer(&version) || version < 1 || version > 5 || !body.ReadASN1(&digests, cbasn1.SET) ||
		!body.ReadASN1(&encap, cbasn1.SEQUENCE) || !encap.ReadASN1ObjectIdentifier(&s.contentType) ||
		!encap.ReadOptionalASN1(&content, &hasContent, tagContext(0).Constructed()) || !encap.Empty() ||
		!body.ReadOptionalASN1(&certs, &hasCerts, tagContext(0).Constructed()) || !body.SkipOptionalASN1(tagContext(1).Constructed()) ||
		!body.ReadASN1(&signers, cbasn1.SET) || !body.Empty() {
		return nil, nil, malformed("SignedData")
	}
	if hasContent {
		var el cryptobyte.String
		var tag cbasn1.Tag
		if !content.ReadAnyASN1Element(&el, &tag) || !content.Empty() {
			return nil, nil, malformed("encapsulated content")
		}
		s.content = bytes.Clone(el)
	}
	for n := 0; !certs.Empty(); n++ {
		var el cryptobyte.String
		var tag cbasn1.Tag
		if n == MaxCertificates {
			return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the CMS signature has more than %d certificates", MaxCertificates)
		}
		if !certs.ReadAnyASN1Element(&el, &tag) {
			return nil, nil, malformed("certificates")
		}
		c, err := x509.ParseCertificate(el)
		if tag != cbasn1.SEQUENCE || err != nil {
			s.unreadable++
			continue
		}
		s.certificates = append(s.certificates, c)
	}
	for !signers.Empty() {
		if len(s.signers) == MaxSigners {
			return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the CMS signature has more than %d signers", MaxSigners)
		}
		var el cryptobyte.String
		if !signers.ReadASN1Element(&el, cbasn1.SEQUENCE) {
			return nil, nil, malformed("signers")
		}
		si, err := parseSigner(el)
		if err != nil {
			return nil, nil, err
		}
		s.signers = append(s.signers, si)
	}
	if len(s.signers) == 0 {
		return nil, nil, malformed("no signers")
	}
	return s, in, nil
}

func parseSigner(el cryptobyte.String) (*SignerInfo, error) {
	var body, sid, digest, signed, sigalg, unsigned cryptobyte.String
	s := &SignerInfo{}
	var version int
	if !el.ReadASN1(&body, cbasn1.SEQUENCE) || !el.Empty() || !body.ReadASN1Integer(&version) {
		return nil, malformed("signer")
	}
	switch {
	case body.PeekASN1Tag(cbasn1.SEQUENCE):
		s.serial = new(big.Int)
		var issuer cryptobyte.String
		if !body.ReadASN1(&sid, cbasn1.SEQUENCE) || !sid.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !sid.ReadASN1Integer(s.serial) || !sid.Empty() {
			return nil, malformed("issuer and serial number of a signer")
		}
		s.issuer = bytes.Clone(issuer)
	case body.PeekASN1Tag(tagContext(0)):
		var ski cryptobyte.String
		if !body.ReadASN1(&ski, tagContext(0)) || len(ski) == 0 {
			return nil, malformed("subject key identifier of a signer")
		}
		s.ski = bytes.Clone(ski)
	default:
		return nil, malformed("a signer without identifier")
	}
	if !body.ReadASN1(&digest, cbasn1.SEQUENCE) || !digest.ReadASN1ObjectIdentifier(&s.digest) ||
		!body.ReadOptionalASN1(&signed, &s.hasSigned, tagContext(0).Constructed()) ||
		!body.ReadASN1(&sigalg, cbasn1.SEQUENCE) || !sigalg.ReadASN1ObjectIdentifier(&s.signature) {
		return nil, malformed("algorithms of a signer")
	}
	var value cryptobyte.String
	if !body.ReadASN1(&value, cbasn1.OCTET_STRING) {
		return nil, malformed("signature value")
	}
	s.value = bytes.Clone(value)
	var hasUnsigned bool
	if !body.ReadOptionalASN1(&unsigned, &hasUnsigned, tagContext(1).Constructed()) || !body.Empty() {
		return nil, malformed("unsigned attributes")
	}
	s.signedRaw = bytes.Clone(signed)
	var err error
	if s.signed, err = attributes(signed); err != nil {
		return nil, err
	}
	s.unsigned, err = attributes(unsigned)
	return s, err
}

func attributes(in cryptobyte.String) ([]Attribute, error) {
	var out []Attribute
	for !in.Empty() {
		if len(out) == MaxAttributes {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "a CMS signer has more than %d attributes", MaxAttributes)
		}
		var el, body, set cryptobyte.String
		var a Attribute
		if !in.ReadASN1Element(&el, cbasn1.SEQUENCE) {
			return nil, malformed("attributes")
		}
		a.Size = len(el)
		if !el.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&a.Type) || !body.ReadASN1(&set, cbasn1.SET) || !body.Empty() {
			return nil, malformed("attributes")
		}
		for !set.Empty() {
			var v cryptobyte.String
			var tag cbasn1.Tag
			if !set.ReadAnyASN1Element(&v, &tag) {
				return nil, malformed("attribute %s", a.Type)
			}
			a.Values = append(a.Values, bytes.Clone(v))
		}
		out = append(out, a)
	}
	return out, nil
}

// Certificate returns the certificate that the signer names.
func (s *SignerInfo) certificate(certs []*x509.Certificate) (*x509.Certificate, error) {
	for _, c := range certs {
		if s.ski != nil {
			if bytes.Equal(c.SubjectKeyId, s.ski) {
				return c, nil
			}
			continue
		}
		if bytes.Equal(c.RawIssuer, s.issuer) && c.SerialNumber.Cmp(s.serial) == 0 {
			return c, nil
		}
	}
	return nil, trust.Undecidable(trust.ReasonUnknownKey, "the signer's certificate does not come with the CMS signature")
}

// Signature is a signer whose signature over the content is mathematically
// sound. Who that is says only a chain: see Chain.
type Signature struct {
	Info        *SignerInfo
	Certificate *x509.Certificate
	Hash        crypto.Hash
}

// Verify checks the signature of one signer over content, which is the
// encapsulated content or, for detached signatures, what was signed.
func (s *SignedData) Verify(signer *SignerInfo, content []byte) (*Signature, error) {
	return signer.verify(content, s.contentType, s.certificates, false, Hash)
}

// VerifyUnsafeSHA1 is Verify that lets SHA-1 pass, so that a caller can tell an
// old signature from a broken one. Signature.Hash says whether it was SHA-1; by
// itself such a signature proves nothing.
func (s *SignedData) VerifyUnsafeSHA1(signer *SignerInfo, content []byte) (*Signature, error) {
	return signer.verify(content, s.contentType, s.certificates, false, HashUnsafeSHA1)
}

// HashUnsafeSHA1 is Hash that knows SHA-1 as well.
func HashUnsafeSHA1(oid asn1.ObjectIdentifier) (crypto.Hash, error) {
	if oid.Equal(oidSHA1) {
		return crypto.SHA1, nil
	}
	return Hash(oid)
}

// Countersignatures checks all countersignatures of a verified signature, in
// their order. certs are the certificates of the SignedData.
func (s *SignedData) Countersignatures(parent *Signature) ([]*Signature, error) {
	var out []*Signature
	for _, a := range parent.Info.unsigned {
		if !a.Type.Equal(OIDCounterSignature) {
			continue
		}
		for _, v := range a.Values {
			if len(out) == MaxSigners {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "more than %d countersignatures", MaxSigners)
			}
			si, err := parseSigner(v)
			if err != nil {
				return nil, err
			}
			sig, err := si.verify(parent.Info.value, OIDData, s.certificates, true, Hash)
			if err != nil {
				return nil, fmt.Errorf("countersignature: %w", err)
			}
			out = append(out, sig)
		}
	}
	return out, nil
}

func (s *SignerInfo) verify(content []byte, contentType asn1.ObjectIdentifier, certs []*x509.Certificate, counter bool, hash func(asn1.ObjectIdentifier) (crypto.Hash, error)) (*Signature, error) {
	cert, err := s.certificate(certs)
	if err != nil {
		return nil, err
	}
	h, err := hash(s.digest)
	if err != nil {
		return nil, err
	}
	signed := content
	if s.hasSigned {
		if err := s.checkAttributes(h, content, contentType, counter); err != nil {
			return nil, err
		}
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(s.signedRaw) })
		if signed, err = b.Bytes(); err != nil {
			return nil, malformed("signed attributes: %w", err)
		}
	} else if counter || !contentType.Equal(OIDData) {
		return nil, malformed("a signature over %s without signed attributes", contentType)
	}
	if err := checkSignature(cert, s.signature, h, sum(h, signed), s.value); err != nil {
		return nil, err
	}
	return &Signature{Info: s, Certificate: cert, Hash: h}, nil
}

func (s *SignerInfo) checkAttributes(h crypto.Hash, content []byte, contentType asn1.ObjectIdentifier, counter bool) error {
	ct, err := single(s.signed, OIDContentType)
	if err != nil {
		return err
	}
	if ct != nil || !counter {
		var oid asn1.ObjectIdentifier
		in := cryptobyte.String(ct)
		if !in.ReadASN1ObjectIdentifier(&oid) || !in.Empty() {
			return malformed("no content type among the signed attributes")
		}
		if !oid.Equal(contentType) {
			return trust.Failure(trust.ReasonBadSignature, "signed as content of type %s, presented as %s", oid, contentType)
		}
	}
	md, err := single(s.signed, OIDMessageDigest)
	if err != nil {
		return err
	}
	var stated cryptobyte.String
	in := cryptobyte.String(md)
	if !in.ReadASN1(&stated, cbasn1.OCTET_STRING) || !in.Empty() {
		return malformed("no message digest among the signed attributes")
	}
	if subtle.ConstantTimeCompare(stated, sum(h, content)) != 1 {
		return trust.Failure(trust.ReasonWrongDigest, "the signed content has another digest than the one that was signed")
	}
	return nil
}

func sum(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

func checkSignature(cert *x509.Certificate, alg asn1.ObjectIdentifier, h crypto.Hash, digest, sig []byte) error {
	want := map[crypto.Hash][2]asn1.ObjectIdentifier{
		crypto.SHA256: {oidRSA256, oidEC256}, crypto.SHA384: {oidRSA384, oidEC384}, crypto.SHA512: {oidRSA512, oidEC512}, crypto.SHA1: {oidRSASHA1, oidECSHA1},
	}[h]
	bad := trust.Failure(trust.ReasonBadSignature, "the CMS signature by %q does not verify", clip(cert.Subject.String()))
	switch pub := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < MinRSABits || n > MaxRSABits {
			return trust.Undecidable(trust.ReasonUnsupported, "the RSA key of %q has %d bits, which is not %d to %d", clip(cert.Subject.String()), n, MinRSABits, MaxRSABits)
		}
		if !alg.Equal(oidRSA) && !alg.Equal(want[0]) {
			return trust.Undecidable(trust.ReasonUnsupported, "the signature algorithm %s is not supported", alg)
		}
		if rsa.VerifyPKCS1v15(pub, h, digest, sig) != nil {
			return bad
		}
	case *ecdsa.PublicKey:
		if !alg.Equal(oidEC) && !alg.Equal(want[1]) {
			return trust.Undecidable(trust.ReasonUnsupported, "the signature algorithm %s is not supported", alg)
		}
		if !ecdsa.VerifyASN1(pub, digest, sig) {
			return bad
		}
	default:
		return trust.Undecidable(trust.ReasonUnsupported, "keys of type %T are not supported", pub)
	}
	return nil
}

func clip(s string) string {
	const max = 120
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
