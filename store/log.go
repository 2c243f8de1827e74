package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/headgate/headgate/trust"
)

const (
	leafVersion = 1
	// MaxCheckpoint bounds a checkpoint that is read, in bytes.
	MaxCheckpoint = 64 << 10
	// MaxProof bounds a proof file that is read, in bytes.
	MaxProof = 2*MaxBody + 1<<20

	defaultLogLimit = 10_000
)

// canonical is the JSON that is hashed and stored: the field order of the
// type, no white space, no HTML escapes.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// strict reads JSON that canonical wrote: unknown fields and trailing data are errors.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("trailing data")
	}
	return nil
}

func rowDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// queryer is a *sql.DB, *sql.Tx or *sql.Conn.
type queryer interface {
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, q string, args ...any) *sql.Row
}

// hashReader reads tree hashes from the database, behind what fresh holds.
func hashReader(ctx context.Context, q queryer, fresh map[int64]tlog.Hash) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if h, ok := fresh[x]; ok {
				out[i] = h
				continue
			}
			var b []byte
			if err := q.QueryRowContext(ctx, "SELECT hash FROM hash WHERE idx = ?", x).Scan(&b); err != nil {
				return nil, fmt.Errorf("reading tree hash %d: %w", x, err)
			}
			if len(b) != tlog.HashSize {
				return nil, fmt.Errorf("%w: tree hash %d has %d bytes", ErrTampered, x, len(b))
			}
			copy(out[i][:], b)
		}
		return out, nil
	})
}

func logSize(ctx context.Context, q queryer) (int64, error) {
	var n int64
	err := q.QueryRowContext(ctx, "SELECT coalesce(max(idx), -1) + 1 FROM log").Scan(&n)
	return n, err
}

// LogSize returns the number of leaves in the log.
func (s *Store) LogSize(ctx context.Context) (int64, error) {
	n, err := logSize(ctx, s.r)
	return n, s.wrap("reading the log of", err)
}

// LogEntries returns the entries that the filter selects, oldest first.
func (s *Store) LogEntries(ctx context.Context, f LogFilter) ([]LogEntry, error) {
	q, args := "SELECT idx, leaf FROM log WHERE idx >= ?", []any{f.From}
	where := func(cond string, v any) { q, args = q+" AND "+cond, append(args, v) }
	if !f.Package.IsZero() {
		where("package = ?", f.Package.PURL())
	}
	if f.By != "" {
		where("by = ?", f.By)
	}
	if f.Kind != "" {
		where("kind = ?", f.Kind)
	}
	if f.ID != "" {
		where("id = ?", f.ID)
	}
	if !f.Since.IsZero() {
		where("at >= ?", millis(f.Since))
	}
	if !f.Until.IsZero() {
		where("at < ?", millis(f.Until))
	}
	limit := f.Limit
	if limit <= 0 {
		limit = defaultLogLimit
	}
	rows, err := s.r.QueryContext(ctx, q+" ORDER BY idx LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, s.wrap("reading the log of", err)
	}
	defer rows.Close()
	var out []LogEntry
	for rows.Next() {
		var e LogEntry
		var leaf []byte
		if err := rows.Scan(&e.Index, &leaf); err != nil {
			return nil, s.wrap("reading the log of", err)
		}
		if err := strict(leaf, &e.Leaf); err != nil {
			return nil, s.wrap("reading the log of", fmt.Errorf("%w: entry %d: %w", ErrTampered, e.Index, err))
		}
		out = append(out, e)
	}
	return out, s.wrap("reading the log of", rows.Err())
}

// verifierKey derives the note verifier key from a note signer key.
func verifierKey(skey string) (string, error) {
	parts := strings.Split(skey, "+")
	if len(parts) < 5 {
		return "", errors.New("malformed signer key")
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(parts[4:], "+"))
	if err != nil || len(b) != 1+ed25519.SeedSize {
		return "", errors.New("malformed signer key")
	}
	pub, ok := ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("malformed signer key")
	}
	return note.NewEd25519VerifierKey(parts[2], pub)
}

// checkpointText is the text of a checkpoint (https://c2sp.org/tlog-checkpoint):
// origin, size and root hash, one a line.
func checkpointText(origin string, t tlog.Tree) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, t.N, t.Hash)
}

