package sigstore_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

var now = time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)

var artifact = []byte("the artifact")

const subject = "pkg:npm/widget@1.0.0"

func digests(b []byte) trust.Digests {
	s256, s512 := sha256.Sum256(b), sha512.Sum512(b)
	return trust.Digests{trust.DigestOf(trust.SHA256, s256[:]), trust.DigestOf(trust.SHA512, s512[:])}
}

func named(want string) func(string) error {
	return func(n string) error {
		if n != want {
			return errors.New("expected " + want)
		}
		return nil
	}
}

type setup struct {
	*sigstoretest.World
	root    *sigstore.Root
	keyless *sigstore.Verifier
	keyed   *sigstore.Verifier
	private *sigstore.Verifier
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	w := sigstoretest.New(t, now)
	s := &setup{World: w, root: rootOf(t, w)}
	var err error
	if s.keyless, err = sigstore.NewVerifier(s.root); err != nil {
		t.Fatal(err)
	}
	keys, err := sigstore.ParseNPMKeys(w.NPMKeys())
	if err != nil {
		t.Fatal(err)
	}
	if s.keyed, err = sigstore.NewKeyVerifier(s.root, keys, sigstore.UsageAttestations); err != nil {
		t.Fatal(err)
	}
	if s.private, err = sigstore.NewGitHubPrivateVerifier(s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

func rootOf(t testing.TB, w *sigstoretest.World) *sigstore.Root {
	t.Helper()
	r, err := sigstore.LoadTrustedRoot(w.TrustedRoot(), sigstore.RootOptions{Obtained: now, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func provenance() []byte {
	return sigstoretest.Statement(sigstore.PredicateProvenance1, sigstoretest.Workflow{}.Provenance1(), sigstoretest.SubjectOf(subject, artifact))
}

func publish() []byte {
	return sigstoretest.Statement(sigstore.PredicateNPMPublish, map[string]any{"name": "widget"}, sigstoretest.SubjectOf(subject, artifact))
}

func keylessWant() sigstore.Expectation {
	return sigstore.Expectation{Artifact: digests(artifact), SubjectName: named(subject),
		PredicateTypes: []string{sigstore.PredicateProvenance1, sigstore.PredicateProvenance02}, Identity: sigstore.CollectIdentityUnsafe()}
}

func keyWant() sigstore.Expectation {
	x := keylessWant()
	x.PredicateTypes, x.Identity = []string{sigstore.PredicateNPMPublish}, sigstore.KeyIdentity()
	return x
}

// path is a way that a bundle can take through the verifier.
type path struct {
	name string
	v    *sigstore.Verifier
	opts sigstoretest.Options
	want sigstore.Expectation
}

func paths(s *setup) []path {
	msg := sigstore.Expectation{Artifact: digests(artifact), MessageSignature: true, Identity: sigstore.CollectIdentityUnsafe()}
	keyMsg := msg
	keyMsg.Identity = sigstore.KeyIdentity()
	return []path{
		{"keyless log v1", s.keyless, sigstoretest.Options{Statement: provenance()}, keylessWant()},
		{"keyless log v1, bundle 0.1", s.keyless, sigstoretest.Options{Statement: provenance(), Version: "0.1"}, keylessWant()},
		{"keyless log v1, bundle 0.2", s.keyless, sigstoretest.Options{Statement: provenance(), Version: "0.2"}, keylessWant()},
		{"keyless log v2", s.keyless, sigstoretest.Options{Statement: provenance(), LogV2: true}, keylessWant()},
		{"key log v1", s.keyed, sigstoretest.Options{Statement: publish(), Key: s.NPM}, keyWant()},
		{"key log v2", s.keyed, sigstoretest.Options{Statement: publish(), Key: s.NPM, LogV2: true}, keyWant()},
		{"message log v1", s.keyless, sigstoretest.Options{Artifact: artifact}, msg},
		{"message log v2", s.keyless, sigstoretest.Options{Artifact: artifact, LogV2: true}, msg},
		{"key message log v1", s.keyed, sigstoretest.Options{Artifact: artifact, Key: s.NPM}, keyMsg},
	}
}

func check(t *testing.T, err error, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("verified, expected %s (%s)", o, r)
	}
	gotO, gotR := sigstore.Classify(err)
	if gotO != o || (r != "" && gotR != r) {
		t.Fatalf("%s (%s), expected %s (%s): %v", gotO, gotR, o, r, err)
	}
}

func TestSoundBundles(t *testing.T) {
	s := newSetup(t)
	for _, p := range paths(s) {
		t.Run(p.name, func(t *testing.T) {
			raw := s.Bundle(p.opts)
			got, err := p.v.Verify(raw, p.want)
			if err != nil {
				t.Fatal(err)
			}
			if !got.SignedAt().Equal(now) || len(got.Logs()) != 1 || string(got.Raw()) != string(raw) || got.Root() != s.root.Info().Digest {
				t.Errorf("verified %+v", got)
			}
			if p.opts.Key == nil && got.Signer().SourceRepository != "https://github.com/acme/widget" {
				t.Errorf("signer %+v", got.Signer())
			}
			if p.opts.Key != nil && (got.Signer().Kind != trust.SignerKey || got.Signer().KeyID != s.NPM.ID) {
				t.Errorf("signer %+v", got.Signer())
			}
		})
	}
}

// What a path has, and a fault needs.
const keyless, dsse, v1, proof = 1, 2, 4, 8

type verdict struct {
	o trust.Outcome
	r trust.Reason
}

var (
	bad      = verdict{trust.Failed, trust.ReasonBadSignature}
	window   = verdict{trust.Failed, trust.ReasonKeyOutsideWindow}
	stranger = verdict{trust.Failed, trust.ReasonUntrustedSigner}
	stopped  = verdict{} // any error
)

// faults are all ways of breaking a bundle, each with the verdict that it must get.
var faults = []struct {
	fault sigstoretest.Fault
	needs int
	want  verdict
}{
	{sigstoretest.FaultSignature, 0, bad},
	{sigstoretest.FaultNoPAE, dsse, bad},
	{sigstoretest.FaultPayload, dsse, bad},
	{sigstoretest.FaultTwoSignatures, dsse, verdict{trust.Unreachable, trust.ReasonMalformed}},
	{sigstoretest.FaultNoSCT, keyless, bad},
	{sigstoretest.FaultForeignSCT, keyless, bad},
	{sigstoretest.FaultBadSCT, keyless, bad},
	{sigstoretest.FaultForeignCA, keyless, stranger},
	{sigstoretest.FaultExpired, keyless, window},
	{sigstoretest.FaultNotYet, keyless, window},
	{sigstoretest.FaultNoEntry, 0, bad},
	{sigstoretest.FaultForeignLog, 0, verdict{trust.Unreachable, trust.ReasonUnknownKey}},
	{sigstoretest.FaultEntrySignature, 0, bad},
	{sigstoretest.FaultEntryKey, keyless, bad},
	{sigstoretest.FaultEntryDigest, 0, bad},
	{sigstoretest.FaultSET, v1, bad},
	{sigstoretest.FaultProof, proof, bad},
	{sigstoretest.FaultCheckpoint, proof, bad},
	{sigstoretest.FaultCheckpointOrigin, proof, stopped},
	{sigstoretest.FaultCheckpointNoSize, proof, stopped},
	{sigstoretest.FaultCheckpointSize, proof, stopped},
	{sigstoretest.FaultCheckpointNoRoot, proof, stopped},
	{sigstoretest.FaultCheckpointRoot, proof, bad},
	{sigstoretest.FaultCheckpointUnsigned, proof, stopped},
	{sigstoretest.FaultCheckpointHint, proof, stopped},
	{sigstoretest.FaultCheckpointForeign, proof, stopped},
	{sigstoretest.FaultTimestampWindow, proof, bad},
	{sigstoretest.FaultNoProof, 0, stopped},
	{sigstoretest.FaultNoTimestamp, 0, stopped},
	{sigstoretest.FaultForeignTSA, proof, bad},
	{sigstoretest.FaultTimestamp, proof, bad},
	{sigstoretest.FaultTwice, 0, bad},
}

// breakBundles runs faults, all of them if none are named, on every path that
// they apply to; a fault that no path has fails the test.
func breakBundles(t *testing.T, only ...sigstoretest.Fault) {
	s := newSetup(t)
	for _, f := range faults {
		if len(only) > 0 && !slices.Contains(only, f.fault) {
			continue
		}
		ran := 0
		for _, p := range paths(s) {
			has := 0
			if p.opts.Key == nil {
				has |= keyless
			}
			if p.opts.Statement != nil {
				has |= dsse
			}
			if !p.opts.LogV2 {
				has |= v1
			}
			if p.opts.Version != "0.1" {
				has |= proof
			}
			if f.needs&has != f.needs {
				continue
			}
			ran++
			t.Run(string(f.fault)+"/"+p.name, func(t *testing.T) {
				o := p.opts
				o.Fault = f.fault
				got, err := p.v.Verify(s.Bundle(o), p.want)
				if err == nil || !got.IsZero() {
					t.Fatalf("verified, as signed by %s", got.Signer())
				}
				if f.want != stopped {
					check(t, err, f.want.o, f.want.r)
				}
			})
		}
		if ran == 0 {
			t.Errorf("no path for the fault %s", f.fault)
		}
	}
}

// TestThreat002FaultsOnEveryPath runs each way of breaking a bundle against each path.
func TestThreat002FaultsOnEveryPath(t *testing.T) { breakBundles(t) }

// TestThreat001OtherEntry: a valid log entry of another signature, key or digest.
func TestThreat001OtherEntry(t *testing.T) {
	breakBundles(t, sigstoretest.FaultEntrySignature, sigstoretest.FaultEntryKey, sigstoretest.FaultEntryDigest)
}

// TestThreat005BytesAsReceived: a payload that parses the same but is not the signed one.
func TestThreat005BytesAsReceived(t *testing.T) { breakBundles(t, sigstoretest.FaultPayload) }

// TestThreat011PAE: signatures over the raw payload, and random ones.
func TestThreat011PAE(t *testing.T) {
	breakBundles(t, sigstoretest.FaultNoPAE, sigstoretest.FaultSignature)
}

// TestThreat023SameLogTwice: two entries of one log, and the same one twice.
func TestThreat023SameLogTwice(t *testing.T) { breakBundles(t, sigstoretest.FaultTwice) }

// TestThreat038ForeignTSA: a timestamp that brings its own chain, and one from
// before the authority was valid.
func TestThreat038ForeignTSA(t *testing.T) {
	breakBundles(t, sigstoretest.FaultForeignTSA, sigstoretest.FaultTimestampWindow)
}

// TestThreat039UnsignedTime: an integrated time without promise is no time.
func TestThreat039UnsignedTime(t *testing.T) { breakBundles(t, sigstoretest.FaultNoTimestamp) }

// TestThreat040SCT: certificates without SCT, with one of an unknown log, with a wrong one.
func TestThreat040SCT(t *testing.T) {
	breakBundles(t, sigstoretest.FaultNoSCT, sigstoretest.FaultForeignSCT, sigstoretest.FaultBadSCT)
}

// TestThreat045Checkpoint: checkpoints of another key, proofs of another entry,
// and checkpoints that lack a part or are for another tree, in logs v1 and v2.
func TestThreat045Checkpoint(t *testing.T) {
	breakBundles(t, sigstoretest.FaultCheckpoint, sigstoretest.FaultProof, sigstoretest.FaultNoProof,
		sigstoretest.FaultCheckpointOrigin, sigstoretest.FaultCheckpointNoSize, sigstoretest.FaultCheckpointSize,
		sigstoretest.FaultCheckpointNoRoot, sigstoretest.FaultCheckpointRoot, sigstoretest.FaultCheckpointUnsigned,
		sigstoretest.FaultCheckpointHint, sigstoretest.FaultCheckpointForeign)
}

// TestThreat046LogV2NeedsTimestamp: entries of log v2 have no time of their own.
func TestThreat046LogV2NeedsTimestamp(t *testing.T) {
	breakBundles(t, sigstoretest.FaultNoTimestamp, sigstoretest.FaultTimestamp)
}

// TestThreat025ExpiredIntermediate: the leaf is valid at the signed time, its issuer no longer.
func TestThreat025ExpiredIntermediate(t *testing.T) {
	s := newSetup(t)
	_, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: provenance(), At: now.AddDate(10, 0, 1)}), keylessWant())
	check(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
}

// TestThreat015OtherIssuer: the right subject name of another issuer.
func TestThreat015OtherIssuer(t *testing.T) {
	s := newSetup(t)
	x := keylessWant()
	var err error
	if x.Identity, err = sigstore.ExactIdentity("https://issuer.example.com", sigstoretest.Workflow{}.SAN()); err != nil {
		t.Fatal(err)
	}
	_, err = s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: provenance()}), x)
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
}

