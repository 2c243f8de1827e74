package inspect

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// file is one entry of an archive that a test makes.
type file struct {
	name, body string
	flag       byte
	link       string
}

func tgz(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Typeflag: f.flag, Linkname: f.link}
		if f.flag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		e, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(e, f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inspectBytes(t testing.TB, purl, name string, b []byte, manifest string) *Report {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Package(context.Background(), bytes.NewReader(b), int64(len(b)), Options{Release: r, FileName: name, Manifest: []byte(manifest)})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func find(r *Report, kind string) *policies.Observation {
	for i := range r.Observations {
		if r.Observations[i].Kind == kind {
			return &r.Observations[i]
		}
	}
	return nil
}

const goodManifest = `{"name":"@acme/lib","version":"1.2.3","dependencies":{"x":"^1"},"bin":{"lib":"./cli.js"}}`

func npmPackage(t testing.TB, extra ...file) []byte {
	return tgz(t, append([]file{{name: "package/package.json", body: goodManifest}, {name: "package/index.js", body: "module.exports = 1\n"}}, extra...)...)
}

func TestCleanPackages(t *testing.T) {
	rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib-1.2.3.tgz", npmPackage(t), goodManifest)
	if len(rep.Observations) != 0 {
		t.Errorf("clean npm package: %+v", rep.Observations)
	}
	if len(rep.Files) != 2 {
		t.Errorf("files: %v", rep.Files)
	}
	rep = inspectBytes(t, "pkg:nuget/acme@1.0.0", "acme.1.0.0.nupkg", zipped(t, file{name: "acme.nuspec", body: "<package><metadata><id>Acme</id><version>1.0</version></metadata></package>"}, file{name: "lib/net8.0/acme.xml", body: "<x/>"}), "")
	if len(rep.Observations) != 0 {
		t.Errorf("clean nupkg: %+v", rep.Observations)
	}
}

// TestThreat084ArchiveEscapes also covers rows 85 and 86: names and links that
// leave the package.
func TestThreat084ArchiveEscapes(t *testing.T) {
	for what, f := range map[string]file{
		"parent":    {name: "package/../../etc/passwd", body: "x"},
		"absolute":  {name: "/etc/passwd", body: "x"},
		"drive":     {name: "C:/windows/x", body: "x"},
		"backslash": {name: `package\..\..\x`, body: "x"},
		"dots":      {name: "package/.. /x", body: "x"},
		"bidi":      {name: "package/\u202egnp.js", body: "x"},
	} {
		o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, f), goodManifest), KindPathEscape)
		if o == nil || o.Effect != trust.EffectBlock || o.Entry != f.name {
			t.Errorf("%s: %+v", what, o)
		}
	}
	for what, f := range map[string]file{
		"symlink out": {name: "package/l", flag: tar.TypeSymlink, link: "../../etc"},
		"symlink abs": {name: "package/l", flag: tar.TypeSymlink, link: "/etc"},
		"symlink in":  {name: "package/l", flag: tar.TypeSymlink, link: "index.js"},
		"hard link":   {name: "package/l", flag: tar.TypeLink, link: "package/index.js"},
	} {
		if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, f), goodManifest), KindLink); o == nil || o.Effect != trust.EffectBlock {
			t.Errorf("%s: %+v", what, o)
		}
	}
	for what, flag := range map[string]byte{"fifo": tar.TypeFifo, "char": tar.TypeChar, "block": tar.TypeBlock} {
		if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, file{name: "package/d", flag: flag}), goodManifest), KindDevice); o == nil || o.Effect != trust.EffectBlock {
			t.Errorf("%s: %+v", what, o)
		}
	}
}

