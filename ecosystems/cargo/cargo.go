package cargo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of what the registry may answer.
const (
	MaxIndexFile   = 32 << 20  // bytes of one crate's index file
	MaxVersions    = 20_000    // lines of it
	MaxCrate       = 512 << 20 // bytes of one crate
	maxConfigJSON  = 64 << 10
	configFreshFor = 24 * time.Hour
)

// Adapter checks crates. It is safe for concurrent use.
type Adapter struct {
	get upstream.Getter
	cfg Config
}

// New returns an adapter that asks upstream through get.
func New(get upstream.Getter, cfg Config) *Adapter {
	if cfg.Default == "" {
		cfg.Default = DefaultIndex
	}
	return &Adapter{get: get, cfg: cfg}
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "crates.io", Types: []string{"cargo"}, Sources: []string{"Cargo.lock"},
		Integrity: "SHA-256 of lock file = sparse index (= crate, when fetched)",
		Registry:  "–", Publisher: "–", Binding: "none: the index binds name and digest over TLS only",
		Checks: []trust.Check{trust.CheckSource, trust.CheckIndex, trust.CheckRegistrySig, trust.CheckBytes},
		Offers: trust.AssuranceNone,
	}
}

// Collect compares lock file, index and, if asked, the crate's bytes.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	if e, ok := adapter.Elsewhere(c, "a crate registry"); ok {
		return adapter.Only(e), nil
	}
	index, ok := a.cfg.index(c.Registry)
	if !ok {
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "the lock file names the registry %s, which the user's cargo configuration does not have", c.Registry)
		e.Remedy = "add the registry to ~/.cargo/config.toml if it is yours, or restore the lock file"
		return adapter.Only(e), nil
	}
	source := trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: locked, Source: index}
	url := index + indexPath(r.Package.Name)
	resp, err := a.get.Get(ctx, upstream.Request{URL: url, MaxBytes: MaxIndexFile})
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	res := adapter.Result{Evidence: []trust.Evidence{source}}
	if err != nil {
		res.Evidence = append(res.Evidence, adapter.Unverified(trust.CheckIndex, r, locked, err))
		return res, nil
	}
	switch resp.Status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		res.Evidence = append(res.Evidence, unknown(r, locked, "the registry knows no crate of this name"))
		res.Facts.Unpublished = true
		return res, nil
	default:
		res.Evidence = append(res.Evidence, adapter.Doubtful(trust.CheckIndex, r, locked, trust.ReasonNetwork, "the index answered HTTP %d", resp.Status))
		return res, nil
	}
	entry, others, err := find(resp.Body, r)
	if err != nil {
		e := adapter.Unverified(trust.CheckIndex, r, locked, err)
		e.Source = resp.URL
		res.Evidence = append(res.Evidence, e)
		return res, nil
	}
	res.Facts, res.History = facts(entry, others, req.History)
	if entry == nil {
		res.Evidence = append(res.Evidence, unknown(r, locked, "the registry knows the crate, but not this version"))
		res.Facts.Unpublished = true
		return res, nil
	}
	served := trust.Artifact{Digests: trust.Digests{entry.digest}}
	e := adapter.CompareDigests(trust.CheckIndex, r, locked, served)
	e.Source, e.Raw = resp.URL, []trust.Raw{trust.NewRaw("index-entry", "application/json", entry.line)}
	res.Evidence = append(res.Evidence, e, adapter.Missing(trust.CheckRegistrySig, r, served, trust.ReasonNotOffered, "crate registries sign nothing"))
	if req.Bytes {
		res.Evidence = append(res.Evidence, a.bytes(ctx, index, r, served))
	}
	return res, ctx.Err()
}

func unknown(r trust.Release, a trust.Artifact, why string) trust.Evidence {
	e := adapter.Doubtful(trust.CheckIndex, r, a, trust.ReasonNotFound, "%s", why)
	e.Remedy = "check the name and the version; a crate that was removed for malice looks like this too"
	return e
}

// indexPath is the path of a crate's file in a sparse index.
func indexPath(name string) string {
	n := strings.ToLower(name)
	var dir string
	switch len(n) {
	case 1:
		dir = "1"
	case 2:
		dir = "2"
	case 3:
		dir = "3/" + n[:1]
	default:
		dir = n[:2] + "/" + n[2:4]
	}
	return dir + "/" + url.PathEscape(n)
}

// entry is one line of an index file.
type entry struct {
	Name    string    `json:"name"`
	Vers    string    `json:"vers"`
	Cksum   string    `json:"cksum"`
	Yanked  bool      `json:"yanked"`
	PubTime time.Time `json:"pubtime"`

	digest trust.Digest
	line   []byte
}

