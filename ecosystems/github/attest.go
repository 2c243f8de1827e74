package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/klauspost/compress/snappy"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Predicate types of release attestations
// (https://github.com/in-toto/attestation/blob/main/spec/predicates/release.md).
const (
	PredicateRelease02 = "https://in-toto.io/attestation/release/v0.2"
	PredicateRelease01 = "https://in-toto.io/attestation/release/v0.1"
)

// MaxAttestations bounds the attestations of one digest that are looked at.
const MaxAttestations = 100

// attestations asks for what was signed about the release: each file by its
// digest, or the commit where there are no files.
func (q *question) attestations(ctx context.Context) {
	files := 0
	for _, art := range q.c.Artifacts {
		if d := art.Digests.Get(trust.SHA256); !d.IsZero() {
			files++
			q.asset(ctx, art, d)
		}
	}
	if files > 0 {
		return
	}
	tags, _ := q.refs.at(q.commit)
	if len(tags) == 0 {
		return // only releases are attested
	}
	if q.o.GitHub == nil {
		// Not asked: the answer could not be verified, and requests are few.
		q.add(q.rootless(q.locked))
		return
	}
	// GitHub names the tag's object, which for an annotated tag is not the commit.
	subjects := []string{q.commit}
	for _, t := range tags {
		if o := q.refs.tags[t].object; !slices.Contains(subjects, o) {
			subjects = append([]string{o}, subjects...)
		}
	}
	subjects = subjects[max(0, len(subjects)-3):]
	var bundles [][]byte
	for _, s := range subjects {
		alg := "sha1:"
		if len(s) == 64 {
			alg = "sha256:"
		}
		bs, err := q.bundles(ctx, alg+s)
		if err != nil {
			q.add(q.explain(adapter.Unverified(trust.CheckRelease, q.r, q.locked, err)))
			return
		}
		bundles = append(bundles, bs...)
	}
	q.release(ctx, q.locked, bundles, tags, func(ss []sigstore.Subject) error {
		if slices.ContainsFunc(objects(ss), func(o string) bool { return slices.Contains(subjects, o) }) {
			return nil
		}
		return sigstore.NameError(trust.ReasonWrongSubject, "the release attestation is about another commit than %s", q.commit)
	})
}

// objects are the git objects among the subjects of a release attestation: what
// the tag pointed at when the release was made. Files have names.
func objects(ss []sigstore.Subject) []string {
	var out []string
	for _, s := range ss {
		for _, alg := range []trust.Algorithm{trust.GitCommit, trust.SHA1, trust.SHA256} {
			if d := s.Digests.Get(alg); s.Name == "" && !d.IsZero() {
				out = append(out, d.Value)
			}
		}
	}
	return out
}

// asset verifies what was signed about one file of a release.
func (q *question) asset(ctx context.Context, art trust.Artifact, d trust.Digest) {
	bundles, err := q.bundles(ctx, d.String())
	if err != nil {
		q.add(q.explain(adapter.Unverified(trust.CheckRelease, q.r, art, err)))
		return
	}
	is := func(s sigstore.Subject) bool {
		return s.Digests.Get(trust.SHA256).Equal(d) && (art.Name == "" || s.Name == art.Name)
	}
	check := func(ss []sigstore.Subject) error {
		if slices.ContainsFunc(ss, is) {
			return nil
		}
		if art.Name != "" && slices.ContainsFunc(ss, func(s sigstore.Subject) bool { return s.Digests.Get(trust.SHA256).Equal(d) }) {
			return sigstore.NameError(trust.ReasonWrongName, "signed under another file name than %.100q", art.Name)
		}
		return sigstore.NameError(trust.ReasonWrongSubject, "signed about other files than %s", d)
	}
	tags := []string{q.r.Version}
	if isCommit(q.r.Version) {
		tags, _ = q.refs.at(q.commit)
	}
	if q.o.GitHub == nil {
		q.add(q.rootless(art))
	} else {
		q.release(ctx, art, bundles, tags, check)
	}
	q.provenance(ctx, art, bundles, tags, check)
}

func (q *question) rootless(art trust.Artifact) trust.Evidence {
	e := adapter.Doubtful(trust.CheckRelease, q.r, art, trust.ReasonExpiredRoot, "release attestations are not looked at: GitHub's own trusted root is not at hand, and no other root stands in for it")
	e.Remedy = "name a file with what gh attestation trusted-root prints in $" + RootEnv
	return e
}

