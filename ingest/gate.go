package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// Bounds of one run.
const (
	DefaultJobs = 16
	MaxJobs     = 256
	// DefaultReuse is how long verified evidence of an earlier run is good for.
	// Facts that upstream may change (yanked, retracted, deprecated) come with it, so
	// that no check rests on facts that are older.
	DefaultReuse = time.Hour
	// DefaultHistory is how many earlier releases adapters are asked about.
	DefaultHistory = 20
	// MaxComponents bounds an inventory, as one run of the store does.
	MaxComponents = store.MaxDecisions
)

// Memory is what the gate needs of the store. *store.Store implements it; all
// look-ups are in bulk, and all writes of a run are one transaction.
type Memory interface {
	Known(ctx context.Context, ps []trust.Package) (map[trust.Package][]store.KnownRelease, error)
	AcceptancesFor(ctx context.Context, ps []trust.Package) (map[trust.Package][]store.Acceptance, error)
	Approvals(ctx context.Context, rs []trust.Release) (map[trust.Release][]store.ApprovalRecord, error)
	LatestDecisions(ctx context.Context, rs []trust.Release, at time.Time) (map[trust.Release]store.Decision, error)
	Record(ctx context.Context, c store.Commit) (store.Recorded, error)
	ReadOnly() bool
}

// Judge applies the policy; *policies.Policy implements it. Its methods are pure
// and safe for concurrent use.
type Judge interface {
	Name() string
	Digest() trust.Digest
	Evaluate(ctx context.Context, in policies.Input) policies.Outcome
	EvaluateInventory(ctx context.Context, in policies.InventoryInput) policies.Outcome
}

// Continuity compares a release's signers with those known before.
type Continuity func(ContinuityInput) (class trust.Continuity, was, is, note string)

// ContinuityInput is what Continuity may look at.
type ContinuityInput struct {
	Release  trust.Release
	Evidence []trust.Evidence
	Accepted []store.Acceptance // of the package and wider scopes; revoked ones are left out
	Known    []store.KnownRelease
	History  []trust.History
	Facts    trust.Facts
	Now      time.Time
}

// Advisories looks up vulnerabilities and malware, in bulk. *advisories.Index
// implements it.
type Advisories interface {
	Query(ctx context.Context, items []advisories.Item, now time.Time) advisories.Answer
}

// Approve verifies the approvals that the store and headgate.trust hold for a
// component that policy stopped, and returns those that count.
type Approve func(in policies.Input, findings []trust.Finding, held []store.ApprovalRecord, requester string) []policies.Approval

// Progress is told how many of all components have their evidence.
type Progress func(done, all int)

// Gate judges inventories. All fields without a comment that says otherwise are
// required; a Gate is safe for use by one run at a time.
type Gate struct {
	Tool     string // "headgate 1.2.3"
	Adapters map[string]adapter.Adapter
	Memory   Memory
	Judge    Judge
	Clock    adapter.Clock

	Continuity Continuity
	// Advisories is nil where the configuration switches them off.
	Advisories Advisories
	// Alarm writes misbehaviour of an upstream to the log; nil for none. *store.Store has it.
	Alarm func(ctx context.Context, about, detail string, proof []byte) error
	// Contents looks inside packages; nil where the configuration switches it off.
	Contents *Contents
	// Approve is nil where the policy names no approvers.
	Approve Approve
	// Unsupported says why components of a purl type without adapter are held; nil
	// for a general sentence.
	Unsupported func(purlType string) string
	// Internal are purl patterns of packages that never come from a public registry.
	Internal []string
	// Private reports whether the user's own settings send a package to a private
	// registry; nil for none. Internal packages are asked for nowhere else.
	Private func(trust.Package) bool

	// Jobs is how many components are worked on at a time, 0 for DefaultJobs.
	Jobs int
	// Reuse is how old stored evidence may be, 0 for DefaultReuse, negative for none.
	Reuse time.Duration
	// ReuseUnknown lets stored evidence stand for releases too that were never
	// allowed: an audit looks at what came in around the gate again and again.
	ReuseUnknown bool
	// Current reports whether stored evidence rests on what vouches for the package
	// today, and not on a root that was replaced since; nil for always.
	Current func(trust.Package, trust.Evidence) bool
	// Explain keeps what every rule made of every component, in Component.Rules.
	Explain bool
	// Progress may be nil. It is called from one goroutine at a time.
	Progress Progress
	// Usage returns requests sent and bytes received so far; nil for none.
	Usage func() (requests, bytes int64)
}

