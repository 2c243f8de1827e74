package verification

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
)

// Format is a signature format.
type Format string

// Formats, told apart by their content and never by a file's name.
const (
	FormatUnknown      Format = ""
	FormatBundle       Format = "Sigstore bundle"
	FormatCosign       Format = "cosign bundle"          // of cosign before 3: {"base64Signature", "cert", "rekorBundle"}
	FormatImage        Format = "cosign image signature" // of cosign before 3: payload or envelope, with annotations
	FormatPyPI         Format = "PyPI attestation"       // PEP 740
	FormatDSSE         Format = "DSSE envelope"
	FormatOpenPGP      Format = "OpenPGP"
	FormatClearsigned  Format = "clearsigned OpenPGP"
	FormatMinisign     Format = "minisign"
	FormatSignify      Format = "signify"
	FormatSSH          Format = "SSH"
	FormatCMS          Format = "CMS"
	FormatAuthenticode Format = "Authenticode"
	FormatBare         Format = "bare signature" // DER, raw bytes or their base64
)

// Sniff tells the format of a signature document. Nothing is verified, and a
// document that only looks like its format is refused by the verifier of it.
func Sniff(b []byte) Format {
	text := bytes.TrimSpace(b)
	switch {
	case len(text) == 0:
		return FormatUnknown
	case text[0] == '{':
		return sniffJSON(text)
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP SIGNED MESSAGE-----")):
		return FormatClearsigned
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP SIGNATURE-----")):
		return FormatOpenPGP
	case bytes.HasPrefix(text, []byte("-----BEGIN SSH SIGNATURE-----")):
		return FormatSSH
	case bytes.HasPrefix(text, []byte("-----BEGIN PKCS7-----")), bytes.HasPrefix(text, []byte("-----BEGIN CMS-----")):
		return FormatCMS
	case bytes.HasPrefix(text, []byte("untrusted comment:")):
		if bytes.Contains(text, []byte("\ntrusted comment:")) {
			return FormatMinisign
		}
		return FormatSignify
	case b[0] == 0x88 || b[0] == 0x89 || b[0] == 0xc2:
		return FormatOpenPGP
	case b[0] == 0x30 && isCMS(b):
		return FormatCMS
	}
	return FormatBare
}

func sniffJSON(text []byte) Format {
	var m map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(text)).Decode(&m) != nil {
		return FormatBundle // whose parser says what is wrong with it
	}
	has := func(k string) bool { _, ok := m[k]; return ok }
	switch {
	case has("base64Signature"):
		return FormatCosign
	case has("verification_material") && has("envelope"):
		return FormatPyPI
	case has("payloadType") && has("signatures"):
		return FormatDSSE
	}
	return FormatBundle
}

// isCMS reports whether DER starts as ContentInfo with SignedData does.
func isCMS(b []byte) bool {
	var info struct {
		Type asn1.ObjectIdentifier
		Rest asn1.RawValue `asn1:"optional"`
	}
	_, err := asn1.Unmarshal(b, &info)
	return err == nil && info.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2})
}

// derOf unwraps PEM around CMS; other bytes stay as they are.
func derOf(b []byte) []byte {
	if block, rest := pem.Decode(bytes.TrimSpace(b)); block != nil && len(bytes.TrimSpace(rest)) == 0 {
		return block.Bytes
	}
	return b
}

// bareBytes are the bytes of a bare signature, which tools write in base64 or as
// they are.
func bareBytes(b []byte) []byte {
	if raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(b))); err == nil {
		return raw
	}
	return b
}
