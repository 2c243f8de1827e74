package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // hashes of P-384, P-521 and Ed25519ph
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"aead.dev/minisign"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sshsig"
)

// MaxKeyFile bounds a key file in bytes.
const MaxKeyFile = 1 << 20

// minRSABits is the smallest RSA key that signs here; verifiers refuse smaller ones.
const minRSABits = 2048

// maxPBKDF2 and maxScryptMemory bound the work that a key file can ask for.
const (
	maxPBKDF2       = 10_000_000
	maxScryptMemory = 1 << 30 // bytes, 128·N·r·p
)

// Passphrase asks for the passphrase of a key file. It is called only for one
// that is encrypted.
type Passphrase func() ([]byte, error)

// Key signs. It is made by ParseKey, SSHKey and the like.
type Key struct {
	signer crypto.Signer // nil for SSH keys behind an agent
	ssh    ssh.Signer
	mini   *minisign.PrivateKey
	public crypto.PublicKey
	// chain is the certificate of the key, leaf first, without root; nil for a bare key.
	chain []*x509.Certificate
}

// Public is the public key.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Certificates are the key's certificate and its issuers; nil for a bare key.
func (k *Key) Certificates() []*x509.Certificate { return k.chain }

// SSH returns the key as an SSH signer, and whether it came as one.
func (k *Key) SSH() (ssh.Signer, bool) { return k.ssh, k.ssh != nil }

// Minisign returns the key as a minisign key, and whether it came as one.
func (k *Key) Minisign() (minisign.PrivateKey, bool) {
	if k.mini == nil {
		return minisign.PrivateKey{}, false
	}
	return *k.mini, true
}

func usage(format string, args ...any) error { return trust.Misconfigured(format, args...) }

