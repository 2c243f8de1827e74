// Package oci verifies container images by digest: the manifest or image index
// that the registry serves for it (https://github.com/opencontainers/image-spec),
// and the signatures and attestations beside it: cosign's by tag
// ("sha256-….sig", "sha256-….att"), and Sigstore bundles by the referrers API or
// its fallback tag (https://github.com/opencontainers/distribution-spec).
//
// An image is its digest. A tag is not an identity: what it points to now is
// shown as a hint and nothing is verified by it. What is signed is the digest
// that was stated, be it of an index or of one platform's manifest; a signature
// of an index is none of its manifests. An index without signatures is verified
// if each image that it lists, or that is used, is signed by one signer, because
// its digest binds them; otherwise the evidence says which are signed.
//
// It refuses documents that are an index and a manifest at once, signed payloads
// for another digest or another image name, attestations of a type other than
// the statement itself says, and more than MaxSignatures signatures. Credential
// helpers of the user's docker configuration are programs and are not run; its
// passwords and identity tokens go to the registry and its own token service.
package oci
