package lockfile

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseYarnLock reads yarn.lock of Yarn 1 and of berry (2 and later).
func parseYarnLock(f *file) error {
	if strings.Contains(string(f.content), "\n__metadata:") || strings.HasPrefix(string(f.content), "__metadata:") {
		return parseYarnBerry(f)
	}
	return parseYarnClassic(f)
}

// yarnEntry is one entry of Yarn's own format.
type yarnEntry struct {
	patterns []string
	fields   map[string]string
	deps     map[string]string
	optional map[string]string
	line     int
}

// parseYarnClassic reads the format of Yarn 1, which looks like YAML and is not.
func parseYarnClassic(f *file) error {
	entries, err := yarnEntries(f.content)
	if err != nil {
		return err
	}
	f.res.Version = "1"
	f.res.Members = []string{"."}
	manifest := readNpmManifest(f, "package.json")
	if len(entries) == 0 && (manifest == nil || manifest.declared() > 0 || len(f.content) == 0) {
		return fmt.Errorf("no entries")
	}
	byPattern := map[string]string{}
	for i, e := range entries {
		for _, p := range e.patterns {
			if _, dup := byPattern[p]; dup {
				return fmt.Errorf("line %d: the pattern %q stands twice", e.line, short(p))
			}
			byPattern[p] = strconv.Itoa(i)
		}
	}
	g := graph{edges: map[string][]edge{}}
	for i, e := range entries {
		k := strconv.Itoa(i)
		for n, s := range e.deps {
			if to, ok := byPattern[n+"@"+s]; ok {
				g.edges[k] = append(g.edges[k], edge{to, false})
			}
		}
		for n, s := range e.optional {
			if to, ok := byPattern[n+"@"+s]; ok {
				g.edges[k] = append(g.edges[k], edge{to, true})
			}
		}
	}
	known := manifest != nil && len(manifest.workspaces) == 0
	if known {
		manifest.roots(&g, func(name, spec string) (string, bool) {
			to, ok := byPattern[name+"@"+spec]
			return to, ok
		})
	}
	scopes, direct := g.scopes(), g.direct()
	for i, e := range entries {
		var c sbom.Component
		if known {
			place(&c, strconv.Itoa(i), scopes, direct)
		}
		key, spec := splitPattern(e.patterns[0])
		name, version, resolved := key, e.fields["version"], e.fields["resolved"]
		if real, ok := strings.CutPrefix(spec, "npm:"); ok {
			if n, _ := splitNameVersion(real); n != key {
				name, c.Alias = n, key
				f.aliased(&c, e.line, name)
			}
		}
		for _, p := range e.patterns[1:] {
			k, s := splitPattern(p)
			if n, _ := splitNameVersion(strings.TrimPrefix(s, "npm:")); k != key && !(strings.HasPrefix(s, "npm:") && n == name) {
				f.flag(&c, sbom.ProblemMismatch, e.line, fmt.Sprintf("one entry stands for %s and %s", short(key), short(k)))
			}
		}
		if version == "" {
			return fmt.Errorf("line %d: the entry has no version", e.line)
		}
		integrity := e.fields["integrity"]
		if integrity == "" && !isGitURL(resolved) {
			// Before integrity there was the SHA-1 behind the URL.
			if _, frag, ok := strings.Cut(resolved, "#"); ok && len(frag) == 40 {
				if d, err := trust.NewDigest(trust.SHA1, frag); err == nil {
					integrity = d.SRI()
				}
			}
		}
		if resolved == "" && (strings.HasPrefix(spec, "file:") || strings.HasPrefix(spec, "link:") || strings.HasPrefix(spec, ".")) {
			resolved = spec
			if !strings.Contains(resolved, ":") {
				resolved = "file:" + resolved
			}
		}
		if !isURLSpec(spec) {
			spec = ""
		}
		f.source(&c, npmEntry{name: name, version: version, resolved: resolved, integrity: integrity, spec: spec, line: e.line})
		if err := f.add(npmID(name, version), e.line, c); err != nil {
			return err
		}
	}
	return nil
}

// splitPattern splits "name@specifier".
func splitPattern(p string) (name, spec string) {
	if p == "" {
		return "", ""
	}
	if i := strings.IndexByte(p[1:], '@'); i >= 0 {
		return p[:i+1], p[i+2:]
	}
	return p, ""
}

