package generic

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/minisign"
	"github.com/headgate/headgate/trust/openpgp"
	"github.com/headgate/headgate/trust/sigstore"
	"github.com/headgate/headgate/trust/sshsig"
)

// Bounds of the configuration.
const (
	MaxDownloads = 2000
	MaxHosts     = 20 // hosts that one download may be redirected to
)

// Download is a plain file with what is expected of it. At least a digest or
// one signer is given; all that is given must hold.
type Download struct {
	URL string
	// Name and Version are those of the package, "pkg:generic/name@version"; the
	// file's name and none if empty.
	Name, Version string
	// Digest is the file's; the zero Digest if only the signer is known.
	Digest trust.Digest
	// Hosts are further hosts that redirects of URL, Signature and Checksums may
	// lead to ("*.example.com" for sub-domains).
	Hosts []string
	// Checksums is the URL of a checksum list that names the file. It is then the
	// list that is signed, and a signer is required.
	Checksums string
	// Signature is the URL of the detached signature. If it is empty, the signer's
	// customary suffix is added to the URL of what is signed.
	Signature string

	// Each key may be the word Pinned: any key of that format which the trust store
	// has for the package.
	Sigstore     *Identity  // keyless signature in a bundle (".sigstore.json")
	Minisign     string     // public key (".minisig")
	Signify      string     // public key (".sig")
	SSH          string     // public key line, signature in the namespace "file" (".sig")
	OpenPGP      string     // armoured certificate, or the fingerprint of one that was pinned (".asc")
	Authenticode *Publisher // signature inside a PE file
}

// Pinned stands in the configuration for the keys of the trust store.
const Pinned = "pinned"

// Identity is a keyless identity: an exact issuer, and a subject alternative
// name that is exact or a pattern, which is anchored.
type Identity struct{ Issuer, Identity, Pattern string }

// Publisher is who signs PE files: a subject (RFC 4514) under a root, or one
// certificate.
type Publisher struct {
	Subject string
	Root    string // PEM, or Pinned
	// TimestampRoot is the PEM root (or Pinned) of the timestamp authority. Without one a
	// signature counts as long as its certificate runs.
	TimestampRoot string
	// Fingerprint is the SHA-256 of the certificate, hex, in place of Subject and Root.
	Fingerprint string
}

// expected is a Download that was checked and whose keys were read.
type expected struct {
	Download
	file     string // last segment of the URL
	release  trust.Release
	identity sigstore.Identity
	minisign []minisign.PublicKey
	signify  []minisign.PublicKey
	ssh      []ssh.PublicKey
	certs    []*openpgp.Certificate
	keyID    string // fingerprint of a pinned OpenPGP certificate
	roots    []*x509.Certificate
	tsaRoots []*x509.Certificate
}

var openPGPFingerprint = regexp.MustCompile(`^(?:[0-9A-F]{40}|[0-9A-F]{64})$`)

// parse checks a download and reads its keys.
func parse(d Download) (*expected, error) {
	e := &expected{Download: d}
	u, err := checkURL(d.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if e.file = path.Base(u.Path); e.file == "." || e.file == "/" || strings.HasSuffix(u.Path, "/") {
		return nil, fmt.Errorf("url %q names no file", d.URL)
	}
	name := d.Name
	if name == "" {
		name = e.file
	}
	if e.release, err = trust.NewRelease("generic", "", name, d.Version); err != nil {
		return nil, err
	}
	if !d.Digest.IsZero() && !d.Digest.Strong() {
		return nil, fmt.Errorf("digest: %s cannot stand for the bytes", d.Digest.Algorithm)
	}
	switch d.Digest.Algorithm {
	case "", trust.SHA256, trust.SHA384, trust.SHA512:
	default:
		return nil, fmt.Errorf("digest: %s is not the digest of a file", d.Digest.Algorithm)
	}
	if len(d.Hosts) > MaxHosts {
		return nil, fmt.Errorf("hosts: %d are more than %d", len(d.Hosts), MaxHosts)
	}
	detached, err := e.keys()
	if err != nil {
		return nil, err
	}
	switch {
	case d.Digest.IsZero() && detached == 0 && d.Authenticode == nil:
		return nil, fmt.Errorf("nothing is expected of it: give a digest or a signer")
	case d.Checksums != "" && detached == 0:
		return nil, fmt.Errorf("a checksum list that nobody signed proves nothing: give its signer, or the digest alone")
	case d.Signature != "" && detached == 0:
		return nil, fmt.Errorf("a signature proves nothing without its signer")
	case d.Signature != "" && detached > 1:
		return nil, fmt.Errorf("one signature cannot be by %d signers: leave it out where each has its own suffix", detached)
	}
	for _, s := range []string{d.Checksums, d.Signature} {
		if s == "" {
			continue
		}
		if _, err := checkURL(s); err != nil {
			return nil, err
		}
		if s == d.URL {
			return nil, fmt.Errorf("signature and checksums must be other files than the download")
		}
	}
	return e, nil
}

func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("no absolute https URL")
	case u.User != nil:
		return nil, fmt.Errorf("the URL of host %s holds credentials: put them into .netrc", u.Host)
	case u.Fragment != "":
		return nil, fmt.Errorf("%q has a fragment, which is never sent", s)
	}
	return u, nil // plain http is refused by the client, but for hosts that the user marked
}

