package sources

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxFile        = 1 << 20 // bytes of one settings file
	MaxDirectories = 2000    // directories that are looked at
	MaxDifferences = 100     // that are reported
)

// Configured are the registries that the user configured, by ecosystem (purl
// type): a setting that names one of them differs in nothing.
type Configured map[string][]string

// Differences looks beside every dependency file of the inventory, and in the
// directories above, for settings that differ from what is configured.
func Differences(tree fs.FS, inv *sbom.Inventory, c Configured) []policies.SourceDifference {
	dirs := map[string]bool{".": true}
	for _, f := range inv.Files {
		if !fs.ValidPath(f.Path) {
			continue
		}
		for d := path.Dir(f.Path); d != "." && !dirs[d] && len(dirs) < MaxDirectories; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	r := &reader{tree: tree, c: c}
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		r.directory(d)
	}
	return r.out
}

type reader struct {
	tree fs.FS
	c    Configured
	out  []policies.SourceDifference
	file string
	text []byte
}

// formats are the settings files by their path below a directory, in lower case.
var formats = []struct {
	name string
	read func(*reader) error
}{
	{".npmrc", (*reader).npmrc}, {".yarnrc", (*reader).yarnrc}, {".yarnrc.yml", (*reader).yarnYAML}, {"pnpm-workspace.yaml", (*reader).pnpm},
	{"pip.conf", (*reader).pip}, {"pip.ini", (*reader).pip}, {"uv.toml", (*reader).uv}, {"pyproject.toml", (*reader).pyproject},
	{"nuget.config", (*reader).nuget}, {".cargo/config.toml", (*reader).cargo}, {".cargo/config", (*reader).cargo},
	{".bundle/config", (*reader).bundle}, {"settings.xml", (*reader).maven}, {".mvn/settings.xml", (*reader).maven},
}

func (r *reader) directory(dir string) {
	for _, sub := range []string{"", ".cargo", ".bundle", ".mvn"} {
		es, err := fs.ReadDir(r.tree, path.Join(dir, sub))
		if err != nil {
			continue
		}
		for _, e := range es {
			// Windows and macOS do not tell the cases apart.
			name := strings.ToLower(path.Join(sub, e.Name()))
			for _, f := range formats {
				if f.name == name {
					r.one(path.Join(dir, sub, e.Name()), f.read)
				}
			}
		}
	}
}

func (r *reader) one(name string, read func(*reader) error) {
	r.file = name
	fi, err := fs.Stat(r.tree, name)
	switch {
	case err != nil:
		r.differ(0, "cannot be read, so that nobody knows where packages come from: %v", err)
		return
	case !fi.Mode().IsRegular():
		return
	}
	f, err := r.tree.Open(name)
	if err == nil {
		r.text, err = io.ReadAll(io.LimitReader(f, MaxFile+1))
		err = errors.Join(err, f.Close())
	}
	if err == nil && len(r.text) > MaxFile {
		err = fmt.Errorf("it is larger than %d bytes", MaxFile)
	}
	if err == nil {
		err = read(r)
	}
	if err != nil {
		r.differ(0, "cannot be read, so that nobody knows where packages come from: %v", err)
	}
}

func (r *reader) differ(line int, format string, args ...any) {
	if len(r.out) >= MaxDifferences {
		return
	}
	r.out = append(r.out, policies.SourceDifference{Detail: fmt.Sprintf(format, args...), Location: trust.Location{Path: r.file, Line: line}})
}

// registry reports a registry that is not configured. line is 0 if it is not
// known; the first line that holds the value is taken then.
func (r *reader) registry(ecosystem, key, value string, line int) {
	value = strings.Trim(strings.TrimSpace(value), `"'`)
	if value == "" {
		return
	}
	for _, c := range r.c[ecosystem] {
		if same(c, value) {
			return
		}
	}
	if line == 0 {
		line = r.line(value)
	}
	r.differ(line, "%s is %s, which is no configured registry", clip(key), clip(value))
}

func (r *reader) line(value string) int {
	i := bytes.Index(r.text, []byte(value))
	if i < 0 {
		return 0
	}
	return bytes.Count(r.text[:i], []byte("\n")) + 1
}

