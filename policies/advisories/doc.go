// Package advisories is the fact source for vulnerabilities and malware: an
// index over the published OSV archives, matching by each ecosystem's own
// version order, and the batch API where the network may be used.
//
// It refuses to take silence for an answer: a database that is missing, empty,
// unreadable, too old, or of an ecosystem that it does not know makes the state
// unavailable, never an empty list.
package advisories
