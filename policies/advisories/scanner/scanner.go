// Package scanner writes advisories in the result model of osv-scanner
// (osv-scanner/v2/pkg/models), so that tools which read its JSON read headgate's.
//
// The types are its JSON written down anew: linking the model itself brings 55
// packages into every start of the process. Tests decode what is written here with
// the model.
//
// It refuses to show less than headgate knows: suppressed advisories stay out of
// the vulnerabilities, as osv-scanner leaves ignored ones out, everything else is
// there, and what was not looked up is an error, for the model has no word for it.
package scanner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

// ErrNotLookedUp is part of the error about releases whose advisories are not known.
var ErrNotLookedUp = errors.New("osv-scanner's format has no word for that: an empty list would say that nothing is known against it")

// Results is the document.
type Results struct {
	Results []Source `json:"results"`
	Config  config   `json:"experimental_config"`
}

type config struct {
	Licenses struct {
		Summary   bool     `json:"summary"`
		Allowlist []string `json:"allowlist"`
	} `json:"licenses"`
}

// Types of source.
const (
	TypeLockfile = "lockfile"
	TypeSBOM     = "sbom"
)

// Source is one file with its packages that have advisories.
type Source struct {
	Source struct {
		Path string `json:"path"`
		Type string `json:"type"`
	} `json:"source"`
	Packages []Package `json:"packages"`
}

// Package is one release with its advisories.
type Package struct {
	Package struct {
		Name      string `json:"name"`
		Version   string `json:"version"`
		Ecosystem string `json:"ecosystem"`
	} `json:"package"`
	DependencyGroups []string        `json:"dependency_groups,omitempty"`
	Vulnerabilities  []vulnerability `json:"vulnerabilities,omitempty"`
	Groups           []group         `json:"groups,omitempty"`
}

// group are advisories about one thing.
type group struct {
	IDs         []string `json:"ids"`
	Aliases     []string `json:"aliases"`
	MaxSeverity string   `json:"max_severity"`
}

// vulnerability is an OSV record as far as headgate keeps it.
type vulnerability struct {
	ID       string            `json:"id"`
	Aliases  []string          `json:"aliases,omitempty"`
	Summary  string            `json:"summary,omitempty"`
	Affected []affected        `json:"affected"`
	Database map[string]string `json:"database_specific,omitempty"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
		PURL      string `json:"purl"`
	} `json:"package"`
	Ranges   []versionRange `json:"ranges,omitempty"`
	Versions []string       `json:"versions"`
}

type versionRange struct {
	Type   string              `json:"type"`
	Events []map[string]string `json:"events"`
}

// Item is one release as it stands in a source.
type Item struct {
	Path, Type string // of the source
	Release    trust.Release
	Groups     []string // of dependencies: dev, optional
	Advisories []policies.Advisory
	State      policies.State
}

// Convert makes the document of all items, sorted by source and package URL.
func Convert(items []Item) (Results, error) {
	out := Results{Results: []Source{}}
	out.Config.Licenses.Allowlist = []string{}
	for _, it := range items {
		if it.State != policies.StateKnown {
			return Results{}, fmt.Errorf("advisories of %s were not looked up: %w", it.Release, ErrNotLookedUp)
		}
	}
	items = slices.Clone(items)
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Release.PURL(), b.Release.PURL()))
	})
	for _, it := range items {
		p, ok := convert(it)
		if !ok {
			continue
		}
		if n := len(out.Results); n == 0 || out.Results[n-1].Source.Path != it.Path || out.Results[n-1].Source.Type != it.Type {
			s := Source{}
			s.Source.Path, s.Source.Type = it.Path, it.Type
			out.Results = append(out.Results, s)
		}
		last := &out.Results[len(out.Results)-1]
		last.Packages = append(last.Packages, p)
	}
	return out, nil
}

func convert(it Item) (Package, bool) {
	eco, err := advisories.EcosystemOf(it.Release.Package)
	if err != nil {
		return Package{}, false // nothing can be known of it, and nothing is
	}
	p := Package{DependencyGroups: it.Groups}
	p.Package.Name, p.Package.Version, p.Package.Ecosystem = advisories.Name(it.Release.Package), it.Release.Version, eco
	for _, a := range it.Advisories {
		if a.Suppressed != "" {
			continue
		}
		p.Vulnerabilities = append(p.Vulnerabilities, describe(it.Release, eco, a))
		g := group{IDs: []string{a.ID}, Aliases: append([]string{a.ID}, a.Aliases...)}
		if a.Score > 0 {
			g.MaxSeverity = fmt.Sprintf("%.1f", a.Score)
		}
		slices.Sort(g.Aliases)
		g.Aliases = slices.Compact(g.Aliases)
		p.Groups = append(p.Groups, g)
	}
	return p, len(p.Vulnerabilities) > 0
}

func describe(r trust.Release, eco string, a policies.Advisory) vulnerability {
	aff := affected{Versions: []string{r.Version}}
	aff.Package.Ecosystem, aff.Package.Name, aff.Package.PURL = eco, advisories.Name(r.Package), r.Package.PURL()
	for _, f := range a.Fixed {
		aff.Ranges = append(aff.Ranges, versionRange{Type: "ECOSYSTEM", Events: []map[string]string{{"introduced": r.Version}, {"fixed": f}}})
	}
	v := vulnerability{ID: a.ID, Aliases: a.Aliases, Summary: a.Summary, Affected: []affected{aff}, Database: map[string]string{}}
	for k, on := range map[string]bool{"malicious": a.Malware, "known_exploited": a.KEV} {
		if on {
			v.Database[k] = "true"
		}
	}
	if a.Severity != "" {
		v.Database["severity"] = a.Severity
	}
	return v
}
