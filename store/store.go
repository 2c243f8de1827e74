package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	sqlite3 "github.com/mattn/go-sqlite3"
	"golang.org/x/mod/sumdb/note"
)

//go:embed schema/*.sql
var schemas embed.FS

const (
	// ApplicationID marks the SQLite file as headgate's ("hgts").
	ApplicationID = 0x68677473
	// SchemaVersion is the newest schema that this code knows.
	SchemaVersion = 3
	// DefaultBusyTimeout is how long a write waits for other processes.
	DefaultBusyTimeout = 30 * time.Second
)

// Errors that callers tell apart with errors.Is. The texts of the returned
// errors say which file it is about and what to do.
var (
	ErrMissing     = errors.New("there is no trust store")
	ErrNotStore    = errors.New("not a headgate trust store")
	ErrNewerSchema = errors.New("trust store of a newer schema")
	ErrOldSchema   = errors.New("trust store of an older schema that cannot be migrated here")
	ErrBusy        = errors.New("trust store is locked by another process")
	ErrReadOnly    = errors.New("trust store cannot be written")
	ErrFull        = errors.New("no space left for the trust store")
	ErrCorrupt     = errors.New("trust store is damaged")
	ErrIO          = errors.New("trust store could not be read or written")
	ErrNotFound    = errors.New("not in the trust store")
	ErrAmbiguous   = errors.New("more than one match in the trust store")
	ErrRevoked     = errors.New("revoked before")
	ErrConflict    = errors.New("changed by somebody else meanwhile")
	ErrTampered    = errors.New("the log and the trust store do not agree")
)

// Options are how a store is opened.
type Options struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// ReadOnly refuses every write and can read a store on read-only media.
	ReadOnly bool
	// Create makes the store (mode 0600) where there is none, with its directory.
	// Without it a missing file is ErrMissing: a mistyped path must not become an
	// empty store that has forgotten every revocation.
	Create bool
	// BusyTimeout is how long a write waits for other processes; 0 means DefaultBusyTimeout.
	BusyTimeout time.Duration

	// step, if set by a test, is called at each step of a write; its error fails
	// the step. version, if set by a test, is the schema to make.
	step    func(string) error
	version int64
}

// Store is an open trust store. It is safe for concurrent use, by many
// processes too.
type Store struct {
	path     string
	now      func() time.Time
	readOnly bool
	r, w     *sql.DB // w is nil for a read-only store
	signer   note.Signer
	vkey     string
	broken   atomic.Pointer[error]
	step     func(string) error // see Options
	version  int64
}

// connector opens connections and refuses those whose settings are not what
// the store relies on.
type connector struct {
	dsn  string
	busy time.Duration
	wal  bool
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{ConnectHook: c.assert} }

// Connect implements driver.Connector.
func (c *connector) Connect(context.Context) (driver.Conn, error) { return c.Driver().Open(c.dsn) }

func (c *connector) assert(conn *sqlite3.SQLiteConn) error {
	if _, err := conn.Exec("PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA temp_store = MEMORY;", nil); err != nil {
		return err
	}
	want := map[string]string{
		"foreign_keys": "1", "synchronous": "2", "trusted_schema": "0", "cell_size_check": "1",
		"busy_timeout": fmt.Sprint(c.busy.Milliseconds()), "temp_store": "2", "ignore_check_constraints": "0",
	}
	if c.wal {
		want["journal_mode"] = "wal"
	}
	for name, w := range want {
		got, err := pragma(conn, name)
		if err != nil {
			return err
		}
		if got != w {
			return fmt.Errorf("SQLite has %s = %q instead of %q", name, got, w)
		}
	}
	return nil
}

func pragma(conn *sqlite3.SQLiteConn, name string) (string, error) {
	rows, err := conn.Query("PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return "", fmt.Errorf("SQLite does not know the setting %s: %w", name, err)
	}
	if b, ok := row[0].([]byte); ok {
		return string(b), nil
	}
	return fmt.Sprint(row[0]), nil
}

type access int

const (
	accessRead access = iota
	accessImmutable
	accessWrite
)

func open(path string, a access, busy time.Duration) *sql.DB {
	q := url.Values{}
	q.Set("_busy_timeout", fmt.Sprint(busy.Milliseconds()))
	q.Set("_foreign_keys", "1")
	q.Set("_synchronous", "FULL")
	q.Set("_stmt_cache_size", "64")
	switch a {
	case accessRead:
		q.Set("mode", "ro")
		q.Set("_query_only", "1")
	case accessImmutable:
		q.Set("mode", "ro")
		q.Set("immutable", "1")
		q.Set("_query_only", "1")
	case accessWrite:
		q.Set("mode", "rw")
		q.Set("_txlock", "immediate")
		q.Set("_journal_mode", "WAL")
		// 16 MiB: what a run of 20,000 decisions spills to the journal is written only a
		// little earlier.
		q.Set("_cache_size", "-16384")
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()}
	db := sql.OpenDB(&connector{dsn: u.String() + "?" + q.Encode(), busy: busy, wal: a == accessWrite})
	if a == accessWrite {
		db.SetMaxOpenConns(1)
	} else {
		db.SetMaxOpenConns(4)
	}
	return db
}

