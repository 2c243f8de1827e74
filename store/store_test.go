package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

// clock is a clock that tests move by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{t: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

// newStore makes an empty store that is checked when the test ends.
func newStore(t testing.TB) (*Store, *clock) {
	t.Helper()
	c := newClock()
	s := openAt(t, filepath.Join(t.TempDir(), "trust.db"), Options{Create: true, Now: c.now})
	return s, c
}

func openAt(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func release(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func digest(s string) trust.Digest { return trust.NewRaw("", "", []byte(s)).Digest }

// workflow is a Sigstore identity of a CI workflow of owner/repo.
func workflow(owner, repo string) trust.Signer {
	return trust.Signer{
		Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SAN: "https://github.com/" + owner + "/" + repo + "/.github/workflows/release.yml@refs/tags/v1",
		SourceRepository: "https://github.com/" + owner + "/" + repo, SourceRepositoryID: "id-" + owner + "-" + repo,
		SourceOwner: "https://github.com/" + owner, SourceOwnerID: "id-" + owner, Workflow: ".github/workflows/release.yml",
	}
}

func artifact(s string) trust.Artifact {
	return trust.Artifact{Digests: trust.Digests{digest(s)}}
}

// evidence is verified provenance of r by s with its judged bytes.
func evidence(r trust.Release, s trust.Signer) trust.Evidence {
	return trust.Evidence{
		Check: trust.CheckProvenance, Outcome: trust.Verified, Release: r, Artifact: artifact("bytes of " + r.PURL()), Signer: &s,
		Assurance: trust.AssuranceProvenance, Raw: []trust.Raw{trust.NewRaw("bundle", "application/json", []byte("bundle of "+r.PURL()))},
	}
}

func decision(r trust.Release, s trust.Signer) Decision {
	return Decision{
		Release: r, Artifacts: []trust.Artifact{artifact("bytes of " + r.PURL())}, Verdict: trust.Allow, Assurance: trust.AssuranceProvenance,
		Continuity: trust.ContinuityFirst, Evidence: []trust.Evidence{evidence(r, s)}, Signers: []trust.Signer{s}, Input: []byte(`{"input":"` + r.PURL() + `"}`),
	}
}

func known(r trust.Release, s trust.Signer) KnownRelease {
	return KnownRelease{Release: r, Artifacts: []trust.Artifact{artifact("bytes of " + r.PURL())}, Assurance: trust.AssuranceProvenance, Signers: []trust.Signer{s}, Verdict: trust.Allow}
}

func acceptance(s trust.Signer, scope string) Acceptance {
	return Acceptance{Signer: s, Scope: Scope(scope), By: "alice", Reason: "reviewed"}
}

func commit(t testing.TB, n int, salt string) Commit {
	t.Helper()
	c := Commit{Run: Run{Command: "check", Source: "dir:.", Verdict: trust.Allow, Requester: "ci"}}
	for i := range n {
		r := release(t, fmt.Sprintf("pkg:npm/%%40org/p%s%d@1.0.%d", salt, i, i))
		sg := workflow("org", "repo")
		c.Decisions = append(c.Decisions, decision(r, sg))
		c.Pin = append(c.Pin, known(r, sg))
	}
	if n > 0 {
		a := acceptance(workflow("org", "repo"), "pkg:npm/@org/*")
		a.Automatic = true
		c.Accept = append(c.Accept, a)
	}
	return c
}

func TestRecordAndRead(t *testing.T) {
	ctx := context.Background()
	s, clk := newStore(t)
	c := commit(t, 3, "")
	rec, err := s.Record(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if rec.LogSize != 1+3+1+3 || len(rec.DecisionIDs) != 3 {
		t.Fatalf("recorded %+v", rec)
	}
	d, run, err := s.Decision(ctx, rec.DecisionIDs[1][:10])
	if err != nil {
		t.Fatal(err)
	}
	want := c.Decisions[1]
	if d.Release != want.Release || run.ID != rec.RunID || len(d.Evidence) != 1 || d.Evidence[0].ID() != want.Evidence[0].ID() || string(d.Input) != string(want.Input) || !d.At.Equal(clk.t) {
		t.Fatalf("read back %+v", d)
	}
	ev, err := s.Evidence(ctx, []trust.Release{want.Release})
	if err != nil || len(ev[want.Release]) != 1 || ev[want.Release][0].RunID != rec.RunID {
		t.Fatalf("evidence %+v, %v", ev, err)
	}
	raw, err := s.Blob(ctx, want.Evidence[0].Raw[0].Digest)
	if err != nil || string(raw) != "bundle of "+want.Release.PURL() {
		t.Fatalf("blob %q, %v", raw, err)
	}
	if _, err := s.Blob(ctx, digest("other")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown blob: %v", err)
	}
	kn, err := s.Known(ctx, []trust.Package{want.Release.Package})
	if err != nil || len(kn[want.Release.Package]) != 1 || !kn[want.Release.Package][0].First.Equal(clk.t) {
		t.Fatalf("known %+v, %v", kn, err)
	}
	seen, err := s.Seen(ctx, []trust.Release{want.Release})
	if err != nil || len(seen[want.Release]) != 1 || seen[want.Release][0].Decision != d.ID {
		t.Fatalf("seen %+v, %v", seen, err)
	}
	ds, err := s.Decisions(ctx, DecisionFilter{Package: want.Release.Package})
	if err != nil || len(ds) != 1 || ds[0].ID != d.ID {
		t.Fatalf("decisions %+v, %v", ds, err)
	}
	check(t, s)
	proof, err := s.Prove(ctx, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := VerifyProof(proof, s.VerifierKey())
	if err != nil || p.Leaf.ID != d.ID {
		t.Fatalf("proof %+v, %v", p, err)
	}
}

func check(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
