package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// hostile is what packages have put into their metadata, and worse: terminal
// escapes, bidirectional overrides, markup of every format, line breaks.
const hostile = "\x1b[31m\x07\u202egnp.exe\u2066 <script>alert(1)</script> ](http://evil.example) | `code` ]]> --> &amp; \"'\r\n::error::x\u2028\u0085\xff @everyone"

func release(t testing.TB, s string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func evidence(r trust.Release, o trust.Outcome) ingest.Evidence {
	e := trust.Evidence{Check: trust.CheckRegistrySig, Outcome: o, Release: r, Artifact: trust.Artifact{Digests: trust.Digests{trust.DigestOf(trust.SHA512, make([]byte, 64))}}}
	if o == trust.Verified {
		e.Assurance, e.Signer = trust.AssuranceRegistry, &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}
	} else {
		e.Reason, e.Detail = trust.ReasonWrongDigest, "the lock file says one thing and the registry another "+hostile
	}
	return ingest.Evidence{ID: e.ID(), Evidence: e}
}

func component(t testing.TB, purl string, v trust.Verdict) ingest.Component {
	r := release(t, purl)
	ev := evidence(r, trust.Verified)
	c := ingest.Component{
		Release: r, Kind: sbom.KindRegistry, Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect,
		Locations: []trust.Location{{Path: "web/package-lock.json", Line: 17}}, Artifacts: []trust.Artifact{ev.Artifact},
		Change: policies.ChangeVersion, Previous: trust.Release{Package: r.Package, Version: "0.9.0"},
		Verdict: v, Assurance: trust.AssuranceRegistry, Offered: trust.AssuranceRegistry, Continuity: trust.ContinuitySame,
		Evidence: []ingest.Evidence{ev}, Findings: []trust.Finding{}, Adapter: true,
		Signers: []ingest.Signer{{Signer: *ev.Signer, ID: ev.Signer.ID(), Text: ev.Signer.String(), Check: ev.Check, Accepted: true, By: ingest.ByHeadgate}},
	}
	effect := map[trust.Verdict]trust.Effect{trust.Hold: trust.EffectHold, trust.Block: trust.EffectBlock, trust.Undecided: trust.EffectUndecided}[v]
	if effect != "" {
		bad := evidence(r, trust.Failed)
		c.Evidence = append(c.Evidence, bad)
		c.Findings = append(c.Findings, trust.Finding{Rule: "rule-" + string(v), Effect: effect, Message: "found " + hostile, Remedy: "headgate explain '" + r.PURL() + "'", Evidence: []string{bad.ID}})
	}
	return c
}

func full(t testing.TB) *ingest.Report {
	r := &ingest.Report{
		Tool: "headgate 1.2.3", Command: "check", Source: sbom.Source{Scheme: "dir", Name: "." + hostile},
		Base:    &ingest.Base{Kind: "revision", Name: "origin/main", Revision: strings.Repeat("a", 40)},
		Policy:  ingest.Policy{Name: "baseline", Digest: trust.DigestOf(trust.SHA256, make([]byte, 32)), Origin: "built in"},
		Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Finished: time.Date(2026, 3, 1, 12, 0, 2, 0, time.UTC),
		Findings: []trust.Finding{{Rule: "gate-edited", Effect: trust.EffectHold, Message: "the change edits headgate.yaml " + hostile, Remedy: "headgate policy lint", Location: trust.Location{Path: "headgate.yaml", Line: 3}}},
		Components: []ingest.Component{
			component(t, "pkg:npm/good@1.0.0", trust.Allow), component(t, "pkg:npm/held@1.0.0", trust.Hold),
			component(t, "pkg:npm/%40scope/blocked@1.0.0", trust.Block), component(t, "pkg:golang/example.com/m@v1.0.0", trust.Undecided),
		},
		Notes: []string{"the store is read-only " + hostile}, RunID: "r-1",
	}
	for i := range r.Components {
		r.Components[i].AdvisoryState = policies.StateKnown
	}
	r.Components[0].Findings = []trust.Finding{
		{Rule: "deprecated", Effect: trust.EffectWarn, Message: hostile, Remedy: ""},
		{Rule: "cooldown", Effect: trust.EffectHold, Message: "young", Remedy: "wait", Waived: "exception: " + hostile},
	}
	r.Inventory = &sbom.Inventory{Source: r.Source, Files: []sbom.File{{Path: "web/package-lock.json"}}, Components: []sbom.Component{
		{Release: release(t, "pkg:npm/good@1.0.0"), Kind: sbom.KindRegistry}, {Release: release(t, "pkg:npm/already@1.0.0"), Kind: sbom.KindRegistry},
	}}
	r.Finish()
	return r
}

