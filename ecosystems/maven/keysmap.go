package maven

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"deps.dev/util/semver"

	"github.com/headgate/headgate/trust"
)

// Bounds of a keys map.
const (
	MaxKeysMap        = 4 << 20
	MaxKeysMapEntries = 20_000
)

// KeysMap says which keys sign which artifacts, in the format of
// pgpverify-maven-plugin:
//
//	# comment
//	org.example             = 0x0123 4567 … (whole fingerprint), 0x…
//	org.example.*:tool      = 0x…
//	org.example:lib:[1,2)   = 0x…
//	junit:junit:4.12        = noSig
//
// Here it narrows and never widens: the keys themselves and who accepts them are
// in the trust store, and of those only the ones count that the map names for the
// artifact. So "noSig", "badSig" and "noKey", which ask to let artifacts pass
// without a good signature, are read and not honoured; "any" and "*" leave it to
// the trust store. A key id or cut fingerprint, which others can have too, is an
// error.
type KeysMap struct {
	name    string
	entries []mapEntry
	notes   []string
}

type mapEntry struct {
	group, artifact, packaging, version string
	constraint                          *semver.Constraint
	prints, not                         []string
	any                                 bool
}

var wholePrint = regexp.MustCompile(`^[0-9A-F]{40}(?:[0-9A-F]{24})?$`)

// ParseKeysMap reads a keys map. name is what messages call it.
func ParseKeysMap(name string, b []byte) (*KeysMap, error) {
	if len(b) > MaxKeysMap {
		return nil, fmt.Errorf("keys map %s has %d bytes, more than %d", name, len(b), MaxKeysMap)
	}
	m := &KeysMap{name: name}
	ignored := map[string]bool{}
	text := strings.NewReplacer("\r\n", "\n", "\\\r\n", "", "\\\n", "").Replace(string(b))
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if len(m.entries) == MaxKeysMapEntries {
			return nil, fmt.Errorf("keys map %s has more than %d entries", name, MaxKeysMapEntries)
		}
		left, right, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("keys map %s, line %d: %.80q is no \"artifact = keys\"", name, i+1, line)
		}
		e, err := pattern(strings.TrimSpace(left))
		if err == nil {
			err = e.keys(right, ignored)
		}
		if err != nil {
			return nil, fmt.Errorf("keys map %s, line %d: %w", name, i+1, err)
		}
		m.entries = append(m.entries, e)
	}
	if len(m.entries) == 0 {
		return nil, fmt.Errorf("keys map %s has no entry", name)
	}
	for _, w := range []string{"badSig", "noKey", "noSig"} {
		if ignored[w] {
			m.notes = append(m.notes, fmt.Sprintf("keys map %s: %s is not honoured: what no known key has signed is for the policy to judge", name, w))
		}
	}
	return m, nil
}

// Notes are what the map asks for and does not get.
func (m *KeysMap) Notes() []string { return slices.Clone(m.notes) }

// pattern reads the left side: group, group:artifact, group:artifact:version or
// group:artifact:packaging:version.
func pattern(s string) (mapEntry, error) {
	e := mapEntry{artifact: "*", packaging: "*", version: "*"}
	// A version range may hold anything but a colon.
	switch p := strings.Split(s, ":"); len(p) {
	case 1:
		e.group = p[0]
	case 2:
		e.group, e.artifact = p[0], p[1]
	case 3:
		e.group, e.artifact, e.version = p[0], p[1], p[2]
	case 4:
		e.group, e.artifact, e.packaging, e.version = p[0], p[1], p[2], p[3]
	default:
		return e, fmt.Errorf("%.80q has more than four parts", s)
	}
	for _, p := range []*string{&e.group, &e.artifact, &e.packaging, &e.version} {
		if *p = strings.TrimSpace(*p); *p == "" {
			return e, fmt.Errorf("%.80q has an empty part", s)
		}
		if _, err := path.Match(*p, ""); p != &e.version && (err != nil || strings.ContainsAny(*p, `[]?\/`)) {
			return e, fmt.Errorf("%.80q is no group, artifact or packaging", *p)
		}
	}
	if strings.ContainsAny(e.version, "[(,") {
		c, err := semver.Maven.ParseConstraint(e.version)
		if err != nil {
			return e, fmt.Errorf("%.80q is no version range: %w", e.version, err)
		}
		e.constraint = c
	}
	return e, nil
}

