package dsse

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// MinRSABits is the smallest RSA modulus that counts.
const MinRSABits = 2048

// publicKey is a Key over a plain public key.
type publicKey struct {
	pub  crypto.PublicKey
	id   string // SHA-256 of the SPKI form, hex
	hash crypto.Hash
}

// NewKey returns the Key of an Ed25519, ECDSA (P-256 with SHA-256, P-384 with
// SHA-384, P-521 with SHA-512) or RSA (PKCS #1 v1.5 or PSS with SHA-256) public
// key.
func NewKey(pub crypto.PublicKey) (Key, error) {
	k := publicKey{pub: pub}
	switch p := pub.(type) {
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("the Ed25519 key has %d bytes", len(p))
		}
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			k.hash = crypto.SHA256
		case elliptic.P384():
			k.hash = crypto.SHA384
		case elliptic.P521():
			k.hash = crypto.SHA512
		default:
			return nil, fmt.Errorf("the curve of the ECDSA key is not supported; use P-256, P-384 or P-521")
		}
	case *rsa.PublicKey:
		if p.N.BitLen() < MinRSABits {
			return nil, fmt.Errorf("the RSA key has %d bits, less than %d", p.N.BitLen(), MinRSABits)
		}
		k.hash = crypto.SHA256
	default:
		return nil, fmt.Errorf("keys of type %T are not supported", pub)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("writing the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	k.id = hex.EncodeToString(sum[:])
	return k, nil
}

// ParseKey reads a public key in PEM ("PUBLIC KEY") or DER SPKI form.
func ParseKey(data []byte) (Key, error) {
	der := data
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("the PEM block is a %q, not a PUBLIC KEY", clip(block.Type))
		}
		if more, _ := pem.Decode(rest); more != nil {
			return nil, fmt.Errorf("the file holds more than one PEM block; give one key")
		}
		der = block.Bytes
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return NewKey(pub)
}

// Identity is the digest of the SPKI form.
func (k publicKey) Identity() string { return "spki-sha256:" + k.id }

// Signer is the key.
func (k publicKey) Signer() trust.Signer {
	return trust.Signer{Kind: trust.SignerKey, KeyDigest: k.id}
}

// Verify checks one signature.
func (k publicKey) Verify(message, sig []byte) error {
	ok := false
	switch p := k.pub.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(p, message, sig)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, k.sum(message), sig)
	case *rsa.PublicKey:
		sum := k.sum(message)
		ok = rsa.VerifyPKCS1v15(p, k.hash, sum, sig) == nil || rsa.VerifyPSS(p, k.hash, sum, sig, nil) == nil
	}
	if !ok {
		return ErrNotMine
	}
	return nil
}

func (k publicKey) sum(message []byte) []byte {
	switch k.hash {
	case crypto.SHA384:
		s := sha512.Sum384(message)
		return s[:]
	case crypto.SHA512:
		s := sha512.Sum512(message)
		return s[:]
	}
	s := sha256.Sum256(message)
	return s[:]
}

// SignWith returns a SignFunc for a private key of a kind that NewKey knows.
// The key id is the digest of the public key's SPKI form.
func SignWith(priv crypto.Signer) (SignFunc, error) {
	key, err := NewKey(priv.Public())
	if err != nil {
		return nil, err
	}
	k := key.(publicKey)
	return func(message []byte) ([]byte, string, error) {
		in := message
		if k.hash != 0 {
			in = k.sum(message)
		}
		sig, err := priv.Sign(rand.Reader, in, k.hash)
		return sig, k.id, err
	}, nil
}
