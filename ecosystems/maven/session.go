package maven

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
)

// Bounds of what is read beside and inside a file.
const (
	maxSignature  = openpgp.MaxSignature
	MaxEntries    = 200_000  // entries of an archive
	MaxProperties = 64 << 10 // bytes of one pom.properties
	MaxOwnNames   = 256      // pom.properties of one archive (shaded ones have many)
)

// session is the check of one component.
type session struct {
	a          *Adapter
	req        adapter.Request
	r          trust.Release
	base, repo string
	pom        *pom
	naming     error // why the POM is not this release's, if it is not
	ring       *openpgp.Keyring
	ringErr    error
	badKeys    []error
	res        adapter.Result
}

func (s *session) add(es ...trust.Evidence) { s.res.Evidence = append(s.res.Evidence, es...) }

// keys makes the ring of the certificates that were pinned for the package. One
// that cannot be read is an error about that one alone.
func (s *session) keys(ctx context.Context) {
	s.ring, s.badKeys, s.ringErr = s.a.keys.For(ctx, s.r.Package)
	for _, b := range s.badKeys {
		s.res.Facts.Notes = append(s.res.Facts.Notes, "A pinned key could not be read: "+b.Error())
	}
}

func (s *session) verify(message, signature []byte) (*openpgp.Verified, error) {
	return openpgp.VerifyDetached(bytes.NewReader(message), signature, openpgp.Want{Keys: s.ring, Now: s.a.Clock()})
}

// sums are what the repository's checksum files say of a file: hints.
type sums struct {
	strong trust.Digests
	sha1   trust.Digest
	source string
}

// checksum asks for one checksum file. Some repositories write the file's name
// behind the digest; only the first word counts.
func (s *session) checksum(ctx context.Context, name string, alg trust.Algorithm) (trust.Digest, string, error) {
	resp, err := s.a.document(ctx, s.base+name+"."+string(alg), MaxChecksum)
	if err != nil || resp == nil {
		return trust.Digest{}, "", err
	}
	d, err := parseChecksum(alg, resp.Body)
	if err != nil {
		return trust.Digest{}, "", trust.Undecidable(trust.ReasonMalformed, "the checksum file of %s is malformed: %w", name, err)
	}
	return d, resp.URL, nil
}

func parseChecksum(alg trust.Algorithm, b []byte) (trust.Digest, error) {
	words := strings.Fields(string(b))
	if len(words) == 0 {
		return trust.Digest{}, fmt.Errorf("it is empty")
	}
	return trust.NewDigest(alg, words[0])
}

// checksums asks for a strong checksum of a kind that the source states too, and
// for any if it states none.
func (s *session) checksums(ctx context.Context, f file) (sums, error) {
	var out sums
	kinds := []trust.Algorithm{trust.SHA512, trust.SHA256}
	if d := f.locked.Strongest(); d.Algorithm == trust.SHA256 || len(f.locked) == 0 {
		kinds = []trust.Algorithm{trust.SHA256, trust.SHA512}
	}
	for _, alg := range kinds {
		d, source, err := s.checksum(ctx, f.name, alg)
		if err != nil {
			return out, err
		}
		if !d.IsZero() {
			out.strong, out.source = append(out.strong, d), source
			if len(f.locked) == 0 || f.locked.Compare(out.strong) != trust.Incomparable {
				return out, nil
			}
		}
	}
	if len(out.strong) > 0 {
		return out, nil
	}
	d, source, err := s.checksum(ctx, f.name, trust.SHA1)
	if err == nil && !d.IsZero() {
		out.sha1, out.source = d, source
	}
	return out, err
}

