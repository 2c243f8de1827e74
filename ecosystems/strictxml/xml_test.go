package strictxml

import (
	"encoding/xml"
	"testing"
)

type doc struct {
	XMLName xml.Name
	A       []string `xml:"a"`
}

func TestDecode(t *testing.T) {
	for s, want := range map[string]string{
		"<x><a>1</a></x><!-- c -->\n":                                       "1",
		"\xef\xbb\xbf<x><a>1</a></x>":                                       "1",
		"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><x><a>\xfc</a></x>": "ü",
	} {
		var d doc
		if err := Decode([]byte(s), &d); err != nil {
			t.Errorf("%q: %v", s, err)
		} else if got, err := Single("a", d.A); err != nil || got != want {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	for _, s := range []string{"", "<x>", "<x/><x/>", "<x/>t", `<!DOCTYPE x [<!ENTITY e "1">]><x>&e;</x>`, `<?xml version="1.0" encoding="utf-7"?><x/>`, "<x><a></x></a>"} {
		if err := Decode([]byte(s), new(doc)); err == nil {
			t.Errorf("%q was read", s)
		}
	}
	if _, err := Single("a", []string{"1", "1"}); err == nil {
		t.Error("an element twice passed")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("<x><a>1</a></x>"))
	f.Fuzz(func(t *testing.T, b []byte) { _ = Decode(b, new(doc)) })
}
