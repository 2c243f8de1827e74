package debian

import (
	"fmt"
	"net/url"
	"strings"
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
)

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
	return cfg.withDefaults(), nil
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
}

// suites are where packages of a release may come from, in the order in which
// they are asked.
func (c Config) suites(distribution, codename, arch, version string) []suite {
	if distribution == "ubuntu" {
		base := c.Ubuntu
		if arch != "amd64" && arch != "i386" {
			base = c.Ports
		}
		return []suite{{distribution, base, codename}, {distribution, base, codename + "-updates"}, {distribution, base, codename + "-security"}}
	}
	if codename == "sid" {
		return []suite{{distribution, c.Debian, codename}}
	}
	out := []suite{{distribution, c.Debian, codename}, {distribution, c.Debian, codename + "-updates"}, {distribution, c.Security, codename + "-security"}}
	if strings.Contains(version, "~bpo") {
		out = append(out, suite{distribution, c.Debian, codename + "-backports"})
	}
	return out
}
