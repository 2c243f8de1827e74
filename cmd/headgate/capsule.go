package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/capsule"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
)

// capsuleOr takes no arguments where a capsule is given.
func capsuleOr(file *string, otherwise cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if *file != "" {
			return cobra.NoArgs(cmd, args)
		}
		return otherwise(cmd, args)
	}
}

// exportCapsule writes the capsule of a decision to a new file, whole or not at all.
func (c *Command) exportCapsule(ctx context.Context, o *options, s *store.Store, id, path string) error {
	set, err := c.settings(o, ".", nil, false)
	if err != nil {
		return err
	}
	var m capsule.Manifest
	err = report.Durable(path, 0o644, func(w io.Writer) error {
		m, err = capsule.Export(ctx, w, s, id, set.policy)
		return err
	})
	if err != nil {
		return &exitError{code: ingest.ExitUsage, err: err, hint: "--config FILE names the configuration that the decision was made by"}
	}
	fmt.Fprintf(c.Stdout, "decision %s about %s: %d members in %s\n", m.Decision, cleanLine(m.Release.PURL()), len(m.Members), cleanLine(path))
	for _, root := range m.Missing {
		fmt.Fprintf(c.Stdout, "note: %s, which evidence names, is not kept by the store\n", root)
	}
	return nil
}

// replayCapsule verifies a capsule and says whether its decision is reached again.
func (c *Command) replayCapsule(ctx context.Context, path, logKey string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return usage("reading the capsule: %w", err)
	}
	if fi.Size() > capsule.MaxFile {
		return usage("the capsule has %d bytes, more than %d", fi.Size(), capsule.MaxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return usage("reading the capsule: %w", err)
	}
	r, err := capsule.Replay(ctx, data, logKey)
	switch {
	case errors.Is(err, capsule.ErrTampered):
		return &exitError{code: ingest.ExitStopped, err: err}
	case errors.Is(err, ingest.ErrNoInput):
		return &exitError{code: ingest.ExitUndecided, err: err}
	case err != nil:
		return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("capsule %s: %w", path, err)}
	}
	d := &r.Decision
	fmt.Fprintf(c.Stdout, "%s\n  decision    %s at %s, log entry %d of %d (%s)\n  policy      %s %s\n  recorded    %s\n  replayed    %s\n",
		cleanLine(d.Release.PURL()), d.ID, d.At.UTC().Format(time.RFC3339), r.Log.Index, r.Log.Size, cleanLine(r.Log.Origin),
		cleanLine(r.Run.PolicyName), r.Run.PolicyDigest, d.Verdict, r.Verdict)
	for _, n := range r.Notes {
		fmt.Fprintf(c.Stdout, "note: %s\n", cleanLine(n))
	}
	if len(r.Differences) > 0 {
		fmt.Fprintln(c.Stdout, "what differs:")
		for _, x := range r.Differences {
			fmt.Fprintf(c.Stdout, "  %s\n", cleanLine(x))
		}
		return stopped(ingest.ExitStopped)
	}
	fmt.Fprintln(c.Stdout, "the same verdict and the same findings")
	return nil
}
