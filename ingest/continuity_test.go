package ingest_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// told is a release as a fake upstream shows it.
type told struct {
	version string
	days    int // since its publication
	signers []trust.Signer
}

// tell is the evidence about a release, and what upstream shows of the others.
func tell(upstream map[string]told, c sbom.Component) adapter.Result {
	r := upstream[c.Release.Version]
	art := c.Artifacts[0]
	res := adapter.Result{Facts: trust.Facts{Published: now.AddDate(0, 0, -r.days), Repository: "https://github.com/acme/widget"}}
	res.Evidence = append(res.Evidence, trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Verified, Release: c.Release, Artifact: art})
	best := func(ss []trust.Signer) trust.Assurance {
		a := trust.AssuranceNone
		for _, s := range ss {
			a = max(a, levelOf(s))
		}
		return a
	}
	for _, s := range r.signers {
		e := trust.Evidence{Outcome: trust.Verified, Release: c.Release, Artifact: art, Assurance: levelOf(s), Signer: &s}
		switch {
		case s.Kind == trust.SignerRegistry:
			e.Check = trust.CheckRegistrySig
		case s.IsWorkflow():
			e.Check, e.PredicateType = trust.CheckProvenance, "https://slsa.dev/provenance/v1"
		default:
			e.Check = trust.CheckPublisherSig
		}
		res.Evidence = append(res.Evidence, e)
	}
	if len(r.signers) == 0 {
		res.Evidence = append(res.Evidence, trust.Evidence{Check: trust.CheckRegistrySig, Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Release: c.Release, Artifact: art})
	}
	for v, o := range upstream {
		if v != c.Release.Version && o.days > r.days {
			res.History = append(res.History, trust.History{Version: v, Published: now.AddDate(0, 0, -o.days), Assurance: best(o.signers), Claimed: best(o.signers), Signers: o.signers})
		}
	}
	return res
}

func levelOf(s trust.Signer) trust.Assurance {
	switch {
	case s.Kind == trust.SignerRegistry:
		return trust.AssuranceRegistry
	case s.IsWorkflow():
		return trust.AssuranceProvenance
	}
	return trust.AssurancePublisher
}

func workflowOf(repo, id, owner, file string) trust.Signer {
	u := "https://github.com/" + repo
	return trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SAN: u + "/" + file + "@refs/tags/v1", SourceRepository: u, SourceRepositoryID: id, SourceOwnerID: owner, Workflow: file}
}

// TestContinuityThroughTheGate: a package is introduced as it is, then a release
// follows: with the baseline policy, the real store and the real comparison, each
// change that must stop does, with both identities in the finding, and no other.
func TestContinuityThroughTheGate(t *testing.T) {
	mine := workflowOf("acme/widget", "1001", "501", ".github/workflows/release.yml")
	publish := workflowOf("acme/widget", "1001", "501", ".github/workflows/publish.yml")
	renamed := workflowOf("acme-inc/widget", "1001", "501", ".github/workflows/release.yml")
	elsewhere := workflowOf("stranger/widget", "2002", "902", ".github/workflows/release.yml")
	sameName := workflowOf("acme/widget", "3003", "903", ".github/workflows/release.yml")
	npm := trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("aa", 32)}
	npm2 := trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("bb", 32)}
	person := trust.Signer{Kind: trust.SignerSigstore, Issuer: "https://accounts.example.com", SAN: "dev@example.com"}
	key := trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: strings.Repeat("AB", 20)}
	ss := func(s ...trust.Signer) []trust.Signer { return s }
	for _, tc := range []struct {
		name   string
		before []told
		next   told
		rule   string // that holds; empty for allow
		class  trust.Continuity
		says   []string // what the finding names
	}{
		{"back-port on an older line that never had provenance", []told{{"1.0.0", 400, ss(npm)}, {"2.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm)}, "", trust.ContinuitySame, nil},
		{"token publishing to provenance", []told{{"1.0.0", 100, ss(npm)}}, told{"1.0.1", 20, ss(npm, mine)}, "", trust.ContinuityStronger, nil},
		{"new workflow file of the same repository", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, publish)}, "", trust.ContinuityWorkflowChanged, []string{"publish.yml", "release.yml"}},
		{"renamed repository, ids the same", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, renamed)}, "", trust.ContinuitySame, nil},
		{"rotated registry key", []told{{"1.0.0", 100, ss(npm)}}, told{"1.0.1", 20, ss(npm2)}, "", trust.ContinuitySame, nil},
		{"second signer beside the known one", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, mine, publish)}, "", trust.ContinuitySame, nil},

		{"provenance lost on the same line", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm)}, "provenance-lost", trust.ContinuityProvenanceLost, []string{"acme/widget", "registry npm"}},
		{"another repository", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, elsewhere)}, "repository-moved", trust.ContinuityRepositoryMoved, []string{"acme/widget", "stranger/widget"}},
		{"another owner behind the same name", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, sameName)}, "publisher-changed", trust.ContinuityPublisherChanged, []string{"501", "903"}},
		{"a person where a workflow signed", []told{{"1.0.0", 100, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, person)}, "publisher-changed", trust.ContinuityPublisherChanged, []string{"acme/widget", "dev@example.com"}},
		{"after a long silence by a new signer", []told{{"1.0.0", 900, ss(npm, mine)}}, told{"1.0.1", 20, ss(npm, elsewhere)}, "repository-moved", trust.ContinuityRepositoryMoved, []string{"stranger/widget", "days of silence"}},
		{"a publisher's signature is gone", []told{{"1.0.0", 100, ss(npm, key)}}, told{"1.0.1", 20, ss(npm)}, "unsigned-now", trust.ContinuityUnsignedNow, []string{"OpenPGP ABAB", "registry npm"}},
		{"unsigned after signed", []told{{"1.0.0", 100, ss(npm)}}, told{"1.0.1", 20, nil}, "unsigned-now", trust.ContinuityUnsignedNow, []string{"registry npm"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			upstream := map[string]told{tc.next.version: tc.next}
			var here []sbom.Component
			for _, r := range tc.before {
				upstream[r.version] = r
				here = append(here, comp(t, "pkg:npm/widget@"+r.version))
			}
			a := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
				return tell(upstream, q.Component), nil
			}}
			s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "trust.db"), store.Options{Create: true, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			g := gate(t, a, nil)
			g.Memory, g.Continuity = s, ingest.CompareSigners
			check(t, g, ingest.Request{Inventory: inventory(here...), Baseline: ingest.BaselineReached})
			r := check(t, g, ingest.Request{Inventory: inventory(comp(t, "pkg:npm/widget@"+tc.next.version)), Base: inventory(here...), BaseInfo: &ingest.Base{Kind: "sbom", Name: "base"}})
			k := r.Components[0]
			if k.Continuity != tc.class {
				t.Errorf("continuity %s (%s), want %s", k.Continuity, k.ContinuityNote, tc.class)
			}
			want := trust.Allow
			if tc.rule != "" {
				want = trust.Hold
			}
			if k.Verdict != want {
				t.Errorf("verdict %s, want %s: %+v", k.Verdict, want, k.Findings)
			}
			if len(tc.says) == 0 {
				for _, f := range k.Findings {
					t.Errorf("a finding where none belongs: %s: %s", f.Rule, f.Message)
				}
				return
			}
			message := ""
			for _, f := range k.Findings {
				if f.Rule == string(tc.class) {
					message = f.Message
				}
			}
			for _, w := range tc.says {
				if !strings.Contains(message, w) {
					t.Errorf("the finding does not name %q: %q", w, message)
				}
			}
		})
	}
}
