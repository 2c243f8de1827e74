package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// SignerKind tells which fields of a Signer carry its identity.
type SignerKind string

// Kinds of signer.
const (
	SignerSigstore SignerKind = "sigstore" // Issuer with SourceRepository (a workflow) or with SAN (a person or service)
	SignerOpenPGP  SignerKind = "openpgp"  // Fingerprint of the primary key
	SignerX509     SignerKind = "x509"     // Subject under CertIssuer and Root
	SignerKey      SignerKind = "key"      // KeyDigest of a public key in DER SPKI form
	SignerSSH      SignerKind = "ssh"      // Fingerprint, "SHA256:…" as OpenSSH prints it
	SignerRegistry SignerKind = "registry" // Name of a registry or distribution; KeyDigest is the key used
	SignerLog      SignerKind = "log"      // Name of a public log (checksum database); KeyDigest is the key used
)

// Signer is the identity behind verified evidence. All fields come from signed
// material (certificate, key, signed note); none from registry metadata.
type Signer struct {
	Kind SignerKind `json:"kind"`

	// Issuer is the exact OIDC issuer (Fulcio extension .8, or .1 of old certificates).
	Issuer string `json:"issuer,omitempty"`
	// SAN is the certificate's subject alternative name: the signing workflow with
	// its ref for CI identities, an e-mail address or URI for others.
	SAN string `json:"san,omitempty"`
	// SourceRepository is the https URL of the source repository, without ".git"
	// (extension .12), lower-cased for hosts that ignore case.
	SourceRepository string `json:"sourceRepository,omitempty"`
	// SourceRepositoryID and SourceOwnerID are the immutable ids (.15, .17); empty
	// for certificates from before 2023, which Legacy marks.
	SourceRepositoryID string `json:"sourceRepositoryId,omitempty"`
	SourceOwner        string `json:"sourceOwner,omitempty"`
	SourceOwnerID      string `json:"sourceOwnerId,omitempty"`
	// Workflow is the path of the top-level workflow (.18) inside its repository,
	// without ref; with the repository in front ("https://…/path") when it is not the source repository.
	Workflow string `json:"workflow,omitempty"`
	// SourceRef and Commit are .14 and .13; Trigger is .20; Runner is .11. They
	// describe this run and are no part of the identity.
	SourceRef string `json:"sourceRef,omitempty"`
	Commit    string `json:"commit,omitempty"`
	Trigger   string `json:"trigger,omitempty"`
	Runner    string `json:"runner,omitempty"`
	// Environment is the deployment environment (.23), no part of the identity.
	Environment string `json:"environment,omitempty"`
	Legacy      bool   `json:"legacy,omitempty"`

	// Fingerprint is the upper-case hex fingerprint of an OpenPGP primary key, or
	// OpenSSH's "SHA256:…" of an SSH key. SubkeyFingerprint is the OpenPGP subkey used.
	Fingerprint       string `json:"fingerprint,omitempty"`
	SubkeyFingerprint string `json:"subkeyFingerprint,omitempty"`

	// Subject and CertIssuer are RFC 4514 names; Root is the SHA-256 of the root
	// certificate that the chain ends in, hex.
	Subject    string `json:"subject,omitempty"`
	CertIssuer string `json:"certIssuer,omitempty"`
	Root       string `json:"root,omitempty"`

	// KeyDigest is the SHA-256 of the DER SPKI public key, hex; KeyID is the name
	// that the registry gives the key, for people only.
	KeyDigest string `json:"keyDigest,omitempty"`
	KeyID     string `json:"keyId,omitempty"`

	// Name names a registry ("npm"), distribution ("debian") or log ("sum.golang.org").
	Name string `json:"name,omitempty"`
}

