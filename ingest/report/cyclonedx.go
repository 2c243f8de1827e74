package report

import (
	"io"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var cdxHash = map[trust.Algorithm]cdx.HashAlgorithm{
	trust.MD5: cdx.HashAlgoMD5, trust.SHA1: cdx.HashAlgoSHA1, trust.SHA256: cdx.HashAlgoSHA256,
	trust.SHA384: cdx.HashAlgoSHA384, trust.SHA512: cdx.HashAlgoSHA512,
}

// writeCycloneDX writes a CycloneDX 1.6 SBOM of the whole source, with verdict,
// assurance, continuity and signers of each judged component as properties.
func writeCycloneDX(w io.Writer, r *ingest.Report, _ Options) error {
	bom := cdx.NewBOM()
	bom.SpecVersion = cdx.SpecVersion1_6
	name, version, _ := strings.Cut(r.Tool, " ")
	bom.Metadata = &cdx.Metadata{
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: name, Version: version}}},
		Component:  &cdx.Component{Type: cdx.ComponentTypeApplication, Name: Clean(r.Source.Name), BOMRef: "source"},
		Properties: &[]cdx.Property{{Name: "headgate:verdict", Value: string(r.Verdict)}, {Name: "headgate:policy", Value: Clean(r.Policy.Name)}},
	}
	if !r.Finished.IsZero() {
		bom.Metadata.Timestamp = r.Finished.UTC().Format(time.RFC3339)
	}
	judged := map[string]*ingest.Component{}
	for i := range r.Components {
		c := &r.Components[i]
		if was := judged[c.Release.PURL()]; was == nil || trust.Worst(was.Verdict, c.Verdict) != was.Verdict {
			judged[c.Release.PURL()] = c
		}
	}
	var comps []cdx.Component
	seen := map[string]bool{}
	add := func(release trust.Release, arts []trust.Artifact, licenses []string, scope sbom.Scope, locs []trust.Location, c *ingest.Component) {
		purl := release.PURL()
		if seen[purl] {
			return
		}
		seen[purl] = true
		out := cdx.Component{
			Type: cdx.ComponentTypeLibrary, BOMRef: purl, PackageURL: purl,
			Group: release.Package.Namespace, Name: release.Package.Name, Version: release.Version,
		}
		switch scope {
		case sbom.ScopeDevelopment, sbom.ScopeOptional:
			out.Scope = cdx.ScopeOptional
		case sbom.ScopeUnused:
			out.Scope = cdx.ScopeExcluded
		}
		props := []cdx.Property{}
		prop := func(k, v string) {
			if v != "" {
				props = append(props, cdx.Property{Name: "headgate:" + k, Value: Clean(v)})
			}
		}
		var hashes []cdx.Hash
		for _, a := range arts {
			for _, d := range a.Digests {
				if alg, ok := cdxHash[d.Algorithm]; ok && len(arts) == 1 {
					hashes = append(hashes, cdx.Hash{Algorithm: alg, Value: d.Value})
				} else {
					prop("digest", strings.TrimSpace(a.Name+" "+d.String()))
				}
			}
		}
		if len(hashes) > 0 {
			out.Hashes = &hashes
		}
		for _, l := range locs {
			prop("declaredIn", l.Path)
		}
		if c == nil {
			prop("verdict", "present in the base, not judged")
		} else {
			prop("verdict", string(c.Verdict))
			prop("assurance", c.Assurance.String())
			prop("continuity", string(c.Continuity))
			for _, s := range c.Signers {
				prop("signer", s.Identity())
			}
			for _, f := range c.Findings {
				prop("finding", f.Rule+": "+f.Message)
			}
			prop("decision", c.DecisionID)
		}
		if len(licenses) > 0 {
			var ls cdx.Licenses
			for _, l := range licenses {
				ls = append(ls, cdx.LicenseChoice{License: &cdx.License{Name: Clean(l)}})
			}
			out.Licenses = &ls
		}
		out.Properties = &props
		comps = append(comps, out)
	}
	if r.Inventory != nil {
		for _, c := range r.Inventory.Components {
			add(c.Release, c.Artifacts, c.Licenses, c.Scope, c.Locations, judged[c.Release.PURL()])
		}
	}
	for i := range r.Components {
		c := judged[r.Components[i].Release.PURL()]
		add(c.Release, c.Artifacts, nil, c.Scope, c.Locations, c)
	}
	bom.Components = &comps
	var b strings.Builder
	enc := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	if err := enc.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return err
	}
	_, err := w.Write(asciiJSON([]byte(b.String())))
	return err
}
