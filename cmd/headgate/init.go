package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
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
	var extend, unsafe bool
	cmd := &cobra.Command{
		Use:   "init [SOURCE]",
		Short: "Introduce headgate: create the store, write headgate.yaml, record the baseline",
		Long: `init creates the trust store, writes a commented headgate.yaml where there is
none, and records the baseline: every component that is there today is pinned by
its digests, and its verified signers are accepted for that package. Afterwards
check stops only what is new or different.

What is blocked is never pinned. What could not be reached is not recorded either,
for nobody has looked at it: run init again, and it goes on with that alone.

Running init again changes nothing that people decided, and pins nothing new
unless --extend says so.

Exit codes: 0 recorded, 1 something is blocked, 2 something could not be reached,
3 usage or configuration, 4 internal error, 5 no component there.`,
		Example: `  headgate init
  headgate init package-lock.json --store team.db`,
		Args: operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			source := "."
			if len(args) == 1 {
				source = args[0]
			}
			inv, err := openSource(ctx, source, nil)
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
			t := baselineText{store: s.Path(), verbose: o.verbose, all: len(inv.Components)}
			var left []sbom.Component
			if t.again, left, err = unfinished(ctx, s, inv); err != nil {
				return err
			}
			t.config = filepath.Join(repositoryRoot(sourceDir(source)), ConfigFile)
			if _, err := os.Lstat(t.config); o.config == "" && os.IsNotExist(err) {
				if err := writeFile(t.config, []byte(starter)); err != nil {
					return err
				}
				t.wrote = true
			}
			call := gateCall{command: "init", source: source, inventory: inv, store: s, baseline: ingest.BaselineReached}
			if unsafe {
				call.baseline = ingest.BaselineUnsafeUnreachable
			}
			switch {
			case extend:
				t.again = false
			case t.again && len(left) > 0:
				inv.Components, t.rest = left, true
			case t.again:
				call.baseline, call.dryRun = ingest.BaselineNone, true
			}
			r, err := c.gateRun(ctx, o, call)
			if err != nil {
				return err
			}
			missed := t.print(c, r, unsafe)
			switch {
			case r.Empty:
				return stopped(ingest.ExitNothing)
			case r.Summary.Verdicts[trust.Block] > 0:
				return stopped(ingest.ExitStopped)
			case missed > 0:
				return stopped(ingest.ExitUndecided)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&extend, "extend", false, "pin what is there now in an existing baseline too")
	cmd.Flags().BoolVar(&unsafe, "unsafe-unreachable", false, "pin by its digests what could not be reached, too")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "list everything")
	o.gateFlags(cmd)
	return cmd
}

// unfinished says whether the source has a baseline already, and which of its
// components an earlier init saw just as they are but could not reach, and nobody
// has let in or rejected since.
func unfinished(ctx context.Context, s *store.Store, inv *sbom.Inventory) (again bool, left []sbom.Component, err error) {
	runs, err := s.Runs(ctx, maxRuns)
	if err != nil {
		return false, nil, err
	}
	missed := map[trust.Release][]trust.Artifact{}
	for _, r := range runs {
		if r.Command != "init" || r.Source != inv.Source.Name {
			continue
		}
		again = true
		ds, err := s.Decisions(ctx, store.DecisionFilter{RunID: r.ID, Limit: store.MaxDecisions})
		if err != nil {
			return false, nil, err
		}
		for _, d := range ds {
			if ingest.Unreachable(d.Verdict, d.Evidence) {
				missed[d.Release] = d.Artifacts
			}
		}
	}
	if len(missed) == 0 {
		return again, nil, nil
	}
	rejected, err := s.Requests(ctx, store.RequestFilter{States: []store.RequestState{store.RequestRejected}})
	if err != nil {
		return false, nil, err
	}
	for _, q := range rejected {
		delete(missed, q.Release)
	}
	var ps []trust.Package
	for r := range missed {
		ps = append(ps, r.Package)
	}
	known, err := s.Known(ctx, ps)
	if err != nil {
		return false, nil, err
	}
	for _, ks := range known {
		for _, k := range ks {
			delete(missed, k.Release)
		}
	}
	for _, k := range inv.Components {
		if as, ok := missed[k.Release]; ok && store.SameBytes(as, k.Artifacts) {
			left = append(left, k)
		}
	}
	return again, left, nil
}

