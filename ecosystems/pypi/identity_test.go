package pypi

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// judge asks about the one wheel of an index.
func judge(t *testing.T, x *index, expect ...map[string]string) map[trust.Check]trust.Evidence {
	t.Helper()
	w := x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))
	w.Request.Component.Expect = expect
	out := map[trust.Check]trust.Evidence{}
	for _, e := range collect(t, w).Evidence {
		out[e.Check] = e
	}
	return out
}

// A lock file that expects a publisher is not content with build provenance by
// somebody else, though the index takes the publish attestation away and names
// that somebody as the publisher.
func TestExpectedIdentityHoldsForProvenanceToo(t *testing.T) {
	ours := map[string]string{"kind": "GitHub", "repository": "acme/widget", "workflow": "release.yml"}
	theirs := map[string]string{"kind": "GitHub", "repository": "acme/other", "workflow": "release.yml"}
	x := newIndex(t, adaptertest.Now)
	x.types = []string{sigstore.PredicateProvenance1}
	if e := judge(t, x, ours)[trust.CheckProvenance]; e.Outcome != trust.Verified {
		t.Errorf("the expected repository: %s %s", e.Outcome, e.Detail)
	}
	if e := judge(t, x, theirs)[trust.CheckProvenance]; e.Outcome != trust.Failed || e.Reason != trust.ReasonUntrustedSigner {
		t.Errorf("another repository's provenance: %s %s", e.Outcome, e.Reason)
	}
	x.types = []string{sigstore.PredicatePyPIPublish, sigstore.PredicateProvenance1}
	for check, e := range judge(t, x, theirs) {
		if e.Assurance > trust.AssuranceNone {
			t.Errorf("%s reached assurance %s", check, e.Assurance)
		}
	}
	if e := judge(t, x, theirs, ours)[trust.CheckPublish]; e.Outcome != trust.Verified {
		t.Errorf("one of two expected: %s %s", e.Outcome, e.Detail)
	}
	ours["environment"] = "release"
	x.workflow = sigstoretest.Workflow{Environment: "release"}
	if e := judge(t, x, ours)[trust.CheckPublish]; e.Outcome != trust.Verified {
		t.Errorf("the expected environment: %s %s", e.Outcome, e.Detail)
	}
	x.workflow.Environment = "test"
	if e := judge(t, x, ours)[trust.CheckPublish]; e.Outcome != trust.Failed {
		t.Errorf("another environment: %s", e.Outcome)
	}
}

// Publishers of GitLab and Google, each with its own issuer and nobody else's.
func TestPublishersOfOtherForges(t *testing.T) {
	gitlab := sigstoretest.Workflow{Issuer: trust.GitLabIssuer, Path: ".gitlab-ci.yml"}
	person := func(x *index) {
		id := sigstoretest.Email("bot@acme.iam.gserviceaccount.com", googleIssuer)
		x.person = &id
	}
	for what, c := range map[string]struct {
		publisher map[string]any
		edit      func(*index)
		ok        bool
	}{
		"GitLab":                           {map[string]any{"kind": "GitLab", "repository": "acme/widget", "workflow_filepath": ".gitlab-ci.yml"}, func(x *index) { x.workflow = gitlab }, true},
		"GitLab, other file":               {map[string]any{"kind": "GitLab", "repository": "acme/widget", "workflow_filepath": "ci/release.yml"}, func(x *index) { x.workflow = gitlab }, false},
		"GitLab, other group":              {map[string]any{"kind": "GitLab", "repository": "acme-evil/widget", "workflow_filepath": ".gitlab-ci.yml"}, func(x *index) { x.workflow = gitlab }, false},
		"GitLab signed, said to be GitHub": {map[string]any{"kind": "GitHub", "repository": "acme/widget", "workflow": ".gitlab-ci.yml"}, func(x *index) { x.workflow = gitlab }, false},
		"GitHub signed, said to be GitLab": {map[string]any{"kind": "GitLab", "repository": "acme/widget", "workflow_filepath": ".github/workflows/release.yml"}, func(*index) {}, false},
		"Google":                           {map[string]any{"kind": "Google", "email": "bot@acme.iam.gserviceaccount.com"}, person, true},
		"Google, somebody else":            {map[string]any{"kind": "Google", "email": "bot@evil.iam.gserviceaccount.com"}, person, false},
		"Google, another issuer": {map[string]any{"kind": "Google", "email": "bot@acme.iam.gserviceaccount.com"}, func(x *index) {
			id := sigstoretest.Email("bot@acme.iam.gserviceaccount.com", "https://accounts.example.com")
			x.person = &id
		}, false},
	} {
		x := newIndex(t, adaptertest.Now)
		x.types, x.publisher = []string{sigstore.PredicatePyPIPublish}, c.publisher
		c.edit(x)
		if e := judge(t, x)[trust.CheckPublish]; (e.Outcome == trust.Verified) != c.ok {
			t.Errorf("%s: %s %s: %s", what, e.Outcome, e.Reason, e.Detail)
		}
	}
}

