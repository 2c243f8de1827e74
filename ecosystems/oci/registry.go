package oci

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/net/publicsuffix"

	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/strictjson"
)

// Bounds of the token exchange.
const (
	MaxToken     = 64 << 10 // bytes of a token service's answer
	maxChallenge = 8 << 10  // bytes of a WWW-Authenticate header
)

// clientID is how headgate calls itself to token services.
const clientID = "headgate"

// ask sends one request of the distribution API. A registry that challenges gets
// one answer to it; the token is kept for further requests to the repository.
func (a *Adapter) ask(ctx context.Context, repo name.Repository, resource string, r upstream.Request) (*upstream.Response, error) {
	var resp *upstream.Response
	err := a.authorized(ctx, repo, resource, r, func(r upstream.Request) error {
		var err error
		resp, err = a.get.Get(ctx, r)
		return err
	})
	return resp, err
}

// authorized makes the request, and makes it again with a token if the registry
// asks for one.
func (a *Adapter) authorized(ctx context.Context, repo name.Repository, resource string, r upstream.Request, send func(upstream.Request) error) error {
	base := repo.Scheme() + "://" + repo.RegistryStr()
	r.URL = base + "/v2/" + repo.RepositoryStr() + "/" + resource
	a.mu.Lock()
	r.Authorization = a.tokens[repo.Name()]
	a.mu.Unlock()
	err := send(r)
	var e *upstream.Error
	if !errors.As(err, &e) || e.Status != http.StatusUnauthorized || e.Challenge == "" {
		return err
	}
	token, aerr := a.answer(ctx, repo, base, e.Challenge)
	if aerr != nil {
		return aerr
	}
	if token == "" || token == r.Authorization {
		return err
	}
	a.mu.Lock()
	a.tokens[repo.Name()] = token
	a.mu.Unlock()
	r.Authorization = token
	return send(r)
}

// answer finds the Authorization header that a challenge asks for; "" if there
// is none to give.
func (a *Adapter) answer(ctx context.Context, repo name.Repository, base, header string) (string, error) {
	own := a.cfg.credentials[repo.RegistryStr()]
	scheme, params, err := parseChallenge(header)
	if err != nil {
		return "", err
	}
	if scheme == "basic" || strings.HasPrefix(own, "Bearer ") {
		return own, nil
	}
	if scheme != "bearer" {
		return "", trust.Undecidable(trust.ReasonUnsupported, "%s asks for %.40q authentication, which headgate does not know", repo.RegistryStr(), scheme)
	}
	realm, err := url.Parse(params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil || realm.Scheme != "https" && !(realm.Scheme == "http" && strings.HasPrefix(base, "http://")) {
		return "", trust.Undecidable(trust.ReasonMalformed, "%s names no usable token service", repo.RegistryStr())
	}
	// The scope is what headgate needs, whatever the challenge asks for.
	scope := "repository:" + repo.RepositoryStr() + ":pull"
	req := upstream.Request{Accept: "application/json", MaxBytes: MaxToken, NoStore: true}
	identity := a.cfg.identity[repo.RegistryStr()]
	if identity != "" && sameOwner(realm, base) {
		// An identity token is a refresh token of OAuth 2
		// (https://distribution.github.io/distribution/spec/auth/oauth/).
		req.URL = realm.String()
		req.Form = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {identity}, "client_id": {clientID}, "service": {params["service"]}, "scope": {scope}}
	} else {
		q := realm.Query()
		if s := params["service"]; s != "" {
			q.Set("service", s)
		}
		q.Set("scope", scope)
		realm.RawQuery = q.Encode()
		req.URL = realm.String()
		if own != "" && sameOwner(realm, base) {
			req.Authorization = own
		}
	}
	resp, err := a.get.Get(ctx, req)
	var refused *upstream.Error
	if errors.As(err, &refused) && refused.Kind == upstream.KindRefused {
		// What is wrong with a token service says nothing about the image.
		return "", trust.Undecidable(trust.ReasonNetwork, "the token service of %s: %v", repo.RegistryStr(), err)
	}
	if err != nil {
		return "", err
	}
	if resp.Status != http.StatusOK {
		if req.Form != nil {
			return "", trust.Undecidable(trust.ReasonNetwork, "the token service of %s does not take the identity token of the docker configuration (HTTP %d); log in again", repo.RegistryStr(), resp.Status)
		}
		return "", trust.Undecidable(trust.ReasonNetwork, "the token service of %s answered HTTP %d", repo.RegistryStr(), resp.Status)
	}
	var doc struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(resp.Body, &doc); err != nil {
		return "", trust.Undecidable(trust.ReasonMalformed, "the token service of %s gave no readable answer", repo.RegistryStr())
	}
	if doc.Token == "" {
		doc.Token = doc.AccessToken
	}
	if doc.Token == "" || strings.ContainsFunc(doc.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", trust.Undecidable(trust.ReasonMalformed, "the token service of %s gave no usable token", repo.RegistryStr())
	}
	return upstream.Bearer(doc.Token), nil
}

