package policies

import (
	"fmt"
	"slices"

	"github.com/github/go-spdx/v2/spdxexp"
)

func (l LicenseConfig) validate() error {
	for _, list := range [][]string{l.Allow, l.Deny} {
		if len(list) > MaxList {
			return fmt.Errorf("policy.licenses: %d entries are more than %d", len(list), MaxList)
		}
		if ok, bad := spdxexp.ValidateLicenses(list); !ok {
			return fmt.Errorf("policy.licenses: %q is no SPDX licence identifier", clip(bad[0]))
		}
	}
	for _, d := range l.Deny {
		if slices.Contains(l.Allow, d) {
			return fmt.Errorf("policy.licenses: %s is both allowed and denied", d)
		}
	}
	return nil
}

// judge evaluates SPDX expressions against the lists. Several expressions must
// all be acceptable. "A OR B" is acceptable if one of them is; a text that is
// no SPDX expression is unknown, which is not a pass.
func (l LicenseConfig) judge(found []string) string {
	if len(l.Allow) == 0 && len(l.Deny) == 0 {
		return "off"
	}
	if len(found) == 0 {
		return "unknown"
	}
	state := "allowed"
	for _, f := range found {
		switch l.judgeOne(f) {
		case "denied":
			return "denied"
		case "unknown":
			state = "unknown"
		}
	}
	return state
}

// maxLicense bounds a licence expression, in bytes.
const maxLicense = 2000

func (l LicenseConfig) judgeOne(expr string) string {
	if len(expr) > maxLicense {
		return "unknown"
	}
	ids, err := spdxexp.ExtractLicenses(expr)
	if err != nil || len(ids) == 0 {
		return "unknown"
	}
	allow := l.Allow
	if len(allow) == 0 {
		for _, id := range ids {
			if !slices.ContainsFunc(l.Deny, func(d string) bool { ok, err := spdxexp.Satisfies(id, []string{d}); return err == nil && ok }) {
				allow = append(allow, id)
			}
		}
		if len(allow) == 0 {
			return "denied"
		}
	}
	ok, err := spdxexp.Satisfies(expr, allow)
	switch {
	case err != nil:
		return "unknown"
	case ok:
		return "allowed"
	}
	return "denied"
}
