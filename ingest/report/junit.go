package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	File      string        `xml:"file,attr,omitempty"`
	Line      int           `xml:"line,attr,omitempty"`
	Failure   *junitProblem `xml:"failure,omitempty"`
	Error     *junitProblem `xml:"error,omitempty"`
	Output    string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit has one suite per ecosystem and one case per component: hold and
// block are failures, undecided is an error. Findings about the source are cases
// of the suite "source".
func writeJUnit(w io.Writer, r *ingest.Report, _ Options) error {
	by := map[string]*junitSuite{}
	add := func(suite string, c junitCase, v trust.Verdict, fs []trust.Finding) {
		s := by[suite]
		if s == nil {
			s = &junitSuite{Name: suite}
			by[suite] = s
		}
		var stop, rest []string
		rule := ""
		for _, f := range fs {
			line := sentence(f)
			if f.Counts() && f.Effect.Verdict() != trust.Allow {
				if rule == "" {
					rule = f.Rule
				}
				stop = append(stop, line)
			} else {
				rest = append(rest, line)
			}
		}
		p := &junitProblem{Type: Clean(rule), Message: string(v), Text: strings.Join(stop, "\n")}
		switch v {
		case trust.Allow:
		case trust.Undecided:
			c.Error = p
			s.Errors++
		default:
			c.Failure = p
			s.Failures++
		}
		c.Output = strings.Join(rest, "\n")
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	for _, f := range r.Findings {
		v := trust.Allow
		if f.Counts() {
			v = f.Effect.Verdict()
		}
		add("source", junitCase{Name: Clean(f.Rule), ClassName: "headgate.source", File: Clean(f.Location.Path), Line: f.Location.Line}, v, []trust.Finding{f})
	}
	for _, c := range r.Components {
		loc := place(c)
		eco := Clean(c.Release.Package.Type)
		add(eco, junitCase{Name: Clean(c.Release.PURL()), ClassName: "headgate." + eco, File: Clean(loc.Path), Line: loc.Line}, c.Verdict, c.Findings)
	}
	out := junitSuites{Name: "headgate " + Clean(r.Command), Time: fmt.Sprintf("%.3f", r.Finished.Sub(r.Started).Seconds())}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		s := by[name]
		out.Tests += s.Tests
		out.Failures += s.Failures
		out.Errors += s.Errors
		out.Suites = append(out.Suites, *s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// sentence is a finding on one line.
func sentence(f trust.Finding) string {
	s := fmt.Sprintf("[%s] %s: %s", f.Effect, Clean(f.Rule), Clean(f.Message))
	if f.Remedy != "" {
		s += " → " + Clean(f.Remedy)
	}
	if f.Waived != "" {
		s += " (waived: " + Clean(f.Waived) + ")"
	}
	return s
}

// place is where a component is declared first.
func place(c ingest.Component) trust.Location {
	if len(c.Locations) == 0 {
		return trust.Location{}
	}
	return c.Locations[0]
}
