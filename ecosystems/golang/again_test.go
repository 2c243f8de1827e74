package golang

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
)

// What was judged can be judged again without the database; whatever is altered,
// exchanged or foreign in it is refused.
func TestVerifyAgain(t *testing.T) {
	w := newWorld(t)
	for i := range 300 { // more than one tile
		m := w.add(fmt.Sprintf("example.com/other%d", i), "v1.0.0", map[string]string{"a.go": "package a\n"})
		if _, err := w.db.Lookup(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	other := w.add("example.com/elsewhere", "v1.0.0", map[string]string{"b.go": "package b\n"})
	es := collect(t, a, adapter.Request{Component: w.component(m)}).Evidence
	foreign := first(t, collect(t, a, adapter.Request{Component: w.component(other)}), trust.CheckChecksumDB)
	checked := 0
	for _, e := range es {
		if e.Check != trust.CheckChecksumDB {
			continue
		}
		checked++
		raw := func(e trust.Evidence, name string) []byte {
			r, ok := e.RawOf(name)
			if !ok {
				t.Fatalf("no %s in %+v", name, e.Raw)
			}
			return r.Bytes
		}
		answer, proof, key := raw(e, rawNote), raw(e, trust.RawLogProof), string(raw(e, trust.RawLogKey))
		if err := VerifyAgain(e, answer, proof, key); err != nil {
			t.Fatalf("%s: %v", e.Artifact.Name, err)
		}
		_, own, err := note.GenerateKey(rand.Reader, dbName)
		if err != nil {
			t.Fatal(err)
		}
		with := func(f func(*trust.Evidence)) trust.Evidence { c := e; f(&c); return c }
		flip := func(b []byte, at int) []byte { b = bytes.Clone(b); b[at] ^= 1; return b }
		for name, err := range map[string]error{
			"another key":      VerifyAgain(e, answer, proof, own),
			"no key":           VerifyAgain(e, answer, proof, ""),
			"no proof":         VerifyAgain(e, answer, nil, key),
			"another's proof":  VerifyAgain(e, answer, raw(foreign, trust.RawLogProof), key),
			"another's answer": VerifyAgain(e, raw(foreign, rawNote), raw(foreign, trust.RawLogProof), key),
			"another release":  VerifyAgain(with(func(c *trust.Evidence) { c.Release = foreign.Release }), answer, proof, key),
			"another digest":   VerifyAgain(with(func(c *trust.Evidence) { c.Artifact.Digests = foreign.Artifact.Digests }), answer, proof, key),
			"another record":   VerifyAgain(with(func(c *trust.Evidence) { c.Logs = []trust.LogEntry{{Log: dbName, Index: 1}} }), answer, proof, key),
			"another signer":   VerifyAgain(with(func(c *trust.Evidence) { c.Signer = &trust.Signer{Kind: trust.SignerLog, Name: dbName} }), answer, proof, key),
			"changed record":   VerifyAgain(e, flip(answer, bytes.Index(answer, []byte("h1:"))+5), proof, key),
			"changed hash":     VerifyAgain(e, answer, flip(proof, bytes.Index(proof, []byte("index"))+20), key),
			"changed head":     VerifyAgain(e, answer, flip(proof, len(proof)-20), key),
			"endless proof":    VerifyAgain(e, answer, append(bytes.Repeat([]byte("x\n"), maxProofHashes+3), proof...), key),
		} {
			if err == nil {
				t.Errorf("%s %q: no error", name, e.Artifact.Name)
			}
		}
	}
	if checked != 2 {
		t.Errorf("%d look-ups", checked)
	}
}
