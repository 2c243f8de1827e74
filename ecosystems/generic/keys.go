package generic

import (
	"context"
	"crypto/x509"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/keyfile"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
)

// keyring has the certificates that the download names, and no others.
func (a *Adapter) keyring(ctx context.Context, p trust.Package, want *expected) (*openpgp.Keyring, error) {
	if want.keyID == "" && want.OpenPGP != Pinned {
		return openpgp.NewKeyring(want.certs...), nil
	}
	// One that cannot be read is no reason to refuse the others.
	ring, bad, err := a.keys.For(ctx, p)
	if err != nil {
		return nil, err
	}
	if want.keyID != "" {
		var found []*openpgp.Certificate
		for _, c := range ring.Certificates() {
			if c.Fingerprint() == want.keyID {
				found = append(found, c)
			}
		}
		ring = openpgp.NewKeyring(found...)
	}
	if ring.Len() > 0 {
		return ring, nil
	}
	which := "no OpenPGP certificate is"
	if want.keyID != "" {
		which = "the OpenPGP certificate " + want.keyID + " is not"
	}
	if len(bad) > 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "%s pinned for %s; %d that are pinned cannot be read: %w", which, p, len(bad), bad[0])
	}
	return nil, trust.Undecidable(trust.ReasonUnknownKey, "%s pinned for %s", which, p)
}

// pinned reads the key material of a kind that is pinned for the package. A piece
// that cannot be read is an error about that one alone.
func (a *Adapter) pinned(ctx context.Context, kind trust.MaterialKind, p trust.Package) (keys []keyfile.Key, bad error, err error) {
	if a.o.Materials == nil {
		return nil, nil, nil
	}
	ms, err := a.o.Materials.Materials(ctx, kind, p)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the pinned keys of %s: %w", p, err)
	}
	for _, m := range ms {
		ks, wrong, err := keyfile.Parse(m.Data)
		if err == nil && len(wrong) > 0 {
			err = wrong[0]
		}
		if err != nil {
			bad = fmt.Errorf("pinned key %q: %w", m.Name, err)
		}
		keys = append(keys, ks...)
	}
	return keys, bad, nil
}

// plainKeys are the minisign (and signify) and SSH keys that are pinned for the
// package.
func (a *Adapter) plainKeys(ctx context.Context, p trust.Package) (ms []minisign.PublicKey, ss []ssh.PublicKey, err error) {
	keys, bad, err := a.pinned(ctx, trust.MaterialPublicKey, p)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		switch {
		case k.Minisign != nil:
			ms = append(ms, *k.Minisign)
		case k.SSH != nil:
			ss = append(ss, k.SSH)
		}
	}
	switch {
	case len(ms)+len(ss) > 0:
		return ms, ss, nil
	case bad != nil:
		return nil, nil, trust.Undecidable(trust.ReasonUnknownKey, "no key is pinned for %s that can be read: %w", p, bad)
	}
	return nil, nil, trust.Undecidable(trust.ReasonUnknownKey, "no key is pinned for %s", p)
}

// roots are the X.509 roots that are pinned for the package.
func (a *Adapter) roots(ctx context.Context, p trust.Package) ([]*x509.Certificate, error) {
	keys, bad, err := a.pinned(ctx, trust.MaterialX509Root, p)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for _, k := range keys {
		if k.Certificate != nil {
			out = append(out, k.Certificate)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case bad != nil:
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "no root is pinned for %s that can be read: %w", p, bad)
	}
	return nil, trust.Undecidable(trust.ReasonUnknownKey, "no root is pinned for %s", p)
}
