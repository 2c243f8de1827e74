package inspect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/headgate/headgate/trust"
)

// BenchmarkPackage looks into a package of 1,000 files and 32 MiB; bytes are
// those unpacked.
func BenchmarkPackage(b *testing.B) {
	const files, size = 1000, 32 << 10
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	add := func(name string, body []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			b.Fatal(err)
		}
	}
	add("package/package.json", []byte(`{"name":"p","version":"1.0.0"}`))
	rnd := rand.NewChaCha8([32]byte{})
	body := make([]byte, size)
	for i := range files {
		for j := range body {
			body[j] = "abcdefgh {};\n"[rnd.Uint64()%13]
		}
		add(fmt.Sprintf("package/f%d.js", i), body)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	if err := z.Close(); err != nil {
		b.Fatal(err)
	}
	r, err := trust.ParseRelease("pkg:npm/p@1.0.0")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(files * size)
	for b.Loop() {
		rep, err := Package(b.Context(), bytes.NewReader(buf.Bytes()), int64(buf.Len()), Options{Release: r, FileName: "p-1.0.0.tgz"})
		if err != nil || len(rep.Files) != files+1 {
			b.Fatal(len(rep.Files), err)
		}
	}
}
