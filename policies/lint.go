package policies

import (
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
)

// Issue is something that Lint found: legal, but hardly what was meant.
type Issue struct {
	Subject string `json:"subject"` // the rule, exception or approver
	Problem string `json:"problem"`
}

// Lint finds what loads but does not do what it seems to: rules that can never
// fire, exceptions that are over, two exceptions for one thing, approvers
// without effect, quorums that nobody can reach.
func (p *Policy) Lint(now time.Time) []Issue {
	var out []Issue
	add := func(subject, format string, args ...any) {
		out = append(out, Issue{subject, fmt.Sprintf(format, args...)})
	}
	for _, r := range p.rules {
		c, err := r.conditions()
		switch {
		case err != nil:
			add("rule "+r.Name, "cannot be compiled: %v", err)
		case c.appliesConst != nil && !*c.appliesConst:
			add("rule "+r.Name, "never applies: %s is always false", oneLine(r.Applies))
		case c.requireConst != nil && *c.requireConst:
			add("rule "+r.Name, "can never fire: %s is always true", oneLine(r.Require))
		case c.requireConst != nil && (c.applies == nil || c.appliesConst != nil):
			add("rule "+r.Name, "fires for everything: %s is always false", oneLine(r.Require))
		}
		if r.Remedy == "" && r.Otherwise != trust.EffectWarn {
			add("rule "+r.Name, "stops a change without saying what to do: give a remedy")
		}
	}
	for i := range p.exceptions {
		x := &p.exceptions[i]
		if !now.Before(x.end) {
			add("exception for "+x.Release, "ended on %s: remove it", x.Until)
		}
		for _, name := range x.Rules {
			j := slices.IndexFunc(p.rules, func(r *rule) bool { return r.Name == name })
			if j >= 0 && p.rules[j].Otherwise == trust.EffectWarn {
				add("exception for "+x.Release, "matches nothing: rule %s stops nothing", name)
			}
			if j >= 0 && p.rules[j].On == onInventory {
				add("exception for "+x.Release, "matches nothing: rule %s is not about components", name)
			}
		}
		for j := range i {
			o := &p.exceptions[j]
			if o.release == x.release && slices.Equal(o.Rules, x.Rules) && slices.Equal(o.Digests, x.Digests) {
				add("exception for "+x.Release, "is there twice")
			}
		}
	}
	for name, need := range p.cfg.Quorum {
		able := 0
		for _, a := range p.cfg.Approvers {
			if len(a.Rules) == 0 || slices.Contains(a.Rules, name) {
				able++
			}
		}
		if able < need {
			add("quorum of "+name, "needs %d approvers, but only %d may approve the rule", need, able)
		}
		if _, ok := p.Quorum(name); !ok {
			add("quorum of "+name, "has no effect: what blocks takes no approval")
		}
	}
	for _, a := range p.cfg.Approvers {
		if len(a.Rules) > 0 && !slices.ContainsFunc(a.Rules, func(n string) bool { _, ok := p.Quorum(n); return ok }) {
			add("approver "+a.Name, "can approve nothing: all rules of theirs block")
		}
	}
	slices.SortFunc(out, func(a, b Issue) int {
		if a.Subject != b.Subject {
			if a.Subject < b.Subject {
				return -1
			}
			return 1
		}
		return 0
	})
	return out
}

// LintExceptions names the exceptions that none of the releases of an
// inventory needs.
func (p *Policy) LintExceptions(releases []trust.Release) []Issue {
	var out []Issue
	for i := range p.exceptions {
		if x := &p.exceptions[i]; !slices.Contains(releases, x.release) {
			out = append(out, Issue{"exception for " + x.Release, "matches nothing: the release is not in the inventory"})
		}
	}
	return out
}
