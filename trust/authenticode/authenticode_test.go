package authenticode

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	ct "github.com/headgate/headgate/trust/cms/cmstest"
)

var (
	born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end  = born.AddDate(1, 0, 0)
	at   = born.AddDate(0, 6, 0)
	late = born.AddDate(3, 0, 0)

	root   = ct.Issue("root", nil, born, born.AddDate(10, 0, 0), 2048, nil)
	signer = ct.Issue("publisher", root, born, end, 2048, ct.CodeSigning)
	tsa    = ct.Issue("tsa", root, born, end, 2048, ct.TimeStamping)
	spare  = ct.Issue("spare", nil, born, end, 2048, nil)
	le     = binary.LittleEndian
)

const peAt, optAt = 0x80, 0x80 + 24

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

// image is a PE file with one section and no signature.
func image(plus bool) []byte {
	opt, magic, count := 224, uint16(0x10b), 92
	if plus {
		opt, magic, count = 240, 0x20b, 108
	}
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le.PutUint32(b[60:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	le.PutUint16(b[peAt+4:], 0x14c)
	if plus {
		le.PutUint16(b[peAt+4:], 0x8664)
	}
	le.PutUint16(b[peAt+6:], 1)
	le.PutUint16(b[peAt+20:], uint16(opt))
	le.PutUint16(b[peAt+22:], 0x2102) // a DLL
	le.PutUint16(b[optAt:], magic)
	le.PutUint32(b[optAt+32:], 0x1000)
	le.PutUint32(b[optAt+36:], 0x200)
	le.PutUint32(b[optAt+56:], 0x2000)
	le.PutUint32(b[optAt+60:], 0x200) // size of headers
	le.PutUint32(b[optAt+count:], 16)
	s := optAt + opt
	copy(b[s:], ".text")
	le.PutUint32(b[s+8:], 0x200)
	le.PutUint32(b[s+12:], 0x1000)
	le.PutUint32(b[s+16:], 0x200)
	le.PutUint32(b[s+20:], 0x200)
	copy(b[0x200:], "code code code")
	return b
}

func directory(b []byte) int {
	if le.Uint16(b[optAt:]) == 0x20b {
		return optAt + 144
	}
	return optAt + 128
}

func digest(b []byte) []byte {
	d := directory(b)
	h := sha256.New()
	h.Write(b[:optAt+64])
	h.Write(b[optAt+68 : d])
	h.Write(b[d+8:])
	return h.Sum(nil)
}

func indirect(sum []byte, kind asn1.ObjectIdentifier) []byte {
	return ct.Seq(ct.Seq(ct.OID(kind)), ct.Seq(ct.Seq(ct.OID(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}), []byte{5, 0}), ct.Octets(sum)))
}

func stamp(sig []byte) []ct.Attribute {
	return []ct.Attribute{{Type: oidMSTimestamp, Value: ct.Timestamp(tsa, []*x509.Certificate{tsa.Cert}, sig, at)}}
}

func der(b []byte, s ct.Signer) []byte {
	if s.Cert == nil {
		s.Identity = *signer
	}
	if s.Unsigned == nil {
		s.Unsigned = stamp
	}
	return ct.SignedData(oidIndirect, indirect(digest(b), oidPEImage), nil, []*x509.Certificate{signer.Cert, root.Cert}, s)
}

// entry is a WIN_CERTIFICATE with the tail inside its length, padded to eight bytes.
func entry(der, tail []byte) []byte {
	e := make([]byte, 8, 8+len(der)+len(tail)+8)
	le.PutUint32(e, uint32(8+len(der)+len(tail)))
	le.PutUint16(e[4:], 0x0200)
	le.PutUint16(e[6:], 2)
	e = append(append(e, der...), tail...)
	for len(e)%8 != 0 {
		e = append(e, 0)
	}
	return e
}

// attach puts a certificate table behind the image.
func attach(b, table []byte) []byte {
	b = bytes.Clone(b)
	d := directory(b)
	le.PutUint32(b[d:], uint32(len(b)))
	le.PutUint32(b[d+4:], uint32(len(table)))
	return append(b, table...)
}

func open(b []byte) (*File, error) { return Open(bytes.NewReader(b), int64(len(b))) }

func want() Want {
	rs := []*x509.Certificate{root.Cert}
	return Want{Roots: rs, TimestampRoots: rs, Now: late}
}

func TestSigned(t *testing.T) {
	for _, plus := range []bool{false, true} {
		img := image(plus)
		if f, err := open(img); err != nil || len(f.Signatures()) != 0 {
			t.Fatalf("unsigned: %v", err)
		}
		f, err := open(attach(img, entry(der(img, ct.Signer{}), nil)))
		if err != nil {
			t.Fatal(err)
		}
		s := f.Signatures()[0]
		if len(f.Signatures()) != 1 || !bytes.Equal(s.Digest().Bytes(), digest(img)) || len(s.Extras()) != 0 {
			t.Errorf("signature %+v", s)
		}
		v, err := s.Verify(want())
		if err != nil {
			t.Fatal(err)
		}
		if !v.SignedAt().Equal(at) || v.Signer().Validate() != nil || len(v.Extras()) != 0 || v.Pinned() {
			t.Errorf("verified %+v", v)
		}
	}
}

// TestVariants are the places where data hides from the digest.
func TestVariants(t *testing.T) {
	img := image(true)
	d := der(img, ct.Signer{})
	good := attach(img, entry(d, nil))
	pad := make([]byte, (8-len(d)%8)%8) // zero bytes up to the next multiple of eight
	payload := bytes.Repeat([]byte("evil"), 128)
	bogus := make([]byte, 8+len(payload))
	le.PutUint32(bogus, uint32(len(bogus)))
	copy(bogus[8:], payload)
	flip := bytes.Clone(good)
	flip[0x200] ^= 1
	sum := bytes.Clone(good)
	sum[optAt+64] ^= 1
	section := bytes.Clone(img) // the table lies over the section
	le.PutUint32(section[directory(section):], 0x200)
	le.PutUint32(section[directory(section)+4:], 0x200)
	short := attach(img, entry(d, nil))
	le.PutUint32(short[directory(short)+4:], uint32(len(entry(d, nil))-8))
	dirty := attach(img, entry(d, nil))
	if len(pad) > 0 {
		dirty[len(dirty)-1] = 1
	}
	for name, tc := range map[string]struct {
		pe []byte
		ok bool
		r  trust.Reason
	}{
		"good":                         {good, true, ""},
		"padding inside":               {attach(img, entry(d, pad)), true, ""},
		"A payload inside the entry":   {attach(img, entry(d, payload)), false, trust.ReasonHiddenData},
		"A one byte inside the entry":  {attach(img, entry(d, []byte{1})), false, trust.ReasonHiddenData},
		"B payload as second entry":    {attach(img, append(entry(d, nil), bogus...)), false, trust.ReasonHiddenData},
		"B payload outside entries":    {attach(img, append(entry(d, nil), payload...)), false, trust.ReasonHiddenData},
		"C payload behind the table":   {append(bytes.Clone(good), payload...), false, trust.ReasonHiddenData},
		"C one zero behind the table":  {append(bytes.Clone(good), 0), false, trust.ReasonHiddenData},
		"D checksum changed":           {sum, true, ""},
		"E code changed":               {flip, false, trust.ReasonWrongDigest},
		"F zeroes inside the entry":    {attach(img, entry(d, make([]byte, 4096))), false, trust.ReasonHiddenData},
		"F eight zeroes inside":        {attach(img, entry(d, make([]byte, MaxPadding+1))), false, trust.ReasonHiddenData},
		"F seven zeroes inside":        {attach(img, entry(d, make([]byte, MaxPadding))), true, ""},
		"zeroes behind the last entry": {attach(img, append(entry(d, nil), make([]byte, 8)...)), false, trust.ReasonHiddenData},
		"table over a section":         {section, false, trust.ReasonHiddenData},
		"entry beyond the table":       {short, false, trust.ReasonHiddenData},
		"dirty padding":                {dirty, len(pad) == 0, trust.ReasonHiddenData},
		"payload before the table":     {attach(append(bytes.Clone(img), payload...), entry(d, nil)), false, trust.ReasonWrongDigest},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(tc.pe)
			if tc.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantClass(t, err, trust.Failed, tc.r)
		})
	}
}

