package dsse

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

const typ = "application/vnd.in-toto+json"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func edKey() (crypto.Signer, Key) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return priv, must(NewKey(priv.Public()))
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

func TestPAE(t *testing.T) {
	// The example of the specification.
	got := string(PAE("http://example.com/HelloWorld", []byte("hello world")))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("PAE %q, want %q", got, want)
	}
}

func TestSignVerify(t *testing.T) {
	ed, _ := edKey()
	for name, priv := range map[string]crypto.Signer{
		"ed25519": ed,
		"p256":    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"p384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"p521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"rsa":     must(rsa.GenerateKey(rand.Reader, MinRSABits)),
	} {
		t.Run(name, func(t *testing.T) {
			env := must(Sign(typ, []byte(`{"a":1}`), must(SignWith(priv))))
			der := must(x509.MarshalPKIXPublicKey(priv.Public()))
			key := must(ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
			e := must(Parse(env))
			v, err := Verify(e, typ, []Key{key}, 1)
			if err != nil {
				t.Fatal(err)
			}
			if string(v.Payload()) != `{"a":1}` || v.PayloadType() != typ || len(v.Keys()) != 1 || v.Signers()[0].Validate() != nil {
				t.Errorf("verified %+v", v)
			}
			_, other := edKey()
			_, err = Verify(e, typ, []Key{other}, 1)
			wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
			_, err = Verify(e, "application/other", []Key{key}, 1)
			wantClass(t, err, trust.Failed, trust.ReasonWrongPredicate)
		})
	}
	if _, err := NewKey(must(rsa.GenerateKey(rand.Reader, MinRSABits-8)).Public()); err == nil {
		t.Error("a small RSA key was taken")
	}
}

func TestThreat005BytesAsReceived(t *testing.T) {
	priv, key := edKey()
	payload := []byte("{ \"b\":1,\r\n \"a\":1.0 }") // changes when parsed and written again
	e := must(Parse(must(Sign(typ, payload, must(SignWith(priv))))))
	v, err := Verify(e, typ, []Key{key}, 1)
	if err != nil || !bytes.Equal(v.Payload(), payload) {
		t.Errorf("payload %q, %v", v.Payload(), err)
	}
	e.payload = []byte(`{"b":1,"a":1.0}`)
	_, err = Verify(e, typ, []Key{key}, 1)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
}

func TestThreat011SignatureOverRawPayload(t *testing.T) {
	priv, key := edKey()
	raw := func([]byte) ([]byte, string, error) {
		s, err := priv.Sign(rand.Reader, []byte("{}"), crypto.Hash(0))
		return s, "", err
	}
	random := func([]byte) ([]byte, string, error) {
		b := make([]byte, ed25519.SignatureSize)
		_, err := rand.Read(b)
		return b, "", err
	}
	for _, f := range []SignFunc{raw, random} {
		_, err := Verify(must(Parse(must(Sign(typ, []byte("{}"), f)))), typ, []Key{key}, 1)
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	}
}

type renamed struct {
	Key
}

func TestThreat021ThresholdCountsKeysNotIDs(t *testing.T) {
	priv, key := edKey()
	_, other := edKey()
	sign := must(SignWith(priv))
	under := func(id string) SignFunc {
		return func(m []byte) ([]byte, string, error) {
			s, _, err := sign(m)
			return s, id, err
		}
	}
	e := must(Parse(must(Sign(typ, []byte("{}"), under("one"), under("two"), under("three")))))
	_, err := Verify(e, typ, []Key{key, renamed{key}, other}, 2)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	if _, err := Verify(e, typ, []Key{key, renamed{key}}, 2); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("one key under two names as threshold 2: %v", err)
	}
	privB, keyB := edKey()
	env := must(AddSignature(must(Sign(typ, []byte("{}"), under("one"))), must(SignWith(privB))))
	v, err := Verify(must(Parse(env)), typ, []Key{key, keyB, other}, 2)
	if err != nil || len(v.Keys()) != 2 {
		t.Errorf("two keys: %v", err)
	}
	_, err = Verify(must(Parse(env)), typ, []Key{key, keyB, other}, 3)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
}

func TestThreat022ImpossibleThreshold(t *testing.T) {
	priv, key := edKey()
	e := must(Parse(must(Sign(typ, []byte("{}"), must(SignWith(priv))))))
	for _, n := range []int{0, -1, 2} {
		if _, err := Verify(e, typ, []Key{key}, n); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("threshold %d: %v", n, err)
		}
	}
	if _, err := Verify(e, typ, nil, 0); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("no keys: %v", err)
	}
	if _, err := Verify(e, "", []Key{key}, 1); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("no type: %v", err)
	}
}

