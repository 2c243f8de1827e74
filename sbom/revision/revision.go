package revision

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	billy "github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
	"golang.org/x/text/unicode/norm"
)

// Bounds.
const (
	MaxExpression = 512      // bytes of a revision expression
	MaxSteps      = 10_000   // commits that "~n" may go back
	MaxTagDepth   = 8        // tags that point to tags
	MaxAlternates = 32       // object directories that a repository may borrow from
	maxGitFile    = 64 << 10 // bytes of .git files, commondir, alternates, FETCH_HEAD
)

// ErrMissing is part of every error about a commit that the repository does not
// hold; the text names the command that fetches it.
var ErrMissing = errors.New("not in this repository")

// ErrAmbiguous is part of every error about a name that means several commits.
var ErrAmbiguous = errors.New("ambiguous")

// Repository is an open git repository. It is safe for use by one goroutine.
type Repository struct {
	repo    *git.Repository
	storage *filesystem.Storage
	dot     billy.Filesystem
	root    string
	prefix  string
	shallow bool
}

// Open finds the repository that dir belongs to: dir itself or the nearest
// parent with a ".git", or dir as a bare repository. Trees of the Repository
// begin at dir, not at the top of the repository.
func Open(dir string) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the git repository of %q: %w", dir, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	dotDir, root, err := findDotGit(abs)
	if err != nil {
		return nil, fmt.Errorf("opening the git repository of %q: %w", dir, err)
	}
	r := &Repository{root: root}
	if rel, err := filepath.Rel(root, abs); err == nil && rel != "." {
		r.prefix = filepath.ToSlash(rel)
	}
	return r.open(dotDir, dir)
}

// OpenMirror opens the repository that dir itself is: bare, or with a ".git" of
// its own. What stands above dir plays no part.
func OpenMirror(dir string) (*Repository, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the git repository %q: %w", dir, err)
	}
	r := &Repository{root: abs}
	if fi, err := os.Stat(filepath.Join(abs, ".git")); err == nil && fi.IsDir() {
		return r.open(filepath.Join(abs, ".git"), dir)
	}
	if !bare(abs) {
		return nil, fmt.Errorf("%s is no git repository: make one with git clone --mirror", dir)
	}
	return r.open(abs, dir)
}

// open opens the object database that belongs to dotDir.
func (r *Repository) open(dotDir, dir string) (*Repository, error) {
	dot := osfs.New(dotDir)
	var common billy.Filesystem
	objects := filepath.Join(dotDir, "objects")
	if b, err := readBounded(filepath.Join(dotDir, "commondir")); err == nil {
		dir := strings.TrimSpace(string(b))
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(dotDir, dir)
		}
		common, objects = osfs.New(dir), filepath.Join(dir, "objects")
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening the git repository of %q: %w", dir, err)
	}
	alternates, err := flattenAlternates(objects)
	if err != nil {
		return nil, fmt.Errorf("opening the git repository of %q: %w", dir, err)
	}
	var repoFS billy.Filesystem = dotgit.NewRepositoryFilesystem(dot, common)
	r.dot = repoFS
	if len(alternates) > 0 {
		repoFS = withAlternates{Filesystem: repoFS, text: strings.Join(alternates, "\n") + "\n"}
	}
	r.storage = filesystem.NewStorageWithOptions(repoFS, cache.NewObjectLRUDefault(), filesystem.Options{
		AlternatesFS:         osfs.New("/"),
		LargeObjectThreshold: MaxFile,
	})
	if r.repo, err = git.Open(r.storage, nil); err != nil {
		return nil, fmt.Errorf("opening the git repository of %q: %w", dir, err)
	}
	shallow, err := r.storage.Shallow()
	if err != nil {
		return nil, fmt.Errorf("reading which commits of %q are shallow: %w", dir, err)
	}
	r.shallow = len(shallow) > 0
	return r, nil
}

// Root is the top directory of the working tree, or the bare repository.
func (r *Repository) Root() string { return r.root }

// Prefix is the slash path from Root to the directory that was opened, "" at
// the top.
func (r *Repository) Prefix() string { return r.prefix }

// Close releases open packs.
func (r *Repository) Close() error { return r.storage.Close() }

