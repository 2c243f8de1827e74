package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/ingest/verification"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/document"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Rules of findings about the signatures of SBOMs.
const (
	ruleSBOMSignature = "sbom-signature"
	ruleSBOMUnsigned  = "sbom-unsigned"
)

// maxSBOMAttestations bounds the SBOMs that one image's attestations hold together.
const maxSBOMAttestations = 20

// sbomSigners judges the signatures of the SBOMs of an audit, by the signers that
// the policy names. Signers whom the store revoked do not count.
type sbomSigners struct {
	c       *Command
	o       *options
	config  policies.SBOMConfig
	expect  []verification.Expectation
	revoked verification.Accepted // nil if the store accepts and revokes nobody
}

func (c *Command) sbomSigners(ctx context.Context, o *options, set *setting, s *store.Store) (*sbomSigners, error) {
	j := &sbomSigners{c: c, o: o, config: set.policy.Config().SBOMs}
	root := c.verifyRoot(ctx, o)
	for _, sg := range j.config.Signers {
		x := verification.Expectation{Now: c.now(), Root: root}
		if sg.Sigstore != nil {
			x.Issuer, x.Identity, x.IdentityRegexp = sg.Sigstore.Issuer, sg.Sigstore.Identity, sg.Sigstore.IdentityPattern
		} else {
			k, err := verification.ParseKeys([]byte(sg.Key))
			if err != nil {
				return nil, usage("%s: sboms.signers: %q: %w", set.origin, sg.Name, err)
			}
			x.Keys.Add(k)
		}
		if err := x.Validate(); err != nil {
			return nil, usage("%s: sboms.signers: %q: %w", set.origin, sg.Name, err)
		}
		j.expect = append(j.expect, x)
	}
	var err error
	if j.revoked, _, err = verification.AcceptedBy(ctx, s, trust.Package{}, c.now()); errors.Is(err, trust.ErrConfiguration) {
		err = nil // nobody is accepted, and nobody revoked of them
	}
	return j, err
}

// judge returns what is wrong with the signatures of an SBOM, and the verified ones.
func (j *sbomSigners) judge(a *verification.Artifact, docs []verification.Document, types []string) ([]trust.Finding, []*verification.Result) {
	if len(docs) == 0 || len(j.expect) == 0 {
		effect, ok := j.config.Effect()
		if !ok {
			return nil, nil
		}
		f := trust.Finding{Rule: ruleSBOMUnsigned, Effect: effect, Message: "the SBOM has no signature", Remedy: "headgate sign SBOM, by one of sboms.signers of headgate.yaml"}
		if len(docs) > 0 {
			f.Message, f.Remedy = "the SBOM is signed, and the policy names nobody whose signature counts", "name the signer under sboms.signers of headgate.yaml"
		}
		return []trust.Finding{f}, nil
	}
	var first error
	for i := range j.expect {
		x := j.expect[i]
		x.Types = types
		rs, err := verification.Verify(a, docs, x)
		if err == nil {
			err = j.withdrawn(rs)
		}
		if err == nil {
			return nil, rs
		}
		// That one signer did not sign says less than that a signature is wrong.
		if _, reason := trust.Classify(err); first == nil || reason != trust.ReasonUntrustedSigner && reason != trust.ReasonUnknownKey {
			first = err
		}
	}
	f := trust.Finding{Rule: ruleSBOMSignature, Effect: trust.EffectBlock, Message: "the SBOM's own signature does not hold: " + first.Error(),
		Remedy: "do not rely on this SBOM; find out who changed it, and make and sign it anew"}
	if o, _ := trust.Classify(first); o == trust.Unreachable || errors.Is(first, trust.ErrConfiguration) {
		f.Effect, f.Message, f.Remedy = trust.EffectUndecided, "the SBOM's own signature could not be verified: "+first.Error(), "headgate db update, or --trusted-root FILE"
	}
	return []trust.Finding{f}, nil
}

// withdrawn refuses signers whom the store revoked.
func (j *sbomSigners) withdrawn(rs []*verification.Result) error {
	for _, r := range rs {
		if j.revoked == nil {
			break
		}
		if _, err := j.revoked.Accepted(r.Signer); errors.Is(err, verification.ErrRevoked) {
			return err
		}
	}
	return nil
}

// file reads an SBOM once: its signature is judged over the bytes that are used.
func (j *sbomSigners) file(path string) (*sbom.Inventory, []trust.Finding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading SBOM %s: %w", path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, document.MaxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading SBOM %s: %w", path, err)
	}
	var docs []verification.Document
	var findings []trust.Finding
	for _, end := range sidecars {
		sig, err := readSidecar(path + end)
		if err != nil {
			findings = append(findings, trust.Finding{Rule: ruleSBOMSignature, Effect: trust.EffectUndecided, Message: "the signature beside the SBOM could not be read: " + err.Error(), Remedy: "make the signature anew: headgate sign " + path})
		} else if sig != nil {
			docs = append(docs, verification.Document{Name: filepath.Base(path) + end, Data: sig})
		}
	}
	more, _ := j.judge(verification.BytesArtifact(filepath.Base(path), b), docs, nil)
	findings = append(findings, more...)
	inv, err := document.Read(path, b)
	return inv, findings, err
}

// readSidecar reads a signature beside a file; nil if there is none.
func readSidecar(path string) ([]byte, error) {
	if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
		return nil, nil
	}
	return readBounded(path, sigstore.MaxFolderBundle)
}

// image takes the SBOM that is attested for an image. Without one that verifies, the
// image itself is looked into, and a finding says so.
func (j *sbomSigners) image(ctx context.Context, source string) (*sbom.Inventory, []trust.Finding, error) {
	t, err := parseTarget(source)
	if err != nil {
		return nil, nil, err
	}
	im, err := j.c.openImage(ctx, t, j.o)
	if err != nil {
		return nil, nil, err
	}
	docs, types, err := attestedSBOMs(ctx, im)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the attestations of %s: %w", source, err)
	}
	findings, rs := j.judge(verification.DigestArtifact(im.Name, trust.Digests{im.Digest}), docs, types)
	if len(rs) == 0 {
		inv, err := openSource(ctx, source, nil)
		return inv, findings, err
	}
	out := &sbom.Inventory{}
	for i, r := range rs {
		if i == maxSBOMAttestations {
			return nil, findings, fmt.Errorf("the image has more than %d attested SBOMs", maxSBOMAttestations)
		}
		inv, err := document.Read(fmt.Sprintf("%s, attestation %d", source, i+1), r.Statement.Predicate)
		if err != nil {
			return nil, findings, err
		}
		out.Components, out.Problems, out.Files = append(out.Components, inv.Components...), append(out.Problems, inv.Problems...), append(out.Files, inv.Files...)
	}
	out.Source = sbom.Source{Scheme: "attestation", Name: source, Format: rs[0].Statement.PredicateType, Revision: im.Digest.String()}
	return out, findings, nil
}

// attestedSBOMs are the attestations beside an image that say to hold an SBOM.
func attestedSBOMs(ctx context.Context, im *signing.Image) (docs []verification.Document, types []string, err error) {
	attached, err := im.Signatures(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range attached {
		d := verification.Document{Name: a.Name, Data: a.Data, MediaType: a.MediaType, Annotations: a.Annotations}
		kind, err := verification.ClaimedType(d)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", a.Name, err)
		}
		// The type is not verified yet; that of the verified statement must be one of these.
		if strings.HasPrefix(kind, verification.PredicateCycloneDX) || strings.HasPrefix(kind, verification.PredicateSPDX) {
			docs, types = append(docs, d), append(types, kind)
		}
	}
	return docs, types, nil
}
