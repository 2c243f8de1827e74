package nuget

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
	ct "github.com/headgate/headgate/trust/cms/cmstest"
	"github.com/headgate/headgate/trust/nugetsig"
)

var (
	born     = adaptertest.Now.AddDate(-3, 0, 0)
	signedAt = born.AddDate(0, 6, 0)
	root     = ct.Issue("root", nil, born, born.AddDate(10, 0, 0), 2048, nil)
	author   = ct.Issue("author", root, born, born.AddDate(1, 0, 0), 2048, ct.CodeSigning)
	repo     = ct.Issue("repo", root, born, born.AddDate(1, 0, 0), 2048, ct.CodeSigning)
	tsa      = ct.Issue("tsa", root, born, born.AddDate(1, 0, 0), 2048, ct.TimeStamping)
	stranger = ct.Issue("stranger", ct.Issue("other root", nil, born, born.AddDate(10, 0, 0), 2048, nil), born, born.AddDate(1, 0, 0), 2048, ct.CodeSigning)
)

const (
	signedIndex = "https://nuget.example.com/v3/index.json"
	purl        = "pkg:nuget/Acme.Widget@1.2.0"
)

func oid(arcs ...int) asn1.ObjectIdentifier { return arcs }

var (
	commitment = oid(1, 2, 840, 113549, 1, 9, 16, 2, 16)
	origin     = oid(1, 2, 840, 113549, 1, 9, 16, 6, 1)
	receipt    = oid(1, 2, 840, 113549, 1, 9, 16, 6, 2)
	indexAttr  = oid(1, 3, 6, 1, 4, 1, 311, 84, 2, 1, 1, 1)
	ownersAttr = oid(1, 3, 6, 1, 4, 1, 311, 84, 2, 1, 1, 2)
)

func spec(id, version string) string {
	return "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><package xmlns=\"http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd\"><metadata><id>" + id + "</id><version>" + version + "</version></metadata></package>"
}

