package policies

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

const approver = `approvers: [{name: ann, sigstore: {issuer: "https://issuer.example.com", identity: "ann@example.com"}, scope: ["pkg:npm/*"]}]`

func refuse(t *testing.T, why, yaml, want string) {
	t.Helper()
	_, err := LoadYAML([]byte("version: 1\n"+yaml), now)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one about %q", why, err, want)
	}
}

// Keyless identities need an exact issuer and an identity.
func TestThreat012KeylessWithoutIdentity(t *testing.T) {
	load(t, approver)
	id := func(s string) string {
		return "approvers: [{name: ann, scope: [\"pkg:npm/*\"], sigstore: {" + s + "}}]"
	}
	refuse(t, "no issuer", id(`identity: "a@example.com"`), "without issuer")
	refuse(t, "no identity", id(`issuer: "https://issuer.example.com"`), "exactly one of identity")
	refuse(t, "neither", id(``), "without issuer")
	refuse(t, "issuer pattern", id(`issuer: "https://.*", identity: x`), "exact")
	refuse(t, "both", id(`issuer: "https://issuer.example.com", identity: x, identityPattern: "x@example.com"`), "exactly one")
	refuse(t, "pattern for all", id(`issuer: "https://issuer.example.com", identityPattern: ".*"`), "matches whatever")
	refuse(t, "pattern for all but empty", id(`issuer: "https://issuer.example.com", identityPattern: ".+"`), "matches whatever")
	refuse(t, "broken pattern", id(`issuer: "https://issuer.example.com", identityPattern: "a)|(.*"`), "pattern")
	refuse(t, "no identity at all", `approvers: [{name: ann, scope: ["pkg:npm/*"]}]`, "exactly one of ssh")
	refuse(t, "download without expectation", `downloads: [{url: "https://files.example.com/x"}]`, "nothing is expected")
	refuse(t, "download without issuer", `downloads: [{url: "https://files.example.com/x", sigstore: {identity: x}}]`, "without issuer")
	refuse(t, "unsigned checksum list", `downloads: [{url: "https://files.example.com/x", digest: "sha256:`+strings.Repeat("0", 64)+`", checksums: "https://files.example.com/SUMS"}]`, "without its signer")
	refuse(t, "publisher without root", `downloads: [{url: "https://files.example.com/x", authenticode: {subject: "CN=x"}}]`, "authenticode needs")

	s := &SigstoreIdentity{Issuer: "https://i.example.com", IdentityPattern: `https://forge\.example\.com/acme/.*`}
	for san, want := range map[string]bool{
		"https://forge.example.com/acme/x": true, "https://evil.example.org/?https://forge.example.com/acme/x": false,
		"https://forge.example.com/acme2": false, "": false, "https://forgeXexample.com/acme/x": false,
	} {
		if got := s.Matches("https://i.example.com", san); got != want {
			t.Errorf("%q: %v", san, got)
		}
	}
	if s.Matches("https://i.example.com.evil", "https://forge.example.com/acme/x") || s.Matches("", "https://forge.example.com/acme/x") {
		t.Error("foreign issuer matches")
	}
}

