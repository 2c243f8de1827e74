// Package capsule packs everything that one decision rested on into one file, and
// replays it on a machine that has never seen the store.
//
// A capsule is a zip archive, entries stored in the order of their names:
//
//	manifest.json   version, decision, and per member its path, size and SHA-256
//	decision.json   the decision with its evidence
//	input.json      all that the policy looked at
//	run.json        the run that made it: policy, command, source, times
//	policy.yaml     the configuration that the effective policy is made from
//	policy.json     the effective policy in canonical form; its digest is the run's
//	log-proof.json  the proof that the log holds the decision ("headgate log prove")
//	run-proof.json  the same of the run, which names the policy
//	log-key         the verifier key of that log
//	approvals/ID    the signed approvals that let the release in, as handed in
//	raw/SHA256      the judged bytes: bundles, log entries, registry documents, keys
//	                and roots that they were judged by
//	roots/SHA256    trusted roots and key sets that evidence names, where kept
//
// The log proof covers the decision, the decision the digests of its evidence,
// and the evidence the digests of the judged bytes: whoever changes a member and
// the manifest with it is found out, if the verifier key comes from elsewhere.
//
// A replay makes the checks anew: what was recorded as verified has to follow from the
// enclosed bytes, under the enclosed roots and keys, which prove no origin, and under
// the verifier's own where there are any. What is too large to be enclosed (a
// package under a detached signature, a distribution's index) stands as recorded,
// and the replay says so.
//
// It refuses members that the manifest does not list, lists twice or states
// another digest for, anything beyond its bounds, and a replay without the policy.
package capsule
