// Package sigroot keeps Sigstore's trusted root, its signing configuration and
// npm's keys, by TUF (https://theupdateframework.github.io/specification/latest/),
// from the network, a mirror or a folder.
//
// It refuses what TUF refuses: metadata that is expired, older than the last
// seen, or signed by too few keys. A refresh that fails leaves what is stored as it
// is, byte for byte. Stored files are compared with their digests before they
// are handed out. There is no built-in trusted root: only TUF's own anchor is built in.
package sigroot
