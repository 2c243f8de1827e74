package scan

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/anchore/syft/syft"
)

// packageLock makes a package-lock.json of n packages.
func packageLock(n int) string {
	var b strings.Builder
	b.WriteString(`{"name":"app","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{` + "\n" + `"":{"name":"app","version":"1.0.0","dependencies":{"p0":"^1.0.0"}}`)
	for i := range n {
		sum := sha512.Sum512(fmt.Append(nil, i))
		fmt.Fprintf(&b, ",\n\"node_modules/p%d\":{\n\"version\":\"1.0.%d\",\n\"resolved\":\"https://registry.example.com/p%d/-/p%d-1.0.%d.tgz\",\n\"integrity\":\"sha512-%s\",\n\"license\":\"MIT\",\n\"dependencies\":{\"p%d\":\"^1.0.0\"},\n\"engines\":{\"node\":\">= 0.6\"}}",
			i, i%50, i, i, i%50, base64.StdEncoding.EncodeToString(sum[:]), (i+1)%n)
	}
	b.WriteString("\n}}\n")
	return b.String()
}

func benchDir(b *testing.B, n int) string {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "package-lock.json"), []byte(packageLock(n)), 0o644); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkPackageLock is the time of an inventory; compare it with
// BenchmarkSyft on the same file, which is what the syft command does between
// its start and its output.
func BenchmarkPackageLock(b *testing.B) {
	for _, n := range []int{1000, 10000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := benchDir(b, n)
			b.ReportAllocs()
			var peak uint64
			for b.Loop() {
				inv, err := Open(context.Background(), dir, Options{})
				if err != nil || len(inv.Components) < n || inv.Partial() {
					b.Fatalf("%d components, %v", len(inv.Components), err)
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.Sys)
			}
			b.ReportMetric(float64(peak)/(1<<20), "peak-MB")
		})
	}
}

// BenchmarkSyft is Syft's own way to an SBOM.
func BenchmarkSyft(b *testing.B) {
	sqliteOnce()
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := benchDir(b, n)
			for b.Loop() {
				src, err := syft.GetSource(context.Background(), dir, syft.DefaultGetSourceConfig().WithSources("dir"))
				if err != nil {
					b.Fatal(err)
				}
				s, err := syft.CreateSBOM(context.Background(), src, syft.DefaultCreateSBOMConfig())
				if err != nil || s.Artifacts.Packages.PackageCount() < n {
					b.Fatalf("%v", err)
				}
			}
		})
	}
}
