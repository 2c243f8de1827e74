package trust

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	packageurl "github.com/package-url/packageurl-go"
)

// MaxPURL bounds the length of a package URL in bytes.
const MaxPURL = 4096

// Package is a purl without version, normalised by the rules of its ecosystem:
// two spellings that upstream treats as one package are one Package, and never
// more than that. Packages are comparable; the zero Package is none.
type Package struct {
	Type      string // purl type: npm, golang, pypi, …
	Namespace string // scope, group id, module path prefix, distribution; without outer slashes
	Name      string
	// Qualifiers are those that tell packages apart (repository_url, distro, …),
	// canonical and sorted, "k=v&k=v".
	Qualifiers string
}

// Release is a Package with a version. Releases are comparable.
type Release struct {
	Package Package
	Version string
	// Variant are the qualifiers that tell artifacts of one release apart
	// (arch, classifier, type, platform), canonical and sorted.
	Variant string
	Subpath string
}

// packageQualifiers belong to the identity of the package, all others to the
// variant of the release. Unsigned claims (checksum, download_url, vcs_url) are
// dropped from the identity: they are inputs of checks, never part of a name.
var packageQualifiers = []string{"repository_url", "distro"}

var droppedQualifiers = []string{"checksum", "checksums", "download_url", "vcs_url", "file_name", "upstream", "package-id", "epoch"}

// ParseRelease reads a package URL
// (https://github.com/package-url/purl-spec). The version may be empty.
// Control characters, invalid UTF-8, look-alike separators and unknown escapes
// are errors: a name that could be shown as another is no name.
func ParseRelease(s string) (Release, error) {
	if len(s) > MaxPURL {
		return Release{}, fmt.Errorf("package URL of %d bytes is longer than %d", len(s), MaxPURL)
	}
	if err := checkText(s); err != nil {
		return Release{}, fmt.Errorf("package URL %q: %w", truncate(s), err)
	}
	p, err := packageurl.FromString(s)
	if err != nil {
		return Release{}, fmt.Errorf("package URL %q: %w", truncate(s), err)
	}
	// packageurl-go lower-cases Go module paths, which are case-sensitive
	// upstream; the path is read again from the text.
	namespace, name := p.Namespace, p.Name
	if p.Type == "golang" {
		if ns, n, ok := rawPath(s); ok {
			namespace, name = ns, n
		}
	}
	pkgQ, variant := map[string]string{}, map[string]string{}
	for _, q := range p.Qualifiers {
		k := strings.ToLower(q.Key)
		switch {
		case slices.Contains(droppedQualifiers, k):
		case slices.Contains(packageQualifiers, k):
			pkgQ[k] = q.Value
		default:
			variant[k] = q.Value
		}
	}
	r, err := NewRelease(p.Type, namespace, name, p.Version)
	if err != nil {
		return Release{}, err
	}
	r.Package.Qualifiers = joinQualifiers(pkgQ)
	r.Variant = joinQualifiers(variant)
	r.Subpath = p.Subpath
	return r, nil
}

// rawPath returns the percent-decoded namespace and name of a purl as written.
func rawPath(s string) (namespace, name string, ok bool) {
	s, _, _ = strings.Cut(s, "#")
	s, _, _ = strings.Cut(s, "?")
	_, s, ok = strings.Cut(s, ":")
	if !ok {
		return "", "", false
	}
	_, s, ok = strings.Cut(strings.TrimLeft(s, "/"), "/")
	if !ok {
		return "", "", false
	}
	if i := strings.LastIndexByte(s, '@'); i > strings.LastIndexByte(s, '/') {
		s = s[:i]
	}
	parts := strings.Split(strings.Trim(s, "/"), "/")
	for i, part := range parts {
		d, err := unescape(part)
		if err != nil {
			return "", "", false
		}
		parts[i] = d
	}
	return strings.Join(parts[:len(parts)-1], "/"), parts[len(parts)-1], true
}

var (
	pypiRun     = regexp.MustCompile(`[-_.]+`)
	nugetZeroes = regexp.MustCompile(`^0+([0-9])`)
)

