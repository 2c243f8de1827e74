package sigstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

func TestPinnedKeysCountByThemselves(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	w := sigstoretest.New(t, now)
	artifact := []byte("artifact")
	k, err := NewKey(w.NPM.ID, "sign", w.NPM.Private.Public(), time.Unix(0, 0), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewKeySet(k)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewPinnedKeyVerifierUnsafe(set, "sign")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPinnedKeyVerifierUnsafe(set, "other"); !errors.Is(err, trust.ErrConfiguration) {
		t.Errorf("a usage without keys: %v", err)
	}
	x := Expectation{Artifact: digestsOf(artifact), MessageSignature: true, Identity: KeyIdentity()}
	for name, tc := range map[string]struct {
		o       sigstoretest.Options
		outcome trust.Outcome
		reason  trust.Reason
	}{
		"sound":       {sigstoretest.Options{Key: w.NPM, Fault: sigstoretest.FaultNoEntry}, trust.Verified, ""},
		"log entry":   {sigstoretest.Options{Key: w.NPM}, trust.Unreachable, trust.ReasonExpiredRoot},
		"other key":   {sigstoretest.Options{Key: w.NPMOld, Fault: sigstoretest.FaultNoEntry}, trust.Unreachable, trust.ReasonUnknownKey},
		"certificate": {sigstoretest.Options{Fault: sigstoretest.FaultNoEntry}, trust.Failed, trust.ReasonUntrustedSigner},
	} {
		tc.o.Artifact = artifact
		got, err := v.Verify(w.Bundle(tc.o), x)
		if o, r := Classify(err); o != tc.outcome || r != tc.reason || (err != nil) != got.IsZero() {
			t.Errorf("%s: %s %s: %v", name, o, r, err)
		}
	}
	x.Artifact = digestsOf([]byte("other"))
	if _, err := v.Verify(w.Bundle(sigstoretest.Options{Artifact: artifact, Key: w.NPM, Fault: sigstoretest.FaultNoEntry}), x); err == nil {
		t.Error("another artifact")
	}
}

// TestFolderBounds: only who asks for a folder gets the wider bounds, and they end too.
func TestFolderBounds(t *testing.T) {
	statement := func(n int) []byte {
		var b strings.Builder
		b.WriteString(`{"_type":"https://in-toto.io/Statement/v1","subject":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"name":"%d","digest":{"sha256":"%s"}}`, i, strings.Repeat("0", 64))
		}
		b.WriteString(`],"predicateType":"x","predicate":{}}`)
		return []byte(b.String())
	}
	for _, tc := range []struct {
		n     int
		parse func([]byte) (Statement, error)
		ok    bool
	}{{MaxSubjects, ParseStatement, true}, {MaxSubjects + 1, ParseStatement, false}, {MaxFolderSubjects, ParseFolderStatement, true}, {MaxFolderSubjects + 1, ParseFolderStatement, false}} {
		st, err := tc.parse(statement(tc.n))
		if (err == nil) != tc.ok || tc.ok && len(st.Subjects) != tc.n {
			t.Errorf("%d subjects: %v", tc.n, err)
		}
	}
	if _, err := ParseFolderStatement(make([]byte, MaxFolderBundle+1)); err == nil {
		t.Error("a statement beyond the bound")
	}
	for _, folder := range []bool{false, true} {
		limit := map[bool]int{false: MaxBundle, true: MaxFolderBundle}[folder]
		_, err := Peek(make([]byte, limit+1), folder)
		if _, r := Classify(err); r != trust.ReasonTooLarge {
			t.Errorf("%v", err)
		}
		_, err = Peek(make([]byte, limit), folder)
		if _, r := Classify(err); r != trust.ReasonMalformed {
			t.Errorf("%v", err)
		}
	}
}

func TestTimestamps(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	w, other := sigstoretest.New(t, now), sigstoretest.New(t, now)
	load := func(w *sigstoretest.World) *Root {
		r, err := LoadTrustedRoot(w.TrustedRoot(), RootOptions{Obtained: now, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sig := []byte("signature")
	ts := w.Timestamp(sig, now)
	if at, err := VerifyTimestamp(ts, sig, load(w), nil); err != nil || !at.Equal(now) {
		t.Fatalf("%s %v", at, err)
	}
	for name, f := range map[string]func() error{
		"other signature": func() error { _, err := VerifyTimestamp(ts, []byte("other"), load(w), nil); return err },
		"other authority": func() error { _, err := VerifyTimestamp(ts, sig, load(other), nil); return err },
		"no authority":    func() error { _, err := VerifyTimestamp(ts, sig, nil, nil); return err },
		"malformed": func() error {
			_, err := VerifyTimestamp([]byte(hex.EncodeToString(sig)), sig, load(w), nil)
			return err
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`), false)
	f.Fuzz(func(t *testing.T, b []byte, folder bool) {
		if c, err := Peek(b, folder); err == nil && c.Signature == nil {
			t.Fatal("a bundle without a signature")
		}
	})
}