func nupkg(files ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		ct.Must(ct.Must(w.Create(files[i])).Write([]byte(files[i+1])))
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func widget(version string) []byte {
	return nupkg("Acme.Widget.nuspec", spec("Acme.Widget", version), "lib/a.dll", "code "+version)
}

// put inserts the signature as a stored entry behind the others.
func put(p []byte, name string, data []byte) []byte {
	const end, local, central = 22, 30, 46
	le := binary.LittleEndian
	eocd := bytes.Clone(p[len(p)-end:])
	dir := int(le.Uint32(eocd[16:]))
	l, c := make([]byte, local), make([]byte, central)
	copy(l, "PK\x03\x04")
	le.PutUint32(l[14:], crc32.ChecksumIEEE(data))
	le.PutUint32(l[18:], uint32(len(data)))
	le.PutUint32(l[22:], uint32(len(data)))
	le.PutUint16(l[26:], uint16(len(name)))
	copy(c, "PK\x01\x02")
	le.PutUint32(c[16:], crc32.ChecksumIEEE(data))
	le.PutUint32(c[20:], uint32(len(data)))
	le.PutUint32(c[24:], uint32(len(data)))
	le.PutUint16(c[28:], uint16(len(name)))
	le.PutUint32(c[42:], uint32(dir))
	out := slices.Concat(p[:dir], l, []byte(name), data)
	start := len(out)
	out = slices.Concat(out, p[dir:len(p)-end], c, []byte(name))
	n := le.Uint16(eocd[10:]) + 1
	le.PutUint16(eocd[8:], n)
	le.PutUint16(eocd[10:], n)
	le.PutUint32(eocd[12:], uint32(len(out)-start))
	le.PutUint32(eocd[16:], uint32(start))
	return append(out, eocd...)
}

// how says how a package is signed.
type how struct {
	author, repo *ct.Identity
	index        string
	owners       []string
	twice        bool
	noTime       bool
	at           time.Time
}

func sound() how {
	return how{author: author, repo: repo, index: signedIndex, owners: []string{"acme", "bob"}, at: signedAt}
}

func sign(p []byte, h how) []byte {
	attr := func(o asn1.ObjectIdentifier, v []byte) ct.Attribute { return ct.Attribute{Type: o, Value: v} }
	stamp := func(sig []byte) []ct.Attribute {
		if h.noTime {
			return nil
		}
		return []ct.Attribute{attr(cms.OIDTimestamp, ct.Timestamp(tsa, []*x509.Certificate{tsa.Cert}, sig, h.at))}
	}
	var list []byte
	for _, o := range h.owners {
		list = append(list, ct.Must(asn1.MarshalWithParams(o, "utf8"))...)
	}
	sum := sha256.Sum256(p)
	content := []byte("Version:1\n\n2.16.840.1.101.3.4.2.1-Hash:" + base64.StdEncoding.EncodeToString(sum[:]) + "\n\n")
	byRepo := func(counter bool) ct.Signer {
		return ct.Signer{Identity: *h.repo, Counter: counter, SKI: true, Unsigned: stamp, Signed: []ct.Attribute{attr(commitment, ct.Seq(ct.OID(receipt))),
			ct.SigningCertificateV2(h.repo.Cert), attr(indexAttr, ct.Must(asn1.MarshalWithParams(h.index, "ia5"))), attr(ownersAttr, ct.Seq(list))}}
	}
	var certs []*x509.Certificate
	for _, id := range []*ct.Identity{h.author, h.repo} {
		if id != nil {
			certs = append(certs, id.Cert)
		}
	}
	primary := ct.Signer{}
	if h.author == nil {
		primary = byRepo(false)
	} else {
		primary = ct.Signer{Identity: *h.author, SKI: true, Signed: []ct.Attribute{attr(commitment, ct.Seq(ct.OID(origin))), ct.SigningCertificateV2(h.author.Cert)}, Unsigned: func(sig []byte) []ct.Attribute {
			as := stamp(sig)
			if h.repo != nil {
				c := attr(cms.OIDCounterSignature, byRepo(true).Info(sig, cms.OIDData))
				if as = append(as, c); h.twice {
					as = append(as, c)
				}
			}
			return as
		}}
	}
	return put(p, ".signature.p7s", ct.SignedData(cms.OIDData, ct.Octets(content), nil, certs, primary))
}

// entry is the content of one file of a package.
func entry(pkg []byte, name string) []byte {
	z := ct.Must(zip.NewReader(bytes.NewReader(pkg), int64(len(pkg))))
	return ct.Must(io.ReadAll(ct.Must(z.Open(name))))
}

func contentHash(plain []byte) trust.Digest {
	sum := sha512.Sum512(plain)
	return trust.DigestOf(trust.NuGetContent, sum[:])
}

// world is a source with one package of two releases.
type world struct {
	pkg    []byte
	all    bool
	listed []string // fingerprints that the source names
	cfg    Config
	roots  []*x509.Certificate
	base   string
	edit   func(path, body string) string
}

func newWorld() *world {
	return &world{pkg: sign(widget("1.2.0"), sound()), all: true, roots: []*x509.Certificate{root.Cert},
		cfg: Config{Repositories: []Repository{{ServiceIndex: signedIndex, Certificates: []string{cms.Fingerprint(repo.Cert)}}}}}
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var body string
	switch r.URL.Path {
	case "/v3/index.json":
		body = fmt.Sprintf(`{"version":"3.0.0","resources":[{"@id":"%[1]s/flat/","@type":"PackageBaseAddress/3.0.0"},{"@id":"%[1]s/reg/","@type":["RegistrationsBaseUrl/3.6.0"]},{"@id":"%[1]s/sigs","@type":"RepositorySignatures/5.0.0"}]}`, w.base)
	case "/sigs":
		var cs []string
		for _, f := range w.listed {
			cs = append(cs, fmt.Sprintf(`{"fingerprints":{"2.16.840.1.101.3.4.2.1":%q}}`, strings.ToUpper(f)))
		}
		body = fmt.Sprintf(`{"allRepositorySigned":%t,"signingCertificates":[%s]}`, w.all, strings.Join(cs, ","))
	case "/reg/acme.widget/index.json":
		body = fmt.Sprintf(`{"count":2,"items":[{"@id":"%[1]s/reg/acme.widget/page/0","lower":"0.9.0","upper":"1.0.0","count":2},{"@id":"%[1]s/reg/acme.widget/page/1","lower":"1.1.0","upper":"1.2.0","count":2}]}`, w.base)
	case "/reg/acme.widget/page/1":
		body = `{"items":[{"catalogEntry":{"id":"Acme.Widget","version":"1.1.0","listed":true,"published":"2023-01-01T00:00:00+00:00"}},
			{"catalogEntry":{"id":"Acme.Widget","version":"1.2.0+build","listed":true,"published":"2024-01-01T00:00:00Z","licenseExpression":"MIT","projectUrl":"https://github.com/Acme/widget","deprecation":{"reasons":["Legacy"],"message":"use other"}}}]}`
	case "/flat/acme.widget/1.2.0/acme.widget.1.2.0.nupkg":
		body = string(w.pkg)
	default:
		http.NotFound(rw, r)
		return
	}
	if w.edit != nil {
		body = w.edit(r.URL.Path, body)
	}
	fmt.Fprint(rw, body)
}

func (w *world) at(env *adaptertest.Env) adaptertest.World {
	w.base = env.Serve(w)
	w.cfg.Sources = append(w.cfg.Sources, Source{"test", w.base + "/v3/index.json"})
	art := trust.Artifact{Digests: trust.Digests{contentHash(widget("1.2.0"))}}
	return adaptertest.World{
		Adapter:  ct.Must(New(Options{Get: env.Getter(), Clock: env.Clock, Config: w.cfg, Roots: func() ([]*x509.Certificate, error) { return w.roots, nil }})),
		Request:  adapter.Request{Component: sbom.Component{Release: ct.Must(trust.ParseRelease(purl)), Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{art}}, Bytes: true, History: 3},
		Artifact: art, Bytes: w.pkg,
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckCountersig, trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			w := newWorld()
			h := sound()
			switch env.Scenario {
			case adaptertest.WrongName:
				w.pkg = sign(nupkg("Acme.Gadget.nuspec", spec("Acme.Gadget", "1.2.0")), h)
			case adaptertest.WrongVersion:
				w.pkg = sign(widget("1.1.0"), h)
			case adaptertest.WrongDigest:
				w.pkg = sign(nupkg("Acme.Widget.nuspec", spec("Acme.Widget", "1.2.0"), "lib/a.dll", "other code"), h)
			case adaptertest.Stripped:
				w.pkg = widget("1.2.0")
			case adaptertest.ForeignSigner:
				h.author, h.repo = stranger, stranger
				w.pkg = sign(widget("1.2.0"), h)
			case adaptertest.Expired: // signed after the certificates' end
				h.at = born.AddDate(1, 1, 0)
				w.pkg = sign(widget("1.2.0"), h)
			case adaptertest.Replayed: // the signature of the release before this one
				earlier := sign(widget("1.1.0"), h)
				w.pkg = put(widget("1.2.0"), ".signature.p7s", entry(earlier, ".signature.p7s"))
			case adaptertest.Duplicate:
				h.twice = true
				w.pkg = sign(widget("1.2.0"), h)
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

func run(t testing.TB, w *world) adapter.Result {
	return collect(t, w.at(adaptertest.NewEnv(t, adaptertest.Right)))
}

func TestEvidenceFactsAndHistory(t *testing.T) {
	res := run(t, newWorld())
	r := of(res, trust.CheckCountersig)
	if r.Outcome != trust.Verified || r.Assurance != trust.AssuranceRegistry || r.Signer.Kind != trust.SignerRegistry || r.Signer.KeyID != cms.Fingerprint(repo.Cert) || !r.SignedAt.Equal(signedAt) || !strings.Contains(r.Detail, "acme, bob") {
		t.Errorf("%+v", r)
	}
	a := of(res, trust.CheckPublisherSig)
	if a.Outcome != trust.Verified || a.Assurance != trust.AssurancePublisher || a.Signer.Kind != trust.SignerX509 || a.Signer.Root != cms.Fingerprint(root.Cert) || a.Signer.Subject == "" {
		t.Errorf("%+v", a)
	}
	f := res.Facts
	if !slices.Equal(f.Owners, []string{"acme", "bob"}) || f.Releases != 4 || f.Published.Year() != 2024 || f.PrevRelease.Year() != 2023 || f.Deprecated == nil || f.Repository != "https://github.com/acme/widget" || f.LatestKnown != "1.2.0" {
		t.Errorf("%+v", f)
	}
	if len(res.History) != 1 || res.History[0].Version != "1.1.0" {
		t.Errorf("%+v", res.History)
	}
}

func TestSignerTrust(t *testing.T) {
	type want struct {
		check trust.Check
		o     trust.Outcome
		r     trust.Reason
	}
	for what, c := range map[string]struct {
		change func(w *world, h *how)
		want   want
	}{
		"repository by a listed stranger": {func(w *world, h *how) { h.repo, w.listed = stranger, []string{cms.Fingerprint(stranger.Cert)} }, want{trust.CheckCountersig, trust.Unreachable, trust.ReasonUnknownKey}},
		"repository by a stranger":        {func(w *world, h *how) { h.repo = stranger }, want{trust.CheckCountersig, trust.Failed, trust.ReasonUntrustedSigner}},
		"under a root and not pinned":     {func(w *world, h *how) { w.cfg.Repositories = nil }, want{trust.CheckCountersig, trust.Failed, trust.ReasonUntrustedSigner}},
		"another service index":           {func(w *world, h *how) { h.index = "https://evil.example.com/v3/index.json" }, want{trust.CheckCountersig, trust.Failed, trust.ReasonForeignSource}},
		"owners that nobody allowed":      {func(w *world, h *how) { w.cfg.Repositories[0].Owners = []string{"carol"} }, want{trust.CheckCountersig, trust.Failed, trust.ReasonUntrustedSigner}},
		"owners that are allowed":         {func(w *world, h *how) { w.cfg.Repositories[0].Owners = []string{"ACME"} }, want{trust.CheckCountersig, trust.Verified, ""}},
		"no roots, repository":            {func(w *world, h *how) { w.roots = nil }, want{trust.CheckCountersig, trust.Verified, ""}},
		"no roots, author":                {func(w *world, h *how) { w.roots = nil }, want{trust.CheckPublisherSig, trust.Unreachable, trust.ReasonExpiredRoot}},
		"unknown timestamp authority":     {func(w *world, h *how) { w.roots = []*x509.Certificate{stranger.Cert} }, want{trust.CheckCountersig, trust.Verified, ""}},
		"author under another root":       {func(w *world, h *how) { h.author = stranger }, want{trust.CheckPublisherSig, trust.Unreachable, trust.ReasonUnknownKey}},
		"author pinned":                   {func(w *world, h *how) { h.author, w.cfg.Authors = stranger, []string{cms.Fingerprint(stranger.Cert)} }, want{trust.CheckPublisherSig, trust.Verified, ""}},
		"no author":                       {func(w *world, h *how) { h.author = nil }, want{trust.CheckPublisherSig, trust.Absent, trust.ReasonNotPublished}},
		"repository alone":                {func(w *world, h *how) { h.author = nil }, want{trust.CheckCountersig, trust.Verified, ""}},
		"no repository, all signed":       {func(w *world, h *how) { h.repo = nil }, want{trust.CheckCountersig, trust.Failed, trust.ReasonBadSignature}},
		"no repository, none promised":    {func(w *world, h *how) { h.repo, w.all = nil, false }, want{trust.CheckCountersig, trust.Absent, trust.ReasonNotOffered}},
		"certificate expired, no time":    {func(w *world, h *how) { h.noTime = true }, want{trust.CheckPublisherSig, trust.Failed, trust.ReasonKeyOutsideWindow}},
	} {
		w, h := newWorld(), sound()
		c.change(w, &h)
		w.pkg = sign(widget("1.2.0"), h)
		if e := of(run(t, w), c.want.check); e.Outcome != c.want.o || e.Reason != c.want.r {
			t.Errorf("%s: %s %s %s: %s", what, e.Check, e.Outcome, e.Reason, e.Detail)
		}
	}
}

func TestThreat024TimestampOutsideWindow(t *testing.T) {
	for _, at := range []time.Time{repo.Cert.NotBefore.Add(-time.Second), repo.Cert.NotAfter.Add(time.Second)} {
		w, h := newWorld(), sound()
		h.at = at
		w.pkg = sign(widget("1.2.0"), h)
		for _, c := range []trust.Check{trust.CheckCountersig, trust.CheckPublisherSig} {
			if e := of(run(t, w), c); e.Outcome == trust.Verified {
				t.Errorf("%s at %s: %+v", c, at, e)
			}
		}
	}
}

func TestThreat031UnpinnedSourceNeverVerifies(t *testing.T) {
	w := newWorld()
	w.cfg.Repositories = nil
	w.listed = []string{cms.Fingerprint(repo.Cert)}
	if e := of(run(t, w), trust.CheckCountersig); e.Outcome != trust.Unreachable || e.Assurance != trust.AssuranceNone {
		t.Errorf("%+v", e)
	}
}

func TestDigests(t *testing.T) {
	pkg := newWorld().pkg
	whole := sha512.Sum512(pkg)
	for what, c := range map[string]struct {
		locked trust.Digests
		o      trust.Outcome
		r      trust.Reason
	}{
		"contentHash":         {trust.Digests{contentHash(widget("1.2.0"))}, trust.Verified, ""},
		"other contentHash":   {trust.Digests{contentHash(widget("1.2.1"))}, trust.Failed, trust.ReasonWrongDigest},
		"SHA-512 of the file": {trust.Digests{trust.DigestOf(trust.SHA512, whole[:])}, trust.Verified, ""},
		"none":                {nil, trust.Absent, trust.ReasonNoLockDigest},
		"weak":                {trust.Digests{ct.Must(trust.NewDigest(trust.SHA1, strings.Repeat("a", 40)))}, trust.Failed, trust.ReasonWeakDigest},
	} {
		aw := newWorld().at(adaptertest.NewEnv(t, adaptertest.Right))
		aw.Request.Component.Artifacts = []trust.Artifact{{Digests: c.locked}}
		res := collect(t, aw)
		if e := of(res, trust.CheckLockfile); e.Outcome != c.o || e.Reason != c.r {
			t.Errorf("%s: %+v", what, e)
		}
		if e := of(res, trust.CheckCountersig); (e.Outcome == trust.Failed) != (c.o == trust.Failed) {
			t.Errorf("%s: %s", what, e.Outcome)
		}
	}
	// A digest over the file is not one of its content.
	aw := newWorld().at(adaptertest.NewEnv(t, adaptertest.Right))
	aw.Request.Component.Artifacts = []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.NuGetContent, whole[:])}}}
	if e := of(collect(t, aw), trust.CheckLockfile); e.Outcome != trust.Failed {
		t.Errorf("%+v", e)
	}
}

