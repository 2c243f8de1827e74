package npm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"deps.dev/util/semver"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Name is the adapter's name and its purl type.
const Name = "npm"

// Trust is the pinned trust material that the adapter verifies with.
type Trust struct {
	// Keys are the public registry's keys, from its TUF target. Nil means that they
	// are not at hand.
	Keys *sigstore.KeySet
	// Registries are keys that the user pinned for other registries, by base URL.
	Registries map[string]*sigstore.KeySet
	// Root is Sigstore's trusted root, nil if it is not at hand.
	Root *sigstore.Root
	// RootFor returns the root of the Sigstore instance that vouches for a package;
	// nil takes Root for every package.
	RootFor func(trust.Package) (*sigstore.Root, error)
	// Err says why Keys or Root are not at hand; it becomes the evidence's detail.
	Err error
}

// Options are the outside world of the adapter.
type Options struct {
	Get    upstream.Getter
	Clock  adapter.Clock
	Config Config
	// Trust is called before each use, so that a long-running process sees refreshed
	// keys; it must be quick and safe for concurrent use.
	Trust func() Trust
	// TrustPublishTimesUnsafe takes the registry's unsigned publication times as
	// proof that a retired key signed within its window, as npm itself does.
	TrustPublishTimesUnsafe bool
	// MetadataAge is how old a cached packument may be; zero always revalidates.
	MetadataAge time.Duration
}

// Adapter is the npm adapter. Use New.
type Adapter struct {
	o Options

	mu        sync.Mutex
	verifiers map[[3]string]*verifiers
	records   map[string]*record
	order     []string
}

var (
	_ adapter.Adapter    = (*Adapter)(nil)
	_ adapter.Fetcher    = (*Adapter)(nil)
	_ adapter.Prefetcher = (*Adapter)(nil)
)

// New returns the adapter. A configuration that names no valid registry is an error.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil || o.Trust == nil {
		return nil, errors.New("npm adapter needs a client, a clock and trust material")
	}
	var err error
	if o.Config, err = o.Config.normalize(); err != nil {
		return nil, err
	}
	return &Adapter{o: o, verifiers: map[[3]string]*verifiers{}, records: map[string]*record{}}, nil
}

// Describe says what the adapter verifies.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: Name, Types: []string{"npm"},
		Sources:   []string{"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"},
		Integrity: "SHA-512 (SRI) of the tarball",
		Registry:  "name, version and integrity (ECDSA); publish attestation",
		Publisher: "SLSA provenance by Sigstore",
		Binding:   "attestation's subject and the registry's publish attestation; source repository accepted by the store",
		Checks: []trust.Check{trust.CheckSource, trust.CheckMetadata, trust.CheckLockfile, trust.CheckRegistrySig,
			trust.CheckPublish, trust.CheckProvenance, trust.CheckBytes},
		Offers: trust.AssuranceRegistry,
	}
}

// verifiers are the Sigstore verifiers of one root and key set.
type verifiers struct {
	keyless, keyed       *sigstore.Verifier
	keylessErr, keyedErr error
}

