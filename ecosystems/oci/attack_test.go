package oci

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

const widget = "registry.example.com/acme/widget"

// faults are all ways of breaking a keyless signature that both forms can show.
var faults = []sigstoretest.Fault{
	sigstoretest.FaultSignature, sigstoretest.FaultNoSCT, sigstoretest.FaultForeignSCT, sigstoretest.FaultBadSCT,
	sigstoretest.FaultForeignCA, sigstoretest.FaultExpired, sigstoretest.FaultNotYet, sigstoretest.FaultForeignLog,
	sigstoretest.FaultEntrySignature, sigstoretest.FaultEntryKey, sigstoretest.FaultEntryDigest, sigstoretest.FaultSET,
}

// TestThreat001And006EveryFaultOnEveryPath: a log entry or signature of something
// else is refused in cosign's form as in bundles.
func TestThreat001And006EveryFaultOnEveryPath(t *testing.T) {
	for _, f := range faults {
		for _, form := range []string{"sig", "att", "referrer"} {
			g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
			image := g.image("1")
			o := sigstoretest.Options{Fault: f}
			switch form {
			case "sig":
				g.sign(image, payload(image, widget), o)
			case "att":
				g.attest(image, sigstore.PredicateProvenance1, o)
			case "referrer":
				if f == sigstoretest.FaultSET {
					f = sigstoretest.FaultCheckpoint // what takes the promise's place there
					o.Fault = f
				}
				g.refer(image, g.provenance(image, widget, o, sigstoretest.Workflow{}))
			}
			res := collect(t, g.serve(nil), g.component(image))
			found := false
			for _, e := range res.Evidence[2:] { // behind those about the digest itself
				found = found || e.Outcome == trust.Failed || e.Outcome == trust.Unreachable
				if e.Outcome == trust.Verified {
					t.Errorf("%s by %s: %s is verified", f, form, e.Check)
				}
			}
			if !found {
				t.Errorf("%s by %s: %+v", f, form, res.Evidence[2:])
			}
		}
	}
}

// attest attaches an attestation in cosign's form.
func (g *reg) attest(image []byte, predicate string, o sigstoretest.Options) {
	g.t.Helper()
	wf := sigstoretest.Workflow{}
	var p any = wf.Provenance1()
	if predicate != sigstore.PredicateProvenance1 {
		p = m{"anything": "else"}
	}
	o.Statement = sigstoretest.Statement(predicate, p, sigstoretest.Subject{Name: widget, Digest: map[string]string{"sha256": digestOf(image).Value}})
	o.Identity, o.Version = wf.Identity(), "0.1"
	b := g.world.Bundle(o)
	var doc struct {
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		g.t.Fatal(err)
	}
	layer := g.blob(typeEnvelope, doc.Envelope)
	ann := annotations(g.t, b)
	ann["predicateType"] = sigstore.PredicateProvenance1 // unsigned, and never read
	layer["annotations"] = ann
	g.legacy(image, ".att", layer)
}

// TestThreat047And049PredicateTypes: the type is that of the signed statement,
// and a type that is not provenance proves none.
func TestThreat047And049PredicateTypes(t *testing.T) {
	for predicate, c := range map[string]struct {
		check     trust.Check
		assurance trust.Assurance
	}{
		sigstore.PredicateProvenance1:                        {trust.CheckProvenance, trust.AssuranceProvenance},
		predicateSign:                                        {trust.CheckPublisherSig, trust.AssurancePublisher},
		"https://spdx.dev/Document/v2.3":                     {trust.CheckPublisherSig, trust.AssuranceNone},
		"https://cyclonedx.org/bom":                          {trust.CheckPublisherSig, trust.AssuranceNone},
		"https://cosign.sigstore.dev/attestation/vuln/v1":    {trust.CheckPublisherSig, trust.AssuranceNone},
		"https://cosign.sigstore.dev/attestation/v1":         {trust.CheckPublisherSig, trust.AssuranceNone},
		"https://example.com/any":                            {"", trust.AssuranceNone},
		"https://slsa.dev/provenance/v1/":                    {"", trust.AssuranceNone},
		"https://slsa.dev/provenance/v9":                     {"", trust.AssuranceNone},
		"https://spdx.dev/Document.evil.example.com/v1":      {"", trust.AssuranceNone},
		"https://sigstore.dev/cosign/sign/v1?and=provenance": {"", trust.AssuranceNone},
	} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		image := g.image("1")
		g.attest(image, predicate, sigstoretest.Options{})
		res := collect(t, g.serve(nil), g.component(image))
		best := trust.AssuranceNone
		for _, e := range res.Evidence {
			best = max(best, e.Assurance)
		}
		if best != c.assurance {
			t.Errorf("%s amounts to %s", predicate, best)
		}
		if c.check == "" {
			want(t, predicate, find(t, res, trust.CheckPublisherSig), trust.Absent, trust.ReasonNotPublished)
			if len(res.Facts.Notes) != 1 || !strings.Contains(res.Facts.Notes[0], predicate) {
				t.Errorf("%s: notes %q", predicate, res.Facts.Notes)
			}
			continue
		}
		want(t, predicate, find(t, res, c.check), trust.Verified, "")
	}
}