func write(t testing.TB, format string, r *ingest.Report, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, format, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestThreat110TerminalEscapes: nothing that a terminal or a log viewer acts upon
// survives in any format.
func TestThreat110TerminalEscapes(t *testing.T) {
	for _, format := range report.Formats() {
		t.Run(format, func(t *testing.T) {
			out := write(t, format, full(t), report.Options{Verbose: true})
			for i, r := range out {
				if r != '\n' && r != '\t' && (unicode.Is(unicode.C, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)) {
					t.Fatalf("%U at byte %d: %q", r, i, out[max(0, i-40):min(len(out), i+20)])
				}
			}
			if strings.Contains(out, "\n::error::") {
				t.Error("a package can write a workflow command on a line of its own")
			}
		})
	}
}

// TestThreat111Markup: text of packages is no markup in Markdown, and no element in XML.
func TestThreat111Markup(t *testing.T) {
	md := write(t, "markdown", full(t), report.Options{})
	spans := regexp.MustCompile("(`+)[^`].*?`+")
	prose := spans.ReplaceAllString(md, "")
	for _, bad := range []string{"<script", "](http", "@everyone"} {
		if strings.Contains(prose, bad) {
			t.Errorf("markdown lets %q through", bad)
		}
	}
	for _, format := range []string{"junit"} {
		dec := xml.NewDecoder(strings.NewReader(write(t, format, full(t), report.Options{})))
		for {
			tok, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := tok.(xml.StartElement); ok && s.Name.Local == "script" {
				t.Error("a package can add elements")
			}
		}
	}
}

func TestJSONMatchesSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(report.Schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	sch, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(s string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		return sch.Validate(v)
	}
	out := write(t, "json", full(t), report.Options{})
	if err := valid(out); err != nil {
		t.Error(err)
	}
	empty := &ingest.Report{Tool: "headgate", Command: "check", Empty: true}
	empty.Finish()
	if err := valid(write(t, "json", empty, report.Options{})); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{{`"verdict": "block"`, `"verdict": "fine"`}, {`"version": 1`, `"version": 2`}, {`"findings"`, `"finding"`}, {`"outcome": "failed"`, `"outcome": "ok"`}} {
		if !strings.Contains(out, change[0]) {
			t.Fatalf("the report has no %s", change[0])
		}
		if valid(strings.Replace(out, change[0], change[1], 1)) == nil {
			t.Errorf("the schema accepts %s", change[1])
		}
	}
	// What a reader of the JSON sees is what upstream wrote, byte for byte.
	var back ingest.Report
	if err := json.Unmarshal([]byte(out), &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.Components[1].Findings[0].Message, "found "+strings.ToValidUTF8(hostile, "\ufffd"); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestSARIF(t *testing.T) {
	var log struct {
		Schema  string `json:"$schema"`
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct{ ID string }
				}
			}
			Invocations []struct{ ExecutionSuccessful *bool }
			Results     []struct {
				RuleID              string
				RuleIndex           int
				Level               string
				Message             struct{ Text string }
				PartialFingerprints map[string]string
				Suppressions        []struct{ Kind string }
				Locations           []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI, URIBaseID string }
						Region           *struct{ StartLine int }
					}
				}
			}
		}
	}
	r := full(t)
	out := write(t, "sarif", r, report.Options{})
	if err := json.Unmarshal([]byte(out), &log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || !strings.HasSuffix(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("head of the log: %+v", log)
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name != "headgate" || len(run.Invocations) != 1 || run.Invocations[0].ExecutionSuccessful == nil {
		t.Errorf("run without what the standard requires: %+v", run)
	}
	if len(run.Results) != 6 {
		t.Fatalf("%d results, want one per finding: 6", len(run.Results))
	}
	levels := map[string]int{}
	for _, res := range run.Results {
		levels[res.Level]++
		if res.RuleIndex < 0 || res.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[res.RuleIndex].ID != res.RuleID {
			t.Errorf("%s: rule index %d leads elsewhere", res.RuleID, res.RuleIndex)
		}
		if res.Message.Text == "" || len(res.PartialFingerprints) == 0 || len(res.Locations) != 1 {
			t.Errorf("%s: message, fingerprint or location missing", res.RuleID)
			continue
		}
		loc := res.Locations[0].PhysicalLocation
		if loc.ArtifactLocation.URI == "" || loc.Region == nil || loc.Region.StartLine < 1 {
			t.Errorf("%s: no file and line", res.RuleID)
		}
		if res.RuleID == "rule-block" && (loc.ArtifactLocation.URI != "web/package-lock.json" || loc.Region.StartLine != 17) {
			t.Errorf("blocked component marked at %+v", loc)
		}
		if res.RuleID == "cooldown" && len(res.Suppressions) != 1 {
			t.Error("a waived finding is not suppressed")
		}
	}
	if levels["error"] != 5 || levels["warning"] != 1 {
		t.Errorf("levels %v", levels)
	}
	// Lines move and versions go up; the fingerprint stays.
	fp := func(r *ingest.Report) string {
		if err := json.Unmarshal([]byte(write(t, "sarif", r, report.Options{})), &log); err != nil {
			t.Fatal(err)
		}
		for _, res := range log.Runs[0].Results {
			if res.RuleID == "rule-block" {
				return res.PartialFingerprints["headgate/v1"]
			}
		}
		return ""
	}
	before := fp(r)
	r.Components[2].Release.Version = "1.0.1"
	r.Components[2].Locations[0].Line = 99
	if after := fp(r); after != before || after == "" {
		t.Errorf("fingerprint moved from %q to %q", before, after)
	}
}

func TestSARIFPathsStayInside(t *testing.T) {
	for path, want := range map[string]string{"../../etc/passwd": "etc/passwd", `a\b c.json`: "a/b%20c.json", "javascript:alert(1)": "javascript%3Aalert%281%29", "": "web/package-lock.json"} {
		r := full(t)
		r.Components = r.Components[2:3]
		r.Findings = nil
		r.Components[0].Locations = []trust.Location{{Path: path}}
		out := write(t, "sarif", r, report.Options{})
		got := regexp.MustCompile(`"uri": "([^"]*)"`).FindStringSubmatch(out)
		if len(got) != 2 || got[1] != want && got[1] != strings.ReplaceAll(strings.ReplaceAll(want, "%28", "("), "%29", ")") {
			t.Errorf("%q became %v, want %q", path, got, want)
		}
	}
}

func TestSARIFBound(t *testing.T) {
	r := &ingest.Report{Tool: "headgate 1", Command: "check"}
	c := component(t, "pkg:npm/a@1.0.0", trust.Hold)
	for i := range report.MaxSARIFResults + 1 {
		c.Release.Version = fmt.Sprint(i)
		r.Components = append(r.Components, c)
	}
	for extra, want := range map[int]int{0: report.MaxSARIFResults, 1: report.MaxSARIFResults} {
		s := *r
		s.Components = r.Components[:report.MaxSARIFResults+extra]
		s.Finish()
		out := write(t, "sarif", &s, report.Options{})
		if n := strings.Count(out, `"ruleIndex"`); n != want {
			t.Errorf("%d findings gave %d results", report.MaxSARIFResults+extra, n)
		}
		if got := strings.Contains(out, "left out"); got != (extra > 0) {
			t.Errorf("%d extra: says left out: %v", extra, got)
		}
	}
}

func TestCycloneDX(t *testing.T) {
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(strings.NewReader(write(t, "cyclonedx", full(t), report.Options{})), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]string{}
	signers := map[string]string{}
	for _, c := range *bom.Components {
		for _, p := range *c.Properties {
			switch p.Name {
			case "headgate:verdict":
				verdicts[c.PackageURL] = p.Value
			case "headgate:signer":
				signers[c.PackageURL] = p.Value
			}
		}
	}
	if len(verdicts) != 5 || verdicts["pkg:npm/good@1.0.0"] != "allow" || verdicts["pkg:npm/%40scope/blocked@1.0.0"] != "block" || !strings.HasPrefix(verdicts["pkg:npm/already@1.0.0"], "present") {
		t.Errorf("verdicts %v", verdicts)
	}
	if signers["pkg:npm/good@1.0.0"] == "" {
		t.Error("no signer")
	}
}

func TestJUnit(t *testing.T) {
	var s struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	if err := xml.Unmarshal([]byte(write(t, "junit", full(t), report.Options{})), &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != 5 || s.Failures != 3 || s.Errors != 1 {
		t.Errorf("%+v", s)
	}
}

func TestMarkdownFitsAComment(t *testing.T) {
	r := full(t)
	for i := range 3000 {
		v := []trust.Verdict{trust.Hold, trust.Allow}[i%2]
		r.Components = append(r.Components, component(t, fmt.Sprintf("pkg:npm/p%d@1.0.0", i), v))
	}
	r.Finish()
	out := write(t, "markdown", r, report.Options{})
	if len(out) > report.MaxMarkdown {
		t.Errorf("%d bytes", len(out))
	}
	block, held, folded := strings.Index(out, "blocked@1.0.0"), strings.Index(out, "held@1.0.0"), strings.Index(out, "<details>")
	if block < 0 || held < block || folded < held || !strings.Contains(out, "left out of this comment") || !strings.HasSuffix(out, "</sub>\n") {
		t.Errorf("order: blocked %d, held %d, folded %d", block, held, folded)
	}
}

func TestTextOfAPassingCheckFitsOneScreen(t *testing.T) {
	r := full(t)
	r.Findings, r.Components = nil, nil
	for i := range 6 {
		r.Notes = append(r.Notes, fmt.Sprint("note ", i))
	}
	for i := range 5000 {
		c := component(t, fmt.Sprintf("pkg:npm/p%d@1.0.0", i), trust.Allow)
		c.Release.Package.Type = fmt.Sprintf("eco%d", i%30)
		c.Adapter = i%2 == 0
		c.Findings = []trust.Finding{{Rule: "deprecated", Effect: trust.EffectWarn, Message: "old", Remedy: "replace it"}}
		r.Components = append(r.Components, c)
	}
	r.Finish()
	out := write(t, "text", r, report.Options{})
	if n := strings.Count(out, "\n"); n > report.Screen {
		t.Errorf("%d lines:\n%s", n, out)
	}
	if !strings.HasPrefix(out, "headgate: allowed") {
		t.Errorf("first line: %s", strings.SplitN(out, "\n", 2)[0])
	}
}

func TestTextShowsWhatSettlesEachStop(t *testing.T) {
	r := full(t)
	out := write(t, "text", r, report.Options{})
	if !strings.HasPrefix(out, "headgate: BLOCKED: 1 blocked, 1 held, 1 undecided, 1 problem with the source of 4 new or changed components\n") {
		t.Errorf("first line: %s", strings.SplitN(out, "\n", 2)[0])
	}
	for _, c := range r.Components[1:] {
		for _, want := range []string{c.Release.PURL(), c.Findings[0].Rule, "headgate explain '" + c.Release.PURL() + "'", "web/package-lock.json:17", "registry-signature failed (wrong-digest)"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.Release, want, out)
			}
		}
	}
	if strings.Index(out, "Blocked") > strings.Index(out, "Held") || strings.Index(out, "Held") > strings.Index(out, "Undecided:") {
		t.Error("worst is not first")
	}
	if strings.Contains(out, "\x1b") {
		t.Error("escapes without being asked for")
	}
	if !strings.Contains(write(t, "text", r, report.Options{Color: true}), "\x1b[1;31m") {
		t.Error("no colour when asked for")
	}
	quiet := write(t, "text", r, report.Options{Quiet: true})
	if strings.Contains(quiet, "assurance") || !strings.Contains(quiet, "rule-block") {
		t.Errorf("quiet:\n%s", quiet)
	}
}