// same compares base URLs: case of the host and a final slash do not count.
func same(a, b string) bool {
	norm := func(s string) string {
		u, err := url.Parse(strings.TrimPrefix(s, "sparse+"))
		if err != nil || u.Host == "" {
			return s
		}
		u.User = nil
		return u.Scheme + "://" + strings.ToLower(u.Host) + strings.TrimSuffix(u.EscapedPath(), "/") + "?" + u.RawQuery
	}
	return norm(a) == norm(b)
}

func clip(s string) string {
	const max = 200
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}

// lines calls f for every line with its number.
func (r *reader) lines(f func(n int, line string)) error {
	sc := bufio.NewScanner(bytes.NewReader(r.text))
	sc.Buffer(nil, MaxFile+1)
	for n := 1; sc.Scan(); n++ {
		if l := strings.TrimSpace(sc.Text()); l != "" && l[0] != '#' && l[0] != ';' {
			f(n, l)
		}
	}
	return sc.Err()
}

// loosened are npm's settings that change how registries are reached.
var loosened = map[string]bool{"strict-ssl": true, "cafile": true, "ca": true, "proxy": true, "https-proxy": true, "http-proxy": true, "replace-registry-host": true}

func (r *reader) npmrc() error {
	return r.lines(func(n int, l string) {
		key, value, ok := strings.Cut(l, "=")
		if key = strings.Trim(strings.TrimSpace(key), `"'`); !ok {
			return
		}
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		switch {
		case key == "registry" || strings.HasPrefix(key, "@") && strings.HasSuffix(key, ":registry"):
			r.registry("npm", key, value, n)
		case strings.Contains(key, "${"):
			r.differ(n, "the name of a setting depends on the environment: %s", clip(key))
		case loosened[strings.TrimSuffix(key, "[]")] && !(key == "strict-ssl" && value == "true"):
			r.differ(n, "%s changes how registries are reached", clip(key))
		}
	})
}

func (r *reader) yarnrc() error {
	return r.lines(func(n int, l string) {
		f := strings.Fields(l)
		if len(f) < 2 {
			return
		}
		key := strings.Trim(f[0], `"':`)
		if key == "registry" || strings.HasSuffix(key, ":registry") {
			r.registry("npm", key, f[1], n)
		}
	})
}

func (r *reader) yarnYAML() error {
	var doc struct {
		Server string `yaml:"npmRegistryServer"`
		Scopes map[string]struct {
			Server string `yaml:"npmRegistryServer"`
		} `yaml:"npmScopes"`
		HTTP   []string `yaml:"unsafeHttpWhitelist"`
		Strict *bool    `yaml:"enableStrictSsl"`
	}
	if err := yaml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	r.registry("npm", "npmRegistryServer", doc.Server, 0)
	for _, s := range slices.Sorted(maps.Keys(doc.Scopes)) {
		r.registry("npm", "npmScopes."+s+".npmRegistryServer", doc.Scopes[s].Server, 0)
	}
	if len(doc.HTTP) > 0 || doc.Strict != nil && !*doc.Strict {
		r.differ(0, "registries may be reached without a verified connection")
	}
	return nil
}

func (r *reader) pnpm() error {
	var doc struct {
		Registry   string            `yaml:"registry"`
		Registries map[string]string `yaml:"registries"`
	}
	if err := yaml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	r.registry("npm", "registry", doc.Registry, 0)
	for _, s := range slices.Sorted(maps.Keys(doc.Registries)) {
		r.registry("npm", "registries."+s, doc.Registries[s], 0)
	}
	return nil
}

func (r *reader) pip() error {
	key := ""
	return r.lines(func(n int, l string) {
		if l[0] == '[' {
			key = ""
			return
		}
		// Further values stand on lines of their own, without a name.
		k, value, ok := strings.Cut(l, "=")
		if k = strings.ReplaceAll(strings.TrimSpace(k), "_", "-"); ok && !strings.Contains(k, "://") {
			key = k
		} else {
			value = l
		}
		for _, v := range strings.Fields(value) {
			switch key {
			case "index-url", "extra-index-url", "find-links":
				r.registry("pypi", key, v, n)
			case "trusted-host":
				r.differ(n, "trusted-host %s is reached without a verified connection", clip(v))
			}
		}
	})
}

type pythonIndex struct {
	Name string `toml:"name"`
	URL  string `toml:"url"`
}

func (r *reader) indexes(key string, list []pythonIndex) {
	for _, i := range list {
		r.registry("pypi", key, i.URL, 0)
	}
}

