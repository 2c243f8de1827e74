package names

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

//go:embed popular/*.txt
var popularFiles embed.FS

// MinDistanceLength is the shortest name, in bytes, that is compared by edit
// distance: below it, half of all names are one edit apart.
const MinDistanceLength = 5

// Kinds of risk, as policies.NameRisk.Kind.
const (
	KindHomoglyph  = "homoglyph"          // the same picture in other characters
	KindTypo       = "look-alike"         // one typing error away
	KindSeparator  = "separator"          // the same letters with other separators
	KindScope      = "scope"              // the scope imitates another scope, or drops it
	KindVersioned  = "version-suffix"     // a known name with a version glued to it
	KindInternal   = "internal-namespace" // an internal name from a public source
	KindAlias      = "alias"              // installed under another, known package's name
	minScopeLength = 4
)

// Index knows the names that are worth imitating. Build one per check; it is
// safe for concurrent use afterwards.
type Index struct {
	types    map[string]*protected // by purl type
	internal []string              // patterns "pkg:npm/@acme/*"
}

// protected are the names of one purl type. The tables that find names by their
// likeness are dear, and made when the first unknown name is looked up: a check
// with nothing new has none.
type protected struct {
	known    map[string]string // lower-case full name → as known
	once     sync.Once
	byShape  map[string][]string // skeleton → names
	byDelete map[string][]string // one-deletion form → names
	scopes   map[string]string   // scope → a package in it
	sorted   []string            // the scopes
}

// NewIndex returns an index of the built-in popular names and of known, the
// packages that the project and the store already use. Internal are package
// patterns (exact, or ending in "*") that must never come from a public registry.
func NewIndex(known []trust.Package, internal []string) (*Index, error) {
	x := &Index{types: map[string]*protected{}}
	entries, err := popularFiles.ReadDir("popular")
	if err != nil {
		return nil, fmt.Errorf("reading the list of popular names: %w", err)
	}
	for _, e := range entries {
		b, err := popularFiles.ReadFile(path.Join("popular", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the list of popular names: %w", err)
		}
		typ := strings.TrimSuffix(e.Name(), ".txt")
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			for _, name := range strings.Fields(line) {
				x.protect(typ, name)
			}
		}
	}
	for _, p := range known {
		x.protect(p.Type, p.QualifiedName())
	}
	for _, pat := range internal {
		if !strings.HasPrefix(pat, "pkg:") || strings.Count(pat, "*") > 1 || strings.Contains(strings.TrimSuffix(pat, "*"), "*") {
			return nil, fmt.Errorf("internal namespace %q: want a package URL without version, with at most one * at its end", pat)
		}
		x.internal = append(x.internal, pat)
	}
	return x, nil
}

func (x *Index) protect(typ, name string) {
	t := x.types[typ]
	if t == nil {
		t = &protected{known: map[string]string{}}
		x.types[typ] = t
	}
	key := strings.ToLower(name)
	if _, ok := t.known[key]; !ok {
		t.known[key] = name
	}
}

// tables makes the tables of likeness, in the order of the names.
func (t *protected) tables() {
	t.byShape, t.byDelete, t.scopes = map[string][]string{}, map[string][]string{}, map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(t.known)) {
		shape := skeleton(key)
		t.byShape[shape] = append(t.byShape[shape], key)
		if s := squash(key); s != shape {
			t.byShape[s] = append(t.byShape[s], key)
		}
		for _, d := range deletions(key) {
			t.byDelete[d] = append(t.byDelete[d], key)
		}
		if scope, _, ok := strings.Cut(key, "/"); ok && strings.HasPrefix(scope, "@") {
			t.scopes[scope] = key
		}
	}
	t.sorted = slices.Sorted(maps.Keys(t.scopes))
}

