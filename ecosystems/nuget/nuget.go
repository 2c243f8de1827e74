package nuget

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	"github.com/headgate/headgate/trust/nugetsig"
)

// Name is the public registry's name as a signer.
const Name = "nuget"

// factsFreshFor is how old unsigned records may be; nothing rests on them alone.
const factsFreshFor = time.Hour

// Options are the outside world of the adapter.
type Options struct {
	Get    upstream.Getter
	Clock  adapter.Clock
	Config Config
	// Materials hands out further roots that were pinned (x509-root); nil for none.
	Materials adapter.Materials
	// Roots reads the roots of code signing and timestamps of this machine, once;
	// nil for none. See SystemRoots.
	Roots func() ([]*x509.Certificate, error)
}

// Adapter checks NuGet packages. It is safe for concurrent use.
type Adapter struct {
	Options
	roots func() ([]*x509.Certificate, error)
}

// New returns an adapter; a part that is missing is an error.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil {
		return nil, errors.New("the adapter of NuGet needs an upstream client and a clock")
	}
	a := &Adapter{Options: o, roots: func() ([]*x509.Certificate, error) { return nil, nil }}
	if o.Roots != nil {
		a.roots = sync.OnceValues(o.Roots)
	}
	return a, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "NuGet", Types: []string{"nuget"}, Sources: []string{"packages.lock.json", "project.assets.json", "packages.config (states no digests)"},
		Integrity: "contentHash (SHA-512 without the signature) or SHA-512 of lock file = package",
		Registry:  "repository signature inside the package, by pinned certificates, at the timestamp's time",
		Publisher: "author signature inside the package, where there is one",
		Binding:   "id and version in the signed package; the repository signs the owners' names",
		Checks:    []trust.Check{trust.CheckSource, trust.CheckMetadata, trust.CheckLockfile, trust.CheckBytes, trust.CheckCountersig, trust.CheckPublisherSig},
		Offers:    trust.AssuranceRegistry,
	}
}