// TestProvenanceWithoutSource: what an image builder says of its own layers is no
// provenance of a source, and no contradiction of the certificate either.
func TestProvenanceWithoutSource(t *testing.T) {
	for what, c := range map[string]struct {
		predicate m
		o         trust.Outcome
	}{
		"BuildKit":      {m{"buildDefinition": m{"buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md", "resolvedDependencies": []m{{"uri": "pkg:docker/alpine"}}}, "runDetails": m{"builder": m{"id": "x"}}}, trust.Absent},
		"no source":     {m{"buildDefinition": m{"buildType": "https://example.com/apko"}, "runDetails": m{"builder": m{"id": "x"}}}, trust.Absent},
		"other source":  {m{"buildDefinition": m{"buildType": "https://example.com/b", "resolvedDependencies": []m{{"uri": "git+https://github.com/evil/widget", "digest": m{"gitCommit": strings.Repeat("a", 40)}}}}, "runDetails": m{"builder": m{"id": "x"}}}, trust.Failed},
		"other case":    {m{"buildDefinition": m{"BuildType": "https://example.com/b", "externalParameters": m{"workflow": m{"repository": "https://github.com/acme/widget"}}}}, trust.Unreachable},
		"not an object": {m{"buildDefinition": "x"}, trust.Unreachable},
	} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		image := g.image("1")
		st := sigstoretest.Statement(sigstore.PredicateProvenance1, c.predicate, sigstoretest.Subject{Name: widget, Digest: map[string]string{"sha256": digestOf(image).Value}})
		g.refer(image, g.world.Bundle(sigstoretest.Options{Statement: st}))
		res := collect(t, g.serve(nil), g.component(image))
		if e := res.Evidence[2]; e.Outcome != c.o || len(res.Evidence) != 3 {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if noted := len(res.Facts.Notes) == 1; noted != (c.o == trust.Absent) {
			t.Errorf("%s: notes %q", what, res.Facts.Notes)
		}
	}
}

// TestThreat020And051SeveralSignatures: one that is wrong shows, whatever else
// is right; equal ones count once.
func TestThreat020And051SeveralSignatures(t *testing.T) {
	g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
	image := g.image("1")
	good := g.provenance(image, widget, sigstoretest.Options{}, sigstoretest.Workflow{})
	g.refer(image, good)
	g.refer(image, g.provenance(image, widget, sigstoretest.Options{Fault: sigstoretest.FaultEntryDigest}, sigstoretest.Workflow{}))
	layer := g.blob(bundleV03, good)
	g.legacy(image, ".att", layer)
	res := collect(t, g.serve(nil), g.component(image))
	outcomes := map[trust.Outcome]int{}
	for _, e := range res.Evidence[2:] {
		outcomes[e.Outcome]++
	}
	if outcomes[trust.Verified] != 1 || outcomes[trust.Failed]+outcomes[trust.Unreachable] != 1 {
		t.Errorf("%v: %+v", outcomes, res.Evidence[2:])
	}
}

