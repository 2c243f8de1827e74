// Package cms verifies CMS SignedData (RFC 5652) in DER, countersignatures,
// RFC 3161 timestamps, and certificate chains at a given time.
//
// It is written by hand because the libraries that resolve here do not know
// signers named by subject key identifier, which NuGet uses.
//
// It refuses digests below SHA-256, RSA keys below MinRSABits, signed
// attributes that do not name the content type and the digest of the content
// exactly once, signers without a certificate, timestamps whose certificate is
// not for time stamping alone or is not the one that the token was made for,
// and roots that come with the signature: roots are the caller's.
//
// What the signature does not cover stays visible: Unsigned lists the unsigned
// attributes and Superfluous the certificates that no chain needs, as both can
// carry data past a signature that stays valid.
package cms
