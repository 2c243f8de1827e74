package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The text of a trust set (headgate.trust, "headgate signers export"):
//
//	{"format":"headgate-trust/1"}
//	{"acceptance":{…},"key":"KEY","sig":"BASE64"}      any number
//	{"approval":{…}}                                   any number
//	{"key":"KEY","material":{…},"sig":"BASE64"}        any number
//	{"set":{"created":…,"digest":…,"key":"KEY","records":…,"serial":…},"sig":"BASE64"}
//
// Every line is JSON without white space. All lines after the first are sorted
// by their bytes and none appears twice; a file that a line-by-line merge left
// in another order, or with a line twice, is read the same. KEY is the note
// verifier key of the store that exported the line.
//
// Every acceptance and piece of key material is signed by itself, an approval is
// a DSSE envelope: so lines of several stores and branches can stand in one file.
// The set line binds all acceptances and material of its key: digest is the
// SHA-256 of the key's lines, sorted, each with its line end; serial grows with
// every change. Only an import needs it, to notice what is missing or older.
//
// Signatures are Ed25519, over "headgate-trust/1 acceptance\n" (or "material",
// or "set") and the JSON of the object.
const trustFormat = "headgate-trust/1"

const (
	// MaxTrustSet bounds a trust set, in bytes.
	MaxTrustSet = 64 << 20
	// MaxTrustLine bounds a line of a trust set, in bytes: key material of
	// MaxMaterial in base64 fits in.
	MaxTrustLine = 6 << 20
)

// ErrRollback is a trust set that is older than the one that was imported
// before, or another one under the same serial.
var ErrRollback = errors.New("trust set is not newer than the one imported before")

// ErrWidens is a trust set that would accept more than before, and whose
// difference nobody has confirmed.
var ErrWidens = errors.New("trust set accepts more than before")

type acceptanceLine struct {
	Acceptance Acceptance `json:"acceptance"`
	Key        string     `json:"key"`
	Sig        string     `json:"sig"`
}

type approvalLine struct {
	Approval json.RawMessage `json:"approval"`
}

type setLine struct {
	Set SetHead `json:"set"`
	Sig string  `json:"sig"`
}

// SetHead binds the acceptances and key material of one key in a trust set.
type SetHead struct {
	Created time.Time `json:"created"`
	Digest  string    `json:"digest"`
	Key     string    `json:"key"`
	Records int       `json:"records"`
	Serial  int64     `json:"serial"`
}

// TrustRecord is an acceptance of a trust set with the key that signed it.
type TrustRecord struct {
	Acceptance Acceptance
	Key        string
	line       string
}

// TrustSet is a trust set whose lines were all verified against the keys that
// they name. Whether those keys are anybody's is for the caller to say.
type TrustSet struct {
	Records   []TrustRecord
	Materials []MaterialRecord
	Approvals []json.RawMessage // DSSE envelopes, unverified
	heads     []SetHead
	lines     []string
}

// ExportOptions say what ExportTrust writes.
type ExportOptions struct {
	// Scopes narrow the export to acceptances within them; none means all.
	Scopes []Scope
	// Approvals adds the approvals that have not ended.
	Approvals bool
}

func signLine(s note.Signer, kind string, body []byte) (string, error) {
	sig, err := s.Sign([]byte(trustFormat + " " + kind + "\n" + string(body)))
	return base64.StdEncoding.EncodeToString(sig), err
}

func verifyLine(vkey, kind string, body []byte, sig string) error {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(sig)
	if err != nil || !v.Verify([]byte(trustFormat+" "+kind+"\n"+string(body)), b) {
		return fmt.Errorf("signature by %s does not verify", v.Name())
	}
	return nil
}

