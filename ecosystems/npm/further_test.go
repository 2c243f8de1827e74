package npm

import (
	"slices"
	"testing"

	"github.com/headgate/headgate/trust"
)

// An SBOM can state several downloads of one release: each is judged.
func TestFurtherArtifacts(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	good := component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), g.base+"a/-/a-1.0.0.tgz")
	failed := func(resolved, content string) []trust.Reason {
		c := good
		c.Artifacts = slices.Concat(good.Artifacts, component(t, "a", "1.0.0", sri([]byte(content)), resolved).Artifacts)
		var out []trust.Reason
		for _, e := range g.collect(a, c, 0).Evidence {
			if e.Outcome == trust.Failed {
				out = append(out, e.Reason)
			}
		}
		return out
	}
	if got := failed(g.base+"a/-/a-1.0.0.tgz", "a@1.0.0"); len(got) != 0 {
		t.Errorf("the same twice: %v", got)
	}
	if got := failed("https://evil.example.com/a/-/a-1.0.0.tgz", "a@1.0.0"); !slices.Contains(got, trust.ReasonForeignSource) {
		t.Errorf("elsewhere: %v", got)
	}
	if got := failed(g.base+"a/-/a-1.0.0.tgz", "other"); !slices.Contains(got, trust.ReasonWrongDigest) {
		t.Errorf("other bytes: %v", got)
	}
}
