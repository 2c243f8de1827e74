package approval

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/dsse"
)

// MaxClockSkew is how far in the future an approval may have been issued by
// the clock of the verifier.
const MaxClockSkew = 5 * time.Minute

// Why an approval does not count. Each is wrapped by a trust.VerifyError.
var (
	ErrOtherRelease  = errors.New("the approval is for another release")
	ErrOtherDigest   = errors.New("the approval is for other bytes")
	ErrOtherEvidence = errors.New("the evidence has changed since the approval")
	ErrOtherRule     = errors.New("the approval is for other rules")
	ErrOtherPolicy   = errors.New("the approval was given under another policy")
	ErrExpired       = errors.New("the approval has expired")
	ErrBackdated     = errors.New("the approval's time of issue cannot be true")
	ErrTooLong       = errors.New("the approval runs longer than the policy allows")
	ErrRequester     = errors.New("approver and requester are one person")
	ErrNotApprover   = errors.New("the policy names no such approver")
	ErrOutOfScope    = errors.New("the approver may not approve this")
	ErrSignature     = errors.New("the approval is not signed by its approver")
	ErrQuorum        = errors.New("too few people have approved")
)

// Want is what an approval must be for.
type Want struct {
	Release trust.Release
	// Artifacts are the artifacts as judged; each needs a digest that can stand
	// for its bytes, and each must be among the approved ones.
	Artifacts []trust.Artifact
	// Evidence are the conclusions of the evidence that the verdict rests on, all of
	// it: an approval that saw less, more or other evidence is void.
	Evidence []string
	Rule     string
	// Requester is who asked; if it is empty, the statement's word is all there is.
	Requester string
	// RequesterSigners are identities that are known to be the requester's, such
	// as the key that signed the request or the commit.
	RequesterSigners []trust.Signer
	// NotBefore is when the evidence was collected or the request was made; an
	// approval from before it was given blindly. Zero if unknown.
	NotBefore time.Time
	Now       time.Time
	// MaxDays bounds the time from issue to end.
	MaxDays int
	// Policy, if set, must be the digest in the statement.
	Policy trust.Digest
	// Quorum is how many people must agree (VerifyQuorum).
	Quorum int
}

// Approval is an approval that Verify found valid for what was wanted.
type Approval struct {
	id        string
	statement Statement
	signer    trust.Signer
	approver  string
}

// ID is the approval's content address, "a-" and 16 hex digits.
func (a *Approval) ID() string { return a.id }

// Statement returns what was signed.
func (a *Approval) Statement() Statement { return a.statement }

// Signer returns the identity that signed.
func (a *Approval) Signer() trust.Signer { return a.signer }

// Approver returns the person's name in the policy.
func (a *Approval) Approver() string { return a.approver }

func (w Want) validate() error {
	switch {
	case w.Release.IsZero() || w.Release.Version == "":
		return trust.Misconfigured("verifying an approval needs a release with its version")
	case w.Rule == "":
		return trust.Misconfigured("verifying an approval needs the rule that it is to set aside")
	case w.Now.IsZero():
		return trust.Misconfigured("verifying an approval needs the time")
	case w.MaxDays < 1:
		return trust.Misconfigured("the longest approval is %d days; it must be at least 1", w.MaxDays)
	case len(w.Artifacts) == 0:
		return trust.Misconfigured("verifying an approval needs the digests of what is approved")
	}
	for _, a := range w.Artifacts {
		if !slices.ContainsFunc(a.Digests, binds) {
			return trust.Misconfigured("artifact %q has no digest that an approval could be bound to", clip(a.Name))
		}
	}
	return nil
}

func refuse(r trust.Reason, err error, format string, args ...any) error {
	return trust.Failure(r, "%w: %s", err, fmt.Sprintf(format, args...))
}

// Verify checks one approval against the approvers and against what is wanted.
func Verify(envelope []byte, approvers *Approvers, want Want) (*Approval, error) {
	if approvers == nil || approvers.Len() == 0 {
		return nil, trust.Misconfigured("the policy names no approvers")
	}
	if err := want.validate(); err != nil {
		return nil, err
	}
	e, s, err := parseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	who := approvers.named(s.Approver)
	if who == nil {
		return nil, refuse(trust.ReasonUntrustedSigner, ErrNotApprover, "%q", clip(s.Approver))
	}
	keys := make([]dsse.Key, len(who.Credentials))
	for i, c := range who.Credentials {
		keys[i] = c.key
	}
	v, err := dsse.Verify(e, PayloadType, keys, 1)
	if err != nil {
		if o, _ := trust.Classify(err); o == trust.Failed {
			return nil, refuse(trust.ReasonBadSignature, ErrSignature, "%s: %v", who.Name, err)
		}
		return nil, err
	}
	// From here on only what was signed counts.
	if s, err = parseStatement(v.Payload()); err != nil {
		return nil, err
	}
	if err := checkTime(s, want); err != nil {
		return nil, err
	}
	cred, err := inForce(who, v.Keys(), s.Issued)
	if err != nil {
		return nil, err
	}
	if who.is(s.Requester) || who.is(want.Requester) || slices.ContainsFunc(want.RequesterSigners, who.holds) {
		return nil, refuse(trust.ReasonUntrustedSigner, ErrRequester, "%s", who.Name)
	}
	if want.Requester != "" && foldName(want.Requester) != foldName(s.Requester) {
		return nil, refuse(trust.ReasonWrongSubject, ErrOtherEvidence, "requested by %q, approved for %q", clip(want.Requester), clip(s.Requester))
	}
	if err := checkSubject(s, want); err != nil {
		return nil, err
	}
	if !who.may(want.Release.Package, want.Rule) {
		return nil, refuse(trust.ReasonUntrustedSigner, ErrOutOfScope, "%s, %s, rule %q", who.Name, want.Release.Package, clip(want.Rule))
	}
	return &Approval{id: id(v.Payload(), cred.key.Signer()), statement: s, signer: cred.key.Signer(), approver: who.Name}, nil
}

