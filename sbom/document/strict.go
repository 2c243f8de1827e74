package document

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// exactKeys are the keys that decide what a component is. encoding/json takes
// them in any case; other readers do not, and two readers must not see two
// different SBOMs.
var exactKeys = keySet("bomFormat", "specVersion", "serialNumber", "metadata", "component", "components", "dependencies", "ref",
	"dependsOn", "provides", "bom-ref", "type", "group", "name", "version", "purl", "scope", "hashes", "alg", "content",
	"licenses", "license", "expression", "id", "externalReferences", "url", "properties", "value", "compositions", "aggregate",
	"spdxVersion", "SPDXID", "packages", "versionInfo", "downloadLocation", "checksums", "algorithm", "checksumValue",
	"externalRefs", "referenceType", "referenceLocator", "referenceCategory", "relationships", "spdxElementId",
	"relatedSpdxElement", "relationshipType", "documentDescribes", "licenseConcluded", "licenseDeclared", "primaryPackagePurpose", "documentNamespace")

func keySet(keys ...string) map[string]string {
	m := map[string]string{}
	for _, k := range keys {
		m[fold(k)] = k
	}
	return m
}

// fold maps a key to what encoding/json treats as equal to it.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// lightArrays hold small objects; every other array of objects counts against
// MaxComponents, as its elements are as large as components once decoded.
var lightArrays = []string{"hashes", "licenses", "externalReferences", "properties", "dependencies", "dependsOn", "provides",
	"checksums", "externalRefs", "relationships", "files", "snippets", "annotations", "hasExtractedLicensingInfos", "occurrences", "identity", "methods", "frames",
	"references", "ratings", "advisories", "affects", "versions", "authors", "contacts", "assemblies", "fileContributors", "licenseInfoFromFiles", "ranges", "hasFiles", "tools", "expressionDetails", "compositions"}

// frame is an open object or array of the walk.
type frame struct {
	object  bool
	key     string // the key in its parent under which it stands
	pending string // objects: the last key
	keys    []string
	many    map[string]struct{}
	list    bool // the list of components itself, or one nested in it
}

// walkJSON checks the structure of a document before it is decoded: syntax,
// bounds, duplicate and case-folded keys, nothing behind the end. It returns
// the line of each object in the lists named list that are reached from the
// top by that key alone, in the order of the document.
func walkJSON(b []byte, list string) ([]int, error) {
	if err := jsonDepth(b); err != nil {
		return nil, err
	}
	if !json.Valid(b) {
		var v any
		dec := json.NewDecoder(bytes.NewReader(b))
		for {
			if _, err := dec.Token(); err == io.EOF {
				return nil, errors.New("not valid JSON: cut short, or more than one value")
			} else if err != nil {
				_ = v
				return nil, fmt.Errorf("not valid JSON: %w", err)
			}
		}
	}
	var (
		lines          []int
		stack          []frame
		objects, heavy int
		line           = 1
		folded         = map[string]foldedKey{} // as written → decoded
	)
	value := func() *frame { // the container that the next value belongs to
		if len(stack) == 0 {
			return nil
		}
		return &stack[len(stack)-1]
	}
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '\n':
			line++
		case '{', '[':
			// A frame takes the room for keys of the one that stood here before.
			var f frame
			if len(stack) < cap(stack) {
				f.keys = stack[:len(stack)+1][len(stack)].keys[:0]
			}
			f.object = c == '{'
			if p := value(); p != nil {
				f.key = p.pending
				if !p.object {
					f.key = p.key
					f.list = p.list
				} else {
					f.list = f.key == list && (len(stack) == 1 || p.list)
				}
				if f.object && !p.object {
					if p.list {
						lines = append(lines, line)
					}
					if !slices.Contains(lightArrays, p.key) {
						heavy++
					}
				}
			}
			if f.object {
				objects++
			}
			if objects > MaxObjects {
				return nil, fmt.Errorf("more than %d objects: %w", MaxObjects, ErrTooLarge)
			}
			if heavy > MaxComponents {
				return nil, fmt.Errorf("more than %d components: %w", MaxComponents, ErrTooLarge)
			}
			stack = append(stack, f)
		case '}', ']':
			stack = stack[:len(stack)-1]
		case '"':
			end := i + 1
			for b[end] != '"' {
				if b[end] == '\\' {
					end++
				}
				end++
			}
			if p := value(); p != nil && p.object && isKey(b, end+1) {
				k, ok := folded[string(b[i+1:end])]
				if !ok {
					k.key = string(b[i+1 : end])
					if strings.IndexByte(k.key, '\\') >= 0 {
						if err := json.Unmarshal(b[i:end+1], &k.key); err != nil {
							return nil, err
						}
					}
					k.fold = fold(k.key)
					if len(folded) < fewFolded {
						folded[string(b[i+1:end])] = k
					}
				}
				if err := p.add(k, line); err != nil {
					return nil, err
				}
			}
			i = end
		}
	}
	return lines, nil
}

func isKey(b []byte, at int) bool {
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\r' || b[at] == '\n') {
		at++
	}
	return at < len(b) && b[at] == ':'
}

// foldedKey is a key and what stands for all keys that differ from it in case only.
type foldedKey struct{ key, fold string }

// fewFolded is how many different keys are kept folded: the formats have fewer.
const fewFolded = 1024

