package debian

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// The public archives. Debian keeps its security updates in an archive of their
// own, and Ubuntu its architectures beside amd64 and i386.
const (
	debianHost   = "https://deb.debian.org"
	ubuntuHost   = "https://archive.ubuntu.com"
	ubuntuPorts  = "https://ports.ubuntu.com"
	pathDebian   = "/debian/"
	pathSecurity = "/debian-security/"
	pathUbuntu   = "/ubuntu/"
	pathPorts    = "/ubuntu-ports/"
)

// Variables of the environment with the user's own mirrors.
const (
	EnvDebian   = "HEADGATE_DEBIAN_ARCHIVE"
	EnvSecurity = "HEADGATE_DEBIAN_SECURITY_ARCHIVE"
	EnvUbuntu   = "HEADGATE_UBUNTU_ARCHIVE"
	EnvPorts    = "HEADGATE_UBUNTU_PORTS_ARCHIVE"
	// EnvSnapshots names states of archives, as snapshot services serve them: URLs
	// with a time in their path, separated by blanks or commas.
	EnvSnapshots = "HEADGATE_DEBIAN_SNAPSHOTS"
	// EnvApt is the folder of the user's apt configuration; /etc/apt if unset, none
	// if it is "off".
	EnvApt = "HEADGATE_APT_DIR"
)

// aptDir is where apt's own configuration is.
const aptDir = "/etc/apt"

// MaxSnapshots is how many states of archives are asked besides the current one.
const MaxSnapshots = 16

// Keyrings that the distributions' own packages install.
const (
	debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	ubuntuKeyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
)

// Config is where the archives are and which keyring files the user has.
type Config struct {
	// Debian, Security, Ubuntu and Ports are base URLs, which end with a slash: the
	// folder that holds "dists" and "pool". Empty ones are the public archives.
	Debian, Security, Ubuntu, Ports string
	// Keyrings are files with archive keys by distribution ("debian", "ubuntu").
	// Files that do not exist are left out.
	Keyrings map[string]string
	// Snapshots are asked for what the archives do not list any more.
	Snapshots []Snapshot
	// Mirrors are base URLs by suite, from the user's apt sources.
	Mirrors map[string]string
	// Foreign are the archives of others that the user's apt sources name together
	// with the keys that may sign them.
	Foreign []Foreign
	// Insecure are the hosts that the user's apt sources reach by plain http.
	Insecure []string
}

// Snapshot is an archive as it was at a time.
type Snapshot struct {
	Base string // with a slash at its end
	At   time.Time
}

// Foreign is a suite of an archive that belongs to no distribution.
type Foreign struct {
	Base, Suite string
	keys        keyFiles
}

// ConfigFromEnv reads the user's mirrors from the environment and names the
// keyrings of the system that headgate runs on. The scanned tree and the
// scanned image have no say in either.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	cfg := Config{Keyrings: map[string]string{"debian": debianKeyring, "ubuntu": ubuntuKeyring}}
	for name, to := range map[string]*string{EnvDebian: &cfg.Debian, EnvSecurity: &cfg.Security, EnvUbuntu: &cfg.Ubuntu, EnvPorts: &cfg.Ports} {
		v := getenv(name)
		if v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return Config{}, fmt.Errorf("%s is no http(s) URL; correct or unset it", name)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return Config{}, fmt.Errorf("%s holds a user, query or fragment; put credentials into .netrc", name)
		}
		*to = v
	}
	for _, s := range strings.FieldsFunc(getenv(EnvSnapshots), func(r rune) bool { return r == ',' || r == ' ' }) {
		snap, ok := snapshotOf(s)
		if !ok {
			return Config{}, fmt.Errorf("%s: %.200q is no http(s) URL with a time such as /20260131T000000Z/ at its end; correct it", EnvSnapshots, redacted(s))
		}
		cfg.Snapshots = append(cfg.Snapshots, snap)
	}
	if len(cfg.Snapshots) > MaxSnapshots {
		return Config{}, fmt.Errorf("%s names %d snapshots, at most %d are asked", EnvSnapshots, len(cfg.Snapshots), MaxSnapshots)
	}
	dir := getenv(EnvApt)
	if dir == "" {
		dir = aptDir
	}
	if dir != "off" {
		cfg.readApt(dir)
	}
	return cfg.withDefaults(), nil
}

// redacted is a URL without what may be a secret.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(not shown)"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

var snapshotTime = regexp.MustCompile(`/([0-9]{8}T[0-9]{6}Z)/?$`)

// snapshotOf reads the URL of an archive at a time.
func snapshotOf(s string) (Snapshot, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Snapshot{}, false
	}
	m := snapshotTime.FindStringSubmatch(u.Path)
	if m == nil {
		return Snapshot{}, false
	}
	at, err := time.Parse("20060102T150405Z", m[1])
	if err != nil {
		return Snapshot{}, false
	}
	return Snapshot{strings.TrimSuffix(u.String(), "/") + "/", at}, true
}

