package golang

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var zero = trust.DigestOf(trust.DirHash1, make([]byte, 32))

func collect(t testing.TB, a *Adapter, req adapter.Request) adapter.Result {
	t.Helper()
	res, err := a.Collect(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
	}
	return res
}

// first returns the first evidence of a check.
func first(t testing.TB, res adapter.Result, c trust.Check) trust.Evidence {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Check == c {
			return e
		}
	}
	t.Fatalf("no %s evidence in %+v", c, res.Evidence)
	return trust.Evidence{}
}

func expect(t testing.TB, e trust.Evidence, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if e.Outcome != o || e.Reason != r {
		t.Errorf("%s is %s (%s), want %s (%s): %s", e.Check, e.Outcome, e.Reason, o, r, e.Detail)
	}
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckChecksumDB},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			w := newWorld(t)
			m := w.add("example.com/Mixed/mod", "v1.2.3", map[string]string{"a.go": "package a\n"})
			other := w.add("example.com/other", "v1.2.3", map[string]string{"b.go": "package b\n"})
			old := w.add("example.com/Mixed/mod", "v1.2.2", map[string]string{"a.go": "package old\n"})
			c := w.component(m)
			switch env.Scenario {
			case adaptertest.WrongName:
				w.records[m] = w.record(other)
			case adaptertest.WrongVersion:
				w.records[m] = w.record(old)
			case adaptertest.WrongDigest:
				w.records[m] = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zero, m.Path, m.Version, zero)
			case adaptertest.Stripped:
				w.rewrite = func(path string, b []byte) []byte {
					i := bytes.Index(b, []byte("\n— "))
					if !strings.HasPrefix(path, "/lookup/") || i < 0 {
						return b
					}
					return b[:i+1]
				}
			case adaptertest.ForeignSigner:
				_, vkey, err := note.GenerateKey(rand.Reader, dbName)
				if err != nil {
					t.Fatal(err)
				}
				w.vkey = vkey
			case adaptertest.Duplicate:
				w.records[m] = fmt.Sprintf("%s %s %s\n", m.Path, m.Version, zero) + w.record(m)
			}
			a := w.adapter(env)
			if env.Scenario == adaptertest.Replayed {
				// The database goes on from before the record that it has shown already.
				if _, err := a.Collect(t.Context(), adapter.Request{Component: c}); err != nil {
					t.Fatal(err)
				}
				w.db = w.newDB()
				w.records[m] = strings.ReplaceAll(w.record(old), old.Version, m.Version)
				var err error
				if a, err = New(Config{Getter: env.Getter(), State: env.State, Env: a.env}); err != nil {
					t.Fatal(err)
				}
			}
			return adaptertest.World{Adapter: a, Request: adapter.Request{Component: c}, Artifact: c.Artifacts[0], Bytes: w.zip(m)}
		},
		Skip: map[adaptertest.Scenario]string{adaptertest.Expired: "the key of a checksum database has no end, and its tree only grows"},
	})
}

func TestVerifiedEvidenceSaysWhatWasJudged(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	env := adaptertest.NewEnv(t, adaptertest.Right)
	a := w.adapter(env)
	res := collect(t, a, adapter.Request{Component: w.component(m), Bytes: true})
	if len(res.Evidence) != 6 {
		t.Fatalf("%d pieces of evidence", len(res.Evidence))
	}
	for _, e := range res.Evidence {
		expect(t, e, trust.Verified, "")
	}
	e := res.Evidence[0]
	if e.Signer == nil || e.Signer.Kind != trust.SignerLog || e.Signer.Name != dbName || len(e.Signer.KeyDigest) != 64 || e.Assurance != trust.AssuranceRegistry {
		t.Errorf("signer is %+v", e.Signer)
	}
	if len(e.Raw) != 3 || !bytes.Contains(e.Raw[0].Bytes, []byte(m.Path)) || !bytes.Contains(e.Raw[0].Bytes, []byte("— "+dbName)) || len(e.Logs) != 1 {
		t.Errorf("raw is %q", e.Raw)
	}
	f := res.Facts
	if f.Published.IsZero() || f.Repository != "https://git.example.com/r" || f.VCSRef != "refs/tags/v1.0.0" || f.LatestKnown != "v1.0.0" || f.Retracted != nil || f.Deprecated != nil {
		t.Errorf("facts are %+v", f)
	}
	if b, err := env.State.Load(context.Background(), "golang/sumdb/"+dbName+"/latest"); err != nil || !bytes.Contains(b, []byte("go.sum database tree")) {
		t.Errorf("tree head was not kept: %q %v", b, err)
	}
}

