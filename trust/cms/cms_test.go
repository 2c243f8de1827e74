package cms_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	ct "github.com/headgate/headgate/trust/cms/cmstest"
)

var (
	born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end  = born.AddDate(1, 0, 0)
	at   = born.AddDate(0, 6, 0)

	root  = ct.Issue("root", nil, born, born.AddDate(10, 0, 0), 2048, nil)
	leaf  = ct.Issue("leaf", root, born, end, 2048, ct.CodeSigning)
	extra = ct.Issue("extra", nil, born, end, 2048, nil)
	tsa   = ct.Issue("tsa", root, born, end, 2048, ct.TimeStamping)
)

func certs(is ...*ct.Identity) []*x509.Certificate {
	var out []*x509.Certificate
	for _, i := range is {
		out = append(out, i.Cert)
	}
	return out
}

func wantClass(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("verified")
	}
	if gotO, gotR := trust.Classify(err); gotO != o || gotR != r {
		t.Errorf("classified %s/%s, want %s/%s: %v", gotO, gotR, o, r, err)
	}
}

func verify(der []byte) (*cms.Signature, error) {
	sd, err := cms.Parse(der)
	if err != nil {
		return nil, err
	}
	content, ok := sd.Content()
	if !ok {
		content = []byte("detached")
	}
	return sd.Verify(sd.Signers()[0], content)
}

func sign(s ct.Signer) []byte {
	if s.Cert == nil {
		s.Identity = *leaf
	}
	return ct.SignedData(cms.OIDData, ct.Octets([]byte("content")), nil, certs(leaf, extra), s)
}

func TestVerify(t *testing.T) {
	for name, s := range map[string]ct.Signer{
		"issuer and serial": {}, "subject key identifier": {SKI: true}, "sha512": {Hash: crypto.SHA512}, "sha384": {Hash: crypto.SHA384}, "no attributes": {NoAttributes: true},
	} {
		t.Run(name, func(t *testing.T) {
			der := sign(s)
			sig, err := verify(der)
			if err != nil {
				t.Fatal(err)
			}
			if !sig.Certificate.Equal(leaf.Cert) {
				t.Error("another certificate")
			}
			_, err = verify(bytes.Replace(der, []byte("content"), []byte("c0ntent"), 1))
			if o, _ := trust.Classify(err); o != trust.Failed {
				t.Errorf("changed content: %v", err)
			}
			sd, _ := cms.Parse(der)
			chain, err := cms.Chain(sig.Certificate, sd.Certificates(), certs(root), at, x509.ExtKeyUsageCodeSigning)
			if err != nil {
				t.Fatal(err)
			}
			if s := cms.Signer(chain); s.Validate() != nil || s.Root != cms.Fingerprint(root.Cert) || s.Subject != leaf.Cert.Subject.String() {
				t.Errorf("signer %+v", s)
			}
			if sup := sd.Superfluous(chain); len(sup) != 1 || !sup[0].Equal(extra.Cert) {
				t.Errorf("superfluous %d", len(sup))
			}
		})
	}
}

