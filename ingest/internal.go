package ingest

import (
	"github.com/headgate/headgate/ingest/names"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// internal reports whether a component bears a name of the project's own
// namespaces and would come from a public registry. Such a name is sent nowhere:
// whoever reads the requests of a registry learns from it which name to squat.
func (g *Gate) internal(c sbom.Component) bool {
	if c.Kind != sbom.KindRegistry && c.Kind != sbom.KindUnknown {
		return false
	}
	_, ok := names.Internal(g.Internal, c.Release.Package)
	return ok && !g.private(c.Release.Package)
}

func (g *Gate) private(p trust.Package) bool { return g.Private != nil && g.Private(p) }

func unaskedInternal(c sbom.Component) trust.Evidence {
	return trust.Evidence{
		Check: trust.CheckMetadata, Outcome: trust.Absent, Release: c.Release, Reason: trust.ReasonPrivate,
		Detail: "the name is of an internal namespace, and nobody outside was asked about it",
		Remedy: "point the package manager of your own environment at the internal registry for this name",
	}
}
