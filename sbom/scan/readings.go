package scan

import (
	"slices"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// Readings remember what the dependency files of one scan came to, for the scan of
// another state of the same project: a file that is the same in both, with all that
// was read besides it, is read once. They are for one scan at a time; the zero
// value is ready.
type Readings struct {
	files map[string]*reading
}

// reading is all that one dependency file added to a scan.
type reading struct {
	digest     trust.Digest
	besides    map[string]trust.Digest // other files that were asked for; zero for none
	file       sbom.File
	problems   []sbom.Problem
	components []sbom.Component
	parsed     *parsed
}

// remember keeps what the file added to the inventory since the mark.
func (t *tree) remember(digest trust.Digest, from mark) {
	if t.readings == nil {
		return
	}
	r := &reading{
		digest: digest, besides: t.asked, file: t.inv.Files[len(t.inv.Files)-1],
		problems:   slices.Clone(t.inv.Problems[from.problems:]),
		components: slices.Clone(t.inv.Components[from.components:]),
	}
	if len(t.byFile) > from.parsed {
		p := t.byFile[from.parsed]
		r.parsed = &p
	}
	if t.readings.files == nil {
		t.readings.files = map[string]*reading{}
	}
	t.readings.files[r.file.Path] = r
}

// mark is how much was there before a file was read.
type mark struct{ problems, components, parsed int }

func (t *tree) mark() mark {
	return mark{len(t.inv.Problems), len(t.inv.Components), len(t.byFile)}
}

// recall adds what the file came to before, if it is the same and stands beside the
// same.
func (t *tree) recall(name string, digest trust.Digest) bool {
	if t.readings == nil {
		return false
	}
	r := t.readings.files[name]
	if r == nil || !r.digest.Equal(digest) {
		return false
	}
	for path, was := range r.besides {
		b, err := t.read(path)
		if now := besideDigest(b, err); now != was {
			return false
		}
	}
	t.inv.Files = append(t.inv.Files, r.file)
	t.inv.Problems = append(t.inv.Problems, r.problems...)
	t.inv.Components = append(t.inv.Components, copies(r.components)...)
	if r.parsed != nil {
		t.byFile = append(t.byFile, *r.parsed)
	}
	return true
}

// besideDigest stands for the outcome of reading a file: all that cannot be read is alike
// to the readers.
func besideDigest(b []byte, err error) trust.Digest {
	if err != nil {
		return trust.Digest{}
	}
	return trust.NewRaw("", "", b).Digest
}

// copies are components that can be changed without changing those of another
// inventory.
func copies(cs []sbom.Component) []sbom.Component {
	out := slices.Clone(cs)
	for i := range out {
		out[i].Locations, out[i].Problems = slices.Clone(out[i].Locations), slices.Clone(out[i].Problems)
	}
	return out
}