func TestOneOtherHashFails(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	zip, mod := w.hashes(m)
	for _, tc := range []struct {
		zip, mod trust.Digests
		name     string
	}{
		{trust.Digests{zero}, trust.Digests{mod}, ""},
		{trust.Digests{zip}, trust.Digests{zero}, "go.mod"},
		{trust.Digests{zip, zero}, trust.Digests{mod}, ""},
		{trust.Digests{mod}, trust.Digests{zip}, ""},
	} {
		res := collect(t, a, adapter.Request{Component: component(t, m, trust.Artifact{Digests: tc.zip}, trust.Artifact{Name: "go.mod", Digests: tc.mod})})
		for _, e := range res.Evidence {
			if e.Artifact.Name == tc.name {
				expect(t, e, trust.Failed, trust.ReasonWrongDigest)
			}
		}
	}
}

func TestStatesNoDigest(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	zip, mod := w.hashes(m)
	res := collect(t, a, adapter.Request{Component: component(t, m)})
	e := first(t, res, trust.CheckChecksumDB)
	expect(t, e, trust.Verified, "")
	if !e.Artifact.Digests.Get(trust.DirHash1).Equal(zip) {
		t.Errorf("evidence is about %v", e.Artifact)
	}
	expect(t, first(t, res, trust.CheckLockfile), trust.Absent, trust.ReasonNoLockDigest)
	// go.sum with the go.mod line alone
	res = collect(t, a, adapter.Request{Component: component(t, m, trust.Artifact{Name: "go.mod", Digests: trust.Digests{mod}})})
	expect(t, first(t, res, trust.CheckLockfile), trust.Absent, trust.ReasonNoLockDigest)
	if len(res.Evidence) != 4 {
		t.Errorf("%d pieces of evidence", len(res.Evidence))
	}
}

func TestBytesAreCompared(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	c := w.component(m)
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	w.records[m] = w.record(m)
	w.mods[m]["a.go"] = "package evil\n"
	res := collect(t, a, adapter.Request{Component: c, Bytes: true})
	expect(t, first(t, res, trust.CheckBytes), trust.Failed, trust.ReasonWrongDigest)
	if b, err := a.Fetch(context.Background(), c, c.Artifacts[0]); err == nil {
		b.Close()
		t.Error("other bytes were handed out")
	}
	delete(w.mods, m)
	res = collect(t, a, adapter.Request{Component: c, Bytes: true})
	expect(t, first(t, res, trust.CheckBytes), trust.Unreachable, trust.ReasonNotFound)
}

