package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func id(c string) string { return strings.Repeat(c, 40) }

var (
	tagged   = id("a") // tag v1.2.0 and v1
	tip      = id("b") // branch main
	ancient  = id("c") // in the history of main, no tip
	fork     = id("d") // in the object store, in nobody's history
	tagOne   = id("e") // object of the annotated tag v1.2.0
	gone     = id("f")
	asset    = "the asset's bytes"
	assetSum = sha256.Sum256([]byte(asset))
)

// forge is a server with git's advertisement and the REST API.
type forge struct {
	lines     []string // of the advertisement
	private   bool     // git asks for credentials
	compares  map[string]string
	commits   map[string]string // commit → verified_at
	files     map[string]string // path@commit → content
	bundles   map[string][]json.RawMessage
	byURL     bool // bundles are named by URL
	immutable bool
	moved     bool
	base      string
}

func newForge() *forge {
	return &forge{
		lines: []string{
			tip + " HEAD\x00multi_ack symref=HEAD:refs/heads/main agent=git/test",
			tip + " refs/heads/main",
			id("9") + " refs/heads/v9.9.9",
			fork + " refs/pull/7/head",
			tagged + " refs/tags/v1",
			tagOne + " refs/tags/v1.2.0",
			tagged + " refs/tags/v1.2.0^{}",
		},
		compares:  map[string]string{tip + "..." + ancient: "behind", tip + "..." + fork: "diverged", id("9") + "..." + fork: "ahead", tagged + "..." + fork: "diverged"},
		commits:   map[string]string{tagged: "2026-03-01T00:00:00Z", tip: "2026-04-01T00:00:00Z", ancient: "2025-03-01T00:00:00Z", fork: "2026-05-30T00:00:00Z", id("9"): "2026-01-01T00:00:00Z"},
		files:     map[string]string{},
		bundles:   map[string][]json.RawMessage{},
		immutable: true,
	}
}

func advertise(lines []string) []byte {
	var b strings.Builder
	pkt := func(s string) { fmt.Fprintf(&b, "%04x%s", len(s)+4, s) }
	pkt("# service=git-upload-pack\n")
	b.WriteString("0000")
	for _, l := range lines {
		pkt(l + "\n")
	}
	b.WriteString("0000")
	return []byte(b.String())
}

func (f *forge) handler(t testing.TB) http.Handler {
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Log(err) // the client hung up
		}
	}
	git := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("service") != "git-upload-pack" {
			http.Error(w, "dumb", http.StatusForbidden)
			return
		}
		if f.private {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(advertise(f.lines))
	}
	mux.HandleFunc("/new/home.git/info/refs", git)
	mux.HandleFunc("/acme/widget.git/info/refs", func(w http.ResponseWriter, r *http.Request) {
		if f.moved {
			http.Redirect(w, r, "/new/home.git/info/refs?service=git-upload-pack", http.StatusMovedPermanently)
			return
		}
		git(w, r)
	})
	api := "/api/repos/acme/widget"
	mux.HandleFunc(api, func(w http.ResponseWriter, r *http.Request) {
		write(w, map[string]string{"default_branch": "main", "full_name": "Acme/widget"})
	})
	mux.HandleFunc(api+"/branches", func(w http.ResponseWriter, r *http.Request) {
		write(w, []any{map[string]any{"name": "main", "commit": map[string]string{"sha": tip}}})
	})
	mux.HandleFunc(api+"/tags", func(w http.ResponseWriter, r *http.Request) {
		write(w, []any{map[string]any{"name": "v1.2.0", "commit": map[string]string{"sha": tagged}}})
	})
	mux.HandleFunc(api+"/git/commits/", func(w http.ResponseWriter, r *http.Request) {
		sha := filepath.Base(r.URL.Path)
		at, ok := f.commits[sha]
		if !ok {
			http.NotFound(w, r)
			return
		}
		write(w, map[string]any{"sha": sha, "committer": map[string]string{"date": "2001-01-01T00:00:00Z"}, "verification": map[string]any{"verified": true, "verified_at": at}})
	})
	mux.HandleFunc(api+"/compare/", func(w http.ResponseWriter, r *http.Request) {
		status, ok := f.compares[filepath.Base(r.URL.Path)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		base, head, _ := strings.Cut(filepath.Base(r.URL.Path), "...")
		merge := head
		if status == "diverged" || status == "ahead" {
			merge = id("1")
		}
		write(w, map[string]any{"status": status, "base_commit": map[string]string{"sha": base}, "merge_base_commit": map[string]string{"sha": merge}})
	})
	mux.HandleFunc(api+"/releases/tags/v1.2.0", func(w http.ResponseWriter, r *http.Request) {
		write(w, map[string]any{"tag_name": "v1.2.0", "published_at": "2026-02-01T00:00:00Z", "immutable": f.immutable, "author": map[string]string{"login": "robot"}})
	})
	mux.HandleFunc("/api/repos/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/api/repos/")
		if content, ok := f.files[name+"@"+r.URL.Query().Get("ref")]; ok && r.Header.Get("Accept") == "application/vnd.github.raw+json" {
			fmt.Fprint(w, content)
			return
		}
		http.NotFound(w, r)
	})
	mux.HandleFunc(api+"/attestations/", func(w http.ResponseWriter, r *http.Request) {
		var list []any
		for i, b := range f.bundles[filepath.Base(r.URL.Path)] {
			if f.byURL {
				list = append(list, map[string]any{"bundle": nil, "bundle_url": fmt.Sprintf("%s/blob/%s/%d", f.base, filepath.Base(r.URL.Path), i)})
			} else {
				list = append(list, map[string]any{"bundle": b, "repository_id": 1001})
			}
		}
		if list == nil {
			http.NotFound(w, r)
			return
		}
		write(w, map[string]any{"attestations": list})
	})
	mux.HandleFunc("/blob/{digest}/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		w.Write(snappy.Encode(nil, f.bundles[r.PathValue("digest")][n]))
	})
	return mux
}