// NewRelease makes a Release from its parts as an ecosystem spells them (not
// percent-encoded) and normalises them. typ is a purl type.
func NewRelease(typ, namespace, name, version string) (Release, error) {
	typ = strings.ToLower(typ)
	namespace = strings.Trim(namespace, "/")
	if typ == "" || name == "" {
		return Release{}, fmt.Errorf("package needs a type and a name, has %q and %q", truncate(typ), truncate(name))
	}
	for _, s := range []string{typ, namespace, name, version} {
		if err := checkText(s); err != nil {
			return Release{}, fmt.Errorf("package %q: %w", truncate(name), err)
		}
	}
	// "pkg:npm/%40scope%2Fname" and "pkg:npm/%40scope/name" are one package.
	switch typ {
	case "npm", "golang", "composer", "github", "githubactions", "gitlab", "bitbucket":
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			namespace, name = strings.TrimPrefix(namespace+"/"+name[:i], "/"), name[i+1:]
		}
		if name == "" {
			return Release{}, fmt.Errorf("package %q has no name behind the last slash", truncate(namespace))
		}
	}
	switch typ {
	case "npm", "pypi", "cargo", "gem", "nuget":
		if strings.ContainsAny(name, "/\\") || strings.Contains(namespace, "..") || name == "" || name == "." || name == ".." {
			return Release{}, fmt.Errorf("package %q: no name of type %s", truncate(strings.Trim(namespace+"/"+name, "/")), typ)
		}
	}
	switch typ {
	case "pypi":
		name = strings.ToLower(pypiRun.ReplaceAllString(name, "-"))
		version = NormalizePyPIVersion(version)
	case "nuget":
		name = strings.ToLower(name)
		version = normalizeNuGetVersion(version)
	case "composer", "github", "githubactions", "bitbucket", "gitlab", "hex", "pub":
		namespace, name = strings.ToLower(namespace), strings.ToLower(name)
	case "deb", "rpm", "apk", "alpm":
		namespace = strings.ToLower(namespace)
		if typ != "rpm" {
			name = strings.ToLower(name)
		}
	case "oci", "docker":
		name = strings.ToLower(name)
	}
	return Release{Package: Package{Type: typ, Namespace: namespace, Name: name}, Version: version}, nil
}

// normalizeNuGetVersion drops a fourth zero, leading zeros and build metadata,
// and lower-cases, as NuGet's client does before it compares.
func normalizeNuGetVersion(v string) string {
	v, _, _ = strings.Cut(v, "+")
	core, pre, hasPre := strings.Cut(v, "-")
	parts := strings.Split(core, ".")
	for i, p := range parts {
		parts[i] = nugetZeroes.ReplaceAllString(p, "$1")
	}
	for len(parts) < 3 && core != "" {
		parts = append(parts, "0")
	}
	if len(parts) == 4 && parts[3] == "0" {
		parts = parts[:3]
	}
	v = strings.Join(parts, ".")
	if hasPre {
		v += "-" + strings.ToLower(pre)
	}
	return v
}

var pep440 = regexp.MustCompile(`^v?(?:([0-9]+)!)?([0-9]+(?:\.[0-9]+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview)[-_.]?([0-9]*))?(?:-([0-9]+)|[-_.]?(post|rev|r)[-_.]?([0-9]*))?(?:[-_.]?(dev)[-_.]?([0-9]*))?(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?$`)

// NormalizePyPIVersion returns the normal form of PEP 440 ("1.0-RC1" → "1.0rc1").
// Text that is no version is returned lower-cased and trimmed; trailing zeros of
// the release segment are kept, as they are part of file names.
func NormalizePyPIVersion(v string) string {
	l := strings.ToLower(strings.TrimSpace(v))
	if len(l) > 256 {
		return l
	}
	m := pep440.FindStringSubmatch(l)
	if m == nil {
		return l
	}
	num := func(s string) string {
		s = strings.TrimLeft(s, "0")
		if s == "" {
			return "0"
		}
		return s
	}
	var b strings.Builder
	if m[1] != "" && num(m[1]) != "0" {
		b.WriteString(num(m[1]) + "!")
	}
	for i, p := range strings.Split(m[2], ".") {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(num(p))
	}
	if m[3] != "" {
		pre := map[string]string{"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
		k := m[3]
		if p, ok := pre[k]; ok {
			k = p
		}
		b.WriteString(k + num(m[4]))
	}
	switch {
	case m[5] != "":
		b.WriteString(".post" + num(m[5]))
	case m[6] != "":
		b.WriteString(".post" + num(m[7]))
	}
	if m[8] != "" {
		b.WriteString(".dev" + num(m[9]))
	}
	if m[10] != "" {
		b.WriteString("+" + strings.NewReplacer("-", ".", "_", ".").Replace(m[10]))
	}
	return b.String()
}

// MaxPart bounds type, namespace, name and version of a release, each, in bytes.
const MaxPart = 4096

// checkText refuses what would let one name look like another or break a
// report: invalid UTF-8, control and format characters, all spaces but none,
// full-width or letter-like compatibility forms of ASCII, and what is longer than
// any name is.
func checkText(s string) error {
	if len(s) > MaxPart {
		return fmt.Errorf("a part of %d bytes, at most %d are read", len(s), MaxPart)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("not valid UTF-8")
	}
	for _, r := range s {
		switch {
		case r < 0x20 || r == 0x7f || unicode.Is(unicode.C, r):
			return fmt.Errorf("contains the control or format character %U", r)
		case unicode.IsSpace(r) || unicode.Is(unicode.Z, r):
			return fmt.Errorf("contains the space character %U", r)
		case r >= 0xff01 && r <= 0xff5e, r == 0x212a, r == 0x212b, r == 0x017f, r == 0x0130, r == 0x0131:
			return fmt.Errorf("contains %U, which looks like or folds to an ASCII character", r)
		}
	}
	return nil
}

func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("bad escape")
		}
		var v byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02x", &v); err != nil {
			return "", err
		}
		b.WriteByte(v)
		i += 2
	}
	return b.String(), nil
}

