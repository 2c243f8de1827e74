package lockfile

import (
	"encoding/json"
	"fmt"
	"strings"
)

// nodeKind is the type of a value of a structured document.
type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeString
	nodeList
	nodeObject
)

// node is one value of a JSON, YAML or TOML document with the line where it (or,
// for members of objects, its key) stands. All methods work on a nil node, which
// is an absent value.
type node struct {
	kind  nodeKind
	line  int32
	text  string // strings decoded; numbers and booleans as written
	keys  []string
	items []node
	index map[string]int32 // of objects with many keys
}

// indexFrom is the number of keys from which an object gets an index.
const indexFrom = 12

func (n *node) get(key string) *node {
	if n == nil || n.kind != nodeObject {
		return nil
	}
	if n.index != nil {
		if i, ok := n.index[key]; ok {
			return &n.items[i]
		}
		return nil
	}
	for i, k := range n.keys {
		if k == key {
			return &n.items[i]
		}
	}
	return nil
}

func (n *node) str() string {
	if n == nil || n.kind != nodeString {
		return ""
	}
	return n.text
}

// scalar is the text of a string, number or boolean.
func (n *node) scalar() string {
	if n == nil || n.kind == nodeList || n.kind == nodeObject || n.kind == nodeNull {
		return ""
	}
	return n.text
}

func (n *node) yes() bool      { return n != nil && n.kind == nodeBool && n.text == "true" }
func (n *node) isObject() bool { return n != nil && n.kind == nodeObject }
func (n *node) isList() bool   { return n != nil && n.kind == nodeList }
func (n *node) at() int {
	if n == nil {
		return 0
	}
	return int(n.line)
}

// list returns the elements of a list, nothing for other values.
func (n *node) list() []node {
	if !n.isList() {
		return nil
	}
	return n.items
}

// each calls fn for the members of an object in the order of the file.
func (n *node) each(fn func(key string, v *node) error) error {
	if !n.isObject() {
		return nil
	}
	for i := range n.items {
		if err := fn(n.keys[i], &n.items[i]); err != nil {
			return err
		}
	}
	return nil
}

// setKey records a key and refuses one that is there already: two readers of
// one file must not see two different values.
func (n *node) setKey(key string, line int) error {
	if n.index != nil {
		if _, dup := n.index[key]; dup {
			return fmt.Errorf("line %d: duplicate key %q", line, short(key))
		}
		n.index[key] = int32(len(n.keys))
		n.keys = append(n.keys, key)
		return nil
	}
	for _, k := range n.keys {
		if k == key {
			return fmt.Errorf("line %d: duplicate key %q", line, short(key))
		}
	}
	if n.keys == nil {
		n.keys = make([]string, 0, 4)
	}
	n.keys = append(n.keys, key)
	if len(n.keys) >= indexFrom {
		n.index = make(map[string]int32, 2*indexFrom)
		for i, k := range n.keys {
			n.index[k] = int32(i)
		}
	}
	return nil
}

// parseJSON reads one JSON document (RFC 8259) in linear time, with lines.
// Duplicate keys, trailing data and bounds are errors. relaxed also takes
// comments and trailing commas, as bun.lock has them. The standard decoder gives
// neither positions of keys nor duplicate keys, which is why this exists.
func parseJSON(content []byte, relaxed bool) (*node, error) {
	p := &jsonParser{s: string(content), line: 1, relaxed: relaxed}
	var n node
	if err := p.value(&n, 0); err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.i < len(p.s) {
		return nil, p.errorf("data after the end of the document")
	}
	return &n, nil
}

type jsonParser struct {
	s       string
	i       int
	line    int32
	nodes   int
	relaxed bool
	// open are the members read so far of the objects and lists around the cursor;
	// each gets a slice of just the right size when it ends.
	open []node
}

// close makes the values from the mark on the items of n.
func (p *jsonParser) close(n *node, mark int) {
	if len(p.open) > mark {
		n.items = make([]node, len(p.open)-mark)
		copy(n.items, p.open[mark:])
		clear(p.open[mark:])
		p.open = p.open[:mark]
	}
}

func (p *jsonParser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{p.line}, args...)...)
}