// Open opens the trust store at path. An older schema is migrated in one
// transaction, unless the store is opened read-only, which is ErrOldSchema.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = DefaultBusyTimeout
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("opening trust store %s: %w", path, err)
	}
	if o.version == 0 {
		o.version = SchemaVersion
	}
	s := &Store{path: abs, now: o.Now, readOnly: o.ReadOnly, step: o.step, version: o.version}
	fresh := false
	switch fi, err := os.Stat(abs); {
	case errors.Is(err, fs.ErrNotExist) && o.Create && !o.ReadOnly:
		if err := createFile(abs); err != nil {
			return nil, fmt.Errorf("creating trust store %s: %w", abs, err)
		}
		fresh = true
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w at %s: check the path, or make one with \"headgate init\"", ErrMissing, abs)
	case err != nil:
		return nil, fmt.Errorf("opening trust store %s: %w", abs, err)
	case !fi.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w: it is no regular file", abs, ErrNotStore)
	case fi.Size() == 0:
		// An empty file is what a creation that was killed leaves behind; a journal
		// beside it means that it once was more.
		if !o.Create || o.ReadOnly {
			return nil, fmt.Errorf("%s: %w: it is empty; remove it and make a store with \"headgate init\"", abs, ErrNotStore)
		}
		fresh = true
	}
	if !fresh {
		if fresh, err = s.probe(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := s.connect(ctx, o, fresh); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func createFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was first; both go on to make the schema, one wins
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// probe looks at an existing file through a connection that cannot write, so
// that what is refused stays untouched. It opens s.r for read-only stores.
func (s *Store) probe(ctx context.Context, o Options) (fresh bool, err error) {
	a := accessRead
	db := open(s.path, a, o.BusyTimeout)
	id, version, err := identify(ctx, db)
	if err != nil && cannotLock(err) {
		// Read-only media: SQLite cannot make the shared memory of the journal. With
		// no journal the file is complete and can be read as it is; with one it lacks
		// the newest transactions, which may be revocations.
		db.Close()
		if fi, serr := os.Stat(s.path + "-wal"); serr == nil && fi.Size() > 0 {
			return false, fmt.Errorf("%s: %w: it was not closed properly before it was made read-only (%s-wal holds changes); open it once where it can be written", s.path, ErrReadOnly, filepath.Base(s.path))
		}
		a = accessImmutable
		db = open(s.path, a, o.BusyTimeout)
		id, version, err = identify(ctx, db)
	}
	keep := false
	defer func() {
		if !keep {
			db.Close()
		}
	}()
	switch {
	case err != nil:
		return false, s.wrap("opening", err)
	case id == 0 && version == 0 && o.Create && !o.ReadOnly && s.empty(ctx, db):
		return true, nil
	case id != ApplicationID:
		return false, fmt.Errorf("%s: %w: it is an SQLite file of another program", s.path, ErrNotStore)
	case version > s.version:
		return false, fmt.Errorf("%s: %w: it has version %d, this headgate knows %d; nothing was changed; update headgate", s.path, ErrNewerSchema, version, s.version)
	case version < s.version && o.ReadOnly:
		return false, fmt.Errorf("%s: %w: it has version %d of %d; open it once where it can be written", s.path, ErrOldSchema, version, s.version)
	}
	if a == accessImmutable && !o.ReadOnly {
		return false, fmt.Errorf("%s: %w: it, or its directory, is read-only", s.path, ErrReadOnly)
	}
	if o.ReadOnly {
		s.r, keep = db, true
	}
	return false, nil
}

// empty reports whether the file has no table at all.
func (s *Store) empty(ctx context.Context, db *sql.DB) bool {
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n)
	return err == nil && n == 0
}

func identify(ctx context.Context, db *sql.DB) (id, version int64, err error) {
	if err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return id, version, err
}

// isSettings reports an error of connector.assert about the journal mode.
func isSettings(err error) bool {
	return err != nil && strings.Contains(err.Error(), "SQLite has journal_mode")
}

func cannotLock(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCantOpen || e.Code == sqlite3.ErrReadonly)
}

func (s *Store) connect(ctx context.Context, o Options, fresh bool) error {
	if !o.ReadOnly {
		s.w = open(s.path, accessWrite, o.BusyTimeout)
		if err := s.setUp(ctx, fresh, o.BusyTimeout); err != nil {
			return s.wrap("opening", err)
		}
		s.r = open(s.path, accessRead, o.BusyTimeout)
	}
	var skey []byte
	if err := s.r.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'log-key'").Scan(&skey); err != nil {
		return s.wrap("reading the log key of", err)
	}
	signer, err := note.NewSigner(string(skey))
	if err != nil {
		return fmt.Errorf("%s: %w: its log key cannot be read", s.path, ErrCorrupt)
	}
	s.signer = signer
	if s.vkey, err = verifierKey(string(skey)); err != nil {
		return fmt.Errorf("%s: %w: its log key cannot be read", s.path, ErrCorrupt)
	}
	return nil
}

