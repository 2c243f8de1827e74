// Package lockfile reads dependency files by itself: lock files, and the few
// manifests that pin something. It keeps what general scanners drop and a gate
// needs: every digest, the resolved URLs, scope, relation, aliases, and whether
// an entry is a package of a registry at all or comes from git, a URL or a path.
//
// It refuses: files, entry counts and nestings above its bounds; duplicate keys;
// truncated or malformed files (an error, never "no packages"); a missing or
// empty package list where the format demands one; includes that leave the
// directory tree. It obeys nothing that a file says about registries, reaches no
// network, runs nothing and expands no environment variable.
package lockfile
