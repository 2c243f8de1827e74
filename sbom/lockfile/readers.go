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
	}
	return nil, false
}