func TestThreat041ToolchainsAreCheckedLikeOthers(t *testing.T) {
	w := newWorld(t)
	m := w.add(toolchain, "v0.0.1-go1.26.8.linux-amd64", map[string]string{"bin/go": "x"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right), "GONOSUMDB", "golang.org/*", "GOPRIVATE", "*")
	res := collect(t, a, adapter.Request{Component: w.component(m)})
	expect(t, first(t, res, trust.CheckChecksumDB), trust.Verified, "")
	a.env.SumDB.Off = true
	res = collect(t, a, adapter.Request{Component: w.component(m)})
	expect(t, first(t, res, trust.CheckChecksumDB), trust.Verified, "")

	// A proxy that has the toolchain and hides the database.
	env := adaptertest.NewEnv(t, adaptertest.Right)
	base := env.Serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/sumdb/") {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.ServeHTTP(rw, r)
	}))
	a, err := New(Config{Getter: env.Getter(), State: env.State, Env: w.env(base)})
	if err != nil {
		t.Fatal(err)
	}
	res = collect(t, a, adapter.Request{Component: w.component(m), Bytes: true})
	for _, e := range res.Evidence {
		expect(t, e, trust.Unreachable, trust.ReasonNetwork)
	}
	// The go and toolchain lines name no artifact.
	for _, m := range []module.Version{{Path: "stdlib", Version: "1.26.8"}, {Path: toolchain, Version: "v0.0.1-go1.26.8"}} {
		c := component(t, m)
		c.Kind = sbom.KindToolchain
		if e := first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB); e.Outcome != trust.Absent {
			t.Errorf("%s is %s", m, e.Outcome)
		}
	}
}

func TestThreat042ForgedTile(t *testing.T) {
	for _, forge := range []func([]byte) []byte{
		func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, // the right edge
		func(b []byte) []byte { b[0] ^= 1; return b },
	} {
		w := newWorld(t)
		m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
		for i := range 5 {
			n := w.add(fmt.Sprintf("example.com/n%d", i), "v1.0.0", map[string]string{"a.go": "package a\n"})
			if _, err := w.db.Lookup(context.Background(), n); err != nil {
				t.Fatal(err)
			}
		}
		w.rewrite = func(path string, b []byte) []byte {
			if strings.HasPrefix(path, "/tile/") {
				return forge(bytes.Clone(b))
			}
			return b
		}
		a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
		expect(t, first(t, collect(t, a, adapter.Request{Component: w.component(m)}), trust.CheckChecksumDB), trust.Failed, trust.ReasonBadSignature)
	}
}

func TestThreat043ExtraLinesOutsideNote(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	other := w.add("example.com/other", "v1.0.0", map[string]string{"a.go": "package b\n"})
	c := w.component(m)
	line := strings.SplitN(w.record(m), "\n", 2)[0] + "\n"
	w.records[m] = w.record(other)
	for _, put := range []func(b []byte) []byte{
		func(b []byte) []byte { return append(b, line...) },
		func(b []byte) []byte { return append([]byte(line), b...) },
		func(b []byte) []byte { return bytes.Replace(b, []byte("\n\n"), []byte("\n\n"+line+"\n"), 1) },
		func(b []byte) []byte { return bytes.Replace(b, []byte("\n"), []byte("\n"+line), 1) },
	} {
		w.rewrite = func(path string, b []byte) []byte {
			if strings.HasPrefix(path, "/lookup/") {
				return put(b)
			}
			return b
		}
		a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
		if e := first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB); e.Outcome == trust.Verified {
			t.Errorf("verified: %s", e.Detail)
		}
	}
}

func TestThreat044ForkIsAnAlarm(t *testing.T) {
	for _, size := range []int{1, 2, 7} { // of the other history; the first one has one record
		w := newWorld(t)
		m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
		n := w.add("example.com/new", "v1.0.0", map[string]string{"a.go": "package n\n"})
		env := adaptertest.NewEnv(t, adaptertest.Right)
		a := w.adapter(env)
		expect(t, first(t, collect(t, a, adapter.Request{Component: w.component(m)}), trust.CheckChecksumDB), trust.Verified, "")
		before, err := env.State.Load(context.Background(), stateKey(dbName+"/latest"))
		if err != nil {
			t.Fatal(err)
		}

		// The same key signs another history.
		w.db = w.newDB()
		for i := range size - 1 {
			o := w.add(fmt.Sprintf("example.com/o%d", i), "v1.0.0", map[string]string{"a.go": "package o\n"})
			if _, err := w.db.Lookup(context.Background(), o); err != nil {
				t.Fatal(err)
			}
		}
		a, err = New(Config{Getter: env.Getter(), State: env.State, Env: a.env})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []sbom.Component{w.component(n), w.component(m)} {
			expect(t, first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB), trust.Failed, trust.ReasonLogMisbehaviour)
		}
		alarms := env.State.Alarms()
		if len(alarms) != 1 || strings.Count(string(alarms[0].Proof), "go.sum database tree") != 2 || !strings.Contains(string(alarms[0].Proof), "proof of misbehavior") {
			t.Errorf("alarms are %q", alarms)
		}
		after, err := env.State.Load(context.Background(), stateKey(dbName+"/latest"))
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("the kept tree head changed: %v", err)
		}
	}
}

