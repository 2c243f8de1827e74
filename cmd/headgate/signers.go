package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

func (c *Command) signersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "signers",
		Short: "Accepted signers and their keys: list, show, accept, revoke, import, export",
		Example: `  headgate signers list
  headgate signers accept pkg:npm/left-pad@1.3.0 --reason "the maintainers' own workflow"
  headgate signers accept --key KEYS --scope 'pkg:maven/org.example/*' --reason "the project's KEYS file"
  headgate signers revoke s-0123456789ab --reason "key leaked"`,
	}
	cmd.AddCommand(c.signersList(), c.signersShow(), c.signersAccept(), c.signersRevoke(), c.signersImport(), c.signersExport())
	return cmd
}

func acceptanceLine(a store.Acceptance) string {
	clean := report.Clean
	s := fmt.Sprintf("%s  %s  %s  %s", a.ID, a.Signer.ID(), clean(string(a.Scope)), clean(a.Signer.String()))
	if a.Workflow {
		s += " (this workflow only)"
	}
	switch {
	case a.Revoked != nil:
		s += fmt.Sprintf("  REVOKED %s by %s: %s", a.Revoked.At.UTC().Format(dayLayout), clean(a.Revoked.By), clean(a.Revoked.Reason))
	default:
		s += fmt.Sprintf("  since %s by %s: %s", a.Since.UTC().Format(dayLayout), clean(a.By), clean(a.Reason))
		if !a.Until.IsZero() {
			s += ", until " + a.Until.UTC().Format(dayLayout)
		}
	}
	if a.Origin != "" {
		s += "  from " + clean(a.Origin)
	}
	return s
}

func (c *Command) signersList() *cobra.Command {
	o := &options{}
	var all, asJSON, keys bool
	cmd := &cobra.Command{
		Use: "list [SCOPE]", Short: "List accepted signers and pinned keys",
		Example: "  headgate signers list\n  headgate signers list pkg:npm/left-pad --all\n  headgate signers list --keys --json",
		Args:    operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := store.AcceptanceFilter{Active: !all}
			if len(args) == 1 {
				sc, err := store.ParseScopeUnsafe(args[0])
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				f.Scope = sc
			}
			return c.listSigners(cmd, o, f, store.MaterialFilter{Active: !all}, keys, asJSON)
		},
	}
	cmd.Flags().BoolVar(&keys, "keys", false, "only the pinned key material")
	cmd.Flags().BoolVar(&all, "all", false, "revoked and ended ones too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	o.storeFlag(cmd)
	return cmd
}

// listSigners lists acceptances and key material; as JSON one of the two.
func (c *Command) listSigners(cmd *cobra.Command, o *options, f store.AcceptanceFilter, mf store.MaterialFilter, keys, asJSON bool) error {
	return c.withStore(cmd.Context(), o, func(s *store.Store) error {
		if !keys {
			as, err := s.Acceptances(cmd.Context(), f)
			if err != nil {
				return err
			}
			if err := printList(c, asJSON, as, "no accepted signers", acceptanceLine); err != nil || asJSON {
				return err
			}
		}
		ms, err := s.PinnedMaterials(cmd.Context(), mf)
		if err != nil {
			return err
		}
		if f.Scope != "" {
			ms = slices.DeleteFunc(ms, func(m store.PinnedMaterial) bool { return m.Scope != string(f.Scope) })
		}
		return printList(c, asJSON, ms, "no pinned keys", materialLine)
	})
}

// binarySigners are the signers of binaries inside a release. They are accepted
// only by name: they vouch for files, not for the package.
func binarySigners(d store.Decision, named string) []trust.Signer {
	for _, e := range d.Evidence {
		if e.Check == trust.CheckBinary && e.Outcome == trust.Verified && e.Signer != nil && e.Signer.ID() == named {
			return []trust.Signer{*e.Signer}
		}
	}
	return nil
}

