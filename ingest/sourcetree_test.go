package ingest

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestSourcesOf: what is signed about these very bytes names the source alone;
// everything else is a hint and says so.
func TestSourcesOf(t *testing.T) {
	r, err := trust.ParseRelease("pkg:npm/a@1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	artifact := func(hex string) trust.Artifact {
		d, err := trust.NewDigest(trust.SHA256, strings.Repeat(hex, 32))
		if err != nil {
			t.Fatal(err)
		}
		return trust.Artifact{Digests: trust.Digests{d}}
	}
	ours, signed, record, own := artifact("aa"), strings.Repeat("1", 40), strings.Repeat("2", 40), strings.Repeat("3", 40)
	evidence := func(check trust.Check, o trust.Outcome, a trust.Artifact) trust.Evidence {
		return trust.Evidence{Check: check, Outcome: o, Release: r, Artifact: a, Signer: &trust.Signer{SourceRepository: "https://git.example.com/a/signed", Commit: signed}}
	}
	for what, tc := range map[string]struct {
		e    trust.Evidence
		want string
	}{
		"signed":               {evidence(trust.CheckProvenance, trust.Verified, ours), signed},
		"about another file":   {evidence(trust.CheckProvenance, trust.Verified, artifact("bb")), record + " " + own},
		"not verified":         {evidence(trust.CheckProvenance, trust.Failed, ours), record + " " + own},
		"no provenance":        {evidence(trust.CheckPublish, trust.Verified, ours), record + " " + own},
		"about no file at all": {evidence(trust.CheckProvenance, trust.Verified, trust.Artifact{}), record + " " + own},
	} {
		it := &item{in: policies.Input{Component: sbom.Component{Release: r}, Evidence: []trust.Evidence{tc.e}, Facts: trust.Facts{Repository: "https://git.example.com/a/claimed", VCSCommit: record}}}
		var got []string
		for _, s := range sourcesOf(it, ours, &inspect.Report{Commit: own}) {
			got = append(got, s.Commit)
			if s.Signed != (s.Commit == signed) || !s.Signed && !strings.Contains(s.By, "unsigned") {
				t.Errorf("%s: %+v", what, s)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %v, want %s", what, got, tc.want)
		}
	}
}
