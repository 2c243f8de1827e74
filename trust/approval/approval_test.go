package approval

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sshsig"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

type key struct {
	priv ed25519.PrivateKey
	ssh  ssh.Signer
}

func newKey() key {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key{priv, must(ssh.NewSignerFromKey(priv))}
}

func (k key) line() string { return string(ssh.MarshalAuthorizedKey(k.ssh.PublicKey())) }
func (k key) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(k.priv.Public()))})
}
func (k key) cred() Credential { return must(SSHCredential(k.line())) }

func digest(c string) trust.Digest {
	return must(trust.NewDigest(trust.SHA256, strings.Repeat(c, 64)))
}

// scene is a policy with two approvers and a statement that counts.
type scene struct {
	bob, bob2, carol key
	approvers        *Approvers
	statement        Statement
	want             Want
}

func (s *scene) list() []Approver {
	return []Approver{
		{Name: "bob", Aliases: []string{"bob@example.com"}, Credentials: []Credential{s.bob.cred(), s.bob2.cred()}, Scope: []string{"*"}, Rules: []string{"*"}},
		{Name: "carol", Credentials: []Credential{s.carol.cred()}, Scope: []string{"pkg:npm/@acme/*"}, Rules: []string{"new-package"}},
	}
}

func newScene() *scene {
	s := &scene{bob: newKey(), bob2: newKey(), carol: newKey()}
	s.approvers = must(NewApprovers(s.list()))
	r := must(trust.ParseRelease("pkg:npm/%40acme/tool@1.2.3"))
	s.statement = Statement{
		Release: r, Artifacts: []trust.Artifact{{Name: "tool-1.2.3.tgz", Digests: trust.Digests{digest("a")}}},
		Evidence: []string{"e-0000000000000001", "e-0000000000000002"}, Rules: []string{"new-package"},
		Requester: "alice", Approver: "bob", Reason: "read it", Issued: now.Add(-time.Hour), Expires: now.Add(24 * time.Hour),
	}
	s.want = Want{Release: r, Artifacts: s.statement.Artifacts, Evidence: []string{"e-0000000000000002", "e-0000000000000001"},
		Rule: "new-package", Requester: "alice", NotBefore: now.Add(-2 * time.Hour), Now: now, MaxDays: 90, Quorum: 1}
	return s
}

func (s *scene) sign(k key) []byte { return must(Sign(s.statement, SSHSign(k.ssh))) }

func (s *scene) verify(env []byte) error {
	a, err := Verify(env, s.approvers, s.want)
	if err == nil && (a == nil || a.Approver() == "" || a.ID() == "" || a.Signer().Validate() != nil) {
		return errors.New("verified an approval without contents")
	}
	return err
}

func TestApproval(t *testing.T) {
	s := newScene()
	a, err := Verify(s.sign(s.bob), s.approvers, s.want)
	if err != nil {
		t.Fatal(err)
	}
	st := a.Statement()
	if a.Approver() != "bob" || st.Reason != "read it" || st.Release != s.want.Release || !st.Expires.Equal(s.statement.Expires) {
		t.Errorf("verified %+v", a)
	}
	if a.Signer().Fingerprint != ssh.FingerprintSHA256(s.bob.ssh.PublicKey()) {
		t.Errorf("signer %v", a.Signer())
	}
	if err := s.verify(s.sign(s.bob2)); err != nil {
		t.Errorf("by the approver's second key: %v", err)
	}
	p, err := Peek(s.sign(s.bob))
	if err != nil || p.Approver != "bob" {
		t.Errorf("Peek: %+v, %v", p, err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: &s.bob.priv}); err != nil {
		t.Fatal(err)
	}
	byAgent := must(sshsig.AgentSigner(ring, s.bob.ssh.PublicKey()))
	if err := s.verify(must(Sign(s.statement, SSHSign(byAgent)))); err != nil {
		t.Errorf("by ssh-agent: %v", err)
	}
}