// findDotGit prefers a ".git" here or above to a bare repository: git never
// checks out a ".git", but anybody can commit a directory that is a bare
// repository, and the base must not come from what is judged.
func findDotGit(dir string) (dotDir, root string, err error) {
	nearest := ""
	for at := dir; ; at = filepath.Dir(at) {
		p := filepath.Join(at, ".git")
		fi, err := os.Stat(p)
		switch {
		case err == nil && fi.IsDir():
			return p, at, nil
		case err == nil:
			b, err := readBounded(p)
			if err != nil {
				return "", "", err
			}
			target, ok := strings.CutPrefix(string(b), "gitdir:")
			if !ok {
				return "", "", fmt.Errorf("%s is neither a directory nor a gitdir file", p)
			}
			target = strings.TrimSpace(target)
			if !filepath.IsAbs(target) {
				target = filepath.Join(at, target)
			}
			if _, err := os.Stat(target); err != nil {
				return "", "", fmt.Errorf("%s points to a directory that is not there (is this a worktree whose repository was moved? `git worktree repair` mends that): %w", p, err)
			}
			return target, at, nil
		case !errors.Is(err, os.ErrNotExist):
			return "", "", err
		}
		if nearest == "" && bare(at) {
			nearest = at
		}
		if filepath.Dir(at) == at {
			if nearest != "" {
				return nearest, nearest, nil
			}
			return "", "", fmt.Errorf("no git repository here or above; name an SBOM as the base, or run in a clone")
		}
	}
}

func bare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, name, maxGitFile)
}

