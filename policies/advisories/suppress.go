package advisories

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/strictjson"
)

// Bounds of documents that suppress advisories.
const (
	// MaxDocument bounds a VEX document or osv-scanner.toml, in bytes.
	MaxDocument = 16 << 20
	// MaxStatements bounds the statements of one document.
	MaxStatements = 50_000
)

// Suppression sets one advisory aside, with its reason. It never concerns malware.
type Suppression struct {
	// IDs are the advisory's id and aliases.
	IDs []string
	// Package limits it; zero for all packages. Version limits it further.
	Package trust.Package
	Version string
	// Until is the first moment at which it no longer holds; zero for ever.
	Until time.Time
	// Reason is shown in every report.
	Reason string
}

// Apply marks the advisories of a release that a suppression sets aside.
func Apply(ss []Suppression, r trust.Release, as []policies.Advisory, now time.Time) []policies.Advisory {
	out := slices.Clone(as)
	for i := range out {
		a := &out[i]
		if a.Malware || a.Suppressed != "" {
			continue
		}
		for _, s := range ss {
			if s.covers(r, a, now) {
				a.Suppressed = s.Reason
				break
			}
		}
	}
	return out
}

func (s *Suppression) covers(r trust.Release, a *policies.Advisory, now time.Time) bool {
	if !s.Until.IsZero() && !now.Before(s.Until) {
		return false
	}
	if !s.Package.IsZero() && (s.Package != r.Package || (s.Version != "" && s.Version != r.Version)) {
		return false
	}
	return slices.ContainsFunc(s.IDs, func(id string) bool { return id == a.ID || slices.Contains(a.Aliases, id) })
}

// ParseOSVScanner reads the ignored vulnerabilities of an osv-scanner.toml, with
// their end dates. An ignore without a reason is refused, and so are package
// overrides that ignore a whole package: neither says what was looked at.
func ParseOSVScanner(data []byte) ([]Suppression, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("osv-scanner.toml of %d bytes is larger than %d", len(data), MaxDocument)
	}
	var doc struct {
		IgnoredVulns []struct {
			ID          string    `toml:"id"`
			IgnoreUntil time.Time `toml:"ignoreUntil"`
			Reason      string    `toml:"reason"`
		} `toml:"IgnoredVulns"`
		PackageOverrides []struct {
			Name          string `toml:"name"`
			Ignore        bool   `toml:"ignore"`
			Vulnerability struct {
				Ignore bool `toml:"ignore"`
			} `toml:"vulnerability"`
		} `toml:"PackageOverrides"`
	}
	if err := toml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading osv-scanner.toml: %w", err)
	}
	if len(doc.IgnoredVulns) > MaxStatements {
		return nil, fmt.Errorf("osv-scanner.toml: %d ignores are more than %d", len(doc.IgnoredVulns), MaxStatements)
	}
	var out []Suppression
	for _, v := range doc.IgnoredVulns {
		if v.ID == "" || v.ID == "*" {
			return nil, errors.New("osv-scanner.toml: an ignore needs the id of one advisory")
		}
		if strings.TrimSpace(v.Reason) == "" {
			return nil, fmt.Errorf("osv-scanner.toml: ignoring %s needs a reason", clip(v.ID))
		}
		out = append(out, Suppression{IDs: []string{v.ID}, Until: v.IgnoreUntil, Reason: "ignored by osv-scanner.toml: " + v.Reason})
	}
	for _, p := range doc.PackageOverrides {
		if p.Ignore || p.Vulnerability.Ignore {
			return nil, fmt.Errorf("osv-scanner.toml: ignoring all advisories of %q is not supported: name them under IgnoredVulns", clip(p.Name))
		}
	}
	return out, nil
}

// ParseVEX reads a CycloneDX or OpenVEX document in JSON. Only statements that
// say "not affected" with a justification, for named products, suppress.
func ParseVEX(data []byte) ([]Suppression, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("VEX document of %d bytes is larger than %d", len(data), MaxDocument)
	}
	var kind struct {
		Context   string `json:"@context"`
		BOMFormat string `json:"bomFormat"`
	}
	if err := strictjson.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("reading VEX: %w", err)
	}
	switch {
	case kind.BOMFormat == "CycloneDX":
		return parseCycloneDXVEX(data)
	case strings.HasPrefix(kind.Context, "https://openvex.dev/ns"):
		return parseOpenVEX(data)
	}
	return nil, errors.New("reading VEX: neither CycloneDX nor OpenVEX")
}

