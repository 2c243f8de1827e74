package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// spdxDocument is what an inventory needs of SPDX 2
// (https://spdx.github.io/spdx-spec/v2.3/), in its JSON form.
type spdxDocument struct {
	Version       string             `json:"spdxVersion"`
	Namespace     string             `json:"documentNamespace"`
	Packages      *[]spdxPackage     `json:"packages"`
	Relationships []spdxRelationship `json:"relationships"`
	Describes     []string           `json:"documentDescribes"`
}

type spdxPackage struct {
	ID        string `json:"SPDXID"`
	Name      string `json:"name"`
	Version   string `json:"versionInfo"`
	Location  string `json:"downloadLocation"`
	Purpose   string `json:"primaryPackagePurpose"`
	Concluded string `json:"licenseConcluded"`
	Declared  string `json:"licenseDeclared"`
	Checksums []struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	} `json:"checksums"`
	Refs []struct {
		Type    string `json:"referenceType"`
		Locator string `json:"referenceLocator"`
	} `json:"externalRefs"`
	line int
}

type spdxRelationship struct {
	From string `json:"spdxElementId"`
	To   string `json:"relatedSpdxElement"`
	Type string `json:"relationshipType"`
}

const spdxSelf = "SPDXRef-DOCUMENT"

func (r *reader) spdxJSON(b []byte) error {
	lines, err := walkJSON(b, "packages")
	if err != nil {
		return err
	}
	var doc spdxDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	if doc.Packages != nil {
		for i := range min(len(*doc.Packages), len(lines)) {
			(*doc.Packages)[i].line = lines[i]
		}
	}
	return r.spdx(&doc, "JSON")
}

func (r *reader) spdx(doc *spdxDocument, syntax string) error {
	if doc.Version != "SPDX-2.2" && doc.Version != "SPDX-2.3" {
		return fmt.Errorf("version %q is %w; headgate reads SPDX-2.2 and SPDX-2.3", short(doc.Version), ErrUnsupported)
	}
	r.inv.Source.Format = "SPDX " + strings.TrimPrefix(doc.Version, "SPDX-") + " " + syntax
	r.inv.Source.Revision = doc.Namespace
	if doc.Packages == nil {
		r.problem(sbom.ProblemSkipped, 0, "the SBOM has no list of packages", "generate it again with the packages included")
		return nil
	}
	packages := *doc.Packages

	described := map[string]bool{}
	for _, id := range doc.Describes {
		described[id] = true
	}
	for _, rel := range doc.Relationships {
		switch {
		case rel.Type == "DESCRIBES" && rel.From == spdxSelf:
			described[rel.To] = true
		case rel.Type == "DESCRIBED_BY" && rel.To == spdxSelf:
			described[rel.From] = true
		}
	}
	root := ""
	if len(described) == 1 && len(packages) > 1 {
		for id := range described {
			root = id
		}
	}
	direct, scope := map[string]bool{}, map[string]sbom.Scope{}
	widen := func(id string, s sbom.Scope) {
		// A package that anything needs at run time is a run-time package.
		if old, ok := scope[id]; !ok || old != sbom.ScopeRuntime {
			scope[id] = s
		}
	}
	for _, rel := range doc.Relationships {
		from, to := rel.From, rel.To
		switch rel.Type {
		case "DEPENDS_ON":
			widen(to, sbom.ScopeRuntime)
		case "DEPENDENCY_OF", "RUNTIME_DEPENDENCY_OF", "PROVIDED_DEPENDENCY_OF":
			from, to = to, from
			widen(to, sbom.ScopeRuntime)
		case "DEV_DEPENDENCY_OF", "TEST_DEPENDENCY_OF", "BUILD_DEPENDENCY_OF":
			from, to = to, from
			widen(to, sbom.ScopeDevelopment)
		case "OPTIONAL_DEPENDENCY_OF":
			from, to = to, from
			widen(to, sbom.ScopeOptional)
		default:
			continue
		}
		if root != "" && from == root {
			direct[to] = true
		}
	}
	ids := map[string]bool{}
	for i := range packages {
		p := &packages[i]
		if p.ID == "" || ids[p.ID] {
			return fmt.Errorf("line %d: package %q has no SPDXID of its own", p.line, short(p.Name))
		}
		ids[p.ID] = true
		if p.ID == root {
			continue
		}
		for _, s := range fromSPDX(p) {
			if s.scope = scope[p.ID]; s.scope == "" {
				s.scope = sbom.ScopeUnknown
			}
			switch {
			case direct[p.ID]:
				s.relation = sbom.RelationDirect
			case len(direct) > 0:
				s.relation = sbom.RelationTransitive
			}
			r.add(s)
		}
	}
	return nil
}

