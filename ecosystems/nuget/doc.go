// Package nuget checks NuGet packages: contentHash of the lock file, and the
// author and repository signatures inside the package, at the time of their
// RFC 3161 timestamp.
//
// A repository's certificates are pinned (those of the public registry here,
// others by trustedSigners of the user's own NuGet.Config): a certificate that a
// registry hands out itself vouches for nothing. The repository signs the names
// of the package's owners too, which is the best tie between a package and its
// owner that any registry has. Name and version come from the signed package
// itself.
//
// The package refuses sources that the user's own configuration does not name,
// resources of a source on another host, protocol version 2, and a package that
// calls itself something else than what was asked for.
package nuget