// Each policy field alone changes the verdict, and unknown fields are errors.
func TestThreat013EveryFieldCounts(t *testing.T) {
	eval := func(p *Policy, change func(*Input)) trust.Verdict {
		in := healthy(t)
		if change != nil {
			change(&in)
		}
		return p.Evaluate(context.Background(), in).Verdict
	}
	rule := func(cond string) string {
		return "policy:\n  rules: [{name: own, description: d, require: '" + cond + "', otherwise: hold, message: m, remedy: r}]"
	}
	young := func(in *Input) {
		in.Facts.Published = now.Add(-time.Hour)
		in.Evidence[2].SignedAt = time.Time{}
		in.Evidence[3].SignedAt = time.Time{}
	}
	for _, c := range []struct {
		name, yaml string
		change     func(*Input)
		want       trust.Verdict
	}{
		{"nothing", "", nil, trust.Allow},
		{"cooldown", "policy: {parameters: {cooldown: 11d}}", nil, trust.Hold},
		{"cooldown at the bound", "policy: {parameters: {cooldown: 10d}}", nil, trust.Allow},
		{"cooldown of the ecosystem", "policy: {ecosystems: {npm: {cooldown: 11d}}}", nil, trust.Hold},
		{"cooldown of another ecosystem", "policy: {ecosystems: {pypi: {cooldown: 11d}}}", nil, trust.Allow},
		{"no cooldown", "policy: {parameters: {cooldown: 0}}", young, trust.Allow},
		{"minimum assurance", "policy: {parameters: {minimumAssurance: reproduced}}", nil, trust.Hold},
		{"minimum assurance of the ecosystem", "policy: {ecosystems: {npm: {minimumAssurance: reproduced}}}", nil, trust.Hold},
		{"minimum severity", "policy: {parameters: {minimumSeverity: low}}", func(in *Input) { in.Advisories = []Advisory{{ID: "X", Severity: "low"}} }, trust.Hold},
		{"allowed licences", "policy: {licenses: {allow: [Apache-2.0]}}", nil, trust.Hold},
		{"allowed licence", "policy: {licenses: {allow: [MIT]}}", nil, trust.Allow},
		{"denied licences", "policy: {licenses: {deny: [MIT]}}", nil, trust.Hold},
		{"other denied licences", "policy: {licenses: {deny: [GPL-3.0-only]}}", nil, trust.Allow},
		{"unknown licence", "policy: {licenses: {allow: [MIT]}}", func(in *Input) { in.Component.Licenses = []string{"see file"} }, trust.Hold},
		{"choice of licences", "policy: {licenses: {deny: [GPL-3.0-only]}}", func(in *Input) { in.Component.Licenses = []string{"GPL-3.0-only OR MIT"} }, trust.Allow},
		{"both licences", "policy: {licenses: {deny: [GPL-3.0-only]}}", func(in *Input) { in.Component.Licenses = []string{"GPL-3.0-only AND MIT"} }, trust.Hold},
		{"effect", "policy: {effects: {workflow-changed: hold}}", func(in *Input) { in.Continuity = trust.ContinuityWorkflowChanged }, trust.Hold},
		{"disable", "policy: {unsafeDisable: [cooldown]}", young, trust.Allow},
		{"extends audit", "policy: {extends: audit}", young, trust.Allow},
		{"advisories on", "advisories: {source: offline}", func(in *Input) { in.AdvisoryState = StateOff }, trust.Undecided},
		{"unchecked namespace", "policy: {unsafeUnchecked: [\"pkg:npm/left\"]}", func(in *Input) {
			outcome(in, trust.CheckRegistrySig, trust.Absent, trust.ReasonPrivate)
			outcome(in, trust.CheckProvenance, trust.Absent, trust.ReasonPrivate)
		}, trust.Allow},
		{"unchecked other namespace", "policy: {unsafeUnchecked: [\"pkg:npm/right\"]}", func(in *Input) {
			outcome(in, trust.CheckRegistrySig, trust.Absent, trust.ReasonPrivate)
			outcome(in, trust.CheckProvenance, trust.Absent, trust.ReasonPrivate)
		}, trust.Hold},
		{"issuer", rule(`signers.exists(s, s.issuer == "https://other.example.com")`), nil, trust.Hold},
		{"issuer that fits", rule(`signers.exists(s, s.issuer == "` + trust.GitHubIssuer + `")`), nil, trust.Allow},
		{"repository", rule(`signers.exists(s, s.repository == "https://forge.example.com/other")`), nil, trust.Hold},
		{"workflow", rule(`signers.exists(s, s.workflow == "other.yml")`), nil, trust.Hold},
		{"internal namespaces", "policy: {internalNamespaces: [\"pkg:npm/left\"], rules: [{name: own, description: d, require: \"!component.internal\", otherwise: hold, message: m, remedy: r}]}", nil, trust.Hold},
	} {
		if got := eval(load(t, c.yaml), c.change); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	refuse(t, "unknown field", "polcy: {}", `did you mean "policy"`)
	refuse(t, "unknown nested field", "policy: {rules: [{name: x, requires: y}]}", `did you mean "require"`)
	refuse(t, "kyverno's field", "approvers: [{name: x, sigstore: {issuerRegExp: x}}]", "unknown field")
	refuse(t, "other case", "Policy: {}", `did you mean "policy"`)
	refuse(t, "line", "policy:\n  extends: baseline\n  coldown: 3", "line 4")
	if p := load(t, "policy: {unsafeDisable: [cooldown], effects: {failed-evidence: warn}}"); len(p.Notices()) < 3 {
		t.Errorf("looser without notice: %q", p.Notices())
	}
}

// A registry's signature is not provenance.
func TestThreat019RegistryIsNotProvenance(t *testing.T) {
	p := load(t, "policy: {parameters: {minimumAssurance: provenance}}")
	in := healthy(t)
	if o := p.Evaluate(context.Background(), in); o.Verdict != trust.Allow {
		t.Fatalf("with provenance: %+v", o.Findings)
	}
	outcome(&in, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
	if o := p.Evaluate(context.Background(), in); o.Verdict != trust.Hold || counted(o)[0] != "assurance" {
		t.Errorf("registry signature only: %s %q", o.Verdict, counted(o))
	}
}

func TestThreat022Thresholds(t *testing.T) {
	for n, want := range map[int]string{0: "fewer than one", -1: "fewer than one", 2: "only 1 approvers"} {
		refuse(t, fmt.Sprint("quorum ", n), fmt.Sprintf("quorum: {cooldown: %d}\n%s", n, approver), want)
	}
	load(t, "quorum: {cooldown: 1}\n"+approver)
	refuse(t, "quorum of no rule", "quorum: {coldown: 1}\n"+approver, `did you mean "cooldown"`)
	two := `approvers: [{name: ann, ssh: k, scope: ["pkg:npm/*"]}, {name: bob, ssh: k, scope: ["pkg:npm/*"]}]`
	p := load(t, "quorum: {cooldown: 2}\n"+two)
	in := healthy(t)
	in.Facts.Published = now.Add(-time.Hour)
	until := now.AddDate(0, 0, 30)
	for _, c := range []struct {
		as   []Approval
		want trust.Verdict
	}{
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}}, trust.Hold},
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}, {ID: "2", By: "ann", Rules: []string{"cooldown"}, Until: until}}, trust.Hold},
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}, {ID: "2", By: "bob", Rules: []string{"assurance"}, Until: until}}, trust.Hold},
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}, {ID: "2", By: "bob", Rules: []string{"cooldown"}, Until: now}}, trust.Hold},
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}, {ID: "2", By: "bob", Rules: []string{"cooldown"}, Until: now.Add(time.Second)}}, trust.Allow},
		{[]Approval{{ID: "1", By: "ann", Rules: []string{"cooldown"}, Until: until}, {ID: "2", By: "bob", Rules: []string{"cooldown"}, Until: now.AddDate(0, 0, 91)}}, trust.Hold},
	} {
		in.Approvals = c.as
		o := p.Evaluate(context.Background(), in)
		if o.Verdict != c.want {
			t.Errorf("%+v: %s, want %s", c.as, o.Verdict, c.want)
		}
		if o.Verdict == trust.Allow && (len(o.Findings) != 1 || o.Findings[0].Waived == "") {
			t.Errorf("waived finding is not shown: %+v", o.Findings)
		}
	}
}