func TestSeveralEntries(t *testing.T) {
	img := image(false)
	d := der(img, ct.Signer{})
	e := entry(d, nil)
	if f, err := open(attach(img, bytes.Repeat(e, MaxEntries))); err != nil || len(f.Signatures()) != MaxEntries {
		t.Errorf("entries at the bound: %v", err)
	}
	_, err := open(attach(img, bytes.Repeat(e, MaxEntries+1)))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	// One good and one bad signature.
	other := image(false)
	other[0x210] = 1
	_, err = open(attach(img, append(bytes.Clone(e), entry(der(other, ct.Signer{}), nil)...)))
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
	_, err = open(attach(img, make([]byte, MaxTable+8)))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	_, err = Open(bytes.NewReader(img), MaxFile)
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func TestForeign(t *testing.T) {
	img := image(true)
	s := ct.Must(open(attach(img, entry(der(img, ct.Signer{}), nil)))).Signatures()[0]
	evil := []*x509.Certificate{ct.Issue("root", nil, born, born.AddDate(10, 0, 0), 2048, nil).Cert}
	for name, tc := range map[string]struct {
		change func(*Want)
		o      trust.Outcome
		r      trust.Reason
	}{
		"foreign root":     {func(w *Want) { w.Roots = evil }, trust.Failed, trust.ReasonUntrustedSigner},
		"no roots":         {func(w *Want) { w.Roots = nil }, trust.Unreachable, trust.ReasonExpiredRoot},
		"foreign TSA root": {func(w *Want) { w.TimestampRoots = evil }, trust.Failed, trust.ReasonUntrustedSigner},
		"future":           {func(w *Want) { w.Now = born }, trust.Failed, trust.ReasonKeyOutsideWindow},
	} {
		w := want()
		tc.change(&w)
		_, err := s.Verify(w)
		t.Run(name, func(t *testing.T) { wantClass(t, err, tc.o, tc.r) })
	}
	if v, err := s.Verify(Want{Pinned: []string{cms.Fingerprint(signer.Cert)}, Now: late}); err != nil || !v.Pinned() {
		t.Errorf("pinned: %v", err)
	}
	if _, err := s.Verify(Want{}); !errors.Is(err, trust.ErrConfiguration) {
		t.Error(err)
	}
	bare := ct.Must(open(attach(img, entry(der(img, ct.Signer{Unsigned: func([]byte) []ct.Attribute { return nil }}), nil)))).Signatures()[0]
	_, err := bare.Verify(want())
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)

	for name, tc := range map[string]struct {
		der []byte
		o   trust.Outcome
		r   trust.Reason
	}{
		"not for PE": {ct.SignedData(oidIndirect, indirect(digest(img), oidNested), nil, []*x509.Certificate{signer.Cert}, ct.Signer{Identity: *signer}), trust.Failed, trust.ReasonWrongSubject},
		"not Spc":    {ct.SignedData(cms.OIDData, ct.Octets(digest(img)), nil, []*x509.Certificate{signer.Cert}, ct.Signer{Identity: *signer}), trust.Unreachable, trust.ReasonMalformed},
		"junk":       {[]byte("junkjunk"), trust.Unreachable, trust.ReasonMalformed},
	} {
		_, err := open(attach(img, entry(tc.der, nil)))
		t.Run(name, func(t *testing.T) { wantClass(t, err, tc.o, tc.r) })
	}
}

