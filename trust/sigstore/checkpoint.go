package sigstore

import (
	"strconv"
	"strings"

	"github.com/headgate/headgate/trust"
)

// checkpointSizes demands that every checkpoint is for the tree that its
// inclusion proof is for. The library compares their root hashes alone where the
// entry is one of log v1.
func (e *entity) checkpointSizes() error {
	for _, t := range e.Bundle.Bundle.GetVerificationMaterial().GetTlogEntries() {
		p := t.GetInclusionProof()
		if p.GetCheckpoint().GetEnvelope() == "" {
			continue // demanded, where it is, by the library
		}
		lines := strings.SplitN(p.GetCheckpoint().GetEnvelope(), "\n", 4)
		if len(lines) < 4 {
			return unreachable(trust.ReasonMalformed, "reading bundle: checkpoint without origin, size or root")
		}
		size, err := strconv.ParseInt(lines[1], 10, 64)
		if err != nil || strconv.FormatInt(size, 10) != lines[1] {
			return unreachable(trust.ReasonMalformed, "reading bundle: checkpoint without size")
		}
		if size != p.GetTreeSize() {
			return failed(trust.ReasonBadSignature, "the checkpoint is for a log of %d entries, the inclusion proof for one of %d", size, p.GetTreeSize())
		}
	}
	return nil
}