func TestRefused(t *testing.T) {
	small := ct.Issue("small", root, born, end, 1024, ct.CodeSigning)
	other := ct.Issue("other", root, born, end, 2048, nil)
	double := ct.Attribute{Type: cms.OIDMessageDigest, Value: ct.Octets(make([]byte, 32))}
	for name, tc := range map[string]struct {
		der []byte
		o   trust.Outcome
		r   trust.Reason
	}{
		"digest":        {sign(ct.Signer{Digest: make([]byte, 32)}), trust.Failed, trust.ReasonWrongDigest},
		"content type":  {sign(ct.Signer{ContentType: cms.OIDTSTInfo}), trust.Failed, trust.ReasonBadSignature},
		"two digests":   {sign(ct.Signer{Signed: []ct.Attribute{double}}), trust.Unreachable, trust.ReasonMalformed},
		"sha1":          {sign(ct.Signer{Hash: crypto.SHA1}), trust.Failed, trust.ReasonWeakDigest},
		"small key":     {ct.SignedData(cms.OIDData, ct.Octets(nil), nil, certs(small), ct.Signer{Identity: *small}), trust.Unreachable, trust.ReasonUnsupported},
		"wrong key":     {sign(ct.Signer{Identity: ct.Identity{Cert: leaf.Cert, Key: other.Key}}), trust.Failed, trust.ReasonBadSignature},
		"no cert":       {ct.SignedData(cms.OIDData, ct.Octets(nil), nil, certs(extra), ct.Signer{Identity: *leaf}), trust.Unreachable, trust.ReasonUnknownKey},
		"no attributes": {ct.SignedData(cms.OIDTSTInfo, ct.Octets(nil), nil, certs(leaf), ct.Signer{Identity: *leaf, NoAttributes: true}), trust.Unreachable, trust.ReasonMalformed},
		"no signers":    {ct.SignedData(cms.OIDData, ct.Octets(nil), nil, certs(leaf)), trust.Unreachable, trust.ReasonMalformed},
		"trailing":      {append(sign(ct.Signer{}), 0), trust.Unreachable, trust.ReasonMalformed},
		"junk":          {[]byte("junk"), trust.Unreachable, trust.ReasonMalformed},
		"large":         {make([]byte, cms.MaxSignedData+1), trust.Unreachable, trust.ReasonTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verify(tc.der)
			wantClass(t, err, tc.o, tc.r)
		})
	}
}

