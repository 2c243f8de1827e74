package verification

import (
	"slices"
	"time"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

// maxSkew is how far in the future a summary may have been made.
const maxSkew = 5 * time.Minute

// Summary is what is expected of a verification summary, beside its signer.
type Summary struct {
	// Verifier is the id of the verifier; required.
	Verifier string
	// Resource, Policy and Levels are demanded where they are set.
	Resource string
	Policy   trust.Digest
	Levels   []string
	// MaxAge bounds the age of the verdict; zero does not.
	MaxAge time.Duration
	Now    time.Time
}

// CheckSummary demands that every result is a verification summary by the
// expected verifier that passed. The statements are verified already.
func CheckSummary(rs []*Result, want Summary) error {
	if want.Verifier == "" || want.Now.IsZero() {
		return trust.Misconfigured("a verification summary counts only from an expected verifier")
	}
	if len(rs) == 0 {
		return ErrNoSignature
	}
	for _, r := range rs {
		if r.Statement == nil || r.Statement.PredicateType != sigstore.PredicateVSA {
			return trust.Failure(trust.ReasonWrongPredicate, "%s is no verification summary", r.Document)
		}
		var p signing.VSAPredicate
		if err := strictjson.Unmarshal(r.Statement.Predicate, &p); err != nil {
			return trust.Undecidable(trust.ReasonMalformed, "reading the verification summary: %w", err)
		}
		wrong := func(what, got, expected string) error {
			return trust.Failure(trust.ReasonWrongPredicate, "the verification summary's %s is %q, expected %q", what, clip(got), clip(expected))
		}
		switch {
		case p.Verifier.ID != want.Verifier:
			return wrong("verifier", p.Verifier.ID, want.Verifier)
		case p.VerificationResult != signing.ResultPassed:
			return wrong("result", p.VerificationResult, signing.ResultPassed)
		case want.Resource != "" && p.ResourceURI != want.Resource:
			return wrong("resource", p.ResourceURI, want.Resource)
		case !want.Policy.IsZero() && p.Policy.Digest[string(want.Policy.Algorithm)] != want.Policy.Value:
			return wrong("policy", p.Policy.Digest[string(want.Policy.Algorithm)], want.Policy.Value)
		case p.TimeVerified.IsZero() || p.TimeVerified.After(want.Now.Add(maxSkew)):
			return wrong("time", p.TimeVerified.Format(time.RFC3339), "not after "+want.Now.Format(time.RFC3339))
		case want.MaxAge > 0 && want.Now.Sub(p.TimeVerified) > want.MaxAge:
			return wrong("time", p.TimeVerified.Format(time.RFC3339), "at most "+want.MaxAge.String()+" ago")
		}
		for _, l := range want.Levels {
			if !slices.Contains(p.VerifiedLevels, l) {
				return trust.Failure(trust.ReasonWrongPredicate, "the verification summary does not reach the level %q", clip(l))
			}
		}
		r.Notes = append(r.Notes, "verified at "+p.TimeVerified.UTC().Format(time.RFC3339)+": "+p.ResourceURI)
	}
	return nil
}
