package npm

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultRegistry is the public npm registry.
const DefaultRegistry = "https://registry.npmjs.org/"

// MaxNPMRC bounds an .npmrc file in bytes.
const MaxNPMRC = 1 << 20

// YarnRegistry is the same registry under the name that Yarn asks it by and
// writes into lock files.
const YarnRegistry = "https://registry.yarnpkg.com/"

// Config says which registries serve which packages. It comes from the user's
// own files and environment, never from the scanned tree.
type Config struct {
	// Registry serves packages without a scope, and scopes without an own registry.
	Registry string
	// Scopes maps "@scope" to the registry that serves it.
	Scopes map[string]string
	// Public is the registry that npm's pinned keys are for; DefaultRegistry if empty.
	Public string
	// Mirrors are registries that the user declares to serve the public registry's
	// packages, unaltered: the public registry's keys count for them.
	Mirrors []string
	// Credentials are for the registries; each for its own host and path alone.
	Credentials upstream.Scopes
	// Insecure are hosts ("host:port") of registries that the user wrote with http.
	Insecure []string
}

// ConfigFromEnv reads what npm itself would read outside of a project: the
// environment (npm_config_*), the user's .npmrc and the global one if the
// environment names it. A file that is missing is empty; one that cannot be read is an error.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	env := func(name string) string {
		if v := getenv("npm_config_" + name); v != "" {
			return v
		}
		return getenv("NPM_CONFIG_" + strings.ToUpper(name))
	}
	settings := map[string]string{}
	user := env("userconfig")
	if user == "" && home != "" {
		user = filepath.Join(home, ".npmrc")
	}
	global := env("globalconfig")
	if p := getenv("PREFIX"); global == "" && p != "" {
		global = filepath.Join(p, "etc", "npmrc")
	}
	for _, file := range []string{global, user} { // the later one wins
		if file == "" {
			continue
		}
		b, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Config{}, fmt.Errorf("reading npm configuration: %w", err)
		}
		if err := parseNPMRC(b, getenv, settings); err != nil {
			return Config{}, fmt.Errorf("reading npm configuration %s: %w", file, err)
		}
	}
	if r := env("registry"); r != "" {
		settings["registry"] = r
	}
	return newConfig(settings)
}

func readFile(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", file)
	}
	if st.Size() > MaxNPMRC {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, MaxNPMRC)
	}
	return os.ReadFile(file)
}

var variable = regexp.MustCompile(`\$\{([^}?]+)(\?)?\}`)

// parseNPMRC reads npm's ini dialect into settings; environment variables are
// expanded as npm does it.
func parseNPMRC(b []byte, getenv func(string) string, settings map[string]string) error {
	if len(b) > MaxNPMRC {
		return fmt.Errorf("larger than %d bytes", MaxNPMRC)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 64<<10)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' || line[0] == ';' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		expand := func(s string) string {
			s = strings.Trim(strings.TrimSpace(s), `"'`)
			return variable.ReplaceAllStringFunc(s, func(m string) string {
				g := variable.FindStringSubmatch(m)
				if v := getenv(g[1]); v != "" || g[2] != "" {
					return v
				}
				return m
			})
		}
		settings[expand(key)] = expand(value)
	}
	return sc.Err()
}

