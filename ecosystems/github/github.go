package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of what one component may cost.
const (
	MaxDocument         = 16 << 20 // bytes of one answer of the API
	MaxCompares         = 6        // comparisons of a commit with a ref, without a token
	MaxComparesAsserted = 60       // with one
	MaxTags             = 64       // tags of one commit that are named
	MaxPages            = 5        // pages of 100 refs, where only the API shows them
	pageSize            = 100
	// MinPause is how long the API is left alone after it asked for fewer requests
	// without saying for how long.
	MinPause = time.Minute
)

// Options are the outside world of an Adapter.
type Options struct {
	Get    upstream.Getter
	Clock  adapter.Clock
	Config Config
	// Public verifies build provenance: the public-good instance.
	Public adapter.Verifiers
	// GitHub verifies release attestations: GitHub's own instance, under its own
	// root. Nil if no such root is at hand. Neither stands in for the other.
	GitHub adapter.Verifiers
}

// Adapter checks git refs of repositories. It is safe for concurrent use.
type Adapter struct {
	o Options

	mu      sync.Mutex
	until   time.Time // the API is not asked before
	limited error     // what it said
}

// New returns an adapter. A zero Config is the public forge.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil || o.Public == nil {
		return nil, errors.New("the adapter of GitHub needs an upstream client, a clock and a verifier")
	}
	if o.Config.Server == "" && o.Config.API == "" {
		o.Config.Server, o.Config.API = DefaultServer, DefaultAPI
	}
	if o.Config.Server == "" || o.Config.API == "" {
		return nil, errors.New("the adapter of GitHub needs the URLs of both server and API")
	}
	o.Config.Certified = first(o.Config.Certified, o.Config.Server)
	return &Adapter{o: o}, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "GitHub", Types: []string{"github", "githubactions"}, Sources: []string{"workflows", "action.yml", "SBOMs"},
		Integrity: "commit hash, which a branch or tag of the named repository must lead to",
		Registry:  "release attestations of immutable releases (GitHub's own root)",
		Publisher: "build provenance of release assets, where the workflow made it",
		Binding:   "repository, tag and commit are signed in release attestations, the source repository in provenance",
		Checks:    []trust.Check{trust.CheckSource, trust.CheckLockfile, trust.CheckCommit, trust.CheckMetadata, trust.CheckRelease, trust.CheckProvenance},
		Offers:    trust.AssuranceNone,
	}
}

