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
func (c *Command) verifyOther(ctx context.Context, t signTarget, o *options, v *verifyFlags, x verification.Expectation) ([]*verification.Result, trust.Digest, error) {
	if v.checksums != "" {
		return nil, trust.Digest{}, usage("--checksums is for files")
	}
	if t.kind != targetFolder {
		return c.verifyImage(ctx, t, o, v, x)
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

// openImage resolves an image target to its digest.
func (c *Command) openImage(ctx context.Context, t signTarget, o *options) (*signing.Image, error) {
	if t.kind != targetImage {
		return signing.OpenLayout(t.path, t.kind == targetOCIArchive)
	}
	if o.offline {
		return nil, usage("an image in a registry cannot be read with --offline: name its digest (sha256:…) and the --bundle")
	}
	hosts, err := c.insecure()
	if err != nil {
		return nil, err
	}
	return signing.OpenRegistryImage(ctx, t.path, signing.RegistryOptions{Insecure: hosts})
}

func (c *Command) verifyImage(ctx context.Context, t signTarget, o *options, v *verifyFlags, x verification.Expectation) ([]*verification.Result, trust.Digest, error) {
	im, err := c.openImage(ctx, t, o)
	if err != nil {
		return nil, trust.Digest{}, err
	}
	docs, err := documents("", v)
	if err != nil {
		return nil, trust.Digest{}, err
	}
	if len(docs) == 0 {
		attached, err := im.Signatures(ctx)
		if err != nil {
			return nil, trust.Digest{}, err
		}
		for _, a := range attached {
			docs = append(docs, verification.Document{Name: a.Name, Data: a.Data, MediaType: a.MediaType, Annotations: a.Annotations})
		}
	}
	rs, err := verification.Verify(verification.DigestArtifact(im.Name, trust.Digests{im.Digest}), docs, x)
	return rs, im.Digest, err
}

// signImage signs an image by its digest and puts the bundle beside it.
func (c *Command) signImage(ctx context.Context, t signTarget, kind string, predicate any, sg *signing.Signer, o *options, s *signFlags, done signedJSON) error {
	im, err := c.openImage(ctx, t, o)
	if err != nil {
		return err
	}
	b, err := sg.Attest(ctx, kind, predicate, im.Subject())
	if err != nil {
		return err
	}
	done.Digest, done.Index = im.Digest.String(), im.Index
	if s.bundle != "" {
		if err := c.writeSignature(s.bundle, b); err != nil {
			return err
		}
		done.Bundle = s.bundle
		return c.signed(done, s)
	}
	if done.Bundle, err = im.Attach(ctx, b, kind, c.now()); err != nil {
		return err
	}
	return c.signed(done, s)
}
