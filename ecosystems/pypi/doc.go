// Package pypi checks Python distributions: the index's digests (PEP 503, 691,
// 700) and the attestations of PEP 740.
//
// The index is unsigned; attestations name the workflow that published a file,
// and PyPI's own word on the publisher is only compared with the certificate. The
// package refuses to judge one file for another: every file that the lock file
// names is checked by its own name and digest. It reads no configuration but the
// user's own.
//
// Where the source names neither an index nor a file, as requirements.txt does,
// the first of the user's indexes that knows the package is the only one that
// counts, private ones before the public one.
package pypi