// file makes the checks of one file. The error is for a cancelled context only.
func (s *session) file(ctx context.Context, f file) error {
	sum, sumErr := s.checksums(ctx, f)
	asc, ascErr := s.a.document(ctx, s.base+f.name+".asc", maxSignature)
	bundle, bundleErr := s.a.document(ctx, s.base+f.name+".sigstore.json", sigstore.MaxBundle)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	signed := asc != nil && s.ring.Len() > 0 || bundle != nil
	var (
		blob    adapter.Blob
		blobErr error
		got     trust.Digests // of the bytes
	)
	if s.req.Bytes || signed || len(sum.strong) == 0 || len(f.locked) == 0 {
		blob, blobErr = s.open(ctx, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if blobErr != nil && f.guessed && notThere(blobErr) && asc == nil && bundle == nil && len(sum.strong) == 0 && sum.sha1.IsZero() {
			return s.otherwise(ctx, f)
		}
	}
	if blob != nil {
		defer blob.Close()
		if got, blobErr = digests(blob); blobErr != nil {
			blobErr = trust.Undecidable(trust.ReasonInternal, "reading %s: %w", f.name, blobErr)
		}
	}
	subject := f.artifact()
	if len(subject.Digests) == 0 {
		if d := got.Get(trust.SHA256); !d.IsZero() {
			subject.Digests = trust.Digests{d}
		} else {
			subject.Digests = sum.strong
		}
	}
	s.integrity(f, subject, sum, sumErr, got, blobErr)
	s.add(s.openpgp(f, subject, asc, ascErr, blob, got, blobErr))
	if e, ok := s.sigstore(ctx, f, subject, bundle, bundleErr, blob, got, blobErr); ok {
		s.add(e)
	}
	return nil
}

// otherwise is for a release without the jar that a dependency without type
// would use: a parent or bill of material has none, a source that states other
// files uses those, and others have what their packaging says.
func (s *session) otherwise(ctx context.Context, f file) error {
	p := s.pom.packaging
	stated := slices.ContainsFunc(s.req.Component.Artifacts, func(a trust.Artifact) bool { return a.Name != "" && len(a.Digests) > 0 })
	if p == "pom" || stated {
		return nil
	}
	if _, ok := typed[p]; ok || !coordinate.MatchString(p) {
		s.add(adapter.Doubtful(trust.CheckBytes, s.r, f.artifact(), trust.ReasonNotFound, "the repository has the POM and not the file %s", f.name))
		return nil
	}
	f.name, f.guessed = strings.TrimSuffix(f.name, "jar")+p, false
	return s.file(ctx, f)
}

// open fetches the file: by the digest that the source states, if that is one
// over the bytes.
func (s *session) open(ctx context.Context, f file) (adapter.Blob, error) {
	req := upstream.Request{URL: s.base + f.name, MaxBytes: MaxArtifact}
	if d := f.locked.Strongest(); !d.IsZero() {
		req.Want = d
	} else {
		req.Verify = func(io.ReaderAt, int64) error { return nil } // judged by digests
	}
	return s.a.Get.Open(ctx, req)
}

func digests(b adapter.Blob) (trust.Digests, error) {
	h1, h2, h5 := sha1.New(), sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h1, h2, h5), io.NewSectionReader(b, 0, b.Size())); err != nil {
		return nil, err
	}
	return trust.Digests{trust.DigestOf(trust.SHA1, h1.Sum(nil)), trust.DigestOf(trust.SHA256, h2.Sum(nil)), trust.DigestOf(trust.SHA512, h5.Sum(nil))}, nil
}

