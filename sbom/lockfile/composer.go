package lockfile

import (
	"fmt"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseComposerLock reads composer.lock. Archives rarely have a checksum: then
// the commit is all that is pinned.
func parseComposerLock(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	pkgs, dev := doc.get("packages"), doc.get("packages-dev")
	if !pkgs.isList() {
		return fmt.Errorf("no list packages")
	}
	f.res.Version = doc.get("plugin-api-version").str()
	f.res.Members = []string{"."}
	var asked map[string]bool
	if b, ok := f.sibling("composer.json"); ok {
		if m, err := parseJSON(b, false); err == nil {
			asked = map[string]bool{}
			for _, k := range []string{"require", "require-dev"} {
				for _, n := range m.get(k).names() {
					asked[strings.ToLower(n)] = true
				}
			}
		}
	}
	if len(pkgs.items)+len(dev.list()) == 0 {
		b, ok := f.sibling("composer.json")
		if n, err := declared(ComposerJSON, b); !ok || err != nil || n > 0 {
			return fmt.Errorf("the lists of packages are empty")
		}
	}
	for i := range pkgs.items {
		if err := f.composerPackage(&pkgs.items[i], sbom.ScopeRuntime, asked); err != nil {
			return err
		}
	}
	for i := range dev.list() {
		if err := f.composerPackage(&dev.items[i], sbom.ScopeDevelopment, asked); err != nil {
			return err
		}
	}
	return nil
}

// names returns the keys of an object.
func (n *node) names() []string {
	if !n.isObject() {
		return nil
	}
	return n.keys
}

func (f *file) composerPackage(p *node, scope sbom.Scope, asked map[string]bool) error {
	name, version := p.get("name").str(), p.get("version").scalar()
	line := p.get("name").at()
	ns, base, ok := strings.Cut(name, "/")
	if !ok || version == "" {
		return fmt.Errorf("line %d: a package without name or version", p.at())
	}
	c := sbom.Component{Scope: scope}
	if asked != nil {
		c.Relation = sbom.RelationTransitive
		if asked[strings.ToLower(name)] {
			c.Relation = sbom.RelationDirect
		}
	}
	src, dist := p.get("source"), p.get("dist")
	ref := src.get("reference").str()
	var ds trust.Digests
	if s := dist.get("shasum").str(); s != "" {
		ds = append(ds, f.hexDigest(&c, line, "sha1:"+s)...)
	}
	commit := ref
	if commit == "" {
		commit = dist.get("reference").str()
	}
	if isCommit(commit) {
		c.Commit, c.Pinned = strings.ToLower(commit), true
		if d, err := trust.NewDigest(trust.GitCommit, commit); err == nil {
			ds = append(ds, d)
		}
	}
	if d := dist.get("reference").str(); d != "" && ref != "" && d != ref {
		f.flag(&c, sbom.ProblemMismatch, line, "source and archive are of different commits")
	}
	if u := dist.get("url").str(); u != "" || len(ds) > 0 {
		c.Artifacts = []trust.Artifact{{URL: u, Digests: ds}}
	}
	switch {
	case dist.get("type").str() == "path":
		c.Kind, c.Origin = sbom.KindPath, dist.get("url").str()
	case p.get("notification-url") == nil && src.get("type").str() == "git":
		f.gitCommit(&c, line, src.get("url").str(), ref)
	default:
		c.Kind = sbom.KindRegistry
		c.Registry = strings.TrimSuffix(p.get("notification-url").str(), "downloads/")
		if ds.Strongest().IsZero() {
			f.flag(&c, sbom.ProblemNoDigest, line, "the lock file states no strong checksum of the archive, only its commit")
		}
	}
	if strings.HasPrefix(version, "dev-") || strings.HasSuffix(version, "-dev") {
		f.flag(&c, sbom.ProblemUnpinned, line, "the version is a branch")
	}
	c.InstallCode = p.get("type").str() == "composer-plugin"
	return f.add(id{"composer", ns, base, version}, line, c)
}
