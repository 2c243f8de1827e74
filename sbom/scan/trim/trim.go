// Package trim cuts package-lock.json down to what says which packages there
// are, for the second reading of it by Syft.
//
// It refuses to change what it does not know: any other file, and anything that is
// not sound JSON, comes back as it was.
package trim

import (
	"encoding/json"

	"github.com/headgate/headgate/sbom/lockfile"
)

// trimmed are the fields of an entry of package-lock.json that say nothing
// about which packages there are. Syft spends two thirds of its time on them
// (licences, edges of the graph, hashes of every field); the second reading is
// about which packages there are, and the digests are the own reader's.
var trimmed = map[string]bool{
	"license": true, "engines": true, "funding": true, "dependencies": true, "peerDependencies": true, "peerDependenciesMeta": true,
	"optionalDependencies": true, "devDependencies": true, "bin": true, "os": true, "cpu": true, "libc": true, "deprecated": true, "hasInstallScript": true, "workspaces": true,
	"integrity": true, "optional": true, "peer": true, "devOptional": true,
}

// Lock returns what Syft is given to read of a file: for package-lock.json 2 and 3
// the entries without the fields above, for everything else, and for
// everything that is not sound JSON, the file itself.
func Lock(format lockfile.Format, b []byte) []byte {
	if format != lockfile.PackageLock || !json.Valid(b) {
		return b
	}
	t := trimmer{in: b, out: make([]byte, 0, len(b))}
	t.space()
	if t.at >= len(b) || b[t.at] != '{' {
		return b
	}
	found := false
	t.object(func(key []byte) bool {
		t.space()
		if string(key) != "packages" || b[t.at] != '{' {
			return false
		}
		found = true
		t.object(func([]byte) bool {
			t.space()
			if b[t.at] != '{' {
				return false
			}
			t.object(func(field []byte) bool {
				if !trimmed[string(field)] {
					return false
				}
				t.skip()
				t.drop = true
				return true
			})
			return true
		})
		return true
	})
	if !found {
		return b // version 1: the tree of dependencies is all there is
	}
	return t.out
}

// trimmer copies valid JSON from in to out.
type trimmer struct {
	in, out []byte
	at      int
	drop    bool // the member that was just read is left out
}

func (t *trimmer) space() {
	for t.at < len(t.in) && (t.in[t.at] == ' ' || t.in[t.at] == '\t' || t.in[t.at] == '\n' || t.in[t.at] == '\r') {
		t.at++
	}
}

// object copies the object at the cursor. value is called with the cursor behind each
// colon; if it returns false, the value is copied as it is, and if it sets drop,
// the member is left out.
func (t *trimmer) object(value func(key []byte) bool) {
	t.out = append(t.out, '{')
	t.at++
	first := true
	for {
		t.space()
		switch t.in[t.at] {
		case '}':
			t.out = append(t.out, '}')
			t.at++
			return
		case ',':
			t.at++
			continue
		}
		mark := len(t.out)
		if !first {
			t.out = append(t.out, ',')
		}
		start := t.at
		t.skip()
		key := t.in[start:t.at]
		t.space()
		t.at++ // the colon
		t.out = append(append(t.out, key...), ':')
		if !value(key[1 : len(key)-1]) {
			t.space()
			start = t.at
			t.skip()
			t.out = append(t.out, t.in[start:t.at]...)
		}
		if t.drop {
			t.out, t.drop = t.out[:mark], false
			continue
		}
		first = false
	}
}

// skip moves the cursor behind the next value.
func (t *trimmer) skip() {
	t.space()
	depth := 0
	for t.at < len(t.in) {
		switch c := t.in[t.at]; c {
		case '"':
			for t.at++; t.in[t.at] != '"'; t.at++ {
				if t.in[t.at] == '\\' {
					t.at++
				}
			}
			t.at++
		case '{', '[':
			depth++
			t.at++
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			t.at++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return
			}
			t.at++
			continue
		default:
			// A number or literal, or a part of one.
			for t.at < len(t.in) && !delimiter(t.in[t.at]) {
				t.at++
			}
		}
		if depth == 0 {
			return
		}
	}
}

func delimiter(c byte) bool {
	switch c {
	case ',', ':', '{', '}', '[', ']', '"', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
