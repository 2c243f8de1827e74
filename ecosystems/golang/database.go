package golang

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// Bounds of the checksum database's answers.
const (
	MaxRecord    = 64 << 10 // a look-up with its signed tree head
	MaxTile      = 256 * tlog.HashSize
	MaxVerified  = 64 << 20 // authenticated tiles and records kept in memory
	tileHeight   = 8
	immutableAge = 365 * 24 * time.Hour
	supportedAge = 7 * 24 * time.Hour // where the database is asked decides nothing about what it says
)

// database is the checksum database as the adapter uses it. A sumdb.Client
// remembers errors for ever; a failed one is replaced by a new one, which finds
// what was authenticated so far in verified.
type database struct {
	cfg    SumDB
	get    upstream.Getter
	state  adapter.State
	tries  func(ctx context.Context, mod string, ask func(base string) (*upstream.Response, error)) (*upstream.Response, error)
	keys   note.Verifiers
	signer trust.Signer

	mu       sync.Mutex
	ops      *ops
	client   *sumdb.Client
	verified map[string][]byte // what x/mod authenticated, by its cache names
	size     int
	alarm    error // set for good once the database misbehaved
}

// failure is why a look-up gave nothing.
type failure struct {
	outcome trust.Outcome
	reason  trust.Reason
	err     error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(o trust.Outcome, r trust.Reason, format string, args ...any) *failure {
	return &failure{o, r, fmt.Errorf(format, args...)}
}

// upstreamFailure maps the client's errors; nil stays nil.
func upstreamFailure(err error) *failure {
	var ue *upstream.Error
	if errors.As(err, &ue) {
		o, r := ue.Reason()
		return &failure{o, r, err}
	}
	return &failure{trust.Unreachable, trust.ReasonNetwork, err}
}

func newDatabase(cfg SumDB, get upstream.Getter, state adapter.State) (*database, error) {
	v, err := note.NewVerifier(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("checksum database key: %w", err)
	}
	der, err := spki(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("checksum database key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &database{
		cfg: cfg, get: get, state: state, keys: note.VerifierList(v), verified: map[string][]byte{},
		signer: trust.Signer{Kind: trust.SignerLog, Name: v.Name(), KeyDigest: hex.EncodeToString(sum[:]), KeyID: fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash())},
	}, nil
}

// spki returns the public key of a verifier key ("name+hash+base64(type, key)")
// in DER form.
func spki(vkey string) ([]byte, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed verifier key")
	}
	b, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(b) != 1+ed25519.PublicKeySize || b[0] != 1 {
		return nil, errors.New("verifier key is not Ed25519")
	}
	return x509.MarshalPKIXPublicKey(ed25519.PublicKey(b[1:]))
}

// record is an authenticated answer of the database.
type record struct {
	index int64
	lines []string // go.sum lines of the authenticated record
	raw   []byte   // the whole answer, with the signed tree head
	url   string
}

// lookup returns the authenticated record of a module version.
func (d *database) lookup(ctx context.Context, m module.Version) (*record, *failure, error) {
	type result struct {
		rec *record
		f   *failure
	}
	done := make(chan result, 1)
	// x/mod's client knows no context; its requests end by the upstream client's
	// own time-outs, and the caller does not wait for them.
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{f: fail(trust.Unreachable, trust.ReasonInternal, "checking the checksum database's answer: %v", p)}
			}
		}()
		rec, f, cached := d.try(m, immutableAge)
		if f != nil && cached && f.reason != trust.ReasonLogMisbehaviour {
			// The answer came from the cache: what upstream says now decides.
			rec, f, _ = d.try(m, 0)
		}
		done <- result{rec, f}
	}()
	select {
	case r := <-done:
		return r.rec, r.f, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

func (d *database) try(m module.Version, maxAge time.Duration) (rec *record, f *failure, cached bool) {
	d.mu.Lock()
	if d.alarm != nil {
		defer d.mu.Unlock()
		return nil, &failure{trust.Failed, trust.ReasonLogMisbehaviour, d.alarm}, false
	}
	if d.client == nil || d.ops.maxAge != maxAge {
		d.ops = &ops{d: d, maxAge: maxAge, failures: map[string]*failure{}, answers: map[string]answered{}}
		d.client = sumdb.NewClient(d.ops)
	}
	client, o := d.client, d.ops
	d.mu.Unlock()

	remote, f := lookupPath(m)
	if f != nil {
		return nil, f, false
	}
	_, err := client.Lookup(m.Path, m.Version)
	if err == nil {
		o.keepEdge()
	}

	d.mu.Lock()
	alarm := d.alarm
	if err != nil && d.client == client {
		d.client = nil
	}
	d.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case alarm != nil:
		return nil, &failure{trust.Failed, trust.ReasonLogMisbehaviour, alarm}, false
	case err != nil && o.failures[remote] != nil:
		return nil, o.failures[remote], o.cached
	case err != nil && o.other != nil:
		return nil, o.other, o.cached
	case err != nil:
		return nil, fail(trust.Failed, trust.ReasonBadSignature, "checksum database %s: the answer is not what its signed tree contains: %.300s", d.cfg.Name, err), o.cached
	}
	a, ok := o.answers[remote]
	if !ok { // authenticated by an earlier client: x/mod read it from verified
		d.mu.Lock()
		a = answered{data: d.verified[d.cfg.Name+remote]}
		d.mu.Unlock()
	}
	id, text, _, err := tlog.ParseRecord(a.data)
	if err != nil {
		return nil, fail(trust.Unreachable, trust.ReasonMalformed, "checksum database %s: %w", d.cfg.Name, err), o.cached
	}
	return &record{index: id, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), raw: a.data, url: a.url}, nil, o.cached
}

