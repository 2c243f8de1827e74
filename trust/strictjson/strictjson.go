package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Bounds of a document.
const (
	// MaxBytes bounds the length of a document in bytes.
	MaxBytes = 64 << 20
	// MaxDepth bounds how deeply arrays and objects nest.
	MaxDepth = 64
)

// Errors that all refusals beyond plain syntax wrap.
var (
	ErrDuplicateKey = errors.New("duplicate key")
	ErrKeyCase      = errors.New("key differs only in case")
	ErrTrailingData = errors.New("data after the JSON document")
	ErrTooDeep      = errors.New("JSON nests too deeply")
	ErrTooLarge     = errors.New("JSON document is too large")
	ErrEncoding     = errors.New("JSON text is not valid UTF-8")
	ErrUnknownKey   = errors.New("unknown key")
)

// Unmarshal reads data into v like json.Unmarshal, with the refusals of this
// package. Keys that v has no field for are ignored.
func Unmarshal(data []byte, v any) error { return unmarshal(data, v, false) }

// UnmarshalKnown is Unmarshal that also refuses keys that v has no field for,
// at every depth. It is for documents that headgate defines itself.
func UnmarshalKnown(data []byte, v any) error { return unmarshal(data, v, true) }

// Check reports whether data is one strict JSON document, whatever it holds.
func Check(data []byte) error { return check(data, nil, false) }

func unmarshal(data []byte, v any, known bool) error {
	if err := check(data, reflect.TypeOf(v), known); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func check(data []byte, t reflect.Type, known bool) error {
	if len(data) > MaxBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxBytes)
	}
	if !utf8.Valid(data) {
		return ErrEncoding
	}
	if err := surrogates(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	w := walker{dec: dec, known: known}
	if err := w.value(t, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ErrTrailingData
	}
	return nil
}

// surrogates refuses \u escapes of half a surrogate pair: encoding/json makes
// them all U+FFFD, so that different texts would become one.
func surrogates(data []byte) error {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 >= len(data) {
			continue
		}
		if data[i+1] != 'u' {
			i++
			continue
		}
		switch u := hex4(data, i+2); {
		case u >= 0xd800 && u < 0xdc00:
			if i+7 >= len(data) || data[i+6] != '\\' || data[i+7] != 'u' {
				return fmt.Errorf("%w: half a surrogate pair", ErrEncoding)
			}
			if lo := hex4(data, i+8); lo < 0xdc00 || lo > 0xdfff {
				return fmt.Errorf("%w: half a surrogate pair", ErrEncoding)
			}
			i += 11
		case u >= 0xdc00 && u <= 0xdfff:
			return fmt.Errorf("%w: half a surrogate pair", ErrEncoding)
		default:
			i += 5
		}
	}
	return nil
}

func hex4(b []byte, at int) int {
	if at+4 > len(b) {
		return -1
	}
	v := 0
	for _, c := range b[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | int(c-'A'+10)
		default:
			return -1
		}
	}
	return v
}

type walker struct {
	dec   *json.Decoder
	known bool
}

// value consumes one JSON value that is about to be decoded into t; a nil t
// stands for anything.
func (w walker) value(t reflect.Type, depth int) error {
	tok, err := w.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	d, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= MaxDepth {
		return fmt.Errorf("%w: more than %d levels", ErrTooDeep, MaxDepth)
	}
	t = settle(t)
	if d == '[' {
		var elem reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			elem = t.Elem()
		}
		for w.dec.More() {
			if err := w.value(elem, depth+1); err != nil {
				return err
			}
		}
		_, err := w.dec.Token()
		return err
	}
	return w.object(t, depth)
}

func (w walker) object(t reflect.Type, depth int) error {
	var fields map[string]reflect.Type
	var elem reflect.Type
	isStruct := t != nil && t.Kind() == reflect.Struct
	switch {
	case isStruct:
		fields = map[string]reflect.Type{}
		collect(t, fields, 0)
	case t != nil && t.Kind() == reflect.Map:
		elem = t.Elem()
	}
	seen := map[string]string{} // folded key to key
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("object key is no string")
		}
		folded := fold(key)
		if prev, ok := seen[folded]; ok {
			if prev == key {
				return fmt.Errorf("%w %q", ErrDuplicateKey, short(key))
			}
			return fmt.Errorf("%w: %q and %q", ErrKeyCase, short(prev), short(key))
		}
		seen[folded] = key
		next := elem
		if isStruct {
			ft, ok := fields[key]
			if !ok {
				for name := range fields {
					if fold(name) == folded {
						return fmt.Errorf("%w: %q for %q", ErrKeyCase, short(key), name)
					}
				}
				if w.known {
					return fmt.Errorf("%w %q", ErrUnknownKey, short(key))
				}
			}
			next = ft
		}
		if err := w.value(next, depth+1); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// settle follows pointers; types that read themselves and interfaces become nil.
func settle(t reflect.Type) reflect.Type {
	for t != nil {
		if t.Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(jsonUnmarshaler) ||
			t.Implements(textUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler) {
			return nil
		}
		switch t.Kind() {
		case reflect.Pointer:
			t = t.Elem()
		case reflect.Interface:
			return nil
		default:
			return t
		}
	}
	return nil
}

// collect gathers the JSON names of a struct's fields, embedded ones included.
func collect(t reflect.Type, into map[string]reflect.Type, depth int) {
	if depth > MaxDepth {
		return
	}
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Tag.Get("json") == "-" {
			continue
		}
		if f.Anonymous && tag == "" {
			e := f.Type
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct {
				collect(e, into, depth+1)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		if _, ok := into[tag]; !ok {
			into[tag] = f.Type
		}
	}
}

// fold maps all spellings that encoding/json takes for one field name to one
// text: simple case folding, Kelvin sign and long s included.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

func short(s string) string {
	const max = 60
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
