package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/sbom/revision"
	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	// MaxRead bounds what is read of one source, in bytes.
	MaxRead = 4 << 30
	// MaxMirrors bounds the mirrors and folders of mirrors that a user may name.
	MaxMirrors = 1000
	// maxElements bounds the path elements of a repository's URL.
	maxElements = 8
)

// ErrNoMirror is part of the error about a repository that the user has no mirror of.
var ErrNoMirror = errors.New("no mirror is at hand")

// Mirrors are the git mirrors that a user names.
type Mirrors struct {
	folders []string          // hold mirrors at HOST/PATH or HOST/PATH.git
	named   map[string]string // "host/path" in lower case: directory
}

// Parse reads what the user names: "URL=DIR" for the mirror of one repository, or
// "DIR" for a folder that holds mirrors by host and path.
func Parse(specs []string) (*Mirrors, error) {
	if len(specs) > MaxMirrors {
		return nil, fmt.Errorf("%d mirrors are named, more than %d", len(specs), MaxMirrors)
	}
	m := &Mirrors{named: map[string]string{}}
	for _, s := range specs {
		dir, repo := s, ""
		if u, d, ok := strings.Cut(s, "="); ok && strings.Contains(u, "://") {
			key, err := key(u)
			if err != nil {
				return nil, err
			}
			dir, repo = d, strings.ToLower(key)
		}
		fi, err := os.Stat(dir)
		if err == nil && !fi.IsDir() {
			err = errors.New("is no directory")
		}
		if err != nil {
			return nil, fmt.Errorf("source mirror %q: %w", s, err)
		}
		if repo == "" {
			m.folders = append(m.folders, dir)
		} else {
			m.named[repo] = dir
		}
	}
	return m, nil
}

var element = regexp.MustCompile(`^[A-Za-z0-9_~][A-Za-z0-9._~+-]*$`)

// key is a repository's URL as "host/path", fit to be a path below a folder: the
// URL may come from a certificate or an unsigned record.
func key(repository string) (string, error) {
	u, err := url.Parse(strings.TrimPrefix(repository, "git+"))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Port() != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", trust.Undecidable(trust.ReasonUnsupported, "repository %.200q is no plain https URL", repository)
	}
	k := strings.ToLower(u.Host) + "/" + strings.TrimSuffix(strings.Trim(u.EscapedPath(), "/"), ".git")
	parts := strings.Split(k, "/")
	if len(parts) < 2 || len(parts) > maxElements || slices.ContainsFunc(parts, func(p string) bool { return !element.MatchString(p) }) {
		return "", trust.Undecidable(trust.ReasonUnsupported, "repository %.200q has a path that no mirror is looked for under", repository)
	}
	return k, nil
}

