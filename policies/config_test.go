package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func exceptionYAML(t testing.TB, until string, rules string) string {
	in := healthy(t)
	return fmt.Sprintf("exceptions: [{release: %q, digests: %q, rules: %s, reason: looked at it, until: %q}]\n",
		in.Component.Release.PURL(), in.Component.Artifacts[0].Digests[0].String(), rules, until)
}

func TestExceptions(t *testing.T) {
	day := func(n int) string { return now.AddDate(0, 0, n).Format(time.DateOnly) }
	young := healthy(t)
	young.Facts.Published = now.Add(-time.Hour)
	p := load(t, exceptionYAML(t, day(MaxExceptionDays), "cooldown"))
	o := p.Evaluate(context.Background(), young)
	if o.Verdict != trust.Allow || len(o.Findings) != 1 || !strings.Contains(o.Findings[0].Waived, "looked at it") {
		t.Errorf("in force: %+v", o)
	}
	last := load(t, exceptionYAML(t, day(0), "cooldown"))
	for at, want := range map[time.Time]trust.Verdict{
		now.Truncate(24 * time.Hour).Add(24*time.Hour - time.Second): trust.Allow,
		now.Truncate(24 * time.Hour).Add(24 * time.Hour):             trust.Hold,
	} {
		in := young
		in.Now, in.Facts.Published = at, at.Add(-time.Hour)
		if o := last.Evaluate(context.Background(), in); o.Verdict != want {
			t.Errorf("on %s: %s, want %s", at, o.Verdict, want)
		}
	}
	for name, change := range map[string]func(*Input){
		"other digest": func(in *Input) { in.Component.Artifacts = []trust.Artifact{{Digests: trust.Digests{digest("z")}}} },
		"second file": func(in *Input) {
			in.Component.Artifacts = append(slices.Clone(in.Component.Artifacts), trust.Artifact{Digests: trust.Digests{digest("z")}})
		},
		"no digest": func(in *Input) { in.Component.Artifacts = nil },
		"other version": func(in *Input) {
			in.Component.Release.Version = "1.4.3"
			in.Evidence = slices.Clone(in.Evidence)
			for i := range in.Evidence {
				in.Evidence[i].Release.Version = "1.4.3"
			}
		},
		"other rule":    func(in *Input) { in.Continuity = trust.ContinuityRepositoryMoved },
		"blocking rule": func(in *Input) { in.ChangedUpstream = true },
	} {
		in := young
		change(&in)
		if o := p.Evaluate(context.Background(), in); o.Verdict == trust.Allow {
			t.Errorf("%s: allowed", name)
		}
	}
	refuse(t, "too far ahead", exceptionYAML(t, day(MaxExceptionDays+1), "cooldown"), "more than 90 days")
	refuse(t, "blocking rule", exceptionYAML(t, day(1), "known-malware"), "blocks")
	refuse(t, "no such rule", exceptionYAML(t, day(1), "cool-down"), "did you mean")
	refuse(t, "all rules", exceptionYAML(t, day(1), `"*"`), "not allowed")
	refuse(t, "no day", exceptionYAML(t, "soon", "cooldown"), "want a day")
	refuse(t, "no digest", `exceptions: [{release: "pkg:npm/x@1", rules: cooldown, reason: r, until: "2030-05-18"}]`, "no digests")
	refuse(t, "weak digest", `exceptions: [{release: "pkg:npm/x@1", digests: "sha1:`+strings.Repeat("a", 40)+`", rules: cooldown, reason: r, until: "2030-05-18"}]`, "cannot stand")
	refuse(t, "no version", `exceptions: [{release: "pkg:npm/x", digests: x, rules: cooldown, reason: r, until: "2030-05-18"}]`, "no version")
	over := load(t, exceptionYAML(t, day(-1), "cooldown"))
	if is := over.Lint(now); len(is) != 1 || !strings.Contains(is[0].Problem, "ended") {
		t.Errorf("over: %+v", is)
	}
	if is := load(t, exceptionYAML(t, day(1), "deprecated")).Lint(now); len(is) != 1 || !strings.Contains(is[0].Problem, "matches nothing") {
		t.Errorf("rule that stops nothing: %+v", is)
	}
	if is := p.LintExceptions(nil); len(is) != 1 {
		t.Errorf("not in the inventory: %+v", is)
	}
	if is := p.LintExceptions([]trust.Release{young.Component.Release}); len(is) != 0 {
		t.Errorf("in the inventory: %+v", is)
	}
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "3d": 72 * time.Hour, "36h": 36 * time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute} {
		if d, err := ParseDuration(s); err != nil || d != want {
			t.Errorf("%s: %s %v", s, d, err)
		}
	}
	for _, s := range []string{"", "3", "3 d", "-3d", "3w", "99999d", "3.5d"} {
		if _, err := ParseDuration(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
	load(t, "policy: {parameters: {cooldown: 365d}}")
	refuse(t, "too long", "policy: {parameters: {cooldown: 366d}}", "365 days")
}

func TestEvaluateInventory(t *testing.T) {
	p := builtin(t, "baseline")
	in := InventoryInput{Components: 3, HasBase: true, Now: now}
	ask := func(in InventoryInput) Outcome { return p.EvaluateInventory(context.Background(), in) }
	if o := ask(in); o.Verdict != trust.Allow || len(o.Findings) != 0 {
		t.Errorf("sound inventory: %+v", o)
	}
	loc := trust.Location{Path: "web/package.json", Line: 3}
	a, b, c := in, in, in
	a.Problems = []sbom.Problem{{Code: sbom.ProblemNoLock, Detail: "no lock file", Location: loc}}
	b.GateEdits = []GateEdit{{Part: "policy", Detail: "cooldown removed", Location: trust.Location{Path: "headgate.yaml"}}}
	c.SourceDifferences = []SourceDifference{{Detail: "registry=https://npm.example.org", Location: trust.Location{Path: ".npmrc"}}}
	for rule, in := range map[string]InventoryInput{"partial-inventory": a, "gate-edited": b, "source-differs": c} {
		o := ask(in)
		if o.Verdict != trust.Hold || len(o.Findings) != 1 || o.Findings[0].Rule != rule || o.Findings[0].Location.Path == "" || o.Findings[0].Remedy == "" {
			t.Errorf("%s: %+v", rule, o)
		}
		if o := builtin(t, "audit").EvaluateInventory(context.Background(), in); o.Verdict != trust.Allow || len(o.Findings) != 1 {
			t.Errorf("audit: %+v", o)
		}
	}
	b.GateEdits[0].ApprovalsOnly = true
	if o := ask(b); o.Verdict != trust.Allow {
		t.Errorf("approvals brought along: %+v", o)
	}
}

func TestPolicyTests(t *testing.T) {
	p := builtin(t, "baseline")
	rs, err := p.Test(context.Background(), []byte(`
cases:
  - name: routine update
    input: {release: "pkg:npm/x@1.0.1"}
    expect: {verdict: allow, rules: []}
  - name: too young
    input: {release: "pkg:npm/x@1.0.1", age: 1h}
    expect: {verdict: hold, rules: [cooldown]}
  - name: malware
    input: {release: "pkg:npm/x@1.0.1", malware: MAL-1}
    expect: {verdict: block, rules: known-malware}
  - name: foreign provenance
    input: {release: "pkg:npm/x@1.0.1", evidence: [{check: provenance, outcome: verified, signer: "https://forge.example.com/a/b"}]}
    expect: {verdict: hold, rules: signer-accepted}
  - name: wrong hope
    input: {release: "pkg:npm/x@1.0.1", continuity: repository-moved}
    expect: {verdict: allow}
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		if r.Passed != (i < 4) {
			t.Errorf("%+v", r)
		}
	}
	for _, bad := range []string{"cases: []", "cases: [{name: x, input: {release: \"pkg:npm/x@1\"}, expect: {verdict: fine}}]", "cases: [{name: x, input: {relase: y}}]",
		"cases: [{name: x, input: {release: \"pkg:npm/x@1\", evidence: [{check: foo, outcome: verified}]}, expect: {verdict: allow}}]"} {
		if _, err := p.Test(context.Background(), []byte(bad)); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}

func TestRuleErrorsAreUndecided(t *testing.T) {
	p := load(t, `policy: {rules: [{name: own, description: d, require: 'licenses[5] == "x"', otherwise: warn, message: m}]}`)
	if o := p.Evaluate(context.Background(), healthy(t)); o.Verdict != trust.Undecided || counted(o)[0] != "own" {
		t.Errorf("error: %+v", o)
	}
	// A rule that costs too much is undecided, too.
	p = load(t, `policy: {rules: [{name: own, description: d, require: 'evidence.all(a, evidence.all(b, evidence.all(c, a.check + b.check + c.check != "")))', otherwise: warn, message: m}]}`)
	in := healthy(t)
	for len(in.Evidence) < 400 {
		in.Evidence = append(in.Evidence, in.Evidence[0])
	}
	if o := p.Evaluate(context.Background(), in); o.Verdict != trust.Undecided {
		t.Errorf("costly: %+v", o)
	}
}

func TestScopes(t *testing.T) {
	for _, c := range []struct {
		pattern, purl string
		want          bool
	}{
		{"pkg:npm/%40acme/*", "pkg:npm/%40acme/x", true}, {"pkg:npm/@acme/*", "pkg:npm/%40acme/x", true}, {"pkg:npm/@acme/*", "pkg:npm/%40acme2/x", false},
		{"pkg:npm/@acme/*", "pkg:npm/acme", false}, {"pkg:npm/*", "pkg:pypi/x", false}, {"pkg:npm/*", "pkg:npm/x", true}, {"pkg:npm/x", "pkg:npm/x", true},
		{"pkg:npm/x", "pkg:npm/xy", false}, {"pkg:golang/example.com/a/*", "pkg:golang/example.com/a/b/c", true}, {"pkg:golang/example.com/a/*", "pkg:golang/example.com/ab/c", false},
		{"pkg:pypi/Foo_Bar", "pkg:pypi/foo-bar", true}, {"*", "pkg:npm/x", true}, {"", "pkg:npm/x", false},
	} {
		if got := MatchScope(c.pattern, release(t, c.purl).Package); got != c.want {
			t.Errorf("%s %s: %v", c.pattern, c.purl, got)
		}
	}
}

func TestVocabularyIsDocumented(t *testing.T) {
	for _, inv := range []bool{false, true} {
		for _, v := range Vocabulary(inv) {
			if v.Doc == "" || v.Type == "" {
				t.Errorf("%+v", v)
			}
		}
	}
	for _, n := range BuiltinNames {
		for _, r := range builtin(t, n).Rules() {
			if r.Description == "" || r.Remedy == "" || r.Origin == "" {
				t.Errorf("%s: %+v", n, r)
			}
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("version: 1\npolicy: {extends: strict, parameters: {cooldown: 3d}}\n" + approver))
	f.Add([]byte("version: 1\nexceptions: [{release: \"pkg:npm/x@1\", digests: a, rules: b, reason: c, until: d}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err == nil && c.Version != ConfigVersion {
			t.Error("accepted another version")
		}
	})
}

// A day needs no quotes, as the file that init writes has it.
func TestDayUnquoted(t *testing.T) {
	for _, until := range []string{"2030-05-18", `"2030-05-18"`, "'2030-05-18'"} {
		cfg, err := ParseConfig([]byte("version: 1\nexceptions:\n  - release: pkg:npm/x@1\n    digests: [\"sha256:" + strings.Repeat("a", 64) + "\"]\n    rules: [cooldown]\n    reason: looked at it\n    until: " + until + "\n"))
		if err != nil || len(cfg.Exceptions) != 1 || cfg.Exceptions[0].Until != "2030-05-18" {
			t.Errorf("%s: %v", until, err)
		}
	}
	if _, err := ParseConfig([]byte("version: 1\nexceptions:\n  - release: pkg:npm/x@1\n    digests: [\"sha256:" + strings.Repeat("a", 64) + "\"]\n    rules: [cooldown]\n    reason: r\n    until: [2030-05-18]\n")); err == nil {
		t.Error("a list was taken for a day")
	}
}
