package adapter

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

type classified struct {
	o trust.Outcome
	r trust.Reason
}

func (c classified) Error() string                         { return "upstream" }
func (c classified) Reason() (trust.Outcome, trust.Reason) { return c.o, c.r }

func TestUnverifiedIsNeverVerified(t *testing.T) {
	r, err := trust.ParseRelease("pkg:npm/a@1")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		err  error
		want trust.Outcome
	}{
		"nil":            {nil, trust.Unreachable},
		"plain":          {errors.New("x"), trust.Unreachable},
		"deadline":       {context.DeadlineExceeded, trust.Unreachable},
		"failure":        {trust.Failure(trust.ReasonBadSignature, "x"), trust.Failed},
		"upstream":       {classified{trust.Failed, trust.ReasonWrongDigest}, trust.Failed},
		"lying upstream": {classified{trust.Verified, ""}, trust.Unreachable},
		"empty upstream": {classified{}, trust.Unreachable},
	} {
		e := Unverified(trust.CheckIndex, r, trust.Artifact{}, c.err)
		if e.Outcome != c.want {
			t.Errorf("%s: %s, want %s", what, e.Outcome, c.want)
		}
		// A tool that states SHA-1 alone says nothing against the release.
		if weak := e.Reason == trust.ReasonWeakDigest; weak != strings.Contains(e.Remedy, "SHA-256 or better") {
			t.Errorf("%s: %s, remedy %q", what, e.Reason, e.Remedy)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCompareDigests(t *testing.T) {
	r, err := trust.ParseRelease("pkg:npm/a@1")
	if err != nil {
		t.Fatal(err)
	}
	d := func(alg trust.Algorithm, c string, n int) trust.Digest {
		d, err := trust.NewDigest(alg, strings.Repeat(c, n))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a256, b256, a512, a1 := d(trust.SHA256, "a", 64), d(trust.SHA256, "b", 64), d(trust.SHA512, "a", 128), d(trust.SHA1, "a", 40)
	for what, c := range map[string]struct {
		locked, served trust.Digests
		want           trust.Outcome
	}{
		"equal":             {trust.Digests{a256}, trust.Digests{a256}, trust.Verified},
		"equal beside more": {trust.Digests{a256}, trust.Digests{a1, a512, a256}, trust.Verified},
		"different":         {trust.Digests{a256}, trust.Digests{b256}, trust.Failed},
		"one of two":        {trust.Digests{a256, a512}, trust.Digests{b256, a512}, trust.Failed},
		"none locked":       {nil, trust.Digests{a256}, trust.Absent},
		"weak locked":       {trust.Digests{a1}, trust.Digests{a1, a256}, trust.Failed},
		"incomparable":      {trust.Digests{a512}, trust.Digests{a1}, trust.Unreachable},
		"none served":       {trust.Digests{a512}, nil, trust.Unreachable},
	} {
		e := CompareDigests(trust.CheckIndex, r, trust.Artifact{Digests: c.locked}, trust.Artifact{Digests: c.served})
		if e.Outcome != c.want {
			t.Errorf("%s: %s, want %s", what, e.Outcome, c.want)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
