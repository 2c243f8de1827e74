package openpgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
)

// Bounds of key material.
const (
	MaxKeyFile      = 32 << 20 // bytes of a file with certificates
	MaxCertificates = 4096     // certificates of one file
	MaxCertificate  = 4 << 20  // bytes of one certificate
)

// Certificate is one OpenPGP certificate ("public key").
type Certificate struct {
	raw         []byte
	fingerprint string
	ids         map[uint64]bool // of the primary key and all subkeys
	prints      map[string]bool // fingerprints, upper-case hex
	userIDs     []string
	created     time.Time
}

// Fingerprint is the primary key's, in upper-case hex: 40 digits for version 4,
// 64 for version 6.
func (c *Certificate) Fingerprint() string { return c.fingerprint }

// UserIDs are the names in the certificate, unverified: anybody may write any.
func (c *Certificate) UserIDs() []string { return append([]string(nil), c.userIDs...) }

// Created is the primary key's own time of creation.
func (c *Certificate) Created() time.Time { return c.created }

// Bytes is the certificate in binary form, as it was read.
func (c *Certificate) Bytes() []byte { return bytes.Clone(c.raw) }

// Has reports whether the fingerprint (hex, any case, spaces ignored) is the
// primary key's or a subkey's.
func (c *Certificate) Has(fingerprint string) bool {
	return c.prints[strings.ToUpper(strings.ReplaceAll(fingerprint, " ", ""))]
}

// HasID reports whether the key id (16 hex digits, any case, spaces ignored) is
// the primary key's or a subkey's. Key ids can be forged: this is for choosing
// among keys that come from their owner.
func (c *Certificate) HasID(id string) bool {
	id = strings.ReplaceAll(id, " ", "")
	n, err := strconv.ParseUint(id, 16, 64)
	return err == nil && len(id) == 16 && c.ids[n]
}

// Unusable says why no signature that the certificate makes now would count: it
// has expired or was revoked, or has no key for signing; nil if one would.
// Signatures from before may still count.
func (c *Certificate) Unusable(now time.Time) error {
	e, err := readEntity(c.raw)
	if err != nil {
		return err
	}
	cfg := &packet.Config{Time: func() time.Time { return now }, MinRSABits: MinRSABits}
	if e.Revoked(now) {
		return fmt.Errorf("it was revoked")
	}
	if _, err := e.VerifyPrimaryKey(now, cfg); err != nil {
		return err
	}
	if _, ok := e.SigningKey(now, cfg); !ok {
		return fmt.Errorf("it has no key that may sign today")
	}
	return nil
}

// ParseCertificates reads all certificates of a file, binary or armoured; an
// armoured file may hold several blocks with text between them, as KEYS files
// do. Certificates that cannot be read are reported in bad, one error each, and
// the others are returned. err is for a file that is no key file at all.
func ParseCertificates(data []byte) (certs []*Certificate, bad []error, err error) {
	if len(data) > MaxKeyFile {
		return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the OpenPGP key file has %d bytes, more than %d", len(data), MaxKeyFile)
	}
	var chunks [][]byte
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	if i := bytes.Index(data, []byte(begin)); i >= 0 {
		for i >= 0 {
			data = data[i:]
			j := bytes.Index(data, []byte(end))
			if j < 0 {
				bad = append(bad, trust.Undecidable(trust.ReasonMalformed, "an OpenPGP key block has no end"))
				break
			}
			body, err := unarmor(data[:j+len(end)], "PGP PUBLIC KEY BLOCK", MaxKeyFile)
			if err != nil {
				bad = append(bad, err)
			} else {
				cs, err := split(body)
				chunks = append(chunks, cs...)
				if err != nil {
					bad = append(bad, err)
				}
			}
			data = data[j+len(end):]
			i = bytes.Index(data, []byte(begin))
		}
	} else if len(data) > 0 && data[0]&0x80 != 0 {
		cs, err := split(data)
		chunks = cs
		if err != nil {
			bad = append(bad, err)
		}
	} else {
		return nil, nil, trust.Undecidable(trust.ReasonMalformed, "this is no OpenPGP key file: neither an armoured public key block nor OpenPGP packets")
	}
	if len(chunks) > MaxCertificates {
		return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the OpenPGP key file has %d certificates, more than %d", len(chunks), MaxCertificates)
	}
	for _, raw := range chunks {
		c, err := parseCertificate(raw)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 && len(bad) == 0 {
		return nil, nil, trust.Undecidable(trust.ReasonMalformed, "the OpenPGP key file holds no certificate")
	}
	return certs, bad, nil
}

// unarmor decodes one armour block that makes up all of text.
func unarmor(text []byte, blockType string, limit int64) ([]byte, error) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte("-----BEGIN "+blockType+"-----")) || !bytes.HasSuffix(text, []byte("-----END "+blockType+"-----")) ||
		bytes.Count(text, []byte("-----BEGIN ")) != 1 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "this is not exactly one armoured %s", blockType)
	}
	b, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading an armoured %s: %w", blockType, err)
	}
	body, err := io.ReadAll(io.LimitReader(b.Body, limit+1))
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading an armoured %s: %w", blockType, err)
	}
	if int64(len(body)) > limit {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "an armoured %s is larger than %d bytes", blockType, limit)
	}
	return body, nil
}

