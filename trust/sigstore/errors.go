package sigstore

import "github.com/headgate/headgate/trust"

// Error is every error of this package but the caller's own mistakes: what is
// wrong, and which outcome and reason of evidence it amounts to. Mistakes of the
// caller wrap trust.ErrConfiguration.
type Error = trust.VerifyError

// Classify returns the outcome and reason that an error of this package leads
// to, and verified for nil.
func Classify(err error) (trust.Outcome, trust.Reason) { return trust.Classify(err) }

func failed(r trust.Reason, format string, args ...any) error {
	return trust.Failure(r, format, args...)
}

func unreachable(r trust.Reason, format string, args ...any) error {
	return trust.Undecidable(r, format, args...)
}

func misuse(format string, args ...any) error { return trust.Misconfigured(format, args...) }
