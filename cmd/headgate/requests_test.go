package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// TestRequestsAge: what requests shows as time goes by, without any run in between.
func TestRequestsAge(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := func() time.Time { return now }
	path := filepath.Join(t.TempDir(), "trust.db")
	s, err := store.Open(ctx, path, store.Options{Create: true, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func(name string) (trust.Release, string) {
		r, err := trust.NewRelease("npm", "", name, "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		fs := []trust.Finding{{Rule: "cooldown", Effect: trust.EffectHold, Message: "too young"}}
		rec, err := s.Record(ctx, store.Commit{Run: store.Run{Command: "check", Verdict: trust.Hold}, Decisions: []store.Decision{{Release: r, Verdict: trust.Hold, Findings: fs}}})
		if err != nil {
			t.Fatal(err)
		}
		q, err := s.PutRequest(ctx, store.RequestRecord{Release: r, Findings: fs, Conclusions: []string{}, Decision: rec.DecisionIDs[0], Reason: "needed", By: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		return r, q
	}
	_, open := ask("waits")
	r, approved := ask("approved")
	env := []byte(`{"payload":"e30="}`)
	if err := s.PutApproval(ctx, env, store.ApprovalRecord{Release: r, By: "alice", Until: now.AddDate(0, 0, 20)}); err != nil {
		t.Fatal(err)
	}
	if err := s.DecideRequest(ctx, approved, store.RequestDecision{State: store.RequestApproved, By: "alice", Reason: "read it", Approvals: []string{store.ApprovalID(env)}}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		days    int
		shows   []string
		without []string
	}{
		{0, []string{open + "  open  0m", "next: headgate approve " + open}, []string{approved, "no check"}},
		{5, []string{open + "  open  5d"}, []string{approved}},
		{7, []string{"next: headgate approve " + open, approved + "  approved", "its approval ends 2030-01-22", "next: before that, headgate request pkg:npm/approved@1.0.0"}, []string{"no check"}},
		{8, []string{"no check has asked for it in 8d", "next: headgate reject " + open}, []string{"next: headgate approve"}},
		{20, []string{approved + "  expired", "approved by alice: read it", "its approval ended 2030-01-22", "if it is still needed, headgate request pkg:npm/approved@1.0.0"}, nil},
		{51, []string{open}, []string{approved}},
	} {
		var out, errs bytes.Buffer
		c := &Command{Args: []string{"requests", "--store", path}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }, Home: t.TempDir(),
			Clock: func() time.Time { return now.AddDate(0, 0, tc.days) }}
		if code := c.Run(ctx); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		for _, want := range tc.shows {
			if !strings.Contains(out.String(), want) {
				t.Errorf("after %d days %q is not shown:\n%s", tc.days, want, out.String())
			}
		}
		for _, no := range tc.without {
			if strings.Contains(out.String(), no) {
				t.Errorf("after %d days %q is shown:\n%s", tc.days, no, out.String())
			}
		}
	}
}
