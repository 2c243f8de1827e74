// Command headgate is the gate between the world's open-source packages and a
// codebase: it checks what a change adds, and refuses what nobody vouches for.
//
// This package is flags, words and exit codes. It refuses to decide anything:
// verdicts come from the gate, and an error is never exit code 0.
package main