func parseCycloneDXVEX(data []byte) ([]Suppression, error) {
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return nil, fmt.Errorf("reading CycloneDX VEX: %w", err)
	}
	purls := map[string]string{}
	if bom.Components != nil {
		for _, c := range *bom.Components {
			purls[c.BOMRef] = c.PackageURL
		}
	}
	if bom.Vulnerabilities == nil {
		return nil, nil
	}
	var out []Suppression
	for _, v := range *bom.Vulnerabilities {
		if v.Analysis == nil || v.Affects == nil || v.ID == "" {
			continue
		}
		if v.Analysis.State != cdx.IASNotAffected && v.Analysis.State != cdx.IASFalsePositive {
			continue
		}
		why := strings.TrimSpace(string(v.Analysis.Justification) + " " + v.Analysis.Detail)
		if why == "" {
			continue
		}
		ids := []string{v.ID}
		if v.References != nil {
			for _, r := range *v.References {
				ids = append(ids, r.ID)
			}
		}
		for _, a := range *v.Affects {
			ref := a.Ref
			if p, ok := purls[ref]; ok {
				ref = p
			}
			// A BOM-Link ends in the reference of the component.
			if _, frag, ok := strings.Cut(ref, "#"); ok && strings.HasPrefix(ref, "urn:cdx:") {
				ref = frag
			}
			s, ok := forProduct(ids, ref, "VEX (CycloneDX): "+why)
			if ok {
				out = append(out, s)
			}
		}
		if len(out) > MaxStatements {
			return nil, fmt.Errorf("CycloneDX VEX: more than %d statements", MaxStatements)
		}
	}
	return out, nil
}

// forProduct makes a suppression for a product that is named by a purl. A
// product that is not named suppresses nothing.
func forProduct(ids []string, product, reason string) (Suppression, bool) {
	r, err := trust.ParseRelease(product)
	if err != nil {
		return Suppression{}, false
	}
	return Suppression{IDs: slices.DeleteFunc(slices.Clone(ids), func(s string) bool { return s == "" }), Package: r.Package, Version: r.Version, Reason: reason}, true
}

// openVEX is the part of OpenVEX that suppresses
// (https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md).
type openVEX struct {
	Statements []struct {
		Vulnerability struct {
			ID      string   `json:"@id"`
			Name    string   `json:"name"`
			Aliases []string `json:"aliases"`
		} `json:"vulnerability"`
		Products []struct {
			openVEXProduct
			Subcomponents []openVEXProduct `json:"subcomponents"`
		} `json:"products"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
		Impact        string `json:"impact_statement"`
	} `json:"statements"`
}

type openVEXProduct struct {
	ID          string            `json:"@id"`
	Identifiers map[string]string `json:"identifiers"`
}

func (p openVEXProduct) purl() string {
	if u := p.Identifiers["purl"]; u != "" {
		return u
	}
	return p.ID
}

func parseOpenVEX(data []byte) ([]Suppression, error) {
	var doc openVEX
	if err := strictjson.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading OpenVEX: %w", err)
	}
	if len(doc.Statements) > MaxStatements {
		return nil, fmt.Errorf("OpenVEX: %d statements are more than %d", len(doc.Statements), MaxStatements)
	}
	type key struct{ vulnerability, product string }
	var out []Suppression
	at := map[key][]int{}
	for _, st := range doc.Statements {
		why := strings.TrimSpace(st.Justification + " " + st.Impact)
		for _, p := range st.Products {
			targets := []string{p.purl()}
			if len(p.Subcomponents) > 0 {
				// The statement is about the subcomponents as they are used in the product.
				targets = nil
				for _, sc := range p.Subcomponents {
					targets = append(targets, sc.purl())
				}
			}
			for _, target := range targets {
				k := key{st.Vulnerability.Name, target}
				// A later statement about the same thing replaces earlier ones.
				for _, i := range at[k] {
					out[i].IDs = nil
				}
				at[k] = nil
				if st.Status != "not_affected" || why == "" {
					continue
				}
				s, ok := forProduct(append([]string{st.Vulnerability.Name, st.Vulnerability.ID}, st.Vulnerability.Aliases...), target, "VEX (OpenVEX): "+why)
				if ok {
					at[k] = append(at[k], len(out))
					out = append(out, s)
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(s Suppression) bool { return len(s.IDs) == 0 }), nil
}

// ParseKEV reads CISA's catalogue of known exploited vulnerabilities in JSON and
// returns the CVE ids.
func ParseKEV(data []byte) (map[string]bool, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("KEV catalogue of %d bytes is larger than %d", len(data), MaxDocument)
	}
	var doc struct {
		Vulnerabilities []struct {
			CVE string `json:"cveID"`
		} `json:"vulnerabilities"`
	}
	if err := strictjson.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading the KEV catalogue: %w", err)
	}
	if len(doc.Vulnerabilities) == 0 {
		return nil, errors.New("reading the KEV catalogue: it is empty")
	}
	out := make(map[string]bool, len(doc.Vulnerabilities))
	for _, v := range doc.Vulnerabilities {
		if v.CVE == "" {
			return nil, errors.New("reading the KEV catalogue: entry without a CVE id")
		}
		out[v.CVE] = true
	}
	return out, nil
}
