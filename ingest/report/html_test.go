package report_test

import (
	"crypto/sha256"
	"encoding/base64"
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

func TestHTMLBounds(t *testing.T) {
	for _, over := range []int{0, 1} {
		r := audited(t)
		f := ingest.AuditFinding{Kind: ingest.KindPolicy, State: ingest.AuditUnchanged, Rule: "r", Effect: trust.EffectWarn, Message: "counted-once"}
		r.Audit.Findings = nil
		for range report.MaxHTMLFindings + over {
			r.Audit.Findings = append(r.Audit.Findings, f)
		}
		out := write(t, "html", r, report.Options{})
		if n := strings.Count(out, "counted-once"); n != report.MaxHTMLFindings {
			t.Errorf("%d findings are listed", n)
		}
		if said := strings.Contains(out, "1 more findings are in the JSON report"); said != (over == 1) {
			t.Errorf("%d over the bound: said %v", over, said)
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