func readLimited(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// flattenAlternates lists all object directories that dir borrows from,
// directly or not, as absolute paths: go-git neither resolves relative ones
// against the object directory nor follows alternates of alternates.
func flattenAlternates(dir string) ([]string, error) {
	var out []string
	queue := []string{dir}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		b, err := readBounded(filepath.Join(at, "info", "alternates"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading alternates: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimRight(line, "\r\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if !filepath.IsAbs(line) {
				line = filepath.Join(at, line)
			}
			line = filepath.Clean(line)
			if line == filepath.Clean(dir) || slices.Contains(out, line) {
				continue
			}
			if len(out) == MaxAlternates {
				return nil, fmt.Errorf("reading alternates: more than %d object directories", MaxAlternates)
			}
			if fi, err := os.Stat(line); err != nil || !fi.IsDir() {
				// As git does: a missing alternate is an error only for the objects in it.
				continue
			}
			out = append(out, line)
			queue = append(queue, line)
		}
	}
	return out, nil
}

// withAlternates serves the flattened list in the place of objects/info/alternates.
type withAlternates struct {
	billy.Filesystem
	text string
}

func (fs withAlternates) Open(name string) (billy.File, error) {
	if filepath.ToSlash(filepath.Clean(name)) != "objects/info/alternates" {
		return fs.Filesystem.Open(name)
	}
	mem := memfs.New()
	f, err := mem.Create("alternates")
	if err != nil {
		return nil, err
	}
	if _, err := f.Write([]byte(fs.text)); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return mem.Open("alternates")
}

// checkExpression refuses what git, a shell or a reader could take for
// something else (THREATS 69 and 115).
func checkExpression(s string) error {
	switch {
	case s == "":
		return errors.New("empty revision")
	case len(s) > MaxExpression:
		return fmt.Errorf("revision of %d bytes is longer than %d", len(s), MaxExpression)
	case strings.HasPrefix(s, "-"):
		return fmt.Errorf("revision %q begins with a dash", s)
	case !utf8.ValidString(s):
		return fmt.Errorf("revision %q is not valid UTF-8", s)
	case !norm.NFKC.IsNormalString(s):
		return fmt.Errorf("revision %+q holds characters that stand for others", s)
	}
	for _, c := range s {
		if c < 0x20 || c == 0x7f || unicode.Is(unicode.C, c) || unicode.Is(unicode.Z, c) || unicode.IsSpace(c) {
			return fmt.Errorf("revision %+q holds the control or space character %U", s, c)
		}
	}
	return nil
}

var (
	fullID    = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	sha256ID  = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	shortID   = regexp.MustCompile(`^[0-9a-fA-F]{4,39}$`)
	oneSuffix = regexp.MustCompile(`^(?:~([0-9]*)|\^\{(?:commit)?\}|\^([0-9]*))`)
	pseudoRef = regexp.MustCompile(`^[A-Z_]*HEAD$`)
)

// Resolve returns the id of the commit that expr names: a branch, tag or remote
// branch, HEAD and the like, a full or abbreviated id, each with any number of
// "~n", "^n", "^{}" and "^{commit}", or "A...B" for the merge base of two such.
func (r *Repository) Resolve(expr string) (string, error) {
	if err := checkExpression(expr); err != nil {
		return "", err
	}
	if a, b, ok := strings.Cut(expr, "..."); ok {
		return r.MergeBase(cmp.Or(a, "HEAD"), cmp.Or(b, "HEAD"))
	}
	c, err := r.commit(expr)
	if err != nil {
		return "", err
	}
	return c.Hash.String(), nil
}

// MergeBase returns the best common ancestor of two revisions; of several, the
// one with the smallest id. In a shallow repository whose history ends before
// a common ancestor, the error says how to fetch the rest.
func (r *Repository) MergeBase(a, b string) (string, error) {
	for _, e := range []string{a, b} {
		if err := checkExpression(e); err != nil {
			return "", err
		}
	}
	ca, err := r.commit(a)
	if err != nil {
		return "", err
	}
	cb, err := r.commit(b)
	if err != nil {
		return "", err
	}
	if ca.Hash == cb.Hash {
		return ca.Hash.String(), nil
	}
	bases, err := ca.MergeBase(cb)
	if (err != nil || len(bases) == 0) && r.shallow {
		return "", fmt.Errorf("merge base of %q and %q is %w, which is shallow; run: git fetch --unshallow", a, b, ErrMissing)
	}
	if err != nil {
		return "", fmt.Errorf("merge base of %q and %q: %w", a, b, err)
	}
	if len(bases) == 0 {
		return "", fmt.Errorf("%q and %q have no common ancestor", a, b)
	}
	best := slices.MinFunc(bases, func(x, y *object.Commit) int { return bytes.Compare(x.Hash[:], y.Hash[:]) })
	return best.Hash.String(), nil
}

func (r *Repository) commit(expr string) (*object.Commit, error) {
	base, suffix := expr, ""
	if i := strings.IndexAny(expr, "~^"); i >= 0 {
		base, suffix = expr[:i], expr[i:]
	}
	if strings.Contains(base, "..") || strings.ContainsAny(base, ":*?[\\") || strings.Contains(base, "@{") {
		return nil, fmt.Errorf("revision %q: ranges, paths, patterns and reflog entries name no single commit; use a branch, tag, commit id, A...B, ~n or ^n", expr)
	}
	c, err := r.named(base)
	if err != nil {
		return nil, err
	}
	steps := 0
	for suffix != "" {
		m := oneSuffix.FindStringSubmatch(suffix)
		if m == nil {
			return nil, fmt.Errorf("revision %q: %q is not understood; use ~n or ^n", expr, suffix)
		}
		suffix = suffix[len(m[0]):]
		switch {
		case strings.HasPrefix(m[0], "~"):
			n, err := number(m[1])
			if err != nil || steps+n > MaxSteps {
				return nil, fmt.Errorf("revision %q goes back more than %d commits", expr, MaxSteps)
			}
			steps += n
			for range n {
				if c, err = r.parent(expr, c, 1); err != nil {
					return nil, err
				}
			}
		case !strings.HasPrefix(m[0], "^{"):
			n, err := number(m[2])
			if err != nil || steps+1 > MaxSteps {
				return nil, fmt.Errorf("revision %q goes back too far", expr)
			}
			steps++
			if n > 0 {
				if c, err = r.parent(expr, c, n); err != nil {
					return nil, err
				}
			}
		}
	}
	return c, nil
}

func number(s string) (int, error) {
	if s == "" {
		return 1, nil
	}
	return strconv.Atoi(s)
}

func (r *Repository) parent(expr string, c *object.Commit, n int) (*object.Commit, error) {
	if n > len(c.ParentHashes) {
		return nil, fmt.Errorf("revision %q: commit %s has %d parents", expr, c.Hash, len(c.ParentHashes))
	}
	p, err := r.repo.CommitObject(c.ParentHashes[n-1])
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		if r.shallow {
			return nil, fmt.Errorf("revision %q is %w, which is shallow; run: git fetch --unshallow", expr, ErrMissing)
		}
		return nil, fmt.Errorf("revision %q: parent of %s is %w", expr, c.Hash, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("revision %q: reading the parent of %s: %w", expr, c.Hash, err)
	}
	return p, nil
}

// named resolves a name without suffixes.
func (r *Repository) named(name string) (*object.Commit, error) {
	if name == "" || name == "@" {
		name = "HEAD"
	}
	if fullID.MatchString(name) {
		// A full id is an id, whatever refs are called.
		c, err := r.peel(plumbing.NewHash(name), 0)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, r.missing(name)
		}
		return wrap(name, c, err)
	}
	if sha256ID.MatchString(name) {
		return nil, fmt.Errorf("revision %q: SHA-256 repositories are not supported; name an SBOM of the base instead", name)
	}
	found := map[plumbing.Hash]string{}
	for _, ref := range candidates(name) {
		h, err := r.reference(ref)
		if errors.Is(err, plumbing.ErrReferenceNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("revision %q: reading %s: %w", name, ref, err)
		}
		c, err := r.peel(h, 0)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, r.missing(name)
		}
		if err != nil {
			return nil, fmt.Errorf("revision %q: %w", name, err)
		}
		found[c.Hash] = ref
	}
	if shortID.MatchString(name) {
		ids, err := r.withPrefix(name)
		if err != nil {
			return nil, err
		}
		for _, h := range ids {
			c, err := r.peel(h, 0)
			if err != nil {
				continue // a tree or blob: no revision
			}
			if _, ok := found[c.Hash]; !ok {
				found[c.Hash] = c.Hash.String()
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, r.missing(name)
	case 1:
		for h := range found {
			return r.repo.CommitObject(h)
		}
	}
	var all []string
	for _, ref := range found {
		all = append(all, ref)
	}
	slices.Sort(all)
	return nil, fmt.Errorf("revision %q is %w: it could be %s; write one of them out", name, ErrAmbiguous, strings.Join(all, " or "))
}

func wrap(name string, c *object.Commit, err error) (*object.Commit, error) {
	if err != nil {
		return nil, fmt.Errorf("revision %q: %w", name, err)
	}
	return c, nil
}

// missing says how to get what is not there.
func (r *Repository) missing(name string) error {
	where := ErrMissing
	ref := strings.TrimPrefix(strings.TrimPrefix(name, "refs/remotes/"), "origin/")
	hint := "git fetch origin " + ref
	if r.shallow {
		hint = "git fetch --depth=1 origin " + ref
	}
	if name != ref {
		hint += ":refs/remotes/origin/" + ref
	}
	if r.shallow {
		return fmt.Errorf("revision %q is %w, which is shallow; run: %s (or, for the whole history: git fetch --unshallow)", name, where, hint)
	}
	return fmt.Errorf("revision %q is %w; check the spelling, or run: %s", name, where, hint)
}

// candidates are the refs that a name can mean, by git's own rules.
func candidates(name string) []string {
	var out []string
	if pseudoRef.MatchString(name) || strings.HasPrefix(name, "refs/") {
		out = append(out, name)
	}
	return append(out, "refs/"+name, "refs/tags/"+name, "refs/heads/"+name, "refs/remotes/"+name, "refs/remotes/"+name+"/HEAD")
}

func (r *Repository) reference(name string) (plumbing.Hash, error) {
	if name == "FETCH_HEAD" {
		return r.fetchHead()
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." || strings.HasSuffix(part, ".lock") {
			return plumbing.ZeroHash, plumbing.ErrReferenceNotFound
		}
	}
	ref, err := r.repo.Reference(plumbing.ReferenceName(name), true)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "is a directory") {
			return plumbing.ZeroHash, plumbing.ErrReferenceNotFound
		}
		return plumbing.ZeroHash, err
	}
	return ref.Hash(), nil
}