func (c Config) withDefaults() Config {
	for to, v := range map[*string]string{&c.Debian: debianHost + pathDebian, &c.Security: debianHost + pathSecurity, &c.Ubuntu: ubuntuHost + pathUbuntu, &c.Ports: ubuntuPorts + pathPorts} {
		if *to == "" {
			*to = v
		}
		*to = strings.TrimSuffix(*to, "/") + "/"
	}
	return c
}

// codenames are the releases by distribution and version, as the "distro"
// qualifier of package URLs names them.
var codenames = map[string]map[string]string{
	"debian": {"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky", "unstable": "sid"},
	"ubuntu": {
		"18.04": "bionic", "20.04": "focal", "22.04": "jammy", "24.04": "noble", "24.10": "oracular",
		"25.04": "plucky", "25.10": "questing", "26.04": "resolute",
	},
}

// codename reads a "distro" qualifier: "debian-12", "debian-12.5", "bookworm",
// "ubuntu-22.04".
func codename(distribution, distro string) (string, error) {
	names, ok := codenames[distribution]
	if !ok {
		return "", fmt.Errorf("headgate knows the archives of Debian and Ubuntu, not of %.40q", distribution)
	}
	if distro == "" {
		return "", fmt.Errorf("the source does not say which release of %s the package is from (the purl's distro qualifier)", distribution)
	}
	v := strings.TrimPrefix(strings.ToLower(distro), distribution+"-")
	if distribution == "debian" {
		v, _, _ = strings.Cut(v, ".") // a point release is a state of the same suite
	}
	if n, ok := names[v]; ok {
		return n, nil
	}
	for _, n := range names {
		if n == v {
			return n, nil
		}
	}
	return "", fmt.Errorf("headgate does not know the release %.40q of %s", distro, distribution)
}

// suite is one signed index: a folder under "dists" of an archive.
type suite struct {
	distribution string
	base         string
	name         string
	at           time.Time // of a snapshot; zero for the archive as it is
	keys         keyFiles  // of an archive that belongs to no distribution
}

// foreign reports whether the archive is of somebody else than the distribution.
func (s suite) foreign() bool { return !s.keys.empty() }

// describe names the suite for a person.
func (s suite) describe() string {
	switch {
	case s.foreign():
		return s.name + " of " + s.base
	case !s.at.IsZero():
		return s.name + " as of " + s.at.Format(time.DateOnly)
	}
	return s.name
}

// suites are where packages of a release may come from, in the order in which
// they are asked.
func (c Config) suites(distribution, codename, arch, version string) []suite {
	one := func(base, name string) suite {
		if m := c.Mirrors[name]; m != "" {
			base = m
		}
		return suite{distribution: distribution, base: base, name: name}
	}
	if distribution == "ubuntu" {
		base := c.Ubuntu
		if arch != "amd64" && arch != "i386" {
			base = c.Ports
		}
		return []suite{one(base, codename), one(base, codename+"-updates"), one(base, codename+"-security")}
	}
	if codename == "sid" {
		return []suite{one(c.Debian, codename)}
	}
	out := []suite{one(c.Debian, codename), one(c.Debian, codename+"-updates"), one(c.Security, codename+"-security")}
	if backport(version) {
		out = append(out, one(c.Debian, codename+"-backports"))
	}
	return out
}

func backport(version string) bool { return strings.Contains(version, "~bpo") }

// foreign are the user's own archives that may hold packages for a release.
func (c Config) foreign(distribution string) []suite {
	var out []suite
	for _, f := range c.Foreign {
		out = append(out, suite{distribution: distribution, base: f.Base, name: f.Suite, keys: f.keys})
	}
	return out
}

// snapshots are the states of the distribution's archives that the user named.
// The archive's own folder tells whose it is: a snapshot service keeps
// "debian", "debian-security" and "ubuntu" apart.
func (c Config) snapshots(distribution, codename, version string) []suite {
	var out []suite
	for _, s := range c.Snapshots {
		parts := strings.Split(strings.Trim(s.Base, "/"), "/")
		names := []string{codename, codename + "-updates"}
		if backport(version) {
			names = append(names, codename+"-backports")
		}
		switch archive := parts[len(parts)-2]; {
		case archive == "debian-security" && distribution == "debian":
			names = []string{codename + "-security"}
		case archive == "ubuntu" && distribution == "ubuntu":
			names = append(names, codename+"-security")
		case archive != distribution:
			continue
		}
		for _, n := range names {
			out = append(out, suite{distribution: distribution, base: s.Base, name: n, at: s.At})
		}
	}
	return out
}
