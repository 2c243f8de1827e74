package revision

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bounds of trees.
const (
	MaxFile    = 256 << 20 // bytes of one file
	MaxEntries = 2_000_000 // entries of one directory
	MaxBlobs   = 2_000_000 // files of one tree, as Blobs lists them
)

// Tree is the directory of a commit as a file system: fs.FS, fs.ReadDirFS,
// fs.ReadFileFS and fs.StatFS. Symbolic links show as such and are never
// followed; submodules show as irregular files and cannot be opened. Contents
// are as committed: no line-end conversion, no filters.
type Tree struct {
	repo   *Repository
	commit *object.Commit
	top    plumbing.Hash
}

// Tree opens the tree of a revision, at the directory that the repository was
// opened with. A directory that the revision does not have yet is an empty tree.
func (r *Repository) Tree(expr string) (*Tree, error) {
	id, err := r.Resolve(expr)
	if err != nil {
		return nil, err
	}
	return r.at(id, r.prefix)
}

// TopTree is Tree at the top of the repository, whatever directory was opened:
// the place of headgate.yaml and headgate.trust.
func (r *Repository) TopTree(expr string) (*Tree, error) {
	id, err := r.Resolve(expr)
	if err != nil {
		return nil, err
	}
	return r.at(id, "")
}

func (r *Repository) at(id, dir string) (*Tree, error) {
	c, err := r.repo.CommitObject(plumbing.NewHash(id))
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", id, err)
	}
	t := &Tree{repo: r, commit: c, top: c.TreeHash}
	if dir == "" {
		return t, nil
	}
	e, err := t.find(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && e.mode != filemode.Dir {
		t.top = plumbing.ZeroHash
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	t.top = e.hash
	return t, nil
}

// Commit is the full id of the commit.
func (t *Tree) Commit() string { return t.commit.Hash.String() }

// entry is one name of a directory.
type entry struct {
	tree *Tree
	name string
	mode filemode.FileMode
	hash plumbing.Hash
	size int64 // -1 until asked for
}

func (t *Tree) list(h plumbing.Hash) ([]entry, error) {
	if h == plumbing.ZeroHash {
		return nil, nil
	}
	tree, err := t.repo.repo.TreeObject(h)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("tree %s of commit %s is %w; run: git fetch --refetch origin", h, t.commit.Hash, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("reading tree %s: %w", h, err)
	}
	if len(tree.Entries) > MaxEntries {
		return nil, fmt.Errorf("tree %s has more than %d entries", h, MaxEntries)
	}
	out := make([]entry, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") {
			return nil, fmt.Errorf("tree %s has an entry %q that no path can name", h, e.Name)
		}
		out = append(out, entry{tree: t, name: e.Name, mode: e.Mode, hash: e.Hash, size: -1})
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(out); i++ {
		if out[i].name == out[i-1].name {
			return nil, fmt.Errorf("tree %s has two entries %q", h, out[i].name)
		}
	}
	return out, nil
}

func (t *Tree) find(name string) (entry, error) {
	at := entry{tree: t, name: ".", mode: filemode.Dir, hash: t.top}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if at.mode != filemode.Dir {
			return entry{}, fs.ErrNotExist
		}
		list, err := t.list(at.hash)
		if err != nil {
			return entry{}, err
		}
		i, ok := slices.BinarySearchFunc(list, part, func(e entry, n string) int { return strings.Compare(e.name, n) })
		if !ok {
			return entry{}, fs.ErrNotExist
		}
		at = list[i]
	}
	return at, nil
}