func checkTime(s Statement, want Want) error {
	if s.Issued.After(want.Now.Add(MaxClockSkew)) {
		return refuse(trust.ReasonKeyOutsideWindow, ErrBackdated, "issued %s, which is in the future", s.Issued)
	}
	if !want.NotBefore.IsZero() && s.Issued.Before(want.NotBefore.Truncate(time.Second)) {
		return refuse(trust.ReasonKeyOutsideWindow, ErrBackdated, "issued %s, before the request or its evidence (%s)", s.Issued, want.NotBefore)
	}
	if !s.Expires.After(want.Now) {
		return refuse(trust.ReasonKeyOutsideWindow, ErrExpired, "on %s", s.Expires)
	}
	if s.Expires.Sub(s.Issued) > time.Duration(want.MaxDays)*24*time.Hour {
		return refuse(trust.ReasonKeyOutsideWindow, ErrTooLong, "until %s, more than %d days", s.Expires, want.MaxDays)
	}
	return nil
}

// inForce returns the credential that signed and was valid at the time of issue.
func inForce(who *person, keys []dsse.Key, issued time.Time) (Credential, error) {
	for _, k := range keys {
		for _, c := range who.Credentials {
			if c.Identity() != k.Identity() {
				continue
			}
			if (c.From.IsZero() || !issued.Before(c.From)) && (c.Until.IsZero() || !issued.After(c.Until)) {
				return c, nil
			}
		}
	}
	return Credential{}, refuse(trust.ReasonKeyOutsideWindow, ErrBackdated, "issued %s, when the key of %s did not count", issued, who.Name)
}

func checkSubject(s Statement, want Want) error {
	if s.Release != want.Release {
		r := trust.ReasonWrongName
		if s.Release.Package == want.Release.Package {
			r = trust.ReasonWrongVersion
		}
		return refuse(r, ErrOtherRelease, "%s, not %s", s.Release, want.Release)
	}
	for _, a := range want.Artifacts {
		if !slices.ContainsFunc(s.Artifacts, func(o trust.Artifact) bool { return same(o, a) }) {
			return refuse(trust.ReasonWrongDigest, ErrOtherDigest, "artifact %q is not among the approved ones", clip(a.Name))
		}
	}
	if !slices.Equal(slices.Compact(sorted(s.Evidence)), slices.Compact(sorted(want.Evidence))) {
		return refuse(trust.ReasonWrongSubject, ErrOtherEvidence, "%d pieces were approved, %d are judged", len(s.Evidence), len(want.Evidence))
	}
	if !slices.Contains(s.Rules, want.Rule) {
		return refuse(trust.ReasonWrongSubject, ErrOtherRule, "%q is not among %d approved ones", clip(want.Rule), len(s.Rules))
	}
	if !want.Policy.IsZero() && !want.Policy.Equal(s.Policy) {
		return refuse(trust.ReasonWrongSubject, ErrOtherPolicy, "%s, not %s", s.Policy, want.Policy)
	}
	return nil
}

// same demands that no common digest differs and that one which can stand for
// bytes is common.
func same(approved, judged trust.Artifact) bool {
	common := false
	for _, a := range approved.Digests {
		for _, b := range judged.Digests {
			if a.Algorithm != b.Algorithm {
				continue
			}
			if !a.Equal(b) {
				return false
			}
			common = common || binds(a)
		}
	}
	return common
}

// VerifyQuorum checks several approvals and demands that want.Quorum different
// people gave valid ones. It returns those, one per person, and an error that
// joins why the others do not count if they do not suffice.
func VerifyQuorum(envelopes [][]byte, approvers *Approvers, want Want) ([]*Approval, error) {
	if approvers == nil || want.Quorum < 1 || want.Quorum > approvers.Len() {
		return nil, trust.Misconfigured("a quorum of %d", want.Quorum)
	}
	if len(envelopes) > MaxApprovers {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%d approvals of one release, more than %d", len(envelopes), MaxApprovers)
	}
	var out []*Approval
	var why []error
	for _, env := range envelopes {
		a, err := Verify(env, approvers, want)
		if errors.Is(err, trust.ErrConfiguration) {
			return nil, err
		}
		if err != nil {
			why = append(why, err)
			continue
		}
		if !slices.ContainsFunc(out, func(o *Approval) bool { return o.approver == a.approver }) {
			out = append(out, a)
		}
	}
	if len(out) < want.Quorum {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "%w: %d of %d: %w", ErrQuorum, len(out), want.Quorum, errors.Join(why...))
	}
	return out, nil
}