func TestOlderHeadIsFineAndConflictsAreMerged(t *testing.T) {
	w := newWorld(t)
	env := adaptertest.NewEnv(t, adaptertest.Right)
	var ms []module.Version
	for i := range 20 {
		ms = append(ms, w.add(fmt.Sprintf("example.com/m%d", i), "v1.0.0", map[string]string{"a.go": "package a\n"}))
	}
	base := env.Serve(w)
	var wg sync.WaitGroup
	for range 3 { // three processes with one store
		a, err := New(Config{Getter: env.Getter(), State: env.State, Env: w.env(base)})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			c := w.component(m)
			wg.Add(1)
			go func() {
				defer wg.Done()
				expect(t, first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB), trust.Verified, "")
			}()
		}
	}
	wg.Wait()
	b, err := env.State.Load(context.Background(), stateKey(dbName+"/latest"))
	if err != nil || !strings.Contains(string(b), "\n20\n") {
		t.Errorf("kept head is %q: %v", b, err)
	}
}

func TestThreat074BranchNamedLikeAVersion(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.2.3", map[string]string{"a.go": "package a\n"})
	c := w.component(m)
	delete(w.mods, m) // no such tag: the database has no record, whatever a proxy says
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	expect(t, first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB), trust.Unreachable, trust.ReasonNotFound)
	for _, v := range []string{"main", "v1.2", "v1.2.3+meta", "", "v2.0.0", "1.2.3", "latest"} {
		e := first(t, collect(t, a, adapter.Request{Component: component(t, module.Version{Path: "example.com/mod", Version: v})}), trust.CheckChecksumDB)
		expect(t, e, trust.Unreachable, trust.ReasonMalformed)
	}
}

func TestVersionsOfAllKinds(t *testing.T) {
	w := newWorld(t)
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	for _, m := range []module.Version{
		{Path: "example.com/pseudo", Version: "v0.0.0-20240102030405-abcdefabcdef"}, {Path: "example.com/inc", Version: "v2.1.0+incompatible"},
		{Path: "example.com/major/v3", Version: "v3.0.1"}, {Path: "example.com/BurntSushi/Toml", Version: "v1.0.0-RC1"},
		{Path: "gopkg.in/yaml.v3", Version: "v3.0.1"}, {Path: "example.com", Version: "v1.0.0"},
	} {
		w.add(m.Path, m.Version, map[string]string{"a.go": "package a\n"})
		expect(t, first(t, collect(t, a, adapter.Request{Component: w.component(m)}), trust.CheckChecksumDB), trust.Verified, "")
	}
}

func TestLocalPrivateAndSwitchedOff(t *testing.T) {
	w := newWorld(t)
	m := w.add("corp.example.com/secret", "v1.0.0", map[string]string{"a.go": "package a\n"})
	c := w.component(m)
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right), "GOPRIVATE", "corp.example.com")
	for _, e := range collect(t, a, adapter.Request{Component: c, Bytes: true, History: 3}).Evidence {
		expect(t, e, trust.Absent, trust.ReasonPrivate)
	}
	local := c
	local.Kind, local.Origin = sbom.KindPath, "../secret"
	for _, e := range collect(t, a, adapter.Request{Component: local}).Evidence {
		expect(t, e, trust.Absent, trust.ReasonLocal)
	}
	if n := w.asked(""); n != 0 {
		t.Errorf("a private name was asked for: %v", w.paths)
	}
	a = w.adapter(adaptertest.NewEnv(t, adaptertest.Right), "GONOSUMDB", "corp.example.com/*")
	expect(t, collect(t, a, adapter.Request{Component: c}).Evidence[0], trust.Absent, trust.ReasonPrivate)
	if w.asked("/lookup/") != 0 || w.asked(".info") != 1 {
		t.Errorf("asked %v", w.paths)
	}
	a.env.SumDB.Off, a.env.NoSumDB = true, ""
	expect(t, collect(t, a, adapter.Request{Component: c}).Evidence[0], trust.Absent, trust.ReasonNotOffered)
	vendor := c
	vendor.Locations = []trust.Location{{Path: "vendor/modules.txt", Line: 3}}
	a.env.SumDB.Off = false
	expect(t, first(t, collect(t, a, adapter.Request{Component: vendor}), trust.CheckVendored), trust.Absent, trust.ReasonNotCovered)
}