func TestRefused(t *testing.T) {
	other := must(trust.ParseRelease("pkg:npm/%40acme/other@1.2.3"))
	version := must(trust.ParseRelease("pkg:npm/%40acme/tool@1.2.4"))
	for _, tc := range []struct {
		name   string
		change func(*scene)
		err    error
		reason trust.Reason
	}{
		{"copied to another package", func(s *scene) { s.want.Release = other }, ErrOtherRelease, trust.ReasonWrongName},
		{"copied to another version", func(s *scene) { s.want.Release = version }, ErrOtherRelease, trust.ReasonWrongVersion},
		{"other digest", func(s *scene) { s.want.Artifacts = []trust.Artifact{{Digests: trust.Digests{digest("b")}}} }, ErrOtherDigest, trust.ReasonWrongDigest},
		{"one more artifact", func(s *scene) {
			s.want.Artifacts = append(s.want.Artifacts, trust.Artifact{Digests: trust.Digests{digest("b")}})
		}, ErrOtherDigest, trust.ReasonWrongDigest},
		{"new evidence", func(s *scene) { s.want.Evidence = append(s.want.Evidence, "e-0000000000000003") }, ErrOtherEvidence, trust.ReasonWrongSubject},
		{"evidence gone", func(s *scene) { s.want.Evidence = s.want.Evidence[:1] }, ErrOtherEvidence, trust.ReasonWrongSubject},
		{"evidence exchanged", func(s *scene) { s.want.Evidence = []string{"e-0000000000000001", "e-0000000000000009"} }, ErrOtherEvidence, trust.ReasonWrongSubject},
		{"other rule", func(s *scene) { s.want.Rule = "provenance-lost" }, ErrOtherRule, trust.ReasonWrongSubject},
		{"other policy", func(s *scene) { s.want.Policy = digest("c") }, ErrOtherPolicy, trust.ReasonWrongSubject},
		{"expired", func(s *scene) { s.want.Now = s.statement.Expires }, ErrExpired, trust.ReasonKeyOutsideWindow},
		{"too long", func(s *scene) { s.want.MaxDays = 1 }, ErrTooLong, trust.ReasonKeyOutsideWindow},
		{"before the request", func(s *scene) { s.want.NotBefore = now.Add(-time.Hour + time.Second) }, ErrBackdated, trust.ReasonKeyOutsideWindow},
		{"in the future", func(s *scene) { s.statement.Issued = now.Add(MaxClockSkew + time.Second) }, ErrBackdated, trust.ReasonKeyOutsideWindow},
		{"before the key was valid", func(s *scene) {
			l := s.list()
			l[0].Credentials[0] = l[0].Credentials[0].Between(now.Add(-time.Hour+time.Second), time.Time{})
			s.approvers = must(NewApprovers(l))
		}, ErrBackdated, trust.ReasonKeyOutsideWindow},
		{"after the key was retired", func(s *scene) {
			l := s.list()
			l[0].Credentials[0] = l[0].Credentials[0].Between(time.Time{}, now.Add(-time.Hour-time.Second))
			s.approvers = must(NewApprovers(l))
		}, ErrBackdated, trust.ReasonKeyOutsideWindow},
		{"removed approver", func(s *scene) { s.approvers = must(NewApprovers(s.list()[1:])) }, ErrNotApprover, trust.ReasonUntrustedSigner},
		{"removed key", func(s *scene) {
			l := s.list()
			l[0].Credentials = l[0].Credentials[1:]
			s.approvers = must(NewApprovers(l))
		}, ErrSignature, trust.ReasonBadSignature},
		{"foreign approver", func(s *scene) { s.statement.Approver = "mallory" }, ErrNotApprover, trust.ReasonUntrustedSigner},
		{"in another's name", func(s *scene) { s.statement.Approver = "carol" }, ErrSignature, trust.ReasonBadSignature},
		{"own request", func(s *scene) { s.statement.Requester, s.want.Requester = "bob", "bob" }, ErrRequester, trust.ReasonUntrustedSigner},
		{"own request, statement only", func(s *scene) { s.statement.Requester, s.want.Requester = "Bob ", "" }, ErrRequester, trust.ReasonUntrustedSigner},
		{"own request under an alias", func(s *scene) { s.want.Requester = "BOB@example.com" }, ErrRequester, trust.ReasonUntrustedSigner},
		{"own request under the second key", func(s *scene) {
			s.want.RequesterSigners = []trust.Signer{sshsig.SignerOf(s.bob2.ssh.PublicKey())}
		}, ErrRequester, trust.ReasonUntrustedSigner},
		{"own request under the second key as plain key", func(s *scene) {
			s.want.RequesterSigners = []trust.Signer{must(dsse.ParseKey(s.bob2.pem())).Signer()}
		}, ErrRequester, trust.ReasonUntrustedSigner},
		{"own request under the second key's fingerprint", func(s *scene) {
			s.want.Requester = ssh.FingerprintSHA256(s.bob2.ssh.PublicKey())
		}, ErrRequester, trust.ReasonUntrustedSigner},
		{"another request", func(s *scene) { s.want.Requester = "dave" }, ErrOtherEvidence, trust.ReasonWrongSubject},
		{"out of the approver's rules", func(s *scene) {
			l := s.list()
			l[0].Rules = []string{"cooldown"}
			s.approvers = must(NewApprovers(l))
		}, ErrOutOfScope, trust.ReasonUntrustedSigner},
		{"out of the approver's packages", func(s *scene) {
			l := s.list()
			l[0].Scope = []string{"pkg:npm/@acmee/*", "pkg:npm/tool", "pkg:pypi/*"}
			s.approvers = must(NewApprovers(l))
		}, ErrOutOfScope, trust.ReasonUntrustedSigner},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScene()
			if err := s.verify(s.sign(s.bob)); err != nil {
				t.Fatal(err)
			}
			tc.change(s)
			err := s.verify(s.sign(s.bob))
			if !errors.Is(err, tc.err) {
				t.Fatalf("%v, want %v", err, tc.err)
			}
			if o, r := trust.Classify(err); o != trust.Failed || r != tc.reason {
				t.Errorf("classified %s/%s, want %s", o, r, tc.reason)
			}
		})
	}
}

