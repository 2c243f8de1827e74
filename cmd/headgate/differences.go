package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ecosystems/cargo"
	"github.com/headgate/headgate/ecosystems/maven"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/nuget"
	"github.com/headgate/headgate/ecosystems/pypi"
	"github.com/headgate/headgate/ecosystems/rubygems"
	"github.com/headgate/headgate/ingest/sources"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
)

// differences finds settings of the scanned directory that would change where
// packages come from. It reads below that directory alone.
func (c *Command) differences(source string, inv *sbom.Inventory, cfg map[string][]policies.Registry) ([]policies.SourceDifference, error) {
	if inv.Source.Scheme != "dir" && inv.Source.Scheme != "file" {
		return nil, nil
	}
	s, err := ecosystems.SettingsOf(c.Getenv, c.Environ, c.Home)
	if err != nil {
		return nil, usage("%w", err)
	}
	if _, err := registries(&s, cfg); err != nil {
		return nil, err
	}
	known := sources.Configured{
		"npm":   slices.Concat([]string{npm.DefaultRegistry, npm.YarnRegistry, s.NPM.Registry}, slices.Collect(maps.Values(s.NPM.Scopes)), s.NPM.Mirrors),
		"pypi":  slices.Concat([]string{pypi.DefaultIndex, s.PyPI.Index}, s.PyPI.Extra),
		"cargo": slices.Concat([]string{cargo.DefaultIndex, s.Cargo.Default}, slices.Collect(maps.Values(s.Cargo.Registries))),
		"gem":   slices.Concat([]string{rubygems.DefaultSource, s.Gems.Default}, s.Gems.Sources),
		"maven": slices.Concat([]string{maven.DefaultRepository}, slices.Collect(maps.Keys(s.Maven.Known))),
		"nuget": {nuget.DefaultSource},
	}
	for _, r := range s.Maven.Repositories {
		known["maven"] = append(known["maven"], r.URL)
	}
	for _, r := range s.NuGet.Sources {
		known["nuget"] = append(known["nuget"], r.URL)
	}
	// Ecosystems whose registries come from the user's own configuration may name
	// further ones in headgate.yaml, which the base revision vouches for.
	for typ, rs := range cfg {
		for _, r := range rs {
			known[typ] = append(known[typ], r.URL)
		}
	}
	dir := sourceDir(source)
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, usage("reading the settings in %s: %w", dir, err)
	}
	defer root.Close()
	if name, ok := strings.CutPrefix(source, "file:"); ok || isFile(name) {
		inv = &sbom.Inventory{Files: []sbom.File{{Path: filepath.Base(name)}}}
	}
	return sources.Differences(root.FS(), inv, known), nil
}
