package oci

import (
	"context"
	"crypto/sha256"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
)

// predicateSign is what cosign signs since its version 3: an attestation that
// says nothing but that the image was signed.
const predicateSign = "https://sigstore.dev/cosign/sign/v1"

// describing are predicates that say something about an image: what is in it, or
// what somebody checked. That they are signed does not say who published it.
var describing = regexp.MustCompile(`^(?:https://spdx\.dev/Document(?:/v[0-9.]+)?|https://cyclonedx\.org/bom(?:/v[0-9.]+)?|https://cosign\.sigstore\.dev/attestation(?:/vuln)?/v1|https://openvex\.dev/ns(?:/v[0-9.]+)?|https://slsa\.dev/verification_summary/v1|https://in-toto\.io/attestation/vulns/v0\.[12])$`)

// Options are the outside world of the adapter.
type Options struct {
	Get    upstream.Getter
	Config Config
	Root   adapter.Verifiers
	// Materials hands out pinned public keys; nil for none.
	Materials adapter.Materials
}

// Adapter checks container images. It is safe for concurrent use.
type Adapter struct {
	get       upstream.Getter
	cfg       Config
	root      adapter.Verifiers
	materials adapter.Materials

	mu     sync.Mutex
	tokens map[string]string // Authorization by repository
}

// New returns an adapter.
func New(o Options) *Adapter {
	return &Adapter{get: o.Get, cfg: o.Config, root: o.Root, materials: o.Materials, tokens: map[string]string{}}
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "OCI images", Types: []string{"oci", "docker"},
		Sources:   []string{"Dockerfile FROM", "Compose", "Kubernetes manifests", "docker:// steps of workflows", "SBOMs"},
		Integrity: "the digest names manifest or index (a tag is no identity)",
		Registry:  "–", Publisher: "cosign signatures and Sigstore bundles by tag and by referrers; SLSA provenance; an unsigned index by its signed images",
		Binding: "digest and image name are signed; the signer is remembered from first sight",
		Checks:  []trust.Check{trust.CheckSource, trust.CheckLockfile, trust.CheckBytes, trust.CheckPublisherSig, trust.CheckProvenance},
		Offers:  trust.AssuranceNone,
	}
}

func digestOf(b []byte) trust.Digest {
	s := sha256.Sum256(b)
	return trust.DigestOf(trust.SHA256, s[:])
}

// Collect fetches the image's manifest by its digest and verifies the signatures
// beside it.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), ctx.Err() }
	if e, ok := adapter.Elsewhere(c, "an image registry"); ok {
		return one(e)
	}
	im, err := imageOf(c)
	if err != nil {
		return one(adapter.Unverified(trust.CheckSource, r, locked, err))
	}
	if im.digest.IsZero() {
		return a.unpinned(ctx, r, locked, im)
	}
	locked.Digests = trust.Digests{im.digest}
	res := adapter.Result{}
	d, resp, err := a.document(ctx, im.repo, im.digest.String(), im.digest)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if err == nil && d == nil {
		err = trust.Undecidable(trust.ReasonNotFound, "%s has no image of this digest (any more)", im.repo.Name())
	}
	if err != nil {
		res.Evidence = []trust.Evidence{adapter.Unverified(trust.CheckBytes, r, locked, err)}
		return res, nil
	}
	res.Evidence = []trust.Evidence{{
		Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: locked, Source: resp.URL,
		Detail: "the digest stands for " + d.describe(), Raw: []trust.Raw{trust.NewRaw("manifest", resp.Header.Get("Content-Type"), resp.Body)},
	}, {
		// A registry has no other word for an image than its digest.
		Check: trust.CheckLockfile, Outcome: trust.Verified, Release: r, Artifact: locked, Source: resp.URL,
		Detail: "the registry serves the image under the digest that the source states",
	}}
	es, notes := a.signatures(ctx, r, locked, im, d)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	res.Evidence = append(res.Evidence, es...)
	res.Facts = a.facts(ctx, r, im, d)
	res.Facts.Notes = append(res.Facts.Notes, notes...)
	return res, ctx.Err()
}

