package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// MaxCases bounds the cases of one policy test file.
const MaxCases = 1000

// TestFile is a file of cases for `headgate policy test`.
type TestFile struct {
	Cases []TestCase `yaml:"cases"`
}

// TestCase is one component with what the policy should make of it.
type TestCase struct {
	Name   string    `yaml:"name"`
	Input  CaseInput `yaml:"input"`
	Expect Expected  `yaml:"expect"`
}

// Expected is what a case wants: the verdict, and the rules that find
// something that counts (in any order; not compared if left out).
type Expected struct {
	Verdict string  `yaml:"verdict"`
	Rules   Strings `yaml:"rules,omitempty"`
}

// CaseInput describes a component in few words. What it leaves out is that of a
// healthy routine update: an adapter, a digest, an accepted registry signature
// and an age of 30 days.
type CaseInput struct {
	Release   string         `yaml:"release"`
	Change    string         `yaml:"change,omitempty"`
	Kind      string         `yaml:"kind,omitempty"`
	Known     *bool          `yaml:"known,omitempty"`
	Pinned    bool           `yaml:"pinned,omitempty"`
	Adapter   *bool          `yaml:"adapter,omitempty"`
	Offered   string         `yaml:"offered,omitempty"`
	Evidence  []CaseEvidence `yaml:"evidence,omitempty"`
	Unsigned  bool           `yaml:"unsigned,omitempty"` // no registry signature
	Age       *Duration      `yaml:"age,omitempty"`
	Class     string         `yaml:"continuity,omitempty"`
	Malware   Strings        `yaml:"malware,omitempty"`
	Licenses  Strings        `yaml:"licenses,omitempty"`
	Yanked    bool           `yaml:"yanked,omitempty"`
	Names     Strings        `yaml:"names,omitempty"` // kinds of doubt
	Severity  Strings        `yaml:"severity,omitempty"`
	Advisory  string         `yaml:"advisoryState,omitempty"`
	Inspected string         `yaml:"inspectionState,omitempty"`
}

// CaseEvidence is one piece of evidence of a case.
type CaseEvidence struct {
	Check   string `yaml:"check"`
	Outcome string `yaml:"outcome"`
	Reason  string `yaml:"reason,omitempty"`
	// Signer is the source repository of a workflow, or empty for none.
	Signer   string `yaml:"signer,omitempty"`
	Accepted bool   `yaml:"accepted,omitempty"`
}

// TestResult is what became of one case.
type TestResult struct {
	Name    string          `json:"name"`
	Passed  bool            `json:"passed"`
	Detail  string          `json:"detail,omitempty"`
	Verdict trust.Verdict   `json:"verdict"`
	Found   []trust.Finding `json:"findings,omitempty"`
}

// Test runs the cases of a policy test file. A file without cases is an error.
func (p *Policy) Test(ctx context.Context, data []byte) ([]TestResult, error) {
	var f TestFile
	if err := decodeStrict(data, &f); err != nil {
		return nil, fmt.Errorf("reading policy tests: %w", err)
	}
	if len(f.Cases) == 0 {
		return nil, fmt.Errorf("reading policy tests: no cases")
	}
	if len(f.Cases) > MaxCases {
		return nil, fmt.Errorf("reading policy tests: %d cases are more than %d", len(f.Cases), MaxCases)
	}
	out := make([]TestResult, 0, len(f.Cases))
	for i, c := range f.Cases {
		if c.Name == "" {
			return nil, fmt.Errorf("policy test %d has no name", i+1)
		}
		switch trust.Verdict(c.Expect.Verdict) {
		case trust.Allow, trust.Hold, trust.Block, trust.Undecided:
		default:
			return nil, fmt.Errorf("policy test %q: verdict is %q, want allow, hold, block or undecided", c.Name, clip(c.Expect.Verdict))
		}
		in, err := c.Input.input()
		if err != nil {
			return nil, fmt.Errorf("policy test %q: %w", c.Name, err)
		}
		o := p.Evaluate(ctx, in)
		r := TestResult{Name: c.Name, Verdict: o.Verdict, Found: o.Findings}
		var rules []string
		for _, f := range o.Findings {
			if f.Counts() {
				rules = append(rules, f.Rule)
			}
		}
		slices.Sort(rules)
		want := slices.Sorted(slices.Values(c.Expect.Rules))
		switch {
		case o.Verdict != trust.Verdict(c.Expect.Verdict):
			r.Detail = fmt.Sprintf("verdict is %s, want %s (found: %s)", o.Verdict, c.Expect.Verdict, strings.Join(rules, ", "))
		case c.Expect.Rules != nil && !slices.Equal(rules, want):
			r.Detail = fmt.Sprintf("found %s, want %s", strings.Join(rules, ", "), strings.Join(want, ", "))
		default:
			r.Passed = true
		}
		out = append(out, r)
	}
	return out, nil
}

