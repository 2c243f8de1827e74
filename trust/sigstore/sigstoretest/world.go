package sigstoretest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
)

// URLs of the World's parts, as its trusted root states them.
const (
	FulcioURL  = "https://fulcio.sigstore.test"
	RekorV1URL = "https://rekor.sigstore.test"
	RekorV2URL = "https://log2026-1.rekor.sigstore.test"
	CTLogURL   = "https://ctfe.sigstore.test/2026"
	TSAURL     = "https://timestamp.sigstore.test/api/v1/timestamp"
)

// World is one Sigstore instance. Two Worlds share no key. It is safe for
// concurrent use as long as its fields are not changed.
type World struct {
	// Now is the time at which signatures are made unless they say otherwise.
	Now time.Time
	// NPM is the npm registry's current key; NPMOld its predecessor, whose window
	// ends where that of NPM begins.
	NPM, NPMOld *Key

	tb       testing.TB
	rootCert *x509.Certificate
	interKey *ecdsa.PrivateKey
	inter    *x509.Certificate
	ctKey    *ecdsa.PrivateKey
	rekorKey *ecdsa.PrivateKey
	v2Key    ed25519.PrivateKey
	v2ID     []byte
	tsaKey   *ecdsa.PrivateKey
	tsaLeaf  *x509.Certificate
	tsaInter *x509.Certificate
	tsaRoot  *x509.Certificate
	start    time.Time
}

// Key is a long-lived signing key, such as the npm registry's.
type Key struct {
	ID         string
	Private    *ecdsa.PrivateKey
	Start, End time.Time
}

// New makes a World whose parts are valid from a year before now.
func New(tb testing.TB, now time.Time) *World {
	tb.Helper()
	now = now.UTC().Truncate(time.Second)
	w := &World{Now: now, tb: tb, start: now.AddDate(-1, 0, 0)}
	w.rekorKey, w.ctKey = w.p256(), w.p256()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	w.v2Key = key
	_, w.v2ID, err = note.KeyHash("log2026-1.rekor.sigstore.test", key.Public())
	w.must(err)

	rootKey := w.p256()
	w.rootCert = w.authority("sigstore-root", nil, rootKey, nil, x509.ExtKeyUsageAny)
	w.interKey = w.p256()
	w.inter = w.authority("sigstore-intermediate", w.rootCert, w.interKey, rootKey, x509.ExtKeyUsageCodeSigning)

	tsaRootKey, tsaInterKey := w.p256(), w.p256()
	w.tsaRoot = w.authority("sigstore-tsa-root", nil, tsaRootKey, nil, x509.ExtKeyUsageAny)
	w.tsaInter = w.authority("sigstore-tsa-intermediate", w.tsaRoot, tsaInterKey, tsaRootKey, x509.ExtKeyUsageTimeStamping)
	w.tsaKey = w.p256()
	w.tsaLeaf = w.tsaCertificate(w.tsaKey, w.tsaInter, tsaInterKey)

	switchover := now.AddDate(0, -6, 0)
	w.NPMOld = &Key{ID: "SHA256:" + randomID(), Private: w.p256(), Start: w.start, End: switchover}
	w.NPM = &Key{ID: "SHA256:" + randomID(), Private: w.p256(), Start: switchover}
	return w
}

func (w *World) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *World) p256() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	return k
}

func randomID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails; see crypto/rand
	return base64.RawStdEncoding.EncodeToString(b)
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

func (w *World) authority(cn string, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, use x509.ExtKeyUsage) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: cn, Organization: []string{"sigstore.test"}},
		NotBefore: w.start, NotAfter: w.Now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
	if strings.Contains(cn, "tsa") {
		t.NotBefore, t.NotAfter = epoch, doomsday
	}
	if use != x509.ExtKeyUsageAny {
		t.ExtKeyUsage = []x509.ExtKeyUsage{use}
	}
	if parent == nil {
		parent, parentKey = t, key
	}
	return w.certificate(t, parent, &key.PublicKey, parentKey)
}

func (w *World) certificate(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	w.must(err)
	c, err := x509.ParseCertificate(der)
	w.must(err)
	return c
}

// The library that writes timestamps puts the machine's clock beside the
// injected time, and verifiers compare it with the certificate: the timestamp
// authority's certificates are valid whatever the machine's clock says.
var (
	epoch    = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	doomsday = time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC)
)

func (w *World) tsaCertificate(key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	w.must(err)
	return w.certificate(&x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "sigstore-tsa", Organization: []string{"sigstore.test"}},
		NotBefore: epoch, NotAfter: doomsday, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}},
	}, parent, &key.PublicKey, parentKey)
}

