package inspect

import (
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// badName says what is wrong with an entry's name, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxPath:
		return "is too long"
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case strings.ContainsRune(name, 0):
		return "holds a NUL character"
	case strings.Contains(name, `\`):
		return "holds a backslash, which is a separator on Windows"
	case strings.HasPrefix(name, "/"):
		return "is absolute"
	case len(name) >= 2 && name[1] == ':':
		return "names a drive"
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == ".." {
			return "leaves the package with .."
		}
		if t := strings.TrimRight(part, ". "); t == "" && part != "." && part != "" {
			return "has a part made of dots and spaces"
		}
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == 0x202e || r == 0x2066 || r == 0x2067 || r == 0x202d {
			return "holds control or direction characters"
		}
	}
	return ""
}

type twice int

const (
	once twice = iota
	sameName
	sameFolded
)

// names remembers the names of one archive level.
type names struct {
	exact  map[string]bool
	folded map[string]string
}

func newNames() *names { return &names{exact: map[string]bool{}, folded: map[string]string{}} }

var fold = cases.Fold()

func (n *names) add(name string) (string, twice) {
	clean := path.Clean(name)
	if n.exact[clean] {
		return clean, sameName
	}
	n.exact[clean] = true
	f := clean
	if !isASCIILower(clean) {
		f = fold.String(norm.NFC.String(clean))
	}
	// Windows drops dots and spaces at the end of a name.
	if strings.Contains(f, "./") || strings.Contains(f, " /") || strings.HasSuffix(f, ".") || strings.HasSuffix(f, " ") {
		parts := strings.Split(f, "/")
		for i, p := range parts {
			parts[i] = strings.TrimRight(p, ". ")
		}
		f = strings.Join(parts, "/")
	}
	if other, ok := n.folded[f]; ok {
		return other, sameFolded
	}
	n.folded[f] = clean
	return "", once
}

// dir is for folders, which archives may list more than once.
func (n *names) dir(string) {}

func isASCIILower(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}
