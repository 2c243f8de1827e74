package golang

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"path"
	"strings"
	"sync"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

const (
	toolchain = "golang.org/toolchain" // the module that toolchains are downloaded as
	goMod     = "go.mod"               // artifact name of a module's go.mod file; the zip has none
)

// Config is the outside world of the adapter.
type Config struct {
	Getter upstream.Getter
	// State keeps the last tree head of the checksum database.
	State adapter.State
	// Env is what the user's environment says; EnvFromOS reads it.
	Env Environment
}

// Adapter implements adapter.Adapter and adapter.Fetcher for Go modules.
type Adapter struct {
	get upstream.Getter
	env Environment
	db  *database
}

var (
	_ adapter.Adapter = (*Adapter)(nil)
	_ adapter.Fetcher = (*Adapter)(nil)
)

// New returns the adapter; it does no I/O.
func New(cfg Config) (*Adapter, error) {
	if cfg.Getter == nil || cfg.State == nil {
		return nil, errors.New("the Go adapter needs an upstream client and trust state")
	}
	db, err := newDatabase(cfg.Env.SumDB, cfg.Getter, cfg.State)
	if err != nil {
		return nil, err
	}
	a := &Adapter{get: cfg.Getter, env: cfg.Env, db: db}
	db.tries = a.tries
	return a, nil
}

// Describe implements adapter.Adapter.
func (a *Adapter) Describe() adapter.Description {
	return adapter.Description{
		Name:      "Go",
		Types:     []string{"golang"},
		Sources:   []string{"go.mod with go.sum", "go.work with go.work.sum", "vendor/modules.txt", "SBOM"},
		Integrity: "go.sum's h1 hashes of zip and go.mod, against the checksum database",
		Registry:  "the checksum database's signed tree (" + a.db.cfg.Name + ")",
		Publisher: "–",
		Binding:   "the log's record names module and version; nobody signs for the author",
		Checks:    []trust.Check{trust.CheckChecksumDB, trust.CheckLockfile, trust.CheckBytes, trust.CheckVendored},
		Offers:    trust.AssuranceRegistry,
	}
}

// moduleOf returns the module path and version of a release.
func moduleOf(r trust.Release) module.Version {
	return module.Version{Path: path.Join(r.Package.Namespace, r.Package.Name), Version: r.Version}
}

// result gathers the evidence of one component.
type result struct {
	c  sbom.Component
	es []trust.Evidence
}

func (r *result) add(check trust.Check, art trust.Artifact, o trust.Outcome, reason trust.Reason, detail, remedy string) *trust.Evidence {
	r.es = append(r.es, trust.Evidence{Check: check, Outcome: o, Release: r.c.Release, Artifact: art, Reason: reason, Detail: detail, Remedy: remedy})
	return &r.es[len(r.es)-1]
}

// stated returns the component's artifacts, or one without digest.
func stated(c sbom.Component) []trust.Artifact {
	if len(c.Artifacts) == 0 {
		return []trust.Artifact{{}}
	}
	return c.Artifacts
}

// Collect implements adapter.Adapter.
func (a *Adapter) Collect(ctx context.Context, req adapter.Request) (adapter.Result, error) {
	if err := ctx.Err(); err != nil {
		return adapter.Result{}, err
	}
	c := req.Component
	m := moduleOf(c.Release)
	res := &result{c: c}
	if reason, detail, remedy := a.outside(c, m); reason != "" {
		o := trust.Absent
		if reason == trust.ReasonUnsupported || reason == trust.ReasonMalformed {
			o = trust.Unreachable
		}
		for _, art := range stated(c) {
			res.add(trust.CheckChecksumDB, art, o, reason, detail, remedy)
		}
		if err := a.vendoredOutside(ctx, res, m, reason, detail, req.Files); err != nil {
			return adapter.Result{}, err
		}
		out := adapter.Result{Evidence: res.es}
		if reason == trust.ReasonPrivate && !matches(a.env.NoProxy, m.Path) {
			out.Facts = a.facts(ctx, m)
		}
		return out, ctx.Err()
	}

	var out adapter.Result
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); out.Facts = a.facts(ctx, m) }()
	if req.History > 0 {
		wg.Add(1)
		go func() { defer wg.Done(); out.History = a.history(ctx, m, req.History) }()
	}
	rec, f, err := a.db.lookup(ctx, m)
	if err == nil {
		a.compare(res, m, rec, f)
		if req.Bytes && f == nil {
			err = a.bytes(ctx, res, m, rec)
		}
		if err == nil && f == nil {
			zip, _, f := rec.hashes(m)
			if f != nil {
				zip = trust.Digest{}
			}
			err = a.vendored(ctx, res, m, zip, req.Files)
		}
	}
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return adapter.Result{}, err
	}
	out.Evidence = res.es
	return out, nil
}

