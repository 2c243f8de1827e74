package capsule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"github.com/headgate/headgate/ecosystems/golang"
	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/oci"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/checksums"
	"github.com/headgate/headgate/trust/helmprov"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/strictjson"
)

// State says what a replay established about one piece of evidence.
type State string

// States of evidence in a replay.
const (
	// VerifiedAnew: the enclosed bytes prove it under the enclosed keys.
	VerifiedAnew State = "verified"
	// Stands: it is as the log recorded it, and the capsule holds nothing that would
	// prove it anew.
	Stands State = "stands"
	// Differs: the enclosed bytes do not prove it.
	Differs State = "differs"
)

// Checked is what was established about one piece of evidence.
type Checked struct {
	Evidence string // trust.Evidence.ID
	Check    trust.Check
	Artifact string // name of the file, where a release has several
	State    State
	// Text says who signed, why it stands, or what is wrong.
	Text string
}

// again makes the check of one piece of evidence anew, offline, at the decision's
// time.
type again struct {
	at       time.Time
	facts    trust.Facts
	config   policies.Config
	signed   time.Time              // that a log signed for this release, of a check that was made anew
	document func(trust.Raw) []byte // of the capsule; nil if it is not there
	artifact Artifact

	// The verifier's own roots and keys; nil for those of the capsule.
	root []byte
	keys []byte
}

// errNothing says why nothing can be proven anew; the evidence stands as recorded.
type errNothing string

func (e errNothing) Error() string { return string(e) }

// verify returns nil if the enclosed bytes prove the evidence.
func (a *again) verify(e *trust.Evidence) error {
	switch {
	case e.Outcome != trust.Verified:
		return errNothing("recorded as " + string(e.Outcome) + ": nothing was proven")
	case e.Signer == nil:
		return errNothing("a comparison, nothing that anybody signed")
	}
	if _, ok := e.RawOf(oci.RawIndex); ok {
		return errNothing("the signatures are those of the images of an index, each about its own digest; headgate explain shows them")
	}
	for _, raw := range e.Raw {
		b := a.document(raw)
		if b == nil {
			continue
		}
		switch {
		case raw.MediaType == sigstore.MediaTypeBundle:
			return a.bundle(e, b)
		case raw.Name == "sumdb-note":
			return a.record(e, b)
		case raw.Name == "registry-signatures":
			return a.registry(e, b)
		case raw.Name == "provenance" && raw.MediaType == "text/plain":
			return a.chart(e, b)
		case raw.Name == "inrelease":
			return a.release(e, b)
		case raw.Name == "release":
			return a.releaseDetached(e, b)
		case raw.Name == "signature" && raw.MediaType == "application/pgp-signature", raw.Name == "openpgp-signature":
			return a.detached(e, b)
		}
	}
	return errNothing("the signature is not among what headgate keeps of this kind of evidence")
}

// named returns the enclosed document of that name.
func (a *again) named(e *trust.Evidence, name string) ([]byte, error) {
	if r, ok := e.RawOf(name); ok {
		if b := a.document(r); b != nil {
			return b, nil
		}
	}
	return nil, errNothing("the capsule holds no " + name)
}

