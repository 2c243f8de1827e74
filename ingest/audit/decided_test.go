package audit

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
)

// TestDecidedForTheseBytes: an approval or an exception says nothing of other bytes
// of the same release, so that those came in around the gate.
func TestDecidedForTheseBytes(t *testing.T) {
	release, err := trust.ParseRelease("pkg:npm/left-pad@1.3.0")
	if err != nil {
		t.Fatal(err)
	}
	digest := func(body string) trust.Digest {
		sum := sha256.Sum256([]byte(body))
		return trust.DigestOf(trust.SHA256, sum[:])
	}
	file := func(ds ...trust.Digest) trust.Artifact {
		return trust.Artifact{Name: "left-pad-1.3.0.tgz", Digests: ds}
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	envelope, err := approval.Sign(approval.Statement{
		Release: release, Artifacts: []trust.Artifact{file(digest("approved"))}, Evidence: []string{"c-1"}, Rules: []string{"cooldown"},
		Requester: "bob", Approver: "alice", Reason: "reviewed", Issued: now, Expires: now.AddDate(0, 0, 30),
	}, func([]byte) ([]byte, string, error) { return []byte("whether it counts is the gate's answer"), "", nil })
	if err != nil {
		t.Fatal(err)
	}
	approved := &recalled{approvals: map[trust.Release][]store.ApprovalRecord{release: {{Envelope: envelope, Release: release}}}}
	torn := &recalled{approvals: map[trust.Release][]store.ApprovalRecord{release: {{Envelope: envelope[:20], Release: release}}}}
	excepted := exceptionsOf([]policies.Exception{{Release: release.PURL(), Digests: policies.Strings{digest("excepted").String()}, Until: "2026-06-01"}})
	for what, tc := range map[string]struct {
		as         []trust.Artifact
		m          *recalled
		exceptions map[trust.Release]exception
		want       bool
	}{
		"approved":                {[]trust.Artifact{file(digest("approved"))}, approved, nil, true},
		"other bytes":             {[]trust.Artifact{file(digest("other"))}, approved, nil, false},
		"one more file":           {[]trust.Artifact{file(digest("approved")), file(digest("other"))}, approved, nil, false},
		"no digest to compare":    {nil, approved, nil, true},
		"no approval that parses": {[]trust.Artifact{file(digest("approved"))}, torn, nil, false},
		"excepted":                {[]trust.Artifact{file(digest("excepted"))}, &recalled{}, excepted, true},
		"other than excepted":     {[]trust.Artifact{file(digest("approved"))}, &recalled{}, excepted, false},
		"nobody":                  {nil, &recalled{}, nil, false},
	} {
		r := &audit{exceptions: tc.exceptions}
		if got := r.decided(&ingest.Component{Release: release, Artifacts: tc.as}, tc.m); got != tc.want {
			t.Errorf("%s: decided is %v, want %v", what, got, tc.want)
		}
	}
}
