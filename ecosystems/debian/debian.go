package debian

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

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
}

// New returns an adapter.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil || o.State == nil {
		return nil, errors.New("the adapter of Debian needs an upstream client, a clock and trust state")
	}
	return &Adapter{get: o.Get, clock: o.Clock, state: o.State, materials: o.Materials, cfg: o.Config.withDefaults(), suites: map[string]*once[*signed]{}}, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "Debian, Ubuntu", Types: []string{"deb"},
		Sources:   []string{"dpkg packages of images and SBOMs, with their distribution"},
		Integrity: "SHA-256 of Packages under the signed InRelease (= .deb, when fetched); dpkg itself records none",
		Registry:  "InRelease of release, updates and security suites (OpenPGP)",
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
		e.Remedy = "update the package; or it comes from another archive, whose packages headgate cannot verify"
		res := adapter.Result{Evidence: []trust.Evidence{e}}
		if len(gone.versions) == 1 {
			res.Facts.LatestKnown = gone.versions[0]
		}
		return res, nil
	case err != nil:
		return one(adapter.Unverified(trust.CheckRegistrySig, r, locked, err))
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
	if p.doubt != nil {
		res.Facts.Notes = []string{"Not all indexes of the distribution could be read: " + p.doubt.Error()}
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
		e.Detail = fmt.Sprintf("%s of %s, signed on %s, lists %s", p.index, p.suite.suite.name, p.suite.release.date.Format("2006-01-02"), p.entry.digest())
		e.Raw = []trust.Raw{p.suite.raw}
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

// find looks the release up, the main components of all suites first. A suite
// that cannot be judged counts only if no other lists the release.
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
	suites := a.cfg.suites(r.Package.Namespace, name, index, r.Version)
	loaded := make([]*signed, len(suites))
	var failed error
	gone := &notListed{}
	note := func(err error) {
		if failed == nil || adapter.Unverified(trust.CheckRegistrySig, r, trust.Artifact{}, err).Outcome == trust.Failed {
			failed = err
		}
	}
	for i, s := range suites {
		gone.suites = append(gone.suites, s.name)
		if loaded[i], err = a.signed(ctx, s); err != nil {
			note(err)
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
				file := comp + "/binary-" + index + "/Packages"
				ps, err := a.packages(ctx, s, file)
				if err != nil {
					note(err)
					continue
				}
				e, err := ps.find(r.Package.Name, r.Version, want)
				if err != nil {
					return place{}, err
				}
				if e != nil {
					return place{s, *e, file, failed}, nil
				}
				for _, e := range ps[r.Package.Name] {
					if (want == "" || e.arch == want) && !slices.Contains(gone.versions, e.version) {
						gone.versions = append(gone.versions, e.version)
					}
				}
			}
		}
	}
	if failed != nil {
		return place{}, failed
	}
	return place{}, gone
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