// edit changes the payload of an envelope and keeps its signature.
func edit(t *testing.T, env []byte, from, to string) []byte {
	t.Helper()
	var w map[string]any
	if err := json.Unmarshal(env, &w); err != nil {
		t.Fatal(err)
	}
	p := must(base64.StdEncoding.DecodeString(w["payload"].(string)))
	if !bytes.Contains(p, []byte(from)) {
		t.Fatalf("%q is not in %s", from, p)
	}
	w["payload"] = base64.StdEncoding.EncodeToString(bytes.ReplaceAll(p, []byte(from), []byte(to)))
	return must(json.Marshal(w))
}

func TestEdited(t *testing.T) {
	s := newScene()
	env := s.sign(s.bob)
	for _, e := range [][2]string{
		{"tool@1.2.3", "tool@1.2.4"}, {"read it", "read it!"}, {"2026-05-02", "2026-06-02"}, {strings.Repeat("a", 64), strings.Repeat("b", 64)},
		{"e-0000000000000001", "e-0000000000000009"}, {"new-package", "any-package"}, {`"alice"`, `"alix"`},
	} {
		if err := s.verify(edit(t, env, e[0], e[1])); !errors.Is(err, ErrSignature) {
			t.Errorf("%s → %s: %v", e[0], e[1], err)
		}
	}
	for _, e := range [][2]string{
		{`"predicate":`, `"Predicate":`}, {`"reason":`, `"reason":"x","reason":`}, {`"reason":`, `"extra":1,"reason":`},
		{`"sha256"`, `"sha1"`}, {`"2026-05-02T12:00:00Z"`, `"2026-05-02T14:00:00+02:00"`}, {`"2026-05-02T12:00:00Z"`, `"2026-05-01T10:00:00Z"`},
		{`[{"name"`, `[null,{"name"`}, {"pkg:npm/%40acme", "pkg:npm/@acme"}, {`["new-package"]`, `["*"]`}, {`["new-package"]`, `[]`}, {`"alice"`, `""`},
	} {
		err := s.verify(edit(t, env, e[0], e[1]))
		if o, r := trust.Classify(err); err == nil || o != trust.Unreachable || r != trust.ReasonMalformed {
			t.Errorf("%s → %s: %v", e[0], e[1], err)
		}
	}
}

