package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
)

// The commands verify-bundle and sign-bundle speak the protocol of sigstore's
// conformance suite, so that headgate's verifier runs against its cases as it is.
// They ask what the suite asks (who signed these bytes?) and no more: verify
// also holds an attestation against its type and its certificate.

// stagingFlag refuses the suite's staging instance without its root: no instance
// stands in for another.
func stagingFlag(staging bool, o *options) error {
	if staging && o.trustedRoot == "" {
		return usage("--staging: name the staging instance's root with --trusted-root")
	}
	return nil
}

func (c *Command) verifyBundleCommand() *cobra.Command {
	o, v := &options{}, &verifyFlags{}
	var staging bool
	cmd := &cobra.Command{
		Use: "verify-bundle FILE|DIGEST", Short: "Verify a bundle as sigstore's conformance suite asks", Hidden: true, Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := stagingFlag(staging, o); err != nil {
				return err
			}
			if len(v.bundles) != 1 {
				return usage("name the bundle with --bundle")
			}
			return verifyError(c.verifyBundle(cmd.Context(), args[0], o, v))
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&v.bundles, "bundle", nil, "Sigstore bundle")
	f.StringVar(&v.identity, "certificate-identity", "", "exact identity")
	f.StringVar(&v.issuer, "certificate-oidc-issuer", "", "exact OIDC issuer of the identity")
	f.StringArrayVar(&v.keys, "key", nil, "public key")
	f.StringVar(&o.trustedRoot, "trusted-root", "", "trusted root to use instead of the one fetched by TUF")
	f.BoolVar(&staging, "staging", false, "the bundle is of the staging instance")
	f.BoolVar(&o.offline, "offline", false, "make no network call")
	return cmd
}

func (c *Command) verifyBundle(ctx context.Context, name string, o *options, v *verifyFlags) error {
	if len(v.keys) == 0 && (v.identity == "" || v.issuer == "") {
		return usage("--certificate-identity with --certificate-oidc-issuer, or --key")
	}
	x, err := c.expectation(ctx, o, v)
	if err != nil {
		return err
	}
	x.AnyTypeUnsafe, x.SelfHosted, x.RequireLog = true, true, len(v.keys) == 0
	a, err := verification.FileArtifact(name)
	if errors.Is(err, fs.ErrNotExist) && digestTarget.MatchString(name) {
		var d trust.Digest
		if d, err = trust.ParseDigest(name); err == nil {
			a = verification.DigestArtifact(d.String(), trust.Digests{d})
		}
	}
	if err != nil {
		return usage("target: %w", err)
	}
	docs, err := documents("", v)
	if err != nil {
		return err
	}
	if f := verification.Sniff(docs[0].Data); f != verification.FormatBundle {
		return usage("%s is no Sigstore bundle (%s)", docs[0].Name, f)
	}
	rs, err := verification.Verify(a, docs, x)
	if err == nil && len(rs) != 1 {
		err = verification.ErrNoSignature
	}
	return err
}

func (c *Command) signBundleCommand() *cobra.Command {
	o, s := &options{}, &signerFlags{clientID: signing.DefaultClientID, rekorVersion: 1}
	var bundle string
	var staging, statement bool
	cmd := &cobra.Command{
		Use: "sign-bundle FILE", Short: "Sign a file as sigstore's conformance suite asks", Hidden: true, Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if staging && s.config == "" {
				return usage("--staging: name the staging instance's services with --signing-config")
			}
			if bundle == "" {
				return usage("say with --bundle where the bundle goes")
			}
			sg, err := c.signer(cmd.Context(), o, s)
			if err != nil {
				return verifyError(err)
			}
			var b []byte
			if statement {
				st, rerr := readBounded(args[0], maxConfig)
				if rerr != nil {
					return rerr
				}
				b, err = sg.Statement(cmd.Context(), st)
			} else {
				b, err = sg.File(cmd.Context(), args[0])
			}
			if err != nil {
				return verifyError(err)
			}
			return c.writeSignature(bundle, b)
		},
	}
	f := cmd.Flags()
	f.StringVar(&bundle, "bundle", "", "where the bundle goes")
	f.StringVar(&s.token, "identity-token", "", "OIDC token")
	f.StringVar(&s.key, "key", "", "private key file")
	f.StringVar(&s.config, "signing-config", "", "signing configuration")
	f.StringVar(&o.trustedRoot, "trusted-root", "", "not needed for signing")
	f.BoolVar(&statement, "in-toto", false, "FILE is an in-toto statement, which is signed as it is")
	f.BoolVar(&staging, "staging", false, "sign with the staging instance")
	return cmd
}
