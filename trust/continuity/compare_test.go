package continuity

import (
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
)

var day0 = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func wf(repo, id, owner, file string) trust.Signer {
	return trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SAN: repo + "/" + file + "@refs/tags/v1",
		SourceRepository: repo, SourceRepositoryID: id, SourceOwnerID: owner, Workflow: file}
}

var (
	repoA     = wf("https://forge.example.com/a/a", "1", "10", "release.yml")
	repoB     = wf("https://forge.example.com/b/b", "2", "20", "release.yml")
	person    = trust.Signer{Kind: trust.SignerSigstore, Issuer: "https://accounts.example.com", SAN: "dev@example.com"}
	registry  = trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: "aa"}
	registry2 = trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: "bb"}
	pgp       = trust.Signer{Kind: trust.SignerOpenPGP, Fingerprint: "AAAA", SubkeyFingerprint: "01"}
)

func cur(version string, a trust.Assurance, ss ...trust.Signer) Current {
	r, err := trust.ParseRelease("pkg:npm/x@" + version)
	if err != nil {
		panic(err)
	}
	return Current{Release: r, Published: day0, Assurance: a, Signers: ss}
}

func hist(version string, a, claimed trust.Assurance, ss ...trust.Signer) trust.History {
	return trust.History{Version: version, Published: day0.AddDate(0, -1, 0), Assurance: a, Claimed: claimed, Signers: ss}
}

