package lockfile

// readers is the one list of what each format is read with.
var readers = map[Format]func(*file) error{
	PackageLock: parsePackageLock,
	GoMod:       parseGoMod,
	GoSum:       parseGoSum,
	GoWork:      parseGoWork,
	GoVendor:    parseGoVendor,
}
