package npm

import (
	"crypto/sha512"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

func realTrust(t testing.TB) (dir string, tr Trust) {
	dir = os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	read := func(p string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	now := time.Now()
	var err error
	if tr.Root, err = sigstore.LoadTrustedRoot(read("sigstore-root-signing/targets/trusted_root.json"), sigstore.RootOptions{Obtained: now, Now: now}); err != nil {
		t.Fatal(err)
	}
	if tr.Keys, err = sigstore.ParseNPMKeys(read("sigstore-root-signing/targets/npm-keys.json")); err != nil {
		t.Fatal(err)
	}
	return dir, tr
}

// TestRealAttestations judges every attestation document against every tarball:
// its own is verified, every other one and every other name fails.
func TestRealAttestations(t *testing.T) {
	dir, tr := realTrust(t)
	docs, _ := filepath.Glob(filepath.Join(dir, "npm", "*.attestations.json"))
	tarballs, _ := filepath.Glob(filepath.Join(dir, "npm", "*.tgz"))
	if len(docs) == 0 {
		t.Skip("no attestations")
	}
	a := &Adapter{verifiers: map[[3]string]*verifiers{}}
	a.o.Config, _ = Config{}.normalize()
	for _, doc := range docs {
		raw, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		// Which release it is of stands in the signed subject; the file name agrees.
		list, err := parseAttestations(raw)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.TrimSuffix(filepath.Base(doc), ".attestations.json")
		rel, err := subjectOf(list[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, tgz := range tarballs {
			b, err := os.ReadFile(tgz)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha512.Sum512(b)
			artifact := trust.Artifact{Digests: trust.Digests{trust.DigestOf(trust.SHA512, sum[:])}}
			for _, r := range []trust.Release{rel, {Package: rel.Package, Version: "99.0.0"}, {Package: trust.Package{Type: "npm", Name: rel.Package.Name + "x"}, Version: rel.Version}} {
				c := &collection{a: a, r: r, base: DefaultRegistry, pub: true, t: tr, keys: tr.Keys}
				right := r == rel && strings.TrimSuffix(filepath.Base(tgz), ".tgz") == own
				pub, prov := c.judge(raw, artifact)
				for _, e := range []trust.Evidence{pub, prov} {
					want := trust.Failed
					if right {
						want = trust.Verified
					}
					if e.Outcome != want {
						t.Errorf("%s for %s with %s: %s is %s (%s): %s", filepath.Base(doc), r, filepath.Base(tgz), e.Check, e.Outcome, e.Reason, e.Detail)
					}
				}
				if right && (!prov.Signer.IsWorkflow() || prov.Assurance != trust.AssuranceProvenance) {
					t.Errorf("signer %+v", prov.Signer)
				}
			}
		}
	}
}

func subjectOf(a attestation) (trust.Release, error) {
	var env struct {
		DSSE struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(a.bundle, &env); err != nil {
		return trust.Release{}, err
	}
	st, err := sigstore.ParseStatement(env.DSSE.Payload)
	if err != nil {
		return trust.Release{}, err
	}
	return trust.ParseRelease(st.Subjects[0].Name)
}

func TestRealRegistrySignatures(t *testing.T) {
	dir, tr := realTrust(t)
	b, err := os.ReadFile(filepath.Join(dir, "npm", "registry-signature-vectors.json"))
	if err != nil {
		t.Skip(err)
	}
	var vectors []struct{ Name, Version, Integrity, KeyID, Sig, Expect string }
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, v := range vectors {
		if !strings.HasPrefix(v.Integrity, "sha") { // a pointer to another file
			continue
		}
		judged++
		_, err := verifySignature(v.Name, v.Version, v.Integrity, []signature{{KeyID: v.KeyID, Sig: v.Sig}}, tr.Keys)
		if strings.HasPrefix(v.Expect, "valid") {
			if err != nil {
				t.Errorf("%s@%s: %v", v.Name, v.Version, err)
			}
		} else if o, r := trust.Classify(err); o != trust.Failed || r != trust.ReasonBadSignature {
			t.Errorf("%s@%s: %v, expected %s", v.Name, v.Version, err, v.Expect)
		}
	}
	if judged == 0 {
		t.Error("no vector was judged")
	}
}
