//go:build live

package golang

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// TestLiveOwnModules holds this repository's own go.sum against the database.
func TestLiveOwnModules(t *testing.T) {
	b, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	e, err := EnvFromOS(os.Getenv, os.Getenv("HOME"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := upstream.New(upstream.Config{Version: "live-test", CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	state := &adaptertest.State{}
	for _, run := range []string{"cold", "warm"} {
		a, err := New(Config{Getter: c, State: state, Env: e})
		if err != nil {
			t.Fatal(err)
		}
		begin, n := time.Now(), 0
		var wg sync.WaitGroup
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if strings.HasSuffix(f[1], "/go.mod") {
				continue
			}
			d, err := trust.ParseDigest(f[2])
			if err != nil {
				t.Fatal(err)
			}
			n++
			wg.Add(1)
			go func() {
				defer wg.Done()
				res := collect(t, a, adapter.Request{Component: component(t, module.Version{Path: f[0], Version: f[1]}, trust.Artifact{Digests: trust.Digests{d}})})
				for _, ev := range res.Evidence {
					expect(t, ev, trust.Verified, "")
				}
			}()
		}
		wg.Wait()
		t.Logf("%s: %d modules in %v, %+v", run, n, time.Since(begin).Round(time.Millisecond), c.Stats())
	}
}

// TestLive asks the proxy of the environment and the live checksum database.
func TestLive(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	e, err := EnvFromOS(os.Getenv, home)
	if err != nil {
		t.Fatal(err)
	}
	c, err := upstream.New(upstream.Config{Version: "live-test", CacheDir: t.TempDir(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{Getter: c, State: &adaptertest.State{}, Env: e})
	if err != nil {
		t.Fatal(err)
	}
	for m, h1 := range map[module.Version]string{
		{Path: "golang.org/x/mod", Version: "v0.20.0"}:          "h1:utOm6MM3R3dnawAiJgn0y+xvuYRsm1RKM/4giyfDgV0=",
		{Path: "github.com/BurntSushi/toml", Version: "v1.4.0"}: "h1:kuoIxZQy2WRRk1pttg9asf+WVv6tWQuBNVmK8+nqPr0=",
	} {
		d, err := trust.ParseDigest(h1)
		if err != nil {
			t.Fatal(err)
		}
		res := collect(t, a, adapter.Request{Component: component(t, m, trust.Artifact{Digests: trust.Digests{d}}), Bytes: true, History: 2})
		for _, ev := range res.Evidence {
			expect(t, ev, trust.Verified, "")
		}
		if res.Facts.Published.IsZero() || res.Facts.LatestKnown == "" || len(res.History) != 2 {
			t.Errorf("%s: facts %+v, history %+v", m, res.Facts, res.History)
		}
		res = collect(t, a, adapter.Request{Component: component(t, m, trust.Artifact{Digests: trust.Digests{zero}})})
		expect(t, first(t, res, trust.CheckChecksumDB), trust.Failed, trust.ReasonWrongDigest)
	}
	t.Logf("%+v", c.Stats())
}