func TestCompare(t *testing.T) {
	const no, reg, pub, prov = trust.AssuranceNone, trust.AssuranceRegistry, trust.AssurancePublisher, trust.AssuranceProvenance
	renamed := wf("https://forge.example.com/new/a", "1", "10", "release.yml")
	transferred := wf("https://forge.example.com/new/a", "1", "77", "release.yml")
	sameNameOtherOwner := wf("https://forge.example.com/a/a", "9", "90", "release.yml")
	sameOwnerRecreated := wf("https://forge.example.com/a/a", "9", "10", "release.yml")
	otherWorkflow := wf("https://forge.example.com/a/a", "1", "10", "publish.yml")
	legacy := trust.Signer{Kind: trust.SignerSigstore, Issuer: trust.GitHubIssuer, SourceRepository: "https://forge.example.com/a/a", Legacy: true}
	legacyOther := legacy
	legacyOther.SourceRepository = "https://forge.example.com/a/aa"
	otherIssuer := repoA
	otherIssuer.Issuer = "https://token.example.org"
	subkey := pgp
	subkey.SubkeyFingerprint = "02"
	h := func(hs ...trust.History) []trust.History { return hs }
	k := func(s trust.Signer, a trust.Assurance, v string) []Known {
		return []Known{{Signer: s, Assurance: a, Version: v, At: day0.AddDate(0, -1, 0)}}
	}
	cases := []struct {
		name  string
		cur   Current
		known []Known
		hist  []trust.History
		want  trust.Continuity
		note  string
	}{
		{"nothing known", cur("1.0.0", prov, repoA), nil, nil, trust.ContinuityFirst, ""},
		{"the release itself is no history", cur("1.0.0", prov, repoA), nil, h(hist("1.0.0", prov, prov, repoB)), trust.ContinuityFirst, ""},
		{"same", cur("1.0.1", prov, repoA), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuitySame, ""},
		{"same as accepted", cur("1.0.1", prov, repoA), k(repoA, prov, ""), nil, trust.ContinuitySame, ""},
		{"back-port on a line without provenance", cur("1.0.9", reg, registry), nil,
			h(hist("2.0.0", prov, prov, repoA, registry), hist("1.0.8", reg, no, registry)), trust.ContinuitySame, ""},
		{"back-port with accepted provenance of the newer line", cur("1.0.9", reg, registry), k(repoA, prov, "2.0.0"),
			h(hist("1.0.8", reg, no, registry)), trust.ContinuitySame, ""},
		{"back-port with a signer accepted for the package", cur("1.0.9", reg, registry), k(repoA, prov, ""),
			h(hist("1.0.8", reg, no, registry)), trust.ContinuitySame, ""},
		{"accepted provenance and nothing else known", cur("1.0.9", reg, registry), k(repoA, prov, ""), nil, trust.ContinuityProvenanceLost, ""},
		{"0.x lines are minors", cur("0.3.9", reg, registry), nil,
			h(hist("0.4.0", prov, prov, repoA, registry), hist("0.3.8", reg, no, registry)), trust.ContinuitySame, ""},
		{"a new major is no way around", cur("3.0.0", reg, registry), nil,
			h(hist("2.0.0", prov, prov, repoA, registry), hist("1.0.8", reg, no, registry)), trust.ContinuityProvenanceLost, ""},
		{"a line below all others is no way around", cur("0.1.0", reg, registry), nil, h(hist("2.0.0", prov, prov, repoA)), trust.ContinuityProvenanceLost, ""},
		{"token to provenance", cur("1.0.1", prov, repoA, registry), nil, h(hist("1.0.0", reg, no, registry)), trust.ContinuityStronger, ""},
		{"publisher to provenance, same key too", cur("1.0.1", prov, pgp, repoA), nil, h(hist("1.0.0", pub, pub, pgp)), trust.ContinuityStronger, ""},
		{"new workflow file", cur("1.0.1", prov, otherWorkflow), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityWorkflowChanged, ""},
		{"new workflow file that is accepted", cur("1.0.1", prov, otherWorkflow), k(otherWorkflow, prov, ""), h(hist("1.0.0", prov, prov, repoA)), trust.ContinuitySame, ""},
		{"renamed repository", cur("1.0.1", prov, renamed), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuitySame, "renamed"},
		{"transferred to another owner", cur("1.0.1", prov, transferred), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityRepositoryMoved, "transferred"},
		{"rotated registry key", cur("1.0.1", reg, registry2), nil, h(hist("1.0.0", reg, reg, registry)), trust.ContinuitySame, "another of its keys"},
		{"rotated subkey", cur("1.0.1", pub, subkey), nil, h(hist("1.0.0", pub, pub, pgp)), trust.ContinuityKeyRotated, ""},
		{"second signer beside the known one", cur("1.0.1", prov, repoA, person), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuitySame, "besides"},
		{"legacy certificate before", cur("1.0.1", prov, repoA), nil, h(hist("1.0.0", prov, prov, legacy)), trust.ContinuitySame, "newly bound"},
		{"legacy certificate of a look-alike", cur("1.0.1", prov, repoA), nil, h(hist("1.0.0", prov, prov, legacyOther)), trust.ContinuityRepositoryMoved, ""},
		{"never signed", cur("1.0.1", no), nil, h(hist("1.0.0", no, no)), trust.ContinuitySame, ""},

		{"provenance lost", cur("1.0.1", reg, registry), nil, h(hist("1.0.0", prov, prov, repoA, registry)), trust.ContinuityProvenanceLost, "verified"},
		{"claimed provenance lost", cur("1.0.1", reg, registry), nil, h(hist("1.0.0", reg, prov, registry)), trust.ContinuityProvenanceLost, "claimed"},
		{"provenance lost, key of the same person stays", cur("1.0.1", pub, pgp), nil, h(hist("1.0.0", prov, prov, repoA, pgp)), trust.ContinuityProvenanceLost, ""},
		{"one release without provenance does not wash the line", cur("1.0.2", reg, registry), nil,
			h(hist("1.0.1", reg, no, registry), hist("1.0.0", prov, prov, repoA)), trust.ContinuityProvenanceLost, ""},
		{"another repository", cur("1.0.1", prov, repoB), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityRepositoryMoved, ""},
		{"another owner behind the name", cur("1.0.1", prov, sameNameOtherOwner), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityPublisherChanged, "changed hands"},
		{"recreated repository", cur("1.0.1", prov, sameOwnerRecreated), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityRepositoryMoved, "replaced"},
		{"another issuer", cur("1.0.1", prov, otherIssuer), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityRepositoryMoved, "provider"},
		{"person where a workflow signed", cur("1.0.1", pub, person), nil, h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityPublisherChanged, ""},
		{"another key", cur("1.0.1", pub, person), nil, h(hist("1.0.0", pub, pub, pgp)), trust.ContinuityPublisherChanged, ""},
		{"unsigned now", cur("1.0.1", no), nil, h(hist("1.0.0", reg, reg, registry)), trust.ContinuityUnsignedNow, ""},
		{"publisher's signature gone", cur("1.0.1", reg, registry), nil, h(hist("1.0.0", pub, pub, pgp, registry)), trust.ContinuityUnsignedNow, ""},
		{"another registry", cur("1.0.1", reg, trust.Signer{Kind: trust.SignerRegistry, Name: "mirror"}), nil, h(hist("1.0.0", reg, reg, registry)), trust.ContinuityPublisherChanged, ""},
		{"registry key gives no publisher continuity", cur("1.0.1", prov, repoB, registry), nil, h(hist("1.0.0", prov, prov, repoA, registry)), trust.ContinuityRepositoryMoved, ""},
		{"claims cannot make a signer known", cur("1.0.1", prov, repoB), nil, h(hist("1.0.0", no, prov)), trust.ContinuityFirst, ""},
		{"new signer after a long silence", Current{Release: cur("1.0.1", prov).Release, Published: day0.AddDate(3, 0, 0), Assurance: prov, Signers: []trust.Signer{repoB}}, nil,
			h(hist("1.0.0", prov, prov, repoA)), trust.ContinuityRepositoryMoved, "silence"},
		{"later releases are no past", cur("1.0.1", reg, registry), nil,
			h(trust.History{Version: "1.0.2", Published: day0.AddDate(0, 1, 0), Assurance: prov, Claimed: prov, Signers: []trust.Signer{repoA}}, hist("1.0.0", reg, no, registry)), trust.ContinuitySame, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Compare(c.cur, c.known, c.hist)
			if got.Class != c.want || !strings.Contains(got.Note, c.note) {
				t.Errorf("got %+v, want %s (%s)", got, c.want, c.note)
			}
			if got.Note == "" || got.Is == "" || got.Was == "" {
				t.Errorf("without words: %+v", got)
			}
		})
	}
}

