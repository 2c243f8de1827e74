package verification

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/authenticode"
	"github.com/headgate/headgate/trust/checksums"
	"github.com/headgate/headgate/trust/cms"
	"github.com/headgate/headgate/trust/dsse"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// VerifyChecksums verifies an artifact by a list of checksums that is signed:
// the documents are over the list, or one of them is a clearsigned list. The list
// has to name the artifact by its file name.
func VerifyChecksums(a *Artifact, list *Artifact, docs []Document, x Expectation) ([]*Result, error) {
	if len(x.Types) > 0 {
		return nil, trust.Misconfigured("a list of checksums is no attestation")
	}
	text := []byte(nil)
	var err error
	if list != nil {
		if text, err = list.bytes("checksums"); err != nil {
			return nil, err
		}
	}
	var rs []*Result
	if len(docs) == 0 && Sniff(text) == FormatClearsigned {
		docs = []Document{{Name: list.Name, Data: text}}
	}
	if len(docs) == 1 && Sniff(docs[0].Data) == FormatClearsigned {
		if err := x.Validate(); err != nil {
			return nil, err
		}
		if x.RequireLog {
			return nil, trust.Failure(trust.ReasonBadSignature, "a clearsigned list is in no transparency log")
		}
		var r *Result
		if r, text, err = x.clearsigned(docs[0]); err != nil {
			return nil, err
		}
		rs = []*Result{r}
	} else {
		if list == nil {
			return nil, trust.Misconfigured("no list of checksums")
		}
		if rs, err = Verify(BytesArtifact(list.Name, text), docs, x); err != nil {
			return nil, err
		}
	}
	l, err := checksums.Parse(text)
	if err != nil {
		return nil, err
	}
	stated, err := l.Find(a.Name)
	if err != nil {
		return nil, trust.Failure(trust.ReasonWrongSubject, "the signed list does not vouch for the file: %w", err)
	}
	var algs []trust.Algorithm
	for _, d := range stated {
		algs = append(algs, d.Algorithm)
	}
	have, err := a.Digests(algs...)
	if err != nil {
		return nil, err
	}
	if err := l.Check(a.Name, have); err != nil {
		return nil, err
	}
	for _, r := range rs {
		r.Notes = append(r.Notes, "signed is a list of checksums that names "+a.Name)
	}
	return rs, nil
}

func (x *Expectation) clearsigned(d Document) (*Result, []byte, error) {
	if x.mode() == byIdentity {
		return nil, nil, wrongKind(FormatClearsigned)
	}
	ring := openpgp.NewKeyring(x.keys().OpenPGP...)
	v, err := openpgp.VerifyClearsigned(d.Data, openpgp.Want{Keys: ring, Now: x.Now})
	if err != nil {
		return nil, nil, err
	}
	r, err := x.pgpResult(v)
	if err != nil {
		return nil, nil, err
	}
	r.Document, r.Format = d.Name, FormatClearsigned
	return r, v.Text(), nil
}

func (x *Expectation) pgpResult(v *openpgp.Verified) (*Result, error) {
	var first error
	r := &Result{ClaimedAt: v.ClaimedTime(), Notes: []string{"the time is the signer's own word"}}
	for _, s := range v.Signers() {
		by, err := x.accept(s, nil)
		if errors.Is(err, ErrRevoked) {
			return nil, err
		}
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		if r.Signer.Kind == "" {
			r.Signer, r.AcceptedBy = s, by
		}
	}
	if r.Signer.Kind == "" {
		return nil, first
	}
	return r, nil
}

func wrongKind(f Format) error {
	return trust.Failure(trust.ReasonUntrustedSigner, "the signature is %s, a certificate identity is expected", f)
}

