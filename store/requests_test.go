package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

func TestRequestLifeCycle(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	r := release(t, "pkg:npm/z@1.0.0")
	id, err := s.PutRequest(ctx, RequestRecord{Release: r, Reason: "needed", By: "carol"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.PutRequest(ctx, RequestRecord{Release: r, Reason: "me too", By: "erin"}); err != nil || again != id {
		t.Fatalf("second open request %s, %v", again, err)
	}
	env, foreign := []byte(`{"payload":"1"}`), []byte(`{"payload":"2"}`)
	until := clk.t.Add(time.Hour)
	if err := s.PutApproval(ctx, env, ApprovalRecord{Release: r, By: "dave", Until: until}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutApproval(ctx, foreign, ApprovalRecord{Release: release(t, "pkg:npm/z@1.0.1"), By: "dave"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		by        string
		state     RequestState
		approvals []string
	}{
		"by the requester": {"carol", RequestApproved, []string{ApprovalID(env)}}, "without approvals": {"dave", RequestApproved, nil},
		"approval of another release": {"dave", RequestApproved, []string{ApprovalID(foreign)}}, "unknown approval": {"dave", RequestApproved, []string{"sha256:00"}},
		"unknown state": {"dave", "granted", nil}, "by nobody": {"", RequestRejected, nil}, "open again": {"dave", RequestReopened, nil},
	} {
		if err := s.DecideRequest(ctx, id, RequestDecision{State: c.state, By: c.by, Reason: "why", Approvals: c.approvals}); err == nil {
			t.Errorf("%s: decided", name)
		}
	}
	if err := s.DecideRequest(ctx, id[:6], RequestDecision{State: RequestApproved, By: "dave", Reason: "fine", Approvals: []string{ApprovalID(env)}}); err != nil {
		t.Fatal(err)
	}
	q, err := s.Request(ctx, id)
	if err != nil || q.State != RequestApproved || !q.Until.Equal(until) || q.DecidedBy != "dave" {
		t.Fatalf("%+v, %v", q, err)
	}
	if err := s.DecideRequest(ctx, id, RequestDecision{State: RequestApproved, By: "frank", Reason: "fine", Approvals: []string{ApprovalID(env)}}); !errors.Is(err, ErrConflict) {
		t.Fatalf("approved twice: %v", err)
	}
	if err := s.DecideRequest(ctx, id, RequestDecision{State: RequestReopened, By: "headgate", Reason: "evidence got worse"}); err != nil {
		t.Fatal(err)
	}
	open, err := s.Requests(ctx, RequestFilter{States: []RequestState{RequestOpen, RequestReopened}})
	if err != nil || len(open) != 1 || open[0].ID != id {
		t.Fatalf("%+v, %v", open, err)
	}
	if _, err := s.Request(ctx, "q-x"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	check(t, s)
}

func TestApprovalBounds(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	r := release(t, "pkg:npm/z@1.0.0")
	at := []byte(`"` + strings.Repeat("x", MaxEnvelope-2) + `"`)
	if err := s.PutApproval(ctx, at, ApprovalRecord{Release: r, By: "dave"}); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]byte{"long": append(at[:len(at)-1:len(at)-1], `x"`...), "empty": nil, "no JSON": []byte("{")} {
		if err := s.PutApproval(ctx, env, ApprovalRecord{Release: r, By: "dave"}); err == nil {
			t.Errorf("%s: kept", name)
		}
	}
	if err := s.PutApproval(ctx, at, ApprovalRecord{Release: r, By: "mallory"}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Approvals(ctx, []trust.Release{r})
	if err != nil || len(m[r]) != 1 || m[r][0].By != "dave" || !bytes.Equal(m[r][0].Envelope, at) {
		t.Fatalf("%d approvals, %v", len(m[r]), err)
	}
	check(t, s)
}

func TestStateSwap(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	step := func(old, new []byte, want bool) {
		t.Helper()
		if ok, err := s.Swap(ctx, "k", old, new); err != nil || ok != want {
			t.Fatalf("swap %q by %q: %v, %v", old, new, ok, err)
		}
	}
	if v, err := s.Load(ctx, "k"); err != nil || v != nil {
		t.Fatalf("%q, %v", v, err)
	}
	step([]byte("a"), []byte("b"), false)
	step([]byte{}, []byte("b"), false)
	step(nil, []byte("a"), true)
	step(nil, []byte("b"), false)
	step([]byte("a"), []byte("b"), true)
	step([]byte("a"), []byte("c"), false)
	step([]byte("b"), []byte("b"), true)
	step([]byte("b"), nil, true)
	if v, err := s.Load(ctx, "k"); err != nil || v == nil || len(v) != 0 {
		t.Fatalf("%q, %v", v, err)
	}
	if _, err := s.Swap(ctx, "max", nil, make([]byte, MaxState)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(ctx, "more", nil, make([]byte, MaxState+1)); err == nil {
		t.Fatal("too long a value was kept")
	}
	check(t, s)
}

func TestMaterials(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	put := func(scope, data string) error {
		return s.PutMaterial(ctx, trust.Material{Kind: trust.MaterialOpenPGP, Scope: scope, Name: data, Data: []byte(data)}, "alice", "vendor")
	}
	for scope, data := range map[string]string{"": "all", "maven": "maven", "pkg:maven/org.apache/*": "apache", "pkg:npm/x": "x"} {
		if err := errors.Join(put(scope, data), put(scope, data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, scope := range []string{"*", "source:https://github.com/o/*", "a b", "pkg:npm/x@1"} {
		if err := put(scope, "k"); err == nil {
			t.Errorf("scope %q was taken", scope)
		}
	}
	for purl, want := range map[string]int{"pkg:maven/org.apache/y": 3, "pkg:maven/org.apache.evil/y": 2, "pkg:npm/x": 2, "pkg:npm/y": 1} {
		if ms, err := s.Materials(ctx, trust.MaterialOpenPGP, release(t, purl).Package); err != nil || len(ms) != want {
			t.Errorf("%s: %d, %v; want %d", purl, len(ms), err, want)
		}
	}
	if ms, err := s.Materials(ctx, trust.MaterialX509Root, release(t, "pkg:npm/x").Package); err != nil || len(ms) != 0 {
		t.Errorf("another kind: %v, %v", ms, err)
	}
	big := trust.Material{Kind: trust.MaterialTrustedRoot, Data: make([]byte, MaxMaterial)}
	if err := s.PutMaterial(ctx, big, "alice", "x"); err != nil {
		t.Fatal(err)
	}
	big.Data = make([]byte, MaxMaterial+1)
	if err := s.PutMaterial(ctx, big, "alice", "x"); err == nil {
		t.Fatal("too much was kept")
	}
	check(t, s)
}

// A version whose bytes changed is visible whatever the verdict was.
func TestThreat122SeenKeepsTheFirstBytes(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	r := release(t, "pkg:npm/x@1.0.0")
	first := clk.t
	for i, b := range []string{"good", "evil", "good"} {
		d := Decision{Release: r, Verdict: trust.Block, Artifacts: []trust.Artifact{{Name: "x.tgz", Digests: trust.Digests{digest(b)}}}}
		if _, err := s.Record(ctx, Commit{Run: Run{Command: "check"}, Decisions: []Decision{d}}); err != nil {
			t.Fatal(i, err)
		}
		clk.t = clk.t.Add(time.Hour)
	}
	m, err := s.Seen(ctx, []trust.Release{r, release(t, "pkg:npm/y@1.0.0")})
	if err != nil || len(m) != 1 || len(m[r]) != 2 || m[r][0].Digest != digest("good") || !m[r][0].First.Equal(first) || m[r][1].Digest != digest("evil") {
		t.Fatalf("%+v, %v", m, err)
	}
	check(t, s)
}

func TestRecordRefuses(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	r, sg := release(t, "pkg:npm/x@1.0.0"), workflow("o", "r")
	with := func(f func(*Decision)) Decision {
		d := decision(r, sg)
		f(&d)
		return d
	}
	for name, d := range map[string]Decision{
		"no release": with(func(d *Decision) { d.Release = trust.Release{} }), "no verdict": with(func(d *Decision) { d.Verdict = "" }),
		"contradictory evidence": with(func(d *Decision) { d.Evidence[0].Outcome = trust.Failed }),
		"other bytes":            with(func(d *Decision) { d.Evidence[0].Raw[0].Bytes = []byte("other") }),
		"bytes missing":          with(func(d *Decision) { d.Evidence[0].Raw[0].Bytes = nil }),
		"bytes by sha1":          with(func(d *Decision) { d.Evidence[0].Raw[0].Digest.Algorithm = trust.SHA1 }),
		"too many bytes":         with(func(d *Decision) { d.Evidence[0].Raw[0] = trust.NewRaw("b", "", make([]byte, MaxBlob+1)) }),
		"too long a row":         with(func(d *Decision) { d.Findings = []trust.Finding{{Message: strings.Repeat("x", MaxBody)}} }),
	} {
		c := commit(t, 2, strings.ReplaceAll(name, " ", "-"))
		c.Decisions = append(c.Decisions, d)
		if _, err := s.Record(ctx, c); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	if n, err := s.LogSize(ctx); err != nil || n != 0 {
		t.Fatalf("something of the refused runs was recorded: %d, %v", n, err)
	}
	if _, err := s.Record(ctx, Commit{Decisions: make([]Decision, MaxDecisions+1)}); err == nil {
		t.Error("too many decisions were recorded")
	}
	c := commit(t, 1, "")
	c.Decisions[0].Evidence[0].Raw[0] = trust.NewRaw("b", "", make([]byte, MaxBlob))
	c.Run.ID = "r-1"
	if _, err := s.Record(ctx, c); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(ctx, c); !errors.Is(err, ErrConflict) {
		t.Fatalf("one run twice: %v", err)
	}
	check(t, s)
}

// Stored evidence that is used again stays as old as it is, and a clock that
// runs backwards loses nothing.
func TestEvidenceAgeAndClockBackwards(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	r := release(t, "pkg:npm/%40org/p0@1.0.0")
	start := clk.t
	checked := func() time.Time {
		m, err := s.Evidence(ctx, []trust.Release{r})
		if err != nil || len(m[r]) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		check(t, s)
		return m[r][0].Checked
	}
	rec := func(f func(*Decision)) {
		c := commit(t, 1, "")
		f(&c.Decisions[0])
		if _, err := s.Record(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	rec(func(*Decision) {})
	clk.t = start.Add(time.Hour)
	rec(func(d *Decision) { d.EvidenceChecked = start; d.Evidence[0].Raw[0].Bytes = nil })
	if got := checked(); !got.Equal(start) {
		t.Fatalf("reused evidence became fresh: %v", got)
	}
	rec(func(*Decision) {})
	if got := checked(); !got.Equal(clk.t) {
		t.Fatal(got)
	}
	clk.t = start.Add(-24 * time.Hour)
	rec(func(*Decision) {})
	if got := checked(); !got.Equal(start.Add(time.Hour)) {
		t.Fatalf("the clock ran backwards and evidence grew older: %v", got)
	}
	kn, err := s.Known(ctx, []trust.Package{r.Package})
	if err != nil || !kn[r.Package][0].First.Equal(start) || !kn[r.Package][0].Last.Equal(start.Add(time.Hour)) {
		t.Fatalf("%+v, %v", kn, err)
	}
	ds, err := s.Decisions(ctx, DecisionFilter{Release: r})
	if err != nil || len(ds) != 4 || ds[0].LogIndex < ds[3].LogIndex || !ds[0].At.Equal(clk.t) {
		t.Fatalf("newest first means last recorded: %+v, %v", ds, err)
	}
}

func TestPinKeepsBaseline(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	r := release(t, "pkg:npm/x@1.0.0")
	p := known(r, workflow("o", "r"))
	p.Baseline = true
	start := clk.t
	for range 2 {
		// One release may be declared in several places of one run.
		if _, err := s.Record(ctx, Commit{Run: Run{Command: "init"}, Pin: []KnownRelease{p, p}}); err != nil {
			t.Fatal(err)
		}
		clk.t = clk.t.Add(time.Hour)
		p.Baseline = false
		p.Signers = []trust.Signer{workflow("o", "r2")}
	}
	m, err := s.Known(ctx, []trust.Package{r.Package})
	if err != nil || len(m[r.Package]) != 1 || !m[r.Package][0].Baseline || !m[r.Package][0].First.Equal(start) {
		t.Fatalf("%+v, %v", m, err)
	}
	check(t, s)
}

// A copy without digests inside another package, or another kind of source, takes
// nothing away from what is known of the registry's release.
func TestPinForgetsNoBytes(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	r := release(t, "pkg:npm/x@1.0.0")
	sha512, sha1 := trust.DigestOf(trust.SHA512, make([]byte, 64)), trust.DigestOf(trust.SHA1, make([]byte, 20))
	full := known(r, workflow("o", "r"))
	full.Artifacts = []trust.Artifact{{Digests: trust.Digests{sha512}}}
	copied := KnownRelease{Release: r, Kind: "bundled", Verdict: trust.Allow}
	commit := KnownRelease{Release: r, Kind: "git", Verdict: trust.Allow, Artifacts: []trust.Artifact{{Name: "commit"}}}
	weak := known(r, workflow("o", "r"))
	weak.Artifacts = []trust.Artifact{{Digests: trust.Digests{sha1}}}
	for _, order := range [][]KnownRelease{{full, copied, commit, weak}, {copied, weak, full, commit}} {
		if _, err := s.Record(ctx, Commit{Run: Run{Command: "check"}, Pin: order}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Known(ctx, []trust.Package{r.Package})
		if err != nil || len(m[r.Package]) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		k := m[r.Package][0]
		if k.Kind != "" || k.Assurance != full.Assurance || len(k.Signers) != 1 || len(k.Artifacts) != 2 {
			t.Errorf("%+v", k)
		}
		for _, a := range k.Artifacts {
			if a.Name == "" && (!a.Digests.Get(trust.SHA512).Equal(sha512) || !a.Digests.Get(trust.SHA1).Equal(sha1)) {
				t.Errorf("digests %v", a.Digests)
			}
		}
		check(t, s)
	}
}

func TestPinBound(t *testing.T) {
	list := func(prefix string, n int) (as []trust.Artifact) {
		for i := range n {
			as = append(as, trust.Artifact{Name: fmt.Sprint(prefix, i)})
		}
		return as
	}
	for _, n := range []int{MaxPinnedArtifacts - 1, MaxPinnedArtifacts, MaxPinnedArtifacts + 1} {
		if got := len(mergeArtifacts(list("old", n), list("new", 1))); got != min(n+1, MaxPinnedArtifacts) {
			t.Errorf("%d and 1 are %d", n, got)
		}
		if got := len(mergeArtifacts(list("old", 1), list("new", n))); got != max(n, min(n+1, MaxPinnedArtifacts)) {
			t.Errorf("1 and %d are %d", n, got)
		}
	}
}

func TestGC(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	fill(t, s)
	extra := release(t, "pkg:npm/extra@1.0.0")
	asked := release(t, "pkg:npm/asked@1.0.0")
	e := evidence(asked, workflow("x", "y"))
	if _, err := s.Record(ctx, Commit{Run: Run{Command: "check"}, Collected: []trust.Evidence{e}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutRequest(ctx, RequestRecord{Release: asked, Evidence: []string{e.ID()}, Reason: "x", By: "carol"}); err != nil {
		t.Fatal(err)
	}
	before, err := s.Decisions(ctx, DecisionFilter{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.GC(ctx)
	if err != nil || c.Evidence != 1 || c.Blobs != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	check(t, s)
	m, err := s.Evidence(ctx, []trust.Release{extra, asked, before[0].Release})
	if err != nil || len(m[extra]) != 0 || len(m[asked]) != 1 || len(m[before[0].Release]) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, d := range before {
		if _, _, err := s.Decision(ctx, d.ID); err != nil {
			t.Error(err)
		}
		if _, err := s.Blob(ctx, d.Evidence[0].Raw[0].Digest); err != nil {
			t.Error(err)
		}
	}
	if c, err = s.GC(ctx); err != nil || c.Evidence+c.Blobs != 0 {
		t.Fatalf("again: %+v, %v", c, err)
	}
}

// heldCommit is a run that holds one release.
func heldCommit(r trust.Release, verdict trust.Verdict, signer trust.Signer, rules ...string) Commit {
	d := decision(r, signer)
	d.Verdict, d.Findings = verdict, nil
	for _, rule := range rules {
		effect := trust.EffectHold
		if verdict == trust.Block {
			effect = trust.EffectBlock
		}
		d.Findings = append(d.Findings, trust.Finding{Rule: rule, Effect: effect, Message: "held"})
	}
	return Commit{Run: Run{Command: "check", Verdict: verdict}, Decisions: []Decision{d}}
}

// otherBytes has the run judge other bytes under the same version.
func otherBytes(c Commit) Commit {
	d := &c.Decisions[0]
	d.Artifacts = []trust.Artifact{{Name: d.Artifacts[0].Name, Digests: trust.Digests{trust.DigestOf(trust.SHA256, bytes.Repeat([]byte{7}, 32))}}}
	return c
}

// TestThreat064RequestsReopenAndExpire: a run that stops a release on other evidence opens
// what was asked for or approved again; the same evidence does not; approvals that
// have ended end the request.
func TestThreat064RequestsReopenAndExpire(t *testing.T) {
	ctx := t.Context()
	r := release(t, "pkg:npm/z@1.0.0")
	mine, other := workflow("org", "repo"), workflow("org", "other")
	for _, tc := range []struct {
		name     string
		approved bool
		then     Commit
		after    time.Duration
		state    RequestState
		why      string
	}{
		{"approved, the same again", true, heldCommit(r, trust.Hold, mine, "cooldown"), 0, RequestApproved, ""},
		{"open, the same again", false, heldCommit(r, trust.Hold, mine, "cooldown"), 0, RequestOpen, ""},
		{"allowed", true, heldCommit(r, trust.Allow, other), 0, RequestApproved, ""},
		{"undecided", true, heldCommit(r, trust.Undecided, other), 0, RequestApproved, ""},
		{"approved, other evidence", true, heldCommit(r, trust.Hold, other, "cooldown"), 0, RequestReopened, "evidence"},
		{"open, other evidence", false, heldCommit(r, trust.Hold, other, "cooldown"), 0, RequestReopened, "evidence"},
		{"approved, other bytes", true, otherBytes(heldCommit(r, trust.Hold, mine, "cooldown")), 0, RequestReopened, "other bytes"},
		{"open, other bytes", false, otherBytes(heldCommit(r, trust.Hold, mine, "cooldown")), 0, RequestReopened, "other bytes"},
		{"approved, one more rule", true, heldCommit(r, trust.Hold, mine, "cooldown", "new-package"), 0, RequestReopened, "new-package"},
		{"approved, blocked", true, heldCommit(r, trust.Block, mine, "malware"), 0, RequestReopened, "blocked"},
		{"another release", true, heldCommit(release(t, "pkg:npm/z@1.0.1"), trust.Hold, other, "cooldown"), 0, RequestApproved, ""},
		{"a second before its end", true, heldCommit(r, trust.Allow, mine), time.Hour - time.Second, RequestApproved, ""},
		{"at its end", true, heldCommit(r, trust.Allow, mine), time.Hour, RequestExpired, ""},
		{"ended and held", true, heldCommit(r, trust.Hold, other, "cooldown"), 2 * time.Hour, RequestExpired, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, clk := newStore(t)
			first := heldCommit(r, trust.Hold, mine, "cooldown")
			rec, err := s.Record(ctx, first)
			if err != nil {
				t.Fatal(err)
			}
			d := first.Decisions[0]
			id, err := s.PutRequest(ctx, RequestRecord{Release: r, Artifacts: d.Artifacts, Findings: d.Findings, Conclusions: trust.Conclusions(d.Evidence), Decision: rec.DecisionIDs[0], Reason: "needed", By: "carol"})
			if err != nil {
				t.Fatal(err)
			}
			if tc.approved {
				env := []byte(`{"payload":"e30="}`)
				if err := s.PutApproval(ctx, env, ApprovalRecord{Release: r, By: "dave", Until: s.now().Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
				if err := s.DecideRequest(ctx, id, RequestDecision{State: RequestApproved, By: "dave", Reason: "fine", Approvals: []string{ApprovalID(env)}, Seen: rec.DecisionIDs[0]}); err != nil {
					t.Fatal(err)
				}
			}
			clk.t = clk.t.Add(tc.after)
			before, err := s.Request(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if got := before.Standing(s.now()); tc.state == RequestExpired && got != RequestExpired {
				t.Errorf("stands as %s before a run has seen it", got)
			}
			done, err := s.Record(ctx, tc.then)
			if err != nil {
				t.Fatal(err)
			}
			check(t, s)
			q, err := s.Request(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if q.State != tc.state || !strings.Contains(q.DecidedReason, tc.why) || q.By != "carol" || q.Reason != "needed" {
				t.Fatalf("%s (%s), want %s (%s)", q.State, q.DecidedReason, tc.state, tc.why)
			}
			if tc.state != RequestReopened {
				return
			}
			if q.Decision != done.DecisionIDs[0] || len(q.Approvals) > 0 || !q.Until.IsZero() || !slices.Equal(q.Conclusions, trust.Conclusions(tc.then.Decisions[0].Evidence)) {
				t.Errorf("re-opened about the wrong thing: %+v", q)
			}
			// Who looked at the old one decides nothing.
			if err := s.DecideRequest(ctx, id, RequestDecision{State: RequestRejected, By: "dave", Reason: "no", Seen: rec.DecisionIDs[0]}); !errors.Is(err, ErrConflict) {
				t.Errorf("decided about old evidence: %v", err)
			}
			if _, err := s.Record(ctx, tc.then); err != nil {
				t.Fatal(err)
			}
			if again, err := s.Request(ctx, id); err != nil || again.Decision != q.Decision {
				t.Errorf("the same evidence re-opened it once more: %v", err)
			}
		})
	}
}
