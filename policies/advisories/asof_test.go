package advisories

import (
	"slices"
	"testing"
	"time"

	"github.com/headgate/headgate/policies"
)

// As of an earlier moment counts what was published by then and not withdrawn yet;
// today counts what was not withdrawn at all.
func TestAsOf(t *testing.T) {
	at := func(day string) time.Time {
		d, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	affected := `"affected":[{"package":{"ecosystem":"npm","name":"x"},"versions":["1.0.0"]}]}`
	x := build(t, "npm", map[string]string{
		"OLD":   `{"id":"OLD","published":"2024-01-01T00:00:00Z","modified":"2024-01-01T00:00:00Z",` + affected,
		"NEW":   `{"id":"NEW","published":"2026-01-01T00:00:00Z","modified":"2026-02-01T00:00:00Z",` + affected,
		"GONE":  `{"id":"GONE","published":"2025-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","withdrawn":"2026-01-01T00:00:00Z",` + affected,
		"MAL-N": `{"id":"MAL-N","modified":"2026-01-01T00:00:00Z",` + affected, // says not when
	})
	for day, want := range map[string][]string{
		"":           {"MAL-N", "NEW", "OLD"},
		"2023-12-31": {"MAL-N"},
		"2024-01-01": {"MAL-N", "OLD"},
		"2025-06-01": {"GONE", "MAL-N", "OLD"},
		"2026-01-01": {"MAL-N", "NEW", "OLD"},
	} {
		when := time.Time{}
		if day != "" {
			when = at(day)
		}
		x.AsOf(when, time.Now())
		// The clock of the run stands at that moment too: the database is no older for it.
		a := x.Query(t.Context(), []Item{{Release: rel(t, "pkg:npm/x@1.0.0")}}, when)
		if day == "" {
			a = x.Query(t.Context(), []Item{{Release: rel(t, "pkg:npm/x@1.0.0")}}, time.Now())
		}
		var got []string
		for _, f := range a.Advisories[rel(t, "pkg:npm/x@1.0.0")] {
			got = append(got, f.ID)
			if f.ID == "NEW" && !f.Modified.Equal(at("2026-02-01")) {
				t.Errorf("changed at %s", f.Modified)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || a.States[rel(t, "pkg:npm/x@1.0.0")] != policies.StateKnown {
			t.Errorf("as of %q: %q, want %q; %v", day, got, want, a.Reasons)
		}
	}
}
