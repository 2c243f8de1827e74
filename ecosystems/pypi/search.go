package pypi

import (
	"context"
	"fmt"
	"slices"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// searched reports whether the source leaves it to pip where the package comes
// from: it names no index, and no file of one.
func searched(c sbom.Component) bool {
	return c.Registry == "" && !slices.ContainsFunc(c.Artifacts, func(a trust.Artifact) bool { return a.Name != "" || a.URL != "" })
}

// search finds the index of a package whose source names none. pip takes the
// highest version of all its indexes, so that a stranger who publishes a private
// name at a public one is preferred. Here the first index that knows the name is
// the only one that counts, private ones first, and it alone is asked.
func (a *Adapter) search(ctx context.Context, c sbom.Component) (string, error) {
	all := a.cfg.searchOrder()
	for _, index := range all[:len(all)-1] {
		p, _, err := a.page(ctx, index, c.Release.Package.Name)
		if _, why := trust.Classify(err); err != nil && why == trust.ReasonNotFound {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("asking %s whether the package is its own: %w", index, err)
		}
		has := func(art trust.Artifact) bool { return p.byDigest(c.Release, art.Digests) != nil }
		if slices.ContainsFunc(c.Artifacts, has) || len(c.Artifacts) == 0 && len(p.files(c.Release)) > 0 {
			return index, nil
		}
		return "", trust.Undecidable(trust.ReasonForeignSource, "the configured index %s has this package and not what the source states: that comes from another index, of which pip takes the highest version", index)
	}
	return all[len(all)-1], nil
}

// searchOrder are all indexes, the public one last and the user's further ones first.
func (c Config) searchOrder() []string {
	var own, public []string
	for _, i := range append(slices.Clone(c.Extra), c.Index) {
		if i == DefaultIndex {
			public = []string{i}
		} else if !slices.Contains(own, i) {
			own = append(own, i)
		}
	}
	return append(own, public...)
}
