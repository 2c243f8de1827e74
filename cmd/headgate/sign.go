package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// PassphraseEnv holds the passphrase of a key file; cosign's variable is read too.
const (
	PassphraseEnv       = "HEADGATE_PASSPHRASE"
	cosignPassphraseEnv = "COSIGN_PASSWORD"
)

// signerFlags say who signs.
type signerFlags struct {
	key, certificate   string
	token              string
	tokenFile          string
	issuer, clientID   string
	fulcio, rekor, tsa string
	rekorVersion       int
	config, instance   string
	device             bool
}

type signFlags struct {
	signerFlags
	bundle, format  string
	kind, predicate string
	exclude         []string
	output          string
}

func (s *signerFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.key, "key", "", "private key file (PEM, cosign, minisign, OpenSSH, PKCS#12), public key file of one in ssh-agent, ssh-agent:SHA256:…, or a KMS URI (hashivault://NAME); keyless without")
	f.StringVar(&s.certificate, "certificate", "", "certificate of the key, in PEM, with its issuers behind it")
	f.StringVar(&s.token, "identity-token", "", "OIDC token, or a file with it, for keyless signing; else the CI's own, else a browser")
	f.StringVar(&s.tokenFile, "identity-token-file", "", "file with the OIDC token")
	f.StringVar(&s.issuer, "oidc-issuer", "", "OIDC issuer for signing in; the signing configuration's without")
	f.StringVar(&s.clientID, "oidc-client-id", signing.DefaultClientID, "OIDC client id, and audience of tokens")
	f.BoolVar(&s.device, "device", false, "sign in on another device, by a code")
	f.StringVar(&s.config, "signing-config", "", "Sigstore signing configuration; the one fetched by TUF without")
	f.StringVar(&s.instance, "instance", "", "private Sigstore instance of headgate.yaml to sign with")
	f.StringVar(&s.fulcio, "fulcio-url", "", "certificate authority of a private Sigstore instance")
	f.StringVar(&s.rekor, "rekor-url", "", "transparency log; with a key too")
	f.IntVar(&s.rekorVersion, "rekor-version", 1, "API version of --rekor-url: 1 or 2")
	f.StringVar(&s.tsa, "timestamp-server-url", "", "RFC 3161 timestamp authority; with a key too")
}

func (c *Command) signCommand() *cobra.Command {
	o, s := &options{}, &signFlags{}
	cmd := &cobra.Command{
		Use:   "sign TARGET",
		Short: "Sign a file, a folder, an image or an SBOM",
		Long: `sign makes a Sigstore bundle for TARGET: with a key, or keyless with an identity
that you have already (a CI's token, or signing in with a browser).

A folder is signed as a list of all its files, modes and links. An image is signed
by its digest, and the bundle goes beside it into the registry or layout.

A key signs without any network, unless --rekor-url, --timestamp-server-url or
--signing-config name witnesses. The passphrase of a key file is asked for on the
terminal, or comes from $HEADGATE_PASSPHRASE.`,
		Example: `  headgate sign app.tgz                               keyless
  headgate sign app.tgz --key release.key --bundle app.tgz.sigstore.json
  headgate sign dist/ --exclude '*.log' --key ssh-agent:SHA256:…
  headgate sign sbom.cdx.json --key release.key
  headgate sign app.tgz --type spdx --predicate app.spdx.json --key release.key`,
		Args: operands(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return verifyError(c.runSign(cmd.Context(), args[0], o, s))
		},
	}
	s.register(cmd)
	f := cmd.Flags()
	f.StringVar(&s.bundle, "bundle", "", "where the signature goes; TARGET.sigstore.json without, - for standard output")
	f.StringVar(&s.format, "format", "bundle", "bundle, ssh (as ssh-keygen -Y) or minisign")
	f.StringVar(&s.kind, "type", "", "sign an attestation of this type about TARGET: slsaprovenance1, spdx, cyclonedx, … or a URI")
	f.StringVar(&s.predicate, "predicate", "", "JSON file with the attestation's predicate")
	f.StringArrayVar(&s.exclude, "exclude", nil, "pattern that leaves something out of a folder, and is signed; repeatable")
	f.StringVarP(&s.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.offline, "offline", false, "make no network call")
	return cmd
}

// passphrase asks for the passphrase of a key file.
func (c *Command) passphrase(path string) signing.Passphrase {
	return func() ([]byte, error) {
		for _, env := range []string{PassphraseEnv, cosignPassphraseEnv} {
			if v := c.Getenv(env); v != "" {
				return []byte(v), nil
			}
		}
		f, ok := c.Stdin.(*os.File)
		if !ok || !isTerminal(f) {
			return nil, usage("%s is encrypted: put its passphrase into $%s", path, PassphraseEnv)
		}
		fmt.Fprintf(c.Stderr, "passphrase of %s: ", report.Clean(path))
		b, err := readPassword(f)
		fmt.Fprintln(c.Stderr)
		return b, err
	}
}