// Another kind of attestation is no provenance, at the level of the policy.
func TestThreat047OtherAttestationIsNoProvenance(t *testing.T) {
	in := healthy(t)
	in.Evidence[3].Check, in.Evidence[3].PredicateType = trust.CheckPublish, "https://example.com/vuln/v1"
	in.Evidence[3].Assurance, in.Assurance = trust.AssuranceRegistry, trust.AssuranceRegistry
	p := load(t, "policy: {parameters: {minimumAssurance: provenance}}")
	if o := p.Evaluate(context.Background(), in); o.Verdict != trust.Hold {
		t.Errorf("%s: %+v", o.Verdict, o.Findings)
	}
}

func TestThreat048ClaimedAssurance(t *testing.T) {
	in := healthy(t)
	outcome(&in, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
	in.Assurance = trust.AssuranceProvenance
	if o := builtin(t, "audit").Evaluate(context.Background(), in); o.Verdict != trust.Block {
		t.Errorf("assurance above the evidence: %s", o.Verdict)
	}
}

func TestThreat049MalformedIsNoPass(t *testing.T) {
	in := healthy(t)
	outcome(&in, trust.CheckProvenance, trust.Failed, trust.ReasonWrongPredicate)
	if o := builtin(t, "baseline").Evaluate(context.Background(), in); o.Verdict != trust.Block {
		t.Errorf("wrong predicate: %s", o.Verdict)
	}
	in = healthy(t)
	outcome(&in, trust.CheckProvenance, trust.Unreachable, trust.ReasonMalformed)
	in.Continuity = trust.ContinuityUnknown
	if o := builtin(t, "baseline").Evaluate(context.Background(), in); o.Verdict != trust.Undecided {
		t.Errorf("malformed: %s", o.Verdict)
	}
}

func TestThreat056UnknownNames(t *testing.T) {
	refuse(t, "rule to disable", "policy: {unsafeDisable: [cool-down]}", `did you mean "cooldown"`)
	refuse(t, "rule to change", "policy: {effects: {cool-down: warn}}", `did you mean "cooldown"`)
	refuse(t, "built-in", "policy: {extends: basline}", `did you mean "baseline"`)
	refuse(t, "check", "policy: {rules: [{name: own, description: d, needs: [provenence], require: known, otherwise: hold, message: m}]}", `did you mean "provenance"`)
	refuse(t, "variable", "policy: {rules: [{name: own, description: d, require: knwon, otherwise: hold, message: m}]}", "undeclared")
	refuse(t, "type", "policy: {rules: [{name: own, description: d, require: assurance, otherwise: hold, message: m}]}", "want bool")
	refuse(t, "field of evidence", "policy: {rules: [{name: own, description: d, require: 'evidence.exists(e, e.outcom == \"failed\")', otherwise: hold, message: m}]}", "undefined field")
	refuse(t, "effect", "policy: {effects: {cooldown: off}}", "want warn, hold or block")
}

func TestThreat057StringsAndStars(t *testing.T) {
	p := load(t, `approvers: [{name: ann, ssh: k, scope: "pkg:npm/*"}]`)
	if s := p.Config().Approvers[0].Scope; len(s) != 1 || s[0] != "pkg:npm/*" {
		t.Errorf("one value: %q", s)
	}
	refuse(t, "string for a list", "policy: {internalNamespaces: \"pkg:npm/@acme/*\"}", "a list expected")
	refuse(t, "star scope", `approvers: [{name: ann, ssh: k, scope: ["*"]}]`, "unsafeAnyPackage")
	refuse(t, "no scope", `approvers: [{name: ann, ssh: k}]`, "scope is missing")
	refuse(t, "star rules", `approvers: [{name: ann, ssh: k, scope: ["pkg:npm/*"], rules: ["*"]}]`, "no rule")
	refuse(t, "star namespace", `policy: {internalNamespaces: ["*"]}`, "matches everything")
	refuse(t, "star unchecked", `policy: {unsafeUnchecked: ["pkg:*"]}`, "matches everything")
	refuse(t, "star inside", `policy: {unsafeUnchecked: ["pkg:npm/a*"]}`, "write a package")
	if p := load(t, `approvers: [{name: ann, ssh: k, scope: ["*"], unsafeAnyPackage: true}]`); !strings.Contains(strings.Join(p.Notices(), ";"), "any package") {
		t.Errorf("unsafe scope without notice: %q", p.Notices())
	}
}

func TestThreat058RulesThatNeverFire(t *testing.T) {
	own := func(applies, require string) string {
		return fmt.Sprintf("policy: {rules: [{name: own, description: d, applies: '%s', require: '%s', otherwise: hold, message: m, remedy: r}]}", applies, require)
	}
	for _, c := range []struct{ yaml, want string }{
		{own("false", "known"), "never applies"}, {own("1 > 2 && true", "known"), "never applies"}, {own("known", "true"), "can never fire"}, {own("true", "false"), "fires for everything"},
	} {
		is := load(t, c.yaml).Lint(now)
		if len(is) != 1 || is[0].Subject != "rule own" || !strings.Contains(is[0].Problem, c.want) {
			t.Errorf("%s: %+v", c.yaml, is)
		}
	}
	for _, n := range BuiltinNames {
		if is := builtin(t, n).Lint(now); len(is) != 0 {
			t.Errorf("%s: %+v", n, is)
		}
	}
	refuse(t, "two rules of one name", "policy: {rules: [{name: cooldown, description: d, require: known, otherwise: hold, message: m}]}", "two rules are named")
	var all []string
	for _, r := range builtin(t, "baseline").Rules() {
		all = append(all, r.Name)
	}
	refuse(t, "nothing left", "policy: {unsafeDisable: ["+strings.Join(all, ", ")+"]}", "proves nothing")
	refuse(t, "nothing that fires left", "policy: {unsafeDisable: ["+strings.Join(all, ", ")+"], rules: [{name: own, description: d, require: 'true', otherwise: hold, message: m}]}", "proves nothing")
}

// Optional and development dependencies are judged like all others.
func TestThreat059OptionalIsNotSkipped(t *testing.T) {
	for _, scope := range []sbom.Scope{sbom.ScopeOptional, sbom.ScopeDevelopment, sbom.ScopeRuntime, sbom.ScopeUnknown} {
		in := healthy(t)
		in.Component.Scope = scope
		outcome(&in, trust.CheckProvenance, trust.Failed, trust.ReasonBadSignature)
		if o := builtin(t, "baseline").Evaluate(context.Background(), in); o.Verdict != trust.Block {
			t.Errorf("%q: %s", scope, o.Verdict)
		}
	}
}

// A transport error is not a policy violation.
func TestThreat060NetworkIsUndecided(t *testing.T) {
	in := healthy(t)
	outcome(&in, trust.CheckRegistrySig, trust.Unreachable, trust.ReasonNetwork)
	outcome(&in, trust.CheckProvenance, trust.Unreachable, trust.ReasonNetwork)
	in.Continuity = trust.ContinuityProvenanceLost // whoever compares must not say so, but if they do
	o := builtin(t, "baseline").Evaluate(context.Background(), in)
	if o.Verdict != trust.Undecided {
		t.Fatalf("%s: %+v", o.Verdict, o.Findings)
	}
	for _, f := range o.Findings {
		if f.Effect != trust.EffectUndecided || !strings.Contains(f.Remedy, "try again") || !strings.Contains(f.Message, "network") || len(f.Evidence) == 0 {
			t.Errorf("%+v", f)
		}
	}
	// Approvals are for what is known, not for what is not.
	in.Approvals = []Approval{{ID: "1", By: "ann", Rules: []string{"assurance", "provenance-lost", "something-verified"}, Until: now.AddDate(0, 0, 1)}}
	if o := builtin(t, "baseline").Evaluate(context.Background(), in); o.Verdict != trust.Undecided {
		t.Errorf("approved: %s", o.Verdict)
	}
}

// Evidence is kept, verdicts are not: a tightened policy counts at once.
func TestThreat063TightenedPolicyCounts(t *testing.T) {
	in := healthy(t)
	a, b := builtin(t, "baseline"), load(t, "policy: {parameters: {cooldown: 30d}}")
	if a.Evaluate(context.Background(), in).Verdict != trust.Allow || b.Evaluate(context.Background(), in).Verdict != trust.Hold ||
		a.Evaluate(context.Background(), in).Verdict != trust.Allow {
		t.Error("the same evidence under another policy")
	}
	if a.Digest().Equal(b.Digest()) {
		t.Error("two policies, one digest")
	}
	if !a.Digest().Equal(load(t, "policy: {extends: baseline}").Digest()) || !b.Digest().Equal(load(t, "policy:\n  parameters:\n    cooldown: 720h\n").Digest()) {
		t.Error("one policy, two digests")
	}
}

func TestThreat093DuplicateKeys(t *testing.T) {
	refuse(t, "duplicate", "policy: {}\npolicy: {}", "twice")
	refuse(t, "case-folded", "policy: {}\nPolicy: {}", "twice")
	refuse(t, "nested duplicate", "policy: {extends: strict, extends: audit}", "twice")
	refuse(t, "second document", "policy: {}\n---\npolicy: {}", "more than one")
	refuse(t, "alias", "policy: &p {}\nadvisories: *p", "anchors")
	refuse(t, "merge key", "policy: {<<: {extends: audit}}", "")
	refuse(t, "list for a value", "policy: {extends: [audit]}", "one value expected")
	refuse(t, "null", "policy: {extends: }", "no value")
	if _, err := LoadYAML(nil, now); err == nil {
		t.Error("empty document accepted")
	}
	if _, err := LoadYAML([]byte("version: 2"), now); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("other version: %v", err)
	}
	pad := func(n int) []byte {
		head := "version: 1\n#"
		return []byte(head + strings.Repeat("x", n-len(head)))
	}
	if _, err := ParseConfig(pad(MaxPolicyBytes)); err != nil {
		t.Errorf("at the bound of size: %v", err)
	}
	if _, err := ParseConfig(pad(MaxPolicyBytes + 1)); err == nil {
		t.Error("above the bound of size accepted")
	}
}