// ExportTrust writes what was accepted and revoked in this store, not what was
// imported, as a trust set signed by the store's key. The same content gives
// the same bytes.
func (s *Store) ExportTrust(ctx context.Context, o ExportOptions) ([]byte, error) {
	var within []parsed
	for _, sc := range o.Scopes {
		p, err := splitScope(string(sc))
		if err != nil {
			return nil, err
		}
		within = append(within, p)
	}
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("exporting", err)
	}
	defer tx.Rollback()
	as, err := acceptances(ctx, tx, "origin = ''")
	if err != nil {
		return nil, s.wrap("exporting", err)
	}
	var lines []string
	for _, a := range as {
		sc, err := splitScope(string(a.Scope))
		if err != nil {
			return nil, s.wrap("exporting", err)
		}
		if len(within) > 0 && !slices.ContainsFunc(within, func(w parsed) bool { return w.contains(sc) }) {
			continue
		}
		body, err := canonical(a)
		if err != nil {
			return nil, err
		}
		sig, err := signLine(s.signer, "acceptance", body)
		if err != nil {
			return nil, err
		}
		line, err := canonical(acceptanceLine{Acceptance: a, Key: s.vkey, Sig: sig})
		if err != nil {
			return nil, err
		}
		lines = append(lines, string(line))
	}
	keys, err := s.materialLines(ctx, tx, within)
	if err != nil {
		return nil, s.wrap("exporting", err)
	}
	lines = append(lines, keys...)
	head := SetHead{Key: s.vkey, Records: len(lines), Digest: linesDigest(lines)}
	// The serial is the place in the log behind the newest change of a signer or key: it
	// grows with every change and is the same as long as nothing changes.
	var at int64
	err = tx.QueryRowContext(ctx, "SELECT idx + 1, at FROM log WHERE kind IN ('acceptance', 'material') ORDER BY idx DESC LIMIT 1").Scan(&head.Serial, &at)
	if ignoreNoRows(err) != nil {
		return nil, s.wrap("exporting", err)
	}
	head.Created = fromMillis(at)
	line, err := signSet(s.signer, head)
	if err != nil {
		return nil, err
	}
	lines = append(lines, line)
	if o.Approvals {
		more, err := s.approvalLines(ctx, tx)
		if err != nil {
			return nil, s.wrap("exporting", err)
		}
		lines = append(lines, more...)
	}
	return joinLines(lines), nil
}

func signSet(signer note.Signer, head SetHead) (string, error) {
	body, err := canonical(head)
	if err != nil {
		return "", err
	}
	sig, err := signLine(signer, "set", body)
	if err != nil {
		return "", err
	}
	line, err := canonical(setLine{Set: head, Sig: sig})
	return string(line), err
}

func (s *Store) approvalLines(ctx context.Context, q queryer) ([]string, error) {
	var lines []string
	rows, err := q.QueryContext(ctx, "SELECT id, release, body FROM approval WHERE until = 0 OR until > ?", millis(norm(s.now())))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		_, a, err := scanApproval(rows)
		if err != nil {
			return nil, err
		}
		line, err := ApprovalLine(a.Envelope)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, rows.Err()
}

// ApprovalLine is the line of a trust set that carries an approval.
func ApprovalLine(envelope []byte) (string, error) {
	line, err := canonical(approvalLine{Approval: envelope})
	if err != nil {
		return "", fmt.Errorf("approval: %w", err)
	}
	return string(line), nil
}