func (a *Adapter) verifiersFor(t Trust) *verifiers {
	if t.Root == nil {
		err := t.Err
		if err == nil {
			err = trust.Undecidable(trust.ReasonExpiredRoot, "no trusted root of Sigstore; run headgate db update, or name one with --trusted-root")
		}
		return &verifiers{keylessErr: err, keyedErr: err}
	}
	key := [3]string{t.Root.Instance(), t.Root.Info().Digest.Value}
	if t.Keys != nil {
		key[2] = t.Keys.Digest().Value
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.verifiers[key]; ok {
		return v
	}
	v := &verifiers{}
	v.keyless, v.keylessErr = sigstore.NewVerifier(t.Root)
	if t.Keys == nil || !t.Keys.Has(sigstore.UsageAttestations) {
		v.keyedErr = trust.Undecidable(trust.ReasonUnknownKey, "no key of the registry for attestations; run headgate db update")
	} else {
		v.keyed, v.keyedErr = sigstore.NewKeyVerifier(t.Root, t.Keys, sigstore.UsageAttestations)
	}
	if len(a.verifiers) > 8 { // roots change once in months
		clear(a.verifiers)
	}
	a.verifiers[key] = v
	return v
}

// record is a packument that several components of one run share.
type record struct {
	at   time.Time // when it was asked for
	once sync.Once
	p    *packument
	err  error
	src  string
}

// maxRecords bounds the packuments that are kept for further versions of the
// same package; they are reduced to the fields of version.
const maxRecords = 512

// recordAge is how long a packument is kept in memory for further components;
// a run is shorter, a server asks anew.
const recordAge = 5 * time.Minute

// pack returns the packument of a package, asked once per MetadataAge or run.
func (a *Adapter) pack(ctx context.Context, base string, pkg trust.Package) (*packument, string, error) {
	key := base + " " + pkg.FullName()
	a.mu.Lock()
	r, ok := a.records[key]
	if now := a.o.Clock(); !ok || now.Sub(r.at) > recordAge {
		if !ok {
			a.order = append(a.order, key)
		}
		r = &record{at: now}
		a.records[key] = r
		if len(a.order) > maxRecords {
			delete(a.records, a.order[0])
			a.order = a.order[1:]
		}
	}
	a.mu.Unlock()
	r.once.Do(func() { r.p, r.src, r.err = a.fetchPackument(ctx, base, pkg) })
	if r.err == nil {
		return r.p, r.src, nil
	}
	// An error is never kept: the next component asks again.
	a.mu.Lock()
	if a.records[key] == r {
		delete(a.records, key)
		a.order = slices.DeleteFunc(a.order, func(k string) bool { return k == key })
	}
	a.mu.Unlock()
	if errors.Is(r.err, context.Canceled) && ctx.Err() == nil {
		// Somebody else asked, and was cancelled.
		return a.fetchPackument(ctx, base, pkg)
	}
	return r.p, r.src, r.err
}

// Forget drops the packuments kept in memory, so that a long-running process
// asks anew.
func (a *Adapter) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.records)
	a.order = nil
}

func escapeName(pkg trust.Package) string {
	if pkg.Namespace != "" {
		return url.PathEscape(pkg.Namespace) + "%2f" + url.PathEscape(pkg.Name)
	}
	return url.PathEscape(pkg.Name)
}

func (a *Adapter) fetchPackument(ctx context.Context, base string, pkg trust.Package) (*packument, string, error) {
	res, err := a.o.Get.Get(ctx, upstream.Request{URL: base + escapeName(pkg), Accept: "application/json", MaxBytes: MaxPackument, MaxAge: a.o.MetadataAge})
	if err != nil {
		return nil, "", err
	}
	if err := status(res, "record of "+pkg.FullName()); err != nil {
		return nil, res.URL, err
	}
	p, err := parsePackument(res.Body)
	switch {
	case errors.Is(err, errTooMany):
		return nil, res.URL, trust.Undecidable(trust.ReasonTooLarge, "record of %s: %w", pkg.FullName(), err)
	case err != nil:
		return nil, res.URL, trust.Undecidable(trust.ReasonMalformed, "reading the record of %s: %w", pkg.FullName(), err)
	case p.name != pkg.FullName():
		return nil, res.URL, trust.Failure(trust.ReasonWrongName, "asked for %s, the registry answers with the record of %q", pkg.FullName(), clip(p.name))
	}
	return p, res.URL, nil
}

// status turns an HTTP status that is no success into an error.
func status(res *upstream.Response, what string) error {
	switch {
	case res.Status == http.StatusOK:
		return nil
	case res.Status == http.StatusNotFound || res.Status == http.StatusGone:
		return trust.Undecidable(trust.ReasonNotFound, "%s: the registry does not know it (HTTP %d)", what, res.Status)
	}
	return trust.Undecidable(trust.ReasonNetwork, "%s: HTTP %d", what, res.Status)
}

// Prefetch asks for the packuments of many components, a few at a time.
func (a *Adapter) Prefetch(ctx context.Context, cs []sbom.Component) {
	sem := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for _, c := range cs {
		if c.Kind != sbom.KindRegistry && c.Kind != sbom.KindUnknown {
			continue
		}
		select {
		case sem <- struct{}{}:
		case <-ctx.Done():
			wg.Wait()
			return
		}
		wg.Go(func() {
			defer func() { <-sem }()
			_, _, _ = a.pack(ctx, a.o.Config.registry(c.Release.Package.Namespace), c.Release.Package) // Collect meets the error again
		})
	}
	wg.Wait()
}

// collection is the state of one Collect.
type collection struct {
	a    *Adapter
	req  adapter.Request
	r    trust.Release
	base string
	t    Trust
	keys *sigstore.KeySet
	pub  bool // public registry or a declared mirror of it
	res  adapter.Result
}

