package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// Unverified makes the evidence of a check that err ended: an upstream error or
// a verifier's error says which outcome and reason that is, and any other error
// is unreachable. Nil is no error and therefore a mistake of the caller; it too
// comes out as unreachable, never as verified.
func Unverified(check trust.Check, r trust.Release, a trust.Artifact, err error) trust.Evidence {
	e := trust.Evidence{Check: check, Release: r, Artifact: a}
	var classified interface {
		Reason() (trust.Outcome, trust.Reason)
	}
	switch {
	case err == nil:
		e.Outcome, e.Reason, e.Detail = trust.Unreachable, trust.ReasonInternal, "the check ended without a result"
		return e
	case errors.As(err, &classified):
		e.Outcome, e.Reason = classified.Reason()
	case errors.Is(err, context.DeadlineExceeded):
		e.Outcome, e.Reason = trust.Unreachable, trust.ReasonNetwork
	default:
		e.Outcome, e.Reason = trust.Classify(err)
	}
	if e.Outcome == trust.Verified || !e.Outcome.Valid() {
		e.Outcome, e.Reason = trust.Unreachable, trust.ReasonInternal
	}
	e.Detail = err.Error()
	return e
}

// Missing makes absent evidence with a sentence that says what is not there.
func Missing(check trust.Check, r trust.Release, a trust.Artifact, reason trust.Reason, format string, args ...any) trust.Evidence {
	return trust.Evidence{Check: check, Outcome: trust.Absent, Release: r, Artifact: a, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Refuted makes failed evidence.
func Refuted(check trust.Check, r trust.Release, a trust.Artifact, reason trust.Reason, format string, args ...any) trust.Evidence {
	return trust.Evidence{Check: check, Outcome: trust.Failed, Release: r, Artifact: a, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Doubtful makes unreachable evidence.
func Doubtful(check trust.Check, r trust.Release, a trust.Artifact, reason trust.Reason, format string, args ...any) trust.Evidence {
	return trust.Evidence{Check: check, Outcome: trust.Unreachable, Release: r, Artifact: a, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// CompareDigests judges what the source states of an artifact (locked) against
// what upstream states (served): verified if a strong digest of both agrees,
// failed if any differs, failed too if only weak ones could be compared, and
// absent if the source states none.
func CompareDigests(check trust.Check, r trust.Release, locked, served trust.Artifact) trust.Evidence {
	a := locked
	switch {
	case len(locked.Digests) == 0:
		a.Digests = served.Digests
		return Missing(check, r, a, trust.ReasonNoLockDigest, "the source states no digest of this artifact; upstream's is %s", served.Digests.Strongest())
	case locked.Digests.Strongest().IsZero():
		e := Refuted(check, r, a, trust.ReasonWeakDigest, "the source states only %s, which an attacker can forge", locked.Digests[0].Algorithm)
		e.Remedy = "write the lock file or SBOM anew with a tool that states SHA-256 or better"
		return e
	}
	switch locked.Digests.Compare(served.Digests) {
	case trust.Agree:
		return trust.Evidence{Check: check, Outcome: trust.Verified, Release: r, Artifact: a}
	case trust.Disagree:
		return Refuted(check, r, a, trust.ReasonWrongDigest, "the source states %s, upstream %s", locked.Digests.Strongest(), sameKind(locked.Digests, served.Digests))
	}
	return Doubtful(check, r, a, trust.ReasonUnsupported, "the source states %s and upstream no digest of that kind: they cannot be compared", locked.Digests.Strongest().Algorithm)
}

// sameKind returns the served digest that a person would compare with the locked one.
func sameKind(locked, served trust.Digests) trust.Digest {
	if d := served.Get(locked.Strongest().Algorithm); !d.IsZero() {
		return d
	}
	return served.Strongest()
}
