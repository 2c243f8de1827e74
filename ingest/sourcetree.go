package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/ingest/mirror"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// compareSource compares an artifact's files with the source that it is said to
// come from, and returns what differs with evidence of whether there was a
// comparison at all.
func (c *Contents) compareSource(ctx context.Context, it *item, a trust.Artifact, now, before *inspect.Report) ([]policies.Observation, trust.Evidence) {
	p := it.in.Component.Release.Package
	e := trust.Evidence{Check: trust.CheckSourceTree, Outcome: trust.Absent, Reason: trust.ReasonNotOffered, Release: it.in.Component.Release, Artifact: a}
	sources := sourcesOf(it, a, now)
	switch {
	case !mirror.Comparable(p):
		e.Detail = "packages of this type hold what was compiled, not their source"
		return nil, e
	case len(sources) == 0:
		e.Detail = "neither provenance nor any record names a source commit"
		return nil, e
	}
	for _, s := range sources {
		res, err := c.Sources.Compare(ctx, s, p, now)
		switch _, reason := trust.Classify(err); {
		case err == nil:
			e.Outcome, e.Reason, e.Remedy = trust.Verified, "", ""
			e.Detail = fmt.Sprintf("%d of %d files are those of commit %s of %s, the source as %s", res.Same, len(res.Extra)+len(res.Changed)+len(res.Forged)+res.Same, res.Commit, res.Repository, res.By)
			e.Source = res.Repository
			return res.Observations(p, now, before), e
		case errors.Is(err, mirror.ErrNoMirror):
			e.Detail = err.Error()
		case !s.Signed && reason == trust.ReasonNotFound && !s.Mirrored():
			// An unsigned record that names a commit nobody has proves nothing.
			e.Detail = err.Error()
		default:
			e.Outcome, e.Reason, e.Detail = trust.Unreachable, reason, err.Error()
			return nil, e
		}
	}
	return nil, e
}

// sourcesOf are the sources that a package is said to come from: what was signed
// alone, or else what there is.
func sourcesOf(it *item, a trust.Artifact, r *inspect.Report) []mirror.Source {
	in := &it.in
	var out []mirror.Source
	for _, e := range in.Evidence {
		s := e.Signer
		if e.Outcome == trust.Verified && e.Check == trust.CheckProvenance && s != nil && s.SourceRepository != "" && s.Commit != "" && e.Artifact.Digests.Compare(a.Digests) == trust.Agree {
			return []mirror.Source{{Repository: s.SourceRepository, Commit: s.Commit, By: "signed provenance says", Signed: true}}
		}
	}
	if in.Component.Release.Package.Type == "golang" {
		if s, ok := mirror.Go(in.Component.Release.Package, in.Component.Release.Version); ok {
			out = append(out, s)
		}
	}
	if f := in.Facts; f.Repository != "" {
		if f.VCSCommit != "" {
			out = append(out, mirror.Source{Repository: f.Repository, Commit: f.VCSCommit, By: "the registry's unsigned record says"})
		}
		if r.Commit != "" && r.Commit != f.VCSCommit {
			out = append(out, mirror.Source{Repository: f.Repository, Commit: r.Commit, By: "the package's own unsigned record says"})
		}
	}
	return out
}
