package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	sqlite3 "github.com/mattn/go-sqlite3"

	"github.com/headgate/headgate/trust"
)

// batchRows is how many rows one INSERT carries.
const batchRows = 64

// writeTx is one write transaction with the leaves that it adds.
type writeTx struct {
	ctx     context.Context
	s       *Store
	tx      *sql.Tx
	now     time.Time
	next    int64 // index of the next leaf
	stmts   map[string]*sql.Stmt
	hashes  map[int64]tlog.Hash
	batches []*batch
	byTable map[string]*batch
	touched map[string]bool // rows inserted by this transaction, "table id"
}

// batch gathers rows for one multi-row INSERT.
type batch struct {
	head, tail string
	cols       int
	rows       []any
}

// write runs f in a transaction that begins immediately, and signs the
// checkpoint of the log with what f added. Either all of it is recorded or nothing.
func (s *Store) write(ctx context.Context, doing string, f func(*writeTx) error) (err error) {
	defer func() { err = s.wrap(doing, err) }()
	if s.readOnly {
		return fmt.Errorf("%w: it was opened read-only", ErrReadOnly)
	}
	if p := s.broken.Load(); p != nil {
		return fmt.Errorf("%w: an earlier write failed in the middle (%v); open the store again", ErrIO, *p)
	}
	if err := s.at("begin"); err != nil {
		return err
	}
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	w := &writeTx{ctx: ctx, s: s, tx: tx, now: norm(s.now()), stmts: map[string]*sql.Stmt{}, hashes: map[int64]tlog.Hash{}, byTable: map[string]*batch{}, touched: map[string]bool{}}
	if w.next, err = logSize(ctx, tx); err != nil {
		return err
	}
	before := w.next
	err = f(w)
	if err == nil {
		err = w.finish(before)
	}
	if err == nil {
		err = s.at("commit")
	}
	if err == nil {
		err = tx.Commit()
	}
	// A cancelled context rolls the transaction back behind our back; what is left to
	// see of it may be that the transaction is over.
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		err = s.at("committed")
	}
	// After a failed write to disk nothing can be said about what is on it: a
	// second try on this connection could succeed over a hole.
	var e sqlite3.Error
	if errors.As(err, &e) && e.Code == sqlite3.ErrIoErr {
		s.broken.Store(&err)
	}
	return err
}

func (w *writeTx) finish(before int64) error {
	if err := w.s.at("flush"); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if w.next == before {
		return nil
	}
	h, err := tlog.TreeHash(w.next, hashReader(w.ctx, w.tx, w.hashes))
	if err != nil {
		return err
	}
	cp, err := signCheckpoint(w.s.signer, tlog.Tree{N: w.next, Hash: h})
	if err != nil {
		return err
	}
	if err := w.s.at("checkpoint"); err != nil {
		return err
	}
	return w.exec("INSERT INTO meta (key, value) VALUES ('checkpoint', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", cp)
}

func (w *writeTx) stmt(q string) (*sql.Stmt, error) {
	if st, ok := w.stmts[q]; ok {
		return st, nil
	}
	st, err := w.tx.PrepareContext(w.ctx, q)
	if err == nil {
		w.stmts[q] = st
	}
	return st, err
}

func (w *writeTx) exec(q string, args ...any) error {
	st, err := w.stmt(q)
	if err == nil {
		_, err = st.ExecContext(w.ctx, args...)
	}
	return err
}

// changed is exec that must change exactly one row, or it is ErrConflict.
func (w *writeTx) changed(q string, args ...any) error {
	st, err := w.stmt(q)
	if err != nil {
		return err
	}
	res, err := st.ExecContext(w.ctx, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(ErrConflict, err)
	}
	return nil
}

// add queues a row for INSERT … tail. All rows of a table have one tail.
func (w *writeTx) add(table string, cols []string, tail string, vals ...any) error {
	b := w.byTable[table]
	if b == nil {
		b = &batch{head: "INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES ", tail: " " + tail, cols: len(cols)}
		w.byTable[table] = b
		w.batches = append(w.batches, b)
	}
	b.rows = append(b.rows, vals...)
	if len(b.rows) < batchRows*b.cols {
		return nil
	}
	return w.flushBatch(b)
}

