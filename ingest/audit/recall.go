package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// forever is the age of evidence when judging as of an earlier moment.
const forever = 100 * 365 * 24 * time.Hour

// recalled is the gate's memory for one batch: the store, read in bulk, without
// pins and acceptances of the audit's own, and without decisions that say what
// the one before said.
type recalled struct {
	Store
	at        time.Time // as of when; zero for now
	latest    map[trust.Release]store.Decision
	known     map[trust.Package][]store.KnownRelease
	approvals map[trust.Release][]store.ApprovalRecord
	recorded  int
}

func (r *audit) recall(ctx context.Context, batch []*item) (*recalled, error) {
	m := &recalled{Store: r.Store, at: r.q.At}
	var rs []trust.Release
	var ps []trust.Package
	for _, it := range batch {
		rs = append(rs, it.component.Release)
		ps = append(ps, it.component.Release.Package)
	}
	var err error
	if m.latest, err = r.Store.LatestDecisions(ctx, rs, m.at); err != nil {
		return nil, err
	}
	if m.known, err = r.Store.Known(ctx, ps); err != nil {
		return nil, err
	}
	if m.approvals, err = r.Store.Approvals(ctx, rs); err != nil {
		return nil, err
	}
	if !m.at.IsZero() {
		for p, ks := range m.known {
			m.known[p] = slices.DeleteFunc(ks, func(k store.KnownRelease) bool { return k.First.After(m.at) })
		}
		for rel, as := range m.approvals {
			m.approvals[rel] = slices.DeleteFunc(as, func(a store.ApprovalRecord) bool { return a.At.After(m.at) })
		}
	}
	return m, nil
}

// pin is what was accepted of the release; nil for what never passed the gate.
func (m *recalled) pin(r trust.Release) *store.KnownRelease {
	ks := m.known[r.Package]
	for i := range ks {
		if ks[i].Release == r {
			return &ks[i]
		}
	}
	return nil
}

// stated is the component with the digests that were accepted, where its source
// states none: the question is whether those still hold.
func (m *recalled) stated(c sbom.Component) sbom.Component {
	for _, a := range c.Artifacts {
		if len(a.Digests) > 0 {
			return c
		}
	}
	if k := m.pin(c.Release); k != nil && len(k.Artifacts) > 0 {
		c.Artifacts = k.Artifacts
	}
	return c
}

// Known implements ingest.Memory.
func (m *recalled) Known(context.Context, []trust.Package) (map[trust.Package][]store.KnownRelease, error) {
	return m.known, nil
}

// Approvals implements ingest.Memory.
func (m *recalled) Approvals(context.Context, []trust.Release) (map[trust.Release][]store.ApprovalRecord, error) {
	return m.approvals, nil
}

// AcceptancesFor implements ingest.Memory. As of an earlier moment, what was
// accepted or revoked later had not happened.
func (m *recalled) AcceptancesFor(ctx context.Context, ps []trust.Package) (map[trust.Package][]store.Acceptance, error) {
	all, err := m.Store.AcceptancesFor(ctx, ps)
	if err != nil || m.at.IsZero() {
		return all, err
	}
	for p, as := range all {
		as = slices.DeleteFunc(slices.Clone(as), func(a store.Acceptance) bool { return a.Since.After(m.at) })
		for i := range as {
			if as[i].Revoked != nil && as[i].Revoked.At.After(m.at) {
				as[i].Revoked = nil
			}
		}
		all[p] = as
	}
	return all, nil
}

// LatestDecisions implements ingest.Memory for the batch that was recalled.
func (m *recalled) LatestDecisions(context.Context, []trust.Release, time.Time) (map[trust.Release]store.Decision, error) {
	return m.latest, nil
}

// Stands implements ingest.Standing: a decision that says what the one before
// said is not recorded again.
func (m *recalled) Stands(d *store.Decision) (string, bool) {
	prev, ok := m.latest[d.Release]
	if !ok || d.EvidenceChecked.IsZero() || !same(&prev, d) {
		return "", false
	}
	return prev.ID, true
}

// Record implements ingest.Memory. An audit neither pins nor accepts.
func (m *recalled) Record(ctx context.Context, c store.Commit) (store.Recorded, error) {
	if len(c.Decisions) == 0 {
		return store.Recorded{}, nil
	}
	c.Pin, c.Accept = nil, nil
	out, err := m.Store.Record(ctx, c)
	if err == nil && len(out.DecisionIDs) != len(c.Decisions) {
		err = fmt.Errorf("the store recorded %d of %d decisions", len(out.DecisionIDs), len(c.Decisions))
	}
	if err == nil {
		m.recorded += len(c.Decisions)
	}
	return out, err
}

// same reports whether two decisions say the same about the same bytes on the
// same evidence.
func same(a, b *store.Decision) bool {
	if a.Verdict != b.Verdict || a.Assurance != b.Assurance || a.Continuity != b.Continuity || !sameEvidence(a.Evidence, b.Evidence) {
		return false
	}
	if len(a.Findings)+len(b.Findings) == 0 && slices.EqualFunc(a.Artifacts, b.Artifacts, func(x, y trust.Artifact) bool { return x.URL == y.URL }) && agree(a.Artifacts, b.Artifacts) {
		return true
	}
	fa, errA := json.Marshal([]any{a.Findings, a.Artifacts})
	fb, errB := json.Marshal([]any{b.Findings, b.Artifacts})
	return errA == nil && errB == nil && string(fa) == string(fb)
}

func sameEvidence(a, b []trust.Evidence) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] { // reused as it is
		return true
	}
	return slices.EqualFunc(a, b, func(x, y trust.Evidence) bool { return x.ID() == y.ID() })
}

// asOf makes the gate judge as of an earlier moment: its clock stands still, and
// the evidence is what was recorded by then.
func (m *recalled) asOf(g *ingest.Gate) {
	at := m.at
	g.Clock = func() time.Time { return at }
	g.Reuse = forever
	g.Usage = nil
	past := map[string]adapter.Adapter{}
	for typ, a := range g.Adapters {
		past[typ] = &recorded{Adapter: a, m: m}
	}
	g.Adapters = past
}

// recorded is an adapter that answers from what was recorded, and asks nobody.
type recorded struct {
	adapter.Adapter
	m *recalled
}

// Handles implements adapter.KindHandler as the adapter behind it does.
func (p *recorded) Handles(k sbom.Kind) bool {
	h, ok := p.Adapter.(adapter.KindHandler)
	return ok && h.Handles(k)
}

// Collect implements adapter.Adapter.
func (p *recorded) Collect(_ context.Context, q adapter.Request) (adapter.Result, error) {
	if d, ok := p.m.latest[q.Component.Release]; ok && len(d.Evidence) > 0 && agree(d.Artifacts, q.Component.Artifacts) {
		return adapter.Result{Evidence: d.Evidence, Facts: d.Facts}, nil
	}
	return adapter.Result{Evidence: []trust.Evidence{{
		Check: trust.CheckMetadata, Outcome: trust.Unreachable, Release: q.Component.Release, Reason: trust.ReasonOffline,
		Detail: "nothing was recorded about these bytes by " + p.m.at.UTC().Format(time.RFC3339),
	}}}, nil
}

// agree reports whether two lists of artifacts state the same digests.
func agree(a, b []trust.Artifact) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || !slices.Equal(a[i].Digests, b[i].Digests) {
			return false
		}
	}
	return true
}
