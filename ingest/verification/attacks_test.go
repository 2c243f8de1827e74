package verification_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	pgp "github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
	"github.com/headgate/headgate/trust/sshsig"
)

const (
	san    = "https://github.com/acme/widget/.github/workflows/release.yml@refs/tags/v1.0.0"
	issuer = trust.GitHubIssuer
)

var app = []byte("an app")

func workflow(root *sigstore.Root) verification.Expectation {
	return verification.Expectation{Identity: san, Issuer: issuer, Now: now, Root: func() (*sigstore.Root, error) { return root, nil }}
}

func verifyApp(b []byte, x verification.Expectation) error {
	_, err := verification.Verify(verification.BytesArtifact("app", app), doc(b), x)
	return err
}

// TestThreat001EveryPath runs every way of breaking a bundle on every way in: plain
// signature and attestation, certificate and key, log v1 and v2.
func TestThreat001EveryPath(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	statement := sigstoretest.Statement(verification.PredicateSign, map[string]any{}, sigstoretest.SubjectOf("app", app))
	faults := []sigstoretest.Fault{"", sigstoretest.FaultSignature, sigstoretest.FaultNoPAE, sigstoretest.FaultPayload, sigstoretest.FaultNoSCT,
		sigstoretest.FaultForeignSCT, sigstoretest.FaultBadSCT, sigstoretest.FaultForeignCA, sigstoretest.FaultExpired, sigstoretest.FaultNotYet,
		sigstoretest.FaultForeignLog, sigstoretest.FaultEntrySignature, sigstoretest.FaultEntryKey, sigstoretest.FaultEntryDigest, sigstoretest.FaultSET,
		sigstoretest.FaultProof, sigstoretest.FaultCheckpoint, sigstoretest.FaultNoTimestamp, sigstoretest.FaultTimestamp, sigstoretest.FaultTwice, sigstoretest.FaultTwoSignatures}
	certificateOnly := []sigstoretest.Fault{sigstoretest.FaultNoSCT, sigstoretest.FaultForeignSCT, sigstoretest.FaultBadSCT, sigstoretest.FaultForeignCA, sigstoretest.FaultExpired, sigstoretest.FaultNotYet}
	envelopeOnly := []sigstoretest.Fault{sigstoretest.FaultNoPAE, sigstoretest.FaultPayload, sigstoretest.FaultTwoSignatures}
	for _, key := range []bool{false, true} {
		for _, attest := range []bool{false, true} {
			for _, v2 := range []bool{false, true} {
				for _, f := range faults {
					if key && contains(certificateOnly, f) || !attest && contains(envelopeOnly, f) || v2 && f == sigstoretest.FaultSET {
						continue
					}
					o := sigstoretest.Options{Artifact: app, LogV2: v2, Fault: f}
					if attest {
						o.Statement = statement
					}
					x := workflow(root)
					if key {
						o.Key = w.NPM
						x = byKey(t, w.NPM.Private.Public())
						x.Root = workflow(root).Root
					}
					err := verifyApp(w.Bundle(o), x)
					name := fmt.Sprintf("key %t, attestation %t, v2 %t, fault %q", key, attest, v2, f)
					// A key that is named counts at any time: nobody need have signed one.
					sound := f == "" || key && f == sigstoretest.FaultNoTimestamp
					if (err == nil) != sound {
						t.Errorf("%s: %v", name, err)
					}
					if err != nil && errors.Is(err, trust.ErrConfiguration) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	}
	// No log entry at all: keyless is refused, a key counts by itself unless a log is demanded.
	if err := verifyApp(w.Bundle(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultNoEntry}), workflow(root)); err == nil {
		t.Error("keyless without a log entry")
	}
}

func contains(fs []sigstoretest.Fault, f sigstoretest.Fault) bool {
	for _, o := range fs {
		if o == f {
			return true
		}
	}
	return false
}

func TestThreat012NobodyExpected(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	b := w.Bundle(sigstoretest.Options{Artifact: app})
	some, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for name, edit := range map[string]func(*verification.Expectation){
		"nobody":                func(x *verification.Expectation) { x.Identity, x.Issuer = "", "" },
		"no issuer":             func(x *verification.Expectation) { x.Issuer = "" },
		"no identity":           func(x *verification.Expectation) { x.Identity = "" },
		"no clock":              func(x *verification.Expectation) { x.Now = time.Time{} },
		"any identity":          func(x *verification.Expectation) { x.Identity, x.IdentityRegexp = "", ".*" },
		"any issuer":            func(x *verification.Expectation) { x.Issuer, x.IssuerRegexp = "", ".*" },
		"broken pattern":        func(x *verification.Expectation) { x.Identity, x.IdentityRegexp = "", "a)|(.*" },
		"exact and pattern":     func(x *verification.Expectation) { x.IdentityRegexp = san },
		"key and identity":      func(x *verification.Expectation) { x.Keys = byKey(t, some.Public()).Keys },
		"empty type":            func(x *verification.Expectation) { x.Types = []string{""} },
		"root without identity": func(x *verification.Expectation) { x.Identity, x.Issuer, x.Roots = "", "", []*x509.Certificate{{}} },
	} {
		x := workflow(root)
		edit(&x)
		if err := verifyApp(b, x); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestThreat014Lookalikes(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	x := workflow(root)
	x.Identity, x.IdentityRegexp = "", `https://github\.com/acme/widget/.*`
	if err := verifyApp(w.Bundle(sigstoretest.Options{Artifact: app}), x); err != nil {
		t.Fatal(err)
	}
	for _, repo := range []string{"acme/widget-evil", "evil/acme", "acme-evil/widget"} {
		err := verifyApp(w.Bundle(sigstoretest.Options{Artifact: app, Identity: sigstoretest.Workflow{Repository: repo}.Identity()}), x)
		refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	}
	for _, f := range []sigstoretest.Workflow{{Ref: "refs/tags/v1.0.01"}, {Issuer: issuer + "/x"}} {
		err := verifyApp(w.Bundle(sigstoretest.Options{Artifact: app, Identity: f.Identity()}), workflow(root))
		refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	}
	staging := load(t, sigstoretest.New(t, now))
	refused(t, verifyApp(w.Bundle(sigstoretest.Options{Artifact: app}), workflow(staging)), trust.Failed, "")
}

func TestThreat009And049MalformedBundles(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	good := w.Bundle(sigstoretest.Options{Artifact: app})
	statement := func(s string) []byte {
		return w.Bundle(sigstoretest.Options{Statement: []byte(s)})
	}
	sum := sha256.Sum256(app)
	sub := `{"name":"app","digest":{"sha256":"` + hex.EncodeToString(sum[:]) + `"}}`
	for name, b := range map[string][]byte{
		"trailing data":       append(bytes.Clone(good), "{}"...),
		"duplicate key":       bytes.Replace(good, []byte(`"mediaType"`), []byte(`"mediaType":"x","mediaType"`), 1),
		"empty":               {},
		"no JSON":             []byte("{"),
		"100 MB":              append(bytes.Clone(good), bytes.Repeat([]byte(" "), 100<<20)...),
		"null subject":        statement(`{"_type":"https://in-toto.io/Statement/v1","subject":[null],"predicateType":"` + verification.PredicateSign + `","predicate":{}}`),
		"no digest":           statement(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{}}],"predicateType":"` + verification.PredicateSign + `","predicate":{}}`),
		"duplicate predicate": statement(`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"x","predicateType":"` + verification.PredicateSign + `","predicate":{}}`),
		"trailing in payload": statement(`{"_type":"https://in-toto.io/Statement/v1","subject":[` + sub + `],"predicateType":"` + verification.PredicateSign + `","predicate":{}} {}`),
	} {
		if err := verifyApp(b, workflow(root)); err == nil {
			t.Errorf("%s: verified", name)
		} else if outcome, _ := trust.Classify(err); outcome == trust.Failed {
			t.Errorf("%s: malformed is not tampered: %v", name, err)
		}
	}
	for name, s := range map[string]string{
		"no subject":    `[]`,
		"other subject": `[{"name":"app","digest":{"sha256":"` + strings.Repeat("0", 64) + `"}}]`,
		"contradiction": `[{"name":"app","digest":{"sha256":"` + hex.EncodeToString(sum[:]) + `","sha512":"` + strings.Repeat("0", 128) + `"}}]`,
		"weak digest":   `[{"name":"app","digest":{"sha1":"` + strings.Repeat("0", 40) + `"}}]`,
	} {
		b := statement(`{"_type":"https://in-toto.io/Statement/v1","subject":` + s + `,"predicateType":"` + verification.PredicateSign + `","predicate":{}}`)
		if err := verifyApp(b, workflow(root)); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	// A subject that nobody signed, put in afterwards.
	var m map[string]any
	must(t, json.Unmarshal(statement(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":"`+strings.Repeat("0", 64)+`"}}],"predicateType":"`+verification.PredicateSign+`","predicate":{}}`), &m))
	env := m["dsseEnvelope"].(map[string]any)
	payload, err := base64.StdEncoding.DecodeString(env["payload"].(string))
	must(t, err)
	env["payload"] = base64.StdEncoding.EncodeToString(bytes.Replace(payload, []byte(`"subject":[`), []byte(`"subject":[`+sub+`,`), 1))
	b, err := json.Marshal(m)
	must(t, err)
	refused(t, verifyApp(b, workflow(root)), trust.Failed, "")
}

