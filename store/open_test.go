package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawDB opens the file as an editor of the database would.
func rawDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t testing.TB, db *sql.DB, q string, args ...any) {
	t.Helper()
	if _, err := db.Exec(q, args...); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

// Every connection of both pools has the settings that the store relies on.
func TestThreat126PragmasOnEveryConnection(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	for name, db := range map[string]*sql.DB{"read": s.r, "write": s.w} {
		n := 4
		if name == "write" {
			n = 1
		}
		for i := range n {
			c, err := db.Conn(ctx) // held, so that the next one is another connection
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for pragma, want := range map[string]string{
				"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "trusted_schema": "0", "cell_size_check": "1",
				"busy_timeout": fmt.Sprint(DefaultBusyTimeout.Milliseconds()), "query_only": map[string]string{"read": "1", "write": "0"}[name],
			} {
				var got string
				if err := c.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
					t.Errorf("%s connection %d: %s = %q, %v; want %q", name, i, pragma, got, err, want)
				}
			}
			if name == "read" {
				if _, err := c.ExecContext(ctx, "DELETE FROM log"); err == nil {
					t.Error("a read connection can write")
				}
			}
		}
	}
}

// A connection whose settings differ is refused.
func TestThreat126WrongSettingsRefused(t *testing.T) {
	for params, want := range map[string]string{
		"_foreign_keys=0&_synchronous=FULL&_busy_timeout=1000":                      "foreign_keys",
		"_foreign_keys=1&_synchronous=NORMAL&_busy_timeout=1000":                    "synchronous",
		"_foreign_keys=1&_synchronous=FULL&_busy_timeout=0":                         "busy_timeout",
		"_foreign_keys=1&_synchronous=FULL&_busy_timeout=1000&_journal_mode=DELETE": "journal_mode",
	} {
		path := filepath.Join(t.TempDir(), "x.db") // its own: the last case changes the file
		made := rawDB(t, path)
		mustExec(t, made, "PRAGMA journal_mode = WAL; CREATE TABLE x (y)")
		made.Close()
		db := sql.OpenDB(&connector{dsn: "file:" + path + "?" + params, busy: time.Second, wal: true})
		if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", params, err)
		}
		db.Close()
	}
}

func TestThreat130MissingStoreIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trsut.db")
	for _, ro := range []bool{false, true} {
		_, err := Open(t.Context(), path, Options{ReadOnly: ro})
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "headgate init") || !strings.Contains(err.Error(), path) {
			t.Fatalf("read-only %v: %v", ro, err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a file was made: %v", err)
	}
	if _, err := Open(t.Context(), path, Options{ReadOnly: true, Create: true}); !errors.Is(err, ErrMissing) {
		t.Fatalf("read-only creation: %v", err)
	}
}

func TestThreat131NewerSchemaUntouched(t *testing.T) {
	s, _ := newStore(t)
	path := s.Path()
	s.Close()
	db := rawDB(t, path)
	mustExec(t, db, fmt.Sprintf("PRAGMA user_version = %d", SchemaVersion+1))
	mustExec(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	db.Close()
	before := read(t, path)
	for _, o := range []Options{{}, {ReadOnly: true}, {Create: true}} {
		if _, err := Open(t.Context(), path, o); !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "update headgate") {
			t.Fatalf("%+v: %v", o, err)
		}
	}
	if !bytes.Equal(before, read(t, path)) {
		t.Fatal("the file was changed")
	}
}

