package verification

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

type object = map[string]any

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, format, args...)
}

// certificateOf reads one certificate in PEM, in base64 of PEM (as cosign writes
// it), or in DER.
func certificateOf(b []byte) (*x509.Certificate, error) {
	if raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(b))); err == nil {
		b = raw
	}
	if block, rest := pem.Decode(bytes.TrimSpace(b)); block != nil {
		if block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, malformed("reading the certificate: not one PEM certificate")
		}
		b = block.Bytes
	}
	c, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, malformed("reading the certificate: %w", err)
	}
	return c, nil
}

// cosignParts is a signature as cosign before version 3 keeps it: in a file
// (FormatCosign), or in the annotations of an image's signature.
type cosignParts struct {
	signature   []byte // or the whole DSSE envelope
	certificate []byte // PEM; a public key or nothing for signatures by keys
	log         *sigstore.CosignLog
	timestamp   []byte // RFC 3161
}

// fromCosign writes a bundle of cosign before version 3 as a Sigstore bundle
// v0.1, so that one verifier compares its log entry with signature, key and
// digest. Nothing is verified here.
func (t *target) fromCosign(d Document) ([]byte, error) {
	var old struct {
		Signature string              `json:"base64Signature"`
		Cert      string              `json:"cert"`
		Rekor     *sigstore.CosignLog `json:"rekorBundle"`
	}
	if err := strictjson.Unmarshal(d.Data, &old); err != nil {
		return nil, malformed("reading the cosign bundle: %w", err)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(old.Signature)
	if err != nil || len(sig) == 0 {
		return nil, malformed("reading the cosign bundle: no signature in base64")
	}
	if d.Signature != nil && !bytes.Equal(bareBytes(d.Signature), sig) {
		return nil, trust.Failure(trust.ReasonBadSignature, "the bundle holds another signature than the one that was given")
	}
	p := cosignParts{signature: sig, certificate: []byte(old.Cert), log: old.Rekor}
	if raw, err := base64.StdEncoding.DecodeString(old.Cert); err == nil {
		p.certificate = raw
	}
	return t.assemble(p, d)
}

// assemble writes the parts as a Sigstore bundle v0.1.
func (t *target) assemble(p cosignParts, d Document) ([]byte, error) {
	material := object{}
	block, _ := pem.Decode(p.certificate)
	switch {
	case block != nil && block.Type == "CERTIFICATE":
		c, err := certificateOf(p.certificate)
		if err != nil {
			return nil, err
		}
		if d.Certificate != nil {
			if given, err := certificateOf(d.Certificate); err != nil || !bytes.Equal(given.Raw, c.Raw) {
				return nil, trust.Failure(trust.ReasonUntrustedSigner, "the bundle holds another certificate than the one that was given")
			}
		}
		material["x509CertificateChain"] = object{"certificates": []any{object{"rawBytes": c.Raw}}}
	case len(bytes.TrimSpace(p.certificate)) == 0 || block != nil && block.Type == "PUBLIC KEY":
		if d.Certificate != nil {
			return nil, trust.Failure(trust.ReasonUntrustedSigner, "the bundle is signed with a key, a certificate was given")
		}
		material["publicKey"] = object{"hint": "cosign"}
	default:
		return nil, malformed("reading the cosign bundle: neither certificate nor public key")
	}
	if p.log != nil {
		entry, err := p.log.Entry()
		if err != nil {
			return nil, malformed("reading the cosign bundle: %w", err)
		}
		material["tlogEntries"] = []any{entry}
	}
	if len(p.timestamp) > 0 {
		material["timestampVerificationData"] = object{"rfc3161Timestamps": []any{object{"signedTimestamp": p.timestamp}}}
	}
	doc := object{"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1", "verificationMaterial": material}
	if env, ok := envelopeIn(p.signature); ok {
		doc["dsseEnvelope"] = env
		return marshal(doc)
	}
	ds, err := t.artifact.Digests(trust.SHA256)
	if err != nil {
		return nil, err
	}
	sum := ds.Get(trust.SHA256)
	if sum.IsZero() {
		return nil, trust.Misconfigured("a cosign bundle needs the file or its SHA-256")
	}
	doc["messageSignature"] = object{"messageDigest": object{"algorithm": "SHA2_256", "digest": sum.Bytes()}, "signature": p.signature}
	return marshal(doc)
}

// envelopeIn reports whether a "signature" of an attestation bundle is the whole envelope.
func envelopeIn(sig []byte) (json.RawMessage, bool) {
	if Sniff(sig) != FormatDSSE {
		return nil, false
	}
	return json.RawMessage(sig), true
}

func marshal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, malformed("reading the bundle: %w", err)
	}
	return b, nil
}

// fromPyPI writes an attestation object of PEP 740 as a Sigstore bundle.
func fromPyPI(data []byte) ([]byte, error) {
	if len(data) > sigstore.MaxBundle {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "attestation of %d bytes is larger than %d", len(data), sigstore.MaxBundle)
	}
	var a struct {
		Version  int `json:"version"`
		Material struct {
			Certificate []byte            `json:"certificate"`
			Entries     []json.RawMessage `json:"transparency_entries"`
			Timestamps  []json.RawMessage `json:"timestamps"`
		} `json:"verification_material"`
		Envelope struct {
			Statement []byte `json:"statement"`
			Signature []byte `json:"signature"`
		} `json:"envelope"`
	}
	if err := strictjson.Unmarshal(data, &a); err != nil {
		return nil, malformed("reading the attestation: %w", err)
	}
	if a.Version != 1 {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "attestation of version %d", a.Version)
	}
	material := object{"certificate": object{"rawBytes": a.Material.Certificate}, "tlogEntries": a.Material.Entries}
	if len(a.Material.Timestamps) > 0 {
		material["timestampVerificationData"] = object{"rfc3161Timestamps": a.Material.Timestamps}
	}
	return marshal(object{
		"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
		"dsseEnvelope": object{"payload": a.Envelope.Statement, "payloadType": sigstore.PayloadType, "signatures": []any{object{"sig": a.Envelope.Signature}}},
	})
}
