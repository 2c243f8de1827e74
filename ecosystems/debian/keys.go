package debian

import (
	"context"
	"fmt"
	"slices"

	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

// keyFiles are the keys that the user's apt configuration names for an archive.
type keyFiles struct {
	files  []string
	inline string // an armoured key, as deb822 sources may hold it
}

func (k keyFiles) empty() bool { return len(k.files) == 0 && k.inline == "" }

// ring are the keys that may sign a suite.
type ring struct {
	*openpgp.Keyring
	// chosen are the primary fingerprints of keys that a person pinned or named in
	// apt's configuration: who signs with one is accepted by a person. The others are
	// a distribution's, by its own package on this system.
	chosen map[string]bool
}

func newRing(chosen, distribution []*openpgp.Certificate) ring {
	r := ring{openpgp.NewKeyring(append(slices.Clone(chosen), distribution...)...), map[string]bool{}}
	for _, c := range chosen {
		r.chosen[c.Fingerprint()] = true
	}
	return r
}

// ring reads the keys. A key that cannot be read is an error about that archive
// alone: apt would not use it either.
func (k keyFiles) ring() (ring, error) {
	var certs []*openpgp.Certificate
	for _, f := range k.files {
		cs, err := readKeyring(f)
		if err != nil {
			return ring{}, err
		}
		certs = append(certs, cs...)
	}
	if k.inline != "" {
		cs, _, err := openpgp.ParseCertificates([]byte(k.inline))
		if err != nil {
			return ring{}, fmt.Errorf("reading the key in Signed-By: %w", err)
		}
		certs = append(certs, cs...)
	}
	if len(certs) == 0 {
		return ring{}, trust.Undecidable(trust.ReasonUnknownKey, "the keys that Signed-By names in the user's apt sources are not there")
	}
	return newRing(certs, nil), nil
}

// keyring gathers the keys that may sign a suite. For an archive of the user's
// own that is what their apt configuration names for it, and nothing else; for
// those of a distribution it is the keys pinned for the whole distribution, and
// its keyring file on this system. A key that is pinned for less than the
// distribution, or for everything, does not count.
func (a *Adapter) keyring(ctx context.Context, s suite) (ring, error) {
	if s.foreign() {
		return s.keys.ring()
	}
	distribution := s.distribution
	var chosen, own []*openpgp.Certificate
	if a.materials != nil {
		ms, err := a.materials.Materials(ctx, trust.MaterialOpenPGP, trust.Package{Type: "deb", Namespace: distribution, Name: "archive"})
		if err != nil {
			return ring{}, fmt.Errorf("reading the pinned keys of %s: %w", distribution, err)
		}
		for _, m := range ms {
			if !slices.Contains([]string{"deb", "pkg:deb/*", "pkg:deb/" + distribution + "/*"}, m.Scope) {
				continue
			}
			cs, _, err := openpgp.ParseCertificates(m.Data)
			if err != nil {
				continue // an error about that key alone: the others may do
			}
			chosen = append(chosen, cs...)
		}
	}
	if file := a.cfg.Keyrings[distribution]; file != "" {
		cs, err := readKeyring(file)
		if err != nil {
			return ring{}, err
		}
		own = append(own, cs...)
	}
	if len(chosen)+len(own) == 0 {
		return ring{}, trust.Undecidable(trust.ReasonUnknownKey, "there is no archive key of %s on this machine", distribution)
	}
	return newRing(chosen, own), nil
}

// readKeyring reads a file of keys, armoured or not; one that does not exist has none.
func readKeyring(file string) ([]*openpgp.Certificate, error) {
	b, err := upstream.ReadUserFile(file, openpgp.MaxKeyFile, "the archive keyring")
	if err != nil || b == nil {
		return nil, err
	}
	certs, _, err := openpgp.ParseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("reading the archive keyring %s: %w", file, err)
	}
	return certs, nil
}
