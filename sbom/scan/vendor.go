package scan

import (
	"crypto/sha1" //nolint:gosec // the object ids of git
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/trust"
)

// Bounds of all vendor directories of a source together.
const (
	MaxVendorFiles = 200_000
	MaxVendorBytes = 4 << 30
)

// identified is a directory entry that knows the git object id of its content, so
// that nothing need be read to tell whether a file differs.
type identified interface{ ObjectID() string }

// maxStrays bounds the files without a module that are named one by one.
const maxStrays = 20

// vendoring is what is left of the bounds, and the files that belong to no module.
type vendoring struct {
	files  int
	bytes  int64
	strays int
}

// vendored notes of every module in a vendor directory which files are there.
// They are what is built, whatever go.sum says: a change of one is a change of the
// component, and the adapter holds them against the module.
func (t *tree) vendored() error {
	left := &vendoring{files: t.limit.vendorFiles, bytes: t.limit.vendorBytes}
	for _, f := range t.byFile {
		if f.format != lockfile.GoVendor || f.failed {
			continue
		}
		dir := path.Dir(f.path)
		owners := map[string]hash.Hash{}
		for i := range f.result.Components {
			owners[f.result.Components[i].ImportedAs()] = sha256.New()
		}
		if err := t.vendorDir(dir, ".", owners, left, 0); err != nil {
			if t.ctx.Err() != nil {
				return t.ctx.Err()
			}
			t.problem(sbom.ProblemSkipped, dir, 0, "the vendored files cannot be read: "+err.Error(), "build with -mod=mod and remove the directory, or make it readable")
			continue
		}
		if more := left.strays - maxStrays; more > 0 {
			t.problem(sbom.ProblemMismatch, dir, 0, fmt.Sprintf("%d further files belong to no module of modules.txt", more), "run go mod vendor")
		}
		left.strays = 0
		for i := range t.inv.Components {
			c := &t.inv.Components[i]
			if c.Release.Package.Type != "golang" || !slices.ContainsFunc(c.Locations, func(l trust.Location) bool { return l.Path == f.path }) {
				continue
			}
			if h := owners[c.ImportedAs()]; h != nil {
				h := sha256.Sum256([]byte(c.Vendored + dir + "\x00" + hex.EncodeToString(h.Sum(nil))))
				c.Vendored = hex.EncodeToString(h[:])
			}
		}
	}
	return nil
}

// vendorDir adds the files below dir/rel to the hashes of the modules they belong
// to: the module with the longest import path above the file.
func (t *tree) vendorDir(dir, rel string, owners map[string]hash.Hash, left *vendoring, depth int) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	if depth > t.limit.depth {
		return fmt.Errorf("%s is nested more than %d deep", rel, t.limit.depth)
	}
	list, err := fs.ReadDir(t.fsys, path.Join(dir, rel))
	if err != nil {
		return err
	}
	if left.files -= len(list); left.files < 0 {
		return fmt.Errorf("more than %d files: %w", t.limit.vendorFiles, ErrTooLarge)
	}
	owner := ownerOf(rel, owners)
	for _, d := range list {
		name := path.Join(rel, d.Name())
		if d.IsDir() {
			if err := t.vendorDir(dir, name, owners, left, depth+1); err != nil {
				return err
			}
			continue
		}
		if name == "modules.txt" {
			continue
		}
		if owner == nil {
			if left.strays++; left.strays <= maxStrays {
				t.problem(sbom.ProblemMismatch, path.Join(dir, name), 0, "the file belongs to no module of modules.txt", "run go mod vendor")
			}
			continue
		}
		id := "no regular file"
		if d.Type().IsRegular() {
			if o, ok := d.(identified); ok {
				id = o.ObjectID()
			} else if id, err = t.objectID(path.Join(dir, name), left); err != nil {
				return err
			}
		}
		fmt.Fprintf(owner, "%q %s\n", name, id)
	}
	return nil
}

func ownerOf(dir string, owners map[string]hash.Hash) hash.Hash {
	for {
		if h := owners[dir]; h != nil {
			return h
		}
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return nil
		}
		dir = dir[:i]
	}
}

// objectID is the id that git gives a file's content (gitformat-pack: SHA-1 over
// "blob", size and content).
func (t *tree) objectID(name string, left *vendoring) (string, error) {
	f, err := t.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if left.bytes -= fi.Size(); left.bytes < 0 {
		return "", fmt.Errorf("more than %d bytes: %w", t.limit.vendorBytes, ErrTooLarge)
	}
	h := sha1.New() //nolint:gosec // see above
	fmt.Fprintf(h, "blob %d\x00", fi.Size())
	n, err := io.Copy(h, io.LimitReader(f, fi.Size()+1))
	if err == nil && n != fi.Size() {
		err = errors.New(name + " changes while it is read")
	}
	return hex.EncodeToString(h.Sum(nil)), err
}