func TestThreat047WrongType(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	types := map[string]string{"slsaprovenance": "", "vsa": "", "spdx": "", "cyclonedx": "", "https://example.com/type/v1": ""}
	vuln := w.Bundle(sigstoretest.Options{Statement: sigstoretest.Statement("https://cosign.sigstore.dev/attestation/vuln/v1", map[string]any{}, sigstoretest.SubjectOf("app", app))})
	plain := w.Bundle(sigstoretest.Options{Artifact: app})
	for name := range types {
		ts, err := verification.ParseType(name)
		must(t, err)
		x := workflow(root)
		x.Types = ts
		refused(t, verifyApp(vuln, x), trust.Failed, trust.ReasonWrongPredicate)
		refused(t, verifyApp(plain, x), trust.Failed, trust.ReasonWrongPredicate)
	}
	refused(t, verifyApp(vuln, workflow(root)), trust.Failed, trust.ReasonWrongPredicate)
	if _, err := verification.ParseType("provenence"); err == nil {
		t.Error("an unknown type")
	}
}

// TestThreat020OneBadOfTwo: a good bundle does not cover up for a bad one.
func TestThreat020OneBadOfTwo(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	a := verification.BytesArtifact("app", app)
	good := verification.Document{Name: "good", Data: w.Bundle(sigstoretest.Options{Artifact: app})}
	bad := verification.Document{Name: "bad", Data: w.Bundle(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultSignature})}
	foreign := verification.Document{Name: "foreign", Data: w.Bundle(sigstoretest.Options{Artifact: app, Identity: sigstoretest.Workflow{Repository: "evil/widget"}.Identity()})}
	for _, docs := range [][]verification.Document{{good, bad}, {bad, good}} {
		_, err := verification.Verify(a, docs, workflow(root))
		refused(t, err, trust.Failed, "")
	}
	rs, err := verification.Verify(a, []verification.Document{foreign, good}, workflow(root))
	must(t, err)
	if len(rs) != 1 || !strings.Contains(strings.Join(rs[0].Notes, " "), "1 more signatures are by others") {
		t.Fatalf("%+v", rs)
	}
	_, err = verification.Verify(a, []verification.Document{foreign, foreign}, workflow(root))
	refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = verification.Verify(a, nil, workflow(root))
	refused(t, err, trust.Failed, trust.ReasonNotOffered)
	// One a line, as "gh attestation download" writes them.
	line := func(b []byte) []byte {
		var c bytes.Buffer
		must(t, json.Compact(&c, b))
		return append(c.Bytes(), '\n')
	}
	_, err = verification.Verify(a, doc(append(line(good.Data), line(good.Data)...)), workflow(root))
	must(t, err)
	_, err = verification.Verify(a, doc(append(line(good.Data), line(bad.Data)...)), workflow(root))
	refused(t, err, trust.Failed, "")
	many := make([]verification.Document, verification.MaxDocuments+1)
	_, err = verification.Verify(a, many, workflow(root))
	refused(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

// cosignBundle writes a bundle as cosign before version 3.
func cosignBundle(t *testing.T, b []byte, edit func(map[string]any)) []byte {
	t.Helper()
	var m struct {
		Material struct {
			Chain struct{ Certificates []struct{ RawBytes []byte } } `json:"x509CertificateChain"`
			Log   []struct {
				LogIndex, IntegratedTime json.Number
				LogID                    struct{ KeyID []byte }
				InclusionPromise         struct{ SignedEntryTimestamp []byte }
				CanonicalizedBody        []byte
			} `json:"tlogEntries"`
		} `json:"verificationMaterial"`
		Message struct{ Signature []byte } `json:"messageSignature"`
	}
	must(t, json.Unmarshal(b, &m))
	e := m.Material.Log[0]
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Material.Chain.Certificates[0].RawBytes})
	doc := map[string]any{
		"base64Signature": m.Message.Signature, "cert": base64.StdEncoding.EncodeToString(cert),
		"rekorBundle": map[string]any{"SignedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp,
			"Payload": map[string]any{"body": e.CanonicalizedBody, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex, "logID": hex.EncodeToString(e.LogID.KeyID)}},
	}
	edit(doc)
	out, err := json.Marshal(doc)
	must(t, err)
	return out
}

