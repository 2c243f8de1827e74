package npm

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestSuite(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			g := newRegistry(t)
			a := g.start(env, nil)
			const name, version = "@acme/widget", "1.0.0"
			tarball := []byte("the tarball")
			r := release{name: name, version: version, tarball: tarball, attest: true}
			locked := tarball
			switch env.Scenario {
			case adaptertest.WrongName:
				r.signed, r.subject, r.publishName = "@acme/other@1.0.0:"+sri(tarball), purl("@acme/other", version), "@acme/other"
			case adaptertest.WrongVersion:
				r.signed, r.subject = name+"@2.0.0:"+sri(tarball), purl(name, "2.0.0")
			case adaptertest.WrongDigest:
				locked = []byte("other bytes")
			case adaptertest.Stripped:
				r.unsigned, r.attest = true, false
			case adaptertest.Expired:
				r.key, r.at, r.fault = g.NPMOld, g.NPMOld.End.Add(time.Hour), sigstoretest.FaultExpired
			case adaptertest.Replayed: // of the tarball that was here under this version before
				earlier := []byte("the earlier tarball")
				r.signed, r.subjectBytes = name+"@"+version+":"+sri(earlier), earlier
			case adaptertest.ForeignSigner:
				other := sigstoretest.New(t, g.Now)
				r.signer, r.key = other, other.NPM
			case adaptertest.Duplicate:
				r.edit = func(rec obj, doc *[]any) {
					*doc = append(*doc, (*doc)[0], (*doc)[1])
					d := rec["dist"].(obj)
					d["signatures"] = append(d["signatures"].([]any), obj{"keyid": g.NPM.ID, "sig": base64.StdEncoding.EncodeToString(g.NPM.Sign(t, []byte("other")))})
				}
			}
			g.add(r)
			c := component(t, name, version, sri(locked), g.base+name+"/-/widget-1.0.0.tgz")
			return adaptertest.World{Adapter: a, Request: adapter.Request{Component: c, Bytes: true}, Artifact: c.Artifacts[0], Bytes: tarball}
		},
	})
}

func setup(t *testing.T, edit func(*Options)) (*registry, *Adapter) {
	t.Helper()
	g := newRegistry(t)
	return g, g.start(adaptertest.NewEnv(t, adaptertest.Right), edit)
}

func TestVerified(t *testing.T) {
	g, a := setup(t, nil)
	for _, v02 := range []bool{false, true} {
		version := "1.0.0"
		if v02 {
			version = "1.0.1"
		}
		g.add(release{name: "widget", version: version, attest: true, v02: v02})
	}
	a.Forget()
	for _, version := range []string{"1.0.0", "1.0.1"} {
		res := g.collect(a, component(t, "widget", version, sri([]byte("widget@"+version)), ""), 0)
		for _, c := range []trust.Check{trust.CheckMetadata, trust.CheckLockfile, trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance} {
			expect(t, res, c, trust.Verified, "")
		}
		e := find(res, trust.CheckProvenance)
		if e.Assurance != trust.AssuranceProvenance || e.Signer.SourceRepository != "https://github.com/acme/widget" || e.Builder == "" || len(e.Raw) != 2 || e.SignedAt.IsZero() || len(e.Logs) != 1 {
			t.Errorf("provenance %+v", e)
		}
		if e := find(res, trust.CheckRegistrySig); e.Signer.Name != Name || e.Assurance != trust.AssuranceRegistry {
			t.Errorf("registry signature %+v", e)
		}
		if len(res.Facts.Notes) > 0 || res.Facts.Repository != "https://github.com/acme/widget" || res.Facts.Releases != 2 {
			t.Errorf("facts %+v", res.Facts)
		}
	}
}

