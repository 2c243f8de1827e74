package inspect

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/trust"
)

// wanted names the files whose text the ecosystem rules read.
func (in *inspection) wanted(name string) bool {
	base := path.Base(name)
	switch in.opts.Release.Package.Type {
	case "npm":
		return base == "package.json" && strings.Count(name, "/") <= 1
	case "pypi":
		return base == "RECORD" || base == "METADATA" || base == "PKG-INFO" && strings.Count(name, "/") <= 1
	case "cargo":
		return (base == "Cargo.toml" || base == ".cargo_vcs_info.json") && strings.Count(name, "/") == 1
	case "gem":
		return name == "metadata" // of metadata.gz: see content
	case "nuget":
		return strings.HasSuffix(strings.ToLower(name), ".nuspec") && !strings.Contains(name, "/")
	}
	return false
}

// gemMetadata is the one file below the package's own level that describes it.
const gemMetadata = "metadata.gz!/metadata"

// ecosystem applies the rules of the package's ecosystem to what was read.
func (in *inspection) ecosystem() {
	switch in.opts.Release.Package.Type {
	case "npm":
		in.npm()
	case "pypi":
		in.pypi()
	case "cargo":
		in.cargo()
	case "gem":
		in.gem()
	case "nuget":
		in.nuget()
	case "maven":
		in.maven()
	case "deb":
		in.deb()
	}
}

// paths are the package's own files, sorted, without those of nested archives.
func (in *inspection) paths() []string {
	var ps []string
	for _, p := range slices.Sorted(maps.Keys(in.report.Files)) {
		if !strings.Contains(p, "!/") {
			ps = append(ps, p)
		}
	}
	return ps
}

