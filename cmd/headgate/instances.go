package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/ecosystems/sigroot"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// instances are the private Sigstore instances of the configuration that counts.
// Each has its own root and rules; none is tried in another's place.
type instances struct {
	c      *Command
	config *policies.Config
	// read reads a file beside headgate.yaml, from where headgate.yaml counts; nil
	// for one that is not there.
	read func(name string) ([]byte, error)
	get  upstream.Getter // nil asks nobody

	mu    sync.Mutex
	known map[string]*instanceMaterial
}

// instanceMaterial is what an instance is verified and signed with.
type instanceMaterial struct {
	root    *sigstore.Root
	signing []byte // signing configuration; nil if there is none
	err     error
}

// configured reads the instances of the headgate.yaml that a command is run
// beside, or that --config names.
func (c *Command) configured(o *options) (*instances, error) {
	name := filepath.Join(repositoryRoot("."), ConfigFile)
	var data []byte
	var err error
	if o.config != "" {
		name = o.config
		data, err = os.ReadFile(name)
	} else {
		data, err = readSmall(name)
	}
	if err != nil {
		return nil, usage("reading the configuration: %w", err)
	}
	i := &instances{c: c, config: &policies.Config{Version: policies.ConfigVersion}, read: beside(name)}
	if data != nil {
		if i.config, err = policies.ParseConfig(data); err != nil {
			return nil, usage("%s: %w", name, err)
		}
	}
	return i, nil
}

// beside reads files beside a configuration.
func beside(config string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		return readSmall(filepath.Join(filepath.Dir(config), filepath.FromSlash(name)))
	}
}

// insecure are the hosts of TUF repositories that the configuration reaches by
// plain http.
func (i *instances) insecure() (hosts []string) {
	for n := range i.config.Sigstore {
		if t := i.config.Sigstore[n].TUF; t != nil && t.UnsafeInsecure {
			if u, err := url.Parse(t.URL); err == nil {
				hosts = append(hosts, u.Host)
			}
		}
	}
	return hosts
}

// pinned reads a file that the configuration pins by its digest.
func (i *instances) pinned(f *policies.PinnedFile) ([]byte, error) {
	want, err := f.Pin()
	if err != nil {
		return nil, err
	}
	read := i.read
	if filepath.IsAbs(f.Path) {
		read = readSmall
	}
	b, err := read(f.Path)
	if err == nil && b == nil {
		err = fmt.Errorf("%s: %w", f.Path, os.ErrNotExist)
	}
	if err != nil {
		return nil, usage("%w", err)
	}
	sum := sha256.Sum256(b)
	if got := trust.DigestOf(trust.SHA256, sum[:]); !got.Equal(want) {
		return nil, usage("%s is %s, and the configuration pins %s", f.Path, got, want)
	}
	return b, nil
}

// check reads every file that the configuration pins for packages: one that is
// missing or another is an error of the configuration, and not the evidence's.
func (i *instances) check(ctx context.Context) error {
	for n := range i.config.Sigstore {
		in := &i.config.Sigstore[n]
		if len(in.Scope) == 0 {
			continue
		}
		var err error
		if in.TUF != nil {
			_, err = i.pinned(&in.TUF.Root)
		} else {
			_, err = i.material(ctx, in)
		}
		if err != nil {
			return usage("%w", err)
		}
	}
	return nil
}

