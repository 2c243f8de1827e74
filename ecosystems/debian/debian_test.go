package debian

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/ulikunitz/xz"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

// key makes an archive key that is as old as the tests' clock needs.
func key(t testing.TB) *pgp.Entity {
	t.Helper()
	born := adaptertest.Now.AddDate(-1, 0, 0)
	e, err := pgp.NewEntity("Archive", "", "archive@example.com", &packet.Config{Time: func() time.Time { return born }, Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func certificate(t testing.TB, e *pgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// signedBefore is the configuration of signatures that are an hour old.
var signedBefore = &packet.Config{Time: func() time.Time { return adaptertest.Now.Add(-time.Hour) }}

func clearsigned(t testing.TB, e *pgp.Entity, text string, more ...*pgp.Entity) []byte {
	t.Helper()
	var keys []*packet.PrivateKey
	for _, e := range append([]*pgp.Entity{e}, more...) {
		k, ok := e.SigningKey(adaptertest.Now, nil)
		if !ok {
			t.Fatal("no signing key")
		}
		keys = append(keys, k.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, keys, signedBefore)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// archive serves a Debian archive: files by path, with what is asked of it.
type archive struct {
	t     testing.TB
	key   *pgp.Entity
	mu    sync.Mutex
	files map[string][]byte
	asked []string
	base  string // of its server, once it has one
	env   *adaptertest.Env
	// modified is when the archive says that it got its source descriptions.
	modified time.Time
}

func newArchive(t testing.TB) *archive {
	return &archive{t: t, key: key(t), files: map[string][]byte{}}
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.Path)
	b, ok := a.files[r.URL.Path]
	a.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if strings.HasSuffix(r.URL.Path, ".dsc") {
		w.Header().Set("Last-Modified", a.modified.Format(http.TimeFormat))
	}
	w.Write(b)
}

func pack(t testing.TB, ext string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	default:
		return b
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// dated is the head of an index whose date is some time from adaptertest.Now.
func dated(name string, d time.Duration) string {
	return "Codename: " + name + "\nComponents: main\nDate: " + adaptertest.Now.Add(d).Format("Mon, 02 Jan 2006 15:04:05 UTC") + "\n"
}

func header(name string, extra ...string) string {
	return "Origin: Debian\nSuite: stable\nCodename: " + name + "\nDate: Mon, 01 Jun 2026 10:00:00 UTC\n" + strings.Join(extra, "") + "Components: main contrib\n"
}

// publish signs a suite with one Packages file in the given form.
func (a *archive) publish(base, name, head, ext, packagesText string) {
	a.t.Helper()
	file := "main/binary-amd64/Packages"
	packed := pack(a.t, ext, []byte(packagesText))
	text := head + "SHA256:\n"
	for n, b := range map[string][]byte{file: []byte(packagesText), file + ext: packed} {
		text += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(b), len(b), n)
	}
	dir := base + "dists/" + name + "/"
	a.files[dir+"InRelease"] = clearsigned(a.t, a.key, text)
	if strings.Contains(head, "Acquire-By-Hash: yes") {
		a.files[dir+path.Dir(file)+fmt.Sprintf("/by-hash/SHA256/%x", sha256.Sum256(packed))] = packed
	} else {
		a.files[dir+file+ext] = packed
	}
}

func stanzaOf(name, version, arch, file string, deb []byte) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nDescription: something\n of two lines\nFilename: %s\nSize: %d\nSHA256: %x\n\n", name, version, arch, file, len(deb), sha256.Sum256(deb))
}

var deb = []byte("!<arch>\ndebian-binary of openssl")

const debPath = "pool/main/o/openssl/openssl_3.0.1-1_amd64.deb"

func component(t testing.TB, purl string, digests ...trust.Digest) sbom.Component {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	c := sbom.Component{Release: r, Kind: sbom.KindRegistry}
	if len(digests) > 0 {
		c.Artifacts = []trust.Artifact{{Digests: digests}}
	}
	return c
}

const openssl = "pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-12"

func sum(b []byte) trust.Digest {
	s := sha256.Sum256(b)
	return trust.DigestOf(trust.SHA256, s[:])
}

// healthy publishes the three suites of Debian 12.
func (a *archive) healthy() {
	a.publish("/debian/", "bookworm", header("bookworm"), ".gz", stanzaOf("libc6", "2.36-9", "amd64", "pool/main/g/glibc/libc6.deb", []byte("libc")))
	a.publish("/debian/", "bookworm-updates", header("bookworm-updates", "Acquire-By-Hash: yes\n"), ".xz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb)+stanzaOf("tzdata", "2:2026a-0", "all", "pool/main/t/tzdata/tzdata.deb", []byte("tz")))
	a.publish("/debian-security/", "bookworm-security", header("bookworm-security", "Valid-Until: Mon, 08 Jun 2026 10:00:00 UTC\n"), "", stanzaOf("bash", "5.2-1+deb12u1", "amd64", "pool/updates/main/b/bash/bash.deb", []byte("bash")))
	a.files["/debian/"+debPath] = deb
}

// serve starts the archive's server, once.
func (a *archive) serve(env *adaptertest.Env) string {
	if a.base == "" {
		a.env, a.base = env, env.Serve(a)
	}
	return a.base
}

func (a *archive) adapter(env *adaptertest.Env, keys ...*pgp.Entity) *Adapter {
	a.t.Helper()
	base := a.serve(env)
	env = a.env
	file := filepath.Join(a.t.TempDir(), "keyring.gpg")
	var b []byte
	for _, k := range keys {
		b = append(b, certificate(a.t, k)...)
	}
	if len(b) > 0 {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	ad, err := New(Options{Get: env.Getter(), Clock: env.Clock, State: env.State, Config: Config{
		Debian: base + "/debian", Security: base + "/debian-security/", Ubuntu: base + "/ubuntu", Ports: base + "/ubuntu-ports", Keyrings: map[string]string{"debian": file, "ubuntu": file},
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	return ad
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, adaptertest.Fixture{
		Checks: []trust.Check{trust.CheckRegistrySig},
		Build: func(t testing.TB, env *adaptertest.Env) adaptertest.World {
			a := newArchive(t)
			a.healthy()
			updates := func(text string) {
				a.publish("/debian/", "bookworm-updates", header("bookworm-updates"), ".gz", text)
			}
			keys := []*pgp.Entity{a.key}
			c := component(t, openssl, sum(deb))
			switch env.Scenario {
			case adaptertest.WrongName:
				updates(stanzaOf("openssl-evil", "3.0.1-1", "amd64", debPath, deb))
			case adaptertest.WrongVersion:
				updates(stanzaOf("openssl", "3.0.2-1", "amd64", debPath, deb))
			case adaptertest.WrongDigest:
				updates(stanzaOf("openssl", "3.0.1-1", "amd64", debPath, []byte("other bytes")))
			case adaptertest.Stripped:
				for p := range a.files {
					if strings.HasSuffix(p, "InRelease") {
						a.files[p] = []byte(header("bookworm") + "SHA256:\n")
					}
				}
			case adaptertest.ForeignSigner:
				keys = []*pgp.Entity{key(t)}
			case adaptertest.Expired:
				a.publish("/debian/", "bookworm-updates", header("bookworm-updates", "Valid-Until: Mon, 01 Jun 2026 11:59:59 UTC\n"), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
			case adaptertest.Replayed: // an index from before the one that was seen last
				if ok, err := env.State.Swap(t.Context(), "debian "+a.serve(env)+"/debian/ bookworm-updates", nil, []byte("2026-06-01T11:00:00Z")); err != nil || !ok {
					t.Fatal(ok, err)
				}
			case adaptertest.Duplicate:
				updates(stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb) + stanzaOf("openssl", "3.0.1-1", "amd64", debPath, []byte("other")))
			}
			return adaptertest.World{
				Adapter: a.adapter(env, keys...), Request: adapter.Request{Component: c, Bytes: true},
				Artifact: trust.Artifact{Digests: trust.Digests{sum(deb)}}, Bytes: deb,
			}
		},
		Expect: map[adaptertest.Scenario]adaptertest.Expectation{
			// A name or version that the archive does not list is not covered.
			adaptertest.WrongName:     {Some: []trust.Outcome{trust.Absent}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonNotCovered}},
			adaptertest.WrongVersion:  {Some: []trust.Outcome{trust.Absent}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonNotCovered}},
			adaptertest.ForeignSigner: {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Failed}, Reasons: []trust.Reason{trust.ReasonUnknownKey}},
			adaptertest.Stripped:      {Some: []trust.Outcome{trust.Unreachable}, Never: []trust.Outcome{trust.Absent}},
		},
	})
}

func collect(t testing.TB, a *Adapter, c sbom.Component) adapter.Result {
	t.Helper()
	res, err := a.Collect(t.Context(), adapter.Request{Component: c})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Evidence {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
	}
	return res
}

// signature returns the evidence of the archive's signature.
func signature(t testing.TB, res adapter.Result) trust.Evidence {
	t.Helper()
	for _, e := range res.Evidence {
		if e.Check == trust.CheckRegistrySig {
			return e
		}
	}
	t.Fatalf("no signature evidence: %+v", res.Evidence)
	return trust.Evidence{}
}

func wantEvidence(t testing.TB, what string, e trust.Evidence, o trust.Outcome, r trust.Reason) {
	t.Helper()
	if e.Outcome != o || e.Reason != r {
		t.Errorf("%s: %s %s (%s), want %s %s", what, e.Outcome, e.Reason, e.Detail, o, r)
	}
}

func TestInstalledPackagesOfAllSuites(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	env := adaptertest.NewEnv(t, adaptertest.Right)
	ad := a.adapter(env, a.key)
	for purl, want := range map[string]trust.Outcome{
		openssl: trust.Verified,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=bookworm":                 trust.Verified,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-12.4":              trust.Verified,
		"pkg:deb/debian/openssl@3.0.1-1?distro=debian-12":                           trust.Verified,
		"pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12":                   trust.Verified,
		"pkg:deb/debian/bash@5.2-1%2Bdeb12u1?arch=amd64&distro=debian-12":           trust.Verified,
		"pkg:deb/debian/tzdata@2:2026a-0?arch=all&distro=debian-12":                 trust.Verified,
		"pkg:deb/debian/tzdata@2026a-0?arch=all&distro=debian-12":                   trust.Absent, // another epoch is another version
		"pkg:deb/debian/tzdata@2:2026a-0?arch=amd64&distro=debian-12":               trust.Absent,
		"pkg:deb/debian/openssl@3.0.1-0?arch=amd64&distro=debian-12":                trust.Absent,
		"pkg:deb/debian/openssl@3.0.1-1?arch=arm64&distro=debian-12":                trust.Absent,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-13":                trust.Unreachable,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-99":                trust.Unreachable,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64":                                 trust.Unreachable,
		"pkg:deb/ubuntu/openssl@3.0.1-1?arch=amd64&distro=ubuntu-22.04":             trust.Unreachable,
		"pkg:deb/kali/openssl@3.0.1-1?arch=amd64&distro=debian-12":                  trust.Unreachable,
		"pkg:deb/debian/openssl@3.0.1-1?arch=..%2F..%2Fevil&distro=debian-12":       trust.Unreachable,
		"pkg:deb/debian/openssl?arch=amd64&distro=debian-12":                        trust.Unreachable,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-12&epoch=1":        trust.Verified,
		"pkg:deb/debian/openssl@0:3.0.1-1?arch=amd64&distro=debian-12":              trust.Verified,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-bookworm":          trust.Verified,
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=ubuntu-12":                trust.Unreachable,
		"pkg:deb/debian/openssl@3.0.1-1~bpo12%2B1?arch=amd64&distro=debian-12":      trust.Unreachable, // no backports here
		"pkg:deb/debian/openssl@3.0.1-1?arch=amd64&distro=debian-bookworm-security": trust.Unreachable,
	} {
		e := signature(t, collect(t, ad, component(t, purl)))
		if e.Outcome != want {
			t.Errorf("%s: %s %s: %s", purl, e.Outcome, e.Reason, e.Detail)
		}
		if e.Outcome == trust.Verified && (e.Assurance != trust.AssuranceRegistry || e.Signer.Kind != trust.SignerRegistry || e.Signer.Name != "debian" || e.Signer.Fingerprint == "" || len(e.Raw) != 2) {
			t.Errorf("%s: %+v", purl, e)
		}
	}
	res := collect(t, ad, component(t, openssl))
	wantEvidence(t, "lock file", res.Evidence[0], trust.Absent, trust.ReasonNoLockDigest)
	res = collect(t, ad, component(t, "pkg:deb/debian/openssl@3.0.1-0?arch=amd64&distro=debian-12"))
	if res.Facts.LatestKnown != "3.0.1-1" {
		t.Errorf("latest known is %q", res.Facts.LatestKnown)
	}
}

// TestOneIndexForAll: thousands of packages of one image ask for each index once.
func TestOneIndexForAll(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	ad := a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			p := openssl
			if i%2 == 0 {
				p = "pkg:deb/debian/gone@1?arch=amd64&distro=debian-12"
			}
			if _, err := ad.Collect(t.Context(), adapter.Request{Component: component(t, p)}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	seen := map[string]int{}
	for _, p := range a.asked {
		if seen[p]++; seen[p] > 1 {
			t.Errorf("%s was asked for %d times", p, seen[p])
		}
	}
	// Somebody who gives up takes nobody else along.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key)
	if _, err := fresh.Collect(ctx, adapter.Request{Component: component(t, openssl)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	wantEvidence(t, "after a cancelled load", signature(t, collect(t, fresh, component(t, openssl))), trust.Verified, "")
}

// TestIndexIsLoadedAgain: a verified index serves for freshFor, a failure for
// againIn, both by the adapter's clock.
func TestIndexIsLoadedAgain(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	p := "/debian/dists/bookworm-updates/InRelease"
	good := a.files[p]
	delete(a.files, p)
	env := adaptertest.NewEnv(t, adaptertest.Right)
	now := env.Clock()
	env.Clock = func() time.Time { return now }
	ad := a.adapter(env, a.key)
	ask := func(what string, asked bool, o trust.Outcome) {
		t.Helper()
		a.asked = nil
		if e := signature(t, collect(t, ad, component(t, openssl))); e.Outcome != o {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
		if got := slices.Contains(a.asked, p); got != asked {
			t.Errorf("%s: asked %t", what, got)
		}
	}
	ask("first", true, trust.Unreachable)
	ask("again at once", false, trust.Unreachable)
	a.files[p] = good
	now = now.Add(againIn)
	ask("at the bound", false, trust.Unreachable)
	now = now.Add(time.Second)
	ask("behind it", true, trust.Verified)
	now = now.Add(freshFor)
	ask("still fresh", false, trust.Verified)
	now = now.Add(time.Second)
	ask("not fresh any more", true, trust.Verified)
}

// TestDoubtIsShown: a suite that cannot be judged shows even where another one
// has the package.
func TestDoubtIsShown(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	a.files["/debian-security/dists/bookworm-security/InRelease"] = []byte("broken")
	res := collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl))
	wantEvidence(t, "listed elsewhere", signature(t, res), trust.Verified, "")
	if len(res.Facts.Notes) != 1 || !strings.Contains(res.Facts.Notes[0], "bookworm-security") {
		t.Errorf("notes: %q", res.Facts.Notes)
	}
	// What no readable index lists may be in the one that is not.
	res = collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, "pkg:deb/debian/bash@5.2-1%2Bdeb12u1?arch=amd64&distro=debian-12"))
	wantEvidence(t, "listed nowhere else", signature(t, res), trust.Unreachable, trust.ReasonMalformed)
}

func TestDigestsOfTheSource(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	ad := a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key)
	weak, err := trust.NewDigest(trust.SHA1, strings.Repeat("a", 40))
	if err != nil {
		t.Fatal(err)
	}
	other, err := trust.NewDigest(trust.SHA512, strings.Repeat("a", 128))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		d    trust.Digest
		want trust.Outcome
		r    trust.Reason
	}{
		"equal": {sum(deb), trust.Verified, ""}, "other bytes": {sum([]byte("x")), trust.Failed, trust.ReasonWrongDigest},
		"weak": {weak, trust.Failed, trust.ReasonWeakDigest}, "incomparable": {other, trust.Unreachable, trust.ReasonUnsupported},
	} {
		for _, e := range collect(t, ad, component(t, openssl, c.d)).Evidence {
			wantEvidence(t, what+" "+string(e.Check), e, c.want, c.r)
		}
	}
	two := component(t, openssl, sum(deb))
	two.Artifacts = append(two.Artifacts, trust.Artifact{Digests: trust.Digests{sum(deb)}})
	wantEvidence(t, "two files", signature(t, collect(t, ad, two)), trust.Unreachable, trust.ReasonUnsupported)
	for kind, r := range map[sbom.Kind]trust.Reason{sbom.KindPath: trust.ReasonLocal, sbom.KindURL: trust.ReasonNotOffered} {
		c := component(t, openssl)
		c.Kind = kind
		wantEvidence(t, string(kind), collect(t, ad, c).Evidence[0], trust.Absent, r)
	}
}

// TestThreat043UnsignedTextOfInRelease: nothing around the signed block counts.
func TestThreat043UnsignedTextOfInRelease(t *testing.T) {
	evil := []byte("evil")
	for what, edit := range map[string]func(signed []byte) []byte{
		"before": func(b []byte) []byte {
			return append([]byte("Codename: bookworm-updates\nSHA256:\n\n"), b...)
		},
		"behind": func(b []byte) []byte {
			return append(b, []byte("\nSHA256:\n "+strings.Repeat("0", 64)+" 1 main/binary-amd64/Packages\n")...)
		},
		"inside": func(b []byte) []byte {
			return bytes.Replace(b, []byte("SHA256:\n"), []byte("SHA256:\n "+sum(evil).Value+" 4 x\n"), 1)
		},
		"armor headers": func(b []byte) []byte {
			return bytes.Replace(b, []byte("\n\nOrigin"), []byte("\nCodename: evil\n\nOrigin"), 1)
		},
	} {
		a := newArchive(t)
		a.healthy()
		p := "/debian/dists/bookworm-updates/InRelease"
		a.files[p] = edit(a.files[p])
		e := signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl)))
		if e.Outcome != trust.Failed && e.Outcome != trust.Unreachable {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
	}
}

// TestThreat035OlderIndex: an index older than one seen before is refused, also
// by the next process, with an alarm, and what was kept stays.
func TestThreat035OlderIndex(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	env := adaptertest.NewEnv(t, adaptertest.Right)
	p := "/debian/dists/bookworm-updates/InRelease"
	a.publish("/debian/", "bookworm-updates", dated("bookworm-updates", -MaxLag-time.Second), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
	old := a.files[p]
	a.publish("/debian/", "bookworm-updates", dated("bookworm-updates", 0), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
	newer := a.files[p]
	for range 2 {
		a.files[p] = newer
		wantEvidence(t, "new", signature(t, collect(t, a.adapter(env, a.key), component(t, openssl))), trust.Verified, "")
		a.files[p] = old
		wantEvidence(t, "old", signature(t, collect(t, a.adapter(env, a.key), component(t, openssl))), trust.Failed, trust.ReasonLogMisbehaviour)
	}
	// A server behind the same name that lags a little is not used, and no alarm.
	a.publish("/debian/", "bookworm-updates", dated("bookworm-updates", -MaxLag), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
	wantEvidence(t, "lagging", signature(t, collect(t, a.adapter(env, a.key), component(t, openssl))), trust.Unreachable, trust.ReasonExpiredRoot)
	if al := env.State.Alarms(); len(al) != 2 || !bytes.Equal(al[0].Proof, old) {
		t.Errorf("alarms: %d", len(al))
	}
}

// TestThreat036StaleIndex: an index behind its Valid-Until or from the future is
// stale, at the second, and so is neither verified nor tampered.
func TestThreat036StaleIndex(t *testing.T) {
	now := adaptertest.Now
	at := func(d time.Duration) string { return now.Add(d).Format("Mon, 02 Jan 2006 15:04:05 UTC") }
	for what, c := range map[string]struct {
		date, until time.Duration
		o           trust.Outcome
	}{
		"in force":       {-time.Hour, time.Hour, trust.Verified},
		"last second":    {-time.Hour, 0, trust.Verified},
		"one second off": {-time.Hour, -time.Second, trust.Unreachable},
		"skewed":         {openpgp.MaxClockSkew, time.Hour, trust.Verified},
		"future":         {openpgp.MaxClockSkew + time.Second, time.Hour, trust.Unreachable},
	} {
		a := newArchive(t)
		a.healthy()
		head := "Codename: bookworm-updates\nComponents: main\nDate: " + at(c.date) + "\nValid-Until: " + at(c.until) + "\n"
		a.publish("/debian/", "bookworm-updates", head, ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
		e := signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl)))
		if e.Outcome != c.o || c.o != trust.Verified && e.Reason != trust.ReasonExpiredRoot {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
	}
}

// TestWrongSuite: a sound index of another suite is not the one asked for.
func TestWrongSuite(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	a.files["/debian/dists/bookworm-updates/InRelease"] = a.files["/debian/dists/bookworm/InRelease"]
	wantEvidence(t, "other suite", signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl))), trust.Failed, trust.ReasonWrongName)
}

