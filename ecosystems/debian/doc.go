// Package debian verifies packages of Debian and Ubuntu by their archive's
// signed index: InRelease (or Release with Release.gpg beside it, signed by the
// archive) states the digest of each Packages file, which states the digest of
// each package (https://wiki.debian.org/DebianRepository/Format).
//
// Archive keys come from key material that was pinned for the whole
// distribution, and from the keyring that the user's own system has installed;
// never from the archive. Only the signed text of InRelease is read.
//
// Suites of the distribution are asked first, at the mirrors that the user's apt
// sources name; then archives of others that the apt sources name together with
// their keys (Signed-By), whose signers are accepted by people; then the snapshots
// that HEADGATE_DEBIAN_SNAPSHOTS or the apt sources name, each judged by its own
// time. The scanned tree has no say in any of them.
//
// It refuses an index of another suite than the one asked for, one older than
// an index seen before, one behind its Valid-Until or from the future, digests
// weaker than SHA-256, and a release that one Packages file lists with two
// digests. A version that the archive does not list (any more) is absent, not
// tampered: superseded versions leave the index.
package debian
