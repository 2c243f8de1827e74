package rubygems

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/gemsig"
	"github.com/headgate/headgate/trust/keyfile"
	"github.com/headgate/headgate/trust/sigstore"
)

// factsFreshFor is how old the unsigned facts may be; nothing rests on them alone.
const factsFreshFor = time.Hour

// Options are the outside world of the adapter. Materials hands out the
// certificates of signers and their authorities that were pinned; nil for none.
// With it, Clock is required.
type Options struct {
	Get       upstream.Getter
	Config    Config
	Sigstore  adapter.Verifiers // of attestations
	Materials adapter.Materials
	Clock     adapter.Clock
}

// Adapter checks gems. It is safe for concurrent use.
type Adapter struct {
	get       upstream.Getter
	cfg       Config
	root      adapter.Verifiers
	materials adapter.Materials
	clock     adapter.Clock
}

// New returns an adapter.
func New(o Options) *Adapter {
	if o.Config.Default == "" {
		o.Config.Default = DefaultSource
	}
	return &Adapter{get: o.Get, cfg: o.Config, root: o.Sigstore, materials: o.Materials, clock: o.Clock}
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "RubyGems", Types: []string{"gem"}, Sources: []string{"Gemfile.lock with CHECKSUMS"},
		Integrity: "SHA-256 of lock file = compact index (= gem, when fetched)",
		Registry:  "–", Publisher: "Sigstore attestations of trusted publishing, where the gem has them; certificate signatures inside the gem, where the certificate was pinned",
		Binding: "digest (and name, where the attestation is a statement) are signed; the publisher is remembered from first sight",
		Checks:  []trust.Check{trust.CheckSource, trust.CheckIndex, trust.CheckPublisherSig, trust.CheckProvenance, trust.CheckBytes},
		Offers:  trust.AssuranceNone,
	}
}

// Collect compares lock file and index, and verifies the gem's attestations.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if e, ok := adapter.Elsewhere(c, "a gem server"); ok {
		return one(e)
	}
	source, ok := a.cfg.source(c.Registry)
	if !ok {
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "the lock file names the source %s, which the user's gem configuration does not have", c.Registry)
		e.Remedy = "add the source to ~/.gemrc if it is yours, or restore the lock file"
		return one(e)
	}
	platform := r.Qualifier("platform")
	if platform == "ruby" {
		platform = ""
	}
	res := adapter.Result{Evidence: []trust.Evidence{{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: locked, Source: source}}}
	resp, err := a.get.Get(ctx, upstream.Request{URL: source + "info/" + url.PathEscape(r.Package.Name), MaxBytes: MaxInfo, Allow: []string{"*." + host(source)}})
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	var e *entry
	switch {
	case err != nil:
	case resp.Status == http.StatusNotFound || resp.Status == http.StatusGone:
		err = trust.Undecidable(trust.ReasonNotFound, "the source knows no gem of this name")
	case resp.Status != http.StatusOK:
		err = trust.Undecidable(trust.ReasonNetwork, "the source answered HTTP %d", resp.Status)
	default:
		if e, err = parseInfo(resp.Body, r.Version, platform); err == nil && e == nil {
			res.Facts.Unpublished = true
			err = trust.Undecidable(trust.ReasonNotFound, "the source does not list this version (any more): yanked versions vanish from it")
		}
	}
	if err != nil {
		res.Evidence = append(res.Evidence, adapter.Unverified(trust.CheckIndex, r, locked, err))
		return res, nil
	}
	served := trust.Artifact{Digests: trust.Digests{e.digest}}
	idx := adapter.CompareDigests(trust.CheckIndex, r, locked, served)
	idx.Source, idx.Raw = resp.URL, []trust.Raw{trust.NewRaw("index-entry", "text/plain", e.line)}
	res.Evidence = append(res.Evidence, idx)
	subject := locked
	if len(locked.Digests) == 0 {
		subject.Digests = served.Digests
	}
	res.Evidence = append(res.Evidence, a.signatures(ctx, source, r, platform, subject)...)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if req.Bytes {
		res.Evidence = append(res.Evidence, a.bytes(ctx, source, r, platform, subject))
	}
	if v, err := a.get.Get(ctx, upstream.Request{URL: source + "api/v1/versions/" + url.PathEscape(r.Package.Name) + ".json", Accept: "application/json", MaxBytes: MaxVersionsJSON, MaxAge: factsFreshFor}); err == nil && v.Status == http.StatusOK {
		res.Facts, res.History = facts(v.Body, r.Version, platform, req.History)
	}
	return res, ctx.Err()
}

