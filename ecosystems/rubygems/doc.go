// Package rubygems checks gems against the compact index of their source and
// the Sigstore attestations that trusted publishing leaves behind.
//
// The index is unsigned. Stored attestations are known to be malformed now and
// then: such a bundle proves nothing and accuses nobody. The package refuses to
// ask a source that the user's own configuration does not name, and to take a
// gem of one platform for that of another.
package rubygems
