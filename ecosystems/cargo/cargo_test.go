package cargo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func digestOf(s string) trust.Digest {
	sum := sha256.Sum256([]byte(s))
	return trust.DigestOf(trust.SHA256, sum[:])
}

func line(name, version string, d trust.Digest, yanked bool, at string) string {
	return fmt.Sprintf(`{"name":%q,"vers":%q,"deps":[],"cksum":%q,"features":{},"yanked":%v,"pubtime":%q}`+"\n", name, version, d.Value, yanked, at)
}

// registry is a sparse registry with one crate.
type registry struct {
	index, crate, config string
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/idx/config.json":
		fmt.Fprint(w, g.config)
	case "/idx/le/ft/leftpad":
		fmt.Fprint(w, g.index)
	case "/dl/leftpad/leftpad-1.2.0.crate":
		fmt.Fprint(w, g.crate)
	default:
		http.NotFound(w, r)
	}
}

func component(t testing.TB, index string, d trust.Digest) sbom.Component {
	t.Helper()
	r, err := trust.ParseRelease("pkg:cargo/leftpad@1.2.0")
	if err != nil {
		t.Fatal(err)
	}
	return sbom.Component{Release: r, Kind: sbom.KindRegistry, Registry: "sparse+" + index, Artifacts: []trust.Artifact{{Digests: trust.Digests{d}}}}
}

