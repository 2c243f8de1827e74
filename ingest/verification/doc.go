// Package verification answers, for a file, a folder, an image or a digest: is
// this signed by whom the caller expects? It reads every signature format that
// package trust knows, told apart by their content: Sigstore bundles and cosign's
// older forms, PyPI attestations, DSSE envelopes, OpenPGP, minisign, signify, SSH,
// CMS, Authenticode, bare signatures, and signed lists of checksums.
//
// It refuses to answer without an expected identity or accepted signers: that is
// trust.ErrConfiguration, never a pass. It makes no network call; what has to be
// fetched (an image's signatures, trust roots) is handed in.
//
// Where several bundles are handed in together, every one of the wanted type has
// to verify: a good one beside a bad one is a failure.
package verification