// TestThreat014Patterns: patterns match as a whole or not at all.
func TestThreat014Patterns(t *testing.T) {
	s := newSetup(t)
	raw := func(repo string) []byte {
		f := sigstoretest.Workflow{Repository: repo}
		return s.Bundle(sigstoretest.Options{Identity: f.Identity(), Artifact: artifact})
	}
	const issuer = `https://token\.actions\.githubusercontent\.com`
	for _, c := range []struct {
		repo, issuer, san string
		ok                bool
	}{
		{"org/app", issuer, `https://github\.com/org/.*`, true},
		{"org-evil/app", issuer, `https://github\.com/org/.*`, false},
		{"evil/https://github.com/org/app", issuer, `https://github\.com/org/.*`, false},
		{"org/app", issuer, `https://github\.com/org/`, false},
		{"org/app", issuer, `github\.com/org/.*`, false},
		{"org/app", `https://token`, `https://github\.com/org/.*`, false},
		{"evil/app", issuer, `https://github\.com/org/x|https://github\.com/org/.*`, false},
	} {
		id, err := sigstore.PatternIdentity(c.issuer, c.san)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.keyless.Verify(raw(c.repo), sigstore.Expectation{Artifact: digests(artifact), MessageSignature: true, Identity: id})
		if (err == nil) != c.ok {
			t.Errorf("%s, %s: %v", c.repo, c.san, err)
		}
	}
}

