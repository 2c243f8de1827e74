package helm

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"deps.dev/util/semver"
	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/trust"
)

// Bounds of what a repository may answer.
const (
	MaxIndex     = 64 << 20  // bytes of index.yaml
	MaxVersions  = 50_000    // versions of one chart
	MaxChart     = 64 << 20  // bytes of an archive
	MaxUnpacked  = 128 << 20 // bytes that an archive unpacks to
	MaxEntries   = 50_000    // entries of an archive
	MaxChartYAML = 1 << 20   // bytes of a Chart.yaml
)

// entry is one version of a chart in an index.
type entry struct {
	Name        string    `yaml:"name"`
	Version     string    `yaml:"version"`
	Digest      string    `yaml:"digest"`
	URLs        []string  `yaml:"urls"`
	Created     time.Time `yaml:"created"`
	Deprecated  bool      `yaml:"deprecated"`
	Home        string    `yaml:"home"`
	Sources     []string  `yaml:"sources"`
	Annotations struct {
		Licenses    string `yaml:"licenses"`
		ArtifactHub string `yaml:"artifacthub.io/license"`
	} `yaml:"annotations"`
}

type index struct {
	entries map[string][]entry
}

// parseIndex reads index.yaml (https://helm.sh/docs/topics/chart_repository/).
// A key that stands there twice makes it malformed. An entry that cannot be read
// concerns its own chart alone.
func parseIndex(b []byte) (*index, error) {
	var doc struct {
		APIVersion string               `yaml:"apiVersion"`
		Entries    map[string]yaml.Node `yaml:"entries"`
	}
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the repository's index is malformed: %w", err)
	}
	if doc.APIVersion == "" || doc.Entries == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the repository's index has no apiVersion or no entries")
	}
	x := &index{entries: make(map[string][]entry, len(doc.Entries))}
	for name, node := range doc.Entries {
		var es []entry
		if err := node.Decode(&es); err != nil {
			es = nil
		}
		x.entries[name] = es
	}
	return x, nil
}

// find returns the entry of a release.
func (x *index) find(name, version string) (*entry, error) {
	es, ok := x.entries[name]
	switch {
	case !ok:
		return nil, trust.Undecidable(trust.ReasonNotFound, "the repository knows no chart of this name")
	case len(es) > MaxVersions:
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the index lists more than %d versions of the chart", MaxVersions)
	case len(es) == 0:
		return nil, trust.Undecidable(trust.ReasonMalformed, "the index's entries of the chart cannot be read")
	}
	var found *entry
	for i := range es {
		if es[i].Version != version {
			continue
		}
		if found != nil {
			return nil, trust.Failure(trust.ReasonDuplicate, "the index lists version %s twice", version)
		}
		found = &es[i]
	}
	if found == nil {
		return nil, trust.Undecidable(trust.ReasonNotFound, "the index does not list this version")
	}
	if found.Name != name {
		return nil, trust.Failure(trust.ReasonWrongName, "the index lists the chart %.100q in this one's place", found.Name)
	}
	return found, nil
}

// digest is the SHA-256 that the index states, or the zero one for none.
func (e *entry) digest() (trust.Digest, error) {
	s := strings.TrimPrefix(strings.TrimSpace(e.Digest), "sha256:")
	if s == "" {
		return trust.Digest{}, nil
	}
	d, err := trust.NewDigest(trust.SHA256, s)
	if err != nil {
		return trust.Digest{}, trust.Undecidable(trust.ReasonMalformed, "the index states no usable digest: %w", err)
	}
	return d, nil
}

// archive is the URL of the chart, which may be relative to the repository's.
func (e *entry) archive(repo string) (string, error) {
	if len(e.URLs) == 0 {
		return "", trust.Undecidable(trust.ReasonMalformed, "the index states no URL of this version")
	}
	base, err := url.Parse(repo)
	if err != nil {
		return "", trust.Undecidable(trust.ReasonMalformed, "the repository's URL: %w", err)
	}
	u, err := base.Parse(e.URLs[0])
	if err != nil || u.User != nil || u.Host == "" {
		return "", trust.Undecidable(trust.ReasonMalformed, "the index states no usable URL of this version")
	}
	if u.Scheme == "oci" {
		return "", trust.Undecidable(trust.ReasonUnsupported, "the index leads to an OCI registry, %s: state the chart as pkg:oci", u.Host)
	}
	if u.Scheme != "https" && u.Scheme != base.Scheme {
		return "", trust.Failure(trust.ReasonForeignSource, "the index leads to a URL of the scheme %.20q", u.Scheme)
	}
	return u.String(), nil
}

