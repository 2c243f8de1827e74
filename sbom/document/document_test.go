package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/headgate/headgate/sbom"
	"github.com/headgate/headgate/trust"
)

var (
	sha1hex   = strings.Repeat("1a", 20)
	sha256hex = strings.Repeat("2b", 32)
	sha512hex = strings.Repeat("3c", 64)
)

func cdxJSON(version, rest string) string {
	return `{"bomFormat":"CycloneDX","specVersion":"` + version + `","version":1,` + rest + `}`
}

// summary is a component as the tests compare it.
func summary(c sbom.Component) string {
	s := c.Release.PURL() + " " + string(c.Kind) + " " + string(c.Scope) + " " + string(c.Relation)
	for _, a := range c.Artifacts {
		s += " [" + a.Name + " " + a.URL
		for _, d := range a.Digests {
			s += " " + string(d.Algorithm)
		}
		s += "]"
	}
	for _, p := range c.Problems {
		s += " !" + string(p.Code)
	}
	return s
}

func summaries(inv *sbom.Inventory) (cs, ps []string) {
	for _, c := range inv.Components {
		cs = append(cs, summary(c))
	}
	for _, p := range inv.Problems {
		ps = append(ps, fmt.Sprintf("%s:%d", p.Code, p.Location.Line))
	}
	return cs, ps
}

const fullCDX = `
"serialNumber":"urn:uuid:1","metadata":{"component":{"bom-ref":"root","type":"application","name":"app","version":"1","purl":"pkg:npm/app@1",
 "components":[{"type":"library","name":"inroot","purl":"pkg:npm/inroot@1"}]}},
"components":[
{"bom-ref":"a","type":"library","name":"a","version":"1.0.0","purl":"pkg:npm/a@1.0.0","scope":"required",
 "hashes":[{"alg":"SHA-1","content":"` + "1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a" + `"},{"alg":"SHA3-256","content":"zz"}],
 "licenses":[{"license":{"id":"MIT"}}],
 "externalReferences":[{"type":"website","url":"https://example.com"},{"type":"distribution","url":"https://registry.example.com/a.tgz"}],
 "components":[
  {"bom-ref":"b","type":"library","name":"b","version":"2.0.0","purl":"pkg:npm/b@2.0.0","scope":"excluded"}]},
{"type":"file","name":"/etc/passwd","components":[{"type":"library","name":"infile","purl":"pkg:npm/infile@1"}]},
{"type":"operating-system","name":"debian","version":"12"},
{"type":"application","name":"package-lock.json"},
{"type":"library","name":"nopurl","version":"3"},
{"type":"library","name":"bad","purl":"not a purl"},
{"type":"library","name":"kelvin","purl":"pkg:npm/\u212aelvin@1"},
{"bom-ref":"m","type":"library","name":"m","version":"v1.2.3","purl":"pkg:golang/example.com/m@v1.2.3","hashes":[{"alg":"SHA-256","content":"` + "2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b" + `"}]},
{"type":"library","name":"nov","purl":"pkg:npm/nov"},
{"type":"library","name":"ver","version":"9","purl":"pkg:npm/ver@8"},
{"type":"library","name":"git","version":"1","purl":"pkg:npm/git@1?vcs_url=git%2Bhttps://git.example.com/x.git%40` + "1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a" + `"},
{"type":"library","name":"cut","version":"1","purl":"pkg:npm/cut@1","hashes":[{"alg":"SHA-256","content":"abc"}]}
],
"dependencies":[{"ref":"root","dependsOn":["a","m"]},{"ref":"a","dependsOn":["b"]},{"ref":"b","dependsOn":["a","b"]}]`