// TestThreat049TypesOfEachVersion: a malformed payload under a valid signature,
// and a predicate of another type, in each bundle version.
func TestThreat049TypesOfEachVersion(t *testing.T) {
	s := newSetup(t)
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		_, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: []byte("no statement"), Version: version}), keylessWant())
		check(t, err, trust.Unreachable, trust.ReasonMalformed)
		_, err = s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: publish(), Version: version}), keylessWant())
		check(t, err, trust.Failed, trust.ReasonWrongPredicate)
		_, err = s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: provenance(), PayloadType: "text/plain", Version: version}), keylessWant())
		check(t, err, trust.Unreachable, trust.ReasonUnsupported)
		_, err = s.keyless.Verify(s.Bundle(sigstoretest.Options{Artifact: artifact, Version: version}), keylessWant())
		check(t, err, trust.Failed, trust.ReasonWrongPredicate)
	}
}

func TestOtherWorld(t *testing.T) {
	s, other := newSetup(t), newSetup(t)
	_, err := s.keyless.Verify(other.Bundle(sigstoretest.Options{Statement: provenance()}), keylessWant())
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = s.keyed.Verify(other.Bundle(sigstoretest.Options{Statement: publish(), Key: other.NPM}), keyWant())
	check(t, err, trust.Unreachable, trust.ReasonUnknownKey)
}

