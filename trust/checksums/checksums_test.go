package checksums

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

var (
	a = strings.Repeat("a1", 32)
	b = strings.Repeat("b2", 32)
	m = strings.Repeat("c3", 16)
)

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

func TestParse(t *testing.T) {
	l, err := Parse([]byte("# sums\n" + a + "  tool.tgz\r\n" + strings.ToUpper(b) + " *./tool.zip\n\nSHA256 (a (1).iso) = " + b + "\nSHA512 (tool.tgz) = " + a + a + "\n" + a + " single blank\n" + m + "  old\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(l.Names(), ","); got != "tool.tgz,tool.zip,a (1).iso,single blank,old" {
		t.Errorf("names %s", got)
	}
	for name, want := range map[string]string{"tool.tgz": a + a, "tool.zip": b, "a (1).iso": b, "single blank": a} {
		ds, err := l.Find(name)
		if err != nil || ds.Strongest().Value != want {
			t.Errorf("%s: %v, %v", name, ds, err)
		}
	}
	_, err = l.Find("old")
	wantClass(t, err, trust.Failed, trust.ReasonWeakDigest)
	for _, name := range []string{"tool", "tool.tgz ", "TOOL.TGZ", "./tool.tgz", ""} {
		_, err = l.Find(name)
		wantClass(t, err, trust.Absent, trust.ReasonNotCovered)
	}
}

func TestCheck(t *testing.T) {
	sum := sha256.Sum256([]byte("bytes"))
	right := trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}
	l, err := Parse([]byte(fmt.Sprintf("%x  file\n%s  other\n", sum, a)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check("file", right); err != nil {
		t.Error(err)
	}
	wantClass(t, l.Check("other", right), trust.Failed, trust.ReasonWrongDigest)
	wantClass(t, l.Check("file", nil), trust.Unreachable, trust.ReasonUnsupported)
	wantClass(t, l.Check("none", right), trust.Absent, trust.ReasonNotCovered)
}

func TestThreat084PathsAndDuplicates(t *testing.T) {
	for _, line := range []string{
		a + "  ../x", a + "  dir/x", a + "  /etc/passwd", a + `  dir\x`, a + "  ..", a + "  .", a + "  ", a, "x  y", a[:62] + "  x", a + "  \x01x", a + "   x", a + "  x ",
		"SHA256 (../x) = " + a, "SHA256 (x) = " + a[:62], "SHA3 (x) = " + a, `\` + a + `  a\nb`, a + "  \xff", "zz" + a[2:] + "  x", "",
	} {
		_, err := Parse([]byte(line))
		wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	}
	_, err := Parse([]byte(a + "  x\n" + b + "  x\n"))
	wantClass(t, err, trust.Failed, trust.ReasonDuplicate)
	_, err = Parse([]byte(a + "  x\n" + b + " *./x\n"))
	wantClass(t, err, trust.Failed, trust.ReasonDuplicate)
	if _, err := Parse([]byte(a + "  x\n" + a + "  x\n")); err != nil {
		t.Errorf("the same line twice: %v", err)
	}
}

func TestBounds(t *testing.T) {
	name := strings.Repeat("n", MaxName)
	if _, err := Parse([]byte(a + "  " + name)); err != nil {
		t.Errorf("name at the bound: %v", err)
	}
	_, err := Parse([]byte(a + "  n" + name))
	wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	if _, err := Parse([]byte(strings.Repeat("\n", MaxLines-1) + a + "  x")); err != nil {
		t.Errorf("lines at the bound: %v", err)
	}
	_, err = Parse([]byte(strings.Repeat("\n", MaxLines) + a + "  x"))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	at := a + "  x\n#" + strings.Repeat("x", MaxList-len(a)-5)
	if _, err := Parse([]byte(at)); err != nil {
		t.Errorf("size at the bound: %v", err)
	}
	_, err = Parse([]byte(at + "x"))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(a + "  x\nSHA256 (y) = " + b + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := Parse(in)
		if err != nil {
			return
		}
		for _, n := range l.Names() {
			if strings.ContainsAny(n, "/\\\n\x00") || n == ".." {
				t.Fatalf("name %q", n)
			}
			if _, err := l.Find(n); err != nil {
				wantClass(t, err, trust.Failed, trust.ReasonWeakDigest)
			}
		}
	})
}