// npmManifest is what package.json and the registry's record have in common.
type npmManifest struct {
	Name                 string            `json:"name"`
	Version              string            `json:"version"`
	Scripts              map[string]any    `json:"scripts"`
	Bin                  any               `json:"bin"`
	Dependencies         map[string]string `json:"dependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	GypFile              *bool             `json:"gypfile"`
	GitHead              string            `json:"gitHead"` // of the registry's record
}

var npmInstallScripts = []string{"preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"}

// npm compares package.json with the registry's record and reports what npm
// would run. npm drops the first path element of every entry: two entries that
// then meet are two readings of one package.
func (in *inspection) npm() {
	stripped := map[string]string{}
	for _, p := range in.paths() {
		s := trimTop(p)
		if other, ok := stripped[s]; ok {
			in.seef(KindTwoReadings, trust.EffectBlock, p, "npm unpacks this entry and %s to one place", other)
		}
		stripped[s] = p
	}
	at, ok := stripped["package.json"]
	if !ok {
		in.seef(KindManifest, trust.EffectBlock, "package.json", "the package holds no package.json")
		return
	}
	var m npmManifest
	if err := json.Unmarshal(in.texts[at], &m); err != nil {
		in.seef(KindUnreadable, trust.EffectHold, at, "cannot be read: %v", err)
		return
	}
	r := in.opts.Release
	if m.Name != r.Package.FullName() {
		in.seef(KindManifest, trust.EffectBlock, at, "the package calls itself %q, the registry calls it %q", m.Name, r.Package.FullName())
	}
	if strings.TrimPrefix(m.Version, "v") != r.Version {
		in.seef(KindManifest, trust.EffectBlock, at, "the package says version %q, the registry %q", m.Version, r.Version)
	}
	for _, s := range npmInstallScripts {
		if v, ok := m.Scripts[s]; ok && !strings.Contains(s, "prepare") {
			in.seef(KindInstallCode, "", at, "runs at installation, %s: %v", s, v)
		}
	}
	_, gyp := stripped["binding.gyp"]
	if _, has := m.Scripts["install"]; gyp && !has && m.Scripts["preinstall"] == nil && (m.GypFile == nil || *m.GypFile) {
		in.seef(KindInstallCode, "", stripped["binding.gyp"], "npm runs node-gyp at installation because this file is there")
	}
	if len(in.opts.Manifest) > 0 {
		in.npmRegistry(m, at)
	}
}

func (in *inspection) npmRegistry(m npmManifest, at string) {
	var reg npmManifest
	if err := json.Unmarshal(in.opts.Manifest, &reg); err != nil {
		in.seef(KindUnreadable, trust.EffectHold, at, "the registry's record cannot be read: %v", err)
		return
	}
	in.report.Commit = reg.GitHead
	// The registry adds optional dependencies to the dependencies of its record.
	merge := func(x npmManifest) map[string]string {
		d := maps.Clone(x.Dependencies)
		if d == nil {
			d = map[string]string{}
		}
		maps.Copy(d, x.OptionalDependencies)
		return d
	}
	if have, want := merge(m), merge(reg); !maps.Equal(have, want) {
		in.seef(KindManifest, trust.EffectBlock, at, "the package depends on %s, the registry says %s", difference(have, want), difference(want, have))
	}
	for _, s := range npmInstallScripts[:3] {
		have, want := fmt.Sprint(m.Scripts[s]), fmt.Sprint(reg.Scripts[s])
		implied := s == "install" && m.Scripts[s] == nil && want == "node-gyp rebuild"
		if have != want && !implied {
			in.seef(KindManifest, trust.EffectBlock, at, "script %s is %q in the package and %q in the registry's record", s, have, want)
		}
	}
	if have, want := bins(m), bins(reg); !maps.Equal(have, want) {
		in.seef(KindManifest, trust.EffectHold, at, "the package installs the commands %s, the registry says %s", difference(have, want), difference(want, have))
	}
}

func bins(m npmManifest) map[string]string {
	out := map[string]string{}
	_, base, _ := strings.Cut("/"+m.Name, "/")
	if i := strings.LastIndexByte(base, '/'); i >= 0 {
		base = base[i+1:]
	}
	clean := func(v any) string { return strings.TrimPrefix(path.Clean("/"+fmt.Sprint(v)), "/") }
	switch b := m.Bin.(type) {
	case string:
		if b != "" {
			out[base] = clean(b)
		}
	case map[string]any:
		for k, v := range b {
			out[path.Base(k)] = clean(v)
		}
	}
	return out
}

// difference lists what a has and b has not, or "none".
func difference(a, b map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if v, ok := b[k]; !ok || v != a[k] {
			out = append(out, k+" "+a[k])
		}
	}
	if len(out) == 0 {
		return "none of these"
	}
	if len(out) > 8 {
		out = append(out[:8], "…")
	}
	return strings.Join(out, ", ")
}

// pypi checks wheels against their RECORD and reports code that pip or Python
// runs without being asked.
func (in *inspection) pypi() {
	wheel := strings.HasSuffix(in.opts.FileName, ".whl")
	for _, p := range in.paths() {
		switch base := path.Base(p); {
		case strings.HasSuffix(base, ".pth") && (wheel || strings.Count(p, "/") <= 2):
			in.seef(KindInstallCode, "", p, "Python runs the lines of .pth files that start with import, at every start")
		case base == "sitecustomize.py" || base == "usercustomize.py":
			if strings.Count(p, "/") == 0 {
				in.seef(KindInstallCode, trust.EffectHold, p, "Python runs this file at every start")
			}
		case !wheel && base == "setup.py" && strings.Count(p, "/") == 1:
			in.seef(KindInstallCode, "", p, "runs when the package is built from source")
		}
	}
	if wheel {
		in.record()
	}
	for name, text := range in.texts {
		if base := path.Base(name); base == "METADATA" || base == "PKG-INFO" {
			in.pythonMetadata(name, text)
		}
	}
}

func (in *inspection) pythonMetadata(at string, text []byte) {
	if strings.Count(at, "/") > 1 {
		return
	}
	r := in.opts.Release
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 1<<20)
	for s.Scan() && s.Text() != "" {
		k, v, _ := strings.Cut(s.Text(), ":")
		v = strings.TrimSpace(v)
		switch k {
		case "Name":
			if got, err := trust.NewRelease("pypi", "", v, ""); err != nil || got.Package.Name != r.Package.Name {
				in.seef(KindManifest, trust.EffectBlock, at, "the package calls itself %q, the index calls it %q", v, r.Package.Name)
			}
		case "Version":
			if trust.NormalizePyPIVersion(v) != trust.NormalizePyPIVersion(r.Version) {
				in.seef(KindManifest, trust.EffectBlock, at, "the package says version %q, the index %q", v, r.Version)
			}
		}
	}
	if err := s.Err(); err != nil {
		in.seef(KindUnreadable, trust.EffectHold, at, "cannot be read: %v", err)
	}
}

// record compares a wheel's files with its RECORD, both ways.
func (in *inspection) record() {
	var at string
	for _, name := range slices.Sorted(maps.Keys(in.texts)) {
		if path.Base(name) != "RECORD" || !strings.HasSuffix(path.Dir(name), ".dist-info") || strings.Count(name, "/") != 1 {
			continue
		}
		if at != "" {
			in.seef(KindManifest, trust.EffectBlock, name, "the wheel has two lists of its files, this one and %s", at)
			return
		}
		at = name
	}
	if at == "" {
		in.seef(KindManifest, trust.EffectHold, in.opts.FileName, "the wheel has no RECORD of its files")
		return
	}
	rows, err := csv.NewReader(bytes.NewReader(in.texts[at])).ReadAll()
	if err != nil {
		in.seef(KindUnreadable, trust.EffectHold, at, "cannot be read: %v", err)
		return
	}
	listed := map[string]bool{}
	for _, row := range rows {
		name := row[0]
		listed[name] = true
		f, ok := in.report.Files[name]
		if !ok {
			in.seef(KindManifest, trust.EffectHold, name, "RECORD lists the file, the wheel lacks it")
			continue
		}
		if len(row) < 2 || row[1] == "" {
			if !recordItself(at, name) && !strings.HasSuffix(name, ".pyc") {
				in.seef(KindManifest, trust.EffectHold, name, "RECORD states no digest of the file")
			}
			continue
		}
		alg, v, _ := strings.Cut(row[1], "=")
		if alg != "sha256" {
			in.seef(KindManifest, trust.EffectHold, name, "RECORD states a digest of the file (%.20q) that is not compared: only sha256 is", alg)
			continue
		}
		want, err := base64.RawURLEncoding.DecodeString(v)
		if err != nil || hex.EncodeToString(want) != f.SHA256 {
			in.seef(KindManifest, trust.EffectBlock, name, "RECORD states another digest than the file has")
		}
	}
	for _, p := range in.paths() {
		if !listed[p] && (p == at || !recordItself(at, p)) {
			in.seef(KindManifest, trust.EffectHold, p, "the wheel holds the file, RECORD does not list it")
		}
	}
}

// recordItself reports whether the file is RECORD or a signature of it, which
// RECORD cannot hold digests of.
func recordItself(at, name string) bool {
	return name == at || name == at+".jws" || name == at+".p7s"
}

func (in *inspection) cargo() {
	top := in.opts.Release.Package.Name + "-" + in.opts.Release.Version + "/"
	for _, p := range in.paths() {
		if !strings.HasPrefix(p, top) {
			in.seef(KindManifest, trust.EffectBlock, p, "lies outside of %s, where every file of a crate belongs", top)
		}
	}
	text, ok := in.texts[top+"Cargo.toml"]
	if !ok {
		in.seef(KindManifest, trust.EffectBlock, top+"Cargo.toml", "the crate holds no manifest")
		return
	}
	var m struct {
		Package struct {
			Name    string `toml:"name"`
			Version string `toml:"version"`
			Build   any    `toml:"build"`
		} `toml:"package"`
		Lib struct {
			ProcMacro  bool `toml:"proc-macro"`
			ProcMacro2 bool `toml:"proc_macro"`
		} `toml:"lib"`
	}
	if err := toml.Unmarshal(text, &m); err != nil {
		in.seef(KindUnreadable, trust.EffectHold, top+"Cargo.toml", "cannot be read: %v", err)
		return
	}
	var vcs struct {
		Git struct {
			SHA1 string `json:"sha1"`
		} `json:"git"`
	}
	if text, ok := in.texts[top+".cargo_vcs_info.json"]; ok {
		if err := json.Unmarshal(text, &vcs); err != nil {
			in.seef(KindUnreadable, "", top+".cargo_vcs_info.json", "cannot be read: %v", err)
		}
		in.report.Commit = vcs.Git.SHA1
	}
	if m.Package.Name != in.opts.Release.Package.Name || m.Package.Version != in.opts.Release.Version {
		in.seef(KindManifest, trust.EffectBlock, top+"Cargo.toml", "the crate calls itself %s %s", m.Package.Name, m.Package.Version)
	}
	_, implied := in.report.Files[top+"build.rs"]
	if build, isFile := m.Package.Build.(string); isFile {
		in.seef(KindInstallCode, "", top+build, "build script: runs when the crate is compiled")
	} else if off, isBool := m.Package.Build.(bool); implied && (!isBool || off) {
		in.seef(KindInstallCode, "", top+"build.rs", "build script: runs when the crate is compiled")
	}
	if m.Lib.ProcMacro || m.Lib.ProcMacro2 {
		in.seef(KindInstallCode, "", top+"Cargo.toml", "procedural macro: runs in the compiler")
	}
}

func (in *inspection) gem() {
	text, ok := in.texts["metadata"]
	if !ok {
		in.seef(KindManifest, trust.EffectBlock, "metadata.gz", "the gem holds no specification")
		return
	}
	// The specification is YAML with Ruby's own tags; only plain values are read.
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil || len(node.Content) == 0 {
		in.seef(KindUnreadable, trust.EffectHold, "metadata.gz", "cannot be read: %v", err)
		return
	}
	get := func(n *yaml.Node, key string) *yaml.Node {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
		return nil
	}
	spec := node.Content[0]
	if n := get(spec, "name"); n == nil || n.Value != in.opts.Release.Package.Name {
		in.seef(KindManifest, trust.EffectBlock, "metadata.gz", "the gem calls itself by another name than the index (%q)", in.opts.Release.Package.Name)
	}
	if v := get(get(spec, "version"), "version"); v == nil || v.Value != in.opts.Release.Version {
		in.seef(KindManifest, trust.EffectBlock, "metadata.gz", "the gem states another version than the index (%q)", in.opts.Release.Version)
	}
	if ext := get(spec, "extensions"); ext != nil {
		for _, e := range ext.Content {
			in.seef(KindInstallCode, "", e.Value, "native extension: its build script runs at installation")
		}
	}
}

var (
	nugetScript = regexp.MustCompile(`(?i)^tools/(?:[^/]+/)?(?:init|install|uninstall)\.ps1$`)
	nugetBuild  = regexp.MustCompile(`(?i)^(?:build|buildTransitive|buildMultiTargeting|buildCrossTargeting)/.*\.(?:targets|props)$`)
	nugetInside = regexp.MustCompile(`(?i)^analyzers/.*\.dll$`)
)

func (in *inspection) nuget() {
	for _, p := range in.paths() {
		switch {
		case nugetScript.MatchString(p):
			in.seef(KindInstallCode, "", p, "PowerShell script that Visual Studio runs at installation")
		case nugetBuild.MatchString(p):
			in.seef(KindInstallCode, "", p, "MSBuild runs this file in every build that uses the package")
		case nugetInside.MatchString(p):
			in.seef(KindInstallCode, "", p, "analyzer: the compiler runs it in every build that uses the package")
		case strings.HasSuffix(strings.ToLower(p), ".nuspec") && !strings.Contains(p, "/"):
			in.nuspec(p)
		}
	}
}

// nuspec compares who the package says it is with what was asked for.
func (in *inspection) nuspec(at string) {
	var m struct {
		Metadata struct {
			ID      string `xml:"id"`
			Version string `xml:"version"`
		} `xml:"metadata"`
	}
	text, ok := in.texts[at]
	if !ok {
		return // too large to be read, which is an observation of its own
	}
	if err := xml.Unmarshal(text, &m); err != nil {
		in.seef(KindUnreadable, trust.EffectHold, at, "cannot be read: %v", err)
		return
	}
	r := in.opts.Release
	got, err := trust.NewRelease("nuget", "", strings.TrimSpace(m.Metadata.ID), strings.TrimSpace(m.Metadata.Version))
	if err != nil || got != r {
		in.seef(KindManifest, trust.EffectBlock, at, "the package calls itself %.100q %.100q, the registry calls it %s %s", m.Metadata.ID, m.Metadata.Version, r.Package.Name, r.Version)
	}
}

// maven reports classes of other groups inside a jar, one line a group: shaded
// copies escape advisories and updates.
func (in *inspection) maven() {
	group := strings.ReplaceAll(in.opts.Release.Package.Namespace, ".", "/")
	var parts []string
	for p := range strings.SplitSeq(group, "/") {
		if parts = append(parts, p); len(parts) == 2 {
			break
		}
	}
	own := strings.Join(parts, "/") + "/"
	foreign := map[string]int{}
	for _, p := range in.paths() {
		if strings.HasSuffix(p, ".class") && !strings.HasPrefix(p, own) && !strings.HasPrefix(p, "META-INF/") && strings.Count(p, "/") >= 2 {
			dirs := strings.SplitN(p, "/", 4)
			foreign[strings.Join(dirs[:min(len(dirs)-1, 3)], ".")]++
		}
	}
	for _, g := range slices.Sorted(maps.Keys(foreign)) {
		in.seef(KindForeign, "", g, "%d classes of another group", foreign[g])
	}
}

// deb reports the maintainer scripts, which dpkg runs as root.
func (in *inspection) deb() {
	for p := range in.report.Files {
		if !strings.HasPrefix(p, "control.tar") {
			continue
		}
		switch base := path.Base(p); base {
		case "preinst", "postinst", "prerm", "postrm", "config":
			in.seef(KindInstallCode, "", p, "maintainer script: dpkg runs it as root")
		}
	}
}

// Digest is a digest over the names and contents of a package's files, for
// comparing two artifacts without their archive's framing.
func (r *Report) Digest() trust.Digest {
	h := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(r.Files)) {
		fmt.Fprintf(h, "%s  %s\n", r.Files[p].SHA256, p)
	}
	return trust.DigestOf(trust.SHA256, h.Sum(nil))
}
