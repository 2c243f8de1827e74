package generic

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/authenticode"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
	"github.com/headgate/headgate/trust/sshsig"
)

const (
	tool  = "/v1.2.0/tool.tar.gz"
	bytez = "the tool's bytes"
	limit = 1 << 20 // of one download in these tests
)

func sum(s string) trust.Digest {
	h := sha256.Sum256([]byte(s))
	return trust.DigestOf(trust.SHA256, h[:])
}

// signer has one key of each kind.
type signer struct {
	priv  ed25519.PrivateKey
	world *sigstoretest.World
	gpg   *pgp.Entity
	ssh   ssh.Signer
}

func clock() time.Time { return adaptertest.Now }

func newSigner(t testing.TB) *signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sg, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	e, err := pgp.NewEntity("Tool", "", "tool@example.com", &packet.Config{Time: clock, Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return &signer{priv, sigstoretest.New(t, adaptertest.Now), e, sg}
}

func b64(parts ...[]byte) string { return base64.StdEncoding.EncodeToString(bytes.Join(parts, nil)) }

func (s *signer) id() []byte { return s.priv[:8] }

// key is the public key as minisign and signify show it.
func (s *signer) key() string {
	return b64([]byte("Ed"), s.id(), s.priv.Public().(ed25519.PublicKey))
}

func (s *signer) minisign(msg, comment string) string {
	h := blake2b.Sum512([]byte(msg))
	sig := ed25519.Sign(s.priv, h[:])
	global := ed25519.Sign(s.priv, append(bytes.Clone(sig), comment...))
	return "untrusted comment: x\n" + b64([]byte("ED"), s.id(), sig) + "\ntrusted comment: " + comment + "\n" + b64(global) + "\n"
}

func (s *signer) signify(msg string) string {
	return "untrusted comment: verify with x.pub\n" + b64([]byte("Ed"), s.id(), ed25519.Sign(s.priv, []byte(msg))) + "\n"
}

func (s *signer) sshKey() string { return string(ssh.MarshalAuthorizedKey(s.ssh.PublicKey())) }

func (s *signer) sshSig(t testing.TB, msg, namespace string) string {
	b, err := sshsig.Sign(strings.NewReader(msg), namespace, s.ssh)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *signer) certificate(t testing.TB) string {
	var b bytes.Buffer
	w, err := armor.Encode(&b, pgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(s.gpg.Serialize(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (s *signer) fingerprint() string { return fmt.Sprintf("%X", s.gpg.PrimaryKey.Fingerprint) }

func (s *signer) openpgp(t testing.TB, msg string) string {
	var b bytes.Buffer
	if err := pgp.ArmoredDetachSign(&b, s.gpg, strings.NewReader(msg), &packet.Config{Time: clock}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// host is a file server.
type host map[string]string

func (h host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, ok := h[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, body)
}

func (s *signer) verifiers(t testing.TB) adapter.Verifiers {
	t.Helper()
	r, err := sigstore.LoadTrustedRoot(s.world.TrustedRoot(), sigstore.RootOptions{Obtained: s.world.Now, Now: s.world.Now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := sigstore.NewVerifier(r)
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context, trust.Package) (*sigstore.Verifier, error) { return v, nil }
}

// at serves the files and asks about the download d, whose URLs are paths.
func (h host) at(t testing.TB, env *adaptertest.Env, s *signer, d Download) adaptertest.World {
	t.Helper()
	base := env.Serve(h)
	for _, u := range []*string{&d.URL, &d.Checksums, &d.Signature} {
		if *u != "" {
			*u = base + *u
		}
	}
	a, err := New(Options{Get: env.Getter(), Clock: env.Clock, Downloads: []Download{d}, Sigstore: s.verifiers(t), MaxFile: limit, Materials: materials{{Kind: trust.MaterialOpenPGP, Data: []byte(s.certificate(t))}}})
	if err != nil {
		t.Fatal(err)
	}
	cs, err := Components([]Download{d}, "headgate.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return adaptertest.World{Adapter: a, Request: adapter.Request{Component: cs[0]}, Artifact: trust.Artifact{Digests: trust.Digests{sum(bytez)}}, Bytes: []byte(bytez)}
}

type materials []trust.Material

func (m materials) Materials(context.Context, trust.MaterialKind, trust.Package) ([]trust.Material, error) {
	return m, nil
}

var flow = sigstoretest.Workflow{Repository: "acme/tool"}

func provenance(w *sigstoretest.World, name, msg string, f sigstoretest.Workflow, fault sigstoretest.Fault) string {
	return string(w.Bundle(sigstoretest.Options{Fault: fault, Identity: f.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, f.Provenance1(), sigstoretest.SubjectOf(name, []byte(msg)))}))
}

func workflow() *Identity {
	return &Identity{Issuer: trust.GitHubIssuer, Identity: flow.SAN()}
}

func TestSigstore(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckProvenance, trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			s := newSigner(t)
			w, f, name, msg, fault := s.world, flow, "tool.tar.gz", bytez, sigstoretest.Fault("")
			switch env.Scenario {
			case adaptertest.WrongName:
				name = "other.tar.gz"
			case adaptertest.WrongVersion:
				name, msg = "tool-1.1.0.tar.gz", "the old tool's bytes"
			case adaptertest.WrongDigest:
				msg = "other bytes"
			case adaptertest.ForeignSigner:
				f.Repository = "evil/tool"
			case adaptertest.Duplicate:
				fault = sigstoretest.FaultTwoSignatures
			case adaptertest.Expired:
				fault = sigstoretest.FaultExpired
			case adaptertest.Replayed: // of the file that was here before
				msg = "the earlier tool's bytes"
			}
			h := host{tool: bytez, tool + ".sigstore.json": provenance(w, name, msg, f, fault)}
			if env.Scenario == adaptertest.Stripped {
				delete(h, tool+".sigstore.json")
			}
			if env.Scenario == adaptertest.Right {
				// Two expectations in one file: provenance and a signed message.
				h[tool+".minisig"] = s.minisign(bytez, "file:tool.tar.gz")
				return h.at(t, env, s, Download{URL: tool, Sigstore: workflow(), Minisign: s.key()})
			}
			return h.at(t, env, s, Download{URL: tool, Sigstore: workflow()})
		},
	})
}

func TestSignedChecksums(t *testing.T) {
	line := func(s, name string) string { return sum(s).Value + "  " + name + "\n" }
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckPublisherSig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			s := newSigner(t)
			by, list := s, line("x", "readme")+line(bytez, "tool.tar.gz")
			switch env.Scenario {
			case adaptertest.WrongName:
				list = line(bytez, "other.tar.gz")
			case adaptertest.WrongVersion:
				list = line("the old tool's bytes", "tool-1.1.0.tar.gz")
			case adaptertest.WrongDigest:
				list = line("other bytes", "tool.tar.gz")
			case adaptertest.ForeignSigner:
				by = newSigner(t)
			case adaptertest.Duplicate:
				list += line("other bytes", "tool.tar.gz")
			case adaptertest.Replayed:
				list = line("the earlier tool's bytes", "tool.tar.gz")
			}
			h := host{tool: bytez, "/SUMS": list, "/SUMS.minisig": by.minisign(list, "sums")}
			if env.Scenario == adaptertest.Stripped {
				delete(h, "/SUMS.minisig")
			}
			return h.at(t, env, s, Download{URL: tool, Checksums: "/SUMS", Minisign: s.key()})
		},
		Skip: map[adaptertest.Scenario]string{adaptertest.Expired: "keys of minisign have no end"},
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			// A list that does not name the file says nothing about it.
			adaptertest.WrongName:    {Some: []trust.Outcome{trust.Absent, trust.Failed}},
			adaptertest.WrongVersion: {Some: []trust.Outcome{trust.Absent, trust.Failed}},
		},
	})
}

func TestDigest(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckBytes},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			h, d := host{tool: bytez}, Download{URL: tool, Name: "tool", Version: "1.2.0", Digest: sum(bytez)}
			switch env.Scenario {
			case adaptertest.WrongDigest, adaptertest.Replayed:
				h[tool] = "other bytes"
			case adaptertest.Stripped:
				delete(h, tool)
			}
			w := h.at(t, env, newSigner(t), d)
			c := &w.Request.Component
			switch env.Scenario {
			case adaptertest.WrongName:
				c.Release.Package.Name = "other"
			case adaptertest.WrongVersion:
				c.Release.Version = "1.1.0"
			case adaptertest.Duplicate:
				c.Artifacts[0].Digests = trust.Digests{sum("other bytes")}
			}
			return w
		},
		Skip: map[adaptertest.Scenario]string{adaptertest.ForeignSigner: "a digest has no signer", adaptertest.Expired: "a digest has no end"},
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			// Any bytes are a document; these are just not the ones that are expected.
			adaptertest.Malformed: {Some: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonWrongDigest}},
		},
	})
}

