package helm

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// MaxConfigFile bounds repositories.yaml in bytes.
const MaxConfigFile = 4 << 20

// Repository is a chart repository by the name that the user gave it.
type Repository struct {
	Name string
	URL  string // with a slash at its end
}

// Config is what the user's own Helm configuration says of repositories. There is
// no public default.
type Config struct {
	Repositories []Repository
	// Credentials are the repositories', each for its own host and path only.
	Credentials upstream.Scopes
	// Insecure are the hosts of repositories that the user wrote with http.
	Insecure []string
	// Notes are settings that headgate does not follow.
	Notes []string
}

// ConfigFromEnv reads repositories.yaml: HELM_REPOSITORY_CONFIG, or that of
// HELM_CONFIG_HOME, XDG_CONFIG_HOME/helm or ~/.config/helm.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	path := getenv("HELM_REPOSITORY_CONFIG")
	switch {
	case path != "":
	case getenv("HELM_CONFIG_HOME") != "":
		path = filepath.Join(getenv("HELM_CONFIG_HOME"), "repositories.yaml")
	case getenv("XDG_CONFIG_HOME") != "":
		path = filepath.Join(getenv("XDG_CONFIG_HOME"), "helm", "repositories.yaml")
	case home != "":
		path = filepath.Join(home, ".config", "helm", "repositories.yaml")
	default:
		return Config{}, nil
	}
	b, err := upstream.ReadUserFile(path, MaxConfigFile, "the user's Helm configuration")
	if err != nil {
		return Config{}, err
	}
	var doc struct {
		Repositories []struct {
			Name     string `yaml:"name"`
			URL      string `yaml:"url"`
			Username string `yaml:"username"`
			Password string `yaml:"password"`
			CA       string `yaml:"caFile"`
			Cert     string `yaml:"certFile"`
			Skip     bool   `yaml:"insecure_skip_tls_verify"`
			PassAll  bool   `yaml:"pass_credentials_all"`
		} `yaml:"repositories"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", path, err)
	}
	var cfg Config
	note := func(name, what string) {
		cfg.Notes = append(cfg.Notes, fmt.Sprintf("%s of the Helm repository %q is not followed", what, name))
	}
	for _, r := range doc.Repositories {
		if strings.HasPrefix(r.URL, "oci://") {
			continue
		}
		base, creds, err := upstream.RegistryURL(r.URL, fmt.Sprintf("the user's Helm configuration (%q)", r.Name))
		if err != nil {
			return Config{}, err
		}
		u, err := url.Parse(base)
		if err != nil {
			return Config{}, fmt.Errorf("repository %q of %s has no usable URL", r.Name, path)
		}
		cfg.Repositories = append(cfg.Repositories, Repository{r.Name, base})
		for _, c := range creds {
			c.Path = strings.TrimSuffix(u.Path, "/")
			cfg.Credentials = append(cfg.Credentials, c)
		}
		if r.Password != "" {
			cfg.Credentials = append(cfg.Credentials, upstream.Scope{Host: u.Host, Path: strings.TrimSuffix(u.Path, "/"), Header: upstream.Basic(r.Username, r.Password)})
		}
		if u.Scheme == "http" && !slices.Contains(cfg.Insecure, u.Host) {
			cfg.Insecure = append(cfg.Insecure, u.Host)
		}
		if r.Skip {
			note(r.Name, "insecure_skip_tls_verify")
		}
		if r.PassAll {
			note(r.Name, "pass_credentials_all")
		}
		if r.CA != "" || r.Cert != "" {
			note(r.Name, "caFile or certFile")
		}
	}
	return cfg, nil
}

// repository returns the repository that a chart's source names by URL, or by
// name as "@name" or "alias:name".
func (c Config) repository(source string) (string, bool) {
	name, byName := strings.CutPrefix(source, "@")
	if !byName {
		name, byName = strings.CutPrefix(source, "alias:")
	}
	for _, r := range c.Repositories {
		if byName && r.Name == name || !byName && strings.TrimSuffix(source, "/")+"/" == r.URL {
			return r.URL, true
		}
	}
	return "", false
}
