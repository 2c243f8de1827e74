package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/sbom/scan"
)

// The benchmarks run the program as a process of its own: wall time, processor time
// and peak resident memory are those that a user sees, the memory with the pages of
// the program's file that are mapped. The process is this test binary under the
// program's name, as in the scripts, which starts a little slower than the program
// itself. What is compared is run in turns (A B A B …), so that a machine that slows
// down slows down both, and medians are printed.

func buildBinary(b testing.TB) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for _, name := range []string{"headgate", "headgate-inventory"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			b.Fatal(err)
		}
	}
	return filepath.Join(dir, "headgate")
}

// inventoryMain is a program that takes the inventory of its argument and nothing
// else, with everything linked that headgate links: what a check is compared with.
func inventoryMain() {
	inv, err := scan.Open(context.Background(), os.Args[1], scan.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(len(inv.Components))
}

// command is one process to measure.
type command struct {
	name string // of its metrics
	args []string
	dir  string
	env  []string
	code int
	// before is done before each run, not measured; nil for nothing.
	before func()
	out    []byte // of the last run

	wall, cpu []time.Duration
	peak      int64
}

// run runs the process once.
func (c *command) run(b testing.TB) {
	b.Helper()
	if c.before != nil {
		c.before()
	}
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err := cmd.Start()
	peak := func() int64 { return 0 }
	if err == nil {
		peak = watchMemory(cmd.Process.Pid)
		err = cmd.Wait()
	}
	took := time.Since(start)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.code {
		b.Fatalf("%s: %v, expected exit code %d\n%s%s", strings.Join(c.args, " "), err, c.code, tail(out.Bytes()), tail(errs.Bytes()))
	}
	c.wall, c.cpu = append(c.wall, took), append(c.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	c.peak, c.out = max(c.peak, peak()), out.Bytes()
}

// watchMemory follows the peak of a process's resident memory; the result stops it
// and returns the peak in bytes. What a process leaves behind when it ends is of no
// use: that starts with the memory of the one that started it.
func watchMemory(pid int) (stop func() int64) {
	var peak int64
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
				if _, rest, ok := bytes.Cut(b, []byte("VmHWM:")); ok {
					var kb int64
					if _, err := fmt.Sscanf(string(rest), "%d kB", &kb); err == nil {
						peak = max(peak, kb*1024)
					}
				}
			}
			select {
			case <-end:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() int64 { close(end); <-done; return peak }
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

func median(ds []time.Duration) float64 {
	ds = slices.Sorted(slices.Values(ds))
	return float64((ds[(len(ds)-1)/2] + ds[len(ds)/2]).Microseconds()) / 2000
}

// measure runs the processes in turns and reports the medians in milliseconds.
func measure(b *testing.B, rounds int, cs ...*command) {
	b.Helper()
	for range rounds * b.N {
		for _, c := range cs {
			c.run(b)
		}
	}
	b.ReportMetric(0, "ns/op") // the processes, not the loop
	for _, c := range cs {
		b.ReportMetric(median(c.wall), "ms-"+c.name)
		b.ReportMetric(median(c.cpu), "cpu-ms-"+c.name)
		b.ReportMetric(float64(c.peak)/(1<<20), "MB-"+c.name)
	}
}

// private gives a process data, cache and home of its own.
func private(b testing.TB, more ...string) []string {
	dir := b.TempDir()
	return append([]string{"HOME=" + dir, "XDG_DATA_HOME=" + filepath.Join(dir, "data"), "XDG_CACHE_HOME=" + filepath.Join(dir, "cache"), "NO_COLOR=1"}, more...)
}

// bigLock writes a package-lock.json with n packages of the test registry.
func bigLock(b *testing.B, dir string, n int) {
	b.Helper()
	deps, pkgs := obj{}, obj{}
	for i := range n {
		name := fmt.Sprintf("plain-%05d", i)
		deps[name] = "1.0.0"
		pkgs["node_modules/"+name] = obj{"version": "1.0.0", "resolved": npm.DefaultRegistry + name + "/-/" + name + "-1.0.0.tgz", "integrity": npmIntegrity(name, "1.0.0")}
	}
	root := obj{"name": "project", "version": "1.0.0", "dependencies": deps}
	pkgs[""] = root
	for f, v := range map[string]obj{"package.json": root, "package-lock.json": {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": pkgs}} {
		raw, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), raw, 0o644)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkProcessStart: `headgate version`; the bound of the wall time is 50 ms.
func BenchmarkProcessStart(b *testing.B) {
	c := &command{name: "start", args: []string{buildBinary(b), "version"}, env: private(b)}
	c.run(b) // the file is in the page cache afterwards
	c.wall, c.cpu, c.peak = nil, nil, 0
	measure(b, 11, c)
}

// commitAll makes dir a git repository with everything in it committed.
func commitAll(b testing.TB, dir string) {
	b.Helper()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		b.Fatal(err)
	}
	w, err := repo.Worktree()
	if err == nil {
		err = w.AddGlob(".")
	}
	if err == nil {
		_, err = w.Commit("base", &git.CommitOptions{Author: &object.Signature{Name: "dev", Email: "dev@example.com", When: time.Unix(1600000000, 0)}})
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkInventory is the whole process over a package-lock.json: the inventory
// alone, and a check whose base is the same, with a store that is there; its bound is
// 50 ms above the inventory. The syft command on the same file is run between them
// where it is installed; the bound of the inventory is a tenth of its time.
func BenchmarkInventory(b *testing.B) {
	bin := buildBinary(b)
	for _, n := range []int{1_000, 10_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir, env := b.TempDir(), private(b)
			bigLock(b, dir, n)
			commitAll(b, dir)
			inventory := &command{name: "inventory", args: []string{bin + "-inventory", dir}, env: env}
			check := &command{name: "check", args: []string{bin, "check", dir, "--base", "HEAD", "--quiet"}, env: env}
			cs := []*command{inventory, check}
			if path, err := exec.LookPath("syft"); err == nil {
				cs = append(cs, &command{name: "syft", args: []string{path, "file:" + filepath.Join(dir, "package-lock.json"), "-o", "json", "-q"}, env: env})
			} else {
				b.Log("the syft command is not installed: nothing to compare with")
			}
			check.run(b) // creates the store
			check.wall, check.cpu, check.peak = nil, nil, 0
			measure(b, 5, cs...)
			if got := strings.TrimSpace(string(inventory.out)); got != fmt.Sprint(n+1) {
				b.Fatalf("%s components in the inventory", got)
			}
			b.ReportMetric(median(check.wall)-median(inventory.wall), "ms-above")
			b.ReportMetric(median(check.cpu)-median(inventory.cpu), "cpu-ms-above")
			if len(cs) > 2 {
				b.ReportMetric(100*median(inventory.wall)/median(cs[2].wall), "%-of-syft")
				b.ReportMetric(100*median(inventory.cpu)/median(cs[2].cpu), "%-of-syft-cpu")
			}
		})
	}
}

// npmOnly keeps npm from Sigstore's TUF repository, which is not of this machine: it
// takes the keys from the registry then, as it does for registries that are not there.
const npmOnly = `const m = require('module'), load = m._load
m._load = function (name, ...rest) {
  if (name !== '@sigstore/tuf') return load.call(this, name, ...rest)
  const none = Object.assign(new Error('not asked'), { code: 'TUF_FIND_TARGET_ERROR' })
  return { initTUF: async () => ({ getTarget: async () => { throw none } }) }
}
`

// installed makes what npm needs to see of installed packages, and the command that
// verifies their signatures with an empty cache; nil without npm.
func installed(b *testing.B, g *npmRegistry, n int) *command {
	path, err := exec.LookPath("npm")
	if err != nil {
		b.Log("npm is not installed: nothing to compare with")
		return nil
	}
	dir, home := b.TempDir(), b.TempDir()
	bigLock(b, dir, n)
	if err := os.WriteFile(filepath.Join(home, "only.js"), []byte(npmOnly), 0o644); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		at := filepath.Join(dir, "node_modules", fmt.Sprintf("plain-%05d", i))
		if err := os.MkdirAll(at, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "package.json"), fmt.Appendf(nil, `{"name":"plain-%05d","version":"1.0.0"}`, i), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	cache := filepath.Join(home, "cache")
	return &command{
		name: "npm", args: []string{path, "audit", "signatures"}, dir: dir,
		env: []string{"HOME=" + home, "npm_config_cache=" + cache, "npm_config_registry=" + g.url, "npm_config_update_notifier=false",
			"npm_config_userconfig=" + filepath.Join(home, "npmrc"), "NODE_OPTIONS=--require=" + filepath.Join(home, "only.js")},
		before: func() {
			if err := os.RemoveAll(cache); err != nil {
				b.Fatal(err)
			}
		},
	}
}

// BenchmarkCheckCold: npm packages that nobody knows yet, against a registry in
// this process that answers each request after 50 ms, beside `npm audit signatures`
// for the same packages of the same registry; then the same with everything in the
// store. Requests and bytes are those that the report counts.
func BenchmarkCheckCold(b *testing.B) {
	for _, n := range []int{1_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			large := n > 1_000
			if large && os.Getenv("HEADGATE_BENCH_LARGE") == "" {
				b.Skip("takes minutes: set HEADGATE_BENCH_LARGE to run it")
			}
			bin := buildBinary(b)
			g := newNPMRegistry(b)
			roots, dir := b.TempDir(), b.TempDir()
			if err := g.roots(roots); err != nil {
				b.Fatal(err)
			}
			bigLock(b, dir, n)
			if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(g.mirrorConfig()), 0o644); err != nil {
				b.Fatal(err)
			}
			for i := range n {
				g.packument(fmt.Sprintf("plain-%05d", i)) // making and signing it is none of the checker's time
			}
			g.delay = 50 * time.Millisecond
			env := private(b, "NPM_CONFIG_REGISTRY="+g.url, InsecureEnv+"="+strings.TrimSuffix(strings.TrimPrefix(g.url, "http://"), "/"))
			(&command{args: []string{bin, "db", "update", "--from", roots}, env: env}).run(b)
			report := filepath.Join(b.TempDir(), "r.json")
			cold := &command{name: "cold", args: []string{bin, "check", dir, "--quiet", "--no-reuse", "--no-progress", "-o", "text", "-o", "json=" + report}, env: env,
				before: func() {
					if err := os.RemoveAll(strings.TrimPrefix(env[2], "XDG_CACHE_HOME=")); err != nil {
						b.Fatal(err)
					}
				}}
			rounds, cs := 3, []*command{cold}
			if large {
				rounds, g.delay = 1, 0 // this one is about memory
			} else if npm := installed(b, g, n); npm != nil {
				cs = append(cs, npm)
				defer func() {
					if !bytes.Contains(npm.out, fmt.Appendf(nil, "%d packages have verified registry signatures", n)) {
						b.Errorf("npm did not verify what it was asked to: %s", tail(npm.out))
					}
				}()
			}
			measure(b, rounds, cs...)
			raw, err := os.ReadFile(report)
			if err != nil {
				b.Fatal(err)
			}
			var r struct {
				Summary struct {
					Requests, Bytes int64
					Judged          int
				} `json:"summary"`
			}
			if err := json.Unmarshal(raw, &r); err != nil || r.Summary.Judged < n {
				b.Fatalf("%+v, %v", r, err)
			}
			b.ReportMetric(float64(r.Summary.Requests), "requests")
			b.ReportMetric(float64(r.Summary.Bytes)/1024, "kB")
			measure(b, rounds, &command{name: "warm", args: []string{bin, "check", dir, "--quiet", "--no-progress"}, env: env})
		})
	}
}

// BenchmarkRegistryAnswer is what a request to the test registry costs by itself,
// to be taken off the numbers of BenchmarkCheckCold: making and signing a record.
func BenchmarkRegistryAnswer(b *testing.B) {
	g := newNPMRegistry(b)
	srv := httptest.NewServer(g)
	defer srv.Close()
	for i := range b.N {
		res, err := http.Get(fmt.Sprintf("%s/plain-%d", srv.URL, i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			b.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
