package sbom

import (
	"cmp"
	"maps"
	"slices"

	"github.com/headgate/headgate/trust"
)

// Kind is where a component's code comes from. Only Registry components are
// packages of a registry; every other kind says that the purl must not be
// looked up as if it were one.
type Kind string

// Kinds of component.
const (
	KindRegistry  Kind = "registry"  // from a package registry (or module proxy, image registry, distribution)
	KindGit       Kind = "git"       // from a git repository, by commit or ref
	KindURL       Kind = "url"       // from an http(s) URL that is no registry
	KindPath      Kind = "path"      // from a directory or file of the project or beside it
	KindWorkspace Kind = "workspace" // the project itself or a member of its workspace
	KindBundled   Kind = "bundled"   // inside another package's artifact; no record of its own
	KindToolchain Kind = "toolchain" // language toolchain or standard library
	KindUnknown   Kind = "unknown"   // the source does not say; gated as if it came from the registry, never passed by default
)

// Scope is what a component is used for.
type Scope string

// Scopes. Unknown counts as runtime.
const (
	ScopeUnknown     Scope = ""
	ScopeRuntime     Scope = "runtime"
	ScopeDevelopment Scope = "development"
	ScopeOptional    Scope = "optional"
	// ScopeUnused is what a lock file names and no build uses: modules of go.sum that
	// are not in the build list of a pruned go.mod. It is held to its digest, and
	// counts as new once it is used.
	ScopeUnused Scope = "unused"
)

// Wider returns the scope that reaches further, a where both reach as far.
func Wider(a, b Scope) Scope {
	if reach(b) > reach(a) {
		return b
	}
	return a
}

// Relation is whether the project itself asks for a component.
type Relation string

// Relations.
const (
	RelationUnknown    Relation = ""
	RelationDirect     Relation = "direct"
	RelationTransitive Relation = "transitive"
)

// Component is one entry of an inventory.
type Component struct {
	Release   trust.Release    `json:"purl"`
	Kind      Kind             `json:"kind"`
	Scope     Scope            `json:"scope,omitempty"`
	Relation  Relation         `json:"relation,omitempty"`
	Locations []trust.Location `json:"locations,omitempty"`
	// Artifacts are the files that the source states, with their digests and URLs;
	// one without name for ecosystems whose releases have one file.
	Artifacts []trust.Artifact `json:"artifacts,omitempty"`
	// Registry is the base URL of the registry that the source names, if any.
	Registry string `json:"registry,omitempty"`
	// Origin is the git URL, http URL or path of components that are not from a registry.
	Origin string `json:"origin,omitempty"`
	// Commit is the git commit of a git component, lower-case hex, or the ref as
	// written where it is not pinned (Pinned false).
	Commit string `json:"commit,omitempty"`
	Pinned bool   `json:"pinned,omitempty"`
	// Alias is the name under which the component is installed, where it differs
	// from the package's own ("npm:" aliases, Cargo renames, Go replace).
	Alias string `json:"alias,omitempty"`
	// Replaces is the release that this one stands in for (Go replace).
	Replaces trust.Release `json:"replaces,omitzero"`
	// Problems are what is wrong with this entry alone, in sentences
	// ("integrity is SHA-1 only", "only Syft sees this package").
	Problems []Problem `json:"problems,omitempty"`
	Licenses []string  `json:"licenses,omitempty"`
	// Expect is what the source itself says beside the pin: identities (PEP 751
	// attestation-identities, Gradle's trusted keys) and the version that a comment
	// claims for a commit (ExpectVersion). Expectations to check, never trust.
	Expect []map[string]string `json:"expect,omitempty"`
	// InstallCode is what the lock file says of code run at install time.
	InstallCode bool `json:"installCode,omitempty"`
	// Vendored names the files that a vendor directory of the source holds of the
	// module, by a hash over their paths and git object ids; "" if there are none.
	Vendored string `json:"vendored,omitempty"`
	// Signer and Verdict are never read from a source.
}

// ImportedAs is the name by which code imports the component: that of the
// package whose place it takes, where it takes one's.
func (c *Component) ImportedAs() string {
	if !c.Replaces.IsZero() {
		return c.Replaces.Package.FullName()
	}
	return c.Release.Package.FullName()
}

// ExpectVersion is the kind of an expectation whose "version" a comment beside a
// commit claims: "uses: o/r@<commit> # v4.1.1".
const ExpectVersion = "version-comment"

// AddExpectations adds those that the component does not have yet.
func (c *Component) AddExpectations(more []map[string]string) {
	for _, x := range more {
		if !slices.ContainsFunc(c.Expect, func(o map[string]string) bool { return maps.Equal(o, x) }) {
			c.Expect = append(c.Expect, x)
		}
	}
}

