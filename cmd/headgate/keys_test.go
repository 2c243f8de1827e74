package main

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust/sshsig"
)

// serveRepo serves the folder repo of a script as a plain web server: a Maven or
// chart repository, or a site with downloads. $REPO is its URL.
func serveRepo(t testing.TB, e *testscript.Env) {
	dir := filepath.Join(e.WorkDir, "repo")
	files := http.FileServer(http.Dir(dir))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// By their times alone, files that a script changes within a second are the same.
		if b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(r.URL.Path))); err == nil {
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(b)))
		}
		files.ServeHTTP(w, r)
	})
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	e.Setenv("REPO", srv.URL)
	site := httptest.NewTLSServer(h)
	t.Cleanup(site.Close)
	e.Setenv("SITE", site.URL)
	e.Setenv(InsecureEnv, e.Getenv(InsecureEnv)+","+strings.TrimPrefix(srv.URL, "http://")+","+strings.TrimPrefix(site.URL, "https://"))
	ca := filepath.Join(e.WorkDir, "site-ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	e.Setenv("SSL_CERT_FILE", ca)
}

// cmdSignerKey makes a key of a format, NAME.pub public and NAME.sec private:
// signerkey minisign|ssh NAME...
func cmdSignerKey(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args[1:] {
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(name+".sec"), priv, 0o600))
		var line string
		if args[0] == "ssh" {
			k, err := ssh.NewPublicKey(pub)
			ts.Check(err)
			line = string(ssh.MarshalAuthorizedKey(k))
		} else {
			// The key id says nothing: all keys here have the same.
			line = "untrusted comment: key of " + name + "\n" + base64.StdEncoding.EncodeToString(slices.Concat([]byte("Ed01234567"), pub)) + "\n"
		}
		ts.Check(os.WriteFile(ts.MkAbs(name+".pub"), []byte(line), 0o644))
	}
}

// cmdSignWith writes a detached signature in a format: signwith FORMAT NAME SIGNATURE FILE
func cmdSignWith(ts *testscript.TestScript, _ bool, args []string) {
	key, err := os.ReadFile(ts.MkAbs(args[1] + ".sec"))
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[3]))
	ts.Check(err)
	b64 := base64.StdEncoding.EncodeToString
	var out string
	switch args[0] {
	case "ssh":
		s, err := ssh.NewSignerFromKey(ed25519.PrivateKey(key))
		ts.Check(err)
		sig, err := sshsig.Sign(bytes.NewReader(data), sshsig.NamespaceFile, s)
		ts.Check(err)
		out = string(sig)
	case "signify":
		out = "untrusted comment: verify with " + args[1] + ".pub\n" + b64(slices.Concat([]byte("Ed01234567"), ed25519.Sign(key, data))) + "\n"
	case "minisign":
		sum := blake2b.Sum512(data)
		sig := ed25519.Sign(key, sum[:])
		comment := "file:" + filepath.Base(args[3])
		out = "untrusted comment: signature\n" + b64(slices.Concat([]byte("ED01234567"), sig)) + "\ntrusted comment: " + comment + "\n" + b64(ed25519.Sign(key, slices.Concat(sig, []byte(comment)))) + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(out), 0o644))
}

func pgpAt() *packet.Config {
	return &packet.Config{Time: func() time.Time { return time.Now().Add(-time.Hour) }, Algorithm: packet.PubKeyAlgoEdDSA}
}

// cmdPGPKey makes an OpenPGP key: NAME.key is private, NAME.asc public, and the
// variable NAME its fingerprint: pgpkey NAME...
func cmdPGPKey(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		e, err := pgp.NewEntity(name, "", name+"@example.com", pgpAt())
		ts.Check(err)
		var priv, pub bytes.Buffer
		ts.Check(e.SerializePrivate(&priv, pgpAt()))
		w, err := armor.Encode(&pub, "PGP PUBLIC KEY BLOCK", nil)
		ts.Check(err)
		ts.Check(e.Serialize(w))
		ts.Check(w.Close())
		ts.Check(os.WriteFile(ts.MkAbs(name+".key"), priv.Bytes(), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs(name+".asc"), append(pub.Bytes(), '\n'), 0o644))
		ts.Setenv(name, strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint)))
	}
}

// cmdPGPSign writes FILE.asc for each file: pgpsign NAME FILE...
func cmdPGPSign(ts *testscript.TestScript, _ bool, args []string) {
	key, err := os.ReadFile(ts.MkAbs(args[0] + ".key"))
	ts.Check(err)
	es, err := pgp.ReadKeyRing(bytes.NewReader(key))
	ts.Check(err)
	for _, f := range args[1:] {
		data, err := os.ReadFile(ts.MkAbs(f))
		ts.Check(err)
		var sig bytes.Buffer
		ts.Check(pgp.ArmoredDetachSign(&sig, es, bytes.NewReader(data), &pgp.SignParams{Config: pgpAt()}))
		ts.Check(os.WriteFile(ts.MkAbs(f)+".asc", sig.Bytes(), 0o644))
	}
}

// cmdArtifact puts a jar and its POM into repo, with their checksums: artifact
// GROUP:ARTIFACT:VERSION. The variables JAR and JAR256 name the jar and its digest.
func cmdArtifact(ts *testscript.TestScript, _ bool, args []string) {
	p := strings.Split(args[0], ":")
	stem := ts.MkAbs(filepath.Join("repo", filepath.FromSlash(strings.ReplaceAll(p[0], ".", "/")), p[1], p[2], p[1]+"-"+p[2]))
	ts.Check(os.MkdirAll(filepath.Dir(stem), 0o755))
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("META-INF/maven/" + p[0] + "/" + p[1] + "/pom.properties")
	ts.Check(err)
	fmt.Fprintf(w, "groupId=%s\nartifactId=%s\nversion=%s\n", p[0], p[1], p[2])
	ts.Check(z.Close())
	pom := fmt.Sprintf("<project><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></project>", p[0], p[1], p[2])
	for ext, data := range map[string][]byte{".jar": jar.Bytes(), ".pom": []byte(pom)} {
		sum := sha256.Sum256(data)
		ts.Check(os.WriteFile(stem+ext, data, 0o644))
		ts.Check(os.WriteFile(stem+ext+".sha256", []byte(hex.EncodeToString(sum[:])), 0o644))
		// Older than any cooldown.
		ts.Check(os.Chtimes(stem+ext, time.Time{}, time.Now().AddDate(-1, 0, 0)))
		if ext == ".jar" {
			ts.Setenv("JAR256", hex.EncodeToString(sum[:]))
		}
	}
	ts.Setenv("JAR", stem)
}

// cmdSHA256 puts the digest of a file into a variable: sha256 VAR FILE
func cmdSHA256(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	sum := sha256.Sum256(b)
	ts.Setenv(args[0], hex.EncodeToString(sum[:]))
}

// cmdSums writes a checksum list, SHA-256 or SHA-512: sums LIST ALGORITHM FILE...
func cmdSums(ts *testscript.TestScript, _ bool, args []string) {
	var out strings.Builder
	for _, f := range args[2:] {
		b, err := os.ReadFile(ts.MkAbs(f))
		ts.Check(err)
		s2, s5 := sha256.Sum256(b), sha512.Sum512(b)
		sum := s2[:]
		if args[1] == "sha512" {
			sum = s5[:]
		}
		fmt.Fprintf(&out, "%x  %s\n", sum, filepath.Base(f))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o644))
}
