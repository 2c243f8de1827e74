// Package scan takes the inventory of a source: a directory, a lock file, an
// SBOM, an image or a package URL.
//
// # Directories
//
// One walk looks for dependency files by name (sbom/lockfile.Match and the
// files that only Syft reads). It does not enter, at any depth: version control
// (.git, .hg, .svn, .jj), installed packages (node_modules, bower_components,
// vendor, Pods, Carthage, site-packages, virtual environments) and caches
// (.terraform, .gradle, .yarn, .pnpm-store, .tox, .nox, .cache, __pycache__,
// .mypy_cache, .pytest_cache, .venv). What is installed there is what the lock files
// say, or it is not what was reviewed; either way the lock file is what is gated.
// Of a vendor directory modules.txt is read, and the files of the Go modules that
// it names are hashed, because they are what is built. Other hidden directories are
// entered. Directories behind symbolic links are not; a dependency file that is
// a symbolic link is read if it leads to a regular file inside the tree, and is
// a problem otherwise.
//
// Every dependency file is read twice: by headgate's own reader, which keeps
// digests, URLs, scope and kind, and by Syft's cataloger for that format, called
// directly over that one file. What Syft finds and the own reader does not
// becomes a component with ProblemOneSided. What the own reader finds and Syft
// does not is marked likewise if it is a registry package of a format that Syft
// is known to list completely, and Syft found anything in the file at all. These
// are no disagreements: workspace members and roots, git, path, link and URL
// dependencies, bundled packages, toolchains, aliases under either name,
// unpinned requirements, development packages outside npm, npm-shrinkwrap.json, actions (Syft takes their version from
// the comment), and formats that only one of the two reads.
//
// A manifest with dependencies and without a lock file, a file that either
// reader refuses, and two lock files of one project that disagree are problems
// of the inventory.
//
// # What it refuses
//
// To run anything (go, git, node), to reach the network (but for registry:, as
// asked), to obey configuration of the scanned tree, to follow links out of it, and to
// exceed its bounds.
package scan