func linesDigest(lines []string) string {
	h := sha256.New()
	for _, l := range slices.Compact(slices.Sorted(slices.Values(lines))) {
		h.Write([]byte(l + "\n"))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// joinLines is the canonical text of a trust set with these lines.
func joinLines(lines []string) []byte {
	lines = slices.Compact(slices.Sorted(slices.Values(lines)))
	return []byte(`{"format":"` + trustFormat + "\"}\n" + strings.Join(append(lines, ""), "\n"))
}

// ParseTrustSet reads a trust set and verifies every signed line against the
// key that it names. A line that is malformed, not canonical or whose signature
// does not verify refuses the whole set.
func ParseTrustSet(b []byte) (TrustSet, error) {
	if len(b) > MaxTrustSet {
		return TrustSet{}, fmt.Errorf("trust set of %d bytes is longer than %d", len(b), MaxTrustSet)
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return TrustSet{}, errors.New("trust set does not end with a line end: it may be cut off")
	}
	lines := strings.Split(text, "\n")
	if lines[0] != `{"format":"`+trustFormat+`"}` {
		return TrustSet{}, fmt.Errorf("trust set begins with %q: this headgate reads %s", short(lines[0]), trustFormat)
	}
	var t TrustSet
	t.lines = slices.Compact(slices.Sorted(slices.Values(lines[1:])))
	for i, line := range t.lines {
		if err := t.add(line); err != nil {
			return TrustSet{}, fmt.Errorf("trust set, line beginning %q (%d of %d when sorted): %w", short(line), i+1, len(t.lines), err)
		}
	}
	return t, nil
}

func (t *TrustSet) add(line string) error {
	if len(line) > MaxTrustLine {
		return fmt.Errorf("it is longer than %d bytes", MaxTrustLine)
	}
	b := []byte(line)
	if err := rejectDuplicates(b); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(line, `{"acceptance":`):
		var l acceptanceLine
		if err := exact(b, &l); err != nil {
			return err
		}
		body, err := canonical(l.Acceptance)
		if err != nil {
			return err
		}
		if err := verifyLine(l.Key, "acceptance", body, l.Sig); err != nil {
			return err
		}
		if l.Acceptance.Origin != "" {
			return errors.New("it was imported by the store that exported it: only first-hand acceptances are shared")
		}
		if _, err := l.Acceptance.complete(); err != nil {
			return err
		}
		t.Records = append(t.Records, TrustRecord{Acceptance: l.Acceptance, Key: l.Key, line: line})
	case strings.HasPrefix(line, `{"approval":`):
		var l approvalLine
		if err := exact(b, &l); err != nil {
			return err
		}
		if len(l.Approval) > MaxEnvelope {
			return fmt.Errorf("approval is longer than %d bytes", MaxEnvelope)
		}
		t.Approvals = append(t.Approvals, l.Approval)
	case strings.HasPrefix(line, `{"key":`):
		m, err := parseMaterialLine(line)
		if err != nil {
			return err
		}
		t.Materials = append(t.Materials, m)
	case strings.HasPrefix(line, `{"set":`):
		var l setLine
		if err := exact(b, &l); err != nil {
			return err
		}
		body, err := canonical(l.Set)
		if err != nil {
			return err
		}
		if err := verifyLine(l.Set.Key, "set", body, l.Sig); err != nil {
			return err
		}
		t.heads = append(t.heads, l.Set)
	default:
		return errors.New("unknown kind of line")
	}
	return nil
}

// exact reads JSON that must be what canonical writes of the result.
func exact(b []byte, v any) error {
	if err := strict(b, v); err != nil {
		return err
	}
	again, err := canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, again) {
		return errors.New("it is not in canonical form")
	}
	return nil
}

// By returns the acceptances that one of the keys signed. What a key revoked
// is among them, marked.
func (t TrustSet) By(keys ...string) []Acceptance {
	var out []Acceptance
	for _, r := range t.Records {
		if slices.Contains(keys, r.Key) {
			out = append(out, r.Acceptance)
		}
	}
	return out
}

// Head returns the set line of the key. It is an error if there is none, more
// than one, or if the lines of the key are not exactly those it binds.
func (t TrustSet) Head(key string) (SetHead, error) {
	var found []SetHead
	for _, h := range t.heads {
		if h.Key == key {
			found = append(found, h)
		}
	}
	name, _, _ := strings.Cut(key, "+")
	switch len(found) {
	case 0:
		return SetHead{}, fmt.Errorf("trust set holds nothing that %s signed as a set", short(name))
	case 1:
	default:
		return SetHead{}, fmt.Errorf("trust set holds %d sets of %s: export it again", len(found), short(name))
	}
	var lines []string
	for _, r := range t.Records {
		if r.Key == key {
			lines = append(lines, r.line)
		}
	}
	for _, m := range t.Materials {
		if m.Key == key {
			lines = append(lines, m.line)
		}
	}
	if found[0].Records != len(lines) || found[0].Digest != linesDigest(lines) {
		return SetHead{}, fmt.Errorf("trust set of %s lacks lines that were signed, or has more: it was cut or merged; export it again", short(name))
	}
	return found[0], nil
}

