package advisories

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

func writeZip(t testing.TB, path string, records map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	zw := zip.NewWriter(f)
	for id, body := range records {
		w, err := zw.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func rec(id, eco, name, rest string) string {
	return fmt.Sprintf(`{"id":%q,"modified":"2030-01-02T00:00:00Z","affected":[{"package":{"ecosystem":%q,"name":%q}%s}]}`, id, eco, name, rest)
}

func rel(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func build(t testing.TB, eco string, records map[string]string) *Index {
	t.Helper()
	from := t.TempDir()
	writeZip(t, filepath.Join(from, eco, "all.zip"), records)
	x := Open(filepath.Join(t.TempDir(), "db"), 0)
	if _, err := x.Update(context.Background(), from, time.Now()); err != nil {
		t.Fatal(err)
	}
	return x
}

func ids(as []policies.Advisory) string {
	var out []string
	for _, a := range as {
		out = append(out, a.ID)
	}
	return strings.Join(out, " ")
}

func query(t testing.TB, x *Index, it Item) ([]policies.Advisory, policies.State) {
	t.Helper()
	a := x.Query(context.Background(), []Item{it}, time.Now())
	return a.Advisories[it.Release], a.States[it.Release]
}

func TestMatching(t *testing.T) {
	sri := "sha512-" + strings.Repeat("A", 86) + "=="
	evil, err := trust.ParseDigest(sri)
	if err != nil {
		t.Fatal(err)
	}
	x := build(t, "npm", map[string]string{
		"R":     rec("R", "npm", "ranges", `,"ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]},{"type":"SEMVER","events":[{"fixed":"2.1.0"},{"introduced":"1.0.0"},{"fixed":"1.2.0"},{"introduced":"2.0.0-0"}]}]`),
		"L":     rec("L", "npm", "last", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"last_affected":"1.5.0"}]}]`),
		"LIM":   rec("LIM", "npm", "limited", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"3.0.0"}]}]`),
		"V":     rec("V", "npm", "listed", `,"versions":["1.0.0","1.0.1"]`),
		"MAL-W": rec("MAL-W", "npm", "whole", ``),
		"MAL-0": rec("MAL-0", "npm", "fromstart", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]`),
		"GONE":  `{"id":"GONE","modified":"2030-01-01T00:00:00Z","withdrawn":"2030-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"gone"},"versions":["1.0.0"]}]}`,
		"GIT":   rec("GIT", "npm", "gitonly", `,"ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}]`),
		"A1":    `{"id":"GHSA-a","modified":"2030-01-01T00:00:00Z","aliases":["CVE-1"],"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"affected":[{"package":{"ecosystem":"npm","name":"twice"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]}]}`,
		"A2":    `{"id":"CVE-1","modified":"2030-01-01T00:00:00Z","database_specific":{"severity":"LOW","cisa_kev":{"added":"x"}},"affected":[{"package":{"ecosystem":"npm","name":"twice"},"versions":["1.0.0"]}]}`,
		"MAL-H": rec("MAL-H", "npm", "@scope/hash", `,"versions":["9.9.9"],"database_specific":{"indicators":{"package_integrity":[{"filename":"x","hashes":{"sha512_sri":"`+sri+`"}}]}}`),
		"TWO":   `{"id":"TWO","modified":"2030-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"two"},"versions":["1.0.0"]},{"package":{"ecosystem":"PyPI","name":"two"},"versions":["2.0.0"]}]}`,
	})
	for _, c := range []struct {
		purl, want, fixed string
		digests           trust.Digests
	}{
		{"pkg:npm/ranges@0.9.9", "", "", nil}, {"pkg:npm/ranges@1.0.0", "R", "1.2.0", nil}, {"pkg:npm/ranges@1.1.9", "R", "1.2.0", nil}, {"pkg:npm/ranges@1.2.0", "", "", nil},
		{"pkg:npm/ranges@2.0.0-beta.1", "R", "2.1.0", nil}, {"pkg:npm/ranges@2.1.0", "", "", nil},
		{"pkg:npm/last@1.5.0", "L", "", nil}, {"pkg:npm/last@1.5.1", "", "", nil},
		{"pkg:npm/limited@2.9.9", "LIM", "", nil}, {"pkg:npm/limited@3.0.0", "", "", nil},
		{"pkg:npm/listed@1.0.1", "V", "", nil}, {"pkg:npm/listed@1.0.2", "", "", nil},
		{"pkg:npm/whole@77.0.0", "MAL-W", "", nil}, {"pkg:npm/fromstart@0.0.1-alpha", "MAL-0", "", nil},
		{"pkg:npm/gone@1.0.0", "", "", nil}, {"pkg:npm/gitonly@1.0.0", "", "", nil},
		{"pkg:npm/twice@1.0.0", "CVE-1", "2.0.0", nil}, {"pkg:npm/twice@1.5.0", "GHSA-a", "2.0.0", nil},
		{"pkg:npm/%40scope/hash@9.9.9", "MAL-H", "", nil}, {"pkg:npm/hash@9.9.9", "", "", nil},
		{"pkg:npm/innocent@1.0.0", "MAL-H", "", trust.Digests{evil}},
		{"pkg:npm/two@1.0.0", "TWO", "", nil}, {"pkg:npm/two@2.0.0", "", "", nil},
	} {
		got, st := query(t, x, Item{rel(t, c.purl), c.digests})
		if ids(got) != c.want || st != policies.StateKnown {
			t.Errorf("%s: %q %s, want %q", c.purl, ids(got), st, c.want)
		}
		if len(got) == 1 && strings.Join(got[0].Fixed, " ") != c.fixed {
			t.Errorf("%s: fixed %q, want %q", c.purl, got[0].Fixed, c.fixed)
		}
		for _, a := range got {
			if a.Malware != strings.HasPrefix(a.ID, "MAL-") {
				t.Errorf("%s: %+v", c.purl, a)
			}
		}
	}
	got, _ := query(t, x, Item{Release: rel(t, "pkg:npm/twice@1.0.0")})
	if len(got) != 1 || got[0].Score < 9.7 || got[0].Severity != "critical" || !got[0].KEV || got[0].Aliases[0] != "GHSA-a" {
		t.Errorf("merged aliases: %+v", got)
	}
	if _, st := query(t, x, Item{Release: rel(t, "pkg:npm/last")}); st != policies.StateUnavailable {
		t.Errorf("release without version: %s", st)
	}
}