func (c *collection) add(e trust.Evidence) { c.res.Evidence = append(c.res.Evidence, e) }

// Collect makes every check for one component.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	if err := ctx.Err(); err != nil {
		return adapter.Result{}, err
	}
	comp := req.Component
	r := comp.Release
	c := &collection{a: a, req: req, r: r, t: a.o.Trust()}
	if c.t.RootFor != nil {
		root, err := c.t.RootFor(r.Package)
		if c.t.Root = root; err != nil {
			c.t.Err = err
		}
	}
	var locked trust.Artifact
	if len(comp.Artifacts) > 0 {
		locked = comp.Artifacts[0]
	}
	switch comp.Kind {
	case sbom.KindPath, sbom.KindWorkspace:
		c.add(adapter.Missing(trust.CheckMetadata, r, locked, trust.ReasonLocal, "comes from %s, not from a registry", clip(comp.Origin)))
		return c.res, nil
	case sbom.KindBundled:
		c.add(adapter.Missing(trust.CheckMetadata, r, locked, trust.ReasonNotOffered, "is inside another package's tarball; the registry has no record of it"))
		return c.res, nil
	case sbom.KindGit:
		detail := "comes from git, by the commit " + clip(comp.Commit) + "; no registry vouches for it"
		if !comp.Pinned {
			detail = "comes from git, from a ref that can move (" + clip(comp.Commit) + "); no registry vouches for it"
		}
		c.add(adapter.Missing(trust.CheckMetadata, r, locked, trust.ReasonNotOffered, "%s", detail))
		return c.res, nil
	case sbom.KindURL:
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "comes from %s, which is no configured registry", clip(comp.Origin))
		e.Remedy = "depend on a release of a registry, or configure the registry in your own .npmrc"
		c.add(e)
		return c.res, nil
	}
	if r.Version == "" {
		c.add(adapter.Missing(trust.CheckMetadata, r, locked, trust.ReasonNotCovered, "no version is stated, so there is no release to check"))
		return c.res, nil
	}
	c.base = a.o.Config.registry(r.Package.Namespace)
	c.pub = a.o.Config.public(c.base)
	c.keys = c.t.Registries[c.base]
	if c.pub {
		c.keys = c.t.Keys
	}
	if !c.stated(comp, locked) {
		return c.res, nil
	}
	c.source(locked)
	c.further(comp)

	p, src, err := a.pack(ctx, c.base, r.Package)
	if err != nil {
		if ctx.Err() != nil {
			return adapter.Result{}, ctx.Err()
		}
		e := adapter.Unverified(trust.CheckMetadata, r, locked, err)
		e.Source = src
		c.add(e)
		return c.res, nil
	}
	v, ok := p.versions[r.Version]
	c.facts(p, v)
	if !ok {
		detail := "the registry's record of %s does not list version %s"
		if _, was := p.times[r.Version]; was || p.unpublished {
			c.res.Facts.Unpublished = true
			detail = "the registry's record of %s no longer lists version %s: it was unpublished"
		}
		e := adapter.Doubtful(trust.CheckMetadata, r, locked, trust.ReasonNotFound, detail, r.Package.FullName(), r.Version)
		e.Source = src
		c.add(e)
		return c.res, nil
	}
	served, err := v.digests()
	if err != nil {
		e := adapter.Doubtful(trust.CheckMetadata, r, locked, trust.ReasonMalformed, "the registry's record of the release: %v", err)
		e.Source = src
		c.add(e)
		return c.res, nil
	}
	if v.Version != "" && v.Version != r.Version || v.Name != "" && v.Name != r.Package.FullName() {
		c.add(adapter.Refuted(trust.CheckMetadata, r, locked, trust.ReasonWrongVersion, "the registry's record under version %s is of %s@%s", r.Version, clip(v.Name), clip(v.Version)))
		return c.res, nil
	}
	c.add(trust.Evidence{Check: trust.CheckMetadata, Outcome: trust.Verified, Release: r, Artifact: trust.Artifact{Digests: served}, Source: src})
	c.evidence(ctx, p, v, locked, served, src)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	c.history(ctx, p)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	return c.res, nil
}