func TestThreat081PackageNamesItself(t *testing.T) {
	for what, files := range map[string][]string{
		"two nuspecs":     {"Acme.Widget.nuspec", spec("Acme.Widget", "1.2.0"), "b.nuspec", spec("Evil", "1.2.0")},
		"none":            {"lib/a.dll", "x"},
		"nested only":     {"x/Acme.Widget.nuspec", spec("Acme.Widget", "1.2.0")},
		"malformed":       {"Acme.Widget.nuspec", "<package>"},
		"two ids":         {"Acme.Widget.nuspec", strings.Replace(spec("Acme.Widget", "1.2.0"), "</id>", "</id><id>Evil</id>", 1)},
		"another version": {"Acme.Widget.nuspec", spec("Acme.Widget", "1.2.0.1")},
	} {
		w := newWorld()
		w.pkg = sign(nupkg(files...), sound())
		aw := w.at(adaptertest.NewEnv(t, adaptertest.Right))
		aw.Request.Component.Artifacts = nil
		for _, e := range collect(t, aw).Evidence {
			if e.Assurance > trust.AssuranceNone {
				t.Errorf("%s: %+v", what, e)
			}
		}
	}
	w := newWorld()
	w.pkg = sign(nupkg("a.nuspec", spec("ACME.widget", "1.2.0.0+build")), sound())
	aw := w.at(adaptertest.NewEnv(t, adaptertest.Right))
	aw.Request.Component.Artifacts = nil
	if e := of(collect(t, aw), trust.CheckCountersig); e.Outcome != trust.Verified {
		t.Errorf("two spellings of one version: %+v", e)
	}
}

