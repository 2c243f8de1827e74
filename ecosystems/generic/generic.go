package generic

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/pinned"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/authenticode"
	"github.com/headgate/headgate/trust/checksums"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// Bounds of what is fetched.
const (
	MaxFile      = 8 << 30 // bytes of one download
	MaxSignature = 1 << 20 // bytes of one detached signature
)

// Options are the outside world of an Adapter.
type Options struct {
	Get   upstream.Getter
	Clock adapter.Clock
	// Downloads are the expectations; they come from the policy that counts.
	Downloads []Download
	// Sigstore verifies bundles; nil if no download names a keyless identity.
	Sigstore adapter.Verifiers
	// Materials has the keys that downloads do not write out; nil for none.
	Materials adapter.Materials
	// MaxFile tightens the bound of one download; 0 for MaxFile.
	MaxFile int64
}

// Adapter checks plain downloads. It is safe for concurrent use.
type Adapter struct {
	o     Options
	keys  *pinned.Keys
	byURL map[string]*expected
}

// New returns an adapter. An expectation that proves nothing, or that cannot be
// read, is an error that wraps trust.ErrConfiguration.
func New(o Options) (*Adapter, error) {
	if o.Get == nil || o.Clock == nil {
		return nil, errors.New("the adapter of downloads needs an upstream client and a clock")
	}
	if o.MaxFile <= 0 || o.MaxFile > MaxFile {
		o.MaxFile = MaxFile
	}
	es, err := parseAll(o.Downloads)
	if err != nil {
		return nil, err
	}
	a := &Adapter{o: o, keys: pinned.New(o.Materials), byURL: map[string]*expected{}}
	for _, e := range es {
		if e.Sigstore != nil && o.Sigstore == nil {
			return nil, fmt.Errorf("download %.200q: %w: there is nothing to verify Sigstore bundles with", display(e.URL), trust.ErrConfiguration)
		}
		a.byURL[e.URL] = e
	}
	return a, nil
}

// Describe says what is verified.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name: "Downloads", Types: []string{"generic"}, Sources: []string{"headgate.yaml: downloads"},
		Integrity: "configured digest = bytes",
		Registry:  "–",
		Publisher: "OpenPGP, minisign, signify, SSH, Sigstore or Authenticode, over the file or its checksum list",
		Binding:   "the configuration names the signer of each URL",
		Checks:    []trust.Check{trust.CheckSource, trust.CheckLockfile, trust.CheckBytes, trust.CheckPublisherSig, trust.CheckProvenance},
		Offers:    trust.AssuranceNone,
	}
}

// Handles says that downloads by their URL are what the adapter is for.
func (a *Adapter) Handles(k sbom.Kind) bool { return k == sbom.KindURL }

// Collect fetches the file and holds it against every expectation. If one does
// not hold, nothing comes out as verified.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	c, r := req.Component, req.Component.Release
	locked := adapter.Stated(c)
	one := func(e trust.Evidence) (adapter.Result, error) { return adapter.Only(e), nil }
	if c.Kind != sbom.KindURL {
		if e, ok := adapter.Elsewhere(c, "a plain download"); ok {
			return one(e)
		}
	}
	want, err := a.expectation(c)
	if err != nil {
		return one(adapter.Unverified(trust.CheckSource, r, locked, err))
	}
	if want == nil {
		e := adapter.Missing(trust.CheckSource, r, locked, trust.ReasonNotOffered, "no registry vouches for a generic package, and nothing is expected of it")
		e.Remedy = "name its URL under downloads in headgate.yaml, with its digest or signer"
		return one(e)
	}
	es := a.check(ctx, r, locked, want)
	if err := ctx.Err(); err != nil {
		return adapter.Result{}, err
	}
	return adapter.Result{Evidence: es}, nil
}