// detached verifies signatures over the artifact's bytes.
func (t *target) detached(f Format, d Document, x *Expectation) (*Result, error) {
	a := t.artifact
	keys := x.keys()
	if x.mode() == byIdentity && f != FormatCMS && (f != FormatBare || d.Certificate == nil) {
		return nil, wrongKind(f)
	}
	switch f {
	case FormatOpenPGP:
		r, err := a.reader(f)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		v, err := openpgp.VerifyDetached(r, derOfPGP(d.Data), openpgp.Want{Keys: openpgp.NewKeyring(keys.OpenPGP...), Now: x.Now})
		if err != nil {
			return nil, err
		}
		return x.pgpResult(v)
	case FormatClearsigned:
		r, text, err := x.clearsigned(d)
		if err != nil {
			return nil, err
		}
		b, err := a.bytes(f)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(bytes.TrimRight(b, "\n"), bytes.TrimRight(text, "\n")) {
			return nil, trust.Failure(trust.ReasonWrongDigest, "the clearsigned text is not %s", clip(a.Name))
		}
		return r, nil
	case FormatMinisign, FormatSignify:
		r, err := a.reader(f)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		format := minisign.Minisign
		if f == FormatSignify {
			format = minisign.Signify
		}
		v, err := minisign.Verify(r, d.Data, minisign.Want{Format: format, Keys: keys.Minisign})
		if err != nil {
			return nil, err
		}
		out := &Result{Signer: v.Signer()}
		if c := v.TrustedComment(); c != "" {
			out.Notes = append(out.Notes, "signed comment: "+c)
		}
		out.AcceptedBy, err = x.accept(out.Signer, nil)
		return orNil(out, err)
	case FormatSSH:
		if len(keys.SSH) == 0 {
			return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed with an SSH key, and none is at hand; name it with --key")
		}
		r, err := a.reader(f)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		v, err := sshsig.Verify(r, d.Data, sshsig.Want{Namespace: sshsig.NamespaceFile, Keys: keys.SSH})
		if err != nil {
			return nil, err
		}
		out := &Result{Signer: v.Signer(), Notes: []string{"an SSH signature carries no time"}}
		out.AcceptedBy, err = x.accept(out.Signer, nil)
		return orNil(out, err)
	case FormatCMS:
		return t.cms(d, x)
	}
	return t.bare(d, x)
}

func orNil(r *Result, err error) (*Result, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// derOfPGP trims blanks around armour, which editors add; a binary signature stays as it is.
func derOfPGP(b []byte) []byte {
	if text := bytes.TrimSpace(b); bytes.HasPrefix(text, []byte("-----")) {
		return append(bytes.Clone(text), '\n')
	}
	return b
}

// roots are the certificates that chains may end in or pass, for X.509 signers.
func (x *Expectation) roots() (roots, intermediates []*x509.Certificate) {
	list := x.Roots
	switch x.mode() {
	case byAccepted:
		list = append(slices.Clone(x.Roots), x.KnownKeys.Certificates...)
	case byKey:
		list = nil
	}
	for _, c := range list {
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			roots = append(roots, c)
		} else {
			intermediates = append(intermediates, c)
		}
	}
	return roots, intermediates
}

func (t *target) cms(d Document, x *Expectation) (*Result, error) {
	sd, err := cms.Parse(derOf(d.Data))
	if err != nil {
		return nil, err
	}
	content, err := t.artifact.bytes(FormatCMS)
	if err != nil {
		return nil, err
	}
	if !sd.ContentType().Equal(cms.OIDData) {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "CMS signature over content of type %s", sd.ContentType())
	}
	if inner, ok := sd.Content(); ok && !bytes.Equal(inner, content) {
		return nil, trust.Failure(trust.ReasonWrongDigest, "the CMS signature is over other bytes")
	}
	if len(sd.Signers()) != 1 {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "CMS signature with %d signers", len(sd.Signers()))
	}
	signer := sd.Signers()[0]
	sig, err := sd.Verify(signer, content)
	if err != nil {
		return nil, err
	}
	out := &Result{}
	at := x.Now
	for _, u := range signer.Unsigned() {
		if !u.Type.Equal(cms.OIDTimestamp) || len(u.Values) != 1 {
			continue
		}
		ts, err := cms.VerifyTimestamp(u.Values[0], signer.Signature(), x.TimestampRoots, sd.Certificates())
		if err != nil {
			return nil, err
		}
		at, out.SignedAt = ts.Time(), ts.Time()
		out.Times = []sigstore.SignedTime{{Time: ts.Time(), By: "timestamp-authority"}}
	}
	return x.certificate(out, sig.Certificate, sd.Certificates(), at)
}

// certificate judges the certificate behind a sound signature.
func (x *Expectation) certificate(out *Result, cert *x509.Certificate, more []*x509.Certificate, at time.Time) (*Result, error) {
	if x.mode() == byKey {
		for _, pub := range x.Keys.publicKeys() {
			if spki(pub) == spki(cert.PublicKey) && spki(pub) != "" {
				out.Signer = keySigner(pub)
				return out, nil
			}
		}
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "signed with the certificate of %q, which is none of the given keys", clip(cert.Subject.String()))
	}
	roots, inter := x.roots()
	if len(roots) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed with a certificate of %q, and no root is at hand; name it with --certificate-chain", clip(cert.Issuer.String()))
	}
	usage := x509.ExtKeyUsageCodeSigning
	if len(cert.ExtKeyUsage) > 0 && !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) && slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageEmailProtection) {
		usage = x509.ExtKeyUsageEmailProtection
	}
	chain, err := cms.Chain(cert, append(inter, more...), roots, at, usage)
	if err != nil {
		return nil, err
	}
	out.Signer = cms.Signer(chain)
	if out.SignedAt.IsZero() {
		out.Notes = append(out.Notes, "nobody witnessed when: the certificate counts because it is valid now")
	}
	out.AcceptedBy, err = x.accept(out.Signer, cert)
	return orNil(out, err)
}

