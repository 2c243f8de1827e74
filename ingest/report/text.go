package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of the text report of a passing check, which fits one screen.
const (
	Screen      = 24 // lines of a terminal
	MaxWarnings = 5  // warnings shown without --verbose
	maxNotes    = 4
	maxKinds    = 6  // ecosystems named in one line
	maxListed   = 20 // components listed under one shared reason
	maxLetIn    = 8  // new components of a passing check that are named
)

// sharedReason is from how many components on a common reason is said once.
const sharedReason = 4

type painter bool

func (p painter) paint(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) verdict(v trust.Verdict, s string) string {
	code := map[trust.Verdict]string{trust.Allow: "32", trust.Hold: "33", trust.Undecided: "35", trust.Block: "31"}[v]
	return p.paint("1;"+code, s)
}

// writeText writes for the person who reads it in the log of a job: the verdict
// first, then what is stopped and how to settle it, then numbers.
func writeText(w io.Writer, r *ingest.Report, o Options) error {
	var b bytes.Buffer
	p := painter(o.Color)
	fmt.Fprintf(&b, "headgate: %s\n", headline(r, p))
	if !o.Quiet {
		for i, n := range r.Notes {
			if i == maxNotes && !o.Verbose {
				fmt.Fprintf(&b, "  note: %d more, see --verbose\n", len(r.Notes)-i)
				break
			}
			fmt.Fprintf(&b, "  note: %s\n", Clean(n))
		}
	}
	if r.Audit != nil {
		writeAudit(&b, p, r, o)
	} else {
		writeStopped(&b, p, r, o)
	}
	if o.Quiet {
		_, err := w.Write(b.Bytes())
		return err
	}
	if r.Audit == nil {
		writeWarnings(&b, p, r, o)
		writeLetIn(&b, p, r, o)
	}
	if o.Verbose {
		writeAll(&b, p, r)
	}
	writeSummary(&b, r)
	_, err := w.Write(b.Bytes())
	return err
}

// writeStopped lists what is stopped, with the reasons and the next steps.
func writeStopped(b *bytes.Buffer, p painter, r *ingest.Report, o Options) {
	stopped := func(f trust.Finding) bool { return f.Counts() && f.Effect.Verdict() != trust.Allow }
	if fs := filter(r.Findings, stopped); len(fs) > 0 {
		fmt.Fprintf(b, "\n%s\n", p.paint("1", "About the source"))
		for _, f := range fs {
			if f.Location.Path != "" {
				fmt.Fprintf(b, "  %s\n", at(f.Location))
			}
			writeFinding(b, p, "    ", f)
		}
	}
	sections := []struct {
		v     trust.Verdict
		title string
	}{
		{trust.Block, "Blocked: nobody may let these in"},
		{trust.Hold, "Held: an approver may let these in"},
		{trust.Undecided, "Undecided: evidence could not be had"},
	}
	for _, s := range sections {
		var cs []*ingest.Component
		for i := range r.Components {
			if r.Components[i].Verdict == s.v {
				cs = append(cs, &r.Components[i])
			}
		}
		if len(cs) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n%s (%d)\n", p.verdict(s.v, s.title), len(cs))
		for _, g := range groupByReason(cs) {
			writeGroup(b, p, g, o)
		}
	}
}

// headline is the first line: what may happen now, and why in numbers.
func headline(r *ingest.Report, p painter) string {
	s := r.Summary
	v := s.Verdicts
	if r.Empty && r.Verdict == trust.Allow {
		return p.verdict(trust.Undecided, "NOTHING TO CHECK") + ": no component found in " + Clean(r.Source.Name)
	}
	what := "component"
	switch {
	case r.Base != nil:
		what = "new or changed component"
	case r.Audit != nil:
		what = "release"
	}
	n := count(s.Judged, what, what+"s")
	if r.Verdict == trust.Allow {
		if s.Judged == 0 {
			return p.verdict(trust.Allow, "allowed") + ": nothing new among " + count(s.Components, "component", "components")
		}
		return p.verdict(trust.Allow, "allowed") + ": " + n
	}
	var parts []string
	for _, e := range []struct {
		v    trust.Verdict
		word string
	}{{trust.Block, "blocked"}, {trust.Hold, "held"}, {trust.Undecided, "undecided"}} {
		if v[e.v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", v[e.v], e.word))
		}
	}
	if k := len(filter(r.Findings, func(f trust.Finding) bool { return f.Counts() && f.Effect.Verdict() != trust.Allow })); k > 0 {
		parts = append(parts, count(k, "problem", "problems")+" with the source")
	}
	word := map[trust.Verdict]string{trust.Block: "BLOCKED", trust.Hold: "HELD", trust.Undecided: "UNDECIDED"}[r.Verdict]
	return p.verdict(r.Verdict, word) + ": " + strings.Join(parts, ", ") + " of " + n
}

