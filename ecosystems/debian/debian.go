package debian

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// settled is the age behind which an index's date is as good as that of its
// packages.
const settled = 30 * 24 * time.Hour

// maxListed is how many versions of a package are named when the wanted one is
// not among them.
const maxListed = 4

// Options are the outside world of the adapter.
type Options struct {
	Get    upstream.Getter
	Clock  adapter.Clock
	State  adapter.State
	Config Config
	// Materials hands out pinned archive keys; nil for those of the system's
	// keyring files alone.
	Materials adapter.Materials
}

// Adapter checks packages of Debian and Ubuntu. It is safe for concurrent use,
// and keeps verified indexes in memory for freshFor.
type Adapter struct {
	get       upstream.Getter
	clock     adapter.Clock
	state     adapter.State
	materials adapter.Materials
	cfg       Config

	mu     sync.Mutex
	suites map[string]*once[*signed]
	dates  map[string]*once[time.Time] // of source packages by URL; zero if unknown
}

// New returns an adapter.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil || o.State == nil {
		return nil, errors.New("the adapter of Debian needs an upstream client, a clock and trust state")
	}
	return &Adapter{get: o.Get, clock: o.Clock, state: o.State, materials: o.Materials, cfg: o.Config.withDefaults(), suites: map[string]*once[*signed]{}, dates: map[string]*once[time.Time]{}}, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "Debian, Ubuntu", Types: []string{"deb"},
		Sources:   []string{"dpkg packages of images and SBOMs, with their distribution"},
		Integrity: "SHA-256 of Packages under the signed InRelease (= .deb, when fetched); dpkg itself records none",
		Registry:  "InRelease, or Release with Release.gpg, of release, updates and security suites (OpenPGP)",
		Publisher: "–", Binding: "the signed index names package, version and architecture",
		Checks: []trust.Check{trust.CheckSource, trust.CheckLockfile, trust.CheckRegistrySig, trust.CheckBytes},
		Offers: trust.AssuranceRegistry,
	}
}

// place is a package in a verified index.
type place struct {
	suite *signed
	entry entry
	index string // name of the Packages file
	doubt error  // why another suite or file could not be read, if one could not
}

func (p place) url() string { return p.suite.suite.base + p.entry.filename }

// notListed says that no suite of the distribution lists the version.
type notListed struct {
	suites   []string
	versions []string
}

func (e *notListed) Error() string {
	s := "the signed indexes of " + strings.Join(e.suites, ", ") + " do not list this version (any more)"
	if len(e.versions) > 0 {
		return s + "; they list " + strings.Join(e.versions[:min(len(e.versions), maxListed)], ", ")
	}
	return s + ", nor any other of the package"
}

// Collect looks the package up in the signed indexes of its distribution.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if e, ok := adapter.Elsewhere(c, "an archive of a distribution"); ok {
		return one(e)
	}
	if len(c.Artifacts) > 1 {
		return one(adapter.Doubtful(trust.CheckRegistrySig, r, locked, trust.ReasonUnsupported, "the source states %d files of one package, which has one", len(c.Artifacts)))
	}
	p, err := a.find(ctx, r)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	var gone *notListed
	switch {
	case errors.As(err, &gone):
		e := adapter.Missing(trust.CheckRegistrySig, r, locked, trust.ReasonNotCovered, "%s", gone.Error())
		e.Remedy = "update the package; or name a snapshot of the archive that has it in " + EnvSnapshots + "; or add the archive that it comes from to your apt sources, with its Signed-By key"
		res := adapter.Result{Evidence: []trust.Evidence{e}}
		if len(gone.versions) == 1 {
			res.Facts.LatestKnown = gone.versions[0]
		}
		return res, nil
	case err != nil:
		e := adapter.Unverified(trust.CheckRegistrySig, r, locked, err)
		if e.Reason == trust.ReasonUnknownKey {
			e.Remedy = fmt.Sprintf("install the package %[1]s-archive-keyring, or pin the distribution's keyring file: headgate signers accept --key FILE --scope 'pkg:deb/%[1]s/*' --reason \"…\"", r.Package.Namespace)
		}
		return one(e)
	}
	served := trust.Artifact{Name: path.Base(p.entry.filename), URL: p.url(), Digests: trust.Digests{p.entry.digest()}}
	lock := adapter.CompareDigests(trust.CheckLockfile, r, locked, served)
	lock.Source = p.suite.url
	subject := locked
	if len(locked.Digests) == 0 {
		subject = served
	}
	res := adapter.Result{Evidence: []trust.Evidence{lock, a.signature(r, p, lock, subject)}}
	if req.Bytes {
		res.Evidence = append(res.Evidence, a.bytes(ctx, r, p, subject))
	}
	res.Facts.Published = a.published(ctx, p, r.Package.Name)
	if !p.suite.suite.at.IsZero() {
		res.Facts.Notes = append(res.Facts.Notes, "The archive does not list this version any more; it was listed on "+p.suite.suite.at.Format(time.DateOnly)+".")
	}
	if p.doubt != nil {
		res.Facts.Notes = append(res.Facts.Notes, "Not all indexes of the distribution could be read: "+p.doubt.Error())
	}
	return res, ctx.Err()
}