// bundle verifies a Sigstore bundle.
func (a *again) bundle(e *trust.Evidence, b []byte) error {
	doc, err := a.root, error(nil)
	if doc == nil {
		if doc, err = a.named(e, trust.RawTrustedRoot); err != nil {
			return err
		}
	}
	// A private instance has its own rules, which the capsule's policy names.
	instance, err := a.config.InstanceFor(e.Release.Package)
	if err != nil {
		return err
	}
	root, err := sigstore.LoadTrustedRoot(doc, sigstore.RootOptions{Obtained: a.at, Now: a.at, Rules: ingest.SigstoreRules(instance)})
	if err != nil {
		return err
	}
	c, err := sigstore.Peek(b, false)
	if err != nil {
		return err
	}
	var v *sigstore.Verifier
	want := sigstore.Expectation{Identity: sigstore.CollectIdentityUnsafe()}
	switch {
	case c.Certificate == nil:
		ks, kerr := a.keySet(e)
		if kerr != nil {
			return kerr
		}
		want.Identity = sigstore.KeyIdentity()
		v, err = sigstore.NewKeyVerifier(root, ks, sigstore.UsageAttestations)
	case c.Entries == 0 && instance == nil:
		v, err = sigstore.NewGitHubPrivateVerifier(root)
	default:
		v, err = sigstore.NewVerifier(root)
	}
	if err != nil {
		return err
	}
	about, err := a.signedBytes(e)
	if err != nil {
		return err
	}
	if c.Payload == nil {
		want.MessageSignature, want.Artifact = true, about
	} else {
		want.PredicateTypes = []string{e.PredicateType}
		want.CheckSubjects = func(ss []sigstore.Subject) error { return subject(e.Release, about, ss) }
	}
	got, err := v.Verify(b, want)
	if err != nil {
		return err
	}
	var now trust.Evidence
	got.Describe(&now, "")
	switch {
	case !sameSigner(*e.Signer, *now.Signer):
		return trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, the evidence names %s", now.Signer, e.Signer)
	case !now.SignedAt.Equal(e.SignedAt):
		return trust.Failure(trust.ReasonWrongSubject, "the signed time is %s, the evidence says %s", stamp(now.SignedAt), stamp(e.SignedAt))
	case now.PredicateType != e.PredicateType || now.Builder != e.Builder || now.BuildType != e.BuildType:
		return trust.Failure(trust.ReasonWrongPredicate, "the attestation is of type %q by builder %q, the evidence says %q by %q", clip(now.PredicateType), clip(now.Builder), clip(e.PredicateType), clip(e.Builder))
	case !slices.EqualFunc(now.Logs, e.Logs, func(x, y trust.LogEntry) bool {
		return x.Log == y.Log && x.Index == y.Index && x.Time.Equal(y.Time)
	}):
		return trust.Failure(trust.ReasonWrongSubject, "the log entries are not those that the evidence names")
	}
	return nil
}

// signedBytes are the digests of what the signature is over: the artifact, or a
// document that names it and that the capsule holds.
func (a *again) signedBytes(e *trust.Evidence) (trust.Digests, error) {
	if r, ok := e.RawOf("checksums"); ok {
		b := a.document(r)
		if b == nil {
			return nil, errNothing("the capsule does not hold the signed list of checksums")
		}
		return trust.Digests{r.Digest}, listed(e, b)
	}
	if r, ok := e.RawOf("simple-signing"); ok {
		b := a.document(r)
		if b == nil {
			return nil, errNothing("the capsule does not hold the signed payload")
		}
		var doc struct {
			Critical struct {
				Image struct {
					Digest string `json:"docker-manifest-digest"`
				} `json:"image"`
			} `json:"critical"`
		}
		if err := strictjson.Unmarshal(b, &doc); err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the signed payload: %w", err)
		}
		d, err := trust.ParseDigest(doc.Critical.Image.Digest)
		if err != nil || e.Artifact.Digests.Compare(trust.Digests{d}) != trust.Agree {
			return nil, trust.Failure(trust.ReasonWrongDigest, "the payload is signed for %q, the evidence is about %s", clip(doc.Critical.Image.Digest), e.Artifact.Digests.Strongest())
		}
		return trust.Digests{r.Digest}, nil
	}
	return e.Artifact.Digests, nil
}

// listed demands that a list of checksums names the artifact.
func listed(e *trust.Evidence, list []byte) error {
	l, err := checksums.Parse(list)
	if err != nil {
		return err
	}
	for _, n := range l.Names() {
		if (e.Artifact.Name == "" || n == e.Artifact.Name) && l.Check(n, e.Artifact.Digests) == nil {
			return nil
		}
	}
	return trust.Failure(trust.ReasonWrongDigest, "the signed list does not name %s", e.Artifact.Digests.Strongest())
}

// subject demands that one of the signed subjects is the artifact; npm's names the
// release too.
func subject(r trust.Release, want trust.Digests, ss []sigstore.Subject) error {
	for _, s := range ss {
		equal, differ := 0, 0
		for _, d := range s.Digests {
			for _, w := range want {
				switch {
				case d.Algorithm != w.Algorithm:
				case d.Equal(w):
					equal++
				default:
					differ++
				}
			}
		}
		if equal == 0 || differ > 0 {
			continue
		}
		if r.Package.Type == "npm" {
			return npm.SubjectName(r)(s.Name)
		}
		return nil
	}
	return trust.Failure(trust.ReasonWrongSubject, "none of the %d signed subjects is %s", len(ss), want.Strongest())
}

// sameSigner compares the signer that a bundle proves with the recorded one. A
// registry is recorded under its own name, with the key or the identity that signed.
func sameSigner(recorded, now trust.Signer) bool {
	if recorded.Kind == trust.SignerRegistry {
		return recorded.KeyDigest != "" && recorded.KeyDigest == now.KeyDigest || recorded.KeyDigest == "" && recorded.KeyID != "" && recorded.KeyID == now.SAN
	}
	return reflect.DeepEqual(recorded, now)
}