func signCheckpoint(signer note.Signer, t tlog.Tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: checkpointText(signer.Name(), t)}, signer)
}

// openCheckpoint verifies a checkpoint by the verifier key and returns its tree.
func openCheckpoint(b []byte, vkey string) (tlog.Tree, string, error) {
	if len(b) > MaxCheckpoint {
		return tlog.Tree{}, "", fmt.Errorf("checkpoint is longer than %d bytes", MaxCheckpoint)
	}
	v, err := note.NewVerifier(strings.TrimSpace(vkey))
	if err != nil {
		return tlog.Tree{}, "", fmt.Errorf("verifier key: %w", err)
	}
	n, err := note.Open(b, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, "", fmt.Errorf("checkpoint: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] != v.Name() {
		return tlog.Tree{}, "", fmt.Errorf("checkpoint: not the three lines of %s", v.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, "", errors.New("checkpoint: malformed size")
	}
	h, err := tlog.ParseHash(lines[2])
	if err != nil || h.String() != lines[2] {
		return tlog.Tree{}, "", errors.New("checkpoint: malformed hash")
	}
	return tlog.Tree{N: size, Hash: h}, lines[0], nil
}

func tree(ctx context.Context, q queryer) (tlog.Tree, error) {
	n, err := logSize(ctx, q)
	if err != nil {
		return tlog.Tree{}, err
	}
	h, err := tlog.TreeHash(n, hashReader(ctx, q, nil))
	return tlog.Tree{N: n, Hash: h}, err
}

// Checkpoint returns the signed note of the log as it stands, to be kept
// elsewhere: VerifyLog proves later that the log only grew since.
func (s *Store) Checkpoint(ctx context.Context) ([]byte, error) {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("reading the log of", err)
	}
	defer tx.Rollback()
	t, err := tree(ctx, tx)
	if err != nil {
		return nil, s.wrap("reading the log of", err)
	}
	return signCheckpoint(s.signer, t)
}

// proofFile is the portable proof that one leaf is in the log.
type proofFile struct {
	Type       string      `json:"type"`
	Index      int64       `json:"index"`
	Leaf       string      `json:"leaf"` // the leaf's exact text
	Body       string      `json:"body"` // the row's exact text
	Proof      []tlog.Hash `json:"proof"`
	Checkpoint string      `json:"checkpoint"`
}

const proofType = "headgate-log-proof/v1"

// Prove returns a file which proves that the decision is in the log. A unique
// prefix of the id will do.
func (s *Store) Prove(ctx context.Context, decisionID string) ([]byte, error) {
	return s.prove(ctx, "decision", decisionID)
}

// ProveRun is Prove for a run, which names the policy that its decisions were made by.
func (s *Store) ProveRun(ctx context.Context, runID string) ([]byte, error) {
	return s.prove(ctx, "run", runID)
}

func (s *Store) prove(ctx context.Context, kind, id string) ([]byte, error) {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("reading", err)
	}
	defer tx.Rollback()
	if id, err = resolve(ctx, tx, kind, id); err != nil {
		return nil, s.wrap("proving "+kind+" of", err)
	}
	p := proofFile{Type: proofType}
	if err := tx.QueryRowContext(ctx, "SELECT d.leaf, d.body, l.leaf FROM "+kind+" d JOIN log l ON l.idx = d.leaf WHERE d.id = ?", id).Scan(&p.Index, &p.Body, &p.Leaf); err != nil {
		return nil, s.wrap("proving "+kind+" of", err)
	}
	t, err := tree(ctx, tx)
	if err != nil {
		return nil, s.wrap("proving "+kind+" of", err)
	}
	rp, err := tlog.ProveRecord(t.N, p.Index, hashReader(ctx, tx, nil))
	if err != nil {
		return nil, s.wrap("proving "+kind+" of", err)
	}
	p.Proof = rp
	cp, err := signCheckpoint(s.signer, t)
	if err != nil {
		return nil, err
	}
	p.Checkpoint = string(cp)
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if _, err := VerifyProof(b, s.vkey); err != nil {
		return nil, s.wrap("proving "+kind+" of", fmt.Errorf("%w: %w: run \"headgate log verify\"", ErrTampered, err))
	}
	return b, nil
}

