package inspect

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/semver"

	"github.com/headgate/headgate/trust"
)

// rawTar makes a tar archive of headers as they are given, however wrong.
type rawTar struct{ bytes.Buffer }

func (b *rawTar) entry(name string, flag byte, size int64, body string) {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "00000000000\x00")
	h[156] = flag
	copy(h[257:], "ustar\x0000")
	sum := 8 * 32
	for i, c := range h {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h)
	b.WriteString(body)
	b.Write(make([]byte, (512-len(body)%512)%512))
}

func (b *rawTar) pax(records ...string) {
	var body strings.Builder
	for _, r := range records {
		n := len(r) + 3
		if len(fmt.Sprint(n))+len(r)+2 != n {
			n = len(fmt.Sprint(n)) + len(r) + 2
		}
		fmt.Fprintf(&body, "%d %s\n", n, r)
	}
	b.entry("PaxHeaders/x", 'x', int64(body.Len()), body.String())
}

func (b *rawTar) end() []byte {
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func lookRaw(t *testing.T, b []byte) *Report {
	t.Helper()
	return inspectBytes(t, "pkg:pypi/lib@1.2.3", "lib-1.2.3.tar", b, "")
}

func TestThreat085Backslashes(t *testing.T) {
	for _, name := range []string{`package\..\..\x`, `..\x`, `package/a\b`, `C:\x`, `\\host\share\x`} {
		for what, b := range map[string][]byte{"tar": npmPackage(t, file{name: name, body: "x"}), "zip": zipped(t, file{name: name, body: "x"})} {
			if o := find(inspectBytes(t, "pkg:npm/%40acme/lib@1.2.3", "lib.tgz", b, ""), KindPathEscape); o == nil || o.Effect != trust.EffectBlock || o.Entry != name {
				t.Errorf("%s %q: %+v", what, name, o)
			}
		}
	}
}

// TestThreat086Links: links of every kind; row 87's too, whose name ends in a
// slash to be taken for a folder.
func TestThreat086Links(t *testing.T) {
	for what, f := range map[string]file{
		"to a parent":           {name: "package/l", flag: tar.TypeSymlink, link: "../../etc"},
		"absolute":              {name: "package/l", flag: tar.TypeSymlink, link: "/etc/passwd"},
		"through another":       {name: "package/l", flag: tar.TypeSymlink, link: "a/../../../etc"},
		"hard":                  {name: "package/l", flag: tar.TypeLink, link: "/etc/passwd"},
		"named like a folder":   {name: "package/l/", flag: tar.TypeSymlink, link: "../../etc"},
		"to a name of Windows":  {name: "package/l", flag: tar.TypeSymlink, link: `..\..\x`},
		"hard, out of the tree": {name: "package/l", flag: tar.TypeLink, link: "package/../../x"},
	} {
		for _, purl := range []string{"pkg:npm/%40acme/lib@1.2.3", "pkg:pypi/lib@1.2.3", "pkg:gem/lib@1.2.3"} {
			if o := find(inspectBytes(t, purl, "lib.tgz", npmPackage(t, f), ""), KindLink); o == nil || o.Effect != trust.EffectBlock {
				t.Errorf("%s in %s: %+v", what, purl, o)
			}
		}
	}
}

// TestThreat086LinksInZips: the mode says what an entry is, not its name.
func TestThreat086LinksInZips(t *testing.T) {
	for name, mode := range map[string]fs.FileMode{"l": fs.ModeSymlink | 0o777, "l/": fs.ModeSymlink | 0o777, "d": fs.ModeDevice, "d/": fs.ModeNamedPipe} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		h := &zip.FileHeader{Name: name}
		h.SetMode(mode)
		h.Method = zip.Store
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			fmt.Fprint(f, "../../etc")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		rep := inspectBytes(t, "pkg:nuget/acme@1.0.0", "acme.nupkg", b.Bytes(), "")
		if find(rep, KindLink) == nil && find(rep, KindDevice) == nil {
			t.Errorf("%s (%s): %+v", name, mode, rep.Observations)
		}
	}
}

// TestThreat087Toolchain: the standard library that opened what it should not is
// too old to build headgate with.
func TestThreat087Toolchain(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(b)
	if m == nil || semver.Compare("v"+string(m[1]), "v1.26.5") < 0 {
		t.Errorf("go.mod asks for %s", m)
	}
}

