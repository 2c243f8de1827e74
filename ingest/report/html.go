package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// Bounds of the HTML report, which a browser has to hold.
const (
	MaxHTMLFindings   = 5000
	MaxHTMLSources    = 5000
	MaxHTMLComponents = 2000 // stopped components
)

//go:embed html.tmpl
var htmlText string

//go:embed html.css
var htmlStyle string

var htmlTemplate = template.Must(template.New("report").Parse(htmlText))

// page is what the template shows. Every string is cleaned of control
// characters here and escaped by html/template for its place.
type page struct {
	CSP        template.HTMLAttr // a whole attribute, of this package's own making
	Style      template.CSS
	Title      string
	Verdict    trust.Verdict
	Headline   string
	Tool       string
	Policy     string
	When, At   string
	Run        string
	Notes      []string
	Assurance  []share
	Verdicts   []share
	Ecosystems []share
	Plot       *plot
	Sources    []sourceRow
	Findings   []findingRow
	Components []componentRow
	Left       []string // what a bound left out
	About      []findingRow
	HasAudit   bool
}

type share struct {
	Name    string
	Count   int
	Percent string // of the whole, "12.5"
}

type sourceRow struct {
	Name, Verdict, Last, Problem    string
	Components, New, Unchanged, Out int
	Assurance                       string
}

type findingRow struct {
	State, Effect, Kind, Rule, Release, Message, Remedy, Sources, Since string
}

type componentRow struct {
	Release, Verdict, Assurance, Continuity string
	Findings                                []findingRow
}

