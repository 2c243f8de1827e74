// Package downloads brings the plain downloads of the policy to the adapter that
// checks them, and into the inventory that is judged.
//
// It refuses to make an expectation weaker on the way: what cannot be read is an
// error, never left out.
package downloads
