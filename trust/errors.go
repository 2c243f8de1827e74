package trust

import (
	"errors"
	"fmt"
)

// VerifyError says why a verifier did not verify, in the words of evidence:
// Outcome is Failed, Unreachable or Absent, never Verified.
type VerifyError struct {
	Outcome Outcome
	Reason  Reason
	Err     error
}

// Error returns the text of the wrapped error.
func (e *VerifyError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *VerifyError) Unwrap() error { return e.Err }

// ErrConfiguration marks an expectation that can prove nothing, such as a
// threshold of zero or a verifier without roots. It is the caller's mistake and
// says nothing about the judged bytes.
var ErrConfiguration = errors.New("configuration error")

// Failure returns a VerifyError for bytes that were readable and are wrong.
// format and args are those of fmt.Errorf, %w included.
func Failure(reason Reason, format string, args ...any) error {
	return &VerifyError{Outcome: Failed, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Undecidable returns a VerifyError for bytes that could not be judged:
// malformed, unsupported, beyond a bound, or signed by a key that is not at hand.
func Undecidable(reason Reason, format string, args ...any) error {
	return &VerifyError{Outcome: Unreachable, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Misconfigured returns an error that wraps ErrConfiguration.
func Misconfigured(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrConfiguration, fmt.Errorf(format, args...))
}

// Classify returns what err means as evidence. Only nil is Verified; an error
// that no verifier classified is unreachable, because nobody said that the
// bytes are wrong.
func Classify(err error) (Outcome, Reason) {
	if err == nil {
		return Verified, ""
	}
	var v *VerifyError
	if errors.As(err, &v) && v.Outcome.Valid() && v.Outcome != Verified {
		return v.Outcome, v.Reason
	}
	return Unreachable, ReasonInternal
}
