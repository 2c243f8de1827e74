// Package signing signs files, folders, images, SBOMs and headgate's own
// verdicts: keyless with Sigstore, with key files, SSH keys, certificates or a KMS.
// The result is a Sigstore bundle v0.3, which cosign and "gh attestation verify" read
// too; for SSH and minisign keys also what ssh-keygen and minisign write.
//
// Private keys never leave their place: a file's key stays in memory, an agent's
// in the agent, a KMS's in the KMS. Network calls are made to the services that
// the caller's signing configuration names, and to no others.
//
// It refuses to sign what it could not describe in full: paths that are not valid
// UTF-8, folders beyond MaxFiles, files that change while they are read.
package signing
