package trust

// Assurance is what the best verified evidence of a release amounts to. The
// order of the values is the order of strength.
type Assurance int

// Levels of assurance, weakest first.
const (
	AssuranceNone       Assurance = iota // nothing verified
	AssuranceRegistry                    // a registry, distribution or public log signed this digest
	AssurancePublisher                   // the publisher's own key or identity signed it
	AssuranceProvenance                  // signed build provenance names source repository, commit and builder
	AssuranceReproduced                  // rebuilt independently, same bytes
)

var assuranceNames = []string{"none", "registry", "publisher", "provenance", "reproduced"}

// String returns the word of DESIGN.md for the level.
func (a Assurance) String() string { return name(assuranceNames, int(a)) }

// MarshalText writes the word for the level.
func (a Assurance) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the word for the level; an unknown word is an error.
func (a *Assurance) UnmarshalText(b []byte) error {
	i, err := index(assuranceNames, string(b), "assurance")
	*a = Assurance(i)
	return err
}

// Outcome is the outcome of one check about one artifact. The zero value is
// invalid: evidence that nobody set an outcome for proves nothing.
type Outcome string

// Outcomes. Malformed is not tampered (unreachable, not failed); unreachable
// is not absent.
const (
	Verified    Outcome = "verified"
	Absent      Outcome = "absent"
	Failed      Outcome = "failed"
	Unreachable Outcome = "unreachable"
)

// Valid reports whether o is one of the four outcomes.
func (o Outcome) Valid() bool {
	return o == Verified || o == Absent || o == Failed || o == Unreachable
}

// Continuity is how a release's signer relates to the accepted ones of the
// same package and release line.
type Continuity string

// Classes of continuity.
const (
	ContinuityFirst            Continuity = "first"             // no earlier release is known here
	ContinuitySame             Continuity = "same"              // the same signer
	ContinuityStronger         Continuity = "stronger"          // more assurance than before, nothing lost
	ContinuityProvenanceLost   Continuity = "provenance-lost"   // earlier releases of this line had provenance
	ContinuityRepositoryMoved  Continuity = "repository-moved"  // provenance names another source repository
	ContinuityWorkflowChanged  Continuity = "workflow-changed"  // same repository, another build workflow
	ContinuityKeyRotated       Continuity = "key-rotated"       // same signer by its own rules, another key
	ContinuityPublisherChanged Continuity = "publisher-changed" // another signer altogether
	ContinuityUnsignedNow      Continuity = "unsigned-now"      // earlier releases were signed, this one is not
	ContinuityUnknown          Continuity = "unknown"           // evidence could not be had, so nothing can be said
)

// Verdict is what the gate says of a component or of a whole change. The zero
// value is Undecided's neighbour, not Allow: see Worst.
type Verdict string

// Verdicts. Everything but Allow stops the change.
const (
	Allow     Verdict = "allow"
	Hold      Verdict = "hold"      // an approver may let it in
	Block     Verdict = "block"     // nobody may
	Undecided Verdict = "undecided" // evidence unreachable
)

// severity orders verdicts as the exit codes do: block and hold before
// undecided. An unknown verdict is worse than all.
func (v Verdict) severity() int {
	switch v {
	case Allow:
		return 0
	case Undecided:
		return 1
	case Hold:
		return 2
	case Block:
		return 3
	}
	return 4
}

// Worst returns the worse of two verdicts in the order allow, undecided, hold,
// block; anything else counts as block.
func Worst(a, b Verdict) Verdict {
	w := a
	if b.severity() > a.severity() {
		w = b
	}
	if w.severity() > Block.severity() {
		return Block
	}
	return w
}

// Effect is what a rule does when it does not hold.
type Effect string

// Effects of a rule that does not hold. EffectUndecided is what a rule yields
// whose evidence is unreachable.
const (
	EffectWarn      Effect = "warn"
	EffectHold      Effect = "hold"
	EffectBlock     Effect = "block"
	EffectUndecided Effect = "undecided"
)

// Verdict returns the verdict that the effect alone leads to.
func (e Effect) Verdict() Verdict {
	switch e {
	case EffectWarn:
		return Allow
	case EffectHold:
		return Hold
	case EffectUndecided:
		return Undecided
	}
	return Block
}

// Finding is one rule that did not hold.
type Finding struct {
	Rule     string   `json:"rule"`               // the rule's name, stable
	Effect   Effect   `json:"effect"`             // what it does to the verdict
	Message  string   `json:"message"`            // what was found, in one or two sentences
	Remedy   string   `json:"remedy"`             // the exact next step, a command where there is one
	Evidence []string `json:"evidence,omitempty"` // ids of the evidence judged (Evidence.ID)
	Location Location `json:"location,omitzero"`  // where it is declared, if the finding has a place of its own
	// Waived is how an exception, approval or VEX statement set the finding aside;
	// empty if it counts. A waived finding stays visible and does not count.
	Waived string `json:"waived,omitempty"`
}

// Counts reports whether the finding takes part in the verdict.
func (f Finding) Counts() bool { return f.Waived == "" }

// Location is a place in a source. Line is 1-based; 0 means unknown.
type Location struct {
	Path string `json:"path,omitempty"`
	Line int    `json:"line,omitempty"`
}
