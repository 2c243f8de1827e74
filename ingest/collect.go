package ingest

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// maxEvidence bounds what one adapter may return about one component.
const maxEvidence = 10_000

// collect gets the evidence of every item that has none yet. A panic of an
// adapter or verifier is evidence that could not be had; the only error is a
// cancelled context.
func (g *Gate) collect(ctx context.Context, work []*item, q Request, one *shared) error {
	jobs := g.Jobs
	if jobs <= 0 {
		jobs = DefaultJobs
	}
	jobs = min(jobs, MaxJobs)

	var mu sync.Mutex
	done := 0
	step := func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		if g.Progress != nil {
			g.Progress(done, len(work))
		}
	}
	var ask []*item
	for _, it := range work {
		switch {
		case g.internal(it.in.Component):
			it.in.Evidence = []trust.Evidence{unaskedInternal(it.in.Component)}
			it.earlier = nil
			step()
		case it.earlier != nil:
			it.in.Evidence, it.in.Facts, it.checked = it.earlier.evidence, it.earlier.facts, it.earlier.checked
			step()
		case !it.in.Adapter || !asks(g.Adapters[it.in.Component.Release.Package.Type], it.in.Component.Kind):
			it.in.Evidence = []trust.Evidence{unasked(it.in.Component, it.in.Adapter)}
			if e := &it.in.Evidence[0]; e.Reason == trust.ReasonNoAdapter && !it.in.Adapter && g.Unsupported != nil {
				e.Detail = g.Unsupported(it.in.Component.Release.Package.Type)
			}
			step()
		default:
			ask = append(ask, it)
		}
	}
	if len(ask) == 0 {
		return ctx.Err()
	}

	pre, pctx := errgroup.WithContext(ctx)
	byType := map[string][]sbom.Component{}
	for _, it := range ask {
		t := it.in.Component.Release.Package.Type
		byType[t] = append(byType[t], it.in.Component)
	}
	for typ, cs := range byType {
		if p, ok := g.Adapters[typ].(adapter.Prefetcher); ok && len(cs) > 1 {
			pre.Go(func() error {
				// Whatever goes wrong here, Collect meets again and says so.
				defer func() { _ = recover() }()
				p.Prefetch(pctx, cs)
				return nil
			})
		}
	}
	if err := pre.Wait(); err != nil {
		return err
	}

	eg, ectx := errgroup.WithContext(ctx)
	eg.SetLimit(jobs)
	for _, it := range ask {
		if ectx.Err() != nil {
			break
		}
		eg.Go(func() error {
			a := g.Adapters[it.in.Component.Release.Package.Type]
			res, err := ask1(ectx, a, adapter.Request{Component: it.in.Component, Bytes: q.Bytes, Files: q.Files, History: DefaultHistory})
			if ectx.Err() != nil {
				return ectx.Err()
			}
			if err != nil {
				res = adapter.Result{Evidence: []trust.Evidence{internal(it.in.Component, err.Error())}}
			}
			// A copy has just the size that is needed, not what appending left.
			it.in.Evidence, it.in.Facts, it.in.History = slices.Clone(withMetadata(it.in.Component, res)), res.Facts, res.History
			one.evidence(&it.in.Component, it.in.Evidence)
			step()
			return nil
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// ask1 calls the adapter and turns a panic, and evidence that breaks the
// contract, into evidence that proves nothing.
func ask1(ctx context.Context, a adapter.Adapter, q adapter.Request) (res adapter.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			ev := internal(q.Component, fmt.Sprintf("a verifier crashed: %v", p))
			ev.Raw = []trust.Raw{trust.NewRaw("stack", "text/plain", stack)}
			res, err = adapter.Result{Evidence: []trust.Evidence{ev}}, nil
		}
	}()
	res, err = a.Collect(ctx, q)
	if err != nil {
		return res, err
	}
	switch {
	case len(res.Evidence) == 0:
		return adapter.Result{}, fmt.Errorf("the %s adapter returned no evidence", q.Component.Release.Package.Type)
	case len(res.Evidence) > maxEvidence:
		return adapter.Result{}, fmt.Errorf("the %s adapter returned %d pieces of evidence, more than %d", q.Component.Release.Package.Type, len(res.Evidence), maxEvidence)
	}
	for i, e := range res.Evidence {
		err := e.Validate()
		if err == nil && (e.Release.Package != q.Component.Release.Package || e.Release.Version != q.Component.Release.Version) {
			err = fmt.Errorf("evidence is about %s", e.Release)
		}
		if err != nil {
			res.Evidence[i] = internal(q.Component, err.Error())
		}
	}
	return res, nil
}

// withMetadata says that the registry's record could not be had where an adapter
// only says so of the checks: without it, a time of publication that nobody could
// ask for would look like one that the registry does not know.
func withMetadata(c sbom.Component, res adapter.Result) []trust.Evidence {
	if !res.Facts.Published.IsZero() {
		return res.Evidence
	}
	var missing *trust.Evidence
	for i := range res.Evidence {
		e := &res.Evidence[i]
		if e.Check == trust.CheckMetadata {
			return res.Evidence
		}
		if e.Outcome == trust.Unreachable && missing == nil {
			missing = e
		}
	}
	if missing == nil {
		return res.Evidence
	}
	return append(res.Evidence, trust.Evidence{
		Check: trust.CheckMetadata, Outcome: trust.Unreachable, Release: c.Release, Reason: missing.Reason,
		Detail: "the registry's record of the release could not be had either", Source: missing.Source,
	})
}

func asks(a adapter.Adapter, k sbom.Kind) bool {
	switch k {
	case sbom.KindRegistry, sbom.KindToolchain, sbom.KindUnknown:
		return true
	}
	h, ok := a.(adapter.KindHandler)
	return ok && h.Handles(k)
}

func internal(c sbom.Component, detail string) trust.Evidence {
	return trust.Evidence{
		Check: trust.CheckMetadata, Outcome: trust.Unreachable, Release: c.Release, Reason: trust.ReasonInternal,
		Detail: detail, Remedy: "report this as a bug of headgate; nothing is known of the release until it is mended",
	}
}

// unasked is the evidence of components that no adapter is asked about.
func unasked(c sbom.Component, hasAdapter bool) trust.Evidence {
	if c.Kind != sbom.KindToolchain {
		if ev, ok := adapter.Elsewhere(c, "a registry"); ok && (hasAdapter || ev.Reason == trust.ReasonLocal) {
			return ev
		}
	}
	detail := fmt.Sprintf("headgate has no adapter for the ecosystem %q", c.Release.Package.Type)
	if hasAdapter {
		detail = fmt.Sprintf("components of kind %q are not looked up", c.Kind)
	}
	ev := adapter.Missing(trust.CheckMetadata, c.Release, adapter.Stated(c), trust.ReasonNoAdapter, "%s", detail)
	ev.Remedy = "headgate ecosystems"
	return ev
}
