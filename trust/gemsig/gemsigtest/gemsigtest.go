// Package gemsigtest makes gems with keys that exist for one test.
package gemsigtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// Identity is a key with its certificate.
type Identity struct {
	Key  *rsa.PrivateKey
	Cert *x509.Certificate
}

// Issue makes a certificate that is valid from a month before now for a year; by
// nil, it signs itself.
func Issue(t testing.TB, now time.Time, name string, bits int, by *Identity, ca bool) *Identity {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true, IsCA: ca}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.Cert, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Identity{key, cert}
}

// GZ packs text.
func GZ(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.Bytes()
}

// Spec is the specification of a gem, with its certificate chain.
func Spec(name, version, platform string, chain ...*Identity) string {
	s := fmt.Sprintf("--- !ruby/object:Gem::Specification\nname: %s\nversion: !ruby/object:Gem::Version\n  version: %s\nplatform: %s\nauthors:\n- Alice\ncert_chain:", name, version, platform)
	if len(chain) == 0 {
		return s + " []\n"
	}
	s += "\n"
	for _, c := range chain {
		s += "- |\n"
		for line := range strings.Lines(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Cert.Raw}))) {
			s += "  " + line
		}
	}
	return s
}

func sign(t testing.TB, by *Identity, h crypto.Hash, data []byte) []byte {
	t.Helper()
	sum := func(b []byte) []byte { d := h.New(); d.Write(b); return d.Sum(nil) }
	sig, err := rsa.SignPKCS1v15(rand.Reader, by.Key, h, sum(sum(data)))
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Entry is a file of the outer archive.
type Entry struct {
	Name string
	Data []byte
}

// Pack makes the archive.
func Pack(entries ...Entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		w.WriteHeader(&tar.Header{Name: e.Name, Mode: 0o444, Size: int64(len(e.Data)), Typeflag: tar.TypeReg})
		w.Write(e.Data)
	}
	w.Close()
	return b.Bytes()
}

// Signed are the entries of a gem whose parts somebody signed.
func Signed(t testing.TB, by *Identity, h crypto.Hash, spec string) []Entry {
	var out []Entry
	for _, e := range []Entry{{"metadata.gz", GZ(spec)}, {"data.tar.gz", GZ("data")}, {"checksums.yaml.gz", GZ("sums")}} {
		out = append(out, e, Entry{e.Name + ".sig", sign(t, by, h, e.Data)})
	}
	return out
}
