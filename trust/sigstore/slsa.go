package sigstore

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/headgate/headgate/trust"
)

// Provenance is what a verified SLSA provenance says of the build, after it was
// found to agree with the certificate.
type Provenance struct {
	Builder    string // builder.id, written by the workflow
	BuildType  string
	Repository string // https URL, as trust.Signer.SourceRepository
	Ref        string // empty where the predicate states none
	Commit     string
	Workflow   string // empty where the predicate states none
	Invocation string
}

// slsaPredicate has the fields of SLSA provenance v0.2 and v1 that are bound to
// the certificate. Keys were checked by CheckJSON before, so that encoding/json
// cannot take another key for one of these: fold-equal keys are refused there,
// and a lone key in another case is found by exactKeys.
type slsaPredicate struct {
	BuildType string `json:"buildType"`
	Builder   struct {
		ID string `json:"id"`
	} `json:"builder"`
	Invocation struct {
		ConfigSource struct {
			URI        string            `json:"uri"`
			Digest     map[string]string `json:"digest"`
			EntryPoint string            `json:"entryPoint"`
		} `json:"configSource"`
		Environment map[string]json.RawMessage `json:"environment"`
	} `json:"invocation"`
	Metadata struct {
		BuildInvocationID string `json:"buildInvocationId"`
	} `json:"metadata"`
	Materials []slsaResource `json:"materials"`

	BuildDefinition struct {
		BuildType          string `json:"buildType"`
		ExternalParameters struct {
			Workflow struct {
				Ref        string `json:"ref"`
				Repository string `json:"repository"`
				Path       string `json:"path"`
			} `json:"workflow"`
		} `json:"externalParameters"`
		InternalParameters struct {
			GitHub map[string]json.RawMessage `json:"github"`
		} `json:"internalParameters"`
		ResolvedDependencies []slsaResource `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata struct {
			InvocationID string `json:"invocationId"`
		} `json:"metadata"`
	} `json:"runDetails"`
}

type slsaResource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// boundKeys are the keys of slsaPredicate; the same name in another case is refused.
var boundKeys = func() map[string]string {
	m := map[string]string{}
	for _, k := range []string{"buildType", "builder", "id", "invocation", "configSource", "uri", "digest", "entryPoint", "environment", "metadata",
		"buildInvocationId", "materials", "buildDefinition", "externalParameters", "workflow", "ref", "repository", "path", "internalParameters",
		"github", "resolvedDependencies", "runDetails", "invocationId"} {
		m[fold(k)] = k
	}
	return m
}()

func exactKeys(v any) error {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if want, ok := boundKeys[fold(k)]; ok && want != k && k != strings.ToUpper(k) {
				return fmt.Errorf("key %q where %q belongs", clip(k), want)
			}
			if err := exactKeys(e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := exactKeys(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkProvenance compares the predicate, which the workflow wrote, with the
// certificate, which Fulcio issued from the forge's token. Source repository
// and commit have to be there and equal; ref, workflow, event and immutable ids
// have to be equal where both sides state them.
func checkProvenance(st Statement, s trust.Signer) (Provenance, error) {
	wrong := func(format string, args ...any) (Provenance, error) {
		return Provenance{}, failed(trust.ReasonWrongPredicate, "provenance contradicts its certificate: "+format, args...)
	}
	if !s.IsWorkflow() {
		return wrong("provenance signed by %s, which is no workflow", clip(s.SAN))
	}
	var any any
	if err := json.Unmarshal(st.Predicate, &any); err != nil {
		return Provenance{}, unreachable(trust.ReasonMalformed, "reading provenance: %w", err)
	}
	if err := exactKeys(any); err != nil {
		return Provenance{}, unreachable(trust.ReasonMalformed, "reading provenance: %w", err)
	}
	var p slsaPredicate
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return Provenance{}, unreachable(trust.ReasonMalformed, "reading provenance: %w", err)
	}
	var (
		out        Provenance
		uri        string
		digest     map[string]string
		claims     map[string]json.RawMessage
		id, owner  string
		event, sha string
		resources  []slsaResource
	)
	switch st.PredicateType {
	case PredicateProvenance02:
		src := p.Invocation.ConfigSource
		out = Provenance{Builder: p.Builder.ID, BuildType: p.BuildType, Workflow: src.EntryPoint, Invocation: p.Metadata.BuildInvocationID}
		uri, digest, resources = src.URI, src.Digest, p.Materials
		claims, id, owner, event, sha = p.Invocation.Environment, "GITHUB_REPOSITORY_ID", "GITHUB_REPOSITORY_OWNER_ID", "GITHUB_EVENT_NAME", "GITHUB_SHA"
	case PredicateProvenance1:
		b := p.BuildDefinition
		out = Provenance{Builder: p.RunDetails.Builder.ID, BuildType: b.BuildType, Workflow: b.ExternalParameters.Workflow.Path, Invocation: p.RunDetails.Metadata.InvocationID}
		if len(b.ResolvedDependencies) > 0 {
			uri, digest = b.ResolvedDependencies[0].URI, b.ResolvedDependencies[0].Digest
		}
		claims, id, owner, event = b.InternalParameters.GitHub, "repository_id", "repository_owner_id", "event_name"
		if r := b.ExternalParameters.Workflow.Repository; r != "" {
			// The top-level workflow's repository, which is the source repository save for
			// workflows that an organisation prescribes.
			if got, err := repositoryURL(r); err != nil || (got != s.SourceRepository && !strings.HasPrefix(s.Workflow, got+"/")) {
				return wrong("workflow of %q, certificate names %s", clip(r), s.SourceRepository)
			}
		}
		if r := b.ExternalParameters.Workflow.Ref; r != "" && s.SourceRef != "" && r != s.SourceRef {
			return wrong("workflow ref %q, certificate names %q", clip(r), clip(s.SourceRef))
		}
	default:
		return Provenance{}, unreachable(trust.ReasonUnsupported, "reading provenance: unknown version %q", clip(st.PredicateType))
	}
	if out.Builder == "" {
		return wrong("no builder")
	}
	repo, ref := splitSource(uri)
	got, err := repositoryURL(repo)
	if err != nil {
		return wrong("no source repository in %q", clip(uri))
	}
	if got != s.SourceRepository {
		return wrong("built from %s, certificate names %s", clip(got), s.SourceRepository)
	}
	out.Repository, out.Ref = got, ref
	if ref != "" && s.SourceRef != "" && ref != s.SourceRef {
		return wrong("ref %q, certificate names %q", clip(ref), clip(s.SourceRef))
	}
	for _, k := range []string{"gitCommit", "sha1"} {
		if v := digest[k]; v != "" {
			if out.Commit != "" && out.Commit != v {
				return wrong("two commits, %q and %q", clip(out.Commit), clip(v))
			}
			out.Commit = v
		}
	}
	if out.Commit == "" || s.Commit == "" || out.Commit != s.Commit {
		return wrong("commit %q, certificate names %q", clip(out.Commit), clip(s.Commit))
	}
	if len(resources) > 0 {
		r, _ := splitSource(resources[0].URI)
		if got, err := repositoryURL(r); err == nil && got == s.SourceRepository {
			if c := resources[0].Digest["sha1"]; c != "" && c != s.Commit {
				return wrong("first material is commit %q, certificate names %q", clip(c), clip(s.Commit))
			}
		}
	}
	if out.Workflow != "" && !s.Legacy && s.Workflow != "" {
		path, _, _ := strings.Cut(out.Workflow, "@")
		full := s.Workflow
		if !strings.Contains(full, "://") {
			full = s.SourceRepository + "/" + full
		}
		// Old builders write owner/repository/path, newer ones the path alone.
		if !strings.HasSuffix(strings.ToLower(full), "/"+strings.ToLower(strings.TrimPrefix(path, "/"))) {
			return wrong("workflow %q, certificate names %q", clip(out.Workflow), clip(s.Workflow))
		}
	}
	for _, c := range []struct{ key, want string }{{id, s.SourceRepositoryID}, {owner, s.SourceOwnerID}, {event, s.Trigger}, {sha, s.Commit}} {
		raw, ok := claims[c.key]
		if !ok || c.key == "" || c.want == "" {
			continue
		}
		v := strings.Trim(string(raw), `"`)
		if v != "" && v != c.want {
			return wrong("%s %q, certificate names %q", c.key, clip(v), clip(c.want))
		}
	}
	return out, nil
}

// splitSource splits "git+https://host/owner/repo@ref".
func splitSource(uri string) (repo, ref string) {
	scheme := strings.Index(uri, "://")
	if i := strings.LastIndexByte(uri, '@'); i > scheme+3 && strings.IndexByte(uri[scheme+3:], '/') >= 0 && i > scheme+3+strings.IndexByte(uri[scheme+3:], '/') {
		// A ref may contain "@": it starts at the first one behind the host.
		host := scheme + 3 + strings.IndexByte(uri[scheme+3:], '/')
		at := host + strings.IndexByte(uri[host:], '@')
		return uri[:at], uri[at+1:]
	}
	return uri, ""
}
