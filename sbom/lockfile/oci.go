package lockfile

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var imageReference = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/\-]*(?:@[a-z0-9]+:[0-9a-fA-F]+)?$`)

// image records a reference to a container image. The digest is the version; a
// tag alone pins nothing. Short names keep their spelling: which registry they
// mean is decided by the client's configuration.
func (f *file) image(line int, ref string, scope sbom.Scope) error {
	c := sbom.Component{Scope: scope, Relation: sbom.RelationDirect}
	if strings.ContainsAny(ref, "$") {
		f.problem(sbom.ProblemUnpinned, line, "the image "+short(ref)+" depends on a variable", "write the image with its digest")
		return nil
	}
	if !imageReference.MatchString(ref) {
		f.problem(sbom.ProblemBadPURL, line, fmt.Sprintf("%q is no image reference", short(ref)), "correct the reference")
		return nil
	}
	name, digest, _ := strings.Cut(ref, "@")
	tag := ""
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	if digest != "" {
		d, err := trust.ParseDigest(digest)
		if err != nil {
			f.flag(&c, sbom.ProblemNoDigest, line, "the digest cannot be read: "+err.Error())
			digest = ""
		} else {
			c.Artifacts = []trust.Artifact{{Digests: trust.Digests{d}}}
			c.Pinned = true
		}
	}
	if digest == "" {
		f.flag(&c, sbom.ProblemUnpinned, line, "the image is named by a tag, which can be moved; pin it by digest")
	}
	r, err := trust.NewRelease("oci", "", path.Base(name), strings.ToLower(digest))
	if err == nil {
		r.Package = r.Package.WithQualifier("repository_url", strings.ToLower(name))
		if tag == "" && digest == "" {
			tag = "latest"
		}
		c.Release = r.WithVariant("tag", tag)
	}
	if host, _, ok := strings.Cut(name, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		c.Registry = host
	}
	return f.add(id{"oci", "", path.Base(name), digest}, line, c)
}

var dockerVariable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))`)

