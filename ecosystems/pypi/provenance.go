package pypi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// Bounds of a provenance document.
const (
	MaxProvenance   = 16 << 20
	MaxAttestations = 32 // over all publishers
)

// publisher is the index's unsigned word on who published (PEP 740).
type publisher struct {
	Kind       string  `json:"kind"`
	Repository string  `json:"repository"`
	Workflow   string  `json:"workflow"`
	Filepath   string  `json:"workflow_filepath"`
	Email      string  `json:"email"`
	Env        *string `json:"environment"`
}

// attestation is one attestation as a Sigstore bundle, with the publisher that
// the index names for it.
type attestation struct {
	publisher publisher
	bundle    []byte
	predicate string // as the statement says; not verified yet
}

// parseProvenance reads a PEP 740 provenance object and converts its
// attestations to bundles.
func parseProvenance(b []byte) ([]attestation, error) {
	if _, err := sigstore.CheckJSON(b); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the provenance document is malformed: %w", err)
	}
	var doc struct {
		Version int `json:"version"`
		Bundles []struct {
			Publisher    publisher         `json:"publisher"`
			Attestations []json.RawMessage `json:"attestations"`
		} `json:"attestation_bundles"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the provenance document is malformed: %w", err)
	}
	if doc.Version != 1 {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the provenance document has version %d, headgate reads version 1", doc.Version)
	}
	var out []attestation
	for _, bundle := range doc.Bundles {
		for _, raw := range bundle.Attestations {
			if len(out) == MaxAttestations {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "the provenance document holds more than %d attestations", MaxAttestations)
			}
			a, err := convert(raw)
			if err != nil {
				return nil, err
			}
			a.publisher = bundle.Publisher
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the provenance document holds no attestation")
	}
	return out, nil
}

// convert writes one PEP 740 attestation as a Sigstore bundle v0.3. Timestamps,
// which PEP 740 has no place for yet, are carried over where they appear.
func convert(raw []byte) (attestation, error) {
	malformed := func(err error) (attestation, error) {
		return attestation{}, trust.Undecidable(trust.ReasonMalformed, "an attestation is malformed: %w", err)
	}
	var a struct {
		Version  int `json:"version"`
		Material struct {
			Certificate string            `json:"certificate"`
			Entries     []json.RawMessage `json:"transparency_entries"`
			Timestamps  []json.RawMessage `json:"timestamps"`
		} `json:"verification_material"`
		Envelope struct {
			Statement string `json:"statement"`
			Signature string `json:"signature"`
		} `json:"envelope"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return malformed(err)
	}
	if a.Version != 1 {
		return attestation{}, trust.Undecidable(trust.ReasonUnsupported, "an attestation has version %d, headgate reads version 1", a.Version)
	}
	statement, err := base64.StdEncoding.DecodeString(a.Envelope.Statement)
	if err != nil {
		return malformed(fmt.Errorf("statement: %w", err))
	}
	st, err := sigstore.ParseStatement(statement)
	if err != nil {
		return malformed(err)
	}
	material := map[string]any{
		"certificate": map[string]string{"rawBytes": a.Material.Certificate},
		"tlogEntries": a.Material.Entries,
	}
	if len(a.Material.Timestamps) > 0 {
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": a.Material.Timestamps}
	}
	b, err := json.Marshal(map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": material,
		"dsseEnvelope": map[string]any{
			"payload": a.Envelope.Statement, "payloadType": sigstore.PayloadType,
			"signatures": []map[string]string{{"sig": a.Envelope.Signature}},
		},
	})
	if err != nil {
		return malformed(err)
	}
	return attestation{bundle: b, predicate: st.PredicateType}, nil
}

// repository is the https URL of the repository that the index names, "" if it
// names none.
func (p publisher) repository() string {
	switch p.Kind {
	case "GitHub":
		return "https://github.com/" + strings.ToLower(p.Repository)
	case "GitLab":
		return "https://gitlab.com/" + strings.ToLower(p.Repository)
	}
	return ""
}

// agrees compares the certificate with the index's word. The certificate is the
// proof; an index that names somebody else is a contradiction that a person has
// to look into.
func (p publisher) agrees(s trust.Signer, slsa bool) error {
	contradiction := func(what, index, cert string) error {
		return trust.Failure(trust.ReasonUntrustedSigner, "the index says that %s is %q, the certificate says %q", what, index, cert)
	}
	switch p.Kind {
	case "GitHub", "GitLab":
		issuer, file := trust.GitHubIssuer, ".github/workflows/"+p.Workflow
		if p.Kind == "GitLab" {
			issuer, file = trust.GitLabIssuer, p.Filepath
		}
		if s.Issuer != issuer && !(p.Kind == "GitHub" && strings.HasPrefix(s.Issuer, issuer+"/")) {
			return contradiction("the issuer", issuer, s.Issuer)
		}
		if !strings.EqualFold(s.SourceRepository, p.repository()) {
			return contradiction("the repository", p.repository(), s.SourceRepository)
		}
		// Any workflow of the repository may write the build provenance.
		if !slsa && s.Workflow != file {
			return contradiction("the workflow", file, s.Workflow)
		}
		return nil
	case "Google":
		if s.Issuer != googleIssuer || s.SAN != p.Email {
			return contradiction("the publisher", p.Email, s.SAN+" by "+s.Issuer)
		}
		return nil
	}
	return trust.Undecidable(trust.ReasonUnsupported, "the index names a publisher of the kind %.40q, which headgate does not know", p.Kind)
}

const googleIssuer = "https://accounts.google.com"

// expected says whether the signer is one of those that the lock file itself
// expects (PEP 751, attestation-identities). None expected means no demand. Of
// build provenance the repository is expected, and not the workflow: see agrees.
func expected(want []map[string]string, s trust.Signer, slsa bool) error {
	if len(want) == 0 {
		return nil
	}
	ok := slices.ContainsFunc(want, func(w map[string]string) bool {
		file := w["workflow_filepath"]
		p := publisher{Kind: w["kind"], Repository: w["repository"], Workflow: w["workflow"], Filepath: file, Email: w["email"]}
		if env := w["environment"]; env != "" && s.Environment != "" && env != s.Environment {
			return false
		}
		return p.agrees(s, slsa) == nil
	})
	if !ok {
		return trust.Failure(trust.ReasonUntrustedSigner, "the lock file expects other attestation identities than %s", s)
	}
	return nil
}

// integrityURL is where the index's own host serves the provenance of a file.
// The URL that the page states counts only if it leads to that host: a page must
// not send headgate elsewhere.
func integrityURL(index, stated string, r trust.Release, file string) (string, error) {
	base, err := url.Parse(index)
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(stated); err == nil && u.Scheme == base.Scheme && u.Host == base.Host && u.User == nil {
		return stated, nil
	}
	prefix := strings.TrimSuffix(strings.TrimSuffix(base.Path, "/"), "/simple")
	base.Path, base.RawPath = "", ""
	return base.String() + prefix + "/integrity/" + url.PathEscape(r.Package.Name) + "/" + url.PathEscape(r.Version) + "/" + url.PathEscape(file) + "/provenance", nil
}
