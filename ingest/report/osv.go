package report

import (
	"cmp"
	"io"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/policies/advisories/scanner"
	"github.com/headgate/headgate/sbom"
)

// ErrNotLookedUp is part of the error of a format that cannot say that advisories
// were not looked up.
var ErrNotLookedUp = scanner.ErrNotLookedUp

// writeOSV writes the advisories of what was judged as osv-scanner does.
func writeOSV(w io.Writer, r *ingest.Report, _ Options) error {
	typ := scanner.TypeLockfile
	if r.Source.Scheme == "sbom" {
		typ = scanner.TypeSBOM
	}
	var items []scanner.Item
	for _, c := range r.Components {
		switch c.Kind {
		case sbom.KindPath, sbom.KindWorkspace, sbom.KindBundled, sbom.KindToolchain, sbom.KindGit, sbom.KindURL:
			continue // their names are nobody's in a database of registries
		}
		if _, err := advisories.EcosystemOf(c.Release.Package); err != nil || c.Release.Version == "" {
			continue
		}
		it := scanner.Item{Path: r.Source.Name, Type: typ, Release: c.Release, Advisories: c.Advisories, State: c.AdvisoryState}
		switch c.Scope {
		case sbom.ScopeDevelopment:
			it.Groups = []string{"dev"}
		case sbom.ScopeOptional:
			it.Groups = []string{"optional"}
		}
		if len(c.Locations) > 0 {
			it.Path = cmp.Or(c.Locations[0].Path, it.Path)
		}
		items = append(items, it)
	}
	res, err := scanner.Convert(items)
	if err != nil {
		return err
	}
	return encode(w, res)
}