func TestOtherEcosystems(t *testing.T) {
	for _, c := range []struct{ eco, name, rest, hit, miss string }{
		{"Go", "github.com/A/b/v2", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.5"}]}]`, "pkg:golang/github.com/A/b/v2@v2.0.4", "pkg:golang/github.com/a/b/v2@v2.0.4"},
		{"Go", "toolchain", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"1.26.0-0"},{"fixed":"1.26.3"}]}]`, "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.1.linux-amd64", "pkg:golang/golang.org/toolchain@v0.0.1-go1.26.3.linux-amd64"},
		{"PyPI", "Zope.Interface", `,"versions":["1.0-RC1"]`, "pkg:pypi/zope-interface@1.0rc1", "pkg:pypi/zope-interface@1.0"},
		{"PyPI", "epoch", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1!1.0"}]}]`, "pkg:pypi/epoch@2024.1", "pkg:pypi/epoch@1!1.0"},
		{"Maven", "org.x:y", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"1.0"},{"fixed":"1.10"}]}]`, "pkg:maven/org.x/y@1.9", "pkg:maven/org.x/y@1.10"},
		{"NuGet", "Some.Thing", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]`, "pkg:nuget/SOME.Thing@1.0", "pkg:nuget/some.thing@2.0.0.0"},
		{"Packagist", "a/b", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2.0.0"}]}]`, "pkg:composer/A/b@1.9.0", "pkg:composer/a/c@1.9.0"},
		{"GitHub Actions", "tj-actions/changed-files", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"last_affected":"45.0.7"}]}]`, "pkg:githubactions/tj-actions/changed-files@v45.0.7", "pkg:githubactions/tj-actions/changed-files@v46.0.0"},
		{"Debian:12", "xz-utils", `,"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"5.6.0-0.1"},{"fixed":"5.6.1+really5.4.5-1"}]}]`, "pkg:deb/debian/xz-utils@5.6.1-1?distro=debian-12", "pkg:deb/debian/xz-utils@5.6.1-1?distro=debian-13"},
	} {
		base, _ := split(c.eco)
		x := build(t, base, map[string]string{"X": rec("X", c.eco, c.name, c.rest)})
		if got, st := query(t, x, Item{Release: rel(t, c.hit)}); ids(got) != "X" || st != policies.StateKnown {
			t.Errorf("%s: %q %s", c.hit, ids(got), st)
		}
		if got, st := query(t, x, Item{Release: rel(t, c.miss)}); len(got) != 0 || st != policies.StateKnown {
			t.Errorf("%s: %q %s", c.miss, ids(got), st)
		}
	}
}