// TestThreat075And106ResourcesElsewhere: a service index, a discovery answer, leads
// to no other host, neither one inside nor one outside.
func TestThreat075And106ResourcesElsewhere(t *testing.T) {
	for what, edit := range map[string]func(path, body string) string{
		"packages": func(path, body string) string {
			return strings.Replace(body, `"@id":"http`, `"@id":"http://169.254.169.254/?http`, 1)
		},
		"public": func(path, body string) string {
			return strings.Replace(body, `"@id":"http`, `"@id":"http://evil.example.com/?http`, 1)
		},
		"page": func(path, body string) string {
			if path == "/reg/acme.widget/index.json" {
				return strings.ReplaceAll(body, `"@id":"http`, `"@id":"http://evil.example.com/?http`)
			}
			return body
		},
	} {
		w := newWorld()
		w.edit = edit
		res := run(t, w)
		// Told before anything is asked there, not by the client that would not ask.
		told := map[string]string{"packages": "the service index of", "public": "the service index of", "page": "the registration leads to"}[what]
		if !slices.ContainsFunc(res.Evidence, func(e trust.Evidence) bool {
			return e.Reason == trust.ReasonForeignSource && strings.Contains(e.Detail, told)
		}) {
			t.Errorf("%s: %+v", what, res.Evidence)
		}
	}
}

