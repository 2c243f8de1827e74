package debian

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/headgate/headgate/trust"
)

// Bounds of control data.
const (
	MaxLine           = 1 << 20   // bytes of one line
	MaxStanza         = 4 << 20   // bytes of one stanza of a Packages file
	MaxFields         = 256       // fields of one stanza
	MaxPackages       = 1 << 18   // stanzas of one Packages file
	MaxRelease        = 16 << 20  // bytes of an InRelease file
	MaxReleaseEntries = 200_000   // files that one InRelease lists
	MaxIndex          = 128 << 20 // bytes of a Packages file as it is served
	MaxIndexUnpacked  = 512 << 20 // bytes of a Packages file when unpacked
	MaxPackage        = 4 << 30   // bytes of one .deb
	MaxDescription    = 1 << 20   // bytes of a source package's .dsc
)

// stanza is one paragraph of control data: fields in any order, each once.
type stanza map[string]string

// control reads paragraphs of control data one after the other. keep says which
// fields are wanted; the others are checked and dropped.
type control struct {
	r    *bufio.Reader
	keep func(field string) bool
	max  int // bytes of one paragraph
}

func newControl(r io.Reader, max int, keep func(string) bool) *control {
	return &control{r: bufio.NewReaderSize(r, 64<<10), keep: keep, max: max}
}

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, format, args...)
}

// line returns the next line without its end, or io.EOF.
func (c *control) line() (string, error) {
	var long []byte
	for {
		b, err := c.r.ReadSlice('\n')
		if len(long)+len(b) > MaxLine+1 {
			return "", trust.Undecidable(trust.ReasonTooLarge, "a line is longer than %d bytes", MaxLine)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, b...)
			continue
		case errors.Is(err, io.EOF):
			if len(long)+len(b) == 0 {
				return "", io.EOF
			}
		case err != nil:
			return "", err
		}
		if long != nil {
			b = append(long, b...)
		}
		return string(bytes.TrimRight(b, "\r\n")), nil
	}
}

// next returns the next paragraph, or io.EOF behind the last.
func (c *control) next() (stanza, error) {
	st, seen := stanza{}, map[string]bool{}
	field, size := "", 0
	var value strings.Builder
	flush := func() {
		if field != "" && c.keep(field) {
			st[field] = value.String()
		}
		value.Reset()
	}
	for {
		line, err := c.line()
		if errors.Is(err, io.EOF) && field != "" {
			flush()
			return st, nil
		}
		if err != nil {
			return nil, err
		}
		if size += len(line) + 1; size > c.max {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "a paragraph is longer than %d bytes", c.max)
		}
		switch {
		case strings.Trim(line, " \t") == "":
			if field == "" {
				size = 0
				continue
			}
			flush()
			return st, nil
		case line[0] == ' ' || line[0] == '\t':
			if field == "" {
				return nil, malformed("a paragraph starts with a continued line")
			}
			if c.keep(field) {
				value.WriteByte('\n')
				value.WriteString(strings.TrimLeft(line, " \t"))
			}
		default:
			name, v, ok := strings.Cut(line, ":")
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return nil, malformed("%.60q is no field", line)
			}
			flush()
			field = strings.ToLower(name)
			if seen[field] {
				return nil, malformed("the field %.60q stands in one paragraph twice", name)
			}
			if seen[field] = true; len(seen) > MaxFields {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "a paragraph has more than %d fields", MaxFields)
			}
			if c.keep(field) {
				value.WriteString(strings.Trim(v, " \t"))
			}
		}
	}
}

// listed is a file that a Release lists.
type listed struct {
	digest trust.Digest
	size   int64
}

// release is what the signed text of an InRelease says.
type release struct {
	suite, codename string
	components      []string
	date            time.Time
	validUntil      time.Time // zero if it does not say
	byHash          bool
	files           map[string]listed
}

// parseRelease reads the signed text of an InRelease file.
func parseRelease(text []byte) (*release, error) {
	if len(text) > MaxRelease {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "InRelease is larger than %d bytes", MaxRelease)
	}
	wanted := map[string]bool{"suite": true, "codename": true, "components": true, "date": true, "valid-until": true, "acquire-by-hash": true, "sha256": true}
	c := newControl(bytes.NewReader(text), MaxRelease, func(f string) bool { return wanted[f] })
	st, err := c.next()
	if errors.Is(err, io.EOF) {
		return nil, malformed("InRelease is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("reading InRelease: %w", err)
	}
	if _, err := c.next(); !errors.Is(err, io.EOF) {
		return nil, malformed("InRelease has more than one paragraph")
	}
	r := &release{suite: st["suite"], codename: st["codename"], byHash: st["acquire-by-hash"] == "yes", files: map[string]listed{}}
	for comp := range strings.FieldsSeq(st["components"]) {
		// The security archive calls its components "updates/main" and keeps them
		// under "main".
		comp = strings.TrimPrefix(comp, "updates/")
		if !plainPath(comp) || strings.Contains(comp, "/") {
			return nil, malformed("InRelease names the component %.60q", comp)
		}
		r.components = append(r.components, comp)
	}
	if r.date, err = parseDate(st["date"]); err != nil {
		return nil, malformed("InRelease has no usable Date: %w", err)
	}
	if v, ok := st["valid-until"]; ok {
		if r.validUntil, err = parseDate(v); err != nil {
			return nil, malformed("InRelease has no usable Valid-Until: %w", err)
		}
	}
	if _, ok := st["sha256"]; !ok {
		return nil, trust.Failure(trust.ReasonWeakDigest, "InRelease lists no SHA-256 digests")
	}
	n := 0
	for line := range strings.SplitSeq(st["sha256"], "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if n++; n > MaxReleaseEntries {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "InRelease lists more than %d files", MaxReleaseEntries)
		}
		if len(f) != 3 || !plainPath(f[2]) {
			return nil, malformed("InRelease: %.80q is no digest, size and name", line)
		}
		d, err := trust.NewDigest(trust.SHA256, f[0])
		if err != nil {
			return nil, malformed("InRelease: %.80q: %w", f[2], err)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return nil, malformed("InRelease: %.80q has the size %.40q", f[2], f[1])
		}
		l := listed{d, size}
		if old, ok := r.files[f[2]]; ok && old != l {
			return nil, malformed("InRelease lists %.80q twice, and differently", f[2])
		}
		r.files[f[2]] = l
	}
	return r, nil
}