func TestThreat088Bombs(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	size := int64(BombFloor + 64<<20)
	if err := w.WriteHeader(&tar.Header{Name: "package/zeros", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", b.Bytes(), "")
	if o := find(rep, KindBomb); o == nil || o.Effect != trust.EffectBlock {
		t.Errorf("bomb of %d bytes from %d: %+v", size, b.Len(), rep.Observations)
	}
	// The same, one level down.
	nested := npmPackage(t, file{name: "package/a.tgz", body: b.String()})
	if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", nested, ""), KindBomb); o == nil {
		t.Error("nested bomb not seen")
	}
	// A zip that lies about an entry's size.
	lying := zipped(t, file{name: "a.txt", body: strings.Repeat("a", 1000)})
	i := bytes.LastIndex(lying, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(lying[i+24:], 10)
	if rep := inspectBytes(t, "pkg:nuget/acme@1.0.0", "acme.nupkg", lying, ""); len(rep.Observations) == 0 {
		t.Error("lying size not seen")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestThreat090TwoReadings(t *testing.T) {
	block := func(what string, b []byte) {
		t.Helper()
		rep := inspectBytes(t, "pkg:nuget/acme@1.0.0", "acme.nupkg", b, "")
		for _, o := range rep.Observations {
			if (o.Kind == KindTwoReadings || o.Kind == KindDuplicate || o.Kind == KindUnreadable) && o.Effect != "" {
				return
			}
		}
		t.Errorf("%s: %+v", what, rep.Observations)
	}
	good := zipped(t, file{name: "a.txt", body: "one"}, file{name: "b.txt", body: "two"})
	block("duplicate entries", zipped(t, file{name: "a.txt", body: "one"}, file{name: "a.txt", body: "two"}))
	block("trailing data", append(bytes.Clone(good), "payload payload"...))
	local := bytes.Clone(good)
	copy(local[30:], "z.txt")
	block("local name differs", local)
	method := bytes.Clone(good)
	method[8] = 0
	block("local method differs", method)
	pre := append([]byte("PK\x03\x04 not a header"), good...)
	block("prefix data", pre)

	tarTail := func() []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		if err := w.WriteHeader(&tar.Header{Name: "package/package.json", Size: int64(len(goodManifest)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, goodManifest)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(z, strings.Repeat("evil", 200))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}()
	if find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", tarTail, ""), KindTwoReadings) == nil {
		t.Error("data behind the tar's end not seen")
	}
	second := append(npmPackage(t), npmPackage(t)...)
	if find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", second, ""), KindTwoReadings) == nil {
		t.Error("second gzip member not seen")
	}
	two := npmPackage(t, file{name: "other/package.json", body: "{}"})
	if find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", two, ""), KindTwoReadings) == nil {
		t.Error("two top folders that npm merges not seen")
	}
	collide := npmPackage(t, file{name: "package/INDEX.js", body: "x"})
	if find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", collide, ""), KindCaseCollision) == nil {
		t.Error("case collision not seen")
	}
}

func TestThreat081ManifestConfusion(t *testing.T) {
	for what, manifest := range map[string]string{
		"name":         strings.Replace(goodManifest, "@acme/lib", "@acme/evil", 1),
		"version":      strings.Replace(goodManifest, "1.2.3", "1.2.4", 1),
		"dependencies": strings.Replace(goodManifest, `"x":"^1"`, `"x":"^1","evil":"*"`, 1),
		"bin":          strings.Replace(goodManifest, "./cli.js", "./evil.js", 1),
		"scripts":      strings.Replace(goodManifest, `"dependencies"`, `"scripts":{"postinstall":"node evil.js"},"dependencies"`, 1),
	} {
		b := tgz(t, file{name: "package/package.json", body: manifest})
		if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", b, goodManifest), KindManifest); o == nil || o.Effect == "" {
			t.Errorf("%s: not seen", what)
		}
	}
	// What registries add by themselves is no mismatch.
	reg := strings.Replace(goodManifest, `"dependencies"`, `"scripts":{"install":"node-gyp rebuild"},"gypfile":true,"dependencies"`, 1)
	rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", npmPackage(t, file{name: "package/binding.gyp", body: "{}"}), reg)
	if find(rep, KindManifest) != nil || find(rep, KindInstallCode) == nil {
		t.Errorf("implied node-gyp: %+v", rep.Observations)
	}
}

