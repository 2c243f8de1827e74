// Package sshsig makes and verifies SSH signatures as "ssh-keygen -Y" does
// (OpenSSH's PROTOCOL.sshsig), and reads allowed_signers files.
//
// It refuses a signature for another namespace, over another message, or by a
// key that the caller did not name; RSA below MinRSABits or with SHA-1; DSA;
// hashes other than SHA-256 and SHA-512; security key signatures without user
// presence; certificates, as their authorities need rules of their own;
// anything before, behind or inside the armour that does not belong there.
//
// There is no clock here: a signature carries no time. Whoever knows when it
// was made asks AllowedSigner.Allows with that time.
package sshsig
