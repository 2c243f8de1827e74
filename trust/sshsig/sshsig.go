package sshsig

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	// MaxSignature bounds an armoured signature in bytes; one of the largest RSA
	// key that OpenSSH makes is below 8 KiB.
	MaxSignature = 16 << 10
	// MaxMessage bounds a signed message in bytes.
	MaxMessage = 8 << 30
	// MaxNamespace bounds a namespace in bytes.
	MaxNamespace = 256
	// MinRSABits is the smallest RSA modulus that counts.
	MinRSABits = 2048
)

// NamespaceFile is the namespace that ssh-keygen(1) recommends for files.
const NamespaceFile = "file"

const (
	magic   = "SSHSIG"
	version = 1
	begin   = "-----BEGIN SSH SIGNATURE-----"
	end     = "-----END SSH SIGNATURE-----"
	// lineLength is how OpenSSH wraps the armour.
	lineLength = 70
)

// Want is what a signature must be for, and by whom.
type Want struct {
	// Namespace says what the signature is for; it must be equal.
	Namespace string
	// Keys are the keys whose signature counts; at least one.
	Keys []ssh.PublicKey
}

// Verified is a signature that Verify found sound.
type Verified struct {
	key       ssh.PublicKey
	namespace string
	hash      string
}

// Key returns the key that signed.
func (v *Verified) Key() ssh.PublicKey { return v.key }

// Namespace returns the namespace that was signed.
func (v *Verified) Namespace() string { return v.namespace }

// HashAlgorithm returns "sha256" or "sha512".
func (v *Verified) HashAlgorithm() string { return v.hash }

// Signer returns the identity behind the signature.
func (v *Verified) Signer() trust.Signer { return SignerOf(v.key) }

// SignerOf is the identity of a public key: its fingerprint as OpenSSH prints
// it, and the digest of its SPKI form where it has one.
func SignerOf(key ssh.PublicKey) trust.Signer {
	s := trust.Signer{Kind: trust.SignerSSH, Fingerprint: ssh.FingerprintSHA256(key)}
	if spki, ok := SPKI(key); ok {
		sum := sha256.Sum256(spki)
		s.KeyDigest = hex.EncodeToString(sum[:])
	}
	return s
}

// SPKI returns the key in DER SPKI form, so that it can be compared with the
// same key from elsewhere; ok is false for kinds that have no such form.
func SPKI(key ssh.PublicKey) (der []byte, ok bool) {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil, false
	}
	der, err := x509.MarshalPKIXPublicKey(c.CryptoPublicKey())
	return der, err == nil
}

// blob is the signature inside the armour, without its magic.
type blob struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  []byte
	Hash      string
	Signature []byte
}

// Verify checks the armoured signature over message and returns who made it.
//
// A signature that is sound but by another key, or for another namespace, is a
// failure; one that cannot be read or whose algorithm is unknown is
// undecidable. An empty namespace or key list is a configuration error.
func Verify(message io.Reader, armored []byte, want Want) (*Verified, error) {
	if want.Namespace == "" || len(want.Namespace) > MaxNamespace {
		return nil, trust.Misconfigured("verifying an SSH signature needs a namespace of 1 to %d bytes", MaxNamespace)
	}
	if len(want.Keys) == 0 {
		return nil, trust.Misconfigured("verifying an SSH signature needs at least one key")
	}
	b, err := parse(armored)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePublicKey(b.PublicKey)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading the key of an SSH signature: %w", err)
	}
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	h, err := newHash(b.Hash)
	if err != nil {
		return nil, err
	}
	var sig ssh.Signature
	if err := ssh.Unmarshal(b.Signature, &sig); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading an SSH signature: %w", err)
	}
	if err := checkFormat(key, &sig); err != nil {
		return nil, err
	}
	sum, err := digest(h, message)
	if err != nil {
		return nil, err
	}
	if err := key.Verify(signedData(b.Namespace, b.Reserved, b.Hash, sum), &sig); err != nil {
		return nil, trust.Failure(trust.ReasonBadSignature, "the SSH signature by %s does not verify: %w", ssh.FingerprintSHA256(key), err)
	}
	if b.Namespace != want.Namespace {
		return nil, trust.Failure(trust.ReasonWrongSubject, "the SSH signature is for namespace %q, not %q", clip(b.Namespace), want.Namespace)
	}
	for _, k := range want.Keys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return &Verified{key: key, namespace: b.Namespace, hash: b.Hash}, nil
		}
	}
	return nil, trust.Failure(trust.ReasonUntrustedSigner, "the SSH signature is by %s, which is none of the %d expected keys", ssh.FingerprintSHA256(key), len(want.Keys))
}

