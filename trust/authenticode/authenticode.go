package authenticode

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
)

// Bounds.
const (
	MaxFile     = 4 << 30  // bytes of a PE file; its offsets have 32 bits
	MaxTable    = 32 << 20 // bytes of the certificate table
	MaxEntries  = 8        // entries of the certificate table
	MaxNested   = 8        // signatures inside others, of one file
	MaxSections = 96       // sections, the loader's own bound
	// MaxPadding is the largest run of zero bytes behind a signature.
	MaxPadding = 7
)

var (
	oidIndirect    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidPEImage     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}
	oidMSTimestamp = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 3, 3, 1}
	oidNested      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 4, 1}
)

// Extra is something inside a signature that the signature does not cover.
type Extra struct {
	Kind string // nested-signature, legacy-timestamp, unsigned-attribute, certificate, unreadable-certificate
	Name string // object identifier or subject
	Size int    // bytes
}

// File is a PE file whose signatures, if it has any, are sound and hide
// nothing. Nobody has vouched for the signers yet.
type File struct {
	signatures []*Signature
}

// Signatures are the signatures in the order of the table, each followed by those
// that are nested in it (as files carry that are signed for old and new systems);
// none for an unsigned file.
func (f *File) Signatures() []*Signature { return slices.Clone(f.signatures) }

// Signature is a sound signature over the whole file.
type Signature struct {
	sig    *cms.Signature
	sd     *cms.SignedData
	digest trust.Digest
	extras []Extra
	weak   bool
}

// Weak reports whether the signature rests on SHA-1: sound, and no proof unless
// its certificate is pinned.
func (s *Signature) Weak() bool { return s.weak }

// Certificate is the certificate that signed; see Verify for whether it counts.
func (s *Signature) Certificate() *x509.Certificate { return s.sig.Certificate }

// Digest is the Authenticode digest: of the file without its checksum, the
// table and the table's place in the header.
func (s *Signature) Digest() trust.Digest { return s.digest }

// Extras lists what the signature carries and does not cover.
func (s *Signature) Extras() []Extra { return slices.Clone(s.extras) }

// ErrNotPE says that a file is no PE file.
var ErrNotPE = fmt.Errorf("not a PE file")

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, "reading a PE file: "+format, args...)
}

// HiddenPrefix begins the text of every error about hidden data.
const HiddenPrefix = "the PE file hides data behind its signature: "

func hidden(format string, args ...any) error {
	return trust.Failure(trust.ReasonHiddenData, HiddenPrefix+format, args...)
}

// layout is where the parts are that the digest leaves out.
type layout struct {
	checksum, directory int64 // offsets of CheckSum and of the directory entry
	table, tableSize    int64
}