// roots are two Sigstore instances: the public one and GitHub's.
type roots struct{ public, github *sigstoretest.World }

func newRoots(t testing.TB) roots {
	return roots{sigstoretest.New(t, adaptertest.Now), sigstoretest.New(t, adaptertest.Now)}
}

func verifiers(t testing.TB, w *sigstoretest.World, make func(*sigstore.Root) (*sigstore.Verifier, error)) adapter.Verifiers {
	t.Helper()
	r, err := sigstore.LoadTrustedRoot(w.TrustedRoot(), sigstore.RootOptions{Obtained: w.Now, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := make(r)
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil }
}

func release(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// component is what the reader of workflows makes of a pinned action.
func component(t testing.TB, ref string) sbom.Component {
	c := sbom.Component{Release: release(t, "pkg:github/Acme/widget@"+ref), Kind: sbom.KindRegistry, Commit: ref}
	if d := commitDigest(ref); !d.IsZero() {
		c.Pinned, c.Artifacts = true, []trust.Artifact{{Digests: trust.Digests{d}}}
	}
	return c
}

func (f *forge) at(t testing.TB, env *adaptertest.Env, rs roots, c sbom.Component, token bool) adaptertest.World {
	mux := http.NewServeMux()
	f.base = env.Serve(mux)
	mux.Handle("/", f.handler(t))
	o := Options{Get: env.Getter(), Clock: env.Clock, Config: Config{Server: f.base, API: f.base + "/api", Certified: DefaultServer}}
	if token {
		o.Config.Credentials = upstream.Scopes{{Host: "unused.example.com", Header: "x"}}
	}
	o.Public = verifiers(t, rs.public, sigstore.NewVerifier)
	o.GitHub = verifiers(t, rs.github, sigstore.NewGitHubPrivateVerifier)
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return adaptertest.World{Adapter: a, Request: adapter.Request{Component: c}}
}

// attested is a release attestation as GitHub writes it.
type attested struct {
	repository, tag, commit, sum string
	signer                       *sigstoretest.World
	san                          string
	predicate                    string
	fault                        sigstoretest.Fault
}

func (at attested) bundle() json.RawMessage {
	purl := "pkg:github/" + at.repository + "@" + at.tag
	statement, err := json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": at.predicate,
		"subject":   []any{map[string]any{"uri": purl, "digest": map[string]string{"sha1": at.commit}}, map[string]any{"name": "widget.tar.gz", "digest": map[string]string{"sha256": at.sum}}},
		"predicate": map[string]string{"databaseId": "1", "ownerId": "501", "packageId": "1001", "repositoryId": "1001", "repository": at.repository, "tag": at.tag, "purl": purl},
	})
	if err != nil {
		panic(err)
	}
	return at.signer.Bundle(sigstoretest.Options{Statement: statement, Private: true, Identity: sigstoretest.Identity{URI: at.san}, Fault: at.fault})
}

func genuine(rs roots) attested {
	return attested{"Acme/widget", "v1.2.0", tagOne, hex.EncodeToString(assetSum[:]), rs.github, "https://dotcom.releases.github.com", PredicateRelease02, ""}
}

func provenance(w *sigstoretest.World, flow sigstoretest.Workflow, name, content string, fault sigstoretest.Fault) json.RawMessage {
	return w.Bundle(sigstoretest.Options{Fault: fault, Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf(name, []byte(content)))})
}

func TestCommits(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckCommit},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			f, c := newForge(), component(t, tagged)
			switch env.Scenario {
			case adaptertest.WrongName:
				c = component(t, fork)
			case adaptertest.WrongVersion:
				c.Release.Version = tip
			case adaptertest.WrongDigest:
				c.Artifacts[0].Digests = trust.Digests{commitDigest(tip)}
			case adaptertest.Stripped:
				c = component(t, gone)
			case adaptertest.Duplicate:
				f.lines = append(f.lines, tip+" refs/tags/v1")
			case adaptertest.Replayed: // the repository as it was before the commit
				f.lines = []string{ancient + " HEAD\x00symref=HEAD:refs/heads/main", ancient + " refs/heads/main"}
				f.compares[ancient+"..."+tagged] = "ahead"
			}
			return f.at(t, env, newRoots(t), c, false)
		},
		Skip: map[adaptertest.Scenario]string{
			adaptertest.ForeignSigner: "a commit is named, not signed",
			adaptertest.Expired:       "a commit has no end",
		},
	})
}

