package report

import (
	"bytes"
	"fmt"
	"time"

	"github.com/headgate/headgate/ingest"
)

// maxAuditListed is how many findings of a state the text of an audit lists.
const maxAuditListed = 20

// writeAudit adds what only audits have: what is new and gone, and how the sources stand.
func writeAudit(b *bytes.Buffer, p painter, r *ingest.Report, o Options) {
	a := r.Audit
	if a == nil {
		return
	}
	for _, s := range []struct {
		state ingest.AuditState
		title string
		n     int
	}{{ingest.AuditNew, "New since the last audit", a.New}, {ingest.AuditGone, "Gone since the last audit", a.Gone}} {
		if s.n == 0 || o.Quiet && s.state == ingest.AuditGone {
			continue
		}
		fmt.Fprintf(b, "\n%s (%d)\n", p.paint("1", s.title), s.n)
		listed := 0
		for i := range a.Findings {
			f := &a.Findings[i]
			if f.State != s.state {
				continue
			}
			if listed++; listed > maxAuditListed && !o.Verbose {
				fmt.Fprintf(b, "  … %d more, see --verbose or -o json\n", s.n-maxAuditListed)
				break
			}
			fmt.Fprintf(b, "  %-9s %-16s %s\n", f.Effect, f.Kind, auditLine(f))
		}
	}
}

// auditLine is one finding in one line.
func auditLine(f *ingest.AuditFinding) string {
	s := ""
	if !f.Release.IsZero() {
		s = Clean(f.Release.PURL()) + "  "
	}
	s += Clean(f.Message)
	switch {
	case f.InSources == 1 && len(f.Sources) == 1:
		s += "  in " + Clean(f.Sources[0])
	case f.InSources > 1:
		s += fmt.Sprintf("  in %d sources", f.InSources)
	}
	return s
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
