package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of a document; one above any of them is an error that wraps ErrTooLarge.
const (
	MaxFile       = 128 << 20 // bytes
	MaxComponents = 100_000   // components or packages, nested ones included
	MaxObjects    = 2_000_000 // objects of a JSON document, elements of an XML document
	MaxDepth      = 128       // nesting of objects, arrays or elements
	MaxLine       = 1 << 20   // bytes of one value in tag-value documents
)

// Errors that callers tell apart.
var (
	// ErrTooLarge: a bound is exceeded.
	ErrTooLarge = errors.New("exceeds a bound")
	// ErrUnsupported: a version or encoding that headgate does not read.
	ErrUnsupported = errors.New("not supported")
	// ErrNoSBOM: the content is in none of the formats.
	ErrNoSBOM = errors.New("not an SBOM in a known format")
)

// Format is a format of SBOM.
type Format string

// Formats.
const (
	CycloneDXJSON Format = "CycloneDX JSON"
	CycloneDXXML  Format = "CycloneDX XML"
	SPDXJSON      Format = "SPDX JSON"
	SPDXTagValue  Format = "SPDX tag-value"
)

// sniffLen is how much of a document Sniff looks at.
const sniffLen = 64 << 10

// Sniff tells the format of a document from its beginning (its first 64 KiB suffice). It
// does not say that the document is sound.
func Sniff(head []byte) (Format, bool) {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.TrimLeft(head[:min(len(head), sniffLen)], " \t\r\n")
	switch {
	case len(head) == 0:
		return "", false
	case head[0] == '{':
		// Whichever of the two keys comes first at the top level decides.
		return sniffJSON(head)
	case head[0] == '<':
		if bytes.Contains(head, []byte("cyclonedx.org/schema/bom/")) {
			return CycloneDXXML, true
		}
	default:
		for line := range bytes.Lines(head) {
			line = bytes.TrimSpace(line)
			if len(line) == 0 || line[0] == '#' {
				continue
			}
			return SPDXTagValue, bytes.HasPrefix(line, []byte("SPDXVersion:"))
		}
	}
	return "", false
}

// ReadFile reads the SBOM at path.
func ReadFile(path string) (*sbom.Inventory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading SBOM %s: %w", path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading SBOM %s: %w", path, err)
	}
	return Read(path, b)
}

// Read reads an SBOM. name is used for locations and messages only. An error
// means that nothing is known about its components.
func Read(name string, content []byte) (*sbom.Inventory, error) {
	inv, err := read(name, content)
	if err != nil {
		return nil, fmt.Errorf("reading SBOM %s: %w", name, err)
	}
	return inv, nil
}

func read(name string, content []byte) (*sbom.Inventory, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("more than %d bytes: %w", MaxFile, ErrTooLarge)
	}
	if bytes.HasPrefix(content, []byte{0xff, 0xfe}) || bytes.HasPrefix(content, []byte{0xfe, 0xff}) {
		return nil, fmt.Errorf("encoded as UTF-16, which is %w; save it as UTF-8", ErrUnsupported)
	}
	body := bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(body) {
		return nil, errors.New("not valid UTF-8")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, fmt.Errorf("the file is empty: %w", ErrNoSBOM)
	}
	format, ok := Sniff(body)
	if !ok {
		return nil, fmt.Errorf("%w: expected CycloneDX (JSON, XML) or SPDX 2 (JSON, tag-value)", ErrNoSBOM)
	}
	r := &reader{name: name, seen: map[string][]int{}}
	r.inv.Source = sbom.Source{Scheme: "sbom", Name: name}
	var err error
	switch format {
	case CycloneDXJSON:
		err = r.cycloneDXJSON(body)
	case CycloneDXXML:
		err = r.cycloneDXXML(body)
	case SPDXJSON:
		err = r.spdxJSON(body)
	case SPDXTagValue:
		err = r.spdxTagValue(body)
	}
	if err != nil {
		return nil, fmt.Errorf("as %s: %w", format, err)
	}
	r.inv.Files = []sbom.File{{Path: name, Format: r.inv.Source.Format, Digest: trust.NewRaw("", "", content).Digest}}
	if len(r.inv.Components) == 0 {
		r.problem(sbom.ProblemSkipped, 0, "the SBOM lists no component with a package URL", "generate it from the built project, with its dependencies installed or locked")
	}
	r.inv.Sort()
	return &r.inv, nil
}

// reader collects the components of one document.
type reader struct {
	name string
	inv  sbom.Inventory
	seen map[string][]int // component key → indexes
}

func (r *reader) problem(code sbom.ProblemCode, line int, detail, remedy string) {
	r.inv.Problems = append(r.inv.Problems, sbom.Problem{Code: code, Detail: detail, Remedy: remedy, Location: trust.Location{Path: r.name, Line: line}})
}

func (r *reader) flag(c *sbom.Component, code sbom.ProblemCode, detail string) {
	c.Problems = append(c.Problems, sbom.Problem{Code: code, Detail: detail, Location: c.Locations[0]})
}

// stated is what a document says of one package, in either format.
type stated struct {
	purl, name, version string
	line                int
	notPackage          bool // of a type that is no package
	artifact            trust.Artifact
	more                []trust.Artifact
	badDigest           error
	scope               sbom.Scope
	relation            sbom.Relation
	licenses            []string
}

