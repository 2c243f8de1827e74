package advisories

import (
	"archive/zip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// Bounds of databases.
const (
	// MaxRecords bounds the records of one ecosystem.
	MaxRecords = 2_000_000
	// MaxUncompressed bounds an archive's contents, in bytes.
	MaxUncompressed = 64 << 30
	// MinShare is how many records a newer archive must have of what the present
	// index has, in percent: databases do not halve.
	MinShare = 50
	// DefaultMaxAge is the age above which a database counts as missing.
	DefaultMaxAge = 7 * 24 * time.Hour
	// maxLooseFiles bounds a directory of loose records.
	maxLooseFiles = 200_000
)

// schemaVersion is the version of the index files; others are rebuilt.
const schemaVersion = 2

const schema = `
CREATE TABLE meta(schema INTEGER NOT NULL, ecosystem TEXT NOT NULL, records INTEGER NOT NULL, withdrawn INTEGER NOT NULL, newest INTEGER NOT NULL, taken INTEGER NOT NULL) STRICT;
CREATE TABLE affected(key TEXT NOT NULL, id TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
CREATE TABLE digests(digest TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
`

const indexes = `
CREATE INDEX affected_key ON affected(key);
CREATE INDEX digests_digest ON digests(digest);
`

// Index is a directory with one SQLite file per ecosystem.
type Index struct {
	dir    string
	maxAge time.Duration
	kev    map[string]bool
	// asOf is the moment that is asked about, zero for now; today the clock's then.
	asOf, today time.Time
}

// Open returns the index in a directory, which need not exist yet. maxAge is
// DefaultMaxAge if zero.
func Open(dir string, maxAge time.Duration) *Index {
	if maxAge <= 0 {
		maxAge = DefaultMaxAge
	}
	return &Index{dir: dir, maxAge: maxAge}
}

// SetKEV gives CVE ids that are known to be exploited.
func (x *Index) SetKEV(cves map[string]bool) { x.kev = cves }

func (x *Index) path(base string) string {
	return filepath.Join(x.dir, strings.ReplaceAll(url.PathEscape(base), "%20", "_")+".db")
}

// Status is what is known of one ecosystem's database.
type Status struct {
	Ecosystem string        `json:"ecosystem"`
	Records   int           `json:"records"`
	Withdrawn int           `json:"withdrawn"`
	Newest    time.Time     `json:"newest"` // latest modification of a record
	Taken     time.Time     `json:"taken"`  // when the archive was published or copied
	Age       time.Duration `json:"age"`    // since Taken
	// Problem says why the database cannot be used; empty if it can.
	Problem string `json:"problem,omitempty"`
}

// Status lists the databases that are there.
func (x *Index) Status(ctx context.Context, now time.Time) ([]Status, error) {
	var out []Status
	eco := Ecosystems()
	slices.Sort(eco)
	for _, base := range slices.Compact(eco) {
		if _, err := os.Stat(x.path(base)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		st, db, err := x.open(ctx, base, now)
		if err != nil {
			out = append(out, Status{Ecosystem: base, Problem: err.Error()})
			continue
		}
		if err := db.Close(); err != nil {
			return nil, fmt.Errorf("advisories of %s: %w", base, err)
		}
		out = append(out, st)
	}
	return out, nil
}

// open opens the database of an ecosystem and refuses one that cannot be relied
// on. A Status with a Problem comes without a database.
func (x *Index) open(ctx context.Context, base string, now time.Time) (Status, *sql.DB, error) {
	path := x.path(base)
	if _, err := os.Stat(path); err != nil {
		return Status{}, nil, fmt.Errorf("advisories of %s are missing: run headgate db update", base)
	}
	st, db, err := openFile(ctx, path, base)
	if err != nil {
		return Status{}, nil, fmt.Errorf("advisories of %s cannot be read: %w: run headgate db update", base, err)
	}
	st.Age = now.Sub(st.Taken)
	switch {
	case st.Records == 0:
		st.Problem = "is empty"
	case st.Age > x.maxAge:
		st.Problem = fmt.Sprintf("is %d days old, %d are allowed", st.Age/(24*time.Hour), x.maxAge/(24*time.Hour))
	case st.Age < -24*time.Hour:
		st.Problem = "is from the future"
	}
	if st.Problem != "" {
		return st, nil, errors.Join(fmt.Errorf("the database of %s %s: run headgate db update", base, st.Problem), db.Close())
	}
	return st, db, nil
}

func openFile(ctx context.Context, path, base string) (Status, *sql.DB, error) {
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&immutable=1")
	if err != nil {
		return Status{}, nil, err
	}
	var version int
	var newest, taken int64
	st := Status{}
	err = db.QueryRowContext(ctx, `SELECT schema, ecosystem, records, withdrawn, newest, taken FROM meta`).Scan(&version, &st.Ecosystem, &st.Records, &st.Withdrawn, &newest, &taken)
	switch {
	case err != nil:
	case version != schemaVersion:
		err = fmt.Errorf("version %d of the index, want %d", version, schemaVersion)
	case st.Ecosystem != base:
		err = fmt.Errorf("it is of %s", clip(st.Ecosystem))
	}
	if err != nil {
		return Status{}, nil, errors.Join(err, db.Close())
	}
	st.Newest, st.Taken = time.Unix(newest, 0).UTC(), time.Unix(taken, 0).UTC()
	return st, db, nil
}

// Update reads advisories from a directory of <Ecosystem>/all.zip, a directory
// of loose JSON records, or a single zip file, and replaces the databases of the
// ecosystems that it finds. Each is replaced at once or not at all.
//
// It refuses an archive with records of another ecosystem than its directory
// says, one with fewer than MinShare percent of the present records, one whose
// newest record is older than the present one's, and one with a record that
// cannot be read.
func (x *Index) Update(ctx context.Context, from string, now time.Time) ([]Status, error) {
	info, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("reading advisories: %w", err)
	}
	if !info.IsDir() {
		return x.updateZip(ctx, from, "", now)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, fmt.Errorf("reading advisories: %w", err)
	}
	var out []Status
	loose := false
	for _, e := range entries {
		if !e.IsDir() {
			loose = loose || isRecordName(e.Name())
			continue
		}
		path := filepath.Join(from, e.Name(), "all.zip")
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if !known(e.Name()) {
			return out, fmt.Errorf("reading advisories: directory %q is no ecosystem that headgate knows", clip(e.Name()))
		}
		st, err := x.updateZip(ctx, path, e.Name(), now)
		if err != nil {
			return out, err
		}
		out = append(out, st...)
	}
	if loose {
		st, err := x.updateLoose(ctx, from, entries, now)
		if err != nil {
			return out, err
		}
		out = append(out, st...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading advisories: %s has neither <ecosystem>/all.zip nor OSV records", from)
	}
	return out, nil
}

// UpdateFile is Update from one archive, which holds records of one ecosystem only.
func (x *Index) UpdateFile(ctx context.Context, path, ecosystem string, now time.Time) ([]Status, error) {
	if !known(ecosystem) {
		return nil, fmt.Errorf("reading advisories: %q is no ecosystem that headgate knows", clip(ecosystem))
	}
	return x.updateZip(ctx, path, ecosystem, now)
}

func isRecordName(name string) bool {
	return strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && name != "osv-schema.json"
}

func (x *Index) updateLoose(ctx context.Context, dir string, entries []fs.DirEntry, now time.Time) ([]Status, error) {
	if len(entries) > maxLooseFiles {
		return nil, fmt.Errorf("reading advisories: %d files are more than %d", len(entries), maxLooseFiles)
	}
	w := newWriters(x, "", now)
	defer w.abort()
	for _, e := range entries {
		if e.IsDir() || !isRecordName(e.Name()) {
			continue
		}
		b, err := readBounded(func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, e.Name())) })
		if err == nil {
			err = w.add(ctx, b)
		}
		if err != nil {
			return nil, fmt.Errorf("reading advisory %s: %w", clip(e.Name()), err)
		}
	}
	return w.commit(ctx)
}

