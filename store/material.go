package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

var materialKinds = []trust.MaterialKind{trust.MaterialOpenPGP, trust.MaterialX509Root, trust.MaterialPublicKey, trust.MaterialTrustedRoot}

// MaxMaterial bounds a piece of key material, in bytes.
const MaxMaterial = 4 << 20

// PinnedMaterial is key material as the store keeps it: pinned by somebody, for
// a scope.
type PinnedMaterial struct {
	// ID is set by the store: "m-" and 16 hex digits over kind, scope, set and bytes.
	ID string `json:"id"`
	trust.Material
	// Signer is who signs with the key; nil for roots, under which many sign.
	Signer *trust.Signer `json:"signer,omitempty"`
	By     string        `json:"by"`
	Reason string        `json:"reason"`
	At     time.Time     `json:"at"` // set by the store if zero
	// Set is empty for what was pinned here, and names the trust set for what was
	// imported.
	Set     string      `json:"set,omitempty"`
	Revoked *Revocation `json:"revoked,omitempty"`

	// Reinstate asks for revoked material to be pinned again. It is not stored.
	Reinstate bool `json:"-"`
}

// MaterialFilter selects key material; zero fields select all.
type MaterialFilter struct {
	ID string // exact or unique prefix
	// Active drops what was revoked.
	Active bool
}

// complete checks a piece of material and fills in what the store derives.
func (m PinnedMaterial) complete() (PinnedMaterial, error) {
	if err := errors.Join(text("who pins the key material", m.By), text("the reason", m.Reason)); err != nil {
		return m, err
	}
	if !slices.Contains(materialKinds, m.Kind) {
		return m, fmt.Errorf("unknown kind of key material %q", short(string(m.Kind)))
	}
	if len(m.Data) == 0 || len(m.Data) > MaxMaterial {
		return m, fmt.Errorf("key material of %d bytes: it must have 1 to %d", len(m.Data), MaxMaterial)
	}
	if len(m.Name) > MaxText || len(m.Origin) > MaxText {
		return m, fmt.Errorf("name and origin of key material have at most %d bytes", MaxText)
	}
	scope, err := materialScope(m.Scope)
	if err != nil {
		return m, err
	}
	m.Scope = scope
	if m.Signer != nil {
		if err := m.Signer.Validate(); err != nil {
			return m, err
		}
	}
	if m.Revoked != nil {
		r := *m.Revoked
		if err := errors.Join(text("who revokes", r.By), text("the reason of the revocation", r.Reason)); err != nil {
			return m, err
		}
		r.At = norm(r.At)
		m.Revoked = &r
	}
	m.At = norm(m.At)
	of := fmt.Sprintf("%s\n%s\n%x", m.Kind, m.Scope, sha256.Sum256(m.Data))
	if m.Set != "" {
		of += "\n" + m.Set
	}
	sum := sha256.Sum256([]byte(of))
	id := "m-" + hex.EncodeToString(sum[:8])
	if m.ID != "" && m.ID != id {
		return m, fmt.Errorf("id %q of key material is not that of its kind, scope, set and bytes, %s", short(m.ID), id)
	}
	m.ID = id
	return m, nil
}

// PutMaterial pins key material and accepts nobody. Its scope is "" for
// everything, a purl type, or a package scope. The same bytes for the same kind
// and scope are kept once; what was revoked is ErrRevoked.
func (s *Store) PutMaterial(ctx context.Context, m trust.Material, by, reason string) error {
	_, _, err := s.PinKeys(ctx, []PinnedMaterial{{Material: m, By: by, Reason: reason}}, nil)
	return err
}

