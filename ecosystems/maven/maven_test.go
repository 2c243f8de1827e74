package maven

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
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

func entity() *pgp.Entity {
	return must(pgp.NewEntity("Alice", "", "alice@example.com", pgpConfig))
}

func public(e *pgp.Entity) []byte {
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func fingerprint(e *pgp.Entity) string { return fmt.Sprintf("%X", e.PrimaryKey.Fingerprint) }

func detach(msg []byte, es ...*pgp.Entity) []byte {
	var b bytes.Buffer
	if err := pgp.DetachSign(&b, es, bytes.NewReader(msg), pgpConfig); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// late is a signature by a key whose end the signer does not care about.
func late(e *pgp.Entity, msg []byte) []byte {
	var b bytes.Buffer
	cfg := *pgpConfig
	cfg.Time = func() time.Time { return adaptertest.Now }
	sig := &packet.Signature{Version: e.PrimaryKey.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo, Hash: crypto.SHA256,
		CreationTime: adaptertest.Now, IssuerKeyId: &e.PrimaryKey.KeyId, IssuerFingerprint: e.PrimaryKey.Fingerprint}
	h := crypto.SHA256.New()
	must(h.Write(msg))
	if err := errors.Join(sig.Sign(h, e.PrivateKey, &cfg), sig.Serialize(&b)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// pins hands out certificates that were pinned for one package.
type pins struct {
	pkg  string
	data [][]byte
}

func (p pins) Materials(_ context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	var out []trust.Material
	if kind == trust.MaterialOpenPGP && (p.pkg == "" || p.pkg == pkg.PURL()) {
		for _, d := range p.data {
			out = append(out, trust.Material{Kind: kind, Scope: p.pkg, Name: "key", Data: d})
		}
	}
	return out, nil
}

func pomOf(g, a, v, more string) []byte {
	return []byte(`<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>` + g + `</groupId><artifactId>` + a + `</artifactId><version>` + v + `</version>` + more + `</project>`)
}

func jarOf(names ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	must(must(w.Create("A.class")).Write([]byte("code of " + strings.Join(names, " "))))
	for _, n := range names {
		p := strings.Split(n, ":")
		must(must(w.Create("META-INF/maven/" + p[0] + "/" + p[1] + "/pom.properties")).Write([]byte("#made\nversion=" + p[2] + "\ngroupId=" + p[0] + "\nartifactId=" + p[1] + "\n")))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

const (
	purl = "pkg:maven/org.example/widget@1.2.0"
	at   = "/org/example/widget/1.2.0/widget-1.2.0"
)

// tree is a repository's files by path.
type tree map[string][]byte

func (r tree) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, ok := r[req.URL.Path]
	if !ok {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Last-Modified", "Sun, 01 Mar 2026 00:00:00 GMT")
	w.Write(b)
}

// put adds a file with its SHA-256 and a signature.
func (r tree) put(path string, b []byte, signers ...*pgp.Entity) {
	r[path] = b
	r[path+".sha256"] = []byte(sha(b).Value + "  " + filepath.Base(path) + "\n")
	if len(signers) > 0 {
		r[path+".asc"] = detach(b, signers...)
	}
}

type world struct {
	tree     tree
	alice    *pgp.Entity
	jar, pom []byte
	instance *sigstoretest.World
	more     []string // further repositories in front
	material adapter.Materials
}

func newWorld(t testing.TB) *world {
	w := &world{tree: tree{}, alice: entity(), jar: jarOf("org.example:widget:1.2.0", "com.shaded:other:9"), instance: sigstoretest.New(t, adaptertest.Now)}
	w.pom = pomOf("org.example", "widget", "1.2.0", `<licenses><license><name>MIT</name></license></licenses><scm><url>https://github.com/Acme/widget/tree/main</url></scm>`)
	w.tree.put(at+".jar", w.jar, w.alice)
	w.tree.put(at+".pom", w.pom, w.alice)
	w.tree.put("/org/example/widget/1.1.0/widget-1.1.0.pom", pomOf("org.example", "widget", "1.1.0", ""), w.alice)
	w.tree["/org/example/widget/maven-metadata.xml"] = []byte(`<metadata><versioning><release>1.10.0</release><versions><version>1.1.0</version><version>1.0</version><version>1.2.0</version><version>1.10.0</version></versions></versioning></metadata>`)
	w.material = pins{"pkg:maven/org.example/widget", [][]byte{public(w.alice)}}
	return w
}

func (w *world) at(t testing.TB, env *adaptertest.Env) adaptertest.World {
	base := env.Serve(w.tree) + "/"
	root := must(sigstore.LoadTrustedRoot(w.instance.TrustedRoot(), sigstore.RootOptions{Obtained: adaptertest.Now, Now: adaptertest.Now}))
	v := must(sigstore.NewVerifier(root))
	cfg := Config{Known: map[string]string{base: base}}
	for _, u := range w.more {
		cfg.Repositories = append(cfg.Repositories, Repository{"more", u})
	}
	cfg.Repositories = append(cfg.Repositories, Repository{"central", base})
	art := trust.Artifact{Digests: trust.Digests{sha(jarOf("org.example:widget:1.2.0", "com.shaded:other:9"))}}
	return adaptertest.World{
		Adapter: must(New(Options{Get: env.Getter(), Clock: env.Clock, Config: cfg, Materials: w.material, Sigstore: func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil }})),
		Request: adapter.Request{Component: sbom.Component{Release: must(trust.ParseRelease(purl)), Kind: sbom.KindRegistry,
			Artifacts: []trust.Artifact{art}}, Bytes: true, History: 3},
		Artifact: art, Bytes: w.jar,
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			w := newWorld(t)
			switch env.Scenario {
			case adaptertest.WrongName:
				w.tree.put(at+".jar", jarOf("org.example:gadget:1.2.0"), w.alice)
				w.tree.put(at+".pom", pomOf("org.example", "gadget", "1.2.0", ""), w.alice)
			case adaptertest.WrongVersion:
				w.tree.put(at+".jar", jarOf("org.example:widget:1.1.0"), w.alice)
				w.tree.put(at+".pom", pomOf("org.example", "widget", "1.1.0", ""), w.alice)
			case adaptertest.WrongDigest:
				w.tree.put(at+".jar", jarOf("org.example:widget:1.2.0"), w.alice)
				delete(w.tree, at+".pom.asc") // the POM is sound and says nothing of the file
			case adaptertest.Stripped:
				delete(w.tree, at+".jar.asc")
				delete(w.tree, at+".pom.asc")
			case adaptertest.ForeignSigner:
				mallory := entity()
				w.tree.put(at+".jar", w.jar, mallory)
				w.tree.put(at+".pom", w.pom, mallory)
			case adaptertest.Expired:
				cfg := *pgpConfig
				cfg.KeyLifetimeSecs = 3600
				short := must(pgp.NewEntity("Alice", "", "alice@example.com", &cfg))
				w.material = pins{"pkg:maven/org.example/widget", [][]byte{public(short)}}
				for _, ext := range []string{".jar", ".pom"} {
					w.tree[at+ext+".asc"] = late(short, w.tree[at+ext])
				}
			case adaptertest.Replayed: // the signatures of what was here before
				for _, ext := range []string{".jar", ".pom"} {
					w.tree[at+ext+".asc"] = detach([]byte("earlier "+ext), w.alice)
				}
			case adaptertest.Duplicate:
				for _, ext := range []string{".jar", ".pom"} {
					w.tree[at+ext+".asc"] = append(detach(w.tree[at+ext], w.alice), detach([]byte("other bytes"), w.alice)...)
				}
			}
			return w.at(t, env)
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

func of(res adapter.Result, c trust.Check, file string) trust.Evidence {
	for _, e := range res.Evidence {
		if e.Check == c && (file == "" || e.Artifact.Name == file) {
			return e
		}
	}
	return trust.Evidence{}
}

func right(t testing.TB) (*world, *adaptertest.Env) {
	return newWorld(t), adaptertest.NewEnv(t, adaptertest.Right)
}

func TestFilesFactsAndHistory(t *testing.T) {
	w, env := right(t)
	res := collect(t, w.at(t, env))
	for _, f := range []string{"widget-1.2.0.jar", "widget-1.2.0.pom"} {
		if e := of(res, trust.CheckPublisherSig, f); e.Outcome != trust.Verified || e.Assurance != trust.AssurancePublisher || e.Signer == nil {
			t.Errorf("%s: %+v", f, e)
		}
	}
	if e := of(res, trust.CheckBytes, "widget-1.2.0.jar"); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
	f := res.Facts
	if f.Repository != "https://github.com/acme/widget" || f.Releases != 4 || f.LatestKnown != "1.10.0" || f.Published.IsZero() || !slices.Equal(f.Licenses, []string{"MIT"}) {
		t.Errorf("facts: %+v", f)
	}
	if len(res.History) != 2 || res.History[0].Version != "1.1.0" || len(res.History[0].Signers) != 1 || res.History[1].Version != "1.0" {
		t.Errorf("history: %+v", res.History)
	}
}

// TestUnknownKey: a key that nobody pinned is neither tampering nor absence, and
// the keys pinned for another artifact are not tried.
func TestUnknownKey(t *testing.T) {
	for what, m := range map[string]adapter.Materials{"none": nil, "of another artifact": pins{"pkg:maven/org.example/gadget", [][]byte{public(entity())}}, "unreadable": pins{"", [][]byte{[]byte("junk")}}} {
		w, env := right(t)
		w.material = m
		res := collect(t, w.at(t, env))
		if e := of(res, trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome != trust.Unreachable || e.Reason != trust.ReasonUnknownKey {
			t.Errorf("%s: %+v", what, e)
		}
		if what == "unreadable" && len(res.Facts.Notes) != 1 {
			t.Errorf("the key that cannot be read is not named: %q", res.Facts.Notes)
		}
	}
	w, env := right(t)
	w.material = pins{"", [][]byte{[]byte("junk"), public(w.alice)}}
	if e := of(collect(t, w.at(t, env)), trust.CheckPublisherSig, ""); e.Outcome != trust.Verified {
		t.Errorf("one bad key spoilt the others: %+v", e)
	}
}

func TestThreat032KeyInTheEvidenceIsIgnored(t *testing.T) {
	w, env := right(t)
	w.material = nil
	w.tree[at+".jar.asc"] = append(public(w.alice), w.tree[at+".jar.asc"]...)
	w.tree["/org/example/KEYS"] = public(w.alice)
	for _, e := range collect(t, w.at(t, env)).Evidence {
		if e.Assurance > trust.AssuranceNone {
			t.Errorf("%+v", e)
		}
	}
}

func TestExpectations(t *testing.T) {
	w, env := right(t)
	aw := w.at(t, env)
	fp := strings.ToUpper(fmt.Sprintf("%x", w.alice.PrimaryKey.Fingerprint))
	expect := func(m ...map[string]string) trust.Evidence {
		aw.Request.Component.Expect = m
		return of(collect(t, aw), trust.CheckPublisherSig, "widget-1.2.0.jar")
	}
	other := map[string]string{"kind": "openpgp", "fingerprint": strings.Repeat("A", 40)}
	if e := expect(other); e.Outcome != trust.Failed || e.Reason != trust.ReasonUntrustedSigner {
		t.Errorf("another key was expected: %+v", e)
	}
	if e := expect(other, map[string]string{"kind": "openpgp", "fingerprint": fp}); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
	if e := expect(map[string]string{"kind": "openpgp", "fingerprint": strings.Repeat("A", 40), "artifact": "widget-1.2.0.pom"}); e.Outcome != trust.Verified {
		t.Errorf("an expectation of another file was applied: %+v", e)
	}
}

// TestThreat007SignedSiblings: a signature names nothing, so that the signed
// bytes have to.
func TestThreat007SignedSiblings(t *testing.T) {
	for what, jar := range map[string][]byte{
		"other version":    jarOf("org.example:widget:1.1.0"),
		"sibling":          jarOf("org.example:gadget:1.2.0"),
		"shaded and older": jarOf("com.shaded:other:9", "org.example:widget:1.1.0"),
	} {
		w, env := right(t)
		w.tree.put(at+".jar", jar, w.alice)
		aw := w.at(t, env)
		aw.Request.Component.Artifacts = nil
		if e := of(collect(t, aw), trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome != trust.Failed || e.Signer == nil {
			t.Errorf("%s: %+v", what, e)
		}
	}
	for what, jar := range map[string][]byte{"no names": jarOf(), "shaded only": jarOf("com.shaded:other:9")} {
		w, env := right(t)
		w.tree.put(at+".jar", jar, w.alice)
		aw := w.at(t, env)
		aw.Request.Component.Artifacts = nil
		if e := of(collect(t, aw), trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome != trust.Verified {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestThreat050EvidenceNotThereAndOutOfReach(t *testing.T) {
	w, env := right(t)
	delete(w.tree, at+".jar.asc")
	if e := of(collect(t, w.at(t, env)), trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome != trust.Absent {
		t.Errorf("%+v", e)
	}
	w, env = right(t)
	aw := w.at(t, env)
	o := aw.Adapter.(*Adapter).Options
	o.Get = broken{o.Get, ".asc"}
	aw.Adapter = must(New(o))
	if e := of(collect(t, aw), trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome != trust.Unreachable {
		t.Errorf("%+v", e)
	}
}

// broken gives no answer for URLs with a suffix.
type broken struct {
	upstream.Getter
	suffix string
}

func (b broken) Get(ctx context.Context, r upstream.Request) (*upstream.Response, error) {
	if strings.HasSuffix(r.URL, b.suffix) {
		return nil, &upstream.Error{Kind: upstream.KindNetwork, URL: r.URL, Err: errors.New("no answer")}
	}
	return b.Getter.Get(ctx, r)
}

func TestNoDigestAndChecksums(t *testing.T) {
	w, env := right(t)
	aw := w.at(t, env)
	aw.Request.Component.Artifacts = nil // as a gradle.lockfile states it
	aw.Request.Bytes = false
	res := collect(t, aw)
	if e := of(res, trust.CheckIndex, "widget-1.2.0.jar"); e.Outcome != trust.Absent || e.Reason != trust.ReasonNoLockDigest || !slices.Contains(e.Artifact.Digests, sha(w.jar)) {
		t.Errorf("%+v", e)
	}
	if e := of(res, trust.CheckBytes, "widget-1.2.0.jar"); e.Outcome != trust.Verified || !slices.Contains(e.Artifact.Digests, sha(w.jar)) {
		t.Errorf("%+v", e)
	}
	// SHA-1 alone counts only by way of the bytes.
	delete(w.tree, at+".jar.sha256")
	sums := must(digests(memory{bytes.NewReader(w.jar)}))
	w.tree[at+".jar.sha1"] = []byte(sums.Get(trust.SHA1).Value)
	aw = w.at(t, env)
	if e := of(collect(t, aw), trust.CheckIndex, "widget-1.2.0.jar"); e.Outcome != trust.Verified {
		t.Errorf("%+v", e)
	}
	w.tree[at+".jar.sha1"] = []byte(strings.Repeat("0", 40))
	aw = w.at(t, env)
	aw.Request.Component.Artifacts = nil
	if e := of(collect(t, aw), trust.CheckBytes, "widget-1.2.0.jar"); e.Reason != trust.ReasonWrongDigest {
		t.Errorf("%+v", e)
	}
	w.tree[at+".jar.sha1"] = []byte("not hexadecimal")
	if e := of(collect(t, w.at(t, env)), trust.CheckIndex, "widget-1.2.0.jar"); e.Outcome != trust.Unreachable || e.Reason != trust.ReasonMalformed {
		t.Errorf("%+v", e)
	}
}

type memory struct{ *bytes.Reader }

func (memory) Close() error  { return nil }
func (memory) Name() string  { return "" }
func (m memory) Size() int64 { return m.Reader.Size() }

func TestThreat079WeakDigestOnly(t *testing.T) {
	w, env := right(t)
	aw := w.at(t, env)
	aw.Request.Component.Artifacts = []trust.Artifact{{Name: "widget-1.2.0.jar", Digests: trust.Digests{must(digests(memory{bytes.NewReader(w.jar)})).Get(trust.SHA1)}}}
	res := collect(t, aw)
	if e := of(res, trust.CheckIndex, "widget-1.2.0.jar"); e.Reason != trust.ReasonWeakDigest {
		t.Errorf("%+v", e)
	}
	if e := of(res, trust.CheckPublisherSig, "widget-1.2.0.jar"); e.Outcome == trust.Verified {
		t.Errorf("%+v", e)
	}
}

func TestVariantsAndPackaging(t *testing.T) {
	w, env := right(t)
	w.tree.put(at+"-linux.tar.gz", []byte("tarball"), w.alice)
	w.tree.put(at+"-tests.jar", jarOf(), w.alice)
	aw := w.at(t, env)
	for q, name := range map[string]string{"?classifier=linux&type=tar.gz": "widget-1.2.0-linux.tar.gz", "?type=test-jar": "widget-1.2.0-tests.jar"} {
		aw.Request.Component.Release, aw.Request.Component.Artifacts = must(trust.ParseRelease(purl+q)), nil
		if e := of(collect(t, aw), trust.CheckPublisherSig, name); e.Outcome != trust.Verified {
			t.Errorf("%s: %+v", q, e)
		}
	}
	aw.Request.Component.Release = must(trust.ParseRelease(purl))
	for packaging, file := range map[string]string{"pom": "", "aar": "widget-1.2.0.aar", "maven-plugin": "widget-1.2.0.jar"} {
		w.tree.put(at+".pom", pomOf("org.example", "widget", "1.2.0", "<packaging>"+packaging+"</packaging>"), w.alice)
		w.tree.put(at+".aar", jarOf(), w.alice)
		for p := range w.tree {
			if strings.HasPrefix(p, at+".jar") {
				delete(w.tree, p)
			}
		}
		res := collect(t, aw)
		for _, e := range res.Evidence {
			if n := e.Artifact.Name; n != "" && n != "widget-1.2.0.pom" && n != file {
				t.Errorf("%s: evidence about %s", packaging, n)
			}
		}
		if packaging == "maven-plugin" && of(res, trust.CheckBytes, file).Outcome != trust.Unreachable {
			t.Error("a jar that is missing is not reported")
		}
		if packaging == "aar" && of(res, trust.CheckPublisherSig, file).Outcome != trust.Verified {
			t.Error("the packaging's own file was not looked at")
		}
	}
}

func TestRefusedBeforeAsking(t *testing.T) {
	for p, want := range map[string]trust.Check{
		"pkg:maven/org.example/widget@1.2.0-SNAPSHOT":                                           trust.CheckMetadata,
		"pkg:maven/org.example/widget@1.2.0-20260101.120000-3":                                  trust.CheckMetadata,
		"pkg:maven/org.example/widget":                                                          trust.CheckMetadata,
		"pkg:maven/org.example/widget@..%2F..%2Fx":                                              trust.CheckMetadata,
		"pkg:maven/org..example/widget@1":                                                       trust.CheckMetadata,
		"pkg:maven/org.example/widget@1?type=..%2Fx":                                            trust.CheckMetadata,
		"pkg:maven/org.example/widget@1?repository_url=https%3A%2F%2Frepository.example.com%2F": trust.CheckSource,
	} {
		w, env := right(t)
		aw := w.at(t, env)
		aw.Request.Component.Release, aw.Request.Component.Artifacts = must(trust.ParseRelease(p)), nil
		res := collect(t, aw)
		if len(res.Evidence) != 1 || res.Evidence[0].Check != want || res.Evidence[0].Outcome == trust.Verified || env.Requests() != 0 {
			t.Errorf("%s: %+v after %d requests", p, res.Evidence, env.Requests())
		}
	}
	w, env := right(t)
	aw := w.at(t, env)
	for _, k := range []sbom.Kind{sbom.KindGit, sbom.KindPath, sbom.KindWorkspace, sbom.KindURL} {
		aw.Request.Component.Kind = k
		if e := of(collect(t, aw), trust.CheckSource, ""); e.Outcome != trust.Absent {
			t.Errorf("%s: %+v", k, e)
		}
	}
	aw.Request.Component.Kind = sbom.KindRegistry
	aw.Request.Component.Artifacts = []trust.Artifact{{Name: "gadget-1.2.0.jar"}}
	if res := collect(t, aw); res.Evidence[0].Reason != trust.ReasonWrongName {
		t.Errorf("%+v", res.Evidence)
	}
	if env.Requests() != 0 {
		t.Error("something was asked upstream")
	}
}

// TestThreat066FirstRepositoryWins: the private repository is asked first, and
// what it has is taken; one that gives no answer is not passed over.
func TestThreat066FirstRepositoryWins(t *testing.T) {
	private := newWorld(t)
	private.tree.put(at+".jar", jarOf("org.example:widget:1.2.0"), private.alice)
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newWorld(t)
	w.material = private.material
	w.more = []string{env.Serve(private.tree) + "/"}
	aw := w.at(t, env)
	aw.Request.Component.Artifacts = nil
	if e := of(collect(t, aw), trust.CheckSource, ""); e.Source != w.more[0] {
		t.Errorf("%+v", e)
	}
	o := aw.Adapter.(*Adapter).Options
	o.Get = brokenHost{o.Get, w.more[0]}
	aw.Adapter = must(New(o))
	for _, e := range collect(t, aw).Evidence {
		if e.Outcome != trust.Unreachable {
			t.Errorf("went on to the next repository: %+v", e)
		}
	}
}

type brokenHost struct {
	upstream.Getter
	base string
}

func (b brokenHost) Get(ctx context.Context, r upstream.Request) (*upstream.Response, error) {
	if strings.HasPrefix(r.URL, b.base) {
		return nil, &upstream.Error{Kind: upstream.KindNetwork, URL: r.URL, Err: errors.New("no answer")}
	}
	return b.Getter.Get(ctx, r)
}

func TestSigstoreBundles(t *testing.T) {
	flow := sigstoretest.Workflow{Repository: "acme/widget"}
	for what, c := range map[string]struct {
		bundle func(w *world) []byte
		check  trust.Check
		want   trust.Outcome
	}{
		"message": {func(w *world) []byte { return w.instance.Bundle(sigstoretest.Options{Artifact: w.jar}) }, trust.CheckPublisherSig, trust.Verified},
		"provenance": {func(w *world) []byte {
			return w.instance.Bundle(sigstoretest.Options{Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf("widget-1.2.0.jar", w.jar))})
		}, trust.CheckProvenance, trust.Verified},
		"other name": {func(w *world) []byte {
			return w.instance.Bundle(sigstoretest.Options{Identity: flow.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, flow.Provenance1(), sigstoretest.SubjectOf("widget-1.2.1.jar", w.jar))})
		}, trust.CheckPublisherSig, trust.Failed},
		"other jar": {func(w *world) []byte { return w.instance.Bundle(sigstoretest.Options{Artifact: []byte("other")}) }, trust.CheckPublisherSig, trust.Failed},
		"foreign": {func(w *world) []byte {
			return sigstoretest.New(t, adaptertest.Now).Bundle(sigstoretest.Options{Artifact: w.jar})
		}, trust.CheckPublisherSig, trust.Failed},
		"malformed": {func(w *world) []byte { return []byte("{}") }, trust.CheckPublisherSig, trust.Unreachable},
	} {
		w, env := right(t)
		delete(w.tree, at+".jar.asc")
		delete(w.tree, at+".pom.asc")
		w.tree[at+".jar.sigstore.json"] = c.bundle(w)
		res := collect(t, w.at(t, env))
		if !slices.ContainsFunc(res.Evidence, func(e trust.Evidence) bool {
			return e.Check == c.check && e.Outcome == c.want && e.Artifact.Name == "widget-1.2.0.jar"
		}) {
			t.Errorf("%s: %+v", what, res.Evidence)
		}
	}
}

func TestParsePOM(t *testing.T) {
	p, err := parsePOM([]byte("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><project><parent><groupId>g</groupId><version>${v}</version></parent><properties><v>1</v></properties><artifactId>a</artifactId><developers><d>J\xfcrgen</d></developers><distributionManagement><relocation><groupId>new</groupId></relocation></distributionManagement></project>"))
	if err != nil || p.group != "g" || p.version != "1" || p.relocation != "new:a:1" {
		t.Errorf("%+v, %v", p, err)
	}
	for what, s := range map[string]string{
		"two versions":     string(pomOf("g", "a", "1", "<version>2</version>")),
		"two parents":      string(pomOf("g", "a", "1", "<parent/><parent/>")),
		"behind the root":  string(pomOf("g", "a", "1", "")) + "<project/>",
		"text behind":      string(pomOf("g", "a", "1", "")) + "x",
		"no project":       "<html/>",
		"no version":       "<project><groupId>g</groupId><artifactId>a</artifactId></project>",
		"own entities":     `<!DOCTYPE x [<!ENTITY e "1">]><project><groupId>g</groupId><artifactId>a</artifactId><version>&e;</version></project>`,
		"unknown encoding": `<?xml version="1.0" encoding="ebcdic"?><project/>`,
		"cut off":          "<project><groupId>",
	} {
		if _, err := parsePOM([]byte(s)); err == nil {
			t.Errorf("%s was read", what)
		} else if o, r := trust.Classify(err); o != trust.Unreachable || r != trust.ReasonMalformed {
			t.Errorf("%s: %s %s", what, o, r)
		}
	}
	if p, err := parsePOM(pomOf("g", "a", "${revision}", "")); err != nil || p.names(must(trust.ParseRelease("pkg:maven/g/a@1"))) == nil {
		t.Errorf("a version that is not known passed: %+v %v", p, err)
	}
	for s, want := range map[string]string{"scm:git:git@github.com:Acme/x.git": "", "git@github.com:Acme/x.git": "https://github.com/acme/x", "http://www.github.com/a/b/c": "https://github.com/a/b", "https://github.com.evil.example/a/b": "", "https://github.com/a": ""} {
		if got := repository(s); got != want {
			t.Errorf("%s: %q", s, got)
		}
	}
}

func TestBounds(t *testing.T) {
	list := func(n int) []byte {
		return []byte("<metadata><versioning><versions>" + strings.Repeat("<version>1</version>", n) + "</versions></versioning></metadata>")
	}
	if _, err := parseMetadata(list(MaxVersions)); err != nil {
		t.Error(err)
	}
	if _, err := parseMetadata(list(MaxVersions + 1)); err == nil {
		t.Error("one version above the bound was read")
	}
	c := sbom.Component{Release: must(trust.ParseRelease(purl))}
	for i := range MaxFiles - 2 {
		c.Artifacts = append(c.Artifacts, trust.Artifact{Name: fmt.Sprintf("widget-1.2.0-%d.jar", i)})
	}
	if _, err := files(c); err != nil {
		t.Error(err)
	}
	c.Artifacts = append(c.Artifacts, trust.Artifact{Name: "widget-1.2.0-more.jar"})
	if _, err := files(c); err == nil {
		t.Error("one file above the bound was taken")
	}
	var names []string
	for i := range MaxOwnNames {
		names = append(names, fmt.Sprintf("g%d:a:1", i))
	}
	r := must(trust.ParseRelease(purl))
	judge := func(names []string) error {
		b := jarOf(names...)
		return ownName(bytes.NewReader(b), int64(len(b)), r)
	}
	if err := judge(names); err != nil {
		t.Error(err)
	}
	if err := judge(append(names, "g:a:1")); err == nil {
		t.Error("one name above the bound was read")
	}
	big := func(n int) error {
		return judge([]string{"g:a:1" + strings.Repeat(" ", n-len("#made\nversion=1\ngroupId=g\nartifactId=a\n"))})
	}
	if err := big(MaxProperties); err != nil {
		t.Error(err)
	}
	if err := big(MaxProperties + 1); err == nil {
		t.Error("pom.properties above the bound were read")
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	write := func(text string) {
		if err := errors.Join(os.MkdirAll(filepath.Join(home, ".m2"), 0o700), os.WriteFile(filepath.Join(home, ".m2", "settings.xml"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(k string) string { return map[string]string{"TOKEN": "s3cret"}[k] }
	if cfg, err := ConfigFromEnv(getenv, home); err != nil || len(cfg.Repositories) != 1 || cfg.Repositories[0].URL != DefaultRepository || cfg.Known[defaultAlias] != DefaultRepository {
		t.Errorf("without settings: %+v, %v", cfg, err)
	}
	write(`<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
<servers><server><id>corp</id><username>me</username><password>${env.TOKEN}</password></server><server><id>secret</id><username>x</username><password>{aes}</password></server></servers>
<mirrors><mirror><id>corp</id><mirrorOf>external:*,!team</mirrorOf><url>https://mirror.example.com/maven</url></mirror></mirrors>
<profiles><profile><id>p</id><repositories><repository><id>team</id><url>http://team.example.com/repo/</url></repository></repositories></profile>
<profile><id>off</id><repositories><repository><id>old</id><url>https://old.example.com/</url></repository></repositories></profile></profiles>
<activeProfiles><activeProfile>p</activeProfile></activeProfiles></settings>`)
	cfg, err := ConfigFromEnv(getenv, home)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cfg.Repositories); got != "[{team http://team.example.com/repo/} {central https://mirror.example.com/maven/}]" {
		t.Error(got)
	}
	if u, ok := cfg.candidates(DefaultRepository); !ok || u[0] != "https://mirror.example.com/maven/" {
		t.Errorf("%v", u)
	}
	if _, ok := cfg.candidates("https://old.example.com"); !ok {
		t.Error("a repository of the user's own settings is foreign")
	}
	if _, ok := cfg.candidates("https://evil.example.com/"); ok {
		t.Error("a foreign repository is known")
	}
	if len(cfg.Credentials) == 0 || cfg.Credentials[0].Host != "mirror.example.com" || cfg.Credentials[0].Path != "/maven" || !slices.Equal(cfg.Insecure, []string{"team.example.com"}) || len(cfg.Notes) != 1 {
		t.Errorf("%+v", cfg)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", cfg, cfg), "s3cret") {
		t.Error("printing the configuration shows a secret")
	}
	write("<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>https://u:hunter2@x.example.com/m</url></mirror></mirrors></settings>")
	if cfg, err := ConfigFromEnv(getenv, home); err != nil || cfg.Repositories[0].URL != "https://x.example.com/m/" || len(cfg.Credentials) != 1 || cfg.Credentials[0].Host != "x.example.com" || strings.Contains(fmt.Sprintf("%+v", cfg), "hunter2") {
		t.Errorf("credentials in the URL: %+v, %v", cfg, err)
	}
	for _, bad := range []string{"<settings>", "<x/>", "<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>ftp://x</url></mirror></mirrors></settings>",
		"<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>ftp://u:hunter2@x/</url></mirror></mirrors></settings>"} {
		write(bad)
		if _, err := ConfigFromEnv(getenv, home); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	write("<settings>" + strings.Repeat(" ", MaxSettings-21) + "</settings>")
	if _, err := ConfigFromEnv(getenv, home); err != nil {
		t.Error(err)
	}
	write("<settings>" + strings.Repeat(" ", MaxSettings-20) + "</settings>")
	if _, err := ConfigFromEnv(getenv, home); err == nil {
		t.Error("settings above the bound were read")
	}
}

// The installation's settings are those of everybody on the machine: the user's
// win where both have an id, and the rest counts too.
func TestInstallationSettings(t *testing.T) {
	home, maven := t.TempDir(), t.TempDir()
	put := func(dir, name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(home, ".m2/settings.xml", `<settings><mirrors><mirror><id>m</id><mirrorOf>central</mirrorOf><url>https://mine.example.com/</url></mirror></mirrors>
<servers><server><id>team</id><username>me</username><password>{COQLCE6DU6GtcS5P=}</password></server></servers></settings>`)
	put(maven, "conf/settings.xml", `<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>https://theirs.example.com/</url></mirror>
<mirror><id>http-blocker</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked></mirror></mirrors>
<servers><server><id>m</id><username>all</username><password>secret</password></server></servers>
<profiles><profile><id>p</id><repositories><repository><id>team</id><url>https://team.example.com/repo</url></repository>
<repository><id>plain</id><url>http://plain.example.com/</url></repository></repositories></profile></profiles>
<activeProfiles><activeProfile>p</activeProfile></activeProfiles></settings>`)
	for _, env := range []string{"MAVEN_HOME", "M2_HOME"} {
		cfg, err := ConfigFromEnv(func(k string) string { return map[string]string{env: maven}[k] }, home)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(cfg.Repositories); got != "[{team https://team.example.com/repo/} {central https://mine.example.com/}]" {
			t.Errorf("%s: %s", env, got)
		}
		if len(cfg.Credentials) != 1 || cfg.Credentials[0].Host != "mine.example.com" {
			t.Errorf("%s: %v", env, cfg.Credentials)
		}
		notes := strings.Join(cfg.Notes, "\n")
		if !strings.Contains(notes, "encrypted") || !strings.Contains(notes, "blocked") || strings.Contains(notes, "COQLCE6DU6GtcS5P") {
			t.Errorf("%s: %s", env, notes)
		}
	}
	if cfg, err := ConfigFromEnv(func(k string) string { return map[string]string{"MAVEN_HOME": "here"}[k] }, home); err != nil || len(cfg.Repositories) != 1 {
		t.Errorf("a relative path leads into the scanned tree: %+v, %v", cfg, err)
	}
	put(maven, "conf/settings.xml", "<settings>")
	if _, err := ConfigFromEnv(func(string) string { return maven }, home); err == nil {
		t.Error("broken settings of the installation were passed over")
	}
}

func TestMirrorOf(t *testing.T) {
	for _, tc := range []struct {
		of, id, url string
		want        bool
	}{
		{"*", "a", "https://x.example.com", true}, {"a,b", "b", "https://x.example.com", true}, {"*,!a", "a", "https://x.example.com", false},
		{"!a,*", "a", "https://x.example.com", false}, {"external:*", "a", "http://localhost/", false}, {"external:*", "a", "http://127.0.0.1/", false},
		{"external:http:*", "a", "https://x.example.com", false}, {"external:http:*", "a", "http://x.example.com", true}, {"b", "a", "https://x.example.com", false},
	} {
		if got := mirrorOf([]mirror{{ID: "m", Of: tc.of}}, tc.id, tc.url); (got != nil) != tc.want {
			t.Errorf("%+v", tc)
		}
	}
}

// TestRealArtifacts serves every signed artifact that is found as a repository
// would; their keys are not to be had, so that nothing is verified or accused.
func TestRealArtifacts(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	var keys [][]byte
	for _, k := range must(filepath.Glob(filepath.Join(dir, "maven", "keys", "*"))) {
		keys = append(keys, must(os.ReadFile(k)))
	}
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "maven"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".pom" {
			return err
		}
		n++
		p, err := parsePOM(must(os.ReadFile(path)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		r := must(trust.NewRelease("maven", p.group, p.artifact, p.version))
		repo := tree{}
		for _, f := range must(filepath.Glob(filepath.Join(filepath.Dir(path), "*"))) {
			repo["/"+must(folder(r))+filepath.Base(f)] = must(os.ReadFile(f))
		}
		for _, m := range must(filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(path)), "maven-metadata*.xml"))) {
			if _, err := parseMetadata(must(os.ReadFile(m))); err != nil {
				t.Errorf("%s: %v", m, err)
			}
		}
		for what, material := range map[string]adapter.Materials{"no keys": nil, "other keys": pins{"", keys}} {
			env := adaptertest.NewEnv(t, adaptertest.Right)
			w := &world{tree: repo, instance: sigstoretest.New(t, adaptertest.Now), material: material}
			aw := w.at(t, env)
			aw.Request.Component.Release, aw.Request.Component.Artifacts = r, nil
			for _, e := range collect(t, aw).Evidence {
				if e.Outcome == trust.Failed || e.Check == trust.CheckPublisherSig && (e.Outcome != trust.Unreachable || e.Reason != trust.ReasonUnknownKey) {
					t.Errorf("%s, %s: %s %s %s: %s", path, what, e.Check, e.Outcome, e.Reason, e.Detail)
				}
			}
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	if _, _, err := openpgp.ParseCertificates(bytes.Join(keys, []byte("\n"))); err != nil {
		t.Error(err)
	}
}

func FuzzParsePOM(f *testing.F) {
	f.Add(pomOf("g", "a", "1", "<packaging>pom</packaging>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePOM(b); err == nil && (p.group == "" || p.artifact == "" || p.version == "" || p.packaging == "") {
			t.Fatalf("%+v", p)
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte("<metadata><versioning><versions><version>1</version></versions></versioning></metadata>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseMetadata(b); err == nil && slices.Contains(m.versions, "") {
			t.Fatalf("%+v", m)
		}
	})
}

func FuzzOwnName(f *testing.F) {
	f.Add(jarOf("org.example:widget:1.2.0"))
	r := must(trust.ParseRelease(purl))
	f.Fuzz(func(t *testing.T, b []byte) { _ = ownName(bytes.NewReader(b), int64(len(b)), r) })
}

func BenchmarkOwnName(b *testing.B) {
	jar, r := jarOf("org.example:widget:1.2.0"), must(trust.ParseRelease(purl))
	for b.Loop() {
		if err := ownName(bytes.NewReader(jar), int64(len(jar)), r); err != nil {
			b.Fatal(err)
		}
	}
}