func TestReleases(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckRelease, trust.CheckProvenance},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			f, rs := newForge(), newRoots(t)
			at, flow, sum := genuine(rs), sigstoretest.Workflow{Repository: "Acme/widget", Ref: "refs/tags/v1.2.0"}, "sha256:"+hex.EncodeToString(assetSum[:])
			signer, name, content := rs.public, "widget.tar.gz", asset
			switch env.Scenario {
			case adaptertest.WrongName:
				at.repository, flow.Repository = "acme/gadget", "acme/gadget"
			case adaptertest.WrongVersion:
				at.tag, flow.Ref = "v1.1.0", "refs/tags/v1.1.0"
			case adaptertest.WrongDigest:
				at.sum, content = hex.EncodeToString(make([]byte, 32)), "other bytes"
			case adaptertest.Expired:
				at.fault = sigstoretest.FaultExpired
			case adaptertest.Replayed: // of the commit and the file that the tag had before
				at.commit, content = ancient, "the earlier file"
			case adaptertest.ForeignSigner:
				at.signer, signer = sigstoretest.New(t, adaptertest.Now), sigstoretest.New(t, adaptertest.Now)
			}
			f.bundles[sum] = []json.RawMessage{at.bundle(), provenance(signer, flow, name, content, at.fault)}
			switch env.Scenario {
			case adaptertest.Stripped:
				f.bundles = nil
			case adaptertest.Duplicate:
				flow.Path = ".github/workflows/other.yml"
				f.bundles[sum] = append(f.bundles[sum], at.bundle(), provenance(signer, flow, name, content, at.fault))
			}
			c := sbom.Component{Release: release(t, "pkg:github/acme/widget@v1.2.0"), Kind: sbom.KindRegistry,
				Artifacts: []trust.Artifact{{Name: "widget.tar.gz", Digests: trust.Digests{trust.DigestOf(trust.SHA256, assetSum[:])}}}}
			return f.at(t, env, rs, c, false)
		},
		// Without the refs there is no tag to ask about: the commit check says why.
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			adaptertest.WrongVersion: {Some: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonWrongVersion}},
			adaptertest.Duplicate:    {Some: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonDuplicate}},
		},
	})
}

