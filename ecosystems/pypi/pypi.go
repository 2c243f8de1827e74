package pypi

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// MaxFile bounds one distribution in bytes.
const MaxFile = 4 << 30

// maxHistoryChecks is how many earlier releases have their provenance verified;
// the index's word on the others only counts as a claim.
const maxHistoryChecks = 2

// Adapter checks Python distributions. It is safe for concurrent use.
type Adapter struct {
	get  upstream.Getter
	cfg  Config
	root adapter.Verifiers
}

// New returns an adapter that asks upstream through get and verifies
// attestations by root.
func New(get upstream.Getter, cfg Config, root adapter.Verifiers) *Adapter {
	if cfg.Index == "" {
		cfg.Index = DefaultIndex
	}
	return &Adapter{get: get, cfg: cfg, root: root}
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "PyPI", Types: []string{"pypi"},
		Sources:   []string{"uv.lock", "poetry.lock", "Pipfile.lock", "pylock.toml", "pdm.lock", "requirements.txt with hashes"},
		Integrity: "digest of every file in the lock file = index (= file, when fetched)",
		Registry:  "–", Publisher: "PEP 740 attestations (Sigstore), where the project publishes them",
		Binding: "file name and digest are signed; the publisher is remembered from first sight, or expected by pylock.toml",
		Checks:  []trust.Check{trust.CheckSource, trust.CheckIndex, trust.CheckPublish, trust.CheckProvenance, trust.CheckBytes},
		Offers:  trust.AssuranceNone,
	}
}

// Collect checks every file that the component states, or all files of the
// release if it states none.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	if e, ok := adapter.Elsewhere(c, "an index"); ok {
		return adapter.Only(e), nil
	}
	index, ok := a.cfg.index(c.Registry)
	if !ok {
		e := adapter.Refuted(trust.CheckSource, r, adapter.Stated(c), trust.ReasonForeignSource, "the lock file names the index %s, which the user's pip configuration does not have", c.Registry)
		e.Remedy = "add the index to pip.conf if it is yours, or restore the lock file"
		return adapter.Only(e), nil
	}
	if searched(c) {
		var err error
		index, err = a.search(ctx, c)
		if ctx.Err() != nil {
			return adapter.Result{}, ctx.Err()
		}
		if err != nil {
			e := adapter.Unverified(trust.CheckSource, r, adapter.Stated(c), err)
			if e.Reason == trust.ReasonForeignSource {
				e.Remedy = "find out where this version comes from: a stranger may have published your package's name; if it is right, use a lock file that states the index (uv.lock, pylock.toml)"
			}
			return adapter.Only(e), nil
		}
	}
	p, url, err := a.page(ctx, index, r.Package.Name)
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if err != nil {
		return adapter.Only(adapter.Unverified(trust.CheckIndex, r, adapter.Stated(c), err)), nil
	}
	res := adapter.Result{Facts: facts(p, r)}
	arts := c.Artifacts
	if len(arts) == 0 {
		for _, f := range p.files(r) {
			arts = append(arts, trust.Artifact{Name: f.Name, URL: f.URL})
		}
	}
	if len(arts) == 0 {
		e := adapter.Doubtful(trust.CheckIndex, r, trust.Artifact{}, trust.ReasonNotFound, "the index has no file of this version")
		e.Remedy = "check the name and the version; a release that was removed for malice looks like this too"
		res.Evidence, res.Facts.Unpublished = []trust.Evidence{e}, true
		return res, nil
	}
	for _, art := range arts {
		es, pub := a.file(ctx, req, index, url, p, art)
		if ctx.Err() != nil {
			return adapter.Result{}, ctx.Err()
		}
		res.Evidence = append(res.Evidence, es...)
		if res.Facts.Repository == "" {
			res.Facts.Repository = pub.repository()
		}
	}
	res.History = a.history(ctx, index, p, r, req.History)
	return res, ctx.Err()
}

// page asks the index for the project.
func (a *Adapter) page(ctx context.Context, index, project string) (*page, string, error) {
	u := index + url.PathEscape(project) + "/"
	resp, err := a.get.Get(ctx, upstream.Request{URL: u, Accept: acceptIndex, MaxBytes: MaxIndex})
	if err != nil {
		return nil, u, err
	}
	switch resp.Status {
	case http.StatusOK:
		p, err := parsePage(resp.Body, resp.Header.Get("Content-Type"), resp.URL, project)
		return p, resp.URL, err
	case http.StatusNotFound, http.StatusGone:
		return nil, u, trust.Undecidable(trust.ReasonNotFound, "the index knows no project of this name (HTTP %d)", resp.Status)
	}
	return nil, u, trust.Undecidable(trust.ReasonNetwork, "the index answered HTTP %d", resp.Status)
}