func (x *Index) updateZip(ctx context.Context, path, ecosystem string, now time.Time) ([]Status, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading advisories: %w", err)
	}
	zr, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("reading advisories: %s: %w", path, err)
	}
	taken := info.ModTime()
	if taken.After(now) {
		taken = now
	}
	sts, err := x.fromZip(ctx, &zr.Reader, ecosystem, taken)
	if cerr := zr.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("advisories of %s: %w", path, err)
	}
	return sts, nil
}

func (x *Index) fromZip(ctx context.Context, zr *zip.Reader, ecosystem string, taken time.Time) ([]Status, error) {
	w := newWriters(x, ecosystem, taken)
	defer w.abort()
	var total uint64
	for _, f := range zr.File {
		if f.FileInfo().IsDir() || !isRecordName(f.Name) {
			continue
		}
		if total += f.UncompressedSize64; total > MaxUncompressed {
			return nil, fmt.Errorf("archive holds more than %d bytes", uint64(MaxUncompressed))
		}
		b, err := readBounded(f.Open)
		if err == nil {
			err = w.add(ctx, b)
		}
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", clip(f.Name), err)
		}
	}
	return w.commit(ctx)
}

func readBounded(open func() (io.ReadCloser, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, MaxRecord+1))
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil && len(b) > MaxRecord {
		err = fmt.Errorf("larger than %d bytes", MaxRecord)
	}
	return b, err
}