// TestChangedPackages: the Packages file must be what InRelease lists.
func TestChangedPackages(t *testing.T) {
	for what, edit := range map[string]func(a *archive, p string){
		"other bytes": func(a *archive, p string) {
			a.files[p] = pack(t, ".gz", []byte(stanzaOf("openssl", "3.0.1-1", "amd64", debPath, []byte("evil"))))
		},
		"longer":  func(a *archive, p string) { a.files[p] = append(a.files[p], 0) },
		"shorter": func(a *archive, p string) { a.files[p] = a.files[p][:10] },
		"gone":    func(a *archive, p string) { delete(a.files, p) },
	} {
		a := newArchive(t)
		a.healthy()
		a.publish("/debian/", "bookworm-updates", header("bookworm-updates"), ".gz", stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb))
		edit(a, "/debian/dists/bookworm-updates/main/binary-amd64/Packages.gz")
		e := signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl)))
		if e.Outcome != trust.Failed && e.Outcome != trust.Unreachable {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
	}
}

// TestThreat088Unpacking: the bound counts what comes out.
func TestThreat088Unpacking(t *testing.T) {
	plain := bytes.Repeat([]byte("a"), 1<<20)
	for _, ext := range packed {
		b := pack(t, ext, plain)
		for limit, ok := range map[int64]bool{1 << 20: true, 1<<20 - 1: false, 1<<20 + 1: true} {
			r, err := unpack(b, ext, limit)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			if (err == nil) != ok || n > limit {
				t.Errorf("%q at %d: %d bytes, %v", ext, limit, n, err)
			}
			if ok && !r.digest().Equal(sum(plain)) {
				t.Errorf("%q: wrong digest", ext)
			}
			if _, reason := trust.Classify(err); !ok && reason != trust.ReasonTooLarge {
				t.Errorf("%q: %v", ext, err)
			}
		}
	}
	// InRelease says how large the file is when unpacked; more is not read.
	a := newArchive(t)
	a.healthy()
	text := stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb)
	bomb := pack(t, ".gz", append([]byte(text), plain...))
	file := "main/binary-amd64/Packages"
	a.files["/debian/dists/bookworm-updates/"+file+".gz"] = bomb
	a.files["/debian/dists/bookworm-updates/InRelease"] = clearsigned(t, a.key, header("bookworm-updates")+fmt.Sprintf("SHA256:\n %s %d %s\n %s %d %s.gz\n", sum([]byte(text)).Value, len(text), file, sum(bomb).Value, len(bomb), file))
	wantEvidence(t, "bomb", signature(t, collect(t, a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key), component(t, openssl))), trust.Unreachable, trust.ReasonTooLarge)
}

