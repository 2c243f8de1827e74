package pypi

import (
	"bufio"
	"bytes"
	"path/filepath"
	"strings"

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

// ConfigFromEnv reads pip.conf of the user (PIP_CONFIG_FILE,
// $XDG_CONFIG_HOME/pip/pip.conf, ~/.pip/pip.conf) and PIP_INDEX_URL,
// PIP_EXTRA_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX_URL, UV_INDEX. The scanned
// tree's files are never read.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	var index string
	var extra []string
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
				v = u // uv's NAME=URL
			}
			extra = append(extra, v)
		}
	}
	if index == "" {
		index = DefaultIndex
	}
	cfg := Config{}
	var err error
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
