package lockfile

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseGradleLock reads gradle.lockfile and the older files of
// gradle/dependency-locks. Digests come from verification-metadata.xml.
func parseGradleLock(f *file) error {
	verified := map[string][]trust.Artifact{}
	for _, name := range []string{"gradle/verification-metadata.xml", "../gradle/verification-metadata.xml", "../verification-metadata.xml"} {
		b, ok := f.sibling(name)
		if !ok {
			continue
		}
		v := &file{path: name, content: b, res: Result{}, seen: map[string]int{}}
		if err := parseGradleVerification(v); err == nil {
			for _, c := range v.res.Components {
				k := c.Release.PURL()
				verified[k] = append(verified[k], c.Artifacts...)
			}
		}
		break
	}
	f.res.Members = []string{"."}
	complete := false
	num := 0
	for line := range strings.Lines(string(f.content)) {
		num++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			complete = complete || strings.HasPrefix(line, "#")
			continue
		}
		gav, confs, hasConfs := strings.Cut(line, "=")
		if gav == "empty" && hasConfs {
			complete = true
			continue
		}
		parts := strings.Split(gav, ":")
		if len(parts) != 3 || slices.Contains(parts, "") {
			return fmt.Errorf("line %d: expected group:artifact:version", num)
		}
		c := sbom.Component{}
		if hasConfs {
			c.Scope = sbom.ScopeDevelopment
			for conf := range strings.SplitSeq(confs, ",") {
				if l := strings.ToLower(conf); !strings.Contains(l, "test") && !strings.Contains(l, "annotationprocessor") && !strings.HasPrefix(l, "checkstyle") && !strings.HasPrefix(l, "jacoco") {
					c.Scope = sbom.ScopeRuntime
				}
			}
		}
		if r, err := trust.NewRelease("maven", parts[0], parts[1], parts[2]); err == nil {
			c.Artifacts = verified[r.PURL()]
		}
		complete = true
		if err := f.add(id{"maven", parts[0], parts[1], parts[2]}, num, c); err != nil {
			return err
		}
	}
	if !complete {
		return fmt.Errorf("the file is empty")
	}
	return nil
}

// parseGradleVerification reads Gradle's verification-metadata.xml: checksums of
// files, and keys that the project expects, which are expectations here.
func parseGradleVerification(f *file) error {
	root, err := parseXML(f.content)
	if err != nil {
		return err
	}
	if root.name != "verification-metadata" {
		return fmt.Errorf("the root element is %q, expected verification-metadata", short(root.name))
	}
	conf := root.child("configuration")
	type key struct{ id, group, name, version, regex string }
	var keys []key
	for _, k := range conf.child("trusted-keys").all("trusted-key") {
		add := func(e *element) {
			keys = append(keys, key{k.attrs["id"], e.attrs["group"], e.attrs["name"], e.attrs["version"], e.attrs["regex"]})
		}
		if len(k.all("trusting")) > 0 {
			for _, t := range k.all("trusting") {
				add(t)
			}
		} else {
			add(k)
		}
	}
	if t := conf.child("trusted-artifacts"); t != nil && len(t.children) > 0 {
		f.problem(sbom.ProblemUnsupported, t.line, fmt.Sprintf("Gradle is told to verify nothing of %d patterns of artifacts", len(t.children)), "remove trusted-artifacts; headgate does not obey it")
	}
	for _, comp := range root.child("components").all("component") {
		g, n, v := comp.attrs["group"], comp.attrs["name"], comp.attrs["version"]
		if g == "" || n == "" || v == "" {
			return fmt.Errorf("line %d: a component without group, name or version", comp.line)
		}
		var c sbom.Component
		for _, a := range comp.all("artifact") {
			var ds trust.Digests
			for _, h := range a.children {
				switch h.name {
				case "md5", "sha1", "sha256", "sha512":
					ds = append(ds, f.hexDigest(&c, h.line, h.name+":"+h.attrs["value"])...)
					for _, also := range h.all("also-trust") {
						ds = append(ds, f.hexDigest(&c, also.line, h.name+":"+also.attrs["value"])...)
					}
				case "pgp":
					c.Expect = append(c.Expect, map[string]string{"kind": "openpgp", "fingerprint": strings.ToUpper(h.attrs["value"]), "artifact": a.attrs["name"]})
				}
			}
			c.Artifacts = append(c.Artifacts, trust.Artifact{Name: a.attrs["name"], Digests: ds})
		}
		for _, k := range keys {
			if k.regex == "true" || k.group != "" && k.group != g || k.name != "" && k.name != n || k.version != "" && k.version != v || k.group == "" {
				continue // patterns and keys for everything say nothing about one component
			}
			c.Expect = append(c.Expect, map[string]string{"kind": "openpgp", "fingerprint": strings.ToUpper(k.id)})
		}
		if err := f.add(id{"maven", g, n, v}, comp.line, c); err != nil {
			return err
		}
	}
	return nil
}

