package maven

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"deps.dev/util/semver"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of a component's files.
const (
	MaxFiles    = 64      // files of one component that are looked into
	MaxArtifact = 2 << 30 // bytes of one file
	MaxChecksum = 4 << 10 // bytes of a checksum file
	// maxHistory is how many earlier releases are asked for their POM and its signature.
	maxHistory = 3
)

// factsFreshFor is how old the unsigned list of versions may be.
const factsFreshFor = time.Hour

// Options are the outside world of the adapter. All are required, but for
// Materials: without them no OpenPGP key is pinned.
type Options struct {
	Get       upstream.Getter
	Clock     adapter.Clock
	Config    Config
	Materials adapter.Materials
	// KeysMaps narrow which of the pinned keys may sign what; none for no demand.
	KeysMaps []*KeysMap
	Sigstore adapter.Verifiers
}

// Adapter checks artifacts of Maven repositories. It is safe for concurrent use.
type Adapter struct {
	Options
	keys *pinned.Keys
}

// New returns an adapter; a part that is missing is an error.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil || o.Sigstore == nil {
		return nil, errors.New("the adapter of Maven needs an upstream client, a clock and Sigstore's root")
	}
	return &Adapter{Options: o, keys: pinned.New(o.Materials)}, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "Maven", Types: []string{"maven"}, Sources: []string{"pom.xml", "gradle.lockfile (states no digests)", "gradle verification-metadata.xml", "resolved SBOM"},
		Integrity: "SHA-256 of the bytes = source's digest = checksum file, for the file and its POM",
		Registry:  "–", Publisher: "OpenPGP by keys that were pinned for the group or artifact; Sigstore bundles, where there are any",
		Binding: "which key is pinned for which group, and the signed POM's coordinates; the repository binds no key to a group",
		Checks:  []trust.Check{trust.CheckSource, trust.CheckMetadata, trust.CheckIndex, trust.CheckBytes, trust.CheckPublisherSig, trust.CheckProvenance},
		Offers:  trust.AssuranceNone,
	}
}

// coordinate is what Maven allows in ids; versions may hold more, but nothing
// that would lead to another folder.
var (
	coordinate = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	version    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+~-]*$`)
)

// folder is the release's folder below a repository's URL.
func folder(r trust.Release) (string, error) {
	g, n, v := r.Package.Namespace, r.Package.Name, r.Version
	if !coordinate.MatchString(g) || !coordinate.MatchString(n) || !version.MatchString(v) || strings.Contains(g+"."+n+"."+v, "..") {
		return "", trust.Undecidable(trust.ReasonUnsupported, "%.100q is no group, artifact and exact version that a repository could have", g+":"+n+":"+v)
	}
	return strings.ReplaceAll(g, ".", "/") + "/" + n + "/" + url.PathEscape(v) + "/", nil
}

// file is one file of a release.
type file struct {
	name    string
	locked  trust.Digests
	primary bool
	// guessed says that nobody stated the file's extension.
	guessed bool
}

func (f file) artifact() trust.Artifact { return trust.Artifact{Name: f.name, Digests: f.locked} }

// typed are the classifier and extension that Maven's dependency types stand for.
var typed = map[string][2]string{
	"": {"", "jar"}, "jar": {"", "jar"}, "maven-plugin": {"", "jar"}, "ejb": {"", "jar"}, "bundle": {"", "jar"}, "eclipse-plugin": {"", "jar"},
	"test-jar": {"tests", "jar"}, "java-source": {"sources", "jar"}, "javadoc": {"javadoc", "jar"}, "ejb-client": {"client", "jar"},
}

// files are the release's POM, its primary file, and what else the source states.
func files(c sbom.Component) ([]file, error) {
	r := c.Release
	stem := r.Package.Name + "-" + r.Version
	typ, classifier := r.Qualifier("type"), r.Qualifier("classifier")
	t, ok := typed[typ]
	if !ok {
		t = [2]string{"", typ}
	}
	if classifier == "" {
		classifier = t[0]
	}
	primary := stem
	if classifier != "" {
		primary += "-" + classifier
	}
	primary += "." + t[1]
	pom := file{name: stem + ".pom", primary: primary == stem+".pom"}
	out := []file{pom}
	if !pom.primary {
		out = append(out, file{name: primary, primary: true, guessed: typ == "" && classifier == ""})
	}
	for _, art := range c.Artifacts {
		name := art.Name
		if name == "" {
			name = primary
		}
		if rest, ok := strings.CutPrefix(name, stem); !ok || rest == "" || rest[0] != '-' && rest[0] != '.' || strings.ContainsAny(name, `/\%?#`) {
			return nil, trust.Failure(trust.ReasonWrongName, "the source states the file %.100q, which is none of %s", name, r.PURL())
		}
		i := slices.IndexFunc(out, func(f file) bool { return f.name == name })
		if i < 0 {
			if len(out) == MaxFiles {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "the source states more than %d files", MaxFiles)
			}
			out = append(out, file{name: name})
			i = len(out) - 1
		}
		for _, d := range art.Digests {
			if !slices.Contains(out[i].locked, d) {
				out[i].locked = append(out[i].locked, d)
			}
		}
		out[i].guessed = out[i].guessed && len(art.Digests) == 0
	}
	for _, f := range out {
		if strings.ContainsAny(f.name, `/\%?#`) {
			return nil, trust.Undecidable(trust.ReasonUnsupported, "%.100q is no file name", f.name)
		}
	}
	return out, nil
}