// expectation finds the download that the component is; nil if there is none.
func (a *Adapter) expectation(c sbom.Component) (*expected, error) {
	urls := []string{c.Origin}
	for _, art := range c.Artifacts {
		urls = append(urls, art.URL)
	}
	var found *expected
	for _, u := range urls {
		if u == "" {
			continue
		}
		e := a.byURL[u]
		if e == nil {
			return nil, foreign(u)
		}
		if found != nil && e != found {
			return nil, trust.Failure(trust.ReasonForeignSource, "the component names two downloads, %s and %s", display(found.URL), display(e.URL))
		}
		found = e
	}
	switch {
	case found == nil:
		return nil, nil
	case found.Name != "" && c.Release.Package != found.release.Package:
		return nil, trust.Failure(trust.ReasonWrongName, "%s is configured as %s", display(found.URL), found.release.Package)
	case found.Version != "" && c.Release.Version != found.Version:
		return nil, trust.Failure(trust.ReasonWrongVersion, "%s is configured as version %s", display(found.URL), found.Version)
	}
	return found, nil
}

func foreign(u string) error {
	return &trust.VerifyError{Outcome: trust.Absent, Reason: trust.ReasonNotOffered, Err: fmt.Errorf("%s is no configured download: name it under downloads in headgate.yaml, with its digest or signer", display(u))}
}

// check makes every check that the download asks for.
func (a *Adapter) check(ctx context.Context, r trust.Release, locked trust.Artifact, want *expected) []trust.Evidence {
	art := trust.Artifact{Name: want.file, URL: want.URL, Digests: slices.Clone(locked.Digests)}
	// A digest that the source states must hold as well as the configured one.
	if !want.Digest.IsZero() {
		pin := trust.Artifact{Name: art.Name, URL: art.URL, Digests: trust.Digests{want.Digest}}
		switch locked.Digests.Compare(pin.Digests) {
		case trust.Disagree:
			return []trust.Evidence{adapter.CompareDigests(trust.CheckLockfile, r, locked, pin)}
		case trust.Agree:
		default:
			art.Digests = append(art.Digests, want.Digest)
		}
	}
	b, err := a.open(ctx, want, art.Digests)
	if err != nil {
		return []trust.Evidence{adapter.Unverified(trust.CheckBytes, r, art, err)}
	}
	defer b.Close()
	sums, err := digest(b)
	if err != nil {
		return []trust.Evidence{adapter.Unverified(trust.CheckBytes, r, art, trust.Undecidable(trust.ReasonNetwork, "reading the download: %w", err))}
	}
	stated := art.Digests
	art.Digests = sums
	for _, d := range stated {
		// SHA-1 and the like beside a strong one must not contradict, and cannot prove.
		if got := sums.Get(d.Algorithm); !got.IsZero() && !got.Equal(d) {
			return []trust.Evidence{adapter.Refuted(trust.CheckBytes, r, art, trust.ReasonWrongDigest, "the file is %s, expected %s", got, d)}
		}
	}
	source := trust.Evidence{Check: trust.CheckSource, Outcome: trust.Verified, Release: r, Artifact: art, Source: want.URL}
	es := []trust.Evidence{source}
	if stated.Strongest().IsZero() {
		es = append(es, adapter.Missing(trust.CheckLockfile, r, art, trust.ReasonNoLockDigest, "no digest of the file is stated; it is %s now", sums.Strongest()))
	} else {
		es = append(es, trust.Evidence{Check: trust.CheckBytes, Outcome: trust.Verified, Release: r, Artifact: art, Source: want.URL})
	}
	var unmet []trust.Evidence
	for _, e := range a.signatures(ctx, r, art, want, b) {
		if e.Outcome != trust.Verified {
			unmet = append(unmet, e)
		}
		es = append(es, e)
	}
	if len(unmet) > 0 {
		// Without any other evidence: whatever is verified would let the file pass,
		// for a digest alone is enough where nothing more is expected.
		return unmet
	}
	return es
}