// keys reads the right side.
func (e *mapEntry) keys(s string, ignored map[string]bool) error {
	n := 0
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		n++
		not := strings.HasPrefix(v, "!")
		word := strings.TrimSpace(strings.TrimPrefix(v, "!"))
		switch strings.ToLower(word) {
		case "any", "*":
			if not {
				return fmt.Errorf("%.40q accepts nobody", v)
			}
			e.any = true
			continue
		case "nosig":
			ignored["noSig"] = true
			continue
		case "badsig":
			ignored["badSig"] = true
			continue
		case "nokey":
			ignored["noKey"] = true
			continue
		}
		print, ok := strings.CutPrefix(strings.ToUpper(strings.Join(strings.Fields(word), "")), "0X")
		if !ok || !wholePrint.MatchString(print) {
			return fmt.Errorf("%.80q is no whole fingerprint (0x and 40 or 64 hex digits), any, noSig, badSig or noKey: shorter key ids can be forged", v)
		}
		if not {
			e.not = append(e.not, print)
		} else {
			e.prints = append(e.prints, print)
		}
	}
	if n == 0 {
		return fmt.Errorf("no keys")
	}
	return nil
}

func (e mapEntry) matches(r trust.Release, packaging string) bool {
	glob := func(p, s string) bool {
		ok, err := path.Match(p, s)
		return err == nil && ok
	}
	group := r.Package.Namespace
	if below, ok := strings.CutSuffix(e.group, ".*"); ok {
		// The group itself and all below it.
		if !glob(below, group) && !glob(e.group, group) {
			return false
		}
	} else if !glob(e.group, group) {
		return false
	}
	if !glob(e.artifact, r.Package.Name) || !glob(e.packaging, packaging) {
		return false
	}
	if e.constraint != nil {
		return e.constraint.Match(r.Version)
	}
	return glob(e.version, r.Version)
}

// Allow is why none of the signers of a file counts by the maps, if none does. An
// artifact that no map names is signed by nobody whom they expect.
func Allow(maps []*KeysMap, r trust.Release, name string, signers []trust.Signer) error {
	packaging := strings.TrimPrefix(path.Ext(name), ".")
	if len(maps) == 0 {
		return nil
	}
	var want []string
	var names []string
	named := false
	for _, m := range maps {
		names = append(names, m.name)
		for _, e := range m.entries {
			if !e.matches(r, packaging) {
				continue
			}
			named = true
			want = append(want, e.prints...)
			for _, s := range signers {
				has := func(prints []string) bool {
					return slices.Contains(prints, s.Fingerprint) || s.SubkeyFingerprint != "" && slices.Contains(prints, s.SubkeyFingerprint)
				}
				if has(e.not) {
					return trust.Failure(trust.ReasonUntrustedSigner, "the keys map %s excludes %s for this artifact", m.name, s)
				}
			}
			if e.any || slices.ContainsFunc(signers, func(s trust.Signer) bool {
				return slices.Contains(e.prints, s.Fingerprint) || s.SubkeyFingerprint != "" && slices.Contains(e.prints, s.SubkeyFingerprint)
			}) {
				return nil
			}
		}
	}
	if !named {
		return trust.Undecidable(trust.ReasonUntrustedSigner, "no entry of the keys map %s is for %s: add one with the fingerprint of who signs it", strings.Join(names, ", "), r.Package.FullName())
	}
	if len(want) == 0 {
		return trust.Failure(trust.ReasonUntrustedSigner, "the keys map %s names no key for this artifact", strings.Join(names, ", "))
	}
	return trust.Failure(trust.ReasonUntrustedSigner, "the keys map %s expects a signature by %s", strings.Join(names, ", "), strings.Join(want, " or "))
}
