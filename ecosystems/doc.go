// Package ecosystems is the one list of adapters: which ecosystems headgate
// verifies, made from the user's own settings, and what is true of those it
// does not verify.
//
// It refuses to leave an ecosystem unmentioned: a purl type without an adapter
// has a sentence that says why, and its components are stopped, never passed.
package ecosystems
