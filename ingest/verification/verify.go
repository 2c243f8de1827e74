package verification

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// Bounds.
const (
	// MaxDocuments bounds the bundles that are judged together.
	MaxDocuments = 256
	// MaxKeys bounds the keys that are tried for one signature that names none.
	MaxKeys = 256
)

// Document is a signature document: what stands beside the artifact.
type Document struct {
	Name string // file name or reference, for display
	Data []byte
	// Certificate comes with a bare signature, or must be that of the bundle.
	Certificate []byte
	// Signature must be that of the bundle, where both were given.
	Signature []byte
	// MediaType and Annotations come with what cosign before version 3 attached to
	// an image; MediaType is empty for everything else.
	MediaType   string
	Annotations map[string]string
}

// Result is a signature that counts. Only this package makes one.
type Result struct {
	Document string // name of the document
	Format   Format
	Signer   trust.Signer
	// AcceptedBy says by which acceptance of the store the signer counts; empty
	// where the caller named the identity or key.
	AcceptedBy string
	// SignedAt is the earliest time that a log or timestamp authority signed; zero if
	// none did. ClaimedAt is the signer's own word.
	SignedAt  time.Time
	ClaimedAt time.Time
	Times     []sigstore.SignedTime
	Logs      []trust.LogEntry
	// Statement and Provenance are set for attestations.
	Statement  *sigstore.Statement
	Provenance *sigstore.Provenance
	// Notes are sentences that every reader must see.
	Notes []string
	Root  trust.Digest // of the trusted root
	// Instance names the private Sigstore instance that vouched.
	Instance string
}

// ErrNoSignature says that there is nothing to verify: a failure of the target,
// because whoever strips a signature must not pass.
var ErrNoSignature = trust.Failure(trust.ReasonNotOffered, "no signature of a wanted kind was found")

// target is what the signed statement has to be about.
type target struct {
	artifact *Artifact
	// subjects judges the subjects of a verified statement.
	subjects func([]sigstore.Subject) error
	types    []string
	// plain allows signatures over the bytes, without a statement.
	plain  bool
	folder bool
}

func (t *target) parse(payload []byte) (sigstore.Statement, error) {
	if t.folder {
		return sigstore.ParseFolderStatement(payload)
	}
	return sigstore.ParseStatement(payload)
}

// Verify verifies an artifact by the documents: at least one has to be of a
// wanted type, and every one that is has to verify.
func Verify(a *Artifact, docs []Document, x Expectation) ([]*Result, error) {
	t := &target{artifact: a, types: x.Types, plain: len(x.Types) == 0}
	if t.plain && !x.AnyTypeUnsafe {
		t.types = DefaultTypes
	}
	t.subjects = func(ss []sigstore.Subject) error { return matchSubjects(a, ss) }
	return t.verify(docs, &x)
}

func (t *target) verify(docs []Document, x *Expectation) ([]*Result, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	if len(docs) > MaxDocuments {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%d signature documents are more than %d", len(docs), MaxDocuments)
	}
	var all []Document
	for _, d := range docs {
		more, err := split(d)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > MaxDocuments {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "more than %d signature documents", MaxDocuments)
		}
	}
	var out []*Result
	var skipped error
	others := 0
	for _, d := range all {
		r, err := t.one(d, x)
		if err != nil {
			err = fmt.Errorf("%s: %w", d.Name, err)
			_, why := trust.Classify(err)
			// Somebody else's signature is no defect of the expected one; a revoked
			// signer and a signature that does not verify are.
			foreign := !errors.Is(err, trust.ErrConfiguration) && !errors.Is(err, ErrRevoked) && (why == trust.ReasonUntrustedSigner || why == trust.ReasonUnknownKey)
			if len(all) > 1 && (foreign || t.otherType(d)) {
				if skipped == nil || foreign {
					skipped = err
				}
				if foreign {
					others++
				}
				continue
			}
			return nil, err
		}
		out = append(out, r...)
	}
	if others > 0 && len(out) > 0 {
		out[0].Notes = append(out[0].Notes, fmt.Sprintf("%d more signatures are by others, who are not expected here", others))
	}
	if len(out) == 0 {
		if skipped != nil {
			return nil, skipped
		}
		return nil, ErrNoSignature
	}
	return out, nil
}

// sigstoreFormat reports whether a format carries log entries.
func sigstoreFormat(f Format) bool {
	return f == FormatBundle || f == FormatCosign || f == FormatPyPI || f == FormatImage
}

