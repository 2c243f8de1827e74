package openpgp

import (
	"bytes"
	"crypto"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
)

var (
	born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now  = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func config(at time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return at }, Algorithm: packet.PubKeyAlgoEdDSA}
}

func entity(t testing.TB, cfg *packet.Config) *pgp.Entity {
	t.Helper()
	e, err := pgp.NewEntity("Alice", "", "alice@example.com", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func public(t testing.TB, e *pgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ringOf(t testing.TB, es ...*pgp.Entity) *Keyring {
	t.Helper()
	var all []*Certificate
	for _, e := range es {
		cs, bad, err := ParseCertificates(public(t, e))
		if err != nil || len(bad) > 0 || len(cs) != 1 {
			t.Fatal(cs, bad, err)
		}
		all = append(all, cs...)
	}
	return NewKeyring(all...)
}

func detach(t testing.TB, msg string, cfg *packet.Config, es ...*pgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pgp.DetachSign(&b, es, strings.NewReader(msg), cfg); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func armored(t testing.TB, typ string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := must(armor.Encode(&b, typ, nil))
	must(w.Write(body))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
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

func TestDetached(t *testing.T) {
	rsa := config(born)
	rsa.Algorithm, rsa.RSABits = packet.PubKeyAlgoRSA, MinRSABits
	v6 := config(born)
	v6.V6Keys, v6.Algorithm = true, packet.PubKeyAlgoEd25519
	for name, cfg := range map[string]*packet.Config{"ed25519": config(born), "rsa": rsa, "v6": v6} {
		t.Run(name, func(t *testing.T) {
			e := entity(t, cfg)
			want := Want{ringOf(t, e), now}
			sig := detach(t, "message", cfg, e)
			for _, s := range [][]byte{sig, armored(t, "PGP SIGNATURE", sig)} {
				v, err := VerifyDetached(strings.NewReader("message"), s, want)
				if err != nil {
					t.Fatal(err)
				}
				if v.Signer().Fingerprint != want.Keys.Certificates()[0].Fingerprint() || v.Signer().Validate() != nil || !v.ClaimedTime().Equal(born) {
					t.Errorf("verified %+v", v)
				}
				if ids := must(Issuers(s)); len(ids) != 1 || !want.Keys.Certificates()[0].Has(ids[0]) {
					t.Errorf("issuers %v", ids)
				}
			}
			_, err := VerifyDetached(strings.NewReader("Message"), sig, want)
			wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
			_, err = VerifyDetached(strings.NewReader("message"), sig, Want{ringOf(t, entity(t, config(born))), now})
			wantClass(t, err, trust.Unreachable, trust.ReasonUnknownKey)
		})
	}
}

func TestNothingPinned(t *testing.T) {
	sig := detach(t, "m", config(born), entity(t, config(born)))
	for _, k := range []*Keyring{nil, NewKeyring()} {
		_, err := VerifyDetached(strings.NewReader("m"), sig, Want{k, now})
		wantClass(t, err, trust.Unreachable, trust.ReasonUnknownKey)
	}
	if _, err := VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, entity(t, config(born))), time.Time{}}); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("without a time: %v", err)
	}
}

func TestSubkey(t *testing.T) {
	e := entity(t, config(born))
	if err := e.AddSigningSubkey(config(born)); err != nil {
		t.Fatal(err)
	}
	sig := detach(t, "m", config(born.Add(time.Hour)), e)
	v, err := VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, e), now})
	if err != nil {
		t.Fatal(err)
	}
	if s := v.Signer(); s.SubkeyFingerprint == "" || s.SubkeyFingerprint == s.Fingerprint {
		t.Errorf("signer %+v", s)
	}
	// Revoked for compromise, the subkey never counted.
	if err := e.Subkeys[len(e.Subkeys)-1].Revoke(packet.KeyCompromised, "", config(born.Add(2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	_, err = VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, e), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

// TestForeignSubkey: a certificate that claims another's signing subkey, which
// does not sign back, does not get its signatures.
func TestForeignSubkey(t *testing.T) {
	victim, thief := entity(t, config(born)), entity(t, config(born))
	if err := victim.AddSigningSubkey(config(born)); err != nil {
		t.Fatal(err)
	}
	sig := detach(t, "m", config(born.Add(time.Hour)), victim)
	stolen := victim.Subkeys[len(victim.Subkeys)-1]
	stolen.Primary = thief
	binding := *stolen.Bindings[len(stolen.Bindings)-1].Packet // made by the victim's primary key
	stolen.Bindings = []*packet.VerifiableSignature{packet.NewVerifiableSig(&binding)}
	thief.Subkeys = append(thief.Subkeys, stolen)
	_, err := VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, thief), now})
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

