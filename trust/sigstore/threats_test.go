package sigstore_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// TestThreat003EachCheckAlone: everything is sound but for one thing that is
// expected, and whatever it is, nothing is returned. TestThreat002 does the same
// for each part of the bundle.
func TestThreat003EachCheckAlone(t *testing.T) {
	s := newSetup(t)
	other := digests([]byte("other"))
	exact := func(issuer, san string) sigstore.Identity {
		id, err := sigstore.ExactIdentity(issuer, san)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	sound := sigstoretest.Options{Statement: provenance()}
	as := func(f sigstoretest.Workflow) sigstoretest.Options {
		return sigstoretest.Options{Identity: f.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, f.Provenance1(), sigstoretest.SubjectOf(subject, artifact))}
	}
	for name, c := range map[string]struct {
		opts sigstoretest.Options
		edit func(*sigstore.Expectation)
		want trust.Reason
	}{
		"digest":     {sound, func(x *sigstore.Expectation) { x.Artifact = other }, trust.ReasonWrongDigest},
		"one digest": {sound, func(x *sigstore.Expectation) { x.Artifact = trust.Digests{x.Artifact[0], other[1]} }, trust.ReasonWrongDigest},
		"name":       {sound, func(x *sigstore.Expectation) { x.SubjectName = named("pkg:npm/widget@1.0.1") }, trust.ReasonWrongName},
		"subjects": {sound, func(x *sigstore.Expectation) {
			x.CheckSubjects = func([]sigstore.Subject) error { return errors.New("no") }
		}, trust.ReasonWrongSubject},
		"predicate type": {sound, func(x *sigstore.Expectation) { x.PredicateTypes = []string{sigstore.PredicateVSA} }, trust.ReasonWrongPredicate},
		"subject name": {sound, func(x *sigstore.Expectation) {
			x.Identity = exact(trust.GitHubIssuer, sigstoretest.Workflow{}.SAN()+"x")
		}, trust.ReasonUntrustedSigner},
		"issuer": {sound, func(x *sigstore.Expectation) {
			x.Identity = exact(trust.GitHubIssuer+"/", sigstoretest.Workflow{}.SAN())
		}, trust.ReasonUntrustedSigner},
		"kind of signer": {sound, func(x *sigstore.Expectation) { x.Identity = sigstore.KeyIdentity() }, ""},
		"ref":            {as(sigstoretest.Workflow{Ref: "refs/pull/7/merge", Trigger: "pull_request"}), func(*sigstore.Expectation) {}, trust.ReasonUntrustedRef},
		"runner":         {as(sigstoretest.Workflow{Runner: "self-hosted"}), func(*sigstore.Expectation) {}, trust.ReasonUntrustedRef},
		"nothing":        {sound, func(*sigstore.Expectation) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := keylessWant()
			c.edit(&x)
			got, err := s.keyless.Verify(s.Bundle(c.opts), x)
			if name == "nothing" {
				if err != nil || got.IsZero() {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !got.IsZero() || got.Raw() != nil || got.Signer() != (trust.Signer{}) {
				t.Fatalf("something came back: %v", err)
			}
			if _, r := sigstore.Classify(err); c.want != "" && r != c.want {
				t.Errorf("%s, expected %s: %v", r, c.want, err)
			}
		})
	}
}

// TestThreat004EntryOfTheSameKey: the log holds entries of one key for two
// artifacts; only the one that commits to this artifact counts for it.
func TestThreat004EntryOfTheSameKey(t *testing.T) {
	s := newSetup(t)
	want := func(b []byte) sigstore.Expectation {
		return sigstore.Expectation{Artifact: digests(b), MessageSignature: true, Identity: sigstore.KeyIdentity()}
	}
	second := []byte("a second artifact")
	for _, v2 := range []bool{false, true} {
		docs := [2]map[string]any{}
		for i, b := range [][]byte{artifact, second} {
			raw := s.Bundle(sigstoretest.Options{Artifact: b, Key: s.NPM, LogV2: v2})
			if _, err := s.keyed.Verify(raw, want(b)); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(raw, &docs[i]); err != nil {
				t.Fatal(err)
			}
		}
		entries := func(i int) []any { return docs[i]["verificationMaterial"].(map[string]any)["tlogEntries"].([]any) }
		own, foreign := entries(0), entries(1)
		for name, list := range map[string][]any{"the other's": foreign, "both, the other's first": {foreign[0], own[0]}} {
			docs[0]["verificationMaterial"].(map[string]any)["tlogEntries"] = list
			raw, err := json.Marshal(docs[0])
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.keyed.Verify(raw, want(artifact)); err == nil || !got.IsZero() {
				t.Errorf("log v2 %t, entries: %s: verified", v2, name)
			}
		}
	}
}
