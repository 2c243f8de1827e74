package policies

import (
	"errors"
	"fmt"

	"github.com/headgate/headgate/trust"
)

// SBOMConfig says who signs the SBOMs that are audited.
type SBOMConfig struct {
	// Unsigned is what an audit says of an SBOM that nobody of Signers signed: accept
	// (default), warn or hold. A signature that fails blocks always.
	Unsigned string `yaml:"unsigned,omitempty"`
	// Signers are whose signatures count, beside the SBOM's file or as an image's
	// attestation.
	Signers []SBOMSigner `yaml:"signers,omitempty"`
}

// SBOMSigner is one whose signatures over SBOMs count. Exactly one identity is given.
type SBOMSigner struct {
	Name string `yaml:"name"`
	// Key is a public key of any format that verify reads; Sigstore a keyless identity.
	Key      string            `yaml:"key,omitempty"`
	Sigstore *SigstoreIdentity `yaml:"sigstore,omitempty"`
}

// Effect is what an unsigned SBOM is: warn, hold, or nothing at all.
func (c *SBOMConfig) Effect() (trust.Effect, bool) {
	switch c.Unsigned {
	case "warn":
		return trust.EffectWarn, true
	case "hold":
		return trust.EffectHold, true
	}
	return "", false
}

func (c *SBOMConfig) validate() error {
	switch c.Unsigned {
	case "", "accept", "warn", "hold":
	default:
		return fmt.Errorf("sboms.unsigned is %q, want accept, warn or hold", clip(c.Unsigned))
	}
	if c.Unsigned == "hold" && len(c.Signers) == 0 {
		return errors.New("sboms.unsigned is hold, and sboms.signers names nobody: every SBOM would be held")
	}
	if len(c.Signers) > MaxList {
		return fmt.Errorf("sboms.signers has %d entries, more than %d", len(c.Signers), MaxList)
	}
	for _, s := range c.Signers {
		switch {
		case s.Name == "":
			return errors.New("sboms.signers: name is missing")
		case (s.Key == "") == (s.Sigstore == nil):
			return fmt.Errorf("sboms.signers: %q needs exactly one of key and sigstore", clip(s.Name))
		case s.Sigstore != nil:
			if err := s.Sigstore.validate(); err != nil {
				return fmt.Errorf("sboms.signers: %q: %w", clip(s.Name), err)
			}
		}
	}
	return nil
}
