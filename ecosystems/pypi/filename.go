package pypi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// MaxFileName bounds a distribution's file name in bytes.
const MaxFileName = 512

// distribution is what a file name says (PEP 427 for wheels, PEP 625 for source
// distributions), normalised: two names of one distribution are equal.
type distribution struct {
	name, version, build   string
	python, abi, platforms string // compressed tags, each sorted
	ext                    string // "whl", "tar.gz", "zip"
}

var wheelPart = regexp.MustCompile(`^[\w.+!]+$`)

// parseFileName reads the name of a wheel or source distribution. project
// resolves the one ambiguity of old source distributions, whose names may hold
// hyphens: it is the normalised name that the file should be of, or "".
func parseFileName(file, project string) (distribution, error) {
	if len(file) > MaxFileName || strings.ContainsAny(file, "/\\\x00") {
		return distribution{}, fmt.Errorf("%.80q is no file name of a distribution", file)
	}
	if stem, ok := strings.CutSuffix(file, ".whl"); ok {
		parts := strings.Split(stem, "-")
		if len(parts) != 5 && len(parts) != 6 {
			return distribution{}, fmt.Errorf("%q is no wheel name: it has %d parts", file, len(parts))
		}
		for _, p := range parts {
			if !wheelPart.MatchString(p) {
				return distribution{}, fmt.Errorf("%q is no wheel name: %q", file, p)
			}
		}
		d := distribution{name: normalise(parts[0]), version: trust.NormalizePyPIVersion(parts[1]), ext: "whl"}
		tags := parts[len(parts)-3:]
		if len(parts) == 6 {
			if d.build = parts[2]; d.build[0] < '0' || d.build[0] > '9' {
				return distribution{}, fmt.Errorf("%q is no wheel name: the build tag does not start with a digit", file)
			}
		}
		d.python, d.abi, d.platforms = sortTags(tags[0]), sortTags(tags[1]), sortTags(tags[2])
		return d, nil
	}
	for _, ext := range []string{"tar.gz", "zip", "tar.bz2", "tar.xz", "tgz", "egg", "exe", "msi"} {
		stem, ok := strings.CutSuffix(file, "."+ext)
		if !ok {
			continue
		}
		// The version starts behind the hyphen where the name in front is the
		// project's; without a project, behind the last hyphen.
		for i := len(stem) - 1; i > 0; i-- {
			if stem[i] != '-' {
				continue
			}
			if project == "" || normalise(stem[:i]) == project {
				return distribution{name: normalise(stem[:i]), version: trust.NormalizePyPIVersion(stem[i+1:]), ext: ext}, nil
			}
		}
		return distribution{}, fmt.Errorf("%q is no source distribution of %q", file, project)
	}
	return distribution{}, fmt.Errorf("%.80q is neither a wheel nor a source distribution", file)
}

func normalise(name string) string {
	r, err := trust.NewRelease("pypi", "", name, "")
	if err != nil {
		return ""
	}
	return r.Package.Name
}

// sortTags brings a compressed tag set ("py2.py3") into one order.
func sortTags(s string) string {
	ts := strings.Split(s, ".")
	slices.Sort(ts)
	return strings.Join(ts, ".")
}

// belongs says whether a file is of the release, and if not, which part is not.
func belongs(file string, r trust.Release) error {
	d, err := parseFileName(file, r.Package.Name)
	if err != nil {
		if other, oerr := parseFileName(file, ""); oerr == nil && other.name != r.Package.Name {
			return trust.Failure(trust.ReasonWrongName, "the file %s is of the project %q", file, other.name)
		}
		return trust.Undecidable(trust.ReasonMalformed, "%w", err)
	}
	switch {
	case d.name != r.Package.Name:
		return trust.Failure(trust.ReasonWrongName, "the file %s is of the project %q", file, d.name)
	case !sameVersion(d.version, r.Version):
		return trust.Failure(trust.ReasonWrongVersion, "the file %s is of version %s", file, d.version)
	}
	return nil
}

// sameVersion compares normalised versions with trailing zeros of the release
// segment left out, as PEP 440 does: 1.0 and 1.0.0 are one version.
func sameVersion(a, b string) bool {
	return trimZeros(trust.NormalizePyPIVersion(a)) == trimZeros(trust.NormalizePyPIVersion(b))
}

var releaseSegment = regexp.MustCompile(`^((?:\d+!)?\d+(?:\.\d+)*?)(?:\.0)+((?:a|b|rc|\.post|\.dev|\+).*)?$`)

func trimZeros(v string) string {
	if m := releaseSegment.FindStringSubmatch(v); m != nil {
		return m[1] + m[2]
	}
	return v
}