type materials []trust.Material

func (m materials) Materials(_ context.Context, kind trust.MaterialKind, pkg trust.Package) ([]trust.Material, error) {
	if kind != trust.MaterialOpenPGP || pkg.Type != "deb" || pkg.Namespace != "debian" {
		return nil, fmt.Errorf("asked for %s of %s", kind, pkg)
	}
	return m, nil
}

// TestThreat030KeysOfTheArchive: keys come from the keyring file and from what was
// pinned for the whole distribution, and from nowhere else.
func TestThreat030KeysOfTheArchive(t *testing.T) {
	a := newArchive(t)
	a.healthy()
	for p, b := range map[string][]byte{"/debian/archive-key.asc": certificate(t, a.key)} {
		a.files[p] = b
	}
	cert := certificate(t, a.key)
	for what, c := range map[string]struct {
		m    materials
		want trust.Outcome
	}{
		"none":                 {nil, trust.Unreachable},
		"for the type":         {materials{{Scope: "deb", Data: cert}}, trust.Verified},
		"for the distribution": {materials{{Scope: "pkg:deb/debian/*", Data: cert}}, trust.Verified},
		"beside a broken one":  {materials{{Scope: "pkg:deb/*", Data: []byte("no key")}, {Scope: "pkg:deb/*", Data: cert}}, trust.Verified},
		"for one package":      {materials{{Scope: "pkg:deb/debian/archive", Data: cert}}, trust.Unreachable},
		"for anything":         {materials{{Scope: "", Data: cert}}, trust.Unreachable},
		"for Ubuntu":           {materials{{Scope: "pkg:deb/ubuntu/*", Data: cert}}, trust.Unreachable},
	} {
		ad := a.adapter(adaptertest.NewEnv(t, adaptertest.Right))
		ad.materials = c.m
		e := signature(t, collect(t, ad, component(t, openssl)))
		if e.Outcome != c.want || c.want != trust.Verified && e.Reason != trust.ReasonUnknownKey {
			t.Errorf("%s: %s %s %s", what, e.Outcome, e.Reason, e.Detail)
		}
		// Who signs with a key that a person pinned is accepted by that person.
		if e.Outcome == trust.Verified && e.Signer.Kind != trust.SignerOpenPGP {
			t.Errorf("%s: signed by %s", what, e.Signer)
		}
		if e.Outcome != trust.Verified && !strings.Contains(e.Remedy, "headgate signers accept --key") {
			t.Errorf("%s: remedy %q", what, e.Remedy)
		}
	}
	for _, p := range a.asked {
		if strings.Contains(p, "key") {
			t.Errorf("a key was asked for: %s", p)
		}
	}
}

