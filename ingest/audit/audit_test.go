package audit_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// world is a store, a registry and a clock that a test changes.
type world struct {
	t      testing.TB
	now    time.Time
	store  *store.Store
	gate   *ingest.Gate
	calls  atomic.Int64
	change func(q adapter.Request, res *adapter.Result)
}

func (w *world) Describe() adapter.Description {
	return adapter.Description{Name: "npm", Types: []string{"npm"}, Offers: trust.AssuranceRegistry}
}

func (w *world) Collect(_ context.Context, q adapter.Request) (adapter.Result, error) {
	w.calls.Add(1)
	res := adapter.Result{Evidence: []trust.Evidence{{
		Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: q.Component.Release, Artifact: q.Component.Artifacts[0], Assurance: trust.AssuranceRegistry,
		Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)},
	}, {Check: trust.CheckLockfile, Outcome: trust.Verified, Release: q.Component.Release, Artifact: q.Component.Artifacts[0]}},
		Facts: trust.Facts{Published: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if w.change != nil {
		w.change(q, &res)
	}
	return res, nil
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "trust.db"), store.Options{Create: true, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p, err := policies.Load(&policies.Config{Version: policies.ConfigVersion}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	w.store = s
	w.gate = &ingest.Gate{Tool: "headgate test", Adapters: map[string]adapter.Adapter{"npm": w}, Memory: s, Judge: p, Clock: clock, Continuity: ingest.CompareSigners}
	return w
}

func component(t testing.TB, purl string) sbom.Component {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]byte, 64)
	copy(sum, purl)
	return sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, sum)}}}}
}

func source(t testing.TB, name string, purls ...string) audit.Source {
	return audit.Source{Name: name, Open: func(context.Context) (*sbom.Inventory, error) {
		inv := &sbom.Inventory{Source: sbom.Source{Scheme: "sbom", Name: name}}
		for _, p := range purls {
			inv.Components = append(inv.Components, component(t, p))
		}
		return inv, nil
	}}
}

