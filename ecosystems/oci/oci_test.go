package oci

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublisherSig, trust.CheckProvenance},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			g := newReg(t, env, true)
			image, other := g.image("1"), g.image("2")
			wf := sigstoretest.Workflow{}
			name, signed := "registry.example.com/acme/widget", payload(image, "registry.example.com/acme/widget")
			prov := sigstoretest.Options{}
			switch env.Scenario {
			case adaptertest.WrongName:
				name = "registry.example.com/acme/gadget"
				signed = payload(image, name)
			case adaptertest.WrongVersion, adaptertest.WrongDigest:
				signed = payload(other, name)
			case adaptertest.Replayed: // what was signed when another image had the tag
				signed = payload(other, name)
			case adaptertest.ForeignSigner:
				prov.Fault = sigstoretest.FaultForeignCA
			case adaptertest.Expired:
				prov.Fault = sigstoretest.FaultExpired
			}
			switch env.Scenario {
			case adaptertest.Stripped:
			case adaptertest.WrongVersion, adaptertest.WrongDigest, adaptertest.Replayed:
				b := g.provenance(other, name, prov, wf)
				g.refer(image, b)
				g.sign(image, signed, prov)
			case adaptertest.Duplicate:
				g.refer(image, g.provenance(image, name, prov, wf))
				g.refer(image, g.provenance(image, name, prov, sigstoretest.Workflow{Repository: "mallory/widget", RepoID: "9", OwnerID: "8"}))
			default:
				g.refer(image, g.provenance(image, name, prov, wf))
				g.sign(image, signed, prov)
			}
			ad := g.serve(nil)
			return adaptertest.World{
				Adapter: ad, Request: adapter.Request{Component: g.component(image), Bytes: true},
				Artifact: trust.Artifact{Digests: trust.Digests{digestOf(image)}}, Bytes: image,
			}
		},
	})
}

func TestIndexAndPlatformAreDifferentDigests(t *testing.T) {
	g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
	single := g.image("1")
	_, index := g.manifest("multi", types.OCIImageIndex, m{
		"schemaVersion": 2, "mediaType": types.OCIImageIndex, "annotations": m{annotationSource: "https://github.com/acme/widget"},
		"manifests": []m{{"mediaType": types.OCIManifestSchema1, "digest": digestOf(single).String(), "size": len(single), "platform": m{"os": "linux", "architecture": "amd64"}}},
	})
	g.refer(index, g.provenance(index, "registry.example.com/acme/widget", sigstoretest.Options{}, sigstoretest.Workflow{}))
	a := g.serve(nil)
	res := collect(t, a, g.component(index))
	want(t, "index", find(t, res, trust.CheckProvenance), trust.Verified, "")
	if e := find(t, res, trust.CheckBytes); e.Detail != "the digest stands for an index of images linux/amd64" {
		t.Errorf("detail: %s", e.Detail)
	}
	if res.Facts.Repository != "https://github.com/acme/widget" {
		t.Errorf("facts: %+v", res.Facts)
	}
	res = collect(t, a, g.component(single))
	want(t, "platform", find(t, res, trust.CheckPublisherSig), trust.Absent, trust.ReasonNotPublished)
	// What a policy asks of an update that nobody signs: source, registry and bytes agree.
	want(t, "stated digest", find(t, res, trust.CheckLockfile), trust.Verified, "")
	want(t, "bytes", find(t, res, trust.CheckBytes), trust.Verified, "")
	if res.Facts.Repository != "https://github.com/acme/widget" || res.Facts.Published.IsZero() {
		t.Errorf("facts: %+v", res.Facts)
	}
}

// TestTagIsNoIdentity: what a tag leads to is shown, and nothing is verified by it.
func TestTagIsNoIdentity(t *testing.T) {
	g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
	image := g.image("1")
	g.refer(image, g.provenance(image, "registry.example.com/acme/widget", sigstoretest.Options{}, sigstoretest.Workflow{}))
	a := g.serve(nil)
	res := collect(t, a, g.component(nil))
	if len(res.Evidence) != 1 {
		t.Fatalf("%+v", res.Evidence)
	}
	e := res.Evidence[0]
	want(t, "tag", e, trust.Absent, trust.ReasonNoLockDigest)
	if wantHint := "pin the image by its digest; at the moment the tag leads to " + digestOf(image).String() + ", the manifest of one image"; e.Remedy != wantHint {
		t.Errorf("remedy: %s", e.Remedy)
	}
}
