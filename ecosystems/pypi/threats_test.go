package pypi

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestThreat067HighestVersionOfAllIndexes: a name that a private index has is not
// taken from a public one, whatever version is there; the public one is not even asked.
func TestThreat067HighestVersionOfAllIndexes(t *testing.T) {
	files := func(version, content string) map[string]any {
		name := "billing-" + version + "-py3-none-any.whl"
		return map[string]any{"meta": map[string]string{"api-version": "1.4"}, "name": "billing", "files": []any{
			map[string]any{"filename": name, "url": "../../files/" + name, "hashes": map[string]string{"sha256": digest(content).Value}}}}
	}
	for name, tc := range map[string]struct {
		purl, content string
		state         string // of the private index
		public        bool   // whether the public one is asked
		outcome       trust.Outcome
		reason        trust.Reason
		index         string // that the source names
	}{
		"private":                     {"pkg:pypi/billing@1.0.0", "own", "has", false, trust.Verified, "", ""},
		"higher and public":           {"pkg:pypi/billing@99.0.0", "evil", "has", false, trust.Unreachable, trust.ReasonForeignSource, ""},
		"public bytes, own version":   {"pkg:pypi/billing@1.0.0", "evil", "has", false, trust.Unreachable, trust.ReasonForeignSource, ""},
		"private index down":          {"pkg:pypi/billing@99.0.0", "evil", "down", false, trust.Unreachable, trust.ReasonNetwork, ""},
		"not the private index's":     {"pkg:pypi/billing@99.0.0", "evil", "none", true, trust.Verified, "", ""},
		"private, named":              {"pkg:pypi/billing@1.0.0", "own", "has", false, trust.Verified, "", "private"},
		"higher, private index named": {"pkg:pypi/billing@99.0.0", "evil", "has", false, trust.Failed, trust.ReasonWrongDigest, "private"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			var asked atomic.Int32
			env := adaptertest.NewEnv(t, adaptertest.Right)
			base := env.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
				var doc any
				switch {
				case strings.HasPrefix(r.URL.Path, "/public/"):
					asked.Add(1)
					doc = files("99.0.0", "evil")
				case tc.state == "down":
					http.Error(w, "down", http.StatusServiceUnavailable)
					return
				case tc.state == "none":
					http.NotFound(w, r)
					return
				default:
					doc = files("1.0.0", "own")
				}
				if err := json.NewEncoder(w).Encode(doc); err != nil {
					t.Log(err)
				}
			}))
			private, public := base+"/private/simple/", base+"/public/simple/"
			cfg := Config{Index: public, Extra: []string{private}}
			r, err := trust.ParseRelease(tc.purl)
			if err != nil {
				t.Fatal(err)
			}
			c := sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{digest(tc.content)}}}}
			if tc.index != "" {
				c.Registry = private
			}
			w := adaptertest.World{Adapter: New(env.Getter(), cfg, nil), Request: adapter.Request{Component: c}}
			res := collect(t, w)
			found := false
			for _, e := range res.Evidence {
				found = found || e.Outcome == tc.outcome && e.Reason == tc.reason
				if tc.outcome != trust.Verified && e.Outcome == trust.Verified {
					t.Errorf("verified: %+v", e)
				}
			}
			if !found {
				t.Errorf("%+v", res.Evidence)
			}
			if (asked.Load() > 0) != tc.public {
				t.Errorf("the public index was asked %d times", asked.Load())
			}
		})
	}
	// The public index comes last, also where it is the further one.
	for _, cfg := range []Config{{Index: DefaultIndex, Extra: []string{"https://team.example.com/simple/"}}, {Index: "https://team.example.com/simple/", Extra: []string{DefaultIndex}}} {
		if got := strings.Join(cfg.searchOrder(), " "); got != "https://team.example.com/simple/ "+DefaultIndex {
			t.Errorf("%s", got)
		}
	}
}
