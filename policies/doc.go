// Package policies turns facts into findings: rules in CEL, compiled and
// type-checked when loaded, the built-in policies audit, baseline and strict,
// and exceptions.
//
// It refuses what proves nothing: unknown fields, rules that cannot fire,
// patterns that match everything, exceptions without reason, digest or end.
package policies