// fetchHead reads the first line of FETCH_HEAD: the ref that `git fetch origin
// REF` brought. go-git reads only plain refs.
func (r *Repository) fetchHead() (plumbing.Hash, error) {
	f, err := r.dot.Open("FETCH_HEAD")
	if errors.Is(err, os.ErrNotExist) {
		return plumbing.ZeroHash, plumbing.ErrReferenceNotFound
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxGitFile)).ReadString('\n')
	if err != nil && err != io.EOF {
		return plumbing.ZeroHash, err
	}
	id, _, _ := strings.Cut(line, "\t")
	if id = strings.TrimSpace(id); !fullID.MatchString(id) {
		return plumbing.ZeroHash, errors.New("FETCH_HEAD does not begin with a commit id")
	}
	return plumbing.NewHash(id), nil
}

func (r *Repository) peel(h plumbing.Hash, depth int) (*object.Commit, error) {
	c, err := r.repo.CommitObject(h)
	if err == nil || !errors.Is(err, plumbing.ErrObjectNotFound) {
		return c, err
	}
	tag, tagErr := r.repo.TagObject(h)
	if tagErr != nil {
		if r.storage.HasEncodedObject(h) == nil {
			return nil, fmt.Errorf("object %s is no commit", h)
		}
		return nil, err
	}
	if depth == MaxTagDepth {
		return nil, fmt.Errorf("tag %s points to a tag more than %d times", h, MaxTagDepth)
	}
	return r.peel(tag.Target, depth+1)
}

// withPrefix lists the objects, but not those of alternates, whose id begins with
// the hex digits.
func (r *Repository) withPrefix(prefix string) ([]plumbing.Hash, error) {
	prefix = strings.ToLower(prefix)
	even := prefix[:len(prefix)&^1]
	raw, err := hex.DecodeString(even)
	if err != nil {
		return nil, err
	}
	ids, err := r.storage.HashesWithPrefix(raw)
	if err != nil {
		return nil, fmt.Errorf("revision %q: looking up the abbreviated id: %w", prefix, err)
	}
	return slices.DeleteFunc(ids, func(h plumbing.Hash) bool { return !strings.HasPrefix(h.String(), prefix) }), nil
}