// Check returns the reasons to doubt the name of a release. Public says whether
// it comes from a public registry. A name that is itself popular or known is
// never a look-alike.
func (x *Index) Check(r trust.Release, public bool) []policies.NameRisk {
	var risks []policies.NameRisk
	p := r.Package
	if public {
		if pat, ok := Internal(x.internal, p); ok {
			risks = append(risks, policies.NameRisk{Kind: KindInternal, Resembles: pat,
				Detail: fmt.Sprintf("%s belongs to the internal namespace %s and must not come from a public registry", p.FullName(), pat)})
		}
	}
	switch p.Type {
	case "deb", "rpm", "apk", "alpm":
		return risks // a distribution gives its names itself, to nobody else
	}
	t := x.types[p.Type]
	if t == nil {
		return risks
	}
	name := strings.ToLower(p.QualifiedName())
	if _, ok := t.known[name]; ok {
		return risks
	}
	t.once.Do(t.tables)
	if kind, like := t.resembles(p.Type, name); like != "" {
		risks = append(risks, policies.NameRisk{Kind: kind, Resembles: like, Detail: detail(kind, p.QualifiedName(), like)})
	}
	return risks
}

// Internal returns the first of the patterns that the package belongs to.
// Patterns are purls without version, exact or with one "*" at the end.
func Internal(patterns []string, p trust.Package) (pattern string, ok bool) {
	for _, pat := range patterns {
		if matches(pat, p.PURL()) {
			return pat, true
		}
	}
	return "", false
}

// CheckAlias doubts a name under which another package is installed: whoever
// reads the code sees the alias, and takes a known name for the known package.
func (x *Index) CheckAlias(r trust.Release, alias string) []policies.NameRisk {
	p := r.Package
	name := strings.ToLower(alias)
	if name == "" || name == strings.ToLower(p.QualifiedName()) || name == strings.ToLower(p.FullName()) {
		return nil
	}
	t := x.types[p.Type]
	if t == nil {
		return nil
	}
	known, ok := t.known[name]
	if !ok {
		return nil
	}
	return []policies.NameRisk{{Kind: KindAlias, Resembles: known,
		Detail: fmt.Sprintf("%s is installed under the name of %s, which is another package", p.FullName(), known)}}
}

func detail(kind, name, like string) string {
	switch kind {
	case KindHomoglyph:
		return fmt.Sprintf("%s looks like the well-known %s but is spelled with other characters", name, like)
	case KindSeparator:
		return fmt.Sprintf("%s differs from the well-known %s only in its separators", name, like)
	case KindScope:
		if !strings.HasPrefix(like, "@") {
			return fmt.Sprintf("the owner of %s imitates that of the well-known %s", name, like)
		}
		return fmt.Sprintf("the scope of %s imitates that of the well-known %s", name, like)
	case KindVersioned:
		return fmt.Sprintf("%s is the well-known %s with a version glued to its name", name, like)
	}
	return fmt.Sprintf("%s is one typing error away from the well-known %s", name, like)
}

// resembles returns the first rule that finds an imitated name.
func (t *protected) resembles(typ, name string) (kind, like string) {
	known, shape := t.known, skeleton(name)
	for _, n := range t.byShape[shape] {
		if n != name && skeleton(n) == shape {
			return KindHomoglyph, known[n]
		}
	}
	if separatorsMatter(typ) {
		s := squash(name)
		for _, n := range append(slices.Clone(t.byShape[s]), known[s]) {
			if n != "" && squash(n) == s && n != name && len(s) >= MinDistanceLength && separatorTrick(name, n) {
				return KindSeparator, known[n]
			}
		}
	}
	if base, ok := versionSuffix(name); ok && (!pathLike(typ) || strings.Contains(name[len(base):], ".")) {
		if n, ok := known[base]; ok {
			return KindVersioned, n
		}
	}
	scope, _, scoped := strings.Cut(name, "/")
	if scoped && strings.HasPrefix(name, "@") {
		if _, ok := t.scopes[scope]; ok {
			return "", "" // whoever owns the scope owns its names
		}
		for _, s := range t.sorted {
			if len(s) > minScopeLength && (skeleton(s) == skeleton(scope) || squash(s) == squash(scope) || (len(s) >= 8 && oneEdit(scope, s) && !digitEdit(scope, s)) ||
				transposed(scope, s) || doubled(scope, s) || plural(scope, s)) {
				return KindScope, known[t.scopes[s]]
			}
		}
		return "", ""
	}
	if typ == "golang" {
		for n := range known {
			if ownerTrick(name, n) {
				return KindScope, known[n]
			}
		}
	}
	if len(name) < MinDistanceLength || pathLike(typ) && !strings.Contains(name, "/") {
		return "", ""
	}
	seen := map[string]bool{}
	for _, d := range append(deletions(name), name) {
		cands := t.byDelete[d]
		if n, ok := known[d]; ok {
			cands = append(slices.Clone(cands), strings.ToLower(n))
		}
		for _, n := range cands {
			if seen[n] || len(n) < MinDistanceLength {
				continue
			}
			seen[n] = true
			if typ == "nuget" && cultures(n, name) {
				continue
			}
			if o := owner(typ, n); o != "" && o == owner(typ, name) {
				continue // whoever owns the path owns its names
			}
			if typo(name, n) {
				return KindTypo, known[n]
			}
		}
	}
	return "", ""
}

