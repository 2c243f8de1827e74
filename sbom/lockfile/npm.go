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

// npmID splits "@scope/name".
func npmID(name, version string) id {
	if strings.HasPrefix(name, "@") {
		if ns, n, ok := strings.Cut(name, "/"); ok {
			return id{"npm", ns, n, version}
		}
	}
	return id{"npm", "", name, version}
}

// parsePackageLock reads package-lock.json and npm-shrinkwrap.json, versions 1 to
// 3 (npm/cli docs/lib/content/configuring-npm/package-lock-json.md).
func parsePackageLock(f *file) error {
	doc, err := parseJSON(f.content, false)
	if err != nil {
		return err
	}
	if !doc.isObject() {
		return fmt.Errorf("the document is no object")
	}
	f.res.Version = doc.get("lockfileVersion").scalar()
	if base := path.Base(f.path); base == "package-lock.json" {
		if _, ok := f.sibling("npm-shrinkwrap.json"); ok {
			f.problem(sbom.ProblemConflict, 0, "npm-shrinkwrap.json stands beside this file, and npm obeys that one alone", "remove one of the two files")
		}
	}
	l := &npmLock{file: f, doc: doc}
	switch f.res.Version {
	case "1":
		// npm 7 and later obey "packages" whatever the version says, npm 6 does not know it.
		if doc.get("packages") != nil {
			return fmt.Errorf("version 1 with packages, which newer npm installs and older does not: %w", ErrUnsupported)
		}
		return l.v1()
	case "2", "3":
		return l.packages()
	case "":
		return fmt.Errorf("no lockfileVersion: %w", ErrUnsupported)
	}
	return fmt.Errorf("lockfileVersion %s: %w", short(f.res.Version), ErrUnsupported)
}

type npmLock struct {
	*file
	doc    *node
	direct map[string]string // location → declared specifier
}

var npmDependencyFields = []string{"dependencies", "devDependencies", "optionalDependencies", "peerDependencies"}