func TestRegistrationHints(t *testing.T) {
	w := newWorld()
	w.edit = func(path, body string) string { return strings.Replace(body, "2024-01-01", "1900-01-01", 1) }
	if f := run(t, w).Facts; f.Yanked == nil || !f.Published.IsZero() {
		t.Errorf("%+v", f)
	}
	w = newWorld()
	w.edit = func(path, body string) string { return strings.Replace(body, "1.2.0+build", "1.3.0", 1) }
	if e := of(run(t, w), trust.CheckMetadata); e.Reason != trust.ReasonNotFound {
		t.Errorf("%+v", e)
	}
}

func TestRefusedBeforeAsking(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := newWorld()
	aw := w.at(env)
	for _, k := range []sbom.Kind{sbom.KindGit, sbom.KindPath, sbom.KindWorkspace} {
		aw.Request.Component.Kind = k
		if e := of(collect(t, aw), trust.CheckSource); e.Outcome != trust.Absent {
			t.Errorf("%s: %+v", k, e)
		}
	}
	aw.Request.Component.Kind = sbom.KindRegistry
	aw.Request.Component.Registry = "https://evil.example.com/v3/index.json"
	if e := of(collect(t, aw), trust.CheckSource); e.Reason != trust.ReasonForeignSource {
		t.Errorf("%+v", e)
	}
	if env.Requests() != 0 {
		t.Error("something was asked upstream")
	}
	aw.Request.Component.Registry = ""
	aw.Request.Component.Release.Version = ""
	if res := collect(t, aw); res.Evidence[0].Outcome != trust.Unreachable {
		t.Errorf("%+v", res.Evidence)
	}
}