func yarnEntries(content []byte) ([]yarnEntry, error) {
	var entries []yarnEntry
	var e *yarnEntry
	var block map[string]string
	num := 0
	for line := range strings.Lines(string(content)) {
		num++
		line = strings.TrimRight(line, "\r\n")
		text := strings.TrimLeft(line, " ")
		if text == "" || text[0] == '#' {
			continue
		}
		if len(entries) > MaxEntries {
			return nil, fmt.Errorf("more than %d entries: %w", MaxEntries, ErrTooLarge)
		}
		switch indent := len(line) - len(text); indent {
		case 0:
			head, ok := strings.CutSuffix(text, ":")
			if !ok {
				return nil, fmt.Errorf("line %d: expected an entry", num)
			}
			patterns, err := yarnWords(head, ',')
			if err != nil || len(patterns) == 0 {
				return nil, fmt.Errorf("line %d: malformed patterns", num)
			}
			entries = append(entries, yarnEntry{patterns: patterns, fields: map[string]string{}, line: num})
			e, block = &entries[len(entries)-1], nil
		case 2, 4:
			if e == nil || indent == 4 && block == nil {
				return nil, fmt.Errorf("line %d: field without entry", num)
			}
			if name, ok := strings.CutSuffix(text, ":"); ok && indent == 2 {
				block = map[string]string{}
				switch name {
				case "dependencies":
					e.deps = block
				case "optionalDependencies":
					e.optional = block
				}
				continue
			}
			kv, err := yarnWords(text, ' ')
			if err != nil || len(kv) != 2 {
				return nil, fmt.Errorf("line %d: expected a field and its value", num)
			}
			to := block
			if indent == 2 {
				to, block = e.fields, nil
			}
			if _, dup := to[kv[0]]; dup {
				return nil, fmt.Errorf("line %d: duplicate field %q", num, short(kv[0]))
			}
			to[kv[0]] = kv[1]
		default:
			return nil, fmt.Errorf("line %d: unexpected indentation", num)
		}
	}
	return entries, nil
}

// yarnWords splits at a separator outside quotes and unquotes the words.
func yarnWords(s string, sep byte) ([]string, error) {
	var words []string
	for s = strings.TrimSpace(s); s != ""; {
		var w string
		if s[0] == '"' {
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				return nil, err
			}
			if w, err = strconv.Unquote(q); err != nil {
				return nil, err
			}
			s = s[len(q):]
			if s != "" && s[0] != sep {
				return nil, fmt.Errorf("text after a quoted word")
			}
			s = strings.TrimPrefix(s, string(sep))
		} else {
			w, s, _ = strings.Cut(s, string(sep))
		}
		words = append(words, strings.TrimSpace(w))
		s = strings.TrimSpace(s)
	}
	return words, nil
}

// npmManifest is what a package.json asks for.
type npmManifest struct {
	name, version          string
	runtime, optional, dev map[string]string
	workspaces             []string
}

func readNpmManifest(f *file, name string) *npmManifest {
	b, ok := f.sibling(name)
	if !ok {
		return nil
	}
	doc, err := parseJSON(b, false)
	if err != nil || !doc.isObject() {
		return nil
	}
	return newNpmManifest(doc)
}

func newNpmManifest(doc *node) *npmManifest {
	m := &npmManifest{name: doc.get("name").str(), version: doc.get("version").str()}
	read := func(field string) map[string]string {
		out := map[string]string{}
		_ = doc.get(field).each(func(k string, v *node) error {
			out[k] = v.str()
			return nil
		})
		return out
	}
	m.runtime, m.optional, m.dev = read("dependencies"), read("optionalDependencies"), read("devDependencies")
	w := doc.get("workspaces")
	if w.isObject() {
		w = w.get("packages")
	}
	for _, p := range w.list() {
		m.workspaces = append(m.workspaces, p.str())
	}
	return m
}

func (m *npmManifest) declared() int { return len(m.runtime) + len(m.optional) + len(m.dev) }

// roots adds the manifest's dependencies to the graph's roots.
func (m *npmManifest) roots(g *graph, resolve func(name, spec string) (string, bool)) {
	for _, s := range []struct {
		from map[string]string
		to   *[]string
	}{{m.runtime, &g.runtime}, {m.optional, &g.optional}, {m.dev, &g.dev}} {
		for n, spec := range s.from {
			if _, both := m.optional[n]; both && s.to == &g.runtime {
				continue // npm repeats optional dependencies among the others
			}
			if to, ok := resolve(n, spec); ok {
				*s.to = append(*s.to, to)
			}
		}
	}
}

// parseYarnBerry reads yarn.lock of Yarn 2 and later: YAML whose checksums are of
// Yarn's own archives.
func parseYarnBerry(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	f.res.Version = doc.get("__metadata").get("version").scalar()
	if f.res.Version == "" {
		return fmt.Errorf("no __metadata.version: %w", ErrUnsupported)
	}
	byPattern := map[string]string{}
	entries := 0
	err = doc.each(func(key string, e *node) error {
		if key == "__metadata" {
			return nil
		}
		if !e.isObject() || e.get("resolution").str() == "" {
			return fmt.Errorf("line %d: the entry %q has no resolution", e.at(), short(key))
		}
		entries++
		for p := range strings.SplitSeq(key, ", ") {
			if _, dup := byPattern[p]; dup {
				return fmt.Errorf("line %d: the pattern %q stands twice", e.at(), short(p))
			}
			byPattern[p] = key
		}
		return nil
	})
	if err != nil {
		return err
	}
	if entries == 0 {
		return fmt.Errorf("no entries")
	}
	resolve := func(name, spec string) (string, bool) {
		for _, p := range []string{name + "@" + spec, name + "@npm:" + spec} {
			if k, ok := byPattern[p]; ok {
				return k, true
			}
		}
		return "", false
	}
	g := graph{edges: map[string][]edge{}}
	_ = doc.each(func(key string, e *node) error {
		_, locator := splitPattern(e.get("resolution").str())
		dir, member := strings.CutPrefix(locator, "workspace:")
		var m *npmManifest
		if member {
			f.res.Members = append(f.res.Members, path.Clean(dir))
			m = readNpmManifest(f, path.Join(dir, "package.json"))
		}
		meta := e.get("dependenciesMeta")
		return e.get("dependencies").each(func(name string, d *node) error {
			to, ok := resolve(name, d.scalar())
			if !ok {
				return nil
			}
			optional := meta.get(name).get("optional").yes()
			if !member {
				g.edges[key] = append(g.edges[key], edge{to, optional})
				return nil
			}
			switch {
			case m != nil && m.dev[name] != "" && m.runtime[name] == "":
				g.dev = append(g.dev, to)
			case optional:
				g.optional = append(g.optional, to)
			default:
				g.runtime = append(g.runtime, to)
			}
			return nil
		})
	})
	scopes, direct := g.scopes(), g.direct()
	return doc.each(func(key string, e *node) error {
		if key == "__metadata" {
			return nil
		}
		var c sbom.Component
		place(&c, key, scopes, direct)
		return f.yarnBerryEntry(key, e, c)
	})
}

