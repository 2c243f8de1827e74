package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/document"
	"github.com/headgate/headgate/sbom/revision"
	"github.com/headgate/headgate/sbom/scan"
)

// openSource reads the inventory of what the user named; readings are those of the
// base, nil for none.
func openSource(ctx context.Context, source string, readings *scan.Readings) (*sbom.Inventory, error) {
	inv, err := scan.Open(ctx, source, scan.Options{Readings: readings})
	switch {
	case err == nil:
		return inv, nil
	case errors.Is(err, scan.ErrSource), errors.Is(err, fs.ErrNotExist):
		return nil, &exitError{code: ingest.ExitUsage, err: err, hint: "SOURCE is a directory, a lock file, an SBOM, an image archive or a package URL"}
	case errors.Is(err, fs.ErrPermission):
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("reading %s: %w", source, err)}
}

// baseOf is what --base names.
type baseOf struct {
	info      *ingest.Base
	inventory *sbom.Inventory
	git       *baseTree // nil for an SBOM
}

func (b *baseOf) close() {
	if b != nil && b.git != nil {
		// Nothing was written; a pack that cannot be closed changes no answer.
		_ = b.git.repo.Close()
	}
}

// openBase opens a git revision or an SBOM. What exists as a file that is an SBOM
// is one; everything else is a revision, whose files readings remember for the head.
func openBase(ctx context.Context, name, source string, readings *scan.Readings) (*baseOf, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(name, "sbom:"), "file:")
	if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
		inv, err := document.ReadFile(path)
		if err != nil {
			return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("base %s: %w", name, err), hint: "--base takes a git revision or an SBOM"}
		}
		if inv.Partial() {
			return nil, usage("base %s cannot be vouched for: %s", name, inv.Problems[0].Detail)
		}
		return &baseOf{info: &ingest.Base{Kind: "sbom", Name: name, Revision: inv.Source.Revision}, inventory: inv}, nil
	} else if path != name {
		return nil, usage("base %s: no such file", name)
	}
	dir := sourceDir(source)
	repo, err := revision.Open(dir)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("base %s: %w", name, err), hint: "--base takes a revision of the git repository that SOURCE lies in, or an SBOM file"}
	}
	b := &baseOf{git: &baseTree{repo: repo, name: name}}
	fail := func(err error) (*baseOf, error) {
		b.close()
		return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("base %s: %w", name, err)}
	}
	if b.git.top, err = repo.TopTree(name); err != nil {
		return fail(err)
	}
	if b.git.tree, err = repo.Tree(name); err != nil {
		return fail(err)
	}
	b.info = &ingest.Base{Kind: "revision", Name: name, Revision: b.git.tree.Commit()}
	src := sbom.Source{Scheme: "git", Name: name, Revision: b.git.tree.Commit()}
	var tree fs.FS = b.git.tree
	if file := strings.TrimPrefix(source, "file:"); isFile(file) {
		// One lock file against the same file of the base.
		tree = only{b.git.tree, filepath.Base(file)}
	}
	if b.inventory, err = scan.Tree(ctx, tree, src, scan.Options{Readings: readings}); err != nil {
		return fail(err)
	}
	return b, nil
}

func isFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular()
}

// only is a tree with one file in its top directory and nothing else.
type only struct {
	fs.FS
	name string
}

func (o only) ReadDir(name string) ([]fs.DirEntry, error) {
	es, err := fs.ReadDir(o.FS, name)
	if err != nil {
		return nil, err
	}
	var out []fs.DirEntry
	for _, e := range es {
		if name == "." && (e.Name() == o.name || besides(o.name, e.Name())) {
			out = append(out, e)
		}
	}
	return out, nil
}

// besides reports whether other belongs to the dependency file name: the pair of
// go.mod and go.sum, package.json beside its lock file.
func besides(name, other string) bool {
	switch name {
	case "go.mod", "go.sum":
		return other == "go.mod" || other == "go.sum"
	case "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock":
		return other == "package.json"
	}
	return false
}
