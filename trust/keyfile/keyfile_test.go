package keyfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var now = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func entity(t testing.TB, name string) *pgp.Entity {
	return must(pgp.NewEntity(name, "", strings.ToLower(name)+"@example.com", &packet.Config{Time: func() time.Time { return now }, Algorithm: packet.PubKeyAlgoEdDSA}))
}

func armored(e *pgp.Entity) string {
	var b bytes.Buffer
	w := must(armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil))
	if err := e.Serialize(w); err != nil {
		panic(err)
	}
	w.Close()
	return b.String() + "\n"
}

func secret(t testing.TB) string {
	var b bytes.Buffer
	if err := entity(t, "Carol").SerializePrivate(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func spki() []byte {
	k := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return must(x509.MarshalPKIXPublicKey(&k.PublicKey))
}

func root() []byte {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: now, NotAfter: now.AddDate(9, 0, 0), IsCA: true, BasicConstraintsValid: true}
	return must(x509.CreateCertificate(rand.Reader, c, c, key.Public(), key))
}

func pemOf(typ string, b []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: b}))
}

func rw() string {
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	return base64.StdEncoding.EncodeToString(append([]byte("Ed12345678"), pub...))
}

func sshLine(comment string) string {
	pub, _, _ := ed25519.GenerateKey(rand.Reader)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(must(ssh.NewPublicKey(pub))))) + " " + comment
}