func TestThreat024KeyWindow(t *testing.T) {
	cfg := config(born)
	cfg.KeyLifetimeSecs = 3600
	e := entity(t, cfg)
	for _, tc := range []struct {
		at time.Duration
		ok bool
	}{{0, true}, {time.Hour - time.Second, true}, {time.Hour + time.Second, false}} {
		signer := must(pgp.ReadEntity(packet.NewReader(bytes.NewReader(privateBytes(t, e)))))
		var sig bytes.Buffer
		c := config(born.Add(tc.at))
		if err := signRaw(&sig, signer, "m", c, crypto.SHA256, packet.SigTypeBinary); err != nil {
			t.Fatal(err)
		}
		_, err := VerifyDetached(strings.NewReader("m"), sig.Bytes(), Want{ringOf(t, e), now})
		if (err == nil) != tc.ok {
			t.Errorf("signed after %s: %v", tc.at, err)
		}
		if err != nil {
			wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
		}
	}
}

func privateBytes(t *testing.T, e *pgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.SerializePrivateWithoutSigning(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// signRaw signs with the primary key whatever its validity.
func signRaw(w *bytes.Buffer, e *pgp.Entity, msg string, cfg *packet.Config, h crypto.Hash, typ packet.SignatureType) error {
	id := e.PrimaryKey.KeyId
	s := &packet.Signature{Version: e.PrimaryKey.Version, SigType: typ, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo, Hash: h, CreationTime: cfg.Now(), IssuerKeyId: &id, IssuerFingerprint: e.PrimaryKey.Fingerprint}
	hash := h.New()
	hash.Write([]byte(msg))
	if err := s.Sign(hash, e.PrivateKey, cfg); err != nil {
		return err
	}
	return s.Serialize(w)
}

func TestRevoked(t *testing.T) {
	for name, tc := range map[string]struct {
		reason packet.ReasonForRevocation
		ok     bool
	}{"compromised": {packet.KeyCompromised, false}, "no reason": {packet.NoReason, false}} {
		t.Run(name, func(t *testing.T) {
			e := entity(t, config(born))
			sig := detach(t, "m", config(born), e)
			if err := e.Revoke(tc.reason, "", config(born.Add(time.Hour))); err != nil {
				t.Fatal(err)
			}
			_, err := VerifyDetached(strings.NewReader("m"), sig, Want{ringOf(t, e), now})
			wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
		})
	}
}

// TestSeveralCopies: one certificate twice is one certificate, and a revocation
// in any copy counts.
func TestSeveralCopies(t *testing.T) {
	e := entity(t, config(born))
	if err := e.AddSigningSubkey(config(born)); err != nil {
		t.Fatal(err)
	}
	sig := detach(t, "m", config(born.Add(time.Hour)), e)
	old := ringOf(t, e).Certificates()[0]
	if _, err := VerifyDetached(strings.NewReader("m"), sig, Want{NewKeyring(old, old), now}); err != nil {
		t.Errorf("two copies: %v", err)
	}
	if err := e.Revoke(packet.KeyCompromised, "", config(born.Add(2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	revoked := ringOf(t, e).Certificates()[0]
	for _, k := range []*Keyring{NewKeyring(old, revoked), NewKeyring(revoked, old)} {
		_, err := VerifyDetached(strings.NewReader("m"), sig, Want{k, now})
		wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
	}
}

func TestWeak(t *testing.T) {
	e := entity(t, config(born))
	for _, hash := range []byte{1, 2, 3} { // MD5, SHA-1, RIPEMD-160, which the library does not sign with
		weak := detach(t, "m", config(born), e)
		weak[headerLength(t, weak)+3] = hash
		_, err := VerifyDetached(strings.NewReader("m"), weak, Want{ringOf(t, e), now})
		if o, r := trust.Classify(err); err == nil || r != trust.ReasonWeakDigest && o != trust.Unreachable {
			t.Errorf("hash %d: %v", hash, err)
		}
		if _, r := trust.Classify(err); hash == 2 && r != trust.ReasonWeakDigest {
			t.Errorf("SHA-1: %v", err)
		}
	}
	cfg := config(born)
	cfg.Algorithm, cfg.RSABits = packet.PubKeyAlgoRSA, 1024
	small := entity(t, cfg)
	var sig bytes.Buffer
	if err := signRaw(&sig, small, "m", config(born), crypto.SHA256, packet.SigTypeBinary); err != nil {
		t.Fatal(err)
	}
	_, err := VerifyDetached(strings.NewReader("m"), sig.Bytes(), Want{ringOf(t, small), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)

	var text bytes.Buffer
	if err := signRaw(&text, e, "m", config(born), crypto.SHA256, packet.SigTypeText); err != nil {
		t.Fatal(err)
	}
	_, err = VerifyDetached(strings.NewReader("m"), text.Bytes(), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
}

// headerLength is the length of the packet header that b starts with.
func headerLength(t *testing.T, b []byte) int {
	t.Helper()
	for n := 2; n < 7; n++ {
		if b[n] == 4 && b[n+1] == 0 {
			return n
		}
	}
	t.Fatal("no version 4 binary signature")
	return 0
}

func TestFuture(t *testing.T) {
	e := entity(t, config(born))
	want := Want{ringOf(t, e), now}
	if _, err := VerifyDetached(strings.NewReader("m"), detach(t, "m", config(now.Add(MaxClockSkew)), e), want); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	_, err := VerifyDetached(strings.NewReader("m"), detach(t, "m", config(now.Add(MaxClockSkew+time.Second)), e), want)
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

// TestThreat020SeveralSignatures: one bad signature by a known key spoils all,
// one by an unknown key does not.
func TestThreat020SeveralSignatures(t *testing.T) {
	a, b := entity(t, config(born)), entity(t, config(born))
	good, bad := detach(t, "m", config(born), a), detach(t, "other", config(born), b)
	both := append(bytes.Clone(good), bad...)
	_, err := VerifyDetached(strings.NewReader("m"), both, Want{ringOf(t, a, b), now})
	wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	v, err := VerifyDetached(strings.NewReader("m"), both, Want{ringOf(t, a), now})
	if err != nil || len(v.Signers()) != 1 {
		t.Errorf("with an unknown one beside: %v", err)
	}
	two := append(bytes.Clone(good), detach(t, "m", config(born), b)...)
	if v, err := VerifyDetached(strings.NewReader("m"), two, Want{ringOf(t, a, b), now}); err != nil || len(v.Signers()) != 2 {
		t.Errorf("two good ones: %v", err)
	}
	many := bytes.Repeat(good, MaxSignatures)
	if _, err := VerifyDetached(strings.NewReader("m"), many, Want{ringOf(t, a), now}); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	_, err = VerifyDetached(strings.NewReader("m"), append(many, good...), Want{ringOf(t, a), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func TestMalformed(t *testing.T) {
	e := entity(t, config(born))
	sig := detach(t, "m", config(born), e)
	arm := string(armored(t, "PGP SIGNATURE", sig))
	for name, s := range map[string]string{
		"empty": "", "junk": "junk", "cut": string(sig[:len(sig)-1]), "a key": string(public(t, e)), "text before": "x\n" + arm, "text behind": arm + "\nx",
		"two blocks": arm + "\n" + arm, "other block": string(armored(t, "PGP PUBLIC KEY BLOCK", sig)), "trailing packet": string(sig) + "\xff",
	} {
		_, err := VerifyDetached(strings.NewReader("m"), []byte(s), Want{ringOf(t, e), now})
		if err == nil {
			t.Fatalf("%s verified", name)
		}
		if o, r := trust.Classify(err); o != trust.Unreachable || r != trust.ReasonMalformed {
			t.Errorf("%s: %s/%s: %v", name, o, r, err)
		}
	}
	_, err := VerifyDetached(strings.NewReader("m"), bytes.Repeat([]byte{0xff}, MaxSignature+1), Want{ringOf(t, e), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func clear(t testing.TB, e *pgp.Entity, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := must(clearsign.Encode(&b, e.PrivateKey, config(born)))
	must(w.Write([]byte(text)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

func TestClearsigned(t *testing.T) {
	e := entity(t, config(born))
	want := Want{ringOf(t, e), now}
	doc := clear(t, e, "- dash\nOrigin: x\n")
	v, err := VerifyClearsigned(doc, want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(v.Text()), "- dash\nOrigin: x") {
		t.Errorf("text %q", v.Text())
	}
	if _, err := VerifyClearsigned(bytes.ReplaceAll(doc, []byte("\n"), []byte("\r\n")), want); err != nil {
		t.Errorf("with CRLF: %v", err)
	}
	for name, tc := range map[string]struct {
		doc []byte
		o   trust.Outcome
		r   trust.Reason
	}{
		"text before":  {append([]byte("Origin: evil\n"), doc...), trust.Failed, trust.ReasonHiddenData},
		"text behind":  {append(bytes.Clone(doc), "Origin: evil\n"...), trust.Failed, trust.ReasonHiddenData},
		"blank before": {append([]byte("\n"), doc...), trust.Failed, trust.ReasonHiddenData},
		"two blocks":   {append(bytes.Clone(doc), doc...), trust.Failed, trust.ReasonHiddenData},
		"changed":      {bytes.Replace(doc, []byte("Origin: x"), []byte("Origin: y"), 1), trust.Failed, trust.ReasonBadSignature},
		"header":       {bytes.Replace(doc, []byte("\nHash:"), []byte("\nOrigin: evil\nHash:"), 1), trust.Unreachable, trust.ReasonMalformed},
		"no signature": {doc[:bytes.Index(doc, []byte("-----BEGIN PGP SIGNATURE"))], trust.Unreachable, trust.ReasonMalformed},
		"unsigned":     {[]byte("Origin: x\n"), trust.Unreachable, trust.ReasonMalformed},
		"empty":        {nil, trust.Unreachable, trust.ReasonMalformed},
		"large":        {make([]byte, MaxClearsign+1), trust.Unreachable, trust.ReasonTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := VerifyClearsigned(tc.doc, want)
			wantClass(t, err, tc.o, tc.r)
		})
	}
	_, err = VerifyClearsigned(doc, Want{ringOf(t, entity(t, config(born))), now})
	wantClass(t, err, trust.Unreachable, trust.ReasonUnknownKey)
}

func TestParseCertificates(t *testing.T) {
	a, b := entity(t, config(born)), entity(t, config(born))
	pa, pb := public(t, a), public(t, b)
	keys := "Comments of a KEYS file\n" + string(armored(t, "PGP PUBLIC KEY BLOCK", pa)) + "\nuid Bob\n" + string(armored(t, "PGP PUBLIC KEY BLOCK", pb))
	cs, bad, err := ParseCertificates([]byte(keys))
	if err != nil || len(bad) != 0 || len(cs) != 2 || cs[0].Fingerprint() == cs[1].Fingerprint() || len(cs[0].UserIDs()) != 1 || len(cs[0].Fingerprint()) != 40 {
		t.Errorf("KEYS: %v, %v, %v", cs, bad, err)
	}
	cs, bad, err = ParseCertificates(append(bytes.Clone(pa), pb...))
	if err != nil || len(bad) != 0 || len(cs) != 2 {
		t.Errorf("binary: %v, %v, %v", cs, bad, err)
	}
	// One bad key among good ones is an error about that key alone.
	mid := append(append(bytes.Clone(pa), 0xc6, 3, 4, 1, 2), pb...)
	cs, bad, err = ParseCertificates(mid)
	if err != nil || len(bad) != 1 || len(cs) != 2 {
		t.Errorf("bad in the middle: %v, %v, %v", cs, bad, err)
	}
	broken := strings.Replace(keys, "\n\n", "\n\n%%%%\n", 1)
	cs, bad, err = ParseCertificates([]byte(broken))
	if err != nil || len(bad) != 1 || len(cs) != 1 {
		t.Errorf("bad armour first: %v, %v, %v", cs, bad, err)
	}
	if _, _, err := ParseCertificates([]byte("junk")); err == nil {
		t.Error("junk is no key file")
	}
	cs, bad, err = ParseCertificates(privateBytes(t, a))
	if err == nil && (len(cs) > 0 || len(bad) == 0) {
		t.Errorf("a private key was taken: %v", cs)
	}
}

func TestCertificateBounds(t *testing.T) {
	if _, _, err := ParseCertificates(bytes.Repeat([]byte{0xc6, 0}, MaxCertificates)); err != nil {
		t.Errorf("certificates at the bound: %v", err)
	}
	_, _, err := ParseCertificates(bytes.Repeat([]byte{0xc6, 0}, MaxCertificates+1))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	_, _, err = ParseCertificates(make([]byte, MaxKeyFile+1))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	_, err = parseCertificate(make([]byte, MaxCertificate+1))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func realdata(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	return dir
}

func TestRealKeys(t *testing.T) {
	dir := realdata(t)
	n, unread := 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !(strings.Contains(path, "keys"+string(filepath.Separator)) && strings.HasSuffix(path, ".asc")) && !strings.HasSuffix(path, "keyring.gpg") && !strings.HasSuffix(path, "-key.pub") {
			return nil
		}
		n++
		cs, bad, err := ParseCertificates(must(os.ReadFile(path)))
		if err != nil {
			bad = append(bad, err)
		}
		if len(cs) == 0 && len(bad) == 0 {
			t.Errorf("%s: neither a certificate nor an error", path)
		}
		for _, b := range bad {
			if o, r := trust.Classify(b); o != trust.Unreachable || r == trust.ReasonInternal {
				t.Errorf("%s: unclear error %v", path, b)
			}
			t.Logf("%s: %v", filepath.Base(path), b)
		}
		if len(cs) == 0 {
			unread++
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	t.Logf("%d key files, %d without a readable certificate", n, unread)
}

func TestRealSignatures(t *testing.T) {
	dir := realdata(t)
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var ring []*Certificate
	for _, f := range must(filepath.Glob(filepath.Join(dir, "debian", "*keyring*"))) {
		cs, _, err := ParseCertificates(must(os.ReadFile(f)))
		if err != nil {
			t.Fatal(err)
		}
		ring = append(ring, cs...)
	}
	for _, f := range must(filepath.Glob(filepath.Join(dir, "debian", "*InRelease"))) {
		doc := must(os.ReadFile(f))
		v, err := VerifyClearsigned(doc, Want{NewKeyring(ring...), at})
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		t.Logf("%s: %v", filepath.Base(f), v.Signers())
		_, err = VerifyClearsigned(append([]byte("x\n"), doc...), Want{NewKeyring(ring...), at})
		wantClass(t, err, trust.Failed, trust.ReasonHiddenData)
		i := bytes.Index(doc, []byte("SHA256:")) + 10
		bent := bytes.Clone(doc)
		bent[i] ^= 1
		_, err = VerifyClearsigned(bent, Want{NewKeyring(ring...), at})
		wantClass(t, err, trust.Failed, trust.ReasonBadSignature)
	}
	// Maven signatures by keys that are nowhere to be had.
	for _, f := range must(filepath.Glob(filepath.Join(dir, "maven", "*", "*", "*.asc"))) {
		msg := must(os.ReadFile(strings.TrimSuffix(f, ".asc")))
		_, err := VerifyDetached(bytes.NewReader(msg), must(os.ReadFile(f)), Want{NewKeyring(ring...), at})
		if len(ring) == 0 || err == nil {
			t.Fatal(err)
		}
		if o, _ := trust.Classify(err); o != trust.Unreachable {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func FuzzParseCertificates(f *testing.F) {
	e := entity(f, config(born))
	f.Add(public(f, e))
	f.Add(armored(f, "PGP PUBLIC KEY BLOCK", public(f, e)))
	f.Fuzz(func(t *testing.T, in []byte) {
		cs, bad, err := ParseCertificates(in)
		if err == nil && len(cs) == 0 && len(bad) == 0 {
			t.Fatal("neither certificate nor error")
		}
	})
}

func FuzzVerify(f *testing.F) {
	e := entity(f, config(born))
	want := Want{ringOf(f, e), now}
	f.Add(detach(f, "m", config(born), e))
	f.Add(clear(f, e, "m\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := VerifyDetached(strings.NewReader("never signed"), in, want); err == nil {
			t.Fatal("verified for another message")
		}
		if v, err := VerifyClearsigned(in, want); err == nil && strings.TrimSpace(string(v.Text())) != "m" {
			t.Fatalf("verified %q", v.Text())
		}
	})
}
