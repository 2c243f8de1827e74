package policies

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestMisleadingComment: people review the version in the comment, the runner
// takes the commit.
func TestMisleadingComment(t *testing.T) {
	commit := strings.Repeat("a", 40)
	for what, c := range map[string]struct {
		claim string
		tags  []string
		at    string // the commit that upstream was asked about
		hold  string // "" for none
	}{
		"exact":                     {"v4.1.1", []string{"v4.1.1", "v4"}, commit, ""},
		"without v":                 {"4.1.1", []string{"v4.1.1"}, commit, ""},
		"with v":                    {"v4.1.1", []string{"4.1.1"}, commit, ""},
		"major of an exact tag":     {"v4", []string{"v4.1.1"}, commit, ""},
		"minor of an exact tag":     {"v4.1", []string{"v4.1.1"}, commit, ""},
		"tag of a part":             {"v2.0.0", []string{"part/v2.0.0"}, commit, ""},
		"other version":             {"v4.2.0", []string{"v4.1.1", "v4"}, commit, "calls the commit v4.2.0, and upstream's tags call it v4.1.1, v4"},
		"major of another":          {"v4", []string{"v41.0.0"}, commit, "call it v41.0.0"},
		"exact, but only the major": {"v4.1.1", []string{"v4"}, commit, "call it v4"},
		"no tag at all":             {"v4.1.1", nil, commit, "no tag of upstream leads to it"},
		"major between releases":    {"v4", nil, commit, ""},
		"upstream was not asked":    {"v4.1.1", nil, "", ""},
		"upstream said of another":  {"v4.1.1", []string{"v9"}, strings.Repeat("b", 40), ""},
		"nothing claimed":           {"", []string{"v9"}, commit, ""},
	} {
		in := healthy(t)
		in.Component.Commit, in.Facts.VCSCommit, in.Facts.VCSTags = commit, c.at, c.tags
		in.Component.Expect = []map[string]string{{"kind": "openpgp"}, {"kind": sbom.ExpectVersion, "version": c.claim}}
		o := builtin(t, "baseline").Evaluate(context.Background(), in)
		i := slices.IndexFunc(o.Findings, func(f trust.Finding) bool { return f.Rule == "misleading-comment" })
		switch {
		case (i >= 0) != (c.hold != ""):
			t.Errorf("%s: %s %+v", what, o.Verdict, o.Findings)
		case i >= 0 && (!strings.Contains(o.Findings[i].Message, c.hold) || o.Verdict != trust.Hold):
			t.Errorf("%s: %s: %s", what, o.Verdict, o.Findings[i].Message)
		}
	}
}
