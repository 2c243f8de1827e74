package debian

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/trust"
)

func put(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func armoured(t testing.TB, k *pgp.Entity) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(certificate(t, k)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAptSources(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "sources.list"), `# comment
deb `+strings.Replace(debianHost, "https:", "http:", 1)+`/debian bookworm main
deb https://mirror.example.com/debian bookworm-updates main # mine
deb-src https://mirror.example.com/debian bookworm main
deb [ arch=amd64 signed-by=/usr/share/keyrings/tool.gpg ] http://tools.example.com/apt bookworm stable
deb https://unsigned.example.com/apt tools main
deb cdrom:[Debian]/ bookworm main
deb https://u:hunter2@secret.example.com/apt tools main
deb [signed-by=/k.gpg] https://flat.example.com/apt ./
deb [signed-by=/k.gpg] https://evil.example.com/apt ../../x main
deb [signed-by=/k.gpg
deb
`)
	put(t, filepath.Join(dir, "sources.list.d", "ubuntu.sources"), `Types: deb deb-src
# a comment inside
URIs: http://mirror.example.com/ubuntu/
Suites: noble noble-updates
Components: main universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Enabled: no
Types: deb
URIs: https://off.example.com/
Suites: off
Signed-By: /k.gpg

Types: deb
URIs: https://inline.example.com/apt
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 aaaa
 -----END PGP PUBLIC KEY BLOCK-----
`)
	put(t, filepath.Join(dir, "sources.list.d", "snap.list"), "deb https://snapshots.example.org/archive/debian/20250520T000000Z bookworm main\n"+
		"deb [snapshot=20250601T000000Z] https://snapshots.example.org/archive/debian-security bookworm-security main\n")
	put(t, filepath.Join(dir, "sources.list.d", "ignored.list.save"), "deb [signed-by=/k.gpg] https://saved.example.com/apt x main\n")
	put(t, filepath.Join(dir, "sources.list.d", "huge.list"), "deb [signed-by=/k.gpg] https://huge.example.com/apt x main\n"+strings.Repeat("#", MaxSourcesFile))
	env := map[string]string{EnvApt: dir}
	cfg, err := ConfigFromEnv(func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(cfg.Mirrors); got != "map[bookworm-updates:https://mirror.example.com/debian/ noble:http://mirror.example.com/ubuntu/ noble-updates:http://mirror.example.com/ubuntu/]" {
		t.Errorf("mirrors: %s", got)
	}
	if len(cfg.Foreign) != 2 || cfg.Foreign[0].Base != "http://tools.example.com/apt/" || cfg.Foreign[0].Suite != "bookworm" || cfg.Foreign[0].keys.files[0] != "/usr/share/keyrings/tool.gpg" ||
		!strings.HasPrefix(cfg.Foreign[1].keys.inline, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naaaa\n") {
		t.Errorf("foreign: %+v", cfg.Foreign)
	}
	if len(cfg.Snapshots) != 2 || cfg.Snapshots[1].Base != "https://snapshots.example.org/archive/debian-security/20250601T000000Z/" {
		t.Errorf("snapshots: %+v", cfg.Snapshots)
	}
	if slices.Sort(cfg.Insecure); !slices.Equal(cfg.Insecure, []string{"mirror.example.com", "tools.example.com"}) {
		t.Errorf("insecure: %q", cfg.Insecure)
	}
	if strings.Contains(fmt.Sprintf("%+v", cfg), "hunter2") {
		t.Error("a secret is kept")
	}
	env[EnvApt] = filepath.Join(dir, "missing")
	if cfg, err = ConfigFromEnv(func(k string) string { return env[k] }); err != nil || cfg.Foreign != nil || cfg.Mirrors != nil {
		t.Errorf("without apt: %+v %v", cfg, err)
	}
}

func TestSnapshotsFromEnv(t *testing.T) {
	one := "https://snapshots.example.org/archive/debian/20250520T000000Z"
	for v, want := range map[string]int{
		one: 1, one + "/, " + one: 2, "": 0,
		strings.Repeat(one+" ", MaxSnapshots): MaxSnapshots, strings.Repeat(one+" ", MaxSnapshots+1): -1,
		"https://snapshots.example.org/archive/debian/": -1, "20250520T000000Z": -1, "https://u:hunter2@snapshots.example.org/debian/20250520T000000Z": -1,
		"https://snapshots.example.org/debian/20259920T000000Z": -1,
	} {
		cfg, err := ConfigFromEnv(func(k string) string { return map[string]string{EnvApt: "off", EnvSnapshots: v}[k] })
		if (err != nil) != (want < 0) || err == nil && len(cfg.Snapshots) != want {
			t.Errorf("%.100q: %d, %v", v, len(cfg.Snapshots), err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

const snapBase = "/snap/debian/20260401T000000Z/"

func (a *archive) snapshot(t testing.TB, env *adaptertest.Env, base string, keys ...*pgp.Entity) *Adapter {
	ad := a.adapter(env, keys...)
	snap, ok := snapshotOf(a.base + base)
	if !ok {
		t.Fatal("no snapshot")
	}
	ad.cfg.Snapshots = []Snapshot{snap}
	return ad
}

// TestSnapshot: what the archive does not list any more is looked up in the
// snapshots that the user named, which are judged by their own time.
func TestSnapshot(t *testing.T) {
	at := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	head := func(date, until time.Time) string {
		h := "Codename: bookworm\nComponents: main\nDate: " + date.Format(time.RFC1123) + "\n"
		if !until.IsZero() {
			h += "Valid-Until: " + until.Format(time.RFC1123) + "\n"
		}
		return h
	}
	old := "pkg:deb/debian/openssl@3.0.0-9?arch=amd64&distro=debian-12"
	list := stanzaOf("openssl", "3.0.0-9", "amd64", "pool/old.deb", deb)
	for what, c := range map[string]struct {
		base, head string
		foreign    bool
		want       trust.Outcome
		reason     trust.Reason
	}{
		"long ago":          {snapBase, head(at.Add(-time.Hour), at.Add(time.Hour)), false, trust.Verified, ""},
		"without an end":    {snapBase, head(at.Add(-time.Hour), time.Time{}), false, trust.Verified, ""},
		"expired even then": {snapBase, head(at.Add(-48*time.Hour), at.Add(-time.Second)), false, trust.Unreachable, trust.ReasonExpiredRoot},
		"younger than it":   {snapBase, head(at.Add(time.Hour), time.Time{}), false, trust.Unreachable, trust.ReasonExpiredRoot},
		"stranger":          {snapBase, head(at.Add(-time.Hour), time.Time{}), true, trust.Unreachable, trust.ReasonUnknownKey},
		"other archive":     {"/snap/kali/20260401T000000Z/", head(at.Add(-time.Hour), time.Time{}), false, trust.Absent, trust.ReasonNotCovered},
	} {
		a := newArchive(t)
		a.healthy()
		k := a.key
		if c.foreign {
			a.key = key(t)
		}
		a.publish(c.base, "bookworm", c.head, ".gz", list)
		a.key = k
		a.publish(c.base, "bookworm-updates", strings.ReplaceAll(head(at.Add(-time.Hour), time.Time{}), "bookworm", "bookworm-updates"), ".gz", stanzaOf("x", "1", "amd64", "pool/x.deb", deb))
		env := adaptertest.NewEnv(t, adaptertest.Right)
		res := collect(t, a.snapshot(t, env, c.base, a.key), component(t, old, sum(deb)))
		e := signature(t, res)
		wantEvidence(t, what, e, c.want, c.reason)
		if e.Outcome == trust.Verified && (!strings.Contains(e.Detail, "as of 2026-04-01") || len(res.Facts.Notes) != 1 || !res.Facts.Published.Equal(at.Add(-time.Hour))) {
			t.Errorf("%s: %q %+v", what, e.Detail, res.Facts)
		}
		// The archive as it is comes first, and its own rules stay what they are.
		now := signature(t, collect(t, a.snapshot(t, env, c.base, a.key), component(t, openssl, sum(deb))))
		wantEvidence(t, what+", current", now, trust.Verified, "")
		if strings.Contains(now.Detail, "as of") {
			t.Errorf("%s: %s", what, now.Detail)
		}
	}
}

// TestArchiveOfOthers: an archive of the user's apt sources is judged by the keys
// that they name for it, and its key never speaks for the distribution.
func TestArchiveOfOthers(t *testing.T) {
	for what, c := range map[string]struct {
		edit func(a *archive, f *Foreign, vendor *pgp.Entity)
		want trust.Outcome
		r    trust.Reason
	}{
		"file":   {nil, trust.Verified, ""},
		"inline": {func(_ *archive, f *Foreign, v *pgp.Entity) { f.keys = keyFiles{inline: armoured(t, v)} }, trust.Verified, ""},
		"signed by the distribution": {func(a *archive, _ *Foreign, _ *pgp.Entity) {
			a.publish("/vendor/", "nodistro", header("nodistro"), ".gz", stanzaOf("tool", "20.1", "amd64", "pool/tool.deb", deb))
		}, trust.Unreachable, trust.ReasonUnknownKey},
		"key gone":     {func(_ *archive, f *Foreign, _ *pgp.Entity) { f.keys.files = []string{"/does/not/exist"} }, trust.Unreachable, trust.ReasonUnknownKey},
		"key is none":  {func(_ *archive, f *Foreign, _ *pgp.Entity) { f.keys = keyFiles{inline: "no key"} }, trust.Unreachable, trust.ReasonMalformed},
		"not there":    {func(a *archive, _ *Foreign, _ *pgp.Entity) { delete(a.files, "/vendor/dists/nodistro/InRelease") }, trust.Unreachable, trust.ReasonNotFound},
		"other suites": {func(_ *archive, f *Foreign, _ *pgp.Entity) { f.Suite = "bookworm" }, trust.Unreachable, trust.ReasonNotFound},
	} {
		a, vendor := newArchive(t), key(t)
		a.healthy()
		own := a.key
		a.key = vendor
		a.publish("/vendor/", "nodistro", header("nodistro"), ".gz", stanzaOf("tool", "20.1", "amd64", "pool/tool.deb", deb)+stanzaOf("openssl", "3.0.1-1", "amd64", "pool/evil.deb", []byte("evil")))
		a.key = own
		env := adaptertest.NewEnv(t, adaptertest.Right)
		ad := a.adapter(env, a.key)
		file := filepath.Join(t.TempDir(), "vendor.gpg")
		put(t, file, string(certificate(t, vendor)))
		f := Foreign{Base: a.base + "/vendor/", Suite: "nodistro", keys: keyFiles{files: []string{file}}}
		if c.edit != nil {
			c.edit(a, &f, vendor)
		}
		ad.cfg.Foreign = []Foreign{f}
		e := signature(t, collect(t, ad, component(t, "pkg:deb/debian/tool@20.1?arch=amd64&distro=debian-12", sum(deb))))
		wantEvidence(t, what, e, c.want, c.r)
		if e.Outcome == trust.Verified && (e.Signer.Kind != trust.SignerOpenPGP || e.Assurance != trust.AssuranceRegistry || !strings.Contains(e.Detail, "nodistro of "+a.base)) {
			t.Errorf("%s: %+v %s", what, e.Signer, e.Detail)
		}
		// What the distribution lists is the distribution's.
		if e = signature(t, collect(t, ad, component(t, openssl, sum(deb)))); e.Outcome != trust.Verified || e.Signer.Name != "debian" {
			t.Errorf("%s: openssl is %s by %+v", what, e.Outcome, e.Signer)
		}
	}
}

// TestDetachedSignature: Release with Release.gpg does what InRelease does.
func TestDetachedSignature(t *testing.T) {
	const dir = "/debian/dists/bookworm-updates/"
	for what, c := range map[string]struct {
		edit func(a *archive)
		want trust.Outcome
		r    trust.Reason
	}{
		"right":    {func(*archive) {}, trust.Verified, ""},
		"unsigned": {func(a *archive) { delete(a.files, dir+"Release.gpg") }, trust.Unreachable, trust.ReasonStripped},
		"changed": {func(a *archive) {
			a.files[dir+"Release"] = append(a.files[dir+"Release"], " "+strings.Repeat("0", 64)+" 1 main/x\n"...)
		}, trust.Failed, trust.ReasonBadSignature},
		"no signature":  {func(a *archive) { a.files[dir+"Release.gpg"] = []byte("none") }, trust.Unreachable, trust.ReasonMalformed},
		"other release": {func(a *archive) { a.detach(dir, header("bookworm")+"SHA256:\n") }, trust.Failed, trust.ReasonWrongName},
		"stranger": {func(a *archive) {
			own := a.key
			a.key = key(t)
			a.detach(dir, string(a.files[dir+"Release"]))
			a.key = own
		}, trust.Unreachable, trust.ReasonUnknownKey},
	} {
		a := newArchive(t)
		a.healthy()
		a.publish("/debian/", "bookworm-updates", header("bookworm-updates"), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
		_, text, _ := strings.Cut(string(a.files[dir+"InRelease"]), "\n\n")
		text, _, _ = strings.Cut(text, "-----BEGIN")
		delete(a.files, dir+"InRelease")
		a.detach(dir, text)
		c.edit(a)
		e := signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl, sum(deb))))
		wantEvidence(t, what, e, c.want, c.r)
		if e.Outcome == trust.Verified && (len(e.Raw) != 3 || e.Raw[0].Name != "release" || e.Raw[1].Name != "signature") {
			t.Errorf("%s: %d documents are kept", what, len(e.Raw))
		}
	}
}

func (a *archive) detach(dir, text string) {
	a.t.Helper()
	var sig bytes.Buffer
	if err := pgp.ArmoredDetachSign(&sig, []*pgp.Entity{a.key}, strings.NewReader(text), &pgp.SignParams{Config: signedBefore}); err != nil {
		a.t.Fatal(err)
	}
	a.files[dir+"Release"], a.files[dir+"Release.gpg"] = []byte(text), sig.Bytes()
}

// TestPublished: the signed date of the index bounds a package's age, and the
// archive's date of its source does where the index is signed anew all the time.
func TestPublished(t *testing.T) {
	source := "/debian/pool/main/o/openssl/ossl_2.9-1.dsc"
	put := adaptertest.Now.Add(-100 * time.Hour).Truncate(time.Second)
	for what, c := range map[string]struct {
		date     time.Duration
		modified time.Time
		want     time.Time
		asked    bool
	}{
		"young index":         {-time.Hour, put, put, true},
		"no description":      {-time.Hour, time.Time{}, adaptertest.Now.Add(-time.Hour), true},
		"description younger": {-2 * time.Hour, adaptertest.Now.Add(-time.Hour), adaptertest.Now.Add(-2 * time.Hour), true},
		"at the bound":        {-settled, put, adaptertest.Now.Add(-settled), true},
		"settled":             {-settled - time.Second, put, adaptertest.Now.Add(-settled - time.Second), false},
	} {
		a := newArchive(t)
		a.healthy()
		stanza := strings.Replace(stanzaOf("openssl", "3.0.1-1+b1", "amd64", debPath, deb), "Version", "Source: ossl (1:2.9-1)\nVersion", 1)
		a.publish("/debian/", "bookworm-updates", dated("bookworm-updates", c.date), ".gz", stanza)
		if !c.modified.IsZero() {
			a.files[source] = []byte("Format: 3.0 (quilt)\n")
		}
		a.modified = c.modified
		res := collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, "pkg:deb/debian/openssl@3.0.1-1%2Bb1?arch=amd64&distro=debian-12", sum(deb)))
		wantEvidence(t, what, signature(t, res), trust.Verified, "")
		if !res.Facts.Published.Equal(c.want) {
			t.Errorf("%s: published %s, want %s", what, res.Facts.Published, c.want)
		}
		if got := slices.Contains(a.asked, source); got != c.asked {
			t.Errorf("%s: asked for the description: %t", what, got)
		}
	}
	for e, want := range map[entry]string{
		{version: "1:2-3", filename: "pool/main/a/a/a.deb"}:                      "pool/main/a/a/a_2-3.dsc",
		{version: "1", filename: "pool/a.deb", source: "b"}:                      "pool/b_1.dsc",
		{version: "1", filename: "pool/a.deb", source: "../../evil (2)"}:         "",
		{version: "1", filename: "pool/a.deb", source: "b?x=1 (1)"}:              "",
		{version: "../../1", filename: "pool/a.deb"}:                             "",
		{version: "1+b2", filename: "pool/main/a/a.deb", source: "a (1:1)"}:      "pool/main/a/a_1.dsc",
		{version: "1", filename: "pool/a.deb", source: "b (2) (3)"}:              "",
		{version: "1", filename: "pool/a.deb", source: strings.Repeat("x", 2e3)}: "",
	} {
		if got := e.description("a"); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

// TestDates: archives write dates in several ways.
func TestDates(t *testing.T) {
	want := time.Date(2026, 1, 5, 9, 2, 3, 0, time.UTC)
	for s, ok := range map[string]bool{
		"Mon, 05 Jan 2026 09:02:03 UTC": true, "Mon, 05 Jan 2026 09:02:03 +0000": true, "Mon, 05 Jan 2026 09:02:03 GMT": true,
		"Mon, 05 Jan 2026 09:02:03 Z": true, "Mon, 5 Jan 2026 09:02:03 UTC": true, "Mon,  5 Jan 2026  9:02:03 UTC": true,
		"Mon, 05 Jan 2026 09:02:03": false, "Mon, 05 Jan 2026 09:02:03 +0100": false, "Mon, 05 Jan 2026 09:02:03 CET": false, "2026-01-05T09:02:03Z": false, "": false,
	} {
		got, err := parseDate(s)
		if (err == nil) != ok || ok && !got.Equal(want) {
			t.Errorf("%q: %s %v", s, got, err)
		}
	}
}

// TestSeveralSignatures: distributions sign with the old and the new key at once.
func TestSeveralSignatures(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	p := "/debian/dists/bookworm-updates/InRelease"
	next := key(t)
	for what, c := range map[string]struct {
		keys []*pgp.Entity
		want trust.Outcome
	}{
		"both known":   {[]*pgp.Entity{a.key, next}, trust.Verified},
		"first known":  {[]*pgp.Entity{a.key}, trust.Verified},
		"second known": {[]*pgp.Entity{next}, trust.Verified},
		"none known":   {[]*pgp.Entity{key(t)}, trust.Unreachable},
	} {
		a.publish("/debian/", "bookworm-updates", header("bookworm-updates"), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
		_, text, _ := strings.Cut(string(a.files[p]), "\n\n")
		text, _, _ = strings.Cut(text, "-----BEGIN")
		a.files[p] = clearsigned(t, a.key, text, next)
		ad := a.adapter(adaptertest.NewEnv(t, adaptertest.Right), c.keys...)
		// The other suites are signed by one key alone and may be in doubt.
		if e := signature(t, collect(t, ad, component(t, openssl, sum(deb)))); e.Outcome != c.want {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
	}
	// One broken signature beside a sound one is a broken document.
	a.files[p] = bytes.Replace(a.files[p], []byte("Codename"), []byte("COdename"), 1)
	if e := signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key, next), component(t, openssl, sum(deb)))); e.Outcome != trust.Failed || e.Reason != trust.ReasonBadSignature {
		t.Errorf("changed text: %s %s %s", e.Outcome, e.Reason, e.Detail)
	}
}
