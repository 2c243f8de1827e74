package signing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/trust"
)

// Types of the manifest that carries a bundle, as cosign writes and finds it.
const (
	bundleMediaType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	emptyMediaType   = "application/vnd.oci.empty.v1+json"
	annotationKind   = "dev.sigstore.bundle.content"
	annotationType   = "dev.sigstore.bundle.predicateType"
	annotationMade   = "org.opencontainers.image.created"
	bundleTypePrefix = "application/vnd.dev.sigstore.bundle"
)

// Bounds of images.
const (
	MaxManifest  = 4 << 20 // bytes of a manifest or index
	MaxReferrers = 256     // documents that refer to one image
)

// Image is an image in a registry or a layout, by its digest.
type Image struct {
	Name   string
	Digest trust.Digest
	// Index says that the image has several platforms; what is signed is the index.
	Index bool

	desc v1.Descriptor
	ref  name.Digest
	opts []remote.Option
	lay  layout
}

// RegistryOptions say how registries are reached.
type RegistryOptions struct {
	// Insecure are hosts ("host:port") to which the user allows plain http.
	Insecure  []string
	Transport http.RoundTripper
	Keychain  authn.Keychain
}

func registryError(what string, err error) error {
	var t *transport.Error
	if errors.As(err, &t) {
		switch t.StatusCode {
		case http.StatusNotFound:
			return trust.Undecidable(trust.ReasonNotFound, "%s: %w", what, err)
		case http.StatusTooManyRequests:
			return trust.Undecidable(trust.ReasonRateLimited, "%s: %w", what, err)
		}
	}
	return trust.Undecidable(trust.ReasonNetwork, "%s: %w", what, err)
}

// OpenRegistryImage resolves a reference to its digest.
func OpenRegistryImage(ctx context.Context, reference string, o RegistryOptions) (*Image, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, usage("image: %w", err)
	}
	host := ref.Context().RegistryStr()
	if slices.Contains(o.Insecure, host) {
		if ref, err = name.ParseReference(reference, name.Insecure); err != nil {
			return nil, usage("image: %w", err)
		}
	} else if ref.Context().Scheme() != "https" {
		return nil, usage("image: %s is reached by plain http only where that is allowed", host)
	}
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(o.Keychain), remote.WithUserAgent("headgate")}
	if o.Transport != nil {
		opts = append(opts, remote.WithTransport(o.Transport))
	}
	d, err := remote.Get(ref, opts...)
	if err != nil {
		return nil, registryError("image "+reference, err)
	}
	if len(d.Manifest) > MaxManifest {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "image %s: its manifest has more than %d bytes", reference, MaxManifest)
	}
	return newImage(ref.Context().Name(), d.Descriptor, &Image{ref: ref.Context().Digest(d.Digest.String()), opts: opts})
}

func newImage(name string, d v1.Descriptor, im *Image) (*Image, error) {
	dig, err := trust.ParseDigest(d.Digest.String())
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "image %s: %w", name, err)
	}
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "%s is of type %q, which is no image", name, clip(string(d.MediaType)))
	}
	im.Name, im.Digest, im.Index, im.desc = name, dig, d.MediaType.IsIndex(), v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	return im, nil
}

// Subject is the image as a subject of a statement.
func (im *Image) Subject() Subject {
	return Subject{Name: im.Name, Digests: trust.Digests{im.Digest}}
}

// manifest is the OCI manifest that carries the bundle and refers to the image.
func (im *Image) manifest(bundle []byte, predicateType string, created time.Time) (raw []byte, blobs map[v1.Hash][]byte, err error) {
	sum := func(b []byte) v1.Hash {
		h, _, serr := v1.SHA256(bytes.NewReader(b))
		err = errors.Join(err, serr)
		return h
	}
	config := []byte("{}")
	ch, bh := sum(config), sum(bundle)
	if err != nil {
		return nil, nil, err
	}
	subject := im.desc
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: bundleMediaType,
		Config:  v1.Descriptor{MediaType: emptyMediaType, Digest: ch, Size: int64(len(config)), Data: config},
		Layers:  []v1.Descriptor{{MediaType: bundleMediaType, Digest: bh, Size: int64(len(bundle))}},
		Subject: &subject,
		Annotations: map[string]string{
			annotationKind: "dsse-envelope", annotationType: predicateType, annotationMade: created.UTC().Format(time.RFC3339),
		},
	}
	raw, err = json.Marshal(m)
	return raw, map[v1.Hash][]byte{ch: config, bh: bundle}, err
}

// rawManifest is a manifest as it is.
type rawManifest []byte

// RawManifest returns the bytes.
func (m rawManifest) RawManifest() ([]byte, error) { return m, nil }

// MediaType is that of an OCI manifest.
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Attach puts a bundle beside the image, where cosign finds it: by the referrers
// API, by its tag where the registry has no such API, and in the index of a
// layout. It returns what it made.
func (im *Image) Attach(_ context.Context, bundle []byte, predicateType string, now time.Time) (string, error) {
	raw, blobs, err := im.manifest(bundle, predicateType, now)
	if err != nil {
		return "", fmt.Errorf("writing the manifest: %w", err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("writing the manifest: %w", err)
	}
	if im.lay != nil {
		files := map[string][]byte{blobPath(h): raw}
		for bh, b := range blobs {
			files[blobPath(bh)] = b
		}
		desc := v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: bundleMediaType, Digest: h, Size: int64(len(raw)),
			Annotations: map[string]string{annotationKind: "dsse-envelope", annotationType: predicateType}}
		return im.Name + "@" + h.String(), appendToLayout(im.lay, desc, files)
	}
	for bh, b := range blobs {
		mt := types.MediaType(bundleMediaType)
		if len(b) == 2 {
			mt = emptyMediaType
		}
		if err := remote.WriteLayer(im.ref.Context(), static.NewLayer(b, mt), im.opts...); err != nil {
			return "", registryError("attaching "+bh.String(), err)
		}
	}
	target := im.ref.Context().Digest(h.String())
	if err := remote.Put(target, rawManifest(raw), im.opts...); err != nil {
		return "", registryError("attaching the signature", err)
	}
	return target.String(), nil
}