// Request is one question to the gate.
type Request struct {
	Command   string
	Inventory *sbom.Inventory
	// Base is what was there before; nil to judge everything.
	Base     *sbom.Inventory
	BaseInfo *Base
	Origin   string // where the policy came from, for the report
	// GateEdits are changes of the head to its own gate, SourceDifferences settings
	// of the scanned repository that would change where packages come from.
	GateEdits         []policies.GateEdit
	SourceDifferences []policies.SourceDifference
	Notes             []string
	// Requester is who asks for the change, for the separation from approvers.
	Requester string
	// Approvals are handed in with the change (headgate.trust of the head). They
	// count by their signatures alone.
	Approvals map[trust.Release][]store.ApprovalRecord
	// Accepted are acceptances beside the store's: those of headgate.trust of the
	// base that a key of the policy signed. Nil for none.
	Accepted func(trust.Package) []store.Acceptance
	// Files is the tree that the inventory was taken of; nil where there is none, and
	// then vendored files are held against nothing.
	Files fs.FS
	// Bytes asks adapters to fetch artifacts even where signed statements suffice.
	Bytes bool
	// DryRun records nothing, by the user's own word.
	DryRun   bool
	Baseline Baseline
}

// Baseline says whether a run pins what is there, whatever the verdict, and accepts
// verified signers for their package. What is blocked is never pinned.
type Baseline int

// Baselines.
const (
	BaselineNone Baseline = iota
	// BaselineReached leaves out what could not be looked at: a network that fails is
	// no reason to trust.
	BaselineReached
	// BaselineUnsafeUnreachable pins that by its digests too.
	BaselineUnsafeUnreachable
)

// Check judges what is new in the inventory, records the decisions in one
// transaction, and reports. The error is for what leaves nothing to report: a
// cancelled context, a store that fails, a policy that cannot be applied. Nothing
// is recorded then.
func (g *Gate) Check(ctx context.Context, q Request) (*Report, error) {
	started := g.Clock()
	if n := len(q.Inventory.Components); n > MaxComponents {
		return nil, fmt.Errorf("the source has %d components, more than %d: check its parts one by one", n, MaxComponents)
	}
	r := &Report{
		Tool: g.Tool, Command: q.Command, Source: q.Inventory.Source, Base: q.BaseInfo,
		Policy:  Policy{Name: g.Judge.Name(), Digest: g.Judge.Digest(), Origin: q.Origin},
		Started: started, Notes: slices.Clone(q.Notes), Inventory: q.Inventory,
	}
	r.Summary.Components = len(q.Inventory.Components)
	r.Empty = len(q.Inventory.Components) == 0

	r.Findings = g.Judge.EvaluateInventory(ctx, policies.InventoryInput{
		Components: len(q.Inventory.Components), Problems: q.Inventory.Problems,
		GateEdits: q.GateEdits, SourceDifferences: q.SourceDifferences,
		HasBase: q.Base != nil, Now: started,
	}).Findings

	work, one := g.work(q, r), newShared()
	if err := g.recall(ctx, work, q.Accepted, one); err != nil {
		return nil, err
	}
	if err := g.collect(ctx, work, q, one); err != nil {
		return nil, err
	}
	if err := g.inspect(ctx, work, q); err != nil {
		return nil, err
	}
	if err := g.assess(ctx, work, q); err != nil {
		return nil, err
	}
	r.Components = make([]Component, 0, len(work))
	for _, w := range work {
		r.Components = append(r.Components, w.component())
		w.unreachable = Unreachable(w.verdict, w.in.Evidence)
		w.in.Evidence, w.earlier = nil, nil // they are the report's from here on: once is enough
		if w.in.Pinned {
			r.Summary.Pinned++
		}
	}
	if g.Usage != nil {
		r.Summary.Requests, r.Summary.Bytes = g.Usage()
	}
	r.Finished = g.Clock()
	r.Finish()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := g.record(ctx, r, work, q); err != nil {
		return nil, err
	}
	return r, nil
}