func collect(t *testing.T, w adaptertest.World) adapter.Result {
	t.Helper()
	res, err := w.Adapter.Collect(context.Background(), w.Request)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func find(t *testing.T, res adapter.Result, c trust.Check) trust.Evidence {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	t.Fatalf("no %s evidence: %+v", c, res.Evidence)
	return trust.Evidence{}
}

func ask(t *testing.T, f *forge, c sbom.Component, token bool) (adapter.Result, *adaptertest.Env) {
	t.Helper()
	env := adaptertest.NewEnv(t, adaptertest.Right)
	return collect(t, f.at(t, env, newRoots(t), c, token)), env
}

func TestAncestorIsReachable(t *testing.T) {
	res, _ := ask(t, newForge(), component(t, ancient), false)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Verified || !strings.Contains(e.Detail, "main") {
		t.Errorf("%+v", e)
	}
}

// TestImpostorCommit: the server shows a fork's commit under the repository's
// name, and its pull request's ref is advertised; neither makes it the repository's.
func TestImpostorCommit(t *testing.T) {
	res, _ := ask(t, newForge(), component(t, fork), false)
	e := find(t, res, trust.CheckCommit)
	if e.Outcome != trust.Failed || e.Reason != trust.ReasonUntrustedRef || !strings.Contains(e.Detail, "pull request 7") {
		t.Errorf("%+v", e)
	}
}

// TestContradictoryComparison: "behind" alone is not taken for an answer.
func TestContradictoryComparison(t *testing.T) {
	f := newForge()
	f.compares[tip+"..."+fork] = "nonsense"
	res, _ := ask(t, f, component(t, fork), false)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Unreachable || e.Reason != trust.ReasonMalformed {
		t.Errorf("%+v", e)
	}
}

func TestComparisonsAreBounded(t *testing.T) {
	for _, c := range []struct {
		branches int
		token    bool
		want     trust.Outcome
	}{{MaxCompares, false, trust.Failed}, {MaxCompares + 1, false, trust.Unreachable}, {MaxCompares + 1, true, trust.Failed}, {MaxComparesAsserted + 1, true, trust.Unreachable}} {
		f := newForge()
		f.lines = []string{fmt.Sprintf("%040x HEAD\x00symref=HEAD:refs/heads/b0", 1)}
		for i := range c.branches {
			f.lines = append(f.lines, fmt.Sprintf("%040x refs/heads/b%d", i+1, i))
		}
		res, env := ask(t, f, component(t, fork), c.token)
		e := find(t, res, trust.CheckCommit)
		if e.Outcome != c.want {
			t.Errorf("%d branches, token %v: %+v", c.branches, c.token, e)
		}
		if limit := map[bool]int{false: MaxCompares, true: MaxComparesAsserted}[c.token]; env.Requests() > limit+2 {
			t.Errorf("%d requests", env.Requests())
		}
		if c.want == trust.Unreachable && e.Remedy == "" {
			t.Error("no remedy")
		}
	}
}

func TestUnpinned(t *testing.T) {
	c := component(t, "v1")
	c.Release.Subpath = "sub"
	res, _ := ask(t, newForge(), c, false)
	e := find(t, res, trust.CheckCommit)
	if e.Outcome != trust.Absent || e.Remedy != "pin the commit: acme/widget/sub@"+tagged+" # v1" {
		t.Errorf("%+v", e)
	}
	if find(t, res, trust.CheckLockfile).Reason != trust.ReasonNoLockDigest {
		t.Error("the missing digest is not said")
	}
	c = component(t, "nowhere")
	res, _ = ask(t, newForge(), c, false)
	if e := find(t, res, trust.CheckCommit); e.Reason != trust.ReasonNotFound || !res.Facts.Unpublished {
		t.Errorf("%+v", e)
	}
}

func TestThreat074BranchNamedLikeAVersion(t *testing.T) {
	res, _ := ask(t, newForge(), component(t, "v9.9.9"), false)
	e := find(t, res, trust.CheckCommit)
	if e.Outcome != trust.Absent || !strings.Contains(e.Detail, "branch that is named like a version") {
		t.Errorf("%+v", e)
	}
	f := newForge()
	f.lines = append(f.lines, tip+" refs/tags/v9.9.9")
	res, _ = ask(t, f, component(t, "v9.9.9"), false)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Absent || !strings.Contains(e.Detail, "both a tag and a branch") {
		t.Errorf("%+v", e)
	}
}

func TestFacts(t *testing.T) {
	f := newForge()
	res, _ := ask(t, f, component(t, tagged), false)
	x := res.Facts
	if x.Published.Month() != 2 || x.VCSRef != "v1.2.0" || x.VCSCommit != tagged || x.PublishedBy != "robot" || x.LatestKnown != "v1.2.0" || x.Releases != 2 {
		t.Errorf("%+v", x)
	}
	// A tag of a mutable release may have been moved: the commit's age counts.
	f.immutable = false
	if res, _ := ask(t, f, component(t, tagged), false); res.Facts.Published.Month() != 3 || len(res.Facts.Notes) == 0 {
		t.Errorf("%+v", res.Facts)
	}
	f.moved = true
	if res, _ := ask(t, f, component(t, tagged), false); !strings.HasSuffix(res.Facts.Repository, "/new/home") || !strings.Contains(strings.Join(res.Facts.Notes, " "), "moved") {
		t.Errorf("%+v", res.Facts)
	}
}

func TestPrivateRepository(t *testing.T) {
	f := newForge()
	f.private = true
	res, _ := ask(t, f, component(t, tagged), false)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Unreachable || !strings.Contains(e.Remedy, "GH_TOKEN") {
		t.Errorf("%+v", e)
	}
	res, _ = ask(t, f, component(t, tagged), true)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
	res, _ = ask(t, f, component(t, fork), true)
	if e := find(t, res, trust.CheckCommit); e.Outcome != trust.Failed {
		t.Errorf("%+v", e)
	}
}

func TestReleaseOfACommit(t *testing.T) {
	rs := newRoots(t)
	for what, c := range map[string]struct {
		edit func(*attested)
		want trust.Reason
	}{
		"genuine":         {func(*attested) {}, ""},
		"commit":          {func(a *attested) { a.commit = tagged }, ""},
		"v0.1":            {func(a *attested) { a.predicate = PredicateRelease01 }, ""},
		"other tag":       {func(a *attested) { a.tag = "v3.0.0" }, trust.ReasonWrongVersion},
		"other repo":      {func(a *attested) { a.repository = "acme/gadget" }, trust.ReasonWrongName},
		"other commit":    {func(a *attested) { a.commit = fork }, trust.ReasonWrongSubject},
		"other service":   {func(a *attested) { a.san = "https://evil.releases.github.com" }, trust.ReasonUntrustedSigner},
		"another service": {func(a *attested) { a.san = "https://dotcom.releases.github.com.evil.example" }, trust.ReasonUntrustedSigner},
		"public instance": {func(a *attested) { a.signer = rs.public }, trust.ReasonUntrustedSigner},
	} {
		f, at := newForge(), genuine(rs)
		c.edit(&at)
		f.bundles["sha1:"+tagOne] = []json.RawMessage{at.bundle()}
		f.byURL = what == "commit"
		env := adaptertest.NewEnv(t, adaptertest.Right)
		e := find(t, collect(t, f.at(t, env, rs, component(t, tagged), false)), trust.CheckRelease)
		if e.Reason != c.want || (c.want == "") != (e.Outcome == trust.Verified) {
			t.Errorf("%s: %s %s: %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if e.Assurance != trust.AssuranceNone {
			t.Errorf("%s: a SHA-1 commit got assurance %s", what, e.Assurance)
		}
	}
}

// TestNoFallbackBetweenInstances: what one instance cannot judge the other does
// not get to see.
func TestNoFallbackBetweenInstances(t *testing.T) {
	rs, f := newRoots(t), newForge()
	sum := "sha256:" + hex.EncodeToString(assetSum[:])
	flow := sigstoretest.Workflow{Repository: "acme/widget", Ref: "refs/tags/v1.2.0"}
	f.bundles[sum] = []json.RawMessage{rs.github.Bundle(sigstoretest.Options{Private: true, Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf("widget.tar.gz", []byte(asset)))})}
	c := sbom.Component{Release: release(t, "pkg:github/acme/widget@v1.2.0"), Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA256, assetSum[:])}}}}
	w := f.at(t, adaptertest.NewEnv(t, adaptertest.Right), rs, c, false)
	if e := find(t, collect(t, w), trust.CheckProvenance); e.Outcome != trust.Unreachable {
		t.Errorf("%+v", e)
	}
	w.Adapter.(*Adapter).o.GitHub = w.Adapter.(*Adapter).o.Public
	f.bundles[sum] = []json.RawMessage{genuine(rs).bundle()}
	if e := find(t, collect(t, w), trust.CheckRelease); e.Outcome != trust.Unreachable {
		t.Errorf("%+v", e)
	}
	w.Adapter.(*Adapter).o.GitHub = nil
	if e := find(t, collect(t, w), trust.CheckRelease); e.Reason != trust.ReasonExpiredRoot {
		t.Errorf("%+v", e)
	}
}

