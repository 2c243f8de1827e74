package downloads

import (
	"fmt"

	"github.com/headgate/headgate/ecosystems/generic"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// From reads the downloads of a policy as the adapter takes them. The policy is
// the one that counts: the base's, where there is a base.
func From(cfg policies.Config) ([]generic.Download, error) {
	var out []generic.Download
	for _, d := range cfg.Downloads {
		g := generic.Download{
			URL: d.URL, Name: d.Name, Version: d.Version, Hosts: d.Hosts, Checksums: d.Checksums, Signature: d.Signature,
			Minisign: d.Minisign, Signify: d.Signify, SSH: d.SSH, OpenPGP: d.OpenPGP,
		}
		if d.Digest != "" {
			var err error
			if g.Digest, err = trust.ParseDigest(d.Digest); err != nil {
				return nil, fmt.Errorf("download %.200q: %w: digest: %w", d.URL, trust.ErrConfiguration, err)
			}
		}
		if s := d.Sigstore; s != nil {
			g.Sigstore = &generic.Identity{Issuer: s.Issuer, Identity: s.Identity, Pattern: s.IdentityPattern}
		}
		if p := d.Authenticode; p != nil {
			g.Authenticode = &generic.Publisher{Subject: p.Subject, Root: p.Root, TimestampRoot: p.TimestampRoot, Fingerprint: p.Fingerprint}
		}
		out = append(out, g)
	}
	if _, err := generic.Components(out, ""); err != nil {
		return nil, err
	}
	return out, nil
}

// Add brings the downloads into an inventory as components, declared in the file
// at. A URL that the inventory has already, from another source, stays as it is
// there: it is judged as that source names it.
func Add(inv *sbom.Inventory, ds []generic.Download, at string) error {
	cs, err := generic.Components(ds, at)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, c := range inv.Components {
		if c.Release.Package.Type == "generic" && c.Origin != "" {
			there[c.Origin] = true
		}
	}
	for _, c := range cs {
		if !there[c.Origin] {
			inv.Components = append(inv.Components, c)
		}
	}
	inv.Sort()
	return nil
}
