package advisories

import (
	"fmt"
	"strings"

	"github.com/google/osv-scalibr/semantic"

	"github.com/headgate/headgate/trust"
)

// byType maps purl types to OSV ecosystems where the type alone decides.
var byType = map[string]string{
	"npm": "npm", "golang": "Go", "pypi": "PyPI", "cargo": "crates.io", "maven": "Maven", "nuget": "NuGet", "gem": "RubyGems",
	"composer": "Packagist", "hex": "Hex", "pub": "Pub", "swift": "SwiftURL", "hackage": "Hackage", "cran": "CRAN",
	"conan": "ConanCenter", "julia": "Julia", "githubactions": "GitHub Actions",
}

// byDistribution maps purl type and namespace to OSV ecosystems.
var byDistribution = map[[2]string]string{
	{"deb", "debian"}: "Debian", {"deb", "ubuntu"}: "Ubuntu", {"apk", "alpine"}: "Alpine", {"apk", "wolfi"}: "Wolfi", {"apk", "chainguard"}: "Chainguard",
	{"rpm", "redhat"}: "Red Hat", {"rpm", "rocky"}: "Rocky Linux", {"rpm", "rockylinux"}: "Rocky Linux", {"rpm", "almalinux"}: "AlmaLinux",
	{"rpm", "opensuse"}: "openSUSE", {"rpm", "suse"}: "SUSE", {"rpm", "openeuler"}: "openEuler", {"rpm", "mageia"}: "Mageia",
}

// ErrEcosystem says that OSV has no ecosystem for a package.
var ErrEcosystem = fmt.Errorf("no OSV ecosystem is known for the package")

// EcosystemOf returns the base OSV ecosystem of a package ("Debian", not
// "Debian:12"). A package of none is an error, not a pass.
func EcosystemOf(p trust.Package) (string, error) {
	if e, ok := byType[p.Type]; ok {
		return e, nil
	}
	if e, ok := byDistribution[[2]string{p.Type, p.Namespace}]; ok {
		return e, nil
	}
	return "", fmt.Errorf("%s: %w", p, ErrEcosystem)
}

// Ecosystems lists the base ecosystems that can be looked up.
func Ecosystems() []string {
	var out []string
	for _, e := range byType {
		out = append(out, e)
	}
	for k, e := range byDistribution {
		if k[1] != "rockylinux" {
			out = append(out, e)
		}
	}
	return out
}

func known(base string) bool {
	for _, e := range Ecosystems() {
		if e == base {
			return true
		}
	}
	return false
}

// split takes "Debian:12" apart.
func split(ecosystem string) (base, suffix string) {
	base, suffix, _ = strings.Cut(ecosystem, ":")
	return base, suffix
}

// Name returns the name that OSV has for a package.
func Name(p trust.Package) string { return p.FullName() }

// keyOf normalises an OSV name by the rules of its ecosystem, as releases are:
// two spellings that upstream treats as one package have one key.
func keyOf(base, name string) string {
	typ, namespace := "", ""
	for t, e := range byType {
		if e == base {
			typ = t
		}
	}
	if typ == "" {
		return name
	}
	n := name
	sep := "/"
	if typ == "maven" {
		sep = ":"
	}
	if i := strings.LastIndex(n, sep); i >= 0 {
		namespace, n = n[:i], n[i+1:]
	}
	r, err := trust.NewRelease(typ, namespace, n, "")
	if err != nil {
		return name
	}
	return r.Package.FullName()
}

// lookup is a release as OSV knows it.
type lookup struct {
	base, suffix string
	key, version string
}

func lookupOf(r trust.Release) (lookup, error) {
	base, err := EcosystemOf(r.Package)
	if err != nil {
		return lookup{}, err
	}
	l := lookup{base: base, key: r.Package.FullName(), version: r.Version}
	switch r.Package.Type {
	case "golang":
		l.goToolchain()
	case "deb", "apk", "rpm":
		l.suffix = distroRelease(r.Qualifier("distro"))
	}
	return l, nil
}

// goToolchain maps the ways to write the Go distribution to OSV's packages.
func (l *lookup) goToolchain() {
	switch l.key {
	case "golang.org/toolchain":
		// v0.0.1-go1.25.0.linux-amd64
		_, v, ok := strings.Cut(l.version, "-go")
		if !ok {
			return
		}
		l.key, l.version = "toolchain", v
		if i := strings.LastIndex(v, "."); i > 0 && strings.Contains(v[i:], "-") {
			l.version = v[:i]
		}
	case "stdlib", "toolchain", "go":
		if l.key == "go" {
			l.key = "toolchain"
		}
		l.version = strings.TrimPrefix(l.version, "go")
	}
}

var codenames = map[string]string{"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}

// distroRelease reads "debian-12", "bookworm", "alpine-3.20.1" as OSV's suffix.
func distroRelease(distro string) string {
	if distro == "" {
		return ""
	}
	if v, ok := codenames[distro]; ok {
		return v
	}
	name, v, ok := strings.Cut(distro, "-")
	if !ok {
		return ""
	}
	if c, ok := codenames[v]; ok {
		return c
	}
	if name == "alpine" {
		parts := strings.SplitN(v, ".", 3)
		if len(parts) >= 2 {
			return "v" + parts[0] + "." + parts[1]
		}
	}
	return v
}

// suffixApplies reports whether a record for a distribution release concerns
// the release that is looked up. What does not say applies.
func suffixApplies(record, lookup string) bool {
	if record == "" || lookup == "" {
		return true
	}
	return record == lookup || strings.HasPrefix(record, lookup+":") || strings.HasPrefix(lookup, record+".") || strings.HasPrefix(record, lookup+".")
}

// compare orders two versions of an ecosystem. semantic panics on nothing here:
// ecosystems that it lacks are mapped or refused.
func compare(base, a, b string) (int, error) {
	switch base {
	case "GitHub Actions":
		// Tags are semantic versions with a "v"; semantic has no rules of its own for them.
		base, a, b = "npm", strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	case "Go":
		a, b = strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
	}
	v, err := semantic.Parse(a, base)
	if err != nil {
		return 0, fmt.Errorf("version %q of %s: %w", clip(a), base, err)
	}
	c, err := v.CompareStr(b)
	if err != nil {
		return 0, fmt.Errorf("version %q of %s: %w", clip(b), base, err)
	}
	return c, nil
}

func clip(s string) string {
	const n = 80
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