// Whatever is weakened is visible in the verdict.
func TestThreat136WeakenedIsVisible(t *testing.T) {
	p := builtin(t, "audit")
	for name, change := range map[string]func(*Input){
		"invalid evidence":          func(in *Input) { in.Evidence[0].Outcome = "fine" },
		"evidence without reason":   func(in *Input) { in.Evidence[0].Outcome = trust.Absent },
		"evidence of another":       func(in *Input) { in.Evidence[3].Release.Version = "1.4.1" },
		"evidence of another name":  func(in *Input) { in.Evidence[3].Release.Package.Name = "lefft" },
		"signer without issuer":     func(in *Input) { in.Signers[1].Signer.Issuer = "" },
		"accepted without evidence": func(in *Input) { in.Signers[1].Signer.SourceRepositoryID = "666" },
		"auto-accept, no evidence": func(in *Input) {
			in.Evidence, in.Assurance = in.Evidence[:3], trust.AssuranceRegistry
			in.Signers[1].Accepted, in.Signers[1].AutoAccept = false, true
		},
		"assurance without evidence": func(in *Input) { in.Evidence = in.Evidence[:2]; in.Signers = nil },
		"no release":                 func(in *Input) { in.Component.Release = trust.Release{} },
		"too much evidence": func(in *Input) {
			for len(in.Evidence) <= MaxEvidence {
				in.Evidence = append(in.Evidence, in.Evidence[0])
			}
		},
	} {
		in := healthy(t)
		change(&in)
		o := p.Evaluate(context.Background(), in)
		if o.Verdict != trust.Block || o.Findings[0].Rule != RuleInvalidInput {
			t.Errorf("%s: %s %+v", name, o.Verdict, o.Findings)
		}
	}
	in := healthy(t)
	for len(in.Evidence) < MaxEvidence {
		in.Evidence = append(in.Evidence, in.Evidence[0])
	}
	if o := builtin(t, "baseline").Evaluate(context.Background(), in); o.Verdict != trust.Allow {
		t.Errorf("at the bound of evidence: %+v", o.Findings)
	}
	if (Outcome{}).Verdict == trust.Allow {
		t.Error("the zero outcome allows")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := builtin(t, "baseline").Evaluate(ctx, healthy(t)); o.Verdict != trust.Undecided {
		t.Errorf("cancelled: %s", o.Verdict)
	}
}

// TestThreat077BundledIsNotVerified: the flag of a lock file lets nothing new in.
func TestThreat077BundledIsNotVerified(t *testing.T) {
	p, err := Builtin("baseline")
	if err != nil {
		t.Fatal(err)
	}
	rel, err := trust.ParseRelease("pkg:npm/left-pad@1.3.0")
	if err != nil {
		t.Fatal(err)
	}
	in := Input{
		Component: sbom.Component{Release: rel, Kind: sbom.KindBundled}, Change: ChangeAdded, Adapter: true, Offered: trust.AssuranceRegistry,
		Evidence: []trust.Evidence{{Check: trust.CheckSource, Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Release: rel}},
	}
	if out := p.Evaluate(t.Context(), in); out.Verdict != trust.Hold {
		t.Errorf("a new bundled package: %s, %+v", out.Verdict, out.Findings)
	}
	in.PackageKnown = true
	if out := p.Evaluate(t.Context(), in); out.Verdict != trust.Allow || len(out.Findings) == 0 {
		t.Errorf("a known bundled package: %s, %+v", out.Verdict, out.Findings)
	}
}
