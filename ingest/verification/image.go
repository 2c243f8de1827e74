package verification

import (
	"encoding/base64"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

// Annotations in which cosign before version 3 keeps what belongs to a signature.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationLog         = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// ofImage reads what cosign attached to an image, in the form that it had before
// bundles: a signed payload or envelope with its annotations. The bundle that it
// makes of them, and the artifact that this one is over, are verified like any other.
func (t *target) ofImage(d Document) (bundle []byte, signed *target, err error) {
	p := cosignParts{signature: d.Data, certificate: []byte(d.Annotations[annotationCertificate])}
	signed = t
	if d.MediaType == signing.SimpleSigningType {
		if p.signature, err = base64.StdEncoding.Strict().DecodeString(d.Annotations[annotationSignature]); err != nil || len(p.signature) == 0 {
			return nil, nil, malformed("reading the image's signature: no signature in base64")
		}
		payload := *t
		payload.artifact = BytesArtifact("signed payload", d.Data)
		signed = &payload
	} else if _, ok := envelopeIn(d.Data); !ok {
		return nil, nil, malformed("reading the image's attestation: no DSSE envelope")
	}
	if s := d.Annotations[annotationLog]; s != "" {
		if err := strictjson.Unmarshal([]byte(s), &p.log); err != nil || p.log == nil {
			return nil, nil, malformed("reading the image's signature: its log entry is malformed")
		}
	}
	if s := d.Annotations[annotationTimestamp]; s != "" {
		var ts struct {
			Response []byte `json:"SignedRFC3161Timestamp"`
		}
		if err := strictjson.Unmarshal([]byte(s), &ts); err != nil || len(ts.Response) == 0 {
			return nil, nil, malformed("reading the image's signature: its timestamp is malformed")
		}
		p.timestamp = ts.Response
	}
	bundle, err = signed.assemble(p, Document{})
	return bundle, signed, err
}

// image verifies what cosign attached to an image.
func (t *target) image(d Document, x *Expectation) (*Result, error) {
	if d.MediaType == signing.SimpleSigningType && !t.plain {
		return nil, trust.Failure(trust.ReasonWrongPredicate, "a plain signature is no attestation, one is expected")
	}
	b, signed, err := t.ofImage(d)
	if err != nil {
		return nil, err
	}
	r, err := signed.bundle(b, Document{Name: d.Name}, x)
	if err != nil || d.MediaType != signing.SimpleSigningType {
		return r, err
	}
	note, err := t.checkPayload(d.Data)
	if err != nil {
		return nil, err
	}
	if note != "" {
		r.Notes = append(r.Notes, note)
	}
	return r, nil
}

// checkPayload holds a simple signing payload, whose signature was verified,
// against the image. The name in it is the signer's: an image that was copied keeps it.
func (t *target) checkPayload(payload []byte) (note string, err error) {
	doc, err := sigstore.ParseSimpleSigning(payload)
	if err != nil {
		return "", err
	}
	d, err := trust.ParseDigest(doc.Digest)
	if err != nil {
		return "", malformed("reading the signed payload: %w", err)
	}
	have, err := t.artifact.Digests(d.Algorithm)
	if err != nil {
		return "", err
	}
	if !d.Strong() || !have.Get(d.Algorithm).Equal(d) {
		return "", trust.Failure(trust.ReasonWrongSubject, "signed for the image %s, not for %s", d, have.Strongest())
	}
	if doc.Reference != "" && doc.Reference != t.artifact.Name {
		return "signed under the name " + doc.Reference, nil
	}
	return "", nil
}

// imageType is the predicate type of what cosign attached; empty for a plain
// signature, and ok is false for what cannot be read.
func (t *target) imageType(d Document) (predicate string, ok bool) {
	if d.MediaType == signing.SimpleSigningType {
		return "", true
	}
	b, _, err := t.ofImage(d)
	if err != nil {
		return "", false
	}
	c, err := sigstore.Peek(b, false)
	if err != nil || c.Payload == nil {
		return "", false
	}
	st, err := t.parse(c.Payload)
	return st.PredicateType, err == nil
}

// ClaimedType is the predicate type that a bundle, or what cosign attached to an
// image, says to be of; empty for a plain signature. Nothing is verified: the type
// says what to ask for.
func ClaimedType(d Document) (string, error) {
	if d.MediaType != "" {
		p, ok := (&target{}).imageType(d)
		if !ok {
			return "", malformed("reading the image's attestation")
		}
		return p, nil
	}
	c, err := sigstore.Peek(d.Data, false)
	if err != nil || c.Payload == nil {
		return "", err
	}
	st, err := sigstore.ParseStatement(c.Payload)
	return st.PredicateType, err
}