// TestThreat007OtherRelease: sound attestations of other releases, presented for this one.
func TestThreat007OtherRelease(t *testing.T) {
	for subject, reason := range map[string]trust.Reason{
		purl("a", "1.0.1"):         trust.ReasonWrongVersion,
		purl("@s/a", "1.0.0"):      trust.ReasonWrongName,
		purl("b", "1.0.0"):         trust.ReasonWrongName,
		purl("A", "1.0.0"):         trust.ReasonWrongName,
		"pkg:pypi/a@1.0.0":         trust.ReasonWrongName,
		"pkg:npm/a@1.0.0?x=y":      trust.ReasonWrongName,
		"a@1.0.0":                  trust.ReasonWrongSubject,
		"pkg:npm/a":                trust.ReasonWrongVersion,
		"pkg:npm/a@1.0.0#sub/path": trust.ReasonWrongName,
		"pkg:npm/a@1.0.0\u200b":    trust.ReasonWrongSubject,
		"pkg:npm/%61@1.0.0":        "", // the same name, escaped
	} {
		g, a := setup(t, nil)
		g.add(release{name: "a", version: "1.0.0", attest: true, subject: subject})
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
		o := trust.Failed
		if reason == "" {
			o = trust.Verified
		}
		expect(t, res, trust.CheckProvenance, o, reason)
		expect(t, res, trust.CheckPublish, o, reason)
	}
	for _, spelled := range []string{"pkg:npm/%40s/a@1.0.0", "pkg:npm/@s/a@1.0.0"} {
		g, a := setup(t, nil)
		g.add(release{name: "@s/a", version: "1.0.0", attest: true, subject: spelled})
		res := g.collect(a, component(t, "@s/a", "1.0.0", sri([]byte("@s/a@1.0.0")), ""), 0)
		expect(t, res, trust.CheckProvenance, trust.Verified, "")
	}
}

// TestThreat001OtherArtifact: attestations about other bytes.
func TestThreat001OtherArtifact(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", attest: true, subjectBytes: []byte("other")})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Failed, trust.ReasonWrongDigest)
	expect(t, res, trust.CheckPublish, trust.Failed, trust.ReasonWrongDigest)
	expect(t, res, trust.CheckRegistrySig, trust.Verified, "")
}

// TestThreat017ForeignRepository: provenance of another repository verifies, names
// that repository as the signer, and the conflict is noted.
func TestThreat017ForeignRepository(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", attest: true, workflow: sigstoretest.Workflow{Repository: "stranger/thing"}, edit: func(rec obj, _ *[]any) {
		rec["repository"] = "github:acme/a"
	}})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	if e := expect(t, res, trust.CheckProvenance, trust.Verified, ""); e.Signer.SourceRepository != "https://github.com/stranger/thing" {
		t.Errorf("signer %+v", e.Signer)
	}
	if len(res.Facts.Notes) != 1 || !strings.Contains(res.Facts.Notes[0], "stranger/thing") || res.Facts.Repository != "https://github.com/acme/a" {
		t.Errorf("facts %+v", res.Facts)
	}
}

// TestThreat018TrustedPublisherFlag: the registry's flag alone is no evidence.
func TestThreat018TrustedPublisherFlag(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", edit: func(rec obj, _ *[]any) {
		rec["_npmUser"] = obj{"name": "GitHub Actions", "trustedPublisher": obj{"id": "github"}}
	}})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
	expect(t, res, trust.CheckRegistrySig, trust.Verified, "")
	if len(res.Facts.Notes) != 1 {
		t.Errorf("notes %v", res.Facts.Notes)
	}
}

// A registry whose releases carry keyless attestations alone is not "nothing to
// audit": what was looked for is said, and what is there counts.
func TestThreat061KeylessOnly(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", attest: true, unsigned: true})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Verified, "")
	looked := false
	for _, e := range res.Evidence {
		if e.Check == trust.CheckRegistrySig {
			looked = true
			if e.Outcome == trust.Verified || e.Detail == "" {
				t.Errorf("the signature that is not there: %s, %q", e.Outcome, e.Detail)
			}
		}
	}
	if !looked {
		t.Error("it is not said that a registry signature was looked for")
	}
}

