package lockfile

import (
	"path"
	"slices"
	"strings"
)

// Format names the format of a dependency file.
type Format string

// Formats of lock files and other files that pin dependencies.
const (
	PackageLock        Format = "package-lock.json" // and npm-shrinkwrap.json
	PnpmLock           Format = "pnpm-lock.yaml"
	YarnLock           Format = "yarn.lock" // 1 and berry
	BunLock            Format = "bun.lock"
	DenoLock           Format = "deno.lock"
	GoMod              Format = "go.mod" // with go.sum beside it
	GoSum              Format = "go.sum"
	GoWork             Format = "go.work"
	GoVendor           Format = "vendor/modules.txt"
	UvLock             Format = "uv.lock"
	PoetryLock         Format = "poetry.lock"
	PipfileLock        Format = "Pipfile.lock"
	PyLock             Format = "pylock.toml" // PEP 751
	PdmLock            Format = "pdm.lock"
	Requirements       Format = "requirements.txt"
	CargoLock          Format = "Cargo.lock"
	GemfileLock        Format = "Gemfile.lock"
	ComposerLock       Format = "composer.lock"
	NuGetLock          Format = "packages.lock.json"
	NuGetAssets        Format = "project.assets.json"
	NuGetConfig        Format = "packages.config"
	GradleLock         Format = "gradle.lockfile"
	GradleVerification Format = "verification-metadata.xml"
	MavenPOM           Format = "pom.xml"
	MixLock            Format = "mix.lock"
	PubspecLock        Format = "pubspec.lock"
	TerraformLock      Format = ".terraform.lock.hcl"
	SwiftResolved      Format = "Package.resolved"
	PodfileLock        Format = "Podfile.lock"
	CondaLock          Format = "conda-lock.yml"
	ChartYAML          Format = "Chart.yaml" // Helm; dependencies without Chart.lock
	ChartLock          Format = "Chart.lock" // and requirements.lock of Helm 2
	Workflow           Format = "GitHub Actions workflow"
	Action             Format = "GitHub Actions action"
	Dockerfile         Format = "Dockerfile"
	Compose            Format = "Compose file"
	Kubernetes         Format = "Kubernetes manifest"
)

// Formats of manifests: they ask for dependencies and pin nothing.
const (
	PackageJSON    Format = "package.json"
	PyProject      Format = "pyproject.toml"
	Pipfile        Format = "Pipfile"
	RequirementsIn Format = "requirements.in"
	CargoTOML      Format = "Cargo.toml"
	Gemfile        Format = "Gemfile"
	ComposerJSON   Format = "composer.json"
	DotNetProject  Format = "MSBuild project"
	GradleBuild    Format = "Gradle build"
	MixExs         Format = "mix.exs"
	PubspecYAML    Format = "pubspec.yaml"
	SwiftPackage   Format = "Package.swift"
	Podfile        Format = "Podfile"
	DenoJSON       Format = "deno.json"
	ConanManifest  Format = "conanfile"
	CondaManifest  Format = "environment.yml"
	BunLockBinary  Format = "bun.lockb" // binary; only its presence can be told
)

var byName = map[string]Format{
	"package-lock.json": PackageLock, "npm-shrinkwrap.json": PackageLock, "pnpm-lock.yaml": PnpmLock, "yarn.lock": YarnLock,
	"bun.lock": BunLock, "bun.lockb": BunLockBinary, "deno.lock": DenoLock,
	"go.mod": GoMod, "go.sum": GoSum, "go.work": GoWork,
	"uv.lock": UvLock, "poetry.lock": PoetryLock, "Pipfile.lock": PipfileLock, "pdm.lock": PdmLock,
	"Cargo.lock": CargoLock, "Gemfile.lock": GemfileLock, "gems.locked": GemfileLock, "composer.lock": ComposerLock,
	"packages.lock.json": NuGetLock, "project.assets.json": NuGetAssets, "packages.config": NuGetConfig,
	"gradle.lockfile": GradleLock, "buildscript-gradle.lockfile": GradleLock, "verification-metadata.xml": GradleVerification, "pom.xml": MavenPOM,
	"mix.lock": MixLock, "pubspec.lock": PubspecLock, ".terraform.lock.hcl": TerraformLock, "Package.resolved": SwiftResolved, "Podfile.lock": PodfileLock,
	"conda-lock.yml": CondaLock, "conda-lock.yaml": CondaLock,
	"Chart.yaml": ChartYAML, "Chart.lock": ChartLock, "requirements.lock": ChartLock,
	"action.yml": Action, "action.yaml": Action,
	"package.json": PackageJSON, "pyproject.toml": PyProject, "Pipfile": Pipfile, "Cargo.toml": CargoTOML, "Gemfile": Gemfile, "gems.rb": Gemfile,
	"composer.json": ComposerJSON, "build.gradle": GradleBuild, "build.gradle.kts": GradleBuild, "mix.exs": MixExs, "pubspec.yaml": PubspecYAML,
	"Package.swift": SwiftPackage, "Podfile": Podfile, "deno.json": DenoJSON, "deno.jsonc": DenoJSON,
	"conanfile.txt": ConanManifest, "conanfile.py": ConanManifest, "environment.yml": CondaManifest, "environment.yaml": CondaManifest,
}

// byFolded are the lock files of byName by their names in lower case.
var byFolded = func() map[string]string {
	m := map[string]string{}
	for name, f := range byName {
		if !f.IsManifest() && f != ChartYAML {
			m[strings.ToLower(name)] = name
		}
	}
	return m
}()

