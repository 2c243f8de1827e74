// Package ingest is the gate: it takes an inventory, finds out what is new
// against a base, collects evidence concurrently, has the policy judge it, and
// records what was decided.
//
// It refuses to let anything pass by accident. A component without adapter, an
// adapter that panics, an inventory that is known to be partial, a store that
// cannot be written half way through: each becomes a finding or an error, never
// silence. It holds no verdict over from an earlier run: what the store keeps
// is evidence, and policy, accepted signers and advisories are applied afresh.
package ingest
