package verification

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sshsig"
)

// MaxKeyFile bounds a key file in bytes.
const MaxKeyFile = openpgp.MaxKeyFile

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

// ParseKeys reads a file with public keys of one kind: PEM or DER SPKI, X.509
// certificates in PEM, minisign or signify, OpenSSH lines or an allowed_signers
// file, OpenPGP certificates. A private key is refused, and so is a file with
// anything in it that cannot be read.
func ParseKeys(data []byte) (Keys, error) {
	bad := func(format string, args ...any) (Keys, error) {
		return Keys{}, trust.Misconfigured("reading the key file: "+format, args...)
	}
	if len(data) > MaxKeyFile {
		return bad("%d bytes are more than %d", len(data), MaxKeyFile)
	}
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return bad("it is empty")
	case bytes.Contains(data, []byte("PRIVATE KEY-----")):
		return bad("it holds a private key; verification needs the public one")
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP ")), len(data) > 1 && (data[0] == 0x98 || data[0] == 0x99 || data[0] == 0xc6):
		certs, wrong, err := openpgp.ParseCertificates(data)
		if err != nil {
			return bad("%w", err)
		}
		if len(wrong) > 0 {
			return bad("%w", wrong[0])
		}
		return Keys{OpenPGP: certs}, nil
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return parsePEM(text)
	case bytes.HasPrefix(text, []byte("untrusted comment:")), bytes.HasPrefix(text, []byte("RW")):
		k, err := minisign.ParsePublicKey(data)
		if err != nil {
			return bad("%w", err)
		}
		return Keys{Minisign: []minisign.PublicKey{k}}, nil
	case data[0] == 0x30:
		pub, err := x509.ParsePKIXPublicKey(data)
		if err != nil {
			return bad("%w", err)
		}
		return Keys{Public: []crypto.PublicKey{pub}}, nil
	}
	return parseSSH(text)
}

func parsePEM(rest []byte) (Keys, error) {
	var k Keys
	for len(rest) > 0 {
		block, more := pem.Decode(rest)
		if block == nil || !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return Keys{}, trust.Misconfigured("reading the key file: something in it is no PEM block")
		}
		switch block.Type {
		case "PUBLIC KEY":
			pub, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				return Keys{}, trust.Misconfigured("reading the key file: %w", err)
			}
			k.Public = append(k.Public, pub)
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return Keys{}, trust.Misconfigured("reading the key file: %w", err)
			}
			k.Certificates = append(k.Certificates, c)
		default:
			return Keys{}, trust.Misconfigured("reading the key file: a PEM block %q is no public key", clip(block.Type))
		}
		rest = bytes.TrimSpace(more)
	}
	return k, nil
}

func parseSSH(text []byte) (Keys, error) {
	var k Keys
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		pub, err := sshsig.ParsePublicKey([]byte(line))
		if err == nil {
			k.SSH = append(k.SSH, pub)
			continue
		}
		allowed, aerr := sshsig.ParseAllowedSigners([]byte(line))
		if aerr != nil || len(allowed) != 1 {
			return Keys{}, trust.Misconfigured("reading the key file: neither PEM, minisign, OpenPGP nor an SSH key: %w", err)
		}
		a := allowed[0]
		if !a.ValidAfter.IsZero() || !a.ValidBefore.IsZero() || (len(a.Namespaces) > 0 && !a.Allows(firstPrincipal(a), sshsig.NamespaceFile, a.ValidAfter)) {
			return Keys{}, trust.Misconfigured("reading the key file: an allowed signer with a time or another namespace cannot be judged: an SSH signature carries no time")
		}
		k.SSH = append(k.SSH, a.Key)
	}
	if k.Empty() {
		return Keys{}, trust.Misconfigured("reading the key file: no key in it")
	}
	return k, nil
}

func firstPrincipal(a sshsig.AllowedSigner) string {
	for _, p := range a.Principals {
		if !strings.ContainsAny(p, "!*?") {
			return p
		}
	}
	return "user"
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