// signature is the evidence that the archive signed the subject's digest.
func (a *Adapter) signature(r trust.Release, p place, lock trust.Evidence, subject trust.Artifact) trust.Evidence {
	signer := p.suite.signer
	e := trust.Evidence{Check: trust.CheckRegistrySig, Release: r, Artifact: subject, Signer: &signer, Source: p.suite.url}
	switch {
	case lock.Outcome == trust.Verified, lock.Outcome == trust.Absent:
		e.Outcome, e.Assurance = trust.Verified, trust.AssuranceRegistry
		e.Root = p.suite.key
		e.Detail = fmt.Sprintf("%s of %s, signed on %s, lists %s", p.index, p.suite.suite.describe(), p.suite.release.date.Format("2006-01-02"), p.entry.digest())
		e.Raw = p.suite.raws
	default:
		e.Outcome, e.Reason = lock.Outcome, lock.Reason
		e.Detail = fmt.Sprintf("the archive signed %s for this version, the source states %s", p.entry.digest(), subject.Digests[0])
		if e.Outcome != trust.Failed {
			e.Signer = nil
		}
	}
	return e
}

// arch returns the architecture whose index lists the release. Packages for all
// architectures are in each of them.
func arch(r trust.Release) (index, want string) {
	want = r.Qualifier("arch")
	if index = want; index == "" || index == "all" {
		index = "amd64"
	}
	return index, want
}

// find looks the release up: in the distribution's archives as they are, in
// archives of others that the user's apt knows, and in the snapshots that the
// user named. A suite that cannot be judged counts only if no other lists the
// release. What somebody else's archive lists is signed by their key, not by the
// distribution: it is accepted by a person, or not.
func (a *Adapter) find(ctx context.Context, r trust.Release) (place, error) {
	name, err := codename(r.Package.Namespace, r.Qualifier("distro"))
	if err != nil {
		return place{}, trust.Undecidable(trust.ReasonUnsupported, "%w", err)
	}
	if r.Version == "" {
		return place{}, trust.Undecidable(trust.ReasonUnsupported, "the source states no version")
	}
	index, want := arch(r)
	if !plainPath(index) || strings.Contains(index, "/") {
		return place{}, trust.Undecidable(trust.ReasonMalformed, "%.40q is no architecture", index)
	}
	l := lookup{Adapter: a, r: r, index: index, want: want, gone: &notListed{}}
	p, err := l.among(ctx, a.cfg.suites(r.Package.Namespace, name, index, r.Version))
	if p != nil || err != nil {
		return l.done(p, err)
	}
	if p, err = l.among(ctx, a.cfg.foreign(r.Package.Namespace)); p != nil || err != nil {
		return l.done(p, err)
	}
	p, err = l.among(ctx, a.cfg.snapshots(r.Package.Namespace, name, r.Version))
	return l.done(p, err)
}

