package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitorus/timestamp"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// maxRequest bounds what the services read of a request, in bytes.
const maxRequest = 64 << 20

// Services are the World's parts as HTTP services: certificate authority, logs v1
// and v2, timestamp authority, and an OIDC issuer, all under one URL.
type Services struct {
	URL string
	// Requests counts all requests.
	Requests atomic.Int64
	// Identity is whom the issuer's tokens are for; set it before signing in.
	Identity Identity
	// Down makes a service answer 403: "fulcio", "rekor", "tsa" or "oidc".
	Down string
	// ForeignNonce has the issuer put another nonce into its tokens.
	ForeignNonce bool
	// ForeignState has the issuer send the browser back with another state, before
	// it sends it back with the right one.
	ForeignState bool
	// Endless is the path whose answer never ends; Padding, if not zero, ends it
	// after so many bytes.
	Endless string
	Padding int

	w     *World
	key   *ecdsa.PrivateKey
	mu    sync.Mutex
	codes map[string]login
}

type login struct{ nonce, challenge, client string }

// Serve starts the services; they end with the test.
func (w *World) Serve() *Services {
	s := &Services{w: w, key: w.p256(), codes: map[string]login{}, Identity: Email("dev@example.com", "")}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/signingCert", s.guard("fulcio", s.certificate))
	mux.HandleFunc("POST /api/v1/log/entries", s.guard("rekor", s.logV1))
	mux.HandleFunc("POST /api/v2/log/entries", s.guard("rekor", s.logV2))
	mux.HandleFunc("POST /api/v1/timestamp", s.guard("tsa", s.timestamp))
	mux.HandleFunc("GET /.well-known/openid-configuration", s.guard("oidc", s.discovery))
	mux.HandleFunc("GET /keys", s.guard("oidc", s.keys))
	mux.HandleFunc("GET /auth", s.guard("oidc", s.auth))
	mux.HandleFunc("POST /token", s.guard("oidc", s.token))
	mux.HandleFunc("POST /device", s.guard("oidc", s.device))
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if s.Endless == "" || r.URL.Path != s.Endless {
			mux.ServeHTTP(rw, r)
			return
		}
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, r)
		rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		rw.WriteHeader(rec.Code)
		n, err := rw.Write(rec.Body.Bytes())
		for spaces := []byte(strings.Repeat(" ", 1024)); err == nil && (s.Padding == 0 || n < s.Padding); {
			more := spaces
			if s.Padding > 0 {
				more = spaces[:min(len(spaces), s.Padding-n)]
			}
			m := 0
			m, err = rw.Write(more)
			n += m
		}
	}))
	w.tb.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// SigningConfig is the World's signing configuration for a version of the log;
// 0 leaves the log out.
func (s *Services) SigningConfig(logVersion int, tsa bool) []byte {
	service := func(url string, version int) []any {
		return []any{obj{"url": url, "majorApiVersion": version, "operator": "sigstore.test", "validFor": window(s.w.start, time.Time{})}}
	}
	doc := obj{
		"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":    service(s.URL, 1), "oidcUrls": service(s.URL, 1),
	}
	if logVersion > 0 {
		doc["rekorTlogUrls"], doc["rekorTlogConfig"] = service(s.URL, logVersion), obj{"selector": "ANY"}
	}
	if tsa {
		doc["tsaUrls"], doc["tsaConfig"] = service(s.URL+"/api/v1/timestamp", 1), obj{"selector": "ANY"}
	}
	return s.w.json(doc)
}

