package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// What cosign before version 3 attaches: layers of these types, in a manifest
// under a tag that is made of the image's digest, or that refers to the image.
const (
	SimpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json"
	EnvelopeType      = "application/vnd.dsse.envelope.v1+json"

	cosignArtifacts = "application/vnd.dev.cosign.artifact."
	cosignKinds     = "dev.cosignproject.cosign/" // of the annotation "kind", in layouts
)

// cosignSuffixes end the tags of signatures and attestations.
var cosignSuffixes = []string{".sig", ".att"}

// Attached is a signature document that lies beside an image.
type Attached struct {
	Name string
	Data []byte
	// MediaType and Annotations are set for what is no bundle.
	MediaType   string
	Annotations map[string]string
}

// cosignTag is the tag under which cosign keeps signatures (".sig") or
// attestations (".att") of an image.
func cosignTag(digest trust.Digest, suffix string) string {
	return string(digest.Algorithm) + "-" + digest.Value + suffix
}

// Signatures returns what lies beside the image: Sigstore bundles by the
// referrers API or its tag, and what cosign wrote before there were bundles. What
// refers to the image and is neither is passed over; what cannot be read is an
// error, as it may be the one that fails.
func (im *Image) Signatures(context.Context) ([]Attached, error) {
	if im.lay != nil {
		return im.layoutSignatures()
	}
	idx, err := remote.Referrers(im.ref, im.opts...)
	if err != nil {
		return nil, registryError("looking for signatures of "+im.Name, err)
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "looking for signatures of %s: %w", im.Name, err)
	}
	if len(m.Manifests) > MaxReferrers {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%d documents refer to %s, more than %d", len(m.Manifests), im.Name, MaxReferrers)
	}
	var out []Attached
	for _, d := range m.Manifests {
		// Some registries list the type of the empty configuration instead.
		if t := d.ArtifactType; t != "" && t != emptyMediaType && !strings.HasPrefix(t, bundleTypePrefix) && !strings.HasPrefix(t, cosignArtifacts) {
			continue
		}
		ref := im.ref.Context().Digest(d.Digest.String())
		man, err := remote.Get(ref, im.opts...)
		if err != nil {
			return nil, registryError("reading a signature of "+im.Name, err)
		}
		if out, err = im.fromManifest(out, ref.String(), man.Manifest, true, im.blob); err != nil {
			return nil, err
		}
	}
	for _, suffix := range cosignSuffixes {
		tag := im.ref.Context().Tag(cosignTag(im.Digest, suffix))
		man, err := remote.Get(tag, im.opts...)
		var t *transport.Error
		if errors.As(err, &t) && t.StatusCode == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, registryError("reading signatures of "+im.Name, err)
		}
		if out, err = im.fromManifest(out, tag.String(), man.Manifest, false, im.blob); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// blob reads a blob of the image's repository, of MaxBundle bytes at most.
func (im *Image) blob(l v1.Descriptor) ([]byte, error) {
	layer, err := remote.Layer(im.ref.Context().Digest(l.Digest.String()), im.opts...)
	if err != nil {
		return nil, registryError("reading a signature of "+im.Name, err)
	}
	r, err := layer.Compressed()
	if err != nil {
		return nil, registryError("reading a signature of "+im.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, sigstore.MaxBundle+1))
	if err != nil {
		return nil, registryError("reading a signature of "+im.Name, err)
	}
	return b, nil
}

// fromManifest takes the signature documents out of a manifest. One that has to
// refer to the image and refers to another proves nothing about this one and is
// passed over.
func (im *Image) fromManifest(out []Attached, where string, raw []byte, refers bool, blob func(v1.Descriptor) ([]byte, error)) ([]Attached, error) {
	if len(raw) > MaxManifest {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has more than %d bytes", where, MaxManifest)
	}
	var m v1.Manifest
	if _, err := sigstore.CheckJSON(raw); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading %s: %w", where, err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading %s: %w", where, err)
	}
	if (refers || m.Subject != nil) && (m.Subject == nil || m.Subject.Digest != im.desc.Digest) {
		return out, nil
	}
	for _, l := range m.Layers {
		t := string(l.MediaType)
		legacy := t == SimpleSigningType || t == EnvelopeType
		if !legacy && !strings.HasPrefix(t, bundleTypePrefix) {
			continue
		}
		if l.Size > sigstore.MaxBundle || len(out) >= MaxReferrers {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "%s holds a signature of %d bytes, more than %d, or the image has more than %d", where, l.Size, sigstore.MaxBundle, MaxReferrers)
		}
		b, err := blob(l)
		if err != nil {
			return nil, err
		}
		h, _, err := v1.SHA256(bytes.NewReader(b))
		if err != nil || h != l.Digest {
			return nil, trust.Failure(trust.ReasonWrongDigest, "the signature of %s is not the one that its manifest names", where)
		}
		a := Attached{Name: where, Data: b}
		if legacy {
			a.MediaType, a.Annotations = t, l.Annotations
		}
		out = append(out, a)
	}
	return out, nil
}

// beside tells a layout's manifests with signatures from its images: whether it
// is one, and whether it has to refer to the image, for nothing else says whose it is.
func (im *Image) beside(d v1.Descriptor) (signature, refers bool) {
	if strings.HasPrefix(d.ArtifactType, bundleTypePrefix) || strings.HasPrefix(d.ArtifactType, cosignArtifacts) {
		return true, true
	}
	return attachedByName(d), false
}

// attachedByName reports whether a layout's manifest is one that cosign keeps by
// a tag in registries, or saves by its kind.
func attachedByName(d v1.Descriptor) bool {
	if k, ok := strings.CutPrefix(d.Annotations["kind"], cosignKinds); ok && (k == "sigs" || k == "atts") {
		return true
	}
	name := d.Annotations["org.opencontainers.image.ref.name"]
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	for _, suffix := range cosignSuffixes {
		if strings.HasPrefix(name, "sha256-") && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func (im *Image) layoutSignatures() ([]Attached, error) {
	m, err := readIndex(im.lay)
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) > MaxReferrers {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the layout holds %d manifests, more than %d", len(m.Manifests), MaxReferrers)
	}
	var out []Attached
	for _, d := range m.Manifests {
		is, refers := im.beside(d)
		if !is {
			continue
		}
		// A tag of another image's digest names another image's signatures.
		if n := d.Annotations["org.opencontainers.image.ref.name"]; !refers && strings.Contains(n, "sha256-") && !strings.Contains(n, im.Digest.Value) {
			continue
		}
		raw, err := blobOf(im.lay, d, MaxManifest)
		if err != nil {
			return nil, err
		}
		out, err = im.fromManifest(out, im.Name+"@"+d.Digest.String(), raw, refers, func(l v1.Descriptor) ([]byte, error) {
			return blobOf(im.lay, l, sigstore.MaxBundle)
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
