package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

// filled is a store with one of everything.
func filled(t testing.TB) *Store {
	t.Helper()
	s, _ := newStore(t)
	fill(t, s)
	check(t, s)
	return s
}

func TestLogEntries(t *testing.T) {
	s := filled(t)
	ctx := t.Context()
	all, err := s.LogEntries(ctx, LogFilter{})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.LogSize(ctx)
	if err != nil || int64(len(all)) != n {
		t.Fatalf("%d entries of %d, %v", len(all), n, err)
	}
	for _, c := range []struct {
		f    LogFilter
		want int
	}{
		{LogFilter{Package: release(t, "pkg:npm/z").Package}, 3}, {LogFilter{By: "bob"}, 1}, {LogFilter{Kind: "decision"}, 3}, {LogFilter{Since: newClock().t}, len(all)},
		{LogFilter{Until: newClock().t}, 0}, {LogFilter{Since: newClock().t.Add(time.Second)}, 0}, {LogFilter{From: n - 2}, 2}, {LogFilter{Limit: 3}, 3},
	} {
		if es, err := s.LogEntries(ctx, c.f); err != nil || len(es) != c.want {
			t.Errorf("%+v: %d entries, %v; want %d", c.f, len(es), err, c.want)
		}
	}
}

// Every edit of the file behind the store's back is found, and named.
func TestThreat133EditsAreFound(t *testing.T) {
	base := filled(t)
	base.Close()
	image := read(t, base.Path())
	for name, c := range map[string]struct {
		edit string
		want string // in the error
	}{
		"decision altered":       {"UPDATE decision SET body = replace(body, '\"allow\"', '\"block\"') WHERE leaf = 2", "log entry 2: decision"},
		"decision column":        {"UPDATE decision SET verdict = 'block' WHERE leaf = 2", "column verdict"},
		"decision release":       {"UPDATE decision SET release = 'pkg:npm/other@1' WHERE leaf = 1", "column release"},
		"decision removed":       {"PRAGMA foreign_keys = 0; DELETE FROM decision WHERE leaf = 3", "log entry 3: decision"},
		"revocation undone":      {"UPDATE acceptance SET body = json_remove(body, '$.revoked'), revoked = 0 WHERE revoked = 1", "altered"},
		"revocation column":      {"UPDATE acceptance SET revoked = 0 WHERE revoked = 1", "column revoked"},
		"acceptance key":         {"UPDATE acceptance SET key = '' WHERE scope = 'pkg:npm/y'", "column key"},
		"acceptance added":       {"INSERT INTO acceptance SELECT 'a-0', replace(body, id, 'a-0'), leaf + 100, identity, scope, key, origin, until, revoked FROM acceptance LIMIT 1", "missing"},
		"acceptance added twice": {"INSERT INTO acceptance SELECT 'a-0', replace(body, id, 'a-0'), leaf, identity, scope, key, origin, until, revoked FROM acceptance LIMIT 1", "was not logged"},
		"acceptance removed":     {"DELETE FROM acceptance WHERE scope = 'pkg:npm/y'", "acceptance"},
		"approval edited":        {"UPDATE approval SET body = replace(body, '\"dave\"', '\"mallory\"')", "approval"},
		"approval end":           {"UPDATE approval SET until = until + 1000", "column until"},
		"request reopened":       {"UPDATE request SET body = replace(body, '\"approved\"', '\"open\"'), state = 'open'", "request"},
		"pin altered":            {"UPDATE pin SET body = replace(body, '\"provenance\"', '\"reproduced\"') WHERE leaf = 6", "log entry 6: pin"},
		"vouch removed":          {"DELETE FROM vouch WHERE pin = (SELECT min(pin) FROM vouch)", "index of its signers"},
		"material altered":       {"UPDATE material SET body = replace(body, 'a2V5', 'a2V6')", "material"},
		"state rolled back":      {"UPDATE state SET body = '{\"key\":\"tree\",\"value\":\"aGVhZCAx\"}', leaf = (SELECT min(idx) FROM log WHERE kind = 'state')", "older state"},
		"alarm removed":          {"DELETE FROM alarm", "alarm"},
		"origin serial":          {"UPDATE origin SET body = replace(body, '\"serial\":1', '\"serial\":0')", "origin"},
		"run altered":            {"UPDATE run SET body = replace(body, '\"ci\"', '\"me\"') WHERE leaf = 0", "log entry 0: run"},
		"evidence altered":       {"UPDATE evidence SET body = replace(body, 'verified', 'failed')", "evidence"},
		"evidence fresher":       {"UPDATE evidence SET checked = checked + 86400000", "not confirmed at that time"},
		"evidence added":         {"INSERT INTO evidence SELECT randomblob(32), id, release, body, checked, run FROM evidence LIMIT 1", "never logged"},
		"evidence removed":       {"PRAGMA foreign_keys = 0; DELETE FROM evidence", "links to rows that are missing"},
		"evidence unlinked":      {"DELETE FROM evidence_use WHERE leaf = 1", "missing evidence"},
		"evidence blob unlinked": {"DELETE FROM evidence_blob", "not linked"},
		"bytes altered":          {"UPDATE blob SET data = x'00'", "were altered"},
		"seen removed":           {"DELETE FROM seen WHERE leaf = 1", "missing a digest"},
		"seen added":             {"INSERT INTO seen SELECT release, name, 'sha256:00', leaf FROM seen WHERE leaf = 1", "did not see"},
		"seen later":             {"UPDATE seen SET leaf = 2 WHERE leaf = 1", "missing a digest"},
		"leaf altered":           {"UPDATE log SET leaf = replace(leaf, '\"ci\"', '\"me\"') WHERE idx = 1", "log entry 1: decision"},
		"leaf column":            {"UPDATE log SET by = 'me' WHERE idx = 1", "log entry 1: decision"},
		"leaf time":              {"UPDATE log SET at = at + 1 WHERE idx = 1", "log entry 1: decision"},
		"leaf removed":           {"DELETE FROM log WHERE idx = 4", "log entry 4: entry  is missing"},
		"last leaf removed":      {"DELETE FROM log WHERE idx = (SELECT max(idx) FROM log)", "missing"},
		"leaves swapped":         {"UPDATE log SET idx = -1 + 100000 WHERE idx = 1; UPDATE log SET idx = 1 WHERE idx = 2; UPDATE log SET idx = 2 WHERE idx = 99999", "log entry 1: decision"},
		"hash altered":           {"UPDATE hash SET hash = zeroblob(32) WHERE idx = 2", "level 1"},
		"leaf hash altered":      {"UPDATE hash SET hash = zeroblob(32) WHERE idx = 0", "log entry 0"},
		"hashes removed":         {"DELETE FROM hash", "without its hash"},
		"hash added":             {"INSERT INTO hash VALUES (100000, zeroblob(32))", "belongs to no entry"},
		"checkpoint removed":     {"DELETE FROM meta WHERE key = 'checkpoint'", "checkpoint"},
		"checkpoint altered":     {"UPDATE meta SET value = x'00' WHERE key = 'checkpoint'", "checkpoint"},
		"end cut off":            {"DELETE FROM alarm; DELETE FROM origin; DELETE FROM acceptance WHERE origin <> ''; DELETE FROM hash WHERE idx >= (SELECT max(idx) - 3 FROM hash); DELETE FROM log WHERE idx > (SELECT max(idx) - 3 FROM log)", "missing"},
		"trigger added":          {"CREATE TRIGGER x AFTER INSERT ON acceptance BEGIN DELETE FROM acceptance; END", "was added to its schema"},
		"index dropped":          {"DROP INDEX pin_package", "missing from its schema"},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/trust.db"
			writeFile(t, path, image)
			db := rawDB(t, path)
			mustExec(t, db, c.edit)
			db.Close()
			s := openAt(t, path, Options{ReadOnly: true})
			err := s.Check(t.Context())
			if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("not found: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				rep, _ := s.VerifyLog(t.Context(), nil)
				t.Fatalf("found as %v, want %q; all: %+v", err, c.want, rep.Problems)
			}
		})
	}
}

