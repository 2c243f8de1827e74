package mirror

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest/inspect"
	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// Kinds of observation, as policies.Observation.Kind.
const (
	KindExtra   = "not-in-source"       // the source does not have the file
	KindChanged = "differs-from-source" // the source has it with other content
	KindForged  = "forged-source"       // git's name of a source file, other content
)

// maxNamed is how many files one observation names; maxHeld how many get one of
// their own.
const (
	maxNamed = 5
	maxHeld  = 50
)

// Observations are what a person has to know. Code that runs when the package is
// built or installed, and every file of a Go module, which is never generated, is
// held, one by one; the rest is reported by folder. What the release before had
// at the same place already, for held files in the same bytes, is not new.
func (r Result) Observations(p trust.Package, now, before *inspect.Report) []policies.Observation {
	var out []policies.Observation
	for _, f := range r.Forged {
		out = append(out, policies.Observation{Kind: KindForged, Entry: f, Effect: trust.EffectBlock, New: true,
			Detail: "bears the SHA-1 of a file of " + r.where() + " and has other content: only a collision made on purpose does that"})
	}
	old := map[string]string{}
	if before != nil {
		for name, f := range before.Files {
			old[before.Place(name)] = f.SHA256
		}
	}
	held := 0
	for _, kind := range []struct {
		kind, words string
		files       []string
	}{{KindExtra, "not in", r.Extra}, {KindChanged, "other than in", r.Changed}} {
		folders := map[string]*group{}
		for _, f := range kind.files {
			sum, had := old[now.Place(f)]
			same := had && sum == now.Files[f].SHA256
			if p.Type == "golang" || builds(f) || runs(now, f) {
				if held++; held <= maxHeld {
					o := policies.Observation{Kind: kind.kind, Entry: f, New: !same, Detail: "runs when the package is built or installed, and is " + kind.words + " " + r.where()}
					if p.Type == "golang" {
						o.Detail = "is " + kind.words + " " + r.where() + "; Go takes modules from the source as it is"
					}
					if o.New {
						o.Effect = trust.EffectHold
					}
					out = append(out, o)
				} else if held == maxHeld+1 {
					out = append(out, policies.Observation{Kind: kind.kind, New: true, Effect: trust.EffectHold, Detail: fmt.Sprintf("more than %d such files", maxHeld)})
				}
				continue
			}
			dir := folder(now, f)
			if folders[dir] == nil {
				folders[dir] = &group{}
			}
			g := folders[dir]
			g.all++
			// A file that is generated is generated every time, with other content; one
			// that the source has and the package alters is news whenever its bytes are.
			if isNew := !had || kind.kind == KindChanged && !same; isNew {
				g.fresh = append(g.fresh, path.Base(f))
			}
		}
		for _, dir := range slices.Sorted(maps.Keys(folders)) {
			out = append(out, folders[dir].observation(kind.kind, kind.words, dir, r.where()))
		}
	}
	return out
}

func (r Result) where() string {
	name := "commit " + r.Commit[:min(len(r.Commit), 12)]
	for _, t := range r.Tags {
		if tag, ok := strings.CutPrefix(t, "refs/tags/"); ok {
			name = "tag " + tag + " (" + name + ")"
			break
		}
	}
	return fmt.Sprintf("the source (%s of %s, as %s)", name, r.Repository, r.By)
}

// group are the files of one folder.
type group struct {
	all   int
	fresh []string
}

func (g *group) observation(kind, words, dir, where string) policies.Observation {
	o := policies.Observation{Kind: kind, Entry: dir, New: len(g.fresh) > 0}
	if !o.New {
		o.Detail = fmt.Sprintf("%s %s %s, as with the release before", files(g.all), words, where)
		return o
	}
	named := strings.Join(g.fresh[:min(len(g.fresh), maxNamed)], ", ")
	if more := len(g.fresh) - maxNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	o.Detail = fmt.Sprintf("%s %s %s: %s", files(len(g.fresh)), words, where, named)
	return o
}

func files(n int) string {
	if n == 1 {
		return "1 file is"
	}
	return fmt.Sprintf("%d files are", n)
}

// folder is the top folder inside the package, which is what a person knows it by.
func folder(r *inspect.Report, f string) string {
	if i := strings.LastIndex(f, "!/"); i >= 0 {
		f = f[i+2:]
	} else {
		f = r.Inside(f)
	}
	top, _, ok := strings.Cut(f, "/")
	return cmp.Or(map[bool]string{true: top + "/"}[ok], ".")
}

var buildFile = regexp.MustCompile(`(?i)(?:^|/)(?:configure(?:\.ac|\.in)?|[^/]+\.(?:m4|mk|cmake|gypi?|sh|ps1|bat|cmd|pth)|(?:gnu)?makefile(?:\.[a-z]+)?|cmakelists\.txt|meson\.build|build\.rs|setup\.py|extconf\.rb|rakefile|wscript|sconstruct|sitecustomize\.py|usercustomize\.py)$`)

// builds reports whether build tools or installers run the file by its name.
func builds(f string) bool { return buildFile.MatchString(f) }

// runs reports whether the package's installation runs the file, by its scripts.
func runs(r *inspect.Report, f string) bool {
	rel := r.Inside(f)
	bare := strings.TrimSuffix(rel, path.Ext(rel))
	return slices.ContainsFunc(r.Observations, func(o policies.Observation) bool {
		return o.Kind == inspect.KindInstallCode && o.Entry != f && (strings.Contains(o.Detail, rel) || len(bare) > 3 && strings.Contains(o.Detail, bare))
	})
}
