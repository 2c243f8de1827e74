package scanner

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

func TestResults(t *testing.T) {
	r, err := trust.ParseRelease("pkg:npm/%40s/x@1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	ans := advisories.Answer{
		Advisories: map[trust.Release][]policies.Advisory{r: {
			{ID: "GHSA-1", Aliases: []string{"CVE-1"}, Summary: "bad", Score: 9.8, Fixed: []string{"1.1.0"}},
			{ID: "GHSA-2", Suppressed: "not reachable"},
		}},
		States: map[trust.Release]policies.State{r: policies.StateKnown},
	}
	res, err := Results("package-lock.json", ans)
	if err != nil {
		t.Fatal(err)
	}
	flat := res.Flatten()
	if len(flat) != 1 || flat[0].Vulnerability.GetId() != "GHSA-1" || flat[0].Package.Name != "@s/x" || flat[0].GroupInfo.MaxSeverity != "9.8" {
		t.Errorf("%+v", flat)
	}
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"ecosystem":"npm"`, `"1.1.0"`, `"path":"package-lock.json"`} {
		if !strings.Contains(strings.ReplaceAll(string(b), " ", ""), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
	ans.States[r] = policies.StateUnavailable
	if _, err := Results("package-lock.json", ans); err == nil {
		t.Error("what was not looked up was written as an empty list")
	}
}
