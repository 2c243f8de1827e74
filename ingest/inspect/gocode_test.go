package inspect

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

func goModule(t *testing.T, version string, files map[string]string) *Report {
	t.Helper()
	r, err := trust.ParseRelease("pkg:golang/example.com/m@" + version)
	if err != nil {
		t.Fatal(err)
	}
	var fs []file
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fs = append(fs, file{name: "example.com/m@" + version + "/" + name, body: files[name]})
	}
	b := zipped(t, fs...)
	rep, err := Package(context.Background(), bytes.NewReader(b), int64(len(b)), Options{Release: r, FileName: version + ".zip", Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestCapabilities: an update reaches what the release before did not, and says
// in which file.
func TestCapabilities(t *testing.T) {
	before := goModule(t, "v1.0.0", map[string]string{
		"go.mod": "module example.com/m\n", "a.go": "package m\nimport \"net/url\"\nvar _ url.URL\n", "cmd/x/main.go": "package main\nimport \"os/exec\"\nvar _ = exec.Command\n",
	})
	now := goModule(t, "v1.0.1", map[string]string{
		"go.mod": "module example.com/m\n", "a.go": "package m\nimport (\n\"net/url\"\nrun \"os/exec\"\n)\nvar _ url.URL\nfunc init() { run.Command(\"sh\").Run() }\n",
		"b.go":          "package m\nimport _ \"unsafe\"\n//go:linkname f runtime.f\nfunc f()\n",
		"c.go":          "package m\n// #cgo LDFLAGS: -lx\nimport \"C\"\n",
		"d.go":          "package m\nimport _ \"embed\"\n//go:embed x.bin\nvar x []byte\n",
		"cmd/x/main.go": "package main\nimport \"os/exec\"\nvar _ = exec.Command\n",
		"net_linux.go":  "package m\nimport \"net/http/httputil\"\n", "asm_amd64.s": "TEXT x(SB)\n", "rsrc.syso": "obj", "broken.go": "package m\nfunc {",
		"sys/s.go":      "package sys\nimport \"golang.org/x/sys/unix\"\n",
		"a_test.go":     "package m\nimport \"plugin\"\n",
		"testdata/t.go": "package m\nimport \"plugin\"\n", "_old/t.go": "package m\nimport \"plugin\"\n",
		"text.go": "package m\n// import \"plugin\"\nvar s = `import \"plugin\"`\n// see go:linkname and func init() {}\n",
	})
	Compare(now, before)
	var got []string
	for _, o := range now.Observations {
		if o.Kind == KindCapability {
			if o.New {
				got = append(got, o.Entry+" "+o.Detail)
			} else if o.Entry != "cmd/x" {
				t.Errorf("not new: %+v", o)
			}
		}
	}
	want := []string{
		". calls C code (cgo): c.go", ". carries files inside the program (go:embed): d.go", ". goes around the type system (imports unsafe): b.go",
		". holds an object file that the linker takes as it is: rsrc.syso", ". holds assembly: asm_amd64.s", ". is no Go that can be parsed, so that nothing is known of it: broken.go",
		". reaches into other packages past their interface (go:linkname): b.go", ". runs code when the program starts (func init): a.go", ". sets flags of the C compiler or linker (#cgo): c.go",
		". starts other programs (imports os/exec): a.go", ". talks to the network (imports net or net/http): net_linux.go", "sys makes system calls (imports syscall or golang.org/x/sys): s.go",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Nobody asked: nothing is read.
	if rep := inspectBytes(t, "pkg:golang/example.com/m@v1.0.0", "v1.0.0.zip", zipped(t, file{name: "example.com/m@v1.0.0/a.go", body: "package m\nimport \"os/exec\"\n"}), ""); len(rep.Observations) != 0 {
		t.Errorf("%+v", rep.Observations)
	}
}

func TestGoSourceBound(t *testing.T) {
	src := []byte("package m\nimport \"os\"\n")
	for limit, over := range map[int64]bool{int64(len(src)): false, int64(len(src)) - 1: true} {
		g := newGoCode(limit)
		g.add("a.go", "a.go", src)
		if g.over != over || len(g.observations()) != 1 || (g.observations()[0].Kind == KindTooLarge) != over {
			t.Errorf("limit %d: %+v", limit, g.observations())
		}
	}
}
