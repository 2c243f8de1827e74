package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// The examples' command lines are ones that this headgate understands, and they
// do what they are there for: compare with the last audit, and keep the reports.
func TestExamplesRun(t *testing.T) {
	files, err := filepath.Glob("../../testdata/examples/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("examples: %q, %v", files, err)
	}
	line := regexp.MustCompile(`(?:^|[ /])headgate (audit [^\n]*)`)
	found := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".yml") {
			var doc map[string]any
			if err := yaml.Unmarshal(b, &doc); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if bytes.Contains(b, []byte("secrets.")) && regexp.MustCompile(`run: .*secrets\.|^\s+headgate.*secrets\.`).Match(b) {
			t.Errorf("%s puts a secret on a command line", file)
		}
		for _, m := range line.FindAllStringSubmatch(string(b), -1) {
			args := strings.Fields(m[1])
			if args[1] == "of" { // a description
				continue
			}
			found++
			if !strings.Contains(m[1], "--fail-on new") {
				t.Errorf("%s: %s", file, m[1])
			}
			dir := t.TempDir()
			sboms := filepath.Join(dir, "sboms")
			if err := os.MkdirAll(sboms, 0o755); err != nil {
				t.Fatal(err)
			}
			doc := `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[{"type":"library","name":"x","version":"1","purl":"pkg:generic/x@1"}]}`
			if err := os.WriteFile(filepath.Join(sboms, "a.cdx.json"), []byte(doc), 0o644); err != nil {
				t.Fatal(err)
			}
			var reports []string
			for i, a := range args {
				if strings.HasPrefix(a, "sboms:") {
					args[i] = "sboms:" + sboms
				}
				if format, path, ok := strings.Cut(a, "="); ok && args[i-1] == "-o" {
					path = filepath.Join(dir, filepath.Base(path))
					args[i] = format + "=" + path
					reports = append(reports, path)
				}
			}
			run := func() (int, string) {
				var out, errs bytes.Buffer
				c := Command{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string {
					return map[string]string{"XDG_DATA_HOME": filepath.Join(dir, "data"), "XDG_CACHE_HOME": filepath.Join(dir, "cache")}[k]
				}, Home: dir, Clock: time.Now, Version: "test"}
				return c.Run(t.Context()), out.String() + errs.String()
			}
			// The first audit finds a component that never passed the gate; the second
			// finds nothing new.
			if code, out := run(); code != 1 {
				t.Errorf("%s: exit %d\n%s", file, code, out)
			}
			if code, out := run(); code != 0 {
				t.Errorf("%s, again: exit %d\n%s", file, code, out)
			}
			for _, r := range reports {
				if fi, err := os.Stat(r); err != nil || fi.Size() == 0 {
					t.Errorf("%s: report %s: %v", file, r, err)
				}
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d command lines in the examples", found)
	}
}

// TestReadmeTable: the README's table is what the adapters say of themselves.
func TestReadmeTable(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var out, errs bytes.Buffer
	c := Command{Args: []string{"ecosystems", "--markdown"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }, Home: dir, Clock: time.Now, Version: "test"}
	if code := c.Run(t.Context()); code != 0 {
		t.Fatalf("exit %d\n%s", code, errs.String())
	}
	if !bytes.Contains(readme, out.Bytes()) {
		t.Errorf("the README's table of ecosystems is not that of headgate ecosystems --markdown:\n%s", out.String())
	}
}
