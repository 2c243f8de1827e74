package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/npm"
)

// The benchmarks run the program as a process of its own: wall time and peak
// resident memory are those that a user sees. The process is this test binary
// under the program's name, as in the scripts, which starts a little slower than
// the program itself.

func buildBinary(b *testing.B) string {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	bin := filepath.Join(b.TempDir(), "headgate")
	if err := os.Symlink(self, bin); err != nil {
		b.Fatal(err)
	}
	return bin
}

// runBinary is one process: its wall time, its peak memory in bytes, and what it printed.
func runBinary(b *testing.B, bin string, env []string, code int, args ...string) (time.Duration, int64, []byte) {
	b.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
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
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		b.Fatalf("headgate %s: %v, expected exit code %d\n%s%s", strings.Join(args, " "), err, code, tail(out.Bytes()), tail(errs.Bytes()))
	}
	return took, peak(), out.Bytes()
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

// measure runs the process b.N times and reports the means.
func measure(b *testing.B, bin string, env []string, code int, args ...string) []byte {
	b.Helper()
	var peak int64
	var total time.Duration
	var out []byte
	b.ResetTimer()
	for range b.N {
		took, rss, o := runBinary(b, bin, env, code, args...)
		peak, total, out = max(peak, rss), total+took, o
	}
	b.ReportMetric(0, "ns/op") // the process, not the loop
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "ms/process")
	b.ReportMetric(float64(peak)/(1<<20), "MB-peak")
	return out
}

// private gives a process data, cache and home of its own.
func private(b *testing.B, more ...string) []string {
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

// BenchmarkProcessStart: `headgate version`; the bound of the issue is 50 ms.
func BenchmarkProcessStart(b *testing.B) {
	bin, env := buildBinary(b), private(b)
	runBinary(b, bin, env, 0, "version") // the file is in the page cache afterwards
	measure(b, bin, env, 0, "version")
}

// BenchmarkInventory: the whole process over a package-lock.json, all of it in the
// base already, so that nothing but the inventory is made; with the peak memory.
// The syft command on the same file is printed beside it where it is installed.
func BenchmarkInventory(b *testing.B) {
	bin := buildBinary(b)
	for _, n := range []int{1_000, 10_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir, env := b.TempDir(), private(b)
			bigLock(b, dir, n)
			sbom := filepath.Join(b.TempDir(), "base.cdx.json")
			measureBase(b, bin, env, dir, sbom)
			measure(b, bin, env, 0, "check", dir, "--base", sbom, "--offline", "--quiet")
			if syft, err := exec.LookPath("syft"); err == nil {
				start := time.Now()
				if err := exec.Command(syft, "file:"+filepath.Join(dir, "package-lock.json"), "-o", "json", "-q").Run(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/syft")
			}
		})
	}
}

// measureBase writes the SBOM of a directory, whatever the verdict.
func measureBase(b *testing.B, bin string, env []string, dir, sbom string) {
	b.Helper()
	cmd := exec.Command(bin, "check", dir, "--policy", "audit", "--offline", "--dry-run", "-o", "cyclonedx="+sbom)
	cmd.Env = append(os.Environ(), env...)
	out, _ := cmd.CombinedOutput() // offline nothing can be known: the verdict is not what is asked for
	if _, err := os.Stat(sbom); err != nil {
		b.Fatalf("%v: %s", err, tail(out))
	}
}

// BenchmarkCheckCold: npm packages that nobody knows yet, against a registry in
// this process that answers each request after 50 ms; requests and bytes are those
// that the report counts.
func BenchmarkCheckCold(b *testing.B) {
	for _, n := range []int{1_000, 20_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 1_000 && os.Getenv("HEADGATE_BENCH_LARGE") == "" {
				b.Skip("takes minutes: set HEADGATE_BENCH_LARGE to run it")
			}
			bin := buildBinary(b)
			g := newNPMRegistry(b)
			g.delay = 50 * time.Millisecond
			if n > 1_000 {
				g.delay = 0 // this one is about memory
			}
			roots, dir := b.TempDir(), b.TempDir()
			if err := g.roots(roots); err != nil {
				b.Fatal(err)
			}
			bigLock(b, dir, n)
			if err := os.WriteFile(filepath.Join(dir, ConfigFile), []byte(g.mirrorConfig()), 0o644); err != nil {
				b.Fatal(err)
			}
			env := private(b, "NPM_CONFIG_REGISTRY="+g.url, InsecureEnv+"="+strings.TrimSuffix(strings.TrimPrefix(g.url, "http://"), "/"))
			runBinary(b, bin, env, 0, "db", "update", "--from", roots)
			report := filepath.Join(b.TempDir(), "r.json")
			var peak int64
			var total time.Duration
			for range b.N {
				if err := os.RemoveAll(filepath.Join(strings.TrimPrefix(env[2], "XDG_CACHE_HOME="))); err != nil {
					b.Fatal(err)
				}
				took, rss, _ := runBinary(b, bin, env, 0, "check", dir, "--quiet", "--no-reuse", "--no-progress", "-o", "text", "-o", "json="+report)
				peak, total = max(peak, rss), total+took
			}
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
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(total.Seconds()/float64(b.N), "s/process")
			b.ReportMetric(float64(peak)/(1<<20), "MB-peak")
			b.ReportMetric(float64(r.Summary.Requests), "requests")
			b.ReportMetric(float64(r.Summary.Bytes)/1024, "kB")
			// The same again with everything in the store.
			took, rss, _ := runBinary(b, bin, env, 0, "check", dir, "--quiet", "--no-progress")
			b.ReportMetric(float64(took.Milliseconds()), "ms-warm")
			b.ReportMetric(float64(rss)/(1<<20), "MB-peak-warm")
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
