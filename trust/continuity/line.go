package continuity

import (
	"cmp"
	"strconv"
	"strings"
)

// Line is the release line of a version: releases within one line follow each
// other, while several lines are kept up side by side.
//
// Where versions are semantic it is the major version, or 0.minor before 1.0.
// PyPI adds the epoch. Distributions, images and everything without an order of
// its own have one line. A version that does not parse is on the line of its own
// that compares with everything (Known false).
type Line struct {
	Epoch, Major, Minor int
	Known               bool
}

// semantic are the purl types whose first number is a line.
var semantic = map[string]bool{
	"npm": true, "golang": true, "cargo": true, "nuget": true, "gem": true, "composer": true, "hex": true, "pub": true,
	"swift": true, "github": true, "githubactions": true, "pypi": true, "maven": true, "conan": true, "cran": true,
	"hackage": true, "julia": true, "terraform": true, "helm": true, "jsr": true, "conda": true,
}

// LineOf returns the release line of a version of a purl type.
func LineOf(purlType, version string) Line {
	if !semantic[purlType] {
		return Line{Known: true}
	}
	v := strings.TrimLeft(version, "vV=")
	var l Line
	if e, rest, ok := strings.Cut(v, "!"); ok && purlType == "pypi" {
		n, err := strconv.Atoi(e)
		if err != nil {
			return Line{}
		}
		l.Epoch, v = n, rest
	}
	major, rest, ok := number(v)
	if !ok {
		return Line{}
	}
	l.Major, l.Known = major, true
	if major == 0 && strings.HasPrefix(rest, ".") {
		if minor, _, ok := number(rest[1:]); ok {
			l.Minor = minor
		}
	}
	return l
}

// maxDigits bounds one number of a version; longer ones are no line.
const maxDigits = 9

func number(s string) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == 0 || i > maxDigits {
		return 0, s, false
	}
	n, err := strconv.Atoi(s[:i])
	return n, s[i:], err == nil
}

func (l Line) compare(o Line) int {
	return cmp.Or(cmp.Compare(l.Epoch, o.Epoch), cmp.Compare(l.Major, o.Major), cmp.Compare(l.Minor, o.Minor))
}
