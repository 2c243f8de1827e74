package policies

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/headgate/headgate/trust"
)

// Outcome is what a policy makes of one component or of one inventory. It is
// made by Evaluate and EvaluateInventory alone; the zero Outcome allows nothing.
type Outcome struct {
	Findings []trust.Finding
	Verdict  trust.Verdict
	Trace    []RuleTrace
}

// RuleTrace says what one rule made of the component.
type RuleTrace struct {
	Rule    string       `json:"rule"`
	Applied bool         `json:"applied"`
	Held    bool         `json:"held"` // what it requires is so
	Effect  trust.Effect `json:"effect,omitempty"`
	Waived  string       `json:"waived,omitempty"`
	Why     string       `json:"why"`
}

// Evaluate asks every rule about one component. The verdict is that of the
// worst finding that counts. What contradicts itself blocks, whatever the
// rules say; what cannot be evaluated is undecided.
func (p *Policy) Evaluate(ctx context.Context, in Input) Outcome {
	v := &view{p: p, in: &in, vars: p.components.vars, cache: make(map[string]any, 48), params: p.paramsOf(in.Component.Release.Package.Type)}
	out := Outcome{Verdict: trust.Allow}
	for _, msg := range v.contradictions() {
		out.add(trust.Finding{Rule: RuleInvalidInput, Effect: trust.EffectBlock, Message: msg,
			Remedy: "this is a defect of headgate or of an adapter: report it; nothing can let it in"})
	}
	if len(out.Findings) > 0 {
		return out
	}
	v.assurance = v.bestAssurance()
	for _, r := range p.rules {
		if r.On != onComponent {
			continue
		}
		if ctx.Err() != nil {
			out.add(cancelled(ctx))
			break
		}
		f, tr := r.judge(v)
		if f != nil {
			if f.Effect == trust.EffectHold {
				f.Waived = p.waiver(v, r.Name)
				tr.Waived = f.Waived
			}
			f.Evidence = v.judged(r)
			out.add(*f)
		}
		out.Trace = append(out.Trace, tr)
	}
	if out.Verdict == trust.Block {
		// Nobody may let it in: asking for approval of the rest leads nowhere.
		for i := range out.Findings {
			if f := &out.Findings[i]; f.Effect == trust.EffectHold && strings.Contains(f.Remedy, "headgate request ") {
				f.Remedy = ""
			}
		}
	}
	return out
}

// EvaluateInventory asks every inventory rule about the inventory as a whole,
// each of its problems, each edit of the gate and each difference of a source.
func (p *Policy) EvaluateInventory(ctx context.Context, in InventoryInput) Outcome {
	out := Outcome{Verdict: trust.Allow}
	subjects := []Subject{{Kind: "inventory"}}
	for _, pr := range in.Problems {
		subjects = append(subjects, Subject{Kind: "problem", Code: string(pr.Code), Detail: pr.Detail, Remedy: pr.Remedy, Location: pr.Location})
	}
	for _, e := range in.GateEdits {
		kind := "gate-edit"
		if e.ApprovalsOnly {
			kind = "approvals-added"
		}
		subjects = append(subjects, Subject{Kind: kind, Code: e.Part, Detail: e.Detail, Location: e.Location})
	}
	for _, d := range in.SourceDifferences {
		subjects = append(subjects, Subject{Kind: "source-difference", Detail: d.Detail, Location: d.Location})
	}
	for _, s := range subjects {
		v := &view{p: p, in: &Input{}, vars: p.inventory.vars, cache: map[string]any{}, subject: s, inventory: in}
		for _, r := range p.rules {
			if r.On != onInventory {
				continue
			}
			if ctx.Err() != nil {
				out.add(cancelled(ctx))
				return out
			}
			f, tr := r.judge(v)
			if f != nil {
				f.Location = s.Location
				out.add(*f)
			}
			out.Trace = append(out.Trace, tr)
		}
	}
	return out
}

func cancelled(ctx context.Context) trust.Finding {
	return trust.Finding{Rule: RuleCancelled, Effect: trust.EffectUndecided, Message: "the check was stopped before all rules were asked: " + ctx.Err().Error(), Remedy: "run the check again"}
}