// unpinned is the evidence about an image that is named by a tag: none, and where
// the tag leads at the moment.
func (a *Adapter) unpinned(ctx context.Context, r trust.Release, locked trust.Artifact, im image) (adapter.Result, error) {
	if im.tag == "" {
		im.tag = "latest"
	}
	e := adapter.Missing(trust.CheckLockfile, r, locked, trust.ReasonNoLockDigest, "the tag %s is not an identity: it can be moved to another image at any time", im.tag)
	e.Remedy = "pin the image by its digest"
	res := adapter.Result{}
	resp, err := a.ask(ctx, im.repo, "manifests/"+im.tag, upstream.Request{Accept: accept, MaxBytes: MaxManifest})
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	switch {
	case err != nil:
		res.Evidence = []trust.Evidence{e, adapter.Unverified(trust.CheckBytes, r, locked, err)}
		return res, nil
	case resp.Status == http.StatusOK:
		d, err := parseDocument(resp.Body, resp.Header.Get("Content-Type"))
		if err != nil {
			res.Evidence = []trust.Evidence{e, adapter.Unverified(trust.CheckBytes, r, locked, err)}
			return res, nil
		}
		now := digestOf(resp.Body)
		e.Source = resp.URL
		e.Remedy = "pin the image by its digest; at the moment the tag leads to " + now.String() + ", " + d.describe()
	default:
		res.Evidence = []trust.Evidence{e, adapter.Doubtful(trust.CheckBytes, r, locked, trust.ReasonNotFound, "%s has no tag %s (HTTP %d)", im.repo.Name(), im.tag, resp.Status)}
		return res, nil
	}
	res.Evidence = []trust.Evidence{e}
	return res, nil
}

// signatures verifies everything that is kept beside the image.
func (a *Adapter) signatures(ctx context.Context, r trust.Release, art trust.Artifact, im image, d *document) ([]trust.Evidence, []string) {
	var es, unknown []trust.Evidence
	var notes []string
	seen := map[string]bool{}
	proven := false
	for _, l := range a.lookups() {
		cs, err := l.find(ctx, im)
		if err != nil {
			es = append(es, adapter.Unverified(l.check, r, art, err))
			continue
		}
		for _, c := range cs {
			if id := c.identity(); seen[id] {
				continue // the same one by another way
			} else {
				seen[id] = true
			}
			e, ok := a.judge(ctx, c, r, art, im)
			if !ok {
				note := "An attestation of the type " + c.predicate + " was not judged"
				if c.sourceless {
					note += ": it names no source repository that its signer could vouch for"
				}
				notes = append(notes, note+".")
				continue
			}
			if e.Outcome == trust.Unreachable && e.Reason == trust.ReasonUnknownKey {
				e.Remedy = pinned.Command(r.Package, "FILE", "") + ", with the publisher's own key"
				unknown = append(unknown, e)
				continue
			}
			proven = proven || e.Assurance >= trust.AssurancePublisher
			es = append(es, e)
		}
	}
	contradictions(es)
	// A signature by a key that nobody pinned neither helps nor harms, unless it is
	// all there is.
	if !proven && len(unknown) > 0 {
		es = append(es, unknown[0])
	}
	switch {
	case len(es) > 0:
	case d.index:
		es = a.platforms(ctx, r, art, im, d)
	default:
		es = append(es, adapter.Missing(trust.CheckPublisherSig, r, art, trust.ReasonNotPublished, "the registry has no signatures or attestations of this digest"))
	}
	slices.Sort(notes)
	return es, slices.Compact(notes)
}

