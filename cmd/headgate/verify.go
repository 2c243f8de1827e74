package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// sidecars are the ends of the names under which tools put a signature beside a file.
var sidecars = []string{".sigstore.json", ".sigstore", ".bundle", ".minisig", ".asc", ".sig", ".p7s"}

// verifyFlags are the flags of verify, named as cosign's verify-blob names them.
type verifyFlags struct {
	bundles                        []string
	signature, certificate         string
	identity, identityRegexp       string
	issuer, issuerRegexp           string
	keys                           []string
	chain, timestampChain          string
	checksums, kind, pkg           string
	instance                       string
	selfHosted, requireLog         bool
	verifier, resource, policyHash string
	levels                         []string
	maxAge                         time.Duration
	output                         string
}

func (c *Command) verifyCommand() *cobra.Command {
	o, v := &options{}, &verifyFlags{}
	var capsule capsuleFlags
	cmd := &cobra.Command{
		Use:   "verify TARGET",
		Short: "Verify who signed a file, a folder, an image or a digest",
		Long: `verify checks the signatures of TARGET against whom you expect: an identity with
its issuer, a key, or else the accepted signers of the trust store. Without any of
these it is an error, never a pass.

TARGET is a file, a folder, an image (registry:NAME, oci-archive:FILE, oci-dir:DIR)
or a digest (sha256:…). The signature's format is told by its content: Sigstore
bundles and cosign's older forms, OpenPGP, minisign, signify, SSH, CMS,
Authenticode, DSSE, and signed lists of checksums.

Exit codes: 0 verified, 1 refused, 2 could not be decided, 3 usage.`,
		Example: `  headgate verify app.tgz --certificate-identity-regexp 'https://github\.com/acme/app/.*' --certificate-oidc-issuer https://token.actions.githubusercontent.com
  headgate verify app.tgz --bundle app.tgz.sigstore.json --key release.pub
  headgate verify app.tgz --checksums SHA256SUMS --signature SHA256SUMS.asc --key publisher.asc
  headgate verify go.sum --type vsa --bundle headgate.vsa.sigstore.json --key gate.pub      what check --attest made
  headgate verify dist/                         by the accepted signers of the store`,
		Args: capsuleOr(&capsule.file, operands(1, 1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if capsule.file != "" {
				return c.replayCapsule(cmd.Context(), o, &capsule)
			}
			return c.runVerify(cmd.Context(), args[0], o, v)
		},
	}
	f := cmd.Flags()
	f.StringVar(&capsule.file, "capsule", "", "instead of TARGET: verify the evidence of a capsule anew and replay its decision, offline; --trusted-root is compared with the capsule's")
	f.StringVar(&capsule.logKey, "log-key", "", "with --capsule: verifier key of the store that it comes from (headgate log show prints it)")
	f.StringVar(&capsule.npmKeys, "npm-keys", "", "with --capsule: the registry's keys to compare with the capsule's")
	f.StringVar(&capsule.artifact, "artifact", "", "with --capsule: the file that the decision is about, for signatures over the file itself")
	f.StringArrayVar(&v.bundles, "bundle", nil, "Sigstore bundle, or file with one a line; repeatable")
	f.StringVar(&v.signature, "signature", "", "detached signature of any format")
	f.StringVar(&v.certificate, "certificate", "", "certificate that belongs to the signature")
	f.StringVar(&v.identity, "certificate-identity", "", "exact identity: subject alternative name, or subject of a certificate under --certificate-chain")
	f.StringVar(&v.identityRegexp, "certificate-identity-regexp", "", "the same as a pattern, which has to match as a whole")
	f.StringVar(&v.issuer, "certificate-oidc-issuer", "", "exact OIDC issuer of the identity")
	f.StringVar(&v.issuerRegexp, "certificate-oidc-issuer-regexp", "", "the same as a pattern, which has to match as a whole")
	f.StringArrayVar(&v.keys, "key", nil, "public key, of any format: PEM, minisign, signify, SSH, OpenPGP; repeatable")
	f.StringVar(&v.chain, "certificate-chain", "", "PEM file with the root, and intermediates, of the signer's certificate")
	f.StringVar(&v.timestampChain, "timestamp-certificate-chain", "", "PEM file with the chain of the timestamp authority")
	f.StringVar(&v.kind, "type", "", "demand an attestation: slsaprovenance, vsa, spdx, cyclonedx, … or a URI")
	f.StringVar(&v.verifier, "verifier-id", signing.VerifierID, "with --type vsa: who must have made the summary")
	f.StringVar(&v.resource, "resource-uri", "", "with --type vsa: what it must be about")
	f.StringVar(&v.policyHash, "policy-digest", "", "with --type vsa: the policy that must have judged, sha256:…")
	f.StringArrayVar(&v.levels, "verified-level", nil, "with --type vsa: a level that must have been reached; repeatable")
	f.DurationVar(&v.maxAge, "max-age", 0, "with --type vsa: how old the verdict may be, such as 24h")
	f.StringVar(&v.checksums, "checksums", "", "the signature is over this list of checksums, which names TARGET")
	f.StringVar(&v.pkg, "package", "", "only signers that are accepted for this package (purl)")
	f.BoolVar(&v.requireLog, "require-log", false, "refuse signatures by keys that are in no transparency log")
	f.BoolVar(&v.selfHosted, "allow-self-hosted", false, "accept builds on runners that are not the forge's own")
	f.StringVar(&o.trustedRoot, "trusted-root", "", "Sigstore trusted root to use instead of the one fetched by TUF")
	f.StringVar(&v.instance, "instance", "", "private Sigstore instance of headgate.yaml that must have certified the signer")
	f.StringVar(&o.config, "config", "", "configuration instead of the headgate.yaml of this directory")
	f.BoolVar(&o.offline, "offline", false, "make no network call")
	f.StringVarP(&v.output, "output", "o", "text", "text or json")
	o.storeFlag(cmd)
	return cmd
}

// verifyError gives errors of verification their exit code.
func verifyError(err error) error {
	var x *exitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &x):
		return err
	case errors.Is(err, trust.ErrConfiguration), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return &exitError{code: ingest.ExitUsage, err: err}
	}
	outcome, _ := trust.Classify(err)
	switch outcome {
	case trust.Failed, trust.Absent:
		return &exitError{code: ingest.ExitStopped, err: err}
	case trust.Unreachable:
		return &exitError{code: ingest.ExitUndecided, err: err}
	}
	return err
}

