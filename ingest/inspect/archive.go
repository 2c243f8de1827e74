package inspect

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// archiveFormat returns the format of an archive by its magic bytes; the name
// only separates formats that share them.
func archiveFormat(name string, b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("PK\x05\x06")):
		return "zip"
	case bytes.HasPrefix(b, []byte{0x1f, 0x8b}):
		return "gzip"
	case bytes.HasPrefix(b, []byte("!<arch>\n")):
		return "ar"
	case bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")):
		return "xz"
	case bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	case bytes.HasPrefix(b, []byte("BZh")) && len(b) > 10 && bytes.Equal(b[4:10], []byte{0x31, 0x41, 0x59, 0x26, 0x53, 0x59}):
		return "bzip2"
	case len(b) > 262 && string(b[257:262]) == "ustar":
		return "tar"
	case strings.HasSuffix(name, ".whl") || strings.HasSuffix(name, ".nupkg") || strings.HasSuffix(name, ".jar"):
		return "zip" // the name promises one: whatever else it is cannot be read
	}
	return ""
}

// archive walks one archive level. name is the file's name, prefix what entries
// are shown with.
func (in *inspection) archive(r io.ReaderAt, size int64, name, prefix string, depth int) error {
	head := make([]byte, 512)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	shown := strings.TrimSuffix(prefix, "!/")
	if shown == "" {
		shown = name
	}
	whole := io.NewSectionReader(r, 0, size)
	switch format := archiveFormat(name, head[:n]); format {
	case "zip":
		return in.zip(r, size, shown, prefix, depth)
	case "tar":
		return in.tar(whole, shown, prefix, depth)
	case "ar":
		return in.ar(whole, shown, prefix, depth)
	case "gzip", "xz", "zstd", "bzip2":
		return in.compressed(format, whole, name, shown, prefix, depth)
	}
	if depth == 0 {
		in.seef(KindUnreadable, trust.EffectHold, shown, "is no archive of a known format")
	}
	return nil
}

// compressed opens one compressed stream, which holds a tar or a single file.
func (in *inspection) compressed(format string, r io.Reader, name, shown, prefix string, depth int) error {
	src := bufio.NewReaderSize(r, 64<<10)
	var out io.Reader
	var trailing func() bool
	switch format {
	case "gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return in.readError(err, shown)
		}
		// A second gzip member is legal, but tools disagree on reading it.
		z.Multistream(false)
		out, trailing = z, func() bool { _, err := src.Peek(1); return err == nil }
	case "xz":
		z, err := xz.NewReader(src)
		if err != nil {
			return in.readError(err, shown)
		}
		out = z
	case "zstd":
		z, err := zstd.NewReader(src, zstd.WithDecoderMaxMemory(256<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return in.readError(err, shown)
		}
		defer z.Close()
		out = z
	case "bzip2":
		out = bzip2.NewReader(src)
	}
	m := bufio.NewReaderSize(meter{in: in, r: out, entry: shown}, 64<<10)
	head, err := m.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return in.readError(err, shown)
	}
	if archiveFormat("", head) == "tar" || len(head) == 512 && tarLike(name) {
		if err := in.tar(m, shown, prefix, depth); err != nil {
			return err
		}
	} else {
		inner := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".gz"), ".xz")
		// The stream is metered once more inside: a doubled count only makes the bound stricter.
		if err := in.content(entry{name: inner, size: -1, body: m}, prefix+inner, depth); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, m); err != nil {
		return in.readError(err, shown)
	}
	if trailing != nil && trailing() {
		in.seef(KindTwoReadings, trust.EffectHold, shown, "more data follows the compressed stream; unpackers disagree on whether it counts")
	}
	return nil
}

