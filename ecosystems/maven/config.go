package maven

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems/strictxml"
	"github.com/headgate/headgate/ecosystems/upstream"
)

// DefaultRepository is Maven Central.
const DefaultRepository = "https://repo1.maven.org/maven2/"

// defaultAlias is the other name of Maven Central, which build tools write down.
const defaultAlias = "https://repo.maven.apache.org/maven2/"

// MaxSettings bounds settings.xml in bytes.
const MaxSettings = 1 << 20

// Repository is a repository by the id that the user's settings give it.
type Repository struct {
	ID  string
	URL string // with a slash at its end
}

// Config is what the user's own settings say of repositories.
type Config struct {
	// Repositories are asked in this order; what stands for Maven Central is last.
	Repositories []Repository
	// Known are the URLs under which lock files and SBOMs may name a repository,
	// with the URL that stands for each: itself, or its mirror.
	Known map[string]string
	// Credentials are the servers' of the settings, each for its repository only.
	Credentials upstream.Scopes
	// Insecure are the hosts that the settings reach by plain http.
	Insecure []string
	// Notes are settings that headgate does not follow.
	Notes []string
}

type settings struct {
	XMLName        xml.Name  `xml:"settings"`
	Servers        []server  `xml:"servers>server"`
	Mirrors        []mirror  `xml:"mirrors>mirror"`
	Profiles       []profile `xml:"profiles>profile"`
	ActiveProfiles []string  `xml:"activeProfiles>activeProfile"`
}

type server struct {
	ID       string `xml:"id"`
	Username string `xml:"username"`
	Password string `xml:"password"`
	Headers  []struct {
		Name  string `xml:"name"`
		Value string `xml:"value"`
	} `xml:"configuration>httpHeaders>property"`
}

type profile struct {
	ID           string `xml:"id"`
	Active       string `xml:"activation>activeByDefault"`
	Repositories []struct {
		ID       string `xml:"id"`
		URL      string `xml:"url"`
		Releases string `xml:"releases>enabled"`
	} `xml:"repositories>repository"`
}

// under adds what the installation's settings have and the user's do not: servers,
// mirrors and profiles by their ids, as Maven merges the two.
func (s *settings) under(installation settings) {
	s.Servers = merge(s.Servers, installation.Servers, func(x server) string { return x.ID })
	s.Mirrors = merge(s.Mirrors, installation.Mirrors, func(x mirror) string { return x.ID })
	s.Profiles = merge(s.Profiles, installation.Profiles, func(x profile) string { return x.ID })
	s.ActiveProfiles = merge(s.ActiveProfiles, installation.ActiveProfiles, func(x string) string { return x })
}

func merge[T any](own, more []T, id func(T) string) []T {
	for _, m := range more {
		if !slices.ContainsFunc(own, func(o T) bool { return strings.TrimSpace(id(o)) == strings.TrimSpace(id(m)) }) {
			own = append(own, m)
		}
	}
	return own
}

type mirror struct {
	ID      string `xml:"id"`
	Of      string `xml:"mirrorOf"`
	URL     string `xml:"url"`
	Blocked string `xml:"blocked"`
}

