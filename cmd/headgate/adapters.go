package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/ecosystems"
	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/sigroot"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// adapterSet is the adapters by purl type with what they share.
type adapterSet struct {
	list   ecosystems.List
	byType map[string]adapter.Adapter
	client *upstream.Client
	keys   *pinnedKeys
	notes  []string
	// settings are the user's own.
	settings ecosystems.Settings
	// current judges stored evidence by today's trust roots.
	current func(trust.Package, trust.Evidence) bool
}

// private reports whether the user's own settings send a package to a private
// registry of its own, or to none.
func (a *adapterSet) private(p trust.Package) bool {
	switch p.Type {
	case "npm":
		cfg := a.settings.NPM
		registry := cfg.Registry
		if own, ok := cfg.Scopes[p.Namespace]; ok {
			registry = own
		}
		return registry != cfg.Public && !slices.Contains(cfg.Mirrors, registry)
	case "golang":
		return module.MatchPrefixPatterns(a.settings.Go.NoProxy, p.FullName())
	}
	return false
}

// usage sums up what was asked of all hosts.
func (a *adapterSet) usage() (requests, bytes int64) {
	for _, h := range a.client.Stats() {
		requests += h.Requests
		bytes += h.Bytes
	}
	return requests, bytes
}

// adapters makes every adapter with the user's own configuration: environment
// and home, never the scanned tree's files.
func (c *Command) adapters(o *options, s *store.Store) (*adapterSet, error) {
	settings, err := ecosystems.SettingsOf(c.Getenv, c.Environ, c.Home)
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	}
	notes, err := registries(&settings, o.registries)
	if err != nil {
		return nil, err
	}
	cache, err := c.xdg("XDG_CACHE_HOME", ".cache")
	if err != nil {
		return nil, err
	}
	hosts, err := c.insecure()
	if err != nil {
		return nil, err
	}
	if o.instances == nil {
		o.instances = &instances{c: c, config: &policies.Config{}}
	}
	client, err := upstream.New(upstream.Config{
		Version: c.Version, CacheDir: filepath.Join(cache, "upstream"), Offline: o.offline,
		Insecure: slices.Concat(hosts, settings.Insecure(), o.instances.insecure()), Credentials: settings.Credentials(), Getenv: c.Getenv, Clock: c.Clock, Warn: c.warn,
		Interval: settings.Intervals(), Waiting: c.waits,
	})
	if err != nil {
		return nil, usage("network configuration: %w", err)
	}
	var state adapter.State = s
	if s.ReadOnly() {
		state = &forgetful{State: s, mem: map[string][]byte{}}
	}
	dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return nil, err
	}
	r := &roots{c: c, dir: filepath.Join(dir, "sigstore"), file: o.trustedRoot, keysFile: o.npmKeys, registry: settings.NPM.Registry, private: o.instances}
	if !o.offline {
		r.get, o.instances.get = client, client
	}
	if o.trustedRoot != "" {
		// A trust file that the user names is used, or it is an error; never a default instead.
		if _, err := r.named(); err != nil {
			return nil, usage("--trusted-root: %w", err)
		}
	}
	if o.npmKeys != "" {
		if _, err := r.namedKeys(); err != nil {
			return nil, usage("--npm-keys: %w", err)
		}
	}
	keys := &pinnedKeys{store: s, more: o.materials}
	list, err := ecosystems.All(ecosystems.Config{
		Getter: client, Clock: c.Clock, State: state, Settings: settings, NPM: r.npm, Sigstore: r.verifier, Materials: keys, KeysMaps: o.keysMaps, Downloads: o.downloads,
	})
	if err != nil {
		return nil, &exitError{code: ingest.ExitUsage, err: err}
	}
	out := &adapterSet{list: list, byType: list.ByType(), client: client, keys: keys, notes: append(settings.Notes(), notes...), settings: settings, current: func(p trust.Package, e trust.Evidence) bool {
		return r.current(p, e) && byKeysMaps(o.keysMaps, e)
	}}
	if len(hosts) > 0 {
		out.notes = append(out.notes, "plain http is allowed to "+c.Getenv(InsecureEnv)+" by $"+InsecureEnv)
	}
	return out, nil
}

// roots hands out Sigstore's trusted root and npm's keys: from the file that the
// user names, or from what TUF brought, refreshed once a run when it is due.
type roots struct {
	c        *Command
	dir      string
	file     string
	keysFile string // of the registry
	registry string
	get      upstream.Getter
	// private are the instances that vouch for packages of their own.
	private *instances

	once sync.Once
	root *sigstore.Root
	keys *sigstore.KeySet
	err  error
}

// refreshAfter is the age from which the stored material is refreshed.
const refreshAfter = 24 * time.Hour

func (r *roots) named() (*sigstore.Root, error) {
	b, err := os.ReadFile(r.file)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(r.file)
	if err != nil {
		return nil, err
	}
	return sigstore.LoadTrustedRoot(b, sigstore.RootOptions{Obtained: fi.ModTime(), Now: r.c.Clock()})
}

