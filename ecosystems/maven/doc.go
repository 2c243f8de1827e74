// Package maven checks artifacts of Maven repositories: the file and its POM,
// their checksum files, OpenPGP signatures by keys that somebody pinned for the
// group or artifact, and Sigstore bundles.
//
// A repository binds no key to a group, and a signature names neither artifact
// nor version: the name comes from the signed POM beside the file and from what
// the file says of itself (pom.properties).
//
// The package refuses repositories that the user's own configuration does not
// name, snapshots (their bytes change under one version), keys that nobody
// pinned (key servers are never asked), and to go on to the next repository when
// one gives no answer.
package maven