func TestThreat006CosignBundles(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	old := func(o sigstoretest.Options, edit func(map[string]any)) []byte {
		o.Version = "0.1"
		return cosignBundle(t, w.Bundle(o), edit)
	}
	same := func(map[string]any) {}
	good := old(sigstoretest.Options{Artifact: app}, same)
	must(t, verifyApp(good, workflow(root)))
	otherSig := old(sigstoretest.Options{Artifact: app}, same)
	for name, b := range map[string][]byte{
		"other artifact":  old(sigstoretest.Options{Artifact: []byte("other")}, same),
		"entry signature": old(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultEntrySignature}, same),
		"entry key":       old(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultEntryKey}, same),
		"entry digest":    old(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultEntryDigest}, same),
		"set":             old(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultSET}, same),
		"expired":         old(sigstoretest.Options{Artifact: app, Fault: sigstoretest.FaultExpired}, same),
		"no entry":        old(sigstoretest.Options{Artifact: app}, func(m map[string]any) { delete(m, "rekorBundle") }),
		"no certificate":  old(sigstoretest.Options{Artifact: app}, func(m map[string]any) { m["cert"] = "" }),
		"trailing data":   append(bytes.Clone(good), '1'),
	} {
		if err := verifyApp(b, workflow(root)); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	// The signature that was given is another one than the bundle's.
	var m map[string]any
	must(t, json.Unmarshal(otherSig, &m))
	sig := []byte(m["base64Signature"].(string))
	_, err := verification.Verify(verification.BytesArtifact("app", app), []verification.Document{{Name: "b", Data: good, Signature: sig}}, workflow(root))
	refused(t, err, trust.Failed, trust.ReasonBadSignature)
	_, err = verification.Verify(verification.BytesArtifact("app", app), []verification.Document{{Name: "b", Data: otherSig, Signature: sig}}, workflow(root))
	must(t, err)
}

