package signing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// PredicateFolder is the predicate type of statements about folders.
//
// The subjects are all regular files, sorted bytewise by their path: relative,
// with forward slashes, in UTF-8 as the file system has it (no Unicode
// normalisation). Each has its SHA-256. The predicate holds the rest:
//
//	{
//	  "exclude": ["*.log"],                      // patterns; see Exclusions
//	  "modes": "executable",                     // or "none", made where files have no executable bit
//	  "executable": ["bin/run"],                 // files that their owner may run
//	  "links": [{"path": "a", "target": "b"}],   // symbolic links, never followed
//	  "special": [{"path": "p", "kind": "pipe"}], // pipe, socket, device, char-device
//	  "directories": ["empty"]                   // directories with nothing in them
//	}
//
// Lists are sorted by path. Link targets are recorded as text, with forward
// slashes on systems that write others. Times, owners and all other mode bits are no part of it.
const PredicateFolder = "https://headgate.dev/attestation/folder/v1"

// Bounds of folders.
const (
	// MaxFiles bounds all entries of a folder: files, links, special files, empty directories.
	MaxFiles = sigstore.MaxFolderSubjects
	// MaxPath bounds one path in bytes.
	MaxPath = 4096
	// MaxExclusions bounds the patterns.
	MaxExclusions = 256
)

const (
	modesExecutable = "executable"
	modesNone       = "none"
)

// Link is a symbolic link.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// Special is an entry that is neither file, directory nor link.
type Special struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
}

type folderPredicate struct {
	Exclude     []string  `json:"exclude"`
	Modes       string    `json:"modes"`
	Executable  []string  `json:"executable"`
	Links       []Link    `json:"links"`
	Special     []Special `json:"special"`
	Directories []string  `json:"directories"`
}

// Folder is what a folder holds.
type Folder struct {
	files  []folderFile
	rest   folderPredicate
	bytes  int64
	folded map[string]string
}

type folderFile struct {
	path string
	sum  [sha256.Size]byte
}

// Files is the number of regular files.
func (f *Folder) Files() int { return len(f.files) }

// Bytes is how much was hashed.
func (f *Folder) Bytes() int64 { return f.bytes }

// FolderOptions say how a folder is read.
type FolderOptions struct {
	// Exclude are patterns: "*.log" and "build" match a name at any depth, "docs/*.md"
	// a path from the top; "*" does not cross a slash. What a pattern matches is left out
	// with everything below it. The patterns are part of what is signed.
	Exclude []string
	// Skip are paths of single files that are left out without being part of
	// what is signed: the signature itself, where it lies inside the folder.
	Skip []string
	// Jobs is how many files are hashed at a time; 0 means one per core.
	Jobs int
}

