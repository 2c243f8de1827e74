package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/headgate/headgate/ingest"
	"github.com/headgate/headgate/ingest/report"
)

func printJSON(c *Command, v any) error {
	enc := json.NewEncoder(c.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printList prints things as JSON, or as lines that line makes; none is said where
// there are none. Line escapes what comes from outside.
func printList[T any](c *Command, asJSON bool, things []T, none string, line func(T) string) error {
	if asJSON {
		if things == nil {
			things = []T{}
		}
		return printJSON(c, things)
	}
	if len(things) == 0 {
		fmt.Fprintln(c.Stdout, none)
	}
	for _, t := range things {
		fmt.Fprintln(c.Stdout, line(t))
	}
	return nil
}

// writeTo writes to the file, or to standard output if none is named.
func (c *Command) writeTo(path string, b []byte) error {
	if path == "" {
		_, err := c.Stdout.Write(b)
		return err
	}
	if err := writeFile(path, b); err != nil {
		return &exitError{code: ingest.ExitUsage, err: err}
	}
	return nil
}

// writeFile writes a file that is there whole or not at all.
func writeFile(path string, b []byte) error {
	return report.Durable(path, 0o644, func(w io.Writer) error { _, err := w.Write(b); return err })
}
