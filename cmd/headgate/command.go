package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ecosystems/generic"
	"github.com/headgate/headgate/ecosystems/maven"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom/revision"
	"github.com/headgate/headgate/sbom/scan"
	"github.com/headgate/headgate/store"

	"github.com/headgate/headgate/ecosystems/adapter"
)

// Command is headgate as a value, like exec.Cmd: everything that it takes from
// the outside is a field.
type Command struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Environ        []string
	Home           string // the user's home directory
	Clock          adapter.Clock
	Version        string
	// Terminal and ErrTerminal say whether Stdout and Stderr are terminals.
	Terminal, ErrTerminal bool
}

// exitError carries an exit code. A quiet one has been reported already.
type exitError struct {
	code  int
	err   error
	hint  string
	quiet bool
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is an error of usage or configuration.
func usage(format string, args ...any) error {
	return &exitError{code: ingest.ExitUsage, err: fmt.Errorf(format, args...)}
}

// hint adds what to do next.
func hint(err error, format string, args ...any) error {
	code := ingest.ExitInternal
	var x *exitError
	if errors.As(err, &x) {
		code = x.code
	}
	return &exitError{code: code, err: err, hint: fmt.Sprintf(format, args...)}
}

// stopped ends the command with a code that its report has explained.
func stopped(code int) error {
	if code == ingest.ExitAllowed {
		return nil
	}
	return &exitError{code: code, quiet: true}
}

// exitCode is the one place that maps errors to exit codes. What it does not
// know is an internal error.
func exitCode(err error) int {
	var x *exitError
	switch {
	case err == nil:
		return ingest.ExitAllowed
	case errors.As(err, &x):
		return x.code
	case errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrNewerSchema), errors.Is(err, store.ErrOldSchema), errors.Is(err, store.ErrNotStore),
		errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrAmbiguous), errors.Is(err, store.ErrRevoked),
		errors.Is(err, scan.ErrSource), errors.Is(err, revision.ErrMissing), errors.Is(err, revision.ErrAmbiguous):
		return ingest.ExitUsage
	}
	return ingest.ExitInternal
}

// Run runs the command and returns its exit code. A panic is an internal error,
// never success.
func (c *Command) Run(ctx context.Context) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(c.Stderr, "headgate: internal error: %s\n%s\n", report.Clean(fmt.Sprint(p)), debug.Stack())
			code = ingest.ExitInternal
		}
	}()
	out := &faithful{w: c.Stdout}
	c.Stdout = out
	root := c.root()
	root.SetArgs(attestArgs(c.Args))
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	err := root.ExecuteContext(ctx)
	code = exitCode(err)
	if code == ingest.ExitAllowed && err == nil && out.err != nil {
		// An answer that nobody got is none.
		err, code = fmt.Errorf("writing to standard output: %w", out.err), ingest.ExitInternal
	}
	var x *exitError
	quiet := errors.As(err, &x) && x.quiet
	if err != nil && !quiet {
		if ctx.Err() != nil {
			if errors.Is(err, audit.ErrCutShort) {
				fmt.Fprintln(c.Stderr, "headgate: interrupted: what was settled is kept, and the same audit goes on from there")
			} else {
				fmt.Fprintln(c.Stderr, "headgate: interrupted: nothing was recorded")
			}
			return ingest.ExitInternal
		}
		for i, line := range strings.Split(err.Error(), "\n") {
			prefix := "headgate: "
			if i > 0 {
				prefix = "  "
			}
			fmt.Fprintln(c.Stderr, prefix+report.Clean(line))
		}
		if x != nil && x.hint != "" {
			fmt.Fprintln(c.Stderr, "  hint: "+report.Clean(x.hint))
		}
	}
	return code
}

// faithful remembers that something could not be written.
type faithful struct {
	w   io.Writer
	err error
}

func (f *faithful) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}

// options are the flags that several commands share.
type options struct {
	base, config, policy string
	store                string
	trustedRoot, npmKeys string
	registries           map[string][]policies.Registry
	downloads            []generic.Download
	instances            *instances
	materials            []store.PinnedMaterial // of headgate.trust
	keysMaps             []*maven.KeysMap
	offline, bytes       bool
	output               []string
	quiet, verbose       bool
	noProgress, noReuse  bool
	asOf                 time.Time // of audit --at; zero for now
	jobs                 int
	requester            string
	dryRun               bool
	sources              []string
	deep                 bool
	explain              bool // keep what every rule made of every component
}