func TestCycloneDX(t *testing.T) {
	for v := 2; v <= 7; v++ {
		version := fmt.Sprintf("1.%d", v)
		inv, err := Read("x.json", []byte("\xef\xbb\xbf"+cdxJSON(version, fullCDX)))
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if inv.Source.Format != "CycloneDX "+version+" JSON" || inv.Source.Revision != "urn:uuid:1" {
			t.Errorf("source %+v", inv.Source)
		}
		cs, ps := summaries(inv)
		want := []string{
			"pkg:golang/example.com/m@v1.2.3 registry  direct [  dirHash1]",
			"pkg:npm/a@1.0.0 registry runtime direct [ https://registry.example.com/a.tgz sha1]",
			"pkg:npm/b@2.0.0 registry development transitive",
			"pkg:npm/cut@1 registry   !no-digest",
			"pkg:npm/git@1 git  ",
			"pkg:npm/infile@1 registry  ",
			"pkg:npm/inroot@1 registry  ",
			"pkg:npm/nov registry   !unpinned",
			"pkg:npm/ver@8 registry   !mismatch",
		}
		if !slices.Equal(cs, want) {
			t.Errorf("%s: components\n%s\nwant\n%s", version, strings.Join(cs, "\n"), strings.Join(want, "\n"))
		}
		if want := []string{"no-purl:14", "bad-purl:15", "bad-purl:16"}; !slices.Equal(ps, want) {
			t.Errorf("problems %q, want %q", ps, want)
		}
		if l := inv.Components[1].Locations; len(l) != 1 || l[0].Line != 5 || inv.Components[2].Locations[0].Line != 10 {
			t.Errorf("lines %+v %+v", l, inv.Components[2].Locations)
		}
		if g := inv.Components[4]; !g.Pinned || g.Commit != sha1hex || g.Origin != "https://git.example.com/x.git" {
			t.Errorf("git %+v", g)
		}
	}
}

const fullXML = `<?xml version="1.0" encoding="UTF-8"?>
<bom xmlns="http://cyclonedx.org/schema/bom/1.4" serialNumber="urn:uuid:1" version="1">
<metadata><component type="application" bom-ref="root"><name>app</name></component></metadata>
<components>
<component type="library" bom-ref="a"><group>@s</group><name>a</name><version>1.0.0</version><scope>optional</scope>
<hashes><hash alg="SHA-512">%s</hash></hashes><purl>pkg:npm/%%40s/a@1.0.0</purl>
<externalReferences><reference type="distribution"><url>https://registry.example.com/a.tgz</url></reference></externalReferences>
<components><component type="library" bom-ref="b"><name>b</name><version>2</version><purl>pkg:npm/b@2</purl></component></components>
</component>
</components>
<dependencies><dependency ref="root"><dependency ref="a"/></dependency></dependencies>
</bom>`

func TestCycloneDXXML(t *testing.T) {
	inv, err := Read("x.xml", fmt.Appendf(nil, fullXML, sha512hex))
	if err != nil {
		t.Fatal(err)
	}
	cs, ps := summaries(inv)
	want := []string{"pkg:npm/%40s/a@1.0.0 registry optional direct [ https://registry.example.com/a.tgz sha512]", "pkg:npm/b@2 registry  transitive"}
	if !slices.Equal(cs, want) || len(ps) != 0 {
		t.Errorf("%q %q", cs, ps)
	}
	if inv.Components[0].Locations[0].Line != 5 || inv.Components[1].Locations[0].Line != 8 {
		t.Errorf("lines %+v", inv.Components)
	}
}

