// Package keyfile takes files with public keys apart, whatever their format:
// OpenPGP certificates (KEYS files too), X.509 certificates, public keys in PEM,
// DER, minisign, signify and OpenSSH form, and trusted roots of Sigstore.
//
// It refuses private keys, and keys that carry conditions which nothing here can
// judge. What cannot be read is an error about that key alone: the others are
// returned, each with bytes that hold this key and nothing else.
package keyfile
