package minisign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/blake2b"

	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxSignature     = 16 << 10  // bytes of a signature file
	MaxKeyFile       = 4 << 10   // bytes of a public key file
	MaxComment       = 8 << 10   // bytes of a comment
	MaxMessage       = 8 << 30   // bytes of a message that was hashed first ("ED")
	MaxLegacyMessage = 256 << 20 // bytes of a message that was signed itself ("Ed")
)

const (
	untrustedPrefix = "untrusted comment: "
	trustedPrefix   = "trusted comment: "
)

// Format is the tool whose signature is expected.
type Format int

// Formats. The zero value is none.
const (
	Minisign Format = 1 + iota
	Signify
)

// PublicKey is a minisign or signify public key.
type PublicKey struct {
	id  [8]byte
	key ed25519.PublicKey
}

// ID is the key id as minisign prints it.
func (k PublicKey) ID() string { return fmt.Sprintf("%016X", binary.LittleEndian.Uint64(k.id[:])) }

// String is the key as minisign shows it ("RWQ…").
func (k PublicKey) String() string {
	return base64.StdEncoding.EncodeToString(slices.Concat([]byte("Ed"), k.id[:], k.key))
}

// Public is the key itself.
func (k PublicKey) Public() ed25519.PublicKey { return bytes.Clone(k.key) }

// Signer is the identity of the key: the key, not its id.
func (k PublicKey) Signer() trust.Signer {
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		return trust.Signer{}
	}
	sum := sha256.Sum256(der)
	return trust.Signer{Kind: trust.SignerKey, KeyDigest: hex.EncodeToString(sum[:]), KeyID: k.ID()}
}

// ParsePublicKey reads a public key file, or its second line alone, as minisign
// shows it ("RWQ…").
func ParsePublicKey(data []byte) (PublicKey, error) {
	if len(data) > MaxKeyFile {
		return PublicKey{}, trust.Undecidable(trust.ReasonTooLarge, "the minisign key has %d bytes, more than %d", len(data), MaxKeyFile)
	}
	ls := lines(data)
	if len(ls) == 2 && strings.HasPrefix(ls[0], untrustedPrefix) {
		ls = ls[1:]
	}
	if len(ls) != 1 {
		return PublicKey{}, trust.Undecidable(trust.ReasonMalformed, "a minisign key is one line of base64, with a comment line before it or not")
	}
	raw, err := decode(ls[0], 2+8+ed25519.PublicKeySize)
	if err != nil {
		return PublicKey{}, trust.Undecidable(trust.ReasonMalformed, "reading a minisign key: %w", err)
	}
	if string(raw[:2]) != "Ed" {
		return PublicKey{}, trust.Undecidable(trust.ReasonUnsupported, "the minisign key has the algorithm %q", raw[:2])
	}
	k := PublicKey{key: ed25519.PublicKey(bytes.Clone(raw[10:]))}
	copy(k.id[:], raw[2:10])
	return k, nil
}

func decode(s string, size int) ([]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("not base64")
	}
	if len(raw) != size {
		return nil, fmt.Errorf("%d bytes where %d belong", len(raw), size)
	}
	return raw, nil
}