// fewKeys is how many keys are compared one by one.
const fewKeys = 24

func (f *frame) add(fk foldedKey, line int) error {
	key, k := fk.key, fk.fold
	f.pending = key
	if exact, ok := exactKeys[k]; ok && exact != key {
		return fmt.Errorf("line %d: key %q differs from %q in case only", line, short(key), exact)
	}
	dup := false
	if f.many != nil {
		_, dup = f.many[k]
		f.many[k] = struct{}{}
	} else {
		dup = slices.Contains(f.keys, k)
		f.keys = append(f.keys, k)
		if len(f.keys) > fewKeys {
			f.many = make(map[string]struct{}, 2*len(f.keys))
			for _, k := range f.keys {
				f.many[k] = struct{}{}
			}
			f.keys = nil
		}
	}
	if dup {
		return fmt.Errorf("line %d: key %q occurs twice in one object", line, short(key))
	}
	return nil
}

// jsonDepth bounds the nesting without recursion.
func jsonDepth(b []byte) error {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("nested more than %d deep: %w", MaxDepth, ErrTooLarge)
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
	}
	return nil
}

// sniffJSON looks for the keys that name the format, at the top level only.
func sniffJSON(head []byte) (Format, bool) {
	depth := 0
	for i := 0; i < len(head); i++ {
		switch head[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			start := i + 1
			for i++; i < len(head) && head[i] != '"'; i++ {
				if head[i] == '\\' {
					i++
				}
			}
			if i >= len(head) || depth != 1 || !isKey(head, i+1) {
				continue
			}
			switch string(head[start:i]) {
			case "bomFormat":
				return CycloneDXJSON, true
			case "spdxVersion", "SPDXID":
				return SPDXJSON, true
			}
		}
	}
	return "", false
}

// single are elements that occur at most once in a component, by the schema.
// encoding/xml would take the last one, others the first.
var single = []string{"supplier", "manufacturer", "author", "authors", "publisher", "group", "name", "version", "description", "scope", "hashes",
	"licenses", "copyright", "cpe", "purl", "swid", "modified", "pedigree", "externalReferences", "properties", "components", "evidence"}

// walkXML is walkJSON for XML. It returns the lines of the component elements.
func walkXML(b []byte) ([]int, error) {
	type open struct {
		name string
		seen []string
		list bool
	}
	dec := xml.NewDecoder(bytes.NewReader(b))
	var (
		stack    []open
		lines    []int
		elements int
		heavy    int
		space    string
		done     bool
	)
	for {
		line, _ := dec.InputPos()
		tok, err := dec.Token()
		if err == io.EOF {
			if !done {
				return nil, errors.New("not valid XML: cut short")
			}
			return lines, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not valid XML: %w", err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("line %d: document type declarations are %w", line, ErrUnsupported)
		case xml.CharData:
			if done && len(bytes.TrimSpace(t)) > 0 {
				return nil, fmt.Errorf("line %d: data behind the end", line)
			}
		case xml.StartElement:
			if done {
				return nil, fmt.Errorf("line %d: a second root element", line)
			}
			if elements++; elements > MaxObjects {
				return nil, fmt.Errorf("more than %d elements: %w", MaxObjects, ErrTooLarge)
			}
			name := t.Name.Local
			o := open{name: name}
			if len(stack) == 0 {
				space = t.Name.Space
				if name != "bom" {
					return nil, fmt.Errorf("root element is %q, not bom", short(name))
				}
			} else {
				p := &stack[len(stack)-1]
				if t.Name.Space != space && (slices.Contains(single, name) || name == "component" || name == "metadata" || name == "dependencies") {
					return nil, fmt.Errorf("line %d: element %q of another namespace stands for a CycloneDX element", line, short(name))
				}
				if t.Name.Space == space && (p.name == "component" && slices.Contains(single, name) ||
					p.name == "bom" && (name == "components" || name == "metadata" || name == "dependencies") ||
					p.name == "metadata" && name == "component") {
					if slices.Contains(p.seen, name) {
						return nil, fmt.Errorf("line %d: element %q occurs twice in one %s", line, name, p.name)
					}
					p.seen = append(p.seen, name)
				}
				o.list = name == "components" && (len(stack) == 1 || p.list && p.name == "component") || name == "component" && p.list
				switch name {
				case "component", "vulnerability", "service", "annotation", "formula", "workflow", "task":
					if heavy++; heavy > MaxComponents {
						return nil, fmt.Errorf("more than %d components: %w", MaxComponents, ErrTooLarge)
					}
				}
				if name == "component" && p.list && p.name == "components" {
					lines = append(lines, line)
				}
			}
			if stack = append(stack, o); len(stack) > MaxDepth {
				return nil, fmt.Errorf("nested more than %d deep: %w", MaxDepth, ErrTooLarge)
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
			done = len(stack) == 0
		}
	}
}

// purlQualifiers returns the decoded qualifiers as written.
func purlQualifiers(purl string) map[string]string {
	purl, _, _ = strings.Cut(purl, "#")
	_, q, ok := strings.Cut(purl, "?")
	if !ok {
		return nil
	}
	m := map[string]string{}
	for kv := range strings.SplitSeq(q, "&") {
		k, v, _ := strings.Cut(kv, "=")
		if d, err := url.PathUnescape(v); err == nil {
			m[strings.ToLower(k)] = d
		}
	}
	return m
}
