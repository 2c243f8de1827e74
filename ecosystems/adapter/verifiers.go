package adapter

import (
	"context"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Verifiers hands out the verifier of the one Sigstore instance that vouches for
// a package: the public-good one, or the private one that the configuration
// names for it. An error means that there is none at hand, and says why; no other
// instance stands in for it.
type Verifiers func(ctx context.Context, p trust.Package) (*sigstore.Verifier, error)