func TestThreat066Mapping(t *testing.T) {
	c := Config{Sources: []Source{{"public", "https://public.example.com/index.json"}, {"Corp", "https://corp.example.com/index.json"}}}
	c.Mapping = map[string][]string{"public": {"*", "acme.tools"}, "corp": {"acme.*"}}
	for name, want := range map[string]string{"acme.widget": "Corp", "newtonsoft.json": "public", "acme.tools": "public"} {
		if s, ok := c.candidates("", name); !ok || len(s) != 1 || s[0].Name != want {
			t.Errorf("%s: %v", name, s)
		}
	}
	c.Mapping = map[string][]string{"corp": {"acme.*"}}
	if s, ok := c.candidates("", "other"); ok {
		t.Errorf("%v", s)
	}
	c.Mapping = nil
	if s, _ := c.candidates("", "other"); len(s) != 2 {
		t.Errorf("%v", s)
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".nuget", "NuGet")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "NuGet.Config"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"TOKEN": "s3cret", "NuGetPackageSourceCredentials_more": "Username=me;Password=s3cret"}
	getenv := func(k string) string { return env[k] }
	cfg, err := ConfigFromEnv(getenv, home)
	if err != nil || len(cfg.Sources) != 1 || cfg.Sources[0].URL != DefaultSource || len(cfg.Repositories) != 1 || len(cfg.Repositories[0].Certificates) != 3 {
		t.Errorf("without a file: %+v, %v", cfg, err)
	}
	print := strings.Repeat("AB", 32)
	write(`<?xml version="1.0" encoding="utf-8"?><configuration><packageSources><clear/>
<add key="My Corp" value="https://corp.example.com/v3/index.json" protocolVersion="3"/><add key="more" value="https://more.example.com/index.json"/>
<add key="old" value="https://old.example.com/api/v2"/><add key="local" value="/srv/packages"/><add key="off" value="https://off.example.com/index.json"/></packageSources>
<disabledPackageSources><add key="off" value="true"/></disabledPackageSources>
<packageSourceCredentials><My_x0020_Corp><add key="Username" value="me"/><add key="ClearTextPassword" value="%TOKEN%"/></My_x0020_Corp></packageSourceCredentials>
<trustedSigners><repository name="corp" serviceIndex="https://corp.example.com/v3/index.json"><certificate fingerprint="` + print + `" hashAlgorithm="SHA256" allowUntrustedRoot="false"/><owners>a;b</owners></repository>
<author name="x"><certificate fingerprint="` + print + `" hashAlgorithm="SHA256"/></author></trustedSigners></configuration>`)
	cfg, err = ConfigFromEnv(getenv, home)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Sources) != 2 || cfg.Sources[0].Name != "My Corp" || len(cfg.Notes) != 2 || len(cfg.Credentials) != 2 || cfg.Credentials[0].Host != "corp.example.com" {
		t.Errorf("%+v", cfg)
	}
	if len(cfg.Repositories) != 2 || len(cfg.Repositories[1].Owners) != 2 || cfg.Authors[0] != strings.ToLower(print) {
		t.Errorf("%+v", cfg)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", cfg, cfg), "s3cret") {
		t.Error("printing the configuration shows a secret")
	}
	for _, bad := range []string{"<x/>", "<configuration>", `<configuration><packageSources><add key="a" value="https://u:hunter2@x.example.com/index.json"/></packageSources></configuration>`,
		`<configuration><trustedSigners><author name="x"><certificate fingerprint="AB"/></author></trustedSigners></configuration>`,
		`<configuration><trustedSigners><author name="x"/></trustedSigners></configuration>`} {
		write(bad)
		if _, err := ConfigFromEnv(getenv, home); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	empty := "<configuration></configuration>"
	write(empty + strings.Repeat(" ", MaxConfigFile-len(empty)))
	if _, err := ConfigFromEnv(getenv, home); err != nil {
		t.Error(err)
	}
	write(empty + strings.Repeat(" ", MaxConfigFile-len(empty)+1))
	if _, err := ConfigFromEnv(getenv, home); err == nil {
		t.Error("a file above the bound was read")
	}
}