// TestThreat089ParserCost: sparse files, endless headers and crowded zip indexes
// end at once.
func TestThreat089ParserCost(t *testing.T) {
	began := time.Now()
	var sparse rawTar
	sparse.pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=x", "GNU.sparse.realsize=999999999999")
	sparse.entry("x", '0', 512, "1\n0\n0\n"+strings.Repeat("\x00", 506))
	if rep := lookRaw(t, sparse.end()); find(rep, KindBomb) == nil && find(rep, KindTwoReadings) == nil && find(rep, KindUnreadable) == nil {
		t.Errorf("sparse: %+v", rep.Observations)
	}
	var long rawTar
	long.entry("PaxHeaders/x", 'x', 64<<20, "")
	long.Write(bytes.Repeat([]byte("9"), 64<<20))
	if rep := lookRaw(t, long.end()); find(rep, KindUnreadable) == nil {
		t.Errorf("64 MB of header: %+v", rep.Observations)
	}
	var names []file
	for i := range 20_000 {
		names = append(names, file{name: fmt.Sprintf("%s/%d", strings.Repeat("a/", 100), i)})
	}
	inspectBytes(t, "pkg:nuget/acme@1.0.0", "acme.nupkg", zipped(t, names...), "")
	// Not a measurement: what hangs takes minutes.
	if d := time.Since(began); d > time.Minute {
		t.Errorf("took %s", d)
	}
}

// TestThreat091TwoSizes: the old header and the extended one disagree, so that
// another unpacker takes content for headers, or headers for content.
func TestThreat091TwoSizes(t *testing.T) {
	hidden := func(pax, old int64) []byte {
		var inner rawTar
		inner.entry("lib-1.2.3/evil.py", '0', 4, "evil")
		var b rawTar
		if pax >= 0 {
			b.pax(fmt.Sprintf("size=%d", pax))
		}
		b.entry("lib-1.2.3/data", '0', old, inner.String())
		b.entry("lib-1.2.3/setup.cfg", '0', 2, "ok")
		return b.end()
	}
	for what, tc := range map[string]struct {
		pax, old int64
		found    bool
	}{
		"only the old header":  {-1, 1024, false},
		"both agree":           {1024, 1024, false},
		"the old one says 0":   {1024, 0, true},
		"the new one says 0":   {0, 1024, true},
		"the new one is short": {512, 1024, true},
	} {
		o := find(lookRaw(t, hidden(tc.pax, tc.old)), KindTwoReadings)
		if (o != nil) != tc.found || o != nil && (o.Effect != trust.EffectBlock || o.Entry != "lib-1.2.3/data" || !strings.Contains(o.Detail, "two sizes")) {
			t.Errorf("%s: %+v", what, o)
		}
	}
	// A folder that states a size: some skip so many bytes, others none.
	var b rawTar
	b.entry("lib-1.2.3/d/", '5', 1024, "")
	b.entry("lib-1.2.3/a", '0', 1, "a")
	if o := find(lookRaw(t, b.end()), KindTwoReadings); o == nil || o.Effect != trust.EffectHold {
		t.Errorf("folder with a size: %+v", o)
	}
}

// TestThreat094NegativeSizes ends at once.
func TestThreat094NegativeSizes(t *testing.T) {
	if rep := lookRaw(t, []byte(negativeTar())); find(rep, KindUnreadable) == nil && find(rep, KindTwoReadings) == nil {
		t.Errorf("tar: %+v", rep.Observations)
	}
	ar := "!<arch>\n" + fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10s`\n", "a", "0", "0", "0", "644", "-5") + "body"
	if o := find(inspectBytes(t, "pkg:deb/debian/lib@1", "lib.deb", []byte(ar), ""), KindUnreadable); o == nil || o.Effect != trust.EffectHold {
		t.Errorf("ar: %+v", o)
	}
}

// TestThreat037TUFFloor: roots of trust come by go-tuf, which took delegations in
// the wrong order before v2.0.1 and let a repository stop its client before v2.4.1.
func TestThreat037TUFFloor(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*github\.com/theupdateframework/go-tuf/v2 (v\S+)`).FindSubmatch(b)
	if m == nil || semver.Compare(string(m[1]), "v2.4.1") < 0 {
		t.Errorf("go.mod asks for go-tuf %q, v2.4.1 is the least", m)
	}
}
