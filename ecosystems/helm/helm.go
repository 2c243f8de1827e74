package helm

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/helmprov"
	"github.com/headgate/headgate/trust/openpgp"
)

const (
	// maxHistory is how many earlier releases are asked for their provenance.
	maxHistory = 3
	// maxIndexes is how many parsed indexes are kept: they are large, and dear to read.
	maxIndexes = 16
)

// Options are the outside world of the adapter. Get and Clock are required;
// without Materials no key is pinned.
type Options struct {
	Get       upstream.Getter
	Clock     adapter.Clock
	Config    Config
	Materials adapter.Materials
}

// Adapter checks charts. It is safe for concurrent use.
type Adapter struct {
	Options
	keys *pinned.Keys

	mu      sync.Mutex
	indexes map[[sha256.Size]byte]*parsed
}

// parsed is an index that was, or is being, read.
type parsed struct {
	once sync.Once
	x    *index
	err  error
}

// New returns an adapter; a part that is missing is an error.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil {
		return nil, errors.New("the adapter of Helm needs an upstream client and a clock")
	}
	return &Adapter{Options: o, keys: pinned.New(o.Materials), indexes: map[[sha256.Size]byte]*parsed{}}, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "Helm", Types: []string{"helm"}, Sources: []string{"Chart.lock (states no digests)", "Chart.yaml", "SBOM"},
		Integrity: "SHA-256 of SBOM = repository's index (= archive, when fetched)",
		Registry:  "–", Publisher: "provenance files (.prov) by OpenPGP keys that were pinned; charts in OCI registries are checked as OCI",
		Binding: "the signed text names chart, version and archive digest; which key is pinned for which chart",
		Checks:  []trust.Check{trust.CheckSource, trust.CheckMetadata, trust.CheckIndex, trust.CheckPublisherSig, trust.CheckBytes},
		Offers:  trust.AssuranceNone,
	}
}

// registry is the repository that a chart's source names.
func registry(c sbom.Component) string {
	if c.Registry != "" {
		return c.Registry
	}
	return c.Release.Package.Qualifier("repository_url")
}

