package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aead.dev/minisign"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/youmark/pkcs8"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust/approval"
)

// scriptPassphrase is that of every encrypted key of the scripts.
const scriptPassphrase = "open sesame"

// addApprover appends an entry to the approvers of a headgate.yaml.
func addApprover(ts *testscript.TestScript, file, name, entry string) {
	b, err := os.ReadFile(ts.MkAbs(file))
	ts.Check(err)
	text := string(b)
	if !strings.Contains(text, "\napprovers:\n") {
		text += "approvers:\n"
	}
	text += fmt.Sprintf("  - name: %s\n    scope: [\"pkg:golang/*\"]\n%s", name, entry)
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o644))
}

func block(indent, text string) string {
	return indent + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+indent) + "\n"
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// cmdSigner makes a key of a kind and names it as an approver: signer KIND KEY NAME FILE
// Kinds: pkcs8, pkcs8-encrypted, cosign, minisign, ssh-encrypted, x509 (KEY.crt beside), pkcs12.
func cmdSigner(ts *testscript.TestScript, _ bool, args []string) {
	kind, key, name, config := args[0], ts.MkAbs(args[1]), args[2], args[3]
	var priv crypto.Signer
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	priv = ec
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	ts.Check(err)
	spki, err := x509.MarshalPKIXPublicKey(priv.Public())
	ts.Check(err)
	entry := "    publicKey: |\n" + block("      ", string(pemOf("PUBLIC KEY", spki)))
	var file []byte
	switch kind {
	case "pkcs8":
		file = pemOf("PRIVATE KEY", der)
	case "pkcs8-encrypted":
		enc, err := pkcs8.MarshalPrivateKey(ec, []byte(scriptPassphrase), nil)
		ts.Check(err)
		file = pemOf("ENCRYPTED PRIVATE KEY", enc)
	case "cosign":
		enc, err := encrypted.Encrypt(der, []byte(scriptPassphrase))
		ts.Check(err)
		file = pemOf("ENCRYPTED SIGSTORE PRIVATE KEY", enc)
	case "minisign":
		pub, mini, err := minisign.GenerateKey(rand.Reader)
		ts.Check(err)
		file, err = minisign.EncryptKey(scriptPassphrase, mini)
		ts.Check(err)
		entry = "    publicKey: " + pub.String() + "\n"
	case "ssh-encrypted":
		_, ed, err := ed25519.GenerateKey(rand.Reader)
		ts.Check(err)
		b, err := ssh.MarshalPrivateKeyWithPassphrase(ed, "", []byte(scriptPassphrase))
		ts.Check(err)
		pub, err := ssh.NewPublicKey(ed.Public())
		ts.Check(err)
		file, entry = pem.EncodeToMemory(b), "    ssh: "+string(ssh.MarshalAuthorizedKey(pub))
	case "x509", "pkcs12":
		ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		now := time.Now()
		root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Staff CA of " + name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true,
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature}
		rootDER, err := x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca)
		ts.Check(err)
		leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, ec.Public(), ca)
		ts.Check(err)
		cert, err := x509.ParseCertificate(leafDER)
		ts.Check(err)
		rootCert, err := x509.ParseCertificate(rootDER)
		ts.Check(err)
		file = pemOf("PRIVATE KEY", der)
		ts.Check(os.WriteFile(key+".crt", pemOf("CERTIFICATE", leafDER), 0o644))
		if kind == "pkcs12" {
			file, err = pkcs12.Modern.Encode(ec, cert, []*x509.Certificate{rootCert}, scriptPassphrase)
			ts.Check(err)
		}
		entry = fmt.Sprintf("    x509:\n      subject: %q\n      issuer: %q\n      root: |\n", cert.Subject.String(), cert.Issuer.String()) + block("        ", string(pemOf("CERTIFICATE", rootDER)))
	default:
		ts.Fatalf("unknown kind %s", kind)
	}
	ts.Check(os.WriteFile(key, file, 0o600))
	addApprover(ts, config, name, entry)
}

// cmdAgent starts an ssh-agent that holds the keys and puts its socket into
// $SSH_AUTH_SOCK: agent KEY...
func cmdAgent(ts *testscript.TestScript, _ bool, args []string) {
	ring := agent.NewKeyring()
	for _, a := range args {
		b, err := os.ReadFile(ts.MkAbs(a))
		ts.Check(err)
		k, err := ssh.ParseRawPrivateKeyWithPassphrase(b, []byte(scriptPassphrase))
		if err != nil {
			k, err = ssh.ParseRawPrivateKey(b)
		}
		ts.Check(err)
		ts.Check(ring.Add(agent.AddedKey{PrivateKey: k}))
	}
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "agent")
	ts.Check(err)
	ts.Defer(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(ring, conn)
			}()
		}
	}()
	ts.Setenv("SSH_AUTH_SOCK", filepath.Join(dir, "s"))
}

// cmdForge makes an approval from the last one in a trust file, changed and signed
// anew with an SSH key, or with the old signature for the key "-":
// forge FROM TO KEY field=value...
// Fields: issued and expires (days from now), approver, requester, reason, release, rules.
func cmdForge(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	set, err := store.ParseTrustSet(b)
	ts.Check(err)
	old := set.Approvals[len(set.Approvals)-1]
	st, err := approval.Peek(old)
	ts.Check(err)
	for _, a := range args[3:] {
		f, v, _ := strings.Cut(a, "=")
		day := func() time.Time {
			d, err := time.ParseDuration(v)
			ts.Check(err)
			return time.Now().Add(d)
		}
		switch f {
		case "issued":
			st.Issued = day()
		case "expires":
			st.Expires = day()
		case "approver":
			st.Approver = v
		case "requester":
			st.Requester = v
		case "reason":
			st.Reason = v
		case "rules":
			st.Rules = strings.Split(v, ",")
		case "version":
			st.Release.Version = v
		default:
			ts.Fatalf("unknown field %s", f)
		}
	}
	key, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	signer, err := ssh.ParsePrivateKey(key)
	ts.Check(err)
	env, err := approval.Sign(st, approval.SSHSign(signer))
	ts.Check(err)
	if bytes.Equal(env, old) {
		ts.Fatalf("nothing was changed")
	}
	out, err := store.AddApproval(nil, env)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o644))
}
