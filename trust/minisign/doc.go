// Package minisign verifies signatures of minisign
// (https://jedisct1.github.io/minisign/) and of OpenBSD's signify(1).
//
// It refuses a signature whose key id is not the key's, a trusted comment that
// the global signature does not cover, lines that do not belong, and any
// algorithm but "Ed" (the file itself) and "ED" (its BLAKE2b-512 hash). A
// signify signature has no trusted comment; where minisign is expected it is
// refused, so that nobody can strip the comment.
package minisign