// reason is why something is stopped: the findings that say the same, as one.
type reason struct {
	effect trust.Effect
	rules  []string
	lines  []string
	next   string
}

// reasons brings a component's findings into the words of a log: rules that rest
// on the same evidence are named together, and what the evidence says is said
// once, however many rules repeat it.
func reasons(c *ingest.Component) []reason {
	var out []reason
	for _, f := range stopping(c) {
		r := reason{effect: f.Effect, rules: []string{f.Rule}, lines: []string{f.Message}, next: f.Remedy}
		if c.Verdict == trust.Block && f.Effect != trust.EffectBlock {
			r.next = "" // nobody may let it in: waiting or asking leads nowhere
		}
		var ev []*ingest.Evidence
		for i := range c.Evidence {
			if e := &c.Evidence[i]; slices.Contains(f.Evidence, e.ID) && e.Outcome != trust.Verified && e.Outcome != trust.Absent {
				ev = append(ev, e)
			}
		}
		if len(ev) > 0 && (f.Effect == trust.EffectUndecided || tells(f.Message, ev)) {
			r.lines = evidenceLines(ev)
			if i := slices.IndexFunc(ev, func(e *ingest.Evidence) bool { return e.Remedy != "" }); i >= 0 && f.Effect == trust.EffectUndecided {
				r.next = ev[i].Remedy
			}
		}
		i := slices.IndexFunc(out, func(o reason) bool {
			return o.effect == r.effect && within(r.lines, o.lines) && (o.next == r.next || r.effect == trust.EffectUndecided)
		})
		if i >= 0 {
			out[i].rules = append(out[i].rules, f.Rule)
			continue
		}
		out = append(out, r)
	}
	return out
}

// tells reports whether a message says all that the evidence has to say.
func tells(message string, ev []*ingest.Evidence) bool {
	return !slices.ContainsFunc(ev, func(e *ingest.Evidence) bool { return !strings.Contains(message, e.Detail) })
}

func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

// evidenceLines says what evidence found, checks with the same result together.
func evidenceLines(ev []*ingest.Evidence) []string {
	type result struct{ outcome, detail string }
	var order []result
	checks := map[result][]string{}
	for _, e := range ev {
		r := result{fmt.Sprintf("%s (%s)", e.Outcome, e.Reason), e.Detail}
		if checks[r] == nil {
			order = append(order, r)
		}
		name := string(e.Check)
		if e.Artifact.Name != "" {
			name += " of " + e.Artifact.Name
		}
		if !slices.Contains(checks[r], name) {
			checks[r] = append(checks[r], name)
		}
	}
	var lines []string
	for _, r := range order {
		l := strings.Join(checks[r], ", ") + " " + r.outcome
		if r.detail != "" {
			l += ": " + r.detail
		}
		lines = append(lines, l)
	}
	return lines
}

// reasonGroup are components that are stopped for the very same reasons.
type reasonGroup struct {
	reasons    []reason // with the purl replaced by PURL if shared
	components []*ingest.Component
}

// groupByReason puts together components whose reasons differ in nothing but
// the release they name, so that forty packages of one ecosystem without an
// adapter are one paragraph. Smaller groups stay single components.
func groupByReason(cs []*ingest.Component) []reasonGroup {
	shared := func(c *ingest.Component) []reason {
		rs := reasons(c)
		repl := strings.NewReplacer(c.Release.PURL(), "PURL")
		for i := range rs {
			rs[i].next = repl.Replace(rs[i].next)
			for j, l := range rs[i].lines {
				rs[i].lines[j] = repl.Replace(l)
			}
		}
		return rs
	}
	keys := make([]string, len(cs))
	by := map[string][]*ingest.Component{}
	for i, c := range cs {
		keys[i] = fmt.Sprintf("%q", shared(c))
		by[keys[i]] = append(by[keys[i]], c)
	}
	var out []reasonGroup
	done := map[string]bool{}
	for i, c := range cs {
		switch k := keys[i]; {
		case len(by[k]) < sharedReason:
			out = append(out, reasonGroup{reasons: reasons(c), components: []*ingest.Component{c}})
		case !done[k]:
			done[k] = true
			out = append(out, reasonGroup{reasons: shared(c), components: by[k]})
		}
	}
	return out
}

func stopping(c *ingest.Component) []trust.Finding {
	return filter(c.Findings, func(f trust.Finding) bool { return f.Counts() && f.Effect.Verdict() != trust.Allow })
}