func build(t testing.TB, env *adaptertest.Env) adaptertest.World {
	g := &registry{crate: "the crate's bytes"}
	d := digestOf(g.crate)
	old := line("leftpad", "1.1.0", digestOf("old"), false, "2025-01-01T00:00:00Z")
	g.index = old + line("leftpad", "1.2.0", d, false, "2026-02-01T00:00:00Z")
	locked := d
	switch env.Scenario {
	case adaptertest.WrongName:
		g.index = strings.ReplaceAll(g.index, `"leftpad"`, `"rightpad"`)
	case adaptertest.WrongVersion, adaptertest.WrongDigest:
		locked = digestOf("old") // the digest of another version of the crate
	case adaptertest.Stripped:
		g.index = old
	case adaptertest.Replayed: // the index as it was when the version had other bytes
		g.index = old + line("leftpad", "1.2.0", digestOf("earlier"), false, "2026-02-01T00:00:00Z")
	case adaptertest.Duplicate:
		g.index += line("leftpad", "1.2.0", digestOf("other"), false, "2026-02-01T00:00:00Z")
	}
	base := env.Serve(g)
	g.config = fmt.Sprintf(`{"dl":%q}`, base+"/dl/{crate}/{crate}-{version}.crate")
	index := base + "/idx/"
	return adaptertest.World{
		Adapter:  New(env.Getter(), Config{Default: index}),
		Request:  adapter.Request{Component: component(t, index, locked), Bytes: true, History: 5},
		Artifact: trust.Artifact{Digests: trust.Digests{d}}, Bytes: []byte(g.crate),
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckIndex},
		Build:  build,
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			adaptertest.Stripped: {Some: []trust.Outcome{trust.Unreachable}, Reasons: []trust.Reason{trust.ReasonNotFound}},
		},
		Skip: map[adaptertest.Scenario]string{
			adaptertest.ForeignSigner: "crate registries sign nothing",
			adaptertest.Expired:       "nothing is signed that could run out",
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

func TestFactsAndHistory(t *testing.T) {
	res := collect(t, build(t, adaptertest.NewEnv(t, adaptertest.Right)))
	if res.Facts.Releases != 2 || res.Facts.PrevRelease.IsZero() || res.Facts.Published.Year() != 2026 || res.Facts.FirstRelease.Year() != 2025 {
		t.Errorf("facts: %+v", res.Facts)
	}
	if len(res.History) != 1 || res.History[0].Version != "1.1.0" {
		t.Errorf("history: %+v", res.History)
	}
	for _, e := range res.Evidence {
		if e.Assurance != trust.AssuranceNone {
			t.Errorf("%s claims %s where nothing is signed", e.Check, e.Assurance)
		}
	}
}

func TestYanked(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	g := &registry{index: line("leftpad", "1.2.0", digestOf("x"), true, "2026-02-01T00:00:00Z")}
	index := env.Serve(g) + "/idx/"
	a := New(env.Getter(), Config{Default: index})
	res, err := a.Collect(context.Background(), adapter.Request{Component: component(t, index, digestOf("x"))})
	if err != nil || res.Facts.Yanked == nil {
		t.Errorf("yanked not seen: %+v, %v", res.Facts, err)
	}
}

// TestKindsThatAreNoCrates also proves that nothing is asked upstream for them
// (THREATS row 72).
func TestThreat072KindsThatAreNoCrates(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	index := env.Serve(&registry{}) + "/idx/"
	a := New(env.Getter(), Config{Default: index})
	for _, k := range []sbom.Kind{sbom.KindGit, sbom.KindPath, sbom.KindWorkspace, sbom.KindURL} {
		c := component(t, index, digestOf("x"))
		c.Kind = k
		res, err := a.Collect(context.Background(), adapter.Request{Component: c, Bytes: true})
		if err != nil || len(res.Evidence) != 1 || res.Evidence[0].Outcome != trust.Absent {
			t.Errorf("%s: %+v, %v", k, res, err)
		}
	}
	c := component(t, "https://registry.example.com/index/", digestOf("x"))
	res, err := a.Collect(context.Background(), adapter.Request{Component: c, Bytes: true})
	if err != nil || len(res.Evidence) != 1 || res.Evidence[0].Reason != trust.ReasonForeignSource {
		t.Errorf("foreign registry: %+v, %v", res, err)
	}
	if n := env.Requests(); n != 0 {
		t.Errorf("%d requests for what is no crate of a configured registry", n)
	}
}

func TestIndexPath(t *testing.T) {
	for name, want := range map[string]string{"a": "1/a", "ab": "2/ab", "abc": "3/a/abc", "Abcd": "ab/cd/abcd", "serde_json": "se/rd/serde_json"} {
		if got := indexPath(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What stands for the public registry may be one of the user's registries: then
// the public one is not asked.
func TestReplaceWithRegistry(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".cargo"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := "[registries.corp]\nindex='sparse+https://crates.corp.example/index/'\n[source.crates-io]\nreplace-with='corp'\n"
	if err := os.WriteFile(filepath.Join(home, ".cargo", "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ConfigFromEnv(func(string) string { return "" }, nil, home)
	if err != nil || cfg.Default != "https://crates.corp.example/index/" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".cargo"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(home, ".cargo", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config.toml", "[registries.acme]\nindex='sparse+https://crates.example.com/index/'\n[source.crates-io]\nreplace-with='m'\n[source.m]\nregistry='sparse+https://mirror.example.com/'\n")
	write("credentials.toml", "[registries.acme]\ntoken='s3cret'\n")
	cfg, err := ConfigFromEnv(func(string) string { return "" }, []string{"CARGO_REGISTRIES_TEAM_INDEX=sparse+https://team.example.com/x"}, home)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Default != "https://mirror.example.com/" || cfg.Registries["acme"] != "https://crates.example.com/index/" || cfg.Registries["team"] != "https://team.example.com/x/" {
		t.Errorf("config: %+v", cfg)
	}
	if len(cfg.Credentials) != 1 || cfg.Credentials[0].Host != "crates.example.com" || cfg.Credentials[0].Header != "s3cret" {
		t.Error("the token is not bound to its registry's host")
	}
	if strings.Contains(fmt.Sprintf("%v %+v", cfg, cfg), "s3cret") {
		t.Error("printing the configuration shows the token")
	}
	if _, ok := cfg.index("registry+" + defaultGitIndex); !ok {
		t.Error("the public registry's git index is not known")
	}
	if _, ok := cfg.index("sparse+https://evil.example.com/"); ok {
		t.Error("a registry that nobody configured is known")
	}
	write("config.toml", "[source.crates-io]\nreplace-with='a'\n[source.a]\nreplace-with='b'\n[source.b]\nreplace-with='a'\n")
	if _, err := ConfigFromEnv(func(string) string { return "" }, nil, home); err == nil {
		t.Error("a circle of replacements was accepted")
	}
}

func TestVersionBound(t *testing.T) {
	r := component(t, "https://x.example.com/", digestOf("x")).Release
	var b strings.Builder
	for i := range MaxVersions {
		b.WriteString(line("leftpad", fmt.Sprintf("0.0.%d", i), digestOf("x"), false, "2026-02-01T00:00:00Z"))
	}
	if _, _, err := find([]byte(b.String()), r); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	b.WriteString(line("leftpad", "0.1.0", digestOf("x"), false, "2026-02-01T00:00:00Z"))
	if _, _, err := find([]byte(b.String()), r); err == nil {
		t.Error("one above the bound was accepted")
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte(line("leftpad", "1.2.0", digestOf("x"), false, "2026-02-01T00:00:00Z")))
	r, err := trust.ParseRelease("pkg:cargo/leftpad@1.2.0")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, _, err := find(b, r); err == nil && e != nil && (e.Name != "leftpad" || !e.digest.Strong()) {
			t.Fatalf("%+v", e)
		}
	})
}

// TestThreat075DownloadsElsewhere: the registry's config.json may keep the crates on
// another host, as the public one does. That host gets no credentials, its bytes
// count by the index's digest alone, and it may be none inside.
func TestThreat075DownloadsElsewhere(t *testing.T) {
	const secret = "Bearer s3cret"
	var crate string
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		fmt.Fprint(w, crate)
	}))
	t.Cleanup(other.Close)
	for name, tc := range map[string]struct {
		dl, crate string
		asked     int
		outcome   trust.Outcome
	}{
		"another host":       {other.URL + "/{crate}", "the crate's bytes", 1, trust.Verified},
		"other bytes":        {other.URL + "/{crate}", "other bytes", 1, trust.Failed},
		"metadata service":   {"http://169.254.169.254/latest/{crate}", "the crate's bytes", 0, trust.Unreachable},
		"a service inside":   {"https://10.0.0.1/{crate}", "the crate's bytes", 0, trust.Unreachable},
		"a file":             {"file:///etc/passwd", "the crate's bytes", 0, trust.Unreachable},
		"with a user's name": {strings.Replace(other.URL, "http://", "http://me:pw@", 1) + "/{crate}", "the crate's bytes", 0, trust.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			crate, got = tc.crate, nil
			g := &registry{index: line("leftpad", "1.2.0", digestOf("the crate's bytes"), false, "2026-02-01T00:00:00Z"), config: fmt.Sprintf(`{"dl":%q}`, tc.dl)}
			var own []string
			reg := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				own = append(own, r.Header.Get("Authorization"))
				g.ServeHTTP(w, r)
			}))
			t.Cleanup(reg.Close)
			host := strings.TrimPrefix(reg.URL, "http://")
			get, err := upstream.New(upstream.Config{
				Insecure: []string{host, strings.TrimPrefix(other.URL, "http://")}, Getenv: func(string) string { return "" },
				Credentials: []upstream.Credentials{upstream.Scopes{{Host: host, Header: secret}}},
				Sleep:       func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
			})
			if err != nil {
				t.Fatal(err)
			}
			index := reg.URL + "/idx/"
			w := adaptertest.World{Adapter: New(get, Config{Default: index}), Request: adapter.Request{Component: component(t, index, digestOf("the crate's bytes")), Bytes: true}}
			res := collect(t, w)
			for _, e := range res.Evidence {
				if e.Check == trust.CheckBytes && (e.Outcome == trust.Verified) != (tc.outcome == trust.Verified) || e.Check == trust.CheckBytes && tc.outcome == trust.Failed && e.Outcome != trust.Failed {
					t.Errorf("%s %s: %s", e.Outcome, e.Reason, e.Detail)
				}
			}
			if len(res.Evidence) < 2 {
				t.Errorf("%+v", res.Evidence)
			}
			if len(got) != tc.asked || strings.Join(got, "") != "" {
				t.Errorf("the other host got %q", got)
			}
			if len(own) == 0 || own[0] != secret {
				t.Errorf("the registry itself got %q", own)
			}
		})
	}
}
