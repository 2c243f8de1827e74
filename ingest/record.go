package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// input is what of the policy's input is kept with a decision: all that a later
// reader needs to judge again, without what the decision's own columns hold.
type input struct {
	Change          policies.Change        `json:"change"`
	Kind            string                 `json:"kind"`
	Previous        string                 `json:"previous,omitempty"`
	Offered         trust.Assurance        `json:"offered"`
	Adapter         bool                   `json:"adapter"`
	Signers         []policies.SignerState `json:"signers,omitempty"`
	BinarySigners   []policies.SignerState `json:"binarySigners,omitempty"`
	BinariesBefore  []string               `json:"binariesBefore,omitempty"`
	Was             string                 `json:"was,omitempty"`
	Is              string                 `json:"is,omitempty"`
	ContinuityNote  string                 `json:"continuityNote,omitempty"`
	Pinned          bool                   `json:"pinned,omitempty"`
	PackageKnown    bool                   `json:"packageKnown,omitempty"`
	Changed         bool                   `json:"changedUpstream,omitempty"`
	Advisories      []policies.Advisory    `json:"advisories,omitempty"`
	AdvisoryState   policies.State         `json:"advisoryState,omitempty"`
	AdvisoryNote    string                 `json:"advisoryNote,omitempty"`
	FixedIn         string                 `json:"fixedIn,omitempty"`
	Names           []policies.NameRisk    `json:"names,omitempty"`
	Inspection      []policies.Observation `json:"inspection,omitempty"`
	InspectionState policies.State         `json:"inspectionState,omitempty"`
	History         []trust.History        `json:"history,omitempty"`
	Approvals       []policies.Approval    `json:"approvals,omitempty"`

	// What a replay needs besides: see InputOf.
	Component          *sbom.Component `json:"component,omitempty"`
	PreviousComponent  *sbom.Component `json:"previousComponent,omitempty"`
	FixesAdvisory      []string        `json:"fixesAdvisory,omitempty"`
	PreviousAdvisories []string        `json:"previousAdvisories,omitempty"`
	Licenses           []string        `json:"licenses,omitempty"`
	Now                time.Time       `json:"now,omitzero"`
}

// record writes all decisions of the run in one transaction. A store that cannot
// be written to is no reason to withhold the verdict if the user opened it read
// only; any other failure is an error, and nothing is recorded.
func (g *Gate) record(ctx context.Context, r *Report, work []*item, q Request) error {
	if len(work) == 0 && len(r.Findings) == 0 {
		return nil
	}
	switch {
	case q.DryRun:
		r.Notes = append(r.Notes, "nothing was recorded, as asked")
		return nil
	case g.Memory.ReadOnly():
		r.Notes = append(r.Notes, "the store is read-only: the decisions of this run were not recorded")
		return nil
	}
	summary, err := json.Marshal(r.Summary)
	if err != nil {
		return fmt.Errorf("recording the run: %w", err)
	}
	c := store.Commit{Run: store.Run{
		Command: q.Command, Source: r.Source.Name, PolicyDigest: r.Policy.Digest, PolicyName: r.Policy.Name,
		Started: r.Started, Finished: r.Finished, Verdict: r.Verdict, Requester: q.Requester, Summary: summary,
	}}
	if r.Base != nil {
		c.Run.Base = r.Base.Name
	}
	places := make([]int, 0, len(work)) // of the decisions among the components
	if standing, ok := g.Memory.(Standing); ok {
		// Audits go by batches, which are small enough to be held.
		for i, it := range work {
			d := it.decision(&r.Components[i], r.Finished)
			if id, ok := standing.Stands(&d); ok {
				r.Components[i].DecisionID = id
				continue
			}
			if d.Input, err = it.input(&r.Components[i]); err != nil {
				return err
			}
			c.Decisions, places = append(c.Decisions, d), append(places, i)
		}
	} else {
		for i := range work {
			places = append(places, i)
		}
		// The decisions are made while they are written: those of a large run would be as
		// much again as all that the run holds.
		c.Stream = func(yield func(store.Decision, error) bool) {
			for i, it := range work {
				d := it.decision(&r.Components[i], r.Finished)
				var err error
				d.Input, err = it.input(&r.Components[i])
				if !yield(d, err) {
					return
				}
			}
		}
		c.PinStream = func(yield func(store.KnownRelease) bool) {
			for _, it := range work {
				if pin, ok := pinOf(it, q.Baseline); ok && !yield(pin) {
					return
				}
			}
		}
		for _, it := range work {
			c.Accept = append(c.Accept, acceptances(it, q.Baseline)...)
		}
	}
	if err := g.alarms(ctx, work); err != nil {
		return errors.Join(ErrRecord, err)
	}
	done, err := g.Memory.Record(ctx, c)
	if err != nil {
		return errors.Join(ErrRecord, err)
	}
	r.RunID = done.RunID
	for i, id := range done.DecisionIDs {
		r.Components[places[i]].DecisionID = id
	}
	return nil
}

