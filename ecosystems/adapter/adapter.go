// Package adapter is the contract between the gate and the ecosystems.
//
// It refuses to let an adapter decide: adapters return evidence and facts, and
// nothing in this package can express a verdict.
package adapter

import (
	"context"
	"io"
	"io/fs"
	"time"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Adapter fetches and verifies the evidence of one ecosystem.
//
// Adapters are safe for concurrent use. They get the outside world (upstream
// client, clock, persisted state, trusted roots) by their constructor.
type Adapter interface {
	// Describe says what the adapter verifies, and how; it does no I/O.
	Describe() Description
	// Collect makes every check that the ecosystem allows for one component.
	//
	// It returns at least one piece of evidence per artifact that the component
	// states (or about the release, if it states none); each passes
	// trust.Evidence.Validate. What goes wrong upstream is evidence, not an error:
	// the error is for a cancelled context only. Evidence has the order in which
	// the checks were made, and is the same for the same upstream answers.
	//
	// A verified outcome means that name, version and digest all matched what the
	// component states. A component that states no digest still gets evidence about
	// the digest that upstream signs, with CheckLockfile absent beside it.
	Collect(ctx context.Context, req Request) (Result, error)
}

// Fetcher is an Adapter that can hand out an artifact's bytes for inspection.
type Fetcher interface {
	// Fetch opens the artifact whose digest is given. The bytes are verified
	// against the digest before the first of them is handed out: on any
	// difference Fetch returns an error and no reader.
	Fetch(ctx context.Context, c sbom.Component, a trust.Artifact) (Blob, error)
}

// Prefetcher is an Adapter that can ask upstream in bulk. Prefetch warms what
// Collect will ask for; it reports no errors, Collect will meet them again.
type Prefetcher interface {
	Prefetch(ctx context.Context, cs []sbom.Component)
}

// KindHandler is an Adapter that says which kinds of component, besides those of
// registries, it has an answer of its own for. Without it an adapter is never asked
// about git, path, workspace, URL and bundled dependencies, whose purl may name
// a registry package that is not what is used.
type KindHandler interface {
	Handles(kind sbom.Kind) bool
}

// Blob is a verified artifact. It is backed by memory or by an unlinked
// temporary file, never by a path that somebody else could reopen.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
	Name() string // file name, as upstream's URL has it; for display and format detection only
}

// Request asks for the evidence of one component.
type Request struct {
	Component sbom.Component
	// Bytes asks the adapter to fetch the artifacts and compare their digests even
	// where signed statements suffice.
	Bytes bool
	// Files is the scanned tree, for components whose code the source holds itself
	// (Component.Vendored); nil where there is none. What is in it is hostile.
	Files fs.FS
	// History is how many earlier releases to report on, newest first; 0 for none.
	History int
}

// Result is what an adapter found out.
type Result struct {
	Evidence []trust.Evidence
	Facts    trust.Facts
	History  []trust.History // newest first, without the release itself
}

// Description is one row of `headgate ecosystems`.
type Description struct {
	Name      string   // "npm"
	Types     []string // purl types that the adapter serves
	Sources   []string // lock files and other sources it knows
	Integrity string   // what binds lock file and bytes
	Registry  string   // what the registry signs, "–" if nothing
	Publisher string   // what the publisher signs
	Binding   string   // what ties the signer to the package name
	Checks    []trust.Check
	Offers    trust.Assurance // the assurance that every release of a healthy public package reaches
}

// Clock tells the time; tests inject theirs.
type Clock func() time.Time

// State is trust state of adapters that must outlive the cache, such as the
// last tree head of a checksum database. The store implements it.
type State interface {
	// Load returns the value of key, or nil if there is none.
	Load(ctx context.Context, key string) ([]byte, error)
	// Swap replaces old by new in one transaction and reports false, without
	// writing, if the value is not old. A nil old means that there must be none.
	Swap(ctx context.Context, key string, old, new []byte) (bool, error)
	// Alarm records misbehaviour of an upstream with its proof. It is no error path:
	// the evidence says failed besides.
	Alarm(ctx context.Context, about, detail string, proof []byte) error
}

// Materials hands out the key material that was pinned for a scope. The store
// implements it.
type Materials interface {
	Materials(ctx context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error)
}
