package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// attestFlags are the flags of a command that attests its verdict.
type attestFlags struct {
	signerFlags
	file, verifier, resource string
}

func (a *attestFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.file, "attest", "", "sign the verdict as a SLSA verification summary into this file")
	f.Lookup("attest").NoOptDefVal = "headgate.vsa.sigstore.json"
	f.StringVar(&a.verifier, "verifier-id", signing.VerifierID, "with --attest: name of this verifier")
	f.StringVar(&a.resource, "resource-uri", "", "with --attest: URI of what is judged; the source without")
	a.signerFlags.register(cmd)
}

// check refuses flags that need --attest before anything is done.
func (a *attestFlags) check(cmd *cobra.Command) error {
	if a.file == "" && (cmd.Flags().Changed("key") || cmd.Flags().Changed("resource-uri") || cmd.Flags().Changed("verifier-id") || cmd.Flags().Changed("identity-token")) {
		return usage("--key, --identity-token, --verifier-id and --resource-uri belong to --attest")
	}
	return nil
}

// levelName is an assurance as a level of a verification summary.
func levelName(a trust.Assurance) string { return "HEADGATE_ASSURANCE_" + strings.ToUpper(a.String()) }

// subjectsOf are what the verdict is about: the dependency files of the source,
// else the artifacts that were judged.
func subjectsOf(inv *sbom.Inventory, r *ingest.Report) (out []signing.Subject) {
	if inv != nil {
		for _, f := range inv.Files {
			if f.Digest.Strong() {
				out = append(out, signing.Subject{Name: f.Path, Digests: trust.Digests{f.Digest}})
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, c := range r.Components {
		for _, a := range c.Artifacts {
			if d := a.Digests.Strongest(); !d.IsZero() {
				out = append(out, signing.Subject{Name: strings.TrimSpace(c.Release.PURL() + " " + a.Name), Digests: trust.Digests{d}})
			}
		}
	}
	return out
}

// attest signs the verdict of a run, whatever it is.
func (c *Command) attest(ctx context.Context, o *options, a *attestFlags, r *ingest.Report) error {
	if a.file == "" {
		return nil
	}
	sum := signing.Summary{
		Verifier: a.verifier, Version: c.Version, Time: r.Finished, Resource: cmp.Or(a.resource, r.Source.Scheme+":"+r.Source.Name),
		Policy: r.Policy.Digest, PolicyURI: r.Policy.Origin, Passed: r.Verdict == trust.Allow && !r.Empty,
		Subjects: subjectsOf(r.Inventory, r), DependencyLevels: map[string]int{},
	}
	if sum.Policy.IsZero() {
		return usage("--attest: the policy of this run has no digest")
	}
	lowest := trust.AssuranceReproduced
	seen := map[trust.Digest]bool{}
	for _, comp := range r.Components {
		lowest = min(lowest, comp.Assurance)
		sum.DependencyLevels[levelName(comp.Assurance)]++
		for _, e := range comp.Evidence {
			for _, raw := range e.Raw {
				if e.Outcome == trust.Verified && !seen[raw.Digest] {
					seen[raw.Digest] = true
					sum.Inputs = append(sum.Inputs, signing.Input{URI: raw.Name, Digest: raw.Digest})
				}
			}
		}
	}
	if len(r.Components) > 0 {
		sum.Levels = []string{levelName(lowest)}
	}
	st, err := signing.VSA(sum)
	if err != nil {
		return verifyError(err)
	}
	sg, err := c.signer(ctx, o, &a.signerFlags)
	if err != nil {
		return verifyError(err)
	}
	b, err := sg.Statement(ctx, st)
	if err != nil {
		return verifyError(err)
	}
	if err := c.writeSignature(a.file, b); err != nil {
		return err
	}
	fmt.Fprintf(c.Stderr, "headgate: the verdict %s is attested in %s\n  next: headgate verify FILE --type vsa --bundle %[2]s --key KEY, with a FILE that was read here\n", r.Verdict, report.Clean(a.file))
	return nil
}

// attestArgs lets --attest take its file as a word of its own too: pflag knows
// optional values only behind "=". A folder, a flag or nothing behind it is none.
func attestArgs(args []string) []string {
	out := make([]string, 0, len(args))
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if args[i] == "--attest" && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			if fi, err := os.Stat(args[i+1]); err != nil || !fi.IsDir() {
				out = append(out, "--attest="+args[i+1])
				i++
				continue
			}
		}
		out = append(out, args[i])
	}
	return out
}
