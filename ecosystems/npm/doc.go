// Package npm collects and verifies the evidence of npm packages: the
// registry's signature over name, version and integrity, the registry's publish
// attestation and the publisher's Sigstore provenance, against the digests that
// the lock file states.
//
// It refuses to take keys from the registry that is being checked: keys are
// pinned (npm's by TUF, others by the user), and a registry without pinned keys is
// never "verified". It refuses attestations of another host than the
// registry's own, a second attestation of one type, and everything that the
// packument says unsigned as a reason to trust; such things become facts.
//
// The absence of an attestation is claimed by the packument alone, which nobody
// signs. The attestation endpoint is therefore asked when the packument claims an
// attestation for the release, or claimed one for an earlier release of the
// package; only when neither is so, no request is made and the evidence is absent.
//
// Missing registry signatures are absent (not-offered) where no key is pinned for
// the registry. Where keys are pinned, which includes mirrors that the user
// declares, the registry is known to sign every version since the first key's
// start: then a missing signature is unreachable (stripped), as a mirror in between removed it.
package npm
