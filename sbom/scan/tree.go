package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/anchore/syft/syft/pkg"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/trust"
)

// Bounds of a tree. What lies beyond MaxTreeDepth is a problem of the inventory;
// exceeding one of the others is an error that wraps ErrTooLarge.
const (
	MaxEntries    = 5_000_000 // files and directories that are looked at
	MaxTreeDepth  = 64        // nesting of directories
	MaxFiles      = 20_000    // dependency files
	MaxTotalBytes = 1 << 30   // bytes of all dependency files together
	MaxComponents = 1_000_000 // components of all of them
)

// ErrTooLarge marks a source that exceeds a bound.
var ErrTooLarge = errors.New("exceeds a bound")

// skipped are directories that are not entered.
var skipped = []string{".git", ".hg", ".svn", ".jj", ".bzr", "node_modules", "bower_components", "vendor", "Pods", "Carthage", "site-packages",
	".terraform", ".gradle", ".yarn", ".pnpm-store", ".tox", ".nox", ".cache", "__pycache__", ".mypy_cache", ".pytest_cache", ".venv"}

// SkipDir reports whether the walk does not enter a directory of that name.
func SkipDir(name string) bool { return slices.Contains(skipped, name) }

// bounds are the limits of one scan; tests lower them.
type bounds struct {
	entries, depth, files int
	bytes                 int64
	components            int
	vendorFiles           int
	vendorBytes           int64
}

var defaultBounds = bounds{MaxEntries, MaxTreeDepth, MaxFiles, MaxTotalBytes, MaxComponents, MaxVendorFiles, MaxVendorBytes}

// tree is the state of the scan of one file system.
type tree struct {
	ctx    context.Context
	fsys   fs.FS
	limit  bounds
	bytes  int64
	inv    *sbom.Inventory
	byFile []parsed
	// reading guards fsys: the two readers of a file ask for its neighbours at the
	// same time, and not every fs.FS stands that.
	reading sync.Mutex
	// readings are those of another scan; nil for none. asked is what was read beside
	// the present file.
	readings *Readings
	asked    map[string]trust.Digest
}

// parsed is one dependency file with what was found in it.
type parsed struct {
	path   string
	format lockfile.Format
	result lockfile.Result
	failed bool
}

// Tree takes the inventory of a file system: os.DirFS-like directories, or a
// git revision. Symbolic links are read if fsys resolves them.
func Tree(ctx context.Context, fsys fs.FS, source sbom.Source, opt Options) (*sbom.Inventory, error) {
	return scanTree(ctx, fsys, source, opt, defaultBounds)
}

func scanTree(ctx context.Context, fsys fs.FS, source sbom.Source, opt Options, limit bounds) (*sbom.Inventory, error) {
	t := &tree{ctx: ctx, fsys: fsys, limit: limit, readings: opt.Readings, inv: &sbom.Inventory{Source: source}}
	files, err := t.walk()
	if err != nil {
		return nil, fmt.Errorf("scanning %s: %w", source.Name, err)
	}
	return t.inventory(files)
}

// inventory reads the dependency files at the paths.
func (t *tree) inventory(files []string) (*sbom.Inventory, error) {
	for _, name := range files {
		if err := t.ctx.Err(); err != nil {
			return nil, fmt.Errorf("scanning %s: %w", t.inv.Source.Name, err)
		}
		if err := t.file(name); err != nil {
			return nil, fmt.Errorf("scanning %s: %w", t.inv.Source.Name, err)
		}
	}
	t.projects()
	t.inv.Components = merge(t.inv.Components)
	if err := t.vendored(); err != nil {
		return nil, fmt.Errorf("scanning %s: %w", t.inv.Source.Name, err)
	}
	t.inv.Sort()
	return t.inv, nil
}

func (t *tree) problem(code sbom.ProblemCode, name string, line int, detail, remedy string) {
	t.inv.Problems = append(t.inv.Problems, sbom.Problem{Code: code, Detail: detail, Remedy: remedy, Location: trust.Location{Path: name, Line: line}})
}

// wanted reports whether a file is a dependency file.
func wanted(name string) bool {
	if _, ok := lockfile.Match(name); ok {
		return true
	}
	_, ok := syftOnly(name)
	return ok
}