// TestThreat092OneDigestTwoMeanings: a document with the fields of two types, or
// served as another type than it is, is refused.
func TestThreat092OneDigestTwoMeanings(t *testing.T) {
	index, manifest := string(types.OCIImageIndex), string(types.OCIManifestSchema1)
	config := `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":1}`
	for what, c := range map[string]struct {
		doc, served string
		o           trust.Outcome
	}{
		"manifest":             {`{` + config + `,"layers":[]}`, manifest, trust.Verified},
		"index":                {`{"manifests":[]}`, index, trust.Verified},
		"no content type":      {`{` + config + `,"layers":[]}`, "", trust.Verified},
		"charset":              {`{"manifests":[]}`, index + "; charset=utf-8", trust.Verified},
		"both":                 {`{"manifests":[],` + config + `,"layers":[]}`, manifest, trust.Failed},
		"index with layers":    {`{"manifests":[],"layers":[]}`, index, trust.Failed},
		"index with null":      {`{"manifests":[],"config":null}`, index, trust.Failed},
		"index with history":   {`{"manifests":[],"history":[]}`, index, trust.Failed},
		"says index":           {`{"mediaType":"` + index + `",` + config + `}`, manifest, trust.Failed},
		"served as index":      {`{` + config + `}`, index, trust.Failed},
		"served as manifest":   {`{"manifests":[]}`, manifest, trust.Failed},
		"another kind":         {`{"mediaType":"` + manifest + `",` + config + `}`, string(types.DockerManifestSchema2), trust.Failed},
		"case":                 {`{"manifests":[],"Config":{}}`, index, trust.Unreachable},
		"key twice":            {`{"manifests":[],"manifests":[{}]}`, index, trust.Unreachable},
		"trailing":             {`{"manifests":[]}{}`, index, trust.Unreachable},
		"neither":              {`{"schemaVersion":2}`, index, trust.Unreachable},
		"schema 1":             {`{"fsLayers":[],"name":"x"}`, "application/vnd.docker.distribution.manifest.v1+json", trust.Unreachable},
		"no config":            {`{"layers":[]}`, manifest, trust.Unreachable},
		"digest is no digest":  {`{"manifests":[{"digest":"latest"}]}`, index, trust.Unreachable},
		"content type is none": {`{"manifests":[]}`, "a/b/c; =", trust.Unreachable},
		"no object":            {`[]`, index, trust.Unreachable},
	} {
		_, err := parseDocument([]byte(c.doc), c.served)
		if o, r := trust.Classify(err); o != c.o {
			t.Errorf("%s: %s %s %v", what, o, r, err)
		}
	}
}

// TestPayload: a simple signing document is for this digest and this image, and
// means one thing.
func TestPayload(t *testing.T) {
	repo, err := name.NewRepository("mirror.example.com/cache/widget")
	if err != nil {
		t.Fatal(err)
	}
	image := []byte("image")
	im := imageWith(repo, image)
	good := string(payload(image, widget))
	for what, c := range map[string]struct {
		payload string
		o       trust.Outcome
		r       trust.Reason
	}{
		"right":        {good, trust.Verified, ""},
		"no name":      {string(payload(image, "")), trust.Verified, ""},
		"other image":  {string(payload(image, "registry.example.com/acme/gadget")), trust.Failed, trust.ReasonWrongName},
		"no such name": {string(payload(image, "a b")), trust.Failed, trust.ReasonWrongName},
		"other digest": {string(payload([]byte("other"), widget)), trust.Failed, trust.ReasonWrongDigest},
		"upper case":   {strings.ReplaceAll(good, im.digest.Value, strings.ToUpper(im.digest.Value)), trust.Failed, trust.ReasonWrongDigest},
		"other type":   {strings.Replace(good, "cosign container image signature", "cosign anything", 1), trust.Failed, trust.ReasonWrongPredicate},
		"twice":        {strings.Replace(good, `{"critical"`, `{"critical":{},"critical"`, 1), trust.Unreachable, trust.ReasonMalformed},
		"case":         {strings.Replace(good, `"type"`, `"Type":"x","type"`, 1), trust.Unreachable, trust.ReasonMalformed},
		"trailing":     {good + "x", trust.Unreachable, trust.ReasonMalformed},
		"null":         {"null", trust.Failed, trust.ReasonWrongPredicate},
	} {
		err := checkPayload([]byte(c.payload), im)
		if o, r := trust.Classify(err); o != c.o || r != c.r {
			t.Errorf("%s: %s %s %v", what, o, r, err)
		}
	}
}

func imageWith(repo name.Repository, b []byte) image { return image{repo: repo, digest: digestOf(b)} }

type keys map[string][]byte

