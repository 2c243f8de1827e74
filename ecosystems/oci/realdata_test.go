package oci

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
)

// TestRealBundles judges the bundles of HEADGATE_REALDATA as if the registry had
// served them beside the image that they are for, and beside another one.
func TestRealBundles(t *testing.T) {
	root := os.Getenv("HEADGATE_REALDATA")
	if root == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	tr, err := os.ReadFile(filepath.Join(root, "sigstore-root-signing", "targets", "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := sigstore.LoadTrustedRoot(tr, sigstore.RootOptions{Obtained: now, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sigstore.NewVerifier(r)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "oci", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bundles: %v", err)
	}
	a := New(Options{Root: func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil }})
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Envelope json.RawMessage `json:"dsseEnvelope"`
			}
			if err := json.Unmarshal(b, &doc); err != nil || doc.Envelope == nil {
				t.Skip("no attestation")
			}
			e, err := dsse.Parse(doc.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			st, err := sigstore.ParseStatement(e.UnverifiedPayload())
			if err != nil || len(st.Subjects) != 1 {
				t.Fatalf("%+v %v", st, err)
			}
			repo, err := name.NewRepository(st.Subjects[0].Name)
			if err != nil {
				t.Fatal(err)
			}
			im := image{repo: repo, digest: st.Subjects[0].Digests.Get(trust.SHA256)}
			rel, err := trust.NewRelease("oci", "", filepath.Base(repo.RepositoryStr()), im.digest.String())
			if err != nil {
				t.Fatal(err)
			}
			judge := func(b []byte, im image) trust.Evidence {
				e, ok := a.judge(t.Context(), bundled(b), rel, trust.Artifact{Digests: trust.Digests{im.digest}}, im)
				if !ok {
					t.Fatalf("attestations of the type %s are not judged", st.PredicateType)
				}
				if err := e.Validate(); err != nil {
					t.Error(err)
				}
				return e
			}
			ev := judge(b, im)
			want(t, "as published", ev, trust.Verified, "")
			if ev.Signer == nil || ev.Signer.Issuer == "" || ev.PredicateType != st.PredicateType {
				t.Errorf("%+v", ev)
			}
			other := im
			other.digest = digestOf([]byte("other"))
			want(t, "another image", judge(b, other), trust.Failed, trust.ReasonWrongDigest)
			if other.repo, err = name.NewRepository("registry.example.com/acme/evil"); err != nil {
				t.Fatal(err)
			}
			other.digest = im.digest
			want(t, "another name", judge(b, other), trust.Failed, trust.ReasonWrongName)
		})
	}
}
