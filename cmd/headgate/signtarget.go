package main

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/trust"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

func readPassword(f *os.File) ([]byte, error) { return term.ReadPassword(int(f.Fd())) }

// verifyOther verifies folders and images.
func (c *Command) verifyOther(ctx context.Context, t signTarget, _ *options, v *verifyFlags, x verification.Expectation) ([]*verification.Result, trust.Digest, error) {
	if v.checksums != "" {
		return nil, trust.Digest{}, usage("--checksums is for files")
	}
	if t.kind != targetFolder {
		return nil, trust.Digest{}, usage("images are not verified here")
	}
	abs, err := filepath.Abs(t.path)
	if err != nil {
		return nil, trust.Digest{}, err
	}
	docs, err := documents(abs, v)
	if err != nil {
		return nil, trust.Digest{}, err
	}
	skip := []string{v.signature}
	for _, d := range docs {
		skip = append(skip, d.Name)
	}
	rs, err := verification.VerifyFolder(ctx, t.path, docs, skip, x)
	return rs, trust.Digest{}, err
}

// signImage signs an image and attaches the bundle.
func (c *Command) signImage(context.Context, signTarget, string, any, *signing.Signer, *signFlags, signedJSON) error {
	return usage("images are not signed here")
}
