package ingest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/ingest/mirror"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/store"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/authenticode"
)

// Bounds of looking into packages.
const (
	// InspectionJobs is how many packages are looked into at a time: each may hold
	// its largest file in memory.
	InspectionJobs = 4
	// MaxInspected bounds one artifact, in bytes.
	MaxInspected = 1 << 30
	// MaxInspectedFiles bounds the artifacts of one component.
	MaxInspectedFiles = 100
	// MaxRelease bounds all artifacts of one component, in bytes.
	MaxRelease = 2 << 30
)

// Contents looks inside packages.
type Contents struct {
	// Manifest returns the registry's own record of a release, for comparison with
	// the one inside the package; nil without error where the ecosystem has none.
	Manifest func(ctx context.Context, c sbom.Component) ([]byte, error)
	// Materials hands out the pinned roots of code signing certificates; nil for none.
	Materials adapter.Materials
	// Sources are git mirrors that packages are compared with; nil for none.
	Sources *mirror.Mirrors
	// Deep asks what the source of Go modules reaches.
	Deep bool
	// Clock is the time at which signatures without a timestamp are judged.
	Clock adapter.Clock
}

// errNothingStated says that a component has no digest by which its bytes could
// be had.
var errNothingStated = errors.New("the source states no digest of an artifact, so that nobody can say which bytes to look into")

// inspect looks into what the change adds or updates. A package that cannot be
// looked into is unavailable, with evidence that says why; the error is a
// cancelled context only.
func (g *Gate) inspect(ctx context.Context, work []*item, q Request) error {
	eg, ectx := errgroup.WithContext(ctx)
	eg.SetLimit(InspectionJobs)
	seen := &inspections{done: map[string]*inspection{}}
	for _, it := range work {
		it.in.InspectionState = policies.StateOff
		f, ok := g.Adapters[it.in.Component.Release.Package.Type].(adapter.Fetcher)
		if g.Contents == nil || !ok || !wantsInspection(it, q) || !asks(g.Adapters[it.in.Component.Release.Package.Type], it.in.Component.Kind) || g.internal(it.in.Component) {
			continue
		}
		eg.Go(func() error {
			obs, evidence, err := g.Contents.look(ectx, f, seen, it)
			if ectx.Err() != nil {
				return ectx.Err()
			}
			it.in.Inspection, it.in.InspectionState = obs, policies.StateKnown
			it.in.Evidence = slices.Concat(it.in.Evidence, evidence)
			if err != nil {
				it.in.InspectionState = policies.StateUnavailable
				e := adapter.Unverified(trust.CheckInspect, it.in.Component.Release, trust.Artifact{}, err)
				it.in.Evidence = append(slices.Clip(it.in.Evidence), e)
			}
			return nil
		})
	}
	return eg.Wait()
}

// wantsInspection: what is used, new, other than before, and not known by its bytes; and a
// release that is asked about by itself.
func wantsInspection(it *item, q Request) bool {
	if pinned, _ := it.seen(); pinned || q.Baseline != BaselineNone || it.in.Component.Release.Version == "" || it.in.Component.Scope == sbom.ScopeUnused {
		return false
	}
	switch it.in.Change {
	case policies.ChangeAdded, policies.ChangeVersion, policies.ChangeDigest:
		return true
	case policies.ChangePresent:
		return q.Inventory.Source.Scheme == "purl"
	}
	return false
}

// inspections are the reports of one run by digest: one artifact is looked into
// once, and every caller gets a copy to compare.
type inspections struct {
	mu   sync.Mutex
	done map[string]*inspection
}

type inspection struct {
	once   sync.Once
	report *inspect.Report
	err    error
}

func (s *inspections) get(key string) *inspection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done[key] == nil {
		s.done[key] = &inspection{}
	}
	return s.done[key]
}

