package verification_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// attachment is what cosign before version 3 attached to an image.
type attachment struct {
	data  []byte
	media string
	ann   map[string]string
}

func payloadFor(digest, kind string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.example.com/acme/app"},"image":{"docker-manifest-digest":%q},"type":%q},"optional":null}`, digest, kind)
}

// cosignAnnotations moves a bundle v0.1 into annotations.
func cosignAnnotations(t *testing.T, bundle []byte) attachment {
	t.Helper()
	var b struct {
		Material struct {
			Chain struct {
				Certificates []struct {
					Raw []byte `json:"rawBytes"`
				} `json:"certificates"`
			} `json:"x509CertificateChain"`
			Entries []struct {
				Index   json.Number `json:"logIndex"`
				Time    json.Number `json:"integratedTime"`
				Body    []byte      `json:"canonicalizedBody"`
				LogID   struct{ KeyID []byte }
				Promise struct {
					SET []byte `json:"signedEntryTimestamp"`
				} `json:"inclusionPromise"`
			} `json:"tlogEntries"`
		} `json:"verificationMaterial"`
		Message struct {
			Signature []byte `json:"signature"`
		} `json:"messageSignature"`
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	must(t, json.Unmarshal(bundle, &b))
	a := attachment{ann: map[string]string{}, data: b.Envelope, media: signing.EnvelopeType}
	if b.Envelope == nil {
		a.media = signing.SimpleSigningType
		a.ann["dev.cosignproject.cosign/signature"] = base64.StdEncoding.EncodeToString(b.Message.Signature)
	}
	if cs := b.Material.Chain.Certificates; len(cs) > 0 {
		a.ann["dev.sigstore.cosign/certificate"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cs[0].Raw}))
	}
	for _, e := range b.Material.Entries {
		entry, err := json.Marshal(map[string]any{"SignedEntryTimestamp": e.Promise.SET, "Payload": map[string]any{
			"body": base64.StdEncoding.EncodeToString(e.Body), "integratedTime": e.Time, "logIndex": e.Index, "logID": hex.EncodeToString(e.LogID.KeyID)}})
		must(t, err)
		a.ann["dev.sigstore.cosign/bundle"] = string(entry)
	}
	return a
}

// pushAttachments puts attachments under cosign's tag of the image.
func pushAttachments(t *testing.T, repo name.Repository, digest v1.Hash, suffix string, as ...attachment) {
	t.Helper()
	must(t, remote.Write(repo.Tag(digest.Algorithm+"-"+digest.Hex+suffix), attachmentImage(t, as...)))
}

func attachmentImage(t *testing.T, as ...attachment) v1.Image {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	var err error
	for _, a := range as {
		img, err = mutate.Append(img, mutate.Addendum{Layer: static.NewLayer(a.data, types.MediaType(a.media)), Annotations: a.ann})
		must(t, err)
	}
	return img
}

const cosignKind = "cosign container image signature"

