package ingest

import (
	"time"

	"github.com/headgate/headgate/trust"
)

// AuditState says how a finding stands against the last audit of its sources.
type AuditState string

// States of a finding.
const (
	AuditNew       AuditState = "new"
	AuditUnchanged AuditState = "unchanged"
	AuditGone      AuditState = "gone"
)

// AuditKind names what kind of thing an audit found; stable.
type AuditKind string

// Kinds of findings. KindPolicy is any rule of the policy that does not hold
// today and has no kind of its own.
const (
	KindRevokedSigner  AuditKind = "revoked-signer"
	KindAdvisory       AuditKind = "advisory"
	KindMalware        AuditKind = "malware"
	KindWithdrawn      AuditKind = "withdrawn" // yanked, retracted or unpublished
	KindChangedBytes   AuditKind = "changed-upstream"
	KindSBOMMismatch   AuditKind = "sbom-mismatch"
	KindEvidenceWorse  AuditKind = "evidence-worse"
	KindEvidenceBetter AuditKind = "evidence-better"
	KindApproval       AuditKind = "approval"
	KindException      AuditKind = "exception"
	KindNeverGated     AuditKind = "never-gated"
	KindKeysChanged    AuditKind = "keys-changed"
	KindSignature      AuditKind = "sbom-signature"
	KindSource         AuditKind = "source" // a source that cannot be read, or vouched for
	KindUndecided      AuditKind = "undecided"
	KindPolicy         AuditKind = "policy"
)

// Bounds of what an audit's report lists.
const (
	// MaxAuditSourcesNamed is how many sources one finding names; InSources counts all.
	MaxAuditSourcesNamed = 20
	// MaxAuditHistory is how many past audits the course shows.
	MaxAuditHistory = 60
)

// Audit is the part of a Report that only audits have.
type Audit struct {
	Sources   []AuditSource  `json:"sources"`
	Findings  []AuditFinding `json:"findings"` // new and unchanged, then gone
	New       int            `json:"new"`
	Unchanged int            `json:"unchanged"`
	Gone      int            `json:"gone"`
	Releases  int            `json:"releases"` // distinct, over all sources
	// Resumed is how many releases an earlier run that was cut short had settled.
	Resumed int `json:"resumed,omitempty"`
	// Recorded is how many decisions differ from what was recorded before.
	Recorded int       `json:"recorded"`
	FailOn   string    `json:"failOn"`
	Since    time.Time `json:"since,omitzero"`
	// At is the moment as of which was judged; zero for now.
	At      time.Time    `json:"at,omitzero"`
	History []AuditPoint `json:"history,omitempty"` // oldest first, this audit last
}

// AuditSource is one audited source.
type AuditSource struct {
	Name       string                `json:"name"`
	Components int                   `json:"components"`
	Verdict    trust.Verdict         `json:"verdict"`
	Verdicts   map[trust.Verdict]int `json:"verdicts,omitempty"`
	Assurance  map[string]int        `json:"assurance,omitempty"`
	New        int                   `json:"new"`
	Unchanged  int                   `json:"unchanged"`
	Gone       int                   `json:"gone"`
	// Last is when the source was audited before; zero for the first time.
	Last time.Time `json:"last,omitzero"`
	// Problem says why the source could not be read.
	Problem string `json:"problem,omitempty"`
}

// AuditFinding is one finding in all sources that it concerns.
type AuditFinding struct {
	Kind    AuditKind     `json:"kind"`
	State   AuditState    `json:"state"` // new if it is for any source
	Rule    string        `json:"rule"`
	Release trust.Release `json:"purl,omitzero"`
	Effect  trust.Effect  `json:"effect"`
	Message string        `json:"message"`
	Remedy  string        `json:"remedy,omitempty"`
	// Sources are some of the sources, InSources counts them, NewIn those for which it is new.
	Sources   []string  `json:"sources,omitempty"`
	InSources int       `json:"inSources"`
	NewIn     int       `json:"newIn,omitempty"`
	Since     time.Time `json:"since,omitzero"` // when an audit found it first
}

// AuditPoint is one audit in the course of audits.
type AuditPoint struct {
	At        time.Time             `json:"at"`
	Sources   int                   `json:"sources"`
	Releases  int                   `json:"releases"`
	Verdicts  map[trust.Verdict]int `json:"verdicts"`
	Assurance map[string]int        `json:"assurance"`
	Findings  int                   `json:"findings"`
	New       int                   `json:"new"`
}
