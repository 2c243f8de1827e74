package main

import (
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/headgate/headgate/trust"
)

type targetKind int

const (
	targetFile targetKind = iota
	targetFolder
	targetDigest
	targetImage      // in a registry
	targetOCIArchive // a tar file with an OCI layout
	targetOCIDir     // a folder with an OCI layout
)

// signTarget is what sign and verify work on.
type signTarget struct {
	kind   targetKind
	path   string // of file, folder or layout; reference of an image
	digest trust.Digest
}

var digestTarget = regexp.MustCompile(`^(sha256|sha384|sha512):`)

// imageHost matches references that name their registry; others need the scheme,
// so that a mistyped file name does not become a question to a public registry.
var imageHost = regexp.MustCompile(`^(localhost|[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9.-]+:[0-9]+|\[[0-9a-fA-F:]+\]:[0-9]+)(:[0-9]+)?/[^/]`)

// parseTarget tells what a target is: by its scheme, else by what lies at the path.
func parseTarget(s string) (signTarget, error) {
	if digestTarget.MatchString(s) {
		d, err := trust.ParseDigest(s)
		if err != nil {
			return signTarget{}, usage("target: %w", err)
		}
		return signTarget{kind: targetDigest, digest: d}, nil
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if ok && rest != "" {
		switch scheme {
		case "oci-archive":
			return signTarget{kind: targetOCIArchive, path: rest}, nil
		case "oci-dir":
			return signTarget{kind: targetOCIDir, path: rest}, nil
		case "registry":
			return signTarget{kind: targetImage, path: rest}, nil
		case "file", "sbom", "dir":
			s = rest
		}
	}
	fi, err := os.Stat(s)
	switch {
	case errors.Is(err, fs.ErrNotExist) && imageHost.MatchString(s) && !strings.HasPrefix(s, "."):
		return signTarget{kind: targetImage, path: s}, nil
	case err != nil:
		return signTarget{}, usage("target: %w", err)
	case fi.IsDir():
		if scheme == "file" || scheme == "sbom" {
			return signTarget{}, usage("%s is a folder", s)
		}
		return signTarget{kind: targetFolder, path: s}, nil
	case scheme == "dir" && s == rest:
		return signTarget{}, usage("%s is no folder", s)
	}
	return signTarget{kind: targetFile, path: s}, nil
}
