package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/headgate/headgate/ecosystems/npm"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// manifestAge is how old a cached record may be that is compared with a package:
// the same that the run's own evidence rests on.
const manifestAge = 5 * time.Minute

// manifest returns the registry's record of an npm release, which npm resolves
// dependencies by; what is installed is decided by the tarball's own.
func (a *adapterSet) manifest(ctx context.Context, c sbom.Component) ([]byte, error) {
	p := c.Release.Package
	if p.Type != "npm" {
		return nil, nil
	}
	base := a.settings.NPM.Registry
	if own, ok := a.settings.NPM.Scopes[p.Namespace]; ok && p.Namespace != "" {
		base = own
	}
	name := url.PathEscape(p.Name)
	if p.Namespace != "" {
		name = url.PathEscape(p.Namespace) + "%2f" + name
	}
	res, err := a.client.Get(ctx, upstream.Request{URL: base + name, Accept: "application/json", MaxBytes: npm.MaxPackument, MaxAge: manifestAge})
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonNetwork, "record of %s: HTTP %d", p.FullName(), res.Status)
	}
	var doc struct {
		Versions map[string]json.RawMessage `json:"versions"`
	}
	if err := json.Unmarshal(res.Body, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "record of %s: %w", p.FullName(), err)
	}
	m, ok := doc.Versions[c.Release.Version]
	if !ok {
		return nil, trust.Undecidable(trust.ReasonNotFound, "%w", fmt.Errorf("the registry's record of %s does not know version %s", p.FullName(), c.Release.Version))
	}
	return m, nil
}