func (c *Command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "headgate",
		Short: "The gate between open-source packages and a codebase",
		Long: `headgate checks every dependency that a change adds: whose bytes are these, who
vouches for them, is that signer accepted, and who decided so?`,
		Example: `  headgate init                        introduce headgate: record what is there
  headgate check --base origin/main    gate what a change adds
  headgate explain pkg:npm/x@1.0.0     every piece of evidence for one release`,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return &exitError{code: ingest.ExitUsage, quiet: true}
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: ingest.ExitUsage, err: err, hint: cmd.CommandPath() + " --help"}
	})
	root.AddCommand(
		c.checkCommand(), c.auditCommand(), c.whereCommand(), c.explainCommand(), c.initCommand(), c.policyCommand(), c.signersCommand(),
		c.requestCommand(), c.requestsCommand(), c.approveCommand(), c.rejectCommand(),
		c.signCommand(), c.verifyCommand(), c.signBundleCommand(), c.verifyBundleCommand(), c.logCommand(), c.storeCommand(), c.dbCommand(), c.ecosystemsCommand(), c.versionCommand(),
	)
	root.Version = c.Version
	root.SetVersionTemplate(c.versionLine() + "\n")
	// Made here and not by cobra, so that they take arguments like the others.
	root.InitDefaultCompletionCmd()
	wrapArgs(root)
	return root
}

// many is no upper bound of operands.
const many = math.MaxInt

// operands accepts from least to most operands, and says how the command is called
// if there are others.
func operands(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		if n >= least && n <= most {
			return nil
		}
		given := fmt.Sprintf("%d arguments are given", n)
		switch n {
		case 0:
			given = "an argument is missing"
		case 1:
			given = fmt.Sprintf("the argument %q is too much", args[0])
		}
		return fmt.Errorf("%s: it is called as: %s", given, strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
}

// unknownCommand names the subcommand that was probably meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2 // letters that may differ
	err := fmt.Errorf("unknown command %q for %q", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
	}
	return err
}

// wrapArgs makes every complaint about arguments a usage error, and unknown
// subcommands of commands that only group others.
func wrapArgs(cmd *cobra.Command) {
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, a []string) error {
		var err error
		switch {
		case cmd.HasSubCommands() && len(a) > 0:
			err = unknownCommand(cmd, a[0])
		case args != nil:
			err = args(cmd, a)
		}
		if err != nil {
			return &exitError{code: ingest.ExitUsage, err: err, hint: cmd.CommandPath() + " --help"}
		}
		return nil
	}
	if cmd.HasSubCommands() && cmd.RunE == nil && cmd.Run == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return &exitError{code: ingest.ExitUsage, quiet: true}
		}
	}
	for _, sub := range cmd.Commands() {
		wrapArgs(sub)
	}
}

func (o *options) storeFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.store, "store", "", "trust store, which must exist; $HEADGATE_STORE, then the user's own")
}

func (o *options) gateFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	o.storeFlag(cmd)
	f.StringVar(&o.config, "config", "", "configuration instead of the repository's headgate.yaml")
	f.StringVar(&o.policy, "policy", "", "built-in policy instead of the configured one: audit, baseline or strict")
	f.StringVar(&o.trustedRoot, "trusted-root", "", "Sigstore trusted root to use instead of the one fetched by TUF")
	f.StringVar(&o.npmKeys, "npm-keys", "", "keys of the configured npm registry, instead of those fetched by TUF")
	f.BoolVar(&o.offline, "offline", false, "ask nobody: use what cache and store hold")
	f.BoolVar(&o.bytes, "bytes", false, "fetch every artifact and compare its bytes")
	f.StringArrayVar(&o.sources, "source-mirror", nil, "git mirror that packages are compared with, URL=DIR, or a folder of mirrors by host and path; repeatable; $"+SourcesEnv)
	f.BoolVar(&o.deep, "deep", false, "say what the source of Go modules reaches (programs, network, system calls, C) that the release before did not")
	f.BoolVar(&o.noReuse, "no-reuse", false, "fetch all evidence anew, whatever the store holds")
	f.IntVar(&o.jobs, "jobs", ingest.DefaultJobs, "components to work on at a time")
	f.BoolVar(&o.noProgress, "no-progress", false, "no progress on standard error")
}

func (o *options) outputFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&o.output, "output", "o", nil, "report FORMAT[=PATH], repeatable: "+strings.Join(report.Formats(), ", "))
	f.BoolVarP(&o.quiet, "quiet", "q", false, "only the verdict and what is stopped")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "every component with its evidence")
}
