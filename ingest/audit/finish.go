package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// subject is what a finding is about: a release, or a source.
type subject struct {
	release trust.Release
	source  string
}

// open is a finding with all sources that it concerns.
type open struct {
	subject
	found
	stored  *store.AuditFinding
	carried bool
	sources []int // indexes of audit.sources, in order
	newIn   int
	gone    bool
}

// body is what the store keeps of a finding.
type body struct {
	Kind    ingest.AuditKind `json:"kind"`
	Rule    string           `json:"rule"`
	Effect  trust.Effect     `json:"effect"`
	Message string           `json:"message"`
	Remedy  string           `json:"remedy,omitempty"`
}

// difference is the state of all findings against the last audits.
type difference struct {
	findings []*open
	counts   []ingest.AuditSource // per source: New, Unchanged, Gone, Last
}

// finish compares with the last audits, records, and reports.
func (r *audit) finish(ctx context.Context) (*ingest.Report, error) {
	releases, uses := r.uses()
	d, err := r.compare(ctx, releases, uses)
	if err != nil {
		return nil, err
	}
	rep := r.report(d, len(releases))
	past, err := r.Store.Audits(ctx, ingest.MaxAuditHistory-1)
	if err != nil {
		return nil, err
	}
	r.history(rep, past)
	if r.seq == 0 {
		rep.Notes = append(rep.Notes, r.notes...)
		return rep, nil
	}
	point, err := json.Marshal(rep.Audit.History[len(rep.Audit.History)-1])
	if err != nil {
		return nil, fmt.Errorf("recording the audit: %w", err)
	}
	// The log says that there was an audit and what came of it, even where every
	// decision stood already.
	run, err := r.Store.Record(ctx, store.Commit{Run: store.Run{
		Command: "audit", Source: rep.Source.Name, PolicyDigest: rep.Policy.Digest, PolicyName: rep.Policy.Name,
		Started: rep.Started, Finished: rep.Finished, Verdict: rep.Verdict, Requester: r.q.Requester, Summary: point,
	}})
	if err != nil {
		return nil, err
	}
	rep.RunID = run.RunID
	c := store.AuditCommit{Seq: r.seq, Finished: rep.Finished, Verdict: rep.Verdict, Summary: point, Releases: releases}
	for i := range r.sources {
		// What a broken source holds is unknown; its last known list stands. A source
		// whose signature fails does not replace it either.
		if s := &r.sources[i]; s.problem == "" && !s.doubtful {
			c.Sources = append(c.Sources, store.SourceUse{Name: s.name, Releases: uses[i]})
		}
	}
	for _, o := range d.findings {
		if o.gone {
			continue
		}
		b, err := json.Marshal(body{o.Kind, o.Rule, o.Effect, o.Message, o.Remedy})
		if err != nil {
			return nil, fmt.Errorf("recording the audit: %w", err)
		}
		c.Findings = append(c.Findings, store.AuditFinding{Release: o.release, Source: o.source, Key: o.Key, Body: b})
	}
	for _, it := range r.items {
		if !it.result.Checked {
			c.Unchecked = append(c.Unchecked, it.component.Release)
		}
	}
	if err := r.Store.FinishAudit(ctx, c); err != nil {
		return nil, err
	}
	rep.Notes = append(rep.Notes, r.notes...)
	return rep, nil
}

// uses lists the distinct releases, and per source which of them it holds.
func (r *audit) uses() ([]trust.Release, [][]int32) {
	var releases []trust.Release
	of := make([]int32, len(r.items))
	for i, it := range r.items {
		if n := len(releases); n == 0 || releases[n-1] != it.component.Release {
			releases = append(releases, it.component.Release)
		}
		of[i] = int32(len(releases) - 1)
	}
	uses := make([][]int32, len(r.sources))
	for i := range r.sources {
		for _, at := range r.sources[i].items {
			uses[i] = append(uses[i], of[at])
		}
		uses[i] = slices.Compact(uses[i]) // items are in the order of releases
	}
	return releases, uses
}

