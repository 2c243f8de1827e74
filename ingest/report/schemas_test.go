package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/trust"
)

// sarifRules is what the standard (SARIF 2.1.0, the section is named at each
// object) demands of the objects that headgate writes, with no property that it
// does not know. TestLiveSARIF holds reports against the whole official schema.
const sarifRules = `{
"$schema": "http://json-schema.org/draft-07/schema#",
"type": "object", "additionalProperties": false, "required": ["version", "runs"], "$comment": "3.13",
"properties": {
  "$schema": {"type": "string", "format": "uri"},
  "version": {"const": "2.1.0"},
  "runs": {"type": "array", "items": {"$ref": "#/definitions/run"}}
},
"definitions": {
  "text": {"type": "string", "minLength": 1},
  "message": {"$comment": "3.11", "type": "object", "additionalProperties": false, "required": ["text"], "properties": {"text": {"$ref": "#/definitions/text"}}},
  "bag": {"$comment": "3.8", "type": "object", "properties": {"tags": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}},
  "level": {"$comment": "3.27.10, 3.58.6", "enum": ["none", "note", "warning", "error"]},
  "run": {"$comment": "3.14", "type": "object", "additionalProperties": false, "required": ["tool"], "properties": {
    "tool": {"$comment": "3.18", "type": "object", "additionalProperties": false, "required": ["driver"], "properties": {"driver": {"$ref": "#/definitions/driver"}}},
    "invocations": {"type": "array", "items": {"$ref": "#/definitions/invocation"}},
    "results": {"type": "array", "items": {"$ref": "#/definitions/result"}},
    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    "originalUriBaseIds": {"$comment": "3.14.14", "type": "object", "additionalProperties": {"$ref": "#/definitions/artifactLocation"}},
    "properties": {"$ref": "#/definitions/bag"}}},
  "driver": {"$comment": "3.19", "type": "object", "additionalProperties": false, "required": ["name"], "properties": {
    "name": {"$ref": "#/definitions/text"}, "version": {"type": "string"},
    "rules": {"type": "array", "uniqueItems": true, "items": {"$comment": "3.49", "type": "object", "additionalProperties": false, "required": ["id"], "properties": {
      "id": {"$ref": "#/definitions/text"}, "shortDescription": {"$comment": "3.12", "$ref": "#/definitions/message"}}}}}},
  "invocation": {"$comment": "3.20", "type": "object", "additionalProperties": false, "required": ["executionSuccessful"], "properties": {
    "executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"},
    "startTimeUtc": {"type": "string", "format": "date-time"}, "endTimeUtc": {"type": "string", "format": "date-time"},
    "toolExecutionNotifications": {"type": "array", "items": {"$comment": "3.58", "type": "object", "additionalProperties": false, "required": ["message"], "properties": {
      "level": {"$ref": "#/definitions/level"}, "message": {"$ref": "#/definitions/message"}}}}}},
  "result": {"$comment": "3.27", "type": "object", "additionalProperties": false, "required": ["message"], "properties": {
    "ruleId": {"$ref": "#/definitions/text"}, "ruleIndex": {"type": "integer", "minimum": -1}, "level": {"$ref": "#/definitions/level"},
    "message": {"$ref": "#/definitions/message"}, "locations": {"type": "array", "items": {"$ref": "#/definitions/location"}},
    "partialFingerprints": {"$comment": "3.27.17", "type": "object", "additionalProperties": {"type": "string"}},
    "suppressions": {"$comment": "3.35", "type": "array", "uniqueItems": true, "items": {"type": "object", "additionalProperties": false, "required": ["kind"], "properties": {
      "kind": {"enum": ["inSource", "external"]}, "justification": {"type": "string"}}}},
    "properties": {"$ref": "#/definitions/bag"}}},
  "location": {"$comment": "3.28", "type": "object", "additionalProperties": false, "properties": {
    "physicalLocation": {"$comment": "3.29", "type": "object", "additionalProperties": false, "required": ["artifactLocation"], "properties": {
      "artifactLocation": {"$ref": "#/definitions/artifactLocation"},
      "region": {"$comment": "3.30", "type": "object", "additionalProperties": false, "properties": {"startLine": {"type": "integer", "minimum": 1}}}}}}},
  "artifactLocation": {"$comment": "3.4", "type": "object", "additionalProperties": false, "properties": {
    "uri": {"type": "string", "format": "uri-reference", "pattern": "^[^:?#]*$"}, "uriBaseId": {"type": "string"}, "description": {"$ref": "#/definitions/message"}}}
}}`

