package report

import (
	"bytes"
	"encoding/json"
	"io"

	_ "embed"

	"github.com/headgate/headgate/ingest"
)

// Schema is the JSON Schema (draft 2020-12) of the JSON report.
//
//go:embed schema.json
var Schema []byte

func writeJSON(w io.Writer, r *ingest.Report, _ Options) error {
	return encode(w, r)
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