// find returns the directory of a repository's mirror.
func (m *Mirrors) find(repository string) (string, error) {
	k, err := key(repository)
	if err != nil {
		return "", err
	}
	if dir, ok := m.named[strings.ToLower(k)]; ok {
		return dir, nil
	}
	for _, f := range m.folders {
		for _, name := range []string{k, k + ".git", strings.ToLower(k), strings.ToLower(k) + ".git"} {
			dir := filepath.Join(f, filepath.FromSlash(name))
			if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", repository, ErrNoMirror)
}

// Source is where a package is said to come from.
type Source struct {
	Repository string // https URL
	// Commit is the full id; where it is empty, the first of Tags that the mirror has counts.
	Commit string
	Tags   []string
	// By says who says so, to follow "as": "signed provenance says".
	By string
	// Signed says that By is a signature.
	Signed bool
}

// Mirrored reports whether the mirror itself says which commit is meant.
func (s Source) Mirrored() bool { return len(s.Tags) > 0 }

// Go is the source of a module by the rules of the go command: the repository of
// its path, and the tag or commit of its version.
func Go(p trust.Package, version string) (Source, bool) {
	parts := strings.Split(p.FullName(), "/")
	if len(parts) < 3 || !strings.Contains(parts[0], ".") {
		return Source{}, false
	}
	s := Source{Repository: "https://" + strings.Join(parts[:3], "/"), By: "the module's path and version say"}
	version = strings.TrimSuffix(version, "+incompatible")
	if module.IsPseudoVersion(version) {
		rev, err := module.PseudoVersionRev(version)
		if err != nil {
			return Source{}, false
		}
		s.Tags = []string{rev}
		return s, true
	}
	prefix, _, _ := module.SplitPathVersion(p.FullName())
	tag := version
	if sub := strings.TrimPrefix(strings.TrimPrefix(prefix, strings.Join(parts[:3], "/")), "/"); sub != "" && len(parts) > 3 && strings.HasPrefix(prefix, strings.Join(parts[:3], "/")+"/") {
		tag = sub + "/" + version
	}
	s.Tags = []string{"refs/tags/" + tag}
	return s, true
}

// Result is how a package's files relate to its source.
type Result struct {
	Source
	// Same is how many files are the source's, byte for byte; Made how many the
	// package format itself adds.
	Same, Made int
	// Extra are files that the source does not have, Changed those that it has with
	// other content, by path inside the package, sorted.
	Extra, Changed []string
	// Forged are files that bear git's name of a source file and other content.
	Forged []string
}

// Compare compares the files of an artifact with the source's.
func (m *Mirrors) Compare(ctx context.Context, src Source, p trust.Package, r *inspect.Report) (res Result, err error) {
	defer func() {
		if c := recover(); c != nil {
			err = trust.Undecidable(trust.ReasonInternal, "reading the mirror of %s crashed: %v", src.Repository, c)
		}
	}()
	dir, err := m.find(src.Repository)
	if err != nil {
		return res, err
	}
	repo, err := revision.OpenMirror(dir)
	if err != nil {
		return res, trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	defer repo.Close()
	tree, err := at(repo, &src)
	if err != nil {
		return res, err
	}
	blobs, err := tree.Blobs()
	if err != nil {
		return res, trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	c := comparison{ctx: ctx, tree: tree, byPath: map[string]revision.Blob{}, byID: map[string][]revision.Blob{}, known: map[string]string{}}
	for _, b := range blobs {
		c.byPath[b.Path] = b
		c.byID[b.ID] = append(c.byID[b.ID], b)
	}
	c.res.Source = src
	if err := c.run(ownFiles(p, r)); err != nil {
		return res, err
	}
	return c.res, nil
}

// at opens the commit that src names, and fills it in.
func at(repo *revision.Repository, src *Source) (*revision.Tree, error) {
	names := src.Tags
	if src.Commit != "" {
		if !fullID.MatchString(src.Commit) {
			return nil, trust.Undecidable(trust.ReasonUnsupported, "commit %.80q is no full SHA-1 id", src.Commit)
		}
		names = []string{src.Commit}
	}
	err := fmt.Errorf("no commit and no tag is named")
	for _, n := range names {
		var tree *revision.Tree
		if tree, err = repo.TopTree(n); err == nil {
			src.Commit = tree.Commit()
			return tree, nil
		}
	}
	return nil, trust.Undecidable(trust.ReasonNotFound, "the mirror of %s does not hold the commit or tag that is the source as %s; bring it up to date (git fetch --all --tags), or find out why the commit is not there: %w", src.Repository, src.By, err)
}

var fullID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// own is a file of a package that its source should have.
type own struct {
	shown string // by path inside the package
	rel   string // without the package's top folder
	file  inspect.File
	made  bool // the package format adds or rewrites it
}

type comparison struct {
	ctx    context.Context
	tree   *revision.Tree
	byPath map[string]revision.Blob
	byID   map[string][]revision.Blob
	known  map[string]string // blob id: SHA-256
	read   int64
	res    Result
}

// run finds out which folder of the source the package was made from, by where
// the contents of its files stand, and judges each file.
func (c *comparison) run(files []own) error {
	votes := map[string]int{}
	for _, f := range files {
		for _, b := range c.byID[f.file.Blob] {
			if dir, ok := strings.CutSuffix("/"+b.Path, "/"+f.rel); ok {
				votes[dir]++
				if slices.Contains(manifests, path.Base(f.rel)) {
					votes[dir] += len(files) // says which package of a repository it is
				}
			}
		}
	}
	base, most := "", 0
	for dir, n := range votes {
		if n > most || n == most && (len(dir) < len(base) || len(dir) == len(base) && dir < base) {
			base, most = dir, n
		}
	}
	base = strings.TrimPrefix(base, "/")
	for _, f := range files {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		same, forged, err := c.has(f, base)
		_, there := c.byPath[path.Join(base, f.rel)]
		switch {
		case err != nil:
			return err
		case same:
			c.res.Same++
		case forged:
			c.res.Forged = append(c.res.Forged, f.shown)
		case f.made:
			c.res.Made++
		case there:
			c.res.Changed = append(c.res.Changed, f.shown)
		default:
			c.res.Extra = append(c.res.Extra, f.shown)
		}
	}
	return nil
}

// manifests are the files that name a package.
var manifests = []string{"go.mod", "package.json", "Cargo.toml", "pyproject.toml", "setup.cfg", "setup.py"}

// has reports whether the source has the file's content where it belongs, or
// elsewhere under the same name: build tools move files, they do not rename them.
func (c *comparison) has(f own, base string) (same, forged bool, err error) {
	for _, b := range c.byID[f.file.Blob] {
		if b.Path != path.Join(base, f.rel) && path.Base(b.Path) != path.Base(f.rel) {
			continue
		}
		sum, err := c.sum(b)
		if err != nil {
			return false, false, err
		}
		if sum == f.file.SHA256 {
			return true, false, nil
		}
		forged = true
	}
	return false, forged, nil
}

// sum is the SHA-256 of a source file.
func (c *comparison) sum(b revision.Blob) (string, error) {
	if s, ok := c.known[b.ID]; ok {
		return s, nil
	}
	r, size, err := c.tree.OpenBlob(b)
	if err != nil {
		return "", trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	defer r.Close()
	if c.read += size; c.read > MaxRead {
		return "", trust.Undecidable(trust.ReasonTooLarge, "comparing with commit %s would read more than %d bytes", c.tree.Commit(), int64(MaxRead))
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("has %d bytes, not %d", n, size)
	}
	if err != nil {
		return "", trust.Undecidable(trust.ReasonMalformed, "reading %s of commit %s: %w", b.Path, c.tree.Commit(), err)
	}
	s := hex.EncodeToString(h.Sum(nil))
	c.known[b.ID] = s
	return s, nil
}