// Inputs that the library accepts and a gate must refuse, one by one.
func TestLibraryAcceptsGateRefuses(t *testing.T) {
	s := newSetup(t)
	wf := func(f sigstoretest.Workflow) sigstoretest.Options {
		return sigstoretest.Options{Identity: f.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, f.Provenance1(), sigstoretest.SubjectOf(subject, artifact))}
	}
	st := func(subjects ...sigstoretest.Subject) sigstoretest.Options {
		return sigstoretest.Options{Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, sigstoretest.Workflow{}.Provenance1(), subjects...)}
	}
	sound := sigstoretest.SubjectOf(subject, artifact)
	upper := sigstoretest.Subject{Name: subject, Digest: map[string]string{"sha256": strings.ToUpper(sound.Digest["sha256"])}}
	identity := func(id sigstore.Identity, err error) func(*sigstore.Expectation) {
		return func(x *sigstore.Expectation) {
			if err != nil {
				t.Fatal(err)
			}
			x.Identity = id
		}
	}
	const issuer = "https://token.actions.githubusercontent.com"
	for _, c := range []struct {
		name string
		opts sigstoretest.Options
		edit func(*sigstore.Expectation)
		o    trust.Outcome
		r    trust.Reason
	}{
		{"1 another name with the same digest", st(sigstoretest.SubjectOf("pkg:npm/other@1.0.0", artifact)), nil, trust.Failed, trust.ReasonWrongName},
		{"2 second subject", st(sigstoretest.SubjectOf("pkg:npm/other@1.0.0", []byte("other")), sound), nil, trust.Failed, trust.ReasonWrongSubject},
		{"2b first of two subjects", st(sound, sigstoretest.SubjectOf("pkg:npm/other@1.0.0", []byte("other"))), nil, trust.Failed, trust.ReasonWrongSubject},
		{"3 unanchored pattern", wf(sigstoretest.Workflow{Repository: "acme/widget-evil"}), identity(sigstore.PatternIdentity(issuer, `https://github\.com/acme/widget`)), trust.Failed, trust.ReasonUntrustedSigner},
		{"4 prefix without slash", wf(sigstoretest.Workflow{Repository: "acme/widget-evil"}), identity(sigstore.WorkflowIdentity(issuer, "https://github.com/acme/widget", "")), trust.Failed, trust.ReasonUntrustedSigner},
		{"5 dot in the host", wf(sigstoretest.Workflow{Builder: "https://github-com/acme/widget/.github/workflows/release.yml@refs/tags/v1.0.0"}), identity(sigstore.ExactIdentity(issuer, sigstoretest.Workflow{}.SAN())), trust.Failed, trust.ReasonUntrustedSigner},
		{"6 pull request ref", wf(sigstoretest.Workflow{Ref: "refs/pull/7/merge"}), nil, trust.Failed, trust.ReasonUntrustedRef},
		{"6b pull request trigger", wf(sigstoretest.Workflow{Trigger: "pull_request_target"}), nil, trust.Failed, trust.ReasonUntrustedRef},
		{"6c self-hosted runner", wf(sigstoretest.Workflow{Runner: "self-hosted"}), nil, trust.Failed, trust.ReasonUntrustedRef},
		{"7 upper-case digest", st(upper), nil, trust.Unreachable, trust.ReasonMalformed},
		{"8 unknown predicate type", sigstoretest.Options{Statement: sigstoretest.Statement("https://example.com/other/v1", map[string]any{}, sound)}, nil, trust.Failed, trust.ReasonWrongPredicate},
		{"9 no log entry", sigstoretest.Options{Statement: provenance(), Fault: sigstoretest.FaultNoEntry, Timestamp: true}, nil, trust.Failed, trust.ReasonBadSignature},
		{"10 valid signature of a stranger", wf(sigstoretest.Workflow{Repository: "stranger/thing"}), identity(sigstore.WorkflowIdentity(issuer, "https://github.com/acme/widget", "")), trust.Failed, trust.ReasonUntrustedSigner},
		{"custom issuer", wf(sigstoretest.Workflow{Issuer: issuer + "/hammer-time"}), identity(sigstore.WorkflowIdentity(issuer, "https://github.com/acme/widget", "")), trust.Failed, trust.ReasonUntrustedSigner},
		{"another digest", st(sigstoretest.SubjectOf(subject, []byte("other"))), nil, trust.Failed, trust.ReasonWrongDigest},
		{"no subject", st(), nil, trust.Failed, trust.ReasonWrongSubject},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := keylessWant()
			if c.edit != nil {
				c.edit(&x)
			}
			_, err := s.keyless.Verify(s.Bundle(c.opts), x)
			check(t, err, c.o, c.r)
		})
	}
}

func TestSelfHostedByConsent(t *testing.T) {
	s := newSetup(t)
	f := sigstoretest.Workflow{Runner: "self-hosted"}
	x := keylessWant()
	x.SelfHosted = true
	if _, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Identity: f.Identity(), Statement: provenance()}), x); err != nil {
		t.Fatal(err)
	}
}