func (o *Outcome) add(f trust.Finding) {
	o.Findings = append(o.Findings, f)
	if f.Counts() {
		o.Verdict = trust.Worst(o.Verdict, f.Effect.Verdict())
	}
}

// judge evaluates one rule.
func (r *rule) judge(v *view) (*trust.Finding, RuleTrace) {
	tr := RuleTrace{Rule: r.Name}
	undecided := func(what string, err error) (*trust.Finding, RuleTrace) {
		tr.Applied, tr.Effect = true, trust.EffectUndecided
		tr.Why = fmt.Sprintf("%s could not be evaluated: %v", what, err)
		return &trust.Finding{Rule: r.Name, Effect: trust.EffectUndecided, Message: "the rule's condition " + tr.Why,
			Remedy: "correct the rule: headgate policy lint"}, tr
	}
	c, err := r.conditions()
	if err != nil {
		return undecided("the rule", err)
	}
	if c.applies != nil {
		ok, err := holds(c.applies, v)
		if err != nil {
			return undecided("applies", err)
		}
		if !ok {
			tr.Why = r.notApplied
			return nil, tr
		}
	}
	tr.Applied = true
	ok, err := holds(c.require, v)
	if err != nil {
		return undecided("require", err)
	}
	if ok {
		tr.Held, tr.Why = true, r.held
		return nil, tr
	}
	w, err := r.words()
	if err != nil {
		return undecided("the message", err)
	}
	f := &trust.Finding{Rule: r.Name, Effect: r.Otherwise, Message: w.message.render(v), Remedy: w.remedy.render(v)}
	tr.Why = f.Message
	// A report-only rule stays one: it never stopped anything.
	if missing := v.unreachable(r); missing != "" && r.Unreachable != unreachableOtherwise && r.Otherwise != trust.EffectWarn {
		f.Effect = trust.EffectUndecided
		f.Message = "cannot be decided: " + missing
		f.Remedy = v.waiting()
		tr.Why = f.Message
	}
	tr.Effect = f.Effect
	return f, tr
}

// unreachable says which of the facts that the rule needs could not be had.
func (v *view) unreachable(r *rule) string {
	var missing []string
	for _, n := range r.Needs {
		switch n {
		case needAdvisories:
			if v.advisoryState() == StateUnavailable {
				missing = append(missing, "advisories are missing, unreadable or too old (headgate db update)")
			}
			continue
		case needInspection:
			if stateOf(v.in.InspectionState) == StateUnavailable {
				missing = append(missing, "the package could not be looked into")
			}
			continue
		}
		for i := range v.in.Evidence {
			e := &v.in.Evidence[i]
			if e.Outcome != trust.Unreachable || (n != needEvidence && n != string(e.Check)) {
				continue
			}
			m := string(e.Check) + " is unreachable (" + string(e.Reason) + ")"
			if e.Detail != "" {
				m += ": " + e.Detail
			}
			if !slices.Contains(missing, m) {
				missing = append(missing, m)
			}
		}
	}
	return strings.Join(missing, "; ")
}

