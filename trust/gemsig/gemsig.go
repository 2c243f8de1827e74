package gemsig

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/cms"
)

// Bounds of a gem.
const (
	MaxEntries       = 64       // entries of the outer archive
	MaxSpecification = 16 << 20 // bytes of metadata.gz, packed and unpacked
	MaxSignature     = 64 << 10 // bytes of one signature
	MaxChain         = 16       // certificates of the specification
	MinRSABits       = 2048
)

// parts are the entries that are signed; checksums came with RubyGems 2.0.
var parts = []string{"metadata.gz", "data.tar.gz", "checksums.yaml.gz"}

// Want is which gem it should be, and who may have signed.
type Want struct {
	Name, Version string
	Platform      string // "" for ruby
	// Roots are the certificates that were pinned: of signers, or of authorities.
	Roots []*x509.Certificate
	Now   time.Time
}

// Verified is a gem with a valid signature under a pinned certificate.
type Verified struct{ signer trust.Signer }

// Signer is the certificate that signed, under the pinned one.
func (v *Verified) Signer() trust.Signer { return v.signer }

// ErrUnsigned says that a gem has no signature at all.
var ErrUnsigned = errors.New("the gem is not signed with a certificate")

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, "reading the gem: "+format, args...)
}

// contents are what is read of a gem.
type contents struct {
	sums       map[string][2]hash.Hash // SHA-256 and SHA-1 of each part
	signatures map[string][]byte
	spec       []byte // packed
	// stray is the first entry that is no part and no signature of one, quoted; other
	// is the first header that readers of archives take for different things, quoted.
	stray, other string
}

func read(r io.Reader) (*contents, error) {
	c := &contents{sums: map[string][2]hash.Hash{}, signatures: map[string][]byte{}}
	plain := &plainHeaders{r: r}
	t := tar.NewReader(plain)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			c.other = plain.other
			return c, nil
		}
		switch {
		case err != nil:
			return nil, malformed("%w", err)
		case n == MaxEntries:
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the gem has more than %d entries", MaxEntries)
		case h.Typeflag != tar.TypeReg:
			return nil, malformed("%.80q is no file", h.Name)
		}
		part := slices.Contains(parts, h.Name)
		of, signs := bytes.CutSuffix([]byte(h.Name), []byte(".sig"))
		switch {
		case part:
			if _, twice := c.sums[h.Name]; twice {
				return nil, trust.Failure(trust.ReasonDuplicate, "the gem has two entries %s", h.Name)
			}
			s := [2]hash.Hash{crypto.SHA256.New(), crypto.SHA1.New()}
			w := io.MultiWriter(s[0], s[1])
			var spec bytes.Buffer
			if h.Name == parts[0] {
				if h.Size > MaxSpecification {
					return nil, trust.Undecidable(trust.ReasonTooLarge, "the gem's specification has more than %d bytes", MaxSpecification)
				}
				w = io.MultiWriter(w, &spec)
			}
			if _, err := io.Copy(w, t); err != nil {
				return nil, malformed("%s: %w", h.Name, err)
			}
			c.sums[h.Name] = s
			if h.Name == parts[0] {
				c.spec = spec.Bytes()
			}
		case signs && slices.Contains(parts, string(of)):
			if _, twice := c.signatures[string(of)]; twice {
				return nil, trust.Failure(trust.ReasonDuplicate, "the gem has two entries %s", h.Name)
			}
			b, err := io.ReadAll(io.LimitReader(t, MaxSignature+1))
			if err != nil || len(b) > MaxSignature {
				return nil, malformed("%s has more than %d bytes or is cut off", h.Name, MaxSignature)
			}
			c.signatures[string(of)] = b
		case c.stray == "":
			c.stray = fmt.Sprintf("%.100q", h.Name)
		}
	}
}

// specification is what is read of a gem's YAML.
type specification struct {
	name, version, platform string
	chain                   []*x509.Certificate
}

func parse(packed []byte) (*specification, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, malformed("metadata.gz: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, MaxSpecification+1))
	switch {
	case err != nil:
		return nil, malformed("metadata.gz: %w", err)
	case len(text) > MaxSpecification:
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the gem's specification has more than %d bytes", MaxSpecification)
	}
	// YAML with Ruby's own tags; only plain values are read.
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return nil, malformed("its specification is no YAML: %v", err)
	}
	var wrong error
	get := func(n *yaml.Node, key string) *yaml.Node {
		var found *yaml.Node
		for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value != key {
				continue
			}
			if found != nil {
				wrong = malformed("its specification states %q twice", key)
			}
			found = n.Content[i+1]
		}
		return found
	}
	text1 := func(n *yaml.Node) string {
		if n == nil || n.Kind != yaml.ScalarNode {
			return ""
		}
		return n.Value
	}
	root := doc.Content[0]
	s := &specification{name: text1(get(root, "name")), version: text1(get(get(root, "version"), "version")), platform: text1(get(root, "platform"))}
	if list := get(root, "cert_chain"); list != nil {
		if len(list.Content) > MaxChain {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the gem carries more than %d certificates", MaxChain)
		}
		for _, n := range list.Content {
			b, rest := pem.Decode([]byte(text1(n)))
			if b == nil || b.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
				return nil, malformed("its certificate chain is no PEM")
			}
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, malformed("its certificate chain: %w", err)
			}
			s.chain = append(s.chain, c)
		}
	}
	return s, wrong
}