// TestThreat017PredicateAgainstCertificate changes one field of the predicate at a time.
func TestThreat017PredicateAgainstCertificate(t *testing.T) {
	s := newSetup(t)
	set := func(path string, v any) func(map[string]any) {
		return func(m map[string]any) {
			keys := strings.Split(path, ".")
			var at any = m
			for _, k := range keys[:len(keys)-1] {
				if l, ok := at.([]any); ok {
					at = l[0]
				}
				at = at.(map[string]any)[k]
			}
			if l, ok := at.([]any); ok {
				at = l[0]
			}
			if v == nil {
				delete(at.(map[string]any), keys[len(keys)-1])
				return
			}
			at.(map[string]any)[keys[len(keys)-1]] = v
		}
	}
	other := strings.Repeat("b", 40)
	full, legacy := sigstoretest.Workflow{}, sigstoretest.Workflow{Legacy: true}
	for _, c := range []struct {
		name string
		v1   bool
		id   sigstoretest.Workflow
		edit func(map[string]any)
	}{
		{"v1 repository", true, full, set("buildDefinition.resolvedDependencies.uri", "git+https://github.com/acme/other@refs/tags/v1.0.0")},
		{"v1 commit", true, full, set("buildDefinition.resolvedDependencies.digest", map[string]any{"gitCommit": other})},
		{"v1 no commit", true, full, set("buildDefinition.resolvedDependencies.digest", map[string]any{})},
		{"v1 ref", true, full, set("buildDefinition.resolvedDependencies.uri", "git+https://github.com/acme/widget@refs/heads/evil")},
		{"v1 no source", true, full, set("buildDefinition.resolvedDependencies", []any{})},
		{"v1 workflow repository", true, full, set("buildDefinition.externalParameters.workflow.repository", "https://github.com/acme/other")},
		{"v1 workflow path", true, full, set("buildDefinition.externalParameters.workflow.path", ".github/workflows/other.yml")},
		{"v1 workflow ref", true, full, set("buildDefinition.externalParameters.workflow.ref", "refs/heads/evil")},
		{"v1 repository id", true, full, set("buildDefinition.internalParameters.github.repository_id", "9")},
		{"v1 owner id", true, full, set("buildDefinition.internalParameters.github.repository_owner_id", "9")},
		{"v1 event", true, full, set("buildDefinition.internalParameters.github.event_name", "schedule")},
		{"v1 no builder", true, full, set("runDetails.builder", map[string]any{})},
		{"v1 legacy repository", true, legacy, set("buildDefinition.resolvedDependencies.uri", "git+https://github.com/acme/other@refs/tags/v1.0.0")},
		{"v0.2 repository", false, full, set("invocation.configSource.uri", "git+https://github.com/acme/other@refs/tags/v1.0.0")},
		{"v0.2 commit", false, full, set("invocation.configSource.digest", map[string]any{"sha1": other})},
		{"v0.2 workflow", false, full, set("invocation.configSource.entryPoint", ".github/workflows/other.yml")},
		{"v0.2 repository id", false, full, set("invocation.environment.GITHUB_REPOSITORY_ID", "9")},
		{"v0.2 sha", false, full, set("invocation.environment.GITHUB_SHA", other)},
		{"v0.2 material", false, full, set("materials.digest", map[string]any{"sha1": other})},
		{"v0.2 legacy commit", false, legacy, set("invocation.configSource.digest", map[string]any{"sha1": other})},
		{"v0.2 legacy ref", false, legacy, set("invocation.configSource.uri", "git+https://github.com/acme/widget@refs/heads/evil")},
		{"unchanged v1", true, full, nil},
		{"unchanged v0.2", false, full, nil},
		{"unchanged legacy v0.2", false, legacy, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			typ, predicate := sigstore.PredicateProvenance02, c.id.Provenance02()
			if c.v1 {
				typ, predicate = sigstore.PredicateProvenance1, c.id.Provenance1()
			}
			if c.edit != nil {
				c.edit(predicate)
			}
			got, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Identity: c.id.Identity(), Statement: sigstoretest.Statement(typ, predicate, sigstoretest.SubjectOf(subject, artifact))}), keylessWant())
			if c.edit == nil {
				if err != nil {
					t.Fatal(err)
				}
				if p, ok := got.Provenance(); !ok || p.Repository != "https://github.com/acme/widget" || p.Commit == "" || got.Signer().Legacy != c.id.Legacy {
					t.Errorf("provenance %+v, signer %+v", p, got.Signer())
				}
				return
			}
			check(t, err, trust.Failed, trust.ReasonWrongPredicate)
		})
	}
}

// TestThreat016ReusableWorkflow: the signer may be a reusable workflow of
// another repository; who is accepted depends on the source repository.
func TestThreat016ReusableWorkflow(t *testing.T) {
	s := newSetup(t)
	f := sigstoretest.Workflow{Repository: "stranger/thing", Builder: "https://github.com/acme/widget/.github/workflows/build.yml@refs/tags/v2"}
	opts := sigstoretest.Options{Identity: f.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, f.Provenance1(), sigstoretest.SubjectOf(subject, artifact))}
	got, err := s.keyless.Verify(s.Bundle(opts), keylessWant())
	if err != nil {
		t.Fatal(err)
	}
	if got.Signer().SourceRepository != "https://github.com/stranger/thing" || got.Signer().Workflow != ".github/workflows/release.yml" {
		t.Errorf("signer %+v", got.Signer())
	}
	x := keylessWant()
	if x.Identity, err = sigstore.WorkflowIdentity(trust.GitHubIssuer, "https://github.com/acme/widget", ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.keyless.Verify(s.Bundle(opts), x)
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
}

func TestContradictoryCertificates(t *testing.T) {
	s := newSetup(t)
	for n, v := range map[int]string{
		8: "https://issuer.example.com", 9: "https://github.com/acme/other/.github/workflows/release.yml@refs/tags/v1.0.0", 12: "https://github.com/acme/other",
		13: strings.Repeat("b", 40), 14: "refs/heads/main", 16: "https://github.com/other", 20: "schedule",
	} {
		id := sigstoretest.Workflow{}.Identity()
		id.Extensions[n] = v
		_, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Identity: id, Statement: provenance()}), keylessWant())
		if err == nil {
			t.Errorf("extension .%d: verified", n)
			continue
		}
		check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	}
	// No issuer at all.
	_, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Identity: sigstoretest.Identity{Email: "a@example.com"}, Artifact: artifact}),
		sigstore.Expectation{Artifact: digests(artifact), MessageSignature: true, Identity: sigstore.CollectIdentityUnsafe()})
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
}

func TestEmailIdentity(t *testing.T) {
	s := newSetup(t)
	raw := s.Bundle(sigstoretest.Options{Identity: sigstoretest.Email("dev@example.com", "https://accounts.example.com"), Artifact: artifact})
	for _, c := range []struct {
		issuer, san string
		ok          bool
	}{
		{"https://accounts.example.com", "dev@example.com", true},
		{"https://accounts.example.org", "dev@example.com", false},
		{"https://accounts.example.com", "dev@example.co", false},
	} {
		id, err := sigstore.ExactIdentity(c.issuer, c.san)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.keyless.Verify(raw, sigstore.Expectation{Artifact: digests(artifact), MessageSignature: true, Identity: id})
		if (err == nil) != c.ok {
			t.Errorf("%s %s: %v", c.issuer, c.san, err)
		}
	}
}

