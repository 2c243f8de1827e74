package rubygems

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

const body = "the gem's bytes"

func digest(s string) trust.Digest {
	sum := sha256.Sum256([]byte(s))
	return trust.DigestOf(trust.SHA256, sum[:])
}

// server is a gem server with one gem.
type server struct {
	world, signer *sigstoretest.World
	subject       string
	signed        string
	strip         bool
	plain         bool // message signature instead of a statement
	extra         []json.RawMessage
	repository    string
	fault         sigstoretest.Fault
	gem           string // its bytes
	materials     adapter.Materials
}

func (s *server) handler(t testing.TB) http.Handler {
	opt := sigstoretest.Options{Artifact: []byte(s.signed)}
	if !s.plain {
		flow := sigstoretest.Workflow{Repository: s.repository}
		opt = sigstoretest.Options{Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf(s.subject, []byte(s.signed)))}
	}
	opt.Fault = s.fault
	atts := append([]json.RawMessage{s.signer.Bundle(opt)}, s.extra...)
	mux := http.NewServeMux()
	mux.HandleFunc("/info/widget", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "---\n1.1.0 |checksum:%s\n1.2.0 rack:>= 2|checksum:%s,ruby:>= 3\n1.2.0-java |checksum:%s\n", digest("old").Value, digest(s.gem).Value, digest("java").Value)
	})
	mux.HandleFunc("/api/v1/versions/widget.json", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[{"number":"1.2.0","platform":"ruby","created_at":"2026-03-01T00:00:00Z","licenses":["MIT"],"metadata":{"source_code_uri":"https://github.com/Acme/widget/tree/v1.2.0"}},{"number":"1.1.0","platform":"ruby","created_at":"2026-01-01T00:00:00Z"}]`)
	})
	mux.HandleFunc("/api/v1/attestations/widget-1.2.0.json", func(w http.ResponseWriter, r *http.Request) {
		if s.strip {
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(atts); err != nil {
			t.Log(err)
		}
	})
	mux.HandleFunc("/gems/widget-1.2.0.gem", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, s.gem) })
	return mux
}

func newServer(t testing.TB) *server {
	w := sigstoretest.New(t, adaptertest.Now)
	return &server{world: w, signer: w, subject: "widget-1.2.0.gem", signed: body, gem: body}
}

func (s *server) at(t testing.TB, env *adaptertest.Env) adaptertest.World {
	base := env.Serve(s.handler(t))
	root, err := sigstore.LoadTrustedRoot(s.world.TrustedRoot(), sigstore.RootOptions{Obtained: s.world.Now, Now: s.world.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sigstore.NewVerifier(root)
	if err != nil {
		t.Fatal(err)
	}
	r, err := trust.ParseRelease("pkg:gem/widget@1.2.0")
	if err != nil {
		t.Fatal(err)
	}
	art := trust.Artifact{Digests: trust.Digests{digest(s.gem)}}
	return adaptertest.World{
		Adapter: New(Options{Get: env.Getter(), Config: Config{Default: base + "/"}, Sigstore: func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil },
			Materials: s.materials, Clock: env.Clock}),
		Request:  adapter.Request{Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{art}}, Bytes: true, History: 3},
		Artifact: art, Bytes: []byte(s.gem),
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckProvenance, trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			s := newServer(t)
			switch env.Scenario {
			case adaptertest.WrongName:
				s.subject = "gadget-1.2.0.gem"
			case adaptertest.WrongVersion:
				s.subject = "widget-1.2.1.gem"
			case adaptertest.WrongDigest:
				s.signed = "other bytes"
			case adaptertest.Stripped:
				s.strip = true
			case adaptertest.ForeignSigner:
				s.signer = sigstoretest.New(t, adaptertest.Now)
			case adaptertest.Expired:
				s.fault = sigstoretest.FaultExpired
			case adaptertest.Replayed: // the release before this one
				s.subject, s.signed = "widget-1.1.0.gem", "old"
			case adaptertest.Duplicate:
				flow := sigstoretest.Workflow{Repository: "evil/widget", RepoID: "9", OwnerID: "8"}
				s.extra = []json.RawMessage{s.signer.Bundle(sigstoretest.Options{Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf(s.subject, []byte(body)))})}
			case adaptertest.Right:
				s.extra = []json.RawMessage{s.signer.Bundle(sigstoretest.Options{Artifact: []byte(body)})}
			}
			return s.at(t, env)
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

func find(res adapter.Result, c trust.Check) trust.Evidence {
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	return trust.Evidence{}
}

func TestFacts(t *testing.T) {
	res := collect(t, newServer(t).at(t, adaptertest.NewEnv(t, adaptertest.Right)))
	f := res.Facts
	if f.Repository != "https://github.com/acme/widget" || f.Releases != 2 || f.Published.IsZero() || f.PrevRelease.IsZero() || len(f.Licenses) != 1 || len(res.History) != 1 {
		t.Errorf("facts: %+v, history %+v", f, res.History)
	}
}

// TestMalformedIsNotTampered: the public server holds bundles that no verifier
// can read; they accuse nobody.
func TestMalformedIsNotTampered(t *testing.T) {
	s := newServer(t)
	s.extra = []json.RawMessage{[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"tlogEntries":[{}]},"messageSignature":{}}`)}
	res := collect(t, s.at(t, adaptertest.NewEnv(t, adaptertest.Right)))
	for _, e := range res.Evidence {
		if e.Outcome == trust.Failed {
			t.Errorf("%s is failed: %s", e.Check, e.Detail)
		}
	}
	if find(res, trust.CheckPublisherSig).Outcome != trust.Unreachable {
		t.Error("the malformed bundle was passed over")
	}
}

