package rubygems

import (
	"bytes"
	"fmt"
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
		clean, err := cfg.registry(s)
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
			clean, err := cfg.registry(value)
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

const whose = "the user's gem configuration"

// registry keeps the credentials of a source and returns its URL without them.
func (c *Config) registry(s string) (string, error) {
	u, creds, err := upstream.RegistryURL(s, whose)
	c.Credentials = append(c.Credentials, creds...)
	return u, err
}

func readYAML(path string, v any) error {
	b, err := upstream.ReadUserFile(path, MaxConfigFile, whose)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return err
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