func TestInnerRefs(t *testing.T) {
	f := newForge()
	f.files["acme/widget/contents/sub/action.yml@"+tagged] = "runs:\n  using: composite\n  steps:\n    - uses: acme/other@" + tip + "\n    - uses: acme/loose@v3\n    - uses: docker://registry.example.com/x:latest\n    - run: x\n"
	f.files["acme/other/contents/action.yaml@"+tip] = "runs:\n  using: composite\n  steps:\n    - uses: acme/deep@main\n    - uses: acme/other@" + tip + "\n"
	c := component(t, tagged)
	c.Release.Subpath = "sub"
	res, _ := ask(t, f, c, true)
	notes := strings.Join(res.Facts.Notes, "\n")
	for _, want := range []string{"acme/widget/sub itself runs github/acme/loose@v3", "acme/other itself runs github/acme/deep@main", "registry.example.com"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in:\n%s", want, notes)
		}
	}
	if res, _ := ask(t, f, c, false); strings.Contains(strings.Join(res.Facts.Notes, ""), "itself runs") {
		t.Error("requests were spent without a token")
	}
}

func TestInnerRefsAreBounded(t *testing.T) {
	f := newForge()
	var b strings.Builder
	b.WriteString("runs:\n  using: composite\n  steps:\n")
	for i := range MaxInnerFiles + 5 {
		fmt.Fprintf(&b, "    - uses: acme/x%d@%s\n", i, tip)
		f.files[fmt.Sprintf("acme/x%d/contents/action.yml@%s", i, tip)] = "runs:\n  using: node20\n"
	}
	f.files["acme/widget/contents/action.yml@"+tagged] = b.String()
	res, env := ask(t, f, component(t, tagged), true)
	if !slices.ContainsFunc(res.Facts.Notes, func(s string) bool { return strings.Contains(s, "not looked at") }) || env.Requests() > MaxInnerFiles+8 {
		t.Errorf("%d requests, notes %q", env.Requests(), res.Facts.Notes)
	}
}

func TestNothingIsAskedForOthersBusiness(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newForge().at(t, env, newRoots(t), component(t, tagged), false)
	for _, edit := range []func(*sbom.Component){
		func(c *sbom.Component) { c.Kind = sbom.KindPath },
		func(c *sbom.Component) { c.Kind = sbom.KindURL },
		func(c *sbom.Component) { c.Registry = "https://forge.example.com" },
		func(c *sbom.Component) { c.Release.Package.Name = ".." },
		func(c *sbom.Component) { c.Release.Package.Namespace = "a/b" },
		func(c *sbom.Component) { c.Release.Package.Name = "x?y" },
		func(c *sbom.Component) { c.Release.Version, c.Commit, c.Pinned = "", "", false },
	} {
		x := w
		x.Request.Component = component(t, tagged)
		edit(&x.Request.Component)
		for _, e := range collect(t, x).Evidence {
			if e.Outcome == trust.Verified {
				t.Errorf("%+v", e)
			}
		}
	}
	if env.Requests() != 0 {
		t.Errorf("%d requests", env.Requests())
	}
}

func TestRateLimitNamesTheToken(t *testing.T) {
	res := collect(t, newForge().at(t, adaptertest.NewEnv(t, adaptertest.RateLimited), newRoots(t), component(t, tagged), false))
	if e := find(t, res, trust.CheckCommit); e.Reason != trust.ReasonRateLimited || !strings.Contains(e.Remedy, "GITHUB_TOKEN") {
		t.Errorf("%+v", e)
	}
}

// TestThePauseIsKept: one package of a run is told, the others do not ask again.
func TestThePauseIsKept(t *testing.T) {
	env, asked, now := adaptertest.NewEnv(t, adaptertest.Right), 0, adaptertest.Now
	f := newForge()
	git := f.handler(t)
	base := env.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") {
			git.ServeHTTP(w, r)
			return
		}
		asked++
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.WriteHeader(http.StatusForbidden)
	}))
	rs := newRoots(t)
	a, err := New(Options{Get: env.Getter(), Clock: func() time.Time { return now }, Config: Config{Server: base, API: base + "/api"}, Public: verifiers(t, rs.public, sigstore.NewVerifier)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		res, err := a.Collect(context.Background(), adapter.Request{Component: component(t, ancient)})
		if err != nil {
			t.Fatal(err)
		}
		if e := find(t, res, trust.CheckCommit); e.Reason != trust.ReasonRateLimited {
			t.Errorf("%+v", e)
		}
	}
	ask()
	first := asked
	ask()
	if asked != first || first == 0 {
		t.Errorf("asked %d times, then %d more", first, asked-first)
	}
	now = now.Add(MinPause - 1)
	if ask(); asked != first {
		t.Error("asked before the pause was over")
	}
	now = now.Add(1)
	if ask(); asked == first {
		t.Error("never asked again")
	}
}

