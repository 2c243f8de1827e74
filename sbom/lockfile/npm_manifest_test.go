package lockfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
)

// What package.json asks for and the lock file does not have is installed by npm
// install all the same.
func TestManifestBesidePackageLock(t *testing.T) {
	lock := func(root string) string {
		return `{"name": "app", "lockfileVersion": 3, "packages": {"": {"name": "app", ` + root + `},
  "packages/a": {"name": "a", "version": "1.0.0"}, "node_modules/a": {"resolved": "packages/a", "link": true},
  "node_modules/ms": {"version": "2.1.3", "resolved": "https://registry.example.com/ms/-/ms-2.1.3.tgz", "integrity": "` + sri512 + `"}}}`
	}
	both := `"dependencies": {"ms": "^2.1.0", "a": "file:packages/a"}`
	for _, c := range []struct{ what, root, manifest, member, want string }{
		{"the same", both, `{` + both + `}`, `{"name": "a"}`, ""},
		{"no manifest", both, "", "", ""},
		{"another range", both, `{"dependencies": {"ms": "^2.1.3"}}`, "", ""},
		{"another list", both, `{"devDependencies": {"ms": "^2.1.0"}}`, "", ""},
		{"another spelling", both, `{"dependencies": {"ms": "^2.1.0", "a": "./packages/a"}}`, "", ""},
		{"removed", both, `{}`, "", ""},
		{"an optional peer", both + `, "peerDependencies": {"react": "*"}, "optionalDependencies": {"fsevents": "2"}`, "", "", ""},
		{"more", both, `{"dependencies": {"ms": "^2.1.0", "left-pad": "1.3.0"}}`, "", "package.json asks for left-pad@1.3.0, which the lock file does not know"},
		{"more for development", both, `{"devDependencies": {"left-pad": "1.3.0"}}`, "", "package.json asks for left-pad@1.3.0"},
		{"more, perhaps", both, `{"optionalDependencies": {"left-pad": "1.3.0"}}`, "", "package.json asks for left-pad@1.3.0"},
		{"another package", both, `{"dependencies": {"ms": "npm:evil@1"}}`, "", "asks for ms@npm:evil@1"},
		{"a repository", both, `{"dependencies": {"ms": "evil/ms"}}`, "", "asks for ms@evil/ms"},
		{"in a member", both, "", `{"dependencies": {"left-pad": "1.3.0"}}`, "packages/a/package.json asks for left-pad@1.3.0"},
		{"without an entry", `"dependencies": {"left-pad": "1.3.0"}`, "", "", "the project itself asks for left-pad, of which"},
	} {
		siblings := map[string]string{}
		if c.manifest != "" {
			siblings["package.json"] = c.manifest
		}
		if c.member != "" {
			siblings["packages/a/package.json"] = c.member
		}
		got := parse(t, PackageLock, "package-lock.json", lock(c.root), siblings).Problems
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || got[0].Code != sbom.ProblemMismatch || !strings.Contains(got[0].Detail, c.want)) {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	var many []string
	for n := range maxNamed + 1 {
		many = append(many, fmt.Sprintf(`"p%d": "1"`, n))
	}
	at := func(n int) string {
		return parse(t, PackageLock, "package-lock.json", lock(both), map[string]string{"package.json": `{"dependencies": {` + strings.Join(many[:n], ", ") + `}}`}).Problems[0].Detail
	}
	if s := at(maxNamed); strings.Contains(s, "more") || !strings.Contains(s, "p4@1") {
		t.Error(s)
	}
	if s := at(maxNamed + 1); !strings.Contains(s, "p4@1 and 1 more") {
		t.Error(s)
	}
}
