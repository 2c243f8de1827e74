package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/headgate/headgate/trust"
)

var materialKinds = []trust.MaterialKind{trust.MaterialOpenPGP, trust.MaterialX509Root, trust.MaterialPublicKey, trust.MaterialTrustedRoot}

// MaxMaterial bounds a piece of key material, in bytes.
const MaxMaterial = 4 << 20

// PutMaterial pins key material. Its scope is "" for everything, a purl type,
// or a package scope. The same bytes for the same kind and scope are kept once.
func (s *Store) PutMaterial(ctx context.Context, m trust.Material, by, reason string) error {
	if err := errors.Join(text("who pins the key material", by), text("the reason", reason)); err != nil {
		return err
	}
	known := false
	for _, k := range materialKinds {
		known = known || k == m.Kind
	}
	if !known {
		return fmt.Errorf("unknown kind of key material %q", short(string(m.Kind)))
	}
	if len(m.Data) == 0 || len(m.Data) > MaxMaterial {
		return fmt.Errorf("key material of %d bytes: it must have 1 to %d", len(m.Data), MaxMaterial)
	}
	scope, err := materialScope(m.Scope)
	if err != nil {
		return err
	}
	m.Scope = scope
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%x", m.Kind, m.Scope, sha256.Sum256(m.Data)))
	id := "m-" + hex.EncodeToString(sum[:8])
	return s.write(ctx, "pinning key material in", func(w *writeTx) error {
		var old materialBody
		was, err := w.current("material", id, &old)
		if err != nil || was >= 0 {
			return err
		}
		_, err = w.insert(Leaf{Kind: "material", Op: "add", ID: id, By: by, Detail: short(m.Name), Package: Scope(m.Scope).pkg()},
			materialBody{ID: id, Material: m, By: by, Reason: reason, At: w.now})
		return err
	})
}

// materialScope turns the scope of key material into "" or a package scope.
func materialScope(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if len(s) < 64 && !bytes.ContainsAny([]byte(s), ":/*") {
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

// Materials returns the key material of the kind whose scope covers the
// package, in the order in which it was pinned.
func (s *Store) Materials(ctx context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	var out []trust.Material
	err := each(ctx, s.r, "SELECT id, body FROM material WHERE kind = ? ORDER BY leaf", []any{string(kind)}, func(rows *sql.Rows) error {
		var id string
		var body []byte
		var m materialBody
		if err := rows.Scan(&id, &body); err != nil {
			return err
		}
		if err := strict(body, &m); err != nil || m.ID != id {
			return fmt.Errorf("%w: key material %s was altered", ErrTampered, id)
		}
		if m.Kind == kind && (m.Scope == "" || Scope(m.Scope).Covers(pkg, trust.Signer{})) {
			out = append(out, m.Material)
		}
		return nil
	})
	return out, s.wrap("reading key material of", err)
}

// Load returns the value that an adapter keeps under key, or nil.
func (s *Store) Load(ctx context.Context, key string) ([]byte, error) {
	var body []byte
	err := s.r.QueryRowContext(ctx, "SELECT body FROM state WHERE id = ?", key).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	var v stateBody
	if err == nil {
		err = strict(body, &v)
	}
	if err == nil && v.Key != key {
		err = fmt.Errorf("%w: state %s was altered", ErrTampered, short(key))
	}
	return v.Value, s.wrap("reading", err)
}

// Swap replaces the value under key if it is old, and reports false without
// writing if it is not. A nil old means that there must be none.
func (s *Store) Swap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if key == "" || len(key) > MaxText || len(new) > MaxState {
		return false, fmt.Errorf("state %q of %d bytes: key must have 1 to %d bytes, value at most %d", short(key), len(new), MaxText, MaxState)
	}
	if new == nil {
		new = []byte{}
	}
	swapped := false
	err := s.write(ctx, "keeping state in", func(w *writeTx) error {
		var v stateBody
		was, err := w.current("state", key, &v)
		if err != nil {
			return err
		}
		if was < 0 != (old == nil) || !bytes.Equal(v.Value, old) {
			return nil
		}
		swapped = true
		if was >= 0 && bytes.Equal(v.Value, new) {
			return nil
		}
		l := Leaf{Kind: "state", Op: "set", ID: key}
		if was < 0 {
			_, err = w.insert(l, stateBody{Key: key, Value: new})
		} else {
			_, err = w.replace(l, stateBody{Key: key, Value: new}, was)
		}
		return err
	})
	return swapped && err == nil, err
}

// Alarm records misbehaviour of an upstream with its proof.
func (s *Store) Alarm(ctx context.Context, about, detail string, proof []byte) error {
	if err := text("what the alarm is about", about); err != nil {
		return err
	}
	if len(detail) > MaxBody/8 {
		return fmt.Errorf("detail of the alarm about %s has %d bytes, more than %d", short(about), len(detail), MaxBody/8)
	}
	return s.write(ctx, "recording an alarm in", func(w *writeTx) error {
		key, err := w.blob(proof)
		if err != nil {
			return err
		}
		id, err := newID("w-", 6)
		if err != nil {
			return err
		}
		var d [sha256.Size]byte
		copy(d[:], key)
		_, err = w.insert(Leaf{Kind: "alarm", Op: "raise", ID: id, Detail: short(about)},
			Alarm{ID: id, About: about, Detail: detail, Proof: trust.DigestOf(trust.SHA256, d[:]), At: w.now})
		return err
	})
}

// Alarms returns all alarms, newest first.
func (s *Store) Alarms(ctx context.Context) ([]Alarm, error) {
	var out []Alarm
	err := each(ctx, s.r, "SELECT body FROM alarm ORDER BY leaf DESC", nil, func(rows *sql.Rows) error {
		var body []byte
		var a Alarm
		if err := rows.Scan(&body); err != nil {
			return err
		}
		err := strict(body, &a)
		out = append(out, a)
		return err
	})
	return out, s.wrap("reading alarms of", err)
}
