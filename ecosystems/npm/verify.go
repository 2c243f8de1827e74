package npm

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// registryKey is a registry signature that verified.
type registryKey struct {
	key     sigstore.Key
	retired bool // the key's window has an end
}

// verifySignature checks the registry's signatures over
// "name@version:integrity" with pinned keys. Exactly one key decides: the
// first signature of a known key. Several signatures by known keys must all verify.
//
// An unknown key id is unreachable (unknown-key), never tampering: registries
// rotate keys.
func verifySignature(name, ver, integrity string, sigs []signature, keys *sigstore.KeySet) (registryKey, error) {
	if len(sigs) > maxSignatures {
		return registryKey{}, trust.Undecidable(trust.ReasonTooLarge, "%d registry signatures are more than %d", len(sigs), maxSignatures)
	}
	if integrity == "" {
		return registryKey{}, trust.Failure(trust.ReasonWeakDigest, "the registry states no integrity that its signature could cover")
	}
	sum := sha256.Sum256([]byte(name + "@" + ver + ":" + integrity))
	var found []registryKey
	unknown := ""
	for _, s := range sigs {
		key, ok := keys.Find(s.KeyID, sigstore.UsageSignatures)
		if !ok {
			unknown = s.KeyID
			continue
		}
		pub, ok := key.Public.(*ecdsa.PublicKey)
		if !ok {
			return registryKey{}, trust.Undecidable(trust.ReasonUnsupported, "key %q is of an unknown kind", clip(s.KeyID))
		}
		raw, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			return registryKey{}, trust.Undecidable(trust.ReasonMalformed, "registry signature is not base64")
		}
		if !ecdsa.VerifyASN1(pub, sum[:], raw) {
			return registryKey{}, trust.Failure(trust.ReasonBadSignature, "the registry's signature does not cover %s@%s with integrity %s", clip(name), clip(ver), clip(integrity))
		}
		found = append(found, registryKey{key: key, retired: !key.End.IsZero()})
	}
	if len(found) == 0 {
		return registryKey{}, trust.Undecidable(trust.ReasonUnknownKey, "signed with the key %q, which is not among the pinned keys; run headgate db update", clip(unknown))
	}
	// A key whose window is open needs no proof of time.
	for _, f := range found {
		if !f.retired {
			return f, nil
		}
	}
	return found[0], nil
}

// attestation is one element of the attestation endpoint's document.
type attestation struct {
	outer  string // predicateType beside the bundle: unsigned
	inner  string // predicateType in the payload, not yet verified
	bundle json.RawMessage
}

// parseAttestations reads the endpoint's document. It verifies nothing: the
// inner type only routes the bundle to its verification, which demands the type.
func parseAttestations(b []byte) ([]attestation, error) {
	n, err := sigstore.CheckJSON(b, "attestations")
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading attestations: %w", err)
	}
	if n["attestations"] > MaxAttestations {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%d attestations are more than %d", n["attestations"], MaxAttestations)
	}
	var doc struct {
		Attestations []struct {
			PredicateType string          `json:"predicateType"`
			Bundle        json.RawMessage `json:"bundle"`
		} `json:"attestations"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading attestations: %w", err)
	}
	var out []attestation
	for i, a := range doc.Attestations {
		var env struct {
			DSSE *struct {
				Payload []byte `json:"payload"`
			} `json:"dsseEnvelope"`
		}
		if err := json.Unmarshal(a.Bundle, &env); err != nil || env.DSSE == nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "reading attestations: attestation %d holds no envelope", i)
		}
		st, err := sigstore.ParseStatement(env.DSSE.Payload)
		if err != nil {
			return nil, fmt.Errorf("reading attestations: attestation %d: %w", i, err)
		}
		out = append(out, attestation{outer: a.PredicateType, inner: st.PredicateType, bundle: a.Bundle})
	}
	return out, nil
}

// subjectName demands that a subject is the package URL of the release, parsed:
// npm writes "%40" for the "@" of scopes, others do not.
func subjectName(r trust.Release) func(string) error {
	return func(name string) error {
		got, err := trust.ParseRelease(name)
		if err != nil {
			return sigstore.NameError(trust.ReasonWrongSubject, "attestation is for %q, which is no package URL: %w", clip(name), err)
		}
		if got.Variant != "" || got.Subpath != "" || got.Package != plain(r.Package) {
			return sigstore.NameError(trust.ReasonWrongName, "attestation is for %s, expected %s", clip(name), r.PURL())
		}
		if got.Version != r.Version {
			return sigstore.NameError(trust.ReasonWrongVersion, "attestation is for version %s, expected %s", clip(got.Version), r.Version)
		}
		return nil
	}
}

// plain is the package without qualifiers: attestations name no registry.
func plain(p trust.Package) trust.Package {
	p.Qualifiers = ""
	return p
}

// checkPublish compares the predicate of a verified publish attestation.
func checkPublish(st sigstore.Statement, r trust.Release, registry string) error {
	var p map[string]json.RawMessage
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "publish attestation without predicate")
	}
	switch name, ver, reg := text(p["name"]), text(p["version"]), text(p["registry"]); {
	case name != r.Package.FullName():
		return trust.Failure(trust.ReasonWrongName, "publish attestation is for %q, expected %s", clip(name), r.Package.FullName())
	case ver != r.Version:
		return trust.Failure(trust.ReasonWrongVersion, "publish attestation is for version %q, expected %s", clip(ver), r.Version)
	case reg+"/" != registry && reg != registry:
		return trust.Failure(trust.ReasonWrongPredicate, "publish attestation is of the registry %q, expected %s", clip(reg), registry)
	}
	return nil
}

// windowed judges a retired key. signed is a time that a log signed for this
// release, published the registry's unsigned word.
func (k registryKey) windowed(signed, published time.Time, trustPublished bool) (trust.Outcome, trust.Reason, string) {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case !k.retired:
		// Registries sign old releases anew with a new key: an earlier publication is no contradiction.
		return trust.Verified, "", ""
	case !signed.IsZero() && k.key.ValidAt(signed):
		return trust.Verified, "", "signed with a retired key; a transparency log proves that it was in its window"
	case !signed.IsZero():
		return trust.Failed, trust.ReasonKeyOutsideWindow, fmt.Sprintf("signed with a key that was valid until %s, the log's time is %s", day(k.key.End), day(signed))
	case !published.IsZero() && !k.key.ValidAt(published):
		return trust.Failed, trust.ReasonKeyOutsideWindow, fmt.Sprintf("signed with a key that was valid until %s, the release is of %s", day(k.key.End), day(published))
	case trustPublished && !published.IsZero():
		return trust.Verified, "", "signed with a retired key; that it was in its window rests on the registry's unsigned publication time, by configuration"
	}
	return trust.Absent, trust.ReasonNotCovered, fmt.Sprintf("signed with a key that was retired on %s, and nothing that is signed proves that the signature is older", day(k.key.End))
}
