package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/headgate/headgate/trust"
)

// The test binary runs itself as another process that does one of the jobs.
const jobVar = "HEADGATE_STORE_TEST_JOB"

func TestMain(m *testing.M) {
	if job := os.Getenv(jobVar); job != "" {
		if err := runJob(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runJob(job string) error {
	name, arg, _ := strings.Cut(job, " ")
	switch name {
	case "kill":
		op, step, _ := strings.Cut(arg, " ")
		return killedJob(op, step)
	case "write":
		return writingJob(arg)
	}
	return fmt.Errorf("unknown job %q", job)
}

// child starts a job in the directory of a store.
func child(t testing.TB, dir, job string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe)
	c.Dir = dir
	c.Env = append(os.Environ(), jobVar+"="+job)
	return c
}

// operations are the writes that are killed in the middle, each on a store that
// prepare made.
var operations = map[string]func(ctx context.Context, s *Store) error{
	"record": func(ctx context.Context, s *Store) error {
		_, err := s.Record(ctx, plainCommit(200, "new"))
		return err
	},
	"accept": func(ctx context.Context, s *Store) error {
		_, err := s.Accept(ctx, []Acceptance{acceptance(workflow("new", "r"), "pkg:npm/new"), acceptance(workflow("new2", "r"), "pkg:npm/new")})
		return err
	},
	"revoke": func(ctx context.Context, s *Store) error {
		_, err := s.Revoke(ctx, workflow("org", "repo").ID(), "bob", "stolen")
		return err
	},
	"approve": func(ctx context.Context, s *Store) error {
		return s.DecideRequest(ctx, "q-", RequestDecision{State: RequestApproved, By: "dave", Reason: "fine", Approvals: []string{ApprovalID([]byte(`{"payload":"e30="}`))}})
	},
	"gc": func(ctx context.Context, s *Store) error {
		_, err := s.GC(ctx)
		return err
	},
	"swap": func(ctx context.Context, s *Store) error {
		_, err := s.Swap(ctx, "tree", []byte("head 1"), []byte("head 2"))
		return err
	},
}

// steps are the steps of each operation.
var steps = map[string][]string{
	"record": {"begin", "decisions", "acceptances", "pins", "flush", "checkpoint", "commit", "committed"},
	"accept": {"begin", "flush", "checkpoint", "commit", "committed"}, "revoke": {"begin", "flush", "checkpoint", "commit", "committed"},
	"approve": {"begin", "flush", "checkpoint", "commit", "committed"}, "gc": {"begin", "gc", "flush", "commit", "committed"}, "swap": {"begin", "flush", "checkpoint", "commit", "committed"},
	"create":  {"migrate:begin", "migrate:1", "migrate:2", "migrate:commit", "migrate:done"},
	"migrate": {"migrate:begin", "migrate:2", "migrate:commit", "migrate:done"},
}

// plainCommit is commit without a test.
func plainCommit(n int, salt string) Commit {
	c := Commit{Run: Run{Command: "check", Verdict: trust.Allow, Requester: "ci"}}
	sg := workflow("org", "repo")
	for i := range n {
		r, err := trust.NewRelease("npm", "@org", fmt.Sprintf("p%s%d", salt, i), "1.0.0")
		if err != nil {
			panic(err)
		}
		c.Decisions = append(c.Decisions, decision(r, sg))
		c.Pin = append(c.Pin, known(r, sg))
	}
	a := acceptance(workflow("auto"+salt, "r"), "pkg:npm/auto")
	a.Automatic = true
	c.Accept = []Acceptance{a}
	return c
}

// prepare makes the store that the operations work on, of an older schema for
// "migrate".
func prepare(t testing.TB, op string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trust.db")
	if op == "create" {
		return path
	}
	o := Options{Create: true}
	if op == "migrate" {
		o.version = 1
	}
	s := openAt(t, path, o)
	ctx := context.Background()
	r := release(t, "pkg:npm/z@1.0.0")
	_, err := s.Record(ctx, commit(t, 5, ""))
	_, err2 := s.Record(ctx, Commit{Collected: []trust.Evidence{evidence(r, workflow("x", "y"))}})
	_, err3 := s.PutRequest(ctx, RequestRecord{Release: r, Reason: "needed", By: "carol"})
	_, err4 := s.Swap(ctx, "tree", nil, []byte("head 1"))
	err5 := s.PutApproval(ctx, []byte(`{"payload":"e30="}`), ApprovalRecord{Release: r, By: "dave"})
	if err := errors.Join(err, err2, err3, err4, err5, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// killedJob does an operation and kills its own process at a step.
func killedJob(op, step string) error {
	ctx := context.Background()
	die := func(at string) error {
		if at == step {
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				return err
			}
			select {}
		}
		return nil
	}
	s, err := Open(ctx, "trust.db", Options{Create: op == "create", step: die})
	if err != nil {
		return err
	}
	defer s.Close()
	if f := operations[op]; f != nil {
		return f(ctx, s)
	}
	return nil
}

// Killed at every step of every write: what is found afterwards is the state
// before or the state after, whole, and the operation can be done again.
func TestThreat128KilledAtEveryStep(t *testing.T) {
	for op, at := range steps {
		for _, step := range at {
			t.Run(op+"/"+step, func(t *testing.T) {
				t.Parallel()
				path := prepare(t, op)
				var before string
				if op != "create" && op != "migrate" {
					s := openAt(t, path, Options{})
					before = dump(t, s)
					s.Close()
				}
				c := child(t, filepath.Dir(path), "kill "+op+" "+step)
				out, err := c.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("was not killed: %v, %s", err, out)
				}
				s := openAt(t, path, Options{Create: op == "create"})
				check(t, s)
				if before != "" {
					after := dump(t, s)
					if done := step == "committed"; done == (after == before) {
						t.Fatalf("killed at %s: changed is %v", step, after != before)
					}
					if step != "committed" {
						if err := operations[op](t.Context(), s); err != nil {
							t.Fatalf("again: %v", err)
						}
						check(t, s)
					}
				}
				s.Close()
				es, err := os.ReadDir(filepath.Dir(path))
				if err != nil || len(es) != 1 {
					t.Fatalf("left behind: %v, %v", es, err)
				}
			})
		}
	}
}

// Each step fails, and the last one fails although it was persisted: the caller
// gets the error, the store holds one of the two states, and goes on.
func TestThreat128FailedAndFailedButPersisted(t *testing.T) {
	for op, f := range operations {
		for _, step := range steps[op] {
			t.Run(op+"/"+step, func(t *testing.T) {
				fails := errors.New("failed at " + step)
				armed := true
				s := openAt(t, prepare(t, op), Options{step: func(at string) error {
					if armed && at == step {
						return fails
					}
					return nil
				}})
				before := dump(t, s)
				if err := f(t.Context(), s); !errors.Is(err, fails) {
					t.Fatal(err)
				}
				armed = false
				check(t, s)
				if after := dump(t, s); (after == before) == (step == "committed") {
					t.Fatalf("changed is %v", after != before)
				}
				err := f(t.Context(), s)
				if err != nil && !(step == "committed" && op == "approve" && errors.Is(err, ErrConflict)) {
					t.Fatalf("again: %v", err)
				}
				check(t, s)
			})
		}
	}
}

// Power is cut at any point after a revocation was confirmed: what reached the disk
// later is lost in part or in whole, the revocation never is, and what is left is sound.
func TestThreat127PowerCut(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, prepare(t, "record"), Options{})
	// Nothing may move into the main file meanwhile: the cut is in the journal.
	mustExec(t, s.w, "PRAGMA wal_autocheckpoint = 0")
	if err := operations["revoke"](ctx, s); err != nil {
		t.Fatal(err)
	}
	confirmed := len(read(t, s.Path()+"-wal"))
	if err := operations["record"](ctx, s); err != nil {
		t.Fatal(err)
	}
	main, wal := read(t, s.Path()), read(t, s.Path()+"-wal")
	if confirmed == 0 || len(wal) <= confirmed {
		t.Fatalf("the journal has %d bytes, %d when the revocation was confirmed", len(wal), confirmed)
	}
	cuts := []int{confirmed, confirmed + 1, confirmed + 24 + 4096, len(wal) - 1, len(wal)}
	for i := 1; i < 8; i++ {
		cuts = append(cuts, confirmed+(len(wal)-confirmed)*i/8)
	}
	for _, cut := range cuts {
		for _, torn := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "trust.db")
			left := slices.Clone(wal[:cut])
			if torn && cut > confirmed {
				left[cut-1] ^= 0xff // the last sector is half written
			}
			if err := errors.Join(os.WriteFile(path, main, 0o600), os.WriteFile(path+"-wal", left, 0o600)); err != nil {
				t.Fatal(err)
			}
			after := openAt(t, path, Options{})
			check(t, after)
			as, err := after.Acceptances(ctx, AcceptanceFilter{Identity: workflow("org", "repo").ID()})
			if err != nil || len(as) == 0 {
				t.Fatalf("cut at %d: %d acceptances, %v", cut, len(as), err)
			}
			for _, a := range as {
				if a.Revoked == nil {
					t.Fatalf("cut at %d of %d, torn %v: the revoked signer is back", cut, len(wal), torn)
				}
			}
			after.Close()
		}
	}
}

