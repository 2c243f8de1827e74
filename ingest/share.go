package ingest

import (
	"slices"
	"sync"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
)

// shared lets equal parts of the evidence of one run be one in memory: twenty
// thousand packages are signed by the same registry key, and each piece of evidence
// repeats what the component states. It changes no value. It is safe for
// concurrent use.
type shared struct {
	mu      sync.Mutex
	texts   map[string]string
	signers map[trust.Signer]*trust.Signer
}

// maxShared bounds what is remembered: what differs from package to package is not
// worth it.
const maxShared = 4096

func newShared() *shared {
	return &shared{texts: map[string]string{}, signers: map[trust.Signer]*trust.Signer{}}
}

// text replaces a string by an equal one that is there already.
func (s *shared) text(p *string) {
	if *p == "" {
		return
	}
	if old, ok := s.texts[*p]; ok {
		*p = old
	} else if len(s.texts) < maxShared {
		s.texts[*p] = *p
	}
}

// evidence goes through the evidence about a component.
func (s *shared) evidence(c *sbom.Component, es []trust.Evidence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range es {
		e := &es[i]
		if e.Release == c.Release {
			e.Release = c.Release
		}
		for _, a := range c.Artifacts {
			if e.Artifact.Name == a.Name && e.Artifact.URL == a.URL && slices.Equal(e.Artifact.Digests, a.Digests) {
				e.Artifact = a
			}
		}
		if e.Signer != nil {
			if old := s.signers[*e.Signer]; old != nil {
				e.Signer = old
			} else if len(s.signers) < maxShared {
				s.signers[*e.Signer] = e.Signer
			}
		}
		for j := range i {
			before := &es[j]
			if e.Source == before.Source {
				e.Source = before.Source
			}
			if e.Detail == before.Detail {
				e.Detail = before.Detail
			}
		}
		check, outcome, reason := string(e.Check), string(e.Outcome), string(e.Reason)
		for _, p := range []*string{&check, &outcome, &reason, &e.Remedy, &e.Root.Value, &e.PredicateType, &e.Builder, &e.BuildType} {
			s.text(p)
		}
		e.Check, e.Outcome, e.Reason = trust.Check(check), trust.Outcome(outcome), trust.Reason(reason)
		for j := range e.Raw {
			s.text(&e.Raw[j].Name)
			s.text(&e.Raw[j].MediaType)
		}
	}
}

// known goes through what the store knows of a component's package.
func (s *shared) known(c *sbom.Component, ks []store.KnownRelease) {
	for i := range ks {
		k := &ks[i]
		if k.Release != c.Release {
			continue
		}
		k.Release = c.Release
		if sameArtifacts(k.Artifacts, c.Artifacts) {
			k.Artifacts = c.Artifacts
		}
	}
}
