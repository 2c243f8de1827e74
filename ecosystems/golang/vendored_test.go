package golang

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/module"

	"github.com/headgate/headgate/ecosystems/adapter"
	"github.com/headgate/headgate/ecosystems/adaptertest"
	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// vendorWorld has a module with everything that go mod vendor treats by itself,
// a module nested in it, and a vendor directory as the go command would write it.
func vendorWorld(t testing.TB) (*world, *Adapter, sbom.Component, fstest.MapFS) {
	w := newWorld(t)
	m := w.add("example.com/mod", "v1.0.0", map[string]string{
		"a.go": "package a\n", "a_test.go": "package a\n", "gen.go": "//go:build ignore\n\npackage main\n", "old.go": "// +build ignore\n\npackage main\n",
		"win.go": "//go:build windows && !ignore\n\npackage a\n", "sub/s.go": "package s\n", "unused/u.go": "package u\n", "data/d.txt": "data", "LICENSE": "all rights",
	})
	w.add("example.com/mod/nested", "v0.1.0", map[string]string{"n.go": "package n\n"})
	a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right))
	c := w.component(m)
	c.Locations = []trust.Location{{Path: "go.mod", Line: 3}, {Path: "vendor/modules.txt", Line: 1}}
	c.Vendored = "x"
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"modules.txt":          "# example.com/mod v1.0.0\n## explicit; go 1.26\nexample.com/mod\nexample.com/mod/sub\n# example.com/mod/nested v0.1.0\n## explicit\nexample.com/mod/nested\n",
		"example.com/mod/a.go": "package a\n", "example.com/mod/win.go": "//go:build windows && !ignore\n\npackage a\n", "example.com/mod/LICENSE": "all rights",
		"example.com/mod/sub/s.go": "package s\n", "example.com/mod/data/d.txt": "data",
		"example.com/mod/nested/n.go": "package n, and this is another module's business\n",
	} {
		files["vendor/"+name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return w, a, c, files
}

func TestVendored(t *testing.T) {
	for what, c := range map[string]struct {
		change func(fstest.MapFS)
		fails  string
	}{
		"as go mod vendor writes it": {func(fstest.MapFS) {}, ""},
		"another byte":               {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Data = []byte("package b\n") }, "a.go differs"},
		"a byte more":                {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Data = []byte("package a\n\n") }, "a.go has another length"},
		"a byte less":                {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Data = []byte("package a") }, "a.go has another length"},
		"emptied":                    {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Data = nil }, "a.go has another length"},
		"data changed":               {func(f fstest.MapFS) { f["vendor/example.com/mod/data/d.txt"].Data = []byte("DATA") }, "d.txt differs"},
		"a file more":                {func(f fstest.MapFS) { f["vendor/example.com/mod/zz.go"] = f["vendor/example.com/mod/a.go"] }, "zz.go is no file of the module"},
		"a folder more":              {func(f fstest.MapFS) { f["vendor/example.com/mod/x/x.go"] = f["vendor/example.com/mod/a.go"] }, "x/x.go is no file of the module"},
		"another case":               {func(f fstest.MapFS) { f["vendor/example.com/mod/A.go"] = f["vendor/example.com/mod/a.go"] }, "A.go is no file of the module"},
		"a link":                     {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Mode = fs.ModeSymlink | 0o777 }, "a.go is no regular file"},
		"a pipe":                     {func(f fstest.MapFS) { f["vendor/example.com/mod/a.go"].Mode = fs.ModeNamedPipe }, "a.go is no regular file"},
		"a Go file removed":          {func(f fstest.MapFS) { delete(f, "vendor/example.com/mod/a.go") }, "lacks example.com/mod/a.go"},
		"a Go file of one system":    {func(f fstest.MapFS) { delete(f, "vendor/example.com/mod/win.go") }, "lacks example.com/mod/win.go"},
		"a licence removed":          {func(f fstest.MapFS) { delete(f, "vendor/example.com/mod/LICENSE") }, ""},
		"a package more": {func(f fstest.MapFS) {
			f["vendor/example.com/mod/unused/u.go"] = &fstest.MapFile{Data: []byte("package u\n")}
		}, ""},
		"tests too": {func(f fstest.MapFS) {
			f["vendor/example.com/mod/a_test.go"] = &fstest.MapFile{Data: []byte("package a\n")}
		}, ""},
		"all of it removed": {func(f fstest.MapFS) {
			for name := range f {
				if strings.HasPrefix(name, "vendor/example.com/") {
					delete(f, name)
				}
			}
		}, "vendor lacks example.com/mod/"},
	} {
		_, a, comp, files := vendorWorld(t)
		c.change(files)
		e := first(t, collect(t, a, adapter.Request{Component: comp, Files: files}), trust.CheckVendored)
		if c.fails == "" {
			expect(t, e, trust.Verified, "")
			continue
		}
		expect(t, e, trust.Failed, trust.ReasonWrongDigest)
		if !strings.Contains(e.Detail, c.fails) {
			t.Errorf("%s: %q, want %q", what, e.Detail, c.fails)
		}
	}
}

