// Package helmprov verifies Helm provenance files (chart-1.0.tgz.prov): an
// OpenPGP clearsigned text of the chart's Chart.yaml, a line "..." and a list
// of files with their SHA-256.
//
// Only the signed text counts. It refuses anything outside the signed block
// (package openpgp), another chart name or version than the expected one, an
// archive that is not listed under its own name or lists another digest, and
// YAML with duplicate keys.
package helmprov
