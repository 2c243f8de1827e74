package store

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// Scope is what an acceptance is for, in its canonical text:
//
//	pkg:npm/left-pad                     one package
//	pkg:npm/@angular/*                   a namespace, and what is below it
//	pkg:npm/*                            an ecosystem
//	source:https://forge.example/org/*   whatever is built from an organisation's repositories
//	source:https://forge.example/org/x   whatever is built from one repository
//	*                                    everything (unsafe)
//
// A package scope without a distro qualifier covers all distros. A scope covers
// only packages of the registry that its repository_url names, and without one
// only those of the default registry. Make Scopes with ParseScope or
// PackageScope; other text covers nothing.
type Scope string

// MaxScope bounds a scope in bytes.
const MaxScope = 2048

type scopeKind int

const (
	scopeInvalid scopeKind = iota
	scopeAll
	scopeType
	scopeNamespace
	scopePackage
	scopeOrg
	scopeRepo
)

// parsed is a scope taken apart.
type parsed struct {
	kind   scopeKind
	pkg    trust.Package // type, namespace, name and qualifiers as far as the kind has them
	source string        // repository, or organisation without the trailing "/*"
}

// sharedHosts are hosts on which everybody can have a namespace: a scope that
// covers one of them whole accepts strangers.
var sharedHosts = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gopkg.in", "sr.ht", "git.sr.ht", "gitee.com", "dev.azure.com"}

// PackageScope is the scope of exactly one package.
func PackageScope(p trust.Package) Scope {
	purl := p.PURL()
	if head, rest, ok := strings.Cut(purl, "/"); ok && strings.HasPrefix(rest, "%40") {
		purl = head + "/@" + rest[len("%40"):]
	}
	return Scope(purl)
}

// ParseScope checks s and returns it in canonical form. Scopes that cover
// everything, or all of a host that everybody can register on, are refused:
// see ParseScopeUnsafe.
func ParseScope(s string) (Scope, error) { return parseScope(s, false) }

// ParseScopeUnsafe is ParseScope that also takes the scopes which accept strangers.
func ParseScopeUnsafe(s string) (Scope, error) { return parseScope(s, true) }

func parseScope(s string, unsafe bool) (Scope, error) {
	p, err := splitScope(s)
	if err != nil {
		return "", err
	}
	wide := p.kind == scopeAll ||
		p.kind == scopeNamespace && slices.Contains(sharedHosts, strings.ToLower(p.pkg.Namespace)) ||
		p.kind == scopeOrg && strings.Count(p.source, "/") < 3
	if wide && !unsafe {
		return "", fmt.Errorf("scope %q covers packages of people who have nothing to do with each other: name a package, a namespace, an ecosystem or an organisation, or ask for the unsafe scope", short(s))
	}
	return p.canonical(), nil
}

func (p parsed) canonical() Scope {
	q := ""
	if p.pkg.Qualifiers != "" {
		q = "?" + p.pkg.Qualifiers
	}
	switch p.kind {
	case scopeAll:
		return "*"
	case scopeType:
		return Scope("pkg:" + p.pkg.Type + "/*" + q)
	case scopeNamespace:
		n := p.pkg
		n.Name, n.Qualifiers = "x", ""
		return PackageScope(n)[:len(PackageScope(n))-1] + Scope("*"+q)
	case scopePackage:
		return PackageScope(p.pkg)
	case scopeOrg:
		return Scope("source:" + p.source + "/*")
	case scopeRepo:
		return Scope("source:" + p.source)
	}
	return ""
}

func splitScope(s string) (parsed, error) {
	if len(s) > MaxScope {
		return parsed{}, fmt.Errorf("scope of %d bytes is longer than %d", len(s), MaxScope)
	}
	if s == "*" || s == "pkg:*" {
		return parsed{kind: scopeAll}, nil
	}
	if src, ok := strings.CutPrefix(s, "source:"); ok {
		return splitSource(s, src)
	}
	rest, ok := strings.CutPrefix(s, "pkg:")
	if !ok {
		return parsed{}, fmt.Errorf("scope %q starts with neither \"pkg:\" nor \"source:\"", short(s))
	}
	rest, query, hasQuery := strings.Cut(rest, "?")
	kind := scopePackage
	if head, ok := strings.CutSuffix(rest, "/*"); ok {
		kind = scopeNamespace
		if !strings.Contains(head, "/") {
			kind = scopeType
		}
		rest = head + "/x" // a name, so that the purl parser judges the rest
	}
	if strings.Contains(rest, "*") {
		return parsed{}, fmt.Errorf("scope %q has a \"*\" that is not its whole last part", short(s))
	}
	// People write "@angular", purls have "%40angular".
	parts := strings.Split(rest, "/")
	for i := range parts[1:] {
		if p := parts[i+1]; strings.HasPrefix(p, "@") {
			parts[i+1] = "%40" + p[1:]
		}
	}
	purl := "pkg:" + strings.Join(parts, "/")
	if hasQuery {
		purl += "?" + query
	}
	r, err := trust.ParseRelease(purl)
	if err != nil {
		return parsed{}, fmt.Errorf("scope %q: %w", short(s), err)
	}
	if r.Version != "" || r.Variant != "" || r.Subpath != "" {
		return parsed{}, fmt.Errorf("scope %q names a version, variant or subpath: scopes are for packages", short(s))
	}
	if kind != scopePackage {
		r.Package.Name = ""
	}
	return parsed{kind: kind, pkg: r.Package}, nil
}

