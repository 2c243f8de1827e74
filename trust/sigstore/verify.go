package sigstore

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/headgate/headgate/trust"
)

// threshold is how many independent logs, observers of time and certificate
// logs have to vouch. The public-good instance has one of each at a time.
const threshold = 1

// MediaTypeBundle is that of the bundles in evidence, whatever their version.
const MediaTypeBundle = "application/vnd.dev.sigstore.bundle+json"

// Names of Sigstore instances. A verifier belongs to exactly one; no verifier
// tries another instance's root.
const (
	InstancePublic        = "sigstore"
	InstanceGitHubPrivate = "github-private"
	InstanceKeys          = "keys"
)

// Verifier verifies bundles of one Sigstore instance. It is safe for concurrent
// use and worth keeping: it remembers the verified intermediates of its root.
type Verifier struct {
	instance string
	v        *verify.Verifier
	material root.TrustedMaterial
	info     RootInfo
	relied   []trust.Raw // root and keys
	keys     *KeySet
	usage    string
	logs     bool
	rules    *Rules // nil for the public-good instance
	// pinned marks a verifier that proves a key's signature and nothing else.
	pinned bool
	// untimed marks one that asks for no signed time.
	untimed bool
	// prehash verifies plain signatures of Ed25519 keys, which are made over a
	// hash (Ed25519ph); nil where there are no keys.
	prehash *verify.Verifier
}

// NewVerifier verifies keyless bundles of the root's instance: by the instance's
// own Rules, or as the public-good one's with one log entry, one observed time and
// one SCT. The verifier of one root is made once.
func NewVerifier(r *Root) (*Verifier, error) {
	made := func() (*Verifier, error) {
		if r != nil && r.rules != nil {
			opts := r.rules.witnesses()
			if r.rules.CertificateLogs > 0 {
				opts = append(opts, verify.WithSignedCertificateTimestamps(r.rules.CertificateLogs))
			}
			return newVerifier(r.rules.Instance, r, nil, "", r.rules.Logs > 0, opts...)
		}
		return newVerifier(InstancePublic, r, nil, "", true,
			verify.WithTransparencyLog(threshold), verify.WithObserverTimestamps(threshold), verify.WithSignedCertificateTimestamps(threshold))
	}
	if r == nil {
		return made()
	}
	r.once.Do(func() { r.keyless, r.keylessErr = made() })
	return r.keyless, r.keylessErr
}

// NewKeyVerifier verifies bundles that a key of the set signed for the usage;
// the log entry and its time come from the root. Certificates are refused.
func NewKeyVerifier(r *Root, keys *KeySet, usage string) (*Verifier, error) {
	if !keys.Has(usage) {
		return nil, misuse("no key for %q", usage)
	}
	if r != nil && r.rules != nil {
		return newVerifier(r.rules.Instance, r, keys, usage, r.rules.Logs > 0, r.rules.witnesses()...)
	}
	return newVerifier(InstanceKeys, r, keys, usage, true,
		verify.WithTransparencyLog(threshold), verify.WithObserverTimestamps(threshold))
}

// NewGitHubPrivateVerifier verifies bundles of GitHub's own instance, which has
// a timestamp authority and neither transparency log nor certificate log. It
// is never a fallback for another instance: its root must be its own.
func NewGitHubPrivateVerifier(r *Root) (*Verifier, error) {
	return newVerifier(InstanceGitHubPrivate, r, nil, "", false, verify.WithSignedTimestamps(threshold))
}

func newVerifier(instance string, r *Root, keys *KeySet, usage string, logs bool, opts ...verify.VerifierOption) (*Verifier, error) {
	if r == nil || r.material == nil {
		return nil, unreachable(trust.ReasonExpiredRoot, "no trusted root; run headgate db update, or name one with --trusted-root")
	}
	m := r.material
	if keys != nil {
		m = &keyed{TrustedMaterial: r.material, keys: keys, usage: usage}
	}
	opts = append(opts, verify.WithoutStatementPredicate())
	v, err := verify.NewVerifier(m, opts...)
	if err != nil {
		return nil, misuse("%v", err)
	}
	out := &Verifier{instance: instance, v: v, material: m, info: r.info, keys: keys, usage: usage, logs: logs, rules: r.rules}
	if r.raw != nil {
		out.relied = append(out.relied, trust.NewRaw(trust.RawTrustedRoot, "application/vnd.dev.sigstore.trustedroot+json", r.raw))
	}
	if b := keys.Raw(); b != nil {
		out.relied = append(out.relied, trust.NewRaw(trust.RawKeys, "application/json", b))
	}
	if keys != nil {
		out.prehash, err = verify.NewVerifier(&keyed{TrustedMaterial: r.material, keys: keys, usage: usage, prehash: true}, opts...)
		if err != nil {
			return nil, misuse("%v", err)
		}
	}
	return out, nil
}

