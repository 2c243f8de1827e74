package nuget

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Bounds of the machine's root certificates.
const (
	MaxRootFile = 8 << 20 // bytes of one file
	MaxRoots    = 2000    // certificates of all files
)

// rootFiles are where the .NET SDK and distributions keep the roots of code
// signing and timestamps; NuGet itself uses the first two.
var rootFiles = []string{
	"/usr/share/dotnet/sdk/*/trustedroots/*.pem", "/usr/lib/dotnet/sdk/*/trustedroots/*.pem", "/usr/lib64/dotnet/sdk/*/trustedroots/*.pem",
	"/etc/pki/ca-trust/extracted/pem/objsign-ca-bundle.pem",
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}

// SystemRoots reads the root certificates of this machine. Having a root says
// nothing about trusting who is under it: signers are accepted one by one.
func SystemRoots() ([]*x509.Certificate, error) { return readRoots(rootFiles) }

func readRoots(patterns []string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	seen := map[string]bool{}
	for _, p := range patterns {
		names, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			b, err := readRootFile(name)
			if err != nil {
				return nil, err
			}
			for _, c := range parseRoots(b) {
				if seen[string(c.Raw)] {
					continue
				}
				if len(out) == MaxRoots {
					return nil, fmt.Errorf("this machine has more than %d root certificates", MaxRoots)
				}
				seen[string(c.Raw)], out = true, append(out, c)
			}
		}
	}
	return out, nil
}

func readRootFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading root certificates: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxRootFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading root certificates: %w", err)
	}
	if len(b) > MaxRootFile {
		return nil, fmt.Errorf("reading root certificates: %s is larger than %d bytes", name, MaxRootFile)
	}
	return b, nil
}

// parseRoots reads PEM or DER certificates and passes over what is none.
func parseRoots(b []byte) []*x509.Certificate {
	if c, err := x509.ParseCertificate(b); err == nil {
		return []*x509.Certificate{c}
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return out
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, c)
		}
	}
}