// Timestamp answers as the timestamp authority would: an RFC 3161 response
// over the bytes (a signature) at the time.
func (w *World) Timestamp(message []byte, at time.Time) []byte {
	return w.stamp(message, at, w.tsaLeaf, w.tsaKey)
}

func (w *World) stamp(message []byte, at time.Time, leaf *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	sum := sha256.Sum256(message)
	ts := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at.UTC(), Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		AddTSACertificate: leaf != w.tsaLeaf,
	}
	b, err := ts.CreateResponseWithOpts(leaf, key, crypto.SHA256)
	w.must(err)
	return b
}

type obj = map[string]any

func (w *World) json(v any) []byte {
	b, err := json.MarshalIndent(v, "", " ")
	w.must(err)
	return b
}

func (w *World) spki(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	w.must(err)
	return der
}

func window(start, end time.Time) obj {
	v := obj{"start": start.Format(time.RFC3339)}
	if !end.IsZero() {
		v["end"] = end.Format(time.RFC3339)
	}
	return v
}

func (w *World) logInstance(url string, pub crypto.PublicKey, details string, id []byte) obj {
	return obj{
		"baseUrl": url, "hashAlgorithm": "SHA2_256",
		"publicKey": obj{"rawBytes": w.spki(pub), "keyDetails": details, "validFor": window(w.start, time.Time{})},
		"logId":     obj{"keyId": id},
	}
}

func chain(cs ...*x509.Certificate) obj {
	var list []any
	for _, c := range cs {
		list = append(list, obj{"rawBytes": c.Raw})
	}
	return obj{"certificates": list}
}

// TrustedRoot is the World's trusted_root.json.
func (w *World) TrustedRoot() []byte { return w.json(w.rootDocument()) }

// TrustedRootWith is the World's trusted_root.json after edit changed it.
func (w *World) TrustedRootWith(edit func(doc map[string]any)) []byte {
	var doc obj
	w.must(json.Unmarshal(w.TrustedRoot(), &doc))
	edit(doc)
	return w.json(doc)
}

func (w *World) rootDocument() obj {
	subject := func(cn string) obj { return obj{"organization": "sigstore.test", "commonName": cn} }
	return obj{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs": []any{
			w.logInstance(RekorV1URL, w.rekorKey.Public(), "PKIX_ECDSA_P256_SHA_256", w.keyID(w.rekorKey.Public())),
			w.logInstance(RekorV2URL, w.v2Key.Public(), "PKIX_ED25519", w.v2ID),
		},
		"ctlogs": []any{w.logInstance(CTLogURL, w.ctKey.Public(), "PKIX_ECDSA_P256_SHA_256", w.keyID(w.ctKey.Public()))},
		"certificateAuthorities": []any{obj{
			"subject": subject("sigstore-root"), "uri": FulcioURL, "certChain": chain(w.inter, w.rootCert), "validFor": window(w.start, time.Time{}),
		}},
		"timestampAuthorities": []any{obj{
			"subject": subject("sigstore-tsa"), "uri": TSAURL, "certChain": chain(w.tsaLeaf, w.tsaInter, w.tsaRoot), "validFor": window(w.start, time.Time{}),
		}},
	}
}

// NPMKeys is the TUF target with the registry's keys: both keys, each for
// both usages.
func (w *World) NPMKeys() []byte { return w.KeyList(w.NPMOld, w.NPM) }

// KeyList is a TUF target like npm's with other keys.
func (w *World) KeyList(keys ...*Key) []byte {
	var list []any
	for _, k := range keys {
		for _, usage := range []string{"npm:signatures", "npm:attestations"} {
			list = append(list, obj{"keyId": k.ID, "keyUsage": usage, "publicKey": obj{
				"rawBytes": w.spki(k.Private.Public()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": window(k.Start, k.End),
			}})
		}
	}
	return w.json(obj{"keys": list})
}

// NewKey makes a key with a window, not part of NPMKeys.
func (w *World) NewKey(start, end time.Time) *Key {
	return &Key{ID: "SHA256:" + randomID(), Private: w.p256(), Start: start, End: end}
}

// Sign signs the message as npm's registry signs: ECDSA over SHA-256, ASN.1 DER.
func (k *Key) Sign(tb testing.TB, message []byte) []byte {
	tb.Helper()
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, k.Private, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

func (w *World) keyID(pub crypto.PublicKey) []byte {
	sum := sha256.Sum256(w.spki(pub))
	return sum[:]
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func (w *World) logSigner(key crypto.Signer) signature.Signer {
	s, err := signature.LoadSigner(key, crypto.SHA256)
	w.must(err)
	return s
}

var background = context.Background()