// writeHTML writes one self-contained file: no script, nothing from the network.
func writeHTML(w io.Writer, r *ingest.Report, _ Options) error {
	sum := sha256.Sum256([]byte(htmlStyle))
	csp := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	p := page{
		CSP: template.HTMLAttr(`content="` + csp + `"`), Style: template.CSS(htmlStyle),
		Title: "headgate " + Clean(r.Command) + ": " + Clean(r.Source.Name), Verdict: r.Verdict, Headline: headline(r, false),
		Tool: Clean(r.Tool), Policy: Clean(r.Policy.Name) + ", " + Clean(r.Policy.Origin), When: day(r.Finished), Run: Clean(r.RunID),
	}
	for _, n := range r.Notes {
		p.Notes = append(p.Notes, Clean(n))
	}
	s := &r.Summary
	p.Verdicts = shares([]string{"allow", "hold", "block", "undecided"}, func(k string) int { return s.Verdicts[trust.Verdict(k)] }, s.Judged)
	p.Assurance = shares([]string{"reproduced", "provenance", "publisher", "registry", "none"}, func(k string) int { return s.Assurance[k] }, s.Judged)
	p.Ecosystems = shares(byCount(s.Ecosystems), func(k string) int { return s.Ecosystems[k] }, s.Judged)
	for _, f := range r.Findings {
		p.About = append(p.About, findingRow{Effect: string(f.Effect), Rule: Clean(f.Rule), Message: Clean(f.Message), Remedy: Clean(f.Remedy), Sources: Clean(f.Location.Path)})
	}
	stopped := 0
	for i := range r.Components {
		c := &r.Components[i]
		if c.Verdict == trust.Allow {
			continue
		}
		if stopped++; stopped > MaxHTMLComponents {
			continue
		}
		row := componentRow{Release: Clean(c.Release.PURL()), Verdict: string(c.Verdict), Assurance: c.Assurance.String(), Continuity: string(c.Continuity)}
		for _, f := range c.Findings {
			if f.Counts() {
				row.Findings = append(row.Findings, findingRow{Effect: string(f.Effect), Rule: Clean(f.Rule), Message: Clean(f.Message), Remedy: Clean(f.Remedy)})
			}
		}
		p.Components = append(p.Components, row)
	}
	if left := stopped - MaxHTMLComponents; left > 0 {
		p.Left = append(p.Left, fmt.Sprintf("%d more stopped components are in the JSON report", left))
	}
	if r.Audit != nil {
		p.audit(r.Audit)
	}
	var b bytes.Buffer
	if err := htmlTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (p *page) audit(a *ingest.Audit) {
	p.HasAudit = true
	if !a.At.IsZero() {
		p.At = day(a.At)
	}
	for i := range a.Sources {
		if i == MaxHTMLSources {
			p.Left = append(p.Left, fmt.Sprintf("%d more sources are in the JSON report", len(a.Sources)-i))
			break
		}
		s := &a.Sources[i]
		row := sourceRow{Name: Clean(s.Name), Verdict: string(s.Verdict), Problem: Clean(s.Problem), Components: s.Components, New: s.New, Unchanged: s.Unchanged, Out: s.Gone, Last: "never"}
		if !s.Last.IsZero() {
			row.Last = day(s.Last)
		}
		var parts []string
		for _, k := range []string{"reproduced", "provenance", "publisher", "registry", "none"} {
			if n := s.Assurance[k]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", k, n))
			}
		}
		row.Assurance = strings.Join(parts, " · ")
		p.Sources = append(p.Sources, row)
	}
	for i := range a.Findings {
		if i == MaxHTMLFindings {
			p.Left = append(p.Left, fmt.Sprintf("%d more findings are in the JSON report", len(a.Findings)-i))
			break
		}
		f := &a.Findings[i]
		row := findingRow{State: string(f.State), Effect: string(f.Effect), Kind: string(f.Kind), Rule: Clean(f.Rule), Message: Clean(f.Message), Remedy: Clean(f.Remedy)}
		if !f.Release.IsZero() {
			row.Release = Clean(f.Release.PURL())
		}
		if !f.Since.IsZero() {
			row.Since = day(f.Since)
		}
		var names []string
		for _, s := range f.Sources {
			names = append(names, Clean(s))
		}
		row.Sources = strings.Join(names, ", ")
		if more := f.InSources - len(f.Sources); more > 0 {
			row.Sources += fmt.Sprintf(" and %d more", more)
		}
		p.Findings = append(p.Findings, row)
	}
	p.Plot = course(a.History)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

func shares(keys []string, n func(string) int, all int) []share {
	var out []share
	for _, k := range keys {
		if c := n(k); c > 0 {
			out = append(out, share{Name: Clean(k), Count: c, Percent: fmt.Sprintf("%.1f", 100*float64(c)/float64(max(all, 1)))})
		}
	}
	return out
}

// plot is the course of the audits as stacked bars: how many releases were
// allowed, held, blocked and undecided. All numbers are of this package's making.
type plot struct {
	Width, Height int
	Bars          []plotBar
	Top           int // the value at the upper edge
	First, Last   string
}

type plotBar struct {
	X, Width string
	Parts    []plotPart
	Label    string
}

type plotPart struct{ Class, Y, Height string }

// Size of the plot in user units.
const (
	plotWidth  = 720
	plotHeight = 160
)

// course makes the plot; nil for fewer than two audits, which have no course.
func course(points []ingest.AuditPoint) *plot {
	if len(points) < 2 {
		return nil
	}
	points = points[max(0, len(points)-ingest.MaxAuditHistory):]
	p := &plot{Width: plotWidth, Height: plotHeight, First: day(points[0].At), Last: day(points[len(points)-1].At)}
	total := func(v map[trust.Verdict]int) (n int) {
		for _, c := range v {
			n += max(c, 0)
		}
		return n
	}
	for _, pt := range points {
		p.Top = max(p.Top, total(pt.Verdicts))
	}
	step := float64(plotWidth) / float64(len(points))
	for i, pt := range points {
		bar := plotBar{X: fmt.Sprintf("%.1f", float64(i)*step+step*0.1), Width: fmt.Sprintf("%.1f", min(step*0.8, 60))}
		y := float64(plotHeight)
		var words []string
		for _, v := range []trust.Verdict{trust.Allow, trust.Undecided, trust.Hold, trust.Block} {
			n := max(pt.Verdicts[v], 0)
			if n == 0 {
				continue
			}
			h := float64(plotHeight) * float64(n) / float64(max(p.Top, 1))
			y -= h
			bar.Parts = append(bar.Parts, plotPart{Class: string(v), Y: fmt.Sprintf("%.1f", y), Height: fmt.Sprintf("%.1f", h)})
			words = append(words, fmt.Sprintf("%s %d", v, n))
		}
		slices.Reverse(words)
		bar.Label = day(pt.At) + ": " + strings.Join(words, ", ") + fmt.Sprintf("; %d findings, %d new", pt.Findings, pt.New)
		p.Bars = append(p.Bars, bar)
	}
	return p
}