func fromSigner(s crypto.Signer) (*Key, error) {
	switch p := s.Public().(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() && p.Curve != elliptic.P384() && p.Curve != elliptic.P521() {
			return nil, usage("reading the key: the curve %s is not supported", p.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if p.N.BitLen() < minRSABits {
			return nil, usage("reading the key: an RSA key of %d bits is smaller than %d", p.N.BitLen(), minRSABits)
		}
	default:
		return nil, usage("reading the key: keys of type %T are not supported", p)
	}
	return &Key{signer: s, public: s.Public()}, nil
}

// ParseKey reads a private key file: PKCS#8 (encrypted too), SEC 1 and PKCS#1 in
// PEM, cosign's encrypted keys, minisign's secret keys, OpenSSH's private keys,
// and PKCS#12 with a certificate.
func ParseKey(file []byte, passphrase Passphrase) (*Key, error) {
	if len(file) > MaxKeyFile {
		return nil, usage("reading the key: %d bytes are more than %d", len(file), MaxKeyFile)
	}
	ask := func() ([]byte, error) {
		if passphrase == nil {
			return nil, usage("reading the key: it is encrypted and no passphrase is at hand")
		}
		return passphrase()
	}
	if bytes.HasPrefix(file, []byte("untrusted comment:")) {
		return parseMinisign(file, ask)
	}
	if len(file) > 0 && file[0] == 0x30 {
		return parsePKCS12(file, ask)
	}
	block, rest := pem.Decode(file)
	if block == nil {
		return nil, usage("reading the key: neither PEM, PKCS#12 nor a minisign secret key")
	}
	var k *Key
	var err error
	switch block.Type {
	case "OPENSSH PRIVATE KEY":
		s, err := sshsig.ParseSigner(file, ask)
		if err != nil {
			return nil, usage("reading the key: %w", err)
		}
		return SSHKey(s)
	case "PRIVATE KEY":
		k, err = parseDER(x509.ParsePKCS8PrivateKey(block.Bytes))
	case "EC PRIVATE KEY":
		k, err = parseDER(x509.ParseECPrivateKey(block.Bytes))
	case "RSA PRIVATE KEY":
		if block.Headers["DEK-Info"] != "" {
			return nil, usage("reading the key: it is encrypted in the old way of OpenSSL, which protects little; convert it with openssl pkcs8 -topk8")
		}
		k, err = parseDER(x509.ParsePKCS1PrivateKey(block.Bytes))
	case "ENCRYPTED PRIVATE KEY":
		if err := checkPBES2(block.Bytes); err != nil {
			return nil, err
		}
		pass, perr := ask()
		if perr != nil {
			return nil, perr
		}
		k, err = parseDER(pkcs8.ParsePKCS8PrivateKey(block.Bytes, pass))
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		pass, perr := ask()
		if perr != nil {
			return nil, perr
		}
		// The package takes three fixed strengths of scrypt, and no other.
		der, derr := encrypted.Decrypt(block.Bytes, pass)
		if derr != nil {
			return nil, usage("reading the key: %w", derr)
		}
		k, err = parseDER(x509.ParsePKCS8PrivateKey(der))
	default:
		return nil, usage("reading the key: a PEM block %q is no private key", clip(block.Type))
	}
	if err != nil {
		return nil, err
	}
	return k.withChain(rest)
}

func parseDER[T any](priv T, err error) (*Key, error) {
	if err != nil {
		return nil, usage("reading the key: %w", err)
	}
	s, ok := any(priv).(crypto.Signer)
	if !ok {
		return nil, usage("reading the key: keys of type %T cannot sign", priv)
	}
	return fromSigner(s)
}

// withChain adds the certificates that follow the key in a PEM file.
func (k *Key) withChain(rest []byte) (*Key, error) {
	for len(bytes.TrimSpace(rest)) > 0 {
		block, more := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, usage("reading the key: something behind the key is no certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, usage("reading the key: %w", err)
		}
		k.chain, rest = append(k.chain, c), more
	}
	return k.WithCertificates(k.chain)
}

// WithCertificates returns the key with its certificate, leaf first.
func (k *Key) WithCertificates(chain []*x509.Certificate) (*Key, error) {
	if len(chain) == 0 {
		return k, nil
	}
	pub, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(chain[0].PublicKey) {
		return nil, usage("the certificate of %q is for another key", clip(chain[0].Subject.String()))
	}
	out := *k
	out.chain = chain
	return &out, nil
}

func parsePKCS12(file []byte, ask Passphrase) (*Key, error) {
	pass, err := ask()
	if err != nil {
		return nil, err
	}
	priv, cert, more, err := pkcs12.DecodeChain(file, string(pass))
	if err != nil {
		return nil, usage("reading the key as PKCS#12: %w", err)
	}
	k, err := parseDER(priv, nil)
	if err != nil {
		return nil, err
	}
	return k.WithCertificates(append([]*x509.Certificate{cert}, more...))
}

func parseMinisign(file []byte, ask Passphrase) (*Key, error) {
	var priv minisign.PrivateKey
	if !minisign.IsEncrypted(file) {
		if err := priv.UnmarshalText(file); err != nil {
			return nil, usage("reading the minisign key: %w", err)
		}
	} else {
		pass, err := ask()
		if err != nil {
			return nil, err
		}
		// The library bounds what the key derivation may ask for.
		if priv, err = minisign.DecryptKey(string(pass), file); err != nil {
			return nil, usage("reading the minisign key: %w", err)
		}
	}
	text, err := priv.MarshalText()
	if err != nil {
		return nil, usage("reading the minisign key: %w", err)
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	b, err := base64.StdEncoding.DecodeString(string(lines[len(lines)-1]))
	const at = 2 + 2 + 2 + 32 + 8 + 8 + 8 // algorithm, derivation, checksum, salt, two limits, key id
	if err != nil || len(b) < at+ed25519.PrivateKeySize {
		return nil, usage("reading the minisign key: malformed")
	}
	k, err := fromSigner(ed25519.PrivateKey(b[at : at+ed25519.PrivateKeySize]))
	if err != nil {
		return nil, err
	}
	k.mini = &priv
	return k, nil
}

// checkPBES2 bounds the work that an encrypted PKCS#8 file asks for.
func checkPBES2(der []byte) error {
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	var info struct {
		Alg struct {
			ID     asn1.ObjectIdentifier
			Params struct{ KDF, Cipher algorithm }
		}
		Data []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return usage("reading the key: encrypted in another way than PBES2")
	}
	// The first INTEGER behind the salt is PBKDF2's count or scrypt's N.
	var params []asn1.RawValue
	if _, err := asn1.Unmarshal(info.Alg.Params.KDF.Params.FullBytes, &params); err != nil || len(params) < 2 {
		return usage("reading the key: malformed key derivation")
	}
	bound := int64(maxPBKDF2) * 64 // the length of the key may follow the count
	cost := big.NewInt(1)
	for _, p := range params[1:] {
		var n *big.Int
		if p.Tag == asn1.TagInteger {
			if _, err := asn1.Unmarshal(p.FullBytes, &n); err != nil || n.Sign() <= 0 {
				return usage("reading the key: malformed key derivation")
			}
			cost.Mul(cost, n)
		}
	}
	if info.Alg.Params.KDF.ID.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}) {
		bound = maxScryptMemory / 128
	}
	if !cost.IsInt64() || cost.Int64() > bound {
		return usage("reading the key: its key derivation asks for too much work")
	}
	return nil
}

// SSHKey is a key of a file or an agent that speaks as an SSH signer.
func SSHKey(s ssh.Signer) (*Key, error) {
	if err := sshsig.CheckKey(s.PublicKey()); err != nil {
		return nil, usage("the SSH key: %w", err)
	}
	k := &Key{ssh: s}
	c, ok := s.PublicKey().(ssh.CryptoPublicKey)
	switch s.PublicKey().Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
	default:
		ok = false // security keys sign more than the message
	}
	if ok {
		k.public = c.CryptoPublicKey()
	}
	return k, nil
}

