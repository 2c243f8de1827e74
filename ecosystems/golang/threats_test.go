package golang

import (
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
)

// TestThreat070CaseIsEscaped: two modules whose paths differ in case only are asked
// for, and judged, apart, on file systems and caches that ignore case too.
func TestThreat070CaseIsEscaped(t *testing.T) {
	w := newWorld(t)
	upper := w.add("example.com/Mod", "v1.0.0", map[string]string{"a.go": "package a\n"})
	lower := w.add("example.com/mod", "v1.0.0", map[string]string{"a.go": "package evil\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	expect(t, first(t, collect(t, a, adapter.Request{Component: w.component(upper), Bytes: true}), trust.CheckBytes), trust.Verified, "")
	if w.asked("/example.com/!mod/@v/v1.0.0.zip") != 1 || w.asked("/example.com/mod/") != 0 {
		t.Errorf("asked %v", w.paths)
	}
	mixed := w.component(upper)
	mixed.Artifacts = w.component(lower).Artifacts
	expect(t, first(t, collect(t, a, adapter.Request{Component: mixed}), trust.CheckLockfile), trust.Failed, trust.ReasonWrongDigest)
	expect(t, first(t, collect(t, a, adapter.Request{Component: w.component(lower), Bytes: true}), trust.CheckBytes), trust.Verified, "")
}