func TestInstallCode(t *testing.T) {
	for what, c := range map[string]struct {
		purl, name string
		bytes      []byte
	}{
		"npm":     {"pkg:npm/a@1.0.0", "a.tgz", tgz(t, file{name: "package/package.json", body: `{"name":"a","version":"1.0.0","scripts":{"postinstall":"node x"}}`})},
		"sdist":   {"pkg:pypi/a@1.0", "a-1.0.tar.gz", tgz(t, file{name: "a-1.0/setup.py", body: "import os"}, file{name: "a-1.0/PKG-INFO", body: "Name: a\nVersion: 1.0\n\n"})},
		"pth":     {"pkg:pypi/a@1.0", "a-1.0-py3-none-any.whl", zipped(t, file{name: "a.pth", body: "import os"}, file{name: "a-1.0.dist-info/RECORD", body: "a.pth,sha256=3iq63oMsjjUKG9yYz82x4gKsR0nF_FGkqXDUFza231w,9\na-1.0.dist-info/RECORD,,\n"})},
		"crate":   {"pkg:cargo/a@1.0.0", "a-1.0.0.crate", tgz(t, file{name: "a-1.0.0/Cargo.toml", body: "[package]\nname='a'\nversion='1.0.0'\n"}, file{name: "a-1.0.0/build.rs", body: "fn main(){}"})},
		"proc":    {"pkg:cargo/a@1.0.0", "a-1.0.0.crate", tgz(t, file{name: "a-1.0.0/Cargo.toml", body: "[package]\nname='a'\nversion='1.0.0'\n[lib]\nproc-macro=true\n"})},
		"targets": {"pkg:nuget/a@1.0.0", "a.nupkg", zipped(t, file{name: "build/a.targets", body: "<Project/>"})},
		"ps1":     {"pkg:nuget/a@1.0.0", "a.nupkg", zipped(t, file{name: "tools/init.ps1", body: "x"})},
	} {
		rep := inspectBytes(t, c.purl, c.name, c.bytes, "")
		if find(rep, KindInstallCode) == nil || find(rep, KindManifest) != nil {
			t.Errorf("%s: %+v", what, rep.Observations)
		}
	}
}

func TestWheelRecord(t *testing.T) {
	line := func(name, body string) string {
		s := sha256.Sum256([]byte(body))
		return fmt.Sprintf("%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(s[:]), len(body))
	}
	wheel := func(record string) []byte {
		return zipped(t, file{name: "a/x.py", body: "x = 1"}, file{name: "a-1.0.dist-info/METADATA", body: "Name: a\nVersion: 1.0\n\n"}, file{name: "a-1.0.dist-info/RECORD", body: record})
	}
	meta, self := line("a-1.0.dist-info/METADATA", "Name: a\nVersion: 1.0\n\n"), "a-1.0.dist-info/RECORD,,\n"
	for what, c := range map[string]struct {
		record string
		want   bool
	}{
		"right":        {line("a/x.py", "x = 1") + meta + self, false},
		"other digest": {line("a/x.py", "x = 2") + meta + self, true},
		"unlisted":     {meta + self, true},
		"missing":      {line("a/x.py", "x = 1") + line("a/y.py", "") + meta + self, true},
		"no digest":    {"a/x.py,,5\n" + meta + self, true},
		"weak digest":  {"a/x.py,md5=abcd,5\n" + meta + self, true},
		"not itself":   {line("a/x.py", "x = 1") + meta, true},
	} {
		rep := inspectBytes(t, "pkg:pypi/a@1.0", "a-1.0-py3-none-any.whl", wheel(c.record), "")
		if got := find(rep, KindManifest) != nil; got != c.want {
			t.Errorf("%s: %+v", what, rep.Observations)
		}
	}
}

func png(tail string) []byte {
	b := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(typ string, data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		body := append([]byte(typ), data...)
		b = append(b, body...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
	}
	chunk("IHDR", make([]byte, 13))
	chunk("IDAT", []byte("IEND in the data is no end"))
	chunk("IEND", nil)
	return append(b, tail...)
}

func ico(img []byte, declared int, tail string) []byte {
	b := []byte{0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0}
	b = binary.LittleEndian.AppendUint32(b, uint32(declared))
	b = binary.LittleEndian.AppendUint32(b, 22)
	return append(append(b, img...), tail...)
}

// icoAt is an icon whose image stands behind other data.
func icoAt(img []byte, before string) []byte {
	b := []byte{0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(img)))
	b = binary.LittleEndian.AppendUint32(b, uint32(22+len(before)))
	return append(append(b, before...), img...)
}

// icoBad is an icon with a second entry that leaves the file, which readers pass over.
func icoBad(img []byte, tail string) []byte {
	b := []byte{0, 0, 1, 0, 2, 0}
	for _, off := range []uint32{38, 1 << 30} {
		b = append(b, 16, 16, 0, 0, 1, 0, 32, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(img)))
		b = binary.LittleEndian.AppendUint32(b, off)
	}
	return append(append(b, img...), tail...)
}

