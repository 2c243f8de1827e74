package helmprov

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/openpgp"
)

// Bounds.
const (
	MaxProvenance = 4 << 20 // bytes of a provenance file
	MaxFiles      = 256     // files that one provenance file lists
)

// Want is what the provenance must be for.
type Want struct {
	openpgp.Want
	Name    string // of the chart
	Version string
	// Archive is the file name that the chart was published under; "" for
	// Name-Version.tgz.
	Archive string
	Digest  trust.Digest // SHA-256 of the archive
}

// Verified is a provenance file whose signed text names the archive.
type Verified struct {
	sig   *openpgp.Verified
	chart map[string]any
}

// Signer returns the key that signed.
func (v *Verified) Signer() trust.Signer { return v.sig.Signer() }

// Text returns the signed text.
func (v *Verified) Text() []byte { return v.sig.Text() }

// Chart returns the signed Chart.yaml.
func (v *Verified) Chart() map[string]any { return v.chart }

// VerifyAny is Verify for an archive whose published name is not known: one of the
// listed files must have the digest.
func VerifyAny(provenance []byte, want Want) (*Verified, error) {
	want.Archive = anyArchive
	return Verify(provenance, want)
}

// anyArchive is no file name.
const anyArchive = "/"

// Verify checks a provenance file.
func Verify(provenance []byte, want Want) (*Verified, error) {
	if want.Name == "" || want.Version == "" || want.Digest.Algorithm != trust.SHA256 {
		return nil, trust.Misconfigured("verifying Helm provenance needs the chart's name, version and SHA-256")
	}
	if len(provenance) > MaxProvenance {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the provenance file has %d bytes, more than %d", len(provenance), MaxProvenance)
	}
	sig, err := openpgp.VerifyClearsigned(provenance, want.Want)
	if err != nil {
		return nil, fmt.Errorf("provenance of chart %s-%s: %w", want.Name, want.Version, err)
	}
	chart, files, err := parse(sig.Text())
	if err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "provenance of chart %s-%s: %w", want.Name, want.Version, err)
	}
	if name, _ := chart["name"].(string); name != want.Name {
		return nil, trust.Failure(trust.ReasonWrongName, "the provenance is for chart %q, not %q", clip(name), want.Name)
	}
	if version, _ := chart["version"].(string); version != want.Version {
		return nil, trust.Failure(trust.ReasonWrongVersion, "the provenance is for version %q, not %q", clip(version), want.Version)
	}
	archive := want.Archive
	if archive == "" {
		archive = want.Name + "-" + want.Version + ".tgz"
	}
	sum, ok := files[archive]
	if archive == anyArchive {
		for _, f := range files {
			if d, err := trust.ParseDigest(f); err == nil && d.Equal(want.Digest) {
				sum, ok = f, true
			}
		}
	}
	if !ok {
		return nil, trust.Failure(trust.ReasonWrongSubject, "the provenance does not list %q", clip(archive))
	}
	d, err := trust.ParseDigest(sum)
	if err != nil || d.Algorithm != trust.SHA256 {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the provenance states no SHA-256 of %q", clip(archive))
	}
	if !d.Equal(want.Digest) {
		return nil, trust.Failure(trust.ReasonWrongDigest, "the provenance is for %s, the chart has %s", d, want.Digest)
	}
	return &Verified{sig: sig, chart: chart}, nil
}

// parse splits the signed text into Chart.yaml and file list.
func parse(text []byte) (chart map[string]any, files map[string]string, err error) {
	parts := bytes.Split(append([]byte("\n"), text...), []byte("\n...\n"))
	if len(parts) != 2 {
		return nil, nil, fmt.Errorf("the signed text has %d parts where Chart.yaml and a file list belong", len(parts))
	}
	if err := yaml.Unmarshal(parts[0], &chart); err != nil {
		return nil, nil, fmt.Errorf("reading the signed Chart.yaml: %w", err)
	}
	var list map[string]map[string]string
	if err := yaml.Unmarshal(parts[1], &list); err != nil {
		return nil, nil, fmt.Errorf("reading the signed file list: %w", err)
	}
	files = list["files"]
	if len(files) == 0 || len(files) > MaxFiles {
		return nil, nil, fmt.Errorf("the signed file list has %d files, needs 1 to %d", len(files), MaxFiles)
	}
	for name := range files {
		if name == "" || strings.ContainsAny(name, "/\\\x00") || name == ".." {
			return nil, nil, fmt.Errorf("file name %q is a path", clip(name))
		}
	}
	return chart, files, nil
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
