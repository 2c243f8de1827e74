// Package sources finds settings of the scanned repository that would change
// where packages come from: .npmrc, pnpm and Yarn settings, pip.conf, uv and
// Poetry indexes, NuGet.Config, Cargo, Bundler and Maven configuration.
//
// It refuses to obey any of them. What names another registry than the user
// configured, or loosens how registries are reached, is a difference to report;
// what cannot be read is one too, since the package manager may read it.
package sources
