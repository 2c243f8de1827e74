package sigstore

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

// realData returns the folder with really published files, or skips.
func realData(t testing.TB) string {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	return dir
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func loadRoot(t testing.TB, path string) *Root {
	t.Helper()
	now := time.Now()
	r, err := LoadTrustedRoot(read(t, path), RootOptions{Obtained: now, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func productionRoot(t testing.TB) *Root {
	return loadRoot(t, filepath.Join(realData(t), "sigstore-root-signing/targets/trusted_root.json"))
}

func stagingRoot(t testing.TB) *Root {
	return loadRoot(t, filepath.Join(realData(t), "sigstore-root-signing-staging/trusted_root.json"))
}

func digestsOf(b []byte) trust.Digests {
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	return trust.Digests{trust.DigestOf(trust.SHA256, s256[:]), trust.DigestOf(trust.SHA512, s512[:])}
}

// realBundle is a bundle of the real data with the artifact it is for.
type realBundle struct {
	name      string
	raw       []byte
	artifact  trust.Digests
	predicate string
	key       bool
}

func npmBundles(t testing.TB) []realBundle {
	docs, err := filepath.Glob(filepath.Join(realData(t), "npm", "*.attestations.json"))
	if err != nil || len(docs) == 0 {
		t.Skip("no npm attestations")
	}
	var out []realBundle
	for _, doc := range docs {
		var d struct {
			Attestations []struct {
				PredicateType string          `json:"predicateType"`
				Bundle        json.RawMessage `json:"bundle"`
			} `json:"attestations"`
		}
		if err := json.Unmarshal(read(t, doc), &d); err != nil {
			t.Fatal(err)
		}
		tgz := read(t, strings.TrimSuffix(doc, ".attestations.json")+".tgz")
		for _, a := range d.Attestations {
			out = append(out, realBundle{filepath.Base(doc) + " " + a.PredicateType, a.Bundle, digestsOf(tgz), a.PredicateType, a.PredicateType == PredicateNPMPublish})
		}
	}
	return out
}

func TestRealNPM(t *testing.T) {
	root := productionRoot(t)
	keyless, err := NewVerifier(root)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseNPMKeys(read(t, filepath.Join(realData(t), "sigstore-root-signing/targets/npm-keys.json")))
	if err != nil {
		t.Fatal(err)
	}
	keyed, err := NewKeyVerifier(root, keys, UsageAttestations)
	if err != nil {
		t.Fatal(err)
	}
	stagingV, err := NewVerifier(stagingRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range npmBundles(t) {
		t.Run(b.name, func(t *testing.T) {
			v, id := keyless, CollectIdentityUnsafe()
			if b.key {
				v, id = keyed, KeyIdentity()
			}
			x := Expectation{Artifact: b.artifact, SubjectName: AnySubjectNameUnsafe, PredicateTypes: []string{b.predicate}, Identity: id}
			got, err := v.Verify(b.raw, x)
			if err != nil {
				t.Fatal(err)
			}
			if st, ok := got.Statement(); !ok || st.PredicateType != b.predicate {
				t.Errorf("statement %+v", st)
			}
			if got.SignedAt().IsZero() || len(got.Logs()) == 0 {
				t.Errorf("times %v, logs %v", got.Times(), got.Logs())
			}
			if !b.key {
				if !got.Signer().IsWorkflow() || got.Signer().Issuer != trust.GitHubIssuer && got.Signer().Issuer != trust.GitLabIssuer {
					t.Errorf("signer %+v", got.Signer())
				}
				if _, err := stagingV.Verify(b.raw, x); outcome(err) != trust.Failed {
					t.Errorf("with the staging root: %v", err)
				}
			}
			x.Artifact = digestsOf([]byte("another artifact"))
			if _, err := v.Verify(b.raw, x); reason(err) != trust.ReasonWrongDigest {
				t.Errorf("other artifact: %v", err)
			}
		})
	}
}

func outcome(err error) trust.Outcome { o, _ := Classify(err); return o }
func reason(err error) trust.Reason   { _, r := Classify(err); return r }

// TestRealPyPI turns PEP 740 attestations into bundles, as the PyPI adapter does.
func TestRealPyPI(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(realData(t), "pypi", "*.attestation"))
	if err != nil || len(files) == 0 {
		t.Skip("no attestations")
	}
	production, err := NewVerifier(productionRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	staging, err := NewVerifier(stagingRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			var att struct {
				Material struct {
					Certificate string            `json:"certificate"`
					Entries     []json.RawMessage `json:"transparency_entries"`
				} `json:"verification_material"`
				Envelope struct {
					Statement string `json:"statement"`
					Signature string `json:"signature"`
				} `json:"envelope"`
			}
			if err := json.Unmarshal(read(t, f), &att); err != nil {
				t.Fatal(err)
			}
			bundle, err := json.Marshal(map[string]any{
				"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
				"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": att.Material.Certificate}, "tlogEntries": att.Material.Entries},
				"dsseEnvelope":         map[string]any{"payload": att.Envelope.Statement, "payloadType": PayloadType, "signatures": []any{map[string]any{"sig": att.Envelope.Signature}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			artifact := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(f, ".attestation"), ".publish"), ".slsa")
			payload, _ := base64.StdEncoding.DecodeString(att.Envelope.Statement)
			st, err := ParseStatement(payload)
			if err != nil {
				t.Fatal(err)
			}
			x := Expectation{Artifact: digestsOf(read(t, artifact)), SubjectName: func(n string) error { return nil },
				PredicateTypes: []string{st.PredicateType}, Identity: CollectIdentityUnsafe()}
			got, errP := production.Verify(bundle, x)
			_, errS := staging.Verify(bundle, x)
			// Exactly one of the two instances signed it.
			if (errP == nil) == (errS == nil) {
				t.Fatalf("production: %v, staging: %v", errP, errS)
			}
			if errP != nil && outcome(errP) != trust.Failed {
				t.Errorf("staging bundle with the production root: %v", errP)
			}
			if errP == nil && !got.Signer().IsWorkflow() {
				t.Errorf("signer %+v", got.Signer())
			}
			x.Artifact = digestsOf([]byte("x"))
			if _, err := production.Verify(bundle, x); outcome(err) != trust.Failed {
				t.Errorf("other artifact: %v", err)
			}
		})
	}
}

func TestRealOCI(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(realData(t), "oci", "*.sigstore.json"))
	if len(files) == 0 {
		t.Skip("no bundles")
	}
	production, err := NewVerifier(productionRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	staging, err := NewVerifier(stagingRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			raw := read(t, f)
			var b struct {
				DsseEnvelope struct{ Payload []byte }
			}
			if err := json.Unmarshal(raw, &b); err != nil {
				t.Fatal(err)
			}
			st, err := ParseStatement(b.DsseEnvelope.Payload)
			if err != nil {
				t.Fatal(err)
			}
			x := Expectation{Artifact: st.Subjects[0].Digests, SubjectName: AnySubjectNameUnsafe, PredicateTypes: []string{st.PredicateType}, Identity: CollectIdentityUnsafe()}
			got, err := production.Verify(raw, x)
			if err != nil {
				t.Fatal(err)
			}
			if got.Signer().Issuer == "" || got.Signer().SAN == "" {
				t.Errorf("signer %+v", got.Signer())
			}
			if _, err := staging.Verify(raw, x); outcome(err) != trust.Failed {
				t.Errorf("with the staging root: %v", err)
			}
		})
	}
}

// TestLibraryBundles verifies the bundles that come with sigstore-go. Its
// trusted root is old; it knows the logs of their time.
func TestLibraryBundles(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Skipf("cannot find the module: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "pkg", "testing", "data")
	v, err := NewVerifier(loadRoot(t, filepath.Join(dir, "trusted-roots", "public-good.json")))
	if err != nil {
		t.Fatal(err)
	}
	// The first is provenance that a person signed by e-mail, which a gate refuses;
	// the library takes it.
	for name, ok := range map[string]bool{"dsse.sigstore.json": false, "dsse-2sigs.sigstore.json": false, "sigstore.js@2.0.0-provenance.sigstore.json": true} {
		raw := read(t, filepath.Join(dir, "bundles", name))
		var b struct {
			DsseEnvelope struct{ Payload []byte }
		}
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatal(err)
		}
		st, err := ParseStatement(b.DsseEnvelope.Payload)
		if err != nil {
			t.Fatal(err)
		}
		x := Expectation{Artifact: st.Subjects[0].Digests, SubjectName: AnySubjectNameUnsafe, PredicateTypes: []string{st.PredicateType}, Identity: CollectIdentityUnsafe()}
		_, err = v.Verify(raw, x)
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
