package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	_ "embed"

	"github.com/headgate/headgate/ingest"
)

// Schema is the JSON Schema (draft 2020-12) of the JSON report.
//
//go:embed schema.json
var Schema []byte

// writeJSON writes one component after the other: the report of an audit of
// thousands of sources is larger than the memory that the audit takes.
func writeJSON(w io.Writer, r *ingest.Report, _ Options) error {
	if len(r.Components) == 0 {
		return encode(w, r)
	}
	head := *r
	head.Components = []ingest.Component{}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&head); err != nil {
		return err
	}
	// Line breaks inside strings are escaped: this is the member of the report itself.
	before, after, ok := bytes.Cut(b.Bytes(), []byte("\n  \"components\": []"))
	if !ok {
		return errors.New("the report has no components")
	}
	out := bufio.NewWriterSize(w, 64<<10)
	out.Write(asciiJSON(before)) // its errors come back at the end
	out.WriteString("\n  \"components\": [")
	var one bytes.Buffer
	enc = json.NewEncoder(&one)
	enc.SetIndent("    ", "  ")
	for i := range r.Components {
		one.Reset()
		if err := enc.Encode(&r.Components[i]); err != nil {
			return err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n    ")
		out.Write(asciiJSON(bytes.TrimSuffix(one.Bytes(), []byte("\n"))))
	}
	out.WriteString("\n  ]")
	out.Write(asciiJSON(after))
	return out.Flush()
}

func encode(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(asciiJSON(b.Bytes()))
	return err
}
