package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// MaxConstraints bounds the parts of a range.
const MaxConstraints = 16

// Range is a package with the versions that are asked about: none, one, or all
// that meet every constraint ("pkg:npm/axios@>=1.0.0,<1.14.2").
type Range struct {
	Package trust.Package
	// Release is set for one exact version.
	Release trust.Release
	parts   []constraint
}

type constraint struct{ op, version string }

// operators, longer ones first.
var operators = []string{"<=", ">=", "!=", "<", ">", "="}

// ParseRange reads a package URL whose version may be a range. A range has no
// qualifiers or subpath behind it.
func ParseRange(s string) (Range, error) {
	i := strings.LastIndex(s, "@")
	head, tail := s, ""
	if i > 0 {
		head, tail = s[:i], s[i+1:]
	}
	if tail == "" || !strings.ContainsAny(tail[:1], "<>=!") {
		r, err := trust.ParseRelease(s)
		if err != nil {
			return Range{}, err
		}
		out := Range{Package: r.Package}
		if r.Version != "" {
			out.Release = r
		}
		return out, nil
	}
	p, err := trust.ParseRelease(head)
	if err != nil {
		return Range{}, err
	}
	if p.Version != "" {
		return Range{}, fmt.Errorf("%q has a version and a range: give one of them", head)
	}
	out := Range{Package: p.Package}
	for part := range strings.SplitSeq(tail, ",") {
		part = strings.TrimSpace(part)
		c := constraint{}
		for _, op := range operators {
			if v, ok := strings.CutPrefix(part, op); ok {
				c = constraint{op, strings.TrimSpace(v)}
				break
			}
		}
		if c.version == "" {
			return Range{}, fmt.Errorf("%q is no constraint: write one of %s and a version, separated by commas", part, strings.Join(operators, " "))
		}
		if len(out.parts) == MaxConstraints {
			return Range{}, fmt.Errorf("more than %d constraints", MaxConstraints)
		}
		if _, err := advisories.CompareVersions(out.Package, c.version, c.version); err != nil {
			return Range{}, fmt.Errorf("range %s: %w", tail, err)
		}
		out.parts = append(out.parts, c)
	}
	return out, nil
}

// Holds reports whether the range holds a version; an error if it cannot be compared.
func (g Range) Holds(version string) (bool, error) {
	for _, c := range g.parts {
		n, err := advisories.CompareVersions(g.Package, version, c.version)
		if err != nil {
			return false, err
		}
		ok := false
		switch c.op {
		case "<":
			ok = n < 0
		case "<=":
			ok = n <= 0
		case ">":
			ok = n > 0
		case ">=":
			ok = n >= 0
		case "=":
			ok = n == 0
		case "!=":
			ok = n != 0
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

// Finder is what Where asks; *store.Store implements it.
type Finder interface {
	Where(ctx context.Context, p trust.Package) ([]store.Use, error)
}

// Where lists the audited sources that hold the release or a release of the
// range. Versions that cannot be compared are listed too, as doubtful: a source
// is not left out because its version is odd.
func Where(ctx context.Context, s Finder, g Range) (found, doubtful []store.Use, err error) {
	uses, err := s.Where(ctx, g.Package)
	if err != nil {
		return nil, nil, err
	}
	for _, u := range uses {
		if !g.Release.IsZero() {
			// Variants (architectures, classifiers) are the same release here unless named.
			if u.Release == g.Release || g.Release.Variant == "" && g.Release.Subpath == "" && u.Release.Version == g.Release.Version {
				found = append(found, u)
			}
			continue
		}
		ok, err := g.Holds(u.Release.Version)
		switch {
		case err != nil:
			doubtful = append(doubtful, u)
		case ok:
			found = append(found, u)
		}
	}
	return found, doubtful, nil
}
