package lockfile

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// parseWorkflow reads what a GitHub Actions workflow runs: actions, reusable
// workflows, and images of containers and services.
func parseWorkflow(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	jobs := doc.get("jobs")
	if !jobs.isObject() {
		return fmt.Errorf("no jobs")
	}
	return jobs.each(func(_ string, job *node) error {
		if u := job.get("uses"); u != nil {
			if err := f.uses(u); err != nil {
				return err
			}
		}
		if err := f.jobImage(job.get("container")); err != nil {
			return err
		}
		err := job.get("services").each(func(_ string, s *node) error { return f.jobImage(s) })
		if err != nil {
			return err
		}
		return f.steps(job.get("steps"))
	})
}

func (f *file) jobImage(n *node) error {
	if n.isObject() {
		n = n.get("image")
	}
	if n.str() == "" {
		return nil
	}
	return f.image(n.at(), strings.TrimPrefix(n.str(), "docker://"), sbom.ScopeDevelopment)
}

func (f *file) steps(steps *node) error {
	for i := range steps.list() {
		if u := steps.items[i].get("uses"); u != nil {
			if err := f.uses(u); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseAction reads what an action itself runs.
func parseAction(f *file) error {
	doc, err := parseYAMLDocument(f.content)
	if err != nil {
		return err
	}
	runs := doc.get("runs")
	if !runs.isObject() {
		return fmt.Errorf("no runs")
	}
	if img := runs.get("image"); img.str() != "" {
		ref, ok := strings.CutPrefix(img.str(), "docker://")
		if ok {
			if err := f.image(img.at(), ref, sbom.ScopeDevelopment); err != nil {
				return err
			}
		}
	}
	return f.steps(runs.get("steps"))
}

// claimed is a version in a comment behind a commit: "# v4.1.1", "# tag=v4".
// Other comments are none of headgate's business.
var claimed = regexp.MustCompile(`^[ \t]*['"]?[ \t]+#[ \t]*(?:tag[=:][ \t]*|ref[=:][ \t]*|pin@)?(v?[0-9]+(?:\.[0-9]+){0,3}(?:-[0-9A-Za-z.]+)?)(?:[ \t,;(]|$)`)

// claim is the version that a comment on the line claims for the commit, "" if
// none does. People review the comment, not the commit: it is compared with what
// upstream says, and selects nothing.
func (f *file) claim(line int, commit string) string {
	n := 0
	for text := range bytes.Lines(f.content) {
		if n++; n < line {
			continue
		}
		_, rest, ok := strings.Cut(strings.TrimRight(string(text), "\r\n"), "@"+commit)
		if m := claimed.FindStringSubmatch(rest); ok && m != nil {
			return m[1]
		}
		return ""
	}
	return ""
}

// uses records one "uses": an action of another repository by ref, a local one,
// or an image.
func (f *file) uses(n *node) error {
	line, s := n.at(), strings.TrimSpace(n.str())
	switch {
	case s == "":
		return fmt.Errorf("line %d: uses is no text", line)
	case strings.HasPrefix(s, "docker://"):
		return f.image(line, strings.TrimPrefix(s, "docker://"), sbom.ScopeDevelopment)
	case strings.HasPrefix(s, "./") || strings.HasPrefix(s, ".\\"):
		p := path.Clean(s)
		name := path.Base(p)
		if name == "." {
			name = "action"
		}
		return f.add(id{"generic", "", name, ""}, line, sbom.Component{Kind: sbom.KindPath, Origin: s, Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect})
	}
	name, ref, ok := strings.Cut(s, "@")
	parts := strings.SplitN(name, "/", 3)
	if !ok || ref == "" || len(parts) < 2 || parts[0] == "" || parts[1] == "" || strings.Contains(s, "${{") {
		f.problem(sbom.ProblemBadPURL, line, fmt.Sprintf("%q names no action and ref", short(s)), "write owner/repository@commit")
		return nil
	}
	c := sbom.Component{Kind: sbom.KindRegistry, Scope: sbom.ScopeDevelopment, Relation: sbom.RelationDirect, Commit: ref}
	if isCommit(ref) {
		if v := f.claim(line, ref); v != "" {
			c.Expect = []map[string]string{{"kind": sbom.ExpectVersion, "version": strings.Clone(v)}}
		}
		ref = strings.ToLower(ref)
		c.Commit, c.Pinned = ref, true
		if d, err := trust.NewDigest(trust.GitCommit, ref); err == nil {
			c.Artifacts = []trust.Artifact{{Digests: trust.Digests{d}}}
		}
	} else {
		f.flag(&c, sbom.ProblemUnpinned, line, "the action is named by a tag or branch, which can be moved; pin it by commit")
	}
	r, err := trust.NewRelease("github", parts[0], parts[1], ref)
	if err == nil {
		if len(parts) == 3 {
			r.Subpath = strings.Trim(path.Clean("/"+parts[2]), "/")
		}
		c.Release = r
	}
	return f.add(id{"github", parts[0], parts[1], ref}, line, c)
}