// find returns the line of the release, nil if there is none, and all others in
// file order. A line of another crate, or a version that stands twice, makes the
// whole file untrustworthy.
func find(b []byte, r trust.Release) (*entry, []entry, error) {
	var found *entry
	var others []entry
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(others) >= MaxVersions {
			return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the index lists more than %d versions", MaxVersions)
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, nil, trust.Undecidable(trust.ReasonMalformed, "the index file is malformed: %w", err)
		}
		if e.Name != r.Package.Name {
			return nil, nil, trust.Failure(trust.ReasonWrongName, "the index answers for the crate %q", e.Name)
		}
		d, err := trust.NewDigest(trust.SHA256, e.Cksum)
		if err != nil {
			return nil, nil, trust.Undecidable(trust.ReasonMalformed, "the index file is malformed at version %s: %w", e.Vers, err)
		}
		e.digest, e.line = d, line
		if e.Vers != r.Version {
			others = append(others, e)
			continue
		}
		if found != nil {
			return nil, nil, trust.Failure(trust.ReasonDuplicate, "the index lists version %s twice", e.Vers)
		}
		found = &e
	}
	if found == nil && len(others) == 0 {
		return nil, nil, trust.Undecidable(trust.ReasonMalformed, "the index file is empty")
	}
	return found, others, nil
}

// facts are what the index says beside the digest; lines stand in the order of
// publication.
func facts(e *entry, others []entry, history int) (trust.Facts, []trust.History) {
	f := trust.Facts{Releases: len(others)}
	if e != nil {
		f.Releases++
		f.Published = e.PubTime
		if e.Yanked {
			reason := ""
			f.Yanked = &reason
		}
	}
	byTime := slices.Clone(others)
	slices.SortStableFunc(byTime, func(a, b entry) int { return b.PubTime.Compare(a.PubTime) })
	var hs []trust.History
	for _, o := range byTime {
		if o.PubTime.IsZero() {
			continue
		}
		if f.FirstRelease.IsZero() || o.PubTime.Before(f.FirstRelease) {
			f.FirstRelease = o.PubTime
		}
		if e != nil && !e.PubTime.IsZero() && o.PubTime.Before(e.PubTime) {
			if f.PrevRelease.IsZero() {
				f.PrevRelease = o.PubTime
			}
			if len(hs) < history {
				hs = append(hs, trust.History{Version: o.Vers, Published: o.PubTime})
			}
		}
	}
	if e != nil && !e.PubTime.IsZero() && (f.FirstRelease.IsZero() || e.PubTime.Before(f.FirstRelease)) {
		f.FirstRelease = e.PubTime
	}
	return f, hs
}

// bytes fetches the crate and compares its SHA-256.
func (a *Adapter) bytes(ctx context.Context, index string, r trust.Release, served trust.Artifact) trust.Evidence {
	b, err := a.open(ctx, index, r, served.Digests.Get(trust.SHA256))
	if err != nil {
		return adapter.Unverified(trust.CheckBytes, r, served, err)
	}
	e := trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: served}
	if err := b.Close(); err != nil {
		return adapter.Unverified(trust.CheckBytes, r, served, err)
	}
	return e
}

// Fetch hands out the crate with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	index, ok := a.cfg.index(c.Registry)
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the registry %s is not configured", c.Release, c.Registry)
	}
	d := art.Digests.Get(trust.SHA256)
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no SHA-256 to fetch the crate by", c.Release)
	}
	return a.open(ctx, index, c.Release, d)
}

func (a *Adapter) open(ctx context.Context, index string, r trust.Release, want trust.Digest) (adapter.Blob, error) {
	resp, err := a.get.Get(ctx, upstream.Request{URL: index + "config.json", MaxBytes: maxConfigJSON, MaxAge: configFreshFor})
	if err != nil {
		return nil, err
	}
	var cfg struct {
		DL string `json:"dl"`
	}
	if resp.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonNetwork, "the registry's config.json answered HTTP %d", resp.Status)
	}
	if err := json.Unmarshal(resp.Body, &cfg); err != nil || cfg.DL == "" {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the registry's config.json is malformed: %w", errors.Join(err, errors.New("dl is needed")))
	}
	return a.get.Open(ctx, upstream.Request{URL: download(cfg.DL, r, want), MaxBytes: MaxCrate, Want: want, Allow: []string{hostOf(cfg.DL)}})
}

// download fills the markers of a registry's dl template.
func download(dl string, r trust.Release, want trust.Digest) string {
	p := indexPath(r.Package.Name)
	prefix := p[:strings.LastIndexByte(p, '/')]
	name, version := url.PathEscape(r.Package.Name), url.PathEscape(r.Version)
	if !strings.Contains(dl, "{") {
		return fmt.Sprintf("%s/%s/%s/download", strings.TrimSuffix(dl, "/"), name, version)
	}
	return strings.NewReplacer("{crate}", name, "{version}", version, "{prefix}", prefix, "{lowerprefix}", prefix, "{sha256-checksum}", want.Value).Replace(dl)
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	// crates.io answers with a redirect to its storage, a sub-domain of its own.
	return "*." + u.Hostname()
}
