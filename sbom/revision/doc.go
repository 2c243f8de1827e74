// Package revision reads the tree of a git revision from the object database,
// for the base of a pre-merge check.
//
// It opens the repository with go-git and executes nothing: no git, no hook, no
// filter, no textconv, no credential helper, and it fetches nothing. Linked
// worktrees (".git" files, commondir), packed refs, alternates and shallow
// repositories are read as git does. Submodules are not entered.
//
// It refuses revisions that could be read as an option or as another name
// (a leading "-", control, space and compatibility characters), names that mean
// two different commits, abbreviated ids that fit two objects, and trees with
// entries that no path can name. A commit that a shallow clone lacks is an
// error that says which command fetches it.
package revision
