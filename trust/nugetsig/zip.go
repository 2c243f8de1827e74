package nugetsig

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/headgate/headgate/trust"
)

// Bounds.
const (
	MaxPackage   = 4 << 30  // bytes of a package; ZIP64 begins there
	MaxDirectory = 64 << 20 // bytes of its central directory
	MaxSignature = 4 << 20  // bytes of its signature
)

const signatureName = ".signature.p7s"

const (
	localSize, centralSize, endSize = 30, 46, 22

	flagEncrypted  = 1 << 0
	flagDescriptor = 1 << 3
	flagUTF8       = 1 << 11
)

// entry is one file of the zip.
type entry struct {
	name          string
	flags, method uint16
	crc           uint32
	packed, size  int64
	offset        int64 // of the local header
	length        int64 // local header, data and descriptor
	record        []byte
}

// archive is a zip that has exactly one reading.
type archive struct {
	r         io.ReaderAt
	size      int64
	entries   []entry // in the order of the central directory
	dirOffset int64
	dirSize   int64
	end       []byte // end record with its comment
}

func hidden(format string, args ...any) error {
	return trust.Failure(trust.ReasonHiddenData, "the package is a zip with two readings: "+format, args...)
}

func malformed(format string, args ...any) error {
	return trust.Undecidable(trust.ReasonMalformed, "reading a NuGet package: "+format, args...)
}

func readAt(r io.ReaderAt, off, n int64) ([]byte, error) {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, off); err != nil && !(err == io.EOF && n == 0) {
		return nil, malformed("%d bytes at %d: %w", n, off, err)
	}
	return b, nil
}

