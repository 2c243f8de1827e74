package upstream

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadUserFile(t *testing.T) {
	dir := t.TempDir()
	if b, err := ReadUserFile(filepath.Join(dir, "none"), 10, "it"); b != nil || err != nil {
		t.Errorf("missing file: %q, %v", b, err)
	}
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := ReadUserFile(path, 10, "it"); err != nil || len(b) != 10 {
		t.Errorf("at the bound: %q, %v", b, err)
	}
	if _, err := ReadUserFile(path, 9, "it"); err == nil {
		t.Error("one above the bound was read")
	}
	if _, err := ReadUserFile(dir, 10, "it"); err == nil {
		t.Error("a directory was read")
	}
}

func TestRegistryURL(t *testing.T) {
	got, creds, err := RegistryURL("https://me:s3cret@registry.example.com/a?x=1#y", "it")
	if err != nil || got != "https://registry.example.com/a/" || len(creds) != 1 || creds[0].Host != "registry.example.com" {
		t.Errorf("%q %v %v", got, creds, err)
	}
	for _, bad := range []string{"", "registry.example.com", "ftp://registry.example.com", "https://", "https://me:s3cret@%zz/"} {
		if _, _, err := RegistryURL(bad, "it"); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