func host(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// fileName is the gem's name as the server has it.
func fileName(r trust.Release, platform string) string {
	s := r.Package.Name + "-" + r.Version
	if platform != "" {
		s += "-" + platform
	}
	return s
}

// signatures are the gem's attestations, and the certificate signatures inside it
// where a certificate is pinned for the gem: without one a look would teach
// nothing.
func (a *Adapter) signatures(ctx context.Context, source string, r trust.Release, platform string, subject trust.Artifact) []trust.Evidence {
	es := a.attestations(ctx, source, r, platform, subject)
	roots, err := a.roots(ctx, r.Package)
	if len(roots) == 0 && err == nil {
		return es
	}
	var v *gemsig.Verified
	var b adapter.Blob
	if err == nil {
		b, err = a.open(ctx, source, r, platform, subject)
	}
	if err == nil {
		defer b.Close()
		v, err = gemsig.Verify(io.NewSectionReader(b, 0, b.Size()), gemsig.Want{Name: r.Package.Name, Version: r.Version, Platform: platform, Roots: roots, Now: a.clock()})
	}
	if err != nil {
		e := adapter.Unverified(trust.CheckPublisherSig, r, subject, err)
		if e.Reason == trust.ReasonUnknownKey {
			e.Remedy = pinned.Command(r.Package, "FILE", "") + ", with the certificate from the project's own site"
		}
		return append(es, e)
	}
	signer := v.Signer()
	// That there is no attestation besides says nothing then.
	es = slices.DeleteFunc(es, func(e trust.Evidence) bool { return e.Outcome == trust.Absent })
	return append(es, trust.Evidence{Check: trust.CheckPublisherSig, Outcome: trust.Verified, Release: r, Artifact: subject, Signer: &signer, Assurance: trust.AssurancePublisher,
		Detail: "signed with a certificate inside the gem"})
}

// roots are the certificates that are pinned for the gem. One that cannot be read
// is an error about that one alone, unless it is all there is.
func (a *Adapter) roots(ctx context.Context, p trust.Package) ([]*x509.Certificate, error) {
	if a.materials == nil {
		return nil, nil
	}
	ms, err := a.materials.Materials(ctx, trust.MaterialX509Root, p)
	if err != nil {
		return nil, fmt.Errorf("reading the pinned certificates of %s: %w", p, err)
	}
	var out []*x509.Certificate
	var unread error
	for _, m := range ms {
		keys, bad, err := keyfile.Parse(m.Data)
		if err == nil && len(bad) > 0 {
			err = bad[0]
		}
		if err != nil {
			unread = trust.Undecidable(trust.ReasonUnknownKey, "the pinned certificate %.100q cannot be read: %w", m.Name, err)
		}
		for _, k := range keys {
			if k.Certificate != nil {
				out = append(out, k.Certificate)
			}
		}
	}
	if len(out) > 0 {
		unread = nil
	}
	return out, unread
}

// attestations asks for the gem's attestations and verifies each.
func (a *Adapter) attestations(ctx context.Context, source string, r trust.Release, platform string, subject trust.Artifact) []trust.Evidence {
	fail := func(err error) []trust.Evidence {
		return []trust.Evidence{adapter.Unverified(trust.CheckPublisherSig, r, subject, err)}
	}
	u := source + "api/v1/attestations/" + url.PathEscape(fileName(r, platform)) + ".json"
	resp, err := a.get.Get(ctx, upstream.Request{URL: u, Accept: "application/json", MaxBytes: MaxAttestation})
	if err != nil {
		return fail(err)
	}
	switch resp.Status {
	case http.StatusOK:
	case http.StatusNotFound:
		return []trust.Evidence{adapter.Missing(trust.CheckPublisherSig, r, subject, trust.ReasonNotPublished, "the gem has no attestations")}
	default:
		return fail(trust.Undecidable(trust.ReasonNetwork, "the source answered HTTP %d for the gem's attestations", resp.Status))
	}
	if _, err := sigstore.CheckJSON(resp.Body); err != nil {
		return fail(trust.Undecidable(trust.ReasonMalformed, "the gem's attestations are malformed: %w", err))
	}
	var bundles []json.RawMessage
	if err := json.Unmarshal(resp.Body, &bundles); err != nil {
		return fail(trust.Undecidable(trust.ReasonMalformed, "the gem's attestations are malformed: %w", err))
	}
	switch {
	case len(bundles) == 0:
		return []trust.Evidence{adapter.Missing(trust.CheckPublisherSig, r, subject, trust.ReasonNotPublished, "the gem has no attestations")}
	case len(bundles) > MaxAttestations:
		return fail(trust.Undecidable(trust.ReasonTooLarge, "the gem has more than %d attestations", MaxAttestations))
	}
	v, err := a.root(ctx, r.Package)
	if err != nil {
		return fail(err)
	}
	var es []trust.Evidence
	signers := map[trust.Check]string{}
	for _, b := range bundles {
		e := verify(v, b, r, platform, subject)
		e.Source = resp.URL
		if e.Outcome == trust.Verified {
			// Several attestations by one signer are a repetition, by two a contradiction.
			id := e.Signer.WorkflowIdentity()
			if other, ok := signers[e.Check]; ok && other != id {
				return fail(trust.Failure(trust.ReasonDuplicate, "the gem has attestations by two signers: %s and %s", other, id))
			}
			signers[e.Check] = id
		}
		es = append(es, e)
	}
	// One bad attestation among good ones: nobody can tell which the gem is.
	for _, e := range es {
		if e.Outcome == trust.Failed {
			return []trust.Evidence{e}
		}
	}
	return es
}

// verify judges one attestation: a plain signature over the gem, or a statement
// about it.
func verify(v *sigstore.Verifier, bundle []byte, r trust.Release, platform string, subject trust.Artifact) trust.Evidence {
	want := fileName(r, platform) + ".gem"
	got, err := v.Verify(bundle, sigstore.Expectation{
		Artifact: subject.Digests,
		SubjectName: func(name string) error {
			if name != want {
				return sigstore.NameError(trust.ReasonWrongName, "signed for %.100q, not for %s", name, want)
			}
			return nil
		},
		PredicateTypes:   []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02},
		MessageSignature: true,
		Identity:         sigstore.CollectIdentityUnsafe(),
	})
	if err != nil {
		o, reason := sigstore.Classify(err)
		return trust.Evidence{Check: trust.CheckPublisherSig, Outcome: o, Release: r, Artifact: subject, Reason: reason, Detail: err.Error()}
	}
	e := trust.Evidence{Check: trust.CheckPublisherSig, Outcome: trust.Verified, Release: r, Artifact: subject, Assurance: trust.AssurancePublisher}
	if _, ok := got.Provenance(); ok {
		e.Check, e.Assurance = trust.CheckProvenance, trust.AssuranceProvenance
	}
	got.Describe(&e, "attestation")
	return e
}

// bytes fetches the gem and compares its SHA-256.
func (a *Adapter) bytes(ctx context.Context, source string, r trust.Release, platform string, want trust.Artifact) trust.Evidence {
	b, err := a.open(ctx, source, r, platform, want)
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		return adapter.Unverified(trust.CheckBytes, r, want, err)
	}
	return trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: want}
}

// Fetch hands out the gem with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	source, ok := a.cfg.source(c.Registry)
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the source %s is not configured", c.Release, c.Registry)
	}
	platform := c.Release.Qualifier("platform")
	if platform == "ruby" {
		platform = ""
	}
	return a.open(ctx, source, c.Release, platform, art)
}

func (a *Adapter) open(ctx context.Context, source string, r trust.Release, platform string, want trust.Artifact) (adapter.Blob, error) {
	d := want.Digests.Strongest()
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch the gem by", r)
	}
	return a.get.Open(ctx, upstream.Request{URL: source + "gems/" + url.PathEscape(fileName(r, platform)) + ".gem", MaxBytes: MaxGem, Want: d, Allow: []string{"*." + host(source)}})
}