// folder resolves references between the schemas of one folder by file name.
type folder string

func (f folder) Load(url string) (any, error) {
	name := path.Base(url)
	b, err := os.ReadFile(filepath.Join(string(f), name))
	if errors.Is(err, os.ErrNotExist) { // one file is misnamed there
		b, err = os.ReadFile(filepath.Join(string(f), strings.Replace(name, ".schema.json", ".schemax.json", 1)))
	}
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}

func compile(t testing.TB, dir, name string, doc []byte) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(folder(dir))
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err == nil {
		err = c.AddResource(name, v)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t testing.TB, s *jsonschema.Schema, doc string) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// reports are those that differ in what they leave out.
func reports(t testing.TB) map[string]*ingest.Report {
	empty := &ingest.Report{Tool: "headgate", Command: "check", Empty: true}
	empty.Finish()
	bare := full(t)
	bare.Inventory, bare.Base, bare.Notes = nil, nil, nil
	for i := range bare.Components {
		bare.Components[i].Locations = nil
	}
	return map[string]*ingest.Report{"full": full(t), "empty": empty, "bare": bare}
}

// sarifCheck holds all reports, and reports that are broken on purpose, against a schema.
func sarifCheck(t *testing.T, s *jsonschema.Schema) {
	rs := reports(t)
	many := full(t)
	many.Findings = slices.Repeat(many.Findings, report.MaxSARIFResults+1)
	rs["more than fit"] = many
	for name, r := range rs {
		if err := valid(t, s, write(t, "sarif", r, report.Options{})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	out := write(t, "sarif", full(t), report.Options{})
	for _, change := range [][2]string{
		{`"level": "error"`, `"level": "fatal"`}, {`"startLine": 17`, `"startLine": 0`}, {`"version": "2.1.0"`, `"version": "2.2.0"`}, {`"executionSuccessful": true`, `"successful": true`},
		{`"ruleIndex": 0`, `"ruleIndex": "0"`}, {`"kind": "external"`, `"kind": "other"`}, {`"driver"`, `"drivers"`}, {`"message"`, `"mesage"`}, {`"startTimeUtc": "2026`, `"startTimeUtc": "on 2026`},
	} {
		if !strings.Contains(out, change[0]) {
			t.Fatalf("the report has no %s", change[0])
		}
		if valid(t, s, strings.Replace(out, change[0], change[1], 1)) == nil {
			t.Errorf("the schema accepts %s", change[1])
		}
	}
}

func TestSARIFRules(t *testing.T) { sarifCheck(t, compile(t, "", "sarif.json", []byte(sarifRules))) }

// module returns the folder of a module that this project requires.
func module(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", name).Output()
	if err != nil {
		t.Fatalf("finding %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// TestCycloneDXSchema holds the reports against the official schema, which the
// module of the library brings along.
func TestCycloneDXSchema(t *testing.T) {
	dir := filepath.Join(module(t, "github.com/CycloneDX/cyclonedx-go"), "schema")
	doc, err := os.ReadFile(filepath.Join(dir, "bom-1.6.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t, dir, "http://cyclonedx.org/schema/bom-1.6.schema.json", doc)
	for name, r := range reports(t) {
		if err := valid(t, s, write(t, "cyclonedx", r, report.Options{})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	out := write(t, "cyclonedx", full(t), report.Options{})
	for _, change := range [][2]string{{`"type": "library"`, `"type": "book"`}, {`"alg": "SHA-512"`, `"alg": "SHA512"`}, {`"bomFormat": "CycloneDX"`, `"bomFormat": "SPDX"`}} {
		if !strings.Contains(out, change[0]) {
			t.Fatalf("the report has no %s", change[0])
		}
		if valid(t, s, strings.Replace(out, change[0], change[1], 1)) == nil {
			t.Errorf("the schema accepts %s", change[1])
		}
	}
}

// One release can be there twice, in the registry's archive and inside another
// package: the worse of the two verdicts is the one that is shown.
func TestCycloneDXShowsTheWorstVerdict(t *testing.T) {
	for _, order := range [][2]trust.Verdict{{trust.Block, trust.Allow}, {trust.Allow, trust.Block}} {
		r := full(t)
		r.Inventory = nil
		r.Components = []ingest.Component{component(t, "pkg:npm/twice@1.0.0", order[0]), component(t, "pkg:npm/twice@1.0.0", order[1])}
		r.Finish()
		out := write(t, "cyclonedx", r, report.Options{})
		var bom struct {
			Components []struct {
				Properties []struct{ Name, Value string }
			}
		}
		if err := json.Unmarshal([]byte(out), &bom); err != nil {
			t.Fatal(err)
		}
		var verdicts []string
		for _, c := range bom.Components {
			for _, p := range c.Properties {
				if p.Name == "headgate:verdict" {
					verdicts = append(verdicts, p.Value)
				}
			}
		}
		if !slices.Equal(verdicts, []string{"block"}) {
			t.Errorf("%v shows %v", order, verdicts)
		}
	}
}

// junitRules are the elements that readers of JUnit's XML know, with the
// attributes that each may and must have and the elements inside it.
var junitRules = map[string]struct{ may, must, inside []string }{
	"testsuites": {may: []string{"errors", "failures", "tests", "time", "name"}, inside: []string{"testsuite"}},
	"testsuite":  {may: []string{"errors", "failures", "tests", "time", "name"}, must: []string{"name", "tests"}, inside: []string{"testcase"}},
	"testcase":   {may: []string{"name", "classname", "file", "line", "time"}, must: []string{"name", "classname"}, inside: []string{"failure", "error", "system-out"}},
	"failure":    {may: []string{"type", "message"}},
	"error":      {may: []string{"type", "message"}},
	"system-out": {},
}

// junitCheck reads a report by those rules and counts.
func junitCheck(t testing.TB, out string) (cases, failures, errs int) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(out))
	var stack []string
	counts := map[string]int{}
	claimed := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no well-formed XML: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			name := e.Name.Local
			rule, ok := junitRules[name]
			if !ok || e.Name.Space != "" {
				t.Errorf("unknown element %s", name)
			}
			if len(stack) == 0 && name != "testsuites" || len(stack) > 0 && !slices.Contains(junitRules[stack[len(stack)-1]].inside, name) {
				t.Errorf("%s inside %v", name, stack)
			}
			have := map[string]bool{}
			for _, a := range e.Attr {
				have[a.Name.Local] = true
				if !slices.Contains(rule.may, a.Name.Local) {
					t.Errorf("%s has the attribute %s", name, a.Name.Local)
				}
				switch a.Name.Local {
				case "tests", "failures", "errors", "line":
					n, err := strconv.Atoi(a.Value)
					if err != nil || n < 0 {
						t.Errorf("%s %s is %q", name, a.Name.Local, a.Value)
					}
					claimed[name+" "+a.Name.Local] += n
				case "time":
					if _, err := strconv.ParseFloat(a.Value, 64); err != nil {
						t.Errorf("time %q", a.Value)
					}
				}
			}
			for _, m := range rule.must {
				if !have[m] {
					t.Errorf("%s lacks %s", name, m)
				}
			}
			counts[name]++
			stack = append(stack, name)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
	for _, level := range []string{"testsuites", "testsuite"} {
		if claimed[level+" tests"] != counts["testcase"] || claimed[level+" failures"] != counts["failure"] || claimed[level+" errors"] != counts["error"] {
			t.Errorf("%s claims %v, there are %v", level, claimed, counts)
		}
	}
	return counts["testcase"], counts["failure"], counts["error"]
}

func TestJUnitRules(t *testing.T) {
	for name, r := range reports(t) {
		cases, failures, errs := junitCheck(t, write(t, "junit", r, report.Options{}))
		if want := len(r.Components) + len(r.Findings); cases != want {
			t.Errorf("%s: %d cases for %d components and findings", name, cases, want)
		}
		if stopped := r.Summary.Verdicts[trust.Hold] + r.Summary.Verdicts[trust.Block]; failures != stopped+len(r.Findings) || errs != r.Summary.Verdicts[trust.Undecided] {
			t.Errorf("%s: %d failures, %d errors", name, failures, errs)
		}
	}
}
