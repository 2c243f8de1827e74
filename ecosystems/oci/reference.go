package oci

import (
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// image is what a component names.
type image struct {
	repo   name.Repository
	digest trust.Digest // zero if only a tag is stated
	tag    string
}

// imageOf reads the image of a component: "pkg:oci/name@sha256:…" with
// repository_url, or "pkg:docker/namespace/name@tag-or-digest". Short names are
// expanded as docker does.
func imageOf(c sbom.Component) (image, error) {
	r := c.Release
	full := ""
	switch r.Package.Type {
	case "oci":
		full = r.Qualifier("repository_url")
		if full == "" {
			return image{}, trust.Undecidable(trust.ReasonUnsupported, "the source does not say which registry the image is in (the purl's repository_url)")
		}
		full = strings.TrimSuffix(strings.TrimPrefix(full, "https://"), "/")
		if path.Base(full) != r.Package.Name {
			return image{}, trust.Undecidable(trust.ReasonMalformed, "the package is %s, its repository %s", r.Package.Name, full)
		}
	default:
		full = r.Package.QualifiedName()
		if host := r.Qualifier("repository_url"); host != "" {
			full = strings.TrimSuffix(strings.TrimPrefix(host, "https://"), "/") + "/" + full
		}
	}
	repo, err := name.NewRepository(full)
	if err != nil || path.Clean(full) != full {
		return image{}, trust.Undecidable(trust.ReasonMalformed, "%.200q is no image name", full)
	}
	im := image{repo: repo, tag: r.Qualifier("tag")}
	stated := trust.Digests{}
	if strings.Contains(r.Version, ":") {
		d, err := trust.ParseDigest(r.Version)
		if err != nil {
			return image{}, trust.Undecidable(trust.ReasonMalformed, "the version is no digest: %w", err)
		}
		stated = append(stated, d)
	} else if r.Version != "" {
		im.tag = r.Version
	}
	if len(c.Artifacts) > 1 {
		return image{}, trust.Undecidable(trust.ReasonUnsupported, "the source states %d artifacts of one image", len(c.Artifacts))
	}
	if len(c.Artifacts) == 1 {
		for _, d := range c.Artifacts[0].Digests {
			if had := stated.Get(d.Algorithm); !had.IsZero() && !had.Equal(d) {
				return image{}, trust.Failure(trust.ReasonWrongDigest, "the source states the digests %s and %s of one image", had, d)
			}
			stated = append(stated, d)
		}
	}
	for _, alg := range []trust.Algorithm{trust.SHA256, trust.SHA512} {
		if d := stated.Get(alg); !d.IsZero() {
			im.digest = d
			break
		}
	}
	if im.digest.IsZero() && len(stated) > 0 {
		return image{}, trust.Failure(trust.ReasonWeakDigest, "the source states %s, by which no registry names an image", stated[0].Algorithm)
	}
	if im.tag != "" {
		if _, err := name.NewTag(full + ":" + im.tag); err != nil {
			return image{}, trust.Undecidable(trust.ReasonMalformed, "%.200q is no tag", im.tag)
		}
	}
	return im, nil
}

// sameImage compares the name that a signature states with the image's. The
// name within its registry must be the same; where it was signed for may be
// another registry, since mirrors copy images with their signatures and the
// digest is compared besides.
func sameImage(signed string, repo name.Repository) error {
	base, _, _ := strings.Cut(signed, "@")
	if i := strings.LastIndexByte(base, ':'); i > strings.LastIndexByte(base, '/') {
		base = base[:i]
	}
	got, err := name.NewRepository(strings.ToLower(base))
	if err != nil {
		return trust.Failure(trust.ReasonWrongName, "signed for %.200q, which is no image name", signed)
	}
	if path.Base(got.RepositoryStr()) != path.Base(repo.RepositoryStr()) {
		return trust.Failure(trust.ReasonWrongName, "signed for %.200q, not for %s", signed, repo.Name())
	}
	return nil
}
