package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func sha(b []byte) trust.Digest {
	sum := sha256.Sum256(b)
	return trust.DigestOf(trust.SHA256, sum[:])
}

var pgpConfig = &packet.Config{Time: func() time.Time { return adaptertest.Now.AddDate(0, -1, 0) }, Algorithm: packet.PubKeyAlgoEdDSA}

func entity() *pgp.Entity { return must(pgp.NewEntity("A", "", "a@example.com", pgpConfig)) }

func public(e *pgp.Entity) []byte {
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// lived is a key that ends some time after it was made.
func lived(d time.Duration) *pgp.Entity {
	cfg := *pgpConfig
	cfg.KeyLifetimeSecs = uint32(d / time.Second)
	return must(pgp.NewEntity("A", "", "a@example.com", &cfg))
}

func prov(e *pgp.Entity, name, version, file string, chart []byte, at ...time.Time) []byte {
	var b bytes.Buffer
	cfg := *pgpConfig
	if len(at) > 0 {
		cfg.Time = func() time.Time { return at[0] }
	}
	w := must(clearsign.Encode(&b, e.PrivateKey, &cfg))
	fmt.Fprintf(w, "name: %s\nversion: %s\n\n...\nfiles:\n  %s: %s\n", name, version, file, sha(chart))
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func chart(files ...string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			panic(err)
		}
		must(w.Write([]byte(files[i+1])))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func widget(version string) []byte {
	return chart("widget/Chart.yaml", "apiVersion: v2\nname: widget\nversion: "+version+"\n", "widget/charts/sub/Chart.yaml", "name: sub\nversion: 9\n")
}

type pins [][]byte

func (p pins) Materials(_ context.Context, kind trust.MaterialKind, _ trust.Package) ([]trust.Material, error) {
	var out []trust.Material
	for _, d := range p {
		out = append(out, trust.Material{Kind: kind, Name: "key", Data: d})
	}
	return out, nil
}

// world is a chart repository.
type world struct {
	alice    *pgp.Entity
	files    map[string][]byte
	index    string // entries of the chart
	material adapter.Materials
}

func newWorld() *world {
	w := &world{alice: entity(), files: map[string][]byte{"/charts/widget-1.2.0.tgz": widget("1.2.0"), "/charts/widget-1.1.0.tgz": widget("1.1.0")}}
	w.material = pins{public(w.alice)}
	for _, v := range []string{"1.2.0", "1.1.0"} {
		w.files["/charts/widget-"+v+".tgz.prov"] = prov(w.alice, "widget", v, "widget-"+v+".tgz", widget(v))
		w.index += entryOf(v, sha(widget(v)).Value)
	}
	return w
}

func entryOf(version, digest string) string {
	return fmt.Sprintf("    - name: widget\n      version: %q\n      digest: %s\n      created: \"2026-03-01T10:00:00.123Z\"\n      sources: [\"https://github.com/Acme/widget/tree/main\"]\n      urls: [\"charts/widget-%s.tgz\"]\n", version, digest, version)
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/index.yaml" {
		fmt.Fprintf(rw, "apiVersion: v1\nentries:\n  broken: 7\n  widget:\n%s", w.index)
		return
	}
	b, ok := w.files[r.URL.Path]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	rw.Write(b)
}

func (w *world) at(env *adaptertest.Env) adaptertest.World {
	base := env.Serve(w) + "/"
	r := must(trust.ParseRelease("pkg:helm/widget@1.2.0"))
	r.Package = r.Package.WithQualifier("repository_url", base)
	art := trust.Artifact{Digests: trust.Digests{sha(widget("1.2.0"))}}
	return adaptertest.World{
		Adapter:  must(New(Options{Get: env.Getter(), Clock: env.Clock, Config: Config{Repositories: []Repository{{"acme", base}}}, Materials: w.material})),
		Request:  adapter.Request{Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{art}}, Bytes: true, History: 5},
		Artifact: art, Bytes: widget("1.2.0"),
	}
}