// Instance names the Sigstore instance of the verifier.
func (v *Verifier) Instance() string { return v.instance }

// Root identifies the trusted root of the verifier.
func (v *Verifier) Root() RootInfo { return v.info }

// Expectation is what a bundle must prove. Every part is required unless its
// comment says otherwise; what is missing is an error, never "anything".
type Expectation struct {
	// Artifact are the digests of the artifact. At least one strong one must be
	// known; all that the subject states too must be equal, and one strong one shared.
	Artifact trust.Digests
	// SubjectName judges the name of the one subject. Required for statements,
	// unless CheckSubjects is set. AnySubjectNameUnsafe accepts every name.
	SubjectName func(name string) error
	// CheckSubjects, if set, takes the place of the rule "exactly one subject, with
	// the artifact's digest and the expected name": it gets all verified subjects,
	// and its error refuses the bundle. Artifact may then be empty.
	CheckSubjects func([]Subject) error
	// PredicateTypes are the predicate types allowed. Empty means that no
	// statement is accepted at all.
	PredicateTypes []string
	// AnyPredicateUnsafe accepts statements of every predicate type and does not read
	// their predicates: what is proved is who signed a statement about the artifact, and not what it says.
	AnyPredicateUnsafe bool
	// MessageSignature allows a plain signature over the artifact, without statement.
	MessageSignature bool
	// Identity says who must have signed.
	Identity Identity
	// SelfHosted accepts builds on runners that are not the forge's own.
	SelfHosted bool
	// Folder raises the bounds to MaxFolderBundle and MaxFolderSubjects, for
	// statements about every file of a folder.
	Folder bool
}

// AnySubjectNameUnsafe accepts every subject name. It is for targets that have
// no name of their own (a digest given on the command line).
func AnySubjectNameUnsafe(string) error { return nil }

// SignedTime is a time that a log or a timestamp authority signed.
type SignedTime struct {
	Time time.Time
	By   string // "log" or "timestamp-authority"
	URI  string
}

// Verified is a bundle that proved its Expectation; only Verify makes one that
// is not zero.
type Verified struct {
	signer     trust.Signer
	statement  *Statement
	provenance *Provenance
	times      []SignedTime
	logs       []trust.LogEntry
	raw        []byte
	root       trust.Digest
	instance   string
	relied     []trust.Raw
}

// IsZero reports whether nothing was verified.
func (v Verified) IsZero() bool { return v.raw == nil }

// Signer is who signed.
func (v Verified) Signer() trust.Signer { return v.signer }

// Statement is the signed statement; false for a message signature.
func (v Verified) Statement() (Statement, bool) {
	if v.statement == nil {
		return Statement{}, false
	}
	return *v.statement, true
}

// Provenance is what SLSA provenance says; false for other predicates.
func (v Verified) Provenance() (Provenance, bool) {
	if v.provenance == nil {
		return Provenance{}, false
	}
	return *v.provenance, true
}

// Times are the signed times, all of them within the signer's validity.
func (v Verified) Times() []SignedTime { return slices.Clone(v.times) }

// SignedAt is the earliest signed time.
func (v Verified) SignedAt() time.Time {
	var t time.Time
	for _, s := range v.times {
		if t.IsZero() || s.Time.Before(t) {
			t = s.Time
		}
	}
	return t
}

// Logs are the log entries that were verified.
func (v Verified) Logs() []trust.LogEntry { return slices.Clone(v.logs) }

// Raw are the bytes of the bundle that was judged.
func (v Verified) Raw() []byte { return v.raw }

// Instance names the private Sigstore instance that vouched; empty for the
// public-good one.
func (v Verified) Instance() string { return v.instance }

// Root is the digest of the trusted root that the verification relied on.
func (v Verified) Root() trust.Digest { return v.root }

