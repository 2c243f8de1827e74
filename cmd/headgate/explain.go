package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

func (c *Command) explainCommand() *cobra.Command {
	o := &options{}
	var raw, capsuleFile string
	cmd := &cobra.Command{
		Use:   "explain PURL|DECISION",
		Short: "Show every piece of evidence and every rule for one release",
		Long: `explain shows what headgate knows of one release: evidence with signer, log
entries, times and digests, and what each rule makes of it now. With the id of a
decision it shows that decision as it was recorded.

The digests that the last check saw for the release are used; without one, only
what upstream signs can be shown. Nothing is recorded.`,
		Example: `  headgate explain pkg:npm/left-pad@1.3.0
  headgate explain d-0123456789ab
  headgate explain pkg:npm/left-pad@1.3.0 --raw sha256:…   the judged bytes`,
		Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := c.openStore(ctx, o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			if !strings.HasPrefix(args[0], "pkg:") {
				d, run, err := s.Decision(ctx, args[0])
				if err != nil {
					return hint(&exitError{code: exitCode(err), err: err}, "explain takes a package URL (pkg:TYPE/NAME@VERSION) or the id of a decision")
				}
				if raw != "" {
					return c.rawBlob(cmd, s, raw)
				}
				if capsuleFile != "" {
					return c.exportCapsule(ctx, o, s, d.ID, capsuleFile)
				}
				return c.showDecision(d, run)
			}
			if capsuleFile != "" {
				return usage("--capsule takes the id of a decision: headgate check prints it with -o json")
			}
			rel, err := trust.ParseRelease(args[0])
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			if rel.Version == "" {
				return usage("%s names no version: explain takes one release", args[0])
			}
			comp := sbom.Component{Release: rel, Kind: sbom.KindUnknown}
			ds, err := s.Decisions(ctx, store.DecisionFilter{Release: rel, Limit: 1})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if len(ds) > 0 {
				comp.Artifacts, comp.Kind = ds[0].Artifacts, sbom.KindRegistry
			}
			inv := &sbom.Inventory{Source: sbom.Source{Scheme: "purl", Name: rel.PURL()}, Components: []sbom.Component{comp}}
			o.explain = true
			r, err := c.gateRun(ctx, o, gateCall{command: "explain", source: ".", inventory: inv, dryRun: true, store: s})
			if err != nil {
				return err
			}
			if raw != "" {
				d, err := trust.ParseDigest(raw)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				if b, ok := r.Raw()[d]; ok && b.Bytes != nil {
					_, err := c.Stdout.Write(b.Bytes)
					return err
				}
				return c.rawBlob(cmd, s, raw)
			}
			if len(o.output) > 0 {
				outs, err := report.ParseOutputs(o.output)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				return c.write(r, outs, o)
			}
			explain(c.Stdout, r)
			return nil
		},
	}
	cmd.Flags().StringVar(&capsuleFile, "capsule", "", "write everything that the decision rested on to this file, for headgate verify --capsule")
	cmd.Flags().StringVar(&raw, "raw", "", "write the judged bytes with this digest, and nothing else")
	cmd.Flags().StringArrayVarP(&o.output, "output", "o", nil, "report FORMAT[=PATH] instead of the explanation")
	o.gateFlags(cmd)
	return cmd
}

func (c *Command) rawBlob(cmd *cobra.Command, s *store.Store, digest string) error {
	d, err := trust.ParseDigest(digest)
	if err != nil {
		return &exitError{code: ingest.ExitUsage, err: err}
	}
	b, err := s.Blob(cmd.Context(), d)
	if err != nil {
		return err
	}
	_, err = c.Stdout.Write(b)
	return err
}

// explain prints one judged component in full.
func explain(w io.Writer, r *ingest.Report) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	clean := report.Clean
	for i := range r.Components {
		c := &r.Components[i]
		p("%s", clean(c.Release.PURL()))
		p("  verdict     %s, by policy %s (%s)", c.Verdict, clean(r.Policy.Name), clean(r.Policy.Origin))
		p("  assurance   %s; the ecosystem offers %s", c.Assurance, c.Offered)
		p("  continuity  %s%s", c.Continuity, prefixed(": ", clean(c.ContinuityNote)))
		if c.Was != "" || c.Is != "" {
			p("    was       %s", clean(c.Was))
			p("    is        %s", clean(c.Is))
		}
		for _, a := range c.Artifacts {
			p("  stated      %s", artifactLine(a))
		}
		facts(p, c.Facts)
		p("\nSigners")
		if len(c.Signers) == 0 {
			p("  nobody")
		}
		for _, s := range c.Signers {
			p("  %s", report.SignerLine(s))
			p("    identity  %s", clean(s.Identity()))
		}
		p("\nEvidence")
		for _, e := range c.Evidence {
			explainEvidence(p, e.ID, &e.Evidence)
		}
		p("\nRules")
		for _, t := range c.Rules {
			word := "holds"
			switch {
			case !t.Applied:
				word = "–"
			case !t.Held && t.Waived != "":
				word = "waived"
			case !t.Held:
				word = string(t.Effect)
			}
			p("  %-9s %-22s %s", word, clean(t.Rule), clean(t.Why))
		}
		if next := nextSteps(c.Findings); len(next) > 0 {
			p("\nNext")
			for _, n := range next {
				p("  %s", clean(n))
			}
		}
	}
	for _, n := range r.Notes {
		p("note: %s", clean(n))
	}
}

