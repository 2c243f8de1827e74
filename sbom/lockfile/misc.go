package lockfile

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parsePubspecLock reads pubspec.lock of Dart.
func parsePubspecLock(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	pkgs := doc.get("packages")
	if !pkgs.isObject() {
		return fmt.Errorf("no packages")
	}
	f.res.Members = []string{"."}
	return pkgs.each(func(name string, e *node) error {
		line, version := e.at(), e.get("version").scalar()
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect}
		switch d := e.get("dependency").str(); {
		case strings.Contains(d, "dev"):
			c.Scope = sbom.ScopeDevelopment
		case d == "transitive":
			c.Relation, c.Scope = sbom.RelationTransitive, sbom.ScopeUnknown
		}
		desc := e.get("description")
		switch e.get("source").str() {
		case "hosted":
			c.Registry = desc.get("url").str()
			if n := desc.get("name").str(); n != "" && n != name {
				c.Alias, name = name, n
			}
			if ds := f.hexDigest(&c, line, desc.get("sha256").scalar()); len(ds) > 0 {
				c.Artifacts = []trust.Artifact{{Digests: ds}}
			}
			f.judgeDigests(&c, line)
		case "git":
			f.gitCommit(&c, line, desc.get("url").str(), desc.get("resolved-ref").scalar())
		case "path":
			c.Kind, c.Origin = sbom.KindPath, desc.get("path").str()
		case "sdk":
			c.Kind = sbom.KindToolchain
		default:
			c.Kind = sbom.KindUnknown
			f.flag(&c, sbom.ProblemUnsupported, line, "the source is of an unknown kind")
		}
		return f.add(id{"pub", "", name, version}, line, c)
	})
}

// parseSwiftResolved reads Package.resolved, versions 1 to 3.
func parseSwiftResolved(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	f.res.Version = doc.get("version").scalar()
	pins := doc.get("pins")
	switch f.res.Version {
	case "1":
		pins = doc.get("object").get("pins")
	case "2", "3":
	default:
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	if !pins.isList() {
		return fmt.Errorf("no pins")
	}
	f.res.Members = []string{"."}
	for i := range pins.items {
		p := &pins.items[i]
		location := p.get("location").str()
		if location == "" {
			location = p.get("repositoryURL").str()
		}
		name := p.get("identity").str()
		if name == "" {
			name = p.get("package").str()
		}
		state := p.get("state")
		version := state.get("version").str()
		var c sbom.Component
		if p.get("kind").str() == "registry" {
			ns, n, ok := strings.Cut(name, ".")
			if !ok {
				ns, n = "", name
			}
			f.flag(&c, sbom.ProblemNoDigest, p.at(), "the file states no digest of registry packages")
			if err := f.add(id{"swift", ns, n, version}, p.at(), c); err != nil {
				return err
			}
			continue
		}
		if p.get("kind").str() == "localSourceControl" {
			c.Kind, c.Origin = sbom.KindPath, location
		} else {
			f.gitCommit(&c, p.at(), location, state.get("revision").str())
		}
		if version == "" {
			version = state.get("revision").str()
		}
		// The purl of a Swift package is host and path of its repository.
		ns := ""
		bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(location, "https://"), "http://"), "ssh://"), ".git")
		bare = strings.TrimPrefix(bare, "git@")
		bare = strings.Replace(bare, ":", "/", 1)
		if d, b := path.Split(bare); c.Kind == sbom.KindGit && d != "" && b != "" {
			ns, name = strings.Trim(d, "/"), b
		}
		if err := f.add(id{"swift", ns, name, version}, p.at(), c); err != nil {
			return err
		}
	}
	return nil
}

var podEntry = regexp.MustCompile(`^(\S+) \(([^)]+)\)$`)

