package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/headgate/headgate/trust"
)

// vaultScheme is sigstore's scheme of keys in the transit engine of Vault and OpenBao.
const vaultScheme = "hashivault://"

var vaultKeyName = regexp.MustCompile(`^\w(?:[\w.-]*\w)?$`)

// vaultHashes are the hashes that headgate signs, as the engine names them.
var vaultHashes = map[crypto.Hash]string{crypto.SHA256: "sha2-256", crypto.SHA384: "sha2-384", crypto.SHA512: "sha2-512"}

// vaultKey signs hashes by a key that never leaves the service. One version of
// the key is used throughout, also when somebody rotates it meanwhile.
type vaultKey struct {
	ctx       context.Context
	client    *http.Client
	base      *url.URL // of the engine
	token     string
	namespace string
	name      string
	version   int
	public    crypto.PublicKey
}

// openVault reads the public key. Address, token and engine come from the
// environment that the service's own client reads.
func openVault(ctx context.Context, name string, getenv func(string) string) (*vaultKey, error) {
	if !vaultKeyName.MatchString(name) {
		return nil, usage("%q is no name of a key: write hashivault://NAME", clip(name))
	}
	addr := getenv("VAULT_ADDR")
	if addr == "" {
		return nil, usage("%s%s: $VAULT_ADDR does not say where the service is", vaultScheme, name)
	}
	base, err := serviceURL(addr)
	if err != nil {
		return nil, fmt.Errorf("$VAULT_ADDR: %w", err)
	}
	engine := getenv("TRANSIT_SECRET_ENGINE_PATH")
	if engine == "" {
		engine = "transit"
	}
	k := &vaultKey{ctx: ctx, base: base.JoinPath("v1", engine), name: name, namespace: getenv("VAULT_NAMESPACE"), token: getenv("VAULT_TOKEN"),
		client: &http.Client{Transport: boundedTransport{http.DefaultTransport}, Timeout: serviceTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return errors.New("the service redirects, and its token goes nowhere else")
			}}}
	if k.token == "" {
		if k.token, err = vaultTokenFile(getenv("HOME")); err != nil {
			return nil, err
		}
	}
	var answer struct {
		Data struct {
			Latest int `json:"latest_version"`
			Keys   map[string]struct {
				PublicKey string `json:"public_key"`
			} `json:"keys"`
		} `json:"data"`
	}
	if err := k.ask(http.MethodGet, []string{"keys", name}, nil, &answer); err != nil {
		return nil, err
	}
	k.version = answer.Data.Latest
	block, _ := pem.Decode([]byte(answer.Data.Keys[strconv.Itoa(k.version)].PublicKey))
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, usage("%s%s has no public key that signs hashes: headgate signs with keys of type ecdsa-p256, -p384, -p521 and rsa", vaultScheme, name)
	}
	if k.public, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading the key %s%s: %w", vaultScheme, name, err)
	}
	switch k.public.(type) {
	case *ecdsa.PublicKey, *rsa.PublicKey:
		return k, nil
	}
	return nil, usage("%s%s is a key of type %T: headgate signs with keys of type ecdsa-p256, -p384, -p521 and rsa", vaultScheme, name, k.public)
}

func vaultTokenFile(home string) (string, error) {
	f, err := os.Open(filepath.Join(home, ".vault-token"))
	if home == "" || err != nil {
		return "", usage("no token for the service: set $VAULT_TOKEN, or log in with its own client")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxToken))
	if err != nil {
		return "", usage("reading the service's token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// ask sends one request to the engine.
func (k *vaultKey) ask(method string, path []string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("asking the key service: %w", err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(k.ctx, method, k.base.JoinPath(path...).String(), in)
	if err != nil {
		return fmt.Errorf("asking the key service: %w", err)
	}
	req.Header.Set("X-Vault-Token", k.token)
	req.Header.Set("X-Vault-Request", "true")
	if k.namespace != "" {
		req.Header.Set("X-Vault-Namespace", k.namespace)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return trust.Undecidable(trust.ReasonNetwork, "asking the key service: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return trust.Undecidable(trust.ReasonNetwork, "asking the key service: %w", err)
	case res.StatusCode == http.StatusForbidden:
		return usage("the key service refuses the token for the key %s (HTTP 403)", k.name)
	case res.StatusCode == http.StatusNotFound:
		return usage("the key service has no key %s (HTTP 404)", k.name)
	case res.StatusCode != http.StatusOK:
		return trust.Undecidable(trust.ReasonNetwork, "asking the key service: HTTP %d: %s", res.StatusCode, said(string(b)))
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return trust.Undecidable(trust.ReasonMalformed, "reading the key service's answer: %w", err)
	}
	return nil
}

// Public is the key's public half.
func (k *vaultKey) Public() crypto.PublicKey { return k.public }

// Sign has the service sign a hash, and verifies what it answers.
func (k *vaultKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	h := vaultHashes[opts.HashFunc()]
	if h == "" || len(digest) != opts.HashFunc().Size() {
		return nil, usage("the key service does not sign %s hashes", opts.HashFunc())
	}
	in := map[string]any{"input": digest, "prehashed": true, "key_version": k.version}
	if _, is := k.public.(*rsa.PublicKey); is {
		in["signature_algorithm"] = "pkcs1v15"
	} else {
		in["marshaling_algorithm"] = "asn1"
	}
	var answer struct {
		Data struct {
			Signature string `json:"signature"`
		} `json:"data"`
	}
	if err := k.ask(http.MethodPost, []string{"sign", k.name, h}, in, &answer); err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(answer.Data.Signature, "vault:v"+strconv.Itoa(k.version)+":")
	sig, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the key service answered with no signature of version %d of the key", k.version)
	}
	switch pub := k.public.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, digest, sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(pub, opts.HashFunc(), digest, sig) == nil
	default:
		ok = false
	}
	if !ok {
		return nil, trust.Failure(trust.ReasonBadSignature, "the key service's signature does not verify with its own public key")
	}
	return sig, nil
}
