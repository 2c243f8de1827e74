package document

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Property is one name and value beside a component. Names begin with "headgate:".
type Property struct{ Name, Value string }

// Properties that headgate writes and reads by itself; the caller adds verdict,
// signer, assurance and the like.
const (
	propDigest   = "headgate:digest"
	propKind     = "headgate:kind"
	propScope    = "headgate:scope"
	propOrigin   = "headgate:origin"
	propCommit   = "headgate:commit"
	propAlias    = "headgate:alias"
	propReplaces = "headgate:replaces"
	propRegistry = "headgate:registry"
	propProblem  = "headgate:problem"
)

// WriteOptions say what goes into a written SBOM beside the inventory.
type WriteOptions struct {
	// Version of the specification, "1.4" to "1.7"; "1.6" if empty.
	Version string
	// Properties returns what to say of component i of the inventory; may be nil.
	Properties func(i int, c *sbom.Component) []Property
	// Document are properties of the SBOM as a whole.
	Document []Property
	// Tool is the version of headgate; Time and Serial (a urn:uuid) are left out if
	// empty, so that equal inventories make equal bytes.
	Tool   string
	Time   time.Time
	Serial string
}

// writeVersions are the versions that WriteCycloneDX writes. Older ones demand a
// version of every component, and the encoder invents one where there is none.
var writeVersions = map[string]cdx.SpecVersion{
	"1.4": cdx.SpecVersion1_4, "1.5": cdx.SpecVersion1_5, "1.6": cdx.SpecVersion1_6, "1.7": cdx.SpecVersion1_7,
}

// WriteCycloneDX writes the inventory as a CycloneDX JSON document. Equal inputs
// make equal bytes.
func WriteCycloneDX(w io.Writer, inv *sbom.Inventory, opt WriteOptions) error {
	version, ok := writeVersions[cmp.Or(opt.Version, "1.6")]
	if !ok {
		return fmt.Errorf("writing CycloneDX %q: %w; headgate writes 1.4 to 1.7", opt.Version, ErrUnsupported)
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = opt.Serial
	bom.Metadata = &cdx.Metadata{
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "headgate", Version: opt.Tool}}},
		Component:  &cdx.Component{BOMRef: "source", Type: cdx.ComponentTypeApplication, Name: cmp.Or(inv.Source.Name, inv.Source.Scheme, "source"), Version: inv.Source.Revision},
		Properties: properties(opt.Document),
	}
	if version < cdx.SpecVersion1_5 {
		//lint:ignore SA1019 the only form that these versions have
		bom.Metadata.Tools = &cdx.ToolsChoice{Tools: &[]cdx.Tool{{Name: "headgate", Version: opt.Tool}}}
	}
	if !opt.Time.IsZero() {
		bom.Metadata.Timestamp = opt.Time.UTC().Format(time.RFC3339)
	}
	components := make([]cdx.Component, len(inv.Components))
	refs := make(map[string]int, len(inv.Components))
	direct := []string{}
	for i := range inv.Components {
		c := &inv.Components[i]
		ref := c.Release.PURL()
		if refs[ref]++; refs[ref] > 1 {
			ref += "#" + strconv.Itoa(refs[ref])
		}
		var extra []Property
		if opt.Properties != nil {
			extra = opt.Properties(i, c)
		}
		components[i] = toCycloneDX(c, ref, extra)
		if c.Relation == sbom.RelationDirect {
			direct = append(direct, ref)
		}
	}
	bom.Components = &components
	if len(direct) > 0 {
		bom.Dependencies = &[]cdx.Dependency{{Ref: "source", Dependencies: &direct}}
	}
	if inv.Partial() {
		bom.Compositions = &[]cdx.Composition{{Aggregate: cdx.CompositionAggregateIncomplete, Assemblies: &[]cdx.BOMReference{"source"}}}
	}
	if err := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, version); err != nil {
		return fmt.Errorf("writing CycloneDX %s: %w", version, err)
	}
	return nil
}

func properties(ps []Property) *[]cdx.Property {
	if len(ps) == 0 {
		return nil
	}
	out := make([]cdx.Property, 0, len(ps))
	for _, p := range ps {
		out = append(out, cdx.Property{Name: p.Name, Value: p.Value})
	}
	slices.SortStableFunc(out, func(a, b cdx.Property) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) })
	return &out
}

func toCycloneDX(c *sbom.Component, ref string, extra []Property) cdx.Component {
	p := c.Release.Package
	out := cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeLibrary, Group: p.Namespace, Name: p.Name, Version: c.Release.Version, PackageURL: c.Release.PURL(),
	}
	switch c.Scope {
	case sbom.ScopeRuntime:
		out.Scope = cdx.ScopeRequired
	case sbom.ScopeOptional:
		out.Scope = cdx.ScopeOptional
	case sbom.ScopeDevelopment, sbom.ScopeUnused:
		out.Scope = cdx.ScopeExcluded
	}
	props := slices.Clone(extra)
	say := func(name, value string) {
		if value != "" {
			props = append(props, Property{name, value})
		}
	}
	say(propKind, string(c.Kind))
	say(propScope, string(c.Scope))
	say(propOrigin, c.Origin)
	say(propCommit, c.Commit)
	say(propAlias, c.Alias)
	say(propReplaces, c.Replaces.PURL())
	say(propRegistry, c.Registry)
	for _, pr := range c.Problems {
		say(propProblem, string(pr.Code)+": "+pr.Detail)
	}
	var refs []cdx.ExternalReference
	for i, a := range c.Artifacts {
		hashes, others := toHashes(a.Digests)
		for _, d := range others {
			say(propDigest, d.String())
		}
		if i == 0 && a.Name == "" {
			out.Hashes, hashes = hashes, nil
		}
		if url := cmp.Or(a.URL, a.Name); url != "" {
			refs = append(refs, cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: url, Hashes: hashes})
		}
	}
	if len(refs) > 0 {
		out.ExternalReferences = &refs
	}
	if len(c.Licenses) > 0 {
		var ls cdx.Licenses
		for _, l := range c.Licenses {
			if len(c.Licenses) == 1 && strings.Contains(l, " ") {
				ls = append(ls, cdx.LicenseChoice{Expression: l})
				continue
			}
			ls = append(ls, cdx.LicenseChoice{License: &cdx.License{Name: l}})
		}
		out.Licenses = &ls
	}
	if len(c.Locations) > 0 {
		var occ []cdx.EvidenceOccurrence
		for _, l := range c.Locations {
			o := cdx.EvidenceOccurrence{Location: l.Path}
			if l.Line > 0 {
				o.Line = &l.Line
			}
			occ = append(occ, o)
		}
		out.Evidence = &cdx.Evidence{Occurrences: &occ}
	}
	out.Properties = properties(props)
	return out
}

// toHashes splits digests into those that CycloneDX can name and the others.
func toHashes(ds trust.Digests) (*[]cdx.Hash, trust.Digests) {
	var hs []cdx.Hash
	var others trust.Digests
	names := maps.Collect(func(yield func(trust.Algorithm, cdx.HashAlgorithm) bool) {
		for k, v := range algorithms {
			if !yield(v, k) {
				return
			}
		}
	})
	// What the generators write for Go modules, and what is read back so.
	names[trust.DirHash1] = cdx.HashAlgoSHA256
	for _, d := range ds {
		if alg, ok := names[d.Algorithm]; ok {
			hs = append(hs, cdx.Hash{Algorithm: alg, Value: d.Value})
		} else {
			others = append(others, d)
		}
	}
	if len(hs) == 0 {
		return nil, others
	}
	return &hs, others
}
