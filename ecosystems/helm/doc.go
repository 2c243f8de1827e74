// Package helm checks charts of classic Helm repositories: the index's digest,
// the archive's bytes, and provenance files (.prov) signed by OpenPGP keys that
// somebody pinned.
//
// Of a provenance file only the signed text counts. The index is unsigned.
//
// The package refuses repositories that the user's own Helm configuration does
// not name, an archive whose Chart.yaml is another chart's, and keys that nobody
// pinned. Charts in OCI registries are images: the adapter of OCI checks them.
package helm