// writers build the databases of one update beside the present ones.
type writers struct {
	x         *Index
	ecosystem string // the only one allowed, or empty
	taken     time.Time
	open      map[string]*writer
}

type writer struct {
	base, tmp          string
	db                 *sql.DB
	tx                 *sql.Tx
	affected, digests  *sql.Stmt
	records, withdrawn int
	newest             time.Time
}

func newWriters(x *Index, ecosystem string, taken time.Time) *writers {
	return &writers{x: x, ecosystem: ecosystem, taken: taken, open: map[string]*writer{}}
}

func (w *writers) add(ctx context.Context, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := parseRecord(b)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range r.Affected {
		a := &r.Affected[i]
		base, _ := split(a.Package.Ecosystem)
		if !known(base) || (w.ecosystem != "" && base != w.ecosystem) {
			continue
		}
		wr, err := w.writer(ctx, base)
		if err != nil {
			return err
		}
		if !seen[base] {
			seen[base] = true
			if err := wr.count(r); err != nil {
				return err
			}
		}
		if err := wr.insert(ctx, r, a); err != nil {
			return err
		}
	}
	if len(seen) == 0 && w.ecosystem != "" && len(r.Affected) > 0 {
		return fmt.Errorf("%s is no record of %s but of %s", r.ID, w.ecosystem, clip(r.Affected[0].Package.Ecosystem))
	}
	return nil
}