func (c *Command) signersShow() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use: "show ID|SIGNER", Short: "Show one signer and everything it is accepted for, or one pinned key",
		Example: "  headgate signers show s-0123456789ab",
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, mf := store.AcceptanceFilter{Identity: args[0]}, store.MaterialFilter{}
			switch {
			case strings.HasPrefix(args[0], "a-"):
				f = store.AcceptanceFilter{ID: args[0]}
			case strings.HasPrefix(args[0], "m-"):
				mf.ID = args[0]
			}
			return c.listSigners(cmd, o, f, mf, mf.ID != "", true)
		},
	}
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) signersAccept() *cobra.Command {
	o := &options{}
	d := &deed{what: "accepting a signer"}
	var signer, until string
	var scopes, keys []string
	var workflow, reinstate, unsafeScope bool
	cmd := &cobra.Command{
		Use:   "accept [PURL] [--key FILE --scope SCOPE] --reason TEXT",
		Short: "Accept the signers that the last check of a release verified, or those of key files",
		Long: `accept takes the signers from the verified evidence of the last check of PURL,
so that nobody has to type an identity, and accepts them for the package, or for a
wider scope if --scope names one. With several signers --signer says which.

With --key it pins the keys of a file for the scopes, or for the package of PURL,
and accepts whoever signs with them: OpenPGP certificates (KEYS files too), public
keys in PEM, minisign, signify or OpenSSH form. X.509 roots are pinned and accept
nobody by themselves. --signer picks keys by fingerprint. Get key files from their
owner: a key server hands out what anybody put there.`,
		Example: `  headgate signers accept pkg:npm/left-pad@1.3.0 --reason "the maintainers' own workflow"
  headgate signers accept pkg:npm/%40angular/core@20.0.0 --scope 'pkg:npm/@angular/*' --reason "Angular team"
  headgate signers accept --key KEYS --scope 'pkg:maven/org.example/*' --reason "the project's KEYS file"
  headgate signers accept pkg:generic/tool --key tool.pub --reason "from the vendor's manual"`,
		Args: operands(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var rel trust.Release
			switch {
			case len(args) == 1:
				var err error
				if rel, err = trust.ParseRelease(args[0]); err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
			case len(keys) == 0:
				return usage("name a release whose signers are accepted, or a key file with --key")
			case len(scopes) == 0:
				return usage("say what the keys are for: --scope 'pkg:maven/org.example/*', or the package")
			}
			who, err := d.by(c)
			if err != nil {
				return err
			}
			var scs []store.Scope
			for _, scope := range scopes {
				parse := store.ParseScope
				if unsafeScope {
					parse = store.ParseScopeUnsafe
				}
				sc, err := parse(scope)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				scs = append(scs, sc)
			}
			if len(scs) == 0 {
				scs = []store.Scope{store.PackageScope(rel.Package)}
			}
			end, err := c.parseEnd(until)
			if err != nil {
				return err
			}
			if len(keys) > 0 {
				if workflow {
					return usage("keys have no workflow: --workflow is for keyless signers")
				}
				return c.pinKeys(ctx, o, keyPin{files: keys, scopes: scs, signer: signer, by: who, reason: d.reason, until: end, reinstate: reinstate, unsafe: unsafeScope})
			}
			s, err := c.openStore(ctx, o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			ds, err := s.Decisions(ctx, store.DecisionFilter{Release: rel, Package: packageIf(rel), Limit: 1})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			if len(ds) == 0 {
				return &exitError{code: ingest.ExitUsage, err: fmt.Errorf("%s was never checked, so no signer of it is known", rel), hint: "headgate check '" + rel.PURL() + "'"}
			}
			var as []store.Acceptance
			for _, sg := range slices.Concat(ds[0].Signers, binarySigners(ds[0], signer)) {
				if signer != "" && sg.ID() != signer || signer == "" && (sg.Kind == trust.SignerRegistry || sg.Kind == trust.SignerLog) {
					continue
				}
				for _, sc := range scs {
					if !sc.Covers(rel.Package, sg) {
						return usage("scope %s does not cover %s signed by %s", sc, rel, sg)
					}
					as = append(as, store.Acceptance{Signer: sg, Workflow: workflow, Scope: sc, By: who, Reason: d.reason, Until: end, Reinstate: reinstate, UnsafeScope: unsafeScope})
				}
			}
			if len(as) == 0 {
				return usage("the last check of %s verified no signer to accept: headgate explain '%s'", rel, rel)
			}
			ids, err := s.Accept(ctx, as)
			if err != nil {
				if errors.Is(err, store.ErrRevoked) {
					return &exitError{code: ingest.ExitUsage, err: err, hint: "--reinstate lifts the revocation"}
				}
				return err
			}
			for i, id := range ids {
				fmt.Fprintf(c.Stdout, "%s accepted %s for %s\n", id, report.Clean(as[i].Signer.String()), report.Clean(string(as[i].Scope)))
			}
			return nil
		},
	}
	f := cmd.Flags()
	d.flags(cmd, "why", "who accepts")
	f.StringArrayVar(&scopes, "scope", nil, "pkg:npm/@angular/*, pkg:npm/*, source:https://forge.example/org/*, repeatable; the package itself if not given")
	f.StringArrayVar(&keys, "key", nil, "file of keys to pin, - for standard input, repeatable")
	f.StringVar(&signer, "signer", "", "which signer, s-…, or which key of a file by its fingerprint")
	f.StringVar(&until, "until", "", "last day, YYYY-MM-DD")
	f.BoolVar(&workflow, "workflow", false, "only with this build workflow")
	f.BoolVar(&reinstate, "reinstate", false, "lift a revocation")
	f.BoolVar(&unsafeScope, "unsafe-scope", false, "allow a scope that accepts strangers")
	o.storeFlag(cmd)
	return cmd
}

func packageIf(r trust.Release) trust.Package {
	if r.Version == "" {
		return r.Package
	}
	return trust.Package{}
}

// parseEnd is parseUntil for what ends, which must be to come.
func (c *Command) parseEnd(s string) (time.Time, error) {
	end, err := parseUntil(s)
	if err == nil && s != "" && !end.After(c.now()) {
		return end, usage("--until %s is over already", s)
	}
	return end, err
}

func parseUntil(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	day, err := time.Parse(dayLayout, s)
	if err != nil {
		return time.Time{}, usage("--until %q is no date like 2026-12-31", s)
	}
	return day.AddDate(0, 0, 1), nil
}

func (c *Command) signersRevoke() *cobra.Command {
	o := &options{}
	d := &deed{what: "revoking a signer"}
	cmd := &cobra.Command{
		Use:   "revoke ID|SIGNER --reason TEXT",
		Short: "Revoke a signer or a key, and list what it had vouched for",
		Long: `revoke withdraws one acceptance (a-…), every acceptance of a signer (s-…), or a
pinned key (m-…) with what was accepted of its signer. Each later check holds what
rests on it; nothing is cached that could serve it.`,
		Example: `  headgate signers revoke s-0123456789ab --reason "key leaked"`,
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.by(c)
			if err != nil {
				return err
			}
			return c.withStore(cmd.Context(), o, func(s *store.Store) error {
				affected, err := s.Revoke(cmd.Context(), args[0], who, d.reason)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.Stdout, "%s revoked; it had vouched for %d releases\n", report.Clean(args[0]), len(affected))
				for _, r := range affected {
					fmt.Fprintf(c.Stdout, "  %s\n", report.Clean(r.PURL()))
				}
				return nil
			})
		},
	}
	d.flags(cmd, "why", "who revokes")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) signersExport() *cobra.Command {
	o := &options{}
	var scopes []string
	var out string
	var approvals bool
	cmd := &cobra.Command{
		Use: "export", Short: "Write what is accepted, pinned and revoked here as a signed trust set",
		Example: "  headgate signers export --file headgate.trust --approvals",
		Args:    operands(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := store.ExportOptions{Approvals: approvals}
			for _, sc := range scopes {
				p, err := store.ParseScope(sc)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				opt.Scopes = append(opt.Scopes, p)
			}
			s, err := c.openStore(cmd.Context(), o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			b, err := s.ExportTrust(cmd.Context(), opt)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.Stderr, "signed by "+s.VerifierKey())
			if b, err = mergeFile(out, b); err != nil {
				return err
			}
			return c.writeTo(out, b)
		},
	}
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "only acceptances within this scope, repeatable")
	cmd.Flags().StringVar(&out, "file", "", "file to write instead of standard output; lines of other keys and approvals that are in it stay")
	cmd.Flags().BoolVar(&approvals, "approvals", false, "approvals that have not ended, too")
	o.storeFlag(cmd)
	return cmd
}