// bundles asks for the attestations of a digest, "sha256:…". Only a list without
// entries or HTTP 404 is none; both may also mean that we are not to see them.
func (q *question) bundles(ctx context.Context, digest string) ([][]byte, error) {
	var doc struct {
		Attestations []struct {
			Bundle    json.RawMessage `json:"bundle"`
			BundleURL string          `json:"bundle_url"`
		} `json:"attestations"`
	}
	err := q.api(ctx, "repos/"+q.path()+"/attestations/"+url.PathEscape(digest), url.Values{"per_page": {fmt.Sprint(MaxAttestations)}}, &doc)
	if errors.Is(err, errNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(doc.Attestations) >= MaxAttestations {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the digest has %d attestations or more", MaxAttestations)
	}
	var out [][]byte
	for _, at := range doc.Attestations {
		b := []byte(at.Bundle)
		if len(b) == 0 || string(b) == "null" {
			if b, err = q.elsewhereBundle(ctx, at.BundleURL); err != nil {
				return nil, err
			}
		}
		out = append(out, b)
	}
	return out, nil
}

// elsewhereBundle fetches a bundle that the API names by URL; it is compressed
// (snappy block format). Where it comes from does not matter: it is signed.
func (q *question) elsewhereBundle(ctx context.Context, at string) ([]byte, error) {
	if at == "" {
		return nil, trust.Undecidable(trust.ReasonMalformed, "an attestation without a bundle")
	}
	resp, err := q.o.Get.Get(ctx, upstream.Request{URL: at, MaxBytes: sigstore.MaxBundle})
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonNetwork, "an attestation's bundle: HTTP %d", resp.Status)
	}
	return unpackBundle(resp.Body)
}

func unpackBundle(b []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(b)
	if err != nil || n > sigstore.MaxBundle {
		return nil, trust.Undecidable(trust.ReasonMalformed, "an attestation's bundle is not compressed as it should be, or too large")
	}
	out, err := snappy.Decode(nil, b)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "an attestation's bundle is not compressed as it should be: %w", err)
	}
	return out, nil
}

// outer is what a bundle says before anybody verified it: it only selects which
// expectation the bundle is held against, and the verifier holds it to that.
func outer(bundle []byte) (predicate string, logged bool) {
	var b struct {
		Material struct {
			Entries []json.RawMessage `json:"tlogEntries"`
		} `json:"verificationMaterial"`
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	var s struct {
		PredicateType string `json:"predicateType"`
	}
	if json.Unmarshal(bundle, &b) != nil || json.Unmarshal(b.Envelope.Payload, &s) != nil {
		return "", false
	}
	return s.PredicateType, len(b.Material.Entries) > 0
}

// releasePredicate is what GitHub signs about an immutable release.
type releasePredicate struct {
	Repository   string `json:"repository"`
	RepositoryID string `json:"repositoryId"`
	OwnerID      string `json:"ownerId"`
	Tag          string `json:"tag"`
	PURL         string `json:"purl"`
}

// releaseSigner is who signs release attestations: the service, certified by
// GitHub's own authority without an OpenID issuer, so that it is its own.
func (a *Adapter) releaseSigner() string {
	host := "dotcom"
	if u, err := url.Parse(a.o.Config.Certified); err == nil && strings.HasSuffix(u.Hostname(), tenants) {
		host = strings.TrimSuffix(u.Hostname(), tenants)
	}
	return "https://" + host + sigstore.GitHubReleases
}

// registry is the name under which the forge counts as a signer.
func (a *Adapter) registry() string {
	u, err := url.Parse(a.o.Config.Certified)
	if err != nil {
		return a.o.Config.Certified
	}
	return u.Host
}

// release verifies the release attestations among the bundles.
func (q *question) release(ctx context.Context, art trust.Artifact, bundles [][]byte, tags []string, check func([]sigstore.Subject) error) {
	fail := func(err error) {
		q.add(adapter.Unverified(trust.CheckRelease, q.r, art, err))
	}
	var found []trust.Evidence
	for _, b := range bundles {
		if p, _ := outer(b); p != PredicateRelease02 && p != PredicateRelease01 {
			continue
		}
		v, err := q.o.GitHub(ctx, q.r.Package)
		if err != nil {
			fail(err)
			return
		}
		if v.Instance() != sigstore.InstanceGitHubPrivate {
			fail(trust.Undecidable(trust.ReasonExpiredRoot, "the root for release attestations is that of another Sigstore instance"))
			return
		}
		id, err := sigstore.ExactIdentity(q.releaseSigner(), q.releaseSigner())
		if err != nil {
			fail(err)
			return
		}
		got, err := v.Verify(b, sigstore.Expectation{CheckSubjects: check, PredicateTypes: []string{PredicateRelease02, PredicateRelease01}, Identity: id})
		if err == nil {
			err = q.judgeRelease(got, tags)
		}
		if err != nil {
			fail(err)
			return
		}
		e := trust.Evidence{Check: trust.CheckRelease, Outcome: trust.Verified, Release: q.r, Artifact: art, Detail: "GitHub attests the release and that it is immutable"}
		if !art.Digests.Strongest().IsZero() {
			e.Assurance = trust.AssuranceRegistry // a commit alone is SHA-1
		}
		got.Describe(&e, "release-attestation")
		// The forge signs as a registry does: it says what it serves, not who made it.
		e.Signer = &trust.Signer{Kind: trust.SignerRegistry, Name: q.registry(), KeyID: got.Signer().SAN}
		found = append(found, e)
	}
	switch {
	case len(found) == 0:
		q.add(adapter.Missing(trust.CheckRelease, q.r, art, trust.ReasonNotPublished, "the API shows no release attestation: the release is not immutable, or was made before there were any"))
	case len(found) > 1:
		fail(trust.Failure(trust.ReasonDuplicate, "the release has %d attestations, one belongs to a release", len(found)))
	default:
		q.add(found[0])
	}
}

// judgeRelease holds the signed predicate against repository and tag.
func (q *question) judgeRelease(got sigstore.Verified, tags []string) error {
	st, _ := got.Statement()
	var p releasePredicate
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "reading the release attestation: %w", err)
	}
	r, err := trust.ParseRelease(p.PURL)
	switch {
	case err != nil:
		return trust.Undecidable(trust.ReasonMalformed, "the release attestation names the package %.200q: %w", p.PURL, err)
	case r.Package.Type != "github" || r.Package.Namespace != q.owner() || r.Package.Name != q.name(),
		p.Repository != "" && !strings.EqualFold(p.Repository, q.path()):
		return trust.Failure(trust.ReasonWrongName, "the release attestation is for %s", r.Package)
	case p.Tag != "" && p.Tag != r.Version:
		return trust.Undecidable(trust.ReasonMalformed, "the release attestation names the tags %.100q and %.100q", p.Tag, r.Version)
	case !slices.Contains(tags, r.Version):
		return trust.Failure(trust.ReasonWrongVersion, "the release attestation is for tag %.100q", r.Version)
	}
	// The tag of an immutable release stays where it is. The API does not show the
	// objects of annotated tags, git does.
	if at, ok := q.refs.tags[r.Version]; ok && q.refs.objects {
		if os := objects(st.Subjects); len(os) > 0 && !slices.Contains(os, at.object) && !slices.Contains(os, at.commit) {
			return trust.Failure(trust.ReasonWrongDigest, "the release attestation is about the tag %s at %s, and the tag is at %s now", r.Version, os[0], at.commit)
		}
	}
	return nil
}