// After a failed write to disk the store takes no further writes until it is
// opened again.
func TestThreat129FailedSyncEndsWriting(t *testing.T) {
	ctx := t.Context()
	armed := true
	path := prepare(t, "record")
	s := openAt(t, path, Options{step: func(at string) error {
		if armed && at == "commit" {
			return sqlite3.Error{Code: sqlite3.ErrIoErr, ExtendedCode: sqlite3.ErrIoErrFsync}
		}
		return nil
	}})
	if err := operations["revoke"](ctx, s); !errors.Is(err, ErrIO) {
		t.Fatal(err)
	}
	armed = false
	if err := operations["revoke"](ctx, s); !errors.Is(err, ErrIO) || !strings.Contains(err.Error(), "open the store again") {
		t.Fatalf("went on after a failed sync: %v", err)
	}
	check(t, s)
	again := openAt(t, path, Options{})
	if err := operations["revoke"](ctx, again); err != nil {
		t.Fatal(err)
	}
	check(t, again)
}

// A full disk fails the command and not the store.
func TestFullDisk(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, prepare(t, "record"), Options{})
	before := dump(t, s)
	var pages int64
	if err := s.w.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	mustExec(t, s.w, fmt.Sprintf("PRAGMA max_page_count = %d", pages+3))
	if err := operations["record"](ctx, s); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "nothing was recorded") {
		t.Fatal(err)
	}
	check(t, s)
	if dump(t, s) != before {
		t.Fatal("something was recorded")
	}
	mustExec(t, s.w, "PRAGMA max_page_count = 1000000")
	if err := operations["record"](ctx, s); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}