// byCertificate verifies a bundle that is signed with a certificate of an
// authority of one's own: no log entry, RFC 3161 timestamps.
func (t *target) byCertificate(c sigstore.Content, cert *x509.Certificate, x *Expectation) (*Result, error) {
	if c.Entries > 0 {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "log entries of bundles with a certificate of an authority of one's own are not judged")
	}
	out := &Result{}
	var opts []signature.LoadOption
	if c.Payload == nil {
		opts = append(opts, options.WithED25519ph())
	}
	v, err := signature.LoadDefaultVerifier(cert.PublicKey, opts...)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the certificate's key: %w", err)
	}
	if c.Payload != nil {
		st, err := t.parse(c.Payload)
		if err != nil {
			return nil, err
		}
		if err := v.VerifySignature(bytes.NewReader(c.Signature), bytes.NewReader(dsse.PAE(sigstore.PayloadType, c.Payload))); err != nil {
			return nil, trust.Failure(trust.ReasonBadSignature, "verifying the envelope: %w", err)
		}
		if !slices.Contains(t.types, st.PredicateType) {
			return nil, trust.Failure(trust.ReasonWrongPredicate, "attestation is of type %q", clip(st.PredicateType))
		}
		if err := t.subjects(st.Subjects); err != nil {
			return nil, trust.Failure(trust.ReasonWrongSubject, "%w", err)
		}
		out.Statement = &st
	} else {
		ds, err := t.artifact.Digests(c.Digest.Algorithm)
		if err != nil {
			return nil, err
		}
		have := ds.Get(c.Digest.Algorithm)
		if !have.Equal(c.Digest) {
			return nil, trust.Failure(trust.ReasonWrongDigest, "signature is for %s, the artifact is %s", c.Digest, have)
		}
		if err := v.VerifySignature(bytes.NewReader(c.Signature), nil, options.WithDigest(have.Bytes()), options.WithCryptoSignerOpts(cryptoHash(have.Algorithm))); err != nil {
			return nil, trust.Failure(trust.ReasonBadSignature, "verifying the signature: %w", err)
		}
	}
	at := x.Now
	var root *sigstore.Root
	if len(c.Timestamps) > 0 && len(x.TimestampRoots) == 0 {
		if root, err = x.needRoot(); err != nil {
			return nil, err
		}
	}
	for _, ts := range c.Timestamps {
		when, err := sigstore.VerifyTimestamp(ts, c.Signature, root, x.TimestampRoots)
		if err != nil {
			return nil, err
		}
		out.Times = append(out.Times, sigstore.SignedTime{Time: when, By: "timestamp-authority"})
		if out.SignedAt.IsZero() || when.Before(out.SignedAt) {
			out.SignedAt = when
		}
		at = out.SignedAt
	}

	return x.certificate(out, cert, nil, at)
}

func cryptoHash(alg trust.Algorithm) crypto.SignerOpts {
	return map[trust.Algorithm]crypto.Hash{trust.SHA256: crypto.SHA256, trust.SHA384: crypto.SHA384, trust.SHA512: crypto.SHA512}[alg]
}

// envelope verifies a DSSE envelope that stands alone, signed by keys.
func (t *target) envelope(b []byte, x *Expectation) (*Result, error) {
	if x.mode() == byIdentity {
		return nil, wrongKind(FormatDSSE)
	}
	env, err := dsse.Parse(b)
	if err != nil {
		return nil, err
	}
	var keys []dsse.Key
	for _, pub := range x.keys().publicKeys() {
		k, err := dsse.NewKey(pub)
		if err != nil {
			return nil, trust.Misconfigured("%w", err)
		}
		if !slices.ContainsFunc(keys, func(o dsse.Key) bool { return o.Identity() == k.Identity() }) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "the envelope is signed with a key, and none is at hand; name it with --key")
	}
	v, err := dsse.Verify(env, sigstore.PayloadType, keys, 1)
	if err != nil {
		return nil, err
	}
	st, err := t.parse(v.Payload())
	if err != nil {
		return nil, err
	}
	if !slices.Contains(t.types, st.PredicateType) {
		return nil, trust.Failure(trust.ReasonWrongPredicate, "attestation is of type %q", clip(st.PredicateType))
	}
	if err := t.subjects(st.Subjects); err != nil {
		return nil, trust.Failure(trust.ReasonWrongSubject, "%w", err)
	}
	out := &Result{Statement: &st, Notes: []string{"signed by a key alone: no log entry, and nobody witnessed when"}}
	var first error
	for _, s := range v.Signers() {
		s.KeyID = ""
		out.Signer = s
		if out.AcceptedBy, err = x.acceptKey(out); err == nil {
			return out, nil
		} else if first == nil {
			first = err
		}
	}
	return nil, first
}

