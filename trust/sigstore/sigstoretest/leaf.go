package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/headgate/headgate/trust"
)

// Identity is what a certificate says of its holder: a subject alternative
// name and Fulcio's extensions by number (1.3.6.1.4.1.57264.1.N).
type Identity struct {
	Email      string // one of the two
	URI        string
	Extensions map[int]string // 1–6 raw, 8 and above as UTF8String
}

// Workflow describes a run of GitHub Actions. Empty fields get defaults that
// agree with each other.
type Workflow struct {
	Issuer      string // default GitHub Actions; that of GitLab makes it a pipeline there
	Repository  string // owner/name, default acme/widget
	Path        string // default .github/workflows/release.yml
	Ref         string // default refs/tags/v1.0.0
	Commit      string // default forty times "a"
	Trigger     string // default push
	Runner      string // default github-hosted
	Environment string
	RepoID      string // default 1001
	OwnerID     string // default 501
	// Builder is the signing workflow where it is a reusable one of another
	// repository: "https://github.com/o/r/.github/workflows/x.yml@ref".
	Builder string
	Legacy  bool // extensions .1–.6 only, as certificates before 2023
}

func def(p *string, v string) {
	if *p == "" {
		*p = v
	}
}

// Defaults fills the empty fields.
func (f Workflow) Defaults() Workflow {
	def(&f.Issuer, trust.GitHubIssuer)
	def(&f.Repository, "acme/widget")
	def(&f.Path, ".github/workflows/release.yml")
	def(&f.Ref, "refs/tags/v1.0.0")
	def(&f.Commit, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	def(&f.Trigger, "push")
	def(&f.Runner, "github-hosted")
	def(&f.RepoID, "1001")
	def(&f.OwnerID, "501")
	return f
}

// SAN is the subject alternative name of the run.
func (f Workflow) SAN() string {
	f = f.Defaults()
	if f.Builder != "" {
		return f.Builder
	}
	return f.config()
}

// repository is the URL of the repository, on the issuer's own forge.
func (f Workflow) repository() string {
	if f.Issuer == trust.GitLabIssuer {
		return trust.GitLabIssuer + "/" + f.Repository
	}
	return "https://github.com/" + f.Repository
}

// config is the URI of the top-level workflow.
func (f Workflow) config() string {
	if f.Issuer == trust.GitLabIssuer {
		return f.repository() + "//" + f.Path + "@" + f.Ref
	}
	return f.repository() + "/" + f.Path + "@" + f.Ref
}

// Identity is the identity that Fulcio would certify.
func (f Workflow) Identity() Identity {
	f = f.Defaults()
	repo := f.repository()
	owner := repo
	for i := len(owner) - 1; i >= 0; i-- {
		if owner[i] == '/' {
			owner = owner[:i]
			break
		}
	}
	ext := map[int]string{1: f.Issuer}
	if f.Issuer != trust.GitLabIssuer { // which has never had the others
		maps.Copy(ext, map[int]string{2: f.Trigger, 3: f.Commit, 4: "release", 5: f.Repository, 6: f.Ref})
	}
	if !f.Legacy {
		maps.Copy(ext, map[int]string{
			8: f.Issuer, 9: f.SAN(), 10: f.Commit, 11: f.Runner, 12: repo, 13: f.Commit, 14: f.Ref, 15: f.RepoID, 16: owner, 17: f.OwnerID,
			18: f.config(), 19: f.Commit, 20: f.Trigger, 21: repo + "/actions/runs/42/attempts/1", 22: "public",
			24: "repo:" + f.Repository + ":ref:" + f.Ref,
		})
		if f.Environment != "" {
			ext[23] = f.Environment
		}
	}
	return Identity{URI: f.SAN(), Extensions: ext}
}

// Email is the identity of a person.
func Email(address, issuer string) Identity {
	return Identity{Email: address, Extensions: map[int]string{1: issuer, 8: issuer}}
}

// LeafOptions break a certificate.
type LeafOptions struct {
	NotBefore  time.Time     // default World.Now less a minute
	Lifetime   time.Duration // default ten minutes
	NoSCT      bool
	ForeignSCT bool // SCT of a log that nobody knows
	BadSCT     bool // SCT over another certificate
	ForeignCA  bool // issued by an authority of the same names that nobody knows
}

// Leaf issues a certificate for the key, as Fulcio does, with an embedded SCT.
func (w *World) Leaf(pub crypto.PublicKey, id Identity, o LeafOptions) *x509.Certificate {
	w.tb.Helper()
	if o.NotBefore.IsZero() {
		o.NotBefore = w.Now.Add(-time.Minute)
	}
	if o.Lifetime == 0 {
		o.Lifetime = 10 * time.Minute
	}
	t := &x509.Certificate{
		SerialNumber: serial(), NotBefore: o.NotBefore, NotAfter: o.NotBefore.Add(o.Lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if id.Email != "" {
		t.EmailAddresses = []string{id.Email}
	}
	if id.URI != "" {
		u, err := url.Parse(id.URI)
		w.must(err)
		t.URIs = []*url.URL{u}
	}
	for _, n := range slices.Sorted(maps.Keys(id.Extensions)) {
		v := []byte(id.Extensions[n])
		if n >= 8 {
			var err error
			v, err = asn1.MarshalWithParams(id.Extensions[n], "utf8")
			w.must(err)
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, n}, Value: v})
	}
	inter, key := w.inter, w.interKey
	if o.ForeignCA {
		// Same names and key identifier, another key.
		key = w.p256()
		fake := *w.inter
		fake.PublicKey = key.Public()
		inter = &fake
	}
	plain := w.certificate(t, inter, pub, key)
	if o.NoSCT {
		return plain
	}
	log := w.ctKey
	if o.ForeignSCT {
		log = w.p256()
	}
	tbs := plain.RawTBSCertificate
	if o.BadSCT {
		tbs = append(slices.Clone(tbs[:len(tbs)-1]), tbs[len(tbs)-1]^1)
	}
	sct, err := asn1.Marshal(w.sctList(log, inter, tbs, o.NotBefore))
	w.must(err)
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: sct})
	return w.certificate(t, inter, pub, key)
}

// sctList signs the certificate without its SCT extension (RFC 6962, 3.2).
func (w *World) sctList(log *ecdsa.PrivateKey, issuer *x509.Certificate, tbs []byte, at time.Time) []byte {
	millis := uint64(at.UnixMilli())
	issuerKey := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	in := []byte{0, 0}
	in = binary.BigEndian.AppendUint64(in, millis)
	in = append(in, 0, 1)
	in = append(in, issuerKey[:]...)
	in = append(in, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	in = append(in, tbs...)
	in = append(in, 0, 0)
	sum := sha256.Sum256(in)
	sig, err := ecdsa.SignASN1(rand.Reader, log, sum[:])
	w.must(err)

	sct := append([]byte{0}, w.keyID(log.Public())...)
	sct = binary.BigEndian.AppendUint64(sct, millis)
	sct = append(sct, 0, 0, 4, 3)
	sct = binary.BigEndian.AppendUint16(sct, uint16(len(sig)))
	sct = append(sct, sig...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(sct)+2))
	list = binary.BigEndian.AppendUint16(list, uint16(len(sct)))
	return append(list, sct...)
}