// emptySet is a trust set without lines.
const emptySet = `{"format":"` + trustFormat + "\"}\n"

// AddApproval puts an approval into a trust set; existing is nil for a new one.
func AddApproval(existing, envelope []byte) ([]byte, error) {
	line, err := ApprovalLine(envelope)
	if err != nil {
		return nil, err
	}
	if len(existing) == 0 {
		existing = []byte(emptySet)
	}
	return MergeTrust(existing, []byte(emptySet+line+"\n"))
}

// OnlyApprovalsAdded reports whether head is base with nothing but approvals
// added, in whatever order; base is nil if there was none. Approvals count by
// their own signatures alone, so that such a change loosens nothing.
func OnlyApprovalsAdded(base, head []byte) bool {
	if len(base) == 0 {
		base = []byte(emptySet)
	}
	was, err := ParseTrustSet(base)
	if err != nil {
		return false
	}
	is, err := ParseTrustSet(head)
	if err != nil {
		return false
	}
	left := map[string]bool{}
	for _, l := range was.lines {
		left[l] = true
	}
	for _, l := range is.lines {
		if !left[l] && !strings.HasPrefix(l, `{"approval":`) {
			return false
		}
		delete(left, l)
	}
	return len(left) == 0
}

// MergeTrust puts the lines of a newer export into an existing trust set: the
// lines of the export's keys are replaced, those of other keys and all
// approvals stay. An export that is older than what is there is ErrRollback.
func MergeTrust(existing, export []byte) ([]byte, error) {
	old, err := ParseTrustSet(existing)
	if err != nil {
		return nil, err
	}
	add, err := ParseTrustSet(export)
	if err != nil {
		return nil, err
	}
	replaced := map[string]bool{}
	for _, h := range add.heads {
		if _, err := add.Head(h.Key); err != nil {
			return nil, err
		}
		for _, o := range old.heads {
			if o.Key == h.Key && o.Serial > h.Serial {
				return nil, fmt.Errorf("%w: it has serial %d, the file %d", ErrRollback, h.Serial, o.Serial)
			}
		}
		replaced[h.Key] = true
	}
	lines := slices.Clone(add.lines)
	for _, r := range old.Records {
		if !replaced[r.Key] {
			lines = append(lines, r.line)
		}
	}
	for _, m := range old.Materials {
		if !replaced[m.Key] {
			lines = append(lines, m.line)
		}
	}
	for _, l := range old.lines {
		var set setLine
		if strings.HasPrefix(l, `{"approval":`) {
			lines = append(lines, l)
		} else if strings.HasPrefix(l, `{"set":`) && strict([]byte(l), &set) == nil && !replaced[set.Set.Key] {
			lines = append(lines, l)
		}
	}
	return joinLines(lines), nil
}

// ImportOptions say whose trust set is imported, and for what.
type ImportOptions struct {
	// Origin is the name under which the set is kept apart.
	Origin string
	// Key is the note verifier key that must have signed the set. It is pinned
	// by the first import; a different one later needs ReplaceKey.
	Key        string
	ReplaceKey bool
	// Narrow are the scopes for which the set counts; at least one.
	Narrow []Scope
	// UnsafeNarrow allows scopes in Narrow that cover strangers, such as "*".
	UnsafeNarrow bool
	By, Reason   string
	// Confirm is the Token of the difference that a person saw; it is needed if
	// the difference widens what is accepted.
	Confirm string
}

