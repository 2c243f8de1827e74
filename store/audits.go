package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
)

// Bounds of audits.
const (
	// MaxSources bounds the sources of one audit.
	MaxSources = 100_000
	// MaxUses bounds the releases of all sources of one audit together.
	MaxUses = 20_000_000
	// MaxAuditName bounds the name of a source, in bytes.
	MaxAuditName = 1024
	// ResumeWithin is how old an unfinished audit may be to be continued.
	ResumeWithin = 24 * time.Hour
	// keepClosed is for how many audits a finding that is gone stays known, so that
	// sources that are audited less often still see it go.
	keepClosed = 400
)

// Audit is one audit. Seq orders audits; the clock does not.
type Audit struct {
	Seq      int64           `json:"seq"`
	Started  time.Time       `json:"started"`
	Finished time.Time       `json:"finished,omitzero"`
	Verdict  trust.Verdict   `json:"verdict,omitempty"`
	Summary  json.RawMessage `json:"summary,omitempty"`
}

// AuditedSource is what is known of a source that was audited.
type AuditedSource struct {
	Name string `json:"name"`
	// Digest covers the list of its releases, as UseDigest makes it.
	Digest []byte    `json:"-"`
	First  int64     `json:"first"` // audits, by Seq
	Last   int64     `json:"last"`
	LastAt time.Time `json:"lastAt"`
}

// AuditFinding is a finding as audits keep it: about a release (in every source
// that holds it), or about one source.
type AuditFinding struct {
	Release trust.Release // zero for one about the source
	Source  string        // empty for one about the release
	Key     string        // tells the findings about one release or source apart
	First   int64         // the audit that found it
	Closed  int64         // the audit that did not find it any more; 0 while it stands
	At      time.Time     // of First
	Body    json.RawMessage
}

// SourceUse is one source of FinishAudit with the releases that it holds.
type SourceUse struct {
	Name string
	// Releases are indexes of AuditCommit.Releases, sorted, each once.
	Releases []int32
}

// AuditCommit is all that a finished audit leaves behind.
type AuditCommit struct {
	Seq      int64
	Finished time.Time
	Verdict  trust.Verdict
	Summary  json.RawMessage
	Releases []trust.Release
	Sources  []SourceUse
	// Findings are all that stand now. Those about Unchecked releases stay open
	// though this audit did not find them: it could not look.
	Findings  []AuditFinding
	Unchecked []trust.Release
}

// Use is one source that holds a release.
type Use struct {
	Source  string        `json:"source"`
	Release trust.Release `json:"purl"`
	// Since is when an audit saw the release in the source first, Audited when the
	// source was audited last.
	Since   time.Time `json:"since"`
	Audited time.Time `json:"audited"`
}

// UseDigest is the digest of a source's list of releases: the purls at the indexes,
// a line each.
func UseDigest(purls []string, at []int32) []byte {
	h := sha256.New()
	for _, i := range at {
		io.WriteString(h, purls[i]) // a hash does not fail
		io.WriteString(h, "\n")
	}
	return h.Sum(nil)
}