// keys reads the signers and returns how many have a detached signature.
func (e *expected) keys() (detached int, err error) {
	if s := e.Sigstore; s != nil {
		detached++
		switch {
		case (s.Identity == "") == (s.Pattern == ""):
			return 0, fmt.Errorf("sigstore: give either an identity or a pattern of one")
		case s.Identity != "":
			e.identity, err = sigstore.ExactIdentity(s.Issuer, s.Identity)
		case s.Issuer == "":
			return 0, fmt.Errorf("sigstore: give the exact issuer")
		default:
			e.identity, err = sigstore.PatternIdentity(regexp.QuoteMeta(s.Issuer), s.Pattern)
		}
		if err != nil {
			return 0, fmt.Errorf("sigstore: %w", err)
		}
	}
	for what, k := range map[string]struct {
		text string
		keys *[]minisign.PublicKey
	}{"minisign": {e.Minisign, &e.minisign}, "signify": {e.Signify, &e.signify}} {
		if k.text == "" {
			continue
		}
		detached++
		if k.text == Pinned {
			continue
		}
		key, err := minisign.ParsePublicKey([]byte(k.text))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", what, err)
		}
		*k.keys = []minisign.PublicKey{key}
	}
	switch e.SSH {
	case "":
	case Pinned:
		detached++
	default:
		detached++
		key, err := sshsig.ParsePublicKey([]byte(e.SSH))
		if err == nil {
			err = sshsig.CheckKey(key)
		}
		if err != nil {
			return 0, fmt.Errorf("ssh: %w", err)
		}
		e.ssh = []ssh.PublicKey{key}
	}
	switch e.OpenPGP {
	case "":
	case Pinned:
		detached++
	default:
		detached++
		if fp := strings.ToUpper(strings.ReplaceAll(e.OpenPGP, " ", "")); openPGPFingerprint.MatchString(fp) {
			e.keyID = fp
		} else {
			certs, bad, err := openpgp.ParseCertificates([]byte(e.OpenPGP))
			if err == nil && len(bad) > 0 {
				err = bad[0]
			}
			if err == nil && len(certs) == 0 {
				err = fmt.Errorf("no certificate")
			}
			if err != nil {
				return 0, fmt.Errorf("openpgp: neither a whole fingerprint nor a certificate: %w", err)
			}
			e.certs = certs
		}
	}
	if p := e.Authenticode; p != nil {
		if err := e.publisher(p); err != nil {
			return 0, fmt.Errorf("authenticode: %w", err)
		}
	}
	return detached, nil
}

func (e *expected) publisher(p *Publisher) (err error) {
	switch {
	case p.Fingerprint != "" && (p.Subject != "" || p.Root != ""):
		return fmt.Errorf("give either a fingerprint or subject and root")
	case p.Fingerprint != "":
		if b, err := hex.DecodeString(p.Fingerprint); err != nil || len(b) != sha256.Size {
			return fmt.Errorf("fingerprint is no SHA-256 in hex")
		}
	case p.Subject == "" || p.Root == "":
		return fmt.Errorf("give subject and root: anybody can have a certificate of some subject")
	}
	if p.Root != Pinned {
		if e.roots, err = certificates(p.Root); err != nil {
			return fmt.Errorf("root: %w", err)
		}
	}
	if p.TimestampRoot != Pinned {
		if e.tsaRoots, err = certificates(p.TimestampRoot); err != nil {
			return fmt.Errorf("timestampRoot: %w", err)
		}
	}
	return nil
}

// certificates reads all of a PEM text, which holds nothing else.
func certificates(text string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	rest := []byte(text)
	for len(bytes.TrimSpace(rest)) > 0 {
		b, more := pem.Decode(rest)
		if b == nil || b.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("not a certificate in PEM")
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out, rest = append(out, c), more
	}
	return out, nil
}

// parseAll checks all downloads.
func parseAll(ds []Download) ([]*expected, error) {
	if len(ds) > MaxDownloads {
		return nil, fmt.Errorf("%d downloads are more than %d", len(ds), MaxDownloads)
	}
	var out []*expected
	urls, releases := map[string]bool{}, map[trust.Release]string{}
	for _, d := range ds {
		e, err := parse(d)
		if err != nil {
			return nil, fmt.Errorf("download %.200q: %w: %w", display(d.URL), trust.ErrConfiguration, err)
		}
		if urls[d.URL] {
			return nil, fmt.Errorf("download %.200q: %w: it is there twice", display(d.URL), trust.ErrConfiguration)
		}
		if other, dup := releases[e.release]; dup {
			return nil, fmt.Errorf("download %.200q: %w: it is %s, as %s is; give name and version", display(d.URL), trust.ErrConfiguration, e.release, display(other))
		}
		urls[d.URL], releases[e.release] = true, d.URL
		out = append(out, e)
	}
	return out, nil
}

// display is a URL without what may be a secret.
func display(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "(no URL)"
	}
	return u.Redacted()
}

// Components are the downloads as entries of an inventory, which no lock file
// lists. at is the file that names them. An expectation that cannot be used is
// an error.
func Components(ds []Download, at string) ([]sbom.Component, error) {
	es, err := parseAll(ds)
	if err != nil {
		return nil, err
	}
	var out []sbom.Component
	for _, e := range es {
		a := trust.Artifact{Name: e.file, URL: e.URL}
		if !e.Digest.IsZero() {
			a.Digests = trust.Digests{e.Digest}
		}
		out = append(out, sbom.Component{
			Release: e.release, Kind: sbom.KindURL, Origin: e.URL, Relation: sbom.RelationDirect,
			Artifacts: []trust.Artifact{a}, Locations: []trust.Location{{Path: at}},
		})
	}
	return out, nil
}
