package scan

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const dpkgStatus = `Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u4

`

const apkInstalled = `C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:musl
V:1.2.4-r2
A:x86_64
o:musl

`

func testImage(t *testing.T) v1.Image {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct{ name, content string }{
		{"etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"},
		{"var/lib/dpkg/status", dpkgStatus},
		{"lib/apk/db/installed", apkInstalled},
		{"app/node_modules/left/package.json", `{"name":"left","version":"1.0.0","license":"MIT"}`},
		{"usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\n"},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: func() []v1.Hash { h, _ := l.DiffID(); return []v1.Hash{h} }()}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pack makes a tar archive of a directory, each name behind the prefix.
func pack(t *testing.T, dir, prefix string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: prefix + filepath.ToSlash(rel), Size: int64(len(b)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImages(t *testing.T) {
	img := testImage(t)
	tag, err := name.NewTag("example.com/app:1")
	if err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, tag, img); err != nil {
		t.Fatal(err)
	}
	ociDir := filepath.Join(t.TempDir(), "oci")
	p, err := layout.Write(ociDir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	ref, err := name.ParseReference(host + "/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	for scheme, at := range map[string]string{"docker-archive": docker, "oci-dir": ociDir, "oci-archive": pack(t, ociDir, ""), "registry": host + "/app:1"} {
		t.Run(scheme, func(t *testing.T) {
			inv, err := Open(context.Background(), scheme+":"+at, Options{InsecureRegistry: true})
			if err != nil {
				t.Fatal(err)
			}
			cs, ps := list(inv)
			for _, want := range []string{"pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12", "pkg:npm/left@1.0.0", "pkg:pypi/six@1.16.0"} {
				if !slices.Contains(cs, want) {
					t.Errorf("%s is missing from %q", want, cs)
				}
			}
			if !slices.ContainsFunc(cs, func(s string) bool { return strings.HasPrefix(s, "pkg:apk/") && strings.Contains(s, "/musl@") }) {
				t.Errorf("no musl in %q", cs)
			}
			if len(ps) != 0 {
				t.Errorf("problems %q", ps)
			}
			if inv.Source.Scheme != scheme || !strings.HasPrefix(inv.Source.Revision, "sha256:") {
				t.Errorf("source %+v", inv.Source)
			}
		})
	}
	if _, err := Open(context.Background(), "oci-archive:"+pack(t, ociDir, "./"), Options{}); err == nil || !strings.Contains(err.Error(), "pack it again") {
		t.Errorf("entries named ./…: %v", err)
	}
	if _, err := Open(context.Background(), docker, Options{}); !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), "docker-archive:") {
		t.Errorf("archive without a scheme: %v", err)
	}
	notTar := filepath.Join(write(t, t.TempDir(), map[string]string{"x.tar": "hello"}), "x.tar")
	for _, source := range []string{"oci-archive:" + notTar, "docker-archive:" + notTar, "oci-dir:" + t.TempDir(), "registry:" + host + "/none:1"} {
		if inv, err := Open(context.Background(), source, Options{InsecureRegistry: true}); err == nil {
			t.Errorf("%s: %+v", source, inv)
		}
	}
	if _, err := Open(context.Background(), "oci-dir:"+ociDir, Options{Platform: "no/such/plat/form"}); err == nil {
		t.Error("platform accepted")
	}
}

func TestEmptyImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "oci")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(empty.Image); err != nil {
		t.Fatal(err)
	}
	inv, err := Open(context.Background(), "oci-dir:"+dir, Options{})
	if err == nil && !inv.Partial() {
		t.Errorf("an image without packages is vouched for: %+v", inv)
	}
}
