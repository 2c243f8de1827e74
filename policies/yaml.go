package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of policy documents.
const (
	// MaxPolicyBytes bounds headgate.yaml and policy test files, in bytes.
	MaxPolicyBytes = 1 << 20
	// MaxPolicyNodes bounds the number of YAML nodes of one document.
	MaxPolicyNodes = 50_000
	// MaxPolicyDepth bounds the nesting of one document.
	MaxPolicyDepth = 32
)

// decodeStrict reads exactly one YAML document into out, a pointer to a struct.
// Unknown and duplicate keys, keys that differ only in case, anchors and
// aliases, explicit tags, a scalar where a list belongs and a second document
// are errors that name the line: a policy that is half understood is not read.
func decodeStrict(data []byte, out any) error {
	if len(data) > MaxPolicyBytes {
		return fmt.Errorf("document of %d bytes is longer than %d", len(data), MaxPolicyBytes)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults(), yaml.WithUniqueKeys())
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("document is empty")
		}
		return err
	}
	var second yaml.Node
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document in the file: write one")
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return errors.New("document is empty")
	}
	c := nodeCheck{}
	if err := c.check(doc.Content[0], reflect.TypeOf(out).Elem(), "", 0); err != nil {
		return err
	}
	return yaml.Load(data, out, yaml.WithV4Defaults(), yaml.WithKnownFields(), yaml.WithUniqueKeys(), yaml.WithSingleDocument())
}

type nodeCheck struct{ nodes int }

// scalarType is implemented by types that read themselves from one scalar.
type scalarType interface{ yamlScalar() }

var stringsType = reflect.TypeFor[Strings]()

var scalarTypeOf = reflect.TypeFor[scalarType]()

func (c *nodeCheck) check(n *yaml.Node, t reflect.Type, path string, depth int) error {
	c.nodes++
	where := path
	if where == "" {
		where = "document"
	}
	switch {
	case c.nodes > MaxPolicyNodes:
		return fmt.Errorf("line %d: document has more than %d nodes", n.Line, MaxPolicyNodes)
	case depth > MaxPolicyDepth:
		return fmt.Errorf("line %d: document is nested deeper than %d", n.Line, MaxPolicyDepth)
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return fmt.Errorf("line %d: %s: anchors and aliases are not supported: write the value out", n.Line, where)
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Implements(scalarTypeOf) || reflect.PointerTo(t).Implements(scalarTypeOf) {
		if n.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %s: one value expected", n.Line, where)
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s: a mapping of fields expected", n.Line, where)
		}
		fields := yamlFields(t)
		return c.mapping(n, path, depth, func(key string) (reflect.Type, error) {
			ft, ok := fields[key]
			if !ok {
				return nil, fmt.Errorf("unknown field %q%s", clip(key), suggestion(key, keysOf(fields)))
			}
			return ft, nil
		})
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s: a mapping expected", n.Line, where)
		}
		return c.mapping(n, path, depth, func(string) (reflect.Type, error) { return t.Elem(), nil })
	case reflect.Slice:
		if n.Kind == yaml.ScalarNode && t == stringsType && n.Tag != "!!null" && n.Value != "" {
			return nil // one value is a list of one value, never of its characters
		}
		if n.Kind != yaml.SequenceNode {
			return fmt.Errorf("line %d: %s: a list expected: write [%s]", n.Line, where, clip(n.Value))
		}
		for i, e := range n.Content {
			if err := c.check(e, t.Elem(), fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
	case reflect.Interface:
		for _, e := range n.Content {
			if err := c.check(e, t, path, depth+1); err != nil {
				return err
			}
		}
	default:
		if n.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %s: one value expected, not a list or mapping", n.Line, where)
		}
		if n.Tag == "!!null" {
			return fmt.Errorf("line %d: %s: no value: leave the field out", n.Line, where)
		}
		if t.Kind() == reflect.String && n.Tag != "!!str" && n.Tag != "!!timestamp" && n.Tag != "!!float" && n.Tag != "!!int" {
			return fmt.Errorf("line %d: %s: text expected: put it in quotes", n.Line, where)
		}
	}
	return nil
}

func (c *nodeCheck) mapping(n *yaml.Node, path string, depth int, typeOf func(string) (reflect.Type, error)) error {
	seen := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			return fmt.Errorf("line %d: %s: plain keys expected", k.Line, path)
		}
		if other, ok := seen[strings.ToLower(k.Value)]; ok {
			return fmt.Errorf("line %d: field %q is there twice (%q)", k.Line, clip(k.Value), clip(other))
		}
		seen[strings.ToLower(k.Value)] = k.Value
		ft, err := typeOf(k.Value)
		if err != nil {
			return fmt.Errorf("line %d: %w", k.Line, err)
		}
		sub := k.Value
		if path != "" {
			sub = path + "." + k.Value
		}
		if err := c.check(v, ft, sub, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func yamlFields(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "-" || !f.IsExported() {
			continue
		}
		if strings.Contains(opts, "inline") {
			for k, v := range yamlFields(f.Type) {
				m[k] = v
			}
			continue
		}
		m[tag] = f.Type
	}
	return m
}

func keysOf[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// suggestion names the nearest known name, or all if none is near.
func suggestion(got string, known []string) string {
	best, dist := "", 1+len(got)/2
	for _, k := range known {
		if d := editDistance(strings.ToLower(got), strings.ToLower(k), dist); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	if len(known) > 0 && len(known) <= 20 {
		return ": known are " + strings.Join(known, ", ")
	}
	return ""
}

// editDistance is the Levenshtein distance, or max if it is not below max.
func editDistance(a, b string, max int) int {
	if len(a)-len(b) >= max || len(b)-len(a) >= max || len(a) > 64 || len(b) > 64 {
		return max
	}
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
		}
		prev, cur = cur, prev
	}
	return min(prev[len(b)], max)
}

func clip(s string) string {
	const n = 60
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
