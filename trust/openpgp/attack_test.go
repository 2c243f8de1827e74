package openpgp

import (
	"bytes"
	"crypto"
	//lint:ignore SA1019 real keys of Maven publishers are DSA; the test makes one to see it refused in words
	"crypto/dsa"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
)

// resign makes the self-signature of an entity anew after change.
func resign(t *testing.T, e *pgp.Entity, change func(*packet.Signature)) {
	t.Helper()
	for _, d := range e.DirectSignatures {
		change(d.Packet)
		if err := d.Packet.SignDirectKeyBinding(e.PrimaryKey, e.PrivateKey, config(born)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range e.Identities {
		for _, s := range id.SelfCertifications {
			change(s.Packet)
			if err := s.Packet.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, config(born)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// signAs signs with one of an entity's keys, whatever it is for.
func signAs(t *testing.T, pub *packet.PublicKey, priv *packet.PrivateKey, msg string, change func(*packet.Signature)) []byte {
	t.Helper()
	id := pub.KeyId
	s := &packet.Signature{Version: pub.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: pub.PubKeyAlgo, Hash: crypto.SHA256, CreationTime: born.Add(time.Hour), IssuerKeyId: &id, IssuerFingerprint: pub.Fingerprint}
	if change != nil {
		change(s)
	}
	h := s.Hash.New()
	h.Write([]byte(msg))
	var b bytes.Buffer
	if err := s.Sign(h, priv, config(born)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An encryption subkey signs nothing, whoever holds it.
func TestEncryptionSubkeyDoesNotSign(t *testing.T) {
	cfg := config(born)
	cfg.Algorithm, cfg.RSABits = packet.PubKeyAlgoRSA, MinRSABits
	e := entity(t, cfg)
	sub := e.Subkeys[0]
	sig := signAs(t, sub.PublicKey, sub.PrivateKey, "m", nil)
	_, err := VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

// A subkey that is said to sign, and did not sign back, is nobody's.
func TestMissingBackSignature(t *testing.T) {
	cfg := config(born)
	cfg.Algorithm, cfg.RSABits = packet.PubKeyAlgoRSA, MinRSABits
	e := entity(t, cfg)
	sub := &e.Subkeys[0]
	b := sub.Bindings[0].Packet
	b.FlagsValid, b.FlagSign, b.FlagEncryptCommunications, b.FlagEncryptStorage, b.EmbeddedSignature = true, true, false, false, nil
	if err := b.SignKey(sub.PublicKey, e.PrivateKey, config(born)); err != nil {
		t.Fatal(err)
	}
	sig := signAs(t, sub.PublicKey, sub.PrivateKey, "m", nil)
	cs, bad, err := ParseCertificates(public(t, e))
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	if _, err := VerifyDetached(strings.NewReader("m"), sig, Want{NewKeyring(cs...), now}); err == nil {
		t.Fatal("verified")
	}
}

// Without key flags nothing says what a subkey is for: it does not sign, however
// the primary key is judged.
func TestSubkeyWithoutFlags(t *testing.T) {
	cfg := config(born)
	cfg.Algorithm, cfg.RSABits = packet.PubKeyAlgoRSA, MinRSABits
	e := entity(t, cfg)
	sub := &e.Subkeys[0]
	b := sub.Bindings[0].Packet
	b.FlagsValid, b.FlagEncryptCommunications, b.FlagEncryptStorage = false, false, false
	if err := b.SignKey(sub.PublicKey, e.PrivateKey, config(born)); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyDetached(strings.NewReader("m"), signAs(t, sub.PublicKey, sub.PrivateKey, "m", nil), Want{ringOf(t, e), now}); err == nil {
		t.Fatal("verified")
	}
}

// Old certificates do not say what their primary key is for. That is no
// tampering, and no reason to let it pass.
func TestPrimaryWithoutFlags(t *testing.T) {
	e := entity(t, config(born))
	resign(t, e, func(s *packet.Signature) {
		s.FlagsValid, s.FlagSign, s.FlagCertify = false, false, false
	})
	_, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	_, err = VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "other", nil), Want{ringOf(t, e), now})
	if err == nil {
		t.Error("another message verified")
	}
}

// A primary key that certifies only does not sign.
func TestPrimaryForCertificationOnly(t *testing.T) {
	e := entity(t, config(born))
	resign(t, e, func(s *packet.Signature) { s.FlagsValid, s.FlagSign, s.FlagCertify = true, false, true })
	_, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

// What a signature demands and headgate does not know is not passed over, and is
// no tampering.
func TestCriticalNotation(t *testing.T) {
	e := entity(t, config(born))
	notation := func(critical bool) func(*packet.Signature) {
		return func(s *packet.Signature) {
			s.Notations = []*packet.Notation{{Name: "only@example.com", Value: []byte("for tests"), IsCritical: critical, IsHumanReadable: true}}
		}
	}
	if _, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", notation(false)), Want{ringOf(t, e), now}); err != nil {
		t.Errorf("a notation that is not critical: %v", err)
	}
	_, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", notation(true)), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	_, err = VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "other", notation(true)), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	// In the self-signature it holds for the key.
	resign(t, e, notation(true))
	_, err = VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
}

// Signatures that end, of before the key was made, and of version 3.
func TestSignatureWindow(t *testing.T) {
	e := entity(t, config(born))
	ends := uint32(3600)
	_, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", func(s *packet.Signature) { s.SigLifetimeSecs = &ends }), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
	_, err = VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", func(s *packet.Signature) { s.CreationTime = born.Add(-time.Hour) }), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)

	v3 := []byte{0x88, 26, 3, 5, 0, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 1, 8, 0, 0, 0, 8, 0xff, 0, 8, 0xff, 0}
	v3[1] = byte(len(v3) - 2)
	_, err = VerifyDetached(strings.NewReader("m"), v3, Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	// Beside a good one it is passed over.
	both := append(bytes.Clone(v3), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil)...)
	if _, err := VerifyDetached(strings.NewReader("m"), both, Want{ringOf(t, e), now}); err != nil {
		t.Errorf("beside one of version 3: %v", err)
	}
}

// A signature that names another key than the one that made it.
func TestWrongIssuer(t *testing.T) {
	a, b := entity(t, config(born)), entity(t, config(born))
	pretend := func(id uint64, print []byte) []byte {
		priv := *b.PrivateKey
		priv.PublicKey.Fingerprint = print // which the signature then names
		return signAs(t, b.PrimaryKey, &priv, "m", func(s *packet.Signature) { s.IssuerKeyId = &id })
	}
	forged := pretend(a.PrimaryKey.KeyId, a.PrimaryKey.Fingerprint)
	_, err := VerifyDetached(strings.NewReader("m"), forged, Want{ringOf(t, a, b), now})
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	// The id of one key and the fingerprint of another.
	owner := ringOf(t, b).Certificates()[0].Fingerprint()
	for _, mixed := range [][]byte{pretend(b.PrimaryKey.KeyId, a.PrimaryKey.Fingerprint), pretend(a.PrimaryKey.KeyId, b.PrimaryKey.Fingerprint)} {
		for _, ring := range []*Keyring{ringOf(t, a), ringOf(t, a, b), ringOf(t, b)} {
			if v, err := VerifyDetached(strings.NewReader("m"), mixed, Want{ring, now}); err == nil && v.Signer().Fingerprint != owner {
				t.Errorf("verified as %s, who did not sign", v.Signer())
			}
		}
	}
}

// Curves and algorithms of real keys: brainpool is read; DSA is too weak.
func TestOtherAlgorithms(t *testing.T) {
	for _, curve := range []packet.Curve{packet.CurveNistP256, packet.CurveNistP384, packet.CurveNistP521, packet.CurveBrainpoolP256, packet.CurveBrainpoolP384, packet.CurveBrainpoolP512, packet.CurveSecP256k1} {
		cfg := config(born)
		cfg.Algorithm, cfg.Curve = packet.PubKeyAlgoECDSA, curve
		e := entity(t, cfg)
		v, err := VerifyDetached(strings.NewReader("m"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil), Want{ringOf(t, e), now})
		if o, r := trust.Classify(err); err != nil && (o != trust.Unreachable || r != trust.ReasonUnsupported) {
			t.Errorf("%s: %v", curve, err)
		} else if err == nil && v.Signer().Fingerprint == "" {
			t.Errorf("%s: %+v", curve, v)
		}
		if _, err := VerifyDetached(strings.NewReader("x"), signAs(t, e.PrimaryKey, e.PrivateKey, "m", nil), Want{ringOf(t, e), now}); err == nil {
			t.Errorf("%s: another message verified", curve)
		}
	}
	var k dsa.PrivateKey
	if err := dsa.GenerateParameters(&k.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		t.Fatal(err)
	}
	if err := dsa.GenerateKey(&k, rand.Reader); err != nil {
		t.Fatal(err)
	}
	pub := packet.NewDSAPublicKey(born, &k.PublicKey)
	priv := packet.NewDSAPrivateKey(born, &k)
	uid := packet.NewUserId("Dora", "", "dora@example.com")
	self := &packet.Signature{Version: 4, SigType: packet.SigTypePositiveCert, PubKeyAlgo: packet.PubKeyAlgoDSA, Hash: crypto.SHA256, CreationTime: born, IssuerKeyId: &pub.KeyId, IssuerFingerprint: pub.Fingerprint, FlagsValid: true, FlagSign: true, FlagCertify: true}
	if err := self.SignUserId(uid.Id, pub, priv, config(born)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pub.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	if err := uid.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	if err := self.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	cs, bad, err := ParseCertificates(b.Bytes())
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	_, err = VerifyDetached(strings.NewReader("m"), signAs(t, pub, priv, "m", nil), Want{NewKeyring(cs...), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
	if cs[0].Unusable(now) == nil {
		t.Error("a DSA key is said to be of use")
	}
}
