package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
)

// kindOf are the rules of the built-in policies that have a kind of their own.
var kindOf = map[string]ingest.AuditKind{
	"signer-revoked": ingest.KindRevokedSigner, "known-malware": ingest.KindMalware, "vulnerable": ingest.KindAdvisory,
	"vulnerability-present": ingest.KindAdvisory, "withdrawn-release": ingest.KindWithdrawn, "changed-upstream": ingest.KindChangedBytes,
	"digest-changed": ingest.KindChangedBytes,
}

// settle makes the result of one judged component: what the policy found, and
// what only the comparison with earlier shows.
func (r *audit) settle(c *ingest.Component, m *recalled) *result {
	res := &result{Component: *c, Checked: true}
	for _, e := range c.Evidence {
		if e.Outcome == trust.Unreachable {
			res.Checked = false
		}
	}
	r.fromPolicy(res, c)
	r.fromFacts(res, c)
	r.fromEvidence(res, c, m)
	r.fromApprovals(res, c, m)
	slim(&res.Component)
	return res
}

// own adds a finding of the audit itself, to the report too.
func (r *audit) own(res *result, f found) {
	if r.ReportOnly && f.Effect == trust.EffectHold {
		f.Effect = trust.EffectWarn
	}
	res.Found = append(res.Found, f)
	c := &res.Component
	c.Findings = append(c.Findings[:len(c.Findings):len(c.Findings)], trust.Finding{Rule: f.Rule, Effect: f.Effect, Message: f.Message, Remedy: f.Remedy})
	c.Verdict = trust.Worst(c.Verdict, f.Effect.Verdict())
}

func (r *audit) fromPolicy(res *result, c *ingest.Component) {
	undecided := false
	for _, f := range c.Findings {
		if !f.Counts() {
			continue
		}
		kind, ok := kindOf[f.Rule]
		if !ok {
			kind = ingest.KindPolicy
		}
		out := found{Kind: kind, Key: "rule:" + f.Rule, Rule: f.Rule, Effect: f.Effect, Message: clip(f.Message), Remedy: f.Remedy}
		switch {
		case f.Effect == trust.EffectUndecided:
			// One cause makes many rules undecided; it is one finding.
			if undecided {
				continue
			}
			undecided = true
			out.Kind, out.Key = ingest.KindUndecided, "undecided"
		case kind == ingest.KindAdvisory || kind == ingest.KindMalware || kind == ingest.KindWithdrawn:
			continue // each by its own id below, with the effect that the rule gives it
		}
		res.Found = append(res.Found, out)
	}
}

// effectOf is the effect that the policy gives a kind today; a warning if none
// of its rules fired.
func effectOf(c *ingest.Component, kind ingest.AuditKind) (trust.Effect, string, string) {
	effect, rule, remedy := trust.EffectWarn, "audit-"+string(kind), ""
	for _, f := range c.Findings {
		if f.Counts() && kindOf[f.Rule] == kind && (remedy == "" || f.Effect.Verdict() != trust.Allow) {
			effect, rule, remedy = f.Effect, f.Rule, f.Remedy
		}
	}
	return effect, rule, remedy
}

func (r *audit) fromFacts(res *result, c *ingest.Component) {
	for _, a := range c.Advisories {
		if a.Suppressed != "" {
			continue
		}
		kind := ingest.KindAdvisory
		if a.Malware {
			kind = ingest.KindMalware
		}
		effect, rule, remedy := effectOf(c, kind)
		if len(a.Fixed) > 0 {
			remedy = "update to " + strings.Join(a.Fixed, " or ")
		}
		res.Found = append(res.Found, found{Kind: kind, Key: "advisory:" + a.ID, Rule: rule, Effect: effect, Message: advisoryText(a), Remedy: remedy})
	}
	withdrawn := func(how, why string) {
		effect, rule, remedy := effectOf(c, ingest.KindWithdrawn)
		msg := "the release was " + how + " upstream"
		if why != "" {
			msg += ": " + why
		}
		res.Found = append(res.Found, found{Kind: ingest.KindWithdrawn, Key: "withdrawn:" + how, Rule: rule, Effect: effect, Message: clip(msg), Remedy: remedy})
	}
	if c.Facts.Yanked != nil {
		withdrawn("yanked", *c.Facts.Yanked)
	}
	if c.Facts.Retracted != nil {
		withdrawn("retracted", *c.Facts.Retracted)
	}
	if c.Facts.Unpublished {
		withdrawn("unpublished", "")
	}
}