func tarLike(name string) bool {
	for _, s := range []string{".tgz", ".tar", ".tar.gz", ".crate", ".tar.xz", ".tar.zst", ".tar.bz2"} {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

func (in *inspection) tar(r io.Reader, shown, prefix string, depth int) error {
	seen := newNames()
	r = newTarHeaders(r, func(o policies.Observation) {
		o.Entry = prefix + o.Entry
		in.see(o)
	})
	t := tar.NewReader(r)
	count := 0
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, tar.ErrInsecurePath) {
			err = nil // judged by badName
		}
		if err != nil {
			return in.readError(err, shown)
		}
		count++
		if h.Size < 0 {
			in.seef(KindTwoReadings, trust.EffectBlock, prefix+h.Name, "declares a negative size")
			return errStop
		}
		e := entry{name: strings.TrimPrefix(h.Name, "./"), link: h.Linkname, size: h.Size, body: t}
		switch h.Typeflag {
		case tar.TypeReg, '\x00', tar.TypeGNUSparse, tar.TypeCont:
			e.kind = entryFile
			if h.Typeflag == tar.TypeGNUSparse {
				in.seef(KindTwoReadings, trust.EffectHold, prefix+e.name, "is a sparse file; unpackers disagree on its content")
			}
		case tar.TypeDir:
			e.kind = entryDir
			if e.name == "" {
				continue
			}
		case tar.TypeSymlink:
			e.kind = entrySymlink
		case tar.TypeLink:
			e.kind = entryHardlink
		case tar.TypeXGlobalHeader:
			continue
		default:
			e.kind = entryDevice
		}
		if err := in.member(seen, e, prefix, depth); err != nil {
			return err
		}
	}
	if count == 0 && depth == 0 {
		in.seef(KindUnreadable, trust.EffectHold, shown, "the archive holds no files")
	}
	// Behind the end marker only zero padding belongs.
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if i := bytes.IndexFunc(buf[:n], func(r rune) bool { return r != 0 }); i >= 0 {
			in.seef(KindTwoReadings, trust.EffectHold, shown, "data follows the end of the tar archive; unpackers disagree on whether it counts")
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return in.readError(err, shown)
		}
	}
}

// ar reads the outer archive of Debian packages.
func (in *inspection) ar(r io.Reader, shown, prefix string, depth int) error {
	b := bufio.NewReader(r)
	if _, err := b.Discard(8); err != nil {
		return in.readError(err, shown)
	}
	seen := newNames()
	for {
		var h [60]byte
		if _, err := io.ReadFull(b, h[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return in.readError(err, shown)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(h[48:58])), 10, 64)
		if err != nil || size < 0 || string(h[58:]) != "`\n" {
			return in.readError(fmt.Errorf("bad ar header"), shown)
		}
		name := strings.TrimSuffix(strings.TrimSpace(string(h[:16])), "/")
		if depth > 0 {
			// Static libraries: a table of symbols ("/"), one of long names ("//"), names
			// that point into it ("/12"), and the same name as often as you like.
			name = fmt.Sprintf("%d-%s", len(seen.exact), strings.ReplaceAll(cmp.Or(name, "symbols"), "/", ""))
		}
		if err := in.member(seen, entry{name: name, size: size, body: io.LimitReader(b, size)}, prefix, depth); err != nil {
			return err
		}
		if size%2 == 1 {
			if _, err := b.Discard(1); err != nil && !errors.Is(err, io.EOF) {
				return in.readError(err, shown)
			}
		}
	}
}

// zip walks a zip archive by its central directory, and compares every local
// header with it: what streaming unpackers see must be what seeking ones see.
func (in *inspection) zip(r io.ReaderAt, size int64, shown, prefix string, depth int) error {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return in.readError(err, shown)
	}
	if len(z.File) == 0 && depth == 0 {
		in.seef(KindUnreadable, trust.EffectHold, shown, "the archive holds no files")
	}
	seen := newNames()
	var spans []span
	for _, f := range z.File {
		body, err := f.DataOffset()
		if err != nil {
			return in.readError(err, shown)
		}
		start, why := localHeader(r, f, body)
		if why != "" {
			in.seef(KindTwoReadings, trust.EffectBlock, prefix+f.Name, "its two headers differ: %s", why)
		} else {
			spans = append(spans, span{prefix + f.Name, start, body + int64(f.CompressedSize64)})
		}
		e := entry{name: f.Name, size: int64(f.UncompressedSize64)}
		mode := f.Mode()
		switch {
		case mode&fs.ModeSymlink != 0:
			e.kind = entrySymlink // whatever its name says
		case mode.Type()&^fs.ModeDir != 0:
			e.kind = entryDevice
		case strings.HasSuffix(f.Name, "/") || mode.IsDir():
			e.kind = entryDir
		}
		rc, err := f.Open()
		if err != nil {
			return in.readError(err, prefix+f.Name)
		}
		if e.kind == entrySymlink {
			target, err := io.ReadAll(io.LimitReader(rc, MaxPath))
			if err != nil {
				return in.readError(errors.Join(err, rc.Close()), prefix+f.Name)
			}
			e.link = string(target)
		}
		e.body = rc
		err = in.member(seen, e, prefix, depth)
		if cerr := rc.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	in.spans(spans, shown)
	return in.zipEnd(r, size, shown)
}

