package nuget

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate/headgate/ecosystems/strictxml"
	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultSource is the service index of the public registry, which is also what
// its signatures name.
const DefaultSource = "https://api.nuget.org/v3/index.json"

// pinnedCertificates are the SHA-256 fingerprints of the public registry's
// signing certificates: until 2021, until 2024, until 2027.
var pinnedCertificates = []string{
	"0e5f38f57dc1bcc806d8494f4f90fbcedd988b46760709cbeec6f4219aa6157d",
	"5a2901d6ada3d18260b9c6dfe2133c95d74b9eef6ae0e5dc334c8454d1477df4",
	"1f4b311d9acc115c8dc8018b5a49e00fce6da8e2855f9f014ca6f34570bc482d",
}

// MaxConfigFile bounds NuGet.Config in bytes.
const MaxConfigFile = 1 << 20

// Source is a package source of protocol version 3.
type Source struct {
	Name string
	URL  string // of its service index
}

// Repository is a repository whose signatures count.
type Repository struct {
	ServiceIndex string   // as its signatures name it
	Certificates []string // SHA-256 fingerprints, lower-case hex
	Owners       []string // if any, one of them must be among the package's signed owners
}

// Config is what the user's own configuration says of sources and signers.
type Config struct {
	Sources []Source
	// Mapping are the patterns ("*", "Prefix.*" or an id, lower-case) of each
	// source's name; nil if packages are not mapped to sources.
	Mapping map[string][]string
	// Repositories are those of trustedSigners and the public registry's own.
	Repositories []Repository
	// Authors are the fingerprints of author certificates in trustedSigners.
	Authors []string
	// Credentials are the sources', each for its own host and path only.
	Credentials upstream.Scopes
	// Insecure are the hosts of sources that the user wrote with http.
	Insecure []string
	// Notes are settings that headgate does not follow.
	Notes []string
}

type add struct {
	Key      string `xml:"key,attr"`
	Value    string `xml:"value,attr"`
	Protocol string `xml:"protocolVersion,attr"`
}

type certificates []struct {
	Fingerprint string `xml:"fingerprint,attr"`
	Algorithm   string `xml:"hashAlgorithm,attr"`
}

type configFile struct {
	XMLName xml.Name `xml:"configuration"`
	Sources *struct {
		Adds []add `xml:"add"`
	} `xml:"packageSources"`
	Disabled    []add `xml:"disabledPackageSources>add"`
	Credentials struct {
		Sources []struct {
			XMLName xml.Name
			Adds    []add `xml:"add"`
		} `xml:",any"`
	} `xml:"packageSourceCredentials"`
	Mapping []struct {
		Key      string `xml:"key,attr"`
		Packages []struct {
			Pattern string `xml:"pattern,attr"`
		} `xml:"package"`
	} `xml:"packageSourceMapping>packageSource"`
	Repositories []struct {
		ServiceIndex string       `xml:"serviceIndex,attr"`
		Certificates certificates `xml:"certificate"`
		Owners       string       `xml:"owners"`
	} `xml:"trustedSigners>repository"`
	Authors []struct {
		Certificates certificates `xml:"certificate"`
	} `xml:"trustedSigners>author"`
}

// ConfigFromEnv reads the user's ~/.nuget/NuGet/NuGet.Config (or
// ~/.config/NuGet/NuGet.Config) and NuGetPackageSourceCredentials_<name>
// variables. The scanned tree's nuget.config files are never read.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	var f configFile
	if home != "" {
		for _, p := range []string{filepath.Join(home, ".nuget", "NuGet", "NuGet.Config"), filepath.Join(home, ".config", "NuGet", "NuGet.Config")} {
			found, err := readConfig(p, &f)
			if err != nil {
				return Config{}, err
			}
			if found {
				break
			}
		}
	}
	cfg := Config{Repositories: []Repository{{ServiceIndex: DefaultSource, Certificates: slices.Clone(pinnedCertificates)}}}
	if f.Sources == nil {
		cfg.Sources = []Source{{"nuget", DefaultSource}}
	} else {
		disabled := map[string]bool{}
		for _, d := range f.Disabled {
			disabled[strings.ToLower(d.Key)] = strings.EqualFold(d.Value, "true")
		}
		for _, s := range f.Sources.Adds {
			if disabled[strings.ToLower(s.Key)] {
				continue
			}
			value := expand(s.Value, getenv)
			u, err := url.Parse(value)
			if err != nil || u.User != nil {
				return Config{}, fmt.Errorf("source %q of the user's NuGet.Config has no usable URL", s.Key) // it may hold a secret
			}
			switch {
			case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
				cfg.Notes = append(cfg.Notes, fmt.Sprintf("the NuGet source %q is a folder, which headgate does not read", s.Key))
				continue
			case s.Protocol == "2" || !strings.HasSuffix(u.Path, ".json") && s.Protocol != "3":
				cfg.Notes = append(cfg.Notes, fmt.Sprintf("the NuGet source %q has protocol version 2, which headgate does not speak", s.Key))
				continue
			}
			u.Fragment = ""
			cfg.Sources = append(cfg.Sources, Source{s.Key, u.String()})
			if u.Scheme == "http" && !slices.Contains(cfg.Insecure, u.Host) {
				cfg.Insecure = append(cfg.Insecure, u.Host)
			}
		}
	}
	cfg.credentials(f, getenv)
	for _, m := range f.Mapping {
		if cfg.Mapping == nil {
			cfg.Mapping = map[string][]string{}
		}
		for _, p := range m.Packages {
			cfg.Mapping[m.Key] = append(cfg.Mapping[m.Key], strings.ToLower(strings.TrimSpace(p.Pattern)))
		}
	}
	for _, r := range f.Repositories {
		prints, err := r.Certificates.fingerprints()
		if err != nil {
			return Config{}, err
		}
		repo := Repository{ServiceIndex: strings.TrimSpace(r.ServiceIndex), Certificates: prints}
		for o := range strings.SplitSeq(r.Owners, ";") {
			if o = strings.TrimSpace(o); o != "" {
				repo.Owners = append(repo.Owners, o)
			}
		}
		if repo.ServiceIndex == DefaultSource {
			// The user's word on the public registry takes the place of headgate's own.
			cfg.Repositories = slices.DeleteFunc(cfg.Repositories, func(x Repository) bool { return x.ServiceIndex == DefaultSource })
		}
		cfg.Repositories = append(cfg.Repositories, repo)
	}
	for _, a := range f.Authors {
		prints, err := a.Certificates.fingerprints()
		if err != nil {
			return Config{}, err
		}
		cfg.Authors = append(cfg.Authors, prints...)
	}
	return cfg, nil
}