func (t *Tree) lookup(op, name string) (entry, error) {
	if !fs.ValidPath(name) {
		return entry{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, err := t.find(name)
	if err != nil {
		return entry{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return e, nil
}

// Stat implements fs.StatFS; it does not follow symbolic links.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	e, err := t.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return e.Info()
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if e.mode != filemode.Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list, err := t.list(e.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(list))
	for i, e := range list {
		out[i] = e
	}
	return out, nil
}

// ReadFile implements fs.ReadFileFS. Files above MaxFile are refused.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	f, err := t.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	e, err := t.lookup("open", name)
	if err != nil {
		return nil, err
	}
	switch e.mode {
	case filemode.Dir:
		list, err := t.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &directory{entry: e, rest: list}, nil
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
	default:
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is a symbolic link or submodule")}
	}
	blob, err := t.repo.repo.BlobObject(e.hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = fmt.Errorf("blob %s is %w (partial clone); run: git fetch --refetch --no-filter origin", e.hash, ErrMissing)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if blob.Size > MaxFile {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%d bytes are more than %d", blob.Size, int64(MaxFile))}
	}
	e.size = blob.Size
	r, err := blob.Reader()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &file{entry: e, ReadCloser: r}, nil
}

// Files lists the regular files below the tree as slash paths, sorted.
// Directories that skip says true for are not read.
func (t *Tree) Files(skip func(dir string) bool) ([]string, error) {
	var out []string
	err := fs.WalkDir(t, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && skip != nil && skip(p):
			return fs.SkipDir
		case d.Type().IsRegular():
			out = append(out, p)
		}
		return nil
	})
	return out, err
}

// Blob is one regular file of a tree, with git's name for its content.
type Blob struct {
	Path string
	ID   string // 40 hex digits
}

// Blobs lists the regular files of the tree without reading them, sorted by path.
func (t *Tree) Blobs() ([]Blob, error) {
	var out []Blob
	var walk func(h plumbing.Hash, prefix string, depth int) error
	walk = func(h plumbing.Hash, prefix string, depth int) error {
		if depth > maxDepth {
			return fmt.Errorf("commit %s has folders nested deeper than %d", t.commit.Hash, maxDepth)
		}
		list, err := t.list(h)
		if err != nil {
			return err
		}
		for _, e := range list {
			switch e.mode {
			case filemode.Dir:
				if err := walk(e.hash, prefix+e.name+"/", depth+1); err != nil {
					return err
				}
			case filemode.Regular, filemode.Executable, filemode.Deprecated:
				if len(out) == MaxBlobs {
					return fmt.Errorf("commit %s has more than %d files", t.commit.Hash, MaxBlobs)
				}
				out = append(out, Blob{Path: prefix + e.name, ID: e.hash.String()})
			}
		}
		return nil
	}
	if err := walk(t.top, "", 0); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Blob) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// maxDepth bounds folders inside folders.
const maxDepth = 200

// OpenBlob returns the content of a file that Blobs listed, and its size.
func (t *Tree) OpenBlob(b Blob) (io.ReadCloser, int64, error) {
	blob, err := t.repo.repo.BlobObject(plumbing.NewHash(b.ID))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		err = fmt.Errorf("blob %s is %w (partial clone); run: git fetch --refetch --no-filter origin", b.ID, ErrMissing)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s of commit %s: %w", b.Path, t.commit.Hash, err)
	}
	if blob.Size > MaxFile {
		return nil, 0, fmt.Errorf("reading %s of commit %s: %d bytes are more than %d", b.Path, t.commit.Hash, blob.Size, int64(MaxFile))
	}
	r, err := blob.Reader()
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s of commit %s: %w", b.Path, t.commit.Hash, err)
	}
	return r, blob.Size, nil
}

// Name implements fs.DirEntry and fs.FileInfo.
func (e entry) Name() string { return path.Base(e.name) }

// ObjectID is the git id of the entry's content.
func (e entry) ObjectID() string { return e.hash.String() }

// IsDir implements fs.DirEntry and fs.FileInfo.
func (e entry) IsDir() bool { return e.mode == filemode.Dir }

// Type implements fs.DirEntry.
func (e entry) Type() fs.FileMode { return e.Mode().Type() }

// Info implements fs.DirEntry.
func (e entry) Info() (fs.FileInfo, error) {
	if e.size < 0 {
		e.size = 0
		switch e.mode {
		case filemode.Regular, filemode.Executable, filemode.Deprecated, filemode.Symlink:
			size, err := e.tree.repo.storage.EncodedObjectSize(e.hash)
			if err != nil {
				return nil, fmt.Errorf("size of %s: %w", e.hash, err)
			}
			e.size = size
		}
	}
	return e, nil
}

// Size implements fs.FileInfo.
func (e entry) Size() int64 { return max(0, e.size) }

// Mode implements fs.FileInfo.
func (e entry) Mode() fs.FileMode {
	switch e.mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Regular, filemode.Deprecated:
		return 0o444
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	}
	return fs.ModeIrregular
}

// ModTime implements fs.FileInfo: the time of the commit.
func (e entry) ModTime() time.Time { return e.tree.commit.Committer.When }

// Sys implements fs.FileInfo.
func (e entry) Sys() any { return nil }

type file struct {
	entry
	io.ReadCloser
}

func (f *file) Stat() (fs.FileInfo, error) { return f.Info() }

type directory struct {
	entry
	rest []fs.DirEntry
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.Info() }
func (d *directory) Close() error               { return nil }
func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		out := d.rest
		d.rest = nil
		return out, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out, nil
}