func TestThreat069RefsThatDeceive(t *testing.T) {
	for _, ref := range []string{"v1\u2028", "v1\u00a0", "v\uff11", "v1\u202e"} {
		c := component(t, "v1")
		c.Release.Version, c.Commit = ref, ref
		res, _ := ask(t, newForge(), c, false)
		for _, e := range res.Evidence {
			if e.Check != trust.CheckSource && e.Outcome == trust.Verified || strings.Contains(e.Remedy, tagged) {
				t.Errorf("%q: %+v", ref, e)
			}
		}
	}
}

func ofAsset(t *testing.T, rs roots, bundles ...json.RawMessage) trust.Evidence {
	t.Helper()
	f := newForge()
	f.bundles["sha256:"+hex.EncodeToString(assetSum[:])] = bundles
	c := sbom.Component{Release: release(t, "pkg:github/acme/widget@v1.2.0"), Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Name: "widget.tar.gz", Digests: trust.Digests{trust.DigestOf(trust.SHA256, assetSum[:])}}}}
	return find(t, collect(t, f.at(t, adaptertest.NewEnv(t, adaptertest.Right), rs, c, false)), trust.CheckProvenance)
}

// TestThreat016ReusableWorkflow: the signing workflow may be anybody's; whose
// source was built is what counts.
func TestThreat016ReusableWorkflow(t *testing.T) {
	rs := newRoots(t)
	builder := "https://github.com/acme/widget/.github/workflows/build.yml@refs/tags/v1"
	own := sigstoretest.Workflow{Repository: "acme/widget", Ref: "refs/tags/v1.2.0", Builder: builder}
	if e := ofAsset(t, rs, provenance(rs.public, own, "widget.tar.gz", asset, "")); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
	foreign := sigstoretest.Workflow{Repository: "evil/widget", RepoID: "9", OwnerID: "8", Ref: "refs/tags/v1.2.0", Builder: builder}
	if e := ofAsset(t, rs, provenance(rs.public, foreign, "widget.tar.gz", asset, "")); e.Outcome != trust.Failed || e.Reason != trust.ReasonWrongName {
		t.Errorf("%+v", e)
	}
}

func TestThreat020OneBadAttestationAmongGood(t *testing.T) {
	rs := newRoots(t)
	flow := sigstoretest.Workflow{Repository: "acme/widget", Ref: "refs/tags/v1.2.0"}
	good := provenance(rs.public, flow, "widget.tar.gz", asset, "")
	bad := provenance(sigstoretest.New(t, adaptertest.Now), flow, "widget.tar.gz", asset, "")
	for _, order := range [][]json.RawMessage{{good, bad}, {bad, good}} {
		if e := ofAsset(t, rs, order...); e.Outcome != trust.Failed {
			t.Errorf("%+v", e)
		}
	}
	if e := ofAsset(t, rs, good, good); e.Outcome != trust.Verified {
		t.Errorf("a repetition: %+v", e)
	}
}

func TestThreat100EndlessAttestations(t *testing.T) {
	rs := newRoots(t)
	many := make([]json.RawMessage, MaxAttestations)
	for i := range many {
		many[i] = json.RawMessage("{}")
	}
	f := newForge()
	f.bundles["sha1:"+tagOne] = many
	e := find(t, collect(t, f.at(t, adaptertest.NewEnv(t, adaptertest.Right), rs, component(t, tagged), false)), trust.CheckRelease)
	if e.Outcome != trust.Unreachable || e.Reason != trust.ReasonTooLarge {
		t.Errorf("%+v", e)
	}
	f.bundles["sha1:"+tagOne] = many[1:]
	if e := find(t, collect(t, f.at(t, adaptertest.NewEnv(t, adaptertest.Right), rs, component(t, tagged), false)), trust.CheckRelease); e.Reason != trust.ReasonNotPublished {
		t.Errorf("below the bound: %+v", e)
	}
}

func TestActionInADirectory(t *testing.T) {
	c := component(t, "v1")
	c.Release = release(t, "pkg:githubactions/acme/widget/sub@v1")
	res, _ := ask(t, newForge(), c, false)
	if e := find(t, res, trust.CheckCommit); e.Remedy != "pin the commit: acme/widget/sub@"+tagged+" # v1" {
		t.Errorf("%+v", e)
	}
}

