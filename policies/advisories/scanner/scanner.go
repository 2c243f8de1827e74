// Package scanner writes advisories in the result model of osv-scanner, so that
// tools which read its JSON read headgate's.
//
// It refuses to show less than headgate knows: suppressed advisories stay out of
// the vulnerabilities, as osv-scanner leaves ignored ones out, and everything
// else is there.
package scanner

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/google/osv-scanner/v2/pkg/models"
	"github.com/ossf/osv-schema/bindings/go/osvschema"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

// Results converts an answer. source is the lock file or SBOM that the releases
// come from. The order is that of the package URLs. A release whose state is not
// known is an error: the model has no word for "not looked up".
func Results(source string, ans advisories.Answer) (models.VulnerabilityResults, error) {
	var releases []trust.Release
	for r, st := range ans.States {
		if st != policies.StateKnown {
			return models.VulnerabilityResults{}, fmt.Errorf("advisories of %s are %s: %s", r, st, ans.Reasons[r])
		}
		releases = append(releases, r)
	}
	slices.SortFunc(releases, func(a, b trust.Release) int { return cmp.Compare(a.PURL(), b.PURL()) })
	src := models.PackageSource{Source: models.SourceInfo{Path: source, Type: models.SourceTypeProjectPackage}}
	for _, r := range releases {
		if p, ok := convert(r, ans.Advisories[r]); ok {
			src.Packages = append(src.Packages, p)
		}
	}
	var out models.VulnerabilityResults
	if len(src.Packages) > 0 {
		out.Results = []models.PackageSource{src}
	}
	return out, nil
}

func convert(r trust.Release, as []policies.Advisory) (models.PackageVulns, bool) {
	eco, err := advisories.EcosystemOf(r.Package)
	if err != nil {
		return models.PackageVulns{}, false
	}
	p := models.PackageVulns{Package: models.PackageInfo{Name: advisories.Name(r.Package), Version: r.Version, Ecosystem: eco}}
	for _, a := range as {
		if a.Suppressed != "" {
			continue
		}
		p.Vulnerabilities = append(p.Vulnerabilities, vulnerability(r, eco, a))
		g := models.GroupInfo{IDs: []string{a.ID}, Aliases: append([]string{a.ID}, a.Aliases...)}
		if a.Score > 0 {
			g.MaxSeverity = fmt.Sprintf("%.1f", a.Score)
		}
		slices.Sort(g.Aliases)
		p.Groups = append(p.Groups, g)
	}
	return p, len(p.Vulnerabilities) > 0
}

func vulnerability(r trust.Release, eco string, a policies.Advisory) *osvschema.Vulnerability {
	aff := &osvschema.Affected{Package: &osvschema.Package{Ecosystem: eco, Name: advisories.Name(r.Package), Purl: r.Package.PURL()}, Versions: []string{r.Version}}
	for _, f := range a.Fixed {
		aff.Ranges = append(aff.Ranges, &osvschema.Range{Type: osvschema.Range_ECOSYSTEM, Events: []*osvschema.Event{{Introduced: r.Version}, {Fixed: f}}})
	}
	return &osvschema.Vulnerability{Id: a.ID, Aliases: a.Aliases, Summary: a.Summary, Affected: []*osvschema.Affected{aff}}
}