// TrustDiff is what an import would change.
type TrustDiff struct {
	Origin string
	Head   SetHead
	Was    int64 // serial imported before; 0 for the first import

	Added      []Acceptance // accepted by the new set, unknown before
	Extended   []Acceptance // the end moved back, or was dropped
	Reinstated []Acceptance // revoked by the set before, not any more
	Shortened  []Acceptance // the end came closer
	Revoked    []Acceptance // revoked by the new set
	Withdrawn  []Acceptance // not in the new set any more: ended
	Outside    []Acceptance // not within the narrowed scopes: ignored
	Kept       []Acceptance // revoked here: stays revoked whatever the set says
	Unchanged  int

	Keys KeyDiff // the same of key material

	// Token names this very difference, for ImportOptions.Confirm.
	Token string

	updates []update
}

type update struct {
	op  string
	a   Acceptance
	was int64
}

// Widens reports whether the import would accept more than before.
func (d TrustDiff) Widens() bool {
	return len(d.Added)+len(d.Extended)+len(d.Reinstated)+len(d.Keys.Added)+len(d.Keys.Reinstated) > 0
}

// PreviewImport says what ImportTrust would change, without changing anything.
func (s *Store) PreviewImport(ctx context.Context, set []byte, o ImportOptions) (TrustDiff, error) {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return TrustDiff{}, s.wrap("reading", err)
	}
	defer tx.Rollback()
	d, _, _, err := s.compare(ctx, tx, set, o)
	return d, s.wrap("comparing a trust set with", err)
}

// ImportTrust imports the trust set and returns what changed. Nothing is
// widened unless o.Confirm is the Token of exactly this difference: ErrWidens
// then comes with the difference to show.
func (s *Store) ImportTrust(ctx context.Context, set []byte, o ImportOptions) (TrustDiff, error) {
	if err := errors.Join(text("who imports", o.By), text("the reason", o.Reason)); err != nil {
		return TrustDiff{}, err
	}
	var d TrustDiff
	err := s.write(ctx, "importing a trust set into", func(w *writeTx) error {
		var row Origin
		var was int64
		var err error
		if d, row, was, err = s.compare(ctx, w.tx, set, o); err != nil {
			return err
		}
		if d.Widens() && o.Confirm != d.Token {
			return fmt.Errorf("%w: %d new, %d extended, %d reinstated, %d keys; look at the difference and confirm it", ErrWidens, len(d.Added), len(d.Extended), len(d.Reinstated), len(d.Keys.Added)+len(d.Keys.Reinstated))
		}
		if err := d.Keys.write(w, o); err != nil {
			return err
		}
		for _, u := range d.updates {
			l := Leaf{Kind: "acceptance", Op: u.op, ID: u.a.ID, By: o.By, Detail: "import of " + o.Origin + ": " + u.a.Identity + " for " + string(u.a.Scope), Package: u.a.Scope.pkg()}
			if u.op == "withdraw" {
				u.a.Until = w.now
			}
			if u.was < 0 {
				_, err = w.insert(l, u.a)
			} else {
				_, err = w.replace(l, u.a, u.was)
			}
			if err != nil {
				return err
			}
		}
		row.At, row.By = w.now, o.By
		l := Leaf{Kind: "origin", Op: "import", ID: row.Name, By: o.By, Detail: fmt.Sprintf("serial %d", row.Serial)}
		if was < 0 {
			_, err = w.insert(l, row)
		} else {
			_, err = w.replace(l, row, was)
		}
		return err
	})
	return d, err
}

// Origins returns the trust sets that were imported, by name.
func (s *Store) Origins(ctx context.Context) ([]Origin, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT body FROM origin ORDER BY id")
	if err != nil {
		return nil, s.wrap("reading origins of", err)
	}
	defer rows.Close()
	var out []Origin
	for rows.Next() {
		var body []byte
		var o Origin
		if err := errors.Join(rows.Scan(&body), strict(body, &o)); err != nil {
			return nil, s.wrap("reading origins of", err)
		}
		out = append(out, o)
	}
	return out, s.wrap("reading origins of", rows.Err())
}

