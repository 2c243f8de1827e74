package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/headgate/headgate/ingest"
)

// Options are how much the formats for people show.
type Options struct {
	Color   bool // terminal colours, text only
	Quiet   bool // verdict and what is stopped, nothing else; text only
	Verbose bool // every component with its evidence; text only
}

type writer func(io.Writer, *ingest.Report, Options) error

var writers = map[string]writer{
	"text": writeText, "json": writeJSON, "sarif": writeSARIF,
	"markdown": writeMarkdown, "junit": writeJUnit, "cyclonedx": writeCycloneDX, "html": writeHTML, "osv": writeOSV,
}

// Formats are the names of all formats, sorted.
func Formats() []string {
	return []string{"cyclonedx", "html", "json", "junit", "markdown", "osv", "sarif", "text"}
}

// Output is one -o flag: a format and where it goes; an empty Path is standard output.
type Output struct {
	Format string
	Path   string
}

// ParseOutputs reads the values of -o, "FORMAT" or "FORMAT=PATH". Unknown
// formats, two outputs to one place, and an empty path are errors.
func ParseOutputs(values []string) ([]Output, error) {
	var outs []Output
	for _, v := range values {
		format, path, hasPath := strings.Cut(v, "=")
		if _, ok := writers[format]; !ok {
			return nil, fmt.Errorf("unknown report format %q: use one of %s", Clean(format), strings.Join(Formats(), ", "))
		}
		if hasPath && path == "" {
			return nil, fmt.Errorf("-o %s= names no file", format)
		}
		if path == "-" {
			path = ""
		}
		o := Output{Format: format, Path: path}
		if err := writable(path); err != nil {
			return nil, fmt.Errorf("-o %s=%s: %w", format, path, err)
		}
		if slices.ContainsFunc(outs, func(p Output) bool { return p.Path == o.Path }) {
			return nil, fmt.Errorf("two reports would go to %s: give one of them a file with -o FORMAT=PATH", orStdout(path))
		}
		outs = append(outs, o)
	}
	if len(outs) == 0 {
		outs = []Output{{Format: "text"}}
	}
	return outs, nil
}

// writable tells early of a path that cannot become a file, for a run may take long.
func writable(path string) error {
	if path == "" {
		return nil
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return errors.New("this is a folder; name a file in it")
	}
	dir := filepath.Dir(path)
	switch fi, err := os.Stat(dir); {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the folder %s does not exist", dir)
	case err == nil && !fi.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	return nil // anything else is for the writing itself to say
}

func orStdout(path string) string {
	if path == "" {
		return "standard output"
	}
	return path
}

// Write writes r in one format.
func Write(w io.Writer, format string, r *ingest.Report, o Options) error {
	f, ok := writers[format]
	if !ok {
		return fmt.Errorf("unknown report format %q", Clean(format))
	}
	if err := f(w, r, o); err != nil {
		return fmt.Errorf("writing the %s report: %w", format, err)
	}
	return nil
}

// WriteFile writes r to a file that appears whole or not at all: a temporary
// file beside it is written, synced and renamed over it.
func WriteFile(path, format string, r *ingest.Report, o Options) error {
	return Durable(path, 0o644, func(w io.Writer) error { return Write(w, format, r, o) })
}

// isStream reports whether path names something that is written to and not made.
func isStream(path string) bool {
	fi, err := os.Stat(path)
	if err != nil || fi.IsDir() {
		return false
	}
	clean := filepath.ToSlash(filepath.Clean(path))
	return !fi.Mode().IsRegular() || strings.HasPrefix(clean, "/dev/") || strings.HasPrefix(clean, "/proc/")
}

// Durable calls fill with a new file that takes the name path only after
// everything was written and synced. On any error nothing changes at path, and no
// temporary file is left behind. A device, a pipe and the process's own streams
// (/dev/stdout) are written to as they are: nothing may take their name. A symbolic
// link to a file is replaced and not followed, for a scanned tree may hold it.
func Durable(path string, mode os.FileMode, fill func(io.Writer) error) (err error) {
	if isStream(path) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		if err := errors.Join(fill(f), f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		return nil
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".headgate-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	if err := fill(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is in place; a directory that cannot be read cannot be synced
	}
	defer d.Close()
	// Some file systems do not sync directories; the file itself is safe by then.
	_ = d.Sync()
	return nil
}
