package names

import (
	"strings"
	"testing"

	"github.com/headgate/headgate/trust"
)

func release(t testing.TB, purl string) trust.Release {
	t.Helper()
	r, err := trust.ParseRelease(purl)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckAttacks(t *testing.T) {
	x, err := NewIndex([]trust.Package{release(t, "pkg:npm/%40acme/billing-core").Package}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for purl, want := range map[string]string{
		"pkg:npm/crossenv@6.1.1":                          KindSeparator,
		"pkg:npm/electorn@1.0.0":                          KindTypo,
		"pkg:npm/loadsh@4.17.21":                          KindTypo,
		"pkg:npm/expresss@1.0.0":                          "", // a plural: honest names end so, and the age of the package tells
		"pkg:npm/axi0s@1.0.0":                             KindHomoglyph,
		"pkg:npm/lodash-4.17.21@1.0.0":                    KindVersioned,
		"pkg:npm/%40bable/core@1.0.0":                     KindScope,
		"pkg:npm/%40type/node@1.0.0":                      KindScope,
		"pkg:npm/%40tpyes/react@1.0.0":                    KindScope,
		"pkg:npm/%40angulaar/core@1.0.0":                  KindScope,
		"pkg:npm/lodash-4@1.0.0":                          KindVersioned,
		"pkg:npm/axios-v1@1.0.0":                          KindVersioned,
		"pkg:npm/react_18@1.0.0":                          KindVersioned,
		"pkg:npm/%40typescript_eslint/parser@1":           KindSeparator,
		"pkg:npm/%40typescript-esllnt/parser@1":           KindHomoglyph,
		"pkg:npm/mongose@1.0.0":                           KindTypo,
		"pkg:npm/discordjs@1.0.0":                         "",
		"pkg:npm/requset@1.0.0":                           KindTypo,
		"pkg:npm/%40acrne/billing-core@1.0.0":             KindHomoglyph,
		"pkg:pypi/reqeusts@2.0.0":                         KindTypo,
		"pkg:pypi/python-dateutils@2.0.0":                 "",
		"pkg:pypi/crypt0graphy@1.0.0":                     KindHomoglyph,
		"pkg:cargo/rustdecimal@1.0.0":                     KindSeparator,
		"pkg:cargo/serde-json@1.0.0":                      KindSeparator,
		"pkg:gem/atlas-client@1.0.0":                      "",
		"pkg:gem/rest_client@1.0.0":                       KindSeparator,
		"pkg:golang/github.com/boltdb-go/bolt@1":          KindScope,
		"pkg:golang/github.com/golang-sirupsen/logrus@v1": KindScope,
		"pkg:golang/github.com/shopsprint/decimal@v1.3.3": KindTypo,
	} {
		got := ""
		if risks := x.Check(release(t, purl), true); len(risks) > 0 {
			got = risks[0].Kind
			if risks[0].Resembles == "" || !strings.Contains(risks[0].Detail, risks[0].Resembles) {
				t.Errorf("%s: the detail does not name what is imitated: %+v", purl, risks[0])
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", purl, got, want)
		}
	}
}

func TestCheckHonest(t *testing.T) {
	x, err := NewIndex(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, purl := range []string{
		"pkg:npm/lodash@4.17.21", "pkg:npm/preact@10", "pkg:npm/es6-ext@1", "pkg:npm/color@4", "pkg:npm/babel-core@6", "pkg:npm/object.keys@1",
		"pkg:npm/lodash.merge@4", "pkg:npm/chalk@5", "pkg:npm/nanoid@3", "pkg:npm/webpack5@1", "pkg:npm/%40babel/corejs@1", "pkg:npm/moment-timezone@1",
		"pkg:pypi/Flask@2", "pkg:pypi/Pillow@9", "pkg:pypi/typing_extensions@4", "pkg:cargo/rand_chacha@0.3", "pkg:gem/activejob@7",
		"pkg:golang/github.com/gin-gonic/gin@v1.9.0", "pkg:golang/golang.org/x/tools@v0.1.0", "pkg:deb/debian/requests@1",
		"pkg:golang/github.com/aws/aws-sdk-go-v2@v1.0.0", "pkg:npm/%40aws-cdk/aws-s3@1.0.0", "pkg:npm/%40remotion/player@4.0.0", "pkg:npm/aws-cdk@2.0.0", "pkg:npm/webpack-5-x@1",
	} {
		if risks := x.Check(release(t, purl), true); len(risks) > 0 {
			t.Errorf("%s: %+v", purl, risks)
		}
	}
}

// Whoever owns a path owns the names below it, however alike they are.
func TestSiblings(t *testing.T) {
	var known []trust.Package
	for _, purl := range []string{"pkg:golang/github.com/acme/cloud/service/sns@v1.0.0", "pkg:golang/gopkg.in/acmeyaml.v3@v3.0.0", "pkg:maven/org.acme/service-sns@1", "pkg:nuget/Acme.Core.fr@1", "pkg:deb/debian/dash@1", "pkg:npm/safer-buffer@1"} {
		known = append(known, release(t, purl).Package)
	}
	x, err := NewIndex(known, nil)
	if err != nil {
		t.Fatal(err)
	}
	for purl, doubted := range map[string]bool{
		"pkg:golang/github.com/acme/cloud/service/sqs@v1.0.0": false, "pkg:golang/github.com/acrne/cloud/service/sns@v1.0.0": true, "pkg:golang/github.com/acmee/cloud/service/sns@v1.0.0": true,
		"pkg:golang/gopkg.in/acmeyeml.v3@v3.0.0": true, "pkg:maven/org.acme/service-sqs@1": false, "pkg:maven/org.acmee/service-sns@1": true,
		"pkg:nuget/Acme.Core.ar@1": false, "pkg:nuget/Acme.Core.zh-hans@1": false, "pkg:nuget/Acmee.Core.fr@1": true, "pkg:deb/debian/bash@1": false, "pkg:npm/safe-buffer@1": false,
	} {
		if risks := x.Check(release(t, purl), true); (len(risks) > 0) != doubted {
			t.Errorf("%s: %+v", purl, risks)
		}
	}
}

func TestInternalNamespace(t *testing.T) {
	x, err := NewIndex(nil, []string{"pkg:npm/@acme/*", "pkg:pypi/acme-auth"})
	if err != nil {
		t.Fatal(err)
	}
	for purl, want := range map[string]bool{
		"pkg:npm/%40acme/x@1":      true,
		"pkg:npm/%40acme-evil/x@1": false,
		"pkg:npm/acme@1":           false,
		"pkg:pypi/Acme_Auth@1":     true,
		"pkg:pypi/acme-auth2@1":    false,
	} {
		risks := x.Check(release(t, purl), true)
		if got := len(risks) > 0 && risks[0].Kind == KindInternal; got != want {
			t.Errorf("%s: internal %v, want %v", purl, got, want)
		}
		if risks := x.Check(release(t, purl), false); len(risks) > 0 && risks[0].Kind == KindInternal {
			t.Errorf("%s: internal namespace reported though it comes from the private registry", purl)
		}
	}
	for _, bad := range []string{"*", "@acme/*", "pkg:npm/*x*"} {
		if _, err := NewIndex(nil, []string{bad}); err == nil {
			t.Errorf("pattern %q accepted", bad)
		}
	}
}

func TestOneEdit(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"abc", "abc", false}, {"abc", "abd", true}, {"abc", "acb", true}, {"abc", "ab", true}, {"abc", "abcd", true}, {"abc", "a", false}, {"abcd", "badc", false}, {"", "a", true}} {
		if got := oneEdit(c.a, c.b); got != c.want || oneEdit(c.b, c.a) != c.want {
			t.Errorf("oneEdit(%q, %q) = %v", c.a, c.b, got)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	x, err := NewIndex(nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	r := release(b, "pkg:npm/some-ordinary-package@1.2.3")
	for b.Loop() {
		x.Check(r, true)
	}
}
