package sigstore

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/headgate/headgate/trust"
)

// Identity says who must have signed. Only the constructors of this file make
// one that Verify takes; the zero Identity is an error.
type Identity struct {
	kind  identityKind
	match func(trust.Signer) error
}

type identityKind int

const (
	identityNone identityKind = iota
	identityCertificate
	identityKey
)

// ExactIdentity demands this issuer and this subject alternative name, letter by letter.
func ExactIdentity(issuer, san string) (Identity, error) {
	if issuer == "" || san == "" {
		return Identity{}, misuse("a keyless identity needs an exact issuer and a subject alternative name, has %q and %q", clip(issuer), clip(san))
	}
	return Identity{kind: identityCertificate, match: func(s trust.Signer) error {
		if s.Issuer != issuer || s.SAN != san {
			return fmt.Errorf("signed by %s of %s, expected %s of %s", clip(s.SAN), clip(s.Issuer), clip(san), clip(issuer))
		}
		return nil
	}}, nil
}

// WorkflowIdentity demands this issuer, source repository (an https URL) and,
// unless it is empty, workflow path.
func WorkflowIdentity(issuer, repository, workflow string) (Identity, error) {
	want, err := repositoryURL(repository)
	if issuer == "" || err != nil {
		return Identity{}, misuse("a workflow identity needs an exact issuer and a repository URL, has %q and %q", clip(issuer), clip(repository))
	}
	return Identity{kind: identityCertificate, match: func(s trust.Signer) error {
		if s.Issuer != issuer || s.SourceRepository != want || (workflow != "" && s.Workflow != workflow) {
			return fmt.Errorf("signed by %s of %s, expected %s %s of %s", clip(s.String()), clip(s.Issuer), want, workflow, clip(issuer))
		}
		return nil
	}}, nil
}

// PatternIdentity demands that issuer and SAN match regular expressions as a
// whole: both are anchored here. The issuer has to be a pattern that names
// something: an expression that matches the empty string is refused.
func PatternIdentity(issuer, san string) (Identity, error) {
	var res [2]*regexp.Regexp
	for i, p := range []string{issuer, san} {
		re, err := regexp.Compile(`^(?:` + p + `)$`)
		if err != nil {
			return Identity{}, misuse("pattern %q: %v", clip(p), err)
		}
		// (?:…) above does not contain an unbalanced parenthesis only if p alone compiles.
		if _, err := regexp.Compile(p); err != nil {
			return Identity{}, misuse("pattern %q: %v", clip(p), err)
		}
		if p == "" || re.MatchString("") || re.MatchString("\x00") {
			return Identity{}, misuse("pattern %q matches everything", clip(p))
		}
		res[i] = re
	}
	return Identity{kind: identityCertificate, match: func(s trust.Signer) error {
		if !res[0].MatchString(s.Issuer) || !res[1].MatchString(s.SAN) {
			return fmt.Errorf("signed by %s of %s, which do not match the patterns", clip(s.SAN), clip(s.Issuer))
		}
		return nil
	}}, nil
}

// KeyIdentity demands a signature by a key of the verifier's key set, which is
// identity enough; certificates are refused.
func KeyIdentity() Identity {
	return Identity{kind: identityKey, match: func(trust.Signer) error { return nil }}
}

// CollectIdentityUnsafe accepts any certificate identity that is complete and
// consistent. It is for adapters alone: they report who signed, and the gate
// decides afterwards whether that signer is accepted. Whoever uses it without
// such a decision accepts everybody.
func CollectIdentityUnsafe() Identity {
	return Identity{kind: identityCertificate, match: func(trust.Signer) error { return nil }}
}

// Fulcio's extensions are 1.3.6.1.4.1.57264.1.N
// (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
var fulcioArc = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}

// GitHubReleases ends the name of the service that attests immutable releases
// ("https://dotcom.releases.github.com"). GitHub's own authority certifies it
// without any of Fulcio's extensions, the OpenID issuer included: the service
// vouches for itself, and counts as its own issuer.
const GitHubReleases = ".releases.github.com"

const maxExtension = 4096 // bytes of one extension's value

