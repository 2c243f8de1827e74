package scan

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/pkg/cataloger/cpp"
	"github.com/anchore/syft/syft/pkg/cataloger/dart"
	"github.com/anchore/syft/syft/pkg/cataloger/dotnet"
	"github.com/anchore/syft/syft/pkg/cataloger/elixir"
	"github.com/anchore/syft/syft/pkg/cataloger/erlang"
	"github.com/anchore/syft/syft/pkg/cataloger/githubactions"
	"github.com/anchore/syft/syft/pkg/cataloger/golang"
	"github.com/anchore/syft/syft/pkg/cataloger/haskell"
	"github.com/anchore/syft/syft/pkg/cataloger/java"
	"github.com/anchore/syft/syft/pkg/cataloger/javascript"
	"github.com/anchore/syft/syft/pkg/cataloger/php"
	"github.com/anchore/syft/syft/pkg/cataloger/python"
	"github.com/anchore/syft/syft/pkg/cataloger/ruby"
	"github.com/anchore/syft/syft/pkg/cataloger/rust"
	"github.com/anchore/syft/syft/pkg/cataloger/swift"
	"github.com/anchore/syft/syft/pkg/cataloger/terraform"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/sbom/lockfile"
	"github.com/headgate/headgate/sbom/scan/trim"
	"github.com/headgate/headgate/trust"
)

// second is Syft's reader of a format.
type second struct {
	cataloger func() pkg.Cataloger
	// complete: Syft lists every registry package of the format, so that one that
	// only headgate's reader sees is worth a word.
	complete bool
}

func goModules() pkg.Cataloger {
	// Without this the cataloger runs `go list` in the scanned tree.
	return golang.NewGoModuleFileCataloger(golang.DefaultCatalogerConfig().WithUsePackagesLib(false).
		WithSearchLocalModCacheLicenses(false).WithSearchLocalVendorLicenses(false).WithSearchRemoteLicenses(false))
}

func nodeLocks() pkg.Cataloger {
	return javascript.NewLockCataloger(javascript.DefaultCatalogerConfig().WithIncludeDevDependencies(true).WithSearchRemoteLicenses(false))
}

func pythonLocks() pkg.Cataloger {
	cfg := python.DefaultCatalogerConfig()
	cfg.GuessUnpinnedRequirements, cfg.SearchRemoteLicenses = false, false
	return python.NewPackageCataloger(cfg)
}

func mavenPOM() pkg.Cataloger {
	return java.NewPomCataloger(java.DefaultArchiveCatalogerConfig().WithUseNetwork(false).WithUseMavenLocalRepository(false).WithResolveTransitiveDependencies(false))
}

// seconds are the formats that both read. pom.xml is not among the complete
// ones: its versions can come from parents that are not in the tree.
var seconds = map[lockfile.Format]second{
	lockfile.PackageLock:   {nodeLocks, true},
	lockfile.PnpmLock:      {nodeLocks, true},
	lockfile.YarnLock:      {nodeLocks, true},
	lockfile.BunLock:       {nodeLocks, true},
	lockfile.DenoLock:      {nodeLocks, false},
	lockfile.GoMod:         {goModules, false},
	lockfile.UvLock:        {pythonLocks, true},
	lockfile.PoetryLock:    {pythonLocks, true},
	lockfile.PipfileLock:   {pythonLocks, true},
	lockfile.PdmLock:       {pythonLocks, true},
	lockfile.Requirements:  {pythonLocks, false},
	lockfile.CargoLock:     {rust.NewCargoLockCataloger, true},
	lockfile.GemfileLock:   {ruby.NewGemFileLockCataloger, true},
	lockfile.ComposerLock:  {php.NewComposerLockCataloger, true},
	lockfile.NuGetLock:     {dotnet.NewDotnetPackagesLockCataloger, true},
	lockfile.GradleLock:    {java.NewGradleLockfileCataloger, false},
	lockfile.MavenPOM:      {mavenPOM, false},
	lockfile.MixLock:       {elixir.NewMixLockCataloger, true},
	lockfile.PubspecLock:   {dart.NewPubspecLockCataloger, true},
	lockfile.TerraformLock: {terraform.NewLockCataloger, true},
	lockfile.SwiftResolved: {swift.NewSwiftPackageManagerCataloger, false},
	lockfile.PodfileLock:   {swift.NewCocoapodsCataloger, false},
	lockfile.Workflow:      {githubactions.NewActionUsageCataloger, false},
	lockfile.Action:        {githubactions.NewActionUsageCataloger, false},
}

