package policies

import (
	"strings"
	"testing"
)

const instanceYAML = `version: 1
sigstore:
  - name: acme
    trustedRoot: {path: acme.json, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"}
    issuers: [https://login.acme.example]
    scope: ["pkg:npm/@acme/*", "pkg:pypi/acme-lib"]
    logs: 1
    timestamps: 1
  - name: build-farm
    tuf:
      url: https://tuf.acme.example
      root: {path: root.json, digest: "sha256:2222222222222222222222222222222222222222222222222222222222222222"}
    issuers: https://ci.acme.example
    logs: 1
`

func TestSigstoreInstances(t *testing.T) {
	c, err := ParseConfig([]byte(instanceYAML))
	if err != nil {
		t.Fatal(err)
	}
	for purl, want := range map[string]string{
		"pkg:npm/%40acme/widget@1.0.0": "acme", "pkg:npm/widget@1.0.0": "", "pkg:npm/%40acme-evil/widget@1.0.0": "",
		"pkg:pypi/acme_lib@1": "acme", "pkg:pypi/acme-lib-evil@1": "", "pkg:golang/acme@v1.0.0": "",
	} {
		i, err := c.InstanceFor(release(t, purl).Package)
		name := ""
		if i != nil {
			name = i.Name
		}
		if err != nil || name != want {
			t.Errorf("%s is of instance %q, %v; want %q", purl, name, err, want)
		}
	}
	if i, err := c.Instance("build-farm"); err != nil || i.TUF == nil {
		t.Error(err)
	}
	if _, err := c.Instance("acmee"); err == nil || !strings.Contains(err.Error(), "acme, build-farm") {
		t.Error(err)
	}
}

func TestSigstoreInstancesRefused(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"no digest":        {`, digest: "sha256:1111111111111111111111111111111111111111111111111111111111111111"`, "", "digest is missing"},
		"weak digest":      {"sha256:1111111111111111111111111111111111111111111111111111111111111111", "sha1:1111111111111111111111111111111111111111", "sha256"},
		"no issuers":       {"    issuers: [https://login.acme.example]\n", "", "issuers is missing"},
		"issuer pattern":   {"[https://login.acme.example]", `["https://*.acme.example"]`, "exact"},
		"no witness":       {"    logs: 1\n    timestamps: 1\n", "", "both 0"},
		"negative":         {"timestamps: 1", "timestamps: -1", "between 0 and"},
		"above the bound":  {"timestamps: 1", "timestamps: 17", "between 0 and"},
		"any package":      {`["pkg:npm/@acme/*", "pkg:pypi/acme-lib"]`, `["*"]`, "unsafeAnyPackage"},
		"the public name":  {"name: acme", "name: public", "built in"},
		"a path as name":   {"name: acme", "name: ../acme", "lower-case"},
		"twice":            {"name: build-farm", "name: acme", "twice"},
		"one scope of two": {"    issuers: https://ci.acme.example\n", "    issuers: https://ci.acme.example\n    scope: [\"pkg:npm/@acme/*\"]\n", "one instance vouches"},
		"plain http":       {"https://tuf.acme.example", "http://tuf.acme.example", "unsafeInsecure"},
		"credentials":      {"https://tuf.acme.example", "https://u:p@tuf.acme.example", "plain base URL"},
		"root and tuf":     {"    tuf:\n", "    trustedRoot: {path: a, digest: \"sha256:1111111111111111111111111111111111111111111111111111111111111111\"}\n    tuf:\n", "either"},
		"unknown field":    {"    logs: 1\n    timestamps", "    log: 1\n    timestamps", "log"},
	} {
		y := strings.Replace(instanceYAML, c.old, c.new, 1)
		if y == instanceYAML {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := ParseConfig([]byte(y)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Scopes that overlap without being equal are found for the package that both cover.
	c, err := ParseConfig([]byte(instanceYAML + "    scope: [\"pkg:npm/@acme/widget\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.InstanceFor(release(t, "pkg:npm/%40acme/widget@1.0.0").Package); err == nil || !strings.Contains(err.Error(), "acme and build-farm") {
		t.Errorf("two instances: %v", err)
	}
}