// Two attestations of one type, one bad: the last one does not win.
func TestThreat051DuplicatesOfOneType(t *testing.T) {
	for i, c := range []trust.Check{trust.CheckPublish, trust.CheckProvenance} {
		g, a := setup(t, nil)
		g.add(release{name: "a", version: "1.0.0", attest: true, edit: func(_ obj, doc *[]any) { *doc = append(*doc, (*doc)[i]) }})
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
		expect(t, res, c, trust.Failed, trust.ReasonDuplicate)
	}
}

// TestThreat047OtherType: what is announced as provenance has to be provenance.
func TestThreat047OtherType(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", attest: true, edit: func(_ obj, doc *[]any) {
		st := sigstoretest.Statement("https://example.com/vuln/v1", obj{}, sigstoretest.SubjectOf(purl("a", "1.0.0"), []byte("a@1.0.0")))
		(*doc)[1] = obj{"predicateType": sigstore.PredicateProvenance1, "bundle": json.RawMessage(g.Bundle(sigstoretest.Options{Statement: st}))}
	}})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Failed, trust.ReasonWrongPredicate)
}

// TestThreat027KeyRotation: old and new key in their windows, an unknown one is undecided.
func TestThreat027KeyRotation(t *testing.T) {
	g, a := setup(t, nil)
	unknown := g.NewKey(g.Now.AddDate(-1, 0, 0), time.Time{})
	g.add(release{name: "a", version: "1.0.0", key: g.NPMOld, at: g.NPMOld.End.AddDate(0, 0, -3), attest: true})
	g.add(release{name: "a", version: "1.1.0"})
	g.add(release{name: "a", version: "1.2.0", key: unknown})
	for v, want := range map[string]trust.Reason{"1.0.0": "", "1.1.0": "", "1.2.0": trust.ReasonUnknownKey} {
		res := g.collect(a, component(t, "a", v, sri([]byte("a@"+v)), ""), 0)
		if want == "" {
			expect(t, res, trust.CheckRegistrySig, trust.Verified, "")
			continue
		}
		if e := expect(t, res, trust.CheckRegistrySig, trust.Unreachable, want); !strings.Contains(e.Detail, "headgate db update") {
			t.Errorf("no remedy: %s", e.Detail)
		}
	}
}

// TestThreat028BackdatedTime: a retired key with the registry's word for the time is not verified.
func TestThreat028BackdatedTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     time.Duration // from the end of the key's window
		attest bool
		unsafe bool
		o      trust.Outcome
		r      trust.Reason
	}{
		{"back-dated", -72 * time.Hour, false, false, trust.Absent, trust.ReasonNotCovered},
		{"too late", time.Hour, false, false, trust.Failed, trust.ReasonKeyOutsideWindow},
		{"log proves it", -72 * time.Hour, true, false, trust.Verified, ""},
		{"by configuration", -72 * time.Hour, false, true, trust.Verified, ""},
		{"by configuration, too late", time.Hour, false, true, trust.Failed, trust.ReasonKeyOutsideWindow},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, a := setup(t, func(o *Options) { o.TrustPublishTimesUnsafe = c.unsafe })
			g.add(release{name: "a", version: "1.0.0", key: g.NPMOld, at: g.NPMOld.End.Add(c.at), attest: c.attest})
			res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
			expect(t, res, trust.CheckRegistrySig, c.o, c.r)
		})
	}
}

// TestThreat029TwoKeysInOneRun: each release is verified with its own key.
func TestThreat029TwoKeysInOneRun(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "old", version: "1.0.0", key: g.NPMOld, at: g.NPMOld.End.AddDate(0, 0, -3), attest: true})
	g.add(release{name: "new", version: "1.0.0", attest: true})
	var ids []string
	for _, name := range []string{"old", "new"} {
		res := g.collect(a, component(t, name, "1.0.0", sri([]byte(name+"@1.0.0")), ""), 0)
		ids = append(ids, expect(t, res, trust.CheckRegistrySig, trust.Verified, "").Signer.KeyID, expect(t, res, trust.CheckPublish, trust.Verified, "").Signer.KeyID)
	}
	if !slices.Equal(ids, []string{g.NPMOld.ID, g.NPMOld.ID, g.NPM.ID, g.NPM.ID}) {
		t.Errorf("keys %v", ids)
	}
}