func (a *again) keySet(e *trust.Evidence) (*sigstore.KeySet, error) {
	b, err := a.keys, error(nil)
	if b == nil {
		if b, err = a.named(e, trust.RawKeys); err != nil {
			return nil, err
		}
	}
	return sigstore.ParseNPMKeys(b)
}

// registry verifies a registry's signatures over name, version and digest.
func (a *again) registry(e *trust.Evidence, b []byte) error {
	ks, err := a.keySet(e)
	if err != nil {
		return err
	}
	return npm.VerifyAgain(*e, b, ks, a.signed, a.facts.Published)
}

// record verifies a record of a checksum database, with the proof that the signed
// tree holds it.
func (a *again) record(e *trust.Evidence, b []byte) error {
	proof, err := a.named(e, trust.RawLogProof)
	if err != nil {
		return err
	}
	key, err := a.named(e, trust.RawLogKey)
	if err != nil {
		return err
	}
	return golang.VerifyAgain(*e, b, proof, string(key))
}

// keyring is the enclosed certificates.
func (a *again) keyring(e *trust.Evidence) (openpgp.Want, error) {
	b, err := a.named(e, trust.RawOpenPGPKeys)
	if err != nil {
		return openpgp.Want{}, err
	}
	certs, _, err := openpgp.ParseCertificates(b)
	return openpgp.Want{Keys: openpgp.NewKeyring(certs...), Now: a.at}, err
}

func byFingerprint(e *trust.Evidence, s trust.Signer) error {
	if s.Fingerprint != e.Signer.Fingerprint || s.SubkeyFingerprint != e.Signer.SubkeyFingerprint {
		return trust.Failure(trust.ReasonUntrustedSigner, "signed by %s, the evidence names %s", s, e.Signer)
	}
	return nil
}

// chart verifies a Helm provenance file, which names chart, version and digest.
func (a *again) chart(e *trust.Evidence, b []byte) error {
	w, err := a.keyring(e)
	if err != nil {
		return err
	}
	sum := e.Artifact.Digests.Get(trust.SHA256)
	v, err := helmprov.VerifyAny(b, helmprov.Want{Want: w, Name: e.Release.Package.Name, Version: e.Release.Version, Digest: sum})
	if err != nil {
		return err
	}
	return byFingerprint(e, v.Signer())
}

// release verifies the signature of a distribution's release file. What lies
// between it and the package is not enclosed, and the text says so.
func (a *again) release(e *trust.Evidence, b []byte) error {
	w, err := a.keyring(e)
	if err != nil {
		return err
	}
	v, err := openpgp.VerifyClearsigned(b, w)
	if err != nil {
		return err
	}
	if err := byFingerprint(e, v.Signer()); err != nil {
		return err
	}
	return errNothing("the release file is verified anew as signed by " + e.Signer.String() + "; the index between it and the package is too large to be enclosed")
}

// releaseDetached is release for a file whose signature stands beside it.
func (a *again) releaseDetached(e *trust.Evidence, b []byte) error {
	w, err := a.keyring(e)
	if err != nil {
		return err
	}
	sig, err := a.named(e, "signature")
	if err != nil {
		return err
	}
	v, err := openpgp.VerifyDetached(bytes.NewReader(b), sig, w)
	if err != nil {
		return err
	}
	if err := byFingerprint(e, v.Signer()); err != nil {
		return err
	}
	return errNothing("the release file is verified anew as signed by " + e.Signer.String() + "; the index between it and the package is too large to be enclosed")
}

// detached verifies an OpenPGP signature over the artifact, which has to be given,
// or over an enclosed list of checksums.
func (a *again) detached(e *trust.Evidence, b []byte) error {
	w, err := a.keyring(e)
	if err != nil {
		return err
	}
	var message io.Reader
	if r, ok := e.RawOf("checksums"); ok {
		list := a.document(r)
		if list == nil {
			return errNothing("the capsule does not hold the signed list of checksums")
		}
		if err := listed(e, list); err != nil {
			return err
		}
		message = bytes.NewReader(list)
	} else {
		if a.artifact.Open == nil || a.artifact.Digests.Compare(e.Artifact.Digests) != trust.Agree {
			return errNothing("the signature is over the file itself, which is too large to be enclosed: --artifact FILE verifies it")
		}
		f, err := a.artifact.Open()
		if err != nil {
			return errNothing(err.Error())
		}
		defer f.Close()
		message = f
	}
	v, err := openpgp.VerifyDetached(message, b, w)
	if err != nil {
		return err
	}
	return byFingerprint(e, v.Signer())
}

