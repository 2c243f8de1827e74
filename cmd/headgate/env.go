package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/mirror"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom/revision"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// ConfigFile and TrustFile are the files in the repository root.
const (
	ConfigFile = "headgate.yaml"
	TrustFile  = "headgate.trust"
	// maxConfig bounds ConfigFile and TrustFile in bytes.
	maxConfig = 16 << 20
)

// InsecureEnv lists registries ("host:port", separated by commas) to which the
// user allows plain http and private addresses.
const InsecureEnv = "HEADGATE_INSECURE_REGISTRIES"

// SourcesEnv names git mirrors as --source-mirror does, separated by commas. The
// scanned repository has no say in them.
const SourcesEnv = "HEADGATE_SOURCE_MIRRORS"

// sources are the git mirrors that the user names; nil for none.
func (c *Command) sources(o *options) (*mirror.Mirrors, error) {
	specs := o.sources
	if len(specs) == 0 {
		for s := range strings.SplitSeq(c.Getenv(SourcesEnv), ",") {
			if s = strings.TrimSpace(s); s != "" {
				specs = append(specs, s)
			}
		}
	}
	if len(specs) == 0 {
		return nil, nil
	}
	m, err := mirror.Parse(specs)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err, hint: "git clone --mirror URL DIR/HOST/PATH.git"}
	}
	return m, nil
}

func (c *Command) xdg(env, rest string) (string, error) {
	dir := c.Getenv(env)
	if dir == "" || !filepath.IsAbs(dir) {
		if c.Home == "" {
			return "", usage("neither $%s nor a home directory is set", env)
		}
		dir = filepath.Join(c.Home, rest)
	}
	return filepath.Join(dir, "headgate"), nil
}

// storePath returns where the store is and whether it was named by the user; a
// named one must exist already.
func (c *Command) storePath(o *options) (path string, named bool, err error) {
	if o.store != "" {
		return o.store, true, nil
	}
	if p := c.Getenv("HEADGATE_STORE"); p != "" {
		return p, true, nil
	}
	dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
	return filepath.Join(dir, "trust.db"), false, err
}

// openStore opens the store for writing, or read-only where its media are.
func (c *Command) openStore(ctx context.Context, o *options, create bool) (*store.Store, error) {
	path, named, err := c.storePath(o)
	if err != nil {
		return nil, err
	}
	opt := store.Options{Now: c.Clock, Create: create || !named}
	s, err := store.Open(ctx, path, opt)
	if errors.Is(err, store.ErrReadOnly) {
		opt.ReadOnly, opt.Create = true, false
		s, err = store.Open(ctx, path, opt)
	}
	if errors.Is(err, store.ErrMissing) {
		return nil, &exitError{code: ingest.ExitUsage, err: err, hint: "headgate init --store " + path}
	}
	return s, err
}

// warn shows what went wrong without changing an answer.
func (c *Command) warn(msg string) {
	fmt.Fprintln(c.Stderr, "headgate: warning: "+cleanLine(msg))
}

// waits says whom the network is waiting for.
func (c *Command) waits(host string, d time.Duration) {
	fmt.Fprintln(c.Stderr, "headgate: waiting "+d.Round(time.Second).String()+" for "+cleanLine(host)+", which asks for fewer requests")
}

