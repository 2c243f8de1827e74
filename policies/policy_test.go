package policies

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var now = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

func release(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func digest(seed string) trust.Digest {
	d, err := trust.NewDigest(trust.SHA512, strings.Repeat(fmt.Sprintf("%02x", seed[0]), 64))
	if err != nil {
		panic(err)
	}
	return d
}

var npmRegistry = trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}

func workflow(repo, repoID, ownerID, wf string) trust.Signer {
	return trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SAN: repo + "/" + wf + "@refs/tags/v1",
		SourceRepository: repo, SourceRepositoryID: repoID, SourceOwnerID: ownerID, Workflow: wf}
}

// healthy is a routine update of an npm package with provenance.
func healthy(t testing.TB) Input {
	r := release(t, "pkg:npm/left@1.4.2")
	d := digest("a")
	w := workflow("https://forge.example.com/left/left", "1001", "2001", ".github/workflows/release.yml")
	ev := func(c trust.Check, a trust.Assurance, s *trust.Signer) trust.Evidence {
		return trust.Evidence{Check: c, Outcome: trust.Verified, Release: r, Assurance: a, Signer: s,
			Artifact: trust.Artifact{Digests: trust.Digests{d}}, SignedAt: now.AddDate(0, 0, -10)}
	}
	prev := sbom.Component{Release: release(t, "pkg:npm/left@1.4.1"), Kind: sbom.KindRegistry}
	return Input{
		Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{d}}}, Licenses: []string{"MIT"}},
		Change:    ChangeVersion,
		Previous:  &prev,
		Evidence: []trust.Evidence{
			ev(trust.CheckMetadata, trust.AssuranceNone, nil),
			ev(trust.CheckLockfile, trust.AssuranceNone, nil),
			ev(trust.CheckRegistrySig, trust.AssuranceRegistry, &npmRegistry),
			ev(trust.CheckProvenance, trust.AssuranceProvenance, &w),
		},
		Assurance: trust.AssuranceProvenance,
		Offered:   trust.AssuranceRegistry,
		Adapter:   true,
		Signers: []SignerState{
			{Signer: npmRegistry, Check: trust.CheckRegistrySig, Accepted: true, By: "pinned by headgate"},
			{Signer: w, Check: trust.CheckProvenance, Accepted: true, By: "baseline"},
		},
		Continuity:      trust.ContinuitySame,
		Facts:           trust.Facts{Published: now.AddDate(0, 0, -10), Repository: "https://forge.example.com/left/left", Releases: 20},
		PackageKnown:    true,
		AdvisoryState:   StateKnown,
		InspectionState: StateKnown,
		Now:             now,
	}
}

// unsigned is a routine update of an accepted package that nobody ever signed.
func unsigned(t testing.TB) Input {
	in := healthy(t)
	r := release(t, "pkg:cargo/right@2.0.1")
	in.Component.Release = r
	d := in.Component.Artifacts[0].Digests[0]
	in.Evidence, in.Signers = nil, nil
	for _, c := range []trust.Check{trust.CheckMetadata, trust.CheckIndex, trust.CheckBytes} {
		in.Evidence = append(in.Evidence, trust.Evidence{Check: c, Outcome: trust.Verified, Release: r, Artifact: trust.Artifact{Digests: trust.Digests{d}}})
	}
	in.Assurance, in.Offered = trust.AssuranceNone, trust.AssuranceNone
	return in
}

