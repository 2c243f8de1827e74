// Package inspect looks inside packages: archives that attack whoever unpacks
// them, code that runs at install time, native binaries, and data hidden behind
// signatures and behind the end of images.
//
// It reads archives as streams. It extracts nothing to disk, runs nothing, and
// follows no link. It refuses to call a package clean that it could not read in
// full: what goes beyond a bound is an observation of its own.
//
// What the source of a Go module reaches (Options.Deep) is read from its imports,
// directives and file names. github.com/google/capslock, which follows calls, does not
// serve: it loads packages with the go command, in the module's own directory and
// with its dependencies fetched, which would run a tool over downloaded files, and
// the module was not to be had from the public proxy.
//
// Bounds: MaxEntries entries, MaxUnpacked bytes of output over all levels,
// MaxContent bytes of one entry whose content is looked into, MaxNesting levels
// of archives inside archives, MaxPath bytes of an entry's name.
package inspect
