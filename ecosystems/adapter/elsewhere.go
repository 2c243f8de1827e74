package adapter

import (
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Elsewhere is the evidence about a component that does not come from a
// registry, of which an adapter has nothing to ask; ok is false for one that
// does, or whose source does not say. From names what the ecosystem's packages
// come from: "a gem server".
//
// Code of the project's own is local. Everything else is upstream's and nobody's
// signature covers it: absent, never passed over.
func Elsewhere(c sbom.Component, from string) (e trust.Evidence, ok bool) {
	missing := func(reason trust.Reason, format string, args ...any) (trust.Evidence, bool) {
		return Missing(trust.CheckSource, c.Release, Stated(c), reason, format, args...), true
	}
	switch c.Kind {
	case sbom.KindRegistry, sbom.KindUnknown:
		return trust.Evidence{}, false
	case sbom.KindPath, sbom.KindWorkspace:
		return missing(trust.ReasonLocal, "is part of the project: there is nothing upstream to check")
	case sbom.KindGit:
		at := "at the commit " + clip(c.Commit)
		switch {
		case c.Commit == "":
			at = "at no commit that the source names"
		case !c.Pinned:
			at = "at a ref that can move, " + clip(c.Commit) + " for now"
		}
		e, ok = missing(trust.ReasonNotOffered, "comes from git (%s %s), not from %s: nothing is signed", clip(c.Origin), at, from)
		e.Remedy = "depend on a release, or review the commit"
		return e, ok
	case sbom.KindURL:
		e, ok = missing(trust.ReasonNotOffered, "comes from %s, not from %s: nothing is signed", clip(c.Origin), from)
		e.Remedy = "depend on a release, or check the file as a plain download"
		return e, ok
	case sbom.KindBundled:
		return missing(trust.ReasonNotOffered, "is inside another package, not from %s: nothing is signed for it alone", from)
	}
	return missing(trust.ReasonNotOffered, "does not come from %s (%s)", from, clip(string(c.Kind)))
}

// maxClip bounds what a detail repeats of a source, in bytes.
const maxClip = 200

func clip(s string) string {
	if len(s) <= maxClip {
		return s
	}
	return s[:maxClip] + "…"
}

// Stated is the artifact that the component states: the first of several, the
// zero one if it states none.
func Stated(c sbom.Component) trust.Artifact {
	if len(c.Artifacts) == 0 {
		return trust.Artifact{}
	}
	return c.Artifacts[0]
}

// Only is the result of an adapter that has one thing to say.
func Only(e trust.Evidence) Result { return Result{Evidence: []trust.Evidence{e}} }