var mavenProperty = regexp.MustCompile(`\$\{([^${}]+)\}`)

// MaxInterpolations bounds how often properties of a pom.xml are put in, so that
// properties that name themselves end.
const MaxInterpolations = 16

// parsePOM reads the dependencies that a pom.xml pins itself. Parents and
// imported bills of material are never fetched: what only they know is unpinned.
func parsePOM(f *file) error {
	root, err := parseXML(f.content)
	if err != nil {
		return err
	}
	if root.name != "project" {
		return fmt.Errorf("the root element is %q, expected project", short(root.name))
	}
	p := &pom{file: f, props: map[string]string{}, managed: map[string]*element{}}
	parent := root.child("parent")
	group, version := root.value("groupId"), root.value("version")
	if group == "" {
		group = parent.value("groupId")
	}
	if version == "" {
		version = parent.value("version")
	}
	for _, prefix := range []string{"project.", "pom.", ""} {
		p.props[prefix+"groupId"], p.props[prefix+"version"], p.props[prefix+"artifactId"] = group, version, root.value("artifactId")
		p.props[prefix+"parent.groupId"], p.props[prefix+"parent.version"], p.props[prefix+"parent.artifactId"] = parent.value("groupId"), parent.value("version"), parent.value("artifactId")
	}
	if props := root.child("properties"); props != nil {
		for _, e := range props.children {
			p.props[e.name] = e.text
		}
	}
	f.res.Version = root.value("modelVersion")
	f.res.Members = []string{"."}
	manage := func(e *element) {
		for _, d := range e.child("dependencyManagement").child("dependencies").all("dependency") {
			p.managed[p.fill(d.value("groupId"))+":"+p.fill(d.value("artifactId"))] = d
		}
	}
	manage(root)
	for _, profile := range root.child("profiles").all("profile") {
		manage(profile)
	}
	if a := root.value("artifactId"); a != "" {
		if err := f.add(id{"maven", p.fill(group), p.fill(a), p.fill(version)}, root.child("artifactId").line, sbom.Component{Kind: sbom.KindWorkspace, Origin: ".", Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect}); err != nil {
			return err
		}
	}
	if parent != nil {
		c := sbom.Component{Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect}
		if rel := parent.child("relativePath"); rel == nil || rel.text != "" {
			at := "../pom.xml"
			if rel != nil {
				at = rel.text
			}
			if !strings.HasSuffix(at, ".xml") {
				at = path.Join(at, "pom.xml")
			}
			if b, ok := f.sibling(at); ok {
				if up, err := parseXML(b); err == nil && up.value("artifactId") == parent.value("artifactId") {
					c.Kind, c.Origin = sbom.KindWorkspace, at
				}
			}
		}
		if err := p.put(parent, "pom", c); err != nil {
			return err
		}
	}
	scopes := []*element{root}
	scopes = append(scopes, root.child("profiles").all("profile")...)
	for _, s := range scopes {
		for _, d := range s.child("dependencies").all("dependency") {
			if err := p.dependency(d, sbom.ScopeUnknown); err != nil {
				return err
			}
		}
		// Plug-ins run at build time, with their own dependencies.
		build := s.child("build")
		plugins := append(build.child("plugins").all("plugin"), build.child("pluginManagement").child("plugins").all("plugin")...)
		for _, pl := range append(plugins, s.child("reporting").child("plugins").all("plugin")...) {
			if pl.value("version") != "" {
				if err := p.put(pl, "maven-plugin", sbom.Component{Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect}); err != nil {
					return err
				}
			}
			for _, d := range pl.child("dependencies").all("dependency") {
				if err := p.dependency(d, sbom.ScopeDevelopment); err != nil {
					return err
				}
			}
		}
		for _, x := range build.child("extensions").all("extension") {
			if err := p.put(x, "", sbom.Component{Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect}); err != nil {
				return err
			}
		}
		for _, d := range s.child("dependencyManagement").child("dependencies").all("dependency") {
			if d.value("scope") == "import" { // a bill of material: its file is read by Maven
				if err := p.put(d, "pom", sbom.Component{Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type pom struct {
	*file
	props   map[string]string
	managed map[string]*element
}

// fill puts properties in, at most MaxInterpolations times; what is unknown stays.
func (p *pom) fill(s string) string {
	for range MaxInterpolations {
		if !strings.Contains(s, "${") || len(s) > trust.MaxPURL {
			return s
		}
		next := mavenProperty.ReplaceAllStringFunc(s, func(m string) string {
			if v, ok := p.props[m[2:len(m)-1]]; ok {
				return v
			}
			return m
		})
		if next == s {
			return s
		}
		s = next
	}
	return s
}

func (p *pom) dependency(d *element, scope sbom.Scope) error {
	c := sbom.Component{Scope: scope, Relation: sbom.RelationDirect}
	managed := p.managed[p.fill(d.value("groupId"))+":"+p.fill(d.value("artifactId"))]
	s := d.value("scope")
	if s == "" {
		s = managed.value("scope")
	}
	if scope == sbom.ScopeUnknown {
		switch {
		case s == "test":
			c.Scope = sbom.ScopeDevelopment
		case d.value("optional") == "true":
			c.Scope = sbom.ScopeOptional
		default:
			c.Scope = sbom.ScopeRuntime
		}
	}
	if s == "system" {
		c.Kind, c.Origin = sbom.KindPath, p.fill(d.value("systemPath"))
	}
	return p.put(d, d.value("type"), c)
}

// put records a coordinate; its version may come from dependencyManagement.
func (p *pom) put(d *element, typ string, c sbom.Component) error {
	group, artifact, version := p.fill(d.value("groupId")), p.fill(d.value("artifactId")), p.fill(d.value("version"))
	if group == "" && typ == "maven-plugin" {
		group = "org.apache.maven.plugins"
	}
	if version == "" {
		version = p.fill(p.managed[group+":"+artifact].value("version"))
	}
	if artifact == "" || group == "" {
		return fmt.Errorf("line %d: a dependency without groupId or artifactId", d.line)
	}
	switch {
	case strings.Contains(group+artifact, "${"):
		p.flag(&c, sbom.ProblemUnpinned, d.line, "the name has a property that this file does not define")
	case version == "":
		p.flag(&c, sbom.ProblemUnpinned, d.line, "this file does not state the version; a parent or an imported bill of material does")
	case strings.Contains(version, "${"):
		p.flag(&c, sbom.ProblemUnpinned, d.line, "the version has a property that this file does not define")
		version = ""
	case strings.ContainsAny(version, "[(,"), version == "LATEST", version == "RELEASE", strings.HasSuffix(version, "-SNAPSHOT") && c.Kind != sbom.KindWorkspace:
		p.flag(&c, sbom.ProblemUnpinned, d.line, "the version is a range or changes: "+short(version))
		if strings.ContainsAny(version, "[(,") {
			version = ""
		}
	}
	r, err := trust.NewRelease("maven", group, artifact, version)
	if err == nil {
		if cl := p.fill(d.value("classifier")); cl != "" {
			r = r.WithVariant("classifier", cl)
		}
		if t := p.fill(typ); t != "" && t != "jar" && t != "pom" && t != "maven-plugin" {
			r = r.WithVariant("type", t)
		}
		c.Release = r
	}
	return p.add(id{"maven", group, artifact, version}, d.line, c)
}