// Describe writes what was verified into a piece of evidence: signer, times,
// log entries, predicate and build, root, and the bytes that were judged and
// relied on. Check, release,
// artifact, outcome and assurance stay the caller's.
func (v Verified) Describe(e *trust.Evidence, rawName string) {
	if v.IsZero() {
		return
	}
	s := v.signer
	e.Signer, e.SignedAt, e.Logs, e.Root = &s, v.SignedAt(), v.Logs(), v.root
	if v.statement != nil {
		e.PredicateType = v.statement.PredicateType
	}
	if v.provenance != nil {
		e.Builder, e.BuildType = v.provenance.Builder, v.provenance.BuildType
	}
	e.Raw = append(append(e.Raw, trust.NewRaw(rawName, MediaTypeBundle, v.raw)), v.relied...)
}

func (x Expectation) validate(v *Verifier) error {
	if x.CheckSubjects == nil && x.Artifact.Strongest().IsZero() {
		return misuse("no strong digest of the artifact")
	}
	if x.AnyPredicateUnsafe && len(x.PredicateTypes) > 0 {
		return misuse("predicate types are expected, and any is accepted")
	}
	if len(x.PredicateTypes) == 0 && !x.MessageSignature && !x.AnyPredicateUnsafe {
		return misuse("neither a predicate type nor a message signature is allowed")
	}
	if (len(x.PredicateTypes) > 0 || x.AnyPredicateUnsafe) && x.SubjectName == nil && x.CheckSubjects == nil {
		return misuse("nothing judges the subject's name")
	}
	if slices.Contains(x.PredicateTypes, "") {
		return misuse("empty predicate type")
	}
	if x.MessageSignature && x.Artifact.Strongest().IsZero() {
		return misuse("a message signature needs the digest of the artifact")
	}
	switch {
	case x.Identity.match == nil:
		return misuse("no identity")
	case x.Identity.kind == identityKey && v.keys == nil:
		return misuse("a key is expected of a verifier without keys")
	case x.Identity.kind == identityCertificate && v.keys != nil:
		return misuse("a certificate is expected of a verifier for keys")
	}
	return nil
}

// Verify verifies one bundle against one expectation. Nothing of the bundle is
// returned unless everything holds; see Classify for errors.
//
// A panic in a parser below is unreachable (internal): it decides nothing.
func (v *Verifier) Verify(b []byte, want Expectation) (out Verified, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = Verified{}, unreachable(trust.ReasonInternal, "verifying bundle: a verifier panicked: %v", p)
		}
	}()
	return v.verify(b, want)
}