// caseTime is the clock of all cases.
var caseTime = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *CaseInput) input() (Input, error) {
	rel, err := trust.ParseRelease(c.Release)
	if err != nil {
		return Input{}, err
	}
	sum, err := trust.NewDigest(trust.SHA256, strings.Repeat("5a", 32))
	if err != nil {
		return Input{}, err
	}
	art := trust.Artifact{Digests: trust.Digests{sum}}
	age := 30 * 24 * time.Hour
	if c.Age != nil {
		age = time.Duration(*c.Age)
	}
	orElse := func(v *bool, d bool) bool {
		if v == nil {
			return d
		}
		return *v
	}
	word := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	in := Input{
		Component: sbom.Component{Release: rel, Kind: sbom.Kind(word(c.Kind, string(sbom.KindRegistry))), Artifacts: []trust.Artifact{art}, Licenses: c.Licenses},
		Change:    Change(word(c.Change, string(ChangeVersion))), Adapter: orElse(c.Adapter, true), Pinned: c.Pinned, PackageKnown: orElse(c.Known, true),
		Continuity: trust.Continuity(word(c.Class, string(trust.ContinuitySame))), Facts: trust.Facts{Published: caseTime.Add(-age)},
		AdvisoryState: State(word(c.Advisory, string(StateKnown))), InspectionState: State(word(c.Inspected, string(StateKnown))), Now: caseTime,
	}
	if c.Yanked {
		in.Facts.Yanked = new(string)
	}
	if err := in.Offered.UnmarshalText([]byte(word(c.Offered, "registry"))); err != nil {
		return in, err
	}
	registry := trust.Signer{Kind: trust.SignerRegistry, Name: rel.Package.Type}
	verified := func(check trust.Check, a trust.Assurance, s *trust.Signer) trust.Evidence {
		return trust.Evidence{Check: check, Outcome: trust.Verified, Release: rel, Artifact: art, Assurance: a, Signer: s}
	}
	in.Evidence = []trust.Evidence{verified(trust.CheckLockfile, trust.AssuranceNone, nil)}
	if !c.Unsigned {
		in.Evidence = append(in.Evidence, verified(trust.CheckRegistrySig, trust.AssuranceRegistry, &registry))
		in.Signers = append(in.Signers, SignerState{Signer: registry, Check: trust.CheckRegistrySig, Accepted: true, By: "pinned by headgate"})
	}
	for _, e := range c.Evidence {
		if !slices.Contains(knownChecks, trust.Check(e.Check)) {
			return in, fmt.Errorf("no check %q", clip(e.Check))
		}
		if !trust.Outcome(e.Outcome).Valid() {
			return in, fmt.Errorf("no outcome %q", clip(e.Outcome))
		}
		ev := trust.Evidence{Check: trust.Check(e.Check), Outcome: trust.Outcome(e.Outcome), Release: rel, Artifact: art, Reason: trust.Reason(e.Reason)}
		if ev.Outcome != trust.Verified && ev.Reason == "" {
			ev.Reason = trust.ReasonNotOffered
		}
		if e.Signer != "" && ev.Outcome == trust.Verified {
			s := trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SourceRepository: e.Signer}
			ev.Signer, ev.Assurance = &s, trust.AssurancePublisher
			if ev.Check == trust.CheckProvenance {
				ev.Assurance = trust.AssuranceProvenance
			}
			in.Signers = append(in.Signers, SignerState{Signer: s, Check: ev.Check, Accepted: e.Accepted})
		}
		in.Evidence = slices.DeleteFunc(in.Evidence, func(o trust.Evidence) bool { return o.Check == ev.Check })
		in.Evidence = append(in.Evidence, ev)
	}
	if !slices.ContainsFunc(in.Evidence, func(e trust.Evidence) bool { return e.Check == trust.CheckRegistrySig && e.Outcome == trust.Verified }) {
		in.Signers = slices.DeleteFunc(in.Signers, func(s SignerState) bool { return s.Check == trust.CheckRegistrySig })
	}
	for _, e := range in.Evidence {
		in.Assurance = max(in.Assurance, e.Assurance)
	}
	for _, id := range c.Malware {
		in.Advisories = append(in.Advisories, Advisory{ID: id, Malware: true})
	}
	for i, s := range c.Severity {
		in.Advisories = append(in.Advisories, Advisory{ID: fmt.Sprintf("TEST-%d", i+1), Severity: s})
	}
	for _, k := range c.Names {
		in.Names = append(in.Names, NameRisk{Kind: k, Detail: k})
	}
	return in, nil
}
