package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// How many findings of one group the text of an audit lists: what is new, and what
// was there before or is gone.
const (
	maxNewListed   = 8
	maxKnownListed = 3
)

// writeAudit says what an audit found, in groups: what is one thing to do is one
// paragraph, however many releases it is about.
func writeAudit(b *bytes.Buffer, p painter, r *ingest.Report, o Options) {
	a := r.Audit
	groups := auditGroups(a)
	section := func(title string, n, max int, of func(f *ingest.AuditFinding) bool) {
		if n == 0 {
			return
		}
		fmt.Fprintf(b, "\n%s (%d)\n", p.paint("1", title), n)
		for _, g := range groups {
			writeAuditGroup(b, p, g, filterFindings(g.Findings, of), max, o)
		}
	}
	title := "New since the last audit"
	if !slices.ContainsFunc(a.Sources, func(s ingest.AuditSource) bool { return !s.Last.IsZero() }) {
		title = "Found by the first audit of these sources"
	}
	section(title, a.New, maxNewListed, func(f *ingest.AuditFinding) bool { return f.State == ingest.AuditNew })
	section("Standing since an earlier audit", a.Unchanged, maxKnownListed, func(f *ingest.AuditFinding) bool { return f.State == ingest.AuditUnchanged })
	if a.Gone == 0 || o.Quiet {
		return
	}
	fmt.Fprintf(b, "\n%s (%d)\n", p.paint("1", "Gone since the last audit"), a.Gone)
	listed := 0
	for i := range a.Findings {
		f := &a.Findings[i]
		if f.State != ingest.AuditGone {
			continue
		}
		if listed++; listed > maxNewListed && !o.Verbose {
			fmt.Fprintf(b, "  … %d more, see --verbose or -o json\n", a.Gone-maxNewListed)
			break
		}
		fmt.Fprintf(b, "  %s\n", auditLine(f, true))
	}
}

func filterFindings(fs []*ingest.AuditFinding, keep func(*ingest.AuditFinding) bool) (out []*ingest.AuditFinding) {
	for _, f := range fs {
		if keep(f) {
			out = append(out, f)
		}
	}
	return out
}

// writeAuditGroup lists findings of one group, with what they have in common once.
func writeAuditGroup(b *bytes.Buffer, p painter, g *auditGroup, fs []*ingest.AuditFinding, max int, o Options) {
	if len(fs) == 0 {
		return
	}
	effect := fmt.Sprintf("%-9s", g.Effect)
	if v := g.Effect.Verdict(); v != trust.Allow {
		effect = p.verdict(v, effect)
	}
	fmt.Fprintf(b, "  %s %s (%d)", effect, Clean(g.Title), len(fs))
	if g.Message != "" && len(fs) > 1 {
		fmt.Fprintf(b, ": %s", Clean(g.Message))
	}
	b.WriteByte('\n')
	own := g.Message == "" || len(fs) == 1
	if g.Kind == ingest.KindUndecided {
		max = min(max, maxKnownListed)
	}
	for i, f := range fs {
		if i == max && !o.Verbose {
			fmt.Fprintf(b, "    … %d more, see --verbose, -o json or -o html=FILE\n", len(fs)-i)
			break
		}
		fmt.Fprintf(b, "    %s\n", auditLine(f, own))
		if g.Remedy == "" && f.Remedy != "" {
			fmt.Fprintf(b, "      next: %s\n", Clean(f.Remedy))
		}
	}
	switch {
	case g.Remedy == "":
	case len(fs) == 1:
		fmt.Fprintf(b, "      next: %s\n", Clean(fs[0].Remedy))
	default:
		fmt.Fprintf(b, "    next: %s\n", Clean(g.Remedy))
	}
}

// auditLine is one finding in one line, with its message where the group does not say it.
func auditLine(f *ingest.AuditFinding, message bool) string {
	var parts []string
	if !f.Release.IsZero() {
		parts = append(parts, Clean(f.Release.PURL()))
	}
	if message {
		parts = append(parts, Clean(f.Message))
	}
	switch {
	case f.InSources == 1 && len(f.Sources) == 1:
		parts = append(parts, "in "+Clean(f.Sources[0]))
	case f.InSources > 1 && len(f.Sources) > 0:
		parts = append(parts, fmt.Sprintf("in %s and %d more", Clean(f.Sources[0]), f.InSources-1))
	}
	return strings.Join(parts, "  ")
}

func writeAuditSummary(b *bytes.Buffer, r *ingest.Report) {
	a := r.Audit
	if a == nil {
		return
	}
	fmt.Fprintf(b, "  audit       %s, %s: %d new, %d unchanged, %d gone\n", count(len(a.Sources), "source", "sources"), count(a.Releases, "release", "releases"), a.New, a.Unchanged, a.Gone)
	if !a.Since.IsZero() {
		fmt.Fprintf(b, "  since       %s\n", a.Since.UTC().Format(time.RFC3339))
	}
}
