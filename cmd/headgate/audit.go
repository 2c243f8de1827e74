package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/audit"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/document"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// auditFlags are what only audit has.
type auditFlags struct {
	failOn, since, at string
	refresh           bool
	hookFormat        string
}

// auditGC is the garbage collector's target while auditing, in percent.
const auditGC = 50

// Names of the variables with the webhook's URL, which is a secret with most
// receivers, and the secret that signs its messages.
const (
	hookURLEnv    = "HEADGATE_WEBHOOK"
	hookSecretEnv = "HEADGATE_WEBHOOK_SECRET"
)

func (c *Command) auditCommand() *cobra.Command {
	o := &options{}
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit [NAME=]SOURCE...",
		Short: "Re-verify what is already in",
		Long: `audit asks of everything that the sources hold: is it still what was accepted, and
would it be accepted again today? It finds revoked signers, new advisories and
malware records, withdrawn releases, changed upstream bytes, evidence that got
better or worse, approvals and exceptions that ended or soon will, and components
that never passed the gate.

SOURCE is an SBOM, a lock file, a directory, an image archive, a pattern of file
names, or a folder of SBOMs, and there may be thousands. The same release in many
sources is judged once. NAME is what the source stands for (a service, an image, a
repository); without it the path is.

A directory whose files are SBOMs and no dependency files is a folder of SBOMs;
dir:PATH and sboms:PATH say which it is. Every audit is compared with the last one
of the same sources. An audit that is cut short goes on where it stopped when it
is started again with the same sources.

Exit codes: 0 allowed, 1 stopped by policy, 2 evidence or a source unreachable,
3 usage or configuration, 4 internal error, 5 nothing to check.`,
		Example: `  headgate audit sboms/                              every SBOM of a folder
  headgate audit 'deploy/**/*.cdx.json' --fail-on new  only what is new fails the job
  headgate audit web=web.cdx.json api=../api          with names of your own
  headgate audit sboms/ -o text -o html=audit.html
  headgate audit sboms/ --at 2026-01-31               as of an earlier day`,
		Args: operands(1, many),
		RunE: func(cmd *cobra.Command, args []string) error {
			outs, err := report.ParseOutputs(o.output)
			if err != nil {
				return &exitError{code: ingest.ExitUsage, err: err}
			}
			var hook *audit.Hook
			if u := c.Getenv(hookURLEnv); u != "" {
				hook = &audit.Hook{URL: u, Format: audit.HookFormat(f.hookFormat), Secret: []byte(c.Getenv(hookSecretEnv))}
				if err := hook.Check(); err != nil {
					return usage("$%s: %w", hookURLEnv, err)
				}
			}
			r, err := c.auditRun(cmd.Context(), o, f, args)
			if err != nil {
				return err
			}
			if err := c.write(r, outs, o); err != nil {
				return err
			}
			if hook != nil && r.RunID != "" {
				// A receiver that is down does not change what was found.
				if err := hook.Send(cmd.Context(), r); err != nil {
					c.warn(err.Error())
				}
			}
			return stopped(r.ExitCode)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.hookFormat, "webhook-format", string(audit.HookJSON), "form of the message about new findings that goes to $"+hookURLEnv+", signed with $"+hookSecretEnv+": json or slack")
	fl.StringVar(&f.failOn, "fail-on", string(audit.FailOnAny), "what makes the exit code: any finding, or only new ones")
	fl.StringVar(&f.since, "since", "", "compare with the last audit by this time (2006-01-02 or RFC 3339) instead of the last one")
	fl.StringVar(&f.at, "at", "", "judge as of an earlier moment (2006-01-02 or RFC 3339), by what was recorded then; records nothing")
	fl.BoolVar(&f.refresh, "refresh", false, "ask for everything anew, whatever its age")
	fl.StringVar(&o.requester, "requester", "", "who asks; $HEADGATE_REQUESTER")
	fl.BoolVar(&o.dryRun, "dry-run", false, "record nothing")
	o.gateFlags(cmd)
	o.outputFlags(cmd)
	return cmd
}

