package ingest

import (
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/continuity"
)

// CompareSigners is the Continuity of package trust/continuity, over what the
// store knows and upstream shows.
func CompareSigners(in ContinuityInput) (class trust.Continuity, was, is, note string) {
	var known []continuity.Known
	for _, a := range in.Accepted {
		// A source organisation is no signer: it says who may sign, not who did.
		if a.Signer.Validate() == nil && a.Scope.Covers(in.Release.Package, a.Signer) {
			known = append(known, continuity.Known{Signer: a.Signer, At: a.Since})
		}
	}
	for _, k := range in.Known {
		if k.Release == in.Release {
			continue
		}
		for _, s := range k.Signers {
			known = append(known, continuity.Known{Signer: s, Assurance: k.Assurance, Version: k.Release.Version, At: k.First})
		}
	}
	res := continuity.Compare(continuity.FromEvidence(in.Release, in.Facts.Published, in.Evidence), known, in.History)
	return res.Class, res.Was, res.Is, res.Note
}