// parsePodfileLock reads Podfile.lock. Its checksums are of the specifications,
// not of the code.
func parsePodfileLock(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	pods := doc.get("PODS")
	if !pods.isList() || doc.get("COCOAPODS") == nil {
		return fmt.Errorf("no PODS, or the file is cut off")
	}
	f.res.Version = doc.get("COCOAPODS").scalar()
	f.res.Members = []string{"."}
	direct := map[string]bool{}
	deps := doc.get("DEPENDENCIES")
	for i := range deps.list() {
		n, _, _ := strings.Cut(deps.items[i].str(), " ")
		direct[n] = true
	}
	registry := map[string]string{}
	_ = doc.get("SPEC REPOS").each(func(repo string, names *node) error {
		for i := range names.list() {
			registry[names.items[i].str()] = repo
		}
		return nil
	})
	for i := range pods.items {
		p := &pods.items[i]
		text := p.str()
		if p.isObject() && len(p.keys) == 1 {
			text = p.keys[0]
		}
		m := podEntry.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("line %d: expected a pod and its version", p.at())
		}
		base, sub, _ := strings.Cut(m[1], "/")
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationTransitive, Registry: registry[base]}
		if direct[m[1]] {
			c.Relation = sbom.RelationDirect
		}
		ext, checkout := doc.get("EXTERNAL SOURCES").get(base), doc.get("CHECKOUT OPTIONS").get(base)
		switch {
		case ext.get(":path") != nil || ext.get(":podspec") != nil:
			c.Kind, c.Origin = sbom.KindPath, ext.get(":path").str()+ext.get(":podspec").str()
		case ext.get(":git") != nil || checkout.get(":git") != nil:
			repo := checkout.get(":git").str()
			if repo == "" {
				repo = ext.get(":git").str()
			}
			f.gitCommit(&c, p.at(), repo, checkout.get(":commit").scalar())
		default:
			if s := doc.get("SPEC CHECKSUMS").get(base).scalar(); s != "" {
				if ds := f.hexDigest(&c, p.at(), "sha1:"+s); len(ds) > 0 {
					c.Artifacts = []trust.Artifact{{Name: base + ".podspec.json", Digests: ds}}
				}
			}
			f.judgeDigests(&c, p.at())
		}
		r, err := trust.NewRelease("cocoapods", "", base, m[2])
		if err == nil {
			r.Subpath = sub
			c.Release = r
		}
		if err := f.add(id{"cocoapods", "", base, m[2]}, p.at(), c); err != nil {
			return err
		}
	}
	return nil
}

