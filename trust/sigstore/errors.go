package sigstore

import (
	"errors"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// Error is every error of this package: what is wrong, and which outcome and
// reason of evidence it amounts to.
type Error struct {
	Outcome trust.Outcome
	Reason  trust.Reason
	Err     error
}

// Error says what is wrong.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrExpectation marks errors of the caller: an Expectation or verifier that
// would prove nothing. It classifies as unreachable (internal): never verified,
// and never blamed on upstream.
var ErrExpectation = errors.New("expectation proves nothing")

// Classify returns the outcome and reason that an error of this package leads
// to. A nil error has none; an error of anybody else is unreachable (internal).
func Classify(err error) (trust.Outcome, trust.Reason) {
	if err == nil {
		return "", ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome, e.Reason
	}
	return trust.Unreachable, trust.ReasonInternal
}

func failed(r trust.Reason, format string, args ...any) error {
	return &Error{Outcome: trust.Failed, Reason: r, Err: fmt.Errorf(format, args...)}
}

func unreachable(r trust.Reason, format string, args ...any) error {
	return &Error{Outcome: trust.Unreachable, Reason: r, Err: fmt.Errorf(format, args...)}
}

func misuse(format string, args ...any) error {
	return &Error{Outcome: trust.Unreachable, Reason: trust.ReasonInternal, Err: fmt.Errorf("%w: "+format, append([]any{ErrExpectation}, args...)...)}
}
