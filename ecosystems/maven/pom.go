package maven

import (
	"encoding/xml"
	"regexp"
	"strings"

	"github.com/headgate/headgate/ecosystems/strictxml"
	"github.com/headgate/headgate/trust"
)

// Bounds of what a repository states about artifacts.
const (
	MaxPOM            = 4 << 20  // bytes of a POM
	MaxMetadata       = 32 << 20 // bytes of a maven-metadata.xml
	MaxVersions       = 100_000  // versions of one artifact
	MaxInterpolations = 8        // rounds of putting properties into a value
)

// pom is what headgate reads of a project object model.
type pom struct {
	group, artifact, version string
	packaging                string
	licenses                 []string
	repository               string // claimed, https URL
	relocation               string // where the artifact has moved, "group:artifact:version"
}

type gav struct {
	Group    []string `xml:"groupId"`
	Artifact []string `xml:"artifactId"`
	Version  []string `xml:"version"`
}

// parsePOM reads a POM (https://maven.apache.org/ref/current/maven-model/maven.html)
// by itself: group and version may come from its parent element, properties from
// its own list. Parents are never fetched.
func parsePOM(b []byte) (*pom, error) {
	var doc struct {
		XMLName xml.Name
		gav
		Packaging  []string `xml:"packaging"`
		Parent     []gav    `xml:"parent"`
		Properties []struct {
			Entries []struct {
				XMLName xml.Name
				Value   string `xml:",chardata"`
			} `xml:",any"`
		} `xml:"properties"`
		Licenses []string `xml:"licenses>license>name"`
		SCM      struct {
			URL        string `xml:"url"`
			Connection string `xml:"connection"`
		} `xml:"scm"`
		URL        string `xml:"url"`
		Relocation []gav  `xml:"distributionManagement>relocation"`
	}
	malformed := func(format string, args ...any) error {
		return trust.Undecidable(trust.ReasonMalformed, "the POM is malformed: "+format, args...)
	}
	if err := strictxml.Decode(b, &doc); err != nil {
		return nil, malformed("%w", err)
	}
	if doc.XMLName.Local != "project" {
		return nil, malformed("its root element is %.40q", doc.XMLName.Local)
	}
	if len(doc.Parent) > 1 || len(doc.Relocation) > 1 {
		return nil, malformed("it has several parents or relocations")
	}
	var failed error
	value := func(what string, vs []string) string {
		s, err := strictxml.Single(what, vs)
		if err != nil && failed == nil {
			failed = malformed("%w", err)
		}
		return s
	}
	p := &pom{artifact: value("artifactId", doc.Artifact), group: value("groupId", doc.Group), version: value("version", doc.Version), packaging: value("packaging", doc.Packaging)}
	props := map[string]string{}
	for _, list := range doc.Properties {
		for _, e := range list.Entries {
			props[e.XMLName.Local] = strings.TrimSpace(e.Value)
		}
	}
	if len(doc.Parent) == 1 {
		parent := doc.Parent[0]
		g, v := value("the parent's groupId", parent.Group), value("the parent's version", parent.Version)
		if p.group == "" {
			p.group = g
		}
		if p.version == "" {
			p.version = v
		}
		props["project.parent.groupId"], props["project.parent.version"] = g, v
	}
	if failed != nil {
		return nil, failed
	}
	p.group, p.version = fill(p.group, props), fill(p.version, props)
	props["project.groupId"], props["project.version"] = p.group, p.version
	p.artifact = fill(p.artifact, props)
	props["project.artifactId"] = p.artifact
	if p.group == "" || p.artifact == "" || p.version == "" {
		return nil, malformed("it lacks groupId, artifactId or version")
	}
	if p.packaging == "" {
		p.packaging = "jar"
	}
	for _, l := range doc.Licenses {
		if l = strings.TrimSpace(l); l != "" {
			p.licenses = append(p.licenses, l)
		}
	}
	for _, u := range []string{doc.SCM.URL, strings.TrimPrefix(doc.SCM.Connection, "scm:git:"), doc.URL} {
		if p.repository = repository(fill(strings.TrimSpace(u), props)); p.repository != "" {
			break
		}
	}
	if len(doc.Relocation) == 1 {
		to := doc.Relocation[0]
		parts := []string{value("", to.Group), value("", to.Artifact), value("", to.Version)}
		for i, own := range []string{p.group, p.artifact, p.version} {
			if parts[i] = fill(parts[i], props); parts[i] == "" {
				parts[i] = own
			}
		}
		p.relocation = strings.Join(parts, ":")
	}
	return p, nil
}

