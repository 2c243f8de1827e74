package lockfile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parsePnpmLock reads pnpm-lock.yaml 5, 6, 7 and 9.
func parsePnpmLock(f *file) error {
	docs, err := parseYAML(f.content)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return fmt.Errorf("the file is empty")
	}
	// pnpm 11 puts the lock of its own configuration dependencies in a document before the project's.
	for _, doc := range docs {
		l := &pnpmLock{file: f, doc: doc}
		if err := l.read(); err != nil {
			return err
		}
	}
	return nil
}

type pnpmLock struct {
	*file
	doc   *node
	major string
	g     graph
}

func (l *pnpmLock) read() error {
	if !l.doc.isObject() {
		return fmt.Errorf("the document is no mapping")
	}
	l.res.Version = l.doc.get("lockfileVersion").scalar()
	l.major, _, _ = strings.Cut(l.res.Version, ".")
	switch l.major {
	case "5", "6", "7", "9":
	case "":
		return fmt.Errorf("no lockfileVersion: %w", ErrUnsupported)
	default:
		return fmt.Errorf("lockfileVersion %s: %w", short(l.res.Version), ErrUnsupported)
	}
	pkgs := l.doc.get("packages")
	snapshots := l.doc.get("snapshots")
	if pkgs != nil && pkgs.kind != nodeNull && !pkgs.isObject() {
		return fmt.Errorf("packages is no mapping")
	}
	if snapshots == nil || !snapshots.isObject() {
		snapshots = pkgs
	}
	aliases := map[string]string{}
	wanted := false
	l.g.edges = map[string][]edge{}
	importer := func(dir string, imp *node) error {
		l.res.Members = append(l.res.Members, path.Clean(dir))
		for _, field := range []string{"dependencies", "optionalDependencies", "devDependencies", "configDependencies", "packageManagerDependencies"} {
			err := imp.get(field).each(func(name string, d *node) error {
				ref := d.str()
				if d.isObject() {
					ref = d.get("version").scalar()
				} else if ref == "" {
					ref = d.scalar()
				}
				if target, ok := strings.CutPrefix(ref, "link:"); ok {
					return l.link(dir, name, target, field, d.at())
				}
				wanted = true
				key, ok := l.resolve(snapshots, name, ref)
				if !ok {
					l.problem(sbom.ProblemMismatch, d.at(), fmt.Sprintf("%s %s is asked for and is not among the packages of the file", short(name), short(ref)), "write the lock file anew")
					return nil
				}
				if n, _, _ := l.split(key); n != name && n != "" {
					aliases[l.bare(key)] = name
				}
				switch field {
				case "dependencies":
					l.g.runtime = append(l.g.runtime, key)
				case "optionalDependencies":
					l.g.optional = append(l.g.optional, key)
				default:
					l.g.dev = append(l.g.dev, key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	importers := l.doc.get("importers")
	if importers.isObject() {
		if err := importers.each(importer); err != nil {
			return err
		}
	} else if err := importer(".", l.doc); err != nil {
		return err
	}
	if wanted && (!pkgs.isObject() || len(pkgs.keys) == 0) {
		return fmt.Errorf("no packages, although the importers ask for some")
	}
	if !wanted && !pkgs.isObject() && importers == nil && len(l.res.Components) == 0 {
		return fmt.Errorf("neither importers nor packages")
	}
	_ = snapshots.each(func(key string, e *node) error {
		for _, field := range []string{"dependencies", "optionalDependencies"} {
			_ = e.get(field).each(func(name string, d *node) error {
				if to, ok := l.resolve(snapshots, name, d.scalar()); ok {
					l.g.edges[key] = append(l.g.edges[key], edge{to, field == "optionalDependencies"})
					if n, _, _ := l.split(to); n != name && n != "" && aliases[l.bare(to)] == "" {
						aliases[l.bare(to)] = name
					}
				}
				return nil
			})
		}
		return nil
	})
	scopes, direct := map[string]sbom.Scope{}, map[string]bool{}
	for k, s := range l.g.scopes() {
		b := l.bare(k)
		if old, ok := scopes[b]; ok {
			s = widerScope(old, s)
		}
		scopes[b] = s
	}
	for k := range l.g.direct() {
		direct[l.bare(k)] = true
	}
	// A snapshot without its package would be installed without any digest.
	if snapshots != pkgs {
		if err := snapshots.each(func(key string, e *node) error {
			if pkgs.get(l.bare(key)) == nil {
				l.problem(sbom.ProblemMismatch, e.at(), fmt.Sprintf("the snapshot %s has no entry among the packages", short(key)), "write the lock file anew")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return pkgs.each(func(key string, e *node) error {
		var c sbom.Component
		place(&c, l.bare(key), scopes, direct)
		return l.entry(key, e, c, aliases[l.bare(key)])
	})
}

// bare is a package key without the suffix of its peers: packages are keyed by
// it from version 9 on, and it is what several snapshots have in common.
func (l *pnpmLock) bare(key string) string {
	if l.major == "9" || l.major == "7" {
		return cutPeers(key)
	}
	return key
}

// cutPeers removes "(react@18.0.0)(…)" from a key or version.
func cutPeers(s string) string {
	if i := strings.IndexByte(s, '('); i > 0 {
		return s[:i]
	}
	return s
}

// resolve finds the key of what a dependency's reference means.
func (l *pnpmLock) resolve(pkgs *node, name, ref string) (string, bool) {
	for _, key := range []string{name + "@" + ref, "/" + name + "@" + ref, "/" + name + "/" + ref, ref, "/" + ref} {
		if pkgs.get(key) != nil {
			return key, true
		}
	}
	return "", false
}

// split takes name and version from a key. ok is false for keys that have none
// (git hosts, tarballs and files of versions 5 and 6).
func (l *pnpmLock) split(key string) (name, version string, ok bool) {
	k := cutPeers(key)
	slash := strings.HasPrefix(k, "/")
	k = strings.TrimPrefix(k, "/")
	if l.major == "5" {
		parts := strings.Split(k, "/")
		if !slash && len(parts) > 0 {
			if strings.HasPrefix(k, "file:") || !strings.Contains(parts[0], ".") || len(parts) < 3 {
				return "", "", false
			}
			parts = parts[1:] // the host of a registry
		}
		switch {
		case strings.HasPrefix(parts[0], "@") && len(parts) >= 3:
			name, version = parts[0]+"/"+parts[1], parts[2]
		case !strings.HasPrefix(parts[0], "@") && len(parts) >= 2:
			name, version = parts[0], parts[1]
		default:
			return "", "", false
		}
		version, _, _ = strings.Cut(version, "_")
		return name, version, version != "" && version[0] >= '0' && version[0] <= '9'
	}
	if strings.HasPrefix(k, "file:") || k == "" {
		return "", "", false
	}
	i := strings.IndexByte(k[1:], '@') + 1
	if i == 0 {
		return "", "", false
	}
	name, version = k[:i], k[i+1:]
	if !slash && (l.major == "6") {
		// "registry.example.com/name@1.0.0" of version 6
		if host, rest, found := strings.Cut(name, "/"); found && !strings.HasPrefix(name, "@") && strings.Contains(host, ".") {
			name = rest
		}
	}
	return name, version, true
}

func (l *pnpmLock) link(dir, name, target, field string, line int) error {
	at := path.Join(dir, target)
	c := sbom.Component{Kind: sbom.KindPath, Origin: at, Relation: sbom.RelationDirect, Scope: sbom.ScopeRuntime}
	switch field {
	case "devDependencies":
		c.Scope = sbom.ScopeDevelopment
	case "optionalDependencies":
		c.Scope = sbom.ScopeOptional
	}
	if l.doc.get("importers").get(at) != nil {
		c.Kind = sbom.KindWorkspace
	}
	real, version := name, ""
	if b, ok := l.sibling(path.Join(at, "package.json")); ok && !strings.HasPrefix(at, "..") {
		if m, err := parseJSON(b, false); err == nil {
			version = m.get("version").str()
			if n := m.get("name").str(); n != "" && n != name {
				real, c.Alias = n, name
			}
		}
	}
	return l.add(npmID(real, version), line, c)
}

func (l *pnpmLock) entry(key string, e *node, c sbom.Component, alias string) error {
	line := e.at()
	if !e.isObject() {
		return fmt.Errorf("line %d: the entry %q is no mapping", line, short(key))
	}
	name, version, ok := l.split(key)
	if e.get("dev").yes() {
		c.Scope = sbom.ScopeDevelopment
	} else if e.get("optional").yes() && c.Scope != sbom.ScopeRuntime {
		c.Scope = sbom.ScopeOptional
	}
	c.InstallCode = e.get("requiresBuild").yes()
	r := e.get("resolution")
	spec := ""
	if !ok || strings.Contains(version, ":") || strings.Contains(version, "/") {
		spec = version
		if n := e.get("name").str(); n != "" {
			name = n
		}
		version = e.get("version").scalar()
	} else if n, v := e.get("name").str(), e.get("version").scalar(); n != "" && n != name || v != "" && v != version {
		l.flag(&c, sbom.ProblemMismatch, line, fmt.Sprintf("the key is %s@%s, the entry says %s@%s", short(name), short(version), short(n), short(v)))
	}
	if name == "" {
		l.problem(sbom.ProblemBadPURL, line, fmt.Sprintf("the entry %s does not say which package it is", short(key)), "write the lock file anew with a current pnpm")
		return nil
	}
	if alias != "" && alias != name {
		c.Alias = alias
		l.aliased(&c, line, name)
	}
	integrity, tarball := r.get("integrity").str(), r.get("tarball").str()
	switch {
	case r.get("type").str() == "git" || r.get("repo") != nil:
		l.gitCommit(&c, line, r.get("repo").str(), r.get("commit").scalar())
	case r.get("type").str() == "directory" || r.get("directory") != nil:
		c.Kind, c.Origin = sbom.KindPath, strings.Clone(r.get("directory").str())
	case r.get("variations") != nil || r.get("type").str() == "variations":
		return l.variations(name, version, e, c)
	default:
		if tarball == "" && isURLSpec(spec) {
			tarball = spec
		}
		if !strings.Contains(tarball, ":") && strings.HasPrefix(spec, "file:") {
			tarball = spec
		}
		if !isURLSpec(spec) {
			spec = ""
		}
		l.source(&c, npmEntry{name: name, version: version, resolved: tarball, integrity: integrity, spec: spec, line: line})
	}
	if version == "" && c.Kind == sbom.KindRegistry {
		l.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
	}
	return l.add(npmID(name, version), line, c)
}

// variations are the archives of a runtime (node, deno, bun) for several
// platforms, which pnpm downloads from wherever the entry says. No registry has
// them, so each is what it is: a file at a URL.
func (l *pnpmLock) variations(name, version string, e *node, c sbom.Component) error {
	version = strings.TrimPrefix(version, "runtime:")
	variants := e.get("resolution").get("variants").list()
	if len(variants) == 0 {
		variants = e.get("resolution").get("variations").list()
	}
	if len(variants) == 0 {
		c.Kind = sbom.KindUnknown
		l.flag(&c, sbom.ProblemUnsupported, e.at(), "the entry has variations and names none")
		return l.add(npmID(name, version), e.at(), c)
	}
	for i := range variants {
		one, v := c, variants[i].get("resolution")
		one.Problems = slices.Clone(c.Problems)
		u := v.get("url").str()
		if u == "" {
			u = v.get("tarball").str()
		}
		one.Kind, one.Origin = sbom.KindURL, strings.Clone(u)
		one.Artifacts = []trust.Artifact{{URL: one.Origin, Digests: l.integrity(&one, e.at(), v.get("integrity").str())}}
		l.judgeDigests(&one, e.at())
		if err := l.add(npmID(name, version), e.at(), one); err != nil {
			return err
		}
	}
	return nil
}
