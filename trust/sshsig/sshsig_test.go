package sshsig

import (
	"bytes"
	"crypto"
	//lint:ignore SA1019 the test makes a DSA key to see it refused
	"crypto/dsa"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/headgate/headgate/trust"
)

const ns = "headgate-test@example.com"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func edKey(t testing.TB) (ed25519.PrivateKey, ssh.Signer) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return priv, must(ssh.NewSignerFromKey(priv))
}

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("verified")
	}
	if go_, gr := trust.Classify(err); go_ != o || gr != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", go_, gr, o, r, err)
	}
}

func TestSignVerify(t *testing.T) {
	ed, _ := edKey(t)
	keys := map[string]crypto.Signer{
		"ed25519": ed,
		"p256":    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"p521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"rsa":     must(rsa.GenerateKey(rand.Reader, MinRSABits)),
	}
	for name, k := range keys {
		t.Run(name, func(t *testing.T) {
			s := must(ssh.NewSignerFromKey(k))
			sig, err := Sign(strings.NewReader("hello"), ns, s)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(strings.NewReader("hello"), sig, Want{ns, []ssh.PublicKey{s.PublicKey()}})
			if err != nil {
				t.Fatal(err)
			}
			if v.Signer().Fingerprint != ssh.FingerprintSHA256(s.PublicKey()) || v.Signer().KeyDigest == "" || v.Namespace() != ns || v.HashAlgorithm() != "sha512" {
				t.Errorf("verified %+v", v)
			}
			_, err = Verify(strings.NewReader("hellO"), sig, Want{ns, []ssh.PublicKey{s.PublicKey()}})
			wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
			_, err = Verify(strings.NewReader("hello"), sig, Want{"file", []ssh.PublicKey{s.PublicKey()}})
			wantClass(t, err, trust.Failed, trust.ReasonWrongSubject)
			_, other := edKey(t)
			_, err = Verify(strings.NewReader("hello"), sig, Want{ns, []ssh.PublicKey{other.PublicKey()}})
			wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
		})
	}
}

func TestConfiguration(t *testing.T) {
	_, s := edKey(t)
	sig := must(Sign(strings.NewReader("x"), ns, s))
	for _, w := range []Want{{}, {ns, nil}, {"", []ssh.PublicKey{s.PublicKey()}}, {strings.Repeat("n", MaxNamespace+1), []ssh.PublicKey{s.PublicKey()}}} {
		if _, err := Verify(strings.NewReader("x"), sig, w); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// armour encodes a blob as it is.
func armour(b blob) []byte {
	raw := append([]byte(magic), ssh.Marshal(b)...)
	return []byte(begin + "\n" + base64.StdEncoding.EncodeToString(raw) + "\n" + end + "\n")
}

func TestMalformed(t *testing.T) {
	_, s := edKey(t)
	want := Want{ns, []ssh.PublicKey{s.PublicKey()}}
	good := must(Sign(strings.NewReader("x"), ns, s))
	b := *must(parse(good))
	alter := func(f func(*blob)) []byte { c := b; f(&c); return armour(c) }
	for _, tc := range []struct {
		name   string
		sig    []byte
		reason trust.Reason
	}{
		{"empty", nil, trust.ReasonMalformed},
		{"text before", append([]byte("x\n"), good...), trust.ReasonMalformed},
		{"text behind", append(bytes.Clone(good), "x\n"...), trust.ReasonMalformed},
		{"two signatures", append(bytes.Clone(good), good...), trust.ReasonMalformed},
		{"no magic", []byte(begin + "\nAAAA\n" + end), trust.ReasonMalformed},
		{"not base64", []byte(begin + "\n%%%%\n" + end), trust.ReasonMalformed},
		{"version", alter(func(b *blob) { b.Version = 2 }), trust.ReasonUnsupported},
		{"hash", alter(func(b *blob) { b.Hash = "sha1" }), trust.ReasonUnsupported},
		{"no namespace", alter(func(b *blob) { b.Namespace = "" }), trust.ReasonMalformed},
		{"junk behind signature", alter(func(b *blob) { b.Signature = append(bytes.Clone(b.Signature), 1) }), trust.ReasonMalformed},
		{"junk key", alter(func(b *blob) { b.PublicKey = []byte{1} }), trust.ReasonMalformed},
		{"large", bytes.Repeat([]byte("A"), MaxSignature+1), trust.ReasonTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Verify(strings.NewReader("x"), tc.sig, want)
			wantClass(t, err, trust.Unreachable, tc.reason)
		})
	}
	// What is unsigned in the blob must not be exchangeable.
	_, err := Verify(strings.NewReader("x"), alter(func(b *blob) { b.Namespace = "file" }), Want{"file", want.Keys})
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	_, err = Verify(strings.NewReader("x"), alter(func(b *blob) { b.Reserved = []byte("r") }), want)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	_, err = Verify(strings.NewReader("x"), alter(func(b *blob) { b.Hash = "sha256" }), want)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	if _, err := Verify(strings.NewReader("x"), bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")), want); err != nil {
		t.Errorf("with CRLF: %v", err)
	}
	at := append(bytes.Clone(good), bytes.Repeat([]byte("A"), MaxSignature-len(good))...)
	_, err = Verify(strings.NewReader("x"), at, want)
	wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
}

func signAs(t *testing.T, s ssh.Signer, alg string) []byte {
	t.Helper()
	sum := sha512.Sum512([]byte("x"))
	data := signedData(ns, nil, "sha512", sum[:])
	sig, err := s.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, data, alg)
	if err != nil {
		t.Fatal(err)
	}
	return armour(blob{Version: version, PublicKey: s.PublicKey().Marshal(), Namespace: ns, Hash: "sha512", Signature: ssh.Marshal(sig)})
}