const fullSPDX = `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","documentNamespace":"https://example.com/1","packages":[
{"SPDXID":"SPDXRef-root","name":"app","downloadLocation":"NOASSERTION"},
{"SPDXID":"SPDXRef-a","name":"a","versionInfo":"1.0.0","downloadLocation":"https://registry.example.com/a.tgz","licenseConcluded":"NOASSERTION","licenseDeclared":"MIT",
 "checksums":[{"algorithm":"SHA512","checksumValue":"%s"}],"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/a@1.0.0"}]},
{"SPDXID":"SPDXRef-b","name":"b","versionInfo":"2","externalRefs":[{"referenceCategory":"PACKAGE_MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/b@2"}]},
{"SPDXID":"SPDXRef-c","name":"c","versionInfo":"3","primaryPackagePurpose":"FILE"},
{"SPDXID":"SPDXRef-d","name":"d","versionInfo":"4"}],
"relationships":[{"spdxElementId":"SPDXRef-DOCUMENT","relatedSpdxElement":"SPDXRef-root","relationshipType":"DESCRIBES"},
{"spdxElementId":"SPDXRef-root","relatedSpdxElement":"SPDXRef-a","relationshipType":"DEPENDS_ON"},
{"spdxElementId":"SPDXRef-a","relatedSpdxElement":"SPDXRef-a","relationshipType":"DEPENDS_ON"},
{"spdxElementId":"SPDXRef-b","relatedSpdxElement":"SPDXRef-a","relationshipType":"DEV_DEPENDENCY_OF"}]}`

const fullTagValue = `SPDXVersion: SPDX-2.2
DocumentNamespace: https://example.com/1
# comment
PackageName: app
SPDXID: SPDXRef-root
PackageName: a
SPDXID: SPDXRef-a
PackageVersion: 1.0.0
PackageDownloadLocation: https://registry.example.com/a.tgz
PackageLicenseDeclared: MIT
PackageComment: <text>two
PackageName: not one
lines</text>
PackageChecksum: SHA512: %s
ExternalRef: PACKAGE-MANAGER purl pkg:npm/a@1.0.0
PackageName: b
SPDXID: SPDXRef-b
PackageVersion: 2
ExternalRef: PACKAGE_MANAGER purl pkg:npm/b@2
FileName: ./x
SPDXID: SPDXRef-f
PackageName: d
SPDXID: SPDXRef-d
PackageVersion: 4
Relationship: SPDXRef-DOCUMENT DESCRIBES SPDXRef-root
Relationship: SPDXRef-root DEPENDS_ON SPDXRef-a
Relationship: SPDXRef-b DEV_DEPENDENCY_OF SPDXRef-a
`

func TestSPDX(t *testing.T) {
	for name, text := range map[string]string{"SPDX 2.3 JSON": fullSPDX, "SPDX 2.2 tag-value": fullTagValue, "SPDX 2.2 JSON": strings.Replace(fullSPDX, "SPDX-2.3", "SPDX-2.2", 1)} {
		inv, err := Read("x", fmt.Appendf(nil, text, sha512hex))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cs, ps := summaries(inv)
		want := []string{"pkg:npm/a@1.0.0 registry runtime direct [ https://registry.example.com/a.tgz sha512]", "pkg:npm/b@2 registry development transitive"}
		if !slices.Equal(cs, want) {
			t.Errorf("%s: %q", name, cs)
		}
		if len(ps) != 1 || !strings.HasPrefix(ps[0], "no-purl:") {
			t.Errorf("%s: problems %q", name, ps)
		}
		if inv.Source.Format != name || !slices.Equal(inv.Components[0].Licenses, []string{"MIT"}) {
			t.Errorf("%s: %+v %v", name, inv.Source, inv.Components[0].Licenses)
		}
	}
}