// TestThreat012NoIdentity: an expectation that proves nothing is an error.
func TestThreat012NoIdentity(t *testing.T) {
	s := newSetup(t)
	raw := s.Bundle(sigstoretest.Options{Statement: provenance()})
	for name, edit := range map[string]func(*sigstore.Expectation){
		"no identity": func(x *sigstore.Expectation) { x.Identity = sigstore.Identity{} },
		"no artifact": func(x *sigstore.Expectation) { x.Artifact = nil },
		"weak artifact": func(x *sigstore.Expectation) {
			x.Artifact = trust.Digests{{Algorithm: trust.SHA1, Value: strings.Repeat("a", 40)}}
		},
		"no predicate type":  func(x *sigstore.Expectation) { x.PredicateTypes = nil },
		"empty predicate":    func(x *sigstore.Expectation) { x.PredicateTypes = []string{""} },
		"no subject name":    func(x *sigstore.Expectation) { x.SubjectName = nil },
		"key of certificate": func(x *sigstore.Expectation) { x.Identity = sigstore.KeyIdentity() },
	} {
		x := keylessWant()
		edit(&x)
		if _, err := s.keyless.Verify(raw, x); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range [][2]string{{"", "x"}, {"x", ""}, {"", ""}} {
		if _, err := sigstore.ExactIdentity(c[0], c[1]); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("exact %q: %v", c, err)
		}
	}
	for _, p := range []string{"", ".*", "(", "a)|(?:.*", "x*"} {
		if _, err := sigstore.PatternIdentity("https://issuer\\.example\\.com", p); !errors.Is(err, trust.ErrConfiguration) {
			t.Errorf("pattern %q: %v", p, err)
		}
	}
}

// TestThreat024KeyWindow: the signed time is judged by the key's window, ends included.
func TestThreat024KeyWindow(t *testing.T) {
	s := newSetup(t)
	for _, c := range []struct {
		key *sigstoretest.Key
		at  time.Time
		ok  bool
	}{
		{s.NPMOld, s.NPMOld.End, true},
		{s.NPMOld, s.NPMOld.End.Add(time.Second), false},
		{s.NPM, s.NPM.Start, true},
		{s.NPM, s.NPM.Start.Add(-time.Second), false},
		{s.NPM, now, true},
	} {
		for _, v2 := range []bool{false, true} {
			_, err := s.keyed.Verify(s.Bundle(sigstoretest.Options{Statement: publish(), Key: c.key, At: c.at, LogV2: v2}), keyWant())
			if c.ok && err != nil {
				t.Errorf("%s: %v", c.at, err)
			} else if !c.ok {
				check(t, err, trust.Failed, trust.ReasonKeyOutsideWindow)
			}
		}
	}
}

// TestThreat027UnknownKey: an unknown key id is undecided, and says what to do.
func TestThreat027UnknownKey(t *testing.T) {
	s := newSetup(t)
	_, err := s.keyed.Verify(s.Bundle(sigstoretest.Options{Statement: publish(), Key: s.NewKey(now.AddDate(-1, 0, 0), time.Time{})}), keyWant())
	check(t, err, trust.Unreachable, trust.ReasonUnknownKey)
	if !strings.Contains(err.Error(), "headgate db update") {
		t.Errorf("no remedy in %q", err)
	}
}

// TestThreat026RootWithoutStart: a missing start of validity is not "for ever".
func TestThreat026RootWithoutStart(t *testing.T) {
	w := sigstoretest.New(t, now)
	for _, list := range []string{"tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"} {
		b := w.TrustedRootWith(func(doc map[string]any) {
			e := doc[list].([]any)[0].(map[string]any)
			if pk, ok := e["publicKey"].(map[string]any); ok {
				e = pk
			}
			delete(e["validFor"].(map[string]any), "start")
		})
		_, err := sigstore.LoadTrustedRoot(b, sigstore.RootOptions{Obtained: now, Now: now})
		check(t, err, trust.Unreachable, trust.ReasonMalformed)
	}
	var keys map[string]any
	if err := json.Unmarshal(w.NPMKeys(), &keys); err != nil {
		t.Fatal(err)
	}
	delete(keys["keys"].([]any)[0].(map[string]any)["publicKey"].(map[string]any)["validFor"].(map[string]any), "start")
	b, _ := json.Marshal(keys)
	_, err := sigstore.ParseNPMKeys(b)
	check(t, err, trust.Unreachable, trust.ReasonMalformed)
}