// TestThreat031NoPinnedKeys: keys that the registry hands out prove nothing.
func TestThreat031NoPinnedKeys(t *testing.T) {
	g, a := setup(t, func(o *Options) { o.Config.Public = "https://public.example.com/" })
	g.docs["-/npm/v1/keys"] = g.NPMKeys()
	g.add(release{name: "a", version: "1.0.0", attest: true})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	expect(t, res, trust.CheckRegistrySig, trust.Absent, trust.ReasonNotOffered)
	expect(t, res, trust.CheckPublish, trust.Absent, trust.ReasonNotOffered)
	if slices.Contains(g.asks, "-/npm/v1/keys") {
		t.Error("the registry was asked for its keys")
	}
	// With keys that the user pinned for it, it verifies, under its own name.
	g, a = setup(t, nil)
	tr := g.trust()
	a.o.Config.Public = "https://public.example.com/"
	a.o.Trust = func() Trust { return Trust{Registries: map[string]*sigstore.KeySet{g.base: tr.Keys}, Root: tr.Root} }
	g.add(release{name: "a", version: "1.0.0", attest: true})
	res = g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	if e := expect(t, res, trust.CheckRegistrySig, trust.Verified, ""); e.Signer.Name == Name {
		t.Errorf("signer %+v", e.Signer)
	}
}

// TestThreat033SubstitutedRegistry: hash and tarball of one mind, from another registry.
func TestThreat033SubstitutedRegistry(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	evil := sri([]byte("evil"))
	res := g.collect(a, component(t, "a", "1.0.0", evil, "https://evil.example.com/a/-/a-1.0.0.tgz"), 0)
	expect(t, res, trust.CheckSource, trust.Failed, trust.ReasonForeignSource)
	expect(t, res, trust.CheckLockfile, trust.Failed, trust.ReasonWrongDigest)
	expect(t, res, trust.CheckRegistrySig, trust.Failed, trust.ReasonWrongDigest)
	for _, e := range res.Evidence {
		if e.Assurance > trust.AssuranceNone {
			t.Errorf("%s has assurance %s", e.Check, e.Assurance)
		}
	}
}

func TestMirrorThatStrips(t *testing.T) {
	g, a := setup(t, nil)
	a.o.Config.Public, a.o.Config.Mirrors = "https://public.example.com/", []string{g.base}
	g.add(release{name: "a", version: "1.0.0", unsigned: true})
	res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), ""), 0)
	for _, c := range []trust.Check{trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance} {
		if e := expect(t, res, c, trust.Unreachable, trust.ReasonStripped); e.Remedy == "" {
			t.Errorf("%s: no remedy", c)
		}
	}
	expect(t, res, trust.CheckLockfile, trust.Verified, "")
}