func TestConfigFromEnv(t *testing.T) {
	for _, c := range []struct {
		env            map[string]string
		server, api    string
		host, path, to string // of the credential
		err            bool
	}{
		{env: map[string]string{}, server: DefaultServer, api: DefaultAPI},
		{env: map[string]string{"GITHUB_TOKEN": "s3cret"}, server: DefaultServer, api: DefaultAPI, host: strings.TrimPrefix(DefaultAPI, "https://")},
		{env: map[string]string{"GH_HOST": "forge.example.com", "GITHUB_TOKEN": "s3cret"}, server: "https://forge.example.com", api: "https://forge.example.com/api/v3"},
		{env: map[string]string{"GH_HOST": "forge.example.com", "GH_ENTERPRISE_TOKEN": "s3cret"}, server: "https://forge.example.com", api: "https://forge.example.com/api/v3", host: "forge.example.com", path: "api/v3"},
		{env: map[string]string{"GH_HOST": "acme.ghe.com", "GH_TOKEN": "s3cret"}, server: "https://acme.ghe.com", api: "https://api.acme.ghe.com", host: "api.acme.ghe.com"},
		{env: map[string]string{"GITHUB_API_URL": "https://forge.example.com/api/v3/", "GITHUB_SERVER_URL": "https://forge.example.com", "GITHUB_TOKEN": "s3cret"}, server: "https://forge.example.com", api: "https://forge.example.com/api/v3", host: "forge.example.com", path: "api/v3"},
		{env: map[string]string{"GITHUB_API_URL": "https://forge.example.com/api/v3"}, err: true},
		{env: map[string]string{"GH_HOST": "forge.example.com/x?y"}, err: true},
		{env: map[string]string{"GH_HOST": "user:s3cret@forge.example.com"}, err: true},
		{env: map[string]string{"GH_TOKEN": "s3 cret"}, err: true},
		{env: map[string]string{"GITHUB_API_URL": "http://forge.example.com", "GITHUB_SERVER_URL": "http://forge.example.com"}, err: true},
	} {
		cfg, err := ConfigFromEnv(func(k string) string { return c.env[k] })
		if (err != nil) != c.err {
			t.Errorf("%v: %v", c.env, err)
			continue
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") || strings.Contains(fmt.Sprintf("%+v", cfg), "s3cret") {
			t.Errorf("%v: the secret is shown", c.env)
		}
		if err != nil {
			continue
		}
		if cfg.Server != c.server || cfg.API != c.api || (len(cfg.Credentials) > 0) != (c.host != "") {
			t.Errorf("%v: %+v", c.env, cfg)
		} else if c.host != "" && (cfg.Credentials[0].Host != c.host || cfg.Credentials[0].Path != c.path) {
			t.Errorf("%v: %v", c.env, cfg.Credentials)
		}
	}
}

// materials are pinned roots.
type materials []trust.Material

func (m materials) Materials(context.Context, trust.MaterialKind, trust.Package) ([]trust.Material, error) {
	return m, nil
}

func TestPinnedRoot(t *testing.T) {
	w := sigstoretest.New(t, adaptertest.Now)
	clock := func() time.Time { return adaptertest.Now }
	root := trust.Material{Kind: trust.MaterialTrustedRoot, Name: sigstore.InstanceGitHubPrivate, Data: private(w)}
	other := root
	other.Name = "sigstore"
	if v, err := PinnedRoot(materials{other, root}, clock)(context.Background(), trust.Package{}); err != nil || v.Instance() != sigstore.InstanceGitHubPrivate {
		t.Error(err)
	}
	for _, m := range []materials{nil, {other}, {root, root}} {
		var ve *trust.VerifyError
		if _, err := PinnedRoot(m, clock)(context.Background(), trust.Package{}); !errors.As(err, &ve) || ve.Reason != trust.ReasonExpiredRoot {
			t.Errorf("%d roots: %v", len(m), err)
		}
	}
}

// private is a trusted root as GitHub's own instance has it.
func private(w *sigstoretest.World) []byte {
	return w.TrustedRootWith(func(doc map[string]any) {
		delete(doc, "tlogs")
		delete(doc, "ctlogs")
	})
}

