package lockfile

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func (f *file) base64Digest(c *sbom.Component, line int, alg trust.Algorithm, s string) trust.Digests {
	if s == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		f.flag(c, sbom.ProblemNoDigest, line, "the digest is not base64")
		return nil
	}
	d, err := trust.NewDigest(alg, fmt.Sprintf("%x", b))
	if err != nil {
		f.flag(c, sbom.ProblemNoDigest, line, "the digest cannot be read: "+err.Error())
		return nil
	}
	return trust.Digests{d}
}

// parseNuGetLock reads packages.lock.json, versions 1 and 2. contentHash is over
// the package without its signature.
func parseNuGetLock(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	if f.res.Version = doc.get("version").scalar(); f.res.Version != "1" && f.res.Version != "2" {
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	frameworks := doc.get("dependencies")
	if !frameworks.isObject() || len(frameworks.keys) == 0 {
		return fmt.Errorf("no dependencies of any framework")
	}
	f.res.Members = []string{"."}
	return frameworks.each(func(_ string, deps *node) error {
		if !deps.isObject() {
			return fmt.Errorf("line %d: the framework is no object", deps.at())
		}
		return deps.each(func(name string, e *node) error {
			line := e.at()
			c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationTransitive}
			version := e.get("resolved").str()
			switch t := e.get("type").str(); t {
			case "Direct":
				c.Relation = sbom.RelationDirect
			case "Transitive", "CentralTransitive":
			case "Project":
				return f.add(id{"nuget", "", name, version}, line, sbom.Component{Kind: sbom.KindWorkspace, Scope: sbom.ScopeRuntime})
			default:
				c.Kind = sbom.KindUnknown
				f.flag(&c, sbom.ProblemUnsupported, line, "the dependency type "+short(t)+" is unknown")
			}
			if version == "" {
				f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no resolved version")
			}
			if ds := f.base64Digest(&c, line, trust.NuGetContent, e.get("contentHash").str()); len(ds) > 0 {
				c.Artifacts = []trust.Artifact{{Digests: ds}}
			}
			f.judgeDigests(&c, line)
			return f.add(id{"nuget", "", name, version}, line, c)
		})
	})
}

// parseNuGetAssets reads project.assets.json of a restored project. Its sha512 is
// of the package file.
func parseNuGetAssets(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	if f.res.Version = doc.get("version").scalar(); f.res.Version != "2" && f.res.Version != "3" && f.res.Version != "4" {
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	libs := doc.get("libraries")
	if !libs.isObject() {
		return fmt.Errorf("no libraries")
	}
	f.res.Members = []string{".."}
	direct := map[string]bool{}
	_ = doc.get("project").get("frameworks").each(func(_ string, fw *node) error {
		for _, n := range fw.get("dependencies").names() {
			direct[strings.ToLower(n)] = true
		}
		return nil
	})
	return libs.each(func(key string, e *node) error {
		line := e.at()
		name, version, ok := strings.Cut(key, "/")
		if !ok {
			return fmt.Errorf("line %d: the library %q has no version", line, short(key))
		}
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationTransitive}
		if direct[strings.ToLower(name)] {
			c.Relation = sbom.RelationDirect
		}
		if e.get("type").str() == "project" {
			c.Kind, c.Origin = sbom.KindWorkspace, e.get("path").str()
			return f.add(id{"nuget", "", name, version}, line, c)
		}
		if ds := f.base64Digest(&c, line, trust.SHA512, e.get("sha512").str()); len(ds) > 0 {
			c.Artifacts = []trust.Artifact{{Digests: ds}}
		}
		f.judgeDigests(&c, line)
		return f.add(id{"nuget", "", name, version}, line, c)
	})
}

// parseNuGetConfig reads packages.config, which has exact versions and no digests.
func parseNuGetConfig(f *file) error {
	root, err := parseXML(f.content)
	if err != nil {
		return err
	}
	if root.name != "packages" {
		return fmt.Errorf("the root element is %q, expected packages", short(root.name))
	}
	for _, p := range root.all("package") {
		c := sbom.Component{Scope: sbom.ScopeRuntime}
		if p.attrs["developmentDependency"] == "true" {
			c.Scope = sbom.ScopeDevelopment
		}
		if p.attrs["version"] == "" {
			f.flag(&c, sbom.ProblemUnpinned, p.line, "the entry has no version")
		}
		if p.attrs["id"] == "" {
			return fmt.Errorf("line %d: a package without id", p.line)
		}
		if err := f.add(id{"nuget", "", p.attrs["id"], p.attrs["version"]}, p.line, c); err != nil {
			return err
		}
	}
	return nil
}