func TestThreat047OtherPredicate(t *testing.T) {
	s := newScene()
	payload := bytes.ReplaceAll(must(dsse.Parse(s.sign(s.bob))).UnverifiedPayload(), []byte(PredicateType), []byte("https://slsa.dev/provenance/v1"))
	env := must(dsse.Sign(PayloadType, payload, SSHSign(s.bob.ssh)))
	if _, r := trust.Classify(s.verify(env)); r != trust.ReasonWrongPredicate {
		t.Errorf("other predicate: %s", r)
	}
	env = must(dsse.Sign("text/plain", payload, SSHSign(s.bob.ssh)))
	if _, r := trust.Classify(s.verify(env)); r != trust.ReasonWrongPredicate {
		t.Errorf("other payload type: %s", r)
	}
}

// TestOtherNamespace: a signature that bob made for something else is no approval.
func TestOtherNamespace(t *testing.T) {
	s := newScene()
	env := must(Sign(s.statement, func(m []byte) ([]byte, string, error) {
		b, err := sshsig.Sign(bytes.NewReader(m), sshsig.NamespaceFile, s.bob.ssh)
		return b, "", err
	}))
	if err := s.verify(env); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

func TestQuorum(t *testing.T) {
	s := newScene()
	bob, bob2 := s.sign(s.bob), s.sign(s.bob2)
	s.statement.Approver = "carol"
	carol := s.sign(s.carol)
	s.want.Quorum = 2
	as, err := VerifyQuorum([][]byte{bob, bob2, carol}, s.approvers, s.want)
	if err != nil || len(as) != 2 {
		t.Errorf("two people: %v, %v", as, err)
	}
	for name, envs := range map[string][][]byte{"one person's two keys": {bob, bob2}, "one approval twice": {bob, bob}, "none": nil, "one and junk": {bob, []byte("junk")}} {
		_, err := VerifyQuorum(envs, s.approvers, s.want)
		if !errors.Is(err, ErrQuorum) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, -1, 3} {
		s.want.Quorum = n
		if _, err := VerifyQuorum([][]byte{bob, carol}, s.approvers, s.want); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("quorum %d: %v", n, err)
		}
	}
}

func TestThreat022Configuration(t *testing.T) {
	s := newScene()
	env := s.sign(s.bob)
	for name, change := range map[string]func(*Want){
		"release": func(w *Want) { w.Release = trust.Release{} },
		"rule":    func(w *Want) { w.Rule = "" },
		"now":     func(w *Want) { w.Now = time.Time{} },
		"maxDays": func(w *Want) { w.MaxDays = 0 },
		"digests": func(w *Want) { w.Artifacts = nil },
		"weak": func(w *Want) {
			w.Artifacts = []trust.Artifact{{Digests: trust.Digests{{Algorithm: trust.SHA1, Value: strings.Repeat("a", 40)}}}}
		},
		"no value": func(w *Want) { w.Artifacts = []trust.Artifact{{}} },
	} {
		w := s.want
		change(&w)
		if _, err := Verify(env, s.approvers, w); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, a := range []*Approvers{nil, must(NewApprovers(nil))} {
		if _, err := Verify(env, a, s.want); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("no approvers: %v", err)
		}
	}
}

