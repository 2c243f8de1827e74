//go:build live

package report_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A module that brings the official schema of SARIF 2.1.0 along, by its hash.
const (
	sarifModule = "github.com/securego/gosec/v2@v2.30.0"
	sarifSum    = "h1:67aF6LHa7SAL6QEc4es857GrXTT50gUqmrl0XPhtDx0="
	sarifFile   = "report/sarif/testdata/sarif-schema-2.1.0.json"
)

// TestLiveSARIF holds the reports against the official schema. It is fetched and
// not kept here, so that this project holds nobody else's text.
func TestLiveSARIF(t *testing.T) {
	cmd := exec.Command("go", "mod", "download", "-json", sarifModule)
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("fetching %s: %v", sarifModule, err)
	}
	var m struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &m); err != nil || m.Sum != sarifSum {
		t.Fatalf("%s has the sum %q (%v)", sarifModule, m.Sum, err)
	}
	doc, err := os.ReadFile(filepath.Join(m.Dir, filepath.FromSlash(sarifFile)))
	if err != nil {
		t.Fatal(err)
	}
	sarifCheck(t, compile(t, "", "sarif.json", doc))
}