var property = regexp.MustCompile(`\$\{([^${}]+)\}`)

// fill puts properties into a value; what is unknown stays as it is.
func fill(s string, props map[string]string) string {
	for range MaxInterpolations {
		if len(s) > trust.MaxPURL || !strings.Contains(s, "${") {
			break
		}
		s = property.ReplaceAllStringFunc(s, func(m string) string {
			if v, ok := props[m[2:len(m)-1]]; ok {
				return v
			}
			return m
		})
	}
	return s
}

// forges are the hosts whose URLs have the form host/owner/repository.
var forges = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"}

// repository cuts a forge's URL, in the spellings that POMs use, to the
// repository's own.
func repository(s string) string {
	for _, prefix := range []string{"https://", "http://", "git://", "ssh://git@", "git+ssh://git@", "git@"} {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		rest = strings.TrimPrefix(rest, "www.")
		for _, f := range forges {
			path, ok := strings.CutPrefix(rest, f)
			if !ok || len(path) < 2 || path[0] != '/' && path[0] != ':' {
				continue
			}
			parts := strings.SplitN(path[1:], "/", 3)
			if len(parts) < 2 || parts[0] == "" || strings.TrimSuffix(parts[1], ".git") == "" || strings.Contains(s, "${") {
				return ""
			}
			name, _, _ := strings.Cut(parts[1], "#")
			return strings.ToLower("https://" + f + "/" + parts[0] + "/" + strings.TrimSuffix(name, ".git"))
		}
	}
	return ""
}

// names compares the POM's own coordinates with those asked for.
func (p *pom) names(r trust.Release) error {
	if strings.Contains(p.group+p.artifact+p.version, "${") {
		return trust.Undecidable(trust.ReasonMalformed, "the POM names itself %s:%s:%s, with properties that it does not define", p.group, p.artifact, p.version)
	}
	if p.group != r.Package.Namespace || p.artifact != r.Package.Name {
		return trust.Failure(trust.ReasonWrongName, "the POM is that of %.100s:%.100s", p.group, p.artifact)
	}
	if p.version != r.Version {
		return trust.Failure(trust.ReasonWrongVersion, "the POM is that of version %.100s", p.version)
	}
	return nil
}

// metadata is what headgate reads of maven-metadata.xml.
type metadata struct {
	versions []string
	release  string
}

// parseMetadata reads the list of an artifact's versions: unsigned hints.
func parseMetadata(b []byte) (*metadata, error) {
	var doc struct {
		XMLName  xml.Name
		Release  string   `xml:"versioning>release"`
		Latest   string   `xml:"versioning>latest"`
		Versions []string `xml:"versioning>versions>version"`
	}
	if err := strictxml.Decode(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the list of versions is malformed: %w", err)
	}
	if doc.XMLName.Local != "metadata" {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the list of versions is malformed: its root element is %.40q", doc.XMLName.Local)
	}
	if len(doc.Versions) > MaxVersions {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the list of versions has more than %d entries", MaxVersions)
	}
	m := &metadata{release: strings.TrimSpace(doc.Release)}
	if m.release == "" {
		m.release = strings.TrimSpace(doc.Latest)
	}
	for _, v := range doc.Versions {
		if v = strings.TrimSpace(v); v != "" {
			m.versions = append(m.versions, v)
		}
	}
	return m, nil
}
