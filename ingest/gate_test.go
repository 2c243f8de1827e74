package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// memory keeps in maps what the store keeps in SQLite.
type memory struct {
	mu        sync.Mutex
	known     map[trust.Package][]store.KnownRelease
	accepted  map[trust.Package][]store.Acceptance
	decisions []store.Decision
	commits   []store.Commit
	readOnly  bool
	fail      error
}

func (m *memory) Known(context.Context, []trust.Package) (map[trust.Package][]store.KnownRelease, error) {
	return m.known, nil
}

func (m *memory) AcceptancesFor(context.Context, []trust.Package) (map[trust.Package][]store.Acceptance, error) {
	return m.accepted, nil
}

func (m *memory) Approvals(context.Context, []trust.Release) (map[trust.Release][]store.ApprovalRecord, error) {
	return nil, nil
}

func (m *memory) LatestDecisions(_ context.Context, rs []trust.Release, _ time.Time) (map[trust.Release]store.Decision, error) {
	out := map[trust.Release]store.Decision{}
	for _, d := range m.decisions {
		if slices.Contains(rs, d.Release) {
			out[d.Release] = d
		}
	}
	return out, nil
}

func (m *memory) Record(_ context.Context, c store.Commit) (store.Recorded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return store.Recorded{}, m.fail
	}
	for d, err := range c.Stream {
		if err != nil {
			return store.Recorded{}, err
		}
		c.Decisions = append(c.Decisions, d)
	}
	c.Pin = slices.AppendSeq(c.Pin, c.PinStream)
	m.commits = append(m.commits, c)
	out := store.Recorded{RunID: "r-1"}
	if m.known == nil {
		m.known = map[trust.Package][]store.KnownRelease{}
	}
	for i, d := range c.Decisions {
		m.decisions = append(m.decisions, d)
		out.DecisionIDs = append(out.DecisionIDs, fmt.Sprint("d-", i))
	}
	for _, k := range c.Pin {
		m.known[k.Release.Package] = append(m.known[k.Release.Package], k)
	}
	return out, nil
}

func (m *memory) ReadOnly() bool { return m.readOnly }

// registry is an adapter whose upstream signs everything that it is not told
// otherwise about.
type registry struct {
	collect func(ctx context.Context, q adapter.Request) (adapter.Result, error)
	calls   atomic.Int64
}

func (r *registry) Describe() adapter.Description {
	return adapter.Description{Name: "npm", Types: []string{"npm"}, Offers: trust.AssuranceRegistry}
}

func (r *registry) Collect(ctx context.Context, q adapter.Request) (adapter.Result, error) {
	r.calls.Add(1)
	if r.collect != nil {
		return r.collect(ctx, q)
	}
	return signed(q.Component), nil
}

func signed(c sbom.Component) adapter.Result {
	lock := trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Verified, Release: c.Release, Artifact: c.Artifacts[0]}
	sig := trust.Evidence{
		Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: c.Release, Artifact: c.Artifacts[0], Assurance: trust.AssuranceRegistry,
		Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)},
	}
	return adapter.Result{Evidence: []trust.Evidence{lock, sig}, Facts: trust.Facts{Published: now.AddDate(-1, 0, 0)}}
}

func comp(t testing.TB, purl string) sbom.Component {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	sum := make([]byte, 64)
	copy(sum, purl)
	return sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, sum)}}}, Locations: []trust.Location{{Path: "package-lock.json", Line: 1}}}
}

func inventory(cs ...sbom.Component) *sbom.Inventory {
	return &sbom.Inventory{Source: sbom.Source{Scheme: "dir", Name: "."}, Components: cs}
}

