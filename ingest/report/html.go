package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// Bounds of the HTML report, which a browser has to hold.
const (
	MaxHTMLFindings   = 5000 // that stand
	MaxHTMLGroup      = 500  // of one kind
	MaxHTMLSources    = 1000 // those first that need somebody
	MaxHTMLGone       = 200
	MaxHTMLComponents = 2000 // stopped components, of reports that are no audit
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
	Tiles      []tile
	Bars       []shareBar
	Plot       *plot
	Groups     []groupRow
	Gone       []findingRow
	Sources    []sourceRow
	Components []componentRow
	Left       []string // what a bound left out
	About      []findingRow
	HasAudit   bool
}

// tile is one number that matters.
type tile struct{ Value, Text, Class string }

// shareBar is a whole in its parts.
type shareBar struct {
	Title string
	Width int
	Parts []share
}

type share struct {
	Name, Class string
	Count       int
	Percent     string // of the whole, "12.5"
	X, Width    string
}

type groupRow struct {
	Anchor              int // number of its section; 0 for none
	Title               string
	Effect              string
	New, Standing, Gone int
	Message, Remedy     string
	Total               string
	Rows                []findingRow
	Left                int
}

type sourceRow struct {
	Name, Verdict, Last, Problem    string
	Components, New, Unchanged, Out int
	Assurance                       string
}