// The absence of attestations is the packument's unsigned word: an earlier
// claim makes the adapter ask.
func TestUnclaimedAttestations(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", at: g.Now.AddDate(0, 0, -5), attest: true})
	hide := func(rec obj, _ *[]any) { delete(rec["dist"].(obj), "attestations") }
	g.add(release{name: "a", version: "1.1.0", attest: true, edit: hide})
	g.add(release{name: "a", version: "1.2.0"})
	g.add(release{name: "b", version: "1.0.0"})
	res := g.collect(a, component(t, "a", "1.1.0", "", ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Verified, "")
	expect(t, res, trust.CheckLockfile, trust.Absent, trust.ReasonNoLockDigest)
	res = g.collect(a, component(t, "a", "1.2.0", "", ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
	g.asks = nil
	res = g.collect(a, component(t, "b", "1.0.0", "", ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Absent, trust.ReasonNotPublished)
	if len(g.asks) != 1 {
		t.Errorf("asked for %v", g.asks)
	}
	// Claimed and not there: somebody in between removed it.
	g.add(release{name: "c", version: "1.0.0", attest: true})
	delete(g.docs, "-/npm/v1/attestations/c@1.0.0")
	res = g.collect(a, component(t, "c", "1.0.0", "", ""), 0)
	expect(t, res, trust.CheckProvenance, trust.Unreachable, trust.ReasonStripped)
	// Provenance without its publish attestation.
	g.add(release{name: "d", version: "1.0.0", attest: true, edit: func(_ obj, doc *[]any) { *doc = (*doc)[1:] }})
	res = g.collect(a, component(t, "d", "1.0.0", "", ""), 0)
	expect(t, res, trust.CheckPublish, trust.Unreachable, trust.ReasonStripped)
}

func TestHistory(t *testing.T) {
	g, a := setup(t, nil)
	for i, v := range []string{"0.9.0", "1.0.0", "1.1.0", "1.2.0-rc.1", "1.10.0"} {
		g.add(release{name: "a", version: v, at: g.Now.AddDate(0, 0, i-20), attest: i > 1})
	}
	g.add(release{name: "a", version: "1.11.0", attest: true})
	g.add(release{name: "a", version: "2.0.0", attest: true})
	res := g.collect(a, component(t, "a", "1.11.0", "", ""), 4)
	var got []string
	for _, h := range res.History {
		got = append(got, h.Version+" "+h.Assurance.String())
	}
	want := []string{"1.10.0 provenance", "1.1.0 provenance", "1.0.0 registry", "0.9.0 registry"}
	if !slices.Equal(got, want) {
		t.Errorf("history %v, expected %v", got, want)
	}
	if n := len(g.collect(a, component(t, "a", "1.11.0", "", ""), 1000).History); n > MaxHistory {
		t.Errorf("%d releases", n)
	}
}

func TestKinds(t *testing.T) {
	g, a := setup(t, nil)
	for _, c := range []struct {
		kind  sbom.Kind
		check trust.Check
		o     trust.Outcome
		r     trust.Reason
	}{
		{sbom.KindPath, trust.CheckMetadata, trust.Absent, trust.ReasonLocal},
		{sbom.KindWorkspace, trust.CheckMetadata, trust.Absent, trust.ReasonLocal},
		{sbom.KindBundled, trust.CheckMetadata, trust.Absent, trust.ReasonNotOffered},
		{sbom.KindGit, trust.CheckMetadata, trust.Absent, trust.ReasonNotOffered},
		{sbom.KindURL, trust.CheckSource, trust.Failed, trust.ReasonForeignSource},
	} {
		comp := component(t, "a", "1.0.0", "", "")
		comp.Kind = c.kind
		res := g.collect(a, comp, 0)
		expect(t, res, c.check, c.o, c.r)
	}
	if len(g.asks) != 0 {
		t.Errorf("the registry was asked: %v", g.asks)
	}
}

func TestSource(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	for resolved, want := range map[string]trust.Reason{
		g.base + "a/-/a-1.0.0.tgz":                                                         "",
		DefaultRegistry + "a/-/a-1.0.0.tgz":                                                "",
		YarnRegistry + "a/-/a-1.0.0.tgz":                                                   "",
		YarnRegistry + "b/-/b-1.0.0.tgz":                                                   trust.ReasonWrongName,
		strings.Replace(YarnRegistry, "https", "http", 1) + "a/-/a-1.0.0.tgz":              trust.ReasonForeignSource,
		strings.Replace(YarnRegistry, ".com/", ".com.example.com/", 1) + "a/-/a-1.0.0.tgz": trust.ReasonForeignSource,
		g.base + "b/-/b-1.0.0.tgz":                                                         trust.ReasonWrongName,
		"https://evil.example.com/a/-/a-1.0.0.tgz":                                         trust.ReasonForeignSource,
		strings.Replace(g.base, "//", "//u:p@", 1) + "a.tgz":                               trust.ReasonForeignSource,
	} {
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), resolved), 0)
		o := trust.Failed
		if want == "" {
			o = trust.Verified
		}
		expect(t, res, trust.CheckSource, o, want)
	}
	// A declared mirror of the public registry, and nothing beside it.
	a.o.Config.Mirrors = []string{"https://mirror.example.com/npm/"}
	for resolved, o := range map[string]trust.Outcome{
		"https://mirror.example.com/npm/a/-/a-1.0.0.tgz":   trust.Verified,
		"https://mirror.example.com/other/a/-/a-1.0.0.tgz": trust.Failed,
		"https://mirror.example.com/npm/b/-/b-1.0.0.tgz":   trust.Failed,
	} {
		res := g.collect(a, component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), resolved), 0)
		if e := find(res, trust.CheckSource); e.Outcome != o {
			t.Errorf("%s is %s: %s", resolved, e.Outcome, e.Detail)
		}
	}
	// A registry under a path: another path of the same host is another registry.
	a.o.Config.Registry = g.base + "npm/"
	res := g.collect(a, component(t, "a", "1.0.0", "", g.base+"other/a/-/a-1.0.0.tgz"), 0)
	expect(t, res, trust.CheckSource, trust.Failed, trust.ReasonForeignSource)
	res = g.collect(a, component(t, "a", "1.0.0", "", g.base+"npm/../other/a/-/a-1.0.0.tgz"), 0)
	expect(t, res, trust.CheckSource, trust.Failed, trust.ReasonForeignSource)
}