func gate(t testing.TB, a adapter.Adapter, m *memory) *ingest.Gate {
	t.Helper()
	p, err := policies.Builtin("baseline")
	if err != nil {
		t.Fatal(err)
	}
	return &ingest.Gate{
		Tool: "headgate test", Adapters: map[string]adapter.Adapter{"npm": a}, Memory: m, Judge: p,
		Clock: func() time.Time { return now },
		Continuity: func(ingest.ContinuityInput) (trust.Continuity, string, string, string) {
			return trust.ContinuityFirst, "", "", ""
		},
	}
}

func check(t testing.TB, g *ingest.Gate, q ingest.Request) *ingest.Report {
	t.Helper()
	q.Command = "check"
	r, err := g.Check(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHealthyPackagePasses(t *testing.T) {
	m := &memory{}
	r := check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))})
	if r.ExitCode != ingest.ExitAllowed || r.Components[0].Assurance != trust.AssuranceRegistry || !r.Components[0].Signers[0].Accepted {
		t.Errorf("%+v", r.Components[0])
	}
	if len(m.commits) != 1 || len(m.commits[0].Pin) != 1 || r.RunID == "" || r.Components[0].DecisionID == "" {
		t.Errorf("recorded %+v", m.commits)
	}
}

func TestExitCodes(t *testing.T) {
	bad := func(o trust.Outcome, reason trust.Reason) *registry {
		return &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
			res := signed(q.Component)
			res.Evidence = []trust.Evidence{{Check: trust.CheckRegistrySig, Outcome: o, Reason: reason, Release: q.Component.Release}}
			return res, nil
		}}
	}
	for _, tc := range []struct {
		name    string
		a       *registry
		purls   []string
		verdict trust.Verdict
		exit    int
	}{
		{"allowed", &registry{}, []string{"pkg:npm/a@1.0.0"}, trust.Allow, ingest.ExitAllowed},
		{"blocked", bad(trust.Failed, trust.ReasonWrongDigest), []string{"pkg:npm/a@1.0.0"}, trust.Block, ingest.ExitStopped},
		{"held", bad(trust.Absent, trust.ReasonNotPublished), []string{"pkg:npm/a@1.0.0"}, trust.Hold, ingest.ExitStopped},
		{"undecided", bad(trust.Unreachable, trust.ReasonNetwork), []string{"pkg:npm/a@1.0.0"}, trust.Undecided, ingest.ExitUndecided},
		{"no adapter", &registry{}, []string{"pkg:cargo/a@1.0.0"}, trust.Hold, ingest.ExitStopped},
		{"stopped outweighs undecided", bad(trust.Unreachable, trust.ReasonNetwork), []string{"pkg:npm/a@1.0.0", "pkg:cargo/b@1.0.0"}, trust.Hold, ingest.ExitStopped},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var cs []sbom.Component
			for _, p := range tc.purls {
				cs = append(cs, comp(t, p))
			}
			m := &memory{}
			r := check(t, gate(t, tc.a, m), ingest.Request{Inventory: inventory(cs...)})
			if r.Verdict != tc.verdict || r.ExitCode != tc.exit {
				t.Errorf("verdict %s, exit %d; want %s, %d: %+v", r.Verdict, r.ExitCode, tc.verdict, tc.exit, r.Components[0].Findings)
			}
			for _, k := range m.commits[0].Pin {
				if tc.verdict != trust.Allow {
					t.Errorf("pinned %s in spite of %s", k.Release, tc.verdict)
				}
			}
		})
	}
}

// TestThreat060NetworkFailureIsNoViolation: a time of publication that could not be
// asked for is no unknown time.
func TestThreat060NetworkFailureIsNoViolation(t *testing.T) {
	a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		return adapter.Result{Evidence: []trust.Evidence{{Check: trust.CheckChecksumDB, Outcome: trust.Unreachable, Reason: trust.ReasonNetwork, Release: q.Component.Release}}}, nil
	}}
	r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))})
	if r.ExitCode != ingest.ExitUndecided {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Components[0].Findings)
	}
}

