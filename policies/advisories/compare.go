package advisories

import "github.com/headgate/headgate/trust"

// CompareVersions orders two versions of a package in its ecosystem's order: a
// negative number if a is older than b. A package of no known ecosystem, and a
// version that its ecosystem cannot read, are errors: there is no order then.
func CompareVersions(p trust.Package, a, b string) (int, error) {
	base, err := EcosystemOf(p)
	if err != nil {
		return 0, err
	}
	return compare(base, a, b)
}