func (c *Command) signersImport() *cobra.Command {
	o := &options{}
	d := &deed{what: "an import"}
	var origin, key, confirm string
	var narrow []string
	var replace bool
	cmd := &cobra.Command{
		Use:   "import FILE --origin NAME --key VERIFIERKEY --narrow SCOPE",
		Short: "Import a trust set of others, kept apart and narrowed to a scope",
		Long: `import shows what would change. What accepts more than before takes effect only
with --confirm and the token that the preview printed.`,
		Example: `  headgate signers import platform.trust --origin platform --key 'platform+…' --narrow 'pkg:npm/@platform/*' --reason "platform team"`,
		Args:    operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			who, err := d.by(c)
			if err != nil {
				return err
			}
			for _, f := range []struct {
				missing bool
				say     string
			}{
				{origin == "", "--origin names the set, to keep it apart: --origin partner"},
				{key == "", "--key is the verifier key that the partner gives you; signers export prints it as \"signed by\""},
				{len(narrow) == 0, "--narrow says what the set may speak for: --narrow 'pkg:npm/@partner/*'"},
			} {
				if f.missing {
					return usage("%s", f.say)
				}
			}
			set, err := readSmall(args[0])
			if err == nil && set == nil {
				err = os.ErrNotExist
			}
			if err != nil {
				return usage("reading %s: %w", args[0], err)
			}
			opt := store.ImportOptions{Origin: origin, Key: key, ReplaceKey: replace, By: who, Reason: d.reason, Confirm: confirm}
			for _, n := range narrow {
				sc, err := store.ParseScope(n)
				if err != nil {
					return &exitError{code: ingest.ExitUsage, err: err}
				}
				opt.Narrow = append(opt.Narrow, sc)
			}
			s, err := c.openStore(cmd.Context(), o, false)
			if err != nil {
				return err
			}
			defer s.Close()
			diff, err := s.ImportTrust(cmd.Context(), set, opt)
			widens := errors.Is(err, store.ErrWidens)
			if err != nil && !widens {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			for _, l := range []struct {
				sign string
				as   []store.Acceptance
			}{{"+ accepts", diff.Added}, {"+ extends", diff.Extended}, {"+ reinstates", diff.Reinstated}, {"- shortens", diff.Shortened}, {"- revokes", diff.Revoked}, {"- withdraws", diff.Withdrawn}, {"  ignores (outside the scope)", diff.Outside}, {"  keeps revoked", diff.Kept}} {
				for _, a := range l.as {
					fmt.Fprintf(c.Stdout, "%s %s\n", l.sign, acceptanceLine(a))
				}
			}
			for _, l := range []struct {
				sign string
				ms   []store.PinnedMaterial
			}{{"+ pins", diff.Keys.Added}, {"+ reinstates", diff.Keys.Reinstated}, {"- revokes", diff.Keys.Revoked}, {"- withdraws", diff.Keys.Withdrawn}, {"  ignores (outside the scope)", diff.Keys.Outside}, {"  keeps revoked", diff.Keys.Kept}} {
				for _, m := range l.ms {
					fmt.Fprintf(c.Stdout, "%s %s\n", l.sign, materialLine(m))
				}
			}
			if widens {
				return &exitError{code: ingest.ExitUsage, err: errors.New("the set accepts more than before: nothing was imported"), hint: "if that is right, run it again with --confirm " + diff.Token}
			}
			fmt.Fprintf(c.Stdout, "imported %s, %d unchanged\n", report.Clean(origin), diff.Unchanged)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&origin, "origin", "", "name to keep the set apart by (required)")
	f.StringVar(&key, "key", "", "verifier key that must have signed it (required)")
	f.StringArrayVar(&narrow, "narrow", nil, "scope that the set counts for, repeatable (required)")
	d.flags(cmd, "why", "who imports")
	f.StringVar(&confirm, "confirm", "", "token of the difference that was shown")
	f.BoolVar(&replace, "replace-key", false, "pin another key than before")
	o.storeFlag(cmd)
	return cmd
}