// walk returns the paths of the dependency files, sorted.
func (t *tree) walk() ([]string, error) {
	var out []string
	entries := 0
	var visit func(dir string, depth int) error
	visit = func(dir string, depth int) error {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		list, err := fs.ReadDir(t.fsys, dir)
		if err != nil {
			if dir == "." {
				return err
			}
			t.problem(sbom.ProblemSkipped, dir, 0, "the directory cannot be read: "+err.Error(), "make it readable, or scan a clean checkout")
			return nil
		}
		if entries += len(list); entries > t.limit.entries {
			return fmt.Errorf("more than %d files and directories: %w", t.limit.entries, ErrTooLarge)
		}
		for _, d := range list {
			name := path.Join(dir, d.Name())
			switch {
			case d.IsDir():
				if strings.EqualFold(d.Name(), "vendor") {
					if modules := path.Join(dir, "vendor", "modules.txt"); t.regular(modules) {
						if d.Name() == "vendor" {
							out = append(out, modules)
						} else {
							t.problem(sbom.ProblemSkipped, name, 0, "on file systems that ignore case its files are among those of "+path.Join(dir, "vendor")+", which are held against the modules", "rename or remove it")
						}
					}
				}
				if SkipDir(d.Name()) {
					if d.Name() == "vendor" {
						t.otherCase(name)
					}
					continue
				}
				if depth+1 > t.limit.depth {
					t.problem(sbom.ProblemSkipped, name, 0, fmt.Sprintf("directories nested more than %d deep are not read", t.limit.depth), "scan the directory by itself")
					continue
				}
				if err := visit(name, depth+1); err != nil {
					return err
				}
			case wanted(name):
				out = append(out, name)
			case d.Type()&fs.ModeSymlink != 0:
				t.link(name)
			default:
				t.notOtherCase(name)
			}
			if len(out) > t.limit.files {
				return fmt.Errorf("more than %d dependency files: %w", t.limit.files, ErrTooLarge)
			}
		}
		return nil
	}
	if err := visit(".", 0); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

// regular reports whether there is a regular file of that name.
func (t *tree) regular(name string) bool {
	fi, err := fs.Stat(t.fsys, name)
	return err == nil && fi.Mode().IsRegular()
}

// notOtherCase notes a file that is a dependency file where case is ignored.
func (t *tree) notOtherCase(name string) {
	if want := lockfile.OtherCase(name); want != "" {
		t.problem(sbom.ProblemSkipped, name, 0, "the file is "+want+" on file systems that ignore case, and no dependency file on others", "rename or remove it")
	}
}

// otherCase looks for modules.txt in a vendor directory, which is not entered.
func (t *tree) otherCase(vendor string) {
	list, err := fs.ReadDir(t.fsys, vendor)
	if err != nil {
		return // what cannot be read has no modules.txt for anybody
	}
	for _, d := range list {
		if name := path.Join(vendor, d.Name()); strings.EqualFold(d.Name(), "modules.txt") && !wanted(name) {
			t.notOtherCase(name)
		}
	}
}

// link looks at a symbolic link that leads into a directory that is left out by
// rule: a project behind it would be gated by nobody, while package managers
// follow the link.
func (t *tree) link(name string) {
	target, err := fs.ReadLink(t.fsys, name)
	if err != nil || path.IsAbs(target) {
		return
	}
	to := path.Join(path.Dir(name), target)
	if !fs.ValidPath(to) || !slices.ContainsFunc(strings.Split(to, "/"), SkipDir) {
		return
	}
	list, err := fs.ReadDir(t.fsys, name)
	if err != nil {
		return
	}
	for _, d := range list {
		if format, ok := lockfile.Match(path.Join(to, d.Name())); ok && !format.IsManifest() && !d.IsDir() {
			t.problem(sbom.ProblemSkipped, name, 0, "the link leads to "+to+", which is left out by rule and has "+d.Name(), "move the project to a directory that is read, or scan it by itself")
			return
		}
	}
}

// read returns a regular file of the tree. It never opens anything else: a
// named pipe would block.
func (t *tree) read(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	t.reading.Lock()
	defer t.reading.Unlock()
	b, err := t.load(name)
	if t.asked != nil {
		t.asked[name] = besideDigest(b, err)
	}
	return b, err
}

func (t *tree) load(name string) ([]byte, error) {
	fi, err := fs.Stat(t.fsys, name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, errors.New("not a regular file, or a link to one inside the tree")
	}
	if fi.Size() > lockfile.MaxFile {
		return nil, fmt.Errorf("%d bytes are more than %d", fi.Size(), int64(lockfile.MaxFile))
	}
	f, err := t.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, lockfile.MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > lockfile.MaxFile {
		return nil, fmt.Errorf("more than %d bytes", int64(lockfile.MaxFile))
	}
	return b, nil
}

// sibling returns a file by its path relative to the directory of name; paths
// that leave the tree are not there.
func (t *tree) sibling(name, rel string) ([]byte, bool) {
	if path.IsAbs(rel) || strings.ContainsAny(rel, "\\\x00") {
		return nil, false
	}
	b, err := t.read(path.Join(path.Dir(name), rel))
	return b, err == nil
}

// file reads one dependency file with both readers and matches what they found.
func (t *tree) file(name string) error {
	b, err := t.read(name)
	if err != nil {
		t.problem(sbom.ProblemUnparsable, name, 0, "the file cannot be read: "+err.Error(), "make it a regular file inside the tree, within the bounds")
		return nil
	}
	if t.bytes += int64(len(b)); t.bytes > t.limit.bytes {
		return fmt.Errorf("dependency files of more than %d bytes: %w", t.limit.bytes, ErrTooLarge)
	}
	digest := trust.NewRaw("", "", b).Digest
	if t.recall(name, digest) {
		return t.bound()
	}
	from := t.mark()
	if t.readings != nil {
		t.asked = map[string]trust.Digest{}
		defer func() { t.asked = nil }()
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // Syft's readers do not
	format, own := lockfile.Match(name)
	formatName := string(format)
	var res lockfile.Result
	var ownErr error
	// The two readings share nothing but the bytes, and take as long as each other.
	type reading struct {
		packages []pkg.Package
		err      error
	}
	second := make(chan reading, 1)
	go func() {
		packages, err := t.bySyft(name, format, b)
		second <- reading{packages, err}
	}()
	if own {
		res, ownErr = lockfile.Parse(format, name, b, func(rel string) ([]byte, bool) { return t.sibling(name, rel) })
		if ownErr != nil {
			code := sbom.ProblemUnparsable
			if errors.Is(ownErr, lockfile.ErrUnsupported) {
				code = sbom.ProblemUnsupported
			}
			t.problem(code, name, 0, ownErr.Error(), "generate the file again with its own tool")
		}
		if res.Version != "" {
			formatName += " " + res.Version
		}
	} else {
		formatName, _ = syftOnly(name)
	}
	if own {
		t.byFile = append(t.byFile, parsed{name, format, res, ownErr != nil})
	}
	t.inv.Files = append(t.inv.Files, sbom.File{Path: name, Format: formatName, Digest: digest})
	t.inv.Problems = append(t.inv.Problems, res.Problems...)

	theirs := <-second
	unread := func() {
		t.problem(sbom.ProblemUnparsable, name, 0, "Syft cannot read the file: "+firstLine(theirs.err.Error()), "generate the file again with its own tool")
	}
	switch {
	case !own:
		t.inv.Components = append(t.inv.Components, components(theirs.packages, name)...)
		if theirs.err != nil {
			unread()
		}
	case ownErr != nil:
		// Nothing to compare with; the problem above says so once.
		t.inv.Components = append(t.inv.Components, components(theirs.packages, name)...)
	default:
		all, missed := compare(name, format, res.Components, theirs.packages)
		t.inv.Components = append(t.inv.Components, all...)
		// Syft also reports single lines that it does not expect, and files that
		// lock nothing; that is no loss where it has every package all the same.
		if theirs.err != nil && missed > 0 {
			unread()
		}
	}
	t.remember(digest, from)
	return t.bound()
}

func (t *tree) bound() error {
	if len(t.inv.Components) > t.limit.components {
		return fmt.Errorf("more than %d components: %w", t.limit.components, ErrTooLarge)
	}
	return nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	const max = 300
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}

// projects judges the files together: manifests that no lock file covers, and lock
// files of one project that disagree.
func (t *tree) projects() {
	var sound, all []lockfile.Result
	read := make(map[string]bool, len(t.byFile))
	for _, p := range t.byFile {
		read[p.path] = true
		if !p.failed {
			sound = append(sound, p.result)
		}
		p.result.Path, p.result.Format = p.path, p.format
		all = append(all, p.result)
	}
	// A lock file beside a manifest counts though it was not scanned itself:
	// a single file was named.
	for _, p := range t.byFile {
		for _, name := range p.format.Locks(p.path) {
			name = path.Join(path.Dir(p.path), name)
			if read[name] {
				continue
			}
			if t.regular(name) {
				format, _ := lockfile.Match(name)
				read[name] = true
				all = append(all, lockfile.Result{Path: name, Format: format})
			}
		}
	}
	t.inv.Problems = append(t.inv.Problems, lockfile.Uncovered(all)...)
	t.inv.Problems = append(t.inv.Problems, lockfile.Conflicts(sound)...)
}

// maxLocations bounds the places that are kept of one component.
const maxLocations = 256

// merge joins equal components of different files into one with several
// locations. Components of one release whose bytes differ stay apart, and are
// marked if they contradict each other.
func merge(in []sbom.Component) []sbom.Component {
	out := in[:0]
	seen := make(map[string]int, len(in)) // key → the first of out with it, counted from 1
	next := make([]int, 0, len(in))       // of each of out: the next one with its key
	for _, c := range in {
		key := c.Key()
		joined, last := false, 0
		for n := seen[key]; n > 0; n = next[n-1] {
			last = n
			old := &out[n-1]
			if !equalStatement(old, &c) {
				continue
			}
			joined = true
			for _, l := range c.Locations {
				if len(old.Locations) < maxLocations && !slices.Contains(old.Locations, l) {
					old.Locations = append(old.Locations, l)
				}
			}
			old.Scope = sbom.Wider(old.Scope, c.Scope)
			if c.Relation == sbom.RelationDirect || old.Relation == sbom.RelationUnknown {
				old.Relation = c.Relation
			}
			old.InstallCode = old.InstallCode || c.InstallCode
			old.AddExpectations(c.Expect)
			for _, p := range c.Problems {
				if !slices.ContainsFunc(old.Problems, func(o sbom.Problem) bool { return o.Code == p.Code && o.Detail == p.Detail }) {
					old.Problems = append(old.Problems, p)
				}
			}
			break
		}
		if joined {
			continue
		}
		for n := seen[key]; n > 0; n = next[n-1] {
			if old := &out[n-1]; contradict(old, &c) {
				for _, one := range []*sbom.Component{old, &c} {
					if !slices.ContainsFunc(one.Problems, func(p sbom.Problem) bool { return p.Code == sbom.ProblemConflict }) {
						other := old
						if one == old {
							other = &c
						}
						one.Problems = append(one.Problems, sbom.Problem{Code: sbom.ProblemConflict, Location: one.Locations[0],
							Detail: "another file states other digests for this release: " + other.Locations[0].Path, Remedy: "find out which of the two is upstream's, and regenerate the other file"})
					}
				}
			}
		}
		out, next = append(out, c), append(next, 0)
		if last == 0 {
			seen[key] = len(out)
		} else {
			next[last-1] = len(out)
		}
	}
	return out
}

func equalStatement(a, b *sbom.Component) bool {
	return a.Registry == b.Registry && a.Replaces == b.Replaces && slices.EqualFunc(a.Artifacts, b.Artifacts, func(x, y trust.Artifact) bool {
		return x.Name == y.Name && x.URL == y.URL && slices.Equal(x.Digests, y.Digests)
	})
}

func contradict(a, b *sbom.Component) bool {
	for _, x := range a.Artifacts {
		for _, y := range b.Artifacts {
			if x.Name == y.Name && x.Digests.Compare(y.Digests) == trust.Disagree {
				return true
			}
		}
	}
	return false
}
