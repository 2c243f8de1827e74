package pypi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

const (
	wheel = "acme_widget-1.2.0-py3-none-any.whl"
	body  = "the wheel's bytes"
)

func digest(s string) trust.Digest {
	sum := sha256.Sum256([]byte(s))
	return trust.DigestOf(trust.SHA256, sum[:])
}

// pep740 writes a bundle as PyPI stores it.
func pep740(t testing.TB, bundle []byte) json.RawMessage {
	t.Helper()
	var b struct {
		VerificationMaterial struct {
			Certificate struct {
				RawBytes string `json:"rawBytes"`
			} `json:"certificate"`
			TlogEntries []json.RawMessage `json:"tlogEntries"`
		} `json:"verificationMaterial"`
		DSSEEnvelope struct {
			Payload    string `json:"payload"`
			Signatures []struct {
				Sig string `json:"sig"`
			} `json:"signatures"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]any{
		"version":               1,
		"verification_material": map[string]any{"certificate": b.VerificationMaterial.Certificate.RawBytes, "transparency_entries": b.VerificationMaterial.TlogEntries},
		"envelope":              map[string]string{"statement": b.DSSEEnvelope.Payload, "signature": b.DSSEEnvelope.Signatures[0].Sig},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// index is a package index with one project and one wheel.
type index struct {
	world      *sigstoretest.World
	signer     *sigstoretest.World // who really signs
	subject    string
	signed     string // the bytes that are signed
	fault      sigstoretest.Fault
	publisher  map[string]any
	types      []string // predicate types of the attestations
	strip      bool
	name       string
	served     string // bytes that the index states the digest of
	base       string
	provenance string // overrides the page's URL of the provenance
	workflow   sigstoretest.Workflow
	person     *sigstoretest.Identity // signs in place of the workflow
}

func newIndex(t testing.TB, now time.Time) *index {
	w := sigstoretest.New(t, now)
	return &index{
		world: w, signer: w, subject: wheel, signed: body, served: body, name: "acme-widget",
		publisher: map[string]any{"kind": "GitHub", "repository": "Acme/widget", "workflow": "release.yml", "environment": nil},
		types:     []string{sigstore.PredicatePyPIPublish, sigstore.PredicateProvenance1},
	}
}

func (x *index) handler(t testing.TB) http.Handler {
	mux := http.NewServeMux()
	var atts []json.RawMessage
	for _, typ := range x.types {
		var predicate any
		if typ == sigstore.PredicateProvenance1 {
			predicate = x.workflow.Provenance1()
		}
		statement := sigstoretest.Statement(typ, predicate, sigstoretest.SubjectOf(x.subject, []byte(x.signed)))
		id := x.workflow.Identity()
		if x.person != nil {
			id = *x.person
		}
		atts = append(atts, pep740(t, x.signer.Bundle(sigstoretest.Options{Statement: statement, Fault: x.fault, Identity: id})))
	}
	mux.HandleFunc("/simple/acme-widget/", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
			http.Error(w, "not acceptable", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		f := map[string]any{"filename": wheel, "url": "../../files/" + wheel, "hashes": map[string]string{"sha256": digest(x.served).Value}, "yanked": false, "upload-time": "2026-03-01T00:00:00.123456Z"}
		if !x.strip {
			f["provenance"] = x.base + "/integrity/acme-widget/1.2.0/" + wheel + "/provenance"
			if x.provenance != "" {
				f["provenance"] = x.provenance
			}
		}
		old := map[string]any{"filename": "acme_widget-1.1.0.tar.gz", "url": "../../files/old", "hashes": map[string]string{"sha256": digest("old").Value}, "upload-time": "2026-01-01T00:00:00Z"}
		writeJSON(t, w, map[string]any{"meta": map[string]string{"api-version": "1.4"}, "name": x.name, "files": []any{old, f}})
	})
	mux.HandleFunc("/integrity/acme-widget/1.2.0/"+wheel+"/provenance", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(t, w, map[string]any{"version": 1, "attestation_bundles": []any{map[string]any{"publisher": x.publisher, "attestations": atts}}})
	})
	mux.HandleFunc("/files/"+wheel, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) })
	return mux
}

func writeJSON(t testing.TB, w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Log(err) // the client hung up
	}
}

func verifiers(t testing.TB, w *sigstoretest.World) adapter.Verifiers {
	t.Helper()
	r, err := sigstore.LoadTrustedRoot(w.TrustedRoot(), sigstore.RootOptions{Obtained: w.Now, Now: w.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sigstore.NewVerifier(r)
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil }
}

func (x *index) at(t testing.TB, env *adaptertest.Env, locked trust.Digest) adaptertest.World {
	mux := http.NewServeMux()
	x.base = env.Serve(mux)
	mux.Handle("/", x.handler(t))
	r, err := trust.ParseRelease("pkg:pypi/Acme_Widget@1.2.0")
	if err != nil {
		t.Fatal(err)
	}
	art := trust.Artifact{Name: wheel, Digests: trust.Digests{locked}}
	return adaptertest.World{
		Adapter:  New(env.Getter(), Config{Index: x.base + "/simple/"}, verifiers(t, x.world)),
		Request:  adapter.Request{Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{art}}, Bytes: true, History: 5},
		Artifact: art, Bytes: []byte(body),
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublish, trust.CheckProvenance},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			x := newIndex(t, adaptertest.Now)
			locked := digest(body)
			switch env.Scenario {
			case adaptertest.WrongName:
				x.subject = "other_widget-1.2.0-py3-none-any.whl"
			case adaptertest.WrongVersion:
				x.subject = "acme_widget-1.2.1-py3-none-any.whl"
			case adaptertest.WrongDigest:
				x.signed = "other bytes"
			case adaptertest.Stripped:
				x.strip = true
			case adaptertest.ForeignSigner:
				x.signer = sigstoretest.New(t, adaptertest.Now)
			case adaptertest.Duplicate:
				x.types = append(x.types, x.types...)
			case adaptertest.Expired:
				x.fault = sigstoretest.FaultExpired
			case adaptertest.Replayed: // the release before this one, under this one's name
				x.subject, x.signed = "acme_widget-1.1.0.tar.gz", "old"
			}
			return x.at(t, env, locked)
		},
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			adaptertest.Duplicate: {Some: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonDuplicate}},
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

func outcome(res adapter.Result, c trust.Check) (trust.Outcome, trust.Reason) {
	for _, e := range res.Evidence {
		if e.Check == c {
			return e.Outcome, e.Reason
		}
	}
	return "", ""
}

func TestFactsAndSigner(t *testing.T) {
	res := collect(t, newIndex(t, adaptertest.Now).at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body)))
	f := res.Facts
	if f.Repository != "https://github.com/acme/widget" || f.Releases != 2 || f.Published.IsZero() || f.PrevRelease.IsZero() {
		t.Errorf("facts: %+v", f)
	}
	if len(res.History) != 1 || res.History[0].Version != "1.1.0" || res.History[0].Claimed != trust.AssuranceNone {
		t.Errorf("history: %+v", res.History)
	}
	for _, e := range res.Evidence {
		if e.Check == trust.CheckProvenance && (e.Signer == nil || e.Signer.SourceRepositoryID == "" || e.Assurance != trust.AssuranceProvenance || len(e.Raw) == 0) {
			t.Errorf("provenance: %+v", e)
		}
	}
}

// TestPublisherContradictsCertificate: the index's word is never a proof, and a
// contradiction is never passed over.
func TestPublisherContradictsCertificate(t *testing.T) {
	for what, p := range map[string]map[string]any{
		"repository": {"kind": "GitHub", "repository": "evil/widget", "workflow": "release.yml"},
		"workflow":   {"kind": "GitHub", "repository": "acme/widget", "workflow": "other.yml"},
		"forge":      {"kind": "GitLab", "repository": "acme/widget", "workflow_filepath": ".github/workflows/release.yml"},
		"person":     {"kind": "Google", "email": "somebody@example.com"},
		"unknown":    {"kind": "Forgejo", "repository": "acme/widget"},
	} {
		x := newIndex(t, adaptertest.Now)
		x.publisher = p
		if o, r := outcome(collect(t, x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))), trust.CheckPublish); o == trust.Verified {
			t.Errorf("%s: %s %s", what, o, r)
		}
	}
}

// TestThreat008FileNames: tags in another order are the same wheel; another
// version or build tag is another one.
func TestThreat008FileNames(t *testing.T) {
	same := [][2]string{
		{"a_b-1.0-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "A.B-1.0-cp39-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"},
		{"a-b-1.0.tar.gz", "a_b-1.0.tar.gz"},
		{"a_b-1.0RC1.tar.gz", "a_b-1.0rc1.tar.gz"},
	}
	for _, p := range same {
		x, err1 := parseFileName(p[0], "a-b")
		y, err2 := parseFileName(p[1], "a-b")
		if err1 != nil || err2 != nil || x != y {
			t.Errorf("%s and %s: %+v, %+v, %v, %v", p[0], p[1], x, y, err1, err2)
		}
	}
	base := "a_b-1.0-py3-none-any.whl"
	for _, other := range []string{"a_b-1.1-py3-none-any.whl", "a_b-1.0-1-py3-none-any.whl", "a_b-1.0-py2-none-any.whl", "a_c-1.0-py3-none-any.whl", "a_b-1.0.tar.gz"} {
		x, err := parseFileName(base, "")
		if err != nil {
			t.Fatal(err)
		}
		if y, err := parseFileName(other, ""); err == nil && x == y {
			t.Errorf("%s is taken for %s", other, base)
		}
	}
	for _, bad := range []string{"", "a.whl", "a-1-py3-none-any-x-y.whl", "../a-1.0.tar.gz", "a-1.0", "a-1.0-x1-py3-none-any.whl", strings.Repeat("a", MaxFileName) + "-1.tar.gz"} {
		if d, err := parseFileName(bad, ""); err == nil {
			t.Errorf("%.40q accepted: %+v", bad, d)
		}
	}
	for _, v := range [][2]string{{"1.0", "1.0.0"}, {"1.0.0rc1", "1.0rc1"}, {"1!2.0", "1!2"}} {
		if !sameVersion(v[0], v[1]) {
			t.Errorf("%s and %s are one version", v[0], v[1])
		}
	}
	for _, v := range [][2]string{{"1.0", "1.0.1"}, {"1.0", "10"}, {"1.0", "1.0.post1"}, {"1.0rc1", "1.0"}} {
		if sameVersion(v[0], v[1]) {
			t.Errorf("%s and %s are two versions", v[0], v[1])
		}
	}
}

func TestLockFileSays(t *testing.T) {
	right := func(edit func(x *index, w *adaptertest.World)) adapter.Result {
		x := newIndex(t, adaptertest.Now)
		w := x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))
		edit(x, &w)
		return collect(t, w)
	}
	// THREATS row 79: a weak digest proves nothing.
	res := right(func(x *index, w *adaptertest.World) {
		d, err := trust.NewDigest(trust.MD5, strings.Repeat("a", 32))
		if err != nil {
			t.Fatal(err)
		}
		w.Request.Component.Artifacts[0].Digests = trust.Digests{d}
	})
	if o, r := outcome(res, trust.CheckIndex); o != trust.Failed || r != trust.ReasonWeakDigest {
		t.Errorf("MD5 only: %s %s", o, r)
	}
	if o, _ := outcome(res, trust.CheckPublish); o == trust.Verified {
		t.Error("an attestation verified for a file that only MD5 names")
	}
	// THREATS row 76: another host in the lock file.
	res = right(func(x *index, w *adaptertest.World) {
		w.Request.Component.Artifacts[0].URL = "https://evil.example.com/files/" + wheel
	})
	if o, r := outcome(res, trust.CheckSource); o != trust.Failed || r != trust.ReasonForeignSource {
		t.Errorf("foreign URL: %s %s", o, r)
	}
	res = right(func(x *index, w *adaptertest.World) { w.Request.Component.Registry = "https://evil.example.com/simple" })
	if o, r := outcome(res, trust.CheckSource); o != trust.Failed || r != trust.ReasonForeignSource {
		t.Errorf("foreign index: %s %s", o, r)
	}
	// A file of another project under this name.
	res = right(func(x *index, w *adaptertest.World) {
		w.Request.Component.Artifacts[0].Name = "evil-1.2.0-py3-none-any.whl"
	})
	if o, r := outcome(res, trust.CheckIndex); o != trust.Failed || r != trust.ReasonWrongName {
		t.Errorf("file of another project: %s %s", o, r)
	}
	// Expected identities (PEP 751).
	res = right(func(x *index, w *adaptertest.World) {
		w.Request.Component.Expect = []map[string]string{{"kind": "GitHub", "repository": "acme/widget", "workflow": "release.yml"}}
	})
	if o, _ := outcome(res, trust.CheckPublish); o != trust.Verified {
		t.Errorf("expected identity: %s", o)
	}
	res = right(func(x *index, w *adaptertest.World) {
		w.Request.Component.Expect = []map[string]string{{"kind": "GitHub", "repository": "acme/other", "workflow": "release.yml"}}
	})
	if o, r := outcome(res, trust.CheckPublish); o != trust.Failed || r != trust.ReasonUntrustedSigner {
		t.Errorf("unexpected identity: %s %s", o, r)
	}
}

// TestThreat108ProvenanceOnAnotherHost: the page may not send headgate elsewhere.
func TestThreat108ProvenanceOnAnotherHost(t *testing.T) {
	x := newIndex(t, adaptertest.Now)
	x.provenance = "https://evil.example.com/provenance"
	if o, _ := outcome(collect(t, x.at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))), trust.CheckPublish); o != trust.Verified {
		t.Errorf("the index's own host was not asked: %s", o)
	}
	r := trust.Release{Package: trust.Package{Type: "pypi", Name: "a"}, Version: "1"}
	got, err := integrityURL("https://index.example.com/prefix/simple/", "https://evil.example.com/x", r, "a-1.tar.gz")
	if err != nil || got != "https://index.example.com/prefix/integrity/a/1/a-1.tar.gz/provenance" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestPromisedAndMissing: an index that promises attestations and has none is
// not the same as an index without them (THREATS row 50).
func TestThreat050PromisedAndMissing(t *testing.T) {
	w := newIndex(t, adaptertest.Now).at(t, adaptertest.NewEnv(t, adaptertest.Right), digest(body))
	if o, _ := outcome(collect(t, w), trust.CheckPublish); o != trust.Verified {
		t.Fatalf("sound index: %s", o)
	}
	// The same page without the document that it promises.
	x := newIndex(t, adaptertest.Now)
	env := adaptertest.NewEnv(t, adaptertest.Right)
	mux := http.NewServeMux()
	x.base = env.Serve(mux)
	mux.HandleFunc("/simple/", x.handler(t).ServeHTTP)
	w.Adapter = New(env.Getter(), Config{Index: x.base + "/simple/"}, verifiers(t, x.world))
	if o, r := outcome(collect(t, w), trust.CheckPublish); o != trust.Unreachable || r != trust.ReasonStripped {
		t.Errorf("promised and missing: %s %s", o, r)
	}
}

func TestNoTrustedRoot(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newIndex(t, adaptertest.Now).at(t, env, digest(body))
	w.Adapter.(*Adapter).root = func(context.Context, trust.Package) (*sigstore.Verifier, error) {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "no trusted root")
	}
	if o, r := outcome(collect(t, w), trust.CheckPublish); o != trust.Unreachable || r != trust.ReasonExpiredRoot {
		t.Errorf("%s %s", o, r)
	}
}

func TestHTMLIndex(t *testing.T) {
	d := digest(body)
	page := `<!DOCTYPE html><html><body><a href="../../files/` + wheel + `#sha256=` + d.Value + `" data-yanked="bad &quot;build&quot;">x</a><a href="/login">y</a></body></html>`
	p, err := parsePage([]byte(page), "text/html", "https://index.example.com/simple/acme-widget/", "acme-widget")
	if err != nil || len(p.Files) != 1 || p.Files[0].URL != "https://index.example.com/files/"+wheel || !p.Files[0].Digests[0].Equal(d) || *p.Files[0].Yanked != `bad "build"` {
		t.Errorf("%+v, %v", p, err)
	}
	for what, bad := range map[string]string{"empty": "<html></html>", "digest": `<a href="a-1.tar.gz#sha256=xyz">a</a>`, "scheme": `<a href="javascript:1/a-1.tar.gz">a</a>`} {
		if _, err := parsePage([]byte(bad), "text/html", "https://index.example.com/simple/a/", "a"); err == nil {
			t.Errorf("%s accepted", what)
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config", "pip"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := "[global]\nindex_url = https://me:s3cret@mirror.example.com/simple\n[install]\nextra-index-url =\n  https://team.example.com/simple\n  https://lab.example.com/simple/\n[list]\nindex-url = https://no.example.com/\n"
	if err := os.WriteFile(filepath.Join(home, ".config", "pip", "pip.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ConfigFromEnv(func(string) string { return "" }, home)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Index != "https://mirror.example.com/simple/" || len(cfg.Extra) != 2 || len(cfg.Credentials) != 1 || cfg.Credentials[0].Host != "mirror.example.com" {
		t.Errorf("%+v", cfg)
	}
	if strings.Contains(fmt.Sprintf("%+v", cfg), "s3cret") {
		t.Error("printing the configuration shows the password")
	}
	cfg, err = ConfigFromEnv(func(k string) string { return map[string]string{"PIP_INDEX_URL": "https://env.example.com/simple"}[k] }, home)
	if err != nil || cfg.Index != "https://env.example.com/simple/" {
		t.Errorf("the environment does not win: %+v, %v", cfg, err)
	}
	if i, ok := cfg.index(DefaultIndex); !ok || i != cfg.Index {
		t.Errorf("the public index's name does not stand for the configured one: %s", i)
	}
}

// TestRealData verifies every published provenance document at hand with the
// production root, and proves that each is for its own file only.
func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	load := func(path string) *sigstore.Verifier {
		t.Helper()
		now := time.Now()
		r, err := sigstore.LoadTrustedRoot(read(path), sigstore.RootOptions{Obtained: now, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		v, err := sigstore.NewVerifier(r)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	production := load(filepath.Join(dir, "sigstore-root-signing/targets/trusted_root.json"))
	files, err := filepath.Glob(filepath.Join(dir, "pypi", "*.provenance"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no provenance documents: %v", err)
	}
	for _, path := range files {
		file := strings.TrimSuffix(path, ".provenance")
		name := filepath.Base(file)
		d, err := parseFileName(name, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := trust.NewRelease("pypi", "", d.name, d.version)
		if err != nil {
			t.Fatal(err)
		}
		atts, err := parseProvenance(read(path))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(read(file))
		art := trust.Artifact{Name: name, Digests: trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}}
		for _, att := range atts {
			if e := verify(production, trust.CheckPublish, att, r, art, nil); e.Outcome != trust.Verified {
				t.Errorf("%s: %s %s: %s", name, e.Outcome, e.Reason, e.Detail)
			}
			other := r
			other.Version = "99.0"
			if e := verify(production, trust.CheckPublish, att, other, art, nil); e.Outcome != trust.Failed {
				t.Errorf("%s as version 99.0: %s", name, e.Outcome)
			}
			wrong := trust.Artifact{Name: name, Digests: trust.Digests{digest("other")}}
			if e := verify(production, trust.CheckPublish, att, r, wrong, nil); e.Outcome != trust.Failed {
				t.Errorf("%s with other bytes: %s", name, e.Outcome)
			}
		}
	}
	// Single attestations by the staging instance must fail with the production root.
	single, err := filepath.Glob(filepath.Join(dir, "pypi", "*.publish.attestation"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range single {
		file := strings.TrimSuffix(path, ".publish.attestation")
		if _, err := os.Stat(file + ".provenance"); err == nil {
			continue // seen above
		}
		att, err := convert(read(path))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		d, err := parseFileName(name, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := trust.NewRelease("pypi", "", d.name, d.version)
		if err != nil {
			t.Fatal(err)
		}
		att.publisher = publisher{Kind: "GitHub", Repository: "somebody/" + d.name, Workflow: "release.yml"}
		sum := sha256.Sum256(read(file))
		art := trust.Artifact{Name: name, Digests: trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}}
		for _, v := range []*sigstore.Verifier{production, load(filepath.Join(dir, "sigstore-root-signing-staging/trusted_root.json"))} {
			if e := verify(v, trust.CheckPublish, att, r, art, nil); e.Outcome == trust.Verified {
				t.Errorf("%s verified as a Trusted Publisher's", name)
			}
		}
	}
}

func FuzzParseProvenance(f *testing.F) {
	f.Add([]byte(`{"version":1,"attestation_bundles":[{"publisher":{"kind":"GitHub"},"attestations":[{"version":1,"verification_material":{"certificate":"","transparency_entries":[]},"envelope":{"statement":"e30=","signature":""}}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if atts, err := parseProvenance(b); err == nil && len(atts) == 0 {
			t.Fatal("no attestation and no error")
		}
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`{"meta":{"api-version":"1.1"},"name":"a","files":[{"filename":"a-1.tar.gz","url":"x","hashes":{}}]}`), "application/json")
	f.Add([]byte(`<a href="a-1.tar.gz">`), "text/html")
	f.Fuzz(func(t *testing.T, b []byte, ct string) {
		p, err := parsePage(b, ct, "https://index.example.com/simple/a/", "a")
		if err != nil {
			return
		}
		r := trust.Release{Package: trust.Package{Type: "pypi", Name: "a"}, Version: "1"}
		facts(p, r)
		for _, x := range p.Files {
			if !strings.HasPrefix(x.URL, "http") {
				t.Fatalf("URL %q", x.URL)
			}
		}
	})
}