// base is the audit that a source is compared with; 0 for none.
func (r *audit) base(known store.AuditedSource, sinceSeq int64) int64 {
	switch {
	case r.q.Since.IsZero():
		return known.Last
	case known.First == 0 || known.First > sinceSeq:
		return 0
	}
	return min(known.Last, sinceSeq)
}

// compare finds what is new, gone and unchanged for each source.
func (r *audit) compare(ctx context.Context, releases []trust.Release, uses [][]int32) (*difference, error) {
	names := make([]string, len(r.sources))
	for i := range r.sources {
		names[i] = r.sources[i].name
	}
	known, err := r.Store.AuditedSources(ctx, names)
	if err != nil {
		return nil, err
	}
	var sinceSeq int64
	if !r.q.Since.IsZero() {
		if sinceSeq, err = r.seqAt(ctx, r.q.Since); err != nil {
			return nil, err
		}
	}
	purls := make([]string, len(releases))
	for i := range releases {
		purls[i] = releases[i].PURL()
	}
	// What sources held at their last audit, where that has changed.
	before := make([]map[trust.Release]int64, len(r.sources))
	had := map[trust.Release]bool{}
	for i := range r.sources {
		k, ok := known[names[i]]
		if !ok || r.sources[i].problem != "" {
			continue
		}
		if k.LastAt.After(r.started.Add(time.Minute)) && r.q.At.IsZero() {
			r.note("%s was last audited at %s, which is in the future: the clock of this machine, or of the one that audited then, is wrong", names[i], k.LastAt.UTC().Format(time.RFC3339))
		}
		if slices.Equal(store.UseDigest(purls, uses[i]), k.Digest) && r.q.Since.IsZero() {
			continue
		}
		if before[i], err = r.Store.Uses(ctx, names[i]); err != nil {
			return nil, err
		}
		for rel := range before[i] {
			had[rel] = true
		}
	}
	for _, rel := range releases {
		delete(had, rel)
	}
	ask := slices.Clone(releases)
	for rel := range had {
		ask = append(ask, rel)
	}
	all, err := r.Store.AuditFindings(ctx, ask, names)
	if err != nil {
		return nil, err
	}
	type key struct {
		subject
		key string
	}
	stored := make(map[key]*store.AuditFinding, len(all))
	bySubject := map[subject][]*store.AuditFinding{}
	for i := range all {
		f := &all[i]
		s := subject{f.Release, f.Source}
		stored[key{s, f.Key}] = f
		bySubject[s] = append(bySubject[s], f)
	}

	d := &difference{counts: make([]ingest.AuditSource, len(r.sources))}
	index := map[key]*open{}
	get := func(s subject, f found) *open {
		k := key{s, f.Key}
		o := index[k]
		if o == nil {
			o = &open{subject: s, found: f, stored: stored[k]}
			index[k] = o
			d.findings = append(d.findings, o)
		}
		return o
	}
	itemFindings := make([][]*open, len(r.items))
	for i, it := range r.items {
		s := subject{release: it.component.Release}
		for _, f := range it.result.Found {
			itemFindings[i] = append(itemFindings[i], get(s, f))
		}
		if it.result.Checked {
			continue
		}
		// What could not be looked at stays as it was.
		for _, f := range bySubject[s] {
			if f.Closed == 0 && !slices.ContainsFunc(it.result.Found, func(x found) bool { return x.Key == f.Key }) {
				var b body
				if err := json.Unmarshal(f.Body, &b); err != nil {
					return nil, fmt.Errorf("finding %q about %s: %w", f.Key, f.Release, err)
				}
				o := get(s, found{Kind: b.Kind, Key: f.Key, Rule: b.Rule, Effect: b.Effect, Message: b.Message, Remedy: b.Remedy})
				o.carried = true
				itemFindings[i] = append(itemFindings[i], o)
			}
		}
	}
	goneOf := map[*store.AuditFinding]*open{}
	for i := range r.sources {
		src, c := &r.sources[i], &d.counts[i]
		k, audited := known[src.name]
		c.Last = k.LastAt
		base := r.base(k, sinceSeq)
		here := map[*open]bool{}
		place := func(o *open, isNew bool) {
			if here[o] {
				return
			}
			here[o] = true
			o.sources = append(o.sources, i)
			if isNew {
				o.newIn++
				c.New++
			} else {
				c.Unchanged++
			}
		}
		fresh := func(o *open) bool {
			return !audited || base == 0 || o.stored == nil || o.stored.Closed != 0 || o.stored.First > base
		}
		for _, f := range src.found {
			o := get(subject{source: src.name}, f)
			place(o, fresh(o))
		}
		for _, at := range src.items {
			rel := r.items[at].component.Release
			since, was := before[i][rel]
			arrived := before[i] != nil && (!was || since > base)
			for _, o := range itemFindings[at] {
				place(o, arrived || fresh(o))
			}
		}
		if !audited || base == 0 || src.problem != "" {
			continue
		}
		leave := func(f *store.AuditFinding) {
			if f.First > base || f.Closed != 0 && f.Closed <= base {
				return
			}
			if o := index[key{subject{f.Release, f.Source}, f.Key}]; o != nil && here[o] {
				return
			}
			c.Gone++
			o := goneOf[f]
			if o == nil {
				var b body
				// A finding that cannot be read is gone all the same.
				_ = json.Unmarshal(f.Body, &b)
				o = &open{subject: subject{f.Release, f.Source}, found: found{Kind: b.Kind, Key: f.Key, Rule: b.Rule, Effect: b.Effect, Message: b.Message, Remedy: b.Remedy}, stored: f, gone: true}
				goneOf[f] = o
				d.findings = append(d.findings, o)
			}
			o.sources = append(o.sources, i)
		}
		if before[i] == nil {
			for _, u := range uses[i] {
				for _, f := range bySubject[subject{release: releases[u]}] {
					leave(f)
				}
			}
		} else {
			for rel := range before[i] {
				for _, f := range bySubject[subject{release: rel}] {
					leave(f)
				}
			}
		}
		for _, f := range bySubject[subject{source: src.name}] {
			leave(f)
		}
	}
	return d, nil
}

