package signing

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"

	"github.com/headgate/headgate/trust/sigstore"
)

// serviceTimeout bounds one request to a Sigstore service.
const serviceTimeout = 30 * time.Second

// serviceRetries is how often a service that is overloaded is asked again.
const serviceRetries = 2

// Keyless gets certificates for ephemeral keys.
type Keyless struct {
	FulcioURL string
	Token     string // OIDC identity token
	Transport http.RoundTripper
}

func (k *Keyless) key() (*Key, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return fromSigner(priv)
}

func (k *Keyless) fulcio() sign.CertificateProvider {
	return sign.NewFulcio(&sign.FulcioOptions{BaseURL: k.FulcioURL, Timeout: serviceTimeout, Retries: serviceRetries, Transport: k.Transport})
}

// Services are the Sigstore services that a signing configuration selects.
type Services struct {
	Fulcio, OIDC string
	Logs         []sign.Transparency
	Timestamps   []*sign.TimestampAuthority
}

// SelectServices reads a signing configuration
// (application/vnd.dev.sigstore.signingconfig.v0.2+json) and selects services of
// known API versions that are valid now, as many as it asks for.
func SelectServices(config []byte, now time.Time, transport http.RoundTripper) (*Services, error) {
	if len(config) > sigstore.MaxTrustedRoot {
		return nil, usage("the signing configuration has %d bytes, more than %d", len(config), sigstore.MaxTrustedRoot)
	}
	if _, err := sigstore.CheckJSON(config); err != nil {
		return nil, usage("reading the signing configuration: %w", err)
	}
	c, err := root.NewSigningConfigFromJSON(config)
	if err != nil {
		return nil, usage("reading the signing configuration: %w", err)
	}
	out := &Services{}
	if f, err := root.SelectService(c.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now); err == nil {
		out.Fulcio = f.URL
	}
	if o, err := root.SelectService(c.OIDCProviderURLs(), []uint32{1}, now); err == nil {
		out.OIDC = o.URL
	}
	if len(c.RekorLogURLs()) > 0 {
		logs, err := root.SelectServices(c.RekorLogURLs(), c.RekorLogURLsConfig(), sign.RekorAPIVersions, now)
		if err != nil {
			return nil, usage("selecting a transparency log: %w", err)
		}
		for _, l := range logs {
			out.Logs = append(out.Logs, sign.NewRekor(&sign.RekorOptions{BaseURL: l.URL, Timeout: serviceTimeout, Retries: serviceRetries, Version: l.MajorAPIVersion}))
		}
	}
	if len(c.TimestampAuthorityURLs()) > 0 {
		tsas, err := root.SelectServices(c.TimestampAuthorityURLs(), c.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return nil, usage("selecting a timestamp authority: %w", err)
		}
		for _, t := range tsas {
			out.Timestamps = append(out.Timestamps, Timestamp(t.URL, transport))
		}
	}
	return out, nil
}

// Timestamp is an RFC 3161 timestamp authority.
func Timestamp(url string, transport http.RoundTripper) *sign.TimestampAuthority {
	return sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: url, Timeout: serviceTimeout, Retries: serviceRetries, Transport: transport})
}

// SigningConfig writes a signing configuration of a private instance whose
// services are known by their URLs.
func SigningConfig(fulcio, oidc, rekor string, rekorVersion int, tsa string, start time.Time) ([]byte, error) {
	service := func(url string, version int) []any {
		return []any{map[string]any{"url": url, "majorApiVersion": version, "operator": "configured", "validFor": map[string]any{"start": start.UTC().Format(time.RFC3339)}}}
	}
	m := map[string]any{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
	if fulcio != "" {
		m["caUrls"] = service(fulcio, 1)
	}
	if oidc != "" {
		m["oidcUrls"] = service(oidc, 1)
	}
	if rekor != "" {
		m["rekorTlogUrls"] = service(rekor, rekorVersion)
		m["rekorTlogConfig"] = map[string]any{"selector": "ANY"}
	}
	if tsa != "" {
		m["tsaUrls"] = service(tsa, 1)
		m["tsaConfig"] = map[string]any{"selector": "ANY"}
	}
	return json.Marshal(m)
}
