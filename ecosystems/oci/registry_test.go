package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// reg is a registry in memory that speaks the distribution protocol.
type reg struct {
	t     testing.TB
	inner http.Handler
	repo  string
	env   *adaptertest.Env
	world *sigstoretest.World
	host  string
	wrap  func(http.Handler) http.Handler

	// loose are indexes that list what the registry does not have, by their digest.
	loose map[string][]byte

	mu    sync.Mutex
	asked []string
}

func newReg(t testing.TB, env *adaptertest.Env, referrers bool) *reg {
	t.Helper()
	return &reg{
		t: t, env: env, repo: "acme/widget", world: sigstoretest.New(t, adaptertest.Now),
		inner: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithReferrersSupport(referrers)),
	}
}

func (g *reg) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.asked = append(g.asked, r.URL.Path)
	g.mu.Unlock()
	if b, ok := g.loose[path.Base(r.URL.Path)]; ok && strings.Contains(r.URL.Path, "/manifests/") {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		w.Write(b)
		return
	}
	g.inner.ServeHTTP(w, r)
}

func (g *reg) do(method, path, contentType string, body []byte) {
	g.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	g.inner.ServeHTTP(w, r)
	if w.Code >= 300 {
		g.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

type m = map[string]any

// blob uploads b and returns its descriptor.
func (g *reg) blob(mediaType string, b []byte) m {
	g.t.Helper()
	d := digestOf(b).String()
	g.do(http.MethodPost, "/v2/"+g.repo+"/blobs/uploads/?digest="+url.QueryEscape(d), "application/octet-stream", b)
	return m{"mediaType": mediaType, "digest": d, "size": len(b)}
}

// manifest uploads a document under a reference ("" for its digest alone) and
// returns its descriptor.
func (g *reg) manifest(ref string, mediaType types.MediaType, doc any) (m, []byte) {
	g.t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		g.t.Fatal(err)
	}
	d := digestOf(b).String()
	if ref == "" {
		ref = d
	}
	g.do(http.MethodPut, "/v2/"+g.repo+"/manifests/"+ref, string(mediaType), b)
	return m{"mediaType": string(mediaType), "digest": d, "size": len(b)}, b
}

// image uploads an image and returns its manifest.
func (g *reg) image(label string) []byte {
	g.t.Helper()
	config := `{"created":"2026-05-01T00:00:00Z","architecture":"amd64","os":"linux","config":{"Labels":{"org.opencontainers.image.source":"https://github.com/acme/widget.git","v":"` + label + `"}}}`
	_, b := g.manifest("latest", types.OCIManifestSchema1, m{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1,
		"config": g.blob(string(types.OCIConfigJSON), []byte(config)), "layers": []m{g.blob(string(types.OCILayer), []byte("layer "+label))},
	})
	return b
}

// refer attaches a bundle to the image by the referrers API.
func (g *reg) refer(image []byte, bundle []byte) m {
	g.t.Helper()
	d, _ := g.manifest("", types.OCIManifestSchema1, referrer(image, g.blob("application/vnd.oci.empty.v1+json", []byte("{}")), g.blob(bundleV03, bundle)))
	d["artifactType"] = bundleV03
	return d
}

const bundleV03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

func referrer(image []byte, config, layer m) m {
	return m{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": bundleV03, "config": config, "layers": []m{layer},
		"subject": m{"mediaType": types.OCIManifestSchema1, "digest": digestOf(image).String(), "size": len(image)},
	}
}

// legacy attaches layers under cosign's tag.
func (g *reg) legacy(image []byte, suffix string, layers ...m) {
	g.t.Helper()
	g.manifest(strings.Replace(digestOf(image).String(), ":", "-", 1)+suffix, types.OCIManifestSchema1, m{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "config": g.blob(string(types.OCIConfigJSON), []byte("{}")), "layers": layers,
	})
}

// payload is a simple signing document.
func payload(image []byte, reference string) []byte {
	b, err := json.Marshal(m{"critical": m{
		"identity": m{"docker-reference": reference}, "image": m{"docker-manifest-digest": digestOf(image).String()}, "type": "cosign container image signature",
	}, "optional": nil})
	if err != nil {
		panic(err)
	}
	return b
}

// annotations takes a bundle v0.1 apart as cosign's annotations have it.
func annotations(t testing.TB, bundle []byte) map[string]string {
	t.Helper()
	var doc struct {
		Material struct {
			Chain struct {
				Certificates []struct {
					RawBytes []byte `json:"rawBytes"`
				} `json:"certificates"`
			} `json:"x509CertificateChain"`
			Certificate struct {
				RawBytes []byte `json:"rawBytes"`
			} `json:"certificate"`
			Entries []struct {
				LogIndex string `json:"logIndex"`
				LogID    struct {
					KeyID []byte `json:"keyId"`
				} `json:"logId"`
				IntegratedTime string `json:"integratedTime"`
				Promise        struct {
					SET string `json:"signedEntryTimestamp"`
				} `json:"inclusionPromise"`
				Body string `json:"canonicalizedBody"`
			} `json:"tlogEntries"`
		} `json:"verificationMaterial"`
		Message struct {
			Signature string `json:"signature"`
		} `json:"messageSignature"`
	}
	if err := json.Unmarshal(bundle, &doc); err != nil {
		t.Fatal(err)
	}
	cert := doc.Material.Certificate.RawBytes
	if len(doc.Material.Chain.Certificates) > 0 {
		cert = doc.Material.Chain.Certificates[0].RawBytes
	}
	e := doc.Material.Entries[0]
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b, err := json.Marshal(m{"SignedEntryTimestamp": e.Promise.SET, "Payload": m{
		"body": e.Body, "integratedTime": number(e.IntegratedTime), "logIndex": number(e.LogIndex), "logID": hex.EncodeToString(e.LogID.KeyID),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		annotationCertificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})),
		annotationBundle:      string(b), annotationSignature: doc.Message.Signature,
	}
}