// item is one component on its way through the gate.
type item struct {
	in    policies.Input
	known []store.KnownRelease
	// binaries are the signers of the binaries of the release before, as far as it
	// was looked into for comparison.
	binaries []trust.Signer
	accepted []store.Acceptance
	// checked is when stored evidence was collected; zero if it was in this run.
	checked  time.Time
	earlier  *earlier
	findings []trust.Finding
	verdict  trust.Verdict
	// unreachable is Unreachable of the evidence, which is the report's in the end.
	unreachable bool
	trace       []policies.RuleTrace
}

// earlier is what of an earlier decision stands for this one.
type earlier struct {
	evidence []trust.Evidence
	facts    trust.Facts
	checked  time.Time
}

// recallChunk is how many earlier decisions are held at a time: of most, little is kept.
const recallChunk = 500

// work lists what is to be judged: everything without a base, and what is new or
// changed with one. Components that are declared in several places are one item
// as long as they state the same.
func (g *Gate) work(q Request, r *Report) []*item {
	var items []*item
	add := func(c sbom.Component, change policies.Change, previous *sbom.Component) {
		if q.Files == nil {
			c.Vendored = ""
		}
		a, ok := g.Adapters[c.Release.Package.Type]
		it := &item{in: policies.Input{Component: c, Change: change, Previous: previous, Adapter: ok}}
		if ok {
			it.in.Offered = a.Describe().Offers
		}
		items = append(items, it)
	}
	if q.Base == nil {
		for _, c := range q.Inventory.Components {
			add(c, policies.ChangePresent, nil)
		}
	} else {
		d := sbom.Diff(q.Base, q.Inventory)
		for _, delta := range d.Deltas() {
			add(delta.Component, policies.Change(delta.Change()), delta.Previous)
		}
		r.Summary.Present, r.Summary.Removed = d.Unchanged, len(d.Removed)
	}
	return merge(items)
}

// merge folds components that state exactly the same about one release but at
// other places; whatever differs stays an item of its own.
func merge(items []*item) []*item {
	first := map[string]*item{}
	var out []*item
	for _, it := range items {
		c := it.in.Component
		c.Locations, c.Relation, c.Scope = nil, "", ""
		prev := ""
		if it.in.Previous != nil {
			prev = it.in.Previous.Release.PURL()
		}
		b, err := json.Marshal(struct {
			C sbom.Component
			P string
			H policies.Change
		}{c, prev, it.in.Change})
		key := string(b)
		same, ok := first[key]
		if err != nil || !ok {
			first[key] = it
			out = append(out, it)
			continue
		}
		m := &same.in.Component
		for _, l := range it.in.Component.Locations {
			if !slices.Contains(m.Locations, l) {
				m.Locations = append(m.Locations, l)
			}
		}
		if it.in.Component.Relation == sbom.RelationDirect {
			m.Relation = sbom.RelationDirect
		}
		m.Scope = sbom.Wider(m.Scope, it.in.Component.Scope)
	}
	return out
}

// recall fetches, in bulk, what the store knows of the packages.
func (g *Gate) recall(ctx context.Context, work []*item, beside func(trust.Package) []store.Acceptance, one *shared) error {
	if len(work) == 0 {
		return nil
	}
	set := map[trust.Package]bool{}
	for _, it := range work {
		set[it.in.Component.Release.Package] = true
	}
	ps := slices.Collect(maps.Keys(set))
	known, err := g.Memory.Known(ctx, ps)
	if err != nil {
		return fmt.Errorf("reading what the store knows of %d packages: %w", len(ps), err)
	}
	accepted, err := g.Memory.AcceptancesFor(ctx, ps)
	if err != nil {
		return fmt.Errorf("reading the accepted signers of %d packages: %w", len(ps), err)
	}
	now := g.Clock()
	reuse := g.Reuse
	if reuse == 0 {
		reuse = DefaultReuse
	}
	var ask []*item
	for _, it := range work {
		p := it.in.Component.Release.Package
		it.known, it.accepted = known[p], accepted[p]
		one.known(&it.in.Component, it.known)
		if beside != nil {
			it.accepted = slices.Concat(it.accepted, beside(p))
		}
		it.in.Now = now
		if reuse >= 0 && (g.ReuseUnknown || slices.ContainsFunc(it.known, func(k store.KnownRelease) bool { return k.Release == it.in.Component.Release })) {
			ask = append(ask, it)
		}
	}
	for chunk := range slices.Chunk(ask, recallChunk) {
		var rs []trust.Release
		for _, it := range chunk {
			rs = append(rs, it.in.Component.Release)
		}
		latest, err := g.Memory.LatestDecisions(ctx, rs, time.Time{})
		if err != nil {
			return fmt.Errorf("reading the last decisions about %d releases: %w", len(rs), err)
		}
		for _, it := range chunk {
			if d, ok := latest[it.in.Component.Release]; ok && reusable(&d, it, now, reuse) && g.current(it.in.Component.Release.Package, d.Evidence) {
				one.evidence(&it.in.Component, d.Evidence)
				it.earlier = &earlier{evidence: d.Evidence, facts: d.Facts, checked: d.EvidenceChecked}
				if it.earlier.checked.IsZero() {
					it.earlier.checked = d.At
				}
			}
		}
	}
	return nil
}

