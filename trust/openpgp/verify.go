package openpgp

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
)

// Bounds of signed material.
const (
	MaxSignature  = 1 << 20  // bytes of a signature file
	MaxSignatures = 32       // signatures in one file
	MaxMessage    = 8 << 30  // bytes under a detached signature
	MaxClearsign  = 64 << 20 // bytes of a clearsigned document
	MinRSABits    = 2048
	// MaxClockSkew is how far in the future a signature may have been made.
	MaxClockSkew = 5 * time.Minute
)

// Want is who may have signed, and when it is now.
type Want struct {
	Keys *Keyring
	Now  time.Time
}

// Verified is a document with a valid signature by a key of the ring.
type Verified struct {
	signer  trust.Signer
	signers []trust.Signer
	time    time.Time
	text    []byte
}

// Signer is the first valid signature's primary key, with the subkey used.
func (v *Verified) Signer() trust.Signer { return v.signer }

// Signers are all keys of the ring with valid signatures.
func (v *Verified) Signers() []trust.Signer { return slices.Clone(v.signers) }

// ClaimedTime is when the signer says that the signature was made.
func (v *Verified) ClaimedTime() time.Time { return v.time }

// Text is what was signed of a clearsigned document, and nil for detached
// signatures. It has "\n" line ends and no blanks at the ends of lines.
func (v *Verified) Text() []byte { return bytes.Clone(v.text) }

// VerifyDetached checks a detached signature file, armoured or binary, over
// message.
func VerifyDetached(message io.Reader, signature []byte, want Want) (*Verified, error) {
	if err := want.validate(); err != nil {
		return nil, err
	}
	if len(signature) > MaxSignature {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the OpenPGP signature has %d bytes, more than %d", len(signature), MaxSignature)
	}
	body := signature
	if len(signature) == 0 || signature[0]&0x80 == 0 {
		var err error
		if body, err = unarmor(signature, "PGP SIGNATURE", MaxSignature); err != nil {
			return nil, err
		}
	}
	return verify(message, body, packet.SigTypeBinary, want)
}

// VerifyClearsigned checks a clearsigned document ("cleartext signature
// framework"). The signed block must be the whole document: it starts at its
// first byte, and only line ends follow it. Read Text of the result and never
// the document itself.
func VerifyClearsigned(document []byte, want Want) (*Verified, error) {
	if err := want.validate(); err != nil {
		return nil, err
	}
	if len(document) > MaxClearsign {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the clearsigned document has %d bytes, more than %d", len(document), MaxClearsign)
	}
	const begin = "-----BEGIN PGP SIGNED MESSAGE-----"
	if !bytes.HasPrefix(document, []byte(begin)) {
		if bytes.Contains(document, []byte("\n"+begin)) {
			return nil, trust.Failure(trust.ReasonHiddenData, "there is text in front of the clearsigned block, which the signature does not cover")
		}
		return nil, trust.Undecidable(trust.ReasonMalformed, "this is no clearsigned document")
	}
	block, rest := clearsign.Decode(document)
	if block == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the clearsigned block cannot be read")
	}
	if len(bytes.Trim(rest, "\r\n")) > 0 {
		return nil, trust.Failure(trust.ReasonHiddenData, "there are %d bytes behind the clearsigned block, which the signature does not cover", len(rest))
	}
	sig, err := io.ReadAll(io.LimitReader(block.ArmoredSignature.Body, MaxSignature+1))
	if err != nil || len(sig) > MaxSignature {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the signature of the clearsigned block cannot be read")
	}
	v, err := verify(bytes.NewReader(block.Bytes), sig, packet.SigTypeText, want)
	if err != nil {
		return nil, err
	}
	v.text = block.Plaintext
	return v, nil
}

func (w Want) validate() error {
	if w.Keys.Len() == 0 {
		return trust.Undecidable(trust.ReasonUnknownKey, "no OpenPGP key is pinned for this; add one with \"headgate signers accept --key FILE\"")
	}
	if w.Now.IsZero() {
		return trust.Misconfigured("verifying an OpenPGP signature needs the time")
	}
	return nil
}

// ring is a pgp.KeyRing over the certificates that were found for the signatures.
type ring struct{ pgp.EntityList }

// EntitiesById finds by the ids of subkeys as well.
func (r ring) EntitiesById(id uint64) []*pgp.Entity {
	var out []*pgp.Entity
	for _, e := range r.EntityList {
		if e.PrimaryKey.KeyId == id || slices.ContainsFunc(e.Subkeys, func(s pgp.Subkey) bool { return s.PublicKey.KeyId == id }) {
			out = append(out, e)
		}
	}
	return out
}