func TestUnreachableIsUnknown(t *testing.T) {
	past := []trust.History{hist("1.0.0", trust.AssuranceProvenance, trust.AssuranceProvenance, repoA)}
	c := cur("1.0.1", trust.AssuranceRegistry, registry)
	c.Unreachable = true
	if got := Compare(c, nil, past); got.Class != trust.ContinuityUnknown {
		t.Errorf("lost with unreachable evidence: %+v", got)
	}
	if got := Compare(c, nil, nil); got.Class != trust.ContinuityUnknown {
		t.Errorf("first with unreachable evidence: %+v", got)
	}
	c.Signers, c.Assurance = append(c.Signers, repoA), trust.AssuranceProvenance
	if got := Compare(c, nil, past); got.Class != trust.ContinuitySame {
		t.Errorf("known signer verified, something else unreachable: %+v", got)
	}
	c.Signers = []trust.Signer{repoB}
	if got := Compare(c, nil, past); got.Class == trust.ContinuitySame {
		t.Errorf("foreign signer: %+v", got)
	}
}

func TestFromEvidence(t *testing.T) {
	r := cur("1.0.0", 0).Release
	sum, err := trust.NewDigest(trust.SHA256, strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	good := trust.Evidence{Check: trust.CheckProvenance, Outcome: trust.Verified, Release: r, Assurance: trust.AssuranceProvenance, Signer: &repoA,
		Artifact: trust.Artifact{Digests: trust.Digests{sum}}}
	if c := FromEvidence(r, day0, []trust.Evidence{good, good}); len(c.Signers) != 1 || c.Assurance != trust.AssuranceProvenance || c.Unreachable {
		t.Errorf("good evidence: %+v", c)
	}
	other := good
	other.Release.Version = "1.0.1"
	unsigned := good
	unsigned.Signer = nil
	for _, e := range []trust.Evidence{other, unsigned, {Check: trust.CheckProvenance, Outcome: trust.Unreachable, Reason: trust.ReasonNetwork, Release: r}} {
		if c := FromEvidence(r, day0, []trust.Evidence{e}); !c.Unreachable || len(c.Signers) != 0 || c.Assurance != 0 {
			t.Errorf("%+v: %+v", e, c)
		}
	}
}

func TestLineOf(t *testing.T) {
	for _, c := range []struct {
		typ, a, b string
		same      bool
	}{
		{"npm", "1.2.3", "1.9.0", true}, {"npm", "1.2.3", "2.0.0", false}, {"npm", "0.1.2", "0.1.9", true}, {"npm", "0.1.2", "0.2.0", false},
		{"golang", "v1.2.3", "v1.0.0-20200101000000-abcdefabcdef", true}, {"golang", "v2.0.0+incompatible", "v1.0.0", false},
		{"pypi", "1!2.0", "2.0", false}, {"pypi", "2024.1", "2024.12", true}, {"deb", "1:2.3-1", "9.0", true}, {"oci", "sha256:x", "latest", true},
	} {
		a, b := LineOf(c.typ, c.a), LineOf(c.typ, c.b)
		if (a == b) != c.same || !a.Known {
			t.Errorf("%s %s %s: %+v %+v", c.typ, c.a, c.b, a, b)
		}
	}
	if LineOf("npm", "banana").Known || LineOf("npm", strings.Repeat("1", maxDigits+1)).Known || !LineOf("npm", strings.Repeat("1", maxDigits)).Known {
		t.Error("bounds of a version number")
	}
}

func FuzzLineOf(f *testing.F) {
	f.Add("npm", "1.2.3")
	f.Add("pypi", "1!0.3rc1")
	f.Fuzz(func(t *testing.T, typ, v string) {
		if l := LineOf(typ, v); l.Major < 0 || l.Minor < 0 {
			t.Errorf("%q %q: %+v", typ, v, l)
		}
	})
}
