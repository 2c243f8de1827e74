package pinned

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/trust"
)

type materials func(trust.Package) ([]trust.Material, error)

func (m materials) Materials(_ context.Context, kind trust.MaterialKind, p trust.Package) ([]trust.Material, error) {
	if kind != trust.MaterialOpenPGP {
		return nil, fmt.Errorf("asked for %s", kind)
	}
	return m(p)
}

func certificate(t testing.TB, name string) []byte {
	t.Helper()
	e, err := pgp.NewEntity(name, "", name+"@example.com", nil)
	var b bytes.Buffer
	if err == nil {
		err = e.Serialize(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFor(t *testing.T) {
	p := trust.Package{Type: "maven", Namespace: "org.example", Name: "widget"}
	alice, bob := certificate(t, "alice"), certificate(t, "bob")
	var ms []trust.Material
	k := New(materials(func(q trust.Package) ([]trust.Material, error) {
		if q != p {
			t.Errorf("asked for %s", q)
		}
		return ms, nil
	}))
	check := func(what string, keys, broken int) {
		t.Helper()
		ring, bad, err := k.For(t.Context(), p)
		if err != nil || ring.Len() != keys || len(bad) != broken {
			t.Errorf("%s: %d keys, %v, %v", what, ring.Len(), bad, err)
		}
	}
	check("none", 0, 0)
	ms = []trust.Material{{Name: "alice", Data: alice}, {Name: "broken", Data: []byte("hello")}, {Name: "bob", Data: bob}}
	check("one is broken", 2, 1)
	check("the second time", 2, 1)
	ms = ms[:1]
	check("taken away", 1, 0)
	ms = nil
	for range MaxKeys {
		ms = append(ms, trust.Material{Data: alice})
	}
	check("as many as the bound", MaxKeys, 0)
	ms = append(ms, trust.Material{Data: bob})
	if ring, _, err := k.For(t.Context(), p); err == nil || ring.Len() > 0 {
		t.Error("one above the bound was tried")
	}
	broken := New(materials(func(trust.Package) ([]trust.Material, error) { return nil, errors.New("disk") }))
	if ring, _, err := broken.For(t.Context(), p); err == nil || ring.Len() > 0 {
		t.Error("keys that could not be asked for are no error")
	}
	if ring, _, err := New(nil).For(t.Context(), p); err != nil || ring.Len() > 0 {
		t.Error(err)
	}
}

func TestRemedy(t *testing.T) {
	p := trust.Package{Type: "maven", Namespace: "org.example", Name: "widget"}
	if got := Remedy(p, []string{"ABCD"}); !strings.HasPrefix(got, "headgate signers accept 'pkg:maven/org.example/widget' --key FILE --signer ABCD --reason") {
		t.Error(got)
	}
	evil := trust.Package{Type: "generic", Name: "x'; rm -rf ~ #"}
	if got := Command(evil, "FILE", ""); strings.Count(got, "'") != 4 {
		t.Error(got)
	}
	if got := Remedy(p, []string{"A", "B"}); strings.Contains(got, "--signer") {
		t.Error(got)
	}
}
