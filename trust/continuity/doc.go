// Package continuity compares who signs a release with who signed the package
// before: the accepted signers, and the evidence of earlier releases of the
// same release line.
//
// It refuses to let anything unsigned loosen the answer: what upstream merely
// claims of earlier releases can turn "same" into "provenance-lost", never the
// reverse. It refuses to call a registry's or a log's signature continuity of
// the publisher.
package continuity
