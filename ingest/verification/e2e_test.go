package verification_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

var now = time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)

// instance is a Sigstore in the test process with a folder to sign things in.
type instance struct {
	t    *testing.T
	w    *sigstoretest.World
	s    *sigstoretest.Services
	root *sigstore.Root
	dir  string
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	w := sigstoretest.New(t, now)
	return &instance{t: t, w: w, s: w.Serve(), root: load(t, w), dir: t.TempDir()}
}

func load(t testing.TB, w *sigstoretest.World) *sigstore.Root {
	t.Helper()
	r, err := sigstore.LoadTrustedRoot(w.TrustedRoot(), sigstore.RootOptions{Obtained: now, Now: now})
	must(t, err)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (i *instance) file(name, content string) string {
	i.t.Helper()
	p := filepath.Join(i.dir, filepath.FromSlash(name))
	must(i.t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(i.t, os.WriteFile(p, []byte(content), 0o644))
	return p
}

// keyless is a signer with the services of a log version.
func (i *instance) keyless(logVersion int, tsa bool) *signing.Signer {
	i.t.Helper()
	svc, err := signing.SelectServices(i.s.SigningConfig(logVersion, tsa), now, nil)
	must(i.t, err)
	return &signing.Signer{Keyless: &signing.Keyless{FulcioURL: svc.Fulcio, Token: i.s.Token("sigstore", "")}, Logs: svc.Logs, Timestamps: svc.Timestamps}
}

// by expects the identity of the services' tokens.
func (i *instance) by() verification.Expectation {
	return verification.Expectation{Identity: "dev@example.com", Issuer: i.s.URL, Now: now, Root: func() (*sigstore.Root, error) { return i.root, nil }}
}

func byKey(t testing.TB, pub crypto.PublicKey) verification.Expectation {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	must(t, err)
	k, err := verification.ParseKeys(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	must(t, err)
	return verification.Expectation{Keys: k, Now: now}
}

func artifact(t testing.TB, path string) *verification.Artifact {
	t.Helper()
	a, err := verification.FileArtifact(path)
	must(t, err)
	return a
}

func doc(b []byte) []verification.Document {
	return []verification.Document{{Name: "bundle", Data: b}}
}

// refused demands an outcome and, unless it is empty, a reason.
func refused(t testing.TB, err error, outcome trust.Outcome, reason trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatal("verified")
	}
	if got, why := trust.Classify(err); got != outcome || reason != "" && why != reason {
		t.Fatalf("%s (%s), want %s (%s): %v", got, why, outcome, reason, err)
	}
}

// keyFiles are private keys as files of every kind, with their public keys.
func keyFiles(t testing.TB) map[string]struct {
	file []byte
	pub  crypto.PublicKey
} {
	t.Helper()
	out := map[string]struct {
		file []byte
		pub  crypto.PublicKey
	}{}
	add := func(name string, file []byte, pub crypto.PublicKey) {
		out[name] = struct {
			file []byte
			pub  crypto.PublicKey
		}{file, pub}
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for name, k := range map[string]crypto.Signer{"PKCS#8 P-256": ec, "PKCS#8 P-384": p384, "PKCS#8 RSA": rs, "PKCS#8 Ed25519": ed} {
		der, err := x509.MarshalPKCS8PrivateKey(k)
		must(t, err)
		add(name, block("PRIVATE KEY", der), k.Public())
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	must(t, err)
	enc, err := pkcs8.MarshalPrivateKey(ec, []byte("secret"), nil)
	must(t, err)
	add("encrypted PKCS#8", block("ENCRYPTED PRIVATE KEY", enc), ec.Public())
	enc, err = pkcs8.MarshalPrivateKey(ec, []byte("secret"), &pkcs8.Opts{Cipher: pkcs8.AES256CBC, KDFOpts: pkcs8.ScryptOpts{SaltSize: 16, CostParameter: 1 << 12, BlockSize: 8, ParallelizationParameter: 1}})
	must(t, err)
	add("encrypted PKCS#8, scrypt", block("ENCRYPTED PRIVATE KEY", enc), ec.Public())
	enc, err = encrypted.Encrypt(der, []byte("secret"))
	must(t, err)
	add("cosign", block("ENCRYPTED SIGSTORE PRIVATE KEY", enc), ec.Public())
	add("old cosign", block("ENCRYPTED COSIGN PRIVATE KEY", enc), ec.Public())
	sec1, err := x509.MarshalECPrivateKey(ec)
	must(t, err)
	add("SEC 1", block("EC PRIVATE KEY", sec1), ec.Public())
	add("PKCS#1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rs)), rs.Public())
	for name, k := range map[string]crypto.Signer{"SSH Ed25519": ed, "SSH P-256": ec, "SSH P-384": p384, "SSH RSA": rs} {
		b, err := ssh.MarshalPrivateKey(k, "")
		must(t, err)
		add(name, pem.EncodeToMemory(b), k.Public())
	}
	b, err := ssh.MarshalPrivateKeyWithPassphrase(ed, "", []byte("secret"))
	must(t, err)
	add("encrypted SSH", pem.EncodeToMemory(b), ed.Public())
	_, mini, err := minisign.GenerateKey(rand.Reader)
	must(t, err)
	text, err := mini.MarshalText()
	must(t, err)
	k, err := signing.ParseKey(text, nil)
	must(t, err)
	add("minisign", text, k.Public())
	return out
}

func secret() ([]byte, error) { return []byte("secret"), nil }

func TestKeysOfEveryKindSign(t *testing.T) {
	i := newInstance(t)
	file, other := i.file("app.tgz", "an app"), i.file("other.tgz", "another app")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for name, kf := range keyFiles(t) {
		t.Run(name, func(t *testing.T) {
			k, err := signing.ParseKey(kf.file, secret)
			must(t, err)
			sg := &signing.Signer{Key: k}
			b, err := sg.File(t.Context(), file)
			must(t, err)
			x := byKey(t, kf.pub)
			rs, err := verification.Verify(artifact(t, file), doc(b), x)
			must(t, err)
			if len(rs) != 1 || rs[0].Signer.Kind != trust.SignerKey || rs[0].Signer.KeyDigest == "" {
				t.Fatalf("%+v", rs[0])
			}
			if _, err := verification.Verify(artifact(t, other), doc(b), x); err == nil {
				t.Fatal("verified for another file")
			}
			_, err = verification.Verify(artifact(t, file), doc(b), byKey(t, stranger.Public()))
			refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
			_, err = verification.Verify(artifact(t, file), doc(b), i.by())
			refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
			x.RequireLog = true
			_, err = verification.Verify(artifact(t, file), doc(b), x)
			refused(t, err, trust.Failed, "")
		})
	}
}

func TestEncryptedKeysNeedTheirPassphrase(t *testing.T) {
	for name, kf := range keyFiles(t) {
		if !strings.Contains(name, "encrypted") && !strings.Contains(name, "cosign") {
			continue
		}
		for what, pass := range map[string]signing.Passphrase{"none": nil, "wrong": func() ([]byte, error) { return []byte("wrong"), nil }} {
			if _, err := signing.ParseKey(kf.file, pass); err == nil {
				t.Errorf("%s: opened with %s passphrase", name, what)
			}
		}
	}
}

// TestKeylessSignsEverything signs and verifies every kind of target with both
// versions of the log, with and without a timestamp.
func TestKeylessSignsEverything(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		tsa     bool
	}{{"log v1", 1, false}, {"log v1 with timestamp", 1, true}, {"log v2", 2, true}} {
		t.Run(tc.name, func(t *testing.T) {
			i := newInstance(t)
			sg := i.keyless(tc.version, tc.tsa)
			file := i.file("app.tgz", "an app")
			b, err := sg.File(t.Context(), file)
			must(t, err)
			before := i.s.Requests.Load()
			rs, err := verification.Verify(artifact(t, file), doc(b), i.by())
			must(t, err)
			if i.s.Requests.Load() != before {
				t.Error("verification asked somebody")
			}
			r := rs[0]
			if r.Signer.SAN != "dev@example.com" || !r.SignedAt.Equal(now) || len(r.Logs) != 1 {
				t.Fatalf("%+v", r)
			}
			// A digest is enough.
			ds, err := artifact(t, file).Digests(trust.SHA256)
			must(t, err)
			if _, err = verification.Verify(verification.DigestArtifact("x", ds), doc(b), i.by()); err != nil {
				t.Error(err)
			}
			// An attestation, and a folder.
			sub, err := signing.FileSubject(file)
			must(t, err)
			b, err = i.keyless(tc.version, tc.tsa).Attest(t.Context(), verification.PredicateCycloneDX, json.RawMessage(`{"bomFormat":"CycloneDX"}`), sub)
			must(t, err)
			x := i.by()
			_, err = verification.Verify(artifact(t, file), doc(b), x)
			refused(t, err, trust.Failed, trust.ReasonWrongPredicate)
			x.Types = []string{verification.PredicateCycloneDX}
			_, err = verification.Verify(artifact(t, file), doc(b), x)
			must(t, err)
			i.file("dist/a.txt", "a")
			i.file("dist/b/c.txt", "c")
			dir := filepath.Join(i.dir, "dist")
			f, err := signing.ScanFolder(t.Context(), dir, signing.FolderOptions{})
			must(t, err)
			st, err := f.Statement()
			must(t, err)
			b, err = i.keyless(tc.version, tc.tsa).Statement(t.Context(), st)
			must(t, err)
			_, err = verification.VerifyFolder(t.Context(), dir, doc(b), nil, i.by())
			must(t, err)
			i.file("dist/b/c.txt", "C")
			_, err = verification.VerifyFolder(t.Context(), dir, doc(b), nil, i.by())
			refused(t, err, trust.Failed, trust.ReasonWrongSubject)
			if !strings.Contains(err.Error(), "changed b/c.txt") {
				t.Error(err)
			}
		})
	}
}

func TestKeyWithLogs(t *testing.T) {
	for _, version := range []int{1, 2} {
		i := newInstance(t)
		file := i.file("app.tgz", "an app")
		priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(priv)
		must(t, err)
		k, err := signing.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
		must(t, err)
		sg := i.keyless(version, true)
		sg.Keyless, sg.Key = nil, k
		b, err := sg.File(t.Context(), file)
		must(t, err)
		x := byKey(t, priv.Public())
		_, err = verification.Verify(artifact(t, file), doc(b), x)
		refused(t, err, trust.Unreachable, trust.ReasonExpiredRoot) // a log entry that nothing can judge
		x.Root, x.RequireLog = i.by().Root, true
		rs, err := verification.Verify(artifact(t, file), doc(b), x)
		must(t, err)
		if len(rs[0].Logs) != 1 || !rs[0].SignedAt.Equal(now) {
			t.Fatalf("%+v", rs[0])
		}
		foreign := load(t, sigstoretest.New(t, now))
		x.Root = func() (*sigstore.Root, error) { return foreign, nil }
		_, err = verification.Verify(artifact(t, file), doc(b), x)
		refused(t, err, trust.Unreachable, trust.ReasonUnknownKey)
	}
}

func TestServicesDownAreUnreachable(t *testing.T) {
	for _, down := range []string{"fulcio", "rekor", "tsa"} {
		i := newInstance(t)
		i.s.Down = down
		_, err := i.keyless(1, true).File(t.Context(), i.file("app.tgz", "an app"))
		refused(t, err, trust.Unreachable, trust.ReasonNetwork)
	}
}

// TestCertificateWithTimestamp signs with a certificate of an authority of one's own.
func TestCertificateWithTimestamp(t *testing.T) {
	i := newInstance(t)
	file := i.file("app.tgz", "an app")
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	issue := func(cn string, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer, until time.Time) *x509.Certificate {
		tpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: cn}, NotBefore: now.Add(-time.Hour), NotAfter: until, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}, EmailAddresses: []string{"dev@example.com"}}
		if parent == nil {
			tpl.IsCA, tpl.KeyUsage, tpl.ExtKeyUsage, tpl.EmailAddresses = true, x509.KeyUsageCertSign, nil, nil
			parent = tpl
		}
		der, err := x509.CreateCertificate(rand.Reader, tpl, parent, pub, by)
		must(t, err)
		c, err := x509.ParseCertificate(der)
		must(t, err)
		return c
	}
	root := issue("Acme Root", nil, rootKey.Public(), rootKey, now.AddDate(10, 0, 0))
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := issue("Acme Release", root, priv.Public(), rootKey, now.Add(time.Hour))
	p12, err := pkcs12.Modern.Encode(priv, leaf, nil, "secret")
	must(t, err)
	k, err := signing.ParseKey(p12, secret)
	must(t, err)
	sg := &signing.Signer{Key: k, Timestamps: i.keyless(0, true).Timestamps}
	b, err := sg.File(t.Context(), file)
	must(t, err)

	later := now.AddDate(1, 0, 0) // the certificate has ended, the timestamp has not
	x := verification.Expectation{Identity: "CN=Acme Release", Roots: []*x509.Certificate{root}, Now: later, Root: i.by().Root}
	rs, err := verification.Verify(artifact(t, file), doc(b), x)
	must(t, err)
	if rs[0].Signer.Kind != trust.SignerX509 || !rs[0].SignedAt.Equal(now) {
		t.Fatalf("%+v", rs[0])
	}
	x.Identity = "dev@example.com"
	_, err = verification.Verify(artifact(t, file), doc(b), x)
	must(t, err)
	x.Identity = "dev@example.com.evil.test"
	_, err = verification.Verify(artifact(t, file), doc(b), x)
	refused(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	x.Identity = "CN=Acme Release"
	_, err = verification.Verify(artifact(t, i.file("other", "x")), doc(b), x)
	refused(t, err, trust.Failed, trust.ReasonWrongDigest)
	x.Roots = []*x509.Certificate{issue("Acme Root", nil, priv.Public(), priv, now.AddDate(10, 0, 0))}
	_, err = verification.Verify(artifact(t, file), doc(b), x)
	refused(t, err, trust.Failed, "")
	// Without a timestamp the certificate has to be valid now.
	b, err = (&signing.Signer{Key: k}).File(t.Context(), file)
	must(t, err)
	x.Roots = []*x509.Certificate{root}
	if _, err = verification.Verify(artifact(t, file), doc(b), x); err == nil {
		t.Fatal("an ended certificate without a timestamp verifies")
	}
	x.Now = now
	_, err = verification.Verify(artifact(t, file), doc(b), x)
	must(t, err)
	// The certificate itself, named as a key; and another one.
	c, err := sigstore.Peek(b, false)
	must(t, err)
	leaf, err = x509.ParseCertificate(c.Certificate)
	must(t, err)
	for named, ok := range map[*x509.Certificate]bool{leaf: true, root: false} {
		k := verification.Expectation{Keys: verification.Keys{Certificates: []*x509.Certificate{named}}, Now: now}
		if _, err := verification.Verify(artifact(t, file), doc(b), k); (err == nil) != ok {
			t.Errorf("%s as the key: %v", named.Subject, err)
		}
	}
}

func TestImages(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		i := newInstance(t)
		srv := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
		defer srv.Close()
		host := strings.TrimPrefix(srv.URL, "http://")
		o := signing.RegistryOptions{Insecure: []string{host}}
		ref, err := name.ParseReference(host+"/acme/app:v1", name.Insecure)
		must(t, err)
		idx, err := random.Index(64, 1, 2)
		must(t, err)
		must(t, remote.WriteIndex(ref, idx))
		im, err := signing.OpenRegistryImage(t.Context(), host+"/acme/app:v1", o)
		must(t, err)
		if !im.Index {
			t.Error("the index is not seen")
		}
		signAndVerify(t, i, im, func() *signing.Image {
			im, err := signing.OpenRegistryImage(t.Context(), host+"/acme/app:v1", o)
			must(t, err)
			return im
		})
		// Another image of the same repository has no signature.
		other, err := random.Image(64, 1)
		must(t, err)
		ref2, err := name.ParseReference(host+"/acme/app:v2", name.Insecure)
		must(t, err)
		must(t, remote.Write(ref2, other))
		im, err = signing.OpenRegistryImage(t.Context(), host+"/acme/app:v2", o)
		must(t, err)
		bs, err := im.Signatures(t.Context())
		must(t, err)
		_, err = verification.Verify(verification.DigestArtifact("image", trust.Digests{im.Digest}), docs(bs), i.by())
		refused(t, err, trust.Failed, trust.ReasonNotOffered)
		// Plain http only where it is allowed.
		if _, err := signing.OpenRegistryImage(t.Context(), "127.0.0.1:1/acme/app:v1", signing.RegistryOptions{}); err == nil {
			t.Error("plain http")
		}
	}
}

func docs(bs []signing.Attached) (out []verification.Document) {
	for _, b := range bs {
		out = append(out, verification.Document{Name: b.Name, Data: b.Data, MediaType: b.MediaType, Annotations: b.Annotations})
	}
	return out
}

// signAndVerify attaches two bundles and finds both.
func signAndVerify(t *testing.T, i *instance, im *signing.Image, reopen func() *signing.Image) {
	t.Helper()
	for range 2 {
		b, err := i.keyless(1, false).Attest(t.Context(), signing.PredicateSign, json.RawMessage("{}"), im.Subject())
		must(t, err)
		_, err = im.Attach(t.Context(), b, signing.PredicateSign, now)
		must(t, err)
	}
	again := reopen()
	if again.Digest != im.Digest {
		t.Fatalf("signing changed the image: %s, was %s", again.Digest, im.Digest)
	}
	bs, err := again.Signatures(context.Background())
	must(t, err)
	if len(bs) != 2 {
		t.Fatalf("%d bundles", len(bs))
	}
	a := verification.DigestArtifact("image", trust.Digests{again.Digest})
	_, err = verification.Verify(a, docs(bs), i.by())
	must(t, err)
	// A bundle of another image among them is a failure.
	foreign, err := i.keyless(1, false).Attest(t.Context(), signing.PredicateSign, json.RawMessage("{}"), signing.Subject{Name: "x", Digests: trust.Digests{trust.DigestOf(trust.SHA256, bytes.Repeat([]byte{7}, 32))}})
	must(t, err)
	_, err = verification.Verify(a, append(docs(bs), doc(foreign)...), i.by())
	refused(t, err, trust.Failed, trust.ReasonWrongSubject)
}

func TestLayouts(t *testing.T) {
	i := newInstance(t)
	dir := filepath.Join(i.dir, "layout")
	img, err := random.Image(64, 2)
	must(t, err)
	p, err := layout.Write(dir, empty.Index)
	must(t, err)
	must(t, p.AppendImage(img))
	archive := filepath.Join(i.dir, "image.tar")
	tarDir(t, dir, archive)
	for _, tc := range []struct {
		path    string
		archive bool
	}{{dir, false}, {archive, true}} {
		open := func() *signing.Image {
			im, err := signing.OpenLayout(tc.path, tc.archive)
			must(t, err)
			return im
		}
		signAndVerify(t, i, open(), open)
	}
	if _, err := signing.OpenLayout(filepath.Join(i.dir, "nothing"), false); err == nil {
		t.Error("a layout that is not there")
	}
}

func tarDir(t *testing.T, dir, file string) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	tw := tar.NewWriter(f)
	must(t, tw.AddFS(os.DirFS(dir)))
	must(t, tw.Close())
}
