// Package debian verifies packages of Debian and Ubuntu by their archive's
// signed index: InRelease (signed by the archive) states the digest of each
// Packages file, which states the digest of each package
// (https://wiki.debian.org/DebianRepository/Format).
//
// Archive keys come from key material that was pinned for the whole
// distribution, and from the keyring that the user's own system has installed;
// never from the archive. Only the signed text of InRelease is read.
//
// It refuses an index of another suite than the one asked for, one older than
// an index seen before, one behind its Valid-Until or from the future, digests
// weaker than SHA-256, and a release that one Packages file lists with two
// digests. A version that the archive does not list (any more) is absent, not
// tampered: superseded versions leave the index.
package debian
