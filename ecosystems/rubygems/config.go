package rubygems

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultSource is the public gem server.
const DefaultSource = "https://rubygems.org/"

// MaxConfigFile bounds one configuration file in bytes.
const MaxConfigFile = 1 << 20

// Config is what the user's own configuration says of gem sources.
type Config struct {
	// Default stands for the public source: itself, or its mirror in Bundler's configuration.
	Default string
	// Sources are further sources of ~/.gemrc and of Bundler's configuration.
	Sources []string
	// Credentials are Bundler's, each for its own host only.
	Credentials upstream.Scopes
}

// ConfigFromEnv reads ~/.gemrc (or GEMRC), ~/.bundle/config (or
// BUNDLE_USER_CONFIG) and BUNDLE_* variables: mirrors and credentials. The
// scanned tree's .bundle folder is never read. environ is in the form of os.Environ.
func ConfigFromEnv(getenv func(string) string, environ []string, home string) (Config, error) {
	cfg := Config{Default: DefaultSource}
	gemrc, bundle := getenv("GEMRC"), getenv("BUNDLE_USER_CONFIG")
	if home != "" {
		if gemrc == "" {
			gemrc = filepath.Join(home, ".gemrc")
		}
		if bundle == "" {
			bundle = filepath.Join(home, ".bundle", "config")
		}
	}
	var rc struct {
		Sources []string `yaml:":sources"`
	}
	if err := readYAML(gemrc, &rc); err != nil {
		return Config{}, err
	}
	for _, s := range rc.Sources {
		clean, err := cfg.clean(s)
		if err != nil {
			return Config{}, err
		}
		cfg.Sources = append(cfg.Sources, clean)
	}
	settings := map[string]any{}
	if err := readYAML(bundle, &settings); err != nil {
		return Config{}, err
	}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "BUNDLE_") {
			settings[k] = v
		}
	}
	for k, v := range settings {
		value, ok := v.(string)
		if !ok {
			continue
		}
		name := decodeKey(strings.TrimPrefix(k, "BUNDLE_"))
		if source, ok := strings.CutPrefix(name, "mirror."); ok {
			clean, err := cfg.clean(value)
			if err != nil {
				return Config{}, err
			}
			if strings.TrimSuffix(source, "/")+"/" == DefaultSource {
				cfg.Default = clean
			}
			cfg.Sources = append(cfg.Sources, clean)
			continue
		}
		// BUNDLE_GEMS__EXAMPLE__COM=user:password
		if user, password, ok := strings.Cut(value, ":"); ok && strings.Contains(name, ".") && !strings.ContainsAny(name, "/ ") && !strings.Contains(value, "//") {
			cfg.Credentials = append(cfg.Credentials, upstream.Scope{Host: name, Header: upstream.Basic(user, password)})
		}
	}
	return cfg, nil
}

// decodeKey reverses Bundler's spelling of settings: "__" is ".", "___" is "-".
func decodeKey(k string) string {
	k = strings.ReplaceAll(k, "___", "\x00")
	k = strings.ReplaceAll(k, "__", ".")
	return strings.ToLower(strings.ReplaceAll(k, "\x00", "-"))
}

// clean takes credentials out of a source's URL and ends it with a slash.
func (c *Config) clean(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", errors.New("a source of the user's gem configuration is no usable URL") // it may hold a secret
	}
	if u.User != nil {
		password, _ := u.User.Password()
		c.Credentials = append(c.Credentials, upstream.Scope{Host: u.Host, Header: upstream.Basic(u.User.Username(), password)})
		u.User = nil
	}
	u.RawQuery, u.Fragment = "", ""
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}

func readYAML(path string, v any) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the user's gem configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxConfigFile+1))
	if err != nil {
		return fmt.Errorf("reading the user's gem configuration: %w", err)
	}
	if len(b) > MaxConfigFile {
		return fmt.Errorf("%s is larger than %d bytes", path, MaxConfigFile)
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil
	}
	if err := yaml.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// source returns the source that a lock file names, "" naming the default one.
func (c Config) source(remote string) (string, bool) {
	s := strings.TrimSuffix(remote, "/") + "/"
	if remote == "" || s == DefaultSource || s == c.Default {
		return c.Default, true
	}
	for _, x := range c.Sources {
		if s == x {
			return x, true
		}
	}
	return "", false
}