func TestRootFile(t *testing.T) {
	w, rs := sigstoretest.New(t, adaptertest.Now), newRoots(t)
	clock := func() time.Time { return adaptertest.Now }
	file := func(b ...[]byte) string {
		p := filepath.Join(t.TempDir(), "roots.jsonl")
		if err := os.WriteFile(p, bytes.Join(b, []byte("\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, adaptertest.Now, adaptertest.Now); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, p := range []string{file(private(w)), file(w.TrustedRoot(), private(w))} {
		vs, err := RootFile(p, clock)
		if err != nil {
			t.Fatal(err)
		}
		v, err := vs(context.Background(), trust.Package{})
		if err != nil || v.Instance() != sigstore.InstanceGitHubPrivate {
			t.Error(err)
		}
	}
	for what, p := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "x"), "empty": file(), "public": file(w.TrustedRoot()), "two": file(private(w), private(rs.github)),
		"garbage": file([]byte("x")), "cut": file(private(w)[:100]), "nothing in it": file([]byte("{}")), "too many": file(bytes.Repeat(append(w.TrustedRoot(), '\n'), MaxRoots), private(w)),
	} {
		if _, err := RootFile(p, clock); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	old := func() time.Time { return adaptertest.Now.Add(sigstore.DefaultMaxRootAge + time.Hour) }
	if _, err := RootFile(file(private(w)), old); err == nil {
		t.Error("a root that nobody renewed was accepted")
	}
}

func TestRootFileBound(t *testing.T) {
	w := sigstoretest.New(t, adaptertest.Now)
	b := private(w)
	b = append(b, bytes.Repeat([]byte(" "), MaxRootFile-len(b))...)
	if _, err := own(b); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := own(append(b, ' ')); err == nil {
		t.Error("one above the bound accepted")
	}
}

func TestAdvertisementIsStrict(t *testing.T) {
	good := newForge().lines
	for what, b := range map[string][]byte{
		"empty":           {},
		"cut":             advertise(good)[:100],
		"no flush":        advertise(good)[:len(advertise(good))-4],
		"behind the end":  append(advertise(good), advertise(good)...),
		"other service":   []byte(strings.Replace(string(advertise(good)), "upload-pack", "archive-xxx", 1)),
		"twice":           advertise(append(slices.Clone(good), tip+" refs/heads/main")),
		"peeled alone":    advertise(append(slices.Clone(good), tip+" refs/tags/v7^{}")),
		"peeled later":    advertise(append(slices.Clone(good), tip+" refs/tags/v1^{}")),
		"peeled twice":    advertise(append(slices.Clone(good), tip+" refs/tags/v1.2.0^{}")),
		"upper case":      advertise(append(slices.Clone(good), strings.ToUpper(tip)+" refs/heads/x")),
		"control":         advertise(append(slices.Clone(good), tip+" refs/heads/x\x01")),
		"no capabilities": advertise(good[1:]),
	} {
		if _, err := parseAdvertisement(b); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	ad, err := parseAdvertisement(advertise([]string{id("0") + " capabilities^{}\x00agent=git"}))
	if err != nil || len(ad.heads)+len(ad.tags) != 0 {
		t.Errorf("empty repository: %v", err)
	}
}

func TestRefBound(t *testing.T) {
	var b strings.Builder
	pkt := func(s string) { fmt.Fprintf(&b, "%04x%s", len(s)+4, s) }
	pkt("# service=git-upload-pack\n")
	b.WriteString("0000")
	pkt(tip + " HEAD\x00x\n")
	for i := range MaxRefs - 1 {
		pkt(fmt.Sprintf("%s refs/x/%d\n", tip, i))
	}
	if _, err := parseAdvertisement([]byte(b.String() + "0000")); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	pkt(tip + " refs/x/y\n")
	if _, err := parseAdvertisement([]byte(b.String() + "0000")); err == nil {
		t.Error("one above the bound accepted")
	}
}

func TestUnpackBundleBound(t *testing.T) {
	if _, err := unpackBundle(snappy.Encode(nil, make([]byte, sigstore.MaxBundle))); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := unpackBundle(snappy.Encode(nil, make([]byte, sigstore.MaxBundle+1))); err == nil {
		t.Error("one above the bound accepted")
	}
}

// TestRealWorkflows asks about every ref that the real workflows name, of a
// server that knows none: nothing may come out as verified.
func TestRealWorkflows(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	n := 0
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".cdx.json") {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, field := range strings.Split(string(b), `"`) {
			if !strings.HasPrefix(field, "pkg:github/") && !strings.HasPrefix(field, "pkg:githubactions/") {
				continue
			}
			n++
			r, err := trust.ParseRelease(field)
			if err != nil {
				t.Logf("%s: %v", field, err)
				continue
			}
			res, _ := ask(t, newForge(), sbom.Component{Release: r, Kind: sbom.KindUnknown}, false)
			for _, e := range res.Evidence {
				if err := e.Validate(); err != nil || e.Outcome == trust.Verified {
					t.Errorf("%s: %+v: %v", field, e, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packages of GitHub in SBOMs", n)
}

func FuzzAdvertisement(f *testing.F) {
	f.Add(advertise(newForge().lines))
	f.Add(advertise([]string{id("0") + " capabilities^{}\x00agent=git"}))
	f.Add([]byte("001e# service=git-upload-pack\n0000000bERR no0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ad, err := parseAdvertisement(b)
		if err != nil {
			return
		}
		for name, r := range ad.tags {
			if !isCommit(r.commit) || !isCommit(r.object) || !validRef(name) {
				t.Fatalf("%q: %+v", name, r)
			}
		}
		if commits, _ := ad.bases(5); len(commits) > 5 {
			t.Fatal("more than asked for")
		}
		ad.latest()
	})
}

func FuzzOwnRoot(f *testing.F) {
	f.Add([]byte(`{"tlogs":[{}]}` + "\n" + `{"certificateAuthorities":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if root, err := own(b); err == nil && !json.Valid(root) {
			t.Fatal("no document")
		}
	})
}

func FuzzUnpackBundle(f *testing.F) {
	f.Add(snappy.Encode(nil, []byte(`{"a":1}`)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := unpackBundle(b); err == nil && len(out) > sigstore.MaxBundle {
			t.Fatal("too large")
		}
	})
}

// TestTagsOfTheCommit: what a comment beside the commit is compared with.
func TestTagsOfTheCommit(t *testing.T) {
	f := newForge()
	for ref, want := range map[string][]string{tagged: {"v1.2.0", "v1"}, ancient: nil, fork: nil} {
		res, _ := ask(t, f, component(t, ref), false)
		if !slices.Equal(res.Facts.VCSTags, want) || (res.Facts.VCSCommit == ref) != (ref != fork) {
			t.Errorf("%s: commit %q, tags %q", ref, res.Facts.VCSCommit, res.Facts.VCSTags)
		}
	}
}