func advisoryText(a policies.Advisory) string {
	s := a.ID
	if a.Severity != "" {
		s += " (" + a.Severity + ")"
	}
	if a.KEV {
		s += ", known to be exploited"
	}
	if a.Summary != "" {
		s += ": " + a.Summary
	}
	return clip(s)
}

// fromEvidence compares with what was accepted and with the decision before.
func (r *audit) fromEvidence(res *result, c *ingest.Component, m *recalled) {
	pin := m.pin(c.Release)
	res.renewed = pin != nil && !m.at.IsZero() && pin.Last.After(m.at)
	prev, hasPrev := m.latest[c.Release]
	local := true
	for _, e := range c.Evidence {
		local = local && e.Reason == trust.ReasonLocal
		if e.Outcome == trust.Failed && e.Reason == trust.ReasonWrongDigest {
			res.Found = append(res.Found, found{Kind: ingest.KindSBOMMismatch, Key: "mismatch:" + string(e.Check) + ":" + e.Artifact.Name, Rule: "audit-sbom-mismatch",
				Effect: trust.EffectBlock, Message: clip("the digests do not agree with upstream: " + e.Detail), Remedy: "headgate explain " + c.Release.PURL()})
		}
	}
	if pin == nil && !local && !r.decided(c, m) {
		r.own(res, found{Kind: ingest.KindNeverGated, Key: "never-gated", Rule: "audit-never-gated", Effect: trust.EffectHold,
			Message: "the release never passed the gate: it came in around it", Remedy: "headgate check " + c.Release.PURL() + ", or headgate init SOURCE for all that a source holds"})
	}
	if pin != nil && res.Checked {
		for _, e := range c.Evidence {
			if e.Outcome == trust.Verified && disagrees(pin.Artifacts, e.Artifact) {
				r.own(res, found{Kind: ingest.KindChangedBytes, Key: "changed:" + e.Artifact.Name, Rule: "audit-changed-upstream", Effect: trust.EffectBlock,
					Message: "upstream offers other bytes than those that were accepted on " + pin.First.UTC().Format(time.DateOnly),
					Remedy:  "headgate explain " + c.Release.PURL()})
				break
			}
		}
	}
	before, of := trust.AssuranceNone, ""
	switch {
	case pin != nil:
		before, of = pin.Assurance, "when it was accepted"
	case hasPrev:
		before, of = prev.Assurance, "at the last decision"
	default:
		return
	}
	switch {
	case !res.Checked:
	case c.Assurance < before:
		r.own(res, found{Kind: ingest.KindEvidenceWorse, Key: "worse:" + c.Assurance.String(), Rule: "audit-evidence-worse", Effect: trust.EffectHold,
			Message: fmt.Sprintf("the evidence amounts to %s, and was %s %s", c.Assurance, before, of), Remedy: "headgate explain " + c.Release.PURL()})
	case c.Assurance > before:
		r.own(res, found{Kind: ingest.KindEvidenceBetter, Key: "better:" + c.Assurance.String(), Rule: "audit-evidence-better", Effect: trust.EffectWarn,
			Message: fmt.Sprintf("the evidence amounts to %s, and was %s %s", c.Assurance, before, of), Remedy: "headgate check " + c.Release.PURL()})
	}
	if hasPrev {
		r.keys(res, c, prev.Evidence)
	}
}

// keys finds checks that rest on other keys or roots than before.
func (r *audit) keys(res *result, c *ingest.Component, before []trust.Evidence) {
	seen := map[trust.Check]bool{}
	for _, e := range c.Evidence {
		if e.Outcome != trust.Verified || e.Root.IsZero() || seen[e.Check] {
			continue
		}
		for _, b := range before {
			if b.Check != e.Check || b.Outcome != trust.Verified || b.Root.IsZero() || b.Artifact.Name != e.Artifact.Name {
				continue
			}
			if !b.Root.Equal(e.Root) {
				seen[e.Check] = true
				r.own(res, found{Kind: ingest.KindKeysChanged, Key: "keys:" + string(e.Check) + ":" + e.Root.Value, Rule: "audit-keys-changed", Effect: trust.EffectWarn,
					Message: fmt.Sprintf("the keys or roots behind %s changed from %s to %s", e.Check, short(b.Root), short(e.Root)), Remedy: "headgate db status"})
			}
			break
		}
	}
}

