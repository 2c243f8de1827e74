package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/strictjson"
)

// Bounds of documents.
const (
	MaxManifest   = 4 << 20 // bytes of a manifest or index, as registries bound them too
	MaxImageJSON  = 8 << 20 // bytes of an image's configuration
	MaxPlatforms  = 256     // manifests of an index
	maxShownNames = 8       // platforms that a sentence names
)

const (
	annotationCreated = "org.opencontainers.image.created"
	annotationSource  = "org.opencontainers.image.source"
)

// accept are the media types of images.
var accept = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ", ")

// document is an index or a manifest, never both.
type document struct {
	MediaType    types.MediaType   `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`

	index bool
	raw   []byte
}

// parseDocument reads a manifest or index. served is the Content-Type, which must
// not contradict the document: one digest has one meaning.
func parseDocument(b []byte, served string) (*document, error) {
	if len(b) > MaxManifest {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the manifest is larger than %d bytes", MaxManifest)
	}
	var fields map[string]json.RawMessage
	var d document
	if err := strictjson.Unmarshal(b, &fields); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the manifest is malformed: %w", err)
	}
	if err := strictjson.Unmarshal(b, &d); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the manifest is malformed: %w", err)
	}
	has := func(names ...string) string {
		for _, n := range names {
			if _, ok := fields[n]; ok {
				return n
			}
		}
		return ""
	}
	index, single := has("manifests"), has("config", "layers", "fsLayers", "history")
	ambiguous := func(format string, args ...any) error {
		return trust.Failure(trust.ReasonHiddenData, "the document means different things to different readers: %w", fmt.Errorf(format, args...))
	}
	switch {
	case index != "" && single != "":
		return nil, ambiguous("it has the fields of an index (%s) and of a manifest (%s)", index, single)
	case has("fsLayers") != "":
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the manifest has the format of 2014 (schema 1), which names no image by its content")
	case index == "" && single == "":
		return nil, trust.Undecidable(trust.ReasonMalformed, "the document is neither an index nor a manifest")
	}
	d.index, d.raw = index != "", b
	stated, err := mediaType(served)
	if err != nil {
		return nil, err
	}
	for _, t := range []types.MediaType{d.MediaType, stated} {
		if t != "" && t.IsIndex() != d.index && (t.IsIndex() || t.IsImage()) {
			return nil, ambiguous("it is called %s and has the field %s", t, index+single)
		}
	}
	if d.MediaType != "" && stated != "" && d.MediaType != stated && (stated.IsIndex() || stated.IsImage()) {
		return nil, ambiguous("it says %s and is served as %s", d.MediaType, stated)
	}
	if !d.index && d.Config == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the manifest has no configuration")
	}
	if len(d.Manifests) > MaxPlatforms {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the index lists more than %d manifests", MaxPlatforms)
	}
	return &d, nil
}

func mediaType(header string) (types.MediaType, error) {
	if header == "" {
		return "", nil
	}
	t, _, err := mime.ParseMediaType(header)
	if err != nil {
		return "", trust.Undecidable(trust.ReasonMalformed, "the content type %.80q cannot be read", header)
	}
	return types.MediaType(t), nil
}

// describe says in words what the digest stands for.
func (d *document) describe() string {
	if !d.index {
		return "the manifest of one image"
	}
	var ps []string
	for _, m := range d.Manifests {
		if m.Platform != nil && m.Platform.OS != "unknown" {
			ps = append(ps, m.Platform.String())
		}
	}
	slices.Sort(ps)
	ps = slices.Compact(ps)
	more := ""
	if len(ps) > maxShownNames {
		ps, more = ps[:maxShownNames], " and others"
	}
	return strings.TrimSpace("an index of images " + strings.Join(ps, ", ") + more)
}

// imageFacts are what the image's own configuration says of it: hints.
func imageFacts(config []byte) (trust.Facts, error) {
	var doc struct {
		Created time.Time `json:"created"`
		Config  struct {
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
	}
	if err := json.NewDecoder(bytes.NewReader(config)).Decode(&doc); err != nil {
		return trust.Facts{}, trust.Undecidable(trust.ReasonMalformed, "the image configuration is malformed: %w", err)
	}
	f := factsOf(doc.Config.Labels)
	if doc.Created.Unix() > 0 {
		f.Published = doc.Created.UTC()
	}
	return f, nil
}

// factsOf reads the annotations or labels that say where an image comes from.
func factsOf(labels map[string]string) trust.Facts {
	var f trust.Facts
	if s := labels[annotationSource]; strings.HasPrefix(s, "https://") && len(s) < 1024 {
		f.Repository = strings.TrimSuffix(strings.TrimSuffix(s, "/"), ".git")
	}
	if t, err := time.Parse(time.RFC3339, labels[annotationCreated]); err == nil && t.Unix() > 0 {
		f.Published = t.UTC()
	}
	return f
}
