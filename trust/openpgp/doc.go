// Package openpgp verifies detached and clearsigned OpenPGP signatures (RFC
// 9580, RFC 4880) against certificates that the caller pinned.
//
// Keys are looked up in a Keyring and nowhere else: a key that a signature
// names itself proves nothing. A signature by a key that is not at hand is
// undecidable (trust.ReasonUnknownKey), neither tampered nor absent.
// Certificates are read one by one, so that one that cannot be read is an error
// about that certificate alone.
//
// Key validity is judged at the signature's own time: expiry, revocation
// (which reaches back if the key was compromised or no reason is given) and the
// binding of signing subkeys, which must be mutual. That time is the signer's
// word; a time in the future is refused.
//
// It refuses MD5, SHA-1 and RIPEMD-160 under messages, DSA, RSA below 2048
// bits, text signatures over files, signatures by one known key that do not
// verify beside others that do, and any byte outside a clearsigned block.
package openpgp
