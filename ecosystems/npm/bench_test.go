package npm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// BenchmarkCold1000 collects a thousand packages, each with attestations, from
// a local registry that answers after 50 ms, nothing cached.
func BenchmarkCold1000(b *testing.B) {
	const packages, latency = 1000, 50 * time.Millisecond
	g := newRegistry(b)
	env := adaptertest.NewEnv(b, adaptertest.Right)
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { time.Sleep(latency); g.ServeHTTP(w, r) })
	g.base = env.Serve(slow) + "/"
	tr := g.trust()
	var cs []sbom.Component
	for i := range packages {
		name := fmt.Sprintf("p%d", i)
		g.add(release{name: name, version: "1.0.0", attest: true})
		ns, err := trust.ParseSRI(sri([]byte(name + "@1.0.0")))
		if err != nil {
			b.Fatal(err)
		}
		rel, err := trust.NewRelease("npm", "", name, "1.0.0")
		if err != nil {
			b.Fatal(err)
		}
		cs = append(cs, sbom.Component{Release: rel, Kind: sbom.KindRegistry, Artifacts: []trust.Artifact{{Digests: ns}}})
	}
	for b.Loop() {
		a, err := New(Options{Get: env.Getter(), Clock: env.Clock, Config: Config{Registry: g.base, Public: g.base}, Trust: func() Trust { return tr }})
		if err != nil {
			b.Fatal(err)
		}
		before := len(g.asks)
		sem := make(chan struct{}, 64)
		var wg sync.WaitGroup
		for _, c := range cs {
			sem <- struct{}{}
			wg.Go(func() {
				defer func() { <-sem }()
				res, err := a.Collect(b.Context(), adapter.Request{Component: c})
				if err != nil || find(res, trust.CheckProvenance).Outcome != trust.Verified {
					b.Errorf("%s: %+v, %v", c.Release, res, err)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(len(g.asks)-before)/packages, "requests/package")
	}
	b.ReportMetric(packages*float64(b.N)/b.Elapsed().Seconds(), "packages/s")
}

// BenchmarkPackument reads a record with two thousand versions.
func BenchmarkPackument(b *testing.B) {
	g := newRegistry(b)
	g.base = "https://registry.example.com/"
	g.add(release{name: "big", version: "0.0.0"})
	vs := g.pack["big"]["versions"].(obj)
	readme := strings.Repeat("x", 8000)
	for i := range 2000 {
		rec := obj{"name": "big", "version": fmt.Sprintf("1.0.%d", i), "readme": readme, "dist": vs["0.0.0"].(obj)["dist"]}
		vs[fmt.Sprintf("1.0.%d", i)] = rec
	}
	doc, err := json.Marshal(g.pack["big"])
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsePackument(doc); err != nil {
			b.Fatal(err)
		}
	}
}
