package signing

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/headgate/headgate/trust"
	"github.com/headgate/headgate/trust/sigstore"
)

// maxArchiveEntries bounds the entries of an OCI archive.
const maxArchiveEntries = 1 << 20

// layout is an OCI image layout in a folder or a tar file.
type layout interface {
	// read returns a file, fs.ErrNotExist if there is none, an error if it is larger than limit.
	read(name string, limit int64) ([]byte, error)
	// write adds files and replaces those that are there.
	write(files map[string][]byte) error
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

type folderLayout string

func (l folderLayout) read(name string, limit int64) ([]byte, error) {
	f, size, err := openRegular(filepath.Join(string(l), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "%s has %d bytes, more than %d", name, size, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func (l folderLayout) write(files map[string][]byte) error {
	// The index comes last, so that it never names what is not there.
	names := slices.Sorted(maps.Keys(files))
	slices.SortStableFunc(names, func(a, b string) int { return strings.Compare(path.Dir(b), path.Dir(a)) })
	for _, n := range names {
		full := filepath.Join(string(l), filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := replaceFile(full, func(w io.Writer) error { _, err := w.Write(files[n]); return err }); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file beside its place and moves it there.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".headgate-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	mode := fs.FileMode(0o644)
	if fi, err := os.Stat(name); err == nil {
		mode = fi.Mode().Perm()
	}
	err = write(f)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}

type archiveLayout string

// each calls visit for every regular file of the archive until it returns false.
func (l archiveLayout) each(visit func(h *tar.Header, r io.Reader) (bool, error)) error {
	f, _, err := openRegular(string(l))
	if err != nil {
		return err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return trust.Undecidable(trust.ReasonMalformed, "reading %s: %w", string(l), err)
		}
		if n >= maxArchiveEntries {
			return trust.Undecidable(trust.ReasonTooLarge, "%s has more than %d entries", string(l), maxArchiveEntries)
		}
		more, err := visit(h, tr)
		if err != nil || !more {
			return err
		}
	}
}

func (l archiveLayout) read(name string, limit int64) ([]byte, error) {
	var out []byte
	found := false
	err := l.each(func(h *tar.Header, r io.Reader) (bool, error) {
		if path.Clean(h.Name) != name || h.Typeflag != tar.TypeReg {
			return true, nil
		}
		if found {
			return false, trust.Undecidable(trust.ReasonMalformed, "%s holds %s twice", string(l), name)
		}
		if h.Size > limit {
			return false, trust.Undecidable(trust.ReasonTooLarge, "%s has %d bytes, more than %d", name, h.Size, limit)
		}
		found = true
		var err error
		out, err = io.ReadAll(io.LimitReader(r, limit))
		return err == nil, err
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: %s: %w", string(l), name, fs.ErrNotExist)
	}
	return out, err
}

func (l archiveLayout) write(files map[string][]byte) error {
	return replaceFile(string(l), func(w io.Writer) error {
		tw := tar.NewWriter(w)
		err := l.each(func(h *tar.Header, r io.Reader) (bool, error) {
			if _, replaced := files[path.Clean(h.Name)]; replaced {
				return true, nil
			}
			if err := tw.WriteHeader(h); err != nil {
				return false, err
			}
			_, err := io.Copy(tw, r)
			return err == nil, err
		})
		if err != nil {
			return err
		}
		for _, n := range slices.Sorted(maps.Keys(files)) {
			if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n])), Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
				return err
			}
			if _, err := tw.Write(files[n]); err != nil {
				return err
			}
		}
		return tw.Close()
	})
}

const indexName = "index.json"

func readIndex(l layout) (*v1.IndexManifest, error) {
	b, err := l.read(indexName, MaxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("no OCI image layout: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if _, err := sigstore.CheckJSON(b); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading %s: %w", indexName, err)
	}
	var m v1.IndexManifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, trust.Undecidable(trust.ReasonMalformed, "reading %s: %w", indexName, err)
	}
	return &m, nil
}

// OpenLayout opens the image in a folder ("oci-dir") or tar file ("oci-archive")
// with an OCI layout. A layout with several images needs "@sha256:…" behind its path.
func OpenLayout(where string, archive bool) (*Image, error) {
	file, digest, _ := strings.Cut(where, "@sha256:")
	var l layout = folderLayout(file)
	if archive {
		l = archiveLayout(file)
	}
	m, err := readIndex(l)
	if err != nil {
		return nil, err
	}
	var found []v1.Descriptor
	for _, d := range m.Manifests {
		if strings.HasPrefix(d.ArtifactType, bundleTypePrefix) || strings.HasPrefix(d.ArtifactType, cosignArtifacts) || attachedByName(d) || digest != "" && d.Digest.String() != "sha256:"+digest {
			continue
		}
		if !slices.ContainsFunc(found, func(o v1.Descriptor) bool { return o.Digest == d.Digest }) {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return nil, usage("%s holds %d such images: name one as %s@sha256:…", file, len(found), file)
	}
	d := found[0]
	raw, err := blobOf(l, d, MaxManifest)
	if err != nil {
		return nil, err
	}
	d.Size = int64(len(raw))
	return newImage(filepath.Base(file), d, &Image{lay: l})
}

func blobOf(l layout, d v1.Descriptor, limit int64) ([]byte, error) {
	b, err := l.read(blobPath(d.Digest), limit)
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil || h != d.Digest {
		return nil, trust.Failure(trust.ReasonWrongDigest, "the layout's %s is %s", d.Digest, h)
	}
	return b, nil
}

func appendToLayout(l layout, d v1.Descriptor, files map[string][]byte) error {
	m, err := readIndex(l)
	if err != nil {
		return err
	}
	m.Manifests = append(m.Manifests, d)
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing %s: %w", indexName, err)
	}
	files[indexName] = b
	return l.write(files)
}
