package lockfile

import (
	"bytes"
	"fmt"
	"testing"
)

// packageLock makes a version 3 lock file of n packages.
func packageLock(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"name":"app","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{` + "\n" + `"":{"name":"app","version":"1.0.0","dependencies":{"p0":"^1.0.0"}}`)
	for i := range n {
		fmt.Fprintf(&b, ",\n    \"node_modules/p%d\": {\n      \"version\": \"1.0.%d\",\n      \"resolved\": \"https://registry.example.com/p%d/-/p%d-1.0.%d.tgz\",\n      \"integrity\": \"%s\",\n      \"license\": \"MIT\",\n      \"dependencies\": {\n        \"p%d\": \"^1.0.0\"\n      },\n      \"engines\": {\n        \"node\": \">=18\"\n      }\n    }", i, i, i, i, i, sri512, i+1)
	}
	b.WriteString("\n}}\n")
	return b.Bytes()
}

func BenchmarkPackageLock(b *testing.B) {
	for _, n := range []int{1000, 10_000, 20_000} {
		content := packageLock(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				res, err := Parse(PackageLock, "package-lock.json", content, nil)
				if err != nil || len(res.Components) != n+1 {
					b.Fatal(len(res.Components), err)
				}
			}
		})
	}
}

func BenchmarkPnpmLock(b *testing.B) {
	var s bytes.Buffer
	const n = 20_000
	s.WriteString("lockfileVersion: '9.0'\nimporters:\n  .:\n    dependencies:\n      p0: {specifier: 1.0.0, version: 1.0.0}\npackages:\n")
	for i := range n {
		fmt.Fprintf(&s, "\n  p%d@1.0.0:\n    resolution: {integrity: %s}\n    engines: {node: '>=18'}\n", i, sri512)
	}
	s.WriteString("snapshots:\n")
	for i := range n {
		fmt.Fprintf(&s, "\n  p%d@1.0.0:\n    dependencies:\n      p%d: 1.0.0\n", i, i+1)
	}
	b.ReportAllocs()
	for b.Loop() {
		res, err := Parse(PnpmLock, "pnpm-lock.yaml", s.Bytes(), nil)
		if err != nil || len(res.Components) != n {
			b.Fatal(len(res.Components), err)
		}
	}
}