// sameOwner reports whether the token service is on the registry's host or under
// the same registrable domain: nobody else gets the registry's credentials.
func sameOwner(realm *url.URL, base string) bool {
	reg, err := url.Parse(base)
	if err != nil || reg.Scheme != realm.Scheme {
		return false
	}
	a, b := strings.ToLower(realm.Host), strings.ToLower(reg.Host)
	if a == b {
		return true
	}
	if realm.Port() != "" || reg.Port() != "" || net.ParseIP(realm.Hostname()) != nil || net.ParseIP(reg.Hostname()) != nil {
		return false
	}
	da, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	db, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && da == db
}

// parseChallenge reads one challenge of a WWW-Authenticate header (RFC 9110):
// a scheme and parameters, each once.
func parseChallenge(h string) (scheme string, params map[string]string, err error) {
	bad := func() (string, map[string]string, error) {
		return "", nil, trust.Undecidable(trust.ReasonMalformed, "the registry's challenge %.80q cannot be read", h)
	}
	if len(h) > maxChallenge {
		return bad()
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(h), " ")
	params = map[string]string{}
	for rest = strings.TrimLeft(rest, " ,"); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		k, v, ok := strings.Cut(rest, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" || strings.ContainsAny(k, " \",") {
			return bad()
		}
		val := ""
		if q, ok := strings.CutPrefix(v, `"`); ok {
			var b strings.Builder
			i := 0
			for ; i < len(q) && q[i] != '"'; i++ {
				if q[i] == '\\' && i+1 < len(q) {
					i++
				}
				b.WriteByte(q[i])
			}
			if i >= len(q) {
				return bad()
			}
			val, rest = b.String(), q[i+1:]
		} else {
			end := strings.IndexAny(v, ", ")
			if end < 0 {
				end = len(v)
			}
			val, rest = v[:end], v[end:]
		}
		if _, twice := params[k]; twice {
			return bad()
		}
		params[k] = val
	}
	return strings.ToLower(scheme), params, nil
}

// document fetches a manifest or index by digest or by tag; nil if the registry
// has none. Its digest is verified by the client where it is asked for by digest.
func (a *Adapter) document(ctx context.Context, repo name.Repository, ref string, want trust.Digest) (*document, *upstream.Response, error) {
	r := upstream.Request{Accept: accept, MaxBytes: MaxManifest, Want: want}
	resp, err := a.ask(ctx, repo, "manifests/"+ref, r)
	var e *upstream.Error
	if errors.As(err, &e) && e.Kind == upstream.KindWrongDigest {
		// Another document is tampered with, something that is no document is not: a
		// proxy's error page has another digest too.
		r.Want = trust.Digest{}
		if other, oerr := a.ask(ctx, repo, "manifests/"+ref, r); oerr == nil && other.Status == http.StatusOK && strictjson.Check(other.Body) != nil {
			err = trust.Undecidable(trust.ReasonMalformed, "%s: the registry's answer is no manifest", other.URL)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		d, err := parseDocument(resp.Body, resp.Header.Get("Content-Type"))
		return d, resp, err
	case http.StatusNotFound, http.StatusGone:
		return nil, resp, nil
	}
	return nil, nil, trust.Undecidable(trust.ReasonNetwork, "the registry answered HTTP %d for %s", resp.Status, ref)
}

// blob fetches a blob whole, by its digest, and from wherever the registry keeps it.
func (a *Adapter) blob(ctx context.Context, repo name.Repository, digest string, size, max int64) ([]byte, error) {
	d, err := trust.ParseDigest(digest)
	if err != nil || !d.Strong() {
		return nil, trust.Undecidable(trust.ReasonMalformed, "%.100q names no blob", digest)
	}
	if size > max || size < 0 {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the blob %s has %d bytes, headgate reads at most %d", digest, size, max)
	}
	resp, err := a.ask(ctx, repo, "blobs/"+d.String(), upstream.Request{MaxBytes: max, Want: d, AnyHost: true})
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, trust.Undecidable(trust.ReasonStripped, "the registry lists the blob %s and answers HTTP %d for it", digest, resp.Status)
	}
	return resp.Body, nil
}
