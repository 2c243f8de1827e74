package trim

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/headgate/headgate/sbom/lockfile"
)

func TestTrim(t *testing.T) {
	in := `{"name":"app", "lockfileVersion":3,"x":[1,{"packages":2}],"packages":{"":{"name":"app","workspaces":["a"]},"node_modules/a\"b":{"version":"1.0.0", "dependencies":{"b":"{\"}"},"dev":true,"license":"MIT"},"n":null},"z":-1.5e3}`
	want := `{"name":"app","lockfileVersion":3,"x":[1,{"packages":2}],"packages":{"":{"name":"app"},"node_modules/a\"b":{"version":"1.0.0","dev":true},"n":null},"z":-1.5e3}`
	if got := string(Lock(lockfile.PackageLock, []byte(in))); got != want {
		t.Errorf("%s", got)
	}
	for _, s := range []string{"", "[]", "{", `{"dependencies":{}}`, "7"} {
		if got := string(Lock(lockfile.PackageLock, []byte(s))); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func FuzzTrim(f *testing.F) {
	f.Add([]byte(`{"lockfileVersion":3,"packages":{"node_modules/left":{"version":"1.0.0","license":"MIT"}}}`))
	f.Add([]byte(`{"packages":{"a":{"license":{"x":[1,"\""]}}},"packages":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := Lock(lockfile.PackageLock, b)
		if !bytes.Equal(out, b) && !json.Valid(out) {
			t.Errorf("%q became %q", b, out)
		}
	})
}
