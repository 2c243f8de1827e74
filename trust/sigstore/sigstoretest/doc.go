// Package sigstoretest is a complete Sigstore in the test process: certificate
// authority, certificate log, transparency logs v1 and v2, timestamp
// authority, npm's keys. It signs bundles that are real JSON, and breaks one part
// of them at a time when asked to.
//
// All keys are made when a World is made; nothing is read from disk, nothing
// expires. It refuses to be used outside of tests: every constructor takes a testing.TB.
package sigstoretest