func digest(b adapter.Blob) (trust.Digests, error) {
	h2, h3, h5 := sha256.New(), sha512.New384(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h2, h3, h5), section(b)); err != nil {
		return nil, err
	}
	return trust.Digests{trust.DigestOf(trust.SHA256, h2.Sum(nil)), trust.DigestOf(trust.SHA384, h3.Sum(nil)), trust.DigestOf(trust.SHA512, h5.Sum(nil))}, nil
}

func section(b adapter.Blob) io.Reader { return io.NewSectionReader(b, 0, b.Size()) }

// open fetches the file; with a strong digest only the bytes that it names.
func (a *Adapter) open(ctx context.Context, want *expected, known trust.Digests) (adapter.Blob, error) {
	q := upstream.Request{URL: want.URL, MaxBytes: a.o.MaxFile, Allow: want.Hosts, Want: known.Strongest()}
	switch q.Want.Algorithm {
	case trust.SHA256, trust.SHA384, trust.SHA512:
	default:
		// Who signed says whether these are the right bytes, and is asked next.
		q.Want, q.Verify = trust.Digest{}, func(io.ReaderAt, int64) error { return nil }
	}
	b, err := a.o.Get.Open(ctx, q)
	var ue *upstream.Error
	if errors.As(err, &ue) && (ue.Status == http.StatusNotFound || ue.Status == http.StatusGone) {
		return nil, trust.Undecidable(trust.ReasonNotFound, "%s is not there (any more)", display(want.URL))
	}
	return b, err
}

// Fetch hands out the file with the digest that art states.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	want, err := a.expectation(c)
	if err != nil {
		return nil, err
	}
	if want == nil {
		return nil, trust.Failure(trust.ReasonForeignSource, "%s is no configured download", c.Release)
	}
	switch d := art.Digests.Strongest(); d.Algorithm {
	case trust.SHA256, trust.SHA384, trust.SHA512:
		return a.open(ctx, want, trust.Digests{d})
	}
	return nil, trust.Undecidable(trust.ReasonNoLockDigest, "%s: no digest to fetch the file by", c.Release)
}

// document fetches a signature or checksum list.
func (a *Adapter) document(ctx context.Context, url string, limit int64, hosts []string, what string) ([]byte, error) {
	resp, err := a.o.Get.Get(ctx, upstream.Request{URL: url, MaxBytes: limit, Allow: hosts})
	if err != nil {
		return nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound, http.StatusGone:
		return nil, &trust.VerifyError{Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Err: fmt.Errorf("there is no %s at %s", what, display(url))}
	}
	return nil, trust.Undecidable(trust.ReasonNetwork, "%s: HTTP %d", display(url), resp.Status)
}

// message is what a detached signature is over: the file or its checksum list.
type message struct {
	url, name string
	list      []byte // nil for the file itself
	blob      adapter.Blob
	digests   trust.Digests
}

func (m message) reader() io.Reader {
	if m.list != nil {
		return strings.NewReader(string(m.list))
	}
	return section(m.blob)
}