// files are the release's files, in the index's order.
func (p *page) files(r trust.Release) []indexFile {
	var fs []indexFile
	for _, f := range p.Files {
		if belongs(f.Name, r) == nil {
			fs = append(fs, f)
		}
	}
	return fs
}

// find returns the file of a name; wheels whose tags stand in another order are
// the same file. Two files of one name make both doubtful.
func (p *page) find(name, project string) (*indexFile, error) {
	want, err := parseFileName(name, project)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	var found *indexFile
	for i := range p.Files {
		d, err := parseFileName(p.Files[i].Name, project)
		if err != nil || d != want {
			continue
		}
		if found != nil {
			return nil, trust.Failure(trust.ReasonDuplicate, "the index lists %s twice", name)
		}
		found = &p.Files[i]
	}
	if found == nil {
		return nil, trust.Undecidable(trust.ReasonNotFound, "the index has no file %s", name)
	}
	return found, nil
}

// file makes all checks of one file.
func (a *Adapter) file(ctx context.Context, req adapter.Request, index, pageURL string, p *page, locked trust.Artifact) ([]trust.Evidence, publisher) {
	r := req.Component.Release
	if locked.Name == "" && locked.URL != "" {
		if u, err := url.Parse(locked.URL); err == nil {
			locked.Name = path.Base(u.Path)
		}
	}
	var f *indexFile
	err := error(nil)
	if locked.Name != "" {
		if err = belongs(locked.Name, r); err == nil {
			f, err = p.find(locked.Name, r.Package.Name)
		}
	} else if f = p.byDigest(r, locked.Digests); f == nil {
		err = trust.Failure(trust.ReasonWrongDigest, "no file of this version in the index has the digest that the source states")
	}
	if err != nil {
		e := adapter.Unverified(trust.CheckIndex, r, locked, err)
		e.Source = pageURL
		return []trust.Evidence{e}, publisher{}
	}
	var es []trust.Evidence
	if locked.Name == "" {
		locked.Name = f.Name
	}
	if locked.URL != "" && !sameFile(locked.URL, f.URL) && !(publicFile(locked.URL, f.Name) && a.cfg.mirrors(index)) {
		e := adapter.Refuted(trust.CheckSource, r, locked, trust.ReasonForeignSource, "the lock file takes the file from %s, the index serves it from %s", locked.URL, f.URL)
		e.Remedy = "restore the lock file's URL, or add the index that serves it to pip.conf"
		es = append(es, e)
	} else {
		es = append(es, trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: locked, Source: pageURL})
	}
	served := trust.Artifact{Name: locked.Name, URL: f.URL, Digests: f.Digests}
	e := adapter.CompareDigests(trust.CheckIndex, r, locked, served)
	e.Source = pageURL
	es = append(es, e)
	// Attestations are judged against what the project would install: the lock
	// file's digest, and the index's only where the source states none.
	subject := locked
	if len(locked.Digests) == 0 {
		subject.Digests = f.Digests
	}
	aes, pub := a.attestations(ctx, index, p, *f, r, subject, req.Component.Expect)
	es = append(es, aes...)
	if req.Bytes {
		es = append(es, a.bytes(ctx, r, *f, subject))
	}
	return es, pub
}

// byDigest finds a file by its digest, for SBOMs that name no files.
func (p *page) byDigest(r trust.Release, ds trust.Digests) *indexFile {
	for _, f := range p.files(r) {
		if ds.Compare(f.Digests) == trust.Agree {
			return &f
		}
	}
	return nil
}

// sameFile compares URLs without query and fragment.
func sameFile(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	return errA == nil && errB == nil && ua.Scheme == ub.Scheme && ua.Host == ub.Host && ua.Path == ub.Path
}

// fileHost is where the public index serves its files from.
const fileHost = "files.pythonhosted.org"

// publicFile reports whether a URL is that of a file of the public index. A lock
// file that was written without the user's mirror names it; its digest is
// compared with the mirror's like any other.
func publicFile(s, name string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host == fileHost && u.User == nil && path.Base(u.Path) == name
}