// registry is the repository that a component's source names, if any.
func registry(c sbom.Component) string {
	if c.Registry != "" {
		return c.Registry
	}
	return c.Release.Package.Qualifier("repository_url")
}

// Collect makes every check of one component.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	whole := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if e, ok := adapter.Elsewhere(c, "a Maven repository"); ok {
		return one(e)
	}
	repos, ok := a.Config.candidates(registry(c))
	if !ok {
		e := adapter.Refuted(trust.CheckSource, r, whole, trust.ReasonForeignSource, "the source names the repository %s, which the user's Maven settings do not have", registry(c))
		e.Remedy = "add the repository to ~/.m2/settings.xml if it is yours, or correct the source"
		return one(e)
	}
	if strings.HasSuffix(r.Version, "-SNAPSHOT") || snapshot.MatchString(r.Version) {
		e := adapter.Missing(trust.CheckMetadata, r, whole, trust.ReasonNotOffered, "%s is a snapshot: its bytes change under one version, so that nothing verified of it would last", r.Version)
		e.Remedy = "depend on a release"
		return one(e)
	}
	at, err := folder(r)
	if err != nil {
		return one(adapter.Unverified(trust.CheckMetadata, r, whole, err))
	}
	fs, err := files(c)
	if err != nil {
		return one(adapter.Unverified(trust.CheckMetadata, r, whole, err))
	}
	s := &session{a: a, req: req, r: r}
	var resp *upstream.Response
	for _, repo := range repos {
		resp, err = a.document(ctx, repo+at+fs[0].name, MaxPOM)
		if err != nil || resp != nil {
			s.base, s.repo = repo+at, repo
			break // no going on to another repository when one gives no answer
		}
	}
	switch {
	case ctx.Err() != nil:
		return adapter.Result{}, ctx.Err()
	case err != nil:
		return one(adapter.Unverified(trust.CheckMetadata, r, whole, err))
	case resp == nil:
		return one(adapter.Doubtful(trust.CheckMetadata, r, whole, trust.ReasonNotFound, "none of the configured repositories has a POM of this release (asked: %s)", strings.Join(repos, ", ")))
	}
	s.pom, err = parsePOM(resp.Body)
	if err != nil {
		return one(adapter.Unverified(trust.CheckMetadata, r, whole, err))
	}
	s.add(trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: whole, Source: s.repo})
	meta := trust.Evidence{Check: trust.CheckMetadata, Outcome: trust.Verified, Release: r, Artifact: fs[0].artifact(), Source: resp.URL}
	if s.naming = s.pom.names(r); s.naming != nil {
		meta = adapter.Unverified(trust.CheckMetadata, r, fs[0].artifact(), s.naming)
		meta.Source = resp.URL
	}
	meta.Raw = []trust.Raw{trust.NewRaw("pom", "application/xml", resp.Body)}
	s.add(meta)
	s.keys(ctx)
	for _, f := range fs {
		if err := s.file(ctx, f); err != nil {
			return adapter.Result{}, err
		}
	}
	s.facts(ctx, resp)
	return s.res, ctx.Err()
}

// snapshot is the version of one deployed snapshot.
var snapshot = regexp.MustCompile(`-[0-9]{8}\.[0-9]{6}-[0-9]+$`)

// document asks for one small file; nil and no error means that there is none.
func (a *Adapter) document(ctx context.Context, u string, max int64) (*upstream.Response, error) {
	resp, err := a.Get.Get(ctx, upstream.Request{URL: u, MaxBytes: max})
	switch {
	case err != nil:
		return nil, err
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusGone:
		return nil, nil
	case resp.Status != http.StatusOK:
		return nil, trust.Undecidable(trust.ReasonNetwork, "the repository answered HTTP %d for %s", resp.Status, path.Base(u))
	}
	return resp, nil
}