func lookupPath(m module.Version) (string, *failure) {
	p, err := module.EscapePath(m.Path)
	if err != nil {
		return "", fail(trust.Unreachable, trust.ReasonUnsupported, "%w", err)
	}
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", fail(trust.Unreachable, trust.ReasonUnsupported, "%w", err)
	}
	return "/lookup/" + p + "@" + v, nil
}

// hashes returns the one hash of each kind that the record has for exactly m. A
// record without them is the answer to another question: the failure says which.
func (r *record) hashes(m module.Version) (zip, mod trust.Digest, f *failure) {
	sameModule, other := false, ""
	for _, line := range r.lines {
		fields := strings.Split(line, " ")
		if len(fields) != 3 {
			continue
		}
		if fields[0] != m.Path {
			other = fields[0]
			continue
		}
		sameModule = true
		var to *trust.Digest
		switch fields[1] {
		case m.Version:
			to = &zip
		case m.Version + "/go.mod":
			to = &mod
		default:
			continue
		}
		d, err := trust.ParseDigest(fields[2])
		if err != nil || d.Algorithm != trust.DirHash1 {
			continue // a future hash algorithm: no h1 line, no match
		}
		if !to.IsZero() && !to.Equal(d) {
			return trust.Digest{}, trust.Digest{}, fail(trust.Failed, trust.ReasonDuplicate, "the checksum database's record has two different hashes of %s", m)
		}
		*to = d
	}
	switch {
	case !zip.IsZero():
		return zip, mod, nil
	case sameModule:
		return zip, mod, fail(trust.Failed, trust.ReasonWrongVersion, "the checksum database's record is of another version: checksum of %s missing from its answer", m)
	case other != "":
		return zip, mod, fail(trust.Failed, trust.ReasonWrongName, "the checksum database's record is of %.100s: checksum of %s missing from its answer", other, m)
	}
	return zip, mod, fail(trust.Failed, trust.ReasonWrongSubject, "checksum of %s missing from the checksum database's answer", m)
}

// answered is a look-up's answer as it came.
type answered struct {
	data []byte
	url  string
}

// ops is the outside world of one sumdb.Client.
type ops struct {
	d      *database
	maxAge time.Duration

	baseOnce sync.Mutex
	base     string

	edgeOnce sync.Once
	edges    map[string][]byte

	mu       sync.Mutex
	failures map[string]*failure // by remote path of look-ups
	other    *failure            // of tiles, state or base
	answers  map[string]answered
	head     []byte // last head that was kept, until its edge is kept as well
	cached   bool   // some answer came from the content cache
}

var _ sumdb.ClientOps = (*ops)(nil)

// background is the context of requests that several callers wait for.
func background() context.Context { return context.Background() }

// ReadRemote implements sumdb.ClientOps.
func (o *ops) ReadRemote(path string) ([]byte, error) {
	data, url, f := o.read(path)
	o.mu.Lock()
	defer o.mu.Unlock()
	lookup := strings.HasPrefix(path, "/lookup/")
	switch {
	case f != nil && lookup:
		o.failures[path] = f
	case f != nil:
		o.other = f
	case lookup:
		o.answers[path] = answered{data, url}
	}
	if f != nil {
		return nil, f
	}
	return data, nil
}

