package verification

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/keyfile"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
)

// MaxKeyFile bounds a key file in bytes.
const MaxKeyFile = keyfile.MaxFile

// Keys are public keys and certificates by the formats that they verify.
type Keys struct {
	Public   []crypto.PublicKey
	Minisign []minisign.PublicKey
	SSH      []ssh.PublicKey
	OpenPGP  []*openpgp.Certificate
	// Certificates are X.509 certificates: signers by themselves where they are
	// named as keys, roots where they are named as a chain.
	Certificates []*x509.Certificate
}

// Empty reports whether there is no key at all.
func (k Keys) Empty() bool {
	return len(k.Public)+len(k.Minisign)+len(k.SSH)+len(k.OpenPGP)+len(k.Certificates) == 0
}

// Add adds the keys of another set.
func (k *Keys) Add(o Keys) {
	k.Public = append(k.Public, o.Public...)
	k.Minisign = append(k.Minisign, o.Minisign...)
	k.SSH = append(k.SSH, o.SSH...)
	k.OpenPGP = append(k.OpenPGP, o.OpenPGP...)
	k.Certificates = append(k.Certificates, o.Certificates...)
}

// ParseKeys reads a file with public keys, in any format that package keyfile
// knows. A private key is refused, and so is a file with anything in it that
// cannot be read.
func ParseKeys(data []byte) (Keys, error) {
	keys, bad, err := keyfile.Parse(data)
	if err != nil {
		return Keys{}, err
	}
	if len(bad) > 0 {
		return Keys{}, bad[0]
	}
	var k Keys
	for _, key := range keys {
		k.add(key)
	}
	if k.Empty() {
		return Keys{}, trust.Misconfigured("reading the key file: no key in it")
	}
	return k, nil
}

func (k *Keys) add(key keyfile.Key) {
	switch {
	case key.OpenPGP != nil:
		k.OpenPGP = append(k.OpenPGP, key.OpenPGP)
	case key.Minisign != nil:
		k.Minisign = append(k.Minisign, *key.Minisign)
	case key.SSH != nil:
		k.SSH = append(k.SSH, key.SSH)
	case key.Public != nil:
		k.Public = append(k.Public, key.Public)
	case key.Certificate != nil:
		k.Certificates = append(k.Certificates, key.Certificate)
	}
}

// spki is the SHA-256 of a key's DER SPKI form, hex; empty for kinds without one.
func spki(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// keySigner is the identity of a plain public key.
func keySigner(pub crypto.PublicKey) trust.Signer {
	return trust.Signer{Kind: trust.SignerKey, KeyDigest: spki(pub)}
}

// publicKeys are all keys that have an SPKI form, whatever format they came in:
// a bundle may be signed by an SSH or minisign key too.
func (k Keys) publicKeys() []crypto.PublicKey {
	out := append([]crypto.PublicKey(nil), k.Public...)
	for _, s := range k.SSH {
		if c, ok := s.(ssh.CryptoPublicKey); ok {
			out = append(out, c.CryptoPublicKey())
		}
	}
	for _, m := range k.Minisign {
		out = append(out, m.Public())
	}
	for _, c := range k.Certificates {
		out = append(out, c.PublicKey)
	}
	return out
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