// A run that is cancelled in the middle records nothing.
func TestCancelledRecordsNothing(t *testing.T) {
	for _, step := range []string{"begin", "decisions", "pins", "checkpoint", "commit"} {
		ctx, cancel := context.WithCancel(t.Context())
		s := openAt(t, prepare(t, "record"), Options{step: func(at string) error {
			if at == step {
				cancel()
			}
			return nil
		}})
		before := dump(t, s)
		if err := operations["record"](ctx, s); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", step, err)
		}
		check(t, s)
		if dump(t, s) != before {
			t.Fatalf("%s: something was recorded", step)
		}
		if err := operations["record"](t.Context(), s); err != nil {
			t.Fatalf("%s: again: %v", step, err)
		}
	}
}

// A store that another process holds locked is told apart, and works later.
func TestLocked(t *testing.T) {
	s, _ := newStore(t)
	db := rawDB(t, s.Path())
	mustExec(t, db, "BEGIN IMMEDIATE")
	impatient := openAt(t, s.Path(), Options{BusyTimeout: 20 * time.Millisecond})
	err := operations["accept"](t.Context(), impatient)
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "try again") {
		t.Fatal(err)
	}
	check(t, impatient) // readers do not wait
	mustExec(t, db, "ROLLBACK")
	if err := operations["accept"](t.Context(), impatient); err != nil {
		t.Fatal(err)
	}
	check(t, impatient)
}