func TestParse(t *testing.T) {
	alice, bob := entity(t, "Alice"), entity(t, "Bob")
	broken := strings.Replace(armored(bob), "\n\n", "\n\nAAAA", 1)
	cert := root()
	for what, c := range map[string]struct {
		data  string
		keys  int
		bad   int
		kind  trust.MaterialKind
		named string // in the first key's name
	}{
		"KEYS file":           {"This file holds keys.\n\npub 1234\n" + armored(alice) + "\nsome text\n" + armored(bob), 2, 0, trust.MaterialOpenPGP, "Alice"},
		"KEYS, one broken":    {armored(alice) + broken + armored(bob), 2, 1, trust.MaterialOpenPGP, "Alice"},
		"KEYS, cut off":       {armored(alice) + armored(bob)[:200], 1, 1, trust.MaterialOpenPGP, "Alice"},
		"certificate":         {pemOf("CERTIFICATE", cert), 1, 0, trust.MaterialX509Root, "CN=Root"},
		"bundle with text":    {"# Root\n" + pemOf("CERTIFICATE", cert) + "\nOther\n" + pemOf("CERTIFICATE", root()), 2, 0, trust.MaterialX509Root, "CN=Root"},
		"bundle, one broken":  {pemOf("CERTIFICATE", cert) + pemOf("CERTIFICATE", cert[:50]), 1, 1, trust.MaterialX509Root, "CN=Root"},
		"bundle, one cut off": {pemOf("CERTIFICATE", cert) + pemOf("CERTIFICATE", root())[:80], 1, 1, trust.MaterialX509Root, "CN=Root"},
		"certificate in DER":  {string(cert), 1, 0, trust.MaterialX509Root, "CN=Root"},
		"public key":          {pemOf("PUBLIC KEY", spki()), 1, 0, trust.MaterialPublicKey, "key "},
		"public key in DER":   {string(spki()), 1, 0, trust.MaterialPublicKey, "key "},
		"no public key":       {pemOf("CERTIFICATE REQUEST", spki()) + pemOf("PUBLIC KEY", spki()), 1, 1, trust.MaterialPublicKey, "key "},
		"minisign":            {"untrusted comment: our key\n" + rw() + "\n", 1, 0, trust.MaterialPublicKey, "our key"},
		"minisign alone":      {rw(), 1, 0, trust.MaterialPublicKey, "minisign key"},
		"two minisign keys":   {"untrusted comment: one\n" + rw() + "\nuntrusted comment: two\n" + rw() + "\nRWbroken\n", 2, 1, trust.MaterialPublicKey, "one"},
		"ssh":                 {sshLine("alice@example.com") + "\n# old\n" + sshLine("") + "\n", 2, 0, trust.MaterialPublicKey, "alice@example.com"},
		"allowed signers":     {"alice@example.com " + sshLine("") + "\nbob@example.com valid-before=\"20200101\" " + sshLine("") + "\n", 1, 1, trust.MaterialPublicKey, "alice@example.com"},
		"trusted root":        {`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`, 1, 0, trust.MaterialTrustedRoot, "trusted root"},
	} {
		keys, bad, err := Parse([]byte(c.data))
		if err != nil || len(keys) != c.keys || len(bad) != c.bad {
			t.Errorf("%s: %d keys, %d bad (%v), %v", what, len(keys), len(bad), bad, err)
			continue
		}
		if keys[0].Kind != c.kind || !strings.Contains(keys[0].Name, c.named) {
			t.Errorf("%s: %s %q", what, keys[0].Kind, keys[0].Name)
		}
		for _, k := range keys {
			again, bad, err := Parse(k.Data)
			if err != nil || len(bad) > 0 || len(again) != 1 || !bytes.Equal(again[0].Data, k.Data) {
				t.Errorf("%s: a key alone is read as %d keys, %v, %v", what, len(again), bad, err)
				continue
			}
			if (k.Signer == nil) != (again[0].Signer == nil) || k.Signer != nil && k.Signer.Identity() != again[0].Signer.Identity() {
				t.Errorf("%s: read again, it is another signer", what)
			}
		}
	}
	for what, data := range map[string]string{
		"empty": " \n", "text": "hello", "JSON": `{"a":1}`, "private PEM": pemOf("PRIVATE KEY", []byte("x")), "private OpenPGP": "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
		"private OpenPGP, binary": secret(t), "private beside public": pemOf("CERTIFICATE", cert) + pemOf("EC PRIVATE KEY", []byte("x")), "binary": "\x00\x01\x02", "DER of something else": "\x30\x03\x02\x01\x01",
	} {
		keys, bad, err := Parse([]byte(data))
		if err == nil && (len(keys) > 0 || len(bad) == 0) {
			t.Errorf("%s was read: %+v %v", what, keys, bad)
		}
		if strings.HasPrefix(what, "private") && (err == nil || !strings.Contains(err.Error(), "private key")) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := Parse(make([]byte, MaxFile+1)); err == nil {
		t.Error("a file above the bound was read")
	}
	if keys, bad, err := Parse([]byte(strings.Repeat("# c\n", MaxFile/4-200) + sshLine(""))); err != nil || len(keys) != 1 {
		t.Errorf("a file below the bound: %v, %v", bad, err)
	}
	many := strings.Repeat(sshLine("")+"\n", MaxKeys)
	if keys, _, err := Parse([]byte(many)); err != nil || len(keys) != MaxKeys {
		t.Errorf("as many keys as the bound: %d, %v", len(keys), err)
	}
	if _, _, err := Parse([]byte(many + sshLine(""))); err == nil {
		t.Error("one key above the bound was read")
	}
}

func TestHas(t *testing.T) {
	alice := entity(t, "Alice")
	keys := must2(t, armored(alice))
	print := strings.ToUpper(hex.EncodeToString(alice.PrimaryKey.Fingerprint))
	sub := hex.EncodeToString(alice.Subkeys[0].PublicKey.Fingerprint)
	for _, name := range []string{print, strings.ToLower(print), sub, print[24:], keys[0].Signer.ID()} {
		if !keys[0].Has(name) {
			t.Errorf("%q does not mean the key", name)
		}
	}
	for _, name := range []string{"", "Alice", print[:39], print[32:], "s-000000000000", "0000000000000000"} {
		if keys[0].Has(name) {
			t.Errorf("%q means the key", name)
		}
	}
	cert := root()
	sum := sha256.Sum256(cert)
	if k := must2(t, string(cert))[0]; !k.Has(hex.EncodeToString(sum[:])) || k.Has("") || k.Has("Root") {
		t.Error("a certificate is not known by its digest alone")
	}
	if k := must2(t, rw())[0]; !k.Has("3837363534333231") || k.Has("") {
		t.Error("a minisign key is not known by its id")
	}
}

func must2(t *testing.T, data string) []Key {
	t.Helper()
	keys, bad, err := Parse([]byte(data))
	if err != nil || len(bad) > 0 || len(keys) == 0 {
		t.Fatal(keys, bad, err)
	}
	return keys
}

// TestRealKeys reads key files as they are published: each parses or says why not.
func TestRealKeys(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files := slices.Concat(must(filepath.Glob(filepath.Join(dir, "maven", "keys", "*"))), must(filepath.Glob(filepath.Join(dir, "minisign", "*.pub"))), must(filepath.Glob(filepath.Join(dir, "helm", "*.pub"))))
	n, failed := 0, 0
	for _, f := range files {
		keys, bad, err := Parse(must(os.ReadFile(f)))
		if n += len(keys); err != nil || len(bad) > 0 {
			failed++
			t.Logf("%s: %v %v", filepath.Base(f), err, bad)
		}
	}
	if n == 0 || failed > len(files)/4 {
		t.Errorf("%d keys, %d of %d files failed", n, failed, len(files))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(armored(entity(f, "Alice"))))
	f.Add([]byte(pemOf("PUBLIC KEY", spki())))
	f.Add([]byte(rw()))
	f.Add([]byte(sshLine("c")))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, _, err := Parse(b)
		for _, k := range keys {
			if err != nil || len(k.Data) == 0 || k.Kind == "" {
				t.Fatalf("%+v, %v", k, err)
			}
		}
	})
}
