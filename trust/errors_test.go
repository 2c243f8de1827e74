package trust

import (
	"errors"
	"fmt"
	"testing"
)

func TestClassify(t *testing.T) {
	inner := errors.New("inner")
	for name, tc := range map[string]struct {
		err error
		o   Outcome
		r   Reason
	}{
		"nil":              {nil, Verified, ""},
		"failure":          {Failure(ReasonWrongName, "x: %w", inner), Failed, ReasonWrongName},
		"undecidable":      {Undecidable(ReasonMalformed, "x"), Unreachable, ReasonMalformed},
		"wrapped":          {fmt.Errorf("outer: %w", Failure(ReasonWrongName, "x")), Failed, ReasonWrongName},
		"plain":            {inner, Unreachable, ReasonInternal},
		"configuration":    {Misconfigured("x"), Unreachable, ReasonInternal},
		"claims verified":  {&VerifyError{Outcome: Verified, Err: inner}, Unreachable, ReasonInternal},
		"claims no result": {&VerifyError{Err: inner}, Unreachable, ReasonInternal},
	} {
		if o, r := Classify(tc.err); o != tc.o || r != tc.r {
			t.Errorf("%s: %s/%s", name, o, r)
		}
	}
	if !errors.Is(Failure(ReasonWrongName, "x: %w", inner), inner) || !errors.Is(Misconfigured("x: %w", inner), ErrConfiguration) {
		t.Error("errors are not wrapped")
	}
}

func TestWorst(t *testing.T) {
	for _, tc := range []struct{ a, b, want Verdict }{
		{Allow, Allow, Allow}, {Allow, Undecided, Undecided}, {Hold, Undecided, Hold}, {Block, Hold, Block}, {"", Allow, Block}, {Allow, "maybe", Block},
	} {
		if Worst(tc.a, tc.b) != tc.want || Worst(tc.b, tc.a) != tc.want {
			t.Errorf("worst of %q and %q is %q", tc.a, tc.b, Worst(tc.a, tc.b))
		}
	}
}

// TestIdentities: values cannot forge fields, and look-alikes differ.
func TestIdentities(t *testing.T) {
	a := Signer{Kind: SignerX509, Subject: "CN=a;issuer=CN=b", CertIssuer: "", Root: "r"}
	b := Signer{Kind: SignerX509, Subject: "CN=a", CertIssuer: "CN=b", Root: "r"}
	if a.Identity() == b.Identity() {
		t.Error("a subject forged an issuer")
	}
	moved := Signer{Kind: SignerSigstore, Issuer: "i", SourceRepository: "https://x/old", SourceRepositoryID: "1", SourceOwnerID: "2"}
	transferred := moved
	transferred.SourceRepository = "https://x/new"
	if moved.Identity() != transferred.Identity() {
		t.Error("a transferred repository is another signer")
	}
	squatted := moved
	squatted.SourceRepositoryID = "3"
	if moved.Identity() == squatted.Identity() {
		t.Error("a re-registered name is the same signer")
	}
	if (Signer{Kind: SignerSigstore, SAN: "a@example.com"}).Validate() == nil {
		t.Error("a keyless identity without issuer is valid")
	}
	if (Signer{}).Validate() == nil || (Signer{}).Identity() != "" {
		t.Error("no signer is a signer")
	}
}