// stated judges a registry that the source names beside the URL: by a purl
// qualifier or a field of its own. Another registry's package of the same name is
// another package, and nothing that the configured registry says is about it.
func (c *collection) stated(comp sbom.Component, locked trust.Artifact) bool {
	for _, s := range []string{comp.Registry, c.r.Package.Qualifier("repository_url")} {
		if s == "" || s == comp.Registry && locked.URL != "" { // the URL itself is judged by source
			continue
		}
		u, base, err := registryURL(s)
		if err == nil && (base == c.base || magic(u)) {
			continue
		}
		if err == nil && c.pub {
			if _, ok := c.a.o.Config.mirrored(u); ok {
				continue
			}
		}
		e := adapter.Refuted(trust.CheckSource, c.r, locked, trust.ReasonForeignSource, "comes from the registry %s, the configured one is %s", clip(s), c.base)
		e.Remedy = "configure the registry for the scope in your own .npmrc"
		c.add(e)
		return false
	}
	return true
}

// further judges what a source states beside the first artifact (an SBOM can name
// several downloads). A release has one tarball: another location is no source of
// it, and other bytes are not it.
func (c *collection) further(comp sbom.Component) {
	for _, a := range comp.Artifacts[min(1, len(comp.Artifacts)):] {
		c.source(a)
		if a.Digests.Compare(comp.Artifacts[0].Digests) == trust.Disagree {
			c.add(adapter.Refuted(trust.CheckLockfile, c.r, a, trust.ReasonWrongDigest, "the source states two different tarballs of one release: %s and %s", comp.Artifacts[0].Digests.Strongest(), a.Digests.Strongest()))
		}
	}
}

// source judges the URL that the lock file states.
func (c *collection) source(locked trust.Artifact) {
	if locked.URL == "" {
		return
	}
	u, err := url.Parse(locked.URL)
	e := trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: c.r, Artifact: trust.Artifact{URL: locked.URL}}
	rel, ok := "", false
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		e = adapter.Refuted(trust.CheckSource, c.r, e.Artifact, trust.ReasonForeignSource, "the lock file's URL %q is no plain URL", clip(locked.URL))
	case magic(u):
		rel = strings.TrimPrefix(u.Path, "/")
	default:
		base, _ := url.Parse(c.base)
		if rel, ok = below(u, base); !ok && c.pub {
			rel, ok = c.a.o.Config.mirrored(u)
		}
		if !ok {
			e = adapter.Refuted(trust.CheckSource, c.r, e.Artifact, trust.ReasonForeignSource, "the lock file has %s, the configured registry is %s", clip(locked.URL), c.base)
			e.Remedy = "write the lock file anew against the configured registry; if this one serves the same packages, name it in your own .npmrc or under registries in headgate.yaml"
		}
	}
	if e.Outcome == trust.Verified {
		// "<name>/-/<file>": another package's tarball under this name is no source of it.
		if name, _, ok := strings.Cut(rel, "/-/"); ok && name != c.r.Package.FullName() {
			e = adapter.Refuted(trust.CheckSource, c.r, e.Artifact, trust.ReasonWrongName, "the lock file has %s, which is the tarball of %s", clip(locked.URL), clip(name))
		}
	}
	c.add(e)
}

// evidence makes the checks of digests, signatures and attestations.
func (c *collection) evidence(ctx context.Context, p *packument, v *version, locked trust.Artifact, served trust.Digests, src string) {
	stated := slices.DeleteFunc(slices.Clone(locked.Digests), func(d trust.Digest) bool { return d.Algorithm == trust.YarnCache })
	lock := adapter.CompareDigests(trust.CheckLockfile, c.r, trust.Artifact{URL: locked.URL, Digests: stated}, trust.Artifact{Digests: served})
	if len(stated) == 0 && len(locked.Digests) > 0 {
		lock.Detail = "the lock file states only Yarn's hash of its own cache archive, which says nothing about the registry's tarball"
	}
	lock.Source = src
	c.add(lock)
	if lock.Outcome == trust.Failed && lock.Reason == trust.ReasonWrongDigest || lock.Outcome == trust.Unreachable {
		// What is signed is signed for other bytes than the component states: no signature
		// over them is evidence of this component.
		e := lock
		e.Check = trust.CheckRegistrySig
		e.Detail = "what the registry signed is about other bytes than the lock file states: " + lock.Detail
		c.add(e)
		return
	}
	artifact := trust.Artifact{URL: v.Dist.Tarball, Digests: served}
	if served.Strongest().IsZero() {
		c.add(adapter.Refuted(trust.CheckRegistrySig, c.r, artifact, trust.ReasonWeakDigest, "the registry states only SHA-1, which an attacker can forge"))
		return
	}

	publish, provenance, signed := c.attestations(ctx, p, v, artifact)
	c.add(c.registrySignature(v, artifact, signed, p.times[c.r.Version], src))
	c.add(publish)
	c.add(provenance)
	if c.req.Bytes {
		c.add(c.bytes(ctx, v, artifact))
	}
	if provenance.Outcome == trust.Verified && c.res.Facts.Repository != "" && provenance.Signer.SourceRepository != c.res.Facts.Repository {
		c.res.Facts.Notes = append(c.res.Facts.Notes, fmt.Sprintf("the registry names the repository %s, the provenance was built from %s", c.res.Facts.Repository, provenance.Signer.SourceRepository))
	}
}