func (c *Command) insecure() ([]string, error) {
	var hosts []string
	for h := range strings.SplitSeq(c.Getenv(InsecureEnv), ",") {
		if h = strings.TrimSpace(h); h == "" {
			continue
		}
		if strings.ContainsAny(h, "/*@ ") {
			return nil, usage("$%s: %q is no host:port", InsecureEnv, h)
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

// setting is policy and configuration with their origin.
type setting struct {
	policy *policies.Policy
	origin string
	notes  []string
	edits  []policies.GateEdit
	// trustSet is headgate.trust as it counts, approvals what the head adds to it.
	trustSet []byte
	// materials are the keys that headgate.trust pins; see accepted.
	materials []store.PinnedMaterial
	root      string // directory of headgate.yaml
	// read reads a file that headgate.yaml names, from where headgate.yaml counts;
	// nil for one that is not there.
	read func(name string) ([]byte, error)
}

// baseTree is the base revision of a pre-merge check.
type baseTree struct {
	repo *revision.Repository
	top  *revision.Tree
	tree *revision.Tree
	name string
}

// sourceDir is the directory that a source lies in, for headgate.yaml.
func sourceDir(source string) string {
	scheme, name, ok := strings.Cut(source, ":")
	if !ok || strings.ContainsAny(scheme, `/\`) {
		name = source
	} else if scheme != "dir" && scheme != "file" && scheme != "sbom" {
		return "."
	}
	if name == "" {
		return "."
	}
	if fi, err := os.Stat(name); err == nil && !fi.IsDir() {
		return filepath.Dir(name)
	}
	return name
}

// repositoryRoot is the nearest directory at or above dir that holds
// headgate.yaml or .git, or dir itself.
func repositoryRoot(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for d := abs; ; d = filepath.Dir(d) {
		for _, n := range []string{ConfigFile, ".git"} {
			if _, err := os.Lstat(filepath.Join(d, n)); err == nil {
				return d
			}
		}
		if d == filepath.Dir(d) {
			return abs
		}
	}
}

// readSmall reads a file of the repository; nil if there is none. Links and
// other irregular files are refused.
func readSmall(path string) ([]byte, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if fi.Size() > maxConfig {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, fi.Size(), maxConfig)
	}
	return os.ReadFile(path)
}

// settings reads policy and configuration: from the base revision if there is
// one, else as they stand in the working tree.
func (c *Command) settings(o *options, source string, base *baseTree, sbomBase bool) (*setting, error) {
	s := &setting{root: repositoryRoot(sourceDir(source))}
	s.read = func(name string) ([]byte, error) { return readSmall(filepath.Join(s.root, filepath.FromSlash(name))) }
	if base != nil {
		s.read = func(name string) ([]byte, error) { return readTree(base.top, name) }
	}
	var data []byte
	var err error
	switch {
	case o.config != "":
		data, err = os.ReadFile(o.config)
		if err != nil {
			return nil, usage("reading the configuration: %w", err)
		}
		s.origin = o.config
		s.notes = append(s.notes, "the configuration was given on the command line: "+o.config)
	case base != nil:
		data, err = readTree(base.top, ConfigFile)
		if err != nil {
			return nil, usage("reading %s of the base: %w", ConfigFile, err)
		}
		s.origin = "base revision " + base.name
		s.trustSet, err = readTree(base.top, TrustFile)
		if err != nil {
			return nil, usage("reading %s of the base: %w", TrustFile, err)
		}
		if err := s.compare(data, base); err != nil {
			return nil, err
		}
	default:
		data, err = readSmall(filepath.Join(s.root, ConfigFile))
		if err != nil {
			return nil, usage("reading the configuration: %w", err)
		}
		s.origin = ConfigFile
		if s.trustSet, err = readSmall(filepath.Join(s.root, TrustFile)); err != nil {
			return nil, usage("reading %s: %w", TrustFile, err)
		}
		switch {
		case sbomBase && data != nil:
			s.notes = append(s.notes, ConfigFile+" counts as it stands: an SBOM as base holds no configuration")
		case data != nil:
			s.notes = append(s.notes, "no base: "+ConfigFile+" counts as it stands")
		}
	}
	now := c.Clock()
	switch {
	case o.policy != "":
		if !slices.Contains(policies.BuiltinNames, o.policy) {
			return nil, usage("no built-in policy %q: use one of %s", o.policy, strings.Join(policies.BuiltinNames, ", "))
		}
		cfg := &policies.Config{Version: policies.ConfigVersion}
		if data != nil {
			if cfg, err = policies.ParseConfig(data); err != nil {
				return nil, usage("%s: %w", s.origin, err)
			}
		}
		cfg.Policy.Extends = o.policy
		s.notes = append(s.notes, "the policy "+o.policy+" was chosen on the command line")
		s.policy, err = policies.Load(cfg, now)
	case data == nil:
		s.origin = "built in, no " + ConfigFile
		if base != nil {
			s.origin += " in the base"
		}
		s.policy, err = policies.Load(&policies.Config{Version: policies.ConfigVersion}, now)
	default:
		s.policy, err = policies.LoadYAML(data, now)
	}
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: fmt.Errorf("%s: %w", s.origin, err), hint: "headgate policy lint"}
	}
	s.notes = append(s.notes, s.policy.Notices()...)
	return s, nil
}

func readTree(t *revision.Tree, name string) ([]byte, error) {
	fi, err := t.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() || fi.Size() > maxConfig {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", name, maxConfig)
	}
	return t.ReadFile(name)
}

// compare finds what the head changes about its own gate.
func (s *setting) compare(baseConfig []byte, base *baseTree) error {
	for _, f := range []struct {
		name, part string
		base       []byte
	}{{ConfigFile, "policy", baseConfig}, {TrustFile, "trust", s.trustSet}} {
		head, err := readSmall(filepath.Join(base.repo.Root(), f.name))
		if err != nil {
			return usage("reading %s: %w", f.name, err)
		}
		if string(head) == string(f.base) && (head == nil) == (f.base == nil) {
			continue
		}
		only := f.part == "trust" && store.OnlyApprovalsAdded(f.base, head)
		verb := "edits"
		switch {
		case f.base == nil:
			verb = "adds"
		case head == nil:
			verb = "removes"
		}
		s.edits = append(s.edits, policies.GateEdit{
			Part: f.part, Detail: fmt.Sprintf("the change %s %s; what counts here is the base's", verb, f.name),
			Location:      trust.Location{Path: f.name, Line: firstDifference(f.base, head)},
			ApprovalsOnly: only,
		})
	}
	return nil
}

// firstDifference is the first line, from 1, in which b differs from a.
func firstDifference(a, b []byte) int {
	al, bl := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i, l := range bl {
		if i >= len(al) || al[i] != l {
			return i + 1
		}
	}
	return max(len(bl), 1)
}

// now is the time by the command's clock.
func (c *Command) now() time.Time { return c.Clock() }
