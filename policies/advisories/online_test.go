package advisories

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// plain is an HTTP over net/http for tests.
type plain struct{}

func (plain) do(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

func (p plain) Get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return p.do(req)
}

func (p plain) PostJSON(ctx context.Context, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return p.do(req)
}

// api speaks OSV's batch protocol, one id a page.
func api(t *testing.T, byPackage map[string][]string, records map[string]string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/querybatch", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Queries []batchQuery }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, "bad", http.StatusBadRequest)
			return
		}
		var results []string
		for _, q := range q.Queries {
			ids := byPackage[q.Package.Ecosystem+" "+q.Package.Name]
			page := 0
			if q.PageToken != "" {
				fmt.Sscan(q.PageToken, &page)
			}
			switch {
			case page >= len(ids):
				results = append(results, `{}`)
			case page == len(ids)-1:
				results = append(results, fmt.Sprintf(`{"vulns":[{"id":%q}]}`, ids[page]))
			default:
				results = append(results, fmt.Sprintf(`{"vulns":[{"id":%q}],"next_page_token":"%d"}`, ids[page], page+1))
			}
		}
		fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(results, ","))
	})
	mux.HandleFunc("GET /v1/vulns/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, ok := records[r.PathValue("id")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, body)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestOnline(t *testing.T) {
	ctx := context.Background()
	records := map[string]string{
		"A": rec("A", "npm", "@s/x", `,"versions":["1.0.0"]`),
		"B": rec("B", "npm", "@s/x", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.1.0"}]}]`),
		"C": `{"id":"C","withdrawn":"2030-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"@s/x"}}]}`,
		"D": rec("D", "PyPI", "@s/x", ``),
	}
	s := api(t, map[string][]string{"npm @s/x": {"A", "B", "C", "D"}, "npm broken": {"MISSING"}}, records)
	old, fixed, broken, none := rel(t, "pkg:npm/%40s/x@1.0.0"), rel(t, "pkg:npm/%40s/x@1.1.0"), rel(t, "pkg:npm/broken@1.0.0"), rel(t, "pkg:npm/none@1.0.0")
	deb := rel(t, "pkg:deb/debian/xz@1?distro=debian-12")
	items := []Item{{Release: old}, {Release: fixed}, {Release: broken}, {Release: none}, {Release: deb}}
	ans := NewOnline(plain{}, s.URL, nil).Query(ctx, items)
	if ids(ans.Advisories[old]) != "A B" || len(ans.Advisories[fixed]) != 0 || len(ans.Advisories[none]) != 0 {
		t.Errorf("%+v", ans)
	}
	for r, want := range map[trust.Release]policies.State{old: policies.StateKnown, fixed: policies.StateKnown, none: policies.StateKnown, broken: policies.StateUnavailable, deb: policies.StateUnavailable} {
		if ans.States[r] != want {
			t.Errorf("%s: %s %s", r, ans.States[r], ans.Reasons[r])
		}
	}
	if got := FixedBy(ans, old, fixed); strings.Join(got, " ") != "A B" {
		t.Errorf("fixed: %q", got)
	}
	if got := FixedBy(ans, old, broken); got != nil {
		t.Errorf("fixed by what could not be looked up: %q", got)
	}
	// One that answers with another record, with too few results, endlessly, or not at all.
	lie := api(t, map[string][]string{"npm none": {"A"}}, map[string]string{"A": records["B"]})
	if a := NewOnline(plain{}, lie.URL, nil).Query(ctx, items[3:4]); a.States[none] != policies.StateUnavailable {
		t.Errorf("another record: %+v", a)
	}
	for name, body := range map[string]string{"too few": `{"results":[]}`, "endless": `{"results":[{"next_page_token":"x"}]}`, "malformed": `{`} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
		if a := NewOnline(plain{}, srv.URL, nil).Query(ctx, items[3:4]); a.States[none] != policies.StateUnavailable || a.Reasons[none] == "" {
			t.Errorf("%s: %+v", name, a)
		}
		srv.Close()
	}
	s.Close()
	if a := NewOnline(plain{}, s.URL, nil).Query(ctx, items[3:4]); a.States[none] != policies.StateUnavailable {
		t.Errorf("no network: %+v", a)
	}
}