// compare works out the difference between a set and what was imported from
// its origin before.
func (s *Store) compare(ctx context.Context, q queryer, set []byte, o ImportOptions) (TrustDiff, Origin, int64, error) {
	fail := func(err error) (TrustDiff, Origin, int64, error) { return TrustDiff{}, Origin{}, 0, err }
	if o.Origin == "" || len(o.Origin) > 128 || strings.ContainsFunc(o.Origin, func(r rune) bool { return r < 0x21 || r == 0x7f }) {
		return fail(fmt.Errorf("origin %q: a name of 1 to 128 characters without spaces", short(o.Origin)))
	}
	if len(o.Narrow) == 0 {
		return fail(errors.New("name at least one scope that the trust set is to count for"))
	}
	var narrow []parsed
	row := Origin{Name: o.Origin, Key: o.Key}
	for _, n := range o.Narrow {
		sc, err := parseScope(string(n), o.UnsafeNarrow)
		if err != nil {
			return fail(err)
		}
		p, err := splitScope(string(sc))
		if err != nil {
			return fail(err)
		}
		narrow, row.Narrow = append(narrow, p), append(row.Narrow, sc)
	}
	t, err := ParseTrustSet(set)
	if err != nil {
		return fail(err)
	}
	head, err := t.Head(o.Key)
	if err != nil {
		return fail(err)
	}
	d := TrustDiff{Origin: o.Origin, Head: head}
	row.Serial, row.Digest = head.Serial, head.Digest
	was := int64(-1)
	var body []byte
	var old Origin
	err = q.QueryRowContext(ctx, "SELECT leaf, body FROM origin WHERE id = ?", o.Origin).Scan(&was, &body)
	if ignoreNoRows(err) != nil {
		return fail(err)
	}
	if err == nil {
		if err := strict(body, &old); err != nil {
			return fail(fmt.Errorf("%w: origin %s: %w", ErrTampered, o.Origin, err))
		}
		d.Was = old.Serial
		switch {
		case old.Key != o.Key && !o.ReplaceKey:
			return fail(fmt.Errorf("trust sets of %s are signed with %s, not with %s: if its owner confirms the new key, replace it", o.Origin, old.Key, short(o.Key)))
		case old.Key != o.Key: // another log, another count
		case head.Serial < old.Serial:
			return fail(fmt.Errorf("%w: it has serial %d, %d was imported on %s", ErrRollback, head.Serial, old.Serial, old.At.Format(time.DateOnly)))
		case head.Serial == old.Serial && head.Digest != old.Digest:
			return fail(fmt.Errorf("%w: two sets of %s have serial %d", ErrRollback, o.Origin, head.Serial))
		}
	}
	have := map[string]Acceptance{}
	leaves := map[string]int64{}
	rows, err := q.QueryContext(ctx, "SELECT id, body, leaf FROM acceptance WHERE origin = ?", o.Origin)
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var leaf int64
		var body []byte
		var a Acceptance
		if err := rows.Scan(&id, &body, &leaf); err != nil {
			return fail(err)
		}
		if err := strict(body, &a); err != nil || a.ID != id {
			return fail(fmt.Errorf("%w: acceptance %s was altered", ErrTampered, id))
		}
		have[id], leaves[id] = a, leaf
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	d.fill(t.By(o.Key), narrow, have, leaves, norm(s.now()))
	pinned, err := pinnedMaterials(ctx, q, "1")
	if err != nil {
		return fail(err)
	}
	d.Keys.fill(t.MaterialsBy(o.Key), narrow, pinned, o.Origin)
	if d.Token, err = d.token(); err != nil {
		return fail(err)
	}
	return d, row, was, nil
}

