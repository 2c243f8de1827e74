package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
)

// withStore opens the store that the flags name for do, and closes it.
func (c *Command) withStore(ctx context.Context, o *options, do func(*store.Store) error) error {
	s, err := c.openStore(ctx, o, false)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// onStore is the body of a command that does nothing without the store.
func (c *Command) onStore(o *options, do func(context.Context, *store.Store, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return c.withStore(cmd.Context(), o, func(s *store.Store) error { return do(cmd.Context(), s, args) })
	}
}

// deed is what a person does to the store: it takes a reason and a name.
type deed struct {
	what           string // "a request"
	reason, person string
}

func (d *deed) flags(cmd *cobra.Command, why, who string) {
	cmd.Flags().StringVar(&d.reason, "reason", "", why+" (required)")
	cmd.Flags().StringVar(&d.person, "by", "", who+"; $HEADGATE_USER, then $USER")
}

// by returns who does it, once a reason is given.
func (d *deed) by(c *Command) (string, error) {
	if strings.TrimSpace(d.reason) == "" {
		return "", usage("%s needs a reason: --reason TEXT", d.what)
	}
	return c.person(d.person)
}

func (c *Command) storeCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "The trust store: check, gc", Example: "  headgate store check\n  headgate store gc"}
	o := &options{}
	gc := &cobra.Command{
		Use: "gc", Short: "Drop evidence that no decision needs", Args: operands(0, 0),
		Example: "  headgate store gc",
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, _ []string) error {
			r, err := s.GC(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.Stdout, "dropped %d pieces of evidence and %d documents; %d bytes before, %d after\n", r.Evidence, r.Blobs, r.Before, r.After)
			return nil
		}),
	}
	o.storeFlag(gc)
	check := &cobra.Command{
		Use: "check", Short: "Verify every invariant of the store", Args: operands(0, 0),
		Example: "  headgate store check",
		RunE: c.onStore(o, func(ctx context.Context, s *store.Store, _ []string) error {
			if err := s.Check(ctx); err != nil {
				return &exitError{code: ingest.ExitStopped, err: err}
			}
			fmt.Fprintf(c.Stdout, "%s is sound\n", report.Clean(s.Path()))
			return nil
		}),
	}
	o.storeFlag(check)
	cmd.AddCommand(gc, check)
	return cmd
}
