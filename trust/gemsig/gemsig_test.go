package gemsig

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	gt "github.com/headgate/headgate/trust/gemsig/gemsigtest"
)

var now = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

type entry = gt.Entry

func issue(t testing.TB, name string, bits int, by *gt.Identity, ca bool) *gt.Identity {
	return gt.Issue(t, now, name, bits, by, ca)
}

func want(roots ...*gt.Identity) Want {
	w := Want{Name: "widget", Version: "1.2.0", Now: now}
	for _, r := range roots {
		w.Roots = append(w.Roots, r.Cert)
	}
	return w
}

func TestVerify(t *testing.T) {
	alice, mallory := issue(t, "alice", 2048, nil, false), issue(t, "alice", 2048, nil, false)
	ca := issue(t, "CA", 2048, nil, true)
	bob := issue(t, "bob", 2048, ca, false)
	small := issue(t, "small", 1024, nil, false)
	spec := gt.Spec("widget", "1.2.0", "ruby", alice)
	good := gt.Signed(t, alice, crypto.SHA256, spec)
	edit := func(f func([]entry) []entry) []byte {
		return gt.Pack(f(append([]entry(nil), good...))...)
	}
	drop := func(name string) []byte {
		return edit(func(es []entry) []entry {
			var out []entry
			for _, e := range es {
				if e.Name != name {
					out = append(out, e)
				}
			}
			return out
		})
	}
	expired := want(alice)
	expired.Now = now.AddDate(2, 0, 0)
	java := want(alice)
	java.Platform = "java"
	for what, c := range map[string]struct {
		gem  []byte
		want Want
		o    trust.Outcome
		r    trust.Reason
	}{
		"good":                  {gt.Pack(good...), want(alice), trust.Verified, ""},
		"among others":          {gt.Pack(good...), want(mallory, ca, alice), trust.Verified, ""},
		"under an authority":    {gt.Pack(gt.Signed(t, bob, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", ca, bob))...), want(ca), trust.Verified, ""},
		"for a platform":        {gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "java", alice))...), java, trust.Verified, ""},
		"without checksums":     {gt.Pack(good[:4]...), want(alice), trust.Verified, ""},
		"nobody pinned":         {gt.Pack(good...), want(), trust.Unreachable, trust.ReasonUnknownKey},
		"somebody else pinned":  {gt.Pack(good...), want(mallory), trust.Unreachable, trust.ReasonUnknownKey},
		"stranger's chain":      {gt.Pack(gt.Signed(t, mallory, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", alice, mallory))...), want(alice), trust.Unreachable, trust.ReasonUnknownKey},
		"another's certificate": {gt.Pack(gt.Signed(t, mallory, crypto.SHA256, spec)...), want(alice), trust.Failed, trust.ReasonBadSignature},
		"another name":          {gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("gadget", "1.2.0", "ruby", alice))...), want(alice), trust.Failed, trust.ReasonWrongName},
		"another version":       {gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.1.0", "ruby", alice))...), want(alice), trust.Failed, trust.ReasonWrongVersion},
		"another platform":      {gt.Pack(good...), java, trust.Failed, trust.ReasonWrongName},
		"expired":               {gt.Pack(good...), expired, trust.Unreachable, trust.ReasonKeyOutsideWindow},
		"SHA-1":                 {gt.Pack(gt.Signed(t, alice, crypto.SHA1, spec)...), want(alice), trust.Unreachable, trust.ReasonUnsupported},
		"a small key":           {gt.Pack(gt.Signed(t, small, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", small))...), want(small), trust.Unreachable, trust.ReasonUnsupported},
		"data not signed":       {drop("data.tar.gz.sig"), want(alice), trust.Failed, trust.ReasonStripped},
		"sums not signed":       {drop("checksums.yaml.gz.sig"), want(alice), trust.Failed, trust.ReasonStripped},
		"all stripped":          {gt.Pack(good[0], good[2], good[4]), want(alice), trust.Failed, trust.ReasonStripped},
		"unsigned":              {gt.Pack(entry{Name: "metadata.gz", Data: gt.GZ(gt.Spec("widget", "1.2.0", "ruby"))}, good[2]), want(alice), trust.Absent, trust.ReasonNotPublished},
		"no data":               {drop("data.tar.gz"), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"no chain":              {gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby"))...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"other data":            {edit(func(es []entry) []entry { es[2].Data = gt.GZ("evil"); return es }), want(alice), trust.Failed, trust.ReasonBadSignature},
		"data twice":            {edit(func(es []entry) []entry { return append(es, entry{Name: "data.tar.gz", Data: gt.GZ("evil")}) }), want(alice), trust.Failed, trust.ReasonDuplicate},
		"signature twice":       {edit(func(es []entry) []entry { return append(es, es[3]) }), want(alice), trust.Failed, trust.ReasonDuplicate},
		"name twice":            {gt.Pack(gt.Signed(t, alice, crypto.SHA256, spec+"name: gadget\n")...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"another specification": {edit(func(es []entry) []entry { return append(es, entry{Name: "metadata", Data: []byte(spec)}) }), want(alice), trust.Failed, trust.ReasonStripped},
		"a name with a space":   {edit(func(es []entry) []entry { return append([]entry{{Name: "data.tar.gz ", Data: gt.GZ("evil")}}, es...) }), want(alice), trust.Failed, trust.ReasonStripped},
		"a signed stranger": {edit(func(es []entry) []entry {
			return append(es, entry{Name: "metadata", Data: []byte(spec)}, entry{Name: "metadata.sig", Data: es[1].Data})
		}), want(alice), trust.Failed, trust.ReasonStripped},
		"data in a long name":   {append(longName(t, "data.tar.gz", string(gt.GZ("evil"))), append(longName(t, "x", "metadata.gz\x00"), gt.Pack(good...)...)...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"data in a PAX header":  {append(special(t, 'x', "data.tar.gz", "13 path=evil\n"), gt.Pack(good...)...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"data in a comment":     {append(special(t, 'x', "data.tar.gz", "16 comment=evil\n"), gt.Pack(good...)...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"data in global PAX":    {append(special(t, 'g', "data.tar.gz", "16 comment=evil\n"), gt.Pack(good...)...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"behind the last":       {append(unended(gt.Pack(good...)), special(t, 'x', "metadata", "16 comment=evil\n")...), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"a file without a name": {edit(func(es []entry) []entry { return append(es, entry{Data: []byte("x")}) }), want(alice), trust.Failed, trust.ReasonStripped},
		"junk":                  {[]byte("junk"), want(alice), trust.Unreachable, trust.ReasonMalformed},
		"cut off":               {gt.Pack(good...)[:1500], want(alice), trust.Unreachable, trust.ReasonMalformed},
	} {
		v, err := Verify(bytes.NewReader(c.gem), c.want)
		if c.o == trust.Verified {
			if err != nil || v.Signer().Validate() != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: verified", what)
			continue
		}
		if o, r := trust.Classify(err); o != c.o || r != c.r {
			t.Errorf("%s: %s %s: %v", what, o, r, err)
		}
	}
	if _, err := Verify(bytes.NewReader(gt.Pack(good...)), Want{Name: "widget", Version: "1.2.0"}); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("without the time: %v", err)
	}
}

// special is an archive's header that other readers than Go's take for a file,
// with its contents.
func special(t *testing.T, kind byte, name, data string) []byte {
	t.Helper()
	b := unended(gt.Pack(entry{Name: name, Data: []byte(data)}))
	b[156] = kind
	sum := 0
	for i, x := range b[:512] {
		if i >= 148 && i < 156 {
			x = ' '
		}
		sum += int(x)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// unended is the archive without the blocks at its end.
func unended(b []byte) []byte { return b[:len(b)-1024] }

func longName(t *testing.T, name, data string) []byte { return special(t, 'L', name, data) }

func TestBounds(t *testing.T) {
	alice := issue(t, "alice", 2048, nil, false)
	good := gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", alice))
	// Nothing but the parts may be in a signed gem, so the bound is one of unsigned ones.
	unsigned := []entry{{Name: "metadata.gz", Data: gt.GZ(gt.Spec("widget", "1.2.0", "ruby"))}, good[2]}
	for len(unsigned) < MaxEntries {
		unsigned = append(unsigned, entry{Name: fmt.Sprintf("more%d", len(unsigned))})
	}
	if _, err := Verify(bytes.NewReader(gt.Pack(unsigned...)), want(alice)); !errors.Is(err, ErrUnsigned) {
		t.Errorf("entries at the bound: %v", err)
	}
	_, err := Verify(bytes.NewReader(gt.Pack(append(unsigned, entry{Name: "x"})...)), want(alice))
	if _, why := trust.Classify(err); why != trust.ReasonTooLarge {
		t.Errorf("one entry above the bound: %v", err)
	}
	var chain []*gt.Identity
	for range MaxChain {
		chain = append(chain, alice)
	}
	if _, err := Verify(bytes.NewReader(gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", chain...))...)), want(alice)); err != nil {
		t.Errorf("certificates at the bound: %v", err)
	}
	if _, err := Verify(bytes.NewReader(gt.Pack(gt.Signed(t, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", append(chain, alice)...))...)), want(alice)); err == nil {
		t.Error("one certificate above the bound was read")
	}
	bomb := gt.Spec("widget", "1.2.0", "ruby", alice) + "#" + strings.Repeat(" ", MaxSpecification)
	if _, err := Verify(bytes.NewReader(gt.Pack(gt.Signed(t, alice, crypto.SHA256, bomb)...)), want(alice)); err == nil {
		t.Error("a specification above the bound was read")
	}
}

func FuzzVerify(f *testing.F) {
	alice := issue(f, "alice", 2048, nil, false)
	f.Add(gt.Pack(gt.Signed(f, alice, crypto.SHA256, gt.Spec("widget", "1.2.0", "ruby", alice))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := Verify(bytes.NewReader(b), want(alice)); err == nil && v.Signer().Validate() != nil {
			t.Fatal("verified by nobody")
		}
	})
}
