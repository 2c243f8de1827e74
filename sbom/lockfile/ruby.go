package lockfile

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var (
	gemSpec     = regexp.MustCompile(`^    (\S+) \(([^)]+)\)$`)
	gemChecksum = regexp.MustCompile(`^  (\S+) \(([^)]+)\)(?: (\S+))?$`)
)

// parseGemfileLock reads Gemfile.lock as Bundler writes it.
func parseGemfileLock(f *file) error {
	type spec struct {
		name, version, platform string
		line                    int
		c                       sbom.Component
		remotes                 []string
	}
	var specs []spec
	var section, remote, revision, ref string
	var remotes []string
	direct := map[string]bool{}
	sums := map[string]trust.Digests{}
	deps, checksums := false, false
	num := 0
	for line := range strings.Lines(string(f.content)) {
		num++
		line = strings.TrimRight(line, " \r\n")
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "<<<<<<<") || strings.HasPrefix(line, "=======") || strings.HasPrefix(line, ">>>>>>>"):
			return fmt.Errorf("line %d: merge conflict marker", num)
		case line[0] != ' ':
			section, remote, revision, ref, remotes = line, "", "", "", nil
			switch section {
			case "GEM", "GIT", "PATH", "PLUGIN SOURCE", "PLATFORMS", "RUBY VERSION", "BUNDLED WITH":
			case "DEPENDENCIES":
				deps = true
			case "CHECKSUMS":
				checksums = true
			default:
				return fmt.Errorf("line %d: unknown section %q", num, short(section))
			}
			continue
		}
		switch section {
		case "GEM", "GIT", "PATH", "PLUGIN SOURCE":
			if v, ok := strings.CutPrefix(line, "  remote: "); ok {
				remote = v
				remotes = append(remotes, v)
				continue
			}
			if v, ok := strings.CutPrefix(line, "  revision: "); ok {
				revision = v
				continue
			}
			for _, k := range []string{"  ref: ", "  branch: ", "  tag: "} {
				if v, ok := strings.CutPrefix(line, k); ok {
					ref = v
				}
			}
			m := gemSpec.FindStringSubmatch(line)
			if m == nil {
				if strings.HasPrefix(line, "    ") && line[4] != ' ' {
					return fmt.Errorf("line %d: expected a gem and its version", num)
				}
				continue
			}
			s := spec{name: m[1], line: num, remotes: remotes}
			s.version, s.platform, _ = strings.Cut(m[2], "-")
			switch section {
			case "GEM":
				s.c.Kind, s.c.Registry = sbom.KindRegistry, remote
			case "GIT":
				if revision == "" {
					revision = ref
				}
				f.gitCommit(&s.c, num, remote, revision)
			case "PATH":
				s.c.Kind, s.c.Origin = sbom.KindPath, remote
			default:
				s.c.Kind, s.c.Origin = sbom.KindUnknown, remote
				f.flag(&s.c, sbom.ProblemUnsupported, num, "the source is of a Bundler plug-in")
			}
			if len(specs) > MaxEntries {
				return fmt.Errorf("more than %d gems: %w", MaxEntries, ErrTooLarge)
			}
			specs = append(specs, s)
		case "DEPENDENCIES":
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			direct[strings.TrimSuffix(name, "!")] = true
		case "CHECKSUMS":
			m := gemChecksum.FindStringSubmatch(line)
			if m == nil {
				return fmt.Errorf("line %d: malformed checksum", num)
			}
			key := m[1] + " " + m[2]
			if m[3] == "" {
				continue
			}
			for s := range strings.SplitSeq(m[3], ",") {
				alg, v, _ := strings.Cut(s, "=")
				d, err := trust.NewDigest(trust.Algorithm(alg), v)
				if err != nil {
					return fmt.Errorf("line %d: %w", num, err)
				}
				sums[key] = append(sums[key], d)
			}
		case "BUNDLED WITH":
			f.res.Version = strings.TrimSpace(line)
		}
	}
	if !deps {
		return fmt.Errorf("no section DEPENDENCIES: the file is cut off or no Gemfile.lock")
	}
	if len(specs) == 0 && len(direct) > 0 {
		return fmt.Errorf("no gems, although some are asked for")
	}
	f.res.Members = []string{"."}
	for _, s := range specs {
		s.c.Relation = sbom.RelationTransitive
		if direct[s.name] {
			s.c.Relation = sbom.RelationDirect
		}
		full := s.version
		if s.platform != "" {
			full += "-" + s.platform
		}
		if ds := sums[s.name+" "+full]; len(ds) > 0 {
			s.c.Artifacts = []trust.Artifact{{Digests: ds}}
		}
		if s.c.Kind == sbom.KindRegistry {
			f.judgeDigests(&s.c, s.line)
			if len(s.remotes) > 1 {
				f.flag(&s.c, sbom.ProblemMismatch, s.line, "the gem may come from any of several sources: "+short(strings.Join(s.remotes, ", ")))
			}
		}
		if s.platform != "" {
			r, err := trust.NewRelease("gem", "", s.name, s.version)
			if err == nil {
				s.c.Release = r.WithVariant("platform", s.platform)
			}
		}
		if err := f.add(id{"gem", "", s.name, s.version}, s.line, s.c); err != nil {
			return err
		}
	}
	if !checksums && len(specs) > 0 {
		f.problem(sbom.ProblemNoDigest, 0, "the file has no section CHECKSUMS", "run bundle lock --add-checksums")
	}
	return nil
}
