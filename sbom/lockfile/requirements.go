package lockfile

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

// pyRequirement takes name, extras and the rest from a requirement (PEP 508).
var pyRequirement = regexp.MustCompile(`^\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*(.*)$`)

// pyNamedURL matches "name @ URL".
var pyNamedURL = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*@\s*[A-Za-z./]`)

var pyExact = regexp.MustCompile(`(?:^|[,(\s])(===?)\s*([^\s,;)]+)`)

// parseRequirements reads a requirements file of pip with what it includes. No
// option about indexes is obeyed; they are reported. Comments are nothing.
func parseRequirements(f *file) error {
	r := &requirements{file: f, pins: map[string]string{}, visited: map[string]bool{path.Base(f.path): true}}
	if err := r.read(path.Base(f.path), f.content, true); err != nil {
		return err
	}
	if err := r.read(path.Base(f.path), f.content, false); err != nil {
		return err
	}
	f.res.Members = []string{"."}
	return nil
}

type requirements struct {
	*file
	pins    map[string]string // of constraint files
	visited map[string]bool
	files   int
}

// logicalLine is one line of pip's format after continuations are joined and
// comments are dropped.
type logicalLine struct {
	text string
	line int
}

func logicalLines(content []byte) []logicalLine {
	var out []logicalLine
	var parts []string
	start, num := 0, 0
	flush := func() {
		text := strings.Join(parts, "")
		if i := commentStart(text); i >= 0 {
			text = text[:i]
		}
		if text = strings.TrimSpace(text); text != "" {
			out = append(out, logicalLine{text, start})
		}
		parts = nil
	}
	for l := range strings.Lines(string(content)) {
		num++
		l = strings.TrimRight(l, "\r\n")
		if parts == nil {
			start = num
		}
		comment := strings.HasPrefix(strings.TrimLeft(l, " \t"), "#")
		if comment {
			// A comment line ends a continuation, as in pip.
			parts = append(parts, " "+l)
			flush()
			continue
		}
		if head, ok := strings.CutSuffix(l, `\`); ok {
			parts = append(parts, head)
			continue
		}
		parts = append(parts, l)
		flush()
	}
	if parts != nil {
		flush()
	}
	return out
}

// commentStart finds a "#" at the start or after white space: in URLs it is
// part of the URL.
func commentStart(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
			return i
		}
	}
	return -1
}

// read goes through one file. The first pass, pins, only gathers constraints,
// because they may follow the requirements that they pin.
func (r *requirements) read(name string, content []byte, pins bool) error {
	if r.files++; r.files > 2*MaxIncludes {
		return fmt.Errorf("more than %d files are included: %w", MaxIncludes, ErrTooLarge)
	}
	at := path.Join(path.Dir(r.path), name)
	for _, l := range logicalLines(content) {
		opt, arg := pipOption(l.text)
		switch opt {
		case "-r", "--requirement", "-c", "--constraint":
			constraint := opt == "-c" || opt == "--constraint"
			inc := path.Join(path.Dir(name), arg)
			if path.IsAbs(arg) || strings.Contains(arg, "://") || strings.Contains(arg, `\`) || strings.HasPrefix(path.Join(path.Dir(r.path), inc), "..") {
				if !pins {
					r.problem(sbom.ProblemSkipped, l.line, "the included file "+short(arg)+" is outside of the tree", "keep included requirements in the project")
				}
				continue
			}
			if constraint && !pins {
				continue
			}
			key := fmt.Sprint(inc, pins, constraint)
			if r.visited[key] || inc == path.Base(r.path) {
				continue
			}
			r.visited[key] = true
			b, ok := r.sibling(inc)
			if !ok {
				if pins {
					r.problem(sbom.ProblemUnparsable, l.line, "the included file "+short(inc)+" cannot be read", "commit it, or remove the line")
				}
				continue
			}
			if constraint {
				r.constraints(b)
				continue
			}
			if err := r.read(inc, b, pins); err != nil {
				return err
			}
		case "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--pypi-url", "--no-index":
			if !pins {
				r.problem(sbom.ProblemUnsupported, l.line, "the file sets "+opt+" "+short(arg)+", which headgate does not obey", "configure registries in your own configuration of pip and remove the line")
			}
		case "-e", "--editable":
			if !pins {
				if err := r.locationWith(at, l.line, arg, "", sbom.Component{}); err != nil {
					return err
				}
			}
		case "":
			if !pins {
				if err := r.requirement(at, l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pipOption splits an option line; option is empty for requirements.
func pipOption(s string) (opt, arg string) {
	if !strings.HasPrefix(s, "-") {
		return "", ""
	}
	if i := strings.IndexAny(s, " \t="); i > 0 {
		return s[:i], strings.Trim(strings.TrimSpace(s[i+1:]), `"'`)
	}
	if len(s) > 2 && s[1] != '-' {
		return s[:2], s[2:]
	}
	return s, ""
}

func (r *requirements) constraints(content []byte) {
	for _, l := range logicalLines(content) {
		if m := pyRequirement.FindStringSubmatch(l.text); m != nil {
			if v, ok := exactVersion(m[3]); ok {
				r.pins[pyName(m[1])] = v
			}
		}
	}
}

