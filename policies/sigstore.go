package policies

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// MaxWitnesses bounds how many logs or timestamp authorities an instance may demand.
const MaxWitnesses = 16

// SigstoreInstance is a private Sigstore instance with rules of its own. It is
// asked for the packages of its scope, and then alone; for all others the
// public-good instance is. Neither ever stands in for the other.
type SigstoreInstance struct {
	// Name is what "headgate sign --instance" and "verify --instance" take.
	Name string `yaml:"name"`
	// TrustedRoot is the instance's trusted_root.json. TUF is where it comes from
	// instead; exactly one of both is given.
	TrustedRoot *PinnedFile `yaml:"trustedRoot,omitempty"`
	TUF         *TUFSource  `yaml:"tuf,omitempty"`
	// SigningConfig is what "sign" reads beside a TrustedRoot; TUF brings its own.
	SigningConfig *PinnedFile `yaml:"signingConfig,omitempty"`
	// Issuers are the OIDC issuers, exact, whose identities the instance may certify.
	Issuers Strings `yaml:"issuers"`
	// Scope are purl patterns of the packages that the instance vouches for.
	Scope            Strings `yaml:"scope,omitempty"`
	UnsafeAnyPackage bool    `yaml:"unsafeAnyPackage,omitempty"`
	// Logs, Timestamps and CertificateLogs are how many different ones must vouch.
	Logs            int `yaml:"logs,omitempty"`
	Timestamps      int `yaml:"timestamps,omitempty"`
	CertificateLogs int `yaml:"certificateLogs,omitempty"`
}

// PinnedFile is a file, beside headgate.yaml or anywhere, that counts only with
// the bytes of its digest.
type PinnedFile struct {
	Path string `yaml:"path"`
	// Digest is SHA-256.
	Digest string `yaml:"digest"`
}

// TUFSource is a TUF repository and the root.json to start from.
type TUFSource struct {
	URL string `yaml:"url"`
	// Root is the root.json that was handed over by a way that is trusted.
	Root PinnedFile `yaml:"root"`
	// UnsafeInsecure allows plain http.
	UnsafeInsecure bool `yaml:"unsafeInsecure,omitempty"`
}

var instanceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// takenNames are those of the instances that are built in.
var takenNames = []string{"public", "sigstore", "github-private", "keys"}

func (i *SigstoreInstance) validate() error {
	switch {
	case !instanceName.MatchString(i.Name):
		return fmt.Errorf("name %q: use lower-case letters, digits and hyphens", clip(i.Name))
	case slices.Contains(takenNames, i.Name):
		return fmt.Errorf("name %q is that of an instance that is built in", i.Name)
	case (i.TrustedRoot == nil) == (i.TUF == nil):
		return errors.New("give either trustedRoot, or tuf")
	case i.TUF != nil && i.SigningConfig != nil:
		return errors.New("the signing configuration comes from the TUF repository: leave signingConfig away")
	case len(i.Issuers) == 0:
		return errors.New("issuers is missing: without it the instance could certify everybody's identity")
	case i.Logs == 0 && i.Timestamps == 0:
		return errors.New("logs and timestamps are both 0: nothing would say when a signature was made")
	}
	for _, n := range []int{i.Logs, i.Timestamps, i.CertificateLogs} {
		if n < 0 || n > MaxWitnesses {
			return fmt.Errorf("logs, timestamps and certificateLogs are between 0 and %d", MaxWitnesses)
		}
	}
	for _, s := range i.Issuers {
		if s == "" || strings.ContainsAny(s, "*^$|()[]\\ ") {
			return fmt.Errorf("issuer %q must be exact, not a pattern", clip(s))
		}
	}
	for _, f := range []*PinnedFile{i.TrustedRoot, i.SigningConfig} {
		if f == nil {
			continue
		}
		if err := f.validate(); err != nil {
			return err
		}
	}
	if t := i.TUF; t != nil {
		u, err := url.Parse(t.URL)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("tuf.url %q must be a plain base URL", clip(t.URL))
		case u.Scheme == "http" && !t.UnsafeInsecure:
			return fmt.Errorf("tuf.url %q is plain http: use https, or say unsafeInsecure: true", clip(t.URL))
		case u.Scheme != "https" && u.Scheme != "http":
			return fmt.Errorf("tuf.url %q is not https", clip(t.URL))
		}
		if err := t.Root.validate(); err != nil {
			return fmt.Errorf("tuf.root: %w", err)
		}
	}
	if len(i.Scope) == 0 && !i.UnsafeAnyPackage {
		return nil // for sign and verify by name alone
	}
	return checkScopes(i.Scope, i.UnsafeAnyPackage)
}

func (f *PinnedFile) validate() error {
	if f.Path == "" {
		return errors.New("path is missing")
	}
	d, err := f.Pin()
	if err != nil {
		return fmt.Errorf("%s: %w", clip(f.Path), err)
	}
	if d.Algorithm != trust.SHA256 {
		return fmt.Errorf("%s: digest must be sha256:…", clip(f.Path))
	}
	return nil
}

// Pin is the digest that the file must have.
func (f *PinnedFile) Pin() (trust.Digest, error) {
	if f.Digest == "" {
		return trust.Digest{}, errors.New("digest is missing: say sha256:… of the file, so that nobody replaces it")
	}
	return trust.ParseDigest(f.Digest)
}

// validateInstances checks all instances together.
func validateInstances(is []SigstoreInstance) error {
	scopes := map[string]string{}
	for n := range is {
		i := &is[n]
		if err := i.validate(); err != nil {
			return fmt.Errorf("the Sigstore instance %q: %w", clip(i.Name), err)
		}
		for _, o := range is[:n] {
			if o.Name == i.Name {
				return fmt.Errorf("the Sigstore instance %q is there twice", i.Name)
			}
		}
		for _, s := range i.Scope {
			if other, ok := scopes[s]; ok {
				return fmt.Errorf("the Sigstore instances %q and %q have the scope %q both: one instance vouches for a package", other, i.Name, clip(s))
			}
			scopes[s] = i.Name
		}
	}
	return nil
}

// InstanceFor returns the one private instance that vouches for a package; nil
// for the public-good one.
func (c *Config) InstanceFor(p trust.Package) (*SigstoreInstance, error) {
	var found *SigstoreInstance
	for n := range c.Sigstore {
		i := &c.Sigstore[n]
		if !slices.ContainsFunc(i.Scope, func(s string) bool { return MatchScope(s, p) }) {
			continue
		}
		if found != nil {
			return nil, trust.Misconfigured("%s is in the scope of the Sigstore instances %s and %s: one instance vouches for a package", p, found.Name, i.Name)
		}
		found = i
	}
	return found, nil
}

// Instance returns the instance of a name.
func (c *Config) Instance(name string) (*SigstoreInstance, error) {
	var names []string
	for n := range c.Sigstore {
		if c.Sigstore[n].Name == name {
			return &c.Sigstore[n], nil
		}
		names = append(names, c.Sigstore[n].Name)
	}
	if len(names) == 0 {
		return nil, trust.Misconfigured("no Sigstore instance %q: headgate.yaml names none (sigstore:)", clip(name))
	}
	return nil, trust.Misconfigured("no Sigstore instance %q: headgate.yaml names %s", clip(name), strings.Join(names, ", "))
}