func TestRetractedAndDeprecated(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	w.add("example.com/mod", "v1.1.0", map[string]string{"go.mod": "// Deprecated: use other\nmodule example.com/mod\n\nretract [v1.0.0, v1.0.5] // leaks\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	f := collect(t, a, adapter.Request{Component: w.component(m)}).Facts
	if f.Retracted == nil || *f.Retracted != "leaks" || f.Deprecated == nil || *f.Deprecated != "use other" || f.LatestKnown != "v1.1.0" {
		t.Errorf("facts are %+v", f)
	}
}

// TestThreat118JudgedBytesAreKept: the raw bytes of the evidence are those that
// were verified, although upstream answers differently the second time.
func TestThreat118JudgedBytesAreKept(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	var mu sync.Mutex
	var served [][]byte
	w.rewrite = func(path string, b []byte) []byte {
		if !strings.HasPrefix(path, "/lookup/") {
			return b
		}
		mu.Lock()
		defer mu.Unlock()
		if len(served) > 0 {
			b = []byte("something else")
		}
		served = append(served, bytes.Clone(b))
		return b
	}
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	for range 2 {
		e := first(t, collect(t, a, adapter.Request{Component: w.component(m)}), trust.CheckChecksumDB)
		expect(t, e, trust.Verified, "")
		if len(e.Raw) == 0 || !bytes.Equal(e.Raw[0].Bytes, served[0]) {
			t.Errorf("raw is %q", e.Raw)
		}
	}
}

func TestReplacementIsVerifiedUnderItsOwnName(t *testing.T) {
	w := newWorld(t)
	old := w.add("example.com/old", "v1.0.0", map[string]string{"a.go": "package a\n"})
	fork := w.add("example.com/fork", "v1.0.1", map[string]string{"a.go": "package b\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	c := w.component(fork)
	c.Replaces, c.Alias = component(t, old).Release, old.Path
	e := first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB)
	expect(t, e, trust.Verified, "")
	if e.Release != c.Release || w.asked("/lookup/"+old.Path) != 0 {
		t.Errorf("evidence is about %s; asked %v", e.Release, w.paths)
	}
	c.Artifacts = w.component(old).Artifacts // the replaced module's hashes are not the fork's
	expect(t, first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckChecksumDB), trust.Failed, trust.ReasonWrongDigest)
}

func TestNewestVersion(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "junk v1": "", "v1.0.0\nv1.10.0\nv1.9.0": "v1.10.0", "v1.0.0 v1.1.0-rc.1": "v1.0.0", "v1.0.0-a v1.0.0-b": "v1.0.0-b",
		"v1.5.0 v2.0.0+incompatible": "v1.5.0", "v2.0.0+incompatible v3.0.0+incompatible": "v3.0.0+incompatible", "v2.0.0": "",
	} {
		if got := newest("example.com/mod", list); got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

func TestHistory(t *testing.T) {
	w := newWorld(t)
	var m module.Version
	for _, v := range []string{"v1.0.0", "v1.10.0", "v1.2.0", "v1.11.0"} {
		m = w.add("example.com/mod", v, map[string]string{"a.go": "package a // " + v})
	}
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	hs := collect(t, a, adapter.Request{Component: w.component(m), History: 2}).History
	if len(hs) != 2 || hs[0].Version != "v1.10.0" || hs[1].Version != "v1.2.0" || hs[0].Claimed != trust.AssuranceRegistry || hs[0].Assurance != trust.AssuranceNone {
		t.Errorf("history is %+v", hs)
	}
}

// TestProxyLists walks GOPROXY as the go command does.
func TestProxyLists(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(code) })
	}
	env := adaptertest.NewEnv(t, adaptertest.Right)
	good, none, gone, bad := env.Serve(w), env.Serve(status(404)), env.Serve(status(410)), env.Serve(status(500))
	for _, tc := range []struct {
		list  string
		bytes trust.Outcome
		r     trust.Reason
	}{
		{good, trust.Verified, ""}, {none + "," + gone + "," + good, trust.Verified, ""}, {bad + "|" + good, trust.Verified, ""},
		{bad + "," + good, "", ""}, {none, trust.Unreachable, trust.ReasonNotFound}, {none + ",direct," + good, trust.Unreachable, trust.ReasonUnsupported},
		{"off", trust.Unreachable, trust.ReasonOffline}, {"direct", trust.Unreachable, trust.ReasonUnsupported}, {none + "|off|" + good, trust.Unreachable, trust.ReasonOffline},
	} {
		e := w.env(tc.list)
		e.SumDB.Base = good // the database itself, for lists that lead to direct access
		a, err := New(Config{Getter: env.Getter(), State: env.State, Env: e})
		if err != nil {
			t.Fatal(err)
		}
		res := collect(t, a, adapter.Request{Component: w.component(m), Bytes: true})
		if tc.bytes == "" {
			expect(t, res.Evidence[0], trust.Unreachable, trust.ReasonNetwork)
			continue
		}
		expect(t, res.Evidence[0], trust.Verified, "")
		expect(t, first(t, res, trust.CheckBytes), tc.bytes, tc.r)
	}
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "env")
	if err := os.WriteFile(file, []byte("GOPROXY=https://file.example.com\nGOPRIVATE=file.example.com\n# x\nbad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(vars map[string]string) (Environment, error) {
		return EnvFromOS(func(k string) string { return vars[k] }, dir)
	}
	e, err := read(map[string]string{"GOENV": file, "GOFLAGS": "-mod=mod -insecure", "GONOSUMCHECK": "1", "GOINSECURE": "*"})
	if err != nil || e.Proxies[0].URL != "https://file.example.com" || e.NoSumDB != "file.example.com" || e.NoProxy != "file.example.com" || len(e.Notes) != 3 {
		t.Errorf("%+v %v", e, err)
	}
	if runtime.GOOS == "linux" {
		p := filepath.Join(dir, ".config", "go")
		if err := os.MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p, "env"), []byte("GOPROXY=https://home.example.com\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := read(nil); err != nil || e.Proxies[0].URL != "https://home.example.com" {
			t.Errorf("%+v %v", e, err)
		}
	}
	e, err = read(map[string]string{"GOENV": "off"})
	if err != nil || len(e.Proxies) != 2 || e.Proxies[0].URL != DefaultProxy || e.Proxies[1].URL != "direct" || e.SumDB.Key != DefaultSumDBKey || e.SumDB.Off || e.SumDB.URL != "" {
		t.Errorf("%+v %v", e, err)
	}
	e, err = read(map[string]string{"GOENV": "off", "GOPROXY": "https://joe:hunter2@proxy.example.com/go/,off", "GOSUMDB": DefaultSumDBKey + " https://mirror.example.com/db/", "GONOPROXY": "none", "GOPRIVATE": "a.example.com"})
	if err != nil || e.Proxies[0].URL != "https://proxy.example.com/go" || len(e.Credentials) != 1 || e.SumDB.URL != "https://mirror.example.com/db" || e.NoProxy != "" || e.NoSumDB != "a.example.com" {
		t.Errorf("%+v %v", e, err)
	}
	if e, err := read(map[string]string{"GOENV": "off", "GOSUMDB": "off"}); err != nil || !e.SumDB.Off {
		t.Errorf("%+v %v", e, err)
	}
	for _, bad := range []map[string]string{
		{"GOSUMDB": "unknown.example.com"}, {"GOSUMDB": "a b c"}, {"GOSUMDB": DefaultSumDBKey + " ftp://x"}, {"GOPROXY": ","}, {"GOPROXY": "file:///x"},
		{"GOPROXY": "https://"}, {"GOPROXY": strings.Repeat("https://p.example.com,", MaxProxies+1)}, {"GONOSUMDB": "a\nb"},
	} {
		bad["GOENV"] = "off"
		if e, err := read(bad); err == nil {
			t.Errorf("%v gave %+v", bad, e)
		}
	}
	if e, err := read(map[string]string{"GOENV": "off", "GOPROXY": strings.Repeat("https://p.example.com,", MaxProxies)}); err != nil || len(e.Proxies) != MaxProxies {
		t.Error(err)
	}
}