func TestBounds(t *testing.T) {
	many := func(n int) []*x509.Certificate {
		out := certs(leaf)
		for len(out) < n {
			out = append(out, extra.Cert)
		}
		return out
	}
	s := ct.Signer{Identity: *leaf}
	if _, err := cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), many(cms.MaxCertificates), s)); err != nil {
		t.Errorf("certificates at the bound: %v", err)
	}
	_, err := cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), many(cms.MaxCertificates+1), s))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	signers := make([]ct.Signer, cms.MaxSigners+1)
	for i := range signers {
		signers[i] = s
	}
	if _, err := cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), certs(leaf), signers[1:]...)); err != nil {
		t.Errorf("signers at the bound: %v", err)
	}
	_, err = cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), certs(leaf), signers...))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
	attr := func(n int) ct.Signer {
		a := s
		for range n {
			a.Signed = append(a.Signed, ct.Attribute{Type: cms.OIDSigningTime, Value: ct.Octets(nil)})
		}
		return a
	}
	if _, err := cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), certs(leaf), attr(cms.MaxAttributes-2))); err != nil {
		t.Errorf("attributes at the bound: %v", err)
	}
	_, err = cms.Parse(ct.SignedData(cms.OIDData, nil, []byte("x"), certs(leaf), attr(cms.MaxAttributes-1)))
	wantClass(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

func TestThreat024And025ChainAtTime(t *testing.T) {
	for name, tc := range map[string]struct {
		at time.Time
		ok bool
	}{"start": {born, true}, "before": {born.Add(-time.Second), false}, "end": {end, true}, "after": {end.Add(time.Second), false}} {
		_, err := cms.Chain(leaf.Cert, nil, certs(root), tc.at, x509.ExtKeyUsageCodeSigning)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
		}
	}
	// The intermediate has expired, the leaf has not.
	mid := ct.Issue("mid", root, born, born.AddDate(0, 1, 0), 2048, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
	low := ct.Issue("low", mid, born, end, 2048, ct.CodeSigning)
	_, err := cms.Chain(low.Cert, certs(mid), certs(root), at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
	if _, err := cms.Chain(low.Cert, certs(mid), certs(root), born, x509.ExtKeyUsageCodeSigning); err != nil {
		t.Error(err)
	}
	_, err = cms.Chain(leaf.Cert, certs(root), certs(extra), at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = cms.Chain(leaf.Cert, nil, certs(root), at, x509.ExtKeyUsageTimeStamping)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = cms.Chain(leaf.Cert, certs(root), nil, at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Unreachable, trust.ReasonExpiredRoot)
	if _, err = cms.Chain(leaf.Cert, nil, certs(root), time.Time{}, x509.ExtKeyUsageCodeSigning); !errors.Is(err, trust.ErrConfiguration) {
		t.Error(err)
	}
}

func TestCountersignature(t *testing.T) {
	counter := func(over func(sig []byte) []byte, ctype asn1.ObjectIdentifier) []byte {
		return sign(ct.Signer{Unsigned: func(sig []byte) []ct.Attribute {
			return []ct.Attribute{{Type: cms.OIDCounterSignature, Value: ct.Signer{Identity: *extra, Counter: true, ContentType: ctype}.Info(over(sig), cms.OIDData)}}
		}})
	}
	same := func(b []byte) []byte { return b }
	for name, tc := range map[string]struct {
		der []byte
		ok  bool
	}{
		"sound": {counter(same, nil), true}, "with content type": {counter(same, cms.OIDData), true}, "with another": {counter(same, cms.OIDTSTInfo), false},
		"of another signature": {counter(func([]byte) []byte { return []byte("other") }, nil), false},
	} {
		sd, err := cms.Parse(tc.der)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := sd.Content()
		sig, err := sd.Verify(sd.Signers()[0], content)
		if err != nil {
			t.Fatal(err)
		}
		cs, err := sd.Countersignatures(sig)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if tc.ok && (len(cs) != 1 || !cs[0].Certificate.Equal(extra.Cert)) {
			t.Errorf("%s: %v", name, cs)
		}
	}
}

func TestTimestamp(t *testing.T) {
	msg := []byte("signature value")
	ts, err := cms.VerifyTimestamp(ct.Timestamp(tsa, certs(tsa), msg, at), msg, certs(root), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !ts.Time().Equal(at) || ts.Signer().Validate() != nil || len(ts.Chain()) != 2 {
		t.Errorf("timestamp %v", ts)
	}
	notCritical := ct.Issue("x", root, born, end, 2048, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} })
	twoUses := ct.Issue("x", root, born, end, 2048, func(c *x509.Certificate) {
		ct.TimeStamping(c)
		c.ExtraExtensions[0].Value = ct.Must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}, {1, 3, 6, 1, 5, 5, 7, 3, 3}}))
	})
	token := func(s ct.Signer, at time.Time) []byte {
		if s.Cert == nil {
			s.Identity = *tsa
		}
		return ct.SignedData(cms.OIDTSTInfo, ct.TSTInfo(msg, at), nil, certs(tsa, leaf), s)
	}
	for name, tc := range map[string]struct {
		token []byte
		o     trust.Outcome
		r     trust.Reason
	}{
		"other message":       {ct.Timestamp(tsa, certs(tsa), []byte("other"), at), trust.Failed, trust.ReasonWrongSubject},
		"not critical":        {ct.Timestamp(notCritical, certs(notCritical), msg, at), trust.Failed, trust.ReasonUntrustedSigner},
		"two uses":            {ct.Timestamp(twoUses, certs(twoUses), msg, at), trust.Failed, trust.ReasonUntrustedSigner},
		"code signing":        {ct.Timestamp(leaf, certs(leaf), msg, at), trust.Failed, trust.ReasonUntrustedSigner},
		"expired":             {ct.Timestamp(tsa, certs(tsa), msg, end.Add(time.Second)), trust.Failed, trust.ReasonKeyOutsideWindow},
		"sha1":                {token(ct.Signer{Hash: crypto.SHA1, Signed: []ct.Attribute{ct.SigningCertificateV2(tsa.Cert)}}, at), trust.Unreachable, trust.ReasonUnsupported},
		"no ESS":              {token(ct.Signer{}, at), trust.Unreachable, trust.ReasonMalformed},
		"ESS of another":      {token(ct.Signer{Signed: []ct.Attribute{ct.SigningCertificateV2(leaf.Cert)}}, at), trust.Failed, trust.ReasonBadSignature},
		"content that is not": {ct.SignedData(cms.OIDData, ct.TSTInfo(msg, at), nil, certs(tsa), ct.Signer{Identity: *tsa}), trust.Unreachable, trust.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cms.VerifyTimestamp(tc.token, msg, certs(root), nil)
			wantClass(t, err, tc.o, tc.r)
		})
	}
}