// integrity compares source, checksum file and bytes.
func (s *session) integrity(f file, subject trust.Artifact, sum sums, sumErr error, got trust.Digests, blobErr error) {
	locked := f.artifact()
	var index trust.Evidence
	served := trust.Artifact{Name: f.name, Digests: sum.strong}
	switch {
	case sumErr != nil:
		index = adapter.Unverified(trust.CheckIndex, s.r, locked, sumErr)
	case len(locked.Digests) == 0:
		if len(sum.strong) == 0 {
			served = subject
		}
		index = adapter.CompareDigests(trust.CheckIndex, s.r, locked, served)
		if len(served.Digests) == 0 {
			index = adapter.Missing(trust.CheckIndex, s.r, locked, trust.ReasonNoLockDigest, "neither the source nor the repository states a digest of %s that cannot be forged", f.name)
		}
	case len(sum.strong) > 0:
		index = adapter.CompareDigests(trust.CheckIndex, s.r, locked, served)
	case !sum.sha1.IsZero() && got != nil && locked.Digests.Compare(got) == trust.Agree && sum.sha1.Equal(got.Get(trust.SHA1)):
		index = trust.Evidence{Check: trust.CheckIndex, Outcome: trust.Verified, Release: s.r, Artifact: locked,
			Detail: "the repository states SHA-1 only: it is that of the bytes, which have the digest that the source states"}
	default:
		index = adapter.Missing(trust.CheckIndex, s.r, locked, trust.ReasonNotPublished, "the repository states no SHA-256 or SHA-512 of %s", f.name)
	}
	index.Source = sum.source
	s.add(index)
	var e trust.Evidence
	switch {
	case blobErr != nil:
		e = adapter.Unverified(trust.CheckBytes, s.r, locked, blobErr)
	case got == nil:
		return
	case len(locked.Digests) > 0:
		e = adapter.CompareDigests(trust.CheckBytes, s.r, locked, trust.Artifact{Digests: got})
	case len(sum.strong) > 0:
		e = adapter.CompareDigests(trust.CheckBytes, s.r, trust.Artifact{Name: f.name, Digests: sum.strong}, trust.Artifact{Digests: got})
		e.Artifact = subject
	case !sum.sha1.IsZero() && !sum.sha1.Equal(got.Get(trust.SHA1)):
		e = adapter.Refuted(trust.CheckBytes, s.r, subject, trust.ReasonWrongDigest, "the repository's own checksum file states %s of other bytes", sum.sha1)
	default:
		return
	}
	e.Source = s.base + f.name
	s.add(e)
}

// agrees is why the bytes are not those that the source states, if they are not.
func agrees(f file, got trust.Digests, blobErr error) error {
	switch {
	case blobErr != nil:
		return blobErr
	case len(f.locked) == 0:
		return nil
	}
	switch f.locked.Compare(got) {
	case trust.Agree:
		return nil
	case trust.Disagree:
		return trust.Failure(trust.ReasonWrongDigest, "the source states %s, the bytes have another", f.locked[0])
	}
	return trust.Failure(trust.ReasonWeakDigest, "the source states no digest of %s that cannot be forged", f.name)
}

