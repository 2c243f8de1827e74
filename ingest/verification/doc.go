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
// Where several bundles are handed in together, one by the expected signer has to
// verify. Attestations of other types and signatures by others are passed over;
// one of the wanted type that does not verify is a failure, whatever lies beside it.
package verification