func TestRefused(t *testing.T) {
	comp := `{"type":"library","name":"a","version":"1","purl":"pkg:npm/a@1"}`
	xmlDoc := fmt.Sprintf(fullXML, sha512hex)
	tv := fmt.Sprintf(fullTagValue, sha512hex)
	for name, tt := range map[string]struct {
		text, want string
		is         error
	}{
		"empty":              {"", "empty", ErrNoSBOM},
		"spaces":             {" \n", "empty", ErrNoSBOM},
		"other JSON":         {`{"name":"x"}`, "", ErrNoSBOM},
		"nested bomFormat":   {`{"x":{"bomFormat":"CycloneDX"}}`, "", ErrNoSBOM},
		"array":              {`[]`, "", ErrNoSBOM},
		"text":               {"hello", "", ErrNoSBOM},
		"UTF-16 LE":          {"\xff\xfe{\x00}\x00", "UTF-16", ErrUnsupported},
		"UTF-16 BE":          {"\xfe\xff\x00{", "UTF-16", ErrUnsupported},
		"not UTF-8":          {cdxJSON("1.4", "\"serialNumber\":\"\xff\",\"components\":["+comp+"]"), "UTF-8", nil},
		"truncated":          {cdxJSON("1.4", `"components":[`+comp)[:80], "not valid JSON", nil},
		"trailing data":      {cdxJSON("1.4", `"components":[`+comp+`]`) + "{}", "not valid JSON", nil},
		"duplicate key":      {cdxJSON("1.4", `"components":[`+comp+`],"components":[]`), "occurs twice", nil},
		"duplicate escaped":  {cdxJSON("1.4", `"components":[{"name":"a","purl":"pkg:npm/a@1","p\u0075rl":"pkg:npm/b@1"}]`), "occurs twice", nil},
		"case-folded":        {cdxJSON("1.4", `"Components":[`+comp+`]`), "case only", nil},
		"folded by Unicode":  {cdxJSON("1.4", `"component\u017f":[`+comp+`]`), "case only", nil},
		"wrong format":       {`{"bomFormat":"Other","specVersion":"1.4","components":[` + comp + `]}`, "bomFormat", nil},
		"version 1.1":        {cdxJSON("1.1", `"components":[`+comp+`]`), "1.2 to 1.7", ErrUnsupported},
		"version 1.8":        {cdxJSON("1.8", `"components":[`+comp+`]`), "not supported", ErrUnsupported},
		"version missing":    {`{"bomFormat":"CycloneDX","components":[` + comp + `]}`, "1.2 to 1.7", ErrUnsupported},
		"component no list":  {cdxJSON("1.4", `"components":{"name":"x"}`), "decoding", nil},
		"SPDX 3":             {`{"spdxVersion":"SPDX-3.0","packages":[]}`, "SPDX-2.2", ErrUnsupported},
		"SPDX same id":       {strings.Replace(fmt.Sprintf(fullSPDX, sha512hex), "SPDXRef-b\",\"name", "SPDXRef-a\",\"name", 1), "SPDXID", nil},
		"XML truncated":      {xmlDoc[:len(xmlDoc)-40], "not valid XML", nil},
		"XML trailing":       {xmlDoc + "<bom/>", "second root", nil},
		"XML trailing text":  {xmlDoc + "x", "behind the end", nil},
		"XML DTD":            {strings.Replace(xmlDoc, "<bom ", "<!DOCTYPE bom [<!ENTITY a \"b\">]><bom ", 1), "document type", ErrUnsupported},
		"XML entity":         {strings.Replace(xmlDoc, "<name>b", "<name>&a;", 1), "not valid XML", nil},
		"XML charset":        {strings.Replace(xmlDoc, "UTF-8", "ISO-8859-1", 1), "not valid XML", nil},
		"XML two purls":      {strings.Replace(xmlDoc, "<purl>pkg:npm/b@2</purl>", "<purl>pkg:npm/b@2</purl><purl>pkg:npm/evil@2</purl>", 1), "occurs twice", nil},
		"XML two lists":      {strings.Replace(xmlDoc, "<dependencies>", "<components/><dependencies>", 1), "occurs twice", nil},
		"XML foreign purl":   {strings.Replace(xmlDoc, "<purl>pkg:npm/b@2</purl>", `<x:purl xmlns:x="urn:x">pkg:npm/evil@2</x:purl>`, 1), "another namespace", nil},
		"XML 1.1":            {strings.Replace(xmlDoc, "bom/1.4", "bom/1.1", 1), "1.2 to 1.7", ErrUnsupported},
		"XML other version":  {strings.Replace(xmlDoc, "bom/1.4", "bom/9.9", 1), "1.2 to 1.7", ErrUnsupported},
		"tag-value no tag":   {tv + "nonsense\n", "no \"Tag: value\"", nil},
		"tag-value version":  {strings.Replace(tv, "SPDX-2.2", "SPDX-2.1", 1), "SPDX-2.2", ErrUnsupported},
		"tag-value twice":    {strings.Replace(tv, "PackageVersion: 2", "PackageVersion: 2\nPackageVersion: 3", 1), "twice", nil},
		"tag-value open":     {tv + "Comment: <text>x\n", "without </text>", nil},
		"tag-value ref":      {tv + "Relationship: a b\n", "relationship", nil},
		"tag-value checksum": {strings.Replace(tv, "SHA512: "+sha512hex, "nonsense", 1), "checksum", nil},
	} {
		_, err := Read("x", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
}

// No list of components, an empty one, and one of nothing but files are
// inventories that are not vouched for.
func TestNothingIsAProblem(t *testing.T) {
	for name, text := range map[string]string{
		"no key":    cdxJSON("1.6", `"metadata":{}`),
		"null":      cdxJSON("1.6", `"components":null`),
		"empty":     cdxJSON("1.6", `"components":[]`),
		"file only": cdxJSON("1.6", `"components":[{"type":"file","name":"x"}]`),
		"SPDX":      `{"spdxVersion":"SPDX-2.3","packages":[]}`,
		"SPDX none": `{"spdxVersion":"SPDX-2.3"}`,
		"tag-value": "SPDXVersion: SPDX-2.3\n",
		"XML":       `<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components/></bom>`,
	} {
		inv, err := Read("x", []byte(text))
		if err != nil || !inv.Partial() || len(inv.Components) != 0 {
			t.Errorf("%s: %+v, %v", name, inv, err)
		}
	}
	inv, err := Read("x", []byte(cdxJSON("1.6", `"components":[{"type":"library","name":"a","purl":"pkg:npm/a@1"}],"compositions":[{"aggregate":"incomplete"}]`)))
	if err != nil || !inv.Partial() {
		t.Errorf("incomplete by its own word: %+v, %v", inv, err)
	}
}

func TestDuplicateComponents(t *testing.T) {
	one := func(hash string) string {
		return `{"type":"library","name":"a","version":"1","purl":"pkg:npm/a@1","hashes":[{"alg":"SHA-256","content":"` + hash + `"}]}`
	}
	other := strings.Repeat("4d", 32)
	inv, err := Read("x", []byte(cdxJSON("1.6", `"components":[`+one(sha256hex)+",\n"+one(sha256hex)+`]`)))
	if err != nil || len(inv.Components) != 1 || len(inv.Components[0].Locations) != 2 || len(inv.Components[0].Problems) != 0 {
		t.Errorf("same: %+v, %v", inv, err)
	}
	inv, err = Read("x", []byte(cdxJSON("1.6", `"components":[`+one(sha256hex)+`,`+one(other)+`]`)))
	if err != nil || len(inv.Components) != 2 {
		t.Fatalf("different: %+v, %v", inv, err)
	}
	for _, c := range inv.Components {
		if len(c.Problems) != 1 || c.Problems[0].Code != sbom.ProblemDuplicate {
			t.Errorf("%+v", c)
		}
	}
}

func TestBounds(t *testing.T) {
	comps := func(n int) []byte {
		var b bytes.Buffer
		b.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.4","components":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"type":"library","name":"p%d","purl":"pkg:npm/p%d@1"}`, i, i)
		}
		b.WriteString(`]}`)
		return b.Bytes()
	}
	if inv, err := Read("x", comps(MaxComponents)); err != nil || len(inv.Components) != MaxComponents {
		t.Errorf("at the bound: %v", err)
	}
	if _, err := Read("x", comps(MaxComponents+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("above the bound: %v", err)
	}
	deep := func(n int) string {
		// The document itself, the property and n-2 arrays.
		return cdxJSON("1.4", `"components":[{"type":"library","name":"a","purl":"pkg:npm/a@1"}],"x":`+strings.Repeat("[", n-1)+strings.Repeat("]", n-1))
	}
	if _, err := Read("x", []byte(deep(MaxDepth))); err != nil {
		t.Errorf("depth at the bound: %v", err)
	}
	for _, n := range []int{MaxDepth + 1, 1_000_000} {
		if _, err := Read("x", []byte(deep(n))); !errors.Is(err, ErrTooLarge) {
			t.Errorf("depth %d: %v", n, err)
		}
	}
	xmlDeep := func(n int) string {
		return `<bom xmlns="http://cyclonedx.org/schema/bom/1.4"><components/>` + strings.Repeat("<x>", n-1) + strings.Repeat("</x>", n-1) + "</bom>"
	}
	if _, err := Read("x", []byte(xmlDeep(MaxDepth))); err != nil {
		t.Errorf("XML depth at the bound: %v", err)
	}
	if _, err := Read("x", []byte(xmlDeep(MaxDepth+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("XML depth above: %v", err)
	}
	objects := func(n int) string { // the document, one component, n-2 properties
		return cdxJSON("1.4", `"components":[{"type":"library","name":"a","purl":"pkg:npm/a@1","properties":[{}`+strings.Repeat(",{}", n-3)+`]}]`)
	}
	if _, err := Read("x", []byte(objects(MaxObjects))); err != nil {
		t.Errorf("objects at the bound: %v", err)
	}
	if _, err := Read("x", []byte(objects(MaxObjects+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("objects above: %v", err)
	}
	file := func(n int) []byte {
		s := cdxJSON("1.4", `"components":[{"type":"library","name":"a","purl":"pkg:npm/a@1"}]`)
		return append([]byte(s), bytes.Repeat([]byte(" "), n-len(s))...)
	}
	if _, err := Read("x", file(MaxFile)); err != nil {
		t.Errorf("size at the bound: %v", err)
	}
	if _, err := Read("x", file(MaxFile+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("size above: %v", err)
	}
	text := func(n int) []byte {
		return []byte("SPDXVersion: SPDX-2.3\nCreatorComment: " + strings.Repeat("x", n) + "\n")
	}
	if _, err := Read("x", text(MaxLine)); err != nil {
		t.Errorf("value at the bound: %v", err)
	}
	if _, err := Read("x", text(MaxLine+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("value above: %v", err)
	}
}

func TestWriteRoundTrip(t *testing.T) {
	inv, err := Read("x.json", []byte(cdxJSON("1.6", fullCDX)))
	if err != nil {
		t.Fatal(err)
	}
	inv.Problems = nil
	opt := WriteOptions{Tool: "1.2.3", Document: []Property{{"headgate:verdict", "hold"}}, Properties: func(i int, c *sbom.Component) []Property {
		return []Property{{"headgate:verdict", "allow"}, {"headgate:assurance", "registry"}, {"headgate:component", fmt.Sprint(i)}}
	}}
	for v := 4; v <= 7; v++ {
		opt.Version = fmt.Sprintf("1.%d", v)
		var first, second bytes.Buffer
		if err := WriteCycloneDX(&first, inv, opt); err != nil {
			t.Fatal(err)
		}
		if err := WriteCycloneDX(&second, inv, opt); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("not deterministic: %v", err)
		}
		back, err := Read("y.json", first.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(back.Components) != len(inv.Components) {
			t.Errorf("%d of %d components came back", len(back.Components), len(inv.Components))
		}
		for i, c := range back.Components {
			was := inv.Components[i]
			if c.Release != was.Release || !slices.EqualFunc(c.Artifacts, was.Artifacts, func(a, b trust.Artifact) bool {
				return a.URL == b.URL && slices.Equal(a.Digests, b.Digests)
			}) {
				t.Errorf("1.%d: %s became %s", v, summary(was), summary(c))
			}
		}
		if !strings.Contains(first.String(), "headgate:assurance") {
			t.Errorf("1.%d: no properties", v)
		}
	}
	for _, v := range []string{"1.3", "2.0"} {
		if err := WriteCycloneDX(&bytes.Buffer{}, inv, WriteOptions{Version: v}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// TestRealData compares with a count that knows nothing of the reader.
func TestRealData(t *testing.T) {
	dir := os.Getenv("HEADGATE_REALDATA")
	if dir == "" {
		t.Skip("HEADGATE_REALDATA is not set")
	}
	files, err := filepath.Glob(filepath.Join(dir, "sbom", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no SBOMs: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			inv, err := Read(name, b)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d components, %d problems", inv.Source.Format, len(inv.Components), len(inv.Problems))
			if len(inv.Components) == 0 {
				t.Fatal("no components")
			}
			for _, p := range inv.Problems {
				t.Logf("%s: %s", p.Code, p.Detail)
			}
			have := map[string]trust.Digests{}
			for _, c := range inv.Components {
				ds := have[c.Release.PURL()]
				for _, a := range c.Artifacts {
					ds = append(ds, a.Digests...)
				}
				have[c.Release.PURL()] = ds
			}
			if inv.Source.Format[:9] != "CycloneDX" || !strings.HasSuffix(inv.Source.Format, "JSON") {
				return
			}
			var doc struct{ Components []map[string]any }
			if err := json.Unmarshal(b, &doc); err != nil {
				t.Fatal(err)
			}
			for _, c := range doc.Components {
				purl, _ := c["purl"].(string)
				if purl == "" {
					continue
				}
				r, err := trust.ParseRelease(purl)
				if err != nil {
					t.Errorf("%s: %v", purl, err)
					continue
				}
				ds, ok := have[r.PURL()]
				if !ok {
					t.Errorf("%s is missing", purl)
				}
				hashes, _ := c["hashes"].([]any)
				for _, h := range hashes {
					m := h.(map[string]any)
					if alg := strings.ToLower(strings.Replace(m["alg"].(string), "-", "", 1)); strings.HasPrefix(alg, "sha3") {
						continue
					} else if !slices.ContainsFunc(ds, func(d trust.Digest) bool {
						return d.Value == m["content"] && (string(d.Algorithm) == alg || d.Algorithm == trust.DirHash1)
					}) {
						t.Errorf("%s lost its %s", purl, alg)
					}
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(cdxJSON("1.6", fullCDX)))
	f.Add(fmt.Appendf(nil, fullXML, sha512hex))
	f.Add(fmt.Appendf(nil, fullSPDX, sha512hex))
	f.Add(fmt.Appendf(nil, fullTagValue, sha512hex))
	f.Add([]byte(`{"bomFormat":"\\","components":[{"purl":"pkg:npm/a@1?checksum=sha256:zz"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		inv, err := Read("x", b)
		if err != nil {
			return
		}
		if len(inv.Components) == 0 && !inv.Partial() {
			t.Error("empty success")
		}
		for _, c := range inv.Components {
			if c.Release.IsZero() || len(c.Locations) == 0 {
				t.Errorf("component %+v", c)
			}
		}
		var out bytes.Buffer
		if err := WriteCycloneDX(&out, inv, WriteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkRead20000(b *testing.B) {
	var doc bytes.Buffer
	doc.WriteString(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[`)
	for i := range 20000 {
		if i > 0 {
			doc.WriteByte(',')
		}
		fmt.Fprintf(&doc, `{"bom-ref":"p%d","type":"library","name":"p%d","version":"1.0.0","description":"a package that does things","purl":"pkg:npm/p%d@1.0.0","hashes":[{"alg":"SHA-512","content":"%s"}],"licenses":[{"license":{"id":"MIT"}}],"externalReferences":[{"type":"distribution","url":"https://registry.example.com/p%d.tgz"},{"type":"website","url":"https://example.com"}]}`, i, i, i, sha512hex, i)
	}
	doc.WriteString(`]}`)
	b.SetBytes(int64(doc.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read("x", doc.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