// Collect compares source and index, and verifies the provenance file.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if e, ok := adapter.Elsewhere(c, "a chart repository"); ok {
		return one(e)
	}
	source := registry(c)
	switch {
	case source == "":
		e := adapter.Missing(trust.CheckSource, r, locked, trust.ReasonNotOffered, "the source names no chart repository, and there is no default one")
		e.Remedy = "state the repository (repository of Chart.yaml, repository_url of the package URL)"
		return one(e)
	case strings.HasPrefix(source, "oci://"):
		e := adapter.Missing(trust.CheckSource, r, locked, trust.ReasonNotOffered, "is a chart in the OCI registry %s: its signatures are those of an image", strings.TrimPrefix(source, "oci://"))
		e.Remedy = "state it as pkg:oci with its digest; the OCI adapter checks it"
		return one(e)
	}
	repo, ok := a.Config.repository(source)
	if !ok {
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "the source names the repository %s, which the user's Helm configuration does not have", source)
		e.Remedy = "helm repo add NAME " + source + ", if it is yours; or correct the source"
		return one(e)
	}
	x, raw, err := a.index(ctx, repo)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if err != nil {
		return one(adapter.Unverified(trust.CheckMetadata, r, locked, err))
	}
	res := adapter.Result{Evidence: []trust.Evidence{{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: locked, Source: repo}}}
	add := func(e trust.Evidence) { res.Evidence = append(res.Evidence, e) }
	e, err := x.find(r.Package.Name, r.Version)
	var served trust.Digest
	var u string
	if err == nil {
		served, err = e.digest()
	}
	if err == nil {
		u, err = e.archive(repo)
	}
	if err != nil {
		add(adapter.Unverified(trust.CheckMetadata, r, locked, err))
		return res, nil
	}
	add(trust.Evidence{Check: trust.CheckMetadata, Outcome: trust.Verified, Release: r, Artifact: locked, Source: raw})
	var earlier []entry
	res.Facts, earlier = x.facts(e)
	index := trust.Artifact{}
	if !served.IsZero() {
		index.Digests = trust.Digests{served}
	}
	// The archive is needed where nobody states a SHA-256 of it.
	var blob adapter.Blob
	var blobErr error
	if sum := locked.Digests.Get(trust.SHA256); req.Bytes || served.IsZero() && sum.IsZero() {
		want := locked.Digests.Strongest()
		if want.IsZero() {
			want = served
		}
		if blob, blobErr = a.open(ctx, u, want); ctx.Err() != nil {
			return adapter.Result{}, ctx.Err()
		}
	}
	var got trust.Digest
	if blob != nil {
		defer blob.Close()
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(blob, 0, blob.Size())); err != nil {
			blobErr = trust.Undecidable(trust.ReasonInternal, "reading the chart: %w", err)
		} else {
			got = trust.DigestOf(trust.SHA256, h.Sum(nil))
		}
	}
	subject := locked
	if len(subject.Digests) == 0 {
		if subject.Digests = index.Digests; served.IsZero() && !got.IsZero() {
			subject.Digests = trust.Digests{got}
		}
	}
	var idx trust.Evidence
	switch {
	case len(index.Digests) > 0:
		idx = adapter.CompareDigests(trust.CheckIndex, r, locked, index)
	case len(locked.Digests) == 0:
		idx = adapter.Missing(trust.CheckIndex, r, subject, trust.ReasonNoLockDigest, "neither the source nor the index states a digest of the chart")
	default:
		idx = adapter.Missing(trust.CheckIndex, r, locked, trust.ReasonNotPublished, "the index states no digest of the chart")
	}
	idx.Source = raw
	add(idx)
	var wrong error
	switch {
	case blobErr != nil:
		wrong = blobErr
		add(adapter.Unverified(trust.CheckBytes, r, subject, blobErr))
	case blob != nil:
		ev := trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: subject}
		if err := names(io.NewSectionReader(blob, 0, blob.Size()), r.Package.Name, r.Version); err != nil {
			wrong = err
			ev = adapter.Unverified(trust.CheckBytes, r, subject, err)
		}
		ev.Source = u
		if len(locked.Digests) > 0 || !served.IsZero() || ev.Outcome != trust.Verified {
			add(ev)
		}
	}
	if idx.Outcome == trust.Failed {
		wrong = trust.Failure(idx.Reason, "%s", idx.Detail)
	}
	sum := subject.Digests.Get(trust.SHA256)
	if sum.IsZero() {
		sum = got
	}
	keys, bad, err := a.keys.For(ctx, r.Package)
	for _, b := range bad {
		res.Facts.Notes = append(res.Facts.Notes, "A pinned key could not be read: "+b.Error())
	}
	p := a.provenance(ctx, r, u, sum, subject, keys, err)
	if wrong != nil && p.Outcome == trust.Verified {
		signer := p.Signer
		p = adapter.Unverified(p.Check, r, subject, wrong)
		p.Signer = signer
	}
	add(p)
	for i, o := range earlier[:min(req.History, len(earlier))] {
		h := trust.History{Version: o.Version, Published: o.Created.UTC()}
		d, derr := o.digest()
		ou, uerr := o.archive(repo)
		if i < maxHistory && keys.Len() > 0 && derr == nil && uerr == nil && !d.IsZero() {
			old := r
			old.Version = o.Version
			if ev := a.provenance(ctx, old, ou, d, trust.Artifact{Digests: trust.Digests{d}}, keys, nil); ev.Outcome == trust.Verified {
				h.Assurance, h.Claimed, h.Signers = ev.Assurance, ev.Assurance, []trust.Signer{*ev.Signer}
			}
		}
		res.History = append(res.History, h)
	}
	return res, ctx.Err()
}

// index asks for the repository's index and reads each state of it once.
func (a *Adapter) index(ctx context.Context, repo string) (*index, string, error) {
	resp, err := a.Get.Get(ctx, upstream.Request{URL: repo + "index.yaml", MaxBytes: MaxIndex})
	if err != nil {
		return nil, "", err
	}
	if resp.Status != http.StatusOK {
		return nil, "", trust.Undecidable(trust.ReasonNetwork, "the repository answered HTTP %d for its index", resp.Status)
	}
	sum := sha256.Sum256(resp.Body)
	a.mu.Lock()
	p := a.indexes[sum]
	if p == nil {
		if len(a.indexes) >= maxIndexes {
			clear(a.indexes)
		}
		p = &parsed{}
		a.indexes[sum] = p
	}
	a.mu.Unlock()
	p.once.Do(func() { p.x, p.err = parseIndex(resp.Body) })
	return p.x, resp.URL, p.err
}

