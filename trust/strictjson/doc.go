// Package strictjson reads JSON that is signed or is policy, so that every
// reader of the same bytes sees the same document.
//
// It refuses what encoding/json lets pass: an object with one key twice, keys
// that differ only in case ("Subject" beside "subject", or instead of it where
// a struct field is named "subject"), data behind the document, text that is
// not UTF-8, escapes of half a surrogate pair, documents longer than MaxBytes
// and nesting deeper than MaxDepth.
package strictjson
