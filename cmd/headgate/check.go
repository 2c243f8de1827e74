package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/downloads"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/scan"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
)

func cleanLine(s string) string { return report.Clean(s) }

func (c *Command) checkCommand() *cobra.Command {
	o, at := &options{}, &attestFlags{}
	cmd := &cobra.Command{
		Use:   "check [SOURCE]",
		Short: "Gate what is new in a source",
		Long: `check judges every component that SOURCE adds or changes against the base, or
every component without one. SOURCE is a directory (the default is the current
one), a lock file, an SBOM, an image archive or a package URL.

Exit codes: 0 allowed, 1 stopped by policy, 2 evidence unreachable, 3 usage or
configuration, 4 internal error, 5 nothing to check.`,
		Example: `  headgate check                                  everything in this directory
  headgate check --base origin/main               what this branch adds
  headgate check package-lock.json -o text -o sarif=headgate.sarif
  headgate check pkg:npm/left-pad@1.3.0           one release`,
		Args: operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source := "."
			if len(args) == 1 {
				source = args[0]
			}
			outs, err := report.ParseOutputs(o.output)
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			if err := at.check(cmd); err != nil {
				return err
			}
			r, err := c.gateRun(cmd.Context(), o, gateCall{command: "check", source: source})
			if err != nil {
				return err
			}
			if err := c.write(r, outs, o); err != nil {
				return err
			}
			if err := c.attest(cmd.Context(), o, at, r); err != nil {
				return err
			}
			return stopped(r.ExitCode)
		},
	}
	cmd.Flags().StringVar(&o.base, "base", "", "git revision or SBOM that SOURCE is compared with")
	cmd.Flags().StringVar(&o.requester, "requester", "", "who asks for the change; $HEADGATE_REQUESTER")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "record nothing")
	at.register(cmd)
	o.gateFlags(cmd)
	o.outputFlags(cmd)
	return cmd
}

// write writes all reports: files first, so that a job that is cut off while it
// prints has them.
func (c *Command) write(r *ingest.Report, outs []report.Output, o *options) error {
	opt := report.Options{Quiet: o.quiet, Verbose: o.verbose, Color: c.Terminal && c.Getenv("NO_COLOR") == "" && c.Getenv("TERM") != "dumb"}
	var mute error
	for _, out := range outs {
		if out.Path == "" {
			continue
		}
		if err := report.WriteFile(out.Path, out.Format, r, opt); errors.Is(err, report.ErrNotLookedUp) {
			mute = err
		} else if err != nil {
			return err
		}
	}
	for _, out := range outs {
		if out.Path != "" {
			continue
		}
		if err := report.Write(c.Stdout, out.Format, r, opt); errors.Is(err, report.ErrNotLookedUp) {
			mute = err
		} else if err != nil {
			return err
		}
	}
	if mute == nil {
		return nil
	}
	// A report that cannot say what it was asked for decides nothing, and hides
	// nothing that was decided.
	return &exitError{code: cmp.Or(r.ExitCode, ingest.ExitUndecided), err: mute, hint: "set advisories.source in headgate.yaml, then headgate db update"}
}

// gateCall is what the commands that run the gate differ in.
type gateCall struct {
	command   string
	source    string
	inventory *sbom.Inventory // instead of source
	baseline  ingest.Baseline
	dryRun    bool
	// store is an open store; nil to open the one that the flags name.
	store *store.Store
}

