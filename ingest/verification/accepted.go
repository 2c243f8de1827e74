package verification

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/keyfile"
)

// ErrRevoked marks a signer whom somebody revoked: no acceptance elsewhere and no
// other signature lifts that.
var ErrRevoked = errors.New("the signer was revoked")

// storeAccepted judges signers by the acceptances of a store.
type storeAccepted struct {
	all []store.Acceptance
	pkg trust.Package
	now time.Time
}

// AcceptedBy returns what the store accepts, and the keys at hand for
// recognising it. With a package, only acceptances whose scope covers it count;
// without, one for any scope does, and the result says which. A revocation counts
// either way, whatever its scope. A store that accepts nobody is a
// configuration error.
func AcceptedBy(ctx context.Context, s *store.Store, pkg trust.Package, now time.Time) (Accepted, Keys, error) {
	all, err := s.Acceptances(ctx, store.AcceptanceFilter{})
	if err != nil {
		return nil, Keys{}, err
	}
	active := false
	for _, a := range all {
		active = active || a.Revoked == nil && !a.Ended(now)
	}
	if !active {
		return nil, Keys{}, trust.Misconfigured("nobody is expected: give an identity with its issuer, or a key; the store accepts no signer")
	}
	var known Keys
	var unread []error
	for _, kind := range []trust.MaterialKind{trust.MaterialPublicKey, trust.MaterialOpenPGP, trust.MaterialX509Root} {
		ms, err := s.Materials(ctx, kind, pkg)
		if err != nil {
			return nil, Keys{}, err
		}
		for _, m := range ms {
			keys, bad, err := keyfile.Parse(m.Data)
			if err == nil && len(bad) > 0 {
				err = bad[0]
			}
			if err != nil && len(keys) == 0 {
				unread = append(unread, fmt.Errorf("key material %q of the store: %w", clip(m.Name), err))
			}
			for _, k := range keys {
				known.add(k)
			}
		}
	}
	// One that cannot be read is an error about that one alone, unless it is all there is.
	if known.Empty() && len(unread) > 0 {
		return nil, Keys{}, unread[0]
	}
	return &storeAccepted{all: all, pkg: pkg, now: now}, known, nil
}

// Accepted implements Accepted.
func (a *storeAccepted) Accepted(s trust.Signer) (string, error) {
	if s.Kind == trust.SignerRegistry || s.Kind == trust.SignerLog {
		return "", trust.Failure(trust.ReasonUntrustedSigner, "%s signs for a registry, not for a publisher", s)
	}
	var best *store.Acceptance
	ended := false
	for i := range a.all {
		c := &a.all[i]
		if !c.Matches(s) {
			continue
		}
		if c.Revoked != nil {
			return "", trust.Failure(trust.ReasonUntrustedSigner, "%w: %s, for %s, by %s: %s", ErrRevoked, s, c.Scope, c.Revoked.By, c.Revoked.Reason)
		}
		if c.Ended(a.now) {
			ended = true
			continue
		}
		if a.pkg == (trust.Package{}) || c.Scope.Covers(a.pkg, s) {
			best = c
		}
	}
	switch {
	case best != nil:
		return fmt.Sprintf("%s for %s by %s: %s", best.ID, best.Scope, best.By, best.Reason), nil
	case ended:
		return "", trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, whose acceptance has ended", s)
	}
	return "", trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, whom nobody accepted", s)
}
