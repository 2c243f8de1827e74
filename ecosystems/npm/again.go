package npm

import (
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

// rawSignatures names the judged document of a registry signature: a signedRecord.
const rawSignatures = "registry-signatures"

// signedRecord is what a registry signature is about, with all signatures.
type signedRecord struct {
	Integrity  string      `json:"integrity"`
	Name       string      `json:"name"`
	Signatures []signature `json:"signatures"`
	Version    string      `json:"version"`
}

// VerifyAgain makes the check of a recorded registry signature anew, of the bytes
// that it judged and the keys alone. signed is the time that a log signed for the
// release, published the registry's own word; both may be zero.
func VerifyAgain(e trust.Evidence, document []byte, keys *sigstore.KeySet, signed, published time.Time) error {
	var doc signedRecord
	if err := strictjson.Unmarshal(document, &doc); err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "the judged signatures: %w", err)
	}
	switch {
	case doc.Name != e.Release.Package.FullName():
		return trust.Failure(trust.ReasonWrongName, "the registry signed for %q, the evidence is about %s", clip(doc.Name), e.Release.PURL())
	case doc.Version != e.Release.Version:
		return trust.Failure(trust.ReasonWrongVersion, "the registry signed for version %q, the evidence is about %s", clip(doc.Version), e.Release.PURL())
	}
	ds, err := trust.ParseSRI(doc.Integrity)
	if err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "integrity %q: %w", clip(doc.Integrity), err)
	}
	if e.Artifact.Digests.Compare(ds) != trust.Agree {
		return trust.Failure(trust.ReasonWrongDigest, "the registry signed for %s, the evidence is about %s", clip(doc.Integrity), e.Artifact.Digests.Strongest())
	}
	k, err := verifySignature(doc.Name, doc.Version, doc.Integrity, doc.Signatures, keys)
	if err != nil {
		return err
	}
	if e.Signer == nil || e.Signer.KeyDigest != k.key.KeyDigest() {
		return trust.Failure(trust.ReasonUntrustedSigner, "signed with the key %q, the evidence names another", clip(k.key.ID))
	}
	// Whether the registry's own word may stand for the time was for the configuration
	// of then to say, and the evidence says so.
	if o, reason, detail := k.windowed(signed, published, true); o != trust.Verified {
		return &trust.VerifyError{Outcome: o, Reason: reason, Err: errorText(detail)}
	}
	return nil
}

// errorText is a sentence as an error.
type errorText string

func (e errorText) Error() string { return string(e) }

// SubjectName judges the name of an attestation's subject: it is the package URL
// of the release.
func SubjectName(r trust.Release) func(string) error { return subjectName(r) }