// readBounded reads a file that the user named.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage("%w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, usage("%w", err)
	}
	if int64(len(b)) > limit {
		return nil, verifyError(trust.Undecidable(trust.ReasonTooLarge, "%s has more than %d bytes", path, limit))
	}
	return b, nil
}

func readKeys(path string) (verification.Keys, error) {
	b, err := readBounded(path, verification.MaxKeyFile)
	if err != nil {
		return verification.Keys{}, err
	}
	k, err := verification.ParseKeys(b)
	if err != nil {
		return verification.Keys{}, usage("%s: %w", path, err)
	}
	return k, nil
}

// expectation turns flags into whom and what is expected.
func (c *Command) expectation(ctx context.Context, o *options, v *verifyFlags) (verification.Expectation, error) {
	x := verification.Expectation{
		Identity: v.identity, IdentityRegexp: v.identityRegexp, Issuer: v.issuer, IssuerRegexp: v.issuerRegexp,
		SelfHosted: v.selfHosted, RequireLog: v.requireLog, Now: c.now(), Root: c.verifyRoot(ctx, o),
	}
	for _, path := range v.keys {
		k, err := readKeys(path)
		if err != nil {
			return x, err
		}
		x.Keys.Add(k)
	}
	for _, p := range []struct {
		path string
		set  func(verification.Keys)
	}{{v.chain, func(k verification.Keys) { x.Roots = k.Certificates }}, {v.timestampChain, func(k verification.Keys) { x.TimestampRoots = k.Certificates }}} {
		if p.path == "" {
			continue
		}
		k, err := readKeys(p.path)
		if err != nil {
			return x, err
		}
		if len(k.Certificates) == 0 {
			return x, usage("%s holds no certificate", p.path)
		}
		p.set(k)
	}
	if v.kind != "" {
		var err error
		if x.Types, err = verification.ParseType(v.kind); err != nil {
			return x, usage("--type: %w", err)
		}
	}
	if err := c.chosenInstance(ctx, o, v, &x); err != nil {
		return x, err
	}
	if o.trustedRoot != "" {
		// A trust file that the user names is used, or it is an error.
		if _, err := x.Root(); err != nil {
			return x, usage("--trusted-root: %w", err)
		}
	}
	if x.Keys.Empty() && v.identity == "" && v.identityRegexp == "" {
		if v.issuer == "" && v.issuerRegexp == "" {
			if err := c.acceptedSigners(ctx, o, v, &x); err != nil {
				return x, err
			}
		}
	} else if v.pkg != "" && x.Instance == "" {
		return x, usage("--package narrows the accepted signers of the store, and an identity or key was given")
	}
	if err := x.Validate(); err != nil {
		return x, &exitError{code: ingest.ExitUsage, err: err, hint: "headgate verify --help"}
	}
	return x, nil
}

