package signing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/headgate/headgate/ingest/signing"
	"github.com/headgate/headgate/trust/sigstore"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(t, os.WriteFile(p, []byte(content), 0o644))
}

func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{"b.txt", "a/z.txt", "a/ä.txt", "a-b.txt", "<&>.txt", "bin/run"} {
		write(t, dir, n, "content of "+n)
	}
	must(t, os.Chmod(filepath.Join(dir, "bin/run"), 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "empty"), 0o755))
	must(t, os.Symlink("../b.txt", filepath.Join(dir, "a", "link")))
	must(t, os.Symlink("/nowhere", filepath.Join(dir, "dangling")))
	return dir
}

func scan(t testing.TB, dir string, o signing.FolderOptions) *signing.Folder {
	t.Helper()
	f, err := signing.ScanFolder(context.Background(), dir, o)
	must(t, err)
	return f
}

func statement(t testing.TB, f *signing.Folder) []byte {
	t.Helper()
	b, err := f.Statement()
	must(t, err)
	return b
}

func signed(t testing.TB, b []byte) *signing.SignedFolder {
	t.Helper()
	st, err := sigstore.ParseFolderStatement(b)
	must(t, err)
	s, err := signing.ReadFolderStatement(st)
	must(t, err)
	return s
}

// TestFolderStatement fixes the bytes: another system, another order of reading and
// another number of workers have to come to the same ones.
func TestFolderStatement(t *testing.T) {
	dir := sample(t)
	b := statement(t, scan(t, dir, signing.FolderOptions{Exclude: []string{"*.log", "*.log", "build"}, Jobs: 1}))
	var st struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string
			Digest map[string]string
		}
		PredicateType string
		Predicate     json.RawMessage
	}
	must(t, json.Unmarshal(b, &st))
	var names []string
	for _, s := range st.Subject {
		names = append(names, s.Name)
		if len(s.Digest) != 1 || len(s.Digest["sha256"]) != 64 {
			t.Errorf("%+v", s)
		}
	}
	want := []string{"<&>.txt", "a-b.txt", "a/z.txt", "a/ä.txt", "b.txt", "bin/run"}
	if !slices.Equal(names, want) {
		t.Errorf("subjects %q, want %q", names, want)
	}
	predicate := `{"exclude":["*.log","build"],"modes":"executable","executable":["bin/run"],"links":[{"path":"a/link","target":"../b.txt"},{"path":"dangling","target":"/nowhere"}],"special":[],"directories":["empty"]}`
	if string(st.Predicate) != predicate {
		t.Errorf("predicate\n%s, want\n%s", st.Predicate, predicate)
	}
	write(t, dir, "x.log", "noise")
	write(t, dir, "a/build/x", "noise")
	for range 3 {
		if again := statement(t, scan(t, dir, signing.FolderOptions{Exclude: []string{"build", "*.log"}, Jobs: 7})); !bytes.Equal(again, b) {
			t.Fatal("the same folder gives another statement")
		}
	}
}

