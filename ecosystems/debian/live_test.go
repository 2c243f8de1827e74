//go:build live

package debian

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/ecosystems/upstream"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// TestLive asks the archive for packages that this machine has installed. Any
// of them may be superseded or from elsewhere; most are neither, and none is
// failed.
func TestLive(t *testing.T) {
	osRelease, err := os.ReadFile("/etc/os-release")
	if err != nil || !bytes.Contains(osRelease, []byte("\nID=debian")) {
		t.Skip("this machine is no Debian")
	}
	version := ""
	for line := range strings.Lines(string(osRelease)) {
		if v, ok := strings.CutPrefix(line, "VERSION_ID="); ok {
			version = strings.Trim(v, "\"\n")
		}
	}
	out, err := exec.CommandContext(t.Context(), "/usr/bin/dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\n").Output()
	if err != nil {
		t.Skip(err)
	}
	cfg, err := ConfigFromEnv(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	get, err := upstream.New(upstream.Config{Version: "live-test"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Get: get, Clock: time.Now, State: &adaptertest.State{}, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[trust.Outcome]int{}
	bytesDone := false
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("dpkg-query said %q", line)
		}
		r, err := trust.NewRelease("deb", "debian", f[0], f[1])
		if err != nil {
			t.Fatal(err)
		}
		r.Package = r.Package.WithQualifier("distro", "debian-"+version)
		r = r.WithVariant("arch", f[2])
		c := sbom.Component{Release: r, Kind: sbom.KindRegistry}
		res, err := a.Collect(t.Context(), adapter.Request{Component: c})
		if err != nil {
			t.Fatal(err)
		}
		e := res.Evidence[len(res.Evidence)-1]
		counts[e.Outcome]++
		if e.Outcome == trust.Failed || e.Outcome == trust.Unreachable {
			t.Errorf("%s: %s %s: %s", r, e.Outcome, e.Reason, e.Detail)
		}
		if e.Outcome == trust.Verified && !bytesDone && f[0] != "" && e.Artifact.Name != "" {
			bytesDone = true
			b, err := a.Fetch(t.Context(), c, e.Artifact)
			if err != nil {
				t.Errorf("fetching %s: %v", r, err)
				continue
			}
			magic := make([]byte, 8)
			if _, err := b.ReadAt(magic, 0); err != nil && err != io.EOF || string(magic) != "!<arch>\n" {
				t.Errorf("%s is no .deb: %q %v", e.Artifact.Name, magic, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("outcomes: %v, requests: %+v", counts, get.Stats())
	if counts[trust.Verified] == 0 {
		t.Error("no installed package was verified")
	}
}