// culture is the last part of the name of a NuGet package with translations.
var culture = regexp.MustCompile(`^(.+)\.[a-z]{2,3}(-[a-z0-9]+)*$`)

// cultures reports whether two packages hold translations of one.
func cultures(a, b string) bool {
	x, y := culture.FindStringSubmatch(a), culture.FindStringSubmatch(b)
	return x != nil && y != nil && x[1] == y[1]
}

// owner returns the part of a name that one owner has to himself: the group or
// vendor, and host and owner of a Go path such as "host/owner/name". It is "" where
// there is none: on hosts that map single names, each has an owner of its own.
func owner(typ, name string) string {
	parts := strings.SplitN(name, "/", 3)
	switch {
	case typ == "golang" && len(parts) == 3:
		return parts[0] + "/" + parts[1]
	case (typ == "maven" || typ == "composer") && len(parts) >= 2:
		return parts[0]
	}
	return ""
}

// typo reports whether a is one plausible typing error away from the known b.
// Changed digits (es5/es6), plurals and a doubled distance through separators
// are how honest names differ, and do not count; names below seven bytes count
// only with two neighbours swapped or a letter doubled.
func typo(a, b string) bool {
	if !oneEdit(a, b) || digitEdit(a, b) || plural(a, b) || separatorEdit(a, b) {
		return false
	}
	if len(b) < 7 {
		return transposed(a, b) || doubled(a, b)
	}
	// The first character carries the meaning of short prefixes (e-mail, i18n,
	// preact/react): a changed or added one is another word more often than a typo.
	return a[0] == b[0] || transposed(a, b)
}

// ownerAffixes are what a stranger hangs on an owner's name to get a repository
// of the same name beside it.
var ownerAffixes = []string{"-go", "go-", "-golang", "golang-", "-org", "-io", "-dev", "-official", "-labs", "hq"}

// ownerTrick reports whether a Go module's repository has the name of a known
// one's, at the same host, under the owner's name with an affix: boltdb-go/bolt.
func ownerTrick(name, known string) bool {
	a, b := strings.SplitN(name, "/", 4), strings.SplitN(known, "/", 4)
	if len(a) < 3 || len(b) < 3 || a[0] != b[0] || a[2] != b[2] || a[1] == b[1] {
		return false
	}
	return slices.ContainsFunc(ownerAffixes, func(x string) bool {
		return a[1] == b[1]+x || a[1] == x+b[1] || a[1] == strings.TrimSuffix(b[1], x) && a[1] != b[1]
	})
}

func plural(a, b string) bool { return a+"s" == b || b+"s" == a }

// oneEdit reports a Damerau-Levenshtein distance of exactly one, in bytes.
func oneEdit(a, b string) bool {
	if a == b {
		return false
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return a[i+1:] == b[i+1:] || transposed(a, b)
	}
	return a[i:] == b[i+1:]
}