func (c *collection) registrySignature(v *version, artifact trust.Artifact, signed, published time.Time, src string) trust.Evidence {
	const check = trust.CheckRegistrySig
	known := c.keys.Has(sigstore.UsageSignatures)
	switch {
	case !known && c.pub:
		err := c.t.Err
		if err == nil {
			err = trust.Undecidable(trust.ReasonExpiredRoot, "the public registry's keys are not at hand; run headgate db update")
		}
		return adapter.Unverified(check, c.r, artifact, err)
	case !known:
		e := adapter.Missing(check, c.r, artifact, trust.ReasonNotOffered, "no key is pinned for the registry %s, and keys that it hands out itself prove nothing", c.base)
		e.Remedy = "pin the registry's keys, or declare it a mirror of the public registry if it is one"
		return e
	case len(v.Dist.Signatures) == 0:
		e := adapter.Doubtful(check, c.r, artifact, trust.ReasonStripped, "the registry signs every release, but the answer of %s has no signature: a mirror or proxy removed it", c.base)
		e.Remedy = askRegistry
		return e
	}
	k, err := verifySignature(c.r.Package.FullName(), c.r.Version, v.Dist.Integrity, v.Dist.Signatures, c.keys)
	if err != nil {
		return adapter.Unverified(check, c.r, artifact, err)
	}
	outcome, reason, detail := k.windowed(signed, published, c.a.o.TrustPublishTimesUnsafe)
	e := trust.Evidence{Check: check, Outcome: outcome, Reason: reason, Detail: detail, Release: c.r, Artifact: artifact, Source: src, Root: c.keys.Digest()}
	raw, err := json.Marshal(signedRecord{Integrity: v.Dist.Integrity, Name: c.r.Package.FullName(), Signatures: v.Dist.Signatures, Version: c.r.Version})
	if err == nil {
		e.Raw = []trust.Raw{trust.NewRaw(rawSignatures, "application/json", raw)}
		if b := c.keys.Raw(); b != nil {
			e.Raw = append(e.Raw, trust.NewRaw(trust.RawKeys, "application/json", b))
		}
	}
	s := c.registrySigner(k.key)
	if outcome == trust.Verified {
		e.Assurance, e.Signer = trust.AssuranceRegistry, &s
		e.SignedAt = signed
	}
	return e
}

// registrySigner is the registry as the holder of a pinned key.
func (c *collection) registrySigner(k sigstore.Key) trust.Signer {
	return trust.Signer{Kind: trust.SignerRegistry, Name: c.registryName(), KeyDigest: k.KeyDigest(), KeyID: k.ID}
}

// registryName is "npm" for the public registry, and host and path of others.
func (c *collection) registryName() string {
	if c.pub {
		return Name
	}
	_, rest, _ := strings.Cut(c.base, "://")
	return strings.TrimSuffix(rest, "/")
}

// claimedBefore names an earlier release that the packument claims an
// attestation of; "" if none.
func claimedBefore(p *packument, ver string) string {
	at := p.times[ver]
	best, bestAt := "", time.Time{}
	for name, v := range p.versions {
		if name == ver || v.claims() < trust.AssuranceProvenance {
			continue
		}
		if t := p.times[name]; !at.IsZero() && !t.IsZero() && t.After(at) {
			continue
		} else if best == "" || t.After(bestAt) || t.Equal(bestAt) && name > best {
			best, bestAt = name, t
		}
	}
	return best
}

// askRegistry is what helps against answers that were stripped.
const askRegistry = "ask the registry itself, or a mirror that passes dist.signatures and dist.attestations on"

