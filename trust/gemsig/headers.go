package gemsig

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

const block = 512

// plainHeaders looks at the headers of an archive while it is read. Extended headers
// rename the file behind them for Go and are files of their own for RubyGems, so that
// a signed file for one reader is another file for the other; gems have none.
type plainHeaders struct {
	r     io.Reader
	head  []byte // of the header that is being read
	skip  int64  // bytes before the next header
	ended bool
	other string // the first name with another kind of header, quoted
}

func (p *plainHeaders) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	for rest := b[:n]; len(rest) > 0 && !p.ended && p.other == ""; {
		if p.skip > 0 {
			k := min(p.skip, int64(len(rest)))
			p.skip -= k
			rest = rest[k:]
			continue
		}
		k := min(block-len(p.head), len(rest))
		p.head = append(p.head, rest[:k]...)
		rest = rest[k:]
		if len(p.head) == block {
			p.header()
			p.head = p.head[:0]
		}
	}
	return n, err
}

func (p *plainHeaders) header() {
	h := p.head
	if len(bytes.Trim(h, "\x00")) == 0 {
		p.ended = true
		return
	}
	size, err := strconv.ParseUint(string(bytes.TrimRight(h[124:136], "\x00 ")), 8, 62)
	kind := h[156]
	if err != nil || kind != '0' && kind != 0 || string(h[257:265]) != "ustar\x0000" {
		name, _, _ := bytes.Cut(h[:100], []byte{0})
		p.other = fmt.Sprintf("%q", name)
		return
	}
	p.skip = (int64(size) + block - 1) / block * block
}
