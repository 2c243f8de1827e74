package advisories

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"

	"github.com/headgate/headgate/trust"
)

// Bounds of one record.
const (
	// MaxRecord bounds one OSV record, in bytes.
	MaxRecord = 16 << 20
	// MaxAffected bounds the affected packages of one record.
	MaxAffected = 20_000
	// MaxEvents bounds the events of one range.
	MaxEvents = 10_000
	// maxSummary bounds the summary that is kept, in bytes.
	maxSummary = 300
)

// record is an OSV record, as far as it is read
// (https://ossf.github.io/osv-schema/).
type record struct {
	ID               string           `json:"id"`
	Published        time.Time        `json:"published"`
	Modified         time.Time        `json:"modified"`
	Withdrawn        *time.Time       `json:"withdrawn"`
	Aliases          []string         `json:"aliases"`
	Summary          string           `json:"summary"`
	Severity         []severity       `json:"severity"`
	Affected         []affected       `json:"affected"`
	DatabaseSpecific databaseSpecific `json:"database_specific"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Severity         []severity       `json:"severity"`
	Ranges           []versionRange   `json:"ranges"`
	Versions         []string         `json:"versions"`
	DatabaseSpecific databaseSpecific `json:"database_specific"`
}

type versionRange struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

type event struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// databaseSpecific is what databases add. Its fields have no common schema, so
// a value of another shape is ignored, not refused.
type databaseSpecific struct {
	Severity string
	KEV      bool
	Digests  []trust.Digest
}

func (d *databaseSpecific) UnmarshalJSON(b []byte) error {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	if err := json.Unmarshal(m["severity"], &d.Severity); err != nil {
		d.Severity = ""
	}
	for _, k := range []string{"kev", "cisa_kev", "known_exploited"} {
		v := strings.TrimSpace(string(m[k]))
		if v != "" && v != "false" && v != "null" && v != "{}" && v != "[]" && v != `""` {
			d.KEV = true
		}
	}
	var indicators struct {
		PackageIntegrity []struct {
			Hashes map[string]string `json:"hashes"`
		} `json:"package_integrity"`
	}
	if json.Unmarshal(m["indicators"], &indicators) != nil {
		return nil
	}
	for _, p := range indicators.PackageIntegrity {
		for alg, v := range p.Hashes {
			var dg trust.Digest
			var err error
			if strings.HasSuffix(alg, "_sri") {
				dg, err = trust.ParseDigest(v)
			} else {
				dg, err = trust.NewDigest(trust.Algorithm(alg), v)
			}
			if err == nil {
				d.Digests = append(d.Digests, dg)
			}
		}
	}
	return nil
}

func parseRecord(b []byte) (*record, error) {
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("record of %d bytes is larger than %d", len(b), MaxRecord)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if r.ID == "" || len(r.ID) > 200 {
		return nil, errors.New("record without id")
	}
	if len(r.Affected) > MaxAffected {
		return nil, fmt.Errorf("%s: %d affected packages are more than %d", r.ID, len(r.Affected), MaxAffected)
	}
	for _, a := range r.Affected {
		for _, g := range a.Ranges {
			if len(g.Events) > MaxEvents {
				return nil, fmt.Errorf("%s: %d events are more than %d", r.ID, len(g.Events), MaxEvents)
			}
		}
	}
	return &r, nil
}

// entry is what the index keeps of one record about one package.
type entry struct {
	ID       string         `json:"id"`
	Aliases  []string       `json:"a,omitempty"`
	Summary  string         `json:"s,omitempty"`
	Severity string         `json:"v,omitempty"`
	Score    float64        `json:"c,omitempty"`
	Malware  bool           `json:"m,omitempty"`
	KEV      bool           `json:"k,omitempty"`
	Suffix   string         `json:"x,omitempty"` // release of a distribution
	Whole    bool           `json:"w,omitempty"` // neither ranges nor versions: every version
	Ranges   []versionRange `json:"r,omitempty"`
	Versions []string       `json:"n,omitempty"`

	Published time.Time `json:"p,omitzero"`
	Modified  time.Time `json:"d,omitzero"`
	Withdrawn time.Time `json:"z,omitzero"`
}

// stands reports whether the advisory counts: today (at is zero) if it was not
// withdrawn, as of an earlier moment if it was published by then and not withdrawn
// yet. One that does not say when it was published counts.
func (e *entry) stands(at time.Time) bool {
	if at.IsZero() {
		return e.Withdrawn.IsZero()
	}
	return !e.Published.After(at) && (e.Withdrawn.IsZero() || e.Withdrawn.After(at))
}

// entryOf reduces a record to one of its affected packages.
func entryOf(r *record, a *affected) entry {
	_, suffix := split(a.Package.Ecosystem)
	e := entry{ID: r.ID, Aliases: r.Aliases, Summary: r.Summary, Malware: strings.HasPrefix(r.ID, "MAL-"), Suffix: suffix, Versions: a.Versions,
		KEV: r.DatabaseSpecific.KEV || a.DatabaseSpecific.KEV, Published: r.Published, Modified: r.Modified}
	if r.Withdrawn != nil {
		e.Withdrawn = *r.Withdrawn
	}
	if len(e.Summary) > maxSummary {
		e.Summary = strings.ToValidUTF8(e.Summary[:maxSummary], "") + "…"
	}
	for _, al := range r.Aliases {
		e.Malware = e.Malware || strings.HasPrefix(al, "MAL-")
	}
	for _, g := range a.Ranges {
		if g.Type == "SEMVER" || g.Type == "ECOSYSTEM" {
			e.Ranges = append(e.Ranges, g)
		}
	}
	// Only an entry that says nothing at all about versions is about all of them;
	// one that names git commits is about those commits.
	e.Whole = len(a.Ranges) == 0 && len(a.Versions) == 0
	e.Severity, e.Score = rate(r, a)
	return e
}

// rate returns the worst rating that record and package state.
func rate(r *record, a *affected) (string, float64) {
	best := -1.0
	for _, s := range slices.Concat(a.Severity, r.Severity) {
		if v, ok := score(s.Score); ok && v > best {
			best = v
		}
	}
	if best >= 0 {
		return word(best), best
	}
	for _, w := range []string{a.DatabaseSpecific.Severity, r.DatabaseSpecific.Severity} {
		switch w := strings.ToLower(w); w {
		case "moderate":
			return "medium", 0
		case "low", "medium", "high", "critical":
			return w, 0
		}
	}
	return "", 0
}

// score computes the base score of a CVSS vector of any version.
func score(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		if v, err := gocvss40.ParseVector(vector); err == nil {
			return v.Score(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		if v, err := gocvss31.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		if v, err := gocvss30.ParseVector(vector); err == nil {
			return v.BaseScore(), true
		}
	default:
		if v, err := gocvss20.ParseVector(strings.Trim(vector, "()")); err == nil {
			return v.BaseScore(), true
		}
	}
	return 0, false
}

func word(score float64) string {
	switch {
	case score <= 0:
		return "none"
	case score < 4:
		return "low"
	case score < 7:
		return "medium"
	case score < 9:
		return "high"
	}
	return "critical"
}

// matches reports whether the entry concerns the version, and which version
// fixes it, by the algorithm of the OSV schema
// (https://ossf.github.io/osv-schema/#evaluation).
func (e *entry) matches(base, version string) (hit bool, fixed string, err error) {
	if e.Whole {
		return true, "", nil
	}
	if version == "" {
		return false, "", errors.New("the release has no version")
	}
	for _, v := range e.Versions {
		if sameVersion(base, v, version) {
			hit = true
			break
		}
	}
	for _, r := range e.Ranges {
		in, fix, err := r.contains(base, version)
		if err != nil {
			return false, "", fmt.Errorf("%s: %w", e.ID, err)
		}
		if in && fixed == "" {
			fixed = fix
		}
		hit = hit || in
	}
	return hit, fixed, nil
}

func sameVersion(base, a, b string) bool {
	if a == b {
		return true
	}
	switch base {
	case "Go", "GitHub Actions":
		return strings.TrimPrefix(a, "v") == strings.TrimPrefix(b, "v")
	case "PyPI":
		return trust.NormalizePyPIVersion(a) == trust.NormalizePyPIVersion(b)
	case "npm", "crates.io", "Hex", "Pub", "SwiftURL":
		return false // semantic versions have one spelling
	}
	c, err := compare(base, a, b)
	return err == nil && c == 0
}

type point struct {
	version string
	kind    int // order of events at one version
}

// Kinds of event. At one version a fix comes before an introduction, so that
// two adjoining ranges leave no gap.
const (
	kindFixed = iota
	kindIntroduced
	kindLastAffected
)

func (r *versionRange) contains(base, version string) (in bool, fixed string, err error) {
	var points []point
	limited, below := false, false
	for _, ev := range r.Events {
		switch {
		case ev.Introduced != "":
			points = append(points, point{ev.Introduced, kindIntroduced})
		case ev.Fixed != "":
			points = append(points, point{ev.Fixed, kindFixed})
		case ev.LastAffected != "":
			points = append(points, point{ev.LastAffected, kindLastAffected})
		case ev.Limit == "*":
			limited, below = true, true
		case ev.Limit != "":
			limited = true
			c, err := compare(base, version, ev.Limit)
			if err != nil {
				return false, "", err
			}
			below = below || c < 0
		}
	}
	if limited && !below {
		return false, "", nil
	}
	order := func(a, b point) int {
		if a.version == b.version {
			return a.kind - b.kind
		}
		if a.version == "0" {
			return -1
		}
		if b.version == "0" {
			return 1
		}
		c, e := compare(base, a.version, b.version)
		if e != nil && err == nil {
			err = e
		}
		if c == 0 {
			return a.kind - b.kind
		}
		return c
	}
	slices.SortStableFunc(points, order)
	if err != nil {
		return false, "", err
	}
	for _, p := range points {
		c := 1
		if !(p.version == "0" && p.kind == kindIntroduced) {
			if c, err = compare(base, version, p.version); err != nil {
				return false, "", err
			}
		}
		switch p.kind {
		case kindIntroduced:
			if c >= 0 {
				in, fixed = true, ""
			}
		case kindFixed:
			if c >= 0 {
				in = false
			} else if in && fixed == "" {
				fixed = p.version // the smallest that fixes: points are sorted
			}
		case kindLastAffected:
			if c > 0 {
				in = false
			}
		}
	}
	if !in {
		fixed = ""
	}
	return in, fixed, nil
}