func writeGroup(b *bytes.Buffer, p painter, g reasonGroup, o Options) {
	if len(g.components) == 1 {
		c := g.components[0]
		fmt.Fprintf(b, "  %s\n", title(p, c))
		for _, r := range g.reasons {
			writeReason(b, p, "    ", r)
		}
		if len(g.reasons) == 0 {
			fmt.Fprintf(b, "    no rule allowed it\n    next: headgate explain '%s'\n", Clean(c.Release.PURL()))
		}
		return
	}
	for _, r := range g.reasons {
		writeReason(b, p, "  ", r)
	}
	fmt.Fprintf(b, "    where PURL is one of these %d:\n", len(g.components))
	for i, c := range g.components {
		if i == maxListed && !o.Verbose {
			fmt.Fprintf(b, "      and %d more, see --verbose\n", len(g.components)-i)
			break
		}
		fmt.Fprintf(b, "      %s\n", title(p, c))
	}
}

func writeReason(b *bytes.Buffer, p painter, indent string, r reason) {
	head := indent + p.verdict(r.effect.Verdict(), string(r.effect)) + " " + Clean(strings.Join(r.rules, ", ")) + ":"
	if len(r.lines) == 1 {
		fmt.Fprintf(b, "%s %s\n", head, Clean(r.lines[0]))
	} else {
		fmt.Fprintln(b, head)
		for _, l := range r.lines {
			fmt.Fprintf(b, "%s  %s\n", indent, Clean(l))
		}
	}
	if r.next != "" {
		fmt.Fprintf(b, "%s  next: %s\n", indent, Clean(r.next))
	}
}

// title is a component on one line: what, where, and in which way it is new.
func title(p painter, c *ingest.Component) string {
	s := p.paint("1", Clean(c.Release.PURL()))
	if l := at(place(*c)); l != "" {
		s += "  " + l
	}
	if c.Scope == sbom.ScopeUnused {
		s += "  (unused)"
	}
	switch {
	case c.Change == "present" || c.Change == "":
	case !c.Previous.IsZero() && c.Previous.Version != c.Release.Version:
		s += "  (was " + Clean(c.Previous.Version) + ")"
	case c.Change == "added":
		s += "  (new)"
	default:
		s += "  (" + Clean(string(c.Change)) + " changed)"
	}
	return s
}

func at(l trust.Location) string {
	if l.Path == "" {
		return ""
	}
	if l.Line > 0 {
		return fmt.Sprintf("%s:%d", Clean(l.Path), l.Line)
	}
	return Clean(l.Path)
}

func writeFinding(b *bytes.Buffer, p painter, indent string, f trust.Finding) {
	fmt.Fprintf(b, "%s%s %s: %s\n", indent, p.verdict(f.Effect.Verdict(), string(f.Effect)), Clean(f.Rule), Clean(f.Message))
	if f.Remedy != "" {
		fmt.Fprintf(b, "%s  next: %s\n", indent, Clean(f.Remedy))
	}
}

func evidenceLine(e *ingest.Evidence) string {
	s := fmt.Sprintf("%s %s", e.Check, e.Outcome)
	if e.Reason != "" {
		s += " (" + Clean(string(e.Reason)) + ")"
	}
	if e.Artifact.Name != "" {
		s += " " + Clean(e.Artifact.Name)
	}
	if e.Signer != nil {
		s += " by " + Clean(e.Signer.String())
	}
	if e.Detail != "" {
		s += ": " + Clean(e.Detail)
	}
	return s
}

func writeWarnings(b *bytes.Buffer, p painter, r *ingest.Report, o Options) {
	type warning struct{ subject, text string }
	var ws []warning
	collect := func(subject string, fs []trust.Finding) {
		for _, f := range fs {
			switch {
			case !f.Counts():
				ws = append(ws, warning{subject, Clean(f.Rule) + " set aside: " + Clean(f.Waived)})
			case f.Effect == trust.EffectWarn:
				ws = append(ws, warning{subject, Clean(f.Rule) + ": " + Clean(f.Message)})
			}
		}
	}
	for _, f := range r.Findings {
		collect(at(f.Location), []trust.Finding{f})
	}
	for i := range r.Components {
		collect(Clean(r.Components[i].Release.PURL()), r.Components[i].Findings)
	}
	if len(ws) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%d)\n", p.paint("1;33", "Worth a look"), len(ws))
	for i, w := range ws {
		if i == MaxWarnings && !o.Verbose {
			fmt.Fprintf(b, "  and %d more, see --verbose\n", len(ws)-i)
			break
		}
		fmt.Fprintf(b, "  %s\n", strings.TrimSpace(w.subject+"  "+w.text))
	}
}