func (s *Services) guard(name string, h func(*http.Request, []byte) (int, any, error)) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		s.Requests.Add(1)
		if s.Down == name {
			http.Error(rw, "down", http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		code, v, err := h(r, body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		switch v := v.(type) {
		case []byte:
			rw.WriteHeader(code)
			_, _ = rw.Write(v) // the client sees a short answer
		case redirect:
			http.Redirect(rw, r, string(v), code)
		case logged:
			rw.Header().Set("ETag", v.uuid)
			rw.Header().Set("Location", "/api/v1/log/entries/"+v.uuid)
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(code)
			_, _ = rw.Write(s.w.json(obj{v.uuid: v.entry}))
		default:
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(code)
			_, _ = rw.Write(s.w.json(v))
		}
	}
}

type redirect string

type logged struct {
	uuid  string
	entry obj
}

// Token is an identity token of the issuer for the audience.
func (s *Services) Token(audience, nonce string) string {
	claims := obj{"iss": s.URL, "aud": audience, "sub": "user-1", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	if s.Identity.Email != "" {
		claims["email"], claims["email_verified"] = s.Identity.Email, true
	}
	enc := base64.RawURLEncoding.EncodeToString
	// Compact, as issuers write it.
	in := enc([]byte(`{"alg":"ES256","typ":"JWT","kid":"1"}`)) + "." + enc(s.w.canonical(claims))
	sum := sha256.Sum256([]byte(in))
	r, ss, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	s.w.must(err)
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	ss.FillBytes(sig[32:])
	return in + "." + enc(sig)
}

// claims verifies a token of this issuer for Sigstore.
func (s *Services) claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("no token")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return nil, fmt.Errorf("no signature")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(&s.key.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, fmt.Errorf("token of another issuer")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m["aud"] != "sigstore" {
		return nil, fmt.Errorf("token for %v", m["aud"])
	}
	return m, nil
}

func (s *Services) certificate(r *http.Request, body []byte) (int, any, error) {
	claims, err := s.claims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		return 0, nil, err
	}
	var req struct {
		PublicKeyRequest struct {
			PublicKey struct{ Content string }
			Proof     []byte `json:"proofOfPossession"`
		}
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return 0, nil, err
	}
	block, _ := pem.Decode([]byte(req.PublicKeyRequest.PublicKey.Content))
	if block == nil {
		return 0, nil, fmt.Errorf("no key")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return 0, nil, err
	}
	subject, _ := claims["email"].(string)
	if subject == "" {
		subject, _ = claims["sub"].(string)
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return 0, nil, err
	}
	if err := v.VerifySignature(strings.NewReader(string(req.PublicKeyRequest.Proof)), strings.NewReader(subject)); err != nil {
		return 0, nil, fmt.Errorf("no possession of the key: %w", err)
	}
	id := s.Identity
	if id.Email != "" {
		id = Email(subject, s.URL)
	}
	leaf := s.w.Leaf(pub, id, LeafOptions{})
	return http.StatusOK, obj{"signedCertificateEmbeddedSct": obj{"chain": obj{"certificates": []string{string(certPEM(leaf)), string(certPEM(s.w.inter)), string(certPEM(s.w.rootCert))}}}}, nil
}

func (s *Services) logV1(_ *http.Request, body []byte) (int, any, error) {
	var req struct {
		Kind       string
		APIVersion string
		Spec       struct {
			ProposedContent *struct {
				Envelope  string
				Verifiers [][]byte
			}
			Data      obj
			Signature obj
		}
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return 0, nil, err
	}
	spec := obj{"data": req.Spec.Data, "signature": req.Spec.Signature}
	if p := req.Spec.ProposedContent; p != nil {
		var env struct {
			Payload    []byte
			Signatures []struct{ Sig string }
		}
		if err := json.Unmarshal([]byte(p.Envelope), &env); err != nil {
			return 0, nil, err
		}
		if len(env.Signatures) != 1 || len(p.Verifiers) != 1 {
			return 0, nil, fmt.Errorf("not one signature")
		}
		spec = obj{"envelopeHash": hexSum([]byte(p.Envelope)), "payloadHash": hexSum(env.Payload),
			"signatures": []any{obj{"signature": env.Signatures[0].Sig, "verifier": p.Verifiers[0]}}}
	}
	e := s.w.sealV1(req.Kind, s.w.canonical(obj{"apiVersion": req.APIVersion, "kind": req.Kind, "spec": spec}), s.w.Now, Options{})
	proof := e["inclusionProof"].(obj)
	number := func(v any) int64 {
		n, err := strconv.ParseInt(v.(string), 10, 64)
		s.w.must(err)
		return n
	}
	var hashes []string
	for _, h := range proof["hashes"].([][]byte) {
		hashes = append(hashes, hex.EncodeToString(h))
	}
	uuid := randomHex()
	return http.StatusCreated, logged{uuid, obj{
		"body": e["canonicalizedBody"], "integratedTime": number(e["integratedTime"]), "logIndex": number(e["logIndex"]),
		"logID": hex.EncodeToString(e["logId"].(obj)["keyId"].([]byte)),
		"verification": obj{
			"signedEntryTimestamp": e["inclusionPromise"].(obj)["signedEntryTimestamp"],
			"inclusionProof": obj{
				"logIndex": number(proof["logIndex"]), "treeSize": number(proof["treeSize"]), "rootHash": hex.EncodeToString(proof["rootHash"].([]byte)),
				"hashes": hashes, "checkpoint": proof["checkpoint"].(obj)["envelope"],
			},
		},
	}}, nil
}

func randomHex() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails; see crypto/rand
	return hex.EncodeToString(b)
}