// TestThreat052PanicInVerifier: a crash is evidence that could not be had, the
// process survives, and the verdict is not allow.
func TestThreat052PanicInVerifier(t *testing.T) {
	a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		if q.Component.Release.Package.Name == "bad" {
			panic("index out of range")
		}
		return signed(q.Component), nil
	}}
	r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/bad@1.0.0"), comp(t, "pkg:npm/good@1.0.0"))})
	if r.Verdict != trust.Undecided || r.ExitCode == 0 {
		t.Errorf("verdict %s, exit %d", r.Verdict, r.ExitCode)
	}
	if e := r.Components[0].Evidence[0]; e.Outcome != trust.Unreachable || e.Reason != trust.ReasonInternal {
		t.Errorf("evidence %+v", e)
	}
	if r.Components[1].Verdict != trust.Allow {
		t.Error("the other component suffers")
	}
}

// TestThreat053NothingFoundIsNotFine: an adapter that returns nothing, or
// evidence that breaks the contract, never passes.
func TestThreat053NothingFoundIsNotFine(t *testing.T) {
	other := comp(t, "pkg:npm/other@1.0.0")
	for name, collect := range map[string]func(adapter.Request) adapter.Result{
		"none":    func(adapter.Request) adapter.Result { return adapter.Result{} },
		"foreign": func(adapter.Request) adapter.Result { return signed(other) },
		"zero":    func(q adapter.Request) adapter.Result { return adapter.Result{Evidence: []trust.Evidence{{}}} },
		"unsigned assurance": func(q adapter.Request) adapter.Result {
			res := signed(q.Component)
			res.Evidence[1].Signer = nil
			return res
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) { return collect(q), nil }}
			if r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))}); r.ExitCode == 0 {
				t.Errorf("passed with %+v", r.Components[0].Evidence)
			}
		})
	}
}

// TestThreat063CachedEvidenceIsNoVerdict: evidence is reused, and a signer that
// was revoked meanwhile stops the release all the same.
func TestThreat063CachedEvidenceIsNoVerdict(t *testing.T) {
	m := &memory{}
	a := &registry{}
	g := gate(t, a, m)
	c := comp(t, "pkg:npm/a@1.0.0")
	check(t, g, ingest.Request{Inventory: inventory(c)})
	r := check(t, g, ingest.Request{Inventory: inventory(c)})
	if a.calls.Load() != 1 || !r.Components[0].Reused || r.Verdict != trust.Allow {
		t.Fatalf("%d calls, reused %v, %s", a.calls.Load(), r.Components[0].Reused, r.Verdict)
	}
	signer := r.Components[0].Signers[0].Signer
	m.accepted = map[trust.Package][]store.Acceptance{c.Release.Package: {{
		Signer: signer, Identity: signer.Identity(), Scope: store.Scope("pkg:npm/*"), By: "ops", Revoked: &store.Revocation{At: now, By: "ops", Reason: "key leaked"},
	}}}
	if r = check(t, g, ingest.Request{Inventory: inventory(c)}); r.Verdict != trust.Hold || !r.Components[0].Signers[0].Revoked {
		t.Errorf("verdict %s, signers %+v", r.Verdict, r.Components[0].Signers)
	}
	m.accepted = nil
	// Other digests, evidence that grew old, evidence from the future: asked again.
	d := comp(t, "pkg:npm/a@1.0.0")
	d.Artifacts = []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, make([]byte, 64))}}}
	before := a.calls.Load()
	if r = check(t, g, ingest.Request{Inventory: inventory(d)}); a.calls.Load() != before+1 || r.Verdict != trust.Block {
		t.Errorf("other bytes: %d calls, %s", a.calls.Load()-before, r.Verdict)
	}
}