func TestTrailingData(t *testing.T) {
	secret := strings.Repeat("$ecret stage two ", 10)
	gif := []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")
	jpeg := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xda, 0, 4, 1, 2, 9, 0xff, 0, 8, 0xff, 0xd0, 7, 0xff, 0xd9}
	img := png("")
	for what, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"png":              {png(""), false},
		"png newline":      {png("\n"), false},
		"png tail":         {png(secret), true},
		"ico":              {ico(img, len(img), ""), false},
		"ico tail":         {ico(img, len(img), secret), true},
		"ico tail covered": {ico([]byte(string(img)+secret), len(img)+len(secret), ""), true},
		"gif":              {gif, false},
		"gif tail":         {append(bytes.Clone(gif), secret...), true},
		"jpeg":             {jpeg, false},
		"jpeg tail":        {append(bytes.Clone(jpeg), secret...), true},
		"pdf":              {[]byte("%PDF-1.4\n1 0 obj\n%%EOF\n"), false},
		"pdf tail":         {[]byte("%PDF-1.4\n1 0 obj\n%%EOF\n" + secret), true},
		"text":             {[]byte(secret), false},
		"pdf twice":        {[]byte("%PDF-1.4\n1 0 obj\n%%EOF\n12 0 obj\nendobj\nxref\n%%EOF\n"), false},
		"pdf fake end":     {[]byte("%PDF-1.4\n1 0 obj\n%%EOF\n" + secret + "%%EOF\n"), true},
		"pdf late tail":    {[]byte("%PDF-1.4\n1 0 obj\n%%EOF\n12 0 obj\nendobj\n%%EOF\n" + secret), true},
		"two jpegs":        {append(bytes.Clone(jpeg), jpeg...), false},
		"two jpegs tail":   {append(append(bytes.Clone(jpeg), jpeg...), secret...), true},
		"ico gap":          {icoAt(img, secret), true},
		"ico gap of zeros": {icoAt(img, strings.Repeat("\x00", 200)), false},
		"ico bad entry":    {icoBad(img, secret), true},
		"ico bad, clean":   {icoBad(img, ""), false},
	} {
		if got := trailing(c.b) != nil; got != c.want {
			t.Errorf("%s: trailing data %v, want %v", what, got, c.want)
		}
	}
}

func TestCompareFindsWhatIsNew(t *testing.T) {
	elf := "\x7fELF" + strings.Repeat("a", 100)
	before := inspectBytes(t, "pkg:npm/a@1.0.0", "a.tgz", tgz(t, file{name: "package/package.json", body: `{"name":"a","version":"1.0.0","scripts":{"install":"x"}}`}, file{name: "package/n.node", body: elf}), "")
	now := inspectBytes(t, "pkg:npm/a@1.0.1", "a.tgz", tgz(t, file{name: "package/package.json", body: `{"name":"a","version":"1.0.1","scripts":{"install":"x"}}`}, file{name: "package/n.node", body: elf + "changed"}, file{name: "package/icon.png", body: string(png(strings.Repeat("x", 99)))}), "")
	Compare(now, before)
	for _, o := range now.Observations {
		if want := o.Kind != KindInstallCode; o.New != want {
			t.Errorf("%s %s: new %v, want %v", o.Kind, o.Entry, o.New, want)
		}
	}
	Compare(before, nil)
	for _, o := range before.Observations {
		if !o.New {
			t.Errorf("without a previous release everything is new: %+v", o)
		}
	}
}