func TestBounds(t *testing.T) {
	resources := func(n int) []byte {
		return []byte(`{"version":"3.0.0","resources":[{"@id":"https://x.example.com/","@type":"PackageBaseAddress/3.0.0"}` + strings.Repeat(`,{"@id":"a","@type":"b"}`, n-1) + `]}`)
	}
	if _, err := parseService(resources(MaxResources), "https://x.example.com/"); err != nil {
		t.Error(err)
	}
	if _, err := parseService(resources(MaxResources+1), "https://x.example.com/"); err == nil {
		t.Error("one resource above the bound was read")
	}
	leaves := func(n int) []byte { return []byte(`{"items":[{}` + strings.Repeat(",{}", n-1) + "]}") }
	if _, err := parsePage(leaves(MaxLeaves)); err != nil {
		t.Error(err)
	}
	if _, err := parsePage(leaves(MaxLeaves + 1)); err == nil {
		t.Error("one release above the bound was read")
	}
	nuspec := func(n int) error {
		b := nupkg("a.nuspec", spec("a", "1")+strings.Repeat(" ", n-len(spec("a", "1"))))
		_, err := readNuspec(bytes.NewReader(b), int64(len(b)))
		return err
	}
	if err := nuspec(MaxNuspec); err != nil {
		t.Error(err)
	}
	if err := nuspec(MaxNuspec + 1); err == nil {
		t.Error("a .nuspec above the bound was read")
	}
}

func TestRoots(t *testing.T) {
	dir := t.TempDir()
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Cert.Raw})
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "a.pem"), slices.Concat(file, junk, file), 0o600), os.WriteFile(filepath.Join(dir, "b.pem"), file, 0o600)); err != nil {
		t.Fatal(err)
	}
	got, err := readRoots([]string{filepath.Join(dir, "*.pem"), filepath.Join(dir, "none")})
	if err != nil || len(got) != 1 || !got[0].Equal(root.Cert) {
		t.Errorf("%v %v", got, err)
	}
	if got := parseRoots(root.Cert.Raw); len(got) != 1 {
		t.Error("DER is not read")
	}
	if err := os.Truncate(filepath.Join(dir, "b.pem"), MaxRootFile); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoots([]string{filepath.Join(dir, "b.pem")}); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(filepath.Join(dir, "b.pem"), MaxRootFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := readRoots([]string{filepath.Join(dir, "b.pem")}); err == nil {
		t.Error("a file above the bound was read")
	}
}

