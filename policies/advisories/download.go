package advisories

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/md5" // what the archive's host states of it; the zip's own sums and the records are checked besides
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultArchives is the base URL of the archives that OSV publishes, one
// <ecosystem>/all.zip each.
const DefaultArchives = "https://osv-vulnerabilities.storage.googleapis.com"

// DefaultKEV is where CISA publishes its catalogue of known exploited vulnerabilities.
const DefaultKEV = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"

// Bounds of downloads.
const (
	// MaxArchive bounds one archive, in bytes.
	MaxArchive = 4 << 30
	// MaxKEV bounds the catalogue of exploited vulnerabilities, in bytes.
	MaxKEV = 64 << 20
	// maxResumeNote bounds the note beside a part.
	maxResumeNote = 64 << 10
)

// Body is a document, or the rest of one.
type Body struct {
	io.ReadCloser
	// From is the offset of the first byte, Total the size of the whole document or -1.
	From, Total int64
	// ETag is the strong validator of the document; empty if there is none.
	ETag string
	// Modified is when the document was published; zero if unknown.
	Modified time.Time
	// MD5 is what the host states of the whole document; nil if it states none.
	MD5 []byte
}

// Opener opens a document of an archive's host.
type Opener interface {
	// OpenFrom opens the document at a URL. With from > 0 it asks for the bytes from
	// there on, if the document still has the ETag; the answer may start anywhere,
	// and says so.
	OpenFrom(ctx context.Context, url string, from int64, etag string) (*Body, error)
}

// resume is what is known of the document that a part belongs to.
type resume struct {
	URL  string `json:"url"`
	ETag string `json:"etag"`
}

// Download fetches the archive of an ecosystem to <dir>/<ecosystem>/all.zip and
// returns its path. What an interrupted download left is continued if the host
// still serves the same document, and thrown away otherwise. The file is put in
// place only when it is complete, has the size and sum that the host states, and
// is a zip archive; its time is the one at which it was published.
func Download(ctx context.Context, o Opener, base, ecosystem, dir string) (path string, err error) {
	if !known(ecosystem) {
		return "", fmt.Errorf("downloading advisories: %q is no ecosystem that headgate knows", clip(ecosystem))
	}
	u := strings.TrimRight(base, "/") + "/" + url.PathEscape(ecosystem) + "/all.zip"
	folder := filepath.Join(dir, ecosystem)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("downloading advisories of %s: %w", ecosystem, err)
	}
	path = filepath.Join(folder, "all.zip")
	if err := download(ctx, o, u, path); err != nil {
		return "", fmt.Errorf("downloading advisories of %s: %w", ecosystem, err)
	}
	return path, nil
}

func download(ctx context.Context, o Opener, u, path string) (err error) {
	part, note := path+".part", path+".part.json"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	have, etag, err := resumable(f, note, u)
	if err != nil {
		return err
	}
	b, err := o.OpenFrom(ctx, u, have, etag)
	if err != nil {
		return err
	}
	if b.From != 0 && (b.From != have || b.ETag != etag) {
		// Not what was asked for: begin again rather than glue two documents together.
		b.Close()
		if b, err = o.OpenFrom(ctx, u, 0, ""); err != nil {
			return err
		}
		if b.From != 0 {
			b.Close()
			return fmt.Errorf("the server answers from byte %d where the whole document was asked for", b.From)
		}
	}
	defer b.Close()
	if b.Total > MaxArchive {
		return fmt.Errorf("the archive has %d bytes, more than %d", b.Total, int64(MaxArchive))
	}
	if err := f.Truncate(b.From); err != nil {
		return err
	}
	if _, err := f.Seek(b.From, io.SeekStart); err != nil {
		return err
	}
	if err := keep(note, resume{URL: u, ETag: b.ETag}); err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(b, MaxArchive-b.From+1))
	size := b.From + n
	switch {
	case err != nil:
		return fmt.Errorf("after %d bytes, which are kept for the next try: %w", size, err)
	case size > MaxArchive:
		return errors.Join(fmt.Errorf("the archive has more than %d bytes", int64(MaxArchive)), drop(part, note))
	case b.Total >= 0 && size < b.Total:
		return fmt.Errorf("the answer ended after %d of %d bytes, which are kept for the next try", size, b.Total)
	case b.Total >= 0 && size > b.Total:
		return errors.Join(fmt.Errorf("the answer has %d bytes, the server says %d", size, b.Total), drop(part, note))
	}
	if err := whole(f, size, b.MD5); err != nil {
		return errors.Join(err, drop(part, note))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if !b.Modified.IsZero() {
		if err := os.Chtimes(part, b.Modified, b.Modified); err != nil {
			return err
		}
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return os.Remove(note)
}

// resumable says how much of the document at u is there already, and which
// document it was. Without a strong validator nothing can be continued.
func resumable(f *os.File, note, u string) (have int64, etag string, err error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, "", err
	}
	raw, err := readFileBounded(note, maxResumeNote)
	if errors.Is(err, os.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	var r resume
	if json.Unmarshal(raw, &r) != nil || r.URL != u || r.ETag == "" || strings.HasPrefix(r.ETag, "W/") {
		return 0, "", nil
	}
	return st.Size(), r.ETag, nil
}

func readFileBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

func keep(path string, r resume) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

func drop(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// whole checks a complete download.
func whole(f *os.File, size int64, sum []byte) error {
	if len(sum) > 0 {
		h := md5.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
			return err
		}
		if !bytes.Equal(h.Sum(nil), sum) {
			return errors.New("the archive has another sum than the server states: it was damaged on the way, or its parts are of two documents")
		}
	}
	if _, err := zip.NewReader(io.NewSectionReader(f, 0, size), size); err != nil {
		return fmt.Errorf("the answer is no zip archive: %w", err)
	}
	return nil
}