// signatures checks every signer that the download names.
func (a *Adapter) signatures(ctx context.Context, r trust.Release, art trust.Artifact, want *expected, b adapter.Blob) []trust.Evidence {
	m := message{url: want.URL, name: want.file, blob: b, digests: art.Digests}
	var list error // what is wrong with the checksum list, whoever signed it
	var es []trust.Evidence
	if want.Checksums != "" {
		m.url, m.name = want.Checksums, want.Checksums[strings.LastIndexByte(want.Checksums, '/')+1:]
		if m.list, list = a.document(ctx, want.Checksums, checksums.MaxList, want.Hosts, "checksum list"); list == nil {
			s2, s3, s5 := sha256.Sum256(m.list), sha512.Sum384(m.list), sha512.Sum512(m.list)
			m.digests = trust.Digests{trust.DigestOf(trust.SHA256, s2[:]), trust.DigestOf(trust.SHA384, s3[:]), trust.DigestOf(trust.SHA512, s5[:])}
		}
	}
	// verify runs one verifier over the detached signature, and only then reads
	// the list: nothing counts that nobody signed.
	verify := func(suffix, raw string, limit int64, f func(sig []byte, e *trust.Evidence) error) {
		e := trust.Evidence{Check: trust.CheckPublisherSig, Outcome: trust.Verified, Release: r, Artifact: art, Assurance: trust.AssurancePublisher}
		if err := func() error {
			if list != nil {
				return list
			}
			e.Source = want.Signature
			if e.Source == "" {
				e.Source = m.url + suffix
			}
			sig, err := a.document(ctx, e.Source, limit, want.Hosts, "signature")
			if err != nil {
				return err
			}
			if err := f(sig, &e); err != nil {
				return err
			}
			if len(e.Raw) == 0 {
				e.Raw = []trust.Raw{trust.NewRaw(raw, "application/octet-stream", sig)}
			}
			return a.listed(m, art, &e, want)
		}(); err != nil {
			u := adapter.Unverified(trust.CheckPublisherSig, r, art, err)
			u.Source = e.Source
			if u.Reason == trust.ReasonUnknownKey {
				u.Remedy = pinned.Remedy(r.Package, nil)
			}
			e = u
		}
		es = append(es, e)
	}
	by := func(s trust.Signer, e *trust.Evidence) { e.Signer = &s }
	for _, k := range []struct {
		text   string
		keys   []minisign.PublicKey
		format minisign.Format
		suffix string
		raw    string
	}{{want.Minisign, want.minisign, minisign.Minisign, ".minisig", "minisign-signature"}, {want.Signify, want.signify, minisign.Signify, ".sig", "signify-signature"}} {
		if k.text == "" {
			continue
		}
		verify(k.suffix, k.raw, minisign.MaxSignature, func(sig []byte, e *trust.Evidence) error {
			keys := k.keys
			if k.text == Pinned {
				var err error
				if keys, _, err = a.plainKeys(ctx, r.Package); err != nil {
					return err
				}
			}
			v, err := minisign.Verify(m.reader(), sig, minisign.Want{Format: k.format, Keys: keys})
			if err != nil {
				return err
			}
			by(v.Signer(), e)
			e.Detail = v.TrustedComment()
			return nil
		})
	}
	if want.SSH != "" {
		verify(".sig", "ssh-signature", sshsig.MaxSignature, func(sig []byte, e *trust.Evidence) error {
			keys := want.ssh
			if want.SSH == Pinned {
				var err error
				if _, keys, err = a.plainKeys(ctx, r.Package); err != nil {
					return err
				}
			}
			v, err := sshsig.Verify(m.reader(), sig, sshsig.Want{Namespace: sshsig.NamespaceFile, Keys: keys})
			if err != nil {
				return err
			}
			by(v.Signer(), e)
			return nil
		})
	}
	if want.OpenPGP != "" {
		verify(".asc", "openpgp-signature", MaxSignature, func(sig []byte, e *trust.Evidence) error {
			ring, err := a.keyring(ctx, r.Package, want)
			if err != nil {
				return err
			}
			v, err := openpgp.VerifyDetached(m.reader(), sig, openpgp.Want{Keys: ring, Now: a.o.Clock()})
			if err != nil {
				return err
			}
			by(v.Signer(), e)
			key := trust.NewRaw(trust.RawOpenPGPKeys, "application/pgp-keys", ring.Of(v.Signer().Fingerprint))
			e.Root, e.Raw = key.Digest, []trust.Raw{trust.NewRaw("openpgp-signature", "application/octet-stream", sig), key}
			return nil
		})
	}
	if want.Sigstore != nil {
		verify(".sigstore.json", "bundle", sigstore.MaxBundle, func(sig []byte, e *trust.Evidence) error {
			return a.bundle(ctx, sig, m, want, e)
		})
	}
	if want.Authenticode != nil {
		es = append(es, a.authenticode(ctx, r, art, want, b))
	}
	return es
}

