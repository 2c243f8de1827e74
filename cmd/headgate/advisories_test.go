package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// osvHost serves OSV's API, archives and CISA's catalogue.
type osvHost struct {
	records map[string]string // by id
	mu      sync.Mutex
	asked   []string
	cut     bool // archives break off in the middle, once
}

func (o *osvHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.URL.Path == "/v1/querybatch":
		body, _ := io.ReadAll(r.Body)
		o.asked = append(o.asked, string(body))
		var q struct {
			Queries []struct {
				Package struct{ Name, Ecosystem string }
			}
		}
		json.Unmarshal(body, &q)
		var results []any
		for _, q := range q.Queries {
			var vulns []any
			for id, rec := range o.records {
				if strings.Contains(rec, fmt.Sprintf(`"ecosystem":%q,"name":%q`, q.Package.Ecosystem, q.Package.Name)) {
					vulns = append(vulns, map[string]string{"id": id})
				}
			}
			results = append(results, map[string]any{"vulns": vulns})
		}
		json.NewEncoder(w).Encode(map[string]any{"results": results})
	case strings.HasPrefix(r.URL.Path, "/v1/vulns/"):
		io.WriteString(w, o.records[strings.TrimPrefix(r.URL.Path, "/v1/vulns/")])
	case r.URL.Path == "/kev.json":
		io.WriteString(w, `{"vulnerabilities":[{"cveID":"CVE-2024-1"}]}`)
	case r.URL.Path == "/npm/all.zip":
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		// In one order: what is continued must be the same document.
		for _, id := range slices.Sorted(maps.Keys(o.records)) {
			f, _ := z.Create(id + ".json")
			io.WriteString(f, o.records[id])
		}
		z.Close()
		w.Header().Set("ETag", `"v1"`)
		if o.cut {
			o.cut = false
			w.Header().Set("Content-Length", fmt.Sprint(b.Len()))
			w.Write(b.Bytes()[:b.Len()/2])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "all.zip", time.Now().Add(-time.Hour), bytes.NewReader(b.Bytes()))
	default:
		http.NotFound(w, r)
	}
}

func osvRecord(id, name, fixed, more string) string {
	return fmt.Sprintf(`{"schema_version":"1.6.0","id":%q,"modified":"2024-01-01T00:00:00Z","summary":"a flaw","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[{"package":{"ecosystem":"npm","name":%q},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":%q}]}]}]%s}`, id, name, fixed, more)
}

