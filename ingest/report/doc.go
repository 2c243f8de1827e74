// Package report writes an ingest.Report as text, JSON, SARIF, Markdown, JUnit
// and CycloneDX.
//
// It refuses to pass text of upstream through: control, format and bidirectional
// characters, terminal escapes, and the markup of each format are escaped before
// they are written. It refuses to leave half a file behind: files appear whole,
// under their name, or not at all.
package report
