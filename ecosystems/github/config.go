package github

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/headgate/headgate/ecosystems/upstream"
)

// The public forge and its API.
const (
	DefaultServer = "https://github.com"
	DefaultAPI    = "https://api.github.com"
)

// tenants is the parent domain of GitHub's hosted enterprise servers, whose API
// is a sub-domain of the server's own host.
const tenants = ".ghe.com"

// Config is what the user's environment says of the forge. The zero Config is
// the public one, without credentials.
type Config struct {
	Server string // base URL of git and web, without a slash at the end
	API    string // base URL of the REST API, without a slash at the end
	// Certified is the server as certificates name it; Server if empty. They differ
	// where Server is a mirror.
	Certified string
	// RootFile has GitHub's own trusted root; empty for none.
	RootFile string
	// Credentials is the user's token, for the API alone.
	Credentials upstream.Scopes
}

// ConfigFromEnv reads the variables that GitHub's own tools read: GH_HOST, or
// GITHUB_API_URL and GITHUB_SERVER_URL; GH_TOKEN and GITHUB_TOKEN, and for a
// server of the user's own that GH_HOST names GH_ENTERPRISE_TOKEN and
// GITHUB_ENTERPRISE_TOKEN. The token is sent to the API of that server only.
// RootEnv names a file, which is not read here.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	cfg := Config{Server: DefaultServer, API: DefaultAPI, RootFile: getenv(RootEnv)}
	token := first(getenv("GH_TOKEN"), getenv("GITHUB_TOKEN"))
	host := strings.ToLower(strings.TrimSpace(getenv("GH_HOST")))
	switch api := strings.TrimSpace(getenv("GITHUB_API_URL")); {
	case host != "" && "https://"+host != DefaultServer:
		cfg.Server = "https://" + host
		if strings.HasSuffix(host, tenants) {
			cfg.API = "https://api." + host
		} else {
			// gh never sends the public forge's token to another server.
			cfg.API, token = cfg.Server+"/api/v3", first(getenv("GH_ENTERPRISE_TOKEN"), getenv("GITHUB_ENTERPRISE_TOKEN"))
		}
	case host == "" && api != "":
		cfg.API = api
		if s := strings.TrimSpace(getenv("GITHUB_SERVER_URL")); s != "" {
			cfg.Server = s
		} else if strings.TrimRight(api, "/") != DefaultAPI {
			return Config{}, errors.New("GITHUB_API_URL names another server; set GITHUB_SERVER_URL too")
		}
	}
	for what, s := range map[string]*string{"GITHUB_SERVER_URL or GH_HOST": &cfg.Server, "GITHUB_API_URL or GH_HOST": &cfg.API} {
		u, err := url.Parse(*s)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(u.Host, "/ *") {
			return Config{}, fmt.Errorf("%s gives no https URL of a server", what) // it may hold a secret
		}
		*s = strings.TrimRight(u.String(), "/")
	}
	if strings.ContainsAny(token, " \t\r\n") {
		return Config{}, errors.New("the token in GH_TOKEN or GITHUB_TOKEN holds white space")
	}
	if token != "" {
		u, err := url.Parse(cfg.API)
		if err != nil {
			return Config{}, errors.New("GITHUB_API_URL is no URL")
		}
		cfg.Credentials = upstream.Scopes{{Host: u.Host, Path: strings.Trim(u.Path, "/"), Header: upstream.Bearer(token)}}
	}
	return cfg, nil
}

func first(ss ...string) string {
	for _, s := range ss {
		if s != "" {
			return s
		}
	}
	return ""
}
