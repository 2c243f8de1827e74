package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

func export(t testing.TB, s *Store, o ExportOptions) []byte {
	t.Helper()
	b, err := s.ExportTrust(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseTrustSet(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func importing(s *Store) ImportOptions {
	return ImportOptions{Origin: "platform", Key: s.VerifierKey(), Narrow: []Scope{"pkg:npm/*"}, By: "alice", Reason: "agreed"}
}

// confirmed imports after looking at the difference.
func confirmed(t testing.TB, s *Store, set []byte, o ImportOptions) TrustDiff {
	t.Helper()
	d, err := s.PreviewImport(t.Context(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Confirm = d.Token
	d, err = s.ImportTrust(t.Context(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s)
	return d
}

func TestExportIsCanonical(t *testing.T) {
	s, clk := newStore(t)
	accept(t, s, acceptance(workflow("b", "r"), "pkg:npm/b"), acceptance(workflow("a", "r"), "pkg:npm/@a/*"))
	env := []byte(`{"payload":"e30="}`)
	if err := s.PutApproval(t.Context(), env, ApprovalRecord{Release: release(t, "pkg:npm/z@1"), By: "dave", Until: clk.t.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	a := export(t, s, ExportOptions{Approvals: true})
	clk.t = clk.t.Add(time.Minute)
	if _, err := s.Record(t.Context(), commit(t, 1, "")); err != nil { // accepts one more
		t.Fatal(err)
	}
	if b := export(t, s, ExportOptions{Approvals: true, Scopes: []Scope{"pkg:npm/b", "pkg:npm/@a/*"}}); bytes.Count(b, []byte("\n")) != bytes.Count(a, []byte("\n")) {
		t.Fatalf("narrowed export differs:\n%s", b)
	}
	b, c := export(t, s, ExportOptions{}), export(t, s, ExportOptions{})
	if !bytes.Equal(b, c) {
		t.Fatal("same content, other bytes")
	}
	set, err := ParseTrustSet(a)
	if err != nil || len(set.By(s.VerifierKey())) != 2 || len(set.Approvals) != 1 || string(set.Approvals[0]) != string(env) {
		t.Fatalf("%+v, %v", set, err)
	}
	if len(set.By("other")) != 0 {
		t.Fatal("lines of another key")
	}
	clk.t = clk.t.Add(2 * time.Hour)
	if set, err := ParseTrustSet(export(t, s, ExportOptions{Approvals: true})); err != nil || len(set.Approvals) != 0 {
		t.Fatalf("an ended approval was exported: %v", err)
	}
}

func TestTrustSetRefused(t *testing.T) {
	s, _ := newStore(t)
	accept(t, s, acceptance(workflow("a", "r"), "pkg:npm/a"), acceptance(workflow("b", "r"), "pkg:npm/b"))
	set := string(export(t, s, ExportOptions{}))
	lines := strings.SplitAfter(set, "\n")
	other, _ := newStore(t)
	for name, text := range map[string]string{
		"empty": "", "no header": strings.Join(lines[1:], ""), "newer format": strings.Replace(set, "/1", "/2", 1), "cut in a line": set[:len(set)-10], "cut at a line end": strings.TrimSuffix(set, "\n"),
		"scope edited": strings.Replace(set, `"pkg:npm/a"`, `"pkg:npm/*"`, 1), "reason edited": strings.Replace(set, "reviewed", "Reviewed", 1),
		"key replaced": strings.ReplaceAll(set, s.VerifierKey(), other.VerifierKey()), "serial edited": strings.Replace(set, `"serial":2`, `"serial":9`, 1),
		"unknown line": set + "{\"x\":1}\n", "blank line": set + "\n", "white space": strings.Replace(set, `"key":`, `"key": `, 1), "key twice": strings.Replace(set, `"key":`, `"key":"x","key":`, 1),
		"key folded": strings.Replace(set, `"key":`, `"KEY":`, 1), "unknown field": strings.Replace(set, `"key":`, `"x":1,"key":`, 1), "long line": set + `{"approval":"` + strings.Repeat("x", MaxTrustLine) + "\"}\n",
		"approval too long": set + `{"approval":"` + strings.Repeat("x", MaxEnvelope) + "\"}\n",
	} {
		if _, err := ParseTrustSet([]byte(text)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	// A line taken away, added twice or of two branches: read, but no set to import.
	parsed, err := ParseTrustSet([]byte(lines[0] + lines[2] + lines[3]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Head(s.VerifierKey()); err == nil {
		t.Error("a set that lacks a line is whole")
	}
	parsed, err = ParseTrustSet([]byte(lines[0] + lines[3] + lines[2] + lines[1] + lines[2]))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Head(s.VerifierKey()); err != nil {
		t.Errorf("other order, a line twice: %v", err)
	}
	if _, err := parsed.Head(other.VerifierKey()); err == nil {
		t.Error("a set of somebody who signed none")
	}
}

// Line by line, as a merge of two branches does: the lines of two stores stand
// in one file, and each store's set stays whole.
func TestMergeOfTwoBranches(t *testing.T) {
	a, _ := newStore(t)
	b, _ := newStore(t)
	accept(t, a, acceptance(workflow("a", "r"), "pkg:npm/a"))
	accept(t, b, acceptance(workflow("b", "r"), "pkg:npm/b"))
	ea, eb := export(t, a, ExportOptions{}), export(t, b, ExportOptions{})
	header, la, _ := bytes.Cut(ea, []byte("\n"))
	_, lb, _ := bytes.Cut(eb, []byte("\n"))
	union := append(append(append(bytes.Clone(header), '\n'), lb...), la...)
	approval, err := ApprovalLine([]byte(`{"payload":"e30="}`))
	if err != nil {
		t.Fatal(err)
	}
	union = append(union, approval+"\n"...)
	set, err := ParseTrustSet(union)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, b} {
		if h, err := set.Head(s.VerifierKey()); err != nil || h.Records != 1 {
			t.Fatalf("%+v, %v", h, err)
		}
	}
	merged, err := MergeTrust(ea, eb)
	if err != nil {
		t.Fatal(err)
	}
	again, err := MergeTrust(eb, ea)
	if err != nil || !bytes.Equal(merged, again) {
		t.Fatalf("the order of merging shows: %v", err)
	}
	accept(t, a, acceptance(workflow("a", "r"), "pkg:npm/a2"))
	next, err := MergeTrust(union, export(t, a, ExportOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	set, err = ParseTrustSet(next)
	if err != nil || len(set.By(a.VerifierKey())) != 2 || len(set.By(b.VerifierKey())) != 1 || len(set.Approvals) != 1 {
		t.Fatalf("%+v, %v", set, err)
	}
	if _, err := MergeTrust(next, ea); !errors.Is(err, ErrRollback) {
		t.Fatalf("an older export replaced a newer one: %v", err)
	}
}

// An import counts for its scopes only, is kept apart by origin, and is never
// widened unseen.
func TestImport(t *testing.T) {
	ctx := t.Context()
	them, clk := newStore(t)
	us := openAt(t, t.TempDir()+"/us.db", Options{Create: true, Now: clk.now})
	sa, sb, wide := workflow("a", "r"), workflow("b", "r"), workflow("wide", "r")
	w := acceptance(wide, "*")
	w.UnsafeScope = true
	accept(t, them, acceptance(sa, "pkg:npm/a"), acceptance(sb, "pkg:pypi/b"), w)
	set := export(t, them, ExportOptions{})
	o := importing(them)
	if _, err := us.ImportTrust(ctx, set, o); !errors.Is(err, ErrWidens) {
		t.Fatalf("a first import was taken unseen: %v", err)
	}
	d := confirmed(t, us, set, o)
	if len(d.Added) != 2 || len(d.Outside) != 1 {
		t.Fatalf("%+v", d)
	}
	for _, c := range []struct {
		purl string
		sg   trust.Signer
		want Standing
	}{{"pkg:npm/a", sa, StandingAccepted}, {"pkg:pypi/b", sb, StandingUnknown}, {"pkg:npm/any", wide, StandingAccepted}, {"pkg:pypi/any", wide, StandingUnknown}} {
		if got := standing(t, us, c.purl, c.sg); got != c.want {
			t.Errorf("%s: %v, want %v", c.purl, got, c.want)
		}
	}
	if mine := export(t, us, ExportOptions{}); bytes.Contains(mine, []byte("acceptance\":")) {
		t.Fatalf("what was imported is exported as our own:\n%s", mine)
	}
	// The same again changes nothing and needs nobody.
	n, _ := us.LogSize(ctx)
	if d, err := us.ImportTrust(ctx, set, o); err != nil || d.Widens() || d.Unchanged != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	if m, _ := us.LogSize(ctx); m != n+1 {
		t.Fatalf("%d entries for nothing", m-n)
	}
	// A narrower set needs nobody; a revocation there is one here.
	if _, err := them.Revoke(ctx, sa.ID(), "them", "stolen"); err != nil {
		t.Fatal(err)
	}
	revoked := export(t, them, ExportOptions{})
	if d, err := us.ImportTrust(ctx, revoked, o); err != nil || len(d.Revoked) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := standing(t, us, "pkg:npm/a", sa); got != StandingRevoked {
		t.Fatal(got)
	}
	// What we revoked ourselves stays revoked whatever they say.
	if _, err := us.Revoke(ctx, wide.ID(), "alice", "not for us"); err != nil {
		t.Fatal(err)
	}
	back := acceptance(sa, "pkg:npm/a")
	back.Reinstate = true
	accept(t, them, back, acceptance(workflow("new", "r"), "pkg:npm/new"))
	wider := export(t, them, ExportOptions{})
	d, err := us.PreviewImport(ctx, wider, o)
	if err != nil || len(d.Reinstated) != 1 || len(d.Added) != 1 || len(d.Kept) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	o.Confirm = "something else"
	if _, err := us.ImportTrust(ctx, wider, o); !errors.Is(err, ErrWidens) {
		t.Fatal(err)
	}
	if got := standing(t, us, "pkg:npm/a", sa); got != StandingRevoked {
		t.Fatal(got)
	}
	confirmed(t, us, wider, o)
	if got := standing(t, us, "pkg:npm/a", sa); got != StandingAccepted {
		t.Fatal(got)
	}
	if got := standing(t, us, "pkg:npm/any", wide); got != StandingRevoked {
		t.Fatal(got)
	}
	// What they drop ends, and the confirmation of one difference is none of another.
	later, _ := us.Origins(ctx)
	if len(later) != 1 || later[0].Serial != d.Head.Serial {
		t.Fatalf("%+v", later)
	}
	check(t, us)
}

// What is not in the newer set any more has ended; an end that comes closer
// needs nobody, one that moves away does.
func TestImportEnds(t *testing.T) {
	ctx := t.Context()
	them, clk := newStore(t)
	us := openAt(t, t.TempDir()+"/us.db", Options{Create: true, Now: clk.now})
	sa, sb := workflow("a", "r"), workflow("b", "r")
	a := acceptance(sa, "pkg:npm/a")
	a.Until = clk.t.Add(10 * time.Hour)
	accept(t, them, a, acceptance(sb, "pkg:npm/b"))
	o := importing(them)
	confirmed(t, us, export(t, them, ExportOptions{}), o)
	a.Until = clk.t.Add(5 * time.Hour)
	accept(t, them, a)
	only := export(t, them, ExportOptions{Scopes: []Scope{"pkg:npm/a"}})
	d, err := us.ImportTrust(ctx, only, o)
	if err != nil || len(d.Shortened) != 1 || len(d.Withdrawn) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := standing(t, us, "pkg:npm/b", sb); got != StandingEnded {
		t.Fatal(got)
	}
	a.Until = time.Time{}
	accept(t, them, a)
	if _, err := us.ImportTrust(ctx, export(t, them, ExportOptions{Scopes: []Scope{"pkg:npm/a"}}), o); !errors.Is(err, ErrWidens) {
		t.Fatal(err)
	}
	check(t, us)
}

// Older signed state is refused, and so is a second set under one serial and
// a set of another key.
func TestThreat035OlderTrustSetRefused(t *testing.T) {
	ctx := t.Context()
	them, clk := newStore(t)
	us := openAt(t, t.TempDir()+"/us.db", Options{Create: true, Now: clk.now})
	sa := workflow("a", "r")
	accept(t, them, acceptance(sa, "pkg:npm/a"), acceptance(sa, "pkg:npm/b"))
	old := export(t, them, ExportOptions{})
	o := importing(them)
	confirmed(t, us, old, o)
	if _, err := them.Revoke(ctx, sa.ID(), "them", "stolen"); err != nil {
		t.Fatal(err)
	}
	confirmed(t, us, export(t, them, ExportOptions{}), o)
	before := dump(t, us)
	fork := export(t, them, ExportOptions{Scopes: []Scope{"pkg:npm/a"}})
	for name, set := range map[string][]byte{"older": old, "same serial": fork} {
		if _, err := us.PreviewImport(ctx, set, o); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := us.ImportTrust(ctx, set, o); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mallory, _ := newStore(t)
	accept(t, mallory, acceptance(workflow("evil", "r"), "pkg:npm/a"))
	theirs := export(t, mallory, ExportOptions{})
	for name, key := range map[string]string{"other key": mallory.VerifierKey(), "signed by another": them.VerifierKey()} {
		p := o
		p.Key = key
		if _, err := us.PreviewImport(ctx, theirs, p); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	for name, p := range map[string]ImportOptions{
		"no scope": {Origin: "x", Key: o.Key, By: "a", Reason: "b"}, "wide scope": {Origin: "x", Key: o.Key, By: "a", Reason: "b", Narrow: []Scope{"*"}},
		"no origin": {Key: o.Key, By: "a", Reason: "b", Narrow: o.Narrow}, "nobody": {Origin: "x", Key: o.Key, Narrow: o.Narrow},
	} {
		if _, err := us.ImportTrust(ctx, old, p); err == nil || errors.Is(err, ErrWidens) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if dump(t, us) != before {
		t.Fatal("a refused set changed the store")
	}
	check(t, us)
}

func FuzzParseTrustSet(f *testing.F) {
	s, _ := newStore(f)
	if _, err := s.Accept(f.Context(), []Acceptance{acceptance(workflow("a", "r"), "pkg:npm/a")}); err != nil {
		f.Fatal(err)
	}
	b, err := s.ExportTrust(f.Context(), ExportOptions{})
	if err != nil {
		f.Fatal(err)
	}
	want, err := ParseTrustSet(b)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := ParseTrustSet(b)
		if err != nil {
			return
		}
		for _, r := range set.Records {
			if r.Key == s.VerifierKey() && r.line != want.Records[0].line {
				t.Fatalf("the key never signed %s", r.line)
			}
		}
	})
}