// CheckExclusions refuses patterns that are malformed or leave everything out.
func CheckExclusions(patterns []string) error {
	if len(patterns) > MaxExclusions {
		return usage("%d exclusions are more than %d", len(patterns), MaxExclusions)
	}
	for _, p := range patterns {
		if _, err := path.Match(p, "x"); err != nil || p == "" || !utf8.ValidString(p) || len(p) > MaxPath {
			return usage("exclusion %q is no pattern", clip(p))
		}
		if strings.Trim(p, "*?/.") == "" {
			return usage("exclusion %q leaves out everything", clip(p))
		}
		if strings.HasPrefix(p, "/") || path.Clean(p) != p || strings.Contains(p, `\`) {
			return usage("exclusion %q is no relative path with forward slashes", clip(p))
		}
	}
	return nil
}

func excluded(rel string, patterns []string) bool {
	for _, p := range patterns {
		name := rel
		if !strings.Contains(p, "/") {
			name = path.Base(rel)
		}
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// ScanFolder reads a folder and hashes its files, several at a time; memory is
// bounded by the number of files, not by their size.
//
// A path that is not valid UTF-8 or holds a control character or a backslash, two
// paths that differ only in case, and a file that changes while it is read are
// errors: another system could not hold, or another reader not see, the same folder.
func ScanFolder(ctx context.Context, dir string, o FolderOptions) (*Folder, error) {
	if err := CheckExclusions(o.Exclude); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, usage("%s is no folder", dir)
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	f := &Folder{folded: map[string]string{}, rest: folderPredicate{
		Exclude: slices.Clone(o.Exclude), Modes: modesExecutable, Executable: []string{}, Links: []Link{}, Special: []Special{}, Directories: []string{}}}
	if f.rest.Exclude == nil {
		f.rest.Exclude = []string{}
	}
	slices.Sort(f.rest.Exclude)
	f.rest.Exclude = slices.Compact(f.rest.Exclude)
	if runtime.GOOS == "windows" {
		f.rest.Modes = modesNone
	}
	skip := map[string]bool{}
	for _, s := range o.Skip {
		if abs, err := filepath.Abs(s); err == nil {
			skip[abs] = true
		}
	}
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Jobs + 1)
	paths := make(chan int, o.Jobs)
	// The list is appended to while files are hashed: sums go to the place that
	// the walk reserved, under the lock.
	var mu sync.Mutex
	for range o.Jobs {
		g.Go(func() error {
			buf := make([]byte, 256<<10)
			h := sha256.New()
			for i := range paths {
				mu.Lock()
				rel := f.files[i].path
				mu.Unlock()
				h.Reset()
				n, err := hashInto(gctx, filepath.Join(base, filepath.FromSlash(rel)), h, buf)
				if err != nil {
					return err
				}
				mu.Lock()
				f.bytes += n
				h.Sum(f.files[i].sum[:0])
				mu.Unlock()
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(paths)
		return f.walk(gctx, base, "", o.Exclude, skip, func(file folderFile) error {
			mu.Lock()
			f.files = append(f.files, file)
			i := len(f.files) - 1
			mu.Unlock()
			select {
			case paths <- i:
				return nil
			case <-gctx.Done():
				return gctx.Err()
			}
		})
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	f.folded = nil
	slices.SortFunc(f.files, func(a, b folderFile) int { return strings.Compare(a.path, b.path) })
	slices.Sort(f.rest.Executable)
	slices.Sort(f.rest.Directories)
	slices.SortFunc(f.rest.Links, func(a, b Link) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(f.rest.Special, func(a, b Special) int { return strings.Compare(a.Path, b.Path) })
	return f, nil
}

func (f *Folder) entries() int {
	return len(f.folded)
}

// add notes an entry and refuses what another system could not hold.
func (f *Folder) add(rel string) error {
	if !utf8.ValidString(rel) || strings.ContainsFunc(rel, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return usage("the path %q cannot be signed: it is not UTF-8, or holds a control character or backslash", clip(rel))
	}
	if len(rel) > MaxPath {
		return usage("the path %q has more than %d bytes", clip(rel), MaxPath)
	}
	folded := strings.ToLower(rel)
	if other, dup := f.folded[folded]; dup {
		return usage("the paths %q and %q differ only in case: on other systems they are one", clip(other), clip(rel))
	}
	if f.entries() >= MaxFiles {
		return usage("the folder has more than %d entries", MaxFiles)
	}
	f.folded[folded] = rel
	return nil
}

func (f *Folder) walk(ctx context.Context, base, rel string, exclude []string, skip map[string]bool, file func(folderFile) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(base, filepath.FromSlash(rel)))
	if err != nil {
		return fmt.Errorf("reading the folder: %w", err)
	}
	kept := 0
	for _, e := range entries {
		p := path.Join(rel, e.Name())
		if rel == "" {
			p = e.Name()
		}
		full := filepath.Join(base, filepath.FromSlash(p))
		if excluded(p, exclude) || skip[full] {
			continue
		}
		kept++
		if err := f.add(p); err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("reading the folder: %w", err)
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			if err := f.walk(ctx, base, p, exclude, skip, file); err != nil {
				return err
			}
		case mode.IsRegular():
			if f.rest.Modes == modesExecutable && mode.Perm()&0o100 != 0 {
				f.rest.Executable = append(f.rest.Executable, p)
			}
			if err := file(folderFile{path: p}); err != nil {
				return err
			}
		case mode&fs.ModeSymlink != 0:
			to, err := os.Readlink(full)
			if err != nil {
				return fmt.Errorf("reading the folder: %w", err)
			}
			if to = filepath.ToSlash(to); !utf8.ValidString(to) || len(to) > MaxPath {
				return usage("the link %q points to a path that cannot be signed", clip(p))
			}
			f.rest.Links = append(f.rest.Links, Link{p, to})
		default:
			f.rest.Special = append(f.rest.Special, Special{p, kindOf(mode)})
		}
	}
	if kept == 0 && rel != "" {
		f.rest.Directories = append(f.rest.Directories, rel)
	}
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeCharDevice != 0:
		return "char-device"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "irregular"
}

// hashInto hashes a file and says how long it was.
func hashInto(ctx context.Context, name string, h io.Writer, buf []byte) (int64, error) {
	f, size, err := openRegular(name)
	if err != nil {
		return 0, fmt.Errorf("reading the folder: %w", err)
	}
	defer f.Close()
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := f.Read(buf)
		if k > 0 {
			n += int64(k)
			if n > size {
				break
			}
			if _, err := h.Write(buf[:k]); err != nil {
				return n, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, fmt.Errorf("reading the folder: %w", err)
		}
	}
	if n != size {
		return n, fmt.Errorf("%s changed while it was read", name)
	}
	return n, nil
}

// Statement is the in-toto statement about the folder: the same bytes for the
// same folder, on every system.
func (f *Folder) Statement() ([]byte, error) {
	if len(f.files) == 0 {
		return nil, usage("the folder holds no file to sign")
	}
	predicate, err := marshalPlain(f.rest)
	if err != nil {
		return nil, err
	}
	// Written by hand: encoding/json would hold three copies of a large list.
	var b bytes.Buffer
	b.Grow(len(f.files) * 160)
	b.WriteString(`{"_type":"https://in-toto.io/Statement/v1","subject":[`)
	for i, file := range f.files {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshalPlain(file.path)
		if err != nil {
			return nil, err
		}
		b.WriteString(`{"name":`)
		b.Write(name)
		b.WriteString(`,"digest":{"sha256":"`)
		b.WriteString(hex.EncodeToString(file.sum[:]))
		b.WriteString(`"}}`)
	}
	b.WriteString(`],"predicateType":"` + PredicateFolder + `","predicate":`)
	b.Write(predicate)
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing the statement: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Change is one difference between a folder and what was signed.
type Change struct {
	Kind string `json:"kind"` // added, changed, removed, renamed, mode, link, special
	Path string `json:"path"`
	From string `json:"from,omitempty"` // former path of what was renamed
}

// String is the change on one line.
func (c Change) String() string {
	if c.From != "" {
		return c.Kind + " " + c.From + " -> " + c.Path
	}
	return c.Kind + " " + c.Path
}

// SignedFolder is what a statement says of a folder.
type SignedFolder struct {
	files map[string]string // path to SHA-256 in hex
	rest  folderPredicate
}

// ReadFolderStatement reads the statement strictly: sorted, distinct, relative
// paths, one SHA-256 each. It verifies no signature.
func ReadFolderStatement(st sigstore.Statement) (*SignedFolder, error) {
	bad := func(format string, args ...any) (*SignedFolder, error) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading the folder statement: "+format, args...)
	}
	if st.PredicateType != PredicateFolder {
		return nil, trust.Failure(trust.ReasonWrongPredicate, "attestation is of type %q, expected a folder's", clip(st.PredicateType))
	}
	s := &SignedFolder{files: make(map[string]string, len(st.Subjects))}
	dec := json.NewDecoder(bytes.NewReader(st.Predicate))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s.rest); err != nil {
		return bad("%w", err)
	}
	if s.rest.Modes != modesExecutable && s.rest.Modes != modesNone {
		return bad("modes %q", clip(s.rest.Modes))
	}
	if err := CheckExclusions(s.rest.Exclude); err != nil {
		return bad("%w", err)
	}
	last := ""
	for i, sub := range st.Subjects {
		d := sub.Digests.Get(trust.SHA256)
		switch {
		case sub.Name == "" || !fs.ValidPath(sub.Name) || strings.Contains(sub.Name, `\`):
			return bad("subject %q is no relative path", clip(sub.Name))
		case d.IsZero() || len(sub.Digests) != 1:
			return bad("subject %q has not exactly a SHA-256", clip(sub.Name))
		case i > 0 && sub.Name <= last:
			return bad("subjects are not sorted and distinct")
		}
		last = sub.Name
		s.files[sub.Name] = d.Value
	}
	if len(s.files) == 0 {
		return bad("no subject")
	}
	return s, nil
}

// Exclude returns the patterns that were signed.
func (s *SignedFolder) Exclude() []string { return slices.Clone(s.rest.Exclude) }

// Compare names everything in which the folder differs from what was signed, in
// the order of paths. modes is false where one of the two systems has no executable bit, so
// that modes could not be compared.
func (s *SignedFolder) Compare(f *Folder) (changes []Change, modes bool) {
	here := make(map[string]string, len(f.files))
	var added []string
	for _, file := range f.files {
		sum := hex.EncodeToString(file.sum[:])
		here[file.path] = sum
		signed, ok := s.files[file.path]
		switch {
		case !ok:
			added = append(added, file.path)
		case signed != sum:
			changes = append(changes, Change{Kind: "changed", Path: file.path})
		}
	}
	gone := map[string][]string{} // by digest
	for p, sum := range s.files {
		if _, ok := here[p]; !ok {
			gone[sum] = append(gone[sum], p)
		}
	}
	for _, ps := range gone {
		slices.Sort(ps)
	}
	for _, p := range added {
		if from := gone[here[p]]; len(from) > 0 {
			changes = append(changes, Change{Kind: "renamed", Path: p, From: from[0]})
			gone[here[p]] = from[1:]
			continue
		}
		changes = append(changes, Change{Kind: "added", Path: p})
	}
	for _, ps := range gone {
		for _, p := range ps {
			changes = append(changes, Change{Kind: "removed", Path: p})
		}
	}
	modes = s.rest.Modes == modesExecutable && f.rest.Modes == modesExecutable
	if modes {
		changes = append(changes, difference("mode", s.rest.Executable, f.rest.Executable, func(p string) bool { _, ok := here[p]; _, was := s.files[p]; return ok && was })...)
	}
	changes = append(changes, difference("directory", s.rest.Directories, f.rest.Directories, nil)...)
	text := func(ls []Link) (out []string) {
		for _, l := range ls {
			out = append(out, l.Path+" -> "+l.Target)
		}
		return out
	}
	changes = append(changes, difference("link", text(s.rest.Links), text(f.rest.Links), nil)...)
	kinds := func(ls []Special) (out []string) {
		for _, l := range ls {
			out = append(out, l.Path+" ("+l.Kind+")")
		}
		return out
	}
	changes = append(changes, difference("special", kinds(s.rest.Special), kinds(f.rest.Special), nil)...)
	slices.SortFunc(changes, func(a, b Change) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	return changes, modes
}

// difference names what only one of two lists has.
func difference(kind string, signed, here []string, both func(string) bool) (out []Change) {
	count := map[string]int{}
	for _, s := range signed {
		count[s]--
	}
	for _, h := range here {
		count[h]++
	}
	for k, n := range count {
		if n == 0 || both != nil && !both(k) {
			continue
		}
		word := kind + "-added"
		if n < 0 {
			word = kind + "-removed"
		}
		out = append(out, Change{Kind: word, Path: k})
	}
	return out
}
