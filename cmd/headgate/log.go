package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

func (c *Command) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "The tamper-evident log: show, verify, prove",
		Example: `  headgate log show --package pkg:npm/left-pad
  headgate log show --checkpoint > checkpoint       keep it elsewhere
  headgate log verify --checkpoint checkpoint`,
	}
	cmd.AddCommand(c.logShow(), c.logVerify(), c.logProve())
	return cmd
}

func (c *Command) logShow() *cobra.Command {
	o := &options{}
	var pkg, by, kind, since, until string
	var checkpoint bool
	var limit int
	cmd := &cobra.Command{
		Use: "show", Short: "Print log entries as JSON lines, or the signed checkpoint",
		Example: "  headgate log show --by alice --since 2026-01-01\n  headgate log show --checkpoint",
		Args:    operands(0, 0),
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, _ []string) (err error) {
			if checkpoint {
				b, err := s.Checkpoint(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintln(c.Stderr, "verifier key: "+s.VerifierKey())
				_, err = c.Stdout.Write(b)
				return err
			}
			if kind != "" && !slices.Contains(store.LogKinds(), kind) {
				return usage("--kind %s: use one of %s", kind, strings.Join(store.LogKinds(), ", "))
			}
			f := store.LogFilter{By: by, Kind: kind, Limit: limit}
			if pkg != "" {
				r, err := trust.ParseRelease(pkg)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				f.Package = r.Package
			}
			if f.Since, err = parseDay(since); err != nil {
				return err
			}
			if f.Until, err = parseUntil(until); err != nil {
				return err
			}
			es, err := s.LogEntries(ctx, f)
			if err != nil {
				return err
			}
			enc := json.NewEncoder(c.Stdout)
			for _, e := range es {
				if err := enc.Encode(e); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&pkg, "package", "", "only entries about this package")
	fl.StringVar(&by, "by", "", "only what this person did")
	fl.StringVar(&kind, "kind", "", "only entries of this kind: "+strings.Join(store.LogKinds(), ", "))
	fl.StringVar(&since, "since", "", "first day, YYYY-MM-DD")
	fl.StringVar(&until, "until", "", "last day, YYYY-MM-DD")
	fl.IntVar(&limit, "limit", 0, "at most so many entries; 0 for the store's own bound")
	fl.BoolVar(&checkpoint, "checkpoint", false, "print the signed checkpoint, to be kept elsewhere")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) logVerify() *cobra.Command {
	o := &options{}
	var checkpoint, proof, key string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the whole log from the rows, or check a proof without the store",
		Example: `  headgate log verify
  headgate log verify --checkpoint FILE       prove that history only grew
  headgate log verify --proof FILE --key KEY  on another machine, without the store`,
		Args: operands(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if proof != "" {
				if key == "" {
					return usage("--proof needs --key, the verifier key that log show --checkpoint prints")
				}
				b, err := os.ReadFile(proof)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				p, err := store.VerifyProof(b, key)
				if err != nil {
					return &exitError{code: ingest.ExitStopped, err: fmt.Errorf("%s proves nothing: %w", proof, err)}
				}
				return printJSON(c, p)
			}
			var earlier []byte
			if checkpoint != "" {
				var err error
				if earlier, err = os.ReadFile(checkpoint); err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				r, err := s.VerifyLog(cmd.Context(), earlier)
				for _, p := range r.Problems {
					fmt.Fprintf(c.Stdout, "entry %d: %s %s %s\n", p.Index, p.Kind, report.Clean(p.ID), report.Clean(p.What))
				}
				if err != nil {
					return &exitError{code: ingest.ExitStopped, err: err}
				}
				fmt.Fprintf(c.Stdout, "%d entries and %d rows verified, root %s\n", r.Size, r.Rows, r.Root)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&checkpoint, "checkpoint", "", "earlier checkpoint that the log must extend")
	cmd.Flags().StringVar(&proof, "proof", "", "proof file to check; no store is opened")
	cmd.Flags().StringVar(&key, "key", "", "verifier key for --proof")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) logProve() *cobra.Command {
	o := &options{}
	var out string
	cmd := &cobra.Command{
		Use: "prove DECISION", Short: "Write a proof that a decision is in the log",
		Example: "  headgate log prove d-0123456789ab --file decision.proof",
		Args:    operands(1, 1),
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, args []string) error {
			b, err := s.Prove(ctx, args[0])
			if err != nil {
				return err
			}
			if err := c.writeTo(out, b); err != nil || out == "" {
				return err
			}
			fmt.Fprintf(c.Stdout, "proof of %s written to %s\n  next: anybody checks it, without this store: headgate log verify --proof %s --key %s\n",
				report.Clean(args[0]), report.Clean(out), report.Clean(out), s.VerifierKey())
			return nil
		}),
	}
	cmd.Flags().StringVar(&out, "file", "", "file to write instead of standard output")
	o.storeFlag(cmd)
	return cmd
}
