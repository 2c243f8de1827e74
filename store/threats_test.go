package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

// TestThreat113FiltersAreParameters: what a filter asks for is compared, whatever
// signs are in it: it selects nothing more, it is no error of the database, and
// the store is as it was.
func TestThreat113FiltersAreParameters(t *testing.T) {
	s := filled(t)
	ctx := t.Context()
	count := func(what string) int {
		t.Helper()
		var n int
		if err := s.r.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM log) + (SELECT count(*) FROM decision) + (SELECT count(*) FROM acceptance) + (SELECT count(*) FROM request) + (SELECT count(*) FROM material)").Scan(&n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return n
	}
	before := count("before")
	for _, sign := range []string{
		`' OR '1'='1`, `" OR "1"="1`, `' OR 1=1 --`, `') OR (1=1`, `'; DELETE FROM log; --`, `x' UNION SELECT idx, leaf FROM log --`, "%", "_", "*", "?", "[a-z]*", "%%", `\`,
		"?1", ":from", "@x", "$1", "'", `"`, "`", "\x00", "\x00' OR 1=1 --", "\xff", "ʼ OR 1=1", "bob\x00", "bob' --", "b%", "b*", "b_b", "d%", "decision' OR 'a'='a", "pkg:npm/%", "pkg:npm/*",
	} {
		pkg := trust.Package{Type: "npm", Name: sign}
		rel := trust.Release{Package: trust.Package{Type: "npm", Name: "z"}, Version: sign}
		none := ""
		for name, ask := range map[string]func() (int, error){
			"log by":               func() (int, error) { es, err := s.LogEntries(ctx, LogFilter{By: sign}); return len(es), err },
			"log kind":             func() (int, error) { es, err := s.LogEntries(ctx, LogFilter{Kind: sign}); return len(es), err },
			"log id":               func() (int, error) { es, err := s.LogEntries(ctx, LogFilter{ID: sign}); return len(es), err },
			"log package":          func() (int, error) { es, err := s.LogEntries(ctx, LogFilter{Package: pkg}); return len(es), err },
			"decisions of package": func() (int, error) { ds, err := s.Decisions(ctx, DecisionFilter{Package: pkg}); return len(ds), err },
			"decisions of release": func() (int, error) { ds, err := s.Decisions(ctx, DecisionFilter{Release: rel}); return len(ds), err },
			"decisions by verdict": func() (int, error) {
				ds, err := s.Decisions(ctx, DecisionFilter{Verdict: trust.Verdict(sign)})
				return len(ds), err
			},
			"decisions of run":    func() (int, error) { ds, err := s.Decisions(ctx, DecisionFilter{RunID: sign}); return len(ds), err },
			"requests of release": func() (int, error) { qs, err := s.Requests(ctx, RequestFilter{Release: rel}); return len(qs), err },
			"requests by":         func() (int, error) { qs, err := s.Requests(ctx, RequestFilter{By: sign}); return len(qs), err },
			"requests by state": func() (int, error) {
				qs, err := s.Requests(ctx, RequestFilter{States: []RequestState{RequestState(sign)}})
				return len(qs), err
			},
			"signers by id": func() (int, error) { as, err := s.Acceptances(ctx, AcceptanceFilter{ID: sign}); return len(as), err },
			"signers by identity": func() (int, error) {
				as, err := s.Acceptances(ctx, AcceptanceFilter{Identity: sign})
				return len(as), err
			},
			"signers by handle": func() (int, error) {
				as, err := s.Acceptances(ctx, AcceptanceFilter{Identity: "s-" + sign})
				return len(as), err
			},
			"signers by scope": func() (int, error) {
				as, err := s.Acceptances(ctx, AcceptanceFilter{Scope: Scope(sign)})
				return len(as), err
			},
			"signers by origin": func() (int, error) {
				o := sign + none
				as, err := s.Acceptances(ctx, AcceptanceFilter{Origin: &o})
				return len(as), err
			},
			"material":             func() (int, error) { ms, err := s.PinnedMaterials(ctx, MaterialFilter{ID: sign}); return len(ms), err },
			"materials of package": func() (int, error) { ms, err := s.Materials(ctx, trust.MaterialKind(sign), pkg); return len(ms), err },
			"where":                func() (int, error) { us, err := s.Where(ctx, pkg); return len(us), err },
			"uses":                 func() (int, error) { us, err := s.Uses(ctx, sign); return len(us), err },
			"audited sources":      func() (int, error) { m, err := s.AuditedSources(ctx, []string{sign}); return len(m), err },
			"known":                func() (int, error) { m, err := s.Known(ctx, []trust.Package{pkg}); return len(m[pkg]), err },
			"seen":                 func() (int, error) { m, err := s.Seen(ctx, []trust.Release{rel}); return len(m[rel]), err },
			"evidence":             func() (int, error) { m, err := s.Evidence(ctx, []trust.Release{rel}); return len(m[rel]), err },
			"approvals":            func() (int, error) { m, err := s.Approvals(ctx, []trust.Release{rel}); return len(m[rel]), err },
			"decision":             func() (int, error) { d, _, err := s.Decision(ctx, sign); return len(d.ID), err },
			"request":              func() (int, error) { q, err := s.Request(ctx, sign); return len(q.ID), err },
			"state":                func() (int, error) { b, err := s.Load(ctx, sign); return len(b), err },
			"proof":                func() (int, error) { b, err := s.Prove(ctx, sign); return len(b), err },
			"acceptances for":      func() (int, error) { m, err := s.AcceptancesFor(ctx, []trust.Package{pkg}); return len(m[pkg]), err },
			"latest decisions": func() (int, error) {
				m, err := s.LatestDecisions(ctx, []trust.Release{rel}, s.now().Add(time.Hour))
				return len(m), err
			},
			"revoked": func() (int, error) { rs, err := s.Revoke(ctx, sign, "eve", "why"); return len(rs), err },
			"findings of an audit": func() (int, error) {
				fs, err := s.AuditFindings(ctx, []trust.Release{rel}, []string{sign})
				return len(fs), err
			},
		} {
			// A name that no package can have may be refused, and so may an id that is
			// none; what may not be is an answer.
			if n, err := ask(); n != 0 || err != nil && !errors.Is(err, ErrNotFound) {
				t.Errorf("%s %q: %d, %v", name, sign, n, err)
			}
		}
		if got := count(fmt.Sprintf("after %q", sign)); got != before {
			t.Fatalf("%q changed the store: %d rows, were %d", sign, got, before)
		}
	}
	check(t, s)
	// The same filters select what there is.
	for name, ask := range map[string]func() (int, error){
		"log": func() (int, error) {
			es, err := s.LogEntries(ctx, LogFilter{By: "bob", Kind: "acceptance"})
			return len(es), err
		},
		"requests": func() (int, error) {
			qs, err := s.Requests(ctx, RequestFilter{By: "carol", States: []RequestState{RequestApproved}})
			return len(qs), err
		},
		"decisions": func() (int, error) {
			ds, err := s.Decisions(ctx, DecisionFilter{Verdict: trust.Allow})
			return len(ds), err
		},
		"signers": func() (int, error) {
			as, err := s.Acceptances(ctx, AcceptanceFilter{Scope: "pkg:npm/x"})
			return len(as), err
		},
	} {
		if n, err := ask(); n == 0 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}
