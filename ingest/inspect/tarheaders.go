package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/headgate/headgate/policies"
	"github.com/headgate/headgate/trust"
)

// maxExtended bounds an extended header that is kept, in bytes; archive/tar's own
// bound is the same.
const maxExtended = 1 << 20

// tarHeaders passes a tar archive on and reads its headers along the way, as they
// stand. archive/tar shows one size of an entry; where the old header and the
// extended one state different sizes, other unpackers see other files.
type tarHeaders struct {
	r   io.Reader
	see func(policies.Observation)

	buf   []byte // the block, or the extended header, that is being collected
	want  int    // bytes that buf is to have
	skip  int64  // bytes of content and padding to pass over
	pad   int64  // padding behind an extended header
	pax   bool   // buf collects an extended header
	size  string // size record of the extended header in force
	ended bool   // the end marker, or what cannot be followed
}

func newTarHeaders(r io.Reader, see func(policies.Observation)) *tarHeaders {
	return &tarHeaders{r: r, see: see, want: 512}
}

func (t *tarHeaders) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.feed(p[:n])
	return n, err
}

func (t *tarHeaders) feed(b []byte) {
	for len(b) > 0 && !t.ended {
		if t.skip > 0 {
			n := min(int64(len(b)), t.skip)
			b, t.skip = b[n:], t.skip-n
			continue
		}
		n := min(len(b), t.want-len(t.buf))
		t.buf = append(t.buf, b[:n]...)
		b = b[n:]
		if len(t.buf) < t.want {
			continue
		}
		whole := t.buf
		t.buf, t.want = t.buf[:0], 512
		if t.pax {
			t.pax, t.skip = false, t.pad
			t.size = paxSize(whole)
			continue
		}
		t.header(whole)
	}
}

// header judges one block and says what follows it.
func (t *tarHeaders) header(b []byte) {
	if bytes.Count(b, []byte{0}) == len(b) {
		t.ended = true
		return
	}
	size, ok := tarNumber(b[124:136])
	name := strings.TrimRight(string(b[:100]), "\x00")
	if !ok || size < 0 {
		t.ended = true // archive/tar refuses it
		return
	}
	padded := (size + 511) &^ 511
	flag := b[156]
	switch flag {
	case 'x':
		if size == 0 || size > maxExtended {
			t.ended = size != 0
			return
		}
		t.pax, t.want, t.pad = true, int(size), padded-size
		return
	case 'g', 'L', 'K':
		t.skip = padded
		return
	case 'S':
		t.ended = true // blocks of another kind follow; the entry is reported by itself
		return
	}
	stated := t.size
	t.size = ""
	if stated != "" {
		n, err := strconv.ParseInt(stated, 10, 64)
		if err != nil || n != size {
			t.see(policies.Observation{Kind: KindTwoReadings, Effect: trust.EffectBlock, Entry: name,
				Detail: fmt.Sprintf("states two sizes: %d in its header and %.30q in its extended header", size, stated)})
		}
		if err != nil || n < 0 {
			t.ended = true
			return
		}
		padded = (n + 511) &^ 511
	}
	if flag >= '1' && flag <= '6' {
		if size != 0 {
			t.see(policies.Observation{Kind: KindTwoReadings, Effect: trust.EffectHold, Entry: name,
				Detail: fmt.Sprintf("is a link, folder or device and states a size of %d bytes; unpackers disagree on where the next entry begins", size)})
		}
		return
	}
	t.skip = padded
}

// tarNumber reads a number of a header, in octal digits or in base 256.
func tarNumber(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		if b[0] != 0x80 || binary.BigEndian.Uint32(b[:4])&0x7fffffff != 0 {
			return 0, false
		}
		return int64(binary.BigEndian.Uint64(b[4:])), true
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 8, 64)
	return n, err == nil
}

// paxSize returns the last size record of an extended header.
func paxSize(b []byte) string {
	size := ""
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b, []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !ok || err != nil || n <= len(digits) || n > len(b) {
			return size // archive/tar refuses it
		}
		record := b[len(digits)+1 : n]
		if k, v, ok := strings.Cut(strings.TrimSuffix(string(record), "\n"), "="); ok && k == "size" {
			size = v
		}
		b = b[n:]
	}
	return size
}