// judged returns the ids of the evidence that a finding is about: of the checks
// that the rule needs those that are not verified, or all if all are.
func (v *view) judged(r *rule) []string {
	var bad, all []string
	for i := range v.in.Evidence {
		e := &v.in.Evidence[i]
		if !slices.Contains(r.Needs, needEvidence) && !slices.Contains(r.Needs, string(e.Check)) {
			continue
		}
		id := e.ID()
		all = append(all, id)
		if e.Outcome != trust.Verified {
			bad = append(bad, id)
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return all
}

// waiver returns how a hold finding of the rule is set aside, or nothing.
func (p *Policy) waiver(v *view, rule string) string {
	now := v.in.Now
	if now.IsZero() {
		return ""
	}
	need, ok := p.Quorum(rule)
	if !ok {
		return ""
	}
	var by, ids []string
	var until time.Time
	for _, a := range v.in.Approvals {
		if a.By == "" || a.ID == "" || !slices.Contains(a.Rules, rule) || !now.Before(a.Until) || a.Until.Sub(now) > p.MaxApproval() || slices.Contains(by, a.By) {
			continue
		}
		by, ids = append(by, a.By), append(ids, a.ID)
		if until.IsZero() || a.Until.Before(until) {
			until = a.Until
		}
	}
	if len(by) >= need {
		return fmt.Sprintf("approved by %s until %s (%s)", strings.Join(by, ", "), until.UTC().Format(time.DateOnly), strings.Join(ids, ", "))
	}
	for i := range p.exceptions {
		x := &p.exceptions[i]
		if slices.Contains(x.Rules, rule) && now.Before(x.end) && x.end.Sub(now) <= (MaxExceptionDays+1)*24*time.Hour && x.covers(v.in) {
			return fmt.Sprintf("exception until %s: %s", x.Until, x.Reason)
		}
	}
	return ""
}

// covers reports whether the exception is for this release and for all of its
// artifacts' bytes.
func (x *exception) covers(in *Input) bool {
	if x.release != in.Component.Release || len(in.Component.Artifacts) == 0 {
		return false
	}
	for _, a := range in.Component.Artifacts {
		strong := false
		for _, d := range a.Digests {
			if !d.Strong() {
				continue
			}
			if !slices.ContainsFunc(x.digests, d.Equal) {
				return false
			}
			strong = true
		}
		if !strong {
			return false
		}
	}
	return true
}

// contradictions finds input that no rule may judge, because it would weaken
// what the rules rest on.
func (v *view) contradictions() []string {
	in := v.in
	var out []string
	if in.Component.Release.IsZero() {
		out = append(out, "the component has no package URL")
	}
	if len(in.Evidence) > MaxEvidence {
		return append(out, fmt.Sprintf("%d pieces of evidence are more than %d", len(in.Evidence), MaxEvidence))
	}
	var identities []string
	for i := range in.Evidence {
		e := &in.Evidence[i]
		if err := e.Validate(); err != nil {
			out = append(out, err.Error())
			continue
		}
		if e.Release.Package != in.Component.Release.Package || e.Release.Version != in.Component.Release.Version {
			out = append(out, fmt.Sprintf("%s evidence is about %s, not about this release", e.Check, e.Release))
			continue
		}
		if e.Outcome == trust.Verified && e.Signer != nil {
			identities = append(identities, v.identity(e.Signer))
		}
	}
	for _, s := range slices.Concat(in.Signers, in.BinarySigners) {
		if err := s.Signer.Validate(); err != nil {
			out = append(out, err.Error())
			continue
		}
		if (s.Accepted || s.AutoAccept) && !slices.Contains(identities, v.identity(&s.Signer)) {
			out = append(out, fmt.Sprintf("signer %s is said to be accepted, but no verified evidence bears it", s.Signer))
		}
	}
	if best := v.bestAssurance(); in.Assurance > best {
		out = append(out, fmt.Sprintf("assurance %s is claimed, but the verified evidence amounts to %s", in.Assurance, best))
	}
	if in.Offered < trust.AssuranceNone || in.Offered > trust.AssuranceReproduced {
		out = append(out, "the adapter offers an assurance that does not exist")
	}
	return out
}

// bestAssurance is the best assurance of verified evidence of signers that are not revoked.
func (v *view) bestAssurance() trust.Assurance {
	best := trust.AssuranceNone
	for i := range v.in.Evidence {
		e := &v.in.Evidence[i]
		if e.Outcome == trust.Verified && e.Assurance > best {
			best = e.Assurance
		}
	}
	return best
}

func oneLine(s string) string { return clip200(strings.Join(strings.Fields(s), " ")) }

func clip200(s string) string {
	const n = 200
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

func holds(prg cel.Program, v *view) (bool, error) {
	out, _, err := prg.Eval(v)
	if err != nil {
		return false, err
	}
	b, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("is %v, not true or false", out.Type())
	}
	return b, nil
}