// evidence makes every check anew, writes into the replay what came of it, and
// returns the evidence as it is now: what the bytes do not prove has failed.
func (r *Replayed) evidence(a *again, o Options) []trust.Evidence {
	d := &r.Decision
	now := slices.Clone(d.Evidence)
	// The log's time of the publication counts for retired keys: it comes first.
	order := make([]int, 0, len(now))
	for i := range now {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(x, y int) int {
		first := func(i int) int {
			if now[i].Check == trust.CheckPublish {
				return 0
			}
			return 1
		}
		return first(x) - first(y)
	})
	r.Evidence = make([]Checked, len(now))
	for _, i := range order {
		e := &now[i]
		c := Checked{Evidence: e.ID(), Check: e.Check, Artifact: e.Artifact.Name, State: VerifiedAnew}
		err := a.verify(e)
		var nothing errNothing
		switch {
		case err == nil:
			c.Text = "signed by " + e.Signer.String()
			if e.Check == trust.CheckPublish {
				a.signed = e.SignedAt
			}
			r.own(e, a, o)
		case errors.As(err, &nothing):
			c.State, c.Text = Stands, string(nothing)
		default:
			c.State, c.Text = Differs, err.Error()
			_, reason := trust.Classify(err)
			r.Differences = append(r.Differences, fmt.Sprintf("evidence %s (%s): recorded as verified, and the enclosed bytes do not prove it: %v", c.Evidence, e.Check, err))
			*e = trust.Evidence{Check: e.Check, Outcome: trust.Failed, Release: e.Release, Artifact: e.Artifact, Reason: reason, Detail: err.Error()}
		}
		r.Evidence[i] = c
	}
	return now
}

// own compares with the verifier's own roots and keys, where they are given, and
// says of the others that they are the capsule's.
func (r *Replayed) own(e *trust.Evidence, a *again, o Options) {
	note := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(r.Roots, s) {
			r.Roots = append(r.Roots, s)
		}
	}
	mine := *a
	differs := false
	for _, k := range []struct {
		name, what, flag string
		own              []byte
		set              func([]byte)
	}{
		{trust.RawTrustedRoot, "Sigstore's trusted root", "--trusted-root", o.TrustedRoot, func(b []byte) { mine.root = b }},
		{trust.RawKeys, "the registry's keys", "--npm-keys", o.Keys, func(b []byte) { mine.keys = b }},
	} {
		raw, ok := e.RawOf(k.name)
		if !ok {
			continue
		}
		switch {
		case k.own == nil:
			note("%s (%s) came with the capsule, which proves no origin; %s FILE compares with your own", k.what, raw.Digest, k.flag)
		case trust.NewRaw("", "", k.own).Digest.Equal(raw.Digest):
			note("%s (%s) is your own", k.what, raw.Digest)
		default:
			differs = true
			k.set(k.own)
			note("%s of the capsule is %s, and your own is another; every check was made under both", k.what, raw.Digest)
		}
	}
	if raw, ok := e.RawOf(trust.RawLogKey); ok {
		if key := string(a.document(raw)); slices.Contains(o.LogKeys, key) {
			note("the checksum database's key %s is one that you know", shortKey(key))
		} else {
			note("the checksum database's key %s came with the capsule, and is none that this headgate knows", shortKey(key))
		}
	}
	if raw, ok := e.RawOf(trust.RawOpenPGPKeys); ok {
		note("the certificate %s (%s) came with the capsule: compare its fingerprint with the publisher's", e.Signer, raw.Digest)
	}
	if differs {
		if err := mine.verify(e); err != nil {
			r.Differences = append(r.Differences, fmt.Sprintf("evidence %s (%s) is not verified under your own roots and keys: %v", e.ID(), e.Check, err))
		}
	}
}

// shortKey is a verifier key without the key itself.
func shortKey(vkey string) string {
	n := 0
	for i := range vkey {
		if vkey[i] == '+' {
			if n++; n == 2 {
				return vkey[:i]
			}
		}
	}
	return clip(vkey)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.UTC().Format(time.RFC3339)
}

// jsonOf is for comparing values whose empty forms differ.
func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