// parseCondaLock reads conda-lock.yml, version 1.
func parseCondaLock(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	if f.res.Version = doc.get("version").scalar(); f.res.Version != "1" {
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	pkgs := doc.get("package")
	if !pkgs.isList() || len(pkgs.items) == 0 {
		return fmt.Errorf("no packages")
	}
	f.res.Members = []string{"."}
	for i := range pkgs.items {
		p := &pkgs.items[i]
		var c sbom.Component
		switch p.get("category").str() {
		case "main":
			c.Scope = sbom.ScopeRuntime
		case "dev":
			c.Scope = sbom.ScopeDevelopment
		}
		var ds trust.Digests
		for _, alg := range []string{"sha256", "md5"} {
			if v := p.get("hash").get(alg).scalar(); v != "" {
				ds = append(ds, f.hexDigest(&c, p.at(), alg+":"+v)...)
			}
		}
		link := p.get("url").str()
		c.Artifacts = []trust.Artifact{{Name: path.Base(link), URL: link, Digests: ds}}
		f.judgeDigests(&c, p.at())
		typ := "conda"
		if p.get("manager").str() == "pip" {
			typ = "pypi"
		} else {
			c.Registry = path.Dir(path.Dir(strings.Replace(link, "://", ":///", 1)))
			c.Registry = strings.Replace(c.Registry, ":/", "://", 1)
		}
		if p.get("name").str() == "" {
			return fmt.Errorf("line %d: a package without name", p.at())
		}
		if err := f.add(id{typ, "", p.get("name").str(), p.get("version").scalar()}, p.at(), c); err != nil {
			return err
		}
	}
	return nil
}

// parseChart reads the dependencies of Chart.yaml, which are exact versions or
// ranges. Chart.lock beside it says what they became.
func parseChart(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	if doc.get("apiVersion").str() == "" || doc.get("name").str() == "" {
		return fmt.Errorf("no apiVersion or name")
	}
	f.res.Version = doc.get("apiVersion").str()
	f.res.Declared = len(doc.get("dependencies").list())
	for _, lock := range []string{"Chart.lock", "requirements.lock"} {
		if _, ok := f.sibling(lock); ok {
			f.res.PartOf = lock
			return nil
		}
	}
	return f.charts(doc.get("dependencies"))
}

// parseChartLock reads Chart.lock; its digest is of the declarations, not of the
// charts.
func parseChartLock(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	deps := doc.get("dependencies")
	if !deps.isList() || doc.get("generated") == nil {
		return fmt.Errorf("no dependencies, or the file is cut off")
	}
	f.res.Members = []string{"."}
	return f.charts(deps)
}

var exactSemver = regexp.MustCompile(`^v?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$`)

func (f *file) charts(deps *node) error {
	for i := range deps.list() {
		d := &deps.items[i]
		name, version, repo := d.get("name").str(), d.get("version").scalar(), d.get("repository").str()
		if name == "" {
			return fmt.Errorf("line %d: a chart without name", d.at())
		}
		c := sbom.Component{Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect, Alias: d.get("alias").str()}
		switch {
		case strings.HasPrefix(repo, "file://") || repo == "":
			c.Kind, c.Origin = sbom.KindPath, repo
			if repo == "" {
				c.Origin = "charts/" + name
			}
		default:
			c.Registry = repo
		}
		if !exactSemver.MatchString(version) {
			f.flag(&c, sbom.ProblemUnpinned, d.at(), "the version is a range: "+short(version))
			version = ""
		}
		r, err := trust.NewRelease("helm", "", name, version)
		if err == nil {
			if c.Kind != sbom.KindPath {
				r.Package = r.Package.WithQualifier("repository_url", repo)
			}
			c.Release = r
		}
		if err := f.add(id{"helm", "", name, version}, d.at(), c); err != nil {
			return err
		}
	}
	return nil
}

var (
	hclProvider = regexp.MustCompile(`^provider\s+"([^"]+)"\s*\{$`)
	hclVersion  = regexp.MustCompile(`^version\s*=\s*"([^"]*)"$`)
	hclHash     = regexp.MustCompile(`^"(h1|zh):([^"]+)",?$`)
)

// parseTerraformLock reads .terraform.lock.hcl: the zh hashes are SHA-256 of the
// provider's archives, h1 of their contents.
func parseTerraformLock(f *file) error {
	var c sbom.Component
	var source, version string
	start, num, hashes := 0, 0, false
	for line := range strings.Lines(string(f.content)) {
		num++
		line = strings.TrimSpace(line)
		if i := strings.IndexByte(line, '#'); i == 0 || strings.HasPrefix(line, "//") || line == "" {
			continue
		}
		if m := hclProvider.FindStringSubmatch(line); m != nil {
			if start > 0 {
				return fmt.Errorf("line %d: a provider inside another", num)
			}
			source, version, start, hashes = m[1], "", num, false
			c = sbom.Component{Relation: sbom.RelationDirect, Scope: sbom.ScopeDevelopment}
			continue
		}
		if start == 0 {
			return fmt.Errorf("line %d: expected a provider", num)
		}
		switch m := hclHash.FindStringSubmatch(line); {
		case line == "}":
			host, rest, _ := strings.Cut(source, "/")
			ns, name, ok := strings.Cut(rest, "/")
			if !ok {
				return fmt.Errorf("line %d: the provider %q has no host, namespace and name", start, short(source))
			}
			c.Registry = host
			if version == "" {
				f.flag(&c, sbom.ProblemUnpinned, start, "the provider has no version")
			}
			f.judgeDigests(&c, start)
			if err := f.add(id{"terraform", host + "/" + ns, name, version}, start, c); err != nil {
				return err
			}
			start = 0
		case hclVersion.MatchString(line):
			version = hclVersion.FindStringSubmatch(line)[1]
		case strings.HasPrefix(line, "constraints"):
		case strings.HasPrefix(line, "hashes"):
			hashes = !strings.HasSuffix(line, "]")
		case m != nil && hashes:
			text := "h1:" + m[2]
			if m[1] == "zh" {
				text = "sha256:" + m[2]
			}
			d, err := trust.ParseDigest(text)
			if err != nil {
				return fmt.Errorf("line %d: %w", num, err)
			}
			c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: trust.Digests{d}})
		case line == "]":
			hashes = false
		default:
			return fmt.Errorf("line %d: unexpected text", num)
		}
	}
	if start > 0 {
		return fmt.Errorf("line %d: the provider has no end", start)
	}
	if f.entries == 0 {
		return fmt.Errorf("no providers")
	}
	f.res.Members = []string{"."}
	return nil
}

var (
	mixEntry = regexp.MustCompile(`^\s*"([^"]+)":\s*\{(.*)\},?\s*$`)
	mixText  = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
)