func (k keys) Materials(_ context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	if kind != trust.MaterialPublicKey || pkg.Name != "widget" {
		return nil, fmt.Errorf("asked for %s of %s", kind, pkg)
	}
	out := []trust.Material{{Kind: kind, Data: []byte("no key")}}
	for _, data := range k {
		out = append(out, trust.Material{Kind: kind, Data: data})
	}
	return out, nil
}

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// TestThreat032KeySignatures: a signature by a key counts by pinned keys alone.
func TestThreat032KeySignatures(t *testing.T) {
	k, pub := newKey(t)
	_, stranger := newKey(t)
	sign := func(b []byte) string {
		h := sha256.Sum256(b)
		sig, err := ecdsa.SignASN1(rand.Reader, k, h[:])
		if err != nil {
			t.Fatal(err)
		}
		return encode(sig)
	}
	with, err := dsse.SignWith(k)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		ms      keys
		subject string // of the signature: this image, or another
		o       trust.Outcome
		r       trust.Reason
	}{
		"pinned":        {keys{"a": pub}, "this", trust.Verified, ""},
		"other pinned":  {keys{"a": stranger}, "this", trust.Unreachable, trust.ReasonUnknownKey},
		"none pinned":   {nil, "this", trust.Unreachable, trust.ReasonUnknownKey},
		"other image":   {keys{"a": pub}, "other", trust.Failed, trust.ReasonWrongDigest},
		"changed after": {keys{"a": pub}, "changed", trust.Unreachable, trust.ReasonUnknownKey},
	} {
		for _, form := range []string{"sig", "att", "bundle"} {
			g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
			image := g.image("1")
			about := image
			if c.subject == "other" {
				about = g.image("2")
			}
			st := sigstoretest.Statement(predicateSign, m{}, sigstoretest.Subject{Name: widget, Digest: map[string]string{"sha256": digestOf(about).Value}})
			env, err := dsse.Sign(sigstore.PayloadType, st, with)
			if err != nil {
				t.Fatal(err)
			}
			signed := payload(about, widget)
			sig := sign(signed)
			if c.subject == "changed" {
				signed = append(signed, '\n')
				env = []byte(strings.Replace(string(env), encode(st), encode(append(st, '\n')), 1))
			}
			switch form {
			case "sig":
				layer := g.blob(typeSimpleSigning, signed)
				layer["annotations"] = m{annotationSignature: sig}
				g.legacy(image, ".sig", layer)
			case "att":
				g.legacy(image, ".att", g.blob(typeEnvelope, env))
			case "bundle":
				b, err := json.Marshal(m{"mediaType": bundleV03, "verificationMaterial": m{"publicKey": m{"hint": "x"}}, "dsseEnvelope": json.RawMessage(env)})
				if err != nil {
					t.Fatal(err)
				}
				g.refer(image, b)
			}
			e := find(t, collect(t, g.serve(c.ms), g.component(image)), trust.CheckPublisherSig)
			want(t, what+" by "+form, e, c.o, c.r)
			if e.Outcome == trust.Verified && (e.Assurance != trust.AssurancePublisher || e.Signer.Kind != trust.SignerKey) {
				t.Errorf("%s by %s: %+v", what, form, e)
			}
		}
	}
}