func (w *writeTx) flushBatch(b *batch) error {
	n := len(b.rows) / b.cols
	if n == 0 {
		return nil
	}
	row := "(?" + strings.Repeat(", ?", b.cols-1) + ")"
	q := b.head + row + strings.Repeat(", "+row, n-1) + b.tail
	err := error(nil)
	if n == batchRows {
		err = w.exec(q, b.rows...)
	} else {
		_, err = w.tx.ExecContext(w.ctx, q, b.rows...)
	}
	b.rows = b.rows[:0]
	return err
}

func (w *writeTx) flush() error {
	for _, b := range w.batches {
		if err := w.flushBatch(b); err != nil {
			return err
		}
	}
	return nil
}

var logCols = []string{"idx", "leaf", "kind", "id", "package", "by", "at"}

// leaf appends a leaf for a row with this body and returns its index.
func (w *writeTx) leaf(l Leaf, body []byte) (int64, error) {
	if len(body) > MaxBody {
		return 0, fmt.Errorf("%s %s: row of %d bytes is longer than %d", l.Kind, short(l.ID), len(body), MaxBody)
	}
	l.At, l.V, l.Row = w.now, leafVersion, rowDigest(body)
	text, err := canonical(l)
	if err != nil {
		return 0, err
	}
	idx := w.next
	hashes, err := tlog.StoredHashes(idx, text, hashReader(w.ctx, w.tx, w.hashes))
	if err != nil {
		return 0, err
	}
	at := tlog.StoredHashIndex(0, idx)
	for i, h := range hashes {
		w.hashes[at+int64(i)] = h
		if err := w.add("hash", []string{"idx", "hash"}, "", at+int64(i), slices.Clone(h[:])); err != nil {
			return 0, err
		}
	}
	if err := w.add("log", logCols, "", append([]any{idx, string(text)}, leafColumns(l)...)...); err != nil {
		return 0, err
	}
	w.next++
	return idx, nil
}

// row prepares the row of a covered table with its leaf.
func (w *writeTx) row(l Leaf, v any) (k kindSpec, body []byte, cols []any, idx int64, err error) {
	if body, err = canonical(v); err != nil {
		return
	}
	k = kinds[l.Kind]
	id, cols, ok := k.of(v)
	if !ok || id == "" || id != l.ID {
		err = fmt.Errorf("%s row has id %q, its log entry %q", l.Kind, short(id), short(l.ID))
		return
	}
	idx, err = w.leaf(l, body)
	return
}

// insert adds a row to a covered table, with its leaf. That the id is new is
// the table's own condition.
func (w *writeTx) insert(l Leaf, v any) (int64, error) {
	k, body, cols, idx, err := w.row(l, v)
	if err != nil {
		return 0, err
	}
	w.touched[k.table+" "+l.ID] = true
	return idx, w.add(k.table, append([]string{"id", "body", "leaf"}, k.cols...), "", append([]any{l.ID, string(body), idx}, cols...)...)
}

// replace changes a row of a covered table, with its leaf, on condition that
// the log entry about it is still the one that the caller read.
func (w *writeTx) replace(l Leaf, v any, was int64) (int64, error) {
	k, body, cols, idx, err := w.row(l, v)
	if err != nil {
		return 0, err
	}
	q := "UPDATE " + k.table + " SET body = ?, leaf = ?"
	for _, c := range k.cols {
		q += ", " + c + " = ?"
	}
	args := append(append([]any{string(body), idx}, cols...), l.ID, was)
	return idx, w.changed(q+" WHERE id = ? AND leaf = ?", args...)
}

// current reads the row of a covered table, with rows of this transaction. was
// is -1 if there is none.
func (w *writeTx) current(table, id string, v any) (was int64, err error) {
	if w.touched[table+" "+id] {
		if err := w.flushTable(table); err != nil {
			return 0, err
		}
	}
	st, err := w.stmt("SELECT leaf, body FROM " + table + " WHERE id = ?")
	if err != nil {
		return 0, err
	}
	var body []byte
	switch err := st.QueryRowContext(w.ctx, id).Scan(&was, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return -1, nil
	case err != nil:
		return 0, err
	}
	if err := strict(body, v); err != nil {
		return 0, fmt.Errorf("%w: %s %s: %w", ErrTampered, table, short(id), err)
	}
	return was, nil
}