// parseMixLock reads mix.lock of Elixir, one entry a line: the outer checksum is
// SHA-256 of the archive, the inner one of its contents in an older form.
func parseMixLock(f *file) error {
	text := strings.TrimSpace(string(f.content))
	if !strings.HasPrefix(text, "%{") || !strings.HasSuffix(text, "}") {
		return fmt.Errorf("the file is no map, or is cut off")
	}
	num := 0
	for line := range strings.Lines(string(f.content)) {
		num++
		line = strings.TrimSpace(line)
		if line == "%{" || line == "}" || line == "%{}" || line == "" {
			continue
		}
		m := mixEntry.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("line %d: expected an entry", num)
		}
		app, body := m[1], m[2]
		var c sbom.Component
		name, version := app, ""
		texts := mixText.FindAllStringSubmatch(body, MaxEntries)
		switch {
		case strings.HasPrefix(body, ":hex,"):
			if _, rest, ok := strings.Cut(body, ":hex, :"); ok {
				name, _, _ = strings.Cut(rest, ",")
				name = strings.Trim(name, ` "`)
			}
			if len(texts) < 2 {
				return fmt.Errorf("line %d: an entry without version or checksum", num)
			}
			version = texts[0][1]
			if name != app {
				c.Alias = app
				f.flag(&c, sbom.ProblemAlias, num, fmt.Sprintf("%s is installed under the name %s", short(name), short(app)))
			}
			// …, deps, "repository", "outer checksum"
			if n := len(texts); n >= 4 && len(texts[n-1][1]) == 64 && strings.HasSuffix(strings.TrimSpace(body), `"`) {
				c.Registry = texts[n-2][1]
				if ds := f.hexDigest(&c, num, "sha256:"+texts[n-1][1]); len(ds) > 0 {
					c.Artifacts = []trust.Artifact{{Digests: ds}}
				}
			}
			f.judgeDigests(&c, num)
		case strings.HasPrefix(body, ":git,"):
			if len(texts) < 2 {
				return fmt.Errorf("line %d: an entry without repository or commit", num)
			}
			f.gitCommit(&c, num, texts[0][1], texts[1][1])
		case strings.HasPrefix(body, ":path,"):
			c.Kind = sbom.KindPath
		default:
			c.Kind = sbom.KindUnknown
			f.flag(&c, sbom.ProblemUnsupported, num, "the source is of an unknown kind")
		}
		if err := f.add(id{"hex", "", name, version}, num, c); err != nil {
			return err
		}
	}
	f.res.Members = []string{"."}
	return nil
}

// parseBunLock reads bun.lock, the text form, versions 0 and 1.
func parseBunLock(f *file) error {
	doc, err := parseJSON(f.content, true)
	if err != nil {
		return err
	}
	f.res.Version = doc.get("lockfileVersion").scalar()
	if v, err := strconv.Atoi(f.res.Version); err != nil || v < 0 || v > 1 {
		return fmt.Errorf("lockfileVersion %q: %w", short(f.res.Version), ErrUnsupported)
	}
	workspaces, pkgs := doc.get("workspaces"), doc.get("packages")
	if !workspaces.isObject() || !pkgs.isObject() {
		return fmt.Errorf("no workspaces or no packages")
	}
	g := graph{edges: map[string][]edge{}}
	wanted := 0
	_ = workspaces.each(func(dir string, w *node) error {
		f.res.Members = append(f.res.Members, path.Clean("./"+dir))
		for field, roots := range map[string]*[]string{"dependencies": &g.runtime, "optionalDependencies": &g.optional, "devDependencies": &g.dev} {
			for _, n := range w.get(field).names() {
				wanted++
				key := n
				if wn := w.get("name").str(); wn != "" && pkgs.get(wn+"/"+n) != nil {
					key = wn + "/" + n
				}
				*roots = append(*roots, key)
			}
		}
		return nil
	})
	if wanted > 0 && len(pkgs.keys) == 0 {
		return fmt.Errorf("no packages, although the workspaces ask for some")
	}
	resolve := func(key, name string) string {
		for {
			if pkgs.get(key+"/"+name) != nil {
				return key + "/" + name
			}
			i := strings.LastIndexByte(key, '/')
			if i < 0 {
				return name
			}
			key = key[:i]
		}
	}
	_ = pkgs.each(func(key string, e *node) error {
		for i := range e.list() {
			if !e.items[i].isObject() {
				continue
			}
			for _, field := range []string{"dependencies", "optionalDependencies"} {
				for _, n := range e.items[i].get(field).names() {
					g.edges[key] = append(g.edges[key], edge{resolve(key, n), field != "dependencies"})
				}
			}
		}
		return nil
	})
	scopes, direct := g.scopes(), g.direct()
	return pkgs.each(func(key string, e *node) error {
		line := e.at()
		if len(e.list()) == 0 || e.items[0].str() == "" {
			return fmt.Errorf("line %d: the entry %q has no locator", line, short(key))
		}
		name, locator := splitPattern(e.items[0].str())
		var c sbom.Component
		place(&c, key, scopes, direct)
		installed := bunName(key)
		if installed != name {
			c.Alias = installed
			f.flag(&c, sbom.ProblemAlias, line, fmt.Sprintf("%s is installed under the name %s", short(name), short(installed)))
		}
		last := &e.items[len(e.items)-1]
		integrity := ""
		if len(e.items) > 1 {
			integrity = last.str()
		}
		if i := 1; len(e.items) == 4 && e.items[i].kind == nodeString && isURLSpec(e.items[i].text) {
			c.Registry = e.items[i].text
		}
		scheme, rest, hasScheme := strings.Cut(locator, ":")
		switch {
		case scheme == "workspace" && hasScheme:
			c.Kind, c.Origin, c.Scope, c.Relation = sbom.KindWorkspace, rest, sbom.ScopeRuntime, sbom.RelationDirect
			return f.add(npmID(name, workspaces.get(rest).get("version").str()), line, c)
		case hasScheme && (scheme == "file" || scheme == "link" || scheme == "root"):
			c.Kind, c.Origin = sbom.KindPath, rest
			return f.add(npmID(name, ""), line, c)
		case isGitURL(locator):
			repo, ref, _ := strings.Cut(locator, "#")
			// GitHub locators carry a short commit; the full one follows as the resolved name.
			if !isCommit(ref) && len(e.items) > 1 {
				if i := strings.LastIndexByte(last.str(), '-'); i >= 0 && isCommit(last.str()[i+1:]) {
					ref = last.str()[i+1:]
				}
			}
			f.gitCommit(&c, line, strings.TrimPrefix(repo, "git+"), ref)
			return f.add(npmID(name, ""), line, c)
		case isURLSpec(locator):
			f.source(&c, npmEntry{name: name, resolved: locator, spec: locator, integrity: integrity, line: line})
			return f.add(npmID(name, ""), line, c)
		}
		registry := c.Registry
		f.source(&c, npmEntry{name: name, version: locator, integrity: integrity, line: line})
		c.Registry = registry
		return f.add(npmID(name, locator), line, c)
	})
}