func TestThreat093Envelope(t *testing.T) {
	sig := base64.StdEncoding.EncodeToString([]byte("s"))
	ok := fmt.Sprintf(`{"payload":"e30=","payloadType":"t","signatures":[{"sig":%q}]}`, sig)
	if _, err := Parse([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		ok + "x", ok + ok, `null`, `[]`, `{}`,
		strings.Replace(ok, `"payload":`, `"Payload":`, 1),
		strings.Replace(ok, `"payload":`, `"payload":"AA==","payload":`, 1),
		strings.Replace(ok, `"sig":`, `"Sig":"AA==","sig":`, 1),
		strings.Replace(ok, `"e30="`, `null`, 1),
		strings.Replace(ok, `"e30="`, `"%%"`, 1),
		strings.Replace(ok, `"e30="`, `"e31="`, 1), // trailing bits
		strings.Replace(ok, sig, ``, 1),
		strings.Replace(ok, sig, `%`, 1),
		`{"payload":"e30=","payloadType":"t","signatures":[]}`,
		`{"payload":"e30=","payloadType":"t","signatures":[null]}`,
		`{"payload":"e30=","payloadType":"t","signatures":{}}`,
		`{"payload":"e30=","payloadType":"","signatures":[{"sig":"AA=="}]}`,
	} {
		_, err := Parse([]byte(bad))
		wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	}
}

func TestThreat101TooManySignatures(t *testing.T) {
	make := func(n int) []byte {
		w := wireEnvelope{Payload: new(string), PayloadType: "t"}
		for range n {
			w.Signatures = append(w.Signatures, wireSignature{Sig: "AA=="})
		}
		return must(json.Marshal(w))
	}
	if _, err := Parse(make(MaxSignatures)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	_, err := Parse(make(MaxSignatures + 1))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	at := append(make(1), bytes.Repeat([]byte(" "), MaxEnvelope-len(make(1)))...)
	if _, err := Parse(at); err != nil {
		t.Errorf("size at the bound: %v", err)
	}
	_, err = Parse(append(at, ' '))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)

	priv, _ := edKey()
	f := must(SignWith(priv))
	env := must(Sign("t", nil, f))
	for range MaxSignatures - 1 {
		env = must(AddSignature(env, f))
	}
	if _, err := AddSignature(env, f); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("a signature above the bound was added: %v", err)
	}
	_, key := edKey()
	if _, err := Verify(must(Parse(env)), "t", bytesKeys(key, MaxKeys+1), 1); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("keys above the bound: %v", err)
	}
	_, err = Verify(must(Parse(env)), "t", bytesKeys(key, MaxKeys), 1)
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
}

func bytesKeys(k Key, n int) []Key {
	out := make([]Key, n)
	for i := range out {
		out[i] = k
	}
	return out
}

type doubtful struct{ Key }

func (doubtful) Verify(_, _ []byte) error {
	return trust.Undecidable(trust.ReasonExpiredRoot, "the root is too old")
}

func TestDoubtIsNotFailure(t *testing.T) {
	priv, key := edKey()
	_, other := edKey()
	e := must(Parse(must(Sign(typ, []byte("{}"), must(SignWith(priv))))))
	_, err := Verify(e, typ, []Key{doubtful{other}}, 1)
	wantClass(t, err, trust.Unreachable, trust.ReasonExpiredRoot)
	if _, err := Verify(e, typ, []Key{doubtful{other}, key}, 1); err != nil {
		t.Errorf("one good key suffices: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	priv, _ := edKey()
	der := must(x509.MarshalPKIXPublicKey(priv.Public()))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, b := range map[string][]byte{
		"two blocks": append(bytes.Clone(block), block...),
		"other type": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"junk":       []byte("junk"),
		"trailing":   append(bytes.Clone(der), 0),
	} {
		if _, err := ParseKey(b); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	a, b := must(ParseKey(der)), must(ParseKey(block))
	if a.Identity() != b.Identity() {
		t.Error("DER and PEM of one key are two identities")
	}
	sum := sha256.Sum256(der)
	if a.Signer().KeyDigest != fmt.Sprintf("%x", sum) {
		t.Error("key digest is not that of the SPKI form")
	}
}

func FuzzParse(f *testing.F) {
	priv, key := edKey()
	f.Add(must(Sign(typ, []byte("{}"), must(SignWith(priv)))))
	f.Add([]byte(`{"payload":"_-8=","payloadType":"t","signatures":[{"keyid":"","sig":"_-8="}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Parse(in)
		if err != nil {
			return
		}
		v, err := Verify(e, typ, []Key{key}, 1)
		if err == nil && string(v.Payload()) != "{}" {
			t.Fatalf("verified %q", v.Payload())
		}
	})
}