// chosenInstance takes root and rules of a private Sigstore instance: of the one
// that --instance names, or of the one that vouches for --package.
func (c *Command) chosenInstance(ctx context.Context, o *options, v *verifyFlags, x *verification.Expectation) error {
	if v.instance == "" && v.pkg == "" {
		return nil
	}
	i, in, err := c.instanceOf(o, v.instance, v.pkg)
	if err != nil || in == nil {
		return err
	}
	if o.trustedRoot != "" {
		return usage("--trusted-root and the Sigstore instance %s exclude each other", in.Name)
	}
	x.Instance = in.Name
	x.Root = func() (*sigstore.Root, error) {
		if !o.offline {
			if i.get, err = c.upstreamClient(i.insecure()...); err != nil {
				return nil, err
			}
		}
		m, err := i.material(ctx, in)
		if err != nil {
			return nil, err
		}
		return m.root, nil
	}
	return nil
}

func (c *Command) acceptedSigners(ctx context.Context, o *options, v *verifyFlags, x *verification.Expectation) error {
	var pkg trust.Package
	if v.pkg != "" {
		rel, err := trust.ParseRelease(v.pkg)
		if err != nil {
			return usage("--package: %w", err)
		}
		pkg = rel.Package
	}
	s, err := c.openStore(ctx, o, false)
	if err != nil {
		return err
	}
	defer s.Close()
	x.Accepted, x.KnownKeys, err = verification.AcceptedBy(ctx, s, pkg, c.now())
	if errors.Is(err, trust.ErrConfiguration) {
		return &exitError{code: ingest.ExitUsage, err: err, hint: "--certificate-identity with --certificate-oidc-issuer, --key, or headgate signers accept"}
	}
	return err
}

// verifyRoot returns the trusted root when it is asked for: the named file, else
// what TUF brought before, and only where nothing was brought the network.
func (c *Command) verifyRoot(ctx context.Context, o *options) func() (*sigstore.Root, error) {
	return func() (*sigstore.Root, error) {
		dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
		if err != nil {
			return nil, err
		}
		r := &roots{c: c, dir: filepath.Join(dir, "sigstore"), file: o.trustedRoot}
		if o.trustedRoot != "" {
			return c.namedRoot(o.trustedRoot)
		}
		st, err := r.store()
		if err != nil {
			return nil, err
		}
		m, err := st.Load()
		if err == nil {
			var root *sigstore.Root
			if root, err = sigstore.LoadTrustedRoot(m.TrustedRoot, sigstore.RootOptions{Obtained: m.Obtained, Now: c.now()}); err == nil {
				return root, nil
			}
		}
		if o.offline {
			return nil, err
		}
		if r.get, err = c.upstreamClient(); err != nil {
			return nil, err
		}
		if st, err = r.store(); err != nil {
			return nil, err
		}
		if m, err = st.Refresh(ctx); err != nil {
			return nil, err
		}
		return sigstore.LoadTrustedRoot(m.TrustedRoot, sigstore.RootOptions{Obtained: m.Obtained, Now: c.now()})
	}
}

// namedRoot is the trusted root of a file that the user names for one question.
// The file's time says when it was copied, not when it was current: its age is
// said, and the answer is the user's to judge.
func (c *Command) namedRoot(path string) (*sigstore.Root, error) {
	b, err := readBounded(path, sigstore.MaxTrustedRoot)
	if err != nil {
		return nil, err
	}
	root, err := sigstore.LoadTrustedRoot(b, sigstore.RootOptions{Obtained: c.now(), Now: c.now()})
	if err != nil {
		return nil, err
	}
	if fi, err := os.Stat(path); err == nil {
		if old := c.now().Sub(fi.ModTime()); old > sigstore.DefaultMaxRootAge {
			c.warn(fmt.Sprintf("the trusted root %s is a file of %s: keys that were replaced since then still count", path, fi.ModTime().UTC().Format(time.DateOnly)))
		}
	}
	return root, nil
}