func (w *writers) writer(ctx context.Context, base string) (*writer, error) {
	if wr, ok := w.open[base]; ok {
		return wr, nil
	}
	if err := os.MkdirAll(w.x.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(w.x.dir, ".advisories-*")
	if err != nil {
		return nil, err
	}
	wr := &writer{base: base, tmp: f.Name()}
	w.open[base] = wr
	if err := f.Close(); err != nil {
		return nil, err
	}
	// No journal: the file is thrown away unless it is complete and synced.
	if wr.db, err = sql.Open("sqlite3", "file:"+(&url.URL{Path: wr.tmp}).EscapedPath()+"?_journal_mode=OFF&_synchronous=OFF"); err != nil {
		return nil, err
	}
	wr.db.SetMaxOpenConns(1)
	if _, err := wr.db.ExecContext(ctx, schema); err != nil {
		return nil, err
	}
	if wr.tx, err = wr.db.BeginTx(ctx, nil); err != nil {
		return nil, err
	}
	if wr.affected, err = wr.tx.PrepareContext(ctx, `INSERT INTO affected(key, id, entry) VALUES(?,?,?)`); err != nil {
		return nil, err
	}
	wr.digests, err = wr.tx.PrepareContext(ctx, `INSERT INTO digests(digest, entry) VALUES(?,?)`)
	return wr, err
}

func (wr *writer) count(r *record) error {
	if wr.records++; wr.records > MaxRecords {
		return fmt.Errorf("more than %d records", MaxRecords)
	}
	if r.Withdrawn != nil {
		wr.withdrawn++
	}
	if r.Modified.After(wr.newest) {
		wr.newest = r.Modified
	}
	return nil
}

func (wr *writer) insert(ctx context.Context, r *record, a *affected) error {
	e := entryOf(r, a)
	if !e.Whole && len(e.Ranges) == 0 && len(e.Versions) == 0 {
		return nil // git commits only
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := wr.affected.ExecContext(ctx, keyOf(wr.base, a.Package.Name), r.ID, string(b)); err != nil {
		return err
	}
	e.Ranges, e.Versions, e.Whole = nil, nil, true
	if b, err = json.Marshal(e); err != nil {
		return err
	}
	for _, d := range slices.Concat(a.DatabaseSpecific.Digests, r.DatabaseSpecific.Digests) {
		if _, err := wr.digests.ExecContext(ctx, d.String(), string(b)); err != nil {
			return err
		}
	}
	return nil
}

// commit checks every database against the present one, then puts all in place.
func (w *writers) commit(ctx context.Context) ([]Status, error) {
	if len(w.open) == 0 {
		return nil, errors.New("no record of an ecosystem that headgate knows")
	}
	var out []Status
	bases := make([]string, 0, len(w.open))
	for b := range w.open {
		bases = append(bases, b)
	}
	slices.Sort(bases)
	for _, b := range bases {
		wr := w.open[b]
		if err := w.x.plausible(ctx, wr); err != nil {
			return nil, err
		}
		if err := wr.finish(ctx, w.taken); err != nil {
			return nil, fmt.Errorf("writing the index of %s: %w", b, err)
		}
	}
	for _, b := range bases {
		wr := w.open[b]
		if err := os.Rename(wr.tmp, w.x.path(b)); err != nil {
			return nil, fmt.Errorf("writing the index of %s: %w", b, err)
		}
		delete(w.open, b)
		out = append(out, Status{Ecosystem: b, Records: wr.records, Withdrawn: wr.withdrawn, Newest: wr.newest.UTC(), Taken: w.taken.UTC()})
	}
	d, err := os.Open(w.x.dir)
	if err != nil {
		return nil, err
	}
	return out, errors.Join(d.Sync(), d.Close())
}

func (x *Index) plausible(ctx context.Context, wr *writer) error {
	st, db, err := openFile(ctx, x.path(wr.base), wr.base)
	if err != nil {
		return nil // nothing usable is there to compare with
	}
	if err := db.Close(); err != nil {
		return err
	}
	switch {
	case wr.records*100 < st.Records*MinShare:
		return fmt.Errorf("%s: %d records where there were %d: the archive is incomplete", wr.base, wr.records, st.Records)
	case wr.newest.Unix() < st.Newest.Unix():
		return fmt.Errorf("%s: the archive's newest record is of %s, the present database has one of %s: the archive is older", wr.base,
			wr.newest.UTC().Format(time.RFC3339), st.Newest.Format(time.RFC3339))
	}
	return nil
}

func (wr *writer) finish(ctx context.Context, taken time.Time) error {
	if _, err := wr.tx.ExecContext(ctx, `INSERT INTO meta VALUES(?,?,?,?,?,?)`, schemaVersion, wr.base, wr.records, wr.withdrawn, wr.newest.Unix(), taken.Unix()); err != nil {
		return err
	}
	if err := errors.Join(wr.affected.Close(), wr.digests.Close(), wr.tx.Commit()); err != nil {
		return err
	}
	if _, err := wr.db.ExecContext(ctx, indexes); err != nil {
		return err
	}
	if err := wr.db.Close(); err != nil {
		return err
	}
	wr.db = nil
	f, err := os.OpenFile(wr.tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), os.Chmod(wr.tmp, 0o644))
}

// abort removes what was not put in place.
func (w *writers) abort() {
	for _, wr := range w.open {
		if wr.db != nil {
			_ = wr.db.Close() // the file goes next
		}
		_ = os.Remove(wr.tmp)
	}
}

// Item is one release to look up, with the digests of its artifacts.
type Item struct {
	Release trust.Release
	Digests trust.Digests
}

// Answer is what is known of the releases that were asked for.
type Answer struct {
	Advisories map[trust.Release][]policies.Advisory
	// States has an entry for every release. Only StateKnown makes an empty list an answer.
	States map[trust.Release]policies.State
	// Reasons says why a release's state is unavailable.
	Reasons map[trust.Release]string
}

func newAnswer(n int) Answer {
	return Answer{make(map[trust.Release][]policies.Advisory, n), make(map[trust.Release]policies.State, n), map[trust.Release]string{}}
}

func (a *Answer) unavailable(r trust.Release, err error) {
	a.States[r] = policies.StateUnavailable
	a.Reasons[r] = err.Error()
	delete(a.Advisories, r)
}

// AsOf makes the index answer as of an earlier moment: with the advisories that were
// published by then and not withdrawn yet, in their wording of today. today is what
// the age of the database is judged by.
func (x *Index) AsOf(at, today time.Time) { x.asOf, x.today = at, today }

// Query looks releases up. It fails for no release of its own: what cannot be
// looked up is unavailable, with the reason.
func (x *Index) Query(ctx context.Context, items []Item, now time.Time) Answer {
	if !x.asOf.IsZero() {
		now = x.today
	}
	ans := newAnswer(len(items))
	byBase := map[string][]Item{}
	for _, it := range items {
		l, err := lookupOf(it.Release)
		if err != nil {
			ans.unavailable(it.Release, err)
			continue
		}
		byBase[l.base] = append(byBase[l.base], it)
	}
	for base, its := range byBase {
		if err := x.queryBase(ctx, base, its, now, &ans); err != nil {
			for _, it := range its {
				ans.unavailable(it.Release, err)
			}
		}
	}
	return ans
}

func (x *Index) queryBase(ctx context.Context, base string, items []Item, now time.Time, ans *Answer) (err error) {
	_, db, err := x.open(ctx, base, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	byKey, err := db.PrepareContext(ctx, `SELECT entry FROM affected WHERE key=? ORDER BY id`)
	if err != nil {
		return err
	}
	byDigest, err := db.PrepareContext(ctx, `SELECT entry FROM digests WHERE digest=?`)
	if err != nil {
		return err
	}
	for _, it := range items {
		l, err := lookupOf(it.Release)
		if err != nil {
			ans.unavailable(it.Release, err)
			continue
		}
		es, err := entries(ctx, byKey, l.key)
		if err != nil {
			return err
		}
		found, err := match(es, l, x.kev, x.asOf)
		if err != nil {
			ans.unavailable(it.Release, err)
			continue
		}
		for _, d := range it.Digests {
			es, err := entries(ctx, byDigest, d.String())
			if err != nil {
				return err
			}
			for i := range es {
				if es[i].stands(x.asOf) {
					found = append(found, es[i].advisory("", x.kev))
				}
			}
		}
		ans.States[it.Release] = policies.StateKnown
		if found = Merge(found); len(found) > 0 {
			ans.Advisories[it.Release] = found
		}
	}
	return errors.Join(byKey.Close(), byDigest.Close())
}

func entries(ctx context.Context, st *sql.Stmt, arg string) (out []entry, err error) {
	rows, err := st.QueryContext(ctx, arg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(b, &e); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

func match(es []entry, l lookup, kev map[string]bool, asOf time.Time) ([]policies.Advisory, error) {
	var out []policies.Advisory
	for i := range es {
		e := &es[i]
		if !e.stands(asOf) || !suffixApplies(e.Suffix, l.suffix) {
			continue
		}
		hit, fixed, err := e.matches(l.base, l.version)
		if err != nil {
			return nil, err
		}
		if hit {
			out = append(out, e.advisory(fixed, kev))
		}
	}
	return out, nil
}

func (e *entry) advisory(fixed string, kev map[string]bool) policies.Advisory {
	a := policies.Advisory{ID: e.ID, Aliases: slices.Clone(e.Aliases), Summary: e.Summary, Severity: e.Severity, Score: e.Score, Malware: e.Malware, KEV: e.KEV || kev[e.ID], Modified: e.Modified}
	for _, al := range e.Aliases {
		a.KEV = a.KEV || kev[al]
	}
	if fixed != "" {
		a.Fixed = []string{fixed}
	}
	return a
}

// Merge makes one advisory of records that are aliases of each other: the worst
// of each property counts. Malware gives its name to the whole.
func Merge(in []policies.Advisory) []policies.Advisory {
	var out []policies.Advisory
	for _, a := range in {
		ids := append([]string{a.ID}, a.Aliases...)
		// All earlier ones that share an id join; two of them may be joined by this one.
		for i := 0; i < len(out); {
			o := out[i]
			if !slices.ContainsFunc(ids, func(id string) bool { return id == o.ID || slices.Contains(o.Aliases, id) }) {
				i++
				continue
			}
			a = join(o, a)
			ids = append([]string{a.ID}, a.Aliases...)
			out = slices.Delete(out, i, i+1)
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b policies.Advisory) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func join(a, b policies.Advisory) policies.Advisory {
	ids := slices.Concat([]string{a.ID, b.ID}, a.Aliases, b.Aliases)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	first := a
	if (b.Malware && !a.Malware) || (a.Malware == b.Malware && b.ID < a.ID) {
		first = b
	}
	out := first
	out.Aliases = slices.DeleteFunc(ids, func(id string) bool { return id == first.ID })
	out.Malware, out.KEV = a.Malware || b.Malware, a.KEV || b.KEV
	if rank(b.Severity) > rank(a.Severity) {
		out.Severity = b.Severity
	} else {
		out.Severity = a.Severity
	}
	out.Score = max(a.Score, b.Score)
	if out.Modified = a.Modified; b.Modified.After(out.Modified) {
		out.Modified = b.Modified
	}
	out.Fixed = slices.Concat(a.Fixed, b.Fixed)
	slices.Sort(out.Fixed)
	out.Fixed = slices.Compact(out.Fixed)
	return out
}

func rank(severity string) int {
	return slices.Index([]string{"none", "low", "medium", "high", "critical"}, severity)
}