func TestNotAStore(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	other := filepath.Join(dir, "other.db")
	db := rawDB(t, other)
	mustExec(t, db, "CREATE TABLE x (y)")
	db.Close()
	s, _ := newStore(t)
	s.Close()
	cut := write("cut.db", string(read(t, s.Path())[:1000]))
	for name, p := range map[string]string{
		"text": write("text.db", strings.Repeat("no database\n", 100)), "short": write("short.db", "x"), "empty": write("empty.db", ""), "directory": dir, "other": other,
	} {
		before := []byte(nil)
		if name != "directory" {
			before = read(t, p)
		}
		for _, o := range []Options{{}, {ReadOnly: true}} {
			if _, err := Open(t.Context(), p, o); !errors.Is(err, ErrNotStore) || !strings.Contains(err.Error(), p) {
				t.Errorf("%s, %+v: %v", name, o, err)
			}
		}
		if name != "directory" && !bytes.Equal(before, read(t, p)) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	for _, p := range []string{other, filepath.Join(dir, "text.db")} {
		if _, err := Open(t.Context(), p, Options{Create: true}); !errors.Is(err, ErrNotStore) {
			t.Errorf("creating over %s: %v", p, err)
		}
	}
	if _, err := Open(t.Context(), cut, Options{}); err == nil {
		t.Error("a cut store was opened")
	}
}

// What a killed creation leaves behind is taken up, but only by a creation.
func TestEmptyFileIsCreatedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "trust.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, Options{Create: true})
	check(t, s)
	key := s.VerifierKey()
	s.Close()
	again := openAt(t, path, Options{Create: true})
	if again.VerifierKey() != key {
		t.Fatal("an existing store was made anew")
	}
}

func TestThreat132ModeAndNoLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "a b?c#d%", "trust.db"), Options{Create: true})
	if _, err := s.Record(t.Context(), commit(t, 2, "")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		fi, err := os.Stat(s.Path() + suffix)
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", suffix, fi, err)
		}
	}
	s.Close()
	es, err := os.ReadDir(filepath.Dir(s.Path()))
	if err != nil || len(es) != 1 {
		t.Fatalf("left behind: %v, %v", es, err)
	}
}

// Many openings of a store that does not exist yet make one store.
func TestCreateAtTheSameTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trust.db")
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			s, err := Open(context.Background(), path, Options{Create: true})
			if err != nil {
				t.Errorf("creation %d: %v", i, err)
				return
			}
			defer s.Close()
			keys[i] = s.VerifierKey()
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] {
			t.Fatalf("more than one store was made: %v", keys)
		}
	}
}