// look inspects all artifacts of a component and compares each with that of the
// release before.
func (c *Contents) look(ctx context.Context, f adapter.Fetcher, seen *inspections, it *item) ([]policies.Observation, []trust.Evidence, error) {
	now := it.in.Component
	artifacts := strong(now.Artifacts)
	if len(artifacts) == 0 {
		artifacts = strong(verifiedArtifacts(it.in.Evidence))
	}
	stated := len(artifacts)
	artifacts = slices.DeleteFunc(artifacts, func(a trust.Artifact) bool { return onlyMetadata(fileName(a, nil)) })
	switch {
	case stated > 0 && len(artifacts) == 0:
		return nil, nil, nil // a module of the build graph whose code is not used
	case len(artifacts) == 0:
		return nil, nil, trust.Undecidable(trust.ReasonNoLockDigest, "%w", errNothingStated)
	case len(artifacts) > MaxInspectedFiles:
		return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the release has %d artifacts, more than %d", len(artifacts), MaxInspectedFiles)
	}
	var manifest []byte
	if c.Manifest != nil {
		var err error
		if manifest, err = c.Manifest(ctx, now); err != nil {
			return nil, nil, fmt.Errorf("the registry's record: %w", err)
		}
	}
	previous := before(it)
	var out []policies.Observation
	var evidence []trust.Evidence
	var errs []error
	left := int64(MaxRelease)
	for _, a := range artifacts {
		r, size, err := c.one(ctx, f, seen, now, a, manifest, left)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking into %s: %w", fileName(a, nil), err))
			continue
		}
		left -= size
		var prior *inspect.Report
		if b, ok := counterpart(previous, now.Release, a); ok && (c.Sources != nil || r.Comparable()) {
			prior, _, err = c.one(ctx, f, seen, *previous, b, nil, MaxRelease)
			if err != nil {
				// What became of the release before says nothing about this one, but
				// without it nobody can say what is new.
				errs = append(errs, trust.Undecidable(trust.ReasonNetwork, "looking into %s of %s, for comparison: %w", fileName(b, nil), previous.Release, err))
			}
		}
		inspect.Compare(r, prior)
		evidence = append(evidence, binaryEvidence(now.Release, a, r.Observations)...)
		if prior != nil {
			it.binaries = append(it.binaries, signersOf(prior.Observations)...)
		}
		if c.Sources != nil {
			obs, e := c.compareSource(ctx, it, a, r, prior)
			r.Observations, evidence = append(r.Observations, obs...), append(evidence, e)
		}
		for _, o := range r.Observations {
			if len(artifacts) > 1 {
				o.Entry = strings.TrimSuffix(fileName(a, nil)+"/"+o.Entry, "/")
			}
			out = append(out, o)
		}
	}
	return out, evidence, errors.Join(errs...)
}

// one inspects one artifact, once a run, and returns a report of the caller's own.
func (c *Contents) one(ctx context.Context, f adapter.Fetcher, seen *inspections, comp sbom.Component, a trust.Artifact, manifest []byte, left int64) (*inspect.Report, int64, error) {
	var size int64
	sum := sha256.Sum256(manifest)
	in := seen.get(comp.Release.PURL() + " " + a.Digests.Strongest().String() + " " + hex.EncodeToString(sum[:]))
	in.once.Do(func() {
		defer func() {
			if p := recover(); p != nil {
				in.err = trust.Undecidable(trust.ReasonInternal, "the inspection crashed: %v", p)
			}
		}()
		blob, err := f.Fetch(ctx, comp, a)
		if err != nil {
			in.err = err
			return
		}
		defer blob.Close()
		if size = blob.Size(); size > min(MaxInspected, left) {
			in.err = trust.Undecidable(trust.ReasonTooLarge, "%d bytes are too many to look into", size)
			return
		}
		judge, err := c.authenticode(ctx, comp.Release.Package)
		if err != nil {
			in.err = err
			return
		}
		in.report, in.err = inspect.Package(ctx, blob, size, inspect.Options{
			Release: comp.Release, FileName: fileName(a, blob), Manifest: manifest, Authenticode: judge, Blobs: c.Sources != nil, Deep: c.Deep,
		})
	})
	if in.err != nil {
		return nil, 0, in.err
	}
	r := *in.report
	r.Observations = slices.Clone(r.Observations)
	return &r, size, nil
}

// before is the component to compare with: what the base has, or what was
// accepted last.
func before(it *item) *sbom.Component {
	r := it.in.Component.Release
	if p := it.in.Previous; p != nil && p.Release.Package == r.Package {
		return p
	}
	var last *store.KnownRelease
	for i, k := range it.known {
		if k.Release != r && (last == nil || k.Last.After(last.Last)) {
			last = &it.known[i]
		}
	}
	if last == nil {
		return nil
	}
	return &sbom.Component{Release: last.Release, Kind: it.in.Component.Kind, Artifacts: last.Artifacts}
}

// counterpart is the artifact of the previous release that plays the same part:
// the only one, or the one whose name differs in the version alone.
func counterpart(previous *sbom.Component, now trust.Release, a trust.Artifact) (trust.Artifact, bool) {
	if previous == nil {
		return trust.Artifact{}, false
	}
	old := strong(previous.Artifacts)
	want := strings.ReplaceAll(fileName(a, nil), now.Version, "*")
	for _, b := range old {
		if strings.ReplaceAll(fileName(b, nil), previous.Release.Version, "*") == want {
			return b, true
		}
	}
	if len(old) == 1 {
		return old[0], true
	}
	return trust.Artifact{}, false
}

