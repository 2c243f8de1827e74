package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// Bounds of one audit.
const (
	// Batch is how many releases are judged and recorded at a time.
	Batch = 500
	// MaxReleases bounds the distinct releases of all sources together.
	MaxReleases = 1_000_000
	// readers is how many sources are read at a time: each may be a large document.
	readers = 2
	// MaxHolders is how many sources the report names of a component; findings name
	// more, and headgate where all.
	MaxHolders = 5
	// SoonDefault is how long before their end approvals and exceptions are announced.
	SoonDefault = 14 * 24 * time.Hour
	// maxMessage bounds the message of a finding that is kept, in bytes.
	maxMessage = 1000
)

// ErrCutShort is part of the error of an audit that was stopped before its end.
// What it had settled is kept; the same audit goes on from there.
var ErrCutShort = errors.New("the audit was cut short")

// Store is what audits need of the store; *store.Store implements it.
type Store interface {
	ingest.Memory
	BeginAudit(ctx context.Context, job string, started time.Time) (int64, bool, error)
	PutAuditItems(ctx context.Context, seq int64, items []store.AuditItem) error
	AuditItems(ctx context.Context, seq int64, f func(store.AuditItem) error) error
	AuditedSources(ctx context.Context, names []string) (map[string]store.AuditedSource, error)
	Uses(ctx context.Context, source string) (map[trust.Release]int64, error)
	AuditFindings(ctx context.Context, rs []trust.Release, sources []string) ([]store.AuditFinding, error)
	Audits(ctx context.Context, limit int) ([]store.Audit, error)
	FinishAudit(ctx context.Context, c store.AuditCommit) error
}

// Source is one thing to audit.
type Source struct {
	// Name is the service, image or repository that it stands for: what "who uses
	// this?" is answered with. Names of one audit differ.
	Name string
	// Open reads the inventory. Its error is the finding that the source is broken.
	Open func(ctx context.Context) (*sbom.Inventory, error)
	// Findings are about the source beside its inventory, such as its signature; it is
	// asked after Open. Where they stop the source, what it lists is judged, and does
	// not take the place of what it listed before. Nil for none.
	Findings func(ctx context.Context) []trust.Finding
}

// Progress says what the audit is doing: the stage in words, and how much of it is done.
type Progress func(stage string, done, all int)

// FailOn is which findings make the exit code.
type FailOn string

// What fails an audit. Sources that cannot be read fail it always.
const (
	FailOnAny FailOn = "any"
	FailOnNew FailOn = "new"
)

// Auditor runs audits. All fields without a comment that says otherwise are required.
type Auditor struct {
	// Gate judges; its Memory, Progress and ReuseUnknown are set by the audit.
	Gate  *ingest.Gate
	Store Store
	// Exceptions are those of the policy.
	Exceptions []policies.Exception
	// ReportOnly makes what the audit itself finds a warning.
	ReportOnly bool
	// Soon is how long before its end an approval or exception is announced; 0 for SoonDefault.
	Soon time.Duration
	// Progress may be nil. It is called from one goroutine at a time.
	Progress Progress
}

// Request is one audit.
type Request struct {
	Sources []Source
	Origin  string // of the policy
	Notes   []string
	FailOn  FailOn
	// Since compares with the last audit that was finished by then, instead of
	// with the last one of each source.
	Since time.Time
	// At judges as of an earlier moment, by what was recorded by then. Nothing is
	// asked upstream and nothing is recorded.
	At        time.Time
	DryRun    bool
	Bytes     bool
	Requester string
	Approvals map[trust.Release][]store.ApprovalRecord
}

// item is one distinct statement about a release.
type item struct {
	component sbom.Component
	key       [sha256.Size]byte
	result    *result
}

// result is what was settled about an item, as it is kept for resumption.
type result struct {
	Component ingest.Component `json:"component"`
	Found     []found          `json:"found,omitempty"`
	// Checked is false where evidence could not be had: what an earlier audit
	// found may still be so.
	Checked bool `json:"checked"`
	// renewed is true if the release was accepted again after the moment as of which
	// is judged.
	renewed bool
}

// found is one finding in the words of an audit.
type found struct {
	Kind    ingest.AuditKind `json:"kind"`
	Key     string           `json:"key"`
	Rule    string           `json:"rule"`
	Effect  trust.Effect     `json:"effect"`
	Message string           `json:"message"`
	Remedy  string           `json:"remedy,omitempty"`
}