func TestThreat090HostileZips(t *testing.T) {
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	prefix := "example.com/mod@v1.0.0/"
	for name, names := range map[string][]string{
		"twice": {prefix + "a", prefix + "a"}, "case": {prefix + "a", prefix + "A"}, "outside": {"../a"}, "other": {"example.com/mod@v1.0.1/a"},
		"escape": {prefix + "../a"}, "absolute": {"/etc/passwd"}, "nested": {prefix + "x/../../a"},
	} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, n := range names {
			f, err := z.Create(n)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, "x")
		}
		z.Close()
		if d, err := HashZip(m, bytes.NewReader(b.Bytes()), int64(b.Len())); err == nil {
			t.Errorf("%s: hashed to %s", name, d)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: prefix + "link"}
	h.SetMode(os.ModeSymlink | 0o777)
	f, err := z.CreateHeader(h)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "/etc/passwd")
	z.Close()
	if d, err := HashZip(m, bytes.NewReader(b.Bytes()), int64(b.Len())); err == nil {
		t.Errorf("link: hashed to %s", d)
	}
	left := int64(3)
	c := &counted{io.NopCloser(strings.NewReader("abc")), &left}
	if b, err := io.ReadAll(c); err != nil || string(b) != "abc" {
		t.Error(err)
	}
	left = 2
	c = &counted{io.NopCloser(strings.NewReader("abc")), &left}
	if _, err := io.ReadAll(c); err == nil {
		t.Error("one byte too many was read")
	}
}

