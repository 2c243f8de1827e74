package sigstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// Bounds on bundles and statements. Each is the largest value accepted.
const (
	MaxBundle       = 16 << 20 // bytes of one bundle
	MaxLogEntries   = 32       // transparency log entries of a bundle
	MaxTimestamps   = 32       // RFC 3161 timestamps of a bundle
	MaxJSONDepth    = 64       // nesting of bundles, statements and roots
	MaxJSONValues   = 1 << 20  // values and keys of one document
	MaxSubjects     = 1024     // subjects of a statement, where several are allowed
	MaxTrustedRoot  = 1 << 20  // bytes of a trusted_root.json or key list
	MaxCertificates = 4        // certificates of a chain in a bundle

	// Bounds where Expectation.Folder asks for them.
	MaxFolderBundle   = 64 << 20 // bytes
	MaxFolderSubjects = 200_000
	maxFolderValues   = 16 * MaxFolderSubjects
)

// CheckJSON refuses JSON that two parsers may read differently: duplicate keys,
// keys that differ only in case, data after the value, invalid UTF-8, nesting
// beyond MaxJSONDepth, more than MaxJSONValues tokens. It returns the lengths of
// the arrays under the keys that count names.
func CheckJSON(b []byte, count ...string) (map[string]int, error) {
	return checkJSON(b, MaxJSONValues, count...)
}

func checkJSON(b []byte, maxValues int, count ...string) (map[string]int, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	type level struct {
		object bool
		key    string // last key read
		value  bool   // in an object: a value is due
		keys   map[string]string
		n      int
	}
	counts := map[string]int{}
	var stack []*level
	for tokens := 0; ; tokens++ {
		if tokens > maxValues {
			return nil, fmt.Errorf("more than %d values", maxValues)
		}
		tok, err := dec.Token()
		if err == io.EOF {
			return nil, fmt.Errorf("unexpected end of JSON")
		}
		if err != nil {
			return nil, err
		}
		var top *level
		if len(stack) > 0 {
			top = stack[len(stack)-1]
		}
		if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
			stack = stack[:len(stack)-1]
			if d == ']' && len(stack) > 0 {
				if p := stack[len(stack)-1]; p.object {
					for _, k := range count {
						if p.key == k {
							counts[k] += top.n
						}
					}
				}
			}
		} else {
			if top != nil && top.object && !top.value {
				key := tok.(string)
				folded := fold(key)
				if prev, dup := top.keys[folded]; dup {
					return nil, fmt.Errorf("keys %q and %q in one object", clip(prev), clip(key))
				}
				top.keys[folded] = key
				top.key, top.value = key, true
				continue
			}
			if top != nil {
				top.value = false
				top.n++
			}
			if ok {
				if len(stack) >= MaxJSONDepth {
					return nil, fmt.Errorf("nested deeper than %d", MaxJSONDepth)
				}
				l := &level{object: d == '{'}
				if l.object {
					l.keys = map[string]string{}
				}
				stack = append(stack, l)
			}
		}
		if len(stack) == 0 {
			break
		}
	}
	if rest := bytes.TrimSpace(b[dec.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the JSON value", len(rest))
	}
	return counts, nil
}

// fold maps strings that encoding/json takes for one key to one string.
func fold(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		low := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			low = min(low, f)
		}
		out = append(out, low)
	}
	return string(out)
}

// clip shortens upstream text for an error message.
func clip(s string) string {
	const max = 100
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}

// object reads a JSON object by exact keys; encoding/json's struct matching
// ignores case and is not used on signed data.
func object(b []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("null where an object belongs")
	}
	return m, nil
}

// str reads a string member; a missing one is "".
func str(m map[string]json.RawMessage, key string) (string, error) {
	raw, ok := m[key]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return "", fmt.Errorf("%q is not a string", key)
	}
	return *s, nil
}
