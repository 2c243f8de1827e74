package npm

import (
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func TestLoadTrust(t *testing.T) {
	w := sigstoretest.New(t, adaptertest.Now)
	now := adaptertest.Now
	if tr := LoadTrust(w.TrustedRoot(), w.NPMKeys(), now, now, 0); tr.Err != nil || tr.Root == nil || tr.Keys == nil {
		t.Errorf("%+v", tr)
	}
	tr := LoadTrust(w.TrustedRoot(), w.NPMKeys(), now.Add(-time.Hour-1), now, time.Hour)
	if _, r := trust.Classify(tr.Err); r != trust.ReasonExpiredRoot || tr.Root != nil || tr.Keys != nil {
		t.Errorf("%+v", tr)
	}
	if tr := LoadTrust(w.TrustedRoot(), []byte("{}"), now, now, 0); tr.Err == nil || tr.Keys != nil {
		t.Errorf("%+v", tr)
	}
	if got := KeysTarget(); len(got) <= len("/keys.json") || got[len(got)-len("/keys.json"):] != "/keys.json" {
		t.Errorf("target %q", got)
	}
}
