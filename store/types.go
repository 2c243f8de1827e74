package store

import (
	"encoding/json"
	"iter"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
)

// Bounds of what the store keeps. Each is a refusal, not a truncation.
const (
	// MaxBlob bounds the raw bytes of one judged document.
	MaxBlob = 64 << 20
	// MaxBody bounds the JSON of one row.
	MaxBody = 16 << 20
	// MaxText bounds reasons and names that people type, in bytes.
	MaxText = 4096
	// MaxDecisions bounds the decisions of one run.
	MaxDecisions = 200_000
	// MaxState bounds a value that an adapter keeps.
	MaxState = 4 << 20
	// MaxEnvelope bounds the DSSE envelope of an approval.
	MaxEnvelope = 256 << 10
)

// StoredEvidence is evidence as it was recorded.
type StoredEvidence struct {
	trust.Evidence
	// Checked is the last time that a run confirmed this very evidence upstream.
	Checked time.Time
	// RunID is the last run that confirmed it. Evidence that one run collected
	// together has one RunID.
	RunID string
}

// KnownRelease is a release that was allowed or pinned.
type KnownRelease struct {
	Release trust.Release `json:"release"`
	// Kind is how the release came where that was not from its registry: "git",
	// "path", "bundled" and so on. What came otherwise says nothing of the
	// registry's package of the same name.
	Kind string `json:"kind,omitempty"`
	// Artifacts are all that were let in of the release, whenever that was.
	Artifacts []trust.Artifact `json:"artifacts,omitempty"`
	Assurance trust.Assurance  `json:"assurance"`
	Signers   []trust.Signer   `json:"signers,omitempty"`
	Verdict   trust.Verdict    `json:"verdict"`
	// BinarySigners signed binaries inside the release. They vouch for those and for
	// nothing else.
	BinarySigners []trust.Signer `json:"binarySigners,omitempty"`
	// Baseline is true for what was there when headgate was introduced. It stays
	// true when the release is allowed again later.
	Baseline bool `json:"baseline,omitempty"`
	// First and Last are when the release was first and last pinned. Both are set
	// by the store.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// SeenArtifact is a digest of an artifact that some decision looked at,
// whatever the verdict was.
type SeenArtifact struct {
	Name   string // Artifact.Name
	Digest trust.Digest
	First  time.Time
	// Decision is the decision that saw it first.
	Decision string
}

// Revocation is when, by whom and why an acceptance was withdrawn.
type Revocation struct {
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	// Origin names the trust set that revoked it; empty for a revocation made
	// here, which no import lifts.
	Origin string `json:"origin,omitempty"`
}

// Acceptance says that a signer is accepted for a scope, or that it is not any
// more.
type Acceptance struct {
	// ID is set by the store: "a-" and 16 hex digits over identity, scope and origin.
	ID string `json:"id"`
	// Identity is set by the store from Signer, Workflow and Scope; if given, it
	// must be the same.
	Identity string       `json:"identity"`
	Signer   trust.Signer `json:"signer"`
	// Workflow binds the acceptance to Signer's build workflow too.
	Workflow bool   `json:"workflow,omitempty"`
	Scope    Scope  `json:"scope"`
	By       string `json:"by"`
	Reason   string `json:"reason"`
	// Origin is empty for what was accepted here, and names the trust set for
	// what was imported.
	Origin string `json:"origin,omitempty"`
	// Since is set by the store if zero; Until is the end, exclusive, zero for none.
	Since   time.Time   `json:"since"`
	Until   time.Time   `json:"until,omitzero"`
	Revoked *Revocation `json:"revoked,omitempty"`
	// Automatic marks acceptances that no person made (baseline, first sight).
	// They never change an acceptance that is there already.
	Automatic bool `json:"automatic,omitempty"`

	// Reinstate asks for a revoked acceptance to be lifted. It is not stored.
	Reinstate bool `json:"-"`
	// UnsafeScope allows scopes that cover all packages of the world or of a
	// shared host; it is stored, so that it shows.
	UnsafeScope bool `json:"unsafeScope,omitempty"`
}

// AcceptanceFilter selects acceptances; zero fields select all.
type AcceptanceFilter struct {
	ID       string // exact or unique prefix
	Identity string // identity, or "s-…" handle of one
	Scope    Scope  // exact
	Origin   *string
	// Active drops revoked and ended acceptances.
	Active bool
}

// Run is one invocation of the gate that recorded decisions.
type Run struct {
	ID           string          `json:"id"` // set by the store if empty
	Command      string          `json:"command"`
	Source       string          `json:"source,omitempty"`
	Base         string          `json:"base,omitempty"`
	PolicyDigest trust.Digest    `json:"policyDigest,omitzero"`
	PolicyName   string          `json:"policyName,omitempty"`
	Started      time.Time       `json:"started"`
	Finished     time.Time       `json:"finished"`
	Verdict      trust.Verdict   `json:"verdict"`
	Requester    string          `json:"requester,omitempty"`
	Summary      json.RawMessage `json:"summary,omitempty"`
}

// Decision is what a run decided about one release, with what it rests on.
type Decision struct {
	ID         string // set by the store
	RunID      string // set by the store
	Release    trust.Release
	Artifacts  []trust.Artifact
	Verdict    trust.Verdict
	Assurance  trust.Assurance
	Continuity trust.Continuity
	Findings   []trust.Finding
	Evidence   []trust.Evidence
	// EvidenceChecked is when the oldest of Evidence was collected; zero means in
	// this run. A gate that reuses stored evidence must set it, or the evidence
	// would never grow old.
	EvidenceChecked time.Time
	Signers         []trust.Signer
	Facts           trust.Facts
	Input           json.RawMessage
	LogIndex        int64     // set by the store
	At              time.Time // set by the store if zero
}

// Commit is everything one run records, all or nothing.
type Commit struct {
	Run       Run
	Decisions []Decision
	// Stream are decisions behind those, made one at a time while they are written: a
	// run of many need not hold them all. An error of it records nothing. Nil for none.
	Stream iter.Seq2[Decision, error]
	Accept []Acceptance
	Pin    []KnownRelease
	// PinStream are pins behind those, made one at a time; nil for none.
	PinStream iter.Seq[KnownRelease]
	// Collected is evidence that no decision rests on (yet), such as that of a run
	// that was cut short. GC may drop it.
	Collected []trust.Evidence
}

// Recorded says what Record wrote.
type Recorded struct {
	RunID       string
	DecisionIDs []string // in the order of Commit.Decisions, then Commit.Stream
	LogSize     int64    // leaves in the log after this run
}

// DecisionFilter selects decisions; zero fields select all.
type DecisionFilter struct {
	Package trust.Package
	Release trust.Release
	Since   time.Time
	Verdict trust.Verdict
	RunID   string
	Limit   int // newest first; 0 means 1000
}

// RequestState is where a request for approval stands.
type RequestState string

// States of a request.
const (
	RequestOpen     RequestState = "open"
	RequestApproved RequestState = "approved"
	RequestRejected RequestState = "rejected"
	RequestExpired  RequestState = "expired"
	RequestReopened RequestState = "reopened"
)

// RequestRecord is a request for approval, with what was known when it was made.
type RequestRecord struct {
	ID        string           `json:"id"` // set by the store: "q-" and 12 hex digits
	Release   trust.Release    `json:"release"`
	Artifacts []trust.Artifact `json:"artifacts,omitempty"`
	Evidence  []string         `json:"evidence,omitempty"` // trust.Evidence.ID
	// Conclusions are what the evidence came to (trust.Conclusions): approvals rest on
	// them, and a change of them re-opens the request.
	Conclusions []string        `json:"conclusions,omitempty"`
	Findings    []trust.Finding `json:"findings,omitempty"`
	Decision    string          `json:"decision,omitempty"` // the decision that stopped it
	Reason      string          `json:"reason"`
	By          string          `json:"by"`
	At          time.Time       `json:"at"`
	State       RequestState    `json:"state"`

	DecidedAt     time.Time `json:"decidedAt,omitzero"`
	DecidedBy     string    `json:"decidedBy,omitempty"`
	DecidedReason string    `json:"decidedReason,omitempty"`
	Until         time.Time `json:"until,omitzero"`
	Approvals     []string  `json:"approvals,omitempty"` // ApprovalRecord.ID
}

// Standing is the request's state at a time: an approved one whose approvals have
// ended by then has expired, whether or not a run has recorded that yet.
func (r RequestRecord) Standing(now time.Time) RequestState {
	if r.State == RequestApproved && !r.Until.IsZero() && !r.Until.After(now) {
		return RequestExpired
	}
	return r.State
}

// Rules are the rules that stopped the release and that an approval may set aside.
func (r RequestRecord) Rules() []string { return heldRules(r.Findings) }

func heldRules(fs []trust.Finding) []string {
	var out []string
	for _, f := range fs {
		if f.Counts() && f.Effect == trust.EffectHold && !slices.Contains(out, f.Rule) {
			out = append(out, f.Rule)
		}
	}
	return out
}

// RequestDecision is what is decided about a request.
type RequestDecision struct {
	State      RequestState
	By, Reason string
	// Approvals are the ids of the signed approvals that it rests on; an approval
	// needs at least one, and lasts until the first of them ends.
	Approvals []string
	// Seen is the RequestRecord.Decision that was looked at: a request that is about
	// another one by now is ErrConflict. Empty does not ask.
	Seen string
}

// RequestFilter selects requests; zero fields select all.
type RequestFilter struct {
	Release trust.Release
	States  []RequestState
	By      string
}

// ApprovalRecord is a signed approval as it was handed in. Nothing in it but
// Envelope is proof: the signature is verified at every use.
type ApprovalRecord struct {
	ID       string        `json:"id"` // "sha256:…" of Envelope, set by the store
	Envelope []byte        `json:"envelope"`
	Release  trust.Release `json:"release"`
	Rules    []string      `json:"rules"`
	By       string        `json:"by"`
	At       time.Time     `json:"at"`
	Until    time.Time     `json:"until"`
	Origin   string        `json:"origin,omitempty"`
}

// Alarm is misbehaviour of an upstream, with its proof.
type Alarm struct {
	ID     string       `json:"id"`
	About  string       `json:"about"`
	Detail string       `json:"detail"`
	Proof  trust.Digest `json:"proof"` // of the blob
	At     time.Time    `json:"at"`
}

// Leaf is one entry of the log.
type Leaf struct {
	At      time.Time `json:"at"`
	By      string    `json:"by,omitempty"`
	Detail  string    `json:"detail,omitempty"`
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Op      string    `json:"op"`
	Package string    `json:"package,omitempty"`
	Release string    `json:"release,omitempty"`
	// Row is "sha256:" and the hash of the body that the leaf covers.
	Row string `json:"row"`
	V   int    `json:"v"`
}

// LogEntry is a leaf with its place in the log.
type LogEntry struct {
	Index int64 `json:"index"`
	Leaf  Leaf  `json:"leaf"`
}

// LogFilter selects log entries; zero fields select all.
type LogFilter struct {
	Package trust.Package
	By      string
	Kind    string
	ID      string
	Since   time.Time
	Until   time.Time
	// From is the first index; Limit the most entries to return (0 means 10,000).
	From  int64
	Limit int
}

// Report is what VerifyLog established.
type Report struct {
	Size        int64  `json:"size"`
	Root        string `json:"root"` // base64
	VerifierKey string `json:"verifierKey"`
	Rows        int64  `json:"rows"`     // rows whose bodies were recomputed
	Evidence    int64  `json:"evidence"` // pieces of evidence whose address was recomputed
	// Earlier is the size of the checkpoint that the log was proven to extend; 0 if none was given.
	Earlier int64 `json:"earlier,omitempty"`
	// Problems are what is wrong, in log order, at most MaxProblems.
	Problems []Problem `json:"problems,omitempty"`
}

// MaxProblems bounds the problems that VerifyLog lists.
const MaxProblems = 100

// Problem is one thing that the log and the rows disagree about.
type Problem struct {
	Index int64  `json:"index"` // log index; -1 if the thing has none
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	What  string `json:"what"` // altered, missing, reordered, unlogged, … in a sentence
}

// Proved is what a proof file proves.
type Proved struct {
	Index  int64
	Size   int64 // of the tree that the checkpoint signs
	Origin string
	Leaf   Leaf
	Body   json.RawMessage // the row that the leaf covers
}

// Origin is a trust set that was imported.
type Origin struct {
	Name string `json:"name"`
	// Key is the note verifier key that its sets must be signed with.
	Key    string    `json:"key"`
	Serial int64     `json:"serial"` // of the newest set
	Digest string    `json:"digest"` // of the newest set's records
	Narrow []Scope   `json:"narrow"` // scopes that the import is narrowed to
	At     time.Time `json:"at"`
	By     string    `json:"by"`
}