// outside says why the database is not asked about a component, if it is not.
func (a *Adapter) outside(c sbom.Component, m module.Version) (reason trust.Reason, detail, remedy string) {
	switch c.Kind {
	case sbom.KindPath, sbom.KindWorkspace:
		return trust.ReasonLocal, "replaced by or part of the local tree (" + c.Origin + "): there is nothing upstream to compare with", "review the local code as part of the change"
	case sbom.KindGit, sbom.KindURL, sbom.KindBundled:
		return trust.ReasonUnsupported, "a Go module comes from a module proxy, not from " + string(c.Kind), ""
	}
	if m.Path == "stdlib" {
		return trust.ReasonNotOffered, "the go line names a language version; the toolchain that builds the code is not part of the lock file", "add a toolchain line, and verify the toolchain that you install"
	}
	if m.Version == "" {
		return trust.ReasonMalformed, "the module has no version", "pin it in go.mod"
	}
	if err := module.Check(m.Path, m.Version); err != nil {
		return trust.ReasonMalformed, err.Error(), "correct the entry"
	}
	if module.CanonicalVersion(m.Version) != m.Version {
		return trust.ReasonMalformed, fmt.Sprintf("version %q is not canonical", m.Version), "correct the entry"
	}
	if m.Path == toolchain {
		if !strings.Contains(strings.TrimPrefix(m.Version, "v0.0.1-go"), ".") || !strings.Contains(m.Version, "-go") || strings.Count(m.Version, "-") < 2 {
			return trust.ReasonNotCovered, "the toolchain line names no platform; the database has one record per platform", "the go command checks the toolchain it downloads against the same database"
		}
		return "", "", "" // checked even where the database is switched off
	}
	if a.env.SumDB.Off {
		return trust.ReasonNotOffered, "GOSUMDB=off in your own environment: the checksum database is not asked", "unset GOSUMDB"
	}
	if matches(a.env.NoSumDB, m.Path) {
		return trust.ReasonPrivate, "GONOSUMDB or GOPRIVATE of your own environment excludes the module: the checksum database is not asked", "approve the module with its hash"
	}
	return "", "", ""
}

// compare holds what the component states against the authenticated record.
func (a *Adapter) compare(res *result, m module.Version, rec *record, f *failure) {
	var zip, mod trust.Digest
	if f == nil {
		zip, mod, f = rec.hashes(m)
	}
	arts := stated(res.c)
	hasZip := false
	for _, art := range arts {
		hasZip = hasZip || art.Name != goMod
	}
	if !hasZip { // go.sum knows the go.mod file alone: what the zip should be is still worth saying
		arts = append([]trust.Artifact{{}}, arts...)
	}
	for _, art := range arts {
		if f != nil {
			e := res.add(trust.CheckChecksumDB, art, f.outcome, f.reason, f.err.Error(), remedyFor(f))
			a.source(e, rec)
			continue
		}
		want := zip
		if art.Name == goMod {
			want = mod
		}
		a.hold(res, m, rec, art, want)
	}
}

func remedyFor(f *failure) string {
	switch f.reason {
	case trust.ReasonNetwork, trust.ReasonRateLimited:
		return "run the check again later"
	case trust.ReasonLogMisbehaviour:
		return "do not use the module; report the recorded proof to the database's operators"
	}
	return ""
}

