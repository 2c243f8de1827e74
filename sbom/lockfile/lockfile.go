package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Bounds of a dependency file. A file above one of them is an error.
const (
	MaxFile     = 64 << 20 // bytes of one file
	MaxEntries  = 200_000  // packages of one file
	MaxDepth    = 200      // nesting of objects and lists
	MaxNodes    = 2 << 20  // values of one JSON, YAML, TOML or XML document
	MaxIncludes = 64       // files that one requirements file includes, itself counted
)

// ErrUnsupported marks a version of a format that headgate does not know.
var ErrUnsupported = errors.New("unsupported version of the format")

// ErrTooLarge marks a file that exceeds one of the bounds.
var ErrTooLarge = errors.New("exceeds a bound")

// Siblings returns the content of a file beside the one that is parsed. The
// name is relative to that file's directory, with slashes ("go.sum",
// "../go.mod"). It must not leave the scanned tree. Parse never asks for
// absolute names.
type Siblings func(name string) ([]byte, bool)

// Result is what one dependency file says.
type Result struct {
	Path   string
	Format Format
	// Version is the version of the format, as the file states it.
	Version    string
	Components []sbom.Component
	Problems   []sbom.Problem
	// PartOf names the sibling that this file was read together with (go.sum with
	// go.mod); such a result has no components of its own.
	PartOf string
	// Members are the directories, relative to the file's own, of the projects that
	// a lock file covers; "." is its own directory.
	Members []string
	// Declared is the number of dependencies that a manifest asks for.
	Declared int
	// Project is the name that a manifest gives its project, where it has one.
	Project string
}

// Parse reads the content of a dependency file. path is used for locations and
// messages only. siblings may be nil. An error means that nothing is known about
// the file's packages.
func Parse(format Format, filePath string, content []byte, siblings Siblings) (Result, error) {
	if len(content) > MaxFile {
		return Result{}, fmt.Errorf("reading %s: %d bytes are more than %d: %w", filePath, len(content), MaxFile, ErrTooLarge)
	}
	read, ok := readers(format)
	if !ok {
		return Result{}, fmt.Errorf("reading %s: no reader for format %q", filePath, format)
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(content) {
		return Result{}, fmt.Errorf("reading %s as %s: not valid UTF-8", filePath, format)
	}
	f := &file{
		path: filePath, content: content, siblings: siblings,
		res: Result{Path: filePath, Format: format}, seen: map[string]int{},
	}
	if err := read(f); err != nil {
		return Result{}, fmt.Errorf("reading %s as %s: %w", filePath, format, err)
	}
	return f.res, nil
}

// file is the state of one Parse.
type file struct {
	path     string
	content  []byte
	siblings Siblings
	res      Result
	seen     map[string]int // component key → the first of res.Components with it, counted from 1
	next     []int          // of each component: the next one with its key, counted from 1
	entries  int
}

func (f *file) sibling(name string) ([]byte, bool) {
	if f.siblings == nil || path.IsAbs(name) {
		return nil, false
	}
	b, ok := f.siblings(name)
	if !ok || len(b) > MaxFile || !utf8.Valid(b) {
		return nil, false
	}
	return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), true
}

// problem records something that concerns the file as a whole.
func (f *file) problem(code sbom.ProblemCode, line int, detail, remedy string) {
	f.res.Problems = append(f.res.Problems, sbom.Problem{Code: code, Detail: detail, Remedy: remedy, Location: trust.Location{Path: f.path, Line: line}})
}

// flag records a problem of one component.
func (f *file) flag(c *sbom.Component, code sbom.ProblemCode, line int, detail string) {
	c.Problems = append(c.Problems, sbom.Problem{Code: code, Detail: detail, Location: trust.Location{Path: f.path, Line: line}})
}

// id is a package's identity as its ecosystem spells it.
type id struct{ typ, namespace, name, version string }

