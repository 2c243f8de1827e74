package debian

import (
	"bytes"
	"crypto/sha256"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

var (
	packagesName = regexp.MustCompile(`^(.+)_([a-z-]+)_binary-([a-z0-9]+)_Packages(\.gz|\.xz)?$`)
	debName      = regexp.MustCompile(`^([a-z0-9+.-]+)_(.+)_([a-z0-9]+)\.deb$`)
)

// TestRealArchives serves the InRelease and Packages files of HEADGATE_REALDATA
// as an archive would, and verifies every package that they list.
func TestRealArchives(t *testing.T) {
	root := os.Getenv("HEADGATE_REALDATA")
	if root == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	dir := filepath.Join(root, "debian")
	keyrings, err := filepath.Glob(filepath.Join(dir, "*keyring*.gpg"))
	if err != nil {
		t.Fatal(err)
	}
	var ring []byte
	for _, k := range keyrings {
		b, err := os.ReadFile(k)
		if err != nil {
			t.Fatal(err)
		}
		ring = append(ring, b...)
	}
	keyring := filepath.Join(t.TempDir(), "keyring.gpg")
	if err := os.WriteFile(keyring, ring, 0o600); err != nil {
		t.Fatal(err)
	}
	certs, _, err := openpgp.ParseCertificates(ring)
	if err != nil {
		t.Fatal(err)
	}
	inReleases, err := filepath.Glob(filepath.Join(dir, "*_InRelease"))
	if err != nil || len(inReleases) == 0 {
		t.Fatalf("no InRelease files: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range inReleases {
		name := strings.TrimSuffix(filepath.Base(file), "_InRelease")
		t.Run(name, func(t *testing.T) {
			doc, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			v, err := openpgp.VerifyClearsigned(doc, openpgp.Want{Keys: openpgp.NewKeyring(certs...), Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			rel, err := parseRelease(v.Text())
			if err != nil {
				t.Fatal(err)
			}
			code, _, _ := strings.Cut(name, "-")
			distribution := "debian"
			for _, n := range codenames["ubuntu"] {
				if n == code {
					distribution = "ubuntu"
				}
			}
			base := map[string]string{"debian": "/debian/", "ubuntu": "/ubuntu/"}[distribution]
			if strings.HasSuffix(name, "-security") && distribution == "debian" {
				base = "/debian-security/"
			}
			a := newArchive(t)
			a.files[base+"dists/"+name+"/InRelease"] = doc
			env := adaptertest.NewEnv(t, adaptertest.Right)
			// The clock stands when the index was new, so that Valid-Until holds.
			env.Clock = func() time.Time { return rel.date.Add(time.Hour) }
			var want []sbom.Component
			digests := map[string]trust.Digest{}
			for _, e := range entries {
				m := packagesName.FindStringSubmatch(e.Name())
				if m == nil || m[1] != name {
					continue
				}
				b, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				a.files[base+"dists/"+name+"/"+m[2]+"/binary-"+m[3]+"/Packages"+m[4]] = b
				u, err := unpack(b, m[4], MaxIndexUnpacked)
				if err != nil {
					t.Fatal(err)
				}
				ps, err := parsePackages(u)
				if err != nil {
					t.Fatal(err)
				}
				for pkg, es := range ps {
					for _, e := range es {
						r, err := trust.NewRelease("deb", distribution, pkg, e.version)
						if err != nil {
							t.Fatal(err)
						}
						r.Package = r.Package.WithQualifier("distro", code)
						r = r.WithVariant("arch", e.arch)
						if e.arch == "all" && m[3] != "amd64" {
							continue
						}
						want = append(want, sbom.Component{Release: r, Kind: sbom.KindRegistry})
						digests[r.PURL()] = e.digest()
					}
				}
			}
			if len(want) == 0 {
				t.Skip("no Packages file of this suite")
			}
			serve := env.Serve(a)
			newAdapter := func() *Adapter {
				cfg := Config{Debian: serve + "/debian/", Security: serve + "/debian-security/", Ubuntu: serve + "/ubuntu/", Ports: serve + "/ubuntu/", Keyrings: map[string]string{distribution: keyring}}
				ad, err := New(Options{Get: env.Getter(), Clock: env.Clock, State: env.State, Config: cfg})
				if err != nil {
					t.Fatal(err)
				}
				return ad
			}
			ad := newAdapter()
			for _, c := range want {
				e := signature(t, collect(t, ad, c))
				if e.Outcome != trust.Verified || !e.Artifact.Digests.Strongest().Equal(digests[c.Release.PURL()]) {
					t.Errorf("%s: %s %s %s", c.Release, e.Outcome, e.Reason, e.Detail)
				}
				other := c
				other.Release.Version += "evil"
				if e := signature(t, collect(t, ad, other)); e.Outcome == trust.Verified {
					t.Errorf("%s is verified", other.Release)
				}
			}
			for _, e := range entries {
				debs(t, filepath.Join(dir, e.Name()), a, base, ad, want)
			}
			// One flipped digit, and nothing is verified any more.
			a.files[base+"dists/"+name+"/InRelease"] = bytes.Replace(doc, []byte("Components:"), []byte("Components: evil"), 1)
			ad = newAdapter()
			if e := signature(t, collect(t, ad, want[0])); e.Outcome != trust.Failed || e.Reason != trust.ReasonBadSignature {
				t.Errorf("changed InRelease: %s %s %s", e.Outcome, e.Reason, e.Detail)
			}
		})
	}
}

// debs serves a .deb if it is one of the listed packages: fetched, it has the
// listed digest, and one other byte is refused.
func debs(t *testing.T, file string, a *archive, base string, ad *Adapter, listed []sbom.Component) {
	m := debName.FindStringSubmatch(filepath.Base(file))
	if m == nil {
		return
	}
	version, err := url.PathUnescape(m[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range listed {
		if c.Release.Package.Name != m[1] || c.Release.Version != version || c.Release.Qualifier("arch") != m[3] {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ad.find(t.Context(), c.Release)
		if err != nil {
			t.Fatal(err)
		}
		s := sha256.Sum256(b)
		c.Artifacts = []trust.Artifact{{Digests: trust.Digests{trust.DigestOf(trust.SHA256, s[:])}}}
		for _, flip := range []bool{false, true} {
			served := bytes.Clone(b)
			if flip {
				served[len(served)-1] ^= 1
			}
			a.mu.Lock()
			a.files[base+p.entry.filename] = served
			a.mu.Unlock()
			res, err := ad.Collect(t.Context(), adapter.Request{Component: c, Bytes: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range res.Evidence {
				want := trust.Verified
				if flip && e.Check == trust.CheckBytes {
					want = trust.Failed
				}
				if e.Outcome != want {
					t.Errorf("%s: %s is %s %s %s", c.Release, e.Check, e.Outcome, e.Reason, e.Detail)
				}
			}
		}
	}
}