// Another registry's package of the same name is another package.
func TestStatedRegistry(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	for stated, o := range map[string]trust.Outcome{g.base: trust.Verified, DefaultRegistry: trust.Verified, "https://other.example.com/": trust.Failed} {
		byField := component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), "")
		byField.Registry = stated
		byPURL := component(t, "a", "1.0.0", sri([]byte("a@1.0.0")), "")
		byPURL.Release.Package = byPURL.Release.Package.WithQualifier("repository_url", stated)
		for _, c := range []sbom.Component{byField, byPURL} {
			res := g.collect(a, c, 0)
			if o == trust.Failed {
				expect(t, res, trust.CheckSource, trust.Failed, trust.ReasonForeignSource)
				if len(res.Evidence) != 1 {
					t.Errorf("further evidence: %+v", res.Evidence)
				}
				continue
			}
			expect(t, res, trust.CheckRegistrySig, trust.Verified, "")
		}
	}
}

// A record is asked for once per run, and anew by a process that runs on.
func TestRecordsAgeAndErrorsAreForgotten(t *testing.T) {
	g, a := setup(t, nil)
	clock := adaptertest.Now
	a.o.Clock = func() time.Time { return clock }
	count := func() (n int) {
		for _, p := range g.asks {
			if p == "a" {
				n++
			}
		}
		return n
	}
	c := component(t, "a", "1.0.0", "", "")
	expect(t, g.collect(a, c, 0), trust.CheckMetadata, trust.Unreachable, trust.ReasonNotFound)
	g.add(release{name: "a", version: "1.0.0"})
	expect(t, g.collect(a, c, 0), trust.CheckMetadata, trust.Verified, "")
	clock = clock.Add(recordAge)
	g.collect(a, c, 0)
	if n := count(); n != 2 {
		t.Errorf("%d requests at the bound", n)
	}
	clock = clock.Add(1)
	g.collect(a, c, 0)
	if n := count(); n != 3 {
		t.Errorf("%d requests above the bound", n)
	}
}

func TestWeakAndMissing(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0"})
	g.add(release{name: "gone", version: "1.0.0"})
	g.pack["gone"]["time"].(obj)["0.9.0"] = "2026-01-01T00:00:00Z"
	sha := g.pack["a"]["versions"].(obj)["1.0.0"].(obj)["dist"].(obj)["shasum"].(string)
	c := component(t, "a", "1.0.0", "", "")
	d, err := trust.NewDigest(trust.SHA1, sha)
	if err != nil {
		t.Fatal(err)
	}
	c.Artifacts = []trust.Artifact{{Digests: trust.Digests{d}}}
	expect(t, g.collect(a, c, 0), trust.CheckLockfile, trust.Failed, trust.ReasonWeakDigest)
	res := g.collect(a, component(t, "gone", "0.9.0", "", ""), 0)
	expect(t, res, trust.CheckMetadata, trust.Unreachable, trust.ReasonNotFound)
	if !res.Facts.Unpublished {
		t.Error("not unpublished")
	}
	expect(t, g.collect(a, component(t, "nobody", "1.0.0", "", ""), 0), trust.CheckMetadata, trust.Unreachable, trust.ReasonNotFound)
	// Only SHA-1 at the registry: nothing strong to sign.
	g.add(release{name: "old", version: "1.0.0", edit: func(rec obj, _ *[]any) { delete(rec["dist"].(obj), "integrity") }})
	expect(t, g.collect(a, component(t, "old", "1.0.0", "", ""), 0), trust.CheckRegistrySig, trust.Failed, trust.ReasonWeakDigest)
}