// facts are the unsigned hints of POM, header and list of versions, and the
// earlier releases.
func (s *session) facts(ctx context.Context, pom *upstream.Response) {
	f := &s.res.Facts
	f.Licenses, f.Repository = s.pom.licenses, s.pom.repository
	f.Published = modified(pom)
	if s.pom.relocation != "" {
		why := "moved to " + s.pom.relocation
		f.Deprecated = &why
	}
	list, err := s.a.Get.Get(ctx, upstream.Request{URL: s.repo + strings.ReplaceAll(s.r.Package.Namespace, ".", "/") + "/" + s.r.Package.Name + "/maven-metadata.xml", MaxBytes: MaxMetadata, MaxAge: factsFreshFor})
	if err != nil || list.Status != http.StatusOK {
		return
	}
	m, err := parseMetadata(list.Body)
	if err != nil {
		f.Notes = append(f.Notes, "The repository's list of versions could not be read: "+err.Error())
		return
	}
	f.Releases, f.LatestKnown = len(m.versions), m.release
	if len(m.versions) > 0 && !slices.Contains(m.versions, s.r.Version) {
		f.Notes = append(f.Notes, "The repository serves this version and does not list it.")
	}
	var earlier []string
	for _, v := range m.versions {
		if version.MatchString(v) && !strings.HasSuffix(v, "-SNAPSHOT") && semver.Maven.Compare(v, s.r.Version) < 0 {
			earlier = append(earlier, v)
		}
	}
	slices.SortFunc(earlier, func(x, y string) int { return semver.Maven.Compare(y, x) })
	earlier = slices.Compact(earlier)
	for i, v := range earlier[:min(s.req.History, len(earlier))] {
		h := trust.History{Version: v}
		if i < maxHistory && s.ring.Len() > 0 { // without keys a look would teach nothing
			h = s.earlier(ctx, v)
		}
		if i == 0 {
			f.PrevRelease = h.Published
		}
		s.res.History = append(s.res.History, h)
	}
}

// modified is when the repository says that a file was put there.
func modified(resp *upstream.Response) time.Time {
	t, err := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// earlier looks at an earlier release's POM and its signature.
func (s *session) earlier(ctx context.Context, v string) trust.History {
	h := trust.History{Version: v}
	old := s.r
	old.Version, old.Variant = v, ""
	at, err := folder(old)
	if err != nil {
		return h
	}
	name := old.Package.Name + "-" + v + ".pom"
	pom, err := s.a.document(ctx, s.repo+at+name, MaxPOM)
	if err != nil || pom == nil {
		return h
	}
	h.Published = modified(pom)
	asc, err := s.a.document(ctx, s.repo+at+name+".asc", maxSignature)
	if err != nil || asc == nil {
		return h
	}
	h.Claimed = trust.AssurancePublisher
	p, err := parsePOM(pom.Body)
	if err != nil || p.names(old) != nil {
		return h
	}
	h.Repository = p.repository
	if got, err := s.verify(pom.Body, asc.Body); err == nil {
		h.Assurance, h.Signers = trust.AssurancePublisher, got.Signers()
	}
	return h
}

// Fetch hands out a file with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	repos, ok := a.Config.candidates(registry(c))
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the repository %s is not configured", c.Release, registry(c))
	}
	d := art.Digests.Strongest()
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch %s by", c.Release, art.Name)
	}
	at, err := folder(c.Release)
	if err != nil {
		return nil, err
	}
	c.Artifacts = []trust.Artifact{art}
	fs, err := files(c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(fs, func(f file) bool { return slices.Contains(f.locked, d) })
	if i < 0 {
		return nil, trust.Undecidable(trust.ReasonNotFound, "%s has no file %s", c.Release, art.Name)
	}
	err = fmt.Errorf("%s: no repository is configured", c.Release)
	for _, repo := range repos {
		var b adapter.Blob
		if b, err = a.Get.Open(ctx, upstream.Request{URL: repo + at + fs[i].name, MaxBytes: MaxArtifact, Want: d}); err == nil {
			return b, nil
		}
		if !notThere(err) {
			break
		}
	}
	return nil, err
}

// notThere reports whether a repository said that it has no such file.
func notThere(err error) bool {
	var ue *upstream.Error
	return errors.As(err, &ue) && (ue.Status == http.StatusNotFound || ue.Status == http.StatusGone)
}
