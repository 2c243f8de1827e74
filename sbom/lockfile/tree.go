package lockfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"encoding/xml"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v4"
)

// MaxDocuments bounds the documents of one YAML stream.
const MaxDocuments = 10_000

// parseYAML reads all documents of a YAML stream. Duplicate keys are errors.
// Aliases are expanded within MaxNodes; merge keys ("<<") are applied.
func parseYAML(content []byte) ([]*node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(content))
	b := &yamlTree{}
	var docs []*node
	for {
		var y yaml.Node
		err := dec.Decode(&y)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if len(docs) >= MaxDocuments {
			return nil, fmt.Errorf("more than %d documents: %w", MaxDocuments, ErrTooLarge)
		}
		n := &node{}
		if err := b.convert(n, &y, 0); err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
}

// parseYAMLDocument reads a stream that must have exactly one document, an object.
func parseYAMLDocument(content []byte) (*node, error) {
	docs, err := parseYAML(content)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 || !docs[0].isObject() {
		return nil, fmt.Errorf("expected one document that is a mapping")
	}
	return docs[0], nil
}

type yamlTree struct{ nodes int }

func (b *yamlTree) convert(n *node, y *yaml.Node, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("line %d: nested deeper than %d: %w", y.Line, MaxDepth, ErrTooLarge)
	}
	if b.nodes++; b.nodes > MaxNodes {
		return fmt.Errorf("more than %d values: %w", MaxNodes, ErrTooLarge)
	}
	n.line = int32(y.Line)
	switch y.Kind {
	case yaml.DocumentNode:
		if len(y.Content) == 0 {
			return nil
		}
		return b.convert(n, y.Content[0], depth)
	case yaml.AliasNode:
		if err := b.convert(n, y.Alias, depth+1); err != nil {
			return err
		}
		n.line = int32(y.Line)
		return nil
	case yaml.SequenceNode:
		n.kind = nodeList
		n.items = make([]node, len(y.Content))
		for i, c := range y.Content {
			if err := b.convert(&n.items[i], c, depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		n.kind = nodeObject
		var merges []node
		for i := 0; i+1 < len(y.Content); i += 2 {
			k, v := y.Content[i], y.Content[i+1]
			if k.Kind == yaml.AliasNode {
				k = k.Alias
			}
			if k.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: a key is no scalar", k.Line)
			}
			var val node
			if err := b.convert(&val, v, depth+1); err != nil {
				return err
			}
			if k.Value == "<<" && k.Style == 0 {
				merges = append(merges, val)
				continue
			}
			if err := n.setKey(k.Value, k.Line); err != nil {
				return err
			}
			val.line = int32(k.Line)
			n.items = append(n.items, val)
		}
		for _, m := range merges {
			from := []node{m}
			if m.isList() {
				from = m.items
			}
			for i := range from {
				for j, k := range from[i].keys {
					if n.get(k) == nil {
						if err := n.setKey(k, int(from[i].line)); err != nil {
							return err
						}
						n.items = append(n.items, from[i].items[j])
					}
				}
			}
		}
	case yaml.ScalarNode:
		n.text = y.Value
		switch y.ShortTag() {
		case "!!null":
			n.kind, n.text = nodeNull, ""
		case "!!bool":
			n.kind, n.text = nodeBool, strings.ToLower(y.Value)
		case "!!int", "!!float":
			n.kind = nodeNumber
		default:
			n.kind = nodeString
		}
	}
	return nil
}

var tomlHeader = regexp.MustCompile(`^\s*\[\[\s*([A-Za-z0-9_.\-]+)\s*\]\]`)

// parseTOML reads a TOML document. The library refuses duplicate keys. Keys are
// sorted; the elements of arrays of tables of the first level get the lines of
// their headers.
func parseTOML(content []byte) (*node, error) {
	var m map[string]any
	if _, err := toml.Decode(string(content), &m); err != nil {
		return nil, err
	}
	var n node
	count := 0
	if err := fromTOML(&n, m, 0, &count); err != nil {
		return nil, err
	}
	lines := map[string][]int32{}
	num := int32(0)
	for l := range bytes.Lines(content) {
		num++
		if bytes.Contains(l, []byte("[[")) {
			if h := tomlHeader.FindSubmatch(l); h != nil {
				lines[string(h[1])] = append(lines[string(h[1])], num)
			}
		}
	}
	for i, k := range n.keys {
		// A header inside a multi-line string makes the counts differ: then no line is better than a wrong one.
		if at := lines[k]; n.items[i].kind == nodeList && len(at) == len(n.items[i].items) {
			for j := range at {
				n.items[i].items[j].line = at[j]
			}
		}
	}
	return &n, nil
}