// VerifyProof verifies a file that Prove made by the log's verifier key. It
// needs no store.
func VerifyProof(proof []byte, verifierKey string) (Proved, error) {
	if len(proof) > MaxProof {
		return Proved{}, fmt.Errorf("proof file is longer than %d bytes", MaxProof)
	}
	var p proofFile
	if err := rejectDuplicates(proof); err != nil {
		return Proved{}, fmt.Errorf("proof file: %w", err)
	}
	if err := strict(proof, &p); err != nil {
		return Proved{}, fmt.Errorf("proof file: %w", err)
	}
	if p.Type != proofType {
		return Proved{}, fmt.Errorf("proof file has type %q, not %q", short(p.Type), proofType)
	}
	t, origin, err := openCheckpoint([]byte(p.Checkpoint), verifierKey)
	if err != nil {
		return Proved{}, fmt.Errorf("proof file: %w", err)
	}
	if p.Index < 0 || p.Index >= t.N {
		return Proved{}, fmt.Errorf("proof file: entry %d is not in a log of %d", p.Index, t.N)
	}
	if err := tlog.CheckRecord(p.Proof, t.N, t.Hash, p.Index, tlog.RecordHash([]byte(p.Leaf))); err != nil {
		return Proved{}, fmt.Errorf("proof file: entry %d is not in the log that %s signed: %w", p.Index, origin, err)
	}
	out := Proved{Index: p.Index, Size: t.N, Origin: origin, Body: json.RawMessage(p.Body)}
	if err := strict([]byte(p.Leaf), &out.Leaf); err != nil {
		return Proved{}, fmt.Errorf("proof file: entry %d: %w", p.Index, err)
	}
	if out.Leaf.V != leafVersion {
		return Proved{}, fmt.Errorf("proof file: entry %d has version %d, this headgate knows %d", p.Index, out.Leaf.V, leafVersion)
	}
	if rowDigest([]byte(p.Body)) != out.Leaf.Row {
		return Proved{}, fmt.Errorf("proof file: the row is not the one that entry %d covers", p.Index)
	}
	return out, nil
}

// rejectDuplicates refuses JSON objects that have a key twice, or two keys that
// differ in case only, which encoding/json would take for one.
func rejectDuplicates(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	type level struct {
		keys   map[string]bool // nil for arrays
		expect bool            // a key comes next
	}
	var stack []level
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(stack) > 64 {
			return errors.New("nested too deeply")
		}
		if delim, ok := tok.(json.Delim); ok {
			switch delim {
			case '{':
				stack = append(stack, level{keys: map[string]bool{}, expect: true})
				continue
			case '[':
				stack = append(stack, level{})
				continue
			}
			stack = stack[:len(stack)-1]
		} else if n := len(stack); n > 0 && stack[n-1].keys != nil && stack[n-1].expect {
			k, _ := tok.(string)
			k = strings.ToLower(k)
			if stack[n-1].keys[k] {
				return fmt.Errorf("key %q appears twice", short(k))
			}
			stack[n-1].keys[k] = true
			stack[n-1].expect = false
			continue
		}
		if n := len(stack); n > 0 && stack[n-1].keys != nil {
			stack[n-1].expect = true
		}
	}
}

// resolve turns a unique prefix of an id into the id.
func resolve(ctx context.Context, q queryer, table, prefix string) (string, error) {
	if prefix == "" || len(prefix) > 256 {
		return "", fmt.Errorf("%s %q: %w", table, short(prefix), ErrNotFound)
	}
	rows, err := q.QueryContext(ctx, "SELECT id FROM "+table+" WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", prefix, prefix+"\x7f")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return "", err
		}
		if id == prefix {
			return id, nil
		}
		ids = append(ids, id)
	}
	switch {
	case rows.Err() != nil:
		return "", rows.Err()
	case len(ids) == 0:
		return "", fmt.Errorf("%s %q: %w", table, prefix, ErrNotFound)
	case len(ids) > 1:
		return "", fmt.Errorf("%s %q: %w: %s and others begin so", table, prefix, ErrAmbiguous, ids[0])
	}
	return ids[0], nil
}

// packagePURL is the package column of a leaf.
func packagePURL(p trust.Package) string {
	if p.IsZero() {
		return ""
	}
	return p.PURL()
}

// leafColumns are the columns of table log that are derived from a leaf.
func leafColumns(l Leaf) []any {
	return []any{l.Kind, l.ID, l.Package, l.By, millis(l.At)}
}