// extensions returns Fulcio's extensions of the certificate by their last number.
func extensions(c *x509.Certificate) (map[int]string, error) {
	ext := map[int]string{}
	for _, e := range c.Extensions {
		if len(e.Id) != len(fulcioArc)+1 || !e.Id[:len(fulcioArc)].Equal(fulcioArc) {
			continue
		}
		n := e.Id[len(fulcioArc)]
		if _, dup := ext[n]; dup {
			return nil, fmt.Errorf("extension .%d appears twice", n)
		}
		if len(e.Value) > maxExtension {
			return nil, fmt.Errorf("extension .%d has %d bytes", n, len(e.Value))
		}
		switch {
		case n >= 1 && n <= 6:
			ext[n] = string(e.Value)
		case n >= 8:
			var s string
			rest, err := asn1.UnmarshalWithParams(e.Value, &s, "utf8")
			if err != nil || len(rest) > 0 {
				return nil, fmt.Errorf("extension .%d is not one UTF8String", n)
			}
			ext[n] = s
		}
		for _, r := range ext[n] {
			if r < 0x20 || r == 0x7f {
				return nil, fmt.Errorf("extension .%d contains a control character", n)
			}
		}
	}
	return ext, nil
}

// UnverifiedSigner reads the identity that a Fulcio certificate states. Nothing
// vouches for it: it is for one's own certificate, before signing with it.
func UnverifiedSigner(c *x509.Certificate) (trust.Signer, error) { return signerOf(c) }

// signerOf reads the identity of a Fulcio certificate and refuses one that
// contradicts itself.
func signerOf(c *x509.Certificate) (trust.Signer, error) {
	ext, err := extensions(c)
	if err != nil {
		return trust.Signer{}, err
	}
	sum, err := certificate.SummarizeCertificate(c)
	if err != nil {
		return trust.Signer{}, fmt.Errorf("reading certificate: %w", err)
	}
	if n := len(c.EmailAddresses) + len(c.URIs) + len(c.DNSNames) + len(c.IPAddresses); n > 1 {
		return trust.Signer{}, fmt.Errorf("certificate has %d subject alternative names", n)
	}
	s := trust.Signer{Kind: trust.SignerSigstore, SAN: sum.SubjectAlternativeName, Issuer: ext[8]}
	if s.Issuer == "" {
		s.Issuer = ext[1]
	}
	if s.Issuer == "" && len(ext) == 0 && strings.HasPrefix(s.SAN, "https://") && strings.HasSuffix(s.SAN, GitHubReleases) {
		s.Issuer = s.SAN
	}
	if s.Issuer == "" {
		return trust.Signer{}, fmt.Errorf("certificate without issuer")
	}
	if s.SAN == "" {
		return trust.Signer{}, fmt.Errorf("certificate without subject alternative name")
	}
	gitHub := isGitHubIssuer(s.Issuer)
	legacyRepo := ext[5]
	if legacyRepo != "" && !strings.Contains(legacyRepo, "://") {
		host := "https://github.com/"
		if !gitHub {
			host = issuerHost(s.Issuer)
		}
		legacyRepo = host + legacyRepo
	}
	for _, p := range []struct {
		old, new  int
		what      string
		oldV, val string
	}{
		{1, 8, "issuer", ext[1], ext[8]},
		{2, 20, "trigger", ext[2], ext[20]},
		{3, 13, "commit", ext[3], ext[13]},
		{5, 12, "source repository", legacyRepo, ext[12]},
		{6, 14, "ref", ext[6], ext[14]},
	} {
		if p.oldV != "" && p.val != "" && p.oldV != p.val {
			return trust.Signer{}, fmt.Errorf("certificate contradicts itself: %s is %q in extension .%d and %q in .%d", p.what, clip(p.oldV), p.old, clip(p.val), p.new)
		}
	}
	if ext[9] != "" && gitHub && ext[9] != s.SAN {
		return trust.Signer{}, fmt.Errorf("certificate contradicts itself: build signer is %q and subject alternative name %q", clip(ext[9]), clip(s.SAN))
	}
	repo := ext[12]
	if repo == "" && legacyRepo != "" {
		repo, s.Legacy = legacyRepo, true
	}
	if repo == "" {
		if ext[15] != "" || ext[13] != "" || ext[18] != "" {
			return trust.Signer{}, fmt.Errorf("certificate names a build without a source repository")
		}
		return s, s.Validate()
	}
	if s.SourceRepository, err = repositoryURL(repo); err != nil {
		return trust.Signer{}, fmt.Errorf("certificate's source repository: %w", err)
	}
	if gitHub && !strings.HasPrefix(s.SourceRepository, "https://github.com/") {
		return trust.Signer{}, fmt.Errorf("certificate of issuer %q names the repository %q", clip(s.Issuer), clip(repo))
	}
	s.SourceRepositoryID, s.SourceOwnerID = ext[15], ext[17]
	s.SourceOwner = strings.ToLower(strings.TrimSuffix(ext[16], "/"))
	if s.SourceOwner == "" {
		s.SourceOwner = s.SourceRepository[:strings.LastIndexByte(s.SourceRepository, '/')]
	}
	if !strings.HasPrefix(s.SourceRepository, s.SourceOwner+"/") && foldedHost(s.SourceRepository) {
		return trust.Signer{}, fmt.Errorf("certificate contradicts itself: repository %q is not of owner %q", clip(repo), clip(ext[16]))
	}
	first := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	s.SourceRef, s.Commit = first(ext[14], ext[6]), first(ext[13], ext[3])
	s.Trigger, s.Runner, s.Environment = first(ext[20], ext[2]), ext[11], ext[23]
	s.Workflow = workflowPath(first(ext[18], s.SAN), s.SourceRepository)
	return s, s.Validate()
}