// lines splits at "\n" or "\r\n"; the last line may end or not.
func lines(data []byte) []string {
	s := strings.TrimSuffix(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	return strings.Split(s, "\n")
}

// Want is whose signature counts and in which format it must be.
type Want struct {
	Format Format
	Keys   []PublicKey
}

// Verified is a message with a valid signature.
type Verified struct {
	key     PublicKey
	comment string
	hashed  bool
}

// Signer returns the key that signed.
func (v *Verified) Signer() trust.Signer { return v.key.Signer() }

// TrustedComment is the signed comment of a minisign signature.
func (v *Verified) TrustedComment() string { return v.comment }

// Prehashed reports whether the hash of the message was signed ("ED").
func (v *Verified) Prehashed() bool { return v.hashed }

type signature struct {
	alg       string
	id        [8]byte
	sig       []byte
	comment   string
	global    []byte
	hasGlobal bool
}

func parse(data []byte) (*signature, error) {
	if len(data) > MaxSignature {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the minisign signature has %d bytes, more than %d", len(data), MaxSignature)
	}
	ls := lines(data)
	malformed := func(format string, args ...any) (*signature, error) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading a minisign signature: "+format, args...)
	}
	if len(ls) != 2 && len(ls) != 4 {
		return malformed("%d lines where 4 belong (signify: 2)", len(ls))
	}
	if !strings.HasPrefix(ls[0], untrustedPrefix) || len(ls[0]) > MaxComment {
		return malformed("no untrusted comment of at most %d bytes", MaxComment)
	}
	raw, err := decode(ls[1], 2+8+ed25519.SignatureSize)
	if err != nil {
		return malformed("%w", err)
	}
	s := &signature{alg: string(raw[:2]), sig: raw[10:]}
	copy(s.id[:], raw[2:10])
	if s.alg != "Ed" && s.alg != "ED" {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the minisign signature has the algorithm %q", s.alg)
	}
	if len(ls) == 2 {
		return s, nil
	}
	var ok bool
	if s.comment, ok = strings.CutPrefix(ls[2], trustedPrefix); !ok || len(ls[2]) > MaxComment {
		return malformed("no trusted comment of at most %d bytes", MaxComment)
	}
	if s.global, err = decode(ls[3], ed25519.SignatureSize); err != nil {
		return malformed("global signature: %w", err)
	}
	s.hasGlobal = true
	return s, nil
}

// Verify checks the signature file over message.
func Verify(message io.Reader, signatureFile []byte, want Want) (*Verified, error) {
	if want.Format != Minisign && want.Format != Signify {
		return nil, trust.Misconfigured("verifying a minisign signature needs the format")
	}
	if len(want.Keys) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "no minisign key is pinned for this")
	}
	s, err := parse(signatureFile)
	if err != nil {
		return nil, err
	}
	if want.Format == Minisign && !s.hasGlobal {
		return nil, trust.Failure(trust.ReasonBadSignature, "the minisign signature has no global signature over a trusted comment")
	}
	if want.Format == Signify && (s.hasGlobal || s.alg != "Ed") {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "this is a minisign signature, not one by signify")
	}
	var keys []PublicKey
	for _, k := range want.Keys {
		if k.id == s.id && len(k.key) == ed25519.PublicKeySize {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed by the minisign key %016X, which is not at hand", binary.LittleEndian.Uint64(s.id[:]))
	}
	signed, err := signedBytes(message, s.alg)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if !ed25519.Verify(k.key, signed, s.sig) {
			continue
		}
		if s.hasGlobal && !ed25519.Verify(k.key, append(bytes.Clone(s.sig), s.comment...), s.global) {
			return nil, trust.Failure(trust.ReasonBadSignature, "the trusted comment is not the one that %s signed", k.ID())
		}
		return &Verified{key: k, comment: s.comment, hashed: s.alg == "ED"}, nil
	}
	return nil, trust.Failure(trust.ReasonBadSignature, "the signature by the minisign key %s does not verify", keys[0].ID())
}

func signedBytes(message io.Reader, alg string) ([]byte, error) {
	limit := int64(MaxLegacyMessage)
	if alg == "ED" {
		limit = MaxMessage
		h, err := blake2b.New512(nil)
		if err != nil {
			return nil, fmt.Errorf("hashing the signed message: %w", err)
		}
		n, err := io.Copy(h, io.LimitReader(message, limit+1))
		if err != nil {
			return nil, fmt.Errorf("reading the signed message: %w", err)
		}
		if n > limit {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the signed message is longer than %d bytes", limit)
		}
		return h.Sum(nil), nil
	}
	b, err := io.ReadAll(io.LimitReader(message, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the signed message: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the signed message is longer than %d bytes", limit)
	}
	return b, nil
}
