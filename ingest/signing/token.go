package signing

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// DefaultClientID is the OIDC client id, and the audience of tokens, that
// Sigstore instances expect.
const DefaultClientID = "sigstore"

// MaxToken bounds an identity token in bytes.
const MaxToken = 64 << 10

// maxAnswer bounds an answer of a token service in bytes.
const maxAnswer = 256 << 10

// Environment is where a CI's own identity is looked for.
type Environment struct {
	Getenv   func(string) string
	Audience string
	Client   *http.Client
	// OnGoogle says whether this machine is Google's; nil asks the firmware.
	OnGoogle func() bool
}

// AmbientToken returns the identity token that the CI offers and the CI's name,
// or nothing where there is no CI that headgate knows: GitHub Actions, GitLab CI
// ($SIGSTORE_ID_TOKEN), Buildkite, CircleCI, Google Cloud. A CI that is there
// and does not answer is an error, never a reason to ask somebody else.
func AmbientToken(ctx context.Context, e Environment) (token, from string, err error) {
	if e.Audience == "" {
		return "", "", usage("no audience for the identity token")
	}
	switch {
	case e.Getenv("SIGSTORE_ID_TOKEN") != "":
		token, from = e.Getenv("SIGSTORE_ID_TOKEN"), "$SIGSTORE_ID_TOKEN"
	case e.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "":
		from = "GitHub Actions"
		token, err = e.gitHub(ctx)
	case e.Getenv("GITHUB_ACTIONS") == "true":
		return "", "", usage("this workflow may not ask for an identity token: it needs the permission id-token: write")
	case e.Getenv("BUILDKITE_AGENT_ACCESS_TOKEN") != "" && e.Getenv("BUILDKITE_JOB_ID") != "":
		from = "Buildkite"
		token, err = e.buildkite(ctx)
	case e.Getenv("CIRCLE_OIDC_TOKEN_V2") != "":
		token, from = e.Getenv("CIRCLE_OIDC_TOKEN_V2"), "CircleCI"
	case e.Getenv("CIRCLE_OIDC_TOKEN") != "":
		token, from = e.Getenv("CIRCLE_OIDC_TOKEN"), "CircleCI"
	case e.Getenv("GCE_METADATA_HOST") != "" || e.google():
		from = "Google Cloud"
		token, err = e.metadata(ctx)
	default:
		return "", "", nil
	}
	if err != nil {
		return "", "", trust.Undecidable(trust.ReasonNetwork, "asking %s for an identity token: %w", from, err)
	}
	if err := checkAudience(token, e.Audience); err != nil {
		return "", "", fmt.Errorf("identity token of %s: %w", from, err)
	}
	return token, from, nil
}

// checkAudience refuses a token for somebody else before it is sent anywhere.
// The signature is Fulcio's to check.
func checkAudience(token, audience string) error {
	// The size comes first: taking millions of dots apart fills the memory.
	if len(token) > MaxToken || strings.Count(token, ".") != 2 {
		return usage("it is no JSON web token of at most %d bytes", MaxToken)
	}
	claims := strings.Split(token, ".")[1]
	b, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		return usage("it is no JSON web token: %w", err)
	}
	var c struct {
		Audience json.RawMessage `json:"aud"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return usage("it is no JSON web token: %w", err)
	}
	var one string
	var many []string
	if json.Unmarshal(c.Audience, &one) == nil {
		many = []string{one}
	} else if json.Unmarshal(c.Audience, &many) != nil {
		return usage("it names no audience")
	}
	if !slices.Contains(many, audience) {
		return usage("it is for the audience %q, not for %q", clip(strings.Join(many, ", ")), audience)
	}
	return nil
}

func (e Environment) ask(req *http.Request, field string) (string, error) {
	client := *e.Client
	// A redirect would carry the CI's credentials to another place.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = serviceTimeout
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxAnswer {
		return "", fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	if field == "" {
		return strings.TrimSpace(string(b)), nil
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	s, ok := m[field].(string)
	if !ok || s == "" {
		return "", fmt.Errorf("the answer has no %q", field)
	}
	return s, nil
}

func (e Environment) gitHub(ctx context.Context) (string, error) {
	u, err := serviceURL(e.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("audience", e.Audience)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+e.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	return e.ask(req, "value")
}

func (e Environment) buildkite(ctx context.Context) (string, error) {
	endpoint := e.Getenv("BUILDKITE_AGENT_ENDPOINT")
	if endpoint == "" {
		endpoint = "https://agent.buildkite.com/v3"
	}
	u, err := serviceURL(endpoint)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(map[string]string{"audience": e.Audience})
	if err != nil {
		return "", err
	}
	u = u.JoinPath("jobs", e.Getenv("BUILDKITE_JOB_ID"), "oidc", "tokens")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Token "+e.Getenv("BUILDKITE_AGENT_ACCESS_TOKEN"))
	req.Header.Set("Content-Type", "application/json")
	return e.ask(req, "token")
}

func (e Environment) metadata(ctx context.Context) (string, error) {
	host := e.Getenv("GCE_METADATA_HOST")
	if host == "" {
		host = "metadata.google.internal"
	}
	u := url.URL{Scheme: "http", Host: host, Path: "/computeMetadata/v1/instance/service-accounts/default/identity",
		RawQuery: url.Values{"audience": {e.Audience}, "format": {"full"}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	return e.ask(req, "")
}

func (e Environment) google() bool {
	if e.OnGoogle != nil {
		return e.OnGoogle()
	}
	f, err := os.Open("/sys/class/dmi/id/product_name")
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 256))
	return err == nil && strings.HasPrefix(strings.TrimSpace(string(b)), "Google Compute Engine")
}

// serviceURL refuses to send credentials over plain http, but for this machine.
func serviceURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, usage("%q is no URL of a service", clip(s))
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && !(u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())) {
		return nil, usage("%q is no https URL", clip(s))
	}
	return u, nil
}
