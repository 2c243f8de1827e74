package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/headgate/headgate/trust"
)

// verification is one walk over the log and all rows, in one snapshot.
type verification struct {
	ctx      context.Context
	tx       *sql.Tx
	report   Report
	computed []tlog.Hash // the tree's hashes, recomputed, by tlog.StoredHashIndex
	stored   map[int64]tlog.Hash
	phase    int // problems of the phase
}

// problem notes what is wrong; each phase keeps its first MaxProblems.
func (v *verification) problem(index int64, kind, id, format string, args ...any) {
	if v.phase++; v.phase <= MaxProblems {
		v.report.Problems = append(v.report.Problems, Problem{Index: index, Kind: kind, ID: id, What: fmt.Sprintf(format, args...)})
	}
}

// VerifyLog recomputes the log and everything that it covers from the rows: the
// hash of every leaf and of the tree, the body of every row against the leaf
// that covers it, every column that is derived from a body, and the content
// address of all evidence and bytes. The report lists what does not agree, in
// log order; the error is ErrTampered then and names the first. With an earlier
// checkpoint it proves that history was only appended to since.
func (s *Store) VerifyLog(ctx context.Context, earlier []byte) (Report, error) {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return Report{}, s.wrap("verifying the log of", err)
	}
	defer tx.Rollback()
	v := &verification{ctx: ctx, tx: tx, report: Report{VerifierKey: s.vkey}}
	steps := []func() error{v.log, v.rows, v.links, v.evidence, v.blobs, func() error { return v.heads(s.vkey, earlier) }}
	for _, step := range steps {
		v.phase = 0
		if err := step(); err != nil {
			return v.report, s.wrap("verifying the log of", err)
		}
	}
	if len(v.report.Problems) == 0 {
		return v.report, nil
	}
	slices.SortStableFunc(v.report.Problems, func(a, b Problem) int {
		// What has no place in the log comes last.
		return cmp.Or(cmp.Compare(b2i(a.Index < 0), b2i(b.Index < 0)), cmp.Compare(a.Index, b.Index))
	})
	v.report.Problems = v.report.Problems[:min(len(v.report.Problems), MaxProblems)]
	p := v.report.Problems[0]
	at := "outside the log"
	if p.Index >= 0 {
		at = fmt.Sprintf("log entry %d", p.Index)
	}
	return v.report, s.wrap("verifying the log of", fmt.Errorf("%w: %s: %s %s %s", ErrTampered, at, p.Kind, p.ID, p.What))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// log recomputes the tree from the leaves.
func (v *verification) log() error {
	n, err := logSize(v.ctx, v.tx)
	if err != nil {
		return err
	}
	v.report.Size = n
	v.stored = make(map[int64]tlog.Hash, tlog.StoredHashCount(n))
	err = each(v.ctx, v.tx, "SELECT idx, hash FROM hash", nil, func(rows *sql.Rows) error {
		var i int64
		var b []byte
		if err := rows.Scan(&i, &b); err != nil {
			return err
		}
		if i >= tlog.StoredHashCount(n) || len(b) != tlog.HashSize {
			v.problem(n, "hash", fmt.Sprint(i), "belongs to no entry: entries at the end are missing")
			return nil
		}
		v.stored[i] = tlog.Hash(b)
		return nil
	})
	if err != nil {
		return err
	}
	next := int64(0)
	err = each(v.ctx, v.tx, "SELECT idx, leaf, kind, id, package, by, at FROM log ORDER BY idx", nil, func(rows *sql.Rows) error {
		var idx, at int64
		var text []byte
		var kind, id, pkg, by string
		if err := rows.Scan(&idx, &text, &kind, &id, &pkg, &by, &at); err != nil {
			return err
		}
		for ; next < idx; next++ {
			v.problem(next, "entry", "", "is missing from the log")
			v.grow(next, v.stored[tlog.StoredHashIndex(0, next)])
		}
		next = idx + 1
		h := tlog.RecordHash(text)
		if h != v.stored[tlog.StoredHashIndex(0, idx)] {
			v.problem(idx, kind, id, "%s", v.foreign(idx, h))
		}
		v.grow(idx, h)
		var l Leaf
		if err := strict(text, &l); err != nil {
			v.problem(idx, kind, id, "has an unreadable log entry: %v", err)
			return nil
		}
		if l.V != leafVersion {
			v.problem(idx, kind, id, "has a log entry of version %d, this headgate knows %d", l.V, leafVersion)
		}
		if _, ok := kinds[l.Kind]; !ok {
			v.problem(idx, kind, id, "has a log entry of the unknown kind %q", short(l.Kind))
		}
		if !slices.Equal(leafColumns(l), []any{kind, id, pkg, by, at}) {
			v.problem(idx, l.Kind, l.ID, "was altered: the columns of the log entry are not those of its text")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range tlog.StoredHashCount(n) {
		// Compared with the stored hashes below, so that one altered entry is not
		// reported for every hash above it.
		level, at := tlog.SplitStoredHashIndex(i)
		if level > 0 && v.stored[i] != tlog.NodeHash(v.stored[tlog.StoredHashIndex(level-1, 2*at)], v.stored[tlog.StoredHashIndex(level-1, 2*at+1)]) {
			v.problem(at<<level, "hash", fmt.Sprintf("of level %d", level), "was altered: it is not that of the two below it")
		}
	}
	return nil
}

// grow appends a leaf's hash to the recomputed tree.
func (v *verification) grow(n int64, h tlog.Hash) {
	hs, err := tlog.StoredHashesForRecordHash(n, h, v.reader())
	if err != nil { // reader has every hash below n
		v.problem(n, "hash", "", "cannot be recomputed: %v", err)
		return
	}
	v.computed = append(v.computed, hs...)
}

func (v *verification) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if x < 0 || x >= int64(len(v.computed)) {
				return nil, fmt.Errorf("no hash %d", x)
			}
			out[i] = v.computed[x]
		}
		return out, nil
	})
}