// span is where an entry lies in its zip file: header and compressed body.
type span struct {
	name       string
	start, end int64
}

// spans demands that entries neither overlap nor leave room for bytes that the
// central directory does not know and a streaming unpacker would meet.
func (in *inspection) spans(ss []span, shown string) {
	slices.SortFunc(ss, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	end := int64(0)
	for i, s := range ss {
		switch gap := s.start - end; {
		case gap < 0:
			in.seef(KindTwoReadings, trust.EffectBlock, s.name, "overlaps the entry before it")
		case i == 0 && gap > 0:
			in.seef(KindTwoReadings, trust.EffectHold, shown, "%d bytes stand before the first entry", gap)
		case gap > descriptorMax:
			in.seef(KindTwoReadings, trust.EffectHold, s.name, "%d bytes stand before the entry that belong to none", gap)
		}
		end = max(end, s.end)
	}
}

// descriptorMax is the longest data descriptor (with signature, zip64 sizes).
const descriptorMax = 24

// localHeader compares an entry's local header with its record in the central
// directory and returns the header's offset, or -1 and what differs.
func localHeader(r io.ReaderAt, f *zip.File, body int64) (int64, string) {
	var h [30]byte
	// The body follows 30 bytes, the name and the extra field, whose length may
	// differ from the central record's: look for the header by its own lengths.
	for extra := int64(0); extra <= 0xffff && body-30-int64(len(f.Name))-extra >= 0; extra++ {
		off := body - 30 - int64(len(f.Name)) - extra
		if _, err := r.ReadAt(h[:], off); err != nil {
			return -1, "the local header cannot be read"
		}
		if string(h[:4]) != "PK\x03\x04" || int64(binary.LittleEndian.Uint16(h[26:])) != int64(len(f.Name)) || int64(binary.LittleEndian.Uint16(h[28:])) != extra {
			continue
		}
		name := make([]byte, len(f.Name))
		if _, err := r.ReadAt(name, off+30); err != nil {
			return -1, "the local header cannot be read"
		}
		if string(name) != f.Name {
			return -1, fmt.Sprintf("the local header names %q", name)
		}
		if m := binary.LittleEndian.Uint16(h[8:]); m != f.Method {
			return -1, "the compression method"
		}
		if binary.LittleEndian.Uint16(h[6:])&8 == 0 {
			if c := binary.LittleEndian.Uint32(h[14:]); c != f.CRC32 {
				return -1, "the checksum"
			}
			cs, us := binary.LittleEndian.Uint32(h[18:]), binary.LittleEndian.Uint32(h[22:])
			if cs != 0xffffffff && uint64(cs) != f.CompressedSize64 || us != 0xffffffff && uint64(us) != f.UncompressedSize64 {
				return -1, "the size"
			}
		}
		return off, ""
	}
	return -1, "the local header is missing or has another name"
}

// zipEnd demands that the end record ends the file.
func (in *inspection) zipEnd(r io.ReaderAt, size int64, shown string) error {
	n := min(size, 22+0xffff)
	b := make([]byte, n)
	if _, err := r.ReadAt(b, size-n); err != nil && !errors.Is(err, io.EOF) {
		return in.readError(err, shown)
	}
	i := bytes.LastIndex(b, []byte("PK\x05\x06"))
	if i < 0 || len(b)-i < 22 {
		in.seef(KindTwoReadings, trust.EffectBlock, shown, "the zip's end record is missing")
		return nil
	}
	comment := int(binary.LittleEndian.Uint16(b[i+20:]))
	switch rest := len(b) - i - 22; {
	case rest != comment:
		in.seef(KindTwoReadings, trust.EffectBlock, shown, "%d bytes stand behind the end of the zip archive", rest-comment)
	case bytes.Count(b, []byte("PK\x05\x06")) > 1 && bytes.Contains(b[i+22:], []byte("PK\x05\x06")):
		in.seef(KindTwoReadings, trust.EffectBlock, shown, "the zip archive has two end records")
	case comment > 1024:
		in.seef(KindHidden, trust.EffectHold, shown, "the zip archive's comment holds %d bytes", comment)
	}
	return nil
}
