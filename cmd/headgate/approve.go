package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
)

// dayLayout is how dates are given on the command line.
const dayLayout = "2006-01-02"

// approveFlags say what is approved, until when, and where the approval goes.
type approveFlags struct {
	signerFlags
	reason, until, as, file string
}

func (c *Command) approveCommand() *cobra.Command {
	o, f := &options{}, &approveFlags{}
	cmd := &cobra.Command{
		Use:   "approve ID --reason TEXT [--until DATE] [--key KEY]",
		Short: "Approve a request with a signed statement",
		Long: `approve signs a statement for exactly this release, these digests, this evidence
and the rules that hold it, and keeps it in the store, and in headgate.trust where
the repository has one. Approver and requester are different people.

You sign with what the policy's approvers name for you:
  ssh        --key with a private key file, the public key file of a key in
             ssh-agent, or ssh-agent:SHA256:…
  publicKey  --key with a PKCS#8, PEM, cosign or minisign key file
  x509       --key with a PKCS#12 file, or PEM with --certificate
  sigstore   no --key: the CI's own token, or signing in with a browser (--device
             for a code on another device)
The passphrase of a key file is asked for on the terminal, or comes from
$HEADGATE_PASSPHRASE.`,
		Example: `  headgate approve q-0123456789ab --reason "reviewed the source" --key ~/.ssh/id_ed25519
  headgate approve q-0123456789ab --reason "urgent fix" --until 2026-12-31 --key me.p12
  headgate approve q-0123456789ab --reason "reviewed the source"          keyless`,
		Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(f.reason) == "" {
				return usage("an approval needs a reason: --reason TEXT")
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				return c.runApprove(cmd.Context(), o, f, s, args[0])
			})
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.reason, "reason", "", "why it may come in (required)")
	fl.StringVar(&f.until, "until", "", "last day, YYYY-MM-DD; the policy's maximum if not given")
	fl.StringVar(&f.file, "file", "", "trust file to add the approval to; "+TrustFile+" of the repository if it has one")
	fl.StringVar(&f.as, "as", "", "approver's name in the policy, if the key alone does not say")
	fl.StringVar(&o.config, "config", "", "configuration instead of "+ConfigFile)
	fl.StringVar(&o.trustedRoot, "trusted-root", "", "Sigstore trusted root to use instead of the one fetched by TUF")
	fl.BoolVar(&o.offline, "offline", false, "make no network call")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) runApprove(ctx context.Context, o *options, f *approveFlags, s *store.Store, id string) error {
	set, err := c.settings(o, ".", nil, false)
	if err != nil {
		return err
	}
	people, err := c.approvers(o, set.policy)
	if err != nil {
		return usage("%s: %w", set.origin, err)
	}
	if people == nil {
		return &exitError{code: ingest.ExitUsage, err: errors.New("the policy names no approvers, so nobody can approve"), hint: "add approvers to " + ConfigFile + " on the main branch; headgate init wrote an example into it"}
	}
	q, rules, err := c.approvable(ctx, s, set.policy, id)
	if err != nil {
		return err
	}
	now := c.now().UTC().Truncate(time.Second)
	end, err := f.end(c, now, set.policy.MaxApproval())
	if err != nil {
		return err
	}
	who, err := c.endorser(ctx, o, f, set.policy)
	if err != nil {
		return verifyError(err)
	}
	// Before anything is signed, for a signature may go into a public log.
	for _, rule := range rules {
		if err := people.Refusal(who.name, q.Release.Package, rule, q.By); err != nil {
			others := people.Eligible(q.Release.Package, rule, q.By)
			h := "the policy names nobody else for rule " + rule
			if len(others) > 0 {
				h = "rule " + rule + " can be approved by " + strings.Join(others, ", ")
			}
			return &exitError{code: ingest.ExitUsage, err: err, hint: h}
		}
	}
	st := approval.Statement{
		Release: q.Release, Artifacts: q.Artifacts, Evidence: q.Conclusions, Rules: rules, Requester: q.By, Approver: who.name,
		Reason: f.reason, Issued: now, Expires: end,
	}
	env, err := approval.Sign(st, who.sign)
	if err != nil {
		return verifyError(err)
	}
	// What this command writes must be what every later check accepts.
	want := approval.Want{Release: q.Release, Artifacts: q.Artifacts, Evidence: st.Evidence, Requester: q.By, Now: now, MaxDays: approvalDays(set.policy)}
	for _, want.Rule = range rules {
		if _, err := approval.Verify(env, people, want); err != nil {
			return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("this approval would not count for rule %s: %w", want.Rule, err)}
		}
	}
	if err := s.PutApproval(ctx, env, store.ApprovalRecord{Release: q.Release, Rules: rules, By: who.name, At: now, Until: end}); err != nil {
		return err
	}
	if path, err := c.keepApproval(set, f.file, env); err != nil {
		return err
	} else if path != "" {
		fmt.Fprintf(c.Stdout, "added to %s; commit it with the change\n", report.Clean(path))
	}
	ids, missing, err := quorum(ctx, s, set.policy, people, want, rules)
	if err != nil {
		return err
	}
	lastDay := end.Add(-time.Nanosecond).Format(dayLayout)
	if missing != "" {
		fmt.Fprintf(c.Stdout, "%s approved by %s until %s; not enough yet: %s\n", q.ID, report.Clean(who.name), lastDay, report.Clean(missing))
		return nil
	}
	if err := s.DecideRequest(ctx, q.ID, store.RequestDecision{State: store.RequestApproved, By: who.name, Reason: f.reason, Approvals: ids, Seen: q.Decision}); err != nil {
		return err
	}
	fmt.Fprintf(c.Stdout, "%s approved by %s until %s: %s\n", q.ID, report.Clean(who.name), lastDay, report.Clean(q.Release.PURL()))
	return nil
}