func TestWeak(t *testing.T) {
	r := must(ssh.NewSignerFromKey(must(rsa.GenerateKey(rand.Reader, MinRSABits))))
	_, err := Verify(strings.NewReader("x"), signAs(t, r, ssh.KeyAlgoRSA), Want{ns, []ssh.PublicKey{r.PublicKey()}})
	wantClass(t, err, trust.Failed, trust.ReasonWeakDigest)
	if _, err := Verify(strings.NewReader("x"), signAs(t, r, ssh.KeyAlgoRSASHA256), Want{ns, []ssh.PublicKey{r.PublicKey()}}); err != nil {
		t.Error(err)
	}

	small := must(ssh.NewSignerFromKey(must(rsa.GenerateKey(rand.Reader, MinRSABits-8))))
	_, err = Verify(strings.NewReader("x"), signAs(t, small, ssh.KeyAlgoRSASHA512), Want{ns, []ssh.PublicKey{small.PublicKey()}})
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	if _, err := Sign(strings.NewReader("x"), ns, small); err == nil {
		t.Error("signed with a small key")
	}

	var d dsa.PrivateKey
	if err := dsa.GenerateParameters(&d.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&d, rand.Reader); err != nil {
		t.Fatal(err)
	}
	ds := must(ssh.NewSignerFromKey(&d))
	wantClass(t, CheckKey(ds.PublicKey()), trust.Unreachable, trust.ReasonUnsupported)
}