// openpgp judges the signature beside a file.
func (s *session) openpgp(f file, subject trust.Artifact, asc *upstream.Response, ascErr error, blob adapter.Blob, got trust.Digests, blobErr error) trust.Evidence {
	const check = trust.CheckPublisherSig
	switch {
	case ascErr != nil:
		return adapter.Unverified(check, s.r, subject, ascErr)
	case asc == nil:
		return adapter.Missing(check, s.r, subject, trust.ReasonNotPublished, "the repository has no OpenPGP signature of %s", f.name)
	case s.ringErr != nil:
		return adapter.Unverified(check, s.r, subject, s.ringErr)
	}
	finish := func(e trust.Evidence) trust.Evidence {
		e.Source = asc.URL
		e.Raw = []trust.Raw{trust.NewRaw("signature", "application/pgp-signature", asc.Body)}
		return e
	}
	issuers, err := openpgp.Issuers(asc.Body)
	if err != nil {
		return finish(adapter.Unverified(check, s.r, subject, err))
	}
	if s.ring.Len() == 0 {
		e := adapter.Doubtful(check, s.r, subject, trust.ReasonUnknownKey, "%s is signed with the key %s, and no key is pinned for %s; key servers are never asked, since anybody may put any name there", f.name, strings.Join(issuers, ", "), s.r.Package.FullName())
		e.Remedy = pinned.Remedy(s.r.Package, issuers)
		return finish(e)
	}
	if err := agrees(f, got, blobErr); err != nil {
		return finish(adapter.Unverified(check, s.r, subject, err))
	}
	v, err := openpgp.VerifyDetached(io.NewSectionReader(blob, 0, blob.Size()), asc.Body, openpgp.Want{Keys: s.ring, Now: s.a.Clock()})
	if err != nil {
		if len(s.badKeys) > 0 {
			err = fmt.Errorf("%w (pinned keys that could not be read: %d)", err, len(s.badKeys))
		}
		e := adapter.Unverified(check, s.r, subject, err)
		if e.Reason == trust.ReasonUnknownKey {
			e.Remedy = pinned.Remedy(s.r.Package, issuers)
		}
		return finish(e)
	}
	signer := v.Signer()
	if err := s.binding(f, blob); err != nil {
		e := adapter.Unverified(check, s.r, subject, err)
		e.Signer = &signer
		return finish(e)
	}
	if err := s.expected(f, v.Signers()); err != nil {
		e := adapter.Unverified(check, s.r, subject, err)
		e.Signer = &signer
		return finish(e)
	}
	e := finish(trust.Evidence{Check: check, Outcome: trust.Verified, Release: s.r, Artifact: subject, Signer: &signer, Assurance: trust.AssurancePublisher})
	key := trust.NewRaw(trust.RawOpenPGPKeys, "application/pgp-keys", s.ring.Of(signer.Fingerprint))
	e.Root, e.Raw = key.Digest, append(e.Raw, key)
	return e
}

// expected holds the signers against the keys maps, and the keys that the source
// itself expects (Gradle's trusted-key and pgp). None expected means no demand.
func (s *session) expected(f file, signers []trust.Signer) error {
	if err := Allow(s.a.KeysMaps, s.r, f.name, signers); err != nil {
		return err
	}
	var want []string
	for _, x := range s.req.Component.Expect {
		if x["kind"] != "openpgp" || x["artifact"] != "" && x["artifact"] != f.name {
			continue
		}
		print := strings.ToUpper(strings.ReplaceAll(x["fingerprint"], " ", ""))
		want = append(want, print)
		if slices.ContainsFunc(signers, func(sg trust.Signer) bool {
			return print != "" && (print == sg.Fingerprint || print == sg.SubkeyFingerprint)
		}) {
			return nil
		}
	}
	if len(want) == 0 {
		return nil
	}
	return trust.Failure(trust.ReasonUntrustedSigner, "the source expects a signature by %s", strings.Join(want, " or "))
}

// binding is why a signed file is not one of this release, if it is not: a
// signature names no artifact, so the signed bytes have to.
func (s *session) binding(f file, blob adapter.Blob) error {
	if s.naming != nil {
		return s.naming // the POM beside it
	}
	switch strings.TrimPrefix(path.Ext(f.name), ".") {
	case "pom":
		b := make([]byte, min(blob.Size(), MaxPOM))
		if _, err := io.ReadFull(io.NewSectionReader(blob, 0, int64(len(b))), b); err != nil {
			return trust.Undecidable(trust.ReasonInternal, "reading %s: %w", f.name, err)
		}
		p, err := parsePOM(b) // the signed bytes themselves, not those fetched before
		if err != nil {
			return err
		}
		return p.names(s.r)
	case "jar", "war", "ear", "rar", "aar", "hpi", "jpi", "nar", "kar":
		return ownName(blob, blob.Size(), s.r)
	}
	return nil
}