// TestReferrersFallbackTag: registries without the API are read by the tag.
func TestReferrersFallbackTag(t *testing.T) {
	g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), false)
	image := g.image("1")
	d := g.refer(image, g.provenance(image, widget, sigstoretest.Options{}, sigstoretest.Workflow{}))
	g.manifest(strings.Replace(digestOf(image).String(), ":", "-", 1), types.OCIImageIndex, m{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": []m{d}})
	want(t, "fallback", find(t, collect(t, g.serve(nil), g.component(image)), trust.CheckProvenance), trust.Verified, "")
}

// script answers for the list of referrers and leaves the rest to the registry.
func script(g *reg, f func(w http.ResponseWriter, r *http.Request) bool) {
	g.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/referrers/") && f(w, r) {
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

func list(w http.ResponseWriter, ds []m) {
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	if err := json.NewEncoder(w).Encode(m{"schemaVersion": 2, "manifests": ds}); err != nil {
		panic(err)
	}
}

// TestThreat100EndlessSignatures: more of anything than its bound is undecided,
// and the bound itself is read.
func TestThreat100EndlessSignatures(t *testing.T) {
	many := func(n int, d m) []m {
		out := make([]m, n)
		for i := range out {
			out[i] = d
		}
		return out
	}
	for what, c := range map[string]struct {
		referrers, pages int
		layers           int
		large            bool
		o                trust.Outcome
	}{
		"referrers":       {referrers: MaxSignatures, o: trust.Verified},
		"referrers over":  {referrers: MaxSignatures + 1, o: trust.Unreachable},
		"ten thousand":    {referrers: 10_000, o: trust.Unreachable},
		"pages":           {referrers: 1, pages: MaxReferrerPages, o: trust.Verified},
		"pages over":      {referrers: 1, pages: MaxReferrerPages + 1, o: trust.Unreachable},
		"layers":          {layers: MaxSignatures, o: trust.Verified},
		"layers over":     {layers: MaxSignatures + 1, o: trust.Unreachable},
		"a large payload": {layers: 1, large: true, o: trust.Unreachable},
	} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		image := g.image("1")
		if c.referrers > 0 {
			d := g.refer(image, g.provenance(image, widget, sigstoretest.Options{}, sigstoretest.Workflow{}))
			script(g, func(w http.ResponseWriter, r *http.Request) bool {
				var page int
				if _, err := fmt.Sscan(r.URL.Query().Get("page"), &page); err != nil {
					page = 1
				}
				if page < c.pages {
					w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, r.URL.Path, page+1))
				}
				list(w, many(c.referrers, d))
				return true
			})
		} else {
			signed := payload(image, widget)
			layer := g.blob(typeSimpleSigning, signed)
			layer["annotations"] = annotations(t, g.world.Bundle(sigstoretest.Options{Artifact: signed, Version: "0.1"}))
			if c.large {
				layer = g.blob(typeSimpleSigning, make([]byte, MaxPayload+1))
			}
			g.legacy(image, ".sig", many(c.layers, layer)...)
		}
		res := collect(t, g.serve(nil), g.component(image))
		e := res.Evidence[2] // behind those about the digest itself
		if e.Outcome != c.o || c.o == trust.Unreachable && e.Reason != trust.ReasonTooLarge || len(res.Evidence) != 3 {
			t.Errorf("%s: %d pieces of evidence, %s %s %s", what, len(res.Evidence), e.Outcome, e.Reason, e.Detail)
		}
	}
	if _, err := addReferrers(nil, referrerList(MaxReferrers)); err != nil {
		t.Error(err)
	}
	if _, err := addReferrers(nil, referrerList(MaxReferrers+1)); err == nil {
		t.Error("too many referrers were read")
	}
	for n, ok := range map[int]bool{MaxPlatforms: true, MaxPlatforms + 1: false} {
		if _, err := parseDocument(referrerList(n), ""); (err == nil) != ok {
			t.Errorf("%d platforms: %v", n, err)
		}
	}
	for n, ok := range map[int]bool{MaxManifest: true, MaxManifest + 1: false} {
		b := referrerList(1)
		b = append(b, []byte(strings.Repeat(" ", n-len(b)))...)
		if _, err := parseDocument(b, ""); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func referrerList(n int) []byte {
	d := `{"mediaType":"x","size":1,"digest":"sha256:` + strings.Repeat("a", 64) + `"}`
	return []byte(`{"manifests":[` + strings.TrimSuffix(strings.Repeat(d+",", n), ",") + `]}`)
}

// TestReferrersOfSomethingElse: what the registry lists must refer to the image,
// must be there, and must go on where it began.
func TestReferrersOfSomethingElse(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(g *reg, image []byte, w http.ResponseWriter, r *http.Request)
		o      trust.Outcome
		r      trust.Reason
	}{
		"of another image": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			other := g.image("2")
			list(w, []m{g.refer(other, g.provenance(image, widget, sigstoretest.Options{}, sigstoretest.Workflow{}))})
		}, trust.Failed, trust.ReasonWrongSubject},
		"not served": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			list(w, []m{{"mediaType": types.OCIManifestSchema1, "artifactType": bundleV03, "size": 3, "digest": digestOf([]byte("gone")).String()}})
		}, trust.Unreachable, trust.ReasonStripped},
		"next elsewhere": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<https://evil.example.com`+r.URL.Path+`?page=2>; rel="next"`)
			list(w, nil)
		}, trust.Unreachable, trust.ReasonMalformed},
		"next image": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `</v2/other/referrers/x>; rel="next"`)
			list(w, nil)
		}, trust.Unreachable, trust.ReasonMalformed},
		"refused": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}, trust.Unreachable, trust.ReasonNetwork},
		"broken": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
		}, trust.Unreachable, trust.ReasonNetwork},
		"no JSON": {func(g *reg, image []byte, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			io.WriteString(w, "{")
		}, trust.Unreachable, trust.ReasonMalformed},
	} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		image := g.image("1")
		script(g, func(w http.ResponseWriter, r *http.Request) bool {
			c.answer(g, image, w, r)
			return true
		})
		want(t, what, find(t, collect(t, g.serve(nil), g.component(image)), trust.CheckPublisherSig), c.o, c.r)
	}
}