func openZip(r io.ReaderAt, size int64) (*archive, error) {
	if size >= MaxPackage {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the package has %d bytes, not less than %d", size, int64(MaxPackage))
	}
	if size < endSize {
		return nil, malformed("%d bytes are no zip", size)
	}
	tail := min(size, endSize+0xffff)
	b, err := readAt(r, size-tail, tail)
	if err != nil {
		return nil, err
	}
	// The end record is the one whose comment reaches exactly to the end. A
	// second one would be another reading.
	at := -1
	for i := len(b) - endSize; i >= 0; i-- {
		if string(b[i:i+4]) == "PK\x05\x06" {
			if at >= 0 {
				return nil, hidden("it has two end records")
			}
			at = i
		}
	}
	if at < 0 {
		return nil, malformed("no end record")
	}
	a := &archive{r: r, size: size, end: b[at:]}
	le := binary.LittleEndian
	if n := int(le.Uint16(a.end[20:])); n != len(a.end)-endSize {
		return nil, hidden("bytes behind the end record")
	}
	if le.Uint16(a.end[4:]) != 0 || le.Uint16(a.end[6:]) != 0 || le.Uint16(a.end[8:]) != le.Uint16(a.end[10:]) {
		return nil, malformed("a zip of several disks")
	}
	count := int(le.Uint16(a.end[10:]))
	a.dirSize, a.dirOffset = int64(le.Uint32(a.end[12:])), int64(le.Uint32(a.end[16:]))
	if count == 0xffff || a.dirSize == 0xffffffff || a.dirOffset == 0xffffffff {
		return nil, malformed("ZIP64 is not allowed in a package")
	}
	if a.dirSize > MaxDirectory {
		return nil, trust.Undecidable(trust.ReasonTooLarge, "the directory of the package has %d bytes, more than %d", a.dirSize, MaxDirectory)
	}
	if a.dirOffset+a.dirSize != size-int64(len(a.end)) {
		return nil, hidden("bytes between directory and end record")
	}
	dir, err := readAt(r, a.dirOffset, a.dirSize)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for range count {
		e, n, err := parseCentral(dir)
		if err != nil {
			return nil, err
		}
		dir = dir[n:]
		f := strings.ToLower(strings.ReplaceAll(e.name, `\`, "/"))
		if seen[f] {
			return nil, trust.Failure(trust.ReasonDuplicate, "the package has the entry %q twice", clip(e.name))
		}
		seen[f] = true
		a.entries = append(a.entries, e)
	}
	if len(dir) != 0 {
		return nil, hidden("the directory has more entries than the end record says")
	}
	return a, a.layout()
}

func parseCentral(b []byte) (entry, int, error) {
	le := binary.LittleEndian
	if len(b) < centralSize || string(b[:4]) != "PK\x01\x02" {
		return entry{}, 0, malformed("central directory")
	}
	n := centralSize + int(le.Uint16(b[28:])) + int(le.Uint16(b[30:])) + int(le.Uint16(b[32:]))
	if n > len(b) {
		return entry{}, 0, malformed("central directory is cut off")
	}
	e := entry{
		name: string(b[centralSize : centralSize+int(le.Uint16(b[28:]))]), flags: le.Uint16(b[8:]), method: le.Uint16(b[10:]), crc: le.Uint32(b[16:]),
		packed: int64(le.Uint32(b[20:])), size: int64(le.Uint32(b[24:])), offset: int64(le.Uint32(b[42:])), record: b[:n],
	}
	switch {
	case e.packed == 0xffffffff || e.size == 0xffffffff || e.offset == 0xffffffff:
		return entry{}, 0, malformed("ZIP64 is not allowed in a package")
	case e.flags&flagEncrypted != 0:
		return entry{}, 0, malformed("entry %q is encrypted", clip(e.name))
	case e.name == "" || strings.ContainsRune(e.name, 0):
		return entry{}, 0, malformed("an entry without a usable name")
	case le.Uint16(b[34:]) != 0:
		return entry{}, 0, malformed("a zip of several disks")
	}
	return e, n, nil
}

// layout demands that the entries fill the file from its start to the
// directory, and that each local header says what the directory says.
func (a *archive) layout() error {
	le := binary.LittleEndian
	order := a.byOffset()
	at := int64(0)
	for i, e := range order {
		if e.offset != at {
			return hidden("%d bytes in front of entry %q", e.offset-at, clip(e.name))
		}
		h, err := readAt(a.r, at, localSize)
		if err != nil {
			return err
		}
		nameLen, extraLen := int64(le.Uint16(h[26:])), int64(le.Uint16(h[28:]))
		if string(h[:4]) != "PK\x03\x04" {
			return hidden("no local header where the directory names %q", clip(e.name))
		}
		name, err := readAt(a.r, at+localSize, nameLen)
		if err != nil {
			return err
		}
		if string(name) != e.name || le.Uint16(h[6:]) != e.flags || le.Uint16(h[8:]) != e.method {
			return hidden("local header and directory of %q differ", clip(e.name))
		}
		crc, packed, size := le.Uint32(h[14:]), int64(le.Uint32(h[18:])), int64(le.Uint32(h[22:]))
		same := crc == e.crc && packed == e.packed && size == e.size
		if !same && (e.flags&flagDescriptor == 0 || crc != 0 || packed != 0 || size != 0) {
			return hidden("local header and directory of %q differ in size", clip(e.name))
		}
		next := a.dirOffset
		if i+1 < len(order) {
			next = order[i+1].offset
		}
		e.length = next - at
		gap := e.length - (localSize + nameLen + extraLen + e.packed)
		if err := a.descriptor(*e, next, gap); err != nil {
			return err
		}
		at = next
	}
	if at != a.dirOffset {
		return hidden("%d bytes in front of the directory", a.dirOffset-at)
	}
	return nil
}

// descriptor checks what stands between the data of an entry and the next one.
func (a *archive) descriptor(e entry, next, gap int64) error {
	want := gap == 0
	if e.flags&flagDescriptor != 0 {
		want = gap == 12 || gap == 16
	}
	if !want {
		return hidden("%d bytes behind entry %q", gap, clip(e.name))
	}
	if gap == 0 {
		return nil
	}
	b, err := readAt(a.r, next-gap, gap)
	if err != nil {
		return err
	}
	if gap == 16 {
		if string(b[:4]) != "PK\x07\x08" {
			return hidden("bytes behind entry %q", clip(e.name))
		}
		b = b[4:]
	}
	le := binary.LittleEndian
	if le.Uint32(b) != e.crc || int64(le.Uint32(b[4:])) != e.packed || int64(le.Uint32(b[8:])) != e.size {
		return hidden("descriptor and directory of %q differ", clip(e.name))
	}
	return nil
}

func (a *archive) byOffset() []*entry {
	out := make([]*entry, len(a.entries))
	for i := range a.entries {
		out[i] = &a.entries[i]
	}
	slices.SortStableFunc(out, func(x, y *entry) int {
		switch {
		case x.offset < y.offset:
			return -1
		case x.offset > y.offset:
			return 1
		}
		return 0
	})
	return out
}

// signature returns the signature's entry and bytes, or nil if there is none.
func (a *archive) signature() (*entry, []byte, error) {
	for i := range a.entries {
		e := &a.entries[i]
		if !strings.EqualFold(e.name, signatureName) {
			continue
		}
		if e.name != signatureName || e.method != 0 || e.flags&(flagUTF8|flagDescriptor) != 0 || e.packed != e.size {
			return nil, nil, malformed("the signature must be stored as %q, without compression, descriptor and UTF-8 flag", signatureName)
		}
		if e.size > MaxSignature {
			return nil, nil, trust.Undecidable(trust.ReasonTooLarge, "the signature of the package has %d bytes, more than %d", e.size, MaxSignature)
		}
		b, err := readAt(a.r, e.offset+e.length-e.packed, e.packed)
		if err != nil {
			return nil, nil, err
		}
		if crc32.ChecksumIEEE(b) != e.crc {
			return nil, nil, malformed("checksum of %s", signatureName)
		}
		return e, b, nil
	}
	return nil, nil, nil
}

// writeUnsigned writes the package as it was before sig was put in.
func (a *archive) writeUnsigned(w io.Writer, sig *entry) error {
	le := binary.LittleEndian
	for _, e := range a.byOffset() {
		if e.name == sig.name {
			continue
		}
		if _, err := io.Copy(w, io.NewSectionReader(a.r, e.offset, e.length)); err != nil {
			return malformed("entry %q: %w", clip(e.name), err)
		}
	}
	for _, e := range a.entries {
		if e.name == sig.name {
			continue
		}
		rec := slices.Clone(e.record)
		if e.offset > sig.offset {
			le.PutUint32(rec[42:], uint32(e.offset-sig.length))
		}
		if _, err := w.Write(rec); err != nil {
			return err
		}
	}
	end := slices.Clone(a.end)
	n := le.Uint16(end[10:]) - 1
	le.PutUint16(end[8:], n)
	le.PutUint16(end[10:], n)
	le.PutUint32(end[12:], uint32(a.dirSize-int64(len(sig.record))))
	le.PutUint32(end[16:], uint32(a.dirOffset-sig.length))
	_, err := w.Write(end)
	return err
}

func clip(s string) string {
	const max = 80
	if len(s) > max {
		return s[:max] + "…"
	}
	return s
}
