package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/policies"
)

// registries adds the registries of headgate.yaml to the user's settings. Those
// of npm count: one without scope is a mirror of the public registry, for which
// the public registry's keys count; one with scopes ("pkg:npm/@team/*") serves
// those. The user's own configuration wins for a scope that it names. Of other
// ecosystems only the user's own configuration counts, and a note says so.
func registries(s *ecosystems.Settings, cfg map[string][]policies.Registry) (notes []string, err error) {
	for _, typ := range slices.Sorted(maps.Keys(cfg)) {
		if typ != "npm" {
			notes = append(notes, fmt.Sprintf("registries.%s in %s are not followed: registries of this ecosystem come from the user's own configuration alone", typ, ConfigFile))
			continue
		}
		scopes := maps.Clone(s.NPM.Scopes)
		if scopes == nil {
			scopes = map[string]string{}
		}
		for _, r := range cfg[typ] {
			u, err := url.Parse(r.URL)
			if err != nil {
				return nil, usage("%s: registry %q: %w", ConfigFile, r.URL, err)
			}
			if u.Scheme == "http" {
				s.NPM.Insecure = append(s.NPM.Insecure, u.Host)
			}
			if len(r.Scope) == 0 {
				s.NPM.Mirrors = append(s.NPM.Mirrors, r.URL)
			}
			for _, p := range r.Scope {
				name, ok := strings.CutPrefix(p, "pkg:npm/")
				scope, rest, cut := strings.Cut(strings.ReplaceAll(name, "%40", "@"), "/")
				if !ok || !cut || rest != "*" || !strings.HasPrefix(scope, "@") {
					return nil, usage("%s: registry %s: scope %q is none of npm's, such as pkg:npm/@team/*", ConfigFile, r.URL, p)
				}
				if _, own := scopes[scope]; !own {
					scopes[scope] = r.URL
				}
			}
		}
		s.NPM.Scopes = scopes
	}
	return notes, nil
}
