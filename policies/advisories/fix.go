package advisories

import (
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// SmallestFix returns the smallest version that mends all advisories of a
// release which count, by what the records say; empty if there is none, or if no
// one knows.
func SmallestFix(r trust.Release, as []policies.Advisory) string {
	fix := ""
	for _, a := range as {
		if a.Suppressed != "" {
			continue
		}
		if a.Malware {
			return "" // one leaves such a package rather than upgrades it
		}
		least := ""
		for _, v := range a.Fixed {
			if c, err := CompareVersions(r.Package, r.Version, v); err != nil || c >= 0 {
				continue
			}
			if c, err := CompareVersions(r.Package, v, least); least == "" || err == nil && c < 0 {
				least = v
			}
		}
		if least == "" {
			return ""
		}
		if c, err := CompareVersions(r.Package, fix, least); fix == "" || err == nil && c < 0 {
			fix = least
		}
	}
	return fix
}
