package lockfile

// readers returns what a format is read with; it is the one list of readers.
func readers(format Format) (func(*file) error, bool) {
	if _, ok := locks[format]; ok && format != ChartYAML {
		return parseManifest(format), true
	}
	switch format {
	case PackageLock:
		return parsePackageLock, true
	case PnpmLock:
		return parsePnpmLock, true
	case YarnLock:
		return parseYarnLock, true
	case GoMod:
		return parseGoMod, true
	case GoSum:
		return parseGoSum, true
	case GoWork:
		return parseGoWork, true
	case GoVendor:
		return parseGoVendor, true
	case UvLock:
		return parseUvLock, true
	case PoetryLock:
		return parsePoetryLock, true
	case PipfileLock:
		return parsePipfileLock, true
	case PyLock:
		return parsePyLock, true
	case PdmLock:
		return parsePdmLock, true
	case Requirements:
		return parseRequirements, true
	case CargoLock:
		return parseCargoLock, true
	case GemfileLock:
		return parseGemfileLock, true
	case ComposerLock:
		return parseComposerLock, true
	case NuGetLock:
		return parseNuGetLock, true
	case NuGetAssets:
		return parseNuGetAssets, true
	case NuGetConfig:
		return parseNuGetConfig, true
	case GradleLock:
		return parseGradleLock, true
	case GradleVerification:
		return parseGradleVerification, true
	case MavenPOM:
		return parsePOM, true
	case MixLock:
		return parseMixLock, true
	case PubspecLock:
		return parsePubspecLock, true
	case TerraformLock:
		return parseTerraformLock, true
	case SwiftResolved:
		return parseSwiftResolved, true
	case PodfileLock:
		return parsePodfileLock, true
	case CondaLock:
		return parseCondaLock, true
	case BunLock:
		return parseBunLock, true
	case DenoLock:
		return parseDenoLock, true
	case ChartYAML:
		return parseChart, true
	case ChartLock:
		return parseChartLock, true
	case Workflow:
		return parseWorkflow, true
	case Action:
		return parseAction, true
	case Dockerfile:
		return parseDockerfile, true
	case Compose:
		return parseCompose, true
	case Kubernetes:
		return parseKubernetes, true
	}
	return nil, false
}
