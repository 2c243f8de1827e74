package pypi

import (
	"bufio"
	"bytes"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultIndex is the public index.
const DefaultIndex = "https://pypi.org/simple/"

// MaxConfigFile bounds one configuration file in bytes.
const MaxConfigFile = 1 << 20

// Config is what the user's own configuration says of indexes.
type Config struct {
	// Index stands for the public index: itself, or the mirror that index-url names.
	Index string
	// Extra are further indexes. They are asked only for what a lock file says comes
	// from them: the highest version over all indexes is how names are stolen.
	Extra []string
	// Credentials were part of the indexes' URLs.
	Credentials upstream.Scopes
}

// ConfigFromEnv reads uv.toml of the user (UV_CONFIG_FILE,
// $XDG_CONFIG_HOME/uv/uv.toml), pip.conf of the user (PIP_CONFIG_FILE,
// $XDG_CONFIG_HOME/pip/pip.conf, ~/.pip/pip.conf) and PIP_INDEX_URL,
// PIP_EXTRA_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX_URL, UV_INDEX. Names of uv's
// indexes have their UV_INDEX_<NAME>_USERNAME and _PASSWORD. The scanned tree's
// files are never read.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	index, extra, err := readUV(getenv, home)
	if err != nil {
		return Config{}, err
	}
	files := []string{getenv("PIP_CONFIG_FILE")}
	if files[0] == "" {
		files = nil
		if home != "" {
			xdg := getenv("XDG_CONFIG_HOME")
			if xdg == "" {
				xdg = filepath.Join(home, ".config")
			}
			files = []string{filepath.Join(home, ".pip", "pip.conf"), filepath.Join(xdg, "pip", "pip.conf")}
		}
	}
	for _, f := range files {
		i, e, err := readPipConf(f)
		if err != nil {
			return Config{}, err
		}
		if i != "" {
			index = i
		}
		extra = append(extra, e...)
	}
	for _, k := range []string{"UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"} {
		if v := getenv(k); v != "" {
			index = v
		}
	}
	for _, k := range []string{"PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX"} {
		for v := range strings.FieldsSeq(getenv(k)) {
			if name, u, ok := strings.Cut(v, "="); ok && !strings.Contains(name, ":") {
				v = withCredentials(getenv, name, u) // uv's NAME=URL
			}
			extra = append(extra, v)
		}
	}
	if index == "" {
		index = DefaultIndex
	}
	cfg := Config{}
	if cfg.Index, err = cfg.registry(index); err != nil {
		return Config{}, err
	}
	for _, e := range extra {
		c, err := cfg.registry(e)
		if err != nil {
			return Config{}, err
		}
		cfg.Extra = append(cfg.Extra, c)
	}
	return cfg, nil
}

const whose = "the user's pip configuration"

// registry keeps the credentials of an index and returns its URL without them.
func (c *Config) registry(s string) (string, error) {
	u, creds, err := upstream.RegistryURL(s, whose)
	c.Credentials = append(c.Credentials, creds...)
	return u, err
}

// mirrors reports whether an index stands for the public one.
func (c Config) mirrors(index string) bool { return index == c.Index }

// readUV reads the user's uv.toml: the default index, and the others.
func readUV(getenv func(string) string, home string) (index string, extra []string, err error) {
	file := getenv("UV_CONFIG_FILE")
	if file == "" {
		dir := getenv("XDG_CONFIG_HOME")
		switch {
		case dir != "":
		case home != "":
			dir = filepath.Join(home, ".config")
		default:
			return "", nil, nil
		}
		file = filepath.Join(dir, "uv", "uv.toml")
	}
	const name = "the user's uv configuration"
	b, err := upstream.ReadUserFile(file, MaxConfigFile, name)
	if err != nil || b == nil {
		return "", nil, err
	}
	type urls struct {
		IndexURL string   `toml:"index-url"`
		Extra    []string `toml:"extra-index-url"`
	}
	var doc struct {
		urls
		Pip     urls `toml:"pip"`
		Indexes []struct {
			Name    string `toml:"name"`
			URL     string `toml:"url"`
			Default bool   `toml:"default"`
		} `toml:"index"`
	}
	if _, err := toml.Decode(string(b), &doc); err != nil {
		return "", nil, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	for _, u := range []urls{doc.Pip, doc.urls} {
		if u.IndexURL != "" {
			index = u.IndexURL
		}
		extra = append(extra, u.Extra...)
	}
	for _, i := range doc.Indexes {
		u := withCredentials(getenv, i.Name, i.URL)
		if i.Default {
			index = u
		} else {
			extra = append(extra, u)
		}
	}
	return index, extra, nil
}

var notEnv = regexp.MustCompile(`[^A-Z0-9]`)

// withCredentials puts the credentials that the environment has for one of uv's
// indexes into its URL, from where they go to its host alone.
func withCredentials(getenv func(string) string, name, u string) string {
	key := "UV_INDEX_" + notEnv.ReplaceAllString(strings.ToUpper(name), "_")
	user, password := getenv(key+"_USERNAME"), getenv(key+"_PASSWORD")
	p, err := url.Parse(u)
	if name == "" || user == "" && password == "" || err != nil || p.User != nil {
		return u
	}
	p.User = url.UserPassword(user, password)
	return p.String()
}

// readPipConf reads index-url and extra-index-url of the sections that apply to
// downloads.
func readPipConf(path string) (index string, extra []string, err error) {
	b, err := upstream.ReadUserFile(path, MaxConfigFile, whose)
	if err != nil {
		return "", nil, err
	}
	section, key := "", ""
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		line := s.Text()
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			continue
		case trimmed[0] == '[':
			section, key = strings.Trim(trimmed, "[]"), ""
			continue
		case line[0] != ' ' && line[0] != '\t':
			k, v, _ := strings.Cut(trimmed, "=")
			key, trimmed = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(k)), "_", "-"), strings.TrimSpace(v)
		}
		if section != "global" && section != "install" && section != "download" {
			continue
		}
		switch key {
		case "index-url":
			if trimmed != "" {
				index = trimmed
			}
		case "extra-index-url":
			extra = append(extra, strings.Fields(trimmed)...)
		}
	}
	return index, extra, s.Err()
}

// index returns the index that a lock file names; "" names the default one. The
// public index's name in a lock file stands for the configured default.
func (c Config) index(registry string) (string, bool) {
	s := strings.TrimSuffix(registry, "/") + "/"
	if registry == "" || s == DefaultIndex || s == c.Index {
		return c.Index, true
	}
	for _, e := range c.Extra {
		if s == e {
			return e, true
		}
	}
	return "", false
}