func TestTextSaysSharedReasonsOnce(t *testing.T) {
	for n, times := range map[int]int{3: 3, 4: 1} {
		r := &ingest.Report{Tool: "headgate 1", Command: "check"}
		for i := range n {
			c := component(t, fmt.Sprintf("pkg:cargo/c%d@1.0.0", i), trust.Hold)
			c.Findings = []trust.Finding{{Rule: "adapter", Effect: trust.EffectHold, Message: "no adapter for cargo", Remedy: "headgate request '" + c.Release.PURL() + "'"}}
			r.Components = append(r.Components, c)
		}
		r.Finish()
		out := write(t, "text", r, report.Options{})
		if got := strings.Count(out, "no adapter for cargo"); got != times {
			t.Errorf("%d components: said %d times\n%s", n, got, out)
		}
		for _, c := range r.Components {
			if !strings.Contains(out, c.Release.PURL()) {
				t.Errorf("%s is not listed", c.Release)
			}
		}
	}
}

// What headgate pins itself was accepted by no person.
func TestSignerLineNamesWhoAccepted(t *testing.T) {
	for by, want := range map[string]string{ingest.ByHeadgate: "(pinned by headgate)", "alice": "(accepted by alice)"} {
		if got := report.SignerLine(ingest.Signer{Accepted: true, By: by}); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestParseOutputs(t *testing.T) {
	for _, bad := range [][]string{{"yaml"}, {"json="}, {"json", "text"}, {"json=a", "sarif=a"}, {""}} {
		if _, err := report.ParseOutputs(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                                     "this is a folder",
		filepath.Join(dir, "missing", "a.json"): "missing does not exist",
		filepath.Join(file, "a.json"):           "file is no folder",
		file:                                    "",
		filepath.Join(dir, "new"):               "",
		os.DevNull:                              "",
	} {
		_, err := report.ParseOutputs([]string{"json=" + path})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	outs, err := report.ParseOutputs([]string{"text", "json=a.json", "sarif=b"})
	if err != nil || len(outs) != 3 || outs[1] != (report.Output{Format: "json", Path: "a.json"}) {
		t.Errorf("%v %v", outs, err)
	}
}

func TestFilesAppearWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("disk full")
	err := report.Durable(path, 0o644, func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "before" {
		t.Errorf("file holds %q", b)
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("temporary file left: %v", es)
	}
	if err := report.WriteFile(path, "json", full(t), report.Options{}); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); !json.Valid(b) {
		t.Error("not JSON")
	}
	target := filepath.Join(dir, "target")
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(target, []byte("mine"), 0o644), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteFile(link, "json", full(t), report.Options{}); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(target); string(b) != "mine" {
		t.Error("a link of the tree was followed")
	}
	if err := report.WriteFile(filepath.Join(dir, "no", "such"), "json", full(t), report.Options{}); err == nil {
		t.Error("wrote into a directory that is not there")
	}
}

func TestCleanBound(t *testing.T) {
	if s := strings.Repeat("a", report.MaxText); report.Clean(s) != s {
		t.Error("cut at the bound")
	}
	if s := report.Clean(strings.Repeat("a", report.MaxText+1)); !strings.Contains(s, "1 bytes more") {
		t.Errorf("one above: %q", s[len(s)-30:])
	}
}

func FuzzClean(f *testing.F) {
	f.Add(hostile)
	f.Add("\U000e0041 plain")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range report.Clean(s) {
			if unicode.Is(unicode.C, r) || r != ' ' && unicode.Is(unicode.Z, r) {
				t.Fatalf("%U in %q", r, report.Clean(s))
			}
		}
	})
}

// The components are written one by one; what comes out is the same as in one piece.
func TestJSONInPieces(t *testing.T) {
	for _, n := range []int{0, 1, 3} {
		r := &ingest.Report{Tool: "headgate \"\n  \"components\": []", Notes: []string{"\"components\": []"}}
		for i := range n {
			r.Components = append(r.Components, ingest.Component{Was: fmt.Sprint("<é>", i), Evidence: []ingest.Evidence{}, Findings: []trust.Finding{}})
		}
		r.Finish()
		var pieces, whole bytes.Buffer
		if err := report.Write(&pieces, "json", r, report.Options{}); err != nil {
			t.Fatal(err)
		}
		enc := json.NewEncoder(&whole)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
		if pieces.String() != whole.String() {
			t.Errorf("%d components:\n%s\nin one piece:\n%s", n, &pieces, &whole)
		}
	}
}
