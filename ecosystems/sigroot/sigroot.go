package sigroot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	sigstoretuf "github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxFile  = 8 << 20 // bytes of one metadata or target file
	maxState = 1 << 20 // bytes of the state file
)

// Targets of the repository.
const (
	targetRoot    = "trusted_root.json"
	targetSigning = "signing_config.v0.2.json"
)

// Options are the outside world of a Store.
type Options struct {
	// Dir is where the material and TUF's metadata are kept.
	Dir string
	// Get fetches; nil allows Load and Import alone.
	Get upstream.Getter
	// URL is the TUF repository or a mirror of it; empty for Sigstore's own.
	URL string
	// Anchor is TUF's root.json to start from; empty for the public-good instance's,
	// of the sigstore-go that headgate was built with.
	Anchor []byte
	// NPMKeys is the target with npm's keys, "<registry host>/keys.json"; empty for none.
	NPMKeys string
	// Clock replaces the machine's clock in tests.
	Clock adapter.Clock
}

// Material is what a refresh brought. All of it was verified by TUF.
type Material struct {
	TrustedRoot   []byte
	SigningConfig []byte // nil if the repository has none
	NPMKeys       []byte // nil if not asked for
	Obtained      time.Time
}

// Store keeps the material of one TUF repository. Methods may be called from
// one process at a time; readers see the old or the new state, never a mixture.
type Store struct{ o Options }

// New returns a Store. It reads and writes nothing.
func New(o Options) (*Store, error) {
	if o.Dir == "" {
		return nil, errors.New("trust root store needs a folder")
	}
	if o.URL == "" {
		o.URL = sigstoretuf.DefaultMirror
	}
	if len(o.Anchor) == 0 {
		o.Anchor = sigstoretuf.DefaultRoot()
	}
	return &Store{o}, nil
}

func (s *Store) now() time.Time {
	if s.o.Clock != nil {
		return s.o.Clock()
	}
	return time.Now()
}

// state is the file that names the current generation.
type state struct {
	Generation string            `json:"generation"`
	Obtained   time.Time         `json:"obtained"`
	Files      map[string]string `json:"files"` // target: SHA-256, hex
}

const stateFile = "state.json"

// Load returns the stored material without any network. Nothing stored, or
// something stored that is damaged, is unreachable (expired-root), and the error
// names the command that mends it. Age is judged by whoever uses the material.
func (s *Store) Load() (Material, error) {
	st, err := s.state()
	if err != nil {
		return Material{}, err
	}
	m := Material{Obtained: st.Obtained}
	for name, sum := range st.Files {
		b, err := readFile(filepath.Join(s.o.Dir, st.Generation, "material", flat(name)), MaxFile)
		if err != nil {
			return Material{}, mend("reading stored %s: %w", name, err)
		}
		if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
			return Material{}, mend("stored %s is not what TUF verified", name)
		}
		m.set(name, s.o.NPMKeys, b)
	}
	if m.TrustedRoot == nil {
		return Material{}, mend("no trusted root is stored")
	}
	return m, nil
}

func (m *Material) set(name, npmKeys string, b []byte) {
	switch name {
	case targetRoot:
		m.TrustedRoot = b
	case targetSigning:
		m.SigningConfig = b
	case npmKeys:
		m.NPMKeys = b
	}
}

func mend(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonExpiredRoot, format+"; run headgate db update", args...)
}