var spdxAlgorithms = map[string]trust.Algorithm{
	"MD5": trust.MD5, "SHA1": trust.SHA1, "SHA256": trust.SHA256, "SHA384": trust.SHA384, "SHA512": trust.SHA512,
}

// fromSPDX makes one stated package per package URL; usually one.
func fromSPDX(p *spdxPackage) []stated {
	s := stated{name: p.Name, version: p.Version, line: p.line}
	switch p.Purpose {
	case "FILE", "OPERATING-SYSTEM", "OPERATING_SYSTEM", "SOURCE":
		s.notPackage = true
	case "APPLICATION":
		s.notPackage = p.Version == "" || p.Version == "NOASSERTION"
	}
	if s.version == "NOASSERTION" {
		s.version = ""
	}
	for _, c := range p.Checksums {
		alg, ok := spdxAlgorithms[c.Algorithm]
		if !ok {
			continue
		}
		d, err := trust.NewDigest(alg, strings.TrimSpace(c.Value))
		switch old := s.artifact.Digests.Get(alg); {
		case err != nil:
			s.badDigest = err
		case old.IsZero():
			s.artifact.Digests = append(s.artifact.Digests, d)
		case !old.Equal(d):
			s.badDigest = fmt.Errorf("two different %s digests", alg)
		}
	}
	if strings.HasPrefix(p.Location, "https://") || strings.HasPrefix(p.Location, "http://") {
		s.artifact.URL = p.Location
	}
	for _, l := range []string{p.Concluded, p.Declared} {
		if l != "" && l != "NOASSERTION" && l != "NONE" {
			s.licenses = []string{l}
			break
		}
	}
	var out []stated
	for _, ref := range p.Refs {
		if ref.Type == "purl" {
			one := s
			one.purl = strings.TrimSpace(ref.Locator)
			one.artifact.Digests = append(trust.Digests(nil), s.artifact.Digests...)
			out = append(out, one)
		}
	}
	if len(out) == 0 {
		out = append(out, s)
	}
	return out
}

