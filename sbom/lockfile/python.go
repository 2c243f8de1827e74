package lockfile

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func pyID(name, version string) id { return id{"pypi", "", name, version} }

var pyRun = regexp.MustCompile(`[-_.]+`)

// pyName is the normal form of a project name (PEP 503).
func pyName(name string) string { return strings.ToLower(pyRun.ReplaceAllString(name, "-")) }

// pyFile adds a file of a release and checks that its name is of that project.
func (f *file) pyFile(c *sbom.Component, line int, project, name, link string, ds trust.Digests) {
	if name == "" && link != "" {
		p := link
		if u, err := url.Parse(link); err == nil && u.Path != "" {
			p = u.Path
		}
		name = path.Base(p)
	}
	if name != "" && c.Kind != sbom.KindURL && !strings.HasPrefix(pyName(name), pyName(project)+"-") {
		f.flag(c, sbom.ProblemMismatch, line, fmt.Sprintf("the file %s is not of the project %s", short(name), short(project)))
	}
	c.Artifacts = append(c.Artifacts, trust.Artifact{Name: name, URL: link, Digests: ds})
}

// tomlPackages parses a TOML lock file and returns its packages. A file without
// the list is no empty lock. An empty list is only believed where the manifest
// beside it asks for nothing.
func tomlPackages(f *file, key string) (doc, pkgs *node, err error) {
	doc, err = parseTOML(f.content)
	if err != nil {
		return nil, nil, err
	}
	pkgs = doc.get(key)
	if !pkgs.isList() {
		return nil, nil, fmt.Errorf("no list %q", key)
	}
	if len(pkgs.items) == 0 {
		b, ok := f.sibling("pyproject.toml")
		if n, err := declared(PyProject, b); !ok || err != nil || n > 0 {
			return nil, nil, fmt.Errorf("the list %q is empty", key)
		}
	}
	for i := range pkgs.items {
		p := &pkgs.items[i]
		if !p.isObject() || p.get("name").str() == "" {
			return nil, nil, fmt.Errorf("line %d: a package without name", p.at())
		}
	}
	return doc, pkgs, nil
}

