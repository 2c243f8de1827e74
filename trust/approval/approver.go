package approval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/sshsig"
)

// Namespace is the SSH signature namespace of approvals.
const Namespace = "approval@headgate.dev"

// Bounds of the set of approvers.
const (
	MaxApprovers   = 1024
	MaxCredentials = 16 // of one approver
)

// MessageVerifier judges documents that carry a signature over a message and
// the identity behind it: a Sigstore bundle, CMS SignedData. It is safe for
// concurrent use. Its errors are classified (trust.Classify).
type MessageVerifier interface {
	VerifyMessage(message, document []byte) (trust.Signer, error)
}

// Credential is one way in which a person signs.
type Credential struct {
	key dsse.Key
	// names are how a requester may be called by this credential.
	names []string
	// From and Until bound the times of issue that count; zero is no bound.
	From, Until time.Time
}

// Identity tells credentials apart; one key is one credential in every form.
func (c Credential) Identity() string {
	if c.key == nil {
		return ""
	}
	return c.key.Identity()
}

// Holds reports whether the credential is this SSH key.
func (c Credential) Holds(key ssh.PublicKey) bool {
	return c.key != nil && c.Identity() == sshKey{key}.Identity()
}

// Between returns the credential with the times of issue that it counts for.
func (c Credential) Between(from, until time.Time) Credential {
	c.From, c.Until = from, until
	return c
}

// SSHCredential is an SSH public key as a line ("ssh-ed25519 AAAA… comment").
func SSHCredential(line string) (Credential, error) {
	key, err := sshsig.ParsePublicKey([]byte(line))
	if err != nil {
		return Credential{}, fmt.Errorf("approver's key: %w", err)
	}
	fp := ssh.FingerprintSHA256(key)
	return Credential{key: sshKey{key}, names: []string{fp}}, nil
}

// KeyCredential is a plain public key: PEM or DER SPKI, or as minisign shows its
// keys ("RWQ…").
func KeyCredential(public []byte) (Credential, error) {
	var key dsse.Key
	m, err := minisign.ParsePublicKey(public)
	if err == nil {
		key, err = dsse.NewKey(m.Public())
	} else {
		key, err = dsse.ParseKey(public)
	}
	if err != nil {
		return Credential{}, fmt.Errorf("approver's key: %w", err)
	}
	return Credential{key: key, names: []string{key.Signer().KeyDigest}}, nil
}

// SigstoreCredential is a keyless identity: an exact issuer and an exact
// subject alternative name. v verifies bundles over the message.
func SigstoreCredential(issuer, san string, v MessageVerifier) (Credential, error) {
	if issuer == "" || san == "" || v == nil {
		return Credential{}, trust.Misconfigured("an approver's Sigstore identity needs the exact issuer and identity, and a verifier")
	}
	return Credential{names: []string{san}, key: document{v, "sigstore", trust.Signer{Kind: trust.SignerSigstore, Issuer: issuer, SAN: san}, func(s trust.Signer) bool {
		return s.Kind == trust.SignerSigstore && s.Issuer == issuer && s.SAN == san
	}}}, nil
}

// X509Credential is a certificate subject under a root (SHA-256 of the root
// certificate, hex). v verifies CMS SignedData over the message.
func X509Credential(subject, root string, v MessageVerifier) (Credential, error) {
	if subject == "" || v == nil {
		return Credential{}, trust.Misconfigured("an approver's certificate needs its subject and a verifier")
	}
	d, err := trust.NewDigest(trust.SHA256, root)
	if err != nil {
		return Credential{}, trust.Misconfigured("the root of an approver's certificate: %w", err)
	}
	return Credential{names: []string{subject}, key: document{v, "x509", trust.Signer{Kind: trust.SignerX509, Subject: subject, Root: d.Value}, func(s trust.Signer) bool {
		return s.Kind == trust.SignerX509 && s.Subject == subject && s.Root == d.Value
	}}}, nil
}

type sshKey struct{ key ssh.PublicKey }

// Identity is that of the plain key where there is one, so that one key in two
// forms is one key.
func (k sshKey) Identity() string {
	if spki, ok := sshsig.SPKI(k.key); ok {
		sum := sha256.Sum256(spki)
		return "spki-sha256:" + hex.EncodeToString(sum[:])
	}
	return "ssh:" + ssh.FingerprintSHA256(k.key)
}