// split takes a file of several bundles, one a line (as "gh attestation
// download" writes it), apart.
func split(d Document) ([]Document, error) {
	text := bytes.TrimSpace(d.Data)
	if d.MediaType != "" || len(text) == 0 || text[0] != '{' || !bytes.Contains(text, []byte("}\n{")) || json1(text) {
		return []Document{d}, nil
	}
	var out []Document
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(out) >= MaxDocuments {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "%s holds more than %d bundles", d.Name, MaxDocuments)
		}
		e := d
		e.Name, e.Data = fmt.Sprintf("%s, line %d", d.Name, i+1), line
		out = append(out, e)
	}
	return out, nil
}

// json1 reports whether the text is one JSON document.
func json1(text []byte) bool {
	_, err := sigstore.CheckJSON(text)
	return err == nil
}

// otherType reports whether a document is readably an attestation of a type
// that was not asked for. Only such ones may be passed over among several.
func (t *target) otherType(d Document) bool {
	if d.MediaType != "" {
		p, ok := t.imageType(d)
		return ok && (p == "" && !t.plain || p != "" && !slices.Contains(t.types, p))
	}
	if Sniff(d.Data) != FormatBundle {
		return false
	}
	c, err := sigstore.Peek(d.Data, t.folder)
	if err != nil {
		return false
	}
	if c.Payload == nil {
		return !t.plain
	}
	st, err := t.parse(c.Payload)
	return err == nil && !slices.Contains(t.types, st.PredicateType)
}

func (t *target) one(d Document, x *Expectation) ([]*Result, error) {
	f := Sniff(d.Data)
	if d.MediaType != "" {
		f = FormatImage
	}
	if f != FormatBare && f != FormatCosign && f != FormatBundle && f != FormatImage && (d.Certificate != nil || d.Signature != nil) {
		return nil, trust.Misconfigured("a certificate or signature beside a document of format %s", f)
	}
	one := func(r *Result, err error) ([]*Result, error) {
		if err != nil {
			return nil, err
		}
		r.Document, r.Format = d.Name, f
		return []*Result{r}, nil
	}
	if x.Instance != "" && f != FormatUnknown && !sigstoreFormat(f) {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "a %s signature is none of the Sigstore instance %s", f, x.Instance)
	}
	if x.RequireLog && f != FormatUnknown && !sigstoreFormat(f) {
		return nil, trust.Failure(trust.ReasonBadSignature, "a %s signature is in no transparency log", f)
	}
	switch f {
	case FormatUnknown:
		return nil, trust.Undecidable(trust.ReasonMalformed, "the signature is empty")
	case FormatBundle:
		return one(t.bundle(d.Data, d, x))
	case FormatCosign:
		b, err := t.fromCosign(d)
		if err != nil {
			return nil, err
		}
		d.Certificate, d.Signature = nil, nil // were compared
		return one(t.bundle(b, d, x))
	case FormatImage:
		return one(t.image(d, x))
	case FormatPyPI:
		b, err := fromPyPI(d.Data)
		if err != nil {
			return nil, err
		}
		return one(t.bundle(b, d, x))
	case FormatDSSE:
		return one(t.envelope(d.Data, x))
	}
	if !t.plain {
		return nil, trust.Failure(trust.ReasonWrongPredicate, "a %s signature is no attestation, one is expected", f)
	}
	r, err := t.detached(f, d, x)
	if _, why := trust.Classify(err); err != nil && x.mode() == byKey && why == trust.ReasonUnknownKey {
		// Whose signature is expected was said: another's is no open question.
		err = trust.Failure(trust.ReasonUntrustedSigner, "by none of the keys that were given: %w", err)
	}
	return one(r, err)
}

// matchSubjects demands that one of the verified subjects is the artifact. Others
// are other artifacts of the same build; one that agrees in one digest and
// contradicts in another is a failure.
func matchSubjects(a *Artifact, ss []sigstore.Subject) error {
	var algs []trust.Algorithm
	for _, s := range ss {
		for _, d := range s.Digests {
			algs = append(algs, d.Algorithm)
		}
	}
	have, err := a.Digests(algs...)
	if err != nil {
		return err
	}
	found := false
	for _, s := range ss {
		equal, differ := 0, 0
		for _, d := range s.Digests {
			h := have.Get(d.Algorithm)
			switch {
			case h.IsZero() || !d.Strong():
			case h.Equal(d):
				equal++
			default:
				differ++
			}
		}
		if equal > 0 && differ > 0 {
			return fmt.Errorf("subject %q has one digest of the artifact and one of other bytes", clip(s.Name))
		}
		found = found || equal > 0
	}
	if !found {
		return fmt.Errorf("none of the %d signed subjects is %s (%s)", len(ss), clip(a.Name), have.Strongest())
	}
	return nil
}

