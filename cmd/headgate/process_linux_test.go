package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"github.com/headgate/headgate/ingest"
)

// station is a user's machine: a project, a module proxy and a home. What it
// runs is the program itself, in a process of its own.
type station struct {
	t     *testing.T
	dir   string
	env   []string
	store string
	proxy *holding
}

// holding is a module proxy that can stop answering.
type holding struct {
	*proxy
	mu    sync.Mutex
	hold  bool
	asked chan struct{} // receives when a request is held
}

func (h *holding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	hold := h.hold
	h.mu.Unlock()
	if hold && strings.HasSuffix(r.URL.Path, ".info") {
		select {
		case h.asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return
	}
	h.proxy.ServeHTTP(w, r)
}

func (h *holding) set(hold bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = hold
	select {
	case <-h.asked: // by a process that is gone
	default:
	}
}

func newStation(t *testing.T, modules ...string) *station {
	t.Helper()
	p := newProxy(t)
	h := &holding{proxy: p, asked: make(chan struct{}, 1)}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	s := &station{t: t, dir: filepath.Join(dir, "app"), store: filepath.Join(dir, "data", "headgate", "trust.db"), proxy: h}
	s.env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "GOENV=off", "GOPROXY="+srv.URL,
		"GOSUMDB="+p.vkey+" "+srv.URL+"/sumdb/"+dbName, InsecureEnv+"="+strings.TrimPrefix(srv.URL, "http://"), "HEADGATE_USER=carol")
	s.write(modules...)
	return s
}

// write makes the project's go.mod and go.sum.
func (s *station) write(modules ...string) {
	s.t.Helper()
	mod, sum := "module example.com/app\n\ngo 1.26\n\nrequire (\n", ""
	for _, m := range modules {
		name, version, _ := strings.Cut(m, "@")
		mod += "\t" + name + " " + version + "\n"
		lines, err := hashes(name, version)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += lines
	}
	err := errors.Join(os.MkdirAll(s.dir, 0o755), os.WriteFile(filepath.Join(s.dir, "go.mod"), []byte(mod+")\n"), 0o644), os.WriteFile(filepath.Join(s.dir, "go.sum"), []byte(sum), 0o644))
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// result is what a process left behind.
type result struct {
	code        int
	out, errout string
}

func (s *station) wait(cmd *exec.Cmd) result {
	s.t.Helper()
	var out, errout bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errout
	err := cmd.Run()
	var x *exec.ExitError
	if err != nil && !errors.As(err, &x) {
		s.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errout.String()}
}

// run runs headgate and demands an exit code.
func (s *station) run(want int, args ...string) result {
	s.t.Helper()
	return s.demand(want, s.command("headgate", args...))
}

func (s *station) demand(want int, cmd *exec.Cmd) result {
	s.t.Helper()
	r := s.wait(cmd)
	if r.code != want {
		s.t.Fatalf("%v: exit code %d, want %d\n%s%s", cmd.Args, r.code, want, r.out, r.errout)
	}
	return r
}

// mounted runs headgate in a mount namespace of its own, after a command of the shell.
func (s *station) mounted(setup string, args ...string) *exec.Cmd {
	s.t.Helper()
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", s.t.TempDir()).CombinedOutput(); err != nil {
		s.t.Skipf("this machine lets nobody mount: %v %s", err, out)
	}
	return s.command("unshare", append([]string{"-rm", "sh", "-c", "set -e; " + setup + `; exec headgate "$@"`, "sh"}, args...)...)
}

var entries = regexp.MustCompile(`(?m)^(\d+ entries) and .* verified`)

// entries is how many entries the log has; everything in the store must verify.
func (s *station) entries() string {
	s.t.Helper()
	m := entries.FindStringSubmatch(s.run(ingest.ExitAllowed, "log", "verify").out)
	if m == nil {
		s.t.Fatal("the log says nothing of its entries")
	}
	return m[1]
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%q is missing in:\n%s", want, text)
	}
}

