package scan

import (
	"context"
	"maps"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/headgate/headgate/sbom"
)

func mapFS(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, content := range files {
		out[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return out
}

func scanned(t *testing.T, files map[string]string, r *Readings) *sbom.Inventory {
	t.Helper()
	inv, err := Tree(context.Background(), mapFS(files), sbom.Source{Name: "x"}, Options{Readings: r})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// What is taken from another scan is what reading it anew would have been: for every
// change of a file, of one beside it, and of nothing at all.
func TestReadings(t *testing.T) {
	base := map[string]string{
		"web/package-lock.json": lock("left", "1.0.0", ""),
		"web/package.json":      `{"name":"app","dependencies":{"left":"*"}}`,
		"api/package-lock.json": lock("left", "1.0.0", ""),
		"go.mod":                "module example.com/app\n\ngo 1.26\n\nrequire example.com/dep v1.0.0\n",
		"go.sum":                "example.com/dep v1.0.0 h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nexample.com/dep v1.0.0/go.mod h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"py/requirements.txt":   "-r more.txt\nflask==1.0.0\n",
		"py/more.txt":           "click==8.0.0\n",
		"broken/Cargo.lock":     "[[package]\n",
		"mix/rebar.lock":        "{\"1.2.0\",\n[{<<\"cowboy\">>,{pkg,<<\"cowboy\">>,<<\"2.9.0\">>},0}]}.\n",
	}
	for _, tc := range []struct {
		name   string
		change map[string]string // "" removes
		again  []string          // dependency files that have to be read again
	}{
		{"nothing", nil, nil},
		{"a lock file", map[string]string{"web/package-lock.json": lock("left", "1.1.0", "")}, []string{"web/package-lock.json"}},
		{"the sums of a module", map[string]string{"go.sum": "example.com/dep v1.0.0 h1:AAAAQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"}, []string{"go.mod", "go.sum"}},
		{"the sums are gone", map[string]string{"go.sum": ""}, []string{"go.mod"}},
		{"an included file", map[string]string{"py/more.txt": "click==8.1.0\n"}, []string{"py/requirements.txt"}},
		{"a shrinkwrap appears", map[string]string{"api/npm-shrinkwrap.json": lock("left", "2.0.0", "")}, []string{"api/package-lock.json"}},
		{"a broken file is mended", map[string]string{"broken/Cargo.lock": "[[package]]\nname = \"x\"\nversion = \"1.0.0\"\n"}, []string{"broken/Cargo.lock"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r Readings
			first := scanned(t, base, &r)
			if fresh := scanned(t, base, nil); !reflect.DeepEqual(first, fresh) {
				t.Fatalf("remembering changes the inventory:\n%+v\n%+v", first, fresh)
			}
			before := maps.Clone(r.files)
			head := maps.Clone(base)
			for name, content := range tc.change {
				if head[name] = content; content == "" {
					delete(head, name)
				}
			}
			if got, want := scanned(t, head, &r), scanned(t, head, nil); !reflect.DeepEqual(got, want) {
				t.Errorf("with readings:\n%+v\nwithout:\n%+v", got, want)
			}
			again := map[string]bool{}
			for _, name := range tc.again {
				again[name] = true
			}
			for name, was := range before {
				if _, there := head[name]; there && (r.files[name] != was) != again[name] {
					t.Errorf("%s was read again: %t, want %t", name, r.files[name] != was, again[name])
				}
			}
			if fresh := scanned(t, base, nil); !reflect.DeepEqual(first, fresh) {
				t.Errorf("the second scan changed the inventory of the first")
			}
		})
	}
}
