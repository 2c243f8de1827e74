package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// Matches reports whether a is about the signer: by identity, with the
// workflow if a is bound to it. An acceptance of a source organisation is about
// every workflow of the organisation's repositories with the same issuer and
// owner id.
func (a Acceptance) Matches(s trust.Signer) bool {
	if a.Identity == "" || s.Validate() != nil {
		return false
	}
	if sc, err := splitScope(string(a.Scope)); err == nil && sc.kind == scopeOrg {
		return s.Kind == trust.SignerSigstore && a.Signer.Kind == s.Kind && a.Signer.Issuer == s.Issuer &&
			a.Signer.SourceOwnerID != "" && a.Signer.SourceOwnerID == s.SourceOwnerID
	}
	if a.Workflow {
		return s.WorkflowIdentity() == a.Identity
	}
	return s.Identity() == a.Identity
}

// Ended reports whether the acceptance is past its end.
func (a Acceptance) Ended(now time.Time) bool { return !a.Until.IsZero() && !now.Before(a.Until) }

// Standing is what the acceptances say of a signer for a package.
type Standing int

// Standings. A revocation wins over every acceptance of the same signer.
const (
	StandingUnknown  Standing = iota // nothing is said of the signer
	StandingAccepted                 // accepted
	StandingEnded                    // accepted once, past the end
	StandingRevoked                  // revoked in a scope that covers the package
)

// Judge says how the signer stands for the package by the acceptances, and
// which of them decides. A revocation in any scope that covers the package, of
// whatever origin, wins over every wider or narrower acceptance.
func Judge(as []Acceptance, p trust.Package, s trust.Signer, now time.Time) (Standing, Acceptance) {
	best, by := StandingUnknown, Acceptance{}
	for _, a := range as {
		if !a.Matches(s) || !a.Scope.Covers(p, s) {
			continue
		}
		switch {
		case a.Revoked != nil:
			return StandingRevoked, a
		case a.Ended(now):
			if best == StandingUnknown {
				best, by = StandingEnded, a
			}
		case best != StandingAccepted:
			best, by = StandingAccepted, a
		}
	}
	return best, by
}

// complete checks an acceptance and fills in what the store derives.
func (a Acceptance) complete() (Acceptance, error) {
	parse := ParseScope
	if a.UnsafeScope {
		parse = ParseScopeUnsafe
	}
	scope, err := parse(string(a.Scope))
	if err != nil {
		return a, err
	}
	a.Scope = scope
	sc, err := splitScope(string(scope))
	if err != nil {
		return a, err
	}
	var identity string
	if sc.kind == scopeOrg {
		if a.Signer.Kind != trust.SignerSigstore || a.Signer.Issuer == "" || a.Signer.SourceOwnerID == "" {
			return a, fmt.Errorf("accepting %s needs the exact issuer and the immutable id of the owner (\"headgate explain\" shows both): a name can be registered again by somebody else", scope)
		}
		if a.Workflow {
			return a, fmt.Errorf("accepting %s cannot be bound to one workflow: name the repository", scope)
		}
		identity = trust.Signer{Kind: trust.SignerSigstore, Issuer: a.Signer.Issuer, SAN: "owner-id=" + a.Signer.SourceOwnerID}.Identity()
	} else {
		if err := a.Signer.Validate(); err != nil {
			return a, err
		}
		if sc.kind == scopeRepo && !sc.covers(trust.Package{Type: "generic", Name: "x"}, a.Signer) {
			return a, fmt.Errorf("scope %s is not the source repository of %s", scope, a.Signer)
		}
		identity = a.Signer.Identity()
		if a.Workflow {
			if a.Signer.Workflow == "" {
				return a, fmt.Errorf("%s has no workflow to bind the acceptance to", a.Signer)
			}
			identity = a.Signer.WorkflowIdentity()
		}
	}
	if a.Identity != "" && a.Identity != identity {
		return a, fmt.Errorf("identity %q is not the signer's, %q", short(a.Identity), short(identity))
	}
	a.Identity = identity
	if err := errors.Join(text("who accepts", a.By), text("the reason", a.Reason)); err != nil {
		return a, err
	}
	if a.Revoked != nil {
		r := *a.Revoked
		if err := errors.Join(text("who revokes", r.By), text("the reason of the revocation", r.Reason)); err != nil {
			return a, err
		}
		r.At = norm(r.At)
		a.Revoked = &r
	}
	a.Since, a.Until = norm(a.Since), norm(a.Until)
	id := acceptanceID(a.Identity, a.Scope, a.Origin)
	if a.ID != "" && a.ID != id {
		return a, fmt.Errorf("acceptance id %q is not that of its identity, scope and origin, %s", short(a.ID), id)
	}
	a.ID = id
	return a, nil
}

