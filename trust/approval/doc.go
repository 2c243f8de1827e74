// Package approval makes and verifies approvals: statements by which a person
// whom the policy names lets one release in although a rule holds it.
//
// An approval is a DSSE envelope with payload type
// "application/vnd.in-toto+json" around an in-toto Statement v1:
//
//	{
//	  "_type": "https://in-toto.io/Statement/v1",
//	  "subject": [{"name": "x-1.0.tgz", "digest": {"sha512": "…"}}],
//	  "predicateType": "https://headgate.dev/attestation/approval/v1",
//	  "predicate": {
//	    "release": "pkg:npm/x@1.0.0",      // canonical package URL with version
//	    "evidence": ["c-0123456789abcdef…"], // what all evidence came to (trust.Evidence.Conclusion)
//	    "rules": ["new-package"],          // the rules that it sets aside
//	    "requester": "alice",              // who asked; never the approver
//	    "approver": "bob",                 // who signs, by the policy's name
//	    "reason": "read the source",
//	    "issued": "2026-01-02T03:04:05Z",  // RFC 3339, UTC, whole seconds
//	    "expires": "2026-02-01T00:00:00Z",
//	    "policy": "sha256:…"               // optional: digest of the policy in force
//	  }
//	}
//
// Subjects are all artifacts of the release that the approver saw, by digests
// that can stand for bytes (SHA-256 and better, Go's h1, a git commit).
//
// A signature is made over the DSSE pre-authentication encoding: as an SSH
// signature in Namespace, by a plain key, or as whatever document an injected
// MessageVerifier judges (a Sigstore bundle, CMS SignedData).
//
// Refused are an approval of another release, other digests, other evidence or
// another rule; an edited, expired or back-dated one; one that runs longer than
// the policy allows; one by somebody whom the policy does not name (any more)
// or outside their scope; and one by the requester, under whatever key or
// alias: keys of one person are one person, and a quorum counts persons.
package approval
