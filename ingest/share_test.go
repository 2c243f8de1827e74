package ingest

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// again is a copy that shares no memory.
func again(c sbom.Component) sbom.Component {
	c.Release.Package.Name, c.Release.Version = strings.Clone(c.Release.Package.Name), strings.Clone(c.Release.Version)
	a := c.Artifacts[0]
	a.URL, a.Digests = strings.Clone(a.URL), append(trust.Digests{}, a.Digests...)
	c.Artifacts = []trust.Artifact{a}
	return c
}

func stated(t *testing.T, name string) sbom.Component {
	r, err := trust.NewRelease("npm", "", name, "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	d := trust.NewRaw("", "", []byte(name)).Digest
	return sbom.Component{Release: r, Artifacts: []trust.Artifact{{URL: "https://registry.example.com/" + name, Digests: trust.Digests{d}}}}
}

func evidenceOn(c sbom.Component) []trust.Evidence {
	return []trust.Evidence{
		{Check: trust.CheckLockfile, Outcome: trust.Verified, Release: c.Release, Artifact: c.Artifacts[0], Source: "https://registry.example.com", Root: trust.NewRaw("", "", nil).Digest},
		{Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: c.Release, Artifact: c.Artifacts[0], Source: strings.Clone("https://registry.example.com"), Assurance: trust.AssuranceRegistry,
			Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}, Raw: []trust.Raw{trust.NewRaw("packument", "application/json", []byte("{}"))}},
	}
}

func TestSharedChangesNoValue(t *testing.T) {
	s := newShared()
	a, b := stated(t, "a"), stated(t, "b")
	ea, eb, other := evidenceOn(again(a)), evidenceOn(again(b)), evidenceOn(again(b))
	eb[1].Signer = &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}
	other[1].Signer = &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("cd", 32)}
	other[0].Artifact.URL = "https://elsewhere.example.com/b.tgz"
	var want [3][]trust.Evidence
	for i, es := range [][]trust.Evidence{ea, eb, other} {
		for _, e := range es {
			sg := e.Signer
			if sg != nil {
				copied := *sg
				e.Signer = &copied
			}
			want[i] = append(want[i], e)
		}
	}
	s.evidence(&a, ea)
	s.evidence(&b, eb)
	s.evidence(&b, other)
	for i, es := range [][]trust.Evidence{ea, eb, other} {
		if !reflect.DeepEqual(es, want[i]) {
			t.Errorf("%d changed:\n%+v\n%+v", i, es, want[i])
		}
	}
	if ea[1].Signer != eb[1].Signer {
		t.Error("equal signers are not shared")
	}
	if eb[1].Signer == other[1].Signer {
		t.Error("different signers are one")
	}
	if unsafe.StringData(ea[0].Release.Package.Name) != unsafe.StringData(a.Release.Package.Name) || &ea[0].Artifact.Digests[0] != &a.Artifacts[0].Digests[0] {
		t.Error("evidence does not share what its component states")
	}

	ks := []store.KnownRelease{{Release: again(a).Release, Artifacts: again(a).Artifacts}, {Release: b.Release, Artifacts: again(b).Artifacts}}
	s.known(&a, ks)
	if &ks[0].Artifacts[0] != &a.Artifacts[0] || !reflect.DeepEqual(ks[1].Artifacts, b.Artifacts) || ks[1].Release != b.Release {
		t.Errorf("%+v", ks)
	}
}

func TestSharedIsBounded(t *testing.T) {
	s := newShared()
	for i := range maxShared + 10 {
		text := strings.Repeat("x", i+1)
		s.text(&text)
		if len(text) != i+1 {
			t.Fatalf("text %d became %d long", i+1, len(text))
		}
	}
	if len(s.texts) != maxShared {
		t.Errorf("%d texts", len(s.texts))
	}
}
