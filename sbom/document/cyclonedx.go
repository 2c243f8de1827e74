package document

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func (r *reader) cycloneDXJSON(b []byte) error {
	lines, err := walkJSON(b, "components")
	if err != nil {
		return err
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(b), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		if errors.Is(err, cdx.ErrInvalidSpecVersion) {
			return fmt.Errorf("this version of the specification is %w", ErrUnsupported)
		}
		return fmt.Errorf("decoding: %w", err)
	}
	if bom.BOMFormat != cdx.BOMFormat {
		return fmt.Errorf("bomFormat is %q, not %q", short(bom.BOMFormat), cdx.BOMFormat)
	}
	return r.cycloneDX(&bom, lines, "JSON")
}

func (r *reader) cycloneDXXML(b []byte) error {
	lines, err := walkXML(b)
	if err != nil {
		return err
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(b), cdx.BOMFileFormatXML).Decode(&bom); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	return r.cycloneDX(&bom, lines, "XML")
}

func (r *reader) cycloneDX(bom *cdx.BOM, lines []int, syntax string) error {
	if bom.SpecVersion < cdx.SpecVersion1_2 || bom.SpecVersion > cdx.SpecVersion1_7 {
		return fmt.Errorf("this version of the specification is %w; headgate reads 1.2 to 1.7", ErrUnsupported)
	}
	r.inv.Source.Format = "CycloneDX " + bom.SpecVersion.String() + " " + syntax
	r.inv.Source.Revision = bom.SerialNumber

	root := ""
	if bom.Metadata != nil && bom.Metadata.Component != nil {
		root = bom.Metadata.Component.BOMRef
	}
	direct, graph := map[string]bool{}, false
	if bom.Dependencies != nil && root != "" {
		for _, d := range *bom.Dependencies {
			if d.Ref == root && d.Dependencies != nil {
				graph = true
				for _, ref := range *d.Dependencies {
					direct[ref] = true
				}
			}
		}
	}
	relation := func(ref string) sbom.Relation {
		switch {
		case !graph || ref == "":
			return sbom.RelationUnknown
		case direct[ref]:
			return sbom.RelationDirect
		}
		return sbom.RelationTransitive
	}
	next := func() int {
		if len(lines) == 0 {
			return 0
		}
		l := lines[0]
		lines = lines[1:]
		return l
	}
	var walk func(list *[]cdx.Component, line func() int)
	walk = func(list *[]cdx.Component, line func() int) {
		if list == nil {
			return
		}
		for i := range *list {
			c := &(*list)[i]
			s := fromCycloneDX(c)
			s.line = line()
			s.relation = relation(c.BOMRef)
			r.add(s)
			walk(c.Components, line)
		}
	}
	if bom.Components == nil {
		r.problem(sbom.ProblemSkipped, 0, "the SBOM has no list of components", "generate it again with the components included")
	}
	walk(bom.Components, next)
	if bom.Metadata != nil && bom.Metadata.Component != nil {
		walk(bom.Metadata.Component.Components, func() int { return 0 })
	}
	r.dangling(bom)
	if bom.Compositions != nil {
		for _, c := range *bom.Compositions {
			if strings.HasPrefix(string(c.Aggregate), "incomplete") {
				r.problem(sbom.ProblemSkipped, 0, fmt.Sprintf("the SBOM says itself that it is %s", short(string(c.Aggregate))), "generate a complete one")
				break
			}
		}
	}
	return nil
}

// dangling tells of packages that only the graph of dependencies names: a ref
// that is a package URL, and neither a reference nor a package URL of anything
// that the SBOM describes.
func (r *reader) dangling(bom *cdx.BOM) {
	if bom.Dependencies == nil {
		return
	}
	known := map[string]bool{}
	var note func(list *[]cdx.Component)
	note = func(list *[]cdx.Component) {
		if list == nil {
			return
		}
		for i := range *list {
			c := &(*list)[i]
			known[c.BOMRef], known[c.PackageURL] = true, true
			note(c.Components)
		}
	}
	note(bom.Components)
	if bom.Metadata != nil && bom.Metadata.Component != nil {
		note(&[]cdx.Component{*bom.Metadata.Component})
	}
	if bom.Services != nil {
		for _, s := range *bom.Services {
			known[s.BOMRef] = true
		}
	}
	first, n := "", 0
	see := func(ref string) {
		if strings.HasPrefix(ref, "pkg:") && !known[ref] {
			known[ref] = true
			if n++; n == 1 {
				first = ref
			}
		}
	}
	for _, d := range *bom.Dependencies {
		see(d.Ref)
		if d.Dependencies != nil {
			for _, ref := range *d.Dependencies {
				see(ref)
			}
		}
	}
	switch {
	case n == 1:
		r.problem(sbom.ProblemSkipped, 0, fmt.Sprintf("the dependency graph names %s, which is none of the components", short(first)), "generate the SBOM again with the components included")
	case n > 1:
		r.problem(sbom.ProblemSkipped, 0, fmt.Sprintf("the dependency graph names %s and %d more, which are none of the components", short(first), n-1), "generate the SBOM again with the components included")
	}
}

