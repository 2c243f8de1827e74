package scanner

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/osv-scanner/v2/pkg/models"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

func item(t *testing.T, path, purl string, as ...policies.Advisory) Item {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return Item{Path: path, Type: TypeLockfile, Release: r, Advisories: as, State: policies.StateKnown}
}

// TestModel decodes the document with osv-scanner's own model, which takes no
// field that it does not know, and writes it again.
func TestModel(t *testing.T) {
	dev := item(t, "b/package-lock.json", "pkg:npm/%40s/x@1.0.0",
		policies.Advisory{ID: "GHSA-1", Aliases: []string{"CVE-1"}, Summary: "bad", Severity: "critical", Score: 9.8, Fixed: []string{"1.1.0", "2.0.1"}, KEV: true},
		policies.Advisory{ID: "GHSA-2", Suppressed: "not reachable"}, policies.Advisory{ID: "MAL-1", Malware: true})
	dev.Groups = []string{"dev"}
	res, err := Convert([]Item{
		dev, item(t, "a/go.mod", "pkg:golang/example.com/m/v2@v2.0.0", policies.Advisory{ID: "GO-1", Score: 5}),
		item(t, "a/go.mod", "pkg:golang/example.com/clean@v1.0.0"), item(t, "a/go.mod", "pkg:golang/example.com/ignored@v1.0.0", policies.Advisory{ID: "GO-2", Suppressed: "tests only"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var m models.VulnerabilityResults
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if len(m.Results) != 2 || m.Results[0].Source != (models.SourceInfo{Path: "a/go.mod", Type: models.SourceTypeProjectPackage}) || len(m.Results[0].Packages) != 1 {
		t.Fatalf("%s", b)
	}
	flat := m.Flatten()
	if len(flat) != 3 {
		t.Fatalf("%d vulnerabilities: %s", len(flat), b)
	}
	f := flat[1]
	v := f.Vulnerability
	if v.GetId() != "GHSA-1" || !slices.Equal(v.GetAliases(), []string{"CVE-1"}) || v.GetSummary() != "bad" || f.Package.Name != "@s/x" || f.Package.Ecosystem != "npm" ||
		f.Package.Version != "1.0.0" || f.GroupInfo.MaxSeverity != "9.8" || f.GroupInfo.IndexString() != "GHSA-1" || !slices.Equal(f.DepGroups, []string{"dev"}) {
		t.Errorf("%+v", f)
	}
	aff := v.GetAffected()[0]
	if aff.GetPackage().GetPurl() != "pkg:npm/%40s/x" || aff.GetVersions()[0] != "1.0.0" || len(aff.GetRanges()) != 2 || aff.GetRanges()[1].GetEvents()[1].GetFixed() != "2.0.1" {
		t.Errorf("%+v", aff)
	}
	if d := v.GetDatabaseSpecific().AsMap(); d["severity"] != "critical" || d["known_exploited"] != "true" {
		t.Errorf("%v", d)
	}
	if flat[2].Vulnerability.GetDatabaseSpecific().AsMap()["malicious"] != "true" || flat[0].Package.Ecosystem != "Go" || flat[0].Package.Name != "example.com/m/v2" {
		t.Errorf("%s", b)
	}
	// What the model writes of it is what was written.
	again, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if err := errors.Join(json.Unmarshal(b, &x), json.Unmarshal(again, &y)); err != nil {
		t.Fatal(err)
	}
	xb, _ := json.Marshal(x)
	yb, _ := json.Marshal(y)
	if !bytes.Equal(xb, yb) {
		t.Errorf("written:\n%s\nthe model's:\n%s", xb, yb)
	}
}

func TestEmptyAndUnknown(t *testing.T) {
	res, err := Convert(nil)
	if b, merr := json.Marshal(res); err != nil || merr != nil || !bytes.Contains(b, []byte(`"results":[]`)) {
		t.Errorf("%s, %v", b, err)
	}
	for _, st := range []policies.State{policies.StateUnavailable, policies.StateOff, ""} {
		it := item(t, "go.mod", "pkg:golang/example.com/m@v1.0.0")
		it.State = st
		if _, err := Convert([]Item{it}); !errors.Is(err, ErrNotLookedUp) {
			t.Errorf("state %q: %v", st, err)
		}
	}
}
