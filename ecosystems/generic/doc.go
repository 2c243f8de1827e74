// Package generic checks plain downloads: vendored tools, release binaries,
// models. No registry stands behind them; what they must be is written down, per
// URL, by whoever decides: a digest, a signer, or both.
//
// Every expectation of a download has to hold. It refuses expectations that
// prove nothing (no digest and no signer, a checksum list that nobody signed, an
// identity without an issuer) as configuration errors; URLs that no expectation
// names; redirects to hosts that the download does not name; keys that a
// signature brings along; and to count one expectation as verified while another
// one of the same file is not: then only what did not hold is reported.
//
// A signer without a digest says whose file it is and not which one: an older
// file with its own sound signature passes too. A digest settles that.
package generic