// Identity is the canonical, stable text of who the signer is: equal for two
// spellings of one identity, different for look-alikes. Immutable repository
// ids take the place of names where the certificate has them, so that a
// transferred repository stays the same signer and a re-registered name does not.
//
// The build workflow is not part of it: see WorkflowIdentity.
func (s Signer) Identity() string {
	switch s.Kind {
	case SignerSigstore:
		if s.SourceRepository == "" {
			return join("sigstore", "issuer", s.Issuer, "san", s.SAN)
		}
		if s.SourceRepositoryID != "" {
			return join("sigstore", "issuer", s.Issuer, "repository-id", s.SourceRepositoryID, "owner-id", s.SourceOwnerID)
		}
		return join("sigstore", "issuer", s.Issuer, "repository", s.SourceRepository)
	case SignerOpenPGP:
		return join("openpgp", "fingerprint", s.Fingerprint)
	case SignerX509:
		return join("x509", "subject", s.Subject, "issuer", s.CertIssuer, "root", s.Root)
	case SignerKey:
		return join("key", "spki-sha256", s.KeyDigest)
	case SignerSSH:
		return join("ssh", "fingerprint", s.Fingerprint)
	case SignerRegistry, SignerLog:
		return join(string(s.Kind), "name", s.Name)
	}
	return ""
}

// WorkflowIdentity is Identity narrowed to the build workflow (without its ref).
func (s Signer) WorkflowIdentity() string {
	id := s.Identity()
	if s.Kind == SignerSigstore && s.Workflow != "" {
		id += ";workflow=" + quote(s.Workflow)
	}
	return id
}

// IsWorkflow reports whether the signer is a CI workflow with a source
// repository, not a person or a service account.
func (s Signer) IsWorkflow() bool { return s.Kind == SignerSigstore && s.SourceRepository != "" }

// String is the signer in words for people: short, one line, not canonical.
func (s Signer) String() string {
	switch s.Kind {
	case SignerSigstore:
		if s.SourceRepository == "" {
			return s.SAN + " (" + s.Issuer + ")"
		}
		w := s.SourceRepository
		if s.Workflow != "" {
			w += " " + s.Workflow
		}
		if s.Issuer != GitHubIssuer {
			w += " (" + s.Issuer + ")"
		}
		return w
	case SignerOpenPGP:
		return "OpenPGP " + s.Fingerprint
	case SignerX509:
		return "X.509 " + s.Subject
	case SignerKey:
		return "key " + short(s.KeyDigest)
	case SignerSSH:
		return "SSH " + s.Fingerprint
	case SignerRegistry:
		return "registry " + s.Name
	case SignerLog:
		return "log " + s.Name
	}
	return "unknown signer"
}

// ID is a short, stable handle of the identity for commands ("s-" and 12 hex digits).
func (s Signer) ID() string { return SignerID(s.Identity()) }

// SignerID is the short handle of an identity string.
func SignerID(identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return "s-" + hex.EncodeToString(sum[:6])
}

// GitHubIssuer is the OIDC issuer of GitHub Actions on github.com.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// GitLabIssuer is the OIDC issuer of GitLab CI on gitlab.com.
const GitLabIssuer = "https://gitlab.com"

func join(kind string, kv ...string) string {
	var b strings.Builder
	b.WriteString(kind + ":")
	for i := 0; i < len(kv); i += 2 {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(kv[i] + "=" + quote(kv[i+1]))
	}
	return b.String()
}

// quote escapes the separators of Identity, so that no value can forge a field.
func quote(s string) string { return separators.Replace(s) }

var separators = strings.NewReplacer("%", "%25", ";", "%3B", "\n", "%0A", "\r", "%0D")

func short(h string) string {
	if len(h) > 16 {
		return h[:16]
	}
	return h
}

// Validate reports what a signer of its kind lacks. A keyless identity without
// an exact issuer is no identity.
func (s Signer) Validate() error {
	need := func(what, v string) error {
		if v == "" {
			return fmt.Errorf("%s signer without %s", s.Kind, what)
		}
		return nil
	}
	switch s.Kind {
	case SignerSigstore:
		if err := need("issuer", s.Issuer); err != nil {
			return err
		}
		if s.SourceRepository == "" {
			return need("subject alternative name", s.SAN)
		}
		return nil
	case SignerOpenPGP, SignerSSH:
		return need("fingerprint", s.Fingerprint)
	case SignerX509:
		if err := need("subject", s.Subject); err != nil {
			return err
		}
		return need("root", s.Root)
	case SignerKey:
		return need("key digest", s.KeyDigest)
	case SignerRegistry, SignerLog:
		return need("name", s.Name)
	}
	return fmt.Errorf("unknown signer kind %q", truncate(string(s.Kind)))
}
