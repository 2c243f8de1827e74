package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/document"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// auditedPackage is package i of the benchmark, as lock files and SBOMs state it.
func auditedPackage(b *testing.B, i int) sbom.Component {
	b.Helper()
	name := fmt.Sprintf("plain-%05d", i)
	r, err := trust.ParseRelease("pkg:npm/" + name + "@1.0.0")
	if err != nil {
		b.Fatal(err)
	}
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(npmIntegrity(name, "1.0.0"), "sha512-"))
	if err != nil {
		b.Fatal(err)
	}
	return sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, sum)}}}}
}

// signedOnce is a registry whose every answer is a signature; the benchmark fills
// the store with it, and the process under test never asks it.
type signedOnce struct{}

func (signedOnce) Describe() adapter.Description {
	return adapter.Description{Name: "npm", Types: []string{"npm"}, Offers: trust.AssuranceRegistry}
}

func (signedOnce) Collect(_ context.Context, q adapter.Request) (adapter.Result, error) {
	a := q.Component.Artifacts[0]
	return adapter.Result{Facts: trust.Facts{Published: time.Now().AddDate(-1, 0, 0), Repository: "https://github.com/acme/plain"}, Evidence: []trust.Evidence{
		{Check: trust.CheckLockfile, Outcome: trust.Verified, Release: q.Component.Release, Artifact: a},
		{Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: q.Component.Release, Artifact: a, Assurance: trust.AssuranceRegistry,
			Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)},
			Raw:    []trust.Raw{trust.NewRaw("registry-signatures", "application/json", []byte(q.Component.Release.PURL()))}},
		{Check: trust.CheckPublish, Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Release: q.Component.Release, Artifact: a},
		{Check: trust.CheckProvenance, Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Release: q.Component.Release, Artifact: a},
	}}, nil
}

// auditWorld writes SBOMs and a store that has let in all that they hold.
func auditWorld(b *testing.B, sboms, each, distinct int) (dir, db string) {
	b.Helper()
	dir, db = b.TempDir(), filepath.Join(b.TempDir(), "trust.db")
	s, err := store.Open(b.Context(), db, store.Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	p, err := policies.Load(&policies.Config{Version: policies.ConfigVersion}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	inv := &sbom.Inventory{Source: sbom.Source{Scheme: "sbom", Name: "all"}}
	var lines []string
	for i := range distinct {
		c := auditedPackage(b, i)
		inv.Components = append(inv.Components, c)
		lines = append(lines, fmt.Sprintf(`{"type":"library","bom-ref":%q,"name":%q,"version":"1.0.0","purl":%q,"hashes":[{"alg":"SHA-512","content":%q}],"licenses":[{"license":{"id":"MIT"}}]}`,
			c.Release.PURL(), c.Release.Package.Name, c.Release.PURL(), hex.EncodeToString(c.Artifacts[0].Digests[0].Bytes())))
	}
	g := &ingest.Gate{Tool: "headgate bench", Adapters: map[string]adapter.Adapter{"npm": signedOnce{}}, Memory: s, Judge: p, Clock: time.Now, Continuity: ingest.CompareSigners}
	if _, err := g.Check(b.Context(), ingest.Request{Command: "init", Inventory: inv, Baseline: ingest.BaselineReached}); err != nil {
		b.Fatal(err)
	}
	for i := range sboms {
		var doc bytes.Buffer
		doc.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[`)
		for j := range each {
			if j > 0 {
				doc.WriteString(",\n")
			}
			doc.WriteString(lines[(i*37+j*41)%distinct])
		}
		doc.WriteString("]}\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("service-%04d.cdx.json", i)), doc.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir, db
}

// BenchmarkAuditWarm audits SBOMs whose every release was let in and looked at
// within the hour: 100 of 500 packages, and with HEADGATE_BENCH_LARGE 1,000. The
// releases are 2,000 and 20,000: with ten times the SBOMs of the same releases
// ("repeated") only the reading grows. Processor time is counted, since a shared
// machine's clock says little, and what reading the SBOMs costs by itself is
// told apart.
func BenchmarkAuditWarm(b *testing.B) {
	for _, size := range []struct {
		name                  string
		sboms, each, distinct int
	}{{"small", 100, 500, 2_000}, {"repeated", 1_000, 500, 2_000}, {"large", 1_000, 500, 20_000}} {
		b.Run(size.name, func(b *testing.B) {
			if size.name != "small" && os.Getenv("HEADGATE_BENCH_LARGE") == "" {
				b.Skip("takes minutes: set HEADGATE_BENCH_LARGE to run it")
			}
			dir, db := auditWorld(b, size.sboms, size.each, size.distinct)
			bin, env := buildBinary(b), private(b, "HEADGATE_STORE="+db)
			report := filepath.Join(b.TempDir(), "r.json")
			args := []string{"audit", "sboms:" + dir, "--quiet", "--no-progress", "--offline", "-o", "text", "-o", "json=" + report}
			(&command{args: append([]string{bin}, args...), env: env}).run(b) // the first audit of these sources
			reading := cpuOf(b, func() {
				paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
				if err != nil {
					b.Fatal(err)
				}
				for _, p := range paths {
					if _, err := document.ReadFile(p); err != nil {
						b.Fatal(err)
					}
				}
			})
			var cpu, wall time.Duration
			var peak int64
			b.ResetTimer()
			for range b.N {
				cmd := exec.Command(bin, args...)
				cmd.Env = append(os.Environ(), env...)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				start := time.Now()
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				stop := watchMemory(cmd.Process.Pid)
				err := cmd.Wait()
				peak = max(peak, stop())
				if err != nil {
					b.Fatalf("%v\n%s", err, tail(out.Bytes()))
				}
				wall += time.Since(start)
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.StopTimer()
			raw, err := os.ReadFile(report)
			if err != nil {
				b.Fatal(err)
			}
			var r struct {
				Summary struct{ Requests, Judged, Components int } `json:"summary"`
			}
			if err := json.Unmarshal(raw, &r); err != nil || r.Summary.Requests != 0 || r.Summary.Judged != size.distinct || r.Summary.Components != size.sboms*size.each {
				b.Fatalf("%+v, %v: not a warm audit of %d SBOMs", r, err, size.sboms)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(wall.Seconds()/float64(b.N), "s/process")
			b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/process")
			b.ReportMetric(reading.Seconds(), "cpu-s-reading")
			b.ReportMetric(float64(peak)/(1<<20), "MB-peak")
		})
	}
}

// cpuOf is the processor time that f costs this process.
func cpuOf(b *testing.B, f func()) time.Duration {
	b.Helper()
	used := func() time.Duration {
		var ru syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
			b.Fatal(err)
		}
		return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}