// source is a source that was read.
type source struct {
	name       string
	items      []int32 // indexes of audit.items, sorted, each once
	components int
	found      []found
	problem    string
	doubtful   bool // nobody vouches for what it lists
	format     string
}

// audit is one run.
type audit struct {
	*Auditor
	q       Request
	started time.Time
	seq     int64
	resumed int
	items   []*item
	sources []source
	notes   []string
	buf     []byte // of keyOf

	recorded   int
	exceptions map[trust.Release]exception
}

// Run audits. The error is for what leaves nothing to report: a cancelled
// context (ErrCutShort), a store that fails.
func (a *Auditor) Run(ctx context.Context, q Request) (*ingest.Report, error) {
	if len(q.Sources) > store.MaxSources {
		return nil, fmt.Errorf("%d sources are more than %d: audit them in parts", len(q.Sources), store.MaxSources)
	}
	run := &audit{Auditor: a, q: q, started: a.Gate.Clock(), notes: slices.Clone(q.Notes), exceptions: exceptionsOf(a.Exceptions)}
	if !q.At.IsZero() {
		run.started = q.At
	}
	if run.readOnly() {
		switch {
		case !q.At.IsZero():
			run.note("judged as of %s, by the evidence, decisions, approvals and accepted or revoked signers that were recorded by then; nothing was asked of registries, and nothing was recorded", stamp(q.At))
		case q.DryRun:
			run.note("nothing was recorded, as asked")
		default:
			run.note("the store is read-only: nothing was recorded")
		}
	}
	if err := run.read(ctx); err != nil {
		return nil, cutShort(ctx, err)
	}
	if !run.readOnly() {
		if err := run.begin(ctx); err != nil {
			return nil, err
		}
	}
	if err := run.judge(ctx); err != nil {
		return nil, cutShort(ctx, err)
	}
	if !q.At.IsZero() {
		run.notTurnedBack()
	}
	return run.finish(ctx)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// notTurnedBack says what an audit as of an earlier moment takes as it is today.
func (r *audit) notTurnedBack() {
	r.note("not turned back: the policy is the one that is given now (%s), and the sources are read as they are now", r.Gate.Judge.Digest())
	var changed []string
	renewed := 0
	for _, it := range r.items {
		for _, a := range it.result.Component.Advisories {
			if a.Modified.After(r.q.At) && !slices.Contains(changed, a.ID) {
				changed = append(changed, a.ID)
			}
		}
		if it.result.renewed {
			renewed++
		}
	}
	if r.Gate.Advisories != nil {
		text := "not turned back: advisories are those that were published by then and not withdrawn yet, in today's wording"
		if len(changed) > 0 {
			slices.Sort(changed)
			text += fmt.Sprintf("; %d of those found were changed since: %s", len(changed), strings.Join(changed[:min(len(changed), 10)], ", "))
			if len(changed) > 10 {
				text += " …"
			}
		}
		r.note("%s", text)
	}
	if renewed > 0 {
		r.note("not turned back: %d releases were accepted again since; what was accepted of them is that of the last time", renewed)
	}
}

func cutShort(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.Join(ErrCutShort, ctx.Err())
	}
	return err
}

func (r *audit) readOnly() bool { return r.q.DryRun || !r.q.At.IsZero() || r.Store.ReadOnly() }

func (r *audit) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *audit) progress(stage string, done, all int) {
	if r.Progress != nil {
		r.Progress(stage, done, all)
	}
}