// ErrNoBundle says that a key can make signatures of its own format alone.
var ErrNoBundle = errors.New("a key of this kind cannot sign a bundle; use its own format, --format ssh")

// keypair is a Key as sigstore-go wants it.
type keypair struct {
	*Key
	prehash bool // Ed25519ph, for plain signatures
}

func (k *Key) details() (protocommon.PublicKeyDetails, protocommon.HashAlgorithm, crypto.Hash, string, error) {
	switch p := k.public.(type) {
	case ed25519.PublicKey:
		return protocommon.PublicKeyDetails_PKIX_ED25519, protocommon.HashAlgorithm_SHA2_512, crypto.SHA512, "ED25519", nil
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P384():
			return protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, protocommon.HashAlgorithm_SHA2_384, crypto.SHA384, "ECDSA", nil
		case elliptic.P521():
			return protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, protocommon.HashAlgorithm_SHA2_512, crypto.SHA512, "ECDSA", nil
		}
		return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, protocommon.HashAlgorithm_SHA2_256, crypto.SHA256, "ECDSA", nil
	case *rsa.PublicKey:
		d := protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256
		switch {
		case p.N.BitLen() > 3072:
			d = protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256
		case p.N.BitLen() > 2048:
			d = protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256
		}
		return d, protocommon.HashAlgorithm_SHA2_256, crypto.SHA256, "RSA", nil
	}
	return 0, 0, 0, "", ErrNoBundle
}

// GetHashAlgorithm is the hash that a plain signature is over.
func (k keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	_, h, _, _, _ := k.details()
	return h
}

// GetSigningAlgorithm names the algorithm.
func (k keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	d, _, _, _, _ := k.details()
	if k.prehash && d == protocommon.PublicKeyDetails_PKIX_ED25519 {
		return protocommon.PublicKeyDetails_PKIX_ED25519_PH
	}
	return d
}

// GetHint is the digest of the public key, as cosign writes it.
func (k keypair) GetHint() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}

// GetKeyAlgorithm is the kind of key, as Fulcio names it.
func (k keypair) GetKeyAlgorithm() string {
	_, _, _, name, _ := k.details()
	return name
}

// GetPublicKey is the public key.
func (k keypair) GetPublicKey() crypto.PublicKey { return k.public }

// GetPublicKeyPem is the public key in PEM.
func (k keypair) GetPublicKeyPem() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return "", fmt.Errorf("writing the public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// SignData signs and returns what the signature is over: a hash, or the data.
func (k keypair) SignData(_ context.Context, data []byte) (sig, over []byte, err error) {
	return k.sign(data, nil)
}

// sign signs data, or the digest of a file that was hashed in passing.
func (k keypair) sign(data, digest []byte) (sig, over []byte, err error) {
	_, _, hash, _, err := k.details()
	if err != nil {
		return nil, nil, err
	}
	if k.ssh != nil {
		sig, err := k.sshSign(data)
		return sig, data, err
	}
	_, edwards := k.public.(ed25519.PublicKey)
	if edwards && !k.prehash {
		sig, err := k.signer.Sign(rand.Reader, data, crypto.Hash(0))
		return sig, data, wrapSign(err)
	}
	if digest == nil {
		h := hash.New()
		h.Write(data)
		digest = h.Sum(nil)
	}
	sig, err = k.signer.Sign(rand.Reader, digest, hash)
	return sig, digest, wrapSign(err)
}

func wrapSign(err error) error {
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	return nil
}

// sshSign has an SSH signer, such as an agent, sign data, and unwraps the
// signature: SSH's framing is around it, not under it.
func (k *Key) sshSign(data []byte) ([]byte, error) {
	var s *ssh.Signature
	var err error
	if k.ssh.PublicKey().Type() == ssh.KeyAlgoRSA {
		a, ok := k.ssh.(ssh.AlgorithmSigner)
		if !ok {
			return nil, usage("the SSH agent cannot sign with RSA and SHA-256")
		}
		s, err = a.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA256)
	} else {
		s, err = k.ssh.Sign(rand.Reader, data)
	}
	if err != nil {
		return nil, fmt.Errorf("signing with the SSH key: %w", err)
	}
	switch s.Format {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoRSASHA256:
		return s.Blob, nil
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		var rs struct{ R, S *big.Int }
		if err := ssh.Unmarshal(s.Blob, &rs); err != nil {
			return nil, fmt.Errorf("signing with the SSH key: %w", err)
		}
		return asn1.Marshal(rs)
	}
	return nil, ErrNoBundle
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
