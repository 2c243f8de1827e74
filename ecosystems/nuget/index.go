package nuget

import (
	"archive/zip"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"deps.dev/util/semver"

	"github.com/headgate/headgate/ecosystems/strictxml"
	"github.com/headgate/headgate/trust"
)

// Bounds of what a source may answer.
const (
	MaxServiceIndex = 1 << 20
	MaxResources    = 1000 // resources of a service index
	MaxRegistration = 32 << 20
	MaxLeaves       = 20_000 // releases of all pages
	MaxPages        = 1000   // pages of a registration index
	MaxSignatures   = 1 << 20
	MaxPackage      = 1 << 30
	MaxNuspec       = 2 << 20
	MaxEntries      = 200_000 // entries of a package
)

// service is a source's service index: where its resources are.
type service struct {
	packages      string // PackageBaseAddress, with a slash at its end
	registrations string // RegistrationsBaseUrl, with a slash at its end; may be empty
	signatures    string // RepositorySignatures; may be empty
}

// parseService reads a service index
// (https://learn.microsoft.com/nuget/api/service-index). Resources on another
// host are refused: credentials and trust in the source end with its host.
func parseService(b []byte, source string) (*service, error) {
	var doc struct {
		Version   string `json:"version"`
		Resources []struct {
			ID   string `json:"@id"`
			Type any    `json:"@type"` // a string or a list of them
		} `json:"resources"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the service index is malformed: %w", err)
	}
	if !strings.HasPrefix(doc.Version, "3.") {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the service index has version %.20q, headgate reads version 3", doc.Version)
	}
	if len(doc.Resources) > MaxResources {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the service index lists more than %d resources", MaxResources)
	}
	base, err := url.Parse(source)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the source's URL: %w", err)
	}
	find := func(types ...string) (string, error) {
		for _, want := range types {
			for _, r := range doc.Resources {
				is := r.Type == want
				if list, ok := r.Type.([]any); ok {
					is = slices.Contains(list, any(want))
				}
				if !is {
					continue
				}
				u, err := url.Parse(r.ID)
				if err != nil || u.User != nil {
					return "", trust.Undecidable(trust.ReasonMalformed, "the service index has no usable URL of %s", want)
				}
				if u.Scheme != base.Scheme || u.Host != base.Host {
					return "", trust.Failure(trust.ReasonForeignSource, "the service index of %s leads to another host, %s, for %s", base.Host, u.Host, want)
				}
				return r.ID, nil
			}
		}
		return "", nil
	}
	var s service
	if s.packages, err = find("PackageBaseAddress/3.0.0"); err != nil {
		return nil, err
	}
	if s.packages == "" {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the service index has no PackageBaseAddress")
	}
	if s.registrations, err = find("RegistrationsBaseUrl/3.6.0", "RegistrationsBaseUrl/Versioned", "RegistrationsBaseUrl/3.4.0", "RegistrationsBaseUrl/3.0.0-rc", "RegistrationsBaseUrl"); err != nil {
		return nil, err
	}
	if s.signatures, err = find("RepositorySignatures/5.0.0", "RepositorySignatures/4.9.0", "RepositorySignatures/4.7.0"); err != nil {
		return nil, err
	}
	s.packages = strings.TrimSuffix(s.packages, "/") + "/"
	if s.registrations != "" {
		s.registrations = strings.TrimSuffix(s.registrations, "/") + "/"
	}
	return &s, nil
}

// repositorySignatures is what a source says of its own signatures: a hint, and
// never a pin.
type repositorySignatures struct {
	all          bool
	certificates []string // SHA-256 fingerprints, lower-case hex
}

func parseSignatures(b []byte) (*repositorySignatures, error) {
	var doc struct {
		All          bool `json:"allRepositorySigned"`
		Certificates []struct {
			Fingerprints map[string]string `json:"fingerprints"`
		} `json:"signingCertificates"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the source's list of signing certificates is malformed: %w", err)
	}
	s := &repositorySignatures{all: doc.All}
	for _, c := range doc.Certificates {
		s.certificates = append(s.certificates, strings.ToLower(c.Fingerprints["2.16.840.1.101.3.4.2.1"]))
	}
	return s, nil
}

// page is a registration index or one of its pages.
type page struct {
	ID    string `json:"@id"`
	Lower string `json:"lower"`
	Upper string `json:"upper"`
	Count int    `json:"count"`
	Items []page `json:"items"`
	leaf
}

type leaf struct {
	Entry *struct {
		ID          string    `json:"id"`
		Version     string    `json:"version"`
		Listed      *bool     `json:"listed"`
		Published   time.Time `json:"published"`
		License     string    `json:"licenseExpression"`
		Project     string    `json:"projectUrl"`
		Deprecation *struct {
			Reasons []string `json:"reasons"`
			Message string   `json:"message"`
		} `json:"deprecation"`
	} `json:"catalogEntry"`
}

func parsePage(b []byte) (*page, error) {
	var p page
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the registration is malformed: %w", err)
	}
	if len(p.Items) == 0 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the registration lists nothing")
	}
	if len(p.Items) > MaxLeaves {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the registration lists more than %d releases", MaxLeaves)
	}
	return &p, nil
}

// holds reports whether a version may be on the page.
func (p *page) holds(v string) bool {
	return p.Lower == "" || p.Upper == "" || semver.NuGet.Compare(p.Lower, v) <= 0 && semver.NuGet.Compare(v, p.Upper) <= 0
}

// unlisted is the year in which the registry says that unlisted releases were published.
const unlisted = 1900