// A lock file that was written without the user's mirror names the public host of
// files; its digest decides. Any other host is foreign, and so is that one where
// the index is not the public one's mirror.
func TestMirrorAndPublicFiles(t *testing.T) {
	for u, ok := range map[string]bool{
		"https://" + fileHost + "/packages/ab/cd/" + wheel:      true,
		"http://" + fileHost + "/packages/ab/cd/" + wheel:       false,
		"https://" + fileHost + ".evil.example/ab/" + wheel:     false,
		"https://evil.example/" + fileHost + "/" + wheel:        false,
		"https://me@" + fileHost + "/ab/" + wheel:               false,
		"https://" + fileHost + "/packages/ab/other-1.0.tar.gz": false,
	} {
		x := newIndex(t, adaptertest.Now)
		w := x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))
		w.Request.Component.Artifacts[0].URL = u
		if o, r := outcome(collect(t, w), trust.CheckSource); (o == trust.Verified) != ok || !ok && r != trust.ReasonForeignSource {
			t.Errorf("%s: %s %s", u, o, r)
		}
		x = newIndex(t, adaptertest.Now)
		w = x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))
		w.Request.Component.Artifacts[0].URL = u
		a := w.Adapter.(*Adapter)
		a.cfg.Extra, a.cfg.Index = []string{a.cfg.Index}, "https://mirror.example.com/simple/"
		w.Request.Component.Registry = a.cfg.Extra[0]
		if o, _ := outcome(collect(t, w), trust.CheckSource); o == trust.Verified {
			t.Errorf("%s: a team's own index served it", u)
		}
	}
}

func TestUVConfig(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, ".config", "uv", "uv.toml")
	put := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"UV_INDEX_OUR_TEAM_USERNAME": "me", "UV_INDEX_OUR_TEAM_PASSWORD": "s3cret"}
	getenv := func(k string) string { return env[k] }
	put(`extra-index-url = ["https://lab.example.com/simple"]
[[index]]
name = "our-team"
url = "https://team.example.com/simple"
[[index]]
name = "mirror"
url = "https://mirror.example.com/simple"
default = true
`)
	cfg, err := ConfigFromEnv(getenv, home)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Index != "https://mirror.example.com/simple/" || fmt.Sprint(cfg.Extra) != "[https://lab.example.com/simple/ https://team.example.com/simple/]" {
		t.Errorf("%+v", cfg)
	}
	if len(cfg.Credentials) != 1 || cfg.Credentials[0].Host != "team.example.com" || strings.Contains(fmt.Sprintf("%+v", cfg), "s3cret") {
		t.Errorf("credentials: %+v", cfg.Credentials)
	}
	env["UV_DEFAULT_INDEX"] = "https://env.example.com/simple"
	if cfg, err := ConfigFromEnv(getenv, home); err != nil || cfg.Index != "https://env.example.com/simple/" {
		t.Errorf("the environment does not win: %+v, %v", cfg, err)
	}
	delete(env, "UV_DEFAULT_INDEX")
	put("[pip]\nindex-url = \"https://pip.example.com/simple\"\n")
	if cfg, err := ConfigFromEnv(getenv, home); err != nil || cfg.Index != "https://pip.example.com/simple/" {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, bad := range []string{"index-url = ", "[[index]]\nurl = \"ftp://x\"\n", "index-url = \"" + strings.Repeat("x", MaxConfigFile) + "\""} {
		put(bad)
		if _, err := ConfigFromEnv(getenv, home); err == nil {
			t.Errorf("%.30s was read", bad)
		}
	}
}