// TestAdvisoriesEverySource: online and offline say the same of an update; a
// release that mends an advisory need not cool down; VEX and ignores count from
// the base alone.
func TestAdvisoriesEverySource(t *testing.T) {
	for _, source := range []string{"online", "offline"} {
		t.Run(source, func(t *testing.T) {
			config := func(more string) string { return unsignedRegistry + "advisories:\n  source: " + source + "\n" + more }
			p := newProject(t, "leaky", config(""))
			osv := &osvHost{cut: true, records: map[string]string{
				"GHSA-old": osvRecord("GHSA-old", "leaky", "1.1.0", `,"aliases":["CVE-2024-1"]`),
				"GHSA-new": osvRecord("GHSA-new", "leaky", "3.0.0", ""),
			}}
			// Introduced later than what the project has.
			osv.records["GHSA-new"] = strings.Replace(osv.records["GHSA-new"], `"introduced":"0"`, `"introduced":"2.0.0"`, 1)
			srv := httptest.NewServer(osv)
			t.Cleanup(srv.Close)
			p.env[APIEnv], p.env[ArchivesEnv], p.env[KEVEnv] = srv.URL, srv.URL, srv.URL+"/kev.json"
			p.env[InsecureEnv] += "," + strings.TrimPrefix(srv.URL, "http://")
			for _, v := range []string{"1.0.0", "1.1.0", "2.0.0"} {
				p.reg.tarballs[v] = tarGzip(t, map[string][]byte{"package.json": []byte(`{"name":"leaky","version":"` + v + `"}`)})
			}
			p.reg.young = "1.1.0"
			p.lock("1.0.0")
			p.commit()
			if source == "offline" {
				if code, out := p.headgate("check", p.dir, "-o", "osv"); code == 0 || strings.Contains(out, `"results"`) || !strings.Contains(out, "were not looked up") {
					t.Errorf("osv-scanner's format without a database: exit %d\n%s", code, out)
				}
				if code, out := p.headgate("check", p.dir); code != 2 && code != 1 || !strings.Contains(out, "missing") {
					t.Errorf("without a database: exit %d\n%s", code, out)
				}
				if code, out := p.headgate("db", "update", "--only", "advisories", "--ecosystem", "npm"); code != 2 || !strings.Contains(out, "kept for the next try") {
					t.Fatalf("an archive that breaks off: exit %d\n%s", code, out)
				}
				if code, out := p.headgate("db", "update", "--only", "advisories", "--ecosystem", "npm"); code != 0 || !strings.Contains(out, "npm: 2 records") {
					t.Fatalf("update: exit %d\n%s", code, out)
				}
			}
			if code, out := p.headgate("init", p.dir); code != 0 {
				t.Fatalf("init: exit %d\n%s", code, out)
			}
			// 1.1.0 is an hour old and mends what 1.0.0 has.
			p.lock("1.1.0")
			if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 0 {
				t.Errorf("the fix: exit %d\n%s", code, out)
			}
			p.lock("2.0.0")
			code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes")
			if flat := strings.Join(strings.Fields(out), " "); code != 1 || !strings.Contains(flat, "GHSA-new (critical), fixed in 3.0.0") || !strings.Contains(flat, "use 3.0.0") {
				t.Errorf("a new flaw: exit %d\n%s", code, out)
			}
			_, out = p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "-q", "-o", "osv")
			var results struct {
				Results []struct {
					Source   struct{ Path string }
					Packages []struct {
						Package         struct{ Name, Version, Ecosystem string }
						Vulnerabilities []struct{ ID string }
					}
				}
			}
			if err := json.NewDecoder(strings.NewReader(out)).Decode(&results); err != nil || len(results.Results) != 1 || results.Results[0].Source.Path != "package-lock.json" ||
				results.Results[0].Packages[0].Vulnerabilities[0].ID != "GHSA-new" || results.Results[0].Packages[0].Package.Version != "2.0.0" {
				t.Errorf("osv-scanner's format: %v\n%s", err, out)
			}
			// What CISA knows to be exploited says so, whatever its age here.
			p.lock("1.0.0")
			want := map[string]string{"offline": `"kev": true`, "online": "known to be exploited is not at hand"}[source]
			if _, out := p.headgate("check", p.dir, "--no-reuse", "-o", "json"); !strings.Contains(out, want) {
				t.Errorf("the report does not say %q:\n%s", want, out)
			}
			p.lock("2.0.0")
			// The head cannot set it aside; the base can.
			p.write("osv-scanner.toml", "[[IgnoredVulns]]\nid = \"GHSA-new\"\nreason = \"only in the part that we leave out\"\n")
			p.write(ConfigFile, config("  osvScanner: osv-scanner.toml\n"))
			if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 1 || !strings.Contains(out, "GHSA-new") {
				t.Errorf("ignored by the head: exit %d\n%s", code, out)
			}
			p.lock("1.0.0")
			p.commit()
			p.lock("2.0.0")
			if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 0 {
				t.Errorf("ignored by the base: exit %d\n%s", code, out)
			}
			if _, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "-o", "json"); !strings.Contains(out, "only in the part that we leave out") {
				t.Errorf("the reason is not shown:\n%s", out)
			}
			// Malware is never set aside.
			p.reg.tarballs["2.0.1"] = tarGzip(t, map[string][]byte{"package.json": []byte(`{"name":"leaky","version":"2.0.1"}`)})
			osv.mu.Lock()
			osv.records["MAL-1"] = strings.Replace(osvRecord("MAL-1", "leaky", "9.0.0", ""), `"introduced":"0"`, `"introduced":"2.0.1"`, 1)
			osv.records["MAL-1"] = strings.Replace(osv.records["MAL-1"], "2024-01-01", "2024-02-01", 1)
			osv.mu.Unlock()
			if source == "offline" {
				if code, out := p.headgate("db", "update", "--only", "advisories"); code != 0 || !strings.Contains(out, "3 records") {
					t.Fatalf("second update: exit %d\n%s", code, out)
				}
			}
			p.lock("2.0.1")
			if code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes"); code != 1 || !strings.Contains(out, "known-malware") {
				t.Errorf("malware: exit %d\n%s", code, out)
			}
			// A file that the base names and does not have is an error, not "nothing ignored".
			p.lock("1.0.0")
			p.write(ConfigFile, config("  vex: [nowhere.json]\n"))
			p.commit()
			if code, out := p.headgate("check", p.dir, "--base", "HEAD"); code != 3 {
				t.Errorf("VEX that is not there: exit %d\n%s", code, out)
			}
			osv.mu.Lock()
			defer osv.mu.Unlock()
			if (source == "online") != (len(osv.asked) > 0) {
				t.Errorf("the API was asked %d times", len(osv.asked))
			}
		})
	}
}