func short(d trust.Digest) string {
	s := d.String()
	if i := strings.IndexByte(s, ':'); i > 0 && len(s) > i+13 {
		return s[:i+13]
	}
	return s
}

// disagrees reports whether an artifact has another digest than the accepted one
// of the same name.
func disagrees(accepted []trust.Artifact, a trust.Artifact) bool {
	for _, p := range accepted {
		if p.Name == a.Name && p.Digests.Compare(a.Digests) == trust.Disagree {
			return true
		}
	}
	return false
}

// decided reports whether people let the release in, with these bytes: by an
// approval or an exception, which pins nothing, as it would outlive their end.
// Whether those still count is the gate's answer, not this one.
func (r *audit) decided(c *ingest.Component, m *recalled) bool {
	if e, ok := r.exceptions[c.Release]; ok && covers(e.digests, c.Artifacts) {
		return true
	}
	for _, a := range m.approvals[c.Release] {
		// What cannot be read approves nothing.
		if st, err := approval.Peek(a.Envelope); err == nil && covers(digestsOf(st.Artifacts), c.Artifacts) {
			return true
		}
	}
	return slices.ContainsFunc(c.Findings, func(f trust.Finding) bool { return !f.Counts() })
}

// covers reports whether every artifact that states a digest which can stand for
// its bytes states one of ds.
func covers(ds trust.Digests, as []trust.Artifact) bool {
	for _, a := range as {
		if !a.Digests.Strongest().IsZero() && !slices.ContainsFunc(a.Digests, func(d trust.Digest) bool { return d.Strong() && slices.ContainsFunc(ds, d.Equal) }) {
			return false
		}
	}
	return true
}

func digestsOf(as []trust.Artifact) trust.Digests {
	var ds trust.Digests
	for _, a := range as {
		ds = append(ds, a.Digests...)
	}
	return ds
}

func (r *audit) fromApprovals(res *result, c *ingest.Component, m *recalled) {
	soon := r.Soon
	if soon == 0 {
		soon = SoonDefault
	}
	now := r.started
	var last time.Time
	for _, a := range m.approvals[c.Release] {
		if a.Until.After(last) {
			last = a.Until
		}
	}
	ends := func(kind ingest.AuditKind, what string, until time.Time) {
		switch left := until.Sub(now); {
		case until.IsZero() || left > soon:
		case left <= 0:
			effect := trust.EffectWarn
			if c.Verdict != trust.Allow {
				effect = trust.EffectHold
			}
			r.own(res, found{Kind: kind, Key: what + "-expired", Rule: "audit-" + what + "-expired", Effect: effect,
				Message: "the " + what + " ended on " + until.UTC().Format(time.DateOnly), Remedy: "headgate request " + c.Release.PURL() + " --reason TEXT"})
		default:
			r.own(res, found{Kind: kind, Key: what + "-ends", Rule: "audit-" + what + "-ends", Effect: trust.EffectWarn,
				Message: "the " + what + " ends on " + until.UTC().Format(time.DateOnly), Remedy: "headgate request " + c.Release.PURL() + " --reason TEXT"})
		}
	}
	ends(ingest.KindApproval, "approval", last)
	ends(ingest.KindException, "exception", r.exceptions[c.Release].ends)
}

// exception is what the exceptions for one release come to: when the last one
// ends, and the digests of all.
type exception struct {
	ends    time.Time
	digests trust.Digests
}

func exceptionsOf(es []policies.Exception) map[trust.Release]exception {
	out := map[trust.Release]exception{}
	for _, e := range es {
		rel, err := trust.ParseRelease(e.Release)
		if err != nil {
			continue // the policy was not loaded with it
		}
		x := out[rel]
		// The day itself still counts.
		if day, err := time.Parse(time.DateOnly, string(e.Until)); err == nil && day.AddDate(0, 0, 1).After(x.ends) {
			x.ends = day.AddDate(0, 0, 1)
		}
		for _, text := range e.Digests {
			if d, err := trust.ParseDigest(text); err == nil {
				x.digests = append(x.digests, d)
			}
		}
		out[rel] = x
	}
	return out
}

// slim drops what a report of many thousand components has no room for.
func slim(c *ingest.Component) {
	c.Rules = nil
	if len(c.Findings) == 0 {
		c.Evidence = []ingest.Evidence{}
		return
	}
	for i := range c.Evidence {
		for j := range c.Evidence[i].Raw {
			c.Evidence[i].Raw[j].Bytes = nil
		}
	}
}