// Without a sound database the answer is unavailable, never an empty list.
func TestUnavailable(t *testing.T) {
	ctx := context.Background()
	r := rel(t, "pkg:npm/x@1.0.0")
	good := map[string]string{"V": rec("V", "npm", "x", `,"versions":["1.0.0"]`)}
	state := func(x *Index, at time.Time) policies.State {
		a := x.Query(ctx, []Item{{Release: r}}, at)
		if a.States[r] == policies.StateUnavailable && a.Reasons[r] == "" {
			t.Error("unavailable without a reason")
		}
		return a.States[r]
	}
	if st := state(Open(t.TempDir(), 0), time.Now()); st != policies.StateUnavailable {
		t.Errorf("missing: %s", st)
	}
	x := build(t, "npm", good)
	if st := state(x, time.Now()); st != policies.StateKnown {
		t.Errorf("present: %s", st)
	}
	taken := time.Now()
	if err := os.WriteFile(x.path("npm")+".x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sts, err := x.Status(ctx, taken)
	if err != nil || len(sts) != 1 || sts[0].Records != 1 || sts[0].Problem != "" {
		t.Fatalf("status: %+v %v", sts, err)
	}
	if st := state(x, sts[0].Taken.Add(DefaultMaxAge)); st != policies.StateKnown {
		t.Errorf("at the bound of age: %s", st)
	}
	if st := state(x, sts[0].Taken.Add(DefaultMaxAge+time.Second)); st != policies.StateUnavailable {
		t.Errorf("too old: %s", st)
	}
	if a := x.Query(ctx, []Item{{Release: rel(t, "pkg:pypi/x@1.0.0")}, {Release: rel(t, "pkg:generic/x@1.0.0")}, {Release: r}}, time.Now()); a.States[rel(t, "pkg:pypi/x@1.0.0")] != policies.StateUnavailable ||
		a.States[rel(t, "pkg:generic/x@1.0.0")] != policies.StateUnavailable || a.States[r] != policies.StateKnown {
		t.Errorf("other ecosystems: %+v", a.States)
	}
	if err := os.Truncate(x.path("npm"), 2000); err != nil {
		t.Fatal(err)
	}
	if st := state(x, time.Now()); st != policies.StateUnavailable {
		t.Errorf("truncated: %s", st)
	}
	if err := os.Truncate(x.path("npm"), 0); err != nil {
		t.Fatal(err)
	}
	if st := state(x, time.Now()); st != policies.StateUnavailable {
		t.Errorf("empty: %s", st)
	}
}

func TestUpdateRefuses(t *testing.T) {
	ctx := context.Background()
	many := map[string]string{}
	for i := range 4 {
		id := "V" + strconv.Itoa(i)
		many[id] = rec(id, "npm", "x", `,"versions":["1.0.0"]`)
	}
	x := build(t, "npm", many)
	update := func(eco string, records map[string]string) error {
		dir := t.TempDir()
		writeZip(t, filepath.Join(dir, eco, "all.zip"), records)
		_, err := x.Update(ctx, dir, time.Now())
		return err
	}
	two := map[string]string{"V0": many["V0"], "V1": many["V1"]}
	for name, c := range map[string]struct {
		eco     string
		records map[string]string
	}{
		"fewer than half":        {"npm", map[string]string{"V0": many["V0"]}},
		"another ecosystem":      {"npm", map[string]string{"V0": many["V0"], "V1": many["V1"], "G": rec("G", "Go", "x", "")}},
		"unknown ecosystem":      {"Nonsense", many},
		"broken record":          {"npm", map[string]string{"V0": many["V0"], "V1": many["V1"], "B": `{"id":`}},
		"no record":              {"npm", nil},
		"older than the present": {"npm", map[string]string{"V0": strings.Replace(many["V0"], "2030-01-02", "2029-01-02", 1), "V1": strings.Replace(many["V1"], "2030-01-02", "2029-01-02", 1)}},
	} {
		if err := update(c.eco, c.records); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if got, st := query(t, x, Item{Release: rel(t, "pkg:npm/x@1.0.0")}); len(got) != 4 || st != policies.StateKnown {
			t.Errorf("%s: the present database suffered: %q %s", name, ids(got), st)
		}
	}
	if err := update("npm", two); err != nil {
		t.Errorf("half of the records: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(x.dir, ".advisories-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x.zip"), []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Update(ctx, filepath.Join(t.TempDir(), "none"), time.Now()); err == nil {
		t.Error("missing source accepted")
	}
}

// Every record of the real data that is in force matches a version that it
// names; a withdrawn one never does.
func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	dir = filepath.Join(dir, "osv")
	x := Open(filepath.Join(t.TempDir(), "db"), 0)
	if _, err := x.Update(context.Background(), dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecord(b)
		if err != nil {
			continue // the schema
		}
		for _, a := range r.Affected {
			base, _ := split(a.Package.Ecosystem)
			if !known(base) {
				continue
			}
			for _, v := range namedVersions(&a) {
				item := Item{Release: releaseOf(t, base, a.Package.Name, v)}
				if r.Withdrawn != nil {
					item.Digests = a.DatabaseSpecific.Digests
				}
				got, st := query(t, x, item)
				hit := false
				for _, g := range got {
					hit = hit || g.ID == r.ID || contains(g.Aliases, r.ID)
				}
				if st != policies.StateKnown || hit != (r.Withdrawn == nil) {
					t.Errorf("%s: %s %s: %s, hit %v, withdrawn %v", r.ID, a.Package.Name, v, st, hit, r.Withdrawn)
				}
				checked++
			}
		}
	}
	t.Logf("%d versions of %d files", checked, len(files))
	if checked == 0 {
		t.Error("nothing was checked")
	}
}

func contains(l []string, s string) bool {
	return strings.Contains(" "+strings.Join(l, " ")+" ", " "+s+" ")
}

// namedVersions are versions that a record itself says are affected.
func namedVersions(a *affected) []string {
	out := append([]string(nil), a.Versions...)
	for _, r := range a.Ranges {
		for _, e := range r.Events {
			switch {
			case r.Type == "GIT":
			case e.Introduced == "0":
				out = append(out, "0.0.1")
			case e.Introduced != "":
				out = append(out, e.Introduced)
			case e.LastAffected != "":
				out = append(out, e.LastAffected)
			}
		}
	}
	if len(out) == 0 {
		out = []string{"1.0.0"}
	}
	return out
}

func releaseOf(t testing.TB, base, name, version string) trust.Release {
	t.Helper()
	for typ, e := range byType {
		if e != base {
			continue
		}
		sep := "/"
		if typ == "maven" {
			sep = ":"
		}
		ns := ""
		if i := strings.LastIndex(name, sep); i >= 0 {
			ns, name = name[:i], name[i+1:]
		}
		r, err := trust.NewRelease(typ, ns, name, version)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Fatalf("no purl type for %s", base)
	return trust.Release{}
}

func TestBoundsOfARecord(t *testing.T) {
	mk := func(n int) []byte {
		r := map[string]any{"id": "X", "affected": make([]map[string]any, n)}
		for i := range n {
			r["affected"].([]map[string]any)[i] = map[string]any{}
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := parseRecord(mk(MaxAffected)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := parseRecord(mk(MaxAffected + 1)); err == nil {
		t.Error("above the bound accepted")
	}
	ev := func(n int) []byte {
		return []byte(`{"id":"X","affected":[{"ranges":[{"type":"SEMVER","events":[` + strings.TrimSuffix(strings.Repeat(`{},`, n), ",") + `]}]}]}`)
	}
	if _, err := parseRecord(ev(MaxEvents)); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := parseRecord(ev(MaxEvents + 1)); err == nil {
		t.Error("above the bound accepted")
	}
}

func TestScores(t *testing.T) {
	for vector, want := range map[string]string{
		"AV:N/AC:L/Au:N/C:C/I:C/A:C":                                      "critical",
		"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N":                    "medium",
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":                    "critical",
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H": "critical",
		"CVSS:4.0/AV:P/AC:H/AT:P/PR:H/UI:A/VC:N/VI:L/VA:N/SC:N/SI:N/SA:N": "low",
		"CVSS:9.0/whatever": "",
	} {
		s, ok := score(vector)
		if ok != (want != "") || (ok && word(s) != want) {
			t.Errorf("%s: %v %v %s, want %s", vector, s, ok, word(s), want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(rec("X", "npm", "x", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"}]}]`)), "0.9.0")
	f.Add([]byte(rec("X", "PyPI", "x", `,"versions":["1.0"]`)), "1.0")
	f.Fuzz(func(t *testing.T, b []byte, version string) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		for i := range r.Affected {
			base, _ := split(r.Affected[i].Package.Ecosystem)
			if !known(base) {
				continue
			}
			keyOf(base, r.Affected[i].Package.Name)
			e := entryOf(r, &r.Affected[i])
			hit, fixed, err := e.matches(base, version)
			if (err != nil && hit) || (fixed != "" && !hit) {
				t.Errorf("%v %q %v", hit, fixed, err)
			}
		}
	})
}

// BenchmarkIndex measures 200,000 synthetic advisories if HEADGATE_BENCH is set,
// 20,000 otherwise: building the index, then 20,000 packages against it.
func BenchmarkIndex(b *testing.B) {
	n := 20_000
	if os.Getenv("HEADGATE_BENCH") != "" {
		n = 200_000
	}
	records := make(map[string]string, n)
	for i := range n {
		id := fmt.Sprintf("MAL-2030-%d", i)
		records[id] = rec(id, "npm", fmt.Sprintf("package-%d", i), `,"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.5.0"}]}]`)
	}
	from := b.TempDir()
	writeZip(b, filepath.Join(from, "npm", "all.zip"), records)
	x := Open(filepath.Join(b.TempDir(), "db"), 0)
	start := time.Now()
	if _, err := x.Update(context.Background(), from, time.Now()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(start).Seconds(), "s/build")
	items := make([]Item, 20_000)
	for i := range items {
		items[i] = Item{Release: rel(b, fmt.Sprintf("pkg:npm/package-%d@1.%d.0", i*7%(2*n), i%10))}
	}
	b.ResetTimer()
	for b.Loop() {
		if a := x.Query(context.Background(), items, time.Now()); len(a.Advisories) == 0 {
			b.Fatal("nothing found")
		}
	}
}
