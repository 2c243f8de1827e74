package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// MaxMarkdown bounds the Markdown report in bytes: what one pull-request comment
// may hold on the large forges (65,536 characters), with room for a wrapper.
const MaxMarkdown = 65000

// mdTail is kept free for what closes the report.
const mdTail = 2000

type mdWriter struct {
	b       strings.Builder
	dropped int
}

// add appends one whole block, or counts it as left out.
func (m *mdWriter) add(block string) bool {
	if m.b.Len()+len(block) > MaxMarkdown-mdTail {
		m.dropped++
		return false
	}
	m.b.WriteString(block)
	return true
}

// writeMarkdown writes a pull-request comment: what is stopped first, the rest
// folded. Blocks that do not fit are counted, never cut in the middle.
func writeMarkdown(w io.Writer, r *ingest.Report, _ Options) error {
	var m mdWriter
	icon := map[trust.Verdict]string{trust.Allow: "✅", trust.Hold: "✋", trust.Block: "⛔", trust.Undecided: "❔"}[r.Verdict]
	fmt.Fprintf(&m.b, "### %s headgate: %s\n\n", icon, mdText(headline(r, false)))
	for i, n := range r.Notes {
		if i == maxNotes {
			break
		}
		fmt.Fprintf(&m.b, "> %s\n>\n", mdText(n))
	}
	for _, f := range r.Findings {
		if f.Counts() && f.Effect.Verdict() != trust.Allow {
			m.add(mdFinding(f, at(f.Location)))
		}
	}
	for _, v := range []trust.Verdict{trust.Block, trust.Hold, trust.Undecided} {
		for i := range r.Components {
			c := &r.Components[i]
			if c.Verdict != v {
				continue
			}
			var b strings.Builder
			fmt.Fprintf(&b, "\n**%s** %s", v, mdCode(c.Release.PURL()))
			if l := place(*c); l.Path != "" {
				fmt.Fprintf(&b, " in %s", mdCode(at(l)))
			}
			if !c.Previous.IsZero() {
				fmt.Fprintf(&b, ", was %s", mdCode(c.Previous.Version))
			}
			b.WriteString("\n\n")
			for _, f := range stopping(c) {
				b.WriteString(mdFinding(f, ""))
			}
			m.add(b.String())
		}
	}
	if m.dropped > 0 {
		fmt.Fprintf(&m.b, "\n**%s left out of this comment**; the job's log has all.\n", count(m.dropped, "stopped component", "stopped components"))
	}
	var rest strings.Builder
	listed, more := 0, 0
	for i := range r.Components {
		c := &r.Components[i]
		if c.Verdict != trust.Allow {
			continue
		}
		line := fmt.Sprintf("| %s | %s | %s |\n", mdCode(c.Release.PURL()), c.Assurance, mdText(string(c.Continuity)))
		if m.b.Len()+rest.Len()+len(line) > MaxMarkdown-mdTail {
			more++
			continue
		}
		listed++
		rest.WriteString(line)
	}
	if listed+more > 0 {
		fmt.Fprintf(&m.b, "\n<details><summary>%s allowed</summary>\n\n", count(listed+more, "component", "components"))
		if listed > 0 {
			m.b.WriteString("| component | assurance | continuity |\n|---|---|---|\n" + rest.String())
		}
		if more > 0 {
			fmt.Fprintf(&m.b, "\n%d more are not listed here.\n", more)
		}
		m.b.WriteString("\n</details>\n")
	}
	s := r.Summary
	fmt.Fprintf(&m.b, "\n<sub>policy %s (%s)", mdText(clean(r.Policy.Name, 100)), mdText(clean(r.Policy.Origin, 200)))
	if r.Base != nil {
		fmt.Fprintf(&m.b, " · base %s: %d already there", mdText(clean(r.Base.Name, 100)), s.Present)
	}
	fmt.Fprintf(&m.b, " · %d waived · %d warnings", s.Waived, s.Warnings)
	if r.RunID != "" {
		fmt.Fprintf(&m.b, " · recorded as %s", mdText(clean(r.RunID, 100)))
	}
	m.b.WriteString("</sub>\n")
	_, err := io.WriteString(w, m.b.String())
	return err
}

func mdFinding(f trust.Finding, where string) string {
	s := fmt.Sprintf("- %s · %s", mdCode(f.Rule), mdText(f.Message))
	if where != "" {
		s += " (" + mdCode(where) + ")"
	}
	if f.Remedy != "" {
		s += "\n  Next: " + mdCode(f.Remedy)
	}
	return s + "\n"
}

// mdText escapes text so that no Markdown and no HTML in it takes effect, and
// nobody is mentioned by it.
func mdText(s string) string {
	s = Clean(s)
	var b strings.Builder
	for _, r := range s {
		switch r {
		case '&':
			b.WriteString("&amp;")
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '"':
			b.WriteString("&quot;")
		case '@':
			b.WriteString("&#64;")
		case '#':
			b.WriteString("&#35;")
		case ':':
			// A colon makes links of bare URLs and emoji of names.
			b.WriteString("&#58;")
		case '\\', '`', '*', '_', '{', '}', '[', ']', '(', ')', '+', '!', '|', '~', '$':
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// mdCode is an inline code span; its fence is longer than any run of back-ticks
// inside, and table bars are escaped by their own rule.
func mdCode(s string) string {
	s = strings.ReplaceAll(Clean(s), "|", "\\|")
	longest, run := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	pad := ""
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") || s == "" {
		pad = " "
	}
	return fence + pad + s + pad + fence
}