// bare verifies a signature that is nothing but its bytes: by keys, or by the
// certificate that came with it, under roots that the caller named.
func (t *target) bare(d Document, x *Expectation) (*Result, error) {
	sig := bareBytes(d.Data)
	if len(sig) > sshsig.MaxSignature {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "a signature of no known format")
	}
	if d.Certificate != nil {
		cert, err := certificateOf(d.Certificate)
		if err != nil {
			return nil, err
		}
		if fulcio(cert) {
			return nil, trust.Undecidable(trust.ReasonNotPublished, "a keyless signature needs its log entry: give the bundle")
		}
		if err := t.bareBy(cert.PublicKey, sig); err != nil {
			return nil, err
		}
		return x.certificate(&Result{}, cert, nil, x.Now)
	}
	keys := x.keys().publicKeys()
	if len(keys) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "a bare signature, and no key is at hand; name it with --key")
	}
	var first error
	for _, pub := range keys {
		if err := t.bareBy(pub, sig); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		out := &Result{Signer: keySigner(pub), Notes: []string{"signed by a key alone: no log entry, and nobody witnessed when"}}
		var err error
		out.AcceptedBy, err = x.acceptKey(out)
		return orNil(out, err)
	}
	return nil, first
}

// bareBy checks a signature as "cosign sign-blob" and OpenSSL make it: over the
// SHA-256 of the bytes, or over the bytes by Ed25519.
func (t *target) bareBy(pub crypto.PublicKey, sig []byte) error {
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return trust.Undecidable(trust.ReasonUnsupported, "the key: %w", err)
	}
	if _, ok := v.(*signature.ED25519Verifier); ok {
		b, err := t.artifact.bytes(FormatBare)
		if err != nil {
			return err
		}
		if err := v.VerifySignature(bytes.NewReader(sig), bytes.NewReader(b)); err != nil {
			return trust.Failure(trust.ReasonBadSignature, "the signature does not verify: %w", err)
		}
		return nil
	}
	ds, err := t.artifact.Digests(trust.SHA256)
	if err != nil {
		return err
	}
	sum := ds.Get(trust.SHA256)
	if sum.IsZero() {
		return trust.Misconfigured("a bare signature is over the file's SHA-256: name the file, or that digest")
	}
	if err := v.VerifySignature(bytes.NewReader(sig), nil, options.WithDigest(sum.Bytes())); err != nil {
		return trust.Failure(trust.ReasonBadSignature, "the signature does not verify: %w", err)
	}
	return nil
}

// VerifyAuthenticode verifies the signatures inside a PE file. ErrNoSignature
// says that it has none, or is no PE file.
func VerifyAuthenticode(a *Artifact, x Expectation) ([]*Result, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	if len(x.Types) > 0 || a.open == nil || x.RequireLog {
		return nil, ErrNoSignature
	}
	r, err := a.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ra, ok := r.(interface {
		ReadAt(p []byte, off int64) (int, error)
	})
	if !ok {
		return nil, fmt.Errorf("%s cannot be read at random", a.Name)
	}
	f, err := authenticode.Open(ra, a.size)
	if errors.Is(err, authenticode.ErrNotPE) || (err == nil && len(f.Signatures()) == 0) {
		return nil, ErrNoSignature
	}
	if err != nil {
		return nil, err
	}
	roots, _ := x.roots()
	want := authenticode.Want{Roots: roots, TimestampRoots: x.TimestampRoots, Now: x.Now}
	if x.mode() == byKey {
		for _, c := range x.Keys.Certificates {
			want.Pinned = append(want.Pinned, cms.Fingerprint(c))
		}
	}
	if len(want.Roots)+len(want.Pinned) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "signed with Authenticode, and no root is at hand; name it with --certificate-chain")
	}
	var out []*Result
	var first error
	for _, s := range f.Signatures() {
		v, err := s.Verify(want)
		res := &Result{Document: a.Name, Format: FormatAuthenticode}
		if err == nil {
			res.Signer, res.SignedAt = v.Signer(), v.SignedAt()
			res.AcceptedBy, err = x.accept(res.Signer, s.Certificate())
			for _, e := range v.Extras() {
				res.Notes = append(res.Notes, fmt.Sprintf("not covered by the signature: %s %s, %d bytes", e.Kind, e.Name, e.Size))
			}
		}
		if err != nil {
			if errors.Is(err, ErrRevoked) {
				return nil, err
			}
			if first == nil {
				first = err
			}
			continue
		}
		out = append(out, res)
	}
	if len(out) == 0 {
		return nil, first
	}
	return out, nil
}