// onlySyft are lock files that headgate has no reader for.
var onlySyft = map[string]func() pkg.Cataloger{
	"rebar.lock":           erlang.NewRebarLockCataloger,
	"stack.yaml.lock":      haskell.NewHackageCataloger,
	"cabal.project.freeze": haskell.NewHackageCataloger,
	"conan.lock":           cpp.NewConanCataloger,
}

func syftOnly(name string) (format string, ok bool) {
	_, ok = onlySyft[path.Base(name)]
	return path.Base(name), ok
}

// bySyft returns what Syft's cataloger finds in one file. An error may come
// with packages. A panic of the library is an error.
func (t *tree) bySyft(name string, format lockfile.Format, content []byte) (out []pkg.Package, err error) {
	cataloger := onlySyft[path.Base(name)]
	if s, ok := seconds[format]; ok {
		cataloger = s.cataloger
	}
	if cataloger == nil {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("the cataloger panicked: %v", r)
		}
	}()
	out, _, err = cataloger().Catalog(t.ctx, &oneFile{tree: t, path: name, content: trim.Lock(format, content)})
	return out, err
}

// components makes components of everything that Syft found.
func components(packages []pkg.Package, name string) []sbom.Component {
	out := make([]sbom.Component, 0, len(packages))
	for i := range packages {
		if c, ok := fromSyft(&packages[i], name); ok {
			out = append(out, c)
		}
	}
	return out
}

// fromSyft makes a component of what Syft found. Names that cannot be shown
// safely have their problem from the own reader already.
func fromSyft(p *pkg.Package, name string) (sbom.Component, bool) {
	c := sbom.Component{Kind: sbom.KindUnknown, Locations: []trust.Location{{Path: name}}}
	var err error
	if u, ok := p.Metadata.(pkg.GitHubActionsUseStatement); ok {
		// The package's version is that of the comment behind the statement.
		action, ref, _ := strings.Cut(u.Value, "@")
		parts := strings.SplitN(action, "/", 3)
		if len(parts) < 2 {
			return c, false
		}
		c.Release, err = trust.NewRelease("github", parts[0], parts[1], ref)
		return c, err == nil
	}
	if c.Release, err = trust.ParseRelease(p.PURL); err != nil || c.Release.Package.Type == "golang" {
		typ := p.Type.PackageURLType()
		if typ == "" {
			typ = "generic"
		}
		namespace, base := "", p.Name
		if i := strings.LastIndexByte(p.Name, '/'); i >= 0 {
			namespace, base = p.Name[:i], p.Name[i+1:]
		}
		if c.Release, err = trust.NewRelease(typ, namespace, base, p.Version); err != nil {
			return c, false
		}
	}
	var integrity, url string
	switch m := p.Metadata.(type) {
	case pkg.NpmPackageLockEntry:
		integrity, url = m.Integrity, m.Resolved
	case pkg.YarnLockEntry:
		integrity, url = m.Integrity, m.Resolved
	case pkg.GolangModuleEntry:
		integrity = m.H1Digest
	}
	a := trust.Artifact{URL: url}
	if ds, err := trust.ParseSRI(integrity); err == nil {
		a.Digests = ds
	}
	if a.URL != "" || len(a.Digests) > 0 {
		c.Artifacts = []trust.Artifact{a}
	}
	return c, true
}