func nextSteps(fs []trust.Finding) []string {
	var out []string
	for _, f := range fs {
		if f.Counts() && f.Remedy != "" {
			out = append(out, f.Rule+": "+f.Remedy)
		}
	}
	return out
}

func explainEvidence(p func(string, ...any), id string, e *trust.Evidence) {
	clean := report.Clean
	p("  %s %s: %s%s", id, e.Check, e.Outcome, prefixed(", ", string(e.Reason)))
	line := func(k, v string) {
		if v != "" {
			p("    %-10s %s", k, clean(v))
		}
	}
	line("detail", e.Detail)
	line("artifact", strings.TrimSpace(artifactLine(e.Artifact)))
	if e.Signer != nil {
		line("signer", e.Signer.String())
		line("workflow", e.Signer.Workflow)
		line("commit", e.Signer.Commit)
		line("key", e.Signer.KeyDigest)
	}
	line("builder", e.Builder)
	line("predicate", e.PredicateType)
	if !e.SignedAt.IsZero() {
		line("signed at", e.SignedAt.UTC().Format(time.RFC3339))
	}
	for _, l := range e.Logs {
		t := ""
		if !l.Time.IsZero() {
			t = " at " + l.Time.UTC().Format(time.RFC3339)
		}
		line("log", fmt.Sprintf("%s index %d%s", l.Log, l.Index, t))
	}
	line("source", e.Source)
	line("root", e.Root.String())
	for _, r := range e.Raw {
		line("raw", fmt.Sprintf("%s %s", r.Name, r.Digest))
	}
	line("next", e.Remedy)
}

func facts(p func(string, ...any), f trust.Facts) {
	line := func(k, v string) {
		if v != "" {
			p("  %-11s %s (by the registry's word)", k, report.Clean(v))
		}
	}
	if !f.Published.IsZero() {
		line("published", f.Published.UTC().Format(time.RFC3339))
	}
	line("repository", f.Repository)
	for k, v := range map[string]*string{"yanked": f.Yanked, "retracted": f.Retracted, "deprecated": f.Deprecated} {
		if v != nil {
			line(k, "yes "+*v)
		}
	}
}

func artifactLine(a trust.Artifact) string {
	parts := []string{}
	if a.Name != "" {
		parts = append(parts, report.Clean(a.Name))
	}
	for _, d := range a.Digests {
		parts = append(parts, d.String())
	}
	return strings.Join(parts, " ")
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// showDecision prints a decision as it was recorded.
func (c *Command) showDecision(d store.Decision, run store.Run) error {
	p := func(format string, args ...any) { fmt.Fprintf(c.Stdout, format+"\n", args...) }
	clean := report.Clean
	p("%s", clean(d.Release.PURL()))
	p("  decision    %s at %s, log index %d", d.ID, d.At.UTC().Format(time.RFC3339), d.LogIndex)
	p("  run         %s: headgate %s %s%s", run.ID, clean(run.Command), clean(run.Source), prefixed(" --base ", clean(run.Base)))
	p("  policy      %s %s", clean(run.PolicyName), run.PolicyDigest)
	p("  verdict     %s", d.Verdict)
	p("  assurance   %s", d.Assurance)
	p("  continuity  %s", d.Continuity)
	for _, a := range d.Artifacts {
		p("  stated      %s", artifactLine(a))
	}
	p("\nSigners")
	for _, s := range d.Signers {
		p("  %s %s", s.ID(), clean(s.String()))
	}
	p("\nEvidence")
	for i := range d.Evidence {
		explainEvidence(p, d.Evidence[i].ID(), &d.Evidence[i])
	}
	p("\nFindings")
	for _, f := range d.Findings {
		p("  %s %s: %s%s", f.Effect, clean(f.Rule), clean(f.Message), prefixed(" – waived: ", clean(f.Waived)))
	}
	return nil
}
