package strictxml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Decode reads one document, strictly, that makes up all of b. Entities other
// than XML's own are errors, so that nothing grows on being read.
func Decode(b []byte, v any) error {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))))
	d.CharsetReader = charset
	if err := d.Decode(v); err != nil {
		return err
	}
	for {
		switch t, err := d.Token(); t := t.(type) {
		case nil:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case xml.Comment, xml.ProcInst:
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errors.New("text behind the root element")
			}
		default:
			return errors.New("data behind the root element")
		}
	}
}

// charset reads the encodings that old POMs have, of which each byte is the
// character of its number; the letters that Windows puts elsewhere do not occur
// in coordinates.
func charset(name string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "us-ascii", "ascii", "iso-8859-1", "latin1", "iso8859-1", "iso8859_1", "windows-1252", "cp1252", "iso-8859-15":
		return &latin1{r: r}, nil
	}
	return nil, fmt.Errorf("character encoding %.40q is not read", name)
}

// latin1 turns ISO 8859-1 into UTF-8.
type latin1 struct {
	r    io.Reader
	rest []byte
}

// Read implements io.Reader.
func (l *latin1) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		var buf [512]byte
		n, err := l.r.Read(buf[:])
		for _, c := range buf[:n] {
			l.rest = append(l.rest, string(rune(c))...)
		}
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// Single returns the one value of an element that must not be repeated.
func Single(what string, values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return strings.TrimSpace(values[0]), nil
	}
	return "", fmt.Errorf("%s is stated %d times", what, len(values))
}
