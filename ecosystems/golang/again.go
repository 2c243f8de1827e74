package golang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/headgate/headgate/trust"
)

// rawNote names the judged answer of the database: a record with a signed tree head.
const rawNote = "sumdb-note"

// proofVersion is the first line of a proof in the form of c2sp.org/tlog-proof.
const proofVersion = "c2sp.org/tlog-proof@v1"

// maxProofHashes bounds a proof: a tree has no more levels.
const maxProofHashes = 64

// prove packs the proof that the newest tree head that is kept holds the record,
// from tiles that were authenticated already. It asks nobody: nil where a tile is
// not at hand any more, and then the record can be shown but not proven again.
func (d *database) prove(index int64) []byte {
	head, err := d.state.Load(context.Background(), stateKey(d.cfg.Name+"/latest"))
	if err != nil {
		return nil
	}
	n, err := note.Open(head, d.keys)
	if err != nil {
		return nil
	}
	t, err := tlog.ParseTree([]byte(n.Text))
	if err != nil || index < 0 || index >= t.N {
		return nil
	}
	p, err := tlog.ProveRecord(t.N, index, tlog.TileHashReader(t, kept{d}))
	if err != nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofVersion, index)
	for _, h := range p {
		fmt.Fprintln(&b, h)
	}
	fmt.Fprintf(&b, "\n%s", head)
	return b.Bytes()
}

// kept reads authenticated tiles from memory.
type kept struct{ d *database }

// Height implements tlog.TileReader.
func (kept) Height() int { return tileHeight }

// SaveTiles implements tlog.TileReader.
func (kept) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader.
func (k kept) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		name := k.d.cfg.Name + "/" + t.Path()
		b := k.d.verified[name]
		if b == nil && k.d.ops != nil {
			b = k.d.ops.edge(name)
		}
		if b == nil {
			// A fuller tile begins with the same hashes.
			full := t
			for full.W = t.W + 1; full.W <= 1<<tileHeight && b == nil; full.W++ {
				b = k.d.verified[k.d.cfg.Name+"/"+full.Path()]
			}
		}
		if len(b) < t.W*tlog.HashSize {
			return nil, errors.New("the tile is not at hand")
		}
		out[i] = b[:t.W*tlog.HashSize]
	}
	return out, nil
}

// VerifyAgain makes the check of a recorded checksum-database look-up anew, of the
// bytes that it judged, the proof and the verifier key alone: the key signed a tree
// that holds the record, and the record has the artifact's hash.
func VerifyAgain(e trust.Evidence, answer, proof []byte, vkey string) error {
	d, err := newDatabase(SumDB{Key: vkey}, nil, nil)
	if err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	id, text, _, err := tlog.ParseRecord(answer)
	if err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "the answer is no record: %w", err)
	}
	if f := d.judge(answer); f != nil {
		return &trust.VerifyError{Outcome: f.outcome, Reason: f.reason, Err: f.err}
	}
	if err := d.contains(proof, id, tlog.RecordHash(text)); err != nil {
		return err
	}
	rec := &record{index: id, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}
	zip, mod, f := rec.hashes(moduleOf(e.Release))
	if f != nil {
		return &trust.VerifyError{Outcome: f.outcome, Reason: f.reason, Err: f.err}
	}
	want := zip
	if e.Artifact.Name == goMod {
		want = mod
	}
	if h1 := e.Artifact.Digests.Get(trust.DirHash1); h1.IsZero() || !h1.Equal(want) {
		return trust.Failure(trust.ReasonWrongDigest, "the record has %s, the evidence is about %s", want, h1)
	}
	if e.Signer == nil || e.Signer.KeyDigest != d.signer.KeyDigest {
		return trust.Failure(trust.ReasonUntrustedSigner, "the evidence names another key than %s", d.signer.KeyID)
	}
	if len(e.Logs) != 1 || e.Logs[0].Index != id {
		return trust.Failure(trust.ReasonWrongSubject, "the evidence names another record than %d", id)
	}
	return nil
}

// contains verifies a proof that a tree signed by the database holds a record.
func (d *database) contains(proof []byte, id int64, h tlog.Hash) error {
	malformed := func(what string) error {
		return trust.Undecidable(trust.ReasonMalformed, "the proof of record %d: %s", id, what)
	}
	head, signed, ok := strings.Cut(string(proof), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 || lines[0] != proofVersion || len(lines)-2 > maxProofHashes {
		return malformed("it is none of the kind " + proofVersion)
	}
	index, ok := strings.CutPrefix(lines[1], "index ")
	n, err := strconv.ParseInt(index, 10, 64)
	if !ok || err != nil {
		return malformed("it names no index")
	}
	if n != id {
		return trust.Failure(trust.ReasonWrongSubject, "the proof is of record %d, not of %d", n, id)
	}
	var p tlog.RecordProof
	for _, l := range lines[2:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return malformed("a line is no hash")
		}
		p = append(p, h)
	}
	msg, err := note.Open([]byte(signed), d.keys)
	if err != nil {
		return trust.Failure(trust.ReasonBadSignature, "the tree head of the proof is not signed by %s: %w", d.signer.KeyID, err)
	}
	t, err := tlog.ParseTree([]byte(msg.Text))
	if err != nil {
		return malformed("it has no tree head")
	}
	if err := tlog.CheckRecord(p, t.N, t.Hash, id, h); err != nil {
		return trust.Failure(trust.ReasonBadSignature, "the signed tree of %d records does not hold the record: %w", t.N, err)
	}
	return nil
}
