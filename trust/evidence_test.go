package trust

import (
	"strings"
	"testing"
	"time"
)

// TestConclusion: what a person decides on changes the conclusion; how and when
// it was learnt does not.
func TestConclusion(t *testing.T) {
	rel, err := NewRelease("npm", "", "widget", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	base := Evidence{Check: CheckProvenance, Outcome: Verified, Release: rel, Assurance: AssuranceProvenance, PredicateType: "https://slsa.dev/provenance/v1",
		Artifact: Artifact{Name: "widget-1.0.0.tgz", URL: "https://a.example/widget", Digests: Digests{DigestOf(SHA256, []byte(strings.Repeat("a", 32)))}},
		Signer:   &Signer{Kind: SignerSigstore, Issuer: GitHubIssuer, SourceRepository: "https://github.com/acme/widget", SourceRepositoryID: "1", SourceOwnerID: "2", Workflow: ".github/workflows/release.yml"}}
	for name, c := range map[string]struct {
		change func(*Evidence)
		same   bool
	}{
		"time":       {func(e *Evidence) { e.SignedAt = time.Unix(1, 0) }, true},
		"words":      {func(e *Evidence) { e.Detail, e.Remedy = "other words", "other" }, true},
		"tree head":  {func(e *Evidence) { e.Raw = []Raw{NewRaw("note", "", []byte("x"))}; e.Logs = []LogEntry{{Log: "x"}} }, true},
		"root":       {func(e *Evidence) { e.Root = DigestOf(SHA256, []byte(strings.Repeat("b", 32))) }, true},
		"mirror":     {func(e *Evidence) { e.Source, e.Artifact.URL = "https://b.example", "https://b.example/widget" }, true},
		"transfer":   {func(e *Evidence) { e.Signer.SourceRepository = "https://github.com/acme-inc/widget" }, true},
		"check":      {func(e *Evidence) { e.Check = CheckPublish }, false},
		"outcome":    {func(e *Evidence) { e.Outcome = Failed }, false},
		"reason":     {func(e *Evidence) { e.Reason = ReasonBadSignature }, false},
		"version":    {func(e *Evidence) { e.Release.Version = "1.0.1" }, false},
		"bytes":      {func(e *Evidence) { e.Artifact.Digests = Digests{DigestOf(SHA256, []byte(strings.Repeat("c", 32)))} }, false},
		"file":       {func(e *Evidence) { e.Artifact.Name = "other.tgz" }, false},
		"assurance":  {func(e *Evidence) { e.Assurance = AssuranceRegistry }, false},
		"predicate":  {func(e *Evidence) { e.PredicateType = "x" }, false},
		"builder":    {func(e *Evidence) { e.Builder = "x" }, false},
		"owner":      {func(e *Evidence) { e.Signer.SourceOwnerID = "3" }, false},
		"repository": {func(e *Evidence) { e.Signer.SourceRepositoryID = "3" }, false},
		"workflow":   {func(e *Evidence) { e.Signer.Workflow = ".github/workflows/x.yml" }, false},
		"nobody":     {func(e *Evidence) { e.Signer = nil }, false},
	} {
		e := base
		s := *base.Signer
		e.Signer = &s
		c.change(&e)
		if (e.Conclusion() == base.Conclusion()) != c.same {
			t.Errorf("%s: same is %v, want %v", name, !c.same, c.same)
		}
	}
	two := []Evidence{base, {Check: CheckBytes, Outcome: Verified, Release: rel}, base}
	if got := Conclusions(two); len(got) != 2 || got[0] >= got[1] {
		t.Errorf("conclusions %v", got)
	}
	if len(Conclusions(nil)) != 0 {
		t.Error("nothing concludes in something")
	}
}