func (c *Command) auditRun(ctx context.Context, o *options, f auditFlags, args []string) (*ingest.Report, error) {
	if o.jobs < 1 || o.jobs > ingest.MaxJobs {
		return nil, usage("--jobs is %d; it is 1 to %d", o.jobs, ingest.MaxJobs)
	}
	q := audit.Request{FailOn: audit.FailOn(f.failOn), DryRun: o.dryRun, Bytes: o.bytes, Requester: c.requester(o)}
	if q.FailOn != audit.FailOnAny && q.FailOn != audit.FailOnNew {
		return nil, usage("--fail-on is %q; it is any or new", f.failOn)
	}
	var err error
	if q.Since, err = moment("since", f.since); err != nil {
		return nil, err
	}
	if q.At, err = moment("at", f.at); err != nil {
		return nil, err
	}
	if q.At.After(c.Clock()) {
		return nil, usage("--at %s is in the future", f.at)
	}
	o.noReuse, o.asOf = o.noReuse || f.refresh, q.At
	set, err := c.settings(o, ".", nil, false)
	if err != nil {
		return nil, err
	}
	found, err := auditSources(args)
	if err != nil {
		return nil, err
	}
	s, err := c.openStore(ctx, o, false)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	signers, err := c.sbomSigners(ctx, o, set, s)
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		q.Sources = append(q.Sources, a.source(signers))
	}
	g, err := c.gate(o, set, s)
	if err != nil {
		return nil, err
	}
	q.Origin, q.Notes = set.origin, set.notes
	if q.Approvals, err = c.carried(set, nil); err != nil {
		return nil, err
	}
	// Reading thousands of documents leaves much behind: collecting it twice as often
	// costs a tenth of the time and saves half of the memory above what is needed.
	defer debug.SetGCPercent(debug.SetGCPercent(auditGC))
	bar := c.progress(o)
	a := &audit.Auditor{
		Gate: g, Store: s, Exceptions: set.policy.Config().Exceptions, ReportOnly: set.policy.Name() == "audit", Progress: bar.stage,
	}
	r, err := a.Run(ctx, q)
	bar.done()
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, audit.ErrCutShort):
		return nil, err
	case errors.Is(err, store.ErrBusy):
		return nil, hint(err, "another headgate is writing; try again")
	}
	return nil, err
}

// moment reads a day (its end, in UTC) or an exact time.
func moment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, usage("--%s %q: write a day (2006-01-02) or a time (2006-01-02T15:04:05Z)", flag, s)
	}
	return t.AddDate(0, 0, 1).Add(-time.Second), nil
}

// stage shows progress in words.
func (b *bar) stage(stage string, done, all int) {
	if !b.on || all == 0 {
		return
	}
	now := b.c.Clock()
	if !b.c.ErrTerminal {
		if now.Sub(b.last) >= progressEvery {
			b.last = now
			fmt.Fprintf(b.c.Stderr, "headgate: %s: %d of %d\n", stage, done, all)
		}
		return
	}
	if now.Sub(b.last) < 100*time.Millisecond && done < all {
		return
	}
	b.last, b.shown = now, true
	fmt.Fprintf(b.c.Stderr, "\r\x1b[K  %s  %d/%d", stage, done, all)
}

// named is NAME= in front of a source.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/@:+-]*=`)

const schemeSBOMs = "sboms:"