// gateRun sets the gate up and runs it.
func (c *Command) gateRun(ctx context.Context, o *options, call gateCall) (*ingest.Report, error) {
	if o.jobs < 1 || o.jobs > ingest.MaxJobs {
		return nil, usage("--jobs is %d; it is 1 to %d", o.jobs, ingest.MaxJobs)
	}
	var base *baseOf
	var readings *scan.Readings
	if o.base != "" {
		readings = &scan.Readings{}
		var err error
		if base, err = openBase(ctx, o.base, call.source, readings); err != nil {
			return nil, err
		}
		defer base.close()
	}
	var git *baseTree
	if base != nil {
		git = base.git
	}
	set, err := c.settings(o, call.source, git, base != nil && git == nil)
	if err != nil {
		return nil, err
	}
	inv := call.inventory
	if inv == nil {
		if inv, err = openSource(ctx, call.source, readings); err != nil {
			return nil, err
		}
	}
	s := call.store
	if s == nil {
		if s, err = c.openStore(ctx, o, false); err != nil {
			return nil, err
		}
		defer s.Close()
	}
	accepted, err := set.accepted()
	if err != nil {
		return nil, err
	}
	g, err := c.gate(o, set, s)
	if err != nil {
		return nil, err
	}
	// A directory brings the downloads of its configuration along; they are judged in
	// full every time, for their bytes are what somebody serves today.
	if inv.Source.Scheme == "dir" {
		if err := downloads.Add(inv, o.downloads, ConfigFile); err != nil {
			return nil, &exitError{code: ingest.ExitUsage, err: err}
		}
	}
	q := ingest.Request{
		Command: call.command, Inventory: inv, Origin: set.origin, Notes: set.notes, GateEdits: set.edits,
		Requester: c.requester(o), Bytes: o.bytes, DryRun: call.dryRun || o.dryRun, Baseline: call.baseline,
		Accepted: accepted,
	}
	if inv.Source.Scheme == "dir" {
		root, err := os.OpenRoot(sourceDir(call.source))
		if err != nil {
			return nil, usage("%w", err)
		}
		defer root.Close()
		q.Files = root.FS()
	}
	if base != nil {
		q.Base, q.BaseInfo = base.inventory, base.info
	}
	if q.Approvals, err = c.carried(set, git); err != nil {
		return nil, err
	}
	if call.inventory == nil || call.command == "init" {
		if q.SourceDifferences, err = c.differences(call.source, inv, o.registries); err != nil {
			return nil, err
		}
	}
	bar := c.progress(o)
	g.Progress = bar.step
	r, err := g.Check(ctx, q)
	bar.done()
	switch {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, store.ErrBusy):
		return nil, hint(err, "another headgate is writing; try again")
	}
	return nil, err
}

// gate puts the gate together.
func (c *Command) gate(o *options, set *setting, s *store.Store) (*ingest.Gate, error) {
	cfg := set.policy.Config()
	o.registries, o.materials = cfg.Registries, set.materials
	o.instances = &instances{c: c, config: &cfg, read: set.read}
	if o.config != "" {
		o.instances.read = beside(o.config)
	}
	if err := o.instances.check(context.Background()); err != nil {
		return nil, err
	}
	var err error
	if o.keysMaps, err = c.keysMaps(o, set, cfg.KeysMaps); err != nil {
		return nil, err
	}
	if o.downloads, err = downloads.From(set.policy.Config()); err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	}
	adapters, err := c.adapters(o, s)
	if err != nil {
		return nil, err
	}
	g := &ingest.Gate{
		Tool: "headgate " + c.Version, Adapters: adapters.byType, Memory: s, Judge: set.policy, Clock: c.Clock,
		Continuity: ingest.CompareSigners, Jobs: o.jobs, Usage: adapters.usage,
	}
	g.Unsupported = ecosystems.Unsupported
	g.Internal = set.policy.Config().Policy.InternalNamespaces
	g.Private = adapters.private
	g.Current = adapters.current
	g.Alarm = s.Alarm
	if set.policy.Config().Inspection.Mode == "off" {
		set.notes = append(set.notes, "packages are not looked into: inspection.mode is off")
	} else {
		g.Contents = &ingest.Contents{Manifest: adapters.manifest, Materials: adapters.keys, Clock: c.Clock}
		g.Contents.Deep = o.deep
		if g.Contents.Sources, err = c.sources(o); err != nil {
			return nil, err
		}
	}
	if g.Advisories, err = c.advisories(o, set); err != nil {
		return nil, err
	}
	set.notes = append(set.notes, adapters.notes...)
	g.Explain = o.explain
	if o.noReuse {
		g.Reuse = -1
	}
	people, err := c.approvers(o, set.policy)
	if err != nil {
		return nil, usage("%s: %w", set.origin, err)
	}
	if people != nil {
		g.Approve = approve(set.policy, people)
	}
	return g, nil
}

func (c *Command) requester(o *options) string {
	if o.requester != "" {
		return o.requester
	}
	if r := c.Getenv("HEADGATE_REQUESTER"); r != "" {
		return r
	}
	return ""
}

// person is who runs a command that changes trust.
func (c *Command) person(flag string) (string, error) {
	for _, v := range []string{flag, c.Getenv("HEADGATE_USER"), c.Getenv("USER"), c.Getenv("LOGNAME")} {
		if v != "" {
			return v, nil
		}
	}
	return "", usage("nobody is named: say who you are with --by NAME")
}