// bundle verifies a Sigstore bundle.
func (t *target) bundle(b []byte, d Document, x *Expectation) (*Result, error) {
	c, err := sigstore.Peek(b, t.folder)
	if err != nil {
		return nil, err
	}
	if d.Signature != nil && !bytes.Equal(bareBytes(d.Signature), c.Signature) {
		return nil, trust.Failure(trust.ReasonBadSignature, "the bundle holds another signature than the one that was given")
	}
	if d.Certificate != nil {
		if der, err := certificateOf(d.Certificate); err != nil || !bytes.Equal(der.Raw, c.Certificate) {
			return nil, trust.Failure(trust.ReasonUntrustedSigner, "the bundle holds another certificate than the one that was given")
		}
	}
	want := sigstore.Expectation{PredicateTypes: t.types, MessageSignature: t.plain, CheckSubjects: t.subjects, SelfHosted: x.SelfHosted, Folder: t.folder, AnyPredicateUnsafe: x.AnyTypeUnsafe}
	if c.Payload == nil {
		if !t.plain {
			return nil, trust.Failure(trust.ReasonWrongPredicate, "bundle is a plain signature, an attestation is expected")
		}
		alg := c.Digest.Algorithm
		if alg == "" {
			alg = trust.SHA256
		}
		if want.Artifact, err = t.artifact.Digests(alg); err != nil {
			return nil, err
		}
		if want.Artifact.Get(alg).IsZero() {
			return nil, trust.Misconfigured("the signature is over the artifact's %s: name the file, or its %s", alg, alg)
		}
	} else {
		// A message signature needs a digest even where none comes.
		want.MessageSignature = false
	}
	if c.Certificate == nil {
		return t.byKeys(b, c, want, x)
	}
	cert, err := x509.ParseCertificate(c.Certificate)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading the certificate: %w", err)
	}
	// The key of a certificate may be named, or the certificate itself; one of
	// Sigstore's is good for minutes, and nobody names it.
	named := func(pub crypto.PublicKey) bool { return spki(pub) != "" && spki(pub) == spki(cert.PublicKey) }
	if x.mode() == byKey && (fulcio(cert) || !slices.ContainsFunc(x.Keys.publicKeys(), named)) {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "bundle is signed with a certificate, one of the given keys is expected")
	}
	if !fulcio(cert) {
		if x.Instance != "" {
			return nil, trust.Failure(trust.ReasonUntrustedSigner, "the certificate names no OIDC issuer: it is none of the Sigstore instance %s", x.Instance)
		}
		if x.RequireLog {
			return nil, trust.Failure(trust.ReasonBadSignature, "bundle without transparency log entry")
		}
		return t.byCertificate(c, cert, x)
	}
	if len(x.Roots) > 0 {
		return nil, trust.Misconfigured("the certificate is a Sigstore instance's: name that instance's trusted root, not a certificate chain")
	}
	root, err := x.needRoot()
	if err != nil {
		return nil, err
	}
	v, err := sigstore.NewVerifier(root)
	if err != nil {
		return nil, err
	}
	if want.Identity, err = x.sigstoreIdentity(); err != nil {
		return nil, err
	}
	got, err := v.Verify(b, want)
	if err != nil {
		return nil, err
	}
	return t.result(got, x)
}

// fulcio reports whether the certificate names an OIDC issuer as Fulcio does.
func fulcio(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		id := e.Id.String()
		if id == "1.3.6.1.4.1.57264.1.1" || id == "1.3.6.1.4.1.57264.1.8" {
			return true
		}
	}
	return false
}