// sign attaches a keyless signature of the old form.
func (g *reg) sign(image, signed []byte, o sigstoretest.Options) {
	g.t.Helper()
	o.Artifact, o.Version = signed, "0.1"
	layer := g.blob(typeSimpleSigning, signed)
	layer["annotations"] = annotations(g.t, g.world.Bundle(o))
	g.legacy(image, ".sig", layer)
}

// provenance is a signed bundle v0.3 with SLSA provenance.
func (g *reg) provenance(image []byte, subject string, o sigstoretest.Options, wf sigstoretest.Workflow) []byte {
	o.Statement = sigstoretest.Statement(sigstore.PredicateProvenance1, wf.Provenance1(), sigstoretest.Subject{Name: subject, Digest: map[string]string{"sha256": digestOf(image).Value}})
	o.Identity = wf.Identity()
	return g.world.Bundle(o)
}

// serve starts the registry and returns an adapter before it.
func (g *reg) serve(ms adapter.Materials) *Adapter {
	g.t.Helper()
	var h http.Handler = g
	if g.wrap != nil {
		h = g.wrap(h)
	}
	g.host = strings.TrimPrefix(g.env.Serve(h), "http://")
	return New(Options{Get: g.env.Getter(), Root: g.verifier, Materials: ms})
}

func (g *reg) verifier(context.Context, trust.Package) (*sigstore.Verifier, error) {
	root, err := sigstore.LoadTrustedRoot(g.world.TrustedRoot(), sigstore.RootOptions{Obtained: adaptertest.Now, Now: adaptertest.Now})
	if err != nil {
		return nil, err
	}
	return sigstore.NewVerifier(root)
}

// component names the image by digest, or by tag if it is nil.
func (g *reg) component(image []byte) sbom.Component {
	g.t.Helper()
	version := ""
	c := sbom.Component{Kind: sbom.KindRegistry}
	if image != nil {
		version = digestOf(image).String()
		c.Artifacts = []trust.Artifact{{Digests: trust.Digests{digestOf(image)}}}
	}
	r, err := trust.NewRelease("oci", "", "widget", version)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Package = r.Package.WithQualifier("repository_url", g.host+"/"+g.repo)
	if image == nil {
		r = r.WithVariant("tag", "latest")
	}
	c.Release = r
	return c
}

func collect(t testing.TB, a *Adapter, c sbom.Component) adapter.Result {
	t.Helper()
	res, err := a.Collect(t.Context(), adapter.Request{Component: c})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
	}
	return res
}

// find returns the first evidence of a check.
func find(t testing.TB, res adapter.Result, c trust.Check) trust.Evidence {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	t.Fatalf("no %s evidence: %+v", c, res.Evidence)
	return trust.Evidence{}
}

func want(t testing.TB, what string, e trust.Evidence, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if e.Outcome != o || e.Reason != r {
		t.Errorf("%s: %s %s %s (%s), want %s %s", what, e.Check, e.Outcome, e.Reason, e.Detail, o, r)
	}
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
