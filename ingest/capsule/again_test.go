package capsule_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/capsule"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sigstore/sigstoretest"
)

// recorder is an adapter that says what a test wants it to have verified.
type recorder []trust.Evidence

func (recorder) Describe() adapter.Description {
	return adapter.Description{Name: "npm", Types: []string{"npm"}, Offers: trust.AssuranceRegistry}
}

func (r recorder) Collect(context.Context, adapter.Request) (adapter.Result, error) {
	return adapter.Result{Evidence: slices.Clone(r), Facts: trust.Facts{Published: now.AddDate(-1, 0, 0), Repository: "https://github.com/acme/widget"}}, nil
}

const widget = "pkg:npm/widget@1.0.0"

// signed is what a Sigstore instance, a registry's key and a builder vouch for.
type signed struct {
	t     testing.TB
	world *sigstoretest.World
	file  []byte
}

func newSigned(t testing.TB) *signed {
	return &signed{t, sigstoretest.New(t, now), []byte("tarball of widget")}
}

func (s *signed) artifact() trust.Artifact {
	sum := sha512.Sum512(s.file)
	return trust.Artifact{Digests: trust.Digests{trust.DigestOf(trust.SHA512, sum[:])}}
}

func release(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// provenance is evidence as an adapter makes it of a bundle, verified in truth.
func (s *signed) provenance(o sigstoretest.Options) trust.Evidence {
	s.t.Helper()
	root, err := sigstore.LoadTrustedRoot(s.world.TrustedRoot(), sigstore.RootOptions{Obtained: now, Now: now})
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := sigstore.NewVerifier(root)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := v.Verify(s.world.Bundle(o), sigstore.Expectation{Artifact: s.artifact().Digests, SubjectName: sigstore.AnySubjectNameUnsafe,
		PredicateTypes: []string{sigstore.PredicateProvenance1}, Identity: sigstore.CollectIdentityUnsafe()})
	if err != nil {
		s.t.Fatal(err)
	}
	e := trust.Evidence{Check: trust.CheckProvenance, Outcome: trust.Verified, Release: release(s.t, widget), Artifact: s.artifact(), Assurance: trust.AssuranceProvenance}
	got.Describe(&e, "provenance")
	return e
}

func (s *signed) statement(subjects ...sigstoretest.Subject) sigstoretest.Options {
	wf := sigstoretest.Workflow{Repository: "acme/widget", Ref: "refs/tags/v1.0.0"}
	return sigstoretest.Options{Identity: wf.Identity(), Statement: sigstoretest.Statement(sigstore.PredicateProvenance1, wf.Provenance1(), subjects...)}
}

func (s *signed) subject(name string) sigstoretest.Subject {
	return sigstoretest.SubjectOf(name, s.file)
}

// registry is a registry's signature as npm's adapter records it.
func (s *signed) registry(name, version string, file []byte, key *sigstoretest.Key) trust.Evidence {
	s.t.Helper()
	sum := sha512.Sum512(file)
	integrity := "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
	doc, err := json.Marshal(map[string]any{"name": name, "version": version, "integrity": integrity, "signatures": []any{map[string]string{
		"keyid": key.ID, "sig": base64.StdEncoding.EncodeToString(key.Sign(s.t, []byte(name+"@"+version+":"+integrity))),
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
	ks, err := sigstore.ParseNPMKeys(s.world.NPMKeys())
	if err != nil {
		s.t.Fatal(err)
	}
	k, ok := ks.Find(s.world.NPM.ID, sigstore.UsageSignatures)
	if !ok {
		s.t.Fatal("no key")
	}
	return trust.Evidence{Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: release(s.t, widget), Artifact: s.artifact(), Assurance: trust.AssuranceRegistry,
		Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: k.KeyDigest(), KeyID: k.ID}, Root: ks.Digest(),
		Raw: []trust.Raw{trust.NewRaw("registry-signatures", "application/json", doc), trust.NewRaw(trust.RawKeys, "application/json", ks.Raw())}}
}

// capsuleOf is the capsule of a decision that a gate made on this evidence.
func capsuleOf(t testing.TB, es ...trust.Evidence) ([]byte, string) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "trust.db"), store.Options{Create: true, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p, err := policies.Load(&policies.Config{Version: policies.ConfigVersion}, now)
	if err != nil {
		t.Fatal(err)
	}
	g := &ingest.Gate{Tool: "headgate test", Adapters: map[string]adapter.Adapter{"npm": recorder(es)}, Memory: s, Judge: p, Clock: clock, Continuity: ingest.CompareSigners}
	inv := &sbom.Inventory{Source: sbom.Source{Scheme: "purl", Name: widget}, Components: []sbom.Component{{Release: es[0].Release, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{es[0].Artifact}}}}
	rep, err := g.Check(t.Context(), ingest.Request{Command: "check", Inventory: inv, Origin: "built in"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := capsule.Export(t.Context(), &b, s, rep.Components[0].DecisionID, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s.VerifierKey()
}

func states(r *capsule.Replayed) (out []capsule.State) {
	for _, e := range r.Evidence {
		out = append(out, e.State)
	}
	return out
}

// What was verified then is verified anew from the capsule alone, and the replay
// says whose roots and keys it used.
func TestEvidenceIsVerifiedAnew(t *testing.T) {
	s := newSigned(t)
	lock := trust.Evidence{Check: trust.CheckLockfile, Outcome: trust.Verified, Release: release(t, widget), Artifact: s.artifact()}
	data, key := capsuleOf(t, s.registry("widget", "1.0.0", s.file, s.world.NPM), s.provenance(s.statement(s.subject(widget))), lock)
	r, err := capsule.Replay(t.Context(), data, capsule.Options{LogKey: key})
	if err != nil {
		t.Fatal(err)
	}
	if got := states(r); !slices.Equal(got, []capsule.State{capsule.VerifiedAnew, capsule.VerifiedAnew, capsule.Stands}) || len(r.Differences) > 0 || r.Verdict != r.Decision.Verdict {
		t.Fatalf("%v, %s, %q", r.Evidence, r.Verdict, r.Differences)
	}
	if len(r.Roots) != 2 || !strings.Contains(strings.Join(r.Roots, "\n"), "came with the capsule") {
		t.Errorf("roots: %q", r.Roots)
	}
	own := capsule.Options{LogKey: key, TrustedRoot: s.world.TrustedRoot(), Keys: s.world.NPMKeys()}
	if r, err = capsule.Replay(t.Context(), data, own); err != nil || len(r.Differences) > 0 || !strings.Contains(strings.Join(r.Roots, "\n"), "is your own") {
		t.Errorf("with the same roots: %v, %+v", err, r)
	}
	// Another instance's root, and another registry's keys, vouch for nothing of it.
	foreign := sigstoretest.New(t, now)
	for name, o := range map[string]capsule.Options{
		"root": {LogKey: key, TrustedRoot: foreign.TrustedRoot()}, "keys": {LogKey: key, Keys: foreign.NPMKeys()}, "malformed root": {LogKey: key, TrustedRoot: []byte("{}")},
	} {
		r, err := capsule.Replay(t.Context(), data, o)
		if err != nil || len(r.Differences) != 1 || !strings.Contains(r.Differences[0], "your own") {
			t.Errorf("foreign %s: %v, %+v", name, err, r)
		}
	}
}

// A store whose owner records what was never verified, and signs the log over it,
// is found out: the bytes do not prove it, and the verdict falls.
func TestEvidenceThatTheBytesDoNotProve(t *testing.T) {
	s := newSigned(t)
	good := s.provenance(s.statement(s.subject(widget)))
	bundle := func(e trust.Evidence, b []byte) trust.Evidence {
		e.Raw = slices.Clone(e.Raw)
		e.Raw[0] = trust.NewRaw(e.Raw[0].Name, e.Raw[0].MediaType, b)
		return e
	}
	with := func(f func(*trust.Evidence)) trust.Evidence {
		e := good
		signer := *good.Signer
		e.Signer = &signer
		f(&e)
		return e
	}
	foreign := sigstoretest.New(t, now)
	other := &signed{t, s.world, []byte("another tarball")}
	cases := map[string]trust.Evidence{
		"bad signature": bundle(good, s.world.Bundle(func() sigstoretest.Options {
			o := s.statement(s.subject(widget))
			o.Fault = sigstoretest.FaultSignature
			return o
		}())),
		"no log entry": bundle(good, s.world.Bundle(func() sigstoretest.Options {
			o := s.statement(s.subject(widget))
			o.Fault = sigstoretest.FaultNoEntry
			return o
		}())),
		"foreign authority":  bundle(good, foreign.Bundle(s.statement(s.subject(widget)))),
		"another file":       bundle(good, s.world.Bundle(s.statement(other.subject(widget)))),
		"another package":    bundle(good, s.world.Bundle(s.statement(s.subject("pkg:npm/gadget@1.0.0")))),
		"another version":    bundle(good, s.world.Bundle(s.statement(s.subject("pkg:npm/widget@1.0.1")))),
		"no bundle":          bundle(good, []byte("{}")),
		"another signer":     with(func(e *trust.Evidence) { e.Signer.SourceRepository = "https://github.com/acme/other" }),
		"another builder":    with(func(e *trust.Evidence) { e.Builder = "https://builder.example.com" }),
		"another time":       with(func(e *trust.Evidence) { e.SignedAt = e.SignedAt.AddDate(-1, 0, 0) }),
		"another log entry":  with(func(e *trust.Evidence) { e.Logs = []trust.LogEntry{{Log: "x", Index: 1}} }),
		"another predicate":  with(func(e *trust.Evidence) { e.PredicateType = sigstore.PredicateProvenance02 }),
		"registry: name":     s.registry("gadget", "1.0.0", s.file, s.world.NPM),
		"registry: version":  s.registry("widget", "1.0.1", s.file, s.world.NPM),
		"registry: file":     s.registry("widget", "1.0.0", other.file, s.world.NPM),
		"registry: foreign":  s.registry("widget", "1.0.0", s.file, foreign.NPM),
		"registry: old key":  s.registry("widget", "1.0.0", s.file, s.world.NPMOld),
		"registry: stranger": s.registry("widget", "1.0.0", s.file, &sigstoretest.Key{ID: s.world.NPM.ID, Private: foreign.NPM.Private}),
	}
	for name, e := range cases {
		t.Run(name, func(t *testing.T) {
			data, key := capsuleOf(t, e)
			r, err := capsule.Replay(t.Context(), data, capsule.Options{LogKey: key})
			if err != nil {
				t.Fatal(err)
			}
			if r.Evidence[0].State != capsule.Differs || len(r.Differences) == 0 || r.Verdict != trust.Block {
				t.Errorf("%s; %s, was %s; %q", r.Evidence[0].Text, r.Verdict, r.Decision.Verdict, r.Differences)
			}
		})
	}
	// A document that is left out is no proof, and no contradiction: the replay says so.
	stripped := good
	stripped.Raw = good.Raw[:1]
	data, key := capsuleOf(t, stripped)
	r, err := capsule.Replay(t.Context(), data, capsule.Options{LogKey: key})
	if err != nil || r.Evidence[0].State != capsule.Stands || !strings.Contains(r.Evidence[0].Text, "no trusted-root") {
		t.Errorf("without its root: %v, %+v", err, r)
	}
}

// Whoever alters a member, names it anew and corrects the manifest is found out by
// the log, whichever member it is.
func TestEveryMemberIsCovered(t *testing.T) {
	s := newSigned(t)
	data, key := capsuleOf(t, s.registry("widget", "1.0.0", s.file, s.world.NPM), s.provenance(s.statement(s.subject(widget))))
	names, members := unzip(t, data)
	covered := 0
	for _, n := range names {
		if n == "manifest.json" { // what it says is compared with all others
			continue
		}
		covered++
		m := map[string][]byte{}
		to := []string{}
		for _, o := range names {
			b, name := members[o], o
			if o == n {
				b = bytes.Clone(b)
				i := bytes.LastIndexAny(b, "0123456789abcdefghijklmnopqrstuvwxyz")
				b[i] ^= 1
				if dir, _, ok := strings.Cut(o, "/"); ok {
					name = dir + "/" + trust.NewRaw("", "", b).Digest.Value
				}
			}
			to, m[name] = append(to, name), b
		}
		m["manifest.json"] = renamed(t, members, m, n)
		if r, err := capsule.Replay(t.Context(), pack(t, to, m), capsule.Options{LogKey: key}); err == nil && len(r.Differences) == 0 {
			t.Errorf("changed %s: %s", n, r.Verdict)
		}
	}
	if covered < 12 {
		t.Errorf("only %d members", covered)
	}
}

// renamed is the manifest for altered members, one of which may have a new name.
func renamed(t testing.TB, before, after map[string][]byte, changed string) []byte {
	t.Helper()
	var m capsule.Manifest
	if err := json.Unmarshal(before["manifest.json"], &m); err != nil {
		t.Fatal(err)
	}
	for i, e := range m.Members {
		if e.Path != changed {
			continue
		}
		for n := range after {
			if _, ok := before[n]; !ok {
				m.Members[i].Path = n
			}
		}
		b := after[m.Members[i].Path]
		m.Members[i].Size, m.Members[i].SHA256 = int64(len(b)), trust.NewRaw("", "", b).Digest.Value
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