func (l *npmLock) packages() error {
	pkgs := l.doc.get("packages")
	if !pkgs.isObject() || pkgs.get("") == nil {
		return fmt.Errorf("no packages with a root entry, which version %s demands", l.res.Version)
	}
	l.expect(len(pkgs.items))
	l.direct = map[string]string{}
	specs := map[string]string{} // location → specifier of any entry that asks for it
	linked := map[string]bool{}  // targets of links
	err := pkgs.each(func(loc string, e *node) error {
		if !e.isObject() {
			return fmt.Errorf("line %d: the entry %q is no object", e.at(), short(loc))
		}
		if e.get("link").yes() {
			linked[e.get("resolved").str()] = true
		}
		project := !strings.Contains("/"+loc, "/node_modules/")
		if project {
			l.res.Members = append(l.res.Members, path.Clean("./"+loc))
		}
		for _, field := range npmDependencyFields {
			if !project && field == "devDependencies" {
				continue
			}
			_ = e.get(field).each(func(name string, spec *node) error {
				if at, ok := resolveNodeModules(pkgs, loc, name); ok {
					if project {
						l.direct[at] = spec.str()
					}
					if s := spec.str(); specs[at] == "" || isURLSpec(s) {
						specs[at] = s
					}
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = pkgs.each(func(loc string, e *node) error { return l.entry(pkgs, loc, e, linked, specs) })
	if err != nil {
		return err
	}
	l.manifests(pkgs)
	// Version 3 has no second tree of its own accord, but npm 6 obeys one that is there.
	return l.compareTrees(pkgs, "", l.doc.get("dependencies"), 0)
}

// bundler reports whether a package whose tarball can hold the entry at loc
// says that it bundles anything. The project's own bundled dependencies are
// fetched from the registry like others, whatever their entries say.
func bundler(pkgs *node, loc string) bool {
	for {
		i := strings.LastIndex(loc, "/node_modules/")
		if i < 0 {
			return false
		}
		loc = loc[:i]
		if !strings.Contains("/"+loc, "/node_modules/") {
			return false // a workspace
		}
		e := pkgs.get(loc)
		for _, field := range []string{"bundleDependencies", "bundledDependencies"} {
			if b := e.get(field); b.yes() || len(b.list()) > 0 {
				return true
			}
		}
	}
}

func isURLSpec(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// resolveNodeModules finds the location that name means for code at loc, as
// Node.js does: the nearest node_modules upwards.
func resolveNodeModules(pkgs *node, loc, name string) (string, bool) {
	for {
		at := "node_modules/" + name
		if loc != "" {
			at = loc + "/" + at
		}
		if pkgs.get(at) != nil {
			return at, true
		}
		if loc == "" {
			return "", false
		}
		if i := strings.LastIndex(loc, "/node_modules/"); i >= 0 {
			loc = loc[:i]
		} else if i := strings.LastIndex(loc, "/"); i >= 0 && !strings.HasPrefix(loc, "node_modules/") {
			loc = loc[:i]
		} else {
			loc = ""
		}
	}
}

func (l *npmLock) entry(pkgs *node, loc string, e *node, linked map[string]bool, specs map[string]string) error {
	line := e.at()
	name, version := e.get("name").str(), e.get("version").str()
	key := ""
	if i := strings.LastIndex("/"+loc, "/node_modules/"); i >= 0 {
		key = ("/" + loc)[i+len("/node_modules/"):]
	}
	if key == "" {
		// The project itself, a workspace, or the target of a link: directories that are
		// there already. npm writes no source for them, and would fetch one.
		if r := e.get("resolved").str(); r != "" || e.get("integrity") != nil {
			l.problem(sbom.ProblemMismatch, line, fmt.Sprintf("the entry %q is a directory of the project and yet has a source (%s)", short(loc), short(r)), "write the lock file anew")
		}
		if loc == "" && name == "" {
			name = l.doc.get("name").str()
		}
		if loc != "" && linked[loc] || name == "" && loc == "" {
			return nil
		}
		if name == "" {
			name = path.Base(loc)
		}
		return l.add(npmID(name, version), line, sbom.Component{Kind: sbom.KindWorkspace, Origin: path.Clean("./" + loc), Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect})
	}
	c := sbom.Component{Scope: npmScope(e), Relation: sbom.RelationTransitive, InstallCode: e.get("hasInstallScript").yes()}
	spec, direct := l.direct[loc]
	if direct {
		c.Relation = sbom.RelationDirect
	}
	if e.get("link").yes() {
		target := e.get("resolved").str()
		t := pkgs.get(target)
		c.Kind, c.Origin = sbom.KindWorkspace, path.Clean("./"+target)
		if t == nil || strings.HasPrefix(c.Origin, "..") || strings.HasPrefix(spec, "file:") || strings.HasPrefix(spec, "link:") {
			c.Kind = sbom.KindPath
		}
		real := key
		if n := t.get("name").str(); n != "" && n != key {
			real, c.Alias = n, key
		}
		return l.add(npmID(real, t.get("version").str()), line, c)
	}
	real := key
	if name != "" && name != key {
		real, c.Alias = name, key
		l.aliased(&c, line, name)
	}
	l.source(&c, npmEntry{
		name: real, version: version, resolved: e.get("resolved").str(), integrity: e.get("integrity").str(),
		bundled: e.get("inBundle").yes() && bundler(pkgs, loc), spec: specs[loc], line: line,
	})
	if version == "" && c.Kind != sbom.KindPath {
		l.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
	}
	return l.add(npmID(real, version), line, c)
}

// plainAlias are the endings of aliases that only tell editions of one package
// apart ("string-width-cjs" for string-width 4, "lodash4"); they are common and
// mislead nobody.
var plainAlias = regexp.MustCompile(`^-?(cjs|esm|legacy|v?[0-9]+(\.[0-9]+)*)$`)

// aliased marks a component that is installed under another package's name.
func (f *file) aliased(c *sbom.Component, line int, real string) {
	if edition, ok := strings.CutPrefix(c.Alias, real); ok && plainAlias.MatchString(edition) {
		return
	}
	f.flag(c, sbom.ProblemAlias, line, fmt.Sprintf("%s is installed under the name %s", short(real), short(c.Alias)))
}

func npmScope(e *node) sbom.Scope {
	switch {
	case e.get("dev").yes():
		return sbom.ScopeDevelopment
	case e.get("optional").yes(), e.get("devOptional").yes():
		return sbom.ScopeOptional
	}
	return sbom.ScopeRuntime
}

// npmEntry is what an npm, yarn or pnpm entry says of its source.
type npmEntry struct {
	name, version, resolved, integrity, spec string
	bundled                                  bool
	line                                     int
}

// source sets kind, origin, artifacts and problems by the resolved URL, never
// by a marker in the entry.
func (f *file) source(c *sbom.Component, e npmEntry) {
	ds := f.integrity(c, e.line, e.integrity)
	switch {
	case e.resolved == "" && e.bundled:
		c.Kind = sbom.KindBundled
		return
	case isGitURL(e.resolved):
		f.git(c, e.line, e.resolved)
		if len(ds) > 0 {
			c.Artifacts = []trust.Artifact{{Digests: ds}}
		}
		return
	case strings.HasPrefix(e.resolved, "file:"), strings.HasPrefix(e.resolved, "link:"), strings.HasPrefix(e.resolved, "portal:"):
		_, p, _ := strings.Cut(e.resolved, ":")
		c.Kind, c.Origin = sbom.KindPath, strings.Clone(p)
		if strings.HasPrefix(p, "/") || strings.HasPrefix(p, "~") || strings.HasPrefix(p, `\\`) || len(p) > 1 && p[1] == ':' {
			f.flag(c, sbom.ProblemUnpinned, e.line, "comes from a path of the machine, outside of what is scanned")
		}
		if len(ds) > 0 {
			c.Artifacts = []trust.Artifact{{Digests: ds}}
		}
		return
	case e.resolved == "":
		c.Kind = sbom.KindRegistry
	default:
		f.npmURL(c, e)
	}
	if e.resolved != "" || len(ds) > 0 {
		c.Artifacts = []trust.Artifact{{URL: strings.Clone(strings.SplitN(e.resolved, "#", 2)[0]), Digests: ds}}
	}
	f.judgeDigests(c, e.line)
}

// npmURL decides whether a URL is a registry's for this very package. A URL of
// the registry's form that names another package or version contradicts the entry.
func (f *file) npmURL(c *sbom.Component, e npmEntry) {
	u, err := url.Parse(e.resolved)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		c.Kind, c.Origin = sbom.KindURL, strings.Clone(e.resolved)
		f.flag(c, sbom.ProblemMismatch, e.line, "the resolved location is no plain http(s) URL")
		return
	}
	base := e.name[strings.LastIndex(e.name, "/")+1:]
	if before, after, ok := strings.Cut(u.Path, "/-/"); ok && !isURLSpec(e.spec) {
		c.Kind = sbom.KindRegistry
		file := after[strings.LastIndex(after, "/")+1:]
		prefix, found := strings.CutSuffix(before, "/"+e.name)
		version, _, _ := strings.Cut(e.version, "+")
		if !found || file != base+"-"+version+".tgz" && file != base+"-"+e.version+".tgz" {
			f.flag(c, sbom.ProblemMismatch, e.line, fmt.Sprintf("the entry is %s@%s, but its URL is %s", short(e.name), short(e.version), short(e.resolved)))
			return
		}
		c.Registry = u.Scheme + "://" + u.Host + prefix + "/"
		return
	}
	// Registries with other layouts name package and version in the path.
	if !isURLSpec(e.spec) && strings.Contains(u.Path, "/"+e.name+"/") && (strings.Contains(u.Path, "/"+e.version+"/") || strings.HasSuffix(u.Path, "/"+e.version) || strings.HasSuffix(u.Path, base+"-"+e.version+".tgz")) {
		c.Kind, c.Registry = sbom.KindRegistry, u.Scheme+"://"+u.Host+"/"
		return
	}
	c.Kind, c.Origin = sbom.KindURL, strings.Clone(e.resolved)
}

var gitSchemes = []string{"git+", "git:", "git@", "ssh:", "github:", "gitlab:", "bitbucket:", "gist:"}

// isGitURL reports whether a locator means a git repository.
func isGitURL(s string) bool {
	for _, p := range gitSchemes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	u, frag, _ := strings.Cut(s, "#")
	return strings.HasSuffix(u, ".git") || strings.HasPrefix(frag, "commit=") || strings.HasPrefix(s, "http") && isCommit(frag) && strings.Contains(u, ".git")
}

// isCommit reports whether s is a full git object id.
func isCommit(s string) bool {
	_, err := trust.NewDigest(trust.GitCommit, s)
	return err == nil
}

// git sets what a git locator says: repository and commit.
func (f *file) git(c *sbom.Component, line int, locator string) {
	repo, ref, _ := strings.Cut(locator, "#")
	for part := range strings.SplitSeq(ref, "&") {
		if v, ok := strings.CutPrefix(part, "commit="); ok {
			ref = v
			break
		}
	}
	f.gitCommit(c, line, strings.TrimPrefix(repo, "git+"), ref)
}

func (f *file) gitCommit(c *sbom.Component, line int, repo, ref string) {
	c.Kind, c.Origin, c.Commit = sbom.KindGit, strings.Clone(repo), strings.Clone(ref)
	if isCommit(ref) {
		c.Commit, c.Pinned = strings.ToLower(ref), true
		return
	}
	f.flag(c, sbom.ProblemUnpinned, line, "the git dependency is not pinned to a commit")
}

// compareTrees compares the two trees of a version 2 file: npm 6 obeys
// "dependencies", later ones "packages".
func (l *npmLock) compareTrees(pkgs *node, loc string, deps *node, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("dependencies nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	return deps.each(func(name string, d *node) error {
		at := strings.TrimPrefix(loc+"/node_modules/"+name, "/")
		p := pkgs.get(at)
		v := d.get("version").str()
		switch {
		case p == nil:
			l.problem(sbom.ProblemConflict, d.at(), fmt.Sprintf("%s@%s is in the tree for npm 6 only", short(name), short(v)), "write the lock file anew")
		case d.get("integrity").str() != p.get("integrity").str(),
			!strings.Contains(v, ":") && v != p.get("version").str(),
			!strings.Contains(v, ":") && d.get("resolved").str() != p.get("resolved").str():
			l.problem(sbom.ProblemConflict, d.at(), fmt.Sprintf("the two trees of the file disagree on %s", short(at)), "write the lock file anew")
		}
		if p.get("link").yes() { // what a workspace has of its own lies in its folder
			at = p.get("resolved").str()
		}
		return l.compareTrees(pkgs, at, d.get("dependencies"), depth+1)
	})
}

// v1 reads the tree of npm 5 and 6. What is direct stands in package.json only.
func (l *npmLock) v1() error {
	deps := l.doc.get("dependencies")
	if !deps.isObject() {
		return fmt.Errorf("no dependencies, which version 1 demands")
	}
	l.res.Members = []string{"."}
	if b, ok := l.sibling("package.json"); ok {
		if m, err := parseJSON(b, false); err == nil {
			l.direct = map[string]string{}
			for _, field := range npmDependencyFields {
				_ = m.get(field).each(func(name string, spec *node) error {
					l.direct[name] = spec.str()
					return nil
				})
			}
		}
	}
	if name := l.doc.get("name").str(); name != "" {
		if err := l.add(npmID(name, l.doc.get("version").str()), l.doc.get("name").at(), sbom.Component{Kind: sbom.KindWorkspace, Origin: ".", Scope: sbom.ScopeRuntime, Relation: sbom.RelationDirect}); err != nil {
			return err
		}
	}
	return l.tree(deps, 0)
}

func (l *npmLock) tree(deps *node, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("dependencies nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	return deps.each(func(key string, e *node) error {
		if !e.isObject() {
			return fmt.Errorf("line %d: the entry %q is no object", e.at(), short(key))
		}
		line := e.at()
		c := sbom.Component{Scope: npmScope(e)}
		if l.direct != nil {
			c.Relation = sbom.RelationTransitive
			if _, ok := l.direct[key]; ok && depth == 0 {
				c.Relation = sbom.RelationDirect
			}
		}
		name, version, resolved, spec := key, e.get("version").str(), e.get("resolved").str(), ""
		switch {
		case strings.HasPrefix(version, "npm:"):
			name, version = splitNameVersion(strings.TrimPrefix(version, "npm:"))
			c.Alias = key
			l.aliased(&c, line, name)
		case isGitURL(version) || strings.HasPrefix(version, "file:"):
			resolved, version = version, ""
		case isURLSpec(version):
			resolved, spec, version = version, version, ""
		}
		l.source(&c, npmEntry{name: name, version: version, resolved: resolved, integrity: e.get("integrity").str(), bundled: e.get("bundled").yes(), spec: spec, line: line})
		if version == "" && c.Kind == sbom.KindRegistry {
			l.flag(&c, sbom.ProblemUnpinned, line, "the entry has no version")
		}
		if err := l.add(npmID(name, version), line, c); err != nil {
			return err
		}
		return l.tree(e.get("dependencies"), depth+1)
	})
}

// splitNameVersion splits "name@version" and "@scope/name@version".
func splitNameVersion(s string) (name, version string) {
	if i := strings.LastIndex(s, "@"); i > 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}