// ownName reads the pom.properties that Maven puts into archives. An archive may
// hold those of others that were shaded into it; its own must be right, and an
// archive that names only another artifact of the same group is that one.
func ownName(r io.ReaderAt, size int64, rel trust.Release) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "the archive cannot be read: %w", err)
	}
	if len(z.File) > MaxEntries {
		return trust.Undecidable(trust.ReasonTooLarge, "the archive has more than %d entries", MaxEntries)
	}
	own, n := false, 0
	var sibling string
	for _, e := range z.File {
		rest, ok := strings.CutPrefix(e.Name, "META-INF/maven/")
		if !ok || path.Base(rest) != "pom.properties" {
			continue
		}
		if n++; n > MaxOwnNames {
			return trust.Undecidable(trust.ReasonTooLarge, "the archive has more than %d pom.properties", MaxOwnNames)
		}
		props, err := properties(e)
		if err != nil {
			return trust.Undecidable(trust.ReasonMalformed, "%s of the archive cannot be read: %w", e.Name, err)
		}
		g, a, v := props["groupId"], props["artifactId"], props["version"]
		switch {
		case g == rel.Package.Namespace && a == rel.Package.Name:
			if v != rel.Version && !strings.Contains(v, "${") {
				return trust.Failure(trust.ReasonWrongVersion, "the archive says of itself that it is version %.100s", v)
			}
			own = true
		case g == rel.Package.Namespace && sibling == "":
			sibling = g + ":" + a + ":" + v
		}
	}
	if !own && sibling != "" {
		return trust.Failure(trust.ReasonWrongName, "the archive says of itself that it is %.200s", sibling)
	}
	return nil
}

// properties reads a small Java properties file of plain assignments.
func properties(f *zip.File) (map[string]string, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, MaxProperties+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxProperties {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxProperties)
	}
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, MaxProperties+1)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if k, v, ok := strings.Cut(line, "="); ok && line[0] != '#' && line[0] != '!' {
			k = strings.TrimSpace(k)
			if old, twice := out[k]; twice && old != strings.TrimSpace(v) {
				return nil, fmt.Errorf("%.40q is stated twice", k)
			}
			out[k] = strings.TrimSpace(v)
		}
	}
	return out, lines.Err()
}

// sigstore judges the bundle beside a file, if there is one. That there is none
// is the rule and no evidence of its own.
func (s *session) sigstore(ctx context.Context, f file, subject trust.Artifact, bundle *upstream.Response, bundleErr error, blob adapter.Blob, got trust.Digests, blobErr error) (trust.Evidence, bool) {
	const check = trust.CheckPublisherSig
	switch {
	case bundleErr != nil:
		return adapter.Unverified(check, s.r, subject, bundleErr), true
	case bundle == nil:
		return trust.Evidence{}, false
	}
	fail := func(err error) (trust.Evidence, bool) {
		e := adapter.Unverified(check, s.r, subject, err)
		e.Source = bundle.URL
		return e, true
	}
	if err := agrees(f, got, blobErr); err != nil {
		return fail(err)
	}
	v, err := s.a.Sigstore(ctx, s.r.Package)
	if err != nil {
		return fail(err)
	}
	ok, err := v.Verify(bundle.Body, sigstore.Expectation{
		Artifact: trust.Digests{got.Get(trust.SHA256), got.Get(trust.SHA512)},
		SubjectName: func(name string) error {
			if name != f.name {
				return sigstore.NameError(trust.ReasonWrongName, "signed for %.100q, not for %s", name, f.name)
			}
			return nil
		},
		PredicateTypes:   []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02},
		MessageSignature: true,
		Identity:         sigstore.CollectIdentityUnsafe(),
	})
	if err != nil {
		return fail(err)
	}
	e := trust.Evidence{Check: check, Outcome: trust.Verified, Release: s.r, Artifact: subject, Assurance: trust.AssurancePublisher}
	if _, isProvenance := ok.Provenance(); isProvenance {
		e.Check, e.Assurance = trust.CheckProvenance, trust.AssuranceProvenance
	}
	if err := s.binding(f, blob); err != nil {
		signer := ok.Signer()
		bad := adapter.Unverified(e.Check, s.r, subject, err)
		bad.Signer, bad.Source = &signer, bundle.URL
		return bad, true
	}
	ok.Describe(&e, "bundle")
	e.Source = bundle.URL
	return e, true
}