// seqAt is the newest audit that was finished by t.
func (r *audit) seqAt(ctx context.Context, t time.Time) (int64, error) {
	all, err := r.Store.Audits(ctx, 10_000)
	for _, a := range all {
		if err == nil && !a.Finished.After(t) {
			return a.Seq, nil
		}
	}
	return 0, err
}

// report makes the report.
func (r *audit) report(d *difference, releases int) *ingest.Report {
	g := r.Gate
	rep := &ingest.Report{
		Tool: g.Tool, Command: "audit", Started: r.started, Finished: g.Clock(),
		Source: sbom.Source{Scheme: "audit", Name: sourcesName(r.sources)},
		Policy: ingest.Policy{Name: g.Judge.Name(), Digest: g.Judge.Digest(), Origin: r.q.Origin},
	}
	if !r.q.At.IsZero() {
		rep.Finished = r.q.At
	}
	a := &ingest.Audit{Releases: releases, Resumed: r.resumed, Recorded: r.recorded, FailOn: string(r.q.FailOn), Since: r.q.Since, At: r.q.At, Findings: []ingest.AuditFinding{}}
	rep.Audit = a
	inv := &sbom.Inventory{Source: rep.Source}
	rep.Inventory = inv

	holders := make([][]trust.Location, len(r.items))
	for i := range r.sources {
		for _, at := range r.sources[i].items {
			if len(holders[at]) < MaxHolders {
				holders[at] = append(holders[at], trust.Location{Path: r.sources[i].name})
			}
		}
	}
	rep.Components = make([]ingest.Component, len(r.items))
	inv.Components = make([]sbom.Component, len(r.items))
	for i, it := range r.items {
		rep.Components[i], inv.Components[i] = it.result.Component, it.component
		rep.Components[i].Locations, inv.Components[i].Locations = holders[i], holders[i]
		// An audit of very many releases has no room for them twice.
		it.result.Component, it.component = ingest.Component{}, sbom.Component{Release: it.component.Release}
	}
	broken := false
	for i := range r.sources {
		s := &r.sources[i]
		rep.Summary.Components += s.components
		as := d.counts[i]
		as.Name, as.Components, as.Problem, as.Verdict = s.name, s.components, s.problem, trust.Allow
		as.Verdicts, as.Assurance = map[trust.Verdict]int{}, map[string]int{}
		for _, at := range s.items {
			c := &rep.Components[at]
			as.Verdict = trust.Worst(as.Verdict, c.Verdict)
			as.Verdicts[c.Verdict]++
			as.Assurance[c.Assurance.String()]++
		}
		for _, f := range s.found {
			as.Verdict = trust.Worst(as.Verdict, f.Effect.Verdict())
			rep.Findings = append(rep.Findings, trust.Finding{Rule: f.Rule, Effect: f.Effect, Message: f.Message, Remedy: f.Remedy, Location: trust.Location{Path: s.name}})
		}
		broken = broken || s.problem != ""
		a.Sources = append(a.Sources, as)
	}
	newVerdict := trust.Allow
	for _, o := range d.findings {
		f := ingest.AuditFinding{Kind: o.Kind, State: ingest.AuditUnchanged, Rule: o.Rule, Release: o.release, Effect: o.Effect,
			Message: o.Message, Remedy: o.Remedy, InSources: len(o.sources), NewIn: o.newIn, Since: r.started}
		switch {
		case o.gone:
			f.State = ingest.AuditGone
			a.Gone++
		case o.newIn > 0:
			f.State = ingest.AuditNew
			a.New++
			newVerdict = trust.Worst(newVerdict, o.Effect.Verdict())
		default:
			a.Unchanged++
		}
		if o.stored != nil && (o.gone || o.stored.Closed == 0) {
			f.Since = o.stored.At
		}
		if o.carried {
			f.Message += " (could not be looked at again)"
		}
		for _, i := range o.sources[:min(len(o.sources), ingest.MaxAuditSourcesNamed)] {
			f.Sources = append(f.Sources, r.sources[i].name)
		}
		a.Findings = append(a.Findings, f)
	}
	order := map[ingest.AuditState]int{ingest.AuditNew: 0, ingest.AuditUnchanged: 1, ingest.AuditGone: 2}
	weight := map[trust.Effect]int{trust.EffectBlock: 0, trust.EffectHold: 1, trust.EffectUndecided: 2, trust.EffectWarn: 3}
	slices.SortStableFunc(a.Findings, func(x, y ingest.AuditFinding) int {
		return cmp.Or(cmp.Compare(order[x.State], order[y.State]), cmp.Compare(weight[x.Effect], weight[y.Effect]), cmp.Compare(x.Kind, y.Kind))
	})
	rep.Empty = len(r.items) == 0 && !broken
	if g.Usage != nil && r.q.At.IsZero() {
		rep.Summary.Requests, rep.Summary.Bytes = g.Usage()
	}
	rep.Finish()
	if r.q.FailOn == FailOnNew {
		rep.ExitCode = exitCode(newVerdict, rep.Empty)
		// A source that cannot be read is never old news.
		if broken && rep.ExitCode != ingest.ExitStopped {
			rep.ExitCode = ingest.ExitUndecided
		}
	}
	return rep
}

func exitCode(v trust.Verdict, empty bool) int {
	switch {
	case v == trust.Undecided:
		return ingest.ExitUndecided
	case v != trust.Allow:
		return ingest.ExitStopped
	case empty:
		return ingest.ExitNothing
	}
	return ingest.ExitAllowed
}

func sourcesName(ss []source) string {
	if len(ss) == 1 {
		return ss[0].name
	}
	return fmt.Sprintf("%d sources", len(ss))
}

// history adds the course of audits, this one last.
func (r *audit) history(rep *ingest.Report, past []store.Audit) {
	a := rep.Audit
	for _, p := range slices.Backward(past) {
		var pt ingest.AuditPoint
		if json.Unmarshal(p.Summary, &pt) == nil && !pt.At.IsZero() {
			a.History = append(a.History, pt)
		}
	}
	a.History = append(a.History, ingest.AuditPoint{
		At: rep.Finished, Sources: len(r.sources), Releases: a.Releases, Verdicts: rep.Summary.Verdicts, Assurance: rep.Summary.Assurance,
		Findings: a.New + a.Unchanged, New: a.New,
	})
}
