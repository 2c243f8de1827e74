// Package gemsig verifies the certificate signatures inside a gem: metadata.gz.sig,
// data.tar.gz.sig and checksums.yaml.gz.sig, by the last certificate of the chain
// that the gem's own specification carries.
//
// It refuses gems with a part that is not signed, with a part twice, or with a
// specification of another name, version or platform, and certificates that no
// pinned one vouches for. A gem carries no time of signing: its certificate must
// be valid now.
package gemsig