// maxAgentKeys bounds the keys that an agent is asked about.
const maxAgentKeys = 1024

// agentKeys asks the user's ssh-agent for its keys.
func (c *Command) agentKeys() (agent.ExtendedAgent, []*agent.Key, error) {
	sock := c.Getenv("SSH_AUTH_SOCK")
	if sock == "" {
		return nil, nil, usage("no ssh-agent: $SSH_AUTH_SOCK is not set")
	}
	conn, err := net.Dial("unix", sock)
	if err != nil {
		return nil, nil, usage("ssh-agent: %w", err)
	}
	a := agent.NewClient(conn)
	keys, err := a.List()
	if err != nil {
		return nil, nil, usage("ssh-agent: %w", errors.Join(err, conn.Close()))
	}
	if len(keys) > maxAgentKeys {
		return nil, nil, usage("ssh-agent holds more than %d keys", maxAgentKeys)
	}
	return a, keys, nil
}

func (c *Command) agentHas(fingerprint string) bool {
	_, keys, err := c.agentKeys()
	return err == nil && slices.ContainsFunc(keys, func(k *agent.Key) bool { return ssh.FingerprintSHA256(k) == fingerprint })
}

func (c *Command) agentKey(fingerprint string) (*signing.Key, error) {
	a, keys, err := c.agentKeys()
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if ssh.FingerprintSHA256(k) == fingerprint {
			signer, err := sshsig.AgentSigner(a, k)
			if err != nil {
				return nil, usage("ssh-agent: %w", err)
			}
			return signing.SSHKey(signer)
		}
	}
	return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("ssh-agent holds no key %s", fingerprint), hint: "ssh-add FILE"}
}

// inAgent returns the fingerprint of the key in a file that ssh-agent is to sign
// with: that of a public key, or of an encrypted private key whose passphrase no
// variable holds while an agent is at hand.
func (c *Command) inAgent(file []byte) string {
	if pub, err := sshsig.ParsePublicKey(file); err == nil {
		return ssh.FingerprintSHA256(pub)
	}
	var locked *ssh.PassphraseMissingError
	if _, err := ssh.ParseRawPrivateKey(file); !errors.As(err, &locked) || locked.PublicKey == nil {
		return ""
	}
	if c.Getenv(PassphraseEnv) != "" || c.Getenv("SSH_AUTH_SOCK") == "" {
		return ""
	}
	if fp := ssh.FingerprintSHA256(locked.PublicKey); c.agentHas(fp) {
		return fp
	}
	return ""
}

// signingKey reads the key that --key names; nil for keyless.
func (c *Command) signingKey(ctx context.Context, s *signerFlags) (*signing.Key, error) {
	if s.key == "" {
		if s.certificate != "" {
			return nil, usage("--certificate belongs to a --key")
		}
		return nil, nil
	}
	var k *signing.Key
	var err error
	switch {
	case strings.HasPrefix(s.key, "ssh-agent:"):
		k, err = c.agentKey(strings.TrimPrefix(s.key, "ssh-agent:"))
	case strings.Contains(s.key, "://"):
		k, err = signing.KMSKey(ctx, s.key, c.Getenv)
	default:
		b, rerr := readBounded(s.key, signing.MaxKeyFile)
		if rerr != nil {
			return nil, rerr
		}
		if agent := c.inAgent(b); agent != "" {
			k, err = c.agentKey(agent)
			break
		}
		k, err = signing.ParseKey(b, c.passphrase(s.key))
	}
	if err != nil {
		return nil, err
	}
	if s.certificate != "" {
		ks, err := readKeys(s.certificate)
		if err != nil {
			return nil, err
		}
		if len(ks.Certificates) == 0 {
			return nil, usage("%s holds no certificate", s.certificate)
		}
		return k.WithCertificates(ks.Certificates)
	}
	return k, nil
}

