package inspect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/trust"
)

// TestNestedAttacks: no package manager unpacks an archive inside a package, but
// for those that are the package.
func TestNestedAttacks(t *testing.T) {
	escape := tgz(t, file{name: "../../etc/cron.d/x", body: "x"})
	for what, tc := range map[string]struct {
		purl, file string
		archive    []byte
		effect     trust.Effect
		entry      string
	}{
		"among the files":      {"pkg:npm/a@1.0.0", "a.tgz", npmPackage(t, file{name: "package/lib/x.tgz", body: string(escape)}), trust.EffectHold, "package/lib/x.tgz!/../../etc/cron.d/x"},
		"among test data":      {"pkg:npm/a@1.0.0", "a.tgz", npmPackage(t, file{name: "package/test/x.tgz", body: string(escape)}), "", "package/test/x.tgz!/../../etc/cron.d/x"},
		"the gem's own files":  {"pkg:gem/a@1.0.0", "a.gem", plainTar(t, file{name: "data.tar.gz", body: string(escape)}), trust.EffectBlock, "data.tar.gz!/../../etc/cron.d/x"},
		"below the gem's own":  {"pkg:gem/a@1.0.0", "a.gem", plainTar(t, file{name: "data.tar.gz", body: string(tgz(t, file{name: "spec/x.tgz", body: string(escape)}))}), trust.EffectHold, "data.tar.gz!/spec/x.tgz!/../../etc/cron.d/x"},
		"a folder named alike": {"pkg:npm/a@1.0.0", "a.tgz", npmPackage(t, file{name: "package/latest/x.tgz", body: string(escape)}), trust.EffectHold, "package/latest/x.tgz!/../../etc/cron.d/x"},
	} {
		o := find(inspectBytes(t, tc.purl, tc.file, tc.archive, ""), KindPathEscape)
		if o == nil || o.Effect != tc.effect || o.Entry != tc.entry {
			t.Errorf("%s: %+v", what, o)
		}
	}
	// Links that stay inside are what archives are made of.
	links := tgz(t, file{name: "a", body: "x"}, file{name: "b", flag: tar.TypeSymlink, link: "a"}, file{name: "c", flag: tar.TypeSymlink, link: "/etc/passwd"})
	var n int
	for _, o := range inspectBytes(t, "pkg:npm/a@1.0.0", "a.tgz", npmPackage(t, file{name: "package/v.tgz", body: string(links)}), "").Observations {
		if o.Kind == KindLink {
			if n++; o.Effect != trust.EffectHold || !strings.HasSuffix(o.Entry, "!/c") {
				t.Errorf("%+v", o)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d links were reported, want the one that leads out", n)
	}
}

func plainTar(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, f.body)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestThreat088NestedOddities: a damaged archive or a bomb inside a package does
// not end the look into the package: what stands behind it is found.
func TestThreat088NestedOddities(t *testing.T) {
	bomb := func() string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for range (BombFloor + 1<<20) >> 20 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}()
	behind := file{name: "package/z.png", body: string(png("payload payload payload"))}
	for what, tc := range map[string]struct {
		f      file
		kind   string
		effect trust.Effect
	}{
		"bomb":                   {file{name: "package/a.gz", body: bomb}, KindBomb, trust.EffectBlock},
		"bomb among test data":   {file{name: "package/testdata/a.gz", body: bomb}, KindBomb, ""},
		"damaged":                {file{name: "package/a.zip", body: "PK\x03\x04 nothing"}, KindUnreadable, trust.EffectHold},
		"damaged test data":      {file{name: "package/testdata/a.zip", body: "PK\x03\x04 nothing"}, KindUnreadable, ""},
		"negative size of a tar": {file{name: "package/tests/a.tar", body: negativeTar()}, KindUnreadable, ""},
	} {
		rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, tc.f, behind), "")
		o := find(rep, tc.kind)
		if o == nil || o.Effect != tc.effect {
			t.Errorf("%s: %+v", what, rep.Observations)
		}
		if o = find(rep, KindHidden); o == nil || o.Effect != trust.EffectHold {
			t.Errorf("%s: the image behind it was not looked into: %+v", what, rep.Observations)
		}
	}
}

