package verification_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

func realData(t testing.TB) string {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	return dir
}

func realRoot(t testing.TB, name string) func() (*sigstore.Root, error) {
	b, err := os.ReadFile(filepath.Join(realData(t), name))
	must(t, err)
	return func() (*sigstore.Root, error) {
		return sigstore.LoadTrustedRoot(b, sigstore.RootOptions{Obtained: time.Now(), Now: time.Now()})
	}
}

// anybody says who signed; tests of real data judge that themselves.
type anybody struct{}

func (anybody) Accepted(trust.Signer) (string, error) { return "test", nil }

// TestRealAttestations verifies every attestation that lies beside its file, and
// refuses each for every other file.
func TestRealAttestations(t *testing.T) {
	dir := realData(t)
	x := verification.Expectation{Accepted: anybody{}, Now: time.Now(), Root: realRoot(t, "sigstore-root-signing/targets/trusted_root.json")}
	staging := x
	staging.Root = realRoot(t, "sigstore-root-signing-staging/trusted_root.json")
	type pair struct {
		file, name string
		doc        []byte
	}
	var pairs []pair
	atts, err := filepath.Glob(filepath.Join(dir, "pypi", "*.attestation"))
	must(t, err)
	for _, a := range atts {
		b, err := os.ReadFile(a)
		must(t, err)
		file := strings.TrimSuffix(a, ".attestation")
		pairs = append(pairs, pair{strings.TrimSuffix(file, filepath.Ext(file)), a, b})
	}
	docs, err := filepath.Glob(filepath.Join(dir, "npm", "*.attestations.json"))
	must(t, err)
	for _, d := range docs {
		var m struct {
			Attestations []struct {
				PredicateType string
				Bundle        json.RawMessage
			}
		}
		b, err := os.ReadFile(d)
		must(t, err)
		must(t, json.Unmarshal(b, &m))
		for _, a := range m.Attestations {
			if strings.Contains(a.PredicateType, "slsa.dev/provenance") {
				pairs = append(pairs, pair{strings.TrimSuffix(d, ".attestations.json") + ".tgz", d, a.Bundle})
			}
		}
	}
	n := 0
	for _, p := range pairs {
		if _, err := os.Stat(p.file); err != nil {
			continue // the distribution itself is not among the files
		}
		rs, err := verification.Verify(artifact(t, p.file), doc(p.doc), x)
		if err != nil {
			// What the staging instance signed verifies there, and nowhere else.
			if _, serr := verification.Verify(artifact(t, p.file), doc(p.doc), staging); serr != nil {
				t.Errorf("%s: %v", p.name, err)
			}
			continue
		}
		n++
		if rs[0].Signer.SAN == "" || rs[0].SignedAt.IsZero() || len(rs[0].Logs) == 0 {
			t.Errorf("%s: %+v", p.name, rs[0])
		}
		if _, err := verification.Verify(verification.BytesArtifact("other", []byte("other")), doc(p.doc), x); err == nil {
			t.Errorf("%s: verified for another file", p.name)
		}
		if _, err := verification.Verify(artifact(t, p.file), doc(p.doc), staging); err == nil {
			t.Errorf("%s: verified with another instance's root", p.name)
		}
	}
	if len(pairs) > 0 && n == 0 {
		t.Error("nothing verified")
	}
}

func TestRealOCIAttestation(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(realData(t), "oci", "*.sigstore.json"))
	must(t, err)
	x := verification.Expectation{Accepted: anybody{}, Now: time.Now(), Root: realRoot(t, "sigstore-root-signing/targets/trusted_root.json")}
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		c, err := sigstore.Peek(b, false)
		must(t, err)
		st, err := sigstore.ParseStatement(c.Payload)
		must(t, err)
		x.Types = []string{st.PredicateType}
		rs, err := verification.Verify(verification.DigestArtifact("image", st.Subjects[0].Digests), doc(b), x)
		must(t, err)
		t.Logf("%s: %s", filepath.Base(f), rs[0].Signer)
		_, err = verification.Verify(verification.BytesArtifact("other", nil), doc(b), x)
		refused(t, err, trust.Failed, trust.ReasonWrongSubject)
	}
}

func TestRealMinisign(t *testing.T) {
	dir := filepath.Join(realData(t), "minisign")
	sigs, err := filepath.Glob(filepath.Join(dir, "*.minisig"))
	must(t, err)
	pub, err := os.ReadFile(filepath.Join(dir, "minisign.pub"))
	must(t, err)
	k, err := verification.ParseKeys(pub)
	must(t, err)
	for _, s := range sigs {
		b, err := os.ReadFile(s)
		must(t, err)
		_, err = verification.Verify(artifact(t, strings.TrimSuffix(s, ".minisig")), doc(b), verification.Expectation{Keys: k, Now: time.Now()})
		must(t, err)
	}
}

// TestRealAuthenticode: nobody's root is pinned here, so nothing verifies; what
// hides data behind its signature fails whoever signed it.
func TestRealAuthenticode(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(realData(t), "authenticode", "*.dll"))
	must(t, err)
	i := newInstance(t)
	x := i.by()
	for _, f := range files {
		rs, err := verification.VerifyAuthenticode(artifact(t, f), x)
		if err == nil {
			t.Errorf("%s: %+v", f, rs)
		}
		if outcome, _ := trust.Classify(err); strings.HasPrefix(filepath.Base(f), "pe-") && outcome != trust.Failed {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// BenchmarkVerify1000 verifies 1,000 bundles one after the other, as a folder of
// releases would be: per second and core, with what is the same reused.
func BenchmarkVerify1000(b *testing.B) {
	docs, err := filepath.Glob(filepath.Join(realData(b), "npm", "*.attestations.json"))
	must(b, err)
	if len(docs) == 0 {
		b.Skip("no npm attestations")
	}
	raw, err := os.ReadFile(docs[0])
	must(b, err)
	var m struct {
		Attestations []struct {
			PredicateType string
			Bundle        json.RawMessage
		}
	}
	must(b, json.Unmarshal(raw, &m))
	load := realRoot(b, "sigstore-root-signing/targets/trusted_root.json")
	root, err := load()
	must(b, err)
	x := verification.Expectation{Accepted: anybody{}, Now: time.Now(), Root: func() (*sigstore.Root, error) { return root, nil }}
	a := artifact(b, strings.TrimSuffix(docs[0], ".attestations.json")+".tgz")
	for _, at := range m.Attestations {
		if !strings.Contains(at.PredicateType, "slsa.dev/provenance") {
			continue
		}
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			for range 1000 {
				if _, err := verification.Verify(a, doc(at.Bundle), x); err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "bundles/s")
	}
}