// attestations asks for the file's provenance and verifies every attestation.
func (a *Adapter) attestations(ctx context.Context, index string, p *page, f indexFile, r trust.Release, subject trust.Artifact, expect []map[string]string) ([]trust.Evidence, publisher) {
	if f.Provenance == "" {
		reason, why := trust.ReasonNotPublished, "the index has no attestations of this file"
		if !p.Attests {
			reason, why = trust.ReasonNotOffered, "this index does not serve attestations"
		}
		if len(expect) > 0 {
			return []trust.Evidence{adapter.Refuted(trust.CheckPublish, r, subject, trust.ReasonUntrustedSigner, "the lock file expects an attestation, and %s", why)}, publisher{}
		}
		return []trust.Evidence{adapter.Missing(trust.CheckPublish, r, subject, reason, "%s", why)}, publisher{}
	}
	fail := func(err error) ([]trust.Evidence, publisher) {
		return []trust.Evidence{adapter.Unverified(trust.CheckPublish, r, subject, err)}, publisher{}
	}
	u, err := integrityURL(index, f.Provenance, r, f.Name)
	if err != nil {
		return fail(err)
	}
	resp, err := a.get.Get(ctx, upstream.Request{URL: u, Accept: acceptIntegrity, MaxBytes: MaxProvenance})
	if err != nil {
		return fail(err)
	}
	if resp.Status != http.StatusOK {
		// The index's page just said that there is one: not having it is no absence.
		return fail(trust.Undecidable(trust.ReasonStripped, "the index's page promises attestations, the index answers HTTP %d for them", resp.Status))
	}
	atts, err := parseProvenance(resp.Body)
	if err != nil {
		return fail(err)
	}
	v, err := a.root(ctx, r.Package)
	if err != nil {
		return fail(err)
	}
	var es []trust.Evidence
	var pub publisher
	count := map[string]int{}
	for _, att := range atts {
		count[att.predicate]++
	}
	for _, att := range atts {
		check := trust.CheckPublish
		if att.predicate != sigstore.PredicatePyPIPublish {
			check = trust.CheckProvenance
		}
		e := verify(v, check, att, r, subject, expect)
		if count[att.predicate] > 1 { // neither of them can be told to be the right one
			e = adapter.Refuted(check, r, subject, trust.ReasonDuplicate, "the index serves two attestations of the type %s", att.predicate)
		}
		e.Source = resp.URL
		if e.Outcome == trust.Verified {
			pub = att.publisher
		}
		es = append(es, e)
	}
	return es, pub
}

// verify judges one attestation.
func verify(v *sigstore.Verifier, check trust.Check, att attestation, r trust.Release, subject trust.Artifact, expect []map[string]string) trust.Evidence {
	got, err := v.Verify(att.bundle, sigstore.Expectation{
		Artifact:       subject.Digests,
		SubjectName:    func(name string) error { return sameDistribution(name, subject.Name, r) },
		PredicateTypes: []string{sigstore.PredicatePyPIPublish, sigstore.PredicateProvenance1},
		Identity:       sigstore.CollectIdentityUnsafe(),
	})
	if err != nil {
		o, reason := sigstore.Classify(err)
		return trust.Evidence{Check: check, Outcome: o, Release: r, Artifact: subject, Reason: reason, Detail: err.Error()}
	}
	signer := got.Signer()
	slsa := check == trust.CheckProvenance
	if err = att.publisher.agrees(signer, slsa); err == nil {
		err = expected(expect, signer, slsa)
	}
	if err != nil {
		e := adapter.Unverified(check, r, subject, err)
		e.Signer = &signer
		return e
	}
	e := trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: subject, Assurance: trust.AssurancePublisher}
	if check == trust.CheckProvenance {
		e.Assurance = trust.AssuranceProvenance
	}
	got.Describe(&e, "attestation")
	return e
}

// sameDistribution compares the signed subject's name with the file's.
func sameDistribution(name, file string, r trust.Release) error {
	if err := belongs(name, r); err != nil {
		_, reason := trust.Classify(err)
		return sigstore.NameError(reason, "signed for %.100q: %v", name, err)
	}
	got, err := parseFileName(name, r.Package.Name)
	if err != nil {
		return sigstore.NameError(trust.ReasonMalformed, "%v", err)
	}
	want, err := parseFileName(file, r.Package.Name)
	if err != nil || got != want {
		return sigstore.NameError(trust.ReasonWrongSubject, "signed for the file %.100q, not for %s", name, file)
	}
	return nil
}

// bytes fetches the file and compares its digest.
func (a *Adapter) bytes(ctx context.Context, r trust.Release, f indexFile, want trust.Artifact) trust.Evidence {
	d := want.Digests.Strongest()
	if d.IsZero() {
		return adapter.Doubtful(trust.CheckBytes, r, want, trust.ReasonNoLockDigest, "neither the source nor the index states a usable digest of %s", f.Name)
	}
	b, err := a.get.Open(ctx, upstream.Request{URL: f.URL, MaxBytes: MaxFile, Want: d})
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		return adapter.Unverified(trust.CheckBytes, r, want, err)
	}
	return trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: want, Source: f.URL}
}