// BeginAudit starts an audit, or goes on with one of the same job that was cut
// short less than ResumeWithin ago by the clock; one that began in the future is
// left alone.
func (s *Store) BeginAudit(ctx context.Context, job string, started time.Time) (seq int64, resumed bool, err error) {
	err = s.write(ctx, "recording in", func(w *writeTx) error {
		var at int64
		err := w.tx.QueryRowContext(ctx, "SELECT seq, started FROM audit WHERE job = ? AND finished = 0 ORDER BY seq DESC LIMIT 1", job).Scan(&seq, &at)
		switch {
		case err == nil:
			if age := started.Sub(fromMillis(at)); age >= 0 && age < ResumeWithin {
				resumed = true
				return nil
			}
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		// What was cut short too long ago has no use any more.
		if err := w.exec("DELETE FROM audit WHERE finished = 0 AND job = ?", job); err != nil {
			return err
		}
		return w.tx.QueryRowContext(ctx, "INSERT INTO audit (job, started, finished, verdict, summary) VALUES (?, ?, 0, '', '') RETURNING seq", job, millis(started)).Scan(&seq)
	})
	return seq, resumed, err
}

// AuditItem is the settled result of one item of an unfinished audit.
type AuditItem struct {
	Key  []byte
	Body []byte
}

// PutAuditItems keeps results of an unfinished audit, all or none.
func (s *Store) PutAuditItems(ctx context.Context, seq int64, items []AuditItem) error {
	return s.write(ctx, "recording in", func(w *writeTx) error {
		for _, it := range items {
			if len(it.Body) > MaxBody {
				return fmt.Errorf("the result of an audited release has %d bytes, more than %d", len(it.Body), MaxBody)
			}
			if err := w.add("audit_result", []string{"audit", "item", "body"}, "ON CONFLICT (audit, item) DO UPDATE SET body = excluded.body", seq, it.Key, it.Body); err != nil {
				return err
			}
		}
		return nil
	})
}

// AuditItems calls f with every result of an unfinished audit.
func (s *Store) AuditItems(ctx context.Context, seq int64, f func(AuditItem) error) error {
	return s.wrap("reading audits of", each(ctx, s.r, "SELECT item, body FROM audit_result WHERE audit = ?", []any{seq}, func(rows *sql.Rows) error {
		var it AuditItem
		if err := rows.Scan(&it.Key, &it.Body); err != nil {
			return err
		}
		return f(it)
	}))
}

// AuditedSources returns what is known of the sources, by name; of all sources
// without names.
func (s *Store) AuditedSources(ctx context.Context, names []string) (map[string]AuditedSource, error) {
	out := map[string]AuditedSource{}
	scan := func(rows *sql.Rows) error {
		var a AuditedSource
		var at int64
		err := rows.Scan(&a.Name, &a.Digest, &a.First, &a.Last, &at)
		a.LastAt = fromMillis(at)
		out[a.Name] = a
		return err
	}
	const cols = "SELECT a.name, a.digest, a.first, a.last, a.last_at FROM "
	var err error
	if len(names) == 0 {
		err = each(ctx, s.r, cols+"audit_source a", nil, scan)
	} else {
		err = bulk(ctx, s.r, cols+"json_each(?) j CROSS JOIN audit_source a ON a.name = j.value", slices.Clone(names), scan)
	}
	return out, s.wrap("reading audits of", err)
}

// Uses returns what the source held at its last audit, and since which audit.
func (s *Store) Uses(ctx context.Context, source string) (map[trust.Release]int64, error) {
	out := map[trust.Release]int64{}
	err := each(ctx, s.r, "SELECT r.release, u.since FROM audit_source a CROSS JOIN audit_use u ON u.source = a.id CROSS JOIN audit_release r ON r.id = u.release WHERE a.name = ?", []any{source}, func(rows *sql.Rows) error {
		var purl string
		var since int64
		if err := rows.Scan(&purl, &since); err != nil {
			return err
		}
		r, err := trust.ParseRelease(purl)
		out[r] = since
		return err
	})
	return out, s.wrap("reading audits of", err)
}

// AuditFindings returns the findings about the releases and the sources, those
// that are gone too, each once.
func (s *Store) AuditFindings(ctx context.Context, rs []trust.Release, sources []string) ([]AuditFinding, error) {
	var out []AuditFinding
	scan := func(rows *sql.Rows) error {
		var f AuditFinding
		var purl string
		var at int64
		if err := rows.Scan(&purl, &f.Source, &f.Key, &f.First, &f.Closed, &at, (*[]byte)(&f.Body)); err != nil {
			return err
		}
		f.At = fromMillis(at)
		if purl != "" {
			r, err := trust.ParseRelease(purl)
			if err != nil {
				return err
			}
			f.Release = r
		}
		out = append(out, f)
		return nil
	}
	const cols = "SELECT f.release, f.source, f.key, f.first, f.closed, f.at, f.body FROM json_each(?) j CROSS JOIN audit_finding f ON "
	_, keys := byRelease(rs)
	err := bulk(ctx, s.r, cols+"f.release = j.value", keys, scan)
	if err == nil {
		err = bulk(ctx, s.r, cols+"f.source = j.value WHERE f.source <> ''", slices.Clone(sources), scan)
	}
	return out, s.wrap("reading audits of", err)
}

// Audits returns the newest finished audits, newest first.
func (s *Store) Audits(ctx context.Context, limit int) ([]Audit, error) {
	var out []Audit
	err := each(ctx, s.r, "SELECT seq, started, finished, verdict, summary FROM audit WHERE finished <> 0 ORDER BY seq DESC LIMIT ?", []any{limit}, func(rows *sql.Rows) error {
		var a Audit
		var started, finished int64
		var verdict string
		err := rows.Scan(&a.Seq, &started, &finished, &verdict, (*[]byte)(&a.Summary))
		a.Started, a.Finished, a.Verdict = fromMillis(started), fromMillis(finished), trust.Verdict(verdict)
		out = append(out, a)
		return err
	})
	return out, s.wrap("reading audits of", err)
}

// Where returns every use of the package's releases, by source and release.
func (s *Store) Where(ctx context.Context, p trust.Package) ([]Use, error) {
	var out []Use
	err := each(ctx, s.r, "SELECT a.name, r.release, u.at, a.last_at FROM audit_release r CROSS JOIN audit_use u ON u.release = r.id CROSS JOIN audit_source a ON a.id = u.source WHERE r.package = ? ORDER BY a.name, r.release", []any{p.PURL()}, func(rows *sql.Rows) error {
		var u Use
		var purl string
		var since, at int64
		err := rows.Scan(&u.Source, &purl, &since, &at)
		if err != nil {
			return err
		}
		u.Since, u.Audited = fromMillis(since), fromMillis(at)
		u.Release, err = trust.ParseRelease(purl)
		out = append(out, u)
		return err
	})
	return out, s.wrap("reading audits of", err)
}

// FinishAudit records what an audit found, and closes what it did not find any
// more, in one transaction.
func (s *Store) FinishAudit(ctx context.Context, c AuditCommit) error {
	if len(c.Sources) > MaxSources {
		return fmt.Errorf("the audit has %d sources, more than %d", len(c.Sources), MaxSources)
	}
	n := 0
	for _, u := range c.Sources {
		n += len(u.Releases)
		if u.Name == "" || len(u.Name) > MaxAuditName {
			return fmt.Errorf("the name of a source has %d bytes, not 1 to %d", len(u.Name), MaxAuditName)
		}
		for i, r := range u.Releases {
			if r < 0 || int(r) >= len(c.Releases) || i > 0 && u.Releases[i-1] >= r {
				return fmt.Errorf("source %q: its list of releases is not in order", short(u.Name))
			}
		}
	}
	if n > MaxUses {
		return fmt.Errorf("the sources of the audit hold %d releases together, more than %d", n, MaxUses)
	}
	return s.write(ctx, "recording in", func(w *writeTx) error { return w.finishAudit(c) })
}

func (w *writeTx) finishAudit(c AuditCommit) error {
	at := norm(c.Finished)
	if at.IsZero() {
		at = w.now
	}
	if err := w.changed("UPDATE audit SET finished = ?, verdict = ?, summary = ? WHERE seq = ? AND finished = 0", millis(at), string(c.Verdict), string(c.Summary), c.Seq); err != nil {
		return fmt.Errorf("audit %d: %w", c.Seq, err)
	}
	if err := w.exec("DELETE FROM audit_result WHERE audit = ?", c.Seq); err != nil {
		return err
	}
	if err := w.sources(c, at); err != nil {
		return err
	}
	if err := w.s.at("audit:sources"); err != nil {
		return err
	}
	if err := w.findings(c, at); err != nil {
		return err
	}
	return w.s.at("audit:findings")
}

// sources brings the table of uses up to date. A source whose list has not
// changed costs one row.
func (w *writeTx) sources(c AuditCommit, at time.Time) error {
	purls := make([]string, len(c.Releases))
	for i, r := range c.Releases {
		purls[i] = r.PURL()
		if err := w.add("audit_release", []string{"release", "package"}, "ON CONFLICT DO NOTHING", purls[i], packagePURL(r.Package)); err != nil {
			return err
		}
	}
	if err := w.flushTable("audit_release"); err != nil {
		return err
	}
	ids := make([]int64, len(purls))
	byPURL := make(map[string][]int, len(purls))
	for i, p := range purls {
		byPURL[p] = append(byPURL[p], i)
	}
	if err := bulk(w.ctx, w.tx, "SELECT r.release, r.id FROM json_each(?) j CROSS JOIN audit_release r ON r.release = j.value", slices.Clone(purls), func(rows *sql.Rows) error {
		var p string
		var id int64
		err := rows.Scan(&p, &id)
		for _, i := range byPURL[p] {
			ids[i] = id
		}
		return err
	}); err != nil {
		return err
	}
	for _, u := range c.Sources {
		digest := UseDigest(purls, u.Releases)
		var id int64
		var was []byte
		err := w.tx.QueryRowContext(w.ctx, "SELECT id, digest FROM audit_source WHERE name = ?", u.Name).Scan(&id, &was)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			err = w.tx.QueryRowContext(w.ctx, "INSERT INTO audit_source (name, digest, first, last, last_at) VALUES (?, ?, ?, ?, ?) RETURNING id", u.Name, digest, c.Seq, c.Seq, millis(at)).Scan(&id)
		case err == nil:
			err = w.exec("UPDATE audit_source SET digest = ?, last = ?, last_at = ? WHERE id = ?", digest, c.Seq, millis(at), id)
		}
		if err != nil {
			return err
		}
		if slices.Equal(digest, was) {
			continue
		}
		if err := w.sourceUses(id, u, ids, c.Seq, at); err != nil {
			return err
		}
	}
	return w.flushTable("audit_use")
}