// ConfigFromEnv reads ~/.m2/settings.xml and, below it, conf/settings.xml of the
// installation that MAVEN_HOME or M2_HOME names (repositories of active profiles,
// mirrors, servers), with ${env.NAME} and ${user.home} put in as Maven does. The
// scanned tree's settings, its POM's repositories and its .mvn folder are never
// read. Passwords that Maven encrypted stay unread, with a note.
func ConfigFromEnv(getenv func(string) string, home string) (Config, error) {
	var s settings
	if home != "" {
		if err := readSettings(filepath.Join(home, ".m2", "settings.xml"), &s); err != nil {
			return Config{}, err
		}
	}
	for _, env := range []string{"MAVEN_HOME", "M2_HOME"} {
		if dir := getenv(env); filepath.IsAbs(dir) {
			var installation settings
			if err := readSettings(filepath.Join(dir, "conf", "settings.xml"), &installation); err != nil {
				return Config{}, err
			}
			s.under(installation)
			break
		}
	}
	props := func(v string) string {
		return property.ReplaceAllStringFunc(strings.TrimSpace(v), func(m string) string {
			name := m[2 : len(m)-1]
			if env, ok := strings.CutPrefix(name, "env."); ok {
				return getenv(env)
			}
			if name == "user.home" {
				return home
			}
			return m
		})
	}
	cfg := Config{Known: map[string]string{}}
	secrets := map[string]string{} // Authorization by server id
	for _, srv := range s.Servers {
		user, password := props(srv.Username), props(srv.Password)
		if strings.HasPrefix(password, "{") && strings.HasSuffix(password, "}") {
			cfg.Notes = append(cfg.Notes, fmt.Sprintf("the password of the server %q in settings.xml is encrypted and is not used; .netrc can hold it instead", srv.ID))
			continue
		}
		if user != "" {
			secrets[srv.ID] = upstream.Basic(user, password)
		}
		for _, h := range srv.Headers {
			if strings.EqualFold(strings.TrimSpace(h.Name), "Authorization") {
				secrets[srv.ID] = props(h.Value)
			}
		}
	}
	for i := range s.Mirrors {
		s.Mirrors[i].URL = props(s.Mirrors[i].URL)
	}
	// add makes a repository known, by way of its mirror if it has one.
	add := func(id, raw string, search bool) error {
		own, creds, err := upstream.RegistryURL(raw, settingsName)
		if err != nil {
			return fmt.Errorf("repository %q: %w", id, err)
		}
		target, server := own, id
		if m := mirrorOf(s.Mirrors, id, own); m != nil {
			if m.Blocked == "true" {
				cfg.Notes = append(cfg.Notes, fmt.Sprintf("the repository %q is blocked by the mirror %q of settings.xml and is not asked", id, m.ID))
				return nil
			}
			if target, creds, err = upstream.RegistryURL(m.URL, settingsName); err != nil {
				return fmt.Errorf("mirror %q: %w", m.ID, err)
			}
			server = m.ID
		}
		cfg.Known[own] = target
		if id == "central" {
			cfg.Known[DefaultRepository], cfg.Known[defaultAlias] = target, target
		}
		if _, ok := cfg.Known[target]; !ok {
			cfg.Known[target] = target
		}
		u, err := url.Parse(target)
		if err != nil {
			return err
		}
		cfg.Credentials = append(cfg.Credentials, creds...)
		if h := secrets[server]; h != "" {
			cfg.Credentials = append(cfg.Credentials, upstream.Scope{Host: u.Host, Path: strings.TrimSuffix(u.Path, "/"), Header: h})
		}
		if u.Scheme == "http" && !slices.Contains(cfg.Insecure, u.Host) {
			cfg.Insecure = append(cfg.Insecure, u.Host)
		}
		if search && !slices.ContainsFunc(cfg.Repositories, func(r Repository) bool { return r.URL == target }) {
			cfg.Repositories = append(cfg.Repositories, Repository{ID: id, URL: target})
		}
		return nil
	}
	central := DefaultRepository
	for _, p := range s.Profiles {
		active := slices.ContainsFunc(s.ActiveProfiles, func(a string) bool { return strings.TrimSpace(a) == strings.TrimSpace(p.ID) }) ||
			len(s.ActiveProfiles) == 0 && strings.TrimSpace(p.Active) == "true"
		for _, r := range p.Repositories {
			id, raw := strings.TrimSpace(r.ID), props(r.URL)
			if strings.HasPrefix(raw, "file:") || strings.TrimSpace(r.Releases) == "false" {
				continue
			}
			if id == "central" {
				if active {
					central = raw
				}
				continue
			}
			if err := add(id, raw, active); err != nil {
				return Config{}, err
			}
		}
	}
	if err := add("central", central, true); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// mirrorOf returns the mirror that Maven would use for a repository: one that
// names its id, or else the first whose pattern matches.
func mirrorOf(mirrors []mirror, id, repo string) *mirror {
	for i, m := range mirrors {
		if strings.TrimSpace(m.Of) == id {
			return &mirrors[i]
		}
	}
	u, err := url.Parse(repo)
	if err != nil {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	external := u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
	for i, m := range mirrors {
		matches := false
		for p := range strings.SplitSeq(m.Of, ",") {
			switch p = strings.TrimSpace(p); {
			case p == "!"+id:
				matches = false
			case p == id, p == "*", p == "external:*" && external, p == "external:http:*" && external && u.Scheme == "http":
				matches = true
				continue
			default:
				continue
			}
			break // an exclusion outweighs every pattern
		}
		if matches {
			return &mirrors[i]
		}
	}
	return nil
}

// settingsName is what errors call the settings.
const settingsName = "the user's Maven settings"

func readSettings(path string, s *settings) error {
	b, err := upstream.ReadUserFile(path, MaxSettings, settingsName)
	if err != nil || b == nil {
		return err
	}
	if err := strictxml.Decode(b, s); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// candidates are the repositories to ask, in order, for a component whose source
// names a registry, "" naming none.
func (c Config) candidates(registry string) ([]string, bool) {
	if registry != "" {
		if u, ok := c.Known[strings.TrimSuffix(registry, "/")+"/"]; ok {
			return []string{u}, true
		}
		return nil, false
	}
	urls := make([]string, len(c.Repositories))
	for i, r := range c.Repositories {
		urls[i] = r.URL
	}
	return urls, true
}