// baselineText tells a team its starting point.
type baselineText struct {
	store, config      string
	wrote, again, rest bool // rest: only what an earlier init could not reach
	verbose            bool
	all                int // components of the source
}

// print writes it and returns how many components are not recorded because they
// could not be reached.
func (t baselineText) print(c *Command, r *ingest.Report, unsafe bool) (missed int) {
	p := func(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }
	clean := report.Clean
	levels := []trust.Assurance{trust.AssuranceReproduced, trust.AssuranceProvenance, trust.AssurancePublisher, trust.AssuranceRegistry, trust.AssuranceNone}
	table := map[string]map[trust.Assurance]int{}
	var weak, better, blocked, unreached, unseen []string
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
			blocked = append(blocked, purl+"  "+clean(first(k.Findings, trust.EffectBlock)))
		case k.Unreachable():
			line := purl + "  " + unreachableWhy(k)
			if unsafe {
				unseen = append(unseen, line)
			} else {
				unreached = append(unreached, line)
			}
		case len(k.Artifacts) == 0:
			// The project itself, a toolchain: no registry has it, and no digest pins it.
		case k.Assurance < k.Offered:
			better = append(better, fmt.Sprintf("%s  %s, the ecosystem offers %s", purl, k.Assurance, k.Offered))
		case k.Assurance == trust.AssuranceNone:
			weak = append(weak, purl)
		}
	}
	recorded := len(r.Components) - len(blocked) - len(unreached)
	switch dry := t.again && !t.rest; {
	case r.Empty:
		p("headgate: no component found in %s; the store %s is ready", clean(r.Source.Name), clean(t.store))
	case dry:
		p("headgate: %s has its baseline already; nothing was changed (--extend pins what is there now)", clean(r.Source.Name))
	case t.rest:
		p("headgate: baseline completed by %d of %d components that could not be reached before, in %s", recorded, len(r.Components), clean(t.store))
	case len(unreached) > 0:
		p("headgate: baseline of %d of %d components recorded in %s; %d could not be reached", recorded, len(r.Components), clean(t.store), len(unreached))
	default:
		p("headgate: baseline of %d components recorded in %s", recorded, clean(t.store))
	}
	if t.wrote {
		p("  wrote %s", clean(t.config))
	} else {
		p("  %s is yours and was not changed", clean(t.config))
	}
	if len(r.Components) == 0 {
		return 0
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
			if i == maxListed && !t.verbose {
				p("  and %d more, see --verbose", len(xs)-i)
				break
			}
			p("  %s", x)
		}
	}
	list("Blocked, not pinned", blocked)
	list("Not recorded, could not be reached", unreached)
	list("Pinned by digest only although it could not be reached", unseen)
	list("Pinned by digest only, could be better", better)
	list("Pinned by digest only, nothing better is offered or known", weak)
	switch dry := t.again && !t.rest; {
	case len(unreached) > 0 && !dry:
		p("\n  next: once it can be reached, headgate init again: it goes on with what is missing alone")
	case t.wrote:
		p("\n  next: commit %s, then on a branch: headgate check --base main", ConfigFile)
	default:
		p("\n  next: headgate check")
	}
	if t.again && !t.rest {
		return 0
	}
	return len(unreached)
}

// unreachableWhy is the first thing about a component that could not be had.
func unreachableWhy(k *ingest.Component) string {
	for _, e := range k.Evidence {
		if e.Outcome == trust.Unreachable {
			why := string(e.Check) + ": " + report.Clean(e.Detail)
			if e.Remedy != "" {
				why += "\n    next: " + report.Clean(e.Remedy)
			}
			return why
		}
	}
	for _, f := range k.Findings {
		if f.Counts() {
			return report.Clean(f.Rule + ": " + f.Message)
		}
	}
	return ""
}

func first(fs []trust.Finding, effect trust.Effect) string {
	for _, f := range fs {
		if f.Effect == effect && f.Counts() {
			return f.Rule + ": " + f.Message
		}
	}
	return ""
}
