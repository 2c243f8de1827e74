// Package golang is the adapter of Go modules: it holds go.sum's hashes against
// the checksum database, a transparency log that anybody can check
// (https://go.dev/ref/mod#checksum-database, golang.org/design/25530-sumdb).
//
// A hash counts when the log's signed tree contains a record with a line for
// exactly that module and version; an answer without such a line is a failure,
// not a pass. The last signed tree head is kept in trust state, so that a log
// that forks or goes back is caught, with the proof. Environment variables come
// from the user's environment and `go env` file, never from the scanned tree.
//
// It refuses to run the go command or a version control system: modules that
// only "direct" access could fetch have no bytes here. Go has no signature of a
// module's author; what the proxy says of origin and time is a hint.
package golang