func TestSuppressions(t *testing.T) {
	now := time.Date(2030, 5, 1, 0, 0, 0, 0, time.UTC)
	x, y := rel(t, "pkg:npm/x@1.0.0"), rel(t, "pkg:npm/y@1.0.0")
	found := func() []policies.Advisory {
		return []policies.Advisory{{ID: "GHSA-1", Aliases: []string{"CVE-1"}}, {ID: "MAL-1", Aliases: []string{"CVE-1"}, Malware: true}}
	}
	suppressed := func(ss []Suppression, err error, r trust.Release, at time.Time) bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		as := Apply(ss, r, found(), at)
		if as[1].Suppressed != "" {
			t.Error("malware was suppressed")
		}
		return as[0].Suppressed != ""
	}
	ss, err := ParseOSVScanner([]byte("[[IgnoredVulns]]\nid = \"CVE-1\"\nignoreUntil = 2030-05-02\nreason = \"not reachable\"\n"))
	if !suppressed(ss, err, x, now) || !suppressed(ss, err, x, now.Add(24*time.Hour-time.Second)) || suppressed(ss, err, x, now.Add(48*time.Hour)) {
		t.Errorf("toml: %+v", ss)
	}
	for _, bad := range []string{"[[IgnoredVulns]]\nid = \"CVE-1\"", "[[IgnoredVulns]]\nreason = \"x\"", "[[IgnoredVulns]]\nid = \"*\"\nreason = \"x\"", "[[PackageOverrides]]\nname = \"x\"\nignore = true", "="} {
		if _, err := ParseOSVScanner([]byte(bad)); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
	open := func(product, status, why string) string {
		return fmt.Sprintf(`{"@context":"https://openvex.dev/ns/v0.2.0","statements":[{"vulnerability":{"name":"CVE-1"},"products":[{"@id":%q}],"status":%q,"justification":%q}]}`, product, status, why)
	}
	cyclone := func(ref, state, why string) string {
		return fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"bom-ref":"c1","type":"library","name":"x","purl":"pkg:npm/x@1.0.0"}],"vulnerabilities":[{"id":"CVE-1","analysis":{"state":%q,"justification":%q},"affects":[{"ref":%q}]}]}`, state, why, ref)
	}
	for _, c := range []struct {
		doc  string
		x, y bool
	}{
		{open("pkg:npm/x@1.0.0", "not_affected", "component_not_present"), true, false},
		{open("pkg:npm/x", "not_affected", "component_not_present"), true, false},
		{open("pkg:npm/x@1.0.1", "not_affected", "component_not_present"), false, false},
		{open("pkg:npm/x@1.0.0", "not_affected", ""), false, false},
		{open("pkg:npm/x@1.0.0", "affected", "component_not_present"), false, false},
		{open("my product", "not_affected", "component_not_present"), false, false},
		{cyclone("c1", "not_affected", "code_not_reachable"), true, false},
		{cyclone("pkg:npm/x@1.0.0", "not_affected", "code_not_reachable"), true, false},
		{cyclone("c1", "exploitable", "code_not_reachable"), false, false},
		{cyclone("c1", "not_affected", ""), false, false},
		{cyclone("c2", "not_affected", "code_not_reachable"), false, false},
	} {
		ss, err := ParseVEX([]byte(c.doc))
		if suppressed(ss, err, x, now) != c.x || suppressed(ss, err, y, now) != c.y {
			t.Errorf("%s: %+v", c.doc, ss)
		}
	}
	later := `{"@context":"https://openvex.dev/ns/v0.2.0","statements":[
		{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/x"}],"status":"not_affected","justification":"w"},
		{"vulnerability":{"name":"CVE-1"},"products":[{"@id":"pkg:npm/x"}],"status":"affected"}]}`
	ss, err = ParseVEX([]byte(later))
	if suppressed(ss, err, x, now) {
		t.Error("an earlier statement survives a later one")
	}
	for _, bad := range []string{``, `{}`, `{"@context":"x"}`, `{"bomFormat":"CycloneDX","bomFormat":"CycloneDX"}`} {
		if _, err := ParseVEX([]byte(bad)); err == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
	kev, err := ParseKEV([]byte(`{"vulnerabilities":[{"cveID":"CVE-1"}]}`))
	if err != nil || !kev["CVE-1"] {
		t.Errorf("%v %v", kev, err)
	}
	if _, err := ParseKEV([]byte(`{"vulnerabilities":[]}`)); err == nil {
		t.Error("empty catalogue accepted")
	}
}