func TestCertificateRefused(t *testing.T) {
	_, ca := edKey(t)
	_, s := edKey(t)
	cert := &ssh.Certificate{Key: s.PublicKey(), CertType: ssh.UserCert, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	cs := must(ssh.NewCertSigner(cert, s))
	_, err := Sign(strings.NewReader("x"), ns, cs)
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	b := must(parse(must(Sign(strings.NewReader("x"), ns, s))))
	b.PublicKey = cert.Marshal()
	_, err = Verify(strings.NewReader("x"), armour(*b), Want{ns, []ssh.PublicKey{s.PublicKey()}})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
}

// TestSecurityKey plays the part of a FIDO token.
func TestSecurityKey(t *testing.T) {
	priv, _ := edKey(t)
	const app = "ssh:"
	key := must(ssh.ParsePublicKey(ssh.Marshal(struct {
		Name string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, priv.Public().(ed25519.PublicKey), app})))
	sign := func(flags byte) []byte {
		sum := sha256.Sum256([]byte("x"))
		data := signedData(ns, nil, "sha256", sum[:])
		a, m := sha256.Sum256([]byte(app)), sha256.Sum256(data)
		msg := append(append(append([]byte{}, a[:]...), flags, 0, 0, 0, 7), m[:]...)
		sig := ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(priv, msg), Rest: []byte{flags, 0, 0, 0, 7}}
		return armour(blob{Version: version, PublicKey: key.Marshal(), Namespace: ns, Hash: "sha256", Signature: ssh.Marshal(sig)})
	}
	want := Want{ns, []ssh.PublicKey{key}}
	v, err := Verify(strings.NewReader("x"), sign(1), want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(v.Signer().Fingerprint, "SHA256:") {
		t.Errorf("signer %v", v.Signer())
	}
	_, err = Verify(strings.NewReader("x"), sign(0), want) // nobody touched the token
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
}

func TestParseSigner(t *testing.T) {
	priv, s := edKey(t)
	plain := pem.EncodeToMemory(must(ssh.MarshalPrivateKey(priv, "")))
	enc := pem.EncodeToMemory(must(ssh.MarshalPrivateKeyWithPassphrase(priv, "", []byte("secret"))))
	for name, tc := range map[string]struct {
		file []byte
		pass func() ([]byte, error)
		ok   bool
	}{
		"plain":     {plain, nil, true},
		"encrypted": {enc, func() ([]byte, error) { return []byte("secret"), nil }, true},
		"wrong":     {enc, func() ([]byte, error) { return []byte("guess"), nil }, false},
		"nobody":    {enc, nil, false},
		"refused":   {enc, func() ([]byte, error) { return nil, io.EOF }, false},
		"junk":      {[]byte("junk"), nil, false},
	} {
		got, err := ParseSigner(tc.file, tc.pass)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if tc.ok && !bytes.Equal(got.PublicKey().Marshal(), s.PublicKey().Marshal()) {
			t.Errorf("%s: another key", name)
		}
	}
}

func TestAgent(t *testing.T) {
	for _, k := range []any{must(rsa.GenerateKey(rand.Reader, MinRSABits)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} {
		a := agent.NewKeyring()
		if err := a.Add(agent.AddedKey{PrivateKey: k}); err != nil {
			t.Fatal(err)
		}
		pub := must(a.List())[0]
		key := must(ssh.ParsePublicKey(pub.Blob))
		s, err := AgentSigner(a, key)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := Sign(strings.NewReader("x"), ns, s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(strings.NewReader("x"), sig, Want{ns, []ssh.PublicKey{key}}); err != nil {
			t.Error(err)
		}
		_, other := edKey(t)
		if _, err := AgentSigner(a, other.PublicKey()); err == nil {
			t.Error("the agent signed for a key it does not hold")
		}
	}
}

// TestOpenSSH exchanges signatures with ssh-keygen both ways.
func TestOpenSSH(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen on PATH")
	}
	for _, typ := range [][]string{{"ed25519"}, {"ecdsa", "-b", "384"}, {"rsa", "-b", "2048"}} {
		t.Run(typ[0], func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "key")
			run := func(stdin string, args ...string) error {
				cmd := exec.Command(keygen, args...)
				cmd.Stdin = strings.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				if err != nil {
					return errors.New(string(out))
				}
				return nil
			}
			if err := run("", append([]string{"-q", "-N", "secret", "-f", file, "-t"}, typ...)...); err != nil {
				t.Fatal(err)
			}
			s, err := ParseSigner(must(os.ReadFile(file)), func() ([]byte, error) { return []byte("secret"), nil })
			if err != nil {
				t.Fatal(err)
			}
			pub := must(os.ReadFile(file + ".pub"))
			key, err := ParsePublicKey(pub)
			if err != nil {
				t.Fatal(err)
			}
			// Ours, checked by theirs.
			sigFile := filepath.Join(dir, "sig")
			if err := os.WriteFile(sigFile, must(Sign(strings.NewReader("message"), ns, s)), 0o600); err != nil {
				t.Fatal(err)
			}
			allowed := "me@example.com namespaces=\"headgate-*\",valid-after=\"20200101Z\" " + string(pub)
			allowedFile := filepath.Join(dir, "allowed")
			if err := os.WriteFile(allowedFile, []byte(allowed), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run("message", "-Y", "verify", "-f", allowedFile, "-I", "me@example.com", "-n", ns, "-s", sigFile); err != nil {
				t.Errorf("ssh-keygen refuses our signature: %v", err)
			}
			as, err := ParseAllowedSigners([]byte(allowed))
			if err != nil || len(as) != 1 || !bytes.Equal(as[0].Key.Marshal(), key.Marshal()) {
				t.Errorf("allowed signers: %v, %v", as, err)
			}
			// Theirs, checked by ours.
			msg := filepath.Join(dir, "message")
			if err := os.WriteFile(msg, []byte("message"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run("", "-q", "-p", "-P", "secret", "-N", "", "-f", file); err != nil {
				t.Fatal(err)
			}
			for _, hash := range []string{"sha256", "sha512"} {
				os.Remove(msg + ".sig")
				if err := run("", "-Y", "sign", "-O", "hashalg="+hash, "-f", file, "-n", ns, msg); err != nil {
					t.Fatal(err)
				}
				v, err := Verify(strings.NewReader("message"), must(os.ReadFile(msg+".sig")), Want{ns, []ssh.PublicKey{key}})
				if err != nil {
					t.Errorf("%s: %v", hash, err)
				} else if v.HashAlgorithm() != hash {
					t.Errorf("hash %s, want %s", v.HashAlgorithm(), hash)
				}
			}
		})
	}
}

func TestAllowedSigners(t *testing.T) {
	_, s := edKey(t)
	key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		line          string
		principal, ns string
		at            time.Time
		allow         bool
	}{
		{"a@x " + key, "a@x", "file", day, true},
		{"a@x " + key, "b@x", "file", day, false},
		{"*@x,!evil@x " + key + " comment here", "a@x", "file", day, true},
		{"*@x,!evil@x " + key, "evil@x", "file", day, false},
		{"?@x " + key, "ab@x", "file", day, false},
		{`a@x namespaces="git,f*" ` + key, "a@x", "file", day, true},
		{`a@x namespaces="git" ` + key, "a@x", "file", day, false},
		{`a@x valid-after="20260301Z" ` + key, "a@x", "f", day, true},
		{`a@x valid-after="20260301000001Z" ` + key, "a@x", "f", day, false},
		{`a@x valid-before="202603010000Z" ` + key, "a@x", "f", day, false},
		{`a@x namespaces="f",valid-before="20260302Z" ` + key, "a@x", "f", day, true},
	} {
		as, err := ParseAllowedSigners([]byte("# comment\n\n" + tc.line + "\n"))
		if err != nil || len(as) != 1 {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		if got := as[0].Allows(tc.principal, tc.ns, tc.at); got != tc.allow {
			t.Errorf("%s: allows %v", tc.line, got)
		}
	}
	for _, line := range []string{
		"a@x", key, "a@x cert-authority " + key, `a@x frob="1" ` + key, `a@x namespaces=git ` + key,
		`a@x valid-after="20260301" ` + key, `a@x valid-after="2026Z" ` + key, `a@x valid-after="20261399Z" ` + key,
		`a@x namespaces="a",namespaces="b" ` + key, `a@x namespaces=" ` + key, "a@x, " + key,
		`a@x valid-after="20260302Z",valid-before="20260301Z" ` + key, "a@x ssh-rsa " + strings.Fields(key)[1],
		"a@x ssh-ed25519 AAAA", "a@x ssh-ed25519 %%%",
	} {
		if as, err := ParseAllowedSigners([]byte("ok@x " + key + "\n" + line)); err == nil {
			t.Errorf("%q was read as %+v", line, as)
		}
	}
	if _, err := ParseAllowedSigners(bytes.Repeat([]byte("\n"), MaxAllowedLines-1)); err != nil {
		t.Errorf("lines at the bound: %v", err)
	}
	if _, err := ParseAllowedSigners(bytes.Repeat([]byte("\n"), MaxAllowedLines)); err == nil {
		t.Error("lines above the bound were read")
	}
	if _, err := ParseAllowedSigners(append([]byte("#"), bytes.Repeat([]byte("x"), MaxAllowedSigners-1)...)); err != nil {
		t.Errorf("size at the bound: %v", err)
	}
	if _, err := ParseAllowedSigners(append([]byte("#"), bytes.Repeat([]byte("x"), MaxAllowedSigners)...)); err == nil {
		t.Error("size above the bound was read")
	}
}

func FuzzVerify(f *testing.F) {
	_, s := edKey(f)
	sig := must(Sign(strings.NewReader("x"), ns, s))
	f.Add(sig)
	f.Add(bytes.Replace(sig, []byte("A"), []byte("B"), 3))
	want := Want{ns, []ssh.PublicKey{s.PublicKey()}}
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := Verify(strings.NewReader("another"), in, want); err == nil {
			t.Fatal("verified for another message")
		}
		_, _ = KeyOf(in)
	})
}

func FuzzAllowedSigners(f *testing.F) {
	_, s := edKey(f)
	f.Add([]byte(`a@x,!b namespaces="git",valid-after="20260301Z" ` + string(ssh.MarshalAuthorizedKey(s.PublicKey()))))
	f.Fuzz(func(t *testing.T, in []byte) {
		as, err := ParseAllowedSigners(in)
		if err != nil {
			return
		}
		for _, a := range as {
			if a.Key == nil || len(a.Principals) == 0 {
				t.Fatalf("read %+v", a)
			}
			a.Allows("a@x", "file", time.Unix(0, 0))
		}
	})
}
