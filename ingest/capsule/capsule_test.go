package capsule_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/capsule"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

type upstream struct{}

func (upstream) Describe() adapter.Description {
	return adapter.Description{Name: "npm", Types: []string{"npm"}, Offers: trust.AssuranceRegistry}
}

func (upstream) Collect(_ context.Context, q adapter.Request) (adapter.Result, error) {
	return adapter.Result{Evidence: []trust.Evidence{{
		Check: trust.CheckRegistrySig, Outcome: trust.Verified, Release: q.Component.Release, Artifact: q.Component.Artifacts[0], Assurance: trust.AssuranceRegistry,
		Signer: &trust.Signer{Kind: trust.SignerRegistry, Name: "npm", KeyDigest: strings.Repeat("ab", 32)}, Detail: "a <b> & c",
		Raw: []trust.Raw{trust.NewRaw("registry-record", "application/json", []byte(`{"name":"left-pad"}`))},
	}}, Facts: trust.Facts{Published: now.AddDate(-1, 0, 0)}}, nil
}

// made packs the decision about a release that a real gate recorded in a real store.
func made(t testing.TB) (data []byte, key string) {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, filepath.Join(t.TempDir(), "trust.db"), store.Options{Create: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p, err := policies.Load(&policies.Config{Version: policies.ConfigVersion}, now)
	if err != nil {
		t.Fatal(err)
	}
	g := &ingest.Gate{Tool: "headgate test", Adapters: map[string]adapter.Adapter{"npm": upstream{}}, Memory: s, Judge: p, Clock: func() time.Time { return now }, Continuity: ingest.CompareSigners}
	r, err := trust.ParseRelease("pkg:npm/left-pad@1.3.0")
	if err != nil {
		t.Fatal(err)
	}
	inv := &sbom.Inventory{Source: sbom.Source{Scheme: "purl", Name: r.PURL()}, Components: []sbom.Component{{Release: r, Kind: sbom.KindRegistry,
		Artifacts: []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA512, make([]byte, 64))}}}}}}
	rep, err := g.Check(ctx, ingest.Request{Command: "check", Inventory: inv, Origin: "built in"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := capsule.Export(ctx, &b, s, rep.Components[0].DecisionID, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s.VerifierKey()
}

func unzip(t testing.TB, data []byte) (names []string, members map[string][]byte) {
	t.Helper()
	zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	members = map[string][]byte{}
	for _, f := range zr.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		names, members[f.Name] = append(names, f.Name), b
	}
	return names, members
}

func pack(t testing.TB, names []string, members map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, n := range names {
		w, err := zw.Create(n)
		if err == nil {
			_, err = w.Write(members[n])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReplayReachesTheSameVerdict(t *testing.T) {
	data, key := made(t)
	for _, k := range []string{key, ""} {
		r, err := capsule.Replay(t.Context(), data, capsule.Options{LogKey: k})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Differences) > 0 || r.Verdict != r.Decision.Verdict || len(r.Decision.Findings)+len(r.Decision.Evidence) == 0 {
			t.Errorf("verdict %s of %s, differences %q", r.Verdict, r.Decision.Verdict, r.Differences)
		}
		if noted := slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "proves no origin") }); noted != (k == "") {
			t.Errorf("notes %q with key %q", r.Notes, k)
		}
	}
}

// Whoever changes, removes, adds, doubles or renames a member is found out, and
// so is whoever corrects the manifest with it.
func TestAlteredCapsulesAreRefused(t *testing.T) {
	data, key := made(t)
	names, members := unzip(t, data)
	if len(names) < 10 {
		t.Fatalf("only %q in the capsule", names)
	}
	refused := func(what string, names []string, members map[string][]byte) {
		t.Helper()
		if r, err := capsule.Replay(t.Context(), pack(t, names, members), capsule.Options{LogKey: key}); err == nil {
			t.Errorf("%s: verdict %s, no error", what, r.Verdict)
		}
	}
	with := func(name string, b []byte) map[string][]byte {
		out := map[string][]byte{name: b}
		for n, m := range members {
			if n != name {
				out[n] = m
			}
		}
		return out
	}
	for _, n := range names {
		changed := append(slices.Clone(members[n]), ' ')
		changed[len(changed)/2] ^= 1
		refused("changed "+n, names, with(n, changed))
		refused("removed "+n, slices.DeleteFunc(slices.Clone(names), func(o string) bool { return o == n }), members)
		refused("doubled "+n, append(slices.Clone(names), n), members)
	}
	refused("added", append(slices.Clone(names), "extra"), with("extra", []byte("x")))

	// A forged decision with a manifest that fits is not the one in the log.
	for _, change := range [][2]string{{`"Verdict": "`, `"Verdict": "x`}, {`"Assurance": "registry"`, `"Assurance": "provenance"`}, {"left-pad@1.3.0", "left-pad@1.3.1"}, {`"outcome": "verified"`, `"outcome": "absent"`}} {
		forged := bytes.Replace(members["decision.json"], []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(forged, members["decision.json"]) {
			t.Fatalf("the decision has no %s", change[0])
		}
		m := with("decision.json", forged)
		m["manifest.json"] = corrected(t, m)
		if _, err := capsule.Replay(t.Context(), pack(t, names, m), capsule.Options{LogKey: key}); err == nil {
			t.Errorf("forged %s: no error", change[0])
		}
	}
	// Another log's proof of the same decision is by another key.
	_, foreign := made(t)
	if _, err := capsule.Replay(t.Context(), data, capsule.Options{LogKey: foreign}); !errors.Is(err, capsule.ErrTampered) {
		t.Errorf("with another store's key: %v", err)
	}
}

// corrected is the manifest for the members as they are.
func corrected(t testing.TB, members map[string][]byte) []byte {
	t.Helper()
	var m capsule.Manifest
	if err := json.Unmarshal(members["manifest.json"], &m); err != nil {
		t.Fatal(err)
	}
	for i, e := range m.Members {
		b := members[e.Path]
		m.Members[i].Size, m.Members[i].SHA256 = int64(len(b)), trust.NewRaw("", "", b).Digest.Value
	}
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzReplay(f *testing.F) {
	data, key := made(f)
	f.Add(data)
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := capsule.Replay(t.Context(), b, capsule.Options{LogKey: key})
		if err == nil && len(r.Differences) > 0 {
			t.Errorf("a capsule that the log proves differs: %q", r.Differences)
		}
	})
}
