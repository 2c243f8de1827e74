package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText bounds, in bytes, one piece of upstream text in reports for people.
const MaxText = 600

// Clean makes text safe to show on one line of a terminal or a log: line feeds and
// tabs become spaces; other control,
// format and private characters, line and paragraph separators, and invalid
// UTF-8 become visible escapes; text longer than MaxText is cut and says so.
func Clean(s string) string { return clean(s, MaxText) }

func clean(s string, max int) string {
	ok := len(s) <= max && utf8.ValidString(s)
	if ok {
		for _, r := range s {
			if unsafeRune(r) {
				ok = false
				break
			}
		}
	}
	if ok {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if b.Len() >= max {
			fmt.Fprintf(&b, "… (%d bytes more)", len(s)-i)
			break
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t':
			// Sentences of upstream are often wrapped; on one line a space reads better.
			b.WriteByte(' ')
		case unsafeRune(r) && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case unsafeRune(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// unsafeRune reports whether r could move the cursor, hide or reorder text, or
// be taken for nothing: all of Unicode's "other" and all separators but the space.
func unsafeRune(r rune) bool {
	if r >= 0x20 && r < 0x7f {
		return false
	}
	return unicode.Is(unicode.C, r) || r != ' ' && unicode.Is(unicode.Z, r) || invisible(r)
}

// invisible are marks that are letters or marks by category and yet draw nothing.
func invisible(r rune) bool {
	switch r {
	case 0x034f, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x3164, 0xffa0:
		return true
	}
	return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r >= 0x180b && r <= 0x180f
}

// asciiJSON replaces, inside JSON text, every character that a terminal could
// act upon by its \u escape. The value that a JSON reader sees stays the same.
func asciiJSON(b []byte) []byte {
	if !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf || c < ' ' && c != '\n' && c != '\t' || c == 0x7f }) {
		return b
	}
	var out bytes.Buffer
	out.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\n' || r == '\t' || !unsafeRune(r):
			out.Write(b[:n])
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			hi, lo := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&out, `\u%04x\u%04x`, hi, lo)
		}
		b = b[n:]
	}
	return out.Bytes()
}

// count returns "1 thing" or "n things".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