// TestThreat038TimestampWithOwnChain: a token that brings its own root along.
func TestThreat038TimestampWithOwnChain(t *testing.T) {
	evil := ct.Issue("root", nil, born, end, 2048, nil)
	own := ct.Issue("tsa", evil, born, end, 2048, ct.TimeStamping)
	_, err := cms.VerifyTimestamp(ct.Timestamp(own, certs(own, evil), []byte("m"), at), []byte("m"), certs(root), nil)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = cms.VerifyTimestamp(ct.Timestamp(own, certs(own, evil), []byte("m"), at), []byte("m"), nil, nil)
	wantClass(t, err, trust.Unreachable, trust.ReasonExpiredRoot)
}

func FuzzParse(f *testing.F) {
	f.Add(sign(ct.Signer{SKI: true}))
	f.Add(ct.Timestamp(tsa, certs(tsa), []byte("m"), at))
	f.Fuzz(func(t *testing.T, in []byte) {
		sd, err := cms.Parse(in)
		if err == nil {
			content, _ := sd.Content()
			for _, s := range sd.Signers() {
				if sig, err := sd.Verify(s, content); err == nil {
					_, _ = sd.Countersignatures(sig)
				}
			}
		}
		if ts, err := cms.VerifyTimestamp(in, []byte("never stamped"), certs(root), nil); err == nil {
			t.Fatal(ts.Time())
		}
	})
}

func TestLongText(t *testing.T) {
	long := ct.Issue(strings.Repeat("n", 60), nil, born, end, 2048, func(c *x509.Certificate) {
		for range 100 {
			c.Subject.OrganizationalUnit = append(c.Subject.OrganizationalUnit, strings.Repeat("u", 60))
		}
	})
	_, err := cms.Chain(long.Cert, nil, certs(root), at, x509.ExtKeyUsageCodeSigning)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	if len(err.Error()) > 1000 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func TestMessageVerifier(t *testing.T) {
	v := cms.MessageVerifier{Roots: certs(root), Now: at}
	der := ct.SignedData(cms.OIDData, nil, []byte("message"), certs(leaf), ct.Signer{Identity: *leaf})
	s, err := v.VerifyMessage([]byte("message"), der)
	if err != nil || s.Validate() != nil || s.Subject != leaf.Cert.Subject.String() {
		t.Errorf("%v, %v", s, err)
	}
	_, err = v.VerifyMessage([]byte("Message"), der)
	wantClass(t, err, trust.Failed, trust.ReasonWrongDigest)
	_, err = v.VerifyMessage([]byte("message"), ct.SignedData(cms.OIDData, ct.Octets([]byte("other")), nil, certs(leaf), ct.Signer{Identity: *leaf}))
	wantClass(t, err, trust.Failed, trust.ReasonWrongSubject)
	two := ct.SignedData(cms.OIDData, nil, []byte("message"), certs(leaf), ct.Signer{Identity: *leaf}, ct.Signer{Identity: *leaf})
	_, err = v.VerifyMessage([]byte("message"), two)
	wantClass(t, err, trust.Unreachable, trust.ReasonMalformed)
	_, err = cms.MessageVerifier{Roots: certs(extra), Now: at}.VerifyMessage([]byte("message"), der)
	wantClass(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = cms.MessageVerifier{Roots: certs(root), Now: end.Add(time.Second)}.VerifyMessage([]byte("message"), der)
	wantClass(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}