// signer makes the signer that the flags describe.
func (c *Command) signer(ctx context.Context, o *options, s *signerFlags) (*signing.Signer, error) {
	key, err := c.signingKey(ctx, s)
	if err != nil {
		return nil, err
	}
	if s.rekorVersion != 1 && s.rekorVersion != 2 {
		return nil, usage("--rekor-version %d: known are 1 and 2", s.rekorVersion)
	}
	named := s.fulcio != "" || s.rekor != "" || s.tsa != ""
	if named && s.config != "" || s.instance != "" && (named || s.config != "") {
		return nil, usage("--signing-config, --instance and URLs of services exclude each other")
	}
	if key != nil && !named && s.config == "" && s.instance == "" {
		return &signing.Signer{Key: key}, nil
	}
	if o.offline {
		return nil, usage("this way of signing asks services, and --offline forbids it; sign with a --key")
	}
	var config []byte
	switch {
	case named:
		if key == nil && s.fulcio == "" {
			return nil, usage("keyless signing with services by URL needs --fulcio-url")
		}
		config, err = signing.SigningConfig(s.fulcio, s.issuer, s.rekor, s.rekorVersion, s.tsa, c.now().Add(-time.Hour))
	case s.instance != "":
		config, err = c.instanceSigningConfig(ctx, o, s.instance)
	case s.config != "":
		config, err = readBounded(s.config, sigstore.MaxTrustedRoot)
	default:
		config, err = c.storedSigningConfig(ctx)
	}
	if err != nil {
		return nil, err
	}
	services, err := signing.SelectServices(config, c.now(), nil)
	if err != nil {
		return nil, err
	}
	out := &signing.Signer{Key: key, Logs: services.Logs, Timestamps: services.Timestamps}
	if key != nil {
		return out, nil
	}
	if services.Fulcio == "" {
		return nil, usage("the signing configuration names no certificate authority that is valid now")
	}
	token, err := c.identityToken(ctx, s, services)
	if err != nil {
		return nil, err
	}
	out.Keyless = &signing.Keyless{FulcioURL: services.Fulcio, Token: token}
	return out, nil
}

// instanceSigningConfig is that of a private instance of headgate.yaml.
func (c *Command) instanceSigningConfig(ctx context.Context, o *options, name string) ([]byte, error) {
	i, in, err := c.instanceOf(o, name, "")
	if err != nil {
		return nil, err
	}
	if i.get, err = c.upstreamClient(i.insecure()...); err != nil {
		return nil, err
	}
	m, err := i.material(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(m.signing) == 0 {
		return nil, usage("the Sigstore instance %s has no signing configuration: name one as signingConfig in headgate.yaml, or with --signing-config", name)
	}
	return m.signing, nil
}

// storedSigningConfig is what TUF brought, refreshed if there is none.
func (c *Command) storedSigningConfig(ctx context.Context) ([]byte, error) {
	dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return nil, err
	}
	r := &roots{c: c, dir: filepath.Join(dir, "sigstore")}
	st, err := r.store()
	if err != nil {
		return nil, err
	}
	m, err := st.Load()
	if err != nil || len(m.SigningConfig) == 0 {
		if r.get, err = c.upstreamClient(); err != nil {
			return nil, err
		}
		if st, err = r.store(); err != nil {
			return nil, err
		}
		if m, err = st.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("signing configuration: %w", err)
		}
	}
	if len(m.SigningConfig) == 0 {
		return nil, usage("the TUF repository has no signing configuration; name one with --signing-config")
	}
	return m.SigningConfig, nil
}

func (c *Command) identityToken(ctx context.Context, s *signerFlags, services *signing.Services) (string, error) {
	if s.token != "" && s.tokenFile != "" {
		return "", usage("--identity-token and --identity-token-file exclude each other")
	}
	if s.token != "" && strings.Count(s.token, ".") != 2 {
		s.token, s.tokenFile = "", s.token // a file, as cosign takes one here
	}
	if s.token != "" {
		return s.token, nil
	}
	if s.tokenFile != "" {
		b, err := readBounded(s.tokenFile, signing.MaxToken)
		return strings.TrimSpace(string(b)), err
	}
	issuer := s.issuer
	if issuer == "" {
		issuer = services.OIDC
	}
	tok, from, err := signing.AmbientToken(ctx, signing.Environment{Getenv: c.Getenv, Audience: s.clientID, Client: http.DefaultClient})
	if err != nil {
		return "", err
	}
	if tok != "" {
		fmt.Fprintf(c.Stderr, "signing with the identity of %s\n", from)
		return tok, nil
	}
	if issuer == "" {
		return "", usage("no identity token is at hand and no OIDC issuer to ask: --identity-token or --oidc-issuer")
	}
	login := signing.Login{Issuer: issuer, ClientID: s.clientID, Out: c.Stderr, Now: c.Clock}
	if s.device {
		return login.Device(ctx)
	}
	if !c.ErrTerminal {
		return "", &exitError{code: ingest.ExitUsage, err: errors.New("no identity token is at hand, and no terminal to sign in from"), hint: "--identity-token, --key, or --device"}
	}
	return login.Browser(ctx)
}

// writeSignature writes to a file or standard output.
func (c *Command) writeSignature(name string, b []byte) error {
	if name == "-" {
		_, err := c.Stdout.Write(b)
		return err
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return usage("writing the signature: %w", err)
	}
	return nil
}

