package sigroot

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

const keysTarget = "registry.example.com/keys.json"

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		c, err := os.ReadFile(p)
		fmt.Fprintf(&b, "%s %x\n", p, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type world struct {
	*sigstoretest.Repository
	store *Store
	clock time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{Repository: sigstoretest.NewRepository(t, map[string][]byte{targetRoot: []byte("root 1"), keysTarget: []byte("keys 1")}), clock: adaptertest.Now}
	anchor := w.Publish(1, w.clock.AddDate(0, 0, 7))
	env := adaptertest.NewEnv(t, adaptertest.Right)
	base := env.Serve(http.FileServer(http.Dir(w.Dir)))
	var err error
	w.store, err = New(Options{Dir: filepath.Join(t.TempDir(), "roots"), Get: env.Getter(), URL: base, Anchor: anchor, NPMKeys: keysTarget,
		Clock: func() time.Time { return w.clock }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestRefreshAndLoad(t *testing.T) {
	w := newWorld(t)
	if _, err := w.store.Load(); !strings.Contains(fmt.Sprint(err), "headgate db update") {
		t.Errorf("nothing stored: %v", err)
	}
	for i := int64(1); i <= 3; i++ {
		w.Files[targetRoot] = fmt.Appendf(nil, "root %d", i)
		w.Publish(i, w.clock.AddDate(0, 0, 7))
		if _, err := w.store.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		m, err := w.store.Load()
		if err != nil || !bytes.Equal(m.TrustedRoot, w.Files[targetRoot]) || string(m.NPMKeys) != "keys 1" || !m.Obtained.Equal(w.clock) || m.SigningConfig != nil {
			t.Fatalf("material %+v, %v", m, err)
		}
		w.clock = w.clock.Add(time.Hour)
	}
	gens, err := filepath.Glob(filepath.Join(w.store.o.Dir, "gen-*"))
	if err != nil || len(gens) != 1 {
		t.Errorf("generations %v", gens)
	}
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	w.Files[targetSigning] = []byte("signing")
	w.Publish(2, w.clock.AddDate(0, 0, 7))
	if _, err := w.store.Import(w.Dir); err != nil {
		t.Fatal(err)
	}
	m, err := w.store.Load()
	if err != nil || string(m.TrustedRoot) != "root 1" || string(m.SigningConfig) != "signing" {
		t.Fatalf("%+v, %v", m, err)
	}
}

// TestThreat034FailedRefresh: whatever goes wrong, what is stored stays as it is, byte for byte.
func TestThreat034FailedRefresh(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		o     trust.Outcome
		r     trust.Reason
	}{
		"expired":         {func(w *world) { w.clock = w.clock.AddDate(0, 0, 8) }, trust.Unreachable, trust.ReasonExpiredRoot},
		"rollback":        {func(w *world) { w.Publish(1, w.clock.AddDate(0, 0, 7)) }, trust.Failed, trust.ReasonBadSignature},
		"foreign key":     {func(w *world) { _, w.Key, _ = ed25519.GenerateKey(nil); w.Publish(9, w.clock.AddDate(0, 0, 7)) }, trust.Failed, trust.ReasonBadSignature},
		"gone":            {func(w *world) { _ = os.Remove(filepath.Join(w.Dir, "timestamp.json")) }, trust.Unreachable, trust.ReasonNetwork},
		"malformed":       {func(w *world) { w.Write("timestamp.json", []byte("{")) }, "", ""},
		"changed target":  {func(w *world) { w.Publish(9, w.clock.AddDate(0, 0, 7)); w.spoil() }, trust.Failed, trust.ReasonBadSignature},
		"missing targets": {func(w *world) { delete(w.Files, targetRoot); w.Publish(9, w.clock.AddDate(0, 0, 7)) }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Publish(5, w.clock.AddDate(0, 0, 7))
			if _, err := w.store.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := tree(t, w.store.o.Dir)
			c.spoil(w)
			m, err := w.store.Refresh(t.Context())
			if err == nil {
				t.Fatalf("refreshed: %+v", m)
			}
			if o, r := trust.Classify(err); c.o != "" && (o != c.o || r != c.r) {
				t.Errorf("%s (%s): %v", o, r, err)
			}
			if after := tree(t, w.store.o.Dir); after != before {
				t.Errorf("the store changed:\n%s\n%s", before, after)
			}
			if m, err := w.store.Load(); err != nil || string(m.TrustedRoot) != "root 1" {
				t.Errorf("load: %+v, %v", m, err)
			}
		})
	}
}

// spoil changes the bytes of every target file.
func (w *world) spoil() {
	files, _ := filepath.Glob(filepath.Join(w.Dir, "targets", "*.trusted_root.json"))
	for _, f := range files {
		if err := os.WriteFile(f, []byte("root X"), 0o600); err != nil {
			panic(err)
		}
	}
}

func TestDamagedStore(t *testing.T) {
	w := newWorld(t)
	if _, err := w.store.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(w.store.o.Dir, "gen-*", "material", "trusted_root.json"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.WriteFile(files[0], []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.store.Load()
	if o, r := trust.Classify(err); o != trust.Unreachable || r != trust.ReasonExpiredRoot || !strings.Contains(err.Error(), "headgate db update") {
		t.Errorf("%v", err)
	}
	for _, s := range []string{"", "{", `{"generation":"../../etc"}`} {
		if err := os.WriteFile(filepath.Join(w.store.o.Dir, stateFile), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Load(); err == nil {
			t.Errorf("state %q", s)
		}
	}
}

func TestDirFetcherBound(t *testing.T) {
	dir := t.TempDir()
	f := &dirFetcher{dir}
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := f.DownloadFile("https://x.invalid/a", 5, 0); err != nil || string(b) != "12345" {
		t.Error(err)
	}
	if _, err := f.DownloadFile("https://x.invalid/a", 4, 0); err == nil {
		t.Error("one byte above the bound")
	}
	if _, err := f.DownloadFile("https://x.invalid/../../etc/hostname", 1<<20, 0); err == nil {
		t.Error("left the folder")
	}
}

// What the user vouches for is handed out as it is, and a folder without root changes nothing.
func TestAdopt(t *testing.T) {
	obtained := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, err := New(Options{Dir: filepath.Join(t.TempDir(), "x"), NPMKeys: keysTarget})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []Material{{}, {TrustedRoot: []byte("root")}, {Obtained: obtained}, {TrustedRoot: bytes.Repeat([]byte{'x'}, MaxFile+1), Obtained: obtained}} {
		if err := s.Adopt(m); err == nil {
			t.Errorf("adopted a root of %d bytes from %s", len(m.TrustedRoot), m.Obtained)
		}
		if _, err := s.Load(); err == nil {
			t.Error("something is stored")
		}
	}
	for _, root := range []string{"first", "second"} {
		if err := s.Adopt(Material{TrustedRoot: []byte(root), NPMKeys: []byte("keys"), Obtained: obtained}); err != nil {
			t.Fatal(err)
		}
		m, err := s.Load()
		if err != nil || string(m.TrustedRoot) != root || string(m.NPMKeys) != "keys" || m.SigningConfig != nil || !m.Obtained.Equal(obtained) {
			t.Errorf("%+v, %v", m, err)
		}
	}
	if es, err := os.ReadDir(s.o.Dir); err != nil || len(es) != 2 {
		t.Errorf("%d entries are left, expected one generation and the state: %v", len(es), err)
	}
}
