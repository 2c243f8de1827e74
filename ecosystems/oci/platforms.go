package oci

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
)

// MaxJudgedPlatforms is how many images of an unsigned index are judged by
// signatures of their own.
const MaxJudgedPlatforms = 32

// RawIndex is the name of an index among the documents of evidence that rests on
// the signatures of its images.
const RawIndex = "index"

// annotationReference marks what builders list in an index beside images: their
// own attestations, which nobody runs.
const annotationReference = "vnd.docker.reference.type"

// used are the images of an index that the component may run: those of the
// platform that it names, or all.
func (d *document) used(r trust.Release) []v1.Descriptor {
	var out []v1.Descriptor
	for _, m := range d.Manifests {
		p := m.Platform
		if m.Annotations[annotationReference] != "" && p != nil && p.OS == "unknown" && p.Architecture == "unknown" {
			continue
		}
		if arch := r.Qualifier("arch"); arch != "" && p != nil && p.Architecture != arch && p.Architecture+"/"+p.Variant != arch {
			continue
		}
		if os := r.Qualifier("os"); os != "" && p != nil && p.OS != os {
			continue
		}
		out = append(out, m)
	}
	return out
}

// platform names an image of an index.
func platform(m v1.Descriptor) string {
	if m.Platform == nil || m.Platform.String() == "" {
		return m.Digest.String()
	}
	return m.Platform.String()
}

// platforms judges an index that has no signatures of its own by those of its
// images. The index is verified only if every image that may run is, by one
// signer; its digest binds them. Otherwise the evidence says which are signed.
func (a *Adapter) platforms(ctx context.Context, r trust.Release, art trust.Artifact, im image, d *document) []trust.Evidence {
	missing := func(format string, args ...any) []trust.Evidence {
		return []trust.Evidence{adapter.Missing(trust.CheckPublisherSig, r, art, trust.ReasonNotPublished, "the registry has no signatures or attestations of this index, "+format, args...)}
	}
	images := d.used(r)
	switch {
	case len(images) == 0:
		return missing("which lists no image")
	case len(images) > MaxJudgedPlatforms:
		return []trust.Evidence{adapter.Doubtful(trust.CheckPublisherSig, r, art, trust.ReasonTooLarge, "the index is not signed and lists %d images, headgate judges at most %d by signatures of their own", len(images), MaxJudgedPlatforms)}
	}
	var signed, unsigned []string
	var common []trust.Evidence
	for i, m := range images {
		name := platform(m)
		es := a.child(ctx, r, im, m)
		var good []trust.Evidence
		for _, e := range es {
			if e.Outcome == trust.Failed || e.Outcome == trust.Unreachable {
				e.Artifact, e.Detail = art, name+" of the index: "+e.Detail
				return []trust.Evidence{e}
			}
			if e.Outcome == trust.Verified && e.Assurance > trust.AssuranceNone {
				good = append(good, e)
			}
		}
		if len(good) == 0 {
			// Most images are not signed at all: the first one tells, and requests count.
			if i == 0 {
				return missing("and none of its image for %s, the first of %d", name, len(images))
			}
			unsigned = append(unsigned, name)
			continue
		}
		signed = append(signed, name)
		if i == 0 {
			common = good
		} else {
			common = both(common, good)
		}
	}
	switch {
	case len(unsigned) > 0:
		return missing("and of its images those for %s are signed, those for %s are not", strings.Join(signed, ", "), strings.Join(unsigned, ", "))
	case len(common) == 0:
		return missing("and its images (%s) are signed by different signers", strings.Join(signed, ", "))
	}
	for i := range common {
		common[i].Artifact = art
		// Its digest binds the images that the bundles are about.
		common[i].Raw = slices.Concat([]trust.Raw{trust.NewRaw(RawIndex, string(d.MediaType), d.raw)}, common[i].Raw)
		common[i].Detail = fmt.Sprintf("the index is not signed itself; each of the images that it lists is, by this signer: %s", strings.Join(signed, ", "))
	}
	return common
}

// child is the evidence about one image of an index.
func (a *Adapter) child(ctx context.Context, r trust.Release, im image, m v1.Descriptor) []trust.Evidence {
	digest, err := trust.ParseDigest(m.Digest.String())
	if err != nil || !digest.Strong() {
		return []trust.Evidence{adapter.Doubtful(trust.CheckPublisherSig, r, trust.Artifact{}, trust.ReasonMalformed, "the index names %.100q, which is no digest", m.Digest.String())}
	}
	im.digest = digest
	art := trust.Artifact{Digests: trust.Digests{digest}}
	es, _ := a.signatures(ctx, r, art, im, &document{})
	if !slices.ContainsFunc(es, func(e trust.Evidence) bool { return e.Outcome == trust.Verified }) {
		return es
	}
	// What is signed must be an image: an index in an index would bring others along.
	d, _, err := a.document(ctx, im.repo, digest.String(), digest)
	switch {
	case err != nil:
		es = append(es, adapter.Unverified(trust.CheckPublisherSig, r, art, err))
	case d == nil:
		es = append(es, adapter.Doubtful(trust.CheckPublisherSig, r, art, trust.ReasonStripped, "the registry lists the image and does not serve it"))
	case d.index:
		es = append(es, adapter.Doubtful(trust.CheckPublisherSig, r, art, trust.ReasonUnsupported, "an index inside an index is not judged"))
	}
	return es
}

// both is the evidence of the first that the second has of the same check and
// signer, as good as the worse of the two.
func both(first, second []trust.Evidence) []trust.Evidence {
	var out []trust.Evidence
	for _, e := range first {
		i := slices.IndexFunc(second, func(o trust.Evidence) bool {
			return o.Check == e.Check && o.Signer.Identity() == e.Signer.Identity() && o.PredicateType == e.PredicateType
		})
		if i < 0 {
			continue
		}
		o := second[i]
		e.Assurance = min(e.Assurance, o.Assurance)
		if o.SignedAt.After(e.SignedAt) {
			e.SignedAt = o.SignedAt
		}
		if o.Signer.WorkflowIdentity() != e.Signer.WorkflowIdentity() {
			s := *e.Signer
			s.Workflow = ""
			e.Signer = &s
		}
		e.Logs, e.Raw = slices.Concat(e.Logs, o.Logs), slices.Clone(e.Raw)
		for _, raw := range o.Raw {
			if !slices.ContainsFunc(e.Raw, func(had trust.Raw) bool { return had.Digest.Equal(raw.Digest) }) {
				e.Raw = append(e.Raw, raw) // the root was the same for both
			}
		}
		out = append(out, e)
	}
	return out
}

// built is when an index's images were built by their own word: that of the index
// or of its first image.
func (a *Adapter) built(ctx context.Context, r trust.Release, im image, d *document) trust.Facts {
	var f trust.Facts
	for i, m := range d.used(r) {
		own := factsOf(m.Annotations)
		if i == 0 && own.Published.IsZero() {
			own = a.childFacts(ctx, im, m)
		}
		if f.Repository == "" {
			f.Repository = own.Repository
		}
		if own.Published.After(f.Published) {
			f.Published = own.Published
		}
	}
	return f
}

func (a *Adapter) childFacts(ctx context.Context, im image, m v1.Descriptor) trust.Facts {
	digest, err := trust.ParseDigest(m.Digest.String())
	if err != nil || !digest.Strong() {
		return trust.Facts{}
	}
	d, _, err := a.document(ctx, im.repo, digest.String(), digest)
	if err != nil || d == nil || d.index {
		return trust.Facts{}
	}
	im.digest = digest
	return a.facts(ctx, trust.Release{}, im, d)
}
