// Package mirror compares the files of a package with the source that it is said
// to come from, in git mirrors that the user names. A file that the source does
// not have was put there by whoever made the package: xz's build script was one.
//
// It reads git objects and executes nothing: no git, no hook, no filter; it
// checks nothing out and fetches nothing. Which repository and commit are meant
// comes from the caller, who says whether that was signed; the mirror comes from
// the user alone. Git's own names of contents (SHA-1) only find candidates: a file
// is the source's if its SHA-256 is.
//
// It refuses to guess: a mirror that is not there, that lacks the commit, or that
// cannot be read is an error of its own, never a match.
//
// Bounds: MaxRead bytes of source files read for one package, and those of
// package revision for trees and files.
package mirror
