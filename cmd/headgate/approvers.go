package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/approval"
	"github.com/headgate/headgate/trust/cms"
	"github.com/headgate/headgate/trust/sigstore"
)

// approvers makes the checked set of the policy's approvers; nil if it names none.
// A person may be named several times, once for each key, with the same scope.
func (c *Command) approvers(o *options, p *policies.Policy) (*approval.Approvers, error) {
	dir, err := c.xdg("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return nil, err
	}
	// Approvals are judged with the root that is at hand; nothing is fetched for them.
	keyless := &messages{roots: &roots{c: c, dir: filepath.Join(dir, "sigstore"), file: o.trustedRoot}}
	var list []approval.Approver
	for _, a := range p.Config().Approvers {
		cred, err := c.credential(a, keyless)
		if err != nil {
			return nil, fmt.Errorf("approver %q: %w", a.Name, err)
		}
		rules := a.Rules
		if len(rules) == 0 {
			rules = []string{"*"}
		}
		i := slices.IndexFunc(list, func(b approval.Approver) bool {
			return b.Name == a.Name && slices.Equal(b.Scope, a.Scope) && slices.Equal(b.Rules, rules)
		})
		if i >= 0 {
			list[i].Credentials = append(list[i].Credentials, cred)
			for _, n := range a.Aliases {
				if !slices.Contains(list[i].Aliases, n) {
					list[i].Aliases = append(list[i].Aliases, n)
				}
			}
			continue
		}
		list = append(list, approval.Approver{Name: a.Name, Aliases: slices.Clone(a.Aliases), Credentials: []approval.Credential{cred}, Scope: a.Scope, Rules: rules})
	}
	if len(list) == 0 {
		return nil, nil
	}
	return approval.NewApprovers(list)
}

func (c *Command) credential(a policies.Approver, keyless *messages) (approval.Credential, error) {
	switch {
	case a.SSH != "":
		return approval.SSHCredential(a.SSH)
	case a.PublicKey != "":
		return approval.KeyCredential([]byte(a.PublicKey))
	case a.Sigstore != nil:
		if a.Sigstore.Identity == "" {
			return approval.Credential{}, errors.New("an approver is one identity: sigstore.identity is exact, identityPattern names many")
		}
		id, err := sigstore.ExactIdentity(a.Sigstore.Issuer, a.Sigstore.Identity)
		if err != nil {
			return approval.Credential{}, err
		}
		return approval.SigstoreCredential(a.Sigstore.Issuer, a.Sigstore.Identity, &messages{roots: keyless.roots, identity: id})
	case a.X509 != nil:
		block, rest := pem.Decode([]byte(a.X509.Root))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
			return approval.Credential{}, errors.New("x509.root is not one certificate in PEM")
		}
		root, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return approval.Credential{}, fmt.Errorf("x509.root: %w", err)
		}
		sum := sha256.Sum256(root.Raw)
		return approval.X509Credential(a.X509.Subject, hex.EncodeToString(sum[:]), issued{
			cms.MessageVerifier{Roots: []*x509.Certificate{root}, Now: c.now()}, a.X509.Issuer,
		})
	}
	return approval.Credential{}, errors.New("no key and no identity is given")
}

// issued judges CMS signatures of certificates by one issuer.
type issued struct {
	cms.MessageVerifier
	issuer string
}

// VerifyMessage returns who signed the message.
func (i issued) VerifyMessage(message, document []byte) (trust.Signer, error) {
	s, err := i.MessageVerifier.VerifyMessage(message, document)
	if err == nil && s.CertIssuer != i.issuer {
		return trust.Signer{}, trust.Failure(trust.ReasonUntrustedSigner, "the certificate was issued by %q, not by %q", s.CertIssuer, i.issuer)
	}
	return s, err
}

// messages judges Sigstore bundles over messages, by one identity.
type messages struct {
	roots    *roots
	identity sigstore.Identity
}

// VerifyMessage returns who signed the message.
func (m *messages) VerifyMessage(message, document []byte) (trust.Signer, error) {
	m.roots.ready()
	if m.roots.root == nil {
		return trust.Signer{}, trust.Undecidable(trust.ReasonExpiredRoot, "the trusted root of Sigstore is not at hand; run headgate db update")
	}
	v, err := sigstore.NewVerifier(m.roots.root)
	if err != nil {
		return trust.Signer{}, err
	}
	sum := sha256.Sum256(message)
	got, err := v.Verify(document, sigstore.Expectation{
		Artifact: trust.Digests{trust.DigestOf(trust.SHA256, sum[:])}, MessageSignature: true, Identity: m.identity,
	})
	if err != nil {
		return trust.Signer{}, err
	}
	return got.Signer(), nil
}
