package checksums

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxList  = 16 << 20 // bytes of a list
	MaxLines = 200000   // lines of a list
	MaxName  = 1024     // bytes of a file name
)

// List is a parsed checksum list.
type List struct {
	digests map[string]trust.Digests
	names   []string
}

var bsd = regexp.MustCompile(`^(MD5|SHA1|SHA256|SHA384|SHA512) ?\((.*)\) = ([0-9a-fA-F]+)$`)

var bsdNames = map[string]trust.Algorithm{"MD5": trust.MD5, "SHA1": trust.SHA1, "SHA256": trust.SHA256, "SHA384": trust.SHA384, "SHA512": trust.SHA512}

// byLength tells the algorithm of GNU lines by the number of hex digits; what
// the list is called is not signed.
var byLength = map[int]trust.Algorithm{32: trust.MD5, 40: trust.SHA1, 64: trust.SHA256, 96: trust.SHA384, 128: trust.SHA512}

// Parse reads a list. Empty lines and lines that start with "#" are passed
// over; any other line that cannot be read makes the whole list malformed.
func Parse(data []byte) (*List, error) {
	if len(data) > MaxList {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the checksum list has %d bytes, more than %d", len(data), MaxList)
	}
	if !utf8.Valid(data) {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the checksum list is not UTF-8")
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) > MaxLines {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the checksum list has more than %d lines", MaxLines)
	}
	l := &List{digests: map[string]trust.Digests{}}
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, d, err := parseLine(line)
		if err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "line %d of the checksum list: %w", i+1, err)
		}
		have, known := l.digests[name]
		if old := have.Get(d.Algorithm); !old.IsZero() {
			if !old.Equal(d) {
				return nil, trust.Failure(trust.ReasonDuplicate, "the checksum list names %q twice with different digests", clip(name))
			}
			continue
		}
		if !known {
			l.names = append(l.names, name)
		}
		l.digests[name] = append(have, d)
	}
	if len(l.names) == 0 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the checksum list names no file")
	}
	return l, nil
}

func parseLine(line string) (string, trust.Digest, error) {
	if m := bsd.FindStringSubmatch(line); m != nil {
		name, err := checkName(m[2])
		if err != nil {
			return "", trust.Digest{}, err
		}
		d, err := trust.NewDigest(bsdNames[m[1]], m[3])
		return name, d, err
	}
	if strings.HasPrefix(line, `\`) {
		return "", trust.Digest{}, fmt.Errorf("escaped file names are not supported")
	}
	sum, rest, ok := strings.Cut(line, " ")
	alg, known := byLength[len(sum)]
	if _, err := hex.DecodeString(sum); err != nil || !ok || !known {
		return "", trust.Digest{}, fmt.Errorf("neither \"digest  name\" nor \"SHA256 (name) = digest\"")
	}
	// A blank for text or a star for binary mode follows; some tools leave it out.
	if rest != "" && (rest[0] == ' ' || rest[0] == '*') {
		rest = rest[1:]
	}
	name, err := checkName(rest)
	if err != nil {
		return "", trust.Digest{}, err
	}
	d, err := trust.NewDigest(alg, sum)
	return name, d, err
}

// checkName returns the plain file name, or an error for anything that could
// be taken for a place elsewhere.
func checkName(name string) (string, error) {
	name = strings.TrimPrefix(name, "./")
	switch {
	case name == "" || len(name) > MaxName:
		return "", fmt.Errorf("a file name of %d bytes, needs 1 to %d", len(name), MaxName)
	case name == "." || name == ".." || strings.ContainsAny(name, `/\`):
		return "", fmt.Errorf("file name %q is a path", clip(name))
	case strings.TrimSpace(name) != name:
		return "", fmt.Errorf("file name %q starts or ends with a blank", clip(name))
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return "", fmt.Errorf("file name %q has control characters", clip(name))
		}
	}
	return name, nil
}

// Names returns the files of the list in its order.
func (l *List) Names() []string { return append([]string(nil), l.names...) }

// Find returns the digests of the file with exactly that name. No line is
// absent evidence; MD5 and SHA-1 alone are a failure.
func (l *List) Find(name string) (trust.Digests, error) {
	ds, ok := l.digests[name]
	if !ok {
		return nil, &trust.VerifyError{Outcome: trust.Absent, Reason: trust.ReasonNotCovered, Err: fmt.Errorf("the checksum list has no line for %q", clip(name))}
	}
	if ds.Strongest().IsZero() {
		return nil, trust.Failure(trust.ReasonWeakDigest, "the checksum list has only MD5 or SHA-1 for %q", clip(name))
	}
	return append(trust.Digests(nil), ds...), nil
}

// Check demands that the list's digest of the file agrees with those computed
// over the bytes.
func (l *List) Check(name string, computed trust.Digests) error {
	ds, err := l.Find(name)
	if err != nil {
		return err
	}
	switch ds.Compare(computed) {
	case trust.Agree:
		return nil
	case trust.Disagree:
		return trust.Failure(trust.ReasonWrongDigest, "the bytes of %q are not those that the checksum list names (%s)", clip(name), ds.Strongest())
	}
	return trust.Undecidable(trust.ReasonUnsupported, "the checksum list states %s of %q, which was not computed", ds.Strongest().Algorithm, clip(name))
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