// names are what the server allows as owner and repository; anything else
// could become another path of a URL.
var (
	ownerName      = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9_])?$`)
	repositoryName = regexp.MustCompile(`^[a-z0-9._-]{1,100}$`)
)

// question is one component with what was found out about it so far.
type question struct {
	*Adapter
	c      sbom.Component
	r      trust.Release
	locked trust.Artifact // with the commit, once it is known
	ref    string         // as written
	commit string         // "" until it is known
	refs   *advertisement
	dates  map[string]time.Time
	res    adapter.Result
}

// Collect says whether the ref is a commit of the named repository, and what
// was signed about its release.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	q := &question{Adapter: a, c: req.Component, r: req.Component.Release, locked: adapter.Stated(req.Component), dates: map[string]time.Time{}}
	if e, ok := q.elsewhere(); ok {
		return adapter.Only(e), nil
	}
	if err := q.contradiction(); err != nil {
		q.add(adapter.Unverified(trust.CheckCommit, q.r, q.locked, err))
		return q.res, nil
	}
	refs, at, err := a.advertised(ctx, q.owner(), q.name())
	if ctx.Err() != nil {
		return adapter.Result{}, ctx.Err()
	}
	if err != nil {
		q.add(q.explain(adapter.Unverified(trust.CheckCommit, q.r, q.locked, err)))
		return q.res, nil
	}
	q.refs = refs
	q.add(trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: q.r, Artifact: q.locked, Source: a.o.Config.Server + "/" + q.path()})
	if rest, ok := strings.CutPrefix(at, a.o.Config.Server+"/"); ok {
		q.res.Facts.Repository = strings.ToLower(a.o.Config.Certified + "/" + rest)
	}
	q.res.Facts.Releases = len(refs.tags)
	q.res.Facts.LatestKnown = refs.latest()
	if !strings.EqualFold(at, a.o.Config.Server+"/"+q.path()) {
		q.note("the repository has moved to %s: whoever takes the old name takes its place; use the new one", at)
	}
	if isCommit(q.ref) {
		q.pinned(ctx)
	} else {
		q.unpinned()
	}
	if q.commit != "" {
		q.metadata(ctx)
		q.attestations(ctx)
		if req.Bytes || a.authenticated() {
			q.inner(ctx)
		}
	}
	return q.res, ctx.Err()
}

// parts are owner, repository and what is below. Package URLs of the type
// githubactions have an action's directory as a part of the name.
func (q *question) parts() (owner, repository, below string) {
	p := q.r.Package
	if p.Type != "githubactions" || !strings.Contains(p.Namespace, "/") {
		return p.Namespace, p.Name, q.r.Subpath
	}
	owner, rest, _ := strings.Cut(p.Namespace+"/"+p.Name, "/")
	repository, below, _ = strings.Cut(rest, "/")
	return owner, repository, first(q.r.Subpath, below)
}

func (q *question) owner() string { o, _, _ := q.parts(); return o }
func (q *question) name() string  { _, n, _ := q.parts(); return n }
func (q *question) below() string { _, _, b := q.parts(); return b }
func (q *question) path() string  { return q.owner() + "/" + q.name() }

func (q *question) add(es ...trust.Evidence) { q.res.Evidence = append(q.res.Evidence, es...) }

func (q *question) note(format string, args ...any) {
	q.res.Facts.Notes = append(q.res.Facts.Notes, fmt.Sprintf(format, args...))
}

func (a *Adapter) authenticated() bool { return len(a.o.Config.Credentials) > 0 }

// explain adds what a person can do about a refused or limited answer.
func (a *Adapter) explain(e trust.Evidence) trust.Evidence {
	if a.authenticated() {
		return e
	}
	switch e.Reason {
	case trust.ReasonRateLimited:
		e.Remedy = "set GH_TOKEN or GITHUB_TOKEN: the server answers few requests an hour without one"
	case trust.ReasonNotFound:
		e.Remedy = "check owner and name; if the repository is private, set GH_TOKEN or GITHUB_TOKEN"
	}
	return e
}

// elsewhere is the evidence about components that this server does not have.
func (q *question) elsewhere() (trust.Evidence, bool) {
	if q.c.Kind != sbom.KindGit { // a repository by its ref is what this adapter is for
		if e, ok := adapter.Elsewhere(q.c, "a repository of the forge by its ref"); ok {
			return e, true
		}
	}
	if s := strings.TrimRight(q.c.Registry, "/"); s != "" && s != q.o.Config.Server && s != q.o.Config.API {
		e := adapter.Refuted(trust.CheckSource, q.r, q.locked, trust.ReasonForeignSource, "the source names the server %s, which the user's environment does not", q.c.Registry)
		e.Remedy = "set GH_HOST to the server if it is yours"
		return e, true
	}
	if !ownerName.MatchString(q.owner()) || !repositoryName.MatchString(q.name()) || strings.Trim(q.name(), ".") == "" {
		return adapter.Doubtful(trust.CheckSource, q.r, q.locked, trust.ReasonMalformed, "%.200q names no repository", q.path()), true
	}
	q.ref = q.r.Version
	if q.c.Pinned && q.c.Commit != "" {
		q.ref = q.c.Commit
	}
	if q.ref == "" {
		e := adapter.Missing(trust.CheckCommit, q.r, q.locked, trust.ReasonNoLockDigest, "no ref is named: whatever the default branch has is taken")
		e.Remedy = "name a commit: " + q.path() + "@<commit>"
		return e, true
	}
	return trust.Evidence{}, false
}

// contradiction refuses a component whose version, commit and digest are not one.
func (q *question) contradiction() error {
	if l := strings.ToLower(q.ref); isCommit(l) {
		q.ref = l
	}
	d := q.locked.Digests.Get(trust.GitCommit)
	switch {
	case isCommit(q.ref) && isCommit(strings.ToLower(q.r.Version)) && strings.ToLower(q.r.Version) != q.ref:
		return trust.Failure(trust.ReasonWrongVersion, "the source names the commits %s and %s", q.r.Version, q.ref)
	case isCommit(q.ref) && !d.IsZero() && d.Value != q.ref:
		return trust.Failure(trust.ReasonWrongDigest, "the source names the commit %s and states the digest %s", q.ref, d)
	}
	return nil
}

// advertised returns the refs of a repository and the URL where they are. A
// repository that git does not show without credentials is asked for by the API,
// which alone gets the user's token.
func (a *Adapter) advertised(ctx context.Context, owner, name string) (*advertisement, string, error) {
	home := a.o.Config.Server + "/" + owner + "/" + name
	resp, err := a.o.Get.Get(ctx, upstream.Request{URL: home + ".git/info/refs?service=git-upload-pack", MaxBytes: MaxAdvertisement})
	var ue *upstream.Error
	hidden := errors.As(err, &ue) && ue.Kind == upstream.KindAuth
	switch {
	case err != nil && !hidden:
		return nil, "", err
	case hidden || resp.Status == http.StatusNotFound || resp.Status == http.StatusGone:
		if a.authenticated() {
			return a.listed(ctx, owner, name)
		}
		return nil, "", trust.Undecidable(trust.ReasonNotFound, "%s shows no repository %s/%s", a.o.Config.Server, owner, name)
	case resp.Status != http.StatusOK:
		return nil, "", trust.Undecidable(trust.ReasonNetwork, "%s answered HTTP %d for the refs", a.o.Config.Server, resp.Status)
	}
	ad, err := parseAdvertisement(resp.Body)
	if err != nil {
		return nil, "", err
	}
	at := home
	if u, err := url.Parse(resp.URL); err == nil {
		u.RawQuery = ""
		at = strings.TrimSuffix(strings.TrimSuffix(u.String(), "/info/refs"), ".git")
	}
	return ad, at, nil
}

// listed is advertised by the API.
func (a *Adapter) listed(ctx context.Context, owner, name string) (*advertisement, string, error) {
	base := "repos/" + owner + "/" + name
	var repo struct {
		DefaultBranch string `json:"default_branch"`
		FullName      string `json:"full_name"`
	}
	if err := a.api(ctx, base, nil, &repo); err != nil {
		return nil, "", err
	}
	ad := newAdvertisement()
	for what, m := range map[string]map[string]ref{"branches": ad.heads, "tags": ad.tags} {
		for page := 1; ; page++ {
			if page > MaxPages {
				ad.incomplete = true
				break
			}
			var list []struct {
				Name   string `json:"name"`
				Commit struct {
					SHA string `json:"sha"`
				} `json:"commit"`
			}
			if err := a.api(ctx, base+"/"+what, url.Values{"per_page": {fmt.Sprint(pageSize)}, "page": {fmt.Sprint(page)}}, &list); err != nil {
				return nil, "", err
			}
			for _, e := range list {
				if _, dup := m[e.Name]; dup || !isCommit(e.Commit.SHA) || !validRef(e.Name) {
					return nil, "", malformed("%s: %.100q", what, e.Name)
				}
				m[e.Name] = ref{e.Commit.SHA, e.Commit.SHA}
			}
			if len(list) < pageSize {
				break
			}
		}
	}
	if _, ok := ad.heads[repo.DefaultBranch]; ok {
		ad.head = repo.DefaultBranch
	}
	if repo.FullName == "" {
		return nil, "", malformed("the API names no repository")
	}
	return ad, a.o.Config.Server + "/" + repo.FullName, nil
}

// notFound is the API's word that something does not exist, or not for us.
var errNotFound = trust.Undecidable(trust.ReasonNotFound, "the API knows nothing of it")

// api reads one JSON document of the API.
func (a *Adapter) api(ctx context.Context, path string, query url.Values, into any) error {
	body, err := a.apiBytes(ctx, path, query, "application/vnd.github+json", MaxDocument)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "the API's answer for %s is malformed: %w", path, err)
	}
	return nil
}

func (a *Adapter) apiBytes(ctx context.Context, path string, query url.Values, accept string, limit int64) ([]byte, error) {
	u := a.o.Config.API + "/" + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	if err := a.paused(); err != nil {
		return nil, err
	}
	resp, err := a.o.Get.Get(ctx, upstream.Request{URL: u, Accept: accept, MaxBytes: limit})
	if err != nil {
		a.pause(err)
		return nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity, http.StatusConflict:
		return nil, fmt.Errorf("GET %s: %w", resp.URL, errNotFound)
	}
	return nil, trust.Undecidable(trust.ReasonNetwork, "GET %s: HTTP %d", resp.URL, resp.Status)
}

// paused is what the API said when it asked for fewer requests, for as long as
// that holds: asking on would only prolong it, for every package of a run.
func (a *Adapter) paused() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limited != nil && a.o.Clock().Before(a.until) {
		return a.limited
	}
	return nil
}

func (a *Adapter) pause(err error) {
	var ue *upstream.Error
	if !errors.As(err, &ue) || ue.Kind != upstream.KindRateLimited {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until, a.limited = a.o.Clock().Add(max(MinPause, ue.RetryAfter)), err
}

// unpinned says where a tag or branch leads today.
func (q *question) unpinned() {
	name := q.ref
	for _, p := range []string{"refs/tags/", "refs/heads/"} {
		name = strings.TrimPrefix(name, p)
	}
	tag, isTag := q.refs.tags[name]
	head, isHead := q.refs.heads[name]
	isTag = isTag && !strings.HasPrefix(q.ref, "refs/heads/")
	isHead = isHead && !strings.HasPrefix(q.ref, "refs/tags/")
	what := ""
	switch {
	case !isTag && !isHead:
		q.add(adapter.Doubtful(trust.CheckCommit, q.r, q.locked, trust.ReasonNotFound, "the repository has neither a tag nor a branch %.100q", name))
		q.res.Facts.Unpublished = true
		return
	case isTag && isHead && tag.commit != head.commit:
		what, q.commit = "both a tag and a branch, at different commits; the tag", tag.commit
	case isTag:
		what, q.commit = "a tag, which", tag.commit
	case version(name) != "":
		// THREATS: a branch named like a version.
		what, q.commit = "a branch that is named like a version, and", head.commit
	default:
		what, q.commit = "a branch, which", head.commit
	}
	q.res.Facts.VCSRef, q.res.Facts.VCSCommit = name, q.commit
	if q.locked.Digests.Strongest().IsZero() {
		// Files of the release stay what they are; a repository's tree gets its commit.
		q.locked.Digests = trust.Digests{commitDigest(q.commit)}
		q.add(adapter.Missing(trust.CheckLockfile, q.r, q.locked, trust.ReasonNoLockDigest, "the source names no commit"))
	}
	e := adapter.Missing(trust.CheckCommit, q.r, q.locked, trust.ReasonNoLockDigest, "%s is %s can be moved at any time; it leads to %s now", name, what, q.commit)
	e.Remedy = fmt.Sprintf("pin the commit: %s@%s # %s", q.uses(), q.commit, name)
	q.add(e)
}

// uses is the action as a workflow names it.
func (q *question) uses() string {
	if b := q.below(); b != "" {
		return q.path() + "/" + b
	}
	return q.path()
}

func commitDigest(commit string) trust.Digest {
	d, err := trust.NewDigest(trust.GitCommit, commit)
	if err != nil {
		return trust.Digest{}
	}
	return d
}

// pinned finds out whether the repository's own history has the commit.
func (q *question) pinned(ctx context.Context) {
	if q.locked.Digests.Get(trust.GitCommit).IsZero() {
		q.locked.Digests = append(slices.Clone(q.locked.Digests), commitDigest(q.ref))
	}
	ok := trust.Evidence{Check: trust.CheckCommit, Outcome: trust.Verified, Release: q.r, Artifact: q.locked, Source: q.o.Config.Server + "/" + q.path()}
	if tags, branches := q.refs.at(q.ref); len(tags)+len(branches) > 0 {
		q.commit = q.ref
		switch {
		case len(tags) > 0:
			ok.Detail, q.res.Facts.VCSRef = "the commit is tag "+strings.Join(tags[:min(len(tags), 3)], ", "), tags[0]
		default:
			ok.Detail, q.res.Facts.VCSRef = "the commit is the tip of branch "+branches[0], branches[0]
		}
		q.res.Facts.VCSCommit, q.res.Facts.VCSTags = q.commit, tags[:min(len(tags), MaxTags)]
		q.add(ok)
		return
	}
	e := q.reachable(ctx, ok)
	if e.Outcome == trust.Verified {
		q.commit = q.ref
		q.res.Facts.VCSCommit = q.commit
	}
	q.add(q.explain(e))
}

// reachable compares the commit with the repository's refs.
func (q *question) reachable(ctx context.Context, ok trust.Evidence) trust.Evidence {
	limit := MaxCompares
	if q.authenticated() {
		limit = MaxComparesAsserted
	}
	// Asked first: a commit that nobody has needs no comparison.
	if _, err := q.date(ctx, q.ref); errors.Is(err, errNotFound) {
		return adapter.Doubtful(trust.CheckCommit, q.r, q.locked, trust.ReasonNotFound, "%s has no such commit (any more)", q.path())
	} else if err != nil {
		return adapter.Unverified(trust.CheckCommit, q.r, q.locked, err)
	}
	bases, complete := q.refs.bases(limit)
	for _, base := range bases {
		within, err := q.within(ctx, base)
		if err != nil {
			return adapter.Unverified(trust.CheckCommit, q.r, q.locked, err)
		}
		if within {
			tags, branches := q.refs.at(base)
			ok.Detail = "the commit is in the history of " + first(append(branches, tags...)...)
			return ok
		}
	}
	pull := ""
	if n := q.refs.pulls[q.ref]; n != "" {
		pull = "; it is the tip of pull request " + n
	}
	if !complete {
		e := adapter.Doubtful(trust.CheckCommit, q.r, q.locked, trust.ReasonTooLarge, "the commit is in the history of none of the %d refs that were asked, of more%s", len(bases), pull)
		e.Remedy = "pin the commit of a tag"
		if !q.authenticated() {
			e.Remedy += ", or set GH_TOKEN or GITHUB_TOKEN, with which more refs are asked"
		}
		return e
	}
	e := adapter.Refuted(trust.CheckCommit, q.r, q.locked, trust.ReasonUntrustedRef,
		"no branch and no tag of %s leads to the commit: it comes from a fork, a pull request or a deleted branch, and the server shows it under this name all the same%s", q.path(), pull)
	e.Remedy = "pin the commit of a tag of the repository itself"
	return e
}

// within reports whether the history of base has the question's commit.
func (q *question) within(ctx context.Context, base string) (bool, error) {
	var cmp struct {
		Status     string `json:"status"`
		BaseCommit struct {
			SHA string `json:"sha"`
		} `json:"base_commit"`
		MergeBase struct {
			SHA string `json:"sha"`
		} `json:"merge_base_commit"`
	}
	err := q.api(ctx, "repos/"+q.path()+"/compare/"+base+"..."+q.ref, url.Values{"per_page": {"1"}}, &cmp)
	if errors.Is(err, errNotFound) {
		return false, nil // no common history
	}
	if err != nil {
		return false, err
	}
	switch cmp.Status {
	case "ahead", "diverged":
		return false, nil
	case "behind", "identical":
		if cmp.BaseCommit.SHA != base || cmp.MergeBase.SHA != q.ref {
			return false, trust.Undecidable(trust.ReasonMalformed, "the API calls %s an ancestor of %s and names the common one %.60q", q.ref, base, cmp.MergeBase.SHA)
		}
		return true, nil
	}
	return false, trust.Undecidable(trust.ReasonMalformed, "the API compares with the status %.60q", cmp.Status)
}

// date is when the commit can be known to have existed: the server's own time of
// checking its signature, or else what the committer claims.
func (q *question) date(ctx context.Context, commit string) (time.Time, error) {
	if at, ok := q.dates[commit]; ok {
		return at, nil
	}
	var c struct {
		SHA       string `json:"sha"`
		Committer struct {
			Date time.Time `json:"date"`
		} `json:"committer"`
		Verification struct {
			VerifiedAt *time.Time `json:"verified_at"`
		} `json:"verification"`
	}
	if err := q.api(ctx, "repos/"+q.path()+"/git/commits/"+commit, nil, &c); err != nil {
		return time.Time{}, err
	}
	if c.SHA != commit {
		return time.Time{}, trust.Undecidable(trust.ReasonMalformed, "the API answers for the commit %.60q", c.SHA)
	}
	at := c.Committer.Date
	if c.Verification.VerifiedAt != nil {
		at = *c.Verification.VerifiedAt
	}
	q.dates[commit] = at
	return at, nil
}

// metadata asks for what the server says of the release: hints.
func (q *question) metadata(ctx context.Context) {
	fail := func(err error) {
		q.add(q.explain(adapter.Unverified(trust.CheckMetadata, q.r, q.locked, err)))
	}
	at, err := q.date(ctx, q.commit)
	if err != nil {
		fail(err)
		return
	}
	ok := trust.Evidence{Check: trust.CheckMetadata, Outcome: trust.Verified, Release: q.r, Artifact: q.locked, Source: q.o.Config.API}
	tags, _ := q.refs.at(q.commit)
	if len(tags) == 0 {
		q.res.Facts.Published = at
		q.add(ok)
		return
	}
	var rel struct {
		TagName   string    `json:"tag_name"`
		Published time.Time `json:"published_at"`
		Immutable bool      `json:"immutable"`
		Author    struct {
			Login string `json:"login"`
		} `json:"author"`
	}
	err = q.api(ctx, "repos/"+q.path()+"/releases/tags/"+url.PathEscape(tags[0]), nil, &rel)
	switch {
	case errors.Is(err, errNotFound):
		q.note("tag %s is no release: its age is that of the commit, as the committer gives it", tags[0])
	case err != nil:
		fail(err)
		return
	case rel.TagName != tags[0]:
		fail(trust.Undecidable(trust.ReasonMalformed, "the API answers for the release %.100q", rel.TagName))
		return
	default:
		q.res.Facts.PublishedBy = rel.Author.Login
		if rel.Immutable {
			at = rel.Published
		} else {
			// The tag may have been moved after the release: the younger time counts.
			if rel.Published.After(at) {
				at = rel.Published
			}
			q.note("release %s is not immutable: its tag and its files can be replaced", tags[0])
		}
	}
	q.res.Facts.Published = at
	q.add(ok)
}
