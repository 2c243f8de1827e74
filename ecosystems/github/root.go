package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Bounds of a file with trusted roots.
const (
	MaxRootFile = 4 << 20 // bytes
	MaxRoots    = 16      // documents in it
)

// RootEnv names the file with GitHub's own trusted root, as
// "gh attestation trusted-root" prints it.
const RootEnv = "HEADGATE_GITHUB_TRUSTED_ROOT"

// own returns the trusted root of GitHub's own instance among one or several
// documents ("gh attestation trusted-root" prints the public one too): the one
// that names no transparency log.
func own(b []byte) ([]byte, error) {
	if len(b) > MaxRootFile {
		return nil, fmt.Errorf("trusted roots of %d bytes are larger than %d", len(b), MaxRootFile)
	}
	var root []byte
	dec := json.NewDecoder(bytes.NewReader(b))
	for n := 0; ; n++ {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading trusted roots: %w", err)
		}
		if n >= MaxRoots {
			return nil, fmt.Errorf("more than %d trusted roots", MaxRoots)
		}
		var doc struct {
			Logs []json.RawMessage `json:"tlogs"`
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("reading trusted roots: %w", err)
		}
		if len(doc.Logs) > 0 {
			continue
		}
		if root != nil {
			return nil, errors.New("two trusted roots without a transparency log; keep GitHub's")
		}
		root = raw
	}
	if root == nil {
		return nil, errors.New("no trusted root without a transparency log: GitHub's own instance has none")
	}
	return root, nil
}

func verifierOf(b []byte, opt sigstore.RootOptions) (*sigstore.Verifier, error) {
	root, err := own(b)
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonExpiredRoot, "GitHub's own trusted root: %w", err)
	}
	r, err := sigstore.LoadTrustedRoot(root, opt)
	if err != nil {
		return nil, err
	}
	return sigstore.NewGitHubPrivateVerifier(r)
}

// RootFile makes Options.GitHub of a file that the user named. A file that is
// missing or holds no such root is an error, and nothing takes its place. Its
// age is that of its last modification.
func RootFile(path string, clock adapter.Clock) (adapter.Verifiers, error) {
	b, err := upstream.ReadUserFile(path, MaxRootFile, "$"+RootEnv)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading $%s: %w", RootEnv, err)
	}
	opt := sigstore.RootOptions{Obtained: fi.ModTime(), Now: clock()}
	if _, err := verifierOf(b, opt); err != nil {
		return nil, fmt.Errorf("$%s: %w", RootEnv, err)
	}
	return func(context.Context, trust.Package) (*sigstore.Verifier, error) {
		opt.Now = clock()
		return verifierOf(b, opt)
	}, nil
}

// PinnedRoot makes Options.GitHub of the trusted roots that somebody pinned for
// GitHub packages under the name sigstore.InstanceGitHubPrivate. There must be
// exactly one; a root of another name is never tried. Its age is not judged:
// whoever pinned it also unpins it.
func PinnedRoot(m adapter.Materials, clock adapter.Clock) adapter.Verifiers {
	return func(ctx context.Context, _ trust.Package) (*sigstore.Verifier, error) {
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
			return nil, trust.Undecidable(trust.ReasonExpiredRoot, "GitHub's own trusted root is not at hand: name a file with what gh attestation trusted-root prints in $%s", RootEnv)
		}
		now := clock()
		return verifierOf(root, sigstore.RootOptions{Obtained: now, Now: now})
	}
}
