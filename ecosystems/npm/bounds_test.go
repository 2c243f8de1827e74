package npm

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/trust"
)

// recorder is a Getter that keeps what it was asked.
type recorder struct {
	upstream.Getter
	mu   sync.Mutex
	asks []upstream.Request
}

func (r *recorder) Get(ctx context.Context, q upstream.Request) (*upstream.Response, error) {
	r.mu.Lock()
	r.asks = append(r.asks, q)
	r.mu.Unlock()
	return r.Getter.Get(ctx, q)
}

func (r *recorder) Open(ctx context.Context, q upstream.Request) (adapter.Blob, error) {
	r.mu.Lock()
	r.asks = append(r.asks, q)
	r.mu.Unlock()
	return r.Getter.Open(ctx, q)
}

// Each request has its bound, goes to the configured registry alone, and allows
// no other host; tarballs are asked for by digest.
func TestRequestsAreBoundedAndStay(t *testing.T) {
	rec := &recorder{}
	g, a := setup(t, func(o *Options) { rec.Getter = o.Get; o.Get = rec })
	g.add(release{name: "a", version: "1.0.0", attest: true, edit: func(r obj, _ *[]any) {
		r["dist"].(obj)["tarball"] = "https://elsewhere.example.com/a/-/a-1.0.0.tgz"
	}})
	res, err := a.Collect(t.Context(), adapter.Request{Component: component(t, "a", "1.0.0", "", ""), Bytes: true})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, res, trust.CheckBytes, trust.Verified, "")
	bounds := map[string]int64{"/a": MaxPackument, "/-/npm/v1/attestations/a@1.0.0": MaxAttestation, "/a/-/a-1.0.0.tgz": MaxTarball}
	for _, q := range rec.asks {
		if !strings.HasPrefix(q.URL, g.base) || len(q.Allow) > 0 {
			t.Errorf("asked %s, allowing %v", q.URL, q.Allow)
		}
		path := "/" + strings.TrimPrefix(q.URL, g.base)
		if bounds[path] != q.MaxBytes {
			t.Errorf("%s is bounded by %d", path, q.MaxBytes)
		}
		if strings.HasSuffix(path, ".tgz") == q.Want.IsZero() {
			t.Errorf("%s wants %v", path, q.Want)
		}
		delete(bounds, path)
	}
	if len(bounds) > 0 {
		t.Errorf("not asked: %v", bounds)
	}
}

// tooLarge answers as the client does beyond a bound.
type tooLarge struct{ upstream.Getter }

func (tooLarge) Get(_ context.Context, q upstream.Request) (*upstream.Response, error) {
	return nil, &upstream.Error{Kind: upstream.KindTooLarge, URL: q.URL, Err: errors.New("larger than the bound")}
}

func TestErrorsOfTheClient(t *testing.T) {
	g, a := setup(t, func(o *Options) { o.Get = tooLarge{o.Get} })
	expect(t, g.collect(a, component(t, "a", "1.0.0", "", ""), 0), trust.CheckMetadata, trust.Unreachable, trust.ReasonTooLarge)
	for code, want := range map[int]trust.Reason{http.StatusNotFound: trust.ReasonNotFound, http.StatusGone: trust.ReasonNotFound, http.StatusTeapot: trust.ReasonNetwork} {
		if _, r := trust.Classify(status(&upstream.Response{Status: code}, "x")); r != want {
			t.Errorf("HTTP %d: %s", code, r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Collect(ctx, adapter.Request{Component: component(t, "a", "1.0.0", "", "")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