// read reads all sources and keeps each distinct statement once.
func (r *audit) read(ctx context.Context) error {
	r.sources = make([]source, len(r.q.Sources))
	index := map[[sha256.Size]byte]int32{}
	var mu sync.Mutex
	done := 0
	eg, ectx := errgroup.WithContext(ctx)
	eg.SetLimit(readers)
	for i, src := range r.q.Sources {
		if ectx.Err() != nil {
			break
		}
		eg.Go(func() error {
			inv, err := src.Open(ectx)
			if ectx.Err() != nil {
				return ectx.Err()
			}
			var extra []trust.Finding
			if src.Findings != nil {
				extra = src.Findings(ectx)
			}
			mu.Lock()
			defer mu.Unlock()
			s := &r.sources[i]
			s.name = src.Name
			if err != nil {
				s.problem = clip(err.Error())
				s.found = append(s.found, found{Kind: ingest.KindSource, Key: "unreadable", Rule: "source-readable", Effect: trust.EffectUndecided,
					Message: "the source could not be read: " + s.problem, Remedy: "make the source anew, or remove it from the audit"})
			} else if err := r.add(ectx, s, inv, index); err != nil {
				return err
			}
			for _, f := range extra {
				s.doubtful = s.doubtful || f.Effect == trust.EffectBlock || f.Effect == trust.EffectUndecided
				s.found = append(s.found, found{Kind: ingest.KindSignature, Key: "signature:" + f.Rule, Rule: f.Rule, Effect: f.Effect, Message: clip(f.Message), Remedy: f.Remedy})
			}
			done++
			r.progress("reading sources", done, len(r.q.Sources))
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.sortItems()
	return nil
}

// add takes over what one inventory says.
func (r *audit) add(ctx context.Context, s *source, inv *sbom.Inventory, index map[[sha256.Size]byte]int32) error {
	s.components, s.format = len(inv.Components), inv.Source.Format
	out := r.Gate.Judge.EvaluateInventory(ctx, policies.InventoryInput{Components: len(inv.Components), Problems: inv.Problems, HasBase: true, Now: r.started})
	for _, f := range out.Findings {
		if f.Counts() {
			s.found = append(s.found, found{Kind: ingest.KindSource, Key: "rule:" + f.Rule + ":" + f.Message, Rule: f.Rule, Effect: f.Effect, Message: clip(f.Message), Remedy: f.Remedy})
		}
	}
	for i := range inv.Components {
		c := &inv.Components[i]
		var k [sha256.Size]byte
		k, r.buf = keyOf(c, r.buf)
		at, ok := index[k]
		if !ok {
			if len(r.items) >= MaxReleases {
				return fmt.Errorf("the sources hold more than %d distinct releases: audit them in parts", MaxReleases)
			}
			at = int32(len(r.items))
			index[k] = at
			kept := *c
			kept.Locations, kept.Relation, kept.Scope, kept.Licenses = nil, "", "", slices.Clone(c.Licenses)
			r.items = append(r.items, &item{component: kept, key: k})
		}
		s.items = append(s.items, at)
	}
	slices.Sort(s.items)
	s.items = slices.Compact(s.items)
	return nil
}

// keyOf is the digest of all that a source states about a component, without
// where it is declared and what it is used for. An audit of many sources makes it
// of every component of each: buf is reused, and nothing else is allocated.
func keyOf(c *sbom.Component, buf []byte) (key [sha256.Size]byte, _ []byte) {
	b := buf[:0]
	put := func(ss ...string) {
		for _, s := range ss {
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
		}
	}
	rel := &c.Release
	put(rel.Package.Type, rel.Package.Namespace, rel.Package.Name, rel.Package.Qualifiers, rel.Version, rel.Variant, rel.Subpath)
	put(string(c.Kind), c.Registry, c.Origin, c.Commit, c.Alias)
	if c.Replaces.IsZero() {
		put("")
	} else {
		put(c.Replaces.PURL())
	}
	if c.Pinned {
		put("pinned")
	}
	if c.InstallCode {
		put("install code")
	}
	for i := range c.Artifacts {
		a := &c.Artifacts[i]
		put("artifact", a.Name, a.URL)
		for _, d := range a.Digests {
			put(string(d.Algorithm), d.Value)
		}
	}
	for _, p := range c.Problems {
		put("problem", string(p.Code), p.Detail)
	}
	for _, e := range c.Expect {
		for _, key := range slices.Sorted(maps.Keys(e)) {
			put("expect", key, e[key])
		}
	}
	return sha256.Sum256(b), b
}

// sortItems orders the items by release, so that a batch asks one registry about
// many packages at once and reports do not depend on the order of the sources.
func (r *audit) sortItems() {
	type keyed struct {
		purl string
		at   int32
	}
	order := make([]keyed, len(r.items))
	for i, it := range r.items {
		order[i] = keyed{it.component.Release.PURL(), int32(i)}
	}
	slices.SortFunc(order, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.purl, b.purl), slices.Compare(r.items[a.at].key[:], r.items[b.at].key[:]))
	})
	items := make([]*item, len(order))
	moved := make([]int32, len(order))
	for i, k := range order {
		items[i], moved[k.at] = r.items[k.at], int32(i)
	}
	r.items = items
	for i := range r.sources {
		s := &r.sources[i]
		for j, at := range s.items {
			s.items[j] = moved[at]
		}
		slices.Sort(s.items)
	}
}