func TestReuseBound(t *testing.T) {
	for age, calls := range map[time.Duration]int64{ingest.DefaultReuse: 1, ingest.DefaultReuse + time.Second: 2, -time.Second: 2} {
		m, a := &memory{}, &registry{}
		g := gate(t, a, m)
		c := comp(t, "pkg:npm/a@1.0.0")
		check(t, g, ingest.Request{Inventory: inventory(c)})
		g.Clock = func() time.Time { return now.Add(age) }
		check(t, g, ingest.Request{Inventory: inventory(c)})
		if a.calls.Load() != calls {
			t.Errorf("age %s: %d calls, want %d", age, a.calls.Load(), calls)
		}
	}
}

// TestThreat072KindsAreNotAskedAsRegistryPackages: a git, path, URL, workspace or
// bundled dependency is never looked up under the registry's name.
func TestThreat072KindsAreNotAskedAsRegistryPackages(t *testing.T) {
	for _, k := range []sbom.Kind{sbom.KindGit, sbom.KindURL, sbom.KindPath, sbom.KindWorkspace, sbom.KindBundled} {
		a := &registry{}
		c := comp(t, "pkg:npm/a@1.0.0")
		c.Kind, c.Origin = k, "https://git.example.com/a"
		r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(c)})
		if a.calls.Load() != 0 {
			t.Errorf("%s was asked for", k)
		}
		if e := r.Components[0].Evidence; len(e) != 1 || e[0].Outcome != trust.Absent {
			t.Errorf("%s: %+v", k, e)
		}
		// What is local, or inside an artifact that is judged itself, has nobody to
		// vouch for it; whatever comes from elsewhere needs a decision.
		if (k == sbom.KindGit || k == sbom.KindURL) && r.Verdict == trust.Allow {
			t.Errorf("%s passed", k)
		}
	}
}

func TestOnlyNewIsJudged(t *testing.T) {
	a := &registry{}
	base := inventory(comp(t, "pkg:npm/a@1.0.0"), comp(t, "pkg:npm/gone@1.0.0"))
	head := inventory(comp(t, "pkg:npm/a@1.0.0"), comp(t, "pkg:npm/b@1.0.0"))
	r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: head, Base: base, BaseInfo: &ingest.Base{Kind: "revision", Name: "main"}})
	s := r.Summary
	if a.calls.Load() != 1 || s.Judged != 1 || s.Present != 1 || s.Removed != 1 || r.Components[0].Change != policies.ChangeAdded {
		t.Errorf("%d calls, %+v", a.calls.Load(), s)
	}
	same := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: base, Base: base, BaseInfo: &ingest.Base{}})
	if same.ExitCode != ingest.ExitAllowed {
		t.Errorf("nothing new: exit %d", same.ExitCode)
	}
}

// What an inventory lost stops the change, however good the rest is.
func TestThreat055LostCoverage(t *testing.T) {
	for _, code := range []sbom.ProblemCode{sbom.ProblemUnparsable, sbom.ProblemNoLock, sbom.ProblemSkipped, sbom.ProblemUnsupported, sbom.ProblemConflict} {
		inv := inventory(comp(t, "pkg:npm/a@1.0.0"))
		g := gate(t, &registry{}, &memory{})
		if r := check(t, g, ingest.Request{Inventory: inv}); r.ExitCode != ingest.ExitAllowed {
			t.Fatalf("whole: exit code %d", r.ExitCode)
		}
		inv.Problems = []sbom.Problem{{Code: code, Detail: "could not be read", Location: trust.Location{Path: "sub/package-lock.json"}}}
		r := check(t, g, ingest.Request{Inventory: inv})
		if r.ExitCode != ingest.ExitStopped || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Message, "sub/package-lock.json") {
			t.Errorf("%s: exit code %d, %+v", code, r.ExitCode, r.Findings)
		}
	}
}

