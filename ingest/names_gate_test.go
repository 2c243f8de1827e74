package ingest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// prefetching is a registry that notes every name that it is told.
type prefetching struct {
	registry
	told []string
}

func (p *prefetching) Prefetch(_ context.Context, cs []sbom.Component) {
	for _, c := range cs {
		p.told = append(p.told, c.Release.Package.FullName())
	}
}

func findings(c ingest.Component) []string {
	var out []string
	for _, f := range c.Findings {
		out = append(out, f.Rule)
	}
	return out
}

// TestThreat068InternalNamesStayInside: a name of an internal namespace is sent
// to no public registry, neither alone nor in bulk, and is blocked.
func TestThreat068InternalNamesStayInside(t *testing.T) {
	p := &prefetching{}
	p.collect = func(_ context.Context, q adapter.Request) (adapter.Result, error) {
		p.told = append(p.told, q.Component.Release.Package.FullName())
		return signed(q.Component), nil
	}
	inv := inventory(comp(t, "pkg:npm/%40acme/billing@1.0.0"), comp(t, "pkg:npm/%40acme/core@1.0.0"), comp(t, "pkg:npm/a@1.0.0"))
	g := gate(t, p, &memory{})
	g.Internal = []string{"pkg:npm/@acme/*"}
	g.Jobs = 1
	r := check(t, g, ingest.Request{Inventory: inv})
	if slices.ContainsFunc(p.told, func(n string) bool { return strings.Contains(n, "acme") }) || !slices.Contains(p.told, "a") {
		t.Errorf("the registry was told %q", p.told)
	}
	for _, c := range r.Components {
		internal := strings.Contains(c.Release.PURL(), "acme")
		if internal != (c.Verdict == trust.Block) || internal != slices.Contains(findings(c), "internal-name") {
			t.Errorf("%s: %s %v", c.Release, c.Verdict, findings(c))
		}
	}

	// The user's own settings send the scope to a private registry.
	p.told = nil
	g = gate(t, p, &memory{})
	g.Internal = []string{"pkg:npm/@acme/*"}
	g.Private = func(p trust.Package) bool { return p.Namespace == "@acme" }
	g.Jobs = 1
	r = check(t, g, ingest.Request{Inventory: inv})
	if r.ExitCode != ingest.ExitAllowed || !slices.Contains(p.told, "@acme/core") {
		t.Errorf("private registry: exit %d, told %q", r.ExitCode, p.told)
	}
}

func TestAliasIsHeld(t *testing.T) {
	c := comp(t, "pkg:npm/harmless-helper@1.0.0")
	c.Alias = "lodash"
	r := check(t, gate(t, &registry{}, &memory{}), ingest.Request{Inventory: inventory(c)})
	if r.Components[0].Verdict != trust.Hold || !slices.Contains(findings(r.Components[0]), "suspicious-name") {
		t.Errorf("%s %v", r.Components[0].Verdict, findings(r.Components[0]))
	}
}

// TestChangedBytesRaiseAnAlarm: other bytes under a version that was accepted
// are blocked, and the log keeps both digests.
func TestChangedBytesRaiseAnAlarm(t *testing.T) {
	m := &memory{}
	first := comp(t, "pkg:npm/a@1.0.0")
	var alarms []string
	g := gate(t, &registry{}, m)
	g.Alarm = func(_ context.Context, about, _ string, proof []byte) error {
		alarms = append(alarms, about+" "+string(proof))
		return nil
	}
	if r := check(t, g, ingest.Request{Inventory: inventory(first)}); r.ExitCode != ingest.ExitAllowed || len(alarms) != 0 {
		t.Fatalf("first sight: exit %d, alarms %q", r.ExitCode, alarms)
	}
	other := comp(t, "pkg:npm/a@1.0.0")
	other.Artifacts = comp(t, "pkg:npm/b@1.0.0").Artifacts
	if r := check(t, g, ingest.Request{Inventory: inventory(other), DryRun: true}); r.Verdict != trust.Block || len(alarms) != 0 {
		t.Errorf("dry run: %s, alarms %q", r.Verdict, alarms)
	}
	r := check(t, g, ingest.Request{Inventory: inventory(other)})
	if r.Verdict != trust.Block || !slices.Contains(findings(r.Components[0]), "changed-upstream") {
		t.Errorf("%s %v", r.Verdict, findings(r.Components[0]))
	}
	if len(alarms) != 1 || !strings.Contains(alarms[0], first.Artifacts[0].Digests[0].Value) || !strings.Contains(alarms[0], other.Artifacts[0].Digests[0].Value) {
		t.Errorf("alarms %q", alarms)
	}
}
