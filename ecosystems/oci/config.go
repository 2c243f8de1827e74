package oci

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// MaxConfigFile bounds the docker configuration in bytes.
const MaxConfigFile = 4 << 20

// Config is what the user's docker configuration says of registries.
type Config struct {
	// credentials are values of the Authorization header by registry host.
	credentials map[string]string
	// identity are refresh tokens by registry host, which its token service exchanges.
	identity map[string]string
	// Notes are settings that headgate does not follow, in sentences.
	Notes []string
}

// String hides the secrets.
func (c Config) String() string {
	return fmt.Sprintf("%d registries with credentials", len(c.credentials)+len(c.identity))
}

// GoString hides the secrets from %#v.
func (c Config) GoString() string { return c.String() }

// ConfigFromEnv reads config.json of $DOCKER_CONFIG or of ~/.docker. A file that
// does not exist has no settings; one that cannot be read is an error.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	dir := getenv("DOCKER_CONFIG")
	if dir == "" {
		if home == "" {
			return Config{}, nil
		}
		dir = filepath.Join(home, ".docker")
	}
	b, err := upstream.ReadUserFile(filepath.Join(dir, "config.json"), MaxConfigFile, "the docker configuration")
	if err != nil || b == nil {
		return Config{}, err
	}
	return parseConfig(b)
}

// parseConfig reads the registries of a config.json. Its errors hold no content
// of the file, which has secrets in it.
func parseConfig(b []byte) (Config, error) {
	var doc struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			Username      string `json:"username"`
			Password      string `json:"password"`
			IdentityToken string `json:"identitytoken"`
			RegistryToken string `json:"registrytoken"`
		} `json:"auths"`
		CredsStore  string            `json:"credsStore"`
		CredHelpers map[string]string `json:"credHelpers"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return Config{}, errors.New("the docker configuration is no JSON document of the known form; correct the file")
	}
	cfg := Config{credentials: map[string]string{}, identity: map[string]string{}}
	if doc.CredsStore != "" || len(doc.CredHelpers) > 0 {
		cfg.Notes = append(cfg.Notes, "The docker configuration names credential helpers, which are programs; headgate runs none and asks those registries without credentials. Private images need an entry of their own: docker login with DOCKER_CONFIG set to an empty folder, or .netrc.")
	}
	for _, key := range slices.Sorted(maps.Keys(doc.Auths)) {
		a := doc.Auths[key]
		host := registryHost(key)
		if a.Auth != "" && a.Username == "" {
			dec, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				return Config{}, fmt.Errorf("the docker configuration has unreadable credentials for %q; log in again", host)
			}
			a.Username, a.Password, _ = strings.Cut(strings.TrimRight(string(dec), "\x00"), ":")
		}
		switch {
		case a.RegistryToken != "":
			cfg.credentials[host] = upstream.Bearer(a.RegistryToken)
		case a.IdentityToken != "":
			cfg.identity[host] = a.IdentityToken
		case a.Username != "":
			cfg.credentials[host] = upstream.Basic(a.Username, a.Password)
		}
	}
	return cfg, nil
}

// registryHost brings a key of "auths" into the form of a registry's host: keys
// may be URLs of an old API.
func registryHost(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	r, err := name.NewRegistry(strings.ToLower(host))
	if err != nil {
		return host
	}
	return r.RegistryStr()
}
