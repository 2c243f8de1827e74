// Package document reads SBOMs into inventories and writes inventories as
// CycloneDX.
//
// It reads CycloneDX 1.2 to 1.7 (JSON and XML, by cyclonedx-go) and SPDX 2.2
// and 2.3 (JSON and tag-value, by a reader of its own that decodes only what an
// inventory holds). The format is told by the content, never by the file name.
//
// It refuses documents above its bounds before they are decoded, duplicate
// keys and elements, keys that differ from the specification's in case only,
// data behind the end, DTDs, encodings other than UTF-8, and other versions of
// the formats. An SBOM without a component list, or with an empty one, is an
// inventory with a problem, never an empty success.
//
// Which entries are components of the inventory:
//   - everything with a package URL, but for the SBOM's own subject
//     (metadata.component; in SPDX the only package that the document
//     describes, if there are others);
//   - entries without a package URL become a ProblemNoPURL, except those that
//     are no packages: files, operating systems, data and cryptographic assets;
//     and applications without a version, by which some generators group what a
//     lock file declares. What is nested in any of them counts all the same;
//   - a package URL that does not parse becomes a ProblemBadPURL.
//
// A SHA-256 of a Go module is read as Go's own "h1:" hash: that is what the
// generators (Syft, cyclonedx-gomod) put there, and the hash of a zip never is.
package document