func (o *ops) read(path string) ([]byte, string, *failure) {
	base, f := o.where()
	if f != nil {
		return nil, "", f
	}
	max := int64(MaxRecord)
	tile, tileErr := tlog.ParseTilePath(strings.TrimPrefix(path, "/"))
	if tileErr == nil {
		max = MaxTile
	}
	r, err := o.d.get.Get(background(), upstream.Request{URL: base + path, MaxBytes: max, MaxAge: o.maxAge})
	if err != nil {
		return nil, "", upstreamFailure(err)
	}
	if r.FromCache {
		o.mu.Lock()
		o.cached = true
		o.mu.Unlock()
	}
	switch {
	case r.Status == http.StatusNotFound || r.Status == http.StatusGone:
		return nil, "", fail(trust.Unreachable, trust.ReasonNotFound, "%s is not in the checksum database (HTTP %d); if the module is private, add it to GOPRIVATE in your own environment", path, r.Status)
	case r.Status != http.StatusOK:
		return nil, "", fail(trust.Unreachable, trust.ReasonNetwork, "checksum database answered HTTP %d for %s", r.Status, path)
	case tileErr == nil && len(r.Body) != tile.W*tlog.HashSize:
		return nil, "", fail(trust.Unreachable, trust.ReasonMalformed, "checksum database: %s has %d bytes, not %d", path, len(r.Body), tile.W*tlog.HashSize)
	case tileErr != nil:
		if f := o.d.judge(r.Body); f != nil {
			return nil, "", f
		}
	}
	return r.Body, r.URL, nil
}

// judge tells malformed from wrongly signed before x/mod, whose errors are text,
// authenticates the answer.
func (d *database) judge(data []byte) *failure {
	_, _, msg, err := tlog.ParseRecord(data)
	if err != nil {
		return fail(trust.Unreachable, trust.ReasonMalformed, "checksum database %s: answer is no record: %w", d.cfg.Name, err)
	}
	n, err := note.Open(msg, d.keys)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &invalid):
		return fail(trust.Failed, trust.ReasonBadSignature, "checksum database %s: signature of the tree head is wrong", d.cfg.Name)
	case errors.As(err, &unverified):
		return fail(trust.Failed, trust.ReasonUntrustedSigner, "checksum database: tree head is not signed by %s", d.signer.KeyID)
	case err != nil:
		return fail(trust.Unreachable, trust.ReasonMalformed, "checksum database %s: answer has no signed tree head: %w", d.cfg.Name, err)
	}
	if _, err := tlog.ParseTree([]byte(n.Text)); err != nil {
		return fail(trust.Unreachable, trust.ReasonMalformed, "checksum database %s: %w", d.cfg.Name, err)
	}
	return nil
}

// where finds out once whether the database is reached through a module proxy.
func (o *ops) where() (string, *failure) {
	o.baseOnce.Lock()
	defer o.baseOnce.Unlock()
	if o.base != "" {
		return o.base, nil
	}
	if o.d.cfg.URL != "" {
		o.base = o.d.cfg.URL
		return o.base, nil
	}
	through := ""
	_, err := o.d.tries(background(), "", func(proxy string) (*upstream.Response, error) {
		b := proxy + "/sumdb/" + o.d.cfg.Name
		r, err := o.d.get.Get(background(), upstream.Request{URL: b + "/supported", MaxBytes: MaxRecord, MaxAge: supportedAge})
		if err == nil && r.Status == http.StatusOK {
			through = b
		}
		return r, err
	})
	switch {
	case err == nil:
		o.base = through
	case errors.Is(err, errDirect), errors.Is(err, errNotThere), errors.Is(err, errOff):
		o.base = o.d.cfg.Base
	default:
		return "", upstreamFailure(err)
	}
	return o.base, nil
}

// ReadConfig implements sumdb.ClientOps: the pinned key, and the last tree head
// from trust state.
func (o *ops) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.d.cfg.Key), nil
	}
	b, err := o.d.state.Load(background(), stateKey(file))
	if err != nil {
		o.note(fail(trust.Unreachable, trust.ReasonInternal, "reading the last tree head of the checksum database: %w", err))
		return nil, err
	}
	return b, nil
}

