package ingest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/ingest/names"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// ByHeadgate is the author of acceptances that stand from the start: keys of
// registries, distributions and public logs that an adapter pins.
const ByHeadgate = "pinned by headgate"

// assess makes the policy's input of every item and has it judged.
func (g *Gate) assess(ctx context.Context, work []*item, q Request) error {
	answer := g.advisories(ctx, work)
	doubts, err := g.doubts(q, work)
	if err != nil {
		return err
	}
	var rs []trust.Release
	if g.Approve != nil {
		for _, it := range work {
			rs = append(rs, it.in.Component.Release)
		}
	}
	held := map[trust.Release][]store.ApprovalRecord{}
	if len(rs) > 0 {
		if held, err = g.Memory.Approvals(ctx, rs); err != nil {
			return fmt.Errorf("reading approvals: %w", err)
		}
	}
	eg, ectx := errgroup.WithContext(ctx)
	eg.SetLimit(runtime.GOMAXPROCS(0))
	for _, it := range work {
		if ectx.Err() != nil {
			break
		}
		eg.Go(func() error {
			g.describe(it)
			in := &it.in
			if in.AdvisoryState = policies.StateOff; g.Advisories != nil {
				r := in.Component.Release
				in.Advisories, in.AdvisoryState = answer.Advisories[r], answer.States[r]
				if in.AdvisoryState == "" {
					in.AdvisoryState = policies.StateUnavailable
				}
				in.AdvisoryNote, in.FixedIn = answer.Reasons[r], advisories.SmallestFix(r, in.Advisories)
				if in.Previous != nil {
					in.PreviousAdvisories = advisories.IDs(answer.Advisories[in.Previous.Release])
					in.FixesAdvisory = advisories.FixedBy(answer, in.Previous.Release, r)
				}
			}
			in.Names = append(doubts.Check(in.Component.Release, g.internal(in.Component)), doubts.CheckAlias(in.Component.Release, in.Component.Alias)...)
			if err := g.judge(ectx, it); err != nil {
				return err
			}
			// Approvals are looked at only where something is held, and judged again:
			// what they may set aside is the policy's business.
			if g.Approve != nil && it.verdict == trust.Hold {
				records := slices.Concat(held[in.Component.Release], q.Approvals[in.Component.Release])
				if in.Approvals = g.Approve(*in, it.findings, records, q.Requester); len(in.Approvals) > 0 {
					return g.judge(ectx, it)
				}
			}
			return nil
		})
	}
	return eg.Wait()
}

// judge asks the policy. A policy that crashes has judged nothing: the whole run
// fails, with its own exit code, rather than leave one component out.
func (g *Gate) judge(ctx context.Context, it *item) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("judging %s: the policy crashed: %v", it.in.Component.Release, p)
		}
	}()
	out := g.Judge.Evaluate(ctx, it.in)
	it.findings, it.verdict = out.Findings, out.Verdict
	if g.Explain {
		it.trace = out.Trace
	}
	return ctx.Err()
}

// advisories looks up all releases that are judged and those that they replace.
func (g *Gate) advisories(ctx context.Context, work []*item) advisories.Answer {
	if g.Advisories == nil {
		return advisories.Answer{}
	}
	set := map[trust.Release]bool{}
	var items []advisories.Item
	add := func(c *sbom.Component) {
		if c == nil || set[c.Release] {
			return
		}
		set[c.Release] = true
		it := advisories.Item{Release: c.Release}
		for _, a := range c.Artifacts {
			it.Digests = append(it.Digests, a.Digests...)
		}
		items = append(items, it)
	}
	for _, it := range work {
		add(&it.in.Component)
		add(it.in.Previous)
	}
	return g.Advisories.Query(ctx, items, g.Clock())
}

// doubts knows the names that are worth imitating here: those of the base and
// those that the store knows. What is known itself is not doubted.
func (g *Gate) doubts(q Request, work []*item) (*names.Index, error) {
	var known []trust.Package
	if q.Base != nil {
		for _, c := range q.Base.Components {
			known = append(known, c.Release.Package)
		}
	}
	for _, it := range work {
		if len(it.known) > 0 {
			known = append(known, it.in.Component.Release.Package)
		}
	}
	ix, err := names.NewIndex(known, g.Internal)
	if err != nil {
		return nil, fmt.Errorf("internal namespaces: %w", err)
	}
	return ix, nil
}

// describe fills in what follows from evidence and store.
func (g *Gate) describe(it *item) {
	in := &it.in
	in.Assurance = trust.AssuranceNone
	seen := map[string]int{}
	for _, e := range in.Evidence {
		if e.Outcome != trust.Verified {
			continue
		}
		in.Assurance = max(in.Assurance, e.Assurance)
		if e.Signer == nil || e.Assurance == trust.AssuranceNone {
			continue
		}
		s := signerState(*e.Signer, e, it.accepted, in)
		key := s.Signer.WorkflowIdentity()
		if i, ok := seen[key]; ok {
			// One signer, several statements: the one that says most stays.
			in.Signers[i].AutoAccept = in.Signers[i].AutoAccept || s.AutoAccept
			continue
		}
		seen[key] = len(in.Signers)
		in.Signers = append(in.Signers, s)
	}
	it.describeBinaries()
	in.Licenses = in.Facts.Licenses
	if len(in.Licenses) == 0 {
		in.Licenses = in.Component.Licenses
	}
	kind := kindOf(&in.Component)
	in.PackageKnown = slices.ContainsFunc(it.known, func(k store.KnownRelease) bool { return k.Kind == "" || k.Kind == kind })
	in.Pinned, in.ChangedUpstream = it.seen()
	active := slices.DeleteFunc(slices.Clone(it.accepted), func(a store.Acceptance) bool { return a.Revoked != nil || ended(a, in.Now) })
	in.Continuity, in.Was, in.Is, in.ContinuityNote = g.Continuity(ContinuityInput{
		Release: in.Component.Release, Evidence: in.Evidence, Accepted: active, Known: it.known,
		History: in.History, Facts: in.Facts, Now: in.Now,
	})
}

