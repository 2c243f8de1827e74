package github

import (
	"context"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// PinnedRoot makes Options.GitHub of the trusted roots that somebody pinned for
// GitHub packages under the name sigstore.InstanceGitHubPrivate. There must be
// exactly one; a root of another name is never tried. Its age is not judged:
// whoever pinned it also unpins it.
func PinnedRoot(m adapter.Materials, clock adapter.Clock) Verifiers {
	return func(ctx context.Context) (*sigstore.Verifier, error) {
		ms, err := m.Materials(ctx, trust.MaterialTrustedRoot, trust.Package{Type: "github"})
		if err != nil {
			return nil, err
		}
		var root []byte
		for _, p := range ms {
			if p.Name != sigstore.InstanceGitHubPrivate {
				continue
			}
			if root != nil {
				return nil, trust.Undecidable(trust.ReasonExpiredRoot, "two trusted roots are pinned as %q; keep one", sigstore.InstanceGitHubPrivate)
			}
			root = p.Data
		}
		if root == nil {
			return nil, trust.Undecidable(trust.ReasonExpiredRoot, "GitHub's own trusted root is not pinned: import the one that gh attestation trusted-root prints, named %q", sigstore.InstanceGitHubPrivate)
		}
		now := clock()
		r, err := sigstore.LoadTrustedRoot(root, sigstore.RootOptions{Obtained: now, Now: now})
		if err != nil {
			return nil, err
		}
		return sigstore.NewGitHubPrivateVerifier(r)
	}
}