// algorithms are CycloneDX's names of the digests that headgate uses; others
// (SHA-3, BLAKE, Streebog) are left out: nothing upstream states them.
var algorithms = map[cdx.HashAlgorithm]trust.Algorithm{
	cdx.HashAlgoMD5: trust.MD5, cdx.HashAlgoSHA1: trust.SHA1, cdx.HashAlgoSHA256: trust.SHA256,
	cdx.HashAlgoSHA384: trust.SHA384, cdx.HashAlgoSHA512: trust.SHA512,
}

func fromHashes(hs *[]cdx.Hash) (ds trust.Digests, bad error) {
	if hs == nil {
		return nil, nil
	}
	for _, h := range *hs {
		alg, ok := algorithms[h.Algorithm]
		if !ok {
			continue
		}
		d, err := trust.NewDigest(alg, strings.TrimSpace(h.Value))
		if err != nil {
			bad = err
			continue
		}
		if old := ds.Get(alg); !old.IsZero() {
			if !old.Equal(d) {
				bad = fmt.Errorf("two different %s digests", alg)
			}
			continue
		}
		ds = append(ds, d)
	}
	return ds, bad
}

func fromCycloneDX(c *cdx.Component) stated {
	name := c.Name
	if c.Group != "" {
		name = c.Group + "/" + c.Name
	}
	s := stated{purl: strings.TrimSpace(c.PackageURL), name: name, version: c.Version}
	switch c.Type {
	case cdx.ComponentTypeFile, cdx.ComponentTypeOS, cdx.ComponentTypeData, cdx.ComponentTypeCryptographicAsset:
		s.notPackage = true
	case cdx.ComponentTypeApplication:
		s.notPackage = c.Version == ""
	}
	switch c.Scope {
	case cdx.ScopeRequired:
		s.scope = sbom.ScopeRuntime
	case cdx.ScopeOptional:
		s.scope = sbom.ScopeOptional
	case cdx.ScopeExcluded:
		s.scope = sbom.ScopeDevelopment
	}
	s.artifact.Digests, s.badDigest = fromHashes(c.Hashes)
	if c.Properties != nil {
		for _, p := range *c.Properties {
			switch p.Name {
			case propScope:
				if p.Value == string(sbom.ScopeUnused) {
					s.scope = sbom.ScopeUnused
				}
			case "cdx:npm:package:development", "cdx:npm:package:dev":
				if p.Value == "true" {
					s.scope = sbom.ScopeDevelopment
				}
			case "syft:metadata:h1Digest", propDigest:
				if d, err := trust.ParseDigest(p.Value); err != nil {
					s.badDigest = err
				} else if s.artifact.Digests.Get(d.Algorithm).IsZero() && (d.Algorithm != trust.DirHash1 || s.artifact.Digests.Get(trust.SHA256).IsZero()) {
					s.artifact.Digests = append(s.artifact.Digests, d)
				}
			}
		}
	}
	if c.ExternalReferences != nil {
		for _, e := range *c.ExternalReferences {
			if e.Type != cdx.ERTypeDistribution || e.URL == "" {
				continue
			}
			ds, bad := fromHashes(e.Hashes)
			if bad != nil {
				s.badDigest = bad
			}
			switch {
			case s.artifact.URL == "" && (len(ds) == 0 || len(s.artifact.Digests) == 0 || s.artifact.Digests.Compare(ds) == trust.Agree):
				s.artifact.URL = e.URL
				if len(s.artifact.Digests) == 0 {
					s.artifact.Digests = ds
				}
			default:
				s.more = append(s.more, trust.Artifact{Name: baseName(e.URL), URL: e.URL, Digests: ds})
			}
		}
	}
	if c.Licenses != nil {
		for _, l := range *c.Licenses {
			switch {
			case l.Expression != "":
				s.licenses = append(s.licenses, l.Expression)
			case l.License != nil && l.License.ID != "":
				s.licenses = append(s.licenses, l.License.ID)
			case l.License != nil && l.License.Name != "":
				s.licenses = append(s.licenses, l.License.Name)
			}
		}
	}
	return s
}

// baseName is the file name of a URL.
func baseName(u string) string {
	u, _, _ = strings.Cut(u, "#")
	u, _, _ = strings.Cut(u, "?")
	return path.Base(u)
}