// tuf is where the material of an instance is kept that comes by TUF. The folder
// belongs to repository and anchor, so that two instances of one name in two
// projects never share their state.
func (i *instances) tuf(in *policies.SigstoreInstance) (*sigroot.Store, error) {
	anchor, err := i.pinned(&in.TUF.Root)
	if err != nil {
		return nil, err
	}
	dir, err := i.c.xdg("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(in.TUF.URL + "\n" + in.TUF.Root.Digest))
	return sigroot.New(sigroot.Options{Dir: filepath.Join(dir, "sigstore-instances", in.Name+"-"+hex.EncodeToString(id[:8])),
		Get: i.get, URL: in.TUF.URL, Anchor: anchor, Clock: i.c.Clock})
}

// load reads the material of an instance; it asks the network only where there
// is nothing at hand, or where it is due.
func (i *instances) load(ctx context.Context, in *policies.SigstoreInstance) *instanceMaterial {
	opt := sigstore.RootOptions{Now: i.c.now(), Rules: ingest.SigstoreRules(in)}
	out := &instanceMaterial{}
	if in.TUF == nil {
		var b []byte
		if b, out.err = i.pinned(in.TrustedRoot); out.err != nil {
			return out
		}
		// The configuration vouches for exactly these bytes, and nobody else says how
		// old they are.
		opt.Obtained = opt.Now
		if out.root, out.err = sigstore.LoadTrustedRoot(b, opt); out.err == nil && in.SigningConfig != nil {
			out.signing, out.err = i.pinned(in.SigningConfig)
		}
		return out
	}
	st, err := i.tuf(in)
	if err != nil {
		out.err = err
		return out
	}
	m, err := st.Load()
	if i.get != nil && (err != nil || opt.Now.Sub(m.Obtained) > refreshAfter) {
		if fresh, ferr := st.Refresh(ctx); ferr == nil {
			m, err = fresh, nil
		} else if err != nil {
			err = ferr
		} else {
			// What is stored still counts until its own bound.
			i.c.warn("the trust roots of the Sigstore instance " + in.Name + " could not be refreshed: " + ferr.Error())
		}
	}
	if err != nil {
		out.err = err
		return out
	}
	opt.Obtained, out.signing = m.Obtained, m.SigningConfig
	out.root, out.err = sigstore.LoadTrustedRoot(m.TrustedRoot, opt)
	return out
}

// material returns what an instance is verified and signed with, read once a run.
func (i *instances) material(ctx context.Context, in *policies.SigstoreInstance) (*instanceMaterial, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := i.known[in.Name]
	if m == nil {
		m = i.load(ctx, in)
		if ctx.Err() == nil {
			if i.known == nil {
				i.known = map[string]*instanceMaterial{}
			}
			i.known[in.Name] = m
		}
	}
	if m.err != nil {
		return nil, fmt.Errorf("the Sigstore instance %s: %w", in.Name, m.err)
	}
	return m, nil
}

// rootFor returns the root of the private instance that vouches for a package;
// nil where the public-good one does.
func (i *instances) rootFor(ctx context.Context, p trust.Package) (*sigstore.Root, error) {
	if i == nil {
		return nil, nil
	}
	in, err := i.config.InstanceFor(p)
	if err != nil || in == nil {
		return nil, err
	}
	m, err := i.material(ctx, in)
	if err != nil {
		return nil, err
	}
	return m.root, nil
}

// instanceOf finds the private instance of a name, or the one that vouches for a
// package; nil for the public-good one.
func (c *Command) instanceOf(o *options, name, pkg string) (*instances, *policies.SigstoreInstance, error) {
	i := o.instances // of the configuration that counted, where a gate has run
	var err error
	if i == nil {
		if i, err = c.configured(o); err != nil {
			return nil, nil, err
		}
	}
	var byName, byPackage *policies.SigstoreInstance
	if name != "" {
		if byName, err = i.config.Instance(name); err != nil {
			return nil, nil, err
		}
	}
	if pkg != "" {
		r, err := trust.ParseRelease(pkg)
		if err != nil {
			return nil, nil, usage("--package: %w", err)
		}
		if byPackage, err = i.config.InstanceFor(r.Package); err != nil {
			return nil, nil, err
		}
		if byName != nil && byPackage != byName {
			return nil, nil, usage("the Sigstore instance %s does not vouch for %s: its scope is %s", byName.Name, r.Package, strings.Join(byName.Scope, ", "))
		}
	}
	if byName != nil {
		return i, byName, nil
	}
	return i, byPackage, nil
}

// updateInstance brings the private instance of a name, or all that come by TUF,
// up to date: from a folder with a copy of the TUF repository, else from the network.
func (c *Command) updateInstance(ctx context.Context, o *options, name, from string) error {
	i, err := c.configured(o)
	if err != nil {
		return err
	}
	if name != "" {
		in, err := i.config.Instance(name)
		if err != nil {
			return &exitError{code: ingest.ExitUsage, err: err}
		}
		if in.TUF == nil {
			return usage("the Sigstore instance %s has a trusted root that headgate.yaml pins: there is nothing to fetch", name)
		}
	}
	if from == "" {
		if i.get, err = c.upstreamClient(i.insecure()...); err != nil {
			return err
		}
	}
	for n := range i.config.Sigstore {
		in := &i.config.Sigstore[n]
		if in.TUF == nil || name != "" && in.Name != name {
			continue
		}
		st, err := i.tuf(in)
		if err == nil && from != "" {
			_, err = st.Import(from)
		} else if err == nil {
			_, err = st.Refresh(ctx)
		}
		if err != nil {
			return verifyError(fmt.Errorf("the Sigstore instance %s: %w", in.Name, err))
		}
	}
	i.get = nil
	return i.status(ctx)
}

// status shows which roots of private instances are at hand.
func (i *instances) status(ctx context.Context) error {
	var missing error
	for n := range i.config.Sigstore {
		in := &i.config.Sigstore[n]
		m, err := i.material(ctx, in)
		if err != nil {
			fmt.Fprintln(i.c.Stdout, report.Clean(err.Error()))
			missing = &exitError{code: ingest.ExitUndecided, err: err, hint: "headgate db update --instance " + in.Name}
			continue
		}
		from := "pinned in headgate.yaml"
		if in.TUF != nil {
			from = "last verified " + m.root.Info().Obtained.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(i.c.Stdout, "Sigstore instance %s: trusted root %s, %s\n", in.Name, m.root.Info().Digest, from)
	}
	return missing
}