func (k sshKey) Signer() trust.Signer { return sshsig.SignerOf(k.key) }

func (k sshKey) Verify(message, sig []byte) error {
	_, err := sshsig.Verify(bytes.NewReader(message), sig, sshsig.Want{Namespace: Namespace, Keys: []ssh.PublicKey{k.key}})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", dsse.ErrNotMine, err)
}

type document struct {
	v      MessageVerifier
	kind   string
	signer trust.Signer
	match  func(trust.Signer) bool
}

func (d document) Identity() string     { return d.kind + ":" + d.signer.Identity() }
func (d document) Signer() trust.Signer { return d.signer }

func (d document) Verify(message, sig []byte) error {
	s, err := d.v.VerifyMessage(message, sig)
	if err != nil {
		if o, _ := trust.Classify(err); o == trust.Failed {
			return fmt.Errorf("%w: %w", dsse.ErrNotMine, err)
		}
		return err
	}
	if !d.match(s) {
		return dsse.ErrNotMine
	}
	return nil
}

// SSHSign returns the function that signs approvals with an SSH key, from a
// file or from ssh-agent (package sshsig).
func SSHSign(signer ssh.Signer) dsse.SignFunc {
	return func(message []byte) ([]byte, string, error) {
		sig, err := sshsig.Sign(bytes.NewReader(message), Namespace, signer)
		return sig, ssh.FingerprintSHA256(signer.PublicKey()), err
	}
}

// Approver is a person whom the policy names.
type Approver struct {
	Name string
	// Aliases are other names under which this person may ask: e-mail addresses,
	// account names.
	Aliases     []string
	Credentials []Credential
	// Scope are the packages that the person may approve: a package URL, one that
	// ends in "/*" for everything below, or "*" for all. Empty is none.
	Scope []string
	// Rules are the rules that the person may set aside, or "*". Empty is none.
	Rules []string
}

// Approvers is a checked set of approvers.
type Approvers struct {
	people []person
}

type person struct {
	Approver
	scopes []scope
}

// NewApprovers checks the set. Entries of one name are refused, and so is one
// key or alias for two people: nobody could tell who approved.
func NewApprovers(list []Approver) (*Approvers, error) {
	if len(list) > MaxApprovers {
		return nil, trust.Misconfigured("%d approvers, more than %d", len(list), MaxApprovers)
	}
	out := &Approvers{}
	names, keys := map[string]string{}, map[string]string{}
	for _, a := range list {
		if strings.TrimSpace(a.Name) == "" {
			return nil, trust.Misconfigured("an approver without a name")
		}
		if n := len(a.Credentials); n == 0 || n > MaxCredentials {
			return nil, trust.Misconfigured("approver %q has %d keys or identities, needs 1 to %d", a.Name, n, MaxCredentials)
		}
		if len(a.Scope) == 0 || len(a.Rules) == 0 {
			return nil, trust.Misconfigured("approver %q needs a scope and rules; write \"*\" for all", a.Name)
		}
		all := append([]string{a.Name}, a.Aliases...)
		for i, c := range a.Credentials {
			if c.key == nil {
				return nil, trust.Misconfigured("approver %q has an empty credential", a.Name)
			}
			for _, earlier := range a.Credentials[:i] {
				if earlier.Identity() == c.Identity() {
					return nil, trust.Misconfigured("approver %q has one key twice", a.Name)
				}
			}
			if other, ok := keys[c.Identity()]; ok {
				return nil, trust.Misconfigured("approvers %q and %q share a key", other, a.Name)
			}
			keys[c.Identity()] = a.Name
		}
		for _, n := range all {
			f := foldName(n)
			if f == "" {
				return nil, trust.Misconfigured("approver %q has an empty alias", a.Name)
			}
			if other, ok := names[f]; ok && (other != a.Name || f == foldName(a.Name)) {
				return nil, trust.Misconfigured("the name %q stands for two approvers", n)
			}
			names[f] = a.Name
		}
		p := person{Approver: a}
		for _, s := range a.Scope {
			sc, err := parseScope(s)
			if err != nil {
				return nil, trust.Misconfigured("scope %q of approver %q: %w", s, a.Name, err)
			}
			p.scopes = append(p.scopes, sc)
		}
		out.people = append(out.people, p)
	}
	return out, nil
}

