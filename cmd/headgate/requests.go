package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
	"github.com/headgate/headgate/trust/sshsig"
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
		Args:    cobra.ExactArgs(1),
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
			q := store.RequestRecord{Release: rel, Artifacts: last.Artifacts, Findings: last.Findings, Decision: last.ID, Reason: d.reason, By: who, At: c.now(), State: store.RequestOpen}
			for _, e := range last.Evidence {
				q.Evidence = append(q.Evidence, e.ID())
			}
			id, err := s.PutRequest(ctx, q)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Stdout, "%s asks for %s\n  next: somebody else runs: headgate approve %s --reason TEXT --key FILE\n", id, report.Clean(rel.PURL()), id)
			return nil
		},
	}
	d.flags(cmd, "why it is needed", "who asks")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) requestsCommand() *cobra.Command {
	o := &options{}
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "requests",
		Short: "List requests for approval, with age and what stopped them",
		Example: `  headgate requests
  headgate requests --all --json`,
		Args: cobra.NoArgs,
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, _ []string) error {
			f := store.RequestFilter{States: []store.RequestState{store.RequestOpen, store.RequestReopened}}
			if all {
				f.States = nil
			}
			rs, err := s.Requests(ctx, f)
			if err != nil {
				return err
			}
			return printList(c, asJSON, rs, "no open requests", func(q store.RequestRecord) string {
				line := fmt.Sprintf("%s  %s  %s  %s  by %s: %s", q.ID, q.State, age(c.now().Sub(q.At)), report.Clean(q.Release.PURL()), report.Clean(q.By), report.Clean(q.Reason))
				for _, f := range q.Findings {
					if f.Counts() && f.Effect != trust.EffectWarn {
						line += fmt.Sprintf("\n    %s %s: %s", f.Effect, report.Clean(f.Rule), report.Clean(f.Message))
					}
				}
				return line
			})
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "decided ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	o.storeFlag(cmd)
	return cmd
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

// dayLayout is how dates are given on the command line.
const dayLayout = "2006-01-02"

func (c *Command) approveCommand() *cobra.Command {
	o := &options{}
	var reason, until, key, as, file string
	cmd := &cobra.Command{
		Use:   "approve ID --reason TEXT [--until DATE] --key FILE",
		Short: "Approve a request with a signed statement",
		Long: `approve signs a statement for exactly this release, these digests, this evidence
and the rules that hold it, and keeps it in the store. The key is an SSH key of an
approver whom the policy names: a private key file, or the public key file of a
key in ssh-agent. Approver and requester are different people.`,
		Example: `  headgate approve q-0123456789ab --reason "reviewed the source" --until 2026-12-31 --key ~/.ssh/id_ed25519`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if strings.TrimSpace(reason) == "" {
				return usage("an approval needs a reason: --reason TEXT")
			}
			if key == "" {
				return usage("an approval is signed: --key FILE names an SSH key")
			}
			set, err := c.settings(o, ".", nil, false)
			if err != nil {
				return err
			}
			people, err := c.approvers(o, set.policy)
			if err != nil {
				return usage("%s: %w", set.origin, err)
			}
			if people == nil {
				return &exitError{code: ingest.ExitUsage, err: errors.New("the policy names no approvers who sign with a key"), hint: "add approvers to " + ConfigFile}
			}
			s, err := c.openStore(ctx, o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			q, err := s.Request(ctx, args[0])
			if err != nil {
				return err
			}
			if q.State != store.RequestOpen && q.State != store.RequestReopened {
				return usage("request %s is %s already", q.ID, q.State)
			}
			signer, done, err := c.sshSigner(key)
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			defer done()
			name, err := whoIs(set, signer, as)
			if err != nil {
				return err
			}
			now := c.now().UTC().Truncate(time.Second)
			end := now.Add(set.policy.MaxApproval())
			if until != "" {
				day, err := time.Parse(dayLayout, until)
				if err != nil {
					return usage("--until %q is no date like 2026-12-31", until)
				}
				if day = day.AddDate(0, 0, 1); day.Before(end) {
					end = day
				} else if day.After(end.AddDate(0, 0, 1)) {
					return usage("--until %s is beyond what the policy allows, %s", until, end.Format(dayLayout))
				}
			}
			if !end.After(now) {
				return usage("--until %s is over already", until)
			}
			var rules []string
			for _, f := range q.Findings {
				if f.Counts() && f.Effect == trust.EffectHold && !slices.Contains(rules, f.Rule) {
					rules = append(rules, f.Rule)
				}
			}
			if len(rules) == 0 {
				return usage("request %s has no finding that an approval could set aside", q.ID)
			}
			st := approval.Statement{
				Release: q.Release, Artifacts: q.Artifacts, Evidence: q.Evidence, Rules: rules, Requester: q.By, Approver: name,
				Reason: reason, Issued: now, Expires: end,
			}
			env, err := approval.Sign(st, approval.SSHSign(signer))
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("signing: %w", err)}
			}
			// What this command writes must be what every later check accepts.
			for _, rule := range rules {
				if _, err := approval.Verify(env, people, approval.Want{
					Release: q.Release, Artifacts: q.Artifacts, Evidence: q.Evidence, Rule: rule, Requester: q.By, Now: now,
					MaxDays: max(int(set.policy.MaxApproval()/(24*time.Hour)), 1),
				}); err != nil {
					return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("this approval would not count for rule %s: %w", rule, err)}
				}
			}
			rec := store.ApprovalRecord{Release: q.Release, Rules: rules, By: name, At: now, Until: end}
			if err := s.PutApproval(ctx, env, rec); err != nil {
				return err
			}
			if path, err := c.keepApproval(set, file, env); err != nil {
				return err
			} else if path != "" {
				fmt.Fprintf(c.Stdout, "added to %s; commit it with the change\n", report.Clean(path))
			}
			held, err := s.Approvals(ctx, []trust.Release{q.Release})
			if err != nil {
				return err
			}
			var envelopes [][]byte
			var ids []string
			for _, h := range held[q.Release] {
				envelopes = append(envelopes, h.Envelope)
				ids = append(ids, h.ID)
			}
			missing := ""
			for _, rule := range rules {
				n, ok := set.policy.Quorum(rule)
				if !ok {
					return usage("rule %s takes no approval", rule)
				}
				if _, err := approval.VerifyQuorum(envelopes, people, approval.Want{
					Release: q.Release, Artifacts: q.Artifacts, Evidence: q.Evidence, Rule: rule, Requester: q.By, Now: now,
					MaxDays: max(int(set.policy.MaxApproval()/(24*time.Hour)), 1), Quorum: n,
				}); err != nil {
					missing = fmt.Sprintf("rule %s needs %d people", rule, n)
				}
			}
			if missing != "" {
				fmt.Fprintf(c.Stdout, "%s approved by %s until %s; not enough yet: %s\n", q.ID, report.Clean(name), end.Format(dayLayout), missing)
				return nil
			}
			if err := s.DecideRequest(ctx, q.ID, store.RequestApproved, name, reason, ids); err != nil {
				return err
			}
			fmt.Fprintf(c.Stdout, "%s approved by %s until %s: %s\n", q.ID, report.Clean(name), end.Format(dayLayout), report.Clean(q.Release.PURL()))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&reason, "reason", "", "why it may come in (required)")
	f.StringVar(&until, "until", "", "last day, YYYY-MM-DD; the policy's maximum if not given")
	f.StringVar(&key, "key", "", "SSH private key, or public key of one in ssh-agent (required)")
	f.StringVar(&file, "file", "", "trust file to add the approval to; "+TrustFile+" of the repository if it has one")
	f.StringVar(&as, "as", "", "approver's name in the policy, if the key alone does not say")
	f.StringVar(&o.config, "config", "", "configuration instead of "+ConfigFile)
	o.storeFlag(cmd)
	return cmd
}

