package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

type materialLine struct {
	Key      string         `json:"key"`
	Material PinnedMaterial `json:"material"`
	Sig      string         `json:"sig"`
}

// MaterialRecord is key material of a trust set with the key that signed it.
type MaterialRecord struct {
	Material PinnedMaterial
	Key      string
	line     string
}

// KeyDiff is what an import would change of key material.
type KeyDiff struct {
	Added      []PinnedMaterial // pinned by the new set, unknown before
	Reinstated []PinnedMaterial // revoked by the set before, not any more
	Revoked    []PinnedMaterial // revoked by the new set
	Withdrawn  []PinnedMaterial // not in the new set any more: revoked
	Outside    []PinnedMaterial // not within the narrowed scopes: ignored
	Kept       []PinnedMaterial // revoked here: stays revoked whatever the set says

	updates []keyUpdate
}

type keyUpdate struct {
	op string
	m  PinnedMaterial
}

// materialLines are the lines of the key material that was pinned or revoked
// here. Material for everything is left out of a narrowed export.
func (s *Store) materialLines(ctx context.Context, q queryer, within []parsed) ([]string, error) {
	ms, err := pinnedMaterials(ctx, q, "1")
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, m := range ms {
		if m.Set != "" {
			continue
		}
		if len(within) > 0 {
			sc, err := splitScope(m.Scope)
			if err != nil || !slices.ContainsFunc(within, func(w parsed) bool { return w.contains(sc) }) {
				continue
			}
		}
		body, err := canonical(m)
		if err != nil {
			return nil, err
		}
		sig, err := signLine(s.signer, "material", body)
		if err != nil {
			return nil, err
		}
		line, err := canonical(materialLine{Key: s.vkey, Material: m, Sig: sig})
		if err != nil {
			return nil, err
		}
		lines = append(lines, string(line))
	}
	return lines, nil
}

func parseMaterialLine(line string) (MaterialRecord, error) {
	var l materialLine
	if err := exact([]byte(line), &l); err != nil {
		return MaterialRecord{}, err
	}
	body, err := canonical(l.Material)
	if err != nil {
		return MaterialRecord{}, err
	}
	if err := verifyLine(l.Key, "material", body, l.Sig); err != nil {
		return MaterialRecord{}, err
	}
	if l.Material.Set != "" {
		return MaterialRecord{}, errors.New("it was imported by the store that exported it: only key material that was pinned first-hand is shared")
	}
	if _, err := l.Material.complete(); err != nil {
		return MaterialRecord{}, err
	}
	return MaterialRecord{Material: l.Material, Key: l.Key, line: line}, nil
}

// MaterialsBy returns the key material that one of the keys signed. What a key
// revoked is among it, marked.
func (t TrustSet) MaterialsBy(keys ...string) []PinnedMaterial {
	var out []PinnedMaterial
	for _, r := range t.Materials {
		if slices.Contains(keys, r.Key) {
			out = append(out, r.Material)
		}
	}
	return out
}

// Within returns the material narrowed to the scope, as coming from a trust set,
// or false if no package is in both.
func (m PinnedMaterial) Within(scope Scope, set string) (PinnedMaterial, bool) {
	n, err := splitScope(string(scope))
	if err != nil {
		return m, false
	}
	return m.within(n, set)
}

func (m PinnedMaterial) within(n parsed, set string) (PinnedMaterial, bool) {
	if n.kind == scopeOrg || n.kind == scopeRepo {
		return m, false // key material is for packages
	}
	if m.Scope == "" {
		if n.kind != scopeAll {
			m.Scope = string(n.canonical())
		}
	} else {
		sc, err := splitScope(m.Scope)
		switch {
		case err != nil:
			return m, false
		case n.contains(sc):
		case sc.contains(n):
			m.Scope = string(n.canonical())
		default:
			return m, false
		}
	}
	m.ID, m.Set = "", set
	if m.Revoked != nil {
		r := *m.Revoked
		r.Origin = set
		m.Revoked = &r
	}
	m, err := m.complete()
	return m, err == nil
}

func (d *KeyDiff) fill(records []PinnedMaterial, narrow []parsed, pinned []PinnedMaterial, set string) {
	want := map[string]PinnedMaterial{}
	for _, m := range records {
		inside := false
		for _, n := range narrow {
			b, ok := m.within(n, set)
			if !ok {
				continue
			}
			inside = true
			// Two records can fall together when narrowed. A revocation wins.
			if c, dup := want[b.ID]; !dup || c.Revoked == nil && b.Revoked != nil {
				want[b.ID] = b
			}
		}
		if !inside {
			d.Outside = append(d.Outside, m)
		}
	}
	have := map[string]PinnedMaterial{}
	for _, m := range pinned {
		if m.Set == set {
			have[m.ID] = m
		}
	}
	for id, m := range want {
		old, ok := have[id]
		op := ""
		switch {
		case !ok && m.Revoked != nil:
			op, d.Revoked = "revoke", append(d.Revoked, m)
		case !ok:
			op, d.Added = "add", append(d.Added, m)
		case old.Revoked != nil && old.Revoked.Origin == "":
			d.Kept = append(d.Kept, old)
		case old.Revoked == nil && m.Revoked != nil:
			op, d.Revoked = "revoke", append(d.Revoked, m)
		case old.Revoked != nil && m.Revoked == nil:
			op, d.Reinstated = "reinstate", append(d.Reinstated, m)
		}
		if op != "" {
			d.updates = append(d.updates, keyUpdate{op: op, m: m})
		}
	}
	for id, old := range have {
		if _, ok := want[id]; ok || old.Revoked != nil {
			continue
		}
		d.Withdrawn = append(d.Withdrawn, old)
		d.updates = append(d.updates, keyUpdate{op: "withdraw", m: old})
	}
	for _, l := range [][]PinnedMaterial{d.Added, d.Reinstated, d.Revoked, d.Withdrawn, d.Outside, d.Kept} {
		slices.SortFunc(l, func(a, b PinnedMaterial) int { return strings.Compare(a.ID, b.ID) })
	}
	slices.SortFunc(d.updates, func(a, b keyUpdate) int { return strings.Compare(a.m.ID, b.m.ID) })
}

func (d *KeyDiff) write(w *writeTx, o ImportOptions) error {
	for _, u := range d.updates {
		m := u.m
		switch {
		case u.op == "withdraw":
			m.Revoked = &Revocation{At: w.now, By: o.By, Reason: "no longer in the trust set " + o.Origin, Origin: o.Origin}
		case m.Revoked != nil && m.Revoked.At.IsZero():
			m.Revoked.At = w.now
		}
		if m.At.IsZero() {
			m.At = w.now
		}
		var old PinnedMaterial
		was, err := w.current("material", m.ID, &old)
		if err != nil {
			return err
		}
		l := m.leaf(u.op, o.By)
		l.Detail = "import of " + o.Origin + ": " + l.Detail
		if was < 0 {
			_, err = w.insert(l, m)
		} else {
			_, err = w.replace(l, m, was)
		}
		if err != nil {
			return fmt.Errorf("key material %s: %w", m.ID, err)
		}
	}
	return nil
}