func verify(message io.Reader, body []byte, want packet.SignatureType, w Want) (*Verified, error) {
	sigs, err := signatures(body)
	if err != nil {
		return nil, err
	}
	var known ring
	var keep bytes.Buffer
	var unknown []string
	for _, s := range sigs {
		es := w.Keys.find(s.Signature)
		if len(es) == 0 {
			unknown = append(unknown, issuer(s.Signature))
			continue
		}
		if len(es) > 1 {
			return nil, trust.Undecidable(trust.ReasonUnsupported, "several pinned OpenPGP certificates have the key %s; keep the right one", issuer(s.Signature))
		}
		if s.SigType != want {
			return nil, trust.Undecidable(trust.ReasonUnsupported, "an OpenPGP signature of type 0x%02x where 0x%02x belongs", byte(s.SigType), byte(want))
		}
		switch s.Hash {
		case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
		default:
			return nil, trust.Failure(trust.ReasonWeakDigest, "the OpenPGP signature by %s uses %v; SHA-256 and better count", issuer(s.Signature), s.Hash)
		}
		if s.CreationTime.After(w.Now.Add(MaxClockSkew)) {
			return nil, trust.Failure(trust.ReasonKeyOutsideWindow, "the OpenPGP signature by %s says that it was made at %s, which is in the future", issuer(s.Signature), s.CreationTime.UTC())
		}
		known.EntityList = append(known.EntityList, es...)
		keep.Write(s.raw)
	}
	if len(known.EntityList) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed by the OpenPGP key %s, which is not at hand; get it from its owner and pin it", strings.Join(unknown, ", "))
	}
	// The library takes a signature from the future for an expired one.
	cfg := &packet.Config{Time: func() time.Time { return w.Now.Add(MaxClockSkew) }, MinRSABits: MinRSABits}
	limited := &io.LimitedReader{R: message, N: MaxMessage + 1}
	md, err := pgp.VerifyDetachedSignatureReader(known, limited, &keep, cfg)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "an OpenPGP signature cannot be read: %w", err)
	}
	if _, err := io.Copy(io.Discard, md.UnverifiedBody); err != nil {
		return nil, fmt.Errorf("reading the signed message: %w", err)
	}
	if limited.N <= 0 {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the signed message is longer than %d bytes", int64(MaxMessage))
	}
	v := &Verified{}
	var first error
	for _, c := range md.SignatureCandidates {
		if c.SignatureError == nil && c.SignedBy != nil && c.CorrespondingSig != nil {
			v.add(c)
			continue
		}
		err := known.classify(c)
		if _, r := trust.Classify(err); r == trust.ReasonBadSignature {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	if len(v.signers) == 0 {
		if first == nil {
			first = trust.Undecidable(trust.ReasonMalformed, "there is no OpenPGP signature")
		}
		return nil, first
	}
	return v, nil
}

func (v *Verified) add(c *pgp.SignatureCandidate) {
	s := trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: strings.ToUpper(hex.EncodeToString(c.SignedBy.Entity.PrimaryKey.Fingerprint))}
	if sub := strings.ToUpper(hex.EncodeToString(c.SignedBy.PublicKey.Fingerprint)); sub != s.Fingerprint {
		s.SubkeyFingerprint = sub
	}
	if len(v.signers) == 0 {
		v.signer, v.time = s, c.CorrespondingSig.CreationTime.UTC()
	}
	v.signers = append(v.signers, s)
}

// classify says what the library's error about one signature means.
func (r ring) classify(c *pgp.SignatureCandidate) error {
	err, who := c.SignatureError, fmt.Sprintf("%016X", c.IssuerKeyId)
	var weak pgperrors.WeakAlgorithmError
	var bad pgperrors.SignatureError
	switch {
	case err == nil || errors.Is(err, pgperrors.ErrUnknownIssuer):
		return trust.Undecidable(trust.ReasonUnknownKey, "signed by the OpenPGP key %s, which is not at hand", who)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return trust.Failure(trust.ReasonKeyOutsideWindow, "the OpenPGP key %s was revoked: %w", who, err)
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureOlderThanKey):
		return trust.Failure(trust.ReasonKeyOutsideWindow, "the OpenPGP key %s was not valid when it signed: %w", who, err)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return trust.Failure(trust.ReasonKeyOutsideWindow, "the OpenPGP signature by %s has expired", who)
	case errors.As(err, &weak):
		return trust.Undecidable(trust.ReasonUnsupported, "the OpenPGP key %s is too weak: %w", who, err)
	case strings.Contains(err.Error(), "unknown critical notation"):
		return trust.Undecidable(trust.ReasonUnsupported, "the OpenPGP signature by %s is sound and demands something that headgate does not know: %w", who, err)
	case errors.As(err, &bad):
		return trust.Failure(trust.ReasonBadSignature, "the OpenPGP signature by %s does not verify: %w", who, err)
	case c.SignedBy == nil && r.unclear(c.IssuerKeyId) != "":
		return trust.Undecidable(trust.ReasonUnsupported, "whether the OpenPGP key %s may sign cannot be said: %s", who, r.unclear(c.IssuerKeyId))
	case c.SignedBy == nil:
		// The key is there and could not sign at that time: no valid
		// self-signature or binding, or no signing flag.
		return trust.Failure(trust.ReasonKeyOutsideWindow, "the OpenPGP key %s was no valid signing key when it signed: %w", who, err)
	}
	return trust.Failure(trust.ReasonBadSignature, "the OpenPGP signature by %s does not verify: %w", who, err)
}

