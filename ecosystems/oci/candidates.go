package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

// Bounds of signatures.
const (
	MaxSignatures    = 64       // signatures and attestations of one image, per place where they are kept
	MaxReferrers     = 1024     // documents that refer to one image
	MaxReferrerPages = 8        // pages of the list of referrers
	MaxPayload       = 64 << 10 // bytes of a simple signing payload
	MaxAttestation   = 16 << 20 // bytes of an envelope or bundle
)

// Media types and annotations of cosign and Sigstore.
const (
	typeSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	typeEnvelope      = "application/vnd.dsse.envelope.v1+json"
	typeEmpty         = "application/vnd.oci.empty.v1+json"
	typeCosignSig     = "application/vnd.dev.cosign.artifact.sig.v1+json"

	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"

	bundleV01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
)

// isBundle reports whether a media type is that of a Sigstore bundle.
func isBundle(t string) bool {
	return strings.HasPrefix(t, "application/vnd.dev.sigstore.bundle") && strings.Contains(t, "+json")
}

// candidate is one signature or attestation, in the form that it is verified in.
// Exactly one of bundle, envelope and signature is set.
type candidate struct {
	source     string
	bundle     []byte // Sigstore bundle with a certificate
	envelope   []byte // DSSE envelope signed with a key
	signature  []byte // signature with a key over payload
	payload    []byte // simple signing document that bundle or signature is over
	predicate  string // type that the statement gives itself; empty for signatures
	sourceless bool   // provenance that names no source repository to compare with the certificate
	err        error  // why it cannot be judged
}

// identity tells copies of one candidate apart from other candidates.
func (c candidate) identity() string {
	return fmt.Sprintf("%x %x %x %x %v", c.bundle, c.envelope, c.signature, c.payload, c.err)
}

// lookup gathers what is kept beside the image in one place. An error means that
// the place could not be read in full.
type lookup struct {
	check trust.Check // what the place is for, where it cannot be read
	find  func(ctx context.Context, im image) ([]candidate, error)
}

func (a *Adapter) lookups() []lookup {
	return []lookup{
		{trust.CheckPublisherSig, a.referrers},
		{trust.CheckPublisherSig, func(ctx context.Context, im image) ([]candidate, error) { return a.tagged(ctx, im, ".sig") }},
		{trust.CheckProvenance, func(ctx context.Context, im image) ([]candidate, error) { return a.tagged(ctx, im, ".att") }},
	}
}

// tagged reads cosign's manifest under the tag that the digest leads to.
func (a *Adapter) tagged(ctx context.Context, im image, suffix string) ([]candidate, error) {
	ref := string(im.digest.Algorithm) + "-" + im.digest.Value + suffix
	d, resp, err := a.document(ctx, im.repo, ref, trust.Digest{})
	if err != nil || d == nil {
		return nil, err
	}
	if d.index {
		return nil, trust.Undecidable(trust.ReasonMalformed, "%s is an index, a manifest with signatures was expected", ref)
	}
	return a.layers(ctx, im, d, resp.URL)
}

// referrers lists the documents that refer to the image, and reads those that
// hold signatures.
func (a *Adapter) referrers(ctx context.Context, im image) ([]candidate, error) {
	refs, err := a.listReferrers(ctx, im)
	if err != nil {
		return nil, err
	}
	var wanted []v1.Descriptor
	for _, r := range refs {
		// Some registries leave the type away, or list that of the configuration.
		if t := r.ArtifactType; t == "" || t == typeEmpty || isBundle(t) || t == typeCosignSig {
			wanted = append(wanted, r)
		}
	}
	if len(wanted) > MaxSignatures {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%d signatures refer to the image, headgate reads at most %d", len(wanted), MaxSignatures)
	}
	var out []candidate
	for _, r := range wanted {
		want, err := trust.ParseDigest(r.Digest.String())
		if err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the list of referrers: %w", err)
		}
		d, resp, err := a.document(ctx, im.repo, want.String(), want)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, trust.Undecidable(trust.ReasonStripped, "the registry lists %s and does not serve it", want)
		}
		if d.index || !holdsSignatures(d) {
			continue
		}
		if d.Subject == nil || d.Subject.Digest.String() != im.digest.String() {
			return nil, trust.Failure(trust.ReasonWrongSubject, "the registry lists %s, which refers to another document", want)
		}
		cs, err := a.layers(ctx, im, d, resp.URL)
		if err != nil {
			return nil, err
		}
		if out = append(out, cs...); len(out) > MaxSignatures {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "more than %d signatures refer to the image", MaxSignatures)
		}
	}
	return out, nil
}