// narrowed returns the part of a that is within n.
func narrowed(a Acceptance, n parsed, origin string) (Acceptance, bool) {
	sc, err := splitScope(string(a.Scope))
	if err != nil {
		return a, false
	}
	switch {
	case n.contains(sc):
	case sc.contains(n):
		a.Scope, a.UnsafeScope = n.canonical(), n.kind == scopeAll
	default:
		return a, false
	}
	a.ID, a.Identity, a.Origin = "", "", origin
	if a.Revoked != nil {
		r := *a.Revoked
		r.Origin = origin
		a.Revoked = &r
	}
	a, err = a.complete()
	return a, err == nil
}

func (d *TrustDiff) fill(records []Acceptance, narrow []parsed, have map[string]Acceptance, leaves map[string]int64, now time.Time) {
	want := map[string]Acceptance{}
	for _, a := range records {
		inside := false
		for _, n := range narrow {
			b, ok := narrowed(a, n, d.Origin)
			if !ok {
				continue
			}
			inside = true
			// Two records can fall together when narrowed. A revocation wins, then the earlier end.
			if c, dup := want[b.ID]; !dup || c.Revoked == nil && (b.Revoked != nil || stricterEnd(b, c)) {
				want[b.ID] = b
			}
		}
		if !inside {
			d.Outside = append(d.Outside, a)
		}
	}
	for id, a := range want {
		old, ok := have[id]
		was := int64(-1)
		if ok {
			was = leaves[id]
		}
		op := ""
		switch {
		case !ok && a.Revoked != nil:
			op, d.Revoked = "revoke", append(d.Revoked, a)
		case !ok && a.Ended(now):
			d.Unchanged++
		case !ok:
			op, d.Added = "accept", append(d.Added, a)
		case old.Revoked != nil && old.Revoked.Origin == "":
			d.Kept = append(d.Kept, old)
		case old.Revoked == nil && a.Revoked != nil:
			op, d.Revoked = "revoke", append(d.Revoked, a)
		case old.Revoked != nil && a.Revoked == nil && a.Ended(now):
			d.Kept = append(d.Kept, old)
		case old.Revoked != nil && a.Revoked == nil:
			op, d.Reinstated = "reinstate", append(d.Reinstated, a)
		case old.Until.Equal(a.Until) || a.Revoked != nil || old.Ended(now) && a.Ended(now):
			d.Unchanged++
		case stricterEnd(a, old):
			op, d.Shortened = "shorten", append(d.Shortened, a)
		default:
			op, d.Extended = "extend", append(d.Extended, a)
		}
		if op != "" {
			d.updates = append(d.updates, update{op: op, a: a, was: was})
		}
	}
	for id, old := range have {
		if _, ok := want[id]; ok || old.Revoked != nil || old.Ended(now) {
			continue
		}
		d.Withdrawn = append(d.Withdrawn, old)
		d.updates = append(d.updates, update{op: "withdraw", a: old, was: leaves[id]})
	}
	for _, l := range [][]Acceptance{d.Added, d.Extended, d.Reinstated, d.Shortened, d.Revoked, d.Withdrawn, d.Outside, d.Kept} {
		slices.SortFunc(l, func(a, b Acceptance) int { return strings.Compare(a.ID, b.ID) })
	}
	slices.SortFunc(d.updates, func(a, b update) int { return cmp.Compare(a.a.ID, b.a.ID) })
}

// stricterEnd reports whether a ends before b.
func stricterEnd(a, b Acceptance) bool {
	return !a.Until.IsZero() && (b.Until.IsZero() || a.Until.Before(b.Until))
}

// token names the difference: the set and every change that it makes.
func (d TrustDiff) token() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n%s\n", d.Origin, d.Head.Key, d.Head.Serial, d.Head.Digest)
	for _, u := range d.updates {
		body, err := canonical(u.a)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d %s\n", u.op, u.was, body)
	}
	for _, u := range d.Keys.updates {
		body, err := canonical(u.m)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s\n", u.op, body)
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}
