// Package dsse reads, verifies and makes DSSE envelopes
// (https://github.com/secure-systems-lab/dsse, protocol and envelope v1).
//
// Signatures are checked over the pre-authentication encoding of the payload
// bytes as they were received, and those bytes are the only ones handed out.
//
// It refuses a payload of another type, an envelope that is no strict JSON
// (package strictjson), more than MaxSignatures signatures, and a threshold
// that proves nothing: below one or above the number of distinct keys. What
// counts towards a threshold are keys, never key ids: one key under two ids
// counts once, and an id only says which key is tried first.
package dsse