func TestThreat125OneReleaseAtManyPlacesIsAskedOnce(t *testing.T) {
	a := &registry{}
	var cs []sbom.Component
	for i := range 8 {
		c := comp(t, "pkg:npm/a@1.0.0")
		c.Locations = []trust.Location{{Path: fmt.Sprintf("p%d/package-lock.json", i)}}
		cs = append(cs, c)
	}
	odd := comp(t, "pkg:npm/a@1.0.0")
	odd.Artifacts = []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, make([]byte, 64))}}}
	r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(append(cs, odd)...)})
	if a.calls.Load() != 2 || len(r.Components) != 2 || len(r.Components[0].Locations) != 8 {
		t.Errorf("%d calls, %d components", a.calls.Load(), len(r.Components))
	}
}

func TestEmptySourceIsNothingToCheck(t *testing.T) {
	r := check(t, gate(t, &registry{}, &memory{}), ingest.Request{Inventory: inventory()})
	if r.ExitCode == ingest.ExitAllowed {
		t.Errorf("exit %d, verdict %s", r.ExitCode, r.Verdict)
	}
}

func TestCancelledRunRecordsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := &registry{collect: func(ctx context.Context, q adapter.Request) (adapter.Result, error) {
		cancel()
		<-ctx.Done()
		return adapter.Result{}, ctx.Err()
	}}
	m := &memory{}
	_, err := gate(t, a, m).Check(ctx, ingest.Request{Command: "check", Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"), comp(t, "pkg:npm/b@1.0.0"))})
	if !errors.Is(err, context.Canceled) || len(m.commits) != 0 {
		t.Errorf("error %v, %d commits", err, len(m.commits))
	}
}

func TestStoreFailureIsAnError(t *testing.T) {
	full := errors.New("disk full")
	_, err := gate(t, &registry{}, &memory{fail: full}).Check(t.Context(), ingest.Request{Command: "check", Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))})
	if !errors.Is(err, full) || !errors.Is(err, ingest.ErrRecord) {
		t.Errorf("error %v", err)
	}
}

func TestReadOnlyStoreIsSaid(t *testing.T) {
	m := &memory{readOnly: true}
	r := check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))})
	if len(m.commits) != 0 || r.RunID != "" || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "not recorded") }) {
		t.Errorf("notes %q", r.Notes)
	}
}

func TestBaselinePinsWhatIsThereButNotWhatIsBlocked(t *testing.T) {
	a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		res := signed(q.Component)
		switch q.Component.Release.Package.Name {
		case "unsigned":
			res.Evidence = []trust.Evidence{{Check: trust.CheckRegistrySig, Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Release: q.Component.Release}}
		case "tampered":
			res.Evidence[0] = trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Failed, Reason: trust.ReasonWrongDigest, Release: q.Component.Release}
		}
		return res, nil
	}}
	m := &memory{}
	q := ingest.Request{Inventory: inventory(comp(t, "pkg:npm/signed@1.0.0"), comp(t, "pkg:npm/tampered@1.0.0"), comp(t, "pkg:npm/unsigned@1.0.0")), Baseline: ingest.BaselineReached}
	check(t, gate(t, a, m), q)
	var pinned []string
	for _, k := range m.commits[0].Pin {
		pinned = append(pinned, k.Release.Package.Name)
	}
	if !slices.Equal(pinned, []string{"signed", "unsigned"}) {
		t.Errorf("pinned %q", pinned)
	}
	q.Baseline = ingest.BaselineNone
	r := check(t, gate(t, a, m), q)
	if r.Components[0].Verdict != trust.Allow || r.Components[1].Verdict != trust.Block || r.Components[2].Verdict != trust.Allow {
		t.Errorf("after init: %s %s %s %+v", r.Components[0].Verdict, r.Components[1].Verdict, r.Components[2].Verdict, r.Components[2].Findings)
	}
}