// TestThreat009OddSubjects: null, none, several and nameless subjects are refused
// without a crash.
func TestThreat009OddSubjects(t *testing.T) {
	for _, subjects := range []string{`[null]`, `[]`, `null`, `[{"name":"widget"}]`, `[{"name":"widget","digest":{}}]`, `[{}]`} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		image := g.image("1")
		st := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + predicateSign + `","predicate":{},"subject":` + subjects + `}`)
		g.refer(image, g.world.Bundle(sigstoretest.Options{Statement: st}))
		for _, e := range collect(t, g.serve(nil), g.component(image)).Evidence {
			if e.Outcome == trust.Verified && e.Check != trust.CheckBytes && e.Check != trust.CheckLockfile || e.Assurance > trust.AssuranceNone {
				t.Errorf("%s: verified", subjects)
			}
		}
	}
	g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
	image := g.image("1")
	sub := sigstoretest.Subject{Name: widget, Digest: map[string]string{"sha256": digestOf(image).Value}}
	g.refer(image, g.world.Bundle(sigstoretest.Options{Statement: sigstoretest.Statement(predicateSign, m{}, sigstoretest.Subject{Name: widget, Digest: map[string]string{"sha256": strings.Repeat("a", 64)}}, sub)}))
	want(t, "second subject", find(t, collect(t, g.serve(nil), g.component(image)), trust.CheckPublisherSig), trust.Failed, trust.ReasonWrongSubject)
}

