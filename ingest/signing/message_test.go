package signing_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
)

// issue makes a certificate by a CA of its own.
func issue(t *testing.T, name string, key crypto.Signer) (leaf, root *x509.Certificate) {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	now := time.Now()
	make := func(n string, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1 << 40), Subject: pkix.Name{CommonName: n}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true}
		if parent == nil {
			c.IsCA, c.KeyUsage, parent = true, x509.KeyUsageCertSign, c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, ca)
		must(t, err)
		c, err = x509.ParseCertificate(der)
		must(t, err)
		return c
	}
	root = make("CA of "+name, nil, ca.Public())
	return make(name, root, key.Public()), root
}

// TestCMS: what a certificate's key signs, the verifier of messages takes, and
// nothing else of it.
func TestCMS(t *testing.T) {
	ec := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		must(t, err)
		return k
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	for name, key := range map[string]crypto.Signer{"P-256": ec(elliptic.P256()), "P-384": ec(elliptic.P384()), "P-521": ec(elliptic.P521()), "RSA": r} {
		t.Run(name, func(t *testing.T) {
			leaf, root := issue(t, name, key)
			der, err := x509.MarshalPKCS8PrivateKey(key)
			must(t, err)
			bare, err := signing.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
			must(t, err)
			if _, err := bare.CMS([]byte("message")); err == nil {
				t.Error("signed without a certificate")
			}
			k, err := bare.WithCertificates([]*x509.Certificate{leaf})
			must(t, err)
			doc, err := k.CMS([]byte("message"))
			must(t, err)
			v := cms.MessageVerifier{Roots: []*x509.Certificate{root}, Now: time.Now()}
			s, err := v.VerifyMessage([]byte("message"), doc)
			must(t, err)
			if s.Subject != leaf.Subject.String() || s.CertIssuer != root.Subject.String() {
				t.Errorf("signed by %+v", s)
			}
			if _, err := v.VerifyMessage([]byte("massage"), doc); err == nil {
				t.Error("another message was taken")
			}
			_, other := issue(t, name, key)
			v.Roots = []*x509.Certificate{other}
			if o, _ := trust.Classify(func() error { _, err := v.VerifyMessage([]byte("message"), doc); return err }()); o == trust.Verified {
				t.Error("another root was taken")
			}
		})
	}
}
