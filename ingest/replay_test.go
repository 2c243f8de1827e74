package ingest

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestInputOf: a decision keeps everything that the policy looked at. A field that
// is new in policies.Input and not kept fails here, for it is either not set below
// or lost on the way.
func TestInputOf(t *testing.T) {
	release, err := trust.ParseRelease("pkg:npm/left-pad@1.3.0")
	if err != nil {
		t.Fatal(err)
	}
	before := sbom.Component{Release: trust.Release{Package: release.Package, Version: "1.2.0"}, Kind: sbom.KindRegistry}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	signer := policies.SignerState{Signer: trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: "0123456789ABCDEF0123456789ABCDEF01234567"}, Accepted: true, By: "alice"}
	in := policies.Input{
		Component: sbom.Component{Release: release, Kind: sbom.KindRegistry}, Change: policies.ChangePresent, Previous: &before,
		Evidence:  []trust.Evidence{{Check: trust.CheckMetadata, Outcome: trust.Verified, Release: release}},
		Assurance: trust.AssuranceRegistry, Offered: trust.AssuranceRegistry, Adapter: true,
		Signers: []policies.SignerState{signer}, BinarySigners: []policies.SignerState{signer}, BinariesBefore: []string{"somebody"},
		Continuity: trust.ContinuitySame, Was: "was", Is: "is", ContinuityNote: "note",
		Facts: trust.Facts{Published: at}, History: []trust.History{{Version: "1.1.0", Assurance: trust.AssuranceRegistry}},
		Pinned: true, PackageKnown: true, ChangedUpstream: true,
		Advisories: []policies.Advisory{{ID: "OSV-1"}}, AdvisoryState: policies.StateUnavailable, AdvisoryNote: "the database is too old", FixedIn: "1.3.1",
		FixesAdvisory: []string{"OSV-2"}, PreviousAdvisories: []string{"OSV-3"},
		Names: []policies.NameRisk{{Kind: "look-alike", Detail: "d"}}, Inspection: []policies.Observation{{Kind: "native-code", Detail: "d"}}, InspectionState: policies.StateKnown,
		Licenses: []string{"MIT"}, Approvals: []policies.Approval{{ID: "q-1", By: "alice", Rules: []string{"cooldown"}, Until: at}}, Now: at,
	}
	for i, v := 0, reflect.ValueOf(in); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test does not set policies.Input.%s, so that nobody knows whether it is kept", v.Type().Field(i).Name)
		}
	}
	it := &item{in: in}
	c := it.component()
	d := it.decision(&c, at)
	if d.Input, err = it.input(&c); err != nil {
		t.Fatal(err)
	}
	got, err := InputOf(d)
	if err != nil {
		t.Fatal(err)
	}
	want, is := reflect.ValueOf(in), reflect.ValueOf(got)
	for i := range want.NumField() {
		// By their JSON, for what is unexported in purls and digests is not ours to compare.
		a, errA := json.Marshal(want.Field(i).Interface())
		b, errB := json.Marshal(is.Field(i).Interface())
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("policies.Input.%s was %s (%v), read back it is %s (%v)", want.Type().Field(i).Name, a, errA, b, errB)
		}
	}
}
