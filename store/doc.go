// Package store is headgate's trust store: one SQLite file with the accepted
// signers, the evidence and its bytes, pins, requests, approvals, decisions and
// key material, and a Merkle log over every change of them.
//
// It refuses to decide: it hands out what was recorded and never says whether a
// release may pass. It refuses a file that is not a store, that is missing where
// it was named, or whose schema is newer; it refuses to record half a run, to
// lift a revocation in silence, to import an older or a wider trust set
// unasked, and to return rows whose content address does not match.
//
// # Log
//
// Every change is a leaf of a Merkle tree (golang.org/x/mod/sumdb/tlog, RFC
// 6962 hashing) that is written in the transaction of the change. A leaf is the
// JSON object [Leaf] on one line: fields in alphabetical order, no white space,
// no HTML escapes, which is RFC 8785 for the values used here (other than
// U+2028 and U+2029, which are escaped). Its "row" is the SHA-256 of the body
// of the row it covers, as stored. The newest leaf of a kind and id covers the
// row of that kind and id; every other column of the row is derived from the
// body and is compared when the log is verified.
//
// The store signs its checkpoints with a key of its own, which is in the file.
// Who can write to the file can therefore sign too: protection against an
// insider is a checkpoint that was kept elsewhere, against which VerifyLog
// proves that history was only appended to.
package store
