package trust

// MaterialKind is the kind of a piece of key material.
type MaterialKind string

// Kinds of key material.
const (
	MaterialOpenPGP     MaterialKind = "openpgp"      // armored or binary OpenPGP certificate(s)
	MaterialX509Root    MaterialKind = "x509-root"    // PEM or DER certificate
	MaterialPublicKey   MaterialKind = "public-key"   // PEM SPKI, minisign, signify or OpenSSH public key
	MaterialTrustedRoot MaterialKind = "trusted-root" // Sigstore trusted_root.json
)

// Material is key material that somebody pinned: the bytes that verifiers need
// to recognise an accepted signer. Having a key says nothing about trusting it.
type Material struct {
	Kind   MaterialKind `json:"kind"`
	Scope  string       `json:"scope"`  // purl type, package or namespace pattern it is for; "" for all
	Name   string       `json:"name"`   // for people
	Origin string       `json:"origin"` // where it came from: file, URL, import
	Data   []byte       `json:"data"`
}