// Open reads a PE file of size bytes. A file that is no PE file gives an error
// that wraps ErrNotPE.
func Open(r io.ReaderAt, size int64) (*File, error) {
	if size >= MaxFile {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the PE file has %d bytes, not less than %d", size, int64(MaxFile))
	}
	l, err := parseHeaders(r, size)
	if err != nil {
		return nil, err
	}
	if l.tableSize == 0 {
		return &File{}, nil
	}
	if l.tableSize > MaxTable {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the certificate table has %d bytes, more than %d", l.tableSize, MaxTable)
	}
	if l.table+l.tableSize < size {
		return nil, hidden("%d bytes behind the certificate table", size-l.table-l.tableSize)
	}
	table, err := readAt(r, l.table, l.tableSize)
	if err != nil {
		return nil, err
	}
	ders, err := entries(table)
	if err != nil {
		return nil, err
	}
	f := &File{}
	sums := map[crypto.Hash][]byte{}
	add := func(s *Signature, h crypto.Hash, stated []byte) error {
		if sums[h] == nil {
			if sums[h], err = l.digest(r, h); err != nil {
				return err
			}
		}
		if subtle.ConstantTimeCompare(sums[h], stated) != 1 {
			return trust.Failure(trust.ReasonWrongDigest, "the PE file is not the one that was signed by %q", clip(s.sig.Certificate.Subject.String()))
		}
		s.digest = trust.DigestOf(algorithms[h], stated)
		f.signatures = append(f.signatures, s)
		return nil
	}
	nested := 0
	for _, der := range ders {
		s, h, stated, err := parseSignature(der)
		if err == nil {
			err = add(s, h, stated)
		}
		if err != nil {
			return nil, err
		}
		for _, v := range s.nested() {
			if nested++; nested > MaxNested {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "the PE file has more than %d nested signatures", MaxNested)
			}
			n, h, stated, err := parseSignature(v)
			if err != nil {
				// No signature for a PE image, whatever else it is: data that nobody signed.
				s.extras = append(s.extras, Extra{Kind: "nested-signature", Name: oidNested.String(), Size: len(v)})
				continue
			}
			if err := add(n, h, stated); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// nested are the signatures in unsigned attributes.
func (s *Signature) nested() [][]byte {
	var out [][]byte
	for _, a := range s.sig.Info.Unsigned() {
		if a.Type.Equal(oidNested) {
			out = append(out, a.Values...)
		}
	}
	return out
}

var algorithms = map[crypto.Hash]trust.Algorithm{crypto.SHA1: trust.SHA1, crypto.SHA256: trust.SHA256, crypto.SHA384: trust.SHA384, crypto.SHA512: trust.SHA512}

func readAt(r io.ReaderAt, off, n int64) ([]byte, error) {
	b := make([]byte, n)
	if got, err := r.ReadAt(b, off); int64(got) < n {
		return nil, malformed("%d bytes at %d: %w", n, off, err)
	}
	return b, nil
}

func parseHeaders(r io.ReaderAt, size int64) (layout, error) {
	le := binary.LittleEndian
	notPE := func() (layout, error) {
		return layout{}, trust.Undecidable(trust.ReasonUnsupported, "%w", ErrNotPE)
	}
	if size < 64 {
		return notPE()
	}
	dos, err := readAt(r, 0, 64)
	if err != nil {
		return layout{}, err
	}
	pe := int64(le.Uint32(dos[60:]))
	if string(dos[:2]) != "MZ" || pe > size-24 {
		return notPE()
	}
	head, err := readAt(r, pe, 24)
	if err != nil {
		return layout{}, err
	}
	if string(head[:4]) != "PE\x00\x00" {
		return notPE()
	}
	sections, optSize := int64(le.Uint16(head[6:])), int64(le.Uint16(head[20:]))
	if sections > MaxSections {
		return layout{}, malformed("%d sections are more than %d", sections, MaxSections)
	}
	opt := pe + 24
	if optSize < 96 || opt+optSize+40*sections > size {
		return layout{}, malformed("headers are cut off")
	}
	o, err := readAt(r, opt, optSize)
	if err != nil {
		return layout{}, err
	}
	var count, dirs int64
	switch le.Uint16(o) {
	case 0x10b:
		count, dirs = 92, 96
	case 0x20b:
		count, dirs = 108, 112
	default:
		return layout{}, malformed("optional header with magic %#x", le.Uint16(o))
	}
	const security = 4
	l := layout{checksum: opt + 64, directory: opt + dirs + 8*security}
	if optSize < dirs || int64(le.Uint32(o[count:])) <= security {
		return l, nil
	}
	if dirs+8*(security+1) > optSize {
		return layout{}, malformed("data directories are cut off")
	}
	l.table, l.tableSize = int64(le.Uint32(o[dirs+8*security:])), int64(le.Uint32(o[dirs+8*security+4:]))
	if l.table == 0 && l.tableSize == 0 {
		return l, nil
	}
	if l.tableSize == 0 || l.table+l.tableSize > size {
		return layout{}, malformed("the certificate table lies outside the file")
	}
	// A table over code or headers would take them out of the digest.
	end := max(opt+optSize+40*sections, int64(le.Uint32(o[60:])))
	for i := range sections {
		s, err := readAt(r, opt+optSize+40*i, 40)
		if err != nil {
			return layout{}, err
		}
		if raw := int64(le.Uint32(s[16:])); raw > 0 {
			end = max(end, int64(le.Uint32(s[20:]))+raw)
		}
	}
	if l.table < end {
		return layout{}, hidden("the certificate table begins at byte %d, inside the headers or sections, which end at %d", l.table, end)
	}
	if l.table%8 != 0 {
		return layout{}, malformed("the certificate table is not aligned")
	}
	return l, nil
}

func (l layout) digest(r io.ReaderAt, h crypto.Hash) ([]byte, error) {
	d := h.New()
	for _, part := range [][2]int64{{0, l.checksum}, {l.checksum + 4, l.directory}, {l.directory + 8, l.table}} {
		if _, err := io.Copy(d, io.NewSectionReader(r, part[0], part[1]-part[0])); err != nil {
			return nil, malformed("%w", err)
		}
	}
	return d.Sum(nil), nil
}

// entries returns the signatures of the table, padding and all.
func entries(table []byte) ([][]byte, error) {
	le := binary.LittleEndian
	var out [][]byte
	for len(table) > 0 {
		if len(out) == MaxEntries {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the certificate table has more than %d entries", MaxEntries)
		}
		if len(table) < 8 {
			return nil, hidden("%d bytes behind the last entry of the certificate table", len(table))
		}
		n := int(le.Uint32(table))
		padded := (n + 7) &^ 7
		if n < 8 || n > len(table) || padded > len(table) {
			return nil, hidden("an entry of %d bytes in a certificate table with %d left", n, len(table))
		}
		if rev, typ := le.Uint16(table[4:]), le.Uint16(table[6:]); rev != 0x0200 || typ != 2 {
			return nil, hidden("an entry of revision %#x and type %d, which is no signature, in the certificate table", rev, typ)
		}
		if slices.ContainsFunc(table[n:padded], func(b byte) bool { return b != 0 }) {
			return nil, hidden("bytes between the entries of the certificate table")
		}
		out = append(out, table[8:n])
		table = table[padded:]
	}
	return out, nil
}

func parseSignature(entry []byte) (*Signature, crypto.Hash, []byte, error) {
	fail := func(err error) (*Signature, crypto.Hash, []byte, error) { return nil, 0, nil, err }
	sd, tail, err := cms.ParsePrefix(entry)
	if err != nil {
		return fail(err)
	}
	if len(tail) > MaxPadding {
		return fail(hidden("%d bytes behind the signature, inside its entry (CVE-2013-3900)", len(tail)))
	}
	if len(bytes.Trim(tail, "\x00")) > 0 {
		return fail(hidden("%d bytes that are not zero behind the signature", len(tail)))
	}
	content, ok := sd.Content()
	if !ok || !sd.ContentType().Equal(oidIndirect) || len(sd.Signers()) != 1 {
		return fail(malformed("the signature must have one signer and an SpcIndirectDataContent"))
	}
	in := cryptobyte.String(content)
	var data, info, alg, stated cryptobyte.String
	var kind, oid asn1.ObjectIdentifier
	if !in.ReadASN1(&data, cbasn1.SEQUENCE) || !data.ReadASN1ObjectIdentifier(&kind) || !in.ReadASN1(&info, cbasn1.SEQUENCE) || !in.Empty() ||
		!info.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) || !info.ReadASN1(&stated, cbasn1.OCTET_STRING) || !info.Empty() {
		return fail(malformed("SpcIndirectDataContent"))
	}
	if !kind.Equal(oidPEImage) {
		return fail(trust.Failure(trust.ReasonWrongSubject, "the signature is for content of type %s, not for a PE image", kind))
	}
	h, err := cms.HashUnsafeSHA1(oid)
	if err != nil {
		return fail(err)
	}
	sig, err := sd.VerifyUnsafeSHA1(sd.Signers()[0], content)
	if err != nil {
		return fail(err)
	}
	s := &Signature{sig: sig, sd: sd, weak: h == crypto.SHA1 || sig.Hash == crypto.SHA1}
	for _, a := range sig.Info.Unsigned() {
		e := Extra{Kind: "unsigned-attribute", Name: a.Type.String(), Size: a.Size}
		switch {
		case a.Type.Equal(cms.OIDTimestamp), a.Type.Equal(oidMSTimestamp), a.Type.Equal(oidNested):
			continue
		case a.Type.Equal(cms.OIDCounterSignature):
			e.Kind = "legacy-timestamp"
		}
		s.extras = append(s.extras, e)
	}
	for range sd.Unreadable() {
		s.extras = append(s.extras, Extra{Kind: "unreadable-certificate"})
	}
	return s, h, stated, nil
}

// Want says who may vouch for a signature.
type Want struct {
	// Roots are the pinned roots of code signing certificates.
	Roots []*x509.Certificate
	// TimestampRoots are the pinned roots of timestamp authorities.
	TimestampRoots []*x509.Certificate
	// Pinned are SHA-256 fingerprints (hex) of signing certificates that count
	// without a chain.
	Pinned []string
	Now    time.Time
}

// Verified is a signature that somebody pinned vouches for.
type Verified struct {
	signer   trust.Signer
	signedAt time.Time
	pinned   bool
	extras   []Extra
}

// Signer is the certificate's subject under its root. For a certificate that
// counts by its fingerprint alone, the root is the certificate itself.
func (v *Verified) Signer() trust.Signer { return v.signer }

// SignedAt is the time of a verified timestamp, or zero.
func (v *Verified) SignedAt() time.Time { return v.signedAt }

// Pinned reports whether the certificate counted by its fingerprint.
func (v *Verified) Pinned() bool { return v.pinned }

// Extras lists what the signature carries and does not cover, with the
// certificates that no chain needs.
func (v *Verified) Extras() []Extra { return slices.Clone(v.extras) }

// Verify says whether a signature counts. Its chain is checked at the time of
// its timestamp, or at want.Now if it has none.
func (s *Signature) Verify(want Want) (*Verified, error) {
	if want.Now.IsZero() {
		return nil, trust.Misconfigured("verifying an Authenticode signature needs the time")
	}
	cert := s.sig.Certificate
	v := &Verified{extras: slices.Clone(s.extras)}
	v.pinned = slices.ContainsFunc(want.Pinned, func(f string) bool { return strings.EqualFold(f, cms.Fingerprint(cert)) })
	if s.weak && !v.pinned {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the signature by %q rests on SHA-1; pin its certificate (%s) if you trust it", clip(cert.Subject.String()), cms.Fingerprint(cert))
	}
	at := want.Now
	var stamped []*x509.Certificate
	token, err := s.timestamp()
	if err != nil {
		return nil, err
	}
	if token != nil && (!v.pinned || len(want.TimestampRoots) > 0) {
		ts, err := cms.VerifyTimestamp(token, s.sig.Info.Signature(), want.TimestampRoots, s.sd.Certificates())
		switch _, why := trust.Classify(err); {
		case err != nil && v.pinned && why == trust.ReasonUnsupported:
			// A time that rests on SHA-1 is none, and the certificate counts without.
			ts = &cms.Timestamp{}
		case err != nil:
			return nil, err
		}
		if ts.Time().After(want.Now.Add(24 * time.Hour)) {
			return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the timestamp is in the future: %s", ts.Time())
		}
		at, v.signedAt, stamped = ts.Time(), ts.Time(), ts.Chain()
	}
	chain := []*x509.Certificate{cert}
	switch {
	case v.pinned:
		if !v.signedAt.IsZero() && (at.Before(cert.NotBefore) || at.After(cert.NotAfter)) {
			return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the pinned certificate was not valid at %s", at)
		}
	default:
		if chain, err = cms.Chain(cert, s.sd.Certificates(), want.Roots, at, x509.ExtKeyUsageCodeSigning); err != nil {
			return nil, err
		}
		// A pinned certificate has no checked chain to measure the others by.
		for _, c := range s.sd.Superfluous(chain, stamped) {
			v.extras = append(v.extras, Extra{Kind: "certificate", Name: clip(c.Subject.String()), Size: len(c.Raw)})
		}
	}
	v.signer = cms.Signer(chain)
	return v, nil
}

func (s *Signature) timestamp() ([]byte, error) {
	var out []byte
	for _, a := range s.sig.Info.Unsigned() {
		if !a.Type.Equal(cms.OIDTimestamp) && !a.Type.Equal(oidMSTimestamp) {
			continue
		}
		if out != nil || len(a.Values) != 1 {
			return nil, trust.Failure(trust.ReasonDuplicate, "the signature has several timestamps")
		}
		out = a.Values[0]
	}
	return out, nil
}

func clip(s string) string {
	const max = 120
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
