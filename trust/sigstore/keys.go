package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/headgate/headgate/trust"
)

// Usages of npm's keys, as its TUF target names them.
const (
	UsageSignatures   = "npm:signatures"
	UsageAttestations = "npm:attestations"
)

// MaxKeys bounds the keys of a key list.
const MaxKeys = 256

// Key is a public key with its usage and window. End zero means open.
type Key struct {
	ID         string // opaque; not a digest of the key
	Usage      string
	Start, End time.Time
	Public     crypto.PublicKey
	spki       string // SHA-256 of the DER SPKI, hex
}

// KeyDigest is the SHA-256 of the key's DER SPKI form, hex.
func (k Key) KeyDigest() string { return k.spki }

// ValidAt reports whether t is in the key's window, ends included.
func (k Key) ValidAt(t time.Time) bool {
	return !t.Before(k.Start) && (k.End.IsZero() || !t.After(k.End))
}

// NewKey makes a Key of a public key that somebody pinned. Start must be set:
// "for ever back" is spelled out by the caller, never by leaving it away.
func NewKey(id, usage string, pub crypto.PublicKey, start, end time.Time) (Key, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", clip(id), err)
	}
	if start.IsZero() {
		return Key{}, fmt.Errorf("key %q does not say from when it is valid", clip(id))
	}
	sum := sha256.Sum256(der)
	return Key{ID: id, Usage: usage, Start: start, End: end, Public: pub, spki: hex.EncodeToString(sum[:])}, nil
}

// KeySet are pinned keys of one owner, by id and usage.
type KeySet struct {
	keys   []Key
	digest trust.Digest
	raw    []byte
}

// NewKeySet makes a set of pinned keys. Two keys of one id and usage are an error.
func NewKeySet(keys ...Key) (*KeySet, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%d keys are more than %d", len(keys), MaxKeys)
	}
	h := sha256.New()
	seen := map[[2]string]bool{}
	for _, k := range keys {
		if k.spki == "" {
			return nil, fmt.Errorf("key %q was not made by NewKey", clip(k.ID))
		}
		id := [2]string{k.ID, k.Usage}
		if seen[id] {
			return nil, fmt.Errorf("key id %q appears twice for usage %q", clip(k.ID), clip(k.Usage))
		}
		seen[id] = true
		fmt.Fprintf(h, "%q %q %d %d %s\n", k.ID, k.Usage, k.Start.Unix(), k.End.Unix(), k.spki)
	}
	return &KeySet{keys: keys, digest: trust.DigestOf(trust.SHA256, h.Sum(nil))}, nil
}

// ParseNPMKeys reads the TUF target with npm's keys: {"keys":[{keyId, keyUsage,
// publicKey:{rawBytes, keyDetails, validFor:{start,end}}}]}. A key of an
// algorithm that headgate does not know is left out: bundles that name it are
// unreachable (unknown-key). A key without a start is an error.
func ParseNPMKeys(b []byte) (*KeySet, error) {
	if len(b) > MaxTrustedRoot {
		return nil, unreachable(trust.ReasonTooLarge, "key list of %d bytes is larger than %d", len(b), MaxTrustedRoot)
	}
	if _, err := CheckJSON(b); err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading key list: %w", err)
	}
	var doc struct {
		Keys []struct {
			KeyID     string `json:"keyId"`
			KeyUsage  string `json:"keyUsage"`
			PublicKey struct {
				RawBytes   string `json:"rawBytes"`
				KeyDetails string `json:"keyDetails"`
				ValidFor   struct {
					Start *time.Time `json:"start"`
					End   *time.Time `json:"end"`
				} `json:"validFor"`
			} `json:"publicKey"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading key list: %w", err)
	}
	var keys []Key
	for _, k := range doc.Keys {
		if k.KeyID == "" || k.KeyUsage == "" {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: key without id or usage")
		}
		if k.PublicKey.ValidFor.Start == nil {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: key %q does not say from when it is valid", clip(k.KeyID))
		}
		der, err := base64.StdEncoding.Strict().DecodeString(k.PublicKey.RawBytes)
		if err != nil {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: key %q: %w", clip(k.KeyID), err)
		}
		if k.PublicKey.KeyDetails != "PKIX_ECDSA_P256_SHA_256" {
			continue
		}
		pub, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: key %q: %w", clip(k.KeyID), err)
		}
		if ec, ok := pub.(*ecdsa.PublicKey); !ok || ec.Curve != elliptic.P256() {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: key %q is no P-256 key", clip(k.KeyID))
		}
		var end time.Time
		if k.PublicKey.ValidFor.End != nil {
			end = *k.PublicKey.ValidFor.End
		}
		key, err := NewKey(k.KeyID, k.KeyUsage, pub, *k.PublicKey.ValidFor.Start, end)
		if err != nil {
			return nil, unreachable(trust.ReasonMalformed, "reading key list: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, unreachable(trust.ReasonMalformed, "reading key list: no usable key")
	}
	ks, err := NewKeySet(keys...)
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading key list: %w", err)
	}
	sum := sha256.Sum256(b)
	ks.digest, ks.raw = trust.DigestOf(trust.SHA256, sum[:]), b
	return ks, nil
}

// Find returns the key of the id for the usage.
func (s *KeySet) Find(id, usage string) (Key, bool) {
	if s != nil {
		for _, k := range s.keys {
			if k.ID == id && k.Usage == usage {
				return k, true
			}
		}
	}
	return Key{}, false
}

// Has reports whether any key of the set is for the usage.
func (s *KeySet) Has(usage string) bool {
	if s != nil {
		for _, k := range s.keys {
			if k.Usage == usage {
				return true
			}
		}
	}
	return false
}

// Digest identifies the set: the SHA-256 of the list that it was read from.
func (s *KeySet) Digest() trust.Digest { return s.digest }

// Raw are the bytes that the set was read from, nil if it was made of keys.
func (s *KeySet) Raw() []byte {
	if s == nil {
		return nil
	}
	return s.raw
}

// keyed is trusted material whose public keys come from a KeySet.
type keyed struct {
	root.TrustedMaterial
	keys    *KeySet
	usage   string
	prehash bool
}

// PublicKeyVerifier returns the verifier of the key that a bundle names.
func (m *keyed) PublicKeyVerifier(id string) (root.TimeConstrainedVerifier, error) {
	k, ok := m.keys.Find(id, m.usage)
	if !ok {
		return nil, fmt.Errorf("no key %q for %s", clip(id), m.usage)
	}
	var opts []signature.LoadOption
	if m.prehash {
		opts = append(opts, options.WithED25519ph())
	}
	v, err := signature.LoadDefaultVerifier(k.Public, opts...)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", clip(id), err)
	}
	return root.NewExpiringKey(v, k.Start, k.End), nil
}