func TestNewApprovers(t *testing.T) {
	k, k2 := newKey(), newKey()
	a := func(name string, ks ...Credential) Approver {
		return Approver{Name: name, Credentials: ks, Scope: []string{"*"}, Rules: []string{"*"}}
	}
	with := func(a Approver, f func(*Approver)) Approver { f(&a); return a }
	for name, l := range map[string][]Approver{
		"no name":               {a("", k.cred())},
		"no key":                {a("x")},
		"empty key":             {a("x", Credential{})},
		"key twice":             {a("x", k.cred(), k.cred())},
		"shared key":            {a("x", k.cred()), a("y", k.cred())},
		"shared key, two forms": {a("x", k.cred()), a("y", must(KeyCredential(k.pem())))},
		"same name":             {a("x", k.cred()), a("x", k2.cred())},
		"same name, other case": {a("x", k.cred()), a("X", k2.cred())},
		"alias of another":      {a("x", k.cred()), with(a("y", k2.cred()), func(a *Approver) { a.Aliases = []string{"X"} })},
		"empty alias":           {with(a("y", k2.cred()), func(a *Approver) { a.Aliases = []string{" "} })},
		"no scope":              {with(a("y", k2.cred()), func(a *Approver) { a.Scope = nil })},
		"no rules":              {with(a("y", k2.cred()), func(a *Approver) { a.Rules = nil })},
		"bad scope":             {with(a("y", k2.cred()), func(a *Approver) { a.Scope = []string{"pkg:npm/*/x"} })},
		"version in scope":      {with(a("y", k2.cred()), func(a *Approver) { a.Scope = []string{"pkg:npm/x@1"} })},
	} {
		if _, err := NewApprovers(l); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]Credential, MaxCredentials+1)
	for i := range many {
		many[i] = newKey().cred()
	}
	if _, err := NewApprovers([]Approver{a("x", many[:MaxCredentials]...)}); err != nil {
		t.Errorf("credentials at the bound: %v", err)
	}
	if _, err := NewApprovers([]Approver{a("x", many...)}); err == nil {
		t.Error("credentials above the bound")
	}
	var people []Approver
	for i := range MaxApprovers + 1 {
		people = append(people, a(fmt.Sprint("p", i), newKey().cred()))
	}
	if _, err := NewApprovers(people[:MaxApprovers]); err != nil {
		t.Errorf("approvers at the bound: %v", err)
	}
	if _, err := NewApprovers(people); err == nil {
		t.Error("approvers above the bound")
	}
}

