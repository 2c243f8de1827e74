package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ecosystems/golang"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/capsule"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// capsuleOr takes no arguments where a capsule is given.
func capsuleOr(file *string, otherwise cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if *file != "" {
			return operands(0, 0)(cmd, args)
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

// capsuleFlags are what verify --capsule compares with.
type capsuleFlags struct {
	file, logKey, npmKeys, artifact string
}

// replayOptions reads what the verifier has of its own.
func (c *Command) replayOptions(o *options, f *capsuleFlags) (capsule.Options, error) {
	opt := capsule.Options{LogKey: f.logKey, LogKeys: []string{golang.DefaultSumDBKey}}
	if s, err := ecosystems.SettingsOf(c.Getenv, c.Environ, c.Home); err == nil && s.Go.SumDB.Key != "" {
		opt.LogKeys = append(opt.LogKeys, s.Go.SumDB.Key)
	}
	for _, p := range []struct {
		path string
		into *[]byte
	}{{o.trustedRoot, &opt.TrustedRoot}, {f.npmKeys, &opt.Keys}} {
		if p.path == "" {
			continue
		}
		var err error
		if *p.into, err = readBounded(p.path, sigstore.MaxTrustedRoot); err != nil {
			return opt, err
		}
	}
	if f.artifact != "" {
		a, err := verification.FileArtifact(f.artifact)
		if err != nil {
			return opt, usage("--artifact: %w", err)
		}
		if opt.Artifact.Digests, err = a.Digests(trust.SHA256, trust.SHA384, trust.SHA512); err != nil {
			return opt, usage("--artifact: %w", err)
		}
		opt.Artifact.Open = func() (io.ReadCloser, error) { return os.Open(f.artifact) }
	}
	opt.Approve = func(p *policies.Policy) (ingest.Approve, error) {
		people, err := c.approvers(o, p)
		if people == nil || err != nil {
			return nil, err
		}
		return approve(p, people), nil
	}
	return opt, nil
}

// replayCapsule verifies a capsule and says whether its decision is reached again.
func (c *Command) replayCapsule(ctx context.Context, o *options, f *capsuleFlags) error {
	data, err := readBounded(f.file, capsule.MaxFile)
	if err != nil {
		return err
	}
	opt, err := c.replayOptions(o, f)
	if err != nil {
		return err
	}
	r, err := capsule.Replay(ctx, data, opt)
	switch {
	case errors.Is(err, capsule.ErrTampered):
		return &exitError{code: ingest.ExitStopped, err: err, hint: "do not rely on it; export the decision anew from the store: headgate explain DECISION --capsule FILE"}
	case errors.Is(err, ingest.ErrNoInput):
		return &exitError{code: ingest.ExitUndecided, err: err}
	case err != nil:
		return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("capsule %s: %w", f.file, err)}
	}
	d := &r.Decision
	w := c.Stdout
	fmt.Fprintf(w, "%s\n  decision    %s at %s, log entry %d of %d (%s)\n  policy      %s %s\n  recorded    %s\n  replayed    %s\n",
		cleanLine(d.Release.PURL()), d.ID, d.At.UTC().Format(time.RFC3339), r.Log.Index, r.Log.Size, cleanLine(r.Log.Origin),
		cleanLine(r.Run.PolicyName), r.Run.PolicyDigest, d.Verdict, r.Verdict)
	words := map[capsule.State]string{capsule.VerifiedAnew: "verified anew", capsule.Stands: "as recorded", capsule.Differs: "NOT PROVEN"}
	for i, e := range r.Evidence {
		head := ""
		if i == 0 {
			head = "evidence"
		}
		what := string(e.Check)
		if e.Artifact != "" {
			what += " of " + cleanLine(e.Artifact)
		}
		fmt.Fprintf(w, "  %-11s %-14s %s: %s\n", head, words[e.State], what, cleanLine(e.Text))
	}
	for i, n := range r.Roots {
		head := ""
		if i == 0 {
			head = "trust roots"
		}
		fmt.Fprintf(w, "  %-11s %s\n", head, cleanLine(n))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", cleanLine(n))
	}
	if len(r.Differences) > 0 {
		fmt.Fprintln(w, "what differs:")
		for _, x := range r.Differences {
			fmt.Fprintf(w, "  %s\n", cleanLine(x))
		}
		return stopped(ingest.ExitStopped)
	}
	fmt.Fprintln(w, "the same verdict and the same findings")
	return nil
}
