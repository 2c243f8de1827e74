package pypi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/headgate/headgate/trust"
)

// Bounds of an index page.
const (
	MaxIndex = 64 << 20
	MaxFiles = 100_000
)

const (
	acceptIndex     = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
	acceptIntegrity = "application/vnd.pypi.integrity.v1+json"
)

// indexFile is one file of a project page.
type indexFile struct {
	Name       string
	URL        string
	Digests    trust.Digests
	Yanked     *string
	Uploaded   time.Time
	Provenance string // absolute URL, "" if the index claims none
}

// page is a project page of an index.
type page struct {
	Files []indexFile
	// Status is PEP 792's project status with its reason; "" for active.
	Status, StatusReason string
	// Attests says whether the index's version of the API can speak of provenance.
	Attests bool
}

// parsePage reads a project page in JSON (PEP 691) or HTML (PEP 503).
func parsePage(b []byte, contentType, base, project string) (*page, error) {
	if strings.Contains(contentType, "json") || strings.HasPrefix(strings.TrimSpace(string(b[:min(len(b), 64)])), "{") {
		return parseJSON(b, base, project)
	}
	if strings.Contains(contentType, "html") {
		return parseHTML(b, base)
	}
	return nil, trust.Undecidable(trust.ReasonMalformed, "the index answered with %.60q, which is neither PEP 691 JSON nor PEP 503 HTML", contentType)
}

func parseJSON(b []byte, base, project string) (*page, error) {
	var doc struct {
		Meta struct {
			APIVersion string `json:"api-version"`
			Status     string `json:"project-status"`
			Reason     string `json:"project-status-reason"`
		} `json:"meta"`
		Name   string `json:"name"`
		Status *struct {
			Status string `json:"status"`
			Reason string `json:"reason"`
		} `json:"project-status"`
		Files []struct {
			Filename   string            `json:"filename"`
			URL        string            `json:"url"`
			Hashes     map[string]string `json:"hashes"`
			Yanked     json.RawMessage   `json:"yanked"`
			Upload     string            `json:"upload-time"`
			Provenance *string           `json:"provenance"`
		} `json:"files"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed: %w", err)
	}
	major, minor, _ := strings.Cut(doc.Meta.APIVersion, ".")
	if major != "1" {
		return nil, trust.Undecidable(trust.ReasonUnsupported, "the index speaks version %.20q of the simple API, headgate 1.x", doc.Meta.APIVersion)
	}
	if normalise(doc.Name) != project {
		return nil, trust.Failure(trust.ReasonWrongName, "the index answers for the project %.80q", doc.Name)
	}
	if doc.Files == nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "the index page has no list of files")
	}
	if len(doc.Files) > MaxFiles {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the index page lists more than %d files", MaxFiles)
	}
	p := &page{Attests: minor != "0" && minor != "1" && minor != "2", Status: doc.Meta.Status, StatusReason: doc.Meta.Reason}
	if doc.Status != nil {
		p.Status, p.StatusReason = doc.Status.Status, doc.Status.Reason
	}
	for _, f := range doc.Files {
		x := indexFile{Name: f.Filename}
		var err error
		if x.URL, err = absolute(base, f.URL); err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed at %.80q: %w", f.Filename, err)
		}
		for _, alg := range []trust.Algorithm{trust.SHA512, trust.SHA384, trust.SHA256, trust.SHA1, trust.MD5} {
			if v, ok := f.Hashes[string(alg)]; ok {
				d, err := trust.NewDigest(alg, v)
				if err != nil {
					return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed at %.80q: %w", f.Filename, err)
				}
				x.Digests = append(x.Digests, d)
			}
		}
		if x.Yanked, err = yanked(f.Yanked); err != nil {
			return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed at %.80q: %w", f.Filename, err)
		}
		if f.Upload != "" {
			// Unsigned and optional: a time that cannot be read is no time.
			if t, err := time.Parse(time.RFC3339, f.Upload); err == nil {
				x.Uploaded = t
			}
		}
		if f.Provenance != nil {
			x.Provenance = *f.Provenance
		}
		p.Files = append(p.Files, x)
	}
	return p, nil
}

// yanked reads false, true or a reason.
func yanked(raw json.RawMessage) (*string, error) {
	switch s := string(raw); s {
	case "", "null", "false":
		return nil, nil
	case "true":
		reason := ""
		return &reason, nil
	default:
		var reason string
		err := json.Unmarshal(raw, &reason)
		return &reason, err
	}
}

func absolute(base, ref string) (string, error) {
	b, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	u, err := b.Parse(ref)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%.100q is no usable URL", ref)
	}
	return u.String(), nil
}

func parseHTML(b []byte, base string) (*page, error) {
	p := &page{Attests: true}
	z := html.NewTokenizer(bytes.NewReader(b))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed: %w", z.Err())
			}
			if len(p.Files) == 0 {
				return nil, trust.Undecidable(trust.ReasonMalformed, "the index page lists no files")
			}
			return p, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			if t.Data == "base" || t.Data != "a" {
				continue
			}
			f, ok, err := anchor(t, base)
			if err != nil {
				return nil, trust.Undecidable(trust.ReasonMalformed, "the index page is malformed: %w", err)
			}
			if ok {
				p.Files = append(p.Files, f)
			}
			if len(p.Files) > MaxFiles {
				return nil, trust.Undecidable(trust.ReasonTooLarge, "the index page lists more than %d files", MaxFiles)
			}
		}
	}
}

// anchor reads one link of a PEP 503 page; its fragment states the digest.
func anchor(t html.Token, base string) (indexFile, bool, error) {
	var f indexFile
	for _, a := range t.Attr {
		switch a.Key {
		case "href":
			u, err := absolute(base, a.Val)
			if err != nil {
				return f, false, err
			}
			plain, fragment, _ := strings.Cut(u, "#")
			f.URL = plain
			pu, err := url.Parse(plain)
			if err != nil {
				return f, false, err
			}
			f.Name = path.Base(pu.Path)
			if alg, v, ok := strings.Cut(fragment, "="); ok {
				d, err := trust.NewDigest(trust.Algorithm(alg), v)
				if err != nil {
					return f, false, err
				}
				f.Digests = trust.Digests{d}
			}
		case "data-yanked":
			reason := a.Val
			f.Yanked = &reason
		case "data-provenance":
			f.Provenance = a.Val
		}
	}
	_, err := parseFileName(f.Name, "")
	return f, err == nil, nil
}
