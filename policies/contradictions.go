package policies

import (
	"fmt"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// contradictions are versions that the source claims in a comment beside a commit,
// and that upstream's tags do not have there. Where upstream could not be asked
// about the commit there is nothing to compare.
func contradictions(c *sbom.Component, f *trust.Facts) []string {
	out := []string{}
	if f.VCSCommit == "" || f.VCSCommit != c.Commit {
		return out
	}
	for _, x := range c.Expect {
		v := x["version"]
		if x["kind"] != sbom.ExpectVersion || v == "" || tagged(v, f.VCSTags) {
			continue
		}
		switch {
		case len(f.VCSTags) > 0:
			out = append(out, fmt.Sprintf("a comment calls the commit %s, and upstream's tags call it %s", v, strings.Join(f.VCSTags[:min(len(f.VCSTags), 4)], ", ")))
		case strings.Count(v, ".") >= 2:
			out = append(out, fmt.Sprintf("a comment calls the commit %s, and no tag of upstream leads to it", v))
		}
		// "v4" for a commit between two releases says nothing that is wrong.
	}
	return out
}

// tagged reports whether one of the tags is the version, or narrows it: "v4.1.1"
// for "v4" and "4.1".
func tagged(version string, tags []string) bool {
	v := strings.TrimPrefix(version, "v")
	for _, t := range tags {
		t = t[strings.LastIndexByte(t, '/')+1:]
		t = strings.TrimPrefix(t, "v")
		if t == v || strings.HasPrefix(t, v+".") {
			return true
		}
	}
	return false
}
