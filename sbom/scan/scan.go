package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/document"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/trust"
)

// Options of Open. The zero value is right for everything but tests and
// images of other platforms.
type Options struct {
	// Platform of an image with several, "linux/amd64"; the library's default if empty.
	Platform string
	// InsecureRegistry speaks plain http to the registry of a registry: source.
	InsecureRegistry bool
	// Readings of another state of the same project, of which unchanged files are taken;
	// nil for none.
	Readings *Readings
}

// ErrSource marks a source that cannot be understood or is not there: a usage
// error, not a finding.
var ErrSource = errors.New("not a source")

// schemes are the prefixes of a source.
const (
	schemeDir           = "dir"
	schemeFile          = "file"
	schemeSBOM          = "sbom"
	schemeOCIArchive    = "oci-archive"
	schemeOCIDir        = "oci-dir"
	schemeDockerArchive = "docker-archive"
	schemeRegistry      = "registry"
	schemePURL          = "purl"
)

// Open takes the inventory of a source: a path, a path with a scheme (dir:,
// file:, sbom:, oci-archive:, oci-dir:, docker-archive:), registry: with an
// image reference, or a package URL. A path without a scheme is a directory, a
// lock file by its name, or an SBOM by its content. An inventory with neither
// components nor files means that there was nothing to check.
func Open(ctx context.Context, source string, opt Options) (*sbom.Inventory, error) {
	if strings.HasPrefix(source, "pkg:") {
		return fromPURL(source)
	}
	scheme, name, ok := strings.Cut(source, ":")
	if !ok || !known(scheme) || fileExists(source) {
		scheme, name = "", source
	}
	if name == "" {
		if scheme != "" {
			return nil, fmt.Errorf("%q names nothing behind the scheme: %w", source, ErrSource)
		}
		name = "."
	}
	switch scheme {
	case schemeDir:
		return openDir(ctx, name, opt)
	case schemeFile:
		return openFile(ctx, name, opt)
	case schemeSBOM:
		return openSBOM(name)
	case schemeOCIArchive, schemeOCIDir, schemeDockerArchive, schemeRegistry:
		return openImage(ctx, scheme, name, opt)
	}
	fi, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%q does not exist, and is no package URL or image (registry:NAME): %w", name, ErrSource)
	case err != nil:
		return nil, fmt.Errorf("opening %q: %w", name, err)
	case fi.IsDir():
		return openDir(ctx, name, opt)
	}
	return openFile(ctx, name, opt)
}

func known(scheme string) bool {
	switch scheme {
	case schemeDir, schemeFile, schemeSBOM, schemeOCIArchive, schemeOCIDir, schemeDockerArchive, schemeRegistry:
		return true
	}
	return false
}

func fileExists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func fromPURL(purl string) (*sbom.Inventory, error) {
	r, err := trust.ParseRelease(purl)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSource, err)
	}
	if r.Version == "" {
		return nil, fmt.Errorf("%s has no version; write pkg:type/name@version: %w", purl, ErrSource)
	}
	return &sbom.Inventory{
		Source:     sbom.Source{Scheme: schemePURL, Name: r.PURL()},
		Components: []sbom.Component{{Release: r, Kind: sbom.KindRegistry, Relation: sbom.RelationDirect}},
	}, nil
}

// openDir scans a directory through os.Root: nothing outside it can be reached,
// whatever links lie in it.
func openDir(ctx context.Context, name string, opt Options) (*sbom.Inventory, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("opening directory %q: %w", name, err)
	}
	defer root.Close()
	return Tree(ctx, root.FS(), sbom.Source{Scheme: schemeDir, Name: name}, opt)
}

// openFile reads one lock file or SBOM. Of the directory around a lock file only
// the files that belong to it are read (go.sum of a go.mod, included requirements).
func openFile(ctx context.Context, name string, opt Options) (*sbom.Inventory, error) {
	dir, base := filepath.Split(name)
	match := base
	if abs, err := filepath.Abs(name); err == nil {
		match = strings.TrimPrefix(filepath.ToSlash(abs), "/")
	}
	if _, ok := lockfile.Match(match); !ok {
		if _, ok := syftOnly(base); !ok {
			return openSBOM(name)
		}
	}
	if dir == "" {
		dir = "."
	}
	// Formats that are told by their directories need those in the path.
	up := 0
	if _, ok := lockfile.Match(base); !ok {
		up = 2
	}
	rel := base
	if abs, err := filepath.Abs(dir); err == nil {
		for dir = abs; up > 0 && filepath.Dir(dir) != dir; up-- {
			rel = filepath.Base(dir) + "/" + rel
			dir = filepath.Dir(dir)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", name, err)
	}
	defer root.Close()
	fi, err := root.Stat(rel)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", name, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file: %w", name, ErrSource)
	}
	t := &tree{ctx: ctx, fsys: root.FS(), limit: defaultBounds, readings: opt.Readings, inv: &sbom.Inventory{Source: sbom.Source{Scheme: schemeFile, Name: name}}}
	inv, err := t.inventory([]string{rel})
	if err == nil && len(inv.Files) == 1 {
		inv.Source.Format = inv.Files[0].Format
	}
	return inv, err
}

func openSBOM(name string) (*sbom.Inventory, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("opening SBOM %q: %w", name, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file: %w", name, ErrSource)
	}
	if isTar(name) {
		return nil, fmt.Errorf("%q is a tar archive; say which kind: oci-archive:%s or docker-archive:%s: %w", name, name, name, ErrSource)
	}
	return document.ReadFile(name)
}

// isTar looks for the magic of a tar header.
func isTar(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	if _, err := io.ReadFull(f, head); err != nil {
		return false
	}
	return string(head[257:262]) == "ustar"
}
