package trust

import (
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	hex64 := strings.Repeat("Ab", 32)
	for in, want := range map[string]string{
		"sha256:" + hex64: "sha256:" + strings.ToLower(hex64),
		"h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=":     "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		d, err := ParseDigest(in)
		if err != nil || d.String() != want {
			t.Errorf("%s: %s, %v", in, d, err)
		}
		if again, err := ParseDigest(d.String()); err != nil || !again.Equal(d) {
			t.Errorf("%s does not round trip: %v", in, err)
		}
	}
}

// TestThreat077UnusableIntegrity: what cannot be read in full is no digest.
func TestThreat077UnusableIntegrity(t *testing.T) {
	for _, in := range []string{
		"", "sha256", "sha256:", "sha256-", "sha256:" + strings.Repeat("a", 63), "sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("a", 65),
		"sha512-AAAA", "sha3-AAAA", "crc32:00000000", "h1:", "h1:AAAA", "SHA256:" + strings.Repeat("a", 64), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
	} {
		if d, err := ParseDigest(in); err == nil {
			t.Errorf("%q is %v", in, d)
		}
		if ds, err := ParseSRI(in); err == nil {
			t.Errorf("%q is integrity %v", in, ds)
		}
	}
	if _, err := ParseSRI("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= sha999-AAAA"); err == nil {
		t.Error("half of an integrity was read")
	}
}

// TestThreat079And080WeakDigests: weak algorithms never agree on bytes.
func TestThreat079And080WeakDigests(t *testing.T) {
	mk := func(a Algorithm, c string) Digest {
		d, err := NewDigest(a, strings.Repeat(c, hexLen[a][0]))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, a := range []Algorithm{MD5, SHA1, YarnCache, GitCommit} {
		ds := Digests{mk(a, "a")}
		if !ds.Strongest().IsZero() {
			t.Errorf("%s stands for bytes", a)
		}
		if got := ds.Compare(ds); got != Incomparable {
			t.Errorf("%s alone: %d", a, got)
		}
		if got := ds.Compare(Digests{mk(a, "b")}); got != Disagree {
			t.Errorf("%s differs: %d", a, got)
		}
	}
	lock, registry := Digests{mk(SHA512, "a")}, Digests{mk(SHA1, "a")}
	if got := lock.Compare(registry); got != Incomparable {
		t.Errorf("no common algorithm: %d", got)
	}
	both := Digests{mk(SHA256, "a"), mk(SHA1, "b")}
	if got := both.Compare(Digests{mk(SHA256, "a"), mk(SHA1, "c")}); got != Disagree {
		t.Errorf("one difference: %d", got)
	}
	if got := both.Compare(Digests{mk(SHA256, "a")}); got != Agree {
		t.Errorf("one strong agreement: %d", got)
	}
	if (Digest{}).Equal(Digest{}) {
		t.Error("two zero digests are equal")
	}
	if got := (Digests{mk(SHA256, "a"), mk(SHA512, "a"), mk(SHA384, "a")}).Strongest().Algorithm; got != SHA512 {
		t.Errorf("strongest %s", got)
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add("sha512-" + strings.Repeat("A", 86) + "==")
	f.Add("h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil {
			return
		}
		again, err := ParseDigest(d.String())
		if err != nil || !again.Equal(d) {
			t.Fatalf("%q → %q: %v", s, d, err)
		}
	})
}