// whoIs returns the name under which the policy knows the key.
func whoIs(set *setting, signer ssh.Signer, as string) (string, error) {
	want := ssh.FingerprintSHA256(signer.PublicKey())
	for _, a := range set.policy.Config().Approvers {
		if a.SSH == "" || as != "" && a.Name != as {
			continue
		}
		k, err := sshsig.ParsePublicKey([]byte(a.SSH))
		if err == nil && ssh.FingerprintSHA256(k) == want {
			return a.Name, nil
		}
	}
	return "", &exitError{code: ingest.ExitUsage, err: fmt.Errorf("key %s is no approver's", want), hint: "approvers are named in " + ConfigFile}
}

// maxKeyFile bounds an SSH key file in bytes.
const maxKeyFile = 1 << 20

// sshSigner opens a private key file, or a key of ssh-agent by its public key file.
func (c *Command) sshSigner(path string) (ssh.Signer, func(), error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, nil, err
	}
	if pub, err := sshsig.ParsePublicKey(b); err == nil {
		sock := c.Getenv("SSH_AUTH_SOCK")
		if sock == "" {
			return nil, nil, fmt.Errorf("%s is a public key, and no ssh-agent is running to sign with it", path)
		}
		conn, err := net.Dial("unix", sock)
		if err != nil {
			return nil, nil, fmt.Errorf("ssh-agent: %w", err)
		}
		s, err := sshsig.AgentSigner(agent.NewClient(conn), pub)
		if err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
		return s, func() { _ = conn.Close() }, nil
	}
	s, err := sshsig.ParseSigner(b, func() ([]byte, error) {
		in, ok := c.Stdin.(*os.File)
		if !ok || !term.IsTerminal(int(in.Fd())) {
			return nil, fmt.Errorf("%s is encrypted, and there is no terminal to ask for its passphrase: use ssh-agent", path)
		}
		fmt.Fprintf(c.Stderr, "passphrase of %s: ", path)
		defer fmt.Fprintln(c.Stderr)
		return term.ReadPassword(int(in.Fd()))
	})
	return s, func() {}, err
}

func (c *Command) rejectCommand() *cobra.Command {
	o := &options{}
	d := &deed{what: "a rejection"}
	cmd := &cobra.Command{
		Use:     "reject ID --reason TEXT",
		Short:   "Reject a request",
		Example: `  headgate reject q-0123456789ab --reason "use the standard library"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.by(c)
			if err != nil {
				return err
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				q, err := s.Request(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := s.DecideRequest(cmd.Context(), q.ID, store.RequestRejected, who, d.reason, nil); err != nil {
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