func (w *writeTx) sourceUses(source int64, u SourceUse, ids []int64, seq int64, at time.Time) error {
	gone := map[int64]bool{}
	if err := each(w.ctx, w.tx, "SELECT release FROM audit_use WHERE source = ?", []any{source}, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		gone[id] = true
		return err
	}); err != nil {
		return err
	}
	for _, i := range u.Releases {
		if gone[ids[i]] {
			delete(gone, ids[i])
			continue
		}
		if err := w.add("audit_use", []string{"release", "source", "since", "at"}, "ON CONFLICT DO NOTHING", ids[i], source, seq, millis(at)); err != nil {
			return err
		}
	}
	for id := range gone {
		if err := w.exec("DELETE FROM audit_use WHERE release = ? AND source = ?", id, source); err != nil {
			return err
		}
	}
	return nil
}

// findings opens, keeps and closes findings about what this audit looked at.
func (w *writeTx) findings(c AuditCommit, at time.Time) error {
	type key struct{ release, source, key string }
	stands := map[key]bool{}
	for _, f := range c.Findings {
		k := key{source: f.Source, key: f.Key}
		if !f.Release.IsZero() {
			k.release = f.Release.PURL()
		}
		if (k.release == "") == (k.source == "") || k.key == "" || !json.Valid(f.Body) || len(f.Body) > MaxBody {
			return fmt.Errorf("audit finding %q is about nothing, or has no body", short(k.key))
		}
		stands[k] = true
		// What had gone and is back is new; what stands keeps its beginning.
		if err := w.exec(`INSERT INTO audit_finding (release, source, key, first, closed, at, body) VALUES (?, ?, ?, ?, 0, ?, ?)
			ON CONFLICT DO UPDATE SET body = excluded.body, closed = 0,
			first = CASE closed WHEN 0 THEN first ELSE excluded.first END, at = CASE closed WHEN 0 THEN at ELSE excluded.at END`,
			k.release, k.source, k.key, c.Seq, millis(at), string(f.Body)); err != nil {
			return err
		}
	}
	unchecked := map[string]bool{}
	for _, r := range c.Unchecked {
		unchecked[r.PURL()] = true
	}
	var closed []key
	scan := func(rows *sql.Rows) error {
		var k key
		err := rows.Scan(&k.release, &k.source, &k.key)
		if !stands[k] && !unchecked[k.release] {
			closed = append(closed, k)
		}
		return err
	}
	_, purls := byRelease(c.Releases)
	names := make([]string, len(c.Sources))
	for i := range c.Sources {
		names[i] = c.Sources[i].Name
	}
	const cols = "SELECT f.release, f.source, f.key FROM json_each(?) j CROSS JOIN audit_finding f ON "
	if err := bulk(w.ctx, w.tx, cols+"f.release = j.value WHERE f.closed = 0 AND f.source = ''", purls, scan); err != nil {
		return err
	}
	if err := bulk(w.ctx, w.tx, cols+"f.source = j.value WHERE f.closed = 0 AND f.source <> ''", names, scan); err != nil {
		return err
	}
	for _, k := range closed {
		if err := w.exec("UPDATE audit_finding SET closed = ? WHERE release = ? AND source = ? AND key = ?", c.Seq, k.release, k.source, k.key); err != nil {
			return err
		}
	}
	return w.exec("DELETE FROM audit_finding WHERE closed <> 0 AND closed < ?", c.Seq-keepClosed)
}

// LatestDecisions returns the newest decision about each release that was made
// no later than at (zero for any), with its evidence and without the policy's input.
func (s *Store) LatestDecisions(ctx context.Context, rs []trust.Release, at time.Time) (map[trust.Release]Decision, error) {
	m, keys := byRelease(rs)
	slices.Sort(keys)
	out := make(map[trust.Release]Decision, len(rs))
	limit := int64(1)<<62 - 1
	if !at.IsZero() {
		limit = millis(at)
	}
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("reading decisions of", err)
	}
	defer tx.Rollback()
	for chunk := range slices.Chunk(slices.Compact(keys), lookupChunk) {
		arg, err := json.Marshal(chunk)
		if err != nil {
			return nil, err
		}
		ds, err := decisions(ctx, tx, false, "d.leaf IN (SELECT (SELECT max(x.leaf) FROM decision x WHERE x.release = j.value AND x.at <= ?) FROM json_each(?) j)", []any{limit, string(arg)}, len(chunk))
		if err != nil {
			return nil, s.wrap("reading decisions of", err)
		}
		for _, d := range ds {
			out[m[d.Release.PURL()]] = d
		}
	}
	return out, nil
}