func (v *Verifier) verify(b []byte, want Expectation) (Verified, error) {
	if v == nil || v.v == nil {
		return Verified{}, misuse("no verifier")
	}
	if err := want.validate(v); err != nil {
		return Verified{}, err
	}
	ent, err := parseBundle(b, want.Folder)
	if err != nil {
		return Verified{}, err
	}
	out := Verified{raw: bytes.Clone(b), root: v.info.Digest, relied: v.relied}
	if v.rules != nil {
		out.instance = v.rules.Instance
	}

	// Who: certificate or key, and whether the root knows the issuer at all.
	if ent.cert != nil {
		if want.Identity.kind != identityCertificate {
			return Verified{}, failed(trust.ReasonUntrustedSigner, "bundle is signed with a certificate, a pinned key is expected")
		}
		if err := v.knownAuthority(ent.cert); err != nil {
			return Verified{}, err
		}
		if out.signer, err = signerOf(ent.cert); err != nil {
			return Verified{}, failed(trust.ReasonUntrustedSigner, "reading the signer: %w", err)
		}
		if v.rules != nil {
			if err := v.rules.issuer(out.signer); err != nil {
				return Verified{}, err
			}
		}
	} else {
		if want.Identity.kind != identityKey {
			return Verified{}, failed(trust.ReasonUntrustedSigner, "bundle is signed with the key %q, a certificate is expected", clip(ent.hint))
		}
		key, ok := v.keys.Find(ent.hint, v.usage)
		if !ok {
			return Verified{}, unreachable(trust.ReasonUnknownKey, "bundle names the key %q, which is not among the pinned keys for %s; run headgate db update", clip(ent.hint), v.usage)
		}
		out.signer = trust.Signer{Kind: trust.SignerKey, KeyDigest: key.spki, KeyID: key.ID}
	}
	if err := v.knownLog(ent); err != nil {
		return Verified{}, err
	}

	// What: the statement's bytes are read before the signature over them is
	// checked only to know which digest to ask for; nothing of it leaves on error.
	var statement Statement
	policy := verify.WithoutArtifactUnsafe()
	if ent.payload != nil {
		if statement, err = parseStatement(ent.payload, want.Folder); err != nil {
			return Verified{}, err
		}
	} else {
		if !want.MessageSignature {
			return Verified{}, failed(trust.ReasonWrongPredicate, "bundle is a plain signature, an attestation is expected")
		}
		d, err := ent.messageDigest(want.Artifact)
		if err != nil {
			return Verified{}, err
		}
		policy = verify.WithArtifactDigest(string(d.Algorithm), d.Bytes())
	}
	who := verify.WithoutIdentitiesUnsafe() // the identity is judged below, in this function
	if ent.cert == nil {
		who = verify.WithKey()
	}
	lib := v.v
	if ent.payload == nil && v.prehash != nil {
		lib = v.prehash
	}
	res, err := lib.Verify(ent, verify.NewPolicy(policy, who))
	if err != nil {
		return Verified{}, v.explain(ent, err)
	}
	if err := v.everyTimestamp(ent, out.signer); err != nil {
		return Verified{}, err
	}
	for _, t := range res.VerifiedTimestamps {
		by := "timestamp-authority"
		if t.Type == "Tlog" {
			by = "log"
		}
		out.times = append(out.times, SignedTime{Time: t.Timestamp, By: by, URI: t.URI})
	}
	if len(out.times) == 0 && !v.pinned && !v.untimed {
		return Verified{}, failed(trust.ReasonBadSignature, "no signed time in the bundle")
	}
	if v.logs {
		if out.logs = v.verifiedLogs(ent); len(out.logs) == 0 {
			return Verified{}, failed(trust.ReasonBadSignature, "no verified log entry in the bundle")
		}
	}

	// For what: from here on the bytes are authentic.
	if ent.payload != nil {
		if !want.AnyPredicateUnsafe && !slices.Contains(want.PredicateTypes, statement.PredicateType) {
			return Verified{}, failed(trust.ReasonWrongPredicate, "attestation is of type %q, expected %s", clip(statement.PredicateType), strings.Join(want.PredicateTypes, " or "))
		}
		if err := want.checkSubjects(statement.Subjects); err != nil {
			return Verified{}, err
		}
		out.statement = &statement
		if !want.AnyPredicateUnsafe && ent.cert != nil && (statement.PredicateType == PredicateProvenance02 || statement.PredicateType == PredicateProvenance1) {
			p, err := checkProvenance(statement, out.signer)
			if err != nil {
				return Verified{}, err
			}
			out.provenance = &p
		}
	}
	if why := untrustedRun(out.signer); why != "" {
		return Verified{}, failed(trust.ReasonUntrustedRef, "%s of %s: anybody can start such a run", why, out.signer.SourceRepository)
	}
	if foreignRunner(out.signer) && !want.SelfHosted {
		return Verified{}, failed(trust.ReasonUntrustedRef, "built on a runner of kind %q of %s", clip(out.signer.Runner), out.signer.SourceRepository)
	}
	if err := want.Identity.match(out.signer); err != nil {
		return Verified{}, failed(trust.ReasonUntrustedSigner, "%w", err)
	}
	return out, nil
}

func (x Expectation) checkSubjects(subjects []Subject) error {
	if x.CheckSubjects != nil {
		if err := x.CheckSubjects(slices.Clone(subjects)); err != nil {
			return failed(trust.ReasonWrongSubject, "%w", err)
		}
		return nil
	}
	if len(subjects) != 1 {
		return failed(trust.ReasonWrongSubject, "attestation has %d subjects, expected exactly one", len(subjects))
	}
	s := subjects[0]
	switch x.Artifact.Compare(s.Digests) {
	case trust.Disagree:
		return failed(trust.ReasonWrongDigest, "attestation is for %s, the artifact is %s", s.Digests.Strongest(), x.Artifact.Strongest())
	case trust.Incomparable:
		return failed(trust.ReasonWrongSubject, "attestation states no digest that the artifact has too")
	}
	if err := x.SubjectName(s.Name); err != nil {
		var e *Error
		if ok := asError(err, &e); ok {
			return e
		}
		return failed(trust.ReasonWrongName, "attestation is for %q: %w", clip(s.Name), err)
	}
	return nil
}

// NameError is how a SubjectName function says which part of the name is wrong.
func NameError(r trust.Reason, format string, args ...any) error { return failed(r, format, args...) }

func asError(err error, e **Error) bool {
	x, ok := err.(*Error)
	if ok {
		*e = x
	}
	return ok
}

// entity is a parsed bundle.
type entity struct {
	*bundle.Bundle
	cert    *x509.Certificate
	hint    string
	payload []byte // DSSE payload; nil for a message signature
	entries []*tlog.Entry
	msg     *bundle.MessageSignature
}

