package main

import (
	"fmt"
	"path/filepath"

	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// accepted returns what headgate.trust of the base accepts and revokes: only what
// a key signed that the policy of the base names for this file (a trust set whose
// url is headgate.trust), only within that entry's scope, and only if the key's
// lines are complete, so that no revocation was cut out. Nil for none. The key
// material of the file that counts goes into s.materials.
func (s *setting) accepted() (func(trust.Package) []store.Acceptance, error) {
	if s.trustSet == nil {
		return nil, nil
	}
	ts, err := store.ParseTrustSet(s.trustSet)
	if err != nil {
		return nil, usage("%s: %w", TrustFile, err)
	}
	type narrowed struct {
		scopes []store.Scope
		list   []store.Acceptance
	}
	var sets []narrowed
	named := map[string]bool{}
	for _, cfg := range s.policy.Config().TrustSets {
		if cfg.URL != TrustFile {
			s.notes = append(s.notes, fmt.Sprintf("trust set %s is not pulled by check: headgate signers import", cfg.Name))
			continue
		}
		named[cfg.Key] = true
		list, keys := ts.By(cfg.Key), ts.MaterialsBy(cfg.Key)
		if len(list)+len(keys) == 0 {
			continue
		}
		if _, err := ts.Head(cfg.Key); err != nil {
			return nil, usage("%s: the lines of trust set %s: %w", TrustFile, cfg.Name, err)
		}
		n := narrowed{}
		for _, p := range cfg.Scope {
			sc, err := store.ParseScope(p)
			if err != nil && cfg.UnsafeAnyPackage {
				sc, err = store.ParseScopeUnsafe(p)
			}
			if err != nil {
				return nil, usage("%s: trust set %s: %w", s.origin, cfg.Name, err)
			}
			n.scopes = append(n.scopes, sc)
			for _, m := range keys {
				if m, ok := m.Within(sc, TrustFile); ok {
					s.materials = append(s.materials, m)
				}
			}
		}
		for _, a := range list {
			a.Origin = TrustFile
			n.list = append(n.list, a)
		}
		sets = append(sets, n)
	}
	strangers := 0
	for _, r := range ts.Records {
		if !named[r.Key] {
			strangers++
		}
	}
	for _, m := range ts.Materials {
		if !named[m.Key] {
			strangers++
		}
	}
	if strangers > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d lines of %s do not count: %s names no trust set with their key", strangers, TrustFile, ConfigFile))
	}
	if len(sets) == 0 {
		return nil, nil
	}
	return func(p trust.Package) []store.Acceptance {
		var out []store.Acceptance
		for _, n := range sets {
			for _, a := range n.list {
				for _, sc := range n.scopes {
					if sc.Covers(p, a.Signer) {
						out = append(out, a)
						break
					}
				}
			}
		}
		return out
	}, nil
}

// keepApproval puts an approval into the trust file: the one that is named, or
// headgate.trust where the repository has one. It returns the path, "" for none.
func (c *Command) keepApproval(set *setting, named string, envelope []byte) (string, error) {
	path := named
	if path == "" {
		path = filepath.Join(set.root, TrustFile)
	}
	old, err := readSmall(path)
	if err != nil {
		return "", usage("reading %s: %w", path, err)
	}
	if old == nil && named == "" {
		return "", nil
	}
	merged, err := store.AddApproval(old, envelope)
	if err != nil {
		return "", usage("%s: %w", path, err)
	}
	return path, writeFile(path, merged)
}

// mergeFile puts a newer export into a trust file that is there already.
func mergeFile(path string, export []byte) ([]byte, error) {
	if path == "" {
		return export, nil
	}
	old, err := readSmall(path)
	if err != nil || old == nil {
		return export, err
	}
	merged, err := store.MergeTrust(old, export)
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	return merged, nil
}
