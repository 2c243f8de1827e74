// Package github checks what is taken from a GitHub repository by git ref:
// actions, reusable workflows, and assets of releases.
//
// A commit hash is no proof of origin: a repository and all its forks share one
// object store, and the server hands out a fork's commit under the repository's
// name ("impostor commit"). So a pinned commit counts only if one of the
// repository's own branches or tags leads to it. The refs come from the
// repository's own advertisement (gitprotocol-http), in one request that no rate
// limit counts; refs of pull requests in it count for nothing. Only a commit
// that is no tip needs the API, which compares it with a bounded number of refs.
//
// It refuses a tag or branch as a pin, whatever it points at now; statements
// about a release that GitHub itself did not sign under its own root; build
// provenance of another repository or another tag; and to tell absence from an
// empty or refused answer of the API. Local actions and images (docker://) are
// other ecosystems' business.
package github
