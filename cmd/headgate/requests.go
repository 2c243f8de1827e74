package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

func (c *Command) requestCommand() *cobra.Command {
	o := &options{}
	d := &deed{what: "a request"}
	cmd := &cobra.Command{
		Use:   "request PURL --reason TEXT",
		Short: "Ask for approval of a release that is held",
		Long: `request records what is asked for, with the evidence and the findings of the
last check of the release, so that the approver sees what stopped it.`,
		Example: `  headgate request pkg:npm/left-pad@1.3.0 --reason "needed for the importer"`,
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			rel, err := trust.ParseRelease(args[0])
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			who, err := d.by(c)
			if err != nil {
				return err
			}
			s, err := c.openStore(ctx, o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			ds, err := s.Decisions(ctx, store.DecisionFilter{Release: rel, Limit: 1})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if len(ds) == 0 {
				return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("%s was never checked, so there is nothing to approve", rel), hint: "headgate check, then ask again"}
			}
			last := ds[0]
			switch last.Verdict {
			case trust.Allow:
				return usage("%s is allowed; it needs no approval", rel)
			case trust.Block:
				return usage("%s is blocked, and nobody may let it in: headgate explain '%s'", rel, rel)
			case trust.Undecided:
				return usage("%s is undecided, as evidence could not be had; check again when it can be reached", rel)
			}
			q := store.RequestRecord{Release: rel, Artifacts: last.Artifacts, Findings: last.Findings, Conclusions: trust.Conclusions(last.Evidence), Decision: last.ID, Reason: d.reason, By: who, At: c.now(), State: store.RequestOpen}
			for _, e := range last.Evidence {
				q.Evidence = append(q.Evidence, e.ID())
			}
			id, err := s.PutRequest(ctx, q)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Stdout, "%s asks for %s\n  next: somebody else, whom the policy names an approver, runs: headgate approve %s --reason TEXT --key KEY\n", id, report.Clean(rel.PURL()), id)
			return nil
		},
	}
	d.flags(cmd, "why it is needed", "who asks")
	o.storeFlag(cmd)
	return cmd
}

// A request that no check has asked for in staleAfter is shown as such; one whose
// approvals have ended stays in the list for shownFor.
const (
	staleAfter = 7 * 24 * time.Hour
	shownFor   = 30 * 24 * time.Hour
)

// listedRequest is a request with what has become of it.
type listedRequest struct {
	store.RequestRecord
	// Standing is the state by now: an approval may have ended.
	Standing store.RequestState `json:"standing"`
	// LastAsked is when a run last judged the release, and LastVerdict what came out.
	LastAsked   time.Time     `json:"lastAsked,omitzero"`
	LastVerdict trust.Verdict `json:"lastVerdict,omitempty"`
}

func (c *Command) requestsCommand() *cobra.Command {
	o := &options{}
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "List requests for approval, with age and what stopped them",
		Long: `requests lists what waits for an approval, with its age, what stopped it and when
a check last asked for it; and approvals that end soon or have ended.`,
		Example: `  headgate requests
  headgate requests --all --json`,
		Args: operands(0, 0),
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, _ []string) error {
			rs, err := s.Requests(ctx, store.RequestFilter{})
			if err != nil {
				return err
			}
			var out []listedRequest
			for _, q := range rs {
				l := listedRequest{RequestRecord: q, Standing: q.Standing(c.now())}
				if !all && !c.worthListing(l) {
					continue
				}
				ds, err := s.Decisions(ctx, store.DecisionFilter{Release: q.Release, Limit: 1})
				if err != nil {
					return err
				}
				if len(ds) > 0 {
					l.LastAsked, l.LastVerdict = ds[0].At, ds[0].Verdict
				}
				out = append(out, l)
			}
			return printList(c, asJSON, out, "no open requests", c.requestLines)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "decided ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) worthListing(l listedRequest) bool {
	now := c.now()
	switch l.Standing {
	case store.RequestOpen, store.RequestReopened:
		return true
	case store.RequestApproved:
		return !l.Until.IsZero() && l.Until.Sub(now) <= audit.SoonDefault
	case store.RequestExpired:
		return now.Sub(l.Until) <= shownFor
	}
	return false
}

// requestLines is a request in words: what it is about, why it waits, what to do.
func (c *Command) requestLines(l listedRequest) string {
	clean, now := report.Clean, c.now()
	purl := clean(l.Release.PURL())
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s  %s  %s  %s  by %s: %s", l.ID, l.Standing, age(now.Sub(l.At)), purl, clean(l.By), clean(l.Reason))
	line := func(format string, args ...any) { fmt.Fprintf(b, "\n    "+format, args...) }
	if l.DecidedBy != "" {
		verb := string(l.State)
		if l.Standing == store.RequestExpired {
			verb = "approved"
		}
		line("%s by %s: %s", verb, clean(l.DecidedBy), clean(l.DecidedReason))
	}
	again := "headgate request " + purl + " --reason TEXT"
	switch l.Standing {
	case store.RequestApproved:
		line("its approval ends %s", l.Until.UTC().Format(dayLayout))
		if l.Until.Sub(now) <= audit.SoonDefault {
			line("next: before that, %s", again)
		}
		return b.String()
	case store.RequestExpired:
		line("its approval ended %s", l.Until.UTC().Format(dayLayout))
		line("next: if it is still needed, %s", again)
		return b.String()
	case store.RequestRejected:
		return b.String()
	}
	blocked := l.LastVerdict == trust.Block
	for _, f := range l.Findings {
		if f.Counts() && f.Effect != trust.EffectWarn {
			line("%s %s: %s", f.Effect, clean(f.Rule), clean(f.Message))
		}
	}
	switch idle := now.Sub(l.LastAsked); {
	case blocked:
		line("next: nobody may let it in: headgate reject %s --reason TEXT", l.ID)
	case l.LastVerdict == trust.Allow:
		line("next: the last check let it in without an approval: headgate reject %s --reason TEXT", l.ID)
	case idle > staleAfter:
		line("no check has asked for it in %s", age(idle))
		line("next: headgate reject %s --reason TEXT, or check again", l.ID)
	default:
		line("next: headgate approve %s --reason TEXT --key KEY", l.ID)
	}
	return b.String()
}

func age(d time.Duration) string {
	switch {
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func (c *Command) rejectCommand() *cobra.Command {
	o := &options{}
	d := &deed{what: "a rejection"}
	cmd := &cobra.Command{
		Use:     "reject ID --reason TEXT",
		Short:   "Reject a request",
		Example: `  headgate reject q-0123456789ab --reason "use the standard library"`,
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.by(c)
			if err != nil {
				return err
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				q, err := waiting(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				if err := s.DecideRequest(cmd.Context(), q.ID, store.RequestDecision{State: store.RequestRejected, By: who, Reason: d.reason}); err != nil {
					return err
				}
				fmt.Fprintf(c.Stdout, "%s rejected by %s: %s\n", q.ID, report.Clean(who), report.Clean(q.Release.PURL()))
				return nil
			})
		},
	}
	d.flags(cmd, "why not", "who rejects")
	o.storeFlag(cmd)
	return cmd
}
