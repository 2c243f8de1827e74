// Package checksums reads checksum lists (SHA256SUMS and the like) in the
// formats of GNU coreutils and of BSD, and finds the one line for a file.
//
// A list proves nothing by itself: verify its signature first and parse exactly
// the verified bytes.
//
// It refuses names with paths beyond a leading "./" or with "..", one name
// twice with different digests, lines that it cannot read, lists with MD5 or
// SHA-1 only, and a look-up for anything but the exact name.
package checksums