const tagPublicKey = 6

// split cuts a sequence of packets before every primary key packet. With an
// error it returns what came before the packet that could not be walked over.
func split(data []byte) ([][]byte, error) {
	var out [][]byte
	start, at := -1, 0
	flush := func(to int) {
		if start >= 0 {
			out = append(out, data[start:to])
		}
	}
	for at < len(data) {
		tag, n, err := packetLength(data[at:])
		if err != nil {
			flush(at)
			return out, trust.Undecidable(trust.ReasonMalformed, "OpenPGP packets at byte %d: %w", at, err)
		}
		if tag == tagPublicKey {
			flush(at)
			start = at
		}
		at += n
	}
	flush(at)
	return out, nil
}

// packetLength returns the tag and whole length of the packet that b starts
// with. Partial and indeterminate lengths are for data packets and have no
// place among keys.
func packetLength(b []byte) (tag, n int, err error) {
	if len(b) < 2 || b[0]&0x80 == 0 {
		return 0, 0, fmt.Errorf("no packet header")
	}
	var head, body int
	if b[0]&0x40 != 0 {
		tag = int(b[0] & 0x3f)
		switch l := int(b[1]); {
		case l < 192:
			head, body = 2, l
		case l < 224:
			if len(b) < 3 {
				return 0, 0, fmt.Errorf("cut off")
			}
			head, body = 3, (l-192)<<8+int(b[2])+192
		case l == 255:
			if len(b) < 6 {
				return 0, 0, fmt.Errorf("cut off")
			}
			head, body = 6, int(b[2])<<24|int(b[3])<<16|int(b[4])<<8|int(b[5])
		default:
			return 0, 0, fmt.Errorf("a packet of partial length")
		}
	} else {
		tag = int(b[0]&0x3c) >> 2
		width := 1 << (b[0] & 3)
		if width == 8 {
			return 0, 0, fmt.Errorf("a packet of indeterminate length")
		}
		if len(b) < 1+width {
			return 0, 0, fmt.Errorf("cut off")
		}
		head = 1 + width
		for _, c := range b[1:head] {
			body = body<<8 | int(c)
		}
	}
	if tag == 0 {
		return 0, 0, fmt.Errorf("a packet with tag 0")
	}
	if body > len(b)-head {
		return 0, 0, fmt.Errorf("a packet of %d bytes is cut off", body)
	}
	return tag, head + body, nil
}

func parseCertificate(raw []byte) (*Certificate, error) {
	if len(raw) > MaxCertificate {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "an OpenPGP certificate has %d bytes, more than %d", len(raw), MaxCertificate)
	}
	e, err := readEntity(raw)
	if err != nil {
		return nil, unreadable(raw, err)
	}
	c := &Certificate{
		raw: bytes.Clone(raw), fingerprint: strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint)), created: e.PrimaryKey.CreationTime,
		ids:    map[uint64]bool{e.PrimaryKey.KeyId: true},
		prints: map[string]bool{},
	}
	c.prints[c.fingerprint] = true
	for _, s := range e.Subkeys {
		c.ids[s.PublicKey.KeyId] = true
		c.prints[strings.ToUpper(hex.EncodeToString(s.PublicKey.Fingerprint))] = true
	}
	for id := range e.Identities {
		c.userIDs = append(c.userIDs, id)
	}
	return c, nil
}