func TestScopes(t *testing.T) {
	for _, tc := range []struct {
		scope, pkg string
		ok         bool
	}{
		{"*", "pkg:npm/x", true}, {"pkg:npm/*", "pkg:npm/x", true}, {"pkg:npm/*", "pkg:npm/%40a/x", true}, {"pkg:npm/*", "pkg:pypi/x", false},
		{"pkg:npm/@a/*", "pkg:npm/%40a/x", true}, {"pkg:npm/@a/*", "pkg:npm/%40ab/x", false}, {"pkg:npm/@a/*", "pkg:npm/a", false},
		{"pkg:golang/example.com/a/*", "pkg:golang/example.com/a/b/c", true}, {"pkg:golang/example.com/a/*", "pkg:golang/example.com/ab", false},
		{"pkg:pypi/Foo_Bar", "pkg:pypi/foo-bar", true}, {"pkg:npm/x", "pkg:npm/xy", false}, {"pkg:npm/x", "pkg:npm/%40a/x", false},
	} {
		s := must(parseScope(tc.scope))
		if got := s.covers(must(trust.ParseRelease(tc.pkg)).Package); got != tc.ok {
			t.Errorf("%s covers %s: %v", tc.scope, tc.pkg, got)
		}
	}
	s := newScene()
	p := s.want.Release.Package
	if got := s.approvers.Eligible(p, "new-package", "bob@example.com"); len(got) != 1 || got[0] != "carol" {
		t.Errorf("eligible: %v", got)
	}
	for _, c := range []struct {
		name, rule, requester string
		err                   error
	}{{"carol", "cooldown", "x", ErrOutOfScope}, {"Carol", "new-package", "x", nil}, {"dave", "new-package", "x", ErrNotApprover}, {"carol", "new-package", "CAROL", ErrRequester}} {
		if err := s.approvers.Refusal(c.name, p, c.rule, c.requester); !errors.Is(err, c.err) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// judge is a MessageVerifier that knows one document.
type judge struct {
	signer trust.Signer
	err    error
}

func (j judge) VerifyMessage(message, doc []byte) (trust.Signer, error) {
	if !bytes.HasPrefix(message, []byte("DSSEv1 ")) || string(doc) != "bundle" {
		return trust.Signer{}, trust.Failure(trust.ReasonBadSignature, "not this")
	}
	return j.signer, j.err
}

func TestIdentities(t *testing.T) {
	root := strings.Repeat("ab", 32)
	bundle := func([]byte) ([]byte, string, error) { return []byte("bundle"), "", nil }
	good := trust.Signer{Kind: trust.SignerSigstore, Issuer: "https://i.example", SAN: "bob@example.com"}
	x509 := trust.Signer{Kind: trust.SignerX509, Subject: "CN=bob", CertIssuer: "CN=ca", Root: root}
	for name, tc := range map[string]struct {
		cred Credential
		ok   bool
		o    trust.Outcome
	}{
		"sigstore":     {must(SigstoreCredential("https://i.example", "bob@example.com", judge{signer: good})), true, ""},
		"other issuer": {must(SigstoreCredential("https://j.example", "bob@example.com", judge{signer: good})), false, trust.Failed},
		"other san":    {must(SigstoreCredential("https://i.example", "bob@example.co", judge{signer: good})), false, trust.Failed},
		"refused":      {must(SigstoreCredential("https://i.example", "bob@example.com", judge{good, trust.Failure(trust.ReasonBadSignature, "no")})), false, trust.Failed},
		"no root":      {must(SigstoreCredential("https://i.example", "bob@example.com", judge{good, trust.Undecidable(trust.ReasonExpiredRoot, "old")})), false, trust.Unreachable},
		"x509":         {must(X509Credential("CN=bob", root, judge{signer: x509})), true, ""},
		"other name":   {must(X509Credential("CN=bobby", root, judge{signer: x509})), false, trust.Failed},
		"other root":   {must(X509Credential("CN=bob", strings.Repeat("cd", 32), judge{signer: x509})), false, trust.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.approvers = must(NewApprovers([]Approver{{Name: "bob", Credentials: []Credential{tc.cred}, Scope: []string{"*"}, Rules: []string{"*"}}}))
			err := s.verify(must(Sign(s.statement, bundle)))
			if (err == nil) != tc.ok {
				t.Fatal(err)
			}
			if err != nil {
				if o, _ := trust.Classify(err); o != tc.o {
					t.Errorf("classified %s: %v", o, err)
				}
			}
		})
	}
	s := newScene()
	s.approvers = must(NewApprovers([]Approver{{Name: "bob", Credentials: []Credential{must(SigstoreCredential("https://i.example", "robert@example.com", judge{signer: trust.Signer{Kind: trust.SignerSigstore, Issuer: "https://i.example", SAN: "robert@example.com"}}))}, Scope: []string{"*"}, Rules: []string{"*"}}}))
	s.want.Requester = "robert@example.com"
	if err := s.verify(must(Sign(s.statement, bundle))); !errors.Is(err, ErrRequester) {
		t.Errorf("requester by the identity of the approver: %v", err)
	}
	for _, err := range []error{
		second(SigstoreCredential("", "x", judge{})), second(SigstoreCredential("x", "", judge{})), second(SigstoreCredential("x", "x", nil)),
		second(X509Credential("", root, judge{})), second(X509Credential("x", "root", judge{})), second(X509Credential("x", root, nil)),
		second(SSHCredential("ssh-ed25519 junk")), second(KeyCredential([]byte("junk"))),
	} {
		if err == nil {
			t.Error("an empty identity was taken")
		}
	}
}

func second(_ Credential, err error) error { return err }

func TestPlainKey(t *testing.T) {
	s := newScene()
	k := newKey()
	s.approvers = must(NewApprovers([]Approver{{Name: "bob", Credentials: []Credential{must(KeyCredential(k.pem()))}, Scope: []string{"*"}, Rules: []string{"*"}}}))
	sign := must(dsse.SignWith(crypto.Signer(k.priv)))
	if err := s.verify(must(Sign(s.statement, sign))); err != nil {
		t.Error(err)
	}
}

func TestGitCommitBinds(t *testing.T) {
	s := newScene()
	a := func(c string) []trust.Artifact {
		return []trust.Artifact{{Digests: trust.Digests{must(trust.NewDigest(trust.GitCommit, strings.Repeat(c, 40)))}}}
	}
	s.statement.Artifacts, s.want.Artifacts = a("1"), a("1")
	if err := s.verify(s.sign(s.bob)); err != nil {
		t.Error(err)
	}
	s.want.Artifacts = a("2")
	if err := s.verify(s.sign(s.bob)); !errors.Is(err, ErrOtherDigest) {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	ids := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf("e-%016x", i)
		}
		return out
	}
	arts := func(n int) []trust.Artifact {
		out := make([]trust.Artifact, n)
		for i := range out {
			out[i] = trust.Artifact{Digests: trust.Digests{digest("a")}}
		}
		return out
	}
	for name, tc := range map[string][2]func(*Statement){
		"evidence":  {func(s *Statement) { s.Evidence = ids(MaxEvidence) }, func(s *Statement) { s.Evidence = ids(MaxEvidence + 1) }},
		"rules":     {func(s *Statement) { s.Rules = ids(MaxRules) }, func(s *Statement) { s.Rules = ids(MaxRules + 1) }},
		"artifacts": {func(s *Statement) { s.Artifacts = arts(MaxSubjects) }, func(s *Statement) { s.Artifacts = arts(MaxSubjects + 1) }},
		"text":      {func(s *Statement) { s.Reason = strings.Repeat("x", MaxText) }, func(s *Statement) { s.Reason = strings.Repeat("x", MaxText+1) }},
	} {
		s := newScene()
		tc[0](&s.statement)
		env, err := Sign(s.statement, SSHSign(s.bob.ssh))
		if err != nil {
			t.Errorf("%s at the bound: %v", name, err)
		}
		if _, err := Peek(env); err != nil {
			t.Errorf("%s at the bound: %v", name, err)
		}
		tc[1](&s.statement)
		if _, err := Sign(s.statement, SSHSign(s.bob.ssh)); err == nil {
			t.Errorf("%s above the bound was signed", name)
		}
	}
	s := newScene()
	env := s.sign(s.bob)
	at := append(env, bytes.Repeat([]byte(" "), MaxEnvelope-len(env))...)
	if err := s.verify(at); err != nil {
		t.Errorf("size at the bound: %v", err)
	}
	if _, r := trust.Classify(s.verify(append(at, ' '))); r != trust.ReasonTooLarge {
		t.Errorf("size above the bound: %s", r)
	}
}