// lookup is one release that is looked for.
type lookup struct {
	*Adapter
	r           trust.Release
	index, want string // architecture of the index, and of the package
	gone        *notListed
	failed      error // why a suite could not be judged, the worst of them
}

func (l *lookup) note(err error) {
	if l.failed == nil || adapter.Unverified(trust.CheckRegistrySig, l.r, trust.Artifact{}, err).Outcome == trust.Failed {
		l.failed = err
	}
}

func (l *lookup) done(p *place, err error) (place, error) {
	switch {
	case err != nil:
		return place{}, err
	case p != nil:
		p.doubt = l.failed
		return *p, nil
	case l.failed != nil:
		return place{}, l.failed
	}
	return place{}, l.gone
}

// among looks into the suites, the main components of all of them first.
func (l *lookup) among(ctx context.Context, suites []suite) (*place, error) {
	loaded := make([]*signed, len(suites))
	for i, s := range suites {
		l.gone.suites = append(l.gone.suites, s.describe())
		var err error
		if loaded[i], err = l.signed(ctx, s); err != nil {
			l.note(err)
		}
	}
	for _, first := range []bool{true, false} {
		for _, s := range loaded {
			if s == nil {
				continue
			}
			for i, comp := range s.release.components {
				if (i == 0) != first {
					continue
				}
				file := comp + "/binary-" + l.index + "/Packages"
				ps, err := l.packages(ctx, s, file)
				if err != nil {
					l.note(err)
					continue
				}
				e, err := ps.find(l.r.Package.Name, l.r.Version, l.want)
				if err != nil {
					return nil, err
				}
				if e != nil {
					return &place{suite: s, entry: *e, index: file}, nil
				}
				for _, e := range ps[l.r.Package.Name] {
					if (l.want == "" || e.arch == l.want) && !slices.Contains(l.gone.versions, e.version) {
						l.gone.versions = append(l.gone.versions, e.version)
					}
				}
			}
		}
	}
	return nil, nil
}

// published is when the package was there at the latest: the signed date of the
// index that lists it. Indexes of updates are signed anew every few hours; where
// one is young, the archive is asked when it got the package's source.
func (a *Adapter) published(ctx context.Context, p place, name string) time.Time {
	at := p.suite.release.date
	if a.clock().Sub(at) > settled {
		return at
	}
	d := p.entry.description(name)
	if d == "" {
		return at
	}
	u := p.suite.suite.base + d
	a.mu.Lock()
	o := a.dates[u]
	if o == nil {
		o = newOnce[time.Time]()
		a.dates[u] = o
	}
	a.mu.Unlock()
	t, err := o.get(ctx, a.clock, func() (time.Time, error) {
		resp, err := a.get.Get(ctx, upstream.Request{URL: u, MaxBytes: MaxDescription, MaxAge: settled}) // it never changes
		if err != nil || resp.Status != http.StatusOK {
			return time.Time{}, err
		}
		t, err := http.ParseTime(resp.Header.Get("Last-Modified"))
		return t.UTC(), err
	})
	if err != nil || t.IsZero() || !t.Before(at) {
		return at
	}
	return t
}

// bytes fetches the package and compares its digest.
func (a *Adapter) bytes(ctx context.Context, r trust.Release, p place, subject trust.Artifact) trust.Evidence {
	d := subject.Digests.Strongest()
	if d.IsZero() {
		d = p.entry.digest()
	}
	b, err := a.open(ctx, p, d)
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		return adapter.Unverified(trust.CheckBytes, r, subject, err)
	}
	return trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: subject, Source: p.url()}
}

func (a *Adapter) open(ctx context.Context, p place, d trust.Digest) (adapter.Blob, error) {
	if p.entry.size > MaxPackage {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has %d bytes, headgate reads at most %d", p.url(), p.entry.size, int64(MaxPackage))
	}
	return a.get.Open(ctx, upstream.Request{URL: p.url(), MaxBytes: p.entry.size, Want: d})
}

// Fetch hands out a package with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	d := art.Digests.Strongest()
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch it by", c.Release)
	}
	p, err := a.find(ctx, c.Release)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Release, err)
	}
	return a.open(ctx, p, d)
}