// credentials reads user names and passwords of sources. Passwords that NuGet
// encrypted can be read on the machine that wrote them, by NuGet alone.
func (c *Config) credentials(f configFile, getenv func(string) string) {
	type secret struct{ user, password string }
	secrets := map[string]secret{}
	for _, s := range f.Credentials.Sources {
		var x secret
		name := decodeName(s.XMLName.Local)
		for _, a := range s.Adds {
			switch strings.ToLower(a.Key) {
			case "username":
				x.user = expand(a.Value, getenv)
			case "cleartextpassword":
				x.password = expand(a.Value, getenv)
			case "password":
				c.Notes = append(c.Notes, fmt.Sprintf("the password of the NuGet source %q is encrypted and is not used; ClearTextPassword or .netrc can hold it instead", name))
			}
		}
		secrets[strings.ToLower(name)] = x
	}
	for _, s := range c.Sources {
		x := secrets[strings.ToLower(s.Name)]
		for kv := range strings.SplitSeq(getenv("NuGetPackageSourceCredentials_"+s.Name), ";") {
			k, v, _ := strings.Cut(kv, "=")
			switch strings.ToLower(strings.TrimSpace(k)) {
			case "username":
				x.user = v
			case "password":
				x.password = v
			}
		}
		if x.password == "" {
			continue
		}
		if u, err := url.Parse(s.URL); err == nil {
			// All resources of a source are on its host; their paths differ.
			c.Credentials = append(c.Credentials, upstream.Scope{Host: u.Host, Header: upstream.Basic(x.user, x.password)})
		}
	}
}

func (cs certificates) fingerprints() ([]string, error) {
	var out []string
	for _, c := range cs {
		if c.Algorithm != "" && !strings.EqualFold(c.Algorithm, "SHA256") {
			return nil, fmt.Errorf("trustedSigners of the user's NuGet.Config name a certificate by %.20s; headgate compares SHA256", c.Algorithm)
		}
		p := strings.ToLower(strings.TrimSpace(c.Fingerprint))
		if b, err := hex.DecodeString(p); err != nil || len(b) != 32 {
			return nil, errors.New("trustedSigners of the user's NuGet.Config hold a fingerprint that is no SHA-256")
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, errors.New("trustedSigners of the user's NuGet.Config hold a signer without certificates")
	}
	return out, nil
}

var variable = regexp.MustCompile(`%([A-Za-z0-9_]+)%`)

// expand puts environment variables in, as NuGet does.
func expand(s string, getenv func(string) string) string {
	return variable.ReplaceAllStringFunc(s, func(m string) string {
		if v := getenv(m[1 : len(m)-1]); v != "" {
			return v
		}
		return m
	})
}

var escaped = regexp.MustCompile(`_x([0-9A-Fa-f]{4})_`)

// decodeName reverses the spelling of names as XML elements ("_x0020_").
func decodeName(s string) string {
	return escaped.ReplaceAllStringFunc(s, func(m string) string {
		n, err := strconv.ParseUint(m[2:6], 16, 16)
		if err != nil {
			return m
		}
		return string(rune(n))
	})
}

func readConfig(path string, c *configFile) (bool, error) {
	b, err := upstream.ReadUserFile(path, MaxConfigFile, "the user's NuGet configuration")
	if err != nil || b == nil {
		return false, err
	}
	if err := strictxml.Decode(b, c); err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	return true, nil
}

// candidates are the sources to ask, in order, for a package of a name
// (lower-case) whose lock file names a registry, "" naming none.
func (c Config) candidates(registry, name string) ([]Source, bool) {
	if registry != "" {
		for _, s := range c.Sources {
			if strings.TrimSuffix(s.URL, "/") == strings.TrimSuffix(registry, "/") || strings.EqualFold(s.Name, registry) {
				return []Source{s}, true
			}
		}
		return nil, false
	}
	if c.Mapping == nil {
		return c.Sources, len(c.Sources) > 0
	}
	// The longest pattern wins; several sources may have it.
	best, out := -1, []Source(nil)
	for _, s := range c.Sources {
		for key, patterns := range c.Mapping {
			if !strings.EqualFold(key, s.Name) {
				continue
			}
			for _, p := range patterns {
				prefix, wild := strings.CutSuffix(p, "*")
				n := len(prefix)
				switch {
				case wild && !strings.HasPrefix(name, prefix), !wild && p != name:
					continue
				case !wild:
					n++ // the exact id outweighs a pattern of the same length
				}
				if n > best {
					best, out = n, nil
				}
				if n == best && !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return out, len(out) > 0
}
