package github

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/headgate/headgate/trust"
)

// Bounds of a repository's ref advertisement.
const (
	MaxAdvertisement = 32 << 20 // bytes
	MaxRefs          = 400_000  // refs, those of pull requests included
	maxRefName       = 1024     // bytes
)

// ref is a branch or tag. object is what it points at, commit what that leads
// to; they differ for annotated tags.
type ref struct{ object, commit string }

// advertisement is what a repository says of its refs.
type advertisement struct {
	head        string // name of the default branch, "" if it is not said
	heads, tags map[string]ref
	pulls       map[string]string // commit → number of the pull request whose tip it is
	// incomplete: there are more refs than these.
	incomplete bool
	// objects: what tags point at is known apart from the commits they lead to.
	objects bool
}

func newAdvertisement() *advertisement {
	return &advertisement{heads: map[string]ref{}, tags: map[string]ref{}, pulls: map[string]string{}}
}

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, "the repository's refs are malformed: "+format, args...)
}

// parseAdvertisement reads the answer to info/refs?service=git-upload-pack
// (https://git-scm.com/docs/gitprotocol-http, protocol version 0).
func parseAdvertisement(b []byte) (*advertisement, error) {
	out := newAdvertisement()
	out.objects = true
	section, n, last := 0, 0, ""
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, malformed("a line ends inside its length")
		}
		size, err := strconv.ParseUint(string(b[:4]), 16, 16)
		switch {
		case err != nil:
			return nil, malformed("no pkt-line")
		case size == 0:
			b = b[4:]
			section++
			continue
		case size < 4 || int(size) > len(b):
			return nil, malformed("a line of %d bytes where %d are left", size, len(b))
		}
		line := bytes.TrimSuffix(b[4:size], []byte("\n"))
		b = b[size:]
		switch {
		case bytes.HasPrefix(line, []byte("ERR ")):
			return nil, trust.Undecidable(trust.ReasonNotFound, "the server refuses: %.200q", line[4:])
		case section == 0:
			if string(line) != "# service=git-upload-pack" {
				return nil, malformed("not the answer of git-upload-pack")
			}
			continue
		case section > 1:
			return nil, malformed("lines behind the end")
		}
		if n++; n > MaxRefs {
			return nil, trust.Undecidable(trust.ReasonTooLarge, "the repository has more than %d refs", MaxRefs)
		}
		line, caps, hasCaps := bytes.Cut(line, []byte{0})
		if hasCaps != (n == 1) {
			return nil, malformed("capabilities on line %d", n)
		}
		for c := range strings.FieldsSeq(string(caps)) {
			if name, ok := strings.CutPrefix(c, "symref=HEAD:refs/heads/"); ok {
				out.head = name
			}
		}
		object, name, ok := strings.Cut(string(line), " ")
		if !ok || !isCommit(object) || !validRef(name) {
			return nil, malformed("line %d is no ref", n)
		}
		if err := out.add(object, name, &last); err != nil {
			return nil, err
		}
	}
	if section != 2 {
		return nil, malformed("cut off")
	}
	if _, ok := out.heads[out.head]; !ok {
		out.head = ""
	}
	return out, nil
}

// add records one line. last is the tag of the line before, to which a peeled
// line belongs.
func (ad *advertisement) add(object, name string, last *string) error {
	if tag, ok := strings.CutSuffix(name, "^{}"); ok {
		if name == "capabilities^{}" {
			return nil // a repository without refs
		}
		tag = strings.TrimPrefix(tag, "refs/tags/")
		t, ok := ad.tags[tag]
		if !ok || *last != tag || t.object != t.commit {
			return malformed("%.100q is peeled, but no tag", name)
		}
		ad.tags[tag] = ref{t.object, object}
		return nil
	}
	*last = ""
	for prefix, m := range map[string]map[string]ref{"refs/heads/": ad.heads, "refs/tags/": ad.tags} {
		short, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if _, dup := m[short]; dup || short == "" {
			return malformed("%.100q is there twice", name)
		}
		m[short] = ref{object, object}
		if prefix == "refs/tags/" {
			*last = short
		}
	}
	if rest, ok := strings.CutPrefix(name, "refs/pull/"); ok {
		if number, ok := strings.CutSuffix(rest, "/head"); ok {
			ad.pulls[object] = number
		}
	}
	return nil
}

func validRef(name string) bool {
	if name == "" || len(name) > maxRefName || strings.Contains(name, "..") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || r == '\\' || r == '~' || r == ':' || r == '?' || r == '*' || r == '['
	})
}

// isCommit reports whether s is a whole object id, in lower case.
func isCommit(s string) bool {
	if len(s) != 40 && len(s) != 64 || s != strings.ToLower(s) {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// tagsAt are the tags that lead to the commit, the most exact version first
// ("v4.2.2" before "v4"). Branches are its branches.
func (ad *advertisement) at(commit string) (tags, branches []string) {
	for name, t := range ad.tags {
		if t.commit == commit {
			tags = append(tags, name)
		}
	}
	for name, h := range ad.heads {
		if h.commit == commit {
			branches = append(branches, name)
		}
	}
	slices.SortFunc(tags, func(a, b string) int {
		return cmp.Or(-cmp.Compare(strings.Count(a, "."), strings.Count(b, ".")), -semver.Compare(version(a), version(b)), cmp.Compare(a, b))
	})
	slices.Sort(branches)
	return tags, branches
}

// version is a tag as semver reads it, "" if it is no version.
func version(tag string) string {
	if i := strings.LastIndexByte(tag, '/'); i >= 0 {
		tag = tag[i+1:]
	}
	v := "v" + strings.TrimPrefix(tag, "v")
	if !semver.IsValid(v) {
		return ""
	}
	return v
}

// latest is the tag of the highest version that is no pre-release.
func (ad *advertisement) latest() string {
	best := ""
	for name := range ad.tags {
		v := version(name)
		if v == "" || semver.Prerelease(v) != "" || strings.Count(name, ".") < 2 {
			continue
		}
		if c := semver.Compare(v, version(best)); c > 0 || c == 0 && name < best {
			best = name
		}
	}
	return best
}

var maintained = regexp.MustCompile(`^(?:main|master|stable|develop|v?[0-9].*|releases?[/-].*)$`)

// bases are the commits to compare another one with, most promising first:
// the default branch, branches that releases are made from, other branches, then
// tags from the newest version down. complete says that these are all tips.
func (ad *advertisement) bases(limit int) (commits []string, complete bool) {
	type tip struct {
		rank          int
		version, name string
		commit        string
	}
	var tips []tip
	for name, h := range ad.heads {
		r := 2
		if name == ad.head {
			r = 0
		} else if maintained.MatchString(name) {
			r = 1
		}
		tips = append(tips, tip{r, version(name), name, h.commit})
	}
	for name, t := range ad.tags {
		tips = append(tips, tip{3, version(name), name, t.commit})
	}
	slices.SortFunc(tips, func(a, b tip) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), -semver.Compare(a.version, b.version), cmp.Compare(a.name, b.name))
	})
	seen := map[string]bool{}
	for _, t := range tips {
		if seen[t.commit] {
			continue
		}
		if len(commits) == limit {
			return commits, false
		}
		seen[t.commit] = true
		commits = append(commits, t.commit)
	}
	return commits, !ad.incomplete
}