// decision is what is kept of the judged component c, but for its Input.
func (it *item) decision(c *Component, at time.Time) store.Decision {
	in := &it.in
	d := store.Decision{
		Release: in.Component.Release, Artifacts: in.Component.Artifacts, Verdict: it.verdict, Assurance: in.Assurance,
		Continuity: in.Continuity, Findings: it.findings, EvidenceChecked: it.checked, Signers: signerList(in.Signers), Facts: in.Facts, At: at,
	}
	for _, e := range c.Evidence {
		d.Evidence = append(d.Evidence, e.Evidence)
	}
	return d
}

func signerList(states []policies.SignerState) []trust.Signer {
	var out []trust.Signer
	for _, s := range states {
		out = append(out, s.Signer)
	}
	return out
}

// input is what the policy looked at, to be kept with the decision.
func (it *item) input(c *Component) ([]byte, error) {
	in := &it.in
	b, err := json.Marshal(input{
		Change: in.Change, Kind: string(in.Component.Kind), Previous: c.Previous.PURL(), Offered: in.Offered, Adapter: in.Adapter,
		Signers: in.Signers, BinarySigners: in.BinarySigners, BinariesBefore: in.BinariesBefore, Was: in.Was, Is: in.Is, ContinuityNote: in.ContinuityNote, Pinned: in.Pinned, PackageKnown: in.PackageKnown,
		Changed: in.ChangedUpstream, Advisories: in.Advisories, AdvisoryState: in.AdvisoryState, AdvisoryNote: in.AdvisoryNote, FixedIn: in.FixedIn,
		Names: in.Names, Inspection: in.Inspection, InspectionState: in.InspectionState, History: in.History, Approvals: in.Approvals,
		Component: &in.Component, PreviousComponent: in.Previous, FixesAdvisory: in.FixesAdvisory, PreviousAdvisories: in.PreviousAdvisories,
		Licenses: in.Licenses, Now: in.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", in.Component.Release, err)
	}
	return b, nil
}

// Standing is a Memory that knows decisions which need not be recorded again.
// Nothing is pinned or accepted for their releases either: audits alone have it.
type Standing interface {
	// Stands returns the id of the recorded decision that says the same as d, whose
	// Input is not filled in, about the same bytes on the same evidence.
	Stands(d *store.Decision) (id string, ok bool)
}

// Unreachable reports whether some evidence about the component could not be had,
// so that nobody can say yet what it is.
func Unreachable(v trust.Verdict, es []trust.Evidence) bool {
	return v == trust.Undecided || slices.ContainsFunc(es, func(e trust.Evidence) bool { return e.Outcome == trust.Unreachable })
}

// Unreachable is Unreachable of the component.
func (c *Component) Unreachable() bool {
	return c.Verdict == trust.Undecided || slices.ContainsFunc(c.Evidence, func(e Evidence) bool { return e.Outcome == trust.Unreachable })
}

// inBaseline says whether a baseline takes a component as it is: everything but
// what is blocked, and what could not be looked at.
func inBaseline(it *item, b Baseline) bool {
	return b != BaselineNone && it.verdict != trust.Block && (b == BaselineUnsafeUnreachable || !it.unreachable)
}

// pinOf says whether the release becomes known by its digests: what was allowed
// by itself, and in a baseline whatever is there, was looked at and is not blocked.
// What an approval or an exception let in is not: it would outlive their end.
func pinOf(it *item, b Baseline) (store.KnownRelease, bool) {
	in := &it.in
	waived := slices.ContainsFunc(it.findings, func(f trust.Finding) bool { return !f.Counts() })
	baseline := inBaseline(it, b)
	ok := it.verdict == trust.Allow && !waived || baseline
	if !ok || in.Component.Release.Version == "" {
		return store.KnownRelease{}, false
	}
	return store.KnownRelease{
		Release: in.Component.Release, Kind: kindOf(&in.Component), Artifacts: artifactsOf(&in.Component), Assurance: in.Assurance,
		Verdict: it.verdict, Baseline: baseline, Signers: signerList(in.Signers), BinarySigners: signerList(in.BinarySigners),
	}, true
}

// acceptances are the signers that this run accepts by itself: those of the
// baseline, and those that the policy takes on first sight. Both are for the
// exact package only.
func acceptances(it *item, b Baseline) []store.Acceptance {
	in := &it.in
	baseline := inBaseline(it, b)
	if it.verdict != trust.Allow && !baseline {
		return nil
	}
	var out []store.Acceptance
	for _, s := range in.Signers {
		by, reason := "automatic", "first sight: provenance names the repository that the registry names too"
		switch {
		case s.Accepted || s.Revoked:
			continue
		case baseline:
			by, reason = "baseline", "was there when headgate was introduced"
		case !s.AutoAccept:
			continue
		}
		out = append(out, store.Acceptance{
			Signer: s.Signer, Scope: store.PackageScope(in.Component.Release.Package), By: by, Reason: reason, Automatic: true,
		})
	}
	return out
}