// waiting returns a request that is still to be decided.
func waiting(ctx context.Context, s *store.Store, id string) (store.RequestRecord, error) {
	q, err := s.Request(ctx, id)
	if err == nil && q.State != store.RequestOpen && q.State != store.RequestReopened {
		err = usage("request %s is %s already", q.ID, q.State)
	}
	return q, err
}

// approvable returns a request that waits for an approval, and the rules that an
// approval sets aside.
func (c *Command) approvable(ctx context.Context, s *store.Store, p *policies.Policy, id string) (store.RequestRecord, []string, error) {
	q, err := waiting(ctx, s, id)
	if err != nil {
		return q, nil, err
	}
	last, err := s.Decisions(ctx, store.DecisionFilter{Release: q.Release, Limit: 1})
	if err != nil {
		return q, nil, err
	}
	if len(last) > 0 && last[0].Verdict == trust.Block {
		return q, nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("%s is blocked by now, and nobody may let it in", q.Release), hint: "headgate explain '" + q.Release.PURL() + "'; headgate reject " + q.ID + " --reason TEXT"}
	}
	rules := q.Rules()
	for _, rule := range rules {
		if _, ok := p.Quorum(rule); !ok {
			return q, nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("rule %s takes no approval under this policy", rule), hint: "headgate policy show"}
		}
	}
	if len(rules) == 0 {
		return q, nil, usage("request %s has no finding that an approval could set aside", q.ID)
	}
	return q, rules, nil
}

// end is when the approval ends: behind the day of --until, or as late as the
// policy allows.
func (f *approveFlags) end(c *Command, now time.Time, longest time.Duration) (time.Time, error) {
	end := now.Add(longest)
	if f.until == "" {
		return end, nil
	}
	day, err := c.parseEnd(f.until)
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case day.AddDate(0, 0, -1).After(end):
		return time.Time{}, usage("--until %s is beyond what the policy allows, %s", f.until, end.Format(dayLayout))
	case day.Before(end):
		return day, nil
	}
	return end, nil
}

// quorum collects the approvals at hand that count, and says what is missing.
func quorum(ctx context.Context, s *store.Store, p *policies.Policy, people *approval.Approvers, want approval.Want, rules []string) (ids []string, missing string, err error) {
	held, err := s.Approvals(ctx, []trust.Release{want.Release})
	if err != nil {
		return nil, "", err
	}
	var lacks []string
	for _, want.Rule = range rules {
		n, _ := p.Quorum(want.Rule)
		var by []string
		for _, h := range held[want.Release] {
			a, err := approval.Verify(h.Envelope, people, want)
			if err != nil || slices.Contains(by, a.Approver()) {
				continue
			}
			by = append(by, a.Approver())
			if !slices.Contains(ids, h.ID) {
				ids = append(ids, h.ID)
			}
		}
		if len(by) >= n {
			continue
		}
		others := slices.DeleteFunc(people.Eligible(want.Release.Package, want.Rule, want.Requester), func(name string) bool { return slices.Contains(by, name) })
		lack := fmt.Sprintf("rule %s needs %d people, %d so far", want.Rule, n, len(by))
		if len(others) > 0 {
			lack += "; also asked: " + strings.Join(others, ", ")
		}
		lacks = append(lacks, lack)
	}
	return ids, strings.Join(lacks, "; "), nil
}

func approvalDays(p *policies.Policy) int { return max(int(p.MaxApproval()/(24*time.Hour)), 1) }