// negativeTar is a tar archive whose first entry declares a negative size.
func negativeTar() string {
	b := make([]byte, 1024)
	copy(b, "x")
	copy(b[100:], "0000644\x00")
	copy(b[124:], bytes.Repeat([]byte{0xff}, 12))
	copy(b[257:], "ustar\x0000")
	sum := 8 * 32
	for i, c := range b[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b)
}

// TestStaticLibraries: their tables and repeated names attack nobody.
func TestStaticLibraries(t *testing.T) {
	member := func(name, body string) string {
		return fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10d`\n%s", name, "0", "0", "0", "644", len(body), body)
	}
	lib := "!<arch>\n" + member("/", "sym!") + member("//", "long") + member("/0", "one!") + member("a.o/", "two!") + member("a.o/", "tri!")
	rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, file{name: "package/lib.a", body: lib}), "")
	if len(rep.Observations) != 0 || len(rep.Files) < 8 {
		t.Errorf("%+v, %d files", rep.Observations, len(rep.Files))
	}
}

func TestHarmlessBound(t *testing.T) {
	for n, want := range map[int]int{MaxHarmless: MaxHarmless, MaxHarmless + 1: MaxHarmless + 1, MaxHarmless + 30: MaxHarmless + 1} {
		var fs []file
		for i := range n {
			fs = append(fs, file{name: fmt.Sprintf("package/testdata/%d.zip", i), body: "PK\x03\x04"})
		}
		rep := inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", npmPackage(t, fs...), "")
		if len(rep.Observations) != want {
			t.Errorf("%d odd archives: %d observations, want %d", n, len(rep.Observations), want)
		}
		if last := find(rep, KindUnreadable); n > MaxHarmless && !strings.Contains(fmt.Sprint(rep.Observations), fmt.Sprintf("%d more oddities", n-MaxHarmless)) {
			t.Errorf("%d odd archives: the rest is not counted: %+v", n, last)
		}
	}
}

// maxSample bounds the module archives of TestHealthyModules, in bytes.
const maxSample = 1 << 20

// TestHealthyModules looks into the modules of the module cache, as far as they
// are small: what the world builds with is not blocked, and not held.
func TestHealthyModules(t *testing.T) {
	if os.Getenv("HEADGATE_REALDATA") == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	root := os.Getenv("GOMODCACHE")
	if root == "" {
		root = filepath.Join(filepath.SplitList(build.Default.GOPATH)[0], "pkg", "mod")
	}
	root = filepath.Join(root, "cache", "download")
	seen, held := 0, 0
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".zip") {
			return err
		}
		fi, err := d.Info()
		if err != nil || fi.Size() > maxSample {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name, version, _ := strings.Cut(filepath.ToSlash(rel), "/@v/")
		if name, err = module.UnescapePath(name); err != nil {
			return err
		}
		if version, err = module.UnescapeVersion(strings.TrimSuffix(version, ".zip")); err != nil {
			return err
		}
		r, err := trust.ParseRelease("pkg:golang/" + name + "@" + strings.ReplaceAll(version, "+", "%2B"))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rep, err := Package(context.Background(), bytes.NewReader(b), int64(len(b)), Options{Release: r, FileName: version + ".zip"})
		if err != nil {
			return err
		}
		seen++
		stopped := false
		for _, o := range rep.Observations {
			if o.Effect == trust.EffectBlock {
				t.Errorf("%s: %+v", r, o)
			}
			stopped = stopped || o.Effect != ""
		}
		if stopped {
			held++
			t.Logf("%s: %+v", r, rep.Observations[0])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen > 0 && held*100 > seen {
		t.Errorf("%d of %d healthy modules are held", held, seen)
	}
	t.Logf("%d modules, %d held", seen, held)
}
