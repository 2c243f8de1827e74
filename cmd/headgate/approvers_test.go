package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
	"github.com/headgate/headgate/trust/cms"
	"github.com/headgate/headgate/trust/cms/cmstest"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// errAny stands for whatever error there is.
var errAny = errors.New("any")

// TestApproversByIdentity: people who sign with a Sigstore identity or with a
// certificate approve like those with a key, and nobody else of their issuer does.
func TestApproversByIdentity(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	w := sigstoretest.New(t, now.Add(-time.Minute))
	home := t.TempDir()
	rootFile := filepath.Join(home, "trusted_root.json")
	if err := os.WriteFile(rootFile, w.TrustedRoot(), 0o600); err != nil {
		t.Fatal(err)
	}
	from, until := now.Add(-time.Hour), now.AddDate(0, 0, 2)
	ca := cmstest.Issue("Staff CA", nil, from, until, 2048, nil)
	bob := cmstest.Issue("bob", ca, from, until, 2048, nil)
	eve := cmstest.Issue("eve", ca, from, until, 2048, nil)

	const issuer = "https://accounts.example.com"
	config := fmt.Sprintf("version: 1\napprovers:\n  - name: alice\n    scope: pkg:npm/*\n    sigstore:\n      issuer: %s\n      identity: alice@example.com\n"+
		"  - name: bob\n    scope: pkg:npm/*\n    x509:\n      subject: %q\n      issuer: %q\n      root: |\n%s",
		issuer, bob.Cert.Subject.String(), bob.Cert.Issuer.String(), indent(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}))))
	p, err := policies.LoadYAML([]byte(config), now)
	if err != nil {
		t.Fatal(err)
	}
	c := &Command{Stderr: &bytes.Buffer{}, Getenv: func(string) string { return "" }, Home: home, Clock: func() time.Time { return now }}
	people, err := c.approvers(&options{trustedRoot: rootFile}, p)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := trust.ParseRelease("pkg:npm/a@1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("a"))
	arts := []trust.Artifact{{Name: "a-1.0.0.tgz", Digests: trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}}}
	keyless := func(address, from string) dsse.SignFunc {
		return func(m []byte) ([]byte, string, error) {
			return w.Bundle(sigstoretest.Options{Artifact: m, Identity: sigstoretest.Email(address, from)}), "", nil
		}
	}
	cert := func(who *cmstest.Identity) dsse.SignFunc {
		return func(m []byte) ([]byte, string, error) {
			return cmstest.SignedData(cms.OIDData, nil, m, []*x509.Certificate{who.Cert}, cmstest.Signer{Identity: *who}), "", nil
		}
	}
	for _, tc := range []struct {
		what, name string
		sign       dsse.SignFunc
		err        error
	}{
		{"keyless", "alice", keyless("alice@example.com", issuer), nil},
		{"another address", "alice", keyless("mallory@example.com", issuer), approval.ErrSignature},
		{"another issuer", "alice", keyless("alice@example.com", "https://other.example.com"), approval.ErrSignature},
		{"certificate", "bob", cert(bob), nil},
		{"another certificate", "bob", cert(eve), approval.ErrSignature},
		{"as somebody else", "alice", cert(bob), errAny},
		{"removed", "carol", cert(bob), approval.ErrNotApprover},
	} {
		t.Run(tc.what, func(t *testing.T) {
			env, err := approval.Sign(approval.Statement{Release: rel, Artifacts: arts, Evidence: []string{"e-0123456789abcdef"}, Rules: []string{"cooldown"},
				Requester: "dave", Approver: tc.name, Reason: "read it", Issued: now, Expires: now.AddDate(0, 0, 1)}, tc.sign)
			if err != nil {
				t.Fatal(err)
			}
			_, err = approval.Verify(env, people, approval.Want{Release: rel, Artifacts: arts, Evidence: []string{"e-0123456789abcdef"}, Rule: "cooldown", Now: now, MaxDays: 90})
			if !errors.Is(err, tc.err) && (tc.err != errAny || err == nil) {
				t.Errorf("%v, expected %v", err, tc.err)
			}
		})
	}
	for _, bad := range []string{strings.Replace(config, "identity: alice", "identityPattern: alice", 1), strings.Replace(config, "BEGIN CERTIFICATE", "BEGIN PUBLIC KEY", 1)} {
		p, err := policies.LoadYAML([]byte(bad), now)
		if err != nil {
			continue
		}
		if _, err := c.approvers(&options{}, p); err == nil {
			t.Error("a policy with an approver who cannot be told apart was taken")
		}
	}
}

func indent(s string) string {
	return "        " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n        ") + "\n"
}