func holdsSignatures(d *document) bool {
	for _, l := range d.Layers {
		if t := string(l.MediaType); t == typeSimpleSigning || t == typeEnvelope || isBundle(t) {
			return true
		}
	}
	return false
}

// listReferrers asks the referrers API page by page, or reads the fallback tag
// where the registry has no such API.
func (a *Adapter) listReferrers(ctx context.Context, im image) ([]v1.Descriptor, error) {
	resource := "referrers/" + im.digest.String()
	var out []v1.Descriptor
	for page := 0; ; page++ {
		if page == MaxReferrerPages {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the list of referrers has more than %d pages", MaxReferrerPages)
		}
		resp, err := a.ask(ctx, im.repo, resource, upstream.Request{Accept: string(types.OCIImageIndex), MaxBytes: MaxManifest})
		if err != nil {
			return nil, err
		}
		if t, err := mediaType(resp.Header.Get("Content-Type")); page == 0 && (err != nil || resp.Status != http.StatusOK || t != types.OCIImageIndex) {
			// Registries without this API answer in many ways: the specification's
			// fallback decides, and a list that is no index is none.
			break
		}
		if resp.Status != http.StatusOK {
			return nil, trust.Undecidable(trust.ReasonNetwork, "the list of referrers: HTTP %d", resp.Status)
		}
		if out, err = addReferrers(out, resp.Body); err != nil {
			return nil, err
		}
		next, err := nextPage(resp.Header.Get("Link"), im)
		if err != nil || next == "" {
			return out, err
		}
		resource = next
	}
	resp, err := a.ask(ctx, im.repo, "manifests/"+string(im.digest.Algorithm)+"-"+im.digest.Value, upstream.Request{Accept: string(types.OCIImageIndex), MaxBytes: MaxManifest})
	if err != nil {
		return nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		return addReferrers(nil, resp.Body)
	case http.StatusNotFound, http.StatusGone:
		return nil, nil
	}
	return nil, trust.Undecidable(trust.ReasonNetwork, "the list of referrers: HTTP %d", resp.Status)
}

func addReferrers(to []v1.Descriptor, body []byte) ([]v1.Descriptor, error) {
	var idx struct {
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if err := strictjson.Unmarshal(body, &idx); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the list of referrers is malformed: %w", err)
	}
	if to = append(to, idx.Manifests...); len(to) > MaxReferrers {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "more than %d documents refer to the image", MaxReferrers)
	}
	return to, nil
}

// nextPage reads a Link header: the rest of the same list, or nothing.
func nextPage(link string, im image) (string, error) {
	if link == "" {
		return "", nil
	}
	target, rel, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
	if !ok || !strings.Contains(rel, "next") {
		return "", nil
	}
	u, err := url.Parse(target)
	want := "/v2/" + im.repo.RepositoryStr() + "/referrers/" + im.digest.String()
	if err != nil || u.Path != want || u.Host != "" && u.Host != im.repo.RegistryStr() {
		return "", trust.Undecidable(trust.ReasonMalformed, "the list of referrers goes on elsewhere")
	}
	return "referrers/" + im.digest.String() + "?" + u.RawQuery, nil
}