// unclear says why a certificate does not tell whether its key may sign, as with
// many that are old; nothing if it does tell.
func (r ring) unclear(id uint64) string {
	for _, e := range r.EntitiesById(id) {
		sigs := slices.Clone(e.DirectSignatures)
		for _, i := range e.Identities {
			sigs = append(sigs, i.SelfCertifications...)
		}
		for _, s := range sigs {
			switch {
			case s.Packet.Hash == crypto.MD5 || s.Packet.Hash == crypto.RIPEMD160:
				return fmt.Sprintf("its self-signature uses %v", s.Packet.Hash)
			case slices.ContainsFunc(s.Packet.Notations, func(n *packet.Notation) bool { return n.IsCritical }):
				return "its self-signature demands something that headgate does not know"
			case !s.Packet.FlagsValid && id == e.PrimaryKey.KeyId:
				return "its self-signature does not say what the key is for; get a newer copy of the certificate from its owner"
			}
		}
	}
	return ""
}

// rawSignature is a parsed signature with the packet it was read from.
type rawSignature struct {
	*packet.Signature
	raw []byte
}

// signatures reads a signature file, which holds signatures and nothing else.
// Signatures of unknown versions or algorithms are passed over if others are
// there.
func signatures(body []byte) ([]rawSignature, error) {
	const tagSignature = 2
	var out []rawSignature
	var unsupported error
	for n := 0; len(body) > 0; n++ {
		if n == MaxSignatures {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "more than %d OpenPGP signatures", MaxSignatures)
		}
		tag, size, err := packetLength(body)
		if err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "reading an OpenPGP signature: %w", err)
		}
		if tag != tagSignature {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the OpenPGP signature file holds a packet with tag %d", tag)
		}
		raw := body[:size]
		body = body[size:]
		p, err := packet.Read(bytes.NewReader(raw))
		if err != nil {
			var u pgperrors.UnsupportedError
			if errors.As(err, &u) {
				unsupported = err
				continue
			}
			return nil, trust.Undecidable(trust.ReasonMalformed, "reading an OpenPGP signature: %w", err)
		}
		s, ok := p.(*packet.Signature)
		if !ok {
			unsupported = fmt.Errorf("a %T", p)
			continue
		}
		if s.IssuerKeyId == nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the OpenPGP signature does not say whose it is")
		}
		out = append(out, rawSignature{s, raw})
	}
	switch {
	case len(out) > 0:
		return out, nil
	case unsupported != nil:
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the OpenPGP signature is of a kind that is not supported: %w", unsupported)
	}
	return nil, trust.Undecidable(trust.ReasonMalformed, "there is no OpenPGP signature")
}

func issuer(s *packet.Signature) string {
	if len(s.IssuerFingerprint) > 0 {
		return strings.ToUpper(hex.EncodeToString(s.IssuerFingerprint))
	}
	if s.IssuerKeyId != nil {
		return fmt.Sprintf("%016X", *s.IssuerKeyId)
	}
	return "unknown"
}

// Issuers returns the fingerprints or key ids that a detached signature names;
// they are for finding the right key to pin, and prove nothing.
func Issuers(signature []byte) ([]string, error) {
	if len(signature) > MaxSignature {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the OpenPGP signature has %d bytes, more than %d", len(signature), MaxSignature)
	}
	body := signature
	if len(signature) == 0 || signature[0]&0x80 == 0 {
		var err error
		if body, err = unarmor(signature, "PGP SIGNATURE", MaxSignature); err != nil {
			return nil, err
		}
	}
	sigs, err := signatures(body)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(sigs))
	for i, s := range sigs {
		out[i] = issuer(s.Signature)
	}
	return out, nil
}