func (s *Store) state() (state, error) {
	b, err := readFile(filepath.Join(s.o.Dir, stateFile), maxState)
	if errors.Is(err, os.ErrNotExist) {
		return state{}, mend("no trusted root has been fetched yet")
	}
	if err != nil {
		return state{}, mend("reading trust root state: %w", err)
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil || !strings.HasPrefix(st.Generation, "gen-") || filepath.Base(st.Generation) != st.Generation {
		return state{}, mend("trust root state in %s is damaged", s.o.Dir)
	}
	return st, nil
}

// Refresh brings the material up to date over the network.
func (s *Store) Refresh(ctx context.Context) (Material, error) {
	if s.o.Get == nil {
		return Material{}, errors.New("trust root store has no network")
	}
	return s.update(s.o.URL, &netFetcher{ctx, s.o.Get})
}

// Import brings the material up to date from a folder that holds a copy of the
// TUF repository. It is verified as if it came from the network.
func (s *Store) Import(dir string) (Material, error) {
	return s.update("https://import.invalid/", &dirFetcher{dir})
}

// Adopt stores material that the user vouches for, such as files carried to a
// machine without network: TUF verified nothing of it here. m.Obtained says when
// it was known to be current. A later Refresh starts from the built-in anchor.
func (s *Store) Adopt(m Material) error {
	if len(m.TrustedRoot) == 0 || m.Obtained.IsZero() {
		return errors.New("storing trust roots: no trusted root, or of unknown age")
	}
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return fmt.Errorf("storing trust roots: %w", err)
	}
	gen, err := os.MkdirTemp(s.o.Dir, "gen-")
	if err != nil {
		return fmt.Errorf("storing trust roots: %w", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(gen) // what is left over is named by no state and read by nobody
		}
	}()
	st := state{Generation: filepath.Base(gen), Obtained: m.Obtained.UTC(), Files: map[string]string{}}
	for _, d := range []string{"metadata", "material"} {
		if err := os.Mkdir(filepath.Join(gen, d), 0o700); err != nil {
			return fmt.Errorf("storing trust roots: %w", err)
		}
	}
	for name, b := range map[string][]byte{targetRoot: m.TrustedRoot, targetSigning: m.SigningConfig, s.o.NPMKeys: m.NPMKeys} {
		if len(b) == 0 {
			continue
		}
		if name == "" || len(b) > MaxFile {
			return fmt.Errorf("storing trust roots: %d bytes for target %q", len(b), name)
		}
		sum := sha256.Sum256(b)
		st.Files[name] = hex.EncodeToString(sum[:])
		if err := writeFile(filepath.Join(gen, "material", flat(name)), b); err != nil {
			return fmt.Errorf("storing trust roots: %w", err)
		}
	}
	old, oldErr := s.state()
	if err := s.publish(gen, st); err != nil {
		return err
	}
	keep = true
	if oldErr == nil {
		_ = os.RemoveAll(filepath.Join(s.o.Dir, old.Generation)) // superseded; a rest of it is harmless
	}
	return nil
}

// publish makes the generation the current one.
func (s *Store) publish(gen string, st state) error {
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("storing trust roots: %w", err)
	}
	tmp := filepath.Join(gen, stateFile)
	if err := writeFile(tmp, b); err != nil {
		return fmt.Errorf("storing trust roots: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(s.o.Dir, stateFile)); err != nil {
		return fmt.Errorf("storing trust roots: %w", err)
	}
	return nil
}

type fetcher interface {
	DownloadFile(url string, max int64, timeout time.Duration) ([]byte, error)
}