// bunName is the name of the last package in a path like "a/@s/b".
func bunName(key string) string {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return key
	}
	if j := strings.LastIndexByte(key[:i], '/'); key[j+1] == '@' {
		return key[j+1:]
	}
	return key[i+1:]
}

// parseDenoLock reads deno.lock, versions 3 to 5: npm and JSR packages, and the
// digests of remote modules.
func parseDenoLock(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	if !doc.isObject() {
		return fmt.Errorf("the document is no object")
	}
	f.res.Version = doc.get("version").scalar()
	pkgs := doc
	switch f.res.Version {
	case "3":
		if p := doc.get("packages"); p != nil {
			pkgs = p
		}
	case "4", "5":
	default:
		return fmt.Errorf("version %q: %w", short(f.res.Version), ErrUnsupported)
	}
	f.res.Members = []string{"."}
	direct := map[string]bool{}
	_ = pkgs.get("specifiers").each(func(spec string, v *node) error {
		s := v.str()
		for _, p := range []string{"npm:", "jsr:"} {
			if rest, ok := strings.CutPrefix(spec, p); ok {
				name, _ := splitPattern(rest)
				version := strings.TrimPrefix(s, p)
				if n, v := splitNameVersion(version); n == name {
					version = v
				}
				version, _, _ = strings.Cut(version, "_")
				direct[p+name+"@"+version] = true
			}
		}
		return nil
	})
	for _, ecosystem := range []string{"npm", "jsr"} {
		err := pkgs.get(ecosystem).each(func(key string, e *node) error {
			name, version := splitPattern(key)
			version, _, _ = strings.Cut(version, "_") // peers follow
			c := sbom.Component{Relation: sbom.RelationTransitive}
			if direct[ecosystem+":"+name+"@"+version] {
				c.Relation = sbom.RelationDirect
			}
			integrity := e.get("integrity").str()
			var ds trust.Digests
			if strings.Contains(integrity, "-") {
				ds = f.integrity(&c, e.at(), integrity)
			} else {
				ds = f.hexDigest(&c, e.at(), integrity)
			}
			if len(ds) > 0 || e.get("tarball") != nil {
				c.Artifacts = []trust.Artifact{{URL: e.get("tarball").str(), Digests: ds}}
			}
			f.judgeDigests(&c, e.at())
			i := npmID(name, version)
			i.typ = ecosystem
			return f.add(i, e.at(), c)
		})
		if err != nil {
			return err
		}
	}
	return doc.get("remote").each(func(link string, sum *node) error {
		c := sbom.Component{Kind: sbom.KindURL, Origin: link}
		c.Artifacts = []trust.Artifact{{URL: link, Digests: f.hexDigest(&c, sum.at(), sum.str())}}
		f.judgeDigests(&c, sum.at())
		name := path.Base(link)
		return f.add(id{"generic", "", name, ""}, sum.at(), c)
	})
}
