package keyfile

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sshsig"
)

// Bounds of a key file.
const (
	MaxFile = openpgp.MaxKeyFile      // bytes
	MaxKeys = openpgp.MaxCertificates // keys
)

// Key is one key of a file. Exactly one of the typed fields is set, but for a
// trusted root, which is Data alone.
type Key struct {
	Kind trust.MaterialKind
	// Name is for people: user ids, subject or comment as the file has them. Nobody
	// vouches for it.
	Name string
	// Signer is who signs with the key; nil for X.509 certificates and trusted
	// roots, under which others sign.
	Signer *trust.Signer
	// Data is this key alone, always in the same form.
	Data []byte

	OpenPGP     *openpgp.Certificate
	Minisign    *minisign.PublicKey
	SSH         ssh.PublicKey
	Public      crypto.PublicKey
	Certificate *x509.Certificate
}

// Has reports whether the key is meant by a handle ("s-…"), an OpenPGP
// fingerprint of the primary key or a subkey, an OpenPGP or minisign key id, an
// SSH fingerprint, or the SHA-256 of a certificate or public key in hex.
func (k Key) Has(name string) bool {
	if name == "" {
		return false
	}
	if k.Signer != nil && (k.Signer.ID() == name || k.Signer.Fingerprint == name || strings.EqualFold(k.Signer.KeyDigest, name)) {
		return true
	}
	switch {
	case k.OpenPGP != nil:
		return k.OpenPGP.Has(name) || k.OpenPGP.HasID(name)
	case k.Minisign != nil:
		return strings.EqualFold(k.Minisign.ID(), name)
	case k.Certificate != nil:
		sum := sha256.Sum256(k.Certificate.Raw)
		return strings.EqualFold(hex.EncodeToString(sum[:]), strings.ReplaceAll(name, ":", ""))
	}
	return false
}

func malformed(format string, args ...any) error {
	return trust.Misconfigured("reading the key file: "+format, args...)
}

// Parse reads a file. err is for a file that is no key file at all, or that holds
// a private key.
func Parse(data []byte) (keys []Key, bad []error, err error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(data) > MaxFile:
		return nil, nil, malformed("%d bytes are more than %d", len(data), MaxFile)
	case len(text) == 0:
		return nil, nil, malformed("it is empty")
	case bytes.Contains(data, []byte("PRIVATE KEY-----")), bytes.Contains(data, []byte("PRIVATE KEY BLOCK-----")), isSecretOpenPGP(data):
		return nil, nil, malformed("it holds a private key; verification needs the public one")
	case bytes.Contains(data, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")), isOpenPGP(data):
		keys, bad, err = parseOpenPGP(data)
	case bytes.HasPrefix(text, []byte(begin)), bytes.Contains(text, []byte("\n"+begin)):
		keys, bad = parsePEM(text)
	case bytes.HasPrefix(text, []byte("untrusted comment:")), bytes.HasPrefix(text, []byte("RW")):
		keys, bad = parseMinisign(data)
	case data[0] == 0x30:
		k, kerr := parseDER(data)
		if kerr != nil {
			return nil, nil, kerr
		}
		keys = []Key{k}
	case text[0] == '{':
		k, kerr := parseTrustedRoot(text)
		if kerr != nil {
			return nil, nil, kerr
		}
		keys = []Key{k}
	default:
		keys, bad = parseSSH(text)
	}
	switch {
	case err != nil:
		return nil, nil, malformed("%w", err)
	case len(keys) > MaxKeys:
		return nil, nil, malformed("more than %d keys", MaxKeys)
	case len(keys) == 0 && len(bad) == 0:
		return nil, nil, malformed("no key in it")
	}
	return keys, bad, nil
}

// isOpenPGP reports whether data starts with a public key packet, old or new.
func isOpenPGP(data []byte) bool {
	return len(data) > 1 && (data[0] == 0x98 || data[0] == 0x99 || data[0] == 0xc6)
}

// isSecretOpenPGP reports whether data starts with a secret key packet.
func isSecretOpenPGP(data []byte) bool {
	return len(data) > 1 && (data[0] == 0x94 || data[0] == 0x95 || data[0] == 0xc5)
}

func parseOpenPGP(data []byte) (keys []Key, bad []error, err error) {
	certs, bad, err := openpgp.ParseCertificates(data)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range certs {
		ids := c.UserIDs()
		slices.Sort(ids)
		keys = append(keys, Key{
			Kind: trust.MaterialOpenPGP, Name: strings.Join(ids, ", "), Data: c.Bytes(), OpenPGP: c,
			Signer: &trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: c.Fingerprint()},
		})
	}
	return keys, bad, nil
}

// begin starts every PEM block.
const begin = "-----BEGIN "