func FuzzVerify(f *testing.F) {
	s := newScene()
	env := s.sign(s.bob)
	f.Add(env)
	f.Add(must(dsse.Parse(env)).UnverifiedPayload())
	f.Fuzz(func(t *testing.T, in []byte) {
		if a, err := Verify(in, s.approvers, s.want); err == nil && a.Statement().Release != s.want.Release {
			t.Fatal("verified for another release")
		}
		// The payload parser by itself, without a signature in front.
		if st, err := parseStatement(in); err == nil && st.validate() != nil {
			t.Fatal("read a statement that is not valid")
		}
	})
}

// TestThreat114RightsAreJudgedAtUse: an approval counts by the rights that the
// policy gives its approver when it is used, not by those at its signing.
func TestThreat114RightsAreJudgedAtUse(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*scene, []Approver) []Approver
		err    error
	}{
		"unchanged":     {func(_ *scene, l []Approver) []Approver { return l }, nil},
		"removed":       {func(_ *scene, l []Approver) []Approver { return l[:1] }, ErrNotApprover},
		"renamed":       {func(_ *scene, l []Approver) []Approver { l[1].Name = "caroline"; return l }, ErrNotApprover},
		"key exchanged": {func(_ *scene, l []Approver) []Approver { l[1].Credentials = []Credential{newKey().cred()}; return l }, ErrSignature},
		"key given to another": {func(s *scene, l []Approver) []Approver {
			l[0].Credentials, l[1].Credentials = []Credential{s.carol.cred()}, []Credential{s.bob.cred()}
			return l
		}, ErrSignature},
		"another scope": {func(_ *scene, l []Approver) []Approver { l[1].Scope = []string{"pkg:npm/@other/*"}; return l }, ErrOutOfScope},
		"another rule":  {func(_ *scene, l []Approver) []Approver { l[1].Rules = []string{"cooldown"}; return l }, ErrOutOfScope},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.statement.Approver = "carol"
			env := s.sign(s.carol)
			if err := s.verify(env); err != nil {
				t.Fatalf("with the right: %v", err)
			}
			s.approvers = must(NewApprovers(tc.change(s, s.list())))
			if err := s.verify(env); !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("%v, expected %v", err, tc.err)
			}
		})
	}
}