// writingJob writes for a while, as a CI job does: it records runs, counts up a
// counter by compare and swap, accepts, requests and approves. It prints how
// often it counted.
func writingJob(arg string) error {
	ctx := context.Background()
	var id int
	var d time.Duration
	var ms int64
	if _, err := fmt.Sscanf(arg, "%d %d", &id, &ms); err != nil {
		return err
	}
	d = time.Duration(ms) * time.Millisecond
	s, err := Open(ctx, "trust.db", Options{Create: true})
	if err != nil {
		return err
	}
	defer s.Close()
	counted, rounds := 0, 0
	for end := time.Now().Add(d); time.Now().Before(end); rounds++ {
		salt := fmt.Sprintf("w%d-%d-", id, rounds)
		if _, err := s.Record(ctx, plainCommit(3, salt)); err != nil {
			return fmt.Errorf("record: %w", err)
		}
		old, err := s.Load(ctx, "counter")
		if err != nil {
			return err
		}
		n := 0
		if old != nil {
			if _, err := fmt.Sscan(string(old), &n); err != nil {
				return err
			}
		}
		ok, err := s.Swap(ctx, "counter", old, fmt.Append(nil, n+1))
		if err != nil {
			return fmt.Errorf("swap: %w", err)
		}
		if ok {
			counted++
		}
		r := trust.Release{Package: trust.Package{Type: "npm", Name: "shared"}, Version: fmt.Sprintf("1.0.%d", rounds)}
		q, err := s.PutRequest(ctx, RequestRecord{Release: r, Reason: "needed", By: "carol"})
		if err != nil {
			return fmt.Errorf("request: %w", err)
		}
		env := fmt.Appendf(nil, `{"payload":"%s"}`, salt)
		if err := s.PutApproval(ctx, env, ApprovalRecord{Release: r, By: "dave"}); err != nil {
			return fmt.Errorf("approval: %w", err)
		}
		err = s.DecideRequest(ctx, q, RequestDecision{State: RequestApproved, By: fmt.Sprint("dave", id), Reason: "fine", Approvals: []string{ApprovalID(env)}})
		if err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("decide: %w", err)
		}
		if _, err := s.Accept(ctx, []Acceptance{acceptance(workflow(salt, "r"), "pkg:npm/shared")}); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
	}
	fmt.Println(counted, rounds)
	return nil
}

// Eight processes write for a while: no busy error, no lost update, log intact.
// HEADGATE_STORE_TEST_SECONDS sets how long, 2 by default.
func TestThreat119EightProcesses(t *testing.T) {
	seconds := 2
	if v := os.Getenv("HEADGATE_STORE_TEST_SECONDS"); v != "" {
		if _, err := fmt.Sscan(v, &seconds); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	var cs []*exec.Cmd
	var outs []*strings.Builder
	for i := range 8 {
		c := child(t, dir, fmt.Sprintf("write %d %d", i, seconds*1000))
		out := &strings.Builder{}
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		cs, outs = append(cs, c), append(outs, out)
	}
	counted, rounds := 0, 0
	for i, c := range cs {
		if err := c.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, outs[i])
			continue
		}
		var n, r int
		if _, err := fmt.Sscan(outs[i].String(), &n, &r); err != nil || r == 0 {
			t.Errorf("process %d: %q, %v", i, outs[i], err)
		}
		counted, rounds = counted+n, rounds+r
	}
	if t.Failed() {
		return
	}
	ctx := t.Context()
	s := openAt(t, filepath.Join(dir, "trust.db"), Options{})
	check(t, s)
	v, err := s.Load(ctx, "counter")
	if err != nil || string(v) != fmt.Sprint(counted) {
		t.Fatalf("counted to %s, %v; the processes counted %d", v, err, counted)
	}
	for table, want := range map[string]int{"run": rounds, "decision": 3 * rounds, "approval": rounds, "acceptance": 2 * rounds} {
		var n int
		if err := s.r.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d rows, %v; want %d", table, n, err, want)
		}
	}
	var twice int
	if err := s.r.QueryRow("SELECT count(*) FROM (SELECT id FROM log WHERE kind = 'request' AND json_extract(leaf, '$.op') = 'approved' GROUP BY id HAVING count(*) > 1)").Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d requests were approved twice, %v", twice, err)
	}
	t.Logf("%d rounds of 5 writes, %d counted", rounds, counted)
}