func TestReadOnlyMedia(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	rec, err := s.Record(ctx, commit(t, 3, ""))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	// Being root defeats the mode bits, so the pool is opened as the fallback does.
	ro := &Store{path: s.Path(), now: time.Now, readOnly: true, version: SchemaVersion}
	ro.r = open(s.Path(), accessImmutable, time.Second)
	defer ro.Close()
	if err := ro.connect(ctx, Options{ReadOnly: true}, false); err != nil {
		t.Fatal(err)
	}
	check(t, ro)
	if _, _, err := ro.Decision(ctx, rec.DecisionIDs[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := ro.Accept(ctx, []Acceptance{acceptance(workflow("a", "b"), "pkg:npm/x")}); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("write: %v", err)
	}
	normal := openAt(t, s.Path(), Options{ReadOnly: true})
	check(t, normal)
	if !normal.ReadOnly() {
		t.Fatal("not read-only")
	}
	for name, err := range map[string]error{
		"record": func() error { _, err := normal.Record(ctx, commit(t, 1, "x")); return err }(),
		"gc":     func() error { _, err := normal.GC(ctx); return err }(),
		"alarm":  normal.Alarm(ctx, "x", "y", nil),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fill puts one of everything into the store.
func fill(t testing.TB, s *Store) {
	t.Helper()
	ctx := context.Background()
	rec, err := s.Record(ctx, commit(t, 3, ""))
	if err != nil {
		t.Fatal(err)
	}
	extra := release(t, "pkg:npm/extra@1.0.0")
	if _, err := s.Record(ctx, Commit{Run: Run{Command: "audit", Verdict: trust.Undecided}, Collected: []trust.Evidence{evidence(extra, workflow("x", "y"))}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(ctx, []Acceptance{acceptance(workflow("a", "b"), "pkg:npm/x"), acceptance(workflow("c", "d"), "pkg:npm/y")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke(ctx, workflow("a", "b").Identity(), "bob", "stolen"); err != nil {
		t.Fatal(err)
	}
	r := release(t, "pkg:npm/z@1.0.0")
	q, err := s.PutRequest(ctx, RequestRecord{Release: r, Reason: "needed", By: "carol", Decision: rec.DecisionIDs[0]})
	if err != nil {
		t.Fatal(err)
	}
	env := []byte(`{"payload":"e30="}`)
	if err := s.PutApproval(ctx, env, ApprovalRecord{Release: r, By: "dave", Rules: []string{"new"}, Until: s.now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.DecideRequest(ctx, q, RequestDecision{State: RequestApproved, By: "dave", Reason: "fine", Approvals: []string{ApprovalID(env)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutMaterial(ctx, trust.Material{Kind: trust.MaterialPublicKey, Scope: "npm", Name: "key", Data: []byte("key")}, "alice", "from the vendor"); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.Swap(ctx, "tree", nil, []byte("head 1")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if ok, err := s.Swap(ctx, "tree", []byte("head 1"), []byte("head 2")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if err := s.Alarm(ctx, "log.example", "forked", []byte("proof")); err != nil {
		t.Fatal(err)
	}
	other := openAt(t, filepath.Join(t.TempDir(), "other.db"), Options{Create: true, Now: s.now})
	if _, err := other.Accept(ctx, []Acceptance{acceptance(workflow("p", "q"), "pkg:npm/@p/*")}); err != nil {
		t.Fatal(err)
	}
	set, err := other.ExportTrust(ctx, ExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := ImportOptions{Origin: "platform", Key: other.VerifierKey(), Narrow: []Scope{"pkg:npm/*"}, By: "alice", Reason: "agreed"}
	d, err := s.PreviewImport(ctx, set, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Confirm = d.Token
	if _, err := s.ImportTrust(ctx, set, o); err != nil {
		t.Fatal(err)
	}
	other.Close()
}

// dump is every row of every covered table, and the log.
func dump(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	for _, q := range []string{
		"SELECT 'log', idx, leaf FROM log ORDER BY idx", "SELECT 'evidence', id, body FROM evidence ORDER BY id", "SELECT 'blob', hex(digest), hex(data) FROM blob ORDER BY digest",
		"SELECT 'seen', release, digest || leaf FROM seen ORDER BY release, digest", "SELECT 'meta', key, value FROM meta ORDER BY key",
	} {
		dumpQuery(t, s, &b, q)
	}
	for _, k := range kindOrder {
		dumpQuery(t, s, &b, "SELECT '"+k+"', id, body || leaf FROM "+kinds[k].table+" ORDER BY id")
	}
	return b.String()
}

func dumpQuery(t testing.TB, s *Store, b *strings.Builder, q string) {
	t.Helper()
	err := each(context.Background(), s.r, q, nil, func(rows *sql.Rows) error {
		var x, y, z string
		err := rows.Scan(&x, &y, &z)
		fmt.Fprintln(b, x, y, z)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A store of every older schema, filled with one of everything, migrates with
// all its data.
func TestMigrate(t *testing.T) {
	for v := int64(1); v < SchemaVersion; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "trust.db")
			clk := newClock()
			old := openAt(t, path, Options{Create: true, Now: clk.now, version: v})
			fill(t, old)
			before := dump(t, old)
			old.Close()
			if _, err := Open(t.Context(), path, Options{ReadOnly: true}); !errors.Is(err, ErrOldSchema) {
				t.Fatalf("read-only: %v", err)
			}
			// A migration that fails in the middle leaves the old schema.
			for _, step := range []string{"migrate:begin", fmt.Sprintf("migrate:%d", v+1), "migrate:commit"} {
				fails := errors.New("killed at " + step)
				if _, err := Open(t.Context(), path, Options{step: func(at string) error {
					if at == step {
						return fails
					}
					return nil
				}}); !errors.Is(err, fails) {
					t.Fatalf("%s: %v", step, err)
				}
				var version int64
				db := rawDB(t, path)
				if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != v {
					t.Fatalf("%s: version %d, %v", step, version, err)
				}
				db.Close()
			}
			s := openAt(t, path, Options{Now: clk.now})
			check(t, s)
			if after := dump(t, s); after != before {
				t.Fatalf("data changed:\n%s\nwas\n%s", after, before)
			}
			if _, err := s.Record(t.Context(), commit(t, 1, "later")); err != nil {
				t.Fatal(err)
			}
			check(t, s)
		})
	}
}
