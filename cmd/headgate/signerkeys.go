package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/ecosystems/maven"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	"github.com/headgate/headgate/trust/keyfile"
)

// pinnedKeys hands out the key material of the store and of headgate.trust, as it
// was when the first of it was asked for.
type pinnedKeys struct {
	store *store.Store
	more  []store.PinnedMaterial

	mu     sync.Mutex
	loaded bool
	all    []store.PinnedMaterial
}

// Materials implements adapter.Materials.
func (p *pinnedKeys) Materials(ctx context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.loaded {
		ms, err := p.store.PinnedMaterials(ctx, store.MaterialFilter{})
		if err != nil {
			return nil, err
		}
		p.all, p.loaded = append(ms, p.more...), true
	}
	return store.MaterialsFor(p.all, kind, pkg), nil
}

// keyPin is what pinning keys was asked for.
type keyPin struct {
	files     []string
	scopes    []store.Scope
	signer    string
	by        string
	reason    string
	until     time.Time
	reinstate bool
	unsafe    bool
}

// maxNamed is how many keys of a file a message lists.
const maxNamed = 20

// pinKeys pins the keys of files for the scopes and accepts whoever signs with
// them. Keys that cannot be read are named and left out.
func (c *Command) pinKeys(ctx context.Context, o *options, p keyPin) error {
	type from struct {
		keyfile.Key
		file string
	}
	var chosen []from
	var others []string
	for _, name := range p.files {
		data, err := c.readKeyFile(name)
		if err != nil {
			return usage("reading %s: %w", name, err)
		}
		keys, bad, err := keyfile.Parse(data)
		if err == nil && len(keys) == 0 {
			err = bad[0]
		}
		if err != nil {
			return usage("%s: %w", name, err)
		}
		for _, b := range bad {
			c.warn(fmt.Sprintf("%s: a key was left out: %v", name, b))
		}
		for _, k := range keys {
			if p.signer != "" && !k.Has(p.signer) {
				others = append(others, keyName(k))
				continue
			}
			if k.Certificate != nil && !ownRoot(k) {
				return usage("%s: %s is the certificate of a signer and no authority's: pin the root that it chains to, and accept the signer after a check with headgate signers accept PURL", name, k.Name)
			}
			chosen = append(chosen, from{k, name})
		}
	}
	if len(chosen) == 0 {
		more := ""
		if len(others) > maxNamed {
			more = fmt.Sprintf("\nand %d more", len(others)-maxNamed)
			others = others[:maxNamed]
		}
		return usage("no key %s in %s; it holds:\n%s%s", p.signer, strings.Join(p.files, ", "), strings.Join(others, "\n"), more)
	}
	var ms []store.PinnedMaterial
	var as []store.Acceptance
	for _, k := range chosen {
		for _, sc := range p.scopes {
			m := store.PinnedMaterial{Material: trust.Material{Kind: k.Kind, Scope: string(sc), Name: k.Name, Origin: filepath.Base(k.file), Data: k.Data}, Signer: k.Signer, By: p.by, Reason: p.reason, Reinstate: p.reinstate}
			if !slices.ContainsFunc(ms, func(o store.PinnedMaterial) bool { return o.Scope == m.Scope && string(o.Data) == string(m.Data) }) {
				ms = append(ms, m)
			}
			signer := k.Signer
			if k.Certificate != nil && !k.Certificate.IsCA {
				own := cms.Signer([]*x509.Certificate{k.Certificate})
				signer = &own
			}
			if signer == nil {
				continue
			}
			a := store.Acceptance{Signer: *signer, Scope: sc, By: p.by, Reason: p.reason, Until: p.until, Reinstate: p.reinstate, UnsafeScope: p.unsafe}
			if !slices.ContainsFunc(as, func(o store.Acceptance) bool { return o.Scope == sc && o.Signer.Identity() == a.Signer.Identity() }) {
				as = append(as, a)
			}
		}
	}
	s, err := c.openStore(ctx, o, false)
	if err != nil {
		return err
	}
	defer s.Close()
	mids, aids, err := s.PinKeys(ctx, ms, as)
	if err != nil {
		if errors.Is(err, store.ErrRevoked) {
			return &exitError{code: ingest.ExitUsage, err: err, hint: "--reinstate lifts the revocation"}
		}
		return &exitError{code: ingest.ExitUsage, err: err}
	}
	for i, id := range mids {
		fmt.Fprintf(c.Stdout, "%s pinned %s for %s\n", id, report.Clean(materialName(ms[i])), report.Clean(ms[i].Scope))
	}
	for i, id := range aids {
		fmt.Fprintf(c.Stdout, "%s accepted %s for %s\n", id, report.Clean(as[i].Signer.String()), report.Clean(string(as[i].Scope)))
	}
	for _, k := range chosen {
		if k.OpenPGP == nil {
			continue
		}
		if err := k.OpenPGP.Unusable(c.Clock()); err != nil {
			c.warn(fmt.Sprintf("%s: what it signs today does not count: %v", keyName(k.Key), err))
		}
	}
	if len(as) == 0 {
		fmt.Fprintln(c.Stdout, "a root vouches for nobody by itself: check a package whose signer is under it, then headgate signers accept PURL")
	}
	return nil
}

