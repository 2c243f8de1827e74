package store

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

func pgpSigner(c string) *trust.Signer {
	return &trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: strings.Repeat(c, 40)}
}

func keyFor(scope, data string, s *trust.Signer) PinnedMaterial {
	return PinnedMaterial{Material: trust.Material{Kind: trust.MaterialOpenPGP, Scope: scope, Name: data, Origin: "KEYS", Data: []byte(data)}, Signer: s, By: "alice", Reason: "from its owner"}
}

func pinAll(t testing.TB, s *Store, ms ...PinnedMaterial) []string {
	t.Helper()
	ids, _, err := s.PinKeys(t.Context(), ms, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// handedOut counts the OpenPGP material that verifiers of the package get.
func handedOut(t testing.TB, s *Store, purl string) int {
	t.Helper()
	ms, err := s.Materials(t.Context(), trust.MaterialOpenPGP, release(t, purl).Package)
	if err != nil {
		t.Fatal(err)
	}
	return len(ms)
}

func TestPinKeysIsAllOrNothing(t *testing.T) {
	s, _ := newStore(t)
	good := keyFor("pkg:maven/org.example/*", "key", pgpSigner("A"))
	for what, c := range map[string]struct {
		m PinnedMaterial
		a Acceptance
	}{
		"material of no kind": {PinnedMaterial{Material: trust.Material{Data: []byte("x")}, By: "alice", Reason: "x"}, acceptance(workflow("o", "r"), "pkg:npm/x")},
		"a signer of no kind": {good, Acceptance{Scope: "pkg:npm/x", By: "alice", Reason: "x"}},
		"another id":          {PinnedMaterial{ID: "m-0", Material: good.Material, By: "alice", Reason: "x"}, acceptance(workflow("o", "r"), "pkg:npm/x")},
		"no reason":           {PinnedMaterial{Material: good.Material, By: "alice"}, acceptance(workflow("o", "r"), "pkg:npm/x")},
	} {
		if _, _, err := s.PinKeys(t.Context(), []PinnedMaterial{good, c.m}, []Acceptance{c.a}); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if n := handedOut(t, s, "pkg:maven/org.example/x"); n != 0 {
		t.Errorf("%d keys were pinned by calls that failed", n)
	}
	if as, err := s.Acceptances(t.Context(), AcceptanceFilter{}); err != nil || len(as) > 0 {
		t.Errorf("%v %v", as, err)
	}
	check(t, s)
}

func TestRevokedKeyIsNotHandedOut(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	narrow, wide := keyFor("pkg:maven/org.example/x", "key", pgpSigner("A")), keyFor("pkg:maven/*", "key", pgpSigner("A"))
	ids := pinAll(t, s, narrow, wide, keyFor("pkg:maven/*", "other", pgpSigner("B")))
	accept(t, s, acceptance(*pgpSigner("A"), "pkg:maven/org.example/*"), acceptance(*pgpSigner("B"), "pkg:maven/org.example/*"), acceptance(*pgpSigner("A"), "pkg:npm/x"))
	if n := handedOut(t, s, "pkg:maven/org.example/x"); n != 2 {
		t.Fatalf("%d keys: the same one twice, or one missing", n)
	}
	if _, err := s.Revoke(ctx, ids[0], "carol", "stolen"); err != nil {
		t.Fatal(err)
	}
	// The wider pin of the same bytes does not bring it back, where it was revoked.
	if n := handedOut(t, s, "pkg:maven/org.example/x"); n != 1 {
		t.Errorf("%d keys for the package whose key was revoked", n)
	}
	if n := handedOut(t, s, "pkg:maven/org.example/y"); n != 2 {
		t.Errorf("%d keys for another package", n)
	}
	// Who signs with it is not accepted any more where the scopes meet, and others stay.
	as, err := s.Acceptances(ctx, AcceptanceFilter{Active: true})
	if err != nil || len(as) != 2 {
		t.Fatalf("%+v, %v", as, err)
	}
	for _, a := range as {
		if a.Signer.Fingerprint == pgpSigner("A").Fingerprint && a.Scope != "pkg:npm/x" {
			t.Errorf("%s is accepted for %s", a.Signer, a.Scope)
		}
	}
	if _, _, err := s.PinKeys(ctx, []PinnedMaterial{narrow}, nil); !errors.Is(err, ErrRevoked) {
		t.Errorf("pinned again: %v", err)
	}
	narrow.Reinstate = true
	pinAll(t, s, narrow)
	if n := handedOut(t, s, "pkg:maven/org.example/x"); n != 2 {
		t.Errorf("%d keys after the reinstatement", n)
	}
	if _, err := s.Revoke(ctx, "m-ffff", "carol", "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	check(t, s)
}

func TestRevokedRootTakesItsSignersAlong(t *testing.T) {
	s, _ := newStore(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	under := trust.Signer{Kind: trust.SignerX509, Subject: "CN=A", CertIssuer: "CN=Root", Root: hex.EncodeToString(sum[:])}
	other := under
	other.Root = strings.Repeat("0", 64)
	accept(t, s, acceptance(under, "pkg:nuget/a"), acceptance(other, "pkg:nuget/a"), acceptance(under, "pkg:npm/a"))
	for _, data := range [][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), der} {
		id := pinAll(t, s, PinnedMaterial{Material: trust.Material{Kind: trust.MaterialX509Root, Scope: "pkg:nuget/*", Data: data}, By: "alice", Reason: "x"})
		if _, err := s.Revoke(t.Context(), id[0], "carol", "broken authority"); err != nil {
			t.Fatal(err)
		}
		as, err := s.Acceptances(t.Context(), AcceptanceFilter{Active: true})
		if err != nil || len(as) != 2 || as[0].Signer == under && as[0].Scope == "pkg:nuget/a" || as[1].Signer == under && as[1].Scope == "pkg:nuget/a" {
			t.Fatalf("%+v, %v", as, err)
		}
	}
	check(t, s)
}

func TestTrustSetCarriesKeys(t *testing.T) {
	ctx := t.Context()
	from, _ := newStore(t)
	to, _ := newStore(t)
	ids := pinAll(t, from, keyFor("pkg:npm/x", "x", pgpSigner("A")), keyFor("", "all", pgpSigner("B")), keyFor("pkg:maven/*", "maven", pgpSigner("C")))
	set := export(t, from, ExportOptions{})
	o := importing(from)
	d, err := to.ImportTrust(ctx, set, o)
	if !errors.Is(err, ErrWidens) || len(d.Keys.Added) != 2 || len(d.Keys.Outside) != 1 {
		t.Fatalf("%+v, %v", d.Keys, err)
	}
	if n := handedOut(t, to, "pkg:npm/x"); n != 0 {
		t.Fatalf("%d keys before anybody confirmed", n)
	}
	confirmed(t, to, set, o)
	// Narrowed: the key for everything counts for npm only.
	for purl, want := range map[string]int{"pkg:npm/x": 2, "pkg:npm/y": 1, "pkg:maven/org.example/x": 0} {
		if n := handedOut(t, to, purl); n != want {
			t.Errorf("%s: %d keys, want %d", purl, n, want)
		}
	}
	if again := confirmed(t, to, set, o); again.Widens() {
		t.Errorf("the same set widens: %+v", again.Keys)
	}
	if b := export(t, to, ExportOptions{}); bytes.Contains(b, []byte(`"material"`)) {
		t.Error("imported keys were exported as first-hand")
	}
	if b := export(t, from, ExportOptions{Scopes: []Scope{"pkg:npm/*"}}); bytes.Count(b, []byte(`"material"`)) != 1 {
		t.Errorf("a narrowed export has other keys than those within:\n%s", b)
	}
	// A revocation travels, and lifting it needs a person.
	if _, err := from.Revoke(ctx, ids[0], "carol", "stolen"); err != nil {
		t.Fatal(err)
	}
	old := set
	set = export(t, from, ExportOptions{})
	if d := confirmed(t, to, set, o); len(d.Keys.Revoked) != 1 || d.Widens() {
		t.Errorf("%+v", d.Keys)
	}
	if n := handedOut(t, to, "pkg:npm/x"); n != 1 {
		t.Errorf("%d keys after the revocation", n)
	}
	if _, err := to.ImportTrust(ctx, old, o); !errors.Is(err, ErrRollback) {
		t.Errorf("the set from before the revocation: %v", err)
	}
	re := keyFor("pkg:npm/x", "x", pgpSigner("A"))
	re.Reinstate = true
	pinAll(t, from, re)
	set = export(t, from, ExportOptions{})
	if d, err := to.ImportTrust(ctx, set, o); !errors.Is(err, ErrWidens) || len(d.Keys.Reinstated) != 1 {
		t.Errorf("%+v, %v", d.Keys, err)
	}
	confirmed(t, to, set, o)
	// What is revoked here stays so.
	ms, err := to.PinnedMaterials(ctx, MaterialFilter{Active: true})
	if err != nil || len(ms) != 2 {
		t.Fatalf("%+v, %v", ms, err)
	}
	for _, m := range ms {
		if _, err := to.Revoke(ctx, m.ID, "dave", "not ours"); err != nil {
			t.Fatal(err)
		}
	}
	if d := confirmed(t, to, set, o); len(d.Keys.Kept) != 2 || handedOut(t, to, "pkg:npm/x") != 0 {
		t.Errorf("%+v", d.Keys)
	}
}

func TestTrustSetWithdrawsKeys(t *testing.T) {
	from, clk := newStore(t)
	to, _ := newStore(t)
	o := importing(from)
	pinAll(t, from, keyFor("pkg:npm/x", "x", pgpSigner("A")))
	confirmed(t, to, export(t, from, ExportOptions{}), o)
	// Another store under the same origin that never had the key.
	other, _ := newStore(t)
	clk.t = clk.t.AddDate(0, 0, 1)
	accept(t, other, acceptance(workflow("o", "r"), "pkg:npm/y"))
	o.Key, o.ReplaceKey = other.VerifierKey(), true
	if d := confirmed(t, to, export(t, other, ExportOptions{}), o); len(d.Keys.Withdrawn) != 1 || handedOut(t, to, "pkg:npm/x") != 0 {
		t.Errorf("%+v", d.Keys)
	}
	check(t, to)
}

func TestTrustSetKeysAreSigned(t *testing.T) {
	s, _ := newStore(t)
	pinAll(t, s, keyFor("pkg:npm/x", "key", pgpSigner("A")), keyFor("pkg:npm/y", "other", pgpSigner("B")))
	set := export(t, s, ExportOptions{})
	for what, change := range map[string]func(string) string{
		"other bytes":   func(l string) string { return strings.Replace(l, `"data":"a2V5"`, `"data":"ZXZpbA=="`, 1) },
		"another scope": func(l string) string { return strings.Replace(l, `pkg:npm/x`, `pkg:npm/z`, 1) },
		"a signer":      func(l string) string { return strings.Replace(l, strings.Repeat("A", 40), strings.Repeat("C", 40), 1) },
		"a field more":  func(l string) string { return strings.Replace(l, `"by":`, `"x":1,"by":`, 1) },
		"imported":      func(l string) string { return strings.Replace(l, `"reason":`, `"set":"x","reason":`, 1) },
	} {
		bad := change(string(set))
		if bad == string(set) {
			t.Fatalf("%s changed nothing", what)
		}
		if _, err := ParseTrustSet([]byte(bad)); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	// A line that was cut out is missed.
	var kept []string
	for _, l := range strings.Split(string(set), "\n") {
		if !strings.Contains(l, "pkg:npm/y") {
			kept = append(kept, l)
		}
	}
	ts, err := ParseTrustSet([]byte(strings.Join(kept, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ts.Head(s.VerifierKey()); err == nil {
		t.Error("a set without one of its keys is complete")
	}
	// The largest material fits into a line.
	big := keyFor("pkg:npm/x", strings.Repeat("k", MaxMaterial), nil)
	big.Name = "big"
	pinAll(t, s, big)
	export(t, s, ExportOptions{})
	// A newer export replaces the lines of its key in a file, those of others stay.
	other, _ := newStore(t)
	pinAll(t, other, keyFor("pkg:npm/o", "theirs", pgpSigner("D")))
	merged, err := MergeTrust(export(t, other, ExportOptions{}), set)
	if err != nil || bytes.Count(merged, []byte(`"material"`)) != 3 {
		t.Errorf("%v:\n%s", err, merged)
	}
	if OnlyApprovalsAdded(set, merged) {
		t.Error("a file with more keys has only approvals added")
	}
}