// exactVersion finds "==1.0" or "===1.0" among specifiers.
func exactVersion(spec string) (string, bool) {
	spec, _, _ = strings.Cut(spec, ";")
	m := pyExact.FindStringSubmatch(" " + spec)
	if m == nil || strings.Contains(m[2], "*") {
		return "", false
	}
	return m[2], true
}

func (r *requirements) requirement(at string, l logicalLine) error {
	text := l.text
	var hashes []string
	if i := strings.Index(text, " --"); i >= 0 {
		for _, o := range strings.Fields(text[i:]) {
			if h, ok := strings.CutPrefix(o, "--hash="); ok {
				hashes = append(hashes, h)
			}
		}
		// "--hash <value>" as two words
		fields := strings.Fields(text[i:])
		for j := 0; j+1 < len(fields); j++ {
			if fields[j] == "--hash" {
				hashes = append(hashes, fields[j+1])
			}
		}
		text = strings.TrimSpace(text[:i])
	}
	var c sbom.Component
	for _, h := range hashes {
		c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: r.hexDigest(&c, l.line, h)})
	}
	named := pyNamedURL.MatchString(text)
	if !named && (isURLSpec(text) || isGitURL(text) || strings.HasPrefix(text, "file:") || strings.HasPrefix(text, ".") || strings.HasPrefix(text, "/") ||
		strings.HasSuffix(text, ".whl") || strings.HasSuffix(text, ".tar.gz") || strings.HasSuffix(text, ".zip")) {
		return r.locationWith(at, l.line, text, "", c)
	}
	m := pyRequirement.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("line %d: %q is no requirement", l.line, short(text))
	}
	name, rest := m[1], m[3]
	if link, ok := strings.CutPrefix(rest, "@"); ok {
		link, _, _ = strings.Cut(strings.TrimSpace(link), " ;")
		return r.locationWith(at, l.line, strings.TrimSpace(link), name, c)
	}
	if rest != "" && !strings.ContainsAny(rest[:1], "=<>!~;(") {
		return fmt.Errorf("line %d: %q is no requirement", l.line, short(text))
	}
	version, ok := exactVersion(rest)
	if !ok {
		version, ok = r.pins[pyName(name)], r.pins[pyName(name)] != ""
	}
	if !ok {
		r.flag(&c, sbom.ProblemUnpinned, l.line, "the requirement has no exact version")
	}
	r.judgeDigests(&c, l.line)
	return r.put(at, l.line, name, version, c)
}

// locationWith records a requirement that is a URL or a path.
func (r *requirements) locationWith(at string, line int, arg, name string, c sbom.Component) error {
	link, frag, _ := strings.Cut(arg, "#")
	for kv := range strings.SplitSeq(frag, "&") {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "egg":
			if name == "" {
				name, _, _ = strings.Cut(v, "[")
			}
		case "sha256", "sha384", "sha512", "sha1", "md5":
			c.Artifacts = append(c.Artifacts, trust.Artifact{Digests: r.hexDigest(&c, line, k+":"+v)})
		}
	}
	version := ""
	base := path.Base(link)
	if strings.HasSuffix(base, ".whl") {
		if parts := strings.Split(base, "-"); len(parts) >= 5 {
			if name == "" {
				name = parts[0]
			}
			version = parts[1]
		}
	}
	switch {
	case isGitURL(link):
		repo, ref := strings.TrimPrefix(link, "git+"), ""
		if i := strings.LastIndexByte(repo, '@'); i > strings.LastIndexByte(repo, '/') {
			repo, ref = repo[:i], repo[i+1:]
		}
		r.gitCommit(&c, line, repo, ref)
	case isURLSpec(link):
		c.Kind, c.Origin = sbom.KindURL, link
		if len(c.Artifacts) == 0 {
			c.Artifacts = []trust.Artifact{{URL: link}}
		}
		for i := range c.Artifacts {
			c.Artifacts[i].URL = link
		}
		r.judgeDigests(&c, line)
	case strings.Contains(link, "+") && strings.Contains(link, "://"):
		c.Kind, c.Origin = sbom.KindUnknown, link
		r.flag(&c, sbom.ProblemUnsupported, line, "the version control system of "+short(link)+" is not supported")
	default:
		p, _, _ := strings.Cut(strings.TrimPrefix(link, "file:"), "[")
		c.Kind, c.Origin = sbom.KindPath, p
	}
	if name == "" {
		name = strings.TrimSuffix(base, ".git")
		if i := strings.IndexAny(name, "@["); i > 0 {
			name = name[:i]
		}
		if name == "." || name == ".." || name == "" {
			name = path.Base(path.Dir(at))
			if name == "." {
				name = "project"
			}
		}
	}
	return r.put(at, line, name, version, c)
}

func (r *requirements) put(at string, line int, name, version string, c sbom.Component) error {
	n := len(r.res.Components)
	if err := r.add(pyID(name, version), line, c); err != nil {
		return err
	}
	if n < len(r.res.Components) {
		r.res.Components[n].Locations[0].Path = at
	}
	return nil
}