// attestations fetches and verifies publish attestation and provenance, and
// returns the time that the log signed for a verified publish attestation.
func (c *collection) attestations(ctx context.Context, p *packument, v *version, artifact trust.Artifact) (publish, provenance trust.Evidence, signed time.Time) {
	both := func(f func(trust.Check) trust.Evidence) (trust.Evidence, trust.Evidence, time.Time) {
		return f(trust.CheckPublish), f(trust.CheckProvenance), time.Time{}
	}
	if v.Dist.Attest == nil {
		before := claimedBefore(p, c.r.Version)
		if before == "" {
			return both(func(k trust.Check) trust.Evidence {
				if c.pub && len(v.Dist.Signatures) == 0 {
					e := adapter.Doubtful(k, c.r, artifact, trust.ReasonStripped, "the answer of %s lacks even the registry's signature, so that nothing follows from its claiming no attestation", c.base)
					e.Remedy = askRegistry
					return e
				}
				return adapter.Missing(k, c.r, artifact, trust.ReasonNotPublished, "the registry's record claims no attestation for this release, nor for an earlier one")
			})
		}
	}
	u := c.base + "-/npm/v1/attestations/" + escapeName(c.r.Package) + "@" + url.PathEscape(c.r.Version)
	res, err := c.a.o.Get.Get(ctx, upstream.Request{URL: u, Accept: "application/json", MaxBytes: MaxAttestation})
	if err == nil {
		err = status(res, "attestations")
	}
	if err != nil {
		return both(func(k trust.Check) trust.Evidence {
			var e trust.Evidence
			if _, reason := trust.Classify(err); reason == trust.ReasonNotFound && v.Dist.Attest == nil {
				e = adapter.Missing(k, c.r, artifact, trust.ReasonNotPublished, "the registry has no attestation of this release, though it claims some for %s@%s", c.r.Package.FullName(), claimedBefore(p, c.r.Version))
			} else if reason == trust.ReasonNotFound {
				e = adapter.Doubtful(k, c.r, artifact, trust.ReasonStripped, "the registry's record claims attestations of this release, but %s has none", c.base)
				e.Remedy = "ask the registry itself, or a mirror that passes attestations on"
			} else {
				e = adapter.Unverified(k, c.r, artifact, err)
			}
			e.Source = u
			return e
		})
	}
	publish, provenance = c.judge(res.Body, artifact)
	publish.Source, provenance.Source = u, u
	if publish.Outcome == trust.Verified {
		signed = publish.SignedAt
	}
	return publish, provenance, signed
}