// add records a component under its normalised release. A name that cannot be
// shown safely becomes a problem of the file: the inventory is then partial. Entries that
// say the same of the same release become one component with several locations;
// entries that contradict each other stay apart and are marked.
func (f *file) add(i id, line int, c sbom.Component) error {
	f.entries++
	if f.entries > MaxEntries {
		return fmt.Errorf("more than %d packages: %w", MaxEntries, ErrTooLarge)
	}
	if c.Release.IsZero() {
		r, err := trust.NewRelease(i.typ, strings.Clone(i.namespace), strings.Clone(i.name), strings.Clone(i.version))
		if err == nil && len(i.namespace)+len(i.name)+len(i.version) > trust.MaxPURL/4 && len(r.PURL()) > trust.MaxPURL {
			err = fmt.Errorf("name and version are longer than %d bytes", trust.MaxPURL)
		}
		if err != nil {
			f.problem(sbom.ProblemBadPURL, line, err.Error(), "correct the entry's name and version, or remove it")
			return nil
		}
		c.Release = r
	}
	if c.Kind == "" {
		c.Kind = sbom.KindRegistry
	}
	c.Locations = []trust.Location{{Path: f.path, Line: line}}
	key := c.Key()
	count, last := 0, 0
	for n := f.seen[key]; n > 0; n = f.next[n-1] {
		count, last = count+1, n
		old := &f.res.Components[n-1]
		if !sameArtifacts(old.Artifacts, c.Artifacts) || old.Registry != c.Registry {
			continue
		}
		old.Locations = append(old.Locations, c.Locations...)
		old.Scope = widerScope(old.Scope, c.Scope)
		if c.Relation == sbom.RelationDirect {
			old.Relation = c.Relation
		}
		old.InstallCode = old.InstallCode || c.InstallCode
		old.AddExpectations(c.Expect)
		for _, p := range c.Problems {
			if !slices.ContainsFunc(old.Problems, func(o sbom.Problem) bool { return o.Code == p.Code && o.Detail == p.Detail }) {
				old.Problems = append(old.Problems, p)
			}
		}
		return nil
	}
	f.res.Components = append(f.res.Components, c)
	f.next = append(f.next, 0)
	if last == 0 {
		f.seen[key] = len(f.res.Components)
		return nil
	}
	f.next[last-1] = len(f.res.Components)
	const detail = "the file has this package twice with different contents"
	f.flag(&f.res.Components[len(f.res.Components)-1], sbom.ProblemDuplicate, line, detail)
	if first := &f.res.Components[last-1]; count == 1 {
		f.flag(first, sbom.ProblemDuplicate, first.Locations[0].Line, detail)
	}
	return nil
}

// expect makes room for n components at once: growing by appending copies them
// several times over.
func (f *file) expect(n int) {
	n = min(n, MaxEntries)
	f.res.Components, f.next = slices.Grow(f.res.Components, n), slices.Grow(f.next, n)
	if len(f.seen) == 0 {
		f.seen = make(map[string]int, n)
	}
}

func sameArtifacts(a, b []trust.Artifact) bool {
	return slices.EqualFunc(a, b, func(x, y trust.Artifact) bool {
		return x.Name == y.Name && x.URL == y.URL && slices.Equal(x.Digests, y.Digests)
	})
}

// widerScope returns the scope that reaches further: runtime over optional over
// development; unknown counts as runtime and wins over all but runtime.
func widerScope(a, b sbom.Scope) sbom.Scope {
	rank := func(s sbom.Scope) int {
		return slices.Index([]sbom.Scope{sbom.ScopeDevelopment, sbom.ScopeOptional, sbom.ScopeUnknown, sbom.ScopeRuntime}, s)
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// judgeDigests marks a component whose format has digests and that has none, or
// only ones that prove nothing.
func (f *file) judgeDigests(c *sbom.Component, line int) {
	for _, p := range c.Problems {
		if p.Code == sbom.ProblemNoDigest {
			return
		}
	}
	if len(c.Artifacts) == 0 {
		f.flag(c, sbom.ProblemNoDigest, line, "the lock file states no digest")
		return
	}
	for _, a := range c.Artifacts {
		what := "the lock file states no digest"
		if a.Name != "" {
			what += " for " + a.Name
		}
		if len(a.Digests) == 0 {
			f.flag(c, sbom.ProblemNoDigest, line, what)
			return
		}
		if a.Digests.Get(trust.YarnCache).IsZero() && a.Digests.Strongest().IsZero() {
			f.flag(c, sbom.ProblemWeakDigest, line, "the only digest is "+string(a.Digests[0].Algorithm)+", which can be forged")
			return
		}
	}
}

// hexDigest reads "<alg>:<hex>" or "<alg>=<hex>" into a list of none or one
// digest; text that is no digest is flagged as if there were none.
func (f *file) hexDigest(c *sbom.Component, line int, s string) trust.Digests {
	if s == "" {
		return nil
	}
	alg, v, ok := strings.Cut(strings.Replace(s, "=", ":", 1), ":")
	if !ok {
		alg, v = "sha256", s
	}
	d, err := trust.NewDigest(trust.Algorithm(strings.ToLower(alg)), v)
	if err != nil {
		f.flag(c, sbom.ProblemNoDigest, line, "the digest cannot be read: "+err.Error())
		return nil
	}
	return trust.Digests{d}
}

// integrity reads an SRI string; a half-readable one counts as none.
func (f *file) integrity(c *sbom.Component, line int, s string) trust.Digests {
	if s == "" {
		return nil
	}
	ds, err := trust.ParseSRI(s)
	if err != nil {
		f.flag(c, sbom.ProblemNoDigest, line, "the integrity cannot be read: "+err.Error())
		return nil
	}
	return ds
}

// short cuts text of the file for a message.
func short(s string) string {
	const max = 80
	if len(s) <= max {
		return s
	}
	for i := max; i > max-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
	return s[:max] + "…"
}
