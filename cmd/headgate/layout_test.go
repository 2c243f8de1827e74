package main

import (
	"encoding/pem"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/headgate/headgate/"

// mayImport is the layout of the project: per top folder the folders below it.
// A package may always import from its own top folder, but for the exceptions of
// allowed.
var mayImport = map[string][]string{
	"trust":      {},
	"sbom":       {"trust"},
	"ecosystems": {"trust", "sbom"},
	"policies":   {"trust", "sbom"},
	"store":      {"trust"},
	"ingest":     {"trust", "sbom", "ecosystems", "policies", "store"},
	"cmd":        {"trust", "sbom", "ecosystems", "policies", "store", "ingest"},
}

// publicHosts are registries whose name stands once, as the default of their ecosystem.
var publicHosts = []string{
	"registry.npmjs.org", "proxy.golang.org", "sum.golang.org", "pypi.org", "files.pythonhosted.org", "index.crates.io", "static.crates.io",
	"api.nuget.org", "repo1.maven.org", "repo.maven.apache.org", "rubygems.org", "packagist.org", "hex.pm", "pub.dev", "tuf-repo-cdn.sigstore.dev",
	"registry-1.docker.io", "deb.debian.org",
}

type goFile struct {
	path string // slash path from the root
	ast  *ast.File
	test bool
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	root := "../.."
	fset := token.NewFileSet()
	var out []goFile
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") && p != root {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		out = append(out, goFile{filepath.ToSlash(rel), f, strings.HasSuffix(name, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files found", len(out))
	}
	return out
}

func top(path string) string {
	head, _, _ := strings.Cut(path, "/")
	return head
}

// wrongWay says why a package in the folder from must not import the folder to,
// or nothing.
func wrongWay(from, to string) string {
	ft, tt := top(from), top(to)
	below, known := mayImport[ft]
	switch {
	case !known:
		return "no folder " + ft + " in the layout"
	case ft != tt && !slices.Contains(below, tt):
		return ft + " must not import " + tt
	case from == "trust" && to != "trust":
		return "the vocabulary imports nothing of ours"
	case (from == "ecosystems/adapter" || from == "ecosystems/upstream") && to == "ecosystems":
		return "the contract is below the ecosystems"
	case strings.HasPrefix(from, "ingest/report") && strings.HasPrefix(to, "cmd"):
		return "reports know no command"
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range goFiles(t) {
		from := filepath.ToSlash(filepath.Dir(f.path))
		for _, im := range f.ast.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(path, modulePath)
			if !ours {
				continue
			}
			if f.test && top(to) == top(from) {
				continue
			}
			if why := wrongWay(from, to); why != "" {
				t.Errorf("%s imports %s: %s", f.path, to, why)
			}
		}
	}
}

func TestWrongImportsAreFound(t *testing.T) {
	for _, tc := range [][2]string{{"trust/x", "sbom"}, {"sbom", "policies"}, {"store", "sbom"}, {"policies", "ecosystems"}, {"ecosystems/npm", "store"}, {"trust", "trust/x"}, {"ingest", "cmd/headgate"}, {"other", "trust"}} {
		if wrongWay(tc[0], tc[1]) == "" {
			t.Errorf("%s may import %s", tc[0], tc[1])
		}
	}
}

func TestPublicHostsStandOnce(t *testing.T) {
	seen := map[string][]string{}
	for _, f := range goFiles(t) {
		if f.test || strings.HasPrefix(f.path, "cmd/headgate/layout") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			for _, h := range publicHosts {
				if regexp.MustCompile(`(^|[^A-Za-z0-9.-])` + regexp.QuoteMeta(h) + `($|[^A-Za-z0-9.-])`).MatchString(lit.Value) {
					seen[h] = append(seen[h], f.path)
				}
			}
			return true
		})
	}
	for h, at := range seen {
		if len(at) > 1 {
			t.Errorf("%s stands %d times: %s", h, len(at), strings.Join(at, ", "))
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	docs, first := map[string]string{}, map[string]string{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		// Files with a build tag of their own are no package of a build.
		if slices.ContainsFunc(f.ast.Comments, func(g *ast.CommentGroup) bool {
			return g.Pos() < f.ast.Package && strings.HasPrefix(g.List[0].Text, "//go:build ")
		}) {
			continue
		}
		dir := filepath.ToSlash(filepath.Dir(f.path))
		if first[dir] == "" {
			first[dir] = f.path
		}
		if f.ast.Doc != nil {
			docs[dir] += f.ast.Doc.Text()
		}
	}
	for dir := range first {
		if !regexp.MustCompile(`^(Package|Command) \w`).MatchString(docs[dir]) {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// The way in is not the scanner: what CI runs is pinned by commit, the build leaves
// no trace of the machine, and headgate gates its own dependencies.
func TestThreat134OwnSupplyChain(t *testing.T) {
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	uses := regexp.MustCompile(`(?m)^\s*-?\s*uses:\s*(\S+)`)
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range uses.FindAllStringSubmatch(string(b), -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: %s is not pinned by a commit", f, m[1])
			}
		}
		if !strings.Contains(string(b), "permissions:") {
			t.Errorf("%s: the token's permissions are not narrowed", f)
		}
	}
	b, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"build: ; $(GO) build -trimpath", "run: build ; ./bin/headgate check go.mod"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the Makefile lacks %q", want)
		}
	}
	if !regexp.MustCompile(`(?m)^ci:.* run\b`).Match(b) {
		t.Error("make ci does not gate the project's own go.mod")
	}
}

// Tests pass ten years from now: no certificate, key or signed document that ends
// is committed for them; they are made when a test runs.
func TestThreat135NothingCommittedExpires(t *testing.T) {
	err := filepath.WalkDir("../..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.Contains(filepath.ToSlash(p), "/testdata/") && !strings.HasSuffix(p, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if len(block.Bytes) > 64 {
				t.Errorf("%s: a committed %s", p, block.Type)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