// spdxTagValue reads the tag-value form. Only the document, package and
// relationship sections count; a tag that occurs at most once and comes twice
// is an error.
func (r *reader) spdxTagValue(b []byte) error {
	doc := spdxDocument{Packages: &[]spdxPackage{}}
	var (
		pkg     *spdxPackage
		section string // "", "package" or "other"
		once    = map[string]bool{}
		tags    int
	)
	finish := func() {
		if pkg != nil {
			*doc.Packages = append(*doc.Packages, *pkg)
			pkg = nil
		}
	}
	text, line := string(b), 0
	for text != "" {
		var row string
		row, text, _ = strings.Cut(text, "\n")
		line++
		row = strings.TrimSpace(row)
		if row == "" || row[0] == '#' {
			continue
		}
		tag, value, ok := strings.Cut(row, ":")
		if !ok {
			return fmt.Errorf("line %d: %q is no \"Tag: value\"", line, short(row))
		}
		tag, value = strings.TrimSpace(tag), strings.TrimSpace(value)
		start := line
		if rest, ok := strings.CutPrefix(value, "<text>"); ok {
			var body strings.Builder
			for !strings.Contains(rest, "</text>") {
				if body.Len()+len(rest) > MaxLine {
					return fmt.Errorf("line %d: text of more than %d bytes: %w", start, MaxLine, ErrTooLarge)
				}
				body.WriteString(rest + "\n")
				if text == "" {
					return fmt.Errorf("line %d: <text> without </text>", start)
				}
				rest, text, _ = strings.Cut(text, "\n")
				line++
			}
			before, after, _ := strings.Cut(rest, "</text>")
			if strings.TrimSpace(after) != "" {
				return fmt.Errorf("line %d: data behind </text>", line)
			}
			body.WriteString(before)
			value = body.String()
		}
		if len(value) > MaxLine {
			return fmt.Errorf("line %d: value of more than %d bytes: %w", start, MaxLine, ErrTooLarge)
		}
		if tags++; tags > MaxObjects {
			return fmt.Errorf("more than %d tags: %w", MaxObjects, ErrTooLarge)
		}
		set := func(dst *string) error {
			if once[tag] {
				return fmt.Errorf("line %d: %s occurs twice in one section", start, tag)
			}
			once[tag] = true
			*dst = value
			return nil
		}
		var err error
		switch tag {
		case "SPDXVersion":
			if doc.Version != "" {
				return fmt.Errorf("line %d: a second SPDXVersion", start)
			}
			doc.Version = value
		case "DocumentNamespace":
			doc.Namespace = value
		case "PackageName":
			finish()
			if len(*doc.Packages) == MaxComponents {
				return fmt.Errorf("more than %d packages: %w", MaxComponents, ErrTooLarge)
			}
			pkg, section = &spdxPackage{line: start}, "package"
			clear(once)
			err = set(&pkg.Name)
		case "FileName", "SnippetSPDXID", "LicenseID", "Annotator", "Reviewer":
			if tag != "Annotator" && tag != "Reviewer" {
				finish()
				section = "other"
			}
		case "Relationship":
			f := strings.Fields(value)
			if len(f) != 3 {
				return fmt.Errorf("line %d: relationship %q", start, short(value))
			}
			doc.Relationships = append(doc.Relationships, spdxRelationship{From: f[0], Type: f[1], To: f[2]})
		}
		if err == nil && section == "package" {
			switch tag {
			case "SPDXID":
				err = set(&pkg.ID)
			case "PackageVersion":
				err = set(&pkg.Version)
			case "PackageDownloadLocation":
				err = set(&pkg.Location)
			case "PrimaryPackagePurpose":
				err = set(&pkg.Purpose)
			case "PackageLicenseConcluded":
				err = set(&pkg.Concluded)
			case "PackageLicenseDeclared":
				err = set(&pkg.Declared)
			case "PackageChecksum":
				alg, sum, ok := strings.Cut(value, ":")
				if !ok {
					return fmt.Errorf("line %d: checksum %q", start, short(value))
				}
				pkg.Checksums = append(pkg.Checksums, struct {
					Algorithm string `json:"algorithm"`
					Value     string `json:"checksumValue"`
				}{strings.TrimSpace(alg), strings.TrimSpace(sum)})
			case "ExternalRef":
				f := strings.Fields(value)
				if len(f) != 3 {
					return fmt.Errorf("line %d: external reference %q", start, short(value))
				}
				pkg.Refs = append(pkg.Refs, struct {
					Type    string `json:"referenceType"`
					Locator string `json:"referenceLocator"`
				}{f[1], f[2]})
			}
		}
		if err != nil {
			return err
		}
	}
	finish()
	if doc.Version == "" {
		return errors.New("no SPDXVersion")
	}
	if len(*doc.Packages) == 0 {
		doc.Packages = nil
	}
	return r.spdx(&doc, "tag-value")
}
