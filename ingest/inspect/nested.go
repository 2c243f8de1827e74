package inspect

import (
	"path"
	"slices"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// attacksUnpackers are the kinds that hurt whoever unpacks an archive, and
// nobody else.
func attacksUnpackers(kind string) bool {
	switch kind {
	case KindPathEscape, KindLink, KindDevice, KindBomb, KindDuplicate, KindCaseCollision, KindTwoReadings, KindUnreadable, KindNested:
		return true
	}
	return false
}

// effect is what an observation demands where it was made. No package manager
// unpacks an archive that lies inside a package as one of its files: there, an
// archive made to attack unpackers is held for a person, a bomb stays blocked, and
// test data is reported: suites of archive readers are full of such files.
func (in *inspection) effect(o policies.Observation) trust.Effect {
	if o.Effect == "" || in.over || !attacksUnpackers(o.Kind) || !in.nested(o.Entry) {
		return o.Effect
	}
	switch outer, _, _ := strings.Cut(o.Entry, "!/"); {
	case testData(outer):
		return ""
	case o.Kind == KindBomb:
		return o.Effect
	}
	return trust.EffectHold
}

// nested reports whether the archive that is being read lies inside the package
// as one of its files, and is none that the package manager unpacks itself.
func (in *inspection) nested(shown string) bool {
	depth := len(in.levels) - 1
	if depth == 0 {
		return false
	}
	outer, _, _ := strings.Cut(shown, "!/")
	switch in.opts.Release.Package.Type {
	case "gem":
		return depth > 1 || outer != "data.tar.gz" && outer != "metadata.gz" && outer != "checksums.yaml.gz"
	case "deb":
		return depth > 1 || !strings.HasPrefix(outer, "control.tar") && !strings.HasPrefix(outer, "data.tar")
	case "helm":
		// Helm loads packed subcharts.
		return !strings.HasSuffix(path.Dir(outer), "/charts")
	}
	return true
}

// testFolders are names of folders whose files only tests and readers look at.
var testFolders = []string{
	"testdata", "test-data", "test_data", "test", "tests", "testing", "test-fixtures", "test_fixtures", "fixtures", "fixture", "functest", "functests", "__tests__",
	"__fixtures__", "spec", "specs", "docs", "doc", "examples", "example",
}

// testData reports whether a file lies in a folder of tests, documentation or examples.
func testData(p string) bool {
	dirs := strings.Split(path.Dir(p), "/")
	return slices.ContainsFunc(dirs, func(d string) bool { return slices.Contains(testFolders, strings.ToLower(d)) })
}
