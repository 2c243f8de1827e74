package inspect

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"regexp"
	"slices"
)

// nativeFormat returns "PE", "ELF" or "Mach-O" for native code.
func nativeFormat(b []byte) string {
	switch {
	case len(b) > 0x40 && b[0] == 'M' && b[1] == 'Z':
		if off := int64(binary.LittleEndian.Uint32(b[0x3c:])); off+4 <= int64(len(b)) && string(b[off:off+4]) == "PE\x00\x00" {
			return "PE"
		}
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return "ELF"
	case len(b) >= 4:
		switch binary.BigEndian.Uint32(b) {
		case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
			return "Mach-O"
		case 0xcafebabe:
			// Java classes share the magic; a fat binary has few architectures where a
			// class has its version, which is at least 45.
			if len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) < 20 {
				return "Mach-O"
			}
		}
	}
	return ""
}

// tail is data behind the end of a format.
type tail struct {
	format  string
	size    int
	entropy float64
}

// minTail is how many bytes behind the end are worth a person's time: editors
// leave a newline or some padding behind.
const minTail = 16

// trailing returns the data behind the end of a PNG, ICO, CUR, GIF, JPEG or PDF
// file; nil if there is none, or if b is none of these or is damaged.
func trailing(b []byte) *tail {
	end, format := -1, ""
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		end, format = pngEnd(b), "PNG image"
	case bytes.HasPrefix(b, []byte("GIF87a")) || bytes.HasPrefix(b, []byte("GIF89a")):
		end, format = gifEnd(b), "GIF image"
	case bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}):
		end, format = jpegEnd(b), "JPEG image"
		// Cameras put further pictures behind the first.
		for end > 0 && bytes.HasPrefix(b[end:], []byte{0xff, 0xd8, 0xff}) {
			next := jpegEnd(b[end:])
			if next < 0 {
				break
			}
			end += next
		}
	case len(b) >= 6 && b[0] == 0 && b[1] == 0 && (b[2] == 1 || b[2] == 2) && b[3] == 0:
		end, format = icoEnd(b), "icon"
	case bytes.HasPrefix(b, []byte("%PDF-")):
		end, format = pdfEnd(b), "PDF document"
	}
	if end < 0 || end > len(b) {
		return nil
	}
	rest := b[end:]
	if format == "icon" {
		if gap := icoGap(b, end); len(gap) > len(rest) {
			rest, format = gap, "image before them in the icon"
		}
	}
	if len(bytes.Trim(rest, "\x00\r\n \t")) < minTail {
		return nil
	}
	return &tail{format: format, size: len(rest), entropy: entropy(rest)}
}

func pngEnd(b []byte) int {
	for off := 8; off+12 <= len(b); {
		n := int64(binary.BigEndian.Uint32(b[off:]))
		next := int64(off) + 12 + n
		if next > int64(len(b)) {
			return -1
		}
		if string(b[off+4:off+8]) == "IEND" {
			return int(next)
		}
		off = int(next)
	}
	return -1
}

// pdfEnd is the end of a PDF document. A document may be continued behind its
// end mark, by objects and their table; whatever else stands there is none of it,
// whether or not another end mark follows.
func pdfEnd(b []byte) int {
	mark := []byte("%%EOF")
	i := bytes.Index(b, mark)
	if i < 0 {
		return -1
	}
	end := i + len(mark)
	for {
		i := bytes.Index(b[end:], mark)
		if i < 0 || !pdfContinues.Match(b[end:min(end+64, len(b))]) {
			return end
		}
		end += i + len(mark)
	}
}

var pdfContinues = regexp.MustCompile(`^[\x00\t\n\f\r ]*(?:[0-9]+[ \r\n]+[0-9]+[ \r\n]+obj|xref|startxref|%|$)`)

// icoImages are where the images of an icon stand, sorted. An entry that leaves
// the file spoils an icon only if no other shows an image: Windows draws the others.
func icoImages(b []byte) [][2]int64 {
	n := int(binary.LittleEndian.Uint16(b[4:]))
	if n == 0 || n > 256 || len(b) < 6+16*n {
		return nil
	}
	var out [][2]int64
	sound, seen := true, false
	for i := range n {
		e := b[6+16*i:]
		size, off := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		if off < int64(6+16*n) || off+size > int64(len(b)) {
			sound = false
			continue
		}
		img := b[off : off+size]
		seen = seen || bytes.HasPrefix(img, []byte("\x89PNG\r\n\x1a\n")) || bytes.HasPrefix(img, []byte{40, 0, 0, 0})
		// A PNG inside the icon ends where PNG says: the directory's size may cover
		// more, and 3CX's second stage hid just there.
		if img := b[off : off+size]; bytes.HasPrefix(img, []byte("\x89PNG\r\n\x1a\n")) {
			if pe := pngEnd(img); pe > 0 {
				size = int64(pe)
			}
		}
		out = append(out, [2]int64{off, off + size})
	}
	if !sound && !seen {
		return nil
	}
	slices.SortFunc(out, func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) })
	return out
}

func icoEnd(b []byte) int {
	end := int64(-1)
	for _, s := range icoImages(b) {
		end = max(end, s[1])
	}
	return int(end)
}

// icoGap is the largest run of bytes before end that belongs to no image.
func icoGap(b []byte, end int) []byte {
	at := int64(6 + 16*int(binary.LittleEndian.Uint16(b[4:])))
	var gap []byte
	for _, s := range icoImages(b) {
		if s[0]-at > int64(len(gap)) {
			gap = b[at:min(s[0], int64(end))]
		}
		at = max(at, s[1])
	}
	return gap
}

func gifEnd(b []byte) int {
	if len(b) < 13 {
		return -1
	}
	off := 13
	if b[10]&0x80 != 0 {
		off += 3 << (b[10]&7 + 1)
	}
	blocks := func() bool {
		for off < len(b) {
			n := int(b[off])
			off += 1 + n
			if n == 0 {
				return true
			}
		}
		return false
	}
	for off < len(b) {
		switch b[off] {
		case 0x3b:
			return off + 1
		case 0x21:
			off += 2
			if !blocks() {
				return -1
			}
		case 0x2c:
			if off+10 > len(b) {
				return -1
			}
			flags := b[off+9]
			off += 10
			if flags&0x80 != 0 {
				off += 3 << (flags&7 + 1)
			}
			off++
			if !blocks() {
				return -1
			}
		default:
			return -1
		}
	}
	return -1
}

func jpegEnd(b []byte) int {
	off := 2
	for off+4 <= len(b) {
		if b[off] != 0xff {
			return -1
		}
		m := b[off+1]
		switch {
		case m == 0xff:
			off++
			continue
		case m == 0xd9:
			return off + 2
		case m >= 0xd0 && m <= 0xd8 || m == 0x01:
			off += 2
			continue
		}
		off += 2 + int(binary.BigEndian.Uint16(b[off+2:]))
		if m != 0xda {
			continue
		}
		// Entropy-coded data: ends at the next marker that is neither stuffing nor restart.
		for off+1 < len(b) && (b[off] != 0xff || b[off+1] == 0 || b[off+1] >= 0xd0 && b[off+1] <= 0xd7) {
			off++
		}
	}
	if off+2 <= len(b) && b[off] == 0xff && b[off+1] == 0xd9 {
		return off + 2
	}
	return -1
}

// entropy is Shannon's, in bits per byte: encrypted and compressed data come
// close to 8.
func entropy(b []byte) float64 {
	if len(b) == 0 {
		return 0
	}
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	var e float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			e -= p * math.Log2(p)
		}
	}
	return e
}
