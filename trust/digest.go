package trust

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Algorithm names a digest algorithm as the in-toto digest set does
// (https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md).
type Algorithm string

// The algorithms that lock files, registries and statements use.
const (
	MD5       Algorithm = "md5"
	SHA1      Algorithm = "sha1"
	SHA256    Algorithm = "sha256"
	SHA384    Algorithm = "sha384"
	SHA512    Algorithm = "sha512"
	GitCommit Algorithm = "gitCommit" // SHA-1 or SHA-256 object id of a git commit
	DirHash1  Algorithm = "dirHash1"  // Go's "h1:" hash over the files of a module zip, or over a go.mod file
	// NuGetContent is NuGet's contentHash: SHA-512 over the package with its
	// signature removed. It differs from the SHA-512 of the file for signed packages.
	NuGetContent Algorithm = "nugetContentHash"
	// YarnCache is Yarn Berry's checksum of its own cache archive (SHA-512 of a
	// zip that Yarn makes). It says nothing about the bytes that upstream serves.
	YarnCache Algorithm = "yarnCache"
)

// hexLen is the number of hex digits of each algorithm; gitCommit has two.
var hexLen = map[Algorithm][]int{
	MD5: {32}, SHA1: {40}, SHA256: {64}, SHA384: {96}, SHA512: {128},
	GitCommit: {40, 64}, DirHash1: {64}, NuGetContent: {128}, YarnCache: {128},
}

// strength orders algorithms that can stand for the bytes of an artifact.
var strength = map[Algorithm]int{
	MD5: 1, SHA1: 2, SHA256: 10, DirHash1: 10, SHA384: 11, SHA512: 12, NuGetContent: 12,
}

// Digest is one hash value. Value is lower-case hex, whatever the spelling
// upstream was; the zero Digest is no digest.
type Digest struct {
	Algorithm Algorithm `json:"algorithm"`
	Value     string    `json:"value"`
}

// NewDigest checks algorithm and length and returns the digest with its value
// in lower case.
func NewDigest(alg Algorithm, hexValue string) (Digest, error) {
	lens, ok := hexLen[alg]
	if !ok {
		return Digest{}, fmt.Errorf("unknown digest algorithm %q", alg)
	}
	v := strings.ToLower(hexValue)
	if !slices.Contains(lens, len(v)) {
		return Digest{}, fmt.Errorf("%s digest has %d hex digits", alg, len(v))
	}
	for i := range len(v) {
		if c := v[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Digest{}, fmt.Errorf("%s digest is not hexadecimal", alg)
		}
	}
	return Digest{Algorithm: alg, Value: v}, nil
}

// DigestOf makes a Digest from raw hash bytes; it panics on a length that does
// not belong to the algorithm, which only a programming error can produce.
func DigestOf(alg Algorithm, sum []byte) Digest {
	d, err := NewDigest(alg, hex.EncodeToString(sum))
	if err != nil {
		panic("trust: " + err.Error())
	}
	return d
}

// ParseDigest reads "sha256:<hex>", Go's "h1:<base64>" and a single SRI token
// "sha512-<base64>".
func ParseDigest(s string) (Digest, error) {
	if v, ok := strings.CutPrefix(s, "h1:"); ok {
		return decode64(DirHash1, v)
	}
	if alg, v, ok := strings.Cut(s, ":"); ok {
		return NewDigest(Algorithm(alg), v)
	}
	if alg, v, ok := strings.Cut(s, "-"); ok {
		switch Algorithm(alg) {
		case MD5, SHA1, SHA256, SHA384, SHA512:
			return decode64(Algorithm(alg), v)
		}
		return Digest{}, fmt.Errorf("unknown integrity algorithm %q", truncate(alg))
	}
	return Digest{}, fmt.Errorf("%q is no digest", truncate(s))
}

func decode64(alg Algorithm, v string) (Digest, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(v)
	if err != nil {
		return Digest{}, fmt.Errorf("%s digest is not base64", alg)
	}
	return NewDigest(alg, hex.EncodeToString(b))
}

// ParseSRI reads a Subresource Integrity string as npm writes it: tokens
// separated by white space, options after "?" ignored. Every token must be
// known and well formed: a half-readable integrity is not an integrity.
func ParseSRI(s string) (Digests, error) {
	var ds Digests
	for tok := range strings.FieldsSeq(s) {
		tok, _, _ = strings.Cut(tok, "?")
		d, err := ParseDigest(tok)
		if err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	if len(ds) == 0 {
		return nil, fmt.Errorf("empty integrity")
	}
	return ds, nil
}

// Bytes returns the raw hash value.
func (d Digest) Bytes() []byte {
	b, err := hex.DecodeString(d.Value)
	if err != nil {
		return nil
	}
	return b
}

// IsZero reports whether d is no digest at all.
func (d Digest) IsZero() bool { return d.Algorithm == "" }

// Strong reports whether d can stand for an artifact's bytes against an
// attacker; MD5, SHA-1 and caches' own sums cannot.
func (d Digest) Strong() bool { return strength[d.Algorithm] >= 10 }

// Equal compares algorithm and value; two zero digests are not equal.
func (d Digest) Equal(o Digest) bool {
	return !d.IsZero() && d.Algorithm == o.Algorithm && subtle.ConstantTimeCompare([]byte(d.Value), []byte(o.Value)) == 1
}

// SRI returns the digest as an integrity token, "sha512-<base64>".
func (d Digest) SRI() string {
	return string(d.Algorithm) + "-" + base64.StdEncoding.EncodeToString(d.Bytes())
}

// String returns the form that ParseDigest reads: Go's "h1:<base64>" for
// dirHash1, "algorithm:<hex>" for all others.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	if d.Algorithm == DirHash1 {
		return "h1:" + base64.StdEncoding.EncodeToString(d.Bytes())
	}
	return string(d.Algorithm) + ":" + d.Value
}

// Digests are the hashes that one source states of one artifact.
type Digests []Digest

// Get returns the digest of the algorithm, or the zero Digest.
func (ds Digests) Get(alg Algorithm) Digest {
	for _, d := range ds {
		if d.Algorithm == alg {
			return d
		}
	}
	return Digest{}
}

// Strongest returns the strongest digest that can stand for the bytes, or the
// zero Digest; weak ones are never returned.
func (ds Digests) Strongest() Digest {
	var best Digest
	for _, d := range ds {
		if d.Strong() && strength[d.Algorithm] > strength[best.Algorithm] {
			best = d
		}
	}
	return best
}

// Agreement is the result of comparing what two sources state of one artifact.
type Agreement int

// Agreements. Incomparable is not agreement: no strong algorithm is shared.
const (
	Incomparable Agreement = iota
	Agree
	Disagree
)

// Compare compares all algorithms that both sides state. One difference is
// disagreement; agreement needs at least one strong algorithm in common.
func (ds Digests) Compare(other Digests) Agreement {
	res := Incomparable
	for _, a := range ds {
		for _, b := range other {
			if a.Algorithm != b.Algorithm {
				continue
			}
			if !a.Equal(b) {
				return Disagree
			}
			if a.Strong() {
				res = Agree
			}
		}
	}
	return res
}

// truncate shortens upstream text for an error message.
func truncate(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