// parseDate reads a date in the form of RFC 5322, always in UTC.
func parseDate(s string) (time.Time, error) {
	// Archives write the zone as UTC, GMT, Z or +0000, and some the hour with one digit.
	at, zone := strings.TrimSpace(s), ""
	if i := strings.LastIndexByte(at, ' '); i >= 0 {
		at, zone = at[:i], at[i+1:]
	}
	t, err := time.Parse("Mon, _2 Jan 2006 15:04:05", strings.Join(strings.Fields(at), " "))
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%.60q is no date", s)
	case zone != "UTC" && zone != "GMT" && zone != "Z" && zone != "+0000":
		return time.Time{}, fmt.Errorf("%.60q is not in UTC", s)
	}
	return t, nil
}

// plainPath reports whether p is a relative path that stays below its base and
// means one file in every reading of it.
func plainPath(p string) bool {
	if p == "" || len(p) > 1024 || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || p == "." {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '?' || r == '#' })
}

// entry is one package of a Packages file.
type entry struct {
	version, arch string
	filename      string // below the archive's base
	size          int64
	sha256        [32]byte
	source        string // "name (version)" of the source package, empty where both are the package's
}

// description is where the archive keeps the source package's description file,
// which is small and was put there together with the package.
func (e entry) description(name string) string {
	source, version := name, e.version
	if e.source != "" {
		source = e.source
		if s, v, ok := strings.Cut(e.source, " ("); ok {
			source, version = s, strings.TrimSuffix(v, ")")
		}
	}
	if _, v, ok := strings.Cut(version, ":"); ok {
		version = v
	}
	p := path.Dir(e.filename) + "/" + source + "_" + version + ".dsc"
	if !plainPath(p) {
		return ""
	}
	return p
}

func (e entry) digest() trust.Digest { return trust.DigestOf(trust.SHA256, e.sha256[:]) }

// packages are the packages of one Packages file by name.
type packages map[string][]entry

// parsePackages reads a Packages file. Stanzas without a SHA-256 are an error:
// nothing could be verified by them.
func parsePackages(r io.Reader) (packages, error) {
	wanted := map[string]bool{"package": true, "version": true, "architecture": true, "filename": true, "size": true, "sha256": true, "source": true}
	c := newControl(r, MaxStanza, func(f string) bool { return wanted[f] })
	out := packages{}
	for n := 0; ; n++ {
		st, err := c.next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading Packages: %w", err)
		}
		if n >= MaxPackages {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "Packages has more than %d stanzas", MaxPackages)
		}
		name := strings.ToLower(st["package"])
		if name == "" || st["version"] == "" || st["architecture"] == "" {
			return nil, malformed("Packages: a stanza has no package, version or architecture")
		}
		d, err := trust.NewDigest(trust.SHA256, st["sha256"])
		if err != nil {
			return nil, malformed("Packages: %.80q: %w", name, err)
		}
		size, err := strconv.ParseInt(st["size"], 10, 64)
		if err != nil || size < 0 || !plainPath(st["filename"]) {
			return nil, malformed("Packages: %.80q has no usable file name and size", name)
		}
		e := entry{version: st["version"], arch: st["architecture"], filename: st["filename"], size: size, source: strings.Clone(st["source"])}
		copy(e.sha256[:], d.Bytes())
		out[name] = append(out[name], e)
	}
}

// find returns the package of the version and architecture; an empty
// architecture stands for any, as long as only one has the version. Two
// different files are an error.
func (p packages) find(name, version, arch string) (*entry, error) {
	var found *entry
	for i, e := range p[name] {
		if trimEpoch(e.version) != trimEpoch(version) || arch != "" && e.arch != arch {
			continue
		}
		if found != nil && *found != e {
			return nil, trust.Failure(trust.ReasonDuplicate, "the archive lists %s %s twice, with different files", name, version)
		}
		found = &p[name][i]
	}
	return found, nil
}

// trimEpoch drops the epoch that a version without epoch has.
func trimEpoch(v string) string { return strings.TrimPrefix(v, "0:") }
