package advisories

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// host serves one document, and misbehaves as it is told.
type host struct {
	doc, etag string
	cut       int    // the answer breaks off after so many bytes; 0 for never
	shift     int64  // added to the offset that is asked for
	ignore    bool   // answers with the whole document whatever is asked for
	md5       []byte // nil for none
	total     int64  // claimed beyond the real size
	asked     []int64
}

type breaking struct {
	io.Reader
	err error
}

func (b breaking) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

func (h *host) OpenFrom(_ context.Context, _ string, from int64, etag string) (*Body, error) {
	h.asked = append(h.asked, from)
	if h.ignore || etag != h.etag {
		from = 0
	}
	if from > 0 {
		from += h.shift
	}
	rest := h.doc[from:]
	var broken error
	if h.cut > 0 && len(rest) > h.cut {
		rest, broken = rest[:h.cut], errors.New("connection reset")
	}
	return &Body{ReadCloser: io.NopCloser(breaking{strings.NewReader(rest), broken}), From: from, Total: int64(len(h.doc)) + h.total, ETag: h.etag,
		Modified: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), MD5: h.md5}, nil
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "A.json", Method: zip.Store})
	if err == nil {
		_, err = io.WriteString(f, text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestThreat099ResumedDownload: what an interrupted download left is continued
// only with the same document and at the right place; the sum decides.
func TestThreat099ResumedDownload(t *testing.T) {
	doc, other := zipped(t, strings.Repeat("a", 1000)), zipped(t, strings.Repeat("b", 1000))
	sum := func(s string) []byte { m := md5.Sum([]byte(s)); return m[:] }
	for name, tc := range map[string]struct {
		second host
		want   string // empty if it must fail
		asked  int    // requests of the second try
	}{
		"continued":                     {host{doc: doc, etag: `"1"`, md5: sum(doc)}, doc, 1},
		"another document":              {host{doc: other, etag: `"2"`, md5: sum(other)}, other, 1},
		"whole document again":          {host{doc: doc, etag: `"1"`, ignore: true}, doc, 1},
		"wrong offset":                  {host{doc: doc, etag: `"1"`, shift: 7, md5: sum(doc)}, doc, 2},
		"other bytes under the old tag": {host{doc: other, etag: `"1"`, md5: sum(other)}, "", 1},
		"shorter than it says":          {host{doc: doc, etag: `"1"`, total: 5}, "", 1},
		"longer than it says":           {host{doc: doc, etag: `"1"`, total: -5}, "", 1},
		"no archive":                    {host{doc: strings.Repeat("x", 2000), etag: `"3"`}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := &host{doc: doc, etag: `"1"`, cut: 500}
			if _, err := Download(t.Context(), first, "https://osv.example.com", "npm", dir); err == nil {
				t.Fatal("an answer that breaks off was taken")
			}
			path := filepath.Join(dir, "npm", "all.zip")
			if _, err := os.Stat(path); err == nil {
				t.Fatal("half an archive is in place")
			}
			_, err := Download(t.Context(), &tc.second, "https://osv.example.com", "npm", dir)
			if tc.second.asked[0] != 500 || len(tc.second.asked) != tc.asked {
				t.Errorf("asked for %v", tc.second.asked)
			}
			got, rerr := os.ReadFile(path)
			if tc.want == "" {
				if err == nil || rerr == nil {
					t.Errorf("taken: %v %v", err, rerr)
				}
				return
			}
			if err != nil || string(got) != tc.want {
				t.Fatalf("%d bytes: %v", len(got), err)
			}
			if fi, err := os.Stat(path); err != nil || fi.ModTime().Year() != 2030 {
				t.Errorf("time of publication: %v %v", fi, err)
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	// Without a strong tag nothing is continued.
	dir := t.TempDir()
	if _, err := Download(t.Context(), &host{doc: doc, etag: `W/"1"`, cut: 500}, "https://osv.example.com", "npm", dir); err == nil {
		t.Fatal("taken")
	}
	weak := &host{doc: doc, etag: `W/"1"`}
	if _, err := Download(t.Context(), weak, "https://osv.example.com", "npm", dir); err != nil || weak.asked[0] != 0 {
		t.Errorf("%v %v", weak.asked, err)
	}
	if _, err := Download(t.Context(), weak, "https://osv.example.com", "../npm", dir); err == nil {
		t.Error("a path was taken for an ecosystem")
	}
	big := &host{doc: doc, etag: `"1"`, total: MaxArchive - int64(len(doc)) + 1}
	if _, err := Download(t.Context(), big, "https://osv.example.com", "npm", t.TempDir()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("beyond the bound: %v", err)
	}
}