// What cosign attached to images before it wrote bundles verifies, and only for
// that image, by whom it was signed.
func TestCosignImageSignatures(t *testing.T) {
	w := sigstoretest.New(t, now)
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	sign := func(o sigstoretest.Options) attachment { o.Version = "0.1"; return cosignAnnotations(t, w.Bundle(o)) }
	signed := func(payload []byte, o sigstoretest.Options) attachment {
		o.Artifact = payload
		a := sign(o)
		a.data = payload
		return a
	}
	byWorkflow := workflow(load(t, w))
	byTheKey := byWorkflow
	byNPM(t, w)(&byTheKey)
	attested := byWorkflow
	attested.Types = []string{"https://slsa.dev/provenance/v1"}
	other := "sha256:" + strings.Repeat("0", 64)
	for n, c := range map[string]struct {
		sig, att func(digest string) []attachment
		x        verification.Expectation
		want     trust.Reason // empty for verified
	}{
		"keyless": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{})}
		}, x: byWorkflow},
		"by key": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Key: w.NPM})}
		}, x: byTheKey},
		"key no log": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Key: w.NPM, Fault: sigstoretest.FaultNoEntry})}
		}, x: byTheKey},
		"two signers": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Identity: sigstoretest.Workflow{Repository: "stranger/app"}.Identity()}), signed(payloadFor(d, cosignKind), sigstoretest.Options{})}
		}, x: byWorkflow},
		"attestation": {att: func(d string) []attachment {
			return []attachment{sign(sigstoretest.Options{Statement: imageStatement(d)})}
		}, x: attested},
		"attestation of the wanted type among others": {att: func(d string) []attachment {
			return []attachment{sign(sigstoretest.Options{Statement: sigstoretest.Statement("https://example.com/other", map[string]any{}, imageSubject(d))}), sign(sigstoretest.Options{Statement: imageStatement(d)})}
		}, sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{})}
		}, x: attested},

		"other image": {sig: func(string) []attachment {
			return []attachment{signed(payloadFor(other, cosignKind), sigstoretest.Options{})}
		}, x: byWorkflow, want: trust.ReasonWrongSubject},
		"other type of payload": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, "something else"), sigstoretest.Options{})}
		}, x: byWorkflow, want: trust.ReasonWrongPredicate},
		"payload changed after signing": {sig: func(d string) []attachment {
			a := signed(payloadFor(other, cosignKind), sigstoretest.Options{})
			a.data = payloadFor(d, cosignKind)
			return []attachment{a}
		}, x: byWorkflow, want: trust.ReasonBadSignature},
		"duplicate keys in the payload": {sig: func(d string) []attachment {
			return []attachment{signed(bytes.Replace(payloadFor(d, cosignKind), []byte(`"optional":null`), []byte(`"Critical":{}`), 1), sigstoretest.Options{})}
		}, x: byWorkflow, want: trust.ReasonMalformed},
		"stranger": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Identity: sigstoretest.Workflow{Repository: "stranger/app"}.Identity()})}
		}, x: byWorkflow, want: trust.ReasonUntrustedSigner},
		"other key": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Key: w.NPMOld})}
		}, x: byTheKey, want: trust.ReasonBadSignature},
		"no log": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Fault: sigstoretest.FaultNoEntry})}
		}, x: byWorkflow, want: trust.ReasonBadSignature},
		"other entry": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Fault: sigstoretest.FaultEntrySignature})}
		}, x: byWorkflow, want: trust.ReasonBadSignature},
		"bad promise": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{Fault: sigstoretest.FaultSET})}
		}, x: byWorkflow, want: trust.ReasonBadSignature},
		"signature, no attestation": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{})}
		}, x: attested, want: trust.ReasonWrongPredicate},
		"attestation of another image": {att: func(string) []attachment {
			return []attachment{sign(sigstoretest.Options{Statement: imageStatement(other)})}
		}, x: attested, want: trust.ReasonWrongSubject},
		"one bad of two": {sig: func(d string) []attachment {
			return []attachment{signed(payloadFor(d, cosignKind), sigstoretest.Options{}), signed(payloadFor(d, cosignKind), sigstoretest.Options{Fault: sigstoretest.FaultSignature})}
		}, x: byWorkflow, want: trust.ReasonBadSignature},
		"nothing": {x: byWorkflow, want: trust.ReasonNotOffered},
	} {
		t.Run(n, func(t *testing.T) {
			repo, err := name.NewRepository(host+"/acme/"+strings.ReplaceAll(strings.ToLower(n), " ", "-"), name.Insecure)
			if err != nil {
				repo, err = name.NewRepository(host+"/acme/"+hex.EncodeToString([]byte(n)), name.Insecure)
			}
			must(t, err)
			img, err := random.Image(64, 1)
			must(t, err)
			must(t, remote.Write(repo.Tag("v1"), img))
			h, err := img.Digest()
			must(t, err)
			dir := filepath.Join(t.TempDir(), "layout")
			p, err := layout.Write(dir, empty.Index)
			must(t, err)
			must(t, p.AppendImage(img))
			for suffix, make := range map[string]func(string) []attachment{".sig": c.sig, ".att": c.att} {
				if make == nil {
					continue
				}
				as := make(h.String())
				pushAttachments(t, repo, h, suffix, as...)
				must(t, p.AppendImage(attachmentImage(t, as...), layout.WithAnnotations(map[string]string{"kind": "dev.cosignproject.cosign/" + map[string]string{".sig": "sigs", ".att": "atts"}[suffix]})))
			}
			remoteImage, err := signing.OpenRegistryImage(t.Context(), repo.Tag("v1").String(), signing.RegistryOptions{Insecure: []string{host}})
			must(t, err)
			local, err := signing.OpenLayout(dir, false)
			must(t, err)
			for _, im := range []*signing.Image{remoteImage, local} {
				found, err := im.Signatures(t.Context())
				must(t, err)
				_, err = verification.Verify(verification.DigestArtifact(im.Name, trust.Digests{im.Digest}), docs(found), c.x)
				if c.want == "" {
					must(t, err)
					continue
				}
				if _, r := trust.Classify(err); err == nil || r != c.want || errors.Is(err, trust.ErrConfiguration) {
					t.Errorf("%s: %v, want %s", im.Name, err, c.want)
				}
			}
		})
	}
}

func imageSubject(digest string) sigstoretest.Subject {
	return sigstoretest.Subject{Name: "registry.example.com/acme/app", Digest: map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}}
}

func imageStatement(digest string) []byte {
	return sigstoretest.Statement("https://slsa.dev/provenance/v1", sigstoretest.Workflow{}.Provenance1(), imageSubject(digest))
}