// seen compares the component with what the store holds of the same release. A
// source whose digest upstream itself refutes is what is wrong then: nobody
// changed the published bytes, and the failed evidence stops it.
func (it *item) seen() (pinned, changed bool) {
	differs := false
	for _, k := range it.known {
		if k.Release != it.in.Component.Release {
			continue
		}
		switch compare(k.Artifacts, artifactsOf(&it.in.Component)) {
		case trust.Agree:
			pinned = pinned || k.Kind == "" || k.Kind == kindOf(&it.in.Component)
		case trust.Disagree:
			differs = true
		}
	}
	refuted := slices.ContainsFunc(it.in.Evidence, func(e trust.Evidence) bool {
		return e.Outcome == trust.Failed && e.Reason == trust.ReasonWrongDigest
	})
	return pinned && !differs, differs && !refuted
}

// kindOf is how a component comes, "" for those of a registry: a folder of the
// project or a git repository says nothing of the registry's package of that name,
// and what no build uses was not looked at as if one did.
func kindOf(c *sbom.Component) string {
	if c.Scope == sbom.ScopeUnused {
		return string(sbom.ScopeUnused)
	}
	switch c.Kind {
	case sbom.KindRegistry, sbom.KindUnknown, sbom.KindToolchain:
		return ""
	}
	return string(c.Kind)
}

// artifactsOf is what a component is known by. A git dependency without an
// archive is its commit; another commit is something else, and no change of it.
func artifactsOf(c *sbom.Component) []trust.Artifact {
	if c.Kind != sbom.KindGit || !c.Pinned || len(c.Artifacts) > 0 {
		return c.Artifacts
	}
	d, err := trust.NewDigest(trust.GitCommit, c.Commit)
	if err != nil {
		return nil
	}
	return []trust.Artifact{{Name: "commit " + d.Value + " of " + c.Origin, Digests: trust.Digests{d}}}
}

// compare compares artifacts by name. Every artifact of now must be known with
// agreeing digests; one that disagrees decides.
func compare(before, now []trust.Artifact) trust.Agreement {
	res := trust.Agree
	if len(now) == 0 || len(before) == 0 {
		return trust.Incomparable
	}
	for _, n := range now {
		one := trust.Incomparable
		for _, b := range before {
			if b.Name == n.Name {
				one = b.Digests.Compare(n.Digests)
				if one == trust.Incomparable && b.Digests.Get(trust.GitCommit).Equal(n.Digests.Get(trust.GitCommit)) {
					one = trust.Agree // a commit names its whole content
				}
				break
			}
		}
		switch one {
		case trust.Disagree:
			return trust.Disagree
		case trust.Incomparable:
			res = trust.Incomparable
		}
	}
	return res
}

func ended(a store.Acceptance, now time.Time) bool {
	return !a.Until.IsZero() && !now.Before(a.Until) || now.Before(a.Since.Add(-time.Minute))
}

// signerState is what the store says of a signer for this package. A revocation
// outweighs every acceptance, wider ones and pinned keys included.
func signerState(s trust.Signer, e trust.Evidence, accepted []store.Acceptance, in *policies.Input) policies.SignerState {
	st := policies.SignerState{Signer: s, Check: e.Check}
	for _, a := range accepted {
		if !covers(a, s, in.Component.Release.Package) {
			continue
		}
		switch {
		case a.Revoked != nil:
			st.Revoked, st.Accepted = true, false
			st.By, st.Reason = a.Revoked.By, a.Revoked.Reason
			return st
		case ended(a, in.Now):
			if !st.Accepted {
				st.Reason = "the acceptance by " + a.By + " ended on " + a.Until.UTC().Format(time.DateOnly)
			}
		case !st.Accepted:
			st.Accepted, st.By, st.Reason = true, a.By, a.Reason
		}
	}
	if !st.Accepted && (s.Kind == trust.SignerRegistry || s.Kind == trust.SignerLog) && e.Assurance == trust.AssuranceRegistry {
		st.Accepted, st.By = true, ByHeadgate
	}
	st.AutoAccept = !st.Accepted && e.Check == trust.CheckProvenance && sameRepository(s.SourceRepository, in.Facts.Repository)
	return st
}

// covers reports whether the acceptance is about this signer and this package.
func covers(a store.Acceptance, s trust.Signer, p trust.Package) bool {
	return a.Scope.Covers(p, s) && a.Matches(s)
}

// sameRepository compares the signed source repository with the one that the
// registry names. Only a full match counts.
func sameRepository(signed, claimed string) bool {
	norm := func(u string) string {
		u = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(u), "/"), ".git")
		return strings.ToLower(u)
	}
	return signed != "" && norm(signed) == norm(claimed)
}
