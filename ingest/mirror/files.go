package mirror

import (
	"maps"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/trust"
)

// Comparable reports whether packages of the type are made of source files, so
// that a comparison says something.
func Comparable(p trust.Package) bool {
	switch p.Type {
	case "npm", "pypi", "gem", "cargo", "golang", "generic":
		return true
	}
	return false
}

// ownFiles are the files of a package without those of archives inside it.
func ownFiles(p trust.Package, r *inspect.Report) []own {
	var out []own
	for _, shown := range slices.Sorted(maps.Keys(r.Files)) {
		f := own{shown: shown, rel: r.Inside(shown), file: r.Files[shown]}
		if p.Type == "gem" {
			rest, ok := strings.CutPrefix(shown, "data.tar.gz!/")
			if !ok {
				continue
			}
			f.rel = rest
		}
		if strings.Contains(f.rel, "!/") {
			continue
		}
		f.made = made(p.Type, f.rel)
		if p.Type == "cargo" && f.rel == "Cargo.toml.orig" {
			f.rel = "Cargo.toml" // cargo rewrites the manifest and keeps the source's beside it
		}
		out = append(out, f)
	}
	return out
}

// made reports whether the package format itself adds or rewrites the file.
func made(typ, rel string) bool {
	base, top, _ := strings.Cut(rel, "/")
	switch typ {
	case "cargo":
		return rel == "Cargo.toml" || rel == "Cargo.lock" || rel == ".cargo_vcs_info.json"
	case "pypi":
		return rel == "PKG-INFO" || strings.HasSuffix(base, ".dist-info") && top != "" || strings.Contains("/"+rel, ".egg-info/")
	}
	return false
}
