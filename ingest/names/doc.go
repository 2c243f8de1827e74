// Package names doubts names: look-alikes of packages that a project, the store
// or the world already knows, and names of internal namespaces that must never
// come from a public registry.
//
// It refuses to guess from rare coincidences. Each rule names the one package
// that is imitated, and the rules are kept so narrow that the lock files of
// well-known projects raise at most one false alarm in a thousand packages.
package names