// setUp makes or migrates the schema in one transaction. Another process may
// do the same at the same time: the version is read again inside.
func (s *Store) setUp(ctx context.Context, fresh bool, busy time.Duration) error {
	var conn *sql.Conn
	var err error
	for deadline := time.Now().Add(busy); ; time.Sleep(5 * time.Millisecond) {
		// The change to WAL does not wait for other connections by itself.
		conn, err = s.w.Conn(ctx)
		if err == nil || !fresh || !(isBusy(err) || isSettings(err)) || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	id, version, err := identifyConn(ctx, conn)
	if err != nil {
		return err
	}
	if id == ApplicationID && version == s.version {
		return nil
	}
	if err := s.at("migrate:begin"); err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > s.version {
		return fmt.Errorf("%w: it has version %d, this headgate knows %d", ErrNewerSchema, version, s.version)
	}
	for v := version + 1; v <= s.version; v++ {
		text, err := schemas.ReadFile(fmt.Sprintf("schema/%04d.sql", v))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("migrating to schema version %d: %w", v, err)
		}
		if err := s.at(fmt.Sprintf("migrate:%d", v)); err != nil {
			return err
		}
	}
	if version == 0 {
		if err := s.seed(ctx, tx); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", ApplicationID, s.version)); err != nil {
		return err
	}
	if err := s.at("migrate:commit"); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.at("migrate:done")
}

func identifyConn(ctx context.Context, c *sql.Conn) (id, version int64, err error) {
	if err = c.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, 0, err
	}
	err = c.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return id, version, err
}

// seed makes the store's own log key.
func (s *Store) seed(ctx context.Context, tx *sql.Tx) error {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	skey, _, err := note.GenerateKey(rand.Reader, "headgate-"+hex.EncodeToString(b[:]))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('log-key', ?), ('created', ?)",
		[]byte(skey), []byte(norm(s.now()).Format(time.RFC3339)))
	return err
}

// Close closes the store. It may be called more than once.
func (s *Store) Close() error {
	var err error
	if s.r != nil {
		err = s.r.Close()
	}
	if s.w != nil {
		err = errors.Join(err, s.w.Close())
	}
	return err
}

// Path returns the absolute path of the store's file.
func (s *Store) Path() string { return s.path }

// ReadOnly reports whether the store refuses writes.
func (s *Store) ReadOnly() bool { return s.readOnly }

// VerifierKey returns the note verifier key of the store's log.
func (s *Store) VerifierKey() string { return s.vkey }

func (s *Store) at(step string) error {
	if s.step == nil {
		return nil
	}
	return s.step(step)
}

func isBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked)
}

// wrap names the store, turns SQLite's codes into the store's errors, and says
// what to do.
func (s *Store) wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	for _, own := range []error{ErrMissing, ErrNotStore, ErrNewerSchema, ErrOldSchema, ErrBusy, ErrReadOnly, ErrFull, ErrCorrupt, ErrIO, ErrNotFound, ErrAmbiguous, ErrRevoked, ErrConflict, ErrTampered} {
		if errors.Is(err, own) {
			return fmt.Errorf("%s trust store %s: %w", doing, s.path, err)
		}
	}
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s trust store %s: %w", doing, s.path, err)
	}
	switch e.Code {
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return fmt.Errorf("%s trust store %s: %w (%v): try again when the other run is done", doing, s.path, ErrBusy, err)
	case sqlite3.ErrReadonly, sqlite3.ErrPerm, sqlite3.ErrCantOpen:
		return fmt.Errorf("%s trust store %s: %w (%v): the file and its directory must be writable", doing, s.path, ErrReadOnly, err)
	case sqlite3.ErrFull:
		return fmt.Errorf("%s trust store %s: %w (%v): nothing was recorded; free some space and run again", doing, s.path, ErrFull, err)
	case sqlite3.ErrIoErr:
		return fmt.Errorf("%s trust store %s: %w (%v): check the disk, then \"headgate log verify\"", doing, s.path, ErrIO, err)
	case sqlite3.ErrNotADB:
		return fmt.Errorf("%s trust store %s: %w: it is no SQLite file", doing, s.path, ErrNotStore)
	case sqlite3.ErrCorrupt:
		return fmt.Errorf("%s trust store %s: %w (%v): restore it from a backup", doing, s.path, ErrCorrupt, err)
	}
	return fmt.Errorf("%s trust store %s: %w", doing, s.path, err)
}

// norm is the form in which times are stored: UTC, whole milliseconds.
func norm(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// millis is the column form of a time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the inverse of millis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
