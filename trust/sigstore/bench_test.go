package sigstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"testing"
)

// BenchmarkVerifyReal verifies a really published provenance bundle again and
// again under one verifier: compare with BenchmarkArithmetic.
func BenchmarkVerifyReal(b *testing.B) {
	v, err := NewVerifier(productionRoot(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, rb := range npmBundles(b) {
		if rb.key {
			continue
		}
		x := Expectation{Artifact: rb.artifact, SubjectName: AnySubjectNameUnsafe, PredicateTypes: []string{rb.predicate}, Identity: CollectIdentityUnsafe()}
		b.Run("one core", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(rb.raw, x); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
		})
		b.Run("all cores", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := v.Verify(rb.raw, x); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/float64(runtime.GOMAXPROCS(0)), "bundles/s/core")
		})
		return
	}
}

// BenchmarkArithmetic is the bare signature arithmetic of such a bundle: the
// intermediate's P-384 signature on the leaf, and P-256 for SCT, SET and envelope.
func BenchmarkArithmetic(b *testing.B) {
	type one struct {
		key *ecdsa.PrivateKey
		sig []byte
	}
	sum := sha256.Sum256([]byte("x"))
	var all []one
	for _, c := range []elliptic.Curve{elliptic.P384(), elliptic.P256(), elliptic.P256(), elliptic.P256()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, one{k, sig})
	}
	for b.Loop() {
		for _, o := range all {
			if !ecdsa.VerifyASN1(&o.key.PublicKey, sum[:], o.sig) {
				b.Fatal("does not verify")
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bundles/s")
}
