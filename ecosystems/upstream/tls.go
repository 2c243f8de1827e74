package upstream

import (
	"crypto/tls"
	"crypto/x509"
)

// tlsConfig trusts roots, or the system's if nil, from TLS 1.2 on.
func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}
