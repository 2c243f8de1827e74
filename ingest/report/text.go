package report

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// Bounds of the text report of a passing check, which fits one screen.
const (
	Screen      = 24 // lines of a terminal
	MaxWarnings = 5  // warnings shown without --verbose
	maxNotes    = 4
	maxKinds    = 6 // ecosystems named in one line
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
	stopped := func(f trust.Finding) bool { return f.Counts() && f.Effect.Verdict() != trust.Allow }
	if fs := filter(r.Findings, stopped); len(fs) > 0 {
		fmt.Fprintf(&b, "\n%s\n", p.paint("1", "About the source"))
		for _, f := range fs {
			if f.Location.Path != "" {
				fmt.Fprintf(&b, "  %s\n", at(f.Location))
			}
			writeFinding(&b, p, "    ", f)
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
		fmt.Fprintf(&b, "\n%s (%d)\n", p.verdict(s.v, s.title), len(cs))
		for _, g := range groupByReason(cs) {
			writeGroup(&b, p, g, o)
		}
	}
	if o.Quiet {
		_, err := w.Write(b.Bytes())
		return err
	}
	writeWarnings(&b, p, r, o)
	if o.Verbose {
		writeAll(&b, p, r)
	}
	writeSummary(&b, r)
	_, err := w.Write(b.Bytes())
	return err
}

// headline is the first line: what may happen now, and why in numbers.
func headline(r *ingest.Report, p painter) string {
	s := r.Summary
	v := s.Verdicts
	if r.Empty && r.Verdict == trust.Allow {
		return p.verdict(trust.Undecided, "NOTHING TO CHECK") + ": no component found in " + Clean(r.Source.Name)
	}
	what := "component"
	if r.Base != nil {
		what = "new or changed component"
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

// reasonGroup are components that are stopped by the very same findings.
type reasonGroup struct {
	findings   []trust.Finding // with the purl replaced by PURL if shared
	components []*ingest.Component
}

// groupByReason puts together components whose findings differ in nothing but
// the release they name, so that forty packages of one ecosystem without an
// adapter are one paragraph. Smaller groups stay single components.
func groupByReason(cs []*ingest.Component) []reasonGroup {
	key := func(c *ingest.Component) (string, []trust.Finding) {
		var k strings.Builder
		var fs []trust.Finding
		repl := strings.NewReplacer(c.Release.PURL(), "PURL")
		for _, f := range stopping(c) {
			f.Message, f.Remedy = repl.Replace(f.Message), repl.Replace(f.Remedy)
			f.Evidence = nil
			fmt.Fprintf(&k, "%q %q %q %q\n", f.Rule, f.Effect, f.Message, f.Remedy)
			fs = append(fs, f)
		}
		return k.String(), fs
	}
	by := map[string][]*ingest.Component{}
	for _, c := range cs {
		k, _ := key(c)
		by[k] = append(by[k], c)
	}
	var out []reasonGroup
	done := map[string]bool{}
	for _, c := range cs {
		k, shared := key(c)
		switch {
		case len(by[k]) < sharedReason:
			out = append(out, reasonGroup{findings: stopping(c), components: []*ingest.Component{c}})
		case !done[k]:
			done[k] = true
			out = append(out, reasonGroup{findings: shared, components: by[k]})
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
		for _, f := range g.findings {
			writeFinding(b, p, "    ", f)
			if !o.Quiet {
				writeEvidence(b, "      ", c, f.Evidence)
			}
		}
		if len(g.findings) == 0 {
			fmt.Fprintf(b, "    no rule allowed it\n    next: headgate explain '%s'\n", Clean(c.Release.PURL()))
		}
		return
	}
	for _, f := range g.findings {
		writeFinding(b, p, "  ", f)
	}
	fmt.Fprintf(b, "    where PURL is one of these %d:\n", len(g.components))
	for _, c := range g.components {
		fmt.Fprintf(b, "      %s\n", title(p, c))
	}
}

// title is a component on one line: what, where, and in which way it is new.
func title(p painter, c *ingest.Component) string {
	s := p.paint("1", Clean(c.Release.PURL()))
	if l := at(place(*c)); l != "" {
		s += "  " + l
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

// writeEvidence shows the pieces of evidence that a finding rests on.
func writeEvidence(b *bytes.Buffer, indent string, c *ingest.Component, ids []string) {
	for i := range c.Evidence {
		e := &c.Evidence[i]
		if slices.Contains(ids, e.ID) {
			fmt.Fprintf(b, "%s%s\n", indent, evidenceLine(e))
		}
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