func TestEveryFormat(t *testing.T) {
	i := newInstance(t)
	file, other := i.file("app.tgz", "an app\n"), i.file("other.tgz", "another app\n")
	check := func(name string, sig []byte, x verification.Expectation, format verification.Format) {
		t.Helper()
		rs, err := verification.Verify(artifact(t, file), doc(sig), x)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		if rs[0].Format != format || rs[0].Signer.Validate() != nil {
			t.Errorf("%s: %+v", name, rs[0])
		}
		if _, err = verification.Verify(artifact(t, other), doc(sig), x); err == nil {
			t.Errorf("%s: verified for another file", name)
		}
		logged := x
		logged.RequireLog = true
		if _, err = verification.Verify(artifact(t, file), doc(sig), logged); err == nil {
			t.Errorf("%s: verified without a log", name)
		}
		if _, err = verification.Verify(artifact(t, file), doc(sig), i.by()); err == nil {
			t.Errorf("%s: verified for a keyless identity", name)
		}
		if x.Types = []string{sigstore.PredicateProvenance1}; true {
			if _, err = verification.Verify(artifact(t, file), doc(sig), x); err == nil {
				t.Errorf("%s: verified as provenance", name)
			}
		}
	}
	keysOf := func(b []byte) verification.Expectation {
		t.Helper()
		k, err := verification.ParseKeys(b)
		must(t, err)
		return verification.Expectation{Keys: k, Now: now}
	}
	content, err := os.ReadFile(file)
	must(t, err)

	pub, mini, err := minisign.GenerateKey(rand.Reader)
	must(t, err)
	text, err := pub.MarshalText()
	must(t, err)
	priv, err := mini.MarshalText()
	must(t, err)
	k, err := signing.ParseKey(priv, nil)
	must(t, err)
	sig, err := k.MinisignSignature(file)
	must(t, err)
	check("minisign", sig, keysOf(text), verification.FormatMinisign)

	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(ed)
	must(t, err)
	sig, err = sshsig.Sign(bytes.NewReader(content), sshsig.NamespaceFile, signer)
	must(t, err)
	line := ssh.MarshalAuthorizedKey(signer.PublicKey())
	check("SSH", sig, keysOf(line), verification.FormatSSH)
	check("SSH, allowed signers", sig, keysOf(append([]byte("dev@example.com "), line...)), verification.FormatSSH)
	sig, err = sshsig.Sign(bytes.NewReader(content), "git", signer)
	must(t, err)
	_, err = verification.Verify(artifact(t, file), doc(sig), keysOf(line))
	refused(t, err, trust.Failed, "")

	raw := ed25519.Sign(ed, content)
	signify := append(append([]byte("Ed"), []byte("12345678")...), raw...)
	check("signify", []byte("untrusted comment: x\n"+base64.StdEncoding.EncodeToString(signify)+"\n"),
		keysOf([]byte("untrusted comment: x\n"+base64.StdEncoding.EncodeToString(append([]byte("Ed12345678"), ed.Public().(ed25519.PublicKey)...))+"\n")), verification.FormatSignify)

	config := &packet.Config{Time: func() time.Time { return now.Add(-time.Hour) }}
	ent, err := pgp.NewEntity("dev", "", "dev@example.com", config)
	must(t, err)
	var armored, clear bytes.Buffer
	must(t, pgp.ArmoredDetachSign(&armored, ent, bytes.NewReader(content), config))
	var key bytes.Buffer
	aw, err := armor.Encode(&key, pgp.PublicKeyType, nil)
	must(t, err)
	must(t, ent.Serialize(aw))
	must(t, aw.Close())
	check("OpenPGP", armored.Bytes(), keysOf(key.Bytes()), verification.FormatOpenPGP)
	block, err := armor.Decode(bytes.NewReader(armored.Bytes()))
	must(t, err)
	var binary bytes.Buffer
	_, err = binary.ReadFrom(block.Body)
	must(t, err)
	check("binary OpenPGP", binary.Bytes(), keysOf(key.Bytes()), verification.FormatOpenPGP)

	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	sum := sha256.Sum256(content)
	bare, err := ecdsa.SignASN1(rand.Reader, ec, sum[:])
	must(t, err)
	check("bare", bare, byKey(t, ec.Public()), verification.FormatBare)
	check("bare in base64", []byte(base64.StdEncoding.EncodeToString(bare)+"\n"), byKey(t, ec.Public()), verification.FormatBare)
	check("bare Ed25519", raw, byKey(t, ed.Public()), verification.FormatBare)

	sub, err := signing.FileSubject(file)
	must(t, err)
	st, err := signing.Statement(signing.PredicateSign, map[string]any{}, sub)
	must(t, err)
	fn, err := dsse.SignWith(ec)
	must(t, err)
	env, err := dsse.Sign(sigstore.PayloadType, st, fn)
	must(t, err)
	check("DSSE", env, byKey(t, ec.Public()), verification.FormatDSSE)

	// Lists of checksums, beside a signature and clearsigned.
	list := []byte(hex.EncodeToString(sum[:]) + "  app.tgz\n")
	armored.Reset()
	must(t, pgp.ArmoredDetachSign(&armored, ent, bytes.NewReader(list), config))
	x := keysOf(key.Bytes())
	_, err = verification.VerifyChecksums(artifact(t, file), verification.BytesArtifact("SUMS", list), doc(armored.Bytes()), x)
	must(t, err)
	_, err = verification.VerifyChecksums(artifact(t, other), verification.BytesArtifact("SUMS", list), doc(armored.Bytes()), x)
	refused(t, err, trust.Failed, trust.ReasonWrongSubject)
	_, err = verification.VerifyChecksums(artifact(t, i.file("copy/app.tgz", "x")), verification.BytesArtifact("SUMS", list), doc(armored.Bytes()), x)
	refused(t, err, trust.Failed, trust.ReasonWrongDigest)
	_, err = verification.VerifyChecksums(artifact(t, file), verification.BytesArtifact("SUMS", append(list, '\n')), doc(armored.Bytes()), x)
	refused(t, err, trust.Failed, "")
	cw, err := clearsign.Encode(&clear, ent.PrivateKey, config)
	must(t, err)
	_, err = cw.Write(list)
	must(t, err)
	must(t, cw.Close())
	_, err = verification.VerifyChecksums(artifact(t, file), verification.BytesArtifact("SUMS.asc", clear.Bytes()), nil, x)
	must(t, err)
	_, err = verification.VerifyChecksums(artifact(t, file), verification.BytesArtifact("SUMS", list), nil, x)
	refused(t, err, trust.Failed, trust.ReasonNotOffered)
}