// provenance verifies the build provenance among the bundles.
func (q *question) provenance(ctx context.Context, art trust.Artifact, bundles [][]byte, tags []string, check func([]sigstore.Subject) error) {
	repository := strings.ToLower(q.o.Config.Certified + "/" + q.path())
	signers := map[string]bool{}
	var es []trust.Evidence
	for _, b := range bundles {
		p, logged := outer(b)
		if p == PredicateRelease02 || p == PredicateRelease01 {
			continue
		}
		if p != sigstore.PredicateProvenance1 && p != sigstore.PredicateProvenance02 {
			continue // SBOMs and the like vouch for nothing here
		}
		e := trust.Evidence{Check: trust.CheckProvenance, Outcome: trust.Verified, Release: q.r, Artifact: art, Assurance: trust.AssuranceProvenance}
		err := func() error {
			if !logged {
				return trust.Undecidable(trust.ReasonUnsupported, "the provenance is in no public log, as for private repositories: it is not verified under the public instance's root, and no other stands in for it")
			}
			v, err := q.o.Public(ctx, q.r.Package)
			if err != nil {
				return err
			}
			got, err := v.Verify(b, sigstore.Expectation{CheckSubjects: check, PredicateTypes: []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02}, Identity: sigstore.CollectIdentityUnsafe()})
			if err != nil {
				return err
			}
			s := got.Signer()
			if s.SourceRepository != repository {
				return trust.Failure(trust.ReasonWrongName, "the provenance is of a build in %s", s)
			}
			if tag, ok := strings.CutPrefix(s.SourceRef, "refs/tags/"); ok && !slices.Contains(tags, tag) {
				return trust.Failure(trust.ReasonWrongVersion, "the provenance is of a build of tag %.100q", tag)
			}
			got.Describe(&e, "provenance")
			signers[s.WorkflowIdentity()] = true
			return nil
		}()
		if err != nil {
			e = adapter.Unverified(trust.CheckProvenance, q.r, art, err)
		}
		es = append(es, e)
	}
	if len(es) == 0 {
		q.add(adapter.Missing(trust.CheckProvenance, q.r, art, trust.ReasonNotPublished, "the API shows no build provenance of the file"))
		return
	}
	// One bad attestation among good ones: nobody can tell which the file is.
	for _, e := range es {
		if e.Outcome == trust.Failed {
			q.add(e)
			return
		}
	}
	if len(signers) > 1 {
		q.add(adapter.Refuted(trust.CheckProvenance, q.r, art, trust.ReasonDuplicate, "the file has provenance by %d different workflows", len(signers)))
		return
	}
	q.add(es...)
}