// TlogEntries returns the entries that were parsed once.
func (e *entity) TlogEntries() ([]*tlog.Entry, error) { return e.entries, nil }

func parseBundle(b []byte, folder bool) (*entity, error) {
	limit := MaxBundle
	if folder {
		limit = MaxFolderBundle
	}
	if len(b) > limit {
		return nil, unreachable(trust.ReasonTooLarge, "bundle of %d bytes is larger than %d", len(b), limit)
	}
	const tl, tl2, ts, ts2, ce = "tlogEntries", "tlog_entries", "rfc3161Timestamps", "rfc3161_timestamps", "certificates"
	n, err := CheckJSON(b, tl, tl2, ts, ts2, ce)
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	for _, c := range []struct {
		what   string
		n, max int
	}{{"log entries", n[tl] + n[tl2], MaxLogEntries}, {"timestamps", n[ts] + n[ts2], MaxTimestamps}, {"certificates", n[ce], MaxCertificates}} {
		if c.n > c.max {
			return nil, unreachable(trust.ReasonTooLarge, "bundle with %d %s has more than %d", c.n, c.what, c.max)
		}
	}
	e := &entity{Bundle: &bundle.Bundle{}}
	if err := e.UnmarshalJSON(b); err != nil {
		// Rekor's parser checks the signature of an entry of kind hashedrekord.
		if strings.Contains(err.Error(), "verifying signature:") {
			return nil, failed(trust.ReasonBadSignature, "reading bundle: %w", err)
		}
		r := trust.ReasonMalformed
		if strings.Contains(err.Error(), "unsupported media type") || strings.Contains(err.Error(), "not a recognizable") {
			r = trust.ReasonUnsupported
		}
		return nil, unreachable(r, "reading bundle: %w", err)
	}
	if e.entries, err = e.Bundle.TlogEntries(); err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	if err := e.checkpointSizes(); err != nil {
		return nil, err
	}
	vc, err := e.VerificationContent()
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	if e.cert = vc.Certificate(); e.cert == nil {
		pk := vc.PublicKey()
		if pk == nil {
			return nil, unreachable(trust.ReasonMalformed, "reading bundle: neither certificate nor key")
		}
		e.hint = pk.Hint()
	}
	sc, err := e.SignatureContent()
	if err != nil {
		return nil, unreachable(trust.ReasonMalformed, "reading bundle: %w", err)
	}
	if env := sc.EnvelopeContent(); env != nil {
		raw := env.RawEnvelope()
		if len(raw.Signatures) != 1 {
			return nil, unreachable(trust.ReasonMalformed, "reading bundle: envelope has %d signatures, a bundle has one", len(raw.Signatures))
		}
		if raw.PayloadType != PayloadType {
			return nil, unreachable(trust.ReasonUnsupported, "reading bundle: envelope holds %q", clip(raw.PayloadType))
		}
		if e.payload, err = base64.StdEncoding.DecodeString(raw.Payload); err != nil || len(e.payload) == 0 {
			return nil, unreachable(trust.ReasonMalformed, "reading bundle: envelope without payload")
		}
		return e, nil
	}
	var ok bool
	if e.msg, ok = sc.(*bundle.MessageSignature); !ok {
		return nil, unreachable(trust.ReasonMalformed, "reading bundle: neither envelope nor signature")
	}
	return e, nil
}

var digestAlgorithms = map[string]trust.Algorithm{"SHA2_256": trust.SHA256, "SHA2_384": trust.SHA384, "SHA2_512": trust.SHA512}

func digestOf(alg trust.Algorithm, sum []byte) (trust.Digest, error) {
	return trust.NewDigest(alg, hex.EncodeToString(sum))
}

// messageDigest picks the artifact's digest that the message signature is over.
func (e *entity) messageDigest(ds trust.Digests) (trust.Digest, error) {
	alg := digestAlgorithms[e.msg.DigestAlgorithm()]
	if alg == "" {
		return trust.Digest{}, unreachable(trust.ReasonUnsupported, "signature over a digest of unknown algorithm %q", clip(e.msg.DigestAlgorithm()))
	}
	d := ds.Get(alg)
	if d.IsZero() {
		return trust.Digest{}, misuse("signature is over the artifact's %s, which the caller did not give", alg)
	}
	if !bytes.Equal(d.Bytes(), e.msg.Digest()) {
		return trust.Digest{}, failed(trust.ReasonWrongDigest, "signature is for %s:%s, the artifact is %s", alg, hex.EncodeToString(e.msg.Digest()), d)
	}
	return d, nil
}