// add turns a stated package into a component, or into a problem.
func (r *reader) add(s stated) {
	where := trust.Location{Path: r.name, Line: s.line}
	label := s.name
	if s.version != "" {
		label += "@" + s.version
	}
	if s.purl == "" {
		if !s.notPackage {
			r.problem(sbom.ProblemNoPURL, s.line, fmt.Sprintf("component %q has no package URL", short(label)), "use a generator that states package URLs, or remove the component if it is no package")
		}
		return
	}
	rel, err := trust.ParseRelease(s.purl)
	if err != nil {
		r.problem(sbom.ProblemBadPURL, s.line, fmt.Sprintf("component %q: %v", short(label), err), "correct the package URL")
		return
	}
	c := sbom.Component{
		Release: rel, Kind: sbom.KindRegistry, Scope: s.scope, Relation: s.relation,
		Locations: []trust.Location{where}, Licenses: s.licenses,
	}
	if rel.Package.Type == "golang" && rel.Package.Namespace == "" && rel.Package.Name == "stdlib" {
		c.Kind = sbom.KindToolchain
	}
	r.version(&c, s)
	r.qualifiers(&c, &s)
	if s.artifact.URL != "" || len(s.artifact.Digests) > 0 {
		c.Artifacts = append(c.Artifacts, s.artifact)
	}
	c.Artifacts = append(c.Artifacts, s.more...)
	if rel.Package.Type == "golang" {
		for i := range c.Artifacts {
			goHashes(c.Artifacts[i].Digests)
		}
	}
	if s.badDigest != nil {
		r.flag(&c, sbom.ProblemNoDigest, "a digest cannot be read: "+s.badDigest.Error())
	}
	r.merge(c)
}

func (r *reader) version(c *sbom.Component, s stated) {
	p := c.Release.Package
	switch {
	case c.Release.Version == "" && s.version == "":
		r.flag(c, sbom.ProblemUnpinned, "neither the package URL nor the component has a version")
	case c.Release.Version == "":
		n, err := trust.NewRelease(p.Type, p.Namespace, p.Name, s.version)
		if err != nil {
			r.flag(c, sbom.ProblemUnpinned, "the package URL has no version, and the component's cannot be used: "+err.Error())
			return
		}
		c.Release.Version = n.Version
	case s.version != "":
		// Distributions write epochs and revisions in two ways; there the package URL counts.
		if slices.Contains([]string{"deb", "rpm", "apk", "alpm", "oci", "docker", "generic"}, p.Type) {
			return
		}
		n, err := trust.NewRelease(p.Type, p.Namespace, p.Name, s.version)
		if err != nil || strings.TrimPrefix(n.Version, "v") != strings.TrimPrefix(c.Release.Version, "v") {
			r.flag(c, sbom.ProblemMismatch, fmt.Sprintf("the package URL says version %q, the component %q", short(c.Release.Version), short(s.version)))
		}
	}
}

// qualifiers reads the parts of a package URL that are no part of the name: where the
// package comes from, and its checksum.
func (r *reader) qualifiers(c *sbom.Component, s *stated) {
	q := purlQualifiers(s.purl)
	if v := q["vcs_url"]; v != "" {
		origin, commit := strings.TrimPrefix(v, "git+"), ""
		if at := strings.LastIndexByte(v, '@'); at > strings.LastIndexByte(v, '/') {
			origin, commit = strings.TrimPrefix(v[:at], "git+"), v[at+1:]
		}
		c.Kind, c.Origin, c.Commit = sbom.KindGit, origin, commit
		if d, err := trust.NewDigest(trust.GitCommit, commit); err == nil {
			c.Commit, c.Pinned = d.Value, true
		}
	}
	if v := q["download_url"]; v != "" && s.artifact.URL == "" {
		s.artifact.URL = v
	}
	sum := q["checksum"]
	if sum == "" {
		sum = q["checksums"]
	}
	for one := range strings.SplitSeq(sum, ",") {
		if one == "" {
			continue
		}
		d, err := trust.ParseDigest(one)
		if err != nil {
			s.badDigest = err
			continue
		}
		if old := s.artifact.Digests.Get(d.Algorithm); !old.IsZero() {
			if !old.Equal(d) {
				r.flag(c, sbom.ProblemMismatch, "the checksum in the package URL differs from the component's")
			}
			continue
		}
		s.artifact.Digests = append(s.artifact.Digests, d)
	}
}

// goHashes marks SHA-256 values of Go modules as what they are.
func goHashes(ds trust.Digests) {
	for i := range ds {
		if ds[i].Algorithm == trust.SHA256 {
			ds[i].Algorithm = trust.DirHash1
		}
	}
}

// merge adds c, or joins it with an equal one. Entries of one release that
// state different bytes stay apart, and both are marked.
func (r *reader) merge(c sbom.Component) {
	key := c.Key()
	for _, n := range r.seen[key] {
		old := &r.inv.Components[n]
		if !slices.EqualFunc(old.Artifacts, c.Artifacts, func(a, b trust.Artifact) bool {
			return a.Name == b.Name && a.URL == b.URL && slices.Equal(a.Digests, b.Digests)
		}) {
			continue
		}
		if len(old.Locations) < maxLocations {
			old.Locations = append(old.Locations, c.Locations...)
		}
		old.Scope = sbom.Wider(old.Scope, c.Scope)
		if c.Relation == sbom.RelationDirect {
			old.Relation = c.Relation
		}
		return
	}
	if n := r.seen[key]; len(n) > 0 {
		const detail = "the SBOM has this release more than once, with different digests or URLs"
		r.flag(&c, sbom.ProblemDuplicate, detail)
		if len(n) == 1 {
			r.flag(&r.inv.Components[n[0]], sbom.ProblemDuplicate, detail)
		}
	}
	r.seen[key] = append(r.seen[key], len(r.inv.Components))
	r.inv.Components = append(r.inv.Components, c)
}

// maxLocations bounds the places that are kept of one component.
const maxLocations = 64

func short(s string) string {
	const max = 120
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}