// layers reads the signatures that a manifest holds, one per layer.
func (a *Adapter) layers(ctx context.Context, im image, d *document, source string) ([]candidate, error) {
	if len(d.Layers) > MaxSignatures {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s holds %d signatures, headgate reads at most %d", source, len(d.Layers), MaxSignatures)
	}
	var out []candidate
	for _, l := range d.Layers {
		t, limit := string(l.MediaType), int64(MaxAttestation)
		switch {
		case t == typeSimpleSigning:
			limit = MaxPayload
		case t == typeEnvelope, isBundle(t):
		default:
			continue
		}
		b, err := a.blob(ctx, im.repo, l.Digest.String(), l.Size, limit)
		if err != nil {
			return nil, err
		}
		c := candidate{}
		switch {
		case t == typeSimpleSigning:
			c = simpleSigning(b, l.Annotations)
		case t == typeEnvelope:
			c = attestation(b, l.Annotations)
		default:
			c = bundled(b)
		}
		c.source = source
		out = append(out, c)
	}
	return out, nil
}

func broken(format string, args ...any) candidate {
	return candidate{err: trust.Undecidable(trust.ReasonMalformed, format, args...)}
}

// simpleSigning makes a candidate of cosign's signature in annotations.
func simpleSigning(payload []byte, ann map[string]string) candidate {
	sig, err := base64.StdEncoding.DecodeString(ann[annotationSignature])
	if err != nil || len(sig) == 0 {
		return broken("a signature is no base64")
	}
	if ann[annotationCertificate] == "" {
		return candidate{signature: sig, payload: payload}
	}
	sum := digestOf(payload)
	b, err := assemble(ann, "messageSignature", map[string]any{
		"messageDigest": map[string]string{"algorithm": "SHA2_256", "digest": base64.StdEncoding.EncodeToString(sum.Bytes())},
		"signature":     base64.StdEncoding.EncodeToString(sig),
	})
	if err != nil {
		return candidate{err: err}
	}
	return candidate{bundle: b, payload: payload}
}

// attestation makes a candidate of a DSSE envelope with cosign's annotations.
func attestation(envelope []byte, ann map[string]string) candidate {
	e, err := dsse.Parse(envelope)
	if err != nil {
		return candidate{err: err}
	}
	p, sourceless, err := predicateType(e)
	if err != nil {
		return candidate{err: err}
	}
	if ann[annotationCertificate] == "" {
		return candidate{envelope: envelope, predicate: p, sourceless: sourceless}
	}
	b, err := assemble(ann, "dsseEnvelope", json.RawMessage(envelope))
	if err != nil {
		return candidate{err: err}
	}
	return candidate{bundle: b, predicate: p, sourceless: sourceless}
}

// predicateType reads the type that a statement gives itself, before anything is
// verified: it says which check to make, which then demands that very type.
func predicateType(e *dsse.Envelope) (predicate string, sourceless bool, err error) {
	if e.PayloadType() != sigstore.PayloadType {
		return "", false, trust.Undecidable(trust.ReasonUnsupported, "the envelope holds %.80q, no in-toto statement", e.PayloadType())
	}
	st, err := sigstore.ParseStatement(e.UnverifiedPayload())
	if err != nil {
		return "", false, err
	}
	switch st.PredicateType {
	case sigstore.PredicateProvenance1, sigstore.PredicateProvenance02:
		return st.PredicateType, !namesSource(st.Predicate), nil
	}
	return st.PredicateType, false, nil
}

// namesSource reports whether provenance is of a kind that a certificate can
// confirm. What image builders write of themselves (layers, base images,
// configuration files) names no source repository, or one in a form of their own:
// it proves nothing about the source, and is no contradiction either.
func namesSource(predicate []byte) bool {
	type resource struct {
		URI string `json:"uri"`
	}
	var p struct {
		BuildType  string `json:"buildType"`
		Invocation struct {
			ConfigSource resource `json:"configSource"`
		} `json:"invocation"`
		BuildDefinition struct {
			BuildType            string     `json:"buildType"`
			ResolvedDependencies []resource `json:"resolvedDependencies"`
			ExternalParameters   struct {
				Workflow struct {
					Repository string `json:"repository"`
				} `json:"workflow"`
			} `json:"externalParameters"`
		} `json:"buildDefinition"`
	}
	if json.Unmarshal(predicate, &p) != nil {
		return true // to be refused when it is verified
	}
	if strings.Contains(p.BuildType, "buildkit") || strings.Contains(p.BuildDefinition.BuildType, "buildkit") {
		return false
	}
	if p.Invocation.ConfigSource.URI != "" || p.BuildDefinition.ExternalParameters.Workflow.Repository != "" {
		return true
	}
	deps := p.BuildDefinition.ResolvedDependencies
	return len(deps) > 0 && strings.HasPrefix(deps[0].URI, "git+")
}

