package continuity

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

// Whoever can publish a package can build in a repository of their own and name
// it in the registry's record; what earlier records named then stands against it.
func TestFirstProvenanceFromElsewhere(t *testing.T) {
	named := func(version, repository string) trust.History {
		h := hist(version, trust.AssuranceRegistry, trust.AssuranceNone, registry)
		h.Repository = repository
		return h
	}
	now := cur("1.0.3", trust.AssuranceProvenance, repoA, registry)
	same := repoA.SourceRepository
	for name, c := range map[string]struct {
		history []trust.History
		known   []Known
		want    trust.Continuity
	}{
		"the same":              {[]trust.History{named("1.0.0", same)}, nil, trust.ContinuityStronger},
		"the same, other case":  {[]trust.History{named("1.0.0", strings.ToUpper(same))}, nil, trust.ContinuityStronger},
		"another":               {[]trust.History{named("1.0.0", "https://github.com/real/owner")}, nil, trust.ContinuityRepositoryMoved},
		"one of them":           {[]trust.History{named("1.0.0", "https://github.com/old/place"), named("1.0.1", same)}, nil, trust.ContinuityStronger},
		"none named":            {[]trust.History{named("1.0.0", "")}, nil, trust.ContinuityStronger},
		"another, but accepted": {[]trust.History{named("1.0.0", "https://github.com/real/owner")}, []Known{{Signer: repoA}}, trust.ContinuityStronger},
	} {
		if got := Compare(now, c.known, c.history); got.Class != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Earlier provenance that is claimed and could not be verified is no way around.
	h := named("1.0.0", "https://github.com/real/owner")
	h.Claimed = trust.AssuranceProvenance
	if got := Compare(now, nil, []trust.History{h}); got.Class != trust.ContinuityRepositoryMoved {
		t.Errorf("claimed: %+v", got)
	}
}
