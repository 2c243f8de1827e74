package golang

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

const dbName = "sumdb.example.com"

// world is a module proxy with a checksum database behind it, in memory, with
// keys of its own.
type world struct {
	t          testing.TB
	vkey, skey string
	mods       map[module.Version]map[string]string // files of each module
	info       map[module.Version]string
	latest     map[string]string
	records    map[module.Version]string // replaces the record's text
	db         *sumdb.TestServer
	rewrite    func(path string, body []byte) []byte // what a liar makes of the database's answers

	mu    sync.Mutex
	paths []string
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, mods: map[module.Version]map[string]string{}, info: map[module.Version]string{}, latest: map[string]string{}, records: map[module.Version]string{}}
	var err error
	if w.skey, w.vkey, err = note.GenerateKey(rand.Reader, dbName); err != nil {
		t.Fatal(err)
	}
	w.db = w.newDB()
	return w
}

func (w *world) newDB() *sumdb.TestServer {
	return sumdb.NewTestServer(w.skey, func(path, vers string) ([]byte, error) {
		m := module.Version{Path: path, Version: vers}
		if text, ok := w.records[m]; ok {
			return []byte(text), nil
		}
		if w.mods[m] == nil {
			return nil, os.ErrNotExist
		}
		return []byte(w.record(m)), nil
	})
}

func (w *world) add(path, version string, files map[string]string) module.Version {
	m := module.Version{Path: path, Version: version}
	if files["go.mod"] == "" {
		files["go.mod"] = "module " + path + "\n"
	}
	w.mods[m] = files
	w.info[m] = fmt.Sprintf(`{"Version":%q,"Time":"2026-01-02T03:04:05Z","Origin":{"VCS":"git","URL":"https://git.example.com/r.git","Ref":"refs/tags/%s","Hash":"0123456789012345678901234567890123456789"}}`, version, version)
	w.latest[path] = version
	return m
}

func (w *world) zip(m module.Version) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(w.mods[m])) {
		f, err := z.Create(m.Path + "@" + m.Version + "/" + name)
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprint(f, w.mods[m][name])
	}
	if err := z.Close(); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) hashes(m module.Version) (zip, mod trust.Digest) {
	b := w.zip(m)
	zip, err := HashZip(m, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		w.t.Fatal(err)
	}
	if mod, err = HashMod([]byte(w.mods[m]["go.mod"])); err != nil {
		w.t.Fatal(err)
	}
	return zip, mod
}

func (w *world) record(m module.Version) string {
	zip, mod := w.hashes(m)
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zip, m.Path, m.Version, mod)
}

// component is m as go.sum states it.
func (w *world) component(m module.Version) sbom.Component {
	zip, mod := w.hashes(m)
	return component(w.t, m, trust.Artifact{Digests: trust.Digests{zip}}, trust.Artifact{Name: "go.mod", Digests: trust.Digests{mod}})
}

func component(t testing.TB, m module.Version, arts ...trust.Artifact) sbom.Component {
	t.Helper()
	ns, name := "", m.Path
	if i := strings.LastIndex(m.Path, "/"); i >= 0 {
		ns, name = m.Path[:i], m.Path[i+1:]
	}
	r, err := trust.NewRelease("golang", ns, name, m.Version)
	if err != nil {
		t.Fatal(err)
	}
	return sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: arts}
}

// ServeHTTP speaks the module proxy protocol with the database's mirror.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.paths = append(w.paths, r.URL.Path)
	db, rewrite := w.db, w.rewrite
	w.mu.Unlock()
	p := r.URL.Path
	if rest, ok := strings.CutPrefix(p, "/sumdb/"+dbName); ok {
		if rest == "/supported" {
			return
		}
		serveDB(db, rewrite, rest, rw, r)
		return
	}
	if strings.HasPrefix(p, "/lookup/") || strings.HasPrefix(p, "/tile/") {
		serveDB(db, rewrite, p, rw, r)
		return
	}
	escaped, file, ok := strings.Cut(strings.TrimPrefix(p, "/"), "/@")
	path, err := module.UnescapePath(escaped)
	if !ok || err != nil {
		http.NotFound(rw, r)
		return
	}
	switch {
	case file == "latest" && w.latest[path] != "":
		fmt.Fprint(rw, w.info[module.Version{Path: path, Version: w.latest[path]}])
		return
	case file == "v/list":
		for m := range w.mods {
			if m.Path == path {
				fmt.Fprintln(rw, m.Version)
			}
		}
		return
	}
	i := strings.LastIndex(file, ".")
	if i < 0 {
		http.NotFound(rw, r)
		return
	}
	v, err := module.UnescapeVersion(strings.TrimPrefix(file[:i], "v/"))
	m := module.Version{Path: path, Version: v}
	if err != nil || w.mods[m] == nil {
		http.NotFound(rw, r)
		return
	}
	switch file[i:] {
	case ".info":
		fmt.Fprint(rw, w.info[m])
	case ".mod":
		fmt.Fprint(rw, w.mods[m]["go.mod"])
	case ".zip":
		rw.Write(w.zip(m))
	default:
		http.NotFound(rw, r)
	}
}

// recorder keeps an answer so that a liar can change it.
type recorder struct {
	http.ResponseWriter
	body   bytes.Buffer
	status int
}

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(s int)           { r.status = s }

func serveDB(db *sumdb.TestServer, rewrite func(string, []byte) []byte, path string, rw http.ResponseWriter, r *http.Request) {
	q := r.Clone(r.Context())
	q.URL.Path = path
	rec := &recorder{ResponseWriter: rw, status: http.StatusOK}
	sumdb.NewServer(db).ServeHTTP(rec, q)
	b := rec.body.Bytes()
	if rewrite != nil {
		b = rewrite(path, b)
	}
	rw.WriteHeader(rec.status)
	rw.Write(b)
}

func (w *world) asked(sub string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, p := range w.paths {
		if strings.Contains(p, sub) {
			n++
		}
	}
	return n
}

// env is the user's environment with the world's proxy and database.
func (w *world) env(proxies string, more ...string) Environment {
	w.t.Helper()
	vars := map[string]string{"GOENV": "off", "GOPROXY": proxies, "GOSUMDB": w.vkey}
	for i := 0; i+1 < len(more); i += 2 {
		vars[more[i]] = more[i+1]
	}
	e, err := EnvFromOS(func(k string) string { return vars[k] }, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// adapter returns an adapter before the world, served by env.
func (w *world) adapter(env *adaptertest.Env, more ...string) *Adapter {
	w.t.Helper()
	base := env.Serve(w)
	a, err := New(Config{Getter: env.Getter(), State: env.State, Env: w.env(base, more...)})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}
