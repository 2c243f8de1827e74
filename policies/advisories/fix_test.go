package advisories

import (
	"testing"

	"github.com/headgate/headgate/policies"
)

func TestSmallestFix(t *testing.T) {
	r := rel(t, "pkg:npm/x@1.9.0")
	a := func(fixed ...string) policies.Advisory { return policies.Advisory{ID: "A", Fixed: fixed} }
	for name, tc := range map[string]struct {
		as   []policies.Advisory
		want string
	}{
		"none":               {nil, ""},
		"one":                {[]policies.Advisory{a("1.10.0")}, "1.10.0"},
		"older lines":        {[]policies.Advisory{a("1.2.3", "2.0.0", "1.10.0")}, "1.10.0"},
		"all of them":        {[]policies.Advisory{a("1.10.0", "2.0.1"), a("1.9.1")}, "1.10.0"},
		"one without a fix":  {[]policies.Advisory{a("1.10.0"), a()}, ""},
		"only older fixes":   {[]policies.Advisory{a("1.2.3")}, ""},
		"suppressed":         {[]policies.Advisory{a("1.10.0"), {ID: "B", Suppressed: "not reachable"}}, "1.10.0"},
		"malware is no bug":  {[]policies.Advisory{a("1.10.0"), {ID: "MAL-1", Malware: true, Fixed: []string{"2.0.0"}}}, ""},
		"unreadable version": {[]policies.Advisory{a("not a version")}, ""},
	} {
		if got := SmallestFix(r, tc.as); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
