// Package authenticodetest makes PE files and signs them, for tests.
//
// It refuses to be imported by anything but tests: its keys live for one run.
package authenticodetest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"time"

	ct "github.com/headgate/headgate/trust/cms/cmstest"
)

var (
	le          = binary.LittleEndian
	oidIndirect = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidPEImage  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	oidStamp    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	oidSHA256   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

const (
	peAt  = 0x80
	optAt = peAt + 24
	dirAt = optAt + 144 // the directory entry of the certificate table
)

// Image is a 64-bit DLL with one section that begins with code, without a
// signature. Code has at most 512 bytes.
func Image(code string) []byte {
	b := make([]byte, 0x400)
	copy(b, "MZ")
	le.PutUint32(b[60:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	le.PutUint16(b[peAt+4:], 0x8664)
	le.PutUint16(b[peAt+6:], 1)
	le.PutUint16(b[peAt+20:], 240)
	le.PutUint16(b[peAt+22:], 0x2102)
	le.PutUint16(b[optAt:], 0x20b)
	le.PutUint32(b[optAt+32:], 0x1000)
	le.PutUint32(b[optAt+36:], 0x200)
	le.PutUint32(b[optAt+56:], 0x2000)
	le.PutUint32(b[optAt+60:], 0x200)
	le.PutUint32(b[optAt+108:], 16)
	s := optAt + 240
	copy(b[s:], ".text")
	le.PutUint32(b[s+8:], 0x200)
	le.PutUint32(b[s+12:], 0x1000)
	le.PutUint32(b[s+16:], 0x200)
	le.PutUint32(b[s+20:], 0x200)
	copy(b[0x200:], code)
	return b
}

// Signer is a publisher of binaries with the authority that vouches for it.
type Signer struct {
	Root      *ct.Identity
	publisher *ct.Identity
	tsa       *ct.Identity
	at        time.Time
}

// NewSigner issues a root, a publisher and a timestamp authority. Signatures
// have the time at.
func NewSigner(publisher string, at time.Time) *Signer {
	from, until := at.AddDate(-1, 0, 0), at.AddDate(1, 0, 0)
	root := ct.Issue("Code Signing Root", nil, from, at.AddDate(10, 0, 0), 2048, nil)
	return &Signer{
		Root: root, at: at,
		publisher: ct.Issue(publisher, root, from, until, 2048, ct.CodeSigning),
		tsa:       ct.Issue("Timestamps", root, from, until, 2048, ct.TimeStamping),
	}
}

// Sign signs an Image. Hidden is appended to the entry of the certificate table,
// behind the signature, where neither the digest nor Windows looks.
func (s *Signer) Sign(image, hidden []byte) []byte {
	h := sha256.New()
	h.Write(image[:optAt+64])
	h.Write(image[optAt+68 : dirAt])
	h.Write(image[dirAt+8:])
	content := ct.Seq(ct.Seq(ct.OID(oidPEImage)), ct.Seq(ct.Seq(ct.OID(oidSHA256), []byte{5, 0}), ct.Octets(h.Sum(nil))))
	stamp := func(sig []byte) []ct.Attribute {
		return []ct.Attribute{{Type: oidStamp, Value: ct.Timestamp(s.tsa, []*x509.Certificate{s.tsa.Cert}, sig, s.at)}}
	}
	der := ct.SignedData(oidIndirect, content, nil, []*x509.Certificate{s.publisher.Cert, s.Root.Cert}, ct.Signer{Identity: *s.publisher, Unsigned: stamp})
	table := make([]byte, 8, 8+len(der)+len(hidden)+8)
	le.PutUint32(table, uint32(8+len(der)+len(hidden)))
	le.PutUint16(table[4:], 0x0200)
	le.PutUint16(table[6:], 2)
	table = append(append(table, der...), hidden...)
	for len(table)%8 != 0 {
		table = append(table, 0)
	}
	out := bytes.Clone(image)
	le.PutUint32(out[dirAt:], uint32(len(out)))
	le.PutUint32(out[dirAt+4:], uint32(len(table)))
	return append(out, table...)
}