const provPath = "/charts/widget-1.2.0.tgz.prov"

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			w := newWorld()
			switch env.Scenario {
			case adaptertest.WrongName:
				w.files[provPath] = prov(w.alice, "gadget", "1.2.0", "widget-1.2.0.tgz", widget("1.2.0"))
			case adaptertest.WrongVersion:
				w.files[provPath] = prov(w.alice, "widget", "1.1.0", "widget-1.2.0.tgz", widget("1.2.0"))
			case adaptertest.WrongDigest:
				other := chart("widget/Chart.yaml", "name: widget\nversion: 1.2.0\n")
				w.files["/charts/widget-1.2.0.tgz"] = other
				w.files[provPath] = prov(w.alice, "widget", "1.2.0", "widget-1.2.0.tgz", other)
				w.index = entryOf("1.2.0", sha(other).Value)
			case adaptertest.Stripped:
				delete(w.files, provPath)
			case adaptertest.ForeignSigner:
				w.files[provPath] = prov(entity(), "widget", "1.2.0", "widget-1.2.0.tgz", widget("1.2.0"))
			case adaptertest.Expired:
				short := lived(time.Hour)
				w.material = pins{public(short)}
				w.files[provPath] = prov(short, "widget", "1.2.0", "widget-1.2.0.tgz", widget("1.2.0"), adaptertest.Now)
			case adaptertest.Replayed: // of the archive that was here before
				w.files[provPath] = prov(w.alice, "widget", "1.2.0", "widget-1.2.0.tgz", []byte("earlier"))
			case adaptertest.Duplicate:
				w.files[provPath] = append(w.files[provPath], prov(w.alice, "widget", "1.2.0", "widget-1.2.0.tgz", []byte("other"))...)
			}
			return w.at(env)
		},
	})
}

func collect(t testing.TB, w adaptertest.World) adapter.Result {
	t.Helper()
	res, err := w.Adapter.Collect(context.Background(), w.Request)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
	}
	return res
}

func of(res adapter.Result, c trust.Check) trust.Evidence {
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	return trust.Evidence{}
}

func env(t testing.TB) *adaptertest.Env { return adaptertest.NewEnv(t, adaptertest.Right) }

func TestFactsAndHistory(t *testing.T) {
	res := collect(t, newWorld().at(env(t)))
	f := res.Facts
	if f.Published.IsZero() || f.Releases != 2 || f.LatestKnown != "1.2.0" || f.Repository != "https://github.com/acme/widget" || f.PrevRelease.IsZero() {
		t.Errorf("%+v", f)
	}
	if len(res.History) != 1 || res.History[0].Version != "1.1.0" || len(res.History[0].Signers) != 1 || res.History[0].Assurance != trust.AssurancePublisher {
		t.Errorf("%+v", res.History)
	}
}