func fromTOML(n *node, v any, depth int, count *int) error {
	if depth > MaxDepth {
		return fmt.Errorf("nested deeper than %d: %w", MaxDepth, ErrTooLarge)
	}
	if *count++; *count > MaxNodes {
		return fmt.Errorf("more than %d values: %w", MaxNodes, ErrTooLarge)
	}
	switch v := v.(type) {
	case map[string]any:
		n.kind = nodeObject
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		n.items = make([]node, len(keys))
		for i, k := range keys {
			if err := n.setKey(k, 0); err != nil {
				return err
			}
			if err := fromTOML(&n.items[i], v[k], depth+1, count); err != nil {
				return err
			}
		}
	case []map[string]any:
		n.kind = nodeList
		n.items = make([]node, len(v))
		for i := range v {
			if err := fromTOML(&n.items[i], v[i], depth+1, count); err != nil {
				return err
			}
		}
	case []any:
		n.kind = nodeList
		n.items = make([]node, len(v))
		for i := range v {
			if err := fromTOML(&n.items[i], v[i], depth+1, count); err != nil {
				return err
			}
		}
	case string:
		n.kind, n.text = nodeString, v
	case bool:
		n.kind, n.text = nodeBool, fmt.Sprint(v)
	case time.Time:
		n.kind, n.text = nodeString, v.Format(time.RFC3339)
	default:
		n.kind, n.text = nodeNumber, fmt.Sprint(v)
	}
	return nil
}

// element is one element of an XML document, by local names.
type element struct {
	name     string
	line     int
	text     string
	attrs    map[string]string
	children []*element
}

// parseXML reads an XML document without any entities of its own.
func parseXML(content []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(content))
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		switch strings.ToLower(charset) {
		case "utf-8", "us-ascii", "ascii", "iso-8859-1", "latin1": // the bytes are known to be UTF-8
			return in, nil
		}
		return nil, fmt.Errorf("character set %q is not supported", short(charset))
	}
	var root *element
	var stack []*element
	for n := 0; ; n++ {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n > MaxNodes {
			return nil, fmt.Errorf("more than %d tokens: %w", MaxNodes, ErrTooLarge)
		}
		switch t := tok.(type) {
		case xml.Directive:
			if bytes.Contains(t, []byte("ENTITY")) {
				return nil, fmt.Errorf("the document defines entities, which are not expanded")
			}
		case xml.StartElement:
			if len(stack) >= MaxDepth {
				return nil, fmt.Errorf("nested deeper than %d: %w", MaxDepth, ErrTooLarge)
			}
			line, _ := d.InputPos()
			e := &element{name: t.Name.Local, line: line}
			for _, a := range t.Attr {
				if e.attrs == nil {
					e.attrs = map[string]string{}
				}
				if _, dup := e.attrs[a.Name.Local]; dup && a.Name.Space == "" {
					return nil, fmt.Errorf("line %d: duplicate attribute %q", line, short(a.Name.Local))
				}
				e.attrs[a.Name.Local] = a.Value
			}
			if len(stack) > 0 {
				p := stack[len(stack)-1]
				p.children = append(p.children, e)
			} else if root == nil {
				root = e
			} else {
				return nil, fmt.Errorf("line %d: a second root element", line)
			}
			stack = append(stack, e)
		case xml.CharData:
			if len(stack) > 0 {
				stack[len(stack)-1].text += string(t)
			}
		case xml.EndElement:
			e := stack[len(stack)-1]
			e.text = strings.TrimSpace(e.text)
			stack = stack[:len(stack)-1]
		}
	}
	if root == nil {
		return nil, fmt.Errorf("no root element")
	}
	return root, nil
}

// child returns the first child of the name, or nil; it works on nil.
func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// value is the text of the child of the name.
func (e *element) value(name string) string {
	if c := e.child(name); c != nil {
		return c.text
	}
	return ""
}

// all returns the children of the name.
func (e *element) all(name string) []*element {
	if e == nil {
		return nil
	}
	var out []*element
	for _, c := range e.children {
		if c.name == name {
			out = append(out, c)
		}
	}
	return out
}