func strong(as []trust.Artifact) []trust.Artifact {
	var out []trust.Artifact
	for _, a := range as {
		// go.mod is a text that go.sum states beside the module's archive.
		if !a.Digests.Strongest().IsZero() && a.Name != "go.mod" {
			out = append(out, a)
		}
	}
	return out
}

// onlyMetadata reports whether a file describes a release and holds nothing of it.
func onlyMetadata(name string) bool {
	return strings.HasSuffix(name, ".mod") || strings.HasSuffix(name, ".pom")
}

// verifiedArtifacts are those that verified evidence is about, where the source
// itself states none.
func verifiedArtifacts(es []trust.Evidence) []trust.Artifact {
	var out []trust.Artifact
	for _, e := range es {
		d := e.Artifact.Digests.Strongest()
		if e.Outcome == trust.Verified && !d.IsZero() && !slices.ContainsFunc(out, func(a trust.Artifact) bool { return a.Digests.Strongest() == d }) {
			out = append(out, e.Artifact)
		}
	}
	return out
}

// fileName is upstream's name of an artifact, for formats and for people.
func fileName(a trust.Artifact, blob adapter.Blob) string {
	if blob != nil && path.Ext(blob.Name()) != "" {
		return blob.Name()
	}
	for _, s := range []string{a.Name, a.URL} {
		s, _, _ = strings.Cut(s, "#")
		s, _, _ = strings.Cut(s, "?")
		if b := path.Base(s); s != "" && b != "." && b != "/" {
			return b
		}
	}
	if blob != nil && blob.Name() != "" {
		return blob.Name()
	}
	return "artifact"
}

// authenticode returns the judge of Windows binaries under the roots that are
// pinned for the package. A root that cannot be read is an error: without it,
// other signers would look like unknown ones.
func (c *Contents) authenticode(ctx context.Context, p trust.Package) (func(io.ReaderAt, int64) inspect.Authenticode, error) {
	want := authenticode.Want{Now: c.Clock()}
	if c.Materials != nil {
		ms, err := c.Materials.Materials(ctx, trust.MaterialX509Root, p)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			roots, err := certificates(m.Data)
			if err != nil {
				return nil, trust.Undecidable(trust.ReasonMalformed, "reading the pinned root %q: %w", m.Name, err)
			}
			want.Roots = append(want.Roots, roots...)
			want.TimestampRoots = append(want.TimestampRoots, roots...)
		}
	}
	return func(r io.ReaderAt, size int64) inspect.Authenticode { return judgeBinary(r, size, want) }, nil
}

func certificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) > 0 {
		return out, nil
	}
	return x509.ParseCertificates(data)
}

// judgeBinary says of a Windows binary what a person has to know. The chain is
// judged at the time of its timestamp.
func judgeBinary(r io.ReaderAt, size int64, want authenticode.Want) inspect.Authenticode {
	f, err := authenticode.Open(r, size)
	if err != nil {
		switch outcome, reason := trust.Classify(err); {
		case reason == trust.ReasonHiddenData:
			return inspect.Authenticode{Signed: true, Hidden: fmt.Sprintf(
				"data hides behind the binary's digital signature: %s. Windows still shows the file as signed and unaltered, but nobody signed this data. The 3CX attack carried its malware so", strings.TrimPrefix(err.Error(), authenticode.HiddenPrefix))}
		case outcome == trust.Failed:
			return inspect.Authenticode{Signed: true, Invalid: err.Error()}
		}
		return inspect.Authenticode{Unreadable: err.Error()}
	}
	v := inspect.Authenticode{Signed: len(f.Signatures()) > 0}
	for _, s := range f.Signatures() {
		subject := s.Certificate().Subject.String()
		if len(want.Roots) == 0 {
			v.Unvouched = fmt.Sprintf("the signature is sound and names %q; no root is pinned that could vouch for it", subject)
		} else if ok, err := s.Verify(want); err != nil {
			v.Unvouched = fmt.Sprintf("the signature is sound and names %q, but no pinned root vouches for it: %v", subject, err)
		} else if v.Signer == nil {
			signer := ok.Signer()
			v.Signer = &signer
		}
		for _, e := range s.Extras() {
			switch e.Kind {
			case "unsigned-attribute", "unreadable-certificate":
				v.Extras = append(v.Extras, fmt.Sprintf("the binary's signature carries %d bytes that it does not cover (%s %s)", e.Size, e.Kind, e.Name))
			}
		}
	}
	if v.Signer != nil {
		v.Unvouched = ""
	}
	return v
}
