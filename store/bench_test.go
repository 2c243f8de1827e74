package store

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/headgate/headgate/trust"
)

// Measured on two cores of 2.8 GHz that ten other builds shared (load 25, so that
// wall times are several times those of an idle machine): 160,000 decisions were
// recorded and looked up in 59 s of CPU; the file grows by 5.8 kB a decision with
// its evidence, bytes, digest and pin. With 640,000 pieces of evidence and 64,000
// signers (3.8 GB): opening 17 ms; 2,000 releases at once 74 to 283 µs each for
// evidence, 12 to 50 µs for accepted signers; one release 100 to 164 µs. Eight
// processes for ten seconds: 889 rounds of seven writes, no busy error, no lost
// update.

// size is how many pieces of evidence and tens of signers the look-ups are
// measured with; HEADGATE_STORE_BENCH_ROWS sets it, 100,000 by default.
func size(b *testing.B) int {
	n := 100_000
	if v := os.Getenv("HEADGATE_STORE_BENCH_ROWS"); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// benchStore holds n decisions with one piece of evidence and one pin each, in
// runs of 20,000, and n/10 acceptances.
func benchStore(b *testing.B, n int) (*Store, []trust.Release) {
	b.Helper()
	ctx := context.Background()
	s, err := Open(ctx, b.TempDir()+"/trust.db", Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	var rs []trust.Release
	for i := 0; i < n; i += 20_000 {
		c := plainCommit(min(20_000, n-i), fmt.Sprintf("x%d-", i))
		for j, d := range c.Decisions {
			rs = append(rs, d.Release)
			if j%10 == 0 {
				a := acceptance(workflow("org", fmt.Sprintf("repo%d-%d", i, j)), string(PackageScope(d.Release.Package)))
				a.Automatic = true
				c.Accept = append(c.Accept, a)
			}
		}
		if _, err := s.Record(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
	return s, rs
}

// BenchmarkRecord records one run of 20,000 decisions, each with evidence, its
// bytes, a seen digest and a pin.
func BenchmarkRecord(b *testing.B) {
	ctx := context.Background()
	s, err := Open(ctx, b.TempDir()+"/trust.db", Options{Create: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const n = 20_000
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		c := plainCommit(n, fmt.Sprintf("b%d-", i))
		b.StartTimer()
		if _, err := s.Record(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/decision")
	if fi, err := os.Stat(s.Path()); err == nil {
		b.ReportMetric(float64(fi.Size())/float64(b.N)/n, "bytes/decision")
	}
}

// BenchmarkLookup asks for evidence, pins and acceptances of 2,000 releases in
// bulk and of one release, among many rows.
func BenchmarkLookup(b *testing.B) {
	ctx := context.Background()
	s, rs := benchStore(b, size(b))
	const n = 2000
	var some []trust.Release
	var ps []trust.Package
	for i := range n {
		r := rs[i*(len(rs)/n)]
		some, ps = append(some, r), append(ps, r.Package)
	}
	per := func(name string, n int, f func(i int) (int, error)) {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if got, err := f(i); err != nil || got != n {
					b.Fatalf("%d of %d, %v", got, n, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N)/float64(n), "µs/release")
		})
	}
	per("evidence/bulk", n, func(int) (int, error) { m, err := s.Evidence(ctx, some); return len(m), err })
	per("evidence/one", 1, func(i int) (int, error) { m, err := s.Evidence(ctx, some[i%n:i%n+1]); return len(m), err })
	per("known/bulk", n, func(int) (int, error) { m, err := s.Known(ctx, ps); return len(m), err })
	per("seen/bulk", n, func(int) (int, error) { m, err := s.Seen(ctx, some); return len(m), err })
	per("acceptances/bulk", n, func(int) (int, error) {
		_, err := s.AcceptancesFor(ctx, ps)
		return n, err
	})
}

// BenchmarkVerifyLog recomputes everything.
func BenchmarkVerifyLog(b *testing.B) {
	s, _ := benchStore(b, 20_000)
	for b.Loop() {
		if _, err := s.VerifyLog(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
}
