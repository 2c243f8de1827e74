package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
)

func parseDay(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(dayLayout, s)
	if err != nil {
		return time.Time{}, usage("%q is no date like 2026-12-31", s)
	}
	return t, nil
}

func (c *Command) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: operands(0, 0),
		Example: "  headgate version",
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(c.Stdout, c.versionLine())
			return nil
		},
	}
}

func (c *Command) versionLine() string {
	return fmt.Sprintf("headgate %s (%s, %s/%s)", c.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func (c *Command) ecosystemsCommand() *cobra.Command {
	o := &options{}
	var asJSON, markdown bool
	cmd := &cobra.Command{
		Use: "ecosystems", Short: "What is verified in each ecosystem, and how",
		Example: "  headgate ecosystems\n  headgate ecosystems --markdown",
		Args:    operands(0, 0),
		RunE: c.onStore(o, func(_ context.Context, s *store.Store, _ []string) error {
			as, err := c.adapters(o, s)
			if err != nil {
				return err
			}
			var ds []adapter.Description
			for _, a := range as.list {
				ds = append(ds, a.Describe())
			}
			if asJSON {
				return printJSON(c, ds)
			}
			if markdown {
				_, err := c.Stdout.Write(ecosystemsTable(ds))
				return err
			}
			for _, d := range ds {
				fmt.Fprintf(c.Stdout, "%s (pkg:%s)\n", d.Name, strings.Join(d.Types, ", pkg:"))
				for _, l := range [][2]string{{"sources", strings.Join(d.Sources, ", ")}, {"integrity", d.Integrity}, {"registry signs", d.Registry}, {"publisher signs", d.Publisher}, {"binding", d.Binding}, {"offers", d.Offers.String()}} {
					fmt.Fprintf(c.Stdout, "  %-16s %s\n", l[0], report.Clean(l[1]))
				}
			}
			fmt.Fprintln(c.Stdout, "Components of all other ecosystems are held: headgate cannot check them.")
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as a table in Markdown")
	cmd.MarkFlagsMutuallyExclusive("json", "markdown")
	o.storeFlag(cmd)
	return cmd
}

// ecosystemsTable is the README's table of what is verified.
func ecosystemsTable(ds []adapter.Description) []byte {
	var b bytes.Buffer
	b.WriteString("| ecosystem | read from | registry signs | publisher signs | every release offers |\n|---|---|---|---|---|\n")
	for _, d := range ds {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.Name, strings.Join(d.Sources, ", "), d.Registry, d.Publisher, d.Offers)
	}
	return b.Bytes()
}

func (c *Command) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "The policy: show, lint, test",
		Example: "  headgate policy show\n  headgate policy lint",
	}
	o := &options{}
	var asJSON bool
	show := &cobra.Command{
		Use: "show [NAME]", Short: "Print every rule that counts, with its origin",
		Example: "  headgate policy show\n  headgate policy show strict",
		Args:    operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p *policies.Policy
			origin := "built in"
			if len(args) == 1 {
				var err error
				if p, err = policies.Builtin(args[0]); err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
			} else {
				set, err := c.settings(o, ".", nil, false)
				if err != nil {
					return err
				}
				p, origin = set.policy, set.origin
			}
			if asJSON {
				return printJSON(c, struct {
					Name   string          `json:"name"`
					Digest string          `json:"digest"`
					Origin string          `json:"origin"`
					Rules  []policies.Rule `json:"rules"`
				}{p.Name(), p.Digest().String(), origin, p.Rules()})
			}
			fmt.Fprintf(c.Stdout, "%s (%s) %s\n", report.Clean(p.Name()), report.Clean(origin), p.Digest())
			for _, n := range p.Notices() {
				fmt.Fprintf(c.Stdout, "  note: %s\n", report.Clean(n))
			}
			for _, r := range p.Rules() {
				fmt.Fprintf(c.Stdout, "\n%s: otherwise %s  (%s, %s)\n  %s\n", report.Clean(r.Name), r.Otherwise, r.On, report.Clean(r.Origin), report.Clean(r.Description))
				if r.Applies != "" {
					fmt.Fprintf(c.Stdout, "  applies  %s\n", report.Clean(strings.Join(strings.Fields(r.Applies), " ")))
				}
				fmt.Fprintf(c.Stdout, "  require  %s\n", report.Clean(strings.Join(strings.Fields(r.Require), " ")))
			}
			return nil
		},
	}
	show.Flags().StringVar(&o.config, "config", "", "configuration instead of "+ConfigFile)
	show.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	lo := &options{}
	lint := &cobra.Command{
		Use: "lint [FILE]", Short: "Check headgate.yaml: fields, types, rules that cannot fire",
		Example: "  headgate policy lint\n  headgate policy lint other.yaml",
		Args:    operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				lo.config = args[0]
			}
			set, err := c.settings(lo, ".", nil, false)
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: errors.Unwrap(err)}
			}
			if _, err := c.approvers(lo, set.policy); err != nil {
				return usage("%s: %w", set.origin, err)
			}
			fmt.Fprintf(c.Stdout, "%s: %s, %d rules, no error\n", report.Clean(set.origin), report.Clean(set.policy.Name()), len(set.policy.Rules()))
			for _, n := range set.policy.Notices() {
				fmt.Fprintf(c.Stdout, "  note: %s\n", report.Clean(n))
			}
			for _, i := range set.policy.Lint(c.now()) {
				fmt.Fprintf(c.Stdout, "  warning: %s: %s\n", report.Clean(i.Subject), report.Clean(i.Problem))
			}
			return nil
		},
	}
	to := &options{}
	test := &cobra.Command{
		Use: "test FILE", Short: "Run cases against the policy and compare verdicts and findings",
		Long: `test judges the components of FILE by the policy of headgate.yaml. What a case
leaves out is that of a healthy routine update: a digest, an accepted registry
signature, an age of 30 days. A case may have these fields:

  cases:
    - name: a young release waits
      input: {release: pkg:npm/example@1.2.0, age: 1d}
      expect: {verdict: hold, rules: [cooldown]}     # rules may be left out
    - name: malware never enters
      input: {release: pkg:npm/example@1.2.1, malware: [MAL-2026-1]}
      expect: {verdict: block}

Further fields of input: change, kind, known, pinned, adapter, offered, evidence,
unsigned, continuity, licenses, yanked, names, severity, advisoryState,
inspectionState.

Exit codes: 0 all pass, 1 a case fails, 3 usage or configuration.`,
		Example: "  headgate policy test cases.yaml",
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := c.settings(to, ".", nil, false)
			if err != nil {
				return err
			}
			data, err := readSmall(args[0])
			if err == nil && data == nil {
				err = os.ErrNotExist
			}
			if err != nil {
				return usage("reading %s: %w", args[0], err)
			}
			rs, err := set.policy.Test(cmd.Context(), data)
			if err != nil {
				return usage("%s: %w", args[0], err)
			}
			failed := 0
			for _, r := range rs {
				if r.Passed {
					fmt.Fprintf(c.Stdout, "ok    %s\n", report.Clean(r.Name))
					continue
				}
				failed++
				fmt.Fprintf(c.Stdout, "FAIL  %s: %s\n", report.Clean(r.Name), report.Clean(r.Detail))
			}
			fmt.Fprintf(c.Stdout, "%d of %d cases pass\n", len(rs)-failed, len(rs))
			if failed > 0 {
				return stopped(ingest.ExitStopped)
			}
			return nil
		},
	}
	test.Flags().StringVar(&to.config, "config", "", "configuration instead of "+ConfigFile)
	cmd.AddCommand(show, lint, test)
	return cmd
}