// hold compares one artifact with the hash that the record has for it.
func (a *Adapter) hold(res *result, m module.Version, rec *record, art trust.Artifact, want trust.Digest) {
	what := "module"
	if art.Name == goMod {
		what = "go.mod"
	}
	if want.IsZero() {
		a.source(res.add(trust.CheckChecksumDB, art, trust.Failed, trust.ReasonWrongSubject, "the database's record has no hash of the "+what+" of "+m.String(), ""), rec)
		return
	}
	n := 0
	for _, d := range art.Digests {
		if d.Algorithm != trust.DirHash1 {
			continue
		}
		n++
		if d.Equal(want) {
			continue
		}
		detail := fmt.Sprintf("the component states %s for the %s, the checksum database has %s", d, what, want)
		remedy := "delete the line from go.sum, run go mod download, and find out where the other hash came from"
		e := res.add(trust.CheckChecksumDB, art, trust.Failed, trust.ReasonWrongDigest, detail, remedy)
		signer := a.db.signer
		e.Signer = &signer
		a.source(e, rec)
		res.add(trust.CheckLockfile, art, trust.Failed, trust.ReasonWrongDigest, detail, remedy)
		return
	}
	signedArt := art
	if n == 0 {
		signedArt.Digests = trust.Digests{want}
	}
	e := res.add(trust.CheckChecksumDB, signedArt, trust.Verified, "", fmt.Sprintf("record %d of the database has %s for the %s", rec.index, want, what), "")
	signer := a.db.signer
	e.Signer, e.Assurance = &signer, trust.AssuranceRegistry
	a.source(e, rec)
	if n == 0 {
		res.add(trust.CheckLockfile, art, trust.Absent, trust.ReasonNoLockDigest, "no h1 hash of the "+what+" is stated", "run go mod tidy (or go mod download) and commit go.sum")
		return
	}
	res.add(trust.CheckLockfile, art, trust.Verified, "", fmt.Sprintf("stated and authenticated hash are both %s", want), "")
}

// source notes what was judged: the record with its signed tree head.
func (a *Adapter) source(e *trust.Evidence, rec *record) {
	sum := sha256.Sum256([]byte(a.db.cfg.Key))
	e.Root = trust.DigestOf(trust.SHA256, sum[:])
	if rec == nil {
		return
	}
	e.Source = rec.url
	e.Logs = []trust.LogEntry{{Log: a.db.cfg.Name, Index: rec.index}}
	e.Raw = []trust.Raw{trust.NewRaw(rawNote, "text/plain", rec.raw), trust.NewRaw(trust.RawLogKey, "text/plain", []byte(a.db.cfg.Key))}
	if proof := a.db.prove(rec.index); proof != nil {
		e.Raw = append(e.Raw, trust.NewRaw(trust.RawLogProof, "text/plain", proof))
	}
}

// bytes fetches the stated artifacts and compares their hashes.
func (a *Adapter) bytes(ctx context.Context, res *result, m module.Version, rec *record) error {
	zip, mod, f := rec.hashes(m)
	if f != nil {
		return nil
	}
	for _, art := range stated(res.c) {
		if art.Digests.Get(trust.DirHash1).IsZero() {
			art.Digests = trust.Digests{zip}
			if art.Name == goMod {
				art.Digests = trust.Digests{mod}
			}
		}
		b, err := a.fetch(ctx, m, art)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			o, r := fetchFailure(err)
			res.add(trust.CheckBytes, art, o, r, err.Error(), "")
			continue
		}
		b.Close()
		res.add(trust.CheckBytes, art, trust.Verified, "", fmt.Sprintf("%d fetched bytes hash to %s", b.Size(), art.Digests.Get(trust.DirHash1)), "")
	}
	return nil
}

// fetchFailure says what an error of fetch amounts to.
func fetchFailure(err error) (trust.Outcome, trust.Reason) {
	var ue *upstream.Error
	switch {
	case errors.As(err, &ue):
		return ue.Reason()
	case errors.Is(err, errOff):
		return trust.Unreachable, trust.ReasonOffline
	case errors.Is(err, errDirect):
		return trust.Unreachable, trust.ReasonUnsupported
	case errors.Is(err, errNotThere):
		return trust.Unreachable, trust.ReasonNotFound
	}
	return trust.Unreachable, trust.ReasonNetwork
}

// Fetch implements adapter.Fetcher.
func (a *Adapter) Fetch(ctx context.Context, c sbom.Component, art trust.Artifact) (adapter.Blob, error) {
	m := moduleOf(c.Release)
	if err := module.Check(m.Path, m.Version); err != nil {
		return nil, err
	}
	return a.fetch(ctx, m, art)
}

// Notes are settings of the user's environment that headgate does not follow.
func (a *Adapter) Notes() []string { return a.env.Notes }