func ask(t *testing.T, h host, s *signer, d Download) adapter.Result {
	t.Helper()
	w := h.at(t, adaptertest.NewEnv(t, adaptertest.Right), s, d)
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

func signed(res adapter.Result) (trust.Evidence, bool) {
	for _, e := range res.Evidence {
		if e.Assurance > trust.AssuranceNone {
			return e, true
		}
	}
	return trust.Evidence{}, false
}

// TestEachFormat: the right signature counts, and neither another's nor one over
// other bytes, nor none, nor one of another format.
func TestEachFormat(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	for what, c := range map[string]struct {
		suffix string
		expect Download
		sign   func(by *signer, msg string) string
		kind   trust.SignerKind
	}{
		"minisign": {".minisig", Download{Minisign: s.key()}, func(by *signer, m string) string { return by.minisign(m, "c") }, trust.SignerKey},
		"signify":  {".sig", Download{Signify: s.key()}, func(by *signer, m string) string { return by.signify(m) }, trust.SignerKey},
		"ssh":      {".sig", Download{SSH: s.sshKey()}, func(by *signer, m string) string { return by.sshSig(t, m, sshsig.NamespaceFile) }, trust.SignerSSH},
		"openpgp":  {".asc", Download{OpenPGP: s.certificate(t)}, func(by *signer, m string) string { return by.openpgp(t, m) }, trust.SignerOpenPGP},
		"pinned":   {".asc", Download{OpenPGP: strings.ToLower(s.fingerprint())}, func(by *signer, m string) string { return by.openpgp(t, m) }, trust.SignerOpenPGP},
		"sigstore": {".sigstore.json", Download{Sigstore: &Identity{Issuer: "https://issuer.example.com", Identity: "tool@example.com"}}, func(by *signer, m string) string {
			return string(by.world.Bundle(sigstoretest.Options{Artifact: []byte(m), Identity: sigstoretest.Email("tool@example.com", "https://issuer.example.com")}))
		}, trust.SignerSigstore},
		"pattern": {".sigstore.json", Download{Sigstore: &Identity{Issuer: "https://issuer.example.com", Pattern: `[a-z]+@example\.com`}}, func(by *signer, m string) string {
			return string(by.world.Bundle(sigstoretest.Options{Artifact: []byte(m), Identity: sigstoretest.Email("tool@example.com", "https://issuer.example.com")}))
		}, trust.SignerSigstore},
	} {
		for _, bad := range []string{"", "stranger", "bytes", "stripped", "garbage"} {
			h, by, msg := host{tool: bytez}, s, bytez
			switch bad {
			case "stranger":
				by = stranger
			case "bytes":
				msg = "other bytes"
			}
			h[tool+c.suffix] = c.sign(by, msg)
			switch bad {
			case "stripped":
				delete(h, tool+c.suffix)
			case "garbage":
				h[tool+c.suffix] = "garbage"
			}
			d := c.expect
			d.URL = tool
			res := ask(t, h, s, d)
			e, ok := signed(res)
			if ok != (bad == "") {
				t.Errorf("%s %s: %+v", what, bad, res.Evidence)
				continue
			}
			if ok && (e.Signer == nil || e.Signer.Kind != c.kind || e.Assurance != trust.AssurancePublisher || len(e.Raw) == 0) {
				t.Errorf("%s: %+v", what, e)
			}
			if bad != "" {
				for _, e := range res.Evidence {
					if e.Outcome == trust.Verified {
						t.Errorf("%s %s: %s is verified", what, bad, e.Check)
					}
				}
			}
		}
	}
}

// TestOneUnmetExpectationIsEnough: a right digest does not make up for a
// signature that is missing, and the other way round.
func TestOneUnmetExpectationIsEnough(t *testing.T) {
	s := newSigner(t)
	d := Download{URL: tool, Digest: sum(bytez), Minisign: s.key()}
	for _, h := range []host{{tool: bytez}, {tool: bytez, tool + ".minisig": newSigner(t).minisign(bytez, "")}, {tool: "other", tool + ".minisig": s.minisign("other", "")}} {
		for _, e := range ask(t, h, s, d).Evidence {
			if e.Outcome == trust.Verified {
				t.Errorf("%+v", e)
			}
		}
	}
	res := ask(t, host{tool: bytez, tool + ".minisig": s.minisign(bytez, "")}, s, d)
	if _, ok := signed(res); !ok {
		t.Errorf("%+v", res.Evidence)
	}
}

// keyless is what signs a file as a person of an issuer.
func (s *signer) keyless(msg, address, issuer string) string {
	return string(s.world.Bundle(sigstoretest.Options{Artifact: []byte(msg), Identity: sigstoretest.Email(address, issuer)}))
}

func TestThreat014LookAlikeIdentities(t *testing.T) {
	s := newSigner(t)
	const issuer = "https://issuer.example.com"
	for _, want := range []Identity{{Issuer: issuer, Identity: "tool@example.com"}, {Issuer: issuer, Pattern: `tool@example\.com`}} {
		for who, ok := range map[string]bool{"tool@example.com": true, "tool@example.com.evil.example": false, "evil-tool@example.com": false, "tool@exampleXcom": false} {
			res := ask(t, host{tool: bytez, tool + ".sigstore.json": s.keyless(bytez, who, issuer)}, s, Download{URL: tool, Sigstore: &want})
			if _, got := signed(res); got != ok {
				t.Errorf("%+v by %s: %+v", want, who, res.Evidence)
			}
		}
	}
}

func TestThreat015OtherIssuer(t *testing.T) {
	s := newSigner(t)
	for _, want := range []Identity{{Issuer: "https://issuer.example.com", Identity: "tool@example.com"}, {Issuer: "https://issuer.example.com", Pattern: `tool@example\.com`}} {
		for _, issuer := range []string{"https://issuer.example.com.evil.example", "https://issuerXexample.com", "https://issuer.example.com/"} {
			if e, ok := signed(ask(t, host{tool: bytez, tool + ".sigstore.json": s.keyless(bytez, "tool@example.com", issuer)}, s, Download{URL: tool, Sigstore: &want})); ok {
				t.Errorf("%s: %+v", issuer, e)
			}
		}
	}
}

// TestThreat006SignatureOfAnotherFile: a sound signature beside the wrong file.
func TestThreat006SignatureOfAnotherFile(t *testing.T) {
	s := newSigner(t)
	for what, c := range map[string]struct {
		h host
		d Download
	}{
		"minisign": {host{tool + ".minisig": s.minisign("other", "")}, Download{Minisign: s.key()}},
		"sigstore": {host{tool + ".sigstore.json": s.keyless("other", "tool@example.com", "https://issuer.example.com")}, Download{Sigstore: &Identity{Issuer: "https://issuer.example.com", Identity: "tool@example.com"}}},
		// The list is signed, and not this one.
		"list": {host{"/SUMS": sum(bytez).Value + "  tool.tar.gz\n", "/SUMS.minisig": s.minisign("other", "")}, Download{Minisign: s.key(), Checksums: "/SUMS"}},
		// The file is signed, and the list is what should be.
		"file for list": {host{"/SUMS": sum(bytez).Value + "  tool.tar.gz\n", "/SUMS.minisig": s.minisign(bytez, "")}, Download{Minisign: s.key(), Checksums: "/SUMS"}},
	} {
		c.h[tool], c.d.URL = bytez, tool
		res := ask(t, c.h, s, c.d)
		if len(res.Evidence) == 0 || res.Evidence[0].Outcome != trust.Failed {
			t.Errorf("%s: %+v", what, res.Evidence)
		}
	}
}

// TestThreat032KeyInTheEvidence: a signature that brings its own key along, as
// SSH signatures and bundles do, is by nobody who is known.
func TestThreat032KeyInTheEvidence(t *testing.T) {
	s, stranger := newSigner(t), newSigner(t)
	for _, c := range []struct {
		suffix, sig string
		d           Download
	}{
		{".sig", stranger.sshSig(t, bytez, sshsig.NamespaceFile), Download{SSH: s.sshKey()}},
		{".sigstore.json", stranger.keyless(bytez, "tool@example.com", "https://issuer.example.com"), Download{Sigstore: &Identity{Issuer: "https://issuer.example.com", Identity: "tool@example.com"}}},
	} {
		c.d.URL = tool
		if e, ok := signed(ask(t, host{tool: bytez, tool + c.suffix: c.sig}, s, c.d)); ok {
			t.Errorf("%+v", e)
		}
	}
}

// TestThreat079WeakListsCountForNothing: a signed list of weak digests is signed
// and proves nothing about the bytes.
func TestThreat079WeakListsCountForNothing(t *testing.T) {
	s := newSigner(t)
	for what, list := range map[string]string{
		"md5":       hex.EncodeToString(make([]byte, 16)) + "  tool.tar.gz\n",
		"sha1":      hex.EncodeToString(make([]byte, 20)) + "  tool.tar.gz\n",
		"path":      sum(bytez).Value + "  ../tool.tar.gz\n",
		"other dir": sum(bytez).Value + "  sub/tool.tar.gz\n",
		"case":      sum(bytez).Value + "  Tool.tar.gz\n",
		"empty":     "",
	} {
		res := ask(t, host{tool: bytez, "/SUMS": list, "/SUMS.minisig": s.minisign(list, "")}, s, Download{URL: tool, Minisign: s.key(), Checksums: "/SUMS"})
		if e, ok := signed(res); ok {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

func TestSSHNamespace(t *testing.T) {
	s := newSigner(t)
	if e, ok := signed(ask(t, host{tool: bytez, tool + ".sig": s.sshSig(t, bytez, "git")}, s, Download{URL: tool, SSH: s.sshKey()})); ok {
		t.Errorf("%+v", e)
	}
}

func TestSignatureElsewhere(t *testing.T) {
	s := newSigner(t)
	if _, ok := signed(ask(t, host{tool: bytez, "/sig": s.minisign(bytez, "")}, s, Download{URL: tool, Minisign: s.key(), Signature: "/sig"})); !ok {
		t.Error("the signature's URL was not used")
	}
}

// TestThreat012KeylessWithoutIssuer: an expectation that anybody meets, or that
// cannot be read, is an error and never a weaker expectation.
func TestThreat012KeylessWithoutIssuer(t *testing.T) {
	s := newSigner(t)
	for what, d := range map[string]Download{
		"nothing":             {},
		"weak digest":         {Digest: trust.DigestOf(trust.SHA1, make([]byte, 20))},
		"module digest":       {Digest: trust.DigestOf(trust.DirHash1, make([]byte, 32))},
		"unsigned list":       {Digest: sum(bytez), Checksums: "https://files.example.com/SUMS"},
		"nobody's signature":  {Digest: sum(bytez), Signature: "https://files.example.com/x.sig"},
		"one for two":         {Minisign: s.key(), SSH: s.sshKey(), Signature: "https://files.example.com/x.sig"},
		"itself":              {Minisign: s.key(), Signature: "https://files.example.com/tool"},
		"no issuer":           {Sigstore: &Identity{Identity: "a@example.com"}},
		"pattern, no issuer":  {Sigstore: &Identity{Pattern: "a@example.com"}},
		"no identity":         {Sigstore: &Identity{Issuer: "https://issuer.example.com"}},
		"both":                {Sigstore: &Identity{Issuer: "https://issuer.example.com", Identity: "a", Pattern: "a"}},
		"any identity":        {Sigstore: &Identity{Issuer: "https://issuer.example.com", Pattern: ".*"}},
		"unbalanced pattern":  {Sigstore: &Identity{Issuer: "https://issuer.example.com", Pattern: "a)|(?:b"}},
		"short fingerprint":   {OpenPGP: "ABCDEF0123456789"},
		"no key":              {Minisign: "x"},
		"no ssh key":          {SSH: "ssh-ed25519 x"},
		"subject alone":       {Authenticode: &Publisher{Subject: "CN=x"}},
		"root alone":          {Authenticode: &Publisher{Root: "x"}},
		"publisher of nobody": {Authenticode: &Publisher{}},
		"bad root":            {Authenticode: &Publisher{Subject: "CN=x", Root: "x"}},
		"bad fingerprint":     {Authenticode: &Publisher{Fingerprint: "abcd"}},
		"both publishers":     {Authenticode: &Publisher{Fingerprint: sum("").Value, Subject: "CN=x", Root: "x"}},
		"credentials":         {Digest: sum(bytez), URL: "https://u:s3cret@files.example.com/tool"},
		"no file":             {Digest: sum(bytez), URL: "https://files.example.com/"},
		"scheme":              {Digest: sum(bytez), URL: "ftp://files.example.com/tool"},
		"fragment":            {Digest: sum(bytez), URL: "https://files.example.com/tool#x"},
	} {
		if d.URL == "" {
			d.URL = "https://files.example.com/tool"
		}
		_, err := Components([]Download{d}, "headgate.yaml")
		if !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error shows the password", what)
		}
	}
	good := Download{URL: "https://files.example.com/tool", Digest: sum(bytez)}
	other := good
	other.URL = "https://files.example.com/b/tool"
	for _, ds := range [][]Download{{good, good}, {good, other}} {
		if _, err := Components(ds, ""); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%v: %v", ds, err)
		}
	}
}

func TestUnconfiguredIsNotFetched(t *testing.T) {
	env := adaptertest.NewEnv(t, adaptertest.Right)
	w := host{tool: bytez}.at(t, env, newSigner(t), Download{URL: tool, Digest: sum(bytez)})
	for _, edit := range []func(*sbom.Component){
		func(c *sbom.Component) { c.Origin += "x" },
		func(c *sbom.Component) { c.Artifacts[0].URL = "https://files.example.com/x" },
		func(c *sbom.Component) { c.Origin, c.Artifacts = "", nil },
		func(c *sbom.Component) { c.Kind = sbom.KindPath },
		func(c *sbom.Component) { c.Kind = sbom.KindGit },
	} {
		x := w.Request
		x.Component.Artifacts = []trust.Artifact{x.Component.Artifacts[0]}
		edit(&x.Component)
		res, err := w.Adapter.Collect(context.Background(), x)
		if err != nil || len(res.Evidence) != 1 || res.Evidence[0].Outcome != trust.Absent {
			t.Errorf("%+v %v", res, err)
		}
	}
	if env.Requests() != 0 {
		t.Errorf("%d requests", env.Requests())
	}
}

func TestFileBound(t *testing.T) {
	body := strings.Repeat("x", limit)
	if res := ask(t, host{tool: body}, newSigner(t), Download{URL: tool, Digest: sum(body)}); res.Evidence[0].Outcome != trust.Verified {
		t.Errorf("at the bound: %+v", res.Evidence)
	}
	body += "x"
	if res := ask(t, host{tool: body}, newSigner(t), Download{URL: tool, Digest: sum(body)}); res.Evidence[0].Reason != trust.ReasonTooLarge {
		t.Errorf("one above: %+v", res.Evidence)
	}
}

func TestRedirectsOnlyToNamedHosts(t *testing.T) {
	for _, named := range []bool{false, true} {
		env := adaptertest.NewEnv(t, adaptertest.Right)
		store := env.Serve(host{tool: bytez})
		base := env.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, store+r.URL.Path, http.StatusFound)
		}))
		d := Download{URL: base + tool, Digest: sum(bytez)}
		if named {
			d.Hosts = []string{strings.TrimPrefix(store, "http://")}
		}
		a, err := New(Options{Get: env.Getter(), Clock: env.Clock, Downloads: []Download{d}})
		if err != nil {
			t.Fatal(err)
		}
		cs, err := Components([]Download{d}, "")
		if err != nil {
			t.Fatal(err)
		}
		res, err := a.Collect(context.Background(), adapter.Request{Component: cs[0]})
		if err != nil || (res.Evidence[0].Outcome == trust.Verified) != named {
			t.Errorf("named %v: %+v %v", named, res.Evidence, err)
		}
	}
}

