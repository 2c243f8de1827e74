package main

import (
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/ecosystems/npm"
)

// TestThreat103MemoryOfLargeInputs: 20,000 dependencies, in a lock file or an SBOM,
// take less than 300 MB of resident memory, everything of the process counted.
func TestThreat103MemoryOfLargeInputs(t *testing.T) {
	const n, bound = 20_000, 300 << 20
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector multiplies what a process takes")
	}
	bin := buildBinary(t)
	lock, docs := t.TempDir(), t.TempDir()
	var deps, pkgs, cdx, spdx strings.Builder
	cdx.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`)
	spdx.WriteString(`{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","dataLicense":"CC0-1.0","name":"x","documentNamespace":"https://example.com/x","creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: x"]},"packages":[`)
	for i := range n {
		sep := ","
		if i == 0 {
			sep = ""
		}
		sum := strings.Repeat(fmt.Sprintf("%08x", i), 16)
		digest := sha512.Sum512(fmt.Append(nil, i))
		fmt.Fprintf(&deps, `%s"plain-%05d":"1.0.0"`, sep, i)
		fmt.Fprintf(&pkgs, `,"node_modules/plain-%05d":{"version":"1.0.0","resolved":"%splain-%05d/-/plain-%05d-1.0.0.tgz","integrity":"sha512-%s"}`, i, npm.DefaultRegistry, i, i, base64.StdEncoding.EncodeToString(digest[:]))
		fmt.Fprintf(&cdx, `%s{"bom-ref":"p%d","type":"library","name":"plain-%05d","version":"1.0.0","purl":"pkg:npm/plain-%05d@1.0.0","description":%q,"hashes":[{"alg":"SHA-512","content":"%s"}]}`, sep, i, i, i, strings.Repeat("words ", 40), sum)
		fmt.Fprintf(&spdx, `%s{"SPDXID":"SPDXRef-%d","name":"plain-%05d","versionInfo":"1.0.0","downloadLocation":"NOASSERTION","comment":%q,"checksums":[{"algorithm":"SHA512","checksumValue":"%s"}],"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/plain-%05d@1.0.0"}]}`, sep, i, i, strings.Repeat("words ", 40), sum, i)
	}
	cdx.WriteString("]}")
	spdx.WriteString("]}")
	root := `{"name":"project","version":"1.0.0","dependencies":{` + deps.String() + "}}"
	for name, text := range map[string]string{
		filepath.Join(docs, "bom.cdx.json"): cdx.String(), filepath.Join(docs, "bom.spdx.json"): spdx.String(), filepath.Join(lock, "package.json"): root,
		filepath.Join(lock, "package-lock.json"): `{"name":"project","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":` + root + pkgs.String() + "}}",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commitAll(t, lock)
	for _, c := range []*command{
		{name: "lock file", args: []string{bin + "-inventory", lock}},
		{name: "check of the lock file", args: []string{bin, "check", lock, "--base", "HEAD", "--quiet"}},
		{name: "CycloneDX", args: []string{bin + "-inventory", filepath.Join(docs, "bom.cdx.json")}},
		{name: "SPDX", args: []string{bin + "-inventory", filepath.Join(docs, "bom.spdx.json")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.env = private(t)
			c.run(t)
			if strings.HasSuffix(c.args[0], "-inventory") && !strings.HasPrefix(string(c.out), "2000") {
				t.Errorf("the inventory has %.100q components", c.out)
			}
			if c.peak < 10<<20 || c.peak > bound {
				t.Errorf("%d MB at the peak, at most %d are allowed", c.peak>>20, bound>>20)
			}
			t.Logf("%d MB", c.peak>>20)
		})
	}
}