// A store that cannot be written is checked against, and the verdict is the same.
func TestProcessReadOnlyStore(t *testing.T) {
	s := newStation(t, "example.com/a@v1.0.0", "example.com/b@v1.0.0")
	s.run(ingest.ExitAllowed, "init")
	before := s.entries()
	ro := func(args ...string) *exec.Cmd {
		d := filepath.Dir(s.store)
		return s.mounted(fmt.Sprintf("mount --bind %[1]s %[1]s && mount -o remount,bind,ro %[1]s", d), args...)
	}
	r := s.demand(ingest.ExitAllowed, ro("check"))
	contains(t, r.out, "the store is read-only: the decisions of this run were not recorded")
	contains(t, s.demand(ingest.ExitUsage, ro("init", "--extend")).errout, "cannot be written")
	s.write("example.com/a@v1.0.0", "example.com/b@v1.0.0", "example.com/young@v1.0.0")
	contains(t, s.demand(ingest.ExitStopped, ro("check")).out, "hold cooldown")
	if err := os.WriteFile(filepath.Join(s.dir, "go.sum"), []byte("example.com/a v1.0.0 h1:"+strings.Repeat("A", 43)+"=\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	contains(t, s.demand(ingest.ExitStopped, ro("check")).out, "failed-evidence")
	if after := s.entries(); after != before {
		t.Errorf("the log had %s and has %s", before, after)
	}
}

// A full disk stops the run with its own words, records nothing of it, and
// leaves a store that verifies.
func TestProcessFullDisk(t *testing.T) {
	s := newStation(t, "example.com/a@v1.0.0", "example.com/b@v1.0.0")
	s.run(ingest.ExitAllowed, "init")
	fi, err := os.Stat(s.store)
	if err != nil {
		t.Fatal(err)
	}
	// All in one namespace: the small disk is gone with its last process.
	script := fmt.Sprintf(`mount -t tmpfs -o size=%d none /mnt; cp %s /mnt/t.db
n=0; while headgate check --no-reuse --store /mnt/t.db >/dev/null 2>/mnt/../tmp/full.$$; do n=$((n+1)); test $n -lt 200; headgate log verify --store /mnt/t.db | head -1 >/tmp/before.$$; done
echo "code $?"; cat /tmp/full.$$ /tmp/before.$$ 2>/dev/null; headgate log verify --store /mnt/t.db | head -1; rm -f /tmp/full.$$ /tmp/before.$$`, fi.Size()+200<<10, s.store)
	cmd := s.mounted("true")
	cmd.Args = []string{"unshare", "-rm", "sh", "-c", script}
	r := s.wait(cmd)
	contains(t, r.out, "the decisions could not be recorded")
	contains(t, r.out, "no space left for the trust store")
	contains(t, r.out, "nothing was recorded; free some space")
	if m := entries.FindAllStringSubmatch(r.out, -1); len(m) == 0 || len(m) == 2 && m[0][1] != m[1][1] {
		t.Errorf("entries before and after: %v\n%s%s", m, r.out, r.errout)
	}

	// An answer that cannot be written is no answer.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"check"}, {"check", "-o", "json"}, {"version"}, {"policy", "show"}, {"explain", "pkg:golang/example.com/a@v1.0.0"}} {
		cmd := s.command("headgate", args...)
		cmd.Stdout = full
		contains(t, s.demand(ingest.ExitInternal, cmd).errout, "no space left on device")
	}
}

// Reports go to pipes and to the process's own streams as they are.
func TestProcessReportToAStream(t *testing.T) {
	s := newStation(t, "example.com/a@v1.0.0")
	contains(t, s.run(ingest.ExitAllowed, "check", "-o", "json=/dev/stdout").out, `"verdict": "allow"`)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b, _ := os.ReadFile(fifo)
		got <- b
	}()
	s.run(ingest.ExitAllowed, "check", "-o", "json="+fifo)
	contains(t, string(<-got), `"verdict": "allow"`)
	if fi, err := os.Lstat(fifo); err != nil || fi.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("the pipe is %v (%v) now", fi.Mode(), err)
	}
}

// Ctrl-C in the middle records nothing, promptly, and the next run works.
func TestProcessInterrupted(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		s := newStation(t, "example.com/a@v1.0.0", "example.com/b@v1.0.0")
		stop := func(args ...string) {
			t.Helper()
			s.proxy.set(true)
			cmd := s.command("headgate", args...)
			var errout bytes.Buffer
			cmd.Stderr = &errout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-s.proxy.asked
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			s.proxy.set(false)
			if code := cmd.ProcessState.ExitCode(); code != ingest.ExitInternal {
				t.Errorf("%v: exit code %d", sig, code)
			}
			contains(t, errout.String(), "interrupted: nothing was recorded")
		}
		stop("init")
		contains(t, s.run(ingest.ExitAllowed, "init").out, "baseline of 3 components")
		before := s.entries()
		s.write("example.com/a@v1.0.0", "example.com/b@v1.0.0", "example.com/another@v1.0.0")
		stop("check", "-o", "json=report.json")
		if after := s.entries(); after != before {
			t.Errorf("the log had %s and has %s", before, after)
		}
		if es, err := os.ReadDir(s.dir); err != nil || len(es) != 3 { // go.mod, go.sum, headgate.yaml
			t.Errorf("left in the project: %v %v", es, err)
		}
		s.run(ingest.ExitAllowed, "check")
	}
}

// A store that another process keeps locked is waited for, and then said.
func TestProcessLockedStore(t *testing.T) {
	t.Parallel() // it waits for as long as a user would
	s := newStation(t, "example.com/a@v1.0.0")
	s.run(ingest.ExitAllowed, "init")
	before := s.entries()
	db, err := sql.Open("sqlite3", "file:"+s.store+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	r := s.run(ingest.ExitInternal, "check")
	contains(t, r.errout, "trust store is locked by another process")
	contains(t, r.errout, "another headgate is writing; try again")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if after := s.entries(); after != before {
		t.Errorf("the log had %s and has %s", before, after)
	}
	// One that is let go in time costs nothing but the wait.
	if tx, err = db.Begin(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { _ = tx.Rollback() })
	s.run(ingest.ExitAllowed, "check")
}