// A network that fails is no reason to trust: what nobody could look at is not part
// of a baseline, unless a person says so loudly.
func TestBaselineLeavesOutWhatCouldNotBeReached(t *testing.T) {
	signer := trust.Signer{Kind: trust.SignerKey, KeyDigest: strings.Repeat("cd", 32)}
	a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		res := signed(q.Component)
		unreached := trust.Evidence{Check: trust.CheckProvenance, Outcome: trust.Unreachable, Reason: trust.ReasonNetwork, Release: q.Component.Release}
		switch q.Component.Release.Package.Name {
		case "dark":
			res.Evidence = []trust.Evidence{unreached}
		case "half":
			own := res.Evidence[1]
			own.Check, own.Signer, own.Assurance = trust.CheckPublisherSig, &signer, trust.AssurancePublisher
			res.Evidence = append(res.Evidence, own, unreached)
			res.Facts.Published = now // and held by the cooldown besides
		}
		return res, nil
	}}
	for b, want := range map[ingest.Baseline][]string{ingest.BaselineReached: {"lit"}, ingest.BaselineUnsafeUnreachable: {"dark", "half", "lit"}} {
		m := &memory{}
		check(t, gate(t, a, m), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/dark@1.0.0"), comp(t, "pkg:npm/half@1.0.0"), comp(t, "pkg:npm/lit@1.0.0")), Baseline: b})
		var pinned []string
		for _, k := range m.commits[0].Pin {
			pinned = append(pinned, k.Release.Package.Name)
		}
		if !slices.Equal(pinned, want) {
			t.Errorf("pinned %q, want %q", pinned, want)
		}
		for _, acc := range m.commits[0].Accept {
			if b == ingest.BaselineReached && acc.Signer.Identity() == signer.Identity() {
				t.Error("the signer of a package that could not be looked at was accepted")
			}
		}
	}
}

// What is local, from git or inside another package is known as that alone.
func TestKnownAsWhatItIs(t *testing.T) {
	git := comp(t, "pkg:npm/g@1.0.0")
	git.Kind, git.Origin, git.Commit, git.Pinned, git.Artifacts = sbom.KindGit, "ssh://git@git.example.com/o/g.git", strings.Repeat("a", 40), true, nil
	folder := comp(t, "pkg:npm/internal@1.0.0")
	folder.Kind, folder.Origin, folder.Artifacts = sbom.KindWorkspace, "packages/internal", nil
	bundled := comp(t, "pkg:npm/b@1.0.0")
	bundled.Kind, bundled.Artifacts = sbom.KindBundled, nil
	registryB := comp(t, "pkg:npm/b@1.0.0")

	m := &memory{}
	check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(registryB, bundled, git, folder), Baseline: ingest.BaselineReached})
	kinds := map[string]string{}
	for _, k := range m.commits[0].Pin {
		kinds[k.Release.Package.Name+" "+k.Kind] = "pinned"
	}
	if len(kinds) != 4 || kinds["g git"] == "" || kinds["internal workspace"] == "" || kinds["b bundled"] == "" || kinds["b "] == "" {
		t.Errorf("pinned as %v", kinds)
	}

	r := check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(git)})
	if r.Components[0].Verdict != trust.Allow {
		t.Errorf("a git dependency of the baseline, by the same commit: %s %+v", r.Components[0].Verdict, r.Components[0].Findings)
	}
	for what, change := range map[string]func(*sbom.Component){
		"another commit":     func(c *sbom.Component) { c.Commit = strings.Repeat("b", 40) },
		"another repository": func(c *sbom.Component) { c.Origin = "ssh://git@git.example.com/evil/g.git" },
		"a branch":           func(c *sbom.Component) { c.Commit, c.Pinned = "main", false },
	} {
		c := git
		change(&c)
		if r := check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(c)}); r.Components[0].Verdict != trust.Hold {
			t.Errorf("%s: %s %+v", what, r.Components[0].Verdict, r.Components[0].Findings)
		}
	}
}