func TestAcceptedSigners(t *testing.T) {
	w := sigstoretest.New(t, now)
	root := load(t, w)
	s, err := store.Open(t.Context(), t.TempDir()+"/trust.db", store.Options{Create: true, Now: func() time.Time { return now }})
	must(t, err)
	defer s.Close()
	if _, _, err := verification.AcceptedBy(t.Context(), s, trust.Package{}, now); !errors.Is(err, trust.ErrConfiguration) {
		t.Fatalf("an empty store: %v", err)
	}
	b := w.Bundle(sigstoretest.Options{Artifact: app})
	rs, err := verification.Verify(verification.BytesArtifact("app", app), doc(b), workflow(root))
	must(t, err)
	rel, err := trust.ParseRelease("pkg:generic/widget@1.0.0")
	must(t, err)
	accept := func(sg trust.Signer) string {
		ids, err := s.Accept(t.Context(), []store.Acceptance{{Signer: sg, Scope: store.PackageScope(rel.Package), By: "carol", Reason: "ours"}})
		must(t, err)
		return ids[0]
	}
	id := accept(rs[0].Signer)
	expect := func(p trust.Package) verification.Expectation {
		x := verification.Expectation{Now: now, Root: workflow(root).Root}
		x.Accepted, x.KnownKeys, err = verification.AcceptedBy(t.Context(), s, p, now)
		must(t, err)
		return x
	}
	rs, err = verification.Verify(verification.BytesArtifact("app", app), doc(b), expect(rel.Package))
	must(t, err)
	if !strings.HasPrefix(rs[0].AcceptedBy, id) {
		t.Errorf("accepted by %q", rs[0].AcceptedBy)
	}
	must(t, verifyApp(b, expect(trust.Package{})))
	other, err := trust.ParseRelease("pkg:generic/other@1.0.0")
	must(t, err)
	refused(t, verifyApp(b, expect(other.Package)), trust.Failed, trust.ReasonUntrustedSigner)
	foreign := w.Bundle(sigstoretest.Options{Artifact: app, Identity: sigstoretest.Workflow{Repository: "evil/widget", RepoID: "9", OwnerID: "8"}.Identity()})
	refused(t, verifyApp(foreign, expect(trust.Package{})), trust.Failed, trust.ReasonUntrustedSigner)

	// A key counts only when it is accepted too.
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKIXPublicKey(ec.Public())
	must(t, err)
	must(t, s.PutMaterial(t.Context(), trust.Material{Kind: trust.MaterialPublicKey, Name: "key", Origin: "test", Data: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, "carol", "at hand"))
	key := w.NewKey(now.AddDate(-1, 0, 0), time.Time{})
	key.Private = ec
	kb := w.Bundle(sigstoretest.Options{Artifact: app, Key: key})
	refused(t, verifyApp(kb, expect(trust.Package{})), trust.Failed, trust.ReasonUntrustedSigner)
	sum := sha256.Sum256(der)
	accept(trust.Signer{Kind: trust.SignerKey, KeyDigest: hex.EncodeToString(sum[:])})
	must(t, verifyApp(kb, expect(trust.Package{})))

	_, err = s.Revoke(t.Context(), id, "carol", "leaked")
	must(t, err)
	err = verifyApp(b, expect(trust.Package{}))
	refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	if !errors.Is(err, verification.ErrRevoked) {
		t.Error(err)
	}
}

func TestVerificationSummaries(t *testing.T) {
	i := newInstance(t)
	file := i.file("package-lock.json", "{}")
	sub, err := signing.FileSubject(file)
	must(t, err)
	policy := trust.DigestOf(trust.SHA256, bytes.Repeat([]byte{1}, 32))
	sum := signing.Summary{Time: now, Resource: "dir:.", Policy: policy, Passed: true, Levels: []string{"HEADGATE_ASSURANCE_REGISTRY"}, Subjects: []signing.Subject{sub}}
	verify := func(s signing.Summary, edit func(*verification.Summary)) error {
		t.Helper()
		st, err := signing.VSA(s)
		must(t, err)
		b, err := i.keyless(1, false).Statement(t.Context(), st)
		must(t, err)
		x := i.by()
		if _, err := verification.Verify(artifact(t, file), doc(b), x); err == nil {
			t.Error("a summary counts as a signature")
		}
		x.Types = []string{sigstore.PredicateVSA}
		rs, err := verification.Verify(artifact(t, file), doc(b), x)
		must(t, err)
		want := verification.Summary{Verifier: signing.VerifierID, Now: now}
		edit(&want)
		return verification.CheckSummary(rs, want)
	}
	none := func(*verification.Summary) {}
	must(t, verify(sum, none))
	must(t, verify(sum, func(w *verification.Summary) {
		w.Resource, w.Policy, w.Levels, w.MaxAge = "dir:.", policy, sum.Levels, time.Hour
	}))
	failed := sum
	failed.Passed = false
	refused(t, verify(failed, none), trust.Failed, trust.ReasonWrongPredicate)
	early := sum
	early.Time = now.Add(time.Hour)
	refused(t, verify(early, none), trust.Failed, trust.ReasonWrongPredicate)
	for _, edit := range []func(*verification.Summary){
		func(w *verification.Summary) { w.Verifier = "https://example.com/other" },
		func(w *verification.Summary) { w.Resource = "dir:other" },
		func(w *verification.Summary) { w.Policy = trust.DigestOf(trust.SHA256, bytes.Repeat([]byte{2}, 32)) },
		func(w *verification.Summary) { w.Levels = []string{"HEADGATE_ASSURANCE_PROVENANCE"} },
		func(w *verification.Summary) { w.Now, w.MaxAge = now.Add(2*time.Hour), time.Hour },
	} {
		refused(t, verify(sum, edit), trust.Failed, trust.ReasonWrongPredicate)
	}
	if err := verify(sum, func(w *verification.Summary) { w.Verifier = "" }); !errors.Is(err, trust.ErrConfiguration) {
		t.Error(err)
	}
	for _, edit := range []func(*signing.Summary){
		func(s *signing.Summary) { s.Subjects = nil }, func(s *signing.Summary) { s.Policy = trust.Digest{} },
		func(s *signing.Summary) { s.Time = time.Time{} }, func(s *signing.Summary) { s.Resource = "" },
	} {
		s := sum
		edit(&s)
		if _, err := signing.VSA(s); err == nil {
			t.Error("a summary that says nothing")
		}
	}
}

func FuzzSniffAndVerify(f *testing.F) {
	f.Add([]byte(`{"base64Signature":"AA==","cert":""}`))
	f.Add([]byte(`{"version":1,"verification_material":{},"envelope":{}}`))
	f.Add([]byte("untrusted comment: x\nRWQ"))
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----"))
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	x := byKey(f, ec.Public())
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := verifyApp(b, x); err == nil {
			t.Fatal("verified")
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAA"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"))
	f.Add([]byte("RWQ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := verification.ParseKeys(b); err == nil && k.Empty() {
			t.Fatal("no key and no error")
		}
	})
}

// A key that was named and did not sign is a refusal in every format, never an
// open question.
func TestNamedKeyDidNotSign(t *testing.T) {
	mine, theirs := must2(minisign.GenerateKey(rand.Reader))(t)
	sig := minisign.Sign(theirs, app)
	other, _ := must2(minisign.GenerateKey(rand.Reader))(t)
	for _, c := range []struct {
		pub  minisign.PublicKey
		want trust.Reason
	}{{mine, ""}, {other, trust.ReasonUntrustedSigner}} {
		text, err := c.pub.MarshalText()
		must(t, err)
		keys, err := verification.ParseKeys(text)
		must(t, err)
		_, err = verification.Verify(verification.BytesArtifact("app", app), doc(sig), verification.Expectation{Keys: keys, Now: now})
		if c.want == "" {
			must(t, err)
			continue
		}
		refused(t, err, trust.Failed, c.want)
	}
}

func must2[A, B any](a A, b B, err error) func(testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		must(t, err)
		return a, b
	}
}