// reusable reports whether the evidence of an earlier decision may stand for
// this component: complete, young enough, nothing missing or failed, and a signed
// statement over exactly the digests that the component states.
func reusable(d *store.Decision, it *item, now time.Time, max time.Duration) bool {
	if it.in.Component.Vendored != "" {
		return false // what was compared then were other files, as far as anybody knows
	}
	at := d.EvidenceChecked
	if at.IsZero() {
		at = d.At
	}
	if age := now.Sub(at); age < 0 || age > max {
		return false
	}
	stated := it.in.Component.Artifacts
	if !sameArtifacts(d.Artifacts, stated) {
		return false
	}
	signed := 0
	for _, e := range d.Evidence {
		if e.Outcome == trust.Failed || e.Outcome == trust.Unreachable || e.Validate() != nil {
			return false
		}
		if e.Assurance > trust.AssuranceNone {
			signed++
		}
	}
	return signed > 0
}

func (g *Gate) current(p trust.Package, es []trust.Evidence) bool {
	return g.Current == nil || !slices.ContainsFunc(es, func(e trust.Evidence) bool { return !g.Current(p, e) })
}

// sameArtifacts reports whether two sources state the same artifacts, with at
// least one digest that can stand for the bytes.
func sameArtifacts(a, b []trust.Artifact) bool {
	if len(a) != len(b) || len(a) == 0 {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].URL != b[i].URL || a[i].Digests.Strongest().IsZero() || !slices.Equal(a[i].Digests, b[i].Digests) {
			return false
		}
	}
	return true
}

// component is the report's view of an item.
func (it *item) component() Component {
	in := &it.in
	c := Component{
		Release: in.Component.Release, Kind: in.Component.Kind, Scope: in.Component.Scope, Relation: in.Component.Relation,
		Locations: in.Component.Locations, Artifacts: in.Component.Artifacts, Change: in.Change,
		Verdict: it.verdict, Assurance: in.Assurance, Offered: in.Offered, Continuity: in.Continuity, Was: in.Was, Is: in.Is,
		Facts: in.Facts, Findings: it.findings, Advisories: in.Advisories, AdvisoryState: in.AdvisoryState,
		FixesAdvisory: in.FixesAdvisory, Names: in.Names, Inspection: in.Inspection, InspectionState: in.InspectionState, Adapter: in.Adapter, Reused: it.earlier != nil,
		Evidence: make([]Evidence, 0, len(in.Evidence)), Rules: it.trace, ContinuityNote: in.ContinuityNote,
	}
	if c.Findings == nil {
		c.Findings = []trust.Finding{}
	}
	if in.Previous != nil {
		c.Previous = in.Previous.Release
	}
	for _, e := range in.Evidence {
		c.Evidence = append(c.Evidence, Evidence{ID: e.ID(), Evidence: e})
	}
	for _, s := range in.Signers {
		c.Signers = append(c.Signers, Signer{
			Signer: s.Signer, ID: s.Signer.ID(), Text: s.Signer.String(), Check: s.Check,
			Accepted: s.Accepted, By: s.By, Revoked: s.Revoked, Automatic: s.AutoAccept,
		})
	}
	return c
}

// ErrRecord is part of the error of a run whose decisions could not be recorded.
var ErrRecord = errors.New("the decisions could not be recorded")