// looseName is a package name as both sides can be expected to spell it.
func looseName(r trust.Release) string {
	switch r.Package.Type {
	case "golang":
		return "golang " + r.Package.FullName()
	case "jsr": // Syft calls them npm packages of another registry
		return "npm " + strings.ToLower(r.Package.FullName())
	case "npm", "composer", "maven":
		return r.Package.Type + " " + strings.ToLower(r.Package.FullName())
	case "pypi", "cargo", "gem", "nuget":
		return r.Package.Type + " " + strings.ToLower(r.Package.Name)
	}
	// Types and namespaces of the others differ between the two (swift and
	// cocoapods names, hosts of Terraform registries, github and githubactions).
	name := r.Package.Name
	if r.Package.Type == "cocoapods" {
		name, _, _ = strings.Cut(r.Package.FullName(), "/") // Syft lists the subspecs of a pod one by one
	}
	return strings.ToLower(name)
}

func looseKey(name string, version string) string {
	return name + " " + strings.TrimPrefix(version, "v")
}

// looseNames returns the name and key of a package of Syft's. Most are npm
// packages by the thousand, for which no release need be made.
func looseNames(p *pkg.Package, file string) (name, key string, c sbom.Component, ok bool) {
	if p.Type == pkg.NpmPkg {
		name = "npm " + strings.ToLower(p.Name)
		return name, looseKey(name, p.Version), c, true
	}
	if c, ok = fromSyft(p, file); !ok {
		return "", "", c, false
	}
	name = looseName(c.Release)
	version := c.Release.Version
	if c.Release.Package.Type == "gem" {
		// Syft takes the platform for a part of the version, which has no dash of its own.
		version, _, _ = strings.Cut(version, "-")
	}
	return name, looseKey(name, version), c, true
}

// compare matches what both readers found in one file and returns the
// components of the own reader, marked where they are alone, and those of Syft
// that the own reader lacks. The rule stands in the package comment. missed is
// the number of registry packages that Syft does not have.
func compare(file string, format lockfile.Format, own []sbom.Component, theirs []pkg.Package) (all []sbom.Component, missed int) {
	s, both := seconds[format]
	if !both {
		return own, 0
	}
	keys := make([]string, len(own))
	exact, loose := make(map[string]bool, len(own)), map[string]bool{}
	for i := range own {
		c := &own[i]
		name := looseName(c.Release)
		keys[i] = looseKey(name, c.Release.Version)
		exact[keys[i]] = true
		if c.Kind == sbom.KindRegistry || c.Kind == sbom.KindUnknown {
			if c.Alias == "" && c.Replaces.IsZero() && c.Release.Version != "" && c.Release.Package.Type != "github" && c.Release.Package.Type != "githubactions" {
				continue
			}
		}
		loose[name] = true
		typ := c.Release.Package.Type
		if !c.Replaces.IsZero() {
			loose[looseName(c.Replaces)] = true
		}
		if c.Alias != "" {
			loose[typ+" "+strings.ToLower(c.Alias)] = true
			loose[strings.ToLower(c.Alias)] = true
		}
		if c.Origin != "" {
			loose[typ+" "+strings.ToLower(path.Base(c.Origin))] = true
			if c.Kind == sbom.KindWorkspace || c.Kind == sbom.KindPath {
				// npm names no workspace whose name is that of its folder; Syft takes the path then.
				loose[typ+" "+strings.ToLower(c.Origin)] = true
			}
		}
	}
	seen := make(map[string]bool, len(theirs))
	for i := range theirs {
		name, key, c, ok := looseNames(&theirs[i], file)
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		if exact[key] || loose[name] || name == "golang stdlib" {
			continue
		}
		if c.Release.IsZero() {
			if c, ok = fromSyft(&theirs[i], file); !ok {
				continue
			}
		}
		c.Problems = append(c.Problems, sbom.Problem{Code: sbom.ProblemOneSided, Location: c.Locations[0],
			Detail: "only Syft sees this package in " + file, Remedy: "check the file's entry by hand; if it is sound, report it to headgate"})
		own = append(own, c)
	}
	for i := range keys {
		c := &own[i]
		if c.Scope == sbom.ScopeDevelopment && c.Release.Package.Type != "npm" {
			continue // Syft drops development packages of composer.lock and others
		}
		if c.Kind != sbom.KindRegistry || c.Alias != "" || c.Release.Version == "" || !c.Replaces.IsZero() || seen[keys[i]] {
			continue
		}
		if format == lockfile.Requirements && c.Locations[0].Path != file {
			continue // from an included file, which Syft does not follow
		}
		if missed++; !s.complete || len(theirs) == 0 {
			continue
		}
		c.Problems = append(c.Problems, sbom.Problem{Code: sbom.ProblemOneSided, Location: c.Locations[0],
			Detail: "only headgate's own reader sees this package in " + file + "; Syft does not", Remedy: "check the file's entry by hand; if it is sound, report it to headgate"})
	}
	return own, missed
}