// parseUvLock reads uv.lock, version 1.
func parseUvLock(f *file) error {
	doc, pkgs, err := tomlPackages(f, "package")
	if err != nil {
		return err
	}
	if f.res.Version = doc.get("version").scalar(); f.res.Version != "1" {
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	keys := map[string][]string{} // name → keys
	key := func(p *node) string {
		return p.get("name").str() + " " + p.get("version").str() + " " + uvSource(p.get("source"))
	}
	for i := range pkgs.items {
		p := &pkgs.items[i]
		keys[p.get("name").str()] = append(keys[p.get("name").str()], key(p))
	}
	targets := func(d *node) []string {
		all := keys[d.get("name").str()]
		if len(all) < 2 {
			return all
		}
		var out []string
		for _, k := range all {
			if v := d.get("version").str(); v != "" && !strings.HasPrefix(k, d.get("name").str()+" "+v+" ") {
				continue
			}
			if s := uvSource(d.get("source")); s != "" && !strings.HasSuffix(k, " "+s) {
				continue
			}
			out = append(out, k)
		}
		return out
	}
	g := graph{edges: map[string][]edge{}}
	for i := range pkgs.items {
		p := &pkgs.items[i]
		src := p.get("source")
		local := src.get("editable") != nil || src.get("virtual") != nil
		if local {
			for _, k := range []string{"editable", "virtual"} {
				if dir := src.get(k).str(); dir != "" {
					f.res.Members = append(f.res.Members, path.Clean(dir))
				}
			}
		}
		k := key(p)
		link := func(list *node, roots *[]string, optional bool) {
			for j := range list.list() {
				for _, to := range targets(&list.items[j]) {
					if local {
						*roots = append(*roots, to)
					} else {
						g.edges[k] = append(g.edges[k], edge{to, optional})
					}
				}
			}
		}
		link(p.get("dependencies"), &g.runtime, false)
		_ = p.get("optional-dependencies").each(func(_ string, l *node) error { link(l, &g.optional, !local); return nil })
		_ = p.get("dev-dependencies").each(func(_ string, l *node) error { link(l, &g.dev, true); return nil })
	}
	for i := range doc.get("manifest").get("requirements").list() {
		g.runtime = append(g.runtime, targets(&doc.get("manifest").get("requirements").items[i])...)
	}
	_ = doc.get("manifest").get("dependency-groups").each(func(_ string, l *node) error {
		for i := range l.list() {
			g.dev = append(g.dev, targets(&l.items[i])...)
		}
		return nil
	})
	scopes, direct := g.scopes(), g.direct()
	for i := range pkgs.items {
		p := &pkgs.items[i]
		var c sbom.Component
		place(&c, key(p), scopes, direct)
		if err := f.uvPackage(p, c); err != nil {
			return err
		}
	}
	return nil
}

// uvSource is the source of a package as text to compare.
func uvSource(s *node) string {
	for _, k := range []string{"registry", "git", "url", "path", "directory", "editable", "virtual"} {
		if v := s.get(k).str(); v != "" {
			return k + "+" + v
		}
	}
	return ""
}

func (f *file) uvPackage(p *node, c sbom.Component) error {
	line, name, version := p.at(), p.get("name").str(), p.get("version").str()
	kind, origin, _ := strings.Cut(uvSource(p.get("source")), "+")
	switch kind {
	case "registry":
		c.Kind, c.Registry = sbom.KindRegistry, origin
		if version == "" {
			f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
		}
	case "git":
		repo, commit, _ := strings.Cut(origin, "#")
		repo, _, _ = strings.Cut(repo, "?")
		f.gitCommit(&c, line, repo, commit)
	case "url":
		c.Kind, c.Origin = sbom.KindURL, origin
	case "path", "directory":
		c.Kind, c.Origin = sbom.KindPath, origin
	case "editable", "virtual":
		c.Kind, c.Origin = sbom.KindWorkspace, path.Clean(origin)
	default:
		c.Kind = sbom.KindUnknown
		f.flag(&c, sbom.ProblemUnsupported, line, "the source is of an unknown kind")
	}
	add := func(a *node) {
		link := a.get("url").str()
		if link == "" {
			link = a.get("path").str()
		}
		n := a.get("filename").str()
		if link == "" && c.Kind == sbom.KindURL {
			link = c.Origin
		}
		f.pyFile(&c, line, name, n, link, f.hexDigest(&c, line, a.get("hash").str()))
	}
	if s := p.get("sdist"); s != nil {
		add(s)
	}
	wheels := p.get("wheels")
	for i := range wheels.list() {
		add(&wheels.items[i])
	}
	if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindURL || c.Kind == sbom.KindUnknown {
		f.judgeDigests(&c, line)
	}
	return f.add(pyID(name, version), line, c)
}

// parsePoetryLock reads poetry.lock, lock-version 1.0 to 2.x.
func parsePoetryLock(f *file) error {
	doc, pkgs, err := tomlPackages(f, "package")
	if err != nil {
		return err
	}
	meta := doc.get("metadata")
	f.res.Version = meta.get("lock-version").str()
	if major, _, _ := strings.Cut(f.res.Version, "."); major != "1" && major != "2" && !(f.res.Version == "" && (meta.get("hashes") != nil || meta.get("files") != nil)) {
		return fmt.Errorf("lock-version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	f.res.Members = []string{"."}
	asked := f.pyProject()
	for i := range pkgs.items {
		p := &pkgs.items[i]
		line, name, version := p.at(), p.get("name").str(), p.get("version").str()
		c := sbom.Component{Scope: poetryScope(p)}
		f.pyRelation(&c, asked, name)
		src := p.get("source")
		origin := src.get("url").str()
		switch src.get("type").str() {
		case "", "legacy":
			c.Kind, c.Registry = sbom.KindRegistry, origin
		case "git":
			f.gitCommit(&c, line, origin, src.get("resolved_reference").str())
		case "url":
			c.Kind, c.Origin = sbom.KindURL, origin
		case "directory", "file":
			c.Kind, c.Origin = sbom.KindPath, origin
		default:
			c.Kind, c.Origin = sbom.KindUnknown, origin
			f.flag(&c, sbom.ProblemUnsupported, line, "the source is of an unknown kind")
		}
		files := p.get("files")
		if files == nil {
			files = meta.get("files").get(name)
		}
		for j := range files.list() {
			a := &files.items[j]
			f.pyFile(&c, line, name, a.get("file").str(), a.get("url").str(), f.hexDigest(&c, line, a.get("hash").str()))
		}
		if files == nil {
			hashes := meta.get("hashes").get(name)
			for j := range hashes.list() {
				c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: f.hexDigest(&c, line, hashes.items[j].str())})
			}
		}
		if version == "" {
			f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
		}
		if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindURL || c.Kind == sbom.KindUnknown {
			f.judgeDigests(&c, line)
		}
		if err := f.add(pyID(name, version), line, c); err != nil {
			return err
		}
	}
	return nil
}

func poetryScope(p *node) sbom.Scope {
	if g := p.get("groups"); g.isList() {
		for i := range g.items {
			if n := g.items[i].str(); n == "main" || n == "default" {
				if p.get("optional").yes() {
					return sbom.ScopeOptional
				}
				return sbom.ScopeRuntime
			}
		}
		if len(g.items) > 0 {
			return sbom.ScopeDevelopment
		}
	}
	switch {
	case p.get("category").str() == "dev":
		return sbom.ScopeDevelopment
	case p.get("optional").yes():
		return sbom.ScopeOptional
	case p.get("category").str() == "main":
		return sbom.ScopeRuntime
	}
	return sbom.ScopeUnknown
}

// pyProject returns the names that pyproject.toml beside the file asks for; nil
// where there is none.
func (f *file) pyProject() map[string]bool {
	b, ok := f.sibling("pyproject.toml")
	if !ok {
		return nil
	}
	doc, err := parseTOML(b)
	if err != nil {
		return nil
	}
	return pyProjectNames(doc)
}

func (f *file) pyRelation(c *sbom.Component, asked map[string]bool, name string) {
	if asked == nil {
		return
	}
	c.Relation = sbom.RelationTransitive
	if asked[pyName(name)] {
		c.Relation = sbom.RelationDirect
	}
}

// pyProjectNames are the normalised names of all dependencies in pyproject.toml.
func pyProjectNames(doc *node) map[string]bool {
	names := map[string]bool{}
	list := func(l *node) {
		for i := range l.list() {
			if m := pyRequirement.FindStringSubmatch(l.items[i].str()); m != nil {
				names[pyName(m[1])] = true
			}
		}
	}
	lists := func(o *node) {
		_ = o.each(func(_ string, l *node) error { list(l); return nil })
	}
	table := func(o *node) {
		_ = o.each(func(k string, _ *node) error {
			if k != "python" {
				names[pyName(k)] = true
			}
			return nil
		})
	}
	list(doc.get("project").get("dependencies"))
	lists(doc.get("project").get("optional-dependencies"))
	lists(doc.get("dependency-groups"))
	tool := doc.get("tool")
	table(tool.get("poetry").get("dependencies"))
	table(tool.get("poetry").get("dev-dependencies"))
	_ = tool.get("poetry").get("group").each(func(_ string, g *node) error { table(g.get("dependencies")); return nil })
	lists(tool.get("pdm").get("dev-dependencies"))
	list(tool.get("uv").get("dev-dependencies"))
	return names
}

// parsePdmLock reads pdm.lock.
func parsePdmLock(f *file) error {
	doc, pkgs, err := tomlPackages(f, "package")
	if err != nil {
		return err
	}
	meta := doc.get("metadata")
	if f.res.Version = meta.get("lock_version").str(); f.res.Version == "" {
		return fmt.Errorf("no metadata.lock_version: %w", ErrUnsupported)
	}
	f.res.Members = []string{"."}
	asked := f.pyProject()
	for i := range pkgs.items {
		p := &pkgs.items[i]
		line, name, version := p.at(), p.get("name").str(), p.get("version").str()
		c := sbom.Component{Scope: poetryScope(p)}
		f.pyRelation(&c, asked, name)
		switch {
		case p.get("git") != nil:
			f.gitCommit(&c, line, p.get("git").str(), p.get("revision").str())
		case p.get("url") != nil:
			c.Kind, c.Origin = sbom.KindURL, p.get("url").str()
		case p.get("path") != nil:
			c.Kind, c.Origin = sbom.KindPath, p.get("path").str()
		default:
			c.Kind = sbom.KindRegistry
		}
		files := p.get("files")
		if files == nil { // lock_version 4.0 and older
			files = meta.get("files").get(name + " " + version)
		}
		for j := range files.list() {
			a := &files.items[j]
			f.pyFile(&c, line, name, a.get("file").str(), a.get("url").str(), f.hexDigest(&c, line, a.get("hash").str()))
		}
		if version == "" {
			f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
		}
		if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindURL {
			f.judgeDigests(&c, line)
		}
		if err := f.add(pyID(name, version), line, c); err != nil {
			return err
		}
	}
	return nil
}

// parsePyLock reads pylock.toml (PEP 751).
func parsePyLock(f *file) error {
	doc, pkgs, err := tomlPackages(f, "packages")
	if err != nil {
		return err
	}
	f.res.Version = doc.get("lock-version").str()
	if major, _, _ := strings.Cut(f.res.Version, "."); major != "1" {
		return fmt.Errorf("lock-version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	f.res.Members = []string{"."}
	asked := f.pyProject()
	for i := range pkgs.items {
		p := &pkgs.items[i]
		line, name, version := p.at(), p.get("name").str(), p.get("version").str()
		var c sbom.Component
		f.pyRelation(&c, asked, name)
		file := func(a *node) {
			link := a.get("url").str()
			if link == "" {
				link = a.get("path").str()
			}
			var ds trust.Digests
			_ = a.get("hashes").each(func(alg string, v *node) error {
				switch trust.Algorithm(strings.ToLower(alg)) {
				case trust.MD5, trust.SHA1, trust.SHA256, trust.SHA384, trust.SHA512:
					ds = append(ds, f.hexDigest(&c, line, alg+":"+v.str())...)
				}
				return nil
			})
			f.pyFile(&c, line, name, a.get("name").str(), link, ds)
		}
		switch {
		case p.get("vcs") != nil:
			v := p.get("vcs")
			repo := v.get("url").str()
			if repo == "" {
				repo = v.get("path").str()
			}
			f.gitCommit(&c, line, repo, v.get("commit-id").str())
		case p.get("directory") != nil:
			c.Kind, c.Origin = sbom.KindPath, p.get("directory").get("path").str()
		case p.get("archive") != nil:
			a := p.get("archive")
			c.Kind, c.Origin = sbom.KindURL, a.get("url").str()
			if c.Origin == "" {
				c.Kind, c.Origin = sbom.KindPath, a.get("path").str()
			}
			file(a)
		default:
			c.Kind, c.Registry = sbom.KindRegistry, p.get("index").str()
			if s := p.get("sdist"); s != nil {
				file(s)
			}
			wheels := p.get("wheels")
			for j := range wheels.list() {
				file(&wheels.items[j])
			}
			if version == "" {
				f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
			}
		}
		if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindURL {
			f.judgeDigests(&c, line)
		}
		ids := p.get("attestation-identities")
		for j := range ids.list() {
			want := map[string]string{}
			_ = ids.items[j].each(func(k string, v *node) error {
				if s := v.scalar(); s != "" {
					want[k] = s
				}
				return nil
			})
			if want["kind"] == "" {
				return fmt.Errorf("line %d: an attestation identity of %s has no kind", line, short(name))
			}
			c.Expect = append(c.Expect, want)
		}
		if err := f.add(pyID(name, version), line, c); err != nil {
			return err
		}
	}
	return nil
}

// parsePipfileLock reads Pipfile.lock, specification 6.
func parsePipfileLock(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	meta := doc.get("_meta")
	if f.res.Version = meta.get("pipfile-spec").scalar(); f.res.Version != "6" {
		return fmt.Errorf("pipfile-spec %q: %w", short(f.res.Version), ErrUnsupported)
	}
	if !doc.get("default").isObject() || !doc.get("develop").isObject() {
		return fmt.Errorf("no sections default and develop")
	}
	f.res.Members = []string{"."}
	indexes := map[string]string{}
	sources := meta.get("sources")
	for i := range sources.list() {
		indexes[sources.items[i].get("name").str()] = sources.items[i].get("url").str()
	}
	return doc.each(func(section string, entries *node) error {
		if section == "_meta" {
			return nil
		}
		scope := sbom.ScopeRuntime
		if section != "default" {
			scope = sbom.ScopeDevelopment
		}
		return entries.each(func(name string, e *node) error {
			line := e.at()
			if !e.isObject() {
				return fmt.Errorf("line %d: the entry %q is no object", line, short(name))
			}
			c := sbom.Component{Scope: scope}
			version, exact := strings.CutPrefix(e.get("version").str(), "==")
			switch {
			case e.get("git") != nil:
				f.gitCommit(&c, line, e.get("git").str(), e.get("ref").str())
			case isURLSpec(e.get("file").str()):
				c.Kind, c.Origin = sbom.KindURL, e.get("file").str()
			case e.get("path") != nil || e.get("file") != nil:
				c.Kind, c.Origin = sbom.KindPath, e.get("path").str()+e.get("file").str()
			default:
				c.Kind, c.Registry = sbom.KindRegistry, indexes[e.get("index").str()]
				if !exact || strings.Contains(version, "*") {
					f.flag(&c, sbom.ProblemUnpinned, line, "the entry has no exact version")
				}
			}
			version = strings.TrimLeft(version, "=")
			hashes := e.get("hashes")
			for i := range hashes.list() {
				c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: f.hexDigest(&c, line, hashes.items[i].str())})
			}
			if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindURL {
				f.judgeDigests(&c, line)
			}
			return f.add(pyID(name, version), line, c)
		})
	})
}