func TestPlatforms(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newServer(t).at(t, env)
	w.Request.Component.Release = w.Request.Component.Release.WithVariant("platform", "java")
	if e := find(collect(t, w), trust.CheckIndex); e.Reason != trust.ReasonWrongDigest {
		t.Errorf("the digest of the plain gem passed for that of another platform: %+v", e)
	}
	w.Request.Component.Release.Version = "1.3.0"
	res := collect(t, w)
	if e := find(res, trust.CheckIndex); e.Reason != trust.ReasonNotFound || !res.Facts.Unpublished {
		t.Errorf("a version that the index lacks: %+v", e)
	}
}

func TestForeignSourceAndOtherKinds(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newServer(t).at(t, env)
	w.Request.Component.Registry = "https://gems.example.com/"
	if e := find(collect(t, w), trust.CheckSource); e.Reason != trust.ReasonForeignSource {
		t.Errorf("%+v", e)
	}
	for _, k := range []sbom.Kind{sbom.KindGit, sbom.KindPath} {
		w.Request.Component.Kind = k
		if e := find(collect(t, w), trust.CheckSource); e.Outcome != trust.Absent {
			t.Errorf("%s: %+v", k, e)
		}
	}
	if env.Requests() != 0 {
		t.Error("something was asked upstream")
	}
}

// TestThreat075OnlyTheConfiguredHost: a source that sends its client elsewhere, for
// the index, the evidence or the gem, is refused, and elsewhere is not asked.
func TestThreat075OnlyTheConfiguredHost(t *testing.T) {
	for _, p := range []string{"/info/", "/api/v1/attestations/", "/gems/"} {
		t.Run(p, func(t *testing.T) {
			var asked atomic.Int32
			s := newServer(t)
			h := s.handler(t)
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1); h.ServeHTTP(w, r) }))
			t.Cleanup(other.Close)
			own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, p) {
					http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
					return
				}
				h.ServeHTTP(w, r)
			}))
			t.Cleanup(own.Close)
			get, err := upstream.New(upstream.Config{
				Insecure: []string{strings.TrimPrefix(own.URL, "http://"), strings.TrimPrefix(other.URL, "http://")}, Getenv: func(string) string { return "" },
				Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
			})
			if err != nil {
				t.Fatal(err)
			}
			w := s.at(t, adaptertest.NewEnv(t, adaptertest.Right))
			a := w.Adapter.(*Adapter)
			a.get, a.cfg = get, Config{Default: own.URL + "/"}
			if res := collect(t, w); !slices.ContainsFunc(res.Evidence, func(e trust.Evidence) bool {
				return e.Outcome == trust.Failed && e.Reason == trust.ReasonForeignSource
			}) {
				t.Errorf("%+v", res.Evidence)
			}
			if asked.Load() != 0 {
				t.Errorf("the other host got %d requests", asked.Load())
			}
		})
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".bundle"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".gemrc", "---\n:sources:\n- https://u:s3cret@gems.example.com/private\n")
	write(".bundle/config", "---\nBUNDLE_MIRROR__HTTPS://RUBYGEMS__ORG/: \"https://mirror.example.com\"\n")
	cfg, err := ConfigFromEnv(func(string) string { return "" }, []string{"BUNDLE_GEMS__TEAM___X__EXAMPLE=me:s3cret"}, home)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Default != "https://mirror.example.com/" || cfg.Sources[0] != "https://gems.example.com/private/" {
		t.Errorf("%+v", cfg)
	}
	if len(cfg.Credentials) != 2 || cfg.Credentials[1].Host != "gems.team-x.example" {
		t.Errorf("%v", cfg.Credentials)
	}
	if strings.Contains(fmt.Sprintf("%+v", cfg), "s3cret") {
		t.Error("printing the configuration shows a secret")
	}
}

func TestVersionBound(t *testing.T) {
	var b strings.Builder
	b.WriteString("---\n")
	for i := range MaxVersions {
		fmt.Fprintf(&b, "0.0.%d |checksum:%s\n", i, digest("x").Value)
	}
	if _, err := parseInfo([]byte(b.String()), "1", ""); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	b.WriteString("1 |\n")
	if _, err := parseInfo([]byte(b.String()), "1", ""); err == nil {
		t.Error("one above the bound accepted")
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte("---\n1.2.0 rack:>= 2|checksum:"+digest("x").Value+",ruby:>= 3\n"), "1.2.0", "")
	f.Fuzz(func(t *testing.T, b []byte, v, p string) {
		if e, err := parseInfo(b, v, p); err == nil && e != nil && (!e.digest.Strong() || e.version != v) {
			t.Fatalf("%+v", e)
		}
	})
}