// Problem is something an inventory cannot vouch for. Any problem makes the
// inventory partial, and a partial inventory is never silently complete.
type Problem struct {
	Code     ProblemCode    `json:"code"`
	Detail   string         `json:"detail"`
	Remedy   string         `json:"remedy,omitempty"`
	Location trust.Location `json:"location,omitzero"`
}

// ProblemCode is a stable name of a Problem.
type ProblemCode string

// Problems.
const (
	ProblemUnparsable  ProblemCode = "unparsable"   // a dependency file could not be read or is malformed
	ProblemNoLock      ProblemCode = "no-lock-file" // a manifest with dependencies and no lock file
	ProblemConflict    ProblemCode = "conflict"     // two lock files of one project disagree
	ProblemOneSided    ProblemCode = "one-sided"    // only Syft or only headgate's own reader sees the component
	ProblemNoDigest    ProblemCode = "no-digest"    // no digest, or an empty one, where the format has one
	ProblemWeakDigest  ProblemCode = "weak-digest"  // only MD5 or SHA-1
	ProblemUnpinned    ProblemCode = "unpinned"     // version range, branch or tag instead of an exact version
	ProblemSkipped     ProblemCode = "skipped"      // left out by rule or by a bound
	ProblemNoPURL      ProblemCode = "no-purl"      // SBOM component without a package URL
	ProblemBadPURL     ProblemCode = "bad-purl"     // package URL that does not parse
	ProblemUnsupported ProblemCode = "unsupported"  // version or feature of a format that headgate does not know
	ProblemDuplicate   ProblemCode = "duplicate"    // one entry twice with different contents
	ProblemAlias       ProblemCode = "alias"        // installed under another package's name
	ProblemMismatch    ProblemCode = "mismatch"     // the entry contradicts itself (name and URL of different packages)
)

// Source says what an inventory was read from.
type Source struct {
	Scheme   string `json:"scheme"`             // dir, file, sbom, oci-archive, oci-dir, docker-archive, registry, purl, git
	Name     string `json:"name"`               // as given by the user
	Revision string `json:"revision,omitempty"` // git commit, image digest, SBOM serial number
	Format   string `json:"format,omitempty"`   // "CycloneDX 1.6 JSON", "package-lock.json v3"
}

// File is a dependency file that was read, by digest.
type File struct {
	Path   string       `json:"path"`
	Format string       `json:"format"`
	Digest trust.Digest `json:"digest"`
}

// Inventory is all components of a source, sorted by purl.
type Inventory struct {
	Source     Source      `json:"source"`
	Components []Component `json:"components"`
	Files      []File      `json:"files,omitempty"`
	// Problems concern the inventory as a whole or one of its files.
	Problems []Problem `json:"problems,omitempty"`
}

// Partial reports whether the inventory is known to be incomplete or unsound as
// a whole; problems of single components do not count here.
func (inv *Inventory) Partial() bool { return len(inv.Problems) > 0 }

// Sort brings components, files and problems into their canonical order.
func (inv *Inventory) Sort() {
	sortByKey(inv.Components, Component.sortKey)
	slices.SortFunc(inv.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortStableFunc(inv.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Location.Path, b.Location.Path), cmp.Compare(a.Location.Line, b.Location.Line), cmp.Compare(a.Detail, b.Detail))
	})
}

// Key identifies a component within an inventory: its release and, for
// components that are not from a registry, where they come from.
func (c Component) Key() string {
	k := c.Release.PURL()
	if c.Kind != KindRegistry && c.Kind != KindUnknown {
		k += " " + string(c.Kind) + " " + c.Origin + " " + c.Commit
	}
	if c.Alias != "" {
		k += " as " + c.Alias
	}
	return k
}

func (c Component) place() string {
	if len(c.Locations) == 0 {
		return ""
	}
	return c.Locations[0].Path
}

func (c Component) sortKey() string { return c.Key() + "\x00" + c.place() }

// sortByKey sorts stably and makes each key once: keys are purls, which are
// dear to make.
func sortByKey[T any](s []T, key func(T) string) {
	type keyed struct {
		key string
		at  int
	}
	keys := make([]keyed, len(s))
	sorted := true
	for i := range s {
		keys[i] = keyed{key(s[i]), i}
		sorted = sorted && (i == 0 || keys[i-1].key <= keys[i].key)
	}
	if sorted {
		return
	}
	slices.SortFunc(keys, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.at, b.at)) })
	out := make([]T, len(s))
	for i, k := range keys {
		out[i] = s[k.at]
	}
	copy(s, out)
}
