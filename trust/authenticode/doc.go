// Package authenticode verifies Authenticode signatures of PE files and finds
// what hides behind a signature that stays valid.
//
// Open computes the digest, walks the certificate table and checks the CMS
// signatures; Signature.Verify then says whether anybody pinned vouches for the
// signer, at the RFC 3161 time.
//
// The rule for the certificate table is strict (CVE-2013-3900 and more): the
// table starts behind all sections and ends with the file; its entries follow
// one another without gaps and fill it exactly; behind the DER of a signature
// stand fewer than eight bytes, all zero. Refused as hidden data is everything
// else, long runs of zero included: the loader and Windows' own check pass over
// it, so whoever wrote it meant it to be passed over.
//
// Page hashes are ignored, they add nothing to the digest of the file. Nested
// signatures, legacy timestamps, unknown unsigned attributes and certificates
// that no chain needs are not covered by the signature; they are reported with
// their sizes.
package authenticode