type uvSettings struct {
	Index    []pythonIndex `toml:"index"`
	IndexURL string        `toml:"index-url"`
	Extra    []string      `toml:"extra-index-url"`
	Links    []string      `toml:"find-links"`
}

func (r *reader) uvSettings(s uvSettings) {
	r.indexes("index", s.Index)
	r.registry("pypi", "index-url", s.IndexURL, 0)
	for _, u := range slices.Concat(s.Extra, s.Links) {
		r.registry("pypi", "index", u, 0)
	}
}

func (r *reader) uv() error {
	var doc struct {
		uvSettings
		Pip uvSettings `toml:"pip"`
	}
	if err := toml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	r.uvSettings(doc.uvSettings)
	r.uvSettings(doc.Pip)
	return nil
}

func (r *reader) pyproject() error {
	var doc struct {
		Tool struct {
			UV     uvSettings `toml:"uv"`
			Poetry struct {
				Source []pythonIndex `toml:"source"`
			} `toml:"poetry"`
			PDM struct {
				Source []pythonIndex `toml:"source"`
			} `toml:"pdm"`
		} `toml:"tool"`
	}
	if err := toml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	r.uvSettings(doc.Tool.UV)
	r.indexes("tool.poetry.source", doc.Tool.Poetry.Source)
	r.indexes("tool.pdm.source", doc.Tool.PDM.Source)
	return nil
}

func (r *reader) nuget() error {
	var doc struct {
		Sources struct {
			Add []struct {
				Key   string `xml:"key,attr"`
				Value string `xml:"value,attr"`
			} `xml:"add"`
		} `xml:"packageSources"`
		Signers *struct{} `xml:"trustedSigners"`
	}
	if err := xml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	for _, s := range doc.Sources.Add {
		r.registry("nuget", "package source "+s.Key, s.Value, 0)
	}
	if doc.Signers != nil {
		r.differ(r.line("trustedSigners"), "trustedSigners changes whose packages are taken")
	}
	return nil
}

func (r *reader) cargo() error {
	var doc struct {
		Source map[string]struct {
			Registry string `toml:"registry"`
			Replace  string `toml:"replace-with"`
			Git      string `toml:"git"`
		} `toml:"source"`
		Registries map[string]struct {
			Index string `toml:"index"`
		} `toml:"registries"`
		Registry struct {
			Default string `toml:"default"`
		} `toml:"registry"`
	}
	if err := toml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(doc.Source)) {
		s := doc.Source[n]
		r.registry("cargo", "source."+n+".registry", s.Registry, 0)
		if s.Git != "" {
			r.differ(r.line(s.Git), "source.%s is the git repository %s", clip(n), clip(s.Git))
		}
		if to, ok := doc.Source[s.Replace]; s.Replace != "" && (!ok || to.Registry == "" && to.Git == "") && s.Replace != "vendored-sources" {
			r.differ(r.line(s.Replace), "source.%s is replaced with %s", clip(n), clip(s.Replace))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(doc.Registries)) {
		r.registry("cargo", "registries."+n+".index", doc.Registries[n].Index, 0)
	}
	if doc.Registry.Default != "" {
		r.differ(r.line(doc.Registry.Default), "the default registry is %s", clip(doc.Registry.Default))
	}
	return nil
}

func (r *reader) bundle() error {
	var doc map[string]any
	if err := yaml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(doc)) {
		if strings.HasPrefix(k, "BUNDLE_MIRROR__") && !strings.HasSuffix(k, "__FALLBACK_TIMEOUT/") {
			r.registry("gem", k, fmt.Sprint(doc[k]), 0)
		}
	}
	return nil
}

func (r *reader) maven() error {
	type repo struct {
		ID  string `xml:"id"`
		URL string `xml:"url"`
	}
	var doc struct {
		Mirrors  []repo `xml:"mirrors>mirror"`
		Profiles []struct {
			Repos   []repo `xml:"repositories>repository"`
			Plugins []repo `xml:"pluginRepositories>pluginRepository"`
		} `xml:"profiles>profile"`
	}
	if err := xml.Unmarshal(r.text, &doc); err != nil {
		return err
	}
	for _, m := range doc.Mirrors {
		r.registry("maven", "mirror "+m.ID, m.URL, 0)
	}
	for _, p := range doc.Profiles {
		for _, x := range slices.Concat(p.Repos, p.Plugins) {
			r.registry("maven", "repository "+x.ID, x.URL, 0)
		}
	}
	return nil
}
