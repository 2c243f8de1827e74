package npm

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestThreat061WhatWasLookedFor: whatever a registry offers, the evidence names each
// check that was made and says why one has nothing to show.
func TestThreat061WhatWasLookedFor(t *testing.T) {
	for what, c := range map[string]struct {
		release release
		config  func(*Options)
	}{
		"all":                {release{name: "a", version: "1.0.0", attest: true}, nil},
		"signatures alone":   {release{name: "a", version: "1.0.0"}, nil},
		"attestations alone": {release{name: "a", version: "1.0.0", attest: true, unsigned: true}, nil},
		"nothing":            {release{name: "a", version: "1.0.0", unsigned: true}, nil},
		"no keys pinned":     {release{name: "a", version: "1.0.0", attest: true}, func(o *Options) { o.Config.Public = "https://public.example.com/" }},
	} {
		g, a := setup(t, c.config)
		g.add(c.release)
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
		for _, check := range []trust.Check{trust.CheckMetadata, trust.CheckLockfile, trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance} {
			e := find(res, check)
			if e.Check == "" {
				t.Errorf("%s: nothing is said of %s", what, check)
			} else if e.Outcome != trust.Verified && (e.Reason == "" || e.Detail == "") {
				t.Errorf("%s: %s is %s without a reason", what, check, e.Outcome)
			}
		}
	}
}

// TestThreat073SBOMHashIsAClaim: a hash in an SBOM is held against what is signed,
// and one beside a git dependency, which nobody signs, counts for nothing.
func TestThreat073SBOMHashIsAClaim(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	wrong := component(t, "a", "1.0.0", sri([]byte("what the SBOM claims")), "")
	wrong.Locations = []trust.Location{{Path: "bom.cdx.json"}}
	res := g.collect(a, wrong, 0)
	expect(t, res, trust.CheckLockfile, trust.Failed, trust.ReasonWrongDigest)
	expect(t, res, trust.CheckRegistrySig, trust.Failed, trust.ReasonWrongDigest)

	git := component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), "")
	git.Kind, git.Origin, git.Commit, git.Pinned = sbom.KindGit, "https://git.example.com/o/a.git", strings.Repeat("a", 40), true
	for _, e := range g.collect(a, git, 0).Evidence {
		if e.Outcome == trust.Verified || e.Assurance > trust.AssuranceNone {
			t.Errorf("a git dependency's hash became evidence: %+v", e)
		}
	}
}

// TestThreat080NoCommonAlgorithm: a strong digest here and a weak one there cannot
// be compared, and that is no agreement.
func TestThreat080NoCommonAlgorithm(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", edit: func(rec obj, _ *[]any) {
		dist := rec["dist"].(obj)
		delete(dist, "integrity")
		dist["shasum"] = strings.Repeat("ab", 20)
	}})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	for _, e := range res.Evidence {
		if e.Outcome == trust.Verified && e.Check != trust.CheckMetadata {
			t.Errorf("%s is verified: %s", e.Check, e.Detail)
		}
	}
	if e := find(res, trust.CheckLockfile); e.Outcome != trust.Unreachable && e.Outcome != trust.Failed {
		t.Errorf("lock file: %s %s", e.Outcome, e.Detail)
	}
}

// TestThreat051LastOfATypeDoesNotWin: of two attestations of one type, good or bad,
// in either order, neither counts.
func TestThreat051LastOfATypeDoesNotWin(t *testing.T) {
	for _, badFirst := range []bool{true, false} {
		g, a := setup(t, nil)
		g.add(release{name: "other", version: "1.0.0", attest: true})
		var bad any
		g.add(release{name: "b", version: "1.0.0", attest: true, edit: func(_ obj, doc *[]any) { bad = (*doc)[1] }})
		g.add(release{name: "a", version: "1.0.0", attest: true, edit: func(_ obj, doc *[]any) {
			if badFirst {
				*doc = append([]any{bad}, *doc...)
			} else {
				*doc = append(*doc, bad)
			}
		}})
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
		expect(t, res, trust.CheckProvenance, trust.Failed, trust.ReasonDuplicate)
	}
}

func bytesOf(t *testing.T, a *Adapter, c sbom.Component) adapter.Result {
	res, err := a.Collect(t.Context(), adapter.Request{Component: c, Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestThreat078OtherBytesThanLocked: what the registry serves must be what the lock
// file and the signature name; nothing is handed out otherwise.
func TestThreat078OtherBytesThanLocked(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	c := component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), "")
	if e := find(bytesOf(t, a, c), trust.CheckBytes); e.Outcome != trust.Verified {
		t.Fatalf("right bytes: %+v", e)
	}
	for name := range g.docs {
		if strings.HasSuffix(name, ".tgz") {
			g.docs[name] = []byte("other bytes")
		}
	}
	a.Forget()
	if e := find(bytesOf(t, a, c), trust.CheckBytes); e.Outcome != trust.Failed || e.Reason != trust.ReasonWrongDigest {
		t.Errorf("other bytes: %+v", e)
	}
	if b, err := a.Fetch(t.Context(), c, c.Artifacts[0]); err == nil {
		b.Close()
		t.Error("other bytes were handed out")
	}
}