// transposed reports whether a is b with two neighbours swapped.
func transposed(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// doubled reports whether a is b with one letter typed twice.
func doubled(a, b string) bool {
	if len(a) != len(b)+1 {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	return i > 0 && a[i] == a[i-1] && a[i+1:] == b[i:]
}

func editedByte(a, b string) (byte, byte) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	var x, y byte
	if i < len(a) {
		x = a[i]
	}
	if i < len(b) {
		y = b[i]
	}
	if len(a) > len(b) {
		y = 0
	} else if len(b) > len(a) {
		x = 0
	}
	return x, y
}

func digitEdit(a, b string) bool {
	if transposed(a, b) {
		return false
	}
	x, y := editedByte(a, b)
	return isDigit(x) || isDigit(y)
}

func separatorEdit(a, b string) bool {
	x, y := editedByte(a, b)
	return isSeparator(x) || isSeparator(y)
}

func isDigit(c byte) bool     { return c >= '0' && c <= '9' }
func isSeparator(c byte) bool { return c == '-' || c == '_' || c == '.' || c == '/' }

// deletions are all forms of s with one byte left out: two names at distance one
// share one of them or are one of them.
func deletions(s string) []string {
	if len(s) > 128 {
		return nil
	}
	out := make([]string, 0, len(s))
	for i := range len(s) {
		d := s[:i] + s[i+1:]
		if len(out) == 0 || out[len(out)-1] != d {
			out = append(out, d)
		}
	}
	return out
}

// separatorsMatter reports whether names that differ in separators are
// different packages upstream.
func separatorsMatter(typ string) bool {
	return typ != "pypi" && typ != "golang" && typ != "maven" && typ != "composer"
}

func pathLike(typ string) bool { return typ == "golang" || typ == "maven" || typ == "composer" }

// separatorTrick leaves alone the pairs that honest packages form: scoped names
// against unscoped ones, dots that stand for property paths.
func separatorTrick(a, b string) bool {
	return strings.Contains(a, "/") == strings.Contains(b, "/") && strings.Contains(a, ".") == strings.Contains(b, ".")
}

// squash drops separators.
func squash(s string) string { return separators.Replace(s) }

var (
	separators = strings.NewReplacer("-", "", "_", "", ".", "")
	digraphs   = strings.NewReplacer("rn", "m", "vv", "w")
)

// confusable maps characters to the ASCII that they are drawn like. It is the
// part of Unicode's confusables that package names use in attacks.
var confusable = map[rune]string{
	'0': "o", '1': "l", '|': "l", 'а': "a", 'е': "e", 'о': "o", 'р': "p", 'с': "c", 'у': "y", 'х': "x", 'і': "l", 'ј': "j",
	'ѕ': "s", 'ԁ': "d", 'ɡ': "g", 'ո': "n", 'υ': "u", 'ν': "v", 'ο': "o", 'α': "a", 'ρ': "p", 'τ': "t", 'κ': "k", 'ı': "l",
	'ł': "l", 'ø': "o", 'é': "e", 'è': "e", 'á': "a", 'à': "a", 'í': "l", 'ó': "o", 'ö': "o", 'ü': "u", 'ä': "a", 'ñ': "n", 'i': "l",
}

// skeleton is what a name looks like in a hurry: confusable characters folded,
// "rn" read as "m" and "vv" as "w".
func skeleton(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if f, ok := confusable[r]; ok {
			b.WriteString(f)
		} else if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(r)
		}
	}
	return digraphs.Replace(b.String())
}

// versionSuffix cuts "name-1.2.3", "name_v1.2", "name1.2.3" to the name.
func versionSuffix(name string) (string, bool) {
	i := len(name)
	for i > 0 && (isDigit(name[i-1]) || name[i-1] == '.') {
		i--
	}
	suffix := name[i:]
	if suffix == "" || !isDigit(name[len(name)-1]) {
		return "", false
	}
	base := strings.TrimSuffix(name[:i], "v")
	cut := strings.TrimRight(base, "-_.@")
	// A number alone belongs to many honest names (es6, log4j, sqlite3); behind a
	// separator it poses as a version.
	if !strings.Contains(strings.Trim(suffix, "."), ".") && cut == base {
		return "", false
	}
	return cut, cut != ""
}

func matches(pattern, purl string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(purl, prefix) || strings.HasPrefix(strings.Replace(purl, "%40", "@", 1), prefix)
	}
	return purl == pattern || strings.Replace(purl, "%40", "@", 1) == pattern
}