func acceptanceID(identity string, scope Scope, origin string) string {
	sum := sha256.Sum256([]byte(identity + "\n" + string(scope) + "\n" + origin))
	return "a-" + hex.EncodeToString(sum[:8])
}

// Accept accepts signers and returns the ids of the acceptances. What is
// accepted already stays as it is, unless a person changes its end. What was
// revoked is ErrRevoked, unless Reinstate is set. An acceptance that comes with
// Revoked is recorded as revoked from the start.
func (s *Store) Accept(ctx context.Context, as []Acceptance) ([]string, error) {
	var ids []string
	err := s.write(ctx, "accepting signers in", func(w *writeTx) (err error) {
		ids, err = w.accept(as)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (w *writeTx) accept(as []Acceptance) ([]string, error) {
	ids := make([]string, 0, len(as))
	for _, a := range as {
		a, err := a.complete()
		if err != nil {
			return nil, err
		}
		if err := w.acceptOne(a); err != nil {
			return nil, fmt.Errorf("acceptance of %s for %s: %w", a.Signer, a.Scope, err)
		}
		ids = append(ids, a.ID)
	}
	return ids, nil
}

func (w *writeTx) acceptOne(a Acceptance) error {
	if a.Since.IsZero() {
		a.Since = w.now
	}
	var old Acceptance
	was, err := w.current("acceptance", a.ID, &old)
	if err != nil {
		return err
	}
	leaf := Leaf{Kind: "acceptance", ID: a.ID, By: a.By, Detail: a.Identity + " for " + string(a.Scope), Op: "accept", Package: a.Scope.pkg()}
	if a.Revoked != nil {
		leaf.Op, leaf.By = "revoke", a.Revoked.By
		if a.Revoked.At.IsZero() {
			a.Revoked.At = w.now
		}
	} else if a.Ended(w.now) {
		return fmt.Errorf("its end, %s, is past", a.Until.Format(time.RFC3339))
	}
	if was < 0 {
		_, err = w.insert(leaf, a)
		return err
	}
	switch {
	case old.Revoked != nil && a.Revoked != nil:
		return nil
	case a.Revoked != nil:
		old.Revoked, old.Reinstate = a.Revoked, false
		_, err = w.replace(leaf, old, was)
		return err
	case old.Revoked != nil && !a.Reinstate:
		return fmt.Errorf("%w by %s on %s (%s): ask for reinstatement if that was a mistake", ErrRevoked, old.Revoked.By, old.Revoked.At.Format(time.DateOnly), old.Revoked.Reason)
	case old.Revoked != nil:
		leaf.Op = "reinstate"
	case a.Automatic:
		return nil
	case old.Until.Equal(a.Until) && !old.Automatic:
		return nil
	case old.Until.Equal(a.Until):
		leaf.Op = "confirm" // a person says what was automatic
	default:
		leaf.Op = "change"
	}
	if leaf.Op != "reinstate" && old.Since.Before(a.Since) {
		a.Since = old.Since
	}
	_, err = w.replace(leaf, a, was)
	return err
}

// pkg is the package column of a leaf about the scope: the package if the
// scope is exactly one, or nothing.
func (s Scope) pkg() string {
	if sc, err := splitScope(string(s)); err == nil && sc.kind == scopePackage {
		return sc.pkg.PURL()
	}
	return ""
}

// Revoke revokes an acceptance by its id ("a-…", a unique prefix will do), all
// acceptances of a signer by its identity or handle ("s-…"), or key material
// ("m-…") with the acceptances that rest on it. It returns the pinned releases
// that the signer had vouched for in the revoked scopes. What is revoked already
// stays as it is.
func (s *Store) Revoke(ctx context.Context, idOrIdentity, by, reason string) ([]trust.Release, error) {
	if err := errors.Join(text("who revokes", by), text("the reason", reason)); err != nil {
		return nil, err
	}
	var affected []trust.Release
	err := s.write(ctx, "revoking in", func(w *writeTx) error {
		var as []Acceptance
		var err error
		if strings.HasPrefix(idOrIdentity, "m-") {
			as, err = w.revokeMaterial(idOrIdentity, by, reason)
		} else {
			as, err = w.named(idOrIdentity)
		}
		if err != nil {
			return err
		}
		for _, a := range as {
			if err := w.revokeOne(a, by, reason); err != nil {
				return err
			}
		}
		affected, err = w.vouchedFor(as)
		return err
	})
	if err != nil {
		return nil, err
	}
	return affected, nil
}

func (w *writeTx) revokeOne(a Acceptance, by, reason string) error {
	var old Acceptance
	was, err := w.current("acceptance", a.ID, &old)
	if err != nil || was < 0 || old.Revoked != nil {
		return err
	}
	old.Revoked = &Revocation{At: w.now, By: by, Reason: reason}
	_, err = w.replace(Leaf{Kind: "acceptance", Op: "revoke", ID: old.ID, By: by, Detail: old.Identity + " for " + string(old.Scope), Package: old.Scope.pkg()}, old, was)
	return err
}

// named finds the acceptances that Revoke means.
func (w *writeTx) named(name string) ([]Acceptance, error) {
	var as []Acceptance
	if strings.HasPrefix(name, "a-") {
		id, err := resolve(w.ctx, w.tx, "acceptance", name)
		if err != nil {
			return nil, err
		}
		as, err = acceptances(w.ctx, w.tx, "id = ?", id)
		return as, err
	}
	identity := name
	if strings.HasPrefix(name, "s-") {
		ids, err := identities(w.ctx, w.tx, name)
		if err != nil {
			return nil, err
		}
		identity = ids
	}
	// The plain identity stands for its workflow-bound acceptances too.
	as, err := acceptances(w.ctx, w.tx, "identity = ? OR (identity > ? AND identity < ?)", identity, identity+";workflow=", identity+";workflow>")
	if err == nil && len(as) == 0 {
		err = fmt.Errorf("signer %q: %w: \"headgate signers list\" shows the accepted ones", short(name), ErrNotFound)
	}
	return as, err
}

// identities finds the identity that a handle stands for.
func identities(ctx context.Context, q queryer, handle string) (string, error) {
	found := map[string]bool{}
	err := each(ctx, q, "SELECT DISTINCT identity FROM acceptance", nil, func(rows *sql.Rows) error {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		plain, _, _ := strings.Cut(id, ";workflow=")
		for _, v := range []string{id, plain} {
			if trust.SignerID(v) == handle {
				found[v] = true
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	ids := slices.Collect(maps.Keys(found))
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("signer %s: %w: \"headgate signers list\" shows the accepted ones", short(handle), ErrNotFound)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("signer %s: %w", short(handle), ErrAmbiguous)
}

// vouchedFor lists the pinned releases that rest on signers the acceptances are
// about, within their scopes.
func (w *writeTx) vouchedFor(as []Acceptance) ([]trust.Release, error) {
	found := map[string]trust.Release{}
	for _, a := range as {
		q, args := "SELECT p.body FROM vouch v JOIN pin p ON p.id = v.pin WHERE v.identity = ?", []any{a.Signer.Identity()}
		if sc, err := splitScope(string(a.Scope)); err == nil && sc.kind == scopeOrg {
			q, args = "SELECT body FROM pin", nil
		}
		err := each(w.ctx, w.tx, q, args, func(rows *sql.Rows) error {
			var body []byte
			var p KnownRelease
			if err := rows.Scan(&body); err != nil {
				return err
			}
			if err := strict(body, &p); err != nil {
				return fmt.Errorf("%w: %w", ErrTampered, err)
			}
			for _, sg := range slices.Concat(p.Signers, p.BinarySigners) {
				if a.Matches(sg) && a.Scope.Covers(p.Release.Package, sg) {
					found[p.Release.PURL()] = p.Release
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var out []trust.Release
	for _, k := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[k])
	}
	return out, nil
}

func scanAcceptance(rows *sql.Rows) (Acceptance, error) {
	var id string
	var body []byte
	var a Acceptance
	if err := rows.Scan(&id, &body); err != nil {
		return a, err
	}
	if err := strict(body, &a); err != nil || a.ID != id {
		return a, fmt.Errorf("%w: acceptance %s was altered", ErrTampered, id)
	}
	return a, nil
}

func acceptances(ctx context.Context, q queryer, cond string, args ...any) ([]Acceptance, error) {
	var out []Acceptance
	err := each(ctx, q, "SELECT id, body FROM acceptance WHERE "+cond+" ORDER BY identity, scope, origin", args, func(rows *sql.Rows) error {
		a, err := scanAcceptance(rows)
		out = append(out, a)
		return err
	})
	return out, err
}

// Acceptances returns the acceptances that the filter selects, sorted by
// identity, scope and origin.
func (s *Store) Acceptances(ctx context.Context, f AcceptanceFilter) ([]Acceptance, error) {
	cond, args := "1", []any{}
	where := func(c string, v ...any) { cond, args = cond+" AND "+c, append(args, v...) }
	if f.ID != "" {
		id, err := resolve(ctx, s.r, "acceptance", f.ID)
		if err != nil {
			return nil, s.wrap("reading signers of", err)
		}
		where("id = ?", id)
	}
	if f.Identity != "" {
		identity := f.Identity
		if strings.HasPrefix(identity, "s-") {
			var err error
			if identity, err = identities(ctx, s.r, identity); err != nil {
				return nil, s.wrap("reading signers of", err)
			}
		}
		where("(identity = ? OR (identity > ? AND identity < ?))", identity, identity+";workflow=", identity+";workflow>")
	}
	if f.Scope != "" {
		where("scope = ?", string(f.Scope))
	}
	if f.Origin != nil {
		where("origin = ?", *f.Origin)
	}
	if f.Active {
		where("revoked = 0 AND (until = 0 OR until > ?)", millis(norm(s.now())))
	}
	as, err := acceptances(ctx, s.r, cond, args...)
	return as, s.wrap("reading signers of", err)
}

// AcceptancesFor returns, for each package, every acceptance whose scope can
// cover it: of the package, of its namespaces and ecosystem, and of source
// organisations, whose scope depends on the signer. Revoked and ended ones are
// among them. Judge says what they amount to.
func (s *Store) AcceptancesFor(ctx context.Context, ps []trust.Package) (map[trust.Package][]Acceptance, error) {
	keys := []string{""}
	for _, p := range ps {
		keys = append(keys, scopeKeys(p)...)
	}
	byKey := map[string][]Acceptance{}
	err := bulk(ctx, s.r, "SELECT a.id, a.body FROM json_each(?) j CROSS JOIN acceptance a ON a.key = j.value", keys, func(rows *sql.Rows) error {
		a, err := scanAcceptance(rows)
		if err == nil {
			k := a.Scope.key()
			byKey[k] = append(byKey[k], a)
		}
		return err
	})
	if err != nil {
		return nil, s.wrap("reading signers of", err)
	}
	out := make(map[trust.Package][]Acceptance, len(ps))
	for _, p := range ps {
		var as []Acceptance
		for _, k := range scopeKeys(p) {
			for _, a := range byKey[k] {
				if a.Scope.Covers(p, a.Signer) {
					as = append(as, a)
				}
			}
		}
		if as = append(as, byKey[""]...); len(as) > 0 {
			slices.SortFunc(as, func(a, b Acceptance) int { return strings.Compare(a.Identity+a.ID, b.Identity+b.ID) })
			out[p] = as
		}
	}
	return out, nil
}
