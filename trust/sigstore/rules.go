package sigstore

import (
	"slices"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/headgate/headgate/trust"
)

// MaxThreshold bounds each threshold of Rules.
const MaxThreshold = 16

// Rules say what the bundles of one Sigstore instance must prove beside their
// signature. They belong to the instance's root: no verifier tries the rules or
// the root of another instance.
type Rules struct {
	// Instance is the instance's name.
	Instance string
	// Logs is how many different transparency logs must hold the signature.
	Logs int
	// Timestamps is how many different timestamp authorities must have stamped it.
	// With none, one log must have signed the time (log v1's promise).
	Timestamps int
	// CertificateLogs is how many different certificate logs must hold the
	// signing certificate.
	CertificateLogs int
	// Issuers are the OIDC issuers, exact, whose identities the instance may
	// certify. A private authority that may certify every issuer's could speak for everybody.
	Issuers []string
}

// check refuses rules that prove nothing or that the root can never fulfil.
func (u *Rules) check(m root.TrustedMaterial) error {
	switch {
	case u.Instance == "" || reserved(u.Instance):
		return misuse("a Sigstore instance of one's own needs a name of its own, not %q", u.Instance)
	case len(u.Issuers) == 0 || slices.Contains(u.Issuers, ""):
		return misuse("Sigstore instance %s: no issuer is named, so that it could certify everybody", u.Instance)
	case u.Logs == 0 && u.Timestamps == 0:
		return misuse("Sigstore instance %s: without a log and without a timestamp nothing says when a signature was made", u.Instance)
	}
	authorities := map[string]bool{}
	for _, a := range m.TimestampingAuthorities() {
		if t, ok := a.(*root.SigstoreTimestampingAuthority); ok {
			authorities[t.URI] = true
		}
	}
	for _, t := range []struct {
		what      string
		want, has int
	}{{"transparency logs", u.Logs, len(m.RekorLogs())}, {"timestamp authorities", u.Timestamps, len(authorities)}, {"certificate logs", u.CertificateLogs, len(m.CTLogs())}} {
		if t.want < 0 || t.want > MaxThreshold {
			return misuse("Sigstore instance %s: %d %s are not between 0 and %d", u.Instance, t.want, t.what, MaxThreshold)
		}
		if t.want > t.has {
			return misuse("Sigstore instance %s: %d %s are demanded, and its trusted root knows %d", u.Instance, t.want, t.what, t.has)
		}
	}
	if len(m.FulcioCertificateAuthorities()) == 0 {
		return misuse("Sigstore instance %s: its trusted root has no certificate authority", u.Instance)
	}
	return nil
}

func reserved(name string) bool {
	return name == InstancePublic || name == InstanceGitHubPrivate || name == InstanceKeys
}

// witnesses are the options about logs and times, for certificates and keys alike.
func (u *Rules) witnesses() []verify.VerifierOption {
	var opts []verify.VerifierOption
	if u.Logs > 0 {
		opts = append(opts, verify.WithTransparencyLog(u.Logs))
	}
	if u.Timestamps > 0 {
		return append(opts, verify.WithSignedTimestamps(u.Timestamps))
	}
	return append(opts, verify.WithObserverTimestamps(threshold))
}

// issuer refuses an identity that the instance may not certify.
func (u *Rules) issuer(s trust.Signer) error {
	if !slices.Contains(u.Issuers, s.Issuer) {
		return failed(trust.ReasonUntrustedSigner, "the Sigstore instance %s may not certify identities of %q", u.Instance, clip(s.Issuer))
	}
	return nil
}

// Instance names the Sigstore instance that the root is of.
func (r *Root) Instance() string {
	if r.rules != nil {
		return r.rules.Instance
	}
	return InstancePublic
}