// bundled makes a candidate of a Sigstore bundle. One that is signed with a key
// is verified as the envelope in it, by keys that were pinned.
func bundled(b []byte) candidate {
	if _, err := sigstore.CheckJSON(b); err != nil {
		return candidate{err: err}
	}
	var doc struct {
		Material struct {
			PublicKey json.RawMessage `json:"publicKey"`
		} `json:"verificationMaterial"`
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return broken("a bundle is malformed: %w", err)
	}
	if doc.Envelope == nil {
		if doc.Material.PublicKey != nil {
			return candidate{err: trust.Undecidable(trust.ReasonUnsupported, "a bundle holds a plain signature by a key; headgate reads attestations by keys, and cosign's own form")}
		}
		return candidate{bundle: b}
	}
	e, err := dsse.Parse(doc.Envelope)
	if err != nil {
		return candidate{err: err}
	}
	p, sourceless, err := predicateType(e)
	if err != nil {
		return candidate{err: err}
	}
	if doc.Material.PublicKey != nil {
		return candidate{envelope: doc.Envelope, predicate: p, sourceless: sourceless}
	}
	return candidate{bundle: b, predicate: p, sourceless: sourceless}
}

// assemble writes cosign's annotations as a Sigstore bundle v0.1: certificate,
// log entry with its promise, and timestamp. Nothing is judged here.
func assemble(ann map[string]string, content string, signed any) ([]byte, error) {
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "a signature's "+format, args...)
	}
	block, rest := pem.Decode([]byte(ann[annotationCertificate]))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return bad("certificate is not one PEM block")
	}
	material := map[string]any{
		"x509CertificateChain": map[string]any{"certificates": []map[string]string{{"rawBytes": base64.StdEncoding.EncodeToString(block.Bytes)}}},
	}
	if s := ann[annotationBundle]; s != "" {
		var log sigstore.CosignLog
		if err := strictjson.Unmarshal([]byte(s), &log); err != nil {
			return bad("log entry is malformed: %w", err)
		}
		entry, err := log.Entry()
		if err != nil {
			return bad("log entry is malformed: %w", err)
		}
		material["tlogEntries"] = []any{entry}
	}
	if s := ann[annotationTimestamp]; s != "" {
		var ts struct {
			SignedRFC3161Timestamp string `json:"SignedRFC3161Timestamp"`
		}
		if err := strictjson.Unmarshal([]byte(s), &ts); err != nil || ts.SignedRFC3161Timestamp == "" {
			return bad("timestamp is malformed")
		}
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []map[string]string{{"signedTimestamp": ts.SignedRFC3161Timestamp}}}
	}
	b, err := json.Marshal(map[string]any{"mediaType": bundleV01, "verificationMaterial": material, content: signed})
	if err != nil {
		return bad("content is malformed: %w", err)
	}
	return b, nil
}

// checkPayload judges a simple signing document whose signature was verified:
// it must be for this digest and this image.
func checkPayload(payload []byte, im image) error {
	doc, err := sigstore.ParseSimpleSigning(payload)
	if err != nil {
		return err
	}
	if doc.Digest != im.digest.String() {
		return trust.Failure(trust.ReasonWrongDigest, "signed for %.100q, not for %s", doc.Digest, im.digest)
	}
	if doc.Reference == "" {
		return nil // signers may leave the name away; the digest is signed
	}
	return sameImage(doc.Reference, im.repo)
}
