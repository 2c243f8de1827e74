// Package nugetsig reads NuGet packages (.nupkg), computes their contentHash,
// and verifies author and repository signatures inside them (".signature.p7s",
// NuGet's package signing specification).
//
// Open does the mathematics: the zip is read strictly, the signed hash is
// recomputed over the package without its signature, and every CMS signature
// must be sound. Signature.Verify then says whether anybody pinned vouches for
// the signer, at the RFC 3161 time.
//
// It refuses zips that two readers could see differently: bytes in front of,
// between or behind the entries, ZIP64, several disks, encryption, local
// headers that contradict the central directory, names twice or equal but for
// their case. The signature must be one stored entry of exactly that name.
package nugetsig