// A package of the project's own is no reason to trust a registry's of that name.
func TestThreat066LocalNameIsNotTheRegistrys(t *testing.T) {
	folder := comp(t, "pkg:npm/internal@1.0.0")
	folder.Kind, folder.Origin, folder.Artifacts = sbom.KindPath, "crates/internal", nil
	m := &memory{}
	check(t, gate(t, &registry{}, m), ingest.Request{Inventory: inventory(folder), Baseline: ingest.BaselineReached})
	j := &judge{}
	g := gate(t, &registry{}, m)
	g.Judge = j
	check(t, g, ingest.Request{Inventory: inventory(comp(t, "pkg:npm/internal@9.0.0"), folder)})
	if !slices.Equal(j.known, []string{"path"}) {
		t.Errorf("known are those from %q", j.known)
	}
}

// What no build uses passes by its digest alone, is known as that, and is new once
// it is used.
func TestUnusedIsNewOnceUsed(t *testing.T) {
	retracted := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		res := signed(q.Component)
		why := "published by mistake"
		res.Facts.Retracted, res.Facts.Published = &why, now.Add(-time.Hour)
		if q.Component.Release.Package.Name == "forged" {
			res.Evidence[0] = trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Failed, Reason: trust.ReasonWrongDigest, Release: q.Component.Release}
		}
		return res, nil
	}}
	unused := func(purl string) sbom.Component {
		c := comp(t, purl)
		c.Scope = sbom.ScopeUnused
		return c
	}
	m := &memory{}
	base := inventory()
	head := inventory(unused("pkg:npm/a@1.0.0"), unused("pkg:npm/forged@1.0.0"))
	r := check(t, gate(t, retracted, m), ingest.Request{Inventory: head, Base: base})
	if r.Components[0].Verdict != trust.Allow || r.Components[1].Verdict != trust.Block {
		t.Errorf("left over: %s, with a wrong digest: %s", r.Components[0].Verdict, r.Components[1].Verdict)
	}
	used := inventory(comp(t, "pkg:npm/a@1.0.0"))
	for what, b := range map[string]*sbom.Inventory{"with a base": head, "without": nil} {
		r := check(t, gate(t, retracted, m), ingest.Request{Inventory: used, Base: b})
		if len(r.Components) != 1 || r.Components[0].Verdict != trust.Hold || b != nil && r.Components[0].Change != policies.ChangeAdded {
			t.Errorf("used now, %s: %+v", what, r.Components)
		}
	}
}

// judge allows all and keeps what was said to be known.
type judge struct {
	mu    sync.Mutex
	known []string
}

func (*judge) Name() string         { return "test" }
func (*judge) Digest() trust.Digest { return trust.Digest{} }
func (j *judge) Evaluate(_ context.Context, in policies.Input) policies.Outcome {
	j.mu.Lock()
	defer j.mu.Unlock()
	if in.PackageKnown {
		j.known = append(j.known, string(in.Component.Kind))
	}
	return policies.Outcome{Verdict: trust.Allow}
}

func (*judge) EvaluateInventory(context.Context, policies.InventoryInput) policies.Outcome {
	return policies.Outcome{Verdict: trust.Allow}
}

func TestPinnedKeysVouchForTheRegistryOnly(t *testing.T) {
	a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		res := signed(q.Component)
		res.Evidence[1].Assurance = trust.AssuranceProvenance
		return res, nil
	}}
	r := check(t, gate(t, a, &memory{}), ingest.Request{Inventory: inventory(comp(t, "pkg:npm/a@1.0.0"))})
	if r.Components[0].Signers[0].Accepted {
		t.Error("a pinned registry key is accepted for more than the registry")
	}
}

func BenchmarkCheckWarm(b *testing.B) {
	m := &memory{}
	g := gate(b, &registry{}, m)
	var cs []sbom.Component
	for i := range 1000 {
		cs = append(cs, comp(b, fmt.Sprintf("pkg:npm/p%d@1.0.0", i)))
	}
	for b.Loop() {
		if _, err := g.Check(b.Context(), ingest.Request{Command: "check", Inventory: inventory(cs...), DryRun: true}); err != nil {
			b.Fatal(err)
		}
	}
}