// unreadable says why a certificate cannot be read. The library passes over a
// packet that it does not support and then misses it.
func unreadable(raw []byte, err error) error {
	_, first := packet.Read(bytes.NewReader(raw))
	var u pgperrors.UnsupportedError
	switch {
	case errors.As(first, &u):
		return trust.Undecidable(trust.ReasonUnsupported, "the OpenPGP certificate has a primary key of a kind that is not supported: %w", first)
	case strings.Contains(err.Error(), "without any identities"):
		return trust.Undecidable(trust.ReasonMalformed, "the OpenPGP certificate has no user id with a valid self-signature, so that nothing says how long it is valid (some key servers strip them): get it from its owner")
	}
	return trust.Undecidable(trust.ReasonMalformed, "reading an OpenPGP certificate: %w", err)
}

func readEntity(raw []byte) (e *pgp.Entity, err error) {
	e, err = pgp.ReadEntity(packet.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	if e.PrivateKey != nil {
		return nil, fmt.Errorf("it is a private key; export the public one")
	}
	return e, nil
}

// Keyring is a set of certificates. It is safe for concurrent use.
type Keyring struct {
	certs []*Certificate
}

// NewKeyring returns the set of the certificates.
func NewKeyring(certs ...*Certificate) *Keyring { return &Keyring{certs: certs} }

// Len returns the number of certificates.
func (k *Keyring) Len() int {
	if k == nil {
		return 0
	}
	return len(k.certs)
}

// Of returns the bytes of the certificate that has the key; nil if there is none.
func (k *Keyring) Of(fingerprint string) []byte {
	for _, c := range k.Certificates() {
		if c.Has(fingerprint) {
			return c.Bytes()
		}
	}
	return nil
}

// Certificates returns the certificates of the set.
func (k *Keyring) Certificates() []*Certificate {
	if k == nil {
		return nil
	}
	return append([]*Certificate(nil), k.certs...)
}

// find returns the certificates that a signature may be by. They are parsed
// anew: the library keeps what it found out about a key inside the key, which
// two verifications at once must not share.
func (k *Keyring) find(sig *packet.Signature) []*pgp.Entity {
	var out []*pgp.Entity
	for _, c := range k.certs {
		switch {
		case len(sig.IssuerFingerprint) > 0:
			if !c.prints[strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))] {
				continue
			}
		case sig.IssuerKeyId == nil || !c.ids[*sig.IssuerKeyId]:
			continue
		}
		e, err := readEntity(c.raw)
		if err != nil {
			continue
		}
		if i := slices.IndexFunc(out, func(o *pgp.Entity) bool {
			return bytes.Equal(o.PrimaryKey.Fingerprint, e.PrimaryKey.Fingerprint)
		}); i >= 0 {
			merge(out[i], e)
			continue
		}
		out = append(out, e)
	}
	return out
}

// merge adds to a copy of a certificate what another copy knows, revocations
// above all: KEYS files hold one key several times, old and new.
func merge(into, from *pgp.Entity) {
	into.Revocations = append(into.Revocations, from.Revocations...)
	into.DirectSignatures = append(into.DirectSignatures, from.DirectSignatures...)
	for name, id := range from.Identities {
		have, ok := into.Identities[name]
		if !ok {
			id.Primary = into
			into.Identities[name] = id
			continue
		}
		have.SelfCertifications = append(have.SelfCertifications, id.SelfCertifications...)
		have.Revocations = append(have.Revocations, id.Revocations...)
	}
	for _, s := range from.Subkeys {
		i := slices.IndexFunc(into.Subkeys, func(o pgp.Subkey) bool {
			return bytes.Equal(o.PublicKey.Fingerprint, s.PublicKey.Fingerprint)
		})
		if i < 0 {
			s.Primary = into
			into.Subkeys = append(into.Subkeys, s)
			continue
		}
		into.Subkeys[i].Bindings = append(into.Subkeys[i].Bindings, s.Bindings...)
		into.Subkeys[i].Revocations = append(into.Subkeys[i].Revocations, s.Revocations...)
	}
}
