package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// lookupChunk is how many keys one bulk look-up carries.
const lookupChunk = 1000

// Record records a run with its decisions, their evidence, the automatic
// acceptances and the pins, in one transaction: all or nothing.
func (s *Store) Record(ctx context.Context, c Commit) (Recorded, error) {
	if len(c.Decisions) > MaxDecisions {
		return Recorded{}, fmt.Errorf("run has %d decisions, more than %d", len(c.Decisions), MaxDecisions)
	}
	var out Recorded
	err := s.write(ctx, "recording in", func(w *writeTx) (err error) {
		out, err = w.record(c)
		return err
	})
	if err != nil {
		return Recorded{}, err
	}
	return out, nil
}

// chain is a, and then b.
func chain[T any](a, b iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, seq := range []iter.Seq[T]{a, b} {
			for v := range seq {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// all are the decisions of the commit, in their order.
func (c *Commit) all() iter.Seq2[Decision, error] {
	return func(yield func(Decision, error) bool) {
		for _, d := range c.Decisions {
			if !yield(d, nil) {
				return
			}
		}
		if c.Stream != nil {
			c.Stream(yield)
		}
	}
}

func (w *writeTx) record(c Commit) (Recorded, error) {
	run := c.Run
	if run.ID == "" {
		id, err := newID("r-", 8)
		if err != nil {
			return Recorded{}, err
		}
		run.ID = id
	} else if taken, err := w.exists("run", run.ID); err != nil || taken {
		return Recorded{}, errors.Join(err, fmt.Errorf("run %s: %w", short(run.ID), ErrConflict))
	}
	run.Started, run.Finished = norm(run.Started), norm(run.Finished)
	if len(run.Summary) > 0 && !json.Valid(run.Summary) {
		return Recorded{}, fmt.Errorf("run %s: summary is no JSON", run.ID)
	}
	if _, err := w.insert(Leaf{Kind: "run", Op: "record", ID: run.ID, By: run.Requester, Detail: strings.TrimSpace(run.Command + " " + string(run.Verdict))}, run); err != nil {
		return Recorded{}, err
	}
	out := Recorded{RunID: run.ID, DecisionIDs: make([]string, 0, len(c.Decisions))}
	var stopped []Decision
	var places []int // of stopped among all
	for d, err := range c.all() {
		if err != nil {
			return Recorded{}, err
		}
		n := len(out.DecisionIDs)
		if n >= MaxDecisions {
			return Recorded{}, fmt.Errorf("run has more than %d decisions", MaxDecisions)
		}
		id, err := w.decision(run, n, d)
		if err != nil {
			return Recorded{}, fmt.Errorf("decision about %s: %w", d.Release, err)
		}
		out.DecisionIDs = append(out.DecisionIDs, id)
		if reopens(d.Verdict) {
			d.Input = nil
			stopped, places = append(stopped, d), append(places, n)
		}
	}
	if err := w.expire(); err != nil {
		return Recorded{}, fmt.Errorf("ending requests: %w", err)
	}
	for i, d := range stopped {
		if err := w.reopen(d, out.DecisionIDs[places[i]]); err != nil {
			return Recorded{}, fmt.Errorf("requests for %s: %w", d.Release, err)
		}
	}
	if err := w.s.at("decisions"); err != nil {
		return Recorded{}, err
	}
	if len(c.Collected) > 0 {
		refs, err := w.evidenceAll(c.Collected, w.now, run.ID)
		if err != nil {
			return Recorded{}, err
		}
		idx, err := w.insert(Leaf{Kind: "collected", Op: "record", ID: run.ID, By: run.Requester}, collectedBody{ID: run.ID, Evidence: refs})
		if err != nil {
			return Recorded{}, err
		}
		if err := w.uses(idx, refs); err != nil {
			return Recorded{}, err
		}
	}
	if _, err := w.accept(c.Accept); err != nil {
		return Recorded{}, err
	}
	if err := w.s.at("acceptances"); err != nil {
		return Recorded{}, err
	}
	pins := slices.Values(c.Pin)
	if c.PinStream != nil {
		pins = chain(pins, c.PinStream)
	}
	for p := range pins {
		if err := w.pin(p, run.Requester); err != nil {
			return Recorded{}, fmt.Errorf("pin of %s: %w", p.Release, err)
		}
	}
	out.LogSize = w.next
	return out, w.s.at("pins")
}

func (w *writeTx) exists(table, id string) (bool, error) {
	st, err := w.stmt("SELECT count(*) FROM " + table + " WHERE id = ?")
	if err != nil {
		return false, err
	}
	var n int
	err = st.QueryRowContext(w.ctx, id).Scan(&n)
	return n > 0, err
}

var verdicts = []trust.Verdict{trust.Allow, trust.Hold, trust.Block, trust.Undecided}

func (w *writeTx) decision(run Run, i int, d Decision) (string, error) {
	if d.Release.IsZero() {
		return "", errors.New("it names no release")
	}
	if !slices.Contains(verdicts, d.Verdict) {
		return "", fmt.Errorf("unknown verdict %q", short(string(d.Verdict)))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", run.ID, i, d.Release.PURL()))
	b := decisionBody{
		ID: "d-" + hex.EncodeToString(sum[:10]), RunID: run.ID, Release: d.Release, Artifacts: d.Artifacts, Verdict: d.Verdict,
		Assurance: d.Assurance, Continuity: d.Continuity, Findings: d.Findings, Signers: d.Signers, Facts: d.Facts, At: norm(d.At),
	}
	if b.At.IsZero() {
		b.At = w.now
	}
	checked := norm(d.EvidenceChecked)
	if checked.IsZero() {
		checked = b.At
	}
	refs, err := w.evidenceAll(d.Evidence, checked, run.ID)
	if err != nil {
		return "", err
	}
	b.Evidence = refs
	if len(d.Input) > 0 {
		key, err := w.blob(d.Input)
		if err != nil {
			return "", err
		}
		b.Input = hex.EncodeToString(key)
	}
	idx, err := w.insert(Leaf{Kind: "decision", Op: "record", ID: b.ID, By: run.Requester, Detail: string(d.Verdict),
		Package: packagePURL(d.Release.Package), Release: d.Release.PURL()}, b)
	if err != nil {
		return "", err
	}
	if err := w.uses(idx, refs); err != nil {
		return "", err
	}
	for _, a := range d.Artifacts {
		for _, dg := range a.Digests {
			if err := w.add("seen", []string{"release", "name", "digest", "leaf"}, "ON CONFLICT DO NOTHING", d.Release.PURL(), a.Name, dg.String(), idx); err != nil {
				return "", err
			}
		}
	}
	return b.ID, nil
}

// pin writes a pin. What is pinned already keeps First and Baseline.
func (w *writeTx) pin(p KnownRelease, by string) error {
	if p.Release.IsZero() || p.Release.Version == "" {
		return errors.New("it names no release")
	}
	id := p.Release.PURL()
	p.First, p.Last = w.now, w.now
	leaf := Leaf{Kind: "pin", Op: "add", ID: id, By: by, Detail: string(p.Verdict), Package: packagePURL(p.Release.Package), Release: id}
	var old KnownRelease
	was, err := w.current("pin", id, &old)
	if err != nil {
		return err
	}
	if was < 0 {
		_, err = w.insert(leaf, p)
	} else {
		leaf.Op = "renew"
		p = renewed(old, p)
		if err := errors.Join(w.flushTable("vouch"), w.exec("DELETE FROM vouch WHERE pin = ?", id)); err != nil {
			return err
		}
		_, err = w.replace(leaf, p, was)
	}
	if err != nil {
		return err
	}
	for _, sg := range slices.Concat(p.Signers, p.BinarySigners) {
		if err := w.add("vouch", []string{"identity", "pin"}, "ON CONFLICT DO NOTHING", sg.Identity(), id); err != nil {
			return err
		}
	}
	return nil
}

// MaxPinnedArtifacts bounds the artifacts that a pin keeps of earlier runs; those
// of the newest are kept whatever their number.
const MaxPinnedArtifacts = 256

// renewed is what is known of a release that was let in again. Artifacts and
// digests that this source does not state stay known: a copy without digest
// inside another package must not make headgate forget the bytes it has seen.
func renewed(old, p KnownRelease) KnownRelease {
	p.Artifacts = mergeArtifacts(old.Artifacts, p.Artifacts)
	if old.Kind == "" && p.Kind != "" {
		// What the registry's release rests on is not what this copy of it rests on.
		p.Kind, p.Assurance, p.Signers, p.Verdict = old.Kind, old.Assurance, old.Signers, old.Verdict
	}
	p.First, p.Baseline = old.First, p.Baseline || old.Baseline
	if len(p.BinarySigners) == 0 {
		p.BinarySigners = old.BinarySigners // what is pinned is not looked into again
	}
	if old.Last.After(p.Last) {
		p.Last = old.Last // the clock ran backwards
	}
	return p
}

func mergeArtifacts(old, now []trust.Artifact) []trust.Artifact {
	out := slices.Clone(now)
	for _, a := range old {
		i := slices.IndexFunc(out, func(b trust.Artifact) bool { return b.Name == a.Name })
		switch {
		case i < 0 && len(out) < MaxPinnedArtifacts:
			out = append(out, a)
		case i >= 0 && out[i].Digests.Compare(a.Digests) != trust.Disagree:
			ds := slices.Clone(out[i].Digests)
			for _, d := range a.Digests {
				if ds.Get(d.Algorithm).IsZero() {
					ds = append(ds, d)
				}
			}
			out[i].Digests = ds
		}
	}
	return out
}

// bulk runs q, whose parameter is a JSON array of keys, over all keys.
func bulk(ctx context.Context, q queryer, query string, keys []string, scan func(*sql.Rows) error) error {
	slices.Sort(keys)
	for chunk := range slices.Chunk(slices.Compact(keys), lookupChunk) {
		arg, err := json.Marshal(chunk)
		if err != nil {
			return err
		}
		if err := each(ctx, q, query, []any{string(arg)}, scan); err != nil {
			return err
		}
	}
	return nil
}

func each(ctx context.Context, q queryer, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// byRelease maps the purls of releases to the releases as the caller has them.
func byRelease(rs []trust.Release) (map[string]trust.Release, []string) {
	m := make(map[string]trust.Release, len(rs))
	keys := make([]string, 0, len(rs))
	for _, r := range rs {
		k := r.PURL()
		m[k] = r
		keys = append(keys, k)
	}
	return m, keys
}

func byPackage(ps []trust.Package) (map[string]trust.Package, []string) {
	m := make(map[string]trust.Package, len(ps))
	keys := make([]string, 0, len(ps))
	for _, p := range ps {
		k := p.PURL()
		m[k] = p
		keys = append(keys, k)
	}
	return m, keys
}

func scanEvidence(rows *sql.Rows) (digest []byte, release string, _ StoredEvidence, _ error) {
	var (
		body    []byte
		run     string
		checked int64
	)
	if err := rows.Scan(&digest, &release, &body, &checked, &run); err != nil {
		return nil, "", StoredEvidence{}, err
	}
	sum := sha256.Sum256(body)
	if !slices.Equal(sum[:], digest) {
		return nil, "", StoredEvidence{}, fmt.Errorf("%w: evidence %x of %s was altered", ErrTampered, digest[:8], release)
	}
	e := StoredEvidence{Checked: fromMillis(checked), RunID: run}
	if err := strict(body, &e.Evidence); err != nil {
		return nil, "", StoredEvidence{}, fmt.Errorf("evidence %x: %w", digest[:8], err)
	}
	if e.Release.PURL() != release {
		return nil, "", StoredEvidence{}, fmt.Errorf("%w: evidence %x is about %s, not %s", ErrTampered, digest[:8], e.Release, release)
	}
	return digest, release, e, nil
}

// Evidence returns what is kept about the releases, the newest first. Judged
// bytes are not loaded: see Blob.
func (s *Store) Evidence(ctx context.Context, rs []trust.Release) (map[trust.Release][]StoredEvidence, error) {
	m, keys := byRelease(rs)
	out := make(map[trust.Release][]StoredEvidence, len(rs))
	err := bulk(ctx, s.r, "SELECT e.digest, e.release, e.body, e.checked, e.run FROM json_each(?) j CROSS JOIN evidence e ON e.release = j.value ORDER BY e.checked DESC, e.rowid", keys,
		func(rows *sql.Rows) error {
			_, k, e, err := scanEvidence(rows)
			if err == nil {
				out[m[k]] = append(out[m[k]], e)
			}
			return err
		})
	if err != nil {
		return nil, s.wrap("reading evidence of", err)
	}
	return out, nil
}

// Blob returns judged bytes by their SHA-256.
func (s *Store) Blob(ctx context.Context, d trust.Digest) ([]byte, error) {
	if d.Algorithm != trust.SHA256 {
		return nil, fmt.Errorf("bytes are kept by sha256, not by %q", short(string(d.Algorithm)))
	}
	var data []byte
	err := s.r.QueryRowContext(ctx, "SELECT data FROM blob WHERE digest = ?", d.Bytes()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("bytes %s: %w", d, ErrNotFound)
	}
	if err != nil {
		return nil, s.wrap("reading", err)
	}
	if sum := sha256.Sum256(data); !trust.DigestOf(trust.SHA256, sum[:]).Equal(d) {
		return nil, s.wrap("reading", fmt.Errorf("%w: bytes %s were altered", ErrTampered, d))
	}
	return data, nil
}

// Known returns the releases of the packages that were allowed or pinned, the
// newest pin first.
func (s *Store) Known(ctx context.Context, ps []trust.Package) (map[trust.Package][]KnownRelease, error) {
	m, keys := byPackage(ps)
	out := make(map[trust.Package][]KnownRelease, len(ps))
	err := bulk(ctx, s.r, "SELECT p.package, p.body FROM json_each(?) j CROSS JOIN pin p ON p.package = j.value ORDER BY p.leaf DESC", keys,
		func(rows *sql.Rows) error {
			var k string
			var body []byte
			if err := rows.Scan(&k, &body); err != nil {
				return err
			}
			var v KnownRelease
			if err := strict(body, &v); err != nil {
				return fmt.Errorf("%w: pin of %s: %w", ErrTampered, k, err)
			}
			if v.Release.Package.PURL() != k {
				return fmt.Errorf("%w: pin of %s is about %s", ErrTampered, k, v.Release)
			}
			out[m[k]] = append(out[m[k]], v)
			return nil
		})
	if err != nil {
		return nil, s.wrap("reading pins of", err)
	}
	return out, nil
}

// Seen returns every digest that any decision about the releases looked at, in
// the order of first sight, whatever the verdict was. A digest of an algorithm
// that differs from the first one of the same artifact means that upstream
// changed published bytes.
func (s *Store) Seen(ctx context.Context, rs []trust.Release) (map[trust.Release][]SeenArtifact, error) {
	m, keys := byRelease(rs)
	out := make(map[trust.Release][]SeenArtifact, len(rs))
	err := bulk(ctx, s.r, "SELECT s.release, s.name, s.digest, d.id, d.at FROM json_each(?) j CROSS JOIN seen s ON s.release = j.value CROSS JOIN decision d ON d.leaf = s.leaf ORDER BY s.leaf, s.name, s.digest", keys,
		func(rows *sql.Rows) error {
			var k, digest string
			var v SeenArtifact
			var at int64
			err := rows.Scan(&k, &v.Name, &digest, &v.Decision, &at)
			if err != nil {
				return err
			}
			v.First = fromMillis(at)
			if v.Digest, err = trust.ParseDigest(digest); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrTampered, k, err)
			}
			out[m[k]] = append(out[m[k]], v)
			return nil
		})
	if err != nil {
		return nil, s.wrap("reading seen artifacts of", err)
	}
	return out, nil
}

// Decision returns a decision with its evidence, and its run. A unique prefix
// of the id will do.
func (s *Store) Decision(ctx context.Context, id string) (Decision, Run, error) {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return Decision{}, Run{}, s.wrap("reading decision of", err)
	}
	defer tx.Rollback()
	id, err = resolve(ctx, tx, "decision", id)
	if err != nil {
		return Decision{}, Run{}, s.wrap("reading decision of", err)
	}
	ds, err := decisions(ctx, tx, true, "d.id = ?", []any{id}, 1)
	if err == nil && len(ds) != 1 {
		err = ErrNotFound
	}
	if err != nil {
		return Decision{}, Run{}, s.wrap("reading decision of", err)
	}
	var body []byte
	var run Run
	if err = tx.QueryRowContext(ctx, "SELECT body FROM run WHERE id = ?", ds[0].RunID).Scan(&body); err == nil {
		err = strict(body, &run)
	}
	return ds[0], run, s.wrap("reading decision of", err)
}

// Decisions returns the decisions that the filter selects, newest first.
func (s *Store) Decisions(ctx context.Context, f DecisionFilter) ([]Decision, error) {
	cond, args := "1", []any{}
	where := func(c string, v any) { cond, args = cond+" AND "+c, append(args, v) }
	if !f.Package.IsZero() {
		where("d.package = ?", f.Package.PURL())
	}
	if !f.Release.IsZero() {
		where("d.release = ?", f.Release.PURL())
	}
	if !f.Since.IsZero() {
		where("d.at >= ?", millis(f.Since))
	}
	if f.Verdict != "" {
		where("d.verdict = ?", string(f.Verdict))
	}
	if f.RunID != "" {
		where("d.run = ?", f.RunID)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.wrap("reading decisions of", err)
	}
	defer tx.Rollback()
	ds, err := decisions(ctx, tx, true, cond, args, limit)
	return ds, s.wrap("reading decisions of", err)
}

// Runs returns the newest runs, at most limit.
func (s *Store) Runs(ctx context.Context, limit int) ([]Run, error) {
	var out []Run
	err := each(ctx, s.r, "SELECT body FROM run ORDER BY leaf DESC LIMIT ?", []any{limit}, func(rows *sql.Rows) error {
		var body []byte
		var r Run
		if err := rows.Scan(&body); err != nil {
			return err
		}
		err := strict(body, &r)
		out = append(out, r)
		return err
	})
	return out, s.wrap("reading runs of", err)
}

// decisions reads decisions with their evidence, and with the policy's input where
// it is asked for.
func decisions(ctx context.Context, q queryer, withInput bool, cond string, args []any, limit int) ([]Decision, error) {
	var out []Decision
	var refs [][]evidenceRef
	from := "NULL, l.leaf FROM decision d JOIN log l ON l.idx = d.leaf"
	if withInput {
		from = "b.data, l.leaf FROM decision d JOIN log l ON l.idx = d.leaf LEFT JOIN blob b ON b.digest = d.input"
	}
	err := each(ctx, q, "SELECT d.body, d.leaf, "+from+" WHERE "+cond+" ORDER BY d.leaf DESC LIMIT ?", append(args, limit), func(rows *sql.Rows) error {
		var body, input, leaf []byte
		var idx int64
		if err := rows.Scan(&body, &idx, &input, &leaf); err != nil {
			return err
		}
		var b decisionBody
		if err := strict(body, &b); err != nil {
			return fmt.Errorf("%w: decision of log entry %d: %w", ErrTampered, idx, err)
		}
		var l Leaf
		if err := strict(leaf, &l); err != nil || l.Row != rowDigest(body) || l.ID != b.ID {
			return fmt.Errorf("%w: decision %s is not the one that log entry %d covers", ErrTampered, b.ID, idx)
		}
		if sum := sha256.Sum256(input); withInput && b.Input != "" && hex.EncodeToString(sum[:]) != b.Input {
			return fmt.Errorf("%w: input of decision %s was altered", ErrTampered, b.ID)
		}
		out = append(out, Decision{ID: b.ID, RunID: b.RunID, Release: b.Release, Artifacts: b.Artifacts, Verdict: b.Verdict, Assurance: b.Assurance,
			Continuity: b.Continuity, Findings: b.Findings, Signers: b.Signers, Facts: b.Facts, Input: input, LogIndex: idx, At: b.At})
		refs = append(refs, b.Evidence)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found, err := evidenceOf(ctx, q, refs)
	if err != nil {
		return nil, err
	}
	for i := range out {
		d := &out[i]
		d.Evidence = make([]trust.Evidence, 0, len(refs[i]))
		for _, r := range refs[i] {
			e, ok := found[r.Digest]
			if !ok {
				return nil, fmt.Errorf("decision %s: %w: evidence %.16s is missing", d.ID, ErrTampered, r.Digest)
			}
			d.Evidence = append(d.Evidence, e)
			if d.EvidenceChecked.IsZero() || r.Checked.Before(d.EvidenceChecked) {
				d.EvidenceChecked = r.Checked
			}
		}
	}
	return out, nil
}

// evidenceOf loads all evidence that decisions name, by its hex digest.
func evidenceOf(ctx context.Context, q queryer, refs [][]evidenceRef) (map[string]trust.Evidence, error) {
	var keys []string
	for _, rs := range refs {
		for _, r := range rs {
			keys = append(keys, r.Digest)
		}
	}
	out := make(map[string]trust.Evidence, len(keys))
	err := bulk(ctx, q, "SELECT e.digest, e.release, e.body, e.checked, e.run FROM json_each(?) j CROSS JOIN evidence e ON e.digest = unhex(j.value)", keys,
		func(rows *sql.Rows) error {
			digest, _, e, err := scanEvidence(rows)
			out[hex.EncodeToString(digest)] = e.Evidence
			return err
		})
	return out, err
}
