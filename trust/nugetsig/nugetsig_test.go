package nugetsig

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
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
	author = ct.Issue("author", root, born, end, 2048, ct.CodeSigning)
	repo   = ct.Issue("repo", root, born, end, 2048, ct.CodeSigning)
	tsa    = ct.Issue("tsa", root, born, end, 2048, ct.TimeStamping)
)

const index = "https://nuget.example.com/v3/index.json"

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

func pkg(files ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, f := range files {
		m := zip.Deflate
		if i%2 == 1 {
			m = zip.Store
		}
		e := ct.Must(w.CreateHeader(&zip.FileHeader{Name: f, Method: m}))
		ct.Must(e.Write([]byte("contents of " + f)))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// put inserts a stored entry behind the others.
func put(p []byte, name string, data []byte) []byte {
	le := binary.LittleEndian
	end := bytes.Clone(p[len(p)-endSize:])
	dir := int(le.Uint32(end[16:]))
	local := make([]byte, localSize)
	copy(local, "PK\x03\x04")
	le.PutUint32(local[14:], crc32.ChecksumIEEE(data))
	le.PutUint32(local[18:], uint32(len(data)))
	le.PutUint32(local[22:], uint32(len(data)))
	le.PutUint16(local[26:], uint16(len(name)))
	central := make([]byte, centralSize)
	copy(central, "PK\x01\x02")
	le.PutUint32(central[16:], crc32.ChecksumIEEE(data))
	le.PutUint32(central[20:], uint32(len(data)))
	le.PutUint32(central[24:], uint32(len(data)))
	le.PutUint16(central[28:], uint16(len(name)))
	le.PutUint32(central[42:], uint32(dir))
	out := bytes.Clone(p[:dir])
	out = append(append(append(out, local...), name...), data...)
	start := len(out)
	out = append(append(append(out, p[dir:len(p)-endSize]...), central...), name...)
	n := le.Uint16(end[10:]) + 1
	le.PutUint16(end[8:], n)
	le.PutUint16(end[10:], n)
	le.PutUint32(end[12:], uint32(len(out)-start))
	le.PutUint32(end[16:], uint32(start))
	return append(out, end...)
}

func attribute(oid asn1.ObjectIdentifier, v []byte) ct.Attribute {
	return ct.Attribute{Type: oid, Value: v}
}

func authorAttrs(c *x509.Certificate) []ct.Attribute {
	return []ct.Attribute{attribute(oidCommitment, ct.Seq(ct.OID(oidOrigin))), ct.SigningCertificateV2(c)}
}

func repoAttrs(c *x509.Certificate, url string, owners ...string) []ct.Attribute {
	var list []byte
	for _, o := range owners {
		list = append(list, ct.Must(asn1.MarshalWithParams(o, "utf8"))...)
	}
	return []ct.Attribute{attribute(oidCommitment, ct.Seq(ct.OID(oidReceipt))), ct.SigningCertificateV2(c),
		attribute(oidIndex, ct.Must(asn1.MarshalWithParams(url, "ia5"))), attribute(oidOwners, ct.Seq(list))}
}

func stamp(sig []byte) []ct.Attribute {
	return []ct.Attribute{attribute(cms.OIDTimestamp, ct.Timestamp(tsa, []*x509.Certificate{tsa.Cert}, sig, at))}
}

func content(p []byte) []byte {
	s := sha256.Sum256(p)
	return []byte("Version:1\n\n2.16.840.1.101.3.4.2.1-Hash:" + base64.StdEncoding.EncodeToString(s[:]) + "\n\n")
}

func signed(p []byte, text []byte, s ct.Signer) []byte {
	return put(p, signatureName, ct.SignedData(cms.OIDData, ct.Octets(text), nil, []*x509.Certificate{author.Cert, repo.Cert}, s))
}

// both is author-signed and countersigned by the repository.
func both(p []byte) []byte {
	counter := ct.Signer{Identity: *repo, Counter: true, SKI: true, Signed: repoAttrs(repo.Cert, index, "alice", "bob"), Unsigned: stamp}
	return signed(p, content(p), ct.Signer{Identity: *author, SKI: true, Signed: authorAttrs(author.Cert), Unsigned: func(sig []byte) []ct.Attribute {
		return append(stamp(sig), attribute(cms.OIDCounterSignature, counter.Info(sig, cms.OIDData)))
	}})
}

func open(p []byte) (*Package, error) { return Open(bytes.NewReader(p), int64(len(p))) }

func want() Want {
	rs := []*x509.Certificate{root.Cert}
	return Want{Roots: rs, TimestampRoots: rs, ServiceIndex: index, Now: late}
}

func TestSigned(t *testing.T) {
	plain := pkg("a.nuspec", "lib/a.dll", "b")
	full := both(plain)
	p, err := open(full)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(plain)
	if p.ContentHash() != trust.DigestOf(trust.NuGetContent, sum[:]) {
		t.Error("contentHash is not that of the package without its signature")
	}
	if u, err := open(plain); err != nil || u.ContentHash() != p.ContentHash() || len(u.Signatures()) != 0 {
		t.Errorf("unsigned: %v", err)
	}
	for _, r := range []Role{Author, Repository} {
		v, err := p.Signature(r).Verify(want())
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		if v.Role() != r || !v.SignedAt().Equal(at) || v.Signer().Validate() != nil || v.Pinned() {
			t.Errorf("%s: %+v", r, v)
		}
		if r == Repository && (strings.Join(v.Owners(), ",") != "alice,bob" || v.ServiceIndex() != index) {
			t.Errorf("%s: %+v", r, v)
		}
	}
	// The same bytes changed anywhere in front of the signature.
	bent := bytes.Clone(full)
	bent[bytes.Index(bent, []byte("contents of lib"))] ^= 1
	_, err = open(bent)
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
	// The signature of another package.
	other := pkg("other")
	_, err = open(signed(other, content(plain), ct.Signer{Identity: *author, Signed: authorAttrs(author.Cert)}))
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
}

func TestTrust(t *testing.T) {
	p := ct.Must(open(both(pkg("a"))))
	evil := ct.Issue("root", nil, born, born.AddDate(10, 0, 0), 2048, nil)
	for name, tc := range map[string]struct {
		role   Role
		change func(*Want)
		o      trust.Outcome
		r      trust.Reason
	}{
		"foreign root":      {Author, func(w *Want) { w.Roots = []*x509.Certificate{evil.Cert} }, trust.Failed, trust.ReasonUntrustedSigner},
		"no roots":          {Author, func(w *Want) { w.Roots = nil }, trust.Unreachable, trust.ReasonExpiredRoot},
		"foreign TSA root":  {Author, func(w *Want) { w.TimestampRoots = []*x509.Certificate{evil.Cert} }, trust.Failed, trust.ReasonUntrustedSigner},
		"no TSA roots":      {Author, func(w *Want) { w.TimestampRoots = nil }, trust.Unreachable, trust.ReasonExpiredRoot},
		"foreign index":     {Repository, func(w *Want) { w.ServiceIndex = "https://evil.example.com/" }, trust.Failed, trust.ReasonForeignSource},
		"pinned other":      {Repository, func(w *Want) { w.Roots, w.Pinned = nil, []string{cms.Fingerprint(author.Cert)} }, trust.Failed, trust.ReasonUntrustedSigner},
		"stamped in future": {Author, func(w *Want) { w.Now = born }, trust.Failed, trust.ReasonKeyOutsideWindow},
	} {
		w := want()
		tc.change(&w)
		_, err := p.Signature(tc.role).Verify(w)
		t.Run(name, func(t *testing.T) { wantClass(t, err, tc.o, tc.r) })
	}
	v, err := p.Signature(Repository).Verify(Want{Pinned: []string{strings.ToUpper(cms.Fingerprint(repo.Cert))}, ServiceIndex: index, Now: late})
	if err != nil || !v.Pinned() || !v.SignedAt().IsZero() {
		t.Errorf("pinned: %v, %v", v, err)
	}
	for _, w := range []Want{{}, {Now: late}} {
		if _, err := p.Signature(Repository).Verify(w); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	// Without a timestamp the certificate must be valid now.
	plain := pkg("a")
	bare := ct.Must(open(signed(plain, content(plain), ct.Signer{Identity: *author, Signed: authorAttrs(author.Cert)})))
	_, err = bare.Signature(Author).Verify(want())
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
	w := want()
	w.Now = at
	if _, err := bare.Signature(Author).Verify(w); err != nil {
		t.Error(err)
	}
}

func TestAttributes(t *testing.T) {
	p := pkg("a")
	sign := func(as ...ct.Attribute) []byte {
		return signed(p, content(p), ct.Signer{Identity: *author, Signed: as})
	}
	ess := ct.SigningCertificateV2(author.Cert)
	for name, tc := range map[string]struct {
		pkg []byte
		o   trust.Outcome
		r   trust.Reason
	}{
		"no role":        {sign(ess), trust.Unreachable, trust.ReasonMalformed},
		"other role":     {sign(ess, attribute(oidCommitment, ct.Seq(ct.OID(oidIndex)))), trust.Unreachable, trust.ReasonUnsupported},
		"no ESS":         {sign(attribute(oidCommitment, ct.Seq(ct.OID(oidOrigin)))), trust.Unreachable, trust.ReasonMalformed},
		"other ESS":      {sign(attribute(oidCommitment, ct.Seq(ct.OID(oidOrigin))), ct.SigningCertificateV2(repo.Cert)), trust.Failed, trust.ReasonBadSignature},
		"no index":       {sign(ess, attribute(oidCommitment, ct.Seq(ct.OID(oidReceipt)))), trust.Unreachable, trust.ReasonMalformed},
		"http index":     {sign(repoAttrs(author.Cert, "http://x")...), trust.Unreachable, trust.ReasonMalformed},
		"many owners":    {sign(repoAttrs(author.Cert, index, make([]string, MaxOwners+1)...)...), trust.Unreachable, trust.ReasonMalformed},
		"sha1 content":   {signed(p, []byte("Version:1\n\n1.3.14.3.2.26-Hash:AAAA\n\n"), ct.Signer{Identity: *author}), trust.Unreachable, trust.ReasonUnsupported},
		"two hashes":     {signed(p, append(content(p), content(p)...), ct.Signer{Identity: *author}), trust.Unreachable, trust.ReasonMalformed},
		"other version":  {signed(p, bytes.Replace(content(p), []byte("1"), []byte("2"), 1), ct.Signer{Identity: *author}), trust.Unreachable, trust.ReasonMalformed},
		"junk signature": {put(p, signatureName, []byte("junk")), trust.Unreachable, trust.ReasonMalformed},
		"author counter": {signed(p, content(p), ct.Signer{Identity: *author, Signed: authorAttrs(author.Cert), Unsigned: func(s []byte) []ct.Attribute {
			return []ct.Attribute{attribute(cms.OIDCounterSignature, ct.Signer{Identity: *repo, Counter: true, Signed: authorAttrs(repo.Cert)}.Info(s, cms.OIDData))}
		}}), trust.Unreachable, trust.ReasonMalformed},
		"two counters": {signed(p, content(p), ct.Signer{Identity: *author, Signed: authorAttrs(author.Cert), Unsigned: func(s []byte) []ct.Attribute {
			c := attribute(cms.OIDCounterSignature, ct.Signer{Identity: *repo, Counter: true, Signed: repoAttrs(repo.Cert, index)}.Info(s, cms.OIDData))
			return []ct.Attribute{c, c}
		}}), trust.Failed, trust.ReasonDuplicate},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(tc.pkg)
			wantClass(t, err, tc.o, tc.r)
		})
	}
	owners := make([]string, MaxOwners+1)
	for i := range owners {
		owners[i] = "o"
	}
	if _, err := open(sign(repoAttrs(author.Cert, index, owners[1:]...)...)); err != nil {
		t.Errorf("owners at the bound: %v", err)
	}
	_, err := open(sign(repoAttrs(author.Cert, index, owners...)...))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func TestThreat090TwoReadings(t *testing.T) {
	p := both(pkg("a", "b"))
	le := binary.LittleEndian
	dir := int(le.Uint32(p[len(p)-6:]))
	edit := func(f func([]byte) []byte) []byte { return f(bytes.Clone(p)) }
	for name, bad := range map[string][]byte{
		"bytes in front":        append([]byte("MZ"), p...),
		"bytes behind":          append(bytes.Clone(p), 0),
		"comment":               append(edit(func(b []byte) []byte { b[len(b)-2] = 5; return b }), "PK\x05\x06!"...),
		"second directory":      append(bytes.Clone(p), p[len(p)-endSize:]...),
		"gap":                   edit(func(b []byte) []byte { return append(append(bytes.Clone(b[:dir]), 0), b[dir:]...) }),
		"local name":            edit(func(b []byte) []byte { b[localSize] ^= 1; return b }),
		"local method":          edit(func(b []byte) []byte { b[8] ^= 1; return b }),
		"central crc":           edit(func(b []byte) []byte { b[dir+16] ^= 1; return b }),
		"entry count":           edit(func(b []byte) []byte { b[len(b)-endSize+8]--; b[len(b)-endSize+10]--; return b }),
		"encrypted":             edit(func(b []byte) []byte { b[dir+8] |= 1; return b }),
		"zip64":                 edit(func(b []byte) []byte { le.PutUint32(b[dir+20:], 0xffffffff); return b }),
		"disks":                 edit(func(b []byte) []byte { b[len(b)-endSize+4] = 1; return b }),
		"duplicate":             put(pkg("a"), "a", nil),
		"duplicate by case":     put(pkg("lib/a"), `LIB\A`, nil),
		"two signatures":        put(p, signatureName, []byte("x")),
		"signature in capitals": put(pkg("a"), ".SIGNATURE.P7S", []byte("x")),
		"empty":                 nil,
		"junk":                  []byte(strings.Repeat("junk", 20)),
	} {
		_, err := open(bad)
		if err == nil {
			t.Errorf("%s was read", name)
			continue
		}
		if o, r := trust.Classify(err); r == trust.ReasonInternal || o == trust.Verified {
			t.Errorf("%s: %s/%s %v", name, o, r, err)
		}
	}
	if _, err := openZip(bytes.NewReader(nil), MaxPackage); err == nil {
		t.Error("a package above the bound was read")
	}
	if _, err := open(put(pkg("a"), signatureName, make([]byte, MaxSignature))); err == nil {
		t.Error("zeroes are no signature")
	} else {
		wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	}
	_, err := open(put(pkg("a"), signatureName, make([]byte, MaxSignature+1)))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

// TestRealData: every package is read; what is signed is sound, and nobody
// vouches for it with a root of our own.
func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files := ct.Must(filepath.Glob(filepath.Join(dir, "nuget", "*.nupkg")))
	if len(files) == 0 {
		t.Fatal("no packages")
	}
	for _, f := range files {
		b := ct.Must(os.ReadFile(f))
		p, err := open(b)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		name := filepath.Base(f)
		for _, s := range p.Signatures() {
			t.Logf("%s: %s %s %s %v", name, s.Role(), s.Certificate().Subject, s.serviceIndex, s.owners)
			w := want()
			w.ServiceIndex = s.serviceIndex
			if s.role == Author {
				w.ServiceIndex = ""
			}
			if _, err := s.Verify(w); err == nil {
				t.Errorf("%s: trusted without its root", name)
			}
			// With the timestamps' and signers' own roots it counts, at its time.
			own := s.ownRoots()
			v, err := s.Verify(Want{Roots: own, TimestampRoots: own, ServiceIndex: w.ServiceIndex, Now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)})
			t.Logf("%s: with the roots that it brings along: %v, %v", name, v, err)
			pinned := Want{Pinned: []string{cms.Fingerprint(s.Certificate())}, ServiceIndex: w.ServiceIndex, Now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
			if _, err := s.Verify(pinned); err != nil {
				t.Errorf("%s: pinned: %v", name, err)
			}
		}
		if len(p.Signatures()) > 0 {
			bent := bytes.Clone(b)
			bent[14] ^= 1
			if _, err := open(bent); err == nil {
				t.Errorf("%s: changed and accepted", name)
			}
		}
	}
}

// ownRoots are the self-signed or last certificates that came along, as a test
// stands in for roots that are not at hand.
func (s *Signature) ownRoots() []*x509.Certificate {
	all := append([]*x509.Certificate(nil), s.certs...)
	if token, err := s.timestamp(); err == nil && token != nil {
		if sd, err := cms.Parse(token); err == nil {
			all = append(all, sd.Certificates()...)
		}
	}
	var out []*x509.Certificate
	for _, c := range all {
		if c.IsCA {
			out = append(out, c)
		}
	}
	return out
}

func FuzzOpen(f *testing.F) {
	f.Add(both(pkg("a", "b")))
	f.Add(pkg("a"))
	good := ct.Must(open(both(pkg("a", "b")))).ContentHash()
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := open(in)
		if err != nil {
			return
		}
		// What is signed by our author is one of the two packages above, byte for byte.
		if s := p.Signature(Author); s != nil && p.ContentHash() != good {
			t.Fatal("signed with another content")
		}
	})
}