func (s *specification) names(w Want) error {
	platform := s.platform
	if platform == "ruby" {
		platform = ""
	}
	switch {
	case s.name != w.Name:
		return trust.Failure(trust.ReasonWrongName, "the gem calls itself %.100q", s.name)
	case s.version != w.Version:
		return trust.Failure(trust.ReasonWrongVersion, "the gem says of itself that it is version %.100q", s.version)
	case platform != w.Platform:
		return trust.Failure(trust.ReasonWrongName, "the gem says of itself that it is for %.100q", s.platform)
	}
	return nil
}

// Verify checks the signatures of a gem. ErrUnsigned says that it has none.
func Verify(r io.Reader, w Want) (*Verified, error) {
	if w.Now.IsZero() {
		return nil, trust.Misconfigured("verifying a gem's certificate needs the time")
	}
	c, err := read(r)
	if err != nil {
		return nil, err
	}
	if c.spec == nil || c.sums["data.tar.gz"][0] == nil {
		return nil, malformed("it has no specification or no data")
	}
	s, err := parse(c.spec)
	if err != nil {
		return nil, err
	}
	if len(c.signatures) == 0 && len(s.chain) == 0 {
		return nil, &trust.VerifyError{Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Err: ErrUnsigned}
	}
	if err := s.names(w); err != nil {
		return nil, err
	}
	if len(s.chain) == 0 {
		return nil, malformed("it is signed and carries no certificate")
	}
	// An entry beside the parts is not signed, and RubyGems may read it instead of one:
	// "metadata" is a specification too, and it drops spaces at the end of names.
	switch {
	case c.stray != "":
		return nil, trust.Failure(trust.ReasonStripped, "the gem is signed, and its entry %s is not", c.stray)
	case c.other != "":
		return nil, malformed("%s has a header of another kind than those of gems, which may hide another file", c.other)
	}
	leaf := s.chain[len(s.chain)-1]
	for _, part := range parts {
		sums, ok := c.sums[part]
		sig, signed := c.signatures[part]
		switch {
		case !ok && signed:
			return nil, malformed("%s is signed and not there", part)
		case !ok:
			continue
		case !signed:
			return nil, trust.Failure(trust.ReasonStripped, "the gem is signed, and its %s is not", part)
		}
		if err := check(leaf, sums, sig); err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
	}
	chain, err := chainOf(leaf, s.chain, w)
	if err != nil {
		return nil, err
	}
	return &Verified{signer: cms.Signer(chain)}, nil
}

// check verifies one signature. RubyGems signs the digest of a part as if it were
// a message, so that it is hashed twice.
func check(leaf *x509.Certificate, sums [2]hash.Hash, sig []byte) error {
	pub, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return trust.Undecidable(trust.ReasonUnsupported, "keys of type %T are not supported", leaf.PublicKey)
	}
	if pub.N.BitLen() < MinRSABits || pub.N.BitLen() > cms.MaxRSABits {
		return trust.Undecidable(trust.ReasonUnsupported, "the RSA key of %.100q has %d bits, which is not %d to %d", leaf.Subject, pub.N.BitLen(), MinRSABits, cms.MaxRSABits)
	}
	twice := func(h crypto.Hash, sum []byte) []byte {
		d := h.New()
		d.Write(sum)
		return d.Sum(nil)
	}
	if rsa.VerifyPKCS1v15(pub, crypto.SHA256, twice(crypto.SHA256, sums[0].Sum(nil)), sig) == nil {
		return nil
	}
	if rsa.VerifyPKCS1v15(pub, crypto.SHA1, twice(crypto.SHA1, sums[1].Sum(nil)), sig) == nil {
		return trust.Undecidable(trust.ReasonUnsupported, "the signature is sound and rests on SHA-1, as those of old gems do")
	}
	return trust.Failure(trust.ReasonBadSignature, "the signature by %.100q does not verify", leaf.Subject)
}

// chainOf is the chain to a pinned certificate. Most gems are signed with a
// certificate that signed itself: it counts if it is the pinned one.
func chainOf(leaf *x509.Certificate, others []*x509.Certificate, w Want) ([]*x509.Certificate, error) {
	if len(w.Roots) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed with the certificate of %.100q (%s), and no certificate is pinned", leaf.Subject, cms.Fingerprint(leaf))
	}
	if w.Now.Before(leaf.NotBefore) || w.Now.After(leaf.NotAfter) {
		return nil, trust.Undecidable(trust.ReasonKeyOutsideWindow, "the certificate of %.100q was valid from %s to %s, and a gem does not prove when it was signed", leaf.Subject, leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	}
	for _, r := range w.Roots {
		if r.Equal(leaf) {
			return []*x509.Certificate{leaf}, nil
		}
	}
	chain, err := cms.Chain(leaf, others, w.Roots, w.Now, x509.ExtKeyUsageAny)
	if _, why := trust.Classify(err); err != nil && why == trust.ReasonUntrustedSigner {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed with the certificate of %.100q (%s), which is under none of the %d that are pinned", leaf.Subject, cms.Fingerprint(leaf), len(w.Roots))
	}
	return chain, err
}