// ownRoot reports whether a certificate can stand at the end of a chain: an
// authority's, or one that signed itself and vouches for nobody else, as gems are
// signed with.
func ownRoot(k keyfile.Key) bool {
	x := k.Certificate
	return x.BasicConstraintsValid && x.IsCA || string(x.RawIssuer) == string(x.RawSubject)
}

func keyName(k keyfile.Key) string {
	if k.Signer == nil {
		return k.Name
	}
	return k.Signer.String() + "  " + k.Name
}

// readKeyFile reads a file of keys, "-" for standard input.
func (c *Command) readKeyFile(name string) ([]byte, error) {
	r := c.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, keyfile.MaxFile+1))
	if err == nil && len(data) > keyfile.MaxFile {
		err = fmt.Errorf("it has more than %d bytes", keyfile.MaxFile)
	}
	return data, err
}

// materialName is key material in words.
func materialName(m store.PinnedMaterial) string {
	s := string(m.Kind)
	if m.Signer != nil {
		s = m.Signer.String()
	}
	if m.Name != "" && m.Name != s {
		s += " (" + m.Name + ")"
	}
	return s
}

func materialLine(m store.PinnedMaterial) string {
	clean := report.Clean
	scope := m.Scope
	if scope == "" {
		scope = "everything"
	}
	s := fmt.Sprintf("%s  key material  %s  %s", m.ID, clean(scope), clean(materialName(m)))
	if m.Revoked != nil {
		s += fmt.Sprintf("  REVOKED %s by %s: %s", m.Revoked.At.UTC().Format(dayLayout), clean(m.Revoked.By), clean(m.Revoked.Reason))
	} else {
		s += fmt.Sprintf("  since %s by %s: %s", m.At.UTC().Format(dayLayout), clean(m.By), clean(m.Reason))
	}
	if m.Origin != "" {
		s += "  read from " + clean(m.Origin)
	}
	if m.Set != "" {
		s += "  from " + clean(m.Set)
	}
	return s
}

// keysMaps reads the keys maps that headgate.yaml names, from where headgate.yaml
// counts. One that is not there is an error: without it more keys would count.
func (c *Command) keysMaps(o *options, set *setting, names []string) ([]*maven.KeysMap, error) {
	read := set.read
	if o.config != "" {
		read = beside(o.config)
	}
	var out []*maven.KeysMap
	for _, name := range names {
		if !filepath.IsLocal(filepath.FromSlash(name)) || path.Clean(name) != name {
			return nil, usage("%s: keysMaps: %q is no path of a file beside headgate.yaml", set.origin, name)
		}
		b, err := read(name)
		if err == nil && b == nil {
			err = os.ErrNotExist
		}
		if err != nil {
			return nil, usage("%s: reading the keys map %s: %w", set.origin, name, err)
		}
		m, err := maven.ParseKeysMap(name, b)
		if err != nil {
			return nil, usage("%s: %w", set.origin, err)
		}
		set.notes = append(set.notes, m.Notes()...)
		out = append(out, m)
	}
	return out, nil
}

// byKeysMaps reports whether stored evidence holds by today's keys maps.
func byKeysMaps(maps []*maven.KeysMap, e trust.Evidence) bool {
	if len(maps) == 0 || e.Release.Package.Type != "maven" || e.Signer == nil || e.Signer.Kind != trust.SignerOpenPGP {
		return true
	}
	return maven.Allow(maps, e.Release, e.Artifact.Name, []trust.Signer{*e.Signer}) == nil
}