func newConfig(settings map[string]string) (Config, error) {
	cfg := Config{Registry: DefaultRegistry, Public: DefaultRegistry, Scopes: map[string]string{}}
	add := func(raw string) (string, error) {
		u, base, err := registryURL(raw)
		if err != nil {
			return "", err
		}
		if u.Scheme == "http" {
			cfg.Insecure = append(cfg.Insecure, u.Host)
		}
		return base, nil
	}
	type auth struct{ token, basic, user, password string }
	auths := map[string]*auth{}
	var err error
	for k, v := range settings {
		switch {
		case k == "registry":
			if cfg.Registry, err = add(v); err != nil {
				return Config{}, err
			}
		case strings.HasPrefix(k, "@") && strings.HasSuffix(k, ":registry"):
			if cfg.Scopes[strings.TrimSuffix(k, ":registry")], err = add(v); err != nil {
				return Config{}, err
			}
		case strings.HasPrefix(k, "//"):
			i := strings.LastIndex(k, ":")
			if i < 0 || strings.Contains(v, "${") { // an unset variable is no secret
				continue
			}
			a := auths[k[:i]]
			if a == nil {
				a = &auth{}
				auths[k[:i]] = a
			}
			switch k[i+1:] {
			case "_authToken":
				a.token = v
			case "_auth":
				a.basic = v
			case "username":
				a.user = v
			case "_password":
				if p, err := base64.StdEncoding.DecodeString(v); err == nil {
					a.password = string(p)
				}
			}
		}
	}
	for where, a := range auths {
		host, dir, _ := strings.Cut(strings.TrimPrefix(where, "//"), "/")
		s := upstream.Scope{Host: strings.ToLower(host), Path: strings.TrimSuffix(dir, "/")}
		switch {
		case a.token != "":
			s.Header = upstream.Bearer(a.token)
		case a.basic != "":
			s.Header = "Basic " + a.basic
		case a.user != "" && a.password != "":
			s.Header = upstream.Basic(a.user, a.password)
		default:
			continue
		}
		cfg.Credentials = append(cfg.Credentials, s)
	}
	slices.SortFunc(cfg.Credentials, func(a, b upstream.Scope) int { return strings.Compare(a.Host+"/"+a.Path, b.Host+"/"+b.Path) })
	return cfg, nil
}

// registryURL checks a registry's base URL and gives it its final slash.
func registryURL(s string) (*url.URL, string, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", fmt.Errorf("registry %q is no http(s) URL without credentials", clip(s))
	}
	u.Host = strings.ToLower(u.Host)
	return u, u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/") + "/", nil
}

// registry returns the base URL of the registry that serves the scope
// ("@scope" or ""), with a final slash.
func (c Config) registry(scope string) string {
	if r, ok := c.Scopes[scope]; ok && scope != "" {
		return r
	}
	return c.Registry
}

// magic reports whether a lock file's URL means "the registry that is configured":
// npm and Yarn write their default's name, whatever they were configured to ask.
func magic(u *url.URL) bool {
	if u.Scheme != "https" {
		return false
	}
	host := strings.ToLower(u.Host)
	return host == hostOf(DefaultRegistry) || host == hostOf(YarnRegistry)
}

func hostOf(base string) string {
	_, host, _ := strings.Cut(base, "://")
	return strings.TrimSuffix(host, "/")
}

// mirrored returns the path of a lock file's URL below a declared mirror of the
// public registry.
func (c Config) mirrored(u *url.URL) (rel string, ok bool) {
	for _, m := range c.Mirrors {
		if b, err := url.Parse(m); err == nil {
			if rel, ok := below(u, b); ok {
				return rel, true
			}
		}
	}
	return "", false
}

// below returns the path of u below the registry base.
func below(u, base *url.URL) (rel string, ok bool) {
	if !strings.EqualFold(u.Host, base.Host) || u.Scheme != base.Scheme || !strings.HasPrefix(path.Clean(u.Path)+"/", base.Path) {
		return "", false
	}
	return strings.TrimPrefix(strings.TrimPrefix(u.Path, strings.TrimSuffix(base.Path, "/")), "/"), true
}

// public reports whether the registry is the one that the public keys are for,
// or a mirror that the user declares.
func (c Config) public(base string) bool { return base == c.Public || slices.Contains(c.Mirrors, base) }

// normalize checks and completes a Config that somebody wrote by hand.
func (c Config) normalize() (Config, error) {
	fix := func(p *string) error {
		if *p == "" {
			*p = DefaultRegistry
		}
		_, base, err := registryURL(*p)
		*p = base
		return err
	}
	c.Mirrors = slices.Clone(c.Mirrors)
	scopes := map[string]string{}
	for k, v := range c.Scopes {
		if err := fix(&v); err != nil {
			return Config{}, err
		}
		scopes[k] = v
	}
	c.Scopes = scopes
	for i := range c.Mirrors {
		if err := fix(&c.Mirrors[i]); err != nil {
			return Config{}, err
		}
	}
	if err := fix(&c.Registry); err != nil {
		return Config{}, err
	}
	return c, fix(&c.Public)
}

func clip(s string) string {
	const max = 120
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
