package report

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/trust"
)

// MaxSARIFResults is how many results one run may hold for code scanning services.
const MaxSARIFResults = 25000

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	ColumnKind  string            `json:"columnKind"`
	BaseIDs     map[string]any    `json:"originalUriBaseIds,omitempty"`
	Properties  map[string]any    `json:"properties,omitempty"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID    string       `json:"id"`
	Short sarifMessage `json:"shortDescription"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool                `json:"executionSuccessful"`
	ExitCode            int                 `json:"exitCode"`
	StartTimeUTC        string              `json:"startTimeUtc,omitempty"`
	EndTimeUTC          string              `json:"endTimeUtc,omitempty"`
	Notifications       []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level   string       `json:"level"`
	Message sarifMessage `json:"message"`
}

type sarifMessage struct {
	Text string `json:"text"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Level        string             `json:"level"`
	Message      sarifMessage       `json:"message"`
	Locations    []sarifLocation    `json:"locations"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	Properties   map[string]any     `json:"properties,omitempty"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Justification string `json:"justification"`
}

type sarifLocation struct {
	Physical sarifPhysical `json:"physicalLocation"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   *sarifRegion  `json:"region,omitempty"`
}

type sarifArtifact struct {
	URI       string `json:"uri"`
	URIBaseID string `json:"uriBaseId,omitempty"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

// writeSARIF writes SARIF 2.1.0 with one result per finding, at the file and
// line that declare the component.
func writeSARIF(w io.Writer, r *ingest.Report, _ Options) error {
	name, version, _ := strings.Cut(r.Tool, " ")
	run := sarifRun{
		Tool:       sarifTool{Driver: sarifDriver{Name: name, Version: version, Rules: []sarifRule{}}},
		Results:    []sarifResult{},
		ColumnKind: "unicodeCodePoints",
		Properties: map[string]any{"verdict": r.Verdict, "policy": r.Policy.Name},
	}
	inv := sarifInvocation{ExecutionSuccessful: true, ExitCode: r.ExitCode}
	if !r.Started.IsZero() {
		inv.StartTimeUTC = r.Started.UTC().Format("2006-01-02T15:04:05.000Z")
		inv.EndTimeUTC = r.Finished.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	for _, n := range r.Notes {
		inv.Notifications = append(inv.Notifications, sarifNotification{Level: "note", Message: sarifMessage{Clean(n)}})
	}
	// A result needs a place: what has none of its own is shown at the first
	// dependency file of the source.
	fallback := "."
	if r.Inventory != nil && len(r.Inventory.Files) > 0 {
		fallback = r.Inventory.Files[0].Path
	}
	rules := map[string]int{}
	dropped := 0
	add := func(c *ingest.Component, f trust.Finding) {
		if len(run.Results) >= MaxSARIFResults {
			dropped++
			return
		}
		id := ruleID(f.Rule)
		ix, ok := rules[id]
		if !ok {
			ix = len(rules)
			rules[id] = ix
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: id, Short: sarifMessage{ruleText(id)}})
		}
		res := sarifResult{RuleID: id, RuleIndex: ix, Level: "error"}
		if f.Effect == trust.EffectWarn {
			res.Level = "warning"
		}
		loc, purl, pkg := f.Location, "", ""
		msg := Clean(f.Message)
		if c != nil {
			purl, pkg = c.Release.PURL(), c.Release.Package.PURL()
			msg = Clean(purl) + ": " + msg
			if loc.Path == "" {
				loc = place(*c)
			}
			res.Properties = map[string]any{"purl": Clean(purl), "verdict": c.Verdict, "assurance": c.Assurance.String(), "continuity": c.Continuity}
		}
		if f.Remedy != "" {
			msg += "\nNext: " + Clean(f.Remedy)
		}
		res.Message = sarifMessage{msg}
		if loc.Path == "" {
			loc = trust.Location{Path: fallback}
		}
		phys := sarifPhysical{Artifact: artifactLocation(loc.Path)}
		if loc.Line > 0 {
			phys.Region = &sarifRegion{StartLine: loc.Line}
		}
		res.Locations = []sarifLocation{{phys}}
		// The package without its version, so that a finding keeps its history while
		// lines move and versions go up.
		sum := sha256.Sum256([]byte(strings.Join([]string{id, pkg, loc.Path}, "\x00")))
		res.Fingerprints = map[string]string{"headgate/v1": hex.EncodeToString(sum[:16])}
		if !f.Counts() {
			res.Suppressions = []sarifSuppression{{Kind: "external", Justification: Clean(f.Waived)}}
		}
		run.Results = append(run.Results, res)
	}
	for _, f := range r.Findings {
		add(nil, f)
	}
	// What stops the change comes first, so that the bound never hides it.
	for _, stopping := range []bool{true, false} {
		for i := range r.Components {
			c := &r.Components[i]
			for _, f := range c.Findings {
				if (f.Counts() && f.Effect != trust.EffectWarn) == stopping {
					add(c, f)
				}
			}
		}
	}
	if dropped > 0 {
		inv.Notifications = append(inv.Notifications, sarifNotification{Level: "warning",
			Message: sarifMessage{count(dropped, "result", "results") + " left out: one run holds no more; the json report has all"}})
	}
	run.Invocations = []sarifInvocation{inv}
	run.BaseIDs = map[string]any{"SRCROOT": map[string]any{"description": sarifMessage{"The root of the checked source."}}}
	return encode(w, sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

// artifactLocation makes a relative URI reference of a path inside the source.
// Paths that lead out of it are cut to what is inside.
func artifactLocation(p string) sarifArtifact {
	p = strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(Clean(p), `\`, "/")), "/")
	if p == "" {
		p = "."
	}
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	// A colon in the first segment would be read as a scheme.
	parts[0] = strings.ReplaceAll(parts[0], ":", "%3A")
	return sarifArtifact{URI: strings.Join(parts, "/"), URIBaseID: "SRCROOT"}
}

// ruleID keeps rule names to what SARIF consumers show and filter by.
func ruleID(rule string) string {
	id := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || r == '.' || r == '/' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, clean(rule, 100))
	if id == "" {
		return "unnamed"
	}
	return id
}

func ruleText(id string) string {
	return "headgate rule " + strings.Join(slices.DeleteFunc(strings.Split(id, "-"), func(s string) bool { return s == "" }), " ")
}