// foreign says where an entry that is not what was logged at idx came from.
func (v *verification) foreign(idx int64, h tlog.Hash) string {
	if _, ok := v.stored[tlog.StoredHashIndex(0, idx)]; !ok {
		return "has a log entry without its hash: the entry was added or the hash removed"
	}
	for i := range v.report.Size {
		if v.stored[tlog.StoredHashIndex(0, i)] == h {
			return fmt.Sprintf("was reordered: it was logged as entry %d", i)
		}
	}
	return "was altered: its log entry is not what was logged here"
}

// rows compares every covered row with the leaf that covers it.
func (v *verification) rows() error {
	for _, kind := range kindOrder {
		k := kinds[kind]
		cols := ""
		for _, c := range k.cols {
			cols += ", t." + c
		}
		q := "SELECT t.id, t.body, t.leaf, l.kind, l.id, l.leaf, (SELECT max(idx) FROM log m WHERE m.kind = ? AND m.id = t.id)" + cols +
			" FROM " + k.table + " t LEFT JOIN log l ON l.idx = t.leaf ORDER BY t.leaf"
		err := each(v.ctx, v.tx, q, []any{kind}, func(rows *sql.Rows) error { return v.row(kind, k, rows) })
		if err != nil {
			return err
		}
		err = each(v.ctx, v.tx, "SELECT l.idx, l.id FROM log l WHERE l.kind = ? AND NOT EXISTS (SELECT 1 FROM "+k.table+" t WHERE t.id = l.id) ORDER BY l.idx LIMIT ?", []any{kind, MaxProblems}, func(rows *sql.Rows) error {
			var idx int64
			var id string
			err := rows.Scan(&idx, &id)
			v.problem(idx, kind, id, "is missing: it was logged and its row is gone")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) row(kind string, k kindSpec, rows *sql.Rows) error {
	var (
		id             string
		body, leafText []byte
		at             int64
		lkind, lid     sql.NullString
		newest         sql.NullInt64
	)
	got := make([]any, len(k.cols))
	dest := []any{&id, &body, &at, &lkind, &lid, &leafText, &newest}
	for i := range got {
		dest = append(dest, &got[i])
	}
	if err := rows.Scan(dest...); err != nil {
		return err
	}
	v.report.Rows++
	var l Leaf
	switch {
	case !lkind.Valid:
		v.problem(at, kind, id, "names a log entry that is missing")
		return nil
	case lkind.String != kind || lid.String != id:
		v.problem(at, kind, id, "was not logged: entry %d is about %s %s", at, lkind.String, lid.String)
		return nil
	case newest.Int64 != at:
		v.problem(newest.Int64, kind, id, "is missing: an older state of it, of entry %d, was put back", at)
	}
	if err := strict(leafText, &l); err == nil && l.Row != rowDigest(body) {
		v.problem(at, kind, id, "was altered: its row is not the one that was logged")
	}
	wantID, want, err := k.derive(body)
	if err != nil || wantID != id {
		v.problem(at, kind, id, "was altered: its row is unreadable or about something else")
		return nil
	}
	for i, w := range want {
		if !same(w, got[i]) {
			v.problem(at, kind, id, "was altered: its column %s is not what its row says", k.cols[i])
		}
	}
	switch kind {
	case "decision":
		return v.decision(at, id, body)
	case "collected":
		var c collectedBody
		if err := strict(body, &c); err != nil {
			return err
		}
		return v.uses(at, kind, id, c.Evidence, false)
	case "pin":
		return v.vouch(at, id, body)
	}
	return nil
}

// same compares a derived column with what the driver returned.
func same(want, got any) bool {
	if b, ok := want.([]byte); ok {
		g, ok := got.([]byte)
		return ok && bytes.Equal(b, g)
	}
	if s, ok := want.(string); ok {
		if b, isBytes := got.([]byte); isBytes {
			return string(b) == s
		}
	}
	return want == got
}

// decision compares the links of a decision with its body: the evidence it
// rests on, and the digests it saw.
func (v *verification) decision(at int64, id string, body []byte) error {
	var d decisionBody
	if err := strict(body, &d); err != nil {
		return err
	}
	if err := v.uses(at, "decision", id, d.Evidence, true); err != nil {
		return err
	}
	saw := map[string]bool{}
	for _, a := range d.Artifacts {
		for _, dg := range a.Digests {
			saw[a.Name+"\n"+dg.String()] = true
		}
	}
	purl := d.Release.PURL()
	found := 0
	err := each(v.ctx, v.tx, "SELECT release, name, digest, leaf FROM seen WHERE release = ? AND leaf <= ? UNION SELECT release, name, digest, leaf FROM seen WHERE leaf = ?", []any{purl, at, at}, func(rows *sql.Rows) error {
		var release, name, digest string
		var leaf int64
		if err := rows.Scan(&release, &name, &digest, &leaf); err != nil {
			return err
		}
		switch known := release == purl && saw[name+"\n"+digest]; {
		case known:
			found++
		case leaf == at:
			v.problem(at, "seen", release, "was altered: decision %s did not see %s", id, digest)
		}
		return nil
	})
	if err == nil && found != len(saw) {
		v.problem(at, "seen", purl, "is missing a digest that decision %s saw", id)
	}
	return err
}

// uses compares the evidence links of a log entry with its body. All must be
// there if whole, or some may have been dropped by GC.
func (v *verification) uses(at int64, kind, id string, refs []evidenceRef, whole bool) error {
	want := make(map[string]int64, len(refs))
	for _, r := range refs {
		want[r.Digest] = millis(r.Checked)
	}
	n := 0
	err := each(v.ctx, v.tx, "SELECT evidence, checked FROM evidence_use WHERE leaf = ?", []any{at}, func(rows *sql.Rows) error {
		var digest []byte
		var checked int64
		if err := rows.Scan(&digest, &checked); err != nil {
			return err
		}
		if w, ok := want[hex.EncodeToString(digest)]; !ok || w != checked {
			v.problem(at, kind, id, "was altered: it does not rest on evidence %x at that time", digest[:8])
			return nil
		}
		n++
		return nil
	})
	if err == nil && whole && n != len(want) {
		v.problem(at, kind, id, "is missing evidence that it rests on: %d of %d pieces are linked", n, len(want))
	}
	return err
}

// vouch compares the signer index of a pin with its body.
func (v *verification) vouch(at int64, id string, body []byte) error {
	var p KnownRelease
	if err := strict(body, &p); err != nil {
		return err
	}
	want := map[string]bool{}
	for _, sg := range slices.Concat(p.Signers, p.BinarySigners) {
		want[sg.Identity()] = true
	}
	got := map[string]bool{}
	err := each(v.ctx, v.tx, "SELECT identity FROM vouch WHERE pin = ?", []any{id}, func(rows *sql.Rows) error {
		var identity string
		err := rows.Scan(&identity)
		got[identity] = true
		return err
	})
	if err == nil && !maps.Equal(want, got) {
		v.problem(at, "pin", id, "was altered: the index of its signers is not what its row says")
	}
	return err
}

// links looks for links that lead nowhere.
func (v *verification) links() error {
	for what, q := range map[string]string{
		"evidence_use":  "SELECT count(*) FROM evidence_use u WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.leaf = u.leaf) AND NOT EXISTS (SELECT 1 FROM collected c WHERE c.leaf = u.leaf)",
		"evidence_blob": "SELECT count(*) FROM evidence_blob b WHERE NOT EXISTS (SELECT 1 FROM evidence e WHERE e.digest = b.evidence) OR NOT EXISTS (SELECT 1 FROM blob x WHERE x.digest = b.blob)",
		"seen":          "SELECT count(*) FROM seen s WHERE NOT EXISTS (SELECT 1 FROM decision d WHERE d.leaf = s.leaf)",
		"vouch":         "SELECT count(*) FROM vouch v WHERE NOT EXISTS (SELECT 1 FROM pin p WHERE p.id = v.pin)",
	} {
		var n int64
		if err := v.tx.QueryRowContext(v.ctx, q).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			v.problem(-1, what, "", "has %d links to rows that are missing", n)
		}
	}
	return nil
}

// evidence recomputes the address of all evidence and the columns beside it.
func (v *verification) evidence() error {
	const q = `SELECT e.digest, e.id, e.release, e.body, e.checked, e.run,
  (SELECT max(u.leaf) FROM evidence_use u WHERE u.evidence = e.digest),
  (SELECT max(u.checked) FROM evidence_use u WHERE u.evidence = e.digest),
  (SELECT coalesce(d.run, c.id) FROM evidence_use u LEFT JOIN decision d ON d.leaf = u.leaf LEFT JOIN collected c ON c.leaf = u.leaf WHERE u.evidence = e.digest ORDER BY u.leaf DESC LIMIT 1),
  (SELECT group_concat(hex(b.blob)) FROM evidence_blob b WHERE b.evidence = e.digest)
FROM evidence e`
	return each(v.ctx, v.tx, q, nil, func(rows *sql.Rows) error {
		var (
			digest, body     []byte
			id, release, run string
			checked          int64
			leaf, newest     sql.NullInt64
			lastRun, blobs   sql.NullString
		)
		if err := rows.Scan(&digest, &id, &release, &body, &checked, &run, &leaf, &newest, &lastRun, &blobs); err != nil {
			return err
		}
		v.report.Evidence++
		at := int64(-1)
		if leaf.Valid {
			at = leaf.Int64
		}
		var e trust.Evidence
		sum := sha256.Sum256(body)
		switch err := strict(body, &e); {
		case !leaf.Valid:
			v.problem(at, "evidence", id, "was never logged: no decision rests on it")
		case !bytes.Equal(sum[:], digest) || err != nil:
			v.problem(at, "evidence", id, "was altered: it does not have its content address")
		case e.Release.PURL() != release || e.ID() != id:
			v.problem(at, "evidence", id, "was altered: its columns are not what its body says")
		case checked != newest.Int64 || run != lastRun.String:
			v.problem(at, "evidence", id, "was altered: it was not confirmed at that time, or not by run %s", short(run))
		default:
			var want, got []string
			for _, r := range e.Raw {
				want = append(want, strings.ToUpper(r.Digest.Value))
			}
			if blobs.String != "" {
				got = strings.Split(blobs.String, ",")
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(slices.Compact(want), got) {
				v.problem(at, "evidence", id, "was altered: the bytes that it judged are not linked")
			}
		}
		return nil
	})
}

// blobs recomputes the address of all bytes.
func (v *verification) blobs() error {
	return each(v.ctx, v.tx, "SELECT digest, data FROM blob", nil, func(rows *sql.Rows) error {
		var digest, data sql.RawBytes
		if err := rows.Scan(&digest, &data); err != nil {
			return err
		}
		if sum := sha256.Sum256(data); !bytes.Equal(sum[:], digest) {
			v.problem(-1, "bytes", "sha256:"+hex.EncodeToString(digest), "were altered: they do not have that digest")
		}
		return nil
	})
}

// heads compares the root with the newest checkpoint in the store, and proves
// that an earlier one is a prefix.
func (v *verification) heads(vkey string, earlier []byte) error {
	root, err := tlog.TreeHash(v.report.Size, v.reader())
	if err != nil {
		return err
	}
	v.report.Root = root.String()
	var cp []byte
	err = v.tx.QueryRowContext(v.ctx, "SELECT value FROM meta WHERE key = 'checkpoint'").Scan(&cp)
	switch {
	case errors.Is(err, sql.ErrNoRows) && v.report.Size == 0:
	case errors.Is(err, sql.ErrNoRows):
		v.problem(v.report.Size, "checkpoint", "", "is missing")
	case err != nil:
		return err
	default:
		v.head("the store's own checkpoint", cp, vkey, v.report.Size)
	}
	if earlier == nil {
		return nil
	}
	if t, ok := v.head("the earlier checkpoint", earlier, vkey, 0); ok {
		v.report.Earlier = t.N
	}
	return nil
}

// head verifies that a checkpoint signs the first entries of the log; all of
// them, if size is not 0.
func (v *verification) head(what string, cp []byte, vkey string, size int64) (tlog.Tree, bool) {
	t, _, err := openCheckpoint(cp, vkey)
	if err != nil {
		v.problem(-1, "checkpoint", "", "cannot be used: %s: %v", what, err)
		return t, false
	}
	switch {
	case t.N > v.report.Size:
		v.problem(v.report.Size, "entries", fmt.Sprintf("%d to %d", v.report.Size, t.N-1), "are missing: %s signs %d entries", what, t.N)
		return t, false
	case size != 0 && t.N < size:
		v.problem(t.N, "entries", fmt.Sprintf("%d to %d", t.N, size-1), "were added behind %s", what)
		return t, false
	}
	h, err := tlog.TreeHash(t.N, v.reader())
	if err != nil || h != t.Hash {
		// The tree head does not say which entry differs; the rows above may.
		v.problem(max(t.N-1, 0), "entries", fmt.Sprintf("0 to %d", max(t.N-1, 0)), "are not those that %s signs: history was rewritten", what)
		return t, false
	}
	return t, true
}

// Check verifies every invariant of the store: the file's integrity by SQLite,
// its foreign keys, that its schema has nothing added, removed or changed, and
// all that VerifyLog verifies.
func (s *Store) Check(ctx context.Context) error {
	var out string
	if err := s.r.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&out); err != nil {
		return s.wrap("checking", err)
	}
	if out != "ok" {
		return s.wrap("checking", fmt.Errorf("%w: %s", ErrCorrupt, out))
	}
	if err := s.checkSchema(ctx); err != nil {
		return s.wrap("checking", err)
	}
	if _, err := s.VerifyLog(ctx, nil); err != nil {
		return err
	}
	return s.wrap("checking", each(ctx, s.r, "PRAGMA foreign_key_check", nil, func(*sql.Rows) error {
		return fmt.Errorf("%w: a row refers to one that is missing", ErrCorrupt)
	}))
}

// checkSchema compares the schema with the embedded one: a trigger or view that
// somebody added could change what queries see.
func (s *Store) checkSchema(ctx context.Context) error {
	mem, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		return err
	}
	defer mem.Close()
	mem.SetMaxOpenConns(1)
	for v := 1; v <= SchemaVersion; v++ {
		text, err := schemas.ReadFile(fmt.Sprintf("schema/%04d.sql", v))
		if err != nil {
			return err
		}
		if _, err := mem.ExecContext(ctx, string(text)); err != nil {
			return err
		}
	}
	want, err := schemaOf(ctx, mem)
	if err != nil {
		return err
	}
	got, err := schemaOf(ctx, s.r)
	if err != nil {
		return err
	}
	for name, w := range want {
		if got[name] != w {
			return fmt.Errorf("%w: %s is missing from its schema, or was changed", ErrTampered, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%w: %s was added to its schema", ErrTampered, name)
		}
	}
	return nil
}

func schemaOf(ctx context.Context, q queryer) (map[string]string, error) {
	out := map[string]string{}
	err := each(ctx, q, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*'", nil, func(rows *sql.Rows) error {
		var typ, name, text string
		err := rows.Scan(&typ, &name, &text)
		out[typ+" "+name] = text
		return err
	})
	return out, err
}
