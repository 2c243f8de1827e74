package cms_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	ct "github.com/headgate/headgate/trust/cms/cmstest"
)

// rsaBits is a public key of that size whose private half nobody has: an odd
// number will do for whoever wants to keep a verifier busy.
func rsaBits(bits, e int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: e}
}

// hostile makes a certificate over any public key, signed by nobody in particular.
func hostile(subject, issuer pkix.Name, pub crypto.PublicKey, edit func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: subject, NotBefore: born, NotAfter: end, BasicConstraintsValid: true}
	if edit != nil {
		edit(c)
	}
	der := ct.Must(x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: issuer, RawSubject: ct.Must(asn1.Marshal(issuer.ToRDNSequence()))}, pub, extra.Key))
	return ct.Must(x509.ParseCertificate(der))
}

// smooth is an RSA key of any size that is made and used quickly: a product of
// many primes.
type smooth struct {
	rsa.PublicKey
	primes []*big.Int
}

func newSmooth(bits int) *smooth {
	for {
		k := &smooth{PublicKey: rsa.PublicKey{N: big.NewInt(1), E: 65537}}
		for left := bits; left > 0; {
			n := min(left, 512)
			if left-n < 64 { // no tiny rest
				n = left
			}
			p := ct.Must(rand.Prime(rand.Reader, n))
			k.primes, k.N = append(k.primes, p), new(big.Int).Mul(k.N, p)
			left = bits - k.N.BitLen()
			if left > 0 && left < 16 {
				break
			}
		}
		if k.N.BitLen() == bits {
			return k
		}
	}
}

func (k *smooth) Public() crypto.PublicKey { return &k.PublicKey }

// Sign is RSA PKCS #1 v1.5 with SHA-256, prime by prime.
func (k *smooth) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	prefix := []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}
	em := bytes.Repeat([]byte{0xff}, k.Size())
	tail := append(append([]byte{0}, prefix...), digest...)
	copy(em, []byte{0, 1})
	copy(em[len(em)-len(tail):], tail)
	m, s := new(big.Int).SetBytes(em), new(big.Int)
	for _, p := range k.primes {
		less := new(big.Int).Sub(p, big.NewInt(1))
		d := new(big.Int).ModInverse(big.NewInt(int64(k.E)), less)
		if d == nil {
			return nil, errors.New("the exponent divides a prime less one")
		}
		rest := new(big.Int).Div(k.N, p)
		part := new(big.Int).Exp(m, d, p)
		part.Mul(part, new(big.Int).ModInverse(rest, p)).Mul(part, rest)
		s.Add(s, part)
	}
	return s.Mod(s, k.N).FillBytes(make([]byte, k.Size())), nil
}

func x509With(t *testing.T, name string, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: name}, NotBefore: born, NotAfter: end, BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA}
	edit(c)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	return ct.Must(x509.ParseCertificate(der))
}

// TestThreat096HostileCertificates: certificates come from whoever made the
// signature. Whatever is in them costs no more than the bounds allow, proves
// nothing, and is told in few words.
func TestThreat096HostileCertificates(t *testing.T) {
	const million = 1 << 20 // bits
	evil := pkix.Name{CommonName: "intermediate"}
	ca := func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
	// The key of the one who signs.
	for name, pub := range map[string]*rsa.PublicKey{
		"one bit above": rsaBits(cms.MaxRSABits+1, 65537), "a million bits": rsaBits(million, 1<<31-1),
	} {
		c := hostile(pkix.Name{CommonName: strings.Repeat("n", 2000)}, evil, pub, nil)
		der := ct.SignedData(cms.OIDData, ct.Octets([]byte("content")), nil, []*x509.Certificate{c}, ct.Signer{Identity: ct.Identity{Cert: c, Key: extra.Key}})
		_, err := verify(der)
		wantClass(t, err, trust.Unreachable, trust.ReasonUnsupported)
		if !strings.Contains(err.Error(), "bits") || len(err.Error()) > 400 {
			t.Errorf("%s: %d bytes: %.300v", name, len(err.Error()), err)
		}
	}
	// Sixty that could have issued a certificate, each with a key that takes long to
	// compute with: the sound chain is found among them, and without it nothing is.
	var many []*x509.Certificate
	for range cms.MaxCertificates - 4 {
		many = append(many, hostile(root.Cert.Subject, root.Cert.Subject, rsaBits(million, 1<<31-1), ca))
	}
	chain, err := cms.Chain(leaf.Cert, many, certs(root), at, x509.ExtKeyUsageCodeSigning)
	if err != nil || len(chain) != 2 {
		t.Errorf("sound chain among hostile certificates: %v", err)
	}
	_, err = cms.Chain(leaf.Cert, many, certs(extra), at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	// What is above the bound is not computed with, even where it is sound.
	for _, bits := range []int{cms.MaxRSABits, cms.MaxRSABits + 1} {
		key := newSmooth(bits)
		inter := x509With(t, "large", root.Cert, &key.PublicKey, root.Key, ca)
		under := x509With(t, "under", inter, leaf.Cert.PublicKey, key, ct.CodeSigning)
		chain, err := cms.Chain(under, []*x509.Certificate{inter}, certs(root), at, x509.ExtKeyUsageCodeSigning)
		if bits == cms.MaxRSABits {
			if err != nil || len(chain) != 3 {
				t.Errorf("at the bound: %v", err)
			}
			continue
		}
		wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	}

	// Long lists of names and of what names are allowed.
	var names, allowed []string
	for i := range 20_000 {
		names, allowed = append(names, fmt.Sprintf("host-%d.example.com", i)), append(allowed, fmt.Sprintf("d%d.example.org", i))
	}
	inter := ct.Issue(strings.Repeat("i", 2000), root, born, end, 2048, func(c *x509.Certificate) {
		ca(c)
		c.PermittedDNSDomains, c.ExcludedDNSDomains = allowed, allowed
	})
	long := ct.Issue(strings.Repeat("l", 2000), inter, born, end, 2048, func(c *x509.Certificate) {
		ct.CodeSigning(c)
		c.DNSNames, c.EmailAddresses = names, names[:1]
	})
	_, err = cms.Chain(long.Cert, certs(inter), certs(root), at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	if len(err.Error()) > 1000 {
		t.Errorf("long lists: %d bytes of error: %.200v", len(err.Error()), err)
	}
}