// upstreamClient is a client with the user's own network configuration, which
// may reach the insecure hosts by plain http.
func (c *Command) upstreamClient(insecure ...string) (*upstream.Client, error) {
	settings, err := ecosystems.SettingsOf(c.Getenv, c.Environ, c.Home)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	}
	hosts, err := c.insecure()
	if err != nil {
		return nil, err
	}
	client, err := upstream.New(upstream.Config{Version: c.Version, Credentials: settings.Credentials(), Insecure: append(hosts, insecure...), Getenv: c.Getenv, Clock: c.Clock, Warn: c.warn})
	if err != nil {
		return nil, usage("network configuration: %w", err)
	}
	return client, nil
}

// documents reads the signatures that the flags name, or the one beside the file.
func documents(path string, v *verifyFlags) ([]verification.Document, error) {
	var docs []verification.Document
	extra := verification.Document{}
	if v.certificate != "" {
		b, err := readBounded(v.certificate, verification.MaxKeyFile)
		if err != nil {
			return nil, err
		}
		extra.Certificate = b
	}
	if v.signature != "" {
		b, err := readBounded(v.signature, sigstore.MaxFolderBundle)
		if err != nil {
			return nil, err
		}
		if len(v.bundles) == 0 {
			return []verification.Document{{Name: v.signature, Data: b, Certificate: extra.Certificate}}, nil
		}
		extra.Signature = b
	}
	if (extra.Certificate != nil || extra.Signature != nil) && len(v.bundles) != 1 {
		return nil, usage("--certificate and --signature belong to exactly one signature")
	}
	names := v.bundles
	if len(names) == 0 && path != "" {
		for _, end := range sidecars {
			if fi, err := os.Stat(path + end); err == nil && fi.Mode().IsRegular() {
				names = append(names, path+end)
			}
		}
		if len(names) > 1 {
			return nil, usage("several signatures lie beside the target: name one with --bundle or --signature: %s", strings.Join(names, ", "))
		}
	}
	for _, n := range names {
		b, err := readBounded(n, sigstore.MaxFolderBundle)
		if err != nil {
			return nil, err
		}
		docs = append(docs, verification.Document{Name: n, Data: b, Certificate: extra.Certificate, Signature: extra.Signature})
	}
	return docs, nil
}

func (c *Command) runVerify(ctx context.Context, name string, o *options, v *verifyFlags) error {
	if v.output != "text" && v.output != "json" {
		return usage("-o %s: verify writes text or json", v.output)
	}
	if v.kind != "vsa" && v.kind != sigstore.PredicateVSA && (v.resource != "" || v.policyHash != "" || len(v.levels) > 0 || v.maxAge != 0) {
		return usage("--resource-uri, --policy-digest, --verified-level and --max-age belong to --type vsa")
	}
	x, err := c.expectation(ctx, o, v)
	if err != nil {
		return verifyError(err)
	}
	rs, subject, err := c.verifyTarget(ctx, name, o, v, x)
	if err != nil {
		return verifyError(err)
	}
	if len(rs) == 0 {
		return verifyError(verification.ErrNoSignature)
	}
	if slices.Contains(x.Types, sigstore.PredicateVSA) {
		want := verification.Summary{Verifier: v.verifier, Resource: v.resource, Levels: v.levels, MaxAge: v.maxAge, Now: c.now()}
		if v.policyHash != "" {
			if want.Policy, err = trust.ParseDigest(v.policyHash); err != nil {
				return usage("--policy-digest: %w", err)
			}
		}
		if err := verification.CheckSummary(rs, want); err != nil {
			return verifyError(err)
		}
	}
	if v.output == "json" {
		return printJSON(c, verifyReport(name, subject, rs))
	}
	c.printResults(name, subject, rs)
	return nil
}