// endorser is who signs an approval, by the policy's name, and how.
type endorser struct {
	name string
	sign dsse.SignFunc
}

// endorser finds the approver whose key or identity this is.
func (c *Command) endorser(ctx context.Context, o *options, f *approveFlags, p *policies.Policy) (endorser, error) {
	var mine []policies.Approver
	keyless := false
	for _, a := range p.Config().Approvers {
		if f.as == "" || a.Name == f.as {
			mine = append(mine, a)
			keyless = keyless || a.Sigstore != nil
		}
	}
	if len(mine) == 0 {
		return endorser{}, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("the policy names no approver %q", f.as), hint: "approvers are named in " + ConfigFile}
	}
	if f.key == "" && !keyless {
		return endorser{}, usage("an approval is signed: --key names your key")
	}
	s, err := c.signer(ctx, o, &f.signerFlags)
	if err != nil {
		return endorser{}, err
	}
	if s.Key == nil {
		return keylessEndorser(ctx, s, mine)
	}
	if len(s.Logs)+len(s.Timestamps) > 0 {
		return endorser{}, usage("an approval by --key has no witnesses; leave the services out")
	}
	return keyEndorser(s.Key, mine)
}

// keylessEndorser learns from the certificate who signs, before anything is signed.
func keylessEndorser(ctx context.Context, s *signing.Signer, mine []policies.Approver) (endorser, error) {
	key, err := s.Keyless.Certified(ctx)
	if err != nil {
		return endorser{}, err
	}
	id, err := sigstore.UnverifiedSigner(key.Certificates()[0])
	if err != nil {
		return endorser{}, err
	}
	for _, a := range mine {
		if a.Sigstore != nil && a.Sigstore.Issuer == id.Issuer && a.Sigstore.Identity == id.SAN {
			certified := signing.Signer{Key: key, Logs: s.Logs, Timestamps: s.Timestamps}
			return endorser{a.Name, func(m []byte) ([]byte, string, error) {
				b, err := certified.Message(ctx, m)
				return b, "", err
			}}, nil
		}
	}
	return endorser{}, notApprover(fmt.Sprintf("%s (issuer %s)", id.SAN, id.Issuer), fmt.Sprintf("sigstore: {issuer: %q, identity: %q}", id.Issuer, id.SAN))
}

func keyEndorser(key *signing.Key, mine []policies.Approver) (endorser, error) {
	// A security key behind an agent is no plain key.
	var plain dsse.Key
	if key.Public() != nil {
		var err error
		if plain, err = dsse.NewKey(key.Public()); err != nil {
			return endorser{}, usage("the key: %w", err)
		}
	}
	sshKey, sshErr := key.SSHSigner()
	chain := key.Certificates()
	for _, a := range mine {
		switch {
		case a.X509 != nil && len(chain) > 0 && chain[0].Subject.String() == a.X509.Subject && chain[0].Issuer.String() == a.X509.Issuer:
			return endorser{a.Name, func(m []byte) ([]byte, string, error) {
				b, err := key.CMS(m)
				return b, "", err
			}}, nil
		case a.SSH != "" && sshErr == nil:
			if cred, err := approval.SSHCredential(a.SSH); err == nil && cred.Holds(sshKey.PublicKey()) {
				return endorser{a.Name, approval.SSHSign(sshKey)}, nil
			}
		case a.PublicKey != "" && plain != nil:
			if cred, err := approval.KeyCredential([]byte(a.PublicKey)); err == nil && cred.Identity() == plain.Identity() {
				return endorser{a.Name, func(m []byte) ([]byte, string, error) {
					b, err := key.Raw(m)
					return b, "", err
				}}, nil
			}
		}
	}
	what, entry := "this key", ""
	switch {
	case len(chain) > 0:
		root := chain[len(chain)-1]
		sum := sha256.Sum256(root.Raw)
		what = fmt.Sprintf("the certificate of %q, issued by %q", chain[0].Subject.String(), chain[0].Issuer.String())
		entry = fmt.Sprintf("x509 with this subject and issuer, and the root in PEM (the last certificate at hand has SHA-256 %x)", sum)
	case sshErr == nil:
		what = "key " + ssh.FingerprintSHA256(sshKey.PublicKey())
		entry = "ssh: " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshKey.PublicKey())))
	}
	return endorser{}, notApprover(what, entry)
}

// notApprover tells somebody who is no approver how to become one.
func notApprover(what, entry string) error {
	h := "approvers are named in " + ConfigFile
	if entry != "" {
		h += " on the main branch; an entry for this one has a name, a scope, and " + entry
	}
	return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("%s is no approver's", what), hint: h}
}
