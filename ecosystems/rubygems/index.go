package rubygems

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// Bounds of what a source may answer.
const (
	MaxInfo         = 32 << 20 // bytes of one gem's compact index file
	MaxVersions     = 50_000   // lines of it
	MaxVersionsJSON = 64 << 20 // bytes of the versions document
	MaxAttestations = 32
	MaxAttestation  = 16 << 20 // bytes of the attestations document
	MaxGem          = 1 << 30
)

// entry is one line of a gem's compact index file.
type entry struct {
	version, platform string
	digest            trust.Digest
	line              []byte
}

// parseInfo reads a compact index file (https://guides.rubygems.org/rubygems-org-compact-index-api/)
// and returns the entry of the release with the platform, nil if there is none.
func parseInfo(b []byte, version, platform string) (*entry, error) {
	_, body, ok := bytes.Cut(b, []byte("---\n"))
	if !ok {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the index file has no separator")
	}
	var found *entry
	n := 0
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if n++; n > MaxVersions {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the index file lists more than %d versions", MaxVersions)
		}
		full, rest, ok := strings.Cut(string(line), " ")
		if !ok {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the index file is malformed at %.60q", full)
		}
		v, p, _ := strings.Cut(full, "-")
		if p == "ruby" {
			p = ""
		}
		if v != version || p != platform {
			continue
		}
		e := &entry{version: v, platform: p, line: line}
		_, requirements, _ := strings.Cut(rest, "|")
		for kv := range strings.SplitSeq(requirements, ",") {
			if sum, ok := strings.CutPrefix(kv, "checksum:"); ok {
				d, err := trust.NewDigest(trust.SHA256, sum)
				if err != nil {
					return nil, trust.Undecidable(trust.ReasonMalformed, "the index file is malformed at version %s: %w", full, err)
				}
				e.digest = d
			}
		}
		if e.digest.IsZero() {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the index states no checksum of version %s", full)
		}
		if found != nil {
			return nil, trust.Failure(trust.ReasonDuplicate, "the index lists version %s twice", full)
		}
		found = e
	}
	if n == 0 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the index file lists no versions")
	}
	return found, nil
}

// versionRecord is one record of the versions document.
type versionRecord struct {
	Number   string    `json:"number"`
	Platform string    `json:"platform"`
	SHA      string    `json:"sha"`
	Created  time.Time `json:"created_at"`
	Licenses []string  `json:"licenses"`
	Metadata struct {
		Source   string `json:"source_code_uri"`
		Homepage string `json:"homepage_uri"`
	} `json:"metadata"`
}

// facts reads the versions document: unsigned hints, and none if it cannot be read.
func facts(b []byte, version, platform string, history int) (trust.Facts, []trust.History) {
	var records []versionRecord
	if err := json.Unmarshal(b, &records); err != nil || len(records) == 0 {
		return trust.Facts{}, nil
	}
	slices.SortStableFunc(records, func(a, b versionRecord) int { return b.Created.Compare(a.Created) })
	var f trust.Facts
	for _, v := range records {
		p := v.Platform
		if p == "ruby" {
			p = ""
		}
		if v.Number == version && p == platform {
			f.Published, f.Licenses = v.Created, v.Licenses
			f.Repository = repository(v.Metadata.Source)
			if f.Repository == "" {
				f.Repository = repository(v.Metadata.Homepage)
			}
		}
	}
	seen := map[string]bool{}
	var hs []trust.History
	for _, v := range records {
		if f.FirstRelease.IsZero() || v.Created.Before(f.FirstRelease) {
			f.FirstRelease = v.Created
		}
		if seen[v.Number] {
			continue
		}
		seen[v.Number] = true
		f.Releases++
		if v.Number != version && !f.Published.IsZero() && v.Created.Before(f.Published) {
			if f.PrevRelease.IsZero() {
				f.PrevRelease = v.Created
			}
			if len(hs) < history {
				hs = append(hs, trust.History{Version: v.Number, Published: v.Created})
			}
		}
	}
	return f, hs
}

// repository cuts a forge's URL to the repository's own.
func repository(s string) string {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		return ""
	}
	parts := strings.SplitN(rest, "/", 4)
	if len(parts) < 3 || parts[1] == "" || parts[2] == "" {
		return ""
	}
	return strings.ToLower("https://" + parts[0] + "/" + parts[1] + "/" + strings.TrimSuffix(parts[2], ".git"))
}