// auditSources expands what the user named. Each source has a name of its own;
// the same path twice is one source.
func auditSources(args []string) ([]audited, error) {
	var out []audited
	paths := map[string]string{}
	add := func(name, path string, kind sourceKind) error {
		if len(name) > store.MaxAuditName {
			return usage("the name of source %.60s… has %d bytes, more than %d", name, len(name), store.MaxAuditName)
		}
		if was, ok := paths[name]; ok {
			if was == path {
				return nil
			}
			return usage("two sources are named %q: %s and %s; give each a name of its own (NAME=SOURCE)", name, was, path)
		}
		if len(out) == store.MaxSources {
			return usage("more than %d sources: audit them in parts", store.MaxSources)
		}
		paths[name] = path
		out = append(out, audited{name, path, kind})
		return nil
	}
	for _, arg := range args {
		name := ""
		if !exists(arg) && !strings.HasPrefix(arg, "pkg:") {
			if m := named.FindString(arg); m != "" {
				name, arg = strings.TrimSuffix(m, "="), arg[len(m):]
			}
		}
		ps, folder, err := expand(arg)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			n := filepath.ToSlash(p)
			switch {
			case name != "" && (len(ps) > 1 || folder):
				n = name + "/" + filepath.ToSlash(relative(arg, p))
			case name != "":
				n = name
			}
			if err := add(n, p, kindOf(p, folder)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func relative(from, path string) string {
	from = strings.TrimPrefix(from, schemeSBOMs)
	if rel, err := filepath.Rel(from, path); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return path
}

// audited is one source by its name.
type audited struct {
	name, path string
	kind       sourceKind
}

// sourceKind is how a source is read and who vouches for it.
type sourceKind int

const (
	kindOther sourceKind = iota
	kindSBOM
	kindImage
)

// kindOf tells SBOMs and images, which can be signed, from other sources.
func kindOf(path string, inFolder bool) sourceKind {
	scheme, _, _ := strings.Cut(path, ":")
	switch {
	case inFolder:
		return kindSBOM
	case exists(path):
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && mayBeSBOM(filepath.Base(path)) && sniffs(path) {
			return kindSBOM
		}
	case scheme == "sbom":
		return kindSBOM
	case scheme == "registry", scheme == "oci-archive", scheme == "oci-dir":
		return kindImage
	}
	return kindOther
}

// source reads it when its turn comes.
func (a audited) source(j *sbomSigners) audit.Source {
	var findings []trust.Finding
	return audit.Source{Name: a.name, Findings: func(context.Context) []trust.Finding { return findings }, Open: func(ctx context.Context) (inv *sbom.Inventory, err error) {
		switch a.kind {
		case kindSBOM:
			inv, findings, err = j.file(strings.TrimPrefix(a.path, "sbom:"))
		case kindImage:
			inv, findings, err = j.image(ctx, a.path)
		default:
			inv, err = openSource(ctx, a.path, nil)
		}
		return inv, err
	}}
}

// expand turns an argument into sources: a folder of SBOMs into its files, a
// pattern into what it matches, everything else into itself.
func expand(arg string) (paths []string, folder bool, err error) {
	if dir, ok := strings.CutPrefix(arg, schemeSBOMs); ok {
		paths, err = sbomFolder(dir)
		if err == nil && len(paths) == 0 {
			err = usage("%s holds no SBOM", dir)
		}
		return paths, true, err
	}
	fi, serr := os.Stat(arg)
	if serr == nil && fi.IsDir() {
		ok, err := isSBOMFolder(arg)
		if err != nil || !ok {
			return []string{arg}, false, err
		}
		paths, err = sbomFolder(arg)
		return paths, true, err
	}
	if serr != nil && strings.ContainsAny(arg, "*?[") && !strings.HasPrefix(arg, "pkg:") {
		paths, err = glob(arg)
		if err != nil {
			return nil, false, usage("pattern %q: %w", arg, err)
		}
		paths = slices.DeleteFunc(paths, func(p string) bool { return isSignature(p) })
		if len(paths) == 0 {
			return nil, false, usage("nothing matches %q", arg)
		}
		return paths, false, nil
	}
	return []string{arg}, false, nil
}

// glob is filepath.Glob with "**" for any number of directories.
func glob(pattern string) ([]string, error) {
	head, tail, deep := strings.Cut(filepath.ToSlash(pattern), "**/")
	if !deep {
		return filepath.Glob(pattern)
	}
	if strings.Contains(tail, "**") || strings.ContainsAny(head, "*?[") {
		return nil, errors.New("only one ** is understood, and no other pattern before it")
	}
	if _, err := filepath.Match(tail, ""); err != nil {
		return nil, err
	}
	if head == "" {
		head = "."
	}
	var out []string
	depth := strings.Count(tail, "/")
	err := filepath.WalkDir(filepath.FromSlash(head), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		parts := strings.Split(filepath.ToSlash(p), "/")
		if len(parts) <= depth {
			return nil
		}
		if ok, err := filepath.Match(tail, strings.Join(parts[len(parts)-1-depth:], "/")); err != nil || !ok {
			return err
		}
		if out = append(out, p); len(out) > store.MaxSources {
			return fmt.Errorf("it matches more than %d files", store.MaxSources)
		}
		return nil
	})
	return out, err
}

// isSignature tells signatures and other companions of SBOMs from SBOMs.
func isSignature(name string) bool {
	for _, end := range []string{".sigstore.json", ".sigstore", ".bundle", ".sig", ".asc", ".minisig", ".pem", ".crt", ".sha256", ".att"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// isSBOMFolder reports whether a directory holds SBOMs and no dependency files:
// then it is a collection, not a project.
func isSBOMFolder(dir string) (bool, error) {
	found := false
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != dir && (n == "node_modules" || n == ".git") {
				found = false
				return fs.SkipAll
			}
			return nil
		}
		if _, ok := lockfile.Match(filepath.ToSlash(p)); ok {
			found = false
			return fs.SkipAll
		}
		if !found && d.Type().IsRegular() && mayBeSBOM(d.Name()) {
			found = sniffs(p)
		}
		return nil
	})
	if err != nil {
		return false, usage("reading %s: %w", dir, err)
	}
	return found, nil
}

func mayBeSBOM(name string) bool {
	if isSignature(name) || strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".json", ".xml", ".spdx", ".cdx":
		return true
	}
	return false
}

func sniffs(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return false
	}
	_, ok := document.Sniff(head)
	return ok
}

// sbomFolder lists the files of a folder of SBOMs, at any depth. What looks like
// one by its name and is none is listed too: it is broken, not absent.
func sbomFolder(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && mayBeSBOM(d.Name()) {
			if out = append(out, p); len(out) > store.MaxSources {
				return fmt.Errorf("it holds more than %d files", store.MaxSources)
			}
		}
		return nil
	})
	if err != nil {
		return nil, usage("reading %s: %w", dir, err)
	}
	return out, nil
}