// OtherCase returns the name of the lock file that a file is taken for where
// file systems ignore case, and that Match does not take it for; else "".
func OtherCase(filePath string) string {
	base := path.Base(filePath)
	if want, ok := byFolded[strings.ToLower(base)]; ok && want != base {
		return want
	}
	if dir := path.Base(path.Dir(filePath)); strings.EqualFold(base, "modules.txt") && strings.EqualFold(dir, "vendor") && (base != "modules.txt" || dir != "vendor") {
		return string(GoVendor)
	}
	return ""
}

// Match tells by its slash-separated path whether a file is a dependency file,
// and of which format. It looks at names only. Kubernetes manifests have no
// name of their own: see LooksLikeKubernetes.
func Match(filePath string) (Format, bool) {
	p := path.Clean(strings.TrimPrefix(filePath, "/"))
	base := path.Base(p)
	if f, ok := byName[base]; ok {
		return f, true
	}
	dir, lower, ext := path.Dir(p), strings.ToLower(base), path.Ext(base)
	yaml := ext == ".yml" || ext == ".yaml"
	switch {
	case base == "modules.txt" && path.Base(dir) == "vendor":
		return GoVendor, true
	case strings.HasPrefix(base, "pylock.") && ext == ".toml":
		return PyLock, true
	case ext == ".lockfile" && path.Base(dir) == "dependency-locks":
		return GradleLock, true
	case ext == ".txt" && (isRequirementsName(lower) || path.Base(dir) == "requirements"):
		return Requirements, true
	case ext == ".in" && (isRequirementsName(lower) || path.Base(dir) == "requirements"):
		return RequirementsIn, true
	case ext == ".csproj" || ext == ".fsproj" || ext == ".vbproj", lower == "directory.packages.props":
		return DotNetProject, true
	case yaml && (strings.HasSuffix("/"+dir, "/.github/workflows") || strings.HasSuffix("/"+dir, "/.gitea/workflows") || strings.HasSuffix("/"+dir, "/.forgejo/workflows")):
		return Workflow, true
	case lower == "dockerfile", lower == "containerfile", strings.HasPrefix(lower, "dockerfile."), strings.HasPrefix(lower, "containerfile."), ext == ".dockerfile", ext == ".Dockerfile", ext == ".containerfile":
		if lower == "dockerfile.dockerignore" || lower == "containerfile.dockerignore" {
			return "", false
		}
		return Dockerfile, true
	case yaml && (isComposeName(lower, "docker-compose") || isComposeName(lower, "compose")):
		return Compose, true
	}
	return "", false
}

func isRequirementsName(lower string) bool {
	stem := strings.TrimSuffix(strings.TrimSuffix(lower, ".txt"), ".in")
	return stem == "requirements" || strings.HasPrefix(stem, "requirements-") || strings.HasPrefix(stem, "requirements_") || strings.HasPrefix(stem, "requirements.") ||
		strings.HasSuffix(stem, "-requirements") || strings.HasSuffix(stem, "_requirements") || strings.HasSuffix(stem, ".requirements")
}

func isComposeName(lower, stem string) bool {
	rest, ok := strings.CutPrefix(lower, stem)
	return ok && (rest == ".yml" || rest == ".yaml" || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "-"))
}

// LooksLikeKubernetes reports whether the head of a YAML file says that it is a
// Kubernetes manifest: it has apiVersion and kind at the outermost level.
func LooksLikeKubernetes(filePath string, content []byte) bool {
	if ext := path.Ext(filePath); ext != ".yaml" && ext != ".yml" {
		return false
	}
	const head = 64 << 10
	s := "\n" + string(content[:min(len(content), head)])
	return strings.Contains(s, "\napiVersion:") && strings.Contains(s, "\nkind:")
}

// locks lists, for each manifest, the files of which one must lock it.
var locks = map[Format][]string{
	PackageJSON:    {"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "deno.lock"},
	PyProject:      {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "requirements.txt"},
	Pipfile:        {"Pipfile.lock"},
	CargoTOML:      {"Cargo.lock"},
	Gemfile:        {"Gemfile.lock", "gems.locked"},
	ComposerJSON:   {"composer.lock"},
	DotNetProject:  {"packages.lock.json", "obj/project.assets.json"},
	GradleBuild:    {"gradle.lockfile", "buildscript-gradle.lockfile", "gradle/verification-metadata.xml"},
	MixExs:         {"mix.lock"},
	PubspecYAML:    {"pubspec.lock"},
	SwiftPackage:   {"Package.resolved"},
	Podfile:        {"Podfile.lock"},
	DenoJSON:       {"deno.lock"},
	ConanManifest:  {"conan.lock"},
	CondaManifest:  {"conda-lock.yml", "conda-lock.yaml"},
	RequirementsIn: nil, // its own name with .txt
	BunLockBinary:  {"bun.lock"},
	ChartYAML:      {"Chart.lock", "requirements.lock"},
}

// IsManifest reports whether files of the format ask for dependencies and pin
// nothing themselves.
func (f Format) IsManifest() bool {
	_, ok := locks[f]
	return ok && f != ChartYAML
}

// Locks returns the names, relative to the manifest's directory, of the files of
// which one locks the manifest at the path; none for files that are no manifests.
func (f Format) Locks(manifestPath string) []string {
	if f == RequirementsIn {
		return []string{strings.TrimSuffix(path.Base(manifestPath), ".in") + ".txt"}
	}
	return slices.Clone(locks[f])
}