func (p *jsonParser) space() error {
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '\n':
			p.line++
			p.i++
		case c == ' ' || c == '\t' || c == '\r':
			p.i++
		case c == '/' && p.relaxed && strings.HasPrefix(p.s[p.i:], "//"):
			if n := strings.IndexByte(p.s[p.i:], '\n'); n >= 0 {
				p.i += n
			} else {
				p.i = len(p.s)
			}
		case c == '/' && p.relaxed && strings.HasPrefix(p.s[p.i:], "/*"):
			n := strings.Index(p.s[p.i+2:], "*/")
			if n < 0 {
				return p.errorf("comment without end")
			}
			p.line += int32(strings.Count(p.s[p.i:p.i+2+n], "\n"))
			p.i += n + 4
		default:
			return nil
		}
	}
	return nil
}

func (p *jsonParser) value(n *node, depth int) error {
	if depth > MaxDepth {
		return p.errorf("nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	if p.nodes++; p.nodes > MaxNodes {
		return p.errorf("more than %d values: %w", MaxNodes, ErrTooLarge)
	}
	if err := p.space(); err != nil {
		return err
	}
	if p.i >= len(p.s) {
		return p.errorf("unexpected end of the file")
	}
	n.line = p.line
	switch c := p.s[p.i]; {
	case c == '{':
		return p.object(n, depth)
	case c == '[':
		return p.array(n, depth)
	case c == '"':
		s, err := p.str()
		n.kind, n.text = nodeString, s
		return err
	case strings.HasPrefix(p.s[p.i:], "true"):
		n.kind, n.text = nodeBool, "true"
		p.i += 4
		return nil
	case strings.HasPrefix(p.s[p.i:], "false"):
		n.kind, n.text = nodeBool, "false"
		p.i += 5
		return nil
	case strings.HasPrefix(p.s[p.i:], "null"):
		p.i += 4
		return nil
	}
	start := p.i
	for p.i < len(p.s) && strings.IndexByte("+-.eE0123456789", p.s[p.i]) >= 0 {
		p.i++
	}
	if lit := p.s[start:p.i]; lit != "" && json.Valid([]byte(lit)) {
		n.kind, n.text = nodeNumber, lit
		return nil
	}
	return p.errorf("unexpected character %q", p.s[start])
}

func (p *jsonParser) object(n *node, depth int) error {
	n.kind = nodeObject
	p.i++
	mark := len(p.open)
	defer func() { p.close(n, mark) }()
	for {
		if err := p.space(); err != nil {
			return err
		}
		if p.i < len(p.s) && p.s[p.i] == '}' && (len(n.keys) == 0 || p.relaxed) {
			p.i++
			return nil
		}
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return p.errorf("expected a key")
		}
		line := p.line
		key, err := p.str()
		if err != nil {
			return err
		}
		if err := n.setKey(key, int(line)); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		if p.i >= len(p.s) || p.s[p.i] != ':' {
			return p.errorf("expected a colon")
		}
		p.i++
		var v node
		if err := p.value(&v, depth+1); err != nil {
			return err
		}
		v.line = line
		p.open = append(p.open, v)
		more, err := p.comma('}')
		if err != nil || !more {
			return err
		}
	}
}

func (p *jsonParser) array(n *node, depth int) error {
	n.kind = nodeList
	p.i++
	mark := len(p.open)
	defer func() { p.close(n, mark) }()
	for {
		if err := p.space(); err != nil {
			return err
		}
		if p.i < len(p.s) && p.s[p.i] == ']' && (len(p.open) == mark || p.relaxed) {
			p.i++
			return nil
		}
		var v node
		if err := p.value(&v, depth+1); err != nil {
			return err
		}
		p.open = append(p.open, v)
		more, err := p.comma(']')
		if err != nil || !more {
			return err
		}
	}
}

// comma reads what follows a value; false is the end of the list or object.
func (p *jsonParser) comma(end byte) (bool, error) {
	if err := p.space(); err != nil {
		return false, err
	}
	if p.i >= len(p.s) {
		return false, p.errorf("unexpected end of the file")
	}
	c := p.s[p.i]
	p.i++
	switch c {
	case ',':
		return true, nil
	case end:
		return false, nil
	}
	return false, p.errorf("expected a comma or %q", end)
}

func (p *jsonParser) str() (string, error) {
	start := p.i
	plain := true
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			if plain {
				return p.s[start+1 : p.i-1], nil
			}
			var s string
			if err := json.Unmarshal([]byte(p.s[start:p.i]), &s); err != nil {
				return "", p.errorf("malformed string")
			}
			return s, nil
		case c == '\\':
			plain = false
			p.i++
		case c < 0x20:
			return "", p.errorf("control character in a string")
		}
	}
	return "", p.errorf("string without end")
}