func TestUbuntu(t *testing.T) {
	a := newArchive(t)
	for _, s := range []string{"jammy", "jammy-updates", "jammy-security"} {
		head := "Suite: " + s + "\nCodename: jammy\nDate: Mon, 01 Jun 2026 10:00:00 UTC\nComponents: main\n"
		a.publish("/ubuntu/", s, head, ".xz", stanzaOf("openssl", "3.0.1-"+s, "amd64", debPath, deb))
	}
	ad := a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key)
	e := signature(t, collect(t, ad, component(t, "pkg:deb/ubuntu/openssl@3.0.1-jammy-security?arch=amd64&distro=ubuntu-22.04")))
	wantEvidence(t, "jammy", e, trust.Verified, "")
	if e.Signer.Name != "ubuntu" {
		t.Errorf("signer %+v", e.Signer)
	}
	// The release's own index is none of its updates.
	a.files["/ubuntu/dists/jammy-updates/InRelease"] = a.files["/ubuntu/dists/jammy/InRelease"]
	ad = a.adapter(adaptertest.NewEnv(t, adaptertest.Right), a.key)
	wantEvidence(t, "swapped", signature(t, collect(t, ad, component(t, "pkg:deb/ubuntu/openssl@3.0.1-jammy-updates?arch=amd64&distro=ubuntu-22.04"))), trust.Failed, trust.ReasonWrongName)
	if got := ad.cfg.suites("ubuntu", "noble", "arm64", "1")[0].base; !strings.HasSuffix(got, "/ubuntu-ports/") {
		t.Errorf("arm64 comes from %s", got)
	}
}