func TestTrustedRootAgeAndPin(t *testing.T) {
	w := sigstoretest.New(t, now)
	b := w.TrustedRoot()
	pin := digests(b).Get(trust.SHA256)
	load := func(o sigstore.RootOptions) error { _, err := sigstore.LoadTrustedRoot(b, o); return err }
	for _, ok := range []sigstore.RootOptions{
		{Obtained: now, Now: now}, {Obtained: now, Now: now, Pinned: pin}, {Obtained: now.Add(-sigstore.DefaultMaxRootAge), Now: now},
		{Obtained: now.Add(-time.Hour), Now: now, MaxAge: time.Hour},
	} {
		if err := load(ok); err != nil {
			t.Errorf("%+v: %v", ok, err)
		}
	}
	check(t, load(sigstore.RootOptions{Obtained: now.Add(-sigstore.DefaultMaxRootAge - 1), Now: now}), trust.Unreachable, trust.ReasonExpiredRoot)
	check(t, load(sigstore.RootOptions{Obtained: now.Add(-time.Hour - 1), Now: now, MaxAge: time.Hour}), trust.Unreachable, trust.ReasonExpiredRoot)
	check(t, load(sigstore.RootOptions{Now: now}), trust.Unreachable, trust.ReasonExpiredRoot)
	check(t, load(sigstore.RootOptions{Obtained: now}), trust.Unreachable, trust.ReasonExpiredRoot)
	check(t, load(sigstore.RootOptions{Obtained: now.AddDate(0, 0, 3), Now: now}), trust.Unreachable, trust.ReasonExpiredRoot)
	check(t, load(sigstore.RootOptions{Obtained: now, Now: now, Pinned: digests([]byte("x")).Get(trust.SHA256)}), trust.Failed, trust.ReasonWrongDigest)
	_, err := sigstore.LoadTrustedRoot(make([]byte, sigstore.MaxTrustedRoot+1), sigstore.RootOptions{Obtained: now, Now: now})
	check(t, err, trust.Unreachable, trust.ReasonTooLarge)
}

// TestThreat009NullSubjects and its neighbours: statements that crash or fool parsers.
func TestThreat009NullSubjects(t *testing.T) {
	s := newSetup(t)
	d := sigstoretest.SubjectOf(subject, artifact).Digest["sha256"]
	good := `{"name":"` + subject + `","digest":{"sha256":"` + d + `"}}`
	st := func(subjects string) string {
		return `{"_type":"https://in-toto.io/Statement/v1","subject":` + subjects + `,"predicateType":"` + sigstore.PredicateNPMPublish + `","predicate":{}}`
	}
	if _, err := s.keyed.Verify(s.Bundle(sigstoretest.Options{Key: s.NPM, Statement: []byte(st("[" + good + "]"))}), keyWant()); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"null subject":      st(`[null]`),
		"null subjects":     st(`null`),
		"empty subject":     st(`[{}]`),
		"no digest":         st(`[{"name":"` + subject + `"}]`),
		"null digest":       st(`[{"name":"` + subject + `","digest":null}]`),
		"null digest value": st(`[{"name":"` + subject + `","digest":{"sha256":null}}]`),
		"short digest":      st(`[{"name":"` + subject + `","digest":{"sha256":"abcd"}}]`),
		"unknown digest":    st(`[{"name":"` + subject + `","digest":{"crc32":"abcd"}}]`),
		"no subjects":       st(`[]`),
		"trailing data":     st("["+good+"]") + "{}",
		"trailing garbage":  st("["+good+"]") + "x",
		"duplicate key":     strings.Replace(st("["+good+"]"), `"predicate":{}`, `"predicate":{},"predicate":{}`, 1),
		"case-folded key":   strings.Replace(st("["+good+"]"), `"predicate":{}`, `"predicate":{},"Subject":[]`, 1),
		"only folded key":   strings.Replace(st("["+good+"]"), `"subject"`, `"Subject"`, 1),
		"kelvin sign":       strings.Replace(st("["+good+"]"), `"predicate":{}`, `"predicate":{"k":1,"\u212a":2}`, 1),
		"unknown type":      strings.Replace(st("["+good+"]"), `Statement/v1`, `Statement/v2`, 1),
		"no predicate type": strings.Replace(st("["+good+"]"), sigstore.PredicateNPMPublish, ``, 1),
		"predicate array":   strings.Replace(st("["+good+"]"), `"predicate":{}`, `"predicate":[]`, 1),
		"not JSON":          "not JSON",
		"empty object":      "{}",
		"null":              "null",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.keyed.Verify(s.Bundle(sigstoretest.Options{Key: s.NPM, Statement: []byte(text)}), keyWant())
			if err == nil || !got.IsZero() {
				t.Fatalf("verified %+v", got)
			}
		})
	}
}

