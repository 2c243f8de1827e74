package ingest_test

import (
	"context"
	"slices"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// TestLicensesFromRegistryAndSource: the registry's word counts before the
// source's, and none at all is unknown, which does not pass.
func TestLicensesFromRegistryAndSource(t *testing.T) {
	p, err := policies.LoadYAML([]byte("version: 1\npolicy:\n  licenses:\n    allow: [MIT, Apache-2.0]\n"), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		registry, source []string
		rule             string
	}{
		"registry":              {[]string{"MIT"}, nil, ""},
		"source":                {nil, []string{"MIT OR GPL-3.0-only"}, ""},
		"registry before":       {[]string{"GPL-3.0-only"}, []string{"MIT"}, "license-denied"},
		"both must be accepted": {[]string{"MIT AND GPL-3.0-only"}, nil, "license-denied"},
		"no expression":         {[]string{"SEE LICENSE IN FILE"}, nil, "license-unknown"},
		"none":                  {nil, nil, "license-unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &registry{collect: func(_ context.Context, q adapter.Request) (adapter.Result, error) {
				res := signed(q.Component)
				res.Facts.Licenses = tc.registry
				return res, nil
			}}
			g := gate(t, r, &memory{})
			g.Judge = p
			c := comp(t, "pkg:npm/a@1.0.0")
			c.Licenses = tc.source
			got := check(t, g, ingest.Request{Inventory: inventory(c)}).Components[0]
			want := trust.Allow
			if tc.rule != "" {
				want = trust.Hold
			}
			if got.Verdict != want || tc.rule != "" && !slices.Contains(findings(got), tc.rule) {
				t.Errorf("%s %v", got.Verdict, findings(got))
			}
		})
	}
}
