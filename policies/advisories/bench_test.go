package advisories

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkFullDatabase looks 20,000 packages up among 200,000 advisories. It
// builds the database first, and runs only where HEADGATE_BENCH is set.
func BenchmarkFullDatabase(b *testing.B) {
	if os.Getenv("HEADGATE_BENCH") == "" {
		b.Skip("HEADGATE_BENCH is not set")
	}
	const records, packages = 200_000, 20_000
	dir := b.TempDir()
	path := filepath.Join(dir, "npm", "all.zip")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	z := zip.NewWriter(f)
	for i := range records {
		w, err := z.Create(fmt.Sprintf("GHSA-%d.json", i))
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(w, `{"schema_version":"1.6.0","id":"GHSA-%d","modified":"2024-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"package-%d"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.%d.0"}]}]}]}`, i, i/2, i%50)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	x := Open(filepath.Join(dir, "index"), 0)
	start := time.Now()
	if _, err := x.Update(b.Context(), dir, now); err != nil {
		b.Fatal(err)
	}
	update := time.Since(start).Seconds()
	var items []Item
	for i := range packages {
		items = append(items, Item{Release: rel(b, fmt.Sprintf("pkg:npm/package-%d@1.10.0", i*5))})
	}
	b.ResetTimer()
	for b.Loop() {
		if ans := x.Query(b.Context(), items, now); len(ans.States) != packages || len(ans.Advisories) == 0 {
			b.Fatalf("%d states, %d with advisories", len(ans.States), len(ans.Advisories))
		}
	}
	b.ReportMetric(update, "s/update")
}