// PinKeys pins key material and accepts signers, all or nothing. It returns the
// ids of both. What is pinned already stays as it is; what was revoked is
// ErrRevoked, unless Reinstate is set.
func (s *Store) PinKeys(ctx context.Context, ms []PinnedMaterial, as []Acceptance) (materials, acceptances []string, err error) {
	err = s.write(ctx, "pinning key material in", func(w *writeTx) error {
		materials = materials[:0]
		for _, m := range ms {
			m, err := m.complete()
			if err != nil {
				return err
			}
			if err := w.pinMaterial(m); err != nil {
				return err
			}
			materials = append(materials, m.ID)
		}
		acceptances, err = w.accept(as)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return materials, acceptances, nil
}

func (w *writeTx) pinMaterial(m PinnedMaterial) error {
	var old PinnedMaterial
	was, err := w.current("material", m.ID, &old)
	if err != nil {
		return err
	}
	if m.At.IsZero() {
		m.At = w.now
	}
	l := m.leaf("add", m.By)
	switch {
	case was < 0:
		_, err = w.insert(l, m)
		return err
	case old.Revoked == nil:
		return nil
	case !m.Reinstate:
		return fmt.Errorf("key material %s (%s): %w by %s on %s (%s): ask for reinstatement if that was a mistake", m.ID, short(m.Name), ErrRevoked, old.Revoked.By, old.Revoked.At.Format(time.DateOnly), old.Revoked.Reason)
	}
	l.Op = "reinstate"
	_, err = w.replace(l, m, was)
	return err
}

func (m PinnedMaterial) leaf(op, by string) Leaf {
	return Leaf{Kind: "material", Op: op, ID: m.ID, By: by, Detail: short(m.Name), Package: Scope(m.Scope).pkg()}
}

// revokeMaterial revokes a piece of key material and the acceptances that rest
// on it: of its signer where the scopes overlap, and of whoever was accepted
// under it as a root.
func (w *writeTx) revokeMaterial(prefix, by, reason string) ([]Acceptance, error) {
	id, err := resolve(w.ctx, w.tx, "material", prefix)
	if err != nil {
		return nil, err
	}
	var m PinnedMaterial
	was, err := w.current("material", id, &m)
	if err != nil {
		return nil, err
	}
	if m.Revoked == nil {
		m.Revoked = &Revocation{At: w.now, By: by, Reason: reason}
		if _, err := w.replace(m.leaf("revoke", by), m, was); err != nil {
			return nil, err
		}
	}
	all, err := acceptances(w.ctx, w.tx, "1")
	if err != nil {
		return nil, err
	}
	roots := rootDigests(m)
	var out []Acceptance
	for _, a := range all {
		theirs := m.Signer != nil && a.Signer.Identity() == m.Signer.Identity() && overlap(m.Scope, a.Scope)
		under := a.Signer.Kind == trust.SignerX509 && slices.Contains(roots, a.Signer.Root) && overlap(m.Scope, a.Scope)
		if theirs || under {
			out = append(out, a)
		}
	}
	return out, nil
}

// rootDigests are the SHA-256 of the root certificates that the material holds,
// as trust.Signer.Root has them.
func rootDigests(m PinnedMaterial) []string {
	if m.Kind != trust.MaterialX509Root {
		return nil
	}
	var out []string
	add := func(der []byte) {
		sum := sha256.Sum256(der)
		out = append(out, hex.EncodeToString(sum[:]))
	}
	rest := m.Data
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		add(b.Bytes)
	}
	if len(out) == 0 {
		add(m.Data)
	}
	return out
}

// overlap reports whether some package can be in both scopes; material is ""
// for all.
func overlap(material string, scope Scope) bool {
	if material == "" {
		return true
	}
	m, err := splitScope(material)
	s, serr := splitScope(string(scope))
	return err != nil || serr != nil || m.contains(s) || s.contains(m) || s.kind == scopeOrg || s.kind == scopeRepo
}

// materialScope turns the scope of key material into "" or a package scope.
func materialScope(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if len(s) < 64 && !strings.ContainsAny(s, ":/*") {
		s = "pkg:" + s + "/*"
	}
	scope, err := ParseScope(s)
	if err != nil {
		return "", err
	}
	if scope.key() == "" {
		return "", fmt.Errorf("scope %q: key material is for packages", scope)
	}
	return string(scope), nil
}

func pinnedMaterials(ctx context.Context, q queryer, cond string, args ...any) ([]PinnedMaterial, error) {
	var out []PinnedMaterial
	err := each(ctx, q, "SELECT id, body FROM material WHERE "+cond+" ORDER BY leaf", args, func(rows *sql.Rows) error {
		var id string
		var body []byte
		var m PinnedMaterial
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if err := strict(body, &m); err != nil || m.ID != id {
			return fmt.Errorf("%w: key material %s was altered", ErrTampered, id)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// PinnedMaterials returns the key material that the filter selects, in the order
// in which it was last changed.
func (s *Store) PinnedMaterials(ctx context.Context, f MaterialFilter) ([]PinnedMaterial, error) {
	cond, args := "1", []any{}
	if f.ID != "" {
		id, err := resolve(ctx, s.r, "material", f.ID)
		if err != nil {
			return nil, s.wrap("reading key material of", err)
		}
		cond, args = "id = ?", []any{id}
	}
	ms, err := pinnedMaterials(ctx, s.r, cond, args...)
	if f.Active {
		ms = slices.DeleteFunc(ms, func(m PinnedMaterial) bool { return m.Revoked != nil })
	}
	return ms, s.wrap("reading key material of", err)
}

// Materials returns the key material of the kind that is pinned for the package,
// in the order in which it was pinned; for the zero package, that of all scopes.
func (s *Store) Materials(ctx context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	ms, err := pinnedMaterials(ctx, s.r, "kind = ?", string(kind))
	return MaterialsFor(ms, kind, pkg), s.wrap("reading key material of", err)
}

// MaterialsFor picks the material of the kind whose scope covers the package,
// each piece once. A revocation in any scope that covers the package, of
// whatever origin, wins over the same bytes elsewhere, as with Judge.
func MaterialsFor(ms []PinnedMaterial, kind trust.MaterialKind, pkg trust.Package) []trust.Material {
	covers := func(m PinnedMaterial) bool {
		return m.Kind == kind && (m.Scope == "" || pkg.IsZero() || Scope(m.Scope).Covers(pkg, trust.Signer{}))
	}
	done := map[string]bool{}
	for _, m := range ms {
		if m.Revoked != nil && covers(m) {
			done[string(m.Data)] = true
		}
	}
	var out []trust.Material
	for _, m := range ms {
		if m.Revoked == nil && covers(m) && !done[string(m.Data)] {
			done[string(m.Data)] = true
			out = append(out, m.Material)
		}
	}
	return out
}