// TestSHA1: sound and old is no proof, and not tampered either.
func TestSHA1(t *testing.T) {
	img := image(true)
	f, err := open(attach(img, entry(der(img, ct.Signer{Hash: crypto.SHA1}), nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Signatures()[0]
	if !s.Weak() {
		t.Error("SHA-1 is not weak")
	}
	_, err = s.Verify(want())
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	if _, err := s.Verify(Want{Pinned: []string{cms.Fingerprint(signer.Cert)}, Now: late}); err != nil {
		t.Errorf("pinned: %v", err)
	}
	bent := attach(img, entry(der(img, ct.Signer{Hash: crypto.SHA1}), nil))
	bent[0x200] ^= 1
	_, err = open(bent)
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
}

func TestExtras(t *testing.T) {
	img := image(true)
	stuffed := ct.SignedData(oidIndirect, indirect(digest(img), oidPEImage), nil, []*x509.Certificate{signer.Cert, root.Cert, spare.Cert}, ct.Signer{Identity: *signer, Unsigned: func(sig []byte) []ct.Attribute {
		return append(stamp(sig), ct.Attribute{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: ct.Octets(make([]byte, 5000))}, ct.Attribute{Type: oidNested, Value: ct.Seq()})
	}})
	v, err := ct.Must(open(attach(img, entry(stuffed, nil)))).Signatures()[0].Verify(want())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range v.Extras() {
		kinds[e.Kind] = e.Size
	}
	if kinds["unsigned-attribute"] < 5000 || kinds["nested-signature"] == 0 || kinds["certificate"] != len(spare.Cert.Raw) || len(v.Extras()) != 3 {
		t.Errorf("extras %v", v.Extras())
	}
}

// TestNested: the second signature of files that are signed for old and new
// systems is one of the whole file like any other.
func TestNested(t *testing.T) {
	img := image(true)
	nest := func(values ...[]byte) ct.Signer {
		return ct.Signer{Hash: crypto.SHA1, Unsigned: func(sig []byte) []ct.Attribute {
			as := stamp(sig)
			for _, v := range values {
				as = append(as, ct.Attribute{Type: oidNested, Value: v})
			}
			return as
		}}
	}
	good := der(img, ct.Signer{})
	f, err := open(attach(img, entry(der(img, nest(good)), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ss := f.Signatures()
	if len(ss) != 2 || !ss[0].Weak() || ss[1].Weak() {
		t.Fatalf("%d signatures", len(ss))
	}
	_, err = ss[0].Verify(want())
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	v, err := ss[1].Verify(want())
	if err != nil || len(ss[0].Extras()) != 0 {
		t.Fatal(err, ss[0].Extras())
	}
	if v.Signer().Subject == "" {
		t.Error("no signer")
	}
	// Of another file, and one byte changed behind the signatures' back.
	other := image(true)
	other[0x210] = 1
	_, err = open(attach(img, entry(der(img, nest(der(other, ct.Signer{}))), nil)))
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
	bent := attach(img, entry(der(img, nest(good)), nil))
	bent[0x210] ^= 1
	_, err = open(bent)
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
	// A signature that is not the nested one's: its bytes count for nothing.
	forged := bytes.Clone(good)
	forged[bytes.Index(forged, signer.Cert.RawSubject)] ^= 0x01
	f, err = open(attach(img, entry(der(img, nest(forged)), nil)))
	if err != nil || len(f.Signatures()) != 1 || len(f.Signatures()[0].Extras()) != 1 {
		t.Errorf("forged: %v", err)
	}
	values := make([][]byte, MaxNested)
	for i := range values {
		values[i] = good
	}
	if f, err := open(attach(img, entry(der(img, nest(values...)), nil))); err != nil || len(f.Signatures()) != 1+MaxNested {
		t.Errorf("at the bound: %v", err)
	}
	_, err = open(attach(img, entry(der(img, nest(append(values, good)...)), nil)))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

// TestSHA1Timestamp: a time that rests on SHA-1 is none. The certificate counts
// if it is pinned, and nothing is said to be tampered with.
func TestSHA1Timestamp(t *testing.T) {
	img := image(true)
	old := ct.Signer{Unsigned: func(sig []byte) []ct.Attribute {
		token := ct.SignedData(cms.OIDTSTInfo, ct.TSTInfo(sig, at), nil, []*x509.Certificate{tsa.Cert}, ct.Signer{Identity: *tsa, Hash: crypto.SHA1, Signed: []ct.Attribute{ct.SigningCertificateV2(tsa.Cert)}})
		return []ct.Attribute{{Type: oidMSTimestamp, Value: token}}
	}}
	s := ct.Must(open(attach(img, entry(der(img, old), nil)))).Signatures()[0]
	_, err := s.Verify(want())
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	w := want()
	w.Pinned = []string{cms.Fingerprint(signer.Cert)}
	if v, err := s.Verify(w); err != nil || !v.SignedAt().IsZero() {
		t.Errorf("pinned: %v", err)
	}
}

func TestNotPE(t *testing.T) {
	good := image(true)
	for name, b := range map[string][]byte{"empty": nil, "text": []byte(strings.Repeat("text", 100)), "dos": append([]byte("MZ"), make([]byte, 100)...)} {
		_, err := open(b)
		if !errors.Is(err, ErrNotPE) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sections := bytes.Clone(good)
	le.PutUint16(sections[peAt+6:], MaxSections+1)
	magic := bytes.Clone(good)
	magic[optAt] = 0
	outside := bytes.Clone(good)
	le.PutUint32(outside[directory(outside):], 0x400)
	le.PutUint32(outside[directory(outside)+4:], 8)
	for name, b := range map[string][]byte{"sections": sections, "magic": magic, "cut": good[:optAt+100], "table outside": outside} {
		_, err := open(b)
		if err == nil {
			t.Errorf("%s was read", name)
			continue
		}
		wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	}
}

// TestOsslsigncode: a signature by another implementation.
func TestOsslsigncode(t *testing.T) {
	tool, err := exec.LookPath("osslsigncode")
	if err != nil {
		t.Skip("no osslsigncode on PATH")
	}
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	key := file("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ct.Must(x509.MarshalPKCS8PrivateKey(signer.Key))}))
	crt := file("crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.Cert.Raw}))
	for _, plus := range []bool{false, true} {
		out := filepath.Join(dir, "out")
		os.Remove(out)
		cmd := exec.Command(tool, "sign", "-certs", crt, "-key", key, "-h", "sha256", "-in", file("in", image(plus)), "-out", out)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("osslsigncode does not sign here: %s", msg)
		}
		f, err := open(ct.Must(os.ReadFile(out)))
		if err != nil {
			t.Error(err)
			continue
		}
		w := want()
		w.Now = at
		if len(f.Signatures()) != 1 {
			t.Fatal("no signature")
		}
		if _, err := f.Signatures()[0].Verify(w); err != nil {
			t.Error(err)
		}
	}
}

func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files := ct.Must(filepath.Glob(filepath.Join(dir, "authenticode", "*")))
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, path := range files {
		f, err := open(ct.Must(os.ReadFile(path)))
		name := filepath.Base(path)
		t.Logf("%s: %v", name, err)
		if strings.HasPrefix(name, "pe-") && !strings.HasPrefix(name, "pe-D") {
			if o, _ := trust.Classify(err); o != trust.Failed {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			if o, _ := trust.Classify(err); o == trust.Failed {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		for _, s := range f.Signatures() {
			if _, err := s.Verify(Want{Pinned: []string{cms.Fingerprint(s.Certificate())}, Now: late}); err != nil {
				t.Errorf("%s: pinned: %v", name, err)
			}
			if _, err := s.Verify(want()); err == nil {
				t.Errorf("%s: trusted without its root", name)
			}
			t.Logf("%s: %s, %v", name, s.Certificate().Subject, s.Extras())
		}
	}
}

func FuzzOpen(f *testing.F) {
	img := image(true)
	f.Add(attach(img, entry(der(img, ct.Signer{}), nil)))
	f.Add(image(false))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := open(in)
		if err != nil {
			return
		}
		for _, s := range p.Signatures() {
			if _, err := s.Verify(want()); err == nil && !bytes.Equal(s.Digest().Bytes(), digest(img)) {
				t.Fatal("verified for another file")
			}
		}
	})
}