// parsePEM reads PEM blocks. Bundles of authorities have comments between them,
// which say nothing; a block that cannot be decoded is not passed over with them.
func parsePEM(text []byte) (keys []Key, bad []error) {
	blocks := bytes.Count(text, []byte(begin))
	n := 0
	for rest := text; n <= MaxKeys; {
		block, more := pem.Decode(rest)
		if block == nil {
			break
		}
		n++
		rest = more
		var k Key
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			k, err = publicKey(block.Bytes)
		case "CERTIFICATE":
			k, err = certificate(block.Bytes)
		default:
			err = malformed("PEM block %d is a %q, which is no public key", n, clip(block.Type))
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		keys = append(keys, k)
	}
	if n < blocks && n <= MaxKeys {
		bad = append(bad, malformed("%d of %d PEM blocks cannot be decoded", blocks-n, blocks))
	}
	return keys, bad
}

func parseDER(data []byte) (Key, error) {
	if k, err := certificate(data); err == nil {
		return k, nil
	}
	return publicKey(data)
}

func certificate(der []byte) (Key, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Key{}, malformed("%w", err)
	}
	return Key{Kind: trust.MaterialX509Root, Name: c.Subject.String(), Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), Certificate: c}, nil
}

func publicKey(der []byte) (Key, error) {
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Key{}, malformed("%w", err)
	}
	// Encoded anew: some encodings that are read are not the one that is signed for.
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return Key{}, malformed("%w", err)
	}
	sum := sha256.Sum256(spki)
	s := trust.Signer{Kind: trust.SignerKey, KeyDigest: hex.EncodeToString(sum[:])}
	return Key{Kind: trust.MaterialPublicKey, Name: s.String(), Signer: &s, Data: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), Public: pub}, nil
}

// parseMinisign reads minisign and signify keys: base64 lines, each with a comment
// line before it or not.
func parseMinisign(data []byte) (keys []Key, bad []error) {
	comment := ""
	n := 0
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if c, ok := strings.CutPrefix(line, "untrusted comment:"); ok {
			comment = strings.TrimSpace(c)
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if n++; n > MaxKeys+1 {
			break
		}
		k, err := minisign.ParsePublicKey([]byte(line))
		if err != nil {
			bad = append(bad, malformed("%w", err))
			continue
		}
		s := k.Signer()
		name := comment
		if name == "" {
			name = "minisign key " + k.ID()
		}
		keys = append(keys, Key{Kind: trust.MaterialPublicKey, Name: name, Signer: &s, Data: []byte(k.String() + "\n"), Minisign: &k})
		comment = ""
	}
	return keys, bad
}

// parseTrustedRoot reads Sigstore's trusted root. Whether it is usable is for
// whoever uses it to say: its age counts.
func parseTrustedRoot(text []byte) (Key, error) {
	var head struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(text, &head); err != nil || !strings.HasPrefix(head.MediaType, "application/vnd.dev.sigstore.trustedroot") {
		return Key{}, malformed("it is JSON and no trusted root of Sigstore")
	}
	return Key{Kind: trust.MaterialTrustedRoot, Name: "trusted root", Data: bytes.Clone(text)}, nil
}

func parseSSH(text []byte) (keys []Key, bad []error) {
	for line := range strings.SplitSeq(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if len(keys)+len(bad) > MaxKeys {
			break
		}
		pub, name, err := sshKey(line)
		if err == nil {
			err = sshsig.CheckKey(pub)
		}
		if err != nil {
			bad = append(bad, malformed("neither PEM, minisign, OpenPGP nor an SSH key: %w", err))
			continue
		}
		s := sshsig.SignerOf(pub)
		if name == "" {
			name = s.String()
		}
		keys = append(keys, Key{Kind: trust.MaterialPublicKey, Name: name, Signer: &s, Data: ssh.MarshalAuthorizedKey(pub), SSH: pub})
	}
	return keys, bad
}

// sshKey reads a line of a public key file or of an allowed_signers file.
func sshKey(line string) (ssh.PublicKey, string, error) {
	pub, err := sshsig.ParsePublicKey([]byte(line))
	if err == nil {
		name := ""
		if words := strings.SplitN(line, " ", 3); len(words) == 3 {
			name = strings.TrimSpace(words[2])
		}
		return pub, name, nil
	}
	allowed, aerr := sshsig.ParseAllowedSigners([]byte(line))
	if aerr != nil || len(allowed) != 1 {
		return nil, "", err
	}
	a := allowed[0]
	if !a.ValidAfter.IsZero() || !a.ValidBefore.IsZero() || len(a.Namespaces) > 0 && !a.Allows(firstPrincipal(a), sshsig.NamespaceFile, a.ValidAfter) {
		return nil, "", fmt.Errorf("an allowed signer with a time or another namespace cannot be judged: an SSH signature carries no time")
	}
	return a.Key, strings.Join(a.Principals, ", "), nil
}

func firstPrincipal(a sshsig.AllowedSigner) string {
	for _, p := range a.Principals {
		if !strings.ContainsAny(p, "!*?") {
			return p
		}
	}
	return "user"
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