func builtin(t testing.TB, name string) *Policy {
	t.Helper()
	p, err := Builtin(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t testing.TB, yaml string) *Policy {
	t.Helper()
	p, err := LoadYAML([]byte("version: 1\n"+yaml), now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func counted(o Outcome) []string {
	var out []string
	for _, f := range o.Findings {
		if f.Counts() && f.Effect != trust.EffectWarn {
			out = append(out, f.Rule)
		}
	}
	return out
}

// fail replaces the evidence of a check by one with the outcome.
func outcome(in *Input, c trust.Check, o trust.Outcome, r trust.Reason) {
	for i := range in.Evidence {
		if in.Evidence[i].Check == c {
			in.Evidence[i].Outcome, in.Evidence[i].Reason = o, r
			in.Evidence[i].Assurance, in.Evidence[i].Signer = trust.AssuranceNone, nil
		}
	}
	in.Signers = slices.DeleteFunc(in.Signers, func(s SignerState) bool { return s.Check == c })
	in.Assurance = trust.AssuranceNone
	for _, e := range in.Evidence {
		in.Assurance = max(in.Assurance, e.Assurance)
	}
}

func TestBaseline(t *testing.T) {
	p := builtin(t, "baseline")
	str := func(s string) *string { return &s }
	cases := []struct {
		name    string
		change  func(*Input)
		verdict trust.Verdict
		rules   []string
	}{
		{"routine update", func(in *Input) {}, trust.Allow, nil},
		{"routine update of an unsigned package", func(in *Input) { *in = unsigned(t) }, trust.Allow, nil},
		{"new unsigned package", func(in *Input) { *in = unsigned(t); in.PackageKnown = false; in.Change = ChangeAdded }, trust.Hold, []string{"unsigned-package"}},
		{"unsigned release without bytes", func(in *Input) {
			*in = unsigned(t)
			outcome(in, trust.CheckBytes, trust.Absent, trust.ReasonNotOffered)
		}, trust.Hold, []string{"unsigned-release"}},
		{"unsigned release, bytes unreachable", func(in *Input) {
			*in = unsigned(t)
			outcome(in, trust.CheckBytes, trust.Unreachable, trust.ReasonNetwork)
		}, trust.Undecided, []string{"unsigned-release"}},
		{"unsigned release, too young", func(in *Input) { *in = unsigned(t); in.Facts.Published = now.Add(-time.Hour) }, trust.Hold, []string{"cooldown"}},
		{"new package with registry signature only", func(in *Input) {
			outcome(in, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
			in.PackageKnown, in.Change, in.Continuity = false, ChangeAdded, trust.ContinuityFirst
		}, trust.Allow, nil},
		{"first sight, repositories agree", func(in *Input) {
			in.Signers[1].Accepted, in.Signers[1].AutoAccept = false, true
			in.PackageKnown, in.Change, in.Continuity = false, ChangeAdded, trust.ContinuityFirst
		}, trust.Allow, nil},
		{"first sight, repositories differ", func(in *Input) {
			in.Signers[1].Accepted = false
			in.PackageKnown, in.Change, in.Continuity = false, ChangeAdded, trust.ContinuityFirst
		}, trust.Hold, []string{"signer-accepted"}},
		{"repository agrees but moved", func(in *Input) {
			in.Signers[1].Accepted, in.Signers[1].AutoAccept = false, true
			in.Continuity = trust.ContinuityRepositoryMoved
		}, trust.Hold, []string{"signer-accepted", "repository-moved"}},
		{"failed evidence", func(in *Input) { outcome(in, trust.CheckProvenance, trust.Failed, trust.ReasonWrongDigest) }, trust.Block, []string{"failed-evidence"}},
		{"malware", func(in *Input) { in.Advisories = []Advisory{{ID: "MAL-1", Malware: true}} }, trust.Block, []string{"known-malware"}},
		{"malware that somebody ignores", func(in *Input) { in.Advisories = []Advisory{{ID: "MAL-1", Malware: true, Suppressed: "not us"}} }, trust.Block, []string{"known-malware"}},
		{"changed upstream", func(in *Input) { in.ChangedUpstream = true }, trust.Block, []string{"changed-upstream"}},
		{"other digest, same version", func(in *Input) { in.Change = ChangeDigest }, trust.Hold, []string{"digest-changed"}},
		{"provenance lost", func(in *Input) { in.Continuity = trust.ContinuityProvenanceLost }, trust.Hold, []string{"provenance-lost"}},
		{"publisher changed", func(in *Input) { in.Continuity = trust.ContinuityPublisherChanged }, trust.Hold, []string{"publisher-changed"}},
		{"unsigned now", func(in *Input) { in.Continuity = trust.ContinuityUnsignedNow }, trust.Hold, []string{"unsigned-now"}},
		{"workflow changed is reported", func(in *Input) { in.Continuity = trust.ContinuityWorkflowChanged }, trust.Allow, nil},
		{"key rotated is reported", func(in *Input) { in.Continuity = trust.ContinuityKeyRotated }, trust.Allow, nil},
		{"stronger", func(in *Input) { in.Continuity = trust.ContinuityStronger }, trust.Allow, nil},
		{"continuity not stated", func(in *Input) { in.Continuity = "" }, trust.Hold, []string{"continuity-known"}},
		{"continuity unknown because unreachable", func(in *Input) {
			outcome(in, trust.CheckProvenance, trust.Unreachable, trust.ReasonNetwork)
			in.Continuity = trust.ContinuityUnknown
		}, trust.Undecided, []string{"continuity-known"}},
		{"too young", func(in *Input) { in.Facts.Published = now.Add(-71 * time.Hour) }, trust.Hold, []string{"cooldown"}},
		{"just old enough", func(in *Input) { in.Facts.Published = now.Add(-72 * time.Hour) }, trust.Allow, nil},
		{"later signed time counts", func(in *Input) { in.Evidence[3].SignedAt = now.Add(-time.Hour) }, trust.Hold, []string{"cooldown"}},
		{"too young but fixes", func(in *Input) { in.Facts.Published = now; in.FixesAdvisory = []string{"GHSA-1"} }, trust.Allow, nil},
		{"age unknown", func(in *Input) {
			in.Facts.Published = time.Time{}
			for i := range in.Evidence {
				in.Evidence[i].SignedAt = time.Time{}
			}
		}, trust.Hold, []string{"cooldown"}},
		{"published in the future", func(in *Input) { in.Facts.Published = now.AddDate(1, 0, 0) }, trust.Hold, []string{"cooldown"}},
		{"yanked", func(in *Input) { in.Facts.Yanked = str("broken") }, trust.Hold, []string{"withdrawn-release"}},
		{"retracted", func(in *Input) { in.Facts.Retracted = str("") }, trust.Hold, []string{"withdrawn-release"}},
		{"unpublished", func(in *Input) { in.Facts.Unpublished = true }, trust.Hold, []string{"withdrawn-release"}},
		{"deprecated is reported", func(in *Input) { in.Facts.Deprecated = str("use right") }, trust.Allow, nil},
		{"no adapter", func(in *Input) { in.Adapter, in.Evidence, in.Signers, in.Assurance = false, nil, nil, 0 }, trust.Hold, []string{"no-adapter"}},
		{"nothing verified", func(in *Input) { in.Evidence, in.Signers, in.Assurance = nil, nil, 0 }, trust.Hold, nil},
		{"no lock digest", func(in *Input) { outcome(in, trust.CheckLockfile, trust.Absent, trust.ReasonNoLockDigest) }, trust.Hold, []string{"lock-digest"}},
		{"problem of the component", func(in *Input) {
			in.Component.Problems = []sbom.Problem{{Code: sbom.ProblemOneSided, Detail: "only Syft sees it"}}
		}, trust.Hold, []string{"inventory-problem"}},
		{"revoked signer", func(in *Input) { in.Signers[1].Revoked = true }, trust.Hold, []string{"signer-accepted", "signer-revoked"}},
		{"look-alike", func(in *Input) { in.Names = []NameRisk{{Kind: "look-alike", Resembles: "lefft", Detail: "one letter"}} }, trust.Hold, []string{"suspicious-name"}},
		{"internal namespace", func(in *Input) { in.Names = []NameRisk{{Kind: "internal-namespace", Detail: "ours"}} }, trust.Block, []string{"internal-name"}},
		{"archive attack", func(in *Input) {
			in.Inspection = []Observation{{Kind: "path-escape", Entry: "../x", Detail: "leaves", Effect: trust.EffectBlock}}
		}, trust.Block, []string{"dangerous-archive"}},
		{"new install script", func(in *Input) {
			in.Inspection = []Observation{{Kind: "install-script", Detail: "new", New: true, Effect: trust.EffectHold}}
		}, trust.Hold, []string{"suspicious-content"}},
		{"high vulnerability", func(in *Input) {
			in.Advisories = []Advisory{{ID: "GHSA-1", Severity: "high", Fixed: []string{"1.4.3"}}}
		}, trust.Hold, []string{"vulnerable"}},
		{"unknown severity counts as high", func(in *Input) { in.Advisories = []Advisory{{ID: "GHSA-1"}} }, trust.Hold, []string{"vulnerable"}},
		{"low vulnerability", func(in *Input) { in.Advisories = []Advisory{{ID: "GHSA-1", Severity: "low"}} }, trust.Allow, nil},
		{"exploited low vulnerability", func(in *Input) { in.Advisories = []Advisory{{ID: "GHSA-1", Severity: "low", KEV: true}} }, trust.Hold, []string{"vulnerable"}},
		{"vulnerability that was there", func(in *Input) {
			in.Advisories = []Advisory{{ID: "GHSA-1", Severity: "high", Aliases: []string{"CVE-1"}}}
			in.PreviousAdvisories = []string{"CVE-1"}
		}, trust.Allow, nil},
		{"suppressed vulnerability", func(in *Input) {
			in.Advisories = []Advisory{{ID: "GHSA-1", Severity: "high", Suppressed: "not reachable"}}
		}, trust.Allow, nil},
		{"advisories missing", func(in *Input) { in.AdvisoryState = StateUnavailable }, trust.Undecided, []string{"advisories-available"}},
		{"advisory state not set", func(in *Input) { in.AdvisoryState = "" }, trust.Undecided, []string{"advisories-available"}},
		{"advisories off", func(in *Input) { in.AdvisoryState = StateOff }, trust.Allow, nil},
		{"inspection missing", func(in *Input) { in.InspectionState = StateUnavailable }, trust.Undecided, []string{"inspection-available"}},
		{"git dependency", func(in *Input) {
			in.Component.Kind, in.Component.Origin, in.Component.Pinned = sbom.KindGit, "https://forge.example.com/x/y", true
			in.Evidence, in.Signers, in.Assurance = nil, nil, 0
		}, trust.Hold, []string{"not-from-registry"}},
		{"url dependency", func(in *Input) {
			in.Component.Kind, in.Component.Origin = sbom.KindURL, "https://files.example.com/x.tgz"
			in.Evidence, in.Signers, in.Assurance = nil, nil, 0
		}, trust.Block, []string{"foreign-url"}},
		{"workspace member", func(in *Input) {
			in.Component.Kind = sbom.KindWorkspace
			in.Evidence, in.Signers, in.Assurance, in.AdvisoryState, in.InspectionState = nil, nil, 0, "", ""
		}, trust.Allow, nil},
		{"pinned and unchanged", func(in *Input) {
			in.Pinned, in.Change = true, ChangePresent
			in.Evidence, in.Signers, in.Assurance, in.Adapter = nil, nil, 0, false
			in.Facts.Yanked = str("later")
			in.Component.Problems = []sbom.Problem{{Code: sbom.ProblemWeakDigest, Detail: "SHA-1 only"}}
		}, trust.Allow, nil},
		{"pinned malware", func(in *Input) { in.Pinned = true; in.Advisories = []Advisory{{ID: "MAL-1", Malware: true}} }, trust.Block, []string{"known-malware"}},
		{"pinned, signer revoked", func(in *Input) { in.Pinned = true; in.Signers[0].Revoked = true }, trust.Hold, []string{"signer-revoked"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in := healthy(t)
			c.change(&in)
			o := p.Evaluate(context.Background(), in)
			if o.Verdict != c.verdict {
				t.Errorf("verdict %s, want %s: %+v", o.Verdict, c.verdict, o.Findings)
			}
			if got := counted(o); c.rules != nil && !slices.Equal(got, c.rules) {
				t.Errorf("rules %q, want %q: %+v", got, c.rules, o.Findings)
			}
			for _, f := range o.Findings {
				if f.Message == "" || f.Remedy == "" || strings.Contains(f.Message+f.Remedy, "no such") || strings.Contains(f.Message+f.Remedy, "${") {
					t.Errorf("finding without words: %+v", f)
				}
			}
			if a := builtin(t, "audit").Evaluate(context.Background(), in); a.Verdict != trust.Allow {
				t.Errorf("audit stops: %+v", a.Findings)
			} else if len(counted(o)) > 0 && len(a.Findings) == 0 {
				t.Error("audit reports nothing")
			}
		})
	}
}

// TestInstalledPackages: dpkg records no digests, so a signed index is all that
// there can be; what it does not list is not let in by that.
func TestInstalledPackages(t *testing.T) {
	archive := trust.Signer{Kind: trust.SignerRegistry, Name: "debian"}
	installed := func() Input {
		in := healthy(t)
		r := release(t, "pkg:deb/debian/left@1.4.2-1?arch=amd64&distro=debian-12")
		d := in.Component.Artifacts[0].Digests
		in.Component = sbom.Component{Release: r, Kind: sbom.KindRegistry}
		in.Previous, in.Change, in.Continuity = nil, ChangeAdded, trust.ContinuityFirst
		in.Evidence = []trust.Evidence{
			{Check: trust.CheckLockfile, Outcome: trust.Absent, Reason: trust.ReasonNoLockDigest, Release: r, Artifact: trust.Artifact{Digests: d}},
			{Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: r, Assurance: trust.AssuranceRegistry, Signer: &archive, Artifact: trust.Artifact{Digests: d}},
		}
		in.Signers = []SignerState{{Signer: archive, Check: trust.CheckRegistrySig, Accepted: true, By: "pinned by headgate"}}
		in.Assurance = trust.AssuranceRegistry
		return in
	}
	for what, c := range map[string]struct {
		policy  string
		change  func(in *Input)
		verdict trust.Verdict
		rules   []string
	}{
		"listed":           {"baseline", func(*Input) {}, trust.Allow, nil},
		"listed, strictly": {"strict", func(*Input) {}, trust.Hold, []string{"installed-files"}},
		"not listed (any more)": {"baseline", func(in *Input) {
			in.Evidence = []trust.Evidence{{Check: trust.CheckRegistrySig, Outcome: trust.Absent, Reason: trust.ReasonNotCovered, Release: in.Component.Release, Detail: "not listed", Remedy: "update it"}}
			in.Signers, in.Assurance = nil, trust.AssuranceNone
		}, trust.Hold, []string{"assurance", "something-verified"}},
		"other digest than stated": {"baseline", func(in *Input) {
			in.Evidence[0].Outcome, in.Evidence[0].Reason = trust.Failed, trust.ReasonWrongDigest
		}, trust.Block, []string{"failed-evidence"}},
	} {
		in := installed()
		c.change(&in)
		o := builtin(t, c.policy).Evaluate(context.Background(), in)
		if got := counted(o); o.Verdict != c.verdict || !slices.Equal(got, c.rules) {
			t.Errorf("%s: %s %q: %+v", what, o.Verdict, got, o.Findings)
		}
		for _, f := range o.Findings {
			if f.Rule == "something-verified" && (!strings.Contains(f.Message, "not listed") || !strings.HasPrefix(f.Remedy, "update it; or ")) {
				t.Errorf("%s: %q, next %q", what, f.Message, f.Remedy)
			}
		}
	}
}

func TestEvaluateSpeed(t *testing.T) {
	if os.Getenv("HEADGATE_BENCH") == "" {
		t.Skip("HEADGATE_BENCH is not set")
	}
	p := builtin(t, "baseline")
	in := healthy(t)
	runtime.GC()
	start := time.Now()
	const n = 20_000
	for range n {
		p.Evaluate(context.Background(), in)
	}
	t.Logf("%d evaluations in %s", n, time.Since(start))
}

func BenchmarkEvaluate(b *testing.B) {
	p := builtin(b, "baseline")
	in := healthy(b)
	for b.Loop() {
		p.Evaluate(context.Background(), in)
	}
}

// BenchmarkLoad measures loading the default policy in a fresh process: the
// vocabulary is made anew each time.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := newVocabulary(componentVariables); err != nil {
			b.Fatal(err)
		}
		vs, err := vocabularies()
		if err != nil {
			b.Fatal(err)
		}
		for _, vc := range vs {
			vc.mu.Lock()
			clear(vc.compiled)
			vc.mu.Unlock()
		}
		builtin(b, "baseline")
	}
}

// A policy is shared by all workers of a check.
func TestEvaluateConcurrently(t *testing.T) {
	p := builtin(t, "baseline")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := healthy(t)
			want := trust.Allow
			if i%2 == 1 {
				in.ChangedUpstream, want = true, trust.Block
			}
			for range 50 {
				if o := p.Evaluate(context.Background(), in); o.Verdict != want {
					t.Errorf("%s, want %s", o.Verdict, want)
				}
			}
		})
	}
	wg.Wait()
}

