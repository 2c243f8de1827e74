package policies

import (
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Change is why a component is judged.
type Change string

// Changes.
const (
	ChangeAdded   Change = "added"   // its package was not in the base
	ChangeVersion Change = "version" // another version of a package that was in the base
	ChangeDigest  Change = "digest"  // same version, other digest
	ChangeSource  Change = "source"  // same version and digest, other URL or registry
	ChangeScope   Change = "scope"   // development became runtime
	ChangePresent Change = "present" // no base, or an audit: it is there
)

// Input is everything the rules may look at for one component. The CEL
// variables are made from it and from nothing else.
type Input struct {
	Component sbom.Component
	Change    Change
	Previous  *sbom.Component // the base's component that this one replaces, if any

	Evidence []trust.Evidence
	// Assurance is the best verified evidence's; Offered what every release of a
	// healthy package of the ecosystem reaches, by the adapter's description.
	Assurance trust.Assurance
	Offered   trust.Assurance
	Adapter   bool // headgate has an adapter for the ecosystem

	// Signers are the signers of verified evidence with what the store says of each.
	Signers []SignerState
	// BinarySigners signed binaries inside the package, which says nothing about the
	// package; accepted is also who signed binaries of an earlier release. BinariesBefore
	// are those earlier ones, in words; empty if there were none.
	BinarySigners  []SignerState
	BinariesBefore []string
	// Continuity with the accepted signers and earlier releases; Was and Is are the
	// two identities, side by side, in words.
	Continuity trust.Continuity
	Was, Is    string
	// ContinuityNote says what the class rests on, in one sentence.
	ContinuityNote string

	Facts   trust.Facts
	History []trust.History

	// Pinned is true if this release with exactly these digests is in the baseline
	// or was allowed before. PackageKnown: some release of the package is.
	Pinned       bool
	PackageKnown bool
	// ChangedUpstream: the release was seen before with other bytes.
	ChangedUpstream bool

	Advisories []Advisory
	// AdvisoryState says whether advisories could be looked up at all.
	AdvisoryState State
	// AdvisoryNote says why the state is unavailable.
	AdvisoryNote string
	// FixedIn is the smallest version that fixes every advisory that counts; empty
	// if there is none, or if nobody knows.
	FixedIn string
	// FixesAdvisory: the release fixes an advisory that Previous has.
	FixesAdvisory []string

	// PreviousAdvisories are the ids of the advisories that Previous has: what was
	// there before is not brought in by this change.
	PreviousAdvisories []string

	// Names are look-alike and namespace findings.
	Names []NameRisk
	// Inspection is what was found inside the package; InspectionState whether it was looked into.
	Inspection      []Observation
	InspectionState State

	Licenses []string

	// Approvals that are valid for this release, these digests and this evidence.
	Approvals []Approval

	Now time.Time
}

// State says whether a source of facts could be used.
type State string

// States. Only StateKnown allows a conclusion from an empty list.
const (
	StateOff         State = "off"         // not configured, by the policy's own word
	StateKnown       State = "known"       // looked up, answer complete
	StateUnavailable State = "unavailable" // wanted but missing, empty, unreadable or too old
)

// SignerState is a signer with what the store says of it for this package.
type SignerState struct {
	Signer   trust.Signer
	Check    trust.Check
	Accepted bool
	// By is who or what accepted it: a person, "baseline", "pinned by headgate", "automatic".
	By      string
	Revoked bool
	Reason  string
	// AutoAccept: provenance and registry name the same repository, so that the
	// policy may accept the signer on first sight.
	AutoAccept bool
}

// Advisory is a vulnerability or malware record that matches the release.
type Advisory struct {
	ID       string   `json:"id"`
	Aliases  []string `json:"aliases,omitempty"`
	Summary  string   `json:"summary,omitempty"`
	Severity string   `json:"severity,omitempty"` // none, low, medium, high, critical; empty if unknown
	Score    float64  `json:"score,omitempty"`    // CVSS base score, 0–10
	Malware  bool     `json:"malware,omitempty"`
	KEV      bool     `json:"kev,omitempty"`   // in CISA's catalogue of known exploited vulnerabilities
	Fixed    []string `json:"fixed,omitempty"` // smallest versions that fix it
	// Modified is when the advisory was changed last; zero if unknown.
	Modified time.Time `json:"modified,omitzero"`
	// Suppressed is the VEX justification or ignore reason; empty if it counts.
	Suppressed string `json:"suppressed,omitempty"`
}

// NameRisk is a reason to doubt a name.
type NameRisk struct {
	Kind      string `json:"kind"`                // look-alike, internal-namespace, alias
	Resembles string `json:"resembles,omitempty"` // the name it resembles
	Detail    string `json:"detail"`
}

// Observation is something found inside a package.
type Observation struct {
	Kind   string        `json:"kind"`            // path-escape, install-script, hidden-data, native-code, manifest-mismatch, …
	Entry  string        `json:"entry,omitempty"` // file inside the package
	Detail string        `json:"detail"`
	New    bool          `json:"new,omitempty"`    // not in the previous accepted release
	Effect trust.Effect  `json:"effect,omitempty"` // floor that the kind itself demands: block for archive attacks
	Signer *trust.Signer `json:"signer,omitempty"`
}

// Approval is a valid approval as the rules see it.
type Approval struct {
	ID    string
	By    string
	Rules []string
	Until time.Time
}

// InventoryInput is everything the inventory rules may look at.
type InventoryInput struct {
	// Components is the number of components of the inventory.
	Components int
	// Problems are those of the inventory as a whole.
	Problems []sbom.Problem
	// GateEdits are changes that the head makes to its own gate.
	GateEdits []GateEdit
	// SourceDifferences are settings of the scanned repository (.npmrc, pip.conf, …)
	// that differ from the configured registries.
	SourceDifferences []SourceDifference
	// HasBase: there is a base, so that policy and trust come from it.
	HasBase bool
	Now     time.Time
}

// GateEdit is one change that the head makes to policy or trust.
type GateEdit struct {
	// Part is what was edited: policy (headgate.yaml) or trust (headgate.trust).
	Part     string
	Detail   string
	Location trust.Location
	// ApprovalsOnly: nothing but signed approvals were added. Those count only by
	// their own signatures.
	ApprovalsOnly bool
}

// SourceDifference is one setting of the scanned repository that would change
// where packages come from.
type SourceDifference struct {
	Detail   string
	Location trust.Location
}

// Subject is what an inventory rule is asked about.
type Subject struct {
	Kind     string // inventory, problem, gate-edit, source-difference
	Code     string
	Detail   string
	Remedy   string
	Location trust.Location
}
