package inspect

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// KindCapability says what the source of a Go package names that reaches beyond
// computing; see Options.Deep.
const KindCapability = "go-capability"

// MaxGoSource bounds the Go source of one module that is read for its
// capabilities, in bytes.
const MaxGoSource = 256 << 20

// maxFilesNamed is how many files one observation about a capability names.
const maxFilesNamed = 5

// goCode gathers what the Go files of a module name. It reads imports, directives
// and declarations, file by file and for every platform: it knows nothing of
// types, follows no calls, and looks into no other module. Code that reaches
// further through a dependency, through reflection or through an interface that it
// is handed is not seen; what is seen is in the file that is named.
type goCode struct {
	left int64
	over bool
	// files are the files, by folder and capability.
	files map[goPlace][]string
}

type goPlace struct{ dir, capability string }

func newGoCode(limit int64) *goCode { return &goCode{left: limit, files: map[goPlace][]string{}} }

// importCapability is what an import is for; a path below one of them is the same.
var importCapability = []struct{ path, words string }{
	{"os/exec", "starts other programs (imports os/exec)"},
	{"plugin", "loads code at run time (imports plugin)"},
	{"unsafe", "goes around the type system (imports unsafe)"},
	{"syscall", "makes system calls (imports syscall or golang.org/x/sys)"},
	{"golang.org/x/sys", "makes system calls (imports syscall or golang.org/x/sys)"},
	{"internal/syscall", "makes system calls (imports syscall or golang.org/x/sys)"},
	{"net/http", "talks to the network (imports net or net/http)"},
	{"net", "talks to the network (imports net or net/http)"},
	{"golang.org/x/net", "talks to the network (imports net or net/http)"},
	{"C", "calls C code (cgo)"},
	{"os/user", "reads who the user is (imports os/user)"},
	{"os", "reaches files, environment or processes (imports os)"},
	{"io/ioutil", "reaches files, environment or processes (imports os)"},
}

// harmlessImports only parse or describe what their siblings do.
var harmlessImports = []string{"net/url", "net/netip", "net/mail", "net/textproto", "net/http/httptest", "os/signal", "golang.org/x/net/html", "golang.org/x/net/idna", "golang.org/x/net/publicsuffix", "golang.org/x/sys/cpu"}

// suffixCapability is what a file is by its name.
var suffixCapability = map[string]string{
	".s": "holds assembly", ".S": "holds assembly", ".syso": "holds an object file that the linker takes as it is", ".c": "holds C code", ".cc": "holds C code", ".cpp": "holds C code", ".m": "holds C code",
}

// ignored reports whether the go command leaves a file out of every build.
func ignored(name string) bool {
	for p := range strings.SplitSeq(path.Dir(name), "/") {
		if p == "testdata" || strings.HasPrefix(p, "_") || strings.HasPrefix(p, ".") && p != "." {
			return true
		}
	}
	base := path.Base(name)
	return strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".")
}

// add reads one file; name is its path inside the module.
func (g *goCode) add(name, shown string, b []byte) {
	if ignored(name) {
		return
	}
	see := func(words string) {
		p := goPlace{path.Dir(name), words}
		if !slices.Contains(g.files[p], shown) {
			g.files[p] = append(g.files[p], shown)
		}
	}
	ext := path.Ext(name)
	if w, ok := suffixCapability[ext]; ok {
		see(w)
	}
	if ext != ".go" {
		return
	}
	if g.left -= int64(len(b)); g.left < 0 {
		g.over = true
		return
	}
	f, err := parser.ParseFile(token.NewFileSet(), shown, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		see("is no Go that can be parsed, so that nothing is known of it")
		return
	}
	for _, im := range f.Imports {
		p, err := strconv.Unquote(im.Path.Value)
		if err != nil || slices.ContainsFunc(harmlessImports, func(h string) bool { return p == h || strings.HasPrefix(p, h+"/") }) {
			continue
		}
		for _, c := range importCapability {
			if p == c.path || c.path != "os" && strings.HasPrefix(p, c.path+"/") {
				see(c.words)
				break
			}
		}
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			see("runs code when the program starts (func init)")
		}
	}
	for _, cg := range f.Comments {
		for _, c := range cg.List {
			switch {
			case strings.HasPrefix(c.Text, "//go:linkname "):
				see("reaches into other packages past their interface (go:linkname)")
			case strings.HasPrefix(c.Text, "//go:embed "):
				see("carries files inside the program (go:embed)")
			case bytes.Contains([]byte(c.Text), []byte("#cgo ")):
				see("sets flags of the C compiler or linker (#cgo)")
			}
		}
	}
}

// observations are one for every folder and capability.
func (g *goCode) observations() []policies.Observation {
	var out []policies.Observation
	keys := slices.SortedFunc(maps.Keys(g.files), func(a, b goPlace) int {
		return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.capability, b.capability))
	})
	for _, k := range keys {
		var names []string
		for _, f := range g.files[k][:min(len(g.files[k]), maxFilesNamed)] {
			names = append(names, path.Base(f))
		}
		if more := len(g.files[k]) - maxFilesNamed; more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		out = append(out, policies.Observation{Kind: KindCapability, Entry: k.dir, Detail: k.capability + ": " + strings.Join(names, ", ")})
	}
	if g.over {
		out = append(out, policies.Observation{Kind: KindTooLarge, Effect: trust.EffectHold,
			Detail: fmt.Sprintf("the module has more than %d bytes of Go source; the rest was not read for its capabilities", int64(MaxGoSource))})
	}
	return out
}

// capability is the part of an observation's words that names no files.
func capability(detail string) string {
	i := strings.LastIndex(detail, ": ")
	return detail[:max(i, 0)]
}
