package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/trust"
)

// starter is the headgate.yaml that init writes: what counts anyway, spelled
// out, with what a team usually adds as comments.
const starter = `# headgate: the gate between open-source packages and this codebase.
# In a pre-merge check (headgate check --base REF) this file counts as it stands
# in the base; a change that edits it gets a finding of its own.
version: 1

policy:
  # audit reports and stops nothing, baseline is the default, strict asks for more.
  extends: baseline
  # parameters:
  #   cooldown: 3d            # how old a release must be
  #   minimumSeverity: high   # least severity of an advisory that stops
  # internalNamespaces:       # packages that must never come from a public registry
  #   - pkg:npm/@example/*

# People whose signed approvals count. Approver and requester are different people.
# approvers:
#   - name: alice
#     ssh: ssh-ed25519 AAAA... alice@example.com
#     scope: ["pkg:npm/*", "pkg:golang/*"]

# Hold findings that are set aside for single releases, until a day.
# exceptions:
#   - release: pkg:npm/example@1.0.0
#     digests: [sha512-...]
#     rules: [cooldown]
#     reason: urgent fix, reviewed by hand
#     until: 2026-12-31
`

// maxListed bounds what init lists without --verbose.
const maxListed = 20

// maxRuns is how many runs init looks back for an earlier baseline.
const maxRuns = 1_000_000

func (c *Command) initCommand() *cobra.Command {
	o := &options{}
	var extend bool
	cmd := &cobra.Command{
		Use:   "init [SOURCE]",
		Short: "Introduce headgate: create the store, write headgate.yaml, record the baseline",
		Long: `init creates the trust store, writes a commented headgate.yaml where there is
none, and records the baseline: every component that is there today is pinned by
its digests, and its verified signers are accepted for that package. Afterwards
check stops only what is new or different. What is blocked is never pinned.

Running init again changes nothing that people decided, and pins nothing new
unless --extend says so.`,
		Example: `  headgate init
  headgate init package-lock.json --store team.db`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			source := "."
			if len(args) == 1 {
				source = args[0]
			}
			inv, err := openSource(ctx, source)
			if err != nil {
				return err
			}
			s, err := c.openStore(ctx, o, true)
			if err != nil {
				return err
			}
			defer s.Close()
			if s.ReadOnly() {
				return usage("%s cannot be written: init needs a store of its own (--store FILE)", s.Path())
			}
			abs, err := filepath.Abs(source)
			if err != nil {
				return err
			}
			inv.Source.Name = abs
			again := false
			runs, err := s.Runs(ctx, maxRuns)
			if err != nil {
				return err
			}
			for _, r := range runs {
				again = again || r.Command == "init" && r.Source == abs
			}
			path := filepath.Join(repositoryRoot(sourceDir(source)), ConfigFile)
			wrote := false
			if _, err := os.Lstat(path); o.config == "" && os.IsNotExist(err) {
				if err := report.Durable(path, 0o644, func(w io.Writer) error { _, err := io.WriteString(w, starter); return err }); err != nil {
					return err
				}
				wrote = true
			}
			r, err := c.gateRun(ctx, o, gateCall{command: "init", source: source, inventory: inv, store: s, baseline: !again || extend, dryRun: again && !extend})
			if err != nil {
				return err
			}
			c.baselineText(r, s.Path(), path, wrote, again && !extend, o.verbose)
			if r.Empty {
				return stopped(ingest.ExitNothing)
			}
			if r.Summary.Verdicts[trust.Block] > 0 {
				return stopped(ingest.ExitStopped)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&extend, "extend", false, "pin what is there now in an existing baseline too")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "list everything")
	o.gateFlags(cmd)
	return cmd
}

// baselineText tells a team its starting point.
func (c *Command) baselineText(r *ingest.Report, store, config string, wrote, again, verbose bool) {
	p := func(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }
	clean := report.Clean
	switch {
	case r.Empty:
		p("headgate: no component found in %s; the store %s is ready", clean(r.Source.Name), clean(store))
	case again:
		p("headgate: %s has its baseline already; nothing was changed (--extend pins what is there now)", clean(r.Source.Name))
	default:
		p("headgate: baseline of %d components recorded in %s", len(r.Components)-r.Summary.Verdicts[trust.Block], clean(store))
	}
	if wrote {
		p("  wrote %s", clean(config))
	} else {
		p("  %s is yours and was not changed", clean(config))
	}
	if len(r.Components) == 0 {
		return
	}
	levels := []trust.Assurance{trust.AssuranceReproduced, trust.AssuranceProvenance, trust.AssurancePublisher, trust.AssuranceRegistry, trust.AssuranceNone}
	table := map[string]map[trust.Assurance]int{}
	var weak, better, blocked []string
	for i := range r.Components {
		k := &r.Components[i]
		t := k.Release.Package.Type
		if table[t] == nil {
			table[t] = map[trust.Assurance]int{}
		}
		table[t][k.Assurance]++
		purl := clean(k.Release.PURL())
		switch {
		case k.Verdict == trust.Block:
			blocked = append(blocked, purl+"  "+clean(first(k.Findings)))
		case k.Assurance < k.Offered:
			better = append(better, fmt.Sprintf("%s  %s, the ecosystem offers %s", purl, k.Assurance, k.Offered))
		case k.Assurance == trust.AssuranceNone:
			weak = append(weak, purl)
		}
	}
	p("\n  %-14s %10s %10s %10s %10s %10s", "ecosystem", "reproduced", "provenance", "publisher", "registry", "none")
	for _, t := range sortedTypes(table) {
		row := fmt.Sprintf("  %-14s", clean(t))
		for _, l := range levels {
			row += fmt.Sprintf(" %10d", table[t][l])
		}
		p("%s", row)
	}
	list := func(title string, xs []string) {
		if len(xs) == 0 {
			return
		}
		slices.Sort(xs)
		p("\n%s (%d)", title, len(xs))
		for i, x := range xs {
			if i == maxListed && !verbose {
				p("  and %d more, see --verbose", len(xs)-i)
				break
			}
			p("  %s", x)
		}
	}
	list("Blocked, not pinned", blocked)
	list("Pinned by digest only, could be better", better)
	list("Pinned by digest only, nothing better is offered or known", weak)
	p("\n  next: headgate check")
}

func first(fs []trust.Finding) string {
	for _, f := range fs {
		if f.Effect == trust.EffectBlock && f.Counts() {
			return f.Rule + ": " + f.Message
		}
	}
	return ""
}