// TestCachedLieIsAskedAgain: what a proxy once said wrongly does not stay.
func TestCachedLieIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	env := adaptertest.NewEnv(t, adaptertest.Right)
	base := env.Serve(w)
	dir := t.TempDir()
	newAdapter := func() *Adapter {
		c, err := upstream.New(upstream.Config{CacheDir: dir, Insecure: []string{strings.TrimPrefix(base, "http://")}, Getenv: func(string) string { return "" }, Clock: env.Clock})
		if err != nil {
			t.Fatal(err)
		}
		a, err := New(Config{Getter: c, State: env.State, Env: w.env(base)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	w.rewrite = func(path string, b []byte) []byte { return append([]byte("x"), b...) }
	expect(t, collect(t, newAdapter(), adapter.Request{Component: w.component(m)}).Evidence[0], trust.Unreachable, trust.ReasonMalformed)
	w.rewrite = nil
	expect(t, collect(t, newAdapter(), adapter.Request{Component: w.component(m)}).Evidence[0], trust.Verified, "")
	before := w.asked("")
	expect(t, collect(t, newAdapter(), adapter.Request{Component: w.component(m)}).Evidence[0], trust.Verified, "")
	if got := w.asked("") - before; got > 1 { // nothing but the version list may be due, and its age is not reached
		t.Errorf("%d requests with a warm cache", got)
	}
}

func TestRealData(t *testing.T) {
	root := os.Getenv("HEADGATE_REALDATA")
	if root == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	root = filepath.Join(root, "sumdb")
	lookups := filepath.Join(root, "sumdb")
	dbs, err := os.ReadDir(lookups)
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range dbs {
		env := adaptertest.NewEnv(t, adaptertest.Right)
		files := http.FileServer(http.Dir(root))
		base := env.Serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/supported") {
				return
			}
			files.ServeHTTP(rw, r)
		}))
		e, err := EnvFromOS(func(k string) string { return map[string]string{"GOENV": "off", "GOPROXY": base}[k] }, "")
		if err != nil {
			t.Fatal(err)
		}
		if db.Name() != e.SumDB.Name {
			t.Fatalf("database %s is not the default one", db.Name())
		}
		if head, err := os.ReadFile(filepath.Join(lookups, db.Name(), "latest")); err == nil {
			if ok, err := env.State.Swap(context.Background(), stateKey(db.Name()+"/latest"), nil, head); err != nil || !ok {
				t.Fatal(err)
			}
		}
		a, err := New(Config{Getter: env.Getter(), State: env.State, Env: e})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		dir := filepath.Join(lookups, db.Name(), "lookup")
		err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			escaped, ev, _ := strings.Cut(filepath.ToSlash(rel), "@")
			path, err := module.UnescapePath(escaped)
			if err != nil {
				return err
			}
			v, err := module.UnescapeVersion(ev)
			if err != nil {
				return err
			}
			m := module.Version{Path: path, Version: v}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			_, text, _, err := tlog.ParseRecord(b)
			if err != nil {
				return err
			}
			rec := &record{lines: strings.Split(string(text), "\n")}
			zip, mod, f := rec.hashes(m)
			if f != nil {
				t.Errorf("%s: %v", m, f)
				return nil
			}
			c := component(t, m, trust.Artifact{Digests: trust.Digests{zip}}, trust.Artifact{Name: goMod, Digests: trust.Digests{mod}})
			_, zipErr := os.Stat(filepath.Join(root, filepath.FromSlash(escaped), "@v", ev+".zip"))
			for _, e := range collect(t, a, adapter.Request{Component: c, Bytes: zipErr == nil}).Evidence {
				expect(t, e, trust.Verified, "")
			}
			c.Artifacts[0].Digests = trust.Digests{zero}
			expect(t, collect(t, a, adapter.Request{Component: c}).Evidence[0], trust.Failed, trust.ReasonWrongDigest)
			n++
			return nil
		})
		if err != nil || n == 0 {
			t.Fatalf("%d records: %v", n, err)
		}
		t.Logf("%s: %d records", db.Name(), n)
	}
}

func FuzzHashes(f *testing.F) {
	f.Add("example.com/mod v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	f.Fuzz(func(t *testing.T, s string) {
		r := &record{lines: strings.Split(s, "\n")}
		zip, _, fl := r.hashes(m)
		if fl == nil && !strings.Contains(s, m.Path+" "+m.Version+" "+zip.String()) {
			t.Errorf("%q gave %s", s, zip)
		}
	})
}

func FuzzHashZip(f *testing.F) {
	w := newWorld(f)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	f.Add(w.zip(m))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = HashZip(m, bytes.NewReader(b), int64(len(b)))
	})
}

func FuzzGoProxy(f *testing.F) {
	f.Add("https://a.example.com,direct", DefaultSumDBKey+" https://b.example.com")
	f.Fuzz(func(t *testing.T, proxy, db string) {
		e, err := EnvFromOS(func(k string) string { return map[string]string{"GOENV": "off", "GOPROXY": proxy, "GOSUMDB": db}[k] }, "")
		if err != nil {
			return
		}
		b, err := json.Marshal(e.Proxies)
		if err != nil || len(e.Proxies) == 0 || e.SumDB.Key == "" {
			t.Errorf("%q %q gave %s", proxy, db, b)
		}
	})
}
