package ingest

import (
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// ReportVersion is the version of the JSON form of Report. It grows with every
// change that a reader could trip over; ingest/report/schema.json describes it.
const ReportVersion = 1

// Exit codes, stable. The worst finding decides, in the order 4, 3, 1, 2, 5.
const (
	ExitAllowed   = 0
	ExitStopped   = 1 // hold or block
	ExitUndecided = 2 // evidence unreachable
	ExitUsage     = 3 // usage or configuration
	ExitInternal  = 4
	ExitNothing   = 5 // nothing to check
)

// Report is everything that one run of the gate has to say. Reports are made
// from it and from nothing else; text in it is as upstream wrote it, and every
// format escapes it by its own rules.
type Report struct {
	Version int    `json:"version"`
	Tool    string `json:"tool"` // "headgate 1.2.3"
	Command string `json:"command"`

	Verdict  trust.Verdict `json:"verdict"`
	ExitCode int           `json:"exitCode"`
	// Empty is true if the source holds no component at all: nothing was checked,
	// which is not the same as allowed.
	Empty bool `json:"empty,omitempty"`

	Source sbom.Source `json:"source"`
	Base   *Base       `json:"base,omitempty"`
	Policy Policy      `json:"policy"`

	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`

	// RunID is the record of this run in the store; empty if nothing was recorded,
	// and then one of the Notes says why.
	RunID string `json:"runId,omitempty"`

	Summary Summary `json:"summary"`
	// Findings concern the source or the gate as a whole.
	Findings   []trust.Finding `json:"findings"`
	Components []Component     `json:"components"`
	// Notes are sentences that every reader must see: what was looser than usual.
	Notes []string `json:"notes,omitempty"`

	// Audit is set by audits alone.
	Audit *Audit `json:"audit,omitempty"`

	// Inventory is the whole source, for formats that list what was already there.
	Inventory *sbom.Inventory `json:"-"`
}

// Base is what the source was compared with.
type Base struct {
	Kind     string `json:"kind"` // revision or sbom
	Name     string `json:"name"` // as given
	Revision string `json:"revision,omitempty"`
}

// Policy says by which rules was judged and where they came from.
type Policy struct {
	Name   string       `json:"name"`
	Digest trust.Digest `json:"digest,omitzero"`
	// Origin is "built in", "base revision …", or the path of the file.
	Origin string `json:"origin"`
}

// Component is one judged component.
type Component struct {
	Release   trust.Release    `json:"purl"`
	Kind      sbom.Kind        `json:"kind"`
	Scope     sbom.Scope       `json:"scope,omitempty"`
	Relation  sbom.Relation    `json:"relation,omitempty"`
	Locations []trust.Location `json:"locations,omitempty"`
	Artifacts []trust.Artifact `json:"artifacts,omitempty"`

	Change policies.Change `json:"change"`
	// Previous is the release that this one takes the place of.
	Previous trust.Release `json:"previous,omitzero"`

	Verdict    trust.Verdict    `json:"verdict"`
	Assurance  trust.Assurance  `json:"assurance"`
	Offered    trust.Assurance  `json:"offered"`
	Continuity trust.Continuity `json:"continuity"`
	// Was and Is are the two identities that Continuity compares, in words.
	Was string `json:"was,omitempty"`
	Is  string `json:"is,omitempty"`

	Signers  []Signer        `json:"signers,omitempty"`
	Evidence []Evidence      `json:"evidence"`
	Facts    trust.Facts     `json:"facts"`
	Findings []trust.Finding `json:"findings"`

	Advisories []policies.Advisory `json:"advisories,omitempty"`
	// AdvisoryState and InspectionState say whether there was an answer at all: off,
	// known or unavailable.
	AdvisoryState policies.State `json:"advisoryState,omitempty"`
	// FixesAdvisory are the advisories of Previous that this release no longer has.
	FixesAdvisory []string `json:"fixesAdvisory,omitempty"`
	// Names are the reasons to doubt the package's name.
	Names []policies.NameRisk `json:"names,omitempty"`
	// Inspection is what was found inside the package.
	Inspection      []policies.Observation `json:"inspection,omitempty"`
	InspectionState policies.State         `json:"inspectionState,omitempty"`

	// DecisionID is the record of the decision in the store.
	DecisionID string `json:"decisionId,omitempty"`
	// Adapter says whether headgate has an adapter for the ecosystem.
	Adapter bool `json:"adapter"`
	// Rules is what every rule made of the component, for explain; ContinuityNote
	// says what the class of continuity rests on.
	Rules          []policies.RuleTrace `json:"-"`
	ContinuityNote string               `json:"-"`
	// Reused is true if the evidence came from the store, where an earlier run put it.
	Reused bool `json:"reused,omitempty"`
}

// Signer is a signer of verified evidence with what the store says of it.
type Signer struct {
	trust.Signer
	ID       string      `json:"id"`
	Text     string      `json:"text"`
	Check    trust.Check `json:"check"`
	Accepted bool        `json:"accepted"`
	By       string      `json:"by,omitempty"`
	Revoked  bool        `json:"revoked,omitempty"`
	// Automatic is true if the policy accepts the signer on first sight.
	Automatic bool `json:"automatic,omitempty"`
}

// Evidence is a piece of evidence with its id, to which findings refer.
type Evidence struct {
	ID string `json:"id"`
	trust.Evidence
}

// Summary counts. Every number is one that a person may want to see in a log.
type Summary struct {
	Components int `json:"components"` // in the source
	Present    int `json:"present"`    // already in the base, not judged
	Removed    int `json:"removed"`    // in the base, no longer in the source
	Judged     int `json:"judged"`
	Pinned     int `json:"pinned"` // judged, and in the baseline with the same digests

	Verdicts   map[trust.Verdict]int `json:"verdicts"`
	Assurance  map[string]int        `json:"assurance"`
	Ecosystems map[string]int        `json:"ecosystems"`
	// NoAdapter counts judged components per ecosystem that has no adapter.
	NoAdapter map[string]int `json:"noAdapter,omitempty"`
	// Warnings counts findings that do not stop anything, Waived those set aside.
	Warnings int `json:"warnings"`
	Waived   int `json:"waived"`

	Reused   int   `json:"reused"`   // components whose evidence came from the store
	Requests int64 `json:"requests"` // sent upstream
	Bytes    int64 `json:"bytes"`    // received from upstream
}

// Finish derives verdict, exit code and counts from components and findings.
func (r *Report) Finish() {
	r.Version = ReportVersion
	if r.Findings == nil {
		r.Findings = []trust.Finding{}
	}
	if r.Components == nil {
		r.Components = []Component{}
	}
	v := trust.Allow
	s := &r.Summary
	s.Verdicts = map[trust.Verdict]int{trust.Allow: 0, trust.Hold: 0, trust.Block: 0, trust.Undecided: 0}
	s.Assurance, s.Ecosystems, s.NoAdapter = map[string]int{}, map[string]int{}, map[string]int{}
	s.Judged, s.Warnings, s.Waived, s.Reused = len(r.Components), 0, 0, 0
	count := func(fs []trust.Finding) {
		for _, f := range fs {
			switch {
			case !f.Counts():
				s.Waived++
			case f.Effect == trust.EffectWarn:
				s.Warnings++
			}
		}
	}
	for _, f := range r.Findings {
		if f.Counts() {
			v = trust.Worst(v, f.Effect.Verdict())
		}
	}
	count(r.Findings)
	for i := range r.Components {
		c := &r.Components[i]
		v = trust.Worst(v, c.Verdict)
		s.Verdicts[c.Verdict]++
		s.Assurance[c.Assurance.String()]++
		s.Ecosystems[c.Release.Package.Type]++
		if !c.Adapter {
			s.NoAdapter[c.Release.Package.Type]++
		}
		if c.Reused {
			s.Reused++
		}
		count(c.Findings)
	}
	r.Verdict = v
	r.ExitCode = exitCode(v, r.Empty)
}

func exitCode(v trust.Verdict, empty bool) int {
	switch {
	case v == trust.Undecided:
		return ExitUndecided
	case v != trust.Allow:
		return ExitStopped
	case empty:
		return ExitNothing
	}
	return ExitAllowed
}

// Raw returns the judged bytes that evidence of the report refers to, by digest.
func (r *Report) Raw() map[trust.Digest]trust.Raw {
	m := map[trust.Digest]trust.Raw{}
	for _, c := range r.Components {
		for _, e := range c.Evidence {
			for _, raw := range e.Raw {
				m[raw.Digest] = raw
			}
		}
	}
	return m
}