// The report names the first of several problems in log order.
func TestVerifyNamesTheFirst(t *testing.T) {
	s := filled(t)
	path := s.Path()
	s.Close()
	db := rawDB(t, path)
	mustExec(t, db, "UPDATE decision SET verdict = 'block' WHERE leaf = 2; UPDATE pin SET package = 'x' WHERE leaf = 6; UPDATE run SET verdict = 'hold' WHERE leaf = 0; UPDATE blob SET data = x'00'")
	db.Close()
	s = openAt(t, path, Options{ReadOnly: true})
	rep, err := s.VerifyLog(t.Context(), nil)
	if !errors.Is(err, ErrTampered) || len(rep.Problems) < 4 {
		t.Fatalf("%+v, %v", rep, err)
	}
	var got []int64
	for _, p := range rep.Problems {
		got = append(got, p.Index)
	}
	if got[0] != 0 || got[1] != 2 || got[2] != 6 || got[len(got)-1] != -1 {
		t.Fatalf("order %v", got)
	}
}

// With a checkpoint that was kept elsewhere, even a rewriting of the whole log
// with the store's own key is found.
func TestEarlierCheckpoint(t *testing.T) {
	ctx := t.Context()
	s := filled(t)
	empty, _ := newStore(t)
	none, err := empty.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err := empty.VerifyLog(ctx, none); err != nil || rep.Size != 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
	cp, err := s.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := s.LogSize(ctx)
	if _, err := s.Record(ctx, commit(t, 4, "later")); err != nil {
		t.Fatal(err)
	}
	rep, err := s.VerifyLog(ctx, cp)
	if err != nil || rep.Earlier != n || rep.Size <= n {
		t.Fatalf("%+v, %v", rep, err)
	}
	later, err := s.Checkpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][]byte{
		"of another store": none, "cut": cp[:len(cp)-2], "empty": {}, "edited": bytes.Replace(cp, fmt.Appendf(nil, "\n%d\n", n), fmt.Appendf(nil, "\n%d\n", n-1), 1),
		"long": bytes.Repeat([]byte("x"), MaxCheckpoint+1),
	} {
		if _, err := s.VerifyLog(ctx, c); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// History rewritten: another store with the same key and another past.
	skey := rawKey(t, s)
	forged, _ := newStore(t)
	path := forged.Path()
	forged.Close()
	db := rawDB(t, path)
	mustExec(t, db, "UPDATE meta SET value = ? WHERE key = 'log-key'", skey)
	db.Close()
	forged = openAt(t, path, Options{})
	for i := range 6 {
		if _, err := forged.Record(ctx, commit(t, 4, fmt.Sprint("forged", i))); err != nil {
			t.Fatal(err)
		}
	}
	check(t, forged)
	if _, err := forged.VerifyLog(ctx, cp); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "history was rewritten") {
		t.Fatalf("rewritten history: %v", err)
	}
	// History cut: the older file put back.
	cut, _ := newStore(t)
	path = cut.Path()
	cut.Close()
	db = rawDB(t, path)
	mustExec(t, db, "UPDATE meta SET value = ? WHERE key = 'log-key'", skey)
	db.Close()
	if _, err := openAt(t, path, Options{}).VerifyLog(ctx, later); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), "are missing") {
		t.Fatalf("cut history: %v", err)
	}
}

