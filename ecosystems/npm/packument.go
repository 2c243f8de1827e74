package npm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// Bounds on the registry's documents.
const (
	MaxPackument    = 96 << 20 // bytes; the largest public ones have some 60 MB
	MaxVersions     = 50_000   // versions of a package
	MaxAttestations = 16       // attestations of one release
	MaxAttestation  = 32 << 20 // bytes of the attestation endpoint's document
	MaxTarball      = 1 << 30  // bytes
	MaxHistory      = 8        // earlier releases whose attestations are fetched
	maxSignatures   = 16       // registry signatures of one release
)

// packument holds what is needed of a registry's record of a package.
type packument struct {
	name        string
	versions    map[string]*version
	times       map[string]time.Time
	unpublished bool
	latest      string
	owners      []string
	repository  string
}

// version is the registry's record of a release. Everything in it is unsigned
// but what a signature is found to cover.
type version struct {
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Deprecated json.RawMessage `json:"deprecated"`
	License    json.RawMessage `json:"license"`
	Repository json.RawMessage `json:"repository"`
	GypFile    bool            `json:"gypfile"`
	Scripts    scripts         `json:"scripts"`
	User       struct {
		Name             string `json:"name"`
		TrustedPublisher *struct {
			ID string `json:"id"`
		} `json:"trustedPublisher"`
	} `json:"_npmUser"`
	Dist struct {
		Tarball    string      `json:"tarball"`
		Shasum     string      `json:"shasum"`
		Integrity  string      `json:"integrity"`
		Signatures []signature `json:"signatures"`
		Attest     *struct {
			Provenance *struct {
				PredicateType string `json:"predicateType"`
			} `json:"provenance"`
		} `json:"attestations"`
	} `json:"dist"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// scripts are the scripts that run at installation. Packages exist whose
// scripts are no strings; those do not run.
type scripts struct{ preinstall, install, postinstall string }

// UnmarshalJSON reads the three scripts and passes over everything else.
func (s *scripts) UnmarshalJSON(b []byte) error {
	var m struct {
		Preinstall, Install, Postinstall json.RawMessage
	}
	if len(b) == 0 || b[0] != '{' {
		return nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	s.preinstall, s.install, s.postinstall = text(m.Preinstall), text(m.Install), text(m.Postinstall)
	return nil
}

func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// claims says what the record claims, unsigned, that the release offers.
func (v *version) claims() trust.Assurance {
	switch {
	case v.Dist.Attest != nil && v.Dist.Attest.Provenance != nil:
		return trust.AssuranceProvenance
	case v.Dist.Attest != nil || len(v.Dist.Signatures) > 0:
		return trust.AssuranceRegistry
	}
	return trust.AssuranceNone
}

// digests are the digests that the record states.
func (v *version) digests() (trust.Digests, error) {
	var ds trust.Digests
	if v.Dist.Integrity != "" {
		var err error
		if ds, err = trust.ParseSRI(v.Dist.Integrity); err != nil {
			return nil, fmt.Errorf("integrity %q: %w", clip(v.Dist.Integrity), err)
		}
	}
	if v.Dist.Shasum != "" && ds.Get(trust.SHA1).IsZero() {
		d, err := trust.NewDigest(trust.SHA1, v.Dist.Shasum)
		if err != nil {
			return nil, fmt.Errorf("shasum %q: %w", clip(v.Dist.Shasum), err)
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// parsePackument reads a full packument token by token; of each version it
// keeps only the fields of version.
func parsePackument(b []byte) (*packument, error) {
	p := &packument{versions: map[string]*version{}, times: map[string]time.Time{}}
	dec := json.NewDecoder(bytes.NewReader(b))
	err := object(dec, func(key string) error {
		switch key {
		case "name":
			return dec.Decode(&p.name)
		case "dist-tags":
			var tags map[string]json.RawMessage
			if err := dec.Decode(&tags); err != nil {
				return err
			}
			p.latest = text(tags["latest"])
			return nil
		case "versions":
			return object(dec, func(v string) error {
				if len(p.versions) >= MaxVersions {
					return errTooMany
				}
				if _, dup := p.versions[v]; dup {
					return fmt.Errorf("version %q appears twice", clip(v))
				}
				rec := &version{}
				if err := dec.Decode(rec); err != nil {
					return fmt.Errorf("version %q: %w", clip(v), err)
				}
				// RawMessages point into a copy of the whole record otherwise.
				rec.Deprecated, rec.License, rec.Repository = bytes.Clone(rec.Deprecated), bytes.Clone(rec.License), bytes.Clone(rec.Repository)
				p.versions[v] = rec
				return nil
			})
		case "time":
			return object(dec, func(k string) error {
				var raw json.RawMessage
				if err := dec.Decode(&raw); err != nil {
					return err
				}
				if k == "unpublished" {
					p.unpublished = true
					return nil
				}
				if t, err := time.Parse(time.RFC3339Nano, text(raw)); err == nil && len(p.times) <= 2*MaxVersions {
					p.times[k] = t.UTC()
				}
				return nil
			})
		case "maintainers":
			var ms []json.RawMessage
			if err := dec.Decode(&ms); err != nil {
				return nil // a record of the early years; only a fact is lost
			}
			for _, m := range ms {
				var who struct{ Name string }
				if json.Unmarshal(m, &who) == nil && who.Name != "" {
					p.owners = append(p.owners, who.Name)
				}
			}
			return nil
		case "repository":
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return err
			}
			p.repository = repository(raw)
			return nil
		}
		var skip json.RawMessage
		return dec.Decode(&skip)
	})
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("data behind the document")
	}
	return p, nil
}

var errTooMany = fmt.Errorf("more than %d versions", MaxVersions)

// object calls field for each key of the object that comes next; field has to
// read the value. Null is an empty object.
func object(dec *json.Decoder, field func(key string) error) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok == nil {
		return nil
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("%v where an object belongs", tok)
	}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return err
		}
		if err := field(k.(string)); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// repository brings the repository field into the form of trust.Facts: an https
// URL, without ".git", lower case where the host ignores case; "" if it is none.
func repository(raw json.RawMessage) string {
	s := text(raw)
	if s == "" {
		var r struct{ URL string }
		if len(raw) == 0 || json.Unmarshal(raw, &r) != nil {
			return ""
		}
		s = r.URL
	}
	s = strings.TrimPrefix(strings.TrimSpace(s), "git+")
	switch {
	case strings.HasPrefix(s, "github:"):
		s = "https://github.com/" + s[len("github:"):]
	case strings.HasPrefix(s, "gitlab:"):
		s = "https://gitlab.com/" + s[len("gitlab:"):]
	case strings.HasPrefix(s, "git@"):
		s = "https://" + strings.Replace(s[len("git@"):], ":", "/", 1)
	case !strings.Contains(s, ":") && strings.Count(s, "/") == 1:
		s = "https://github.com/" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return ""
	}
	switch u.Scheme {
	case "https", "http", "git", "ssh":
	default:
		return ""
	}
	out := "https://" + strings.ToLower(u.Hostname()) + strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), ".git")
	if h := strings.ToLower(u.Hostname()); h == "github.com" || h == "gitlab.com" {
		out = strings.ToLower(out)
	}
	return out
}
