package ingest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// maxBinariesNamed is how many binaries the evidence about their signer names.
const maxBinariesNamed = 5

// binaryEvidence is the evidence about the signers of the binaries of one
// artifact. Its assurance is none: a signed file vouches for no package.
func binaryEvidence(r trust.Release, a trust.Artifact, obs []policies.Observation) []trust.Evidence {
	var out []trust.Evidence
	files := map[string][]string{}
	for _, o := range obs {
		if o.Kind != inspect.KindSigned || o.Signer == nil {
			continue
		}
		id := o.Signer.Identity()
		if files[id] = append(files[id], o.Entry); len(files[id]) == 1 {
			out = append(out, trust.Evidence{Check: trust.CheckBinary, Outcome: trust.Verified, Release: r, Artifact: a, Signer: o.Signer})
		}
	}
	for i := range out {
		fs := files[out[i].Signer.Identity()]
		out[i].Detail = "signed " + strings.Join(fs[:min(len(fs), maxBinariesNamed)], ", ")
		if more := len(fs) - maxBinariesNamed; more > 0 {
			out[i].Detail += fmt.Sprintf(" and %d more", more)
		}
	}
	return out
}

// signersOf are the signers of a report's binaries, each once.
func signersOf(obs []policies.Observation) []trust.Signer {
	var out []trust.Signer
	for _, o := range obs {
		if o.Kind == inspect.KindSigned && o.Signer != nil && !containsSigner(out, *o.Signer) {
			out = append(out, *o.Signer)
		}
	}
	return out
}

func containsSigner(ss []trust.Signer, s trust.Signer) bool {
	return slices.ContainsFunc(ss, func(o trust.Signer) bool { return o.Identity() == s.Identity() })
}

// describeBinaries says of the signers of binaries what the store knows: accepted
// is who was accepted for the package, and who signed binaries of an earlier
// release that was let in. A revocation outweighs both.
func (it *item) describeBinaries() {
	in := &it.in
	earlier := slices.Clone(it.binaries)
	for _, k := range it.known {
		if k.Release == in.Component.Release {
			continue
		}
		for _, s := range k.BinarySigners {
			if !containsSigner(earlier, s) {
				earlier = append(earlier, s)
			}
		}
	}
	in.BinarySigners, in.BinariesBefore = nil, nil
	for _, s := range earlier {
		in.BinariesBefore = append(in.BinariesBefore, s.String())
	}
	var seen []trust.Signer
	for _, e := range in.Evidence {
		if e.Check != trust.CheckBinary || e.Outcome != trust.Verified || e.Signer == nil || containsSigner(seen, *e.Signer) {
			continue
		}
		seen = append(seen, *e.Signer)
		s := signerState(*e.Signer, e, it.accepted, in)
		if !s.Accepted && !s.Revoked && containsSigner(earlier, *e.Signer) {
			s.Accepted, s.By = true, "an earlier release"
		}
		in.BinarySigners = append(in.BinarySigners, s)
	}
}