func (w *writeTx) flushTable(table string) error {
	if b := w.byTable[table]; b != nil {
		return w.flushBatch(b)
	}
	return nil
}

// blob keeps bytes by their SHA-256.
func (w *writeTx) blob(data []byte) ([]byte, error) {
	if len(data) > MaxBlob {
		return nil, fmt.Errorf("document of %d bytes is longer than %d", len(data), MaxBlob)
	}
	sum := sha256.Sum256(data)
	if data == nil {
		data = []byte{}
	}
	return sum[:], w.exec("INSERT INTO blob (digest, data) VALUES (?, ?) ON CONFLICT DO NOTHING", sum[:], data)
}

// evidence keeps a piece of evidence with its bytes and returns its address.
func (w *writeTx) evidence(e trust.Evidence, checked time.Time, run string) (digest []byte, err error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	body, err := canonical(e)
	if err != nil {
		return nil, err
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%s evidence of %s: %d bytes are more than %d", e.Check, e.Release, len(body), MaxBody)
	}
	sum := sha256.Sum256(body)
	for _, raw := range e.Raw {
		if raw.Digest.Algorithm != trust.SHA256 {
			return nil, fmt.Errorf("%s evidence of %s: judged bytes %q have no sha256 digest", e.Check, e.Release, short(raw.Name))
		}
		key := raw.Digest.Bytes()
		if raw.Bytes != nil {
			got, err := w.blob(raw.Bytes)
			if err != nil {
				return nil, fmt.Errorf("%s evidence of %s: %w", e.Check, e.Release, err)
			}
			if !slices.Equal(got, key) {
				return nil, fmt.Errorf("%s evidence of %s: judged bytes %q do not have the digest that the evidence states", e.Check, e.Release, short(raw.Name))
			}
		} else {
			var one int
			st, err := w.stmt("SELECT 1 FROM blob WHERE digest = ?")
			if err != nil {
				return nil, err
			}
			if err := st.QueryRowContext(w.ctx, key).Scan(&one); err != nil {
				return nil, fmt.Errorf("%s evidence of %s: judged bytes %q are neither given nor kept: %w", e.Check, e.Release, short(raw.Name), err)
			}
		}
		if err := w.add("evidence_blob", []string{"evidence", "blob"}, "ON CONFLICT DO NOTHING", sum[:], key); err != nil {
			return nil, err
		}
	}
	return sum[:], w.add("evidence", []string{"digest", "id", "release", "body", "checked", "run"},
		"ON CONFLICT (digest) DO UPDATE SET run = excluded.run, checked = max(checked, excluded.checked)",
		sum[:], e.ID(), e.Release.PURL(), string(body), millis(checked), run)
}

// evidenceAll keeps the evidence and returns the references to it, each once.
func (w *writeTx) evidenceAll(es []trust.Evidence, checked time.Time, run string) ([]evidenceRef, error) {
	refs := make([]evidenceRef, 0, len(es))
	seen := map[string]bool{}
	for _, e := range es {
		d, err := w.evidence(e, checked, run)
		if err != nil {
			return nil, err
		}
		h := hex.EncodeToString(d)
		if !seen[h] {
			seen[h] = true
			refs = append(refs, evidenceRef{Checked: checked, Digest: h})
		}
	}
	return refs, nil
}

func (w *writeTx) uses(leaf int64, refs []evidenceRef) error {
	for _, r := range refs {
		if err := w.add("evidence_use", []string{"leaf", "evidence", "checked"}, "", leaf, blobKey(r.Digest), millis(r.Checked)); err != nil {
			return err
		}
	}
	return nil
}

// newID returns prefix and n random bytes in hex.
func newID(prefix string, n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return prefix + hex.EncodeToString(b), nil
}

// text refuses what people typed if it is empty or too long.
func text(what, v string) error {
	if strings.TrimSpace(v) == "" {
		return fmt.Errorf("%s is missing", what)
	}
	if len(v) > MaxText {
		return fmt.Errorf("%s of %d bytes is longer than %d", what, len(v), MaxText)
	}
	return nil
}