// KeyOf returns the key that an armoured signature claims to be by. It proves
// nothing; it is for finding out whom to ask Verify about.
func KeyOf(armored []byte) (ssh.PublicKey, error) {
	b, err := parse(armored)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePublicKey(b.PublicKey)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading the key of an SSH signature: %w", err)
	}
	return key, nil
}

// CheckKey refuses keys that are too weak or of a kind that this package does
// not verify.
func CheckKey(key ssh.PublicKey) error {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil
	case ssh.KeyAlgoRSA:
		if c, ok := key.(ssh.CryptoPublicKey); ok {
			if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && r.N.BitLen() >= MinRSABits {
				return nil
			}
		}
		return trust.Failure(trust.ReasonUntrustedSigner, "the RSA key %s has less than %d bits", ssh.FingerprintSHA256(key), MinRSABits)
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return trust.Undecidable(trust.ReasonUnsupported, "SSH certificates are not supported; sign with the plain key")
	}
	return trust.Undecidable(trust.ReasonUnsupported, "SSH keys of type %q are not supported", clip(key.Type()))
}

// checkFormat ties the signature's algorithm to the key's type.
func checkFormat(key ssh.PublicKey, sig *ssh.Signature) error {
	switch t := key.Type(); t {
	case ssh.KeyAlgoRSA:
		if sig.Format != ssh.KeyAlgoRSASHA256 && sig.Format != ssh.KeyAlgoRSASHA512 {
			return trust.Failure(trust.ReasonWeakDigest, "the RSA signature has the algorithm %q; only rsa-sha2-256 and rsa-sha2-512 count", clip(sig.Format))
		}
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		if sig.Format != t {
			return trust.Failure(trust.ReasonBadSignature, "a key of type %s with a signature of type %q", t, clip(sig.Format))
		}
		return nil // flags and counter follow the signature
	default:
		if sig.Format != t {
			return trust.Failure(trust.ReasonBadSignature, "a key of type %s with a signature of type %q", t, clip(sig.Format))
		}
	}
	if len(sig.Rest) != 0 {
		return trust.Undecidable(trust.ReasonMalformed, "%d bytes after an SSH signature", len(sig.Rest))
	}
	return nil
}

func parse(armored []byte) (*blob, error) {
	if len(armored) > MaxSignature {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the SSH signature has %d bytes, more than %d", len(armored), MaxSignature)
	}
	malformed := func(what string) (*blob, error) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the SSH signature %s", what)
	}
	text := strings.ReplaceAll(string(armored), "\r\n", "\n")
	text, ok := strings.CutPrefix(text, begin+"\n")
	if !ok {
		return malformed("does not start with " + begin)
	}
	text, ok = strings.CutSuffix(strings.TrimSuffix(text, "\n"), "\n"+end)
	if !ok {
		return malformed("does not end with " + end)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text) // skips line ends
	if err != nil {
		return malformed("is not base64")
	}
	raw, ok = bytes.CutPrefix(raw, []byte(magic))
	if !ok {
		return malformed("has no " + magic + " preamble")
	}
	var b blob
	if err := ssh.Unmarshal(raw, &b); err != nil {
		return malformed("cannot be read: " + err.Error())
	}
	if b.Version != version {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the SSH signature has version %d, not %d", b.Version, version)
	}
	if b.Namespace == "" || len(b.Namespace) > MaxNamespace {
		return malformed("has no usable namespace")
	}
	return &b, nil
}