func TestExpiredRoot(t *testing.T) {
	g, a := setup(t, func(o *Options) { o.Trust = func() Trust { return Trust{} } })
	g.add(release{name: "a", version: "1.0.0", attest: true})
	res := g.collect(a, component(t, "a", "1.0.0", "", ""), 0)
	for _, c := range []trust.Check{trust.CheckRegistrySig, trust.CheckPublish, trust.CheckProvenance} {
		if e := expect(t, res, c, trust.Unreachable, trust.ReasonExpiredRoot); !strings.Contains(e.Detail, "headgate db update") {
			t.Errorf("%s: %s", c, e.Detail)
		}
	}
}

func TestFacts(t *testing.T) {
	g, a := setup(t, nil)
	g.add(release{name: "a", version: "1.0.0", edit: func(rec obj, _ *[]any) {
		rec["deprecated"] = "use b"
		rec["scripts"] = obj{"postinstall": "node x.js", "test": "jest", "install": 7}
		rec["license"] = obj{"type": "ISC"}
	}})
	f := g.collect(a, component(t, "a", "1.0.0", "", ""), 0).Facts
	if f.Deprecated == nil || *f.Deprecated != "use b" || !slices.Equal(f.InstallCode, []string{"postinstall: node x.js"}) || !slices.Equal(f.Licenses, []string{"ISC"}) ||
		f.PublishedBy != "dev" || !slices.Equal(f.Owners, []string{"dev"}) || f.LatestKnown != "1.0.0" || f.Published.IsZero() {
		t.Errorf("facts %+v", f)
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	rc := `; comment
registry = https://registry.example.com/npm
@acme:registry=https://acme.example.com:8443/path/
//registry.example.com/npm/:_authToken=${TOKEN}
//acme.example.com:8443/path/:_auth="dTpw"
//unset.example.com/:_authToken=${NOT_SET}
//basic.example.com/:username=u
//basic.example.com/:_password=cA==
`
	if err := os.WriteFile(filepath.Join(home, ".npmrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TOKEN": "t0ken"}
	cfg, err := ConfigFromEnv(func(k string) string { return env[k] }, home)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.registry("") != "https://registry.example.com/npm/" || cfg.registry("@acme") != "https://acme.example.com:8443/path/" || cfg.registry("@other") != cfg.Registry {
		t.Errorf("config %v %v", cfg.Registry, cfg.Scopes)
	}
	want := upstream.Scopes{{Host: "acme.example.com:8443", Path: "path", Header: "Basic dTpw"}, {Host: "basic.example.com", Header: upstream.Basic("u", "p")},
		{Host: "registry.example.com", Path: "npm", Header: "Bearer t0ken"}}
	if !slices.Equal(cfg.Credentials, want) {
		t.Errorf("%d credentials", len(cfg.Credentials))
	}
	env["npm_config_registry"] = "http://local.example.com:4873"
	cfg, err = ConfigFromEnv(func(k string) string { return env[k] }, home)
	if err != nil || cfg.Registry != "http://local.example.com:4873/" || !slices.Equal(cfg.Insecure, []string{"local.example.com:4873"}) {
		t.Errorf("config %+v, %v", cfg, err)
	}
	env["npm_config_registry"] = "ftp://x"
	if _, err = ConfigFromEnv(func(k string) string { return env[k] }, home); err == nil {
		t.Error("a registry over ftp")
	}
	// Without any file: the public registry.
	cfg, err = ConfigFromEnv(func(string) string { return "" }, t.TempDir())
	if err != nil || cfg.Registry != DefaultRegistry || len(cfg.Credentials) != 0 {
		t.Errorf("config %+v, %v", cfg, err)
	}
}

func TestNPMRCBound(t *testing.T) {
	none := func(string) string { return "" }
	line := strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", MaxNPMRC/1024)
	if err := parseNPMRC([]byte(line), none, map[string]string{}); err != nil {
		t.Error(err)
	}
	if err := parseNPMRC([]byte(line+"\n"), none, map[string]string{}); err == nil {
		t.Error("one byte above the bound")
	}
}

func TestBounds(t *testing.T) {
	versions := func(n int) []byte {
		var b strings.Builder
		b.WriteString(`{"name":"a","versions":{`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"1.0.` + itoa(i) + `":{}`)
		}
		b.WriteString("}}")
		return []byte(b.String())
	}
	if _, err := parsePackument(versions(MaxVersions)); err != nil {
		t.Error(err)
	}
	if _, err := parsePackument(versions(MaxVersions + 1)); err == nil {
		t.Error("one version above the bound")
	}
	st := base64.StdEncoding.EncodeToString(sigstoretest.Statement("x", obj{}, sigstoretest.SubjectOf("a", nil)))
	list := func(n int) []byte {
		one := `{"predicateType":"x","bundle":{"dsseEnvelope":{"payload":"` + st + `"}}}`
		return []byte(`{"attestations":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`)
	}
	if got, err := parseAttestations(list(MaxAttestations)); err != nil || len(got) != MaxAttestations {
		t.Error(err)
	}
	if _, err := parseAttestations(list(MaxAttestations + 1)); err == nil {
		t.Error("one attestation above the bound")
	}
	keys, _ := sigstore.NewKeySet()
	for n, want := range map[int]trust.Reason{maxSignatures: trust.ReasonUnknownKey, maxSignatures + 1: trust.ReasonTooLarge} {
		_, err := verifySignature("a", "1", "sha512-x", make([]signature, n), keys)
		if _, r := trust.Classify(err); r != want {
			t.Errorf("%d signatures: %v", n, err)
		}
	}
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }

func TestRepository(t *testing.T) {
	for in, want := range map[string]string{
		`"git+https://github.com/Acme/Widget.git"`:                "https://github.com/acme/widget",
		`{"type":"git","url":"git://github.com/acme/widget.git"}`: "https://github.com/acme/widget",
		`"acme/widget"`:                                   "https://github.com/acme/widget",
		`"github:acme/widget"`:                            "https://github.com/acme/widget",
		`"git@github.com:acme/widget.git"`:                "https://github.com/acme/widget",
		`"git+ssh://git@git.example.com/Acme/widget.git"`: "https://git.example.com/Acme/widget",
		`"javascript:alert(1)"`:                           "", `7`: "", `null`: "", `[]`: "", `"not a url at all"`: "",
	} {
		if got := repository(json.RawMessage(in)); got != want {
			t.Errorf("%s: %q, expected %q", in, got, want)
		}
	}
}

func FuzzPackument(f *testing.F) {
	f.Add([]byte(`{"name":"a","versions":{"1.0.0":{"dist":{"integrity":"sha512-x","signatures":[{"keyid":"k","sig":"s"}]}}},"time":{"1.0.0":"2026-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePackument(b)
		if (err == nil) == (p == nil) {
			t.Fatal("record and error")
		}
		if p != nil {
			for _, v := range p.versions {
				_, _ = v.digests()
				repository(v.Repository)
				license(v.License)
			}
		}
	})
}

func FuzzAttestations(f *testing.F) {
	f.Add([]byte(`{"attestations":[{"predicateType":"x","bundle":{"dsseEnvelope":{"payload":"e30="}}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseAttestations(b); err != nil {
			if o, _ := trust.Classify(err); o != trust.Unreachable {
				t.Fatalf("unverified document is %s", o)
			}
		}
	})
}
