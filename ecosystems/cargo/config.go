package cargo

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultIndex is the sparse index of the public registry.
const DefaultIndex = "https://index.crates.io/"

// defaultGitIndex is how lock files name the public registry, whatever protocol
// Cargo used to read its index.
const defaultGitIndex = "https://github.com/rust-lang/crates.io-index"

// MaxConfigFile bounds config.toml and credentials.toml in bytes.
const MaxConfigFile = 1 << 20

// Config is what the user's own configuration says of registries.
type Config struct {
	// Default is the sparse index that stands for the public registry: itself, or
	// the mirror that source replacement names.
	Default string
	// Registries are further sparse indexes by name.
	Registries map[string]string
	// Credentials are the tokens of those registries, each for its own host only.
	Credentials upstream.Scopes
}

type configFile struct {
	Registries map[string]struct {
		Index string `toml:"index"`
		Token string `toml:"token"`
	} `toml:"registries"`
	Source map[string]struct {
		ReplaceWith string `toml:"replace-with"`
		Registry    string `toml:"registry"`
	} `toml:"source"`
}

// ConfigFromEnv reads $CARGO_HOME (or ~/.cargo) config.toml and
// credentials.toml, and CARGO_REGISTRIES_<NAME>_INDEX and _TOKEN. environ is in
// the form of os.Environ. The scanned tree's .cargo folder is never read.
func ConfigFromEnv(getenv func(string) string, environ []string, home string) (Config, error) {
	cfg := Config{Default: DefaultIndex, Registries: map[string]string{}}
	dir := getenv("CARGO_HOME")
	if dir == "" && home != "" {
		dir = filepath.Join(home, ".cargo")
	}
	tokens := map[string]string{}
	var source configFile
	if dir != "" {
		for _, name := range []string{"config.toml", "credentials.toml"} {
			var f configFile
			if err := readTOML(filepath.Join(dir, name), &f); err != nil {
				return Config{}, err
			}
			for n, r := range f.Registries {
				if r.Index != "" {
					cfg.Registries[n] = r.Index
				}
				if r.Token != "" {
					tokens[n] = r.Token
				}
			}
			if f.Source != nil {
				source.Source = f.Source
			}
		}
	}
	for _, kv := range environ {
		k, v, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(k, "CARGO_REGISTRIES_")
		if !ok {
			continue
		}
		if n, ok := strings.CutSuffix(rest, "_INDEX"); ok {
			cfg.Registries[envName(n)] = v
		} else if n, ok := strings.CutSuffix(rest, "_TOKEN"); ok {
			tokens[envName(n)] = v
		}
	}
	for n, index := range cfg.Registries {
		clean, err := sparse(index)
		if err != nil {
			return Config{}, fmt.Errorf("registry %q of the user's cargo configuration: %w", n, err)
		}
		cfg.Registries[n] = clean
	}
	// Source replacement is followed one step at a time; a circle is an error.
	next := source.Source["crates-io"].ReplaceWith
	for range len(source.Source) + 1 {
		s := source.Source[next]
		if next == "" {
			break
		}
		if own, ok := cfg.Registries[next]; ok && s.Registry == "" {
			cfg.Default = own // one of [registries], which has an index of its own
		}
		if s.Registry != "" {
			clean, err := sparse(s.Registry)
			if err != nil {
				return Config{}, fmt.Errorf("source %q of the user's cargo configuration: %w", next, err)
			}
			cfg.Default = clean
		}
		next = s.ReplaceWith
	}
	if next != "" {
		return Config{}, fmt.Errorf("source replacement in the user's cargo configuration runs in a circle at %q", next)
	}
	for n, token := range tokens {
		index, ok := cfg.Registries[n]
		if !ok {
			continue
		}
		u, err := url.Parse(index)
		if err != nil {
			return Config{}, fmt.Errorf("registry %q of the user's cargo configuration: %w", n, err)
		}
		// Cargo sends the token bare, for the registry's whole host.
		cfg.Credentials = append(cfg.Credentials, upstream.Scope{Host: u.Host, Header: token})
	}
	return cfg, nil
}

// envName is the registry's name as an environment variable spells it, in the
// spelling that configuration files mostly use.
func envName(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

func readTOML(path string, v any) error {
	b, err := upstream.ReadUserFile(path, MaxConfigFile, "the user's cargo configuration")
	if err != nil {
		return err
	}
	if err := toml.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// sparse returns the URL of a sparse index with a slash at its end. Git indexes
// other than the public one cannot be asked for one crate.
func sparse(index string) (string, error) {
	s := strings.TrimPrefix(index, "sparse+")
	s = strings.TrimPrefix(s, "registry+")
	if strings.TrimSuffix(s, "/") == defaultGitIndex {
		return DefaultIndex, nil
	}
	if s == index {
		return "", fmt.Errorf("%q is no sparse index; headgate reads sparse indexes only (sparse+https://…)", index)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%q is no usable URL", index)
	}
	return strings.TrimSuffix(s, "/") + "/", nil
}

// index returns the sparse index that a lock file's source names, and false if
// the user's configuration does not know it.
func (c Config) index(source string) (string, bool) {
	s := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(source, "registry+"), "sparse+"), "/")
	if s == "" || s == defaultGitIndex || s+"/" == DefaultIndex || s+"/" == c.Default {
		return c.Default, true
	}
	for _, r := range c.Registries {
		if s+"/" == r {
			return r, true
		}
	}
	return "", false
}