// approve verifies, for every finding that holds, the approvals at hand. What
// does not verify is left out; the finding then stays.
func approve(p *policies.Policy, people *approval.Approvers) ingest.Approve {
	return func(in policies.Input, findings []trust.Finding, held []store.ApprovalRecord, requester string) []policies.Approval {
		want := approval.Want{
			Release: in.Component.Release, Artifacts: in.Component.Artifacts, Evidence: trust.Conclusions(in.Evidence),
			Requester: requester, NotBefore: knownSince(in), Now: in.Now, MaxDays: approvalDays(p),
		}
		out := map[string]*policies.Approval{}
		var order []string
		for _, f := range findings {
			if f.Effect != trust.EffectHold || !f.Counts() {
				continue
			}
			want.Rule = f.Rule
			for _, h := range held {
				a, err := approval.Verify(h.Envelope, people, want)
				if err != nil {
					continue
				}
				if out[a.ID()] == nil {
					out[a.ID()] = &policies.Approval{ID: a.ID(), By: a.Approver(), Until: a.Statement().Expires}
					order = append(order, a.ID())
				}
				out[a.ID()].Rules = append(out[a.ID()].Rules, f.Rule)
			}
		}
		var as []policies.Approval
		for _, id := range order {
			as = append(as, *out[id])
		}
		return as
	}
}

// knownSince is the time before which nobody can have approved what is judged: it
// was not published, or not signed. The registry's word can only tighten it, and
// a time that is still to come says nothing.
func knownSince(in policies.Input) time.Time {
	var since time.Time
	times := []time.Time{in.Facts.Published}
	for _, e := range in.Evidence {
		times = append(times, e.SignedAt)
	}
	for _, t := range times {
		if t = t.Add(-approval.MaxClockSkew); t.After(since) && t.Before(in.Now) {
			since = t
		}
	}
	return since
}

// carried are the approvals of headgate.trust: of the head, as a change may bring
// its approvals along. They count by their signatures alone.
func (c *Command) carried(set *setting, base *baseTree) (map[trust.Release][]store.ApprovalRecord, error) {
	root := set.root
	if base != nil {
		root = base.repo.Root()
	}
	data, err := readSmall(root + string(os.PathSeparator) + TrustFile)
	if err != nil || data == nil {
		return nil, err
	}
	ts, err := store.ParseTrustSet(data)
	if err != nil {
		return nil, usage("%s: %w", TrustFile, err)
	}
	out := map[trust.Release][]store.ApprovalRecord{}
	for _, env := range ts.Approvals {
		st, err := approval.Peek(env)
		if err != nil {
			return nil, usage("%s: an approval cannot be read: %w", TrustFile, err)
		}
		out[st.Release] = append(out[st.Release], store.ApprovalRecord{Envelope: env, Release: st.Release, Rules: st.Rules, By: st.Approver, Until: st.Expires, At: st.Issued})
	}
	return out, nil
}

// bar shows progress: one moving line on a terminal, a line now and then elsewhere.
type bar struct {
	c     *Command
	on    bool
	shown bool
	last  time.Time
}

// progressEvery is the time between two lines of progress where there is no terminal.
const progressEvery = 10 * time.Second

func (c *Command) progress(o *options) *bar {
	return &bar{c: c, on: !o.noProgress && !o.quiet, last: c.Clock()}
}

func (b *bar) step(done, all int) {
	if !b.on || all == 0 {
		return
	}
	now := b.c.Clock()
	if !b.c.ErrTerminal {
		if now.Sub(b.last) >= progressEvery {
			b.last = now
			fmt.Fprintf(b.c.Stderr, "headgate: %d of %d components checked\n", done, all)
		}
		return
	}
	if now.Sub(b.last) < 100*time.Millisecond && done < all {
		return
	}
	b.last, b.shown = now, true
	const width = 30
	n := width * done / all
	fmt.Fprintf(b.c.Stderr, "\r  %s%s %d/%d", strings.Repeat("█", n), strings.Repeat("░", width-n), done, all)
}

// done wipes the bar.
func (b *bar) done() {
	if b.shown {
		fmt.Fprint(b.c.Stderr, "\r\x1b[K")
	}
}

func sortedTypes[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