// oneFile is the file system that a cataloger sees: one file, and those beside
// it on demand by exact path.
type oneFile struct {
	tree    *tree
	path    string
	content []byte
}

type contents struct{ *bytes.Reader }

func (contents) Close() error { return nil }

// FileContentsByLocation implements file.ContentResolver.
func (o *oneFile) FileContentsByLocation(l file.Location) (io.ReadCloser, error) {
	if l.RealPath == o.path {
		return contents{bytes.NewReader(o.content)}, nil
	}
	b, err := o.tree.read(l.RealPath)
	if err != nil {
		return nil, err
	}
	return contents{bytes.NewReader(b)}, nil
}

// HasPath implements file.PathResolver.
func (o *oneFile) HasPath(p string) bool { return strings.TrimPrefix(p, "/") == o.path }

// FilesByPath implements file.PathResolver.
func (o *oneFile) FilesByPath(paths ...string) ([]file.Location, error) {
	for _, p := range paths {
		if o.HasPath(p) {
			return []file.Location{file.NewLocation(o.path)}, nil
		}
	}
	return nil, nil
}

// FilesByGlob implements file.PathResolver.
func (o *oneFile) FilesByGlob(patterns ...string) ([]file.Location, error) {
	for _, p := range patterns {
		if ok, err := doublestar.Match(p, o.path); err != nil {
			return nil, err
		} else if ok {
			return []file.Location{file.NewLocation(o.path)}, nil
		}
	}
	return nil, nil
}

// FilesByMIMEType implements file.PathResolver; no dependency file is found so.
func (o *oneFile) FilesByMIMEType(...string) ([]file.Location, error) { return nil, nil }

// RelativeFileByPath implements file.PathResolver: files beside the one that is
// read (go.sum, the package.json of a yarn.lock).
func (o *oneFile) RelativeFileByPath(_ file.Location, p string) *file.Location {
	p = path.Clean(strings.TrimPrefix(p, "/"))
	if p != o.path {
		if !strings.Contains(p, "/") && path.Dir(o.path) != "." {
			p = path.Join(path.Dir(o.path), p)
		}
		if _, err := o.tree.read(p); err != nil {
			return nil
		}
	}
	l := file.NewLocation(p)
	return &l
}

// AllLocations implements file.LocationResolver.
func (o *oneFile) AllLocations(ctx context.Context) <-chan file.Location {
	ch := make(chan file.Location, 1)
	ch <- file.NewLocation(o.path)
	close(ch)
	return ch
}

// FileMetadataByLocation implements file.MetadataResolver.
func (o *oneFile) FileMetadataByLocation(l file.Location) (file.Metadata, error) {
	return file.Metadata{Path: l.RealPath}, nil
}
