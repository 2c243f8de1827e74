// Package upstream is the one HTTP client of all adapters.
//
// It refuses plain http (but for hosts that the user's own configuration marks
// insecure), private, loopback, link-local and metadata addresses after name
// resolution (but for hosts that the user marks insecure or private), redirects
// to hosts that the request does not name, bodies beyond their bound, trust
// files that are missing or empty, and bytes that differ from the wanted
// digest. It never sends credentials to a host or path that they are not for,
// and never shows them in an error, a log or a Response.
//
// A host that asks for fewer requests is left alone by all callers for as long as
// it asked, and whoever is told of waits is told so.
//
// Behind an HTTP proxy the proxy resolves names; the client can then check only
// addresses that are written in the URL.
package upstream
