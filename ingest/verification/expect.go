package verification

import (
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Accepted judges signers by what was accepted before. It is safe for concurrent use.
type Accepted interface {
	// Accepted says by which acceptance the signer counts. An error says that it does
	// not: nobody accepted it, or somebody revoked it.
	Accepted(s trust.Signer) (by string, err error)
}

// Expectation says who must have signed, and what. Without an identity, keys
// or accepted signers it proves nothing, and is refused.
type Expectation struct {
	// Identity and Issuer are exact; IdentityRegexp and IssuerRegexp match as a whole.
	// One of each pair is needed for keyless signatures. For certificates under
	// Roots the identity is the subject (RFC 4514), an e-mail address or a URI, and there is no issuer.
	Identity, IdentityRegexp string
	Issuer, IssuerRegexp     string
	// Keys are whose signature counts, whoever holds them.
	Keys Keys
	// Roots are the roots and intermediates that --certificate-chain names.
	Roots []*x509.Certificate
	// TimestampRoots are further roots of timestamp authorities.
	TimestampRoots []*x509.Certificate
	// Accepted is asked where no identity and no key is given. KnownKeys are keys and
	// roots at hand for recognising accepted signers; having one proves nothing.
	Accepted  Accepted
	KnownKeys Keys

	// Types are the predicate types that count; none means a signature or
	// provenance (DefaultTypes).
	Types []string
	// AnyTypeUnsafe accepts attestations of every type, and does not read what they
	// say about the artifact. It excludes Types.
	AnyTypeUnsafe bool
	// SelfHosted accepts builds on runners that are not the forge's own.
	SelfHosted bool
	// RequireLog refuses signatures by keys that are in no transparency log.
	RequireLog bool

	// Root returns Sigstore's trusted root. It is called only for signatures that
	// need it, so that the others need no root; nil if there is none.
	Root func() (*sigstore.Root, error)
	// Instance names the private instance whose Root it is: its rules then hold for
	// signatures by keys too, and no signature outside Sigstore counts.
	Instance string
	Now      time.Time
}

// mode is who is expected.
type mode int

const (
	byNothing mode = iota
	byIdentity
	byKey
	byAccepted
)

func (x *Expectation) mode() mode {
	switch {
	case !x.Keys.Empty():
		return byKey
	case x.Identity != "" || x.IdentityRegexp != "":
		return byIdentity
	case x.Accepted != nil:
		return byAccepted
	}
	return byNothing
}

// Validate refuses an Expectation that can prove nothing or contradicts itself.
func (x *Expectation) Validate() error {
	identity := x.Identity != "" || x.IdentityRegexp != ""
	issuer := x.Issuer != "" || x.IssuerRegexp != ""
	switch {
	case x.Now.IsZero():
		return trust.Misconfigured("no clock")
	case x.Identity != "" && x.IdentityRegexp != "", x.Issuer != "" && x.IssuerRegexp != "":
		return trust.Misconfigured("an identity is either exact or a pattern, not both")
	case !x.Keys.Empty() && (identity || issuer):
		return trust.Misconfigured("a key and a certificate identity exclude each other")
	case !x.Keys.Empty() && len(x.Roots) > 0:
		return trust.Misconfigured("a key and a certificate chain exclude each other")
	case issuer && !identity:
		return trust.Misconfigured("an issuer alone is no identity: everybody who has an account there would pass")
	case identity && !issuer && len(x.Roots) == 0:
		return trust.Misconfigured("a keyless identity needs its issuer, a certificate identity the root that it is under")
	case len(x.Roots) > 0 && !identity && x.Accepted == nil:
		return trust.Misconfigured("a root alone is no identity: everybody with a certificate under it would pass")
	case x.AnyTypeUnsafe && len(x.Types) > 0:
		return trust.Misconfigured("attestations of one type are expected, and any is accepted")
	case slices.Contains(x.Types, ""):
		return trust.Misconfigured("empty predicate type")
	case x.mode() == byNothing:
		return trust.Misconfigured("nobody is expected: give an identity with its issuer, or a key, or accept signers first")
	}
	for _, p := range []string{x.IdentityRegexp, x.IssuerRegexp} {
		if p == "" {
			continue
		}
		if _, err := anchored(p); err != nil {
			return err
		}
	}
	if identity && issuer {
		_, err := x.sigstoreIdentity()
		return err
	}
	return nil
}

// anchored compiles a pattern so that it has to match as a whole.
func anchored(p string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(p); err != nil {
		return nil, trust.Misconfigured("pattern %q: %w", clip(p), err)
	}
	re, err := regexp.Compile(`^(?:` + p + `)$`)
	if err != nil {
		return nil, trust.Misconfigured("pattern %q: %w", clip(p), err)
	}
	if re.MatchString("") || re.MatchString("\x00") {
		return nil, trust.Misconfigured("pattern %q matches everything", clip(p))
	}
	return re, nil
}

func (x *Expectation) sigstoreIdentity() (sigstore.Identity, error) {
	if x.mode() == byAccepted {
		return sigstore.CollectIdentityUnsafe(), nil // judged by accept, before anything is returned
	}
	if x.Issuer == "" && x.IssuerRegexp == "" {
		return sigstore.Identity{}, trust.Misconfigured("the signature is keyless: name the issuer of the identity too")
	}
	if x.IdentityRegexp == "" && x.IssuerRegexp == "" {
		return sigstore.ExactIdentity(x.Issuer, x.Identity)
	}
	pattern := func(exact, re string) string {
		if re != "" {
			return re
		}
		return regexp.QuoteMeta(exact)
	}
	return sigstore.PatternIdentity(pattern(x.Issuer, x.IssuerRegexp), pattern(x.Identity, x.IdentityRegexp))
}

// keys are the keys that may be tried: expected ones, or those at hand.
func (x *Expectation) keys() Keys {
	if x.mode() == byKey {
		return x.Keys
	}
	if x.mode() == byAccepted {
		return x.KnownKeys
	}
	return Keys{}
}

// accept is the last word on a signer whose signature is sound. Signers by
// expected keys have been found by that key; the others are judged here.
func (x *Expectation) accept(s trust.Signer, cert *x509.Certificate) (string, error) {
	switch x.mode() {
	case byKey:
		return "", nil
	case byIdentity:
		if s.Kind == trust.SignerSigstore {
			return "", nil // judged by package sigstore
		}
		if s.Kind == trust.SignerX509 && cert != nil && x.matchesCertificate(s, cert) {
			return "", nil
		}
		return "", trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, expected %s", s, x.Identity+x.IdentityRegexp)
	case byAccepted:
		by, err := x.Accepted.Accepted(s)
		if err == nil && s.Kind == trust.SignerSSH && s.KeyDigest != "" {
			// One key under two names: a revocation of either counts.
			if _, kerr := x.Accepted.Accepted(trust.Signer{Kind: trust.SignerKey, KeyDigest: s.KeyDigest}); errors.Is(kerr, ErrRevoked) {
				by, err = "", kerr
			}
		}
		if err != nil {
			var v *trust.VerifyError
			if errors.As(err, &v) {
				return "", err
			}
			return "", trust.Failure(trust.ReasonUntrustedSigner, "%w", err)
		}
		return by, nil
	}
	return "", trust.Misconfigured("nobody is expected")
}

func (x *Expectation) matchesCertificate(s trust.Signer, cert *x509.Certificate) bool {
	if x.Issuer != "" || x.IssuerRegexp != "" {
		return false // an OIDC issuer is expected, which this certificate has not
	}
	names := append([]string{s.Subject}, cert.EmailAddresses...)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	if x.Identity != "" {
		return slices.Contains(names, x.Identity)
	}
	re, err := anchored(x.IdentityRegexp)
	return err == nil && slices.ContainsFunc(names, re.MatchString)
}

// DefaultTypes are the predicate types that count as a signature where no type
// is asked for: plain signatures, and provenance, by which a build vouches for
// what it built.
var DefaultTypes = []string{PredicateSign, sigstore.PredicateProvenance1, sigstore.PredicateProvenance02, sigstore.PredicatePyPIPublish}

// PredicateSign is the predicate type of a statement that says nothing beside
// "I sign this", as cosign writes it for images.
const PredicateSign = "https://sigstore.dev/cosign/sign/v1"

// typeNames are the names that cosign gives to predicate types, and ours.
var typeNames = map[string][]string{
	"slsaprovenance":   {sigstore.PredicateProvenance02, sigstore.PredicateProvenance1},
	"slsaprovenance02": {sigstore.PredicateProvenance02},
	"slsaprovenance1":  {sigstore.PredicateProvenance1},
	"vsa":              {sigstore.PredicateVSA},
	"spdx":             {PredicateSPDX},
	"spdxjson":         {PredicateSPDX},
	"cyclonedx":        {PredicateCycloneDX},
	"openvex":          {"https://openvex.dev/ns"},
	"vuln":             {"https://cosign.sigstore.dev/attestation/vuln/v1"},
	"custom":           {"https://cosign.sigstore.dev/attestation/v1"},
}

// Predicate types of SBOMs.
const (
	PredicateSPDX      = "https://spdx.dev/Document"
	PredicateCycloneDX = "https://cyclonedx.org/bom"
)

// ParseType reads a predicate type as cosign names it, or as a URI.
func ParseType(s string) ([]string, error) {
	if ts, ok := typeNames[s]; ok {
		return slices.Clone(ts), nil
	}
	if regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[^\s]+$`).MatchString(s) {
		return []string{s}, nil
	}
	return nil, trust.Misconfigured("%q is no predicate type: use a URI or one of cyclonedx, openvex, slsaprovenance, slsaprovenance02, slsaprovenance1, spdx, vsa, vuln, custom", clip(s))
}

// needRoot returns the trusted root or why there is none.
func (x *Expectation) needRoot() (*sigstore.Root, error) {
	if x.Root != nil {
		r, err := x.Root()
		if err != nil {
			return nil, fmt.Errorf("trusted root: %w", err)
		}
		if r != nil {
			if x.Instance != "" && r.Instance() != x.Instance {
				return nil, trust.Misconfigured("the trusted root is of the instance %s, expected %s", r.Instance(), x.Instance)
			}
			return r, nil
		}
	}
	return nil, trust.Undecidable(trust.ReasonExpiredRoot, "no trusted root of Sigstore is at hand; run headgate db update, or name one with --trusted-root")
}
