package npm

import (
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

type obj = map[string]any

// registry speaks npm's protocol and signs with keys made at run time.
type registry struct {
	*sigstoretest.World
	t    testing.TB
	base string
	mu   sync.Mutex
	docs map[string][]byte // by escaped path, without the leading slash
	pack map[string]obj
	asks []string
}

func newRegistry(t testing.TB) *registry {
	return &registry{World: sigstoretest.New(t, adaptertest.Now.AddDate(0, 0, -10)), t: t, docs: map[string][]byte{}, pack: map[string]obj{}}
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	g.mu.Lock()
	g.asks = append(g.asks, p)
	doc, ok := g.docs[p]
	if pk, is := g.pack[p]; is {
		doc, ok = g.json(pk), true
	}
	g.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(doc)
}

func (g *registry) json(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func sri(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func escaped(name string) string { return strings.Replace(name, "/", "%2f", 1) }

// release is what the registry shall say and sign of a release.
type release struct {
	name, version string
	tarball       []byte
	key           *sigstoretest.Key // default World.NPM
	at            time.Time
	signed        string // what the registry signs instead of name@version:integrity
	unsigned      bool
	attest        bool // with publish attestation and provenance
	workflow      sigstoretest.Workflow
	subject       string // default pkg:npm/name@version
	subjectBytes  []byte
	publishName   string
	fault         sigstoretest.Fault // of the provenance
	signer        *sigstoretest.World
	v02           bool
	edit          func(rec obj, doc *[]any)
}

func purl(name, version string) string {
	return "pkg:npm/" + strings.Replace(name, "@", "%40", 1) + "@" + version
}

// add publishes a release.
func (g *registry) add(r release) {
	g.t.Helper()
	if r.tarball == nil {
		r.tarball = []byte(r.name + "@" + r.version)
	}
	if r.key == nil {
		r.key = g.NPM
	}
	if r.at.IsZero() {
		r.at = g.Now
	}
	if r.subject == "" {
		r.subject = purl(r.name, r.version)
	}
	if r.subjectBytes == nil {
		r.subjectBytes = r.tarball
	}
	if r.publishName == "" {
		r.publishName = r.name
	}
	if r.signer == nil {
		r.signer = g.World
	}
	integrity := sri(r.tarball)
	sha := sha1.Sum(r.tarball)
	base := r.name[strings.LastIndex(r.name, "/")+1:]
	dist := obj{"integrity": integrity, "shasum": hex.EncodeToString(sha[:]), "tarball": g.base + r.name + "/-/" + base + "-" + r.version + ".tgz"}
	rec := obj{"name": r.name, "version": r.version, "dist": dist, "license": "MIT",
		"repository": obj{"type": "git", "url": "git+https://github.com/" + r.workflow.Defaults().Repository + ".git"}, "_npmUser": obj{"name": "dev"}}
	if !r.unsigned {
		payload := r.name + "@" + r.version + ":" + integrity
		if r.signed != "" {
			payload = r.signed
		}
		dist["signatures"] = []any{obj{"keyid": r.key.ID, "sig": base64.StdEncoding.EncodeToString(r.key.Sign(g.t, []byte(payload)))}}
	}
	var doc []any
	if r.attest {
		u := "-/npm/v1/attestations/" + escaped(r.name) + "@" + r.version
		dist["attestations"] = obj{"url": "https://elsewhere.example.com/" + u, "provenance": obj{"predicateType": sigstore.PredicateProvenance1}}
		subject := sigstoretest.SubjectOf(r.subject, r.subjectBytes)
		delete(subject.Digest, "sha256")
		typ, predicate := sigstore.PredicateProvenance1, r.workflow.Provenance1()
		if r.v02 {
			typ, predicate = sigstore.PredicateProvenance02, r.workflow.Provenance02()
		}
		doc = []any{
			obj{"predicateType": sigstore.PredicateNPMPublish, "bundle": json.RawMessage(r.signer.Bundle(sigstoretest.Options{Key: r.key, At: r.at, Version: "0.2",
				Statement: sigstoretest.Statement(sigstore.PredicateNPMPublish, obj{"name": r.publishName, "version": r.version, "registry": strings.TrimSuffix(g.base, "/")}, subject)}))},
			obj{"predicateType": typ, "bundle": json.RawMessage(r.signer.Bundle(sigstoretest.Options{Identity: r.workflow.Identity(), At: r.at, Fault: r.fault,
				Statement: sigstoretest.Statement(typ, predicate, subject)}))},
		}
	}
	if r.edit != nil {
		r.edit(rec, &doc)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.pack[escaped(r.name)]
	if p == nil {
		p = obj{"name": r.name, "dist-tags": obj{}, "versions": obj{}, "time": obj{}, "maintainers": []any{obj{"name": "dev"}}}
		g.pack[escaped(r.name)] = p
	}
	p["versions"].(obj)[r.version] = rec
	p["time"].(obj)[r.version] = r.at.Format(time.RFC3339)
	p["dist-tags"].(obj)["latest"] = r.version
	if doc != nil {
		g.docs["-/npm/v1/attestations/"+escaped(r.name)+"@"+r.version] = g.json(obj{"attestations": doc})
	}
	g.docs[r.name+"/-/"+base+"-"+r.version+".tgz"] = r.tarball
}

// trust is what headgate pinned of the registry's world.
func (g *registry) trust() Trust {
	root, err := sigstore.LoadTrustedRoot(g.TrustedRoot(), sigstore.RootOptions{Obtained: adaptertest.Now, Now: adaptertest.Now})
	if err != nil {
		g.t.Fatal(err)
	}
	keys, err := sigstore.ParseNPMKeys(g.NPMKeys())
	if err != nil {
		g.t.Fatal(err)
	}
	return Trust{Keys: keys, Root: root}
}

// start serves the registry and returns an adapter before it.
func (g *registry) start(env *adaptertest.Env, edit func(*Options)) *Adapter {
	g.t.Helper()
	g.base = env.Serve(g) + "/"
	tr := g.trust()
	o := Options{Get: env.Getter(), Clock: env.Clock, Config: Config{Registry: g.base, Public: g.base}, Trust: func() Trust { return tr }}
	if edit != nil {
		edit(&o)
	}
	a, err := New(o)
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

func component(t testing.TB, name, version, integrity, resolved string) sbom.Component {
	t.Helper()
	ns, n := "", name
	if strings.HasPrefix(name, "@") {
		ns, n, _ = strings.Cut(name, "/")
	}
	rel, err := trust.NewRelease("npm", ns, n, version)
	if err != nil {
		t.Fatal(err)
	}
	c := sbom.Component{Release: rel, Kind: sbom.KindRegistry}
	if integrity != "" || resolved != "" {
		a := trust.Artifact{URL: resolved}
		if integrity != "" {
			if a.Digests, err = trust.ParseSRI(integrity); err != nil {
				t.Fatal(err)
			}
		}
		c.Artifacts = []trust.Artifact{a}
	}
	return c
}

func find(res adapter.Result, c trust.Check) trust.Evidence {
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	return trust.Evidence{}
}

func (g *registry) collect(a *Adapter, c sbom.Component, history int) adapter.Result {
	g.t.Helper()
	res, err := a.Collect(g.t.Context(), adapter.Request{Component: c, History: history})
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			g.t.Errorf("%s: %v", e.Check, err)
		}
	}
	return res
}

func expect(t *testing.T, res adapter.Result, c trust.Check, o trust.Outcome, r trust.Reason) trust.Evidence {
	t.Helper()
	e := find(res, c)
	if e.Outcome != o || e.Reason != r {
		t.Errorf("%s is %q (%s), expected %s (%s): %s", c, e.Outcome, e.Reason, o, r, e.Detail)
	}
	return e
}
