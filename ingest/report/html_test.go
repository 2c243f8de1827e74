package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/trust"
)

// audited is a report of an audit whose every text is hostile.
func audited(t testing.TB) *ingest.Report {
	r := full(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	point := ingest.AuditPoint{At: at, Sources: 1, Releases: 2, Verdicts: map[trust.Verdict]int{trust.Allow: 1, trust.Hold: 1}, Assurance: map[string]int{"none": 2}, Findings: 1, New: 1}
	r.Audit = &ingest.Audit{
		Sources: []ingest.AuditSource{{Name: hostile, Components: 2, Verdict: trust.Hold, Problem: hostile, Assurance: map[string]int{"none": 2}, Last: at}},
		Findings: []ingest.AuditFinding{
			{Kind: ingest.KindAdvisory, State: ingest.AuditNew, Rule: hostile, Release: release(t, "pkg:npm/bad@1.0.0"), Effect: trust.EffectHold, Message: hostile, Remedy: hostile, Sources: []string{hostile}, InSources: 30, NewIn: 1, Since: at},
			{Kind: ingest.KindSource, State: ingest.AuditGone, Rule: "x", Effect: trust.EffectWarn, Message: hostile},
		},
		New: 1, Gone: 1, Releases: 2, FailOn: "any", History: []ingest.AuditPoint{point, point},
	}
	return r
}

// TestThreat111HTML: text of packages is no markup in the HTML report, the report
// loads nothing and runs nothing, and its policy allows nothing but its own style.
func TestThreat111HTML(t *testing.T) {
	out := write(t, "html", audited(t), report.Options{})
	if strings.Count(out, "&lt;script&gt;") < 5 {
		t.Error("the hostile text is not shown")
	}
	for _, bad := range []string{"<script", "<img", "<link", "<iframe", "<object", "<a ", "javascript:", "url(", "@import", "\x1b", "\u202e"} {
		if strings.Contains(strings.ToLower(out), bad) {
			t.Errorf("the report holds %q", bad)
		}
	}
	tags := regexp.MustCompile(`<[a-z]+[^>]*>`).FindAllString(out, -1)
	if len(tags) < 50 {
		t.Fatalf("only %d elements", len(tags))
	}
	handler := regexp.MustCompile(`(?i)\s(on[a-z]+|src|href|style|srcdoc|action)\s*=`)
	for _, tag := range tags {
		if handler.MatchString(tag) {
			t.Errorf("element %s", tag)
		}
	}
	csp := regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(out)
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(out)
	if csp == nil || style == nil {
		t.Fatal("no policy, or no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	if want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"; csp[1] != want {
		t.Errorf("policy %q, want %q", csp[1], want)
	}
	if !strings.Contains(out, "<svg") || !strings.Contains(out, "@media print") {
		t.Error("no plot, or nothing for print")
	}
}

// What a browser could not hold is counted, and said to be in the JSON report: of one
// kind, of all findings, of what is gone, and of the sources.
func TestHTMLBounds(t *testing.T) {
	finding := func(rule string, i int, state ingest.AuditState) ingest.AuditFinding {
		return ingest.AuditFinding{Kind: ingest.KindPolicy, State: state, Rule: rule, Effect: trust.EffectWarn, Message: fmt.Sprintf("listed-%d.", i)}
	}
	for _, over := range []int{0, 1} {
		for name, tc := range map[string]struct {
			fill func(a *ingest.Audit)
			want int
			said string
		}{
			"one kind": {func(a *ingest.Audit) {
				for i := range report.MaxHTMLGroup + over {
					a.Findings = append(a.Findings, finding("r", i, ingest.AuditUnchanged))
				}
			}, report.MaxHTMLGroup, "1 more findings are in the JSON report"},
			"all kinds": {func(a *ingest.Audit) {
				for i := range report.MaxHTMLFindings + over {
					a.Findings = append(a.Findings, finding(fmt.Sprintf("r%02d", i/400), i, ingest.AuditUnchanged))
				}
			}, report.MaxHTMLFindings, "1 more findings are in the JSON report"},
			"gone": {func(a *ingest.Audit) {
				for i := range report.MaxHTMLGone + over {
					a.Findings = append(a.Findings, finding("r", i, ingest.AuditGone))
				}
			}, report.MaxHTMLGone, "1 more findings that are gone are in the JSON report"},
			"sources": {func(a *ingest.Audit) {
				for i := range report.MaxHTMLSources + over {
					a.Sources = append(a.Sources, ingest.AuditSource{Name: fmt.Sprintf("listed-%d.", i), Verdict: trust.Allow})
				}
			}, report.MaxHTMLSources, "1 more sources are in the JSON report"},
		} {
			r := audited(t)
			r.Audit.Findings, r.Audit.Sources = nil, nil
			tc.fill(r.Audit)
			out := write(t, "html", r, report.Options{})
			if n := strings.Count(out, "listed-"); n != tc.want {
				t.Errorf("%s, %d over the bound: %d are listed, want %d", name, over, n, tc.want)
			}
			if said := strings.Contains(out, tc.said); said != (over == 1) {
				t.Errorf("%s, %d over the bound: said %v", name, over, said)
			}
		}
	}
}

// Thousands of findings of one cause are one thing to do.
func TestHTMLGroups(t *testing.T) {
	r := audited(t)
	r.Audit.Findings = nil
	for i := range 3000 {
		rel := release(t, fmt.Sprintf("pkg:npm/many-%d@1.0.0", i))
		r.Audit.Findings = append(r.Audit.Findings, ingest.AuditFinding{Kind: ingest.KindNeverGated, State: ingest.AuditUnchanged, Rule: "audit-never-gated", Effect: trust.EffectHold,
			Release: rel, Message: "it came in around the gate", Remedy: "headgate check " + rel.PURL()})
	}
	out := write(t, "html", r, report.Options{})
	for text, want := range map[string]int{"headgate check PURL": 2, "headgate check pkg:": 0, "it came in around the gate": 1, "Never passed the gate": 2, "2500 more findings": 1} {
		if n := strings.Count(out, text); n != want {
			t.Errorf("%q: %d times, want %d", text, n, want)
		}
	}
}

// TestThreat110AuditText: the text of an audit has no escapes of others either.
func TestThreat110AuditText(t *testing.T) {
	out := write(t, "text", audited(t), report.Options{Verbose: true})
	if strings.ContainsAny(out, "\x1b\u202e\u2066") || !strings.Contains(out, "New since the last audit (1)") || !strings.Contains(out, "Gone since the last audit (1)") {
		t.Errorf("%q", out)
	}
}
