package minisign

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"

	"github.com/headgate/headgate/trust"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type key struct {
	priv ed25519.PrivateKey
	id   string
}

func newKey() key {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key{priv, string(priv[:8])}
}

func b64(parts ...string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(parts, "")))
}

func (k key) line() string      { return b64("Ed", k.id, string(k.priv.Public().(ed25519.PublicKey))) }
func (k key) public() PublicKey { return must(ParsePublicKey([]byte(k.line()))) }

func (k key) sign(msg, alg, comment string) string {
	m := []byte(msg)
	if alg == "ED" {
		h := blake2b.Sum512(m)
		m = h[:]
	}
	sig := string(ed25519.Sign(k.priv, m))
	global := string(ed25519.Sign(k.priv, []byte(sig+comment)))
	return untrustedPrefix + "x\n" + b64(alg, k.id, sig) + "\n" + trustedPrefix + comment + "\n" + b64(global) + "\n"
}

func (k key) signify(msg string) string {
	return untrustedPrefix + "verify with x.pub\n" + b64("Ed", k.id, string(ed25519.Sign(k.priv, []byte(msg)))) + "\n"
}

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("verified")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

func TestVerify(t *testing.T) {
	k := newKey()
	want := Want{Minisign, []PublicKey{newKey().public(), k.public()}}
	for _, alg := range []string{"Ed", "ED"} {
		s := k.sign("message", alg, "file:x version:1")
		v, err := Verify(strings.NewReader("message"), []byte(s), want)
		if err != nil {
			t.Fatal(err)
		}
		if v.TrustedComment() != "file:x version:1" || v.Prehashed() != (alg == "ED") || v.Signer() != k.public().Signer() || v.Signer().Validate() != nil {
			t.Errorf("verified %+v", v)
		}
		if _, err := Verify(strings.NewReader("message"), []byte(strings.ReplaceAll(s, "\n", "\r\n")), want); err != nil {
			t.Errorf("with CRLF: %v", err)
		}
		_, err = Verify(strings.NewReader("Message"), []byte(s), want)
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
		_, err = Verify(strings.NewReader("message"), []byte(strings.Replace(s, "version:1", "version:2", 1)), want)
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
		_, err = Verify(strings.NewReader("message"), []byte(s), Want{Minisign, []PublicKey{newKey().public()}})
		wantClass(t, err, trust.Unreachable, trust.ReasonUnknownKey)
		// Another key under the same id.
		other := newKey()
		other.id = k.id
		_, err = Verify(strings.NewReader("message"), []byte(s), Want{Minisign, []PublicKey{other.public()}})
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
		if _, err := Verify(strings.NewReader("message"), []byte(s), Want{Minisign, []PublicKey{other.public(), k.public()}}); err != nil {
			t.Errorf("two keys with one id: %v", err)
		}
	}
}

func TestSignify(t *testing.T) {
	k := newKey()
	s := k.signify("message")
	want := Want{Signify, []PublicKey{k.public()}}
	if _, err := Verify(strings.NewReader("message"), []byte(s), want); err != nil {
		t.Error(err)
	}
	_, err := Verify(strings.NewReader("message"), []byte(s), Want{Minisign, want.Keys})
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	_, err = Verify(strings.NewReader("message"), []byte(k.sign("message", "Ed", "c")), want)
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	if _, err := Verify(strings.NewReader("message"), []byte(s), Want{Keys: want.Keys}); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("without a format: %v", err)
	}
	_, err = Verify(strings.NewReader("message"), []byte(s), Want{Format: Signify})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnknownKey)
}