func TestFolderChanges(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(dir string)
		want string
	}{
		"nothing":        {func(string) {}, ""},
		"changed":        {func(d string) { write(t, d, "b.txt", "new") }, "changed b.txt"},
		"added":          {func(d string) { write(t, d, "new.txt", "new") }, "added new.txt"},
		"removed":        {func(d string) { must(t, os.Remove(filepath.Join(d, "b.txt"))) }, "removed b.txt"},
		"renamed":        {func(d string) { must(t, os.Rename(filepath.Join(d, "b.txt"), filepath.Join(d, "c.txt"))) }, "renamed b.txt -> c.txt"},
		"executable":     {func(d string) { must(t, os.Chmod(filepath.Join(d, "b.txt"), 0o755)) }, "mode-added b.txt"},
		"not executable": {func(d string) { must(t, os.Chmod(filepath.Join(d, "bin/run"), 0o644)) }, "mode-removed bin/run"},
		"other mode":     {func(d string) { must(t, os.Chmod(filepath.Join(d, "b.txt"), 0o600)) }, ""},
		"link":           {func(d string) { must(t, os.Symlink("b.txt", filepath.Join(d, "new"))) }, "link-added new -> b.txt"},
		"file for link": {func(d string) {
			must(t, os.Remove(filepath.Join(d, "dangling")))
			write(t, d, "dangling", "x")
		}, "added dangling,link-removed dangling -> /nowhere"},
		"directory": {func(d string) { must(t, os.Mkdir(filepath.Join(d, "void"), 0o755)) }, "directory-added void"},
		"pipe":      {func(d string) { must(t, syscall.Mkfifo(filepath.Join(d, "p"), 0o644)) }, "special-added p (pipe)"},
		"emptied":   {func(d string) { must(t, os.Remove(filepath.Join(d, "bin/run"))) }, "directory-added bin,removed bin/run"},
	} {
		dir := sample(t)
		s := signed(t, statement(t, scan(t, dir, signing.FolderOptions{})))
		tc.edit(dir)
		changes, modes := s.Compare(scan(t, dir, signing.FolderOptions{}))
		var got []string
		for _, c := range changes {
			got = append(got, c.String())
		}
		if strings.Join(got, ",") != tc.want || !modes {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestFoldersThatCannotBeSigned(t *testing.T) {
	ctx := context.Background()
	for name, files := range map[string][]string{
		"case": {"README", "readme"}, "control": {"a\nb"}, "backslash": {`a\b`}, "not UTF-8": {"a\xffb"},
	} {
		dir := t.TempDir()
		for _, f := range files {
			must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
		}
		if _, err := signing.ScanFolder(ctx, dir, signing.FolderOptions{}); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	for _, p := range []string{"", "*", "**", "[", "/abs", "a/../b", `a\b`, "./x"} {
		if _, err := signing.ScanFolder(ctx, sample(t), signing.FolderOptions{Exclude: []string{p}}); err == nil {
			t.Errorf("exclusion %q is taken", p)
		}
	}
	if err := signing.CheckExclusions(make([]string, signing.MaxExclusions+1)); err == nil {
		t.Error("too many exclusions")
	}
	if _, err := scan(t, t.TempDir(), signing.FolderOptions{}).Statement(); err == nil {
		t.Error("an empty folder")
	}
	if _, err := signing.ScanFolder(ctx, filepath.Join(t.TempDir(), "missing"), signing.FolderOptions{}); err == nil {
		t.Error("a missing folder")
	}
	dead, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := signing.ScanFolder(dead, sample(t), signing.FolderOptions{}); err == nil {
		t.Error("a cancelled scan")
	}
}

func TestFolderStatementsAreReadStrictly(t *testing.T) {
	good := string(statement(t, scan(t, sample(t), signing.FolderOptions{})))
	for _, edit := range [][2]string{
		{`"name":"b.txt"`, `"name":"../b.txt"`}, {`"name":"b.txt"`, `"name":"/b.txt"`}, {`"name":"b.txt"`, `"name":"a-b.txt"`}, {`"name":"b.txt"`, `"name":"z.txt"`},
		{`"modes":"executable"`, `"modes":"all"`}, {`"modes":"executable"`, `"modes":"executable","more":1`}, {`"exclude":[]`, `"exclude":["*"]`},
		{signing.PredicateFolder, "https://example.com/other"},
	} {
		b := strings.Replace(good, edit[0], edit[1], 1)
		if b == good {
			t.Fatalf("nothing to edit: %q", edit[0])
		}
		st, err := sigstore.ParseFolderStatement([]byte(b))
		if err == nil {
			_, err = signing.ReadFolderStatement(st)
		}
		if err == nil {
			t.Errorf("%q is taken", edit[1])
		}
	}
}

// BenchmarkFolder hashes a folder and writes its statement. $HEADGATE_BENCH_FILES
// and $HEADGATE_BENCH_FILE_SIZE set its size; the default is small.
func BenchmarkFolder(b *testing.B) {
	number := func(env string, def int) int {
		if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
			return n
		}
		return def
	}
	files, size := number("HEADGATE_BENCH_FILES", 2000), number("HEADGATE_BENCH_FILE_SIZE", 4096)
	dir := b.TempDir()
	content := bytes.Repeat([]byte("x"), size)
	for i := range files {
		d := filepath.Join(dir, strconv.Itoa(i%100))
		must(b, os.MkdirAll(d, 0o755))
		must(b, os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%06d", i)), content, 0o644))
	}
	b.SetBytes(int64(files) * int64(size))
	b.ReportAllocs()
	for b.Loop() {
		f := scan(b, dir, signing.FolderOptions{})
		if f.Files() != files {
			b.Fatal(f.Files())
		}
		statement(b, f)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MB-of-memory")
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
