package golang

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// Bounds of the proxy's answers.
const (
	MaxInfo    = 64 << 10
	MaxList    = 4 << 20
	MaxHistory = 20 // earlier releases that are listed
	latestAge  = time.Hour
)

// Ends of a GOPROXY list.
var (
	errOff      = errors.New("GOPROXY=off: no module proxy may be asked; set GOPROXY in your environment")
	errDirect   = errors.New("GOPROXY leads to direct access, which runs version control systems; headgate asks module proxies only")
	errNotThere = errors.New("no module proxy of GOPROXY has it")
)

// tries asks the proxies in order as the go command does: after "," it goes on
// only where the proxy says that it does not have the module, after "|" always.
func (a *Adapter) tries(ctx context.Context, mod string, ask func(base string) (*upstream.Response, error)) (*upstream.Response, error) {
	if mod != "" && matches(a.env.NoProxy, mod) {
		return nil, errDirect
	}
	last := error(errNotThere)
	for _, p := range a.env.Proxies {
		switch p.URL {
		case "off":
			return nil, errOff
		case "direct":
			return nil, errDirect
		}
		r, err := ask(p.URL)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case err == nil && r.Status == http.StatusOK:
			return r, nil
		case err == nil && (r.Status == http.StatusNotFound || r.Status == http.StatusGone):
			last = errNotThere
			continue
		case err == nil:
			err = &upstream.Error{Kind: upstream.KindNetwork, URL: r.URL, Status: r.Status, Err: errors.New("unexpected answer of the module proxy")}
		}
		if !p.AnyError {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// ask gets one document of a module from the proxies.
func (a *Adapter) ask(ctx context.Context, mod, suffix string, max int64, age time.Duration) (*upstream.Response, error) {
	p, err := module.EscapePath(mod)
	if err != nil {
		return nil, err
	}
	return a.tries(ctx, mod, func(base string) (*upstream.Response, error) {
		return a.get.Get(ctx, upstream.Request{URL: base + "/" + p + suffix, MaxBytes: max, MaxAge: age})
	})
}

// info is the proxy's unsigned record of a version.
type info struct {
	Version string
	Time    time.Time
	Origin  *struct{ VCS, URL, Subdir, Ref, Hash string }
}

// facts gathers what the proxy says without signing it.
func (a *Adapter) facts(ctx context.Context, m module.Version) trust.Facts {
	var (
		f      trust.Facts
		mu     sync.Mutex
		wg     sync.WaitGroup
		missed = func(what string, err error) {
			mu.Lock()
			defer mu.Unlock()
			f.Notes = append(f.Notes, fmt.Sprintf("%s is not known: %v", what, err))
		}
	)
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return f
	}
	wg.Add(2)
	go func() {
		defer wg.Done()
		r, err := a.ask(ctx, m.Path, "/@v/"+v+".info", MaxInfo, immutableAge)
		var i info
		if err == nil {
			err = json.Unmarshal(r.Body, &i)
		}
		if err == nil && i.Version != m.Version {
			err = fmt.Errorf("the proxy's record is of version %.60q", i.Version)
		}
		if err != nil {
			missed("publication", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		f.Published = i.Time
		if o := i.Origin; o != nil {
			f.VCSRef, f.VCSCommit = o.Ref, o.Hash
			if strings.HasPrefix(o.URL, "https://") {
				f.Repository = strings.TrimSuffix(o.URL, ".git")
			}
		}
	}()
	go func() {
		defer wg.Done()
		if m.Path == toolchain {
			return
		}
		latest, mf, err := a.latest(ctx, m.Path)
		if err != nil {
			missed("retraction", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		f.LatestKnown = latest
		if mf.Module != nil && mf.Module.Deprecated != "" {
			f.Deprecated = &mf.Module.Deprecated
		}
		for _, r := range mf.Retract {
			if semver.Compare(r.Low, m.Version) <= 0 && semver.Compare(m.Version, r.High) <= 0 {
				why := r.Rationale
				f.Retracted = &why
				break
			}
		}
	}()
	wg.Wait()
	slices.Sort(f.Notes)
	return f
}

// latest returns the newest version and its go.mod, in which retractions and
// deprecation of all versions stand. Like the go command, it takes the list of
// versions first, and @latest where that is empty.
func (a *Adapter) latest(ctx context.Context, mod string) (string, *modfile.File, error) {
	r, err := a.ask(ctx, mod, "/@v/list", MaxList, latestAge)
	if err != nil {
		return "", nil, err
	}
	version := newest(mod, string(r.Body))
	if version == "" {
		if r, err = a.ask(ctx, mod, "/@latest", MaxInfo, latestAge); err != nil {
			return "", nil, err
		}
		var i info
		if err := json.Unmarshal(r.Body, &i); err != nil {
			return "", nil, fmt.Errorf("reading the latest version: %w", err)
		}
		if module.Check(mod, i.Version) != nil {
			return "", nil, fmt.Errorf("latest version %.60q is no version of the module", i.Version)
		}
		version = i.Version
	}
	v, err := module.EscapeVersion(version)
	if err != nil {
		return "", nil, err
	}
	if r, err = a.ask(ctx, mod, "/@v/"+v+".mod", modzip.MaxGoMod, immutableAge); err != nil {
		return "", nil, err
	}
	mf, err := modfile.ParseLax("go.mod", r.Body, nil)
	if err != nil {
		return "", nil, fmt.Errorf("reading the latest go.mod: %w", err)
	}
	return version, mf, nil
}

// newest picks from a version list as the go command does: releases before
// pre-releases, and versions of modules before +incompatible ones.
func newest(mod, list string) string {
	rank := func(v string) int {
		switch {
		case semver.Prerelease(v) != "":
			return 0
		case strings.HasSuffix(v, "+incompatible"):
			return 1
		}
		return 2
	}
	best := ""
	for v := range strings.FieldsSeq(list) {
		if module.Check(mod, v) != nil || module.CanonicalVersion(v) != v {
			continue
		}
		if best == "" || rank(v) > rank(best) || rank(v) == rank(best) && semver.Compare(v, best) > 0 {
			best = v
		}
	}
	return best
}

// history lists the releases before m, newest first. They are not looked up in
// the database: it signs every release of every public module, so that eight
// look-ups a module would cost most of a check's requests and say nothing about
// who published. The registry's word is kept as a claim, which can only tighten.
func (a *Adapter) history(ctx context.Context, m module.Version, n int) []trust.History {
	r, err := a.ask(ctx, m.Path, "/@v/list", MaxList, latestAge)
	if err != nil {
		return nil
	}
	var vs []string
	for v := range strings.FieldsSeq(string(r.Body)) {
		if module.Check(m.Path, v) == nil && module.CanonicalVersion(v) == v && semver.Compare(v, m.Version) < 0 {
			vs = append(vs, v)
		}
	}
	semver.Sort(vs)
	slices.Reverse(vs)
	vs = slices.Compact(vs)
	hs := make([]trust.History, min(n, MaxHistory, len(vs)))
	for i := range hs {
		hs[i] = trust.History{Version: vs[i], Claimed: trust.AssuranceRegistry}
	}
	return hs
}

// HashZip computes the h1 hash of a module zip after checking that the zip holds
// nothing but the module's files by the rules of golang.org/x/mod/zip: the
// module@version/ prefix, no two names that fold to one, no links, at most
// 500 MiB. The sizes are counted on the bytes, not taken from the headers.
func HashZip(m module.Version, r io.ReaderAt, size int64) (trust.Digest, error) {
	if size > modzip.MaxZipFile {
		return trust.Digest{}, fmt.Errorf("module zip of %d bytes, at most %d are read", size, modzip.MaxZipFile)
	}
	z, err := zip.NewReader(r, size)
	if err != nil {
		return trust.Digest{}, fmt.Errorf("reading module zip: %w", err)
	}
	prefix := m.Path + "@" + m.Version + "/"
	var (
		files []modzip.File
		names []string
		byN   = map[string]*zip.File{}
	)
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return trust.Digest{}, fmt.Errorf("module zip has %.200q outside %s", f.Name, prefix)
		}
		if byN[f.Name] != nil {
			return trust.Digest{}, fmt.Errorf("module zip has %.200q twice", f.Name)
		}
		if !f.Mode().IsRegular() && !f.Mode().IsDir() {
			return trust.Digest{}, fmt.Errorf("module zip has %.200q, which is no regular file", f.Name)
		}
		byN[f.Name] = f
		names = append(names, f.Name)
		if name != "" && !strings.HasSuffix(name, "/") {
			files = append(files, zipFile{f, name})
		}
	}
	if _, err := modzip.CheckFiles(files); err != nil {
		return trust.Digest{}, fmt.Errorf("module zip: %w", err)
	}
	left := int64(modzip.MaxZipFile)
	h, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		rc, err := byN[name].Open()
		if err != nil {
			return nil, err
		}
		return &counted{rc, &left}, nil
	})
	if err != nil {
		return trust.Digest{}, fmt.Errorf("reading module zip: %w", err)
	}
	return trust.ParseDigest(h)
}

// HashMod computes the h1 hash of a go.mod file.
func HashMod(b []byte) (trust.Digest, error) {
	h, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	if err != nil {
		return trust.Digest{}, err
	}
	return trust.ParseDigest(h)
}

// zipFile is a zip entry as x/mod's rules want it, without the module's prefix.
type zipFile struct {
	f    *zip.File
	name string
}

// Path implements modzip.File.
func (z zipFile) Path() string { return z.name }

// Lstat implements modzip.File.
func (z zipFile) Lstat() (os.FileInfo, error) { return z.f.FileInfo(), nil }

// Open implements modzip.File.
func (z zipFile) Open() (io.ReadCloser, error) { return z.f.Open() }

// counted takes what is read off a budget that all files share.
type counted struct {
	io.ReadCloser
	left *int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if *c.left -= int64(n); *c.left < 0 {
		return 0, fmt.Errorf("contents larger than %d bytes", int64(modzip.MaxZipFile))
	}
	return n, err
}

// fetch opens the module's zip, or its go.mod, after verifying its h1 hash.
func (a *Adapter) fetch(ctx context.Context, m module.Version, art trust.Artifact) (adapter.Blob, error) {
	want := art.Digests.Get(trust.DirHash1)
	if want.IsZero() {
		return nil, errors.New("artifact without an h1 hash cannot be verified")
	}
	suffix, max := ".zip", int64(modzip.MaxZipFile)
	hash := func(r io.ReaderAt, n int64) (trust.Digest, error) { return HashZip(m, r, n) }
	if art.Name == goMod {
		suffix, max = ".mod", modzip.MaxGoMod
		hash = func(r io.ReaderAt, n int64) (trust.Digest, error) {
			b, err := io.ReadAll(io.NewSectionReader(r, 0, n))
			if err != nil {
				return trust.Digest{}, err
			}
			return HashMod(b)
		}
	}
	p, err := module.EscapePath(m.Path)
	if err != nil {
		return nil, err
	}
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return nil, err
	}
	var blob adapter.Blob
	_, err = a.tries(ctx, m.Path, func(base string) (*upstream.Response, error) {
		b, err := a.get.Open(ctx, upstream.Request{URL: base + "/" + p + "/@v/" + v + suffix, MaxBytes: max, Verify: func(r io.ReaderAt, n int64) error {
			got, err := hash(r, n)
			if err != nil {
				return err
			}
			if !got.Equal(want) {
				return fmt.Errorf("bytes hash to %s, want %s", got, want)
			}
			return nil
		}})
		var ue *upstream.Error
		switch {
		case errors.As(err, &ue) && (ue.Status == http.StatusNotFound || ue.Status == http.StatusGone):
			return &upstream.Response{Status: ue.Status}, nil
		case err != nil:
			return nil, err
		}
		blob = b
		return &upstream.Response{Status: http.StatusOK}, nil
	})
	if err != nil {
		return nil, err
	}
	return blob, nil
}