// Built-in rules are compiled when they are first asked: that they compile, and that
// none of them is without effect, shows here.
func TestBuiltinRulesCompile(t *testing.T) {
	for _, n := range BuiltinNames {
		p, err := Builtin(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.rules {
			if err := r.compiles(); err != nil {
				t.Errorf("%s: %s: %v", n, r.Name, err)
			}
			c, err := r.conditions()
			if err != nil || c.appliesConst != nil && !*c.appliesConst || c.requireConst != nil && *c.requireConst {
				t.Errorf("%s: %s can never find anything", n, r.Name)
			}
		}
	}
}

// A rule that cannot be compiled once it is asked is no rule that holds.
func TestRuleThatDoesNotCompile(t *testing.T) {
	p, err := Builtin(DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]RuleConfig{
		"condition": {Name: "broken", On: onComponent, Require: "no.such.name", Message: "m"},
		"message":   {Name: "broken", On: onComponent, Require: "false", Message: "${no.such.name}"},
	} {
		c.Description, c.Otherwise = "d", trust.EffectWarn
		r, err := p.compile(originRule{c, DefaultName})
		if err != nil {
			t.Fatal(err)
		}
		f, _ := r.judge(&view{p: p, in: &Input{}, vars: p.components.vars, cache: map[string]any{}})
		if f == nil || f.Effect != trust.EffectUndecided {
			t.Errorf("%s: %+v", name, f)
		}
		if _, err := p.compile(originRule{c, ownRules}); err == nil {
			t.Errorf("%s: a rule of headgate.yaml is loaded", name)
		}
	}
}

// What upstream does not know does not come by waiting; what an adapter knows to
// help goes first.
func TestNextStepWhereEvidenceIsMissing(t *testing.T) {
	p := builtin(t, "baseline")
	for _, c := range []struct {
		reason       trust.Reason
		remedy, want string
	}{
		{trust.ReasonNetwork, "", "try again"},
		{trust.ReasonNotFound, "", "check the name and the version"},
		{trust.ReasonNotFound, "publish it first", "publish it first"},
	} {
		in := healthy(t)
		outcome(&in, trust.CheckProvenance, trust.Unreachable, c.reason)
		in.Continuity = trust.ContinuityUnknown
		in.Evidence[3].Remedy = c.remedy
		res := p.Evaluate(t.Context(), in)
		if !slices.ContainsFunc(res.Findings, func(f trust.Finding) bool { return strings.HasPrefix(f.Remedy, c.want) }) {
			t.Errorf("%s: no remedy begins with %q: %+v", c.reason, c.want, res.Findings)
		}
	}
}