// writeLetIn names what a change brings in, with what vouches for it, as long as
// it is little enough to be read.
func writeLetIn(b *bytes.Buffer, p painter, r *ingest.Report, o Options) {
	var cs []*ingest.Component
	for i := range r.Components {
		if r.Components[i].Verdict == trust.Allow {
			cs = append(cs, &r.Components[i])
		}
	}
	if r.Base == nil || r.Verdict != trust.Allow || len(cs) == 0 || len(cs) > maxLetIn || o.Verbose {
		return
	}
	fmt.Fprintf(b, "\n%s (%d)\n", p.verdict(trust.Allow, "Let in"), len(cs))
	for _, c := range cs {
		by := "nobody signed it"
		if len(c.Signers) > 0 {
			by = "by " + Clean(c.Signers[len(c.Signers)-1].Text)
			for _, s := range c.Signers {
				if s.Kind != trust.SignerLog && s.Kind != trust.SignerRegistry {
					by = "by " + Clean(s.Text)
				}
			}
		}
		fmt.Fprintf(b, "  %s  %s, %s\n", title(p, c), c.Assurance, by)
	}
}

func writeAll(b *bytes.Buffer, p painter, r *ingest.Report) {
	if len(r.Components) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", p.paint("1", "Every judged component"))
	for i := range r.Components {
		c := &r.Components[i]
		fmt.Fprintf(b, "  %s %s\n    assurance %s, continuity %s\n", p.verdict(c.Verdict, string(c.Verdict)), title(p, c), c.Assurance, c.Continuity)
		for _, s := range c.Signers {
			fmt.Fprintf(b, "    signer %s\n", SignerLine(s))
		}
		for j := range c.Evidence {
			fmt.Fprintf(b, "    %s %s\n", c.Evidence[j].ID, evidenceLine(&c.Evidence[j]))
		}
	}
}

// SignerLine is a signer with what the store says of it, on one line.
func SignerLine(s ingest.Signer) string {
	state := "not accepted"
	switch {
	case s.Revoked:
		state = "REVOKED"
	case s.Accepted:
		state = "accepted by " + Clean(s.By)
		if s.By == ingest.ByHeadgate {
			state = s.By
		}
	case s.Automatic:
		state = "acceptable on first sight: provenance and registry name the same repository"
	}
	return fmt.Sprintf("%s %s (%s)", s.ID, Clean(s.Text), state)
}

func writeSummary(b *bytes.Buffer, r *ingest.Report) {
	s := r.Summary
	b.WriteByte('\n')
	if s.Judged > 0 {
		fmt.Fprintf(b, "  verdicts    %s\n", counts([]string{"allow", "hold", "block", "undecided"}, func(k string) int { return s.Verdicts[trust.Verdict(k)] }))
		fmt.Fprintf(b, "  assurance   %s\n", counts([]string{"reproduced", "provenance", "publisher", "registry", "none"}, func(k string) int { return s.Assurance[k] }))
		fmt.Fprintf(b, "  ecosystems  %s\n", counts(byCount(s.Ecosystems), func(k string) int { return s.Ecosystems[k] }))
	}
	if len(s.NoAdapter) > 0 {
		fmt.Fprintf(b, "  no adapter  %s\n", counts(byCount(s.NoAdapter), func(k string) int { return s.NoAdapter[k] }))
	}
	if r.Base != nil {
		base := Clean(r.Base.Name)
		if r.Base.Revision != "" && r.Base.Revision != r.Base.Name {
			base += " (" + shortRevision(Clean(r.Base.Revision)) + ")"
		}
		fmt.Fprintf(b, "  base        %s: %s already there, %d removed\n", base, count(s.Present, "component", "components"), s.Removed)
	}
	writeAuditSummary(b, r)
	policy := Clean(r.Policy.Name) + ", " + Clean(r.Policy.Origin)
	fmt.Fprintf(b, "  policy      %s\n", policy)
	cost := fmt.Sprintf("%s, %s, %.1f s", count(int(s.Requests), "request", "requests"), bytesText(s.Bytes), r.Finished.Sub(r.Started).Seconds())
	if s.Reused > 0 {
		cost += fmt.Sprintf(", evidence of %d reused from the store", s.Reused)
	}
	fmt.Fprintf(b, "  cost        %s\n", cost)
	if r.RunID != "" {
		fmt.Fprintf(b, "  recorded    %s\n", Clean(r.RunID))
	}
}

func counts(keys []string, n func(string) int) string {
	var parts []string
	for _, k := range keys {
		if c := n(k); c > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", Clean(k), c))
		}
	}
	if len(parts) > maxKinds {
		rest := len(parts) - maxKinds
		parts = append(parts[:maxKinds], fmt.Sprintf("%d more", rest))
	}
	return strings.Join(parts, " · ")
}

func byCount(m map[string]int) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
}

func bytesText(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func shortRevision(s string) string {
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

func filter(fs []trust.Finding, keep func(trust.Finding) bool) []trust.Finding {
	var out []trust.Finding
	for _, f := range fs {
		if keep(f) {
			out = append(out, f)
		}
	}
	return out
}