func TestMalformed(t *testing.T) {
	k := newKey()
	good := k.sign("m", "ED", "c")
	ls := strings.Split(good, "\n")
	for name, tc := range map[string]struct {
		s string
		r trust.Reason
	}{
		"empty":         {"", trust.ReasonMalformed},
		"line more":     {good + "x\n", trust.ReasonMalformed},
		"line before":   {"x\n" + good, trust.ReasonMalformed},
		"no comment":    {strings.Join(ls[1:], "\n"), trust.ReasonMalformed},
		"not base64":    {ls[0] + "\n%\n" + ls[2] + "\n" + ls[3], trust.ReasonMalformed},
		"short":         {ls[0] + "\nAAAA\n" + ls[2] + "\n" + ls[3], trust.ReasonMalformed},
		"short global":  {ls[0] + "\n" + ls[1] + "\n" + ls[2] + "\nAAAA", trust.ReasonMalformed},
		"no trusted":    {strings.Replace(good, trustedPrefix, "comment: ", 1), trust.ReasonMalformed},
		"algorithm":     {k.sign("m", "XX", "c"), trust.ReasonUnsupported},
		"long comment":  {k.sign("m", "ED", strings.Repeat("c", MaxComment-len(trustedPrefix)+1)), trust.ReasonMalformed},
		"large":         {strings.Repeat("x", MaxSignature+1), trust.ReasonTooLarge},
		"large, at max": {strings.Repeat("x", MaxSignature), trust.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Verify(strings.NewReader("m"), []byte(tc.s), Want{Minisign, []PublicKey{k.public()}})
			wantClass(t, err, trust.Unreachable, tc.r)
		})
	}
	at := k.sign("m", "ED", strings.Repeat("c", MaxComment-len(trustedPrefix)))
	if _, err := Verify(strings.NewReader("m"), []byte(at), Want{Minisign, []PublicKey{k.public()}}); err != nil {
		t.Errorf("comment at the bound: %v", err)
	}
}

func TestParsePublicKey(t *testing.T) {
	k := newKey()
	if must(ParsePublicKey([]byte(untrustedPrefix+"x\n"+k.line()+"\n"))).ID() != k.public().ID() {
		t.Error("key file and key line differ")
	}
	for _, s := range []string{"", "x\n" + k.line(), k.line() + "\n" + k.line(), k.line()[4:], b64("ED", k.id, strings.Repeat("k", 32)), strings.Repeat("A", MaxKeyFile+1)} {
		if _, err := ParsePublicKey([]byte(s)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestLegacyBound(t *testing.T) {
	k := newKey()
	msg := bytes.Repeat([]byte("m"), 10)
	_, err := Verify(endless{}, []byte(k.sign(string(msg), "Ed", "c")), Want{Minisign, []PublicKey{k.public()}})
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	var keys []PublicKey
	for _, f := range must(filepath.Glob(filepath.Join(dir, "minisign", "*.pub"))) {
		k, err := ParsePublicKey(must(os.ReadFile(f)))
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		keys = append(keys, k)
	}
	sigs := must(filepath.Glob(filepath.Join(dir, "minisign", "*.minisig")))
	if len(sigs) == 0 {
		t.Fatal("no signatures")
	}
	for _, f := range sigs {
		sig, msg := must(os.ReadFile(f)), must(os.ReadFile(strings.TrimSuffix(f, ".minisig")))
		v, err := Verify(bytes.NewReader(msg), sig, Want{Minisign, keys})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		_, err = Verify(bytes.NewReader(append(msg, 'x')), sig, Want{Minisign, keys})
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
		bent := bytes.Replace(sig, []byte(v.TrustedComment()), []byte(v.TrustedComment()+"x"), 1)
		_, err = Verify(bytes.NewReader(msg), bent, Want{Minisign, keys})
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	}
}

func FuzzVerify(f *testing.F) {
	k := newKey()
	f.Add([]byte(k.sign("m", "ED", "c")))
	f.Add([]byte(k.signify("m")))
	f.Add([]byte(k.line()))
	want := Want{Minisign, []PublicKey{k.public()}}
	f.Fuzz(func(t *testing.T, in []byte) {
		if v, err := Verify(strings.NewReader("m"), in, want); err == nil && v.TrustedComment() != "c" {
			t.Fatal("verified with another comment")
		}
		_, _ = ParsePublicKey(in)
	})
}