// open fetches an archive, by its digest where there is one.
func (a *Adapter) open(ctx context.Context, u string, want trust.Digest) (adapter.Blob, error) {
	req := upstream.Request{URL: u, MaxBytes: MaxChart, Want: want, Allow: allow(u)}
	if want.IsZero() {
		req.Verify = func(io.ReaderAt, int64) error { return nil } // there is nothing to compare with
	}
	return a.Get.Open(ctx, req)
}

// allow are the hosts that release files of a forge are redirected to.
func allow(u string) []string {
	p, err := url.Parse(u)
	if err != nil || p.Hostname() != "github.com" {
		return nil
	}
	return []string{"*.githubusercontent.com"}
}

// provenance judges the provenance file beside an archive whose SHA-256 is sum.
func (a *Adapter) provenance(ctx context.Context, r trust.Release, u string, sum trust.Digest, subject trust.Artifact, keys *openpgp.Keyring, keysErr error) trust.Evidence {
	const check = trust.CheckPublisherSig
	p, err := url.Parse(u)
	if err != nil {
		return adapter.Unverified(check, r, subject, err)
	}
	name := path.Base(p.Path)
	p.Path, p.RawPath = p.Path+".prov", ""
	resp, err := a.Get.Get(ctx, upstream.Request{URL: p.String(), MaxBytes: helmprov.MaxProvenance, Allow: allow(u)})
	switch {
	case err != nil:
		return adapter.Unverified(check, r, subject, err)
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusGone:
		return adapter.Missing(check, r, subject, trust.ReasonNotPublished, "the chart has no provenance file")
	case resp.Status != http.StatusOK:
		return adapter.Doubtful(check, r, subject, trust.ReasonNetwork, "the repository answered HTTP %d for the provenance file", resp.Status)
	case keysErr != nil:
		return adapter.Unverified(check, r, subject, keysErr)
	case sum.IsZero():
		return adapter.Doubtful(check, r, subject, trust.ReasonUnsupported, "no SHA-256 of the chart is known that the provenance file could be compared with")
	}
	finish := func(e trust.Evidence) trust.Evidence {
		e.Source = resp.URL
		e.Raw = []trust.Raw{trust.NewRaw("provenance", "text/plain", resp.Body)}
		return e
	}
	if keys.Len() == 0 {
		e := adapter.Doubtful(check, r, subject, trust.ReasonUnknownKey, "the chart has a provenance file, and no key is pinned for %s; key servers are never asked", r.Package.FullName())
		e.Remedy = pinned.Remedy(r.Package, nil)
		return finish(e)
	}
	v, err := helmprov.Verify(resp.Body, helmprov.Want{Want: openpgp.Want{Keys: keys, Now: a.Clock()}, Name: r.Package.Name, Version: r.Version, Archive: name, Digest: sum})
	if err != nil {
		e := adapter.Unverified(check, r, subject, err)
		if e.Reason == trust.ReasonUnknownKey {
			e.Remedy = pinned.Remedy(r.Package, nil)
		}
		return finish(e)
	}
	signer := v.Signer()
	e := finish(trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: subject, Signer: &signer, Assurance: trust.AssurancePublisher})
	key := trust.NewRaw(trust.RawOpenPGPKeys, "application/pgp-keys", keys.Of(signer.Fingerprint))
	e.Root, e.Raw = key.Digest, append(e.Raw, key)
	return e
}

// Fetch hands out the archive with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	repo, ok := a.Config.repository(registry(c))
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the repository %q is not configured", c.Release, registry(c))
	}
	d := art.Digests.Strongest()
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch the chart by", c.Release)
	}
	x, _, err := a.index(ctx, repo)
	if err != nil {
		return nil, err
	}
	e, err := x.find(c.Release.Package.Name, c.Release.Version)
	if err != nil {
		return nil, err
	}
	u, err := e.archive(repo)
	if err != nil {
		return nil, err
	}
	return a.open(ctx, u, d)
}