// TestRealPackages serves every package that is found, under the name that it
// says it has: one that the public registry signed is verified by a pinned
// certificate, one with a foreign root is not, one without signatures has none.
func TestRealPackages(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files := ct.Must(filepath.Glob(filepath.Join(dir, "nuget", "*.nupkg")))
	if len(files) == 0 {
		t.Fatal("no packages")
	}
	system := ct.Must(SystemRoots())
	for _, f := range files {
		b := ct.Must(os.ReadFile(f))
		n, err := readNuspec(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		p := ct.Must(nugetsig.Open(bytes.NewReader(b), int64(len(b))))
		r := ct.Must(trust.NewRelease("nuget", "", n.id, n.version))
		w := &world{roots: system, cfg: ct.Must(ConfigFromEnv(func(string) string { return "" }, ""))}
		env := adaptertest.NewEnv(t, adaptertest.Right)
		w.base = env.Serve(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, ".nupkg") {
				rw.Write(b)
				return
			}
			w.ServeHTTP(rw, req)
		}))
		w.cfg.Sources = []Source{{"real", w.base + "/v3/index.json"}}
		a := ct.Must(New(Options{Get: env.Getter(), Clock: env.Clock, Config: w.cfg, Roots: func() ([]*x509.Certificate, error) { return w.roots, nil }}))
		aw := adaptertest.World{Adapter: a, Request: adapter.Request{Component: sbom.Component{Release: r, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: trust.Digests{p.ContentHash()}}}}}}
		res := collect(t, aw)
		for _, e := range res.Evidence {
			t.Logf("%s: %s %s %s %s", filepath.Base(f), e.Check, e.Outcome, e.Reason, e.Detail)
		}
		if e := of(res, trust.CheckLockfile); e.Outcome != trust.Verified {
			t.Errorf("%s: %+v", f, e)
		}
		sig := p.Signature(nugetsig.Repository)
		pinned := sig != nil && slices.Contains(pinnedCertificates, cms.Fingerprint(sig.Certificate()))
		e := of(res, trust.CheckCountersig)
		if pinned != (e.Outcome == trust.Verified) {
			t.Errorf("%s: %+v", f, e)
		}
		if pinned {
			w.roots = nil
			aw.Adapter = ct.Must(New(Options{Get: env.Getter(), Clock: env.Clock, Config: w.cfg}))
			if e := of(collect(t, aw), trust.CheckCountersig); e.Outcome != trust.Verified {
				t.Errorf("%s: by the pinned certificate alone: %+v", f, e)
			}
		}
		// Under another name it is refused.
		aw.Request.Component.Release.Package.Name = "other"
		for _, e := range collect(t, aw).Evidence {
			if e.Assurance > trust.AssuranceNone {
				t.Errorf("%s under another name: %+v", f, e)
			}
		}
	}
}

func FuzzParseService(f *testing.F) {
	f.Add([]byte(`{"version":"3.0.0","resources":[{"@id":"https://x.example.com/","@type":"PackageBaseAddress/3.0.0"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseService(b, "https://x.example.com/"); err == nil && !strings.HasPrefix(s.packages, "https://x.example.com/") {
			t.Fatalf("%+v", s)
		}
	})
}

func FuzzRegistration(f *testing.F) {
	f.Add([]byte(`{"items":[{"catalogEntry":{"id":"a","version":"1.0.0","published":"2024-01-01T00:00:00Z","deprecation":{}}}]}`))
	r := ct.Must(trust.ParseRelease("pkg:nuget/a@1.0.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePage(b); err == nil {
			facts(p.Items, r, 3)
		}
	})
}

func FuzzNuspec(f *testing.F) {
	f.Add([]byte(spec("a", "1.0.0")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseNuspec(b); err == nil && (n.id == "" || n.version == "") {
			t.Fatalf("%+v", n)
		}
	})
}
