package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

func accept(t testing.TB, s *Store, as ...Acceptance) []string {
	t.Helper()
	ids, err := s.Accept(t.Context(), as)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func standing(t testing.TB, s *Store, purl string, sg trust.Signer) Standing {
	t.Helper()
	p := release(t, purl).Package
	m, err := s.AcceptancesFor(t.Context(), []trust.Package{p})
	if err != nil {
		t.Fatal(err)
	}
	st, _ := Judge(m[p], p, sg, s.now())
	return st
}

func TestAcceptRevokeReinstate(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	sg := workflow("org", "repo")
	a := acceptance(sg, "pkg:npm/@org/*")
	id := accept(t, s, a)[0]
	if again := accept(t, s, a)[0]; again != id {
		t.Fatalf("accepted twice as %s and %s", id, again)
	}
	if n, _ := s.LogSize(ctx); n != 1 {
		t.Fatalf("an acceptance that changed nothing was logged: %d entries", n)
	}
	if st := standing(t, s, "pkg:npm/%40org/x", sg); st != StandingAccepted {
		t.Fatal(st)
	}
	if st := standing(t, s, "pkg:npm/%40org-evil/x", sg); st != StandingUnknown {
		t.Fatal(st)
	}
	if _, err := s.Revoke(ctx, id[:8], "bob", "stolen key"); err != nil {
		t.Fatal(err)
	}
	if st := standing(t, s, "pkg:npm/%40org/x", sg); st != StandingRevoked {
		t.Fatal(st)
	}
	if _, err := s.Accept(ctx, []Acceptance{a}); !errors.Is(err, ErrRevoked) || !strings.Contains(err.Error(), "stolen key") {
		t.Fatalf("accepted again in silence: %v", err)
	}
	auto := a
	auto.Automatic = true
	c := commit(t, 1, "")
	c.Accept = []Acceptance{auto}
	if _, err := s.Record(ctx, c); !errors.Is(err, ErrRevoked) {
		t.Fatalf("a run lifted the revocation: %v", err)
	}
	if ds, err := s.Decisions(ctx, DecisionFilter{}); err != nil || len(ds) != 0 {
		t.Fatalf("the refused run was recorded in part: %d, %v", len(ds), err)
	}
	a.Reinstate = true
	clk.t = clk.t.Add(time.Hour)
	accept(t, s, a)
	if st := standing(t, s, "pkg:npm/%40org/x", sg); st != StandingAccepted {
		t.Fatal(st)
	}
	es, err := s.LogEntries(ctx, LogFilter{ID: id})
	if err != nil || len(es) != 3 || es[0].Leaf.Op != "accept" || es[1].Leaf.Op != "revoke" || es[1].Leaf.By != "bob" || es[2].Leaf.Op != "reinstate" {
		t.Fatalf("%+v, %v", es, err)
	}
	check(t, s)
}

// What people decided is not changed by what a run accepts by itself.
func TestAutomaticNeverChangesPeoplesWord(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	sg := workflow("org", "repo")
	a := acceptance(sg, "pkg:npm/x")
	a.Until = clk.t.Add(time.Hour)
	id := accept(t, s, a)[0]
	auto := acceptance(sg, "pkg:npm/x")
	auto.Automatic, auto.By = true, "baseline"
	accept(t, s, auto)
	as, err := s.Acceptances(ctx, AcceptanceFilter{ID: id})
	if err != nil || as[0].By != "alice" || !as[0].Until.Equal(a.Until) {
		t.Fatalf("%+v, %v", as, err)
	}
	if st := standing(t, s, "pkg:npm/x", sg); st != StandingAccepted {
		t.Fatal(st)
	}
	clk.t = a.Until.Add(-time.Millisecond)
	if st := standing(t, s, "pkg:npm/x", sg); st != StandingAccepted {
		t.Fatal(st)
	}
	clk.t = a.Until
	if st := standing(t, s, "pkg:npm/x", sg); st != StandingEnded {
		t.Fatal(st)
	}
	if _, err := s.Accept(ctx, []Acceptance{a}); err == nil {
		t.Fatal("an end in the past was accepted")
	}
	// A person takes over what was automatic, and may change the end.
	accept(t, s, acceptance(sg, "pkg:npm/x"))
	if st := standing(t, s, "pkg:npm/x", sg); st != StandingAccepted {
		t.Fatal(st)
	}
	check(t, s)
}

// A revocation wins over wider and narrower acceptances of the same signer, in
// its scope and only there.
func TestRevocationWins(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	sg := workflow("org", "repo")
	bound := acceptance(sg, "pkg:npm/@org/bound")
	bound.Workflow = true
	org := acceptance(trust.Signer{Kind: trust.SignerSigstore, Issuer: sg.Issuer, SourceOwnerID: sg.SourceOwnerID}, "source:https://github.com/org/*")
	ids := accept(t, s, acceptance(sg, "pkg:npm/*"), acceptance(sg, "pkg:npm/@org/*"), acceptance(sg, "pkg:npm/@org/a"), bound, org)
	if _, err := s.Revoke(ctx, ids[1], "bob", "lost the organisation"); err != nil {
		t.Fatal(err)
	}
	for purl, want := range map[string]Standing{
		"pkg:npm/%40org/a": StandingRevoked, "pkg:npm/%40org/b": StandingRevoked, "pkg:npm/%40org/bound": StandingRevoked,
		"pkg:npm/elsewhere": StandingAccepted, "pkg:pypi/x": StandingAccepted,
	} {
		if got := standing(t, s, purl, sg); got != want {
			t.Errorf("%s: %v, want %v", purl, got, want)
		}
	}
	// A later, wider acceptance does not help either.
	all := acceptance(sg, "*")
	all.UnsafeScope = true
	accept(t, s, all)
	if got := standing(t, s, "pkg:npm/%40org/a", sg); got != StandingRevoked {
		t.Error(got)
	}
	// Revoking by identity takes every acceptance of the signer, bound ones too.
	if _, err := s.Revoke(ctx, sg.ID(), "bob", "stolen"); err != nil {
		t.Fatal(err)
	}
	for _, purl := range []string{"pkg:npm/elsewhere", "pkg:npm/%40org/bound", "pkg:pypi/x"} {
		if got := standing(t, s, purl, sg); got != StandingRevoked {
			t.Errorf("%s: %v", purl, got)
		}
	}
	if got := standing(t, s, "pkg:pypi/x", workflow("org", "other")); got != StandingAccepted {
		t.Errorf("another repository of the organisation: %v", got)
	}
	if _, err := s.Revoke(ctx, "s-000000000000", "bob", "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Revoke(ctx, ids[0], "", "x"); err == nil {
		t.Error("revoked by nobody")
	}
	check(t, s)
}

// Two spellings of one identity are one; look-alikes are not.
func TestIdentity(t *testing.T) {
	s, _ := newStore(t)
	sg := workflow("org", "repo")
	accept(t, s, acceptance(sg, "pkg:npm/x"))
	moved := workflow("new-org", "new-name")
	moved.SourceRepositoryID, moved.SourceOwnerID = sg.SourceRepositoryID, sg.SourceOwnerID
	otherFlow, otherRef := sg, sg
	otherFlow.Workflow = ".github/workflows/other.yml"
	otherRef.SAN, otherRef.SourceRef = "https://x", "refs/tags/v9"
	reborn := sg
	reborn.SourceOwnerID = "id-somebody-else"
	otherIssuer := sg
	otherIssuer.Issuer = trust.GitHubIssuer + "/"
	noID := sg
	noID.SourceRepositoryID = ""
	for name, c := range map[string]struct {
		signer trust.Signer
		want   Standing
	}{
		"same": {sg, StandingAccepted}, "transferred": {moved, StandingAccepted}, "other workflow": {otherFlow, StandingAccepted}, "other ref": {otherRef, StandingAccepted},
		"re-registered owner": {reborn, StandingUnknown}, "other issuer": {otherIssuer, StandingUnknown}, "without ids": {noID, StandingUnknown},
		"other repo": {workflow("org", "repo2"), StandingUnknown}, "nobody": {trust.Signer{}, StandingUnknown},
		"personal": {trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SAN: sg.SAN}, StandingUnknown},
	} {
		if got := standing(t, s, "pkg:npm/x", c.signer); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	b := acceptance(sg, "pkg:npm/bound")
	b.Workflow = true
	accept(t, s, b)
	if got := standing(t, s, "pkg:npm/bound", otherFlow); got != StandingUnknown {
		t.Errorf("another workflow: %v", got)
	}
	if got := standing(t, s, "pkg:npm/bound", otherRef); got != StandingAccepted {
		t.Errorf("the workflow at another ref: %v", got)
	}
}

func TestAcceptRefuses(t *testing.T) {
	s, _ := newStore(t)
	sg := workflow("org", "repo")
	noIssuer, noOwner := sg, trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer}
	noIssuer.Issuer = ""
	key := trust.Signer{Kind: trust.SignerKey, KeyDigest: digest("k").Value}
	for name, a := range map[string]Acceptance{
		"no scope": acceptance(sg, ""), "bad scope": acceptance(sg, "npm/x"), "no issuer": acceptance(noIssuer, "pkg:npm/x"), "nobody": acceptance(trust.Signer{}, "pkg:npm/x"),
		"organisation without owner id": acceptance(noOwner, "source:https://github.com/org/*"), "foreign repository": acceptance(sg, "source:https://github.com/org/other"),
		"no reason":              {Signer: sg, Scope: "pkg:npm/x", By: "alice"},
		"no author":              {Signer: sg, Scope: "pkg:npm/x", Reason: "x"},
		"other identity":         {Signer: sg, Scope: "pkg:npm/x", By: "alice", Reason: "x", Identity: workflow("o", "r").Identity()},
		"other id":               {Signer: sg, Scope: "pkg:npm/x", By: "alice", Reason: "x", ID: "a-0000000000000000"},
		"workflow of a key":      {Signer: key, Scope: "pkg:npm/x", By: "alice", Reason: "x", Workflow: true},
		"long reason":            {Signer: sg, Scope: "pkg:npm/x", By: "alice", Reason: strings.Repeat("x", MaxText+1)},
		"revoked without reason": {Signer: sg, Scope: "pkg:npm/x", By: "alice", Reason: "x", Revoked: &Revocation{By: "bob"}},
	} {
		if _, err := s.Accept(t.Context(), []Acceptance{acceptance(sg, "pkg:npm/ok"), a}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if as, err := s.Acceptances(t.Context(), AcceptanceFilter{}); err != nil || len(as) != 0 {
		t.Fatalf("half of a refused call was recorded: %+v, %v", as, err)
	}
	a := acceptance(sg, "pkg:npm/ok")
	a.Reason = strings.Repeat("x", MaxText)
	accept(t, s, a)
}

func TestRevokeListsWhatItVouchedFor(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	c := commit(t, 5, "")
	other := release(t, "pkg:npm/%40org/other@1.0.0")
	c.Pin = append(c.Pin, known(other, workflow("x", "y")), known(release(t, "pkg:npm/outside@1.0.0"), workflow("org", "repo")))
	if _, err := s.Record(ctx, c); err != nil {
		t.Fatal(err)
	}
	affected, err := s.Revoke(ctx, workflow("org", "repo").ID(), "bob", "stolen")
	if err != nil || len(affected) != 5 || affected[0] != c.Pin[0].Release {
		t.Fatalf("%v, %v", affected, err)
	}
	again, err := s.Revoke(ctx, workflow("org", "repo").ID(), "eve", "me too")
	if err != nil || fmt.Sprint(again) != fmt.Sprint(affected) {
		t.Fatalf("%v, %v", again, err)
	}
	as, err := s.Acceptances(ctx, AcceptanceFilter{})
	if err != nil || len(as) != 1 || as[0].Revoked.By != "bob" {
		t.Fatalf("%+v, %v", as, err)
	}
	check(t, s)
}

// A revoked signer stays revoked in every open store and after reopening.
func TestThreat120RevokedStaysRevoked(t *testing.T) {
	ctx := t.Context()
	s, clk := newStore(t)
	sg := workflow("org", "repo")
	accept(t, s, acceptance(sg, "pkg:npm/x"))
	second := openAt(t, s.Path(), Options{Now: clk.now})
	reader := openAt(t, s.Path(), Options{Now: clk.now, ReadOnly: true})
	for _, st := range []*Store{s, second, reader} {
		if got := standing(t, st, "pkg:npm/x", sg); got != StandingAccepted {
			t.Fatal(got)
		}
	}
	if _, err := second.Revoke(ctx, sg.ID(), "bob", "stolen"); err != nil {
		t.Fatal(err)
	}
	clk.t = clk.t.Add(-48 * time.Hour) // a clock set back does not lift it either
	for _, st := range []*Store{s, second, reader} {
		if got := standing(t, st, "pkg:npm/x", sg); got != StandingRevoked {
			t.Fatal(got)
		}
	}
	reader.Close()
	second.Close()
	s.Close()
	if got := standing(t, openAt(t, s.Path(), Options{ReadOnly: true}), "pkg:npm/x", sg); got != StandingRevoked {
		t.Fatal(got)
	}
}