func newHash(name string) (hash.Hash, error) {
	switch name {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, trust.Undecidable(trust.ReasonUnsupported, "the SSH signature uses the hash %q; only sha256 and sha512 count", clip(name))
}

func digest(h hash.Hash, message io.Reader) ([]byte, error) {
	n, err := io.Copy(h, io.LimitReader(message, MaxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("reading the signed message: %w", err)
	}
	if n > MaxMessage {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the signed message is longer than %d bytes", int64(MaxMessage))
	}
	return h.Sum(nil), nil
}

func signedData(namespace string, reserved []byte, hashName string, sum []byte) []byte {
	return append([]byte(magic), ssh.Marshal(struct {
		Namespace string
		Reserved  []byte
		Hash      string
		Sum       []byte
	}{namespace, reserved, hashName, sum})...)
}

// Sign makes an armoured signature over message, with SHA-512, as
// "ssh-keygen -Y sign" does.
func Sign(message io.Reader, namespace string, signer ssh.Signer) ([]byte, error) {
	if namespace == "" || len(namespace) > MaxNamespace {
		return nil, trust.Misconfigured("an SSH signature needs a namespace of 1 to %d bytes", MaxNamespace)
	}
	key := signer.PublicKey()
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	const hashName = "sha512"
	sum, err := digest(sha512.New(), message)
	if err != nil {
		return nil, err
	}
	data := signedData(namespace, nil, hashName, sum)
	var sig *ssh.Signature
	if key.Type() == ssh.KeyAlgoRSA {
		// The default of RSA keys is SHA-1.
		as, ok := signer.(ssh.AlgorithmSigner)
		if !ok {
			return nil, fmt.Errorf("signing with %s: the signer cannot sign with SHA-512", ssh.FingerprintSHA256(key))
		}
		sig, err = as.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
	} else {
		sig, err = signer.Sign(rand.Reader, data)
	}
	if err != nil {
		return nil, fmt.Errorf("signing with %s: %w", ssh.FingerprintSHA256(key), err)
	}
	raw := append([]byte(magic), ssh.Marshal(blob{
		Version: version, PublicKey: key.Marshal(), Namespace: namespace, Hash: hashName, Signature: ssh.Marshal(sig),
	})...)
	text := base64.StdEncoding.EncodeToString(raw)
	var out strings.Builder
	out.WriteString(begin + "\n")
	for len(text) > lineLength {
		out.WriteString(text[:lineLength] + "\n")
		text = text[lineLength:]
	}
	out.WriteString(text + "\n" + end + "\n")
	return []byte(out.String()), nil
}

// ParseSigner reads a private key file as ssh-keygen or OpenSSL writes it.
// passphrase is asked only if the file is encrypted; it may be nil.
func ParseSigner(file []byte, passphrase func() ([]byte, error)) (ssh.Signer, error) {
	s, err := ssh.ParsePrivateKey(file)
	if _, missing := err.(*ssh.PassphraseMissingError); missing {
		if passphrase == nil {
			return nil, fmt.Errorf("reading the SSH key: it is encrypted and there is nobody to ask for its passphrase; use ssh-agent")
		}
		p, perr := passphrase()
		if perr != nil {
			return nil, fmt.Errorf("asking for the passphrase of the SSH key: %w", perr)
		}
		s, err = ssh.ParsePrivateKeyWithPassphrase(file, p)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the SSH key: %w", err)
	}
	return s, CheckKey(s.PublicKey())
}

// agentSigner signs by an agent and knows its key as what it is: an agent's own
// keys hide the plain key behind them.
type agentSigner struct {
	ssh.AlgorithmSigner
	public ssh.PublicKey
}

// PublicKey returns the key.
func (s agentSigner) PublicKey() ssh.PublicKey { return s.public }

// AgentSigner returns the signer of one key that an ssh-agent holds.
func AgentSigner(a agent.Agent, key ssh.PublicKey) (ssh.Signer, error) {
	all, err := a.Signers()
	if err != nil {
		return nil, fmt.Errorf("asking ssh-agent for its keys: %w", err)
	}
	wire := key.Marshal()
	for _, s := range all {
		if !bytes.Equal(s.PublicKey().Marshal(), wire) {
			continue
		}
		public, err := ssh.ParsePublicKey(wire)
		if err != nil {
			return nil, fmt.Errorf("reading a key of ssh-agent: %w", err)
		}
		by, ok := s.(ssh.AlgorithmSigner)
		if !ok {
			return s, nil
		}
		return agentSigner{by, public}, nil
	}
	return nil, fmt.Errorf("ssh-agent does not hold %s; add it with ssh-add", ssh.FingerprintSHA256(key))
}

// ParsePublicKey reads one public key line ("ssh-ed25519 AAAA… comment") and
// refuses anything beside it.
func ParsePublicKey(line []byte) (ssh.PublicKey, error) {
	fields := strings.Fields(strings.TrimSpace(string(line)))
	if len(fields) < 2 || strings.ContainsAny(strings.TrimSpace(string(line)), "\r\n") {
		return nil, fmt.Errorf("an SSH public key is one line: type, base64, comment")
	}
	return parseKey(fields[0], fields[1])
}

func parseKey(typ, b64 string) (ssh.PublicKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil {
		return nil, fmt.Errorf("the SSH public key is not base64")
	}
	key, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the SSH public key: %w", err)
	}
	if key.Type() != typ {
		return nil, fmt.Errorf("the SSH public key says it is %q and is %q", clip(typ), clip(key.Type()))
	}
	return key, CheckKey(key)
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