func TestThreat043OnlyTheSignedTextCounts(t *testing.T) {
	for what, edit := range map[string]func([]byte) []byte{
		"in front": func(b []byte) []byte { return append([]byte("name: widget\n"), b...) },
		"behind":   func(b []byte) []byte { return append(b, "\nfiles:\n  widget-1.2.0.tgz: sha256:00\n"...) },
		"changed":  func(b []byte) []byte { return bytes.Replace(b, []byte("1.2.0"), []byte("1.2.1"), 1) },
	} {
		w := newWorld()
		w.files[provPath] = edit(bytes.Clone(w.files[provPath]))
		if e := of(collect(t, w.at(env(t))), trust.CheckPublisherSig); e.Outcome == trust.Verified {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestThreat050ProvenanceNotThereAndNoKey(t *testing.T) {
	w := newWorld()
	delete(w.files, provPath)
	if e := of(collect(t, w.at(env(t))), trust.CheckPublisherSig); e.Outcome != trust.Absent {
		t.Errorf("%+v", e)
	}
	for what, m := range map[string]adapter.Materials{"none": nil, "another": pins{public(entity())}, "unreadable": pins{[]byte("junk")}} {
		w = newWorld()
		w.material = m
		if e := of(collect(t, w.at(env(t))), trust.CheckPublisherSig); e.Outcome != trust.Unreachable || e.Reason != trust.ReasonUnknownKey {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestThreat081ArchiveOfAnotherChart(t *testing.T) {
	for what, b := range map[string][]byte{
		"name":       chart("widget/Chart.yaml", "name: gadget\nversion: 1.2.0\n"),
		"version":    chart("widget/Chart.yaml", "name: widget\nversion: 1.1.0\n"),
		"two charts": chart("widget/Chart.yaml", "name: widget\nversion: 1.2.0\n", "evil/Chart.yaml", "name: widget\nversion: 1.2.0\n"),
		"none":       chart("widget/values.yaml", "a: b\n"),
		"no archive": []byte("junk"),
	} {
		w := newWorld()
		w.files["/charts/widget-1.2.0.tgz"] = b
		w.files[provPath] = prov(w.alice, "widget", "1.2.0", "widget-1.2.0.tgz", b)
		w.index = entryOf("1.2.0", sha(b).Value)
		aw := w.at(env(t))
		aw.Request.Component.Artifacts = nil
		for _, e := range collect(t, aw).Evidence {
			if e.Outcome == trust.Verified && (e.Check == trust.CheckBytes || e.Assurance > trust.AssuranceNone) {
				t.Errorf("%s: %+v", what, e)
			}
		}
	}
}

func TestIndexes(t *testing.T) {
	digest := sha(widget("1.2.0")).Value
	for what, c := range map[string]struct {
		index  string
		check  trust.Check
		o      trust.Outcome
		reason trust.Reason
	}{
		"listed twice":   {entryOf("1.2.0", digest) + entryOf("1.2.0", digest), trust.CheckMetadata, trust.Failed, trust.ReasonDuplicate},
		"not listed":     {entryOf("1.3.0", digest), trust.CheckMetadata, trust.Unreachable, trust.ReasonNotFound},
		"bad digest":     {entryOf("1.2.0", "12"), trust.CheckMetadata, trust.Unreachable, trust.ReasonMalformed},
		"other digest":   {entryOf("1.2.0", strings.Repeat("0", 64)), trust.CheckIndex, trust.Failed, trust.ReasonWrongDigest},
		"no digest":      {entryOf("1.2.0", `""`), trust.CheckIndex, trust.Absent, trust.ReasonNotPublished},
		"prefixed":       {entryOf("1.2.0", "sha256:"+digest), trust.CheckIndex, trust.Verified, ""},
		"other name":     {strings.Replace(entryOf("1.2.0", digest), "name: widget", "name: gadget", 1), trust.CheckMetadata, trust.Failed, trust.ReasonWrongName},
		"file URL":       {strings.Replace(entryOf("1.2.0", digest), "charts/", "file:///", 1), trust.CheckMetadata, trust.Unreachable, trust.ReasonMalformed},
		"OCI URL":        {strings.Replace(entryOf("1.2.0", digest), "charts/", "oci://r.example.com/", 1), trust.CheckMetadata, trust.Unreachable, trust.ReasonUnsupported},
		"FTP URL":        {strings.Replace(entryOf("1.2.0", digest), "charts/", "ftp://r.example.com/", 1), trust.CheckMetadata, trust.Failed, trust.ReasonForeignSource},
		"private URL":    {strings.Replace(entryOf("1.2.0", digest), "charts/", "https://169.254.169.254/", 1), trust.CheckBytes, trust.Failed, trust.ReasonForeignSource},
		"key twice":      {entryOf("1.2.0", digest) + "  widget:\n" + entryOf("1.2.0", digest), trust.CheckMetadata, trust.Unreachable, trust.ReasonMalformed},
		"no versions":    {"    []\n", trust.CheckMetadata, trust.Unreachable, trust.ReasonMalformed},
		"half an answer": {"    - name: {", trust.CheckMetadata, trust.Unreachable, trust.ReasonMalformed},
	} {
		w := newWorld()
		w.index = c.index
		if e := of(collect(t, w.at(env(t))), c.check); e.Outcome != c.o || e.Reason != c.reason {
			t.Errorf("%s: %s %s %s: %s", what, e.Check, e.Outcome, e.Reason, e.Detail)
		}
	}
}

func TestNoDigestStated(t *testing.T) {
	w := newWorld()
	w.index = entryOf("1.2.0", `""`)
	aw := w.at(env(t))
	aw.Request.Component.Artifacts, aw.Request.Bytes = nil, false
	res := collect(t, aw)
	if e := of(res, trust.CheckIndex); e.Outcome != trust.Absent || e.Reason != trust.ReasonNoLockDigest || !slices.Contains(e.Artifact.Digests, sha(widget("1.2.0"))) {
		t.Errorf("%+v", e)
	}
	if e := of(res, trust.CheckPublisherSig); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
}

func TestRefusedBeforeAsking(t *testing.T) {
	v := env(t)
	aw := newWorld().at(v)
	c := &aw.Request.Component
	for _, k := range []sbom.Kind{sbom.KindPath, sbom.KindGit, sbom.KindWorkspace} {
		c.Kind = k
		if e := of(collect(t, aw), trust.CheckSource); e.Outcome != trust.Absent {
			t.Errorf("%s: %+v", k, e)
		}
	}
	c.Kind = sbom.KindRegistry
	for source, want := range map[string]trust.Outcome{"https://evil.example.com/": trust.Failed, "oci://r.example.com/charts": trust.Absent, "@evil": trust.Failed} {
		c.Registry = source
		if e := of(collect(t, aw), trust.CheckSource); e.Outcome != want {
			t.Errorf("%s: %+v", source, e)
		}
	}
	c.Registry = ""
	c.Release = must(trust.ParseRelease("pkg:helm/widget@1.2.0"))
	if e := of(collect(t, aw), trust.CheckSource); e.Outcome != trust.Absent {
		t.Errorf("%+v", e)
	}
	if v.Requests() != 0 {
		t.Error("something was asked upstream")
	}
	c.Registry = "@acme"
	if e := of(collect(t, aw), trust.CheckSource); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
}

func TestBounds(t *testing.T) {
	x := &index{entries: map[string][]entry{"a": slices.Repeat([]entry{{Name: "a", Version: "2"}}, MaxVersions-1)}}
	x.entries["a"] = append(x.entries["a"], entry{Name: "a", Version: "1"})
	if _, err := x.find("a", "1"); err != nil {
		t.Error(err)
	}
	x.entries["a"] = append(x.entries["a"], entry{})
	if _, err := x.find("a", "1"); err == nil {
		t.Error("one version above the bound was read")
	}
	text := "name: a\nversion: 1.0.0\n#"
	size := func(n int) error {
		return names(bytes.NewReader(chart("a/Chart.yaml", text+strings.Repeat("x", n-len(text)))), "a", "1.0.0")
	}
	if err := size(MaxChartYAML); err != nil {
		t.Error(err)
	}
	if err := size(MaxChartYAML + 1); err == nil {
		t.Error("a Chart.yaml above the bound was read")
	}
	files := []string{"a/Chart.yaml", text}
	for range MaxEntries - 1 {
		files = append(files, "a/x", "")
	}
	if err := names(bytes.NewReader(chart(files...)), "a", "1.0.0"); err != nil {
		t.Error(err)
	}
	if err := names(bytes.NewReader(chart(append(files, "a/x", "")...)), "a", "1.0.0"); err == nil {
		t.Error("one entry above the bound was read")
	}
}

// TestThreat088Bomb: what unpacks to too much is stopped by what came out, not
// by what a header says.
func TestThreat088Bomb(t *testing.T) {
	var b bytes.Buffer
	z := must(gzip.NewWriterLevel(&b, gzip.BestSpeed))
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "a/x", Mode: 0o644, Size: MaxUnpacked}); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for range MaxUnpacked >> 20 {
		must(w.Write(block))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if _, r := trust.Classify(names(&b, "a", "1")); r != trust.ReasonTooLarge {
		t.Errorf("reason %s", r)
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".config", "helm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	if cfg, err := ConfigFromEnv(none, home); err != nil || len(cfg.Repositories) != 0 {
		t.Errorf("without a file: %+v %v", cfg, err)
	}
	file := filepath.Join(dir, "repositories.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("apiVersion: \"\"\nrepositories:\n- name: corp\n  url: https://charts.example.com/stable\n  username: me\n  password: s3cret\n  insecure_skip_tls_verify: true\n  pass_credentials_all: true\n- name: local\n  url: http://charts.local.example:8080\n- name: images\n  url: oci://r.example.com\n")
	for what, getenv := range map[string]func(string) string{
		"home": none,
		"file": func(k string) string { return map[string]string{"HELM_REPOSITORY_CONFIG": file}[k] },
		"helm": func(k string) string { return map[string]string{"HELM_CONFIG_HOME": dir}[k] },
		"xdg":  func(k string) string { return map[string]string{"XDG_CONFIG_HOME": filepath.Dir(dir)}[k] },
	} {
		cfg, err := ConfigFromEnv(getenv, home)
		if err != nil || len(cfg.Repositories) != 2 || cfg.Repositories[0].URL != "https://charts.example.com/stable/" || len(cfg.Notes) != 2 || !slices.Equal(cfg.Insecure, []string{"charts.local.example:8080"}) {
			t.Errorf("%s: %+v %v", what, cfg, err)
			continue
		}
		if cfg.Credentials[0].Host != "charts.example.com" || cfg.Credentials[0].Path != "/stable" || strings.Contains(fmt.Sprintf("%+v %#v", cfg, cfg), "s3cret") {
			t.Errorf("%s: %+v", what, cfg)
		}
	}
	for _, bad := range []string{"repositories: 7", "repositories:\n- name: a\n  url: https://u:hunter2@x.example.com:port/\n", "repositories:\n- name: a\n  url: ftp://u:hunter2@x/\n"} {
		write(bad)
		if _, err := ConfigFromEnv(none, home); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	write("repositories:\n- name: a\n  url: https://u:hunter2@x.example.com/charts\n")
	if cfg, err := ConfigFromEnv(none, home); err != nil || cfg.Repositories[0].URL != "https://x.example.com/charts/" || len(cfg.Credentials) != 1 || cfg.Credentials[0].Path != "/charts" || cfg.Credentials[0].Header != upstream.Basic("u", "hunter2") || strings.Contains(fmt.Sprintf("%+v", cfg), "hunter2") {
		t.Errorf("credentials in the URL: %+v %v", cfg, err)
	}
	write(strings.Repeat("#", MaxConfigFile))
	if _, err := ConfigFromEnv(none, home); err != nil {
		t.Error(err)
	}
	write(strings.Repeat("#", MaxConfigFile+1))
	if _, err := ConfigFromEnv(none, home); err == nil {
		t.Error("a file above the bound was read")
	}
}

// TestRealCharts serves every chart with a provenance file that is found: with
// its key it is verified, without it nobody knows, and for another chart it fails.
func TestRealCharts(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	var keys pins
	for _, k := range append(must(filepath.Glob(filepath.Join(dir, "helm", "*.pub"))), must(filepath.Glob(filepath.Join(dir, "helm", "*.asc")))...) {
		keys = append(keys, must(os.ReadFile(k)))
	}
	provs := must(filepath.Glob(filepath.Join(dir, "helm", "*.tgz.prov")))
	if len(provs) == 0 || len(keys) == 0 {
		t.Fatal("no charts or no keys")
	}
	for _, p := range provs {
		b := must(os.ReadFile(strings.TrimSuffix(p, ".prov")))
		text := string(must(os.ReadFile(p)))
		field := func(k string) string {
			for line := range strings.Lines(text) {
				if v, ok := strings.CutPrefix(line, k+": "); ok {
					return strings.TrimSpace(v)
				}
			}
			return ""
		}
		name, version, file := field("name"), field("version"), filepath.Base(strings.TrimSuffix(p, ".prov"))
		if err := names(bytes.NewReader(b), name, version); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		check := func(material adapter.Materials, name string) trust.Evidence {
			e := env(t)
			base := e.Serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/index.yaml":
					fmt.Fprintf(rw, "apiVersion: v1\nentries:\n  %[1]s:\n  - {name: %[1]s, version: %[2]s, digest: %[3]s, urls: [%[4]s]}\n", name, version, sha(b).Value, file)
				case "/" + file + ".prov":
					rw.Write([]byte(text))
				case "/" + file:
					rw.Write(b)
				}
			})) + "/"
			r := must(trust.NewRelease("helm", "", name, version))
			a := must(New(Options{Get: e.Getter(), Clock: e.Clock, Config: Config{Repositories: []Repository{{"x", base}}}, Materials: material}))
			return of(collect(t, adaptertest.World{Adapter: a, Request: adapter.Request{Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Registry: base}, Bytes: true}}), trust.CheckPublisherSig)
		}
		if e := check(keys, name); e.Outcome != trust.Verified {
			t.Errorf("%s: %s %s %s", p, e.Outcome, e.Reason, e.Detail)
		} else {
			t.Logf("%s: %s", file, e.Signer)
		}
		if e := check(nil, name); e.Outcome != trust.Unreachable || e.Reason != trust.ReasonUnknownKey {
			t.Errorf("%s without keys: %+v", p, e)
		}
		if e := check(keys, "other"); e.Outcome != trust.Failed {
			t.Errorf("%s for another chart: %+v", p, e)
		}
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nentries:\n  widget:\n" + entryOf("1.2.0", sha(nil).Value)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := parseIndex(b)
		if err != nil {
			return
		}
		if e, err := x.find("widget", "1.2.0"); err == nil {
			x.facts(e)
			if u, err := e.archive("https://x.example.com/"); err == nil && !strings.HasPrefix(u, "https://") {
				t.Fatal(u)
			}
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add(widget("1.2.0"))
	f.Fuzz(func(t *testing.T, b []byte) { _ = names(bytes.NewReader(b), "widget", "1.2.0") })
}
