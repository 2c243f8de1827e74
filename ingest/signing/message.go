package signing

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"golang.org/x/crypto/ssh"
)

// Message signs a message that is in memory: a Sigstore bundle with a plain
// signature over it.
func (s *Signer) Message(ctx context.Context, message []byte) ([]byte, error) {
	kp, opts, err := s.prepare(ctx, true)
	if err != nil {
		return nil, err
	}
	return s.bundle(&sign.PlainData{Data: message}, kp, opts)
}

// Certified makes an ephemeral key and gets its certificate, so that the identity
// is known before anything is signed.
func (k *Keyless) Certified(ctx context.Context) (*Key, error) {
	key, err := k.key()
	if err != nil {
		return nil, err
	}
	der, err := k.fulcio().GetCertificate(ctx, keypair{Key: key}, &sign.CertificateProviderOptions{IDToken: k.Token})
	if err != nil {
		return nil, unavailable("asking for a certificate", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, unavailable("reading the certificate", err)
	}
	return key.WithCertificates([]*x509.Certificate{cert})
}

// SSHSigner returns the key as an SSH signer, whichever form it came in.
func (k *Key) SSHSigner() (ssh.Signer, error) {
	if k.ssh != nil {
		return k.ssh, nil
	}
	s, err := ssh.NewSignerFromSigner(k.signer)
	if err != nil {
		return nil, usage("the key cannot sign as an SSH key: %w", err)
	}
	return s, nil
}

// Raw signs a message without any format around the signature: Ed25519 over the
// message, ECDSA and RSA over its hash (SHA-256; SHA-384 and SHA-512 for P-384
// and P-521).
func (k *Key) Raw(message []byte) ([]byte, error) {
	sig, _, err := keypair{Key: k}.sign(message, nil)
	return sig, err
}

// Object identifiers of CMS (RFC 5652) and its algorithms (RFC 5754).
var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}

	cmsDigests = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	}
	cmsECDSA = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA256: {1, 2, 840, 10045, 4, 3, 2}, crypto.SHA384: {1, 2, 840, 10045, 4, 3, 3}, crypto.SHA512: {1, 2, 840, 10045, 4, 3, 4},
	}
	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

type cmsAttribute struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue
}

type cmsSigner struct {
	Version int
	SID     struct {
		Issuer asn1.RawValue
		Serial asn1.RawValue
	}
	Digest     pkix.AlgorithmIdentifier
	Attributes asn1.RawValue
	Algorithm  pkix.AlgorithmIdentifier
	Signature  []byte
}

type cmsSignedData struct {
	Version      int
	Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
	Content      struct{ Type asn1.ObjectIdentifier }
	Certificates asn1.RawValue
	Signers      []cmsSigner `asn1:"set"`
}

// CMS signs a message as detached CMS SignedData with the key's certificate,
// which carries the certificates of its issuers too.
func (k *Key) CMS(message []byte) ([]byte, error) {
	if len(k.chain) == 0 {
		return nil, usage("signing with a certificate: the key has none; name it with --certificate")
	}
	_, _, hash, kind, err := k.details()
	if err != nil {
		return nil, err
	}
	if kind != "RSA" && kind != "ECDSA" {
		return nil, usage("signing with a certificate: %s keys have no place in CMS here; use RSA or ECDSA", kind)
	}
	raw := func(v any) asn1.RawValue {
		b, merr := asn1.Marshal(v)
		if merr != nil && err == nil {
			err = merr
		}
		return asn1.RawValue{FullBytes: b}
	}
	set := func(tag, class int, of ...asn1.RawValue) asn1.RawValue {
		var b []byte
		for _, v := range of {
			b = append(b, v.FullBytes...)
		}
		return raw(asn1.RawValue{Class: class, Tag: tag, IsCompound: true, Bytes: b})
	}
	h := hash.New()
	h.Write(message)
	// DER sorts a SET by its encodings: contentType is the shorter one.
	attributes := []asn1.RawValue{
		raw(cmsAttribute{oidContentType, set(asn1.TagSet, asn1.ClassUniversal, raw(oidData))}),
		raw(cmsAttribute{oidMessageDigest, set(asn1.TagSet, asn1.ClassUniversal, raw(h.Sum(nil)))}),
	}
	signed := set(asn1.TagSet, asn1.ClassUniversal, attributes...)
	if err != nil {
		return nil, fmt.Errorf("writing the CMS signature: %w", err)
	}
	sig, err := k.Raw(signed.FullBytes)
	if err != nil {
		return nil, err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: cmsDigests[hash]}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: cmsECDSA[hash]}
	if kind == "RSA" {
		algorithm = pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}
	}
	leaf := k.chain[0]
	signer := cmsSigner{Version: 1, Digest: digest, Attributes: set(0, asn1.ClassContextSpecific, attributes...), Algorithm: algorithm, Signature: sig}
	signer.SID.Issuer, signer.SID.Serial = asn1.RawValue{FullBytes: leaf.RawIssuer}, raw(leaf.SerialNumber)
	var certs []asn1.RawValue
	for _, c := range k.chain {
		certs = append(certs, asn1.RawValue{FullBytes: c.Raw})
	}
	sd := cmsSignedData{Version: 1, Digests: []pkix.AlgorithmIdentifier{digest}, Certificates: set(0, asn1.ClassContextSpecific, certs...), Signers: []cmsSigner{signer}}
	sd.Content.Type = oidData
	out := raw(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{oidSignedData, set(0, asn1.ClassContextSpecific, raw(sd))})
	if err != nil {
		return nil, fmt.Errorf("writing the CMS signature: %w", err)
	}
	return out.FullBytes, nil
}