func (t *target) result(got sigstore.Verified, x *Expectation) (*Result, error) {
	r := &Result{Signer: got.Signer(), SignedAt: got.SignedAt(), Times: got.Times(), Logs: got.Logs(), Root: got.Root(), Instance: got.Instance()}
	if st, ok := got.Statement(); ok {
		r.Statement = &st
	}
	if p, ok := got.Provenance(); ok {
		r.Provenance = &p
	}
	var err error
	r.AcceptedBy, err = x.accept(r.Signer, nil)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// byKeys verifies a bundle that names a key. The name is a hint and not signed:
// which key it is only the signature says.
func (t *target) byKeys(b []byte, c sigstore.Content, want sigstore.Expectation, x *Expectation) (*Result, error) {
	if x.mode() == byIdentity {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "bundle is signed with %s, a certificate identity is expected", hinted(c.Hint))
	}
	keys := x.keys().publicKeys()
	if len(keys) == 0 {
		return nil, trust.Undecidable(trust.ReasonUnknownKey, "bundle is signed with %s, and no key is at hand; name it with --key", hinted(c.Hint))
	}
	if len(keys) > MaxKeys {
		return nil, trust.Misconfigured("%d keys are more than %d", len(keys), MaxKeys)
	}
	if c.Entries == 0 && x.RequireLog {
		return nil, trust.Failure(trust.ReasonBadSignature, "bundle without transparency log entry")
	}
	want.Identity = sigstore.KeyIdentity()
	var first error
	for _, pub := range keys {
		const usage = "sign"
		k, err := sigstore.NewKey(c.Hint, usage, pub, time.Unix(0, 0), time.Time{})
		if err != nil {
			return nil, trust.Misconfigured("%w", err)
		}
		set, err := sigstore.NewKeySet(k)
		if err != nil {
			return nil, trust.Misconfigured("%w", err)
		}
		var v *sigstore.Verifier
		if c.Entries > 0 || x.Instance != "" {
			root, rerr := x.needRoot()
			if rerr != nil {
				return nil, rerr
			}
			if x.mode() == byKey && x.Instance == "" && !c.Promised && len(c.Timestamps) == 0 {
				v, err = sigstore.NewUntimedKeyVerifierUnsafe(root, set, usage)
			} else {
				v, err = sigstore.NewKeyVerifier(root, set, usage)
			}
		} else {
			v, err = sigstore.NewPinnedKeyVerifierUnsafe(set, usage)
		}
		if err != nil {
			return nil, err
		}
		got, err := v.Verify(b, want)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		r := &Result{Signer: keySigner(pub), SignedAt: got.SignedAt(), Times: got.Times(), Logs: got.Logs(), Root: got.Root(), Instance: got.Instance()}
		if st, ok := got.Statement(); ok {
			r.Statement = &st
		}
		switch {
		case !r.SignedAt.IsZero():
		case c.Entries == 0:
			r.Notes = append(r.Notes, "signed by a key alone: no log entry, and nobody witnessed when")
		default:
			r.Notes = append(r.Notes, "a log holds the signature, and nobody witnessed when it was made")
		}
		if r.AcceptedBy, err = x.acceptKey(r); err != nil {
			return nil, err
		}
		return r, nil
	}
	// A hint that is a key's digest, and of none of these keys, says whose it claims to be.
	if id, herr := base64.StdEncoding.DecodeString(c.Hint); herr == nil && len(id) == sha256.Size {
		named := func(pub crypto.PublicKey) bool { return spki(pub) == hex.EncodeToString(id) }
		if !slices.ContainsFunc(keys, named) {
			return nil, trust.Failure(trust.ReasonUntrustedSigner, "signed with %s, which is not expected: %w", hinted(c.Hint), first)
		}
	}
	if len(keys) > 1 {
		return nil, trust.Failure(trust.ReasonUntrustedSigner, "by none of the %d keys: %w", len(keys), first)
	}
	return nil, first
}

// acceptKey judges a key that may have been accepted as a plain key or as an SSH
// key; a revocation of either counts.
func (x *Expectation) acceptKey(r *Result) (string, error) {
	by, err := x.accept(r.Signer, nil)
	if x.mode() != byAccepted || errors.Is(err, ErrRevoked) {
		return by, err
	}
	for _, pub := range x.KnownKeys.SSH {
		c, ok := pub.(ssh.CryptoPublicKey)
		if !ok || spki(c.CryptoPublicKey()) != r.Signer.KeyDigest {
			continue
		}
		s := sshsig.SignerOf(pub)
		also, serr := x.accept(s, nil)
		if errors.Is(serr, ErrRevoked) {
			return "", serr
		}
		if err != nil && serr == nil {
			r.Signer = s
			return also, nil
		}
	}
	return by, err
}

// hinted names the key that a bundle claims to be signed with: as everywhere else,
// if the hint is the key's digest, and as it stands if not.
func hinted(hint string) string {
	if id, err := base64.StdEncoding.DecodeString(hint); err == nil && len(id) == sha256.Size {
		return trust.Signer{Kind: trust.SignerKey, KeyDigest: hex.EncodeToString(id)}.String()
	}
	return fmt.Sprintf("the key %q", clip(hint))
}
