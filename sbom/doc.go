// Package sbom holds inventories: the components of a source with what the
// source states about each, and the differences of two inventories.
//
// Its sub-packages read sources: lockfile the lock files themselves, document
// the SBOM formats, scan directories and images by Syft's catalogers, and
// revision the trees of git revisions. They refuse to run anything of the
// scanned tree, to reach the network, and to pass over in silence what they
// cannot read: it becomes a Problem of the inventory.
package sbom