func (f *file) yarnBerryEntry(key string, e *node, c sbom.Component) error {
	line := e.at()
	name, locator := splitPattern(e.get("resolution").str())
	version := e.get("version").scalar()
	if asked, _ := splitPattern(strings.SplitN(key, ", ", 2)[0]); asked != name && asked != "" {
		c.Alias = asked
		f.aliased(&c, line, name)
	}
	if sum := e.get("checksum").scalar(); sum != "" {
		_, hex, ok := strings.Cut(sum, "/")
		if !ok {
			hex = sum
		}
		d, err := trust.NewDigest(trust.YarnCache, hex)
		if err != nil {
			f.flag(&c, sbom.ProblemNoDigest, line, "the checksum cannot be read: "+err.Error())
		} else {
			c.Artifacts = []trust.Artifact{{Digests: trust.Digests{d}}}
		}
	}
	for _, field := range []string{"resolved", "integrity"} {
		if e.get(field) != nil {
			f.flag(&c, sbom.ProblemMismatch, line, "the entry has "+field+", which only Yarn 1 reads: the two would install different packages")
		}
	}
	scheme, rest, _ := strings.Cut(locator, ":")
	switch {
	case scheme == "npm":
		v, params, _ := strings.Cut(rest, "::")
		if v != version {
			f.flag(&c, sbom.ProblemMismatch, line, fmt.Sprintf("the version is %s, the resolution %s", short(version), short(v)))
		}
		q, err := url.ParseQuery(params)
		if err != nil || len(q["__archiveUrl"]) > 1 {
			// Yarn reads it all the same, and may fetch from a URL that is not seen here.
			c.Kind = sbom.KindUnknown
			f.flag(&c, sbom.ProblemMismatch, line, "the parameters of the resolution cannot be read without doubt: "+short(params))
		} else if q.Get("__archiveUrl") != "" {
			checksum := c.Artifacts
			c.Artifacts = nil
			f.npmURL(&c, npmEntry{name: name, version: version, resolved: q.Get("__archiveUrl"), line: line})
			c.Artifacts = []trust.Artifact{{URL: q.Get("__archiveUrl")}}
			if len(checksum) > 0 {
				c.Artifacts[0].Digests = checksum[0].Digests
			}
		}
		if len(c.Artifacts) == 0 || len(c.Artifacts[0].Digests) == 0 {
			// Packages for other platforms have no checksum until they are fetched.
			f.judgeDigests(&c, line)
		}
	case scheme == "workspace":
		c.Kind, c.Origin, c.Relation, c.Scope = sbom.KindWorkspace, path.Clean(rest), sbom.RelationDirect, sbom.ScopeRuntime
		if version == "0.0.0-use.local" {
			version = ""
			if m := readNpmManifest(f, path.Join(path.Clean(rest), "package.json")); m != nil {
				version = m.version
			}
		}
	case scheme == "patch":
		c.Kind, c.Origin = sbom.KindPath, locator
	case scheme == "link" || scheme == "portal" || scheme == "file" || scheme == "exec":
		p, _, _ := strings.Cut(rest, "::")
		c.Kind, c.Origin = sbom.KindPath, strings.TrimSuffix(p, "#")
		if version == "0.0.0-use.local" {
			version = ""
		}
	case isGitURL(locator):
		f.git(&c, line, locator)
	case scheme == "http" || scheme == "https":
		c.Kind, c.Origin = sbom.KindURL, locator
		if len(c.Artifacts) > 0 {
			c.Artifacts[0].URL = locator
		} else {
			c.Artifacts = []trust.Artifact{{URL: locator}}
		}
		f.judgeDigests(&c, line)
	default:
		c.Kind = sbom.KindUnknown
		f.flag(&c, sbom.ProblemUnsupported, line, "the resolution "+short(locator)+" is of an unknown kind")
	}
	return f.add(npmID(name, version), line, c)
}
