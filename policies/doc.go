// Package policies turns facts into findings: rules in CEL, compiled and
// type-checked when loaded, the built-in policies audit, baseline and strict,
// and exceptions.
//
// A rule applies or not, and what it requires holds or not; otherwise it warns,
// holds or blocks. Where it does not hold and something that it needs is
// unreachable, the outcome is undecided, not a violation. Approvals and
// exceptions set hold findings aside and leave them visible; nothing sets a
// block aside. States that nobody set (advisories, inspection, continuity) count
// as unavailable: who judges a component without them says StateOff.
//
// It refuses what proves nothing: unknown fields, rules that cannot fire,
// patterns that match everything, exceptions without reason, digest or end. It
// refuses input that contradicts itself (evidence about another release, an
// accepted signer that no evidence bears, more assurance than was verified):
// such input blocks, whatever the policy says.
package policies