// parseDockerfile reads the images that a Dockerfile builds on, copies from and
// mounts, with the defaults of its build arguments.
func parseDockerfile(f *file) error {
	args := map[string]string{}
	stages := map[string]bool{}
	expand := func(s string) string {
		return dockerVariable.ReplaceAllStringFunc(s, func(m string) string {
			g := dockerVariable.FindStringSubmatch(m)
			name := g[1] + g[4]
			v, ok := args[name]
			switch {
			case g[2] == "-" && (!ok || v == ""):
				return g[3]
			case g[2] == "+":
				if ok && v != "" {
					return g[3]
				}
				return ""
			case !ok:
				return m
			}
			return v
		})
	}
	escape := byte('\\')
	var text strings.Builder
	start, num, from, stageCount := 0, 0, false, 0
	heredoc := ""
	instruction := func(line int, s string) error {
		word, rest, _ := strings.Cut(s, " ")
		rest = strings.TrimSpace(rest)
		switch strings.ToUpper(word) {
		case "ARG":
			if !from {
				for _, kv := range strings.Fields(rest) {
					k, v, ok := strings.Cut(kv, "=")
					if ok {
						args[k] = expand(strings.Trim(v, `"'`))
					}
				}
			}
		case "FROM":
			from = true
			var words []string
			for _, w := range strings.Fields(rest) {
				if !strings.HasPrefix(w, "--") {
					words = append(words, w)
				}
			}
			if len(words) == 0 || len(words) == 2 || len(words) > 3 || len(words) == 3 && !strings.EqualFold(words[1], "as") {
				return fmt.Errorf("line %d: malformed FROM", line)
			}
			ref := expand(strings.Trim(words[0], `"'`))
			known := stages[strings.ToLower(ref)]
			stages[fmt.Sprint(stageCount)] = true
			stageCount++
			if len(words) == 3 {
				stages[strings.ToLower(words[2])] = true
			}
			if known || strings.EqualFold(ref, "scratch") {
				return nil
			}
			return f.image(line, ref, sbom.ScopeRuntime)
		case "COPY", "RUN":
			for _, w := range strings.Fields(rest) {
				if !strings.HasPrefix(w, "--") {
					break
				}
				ref, ok := strings.CutPrefix(w, "--from=")
				if mount, isMount := strings.CutPrefix(w, "--mount="); isMount {
					for kv := range strings.SplitSeq(mount, ",") {
						if v, isFrom := strings.CutPrefix(kv, "from="); isFrom {
							ref, ok = v, true
						}
					}
				}
				ref = strings.Trim(ref, `"'`)
				if !ok || stages[strings.ToLower(ref)] || strings.EqualFold(ref, "scratch") {
					continue
				}
				if err := f.image(line, ref, sbom.ScopeDevelopment); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for line := range strings.Lines(string(f.content)) {
		num++
		line = strings.TrimRight(line, " \t\r\n")
		trimmed := strings.TrimLeft(line, " \t")
		if heredoc != "" {
			if strings.TrimLeft(line, "\t") == heredoc {
				heredoc = ""
			}
			continue
		}
		if strings.HasPrefix(trimmed, "#") {
			d := strings.ToLower(strings.ReplaceAll(trimmed, " ", ""))
			if num <= 3 && strings.HasPrefix(d, "#escape=") && strings.HasSuffix(d, "`") {
				escape = '`'
			}
			// The syntax line names an image that runs at build time.
			if v, ok := strings.CutPrefix(strings.ReplaceAll(trimmed, " ", ""), "#syntax="); ok && num <= 3 && stageCount == 0 {
				if err := f.image(num, v, sbom.ScopeDevelopment); err != nil {
					return err
				}
			}
			continue
		}
		if trimmed == "" {
			continue
		}
		if text.Len() == 0 {
			start = num
		}
		if line[len(line)-1] == escape {
			text.WriteString(trimmed[:len(trimmed)-1] + " ")
			continue
		}
		text.WriteString(trimmed)
		s := strings.Join(strings.Fields(text.String()), " ")
		text.Reset()
		if m := hereDocument.FindStringSubmatch(s); m != nil && (strings.HasPrefix(strings.ToUpper(s), "RUN ") || strings.HasPrefix(strings.ToUpper(s), "COPY ") || strings.HasPrefix(strings.ToUpper(s), "ADD ")) {
			heredoc = m[1]
		}
		if err := instruction(start, s); err != nil {
			return err
		}
	}
	if text.Len() > 0 {
		if err := instruction(start, strings.TrimSpace(text.String())); err != nil {
			return err
		}
	}
	if !from {
		return fmt.Errorf("no FROM")
	}
	return nil
}

var hereDocument = regexp.MustCompile(`<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)

// parseCompose reads the images of a Compose file's services.
func parseCompose(f *file) error {
	docs, err := parseYAML(f.content)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return fmt.Errorf("the file is empty")
	}
	for _, doc := range docs {
		if !doc.isObject() {
			return fmt.Errorf("the document is no mapping")
		}
		services := doc.get("services")
		if services == nil && doc.get("version") == nil && doc.get("include") == nil && doc.get("volumes") == nil && doc.get("networks") == nil {
			services = doc // the first version of the format
		}
		err := services.each(func(_ string, s *node) error {
			img := s.get("image")
			if img.str() == "" {
				return nil
			}
			if s.get("build") != nil { // the name that the built image gets
				return nil
			}
			return f.image(img.at(), img.str(), sbom.ScopeRuntime)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parseKubernetes reads the images of all containers in Kubernetes manifests,
// custom resources included: every "image" under a list of containers.
func parseKubernetes(f *file) error {
	docs, err := parseYAML(f.content)
	if err != nil {
		return err
	}
	found := false
	for _, doc := range docs {
		if doc.get("apiVersion") != nil && doc.get("kind") != nil {
			found = true
		}
		if err := f.containers(doc, ""); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("no object with apiVersion and kind")
	}
	return nil
}

func (f *file) containers(n *node, key string) error {
	if n.isList() {
		for i := range n.items {
			e := &n.items[i]
			switch key {
			case "containers", "initContainers", "ephemeralContainers":
				if img := e.get("image"); img.str() != "" {
					if err := f.image(img.at(), img.str(), sbom.ScopeRuntime); err != nil {
						return err
					}
				}
			case "volumes":
				if img := e.get("image").get("reference"); img.str() != "" {
					if err := f.image(img.at(), img.str(), sbom.ScopeRuntime); err != nil {
						return err
					}
				}
			}
			if err := f.containers(e, ""); err != nil {
				return err
			}
		}
		return nil
	}
	return n.each(func(k string, v *node) error { return f.containers(v, k) })
}
