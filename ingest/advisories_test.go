package ingest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/policies/advisories"
	"github.com/headgate/headgate/trust"
)

// TestAdvisoryWeb: what the network may not do while advisories are fetched.
func TestAdvisoryWeb(t *testing.T) {
	var asked atomic.Int64
	var elsewhere *httptest.Server
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch r.URL.Path {
		case "/flaky":
			if n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			io.WriteString(w, "ok")
		case "/away":
			http.Redirect(w, r, elsewhere.URL+"/ok", http.StatusFound)
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		case "/part":
			w.Header().Set("Content-Range", "bytes "+r.URL.Query().Get("r"))
			w.WriteHeader(http.StatusPartialContent)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	elsewhere = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("redirected elsewhere") }))
	defer elsewhere.Close()
	web := ingest.NewWeb("headgate/test", []string{strings.TrimPrefix(srv.URL, "http://")}, false)
	web.Sleep = func(context.Context, time.Duration) error { return nil }
	get := func(path string) (answer string, requests int64, err error) {
		asked.Store(0)
		b, err := web.Get(t.Context(), srv.URL+path)
		return string(b), asked.Load(), err
	}
	if s, n, err := get("/flaky"); s != "ok" || err != nil || n != 3 {
		t.Errorf("flaky: %q %v after %d", s, err, n)
	}
	if _, n, err := get("/missing"); err == nil || n != 1 {
		t.Errorf("missing: %v after %d", err, n)
	}
	if _, _, err := get("/away"); err == nil {
		t.Error("a redirect to another host was followed")
	}
	if _, n, err := get("/endless"); err == nil || n != 1 {
		t.Errorf("endless: %v after %d", err, n)
	}
	for r, want := range map[string]int64{"5-9/10": 5, "0-0/*": 0, "5-9": -1, "x-9/10": -1, "-5/10": -1, "": -1} {
		b, err := web.OpenFrom(t.Context(), srv.URL+"/part?r="+r, 5, `"1"`)
		if (err == nil) != (want >= 0) || err == nil && b.From != want {
			t.Errorf("Content-Range %q: %v", r, err)
		}
		if err == nil {
			b.Close()
		}
	}
	strict := ingest.NewWeb("headgate/test", nil, false)
	if _, err := strict.Get(t.Context(), srv.URL+"/flaky"); err == nil {
		t.Error("plain http was spoken without leave")
	}
	asked.Store(0)
	if _, err := ingest.NewWeb("headgate/test", []string{strings.TrimPrefix(srv.URL, "http://")}, true).Get(t.Context(), srv.URL+"/flaky"); err == nil || asked.Load() != 0 {
		t.Errorf("offline: %v, asked %d times", err, asked.Load())
	}
}

// TestThreat068AdvisoriesOfInternalNames: nobody outside is asked for advisories
// of internal names either.
func TestThreat068AdvisoriesOfInternalNames(t *testing.T) {
	var told strings.Builder
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		told.Write(b)
		io.WriteString(w, `{"results":[{}]}`)
	}))
	defer srv.Close()
	web := ingest.NewWeb("headgate/test", []string{strings.TrimPrefix(srv.URL, "http://")}, false)
	src := ingest.OnlineAdvisories{API: advisories.NewOnline(web, srv.URL, nil), Ours: func(p trust.Package) bool { return p.Namespace == "@acme" }}
	own, other := comp(t, "pkg:npm/%40acme/a@1.0.0").Release, comp(t, "pkg:npm/b@1.0.0").Release
	ans := src.Query(t.Context(), []advisories.Item{{Release: own}, {Release: other}}, now)
	if strings.Contains(told.String(), "acme") || !strings.Contains(told.String(), `"b"`) {
		t.Errorf("told %s", told.String())
	}
	if ans.States[own] != policies.StateOff || ans.States[other] != policies.StateKnown {
		t.Errorf("states %v", ans.States)
	}
}