type findingRow struct {
	State, Effect, Rule, Release, Message, Remedy, Sources, Since string
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
	levels := []string{"reproduced", "provenance", "publisher", "registry", "none"}
	p.bar("Verdicts", []string{"allow", "undecided", "hold", "block"}, nil, func(k string) int { return s.Verdicts[trust.Verdict(k)] }, s.Judged)
	p.bar("Assurance: what the best verified evidence amounts to", levels, nil, func(k string) int { return s.Assurance[k] }, s.Judged)
	p.bar("Ecosystems", byCount(s.Ecosystems), ecosystemClasses, func(k string) int { return s.Ecosystems[k] }, s.Judged)
	if r.Audit != nil {
		p.audit(r, r.Audit)
	} else {
		p.stopped(r)
	}
	var b bytes.Buffer
	if err := htmlTemplate.Execute(&b, p); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// stopped lists findings and components of a report that is no audit.
func (p *page) stopped(r *ingest.Report) {
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
}

func (p *page) audit(r *ingest.Report, a *ingest.Audit) {
	p.HasAudit = true
	if !a.At.IsZero() {
		p.At = day(a.At)
	}
	v := r.Summary.Verdicts
	add := func(n int, text, class string) {
		if n == 0 {
			class = ""
		}
		p.Tiles = append(p.Tiles, tile{thousands(n), text, class})
	}
	add(a.Releases, "releases in "+count(len(a.Sources), "source", "sources"), "")
	add(a.New, "new findings", "hold")
	add(a.Unchanged, "findings that stand", "")
	add(a.Gone, "findings gone", "allow")
	add(v[trust.Block], "releases blocked", "block")
	add(v[trust.Hold], "releases held", "hold")
	add(v[trust.Undecided], "releases undecided", "undecided")
	p.groups(a)
	p.sources(a)
	p.Plot = course(a.History)
}

// groups lists the findings by what is to be done about them.
func (p *page) groups(a *ingest.Audit) {
	left := MaxHTMLFindings
	for _, g := range auditGroups(a) {
		row := groupRow{Title: Clean(g.Title), Effect: string(g.Effect), New: g.New, Standing: g.Standing, Gone: g.Gone, Message: Clean(g.Message), Remedy: Clean(g.Remedy),
			Total: count(len(g.Findings), "finding", "findings")}
		for _, f := range g.Findings[:min(len(g.Findings), MaxHTMLGroup, left)] {
			row.Rows = append(row.Rows, findingOf(f))
		}
		left -= len(row.Rows)
		row.Left = len(g.Findings) - len(row.Rows)
		if len(row.Rows) > 0 {
			row.Anchor = len(p.Groups) + 1
		}
		p.Groups = append(p.Groups, row)
	}
	gone := 0
	for i := range a.Findings {
		if f := &a.Findings[i]; f.State == ingest.AuditGone {
			if gone++; gone <= MaxHTMLGone {
				p.Gone = append(p.Gone, findingOf(f))
			}
		}
	}
	if gone > MaxHTMLGone {
		p.Left = append(p.Left, fmt.Sprintf("%d more findings that are gone are in the JSON report", gone-MaxHTMLGone))
	}
}

func findingOf(f *ingest.AuditFinding) findingRow {
	row := findingRow{State: string(f.State), Effect: string(f.Effect), Rule: Clean(f.Rule), Message: Clean(f.Message), Remedy: Clean(f.Remedy)}
	if f.State == ingest.AuditUnchanged {
		row.State = "stands"
	}
	switch {
	case !f.Release.IsZero():
		row.Release = Clean(f.Release.PURL())
	case len(f.Sources) > 0:
		row.Release = Clean(f.Sources[0]) // the finding is about it
	}
	if !f.Since.IsZero() {
		row.Since = f.Since.UTC().Format(time.DateOnly)
	}
	var names []string
	if f.Release.IsZero() {
		return row
	}
	for _, s := range f.Sources[:min(len(f.Sources), maxNamed)] {
		names = append(names, Clean(s))
	}
	row.Sources = strings.Join(names, ", ")
	if more := f.InSources - len(names); more > 0 && len(names) > 0 {
		row.Sources += fmt.Sprintf(" and %d more", more)
	}
	return row
}

// maxNamed is how many sources a row names.
const maxNamed = 5

// sources lists the sources, those first that need somebody.
func (p *page) sources(a *ingest.Audit) {
	order := make([]*ingest.AuditSource, len(a.Sources))
	for i := range a.Sources {
		order[i] = &a.Sources[i]
	}
	weight := map[trust.Verdict]int{trust.Block: 0, trust.Hold: 1, trust.Undecided: 2}
	slices.SortStableFunc(order, func(x, y *ingest.AuditSource) int {
		rank := func(s *ingest.AuditSource) int {
			if w, ok := weight[s.Verdict]; ok {
				return w
			}
			return 3
		}
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(y.New, x.New))
	})
	for i, s := range order {
		if i == MaxHTMLSources {
			p.Left = append(p.Left, fmt.Sprintf("%d more sources are in the JSON report", len(order)-i))
			break
		}
		row := sourceRow{Name: Clean(s.Name), Verdict: string(s.Verdict), Problem: Clean(s.Problem), Components: s.Components, New: s.New, Unchanged: s.Unchanged, Out: s.Gone, Last: "never"}
		if !s.Last.IsZero() {
			row.Last = s.Last.UTC().Format(time.DateOnly)
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
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// thousands writes a number as people read it.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u00a0" + s[i:]
	}
	return s
}

// ecosystemClasses are the colours of the largest ecosystems; the others share one.
var ecosystemClasses = []string{"c0", "c1", "c2", "c3", "c4", "c5"}

// barWidth is the width of a bar in user units.
const barWidth = 1000

// bar adds a whole in its parts. Without classes the names of the parts are theirs.
func (p *page) bar(title string, keys, classes []string, n func(string) int, all int) {
	bar := shareBar{Title: title, Width: barWidth}
	x, named := 0.0, 0
	for _, k := range keys {
		c := n(k)
		if c <= 0 {
			continue
		}
		class := k
		if classes != nil {
			class = "other"
			if named < len(classes) {
				class = classes[named]
			}
			named++
		}
		w := barWidth * float64(c) / float64(max(all, 1))
		bar.Parts = append(bar.Parts, share{Name: Clean(k), Class: Clean(class), Count: c, Percent: fmt.Sprintf("%.1f", 100*float64(c)/float64(max(all, 1))), X: fmt.Sprintf("%.1f", x), Width: fmt.Sprintf("%.1f", w)})
		x += w
	}
	if len(bar.Parts) > 0 {
		p.Bars = append(p.Bars, bar)
	}
}

// plot is the course of the audits as stacked bars: how many releases were
// allowed, held, blocked and undecided. All numbers are of this package's making.
type plot struct {
	Width, Height int
	Bars          []plotBar
	Lines         []plotLine
	Days          []plotText
}

type plotBar struct {
	X, Width, Mid, NewY string
	New                 int
	Parts               []plotPart
	Label               string
}

type plotPart struct{ Class, Y, Height string }

type plotLine struct {
	X1, X2, TX int
	Y, TY      string
	Text       string
}

type plotText struct{ X, Y, Anchor, Text string }

// Size of the plot in user units.
const (
	plotWidth  = 960
	plotHeight = 220
	plotLeft   = 56 // of the numbers
	plotTop    = 20
	plotBase   = 190 // where the bars stand
)

// course makes the plot; nil for fewer than two audits, which have no course.
func course(points []ingest.AuditPoint) *plot {
	if len(points) < 2 {
		return nil
	}
	points = points[max(0, len(points)-ingest.MaxAuditHistory):]
	p := &plot{Width: plotWidth, Height: plotHeight}
	total := func(v map[trust.Verdict]int) (n int) {
		for _, c := range v {
			n += max(c, 0)
		}
		return n
	}
	top := 1
	for _, pt := range points {
		top = max(top, total(pt.Verdicts))
	}
	top = roundUp(top)
	scale := float64(plotBase-plotTop) / float64(top)
	for i := range 5 {
		n := top * i / 4
		y := plotBase - float64(n)*scale
		p.Lines = append(p.Lines, plotLine{X1: plotLeft, X2: plotWidth, TX: plotLeft - 8, Y: fmt.Sprintf("%.1f", y), TY: fmt.Sprintf("%.1f", y+3.5), Text: thousands(n)})
	}
	step := float64(plotWidth-plotLeft) / float64(len(points))
	width := min(step*0.7, 48)
	every := (len(points) + 7) / 8
	last := ""
	for i, pt := range points {
		mid := plotLeft + (float64(i)+0.5)*step
		bar := plotBar{X: fmt.Sprintf("%.1f", mid-width/2), Width: fmt.Sprintf("%.1f", width), Mid: fmt.Sprintf("%.1f", mid), New: max(pt.New, 0)}
		y := float64(plotBase)
		var words []string
		for _, v := range []trust.Verdict{trust.Allow, trust.Undecided, trust.Hold, trust.Block} {
			n := max(pt.Verdicts[v], 0)
			if n == 0 {
				continue
			}
			h := float64(n) * scale
			y -= h
			bar.Parts = append(bar.Parts, plotPart{Class: string(v), Y: fmt.Sprintf("%.1f", y), Height: fmt.Sprintf("%.1f", h)})
			words = append(words, fmt.Sprintf("%s %d", v, n))
		}
		bar.NewY = fmt.Sprintf("%.1f", y-4)
		slices.Reverse(words)
		bar.Label = day(pt.At) + ": " + strings.Join(words, ", ") + fmt.Sprintf("; %d findings, %d new", pt.Findings, pt.New)
		p.Bars = append(p.Bars, bar)
		if text := pt.At.UTC().Format(time.DateOnly); i%every == 0 && text != last {
			last = text
			p.Days = append(p.Days, plotText{X: fmt.Sprintf("%.1f", mid), Y: fmt.Sprint(plotBase + 16), Anchor: "middle", Text: text})
		}
	}
	return p
}

// roundUp is the next number that four lines divide well.
func roundUp(n int) int {
	unit := 1
	for unit*10 <= n {
		unit *= 10
	}
	for _, m := range []int{1, 2, 4, 6, 8, 10} {
		if up := m * unit; up >= n && up >= 4 {
			return up
		}
	}
	return max(10*unit, 4)
}