// part is what an id or version may look like in a URL.
var part = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]*$`)

// packageURL is where a flat container serves a package.
func packageURL(s *service, r trust.Release) (string, error) {
	id, v := r.Package.Name, r.Version
	if !part.MatchString(id) || !part.MatchString(v) || strings.Contains(id+"/"+v, "..") {
		return "", trust.Undecidable(trust.ReasonUnsupported, "%.100q is no id and exact version that a source could have", id+" "+v)
	}
	return s.packages + id + "/" + v + "/" + id + "." + v + ".nupkg", nil
}

// registry is the source that a component's own source names, if any.
func registry(c sbom.Component) string {
	if c.Registry != "" {
		return c.Registry
	}
	return c.Release.Package.Qualifier("repository_url")
}

// Collect fetches the package and judges its digests and signatures.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if e, ok := adapter.Elsewhere(c, "a NuGet source"); ok {
		return one(e)
	}
	sources, ok := a.Config.candidates(registry(c), r.Package.Name)
	if !ok {
		what := "names the source " + registry(c) + ", which the user's NuGet.Config does not have"
		if registry(c) == "" {
			what = "is mapped to no source of the user's NuGet.Config"
		}
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "the component %s", what)
		e.Remedy = "add the source to ~/.nuget/NuGet/NuGet.Config if it is yours, or correct the lock file"
		return one(e)
	}
	s, blob, err := a.fetch(ctx, sources, r, locked)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if err != nil {
		return one(adapter.Unverified(trust.CheckBytes, r, locked, err))
	}
	defer blob.Close()
	res := adapter.Result{Evidence: []trust.Evidence{{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: locked, Source: s.source.URL}}}
	es, owners := a.judge(ctx, s, req, locked, blob)
	res.Evidence = append(res.Evidence, es...)
	meta := a.metadata(ctx, s, req, locked, &res)
	res.Evidence = append(res.Evidence, meta)
	if len(owners) > 0 {
		res.Facts.Owners = owners
		res.Facts.Notes = append(res.Facts.Notes, "The owners are signed by the repository.")
	}
	return res, ctx.Err()
}

// place is the source that has the package.
type place struct {
	*service
	source Source
	url    string
}

// fetch asks the sources in order; one that gives no answer is not passed over.
func (a *Adapter) fetch(ctx context.Context, sources []Source, r trust.Release, want trust.Artifact) (*place, adapter.Blob, error) {
	err := error(trust.Undecidable(trust.ReasonNotFound, "no source is configured"))
	for _, src := range sources {
		p := &place{source: src}
		if p.service, err = a.service(ctx, src); err != nil {
			return nil, nil, err
		}
		if p.url, err = packageURL(p.service, r); err != nil {
			return nil, nil, err
		}
		var b adapter.Blob
		if b, err = a.Get.Open(ctx, request(p.url, want)); err == nil {
			return p, b, nil
		}
		var ue *upstream.Error
		if !errors.As(err, &ue) || ue.Status != http.StatusNotFound && ue.Status != http.StatusGone {
			return nil, nil, err
		}
		err = trust.Undecidable(trust.ReasonNotFound, "no source has this release: %v", err)
	}
	return nil, nil, err
}

// request asks for a package by the digest of its bytes, if that is what the
// lock file states; a contentHash is judged on what was fetched.
func request(u string, want trust.Artifact) upstream.Request {
	req := upstream.Request{URL: u, MaxBytes: MaxPackage}
	switch d := want.Digests.Strongest(); d.Algorithm {
	case trust.SHA256, trust.SHA384, trust.SHA512:
		req.Want = d
	default:
		req.Verify = func(io.ReaderAt, int64) error { return nil }
	}
	return req
}

func (a *Adapter) service(ctx context.Context, src Source) (*service, error) {
	resp, err := a.Get.Get(ctx, upstream.Request{URL: src.URL, Accept: "application/json", MaxBytes: MaxServiceIndex})
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonNetwork, "the source %s answered HTTP %d for its service index", src.Name, resp.Status)
	}
	return parseService(resp.Body, src.URL)
}

// judge compares digests and verifies the signatures in a package.
func (a *Adapter) judge(ctx context.Context, s *place, req adapter.Request, locked trust.Artifact, blob adapter.Blob) (es []trust.Evidence, owners []string) {
	r := req.Component.Release
	pkg, err := nugetsig.Open(blob, blob.Size())
	if err != nil {
		e := adapter.Unverified(trust.CheckCountersig, r, locked, err)
		e.Source = s.url
		return []trust.Evidence{e}, nil
	}
	h2, h5 := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h2, h5), io.NewSectionReader(blob, 0, blob.Size())); err != nil {
		return []trust.Evidence{adapter.Doubtful(trust.CheckBytes, r, locked, trust.ReasonInternal, "reading the package: %v", err)}, nil
	}
	got := trust.Artifact{Digests: trust.Digests{pkg.ContentHash(), trust.DigestOf(trust.SHA512, h5.Sum(nil)), trust.DigestOf(trust.SHA256, h2.Sum(nil))}}
	lock := adapter.CompareDigests(trust.CheckLockfile, r, locked, got)
	lock.Source = s.url
	subject := lock.Artifact
	es = append(es, lock)
	if len(locked.Digests) > 0 {
		b := adapter.CompareDigests(trust.CheckBytes, r, locked, got)
		b.Source = s.url
		es = append(es, b)
	}
	// What refutes the package refutes its signatures: they are for something else.
	var wrong error
	if lock.Outcome == trust.Failed {
		wrong = trust.Failure(lock.Reason, "%s", lock.Detail)
	}
	spec, err := readNuspec(blob, blob.Size())
	if err == nil {
		err = spec.names(r)
	}
	if err != nil && wrong == nil {
		wrong = err
	}
	repo, signed := a.repository(ctx, s, r, subject, pkg)
	for _, e := range []trust.Evidence{repo, a.author(ctx, r, subject, pkg)} {
		if wrong != nil && e.Outcome == trust.Verified {
			signer := e.Signer
			e = adapter.Unverified(e.Check, r, subject, wrong)
			e.Signer = signer
		}
		e.Source = s.url
		es = append(es, e)
	}
	if wrong != nil {
		if !slices.ContainsFunc(es, func(e trust.Evidence) bool { return e.Outcome == trust.Failed || e.Outcome == trust.Unreachable }) {
			es = append(es, adapter.Unverified(trust.CheckBytes, r, subject, wrong))
		}
		return es, nil
	}
	return es, signed
}

// pins are the roots at hand for a package: this machine's and pinned ones.
func (a *Adapter) pins(ctx context.Context, p trust.Package) ([]*x509.Certificate, error) {
	roots, err := a.roots()
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "%w", err)
	}
	roots = slices.Clone(roots)
	if a.Materials == nil {
		return roots, nil
	}
	ms, err := a.Materials.Materials(ctx, trust.MaterialX509Root, p)
	if err != nil {
		return nil, fmt.Errorf("reading the pinned roots of %s: %w", p, err)
	}
	for _, m := range ms {
		roots = append(roots, parseRoots(m.Data)...)
	}
	return roots, nil
}

// repository judges the repository's signature. Only a pinned certificate makes
// it a registry's: anybody with a code signing certificate could name any
// repository.
func (a *Adapter) repository(ctx context.Context, s *place, r trust.Release, subject trust.Artifact, pkg *nugetsig.Package) (trust.Evidence, []string) {
	const check = trust.CheckCountersig
	sig := pkg.Signature(nugetsig.Repository)
	if sig == nil {
		return a.unsigned(ctx, s, r, subject), nil
	}
	print := cms.Fingerprint(sig.Certificate())
	var known *Repository
	for i, repo := range a.Config.Repositories {
		if slices.Contains(repo.Certificates, print) {
			known = &a.Config.Repositories[i]
		}
	}
	if known == nil {
		return a.stranger(ctx, s, r, subject, sig.Certificate(), print), nil
	}
	roots, err := a.pins(ctx, r.Package)
	if err != nil {
		return adapter.Unverified(check, r, subject, err), nil
	}
	want := nugetsig.Want{TimestampRoots: roots, Pinned: known.Certificates, ServiceIndex: known.ServiceIndex, Now: a.Clock()}
	v, err := sig.Verify(want)
	if _, reason := trust.Classify(err); reason == trust.ReasonUntrustedSigner {
		// The certificate is pinned: what nobody knows here is the timestamp's
		// authority, as with those that old packages have. Then there is no time, and
		// the certificate counts by its pin alone.
		want.TimestampRoots = nil
		v, err = sig.Verify(want)
	}
	if err != nil {
		return adapter.Unverified(check, r, subject, err), nil
	}
	if len(known.Owners) > 0 && !slices.ContainsFunc(v.Owners(), func(o string) bool {
		return slices.ContainsFunc(known.Owners, func(w string) bool { return strings.EqualFold(o, w) })
	}) {
		return adapter.Refuted(check, r, subject, trust.ReasonUntrustedSigner, "the package's signed owners are %s, and the user's trustedSigners allow %s", strings.Join(v.Owners(), ", "), strings.Join(known.Owners, ", ")), nil
	}
	spki := sha256.Sum256(sig.Certificate().RawSubjectPublicKeyInfo)
	e := trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: subject, Assurance: trust.AssuranceRegistry,
		Signer:   &trust.Signer{Kind: trust.SignerRegistry, Name: registryName(known.ServiceIndex), KeyDigest: hex.EncodeToString(spki[:]), KeyID: print},
		SignedAt: v.SignedAt()}
	e.Detail = "signed by " + known.ServiceIndex
	if os := v.Owners(); len(os) > 0 {
		e.Detail += " for the owners " + strings.Join(os, ", ")
	}
	if v.SignedAt().IsZero() {
		e.Detail += "; the root of its timestamp's authority is not at hand, so that the time is not verified"
	}
	return e, v.Owners()
}

// registryName names a repository as a signer.
func registryName(serviceIndex string) string {
	if serviceIndex == DefaultSource {
		return Name
	}
	_, rest, _ := strings.Cut(serviceIndex, "://")
	return rest
}

// claims asks the source what it says of its own signatures.
func (a *Adapter) claims(ctx context.Context, s *place) (*repositorySignatures, error) {
	if s.signatures == "" {
		return &repositorySignatures{}, nil
	}
	resp, err := a.Get.Get(ctx, upstream.Request{URL: s.signatures, Accept: "application/json", MaxBytes: MaxSignatures})
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonNetwork, "the source answered HTTP %d for its signing certificates", resp.Status)
	}
	return parseSignatures(resp.Body)
}

// unsigned is the evidence of a package without a repository signature. The
// public registry signs every package, and so does a source that says so.
func (a *Adapter) unsigned(ctx context.Context, s *place, r trust.Release, subject trust.Artifact) trust.Evidence {
	const check = trust.CheckCountersig
	all := s.source.URL == DefaultSource
	if !all {
		says, err := a.claims(ctx, s)
		if err != nil {
			return adapter.Unverified(check, r, subject, err)
		}
		all = says.all
	}
	if all {
		return adapter.Refuted(check, r, subject, trust.ReasonBadSignature, "the source signs every package, and this one has no repository signature: somebody removed it, or these bytes never came from there")
	}
	return adapter.Missing(check, r, subject, trust.ReasonNotOffered, "the package has no repository signature, and the source %s does not claim to sign all", s.source.Name)
}

// stranger is the evidence of a repository signature by a certificate that
// nobody pinned. One that the source itself names may be a new one: that is for
// a person to find out, and no tampering.
func (a *Adapter) stranger(ctx context.Context, s *place, r trust.Release, subject trust.Artifact, cert *x509.Certificate, print string) trust.Evidence {
	const check = trust.CheckCountersig
	says, err := a.claims(ctx, s)
	if err != nil {
		return adapter.Unverified(check, r, subject, err)
	}
	if slices.Contains(says.certificates, print) {
		e := adapter.Doubtful(check, r, subject, trust.ReasonUnknownKey, "the repository signature is by the certificate %s, which the source names and nobody has pinned", print)
		e.Remedy = "compare the fingerprint with the registry's announcement and add it to trustedSigners of ~/.nuget/NuGet/NuGet.Config"
		return e
	}
	return adapter.Refuted(check, r, subject, trust.ReasonUntrustedSigner, "the repository signature is by %.200q (%s), whom neither trustedSigners nor the source names", cert.Subject.String(), print)
}

// author judges the author's signature.
func (a *Adapter) author(ctx context.Context, r trust.Release, subject trust.Artifact, pkg *nugetsig.Package) trust.Evidence {
	const check = trust.CheckPublisherSig
	sig := pkg.Signature(nugetsig.Author)
	if sig == nil {
		return adapter.Missing(check, r, subject, trust.ReasonNotPublished, "the package has no author signature")
	}
	roots, err := a.pins(ctx, r.Package)
	if err != nil {
		return adapter.Unverified(check, r, subject, err)
	}
	v, err := sig.Verify(nugetsig.Want{Roots: roots, TimestampRoots: roots, Pinned: a.Config.Authors, Now: a.Clock()})
	if err != nil {
		// A root that is not at hand is like a key that is not: it accuses nobody.
		if _, reason := trust.Classify(err); reason == trust.ReasonUntrustedSigner {
			e := adapter.Doubtful(check, r, subject, trust.ReasonUnknownKey, "the author signature is sound and by nobody under a root that is at hand: %v", err)
			e.Remedy = pinned.Command(r.Package, "ROOT", "") + ", with the root that the author's certificate is under; or name the certificate in trustedSigners of ~/.nuget/NuGet/NuGet.Config"
			return e
		}
		return adapter.Unverified(check, r, subject, err)
	}
	signer := v.Signer()
	return trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: subject, Assurance: trust.AssurancePublisher, Signer: &signer, SignedAt: v.SignedAt()}
}

// metadata reads the registration: unsigned hints.
func (a *Adapter) metadata(ctx context.Context, s *place, req adapter.Request, locked trust.Artifact, res *adapter.Result) trust.Evidence {
	const check = trust.CheckMetadata
	r := req.Component.Release
	if s.registrations == "" {
		return adapter.Missing(check, r, locked, trust.ReasonNotOffered, "the source %s has no registrations", s.source.Name)
	}
	u := s.registrations + url.PathEscape(r.Package.Name) + "/index.json"
	index, err := a.page(ctx, u)
	if err != nil {
		return adapter.Unverified(check, r, locked, err)
	}
	if len(index.Items) > MaxPages {
		return adapter.Doubtful(check, r, locked, trust.ReasonTooLarge, "the registration has more than %d pages", MaxPages)
	}
	var leaves []page
	count := 0
	for _, p := range index.Items {
		count += p.Count
		items := p.Items
		if items == nil && p.holds(r.Version) {
			// A page's own URL counts on the source's host alone.
			if pu, err := url.Parse(p.ID); err != nil || !strings.HasPrefix(p.ID, s.registrations) || pu.User != nil {
				return adapter.Doubtful(check, r, locked, trust.ReasonForeignSource, "the registration leads to %.200q for one of its pages", p.ID)
			}
			next, err := a.page(ctx, p.ID)
			if err != nil {
				return adapter.Unverified(check, r, locked, err)
			}
			items = next.Items
		}
		if len(leaves)+len(items) > MaxLeaves {
			return adapter.Doubtful(check, r, locked, trust.ReasonTooLarge, "the registration lists more than %d releases", MaxLeaves)
		}
		leaves = append(leaves, items...)
	}
	f, hs, known := facts(leaves, r, req.History)
	f.Releases = max(count, len(leaves))
	if s.source.URL == DefaultSource {
		for i := range hs {
			hs[i].Claimed = trust.AssuranceRegistry
		}
	}
	res.Facts, res.History = f, hs
	if !known {
		return adapter.Doubtful(check, r, locked, trust.ReasonNotFound, "the registration does not list this version, which the source serves")
	}
	return trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: locked, Source: u}
}

func (a *Adapter) page(ctx context.Context, u string) (*page, error) {
	resp, err := a.Get.Get(ctx, upstream.Request{URL: u, Accept: "application/json", MaxBytes: MaxRegistration, MaxAge: factsFreshFor})
	if err != nil {
		return nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		return parsePage(resp.Body)
	case http.StatusNotFound, http.StatusGone:
		return nil, trust.Undecidable(trust.ReasonNotFound, "the source has no registration of this package")
	}
	return nil, trust.Undecidable(trust.ReasonNetwork, "the source answered HTTP %d for the registration", resp.Status)
}

// Fetch hands out the package with the digest that art states, its contentHash
// included.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	sources, ok := a.Config.candidates(registry(c), c.Release.Package.Name)
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the source %s is not configured", c.Release, registry(c))
	}
	want := art.Digests.Strongest()
	if want.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch the package by", c.Release)
	}
	_, b, err := a.fetch(ctx, sources, c.Release, art)
	if err != nil {
		return nil, err
	}
	if want.Algorithm == trust.NuGetContent {
		pkg, err := nugetsig.Open(b, b.Size())
		if err == nil && !pkg.ContentHash().Equal(want) {
			err = trust.Failure(trust.ReasonWrongDigest, "%s: the package has the contentHash %s, want %s", c.Release, pkg.ContentHash(), want)
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}