func TestBundleBounds(t *testing.T) {
	s := newSetup(t)
	raw := s.Bundle(sigstoretest.Options{Statement: provenance()})
	verify := func(b []byte) error { _, err := s.keyless.Verify(b, keylessWant()); return err }
	pad := func(n int) []byte { return append([]byte(strings.Repeat(" ", n-len(raw))), raw...) }
	if err := verify(pad(sigstore.MaxBundle)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	check(t, verify(pad(sigstore.MaxBundle+1)), trust.Unreachable, trust.ReasonTooLarge)

	entries := func(n int) []byte {
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		m := doc["verificationMaterial"].(map[string]any)
		list := m["tlogEntries"].([]any)
		for len(list) < n {
			list = append(list, list[0])
		}
		m["tlogEntries"] = list
		b, _ := json.Marshal(doc)
		return b
	}
	check(t, verify(entries(sigstore.MaxLogEntries)), trust.Failed, trust.ReasonBadSignature) // duplicates, but parsed
	check(t, verify(entries(sigstore.MaxLogEntries+1)), trust.Unreachable, trust.ReasonTooLarge)

	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := sigstore.CheckJSON(deep(sigstore.MaxJSONDepth)); err != nil {
		t.Error(err)
	}
	if _, err := sigstore.CheckJSON(deep(sigstore.MaxJSONDepth + 1)); err == nil {
		t.Error("nested too deep, accepted")
	}
	for name, b := range map[string][]byte{
		"trailing": append(append([]byte{}, raw...), "{}"...), "truncated": raw[:len(raw)/2], "empty": {}, "null": []byte("null"), "array": []byte("[]"),
		"duplicate": []byte(strings.Replace(string(raw), `"mediaType"`, `"mediaType":"x","mediaType"`, 1)),
		"folded":    []byte(strings.Replace(string(raw), `"mediaType"`, `"MediaType":"x","mediaType"`, 1)),
		"unknown":   []byte(strings.Replace(string(raw), `"mediaType"`, `"extra":"x","mediaType"`, 1)),
	} {
		check(t, verify(b), trust.Unreachable, trust.ReasonMalformed)
		_ = name
	}
	check(t, verify([]byte(strings.Replace(string(raw), "bundle.v0.3", "bundle.v0.9", 1))), trust.Unreachable, "")
}

// TestPrivateInstanceIsNoFallback: each verifier takes bundles of its own instance only.
func TestPrivateInstanceIsNoFallback(t *testing.T) {
	s := newSetup(t)
	raw := s.Bundle(sigstoretest.Options{Statement: provenance(), Private: true})
	if _, err := s.private.Verify(raw, keylessWant()); err != nil {
		t.Fatal(err)
	}
	_, err := s.keyless.Verify(raw, keylessWant())
	check(t, err, trust.Failed, trust.ReasonBadSignature)
	// And without a timestamp the private one has no time.
	_, err = s.private.Verify(s.Bundle(sigstoretest.Options{Statement: provenance()}), keylessWant())
	check(t, err, trust.Failed, trust.ReasonBadSignature)
	if s.private.Instance() == s.keyless.Instance() {
		t.Error("instances share a name")
	}
}

// TestThreat032KeyInEvidence: a certificate where a pinned key is expected, and the other way round.
func TestThreat032KeyInEvidence(t *testing.T) {
	s := newSetup(t)
	_, err := s.keyed.Verify(s.Bundle(sigstoretest.Options{Statement: publish()}), keyWant())
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
	_, err = s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: provenance(), Key: s.NPM}), keylessWant())
	check(t, err, trust.Failed, trust.ReasonUntrustedSigner)
}

func TestKeyUsageIsSeparate(t *testing.T) {
	s := newSetup(t)
	keys, err := sigstore.ParseNPMKeys([]byte(strings.ReplaceAll(string(s.NPMKeys()), "npm:attestations", "npm:other")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sigstore.NewKeyVerifier(s.root, keys, sigstore.UsageAttestations); err == nil {
		t.Error("verifier without a key for its usage")
	}
}

func TestCheckSubjects(t *testing.T) {
	s := newSetup(t)
	raw := s.Bundle(sigstoretest.Options{Key: s.NPM, Statement: sigstoretest.Statement(sigstore.PredicateNPMPublish, map[string]any{},
		sigstoretest.SubjectOf("a", []byte("a")), sigstoretest.SubjectOf("b", []byte("b")))})
	x := keyWant()
	var names []string
	x.Artifact, x.SubjectName = nil, nil
	x.CheckSubjects = func(ss []sigstore.Subject) error {
		for _, s := range ss {
			names = append(names, s.Name)
		}
		return nil
	}
	if _, err := s.keyed.Verify(raw, x); err != nil || strings.Join(names, " ") != "a b" {
		t.Fatalf("%v, %v", names, err)
	}
	x.CheckSubjects = func([]sigstore.Subject) error { return errors.New("no") }
	_, err := s.keyed.Verify(raw, x)
	check(t, err, trust.Failed, trust.ReasonWrongSubject)
}

// TestThreat052Panic: a panic below the verifier decides nothing.
func TestThreat052Panic(t *testing.T) {
	s := newSetup(t)
	x := keylessWant()
	x.SubjectName = func(string) error { panic("parser") }
	got, err := s.keyless.Verify(s.Bundle(sigstoretest.Options{Statement: provenance()}), x)
	check(t, err, trust.Unreachable, trust.ReasonInternal)
	if !got.IsZero() {
		t.Error("something was returned beside the error")
	}
}

func FuzzVerify(f *testing.F) {
	s := newSetup(f)
	f.Add(s.Bundle(sigstoretest.Options{Statement: provenance()}))
	f.Add(s.Bundle(sigstoretest.Options{Statement: provenance(), LogV2: true}))
	f.Add(s.Bundle(sigstoretest.Options{Artifact: artifact}))
	// No input that the fuzzer makes carries a signature over another artifact.
	x := keylessWant()
	x.Artifact = digests([]byte("never signed"))
	x.MessageSignature = true
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := s.keyless.Verify(b, x); err == nil || !got.IsZero() {
			t.Fatal("verified")
		}
	})
}

func FuzzParseStatement(f *testing.F) {
	f.Add(provenance())
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := sigstore.ParseStatement(b)
		if err != nil {
			if o, _ := sigstore.Classify(err); o != trust.Unreachable {
				t.Fatalf("unverified statement is %s", o)
			}
			return
		}
		for _, s := range st.Subjects {
			if len(s.Digests) == 0 {
				t.Fatal("subject without digest")
			}
		}
	})
}

func FuzzLoadTrustedRoot(f *testing.F) {
	w := sigstoretest.New(f, now)
	f.Add(w.TrustedRoot())
	f.Add(w.NPMKeys())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := sigstore.LoadTrustedRoot(b, sigstore.RootOptions{Obtained: now, Now: now}); (err == nil) != (r != nil) {
			t.Fatal("root and error")
		}
		if k, err := sigstore.ParseNPMKeys(b); (err == nil) != (k != nil) {
			t.Fatal("keys and error")
		}
	})
}