func TestConfigFromEnv(t *testing.T) {
	env := map[string]string{EnvApt: "off"}
	get := func(k string) string { return env[k] }
	cfg, err := ConfigFromEnv(get)
	if err != nil || cfg.Debian != debianHost+pathDebian || cfg.Security != debianHost+pathSecurity || cfg.Ubuntu != ubuntuHost+pathUbuntu || cfg.Ports != ubuntuPorts+pathPorts {
		t.Errorf("%+v %v", cfg, err)
	}
	env[EnvDebian] = "https://mirror.example.com/debian"
	if cfg, err = ConfigFromEnv(get); err != nil || cfg.Debian != "https://mirror.example.com/debian/" {
		t.Errorf("%+v %v", cfg, err)
	}
	for _, bad := range []string{"mirror", "ftp://mirror.example.com/", "https://u:hunter2@mirror.example.com/", "https://mirror.example.com/?token=hunter2"} {
		env[EnvDebian] = bad
		if _, err := ConfigFromEnv(get); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestParseRelease(t *testing.T) {
	line := " " + strings.Repeat("a", 64) + " 1 main/binary-amd64/Packages\n"
	good := header("bookworm") + "SHA256:\n" + line
	r, err := parseRelease([]byte(good))
	if err != nil || r.codename != "bookworm" || len(r.files) != 1 || len(r.components) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	for what, c := range map[string]struct {
		text string
		o    trust.Outcome
		r    trust.Reason
	}{
		"empty":            {"", trust.Unreachable, trust.ReasonMalformed},
		"two paragraphs":   {good + "\n" + good, trust.Unreachable, trust.ReasonMalformed},
		"field twice":      {good + "Codename: sid\n", trust.Unreachable, trust.ReasonMalformed},
		"field case":       {good + "CODENAME: sid\n", trust.Unreachable, trust.ReasonMalformed},
		"no date":          {"Codename: bookworm\nSHA256:\n" + line, trust.Unreachable, trust.ReasonMalformed},
		"zone":             {strings.Replace(good, "UTC", "CEST", 1), trust.Unreachable, trust.ReasonMalformed},
		"bad until":        {"Valid-Until: soon\n" + good, trust.Unreachable, trust.ReasonMalformed},
		"only MD5":         {header("bookworm") + "MD5Sum:\n " + strings.Repeat("a", 32) + " 1 main/x\n", trust.Failed, trust.ReasonWeakDigest},
		"short digest":     {header("bookworm") + "SHA256:\n aa 1 main/x\n", trust.Unreachable, trust.ReasonMalformed},
		"negative size":    {header("bookworm") + "SHA256:\n " + strings.Repeat("a", 64) + " -1 main/x\n", trust.Unreachable, trust.ReasonMalformed},
		"path":             {header("bookworm") + "SHA256:\n " + strings.Repeat("a", 64) + " 1 ../../x\n", trust.Unreachable, trust.ReasonMalformed},
		"file twice":       {good + " " + strings.Repeat("b", 64) + " 1 main/binary-amd64/Packages\n", trust.Unreachable, trust.ReasonMalformed},
		"continued first":  {" x\n" + good, trust.Unreachable, trust.ReasonMalformed},
		"evil component":   {strings.Replace(good, "contrib", "../..", 1), trust.Unreachable, trust.ReasonMalformed},
		"nothing readable": {"\x00<{not a document", trust.Unreachable, trust.ReasonMalformed},
	} {
		_, err := parseRelease([]byte(c.text))
		if o, r := trust.Classify(err); err == nil || o != c.o || r != c.r {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParsePackages(t *testing.T) {
	good := stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb)
	if ps, err := parsePackages(strings.NewReader("\n\n" + good + "\n\n" + good)); err != nil || len(ps["openssl"]) != 2 {
		t.Errorf("%v %v", ps, err)
	}
	for what, text := range map[string]string{
		"no digest":     strings.Replace(good, "SHA256: ", "SHA1: ", 1),
		"no version":    strings.Replace(good, "Version", "Versions", 1),
		"field twice":   strings.Replace(good, "Version:", "Version: 1\nversion:", 1),
		"absolute path": stanzaOf("openssl", "1", "amd64", "/etc/passwd", deb),
		"parent path":   stanzaOf("openssl", "1", "amd64", "pool/../../x", deb),
		"backslash":     stanzaOf("openssl", "1", "amd64", "pool\\..\\x", deb),
		"query":         stanzaOf("openssl", "1", "amd64", "pool/x?y", deb),
		"size":          strings.Replace(good, "Size: ", "Size: x", 1),
		"no field":      "Package openssl\n" + good,
	} {
		if _, err := parsePackages(strings.NewReader(text)); err == nil {
			t.Errorf("%s was read", what)
		} else if o, r := trust.Classify(err); o != trust.Unreachable || r != trust.ReasonMalformed {
			t.Errorf("%s: %s %s", what, o, r)
		}
	}
}

// TestBounds: each bound holds what it says, and nothing one above.
func TestBounds(t *testing.T) {
	all := func(string) bool { return true }
	read := func(text string, max int) error {
		_, err := newControl(strings.NewReader(text), max, all).next()
		return err
	}
	fields := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "F%d: x\n", i)
		}
		return b.String()
	}
	entries := func(n int) []byte {
		var b strings.Builder
		b.WriteString(header("bookworm") + "SHA256:\n")
		for i := range n {
			fmt.Fprintf(&b, " %064x 1 %d\n", i, i)
		}
		return []byte(b.String())
	}
	release := func(b []byte) error {
		_, err := parseRelease(b)
		return err
	}
	long := strings.Repeat("x", MaxLine-3)
	for what, c := range map[string][2]error{
		"line":     {read("F: "+long+"\n", MaxStanza), read("F: "+long+"x\n", MaxStanza)},
		"stanza":   {read("F: x\n y\n", 8), read("F: x\n yy\n", 8)},
		"fields":   {read(fields(MaxFields), MaxStanza), read(fields(MaxFields+1), MaxStanza)},
		"files":    {release(entries(MaxReleaseEntries)), release(entries(MaxReleaseEntries + 1))},
		"release":  {nil, release(make([]byte, MaxRelease+1))},
		"packages": {stanzas(MaxPackages), stanzas(MaxPackages + 1)},
	} {
		if c[0] != nil {
			t.Errorf("%s at its bound: %v", what, c[0])
		}
		if _, r := trust.Classify(c[1]); c[1] == nil || r != trust.ReasonTooLarge {
			t.Errorf("%s one above: %v", what, c[1])
		}
	}
}

// stanzas reads a Packages file of n small stanzas.
func stanzas(n int) error {
	one := "Package: a\nVersion: 1\nArchitecture: all\nFilename: p\nSize: 1\nSHA256: " + strings.Repeat("a", 64) + "\n\n"
	_, err := parsePackages(&repeat{one: []byte(one), n: n})
	return err
}

// repeat reads the same bytes n times.
type repeat struct {
	one []byte
	n   int
	off int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.one[r.off:])
	if r.off += n; r.off == len(r.one) {
		r.off, r.n = 0, r.n-1
	}
	return n, nil
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte(header("bookworm") + "SHA256:\n " + strings.Repeat("a", 64) + " 1 main/binary-amd64/Packages\n"))
	f.Add([]byte("SHA256:\n x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRelease(b)
		if err != nil {
			return
		}
		for name, l := range r.files {
			if !plainPath(name) || l.size < 0 || !l.digest.Strong() {
				t.Fatalf("%q %+v", name, l)
			}
		}
	})
}

func FuzzParsePackages(f *testing.F) {
	f.Add([]byte(stanzaOf("openssl", "3.0.1-1", "amd64", debPath, deb)))
	f.Add([]byte("Package: a\n b\n\n:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ps, err := parsePackages(bytes.NewReader(b))
		if err != nil {
			return
		}
		for name, es := range ps {
			for _, e := range es {
				if name == "" || e.version == "" || !plainPath(e.filename) || e.size < 0 {
					t.Fatalf("%q %+v", name, e)
				}
			}
		}
	})
}