// knownAuthority refuses certificates that no authority of the root issued,
// whatever the time: "by nobody the root knows" and "outside its validity" are
// two findings. Time is judged by the verification proper.
func (v *Verifier) knownAuthority(c *x509.Certificate) error {
	leaf := *c
	// Fulcio's OtherName SAN is critical and unknown to crypto/x509.
	leaf.UnhandledCriticalExtensions = nil
	for _, ca := range v.material.FulcioCertificateAuthorities() {
		a, ok := ca.(*authority)
		if !ok {
			continue
		}
		for _, issuer := range append([]*x509.Certificate{a.ca.Root}, a.ca.Intermediates...) {
			if bytes.Equal(issuer.RawSubject, leaf.RawIssuer) && (len(leaf.AuthorityKeyId) == 0 || bytes.Equal(leaf.AuthorityKeyId, issuer.SubjectKeyId)) {
				return nil
			}
		}
	}
	return failed(trust.ReasonUntrustedSigner, "certificate was issued by %q, which the trusted root does not know", clip(c.Issuer.String()))
}

// issued reports whether an authority of the root signed the certificate, at
// whatever time.
func (v *Verifier) issued(c *x509.Certificate) bool {
	for _, ca := range v.material.FulcioCertificateAuthorities() {
		if a, ok := ca.(*authority); ok {
			for _, issuer := range append([]*x509.Certificate{a.ca.Root}, a.ca.Intermediates...) {
				if c.CheckSignatureFrom(issuer) == nil {
					return true
				}
			}
		}
	}
	return false
}

// knownLog refuses bundles all of whose log entries are of logs that the root
// does not know: a newer root may know them.
func (v *Verifier) knownLog(e *entity) error {
	if v.pinned && len(e.entries) > 0 {
		return unreachable(trust.ReasonExpiredRoot, "bundle carries a log entry, which only a trusted root can judge; run headgate db update, or name one with --trusted-root")
	}
	if !v.logs {
		return nil
	}
	if len(e.entries) == 0 {
		return failed(trust.ReasonBadSignature, "bundle without transparency log entry")
	}
	for _, entry := range e.entries {
		if _, ok := v.material.RekorLogs()[hex.EncodeToString([]byte(entry.LogKeyID()))]; ok {
			return nil
		}
	}
	return unreachable(trust.ReasonUnknownKey, "bundle is logged in a transparency log that the trusted root does not know; run headgate db update")
}

// only is an entity with one of its log entries.
type only struct {
	verify.SignedEntity
	entry *tlog.Entry
}

func (o only) TlogEntries() ([]*tlog.Entry, error) { return []*tlog.Entry{o.entry}, nil }

// verifiedLogs returns the entries that verify each by itself; the library
// passes over entries of unknown logs when there are others.
func (v *Verifier) verifiedLogs(e *entity) []trust.LogEntry {
	var logs []trust.LogEntry
	for _, entry := range e.entries {
		if len(e.entries) > 1 {
			if _, err := verify.VerifyTlogEntry(only{e.Bundle, entry}, v.material, threshold, true); err != nil {
				continue
			}
		}
		id := hex.EncodeToString([]byte(entry.LogKeyID()))
		le := trust.LogEntry{Log: id, Index: entry.LogIndex()}
		if l, ok := v.material.RekorLogs()[id]; ok && l.BaseURL != "" {
			le.Log = l.BaseURL
		}
		if entry.HasInclusionPromise() && !entry.IsRekorV2() {
			le.Time = entry.IntegratedTime().UTC()
		}
		logs = append(logs, le)
	}
	return logs
}

// explain gives an error of the library its reason. The library's errors are
// text; what is not recognised is a bad signature, which is the strictest.
func (v *Verifier) explain(e *entity, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "outside of public key validity window"),
		strings.Contains(text, "outside certificate validity"),
		strings.Contains(text, "not valid at payload integrated time"):
		return failed(trust.ReasonKeyOutsideWindow, "verifying bundle: %w", err)
	case strings.Contains(text, "leaf certificate verification failed"):
		if !v.issued(e.cert) {
			return failed(trust.ReasonUntrustedSigner, "verifying bundle: no authority of the trusted root signed the certificate")
		}
		return failed(trust.ReasonKeyOutsideWindow, "verifying bundle: certificate does not chain to the trusted root at the signed time: %w", err)
	}
	return failed(trust.ReasonBadSignature, "verifying bundle: %w", err)
}