// accept lets the releases in as they are.
func (w *world) accept(purls ...string) {
	w.t.Helper()
	inv, err := source(w.t, "accepted", purls...).Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.gate.Check(w.t.Context(), ingest.Request{Command: "init", Inventory: inv, Baseline: ingest.BaselineReached}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) audit(q audit.Request) (*ingest.Report, error) {
	w.t.Helper()
	g := *w.gate
	return (&audit.Auditor{Gate: &g, Store: w.store}).Run(w.t.Context(), q)
}

func (w *world) must(sources ...audit.Source) *ingest.Report {
	w.t.Helper()
	w.now = w.now.Add(time.Hour)
	r, err := w.audit(audit.Request{Sources: sources, FailOn: audit.FailOnAny})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Check(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// kinds are the kinds of findings in a state.
func kinds(r *ingest.Report, state ingest.AuditState) (out []string) {
	for _, f := range r.Audit.Findings {
		if f.State == state {
			out = append(out, string(f.Kind))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

const a, b = "pkg:npm/apricot@1.0.0", "pkg:npm/blueberry@1.0.0"

func TestOneReleaseIsJudgedOnce(t *testing.T) {
	w := newWorld(t)
	w.accept(a, b)
	before := w.calls.Load()
	w.now = w.now.Add(48 * time.Hour)
	var ss []audit.Source
	for i := range 50 {
		ss = append(ss, source(t, fmt.Sprint("s", i), a, b))
	}
	r := w.must(ss...)
	equal(t, "verdict", r.Verdict, trust.Allow)
	equal(t, "asked", w.calls.Load()-before, 2)
	equal(t, "components", r.Summary.Components, 100)
	equal(t, "judged", r.Summary.Judged, 2)
	// An hour later nothing has to be asked or recorded again.
	r = w.must(ss...)
	equal(t, "asked again", w.calls.Load()-before, 2)
	equal(t, "recorded again", r.Audit.Recorded, 0)
}

// What an audit finds, against what was accepted, and how it stands afterwards.
func TestFindings(t *testing.T) {
	reason := "compromised"
	for _, tc := range []struct {
		name    string
		change  func(adapter.Request, *adapter.Result)
		want    ingest.AuditKind
		verdict trust.Verdict
	}{
		{"yanked", func(_ adapter.Request, r *adapter.Result) { r.Facts.Yanked = &reason }, ingest.KindWithdrawn, ""},
		{"unpublished", func(_ adapter.Request, r *adapter.Result) { r.Facts.Unpublished = true }, ingest.KindWithdrawn, ""},
		{"other bytes", func(q adapter.Request, r *adapter.Result) {
			r.Evidence[1] = trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Failed, Release: q.Component.Release, Artifact: q.Component.Artifacts[0], Reason: trust.ReasonWrongDigest, Detail: "other bytes"}
		}, ingest.KindSBOMMismatch, trust.Block},
		{"signature lost", func(_ adapter.Request, r *adapter.Result) { r.Evidence = r.Evidence[1:] }, ingest.KindEvidenceWorse, trust.Hold},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.accept(a, b)
			equal(t, "clean", w.must(source(t, "s", a, b)).Audit.New, 0)
			w.now = w.now.Add(48 * time.Hour)
			w.change = func(q adapter.Request, r *adapter.Result) {
				if q.Component.Release.PURL() == a {
					tc.change(q, r)
				}
			}
			r := w.must(source(t, "s", a, b))
			if !slices.Contains(kinds(r, ingest.AuditNew), string(tc.want)) {
				t.Errorf("new %q, want %s: %+v", kinds(r, ingest.AuditNew), tc.want, r.Audit.Findings)
			}
			if tc.verdict != "" && r.Verdict != tc.verdict {
				t.Errorf("verdict %s, want %s", r.Verdict, tc.verdict)
			}
			w.now = w.now.Add(48 * time.Hour)
			r = w.must(source(t, "s", a, b))
			equal(t, "new again", r.Audit.New, 0)
			if !slices.Contains(kinds(r, ingest.AuditUnchanged), string(tc.want)) {
				t.Errorf("unchanged %q, want %s", kinds(r, ingest.AuditUnchanged), tc.want)
			}
			w.change = nil
			w.now = w.now.Add(48 * time.Hour)
			r = w.must(source(t, "s", a, b))
			if !slices.Contains(kinds(r, ingest.AuditGone), string(tc.want)) || r.Audit.Unchanged != 0 {
				t.Errorf("gone %q, %d unchanged", kinds(r, ingest.AuditGone), r.Audit.Unchanged)
			}
		})
	}
}

func TestRevokedSigner(t *testing.T) {
	w := newWorld(t)
	w.accept(a)
	w.must(source(t, "s", a))
	sg := trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}
	ids, err := w.store.Accept(t.Context(), []store.Acceptance{{Signer: sg, Scope: "pkg:npm/apricot", By: "carol", Reason: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Revoke(t.Context(), ids[0], "carol", "key was stolen"); err != nil {
		t.Fatal(err)
	}
	r := w.must(source(t, "s", a))
	if !slices.Contains(kinds(r, ingest.AuditNew), string(ingest.KindRevokedSigner)) || r.Verdict == trust.Allow {
		t.Errorf("verdict %s, new %q", r.Verdict, kinds(r, ingest.AuditNew))
	}
	// As of before the revocation it had not happened, and nothing is recorded.
	calls := w.calls.Load()
	at, err := w.audit(audit.Request{Sources: []audit.Source{source(t, "s", a)}, FailOn: audit.FailOnAny, At: w.now.Add(-90 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "asked", w.calls.Load(), calls)
	equal(t, "run", at.RunID, "")
	if at.Verdict != trust.Allow {
		t.Errorf("as of before: %s, %+v", at.Verdict, at.Audit.Findings)
	}
	notes := strings.Join(at.Notes, "\n")
	if !strings.Contains(notes, "judged as of ") || !strings.Contains(notes, "not turned back: the policy") || strings.Contains(notes, "advisories") {
		t.Errorf("notes %q", notes)
	}
	// Before anything was recorded nothing is known, and that is said of each release.
	at, err = w.audit(audit.Request{Sources: []audit.Source{source(t, "s", a)}, FailOn: audit.FailOnAny, At: w.now.AddDate(-1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if at.Verdict == trust.Allow || !strings.Contains(fmt.Sprint(at.Audit.Findings), "nothing was recorded about these bytes by") {
		t.Errorf("before anything was recorded: %s, %+v", at.Verdict, at.Audit.Findings)
	}
}

// revised is a source of advisories of which some were changed since.
type revised struct{ now time.Time }

func (r revised) Query(_ context.Context, items []advisories.Item, _ time.Time) advisories.Answer {
	out := advisories.Answer{Advisories: map[trust.Release][]policies.Advisory{}, States: map[trust.Release]policies.State{}, Reasons: map[trust.Release]string{}}
	for _, it := range items {
		out.States[it.Release] = policies.StateKnown
		out.Advisories[it.Release] = []policies.Advisory{{ID: "GHSA-later", Severity: "low", Modified: r.now}, {ID: "GHSA-before", Severity: "low", Modified: r.now.AddDate(-1, 0, 0)}}
	}
	return out
}

// Advisories that were changed after the moment as of which is judged are named.
func TestAtNamesWhatCannotBeTurnedBack(t *testing.T) {
	w := newWorld(t)
	w.accept(a)
	then := w.now.Add(time.Minute)
	w.now = w.now.Add(48 * time.Hour)
	w.gate.Advisories = revised{w.now}
	w.accept(a) // again
	r, err := w.audit(audit.Request{Sources: []audit.Source{source(t, "s", a)}, FailOn: audit.FailOnAny, At: then})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"1 of those found were changed since: GHSA-later", "1 releases were accepted again since"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
	if strings.Contains(notes, "GHSA-before") {
		t.Errorf("notes %q", notes)
	}
}

// A release that cannot be looked at keeps its findings, others are judged, and
// nothing is called gone.
func TestUnreachableIsNotGone(t *testing.T) {
	w := newWorld(t)
	w.accept(a, b)
	s := source(t, "s", a, b)
	reason := "broken"
	only := func(f func(*adapter.Result)) func(adapter.Request, *adapter.Result) {
		return func(q adapter.Request, r *adapter.Result) {
			if q.Component.Release.PURL() == a {
				f(r)
			}
		}
	}
	w.now = w.now.Add(48 * time.Hour)
	w.change = only(func(r *adapter.Result) { r.Facts.Yanked = &reason })
	equal(t, "new", kinds(w.must(s), ingest.AuditNew), "[withdrawn]")
	w.now = w.now.Add(48 * time.Hour)
	w.change = only(func(r *adapter.Result) {
		r.Evidence = []trust.Evidence{{Check: trust.CheckMetadata, Outcome: trust.Unreachable, Release: r.Evidence[0].Release, Reason: trust.ReasonNetwork}}
		r.Facts = trust.Facts{}
	})
	r := w.must(s)
	equal(t, "gone", r.Audit.Gone, 0)
	if !slices.Contains(kinds(r, ingest.AuditUnchanged), "withdrawn") {
		t.Errorf("unchanged: %q", kinds(r, ingest.AuditUnchanged))
	}
	equal(t, "judged", r.Summary.Judged, 2)
	w.now = w.now.Add(48 * time.Hour)
	w.change = nil
	equal(t, "gone when it can be looked at", kinds(w.must(s), ingest.AuditGone)[0] != "", true)
}

// Each source is compared with its own last audit.
func TestNewIsPerSource(t *testing.T) {
	w := newWorld(t)
	w.accept(b)
	w.must(source(t, "one", b), source(t, "two", b))
	r := w.must(source(t, "one", a, b))
	equal(t, "new in one", r.Audit.New > 0, true)
	r = w.must(source(t, "one", a, b), source(t, "two", a, b))
	for _, s := range r.Audit.Sources {
		equal(t, "new in "+s.Name, s.New > 0, s.Name == "two")
	}
	// A source whose release left has its findings gone, the other keeps them.
	r = w.must(source(t, "one", b), source(t, "two", a, b))
	for _, s := range r.Audit.Sources {
		equal(t, "gone in "+s.Name, s.Gone > 0, s.Name == "one")
	}
	first := w.now
	w.must(source(t, "one", a, b), source(t, "two", a, b))
	w.now = w.now.Add(time.Hour)
	r, err := w.audit(audit.Request{Sources: []audit.Source{source(t, "one", a, b)}, FailOn: audit.FailOnNew, Since: first})
	if err != nil {
		t.Fatal(err)
	}
	if r.Audit.New == 0 || r.ExitCode != ingest.ExitStopped {
		t.Errorf("since %s: %d new, exit %d", first, r.Audit.New, r.ExitCode)
	}
}

// A clock that runs backwards changes no order.
func TestClockBackwards(t *testing.T) {
	w := newWorld(t)
	w.must(source(t, "s", a))
	w.now = w.now.AddDate(-1, 0, 0)
	r := w.must(source(t, "s", a))
	equal(t, "new", r.Audit.New, 0)
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "in the future") }) {
		t.Errorf("nobody is told: %q", r.Notes)
	}
}

func TestBrokenSourceHidesNothing(t *testing.T) {
	w := newWorld(t)
	w.accept(a)
	broken := audit.Source{Name: "broken", Open: func(context.Context) (*sbom.Inventory, error) { return nil, errors.New("malformed\x1b[31m") }}
	r := w.must(broken, source(t, "good", a))
	equal(t, "exit", r.ExitCode, ingest.ExitUndecided)
	equal(t, "judged", r.Summary.Judged, 1)
	equal(t, "problem", r.Audit.Sources[0].Problem != "", true)
}

// An audit that is cut short goes on where it stopped.
func TestResume(t *testing.T) {
	w := newWorld(t)
	const n = 2*audit.Batch + 10
	var purls []string
	for i := range n {
		purls = append(purls, fmt.Sprintf("pkg:npm/resumed-%04d@1.0.0", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.change = func(adapter.Request, *adapter.Result) {
		if w.calls.Load() > audit.Batch+5 {
			cancel()
		}
	}
	g := *w.gate
	q := audit.Request{Sources: []audit.Source{source(t, "s", purls...)}, FailOn: audit.FailOnAny}
	if _, err := (&audit.Auditor{Gate: &g, Store: w.store}).Run(ctx, q); !errors.Is(err, audit.ErrCutShort) {
		t.Fatalf("cut short: %v", err)
	}
	if err := w.store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.change = nil
	before := w.calls.Load()
	r := w.must(q.Sources...)
	equal(t, "resumed", r.Audit.Resumed, audit.Batch)
	equal(t, "asked", w.calls.Load()-before, n-audit.Batch)
	equal(t, "judged", r.Summary.Judged, n)
	equal(t, "resumed afterwards", w.must(q.Sources...).Audit.Resumed, 0)
}

func TestWhere(t *testing.T) {
	w := newWorld(t)
	w.must(source(t, "one", "pkg:npm/axios@1.9.0", "pkg:npm/axios@1.10.0"), source(t, "two", "pkg:npm/axios@1.14.2"))
	for q, want := range map[string]string{
		"pkg:npm/axios@1.9.0": "[one@1.9.0]", "pkg:npm/axios": "[one@1.10.0 one@1.9.0 two@1.14.2]", "pkg:npm/axios@<1.14.2": "[one@1.10.0 one@1.9.0]",
		"pkg:npm/axios@>=1.10.0,<2": "[one@1.10.0 two@1.14.2]", "pkg:npm/axios@>1.14.2": "[]", "pkg:npm/other@<9": "[]", "pkg:npm/axios@!=1.9.0": "[one@1.10.0 two@1.14.2]",
	} {
		g, err := audit.ParseRange(q)
		if err != nil {
			t.Fatal(err)
		}
		found, _, err := audit.Where(t.Context(), w.store, g)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range found {
			got = append(got, u.Source+"@"+u.Release.Version)
		}
		slices.Sort(got)
		equal(t, q, got, want)
	}
	for _, bad := range []string{"pkg:npm/axios@<", "pkg:npm/axios@<1,x", "axios", "pkg:nothing/x@<1", "pkg:npm/axios@" + strings.Repeat("<1,", audit.MaxConstraints) + "<1"} {
		if _, err := audit.ParseRange(bad); err == nil {
			t.Errorf("%q is a range", bad)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"pkg:npm/axios@<1.14.2", "pkg:golang/x.io/y@>=v1,<v2", "pkg:npm/%40a/b@!=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := audit.ParseRange(s); err == nil {
			if g.Package.IsZero() {
				t.Errorf("%q is a range of nothing", s)
			}
			// Whatever it says, asking must not panic.
			_, _ = g.Holds("1.0.0")
		}
	})
}
