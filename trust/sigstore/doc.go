// Package sigstore verifies Sigstore bundles
// (https://github.com/sigstore/protobuf-specs) without any I/O: bundle bytes, a
// trusted root and an Expectation in, a Verified or an error out.
//
// The cryptography is sigstore-go's. What a gate must refuse although the
// library accepts it is refused here: a digest under another name or beside
// unsigned-for subjects, patterns that are not anchored, refs and triggers of
// pull requests, self-hosted runners, digests in upper case, predicates of
// another type, verifiers without a log, predicates that contradict the
// certificate, JSON that two parsers read differently.
//
// It refuses to be configured so that it proves nothing: an Expectation
// without artifact, subject name, predicate type or identity is an error, as
// is a trusted root that is older than its bound, or whose entries have no start of
// validity. There is no built-in root and no fallback from one Sigstore
// instance to another.
package sigstore
