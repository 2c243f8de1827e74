// Package cargo checks crates against the sparse index of their registry
// (https://doc.rust-lang.org/cargo/reference/registry-index.html).
//
// Nothing in this ecosystem is signed: the index binds name, version and SHA-256
// over TLS, and that is all. The package says so. It refuses to take the
// registry's word on who published (trusted-publishing data is unsigned) as more
// than a hint, to look up git and path dependencies as if they were crates, and
// to ask a registry that the user's own configuration does not name.
package cargo
