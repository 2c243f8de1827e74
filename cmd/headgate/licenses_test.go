package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestLicenses: expressions are evaluated, and what is no expression is unknown,
// which is no pass.
func TestLicenses(t *testing.T) {
	for lists, cases := range map[string]map[string]struct {
		license any
		rule    string // that holds; empty if none
	}{
		"allow: [MIT, Apache-2.0, BSD-3-Clause]": {
			"one of the list": {"MIT", ""}, "either will do": {"(GPL-3.0-only OR MIT)", ""}, "both are listed": {"MIT AND Apache-2.0", ""},
			"not listed": {"GPL-3.0-only", "license-denied"}, "one is not listed": {"MIT AND GPL-3.0-only", "license-denied"},
			"a reference": {"SEE LICENSE IN LICENSE.md", "license-unknown"}, "nobody may": {"UNLICENSED", "license-unknown"}, "none": {nil, "license-unknown"},
			"empty": {"", "license-unknown"}, "looks alike": {"MIT-ish", "license-unknown"}, "half": {"MIT OR", "license-unknown"},
		},
		"deny: [AGPL-3.0-only, GPL-3.0-only]": {
			"not denied": {"LGPL-2.1-only", ""}, "denied": {"AGPL-3.0-only", "license-denied"}, "a way out": {"AGPL-3.0-only OR MIT", ""},
			"no way out": {"MIT AND GPL-3.0-only", "license-denied"}, "unknown": {"my own", "license-unknown"},
		},
	} {
		p := newProject(t, "licensed", unsignedRegistry+"  licenses:\n    "+lists+"\n")
		p.reg.licenses = map[string]any{"1.0.0": "MIT"}
		for _, v := range append([]string{"1.0.0"}, versions(len(cases))...) {
			p.reg.tarballs[v] = tarGzip(t, map[string][]byte{"package.json": []byte(`{"name":"licensed","version":"` + v + `"}`)})
		}
		p.lock("1.0.0")
		p.commit()
		if code, out := p.headgate("init", p.dir); code != 0 {
			t.Fatalf("init: exit %d\n%s", code, out)
		}
		next := versions(len(cases))
		for what, tc := range cases {
			v := next[0]
			next = next[1:]
			p.reg.licenses[v] = tc.license
			p.lock(v)
			code, out := p.headgate("check", p.dir, "--base", "HEAD", "--bytes", "--dry-run", "-q")
			want := 0
			if tc.rule != "" {
				want = 1
			}
			if code != want || tc.rule != "" && !strings.Contains(out, "hold "+tc.rule) {
				t.Errorf("%s, %s (%v): exit %d, want %d\n%s", lists, what, tc.license, code, want, out)
			}
		}
	}
}

func versions(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("1.0.%d", i+1))
	}
	return out
}