// judge verifies the attestation endpoint's document: exactly one publish
// attestation and one provenance. Attestations of other types are passed over.
func (c *collection) judge(doc []byte, artifact trust.Artifact) (publish, provenance trust.Evidence) {
	list, err := parseAttestations(doc)
	if err != nil {
		return adapter.Unverified(trust.CheckPublish, c.r, artifact, err), adapter.Unverified(trust.CheckProvenance, c.r, artifact, err)
	}
	var pubs, provs []attestation
	for _, a := range list {
		switch {
		case a.inner == sigstore.PredicateNPMPublish:
			pubs = append(pubs, a)
		case a.inner == sigstore.PredicateProvenance1 || a.inner == sigstore.PredicateProvenance02:
			provs = append(provs, a)
		case a.outer == sigstore.PredicateNPMPublish:
			pubs = append(pubs, a) // announced as such: its inner type fails below
		case strings.HasPrefix(a.outer, "https://slsa.dev/provenance/"):
			provs = append(provs, a)
		}
	}
	vs := c.a.verifiersFor(Trust{Root: c.t.Root, Keys: c.keys, Err: c.t.Err})
	one := func(check trust.Check, list []attestation, judge func(attestation, *trust.Evidence) error) trust.Evidence {
		switch len(list) {
		case 0:
			return adapter.Missing(check, c.r, artifact, trust.ReasonNotPublished, "no attestation of this type is among those of the release")
		case 1:
		default:
			return adapter.Refuted(check, c.r, artifact, trust.ReasonDuplicate, "%d attestations of one type, where one belongs", len(list))
		}
		e := trust.Evidence{Check: check, Outcome: trust.Verified, Release: c.r, Artifact: artifact}
		if err := judge(list[0], &e); err != nil {
			return adapter.Unverified(check, c.r, artifact, err)
		}
		return e
	}
	want := sigstore.Expectation{Artifact: artifact.Digests, SubjectName: subjectName(c.r)}
	outer := func(a attestation) error {
		if a.outer != a.inner {
			return trust.Failure(trust.ReasonWrongPredicate, "announced as %q, the payload is of type %q", clip(a.outer), clip(a.inner))
		}
		return nil
	}
	publish = one(trust.CheckPublish, pubs, func(a attestation, e *trust.Evidence) error {
		if err := outer(a); err != nil {
			return err
		}
		if vs.keyedErr != nil {
			return vs.keyedErr
		}
		x := want
		x.PredicateTypes, x.Identity = []string{sigstore.PredicateNPMPublish}, sigstore.KeyIdentity()
		got, err := vs.keyed.Verify(a.bundle, x)
		if err != nil {
			return err
		}
		st, _ := got.Statement()
		registry := c.base
		if c.pub {
			registry = c.a.o.Config.Public
		}
		if err := checkPublish(st, c.r, registry); err != nil {
			return err
		}
		got.Describe(e, "publish-attestation")
		e.Signer = &trust.Signer{Kind: trust.SignerRegistry, Name: c.registryName(), KeyDigest: got.Signer().KeyDigest, KeyID: got.Signer().KeyID}
		e.Assurance = trust.AssuranceRegistry
		return nil
	})
	if !c.keys.Has(sigstore.UsageAttestations) && !c.pub && len(pubs) == 1 {
		publish = adapter.Missing(trust.CheckPublish, c.r, artifact, trust.ReasonNotOffered, "no key is pinned for the registry %s, and keys that it hands out itself prove nothing", c.base)
	}
	provenance = one(trust.CheckProvenance, provs, func(a attestation, e *trust.Evidence) error {
		if err := outer(a); err != nil {
			return err
		}
		if vs.keylessErr != nil {
			return vs.keylessErr
		}
		x := want
		// The gate decides afterwards whether the store accepts this signer.
		x.PredicateTypes, x.Identity = []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02}, sigstore.CollectIdentityUnsafe()
		got, err := vs.keyless.Verify(a.bundle, x)
		if err != nil {
			return err
		}
		got.Describe(e, "provenance")
		e.Assurance = trust.AssuranceProvenance
		return nil
	})
	// The registry attests each publication that it takes provenance of. Provenance
	// without it was never published by the registry, or somebody removed a part.
	if len(provs) > 0 && len(pubs) == 0 && c.keys.Has(sigstore.UsageAttestations) {
		publish = adapter.Doubtful(trust.CheckPublish, c.r, artifact, trust.ReasonStripped, "provenance without the registry's publish attestation, which belongs to it")
	}
	return publish, provenance
}

func (c *collection) bytes(ctx context.Context, v *version, artifact trust.Artifact) trust.Evidence {
	b, err := c.a.open(ctx, c.base, c.r, v.Dist.Tarball, artifact.Digests)
	if err != nil {
		return adapter.Unverified(trust.CheckBytes, c.r, artifact, err)
	}
	defer b.Close()
	return trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: c.r, Artifact: artifact}
}

// open fetches a tarball from the registry itself: of the stated URL, only the
// path below a registry counts, never its host.
func (a *Adapter) open(ctx context.Context, base string, r trust.Release, tarball string, want trust.Digests) (adapter.Blob, error) {
	digest := want.Strongest()
	if digest.IsZero() {
		return nil, trust.Failure(trust.ReasonWeakDigest, "%s: no strong digest of the tarball is known", r.PURL())
	}
	u := base + r.Package.FullName() + "/-/" + url.PathEscape(r.Package.Name+"-"+r.Version+".tgz")
	if t, err := url.Parse(tarball); err == nil && tarball != "" {
		if strings.HasPrefix(tarball, base) && !strings.Contains(t.Path, "/../") {
			u = tarball
		}
	}
	return a.o.Get.Open(ctx, upstream.Request{URL: u, MaxBytes: MaxTarball, Want: digest})
}

// Fetch opens a tarball; its bytes have the artifact's digest.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	b, err := a.open(ctx, a.o.Config.registry(c.Release.Package.Namespace), c.Release, art.URL, art.Digests)
	if err != nil {
		return nil, fmt.Errorf("%s: fetching tarball: %w", c.Release.PURL(), err)
	}
	return b, nil
}