func rawKey(t testing.TB, s *Store) []byte {
	t.Helper()
	var k []byte
	if err := s.r.QueryRow("SELECT value FROM meta WHERE key = 'log-key'").Scan(&k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestProof(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	var ids []string
	for i := range 5 {
		rec, err := s.Record(ctx, commit(t, 3, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rec.DecisionIDs...)
	}
	key := s.VerifierKey()
	var proofs [][]byte
	for _, id := range ids {
		p, err := s.Prove(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := VerifyProof(p, key)
		if err != nil || got.Leaf.ID != id || got.Size != 5*7+1 || !strings.Contains(string(got.Body), id) {
			t.Fatalf("%s: %+v, %v", id, got, err)
		}
		proofs = append(proofs, p)
	}
	if _, err := s.Prove(ctx, "d-"); !errors.Is(err, ErrAmbiguous) {
		t.Fatal(err)
	}
	if _, err := s.Prove(ctx, "d-zz"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	other, _ := newStore(t)
	if _, err := VerifyProof(proofs[0], other.VerifierKey()); err == nil {
		t.Fatal("verified by the key of another store")
	}
	var a, b proofFile
	if err := errors.Join(json.Unmarshal(proofs[0], &a), json.Unmarshal(proofs[1], &b)); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(p *proofFile){
		"type":              func(p *proofFile) { p.Type = "x" },
		"index":             func(p *proofFile) { p.Index = b.Index },
		"negative index":    func(p *proofFile) { p.Index = -1 },
		"index past end":    func(p *proofFile) { p.Index = 1000 },
		"leaf":              func(p *proofFile) { p.Leaf = b.Leaf },
		"leaf edited":       func(p *proofFile) { p.Leaf = strings.Replace(p.Leaf, "allow", "block", 1) },
		"body":              func(p *proofFile) { p.Body = b.Body },
		"body edited":       func(p *proofFile) { p.Body = strings.Replace(p.Body, "allow", "block", 1) },
		"proof":             func(p *proofFile) { p.Proof = b.Proof },
		"proof cut":         func(p *proofFile) { p.Proof = p.Proof[1:] },
		"proof longer":      func(p *proofFile) { p.Proof = append(p.Proof, p.Proof[0]) },
		"checkpoint edited": func(p *proofFile) { p.Checkpoint = strings.Replace(p.Checkpoint, "\n36\n", "\n35\n", 1) },
		"checkpoint without its signature": func(p *proofFile) {
			p.Checkpoint = p.Checkpoint[:strings.Index(p.Checkpoint, "\n\n")+2]
		},
	} {
		p := a
		p.Proof = append(p.Proof[:0:0], a.Proof...)
		f(&p)
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := VerifyProof(text, key); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "trailing": string(proofs[0]) + "{}", "unknown field": strings.Replace(string(proofs[0]), "{", `{"x":1,`, 1),
		"key twice": strings.Replace(string(proofs[0]), "{", `{"index":1,`, 1), "key folded": strings.Replace(string(proofs[0]), "{", `{"INDEX":1,`, 1),
		"deep": strings.Repeat("[", 1000), "long": strings.Repeat(" ", MaxProof+1),
	} {
		if _, err := VerifyProof([]byte(text), key); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

func FuzzVerifyProof(f *testing.F) {
	s, _ := newStore(f)
	rec, err := s.Record(f.Context(), commit(f, 3, ""))
	if err != nil {
		f.Fatal(err)
	}
	p, err := s.Prove(f.Context(), rec.DecisionIDs[1])
	if err != nil {
		f.Fatal(err)
	}
	want, err := VerifyProof(p, s.VerifierKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add([]byte(`{"type":"headgate-log-proof/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := VerifyProof(b, s.VerifierKey())
		if err == nil && (got.Leaf != want.Leaf || got.Index != want.Index || string(got.Body) != string(want.Body)) {
			t.Fatalf("something else was proven: %+v", got)
		}
	})
}

// An insider who edits a decision's row is noticed at the next read too.
func TestReadsNoticeEdits(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	c := commit(t, 1, "")
	rec, err := s.Record(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Decisions[0].Release
	db := rawDB(t, s.Path())
	mustExec(t, db, "UPDATE evidence SET body = replace(body, 'provenance', 'reproduced')")
	if _, err := s.Evidence(ctx, []trust.Release{r}); !errors.Is(err, ErrTampered) {
		t.Errorf("evidence: %v", err)
	}
	if _, _, err := s.Decision(ctx, rec.DecisionIDs[0]); !errors.Is(err, ErrTampered) {
		t.Errorf("decision with altered evidence: %v", err)
	}
	mustExec(t, db, "UPDATE decision SET body = replace(body, 'allow', 'block')")
	if _, err := s.Decisions(ctx, DecisionFilter{}); !errors.Is(err, ErrTampered) {
		t.Errorf("decision: %v", err)
	}
	mustExec(t, db, "UPDATE blob SET data = x'00'")
	if _, err := s.Blob(ctx, c.Decisions[0].Evidence[0].Raw[0].Digest); !errors.Is(err, ErrTampered) {
		t.Errorf("bytes: %v", err)
	}
}

// Every kind of row can be asked for by its name, and no other.
func TestLogKindsAreThoseOfTheTables(t *testing.T) {
	if got, want := LogKinds(), slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Errorf("kinds of the log %v, tables %v", got, want)
	}
}