// facts are the index's unsigned word.
func (x *index) facts(e *entry) (f trust.Facts, earlier []entry) {
	f.Published = e.Created.UTC()
	if e.Deprecated {
		why := "deprecated"
		f.Deprecated = &why
	}
	for _, s := range append(slices.Clone(e.Sources), e.Home) {
		if f.Repository = repository(s); f.Repository != "" {
			break
		}
	}
	for _, l := range []string{e.Annotations.Licenses, e.Annotations.ArtifactHub} {
		if l != "" && len(f.Licenses) == 0 {
			f.Licenses = []string{l}
		}
	}
	es := x.entries[e.Name]
	f.Releases = len(es)
	for _, o := range es {
		if f.LatestKnown == "" || semver.NPM.Compare(o.Version, f.LatestKnown) > 0 {
			f.LatestKnown = o.Version
		}
		if !o.Created.IsZero() && (f.FirstRelease.IsZero() || o.Created.Before(f.FirstRelease)) {
			f.FirstRelease = o.Created.UTC()
		}
		if semver.NPM.Compare(o.Version, e.Version) < 0 && o.Name == e.Name {
			earlier = append(earlier, o)
		}
	}
	slices.SortStableFunc(earlier, func(a, b entry) int { return semver.NPM.Compare(b.Version, a.Version) })
	if len(earlier) > 0 {
		f.PrevRelease = earlier[0].Created.UTC()
	}
	return f, earlier
}

// repository cuts a GitHub or GitLab URL to the repository's own.
func repository(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "https" || u.Host != "github.com" && u.Host != "gitlab.com" {
		return ""
	}
	parts := strings.SplitN(strings.Trim(u.Path, "/"), "/", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return ""
	}
	return strings.ToLower("https://" + u.Host + "/" + parts[0] + "/" + strings.TrimSuffix(parts[1], ".git"))
}

// names reads the one Chart.yaml of an archive and compares it with what was
// asked for. Everything is counted, nothing is kept.
func names(r io.Reader, name, version string) error {
	malformed := func(err error) error {
		return trust.Undecidable(trust.ReasonMalformed, "the chart cannot be read: %w", err)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return malformed(err)
	}
	limited := &io.LimitedReader{R: z, N: MaxUnpacked + 1}
	t := tar.NewReader(limited)
	var chart []byte
	for n := 0; ; n++ {
		h, err := t.Next()
		if limited.N <= 0 {
			return trust.Undecidable(trust.ReasonTooLarge, "the chart unpacks to more than %d bytes", MaxUnpacked)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return malformed(err)
		}
		if n == MaxEntries {
			return trust.Undecidable(trust.ReasonTooLarge, "the chart has more than %d entries", MaxEntries)
		}
		dir, file := path.Split(path.Clean(h.Name))
		if file != "Chart.yaml" || strings.Count(dir, "/") != 1 {
			continue
		}
		if chart != nil {
			return trust.Failure(trust.ReasonDuplicate, "the archive holds two Chart.yaml")
		}
		if chart, err = io.ReadAll(io.LimitReader(t, MaxChartYAML+1)); err != nil {
			return malformed(err)
		}
		if len(chart) > MaxChartYAML {
			return trust.Undecidable(trust.ReasonTooLarge, "Chart.yaml is larger than %d bytes", MaxChartYAML)
		}
	}
	var doc struct {
		Name    string `yaml:"name"`
		Version string `yaml:"version"`
	}
	if err := yaml.Unmarshal(chart, &doc); err != nil {
		return malformed(err)
	}
	switch {
	case doc.Name == "" || doc.Version == "":
		return malformed(fmt.Errorf("there is no Chart.yaml with name and version"))
	case doc.Name != name:
		return trust.Failure(trust.ReasonWrongName, "the archive is the chart %.100q", doc.Name)
	case doc.Version != version:
		return trust.Failure(trust.ReasonWrongVersion, "the archive is version %.100q", doc.Version)
	}
	return nil
}