// facts are what the registry says unsigned.
func (c *collection) facts(p *packument, v *version) {
	f := &c.res.Facts
	f.Published, f.LatestKnown, f.Owners, f.Releases = p.times[c.r.Version], p.latest, p.owners, len(p.versions)
	f.Repository, f.Unpublished = p.repository, p.unpublished
	f.FirstRelease = p.times["created"]
	for name := range p.versions {
		t := p.times[name]
		if t.IsZero() || name == c.r.Version {
			continue
		}
		if f.FirstRelease.IsZero() || t.Before(f.FirstRelease) {
			f.FirstRelease = t
		}
		if t.Before(f.Published) && t.After(f.PrevRelease) {
			f.PrevRelease = t
		}
	}
	if v == nil {
		return
	}
	if d := text(v.Deprecated); d != "" {
		f.Deprecated = &d
	} else if string(v.Deprecated) == "true" {
		f.Deprecated = new(string)
	}
	if r := repository(v.Repository); r != "" {
		f.Repository = r
	}
	if l := license(v.License); l != "" {
		f.Licenses = []string{l}
	}
	f.PublishedBy = v.User.Name
	if v.User.TrustedPublisher != nil {
		f.Notes = append(f.Notes, "the registry says, unsigned, that a trusted publisher ("+clip(v.User.TrustedPublisher.ID)+") published this release")
	}
	for _, s := range []struct{ name, cmd string }{{"preinstall", v.Scripts.preinstall}, {"install", v.Scripts.install}, {"postinstall", v.Scripts.postinstall}} {
		if s.cmd != "" {
			f.InstallCode = append(f.InstallCode, s.name+": "+s.cmd)
		}
	}
	if v.GypFile && v.Scripts.install == "" && v.Scripts.preinstall == "" {
		f.InstallCode = append(f.InstallCode, "install: node-gyp rebuild")
	}
}

func license(raw json.RawMessage) string {
	if s := text(raw); s != "" {
		return s
	}
	var l struct{ Type string }
	if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &l) == nil {
		return l.Type
	}
	return ""
}

// history reports on earlier releases, those of the same major line first,
// newest first. Attestations are fetched only where they are claimed.
func (c *collection) history(ctx context.Context, p *packument) {
	n := min(c.req.History, MaxHistory)
	if n <= 0 {
		return
	}
	own, err := semver.NPM.Parse(c.r.Version)
	if err != nil {
		return
	}
	type earlier struct {
		name string
		v    *semver.Version
		same bool
	}
	var list []earlier
	for name := range p.versions {
		v, err := semver.NPM.Parse(name)
		if err != nil || v.Compare(own) >= 0 || v.IsPrerelease() && !own.IsPrerelease() {
			continue
		}
		list = append(list, earlier{name, v, major(name) == major(c.r.Version)})
	}
	slices.SortFunc(list, func(a, b earlier) int {
		if a.same != b.same {
			if a.same {
				return -1
			}
			return 1
		}
		if d := b.v.Compare(a.v); d != 0 {
			return d
		}
		return strings.Compare(b.name, a.name)
	})
	list = list[:min(n, len(list))]
	out := make([]trust.History, len(list))
	var wg sync.WaitGroup
	for i, e := range list {
		v := p.versions[e.name]
		h := &out[i]
		*h = trust.History{Version: e.name, Published: p.times[e.name], Claimed: v.claims(), Repository: repository(v.Repository)}
		served, err := v.digests()
		if err != nil || served.Strongest().IsZero() {
			continue
		}
		wg.Go(func() {
			r := c.r
			r.Version = e.name
			sub := &collection{a: c.a, r: r, base: c.base, t: c.t, keys: c.keys, pub: c.pub}
			artifact := trust.Artifact{Digests: served}
			evidence := []trust.Evidence{}
			var signed time.Time
			if v.Dist.Attest != nil {
				var pub, prov trust.Evidence
				pub, prov, signed = sub.attestations(ctx, p, v, artifact)
				evidence = append(evidence, pub, prov)
			}
			evidence = append(evidence, sub.registrySignature(v, artifact, signed, p.times[e.name], ""))
			for _, ev := range evidence {
				if ev.Outcome == trust.Verified && ev.Signer != nil {
					h.Signers = append(h.Signers, *ev.Signer)
					h.Assurance = max(h.Assurance, ev.Assurance)
				}
			}
		})
	}
	wg.Wait()
	c.res.History = out
}

func major(v string) string {
	m, _, _ := strings.Cut(v, ".")
	return m
}