// Fetch hands out a file with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	index, ok := a.cfg.index(c.Registry)
	if !ok {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s: the index %s is not configured", c.Release, c.Registry)
	}
	d := art.Digests.Strongest()
	if d.IsZero() {
		return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch %s by", c.Release, art.Name)
	}
	if searched(c) {
		var err error
		if index, err = a.search(ctx, c); err != nil {
			return nil, err
		}
	}
	p, _, err := a.page(ctx, index, c.Release.Package.Name)
	if err != nil {
		return nil, err
	}
	f := p.byDigest(c.Release, art.Digests)
	if art.Name != "" {
		if err := belongs(art.Name, c.Release); err != nil {
			return nil, err
		}
		if f, err = p.find(art.Name, c.Release.Package.Name); err != nil {
			return nil, err
		}
	}
	if f == nil {
		return nil, trust.Undecidable(trust.ReasonNotFound, "%s: the index has no file with the digest %s", c.Release, d)
	}
	return a.get.Open(ctx, upstream.Request{URL: f.URL, MaxBytes: MaxFile, Want: d})
}

// facts are the index's unsigned word on the release.
func facts(p *page, r trust.Release) trust.Facts {
	var f trust.Facts
	published := map[string]time.Time{}
	for _, x := range p.Files {
		d, err := parseFileName(x.Name, r.Package.Name)
		if err != nil || d.name != r.Package.Name {
			continue
		}
		if t, ok := published[d.version]; !ok || x.Uploaded.Before(t) {
			published[d.version] = x.Uploaded
		}
		if sameVersion(d.version, r.Version) && x.Yanked != nil {
			f.Yanked = x.Yanked
		}
	}
	for v, t := range published {
		if sameVersion(v, r.Version) {
			f.Published = t
		}
	}
	f.Releases = len(published)
	for v, t := range published {
		if t.IsZero() {
			continue
		}
		if f.FirstRelease.IsZero() || t.Before(f.FirstRelease) {
			f.FirstRelease = t
		}
		if !sameVersion(v, r.Version) && t.Before(f.Published) && t.After(f.PrevRelease) {
			f.PrevRelease = t
		}
	}
	switch p.Status {
	case "", "active":
	case "deprecated", "archived":
		reason := strings.TrimSpace(p.Status + " " + p.StatusReason)
		f.Deprecated = &reason
	case "quarantined":
		reason := strings.TrimSpace("quarantined by the index " + p.StatusReason)
		f.Yanked = &reason
		f.Notes = append(f.Notes, "The index has quarantined this project.")
	default:
		f.Notes = append(f.Notes, "The index gives the project the status "+p.Status+".")
	}
	return f
}

// history reports on earlier releases: what the index claims for all, and what
// verifies for the newest few that claim something.
func (a *Adapter) history(ctx context.Context, index string, p *page, r trust.Release, n int) []trust.History {
	if n <= 0 {
		return nil
	}
	type earlier struct {
		h    trust.History
		file *indexFile
	}
	byVersion := map[string]*earlier{}
	var own time.Time
	for i, f := range p.Files {
		d, err := parseFileName(f.Name, r.Package.Name)
		if err != nil || d.name != r.Package.Name {
			continue
		}
		if sameVersion(d.version, r.Version) {
			if own.IsZero() || f.Uploaded.Before(own) {
				own = f.Uploaded
			}
			continue
		}
		e := byVersion[d.version]
		if e == nil {
			e = &earlier{h: trust.History{Version: d.version, Published: f.Uploaded}}
			byVersion[d.version] = e
		}
		if f.Provenance != "" && e.file == nil {
			e.file, e.h.Claimed = &p.Files[i], trust.AssurancePublisher
		}
	}
	var es []*earlier
	for _, e := range byVersion {
		if !own.IsZero() && !e.h.Published.IsZero() && e.h.Published.Before(own) {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(x, y *earlier) int {
		if c := y.h.Published.Compare(x.h.Published); c != 0 {
			return c
		}
		return strings.Compare(x.h.Version, y.h.Version)
	})
	es = es[:min(n, len(es))]
	checked := 0
	out := make([]trust.History, 0, len(es))
	for _, e := range es {
		if e.file != nil && checked < maxHistoryChecks && len(e.file.Digests) > 0 {
			checked++
			old := r
			old.Version = e.h.Version
			evidence, pub := a.attestations(ctx, index, p, *e.file, old, trust.Artifact{Name: e.file.Name, Digests: e.file.Digests}, nil)
			for _, ev := range evidence {
				if ev.Outcome == trust.Verified && ev.Signer != nil {
					e.h.Signers = append(e.h.Signers, *ev.Signer)
					e.h.Assurance = max(e.h.Assurance, ev.Assurance)
					e.h.Repository = pub.repository()
				}
			}
		}
		out = append(out, e.h)
	}
	return out
}
