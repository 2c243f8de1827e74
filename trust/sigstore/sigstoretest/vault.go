package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Vault is a key service that speaks the protocol of Vault's transit engine.
type Vault struct {
	URL string
	// Public are the public keys in PEM by name: "ec" and "rsa".
	Public map[string][]byte
	// Spoil signs something else than it is asked to.
	Spoil bool
}

// VaultToken is the token that a Vault demands.
const VaultToken = "s.secret"

// NewVault starts the service; it ends with the test.
func NewVault(tb testing.TB) *Vault {
	tb.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	keys := map[string]crypto.Signer{"ec": ec, "rsa": rs}
	v := &Vault{Public: map[string][]byte{}}
	for n, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			tb.Fatal(err)
		}
		v.Public[n] = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != VaultToken {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
		name, hash, _ := strings.Cut(rest, "/")
		key := keys[name]
		if key == nil {
			http.Error(w, `{"errors":[]}`, http.StatusNotFound)
			return
		}
		data := obj{}
		switch {
		case verb == "keys" && r.Method == http.MethodGet:
			data["latest_version"], data["keys"] = 3, obj{"2": obj{"public_key": "retired"}, "3": obj{"public_key": string(v.Public[name])}}
		case verb == "sign" && r.Method == http.MethodPost && hash == "sha2-256":
			var in struct {
				Input     []byte `json:"input"`
				Prehashed bool   `json:"prehashed"`
				Version   int    `json:"key_version"`
			}
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&in); err != nil || !in.Prehashed || in.Version != 3 {
				http.Error(w, `{"errors":["bad request"]}`, http.StatusBadRequest)
				return
			}
			if v.Spoil {
				in.Input[0] ^= 1
			}
			sig, err := key.Sign(rand.Reader, in.Input, crypto.SHA256)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			data["signature"] = "vault:v3:" + base64.StdEncoding.EncodeToString(sig)
		default:
			http.Error(w, `{"errors":["unsupported path"]}`, http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(obj{"data": data}) // the client is gone
	}))
	tb.Cleanup(srv.Close)
	v.URL = srv.URL
	return v
}