// Len returns how many people may approve anything at all.
func (a *Approvers) Len() int { return len(a.people) }

func (a *Approvers) named(name string) *person {
	for i := range a.people {
		if foldName(a.people[i].Name) == foldName(name) {
			return &a.people[i]
		}
	}
	return nil
}

// Refusal says why the person with that name may not approve the package for the
// rule when requester asked; nil if they may. Verify asks the same.
func (a *Approvers) Refusal(name string, p trust.Package, rule, requester string) error {
	who := a.named(name)
	switch {
	case who == nil:
		return refuse(trust.ReasonUntrustedSigner, ErrNotApprover, "%q", clip(name))
	case who.is(requester):
		return refuse(trust.ReasonUntrustedSigner, ErrRequester, "%s", who.Name)
	case !who.may(p, rule):
		return refuse(trust.ReasonUntrustedSigner, ErrOutOfScope, "%s, %s, rule %q", who.Name, p, clip(rule))
	}
	return nil
}

// Eligible returns the names of those who may approve the package for the rule
// when requester asked.
func (a *Approvers) Eligible(p trust.Package, rule, requester string) []string {
	var out []string
	for i := range a.people {
		if a.people[i].may(p, rule) && !a.people[i].is(requester) {
			out = append(out, a.people[i].Name)
		}
	}
	return out
}

func (p *person) may(pkg trust.Package, rule string) bool {
	if !slices.Contains(p.Rules, rule) && !slices.Contains(p.Rules, "*") {
		return false
	}
	return slices.ContainsFunc(p.scopes, func(s scope) bool { return s.covers(pkg) })
}

// is reports whether name is this person: by name, alias or any credential.
func (p *person) is(name string) bool {
	f := foldName(name)
	if f == "" {
		return false
	}
	if f == foldName(p.Name) {
		return true
	}
	for _, a := range p.Aliases {
		if f == foldName(a) {
			return true
		}
	}
	for _, c := range p.Credentials {
		if f == foldName(c.Identity()) || f == foldName(c.key.Signer().Identity()) {
			return true
		}
		for _, n := range c.names {
			if f == foldName(n) {
				return true
			}
		}
	}
	return false
}

// holds reports whether the signer is one of the person's credentials.
func (p *person) holds(s trust.Signer) bool {
	for _, c := range p.Credentials {
		o := c.key.Signer()
		if o.Identity() == s.Identity() || (o.KeyDigest != "" && o.KeyDigest == s.KeyDigest) {
			return true
		}
		if d, ok := c.key.(document); ok && d.match(s) {
			return true
		}
	}
	return false
}

// foldName makes spellings of one account one: case and outer space do not
// tell people apart.
func foldName(s string) string { return strings.ToLower(strings.ToUpper(strings.TrimSpace(s))) }

// scope is a parsed package pattern.
type scope struct {
	all  bool
	tree bool
	pkg  trust.Package
}

func parseScope(s string) (scope, error) {
	if s == "*" {
		return scope{all: true}, nil
	}
	prefix, tree := strings.CutSuffix(s, "/*")
	if strings.Contains(prefix, "*") {
		return scope{}, fmt.Errorf("\"*\" may stand at the end only, after a slash")
	}
	if tree {
		prefix += "/x" // a name, so that the rest parses as a namespace
	}
	r, err := trust.ParseRelease(prefix)
	if err != nil {
		return scope{}, err
	}
	if r.Version != "" || r.Variant != "" || r.Subpath != "" {
		return scope{}, fmt.Errorf("a scope names packages, not versions")
	}
	return scope{tree: tree, pkg: r.Package}, nil
}

func (s scope) covers(p trust.Package) bool {
	if s.all {
		return true
	}
	if s.pkg.Type != p.Type || (s.pkg.Qualifiers != "" && s.pkg.Qualifiers != p.Qualifiers) {
		return false
	}
	if !s.tree {
		return s.pkg.Namespace == p.Namespace && s.pkg.Name == p.Name
	}
	return s.pkg.Namespace == "" || s.pkg.Namespace == p.Namespace || strings.HasPrefix(p.Namespace, s.pkg.Namespace+"/")
}