// update runs TUF's client on a copy of the stored metadata, and puts the copy
// in place only when everything verified.
func (s *Store) update(base string, f fetcher) (Material, error) {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return Material{}, fmt.Errorf("preparing trust root store: %w", err)
	}
	gen, err := os.MkdirTemp(s.o.Dir, "gen-")
	if err != nil {
		return Material{}, fmt.Errorf("preparing trust root store: %w", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(gen) // what is left over is named by no state and read by nobody
		}
	}()
	meta := filepath.Join(gen, "metadata")
	anchor := s.o.Anchor
	old, oldErr := s.state()
	if oldErr == nil {
		if err := os.CopyFS(meta, os.DirFS(filepath.Join(s.o.Dir, old.Generation, "metadata"))); err != nil {
			return Material{}, mend("copying stored metadata: %w", err)
		}
		// The last root that was verified from the anchor: an older chain cannot replace it.
		if b, err := readFile(filepath.Join(meta, "root.json"), MaxFile); err == nil {
			anchor = b
		}
	}
	cfg, err := config.New(base, anchor)
	if err != nil {
		return Material{}, fmt.Errorf("updating trust roots: %w", err)
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = meta, filepath.Join(gen, "targets")
	cfg.PrefixTargetsWithHash, cfg.Fetcher = true, f
	up, err := updater.New(cfg)
	if err != nil {
		return Material{}, classify(base, err)
	}
	if s.o.Clock != nil {
		up.UnsafeSetRefTime(s.o.Clock()) // a test's clock; else TUF takes the machine's
	}
	if err := up.Refresh(); err != nil {
		return Material{}, classify(base, err)
	}
	m := Material{Obtained: s.now().UTC()}
	st := state{Generation: filepath.Base(gen), Obtained: m.Obtained, Files: map[string]string{}}
	if err := os.Mkdir(filepath.Join(gen, "material"), 0o700); err != nil {
		return Material{}, fmt.Errorf("storing trust roots: %w", err)
	}
	for _, name := range []string{targetRoot, targetSigning, s.o.NPMKeys} {
		if name == "" {
			continue
		}
		info, err := up.GetTargetInfo(name)
		if err != nil {
			if name == targetSigning {
				continue
			}
			return Material{}, classify(base, fmt.Errorf("target %s: %w", name, err))
		}
		if info.Length > MaxFile {
			return Material{}, trust.Undecidable(trust.ReasonTooLarge, "updating trust roots: target %s has %d bytes, more than %d", name, info.Length, MaxFile)
		}
		_, b, err := up.DownloadTarget(info, "", "")
		if err != nil {
			return Material{}, classify(base, fmt.Errorf("target %s: %w", name, err))
		}
		sum := sha256.Sum256(b)
		st.Files[name] = hex.EncodeToString(sum[:])
		if err := writeFile(filepath.Join(gen, "material", flat(name)), b); err != nil {
			return Material{}, fmt.Errorf("storing trust roots: %w", err)
		}
		m.set(name, s.o.NPMKeys, b)
	}
	if err := s.publish(gen, st); err != nil {
		return Material{}, err
	}
	keep = true
	if oldErr == nil {
		_ = os.RemoveAll(filepath.Join(s.o.Dir, old.Generation)) // superseded; a rest of it is harmless
	}
	return m, nil
}

// classify gives an error of TUF its reason. Expired metadata is unreachable
// (expired-root); what is signed wrongly or older than the last seen is failed.
func classify(base string, err error) error {
	var up *upstream.Error
	if errors.As(err, &up) {
		o, r := up.Reason()
		return &trust.VerifyError{Outcome: o, Reason: r, Err: fmt.Errorf("updating trust roots: %w", err)}
	}
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return trust.Undecidable(trust.ReasonExpiredRoot, "updating trust roots from %s: %w; run headgate db update later or from another source (--from DIR)", base, err)
	case errors.Is(err, &metadata.ErrDownload{}):
		return trust.Undecidable(trust.ReasonNetwork, "updating trust roots from %s: %w", base, err)
	case errors.Is(err, &metadata.ErrRepository{}):
		return trust.Failure(trust.ReasonBadSignature, "updating trust roots from %s: %w", base, err)
	}
	return trust.Undecidable(trust.ReasonMalformed, "updating trust roots from %s: %w", base, err)
}

// netFetcher is TUF's fetcher over headgate's client.
type netFetcher struct {
	ctx context.Context
	get upstream.Getter
}

// DownloadFile fetches one file of at most max bytes.
func (f *netFetcher) DownloadFile(u string, max int64, _ time.Duration) ([]byte, error) {
	res, err := f.get.Get(f.ctx, upstream.Request{URL: u, MaxBytes: min(max, MaxFile)})
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: res.Status, URL: u}
	}
	return res.Body, nil
}

// dirFetcher is TUF's fetcher over a folder.
type dirFetcher struct{ dir string }

// DownloadFile reads one file of at most max bytes; it never leaves the folder.
func (f *dirFetcher) DownloadFile(raw string, max int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(filepath.FromSlash(strings.TrimPrefix(u.Path, "/")))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: raw}
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	max = min(max, MaxFile)
	b, err := io.ReadAll(io.LimitReader(file, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > max {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s is larger than %d bytes", raw, max)}
	}
	return b, nil
}

func flat(name string) string { return strings.ReplaceAll(name, "/", "_") }

func readFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("%s is larger than %d bytes", path, max)
	}
	return b, err
}

// writeFile writes durably: the state that names the file is renamed after it.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}