func escape(s string, keep string) string {
	const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; strings.IndexByte(unreserved, c) >= 0 || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func joinQualifiers(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k, v := range m {
		if v != "" {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for i, k := range keys {
		keys[i] = k + "=" + escape(m[k], ":/")
	}
	return strings.Join(keys, "&")
}

// IsZero reports whether p is no package.
func (p Package) IsZero() bool { return p.Type == "" }

// PURL returns the canonical package URL without version.
func (p Package) PURL() string { return Release{Package: p}.PURL() }

// String returns the canonical package URL.
func (p Package) String() string { return p.PURL() }

// FullName is the name as the ecosystem's own tools show it: "@scope/name",
// "group:artifact", a module path.
func (p Package) FullName() string {
	switch {
	case p.Namespace == "" || p.Type == "deb" || p.Type == "apk" || p.Type == "rpm":
		return p.Name
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

// Qualifier returns the decoded value of a qualifier of the package identity.
func (p Package) Qualifier(key string) string { return qualifier(p.Qualifiers, key) }

// WithQualifier returns p with the identity qualifier set, or removed if value
// is empty.
func (p Package) WithQualifier(key, value string) Package {
	m := splitQualifiers(p.Qualifiers)
	m[key] = value
	p.Qualifiers = joinQualifiers(m)
	return p
}

// Qualifier returns the decoded value of a qualifier of the release's variant
// or of its package.
func (r Release) Qualifier(key string) string {
	if v := qualifier(r.Variant, key); v != "" {
		return v
	}
	return qualifier(r.Package.Qualifiers, key)
}

// WithVariant returns r with the variant qualifier set, or removed if value is
// empty.
func (r Release) WithVariant(key, value string) Release {
	m := splitQualifiers(r.Variant)
	m[key] = value
	r.Variant = joinQualifiers(m)
	return r
}

// PURL returns the canonical package URL: "@" of npm scopes encoded, qualifiers
// sorted. ParseRelease(r.PURL()) == r for every r that ParseRelease returned.
func (r Release) PURL() string {
	if r.Package.Type == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString("pkg:" + r.Package.Type + "/")
	if r.Package.Namespace != "" {
		for part := range strings.SplitSeq(r.Package.Namespace, "/") {
			b.WriteString(escape(part, ":") + "/")
		}
	}
	b.WriteString(escape(r.Package.Name, ":"))
	if r.Version != "" {
		b.WriteString("@" + escape(r.Version, ":"))
	}
	q := r.Package.Qualifiers
	if q != "" && r.Variant != "" {
		all := splitQualifiers(q)
		for k, v := range splitQualifiers(r.Variant) {
			all[k] = v
		}
		q = joinQualifiers(all)
	} else if q == "" {
		q = r.Variant
	}
	if q != "" {
		b.WriteString("?" + q)
	}
	if r.Subpath != "" {
		b.WriteString("#" + escape(r.Subpath, "/:"))
	}
	return b.String()
}

// String returns the canonical package URL.
func (r Release) String() string { return r.PURL() }

// IsZero reports whether r is no release.
func (r Release) IsZero() bool { return r.Package.IsZero() }

// MarshalText writes the canonical package URL.
func (r Release) MarshalText() ([]byte, error) { return []byte(r.PURL()), nil }

// UnmarshalText reads a package URL.
func (r *Release) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = Release{}
		return nil
	}
	v, err := ParseRelease(string(b))
	*r = v
	return err
}

// MarshalText writes the canonical package URL without version.
func (p Package) MarshalText() ([]byte, error) { return []byte(p.PURL()), nil }

// UnmarshalText reads a package URL; one with a version is an error.
func (p *Package) UnmarshalText(b []byte) error {
	r, err := ParseRelease(string(b))
	if err != nil {
		return err
	}
	if r.Version != "" {
		return fmt.Errorf("package URL %q has a version where none belongs", truncate(string(b)))
	}
	*p = r.Package
	return nil
}

func splitQualifiers(q string) map[string]string {
	m := map[string]string{}
	for kv := range strings.SplitSeq(q, "&") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			if d, err := unescape(v); err == nil {
				m[k] = d
			}
		}
	}
	return m
}

func qualifier(q, key string) string {
	if q == "" {
		return ""
	}
	return splitQualifiers(q)[key]
}

// QualifiedName is namespace and name joined by a slash, for all types alike.
func (p Package) QualifiedName() string {
	if p.Namespace == "" {
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}