// begin starts the audit in the store, or takes up one that was cut short.
func (r *audit) begin(ctx context.Context) error {
	h := sha256.New()
	fmt.Fprintln(h, r.Gate.Judge.Digest())
	for _, s := range r.sources {
		fmt.Fprintf(h, "%q\n", s.name)
	}
	var resumed bool
	var err error
	if r.seq, resumed, err = r.Store.BeginAudit(ctx, hex.EncodeToString(h.Sum(nil)), r.started); err != nil || !resumed {
		return err
	}
	byKey := make(map[[sha256.Size]byte]*item, len(r.items))
	for _, it := range r.items {
		byKey[it.key] = it
	}
	err = r.Store.AuditItems(ctx, r.seq, func(s store.AuditItem) error {
		if len(s.Key) != sha256.Size {
			return nil
		}
		it := byKey[[sha256.Size]byte(s.Key)]
		if it == nil {
			return nil
		}
		var res result
		// What cannot be read is judged again.
		if json.Unmarshal(s.Body, &res) == nil && res.Component.Release == it.component.Release && res.Checked {
			it.result = &res
			r.resumed++
		}
		return nil
	})
	if err == nil && r.resumed > 0 {
		r.note("an audit that was cut short is continued: %d of %d releases were settled", r.resumed, len(r.items))
	}
	return err
}

// judge sends what is not settled through the gate, batch by batch.
func (r *audit) judge(ctx context.Context) error {
	var todo []*item
	for _, it := range r.items {
		if it.result == nil {
			todo = append(todo, it)
		}
	}
	done := len(r.items) - len(todo)
	for batch := range slices.Chunk(todo, Batch) {
		stage := "judging " + stageOf(batch)
		r.progress(stage, done, len(r.items))
		base := done
		if err := r.batch(ctx, batch, func(n int) { r.progress(stage, base+n, len(r.items)) }); err != nil {
			return err
		}
		done += len(batch)
	}
	r.progress("comparing with the last audit", len(r.items), len(r.items))
	return nil
}

// stageOf names the ecosystems of a batch: what the audit may be waiting for.
func stageOf(batch []*item) string {
	var types []string
	for _, it := range batch {
		if t := it.component.Release.Package.Type; len(types) == 0 || types[len(types)-1] != t {
			types = append(types, t)
		}
	}
	return strings.Join(types, ", ")
}

// batch judges and records one batch.
func (r *audit) batch(ctx context.Context, batch []*item, step func(int)) error {
	m, err := r.recall(ctx, batch)
	if err != nil {
		return err
	}
	inv := &sbom.Inventory{Source: sbom.Source{Scheme: "audit", Name: fmt.Sprintf("%d sources", len(r.sources))}}
	// Statements can become the same once accepted digests are filled in.
	place := map[[sha256.Size]byte]int{}
	at := make([]int, len(batch))
	for i, it := range batch {
		c := m.stated(it.component)
		var k [sha256.Size]byte
		k, r.buf = keyOf(&c, r.buf)
		j, ok := place[k]
		if !ok {
			j = len(inv.Components)
			place[k] = j
			inv.Components = append(inv.Components, c)
		}
		at[i] = j
	}
	g := *r.Gate
	g.Memory, g.ReuseUnknown = m, true
	g.Progress = func(done, _ int) { step(done) }
	if !r.q.At.IsZero() {
		m.asOf(&g)
	}
	rep, err := g.Check(ctx, ingest.Request{
		Command: "audit", Inventory: inv, Origin: r.q.Origin, Requester: r.q.Requester, Approvals: r.q.Approvals,
		Bytes: r.q.Bytes, DryRun: r.readOnly(),
	})
	if err != nil {
		return err
	}
	if len(rep.Components) != len(inv.Components) {
		return fmt.Errorf("the gate judged %d of %d statements", len(rep.Components), len(inv.Components))
	}
	var keep []store.AuditItem
	for i, it := range batch {
		it.result = r.settle(&rep.Components[at[i]], m)
		// What was not asked upstream is judged again as fast as it would be read.
		if r.seq == 0 || it.result.Component.Reused {
			continue
		}
		body, err := json.Marshal(it.result)
		if err != nil {
			return fmt.Errorf("keeping the result of %s: %w", it.component.Release, err)
		}
		keep = append(keep, store.AuditItem{Key: it.key[:], Body: body})
	}
	r.recorded += m.recorded
	if len(keep) > 0 {
		return r.Store.PutAuditItems(ctx, r.seq, keep)
	}
	return nil
}

func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}