func TestBounds(t *testing.T) {
	if badName(strings.Repeat("a", MaxPath)) != "" || badName(strings.Repeat("a", MaxPath+1)) == "" {
		t.Error("bound of entry names")
	}
	inner := npmPackage(t)
	for range MaxNesting {
		inner = npmPackage(t, file{name: "package/inner.tgz", body: string(inner)})
	}
	if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", inner, ""), KindNested); o != nil {
		t.Errorf("nesting at the bound: %+v", o)
	}
	inner = npmPackage(t, file{name: "package/inner.tgz", body: string(inner)})
	if find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "l.tgz", inner, ""), KindNested) == nil {
		t.Error("nesting above the bound passed")
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := npmPackage(t)
	if _, err := Package(ctx, bytes.NewReader(b), int64(len(b)), Options{FileName: "a.tgz"}); err == nil {
		t.Error("a cancelled inspection reported success")
	}
}

// TestRealData looks into every published package at hand: each must be
// readable, and none may be blocked, but for the samples of attacks.
func TestRealData(t *testing.T) {
	root := os.Getenv("HEADGATE_REALDATA")
	if root == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	n := 0
	for _, glob := range []string{"npm/*.tgz", "pypi/*.whl", "pypi/*.tar.gz", "nuget/*.nupkg", "debian/*.deb", "helm/*.tgz", "maven/*/*/*.jar"} {
		files, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range files {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			n++
			rep, err := Package(context.Background(), bytes.NewReader(b), int64(len(b)), Options{FileName: filepath.Base(p)})
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Files) == 0 {
				t.Errorf("%s: no files", filepath.Base(p))
			}
			for _, o := range rep.Observations {
				if o.Effect == trust.EffectBlock {
					t.Errorf("%s: %+v", filepath.Base(p), o)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no packages found")
	}
}

func FuzzPackage(f *testing.F) {
	f.Add("a.tgz", tgz(f, file{name: "package/package.json", body: goodManifest}))
	f.Add("a.whl", zipped(f, file{name: "a-1.dist-info/RECORD", body: "a,,\n"}))
	f.Add("a.deb", []byte("!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"))
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		for _, typ := range []string{"npm", "pypi", "cargo", "gem", "nuget", "maven", "deb"} {
			r, err := trust.NewRelease(typ, "", "a", "1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Package(context.Background(), bytes.NewReader(b), int64(len(b)), Options{Release: r, FileName: name}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzTrailing(f *testing.F) {
	f.Add(png("x"))
	f.Add(ico(png(""), 10, "y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tail := trailing(b); tail != nil && (tail.size > len(b) || tail.entropy > 8) {
			t.Fatalf("%+v of %d bytes", tail, len(b))
		}
		nativeFormat(b)
	})
}

// TestLinksOfDebianPackages: dpkg installs into the root, where absolute links
// lead too. Names and hard links that leave the package are what they are elsewhere.
func TestLinksOfDebianPackages(t *testing.T) {
	deb := func(fs ...file) []byte {
		b := []byte("!<arch>\n")
		for _, m := range []struct {
			name string
			body []byte
		}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", tgz(t, file{name: "./control", body: "Package: a\n"})}, {"data.tar.gz", tgz(t, fs...)}} {
			b = fmt.Appendf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.body))
			if b = append(b, m.body...); len(m.body)%2 == 1 {
				b = append(b, '\n')
			}
		}
		return b
	}
	usual := file{name: "./usr/bin/a", body: "x"}
	for what, c := range map[string]struct {
		f    file
		kind string // "" for nothing to say
	}{
		"absolute link": {file{name: "./bin/systemd", flag: tar.TypeSymlink, link: "/lib/systemd/systemd"}, ""},
		"to a device":   {file{name: "./lib/rc.service", flag: tar.TypeSymlink, link: "/dev/null"}, ""},
		"hard link out": {file{name: "./usr/bin/b", flag: tar.TypeLink, link: "../../etc/passwd"}, KindLink},
		"name out":      {file{name: "../../etc/passwd", body: "x"}, KindPathEscape},
	} {
		rep := inspectBytes(t, "pkg:deb/debian/a@1?arch=amd64&distro=debian-12", "a_1_amd64.deb", deb(usual, c.f), "")
		for _, o := range rep.Observations {
			if o.Kind != c.kind {
				t.Errorf("%s: %+v", what, o)
			}
		}
		if o := find(rep, c.kind); c.kind != "" && (o == nil || o.Effect != trust.EffectBlock) {
			t.Errorf("%s: %+v", what, rep.Observations)
		}
	}
}