// contradictions refuses provenance that names two source repositories: one
// image was built of one of them.
func contradictions(es []trust.Evidence) {
	repo := func(e trust.Evidence) string {
		if e.Outcome != trust.Verified || e.Assurance != trust.AssuranceProvenance || e.Signer == nil {
			return ""
		}
		return e.Signer.SourceRepository
	}
	first := ""
	for _, e := range es {
		switch s := repo(e); {
		case s == "" || s == first:
		case first == "":
			first = s
		default:
			for i, e := range es {
				if repo(e) != "" {
					es[i].Outcome, es[i].Assurance, es[i].Reason = trust.Failed, trust.AssuranceNone, trust.ReasonDuplicate
					es[i].Detail = "two provenance attestations name different source repositories, " + first + " and " + s
				}
			}
			return
		}
	}
}

// judge verifies one candidate; ok is false for attestations of a type that says
// nothing that headgate asks about.
func (a *Adapter) judge(ctx context.Context, c candidate, r trust.Release, art trust.Artifact, im image) (e trust.Evidence, ok bool) {
	check, assurance := trust.CheckPublisherSig, trust.AssurancePublisher
	switch p := c.predicate; {
	case p == "", p == predicateSign:
	case c.sourceless:
		return trust.Evidence{}, false
	case p == sigstore.PredicateProvenance1, p == sigstore.PredicateProvenance02:
		// Without a certificate nobody but the key's owner vouches for what provenance says.
		if c.envelope == nil {
			check, assurance = trust.CheckProvenance, trust.AssuranceProvenance
		}
	case describing.MatchString(p):
		assurance = trust.AssuranceNone
	default:
		return trust.Evidence{}, false
	}
	e = trust.Evidence{Check: check, Release: r, Artifact: art}
	err := c.err
	if err == nil {
		err = a.verify(ctx, c, im, r.Package, &e)
	}
	if err != nil {
		signer := e.Signer
		e = adapter.Unverified(check, r, art, err)
		if e.Outcome == trust.Failed {
			e.Signer = signer
		}
	} else {
		e.Outcome, e.Assurance = trust.Verified, assurance
		if assurance == trust.AssuranceNone {
			e.Detail = "signed, and says something about the image; not who published it"
		}
	}
	e.Source = c.source
	return e, true
}

// verify judges the candidate's signature, and what is signed, and writes what
// was verified into e.
func (a *Adapter) verify(ctx context.Context, c candidate, im image, pkg trust.Package, e *trust.Evidence) error {
	if c.bundle == nil {
		return a.verifyByKey(ctx, c, im, pkg, e)
	}
	v, err := a.root(ctx, pkg)
	if err != nil {
		return err
	}
	want := sigstore.Expectation{
		Artifact: trust.Digests{im.digest}, Identity: sigstore.CollectIdentityUnsafe(),
		SubjectName: func(n string) error { return nameError(n, im) },
	}
	switch {
	case c.predicate != "":
		want.PredicateTypes = []string{c.predicate}
	case c.payload != nil:
		want.Artifact, want.MessageSignature = trust.Digests{digestOf(c.payload)}, true
	default:
		want.MessageSignature = true
	}
	got, err := v.Verify(c.bundle, want)
	if err != nil {
		return err
	}
	got.Describe(e, "bundle")
	if c.payload != nil {
		e.Raw = append(e.Raw, trust.NewRaw("simple-signing", typeSimpleSigning, c.payload))
		return checkPayload(c.payload, im)
	}
	return nil
}

// nameError judges the name of a statement's subject.
func nameError(n string, im image) error {
	err := sameImage(n, im.repo)
	if err == nil {
		return nil
	}
	_, reason := trust.Classify(err)
	return sigstore.NameError(reason, "%w", err)
}

