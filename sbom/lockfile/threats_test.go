package lockfile

import (
	"strings"
	"testing"
)

// TestThreat095OddInput: every reader meets values of the wrong type at every place,
// and ends with an error or an inventory.
func TestThreat095OddInput(t *testing.T) {
	odd := []string{"", "null", "[]", "{}", "0", `""`, "[null]", "true", "---\n", "- a\n", "a: b\n", "a = 1\n", "<a/>", "\x00", "\xff\xfe", "[[package]]\n", "{\"a\":", strings.Repeat("[", 20_000), strings.Repeat("<a>", 20_000)}
	for _, key := range []string{"packages", "dependencies", "lockfileVersion", "package", "metadata", "version", "importers", "snapshots", "workspaces", "npm", "jobs", "services", "default", "_meta", "providers"} {
		for _, v := range []string{"null", "1", `"x"`, "[]", "[null]", "[1]", "{}", `{"":null}`, `{"a":null}`, `{"a":1}`, `{"a":[]}`, `{"a":{"version":1}}`, `{"a":{"version":null,"resolved":[],"integrity":{}}}`} {
			for _, version := range []string{"1", "3", `"9.0"`} {
				odd = append(odd, `{"lockfileVersion":`+version+`,"`+key+`x":1,"`+key+`":`+v+`}`, `{"lockfileVersion":`+version+`,"packages":{"":`+v+`},"`+key+`s":`+v+`}`)
			}
			odd = append(odd, key+" = "+v+"\n", "["+key+"]\na = "+v+"\n", "[["+key+"]]\nname = "+v+"\nversion = "+v+"\n")
		}
	}
	for _, f := range allFormats() {
		for _, content := range odd {
			res, err := Parse(f, "dir/file", []byte(content), func(string) ([]byte, bool) { return []byte(content), true })
			if err != nil {
				continue
			}
			for _, c := range res.Components {
				if c.Release.PURL() == "" || len(c.Locations) == 0 {
					t.Errorf("%s of %.80q: %+v", f, content, c)
				}
			}
		}
	}
}