func TestCountBounds(t *testing.T) {
	var ds []Download
	for i := range MaxDownloads {
		ds = append(ds, Download{URL: fmt.Sprintf("https://files.example.com/%d", i), Digest: sum(bytez)})
	}
	if _, err := Components(ds, ""); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := Components(append(ds, Download{URL: "https://files.example.com/x", Digest: sum(bytez)}), ""); err == nil {
		t.Error("one above the bound accepted")
	}
	d := Download{URL: "https://files.example.com/x", Digest: sum(bytez), Hosts: make([]string, MaxHosts)}
	if _, err := parse(d); err != nil {
		t.Errorf("hosts at the bound: %v", err)
	}
	d.Hosts = append(d.Hosts, "x")
	if _, err := parse(d); err == nil {
		t.Error("hosts above the bound accepted")
	}
}

func TestPinnedCertificateIsNeeded(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	res := ask(t, host{tool: bytez, tool + ".asc": other.openpgp(t, bytez)}, s, Download{URL: tool, OpenPGP: other.fingerprint()})
	if e := res.Evidence[0]; e.Outcome != trust.Unreachable || e.Reason != trust.ReasonUnknownKey {
		t.Errorf("%+v", res.Evidence)
	}
}

func TestNotPE(t *testing.T) {
	for _, body := range []string{bytez, "MZ", ""} {
		res := ask(t, host{tool: body}, newSigner(t), Download{URL: tool, Authenticode: &Publisher{Fingerprint: sum("").Value}})
		for _, e := range res.Evidence {
			if e.Outcome == trust.Verified {
				t.Errorf("%+v", e)
			}
		}
	}
}