// verifyByKey judges a signature by the public keys that were pinned for the
// package. Whether one that fits none of them was tampered with or is by somebody
// else cannot be told apart.
func (a *Adapter) verifyByKey(ctx context.Context, c candidate, im image, pkg trust.Package, e *trust.Evidence) error {
	keys, err := a.keys(ctx, pkg)
	if err != nil {
		return err
	}
	stranger := trust.Undecidable(trust.ReasonUnknownKey, "signed with a key, and by none of the %d that are pinned for the image", len(keys))
	if c.signature != nil {
		for _, k := range keys {
			if k.Verify(c.payload, c.signature) != nil {
				continue
			}
			s := k.Signer()
			e.Signer = &s
			e.Raw = []trust.Raw{trust.NewRaw("simple-signing", typeSimpleSigning, c.payload), trust.NewRaw("signature", "application/octet-stream", c.signature)}
			return checkPayload(c.payload, im)
		}
		return stranger
	}
	env, err := dsse.Parse(c.envelope)
	if err != nil {
		return err
	}
	for _, k := range keys {
		got, err := dsse.Verify(env, sigstore.PayloadType, []dsse.Key{k}, 1)
		if err != nil {
			continue
		}
		s := k.Signer()
		e.Signer, e.PredicateType = &s, c.predicate
		e.Raw = []trust.Raw{trust.NewRaw("envelope", typeEnvelope, c.envelope)}
		return checkStatement(got.Payload(), c.predicate, im)
	}
	return stranger
}

// checkStatement judges a statement whose signature was verified.
func checkStatement(payload []byte, predicate string, im image) error {
	st, err := sigstore.ParseStatement(payload)
	if err != nil {
		return err
	}
	if st.PredicateType != predicate {
		return trust.Failure(trust.ReasonWrongPredicate, "the attestation is of the type %.100q, not %s", st.PredicateType, predicate)
	}
	if len(st.Subjects) != 1 {
		return trust.Failure(trust.ReasonWrongSubject, "the attestation has %d subjects, expected exactly one", len(st.Subjects))
	}
	switch s := st.Subjects[0]; s.Digests.Compare(trust.Digests{im.digest}) {
	case trust.Disagree:
		return trust.Failure(trust.ReasonWrongDigest, "the attestation is for %s, the image is %s", s.Digests.Strongest(), im.digest)
	case trust.Incomparable:
		return trust.Failure(trust.ReasonWrongSubject, "the attestation states no digest that the image has too")
	default:
		return sameImage(s.Name, im.repo)
	}
}

// keys are the public keys that were pinned for the package; those that cannot be
// read are left out.
func (a *Adapter) keys(ctx context.Context, pkg trust.Package) ([]dsse.Key, error) {
	if a.materials == nil {
		return nil, nil
	}
	ms, err := a.materials.Materials(ctx, trust.MaterialPublicKey, pkg)
	if err != nil {
		return nil, err
	}
	var out []dsse.Key
	for _, m := range ms {
		if k, err := dsse.ParseKey(m.Data); err == nil {
			out = append(out, k)
		}
	}
	return out, nil
}

// facts are the image's own, unsigned word on itself.
func (a *Adapter) facts(ctx context.Context, r trust.Release, im image, d *document) trust.Facts {
	f := factsOf(d.Annotations)
	if d.index && f.Published.IsZero() {
		own := a.built(ctx, r, im, d)
		if f.Repository == "" {
			f.Repository = own.Repository
		}
		f.Published = own.Published
		return f
	}
	if d.index || d.Config == nil || !strings.HasSuffix(string(d.Config.MediaType), "+json") {
		return f
	}
	b, err := a.blob(ctx, im.repo, d.Config.Digest.String(), d.Config.Size, MaxImageJSON)
	if err != nil {
		return f
	}
	own, err := imageFacts(b)
	if err != nil {
		return f
	}
	if own.Repository == "" {
		own.Repository = f.Repository
	}
	if own.Published.IsZero() {
		own.Published = f.Published
	}
	return own
}

// Fetch hands out the manifest or index that art's digest names.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	im, err := imageOf(c)
	if err != nil {
		return nil, err
	}
	d := art.Digests.Strongest()
	if d.IsZero() || d.Algorithm != trust.SHA256 && d.Algorithm != trust.SHA512 {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch the manifest by", c.Release)
	}
	var b adapter.Blob
	err = a.authorized(ctx, im.repo, "manifests/"+d.String(), upstream.Request{Accept: accept, MaxBytes: MaxManifest, Want: d}, func(r upstream.Request) error {
		var err error
		b, err = a.get.Open(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}