// A module that replaces another lies under the other's name.
func TestVendoredReplacement(t *testing.T) {
	w, a, _, files := vendorWorld(t)
	fork := w.add("example.com/fork", "v1.0.1", map[string]string{"a.go": "package a // fork\n"})
	c := w.component(fork)
	c.Locations, c.Vendored = []trust.Location{{Path: "vendor/modules.txt", Line: 1}}, "x"
	c.Replaces = component(t, module.Version{Path: "example.com/mod", Version: "v1.0.0"}).Release
	files["vendor/modules.txt"].Data = []byte("# example.com/mod v1.0.0 => example.com/fork v1.0.1\n## explicit\nexample.com/mod\n# example.com/mod/nested v0.1.0\nexample.com/mod/nested\n")
	e := first(t, collect(t, a, adapter.Request{Component: c, Files: files}), trust.CheckVendored)
	expect(t, e, trust.Failed, trust.ReasonWrongDigest)
	for name := range files {
		if strings.HasPrefix(name, "vendor/example.com/mod/") && !strings.Contains(name, "nested") {
			delete(files, name)
		}
	}
	files["vendor/example.com/mod/a.go"] = &fstest.MapFile{Data: []byte("package a // fork\n")}
	e = first(t, collect(t, a, adapter.Request{Component: c, Files: files}), trust.CheckVendored)
	expect(t, e, trust.Verified, "")
}

// Nothing is said of files that could not be compared.
func TestVendoredCannotBeCompared(t *testing.T) {
	w, a, c, files := vendorWorld(t)
	expect(t, first(t, collect(t, a, adapter.Request{Component: c}), trust.CheckVendored), trust.Absent, trust.ReasonNotCovered)

	noZip := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	w.records[noZip] = strings.SplitAfter(w.record(noZip), "\n")[1]
	w.db = w.newDB()
	if e := first(t, collect(t, w.adapter(adaptertest.NewEnv(t, adaptertest.Right)), adapter.Request{Component: c, Files: files}), trust.CheckVendored); e.Outcome == trust.Verified {
		t.Errorf("without a record of the content: %+v", e)
	}

	w, _, c, files = vendorWorld(t)
	env := adaptertest.NewEnv(t, adaptertest.Right)
	a = w.adapter(env)
	delete(files, "vendor/modules.txt")
	expect(t, first(t, collect(t, a, adapter.Request{Component: c, Files: files}), trust.CheckVendored), trust.Unreachable, trust.ReasonMalformed)

	// The proxy serves another module than the database knows: nothing to compare with.
	w, a, c, files = vendorWorld(t)
	c2 := c
	w.mods[noZip]["a.go"] = "package evil\n"
	files["vendor/example.com/mod/a.go"].Data = []byte("package evil\n")
	w.records[noZip] = "example.com/mod v1.0.0 " + c.Artifacts[0].Digests[0].String() + "\nexample.com/mod v1.0.0/go.mod " + c.Artifacts[1].Digests[0].String() + "\n"
	if e := first(t, collect(t, a, adapter.Request{Component: c2, Files: files}), trust.CheckVendored); e.Outcome == trust.Verified {
		t.Errorf("a lying proxy vouches for the vendored files: %+v", e)
	}
}

func TestVendoredBounds(t *testing.T) {
	for n, want := range map[int]bool{MaxModulesTXT: true, MaxModulesTXT + 1: false} {
		v := &vendorCheck{ctx: t.Context(), files: fstest.MapFS{"modules.txt": &fstest.MapFile{Data: []byte(strings.Repeat(" ", n))}}}
		if _, _, err := v.modulesTXT("modules.txt", "x"); (err == nil) != want {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for n, want := range map[int]bool{MaxVendoredFiles: true, MaxVendoredFiles + 1: false} {
		v := &vendorCheck{ctx: t.Context(), files: fstest.MapFS{"v/m/d/x": {}}, entries: n - 1}
		if err := v.tree("v", "m", "", []string{"m/d"}, 0); (err == nil) != want {
			t.Errorf("%d files: %v", n, err)
		}
	}
	deep := fstest.MapFS{"v/m/" + strings.Repeat("d/", maxDepth) + "x": {Mode: fs.ModeDir}}
	v := &vendorCheck{ctx: t.Context(), files: deep}
	if err := v.tree("v", "m", "", nil, 0); err == nil {
		t.Error("no bound of depth")
	}
	shallow := fstest.MapFS{"v/m/" + strings.Repeat("d/", maxDepth-1) + "x": {Mode: fs.ModeDir}}
	v = &vendorCheck{ctx: t.Context(), files: shallow}
	if err := v.tree("v", "m", "", nil, 0); err != nil {
		t.Errorf("at the bound: %v", err)
	}
}

// A private module is held against go.sum where a module proxy may be asked.
func TestVendoredPrivate(t *testing.T) {
	for _, c := range []struct {
		name, value string
		o           trust.Outcome
	}{{"GONOSUMDB", "example.com/mod", trust.Verified}, {"GOSUMDB", "off", trust.Verified}, {"GOPRIVATE", "example.com/mod", trust.Absent}} {
		w, _, comp, files := vendorWorld(t)
		a := w.adapter(adaptertest.NewEnv(t, adaptertest.Right), c.name, c.value)
		if e := first(t, collect(t, a, adapter.Request{Component: comp, Files: files}), trust.CheckVendored); e.Outcome != c.o {
			t.Errorf("%s=%s: %s %s", c.name, c.value, e.Outcome, e.Detail)
		}
		if w.asked("/lookup/") != 0 {
			t.Errorf("%s=%s: the database was asked: %v", c.name, c.value, w.paths)
		}
		files["vendor/example.com/mod/a.go"].Data = []byte("package evil\n")
		if e := first(t, collect(t, a, adapter.Request{Component: comp, Files: files}), trust.CheckVendored); c.o == trust.Verified && e.Outcome != trust.Failed {
			t.Errorf("%s=%s, changed: %s %s", c.name, c.value, e.Outcome, e.Detail)
		}
	}
}
