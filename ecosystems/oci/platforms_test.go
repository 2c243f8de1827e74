package oci

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// multi uploads an index of the images, whose platforms are those of archs.
func (g *reg) multi(archs []string, images [][]byte, more ...m) []byte {
	g.t.Helper()
	var list []m
	for i, image := range images {
		list = append(list, m{"mediaType": types.OCIManifestSchema1, "digest": digestOf(image).String(), "size": len(image), "platform": m{"os": "linux", "architecture": archs[i]}})
	}
	b, err := json.Marshal(m{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": append(list, more...)})
	if err != nil {
		g.t.Fatal(err)
	}
	if g.loose == nil {
		g.loose = map[string][]byte{}
	}
	g.loose[digestOf(b).String()] = b
	return b
}

// TestIndexBySignedImages: an index without signatures is verified only if every
// image that it lists, or that is used, is signed by one signer.
func TestIndexBySignedImages(t *testing.T) {
	const subject = "registry.example.com/acme/widget"
	own, evil := sigstoretest.Workflow{}, sigstoretest.Workflow{Repository: "mallory/widget", RepoID: "9", OwnerID: "8"}
	for what, c := range map[string]struct {
		signers []*sigstoretest.Workflow // of amd64, arm64; nil for none
		edit    func(g *reg, images [][]byte) []m
		arch    string
		o       trust.Outcome
		r       trust.Reason
		detail  string
	}{
		"all":                     {[]*sigstoretest.Workflow{&own, &own}, nil, "", trust.Verified, "", "linux/amd64, linux/arm64"},
		"one of two":              {[]*sigstoretest.Workflow{&own, nil}, nil, "", trust.Absent, trust.ReasonNotPublished, "those for linux/amd64 are signed, those for linux/arm64 are not"},
		"none":                    {[]*sigstoretest.Workflow{nil, nil}, nil, "", trust.Absent, trust.ReasonNotPublished, "none of its image for linux/amd64, the first of 2"},
		"two people":              {[]*sigstoretest.Workflow{&own, &evil}, nil, "", trust.Absent, trust.ReasonNotPublished, "different signers"},
		"only the used one":       {[]*sigstoretest.Workflow{&own, nil}, nil, "amd64", trust.Verified, "", "linux/amd64"},
		"the used one is not":     {[]*sigstoretest.Workflow{&own, nil}, nil, "arm64", trust.Absent, trust.ReasonNotPublished, "the first of 1"},
		"no image is of that use": {[]*sigstoretest.Workflow{&own, &own}, nil, "s390x", trust.Absent, trust.ReasonNotPublished, "lists no image"},
		"foreign authority": {[]*sigstoretest.Workflow{&own, nil}, func(g *reg, images [][]byte) []m {
			g.refer(images[1], g.provenance(images[1], subject, sigstoretest.Options{Fault: sigstoretest.FaultForeignCA}, own))
			return nil
		}, "", trust.Failed, trust.ReasonUntrustedSigner, "linux/arm64 of the index: "},
		"signature of another image": {[]*sigstoretest.Workflow{&own, nil}, func(g *reg, images [][]byte) []m {
			g.refer(images[1], g.provenance(images[0], subject, sigstoretest.Options{}, own))
			return nil
		}, "", trust.Failed, trust.ReasonWrongDigest, "linux/arm64"},
		"builders' attestations are no images": {[]*sigstoretest.Workflow{&own, &own}, func(g *reg, images [][]byte) []m {
			return []m{{"mediaType": types.OCIManifestSchema1, "digest": digestOf([]byte("x")).String(), "size": 1, "platform": m{"os": "unknown", "architecture": "unknown"}, "annotations": m{annotationReference: "attestation-manifest"}}}
		}, "", trust.Verified, "", ""},
		"an image that is called an attestation": {[]*sigstoretest.Workflow{&own, &own}, func(g *reg, images [][]byte) []m {
			return []m{{"mediaType": types.OCIManifestSchema1, "digest": digestOf([]byte("x")).String(), "size": 1, "platform": m{"os": "linux", "architecture": "riscv64"}, "annotations": m{annotationReference: "attestation-manifest"}}}
		}, "", trust.Absent, trust.ReasonNotPublished, "those for linux/riscv64 are not"},
		"an index inside": {[]*sigstoretest.Workflow{&own, &own}, func(g *reg, images [][]byte) []m {
			inner := g.multi([]string{"arm"}, [][]byte{g.image("3")})
			g.refer(inner, g.provenance(inner, subject, sigstoretest.Options{}, own))
			return []m{{"mediaType": types.OCIImageIndex, "digest": digestOf(inner).String(), "size": len(inner), "platform": m{"os": "linux", "architecture": "arm"}}}
		}, "", trust.Unreachable, trust.ReasonUnsupported, "an index inside an index"},
		"not served": {[]*sigstoretest.Workflow{&own, &own}, func(g *reg, images [][]byte) []m {
			gone := []byte("gone")
			g.refer(gone, g.provenance(gone, subject, sigstoretest.Options{}, own))
			return []m{{"mediaType": types.OCIManifestSchema1, "digest": digestOf(gone).String(), "size": 4, "platform": m{"os": "linux", "architecture": "arm"}}}
		}, "", trust.Unreachable, trust.ReasonStripped, "does not serve it"},
		"names no digest": {[]*sigstoretest.Workflow{&own, &own}, func(g *reg, images [][]byte) []m {
			return []m{{"mediaType": types.OCIManifestSchema1, "digest": "sha1:" + strings.Repeat("a", 40), "size": 4}}
		}, "", trust.Unreachable, trust.ReasonMalformed, ""},
	} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		images := [][]byte{g.image("1"), g.image("2")}
		for i, s := range c.signers {
			if s != nil {
				g.refer(images[i], g.provenance(images[i], subject, sigstoretest.Options{}, *s))
			}
		}
		var more []m
		if c.edit != nil {
			more = c.edit(g, images)
		}
		index := g.multi([]string{"amd64", "arm64"}, images, more...)
		a := g.serve(nil)
		comp := g.component(index)
		if c.arch != "" {
			comp.Release = comp.Release.WithVariant("arch", c.arch)
		}
		res := collect(t, a, comp)
		var es []trust.Evidence
		for _, e := range res.Evidence {
			if e.Check == trust.CheckPublisherSig || e.Check == trust.CheckProvenance {
				es = append(es, e)
			}
		}
		if what == "names no digest" && len(es) == 0 {
			// The index itself cannot be read then.
			es = append(es, find(t, res, trust.CheckBytes))
		}
		if len(es) != 1 || es[0].Outcome != c.o || es[0].Reason != c.r || !strings.Contains(es[0].Detail, c.detail) {
			t.Errorf("%s: %d pieces of evidence", what, len(es))
			for _, e := range es {
				t.Errorf("%s: %s %s %s: %s", what, e.Check, e.Outcome, e.Reason, e.Detail)
			}
			continue
		}
		if e := es[0]; e.Outcome == trust.Verified && (e.Assurance != trust.AssuranceProvenance || !e.Artifact.Digests[0].Equal(digestOf(index)) || e.Signer.SourceRepository == "" || bundles(e) != len(images) && c.arch == "") {
			t.Errorf("%s: %s of %s by %s, %d bundles are kept", what, e.Assurance, e.Artifact.Digests, e.Signer, bundles(e))
		}
		if c.o == trust.Verified && res.Facts.Published.IsZero() {
			t.Errorf("%s: the age of the images is not known", what)
		}
	}
}

func bundles(e trust.Evidence) int {
	n := 0
	for _, raw := range e.Raw {
		if raw.Name == "bundle" {
			n++
		}
	}
	return n
}

// TestPlatformBound: at the bound of judged images and one above it.
func TestPlatformBound(t *testing.T) {
	for n, o := range map[int]trust.Outcome{MaxJudgedPlatforms: trust.Verified, MaxJudgedPlatforms + 1: trust.Unreachable} {
		g := newReg(t, adaptertest.NewEnv(t, adaptertest.Right), true)
		var archs []string
		var images [][]byte
		image := g.image("1")
		g.refer(image, g.provenance(image, "registry.example.com/acme/widget", sigstoretest.Options{}, sigstoretest.Workflow{}))
		for i := range n {
			archs, images = append(archs, fmt.Sprint("a", i)), append(images, image)
		}
		index := g.multi(archs, images)
		check := trust.CheckProvenance
		if o != trust.Verified {
			check = trust.CheckPublisherSig
		}
		a := g.serve(nil)
		if e := find(t, collect(t, a, g.component(index)), check); e.Outcome != o || o != trust.Verified && e.Reason != trust.ReasonTooLarge {
			t.Errorf("%d images: %s %s %s", n, e.Outcome, e.Reason, e.Detail)
		}
	}
}
