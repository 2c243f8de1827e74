package adapter

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func TestElsewhere(t *testing.T) {
	r, err := trust.ParseRelease("pkg:gem/a@1")
	if err != nil {
		t.Fatal(err)
	}
	commit := strings.Repeat("a", 40)
	for what, c := range map[string]struct {
		c      sbom.Component
		reason trust.Reason // "" if the registry is to be asked
		detail string
	}{
		"registry":    {sbom.Component{Kind: sbom.KindRegistry}, "", ""},
		"unknown":     {sbom.Component{Kind: sbom.KindUnknown}, "", ""},
		"path":        {sbom.Component{Kind: sbom.KindPath, Origin: "../a"}, trust.ReasonLocal, "part of the project"},
		"workspace":   {sbom.Component{Kind: sbom.KindWorkspace}, trust.ReasonLocal, "part of the project"},
		"pinned git":  {sbom.Component{Kind: sbom.KindGit, Origin: "https://git.example.com/a", Commit: commit, Pinned: true}, trust.ReasonNotOffered, "(https://git.example.com/a at the commit " + commit + "), not from a gem server"},
		"moving git":  {sbom.Component{Kind: sbom.KindGit, Origin: "https://git.example.com/a", Commit: commit}, trust.ReasonNotOffered, "a ref that can move, " + commit + " for now"},
		"no commit":   {sbom.Component{Kind: sbom.KindGit, Origin: "https://git.example.com/a"}, trust.ReasonNotOffered, "no commit that the source names"},
		"url":         {sbom.Component{Kind: sbom.KindURL, Origin: "https://example.com/a.gem"}, trust.ReasonNotOffered, "comes from https://example.com/a.gem, not"},
		"bundled":     {sbom.Component{Kind: sbom.KindBundled}, trust.ReasonNotOffered, "inside another package"},
		"toolchain":   {sbom.Component{Kind: sbom.KindToolchain}, trust.ReasonNotOffered, "(toolchain)"},
		"later kind":  {sbom.Component{Kind: "satellite"}, trust.ReasonNotOffered, "(satellite)"},
		"no kind":     {sbom.Component{}, trust.ReasonNotOffered, "does not come from a gem server"},
		"long origin": {sbom.Component{Kind: sbom.KindURL, Origin: strings.Repeat("x", maxClip+1)}, trust.ReasonNotOffered, strings.Repeat("x", maxClip) + "…,"},
	} {
		c.c.Release = r
		e, ok := Elsewhere(c.c, "a gem server")
		if ok != (c.reason != "") {
			t.Errorf("%s: %v", what, ok)
			continue
		}
		if !ok {
			continue
		}
		if e.Outcome != trust.Absent || e.Reason != c.reason || !strings.Contains(e.Detail, c.detail) {
			t.Errorf("%s: %s %s: %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestStated(t *testing.T) {
	if a := Stated(sbom.Component{}); a.Name != "" || a.Digests != nil {
		t.Errorf("%+v of none", a)
	}
	if a := Stated(sbom.Component{Artifacts: []trust.Artifact{{Name: "a"}, {Name: "b"}}}); a.Name != "a" {
		t.Errorf("%+v of two", a)
	}
}