// verifyTarget verifies a target of any kind and returns what was verified about
// which digest.
func (c *Command) verifyTarget(ctx context.Context, name string, o *options, v *verifyFlags, x verification.Expectation) ([]*verification.Result, trust.Digest, error) {
	t, err := parseTarget(name)
	if err != nil {
		return nil, trust.Digest{}, err
	}
	var a *verification.Artifact
	path := ""
	switch t.kind {
	case targetDigest:
		a = verification.DigestArtifact(t.digest.String(), trust.Digests{t.digest})
	case targetFile:
		path = t.path
		if a, err = verification.FileArtifact(path); err != nil {
			return nil, trust.Digest{}, err
		}
	default:
		return c.verifyOther(ctx, t, o, v, x)
	}
	var rs []*verification.Result
	if v.checksums != "" {
		list, lerr := verification.FileArtifact(v.checksums)
		if lerr != nil {
			return nil, trust.Digest{}, lerr
		}
		docs, derr := documents(v.checksums, v)
		if derr != nil {
			return nil, trust.Digest{}, derr
		}
		rs, err = verification.VerifyChecksums(a, list, docs, x)
	} else {
		docs, derr := documents(path, v)
		if derr != nil {
			return nil, trust.Digest{}, derr
		}
		if len(docs) == 0 {
			if rs, err = verification.VerifyAuthenticode(a, x); errors.Is(err, verification.ErrNoSignature) {
				err = &exitError{code: ingest.ExitStopped, err: err, hint: "--bundle or --signature names it"}
			}
		} else {
			rs, err = verification.Verify(a, docs, x)
		}
	}
	if err != nil {
		return nil, trust.Digest{}, err
	}
	ds, err := a.Digests(trust.SHA256)
	if d := ds.Get(trust.SHA256); !d.IsZero() {
		return rs, d, err
	}
	return rs, ds.Strongest(), err
}

type verifiedJSON struct {
	Version  int             `json:"version"`
	Target   string          `json:"target"`
	Digest   trust.Digest    `json:"digest,omitzero"`
	Verdict  string          `json:"verdict"`
	Verified []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	Document      string           `json:"document"`
	Format        string           `json:"format"`
	Signer        trust.Signer     `json:"signer"`
	AcceptedBy    string           `json:"acceptedBy,omitempty"`
	SignedAt      time.Time        `json:"signedAt,omitzero"`
	ClaimedAt     time.Time        `json:"claimedAt,omitzero"`
	Logs          []trust.LogEntry `json:"logs,omitempty"`
	PredicateType string           `json:"predicateType,omitempty"`
	Builder       string           `json:"builder,omitempty"`
	Root          trust.Digest     `json:"root,omitzero"`
	Instance      string           `json:"instance,omitempty"`
	Notes         []string         `json:"notes,omitempty"`
}

func verifyReport(name string, d trust.Digest, rs []*verification.Result) verifiedJSON {
	out := verifiedJSON{Version: 1, Target: name, Digest: d, Verdict: "verified"}
	for _, r := range rs {
		s := signatureJSON{Document: r.Document, Format: string(r.Format), Signer: r.Signer, AcceptedBy: r.AcceptedBy,
			SignedAt: r.SignedAt, ClaimedAt: r.ClaimedAt, Logs: r.Logs, Root: r.Root, Instance: r.Instance, Notes: r.Notes}
		if r.Statement != nil {
			s.PredicateType = r.Statement.PredicateType
		}
		if r.Provenance != nil {
			s.Builder = r.Provenance.Builder
		}
		out.Verified = append(out.Verified, s)
	}
	return out
}

func (c *Command) printResults(name string, d trust.Digest, rs []*verification.Result) {
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(c.Stdout, "  %-12s %s\n", key, report.Clean(value))
		}
	}
	fmt.Fprintf(c.Stdout, "verified %s", report.Clean(name))
	if !d.IsZero() {
		fmt.Fprintf(c.Stdout, " (%s)", d)
	}
	fmt.Fprintln(c.Stdout)
	for _, r := range rs {
		s := r.Signer
		line("signed by", s.String())
		line("identity", s.SAN)
		line("issuer", s.Issuer)
		line("instance", r.Instance)
		line("repository", s.SourceRepository)
		line("workflow", s.Workflow)
		line("ref", s.SourceRef)
		line("commit", s.Commit)
		line("accepted as", r.AcceptedBy)
		if !r.SignedAt.IsZero() {
			line("signed at", r.SignedAt.UTC().Format(time.RFC3339))
		} else if !r.ClaimedAt.IsZero() {
			line("claims", r.ClaimedAt.UTC().Format(time.RFC3339))
		}
		for _, l := range r.Logs {
			line("log", fmt.Sprintf("%s index %d", l.Log, l.Index))
		}
		if r.Statement != nil {
			line("attests", r.Statement.PredicateType)
		}
		if r.Provenance != nil {
			line("builder", r.Provenance.Builder)
		}
		line("format", string(r.Format)+", "+r.Document)
		for _, n := range r.Notes {
			line("note", n)
		}
	}
}
