package github

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
)

// Bounds of looking into actions.
const (
	MaxActionFile = 1 << 20 // bytes of one action.yml or workflow
	MaxInnerFiles = 12      // files that are read for one component
	MaxInnerDepth = 3       // actions inside actions
	MaxInnerNotes = 20      // sentences about them
)

// step is one action to look into.
type step struct {
	repository, commit, subpath string
	depth                       int
	name                        string // as a workflow would say
}

// inner looks at what the action or reusable workflow itself runs, at that
// commit, and notes what is not pinned there: a commit pins nothing beneath it.
func (q *question) inner(ctx context.Context) {
	queue := []step{{q.path(), q.commit, q.below(), 0, q.uses()}}
	seen, files, notes := map[string]bool{}, 0, 0
	say := func(format string, args ...any) {
		if notes++; notes <= MaxInnerNotes {
			q.note(format, args...)
		}
	}
	for len(queue) > 0 && ctx.Err() == nil {
		s := queue[0]
		queue = queue[1:]
		key := s.repository + "/" + s.subpath + "@" + s.commit
		if seen[key] {
			continue
		}
		seen[key] = true
		if files >= MaxInnerFiles || s.depth > MaxInnerDepth {
			say("what %s runs was not looked at: more than %d files or %d levels", s.name, MaxInnerFiles, MaxInnerDepth)
			return
		}
		res, n, err := q.file(ctx, s)
		files += n
		if errors.Is(err, errNotFound) {
			continue // not an action: a repository that is used by other means
		}
		if err != nil {
			say("what %s runs could not be read: %v", s.name, err)
			return
		}
		for _, p := range res.Problems {
			say("%s: %s", s.name, p.Detail)
		}
		for _, c := range res.Components {
			queue = append(queue, q.look(c, s, say)...)
		}
	}
}

// look judges one ref inside an action, and returns what to look into next.
func (q *question) look(c sbom.Component, from step, say func(string, ...any)) []step {
	for _, p := range c.Problems {
		if p.Code == sbom.ProblemUnpinned {
			say("%s itself runs %s, which is not pinned", from.name, strings.TrimPrefix(c.Release.PURL(), "pkg:"))
		}
	}
	switch {
	case c.Kind == sbom.KindPath && strings.HasPrefix(c.Origin, "./"):
		// Relative to whoever runs the workflow, unless it is inside the same repository.
		return []step{{from.repository, from.commit, strings.Trim(path.Clean("/"+c.Origin), "/"), from.depth + 1, from.name + " " + c.Origin}}
	case c.Release.Package.Type == "github" && c.Pinned:
		full := c.Release.Package.FullName()
		name := full
		if c.Release.Subpath != "" {
			name += "/" + c.Release.Subpath
		}
		return []step{{full, c.Commit, c.Release.Subpath, from.depth + 1, name}}
	}
	return nil
}

// file reads the action's or workflow's file; n is how many were asked for.
func (q *question) file(ctx context.Context, s step) (res lockfile.Result, n int, err error) {
	names, format := []string{path.Join(s.subpath, "action.yml"), path.Join(s.subpath, "action.yaml")}, lockfile.Action
	if strings.HasPrefix(s.subpath, ".github/workflows/") {
		names, format = []string{s.subpath}, lockfile.Workflow
	}
	err = errNotFound
	for _, name := range names {
		owner, repository, ok := strings.Cut(s.repository, "/")
		if !ok || !ownerName.MatchString(owner) || !repositoryName.MatchString(repository) || strings.Trim(repository, ".") == "" || strings.Contains(name, "..") {
			return res, n, fmt.Errorf("%.100q names no repository", s.repository)
		}
		n++
		var b []byte
		u := url.URL{Path: "repos/" + s.repository + "/contents/" + name}
		b, err = q.apiBytes(ctx, u.EscapedPath(), url.Values{"ref": {s.commit}}, "application/vnd.github.raw+json", MaxActionFile)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return res, n, err
		}
		res, err = lockfile.Parse(format, name, b, nil)
		return res, n, err
	}
	return res, n, err
}