// TestThreat075And104TokenServices: a registry that challenges is answered, and its
// credentials stay with it, whatever realm it names.
func TestThreat075And104TokenServices(t *testing.T) {
	const secret = "Basic dXNlcjpodW50ZXIy"
	var foreign []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		foreign = append(foreign, r.Header.Get("Authorization"))
		io.WriteString(w, `{"token":"t0ken"}`)
	}))
	t.Cleanup(other.Close)
	for what, c := range map[string]struct {
		realm, creds, accepts string
		o                     trust.Outcome
	}{
		"anonymous":        {"own", "", "Bearer t0ken", trust.Verified},
		"own realm":        {"own", secret, "Bearer t0ken", trust.Verified},
		"foreign realm":    {other.URL + "/token", secret, "Bearer t0ken", trust.Verified},
		"no realm":         {"", secret, "Bearer t0ken", trust.Unreachable},
		"realm with user":  {"http://u:p@" + strings.TrimPrefix(other.URL, "http://") + "/", secret, "Bearer t0ken", trust.Unreachable},
		"realm of a file":  {"file:///etc/passwd", secret, "Bearer t0ken", trust.Unreachable},
		"never accepted":   {"own", secret, "Bearer other", trust.Unreachable},
		"basic":            {"basic", secret, secret, trust.Verified},
		"basic, none here": {"basic", "", secret, trust.Unreachable},
	} {
		env := adaptertest.NewEnv(t, adaptertest.Right)
		g := newReg(t, env, true)
		image := g.image("1")
		tokens := 0
		g.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					tokens++
					if got := r.Header.Get("Authorization"); c.creds != "" && got != c.creds {
						t.Errorf("%s: the token service got %q", what, got)
					}
					if s := r.URL.Query().Get("scope"); s != "repository:acme/widget:pull" {
						t.Errorf("%s: scope %q", what, s)
					}
					io.WriteString(w, `{"token":"t0ken"}`)
					return
				}
				if r.Header.Get("Authorization") != c.accepts {
					realm := c.realm
					if realm == "own" {
						realm = "http://" + g.host + "/token"
					}
					header := `Bearer realm="` + realm + `",service="registry.example.com",scope="repository:other/secret:push,pull"`
					if c.realm == "basic" {
						header = `Basic realm="x"`
					}
					w.Header().Set("WWW-Authenticate", header)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				h.ServeHTTP(w, r)
			})
		}
		g.serve(nil)
		get, err := upstream.New(upstream.Config{
			Insecure: []string{g.host, strings.TrimPrefix(other.URL, "http://")}, Getenv: func(string) string { return "" },
			Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{credentials: map[string]string{}}
		if c.creds != "" {
			cfg.credentials[g.host] = c.creds
		}
		a := New(Options{Get: get, Config: cfg, Root: g.verifier})
		res := collect(t, a, g.component(image))
		e := find(t, res, trust.CheckBytes)
		if e.Outcome != c.o {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if c.o == trust.Verified && c.realm == "own" && tokens != 1 {
			t.Errorf("%s: %d tokens for one repository", what, tokens)
		}
		for _, e := range res.Evidence {
			if s := fmt.Sprintf("%+v", e); strings.Contains(s, "dXNlcjpodW50ZXIy") || strings.Contains(s, "t0ken") {
				t.Errorf("%s: evidence shows a secret", what)
			}
		}
	}
	if len(foreign) == 0 {
		t.Error("the foreign token service was never asked")
	}
	for _, got := range foreign {
		if got != "" {
			t.Errorf("the foreign token service got %q", got)
		}
	}
}

func TestSameOwner(t *testing.T) {
	for c, ok := range map[[2]string]bool{
		{"https://registry.example.com", "https://registry.example.com/token"}:   true,
		{"https://registry.example.com", "https://auth.example.com/token"}:       true,
		{"https://registry.example.com", "https://example.com.evil.org/token"}:   false,
		{"https://registry.example.com", "https://evil.org/token"}:               false,
		{"https://registry.example.com", "http://registry.example.com/token"}:    false,
		{"https://registry.example.com", "https://registry.example.com:8443/t"}:  false,
		{"https://a.github.io", "https://b.github.io/token"}:                     false, // a public suffix
		{"https://a.co.uk", "https://b.co.uk/token"}:                             false,
		{"https://192.0.2.1", "https://192.0.2.2/token"}:                         false,
		{"https://192.0.2.1", "https://192.0.2.1/token"}:                         true,
		{"https://registry.example.com", "https://registry.example.com./token"}:  false,
		{"https://registry.example.com:5000", "https://auth.example.com/token"}:  false,
		{"https://REGISTRY.example.com", "https://registry.EXAMPLE.com/a/token"}: true,
	} {
		u, err := url.Parse(c[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := sameOwner(u, c[0]); got != ok {
			t.Errorf("%v: %t", c, got)
		}
	}
}

func TestParseChallenge(t *testing.T) {
	scheme, p, err := parseChallenge(`Bearer realm="https://auth.example.com/token", service="a \"b\"",scope=x`)
	if err != nil || scheme != "bearer" || p["realm"] != "https://auth.example.com/token" || p["service"] != `a "b"` || p["scope"] != "x" {
		t.Errorf("%s %v %v", scheme, p, err)
	}
	for _, bad := range []string{`Bearer realm="x`, `Bearer realm`, `Bearer realm="a",realm="b"`, `Bearer realm="a" x`, `Basic realm="a", Bearer realm="b"`, "Bearer " + strings.Repeat("a", maxChallenge)} {
		if _, p, err := parseChallenge(bad); err == nil {
			t.Errorf("%.60s: %v", bad, p)
		}
	}
}

// TestImageOf: names are expanded as docker does, and contradictions refused.
func TestImageOf(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	for purl, c := range map[string]string{
		"pkg:oci/nginx@" + sum + "?repository_url=nginx":                                      name.DefaultRegistry + "/library/nginx",
		"pkg:oci/nginx@" + sum + "?repository_url=docker.io/nginx":                            name.DefaultRegistry + "/library/nginx",
		"pkg:oci/app@" + sum + "?repository_url=acme/app":                                     name.DefaultRegistry + "/acme/app",
		"pkg:oci/app@" + sum + "?repository_url=registry.example.com:5000/a/b/app":            "registry.example.com:5000/a/b/app",
		"pkg:oci/app@" + sum + "?repository_url=localhost/app":                                "localhost/app",
		"pkg:docker/nginx@" + sum:                                                             name.DefaultRegistry + "/library/nginx",
		"pkg:docker/acme/app@" + sum + "?repository_url=registry.example.com":                 "registry.example.com/acme/app",
		"pkg:docker/acme/app@1.2":                                                             name.DefaultRegistry + "/acme/app",
		"pkg:oci/app@" + sum:                                                                  "",
		"pkg:oci/app@" + sum + "?repository_url=registry.example.com/acme/other":              "",
		"pkg:oci/app@" + sum + "?repository_url=registry.example.com/../app":                  "",
		"pkg:oci/app@md5:d41d8cd98f00b204e9800998ecf8427e?repository_url=acme/app":            "",
		"pkg:oci/app@sha256:abc?repository_url=acme/app":                                      "",
		"pkg:oci/app@" + sum + "?repository_url=acme/app&tag=a%2Fb":                           "",
		"pkg:oci/app@" + sum + "?repository_url=https://user:x@registry.example.com/acme/app": "",
	} {
		r, err := trust.ParseRelease(strings.Replace(purl, "@sha256:", "@sha256%3A", 1))
		if err != nil {
			t.Fatalf("%s: %v", purl, err)
		}
		im, err := imageOf(sbom.Component{Release: r})
		if got := im.repo.Name(); (err == nil) != (c != "") || err == nil && got != c {
			t.Errorf("%s: %s %v, want %s", purl, got, err, c)
		}
	}
	r, err := trust.ParseRelease("pkg:oci/app@sha256%3A" + strings.Repeat("a", 64) + "?repository_url=acme/app")
	if err != nil {
		t.Fatal(err)
	}
	b := digestOf([]byte("b"))
	for what, arts := range map[string][]trust.Artifact{"other digest": {{Digests: trust.Digests{b}}}, "two": {{}, {}}} {
		if _, err := imageOf(sbom.Component{Release: r, Artifacts: arts}); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	env := func(k string) string { return map[string]string{"DOCKER_CONFIG": dir}[k] }
	if cfg, err := ConfigFromEnv(env, ""); err != nil || len(cfg.credentials) != 0 {
		t.Errorf("%+v %v", cfg, err)
	}
	write := func(s string) {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"auths":{"https://` + name.DefaultRegistry + `/v1/":{"auth":"` + encode([]byte("u:hunter2")) + `"},"registry.example.com":{"username":"a","password":"b"},"x.example.com":{"identitytoken":"z1dentity"},"y.example.com":{"registrytoken":"tok"},"e.example.com":{}},"credsStore":"desktop"}`)
	cfg, err := ConfigFromEnv(env, "")
	if err != nil {
		t.Fatal(err)
	}
	for host, header := range map[string]string{name.DefaultRegistry: upstream.Basic("u", "hunter2"), "registry.example.com": upstream.Basic("a", "b"), "y.example.com": "Bearer tok"} {
		if cfg.credentials[host] != header {
			t.Errorf("%s: wrong credentials", host)
		}
	}
	if len(cfg.credentials) != 3 || len(cfg.Notes) != 1 || cfg.identity["x.example.com"] != "z1dentity" {
		t.Errorf("%d credentials, notes %q", len(cfg.credentials), cfg.Notes)
	}
	if s := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "hunter2") || strings.Contains(s, "tok\"") || strings.Contains(s, "z1dentity") {
		t.Errorf("secrets are shown: %s", s)
	}
	for _, bad := range []string{`{"auths":"hunter2"}`, `hunter2`, `{"auths":{"registry.example.com":{"auth":"hunter2!"}}}`} {
		write(bad)
		if _, err := ConfigFromEnv(env, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	write(strings.Repeat(" ", MaxConfigFile-2) + "{}")
	if _, err := ConfigFromEnv(env, ""); err != nil {
		t.Error(err)
	}
	write(strings.Repeat(" ", MaxConfigFile-1) + "{}")
	if _, err := ConfigFromEnv(env, ""); err == nil {
		t.Error("a configuration beyond its bound was read")
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"manifests":[]}`), string(types.OCIImageIndex))
	f.Add(referrerList(2), "")
	f.Add([]byte(`{"config":{"digest":"sha256:`+strings.Repeat("a", 64)+`"},"layers":[]}`), string(types.OCIManifestSchema1))
	f.Fuzz(func(t *testing.T, b []byte, served string) {
		d, err := parseDocument(b, served)
		if err != nil {
			return
		}
		if d.index && (d.Config != nil || len(d.Layers) > 0) || !d.index && (d.Config == nil || len(d.Manifests) > 0) {
			t.Fatalf("two meanings: %s", b)
		}
		_ = d.describe()
	})
}

func FuzzParseChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example.com/token",service="x"`)
	f.Add(`Basic realm=\"`)
	f.Fuzz(func(t *testing.T, s string) {
		scheme, _, err := parseChallenge(s)
		if err == nil && strings.Contains(scheme, " ") {
			t.Fatalf("%q", scheme)
		}
	})
}

func FuzzSignatureAnnotations(f *testing.F) {
	f.Add([]byte("{}"), "AA==", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", `{"SignedEntryTimestamp":"","Payload":{"body":"e30="}}`, `{"SignedRFC3161Timestamp":"AA=="}`)
	f.Fuzz(func(t *testing.T, b []byte, sig, cert, bundle, ts string) {
		ann := map[string]string{annotationSignature: sig, annotationCertificate: cert, annotationBundle: bundle, annotationTimestamp: ts}
		for _, c := range []candidate{simpleSigning(b, ann), attestation(b, ann), bundled(b)} {
			set := 0
			for _, is := range []bool{c.bundle != nil, c.envelope != nil, c.signature != nil, c.err != nil} {
				if is {
					set++
				}
			}
			if set != 1 {
				t.Fatalf("candidate is %d things: %+v", set, c)
			}
		}
	})
}
