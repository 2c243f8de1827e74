// Package trust is headgate's vocabulary: releases and their purls, digests,
// artifacts, evidence, signers, assurance, continuity, findings and verdicts.
// Its sub-packages are the pure verifiers of signature formats: bytes and an
// expectation go in, a verified value or an error comes out.
//
// It refuses to do I/O: no network, no database, no clock of its own. It
// refuses to guess: every parser rejects what it does not know in full, and no
// zero value of its types means "trusted".
package trust
