// Package cmstest makes certificates, CMS signatures and RFC 3161 timestamps
// for tests, with keys made at run time. It refuses nothing: tests make what
// verifiers have to refuse.
package cmstest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // to make what verifiers refuse
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Identity is a certificate with its key.
type Identity struct {
	Cert *x509.Certificate
	Key  *rsa.PrivateKey
}

// Must returns v or panics.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var serial int64 = 1000

// Issue makes a certificate under parent, or a self-signed root for a nil
// parent. edit may change the template; bits is the RSA size.
func Issue(name string, parent *Identity, from, until time.Time, bits int, edit func(*x509.Certificate)) *Identity {
	key := Must(rsa.GenerateKey(rand.Reader, bits))
	serial++
	ski := sha1.Sum(key.N.Bytes())
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name, Organization: []string{"Test"}},
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, SubjectKeyId: ski[:],
	}
	if parent == nil {
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign
	}
	if edit != nil {
		edit(t)
	}
	signer, by := key, t
	if parent != nil {
		signer, by = parent.Key, parent.Cert
	}
	der := Must(x509.CreateCertificate(rand.Reader, t, by, key.Public(), signer))
	return &Identity{Must(x509.ParseCertificate(der)), key}
}

// CodeSigning is an edit for code signing certificates.
func CodeSigning(t *x509.Certificate) {
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
}

// TimeStamping is an edit for timestamp authorities.
func TimeStamping(t *x509.Certificate) {
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true,
		Value: Must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))})
}

// Attribute is an attribute with one value, a complete DER element.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Value []byte
}

// Signer says how a signer signs. Zero values give a sound signature.
type Signer struct {
	Identity
	SKI          bool        // name the signer by subject key identifier
	Hash         crypto.Hash // SHA-256 if zero
	Signed       []Attribute // beside content type and message digest
	Unsigned     func(signature []byte) []Attribute
	Digest       []byte                // message digest attribute, if not the right one
	ContentType  asn1.ObjectIdentifier // content type attribute, if not the right one
	NoAttributes bool
	// Counter makes a countersignature: no content type attribute.
	Counter bool
}

var hashOIDs = map[crypto.Hash]asn1.ObjectIdentifier{
	crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
}

func seq(tag cbasn1.Tag, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

// Seq is a DER SEQUENCE of the parts.
func Seq(parts ...[]byte) []byte { return seq(cbasn1.SEQUENCE, parts...) }

// Set is a DER SET of the parts, in their order.
func Set(parts ...[]byte) []byte { return seq(cbasn1.SET, parts...) }

// Octets is a DER OCTET STRING.
func Octets(b []byte) []byte { return seq(cbasn1.OCTET_STRING, b) }

// OID is a DER OBJECT IDENTIFIER.
func OID(o asn1.ObjectIdentifier) []byte { return Must(asn1.Marshal(o)) }

func context(n uint8, parts ...[]byte) []byte {
	return seq(cbasn1.Tag(n).ContextSpecific().Constructed(), parts...)
}

func attrs(as []Attribute) []byte {
	var out []byte
	for _, a := range as {
		out = append(out, Seq(OID(a.Type), Set(a.Value))...)
	}
	return out
}

// Info makes a SignerInfo over content (what is digested).
func (s Signer) Info(content []byte, contentType asn1.ObjectIdentifier) []byte {
	h := s.Hash
	if h == 0 {
		h = crypto.SHA256
	}
	digest := func(b []byte) []byte {
		d := h.New()
		d.Write(b)
		return d.Sum(nil)
	}
	alg := Seq(OID(hashOIDs[h]), []byte{5, 0})
	var sid []byte
	if s.SKI {
		sid = seq(cbasn1.Tag(0).ContextSpecific(), s.Cert.SubjectKeyId)
	} else {
		sid = Seq(s.Cert.RawIssuer, Must(asn1.Marshal(s.Cert.SerialNumber)))
	}
	var signed []byte
	toSign := content
	if !s.NoAttributes {
		var as []Attribute
		if s.ContentType != nil {
			contentType = s.ContentType
		}
		if !s.Counter || s.ContentType != nil {
			as = append(as, Attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}, OID(contentType)})
		}
		md := s.Digest
		if md == nil {
			md = digest(content)
		}
		as = append(as, Attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}, Octets(md)})
		raw := attrs(append(as, s.Signed...))
		toSign = Set(raw)
		signed = context(0, raw)
	}
	sig := Must(rsa.SignPKCS1v15(rand.Reader, s.Key, h, digest(toSign)))
	var unsigned []byte
	if s.Unsigned != nil {
		unsigned = context(1, attrs(s.Unsigned(sig)))
	}
	return Seq([]byte{2, 1, 1}, sid, alg, signed, Seq(OID(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}), []byte{5, 0}), Octets(sig), unsigned)
}

// SignedData makes a CMS SignedData around element, a complete DER element
// whose contents are signed; nil element and detached content for a detached one.
func SignedData(contentType asn1.ObjectIdentifier, element, detached []byte, certs []*x509.Certificate, signers ...Signer) []byte {
	content := detached
	var encap []byte
	if element != nil {
		in := cryptobyte.String(element)
		var body cryptobyte.String
		var tag cbasn1.Tag
		if !in.ReadAnyASN1(&body, &tag) {
			panic("no DER element")
		}
		content = body
		encap = context(0, element)
	}
	var cs, infos []byte
	for _, c := range certs {
		cs = append(cs, c.Raw...)
	}
	for _, s := range signers {
		infos = append(infos, s.Info(content, contentType)...)
	}
	sd := Seq([]byte{2, 1, 1}, Set(Seq(OID(hashOIDs[crypto.SHA256]), []byte{5, 0})), Seq(OID(contentType), encap), context(0, cs), Set(infos))
	return Seq(OID(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}), context(0, sd))
}

// SigningCertificateV2 is the attribute that names the certificate by SHA-256.
func SigningCertificateV2(c *x509.Certificate) Attribute {
	sum := sha256.Sum256(c.Raw)
	return Attribute{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}, Seq(Seq(Seq(Octets(sum[:]))))}
}

// TSTInfo is the content of a timestamp over message, as an OCTET STRING.
func TSTInfo(message []byte, at time.Time) []byte {
	sum := sha256.Sum256(message)
	return Octets(Seq([]byte{2, 1, 1}, OID(asn1.ObjectIdentifier{1, 2, 3, 4}),
		Seq(Seq(OID(hashOIDs[crypto.SHA256]), []byte{5, 0}), Octets(sum[:])), []byte{2, 1, 7},
		seq(cbasn1.GeneralizedTime, []byte(at.UTC().Format("20060102150405Z")))))
}

// Timestamp makes a timestamp token over message.
func Timestamp(tsa *Identity, certs []*x509.Certificate, message []byte, at time.Time) []byte {
	return SignedData(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}, TSTInfo(message, at), nil, certs,
		Signer{Identity: *tsa, Signed: []Attribute{SigningCertificateV2(tsa.Cert)}})
}
