package signing

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// VerifierID names headgate as the verifier of its summaries.
const VerifierID = "https://headgate.dev/verifier/v1"

// Results of a verification summary.
const (
	ResultPassed = "PASSED"
	ResultFailed = "FAILED"
)

// Summary is a verdict to be attested: a SLSA verification summary
// (https://slsa.dev/spec/v1.0/verification_summary).
type Summary struct {
	// Verifier is the verifier's id; empty for VerifierID. Version is the tool's.
	Verifier string
	Version  string
	Time     time.Time
	// Resource is the URI of what was judged.
	Resource string
	// Policy and PolicyURI are the policy that judged; its digest is required.
	Policy    trust.Digest
	PolicyURI string
	// Inputs are the documents that were judged.
	Inputs []Input
	Passed bool
	// Levels are what was reached; DependencyLevels counts components by level.
	Levels           []string
	DependencyLevels map[string]int
	// Subjects are the artifacts that the verdict is about, one at least.
	Subjects []Subject
}

// Input is a document that was judged.
type Input struct {
	URI    string
	Digest trust.Digest
}

// Resource is a resource descriptor of a summary.
type Resource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// VSAPredicate is the predicate of a verification summary.
type VSAPredicate struct {
	Verifier struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version,omitempty"`
	} `json:"verifier"`
	TimeVerified       time.Time      `json:"timeVerified"`
	ResourceURI        string         `json:"resourceUri"`
	Policy             Resource       `json:"policy"`
	InputAttestations  []Resource     `json:"inputAttestations,omitempty"`
	VerificationResult string         `json:"verificationResult"`
	VerifiedLevels     []string       `json:"verifiedLevels"`
	DependencyLevels   map[string]int `json:"dependencyLevels,omitempty"`
	SLSAVersion        string         `json:"slsaVersion,omitempty"`
}

// VSA is the in-toto statement of a summary: the same summary gives the same bytes.
func VSA(s Summary) ([]byte, error) {
	var p VSAPredicate
	switch {
	case s.Time.IsZero():
		return nil, usage("a verification summary needs its time")
	case s.Resource == "":
		return nil, usage("a verification summary needs the resource that was judged")
	case s.Policy.IsZero():
		return nil, usage("a verification summary needs the digest of the policy")
	case len(s.Subjects) == 0:
		return nil, usage("the verdict is about no file or artifact with a digest: there is nothing to attest")
	case len(s.Subjects) > sigstore.MaxSubjects:
		return nil, usage("the verdict is about %d artifacts, more than %d", len(s.Subjects), sigstore.MaxSubjects)
	}
	p.Verifier.ID = cmp.Or(s.Verifier, VerifierID)
	if s.Version != "" {
		p.Verifier.Version = map[string]string{"headgate": s.Version}
	}
	p.TimeVerified = s.Time.UTC().Truncate(time.Second)
	p.ResourceURI = s.Resource
	p.Policy = Resource{URI: s.PolicyURI, Digest: map[string]string{string(s.Policy.Algorithm): s.Policy.Value}}
	for _, in := range s.Inputs {
		p.InputAttestations = append(p.InputAttestations, Resource{URI: in.URI, Digest: map[string]string{string(in.Digest.Algorithm): in.Digest.Value}})
	}
	p.VerificationResult = ResultFailed
	p.VerifiedLevels = []string{ResultFailed}
	if s.Passed {
		p.VerificationResult = ResultPassed
		p.VerifiedLevels = slices.Sorted(slices.Values(s.Levels))
		if p.VerifiedLevels == nil {
			p.VerifiedLevels = []string{}
		}
		p.DependencyLevels = s.DependencyLevels
	}
	p.SLSAVersion = "1.0"
	b, err := json.Marshal(p)
	if err != nil {
		return nil, usage("writing the summary: %w", err)
	}
	subjects := slices.Clone(s.Subjects)
	slices.SortStableFunc(subjects, func(a, b Subject) int { return cmp.Compare(a.Name, b.Name) })
	return Statement(sigstore.PredicateVSA, json.RawMessage(b), subjects...)
}