// facts reads the leaves of the pages at hand: unsigned hints. known says
// whether the release is among them.
func facts(leaves []page, r trust.Release, n int) (f trust.Facts, hs []trust.History, known bool) {
	type release struct {
		version string
		at      time.Time
	}
	var others []release
	for _, l := range leaves {
		e := l.Entry
		if e == nil || !strings.EqualFold(e.ID, r.Package.Name) {
			continue
		}
		v, err := trust.NewRelease("nuget", "", e.ID, e.Version)
		if err != nil {
			continue
		}
		at := e.Published.UTC()
		if at.Year() <= unlisted {
			at = time.Time{}
		}
		if f.LatestKnown == "" || semver.NuGet.Compare(v.Version, f.LatestKnown) > 0 {
			f.LatestKnown = v.Version
		}
		if !at.IsZero() && (f.FirstRelease.IsZero() || at.Before(f.FirstRelease)) {
			f.FirstRelease = at
		}
		if v.Version != r.Version {
			others = append(others, release{v.Version, at})
			continue
		}
		known = true
		f.Published = at
		if e.Listed != nil && !*e.Listed || e.Published.Year() == unlisted {
			why := "unlisted"
			f.Yanked = &why
		}
		if d := e.Deprecation; d != nil {
			why := strings.TrimSpace(strings.Join(d.Reasons, ", ") + " " + d.Message)
			f.Deprecated = &why
		}
		if e.License != "" {
			f.Licenses = []string{e.License}
		}
		f.Repository = repository(e.Project)
	}
	slices.SortFunc(others, func(a, b release) int {
		return cmp.Or(semver.NuGet.Compare(b.version, a.version), strings.Compare(a.version, b.version))
	})
	for _, o := range others {
		if semver.NuGet.Compare(o.version, r.Version) >= 0 {
			continue
		}
		if f.PrevRelease.IsZero() {
			f.PrevRelease = o.at
		}
		if len(hs) < n {
			hs = append(hs, trust.History{Version: o.version, Published: o.at})
		}
	}
	return f, hs, known
}

// repository cuts a GitHub or GitLab URL to the repository's own.
func repository(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host != "github.com" && u.Host != "gitlab.com" {
		return ""
	}
	parts := strings.SplitN(strings.Trim(u.Path, "/"), "/", 3)
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return ""
	}
	return strings.ToLower("https://" + u.Host + "/" + parts[0] + "/" + strings.TrimSuffix(parts[1], ".git"))
}

// nuspec is what a package says of itself; it is under the package's signatures.
type nuspec struct {
	id, version string
	license     string
	repository  string
	commit      string
}

// readNuspec reads the one .nuspec in the root of a package.
func readNuspec(r io.ReaderAt, size int64) (*nuspec, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the package cannot be read: %w", err)
	}
	if len(z.File) > MaxEntries {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the package has more than %d entries", MaxEntries)
	}
	var found *zip.File
	for _, f := range z.File {
		if strings.ContainsAny(f.Name, `/\`) || !strings.HasSuffix(strings.ToLower(f.Name), ".nuspec") {
			continue
		}
		if found != nil {
			return nil, trust.Failure(trust.ReasonDuplicate, "the package has two .nuspec files, %.60q and %.60q", found.Name, f.Name)
		}
		found = f
	}
	if found == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the package has no .nuspec")
	}
	rc, err := found.Open()
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the .nuspec cannot be read: %w", err)
	}
	defer rc.Close()
	b, err := io.ReadAll(io.LimitReader(rc, MaxNuspec+1))
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the .nuspec cannot be read: %w", err)
	}
	if len(b) > MaxNuspec {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the .nuspec is larger than %d bytes", MaxNuspec)
	}
	return parseNuspec(b)
}

func parseNuspec(b []byte) (*nuspec, error) {
	var doc struct {
		XMLName  xml.Name `xml:"package"`
		Metadata []struct {
			ID      []string `xml:"id"`
			Version []string `xml:"version"`
			License struct {
				Type string `xml:"type,attr"`
				Text string `xml:",chardata"`
			} `xml:"license"`
			Project    string `xml:"projectUrl"`
			Repository struct {
				URL    string `xml:"url,attr"`
				Commit string `xml:"commit,attr"`
			} `xml:"repository"`
		} `xml:"metadata"`
	}
	malformed := func(err error) (*nuspec, error) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the .nuspec is malformed: %w", err)
	}
	if err := strictxml.Decode(b, &doc); err != nil {
		return malformed(err)
	}
	if len(doc.Metadata) != 1 {
		return malformed(fmt.Errorf("it has %d metadata elements", len(doc.Metadata)))
	}
	m := doc.Metadata[0]
	var n nuspec
	var err error
	if n.id, err = strictxml.Single("id", m.ID); err != nil {
		return malformed(err)
	}
	if n.version, err = strictxml.Single("version", m.Version); err != nil {
		return malformed(err)
	}
	if n.id == "" || n.version == "" {
		return malformed(fmt.Errorf("it lacks id or version"))
	}
	if m.License.Type == "expression" {
		n.license = strings.TrimSpace(m.License.Text)
	}
	if n.repository = repository(m.Repository.URL); n.repository == "" {
		n.repository = repository(m.Project)
	}
	n.commit = strings.TrimSpace(m.Repository.Commit)
	return &n, nil
}

// names compares the package's own word with what was asked for.
func (n *nuspec) names(r trust.Release) error {
	own, err := trust.NewRelease("nuget", "", n.id, n.version)
	if err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "the package's own name: %w", err)
	}
	if own.Package.Name != r.Package.Name {
		return trust.Failure(trust.ReasonWrongName, "the package says of itself that it is %.100q", n.id)
	}
	if own.Version != r.Version {
		return trust.Failure(trust.ReasonWrongVersion, "the package says of itself that it is version %.100q", n.version)
	}
	return nil
}