func (s *Services) logV2(_ *http.Request, body []byte) (int, any, error) {
	var req rekortiles.CreateEntryRequest
	if err := protojson.Unmarshal(body, &req); err != nil {
		return 0, nil, err
	}
	h := req.GetHashedRekordRequestV002()
	if h == nil {
		return 0, nil, fmt.Errorf("no hashedrekord")
	}
	alg := map[int]protocommon.HashAlgorithm{32: protocommon.HashAlgorithm_SHA2_256, 48: protocommon.HashAlgorithm_SHA2_384, 64: protocommon.HashAlgorithm_SHA2_512}[len(h.Digest)]
	return http.StatusCreated, s.w.sealV2(&protocommon.HashOutput{Algorithm: alg, Digest: h.Digest}, h.Signature, ""), nil
}

func (s *Services) timestamp(_ *http.Request, body []byte) (int, any, error) {
	req, err := timestamp.ParseRequest(body)
	if err != nil {
		return 0, nil, err
	}
	ts := timestamp.Timestamp{HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Nonce: req.Nonce, Time: s.w.Now, Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: req.Certificates}
	b, err := ts.CreateResponseWithOpts(s.w.tsaLeaf, s.w.tsaKey, crypto.SHA256)
	return http.StatusCreated, b, err
}

func (s *Services) discovery(*http.Request, []byte) (int, any, error) {
	return http.StatusOK, obj{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/auth", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
		"device_authorization_endpoint": s.URL + "/device", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
	}, nil
}

func (s *Services) keys(*http.Request, []byte) (int, any, error) {
	raw, err := s.key.PublicKey.Bytes()
	if err != nil {
		return 0, nil, err
	}
	enc := base64.RawURLEncoding.EncodeToString
	return http.StatusOK, obj{"keys": []any{obj{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": enc(raw[1:33]), "y": enc(raw[33:])}}}, nil
}

func (s *Services) auth(r *http.Request, _ []byte) (int, any, error) {
	q := r.URL.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("nonce") == "" {
		return 0, nil, fmt.Errorf("no PKCE, state or nonce")
	}
	code := randomHex()
	s.mu.Lock()
	s.codes[code] = login{q.Get("nonce"), q.Get("code_challenge"), q.Get("client_id")}
	s.mu.Unlock()
	if s.ForeignState {
		resp, err := http.Get(q.Get("redirect_uri") + "?code=stolen&state=another")
		if err != nil {
			return 0, nil, err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			return 0, nil, fmt.Errorf("another state was taken: HTTP %d", resp.StatusCode)
		}
	}
	return http.StatusFound, redirect(q.Get("redirect_uri") + "?code=" + code + "&state=" + q.Get("state")), nil
}

func (s *Services) device(r *http.Request, body []byte) (int, any, error) {
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if err := r.ParseForm(); err != nil {
		return 0, nil, err
	}
	code := randomHex()
	s.mu.Lock()
	s.codes[code] = login{"", r.PostForm.Get("code_challenge"), r.PostForm.Get("client_id")}
	s.mu.Unlock()
	return http.StatusOK, obj{"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": s.URL + "/activate", "expires_in": 300, "interval": 1}, nil
}

func (s *Services) token(r *http.Request, body []byte) (int, any, error) {
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if err := r.ParseForm(); err != nil {
		return 0, nil, err
	}
	code := r.PostForm.Get("code") + r.PostForm.Get("device_code")
	s.mu.Lock()
	l, ok := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != l.challenge {
		return 0, nil, fmt.Errorf("unknown code or wrong verifier")
	}
	if s.ForeignNonce {
		l.nonce = "another"
	}
	return http.StatusOK, obj{"access_token": "unused", "token_type": "Bearer", "id_token": s.Token(l.client, l.nonce)}, nil
}