// namedKeys are the keys of the file that the user names.
func (r *roots) namedKeys() (*sigstore.KeySet, error) {
	b, err := readSmall(r.keysFile)
	if err == nil && b == nil {
		err = fmt.Errorf("%s: %w", r.keysFile, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return sigstore.ParseNPMKeys(b)
}

// npmKeysTarget is the TUF target with the registry's keys, named by its host.
func npmKeysTarget(registry string) string {
	u, err := url.Parse(registry)
	if err != nil || u.Host == "" {
		u, err = url.Parse(npm.DefaultRegistry)
		if err != nil {
			return ""
		}
	}
	return u.Hostname() + "/keys.json"
}

func (r *roots) store() (*sigroot.Store, error) {
	// Only the public registry's keys are a target of the public-good TUF repository.
	return sigroot.New(sigroot.Options{Dir: r.dir, Get: r.get, NPMKeys: npmKeysTarget(npm.DefaultRegistry), Clock: r.c.Clock})
}

// missingRoots says in one sentence that there is nothing to verify with, and
// what to do; why the last attempt failed follows from its reason.
func missingRoots(err error) error {
	o, reason := trust.Classify(err)
	text := "the trusted root of Sigstore and npm's keys are not at hand; run headgate db update"
	if reason == trust.ReasonNetwork {
		text = "the trusted root of Sigstore and npm's keys are not at hand and could not be fetched; run headgate db update, without network headgate db update --from DIR"
	} else {
		text += ": " + err.Error()
	}
	return &trust.VerifyError{Outcome: o, Reason: reason, Err: errors.New(text)}
}

func (r *roots) load(ctx context.Context) {
	st, err := r.store()
	if err != nil {
		r.err = err
		return
	}
	m, err := st.Load()
	if r.get != nil && (err != nil || r.c.Clock().Sub(m.Obtained) > refreshAfter) {
		if fresh, ferr := st.Refresh(ctx); ferr == nil {
			m, err = fresh, nil
		} else if err != nil {
			err = ferr
		} else {
			// What is stored still counts until its own bound.
			r.c.warn("the trust roots could not be refreshed: " + ferr.Error())
		}
	}
	if err != nil {
		r.err = missingRoots(err)
	}
	if len(m.NPMKeys) > 0 {
		if r.keys, err = sigstore.ParseNPMKeys(m.NPMKeys); err != nil {
			r.err = errors.Join(r.err, err)
		}
	}
	if r.keysFile != "" {
		if r.keys, err = r.namedKeys(); err != nil {
			r.err = errors.Join(r.err, err)
		}
	}
	if r.file != "" {
		if r.root, err = r.named(); err != nil {
			r.err = errors.Join(r.err, err)
		}
		return
	}
	if len(m.TrustedRoot) > 0 {
		if r.root, err = sigstore.LoadTrustedRoot(m.TrustedRoot, sigstore.RootOptions{Obtained: m.Obtained, Now: r.c.Clock()}); err != nil {
			r.err = errors.Join(r.err, err)
		}
	}
}

// rootTimeout bounds the refresh of the roots, which no single caller may cancel
// for all others.
const rootTimeout = 2 * time.Minute

func (r *roots) ready() {
	r.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), rootTimeout)
		defer cancel()
		r.load(ctx)
	})
}

func (r *roots) npm() npm.Trust {
	r.ready()
	t := npm.Trust{Keys: r.keys, Root: r.root, Err: r.err}
	t.RootFor = func(p trust.Package) (*sigstore.Root, error) {
		ctx, cancel := context.WithTimeout(context.Background(), rootTimeout)
		defer cancel()
		if own, err := r.private.rootFor(ctx, p); own != nil || err != nil {
			return own, err
		}
		return r.root, nil
	}
	if r.keysFile != "" {
		// Keys that the user names are those of the registry that the user configured,
		// whichever that is.
		t.Registries = map[string]*sigstore.KeySet{r.registry: r.keys}
	}
	return t
}

// current reports whether evidence rests on the Sigstore root that vouches for the
// package today. What a private instance vouched for is asked again every time:
// its rules may have changed as well as its root.
func (r *roots) current(p trust.Package, e trust.Evidence) bool {
	if e.Signer == nil || e.Signer.Kind != trust.SignerSigstore {
		return true
	}
	if in, err := r.private.config.InstanceFor(p); in != nil || err != nil {
		return false
	}
	r.ready()
	return r.root != nil && r.root.Info().Digest == e.Root
}

func (r *roots) verifier(ctx context.Context, p trust.Package) (*sigstore.Verifier, error) {
	if own, err := r.private.rootFor(ctx, p); err != nil {
		return nil, err
	} else if own != nil {
		return sigstore.NewVerifier(own)
	}
	r.ready()
	if r.root == nil {
		if r.err != nil {
			return nil, r.err
		}
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "no trusted root of Sigstore is at hand; headgate db update")
	}
	return sigstore.NewVerifier(r.root)
}