// workflowPath reduces "https://host/owner/repo/path@ref" to the path inside
// the source repository, or to repository and path where it is another one.
func workflowPath(uri, repo string) string {
	u := uri
	if i := strings.LastIndexByte(u, '@'); i > 0 {
		u = u[:i]
	}
	if len(u) > len(repo) && u[len(repo)] == '/' {
		head := u[:len(repo)]
		if head == repo || (foldedHost(repo) && strings.EqualFold(head, repo)) {
			// GitLab writes "repo//path".
			return strings.TrimLeft(u[len(repo):], "/")
		}
	}
	return u
}

// isGitHubIssuer reports whether the issuer is GitHub Actions' or that of an
// enterprise on github.com ("…/<slug>").
func isGitHubIssuer(issuer string) bool {
	return issuer == trust.GitHubIssuer || strings.HasPrefix(issuer, trust.GitHubIssuer+"/")
}

func issuerHost(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return "https://invalid/"
	}
	return "https://" + u.Host + "/"
}

// foldedHost reports whether the host of an https URL ignores case in owner
// and repository names.
func foldedHost(u string) bool {
	return strings.HasPrefix(u, "https://github.com/") || strings.HasPrefix(u, "https://gitlab.com/")
}

// repositoryURL brings a repository URL into the form of trust.Signer: https,
// without user, query, ".git" and final slash; lower case where the host
// ignores case.
func repositoryURL(s string) (string, error) {
	s = strings.TrimPrefix(s, "git+")
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "" || u.Opaque != "" {
		return "", fmt.Errorf("%q is no https URL of a repository", clip(s))
	}
	path := strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), ".git")
	if path == "" || strings.Contains(path, "//") || strings.Contains(path, "/../") || strings.ContainsAny(path, "@\\") {
		return "", fmt.Errorf("%q is no https URL of a repository", clip(s))
	}
	out := "https://" + strings.ToLower(u.Host) + path
	if foldedHost(out) {
		// Names there are ASCII: other letters could fold into one of them.
		if strings.ContainsFunc(out, func(r rune) bool { return r > unicode.MaxASCII }) {
			return "", fmt.Errorf("%q is no repository of that host", clip(s))
		}
		out = strings.ToLower(out)
	}
	return out, nil
}

// untrustedRun says why a run of a workflow cannot speak for its repository,
// or returns "".
func untrustedRun(s trust.Signer) string {
	switch {
	case !s.IsWorkflow():
		return ""
	case strings.HasPrefix(s.SourceRef, "refs/pull/") || strings.HasPrefix(s.SourceRef, "refs/merge-requests/"):
		return "built from " + s.SourceRef
	case strings.HasPrefix(s.Trigger, "pull_request") || s.Trigger == "merge_request_event" || s.Trigger == "ssh-rerun":
		return "built on the event " + s.Trigger
	case strings.Contains(s.SAN, "@refs/pull/"):
		return "built by the workflow of a pull request"
	}
	return ""
}

// foreignRunner reports a runner that is not the forge's own.
func foreignRunner(s trust.Signer) bool {
	return s.IsWorkflow() && s.Runner != "" && !strings.HasSuffix(s.Runner, "-hosted") || s.Runner == "self-hosted"
}