func splitSource(s, src string) (parsed, error) {
	kind := scopeRepo
	if head, ok := strings.CutSuffix(src, "/*"); ok {
		src, kind = head, scopeOrg
	}
	if strings.ContainsAny(src, "*%?#@\\ ") {
		return parsed{}, fmt.Errorf("scope %q: source is https://HOST/ORGANISATION/* or https://HOST/ORGANISATION/REPOSITORY", short(s))
	}
	u, err := url.Parse(src)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.HasSuffix(u.Path, "/") || strings.Contains(u.Path, "//") ||
		strings.Contains(u.Path, "/.") {
		return parsed{}, fmt.Errorf("scope %q: source is https://HOST/ORGANISATION/* or https://HOST/ORGANISATION/REPOSITORY", short(s))
	}
	if kind == scopeRepo && strings.Count(u.Path, "/") < 2 {
		return parsed{}, fmt.Errorf("scope %q names an organisation: write %q", short(s), short(s)+"/*")
	}
	if _, err := trust.NewRelease("source", "", strings.ReplaceAll(src, "/", "-"), ""); err != nil {
		return parsed{}, fmt.Errorf("scope %q: %w", short(s), err)
	}
	return parsed{kind: kind, source: foldSource(src)}, nil
}

// foldSource lower-cases the host, and the path for hosts that ignore case, as
// trust.Signer.SourceRepository has it.
func foldSource(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return s
	}
	host := strings.ToLower(u.Host)
	path := u.Path
	if host == "github.com" || host == "gitlab.com" || host == "bitbucket.org" {
		path = strings.ToLower(path)
	}
	return "https://" + host + strings.TrimSuffix(path, ".git")
}

// Covers reports whether the scope covers the package when signer vouches for
// it. Text that is no scope covers nothing.
func (s Scope) Covers(p trust.Package, signer trust.Signer) bool {
	sc, err := splitScope(string(s))
	if err != nil || p.IsZero() {
		return false
	}
	return sc.covers(p, signer)
}

func (sc parsed) covers(p trust.Package, signer trust.Signer) bool {
	switch sc.kind {
	case scopeAll:
		return true
	case scopeOrg, scopeRepo:
		if signer.Kind != trust.SignerSigstore || signer.SourceRepository == "" {
			return false
		}
		repo := foldSource(signer.SourceRepository)
		if sc.kind == scopeRepo {
			return repo == sc.source
		}
		return strings.HasPrefix(repo, sc.source+"/")
	case scopeType:
		return p.Type == sc.pkg.Type && sameRegistry(sc.pkg, p)
	case scopeNamespace:
		return p.Type == sc.pkg.Type && sameRegistry(sc.pkg, p) &&
			(p.Namespace == sc.pkg.Namespace || strings.HasPrefix(p.Namespace, sc.pkg.Namespace+"/"))
	case scopePackage:
		return p.Type == sc.pkg.Type && p.Namespace == sc.pkg.Namespace && p.Name == sc.pkg.Name && sameRegistry(sc.pkg, p)
	}
	return false
}

func sameRegistry(scope, p trust.Package) bool {
	d := scope.Qualifier("distro")
	return scope.Qualifier("repository_url") == p.Qualifier("repository_url") && (d == "" || d == p.Qualifier("distro"))
}

// contains reports whether everything that inner covers is covered by outer.
func (outer parsed) contains(inner parsed) bool {
	if outer.kind == scopeAll {
		return true
	}
	switch inner.kind {
	case scopeAll:
		return false
	case scopeOrg, scopeRepo:
		switch outer.kind {
		case scopeRepo:
			return inner.kind == scopeRepo && inner.source == outer.source
		case scopeOrg:
			return inner.kind == scopeOrg && inner.source == outer.source || strings.HasPrefix(inner.source, outer.source+"/")
		}
		return false
	}
	if outer.kind == scopeOrg || outer.kind == scopeRepo {
		return false
	}
	if outer.pkg.Type != inner.pkg.Type || !sameRegistry(outer.pkg, inner.pkg) {
		return false
	}
	switch outer.kind {
	case scopeType:
		return true
	case scopeNamespace:
		return inner.kind != scopeType && (inner.pkg.Namespace == outer.pkg.Namespace || strings.HasPrefix(inner.pkg.Namespace, outer.pkg.Namespace+"/"))
	case scopePackage:
		return inner.kind == scopePackage && inner.pkg.Namespace == outer.pkg.Namespace && inner.pkg.Name == outer.pkg.Name
	}
	return false
}

// short shortens text from outside for a message.
func short(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}

// key is what the store joins on to find the scopes that can cover a package.
func (s Scope) key() string {
	sc, err := splitScope(string(s))
	if err != nil {
		return ""
	}
	registry := sc.pkg.Qualifier("repository_url")
	switch sc.kind {
	case scopeType:
		return scopeKey(sc.pkg.Type, "*", "", registry)
	case scopeNamespace:
		return scopeKey(sc.pkg.Type, sc.pkg.Namespace+"/*", "", registry)
	case scopePackage:
		return scopeKey(sc.pkg.Type, sc.pkg.Namespace, sc.pkg.Name, registry)
	}
	return ""
}

func scopeKey(typ, namespace, name, registry string) string {
	return typ + "\n" + namespace + "\n" + name + "\n" + registry
}

// scopeKeys are the keys of all scopes that can cover p, other than "".
func scopeKeys(p trust.Package) []string {
	registry := p.Qualifier("repository_url")
	keys := []string{scopeKey(p.Type, "*", "", registry), scopeKey(p.Type, p.Namespace, p.Name, registry)}
	for i := range len(p.Namespace) {
		if p.Namespace[i] == '/' {
			keys = append(keys, scopeKey(p.Type, p.Namespace[:i]+"/*", "", registry))
		}
	}
	if p.Namespace != "" {
		keys = append(keys, scopeKey(p.Type, p.Namespace+"/*", "", registry))
	}
	return keys
}
