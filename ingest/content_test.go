package ingest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// warehouse is a registry that hands out bytes.
type warehouse struct {
	registry
	packages map[string][]byte // by purl
	fetched  []string
}

type memoryBlob struct {
	*bytes.Reader
	name string
}

func (memoryBlob) Close() error   { return nil }
func (b memoryBlob) Name() string { return b.name }

func (w *warehouse) Fetch(_ context.Context, c sbom.Component, _ trust.Artifact) (adapter.Blob, error) {
	w.fetched = append(w.fetched, c.Release.PURL())
	b, ok := w.packages[c.Release.PURL()]
	if !ok {
		return nil, trust.Undecidable(trust.ReasonNetwork, "connection refused")
	}
	return memoryBlob{bytes.NewReader(b), "p.tgz"}, nil
}

func tarball(t *testing.T, manifest string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: "package/package.json", Mode: 0o644, Size: int64(len(manifest))})
	if err == nil {
		_, err = w.Write([]byte(manifest))
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestInspectionStates: off, known and unavailable are three answers, and only
// what was read in full is known.
func TestInspectionStates(t *testing.T) {
	plain := func(v string) []byte { return tarball(t, `{"name":"a","version":"`+v+`"}`) }
	script := func(v string) []byte {
		return tarball(t, `{"name":"a","version":"`+v+`","scripts":{"postinstall":"node x.js"}}`)
	}
	old, updated := "pkg:npm/a@1.0.0", "pkg:npm/a@1.0.1"
	for name, tc := range map[string]struct {
		packages map[string][]byte
		off      bool
		manifest func(context.Context, sbom.Component) ([]byte, error)
		state    policies.State
		verdict  trust.Verdict
		rule     string
	}{
		"clean":                   {map[string][]byte{old: plain("1.0.0"), updated: plain("1.0.1")}, false, nil, policies.StateKnown, trust.Allow, ""},
		"new install script":      {map[string][]byte{old: plain("1.0.0"), updated: script("1.0.1")}, false, nil, policies.StateKnown, trust.Hold, "suspicious-content"},
		"the script was there":    {map[string][]byte{old: script("1.0.0"), updated: script("1.0.1")}, false, nil, policies.StateKnown, trust.Allow, ""},
		"switched off":            {map[string][]byte{updated: script("1.0.1")}, true, nil, policies.StateOff, trust.Allow, ""},
		"cannot be fetched":       {nil, false, nil, policies.StateUnavailable, trust.Undecided, "inspection-available"},
		"nothing to compare with": {map[string][]byte{updated: script("1.0.1")}, false, nil, policies.StateUnavailable, trust.Undecided, "inspection-available"},
		"no comparison is needed": {map[string][]byte{updated: plain("1.0.1")}, false, nil, policies.StateKnown, trust.Allow, ""},
		"record cannot be fetched": {map[string][]byte{old: plain("1.0.0"), updated: plain("1.0.1")}, false, func(context.Context, sbom.Component) ([]byte, error) {
			return nil, trust.Undecidable(trust.ReasonNetwork, "down")
		}, policies.StateUnavailable, trust.Undecided, "inspection-available"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &warehouse{packages: tc.packages}
			g := gate(t, w, &memory{})
			if !tc.off {
				g.Contents = &ingest.Contents{Manifest: tc.manifest, Clock: func() time.Time { return now }}
			}
			r := check(t, g, ingest.Request{Inventory: inventory(comp(t, updated)), Base: inventory(comp(t, old))})
			c := r.Components[0]
			if c.InspectionState != tc.state || c.Verdict != tc.verdict || tc.rule != "" && !slices.Contains(findings(c), tc.rule) {
				t.Errorf("state %s, verdict %s, findings %v, inspection %+v", c.InspectionState, c.Verdict, findings(c), c.Inspection)
			}
		})
	}
}