// realData returns a folder of really published files, or skips.
func realData(t *testing.T, folder string) []string {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, folder, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	return files
}

func read(t *testing.T, p string) string {
	t.Helper()
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRealMinisign(t *testing.T) {
	var keys, sigs []string
	for _, f := range realData(t, "minisign") {
		switch filepath.Ext(f) {
		case ".pub":
			keys = append(keys, read(t, f))
		case ".minisig":
			sigs = append(sigs, f)
		}
	}
	for _, f := range sigs {
		body, sig, found := read(t, strings.TrimSuffix(f, ".minisig")), read(t, f), false
		for _, k := range keys {
			if _, err := minisign.ParsePublicKey([]byte(k)); err != nil {
				t.Fatal(err)
			}
			s := newSigner(t)
			_, ok := signed(ask(t, host{tool: body, tool + ".minisig": sig}, s, Download{URL: tool, Minisign: k}))
			found = found || ok
			if _, ok := signed(ask(t, host{tool: body + "x", tool + ".minisig": sig}, s, Download{URL: tool, Minisign: k})); ok {
				t.Errorf("%s: verified over other bytes", f)
			}
			if _, ok := signed(ask(t, host{tool: body, tool + ".minisig": sig}, s, Download{URL: tool, Minisign: s.key()})); ok {
				t.Errorf("%s: verified for another key", f)
			}
		}
		if !found {
			t.Errorf("%s: no key verifies it", f)
		}
	}
}

func TestRealAuthenticode(t *testing.T) {
	pins := map[string]bool{}
	for _, f := range realData(t, "authenticode") {
		b := read(t, f)
		if pe, err := authenticode.Open(strings.NewReader(b), int64(len(b))); err == nil {
			for _, s := range pe.Signatures() {
				h := sha256.Sum256(s.Certificate().Raw)
				pins[hex.EncodeToString(h[:])] = true
			}
		}
	}
	if len(pins) == 0 {
		t.Fatal("no signed file")
	}
	for _, f := range realData(t, "authenticode") {
		body, verified := read(t, f), false
		pe, err := authenticode.Open(strings.NewReader(body), int64(len(body)))
		sound := err == nil && len(pe.Signatures()) > 0
		for pin := range pins {
			res := ask(t, host{tool: body}, newSigner(t), Download{URL: tool, Authenticode: &Publisher{Fingerprint: pin}})
			_, ok := signed(res)
			verified = verified || ok
			if !sound && res.Evidence[0].Outcome == trust.Verified {
				t.Errorf("%s: %+v", f, res.Evidence)
			}
		}
		if verified != sound {
			t.Errorf("%s: verified %v, sound %v (%v)", filepath.Base(f), verified, sound, err)
		}
		if strings.HasPrefix(filepath.Base(f), "pe-A") || strings.HasPrefix(filepath.Base(f), "pe-C") {
			if verified {
				t.Errorf("%s hides data and is verified", f)
			}
		}
		// Nobody is trusted by being signed.
		if _, ok := signed(ask(t, host{tool: body}, newSigner(t), Download{URL: tool, Authenticode: &Publisher{Fingerprint: sum("").Value}})); ok {
			t.Errorf("%s: verified for a stranger", f)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("https://files.example.com/tool", "tool", "1", "RWQ", "ssh-ed25519 AAAA", "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----BEGIN CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, url, name, version, mini, sshKey, gpg, root string) {
		d := Download{URL: url, Name: name, Version: version, Minisign: mini, SSH: sshKey, OpenPGP: gpg}
		if root != "" {
			d.Authenticode = &Publisher{Subject: "CN=x", Root: root}
		}
		e, err := parse(d)
		if err != nil {
			return
		}
		if len(e.minisign)+len(e.ssh)+len(e.certs)+len(e.roots) == 0 && e.keyID == "" {
			t.Fatal("an expectation of nothing was accepted")
		}
		if _, err := trust.ParseRelease(e.release.PURL()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheGateAsksAboutDownloads: the gate asks an adapter about kinds other than
// those of registries only if it says that it handles them.
func TestTheGateAsksAboutDownloads(t *testing.T) {
	cs, err := Components([]Download{{URL: "https://files.example.com/tool", Name: "tool", Version: "1", Digest: sum("tool")}}, "headgate.yaml")
	if err != nil || len(cs) != 1 {
		t.Fatalf("%v, %d components", err, len(cs))
	}
	var h adapter.KindHandler = &Adapter{}
	if !h.Handles(cs[0].Kind) {
		t.Errorf("the adapter is not asked about its own components, which are of the kind %s", cs[0].Kind)
	}
	if h.Handles(sbom.KindGit) || h.Handles(sbom.KindPath) {
		t.Error("the adapter wants to be asked about more than downloads")
	}
}