// listed holds the file against the signed checksum list, if there is one.
func (a *Adapter) listed(m message, art trust.Artifact, e *trust.Evidence, want *expected) error {
	if m.list == nil {
		return nil
	}
	l, err := checksums.Parse(m.list)
	if err != nil {
		return err
	}
	if err := l.Check(want.file, art.Digests); err != nil {
		return err
	}
	e.Raw = append(e.Raw, trust.NewRaw("checksums", "text/plain", m.list))
	e.Detail = strings.TrimPrefix(e.Detail+"; the signed list "+m.name+" names the file", "; ")
	return nil
}

// bundle verifies a Sigstore bundle: a plain signature, or provenance that names
// the file.
func (a *Adapter) bundle(ctx context.Context, b []byte, m message, want *expected, e *trust.Evidence) error {
	v, err := a.o.Sigstore(ctx, e.Release.Package)
	if err != nil {
		return err
	}
	got, err := v.Verify(b, sigstore.Expectation{
		Artifact: m.digests,
		CheckSubjects: func(ss []sigstore.Subject) error {
			for _, s := range ss {
				if s.Digests.Compare(m.digests) != trust.Agree {
					continue
				}
				if s.Name != m.name {
					return sigstore.NameError(trust.ReasonWrongName, "signed under the name %.100q, not %s", s.Name, m.name)
				}
				return nil
			}
			return sigstore.NameError(trust.ReasonWrongSubject, "signed about other files than %s", m.name)
		},
		PredicateTypes:   []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02},
		MessageSignature: true,
		Identity:         want.identity,
	})
	if err != nil {
		return err
	}
	if _, ok := got.Provenance(); ok && m.list == nil {
		e.Check, e.Assurance = trust.CheckProvenance, trust.AssuranceProvenance
	}
	got.Describe(e, "bundle")
	return nil
}

// authenticode verifies the signature inside a PE file.
func (a *Adapter) authenticode(ctx context.Context, r trust.Release, art trust.Artifact, want *expected, b adapter.Blob) trust.Evidence {
	v, err := func() (*authenticode.Verified, error) {
		f, err := authenticode.Open(b, b.Size())
		if err != nil {
			return nil, err
		}
		if len(f.Signatures()) == 0 {
			return nil, &trust.VerifyError{Outcome: trust.Absent, Reason: trust.ReasonNotPublished, Err: errors.New("the file has no Authenticode signature")}
		}
		w := authenticode.Want{Roots: want.roots, TimestampRoots: want.tsaRoots, Now: a.o.Clock()}
		if p := want.Authenticode; p.Root == Pinned || p.TimestampRoot == Pinned {
			roots, err := a.roots(ctx, r.Package)
			if err != nil {
				return nil, err
			}
			if p.Root == Pinned {
				w.Roots = roots
			}
			if p.TimestampRoot == Pinned {
				w.TimestampRoots = roots
			}
		}
		if fp := want.Authenticode.Fingerprint; fp != "" {
			w.Pinned = []string{strings.ToLower(fp)}
		}
		for _, s := range f.Signatures() {
			v, verr := s.Verify(w)
			if verr != nil {
				err = verr
				continue
			}
			if subject := want.Authenticode.Subject; subject != "" && v.Signer().Subject != subject {
				err = trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, expected %s", v.Signer().Subject, subject)
				continue
			}
			return v, nil
		}
		return nil, err
	}()
	if err != nil {
		return adapter.Unverified(trust.CheckPublisherSig, r, art, err)
	}
	s := v.Signer()
	e := trust.Evidence{Check: trust.CheckPublisherSig, Outcome: trust.Verified, Release: r, Artifact: art, Assurance: trust.AssurancePublisher, Signer: &s, SignedAt: v.SignedAt()}
	for _, x := range v.Extras() {
		e.Detail = strings.TrimPrefix(fmt.Sprintf("%s; the signature does not cover a %s of %d bytes", e.Detail, x.Kind, x.Size), "; ")
	}
	return e
}
