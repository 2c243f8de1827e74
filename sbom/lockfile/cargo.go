package lockfile

import (
	"fmt"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseCargoLock reads Cargo.lock, versions 1 to 4.
func parseCargoLock(f *file) error {
	doc, err := parseTOML(f.content)
	if err != nil {
		return err
	}
	pkgs := doc.get("package")
	if !pkgs.isList() || len(pkgs.items) == 0 {
		return fmt.Errorf("no packages")
	}
	f.res.Version = doc.get("version").scalar()
	switch f.res.Version {
	case "", "1", "2", "3", "4":
	default:
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	meta := doc.get("metadata")
	if f.res.Version == "" {
		f.res.Version = "2"
		if meta.isObject() {
			f.res.Version = "1"
		}
	}
	f.res.Members = []string{"."}
	items := pkgs.items
	if root := doc.get("root"); root.isObject() {
		items = append(items, *root)
	}
	key := func(p *node) string {
		return p.get("name").str() + " " + p.get("version").str() + " " + p.get("source").str()
	}
	byName := map[string][]string{}
	for i := range items {
		p := &items[i]
		n, v := p.get("name").str(), p.get("version").str()
		if n == "" || v == "" {
			return fmt.Errorf("line %d: a package without name or version", p.at())
		}
		byName[n] = append(byName[n], key(p))
	}
	dev := map[string]bool{}
	if b, ok := f.sibling("Cargo.toml"); ok {
		if m, err := parseTOML(b); err == nil {
			_ = m.get("dev-dependencies").each(func(k string, v *node) error {
				if p := v.get("package").str(); p != "" {
					k = p
				}
				dev[m.get("package").get("name").str()+" "+k] = true
				return nil
			})
			for _, t := range []string{"dependencies", "build-dependencies"} {
				_ = m.get(t).each(func(k string, v *node) error {
					if p := v.get("package").str(); p != "" {
						k = p
					}
					delete(dev, m.get("package").get("name").str()+" "+k)
					return nil
				})
			}
		}
	}
	g := graph{edges: map[string][]edge{}}
	for i := range items {
		p := &items[i]
		deps := p.get("dependencies")
		for j := range deps.list() {
			d := deps.items[j].str()
			parts := strings.SplitN(d, " ", 3)
			for _, k := range byName[parts[0]] {
				if len(parts) > 1 && !strings.HasPrefix(k, parts[0]+" "+parts[1]+" ") {
					continue
				}
				if len(parts) > 2 && !strings.HasSuffix(k, " "+strings.Trim(parts[2], "()")) {
					continue
				}
				switch {
				case p.get("source") != nil:
					g.edges[key(p)] = append(g.edges[key(p)], edge{to: k})
				case dev[p.get("name").str()+" "+parts[0]]:
					g.dev = append(g.dev, k)
				default:
					g.runtime = append(g.runtime, k)
				}
			}
		}
	}
	scopes, direct := g.scopes(), g.direct()
	for i := range items {
		p := &items[i]
		var c sbom.Component
		place(&c, key(p), scopes, direct)
		line, name, version, source := p.at(), p.get("name").str(), p.get("version").str(), p.get("source").str()
		sum := p.get("checksum").str()
		if sum == "" && meta.isObject() {
			sum = meta.get("checksum " + name + " " + version + " (" + source + ")").str()
			if sum == "<none>" {
				sum = ""
			}
		}
		ds := f.hexDigest(&c, line, sum)
		if len(ds) > 0 {
			c.Artifacts = []trust.Artifact{{Digests: ds}}
		}
		scheme, rest, _ := strings.Cut(source, "+")
		switch {
		case source == "":
			c.Kind, c.Relation, c.Scope = sbom.KindWorkspace, sbom.RelationDirect, sbom.ScopeRuntime
		case scheme == "registry" || scheme == "sparse":
			c.Kind, c.Registry = sbom.KindRegistry, rest
			if scheme == "sparse" {
				c.Registry = source
			}
			f.judgeDigests(&c, line)
		case scheme == "git":
			repo, commit, _ := strings.Cut(rest, "#")
			repo, _, _ = strings.Cut(repo, "?")
			f.gitCommit(&c, line, repo, commit)
		case scheme == "path" || scheme == "directory" || scheme == "local-registry":
			c.Kind, c.Origin = sbom.KindPath, rest
		default:
			c.Kind, c.Origin = sbom.KindUnknown, source
			f.flag(&c, sbom.ProblemUnsupported, line, "the source is of an unknown kind")
		}
		if err := f.add(id{"cargo", "", name, version}, line, c); err != nil {
			return err
		}
	}
	return nil
}