// WriteConfig implements sumdb.ClientOps.
func (o *ops) WriteConfig(file string, old, new []byte) error {
	if len(old) == 0 {
		old = nil
	}
	ok, err := o.d.state.Swap(background(), stateKey(file), old, new)
	if err != nil {
		o.note(fail(trust.Unreachable, trust.ReasonInternal, "keeping the tree head of the checksum database: %w", err))
		return err
	}
	if !ok {
		return sumdb.ErrWriteConflict
	}
	o.mu.Lock()
	o.head = bytes.Clone(new)
	o.mu.Unlock()
	return nil
}

// edgeFiles are x/mod's cache names of the tiles at the right edge of a tree of
// n records: all that it takes to compute the tree's hash.
func edgeFiles(name string, n int64) []string {
	var fs []string
	for l := 0; n > 0; l++ {
		if w := n % (1 << tileHeight); w > 0 {
			fs = append(fs, name+"/"+tlog.Tile{H: tileHeight, L: l, N: n >> tileHeight, W: int(w)}.Path())
		}
		n >>= tileHeight
	}
	return fs
}

// keepEdge keeps the tiles at the right edge of the tree whose head was kept
// last; a look-up has authenticated them by then. Without them a forked database could not be convicted: it would serve
// its own tiles, and the kept head would only seem to be broken. What cannot be
// kept is fetched next time.
func (o *ops) keepEdge() {
	o.mu.Lock()
	msg := o.head
	o.head = nil
	o.mu.Unlock()
	if msg == nil {
		return
	}
	n, err := note.Open(msg, o.d.keys)
	if err != nil {
		return
	}
	t, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return
	}
	tiles := map[string][]byte{}
	o.d.mu.Lock()
	for _, f := range edgeFiles(o.d.cfg.Name, t.N) {
		if b := o.d.verified[f]; b != nil {
			tiles[f] = b
		}
	}
	o.d.mu.Unlock()
	if len(tiles) < len(edgeFiles(o.d.cfg.Name, t.N)) {
		o.mu.Lock()
		if o.head == nil {
			o.head = msg // the look-up was against an older head: the next one keeps the edge
		}
		o.mu.Unlock()
		return
	}
	b, err := json.Marshal(tiles)
	if err != nil {
		return
	}
	key := stateKey(o.d.cfg.Name + "/edge")
	if old, err := o.d.state.Load(background(), key); err == nil {
		_, _ = o.d.state.Swap(background(), key, old, b) // a conflict means that another process kept its own
	}
}

// edge returns a kept tile, or nil.
func (o *ops) edge(file string) []byte {
	o.edgeOnce.Do(func() {
		if b, err := o.d.state.Load(background(), stateKey(o.d.cfg.Name+"/edge")); err == nil && b != nil {
			_ = json.Unmarshal(b, &o.edges) // x/mod authenticates what it gets
		}
	})
	return o.edges[file]
}

func stateKey(file string) string { return "golang/sumdb/" + file }

func (o *ops) note(f *failure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.other = f
}

// ReadCache implements sumdb.ClientOps over what was authenticated in this
// process; x/mod authenticates it again.
func (o *ops) ReadCache(file string) ([]byte, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if b, ok := o.d.verified[file]; ok {
		return bytes.Clone(b), nil
	}
	if b := o.edge(file); b != nil {
		return bytes.Clone(b), nil
	}
	return nil, errors.New("not cached")
}

// WriteCache implements sumdb.ClientOps; x/mod calls it after authentication.
func (o *ops) WriteCache(file string, data []byte) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if o.d.size+len(data) > MaxVerified {
		clear(o.d.verified)
		o.d.size = 0
	}
	if _, ok := o.d.verified[file]; !ok {
		o.d.size += len(data)
		o.d.verified[file] = bytes.Clone(data)
	}
}

// Log implements sumdb.ClientOps; errors carry all that it says.
func (o *ops) Log(string) {}

// SecurityError implements sumdb.ClientOps: the database is not asked again, and
// the proof is kept.
func (o *ops) SecurityError(msg string) {
	err := fmt.Errorf("checksum database %s contradicts what it signed before; its proof is recorded, and nothing that it says is used", o.d.cfg.Name)
	o.d.mu.Lock()
	first := o.d.alarm == nil
	o.d.alarm = err
	o.d.mu.Unlock()
	if first {
		if aerr := o.d.state.Alarm(background(), "checksum database "+o.d.cfg.Name, err.Error(), []byte(msg)); aerr != nil {
			o.d.mu.Lock()
			o.d.alarm = fmt.Errorf("%w (recording the proof: %v)", err, aerr)
			o.d.mu.Unlock()
		}
	}
}