type signedJSON struct {
	Version int    `json:"version"`
	Target  string `json:"target"`
	Digest  string `json:"digest,omitempty"`
	Index   bool   `json:"index,omitempty"`
	Bundle  string `json:"bundle"`
}

func (c *Command) runSign(ctx context.Context, name string, o *options, s *signFlags) error {
	if s.output != "text" && s.output != "json" {
		return usage("-o %s: sign writes text or json", s.output)
	}
	t, err := parseTarget(name)
	if err != nil {
		return err
	}
	types := []string{signing.PredicateSign}
	predicate := any(json.RawMessage("{}"))
	if s.kind != "" {
		if types, err = verification.ParseType(s.kind); err != nil {
			return err
		}
		if s.predicate == "" {
			return usage("--type needs --predicate FILE")
		}
		b, err := readBounded(s.predicate, sigstore.MaxBundle)
		if err != nil {
			return err
		}
		if _, err := sigstore.CheckJSON(b); err != nil {
			return usage("%s: %w", s.predicate, err)
		}
		predicate = json.RawMessage(b)
	} else if s.predicate != "" {
		return usage("--predicate needs --type")
	}
	if len(s.exclude) > 0 && t.kind != targetFolder {
		return usage("--exclude is for folders")
	}
	if s.format != "bundle" {
		return c.signOwnFormat(ctx, t, s)
	}
	// The last of several versions is the newest.
	kind := types[len(types)-1]
	sg, err := c.signer(ctx, o, &s.signerFlags)
	if err != nil {
		return err
	}
	out := s.bundle
	var b []byte
	done := signedJSON{Version: 1, Target: name}
	switch t.kind {
	case targetFile:
		if out == "" {
			out = t.path + ".sigstore.json"
		}
		if s.kind == "" {
			b, err = sg.File(ctx, t.path)
			break
		}
		var sub signing.Subject
		if sub, err = signing.FileSubject(t.path); err == nil {
			b, err = sg.Attest(ctx, kind, predicate, sub)
		}
	case targetFolder:
		if s.kind != "" {
			return usage("a folder is signed as the list of its files; --type is for files and images")
		}
		if out == "" {
			out = filepath.Clean(t.path) + ".sigstore.json"
			if abs, err := filepath.Abs(t.path); err == nil {
				out = abs + ".sigstore.json"
			}
		}
		var f *signing.Folder
		if f, err = signing.ScanFolder(ctx, t.path, signing.FolderOptions{Exclude: s.exclude, Skip: []string{out}}); err != nil {
			return err
		}
		var st []byte
		if st, err = f.Statement(); err == nil {
			b, err = sg.Statement(ctx, st)
		}
	case targetDigest:
		if out == "" {
			return usage("signing a digest needs --bundle FILE")
		}
		b, err = sg.Attest(ctx, kind, predicate, signing.Subject{Name: t.digest.String(), Digests: trust.Digests{t.digest}})
	default:
		return c.signImage(ctx, t, kind, predicate, sg, o, s, done)
	}
	if err != nil {
		return err
	}
	if err := c.writeSignature(out, b); err != nil {
		return err
	}
	done.Bundle = out
	return c.signed(done, s)
}

func (c *Command) signed(done signedJSON, s *signFlags) error {
	if done.Bundle == "-" {
		return nil
	}
	if s.output == "json" {
		return printJSON(c, done)
	}
	fmt.Fprintf(c.Stdout, "signed %s", report.Clean(done.Target))
	if done.Digest != "" {
		fmt.Fprintf(c.Stdout, " (%s)", report.Clean(done.Digest))
	}
	fmt.Fprintf(c.Stdout, ": %s\n", report.Clean(done.Bundle))
	if done.Index {
		fmt.Fprintln(c.Stdout, "  the image has several platforms: the index is signed, and with it each of them")
	}
	return nil
}

// signOwnFormat writes what ssh-keygen or minisign would.
func (c *Command) signOwnFormat(ctx context.Context, t signTarget, s *signFlags) error {
	if t.kind != targetFile || s.kind != "" {
		return usage("--format %s signs files alone", s.format)
	}
	if s.key == "" {
		return usage("--format %s needs a --key", s.format)
	}
	k, err := c.signingKey(ctx, &s.signerFlags)
	if err != nil {
		return err
	}
	var b []byte
	end := ".sig"
	switch s.format {
	case "ssh":
		b, err = k.SSHSignature(t.path)
	case "minisign":
		end = ".minisig"
		b, err = k.MinisignSignature(t.path)
	default:
		return usage("--format %s: use bundle, ssh or minisign", s.format)
	}
	if err != nil {
		return err
	}
	out := s.bundle
	if out == "" {
		out = t.path + end
	}
	if err := c.writeSignature(out, b); err != nil {
		return err
	}
	return c.signed(signedJSON{Version: 1, Target: t.path, Bundle: out}, s)
}
